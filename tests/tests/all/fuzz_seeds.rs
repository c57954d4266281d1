//! Runs the fuzz targets with any compiler: every committed seed and several thousand mutations,
//! the same on every machine.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use feamoe_testkit::generate::Draw;
use feamoe_tests::fuzz::{TARGETS, Target, mutate};
use feamoe_tests::repository_file;

/// Number of mutated inputs for each target.
const MUTATIONS: usize = 4_000;

fn files(folder: PathBuf) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    // A folder has no defined order.
    files.sort();
    files
}

/// Runs a target, and names the input if it panics.
fn run(target: Target, bytes: &[u8], from: &str) {
    let done = catch_unwind(|| (target.run)(bytes));
    assert!(done.is_ok(), "{} fails on {from}: {bytes:02x?}", target.name);
}

fn replay(name: &str) {
    let target = *TARGETS.iter().find(|target| target.name == name).unwrap();
    let mut seeds = files(target.folder());
    if name == "load" {
        let golden = files(repository_file("engine/golden"));
        seeds.extend(golden.into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "feamoe")));
    }
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for (path, bytes) in &seeds {
        run(target, bytes, &path.display().to_string());
    }
    let mut draw = Draw::new(0xf0_22);
    for mutation in 0..MUTATIONS {
        let [one, other] = [draw.below(seeds.len()), draw.below(seeds.len())];
        let mut bytes = seeds[one].1.clone();
        mutate(&mut draw, &mut bytes, &seeds[other].1);
        run(target, &bytes, &format!("mutation {mutation} of {}", seeds[one].0.display()));
    }
}

#[test]
fn load() {
    replay("load");
}

#[test]
fn record() {
    replay("record");
}

#[test]
fn explain() {
    replay("explain");
}

#[test]
fn csv() {
    replay("csv");
}

#[test]
fn schema() {
    replay("schema");
}

#[test]
fn checkpoint() {
    replay("checkpoint");
}

#[test]
fn monitor() {
    replay("monitor");
}

#[test]
fn integer() {
    replay("integer");
}

#[test]
fn delta() {
    replay("delta");
}

#[test]
fn slots() {
    replay("slots");
}

#[test]
fn recourse() {
    replay("recourse");
}

#[cfg(feature = "arrow")]
#[test]
fn arrow() {
    replay("arrow");
}

/// Every target has a test here.
#[test]
fn every_target_is_replayed() {
    let code = include_str!("fuzz_seeds.rs");
    for Target { name, .. } in TARGETS {
        assert!(code.contains(&format!("replay(\"{name}\")")), "{name}");
    }
}
