//! Promise: every board gives the same bits as the host for scores, gates, explanations and
//! recourse, and no board can panic.

use std::collections::HashSet;
use std::path::Path;
use std::thread;
use std::time::Instant;

use feamoe::model::AlignedBytes;
use feamoe::model::{Width, quantize};
use feamoe_engine::{FeatureIndex, Model, integer};
use feamoe_testkit::generate::{Cell, Draw, Recipe, draw_cell, records};
use feamoe_tests::aligned;
use feamoe_tests::firmware::vectors::{Capacity, RECOURSE_EVERY, Raw};
use feamoe_tests::firmware::{self, Board, board, boards, vectors};
use feamoe_tests::repository_file;

/// A capacity other than the device's, which must not change the bits.
type OtherModel<'a> = Model<'a, 64, 64>;

/// On the first board: the number of drawn models, of records for each, and of records for the
/// trained model. They include every kind of feature, every number of experts, and bounded and
/// unbounded models.
const MANY: [usize; 3] = [24, 250, 2000];
/// On the other boards: the first of the same models and records, as far as they fit. Without a
/// floating-point unit an answer takes ten to thirty times as long. The records include the
/// recourse and the exact values of the first record and the recourse of one more.
const FEW: [usize; 3] = [8, RECOURSE_EVERY + 1, RECOURSE_EVERY + 1];

#[test]
fn every_board_gives_the_bits_of_the_host() {
    let run_all = |board: Board, counts: [usize; 3]| {
        let started = Instant::now();
        if board.available() {
            let image =
                board.build("parity", "release", "").unwrap_or_else(|error| panic!("{}: {error}", board.target));
            let built = started.elapsed();
            let count = assert_drawn_models(&board, &image, counts) + assert_trained_model(&board, &image, counts);
            println!("{}: {count} records, {:.1?} after {built:.1?}", board.target, started.elapsed() - built);
        }
    };
    thread::scope(|scope| {
        for (rank, board) in boards().enumerate() {
            scope.spawn(move || run_all(board, if rank == 0 { MANY } else { FEW }));
        }
    });
}

/// The engine's loop in assembly gives the same bits on the only board that has it.
#[test]
fn assembly_gives_the_bits_of_the_host() {
    let board = board("thumbv7em-none-eabihf");
    if board.available() {
        let folder = firmware::folder().join("target/armv7em");
        let image = board.build_with("parity", "release", "armv7em", &folder, &[]);
        let image = image.unwrap_or_else(|error| panic!("{error}"));
        assert_drawn_models(&board, &image, FEW);
        assert_trained_model(&board, &image, FEW);
    }
}

/// Compares answers for drawn models that fit the board. Returns the number of records.
fn assert_drawn_models(board: &Board, image: &Path, [models, count, _]: [usize; 3]) -> usize {
    let mut scores = HashSet::new();
    let capacity = board.capacity;
    let drawn = (0..).map(|seed| {
        // Eleven and twelve experts are the most whose lanes a device sums in one pass.
        let recipe = Recipe::any(seed);
        let experts = match seed % 6 {
            0 => 11,
            3 => 12,
            _ => recipe.experts,
        };
        (seed, Recipe { experts, ..recipe }.content(seed))
    });
    let fitting = drawn.filter_map(|(seed, content)| {
        let blob = aligned(&content.to_bytes(seed % 2 == 0));
        let fits = content.features.len() <= capacity.features && content.experts <= capacity.experts;
        (fits && blob.as_slice().len() <= capacity.blob_bytes).then_some((seed, content, blob))
    });
    for (seed, content, blob) in fitting.take(models) {
        let cells = records(&content, seed, count).concat();
        let answers = assert_same_bits(&format!("{}, seed {seed}", board.target), image, &blob, &cells);
        scores.extend(answers.chunks(answers.len() / count).map(|answer| answer[0]));
    }
    // The scores must vary for the comparison to mean something. Saturated models repeat their
    // scores; most models do not.
    assert!(scores.len() > models * count / 4, "{}: {} different scores", board.target, scores.len());
    models * count
}

/// Compares answers for a trained model if it fits the board. Returns the number of records.
fn assert_trained_model(board: &Board, image: &Path, [_, _, count]: [usize; 3]) -> usize {
    let blob = AlignedBytes::read(&repository_file("firmware-example/demo.feamoe")).unwrap();
    if blob.as_slice().len() > board.capacity.blob_bytes {
        return 0;
    }
    let model = OtherModel::load(blob.as_slice()).unwrap();
    let mut draw = Draw::new(1);
    let mut cells = Vec::new();
    for _ in 0..count {
        cells.extend(model.schema().features().iter().map(|feature| draw_cell(&mut draw, feature.kind(), &[])));
    }
    assert_same_bits(&format!("{}, demo", board.target), image, &blob, &cells);
    count
}

/// Compares the answers of the device with those of this machine at another capacity. Returns them.
fn assert_same_bits(name: &str, image: &Path, blob: &AlignedBytes, cells: &[Cell]) -> Vec<u32> {
    let model = OtherModel::load(blob.as_slice()).unwrap();
    let features = model.schema().features();
    let kinds: Vec<_> = features.iter().map(|feature| feature.kind()).collect();
    let words = firmware::words(&kinds, cells);
    let mut record = model.record();
    let (mut expected, mut memory) = (Vec::new(), Box::new(vectors::Memory::new()));
    for (number, values) in words.chunks(features.len()).enumerate() {
        for (index, (kind, word)) in kinds.iter().zip(values).enumerate() {
            // Sets the values one by one; the device sets all at once.
            _ = record.set_value(FeatureIndex(index), vectors::value(*kind, *word)).unwrap();
        }
        let word = |word| expected.push(word);
        vectors::answer(&model, &record, number, &mut memory, word).unwrap();
    }
    assert_answers(name, image, blob, &words, words.len() / features.len(), &expected);
    expected
}

/// Asks the device for `count` answers and compares them.
fn assert_answers(name: &str, image: &Path, blob: &AlignedBytes, words: &[u32], count: usize, expected: &[u32]) {
    let found = firmware::answer(image, blob.as_slice(), words);
    assert!(found.printed.contains(&format!("records {count}\n")), "{name}: {}", found.printed);
    assert_eq!(found.words.len(), expected.len(), "{name}");
    let length = expected.len() / count;
    if let Some(at) = found.words.iter().zip(expected).position(|(found, expected)| found != expected) {
        panic!(
            "{name}: record {}, word {} of {length}: {:#010x} on the device, {:#010x} on the host",
            at / length,
            at % length,
            found.words[at],
            expected[at]
        );
    }
}

/// Numbers of drawn integer models and of records for each, on every board.
const INTEGERS: [usize; 2] = [12, 40];

#[test]
fn every_board_gives_the_integers_of_the_host() {
    let fits = |blob: &AlignedBytes| blob.as_slice().len() <= Capacity::INTEGER.blob_bytes;
    let [models, count] = INTEGERS;
    let drawn = (0..).filter_map(|seed| {
        let recipe = Recipe::any(seed);
        // Eleven experts fill the weight rows for which the device has special code.
        let content = Recipe { experts: if seed % 3 == 0 { 11 } else { recipe.experts }, ..recipe }.content(seed);
        let width = if seed % 2 == 0 { Width::I16 } else { Width::I8 };
        let blob = quantize(&aligned(&content.to_bytes(true)), width).unwrap();
        let is_small = content.experts <= Capacity::INTEGER.experts && fits(&blob);
        is_small.then(|| (format!("seed {seed}, {width:?}"), blob, records(&content, seed, count).concat()))
    });
    let adult = AlignedBytes::read(&repository_file("engine/golden/adult-gated.feamoe")).unwrap();
    let model = OtherModel::load(adult.as_slice()).unwrap();
    let mut draw = Draw::new(1);
    let features = || model.schema().features().iter();
    let cells: Vec<_> = (0..count)
        .flat_map(|_| features().map(|feature| draw_cell(&mut draw, feature.kind(), &[])).collect::<Vec<_>>())
        .collect();
    let trained = [Width::I16, Width::I8]
        .map(|width| (format!("Adult, {width:?}"), quantize(&adult, width).unwrap(), cells.clone()));
    let cases: Vec<_> = drawn.take(models).chain(trained).collect();
    assert!(cases.iter().all(|(_, blob, _)| fits(blob)));
    for board in boards().filter(Board::available) {
        let image = board.build("integer", "release", "").unwrap_or_else(|error| panic!("{}: {error}", board.target));
        let mut scores = HashSet::new();
        for (name, blob, cells) in &cases {
            scores.extend(assert_same_integers(&format!("{}, {name}", board.target), &image, blob, cells));
        }
        println!("{}: {} records, {} scores", board.target, cases.len() * count, scores.len());
        assert!(scores.len() > cases.len() * count / 4, "{}: {} different scores", board.target, scores.len());
    }
}

/// Compares the answers of the device with those of this machine at another capacity. Returns the
/// scores.
fn assert_same_integers(name: &str, image: &Path, blob: &AlignedBytes, cells: &[Cell]) -> Vec<u32> {
    let model: integer::Model<'_, 64, 64> = integer::Model::load(blob.as_slice()).unwrap();
    let kinds: Vec<_> = model.schema().features().iter().map(|feature| feature.kind()).collect();
    let words = firmware::words(&kinds, cells);
    let mut record = model.record();
    let (mut expected, mut scores) = (Vec::new(), Vec::new());
    for words in words.chunks(kinds.len()) {
        let values: Vec<_> = kinds.iter().zip(words).map(|(kind, word)| vectors::value(*kind, *word)).collect();
        for without_floats in [false, true] {
            for (index, value) in values.iter().enumerate() {
                _ = match Raw::of(&model, index, *value) {
                    Raw::Fixed { raw, fraction_bits } if without_floats => {
                        record.set_fixed(FeatureIndex(index), raw, fraction_bits).unwrap()
                    }
                    _ => record.set_value(FeatureIndex(index), *value).unwrap(),
                };
            }
            scores.push(model.score(&record).unwrap().probability);
            vectors::integer_answer(&model, &record, |word| expected.push(word)).unwrap();
        }
    }
    assert_answers(name, image, blob, &words, scores.len() / 2, &expected);
    scores
}

/// On a core with a floating-point unit and on the smallest one, which calls functions for floats
/// and divisions.
#[test]
fn no_panic_is_reachable_at_any_opt_level() {
    for target in ["thumbv7em-none-eabihf", "thumbv6m-none-eabi"] {
        let board = board(target);
        if !board.available() {
            continue;
        }
        // At level 1 a length check in sha2 that never fails remains in the code. At level 3
        // everything together exceeds the flash of the smallest board.
        let apart = [("o1", "all"), ("release", "all"), ("release", "mac,signed"), ("os", "all-signed")];
        for (profile, all) in apart {
            board.build("panic-free", profile, all).unwrap_or_else(|error| panic!("{target}, {profile}: {error}"));
            let in_assembly = board.build("panic-free", profile, &format!("{all},armv7em"));
            in_assembly.unwrap_or_else(|error| panic!("{target}, {profile}: {error}"));
            let planted = board.build("panic-free", profile, &format!("{all},plant-panic"));
            let error = planted.expect_err("a planted panic must not link");
            assert!(error.contains("undefined symbol: a_panic_is_reachable"), "{target}, {profile}: {error}");
        }
    }
}
