//! Promise: sample weights have their usual meaning. A row of weight 2 counts as two rows, a row of
//! weight 0 as none, and only ratios matter. A run resumes with its weights to the same bits.

use feamoe::demo::{LendingStream, SCHEMA, write_csv};
use feamoe::learner::{Growth, LearnerOptions};
use feamoe::rows::{Records, Source};
use feamoe::schema::Schema;
use feamoe::training::{Options, Trainer};
use feamoe_tests::command::Folder;
use feamoe_tests::without_card;

/// Rows of the demo's stream before its drift, with a column `w` that depends on the number of the
/// row and on whether its outcome is favourable.
fn weighed(rows: usize, weight: impl Fn(usize, bool) -> String) -> String {
    let mut text = Vec::new();
    write_csv(&mut text, LendingStream::new(3).take(rows)).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().enumerate().map(|(number, line)| match number {
        0 => format!("{line},w\n"),
        _ => format!("{line},{}\n", weight(number, line.ends_with(",yes"))),
    });
    lines.collect()
}

/// The same rows, each repeated according to its weight, all with weight 1. Copies come 500 rows
/// later, so that the stream stays mixed.
fn repeated(text: &str) -> String {
    let (header, rows) = text.split_once('\n').unwrap();
    let mut copies = Vec::new();
    for (number, line) in rows.lines().enumerate() {
        let (row, weight) = line.rsplit_once(',').unwrap();
        let weight: usize = weight.parse().unwrap();
        copies.extend((0..weight).map(|copy| (number + 500 * copy, format!("{row},1\n"))));
    }
    copies.sort_by_key(|(place, _)| *place);
    format!("{header}\n{}", copies.into_iter().map(|(_, row)| row).collect::<String>())
}

fn records(text: &str) -> Records {
    let schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    Records::from_reader("lending", std::io::Cursor::new(text.as_bytes().to_vec()), &schema.table).unwrap()
}

fn trained(text: &str, weight: Option<&str>) -> Trainer {
    trained_with(LearnerOptions::default().experts(4), text, weight)
}

fn trained_with(learner: LearnerOptions, text: &str, weight: Option<&str>) -> Trainer {
    let mut options = Options::new(learner.check().unwrap());
    options.weight = weight.map(str::to_owned);
    let mut source = records(text);
    let mut schema = Schema::from_toml("lending.toml", SCHEMA).unwrap();
    if weight.is_none() {
        schema.features.drop.push("w".into());
    }
    let mut trainer = Trainer::new(source.columns(), schema, &options).unwrap();
    trainer.learn_all(&mut source).unwrap();
    trainer
}

/// Returns the exported weights, and the rows in the sample for the background.
fn learned(trainer: &Trainer) -> (Vec<u32>, Vec<u64>) {
    let weights = trainer.learner().weights();
    let bits = weights.bias.iter().chain(weights.rows).map(|weight| weight.to_bits()).collect();
    (bits, trainer.reservoir().rows().map(|row| row.position.line).collect())
}

/// Returns the scores of rows by a trainer's exported model.
fn scores(trainer: &Trainer, text: &str) -> Vec<f32> {
    use feamoe::encoder::Example;
    use feamoe::rows::{Stream, Use};
    let mut stream =
        Stream::from_reader("rows", std::io::Cursor::new(text.as_bytes().to_vec()), trainer.schema(), Use::Learn);
    let stream = stream.as_mut().unwrap();
    let (mut example, mut scores) = (Example::default(), Vec::new());
    while let Some(row) = stream.next_row().unwrap() {
        trainer.encoder().unwrap().encode(&row, &mut example).unwrap();
        scores.push(trainer.learner().predict_exported(&example.terms, &example.groups));
    }
    scores
}

fn mean_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

#[test]
fn equal_weights_of_any_size_change_nothing() {
    let plain = learned(&trained(&weighed(7_000, |_, _| "1".into()), None));
    for weight in ["1", "226802", "0.125", "1e-300"] {
        assert!(learned(&trained(&weighed(7_000, |_, _| weight.into()), Some("w"))) == plain, "{weight}");
    }
}

#[test]
fn a_row_of_weight_0_is_counted_and_is_as_if_it_were_absent() {
    let text = weighed(9_000, |number, _| if number % 3 == 0 { "0" } else { "1.5" }.into());
    let kept: String = text.lines().filter(|line| !line.ends_with(",0")).map(|line| format!("{line}\n")).collect();
    let [all, kept] = [text, kept].map(|text| trained(&text, Some("w")));
    assert!(learned(&all).0 == learned(&kept).0);
    assert_eq!(all.prequential(), kept.prequential());
    assert_eq!((all.counts().read, all.counts().weightless, all.rows()), (9_000, 3_000, 6_000));
    assert_eq!(all.counts().positive, kept.counts().positive);
}

/// Weights that depend on the outcome change the best model. The model of the weighted rows is near
/// that of the repeated rows, which is far from that of the rows without weights. The remaining
/// difference is noise: the repeated rows take twice as many steps.
#[test]
fn integer_weights_are_near_repeated_rows() {
    let one = || LearnerOptions::default().growth(Growth::NONE);
    let text = weighed(12_000, |number, yes| if yes { 3 } else { 1 + number % 2 }.to_string());
    let fresh = weighed(14_000, |number, _| if number > 12_000 { "1" } else { "0" }.into());
    let scored = |text: &str, weight| scores(&trained_with(one(), text, weight), &fresh);
    let (plain, by_weight, by_rows) = (scored(&text, None), scored(&text, Some("w")), scored(&repeated(&text), None));
    let (near, far) = (mean_difference(&by_weight, &by_rows), mean_difference(&plain, &by_rows));
    let mean = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
    let [plain, by_weight, by_rows] = [mean(&plain), mean(&by_weight), mean(&by_rows)];
    eprintln!(
        "difference {near}, without weights {far}; mean score {by_weight} for {by_rows}, without weights {plain}"
    );
    assert!(near < 0.04 && far > 2.0 * near, "{near} {far}");
    assert!((by_weight - by_rows).abs() < 0.02 && by_rows - plain > 0.06, "{by_weight} {by_rows} {plain}");
}

#[test]
fn a_weight_that_is_none_is_refused_with_its_place() {
    for (bad, found) in
        [("", ""), ("NA", "NA"), ("-1", "-1"), ("heavy", "heavy"), ("inf", "inf"), ("nan", "nan"), ("1e999", "1e999")]
    {
        let folder = Folder::with_lending();
        folder.write("w.csv", weighed(300, |number, _| if number == 200 { bad } else { "2" }.into()));
        let message =
            folder.refusal(&["train", "w.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--weight", "w"]);
        let expected =
            format!("w.csv:201: column \"w\": found {found:?}, expected a sample weight: a number of at least 0");
        assert_eq!(message, expected);
    }
}

#[test]
fn a_column_of_weights_is_a_column_of_its_own() {
    let folder = Folder::with_lending();
    folder.write("w.csv", weighed(300, |_, _| "2".into()));
    folder.write("none.csv", weighed(300, |_, _| "0".into()));
    let refusal = |data: &str, column: &str| {
        folder.refusal(&["train", data, "--schema", "lending.toml", "-o", "m.feamoe", "--weight", column])
    };
    assert!(refusal("w.csv", "v").starts_with("w.csv: no column \"v\", which weighing the rows needs"));
    let own = "too; the weights need a column of their own";
    assert_eq!(
        refusal("w.csv", "approved"),
        format!("column \"approved\" holds the sample weights, but target.column names it {own}")
    );
    assert_eq!(
        refusal("w.csv", "sex"),
        format!("column \"sex\" holds the sample weights, but a [[protected]] table names it {own}")
    );
    assert_eq!(refusal("none.csv", "w"), "none.csv: column \"w\": all 300 sample weights are 0, expected some above");
    // A feature that is not named in the schema can become the weight; one that the schema names is
    // refused.
    let _ = folder.run(&["train", "w.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--weight", "w"]).done();
    let _ = folder.run(&["score", "m.feamoe", "lending.csv", "-o", "s.csv"]).done();
}

/// `update` knows the column of weights from the run, and refuses another one that is a feature.
#[test]
fn a_run_resumes_with_its_weights() {
    let folder = Folder::with_lending();
    let text = weighed(8_000, |number, yes| format!("{}", if yes { 2 } else { number % 4 }));
    let (header, rows) = text.split_once('\n').unwrap();
    let middle = rows.match_indices('\n').nth(5_500).unwrap().0 + 1;
    folder.write("0.csv", format!("{header}\n{}", &rows[..middle]));
    folder.write("1.csv", format!("{header}\n{}", &rows[middle..]));
    let train = |data: &[&str], name: &str, options: &[&str]| {
        let (model, checkpoint) = (format!("{name}.feamoe"), format!("{name}.ckpt"));
        let fixed = ["train", "--schema", "lending.toml", "-o", &model, "--checkpoint", &checkpoint];
        let _ = folder.run(&[&fixed[..], data, options].concat()).done();
    };
    for options in [&["--weight", "w"][..], &["--weight", "w", "--fair", "spd=0.05"]] {
        train(&["0.csv", "1.csv"], "whole", options);
        train(&["0.csv"], "parts", options);
        let _ = folder.run(&["update", "parts.ckpt", "1.csv", "-o", "parts.feamoe", "--weight", "w"]).done();
        for kind in ["feamoe", "ckpt"] {
            assert!(
                folder.read(&format!("whole.{kind}")) == folder.read(&format!("parts.{kind}")),
                "{options:?} {kind}"
            );
        }
    }
    train(&["0.csv"], "parts", &["--weight", "w"]);
    let without: String = text.lines().map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0)).collect();
    folder.write("without.csv", without);
    assert!(folder.refusal(&["update", "parts.ckpt", "without.csv", "-o", "m.feamoe"]).contains("\"w\""));
    let message = folder.refusal(&["update", "parts.ckpt", "1.csv", "-o", "m.feamoe", "--weight", "region"]);
    assert_eq!(
        message,
        "column \"region\" is a feature of the run so far, so it cannot hold the sample weights; train again with it as weights"
    );
    // With several passes the weights apply in each.
    let _ = folder
        .run(&["train", "0.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--weight", "w", "--epochs", "2"])
        .done();
    let passes = folder.read("m.feamoe");
    let _ = folder
        .run(&[
            "train",
            "0.csv",
            "--schema",
            "lending.toml",
            "-o",
            "n.feamoe",
            "--weight",
            "w",
            "--epochs",
            "2",
            "--shuffle",
        ])
        .done();
    assert!(without_card(&passes) != without_card(&folder.read("n.feamoe")));
}

#[test]
fn the_report_counts_rows_without_weight() {
    let folder = Folder::with_lending();
    folder.write("w.csv", weighed(600, |number, _| if number % 6 == 0 { "0" } else { "1" }.into()));
    let fixed = ["train", "w.csv", "--schema", "lending.toml", "-o", "m.feamoe", "--weight", "w"];
    let text = folder.run(&fixed).done();
    assert!(text.starts_with("learned from 500 rows (0 skipped, 100 with weight 0), seed 1, "), "{text}");
    let report = folder.run(&[&fixed[..], &["--format", "json"]].concat()).json();
    assert_eq!((report["rows"].as_u64(), report["weightless"].as_u64()), (Some(500), Some(100)));
    assert_eq!(report["prequential"]["rows"].as_u64(), Some(500));
    let card = folder.run(&["inspect", "m.feamoe", "--format", "json"]).json();
    assert_eq!(card["card"]["options"]["weight"], "w");
}
