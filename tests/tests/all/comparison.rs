//! Promise: `feamoe compare` states how a second model differs on the same rows, with paired
//! intervals of the stated coverage.

use feamoe::judge::comparison::paired::{Calibrations, Change, Differences, Pairs};
use feamoe::judge::reliability::log_loss;
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::{Folder, keys, lending};
use serde_json::Value;

/// A folder with `lending.feamoe`, `fair.feamoe`, which has a target, and 4,000 rows of another
/// seed.
fn folder() -> Folder {
    let folder = Folder::with_model();
    let train = ["train", "lending.csv", "--schema", "lending.toml", "--fair", "spd=0.05", "-o", "fair.feamoe"];
    let _ = folder.run(&train).well();
    folder.write("new.csv", lending(2, 4_000));
    folder
}

fn compare(folder: &Folder, first: &str, second: &str) -> Value {
    folder.run(&["compare", first, second, "new.csv", "--format", "json"]).json()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Returns every change with its interval, by name; null becomes NaN.
fn changes(comparison: &Value) -> Vec<(String, f64, Option<[f64; 2]>)> {
    let parts = ["decisions", "measures", "gaps"].map(|part| comparison[part].as_array().unwrap());
    let change = |value: &Value| {
        let name = ["measure", "attribute", "group"].map(|key| value[key].as_str().unwrap_or("-"));
        let interval = value["interval"].as_array().map(|ends| [number(&ends[0]), number(&ends[1])]);
        (name.join(" "), number(&value["change"]), interval)
    };
    parts.into_iter().flatten().map(change).collect()
}

#[test]
fn a_model_does_nothing_otherwise_than_itself() {
    let folder = folder();
    let same = compare(&folder, "lending.feamoe", "lending.feamoe");
    for (name, change, interval) in changes(&same) {
        assert_eq!((change, interval.unwrap_or([0.0; 2])), (0.0, [0.0; 2]), "{name}");
    }
    let features = same["features"].as_array().unwrap();
    assert!(features.len() == 10 && features.iter().all(|feature| number(&feature["mean_change"]) == 0.0));
    assert_eq!(
        (&same["scores"]["changed_decisions"], same["verdict"].as_str().unwrap()),
        (&0.into(), "no change: both models give the same score and decision for each of the 4000 rows")
    );
    assert_eq!(
        keys(&same),
        [
            "attributes",
            "decisions",
            "explained_rows",
            "features",
            "gaps",
            "measures",
            "models",
            "other_labels",
            "rows",
            "scores",
            "skipped",
            "verdict"
        ]
    );
    assert_eq!(
        keys(&same["gaps"][0]),
        ["attribute", "change", "group", "interval", "measure", "reference", "too_few", "values"]
    );
    assert_eq!(
        keys(&same["decisions"][0]),
        ["attribute", "change", "gained", "group", "interval", "lost", "rows", "selection_rates"]
    );
}

/// Compares to the last digit, in which the JSON reader may round differently from Rust.
fn assert_same(page: &[Vec<f64>], json: &[Vec<f64>], table: &str) {
    let [page, json] = [page, json].map(|rows| rows.iter().flatten().copied().collect::<Vec<f64>>());
    let is_same = |(a, b): (&f64, &f64)| (a - b).abs() <= b.abs() * f64::EPSILON;
    assert!(page.len() == json.len() && !page.is_empty(), "{table}: {} {}", page.len(), json.len());
    assert!(page.iter().zip(&json).all(is_same), "{table}: {page:?} {json:?}");
}

/// The tables of the page contain every figure of the JSON, with all its digits.
#[test]
fn the_page_has_the_figures_of_the_json() {
    let folder = folder();
    let compare = ["compare", "lending.feamoe", "fair.feamoe", "new.csv", "--format", "json", "-o", "page.html"];
    let (json, page) = (folder.run(&compare).json(), folder.text("page.html"));
    let of = |part: &str, keys: &[&str]| -> Vec<Vec<f64>> {
        let number = |value: &Value| match value {
            Value::Array(ends) => ends.iter().map(number).collect(),
            Value::Null => Vec::new(),
            value => vec![number(value)],
        };
        json[part]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| keys.iter().flat_map(|key| number(&row[*key])).collect())
            .collect()
    };
    let change = ["change", "interval"];
    for (table, part, keys) in [
        ("decisions-table", "decisions", &["rows", "gained", "lost", "selection_rates"][..]),
        ("quality-table", "measures", &["values"]),
        ("gaps-table", "gaps", &["values"]),
    ] {
        assert_same(&crate::report::numbers(&page, table), &of(part, &[keys, &change].concat()), table);
    }
    let table = "features-table";
    assert_same(&crate::report::numbers(&page, table), &of("features", &["mean_change", "mean_values"]), table);
    for plot in ["decisions", "quality", "gaps", "features"] {
        let svg = page.split(&format!("id=\"plot-{plot}\"")).nth(1).unwrap().split("</svg>").next().unwrap();
        assert!(svg.matches("class=\"difference\"").count() > 0 && !svg.contains("NaN"), "{plot}");
    }
    // A change is bold if and only if its interval does not contain zero.
    let is_clear = |(_, _, interval): &(String, f64, Option<[f64; 2]>)| {
        interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    };
    assert_eq!(
        page.matches("class=\"clear\"").count(),
        changes(&json).iter().filter(|change| is_clear(change)).count()
    );
    assert!(page.contains(json["verdict"].as_str().unwrap()));
}

#[test]
fn the_other_way_round_every_sign_is_the_other() {
    let folder = folder();
    let [there, back] = [("lending.feamoe", "fair.feamoe"), ("fair.feamoe", "lending.feamoe")]
        .map(|(first, second)| compare(&folder, first, second));
    for (there, back) in changes(&there).into_iter().zip(changes(&back)) {
        let turned = (back.0, -back.1, back.2.map(|[low, high]| [-high, -low]));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        let ends = there.2.unwrap_or_default().into_iter().zip(turned.2.unwrap_or_default());
        assert!(there.0 == turned.0 && close(there.1, turned.1) && ends.clone().all(|(a, b)| close(a, b)), "{there:?}");
        assert_eq!(there.2.is_some(), turned.2.is_some());
    }
    assert_eq!(there["features"][0]["mean_change"], back["features"][0]["mean_change"]);
    assert_eq!(there["scores"], back["scores"]);
    // The target narrows the gap, at some cost.
    let words = there["verdict"].as_str().unwrap();
    assert!(words.contains("spd of sex: Female moves closer to equal treatment"), "{words}");
}

/// An independent twin computes the figures from the scores that `feamoe score` writes for each
/// model.
#[test]
fn the_figures_are_those_of_the_scores() {
    let folder = folder();
    let comparison = compare(&folder, "lending.feamoe", "fair.feamoe");
    let rows: Vec<Vec<String>> =
        folder.text("new.csv").lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let scored = |model: &str| -> Vec<(f32, bool)> {
        let text = folder.run(&["score", model, "new.csv"]).done();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
        let (p, decision) = (place("probability"), place("decision"));
        lines
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                (cells[p].parse().unwrap(), cells[decision] == "1")
            })
            .collect()
    };
    let (first, second) = (scored("lending.feamoe"), scored("fair.feamoe"));
    let (mut right, mut losses, mut changed) = ([0_u64; 2], Vec::new(), [[0_u64; 2]; 2]);
    for ((row, a), b) in rows.iter().zip(&first).zip(&second) {
        let (female, label) = (row[1] == "Female", row[11] == "yes");
        right[0] += u64::from((a.1 == label) && (b.1 != label));
        right[1] += u64::from((a.1 != label) && (b.1 == label));
        losses.push(log_loss(label, b.0) - log_loss(label, a.0));
        if a.1 != b.1 {
            changed[usize::from(female)][usize::from(b.1)] += 1;
        }
    }
    // The engine's figures for each model must agree with the changes.
    for part in ["measures", "gaps"] {
        for found in comparison[part].as_array().unwrap() {
            let [a, b] = [0, 1].map(|model| number(&found["values"][model]));
            assert!((b - a - number(&found["change"])).abs() < 1e-6, "{found}");
            let holds = |ends: &Vec<Value>| number(&ends[0]) < b - a && b - a < number(&ends[1]);
            assert!(found["interval"].as_array().is_none_or(holds), "{found}");
        }
    }
    let n = rows.len() as f64;
    let of = |measure: &str| {
        let all = comparison["measures"].as_array().unwrap();
        let found = all.iter().find(|found| found["measure"] == measure).unwrap();
        [number(&found["change"]), number(&found["interval"][0]), number(&found["interval"][1])]
    };
    let near = |found: [f64; 3], expected: [f64; 3]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    };
    let [lost, gained] = right.map(|count| (count as f64 + 1.0) / (n + 2.0));
    let half = 1.959_964 * ((gained + lost - (gained - lost).powi(2)) / (n + 2.0)).sqrt();
    let middle = gained - lost;
    near(of("accuracy"), [(right[1] as f64 - right[0] as f64) / n, middle - half, middle + half]);
    let mean = losses.iter().sum::<f64>() / n;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = 1.959_964 * (variance / n).sqrt();
    near(of("log_loss"), [mean, mean - half, mean + half]);
    for (place, [lost, gained]) in changed.iter().enumerate() {
        let group = &comparison["decisions"][1 + place];
        assert_eq!((&group["gained"], &group["lost"]), (&(*gained).into(), &(*lost).into()));
    }
}

/// 2,000 draws of 400 rows each. The interval contains the true difference in 95 % of them, and the
/// pairing makes it narrower than that of two samples.
#[test]
fn the_intervals_hold_the_truth_as_often_as_they_say() {
    let mut draw = Draw::new(3);
    let mut uniform = || f64::from(draw.between(0.0, 1.0));
    let draws = 2_000;
    let mut held = [0; 4];
    for _ in 0..draws {
        let mut groups = [Pairs::default(); 2];
        let (mut differences, mut calibrations) = (Differences::default(), Calibrations::default());
        for row in 0..400 {
            // The second model agrees in nine rows of ten; otherwise it selects with the chance 0.7
            // or 0.4, by group.
            let group = row % 2;
            let first = uniform() < 0.5;
            let second = if uniform() < 0.9 { first } else { uniform() < [0.7, 0.4][group] };
            groups[group].observe([first, second]);
            let x = uniform();
            differences.observe([x, 0.8 * x + 0.1 * uniform()]);
            let chance = 0.35 + 0.25 * uniform();
            // One model predicts 0.35 too high, the other 0.3 too low.
            calibrations.observe(uniform() < chance, [chance as f32 + 0.35, chance as f32 - 0.3]);
        }
        let [a, b] = groups.map(|pairs| pairs.change());
        let holds =
            |change: Change, truth: f64| change.interval.is_some_and(|[low, high]| low <= truth && truth <= high);
        held[0] += u64::from(holds(a, 0.02));
        held[1] += u64::from(holds(Change::sum(&[(1.0, a), (-1.0, b)]), 0.03));
        held[2] += u64::from(holds(differences.change(), -0.05));
        held[3] += u64::from(holds(calibrations.change(), -0.05));
        let [low, high] = a.interval.unwrap();
        let unpaired = 2.0 * 1.96 * (2.0 * 0.25 / 200.0_f64).sqrt();
        assert!(high - low < 0.6 * unpaired);
    }
    let shares = held.map(|held| held as f64 / f64::from(draws));
    println!("{shares:?}");
    assert!(shares.iter().all(|share| (0.935..=0.985).contains(share)), "{shares:?}");
}

#[test]
fn models_of_other_features_are_compared_and_of_another_outcome_refused() {
    let folder = folder();
    let fewer = folder.text("lending.toml").replace("drop = [\"application\"]", "drop = [\"application\", \"region\"]");
    assert_ne!(fewer, folder.text("lending.toml"));
    folder.write("fewer.toml", fewer);
    let _ = folder.run(&["train", "lending.csv", "--schema", "fewer.toml", "-o", "fewer.feamoe"]).done();
    let comparison = compare(&folder, "lending.feamoe", "fewer.feamoe");
    let features = comparison["features"].as_array().unwrap();
    let region = features.iter().find(|feature| feature["feature"] == "region").unwrap();
    assert_eq!(region["has"], serde_json::json!([true, false]));
    assert_eq!((&region["mean_change"], number(&region["mean_values"][1])), (&region["mean_values"][0], 0.0));
    assert_eq!(comparison["explained_rows"], 1_000);

    // Models with integer weights are compared too, but not explained.
    let quantize = ["export", "lending.feamoe", "--quantize", "i16", "-o", "small.feamoe"];
    let _ = folder.run(&quantize).well();
    let comparison = compare(&folder, "lending.feamoe", "small.feamoe");
    assert!(comparison["features"].as_array().unwrap().is_empty());
    assert!(number(&comparison["scores"]["largest_change"]) < 0.01);

    let without = folder.text("new.csv").replace("region", "place");
    folder.write("without.csv", without);
    let refused = folder.refusal(&["compare", "fewer.feamoe", "lending.feamoe", "without.csv"]);
    assert!(refused.starts_with("without.csv: no column \"region\", which the second model needs"), "{refused}");
    let swapped = folder.text("lending.toml").replace("positive = [\"yes\"]", "positive = [\"no\"]");
    folder.write("swapped.toml", swapped.replace("negative = [\"no\"]", "negative = [\"yes\"]"));
    let _ = folder.run(&["train", "lending.csv", "--schema", "swapped.toml", "-o", "other.feamoe"]).done();
    let refused = folder.refusal(&["compare", "lending.feamoe", "other.feamoe", "new.csv"]);
    assert!(
        refused.starts_with("other.feamoe: found the target \"approved\" with the favourable outcome no, expected"),
        "{refused}"
    );
    let refused = folder.refusal(&["compare", "lending.feamoe", "other.feamoe", "new.csv", "--schema", "lending.toml"]);
    assert!(refused.starts_with("target.positive: found \"yes\", expected \"no\""), "{refused}");
}

/// Rows without a group, and gaps that cannot be judged, are reported as in `evaluate`.
#[test]
fn rows_without_a_group_and_labels_of_neither_outcome_are_counted() {
    let folder = folder();
    let mut rows: Vec<String> = folder.text("new.csv").lines().map(str::to_owned).collect();
    let header: Vec<String> = rows[0].split(',').map(str::to_owned).collect();
    let place = |name: &str| header.iter().position(|column| column == name).unwrap();
    let set = |row: &mut String, name: &str, value: &str| {
        let mut cells: Vec<&str> = row.split(',').collect();
        cells[place(name)] = value;
        *row = cells.join(",");
    };
    rows[1..8].iter_mut().for_each(|row| set(row, "sex", "other"));
    rows[8..11].iter_mut().for_each(|row| set(row, "approved", "perhaps"));
    let lines = |rows: &[String]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    folder.write("new.csv", lines(&rows));
    let (compared, json) =
        (["compare", "lending.feamoe", "fair.feamoe"], compare(&folder, "lending.feamoe", "fair.feamoe"));
    let evaluated = folder.run(&["evaluate", "lending.feamoe", "new.csv", "--format", "json", "--no-recourse"]).json();
    assert_eq!((&json["attributes"][0]["without_group"], &json["other_labels"]["rows"]), (&7.into(), &3.into()));
    assert_eq!(json["attributes"][0]["values_without_group"], evaluated["attributes"][0]["values_without_group"]);
    assert_eq!(json["other_labels"], evaluated["other_labels"]);
    let text = folder.run(&[&compared[..], &["new.csv", "-o", "page.html"]].concat()).well();
    for line in [
        "sex: 7 rows are in no group: \"other\" (7 rows)\n",
        "3 rows were left out because their label is neither outcome: \"perhaps\" (3 rows)\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let page = folder.text("page.html");
    assert!(page.contains("7 rows are in no group of sex") && page.contains("EOdds is the larger"), "{page}");
    // One group has too few rows.
    folder.write("new.csv", lines(&rows[..31]));
    let few = compare(&folder, "lending.feamoe", "fair.feamoe");
    assert!(
        few["gaps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|gap| gap["too_few"]["missing"].as_u64().unwrap() > 0 && gap["interval"].is_null())
    );
    let text = folder.run(&[&compared[..], &["new.csv"]].concat()).well();
    assert!(text.contains("too few to judge spd"), "{text}");
    // No row is in any group.
    rows[1..].iter_mut().for_each(|row| set(row, "sex", "other"));
    folder.write("new.csv", lines(&rows));
    let refused = folder.refusal(&[&compared[..], &["new.csv"]].concat());
    assert!(refused.contains("column \"sex\": no row belongs to"), "{refused}");
}
