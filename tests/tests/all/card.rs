//! Promise: a model states how it was made, and recourse and reasons follow that without the
//! schema.

use feamoe::model::card::Card;
use feamoe::model::{AlignedBytes, HostModel};
use feamoe_engine::format::{HEADER_BYTES, header};
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use serde_json::Value;

const SCHEMA: &str = r#"
[target]
column = "paid"
positive = ["yes"]
negative = ["no"]
label = "loan granted"

[[protected]]
column = "team"
privileged = ["Ash"]
unprivileged = ["Oak"]
as_feature = true

[features]
immutable = ["age"]
steps = { sum = 0.5 }
"#;

fn rows(seed: u64, count: usize) -> String {
    let mut draw = Draw::new(seed);
    let mut text = String::from("sum,age,team,paid\n");
    for _ in 0..count {
        let (sum, age, team) = (draw.between(-2.0, 2.0), draw.between(18.0, 70.0), draw.one_of(&["Ash", "Oak"]));
        let log_odds = sum + (age - 44.0) / 10.0 + if team == "Ash" { 2.0 } else { -2.0 };
        let paid = draw.between(0.0, 1.0) < 1.0 / (1.0 + (-log_odds).exp());
        text += &format!("{sum:.3},{age:.0},{team},{}\n", if paid { "yes" } else { "no" });
    }
    text
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("train.csv", rows(1, 9_000));
    folder.write("test.csv", rows(2, 400));
    let train = ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe", "--bins", "16", "--fair", "aod=0.1"];
    let report = folder.run(&[&train[..], &["--shuffle", "--format", "json"]].concat()).json();
    folder.write("report.json", report.to_string());
    folder
}

fn card(folder: &Folder, model: &str) -> Value {
    folder.run(&["inspect", model, "--format", "json"]).json()["card"].clone()
}

#[test]
fn it_says_options_groups_and_verdicts() {
    let folder = folder();
    let card = card(&folder, "m.feamoe");
    let report: Value = serde_json::from_slice(&folder.read("report.json")).unwrap();
    for (flag, value) in
        [("bins", "16"), ("fair", "aod=0.1"), ("shuffle", "yes"), ("seed", "1"), ("grow", "every=500,drift")]
    {
        assert_eq!(card["options"][flag], value, "{flag}");
    }
    assert_eq!(card["schema"]["protected"][0]["column"], "team");
    assert_eq!(card["measured"]["accuracy"], report["prequential"]["accuracy"]);
    let (found, expected) = (&card["measured"]["targets"][0], &report["targets"][0]);
    for (key, of_report) in [("verdict", "verdict"), ("value", "gap"), ("interval", "interval"), ("group", "group")] {
        assert_eq!(found[key], expected[of_report], "{key}");
    }
    for measure in ["spd", "aod", "eodds", "impact"] {
        assert_eq!(card["measured"]["gaps"][0]["measures"][measure], report["fairness"][0][measure], "{measure}");
    }
    let text = folder.run(&["inspect", "m.feamoe"]).done();
    for part in ["how it was made", "fair aod=0.1", "\"team\", Oak against Ash; seen by the model", "immutable: age"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn recourse_and_reasons_keep_to_it_without_a_schema() {
    let folder = folder();
    let changed = |more: &[&str]| {
        let report = folder.run(&[&["recourse", "m.feamoe", "test.csv", "--format", "json"], more].concat()).json();
        assert!(report["summary"]["with_recourse"].as_u64().unwrap() > 20);
        let changed = report["summary"]["changed"].as_array().unwrap().iter();
        changed.map(|changed| changed["feature"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(changed(&[]), ["sum"], "neither team nor age");
    // A schema with fewer rules does not remove those of the card.
    folder.write("less.toml", "[target]\ncolumn = \"paid\"\npositive = [\"yes\"]\n");
    assert_eq!(changed(&["--schema", "less.toml"]), ["sum"]);
    for (flag, value, reason) in
        [("--increase-only", "age", "\"age\" is immutable"), ("--fix", "team", "\"team\" is protected")]
    {
        let refused = folder.refusal(&["recourse", "m.feamoe", "test.csv", flag, value]);
        assert!(refused.contains(reason), "{refused}");
    }
    // The card also has the steps.
    let report = folder.run(&["recourse", "m.feamoe", "test.csv", "--format", "json"]).json();
    let to = report["answers"]["to"].as_array().unwrap().iter().map(|to| to[0].as_f64().unwrap());
    assert!(to.into_iter().all(|to| (2.0 * to).fract() == 0.0));
    let explain = ["explain", "m.feamoe", "test.csv", "--reasons", "3", "--format", "json"];
    let report = folder.run(&explain).json();
    assert_eq!(report["output_names"], "loan granted");
    assert!(report["reasons"].to_string().contains("\"protected\":true"), "{}", report["reasons"]);
}

#[test]
fn what_no_longer_holds_is_taken_out() {
    let folder = folder();
    let export = |out: &str, more: &[&str]| {
        let _ = folder.run(&[&["export", "m.feamoe", "-o", out], more].concat()).done();
    };
    export("device.feamoe", &[]);
    assert!(card(&folder, "device.feamoe").is_null(), "a device does without it");
    let bytes = AlignedBytes::read(&folder.path("m.feamoe")).unwrap();
    let moved = feamoe::model::with_threshold(&bytes, 0.7).unwrap();
    let (card, before) = (Card::of(&moved).unwrap().unwrap(), Card::of(&bytes).unwrap().unwrap());
    assert_eq!((card.measured, &card.options), (None, &before.options), "verdicts were those of another threshold");
    assert_eq!(HostModel::load(moved.as_slice()).unwrap().threshold(), 0.7);
}

#[test]
fn a_card_that_cannot_be_read_is_refused_and_scores_all_the_same() {
    let folder = folder();
    let bytes = std::fs::read(folder.path("m.feamoe")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"{\"schema\"").unwrap();
    let mut damaged = bytes.clone();
    damaged[at + 2] = b'x';
    let flags = u16::from_le_bytes([damaged[6], damaged[7]]);
    let (_, payload) = damaged.split_at(HEADER_BYTES);
    let header = header(flags, payload).unwrap();
    damaged[..HEADER_BYTES].copy_from_slice(&header);
    folder.write("damaged.feamoe", damaged);
    let refused = folder.refusal(&["inspect", "damaged.feamoe"]);
    assert!(refused.contains("damaged.feamoe") && refused.contains("card cannot be read"), "{refused}");
    // The rules for reading its data are unknown, so a schema must give them.
    let refused = folder.refusal(&["score", "damaged.feamoe", "test.csv"]);
    assert!(refused.contains("card cannot be read"), "{refused}");
    assert_eq!(
        folder.run(&["score", "damaged.feamoe", "test.csv", "--schema", "s.toml"]).done(),
        folder.run(&["score", "m.feamoe", "test.csv"]).done()
    );
}
