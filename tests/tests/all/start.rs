//! Promise: a stream is scored from its first row on, by a model of the rows before it. The final
//! model is that of plain training on all rows.

use feamoe::demo::{LendingStream, SCHEMA, write_csv};
use feamoe::encoder::{Encoder, Example, Flips, Kind, Options as Encoding};
use feamoe::learner::{FairBy, Growth, Learner, LearnerOptions, Prediction};
use feamoe::rows::{Buffer, Cell, Cells, Records, Source, Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::prequential::Prequential;
use feamoe::training::{Options, Trainer};
use feamoe_engine::fairness::Measure;
use feamoe_testkit::generate::Draw;

const TARGET: &str = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n";

fn options(learner: LearnerOptions, warmup: usize, label_delay: u32) -> Options {
    let encoder = Encoding { warmup, bins: 32 };
    Options { encoder, label_delay, ..Options::new(learner.check().unwrap()) }
}

fn trainer(columns: &[&str], schema: &str, options: &Options) -> Trainer {
    Trainer::new(columns, Schema::from_toml("s.toml", schema).unwrap(), options).unwrap()
}

fn lending(rows: usize) -> Records {
    let mut text = Vec::new();
    write_csv(&mut text, LendingStream::new(21).take(rows)).unwrap();
    let schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    Records::from_reader("lending", std::io::Cursor::new(text), &schema.table).unwrap()
}

fn lending_trainer(options: &Options) -> Trainer {
    let columns = lending(0).columns().to_vec();
    Trainer::new(&columns, Schema::from_toml("lending.toml", SCHEMA).unwrap(), options).unwrap()
}

/// Pushes rows of texts and returns the prediction of each.
fn push(trainer: &mut Trainer, rows: &[Vec<String>]) -> Vec<Prediction> {
    let mut cells = Cells::new(rows[0].len());
    let one = |(number, row): (usize, &Vec<String>)| {
        let row: Vec<Cell<'_>> =
            row.iter().map(|text| if text.is_empty() { Cell::Missing } else { Cell::Text(text.as_bytes()) }).collect();
        cells.set(&row);
        trainer.learn(&cells.record("pushed", number as u64 + 1)).unwrap().unwrap()
    };
    rows.iter().enumerate().map(one).collect()
}

fn bits(learner: &Learner) -> Vec<u32> {
    let weights = learner.weights();
    weights.bias.iter().chain(weights.rows).map(|weight| weight.to_bits()).collect()
}

/// Builds the model by hand: an encoder fitted on the first rows, and a learner that learns from
/// all rows.
fn by_hand(rows: usize, warmup: usize) -> Learner {
    let schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    let mut text = Vec::new();
    write_csv(&mut text, LendingStream::new(21).take(rows)).unwrap();
    let mut stream = Stream::from_reader("lending", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
    let kept: Vec<usize> = (0..stream.columns().len()).collect();
    let mut all = Buffer::new(kept.len(), &kept, 1);
    all.fill(&mut stream, warmup).unwrap();
    let encoding = Encoding { warmup, bins: 32 };
    let mut encoder = Encoder::fit(&all, stream.columns(), &schema, &encoding).unwrap();
    all.fill(&mut stream, rows).unwrap();
    let mut learner = Learner::new(LearnerOptions::default().check().unwrap(), 1);
    let (mut example, flips) = (Example::default(), Flips::default());
    for row in all.rows() {
        encoder.learn_one(&row, &mut example).unwrap();
        learner.learn_late(&example, &flips, None);
        encoder.follow().iter().for_each(|carry| learner.carry(carry));
    }
    learner
}

#[test]
fn the_start_leaves_no_trace_in_the_model() {
    for (rows, warmup) in [(2_500, 1_500), (2_500, 2_500), (700, 699), (400, 101), (300, 1)] {
        let mut trainer = lending_trainer(&options(LearnerOptions::default(), warmup, 0));
        trainer.learn_all(&mut lending(rows)).unwrap();
        assert!(bits(trainer.learner()) == bits(&by_hand(rows, warmup)), "{rows} {warmup}");
    }
}

/// Every row has a score, and these scores are measured in order, with any delay.
#[test]
fn every_row_is_scored_and_measured_from_the_first_on() {
    for (delay, rows) in [(0, 1_400), (0, 900), (1, 1_400), (150, 1_400), (150, 900), (1_100, 1_400)] {
        for learner in [LearnerOptions::default(), LearnerOptions::default().target(Measure::Spd, 0.05).individual(0.3)]
        {
            let mut trainer = lending_trainer(&options(learner, 1_000, delay));
            let (mut source, mut said) = (lending(rows), Vec::new());
            while source.advance().unwrap() {
                said.push(trainer.learn(&source.record()).unwrap().unwrap());
            }
            let known = rows - delay as usize;
            let mut total = 0.0;
            let (mut source, mut index) = (lending(rows), 0);
            let label = source.columns().len() - 1;
            while source.advance().unwrap() && index < known {
                let favourable = *source.record().text(label) == *b"yes";
                let p = f64::from(said[index].probability);
                total -= (if favourable { p } else { 1.0 - p }).ln();
                index += 1;
            }
            let measured = trainer.prequential().summary().total;
            assert_eq!(measured.rows, known as u64, "{delay} {rows}");
            let mean = total / known as f64;
            assert!((measured.log_loss - mean).abs() < 1e-5, "{delay} {rows}: {} {mean}", measured.log_loss);
        }
    }
}

/// Inverting the labels from some row on changes no score up to that row.
#[test]
fn no_score_knows_a_label_that_came_later() {
    let mut draw = Draw::new(5);
    for delay in [0_usize, 40] {
        for cut in [1_usize, 99, 100, 101, 399, 400, 777] {
            let row = |index: usize, turned: bool, x: usize| {
                let label = (x + index / 3) % 2 == 1;
                vec![x.to_string(), format!("l{}", x % 5), u8::from(label ^ turned).to_string()]
            };
            let xs: Vec<usize> = (0..900).map(|_| draw.below(40)).collect();
            let [plain, turned] = [false, true].map(|turns| {
                let rows: Vec<_> = xs.iter().enumerate().map(|(i, x)| row(i, turns && i >= cut, *x)).collect();
                let mut trainer =
                    trainer(&["x", "l", "y"], TARGET, &options(LearnerOptions::default(), 1_000, delay as u32));
                push(&mut trainer, &rows)
            });
            let same = plain.iter().zip(&turned).take_while(|(a, b)| a == b).count();
            assert!(same > cut + delay, "{delay} {cut}: {same}");
        }
    }
}

/// Storing and restoring the run before every row does not change the bytes.
#[test]
fn it_resumes_at_any_row_to_the_same_bytes() {
    for (learner, delay) in [
        (LearnerOptions::default(), 0),
        (LearnerOptions::default().target(Measure::Spd, 0.05).individual(0.4), 0),
        (LearnerOptions::default(), 130),
    ] {
        let options = options(learner, 450, delay);
        let mut whole = lending_trainer(&options);
        whole.learn_all(&mut lending(600)).unwrap();
        let whole = whole.checkpoint().to_bytes().unwrap();
        for every in [1, 7, 100] {
            let mut trainer = lending_trainer(&options);
            let mut source = lending(600);
            while source.advance().unwrap() {
                trainer.learn(&source.record()).unwrap();
                if source.record().position.number.is_multiple_of(every) {
                    trainer = Trainer::from_bytes(&trainer.checkpoint().to_bytes().unwrap()).unwrap();
                }
            }
            assert!(trainer.checkpoint().to_bytes().unwrap() == whole, "{delay} every {every}");
        }
    }
}

/// A change of the delay during the start neither loses nor repeats a row.
#[test]
fn the_delay_may_change_at_the_start() {
    for (before, after) in [(0, 200), (200, 0), (300, 50), (50, 2_000)] {
        let mut trainer = lending_trainer(&options(LearnerOptions::default(), 1_000, before));
        trainer.learn_all(&mut lending(600)).unwrap();
        let bytes = trainer.checkpoint().to_bytes().unwrap();
        let mut checkpoint = feamoe::training::checkpoint::Checkpoint::from_bytes(&bytes).unwrap();
        checkpoint.set_label_delay(after).unwrap();
        let mut trainer = Trainer::from_checkpoint(checkpoint).unwrap();
        trainer.learn_all(&mut lending(900)).unwrap();
        let known = (1_500 - u64::from(after).min(1_500)).max(600 - u64::from(before));
        assert_eq!(trainer.rows(), known, "{before} {after}");
        assert_eq!(trainer.prequential().summary().total.rows, known, "{before} {after}");
        assert_eq!(trainer.reservoir().rows().count() as u64, known.min(1_000), "{before} {after}");
        assert_eq!(trainer.delay().waiting() as u64, 1_500 - known);
    }
}

/// The type of a column is decided by all of the first rows, not by the earliest.
#[test]
fn the_kind_of_a_column_is_settled_by_all_of_the_first_rows() {
    let mut draw = Draw::new(8);
    let rows: Vec<Vec<String>> = (0..1_200)
        .map(|i| {
            let x = draw.below(1_000);
            let late = i >= 300;
            vec![
                // Numbers first and codes later; nothing first and numbers later; constant first;
                // always empty; always a number.
                if late { format!("code {}", x % 7) } else { (x % 7).to_string() },
                if late { x.to_string() } else { String::new() },
                if late { x.to_string() } else { "5".into() },
                String::new(),
                x.to_string(),
                u8::from(x > 500).to_string(),
            ]
        })
        .collect();
    let columns = ["codes", "numbers", "constant", "empty", "x", "y"];
    let mut trainer = trainer(&columns, TARGET, &options(LearnerOptions::default(), 1_000, 0));
    let said = push(&mut trainer, &rows);
    let encoder = trainer.encoder().unwrap();
    let is_number = |index: usize| matches!(encoder.features()[index].kind(), Kind::Number(_));
    assert_eq!([0, 1, 2, 3, 4].map(is_number), [false, true, true, false, true]);
    let bins = |index: usize| match encoder.features()[index].kind() {
        Kind::Number(number) => number.n_bins(),
        Kind::Category(_) => 0,
    };
    assert!(bins(2) >= 16, "{}", bins(2));
    let right = |from: usize, to: usize| {
        let is_right = |i: &usize| said[*i].decision == (rows[*i][5] == "1");
        (from..to).filter(is_right).count() as f64 / (to - from) as f64
    };
    assert!(right(100, 300) > 0.8 && right(300, 400) > 0.6 && right(500, 1_200) > 0.9);
}

/// The error is raised when the types are decided, with the usual message.
#[test]
fn a_cell_that_is_no_number_is_named_when_the_columns_are_settled() {
    let row = |i: usize| vec![if i == 150 { "old".into() } else { (i % 90).to_string() }, (i % 2).to_string()];
    let rows: Vec<Vec<String>> = (0..500).map(row).collect();
    let mut trainer = trainer(&["age", "y"], TARGET, &options(LearnerOptions::default(), 500, 0));
    assert_eq!(push(&mut trainer, &rows[..499]).len(), 499);
    let mut cells = Cells::new(2);
    cells.set(&[Cell::Text(b"3"), Cell::Text(b"1")]);
    let error = trainer.learn(&cells.record("pushed", 500)).unwrap_err().to_string();
    assert!(error.contains("column \"age\": found \"old\""), "{error}");
}

/// Rows sorted by outcome or by a column say little at first. Nothing breaks, and the scores
/// recover with later rows.
#[test]
fn sorted_rows_do_no_lasting_harm() {
    let mut draw = Draw::new(9);
    for by_outcome in [true, false] {
        let mut drawn: Vec<(usize, bool)> = (0..1_500)
            .map(|_| {
                let x = draw.below(100);
                (x, draw.below(100) < x)
            })
            .collect();
        let sorted = &mut drawn[..600];
        sorted.sort_by_key(|(x, y)| if by_outcome { usize::from(*y) } else { *x });
        let rows: Vec<Vec<String>> = drawn.iter().map(|(x, y)| vec![x.to_string(), u8::from(*y).to_string()]).collect();
        let mut trainer = trainer(&["x", "y"], TARGET, &options(LearnerOptions::default(), 2_000, 0));
        let said = push(&mut trainer, &rows);
        assert!(said.iter().all(|one| one.probability > 0.0 && one.probability < 1.0));
        let mut tail = Prequential::new(1_000);
        let measured = said.iter().zip(&drawn).skip(900);
        measured.for_each(|(one, (_, y))| tail.observe(*y, one.probability, one.threshold, &[]));
        let accuracy = tail.summary().total.accuracy;
        // The best possible accuracy is 0.75.
        assert!(accuracy > 0.68, "{by_outcome}: {accuracy}");
    }
}

/// With fewer rows than the first draft needs, the score is the share of favourable labels so far,
/// counting one more of each outcome.
#[test]
fn before_the_first_draft_it_is_the_base_rate() {
    let rows: Vec<Vec<String>> = (0..60).map(|i| vec![i.to_string(), u8::from(i % 3 == 0).to_string()]).collect();
    let mut trainer = trainer(&["x", "y"], TARGET, &Options::new(LearnerOptions::default().check().unwrap()));
    let mut favourable = 0.0;
    for (index, one) in push(&mut trainer, &rows).iter().enumerate() {
        let expected = (favourable + 1.0) / (index as f32 + 2.0);
        assert_eq!((one.probability, one.exported, one.decision), (expected, expected, expected >= 0.5));
        favourable += f32::from(u8::from(index % 3 == 0));
    }
    assert!(trainer.model().is_ok());
}

/// A requested score equals the one that the next record gets, and changes nothing.
#[test]
fn a_score_asked_for_is_that_of_the_next_record() {
    // A new expert that is due is added before the next record, not by a request for a score; so
    // growth is off.
    let plain = LearnerOptions::default().growth(Growth::NONE);
    let targets = plain.clone().target(Measure::Spd, 0.05);
    for learner in [targets.clone().individual(0.3), targets.fair_by(FairBy::Threshold), plain] {
        for delay in [0, 130] {
            let [mut asked, mut plain] =
                std::array::from_fn(|_| lending_trainer(&options(learner.clone(), 700, delay)));
            plain.learn_all(&mut lending(2_000)).unwrap();
            let mut source = lending(2_000);
            while source.advance().unwrap() {
                let record = source.record();
                let scored = asked.score(&record).unwrap();
                assert_eq!(asked.score(&record).unwrap(), scored);
                assert_eq!(asked.learn(&record).unwrap(), Some(scored), "{}", record.position.number);
            }
            assert!(asked.checkpoint().to_bytes().unwrap() == plain.checkpoint().to_bytes().unwrap());
        }
    }
}
