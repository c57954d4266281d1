// Runs the examples of the README as a user of the package would: each `js` block must print what
// the `text` block after it says.
//
//     node readme.mjs MODEL FOLDER
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [model, folder] = process.argv.slice(2);
const package_ = join(import.meta.dirname, "..");
rmSync(folder, { recursive: true, force: true });
mkdirSync(join(folder, "node_modules"), { recursive: true });
symlinkSync(package_, join(folder, "node_modules", "feamoe"));
copyFileSync(model, join(folder, "loans.feamoe"));

const text = readFileSync(join(package_, "README.md"), "utf8");
const blocks = [...text.matchAll(/^```js\n(.*?)^```\n\n```text\n(.*?)^```$/gms)];
assert.equal(blocks.length, text.match(/^```js$/gm).length, "an example of README.md says nothing of what it prints");
for (const [, code, expected] of blocks) {
    writeFileSync(join(folder, "example.mjs"), code);
    assert.equal(execFileSync("node", ["example.mjs"], { cwd: folder, encoding: "utf8" }), expected);
}
console.log(`README.md: ${blocks.length} example runs`);
