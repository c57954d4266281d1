//! Places that cannot be written, full disks, and killed runs: the old file is kept, and nothing is
//! left beside it except, after a kill, a file named `.feamoe-`.

#![cfg(unix)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use feamoe_tests::command::{Folder, Ran, feamoe, finished, lending};

/// Every command that writes a file, up to the file's name.
const WRITING: [&[&str]; 5] = [
    &["train", "lending.csv", "--schema", "lending.toml", "-o"],
    &["score", "lending.feamoe", "lending.csv", "-o"],
    &["schema", "lending.csv", "-o"],
    &["export", "lending.feamoe", "-o"],
    &["report", "lending.feamoe", "--data", "lending.csv", "-o"],
];

#[test]
fn a_place_that_cannot_be_written_is_named_with_the_reason() {
    let folder = Folder::with_model();
    fs::create_dir(folder.path("folder")).unwrap();
    // Permissions would not stop a privileged user; these places stop everyone.
    for (place, reason) in [
        ("none/out", "No such file or directory (os error 2); create the folder first"),
        ("lending.csv/out", "Not a directory (os error 20); part of the path is a file, not a folder"),
        ("folder", "Is a directory (os error 21); this is a folder, name a file"),
        ("/proc/out", "No such file or directory (os error 2); create the folder first"),
        ("/dev/full", "No space left on device (os error 28); free some space, or choose another place"),
    ] {
        for command in WRITING {
            let message = folder.refusal(&[command, &[place]].concat());
            assert_eq!(message, format!("cannot write {place}: {reason}"), "{command:?}");
        }
    }
    assert_eq!(fs::read_dir(folder.path("folder")).unwrap().count(), 0);
    let message = folder.refusal(&["demo", "--out", "lending.csv"]);
    assert_eq!(
        message,
        "cannot write lending.csv: File exists (os error 17); part of the path is a file, not a folder"
    );
}

#[test]
fn a_folder_that_cannot_be_written_costs_no_training() {
    let folder = Folder::with_lending();
    // Nobody writes to this pipe, so reading it would never end.
    let train = ["train", "-", "--schema", "lending.toml", "-o", "none/m.feamoe"];
    let mut child = folder.command(&train).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let held_open = child.stdin.take();
    let status = child.wait().unwrap();
    drop(held_open);
    assert_eq!(status.code(), Some(2));
}

#[test]
fn an_input_is_not_overwritten() {
    let folder = Folder::with_model();
    fs::hard_link(folder.path("lending.csv"), folder.path("same.csv")).unwrap();
    std::os::unix::fs::symlink("lending.csv", folder.path("link.csv")).unwrap();
    for (arguments, output, input) in [
        (&["train", "lending.csv", "--schema", "lending.toml", "-o"][..], "lending.csv", "lending.csv"),
        (&["train", "lending.csv", "--schema", "lending.toml", "-o"], "lending.toml", "lending.toml"),
        (&["train", "lending.csv", "--schema", "lending.toml", "-o"], "./link.csv", "lending.csv"),
        (&["score", "lending.feamoe", "lending.csv", "-o"], "lending.csv", "lending.csv"),
        (&["score", "lending.feamoe", "lending.csv", "-o"], "lending.feamoe", "lending.feamoe"),
        (&["schema", "lending.csv", "-o"], "link.csv", "lending.csv"),
        (&["export", "lending.feamoe", "-o"], "lending.feamoe", "lending.feamoe"),
    ] {
        assert_eq!(
            folder.refusal(&[arguments, &[output]].concat()),
            format!(
                "the output {output} is the input {input}, which it would replace; name another file after --output"
            )
        );
    }
}

/// Runs a command in a shell that limits files to this many blocks of 512 or 1,024 bytes. The
/// limit's signal is ignored, so writing fails as on a full disk.
fn with_little_space(folder: &Folder, blocks: u32, arguments: &[&str]) -> Ran {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut shell = folder.command_of(Path::new("sh"), &["-c", &script, "sh"]);
    finished(shell.arg(feamoe()).args(arguments))
}

#[test]
fn a_full_disk_keeps_the_old_file_and_leaves_no_part_of_the_new_one() {
    let folder = Folder::with_model();
    folder.write("old", "written by an earlier run");
    let reason = "File too large (os error 27); free some space, or choose another place";
    for (command, blocks) in [(WRITING[0], 4), (WRITING[1], 4), (WRITING[2], 1), (WRITING[3], 4)] {
        for place in ["old", "new"] {
            let ran = folder.unchanged(|| with_little_space(&folder, blocks, &[command, &[place]].concat()));
            assert_eq!(ran.refused(), format!("cannot write {place}: {reason}"));
        }
    }
    // The same commands with enough space.
    for command in WRITING {
        let ran = with_little_space(&folder, 100_000, &[command, &["old"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let message = with_little_space(&folder, 100, &["demo", "--out", "demo"]).refused();
    assert_eq!(message, format!("cannot write demo/lending.csv: {reason}"));
    assert_eq!(fs::read_dir(folder.path("demo")).unwrap().count(), 0);
}

#[test]
fn a_full_file_system_keeps_the_old_file_and_leaves_no_part_of_the_new_one() {
    let folder = Folder::with_model();
    fs::create_dir(folder.path("small")).unwrap();
    // The mount is in a separate namespace: it is invisible outside and ends with the shell.
    let script = "mount -t tmpfs -o size=16k tmpfs small 2>&1 || exit 99
        printf old > small/m
        \"$@\" -o small/m
        echo \"exit code $?, then: $(ls -A small) $(cat small/m)\"";
    let mut shell = folder.command_of(Path::new("unshare"), &["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    let ran = finished(shell.arg(feamoe()).args(["train", "lending.csv", "--schema", "lending.toml"]));
    if ran.code == Some(99) || ran.stderr.starts_with("unshare:") {
        println!(
            "no small file system here, /dev/full and a limit of the file size stand for it: {}{}",
            ran.stdout, ran.stderr
        );
        return;
    }
    assert_eq!(ran.stdout, "exit code 2, then: m old\n");
    assert_eq!(
        ran.stderr,
        "error: cannot write small/m: No space left on device (os error 28); free some space, or choose another place\n"
    );
}

#[test]
fn standard_output_that_cannot_be_written_is_an_error() {
    let folder = Folder::with_model();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["score", "lending.feamoe", "lending.csv"][..],
        &["evaluate", "lending.feamoe", "lending.csv", "--schema", "lending.toml"],
        &["explain", "lending.feamoe", "lending.csv", "--method", "path", "--format", "json"],
        &["inspect", "lending.feamoe"],
        &["schema", "lending.csv"],
    ] {
        let output = folder.command(arguments).stdout(full()).output().unwrap();
        let expected = "error: cannot write standard output: No space left on device (os error 28); free some space, or choose another place\n";
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(2), expected));
    }
    // If even the message cannot be written, the exit code still reports the error.
    let status = folder.command(&["inspect", "none"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_new_file_has_the_usual_permissions_and_a_link_stays_a_link() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::with_model();
    folder.write("usual", "");
    fs::create_dir(folder.path("elsewhere")).unwrap();
    folder.write("elsewhere/file", "old");
    std::os::unix::fs::symlink("elsewhere/file", folder.path("link")).unwrap();
    for place in ["new", "link"] {
        let _ = folder.run(&["score", "lending.feamoe", "lending.csv", "-o", place]).done();
    }
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("new"), mode("usual"));
    assert!(fs::symlink_metadata(folder.path("link")).unwrap().is_symlink());
    assert_eq!(folder.read("elsewhere/file"), folder.read("new"));
    assert_eq!(fs::read_dir(folder.path("elsewhere")).unwrap().count(), 1);
}

/// Waits until the folder contains a file named `.feamoe-`, which shows that the run has begun.
fn wait_for_the_beginning(folder: &Folder) {
    let begun = Instant::now();
    while !folder.files().keys().any(|name| name.starts_with(".feamoe-")) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run never began");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_that_is_killed_leaves_the_old_model() {
    let folder = Folder::with_model();
    let before = folder.files();
    let train = ["train", "-", "--schema", "lending.toml", "-o", "lending.feamoe"];
    let mut child = folder.command(&train).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(lending(2, 20_000).as_bytes()).unwrap();
    wait_for_the_beginning(&folder);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut after = folder.files();
    after.retain(|name, _| !name.starts_with(".feamoe-"));
    assert!(after == before, "{:?}", after.keys());
    assert_eq!(folder.run(&["inspect", "lending.feamoe"]).code, Some(0));

    // The leftover file does not disturb later runs.
    let _ = folder.run(&["train", "lending.csv", "--schema", "lending.toml", "-o", "lending.feamoe"]).done();
}

#[test]
fn a_pipe_that_breaks_off_within_a_record_leaves_the_old_model() {
    let folder = Folder::with_model();
    let text = lending(2, 2_000);
    // The writer died: the last record is incomplete.
    let cut = text.len() - 25;
    let train = ["train", "-", "--schema", "lending.toml", "-o", "lending.feamoe"];
    let message = folder.unchanged(|| folder.run_on(&text.as_bytes()[..cut], &train)).refused();
    assert!(message.starts_with("standard input:2001: found "), "{message}");
}

#[test]
fn two_runs_to_one_place_leave_one_whole_file() {
    let folder = Folder::with_lending();
    let train = |seed: &str| -> Command {
        folder.command(&["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--seed", seed])
    };
    let mut children: Vec<_> =
        ["1", "2", "3"].map(|seed| train(seed).stdout(Stdio::null()).spawn().unwrap()).into_iter().collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(folder.files().into_keys().collect::<Vec<_>>(), ["lending.csv", "lending.toml", "m.feamoe"]);
    let _ = folder.run(&["inspect", "m.feamoe"]).done();
}

#[test]
fn a_model_and_a_checkpoint_in_one_place_are_refused_however_it_is_spelled() {
    let folder = Folder::with_lending();
    std::fs::create_dir(folder.path("deep")).unwrap();
    std::os::unix::fs::symlink("deep", folder.path("way")).unwrap();
    std::os::unix::fs::symlink("deep/both", folder.path("link")).unwrap();
    for checkpoint in ["deep/both", "way/both", "deep/../way/both", "link"] {
        let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "deep/both", "--checkpoint", checkpoint];
        let message = folder.refusal(&train);
        assert!(
            message
                .ends_with("both the model and the checkpoint would be written to this file; name two different files"),
            "{message}"
        );
    }
}

#[test]
fn paths_that_are_not_utf_8_are_read_and_written() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let folder = Folder::with_lending();
    let name = |bytes: &'static [u8]| OsStr::from_bytes(bytes).to_owned();
    std::fs::rename(folder.path("lending.csv"), folder.path("").join(name(b"donn\xe9es.csv"))).unwrap();
    let mut train =
        folder.command(&["train", "--schema", "lending.toml", "--format", "json", "--checkpoint", "c", "-o"]);
    let report = finished(train.arg(name(b"mod\xe8le")).arg(name(b"donn\xe9es.csv"))).json();
    assert_eq!(report["blob"]["path"], "mod\u{fffd}le");
    let mut score = folder.command(&["score"]);
    let scores = finished(score.arg(name(b"mod\xe8le")).arg(name(b"donn\xe9es.csv"))).done();
    assert_eq!(scores.lines().count(), 3_001);
}

#[test]
fn a_new_checkpoint_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::with_lending();
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--checkpoint", "run.ckpt"];
    let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    let _ = folder.run(&train).done();
    assert_eq!(mode("run.ckpt"), 0o600);
    std::fs::set_permissions(folder.path("run.ckpt"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let _ = folder.run(&train).done();
    assert_eq!(mode("run.ckpt"), 0o640, "a checkpoint that is replaced keeps its mode");
}

/// Memory that runs out while rows are kept in it.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_ends_is_an_error() {
    let folder = Folder::with_lending();
    folder.write("many.csv", lending(5, 120_000));
    let train = |kilobytes: u32, shuffled: &[&str]| {
        let script = format!("ulimit -v {kilobytes}; exec \"$@\"");
        let mut shell = folder.command_of(Path::new("sh"), &["-c", &script, "sh"]);
        let arguments = ["train", "many.csv", "--schema", "lending.toml", "-o", "m.feamoe"];
        finished(shell.arg(feamoe()).args(arguments).args(shuffled))
    };
    // The memory of the process itself varies; the rows take 34 MB.
    let (mut enough, mut too_little) = (500_000, 50_000);
    assert_eq!(train(enough, &[]).code, Some(0));
    while enough - too_little > 10_000 {
        let between = (enough + too_little) / 2;
        *(if train(between, &[]).code == Some(0) { &mut enough } else { &mut too_little }) = between;
    }
    fs::remove_file(folder.path("m.feamoe")).unwrap();
    let refused = folder.unchanged(|| train(enough, &["--shuffle"]).refused());
    assert!(refused.starts_with("no memory is left for another row: ") && refused.contains(" rows take "), "{refused}");
}
