// Times the module beside the command, on the same rows in the same run, by CPU of the process.
//
//     node bench.mjs FEAMOE MODEL DATA
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

import { load } from "../feamoe.mjs";

const [feamoe, path, data] = process.argv.slice(2);
const model = await load(readFileSync(path));
const names = model.features.map(({ name }) => name);
const words = ["score", path, data, "--format", "json", "--keep", names.join(",")];
const printed = JSON.parse(execFileSync(feamoe, words, { maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "ignore"] }));
const typed = ({ kind }, kept) => (kind === "number" && kept !== null ? Number(kept) : kept);
const records = printed.records.map(({ kept }) => Object.fromEntries(model.features.map((feature) => [feature.name, typed(feature, kept[feature.name])])));

/** Returns microseconds of CPU for each record: the least of five runs, after one. */
function timed(work, times = 1) {
    let least = Infinity;
    for (let run = 0; run < 6; run++) {
        const start = process.cpuUsage();
        for (let time = 0; time < times; time++) work();
        const { user, system } = process.cpuUsage(start);
        if (run > 0) least = Math.min(least, (user + system) / times / records.length);
    }
    return least;
}

/** Returns the same of the command: the difference between a long and a short run. */
function ofCommand(files) {
    const script = `import resource,subprocess,sys;subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL);r=resource.getrusage(resource.RUSAGE_CHILDREN);print(r.ru_utime+r.ru_stime)`;
    const once = () => Number(execFileSync("python3", ["-c", script, feamoe, "score", path, ...Array(files).fill(data)]));
    return Math.min(once(), once(), once());
}
const command = ((ofCommand(9) - ofCommand(1)) / 8 / records.length) * 1e6;
const score = timed(() => records.forEach((record) => model.score(record)));
console.log(`the command, reading and writing included: ${command.toFixed(3)} us a row`);
console.log(`score of an object: ${score.toFixed(3)} us, ${(score / command).toFixed(2)} of the command's`);

const engine = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(new URL("../feamoe.wasm", import.meta.url)))).exports;
const [blob, at, record, answer] = [readFileSync(path), 2 << 20, 3 << 20, 4 << 20];
engine.memory.grow(128);
new Uint8Array(engine.memory.buffer).set(blob, 5 << 20);
engine.feamoe_model_load(at, 8 * (4 * 512 + 40), 5 << 20, blob.length);
engine.feamoe_record_init(record, 8 * (17 * 64 + 12), at);
const bare = timed(() => { for (let row = 0; row < records.length; row++) engine.feamoe_record_score(record, answer, 0, 0); }, 20);
console.log(`a score alone: ${bare.toFixed(3)} us`);
const few = records.slice(0, 200);
const whys = { path: () => few.forEach((record) => model.path(record)), exact: () => few.slice(0, 20).forEach((record) => model.exact(record)), recourse: () => few.slice(0, 20).forEach((record) => model.recourse(record)) };
console.log(`path: ${(timed(whys.path) * records.length / 200).toFixed(1)} us, exact: ${(timed(whys.exact) * records.length / 20).toFixed(0)} us, recourse: ${(timed(whys.recourse) * records.length / 20).toFixed(0)} us`);
