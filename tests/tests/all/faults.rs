//! System failures. The commands below run under `strace`, which records their system calls and
//! makes one of them fail. Not covered are `sign --new-key` and `--device-key`, `tune --state`,
//! `explain --save-background` and the outputs of the Python package:
//!
//! - Every call that writes, syncs, renames or opens fails once. The command then reports it, and
//!   each output holds either its old content or a complete new one.
//! - Power fails after any call. A disk may have written unsynced data in any order: in each
//!   possible state every output is complete.
//!
//! Without `strace` these tests say that they are skipped.
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use feamoe_engine::monitor::{DeviceId, Key, Monitor, Sender};
use feamoe_engine::schema::Note;
use feamoe_testkit::generate::Recipe;
use feamoe_testkit::load;
use feamoe_tests::aligned;
use feamoe_tests::command::{Folder, feamoe, lending};

type Files = BTreeMap<String, Vec<u8>>;

/// A command that writes files.
struct Writing {
    arguments: &'static [&'static str],
    /// The files in the order in which they are replaced; empty for a command that writes many.
    outputs: &'static [&'static str],
}

const LEARNING: [Writing; 4] = [
    Writing {
        arguments: &["train", "lending.csv", "--schema", "lending.toml", "-o", "t.feamoe", "--checkpoint", "t.ckpt"],
        outputs: &["t.feamoe", "t.ckpt"],
    },
    Writing {
        arguments: &["update", "a.ckpt", "more.csv", "-o", "a.feamoe", "--checkpoint-every", "200"],
        outputs: &["a.feamoe", "a.ckpt"],
    },
    Writing {
        arguments: &["merge", "b.ckpt", "c.ckpt", "-o", "j.feamoe", "--checkpoint", "j.ckpt"],
        outputs: &["j.feamoe", "j.ckpt"],
    },
    Writing {
        arguments: &[
            "tune",
            "more.csv",
            "--schema",
            "lending.toml",
            "--candidates",
            "2",
            "--repeats",
            "1",
            "-o",
            "best.toml",
        ],
        outputs: &["best.toml"],
    },
];

const USING: [Writing; 15] = [
    Writing { arguments: &["score", "a.feamoe", "more.csv", "-o", "scores.csv"], outputs: &["scores.csv"] },
    Writing {
        arguments: &["score", "a.feamoe", "more.csv", "--format", "parquet", "-o", "scores.parquet"],
        outputs: &["scores.parquet"],
    },
    Writing { arguments: &["schema", "more.csv", "-o", "s.toml"], outputs: &["s.toml"] },
    Writing { arguments: &["export", "a.feamoe", "--quantize", "i16", "-o", "i.feamoe"], outputs: &["i.feamoe"] },
    Writing { arguments: &["export", "a.feamoe", "--delta", "first.feamoe", "-o", "d.delta"], outputs: &["d.delta"] },
    Writing { arguments: &["export", "a.feamoe", "--constants", "rust", "-o", "a.rs"], outputs: &["a.rs"] },
    Writing { arguments: &["export", "a.feamoe", "--onnx", "a.onnx"], outputs: &["a.onnx"] },
    Writing {
        arguments: &["explain", "a.feamoe", "more.csv", "--row", "2", "--plot", "why.svg"],
        outputs: &["why.svg"],
    },
    Writing {
        arguments: &["explain", "a.feamoe", "few.csv", "--format", "csv", "-o", "why.csv"],
        outputs: &["why.csv"],
    },
    Writing {
        arguments: &["report", "a.feamoe", "--data", "more.csv", "-o", "r.html", "--card", "card.md"],
        outputs: &["r.html", "card.md"],
    },
    Writing {
        arguments: &["compare", "a.feamoe", "first.feamoe", "more.csv", "--sample", "5", "-o", "c.html"],
        outputs: &["c.html"],
    },
    Writing {
        arguments: &["sign", "a.feamoe", "--key", "own.key", "--line", "a", "--model-version", "1", "-o", "signed"],
        outputs: &["signed"],
    },
    Writing {
        arguments: &["monitor", "--status", "status", "--key-file", "fleet.key", "--seen", "seen.json"],
        outputs: &["seen.json"],
    },
    Writing { arguments: &["man", "-o", "."], outputs: &[] },
    Writing { arguments: &["demo", "-o", "."], outputs: &[] },
];

/// A folder with rows and the results of a run over the first of them; most outputs hold older
/// content.
fn folder() -> Folder {
    let folder = Folder::with_lending();
    folder.write("lending.csv", lending(3, 600));
    folder.write("more.csv", lending(4, 500));
    folder.write("few.csv", lending(5, 20));
    // Only the first rows fit the encoding.
    folder.write("few.toml", "warmup = 300\n");
    let train = ["train", "lending.csv", "--schema", "lending.toml", "--config", "few.toml", "-o", "a.feamoe"];
    let _ = folder.run(&[&train[..], &["--checkpoint", "a.ckpt"]].concat()).well();
    let shard = ["--schema", "lending.toml", "--encoding", "a.ckpt", "-o", "first.feamoe", "--checkpoint"];
    let _ = folder.run(&[&["train", "lending.csv"], &shard[..], &["c.ckpt"]].concat()).well();
    let _ = folder.run(&[&["train", "more.csv"], &shard[..], &["b.ckpt"]].concat()).well();
    let _ = folder.run(&["sign", "--new-key", "own.key"]).well();
    folder.write("fleet.key", "07".repeat(32));
    fs::set_permissions(folder.path("fleet.key"), fs::Permissions::from_mode(0o600)).unwrap();
    folder.write("status", status());
    // The file of counters is an input too, so it keeps its content.
    let is_new = |output: &&&str| !output.starts_with("a.") && **output != "seen.json";
    for output in LEARNING.iter().chain(&USING).flat_map(|writing| writing.outputs).filter(is_new) {
        folder.write(output, "older");
    }
    folder
}

/// The status that a device sends.
fn status() -> Vec<u8> {
    type Device = Monitor<2, 2>;
    let recipe = Recipe { experts: 2, features: 2, gate: 12.0, outputs: 12.0 };
    let bytes = aligned(&recipe.content(1).to_bytes(true));
    let mut monitor = Device::new();
    monitor.start(&load::<2, 4>(bytes.as_slice()), 0).unwrap();
    for record in 0..200_u8 {
        let token = monitor.observe(f32::from(record % 3) / 2.0, &[Note::Usual; 2], Some(record % 2)).unwrap();
        monitor.label(token, record % 5 > 1).unwrap();
    }
    let sender = Sender { device: DeviceId::new(b"one").unwrap(), counter: 1 };
    let key = Key::new([7; 32]).of_device(&sender.device);
    monitor.write_authenticated(&sender, &key, &mut [0; Device::SENT_STATUS_BYTES]).unwrap().to_vec()
}

/// Runs a command under `strace` with these options. Returns its exit code and its standard error.
fn traced(folder: &Folder, options: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(feamoe()).args(arguments);
    command.current_dir(folder.path(".")).env("RAYON_NUM_THREADS", "2").stdin(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn can_trace() -> bool {
    static CAN_TRACE: OnceLock<bool> = OnceLock::new();
    let can_trace = *CAN_TRACE.get_or_init(|| {
        let status = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
        status.is_ok_and(|status| status.success())
    });
    if !can_trace {
        println!("skipped: strace is not installed, or may not trace");
    }
    can_trace
}

/// Restores the content of a folder.
fn restore(folder: &Folder, files: &Files) {
    for name in folder.files().keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(folder.path(name)).unwrap();
    }
    for (name, bytes) in files {
        folder.write(name, bytes);
    }
}

/// The changes that a process makes to the files of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Write(String, Vec<u8>),
    Sync(String),
    Rename(String, String),
    Remove(String),
    /// A sync of the folder itself: the names in it are on disk.
    SyncFolder,
}

/// Parses the log of `strace -f -y -xx`, which has all strings and paths in hexadecimal.
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
            "openat" => {}
            "unlink" | "unlinkat" => acts.extend(name(&string(0)).map(Act::Remove)),
            other => panic!("{other} is not expected: {line}"),
        }
    }
    acts
}

/// Parses bytes as `-xx` writes them.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    hexadecimal.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn text(hexadecimal: &str) -> String {
    String::from_utf8(bytes(hexadecimal)).unwrap()
}

/// A disk that may write unsynced data in any order.
#[derive(Clone, Default)]
struct Disk {
    /// New files before their rename: the whole content as a process sees it, and whether it is
    /// synced.
    making: BTreeMap<String, (Vec<u8>, bool)>,
    /// The content on disk under each name.
    durable: Files,
    /// Renames that are not on disk yet: the new name, and the content, or `None` if it may be
    /// torn.
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

    /// Returns every state after a power failure now: each pending rename took place or not.
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

/// Returns the contents that a run puts in the place of each output, during the run and at its end.
fn whole(acts: &[Act]) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut whole: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut disk = Disk::default();
    for act in acts {
        disk.act(act);
        if let (Act::Rename(_, to), Some((_, Some(content)))) = (act, disk.pending.last()) {
            whole.entry(to.clone()).or_default().insert(content.clone());
        }
    }
    whole
}

/// Returns an error found in one of the states after a power failure, if any.
fn lost(acts: &[Act], outputs: &[String], before: &Files, after: &Files) -> Option<String> {
    let mut disk = Disk { durable: before.clone(), ..Disk::default() };
    let whole = whole(acts);
    for (at, act) in acts.iter().enumerate() {
        disk.act(act);
        for state in disk.states() {
            for name in outputs {
                let found = state.get(name);
                let is_whole = found == before.get(name)
                    || found.is_some_and(|found| whole.get(name).is_some_and(|whole| whole.contains(found)));
                if !is_whole {
                    return Some(format!("{name} is torn after call {at}, {act:?}"));
                }
            }
            let is_new = |name: &str| state.get(name) == after.get(name);
            if is_new(&outputs[outputs.len() - 1]) && !is_new(&outputs[0]) {
                return Some(format!("{:?} is new alone after call {at}, {act:?}", outputs.last()));
            }
        }
    }
    let kept = disk.states().all(|state| outputs.iter().all(|name| state.get(name) == after.get(name)));
    (!kept).then(|| "what was said to be done can be lost".to_owned())
}

/// Returns, for each of [`FAULTS`], the numbers of the calls to be tried: those that concern this
/// folder or write anything. Calls of the system's loader, and repeated opens of a file, are left
/// out. Each thread has its own numbers.
fn numbers(log: &str, folder: &Path) -> [BTreeSet<usize>; FAULTS.len()] {
    let folder = fs::canonicalize(folder).unwrap();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut numbers = [const { BTreeSet::new() }; FAULTS.len()];
    let mut opened = BTreeSet::new();
    for line in log.lines().filter(|line| !line.contains(" resumed>")) {
        let (process, call) = line.split_once(' ').unwrap();
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        let Some(kind) = FAULTS.iter().position(|(calls, _)| calls.split(',').any(|call| call == name)) else {
            continue;
        };
        let count = counts.entry((process, name)).or_default();
        *count += 1;
        let is_tried = name != "openat" || {
            let path = text(rest.split('"').nth(1).unwrap());
            let is_here = !path.starts_with('/') || Path::new(&path).starts_with(&folder);
            // Opens with other flags are tried too.
            is_here && opened.insert(rest.split(" = ").next())
        };
        if is_tried {
            numbers[kind].insert(*count);
        }
    }
    numbers
}

/// System calls of one kind, in the syntax of `strace` (which ignores an unknown call after `?`),
/// and the error that they return.
const FAULTS: [(&str, &str); 4] = [
    ("write,writev", "ENOSPC"),
    ("fsync,fdatasync", "EIO"),
    // The calls without `at` do not exist on every architecture.
    ("?rename,renameat,renameat2", "EIO"),
    ("openat", "EACCES"),
];
const OTHER_CALLS: &str = "pwrite64,?unlink,unlinkat,ftruncate";

/// Number of faults of each kind that are tried for a command that writes many files, since the
/// files are alike.
const MOST_OF_MANY: usize = 3;

fn check(writing: &[Writing]) {
    if !can_trace() {
        return;
    }
    let folder = folder();
    let before = folder.files();
    let mut reported = [0; FAULTS.len()];
    let mut forgiven = 0;
    for Writing { arguments, outputs } in writing {
        let log = tempfile::NamedTempFile::new().unwrap();
        let calls: Vec<&str> = FAULTS.iter().map(|(calls, _)| *calls).chain([OTHER_CALLS]).collect();
        let (path, calls) = (log.path().to_str().unwrap(), format!("trace={}", calls.join(",")));
        let (code, said) = traced(&folder, &["-o", path, "-y", "-xx", "-s", "100000000", "-e", &calls], arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        let after = folder.files();
        restore(&folder, &before);
        let log = fs::read_to_string(log.path()).unwrap();
        let acts = acts(&log, &folder.path("."));
        let whole = whole(&acts);
        let is_many = outputs.is_empty();
        let outputs: Vec<String> = match is_many {
            true => whole.keys().cloned().collect(),
            false => outputs.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert!(whole.keys().all(|name| outputs.contains(name)), "{arguments:?} writes {:?}", whole.keys());
        assert!(outputs.iter().all(|name| whole.contains_key(name)), "{arguments:?} writes {:?}", whole.keys());
        if !is_many {
            assert_eq!(lost(&acts, &outputs, &before, &after), None, "{arguments:?}");
            // Without each kind of sync something would be lost.
            for is_sync in [|act: &Act| matches!(act, Act::Sync(_)), |act: &Act| *act == Act::SyncFolder] {
                let without: Vec<Act> = acts.iter().filter(|act| !is_sync(act)).cloned().collect();
                assert!(without.len() < acts.len(), "{arguments:?}");
                assert!(lost(&without, &outputs, &before, &after).is_some(), "{arguments:?}");
            }
        }
        for (kind, numbers) in numbers(&log, &folder.path(".")).iter().enumerate() {
            let (calls, error) = FAULTS[kind];
            let mut of_command = 0;
            for n in numbers.iter().take(if is_many { MOST_OF_MANY } else { usize::MAX }) {
                let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}:when={n}"));
                let (code, said) = traced(&folder, &["-o", "/dev/null", "-e", &trace, "-e", &inject], arguments);
                let what = format!("{arguments:?}, {inject}: {code:?} {said}");
                let found = folder.files();
                for name in &outputs {
                    let is_whole = found.get(name) == before.get(name)
                        || found.get(name).is_some_and(|found| whole[name].contains(found));
                    assert!(is_whole, "{name} is torn: {what}");
                }
                let strange = found.keys().find(|name| !before.contains_key(*name) && !after.contains_key(*name));
                assert!(strange.is_none(), "{strange:?} is left: {what}");
                let is_new = |name: &String| found.get(name) == after.get(name);
                let is_last_alone = !is_many && is_new(&outputs[outputs.len() - 1]) && !is_new(&outputs[0]);
                assert!(!is_last_alone, "the last is new alone: {what}");
                assert!(code != Some(0) || outputs.iter().all(is_new), "it said nothing of it: {what}");
                // In another thread the call of that number may belong to the loader.
                let by_loader = calls == "openat" && code == Some(127);
                let is_error = code == Some(2) && said.lines().any(|line| line.starts_with("error: "));
                assert!(code == Some(0) || is_error || by_loader, "it gave no reason: {what}");
                restore(&folder, &before);
                if code == Some(0) { forgiven += 1 } else { of_command += 1 }
            }
            assert!(of_command > 0, "no fault of {calls} was reported: {arguments:?}");
            reported[kind] += of_command;
        }
    }
    println!("{reported:?} faults of {FAULTS:?} were reported, {forgiven} changed nothing");
}

#[test]
fn no_fault_loses_a_model_or_a_checkpoint() {
    check(&LEARNING);
}

#[test]
fn no_fault_loses_another_output() {
    check(&USING);
}
