//! Promise: drifts of the stream are reported with row, cause and size, in JSON and in text, and
//! experts are added within the capacity.

use feamoe::demo::{ACCURACY_DRIFT_AT, FAIRNESS_DRIFT_AT, SCHEMA, TRAINING_ROWS};
use feamoe_tests::command::{Folder, lending};
use serde_json::Value;

/// Rows within which the drifts of the demo's stream are found. The new concept is easier, so only
/// the lag of the long average shows it. The fairness drift is 0.1 in the gap of the base rates,
/// which takes ADWIN alone 3,400 rows.
const DELAY: u64 = 3_500;

const TRAIN: [&str; 6] = ["train", "demo.csv", "--schema", "lending.toml", "-o", "m.feamoe"];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("demo.csv", lending(1, usize::try_from(TRAINING_ROWS).unwrap()));
    folder.write("lending.toml", SCHEMA);
    folder
}

/// Returns the events with this name and cause within [`DELAY`] of a row.
fn found<'a>(events: &'a Value, event: &str, cause: &str, from: u64) -> Vec<&'a Value> {
    let is_wanted = |found: &&Value| {
        found["event"] == event
            && found["cause"] == cause
            && (from..from + DELAY).contains(&found["row"].as_u64().unwrap())
    };
    events.as_array().unwrap().iter().filter(is_wanted).collect()
}

#[test]
fn the_demos_drifts_are_reported_near_their_rows() {
    let folder = folder();
    for targets in [&[][..], &["--fair", "spd=0.05"], &["--fair", "spd=0.05,aod=0.05,burden=0.03"]] {
        let options =
            [&TRAIN[..], &["--grow", "every=500,drift", "--experts", "12", "--format", "json"], targets].concat();
        let report = folder.run(&options).json();
        let events = &report["events"];
        for (cause, from) in [("loss drift", ACCURACY_DRIFT_AT), ("fairness drift", FAIRNESS_DRIFT_AT)] {
            let drifts = found(events, "drift detected", cause, from);
            assert!(!drifts.is_empty(), "{targets:?}: {cause} from {from}: {events:#}");
            let row = drifts[0]["row"].as_u64().unwrap();
            let after = |event: &&Value| event["row"] == row + 1;
            assert!(found(events, "experts merged", cause, from).iter().any(after), "{events:#}");
            assert!(found(events, "expert added", cause, from).iter().any(after), "{events:#}");
        }
        let drift = found(events, "drift detected", "fairness drift", FAIRNESS_DRIFT_AT)[0];
        assert_eq!((&drift["attribute"], &drift["group"]), (&Value::from("sex"), &Value::from("Female")));
        let size = |key: &str| drift[key].as_f64().unwrap();
        assert!(size("before").abs() + 0.04 < size("after").abs(), "the bias grew: {drift}");
        assert!(size("records_before") > 100.0 && size("records_after") > 10.0);
        let early = events.as_array().unwrap().iter().filter(|event| event["event"] == "drift detected");
        let early = early.filter(|event| event["row"].as_u64().unwrap() < ACCURACY_DRIFT_AT).count();
        assert_eq!(early, 0, "{targets:?}: nothing drifts before: {events:#}");
        assert_eq!((report["experts"].as_u64(), report["events_dropped"].as_u64()), (Some(12), Some(0)));
    }
}

#[test]
fn the_text_names_the_newest_drifts() {
    let folder = folder();
    let text = folder.run(&[&TRAIN[..], &["--grow", "every=500,drift", "--experts", "12"]].concat()).done();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("row ")).collect();
    assert!((3..=10).contains(&lines.len()), "{text}");
    assert!(lines.iter().any(|line| line.contains(": drift detected: sex Female, gap in ")), "{text}");
    assert!(
        lines.iter().any(|line| line.contains(": experts merged: ") && line.ends_with(" on fairness drift")),
        "{text}"
    );
    assert!(text.contains(" earlier events; --format json has the newest "), "{text}");
    // Drifts are also reported without the policy, but no expert is added for them.
    let text = folder.run(&[&TRAIN[..], &["--grow", "every=500", "--experts", "12"]].concat()).done();
    assert!(text.contains(": drift detected: ") && !text.contains("experts merged"), "{text}");
}
