
// The form of the report that scores what is typed into it. The page holds what it needs as JSON:
// the engine, the model, the rules of recourse, and records to start from.

const place = document.getElementById("what-if-form");
const page = JSON.parse(document.getElementById("what-if-data").textContent);

// Evaluations that an explanation may take: it follows every change of a value.
const MOST_EVALUATIONS = 2 ** 23;
// Fewer background records say little.
const FEWEST_RECORDS = 20;
// Milliseconds without a change after which the record is explained.
const PAUSE = 120;
const MOST_CHANGES = 3;
const NONE = "missing";
const UNKNOWN = "unseen";
const UNKNOWN_WORDS = "(not seen in training)";
const UNFIT = new RegExp(`[\\u0000-\\u001f\\u007f-\\u009f${page.direction}]`, "g");

/** Returns an element with its attributes and what is in it; text stays text. */
function make(tag, attributes = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...inside);
    return element;
}

/** Returns a name without what changes the direction of the text beside it. */
function plain(name) {
    return name.replace(UNFIT, "\ufffd");
}

/** Returns a number with this number of decimals and a typographic minus. */
function fixed(number, decimals, sign = "") {
    const text = Math.abs(number).toFixed(decimals);
    if (Number(text) === 0) return text;
    return number < 0 ? `\u2212${text}` : sign + text;
}

/** Returns an f32 by the fewest digits that distinguish it. */
function digits(number) {
    for (let count = 1; count < 9; count++) {
        const text = number.toPrecision(count);
        if (Math.fround(Number(text)) === Math.fround(number)) return String(Number(text));
    }
    return String(number);
}

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

try {
    show(await load(bytes(page.model), bytes(page.engine)));
} catch (error) {
    place.replaceChildren(make("p", { class: "note" }, `The form cannot be shown in this browser: ${error.message}`));
}

function show(model) {
    const outcome = plain(model.outcome) || "the favourable outcome";
    const controls = model.features.map(control);
    const starts = make("select", { id: "what-if-start" });
    page.records.forEach(({ name }, index) => starts.append(make("option", { value: index }, name)));
    const score = make("p", { class: "what-if-score", role: "status", id: "what-if-score" });
    const notes = make("p", { class: "what-if-notes", id: "what-if-notes" });
    const rows = make("tbody");
    const caption = make("span");
    const advice = make("div", { role: "status", id: "what-if-advice" });
    const back = make("button", { type: "button", id: "what-if-back" }, "Back to the record");
    const ask = make("button", { type: "button", id: "what-if-ask" }, "What would change the decision?");
    const form = make("form", { autocomplete: "off", "aria-label": "Values of the record" });
    if (page.records.length > 0) {
        form.append(make("p", {}, make("label", { for: starts.id }, "Start from "), starts, " ", back));
    }
    form.append(make("div", { class: "what-if-values" }, ...controls.map((one) => one.field)));
    const heads = ["feature", "value", "adds to the score", ""].map((head, index) =>
        index === 3 ? make("td", {}) : make("th", index === 2 ? { scope: "col", class: "number" } : { scope: "col" }, head),
    );
    const table = make("table", { id: "what-if-values" }, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), rows);
    const scroller = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What each feature adds to the score" }, table);
    const parts = [form, score, notes, scroller];
    if (!model.integer) parts.push(make("p", {}, ask), advice);
    place.replaceChildren(...parts);

    let before;
    let timer;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => event.target !== starts && changed());
    starts.addEventListener("change", start);
    back.addEventListener("click", start);
    ask.addEventListener("click", advise);
    start();

    function start() {
        const record = page.records[starts.value || 0];
        controls.forEach((one, index) => one.set(record?.values[index] ?? null));
        before = record && model.score(typed()).probability;
        changed();
    }

    /** Returns the record as it stands in the form. */
    function typed() {
        return Object.fromEntries(model.features.map(({ name }, index) => [name, controls[index].get()]));
    }

    function changed() {
        clearTimeout(timer);
        advice.replaceChildren();
        const wrong = controls.filter((one) => one.check());
        if (wrong.length > 0) {
            const are = wrong.length > 1 ? "are no numbers" : "is not a number";
            score.textContent = `No score: ${wrong.map((one) => one.name).join(", ")} ${are}.`;
            notes.textContent = caption.textContent = "";
            rows.replaceChildren();
            return;
        }
        const record = typed();
        const found = model.score(record);
        const decision = found.decision ? `favourable (${outcome})` : "declined";
        const moved = before === undefined || before === found.probability ? "" : `; the record as it was: ${fixed(before, 4)}`;
        score.replaceChildren(
            "Score ",
            make("data", { value: digits(found.probability) }, fixed(found.probability, 4)),
            ", decision ",
            make("strong", {}, decision),
            ` (threshold ${digits(model.threshold)})${moved}.`,
        );
        if (!model.integer) {
            const chance = model.calibrated(record);
            if (chance !== found.probability) score.append(` Calibrated probability: ${fixed(chance, 4)}.`);
        }
        notes.textContent = [
            found.missing && "Some value is missing.",
            found.clamped && "Some number is outside the training range and counts as its nearest end.",
            found.unseen && "Some level was not seen in training.",
        ].filter(Boolean).join(" ");
        timer = setTimeout(() => explain(record), PAUSE);
    }

    function explain(record) {
        const possible = Math.floor(MOST_EVALUATIONS / 2 ** model.features.length);
        const count = Math.min(model.backgroundRows, possible, 1000);
        let why;
        let words;
        if (model.integer) {
            why = model.frozen(record);
            words = "log-odds of the experts averaged by the gate, which is held: the model has integer weights";
        } else if (count >= Math.min(FEWEST_RECORDS, model.backgroundRows) && count > 0) {
            why = model.exact(record, { rows: count });
            words = `exact Shapley values against ${count} background records, in the score`;
        } else {
            why = model.path(record);
            words = "path attributions from the mean record, in the score";
        }
        caption.textContent = `What each feature adds, from the base ${fixed(why.baseValue, 4)} to ${fixed(why.output, 4)}: ${words}`;
        const most = Math.max(...why.values.map(Math.abs), 1e-9);
        const order = why.values.map((_, index) => index).sort((a, b) => Math.abs(why.values[b]) - Math.abs(why.values[a]) || a - b);
        rows.replaceChildren(...order.map((index) => {
            const value = why.values[index];
            const bar = make("span", { class: value < 0 ? "lowers" : "raises" });
            bar.style.width = `${(50 * Math.abs(value)) / most}%`;
            return make(
                "tr",
                {},
                make("th", { scope: "row" }, controls[index].name),
                make("td", {}, controls[index].words()),
                make("td", { class: "number" }, make("data", { value: digits(value) }, fixed(value, 4, "+"))),
                make("td", { class: "what-if-bar", "aria-hidden": "true" }, bar),
            );
        }));
    }

    function advise() {
        if (controls.some((one) => one.check())) return;
        const record = typed();
        const rule = ({ name }, index) => {
            const { low, high, ...others } = page.rules[index] ?? {};
            return [name, { ...others, low: low ?? -Infinity, high: high ?? Infinity }];
        };
        const rules = Object.fromEntries(model.features.map(rule));
        if (model.score(record).decision) {
            advice.replaceChildren(make("p", {}, "The decision is favourable as it is."));
            return;
        }
        const found = model.recourse(record, { rules, maxChanges: MOST_CHANGES, margin: page.margin });
        if (!found) {
            advice.replaceChildren(make("p", {}, `No change of at most ${MOST_CHANGES} features that the rules allow was found, to a score of ${digits(page.margin)} past the threshold.`));
            return;
        }
        const changes = model.features.flatMap(({ name }, index) => (Object.hasOwn(found.changes, name) ? [{ name, one: controls[index] }] : []));
        const take = make("button", { type: "button", id: "what-if-take" }, "Put these values into the form");
        take.addEventListener("click", () => {
            changes.forEach(({ name, one }) => one.put(found.changes[name]));
            changed();
            score.scrollIntoView({ block: "nearest" });
            ask.focus();
        });
        advice.replaceChildren(
            make("p", {}, `The nearest change by the rules under "What would change a decision", ${fixed(found.distance, 2)} standard deviations away, to a score that passes the threshold by ${digits(page.margin)}:`),
            make("ul", {}, ...changes.map(({ name, one }) => {
                const to = found.changes[name];
                return make("li", {}, `${one.name}: ${one.words()} \u2192 ${typeof to === "number" ? digits(to) : plain(to)}`);
            })),
            make("p", {}, `Score then: ${fixed(found.probability, 4)}. `, take),
        );
    }
}

/** Makes the label and the control of a feature, and what reads and writes it. */
function control(feature, index) {
    const id = `what-if-${index}`;
    const name = plain(feature.name);
    const label = make("label", { for: id }, name);
    return feature.kind === "number" ? ofNumber(feature, name, id, label) : ofCategory(feature, name, id, label);
}

function ofNumber({ low, high }, name, id, label) {
    const input = make("input", { id, type: "number", step: "any", inputmode: "decimal", placeholder: NONE, "aria-describedby": `${id}-range` });
    const range = make("small", { id: `${id}-range` }, `${digits(low)} to ${digits(high)}; empty: missing`);
    const set = (value) => (input.value = value === null ? "" : digits(value));
    return {
        name,
        field: make("div", {}, label, input, range),
        set,
        put: set,
        get: () => (input.value === "" ? null : Number(input.value)),
        words: () => input.value || NONE,
        check() {
            const isWrong = input.validity.badInput;
            if (isWrong) input.setAttribute("aria-invalid", "true");
            else input.removeAttribute("aria-invalid");
            return isWrong;
        },
    };
}

function ofCategory({ levels }, name, id, label) {
    const select = make("select", { id });
    levels.forEach((level, code) => select.append(make("option", { value: code }, plain(level))));
    select.append(make("option", { value: UNKNOWN }, UNKNOWN_WORDS), make("option", { value: NONE }, "(missing)"));
    // No level of the model: whatever the name, it is none of them.
    let other = UNKNOWN_WORDS;
    while (levels.includes(other)) other += " ";
    return {
        name,
        field: make("div", {}, label, select),
        set: (value) => (select.value = value === null ? NONE : String(value[0] ?? UNKNOWN)),
        put: (level) => (select.value = String(levels.indexOf(level))),
        get: () => (select.value === NONE ? null : select.value === UNKNOWN ? other : levels[Number(select.value)]),
        words: () => select.selectedOptions[0].textContent,
        check: () => false,
    };
}
