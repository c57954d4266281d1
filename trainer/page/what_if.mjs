// Uses the form of a report in headless Chromium, by keyboard. It must show exactly what the
// command computes from the same values, bit by bit. Without JavaScript the report must be complete
// without the form.
//
//     node what_if.mjs FEAMOE MODEL PAGE [SCHEMA]
//
// Exit code 1 if anything is wrong. The packages are in the folder that PAGE_MODULES names.
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { inBrowser } from "./browser.mjs";

const [feamoe, model, file, schema] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "what-if-"));
const wrong = [];
const same = (what, ours, theirs) => Object.is(ours, theirs) || wrong.push(`${what}: ${ours} in the form, ${theirs} by the command`);
const run = (...words) => JSON.parse(execFileSync(feamoe, words, { stdio: ["ignore", "pipe", "pipe"] }));

/** Returns the command's score and decision for the values in the form. */
function byCommand(fields) {
    const path = join(folder, "row.csv");
    const line = (cells) => `${cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",")}\n`;
    writeFileSync(path, line(fields.map(({ name }) => name)) + line(fields.map(({ text }) => text)));
    const read = schema ? ["--schema", schema] : [];
    const [scored] = run("score", model, path, ...read, "--format", "json").records;
    return { score: Math.fround(scored.score ?? scored.probability), decision: scored.decision, path, read };
}

/** Returns the names and texts of the form as a file has them, and the form's output. */
function inForm() {
    const fields = [...document.querySelectorAll(".what-if-values > div")].map((field) => {
        const control = field.querySelector("input, select");
        const words = control.value === "missing" ? "" : control.value === "unseen" ? "none of them" : control.selectedOptions?.[0].textContent;
        return { name: field.querySelector("label").textContent, text: control.tagName === "INPUT" ? control.value : words };
    });
    const rows = [...document.querySelectorAll("#what-if-values tbody tr")];
    return {
        fields,
        score: Number(document.querySelector("#what-if-score data")?.value),
        status: document.querySelector("#what-if-score").textContent,
        bars: rows.map((row) => [row.querySelector("th").textContent, Number(row.querySelector("data").value), row.querySelector(".what-if-bar span").style.width]),
    };
}

async function compared(page, what) {
    // Waits until the record is explained again.
    await page.waitForTimeout(400);
    const form = await page.evaluate(inForm);
    const theirs = byCommand(form.fields);
    same(`${what}, score`, Math.fround(form.score), theirs.score);
    same(`${what}, decision`, form.status.includes("decision favourable"), theirs.decision === 1);
    const explained = run("explain", model, theirs.path, ...theirs.read, "--row", "1", "--format", "json");
    for (const [name, value, width] of form.bars) {
        same(`${what}, value of ${name}`, Math.fround(value), Math.fround(explained.values[0][explained.feature_names.indexOf(name)]));
        if (!/^[0-9.]+%$/.test(width)) wrong.push(`${what}: the bar of ${name} is ${width} wide`);
    }
    same(`${what}, rows`, form.bars.length, explained.feature_names.length);
    return form;
}

/** Does everything that a user can do, and collects what is wrong. */
async function drive(browser) {
    wrong.length = 0;
    const url = pathToFileURL(resolve(file)).href;
    const page = await browser.newPage({ viewport: { width: 390, height: 900 } });
    page.on("console", (message) => message.type() === "error" && wrong.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
    page.on("request", (request) => request.url() === url || wrong.push(`asks for ${request.url()}`));
    await page.goto(url);
    await page.waitForSelector("#what-if-score data");

    // Every record that the form can start from.
    const starts = await page.locator("#what-if-start option").count();
    for (let start = 0; start < starts; start++) {
        await page.selectOption("#what-if-start", { index: start });
        await compared(page, `start ${start}`);
    }

    // Every number is typed: outside its range, inside it, and empty. Every category is changed
    // with the arrow keys.
    await page.focus("#what-if-start");
    const before = (await compared(page, "before typing")).score;
    const seen = new Set([before]);
    const controls = await page.locator(".what-if-values input, .what-if-values select").count();
    await page.keyboard.press("Tab");
    for (let index = 0; index < controls; index++) {
        await page.keyboard.press("Tab");
        const tag = await page.evaluate(() => [document.activeElement.tagName, document.activeElement.id]);
        same("what has the focus", tag[1], `what-if-${index}`);
        for (const typed of tag[0] === "INPUT" ? ["99999", "31.5", ""] : ["ArrowDown", "End"]) {
            if (tag[0] === "INPUT") {
                await page.keyboard.press("ControlOrMeta+a");
                await (typed ? page.keyboard.type(typed) : page.keyboard.press("Delete"));
            } else {
                await page.keyboard.press(typed);
            }
            seen.add((await page.evaluate(inForm)).score);
            if (index < 3 || typed === "ArrowDown") await compared(page, `${tag[1]} after ${typed || "nothing"}`);
        }
    }
    if (seen.size < 4) wrong.push(`only ${seen.size} scores, whatever was typed`);

    // A text that is no number is reported, not scored.
    const number = page.locator(".what-if-values input").first();
    if (await number.count()) {
        await number.focus();
        await page.keyboard.type("1e");
        const { status } = await page.evaluate(inForm);
        if (!/No score: .* is not a number/.test(status)) wrong.push(`of "1e" it says: ${status}`);
        if (await page.locator("table#what-if-values tbody tr").count()) wrong.push(`of "1e" it still says what each feature adds`);
        await page.keyboard.press("Backspace");
        await page.keyboard.press("Backspace");
    }

    // Recourse for each declined record: the proposed changes give a favourable decision, by the
    // command too.
    let answers = 0;
    for (let start = 0; start < starts; start++) {
        await page.selectOption("#what-if-start", { index: start });
        if (!(await page.locator("#what-if-ask").count())) break;
        await page.focus("#what-if-ask");
        await page.keyboard.press("Enter");
        await page.waitForFunction(() => document.querySelector("#what-if-advice").textContent.length > 0);
        if (!(await page.locator("#what-if-take").count())) continue;
        answers++;
        await page.focus("#what-if-take");
        await page.keyboard.press("Enter");
        const form = await compared(page, `start ${start} after recourse`);
        if (!form.status.includes("decision favourable")) wrong.push(`start ${start}: the recourse proposed is declined`);
        await page.click("#what-if-back");
        await compared(page, `start ${start} again`);
    }
    console.log(`${basename(file)}: ${starts} records, ${controls} values, ${seen.size} scores, ${answers} answers; ${wrong.length} wrong`);

    // With JavaScript off.
    const off = await browser.newContext({ javaScriptEnabled: false });
    const still = await off.newPage();
    await still.goto(url);
    const text = await still.innerText("main");
    if (!text.includes("This part needs JavaScript") || !text.includes("Groups and gaps")) wrong.push("without JavaScript the report lacks its sentence");
    if (await still.locator("#what-if-form *").count()) wrong.push("without JavaScript there is a form");
}

await inBrowser(drive);
wrong.slice(0, 20).forEach((what) => console.log(what));
process.exit(wrong.length > 0 ? 1 : 0);
