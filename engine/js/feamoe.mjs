// The feamoe engine in a browser or in Node: loads a model file, scores and explains records, finds
// recourse. It wraps the C interface (engine/c), compiled to WebAssembly without imports, so scores
// are bit-identical to those of the command. `feamoe.d.ts` documents the exports.
//
// Every model has its own instance with its own memory. Nothing has to be freed by hand: the memory
// is freed with the model, when nothing refers to it any more.

// The capacity that build.sh compiles with: that of the command, and the background records of
// `feamoe explain`.
const FEATURES = 512;
const EXPERTS = 64;
const BACKGROUND = 1000;

// Sizes in bytes, as include/feamoe.h has them in units of 8.
const MODEL_BYTES = 8 * (4 * FEATURES + 40);
const INTEGER_MODEL_BYTES = 8 * (6 * FEATURES + 34);
const RECORD_BYTES = 8 * ((17 * FEATURES) / 8 + 12);
const RECOURSE_BYTES = 8 * (37 * FEATURES + 4);
const WORKSPACE_BYTES =
    8 * (158 + 10 * FEATURES + 66 * EXPERTS + 4 * FEATURES * EXPERTS + 2 * FEATURES * BACKGROUND);
// Of feamoe_value, feamoe_rule and feamoe_change.
const VALUE_BYTES = 12;
const RULE_BYTES = 20;
const CHANGE_BYTES = 12;
// The largest of feamoe_info, feamoe_feature, feamoe_attribution and feamoe_answer, and room.
const ANSWER_BYTES = 64;
// Of a page of WebAssembly's memory.
const PAGE_BYTES = 65536;

// Of feamoe_status.
const OK = 0;
const BLOB_OTHER_WEIGHTS = 18;
// Of feamoe_value_kind, and the code of a level that training had not seen.
const MISSING = 0;
const NUMBER = 1;
const LEVEL = 2;
const UNSEEN = 0xffff;

const DIRECTIONS = ["any", "increase", "decrease", "fixed"];
const SPACES = ["probability", "log-odds"];

// A byte order mark is an ordinary character of a name.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

export class FeamoeError extends Error {
    name = "FeamoeError";
}

let own;

/** Compiles the module: the one beside this file, unless other bytes are given. */
function compiled(wasm) {
    if (wasm instanceof WebAssembly.Module) return Promise.resolve(wasm);
    if (wasm !== undefined) return WebAssembly.compile(wasm);
    own ??= ownBytes()
        .then((bytes) => WebAssembly.compile(bytes))
        .catch((error) => {
            own = undefined;
            throw error;
        });
    return own;
}

async function ownBytes() {
    const url = new URL("feamoe.wasm", import.meta.url);
    if (url.protocol === "file:" && typeof process === "object") {
        const { readFile } = await import("node:fs/promises");
        return readFile(url);
    }
    const response = await fetch(url);
    if (!response.ok) throw new FeamoeError(`${url}: ${response.status} ${response.statusText}`);
    return response.arrayBuffer();
}

export async function load(blob, wasm) {
    const given = blob instanceof ArrayBuffer ? new Uint8Array(blob) : blob;
    if (!(given instanceof Uint8Array)) {
        throw new FeamoeError("a model is the bytes of its file: give an ArrayBuffer or a Uint8Array");
    }
    // Copied, since the caller may change the bytes while the module is compiled.
    const bytes = given.slice();
    const { exports } = await WebAssembly.instantiate(await compiled(wasm));
    return new Model(KEY, exports, bytes);
}

/** Models are made by `load` alone. */
const KEY = Symbol("load");

export class Model {
    #engine;
    #memory;
    #end;
    #model;
    #record;
    #values;
    #numbers;
    #gate;
    #answer;
    #recourse = 0;
    #changes = 0;
    #rules = 0;
    #workspace = 0;
    #pointers = 0;
    #background = [];
    #places;
    #codes;
    #setAll;
    #view;

    constructor(key, engine, blob) {
        if (key !== KEY) throw new FeamoeError("models are made by load()");
        this.#engine = engine;
        this.#memory = engine.memory;
        this.#end = engine.__heap_base.value;
        this.#answer = this.#allocate(ANSWER_BYTES);
        this.#load(blob);
        this.#describe();
        Object.freeze(this);
    }

    /** Takes memory after all that is taken; it stays as long as the model. */
    #allocate(bytes) {
        const start = Math.ceil(this.#end / 8) * 8;
        this.#end = start + bytes;
        const missing = Math.ceil((this.#end - this.#memory.buffer.byteLength) / PAGE_BYTES);
        if (missing > 0) {
            try {
                this.#memory.grow(missing);
            } catch {
                throw new FeamoeError(`no memory for ${bytes} bytes more`);
            }
        }
        this.#view = new DataView(this.#memory.buffer);
        return start;
    }

    #load(blob) {
        const at = this.#allocate(blob.length);
        new Uint8Array(this.#memory.buffer).set(blob, at);
        this.#model = this.#allocate(Math.max(MODEL_BYTES, INTEGER_MODEL_BYTES));
        let status = this.#engine.feamoe_model_load(this.#model, MODEL_BYTES, at, blob.length);
        this.integer = status === BLOB_OTHER_WEIGHTS;
        if (this.integer) {
            status = this.#engine.feamoe_integer_model_load(this.#model, INTEGER_MODEL_BYTES, at, blob.length);
        }
        this.#check(status);
    }

    #describe() {
        const call = (name, ...rest) => this.#call(`model_${name}`, this.#model, ...rest);
        call("info", this.#answer);
        const count = this.#uint(8);
        this.checksum = this.#uint(0).toString(16).padStart(8, "0");
        this.threshold = this.#float(4);
        this.experts = this.#uint(12);
        const hasNames = this.#byte(20) !== 0;
        const name = (of, ...which) => {
            call(of, ...which, this.#answer, this.#answer + 4);
            const start = this.#uint(0);
            return utf8.decode(new Uint8Array(this.#memory.buffer, start, this.#uint(4)));
        };
        this.outcome = hasNames ? name("outcome_name") : "";
        this.features = [];
        for (let index = 0; index < count; index++) {
            call("feature", index, this.#answer);
            const [kind, low, high, levels] = [this.#uint(0), this.#float(4), this.#float(8), this.#uint(12)];
            const feature = { name: hasNames ? name("feature_name", index) : `feature ${index + 1}` };
            if (kind === NUMBER) {
                Object.assign(feature, { kind: "number", low, high });
            } else {
                const named = (_, code) => (hasNames ? name("level_name", index, code) : `level ${code}`);
                Object.assign(feature, { kind: "category", levels: Object.freeze(Array.from({ length: levels }, named)) });
            }
            this.features.push(Object.freeze(feature));
        }
        Object.freeze(this.features);
        this.backgroundRows = 0;
        if (!this.integer) {
            call("background_rows", this.#answer);
            this.backgroundRows = this.#uint(0);
        }
        // If a name occurs twice, the first counts, as in the engine.
        const firsts = (names) => new Map(names.map((name, index) => [name, index]).reverse());
        this.#places = firsts(this.features.map((feature) => feature.name));
        this.#codes = this.features.map((feature) => firsts(feature.levels ?? []));
        this.#record = this.#allocate(RECORD_BYTES);
        this.#values = this.#allocate(VALUE_BYTES * count);
        this.#numbers = this.#allocate(4 * count);
        this.#gate = this.#allocate(4 * this.experts);
        this.#init(this.#record);
        this.#setAll = `feamoe_${this.#kind}record_set_all`;
    }

    free() {
        this.#engine = this.#memory = this.#view = undefined;
    }

    score(record) {
        this.#set(this.#record, record);
        this.#callOn(this.#record, "score", this.#answer, this.#gate, this.experts);
        const weight = (index) => {
            const at = this.#gate + 4 * index;
            return this.integer ? this.#view.getUint32(at, true) / 65536 : this.#view.getFloat32(at, true);
        };
        return { ...this.#score(), gate: Array.from({ length: this.experts }, (_, index) => weight(index)) };
    }

    calibrated(record) {
        this.#onlyFloats("a calibrated probability");
        this.#set(this.#record, record);
        this.#callOn(this.#record, "calibrated", this.#answer);
        return this.#float(0);
    }

    frozen(record) {
        this.#set(this.#record, record);
        this.#callOn(this.#record, "frozen", this.#answer, this.#numbers, this.features.length);
        if (!this.integer) return this.#explanation("frozen", "log-odds");
        const fixed = (at) => this.#view.getInt32(at, true) / 65536;
        return {
            method: "frozen",
            space: "log-odds",
            score: this.#score(),
            baseValue: fixed(this.#answer + 8),
            output: fixed(this.#answer + 12),
            residual: 0,
            gateShare: NaN,
            values: this.features.map((_, index) => fixed(this.#numbers + 4 * index)),
        };
    }

    path(record) {
        this.#onlyFloats("an explanation by path");
        this.#set(this.#record, record);
        this.#callOn(this.#record, "path", this.#answer, this.#numbers, this.features.length);
        return this.#explanation("path", "probability");
    }

    exact(record, options = {}) {
        this.#onlyFloats("an exact explanation");
        const { background, space = "probability" } = known("the options", options, ["background", "rows", "space"]);
        if (background !== undefined && !Array.isArray(background)) {
            throw new FeamoeError(`background is ${shown(background)}, expected an array of records`);
        }
        const { rows = background?.length ?? BACKGROUND } = options;
        const number = SPACES.indexOf(space);
        if (number < 0) throw new FeamoeError(`space is ${shown(space)}, expected ${list(SPACES)}`);
        const there = background?.length ?? this.backgroundRows;
        if (there === 0) {
            throw new FeamoeError("there is no background record: the model carries none, so give some as background");
        }
        if (!(Number.isInteger(rows) && rows > 0)) {
            throw new FeamoeError(`rows is ${shown(rows)}, expected a whole number above 0`);
        }
        const count = Math.min(rows, there);
        if (count > BACKGROUND) {
            throw new FeamoeError(`${count} background records, expected at most ${BACKGROUND}: give fewer, or set rows`);
        }
        this.#workspace ||= this.#allocate(WORKSPACE_BYTES);
        this.#pointers ||= this.#allocate(4 * BACKGROUND);
        while (this.#background.length < count) {
            const at = this.#allocate(RECORD_BYTES);
            this.#init(at);
            this.#view.setUint32(this.#pointers + 4 * this.#background.length, at, true);
            this.#background.push(at);
        }
        this.#background.slice(0, count).forEach((at, row) => {
            if (background) this.#set(at, background[row]);
            else this.#callOn(at, "set_background", row);
        });
        this.#set(this.#record, record);
        const memory = [this.#workspace, WORKSPACE_BYTES, 0, 0];
        const outputs = [this.#answer, this.#numbers, this.features.length];
        this.#callOn(this.#record, "exact", this.#pointers, count, number, ...memory, ...outputs);
        return this.#explanation("exact", space);
    }

    recourse(record, options = {}) {
        this.#onlyFloats("recourse");
        const { maxChanges = 3, margin = 0.05 } = known("the options", options, ["rules", "maxChanges", "margin"]);
        const rules = known("the rules", options.rules ?? {}, undefined);
        for (const name of Object.keys(rules)) {
            if (!this.#places.has(name)) throw new FeamoeError(`a rule for "${name}", which is no feature; ${this.#named()}`);
            known(`the rule for "${name}"`, rules[name], ["direction", "low", "high", "step", "cost"]);
        }
        if (typeof margin !== "number") throw new FeamoeError(`margin is ${shown(margin)}, expected a number`);
        if (!(Number.isInteger(maxChanges) && maxChanges > 0)) {
            throw new FeamoeError(`maxChanges is ${shown(maxChanges)}, expected a whole number above 0`);
        }
        this.#set(this.#record, record);
        const fixed = new Set();
        let found = this.#nearest(rules, margin, fixed);
        // If too many features change, the feature without which the next answer is nearest is
        // fixed.
        while (found && Object.keys(found.changes).length > maxChanges) {
            let best;
            for (const name of Object.keys(found.changes)) {
                const without = this.#nearest(rules, margin, new Set(fixed).add(name));
                if (without && !(best?.found.distance <= without.distance)) best = { name, found: without };
            }
            found = best?.found;
            if (best) fixed.add(best.name);
        }
        return found ?? null;
    }

    /** Returns the nearest favourable record, some features left as they are. */
    #nearest(rules, margin, fixed) {
        const count = this.features.length;
        this.#recourse ||= this.#allocate(RECOURSE_BYTES);
        this.#changes ||= this.#allocate(CHANGE_BYTES * count);
        this.#rules ||= this.#allocate(RULE_BYTES * count);
        this.features.forEach(({ name }, index) => {
            const rule = (Object.hasOwn(rules, name) && rules[name]) || {};
            this.#rule(name, this.#rules + RULE_BYTES * index, fixed.has(name) ? { ...rule, direction: "fixed" } : rule);
        });
        const memory = [this.#recourse, RECOURSE_BYTES, 0, 0];
        const outputs = [this.#answer, this.#changes, count];
        this.#callOn(this.#record, "recourse_few", this.#rules, count, margin, ...memory, ...outputs);
        if (this.#byte(0) === 0) return null;
        const changes = this.features.flatMap(({ name, levels }, index) => {
            const at = this.#changes + CHANGE_BYTES * index;
            const kind = this.#view.getUint32(at, true);
            if (kind === NUMBER) return [[name, this.#view.getFloat32(at + 4, true)]];
            return kind === LEVEL ? [[name, levels[this.#view.getUint16(at + 8, true)]]] : [];
        });
        // Works for any feature name: `__proto__` is an ordinary property.
        return { distance: this.#float(4), probability: this.#float(8), changes: Object.fromEntries(changes) };
    }

    /** Puts a record's values into the one that lies at an address. */
    #set(at, record) {
        if (record === null || typeof record !== "object") {
            throw new FeamoeError(`the record is ${shown(record)}, expected an object of values by the names of features`);
        }
        this.#live();
        // All values are read before one is written, since getters of the record may run any code.
        const values = this.features.map((_, index) => this.#value(index, record));
        const engine = this.#live();
        values.forEach(([kind, value], index) => {
            const at = this.#values + VALUE_BYTES * index;
            this.#view.setUint32(at, kind, true);
            if (kind === NUMBER) this.#view.setFloat32(at + 4, value, true);
            if (kind === LEVEL) this.#view.setUint16(at + 8, value, true);
        });
        this.#check(engine[this.#setAll](at, this.#values, values.length));
    }

    /** Returns the kind of a feature's value in a record, and its number or its code. */
    #value(index, record) {
        const { name, kind } = this.features[index];
        const isThere = Object.hasOwn(record, name) || (name in record && !(name in Object.prototype));
        if (!isThere) {
            throw new FeamoeError(`the record has no "${name}": give null where the value is missing; ${this.#named()}`);
        }
        const value = record[name];
        const type = typeof value;
        const isEmpty = value === "" && !this.#codes[index].has("");
        if (value === null || value === undefined || isEmpty || Number.isNaN(value)) return [MISSING];
        if (kind === "number") {
            if (type !== "number" && type !== "bigint") {
                throw new FeamoeError(`"${name}" is ${shown(value)}, expected a number, or null where it is missing`);
            }
            return [NUMBER, Number(value)];
        }
        if (type !== "string" && type !== "number" && type !== "bigint" && type !== "boolean") {
            throw new FeamoeError(`"${name}" is ${shown(value)}, expected a level, or null where it is missing`);
        }
        return [LEVEL, this.#codes[index].get(String(value)) ?? UNSEEN];
    }

    /** Writes what may be done with a feature. */
    #rule(name, at, rule) {
        const { direction = "any", low = -Infinity, high = Infinity, step = 0, cost = 1 } = rule;
        const number = DIRECTIONS.indexOf(direction);
        if (number < 0) {
            throw new FeamoeError(`the rule for "${name}" has the direction ${shown(direction)}, expected ${list(DIRECTIONS)}`);
        }
        this.#view.setUint32(at, number, true);
        for (const [place, [key, value]] of Object.entries({ low, high, step, cost }).entries()) {
            if (typeof value !== "number" || Number.isNaN(value)) {
                throw new FeamoeError(`the rule for "${name}" has the ${key} ${shown(value)}, expected a number`);
            }
            this.#view.setFloat32(at + 4 + 4 * place, value, true);
        }
    }

    #score() {
        const bits = this.#uint(0);
        return {
            // For an integer score, the 24 highest bits, as the command prints it.
            probability: this.integer ? highest(bits) / 2 ** 32 : this.#float(0),
            decision: this.#byte(4) !== 0,
            missing: this.#byte(5) !== 0,
            clamped: this.#byte(6) !== 0,
            unseen: this.#byte(7) !== 0,
        };
    }

    #explanation(method, space) {
        const [baseValue, output, residual, gateShare] = [8, 12, 16, 20].map((at) => this.#float(at));
        const values = this.features.map((_, index) => this.#view.getFloat32(this.#numbers + 4 * index, true));
        return { method, space, score: this.#score(), baseValue, output, residual, gateShare, values };
    }

    #init(at) {
        this.#callOn(at, "init", RECORD_BYTES, this.#model);
    }

    /** Calls a function of the interface on the record at an address. */
    #callOn(at, name, ...rest) {
        this.#call(`record_${name}`, at, ...rest);
    }

    #call(name, ...rest) {
        this.#check(this.#live()[`feamoe_${this.#kind}${name}`](...rest));
    }

    /** Throws what is wrong, where something is. */
    #check(status) {
        if (status === OK) return;
        const memory = new Uint8Array(this.#memory.buffer);
        const start = this.#engine.feamoe_message(status);
        const message = utf8.decode(memory.slice(start, memory.indexOf(0, start)));
        // Removes the remedy for C programs.
        throw new FeamoeError(message.replace(/: raise it where .*/s, ", which this module is compiled with"));
    }

    #live() {
        if (!this.#engine) throw new FeamoeError("the model was freed");
        return this.#engine;
    }

    #onlyFloats(what) {
        this.#live();
        if (this.integer) {
            throw new FeamoeError(`${what} takes float weights, and the model has integer ones: load the model it was exported from`);
        }
    }

    #named() {
        return `its features are ${this.features.map((feature) => feature.name).join(", ")}`;
    }

    get #kind() {
        return this.integer ? "integer_" : "";
    }

    // Fields of the engine's results, at byte offsets.
    #uint(offset) {
        return this.#view.getUint32(this.#answer + offset, true);
    }

    #float(offset) {
        return this.#view.getFloat32(this.#answer + offset, true);
    }

    #byte(offset) {
        return this.#view.getUint8(this.#answer + offset);
    }
}

/** Returns a whole number of 32 bits with its 24 highest bits alone. */
function highest(bits) {
    const dropped = Math.max(0, 8 - Math.clz32(bits));
    return ((bits >>> dropped) << dropped) >>> 0;
}

/** Returns an object that has no other keys than these, any where none are listed. */
function known(what, given, keys) {
    if (given === null || typeof given !== "object" || Array.isArray(given)) {
        throw new FeamoeError(`${what}: found ${shown(given)}, expected an object`);
    }
    const other = keys && Object.keys(given).find((key) => !keys.includes(key));
    if (other !== undefined) throw new FeamoeError(`${what}: found "${other}", expected ${list(keys)}`);
    return given;
}

function shown(value) {
    if (typeof value === "string") return `"${value}"`;
    if (Array.isArray(value)) return "an array";
    return value !== null && (typeof value === "object" || typeof value === "function") ? "an object" : String(value);
}

function list(words) {
    return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
