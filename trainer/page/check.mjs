// Opens pages in headless Chromium, in light and dark, as wide as a phone and as a desk, and says what is wrong with them:
// what axe finds, a body that is wider than the window, a request of anything but the page, an error on the console, a plot
// without a name or a table, text in a plot too small to be read.
//
//     node check.mjs [--pictures FOLDER] [--quick] PAGE...
//
// --quick: a phone in the dark only. Exit code 1 where anything is wrong. Its packages are looked for in the folder that PAGE_MODULES names.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { inBrowser } from "./browser.mjs";

const require = createRequire(join(process.env.PAGE_MODULES ?? import.meta.dirname, "package.json"));
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const widths = [390, 1280];
const themes = ["light", "dark"];
// Pixels of the smallest text in a plot.
const smallest = 8.5;

/// Returns what a reader's eyes and fingers would find wrong, beside what axe finds.
function faults(smallest) {
    const found = [];
    const root = document.documentElement;
    if (root.scrollWidth > window.innerWidth) found.push(`the page is ${root.scrollWidth} wide, the window ${window.innerWidth}`);
    for (const svg of document.querySelectorAll("svg")) {
        const title = document.getElementById(svg.getAttribute("aria-labelledby") ?? "");
        if (!title?.textContent.trim()) found.push("a plot has no name");
        if (!svg.closest("figure")?.querySelector("details table")) found.push(`no table stands behind "${title?.textContent.trim()}"`);
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        for (const text of svg.querySelectorAll("text")) {
            const size = parseFloat(getComputedStyle(text).fontSize) * scale;
            if (size < smallest) {
                found.push(`text of ${size.toFixed(1)} pixels in "${title?.textContent.trim()}": "${text.textContent.trim()}"`);
                break;
            }
        }
    }
    return found;
}

async function check(browser, file, pictures) {
    const url = pathToFileURL(resolve(file)).href;
    const found = [];
    for (const theme of themes) {
        for (const width of widths) {
            const say = (what) => found.push(`${basename(file)}, ${theme}, ${width} pixels: ${what}`);
            // First as it is, with its policy; then without, so that axe can run, and a request that the policy stops is seen.
            for (const bypassCSP of [false, true]) {
                const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, bypassCSP });
                const page = await context.newPage();
                page.on("request", (request) => request.url() === url || say(`asks for ${request.url()}`));
                page.on("console", (message) => message.type() === "error" && say(`console: ${message.text()}`));
                page.on("pageerror", (error) => say(`error: ${error.message}`));
                await page.goto(url);
                if (bypassCSP) {
                    (await page.evaluate(faults, smallest)).forEach(say);
                    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
                    (await page.evaluate(faults, smallest)).forEach(say);
                    // As text: what is added as a script is a request, or is stopped.
                    await page.evaluate(axe);
                    // The rows of a table are alike, and a plot is one image: to look at each cell and mark takes half a minute.
                    await page.evaluate(() => document.querySelectorAll("tbody tr:nth-child(n + 4)").forEach((row) => row.remove()));
                    const { violations } = await page.evaluate(() => window.axe.run({ exclude: ["svg > *"] }));
                    for (const { id, help, nodes } of violations) say(`${id}: ${help}: ${nodes[0].target} (${nodes.length})`);
                } else if (pictures) {
                    const name = basename(file).replace(/\.html$/, "");
                    await page.screenshot({ path: join(pictures, `${name}-${theme}-${width}.png`), fullPage: true });
                    if (theme === "light" && width === 1280) {
                        await page.pdf({ path: join(pictures, `${name}.pdf`), format: "A4", printBackground: true });
                    }
                }
                await context.close();
            }
        }
    }
    return [...new Set(found)];
}

const files = process.argv.slice(2);
const pictures = files[0] === "--pictures" ? (files.shift(), files.shift()) : undefined;
if (files[0] === "--quick") {
    files.shift();
    widths.length = 1;
    themes.shift();
}
if (pictures) mkdirSync(pictures, { recursive: true });
let wrong = 0;
for (const file of files) {
    const found = await inBrowser((browser) => check(browser, file, pictures));
    found.forEach((what) => console.log(what));
    wrong += found.length;
}
process.exit(wrong > 0 ? 1 : 0);
