//! Individual unfairness equals what scoring changed records shows: it is checked with files in
//! which the protected column was rewritten.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use feamoe_tests::without_card;
use serde_json::Value;

const ROWS: usize = 6_000;
const COLUMNS: [&str; 4] = ["sex", "race", "zone", "income"];

/// A listed attribute, an open one with two privileged values, and one coded with numbers.
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

/// Records whose chances depend on each protected column; some values are missing.
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

/// The decisions that `feamoe score` writes for the records.
fn decisions(folder: &Folder, records: &[[String; 5]]) -> Vec<bool> {
    folder.write("rewritten.csv", csv(records));
    let scores = folder.run(&["score", "m.feamoe", "rewritten.csv"]).done();
    scores.lines().skip(1).map(|line| line.split(',').nth(2) == Some("1")).collect()
}

/// Returns the number of records behind a share.
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
            for row in 0..ROWS {
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
    // The intersection has gaps but no column that could be changed.
    let [.., intersection] = &report["attributes"].as_array().unwrap()[..] else { unreachable!() };
    assert!(intersection["attribute"].as_str().unwrap().contains(" & "), "{intersection}");
    assert!(intersection.get("individual_unfairness").is_none(), "{intersection}");
}

#[test]
fn the_order_of_the_rows_does_not_matter() {
    let folder = Folder::new();
    folder.write("train.csv", csv(&records(1)));
    folder.write("s.toml", SCHEMA);
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    // One group comes last, or first, and so does one of the numbers.
    let mut sorted = records(2);
    sorted.sort_by_key(|record| (record[1] == "a", record[2] == "3"));
    let shares = |records: &[[String; 5]]| {
        folder.write("test.csv", csv(records));
        let report = folder.run(&["evaluate", "m.feamoe", "test.csv", "--schema", "s.toml", "--format", "json"]).json();
        [0, 1, 2].map(|column| report["attributes"][column]["individual_unfairness"].as_f64().unwrap())
    };
    let one = shares(&sorted);
    sorted.reverse();
    assert_eq!(shares(&sorted), one);
    assert!(one.iter().all(|share| *share > 0.02), "{one:?}");
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
    for attribute in report["attributes"].as_array().unwrap().iter().take(PRIVILEGED.len()) {
        assert_eq!(attribute["is_feature"].as_bool(), Some(false));
        assert_eq!(attribute["individual_unfairness"].as_f64(), Some(0.0));
    }
    let text = folder.run(&evaluate).done();
    assert!(text.contains("rows: not a feature, so no decision depends on it directly"), "{text}");
}

/// The weight that the paper names makes fewer decisions depend on a protected column, at hardly
/// any loss of accuracy.
#[test]
fn a_price_on_unfair_decisions_makes_them_rarer() {
    let folder = Folder::new();
    folder.write("train.csv", csv(&records(4)));
    folder.write("test.csv", csv(&records(5)));
    folder.write("s.toml", SCHEMA);
    let judged = |weight: &str| {
        let train = ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe", "--individual", weight];
        let report = folder.run(&[&train[..], &["--format", "json"]].concat()).json();
        let windows = report["prequential"]["windows"].as_array().unwrap();
        let prequential = windows.last().unwrap()["individual_unfairness"].as_f64().unwrap();
        let report = folder.run(&["evaluate", "m.feamoe", "test.csv", "--schema", "s.toml", "--format", "json"]).json();
        let [unfair, accuracy] = ["individual_unfairness", "accuracy"].map(|key| report[key].as_f64().unwrap());
        println!("price {weight}: unfair {unfair:.4}, in the last window {prequential:.4}, accuracy {accuracy:.4}");
        (unfair, prequential, accuracy)
    };
    let (free, free_seen, free_accuracy) = judged("0");
    let (priced, priced_seen, accuracy) = judged("0.4");
    assert!(priced < 0.7 * free, "{priced}, free {free}");
    assert!(accuracy > free_accuracy - 0.03, "{accuracy}, free {free_accuracy}");
    // The share in the last 1,000 rows of training, by the averaged weights that decide, is close
    // to the share of the final model.
    assert!((free_seen - free).abs() < 0.08 && (priced_seen - priced).abs() < 0.08, "{free_seen} {priced_seen}");

    let train = |options: &[&str]| {
        let fixed = ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"];
        let report = folder.run(&[&fixed, options].concat()).json();
        (report["prequential"]["individual_unfairness"].as_f64(), without_card(&folder.read("m.feamoe")))
    };
    let (not_asked, plain) = train(&[]);
    assert_eq!(not_asked, None);
    assert!(train(&["--individual", "0"]).1 == plain, "counting changes nothing");
    // With rows in memory, the changed records are computed again from the stored ones.
    let shuffled = ["--shuffle", "--epochs", "2"];
    let (counted, model) = train(&[&shuffled[..], &["--individual", "0"]].concat());
    assert!(counted.unwrap() > 0.1 && model == train(&shuffled).1);
}

/// FEAMOE, A.10: after every M unfair records an expert is added, and none if no decision can
/// depend on a protected column.
#[test]
fn unfair_records_call_for_an_expert() {
    const EVERY: f64 = 200.0;
    let folder = Folder::new();
    folder.write("data.csv", csv(&records(6)));
    folder.write("seen.toml", SCHEMA);
    folder.write("unseen.toml", SCHEMA.replace("as_feature = true", "as_feature = false"));
    let train = |schema: &str| {
        let train = ["train", "data.csv", "--schema", schema, "-o", "m.feamoe", "--grow", "unfair=200"];
        folder.run(&[&train[..], &["--format", "json"]].concat()).json()
    };
    let report = train("seen.toml");
    let added: Vec<&Value> =
        report["events"].as_array().unwrap().iter().filter(|event| event["event"] == "expert added").collect();
    assert!(added.iter().all(|event| event["cause"] == "unfair"), "{added:?}");
    // The last unfair records may be fewer than M.
    let unfair = report["prequential"]["individual_unfairness"].as_f64().unwrap() * ROWS as f64;
    assert_eq!(added.len(), (unfair / EVERY) as usize, "{unfair} unfair records");
    assert!(added.len() > 2);
    assert_eq!(train("unseen.toml")["experts"].as_u64(), Some(1));
}
