//! Promise: an output goes only to the file that its path names: not through another user's link,
//! not as raw bytes to a terminal, and not into a file that somebody else is writing.
#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use feamoe::error::Error;
use feamoe::lock::Lock;
use feamoe::training::checkpoint::Checkpoint;
use feamoe_tests::command::{Folder, feamoe, finished, lending};

const NOBODY: u32 = 65534;

/// Runs a shell command on a terminal provided by `script` (util-linux); `$feamoe` is our program.
fn on_terminal(folder: &Folder, command: &str) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).current_dir(folder.path(".")).env("feamoe", feamoe());
    script.stdin(Stdio::null());
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
    // In a pipe the control characters are unchanged.
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
            let expected = "a terminal cannot show binary data; name a file, or redirect the output\n2\n";
            assert!(shown.starts_with("error: cannot write ") && shown.ends_with(expected), "{command}: {shown:?}");
        }
    }
    let _ = on_terminal(&folder, "$feamoe export lending.feamoe -o - > copy 2> /dev/null");
    let _ = folder.run(&["inspect", "copy"]).done();
}

/// The shell opened the file, so it must not be replaced by another one.
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

/// The same holds for other descriptors that the shell opened, and for other names of them.
#[test]
fn a_descriptor_of_the_shell_is_added_to() {
    let folder = Folder::with_model();
    folder.write("few.csv", lending(5, 20));
    let score = "\"$0\" score lending.feamoe few.csv -o";
    for (place, redirected) in
        [("/dev/fd/3", "3>> all"), ("/proc/self/fd/3", "3>> all"), ("/proc/thread-self/fd/1", ">> all")]
    {
        let script = format!("echo first > all; {score} {place} {redirected}; {score} {place} 3>&1 | cat > piped");
        let _ = finished(folder.command_of("sh".as_ref(), &["-c", &script]).arg(feamoe())).done();
        let (all, piped) = (folder.text("all"), folder.text("piped"));
        assert!(all.starts_with("first\nrow,") && all.lines().count() == 22, "{place}: {all}");
        assert_eq!(all.strip_prefix("first\n"), Some(piped.as_str()), "{place}");
    }
}

/// A file that only its group may read keeps that group, or the new group gets no access.
#[test]
fn no_other_group_gets_the_rights_of_the_old_one() {
    let folder = Folder::with_model();
    fs::set_permissions(folder.path("."), Permissions::from_mode(0o777)).unwrap();
    let program = program_for_others(&folder);
    let theirs = folder.path("scores.csv");
    for (mode, expected) in [(0o640, 0o600), (0o664, 0o604), (0o4750, 0o700)] {
        let _ = fs::remove_file(&theirs);
        folder.write("scores.csv", "old");
        if chown(&theirs, Some(NOBODY), Some(4)).is_err() {
            println!("skipped: only root can be another user");
            return;
        }
        fs::set_permissions(&theirs, Permissions::from_mode(mode)).unwrap();
        let mut score = folder.command_of(&program, &["score", "lending.feamoe", "lending.csv", "-o", "scores.csv"]);
        let _ = finished(score.uid(NOBODY).gid(NOBODY)).done();
        let found = fs::metadata(&theirs).unwrap();
        assert_eq!((found.gid(), found.mode() & 0o7777), (NOBODY, expected), "{mode:o}");
    }
}

/// Links the program into the folder, since other users may not have access to the build folder.
fn program_for_others(folder: &Folder) -> PathBuf {
    let program = folder.path("feamoe");
    if fs::hard_link(feamoe(), &program).is_err() {
        fs::copy(feamoe(), &program).unwrap();
    }
    program
}

/// The lock does not stop a dry run, but stops every run that writes, also through the library.
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
    assert!(refused.contains("another process is writing this file"), "{refused}");
    assert!(matches!(checkpoint.write(&path), Err(Error::Locked { .. })));
    let _ = folder.unchanged(|| folder.run(&[&update[..], &["--dry-run"]].concat()).well());
    let _ = folder.unchanged(|| folder.run(&[&train[..], &["--dry-run"]].concat()).well());
    drop(lock);
    checkpoint.write(&path).unwrap();
    assert_eq!(folder.files().len(), 4, "{:?}", folder.files().keys());
}

/// The lock file was left by a killed run of root.
#[test]
fn a_lock_that_another_user_left_keeps_nobody_away() {
    let folder = Folder::with_lending();
    fs::set_permissions(folder.path("."), Permissions::from_mode(0o777)).unwrap();
    folder.write("lending.csv", lending(1, 300));
    let program = program_for_others(&folder);
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
