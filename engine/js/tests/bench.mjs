// Times a score by the module beside one by the same engine compiled for this machine (bench.c), in
// turn: of the same records, whose values are set, by CPU of the process.
//
//     node bench.mjs BENCH MODEL VALUES
//
// VALUES: a file for the values of the records, which is written.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

import { load } from "../feamoe.mjs";

const ROUNDS = 9;
const RECORDS = 64;
// Scores of a round, by the records.
const TIMES = 6000;

const [bench, path, file] = process.argv.slice(2);
const blob = readFileSync(path);
const { features } = await load(blob);

// Values within the ranges of the model, as feamoe_value has them.
const VALUE_BYTES = 12;
const values = new DataView(new ArrayBuffer(RECORDS * features.length * VALUE_BYTES));
let state = 1;
const below = (n) => (state = (state * 48271) % 2147483647) % n;
for (let row = 0; row < RECORDS; row++) {
    features.forEach(({ kind, low, high, levels }, index) => {
        const at = (row * features.length + index) * VALUE_BYTES;
        values.setUint32(at, kind === "number" ? 1 : 2, true);
        if (kind === "number") values.setFloat32(at + 4, low + ((high - low) * below(1000)) / 1000, true);
        else values.setUint16(at + 8, below(levels.length), true);
    });
}
writeFileSync(file, values);

/** Loads the model and sets the records; returns what scores all of them several times. */
function module() {
    const bytes = new WebAssembly.Module(readFileSync(new URL("../feamoe.wasm", import.meta.url)));
    const engine = new WebAssembly.Instance(bytes).exports;
    const { memory } = engine;
    let end = engine.__heap_base.value;
    const take = (bytes) => {
        const start = Math.ceil(end / 8) * 8;
        end = start + bytes;
        memory.grow(Math.max(0, Math.ceil((end - memory.buffer.byteLength) / 65536)));
        return start;
    };
    const place = (bytes) => {
        const at = take(bytes.byteLength);
        new Uint8Array(memory.buffer).set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
        return at;
    };
    // Sizes as feamoe.mjs has them, for the capacity of build.sh.
    const [modelBytes, recordBytes] = [8 * (4 * 512 + 40), 8 * ((17 * 512) / 8 + 12)];
    const [model, file, all, answer] = [take(modelBytes), place(blob), place(values), take(64)];
    const ok = (status) => assert.equal(status, 0);
    ok(engine.feamoe_model_load(model, modelBytes, file, blob.length));
    const records = Array.from({ length: RECORDS }, (_, row) => {
        const record = take(recordBytes);
        ok(engine.feamoe_record_init(record, recordBytes, model));
        ok(engine.feamoe_record_set_all(record, all + row * features.length * VALUE_BYTES, features.length));
        return record;
    });
    const view = new DataView(memory.buffer);
    const score = engine.feamoe_record_score;
    return (times) => {
        let sum = 0;
        for (let time = 0; time < times; time++) {
            for (const record of records) {
                if (score(record, answer, 0, 0) !== 0) throw new Error("a record has no score");
                sum = (sum + view.getUint32(answer, true)) >>> 0;
            }
        }
        return sum;
    };
}

const scores = module();
function inNode() {
    const start = process.cpuUsage();
    const sum = scores(TIMES);
    const { user, system } = process.cpuUsage(start);
    return [((user + system) * 1000) / TIMES / RECORDS, sum];
}
const native = () => execFileSync(bench, [path, file, RECORDS, TIMES], { encoding: "utf8" }).split(" ").map(Number);

// Compiled by then by the second compiler of Node.
inNode();
const rounds = Array.from({ length: ROUNDS }, () => {
    const [[ours, bits], [theirs, expected]] = [inNode(), native()];
    assert.equal(bits, expected, "the scores have other bits");
    return { ours, theirs, ratio: ours / theirs };
});
const sorted = (of) => rounds.map(of).sort((a, b) => a - b);
const median = (of) => sorted(of)[(ROUNDS - 1) / 2];
const [least, most] = [0, ROUNDS - 1].map((at) => sorted(({ ratio }) => ratio)[at].toFixed(2));
console.log(`a score by the module: ${median(({ ours }) => ours).toFixed(0)} ns`);
console.log(`by the engine compiled for this machine: ${median(({ theirs }) => theirs).toFixed(0)} ns`);
console.log(`ratio: ${median(({ ratio }) => ratio).toFixed(2)} (${least} to ${most}), the median of ${ROUNDS} rounds`);
