//! `feamoe monitor MODEL DATA`: monitors rows as they come, prints one line for each event, and
//! passes alarms to other commands.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use feamoe::demo::{FAIRNESS_DRIFT_AT, LendingStream, write_csv};
use feamoe_tests::command::{Folder, Ran, gap_keys, keys};
use serde_json::Value;

/// Rows of the demo's stream. From row `from` on the income is tripled.
fn rows(seed: u64, rows: usize, from: usize) -> String {
    let mut text = Vec::new();
    let stream = LendingStream::starting_at(seed, FAIRNESS_DRIFT_AT).take(rows).enumerate();
    let stream = stream.map(|(row, mut application)| {
        application.income = application.income.map(|income| if row < from { income } else { 3 * income });
        application
    });
    write_csv(&mut text, stream).unwrap();
    String::from_utf8(text).unwrap()
}

fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("steady.csv", rows(3, 3_000, usize::MAX));
    folder.write("tripled.csv", rows(3, 3_000, 2_000));
    folder
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'v>(lines: &'v [Value], event: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn every_event_is_a_line_and_an_alarm_the_exit_code() {
    let folder = folder();
    let monitor = |data: &str, options: &[&str]| {
        folder.run(&[&["monitor", "lending.feamoe", data, "--format", "json"], options].concat())
    };
    let steady = monitor("steady.csv", &[]);
    assert_eq!((steady.code, steady.stderr.as_str()), (Some(0), ""));
    let all = lines(&steady);
    assert_eq!((of(&all, "alarm").len(), of(&all, "window").len(), of(&all, "summary").len()), (0, 3, 1));
    let window = of(&all, "window")[1];
    assert_eq!(
        (&window["from_row"], &window["to_row"], &window["labelled"]),
        (&1_001.into(), &2_000.into(), &1_000.into())
    );
    assert_eq!(
        keys(window),
        [
            "accuracy",
            "calibration_error",
            "event",
            "fairness",
            "from_row",
            "inputs",
            "labelled",
            "log_loss",
            "rows",
            "score",
            "score_mean",
            "selection_rate",
            "to_row"
        ]
    );
    assert_eq!(keys(&window["inputs"][0]), ["clamped", "feature", "missing", "psi", "psi_by_chance", "unseen"]);
    assert_eq!(keys(&window["fairness"][0]), gap_keys(&[]));
    let summary = of(&all, "summary")[0];
    assert_eq!(
        keys(summary),
        [
            "alarms",
            "attributes",
            "event",
            "false_alarms",
            "ids",
            "labelled",
            "model",
            "other_labels",
            "quantities",
            "reference",
            "rows"
        ]
    );
    assert_eq!(summary["reference"], serde_json::json!({ "from": "background", "rows": 1_000 }));

    let tripled = monitor("tripled.csv", &["--window", "500", "--on-event", "cat >> events.jsonl"]);
    assert_eq!(tripled.code, Some(1));
    let all = lines(&tripled);
    let alarms = of(&all, "alarm");
    assert_eq!((&alarms[0]["quantity"], &alarms[0]["feature"]), (&"input".into(), &"income".into()));
    assert_eq!(keys(alarms[0]), ["after", "before", "cell", "event", "feature", "quantity", "row", "values_since"]);
    let rate = alarms.iter().find(|alarm| alarm["quantity"] == "selection_rate").unwrap();
    assert_eq!((&rate["attribute"], &rate["cell"]), (&"sex".into(), &"favourable".into()));
    assert!(rate["after"].as_f64() > rate["before"].as_f64() && rate["group"].is_string());
    let row = alarms[0]["row"].as_u64().unwrap();
    assert!((2_001..2_200).contains(&row), "{row}");
    let handed: Vec<Value> =
        folder.text("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(handed.len(), alarms.len());
    assert!(handed.iter().zip(&alarms).all(|(handed, alarm)| handed["row"] == alarm["row"]));
    // The same bytes in a second run; with a reference; from standard input.
    assert_eq!(monitor("tripled.csv", &["--window", "500"]).stdout, tripled.stdout);
    let reference = monitor("tripled.csv", &["--reference", "steady.csv", "--false-alarms", "0.001"]);
    let reference = lines(&reference);
    assert_eq!(of(&reference, "alarm")[0]["feature"], "income");
    assert_eq!(of(&reference, "summary")[0]["reference"]["from"], "data");
    let piped =
        folder.run_on(folder.text("steady.csv").as_bytes(), &["monitor", "lending.feamoe", "-", "--format", "json"]);
    assert_eq!((piped.code, piped.stdout), (Some(0), steady.stdout));
    // The text output.
    let text = folder.run(&["monitor", "lending.feamoe", "tripled.csv"]);
    assert!(text.stdout.contains(&format!("\nALARM row {row}: input \"income\": share of ")), "{}", text.stdout);
    let failing = monitor("tripled.csv", &["--on-event", "exit 3"]);
    assert!(
        failing.code == Some(1) && failing.stderr.contains("the command ended with exit status: 3"),
        "{}",
        failing.stderr
    );
}

/// Unknown outcomes and groups are reported and counted in the summary.
#[test]
fn unknown_outcomes_and_groups_are_counted() {
    let folder = folder();
    let text = folder.text("steady.csv");
    let column = |name: &str| text.lines().next().unwrap().split(',').position(|column| column == name).unwrap();
    let (sex, approved) = (column("sex"), column("approved"));
    let change = |(row, line): (usize, &str)| {
        let mut cells: Vec<&str> = line.split(',').collect();
        match row {
            1..=5 => cells[sex] = "other",
            6..=8 => cells[approved] = "perhaps",
            9..=20 => cells[approved] = "",
            _ => {}
        }
        cells.join(",") + "\n"
    };
    folder.write("odd.csv", text.lines().enumerate().map(change).collect::<String>());
    let ran = folder.run(&["monitor", "lending.feamoe", "odd.csv", "--format", "json"]);
    let summary = of(&lines(&ran), "summary")[0].clone();
    assert_eq!(summary["other_labels"]["rows"], 3, "a missing one may still come");
    assert_eq!(summary["attributes"][0]["without_group"], 5);
    for note in [
        "note: 3 labels are neither outcome: \"perhaps\" (3 rows)\n",
        "note: sex: 5 rows are in no group: \"other\" (5 rows)\n",
    ] {
        assert!(ran.stderr.contains(note), "{}", ran.stderr);
    }
}

/// The name of a column never reaches a shell.
#[test]
fn a_hostile_name_is_only_a_name() {
    let folder = Folder::new();
    let name = "x'; touch owned; $(touch owned) `touch owned`";
    let data = |from: u32| {
        let cell = |n: u32| if n < from { n * 37 % 101 } else { 500 };
        (0..2_000).fold(format!("{name},y\n"), |text, n| text + &format!("{},{}\n", cell(n), u8::from(cell(n) > 50)))
    };
    folder.write("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n");
    folder.write("train.csv", data(u32::MAX));
    folder.write("drift.csv", data(1_000));
    let _ = folder.run(&["train", "train.csv", "--schema", "s.toml", "-o", "m.feamoe"]).well();
    let ran = folder.run(&["monitor", "m.feamoe", "drift.csv", "--on-event", "cat > event.json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let event: Value = serde_json::from_str(&folder.text("event.json")).unwrap();
    assert!(event["row"].as_u64().unwrap() > 1_000);
    assert!(!folder.path("owned").exists());
    assert!(ran.stdout.contains("input \"x'; touch owned"), "{}", ran.stdout);
}

#[test]
fn outcomes_may_come_later() {
    let folder = folder();
    let steady = folder.text("steady.csv");
    let (header, rest) = steady.split_once('\n').unwrap();
    let mut late = format!("{header}\n");
    for (n, line) in rest.lines().enumerate() {
        let (record, label) = line.rsplit_once(',').unwrap();
        late += &format!("{record},\n");
        let (id, _) = line.split_once(',').unwrap();
        // Only every second row has its outcome, in the line after it.
        if n % 2 == 0 {
            late += &format!("{id},,,,,,,,,,,{label}\n");
        }
    }
    late += "999999,,,,,,,,,,,yes\n";
    folder.write("late.csv", late);
    let ran = folder.run(&["monitor", "lending.feamoe", "late.csv", "--id", "application", "--format", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let all = lines(&ran);
    let summary = of(&all, "summary")[0];
    assert_eq!((&summary["rows"], &summary["labelled"]), (&3_000.into(), &1_500.into()));
    assert_eq!(
        summary["ids"],
        serde_json::json!({ "joined": 1_500, "waiting": 1_500, "expired": 0, "unknown": 1, "repeated": 0, "without_id": 0 })
    );
    let refused = folder.refusal(&["monitor", "lending.feamoe", "late.csv", "--id", "customer"]);
    assert!(refused.contains("no column \"customer\", which joining later outcomes needs"), "{refused}");
}

/// A growing file is followed line by line. An incomplete line waits, and is left out at the end.
#[cfg(unix)]
#[test]
fn a_file_that_grows_is_followed() {
    let folder = folder();
    let text = folder.text("tripled.csv");
    let at = |line: usize| text.match_indices('\n').nth(line - 1).unwrap().0 + 1;
    let (half, whole) = (at(1_001) + 7, at(2_501) + 9);
    folder.write("growing.csv", &text[..half]);
    let mut command = folder.command(&[
        "monitor",
        "lending.feamoe",
        "growing.csv",
        "--follow",
        "--window",
        "500",
        "--format",
        "json",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    assert_eq!([next(), next()].map(|line| line["to_row"].as_u64()), [Some(500), Some(1_000)]);
    let mut file = OpenOptions::new().append(true).open(folder.path("growing.csv")).unwrap();
    file.write_all(&text.as_bytes()[half..whole]).unwrap();
    let mut alarms = 0;
    loop {
        let line = next();
        alarms += u64::from(line["event"] == "alarm");
        if line["to_row"] == 2_500 {
            break;
        }
    }
    assert!(alarms > 0);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let summary = next();
    assert_eq!((&summary["event"], &summary["rows"]), (&"summary".into(), &2_500.into()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "note: an incomplete last line was left out (9 bytes)\n");
}

/// A silent pipe is left on a request to stop. A file that becomes shorter is an error.
#[cfg(unix)]
#[test]
fn what_is_followed_may_stay_silent_or_shrink() {
    let folder = folder();
    let text = folder.text("steady.csv");
    let follow = |input| folder.command(&["monitor", "lending.feamoe", input, "--follow", "--window", "500"]);
    let mut command = follow("-");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&text.as_bytes()[..text.len() - 3]).unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("rows 2001 to 2500: ") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0);
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\nrows 2999  labelled 2999  alarms 0 "), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(pipe);

    folder.write("shrinking.csv", &text);
    let mut child = follow("shrinking.csv").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    folder.write("shrinking.csv", &text[..100]);
    out.read_to_string(&mut rest).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let expected = "error: cannot read shrinking.csv: it has become shorter while it was followed\n";
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(2), expected));
}

/// A pipe is followed to its end, including the last line.
#[test]
fn a_pipe_is_followed_to_its_end() {
    let folder = folder();
    let text = folder.text("steady.csv");
    let ran = folder.run_on(
        text.trim_end().as_bytes(),
        &["monitor", "lending.feamoe", "-", "--follow", "--window", "1000", "--format", "json"],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(of(&lines(&ran), "summary")[0]["rows"], 3_000);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let folder = folder();
    for (arguments, expected) in [
        (&["lending.feamoe", "nowhere.csv"][..], "cannot read nowhere.csv"),
        (&["lending.csv", "steady.csv"], "lending.csv: cannot use this model"),
        (&["lending.feamoe", "steady.csv", "steady.csv", "--follow"], "--follow takes one input, found 2"),
        (
            &["lending.feamoe", "steady.csv", "--require", "spd=0.1"],
            "--require applies to the statuses of devices (--status)",
        ),
        (&["lending.feamoe", "-", "--reference", "-"], "standard input (-) is named for the data and for --reference"),
        (&["lending.feamoe", "steady.csv", "--reference", "lending.toml"], "lending.toml"),
    ] {
        let refused = folder.refusal(&[&["monitor"], arguments].concat());
        assert!(refused.starts_with(expected), "{arguments:?}: {refused}");
    }
    for chance in ["0", "1", "nan", "x"] {
        let usage = folder.run(&["monitor", "lending.feamoe", "steady.csv", "--false-alarms", chance]).usage_refused();
        let expected =
            format!("invalid value '{chance}' for '--false-alarms <P>': expected a number above 0 and below 1");
        assert_eq!(usage, expected);
    }
    let usage = folder.run(&["monitor"]).usage_refused();
    assert!(usage.contains("required arguments were not provided"), "{usage}");
    let usage = folder.run(&["monitor", "lending.feamoe", "steady.csv", "--status", "a.status"]).usage_refused();
    assert!(usage.contains("cannot be used with"), "{usage}");
}
