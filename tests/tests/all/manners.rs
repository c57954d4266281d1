//! Promise: all commands behave alike. `--quiet` omits and `--verbose` adds the same things, `-`
//! means standard output, there is no colour if none is wanted, and lines fit the terminal.

use std::process::Command;

use feamoe_tests::command::{Folder, Ran, feamoe, finished, lending};

/// A folder with a model and a few rows to explain.
fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("few.csv", lending(2, 40));
    folder
}

/// Runs a command given as words separated by blanks.
fn run(folder: &Folder, command: &str) -> Ran {
    folder.run(&command.split(' ').collect::<Vec<_>>())
}

/// Commands whose output on standard error is only informative.
const WITH_NOTES: [&str; 4] = [
    "schema lending.csv --target approved --positive yes",
    "explain lending.feamoe few.csv --global --sample 20",
    "explain plain.feamoe few.csv --row 1",
    "evaluate lending.feamoe lending.csv --require spd=1 --no-recourse",
];

#[test]
fn quiet_leaves_out_what_nobody_has_to_know() {
    let folder = folder();
    let _ = run(&folder, "export lending.feamoe -o plain.feamoe").well();
    for command in WITH_NOTES {
        let said = run(&folder, command);
        let quiet = run(&folder, &format!("{command} --quiet"));
        assert!(!said.stderr.is_empty(), "{command}");
        assert_eq!((quiet.stderr.as_str(), quiet.stdout, quiet.code), ("", said.stdout, said.code), "{command}");
    }
    // Errors and unmet requirements are still printed.
    for (command, code) in
        [("evaluate lending.feamoe none.csv", 2), ("evaluate lending.feamoe lending.csv --require spd=0.0001", 1)]
    {
        let (said, quiet) = (run(&folder, command), run(&folder, &format!("-q {command}")));
        assert_eq!((said.code, quiet.code), (Some(code), Some(code)), "{command}");
        assert!(!quiet.stderr.is_empty() && quiet.stderr == said.stderr, "{command}: {}", quiet.stderr);
    }
}

#[test]
fn verbose_adds_what_was_done_and_changes_no_result() {
    let folder = folder();
    let score = "score lending.feamoe lending.csv";
    let (plain, verbose) = (run(&folder, score), run(&folder, &format!("{score} -v")));
    assert_eq!((plain.stderr.as_str(), &plain.stdout), ("", &verbose.stdout));
    assert!(verbose.stderr.contains(" s, peak memory "), "{}", verbose.stderr);
    let train = "train lending.csv --schema lending.toml -o two.feamoe --epochs 2 --checkpoint two.ckpt --verbose";
    let said = run(&folder, train).stderr;
    for part in ["pass 2: ", " rows in ", " per second", "refits of the encoding: ", " s, peak memory "] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }
    for command in [
        "evaluate lending.feamoe lending.csv --no-recourse",
        "compare lending.feamoe lending.feamoe lending.csv --sample 5",
        "report lending.feamoe --data lending.csv -o r.html",
        score,
    ] {
        let said = run(&folder, &format!("{command} -v")).stderr;
        assert!(said.starts_with("3000 rows in "), "{command}: {said}");
    }
    let refused = folder.run(&["score", "lending.feamoe", "few.csv", "-q", "-v"]).usage_refused();
    assert!(refused.contains("--quiet") && refused.contains("--verbose"), "{refused}");
}

/// Standard output gets exactly the bytes of the file; messages go to standard error.
#[test]
fn every_output_can_be_standard_output() {
    let folder = folder();
    let _ = run(&folder, "train lending.csv --schema lending.toml -o a.feamoe --checkpoint a.ckpt").well();
    folder.write("b.csv", lending(4, 500));
    let outputs = [
        ("train lending.csv --schema lending.toml", "-o", "wrote -"),
        ("export lending.feamoe", "-o", "wrote -"),
        ("export lending.feamoe --constants rust", "-o", "wrote -"),
        ("update a.ckpt b.csv --checkpoint c.ckpt", "-o", "wrote -"),
        ("tune few.csv --schema lending.toml --candidates 2 --repeats 1", "-o", "chosen: candidate"),
        ("score lending.feamoe few.csv", "--output", ""),
        ("score lending.feamoe few.csv --format json", "-o", ""),
        ("explain lending.feamoe few.csv --format csv", "-o", ""),
        ("explain lending.feamoe few.csv", "--plot", "40 records, exact in"),
        ("schema lending.csv --target approved --positive yes", "-o", "next: feamoe train"),
    ];
    for (command, flag, said) in outputs {
        let (to_file, to_pipe) = (format!("{command} {flag} file.svg"), format!("{command} {flag} -"));
        let _ = run(&folder, &to_file);
        let mut arguments: Vec<&str> = to_pipe.split(' ').collect();
        let output = folder.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{to_pipe}");
        assert_eq!(output.stdout, folder.read("file.svg"), "{to_pipe}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(said), "{to_pipe}: {stderr}");
        assert!(!folder.path("-").exists(), "{to_pipe}");
        // Also with JSON.
        if said.starts_with("wrote") {
            arguments.extend(["--format", "json"]);
            let output = folder.command(&arguments).output().unwrap();
            assert_eq!(output.stdout, folder.read("file.svg"), "{to_pipe}");
            let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
            assert!(report.is_object());
        }
    }
    let report = run(&folder, "report lending.feamoe --data lending.csv -o -");
    assert!(report.stdout.starts_with("<!DOCTYPE html>") && report.stdout.trim_end().ends_with("</html>"));
    for (command, expected) in [
        ("train lending.csv --schema lending.toml -o b.feamoe --checkpoint -", "expected a file"),
        ("report lending.feamoe --data lending.csv -o - --card -", "name"),
        ("explain lending.feamoe few.csv --plot - -o -", "name"),
    ] {
        let message = folder.refusal(&command.split(' ').collect::<Vec<_>>());
        assert!(message.contains(expected), "{message}");
    }
}

/// Returns what a command prints on a terminal, without its messages.
fn on_terminal(folder: &Folder, columns: u16, variables: &str, command: &str) -> String {
    all_on_terminal(folder, columns, variables, &format!("{command} 2> /dev/null"))
}

/// Runs a command on a terminal provided by `script` (util-linux).
fn all_on_terminal(folder: &Folder, columns: u16, variables: &str, command: &str) -> String {
    let line = format!("stty cols {columns} rows 40; {variables} {} {command}", feamoe().display());
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(folder.path("."));
    for variable in ["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "COLUMNS"] {
        script.env_remove(variable);
    }
    script.env("TERM", "xterm-256color");
    let output = script.output().unwrap_or_else(|error| panic!("script, of util-linux: {error}"));
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn lines_fit_the_terminal() {
    let folder = folder();
    let commands = [
        "evaluate lending.feamoe lending.csv",
        "explain lending.feamoe few.csv --row 2",
        "explain lending.feamoe few.csv --global",
        "compare lending.feamoe lending.feamoe lending.csv",
        "recourse lending.feamoe few.csv",
        "train lending.csv --schema lending.toml -o a.feamoe --fair spd=0.05",
    ];
    for command in commands {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
        let piped = words(&run(&folder, command).stdout);
        for columns in [60, 80, 120] {
            let text = on_terminal(&folder, columns, "", command);
            let long = text.lines().find(|line| line.chars().count() > columns.into());
            assert!(long.is_none() && text.lines().count() > 3, "{command}, {columns} columns: {long:?} in\n{text}");
            // No word is omitted to save space; rates and bars differ.
            let shown = words(&text);
            let is_stable = |word: &&String| !command.starts_with("train") && !word.contains(['█', '▌', '▐', '│']);
            let lost: Vec<&String> = piped.iter().filter(is_stable).filter(|word| !shown.contains(word)).collect();
            assert!(lost.is_empty(), "{command}, {columns} columns: {lost:?} in\n{text}");
        }
    }
}

/// A file does not depend on the terminal.
#[test]
fn a_file_fits_no_terminal() {
    let folder = folder();
    let command = "explain lending.feamoe few.csv --row 2";
    let _ = on_terminal(&folder, 40, "", &format!("{command} -o why.txt"));
    assert_eq!(folder.text("why.txt"), run(&folder, command).stdout);
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let folder = Folder::new();
    let has_colour = |text: &str| text.contains('\u{1b}');
    for (variables, expected) in
        [("", true), ("NO_COLOR=1", false), ("NO_COLOR=1 CLICOLOR_FORCE=1", false), ("CLICOLOR_FORCE=1", true)]
    {
        let text = on_terminal(&folder, 80, variables, "score --help");
        assert_eq!(has_colour(&text), expected, "{variables:?}: {text}");
    }
    let piped = |variable: &[(&str, &str)]| {
        let mut command = folder.command(&["score", "--help"]);
        let _ = command.env_remove("NO_COLOR").envs(variable.iter().copied());
        has_colour(&finished(&mut command).stdout)
    };
    assert!(!piped(&[]));
    assert!(piped(&[("CLICOLOR_FORCE", "1")]));
    assert!(!piped(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

/// Names that are long or contain line ends do not break lines or columns.
#[test]
fn names_break_no_line() {
    let folder = Folder::new();
    let (long, broken) = ("x".repeat(300), "b\nad");
    let rows = (0..400).fold(format!("{long},g,y\n"), |text, i| {
        let group = if i % 3 == 0 { "a" } else { "\"b\nad\"" };
        text + &format!("{},{group},{}\n", i * 37 % 101, u8::from(i * 37 % 101 > 50))
    });
    folder.write("rows.csv", rows);
    folder.write(
        "s.toml",
        "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n",
    );
    let _ = run(&folder, "train rows.csv --schema s.toml -o m.feamoe").well();
    let evaluate = run(&folder, "evaluate m.feamoe rows.csv --require spd=0.5");
    for said in [&evaluate.stdout, &evaluate.stderr] {
        assert!(!said.contains(broken), "{said}");
    }
    assert!(evaluate.stderr.contains("judged: g: b\\nad ("), "{}", evaluate.stderr);
    let text = on_terminal(&folder, 60, "", "explain m.feamoe rows.csv --global");
    let too_long = text.lines().find(|line| line.chars().count() > 60);
    assert!(too_long.is_none() && text.contains("xxxx"), "{too_long:?} in\n{text}");
}

/// Pages are where the messages say. Help that cannot be written is an error.
#[test]
fn what_is_said_of_outputs_is_true() {
    let folder = folder();
    let compare = "compare lending.feamoe lending.feamoe few.csv --sample 5";
    let said = run(&folder, &format!("{compare} -o page.html"));
    assert!(said.done().ends_with("\nthe comparison is in page.html; open it in a browser\n"));
    let piped = run(&folder, &format!("{compare} -o - --format json"));
    assert!(piped.stdout.starts_with("<!DOCTYPE html>"));
    assert!(serde_json::from_str::<serde_json::Value>(&piped.stderr).unwrap().is_object());
    let report = run(&folder, "report lending.feamoe --data few.csv --card - -o page.html");
    assert!(
        report.stdout.starts_with("---\n")
            && report.stderr.ends_with("the report is in page.html; open it in a browser\n"),
        "{}",
        report.stderr
    );
    #[cfg(target_os = "linux")]
    for help in [&["--help"][..], &["score", "--help"], &["--version"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = folder.command(help).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{help:?}");
    }
}

/// Names, cells, files and arguments that try to change the terminal's title or to move its cursor,
/// with control characters of 7 and 8 bits and with changes of direction.
#[test]
fn no_control_character_reaches_a_terminal() {
    const MARK: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{7f}";
    let folder = Folder::new();
    let rows = (0..400).fold(format!("x{MARK},g{MARK},y\n"), |text, i| {
        let level = ["a", "b"][i % 2];
        text + &format!("{},{level}{MARK},yes{MARK}{}\n", i * 37 % 101, u8::from(i * 37 % 101 + i % 2 * 9 > 50))
    });
    folder.write("rows.csv", &rows);
    folder.write(&format!("r{MARK}.csv"), &rows);
    let quoted = toml(MARK);
    folder.write(
        "s.toml",
        format!(
            "[target]\ncolumn = \"y\"\npositive = [\"yes{quoted}1\"]\n[[protected]]\ncolumn = \"g{quoted}\"\nprivileged = [\"a{quoted}\"]\nas_feature = true\n"
        ),
    );
    let _ = run(&folder, "train rows.csv --schema s.toml -o m.feamoe --checkpoint m.ckpt").done();
    let commands = [
        "schema rows.csv --target y".into(),
        "train rows.csv --schema s.toml -o n.feamoe --fair spd=0.05 -v".into(),
        "evaluate m.feamoe rows.csv --require spd=0.01".into(),
        "evaluate m.feamoe rows.csv --format json".into(),
        format!("score m.feamoe rows.csv --keep 'x{MARK}'"),
        format!("score m.feamoe rows.csv --format json --keep 'g{MARK}'"),
        "explain m.feamoe rows.csv --row 3".into(),
        "explain m.feamoe rows.csv --row 3 --format json".into(),
        "recourse m.feamoe rows.csv --row 3".into(),
        "inspect m.feamoe".into(),
        "inspect m.feamoe --format json".into(),
        "compare m.feamoe m.feamoe rows.csv".into(),
        "monitor m.feamoe rows.csv --format json".into(),
        "export m.feamoe --constants rust -o -".into(),
        "report m.ckpt --data rows.csv -o -".into(),
        // Errors that quote these texts.
        format!("explain m.feamoe rows.csv --row 'x{MARK}'"),
        format!("score m.feamoe 'r{MARK}.csv' --keep 'none{MARK}'"),
        format!("score m.feamoe 'none{MARK}.csv'"),
        format!("train 'r{MARK}.csv' --schema 'none{MARK}.toml' -o n.feamoe"),
        format!("'none{MARK}'"),
        format!("score --'none{MARK}' x"),
        format!("evaluate m.feamoe rows.csv --require 'spd{MARK}=1'"),
    ];
    for command in &commands {
        let shown = all_on_terminal(&folder, 100, "", command);
        let found = ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}", "\u{7f}"].into_iter().find(|part| shown.contains(part));
        assert!(found.is_none(), "{command:?}: {found:?} in\n{shown:?}");
        assert!(shown.contains("31m"), "{command:?}: nothing of it in\n{shown:?}");
    }
}

/// Escapes a text for a TOML string.
fn toml(text: &str) -> String {
    text.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect()
}
