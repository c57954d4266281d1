// Compares the module with the command: on models and rows that the folder given holds (see
// ../test.sh), in Node, and in Chromium where it can be had.
//
//     node parity.mjs FEAMOE FOLDER
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";

import { load } from "../feamoe.mjs";
import { compare } from "./compare.mjs";

const [feamoe, folder] = process.argv.slice(2);
const package_ = join(import.meta.dirname, "..");

function run(...words) {
    return execFileSync(feamoe, words, { maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "ignore"] });
}

const json = (...words) => JSON.parse(run(...words, "--format", "json"));

/** Rows of all kinds by what a model expects: in its ranges and past them, missing, unseen. */
function rows(model, count) {
    let state = 1;
    const below = (n) => (state = (state * 48271) % 2147483647) % n;
    const cell = ({ kind, low, high, levels }) => {
        if (below(12) === 0) return "";
        if (kind === "category") return below(12) === 0 ? "never, \"seen\"" : levels[below(levels.length)];
        const place = low + ((high - low) * (below(1200) - 100)) / 1000;
        return String(below(2) ? Math.round(place) : place);
    };
    const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
    const line = (cells) => `${cells.map(quoted).join(",")}\n`;
    const names = line(model.features.map(({ name }) => name));
    return names + Array.from({ length: count }, () => line(model.features.map(cell))).join("");
}

/** What the command says of rows: all of their scores, some of their explanations, and recourse. */
function expected(path, model, data, { explained, exact, declined }) {
    const names = model.features.map(({ name }) => name);
    const scores = json("score", path, ...data, "--gate", "--keep", names.join(","));
    const sample = (method, count) => json("explain", path, ...data, "--method", method, "--sample", String(count));
    const explanations = [sample("frozen", explained)];
    if (!model.integer) explanations.push(sample("path", explained));
    if (model.backgroundRows > 0) explanations.push(sample("exact", exact));
    let recourse;
    if (!model.integer) {
        recourse = json("recourse", path, ...data, "--answers", "1");
        const kept = (of) => Object.fromEntries(Object.entries(of).map(([key, list]) => [key, list.slice(0, declined)]));
        recourse = { rules: recourse.rules, declined: kept(recourse.declined), answers: kept(recourse.answers) };
    }
    return { scores, explanations, recourse };
}

/** Runs the comparison in a page that asks for nothing but the files of this package. */
async function inPage(browser, blob, expected) {
    const page = await browser.newPage();
    const types = { ".mjs": "text/javascript", ".wasm": "application/wasm" };
    await page.route("**/*", (route) => {
        const { pathname } = new URL(route.request().url());
        const given = { "/": "<!doctype html>", "/blob": Buffer.from(blob), "/expected": JSON.stringify(expected) };
        const body = given[pathname] ?? readFileSync(join(package_, pathname));
        return route.fulfill({ body, contentType: types[extname(pathname)] ?? "text/html" });
    });
    await page.goto("http://feamoe.invalid/");
    return page.evaluate(async () => {
        const { load } = await import("/feamoe.mjs");
        const { compare } = await import("/tests/compare.mjs");
        const blob = await (await fetch("/blob")).arrayBuffer();
        return compare(load, blob, await (await fetch("/expected")).json());
    });
}

/** Returns the next f32. */
function next(number) {
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, number);
    view.setInt32(0, view.getInt32(0) + 1);
    return view.getFloat32(0);
}

let wrong = 0;
if (process.env.OTHER_WASM) {
    const exports = (path) => JSON.stringify(WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(path))).map(({ name }) => name).sort());
    if (exports(process.env.OTHER_WASM) !== exports(join(package_, "feamoe.wasm"))) {
        console.log("the report's module has other functions: run engine/js/build.sh --report");
        wrong++;
    }
}

function say(name, { compared, found }) {
    console.log(`${name}: ${compared} compared, ${found.length} differ`);
    found.slice(0, 5).forEach((what) => console.log(`  ${what}`));
    wrong += found.length;
}

for (const file of readdirSync(folder).filter((name) => name.endsWith(".feamoe"))) {
    const path = join(folder, file);
    const blob = readFileSync(path);
    const model = await load(blob);
    const own = join(folder, file.replace(/(-i\d+)?\.feamoe$/, ""));
    const isReal = existsSync(`${own}.rows`);
    const data = isReal ? [`${own}.rows`, "--schema", `${own}.toml`] : [join(folder, "rows.csv")];
    if (!isReal) writeFileSync(data[0], rows(model, 400));
    const counts = isReal ? { explained: 2000, exact: 25, declined: 100 } : { explained: 400, exact: 40, declined: 400 };
    const theirs = expected(path, model, data, counts);
    say(`${file} in Node`, await compare(load, blob, theirs));
    if (process.env.OTHER_WASM) {
        say(`${file} by the report's module`, await compare(load, blob, theirs, readFileSync(process.env.OTHER_WASM)));
    }
    if (isReal && process.env.PAGE_MODULES) {
        const { inBrowser } = await import("../../../trainer/page/browser.mjs");
        say(`${file} in Chromium`, await inBrowser((browser) => inPage(browser, blob, theirs)));
    }
    // A comparison that cannot fail says nothing: the last bit of one number, wherever it stands.
    // Not on all of adult.test again.
    const faults = [
        (all) => (all.scores.records.at(-1).gate[0] = next(all.scores.records.at(-1).gate[0])),
        (all) => (all.explanations.at(-1).values.at(-1)[0] = next(all.explanations.at(-1).values.at(-1)[0])),
        (all) => (all.scores.records[0].decision = 1 - all.scores.records[0].decision),
        (all) => all.recourse?.answers.row.length && (all.recourse.answers.distance[0] = next(all.recourse.answers.distance[0])),
    ];
    for (const plant of isReal ? [] : faults) {
        const wrongly = structuredClone(theirs);
        // Without an answer there is no distance to change.
        if (plant(wrongly) === undefined || theirs.recourse?.answers.row.length === 0) continue;
        const { found } = await compare(load, blob, wrongly);
        if (found.length !== 1) {
            console.log(`${file}: a planted fault was seen as ${found.length} differences: ${plant}`);
            wrong++;
        }
    }
    model.free();
}
process.exit(wrong > 0 ? 1 : 0);
