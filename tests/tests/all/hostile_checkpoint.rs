//! Reading a checkpoint, whatever its bytes, gives a run that can be resumed, or an error that says
//! what is wrong and what to do.

use std::borrow::Cow;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

use feamoe::encoder;
use feamoe::error::CheckpointError as E;
use feamoe::learner::{ClassWeight, FairBy, Growth, How, LearnerOptions, Objective, Penalties, ThresholdRule};
use feamoe::rows::{Input, ResumeFrom};
use feamoe::schema::Schema;
use feamoe::training::checkpoint::{Checkpoint, HEADER_BYTES, Stage, VERSION};
use feamoe::training::merge::Merging;
use feamoe::training::{self, Encoding, Options, Trainer};
use feamoe_engine::fairness::Measure;
use feamoe_testkit::generate::Draw;
use feamoe_tests::command::Folder;
use feamoe_tests::fuzz::sealed;

const SCHEMA: &str =
    "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\n";

fn write_rows(path: &Path, rows: u32) -> Input {
    let mut text = String::from("a,b,s,y\n");
    for i in 0..rows {
        let (level, sex) = (["p", "q", "r"][i as usize % 3], ["m", "f"][i as usize % 2]);
        text.push_str(&format!("{},{level},{sex},{}\n", i * 7 % 11, u32::from(i % 5 > 1)));
    }
    fs::write(path, text).unwrap();
    Input::File(path.to_owned())
}

fn options(warmup: usize) -> Options {
    let learner =
        LearnerOptions::default().experts(2).growth(Growth { every: 10, ..Growth::NONE }).target(Measure::Spd, 0.1);
    Options { encoder: encoder::Options { warmup, bins: 3 }, window: 4, ..Options::new(learner.check().unwrap()) }
}

/// A checkpoint of 24 rows; depending on `warmup`, the run is still at its start or learning.
fn small(warmup: usize) -> Vec<u8> {
    of_rows(24, warmup)
}

fn of_rows(rows: u32, warmup: usize) -> Vec<u8> {
    of_options(rows, &options(warmup))
}

fn of_options(rows: u32, options: &Options) -> Vec<u8> {
    of_schema(SCHEMA, rows, options)
}

fn of_schema(schema: &str, rows: u32, options: &Options) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let input = write_rows(&folder.path().join("small.csv"), rows);
    let schema = Schema::from_toml("s.toml", schema).unwrap();
    let run = training::run(&[input], &schema, options, &mut training::unwatched).unwrap();
    run.checkpoint().to_bytes().unwrap()
}

/// Checkpoints of the three stages: before the first draft, with a draft, and once the model
/// learns.
fn all_stages() -> [Vec<u8>; 3] {
    [small(100), of_rows(110, 1_000), small(20)]
}

#[track_caller]
fn refusal(bytes: &[u8]) -> E {
    Checkpoint::from_bytes(bytes).err().expect("a hostile checkpoint was read")
}

/// Returns positions in a payload, at most about 1,000 and spread over all of it.
fn places(payload: &[u8]) -> impl Iterator<Item = usize> + use<> {
    (0..payload.len()).step_by((payload.len() / 1_000).max(1))
}

/// Resumes a checkpoint; errors are fine.
fn resume(checkpoint: Checkpoint<'_>, input: &Input) {
    let run =
        training::resume(checkpoint, std::slice::from_ref(input), ResumeFrom::Same, None, &mut training::unwatched);
    if let Ok(run) = run {
        let _ = run.model();
        let _ = run.checkpoint().to_bytes();
    }
}

/// Merges a damaged state with itself, and with the state it was made from, in either order.
#[test]
fn whatever_is_read_is_merged_or_refused() {
    let first = small(20);
    let encoding = Encoding::of(&Checkpoint::from_bytes(&first).unwrap()).unwrap();
    let bytes = of_options(24, &Options { encoding: Some(Arc::new(encoding)), ..options(20) });
    let sound = Checkpoint::from_bytes(&bytes).unwrap();
    let (mut read, mut merged) = (0, 0);
    for place in places(&bytes[HEADER_BYTES..]) {
        for change in [1, 0x80, 0xff] {
            let mut payload = bytes[HEADER_BYTES..].to_vec();
            payload[place] ^= change;
            let sealed = sealed(&payload);
            let Ok(hostile) = Checkpoint::from_bytes(&sealed) else { continue };
            read += 1;
            for shards in [[&hostile, &hostile], [&sound, &hostile], [&hostile, &sound]] {
                for how in [How::Join, How::Average] {
                    let merging = Merging { how, experts: Some(1), is_polished: place % 2 == 0 };
                    let shards = shards.map(Clone::clone);
                    let Ok(united) = Checkpoint::merge(&shards, &merging) else { continue };
                    merged += 1;
                    // The sum of counts near their limit may be too large.
                    match united.to_bytes() {
                        Ok(bytes) => assert!(Checkpoint::from_bytes(&bytes).is_ok()),
                        Err(error) => assert!(matches!(error, E::Number { .. }), "{error}"),
                    }
                    let _ = Trainer::from_checkpoint(united).map(|trainer| trainer.model().map(drop));
                }
            }
        }
    }
    println!("{read} states read, merged {merged} times");
    assert!(read > 300 && merged > read);
}

#[test]
fn the_bytes_are_those_of_the_drawing() {
    for bytes in all_stages() {
        assert_eq!(sealed(&bytes[HEADER_BYTES..]), bytes);
        let again = Checkpoint::from_bytes(&bytes).unwrap().to_bytes().unwrap();
        assert!(again == bytes);
    }
}

#[test]
fn rejects_every_truncation() {
    for bytes in all_stages() {
        for length in 0..bytes.len() {
            let expected = match length {
                0..HEADER_BYTES => E::TooShort { found: length, expected: HEADER_BYTES },
                _ => E::Length { found: (length - HEADER_BYTES) as u64, expected: (bytes.len() - HEADER_BYTES) as u64 },
            };
            assert_eq!(refusal(&bytes[..length]), expected);
        }
    }
}

#[test]
fn rejects_every_flipped_bit() {
    for mut bytes in all_stages() {
        // Each bit of a small checkpoint.
        let in_header = 0..8 * HEADER_BYTES;
        let in_payload = (8 * HEADER_BYTES..8 * bytes.len()).step_by((bytes.len() / 4_000).max(1));
        for bit in in_header.chain(in_payload) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = refusal(&bytes);
            let expected = match bit / 8 {
                0..4 => matches!(error, E::Magic { .. }),
                4..6 => matches!(error, E::Version { .. }),
                8..16 => matches!(error, E::Length { .. }),
                _ => error == E::Damaged,
            };
            assert!(expected, "bit {bit}: {error}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn rejects_what_follows() {
    for bytes in all_stages() {
        let length = (bytes.len() - HEADER_BYTES) as u64;
        assert_eq!(refusal(&[&bytes[..], &[0]].concat()), E::Length { found: length + 1, expected: length });
        assert_eq!(refusal(&sealed(&[&bytes[HEADER_BYTES..], &[0]].concat())), E::Undecodable { version: VERSION });
    }
}

#[test]
fn content_with_the_right_hash_is_refused_or_can_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let input = write_rows(&folder.path().join("more.csv"), 12);
    let (mut refused, mut read) = (0, 0);
    for bytes in all_stages() {
        let payload = &bytes[HEADER_BYTES..];
        for at in places(payload) {
            for byte in [0, 1, 0x7f, 0x80, 0xff, payload[at] ^ 4] {
                let mut payload = payload.to_vec();
                payload[at] = byte;
                match Checkpoint::from_bytes(&sealed(&payload)) {
                    Ok(checkpoint) => {
                        read += 1;
                        resume(checkpoint, &input);
                    }
                    Err(E::Undecodable { .. } | E::Contradictory { .. } | E::Number { .. }) => refused += 1,
                    Err(error) => unreachable!("{error}"),
                }
            }
        }
    }
    assert!(refused > 500 && read > 500, "{refused} refused, {read} read");
}

#[test]
fn lengths_are_never_trusted_with_memory() {
    // The largest number, in postcard's encoding, replaces each byte: every length becomes
    // enormous.
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    // A terabyte: some machines can reserve it once, none can twice.
    let terabyte = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    for bytes in all_stages() {
        let payload = &bytes[HEADER_BYTES..];
        for at in places(payload) {
            for length in [&largest[..], &terabyte] {
                let hostile = [&payload[..at], length, &payload[at + 1..]].concat();
                // If the byte was no length, the checkpoint may be readable; the call only has to
                // return.
                let _ = Checkpoint::from_bytes(&sealed(&hostile));
            }
        }
    }
}

#[test]
fn rejects_parts_of_different_runs() {
    let two_attributes = format!("{SCHEMA}[[protected]]\ncolumn = \"b\"\nprivileged = [\"p\"]\n");
    let folder = tempfile::tempdir().unwrap();
    let input = [write_rows(&folder.path().join("small.csv"), 24)];
    let schema = Schema::from_toml("s.toml", &two_attributes).unwrap();
    let [learning, warming] =
        [20, 100].map(|warmup| training::run(&input, &schema, &options(warmup), &mut training::unwatched).unwrap());
    let [learning, warming] = [learning.checkpoint(), warming.checkpoint()];
    let part = |change: &dyn Fn(&mut Checkpoint<'_>)| {
        let bytes = small(20);
        let mut checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        change(&mut checkpoint);
        // Anything that could not be read is not written either.
        match checkpoint.to_bytes() {
            Err(E::Contradictory { part }) => part,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(part(&|c| c.place = learning.place.clone()), "place in the data");
    assert_eq!(part(&|c| c.learner = Cow::Owned(learning.learner.clone().into_owned())), "learner");
    assert_eq!(part(&|c| c.reservoir = Cow::Owned(learning.reservoir.clone().into_owned())), "sample of rows");
    assert_eq!(part(&|c| c.stage = owned(&warming.stage)), "first rows");
}

fn owned(stage: &Stage<'_>) -> Stage<'static> {
    match stage {
        Stage::Starting(start) => Stage::Starting(Cow::Owned(start.clone().into_owned())),
        Stage::Learning(encoder) => Stage::Learning(Cow::Owned(encoder.clone().into_owned())),
    }
}

#[test]
fn the_command_says_which_file_what_and_what_to_do() {
    let folder = Folder::with_model();
    let good = small(20);
    folder.write("short", &good[..20]);
    folder.write("empty", "");
    let mut newer = good.clone();
    newer[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
    folder.write("newer", &newer);
    let mut damaged = good.clone();
    damaged[100] ^= 1;
    folder.write("damaged", &damaged);
    folder.write("cut", &good[..good.len() - 3]);
    folder.write("longer", [&good[..], &[0; 100]].concat());
    let length = good.len() - HEADER_BYTES;
    for (file, expected) in [
        ("short", "found 20 bytes, expected a checkpoint of at least 48; name the checkpoint of a run, or copy it again (`feamoe train --checkpoint FILE` writes one)".into()),
        ("empty", "found 0 bytes, expected a checkpoint of at least 48; name the checkpoint of a run, or copy it again (`feamoe train --checkpoint FILE` writes one)".into()),
        (
            "lending.feamoe",
            "found a model, expected a checkpoint, since a model cannot be resumed; name the checkpoint of the run (`feamoe train --checkpoint FILE` writes one)".into(),
        ),
        (
            "newer",
            format!(
                "found checkpoint version {}, expected {VERSION}; resume with the feamoe that wrote it, or train again",
                VERSION + 1
            ),
        ),
        (
            "damaged",
            "the content is damaged: its SHA-256 is not the one in the header; copy the file again, or use an earlier checkpoint".into(),
        ),
        (
            "cut",
            format!("found {} bytes of content, expected {length}; copy the file again, or use an earlier checkpoint", length - 3),
        ),
        (
            "longer",
            format!("found {} bytes of content, expected {length}; copy the file again, or use an earlier checkpoint", length + 1),
        ),
    ] {
        let expected: String = expected;
        let message = folder.refusal(&["update", file, "lending.csv", "-o", "m.feamoe", "--checkpoint", "c"]);
        assert_eq!(message, format!("{file}: {expected}"));
    }
    let endless = folder.refusal(&["update", "/dev/zero", "lending.csv", "-o", "m.feamoe", "--checkpoint", "c"]);
    assert!(endless.starts_with("/dev/zero: found the first bytes [00, 00, 00, 00], expected"), "{endless}");
    let missing = folder.refusal(&["update", "none", "lending.csv", "-o", "m.feamoe"]);
    assert_eq!(missing, "cannot read none: No such file or directory (os error 2)");
    // A command that expects a model names a checkpoint as one.
    folder.write("run.ckpt", &good);
    for command in [&["inspect", "run.ckpt"][..], &["compare", "run.ckpt", "run.ckpt", "lending.csv"]] {
        let refused = folder.refusal(command);
        assert!(
            refused.starts_with("run.ckpt: found a checkpoint, expected a model; `feamoe export run.ckpt -o"),
            "{refused}"
        );
    }
}

/// States of runs with every optional part, at small sizes.
fn varied() -> Vec<Vec<u8>> {
    let learner = || LearnerOptions::default().experts(2).growth(Growth { every: 10, ..Growth::NONE });
    let all = Measure::ALL.into_iter().fold(learner(), |options, measure| options.target(measure, 0.1));
    let with_group = format!("{SCHEMA}as_feature = true\n");
    let learners = [
        (SCHEMA, all.class_weight(ClassWeight::Balanced).threshold_rule(ThresholdRule::Auto(Objective::Balanced))),
        (&with_group, learner().target(Measure::Spd, 0.1).fair_by(FairBy::Threshold)),
        (SCHEMA, learner().penalties(Penalties::ALL)),
    ];
    let mut states: Vec<Vec<u8>> = all_stages().into();
    for (schema, learner) in learners {
        let options = Options { learner: learner.check().unwrap(), label_delay: 5, ..options(20) };
        states.push(of_schema(schema, 40, &options));
    }
    states
}

/// Writes an unexpected count or float into one place of a payload.
fn damage(draw: &mut Draw, payload: &mut Vec<u8>) {
    let at = draw.below(payload.len());
    let count = [
        0,
        1,
        3,
        127,
        65_535,
        1 << 16,
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 48) - 1,
        1 << 53,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX,
    ];
    let float = [f64::NAN, f64::INFINITY, -f64::INFINITY, 0.0, -0.0, -1.0, 1e30, -1e30, 1e300, 1e-40, 5e-324, f64::MAX];
    let (new, old) = match draw.below(5) {
        0 => {
            let length = payload[at..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
            (postcard::to_stdvec(&draw.one_of(&count)).unwrap(), length)
        }
        1 | 2 => ((draw.one_of(&float) as f32).to_le_bytes().to_vec(), 4),
        3 => (draw.one_of(&float).to_le_bytes().to_vec(), 8),
        _ => (vec![payload[at] ^ 1 << draw.below(8)], 1),
    };
    payload.splice(at..(at + old).min(payload.len()), new);
}

/// Resumes damaged states, continues those that can be read, and returns their number.
fn resume_damaged(mutants: u64) -> u64 {
    let states = varied();
    let mut draw = Draw::new(18);
    let mut read = 0;
    for mutant in 0..mutants {
        let mut payload = states[draw.below(states.len())][HEADER_BYTES..].to_vec();
        for _ in 0..=draw.below(3) {
            damage(&mut draw, &mut payload);
        }
        let bytes = sealed(&payload);
        read += u64::from(Checkpoint::from_bytes(&bytes).is_ok());
        let done = catch_unwind(|| feamoe_tests::fuzz::checkpoint(&bytes));
        assert!(done.is_ok(), "mutant {mutant}");
    }
    read
}

#[test]
fn damage_with_the_right_hash_never_panics() {
    let read = resume_damaged(3_000);
    assert!(read > 1_000, "{read}");
}

/// Takes 4 minutes: `cargo test --workspace --test all -- --ignored hostile_checkpoint::many`.
#[test]
#[ignore = "minutes"]
fn many_damaged_states_never_panic() {
    let read = resume_damaged(300_000);
    assert!(read > 100_000, "{read}");
}
