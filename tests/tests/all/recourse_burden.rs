//! Promise: with a target on the recourse burden, the gap of the exported model falls to the
//! target, as `feamoe evaluate` measures it on other rows.

use std::fmt::Write;

use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use serde_json::Value;

const SCHEMA: &str = r#"
[target]
column = "approved"
positive = ["yes"]

[[protected]]
column = "group"
privileged = ["a"]
as_feature = true
"#;

/// Rows in which group b has less of both numbers and is approved less often, mostly because of the
/// numbers and a little because of the group.
fn rows(seed: u64, count: usize) -> String {
    let mut draw = Draw::new(seed);
    let mut text = "group,savings,income,home,approved\n".to_owned();
    for _ in 0..count {
        let in_b = draw.below(3) == 0;
        let mut bell = || (0..4).map(|_| draw.between(-1.0, 1.0)).sum::<f32>();
        let lack = if in_b { 1.1 } else { 0.0 };
        let (savings, income, noise) = (bell() - lack, bell() - lack, bell());
        let owns = draw.below(10) < if in_b { 4 } else { 6 };
        let merit = savings + income + if owns { 0.6 } else { 0.0 } - if in_b { 0.3 } else { 0.0 } + 0.8 * noise;
        let (group, home) = (if in_b { "b" } else { "a" }, if owns { "owned" } else { "rented" });
        let approved = if merit > 0.8 { "yes" } else { "no" };
        writeln!(text, "{group},{savings},{income},{home},{approved}").unwrap();
    }
    text
}

/// Trains with these options on some rows and evaluates on others. Returns the evaluation and the
/// targets in the training report.
fn evaluated(folder: &Folder, options: &[&str]) -> (Value, Value) {
    let train = ["train", "rows.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"];
    let report = folder.run(&[&train[..], options].concat()).json();
    let evaluate = ["evaluate", "m.feamoe", "other.csv", "--schema", "s.toml", "--format", "json"];
    (folder.run(&evaluate).json(), report["targets"].clone())
}

#[test]
fn the_gap_falls_to_its_target() {
    const TARGET: f64 = 0.6;
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    folder.write("rows.csv", rows(1, 20_000));
    folder.write("other.csv", rows(2, 4_000));
    let gap = |evaluation: &Value| evaluation["fairness"][0]["recourse_burden"].as_f64().unwrap();
    let accuracy = |evaluation: &Value| evaluation["accuracy"].as_f64().unwrap();
    let (free, _) = evaluated(&folder, &[]);
    assert!(gap(&free) > 1.4 * TARGET, "the rows must be unfair: {}", gap(&free));
    let (held, targets) = evaluated(&folder, &["--fair", "recourse_burden=0.6"]);
    assert!(gap(&held).abs() < 1.1 * TARGET, "{} of {}", gap(&held), gap(&free));
    assert!(accuracy(&held) > accuracy(&free) - 0.04, "{} of {}", accuracy(&held), accuracy(&free));
    let own = &targets[0];
    assert_eq!(
        (own["measure"].as_str(), own["target"].as_f64().map(|target| (1e3 * target).round() / 1e3)),
        (Some("recourse_burden"), Some(0.6))
    );
    assert!((own["gap"].as_f64().unwrap() - gap(&held)).abs() < 0.2, "{own}, measured {}", gap(&held));

    // A requirement on distances may exceed 1.
    let require = ["evaluate", "m.feamoe", "other.csv", "--schema", "s.toml", "--require"];
    let ran = |gap: &str| folder.run(&[&require[..], &[gap]].concat());
    assert_eq!(ran("recourse_burden=1.5").code, Some(0));
    let missed = ran("recourse_burden=0.001");
    assert_eq!(missed.code, Some(1));
    assert!(
        missed.stderr.starts_with("not met: recourse_burden at most 0.001: the most unequal value is "),
        "{}",
        missed.stderr
    );
}

/// A resumed run gives the same bytes as never stopping.
#[test]
fn a_run_with_the_target_goes_on_to_the_same_bytes() {
    let folder = Folder::new();
    folder.write("s.toml", SCHEMA);
    let text = rows(1, 9_000);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (first, second) = lines.split_at(6_004);
    folder.write("first.csv", first.concat());
    folder.write("second.csv", [&lines[..1], second].concat().concat());
    let options = ["--schema", "s.toml", "--fair", "recourse_burden=0.3"];
    let whole = [&["train", "first.csv", "second.csv", "-o", "whole.feamoe"], &options[..]].concat();
    let part = [&["train", "first.csv", "-o", "m.feamoe", "--checkpoint", "run.ckpt"], &options[..]].concat();
    for command in [&whole[..], &part, &["update", "run.ckpt", "second.csv", "-o", "updated.feamoe"]] {
        let ran = folder.run(command);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    assert!(folder.read("updated.feamoe") == folder.read("whole.feamoe"));
}
