//! Promise: an audit does not pass by omission. Whatever was not judged is named and counted, and
//! is never reported as met.

use feamoe::rows::{Part, Split};
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use serde_json::Value;

const TARGET: &str = "[target]\ncolumn = \"paid\"\npositive = [\"yes\"]\nnegative = [\"no\"]\n";
const CLOSED: &str =
    "[[protected]]\ncolumn = \"team\"\nprivileged = [\"Bj\u{f6}rk\"]\nunprivileged = [\"Ash\", \"Oak\"]\n";

/// Rows of a number that determines the outcome, and a team. `chance` gives the chance of the
/// favourable outcome.
fn rows(
    seed: u64,
    count: usize,
    team: impl Fn(&mut Draw) -> &'static str,
    chance: impl Fn(&str, f32) -> f32,
) -> String {
    let mut draw = Draw::new(seed);
    let mut text = String::from("sum,team,paid\n");
    for _ in 0..count {
        let (team, sum) = (team(&mut draw), draw.between(-1.0, 1.0));
        let paid = if draw.between(0.0, 1.0) < chance(team, sum) { "yes" } else { "no" };
        text += &format!("{sum:.4},{team},{paid}\n");
    }
    text
}

fn usual(_: &str, sum: f32) -> f32 {
    1.0 / (1.0 + (-4.0 * sum).exp())
}

fn teams(draw: &mut Draw) -> &'static str {
    draw.one_of(&["Bj\u{f6}rk", "Bj\u{f6}rk", "Ash", "Oak"])
}

/// A model of the usual rows, with a schema of two listed groups.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("train.csv", rows(1, 6_000, teams, usual));
    folder.write("s.toml", format!("{TARGET}{CLOSED}"));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    folder
}

fn requirement<'a>(report: &'a Value, measure: &str) -> &'a Value {
    report["requirements"].as_array().unwrap().iter().find(|found| found["measure"] == measure).unwrap()
}

const EVALUATE: [&str; 6] = ["evaluate", "m.feamoe", "test.csv", "--schema", "s.toml", "--no-recourse"];

#[test]
fn a_group_without_favourable_outcomes_is_judged_by_what_needs_none() {
    let folder = Folder::new();
    // Team Oak never pays back, and the model can see the team.
    let schema = format!("{TARGET}{CLOSED}as_feature = true\n");
    let chance = |team: &str, sum| if team == "Oak" { 0.0 } else { usual(team, sum) };
    folder.write("s.toml", schema);
    folder.write("train.csv", rows(2, 6_000, teams, chance));
    folder.write("test.csv", rows(3, 2_000, teams, chance));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let ran = folder.run(&[&EVALUATE[..], &["--require", "spd=0.1,impact=0.8,eopp=0.3", "--format", "json"]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    for measure in ["spd", "impact"] {
        let found = requirement(&report, measure);
        assert_eq!((found["verdict"].as_str(), found["group"].as_str()), (Some("not met"), Some("Oak")), "{found}");
    }
    let eopp = requirement(&report, "eopp");
    assert_eq!((eopp["verdict"].as_str(), &eopp["judged"][0]["group"]), (Some("met"), &"Ash".into()), "{eopp}");
    let missing = &eopp["not_judged"][0];
    assert_eq!(
        (missing["group"].as_str(), missing["found"].as_u64(), missing["missing"].as_u64()),
        (Some("Oak"), Some(0), Some(30))
    );
    assert!(ran.stderr.contains("not judged by eopp: team: Oak ("), "{}", ran.stderr);
}

#[test]
fn a_small_group_is_named_with_its_gap_and_interval_and_fails_a_strict_check() {
    let folder = folder();
    let mut text = rows(4, 2_000, |draw| draw.one_of(&["Bj\u{f6}rk", "Ash"]), usual);
    // 29 declined records.
    text += &"-0.9,Oak,no\n".repeat(29);
    folder.write("test.csv", &text);
    let check = |more: &[&str]| folder.run(&[&EVALUATE[..], &["--require", "spd=0.1"], more].concat());
    let ran = check(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("met: spd at most 0.1: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("judged: team: Ash ("), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("not judged by spd: team: Oak (29 rows), -0.") && ran.stderr.contains("1 more are needed"),
        "{}",
        ran.stderr
    );
    assert_eq!(check(&["--strict"]).code, Some(1));
    folder.write("test.csv", text + "-0.9,Oak,no\n");
    assert_eq!(check(&[]).code, Some(1), "30 are enough");
}

#[test]
fn rows_without_a_group_are_counted_and_shown_everywhere() {
    let folder = folder();
    let odd = |draw: &mut Draw| draw.one_of(&["Bj\u{f6}rk", "Ash", "Oak", "ash", "Bjo\u{308}rk", "", "Elm"]);
    folder.write("test.csv", rows(5, 2_100, odd, usual));
    let report = folder.run(&[&EVALUATE[..], &["--format", "json"]].concat()).json();
    let trained = ["train", "test.csv", "--schema", "s.toml", "-o", "other.feamoe"];
    let learned = folder.run(&[&trained[..], &["--format", "json"]].concat()).json();
    for report in [&report, &learned] {
        let team = &report["attributes"][0];
        let [with, without] = ["rows", "without_group"].map(|key| team[key].as_u64().unwrap());
        assert_eq!(with + without, 2_100);
        assert!((1_100..1_300).contains(&without), "four of seven: {without}");
        let values = team["values_without_group"].as_array().unwrap();
        assert_eq!(values.iter().map(|value| value["rows"].as_u64().unwrap()).sum::<u64>(), without);
        for (value, resembles) in
            [(Some("ash"), Some("Ash")), (Some("Bjo\u{308}rk"), Some("Bj\u{f6}rk")), (Some("Elm"), None), (None, None)]
        {
            let found = values.iter().find(|found| found["value"].as_str() == value).unwrap();
            assert_eq!(found["resembles"].as_str(), resembles, "{found}");
        }
    }
    let required = folder.run(&[&EVALUATE[..], &["--require", "spd=0.5"]].concat());
    let without = report["attributes"][0]["without_group"].as_u64().unwrap();
    let expected = format!("team: {without} rows are in no group and are not judged\n");
    assert!(required.stderr.starts_with(&expected), "{}", required.stderr);
    for text in [folder.run(&EVALUATE).done(), folder.run(&trained).done()] {
        assert!(text.contains(" rows are in no group: missing ("), "{text}");
        assert!(text.contains("\"ash\" (") && text.contains(", almost \"Ash\")"), "{text}");
    }
}

/// The first ten values are named; the rows of all other values are counted.
#[test]
fn no_row_without_a_group_is_passed_over() {
    let folder = folder();
    let names: Vec<String> = (0..20).map(|team| format!("team {team}")).collect();
    let body: String = (0..100).map(|row| format!("0.1,{},yes\n", names[row % 20])).collect();
    folder.write("test.csv", rows(15, 500, teams, usual) + &body);
    let text = folder.run(&EVALUATE).done();
    assert!(text.contains("team: 100 rows are in no group: \"team 0\" (5 rows), "), "{text}");
    assert!(text.contains("\"team 9\" (5 rows), others (50 rows)\n"), "{text}");
}

#[test]
fn a_slice_without_the_reference_says_so_and_meets_nothing() {
    let folder = folder();
    folder.write("test.csv", rows(6, 1_000, |draw| draw.one_of(&["Ash", "Oak"]), usual));
    let ran = folder.run(&[&EVALUATE[..], &["--require", "spd=0.1"]].concat());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("team: no row is in the group Bj\u{f6}rk\n"), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("not shown: spd at most 0.1: no group could be judged\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("0 records in the reference, 30 more are needed"), "{}", ran.stderr);
}

#[test]
fn sorted_rows_are_recognised_and_no_target_is_judged() {
    let folder = folder();
    let text = rows(7, 6_000, teams, usual);
    let (header, body) = text.split_once('\n').unwrap();
    let mut lines: Vec<&str> = body.lines().collect();
    let sorted = |by: &str, lines: &[&str], more: &[&str]| {
        folder.write("sorted.csv", format!("{header}\n{}\n", lines.join("\n")));
        let train = ["train", "sorted.csv", "--schema", "s.toml", "-o", "x.feamoe", "--fair", "spd=0.2,aod=0.2"];
        let report = folder.run(&[&train[..], more, &["--format", "json"]].concat()).json();
        let warnings = report["warnings"].to_string();
        let is_named = warnings.contains(&format!("the rows are sorted by {by}")) && warnings.contains("--shuffle");
        let verdicts: Vec<Option<String>> =
            report["targets"].as_array().unwrap().iter().map(|t| t["verdict"].as_str().map(str::to_owned)).collect();
        (is_named, verdicts, warnings)
    };
    let (is_named, verdicts, _) = sorted("", &lines, &[]);
    assert!(!is_named && verdicts.iter().all(Option::is_some), "{verdicts:?}");
    lines.sort_by_key(|line| line.rsplit(',').next().unwrap());
    let (is_named, verdicts, warnings) = sorted("the outcome", &lines, &[]);
    assert!(is_named && verdicts.iter().all(Option::is_none), "{verdicts:?} {warnings}");
    assert!(warnings.contains(" windows have only one outcome"), "{warnings}");
    let (is_named, verdicts, _) = sorted("the outcome", &lines, &["--shuffle"]);
    assert!(!is_named && verdicts.iter().all(Option::is_some), "{verdicts:?}");
    lines.sort_by_key(|line| line.split(',').nth(1).unwrap());
    let (is_named, verdicts, warnings) = sorted("\\\"team\\\"", &lines, &[]);
    assert!(is_named && verdicts.iter().all(Option::is_none), "{verdicts:?} {warnings}");
    // Sorted by a feature, as data may be sorted by date.
    lines.sort_by(|a, b| {
        a.split(',').next().unwrap().parse::<f32>().unwrap().total_cmp(&b.split(',').next().unwrap().parse().unwrap())
    });
    for is_descending in [false, true] {
        let (is_named, verdicts, warnings) = sorted("\\\"sum\\\"", &lines, &[]);
        assert!(is_named && verdicts.iter().all(Option::is_none), "{is_descending} {verdicts:?} {warnings}");
        lines.reverse();
    }
    let dated: Vec<String> =
        (0..).zip(&lines).map(|(day, line)| format!("2026-{:02}-{:02},{line}", 1 + day / 800, day / 25 % 32)).collect();
    folder.write("dated.csv", format!("day,{header}\n{}\n", dated.join("\n")));
    let train = ["train", "dated.csv", "--schema", "s.toml", "-o", "x.feamoe", "--format", "json"];
    let warnings = folder.run(&train).json()["warnings"].to_string();
    assert!(warnings.contains("sorted by \\\"day\\\""), "{warnings}");
}

/// Also without protected columns.
#[test]
fn decisions_that_are_all_the_same_are_said() {
    let folder = Folder::new();
    folder.write("s.toml", TARGET);
    folder.write("train.csv", rows(14, 6_000, teams, |_, _| 0.002));
    let report = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json"]).json();
    assert!(report["warnings"].to_string().contains("decisions are all the same (declined)"), "{}", report["warnings"]);
}

#[test]
fn labels_and_groups_compare_as_values() {
    let folder = Folder::new();
    let number = |text: String, one: &str, zero: &str, first: &str, second: &str| {
        let text = text.replace("yes", one).replace("no", zero);
        text.replace(",Ash,", &format!(",{first},")).replace(",Oak,", &format!(",{second},"))
    };
    let teams = |draw: &mut Draw| draw.one_of(&["Ash", "Oak"]);
    folder.write("train.csv", number(rows(8, 6_000, teams, usual), "1", "0", "1", "2"));
    let test = rows(9, 1_000, teams, usual);
    folder.write("int.csv", number(test.clone(), "1", "0", "1", "2"));
    folder.write("float.csv", number(test.clone(), "1.0", "0.0", "1.0", "2.0"));
    folder.write("three.csv", number(test, "1", "0", "1", "2") + "0.1,1,9\n");
    let positive = "[target]\ncolumn = \"paid\"\npositive = [\"1\"]\n";
    let protected = "[[protected]]\ncolumn = \"team\"\nprivileged = [\"1\"]\nunprivileged = [\"2\"]\n";
    folder.write("s.toml", format!("{positive}{protected}"));
    folder.write("both.toml", format!("{positive}negative = [\"0\"]\n{protected}"));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).done();
    let evaluate =
        |data: &str, schema: &str| folder.run(&["evaluate", "m.feamoe", data, "--schema", schema, "--format", "json"]);
    assert_eq!(evaluate("int.csv", "s.toml").json(), evaluate("float.csv", "s.toml").json());
    let refused = evaluate("three.csv", "s.toml");
    assert_eq!(refused.code, Some(2));
    let expected = "error: three.csv:1002: column \"paid\": found \"9\", expected the favourable outcome, \"1\", or the one other value, \"0\"";
    assert!(refused.stderr.starts_with(expected), "{}", refused.stderr);
    let counted = evaluate("three.csv", "both.toml").json();
    assert_eq!((counted["skipped"].as_u64(), counted["other_labels"]["rows"].as_u64()), (Some(1), Some(1)));
    assert_eq!(counted["other_labels"]["values"][0]["value"], "9");
}

#[test]
fn targets_that_cannot_be_missed_are_not_shown() {
    let folder = Folder::new();
    // One outcome in two hundred is favourable, whatever the features.
    folder.write("s.toml", format!("{TARGET}{CLOSED}"));
    folder.write("train.csv", rows(10, 8_000, teams, |_, _| 0.005));
    let train =
        ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe", "--fair", "spd=0.05", "--format", "json"];
    let report = folder.run(&train).json();
    for target in report["targets"].as_array().unwrap() {
        assert_eq!(target["verdict"], "not shown", "{target}");
        assert!(
            target["reason"].as_str().unwrap().starts_with("almost nobody or almost everybody is selected"),
            "{target}"
        );
    }
    assert!(report["warnings"].to_string().contains("decisions are all the same (declined)"), "{}", report["warnings"]);
    // The card states the gaps that exist, and can be read.
    assert!(folder.run(&["inspect", "m.feamoe"]).done().contains("how it was made"));
    folder.write("test.csv", rows(11, 4_000, teams, |_, _| 0.005));
    let ran = folder.run(&[&EVALUATE[..], &["--require", "spd=0.05"]].concat());
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.starts_with("not shown: spd at most 0.05: "), "{}", ran.stderr);
    assert!(ran.stdout.contains("all decisions are the same: declined"), "{}", ran.stdout);
    assert_eq!(folder.run(&[&EVALUATE[..], &["--require", "spd=0.05", "--strict"]].concat()).code, Some(1));
}

/// With several passes the verdict is about the final model, on the rows that were held out of
/// training. `evaluate` gives the same figures on these rows.
#[test]
fn the_model_that_is_shipped_is_the_one_that_is_judged() {
    let folder = folder();
    let text = rows(12, 6_000, teams, |team, sum| usual(team, sum + if team == "Oak" { -0.4 } else { 0.0 }));
    folder.write("data.csv", &text);
    for more in [&[][..], &["--shuffle"]] {
        let train =
            ["train", "data.csv", "--schema", "s.toml", "-o", "m.feamoe", "--fair", "spd=0.1,aod=0.1", "--epochs", "3"];
        let report = folder.run(&[&train[..], &["--seed", "7", "--format", "json"], more].concat()).json();
        let reserved = Split { seed: 7, training_share: 0.9, part: Part::HeldOut };
        let mut kept = String::from("sum,team,paid\n");
        for (_, line) in text.lines().skip(1).enumerate().filter(|(index, _)| reserved.keeps(*index as u64)) {
            kept += &format!("{line}\n");
        }
        folder.write("test.csv", kept);
        let judged = folder.run(&[&EVALUATE[..], &["--format", "json"]].concat()).json();
        for (index, gaps) in report["fairness"].as_array().unwrap().iter().enumerate() {
            for key in ["rows", "reference_rows", "spd", "aod", "spd_interval", "impact_corrected"] {
                assert_eq!(gaps[key], judged["fairness"][index][key], "{key}");
            }
        }
        assert!(report["targets"].as_array().unwrap().iter().all(|target| target["from"].is_null()));
    }
}

#[test]
fn features_that_predict_too_much_are_named() {
    let folder = Folder::new();
    let mut draw = Draw::new(13);
    let mut rows = |count: usize| {
        let mut text = String::from("sum,settled,district,team,paid\n");
        for _ in 0..count {
            let (team, sum) = (draw.one_of(&["Ash", "Oak"]), draw.between(-1.0, 1.0));
            let paid = draw.between(0.0, 1.0) < usual(team, sum);
            // `settled` is known only after the outcome, and nine in ten live in the district of
            // their team.
            let settled = if paid { draw.between(0.5, 9.0) } else { draw.between(-9.0, -0.5) };
            let district = if draw.below(10) == 0 { "mill" } else { team };
            text += &format!("{sum:.3},{settled:.2},{district},{team},{}\n", if paid { "yes" } else { "no" });
        }
        text
    };
    folder.write("s.toml", format!("{TARGET}[[protected]]\ncolumn = \"team\"\nprivileged = [\"Oak\"]\n"));
    folder.write("train.csv", rows(3_000));
    folder.write("test.csv", rows(1_000));
    let train = ["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"];
    let texts = [folder.run(&train).done(), folder.run(&EVALUATE).done()];
    for text in texts {
        assert!(
            text.contains(
                "settled equals the outcome or its complement (AUC 1.000 on 1000 rows); is it known at scoring time?"
            ),
            "{text}"
        );
        assert!(text.contains("features that predict a group: district (team: Ash, AUC 0.9"), "{text}");
    }
    for report in [
        folder.run(&[&train[..], &["--format", "json"]].concat()).json(),
        folder.run(&[&EVALUATE[..], &["--format", "json"]].concat()).json(),
    ] {
        let found: Vec<&str> =
            report["proxies"].as_array().unwrap().iter().map(|p| p["feature"].as_str().unwrap()).collect();
        assert_eq!(found, ["settled", "district"]);
    }
}
