//! Promise: the device gives the bits of the host, for scores, gates, both explanations and recourse; and it cannot panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::path::Path;

use feamoe::blob_file::AlignedBytes;
use feamoe_engine::Model;
use feamoe_tests::firmware::{self, vectors};
use feamoe_tests::generate::{Cell, Draw, Recipe, draw_cell, records};
use feamoe_tests::repository_file;

/// Of another capacity than the device's: bits do not depend on it.
type OtherModel<'a> = Model<'a, 64, 64>;

/// Drawn models: every feature kind, every number of experts, bounded and not.
const MODELS: u64 = 24;
/// Records of each.
const RECORDS: usize = 250;

#[test]
fn firmware_gives_the_bits_of_the_host() {
    if !firmware::available() {
        return;
    }
    let image = firmware::build("parity", "release", "").unwrap();
    let mut scores = HashSet::new();
    for seed in 0..MODELS {
        let content = Recipe::any(seed).content(seed);
        let blob = content.to_bytes(seed % 2 == 0).unwrap();
        let cells = records(&content, seed, RECORDS).concat();
        let answers = assert_same_bits(&format!("seed {seed}"), &image, &blob, &cells);
        scores.extend(answers.chunks(answers.len() / RECORDS).map(|answer| answer[0]));
    }
    // Not a comparison of nothing with nothing: models that saturate repeat their scores, most do not.
    assert!(scores.len() > MODELS as usize * RECORDS / 4, "{} different scores", scores.len());
}

#[test]
fn firmware_gives_the_bits_of_the_host_for_a_trained_model() {
    if !firmware::available() {
        return;
    }
    let blob = AlignedBytes::read(&repository_file("firmware-example/demo.feamoe")).unwrap();
    let model = OtherModel::load(blob.as_slice()).unwrap();
    let mut draw = Draw::new(1);
    let mut cells = Vec::new();
    for _ in 0..2000 {
        cells.extend(model.schema().features().iter().map(|feature| draw_cell(&mut draw, feature.kind(), &[])));
    }
    let image = firmware::build("parity", "release", "").unwrap();
    assert_same_bits("demo", &image, &blob, &cells);
}

/// Compares the answers of the device to those of this machine, at another capacity; returns them.
fn assert_same_bits(name: &str, image: &Path, blob: &AlignedBytes, cells: &[Cell]) -> Vec<u32> {
    let model = OtherModel::load(blob.as_slice()).unwrap();
    let features = model.schema().features();
    let kinds: Vec<_> = features.iter().map(|feature| feature.kind()).collect();
    let words = firmware::words(&kinds, cells);
    let mut record = model.record();
    let (mut expected, mut memory) = (Vec::new(), Box::new(vectors::Memory::new()));
    for (number, values) in words.chunks(features.len()).enumerate() {
        for (index, (kind, word)) in kinds.iter().zip(values).enumerate() {
            vectors::set(&mut record, index, *kind, *word).unwrap();
        }
        let word = |word| expected.push(word);
        vectors::answer(&model, &record, number, &mut memory, word).unwrap();
    }

    let count = words.len() / features.len();
    let found = firmware::answer(image, blob.as_slice(), &words);
    assert!(found.printed.contains(&format!("records {count}\n")), "{name}: {}", found.printed);
    assert_eq!(found.words.len(), expected.len(), "{name}");
    let length = expected.len() / count;
    if let Some(at) = found.words.iter().zip(&expected).position(|(found, expected)| found != expected) {
        panic!(
            "{name}: record {}, word {} of {length}: {:#010x} on the device, {:#010x} on the host",
            at / length,
            at % length,
            found.words[at],
            expected[at]
        );
    }
    expected
}

#[test]
fn no_panic_is_reachable_at_any_opt_level() {
    if !firmware::available() {
        return;
    }
    for profile in ["o1", "release", "os"] {
        firmware::build("panic-free", profile, "recourse,background,shapley")
            .unwrap_or_else(|error| panic!("{profile}: {error}"));
        let planted = firmware::build("panic-free", profile, "recourse,background,shapley,plant-panic");
        let error = planted.expect_err("a planted panic must not link");
        assert!(error.contains("undefined symbol: a_panic_is_reachable"), "{profile}: {error}");
    }
}
