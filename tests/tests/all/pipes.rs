//! Promise: an endless pipe is read while it is written. The rows so far are shown and stored,
//! whether the pipe pauses or not. The timing of rows affects only what is shown. A request to stop
//! ends the data like any other end.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use feamoe_tests::command::{Folder, Ran, lending};
use serde_json::Value;

/// No test waits longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

const SCHEMA: &str = "[target]\ncolumn = \"paid\"\npositive = [\"yes\"]\n\
                      [[protected]]\ncolumn = \"town\"\nprivileged = [\"Zürich\"]\n";

/// Rows that a pause could break: two-byte letters, quoted cells with line ends inside, and line
/// ends of two bytes.
fn towns(rows: u32) -> String {
    let mut text = "age,town,paid\r\n".to_owned();
    for row in 0..rows {
        let town = ["Zürich", "\"Bern,\r\n\"\"west\"\"\"", "Genève"][row as usize * 7 % 3];
        let age = 18 + row * 7_919 % 60;
        let paid = if (age + row % 11) % 3 == 0 { "no" } else { "yes" };
        let _ = write!(text, "{age},{town},{paid}\r\n");
    }
    text
}

/// Returns the position after the n-th line end.
fn after_line(text: &str, line: usize) -> usize {
    text.match_indices('\n').nth(line - 1).unwrap().0 + 1
}

/// A command that reads a pipe.
struct Running {
    child: Child,
    pipe: Option<ChildStdin>,
    /// Its lines on standard error or on standard output.
    lines: Receiver<String>,
    reading: thread::JoinHandle<()>,
}

impl Running {
    fn start(folder: &Folder, arguments: &[&str], is_stderr: bool) -> Self {
        let mut command = folder.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out: Box<dyn std::io::Read + Send> =
            if is_stderr { Box::new(child.stderr.take().unwrap()) } else { Box::new(child.stdout.take().unwrap()) };
        let (send, lines) = channel();
        let reading =
            thread::spawn(move || BufReader::new(out).lines().for_each(|line| drop(send.send(line.unwrap()))));
        let pipe = child.stdin.take();
        Self { child, pipe, lines, reading }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.pipe.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Waits for a line that begins with `begin`.
    #[track_caller]
    fn wait_for(&self, begin: &str) -> String {
        let mut all = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.starts_with(begin) {
                return line;
            }
            all.push(line);
        }
        panic!("found {all:#?}, expected a line that begins with {begin:?}")
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for the process to end. Returns its exit code and the remaining lines.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        // Unread output must not block the process.
        if let Some(mut out) = self.child.stdout.take() {
            _ = out.read_to_end(&mut Vec::new()).unwrap();
        }
        let code = self.child.wait().unwrap().code();
        self.reading.join().unwrap();
        (code, self.lines.iter().collect())
    }
}

fn train<'a>(schema: &'a str, model: &'a str, checkpoint: &'a str) -> Vec<&'a str> {
    vec!["train", "-", "--schema", schema, "-o", model, "--checkpoint", checkpoint]
}

const FOLLOW: [&str; 3] = ["--follow", "--flush", "0.1"];

#[test]
fn pauses_anywhere_change_no_byte() {
    let folder = Folder::new();
    folder.write("towns.toml", SCHEMA);
    let text = towns(6_400);
    let bytes = text.as_bytes();
    let _ = folder.run_on(bytes, &train("towns.toml", "whole.feamoe", "whole.ckpt")).done();
    let mut running =
        Running::start(&folder, &[train("towns.toml", "paused.feamoe", "paused.ckpt"), FOLLOW.to_vec()].concat(), true);
    let quoted = 4_000 + text[4_000..].find("\"Bern,\r").unwrap();
    let far = text.len() - 3_000;
    let letter = far + text[far..].find('ü').unwrap();
    let line_end = far + 1_500 + text[far + 1_500..].find("\r\n").unwrap();
    // Pauses within the header, a quoted cell, its line end, a letter, and the end of a line.
    let mut from = 0;
    for (to, are_rows) in [
        (3, false),
        (quoted + 3, true),
        (quoted + 7, false),
        (quoted + 8, false),
        (letter + 1, true),
        (line_end + 1, true),
    ] {
        running.write(&bytes[from..to]);
        from = to;
        if are_rows {
            let _ = running.wait_for("rows ");
        }
        // A pause without new rows shows nothing.
        thread::sleep(Duration::from_millis(250));
    }
    running.write(&bytes[from..]);
    drop(running.pipe.take());
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said:?}");
    for kind in ["feamoe", "ckpt"] {
        assert!(folder.read(&format!("whole.{kind}")) == folder.read(&format!("paused.{kind}")), "{kind}");
    }
}

/// A pause stores the run over the rows so far; an update with the remaining rows completes it.
#[test]
fn what_is_stored_at_a_pause_is_the_run_so_far() {
    let folder = Folder::with_lending();
    let text = lending(5, 7_000);
    let (early, late) = (after_line(&text, 2_001), after_line(&text, 6_001));
    let outputs = train("lending.toml", "now.feamoe", "now.ckpt");
    let mut running = Running::start(&folder, &[outputs, FOLLOW.to_vec()].concat(), true);
    for (from, to, begin) in [(0, early, "rows 2000: "), (early, late, "rows 6000: ")] {
        running.write(&text.as_bytes()[from..to]);
        // Rows may come in parts: the last line counts.
        let line = running.wait_for(begin);
        assert!(line.contains("accuracy 0.") && line.ends_with("; wrote now.feamoe and now.ckpt"), "{line}");
        let _ = folder.run_on(&text.as_bytes()[..to], &train("lending.toml", "part.feamoe", "part.ckpt")).done();
        assert!(folder.read("now.feamoe") == folder.read("part.feamoe"), "{begin}");
    }
    // Killed at this point.
    running.child.kill().unwrap();
    let _ = running.end();
    let header = &text[..after_line(&text, 1)];
    let rest = [header, &text[late..]].concat();
    let arguments = ["update", "now.ckpt", "-", "--rest", "-o", "now.feamoe"];
    let mut running = Running::start(&folder, &[&arguments[..], &FOLLOW].concat(), true);
    running.write(&rest.as_bytes()[..rest.len() - 2_000]);
    let _ = running.wait_for("rows ");
    running.write(&rest.as_bytes()[rest.len() - 2_000..]);
    drop(running.pipe.take());
    assert_eq!(running.end().0, Some(0));
    let whole = train("lending.toml", "whole.feamoe", "whole.ckpt");
    let _ = folder.run_on(text.as_bytes(), &whole).done();
    // The hash in the model covers all bytes, and the second pipe repeats the header, so only the
    // counts are compared.
    let inspected = |name: &str| folder.run(&["inspect", name, "--format", "json"]).json()["training"]["rows"].clone();
    assert_eq!(inspected("now.feamoe"), inspected("whole.feamoe"));
    folder.write("asked.csv", lending(6, 500));
    let scores = |name: &str| folder.run(&["score", name, "asked.csv"]).done();
    assert_eq!(scores("now.feamoe"), scores("whole.feamoe"));
}

/// A signal ends the data. The rows before it are learned, all outputs are written, and newer data
/// can follow as after any run.
#[test]
fn the_request_to_stop_is_an_end() {
    let folder = Folder::with_lending();
    let text = lending(9, 3_000);
    let (half, header) = (after_line(&text, 1_501), &text[..after_line(&text, 1)]);
    folder.write("newer.csv", [header, &text[half..]].concat());
    let begin = after_line(&text, 101);
    for signal in ["INT", "TERM"] {
        let outputs = train("lending.toml", "a.feamoe", "a.ckpt");
        let mut running = Running::start(&folder, &[outputs, FOLLOW.to_vec()].concat(), true);
        // Signals are handled from here on.
        running.write(&text.as_bytes()[..begin]);
        let _ = running.wait_for("rows 100: ");
        // The signal comes while these bytes are in the pipe; the last line is incomplete.
        running.write(&text.as_bytes()[begin..half + 7]);
        running.signal(signal);
        let (code, said) = running.end();
        assert_eq!(code, Some(0), "{said:?}");
        assert_eq!(said.last().unwrap(), "note: an incomplete last line was left out (7 bytes)");
        let _ = folder.run_on(&text.as_bytes()[..half], &train("lending.toml", "b.feamoe", "b.ckpt")).done();
        for (one, other) in [("a.feamoe", "b.feamoe"), ("a.ckpt", "b.ckpt")] {
            assert!(folder.read(one) == folder.read(other), "{signal} {one}");
        }
    }
    let update = |name: &str| {
        let (checkpoint, model) = (format!("{name}.ckpt"), format!("{name}.feamoe"));
        let _ = folder.run(&["update", &checkpoint, "newer.csv", "-o", &model]).done();
        folder.read(&model)
    };
    assert!(update("a") == update("b"));
}

/// Rows are also shown if they never pause.
#[test]
fn a_pipe_that_never_pauses_is_shown_too() {
    let folder = Folder::with_lending();
    let text = lending(4, 200);
    let (header, rows) = text.split_once('\n').unwrap();
    let outputs = ["train", "-", "--schema", "lending.toml", "-o", "busy.feamoe", "--background", "0"];
    let mut running = Running::start(&folder, &[&outputs[..], &FOLLOW].concat(), true);
    running.write(format!("{header}\n").as_bytes());
    let mut shown = 0;
    while shown < 3 {
        running.write(rows.as_bytes());
        shown += running.lines.try_iter().filter(|line| line.ends_with("; wrote busy.feamoe")).count();
    }
    drop(running.pipe.take());
    assert_eq!(running.end().0, Some(0));
}

/// The incomplete window is printed, and its rows are printed again in the complete one. Alarms and
/// windows equal those of the same rows in a file.
#[test]
fn a_watch_shows_the_window_so_far() {
    let folder = Folder::with_model();
    let text = lending(3, 2_500);
    folder.write("rows.csv", &text);
    let arguments = ["monitor", "lending.feamoe", "rows.csv", "--format", "json"];
    let whole = Ran::well(folder.run(&arguments));
    let arguments = ["monitor", "lending.feamoe", "-", "--format", "json"];
    let mut running = Running::start(&folder, &[&arguments[..], &FOLLOW].concat(), false);
    let mut lines = Vec::new();
    let mut so_far = Vec::new();
    for (from, to) in [(0, 301), (301, 1_401), (1_401, 2_501)] {
        let at = |line: usize| if line == 0 { 0 } else { after_line(&text, line) };
        running.write(&text.as_bytes()[at(from)..at(to)]);
        loop {
            let line = running.lines.recv_timeout(PATIENCE).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] != "so_far" {
                lines.push(line);
                continue;
            }
            so_far.push((event["from_row"].as_u64().unwrap(), event["to_row"].as_u64().unwrap()));
            if event["to_row"] == to as u64 - 1 {
                break;
            }
        }
    }
    drop(running.pipe.take());
    let (code, rest) = running.end();
    assert_eq!(code, Some(0));
    lines.extend(rest);
    assert_eq!(lines, whole.lines().collect::<Vec<_>>());
    for expected in [(1, 300), (1_001, 1_400), (2_001, 2_500)] {
        assert!(so_far.contains(&expected), "{so_far:?}");
    }
}

/// Scores are written at each flush, once each, as for a file.
#[test]
fn scores_come_out_while_the_pipe_pauses() {
    let folder = Folder::with_model();
    let text = lending(8, 400);
    let whole = folder.run_on(text.as_bytes(), &["score", "lending.feamoe", "-"]).well();
    let mut running = Running::start(&folder, &[&["score", "lending.feamoe", "-"][..], &FOLLOW].concat(), false);
    running.write(&text.as_bytes()[..after_line(&text, 151) + 5]);
    let mut lines: Vec<String> = Vec::new();
    while lines.len() < 151 {
        lines.push(running.lines.recv_timeout(PATIENCE).unwrap());
    }
    running.write(&text.as_bytes()[after_line(&text, 151) + 5..]);
    drop(running.pipe.take());
    let (code, rest) = running.end();
    assert_eq!(code, Some(0));
    lines.extend(rest);
    assert_eq!(lines, whole.lines().collect::<Vec<_>>());
}

/// A line that never ends is refused before it fills the memory.
#[test]
fn a_line_without_an_end_is_refused() {
    let folder = Folder::with_lending();
    let text = lending(1, 10) + &"x".repeat(6 << 20);
    let arguments = ["train", "-", "--schema", "lending.toml", "-o", "m.feamoe", "--follow"];
    let mut running = Running::start(&folder, &arguments, true);
    // The command ends before it has read everything; the pipe stays open.
    _ = running.pipe.as_mut().unwrap().write_all(text.as_bytes());
    let _ = running.wait_for("error: standard input:12: ");
    assert_eq!(running.end().0, Some(2));
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let folder = Folder::with_lending();
    let train = ["train", "-", "--schema", "lending.toml", "-o", "m.feamoe", "--follow"];
    for (options, expected) in [
        (&["--flush", "0"][..], "expected a number of seconds from 0.1 to 86400"),
        (&["--flush", "nan"], "expected a number of seconds from 0.1 to 86400"),
        (&["--dry-run"], "cannot be used with"),
    ] {
        let refused = folder.run(&[&train[..], options].concat()).usage_refused();
        assert!(refused.contains(expected), "{options:?}: {refused}");
    }
    let refused = folder.run(&["monitor", "m.feamoe", "-", "--flush", "1"]).usage_refused();
    assert!(refused.contains("required arguments were not provided"), "{refused}");
    for (options, expected) in [
        (&["--shuffle"][..], "--follow needs a run in one pass"),
        (&["--epochs", "2"], "--follow needs a run in one pass"),
        (&["--epochs", "auto"], "--follow needs a run in one pass"),
        (&["lending.csv"], "--follow takes one input, found 2"),
    ] {
        let refused = folder.refusal(&[&train[..], options].concat());
        assert!(refused.starts_with(expected), "{options:?}: {refused}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(lending(1, 100).as_bytes()).unwrap();
    let begin = "cannot read standard input: only plain text can be followed, and this is";
    for (bytes, found) in [
        (gzip.finish().unwrap(), "compressed; decompress it"),
        (b"\xff\xff\xff\xff\x10\0\0\0\n".to_vec(), "an Arrow stream"),
        (b"ARROW1\0\0\n".to_vec(), "an Arrow file"),
        (b"PAR1\n".to_vec(), "a Parquet file"),
    ] {
        let refused = folder.unchanged(|| folder.run_on(&bytes, &train)).refused();
        assert!(refused.starts_with(&format!("{begin} {found}")), "{refused}");
    }
}
