//! Promise: a search gives the same options, figures and drawing with any number of threads, and
//! its figures are those of `evaluate`. A state file resumes the search and is never used for other
//! data. A file of options has the same effect as the flags.

use feamoe::rows::Digest;
use feamoe_tests::command::{Folder, lending};
use serde_json::Value;

const ROWS: usize = 3_000;
const TUNE: [&str; 9] =
    ["tune", "lending.csv", "--schema", "lending.toml", "-o", "o.toml", "--candidates", "6", "--repeats=1"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TUNE, more].concat()
}

/// A folder with loans to learn from and others to validate on.
fn folder() -> Folder {
    let folder = Folder::with_lending();
    folder.write("lending.csv", lending(3, ROWS));
    folder.write("other.csv", lending(4, ROWS));
    folder
}

#[test]
fn nothing_depends_on_the_number_of_threads() {
    let folder = folder();
    let run = |threads: &str, plot: &str| {
        let json =
            folder.run(&with(&["--fair", "spd=0.1", "--threads", threads, "--plot", plot, "--format", "json"])).json();
        (json, folder.text("o.toml"), folder.text(plot))
    };
    let one = run("1", "a.svg");
    assert_eq!(one, run("4", "b.svg"));
    let (report, options, drawing) = one;
    let kinds: Vec<&str> =
        report["front"].as_array().unwrap().iter().map(|point| point["kind"].as_str().unwrap()).collect();
    for kind in ["logistic_regression", "unconstrained", "target", "group_thresholds"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(drawing.matches("class=\"point\"").count(), kinds.len());
    assert!(options.contains("[fair]\nspd = "), "{options}");
    // No other point beats a point that is marked as best.
    let place = |point: &Value| {
        let figures = &point["figures"];
        (figures["accuracy"].as_f64().unwrap(), figures["gaps"]["spd"].as_f64().unwrap().abs())
    };
    let front = report["front"].as_array().unwrap();
    for point in front {
        let (accuracy, gap) = place(point);
        let beaten = front.iter().map(place).any(|(a, g)| a >= accuracy && g <= gap && (a, g) != (accuracy, gap));
        assert_eq!(point["is_best"], !beaten, "{point}");
    }
    let default = |trial: &&Value| trial["candidate"] == 1 && trial["share"] == 1.0;
    assert!(report["trials"].as_array().unwrap().iter().any(|trial| default(&trial)), "the default stays to the end");
}

/// Compares options and figures with `train` and `evaluate` on the same rows.
#[test]
fn what_it_reports_is_what_evaluate_finds() {
    let folder = folder();
    let tuned = folder.run(&with(&["--validation", "other.csv", "--by", "accuracy", "--format", "json"]));
    // --repeats applies only to drawn rows.
    assert!(tuned.usage_refused().contains("--repeats"));
    let arguments = [&TUNE[..8], &["--validation", "other.csv", "--by", "accuracy", "--format", "json"]].concat();
    let tuned = folder.run(&arguments).json();
    let train = |more: &[&str]| {
        let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--background", "0"];
        let _ = folder.run(&[&train[..], more].concat()).done();
        folder
            .run(&[
                "evaluate",
                "m.feamoe",
                "other.csv",
                "--schema",
                "lending.toml",
                "--no-recourse",
                "--format",
                "json",
            ])
            .json()
    };
    let found = train(&["--config", "o.toml"]);
    let chosen = &tuned["chosen"]["figures"];
    for key in ["rows", "accuracy", "balanced_accuracy", "log_loss"] {
        assert_eq!(found[key], chosen[key], "{key}");
    }
    let largest = found["fairness"].as_array().unwrap().iter().map(|gaps| gaps["spd"].as_f64().unwrap());
    let largest = largest.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
    assert_eq!(chosen["gaps"]["spd"].as_f64().unwrap(), largest);
    let best = tuned["trials"].as_array().unwrap().iter().filter(|trial| trial["share"] == 1.0);
    let best = best.map(|trial| trial["figures"]["accuracy"].as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(chosen["accuracy"].as_f64().unwrap(), best);
}

#[test]
fn a_state_resumes_the_search_and_only_that_of_the_same_data() {
    let folder = folder();
    let arguments = with(&["--stream", "--state", "s.json", "--format", "json"]);
    // With --stream rows are judged as they come, so none are drawn.
    let arguments: Vec<&str> = arguments.into_iter().filter(|argument| *argument != "--repeats=1").collect();
    let no_time = [&arguments[..], &["--time-limit", "0.001ms"]].concat();
    assert!(folder.run(&no_time).refused().contains("raise --time-limit"));
    let first = folder.run(&arguments).json();
    let state = folder.read("s.json");
    // The state has all results: no run has to start.
    assert_eq!(folder.run(&no_time).json(), first);
    assert_eq!(folder.read("s.json"), state);
    let changed = lending(3, ROWS).replacen("yes", "no", 1).replacen("no", "yes", 1);
    for (name, content) in [("lending.csv", changed), ("lending.csv", lending(3, ROWS - 1))] {
        folder.write(name, content);
        let _ = folder.run(&no_time).refused();
    }
    folder.write("lending.csv", lending(3, ROWS));
    assert_eq!(folder.run(&no_time).json(), first);
    folder.write("s.json", "[]");
    assert!(folder.run(&arguments).refused().contains("s.json: expected a file that `feamoe tune --state` wrote"));
}

#[test]
fn a_file_of_options_means_what_its_flags_mean() {
    let folder = folder();
    let train = |more: &[&str]| {
        let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe"];
        let _ = folder.run(&[&train[..], more].concat()).done();
        // A digest of the bytes.
        Digest::of(&folder.read("m.feamoe"))
    };
    let flags = [
        "--bins",
        "32",
        "--epochs",
        "2",
        "--fair",
        "spd=0.1,aod=0.2",
        "--lr",
        "0.3",
        "--grow",
        "drift",
        "--seed",
        "5",
        "--shuffle",
    ];
    folder.write(
        "all.toml",
        "bins = 32\nepochs = 2\nlr = 0.3\ngrow = \"drift\"\nseed = 5\nshuffle = true\n[fair]\nspd = 0.1\naod = 0.2\n",
    );
    let by_flags = train(&flags);
    assert_eq!(train(&["--config", "all.toml"]), by_flags);
    assert_ne!(train(&["--config", "all.toml", "--bins", "64"]), by_flags);
    folder.write("some.toml", "bins = 7\nepochs = 2\nlr = 0.3\n[fair]\nspd = 0.3\n");
    let rest = [
        "--config",
        "some.toml",
        "--bins",
        "32",
        "--fair",
        "spd=0.1,aod=0.2",
        "--grow",
        "drift",
        "--seed",
        "5",
        "--shuffle",
    ];
    assert_eq!(train(&rest), by_flags);
    // A flag takes precedence even if it states the default.
    assert_eq!(
        train(&["--config", "some.toml", "--bins", "128", "--epochs", "1", "--lr", "0.2", "--fair", "spd=0.3"]),
        train(&["--fair", "spd=0.3"])
    );
    let refusal = |content: &str| {
        folder.write("bad.toml", content);
        folder.refusal(&["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--config", "bad.toml"])
    };
    assert!(refusal("bins = 32\nepoch = 2\n").contains("bad.toml:2:1: unknown field `epoch`"));
    assert!(refusal("bins = \"many\"\n").contains("bad.toml:1:8: "));
    assert!(refusal("bins = 99999\n").contains("bins: found 99999, allowed 0 to"));
    assert!(refusal("\u{0}").starts_with("bad.toml:1:"));
}

#[test]
fn what_cannot_be_searched_is_refused_and_nothing_is_lost() {
    let folder = folder();
    let refusal =
        |more: &[&str]| folder.refusal(&[&["tune", "lending.csv", "--schema", "lending.toml"], more].concat());
    assert!(refusal(&["-o", "lending.csv"]).contains("which it would replace"));
    assert!(refusal(&["-o", "o.toml", "--state", "lending.csv"]).contains("name another file after --state"));
    assert_eq!(
        refusal(&["-o", "o.svg", "--plot", "./o.svg"]),
        "-o and --plot name the same file; name two different files"
    );
    assert_eq!(
        refusal(&["-o", "o.toml", "--state", "./o.toml"]),
        "-o and --state name the same file; name two different files"
    );
    assert_eq!(refusal(&["-o", "o.toml", "--plot", "o.png"]), "--plot writes SVG, found png; name the file .svg");
    assert!(refusal(&["-o", "o.toml", "--holdout", "1"]).contains("expected a share above 0 and below 1"));
    assert!(refusal(&["-o", "o.toml", "--bins", "64", "--lr", "7"]).contains("learning-rate: found 7"));
    let stdin = folder.refusal(&["tune", "-", "--schema", "lending.toml", "-o", "o.toml"]);
    assert!(stdin.contains("can be read only once"), "{stdin}");
    folder.write("plain.toml", "[target]\ncolumn = \"approved\"\npositive = [\"yes\"]\n");
    let plain =
        ["tune", "lending.csv", "--schema", "plain.toml", "-o", "o.toml", "--candidates", "2", "--repeats", "1"];
    let refused = folder.refusal(&[&plain[..], &["--fair", "spd=0.1"]].concat());
    assert!(refused.contains("names no protected column"), "{refused}");
}
