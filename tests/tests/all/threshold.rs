//! Promise: the threshold is the requested one, or the best one for the requested objective, both
//! in training and for a finished model. During training it follows the stream.

use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;

const SCHEMA: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n";

/// Rows of two numbers. `shift` moves the log-odds of the favourable outcome, by row.
fn rows(seed: u64, count: usize, shift: impl Fn(usize) -> f32) -> String {
    let mut draw = Draw::new(seed);
    let mut text = String::from("u,v,g,y\n");
    for row in 0..count {
        let (u, v) = (draw.between(-1.0, 1.0), draw.between(-1.0, 1.0));
        let log_odds = 3.0 * u + 2.0 * v + shift(row);
        let y = draw.between(0.0, 1.0) < 1.0 / (1.0 + (-log_odds).exp());
        text += &format!("{u:.4},{v:.4},{},{}\n", draw.one_of(&["a", "b"]), u8::from(y));
    }
    text
}

/// About one favourable outcome in eight.
const RARE: f32 = -3.0;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("train.csv", rows(1, 12_000, |_| RARE));
    folder.write("test.csv", rows(2, 6_000, |_| RARE));
    folder
}

const TRAIN: [&str; 6] = ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"];

fn evaluated(folder: &Folder, model: &str) -> serde_json::Value {
    folder.run(&["evaluate", model, "test.csv", "--schema", "s.toml", "--no-recourse", "--format", "json"]).json()
}

/// Returns the probability and decision of every row of test.csv.
fn scores(folder: &Folder, model: &str) -> Vec<(f32, bool)> {
    let text = folder.run(&["score", model, "test.csv", "--schema", "s.toml"]).done();
    let scored = text.lines().skip(1).map(|line| {
        let mut fields = line.split(',').skip(1);
        (fields.next().unwrap().parse().unwrap(), fields.next() == Some("1"))
    });
    scored.collect()
}

#[test]
fn a_fixed_threshold_is_the_model_s() {
    let folder = folder();
    let _ = folder.run(&[&TRAIN[..], &["--threshold", "0.2"]].concat()).done();
    assert!((evaluated(&folder, "m.feamoe")["threshold"].as_f64().unwrap() - 0.2).abs() < 1e-7);
    assert!(scores(&folder, "m.feamoe").iter().all(|(p, decision)| *decision == (*p >= 0.2)));
}

#[test]
fn objectives_are_met_on_rows_that_nobody_learned_from() {
    let folder = folder();
    let train = |threshold: &str| {
        let _ = folder.run(&[&TRAIN[..], &["--threshold", threshold]].concat()).done();
        let report = evaluated(&folder, "m.feamoe");
        ["accuracy", "balanced_accuracy", "selection_rate"].map(|key| report[key].as_f64().unwrap())
    };
    let [accuracy, balanced, selected] = train("0.5");
    let [_, _, asked] = train("auto:select=0.3");
    assert!((asked - 0.3).abs() < 0.03 && selected < 0.12, "{asked}, {selected} at 0.5");
    let [_, better, _] = train("auto:balanced");
    assert!(better > balanced + 0.08, "{better} for {balanced}");
    let [best, _, _] = train("auto:accuracy");
    assert!(best > accuracy - 0.005, "{best} for {accuracy}");
    // A false negative that costs as much as nine false positives gives a threshold near 0.1.
    let _ = train("auto:cost=9");
    let threshold = evaluated(&folder, "m.feamoe")["threshold"].as_f64().unwrap();
    assert!((0.06..0.15).contains(&threshold), "{threshold}");
}

/// The base rate changes from an eighth to a third. The selected share stays the same, and the
/// target is still met.
#[test]
fn the_threshold_follows_the_stream_and_targets_hold_at_it() {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("train.csv", rows(3, 24_000, |row| if row < 12_000 { RARE } else { -1.0 }));
    folder.write("test.csv", rows(4, 6_000, |_| -1.0));
    let options = ["--threshold", "auto:select=0.2", "--fair", "spd=0.1", "--format", "json"];
    let report = folder.run(&[&TRAIN[..], &options].concat()).json();
    assert_eq!(report["targets"][0]["verdict"], "met", "{}", report["targets"]);
    let judged = evaluated(&folder, "m.feamoe");
    assert!((judged["selection_rate"].as_f64().unwrap() - 0.2).abs() < 0.03, "{}", judged["selection_rate"]);
    assert!(judged["threshold"].as_f64().unwrap() > 0.45, "{}", judged["threshold"]);
    assert!(judged["fairness"][0]["spd"].as_f64().unwrap().abs() < 0.1);
    // The report states the threshold of the model.
    assert_eq!(
        (&report["threshold"], report["threshold_rule"].as_str()),
        (&judged["threshold"], Some("auto:select=0.2"))
    );
    let text = folder.run(&[&TRAIN[..], &options[..4]].concat()).done();
    assert!(text.contains("\nthreshold 0.") && text.contains(", chosen by auto:select=0.2\n"), "{text}");
}

#[test]
fn a_finished_model_gets_another_threshold_and_the_same_scores() {
    let folder = folder();
    let _ = folder.run(&TRAIN).done();
    let before = scores(&folder, "m.feamoe");
    let export =
        |more: &[&str]| folder.run(&[&["export", "m.feamoe", "-o", "t.feamoe", "--format", "json"], more].concat());
    let report = export(&["--threshold", "0.25"]).json();
    assert!((report["threshold"].as_f64().unwrap() - 0.25).abs() < 1e-7);
    for ((p, _), (other, decision)) in before.iter().zip(scores(&folder, "t.feamoe")) {
        assert_eq!((p.to_bits(), decision), (other.to_bits(), other >= 0.25));
    }
    // Chosen on rows, the threshold is as good there as the best one.
    let auto = ["--threshold", "auto:balanced", "--data", "test.csv", "--schema", "s.toml"];
    let _ = export(&auto).json();
    let chosen = evaluated(&folder, "t.feamoe")["balanced_accuracy"].as_f64().unwrap();
    let labels: Vec<bool> = folder.text("test.csv").lines().skip(1).map(|line| line.ends_with('1')).collect();
    let balanced = |threshold: f32| {
        let rate = |label: bool| {
            let of: Vec<_> = before.iter().zip(&labels).filter(|(_, l)| **l == label).collect();
            of.iter().filter(|((p, _), _)| (*p >= threshold) == label).count() as f64 / of.len() as f64
        };
        0.5 * (rate(true) + rate(false))
    };
    let best = (1..400).map(|step| balanced(step as f32 / 400.0)).fold(0.0, f64::max);
    assert!(chosen > best - 0.005, "{chosen} for {best}");
    // Also with integer weights.
    let report = export(&["--threshold", "0.25", "--quantize", "i16"]).json();
    assert!((report["threshold"].as_f64().unwrap() - 0.25).abs() < 1e-7, "{report}");
    assert!(scores(&folder, "t.feamoe").iter().all(|(p, decision)| *decision == (*p >= 0.25)));

    for (more, expected) in [
        (
            &["--threshold", "auto:accuracy"][..],
            "--threshold auto:accuracy needs labelled rows; name them with --data and --schema",
        ),
        (
            &["--threshold", "0.3", "--data", "test.csv", "--schema", "s.toml"],
            "--data is for --threshold auto:..., --quantize and --experts; add one of them, or leave --data out",
        ),
    ] {
        let ran = export(more);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let usage = export(&["--threshold", "auto:best"]).usage_refused();
    assert!(usage.contains("found `auto:best`, expected a number above 0 and below 1, auto:accuracy"), "{usage}");
}
