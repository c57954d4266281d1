//! A target also holds for an intersection. In this stream the labels treat each sex and each race
//! alike, but not their combinations.

use std::fmt::Write as _;

use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use serde_json::Value;

const TRAINING_ROWS: usize = 30_000;
const TEST_ROWS: usize = 20_000;
/// The target for the gap.
const TARGET: f64 = 0.05;
/// The rate of a group with a tenth of the test rows has a standard error of 0.01, and so has the
/// learner's control of it.
const NOISE: f64 = 0.025;

const SCHEMA: &str = "
[target]
column = \"approved\"
positive = [\"yes\"]
[[protected]]
column = \"sex\"
privileged = [\"m\"]
as_feature = true
[[protected]]
column = \"race\"
privileged = [\"w\"]
as_feature = true
";
const INTERSECTION: &str = "[[intersection]]\ncolumns = [\"sex\", \"race\"]\n";

/// Applications. Approval favours men who are w and women who are b, through the district where
/// they live.
fn applications(seed: u64, rows: usize) -> String {
    let mut draw = Draw::new(seed);
    let mut uniform = move || draw.between(0.0, 1.0);
    let mut text = String::from("sex,race,district,income,approved\n");
    for _ in 0..rows {
        let (man, white) = (uniform() < 0.5, uniform() < 0.5);
        let favoured = man == white;
        let district = if (uniform() < 0.9) == favoured { "hill" } else { "dale" };
        let income = 2.0 * uniform() - 1.0;
        let logit = 3.0 * income + if favoured { 1.0 } else { -1.0 };
        let approved = uniform() < 1.0 / (1.0 + libm::expf(-logit));
        let word = |yes, a, b| if yes { a } else { b };
        let (sex, race, approved) = (word(man, "m", "f"), word(white, "w", "b"), word(approved, "yes", "no"));
        let _ = writeln!(text, "{sex},{race},{district},{income:.4},{approved}");
    }
    text
}

/// Returns the largest SPD of the attribute.
fn largest_spd(evaluation: &Value, attribute: &str) -> f64 {
    let gaps = evaluation["fairness"].as_array().unwrap().iter().filter(|gap| gap["attribute"] == attribute);
    gaps.map(|gap| gap["spd"].as_f64().unwrap().abs()).fold(f64::NAN, f64::max)
}

#[test]
fn a_target_is_held_for_the_groups_of_an_intersection() {
    let folder = Folder::new();
    folder.write("train.csv", applications(1, TRAINING_ROWS));
    folder.write("test.csv", applications(2, TEST_ROWS));
    folder.write("single.toml", SCHEMA);
    folder.write("both.toml", format!("{SCHEMA}{INTERSECTION}"));
    let judged = |schema: &str| {
        let train = ["train", "train.csv", "--schema", schema, "--fair", &format!("spd={TARGET}"), "-o", "m.feamoe"];
        let report = folder.run(&[&train[..], &["--format", "json"]].concat()).json();
        // Two attributes have one gap each, and the intersection has three.
        let evaluate = ["evaluate", "m.feamoe", "test.csv", "--schema", "both.toml", "--format", "json"];
        let evaluation = folder.run(&evaluate).json();
        assert_eq!(evaluation["fairness"].as_array().unwrap().len(), 5);
        (report["prequential"]["spd"].as_f64().unwrap().abs(), evaluation)
    };
    let (prequential, single) = judged("single.toml");
    assert!(prequential < TARGET, "no single attribute shows a gap: {prequential}");
    assert!(
        largest_spd(&single, "sex") < TARGET + NOISE && largest_spd(&single, "race") < TARGET + NOISE,
        "{single:#}"
    );
    let before = largest_spd(&single, "sex & race");
    assert!(before > 4.0 * TARGET, "the stream must be unfair to combinations, found {before}");

    let (_, both) = judged("both.toml");
    let after = largest_spd(&both, "sex & race");
    println!(
        "largest SPD of sex and race together: {before:.3} with single targets, {after:.3} with their intersection"
    );
    assert!(after < TARGET + NOISE, "{after}, before {before}");
    assert!(largest_spd(&both, "sex") < TARGET + NOISE && largest_spd(&both, "race") < TARGET + NOISE, "{both:#}");
}

/// Combinations are numbered by first appearance, so a resumed run must know their order.
#[test]
fn a_run_that_goes_on_keeps_the_combinations() {
    let folder = Folder::new();
    let text = applications(3, 10_000);
    let (header, rows) = text.split_once('\n').unwrap();
    // The first part is longer than the rows that the encoder is fitted on, and lacks one
    // combination.
    let (first, rest) = rows.split_at(rows.match_indices('\n').nth(8_000).unwrap().0 + 1);
    let first: Vec<&str> = first.lines().filter(|row| !row.starts_with("f,b")).collect();
    assert!(first.len() > 5_000);
    folder.write("1.csv", format!("{header}\n{}\n", first.join("\n")));
    folder.write("2.csv", format!("{header}\n{rest}"));
    folder.write("both.toml", format!("{SCHEMA}{INTERSECTION}"));
    let train = |data: &[&str], name: &str| {
        let (model, checkpoint) = (format!("{name}.feamoe"), format!("{name}.ckpt"));
        let outputs =
            ["train", "--schema", "both.toml", "--fair", "spd=0.05", "-o", &model, "--checkpoint", &checkpoint];
        let _ = folder.run(&[&outputs[..], data].concat()).done();
    };
    train(&["1.csv", "2.csv"], "whole");
    train(&["1.csv"], "parts");
    let _ = folder.run(&["update", "parts.ckpt", "2.csv", "-o", "parts.feamoe"]).done();
    assert!(folder.read("parts.feamoe") == folder.read("whole.feamoe"));
    assert!(folder.read("parts.ckpt") == folder.read("whole.ckpt"));
}
