// Compares what the module computes with what the command printed: every float to the bit. Runs in
// Node and in a browser.

/** Returns what differs, the first few in words, and how many numbers were compared. */
export async function compare(load, blob, expected, wasm) {
    const model = await load(blob, wasm);
    const found = [];
    let compared = 0;
    const same = (what, ours, theirs) => {
        compared++;
        // The command prints the shortest decimal of an f32.
        const is = typeof theirs === "number" ? Object.is(ours, Math.fround(theirs)) : ours === theirs;
        if (!is) found.push(`${what}: ${ours}, by the command ${theirs}`);
    };
    const all = (what, ours, theirs) => {
        same(`${what}, count`, ours.length, theirs.length);
        ours.forEach((value, index) => same(`${what} ${index}`, value, theirs[index]));
    };
    const kinds = new Map(model.features.map(({ name, kind }) => [name, kind]));
    const typed = ([name, text]) => [name, text !== null && kinds.get(name) === "number" ? Number(text) : text];
    const record = (kept) => Object.fromEntries(Object.entries(kept).map(typed));

    same("checksum", model.checksum, expected.scores.model);
    same("threshold", model.threshold, expected.scores.threshold);
    same("outcome", model.outcome, expected.scores.favourable_outcome);
    for (const row of expected.scores.records) {
        const ours = model.score(record(row.kept));
        const at = `row ${row.row}`;
        same(`${at}, score`, ours.probability, row.score ?? row.probability);
        if (row.score !== undefined) same(`${at}, probability`, model.calibrated(record(row.kept)), row.probability);
        same(`${at}, decision`, Number(ours.decision), row.decision);
        if (row.gate) all(`${at}, gate`, ours.gate, row.gate);
        same(`${at}, missing`, ours.missing, Object.values(row.kept).includes(null));
        same(`${at}, clamped`, ours.clamped, "clamped" in row.notes);
        same(`${at}, unseen`, ours.unseen, "unseen" in row.notes);
    }
    for (const explained of expected.explanations) {
        explained.row.forEach((row, place) => {
            const cells = Object.fromEntries(explained.feature_names.map((name, index) => [name, explained.display_data[place][index]]));
            const ours = model[explained.method](record(cells));
            const at = `row ${row}, ${explained.method}`;
            same(`${at}, space`, ours.space, explained.space);
            same(`${at}, base`, ours.baseValue, explained.base_values[place]);
            same(`${at}, output`, ours.output, explained.output[place]);
            all(`${at}, values`, ours.values, explained.values[place]);
        });
    }
    if (expected.recourse) {
        const { rules, declined, answers } = expected.recourse;
        const limits = ({ low, high, ...rest }) => ({ low: low ?? -Infinity, high: high ?? Infinity, ...rest });
        const named = Object.fromEntries(rules.map(({ feature, ...rule }) => [feature, limits(rule)]));
        const rows = new Map(expected.scores.records.map((row) => [row.row, record(row.kept)]));
        declined.row.forEach((row, place) => {
            const ours = model.recourse(rows.get(row), { rules: named });
            same(`row ${row}, recourse`, ours !== null, declined.answers[place] > 0);
            const answer = answers.row.indexOf(row);
            if (!ours || answer < 0) return;
            same(`row ${row}, distance`, ours.distance, answers.distance[answer]);
            same(`row ${row}, score then`, ours.probability, answers.probability[answer]);
            all(`row ${row}, changes`, Object.keys(ours.changes), answers.features[answer]);
            all(`row ${row}, to`, Object.values(ours.changes), answers.to[answer]);
        });
    }
    model.free();
    return { compared, found };
}
