//! Promise: the instructions of each workload differ by at most 3 % from `tests/instructions.toml`.
//! A larger saving also fails: the file is then written again, so that the next change is measured
//! from there.
//!
//! Run with `cargo test --workspace --test all -- --ignored instructions:: --show-output`.
//! callgrind counts the release build on one thread with an empty environment. Only the program's
//! own instructions count: those of the C library, such as copying, differ between processors. With
//! another compiler or processor than the file's, or without valgrind, the test says that it is
//! skipped. `FEAMOE_OVERWRITE_INSTRUCTIONS=1` writes the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use escargot::CargoBuild;
use feamoe::demo::SCHEMA;
use feamoe_tests::command::{Folder, executable, finished, lending};
use feamoe_tests::repository_file;
use serde::{Deserialize, Serialize};

const OVERWRITE: &str = "FEAMOE_OVERWRITE_INSTRUCTIONS";
const FILE: &str = "tests/instructions.toml";
/// Largest change of a count, as a share of the baseline.
const TOLERANCE: f64 = 0.03;

/// Workloads of the engine: see `tests/testkit/examples/instructions.rs`.
const ENGINE: [&str; 7] = ["load", "score", "integer-score", "frozen", "path", "exact", "recourse"];
/// Commands of the trainer, which read and write files in one folder, in this order.
const TRAINER: [(&str, &[&str]); 4] = [
    ("one-expert", &["train", "rows.csv", "--schema", "schema.toml", "--experts", "1", "-o", "one.feamoe"]),
    ("mixture", &["train", "rows.csv", "--schema", "schema.toml", "-o", "mixture.feamoe"]),
    ("targets", &["train", "rows.csv", "--schema", "schema.toml", "--fair", "spd=0.05", "-o", "fair.feamoe"]),
    ("evaluate", &["evaluate", "mixture.feamoe", "rows.csv", "--schema", "schema.toml", "--no-recourse"]),
];
const ROWS: usize = 6_000;

/// The committed counts, with everything they depend on except the code.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    rustc: String,
    cpu: String,
    instructions: BTreeMap<String, u64>,
}

#[test]
#[ignore = "builds for release, and takes half a minute under callgrind"]
fn no_workload_takes_more_instructions() {
    let path = repository_file(FILE);
    let overwrite = std::env::var_os(OVERWRITE).is_some();
    let baseline = fs::read_to_string(&path).map(|text| toml::from_str::<Baseline>(&text).unwrap());
    let [rustc, cpu] = [rustc(), cpu()];
    if let Some(obstacle) = obstacle(baseline.as_ref().ok().filter(|_| !overwrite), &rustc, &cpu) {
        println!("skipped: {obstacle}");
        return;
    }
    let instructions = count_all();
    if overwrite {
        let text = toml::to_string(&Baseline { rustc, cpu, instructions }).unwrap();
        let head =
            "# Instructions of each workload of tests/tests/all/instructions.rs, and what they were counted with.";
        fs::write(path, format!("{head}\n{text}")).unwrap();
        return;
    }
    let (table, off) = compare(&baseline.unwrap().instructions, &instructions);
    println!("{table}");
    assert!(
        off.is_empty(),
        "instructions changed by more than {:.0} %:\n{}\nfind out why; where the change is meant, write {FILE} anew, by \
         {OVERWRITE}=1, and say so in the commit",
        100.0 * TOLERANCE,
        off.join("\n")
    );
}

/// Returns the reason why counts cannot be compared here, if any.
fn obstacle(baseline: Option<&Baseline>, rustc: &str, cpu: &str) -> Option<String> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Some("instructions are not counted: no valgrind (setup.sh --all brings it)".to_owned());
    }
    let baseline = baseline?;
    let other = [(&*baseline.rustc, rustc), (&*baseline.cpu, cpu)].into_iter().find(|(then, now)| then != now);
    other.map(|(then, now)| format!("instructions are not compared: {FILE} is of {then}, here is {now}"))
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").current_dir(repository_file(".")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns what selects the code when compiling and when running.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    let more = if std::arch::is_x86_feature_detected!("avx2") { " with AVX2" } else { " without AVX2" };
    #[cfg(not(target_arch = "x86_64"))]
    let more = "";
    format!("{}-{}{more}", std::env::consts::ARCH, std::env::consts::OS)
}

fn count_all() -> BTreeMap<String, u64> {
    let built = |build: CargoBuild, name| executable(build.arg("--locked").release(), name);
    let engine = built(CargoBuild::new().package("feamoe-testkit").example("instructions"), "instructions");
    // Built as in other checks, so that the build is reused.
    let trainer = built(CargoBuild::new().package("feamoe"), "feamoe");
    let folder = Folder::new();
    folder.write("rows.csv", lending(1, ROWS));
    folder.write("schema.toml", SCHEMA);
    let counted = "--toggle-collect=*feamoe_counted*";
    let of_engine = ENGINE.map(|name| (format!("engine-{name}"), count(&folder, &[counted], &engine, &[name])));
    let of_trainer = TRAINER.map(|(name, words)| (format!("trainer-{name}"), count(&folder, &[], &trainer, words)));
    of_engine.into_iter().chain(of_trainer).collect()
}

/// Runs a program under callgrind. Returns the number of its own instructions.
fn count(folder: &Folder, options: &[&str], program: &Path, arguments: &[&str]) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind", "--callgrind-out-file=counts", "--compress-strings=no"]);
    command.args(["--compress-pos=no"]).args(options).arg(program).args(arguments);
    command.current_dir(folder.path(".")).env_clear().env("RAYON_NUM_THREADS", "1");
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    _ = finished(&mut command).well();
    let count = own_instructions(&folder.text("counts"), &program.canonicalize().unwrap());
    assert!(count > 100_000, "{command:?} counted {count} instructions");
    count
}

/// Returns the sum of the costs that callgrind's profile states for the functions of a program,
/// without their calls into other objects.
fn own_instructions(profile: &str, program: &Path) -> u64 {
    let (mut sum, mut is_own) = (0, false);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            is_own = Path::new(object) == program;
        } else if line.starts_with("calls=") {
            // Skips the total cost of the callee.
            lines.next();
        } else if is_own && line.starts_with(|c: char| c.is_ascii_digit()) {
            sum += line.split(' ').nth(1).map_or(0, |cost| cost.parse::<u64>().unwrap());
        }
    }
    sum
}

/// Returns a table of all workloads, and a line for each that differs too much.
#[allow(clippy::cast_precision_loss)] // far below 2^53
fn compare(baseline: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> (String, Vec<String>) {
    let mut table = String::new();
    let mut off = Vec::new();
    for (name, now) in found {
        let Some(then) = baseline.get(name) else {
            off.push(format!("{name}: {now}, the baseline has none"));
            continue;
        };
        let change = *now as f64 / *then as f64 - 1.0;
        let line = format!("{name}: {then} before, {now} now, {:+.2} %", 100.0 * change);
        writeln!(table, "{line}").unwrap();
        if change.abs() > TOLERANCE {
            off.push(line);
        }
    }
    off.extend(baseline.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name}: not counted")));
    (table, off)
}

#[test]
fn a_change_above_the_tolerance_is_named() {
    let counts = |of: &[(&str, u64)]| of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let baseline = counts(&[("slower", 1000), ("faster", 1000), ("same", 1000), ("gone", 1000)]);
    let found = counts(&[("slower", 1031), ("faster", 969), ("same", 1029), ("new", 5)]);
    let (table, off) = compare(&baseline, &found);
    assert_eq!(table.lines().count(), 3);
    assert_eq!(
        off,
        [
            "faster: 1000 before, 969 now, -3.10 %",
            "new: 5, the baseline has none",
            "slower: 1000 before, 1031 now, +3.10 %",
            "gone: not counted"
        ]
    );
}

#[test]
fn only_the_programs_own_instructions_count() {
    let profile = "summary: 99\n\nob=/bin/a\nfl=???\nfn=f\n0 3\ncob=/lib/c\ncfn=memcpy\ncalls=1 0\n0 50\n0 4\n\nob=/lib/c\nfn=memcpy\n0 50\n";
    assert_eq!(own_instructions(profile, Path::new("/bin/a")), 7);
}
