//! `feamoe explain`: text, CSV and JSON have the same numbers, reasons are given only for declined
//! decisions, and plots are drawn to scale.

use std::collections::BTreeSet;

use feamoe::explanation::{Cell, Explained, Explainer, Explanation, Procedure};
use feamoe::model::{AlignedBytes, AnyModel, HostAttribution, HostModel};
use feamoe::plot;
use feamoe_engine::{BackgroundId, Method};
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::{Folder, keys_in_order, lending};
use roxmltree::{Document, Node};
use serde_json::Value;

const EXPLAIN: [&str; 3] = ["explain", "lending.feamoe", "new.csv"];
const RECORDS: usize = 40;

fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("new.csv", lending(9, RECORDS));
    folder
}

/// Runs `explain` on the new records, with a small background if the method uses one.
fn explain(folder: &Folder, options: &[&str]) -> String {
    let is_against_any = !["path", "frozen"].iter().any(|method| options.contains(method));
    let few = if is_against_any { &["--background-rows", "20"][..] } else { &[] };
    folder.run(&[&EXPLAIN, options, few].concat()).done()
}

fn explain_json(folder: &Folder, options: &[&str]) -> Value {
    serde_json::from_str(&explain(folder, &[options, &["--format", "json"]].concat())).unwrap()
}

/// Returns the plot that a run draws in addition to its output.
fn drawn(folder: &Folder, options: &[&str]) -> String {
    let _ = explain(folder, &[options, &["--plot", "plot.svg"]].concat());
    folder.text("plot.svg")
}

fn background(e: &Value) -> BackgroundId {
    let hash = e["background"]["hash"].as_str().unwrap();
    let rows = e["background"]["rows"].as_u64().unwrap() as u32;
    BackgroundId { rows, hash: u32::from_str_radix(hash, 16).unwrap() }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Returns the numbers of one player from a column by record; NaN stands for a value that is no
/// number.
fn numbers_of(column: &Value, player: usize) -> Vec<f64> {
    column.as_array().unwrap().iter().map(|record| record[player].as_f64().unwrap_or(f64::NAN)).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect()
}

/// Returns the elements of a class, in document order.
fn of_class<'a>(svg: &'a Document<'a>, class: &str) -> Vec<Node<'a, 'a>> {
    svg.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

fn number(node: &Node<'_, '_>, attribute: &str) -> f64 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// Returns where a bar starts and ends. The points of its arrow are: back, neck, tip, neck, back.
fn bar_ends(bar: &Node<'_, '_>) -> (f64, f64) {
    let points = bar.attribute("points").unwrap().split(' ');
    let x: Vec<f64> = points.map(|point| point.split(',').next().unwrap().parse().unwrap()).collect();
    (x[0], x[2])
}

fn has_text(svg: &Document<'_>, wanted: &str) -> bool {
    svg.descendants().any(|node| node.is_text() && node.text().map(str::trim) == Some(wanted))
}

#[test]
fn explanations_sum_to_the_output_and_start_as_shap_wants_them() {
    let folder = folder();
    let scores = folder.run(&["score", "lending.feamoe", "new.csv"]).done();
    let probabilities: Vec<f32> =
        scores.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    let crc = folder.run(&["inspect", "lending.feamoe", "--format", "json"]).json()["crc32"].clone();
    for (method, space) in
        [("exact", "probability"), ("sampled", "probability"), ("path", "probability"), ("frozen", "log-odds")]
    {
        let document = explain(&folder, &["--method", method, "--format", "json"]);
        // Keys that only some methods have.
        let of: &[(&str, &[&str])] = &[
            ("error_std", &["sampled"]),
            ("lower_bounds", &["sampled"]),
            ("upper_bounds", &["sampled"]),
            ("background", &["exact", "sampled"]),
            ("evaluations", &["exact", "sampled"]),
            ("seed", &["sampled"]),
        ];
        let is_shown = |key: &&str| of.iter().all(|(other, methods)| other != key || methods.contains(&method));
        assert_eq!(
            keys_in_order(&document),
            [
                "values",
                "base_values",
                "data",
                "display_data",
                "feature_names",
                "output_names",
                "error_std",
                "lower_bounds",
                "upper_bounds",
                "method",
                "space",
                "row",
                "output",
                "residual",
                "gate_share",
                "gate",
                "expert_values",
                "gate_values",
                "probability",
                "decision",
                "threshold",
                "notes",
                "reasons",
                "background",
                "evaluations",
                "seed",
                "model",
            ]
            .into_iter()
            .filter(is_shown)
            .collect::<Vec<_>>()
        );
        let e: Value = serde_json::from_str(&document).unwrap();
        assert_eq!((&e["method"], &e["space"], &e["model"]), (&method.into(), &space.into(), &crc));
        assert_eq!((e["feature_names"].as_array().unwrap().len(), e["output_names"].as_str()), (10, Some("yes")));
        for (record, probability) in probabilities.iter().enumerate() {
            let number = |key: &str| e[key][record].as_f64().unwrap();
            let list = |key: &str| numbers(&e[key][record]);
            let values = list("values");
            assert_eq!(values.len(), 10);
            assert_eq!((e["data"][record].as_array().unwrap().len(), list("gate_values").len()), (10, 10));
            let sum = number("base_values") + values.iter().sum::<f64>() + number("residual");
            assert!((sum - number("output")).abs() < 2e-5, "{method} {record}: {sum} is not {}", number("output"));
            assert!(number("residual").abs() < 1e-3, "{method} {record}");
            assert_eq!((number("probability") as f32).to_bits(), probability.to_bits());
            assert_eq!(e["decision"][record].as_bool(), Some(*probability >= 0.5));
            assert!((list("gate").iter().sum::<f64>() - 1.0).abs() < 1e-5);
            let mixed: f64 = list("gate").iter().zip(list("expert_values")).map(|(gate, expert)| gate * expert).sum();
            assert!((mixed - f64::from(*probability)).abs() < 1e-5, "the experts that decided");
            assert!((0.0..=1.0).contains(&number("gate_share")));
            if method != "frozen" {
                assert_eq!(number("output"), number("probability"));
            }
            if method == "exact" {
                assert!(number("residual").abs() < 1e-6, "{record}: {}", number("residual"));
            }
        }
        // A single record gives the same numbers as among all records.
        let one = explain_json(&folder, &["--method", method, "--row", "7"]);
        assert_eq!(one["row"], serde_json::json!([7]));
        assert_eq!(one["values"][0], e["values"][6]);
    }
}

#[test]
fn text_csv_and_json_have_the_same_numbers() {
    let folder = folder();
    for method in ["exact", "path", "frozen"] {
        let e = explain_json(&folder, &["--method", method]);
        let names = texts(&e["feature_names"]);
        let csv = explain(&folder, &["--method", method, "--format", "csv"]);
        let mut table = csv::Reader::from_reader(csv.as_bytes());
        let of_all = ["row", "probability", "decision", "base_value", "output", "residual", "gate_share"];
        let of_shapley = ["method", "evaluations", "largest_standard_error", "background_rows", "background_hash"];
        let fixed = [&of_all[..], if method == "exact" { &of_shapley } else { &[] }].concat();
        assert_eq!(table.headers().unwrap().iter().collect::<Vec<_>>(), [&fixed[..], &names].concat());
        for (record, line) in table.records().map(Result::unwrap).enumerate() {
            let same = |cell: &str, expected: &Value| {
                assert_eq!(cell.parse::<f32>().unwrap().to_bits(), (expected.as_f64().unwrap() as f32).to_bits());
            };
            assert_eq!(
                (&line[0], &line[2]),
                (&*(record + 1).to_string(), ["0", "1"][usize::from(e["decision"][record] == true)])
            );
            for (cell, key) in
                [(1, "probability"), (3, "base_values"), (4, "output"), (5, "residual"), (6, "gate_share")]
            {
                same(&line[cell], &e[key][record]);
            }
            if method == "exact" {
                let BackgroundId { rows, hash } = background(&e);
                let shown =
                    ["exact", &e["evaluations"][record].to_string(), "0", &rows.to_string(), &format!("{hash:08x}")];
                assert_eq!(line.iter().skip(of_all.len()).take(of_shapley.len()).collect::<Vec<_>>(), shown);
            }
            for feature in 0..names.len() {
                same(&line[fixed.len() + feature], &e["values"][record][feature]);
            }
        }
        assert_eq!(csv.lines().count(), RECORDS + 1);

        let text = explain(&folder, &["--method", method]);
        let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(blocks.len(), RECORDS);
        for (record, block) in blocks.iter().enumerate() {
            let number = |key: &str| e[key][record].as_f64().unwrap();
            let first = format!("record {}: score for yes {:.4}, decision ", record + 1, number("probability"));
            assert!(block.starts_with(&first), "{first}: {block}");
            let sum = format!("base {:+.4} + values = {:+.4} (residual ", number("base_values"), number("output"));
            assert!(block.contains(&sum), "{sum}: {block}");
            let gate = numbers(&e["gate"][record]);
            let most = (0..gate.len()).max_by(|a, b| gate[*a].total_cmp(&gate[*b]).then(b.cmp(a))).unwrap();
            let alone = e["expert_values"][record][most].as_f64().unwrap();
            let decided =
                format!("decided by expert {} (gate {:.0} %, alone {alone:.4})", most + 1, 100.0 * gate[most]);
            assert!(block.contains(&decided), "{decided}: {block}");
            for (name, value) in names.iter().zip(numbers(&e["values"][record])) {
                let line = block.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
                assert!(line.contains(&format!(" {value:+.4} ")), "{value}: {line}");
                let (left, right) = line.split_once('│').unwrap();
                assert!(if value < 0.0 { right.is_empty() } else { !left.contains('█') }, "{line}");
            }
        }
    }
}

#[test]
fn the_global_explanation_is_the_mean_over_the_records() {
    let folder = folder();
    let e = explain_json(&folder, &[]);
    let g = explain_json(&folder, &["--global"]);
    assert_eq!(g["records"], RECORDS);
    let values: Vec<Vec<f64>> = e["values"].as_array().unwrap().iter().map(numbers).collect();
    let (names, magnitudes) = (texts(&g["feature_names"]), numbers(&g["mean_absolute_values"]));
    assert!(magnitudes.windows(2).all(|pair| pair[0] >= pair[1]), "sorted");
    let csv = explain(&folder, &["--global", "--format", "csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("feature,mean_absolute_value,mean_value", 11));
    let text = explain(&folder, &["--global"]);
    assert!(text.starts_with("40 records, exact in score for yes, against 20 background records ("), "{text}");
    for (place, name) in names.iter().enumerate() {
        let feature = texts(&e["feature_names"]).iter().position(|found| found == name).unwrap();
        let mean = |of: &dyn Fn(f64) -> f64| values.iter().map(|row| of(row[feature])).sum::<f64>() / RECORDS as f64;
        let (magnitude, mean) = (mean(&f64::abs), mean(&|x| x));
        assert!((magnitudes[place] - magnitude).abs() < 1e-7, "{name}");
        assert!((g["mean_values"][place].as_f64().unwrap() - mean).abs() < 1e-7, "{name}");
        assert!(lines[place + 1].starts_with(&format!("{name},{},", g["mean_absolute_values"][place])), "{csv}");
        let line = text.lines().nth(place + 2).unwrap();
        assert!(line.starts_with(name) && line.contains(&format!("{magnitude:.4}")), "{line}");
    }
}

/// A reason based on a protected column is marked if the schema names that column, and typical
/// values are values that occur.
#[test]
fn reasons_name_protected_grounds_and_values_that_occur() {
    let folder = Folder::new();
    let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\nas_feature = true\n";
    folder.write("s.toml", schema);
    let mut draw = Draw::new(1);
    let mut text = String::from("amount,g,job,y\n");
    let mut amounts = BTreeSet::new();
    for _ in 0..3_000 {
        let amount = (100.0 * draw.between(1.0, 9.0).exp()).round();
        let (g, job) = (draw.one_of(&["a", "a", "b"]), draw.one_of(&["cook", "cook", "cook", "smith", "clerk"]));
        let chance = 0.1 * amount.ln() - if g == "b" { 0.5 } else { 0.0 } - if job == "clerk" { 0.4 } else { 0.0 };
        text += &format!("{amount},{g},{job},{}\n", u8::from(draw.between(0.0, 1.0) < chance));
        amounts.insert(amount.to_string());
    }
    folder.write("rows.csv", &text);
    folder.write("new.csv", "amount,g,job\n300,b,clerk\n");
    let _ = folder.run(&["train", "rows.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let explained = |more: &[&str]| {
        let report = folder.run(&[&["explain", "m.feamoe", "new.csv", "--format", "json"], more].concat()).json();
        report["reasons"][0].as_array().unwrap().clone()
    };
    let reasons = explained(&["--schema", "s.toml"]);
    assert_eq!(explained(&[]), reasons, "the model knows what it was trained with");
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    for reason in &reasons {
        let (feature, text) = (reason["feature"].as_str().unwrap(), reason["text"].as_str().unwrap());
        assert_eq!(reason["protected"].as_bool(), Some(feature == "g"));
        assert_eq!(text.ends_with("; a protected ground"), feature == "g", "{text}");
        let typical = text.split("a typical value is ").nth(1).unwrap().split(')').next().unwrap();
        match feature {
            "amount" => assert!(amounts.contains(typical), "{text}"),
            "job" => assert_eq!(typical, "cook"),
            _ => assert_eq!(typical, "a"),
        }
    }
}

#[test]
fn reasons_are_the_most_negative_values_of_declined_records() {
    let folder = folder();
    let e = explain_json(&folder, &["--reasons", "3"]);
    let names = texts(&e["feature_names"]);
    let mut shown = 0;
    for record in 0..RECORDS {
        let reasons = e["reasons"][record].as_array().unwrap();
        if e["decision"][record] == true {
            assert!(reasons.is_empty());
            continue;
        }
        let values = numbers(&e["values"][record]);
        let mut order: Vec<usize> = (0..values.len()).filter(|feature| values[*feature] < 0.0).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        // A feature with less than a twentieth of the total negative attribution is no reason.
        let all: f64 = order.iter().map(|feature| values[*feature]).sum();
        order = order[..1].iter().chain(order[1..].iter().filter(|f| values[**f] <= 0.05 * all)).copied().collect();
        assert_eq!(reasons.len(), order.len().min(3));
        for (reason, feature) in reasons.iter().zip(order) {
            assert_eq!(
                (&reason["feature"], &reason["attribution"]),
                (&names[feature].into(), &e["values"][record][feature])
            );
            assert_eq!(reason["value"], e["display_data"][record][feature]);
            let text = reason["text"].as_str().unwrap();
            assert!(text.starts_with(names[feature]) && text.contains(" lowered the score for yes by 0."), "{text}");
            shown += 1;
        }
    }
    assert!(shown > 10);
    let count = |options: &[&str]| explain(&folder, options).matches(" lowered the score for").count();
    assert_eq!((count(&["--reasons", "3"]), count(&["--reasons", "0"])), (shown, 0));
    assert_eq!(count(&[]), count(&["--reasons", "4"]));
    assert!(
        explain_json(&folder, &["--reasons", "0"])["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .all(|r| r == &Value::Array(vec![]))
    );
}

#[test]
fn the_bars_of_a_waterfall_lead_from_the_base_to_the_output() {
    let folder = folder();
    for (method, row) in [("exact", "1"), ("path", "2"), ("frozen", "3"), ("sampled", "4")] {
        let options = ["--method", method, "--row", row];
        let e = explain_json(&folder, &options);
        let text = drawn(&folder, &options);
        let svg = Document::parse(&text).unwrap();
        let (base, output) = (of_class(&svg, "base"), of_class(&svg, "output"));
        assert_eq!((base.len(), output.len()), (1, 1));
        let bars = of_class(&svg, "bar");
        assert_eq!(bars.len(), 10);
        let mut values = numbers(&e["values"][0]);
        values.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
        let (from, to) = (number(&base[0], "x1"), number(&output[0], "x1"));
        let number = |key: &str| e[key][0].as_f64().unwrap();
        let pixels = (to - from) / (number("output") - number("base_values"));
        let mut end = from;
        for (bar, value) in bars.iter().zip(values) {
            let (start, tip) = bar_ends(bar);
            assert!((start - end).abs() < 0.02, "each starts where the one before ended");
            assert!((tip - start - value * pixels).abs() < 0.1, "{value} is drawn to scale");
            end = tip;
        }
        assert!((end - to).abs() < 0.05, "the last one ends at the output: {end}, {to}");
        let threshold = of_class(&svg, "threshold");
        assert!(method != "frozen" || threshold.is_empty(), "the frozen game has no threshold");
        if let [threshold] = &threshold[..] {
            let at = threshold.attribute("x1").unwrap().parse::<f64>().unwrap();
            assert!((at - from - (0.5 - number("base_values")) * pixels).abs() < 0.05);
        }
    }
}

#[test]
fn every_plot_is_well_formed_names_every_feature_and_is_the_same_again() {
    let folder = folder();
    let e = explain_json(&folder, &[]);
    let model = e["model"].as_str().unwrap();
    for (options, what) in [
        (&["--row", "1"][..], "this record"),
        (&["--row", "1", "--plot-kind", "waterfall"], "raises the score"),
        (&["--row", "1", "--plot-kind", "bar"], "value, in score for yes"),
        (&["--row", "1", "--plot-kind", "decision"], "dashed: threshold 0.5"),
        (&["--global"], "mean |value|, in score for yes"),
        (&["--plot-kind", "bar"], "What moves the score for yes: mean over 40 records"),
        (&[], "high value of the feature"),
        (&["--plot-kind", "beeswarm", "--method", "frozen"], "value, in log-odds of yes, experts averaged by the gate"),
        (&["--plot-kind", "decision"], "How 40 records come to the score for yes"),
        (&["--plot-kind", "scatter"], "What features add to the score for yes: 40 records"),
        (&["--plot-kind", "heatmap"], "40 records, from the lowest score to the highest"),
    ] {
        let text = drawn(&folder, options);
        let svg = Document::parse(&text).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        for name in texts(&e["feature_names"]) {
            assert!(has_text(&svg, name), "{options:?}: {name}");
        }
        assert!(has_text(&svg, what), "{options:?}: {what}");
        let against = match options.contains(&"frozen") {
            true => "frozen · against the mean record of training".to_owned(),
            false => format!("exact · against 20 background records ({:08x})", background(&e).hash),
        };
        let line = format!("method {against} · model {model}");
        assert!(has_text(&svg, &line), "{options:?}: {line}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{options:?}");
        assert_eq!(drawn(&folder, options), text);
    }
    // The paths of a decision plot start at the same base and end at the outputs.
    let text = drawn(&folder, &["--plot-kind", "decision"]);
    let svg = Document::parse(&text).unwrap();
    let base = number(&of_class(&svg, "base")[0], "x1");
    let threshold = number(&of_class(&svg, "threshold")[0], "x1");
    let ways = of_class(&svg, "way");
    assert_eq!(ways.len(), RECORDS);
    let x = |point: &str| point.split(' ').next().unwrap().parse::<f64>().unwrap();
    for way in ways {
        let points: Vec<&str> = way.attribute("d").unwrap()[1..].split('L').collect();
        assert_eq!((points.len(), x(points[0])), (11, base));
        let favourable = way.attribute("stroke") == Some("#0072b2");
        assert!(if favourable { x(points[10]) >= threshold - 0.1 } else { x(points[10]) <= threshold + 0.1 });
    }
}

/// A scatter plot has a dot for each record, placed by its values.
#[test]
fn a_scatter_plot_has_every_record_and_a_heat_map_every_score() {
    let folder = folder();
    let e = explain_json(&folder, &[]);
    let points = |path: &str| -> Vec<[f64; 2]> {
        let point = |part: &str| {
            let (x, rest) = part.split_once(' ').unwrap();
            [x, rest.strip_suffix("h0").unwrap()].map(|number| number.parse::<f64>().unwrap())
        };
        path[1..].split('M').map(point).collect()
    };
    let text = drawn(&folder, &["--plot-kind", "scatter"]);
    let svg = Document::parse(&text).unwrap();
    let panels = of_class(&svg, "dots");
    let names = texts(&e["feature_names"]);
    assert_eq!(panels.len(), names.len());
    // The feature that moves the scores most comes first; its dots go from left to right as its
    // values grow.
    let magnitude = |player: usize| numbers_of(&e["values"], player).iter().map(|value| value.abs()).sum::<f64>();
    let first = (0..names.len()).max_by(|a, b| magnitude(*a).total_cmp(&magnitude(*b))).unwrap();
    let mut held: Vec<(f64, f64)> =
        numbers_of(&e["data"], first).into_iter().zip(numbers_of(&e["values"], first)).collect();
    held.sort_by(|a, b| a.0.total_cmp(&b.0));
    let dots = points(panels[0].attribute("d").unwrap());
    assert_eq!(dots.len(), RECORDS);
    let pixels = |from: usize, to: usize| (dots[to][1] - dots[from][1]) / (held[from].1 - held[to].1);
    let far = (0..RECORDS).max_by(|a, b| held[*a].1.total_cmp(&held[*b].1)).unwrap();
    let near = (0..RECORDS).min_by(|a, b| held[*a].1.total_cmp(&held[*b].1)).unwrap();
    for record in 0..RECORDS {
        assert!(record == 0 || dots[record][0] >= dots[record - 1][0]);
        let up = (dots[near][1] - dots[record][1]) / pixels(near, far);
        assert!((up - (held[record].1 - held[near].1)).abs() < 2e-3, "{record}: drawn to scale");
    }
    assert!(panels.iter().all(|panel| points(panel.attribute("d").unwrap()).len() == RECORDS));

    let text = drawn(&folder, &["--plot-kind", "heatmap"]);
    let svg = Document::parse(&text).unwrap();
    let scores = of_class(&svg, "scores")[0].attribute("d").unwrap();
    let heights: Vec<f64> =
        scores[1..].split('L').map(|point| point.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(heights.len(), RECORDS);
    assert!(heights.is_sorted_by(|a, b| a >= b), "from the lowest score to the highest");
}

#[test]
fn a_plot_has_as_many_rows_as_are_asked_for() {
    let folder = folder();
    let names = texts(&explain_json(&folder, &[])["feature_names"]).len();
    for (kind, others) in [
        (&["--row", "1", "--plot-kind", "waterfall"][..], "8 other features"),
        (&["--row", "1", "--plot-kind", "bar"], "8 other features"),
        (&["--plot-kind", "bar"], "8 other features"),
        (&["--plot-kind", "decision"], "8 other features"),
        (&["--plot-kind", "heatmap"], "8 other features"),
        (&["--plot-kind", "beeswarm"], "7 features that move scores less are not shown"),
        (&["--plot-kind", "scatter"], "7 features that move scores less are not shown"),
    ] {
        let text = drawn(&folder, &[kind, &["--max-display", "3"]].concat());
        let svg = Document::parse(&text).unwrap();
        assert!(names == 10 && has_text(&svg, others), "{kind:?}");
    }
    let refused = folder.run(&[&EXPLAIN[..], &["--max-display", "3"]].concat()).usage_refused();
    assert!(refused.contains("required arguments"), "{refused}");
}

/// The five most frequent levels have their own colours and are named.
#[test]
fn levels_have_colours_in_a_beeswarm() {
    let folder = folder();
    let e = explain_json(&folder, &[]);
    let svg = drawn(&folder, &[]);
    let svg = Document::parse(&svg).unwrap();
    let named: Vec<String> =
        of_class(&svg, "level").iter().map(|level| level.text().unwrap().trim().to_owned()).collect();
    let employment = texts(&e["feature_names"]).iter().position(|name| *name == "employment").unwrap();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for record in e["display_data"].as_array().unwrap() {
        if let Some(level) = record[employment].as_str() {
            *counts.entry(level).or_default() += 1;
        }
    }
    let most = counts.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse(**name))).unwrap();
    assert!(named.iter().any(|name| name == most.0), "{named:?} {counts:?}");
}

#[test]
fn a_sample_is_of_the_records_of_the_file_and_the_same_again() {
    let folder = folder();
    let all = explain_json(&folder, &[]);
    let sample = |options: &[&str]| {
        let ran = folder.run(&[&EXPLAIN, options, &["--background-rows", "20", "--format", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (serde_json::from_str::<Value>(&ran.stdout).unwrap(), ran.stderr)
    };
    let (e, said) = sample(&["--sample", "7"]);
    assert_eq!(said, "note: 7 of 40 records are explained, drawn by the seed\n");
    let rows = numbers(&e["row"]);
    assert!(rows.len() == 7 && rows.is_sorted());
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(e["values"][place], all["values"][*row as usize - 1]);
    }
    assert_eq!(sample(&["--sample", "7"]).0, e);
    assert_ne!(sample(&["--sample", "7", "--seed", "9"]).0["row"], e["row"]);
    assert_eq!(sample(&["--sample", "99"]).0["row"].as_array().unwrap().len(), RECORDS);
    let refused = folder.run(&["explain", "lending.feamoe", "-", "--sample", "3"]).refused();
    assert!(refused.contains("can be read only once"), "{refused}");
}

#[test]
fn names_and_cells_are_escaped_in_every_output() {
    let folder = Folder::new();
    let name = "a<b&\"c\"";
    let quoted = "\"a<b&\"\"c\"\"\"";
    let rows: String = (0..400)
        .map(|i| {
            format!("{},{},{}\n", i % 7, ["<i>", "x&y", "]]>", "\u{1}"][i % 4], ["no", "yes"][usize::from(i % 7 > 3)])
        })
        .collect();
    folder.write("data.csv", format!("{quoted},kind,y\n{rows}"));
    folder.write("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"yes\"]\n");
    let _ = folder.run(&["train", "data.csv", "--schema", "s.toml", "-o", "m"]).done();
    for row in 1..=4 {
        for options in [&["--row", &*row.to_string()][..], &["--global"], &[], &["--plot-kind", "decision"]] {
            let explain = ["explain", "m", "data.csv", "--plot", "p.svg", "--format", "csv", "-o", "e.csv"];
            let _ = folder.run(&[&explain, options].concat()).done();
            let text = folder.text("p.svg");
            let svg = Document::parse(&text).unwrap_or_else(|error| panic!("{options:?}: {error}"));
            assert!(has_text(&svg, name), "{options:?}");
            let cell = ["<i>", "x&y", "]]>", "\u{fffd}"][row - 1];
            assert!(options.first() != Some(&"--row") || has_text(&svg, cell), "{cell}");
            let csv = folder.text("e.csv");
            let mut table = csv::Reader::from_reader(csv.as_bytes());
            let at_head = table.headers().unwrap().iter().any(|heading| heading == name);
            assert!(at_head || table.records().any(|line| &line.unwrap()[0] == name), "{csv}");
        }
    }
}

#[test]
fn estimated_values_have_whiskers_and_a_background_is_named() {
    let folder = folder();
    let blob = AlignedBytes::read(&folder.path("lending.feamoe")).unwrap();
    let model = HostModel::load(blob.as_slice()).unwrap();
    let explainer = Explainer::new(AnyModel::Float(&model), Procedure::Path, &[]).unwrap();
    let mut explanation = Explanation::new(&explainer);
    explanation.method = Method::Sampled;
    let mut attribution = HostAttribution::new();
    attribution.method = Method::Sampled;
    attribution.background = Some(BackgroundId { rows: 1_000, hash: 0xab });
    attribution.evaluations = 4_096;
    (attribution.base_value, attribution.output) = (0.4, 0.6);
    attribution.values[..3].copy_from_slice(&[0.3, -0.15, 0.05]);
    attribution.standard_errors[..3].copy_from_slice(&[0.01, 0.02, 0.0]);
    let cells = vec![Cell::default(); explainer.players().len()];
    explanation.push(Explained { row: 5, cells: &cells, attribution: &attribution, reasons: Vec::new() });

    let e = serde_json::to_value(&explanation).unwrap();
    assert_eq!(e["background"], serde_json::json!({ "rows": 1_000, "hash": "000000ab" }));
    assert_eq!(e["evaluations"], serde_json::json!([4_096]));
    assert_eq!(e["error_std"][0][1].as_f64().map(|x| x as f32), Some(0.02));
    for (key, sign) in [("lower_bounds", -1.96), ("upper_bounds", 1.96)] {
        assert!((e[key][0][1].as_f64().unwrap() - (-0.15 + sign * 0.02)).abs() < 1e-6, "{key}");
    }

    let text = plot::waterfall(&explanation, 0, 20).unwrap();
    let svg = Document::parse(&text).unwrap();
    assert!(svg.descendants().any(|node| {
        node.text()
            .is_some_and(|text| text.trim().starts_with("method sampled · against 1,000 background records (000000ab)"))
    }));
    let (bars, whiskers) = (of_class(&svg, "bar"), of_class(&svg, "interval"));
    assert_eq!((bars.len(), whiskers.len()), (10, 10));
    let pixels = {
        let (start, end) = bar_ends(&bars[0]);
        (end - start) / 0.3
    };
    for (bar, (whisker, error)) in bars.iter().zip(whiskers.iter().zip([0.01, 0.02, 0.0])) {
        let end = bar_ends(bar).1;
        assert!((number(whisker, "x1") - (end - 1.96 * error * pixels)).abs() < 0.05);
        assert!((number(whisker, "x2") - (end + 1.96 * error * pixels)).abs() < 0.05);
    }
    assert_eq!(plot::waterfall(&explanation, 1, 20), Err(plot::PlotError::NoRecord));
}

#[test]
fn what_cannot_be_combined_is_refused() {
    let folder = folder();
    let plot = |options: &[&str]| folder.refusal(&[&EXPLAIN, options].concat());
    for (options, message) in [
        (
            &["--plot", "p.svg", "--plot-kind", "waterfall"][..],
            "--plot-kind waterfall draws one record; name it with --row",
        ),
        (
            &["--plot", "p.svg", "--plot-kind", "beeswarm", "--row", "1"],
            "--plot-kind beeswarm draws many records; leave out --row",
        ),
        (
            &["--plot", "p.svg", "--plot-kind", "heatmap", "--row", "1"],
            "--plot-kind heatmap draws many records; leave out --row",
        ),
        (
            &["--plot", "p.svg", "--plot-kind", "beeswarm", "--global"],
            "--global keeps only means, which --plot-kind bar draws; leave out one of them",
        ),
        (
            &["--plot", "p.svg", "--plot-kind", "decision", "--method", "frozen"],
            "a decision plot needs one base value, but with the gate held fixed each record has its own; use another method",
        ),
        (&["--plot", "p.png"], "--plot writes SVG, found png; name the file .svg"),
        (&["--plot", "p.svg", "-o", "p.svg"], "--plot and --output name the same file; name two different files"),
        (&["--plot", "p.svg", "-o", "./p.svg"], "--plot and --output name the same file; name two different files"),
        (
            &["--format", "csv", "--reasons", "2"],
            "--reasons are words, and CSV has only values; use --format json, or leave out --reasons",
        ),
        (
            &["--row", "1", "-o", "new.csv"],
            "the output new.csv is the input new.csv, which it would replace; name another file after --output",
        ),
        (&["--row", "41", "--plot", "p.svg"], "new.csv: no record 41, expected a row from 1 to 40"),
    ] {
        assert_eq!(plot(options), message);
    }
    for options in [&["--global", "--row", "1"][..], &["--plot-kind", "bar"], &["--global", "--reasons", "1"]] {
        let message = folder.run(&[&EXPLAIN, options].concat()).usage_refused();
        assert!(message.contains("cannot be used with") || message.contains("required arguments"), "{message}");
    }
    let message = folder.run(&[&EXPLAIN[..], &["--reasons", "11"]].concat()).usage_refused();
    assert!(message.ends_with("expected a whole number from 0 to 10"), "{message}");
}

#[test]
fn an_output_file_holds_what_would_be_printed() {
    let folder = folder();
    for options in [&["--row", "2"][..], &["--format", "json"], &["--format", "csv"], &["--global"]] {
        let printed = explain(&folder, options);
        assert_eq!(explain(&folder, &[options, &["-o", "out"]].concat()), "");
        assert_eq!(folder.text("out"), printed);
    }
}
