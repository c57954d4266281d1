//! Promise: an output goes where its path leads and nowhere else: not through another user's link,
//! not raw onto a terminal, not into a file that somebody else is writing.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use feamoe::error::Error;
use feamoe::lock::Lock;
use feamoe::training::checkpoint::Checkpoint;
use feamoe_tests::command::{Folder, feamoe, finished, lending};

const NOBODY: u32 = 65534;

/// Runs a command of a shell on a terminal of `script`, which util-linux has; `$feamoe` is ours.
fn on_terminal(folder: &Folder, command: &str) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).current_dir(folder.path(".")).env("feamoe", feamoe());
    let output = script.output().unwrap_or_else(|error| panic!("script, of util-linux: {error}"));
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn a_terminal_gets_no_control_characters_by_any_name() {
    let folder = Folder::with_model();
    let rows = lending(2, 3);
    let hostile = rows.lines().enumerate().map(|(row, line)| match row {
        0 => format!("note,{line}\n"),
        _ => format!("a\u{1b}[31m\u{61c}b,{line}\n"),
    });
    folder.write("hostile.csv", hostile.collect::<String>());
    let score = "$feamoe score lending.feamoe hostile.csv --keep note";
    for place in ["-o -", "-o /dev/stdout", "-o /dev/tty", "-o /dev/fd/1", "-o /dev/stderr", "-o /proc/self/fd/1", ""] {
        let shown = on_terminal(&folder, &format!("{score} {place}"));
        assert!(shown.contains("a\\u001b[31m\\u061cb") && !shown.contains(['\u{1b}', '\u{61c}']), "{place}: {shown:?}");
        assert_eq!(shown.lines().count(), 4, "{place}: {shown:?}");
    }
    // In a pipe they are as they were.
    let piped = on_terminal(&folder, &format!("{score} -o /dev/stdout | cat > piped"));
    assert!(piped.is_empty() && folder.text("piped").contains("a\u{1b}[31m\u{61c}b"), "{piped}");
}

#[test]
fn a_terminal_is_refused_what_is_no_text() {
    let folder = Folder::with_model();
    for command in [
        "train lending.csv --schema lending.toml",
        "export lending.feamoe",
        "score lending.feamoe lending.csv --format parquet",
    ] {
        for place in ["-", "/dev/stdout", "/dev/tty"] {
            let shown = folder.unchanged(|| on_terminal(&folder, &format!("$feamoe {command} -o {place}; echo $?")));
            let expected = "a terminal cannot show these bytes; name a file, or pass them on by a pipe or >\n2\n";
            assert!(shown.starts_with("error: cannot write ") && shown.ends_with(expected), "{command}: {shown:?}");
        }
    }
    let _ = on_terminal(&folder, "$feamoe export lending.feamoe -o - > copy 2> /dev/null");
    let _ = folder.run(&["inspect", "copy"]).done();
}

/// The shell opened it: it is not replaced by another file.
#[test]
fn standard_output_that_is_a_file_is_added_to() {
    let folder = Folder::with_model();
    for place in ["-", "/dev/stdout", "/dev/fd/1"] {
        let script = format!("echo first > all; \"$0\" score lending.feamoe lending.csv -o {place} >> all");
        let _ = finished(folder.command_of("sh".as_ref(), &["-c", &script]).arg(feamoe())).done();
        let all = folder.text("all");
        assert!(all.starts_with("first\nrow,") && all.lines().count() == 3_002, "{place}");
    }
}

/// A run that looks only is kept away by nobody; one that writes is, by the library too.
#[test]
fn every_writer_of_a_checkpoint_passes_its_lock() {
    let folder = Folder::with_lending();
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--checkpoint", "run.ckpt"];
    let _ = folder.run(&train).done();
    let path = folder.path("run.ckpt");
    let checkpoint = Checkpoint::read(&path).unwrap();
    let lock = Lock::beside(&path).unwrap();
    let update = ["update", "run.ckpt", "lending.csv", "--again", "-o", "m.feamoe"];
    let refused = folder.refusal(&update);
    assert!(refused.contains("another process writes this file"), "{refused}");
    assert!(matches!(checkpoint.write(&path), Err(Error::Locked { .. })));
    let _ = folder.unchanged(|| folder.run(&[&update[..], &["--dry-run"]].concat()).well());
    let _ = folder.unchanged(|| folder.run(&[&train[..], &["--dry-run"]].concat()).well());
    drop(lock);
    checkpoint.write(&path).unwrap();
    assert_eq!(folder.files().len(), 4, "{:?}", folder.files().keys());
}

/// What root's run left when it was killed.
#[test]
fn a_lock_that_another_user_left_keeps_nobody_away() {
    let folder = Folder::with_lending();
    fs::set_permissions(folder.path("."), Permissions::from_mode(0o777)).unwrap();
    folder.write("lending.csv", lending(1, 300));
    let program = folder.path("feamoe");
    // Others may have no way to the folder that it was built in.
    if fs::hard_link(feamoe(), &program).is_err() {
        fs::copy(feamoe(), &program).unwrap();
    }
    let train = |checkpoint: &str| {
        let arguments =
            ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--checkpoint", checkpoint];
        folder.command_of(&program, &arguments)
    };
    if train("m.ckpt").uid(NOBODY).output().is_err() {
        println!("skipped: only root can be another user");
        return;
    }
    for mode in [0o644, 0o444] {
        folder.write(".run.ckpt.lock", "");
        fs::set_permissions(folder.path(".run.ckpt.lock"), Permissions::from_mode(mode)).unwrap();
        for name in ["run.ckpt", "m.feamoe"] {
            let _ = fs::remove_file(folder.path(name));
        }
        let _ = finished(train("run.ckpt").uid(NOBODY)).done();
        assert!(!folder.path(".run.ckpt.lock").exists(), "{mode:o}");
    }
}
