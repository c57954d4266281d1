// Headless Chromium for the checks in this folder and in engine/js. Its packages are in the folder
// that PAGE_MODULES names.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.PAGE_MODULES ?? import.meta.dirname, "package.json"));
const { chromium } = require("playwright-core");

// Without a network, a browser that tries to reach its vendor's servers waits, sometimes forever.
const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
const seconds = 300;

class NoAnswer extends Error {}

/**
 * Runs `use` with a browser and returns its result. A page that crashes leaves its caller waiting,
 * so a browser that does not answer in time is killed and started once more.
 */
export async function inBrowser(use) {
    for (let again = false; ; again = true) {
        let server;
        const answer = async () => {
            server = await chromium.launchServer({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
            return use(await chromium.connect(server.wsEndpoint()));
        };
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new NoAnswer(`the browser has not answered for ${seconds} s`)), seconds * 1000);
        });
        try {
            return await Promise.race([answer(), late]);
        } catch (error) {
            if (again || !(error instanceof NoAnswer)) throw error;
            console.log(`${error.message}: once more`);
        } finally {
            clearTimeout(timer);
            await server?.kill();
        }
    }
}
