// What the module does beside computing: errors that say what is wrong, several models at once,
// memory that is not kept, nothing asked of its surroundings.
//
//     node --expose-gc use.mjs DEMO_MODEL GOLDEN_INTEGER_MODEL
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { FeamoeError, Model, load } from "../feamoe.mjs";

// Node can wait for ever where nothing but a module that is being compiled keeps it awake: its main
// thread waits for its workers, and one of these for the main thread to collect garbage
// (nodejs/node issue 54918). A timer keeps its loop running, which collects.
const awake = setInterval(() => {}, 100);

const [demo, narrow] = process.argv.slice(2).map((path) => readFileSync(path));
const wasm = new WebAssembly.Module(readFileSync(new URL("../feamoe.wasm", import.meta.url)));
assert.deepEqual(WebAssembly.Module.imports(wasm), [], "the module imports something");

const model = await load(demo);
const record = Object.fromEntries(model.features.map(({ name, kind, low, levels }) => [name, kind === "number" ? low : levels[0]]));
const says = (words) => (error) => {
    assert(error instanceof FeamoeError, `${error.stack}`);
    assert.match(error.message, words);
    return true;
};
const fails = (call, words) => assert.throws(call, says(words));

// Files that are no model.
await assert.rejects(load("demo.feamoe"), says(/bytes of its file/));
await assert.rejects(load(new Uint8Array(0)), says(/shorter or longer/));
await assert.rejects(load(demo.subarray(0, 100)), says(/shorter or longer/));
await assert.rejects(load(new Uint8Array(100)), says(/not a feamoe model/));
for (const at of [20, 100, demo.length - 1]) {
    const damaged = Uint8Array.from(demo);
    damaged[at] ^= 1;
    await assert.rejects(load(damaged), says(/checksum/));
}
fails(() => new Model(), /load\(\)/);

// Records that do not fit.
fails(() => model.score(), /the record is undefined/);
fails(() => model.score(null), /the record is null/);
const { age, ...without } = record;
fails(() => model.score(without), /no "age".*features are sex, age/);
fails(() => model.score({ ...record, age: "39" }), /"age" is "39", expected a number/);
fails(() => model.score({ ...record, age: true }), /"age" is true, expected a number/);
fails(() => model.score({ ...record, sex: {} }), /"sex" is .*expected a level/);
fails(() => model.score({ ...record, sex: Symbol("x") }), /"sex" is Symbol/);
const bits = (score) => JSON.stringify(score);
const missing = bits(model.score({ ...record, age: null }));
for (const value of [undefined, NaN, ""]) assert.equal(bits(model.score({ ...record, age: value })), missing);
assert(model.score({ ...record, age: null }).missing && model.score({ ...record, sex: "never" }).unseen);
assert(model.score({ ...record, age: Infinity }).clamped && model.score({ ...record, age: 1e300 }).clamped);
assert.equal(bits(model.score({ ...record, age: 39n, other: 1 })), bits(model.score({ ...record, age: 39 })));
// An error leaves no trace.
assert.equal(bits(model.score(record)), bits((await load(demo, wasm)).score(record)));

// Explanations and recourse.
fails(() => model.exact(record), /no background record.*give some/);
fails(() => model.exact(record, { background: [] }), /no background record/);
fails(() => model.exact(record, { background: [record], space: "odds" }), /space is "odds", expected probability or log-odds/);
fails(() => model.exact(record, { background: [record], rows: 0 }), /rows is 0/);
fails(() => model.exact(record, { background: Array(1001).fill(record) }), /1001 background records, expected at most 1000/);
fails(() => model.exact(record, { background: [without] }), /no "age"/);
for (const space of ["probability", "log-odds"]) {
    const why = model.exact({ ...record, age: 60, income: 9e4 }, { background: [record, { ...record, sex: "Female" }], space });
    const sum = why.values.reduce((sum, value) => sum + value, why.baseValue + why.residual);
    assert(Math.abs(sum - why.output) < 1e-6 && why.values.some((value) => Math.abs(value) > 0.01), bits(why));
}
fails(() => model.recourse(record, { rules: { nobody: {} } }), /"nobody", which is no feature/);
fails(() => model.recourse(record, { rules: { age: { direction: "up" } } }), /direction "up", expected any, increase, decrease or fixed/);
fails(() => model.recourse(record, { rules: { age: { low: "1" } } }), /low "1", expected a number/);
fails(() => model.recourse(record, { rules: { age: { most: 1 } } }), /"age": found "most", expected direction/);
fails(() => model.recourse(record, { rules: { age: { low: 5, high: 4 } } }), /empty range/);
fails(() => model.recourse(record, { margin: 1 }), /margin/);
fails(() => model.recourse(record, { margin: "0.1" }), /margin is "0.1", expected a number/);
fails(() => model.recourse(record, { margin: null }), /margin is null/);
fails(() => model.recourse(record, { maxchanges: 1 }), /found "maxchanges", expected rules, maxChanges or margin/);
fails(() => model.exact(record, { Space: "log-odds" }), /found "Space", expected background, rows or space/);
fails(() => model.exact(record, { background: new Set([record]) }), /background is an object, expected an array/);
for (const other of [null, 5, true, []]) {
    fails(() => model.recourse(record, other), /the options: found .*, expected an object/);
    fails(() => model.recourse(record, { rules: { age: other } }), /the rule for "age": found .*, expected an object/);
    if (other !== null) fails(() => model.recourse(record, { rules: other }), /the rules: found .*, expected an object/);
}
fails(() => model.score({ ...record, sex: Object.create(null) }), /"sex" is an object, expected a level/);
fails(() => model.score({ ...record, sex: [] }), /"sex" is an array, expected a level/);
// A getter that scores another record on the way, or lets go of the model.
const older = { ...record, age: 70, get sex() { model.score({ ...record, age: 20 }); return record.sex; } };
assert.equal(bits(model.score(older)), bits(model.score({ ...record, age: 70 })));
const freed = await load(demo, wasm);
fails(() => freed.score({ ...record, get age() { freed.free(); return 1; } }), /was freed/);
// What is said of a model stays as it is.
assert.throws(() => (model.experts = 1), TypeError);
assert.throws(() => (model.integer = true), TypeError);
assert.throws(() => model.features.find(({ levels }) => levels).levels.push("other"), TypeError);
// Bytes that change while the module is compiled.
const changing = Uint8Array.from(demo);
const loading = load(changing);
changing.fill(0);
assert.equal((await loading).checksum, model.checksum);
fails(() => model.recourse(record, { maxChanges: 0 }), /maxChanges is 0/);
const fixed = Object.fromEntries(model.features.map(({ name }) => [name, { direction: "fixed" }]));
assert(!model.score(record).decision && model.recourse(record, { rules: fixed }) === null);
for (const maxChanges of [1, 2, 3]) {
    const found = model.recourse(record, { maxChanges, margin: 0 });
    if (!found) continue;
    assert(Object.keys(found.changes).length <= maxChanges);
    assert.equal(model.score({ ...record, ...found.changes }).probability, found.probability);
    assert(model.score({ ...record, ...found.changes }).decision);
}

// Of integer weights.
const integer = await load(narrow);
assert(integer.integer && !model.integer);
const other = Object.fromEntries(integer.features.map(({ name, kind, low, levels }) => [name, kind === "number" ? low : levels[0]]));
for (const call of ["path", "exact", "recourse", "calibrated"]) fails(() => integer[call](other), /integer ones/);
const why = integer.frozen(other);
const sum = why.values.reduce((sum, value) => sum + value, why.baseValue);
assert(Math.abs(sum - why.output) < 1e-3 && integer.score(other).probability === why.score.probability);

// Many at once do not disturb each other; what is not used any more is not kept.
const many = await Promise.all(Array.from({ length: 200 }, (_, index) => load(index % 2 ? demo : narrow, wasm)));
many.forEach((one, index) => assert.equal(bits(one.score(index % 2 ? record : other)), bits(index % 2 ? model.score(record) : integer.score(other))));
many[3].free();
fails(() => many[3].score(record), /was freed/);
fails(() => many[3].path(record), /was freed/);
assert.equal(bits(many[5].score(record)), bits(model.score(record)));
many.length = 0;
const resident = async (loads, keep) => {
    const kept = [];
    for (let load_ = 0; load_ < loads; load_++) {
        const one = await load(demo, wasm);
        one.score(record);
        if (keep) kept.push(one);
    }
    for (let turn = 0; turn < 4; turn++) {
        await new Promise((done) => setTimeout(done, 10));
        gc();
    }
    return process.memoryUsage().external;
};
const before = await resident(100, false);
const after = await resident(2000, false);
assert(after - before < 100e6, `2000 models left ${after - before} bytes`);
// The measure sees what is kept.
const held = await resident(200, true);
assert(held - after > 100e6, `200 kept models take only ${held - after} bytes`);
console.log("the module's use: as stated");
clearInterval(awake);
