//! Promise: with labels that are late by N rows, each row is scored by a model that knows no label
//! from that row on, and is learned N rows later, in order. A run that stops anywhere resumes to
//! the same bits.

use std::collections::VecDeque;

use feamoe::demo::{LendingStream, SCHEMA, write_csv};
use feamoe::encoder::{Encoder, Example, Flips, Options as Encoding};
use feamoe::learner::{Growth, Learner, LearnerOptions, Prediction};
use feamoe::rows::{Buffer, Records, Source, Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::prequential::Prequential;
use feamoe::training::{Options, Trainer};
use feamoe_tests::command::{Folder, lending};

const ROWS: usize = 4_000;
const WARMUP: usize = 500;

fn schema() -> Schema {
    Schema::from_toml("lending.toml", SCHEMA).unwrap()
}

fn text_of(rows: usize) -> Vec<u8> {
    let mut text = Vec::new();
    write_csv(&mut text, LendingStream::new(11).take(rows)).unwrap();
    text
}

fn options(learner: LearnerOptions, delay: u32) -> Options {
    let encoder = Encoding { warmup: WARMUP, bins: 16 };
    Options { encoder, label_delay: delay, ..Options::new(learner.check().unwrap()) }
}

fn trained(learner: LearnerOptions, delay: u32, rows: usize) -> Trainer {
    let mut source = Records::from_reader("lending", std::io::Cursor::new(text_of(rows)), &schema().table).unwrap();
    let mut trainer = Trainer::new(source.columns(), schema(), &options(learner, delay)).unwrap();
    trainer.learn_all(&mut source).unwrap();
    trainer
}

fn bits(learner: &Learner) -> Vec<u32> {
    let weights = learner.weights();
    weights.bias.iter().chain(weights.rows).map(|weight| weight.to_bits()).collect()
}

/// Implements the delay by hand: rows, an encoder, a learner, and a queue of predictions. `first`
/// holds the predictions of the rows that the encoder is fitted on.
fn by_hand(learner: LearnerOptions, delay: usize, first: &[Prediction]) -> (Learner, Prequential) {
    let mut stream =
        Stream::from_reader("lending", std::io::Cursor::new(text_of(ROWS)), &schema(), Use::Learn).unwrap();
    let columns: Vec<usize> = (0..stream.columns().len()).collect();
    let mut all = Buffer::new(columns.len(), &columns, 1);
    all.fill(&mut stream, WARMUP).unwrap();
    let mut encoder = Encoder::fit(&all, stream.columns(), &schema(), &Encoding { warmup: WARMUP, bins: 16 }).unwrap();
    all.fill(&mut stream, ROWS).unwrap();
    let mut learner = Learner::new(learner.check().unwrap(), 1);
    let (mut measured, mut queue) = (Prequential::new(1_000), VecDeque::new());
    let (mut example, flips) = (Example::default(), Flips::default());
    for (number, row) in all.rows().enumerate() {
        encoder.encode(&row, &mut example).unwrap();
        queue.push_back(learner.score(&example, &flips));
        let Some(index) = number.checked_sub(delay) else { continue };
        let mut said = queue.pop_front().unwrap();
        if number >= WARMUP {
            said = *first.get(index).unwrap_or(&said);
        }
        encoder.learn_one(&all.row(number - delay).unwrap(), &mut example).unwrap();
        learner.learn_late(&example, &flips, Some(said));
        let said = first.get(index).unwrap_or(&said);
        measured.observe(example.label, said.probability, said.threshold, &example.groups);
    }
    (learner, measured)
}

#[test]
fn it_is_what_a_queue_by_hand_gives() {
    for delay in [1, 37, 499, 500, 501, 1_500] {
        let mut source = Records::from_reader("lending", std::io::Cursor::new(text_of(ROWS)), &schema().table).unwrap();
        let mut trainer = Trainer::new(source.columns(), schema(), &options(LearnerOptions::default(), delay)).unwrap();
        let mut said = Vec::new();
        while source.advance().unwrap() {
            said.extend(trainer.learn(&source.record()).unwrap());
        }
        let (learner, measured) = by_hand(LearnerOptions::default(), delay as usize, &said[..WARMUP]);
        assert!(bits(trainer.learner()) == bits(&learner), "{delay}");
        assert_eq!(trainer.learner().events().newest(), learner.events().newest(), "{delay}");
        assert_eq!(*trainer.prequential(), measured, "{delay}");
        assert_eq!((trainer.rows(), trainer.delay().waiting()), (ROWS as u64 - u64::from(delay), delay as usize));
    }
}

/// Without detectors, which see the scores at arrival, the model is that of the rows with known
/// labels.
#[test]
fn the_model_is_that_of_the_rows_whose_labels_are_known() {
    let plain = || LearnerOptions::default().growth(Growth { every: 300, ..Growth::NONE });
    for delay in [1, 250, 1_000] {
        let late = trained(plain(), delay, ROWS);
        let known = trained(plain(), 0, ROWS - delay as usize);
        assert!(bits(late.learner()) == bits(known.learner()), "{delay}");
        let lines = |trainer: &Trainer| trainer.reservoir().rows().map(|row| row.position.line).collect::<Vec<_>>();
        assert_eq!(lines(&late), lines(&known));
        // With delayed labels the measured loss is larger.
        let loss = |trainer: &Trainer| trainer.prequential().summary().total.log_loss;
        assert!(delay == 1 || loss(&late) > loss(&known), "{delay}: {} {}", loss(&late), loss(&known));
    }
}

/// The score of a row does not depend on labels that are not known yet.
#[test]
fn no_score_knows_a_late_label() {
    let delay = 200;
    let original = String::from_utf8(text_of(1_500)).unwrap();
    let turned: Vec<String> = original
        .lines()
        .enumerate()
        .map(|(number, line)| match (number > 1_000, line.strip_suffix("yes"), line.strip_suffix("no")) {
            (true, Some(row), _) => format!("{row}no"),
            (true, _, Some(row)) => format!("{row}yes"),
            _ => line.to_owned(),
        })
        .collect();
    let predictions = |text: String| {
        let mut source =
            Records::from_reader("rows", std::io::Cursor::new(text.into_bytes()), &schema().table).unwrap();
        let mut trainer = Trainer::new(source.columns(), schema(), &options(LearnerOptions::default(), delay)).unwrap();
        let mut all = Vec::new();
        while source.advance().unwrap() {
            all.extend(trainer.learn(&source.record()).unwrap());
        }
        all
    };
    let [known, turned] = [original, turned.join("\n")].map(predictions);
    let differs = known.iter().zip(&turned).position(|(a, b)| a != b).unwrap();
    // Row 1,001 is the first with another label, which is learned after row 1,201 is scored. The
    // averaged weights that score follow some rows later.
    let row = 1 + differs;
    assert!((1_202..1_250).contains(&row), "{row}");
}

fn train(folder: &Folder, data: &[&str], name: &str, options: &[&str]) {
    let (model, checkpoint) = (format!("{name}.feamoe"), format!("{name}.ckpt"));
    let fixed = ["train", "--schema", "lending.toml", "-o", &model, "--checkpoint", &checkpoint];
    let _ = folder.run(&[&fixed[..], data, options].concat()).done();
}

#[test]
fn a_run_resumes_with_the_rows_that_wait() {
    for (lengths, options) in [
        (&[3_000, 2_500, 700][..], &["--label-delay", "1000"][..]),
        (&[5_400, 300, 900], &["--label-delay", "600", "--fair", "spd=0.05", "--individual", "0.4"]),
        (&[6_000, 1_500], &["--label-delay", "777", "--threshold", "auto:balanced", "--class-weight", "balanced"]),
    ] {
        let folder = Folder::with_lending();
        let text = lending(7, lengths.iter().sum());
        let (header, rows) = text.split_once('\n').unwrap();
        let mut rows = rows.lines();
        let names: Vec<String> = (0..lengths.len()).map(|part| format!("{part}.csv")).collect();
        for (name, length) in names.iter().zip(lengths) {
            let rows: Vec<&str> = rows.by_ref().take(*length).collect();
            folder.write(name, format!("{header}\n{}\n", rows.join("\n")));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        train(&folder, &names, "whole", options);
        train(&folder, &names[..1], "parts", options);
        for name in &names[1..] {
            let _ =
                folder.run(&["update", "parts.ckpt", name, "-o", "parts.feamoe", "--checkpoint-every", "333"]).done();
        }
        for kind in ["feamoe", "ckpt"] {
            assert!(
                folder.read(&format!("whole.{kind}")) == folder.read(&format!("parts.{kind}")),
                "{options:?} {kind}"
            );
        }
    }
}

#[test]
fn the_delay_can_change_and_has_its_limits() {
    let folder = Folder::with_lending();
    train(&folder, &["lending.csv"], "run", &["--label-delay", "500"]);
    let update = |options: &[&str]| {
        let fixed = [
            "update",
            "run.ckpt",
            "lending.csv",
            "-o",
            "m.feamoe",
            "--again",
            "--format",
            "json",
            "--checkpoint",
            "next.ckpt",
        ];
        folder.run(&[&fixed[..], options].concat()).json()
    };
    for (options, rows, waiting) in
        [(&[][..], 5_500, 500), (&["--label-delay", "0"], 6_000, 0), (&["--label-delay", "2000"], 4_000, 2_000)]
    {
        let report = update(options);
        assert_eq!((report["rows"].as_u64(), report["waiting"].as_u64()), (Some(rows), Some(waiting)), "{options:?}");
    }
    let text = folder
        .run(&["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--label-delay", "500"])
        .done();
    assert!(text.starts_with("learned from 2500 rows (0 skipped, 500 waiting for their labels), seed 1, "), "{text}");
    let refusal = |options: &[&str]| {
        folder.refusal(&[&["train", "lending.csv", "--schema", "lending.toml", "-o", "m.feamoe"], options].concat())
    };
    assert!(refusal(&["--label-delay", "3000"]).contains("with a label delay of 3000 rows no label is known yet"));
    assert!(refusal(&["--label-delay", "10", "--epochs", "2"]).starts_with("--label-delay needs a run in one pass"));
    let source = Records::from_reader("lending", std::io::Cursor::new(text_of(10)), &schema().table).unwrap();
    let error = Trainer::new(source.columns(), schema(), &options(LearnerOptions::default(), 100_001)).err().unwrap();
    assert_eq!(error.to_string(), "found a label delay of 100001 rows, expected 0 to 100000");
}
