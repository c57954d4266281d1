//! Individual unfairness is what scoring the changed records tells: checked against files in which the protected column was rewritten.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use feamoe_tests::command::Folder;
use feamoe_tests::generate::Draw;
use serde_json::Value;

const ROWS: usize = 6_000;
const COLUMNS: [&str; 4] = ["sex", "race", "zone", "income"];

/// A listed attribute, an open one with two privileged values, and one coded as numbers.
const SCHEMA: &str = "
[target]
column = \"approved\"
positive = [\"yes\"]
[[protected]]
column = \"sex\"
privileged = [\"m\"]
unprivileged = [\"f\"]
as_feature = true
[[protected]]
column = \"race\"
privileged = [\"w\", \"v\"]
as_feature = true
[[protected]]
column = \"zone\"
privileged = [\"1\"]
as_feature = true
[[intersection]]
columns = [\"sex\", \"race\"]
";

/// The privileged values of each protected column, in the order of the schema.
const PRIVILEGED: [&[&str]; 3] = [&["m"], &["w", "v"], &["1"]];

/// Records that differ in their chances by each protected column; some values are missing.
fn records(seed: u64) -> Vec<[String; 5]> {
    let mut draw = Draw::new(seed);
    (0..ROWS)
        .map(|_| {
            let sex = draw.one_of(&["m", "m", "f", "f", "?"]);
            let race = draw.one_of(&["w", "w", "v", "b", "a"]);
            let zone = draw.one_of(&["1", "2", "3"]);
            let income = draw.between(-1.0, 1.0);
            let bonus = f32::from(u8::from(sex == "m")) + f32::from(u8::from(race == "w" || race == "b"));
            let logit = 4.0 * income + bonus - if zone == "3" { 1.0 } else { 0.5 };
            let approved = draw.between(0.0, 1.0) < 1.0 / (1.0 + libm::expf(-logit));
            [sex.into(), race.into(), zone.into(), format!("{income:.3}"), if approved { "yes" } else { "no" }.into()]
        })
        .collect()
}

fn csv(records: &[[String; 5]]) -> String {
    let mut text = format!("{},approved\n", COLUMNS.join(","));
    for record in records {
        let _ = writeln!(text, "{}", record.join(","));
    }
    text
}

/// Decisions on the records, as `feamoe score` writes them.
fn decisions(folder: &Folder, records: &[[String; 5]]) -> Vec<bool> {
    folder.write("rewritten.csv", csv(records));
    let scores = folder.run(&["score", "m.feamoe", "rewritten.csv"]).done();
    scores.lines().skip(1).map(|line| line.split(',').nth(2) == Some("1")).collect()
}

/// The records behind a share.
fn count(share: &Value, rows: usize) -> usize {
    (share.as_f64().unwrap() * rows as f64).round() as usize
}

#[test]
fn the_share_is_that_of_decisions_that_change_in_a_rewritten_file() {
    let folder = Folder::new();
    folder.write("train.csv", csv(&records(1)));
    folder.write("s.toml", SCHEMA);
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let test = records(2);
    folder.write("test.csv", csv(&test));
    let report = folder.run(&["evaluate", "m.feamoe", "test.csv", "--schema", "s.toml", "--format", "json"]).json();

    let own = decisions(&folder, &test);
    let mut unfair = vec![false; ROWS];
    for (column, privileged) in PRIVILEGED.into_iter().enumerate() {
        let name = COLUMNS[column];
        let group = |value: &str| if privileged.contains(&value) { "privileged" } else { value }.to_owned();
        let values: BTreeSet<&str> = test.iter().map(|record| record[column].as_str()).filter(|v| *v != "?").collect();
        let mut changes = vec![false; ROWS];
        for value in values {
            let rewritten: Vec<_> = test
                .iter()
                .map(|record| {
                    let mut record = record.clone();
                    record[column] = value.to_owned();
                    record
                })
                .collect();
            let decided = decisions(&folder, &rewritten);
            // A value that the schema does not list is known from its first row on.
            let first = test.iter().position(|record| record[column] == value).unwrap();
            let first = if privileged.contains(&value) || value == "f" { 0 } else { first };
            for row in first..ROWS {
                let other = test[row][column] != "?" && group(&test[row][column]) != group(value);
                changes[row] |= other && decided[row] != own[row];
            }
        }
        let rows = test.iter().filter(|record| record[column] != "?").count();
        let expected = changes.iter().filter(|changes| **changes).count();
        let found = &report["attributes"][column];
        println!("{name}: {found}");
        assert_eq!((found["attribute"].as_str(), found["is_feature"].as_bool()), (Some(name), Some(true)));
        assert_eq!(found["rows"].as_u64(), Some(rows as u64));
        assert_eq!(count(&found["individual_unfairness"], rows), expected, "{name}");
        assert!(expected > rows / 50, "the records must show something: {expected}");
        unfair.iter_mut().zip(changes).for_each(|(unfair, changes)| *unfair |= changes);
    }
    let expected = unfair.iter().filter(|unfair| **unfair).count();
    assert_eq!(count(&report["individual_unfairness"], ROWS), expected);
    // The intersection has gaps, but no column to change.
    assert_eq!(report["attributes"].as_array().unwrap().len(), PRIVILEGED.len());
}

#[test]
fn a_column_that_the_model_does_not_see_changes_no_decision() {
    let folder = Folder::new();
    folder.write("data.csv", csv(&records(3)));
    folder.write("s.toml", SCHEMA.replace("as_feature = true", "as_feature = false"));
    let _ = folder.run(&["train", "data.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let evaluate = ["evaluate", "m.feamoe", "data.csv", "--schema", "s.toml"];
    let report = folder.run(&[&evaluate[..], &["--format", "json"]].concat()).json();
    assert_eq!(report["individual_unfairness"].as_f64(), Some(0.0));
    for attribute in report["attributes"].as_array().unwrap() {
        assert_eq!(attribute["is_feature"].as_bool(), Some(false));
        assert_eq!(attribute["individual_unfairness"].as_f64(), Some(0.0));
    }
    let text = folder.run(&evaluate).done();
    assert!(text.contains("rows: not a feature, so no decision depends on it directly"), "{text}");
}
