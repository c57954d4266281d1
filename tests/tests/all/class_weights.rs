//! Promise: if one outcome is rare, balanced class weights find it and the probability stays
//! calibrated. A run whose decisions are all the same says so.

use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use serde_json::Value;

const SCHEMA: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n";

/// Rows of two numbers. One in a hundred has the favourable outcome, which can be recognised with a
/// balanced accuracy of about 0.8.
fn rows(seed: u64, count: usize) -> String {
    let mut draw = Draw::new(seed);
    let mut text = String::from("u,v,g,y\n");
    for _ in 0..count {
        let (u, v) = (draw.between(-1.0, 1.0), draw.between(-1.0, 1.0));
        let log_odds = 3.0 * u + 2.0 * v - 6.4;
        let y = draw.between(0.0, 1.0) < 1.0 / (1.0 + (-log_odds).exp());
        text += &format!("{u:.4},{v:.4},{},{}\n", draw.one_of(&["a", "b"]), u8::from(y));
    }
    text
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("train.csv", rows(1, 30_000));
    folder.write("test.csv", rows(2, 15_000));
    folder
}

/// Returns the report of a training run and the evaluation of its model on fresh rows.
fn trained(folder: &Folder, options: &[&str]) -> (Value, Value) {
    let train = ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"];
    let report = folder.run(&[&train[..], options].concat()).json();
    let evaluate = ["evaluate", "m.feamoe", "test.csv", "--schema", "s.toml", "--no-recourse", "--format", "json"];
    (report, folder.run(&evaluate).json())
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap()
}

#[test]
fn one_favourable_outcome_in_a_hundred_is_found() {
    let folder = folder();
    let mut found = Vec::new();
    for options in [
        &[][..],
        &["--threshold", "auto:balanced"],
        &["--class-weight", "balanced"],
        &["--class-weight", "balanced", "--threshold", "auto:accuracy"],
        &["--class-weight", "balanced", "--fair", "spd=0.05"],
        &["--class-weight", "balanced", "--epochs", "2"],
    ] {
        let (report, evaluated) = trained(&folder, options);
        let numbers = ["balanced_accuracy", "accuracy", "auc", "log_loss", "calibration_error"]
            .map(|key| number(&evaluated, key));
        eprintln!(
            "{options:?}: {numbers:?} prequential balanced {} {}",
            report["prequential"]["balanced_accuracy"], report["warnings"]
        );
        found.push((number(&report["prequential"], "balanced_accuracy"), numbers, report["warnings"].to_string()));
    }
    let base = found[0].1;
    // By default nobody is selected, since one outcome is the likelier one for everyone. The run
    // says so.
    assert!(found[0].2.contains("--class-weight balanced"), "{}", found[0].2);
    for (place, (prequential, [balanced, _, auc, log_loss, calibration], _)) in found.iter().enumerate().skip(1) {
        // Declining everyone gives the highest accuracy.
        if place != 3 {
            assert!(*balanced > 0.72 && *prequential > 0.65, "{place}: {balanced} {prequential}");
        }
        assert!(*auc > base[2] - 0.02, "{place}: {auc}");
        assert!(*log_loss < base[3] + 0.006 && *calibration < 0.009, "{place}: {log_loss} {calibration}");
    }
}

/// The class weights are part of the run: `update` keeps them.
#[test]
fn a_run_resumes_with_its_class_weights() {
    let folder = folder();
    let text = folder.text("train.csv");
    let (header, all) = text.split_once('\n').unwrap();
    let middle = all.match_indices('\n').nth(12_345).unwrap().0 + 1;
    folder.write("0.csv", format!("{header}\n{}", &all[..middle]));
    folder.write("1.csv", format!("{header}\n{}", &all[middle..]));
    let balanced = ["--schema", "s.toml", "--class-weight", "balanced"];
    let _ = folder
        .run(
            &[&["train", "0.csv", "1.csv", "-o", "whole.feamoe", "--checkpoint", "whole.ckpt"], &balanced[..]].concat(),
        )
        .done();
    let _ = folder
        .run(&[&["train", "0.csv", "-o", "parts.feamoe", "--checkpoint", "parts.ckpt"], &balanced[..]].concat())
        .done();
    let _ = folder.run(&["update", "parts.ckpt", "1.csv", "-o", "parts.feamoe"]).done();
    for kind in ["feamoe", "ckpt"] {
        assert!(folder.read(&format!("whole.{kind}")) == folder.read(&format!("parts.{kind}")), "{kind}");
    }
    let card = folder.run(&["inspect", "parts.feamoe", "--format", "json"]).json();
    assert_eq!(card["card"]["options"]["class-weight"], "balanced");
}
