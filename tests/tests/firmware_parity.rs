//! Promise: the device gives the bits of the host, for scores, gates and both explanations; and it cannot panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fs;
use std::process::Output;

use feamoe::blob_file::{AlignedBytes, HostModel};
use feamoe::export::Content;
use feamoe_engine::schema::Kind;
use feamoe_tests::firmware;
use feamoe_tests::random_model::{Random, Shape, model};

/// The very file that the firmware uses: how words are made cannot differ between both sides, what is in them can.
#[path = "../../firmware-example/src/vectors.rs"]
mod vectors;

/// Records of each model.
const RECORDS: usize = 1000;

/// Every feature kind, few and many experts, rows of every block width, weights for which a score needs the safe path.
const SHAPES: [(&str, Shape); 6] = [
    ("adult", Shape::ADULT),
    ("one expert, one number", Shape { experts: 1, numbers: 1, binned: (0, 0), categories: (0, 0), weight: 3.0 }),
    ("bins", Shape { experts: 12, numbers: 2, binned: (5, 17), categories: (3, 40), weight: 0.7 }),
    ("categories only", Shape { experts: 5, numbers: 0, binned: (0, 0), categories: (9, 200), weight: 1.5 }),
    ("as many experts as fit", Shape { experts: 16, numbers: 7, binned: (2, 2), categories: (7, 60), weight: 0.5 }),
    ("not bounded", Shape { experts: 7, numbers: 6, binned: (3, 9), categories: (5, 50), weight: 40.0 }),
];

#[test]
fn firmware_gives_the_bits_of_the_host() {
    if !firmware::available() {
        return;
    }
    let image = firmware::build("parity", "release", "").unwrap();
    let mut random = Random::new(7);
    for (name, shape) in SHAPES {
        let content = model(shape, &mut random);
        let blob = content.to_bytes(true).unwrap();
        let records = records(&content, &mut random);
        let expected = answers_of_host(&blob, &records);
        assert_varied(name, &expected);

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.feamoe"), blob.as_slice()).unwrap();
        fs::write(folder.path().join("records.bin"), to_bytes(&records.concat())).unwrap();
        let output = firmware::run(&image, folder.path());
        let printed = printed(&output);
        assert!(output.status.success(), "{name}: {printed}");
        assert!(printed.contains(&format!("records {RECORDS}\n")), "{name}: {printed}");

        let found = from_bytes(&fs::read(folder.path().join("answers.bin")).unwrap());
        let words = expected.len() / RECORDS;
        assert_eq!(found.len(), expected.len(), "{name}");
        if let Some(at) = found.iter().zip(&expected).position(|(found, expected)| found != expected) {
            panic!(
                "{name}: record {}, word {} of {words}: {:#010x} on the device, {:#010x} on the host",
                at / words,
                at % words,
                found[at],
                expected[at]
            );
        }
    }
}

/// Words of random records: in range, at its ends and far outside, every level, unseen, missing.
fn records(content: &Content, random: &mut Random) -> Vec<Vec<u32>> {
    let word = |kind: Kind, random: &mut Random| match kind {
        Kind::Number { low, high, .. } => {
            let extremes = [
                [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX],
                [f32::MIN, f32::MIN_POSITIVE, -0.0, 1e-40],
                [low, high, low.next_down(), high.next_up()],
            ];
            match random.below(4) {
                0 => extremes.as_flattened()[random.below(12) as usize].to_bits(),
                1 => random.bits() as u32,
                _ => random.between(low, high).to_bits(),
            }
        }
        Kind::Category { levels } => match random.below(8) {
            0 => vectors::UNSEEN,
            1 => vectors::MISSING,
            _ => random.below(u32::from(levels)),
        },
    };
    (0..RECORDS).map(|_| content.features.iter().map(|feature| word(feature.kind, random)).collect()).collect()
}

/// The answers of the engine on this machine, at the host's capacity.
fn answers_of_host(blob: &AlignedBytes, records: &[Vec<u32>]) -> Vec<u32> {
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut record = model.record();
    let mut words = Vec::new();
    for values in records {
        for (index, (feature, word)) in model.schema().features().iter().zip(values).enumerate() {
            vectors::set(&mut record, index, feature.kind(), *word).unwrap();
        }
        vectors::answer(&model, &record, |word| words.push(word)).unwrap();
    }
    words
}

/// Guards against a comparison of nothing with nothing: the scores must differ from record to record and lie in [0, 1].
fn assert_varied(name: &str, answers: &[u32]) {
    let scores: Vec<f32> = answers.chunks(answers.len() / RECORDS).map(|answer| f32::from_bits(answer[0])).collect();
    assert!(scores.iter().all(|p| (0.0..=1.0).contains(p)), "{name}");
    let different: HashSet<u32> = scores.iter().map(|p| p.to_bits()).collect();
    assert!(different.len() > RECORDS / 4, "{name}: {} different scores", different.len());
}

#[test]
fn no_panic_is_reachable_at_any_opt_level() {
    if !firmware::available() {
        return;
    }
    for profile in ["o1", "release", "os"] {
        firmware::build("panic-free", profile, "").unwrap_or_else(|error| panic!("{profile}: {error}"));
        let error = firmware::build("panic-free", profile, "plant-panic").expect_err("a planted panic must not link");
        assert!(error.contains("undefined symbol: a_panic_is_reachable"), "{profile}: {error}");
    }
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<u32> {
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}
