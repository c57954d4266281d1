// Checks what is published: the package holds the files it names (links are left out without a
// word), its licences are those of the repository, and the examples of its README run as a user
// would run them: each `js` block must print what the `text` block after it says.
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

const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: package_, encoding: "utf8" }));
const { files } = JSON.parse(readFileSync(join(package_, "package.json")));
assert.deepEqual(packed.files.map(({ path }) => path).sort(), ["package.json", ...files].sort());
for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) {
    const [ours, theirs] = [package_, join(package_, "..", "..")].map((at) => readFileSync(join(at, licence), "utf8"));
    assert.equal(ours, theirs, licence);
}

const text = readFileSync(join(package_, "README.md"), "utf8");
const blocks = [...text.matchAll(/^```js\n(.*?)^```\n\n```text\n(.*?)^```$/gms)];
assert.equal(blocks.length, text.match(/^```js$/gm).length, "an example of README.md says nothing of what it prints");
for (const [, code, expected] of blocks) {
    writeFileSync(join(folder, "example.mjs"), code);
    assert.equal(execFileSync("node", ["example.mjs"], { cwd: folder, encoding: "utf8" }), expected);
}
console.log(`README.md: ${blocks.length} example runs`);
