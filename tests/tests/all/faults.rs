//! Systems that fail: every call that writes fails in turn, and every order in which a disk may
//! have written when the power fails is played through. The real command is traced by `strace`,
//! which injects the errors and shows the calls. Without it these tests say that they are skipped.
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use feamoe_tests::command::{Folder, feamoe, finished, lending};

type Files = BTreeMap<String, Vec<u8>>;

/// A command, with the files that it writes; of a model and a checkpoint, in this order.
struct Writing {
    arguments: &'static [&'static str],
    outputs: &'static [&'static str],
}

const WRITING: [Writing; 8] = [
    Writing {
        arguments: &["train", "lending.csv", "--schema", "lending.toml", "-o", "t.feamoe", "--checkpoint", "t.ckpt"],
        outputs: &["t.feamoe", "t.ckpt"],
    },
    Writing {
        arguments: &["update", "a.ckpt", "more.csv", "-o", "a.feamoe", "--checkpoint-every", "200"],
        outputs: &["a.feamoe", "a.ckpt"],
    },
    Writing { arguments: &["score", "a.feamoe", "more.csv", "-o", "scores.csv"], outputs: &["scores.csv"] },
    Writing { arguments: &["schema", "more.csv", "-o", "s.toml"], outputs: &["s.toml"] },
    Writing { arguments: &["export", "a.feamoe", "--quantize", "i16", "-o", "i.feamoe"], outputs: &["i.feamoe"] },
    Writing {
        arguments: &["explain", "a.feamoe", "more.csv", "--row", "2", "--plot", "why.svg"],
        outputs: &["why.svg"],
    },
    Writing {
        arguments: &["report", "a.feamoe", "--data", "more.csv", "-o", "r.html", "--card", "card.md"],
        outputs: &["r.html", "card.md"],
    },
    Writing { arguments: &["export", "a.feamoe", "--delta", "first.feamoe", "-o", "d.delta"], outputs: &["d.delta"] },
];

/// Rows, and what a run over the first of them leaves; every output holds something older.
fn folder() -> Folder {
    let folder = Folder::with_lending();
    folder.write("lending.csv", lending(3, 600));
    folder.write("more.csv", lending(4, 500));
    let train = ["train", "lending.csv", "--schema", "lending.toml", "-o", "a.feamoe", "--checkpoint", "a.ckpt"];
    let _ = folder.run(&train).well();
    let _ = folder.run(&["train", "more.csv", "--schema", "lending.toml", "-o", "first.feamoe"]).well();
    for Writing { outputs, .. } in WRITING {
        for output in outputs.iter().filter(|output| !output.starts_with("a.")) {
            folder.write(output, "older");
        }
    }
    folder
}

/// Runs a command under `strace` with these options; returns its exit code and what it said. `None`
/// where there is no `strace`, or it may not trace.
fn traced(folder: &Folder, options: &[&str], arguments: &[&str]) -> Option<(Option<i32>, String)> {
    let can_trace = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !can_trace.is_ok_and(|status| status.success()) {
        println!("skipped: strace is not installed, or may not trace");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]).args(options).arg(feamoe()).args(arguments);
    command.current_dir(folder.path("."));
    let output = command.output().unwrap();
    Some((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Puts a folder back to what it held.
fn restore(folder: &Folder, files: &Files) {
    for name in folder.files().keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(folder.path(name)).unwrap();
    }
    for (name, bytes) in files {
        folder.write(name, bytes);
    }
}

/// Each call of a kind fails once, the others do not.
#[test]
fn an_error_of_any_call_loses_nothing() {
    let folder = folder();
    let before = folder.files();
    let (mut failed, mut done) = (0, 0);
    for (which, Writing { arguments, outputs }) in WRITING.iter().enumerate() {
        let _ = finished(&mut folder.command(arguments)).well();
        let after = folder.files();
        restore(&folder, &before);
        for (call, error) in [("write", "ENOSPC"), ("fsync", "EIO"), ("renameat", "EIO"), ("openat", "EACCES")] {
            // Of all commands the same calls open files, most of them of the system.
            let most = if call == "openat" { if which == 1 { 60 } else { 0 } } else { 40 };
            for n in 1..=most {
                let inject = format!("inject={call}:error={error}:when={n}");
                let Some((code, said)) = traced(&folder, &["-e", &format!("trace={call}"), "-e", &inject], arguments)
                else {
                    return;
                };
                let what = format!("{arguments:?}, {inject}: {code:?} {said}");
                let found = folder.files();
                let is_new = |name: &&&str| found.get(**name) == after.get(**name);
                for name in *outputs {
                    assert!(is_new(&name) || found.get(*name) == before.get(*name), "{name} is torn: {what}");
                }
                // What stood beside them.
                let strange = found.keys().find(|name| !before.contains_key(*name) && !after.contains_key(*name));
                assert!(strange.is_none(), "{strange:?} is left: {what}");
                assert!(!is_new(&outputs.last().unwrap()) || is_new(&&outputs[0]), "the last is new alone: {what}");
                let whole = outputs.iter().filter(is_new).count() == outputs.len();
                assert!(code != Some(0) || whole, "it said nothing of it: {what}");
                // The system's own loader opens files too.
                let by_loader = call == "openat" && code == Some(127);
                let is_error = code == Some(2) && said.starts_with("error: ");
                assert!(code == Some(0) || is_error || by_loader, "it gave no reason: {what}");
                restore(&folder, &before);
                if code == Some(0) {
                    done += 1;
                    // There are no more of this call, where the one before was not forgiven either.
                    if call != "openat" {
                        break;
                    }
                } else {
                    failed += 1;
                }
            }
        }
    }
    println!("{failed} faults were reported, {done} changed nothing");
    assert!(failed > 60, "{failed}");
}

/// What a process did to the files of a folder, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Write(String, Vec<u8>),
    Sync(String),
    Rename(String, String),
    Remove(String),
    /// The folder itself: the names in it are on the disk.
    SyncFolder,
}

/// Reads what `strace -f -y -xx` wrote: every string and every descriptor's path in hexadecimal.
fn acts(log: &str, folder: &Path) -> Vec<Act> {
    let folder = fs::canonicalize(folder).unwrap();
    let name = |path: &str| Path::new(path).strip_prefix(&folder).ok().map(|name| name.to_str().unwrap().to_owned());
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut acts = Vec::new();
    for line in log.lines() {
        let (process, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start.to_owned());
            continue;
        }
        let line = match line.split_once(" resumed>") {
            Some((_, rest)) => begun.remove(process).unwrap() + rest,
            None => line.to_owned(),
        };
        let Some((call, rest)) = line.split_once('(') else { continue };
        if line.contains(" = -1 ") {
            continue;
        }
        let of_descriptor = || text(rest.split_once('<').unwrap().1.split_once('>').unwrap().0);
        let strings: Vec<Vec<u8>> = rest.split('"').skip(1).step_by(2).map(bytes).collect();
        let string = |at: usize| String::from_utf8(strings[at].clone()).unwrap();
        match call {
            "write" => {
                let written: usize = line.rsplit(" = ").next().unwrap().parse().unwrap();
                let path = of_descriptor();
                acts.extend(name(&path).map(|name| Act::Write(name, strings[0][..written].to_vec())));
            }
            "fsync" | "fdatasync" => acts.extend(name(&of_descriptor()).map(|name| match name.as_str() {
                "" => Act::SyncFolder,
                _ => Act::Sync(name),
            })),
            "rename" | "renameat" | "renameat2" => {
                acts.extend(name(&string(0)).zip(name(&string(1))).map(|(from, to)| Act::Rename(from, to)));
            }
            "unlink" | "unlinkat" => acts.extend(name(&string(0)).map(Act::Remove)),
            other => panic!("{other} is not expected: {line}"),
        }
    }
    acts
}

/// Bytes as `-xx` writes them.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    hexadecimal.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn text(hexadecimal: &str) -> String {
    String::from_utf8(bytes(hexadecimal)).unwrap()
}

/// A disk that may write in any order what was not synced.
#[derive(Clone, Default)]
struct Disk {
    /// What a process sees of files in the making: whole content, and how much of it is synced.
    making: BTreeMap<String, (Vec<u8>, bool)>,
    /// What is on the disk under each name, by a number of its own.
    durable: Files,
    /// Renames that are not: to which name, with what content; `None` where it may be torn.
    pending: Vec<(String, Option<Vec<u8>>)>,
}

impl Disk {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Write(name, bytes) => {
                let (content, is_synced) = self.making.entry(name.clone()).or_default();
                content.extend(bytes);
                *is_synced = false;
            }
            Act::Sync(name) => self.making.entry(name.clone()).or_default().1 = true,
            Act::Rename(from, to) => {
                let (content, is_synced) = self.making.remove(from).unwrap_or_default();
                self.pending.push((to.clone(), is_synced.then_some(content)));
            }
            Act::Remove(name) => drop(self.making.remove(name)),
            Act::SyncFolder => {
                for (name, content) in std::mem::take(&mut self.pending) {
                    self.durable.insert(name, content.unwrap_or_else(|| b"torn".to_vec()));
                }
            }
        }
    }

    /// Every state that the power may leave now: each pending rename took place or not.
    fn states(&self) -> impl Iterator<Item = Files> + '_ {
        (0..1_u32 << self.pending.len()).map(|which| {
            let mut state = self.durable.clone();
            for (at, (name, content)) in self.pending.iter().enumerate() {
                if which >> at & 1 == 1 {
                    state.insert(name.clone(), content.clone().unwrap_or_else(|| b"torn".to_vec()));
                }
            }
            state
        })
    }
}

/// Returns what is wrong with one of the states that a loss of power may leave.
fn lost(acts: &[Act], outputs: &[&str], before: &Files, after: &Files) -> Option<String> {
    let mut disk = Disk { durable: before.clone(), ..Disk::default() };
    // What comes to stand there on the way is a state of the run, too.
    let mut on_the_way: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut replay = Disk::default();
    for act in acts {
        replay.act(act);
        if let (Act::Rename(_, to), Some((_, Some(content)))) = (act, replay.pending.last()) {
            let name = outputs.iter().find(|name| *name == to)?;
            on_the_way.entry(name).or_default().insert(content.clone());
        }
    }
    for (at, act) in acts.iter().enumerate() {
        disk.act(act);
        for state in disk.states() {
            for name in outputs {
                let found = state.get(*name);
                let is_whole = found == before.get(*name)
                    || found.is_some_and(|found| on_the_way.get(name).is_some_and(|whole| whole.contains(found)));
                if !is_whole {
                    return Some(format!("{name} is torn after call {at}, {act:?}"));
                }
            }
            let is_new = |name: &str| state.get(name) == after.get(name);
            if is_new(outputs.last()?) && !is_new(outputs[0]) {
                return Some(format!("{:?} is new alone after call {at}, {act:?}", outputs.last()));
            }
        }
    }
    let kept = disk.states().all(|state| outputs.iter().all(|name| state.get(*name) == after.get(*name)));
    (!kept).then(|| "what was said to be done can be lost".to_owned())
}

#[test]
fn no_order_of_writing_loses_anything() {
    let folder = folder();
    let before = folder.files();
    for Writing { arguments, outputs } in &WRITING {
        let log = tempfile::NamedTempFile::new().unwrap();
        let path = log.path().to_str().unwrap();
        let calls = "trace=write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate";
        let options = ["-y", "-xx", "-s", "100000000", "-e", calls, "-o", path];
        let Some((code, said)) = traced(&folder, &options, arguments) else { return };
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        let after = folder.files();
        let acts = acts(&fs::read_to_string(log.path()).unwrap(), &folder.path("."));
        assert_eq!(lost(&acts, outputs, &before, &after), None, "{arguments:?}");
        // Without the calls that make it last, something is lost.
        for is_sync in [|act: &Act| matches!(act, Act::Sync(_)), |act: &Act| *act == Act::SyncFolder] {
            let without: Vec<Act> = acts.iter().filter(|act| !is_sync(act)).cloned().collect();
            assert!(without.len() < acts.len() && lost(&without, outputs, &before, &after).is_some(), "{arguments:?}");
        }
        restore(&folder, &before);
    }
}
