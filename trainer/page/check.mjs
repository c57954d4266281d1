// Opens pages in headless Chromium, in light and dark, at the widths of a phone and of a desktop,
// and prints their faults: those that axe finds, a body wider than the window, a request to
// anything but the page, an error on the console, a plot without a name or a table, text in a plot
// that is too small to read.
//
//     node check.mjs [--pictures FOLDER] [--quick] PAGE...
//
// --quick checks only a phone in dark mode. Exit code 1 if anything is wrong. The packages are in
// the folder that PAGE_MODULES names.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { inBrowser } from "./browser.mjs";

const require = createRequire(join(process.env.PAGE_MODULES ?? import.meta.dirname, "package.json"));
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const widths = [390, 1280];
const themes = ["light", "dark"];
// The size of the smallest text allowed in a plot, in pixels.
const smallest = 8.5;

/// Returns the visible faults that axe does not find.
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
            // First with the page's policy; then without it, so that axe can run, and so that
            // requests which the policy stops are seen.
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
                    // Evaluated as text: an added script element would be a request, or would be
                    // stopped.
                    await page.evaluate(axe);
                    // The rows of a table are alike, and a plot is one image. Checking each cell
                    // and mark would take half a minute.
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
