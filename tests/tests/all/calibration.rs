//! Promise: the calibrated probability follows its section in any model, and agrees with the
//! outcomes in each group. No decision depends on it.

use feamoe::model::{HostModel, Width, device_copy, quantize};
use feamoe_engine::format::{Blob, MOST_CALIBRATION};
use feamoe_engine::{Model, PredictError};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Draw, EXPERTS, FEATURES, Recipe, fill, records};
use feamoe_testkit::load;
use feamoe_testkit::reference::Reference;
use feamoe_tests::aligned;
use feamoe_tests::command::Folder;
use serde_json::Value;

fn drawn(seed: u64, largest: f32) -> Content {
    let mut content = Recipe::any(seed).content(seed);
    let rows = content.features.iter().map(|feature| feature.kind.rows() as usize).sum::<usize>();
    let mut draw = Draw::new(seed ^ 0xca1b);
    content.calibration = (0..rows + 2).map(|_| draw.between(-largest, largest)).collect();
    content
}

/// Returns a model whose single expert has a lane for the sum over a record's terms, as the
/// reference for that sum.
fn sum(content: &Content) -> Content {
    let row = |number: f32| [0.0, number, 0.0, 0.0];
    Content {
        experts: 1,
        bias: row(content.calibration[1]).to_vec(),
        rows: content.calibration[2..].iter().flat_map(|number| row(*number)).collect(),
        ..content.clone()
    }
}

#[test]
fn it_is_the_formula_of_its_section() {
    let mut worst = 0.0_f64;
    for seed in 0..400 {
        let content = drawn(seed, 1.0);
        let (bytes, sums) = (content.to_bytes(true), sum(&content));
        let model: Model<FEATURES, EXPERTS> = load(bytes.as_slice());
        assert!(model.is_calibrated());
        let (reference, mut record) = (Reference::new(&sums), model.record());
        for cells in records(&content, seed, 25) {
            fill(&mut record, &cells).unwrap();
            let score = model.score(&record).unwrap();
            let p = f64::from(score.probability).clamp(2.0_f64.powi(-24), 1.0 - 2.0_f64.powi(-24));
            let z = reference.logits(&cells)[1] + f64::from(content.calibration[0]) * (p / (1.0 - p)).log2();
            let expected = 1.0 / (1.0 + (-z).exp2());
            let found = f64::from(model.calibrated(&record, &score).unwrap());
            worst = worst.max((found - expected).abs());
            assert_eq!(score.decision, score.probability >= model.threshold());
        }
    }
    assert!(worst < 2e-5, "{worst}");
}

/// The scale of a linear weight row is limited only by f32.
#[test]
fn the_largest_numbers_give_a_probability() {
    for seed in 0..200 {
        let content = drawn(seed, MOST_CALIBRATION);
        let bytes = content.to_bytes(false);
        let model: Model<FEATURES, EXPERTS> = load(bytes.as_slice());
        let mut record = model.record();
        for cells in records(&content, seed, 25) {
            fill(&mut record, &cells).unwrap();
            let score = model.score(&record).unwrap();
            assert!((0.0..=1.0).contains(&model.calibrated(&record, &score).unwrap()));
        }
    }
}

#[test]
fn a_model_without_one_and_a_record_of_another_model() {
    let content = drawn(3, 1.0);
    let plain = Content { calibration: Vec::new(), ..content.clone() };
    let (bytes, plain) = (content.to_bytes(true), plain.to_bytes(true));
    let [model, plain]: [Model<FEATURES, EXPERTS>; 2] = [load(bytes.as_slice()), load(plain.as_slice())];
    assert!(!plain.is_calibrated());
    let (record, other) = (model.record(), plain.record());
    let score = model.score(&record).unwrap();
    assert_eq!(plain.score(&other).unwrap(), score, "the score does not know of it");
    assert_eq!(plain.calibrated(&other, &score), Ok(score.probability));
    assert_eq!(model.calibrated(&other, &score), Err(PredictError::OtherModel));
}

/// A copy for a device keeps the calibration; integer weights do not use it.
#[test]
fn copies_keep_it_and_integer_weights_do_not() {
    let content = Content { background: Vec::new(), ..drawn(5, 1.0) };
    let bytes = aligned(&content.to_bytes(true));
    let copy = device_copy(&bytes, false, 0).unwrap();
    assert!(HostModel::load(copy.as_slice()).unwrap().is_calibrated());
    assert_eq!(Content::read(copy.as_slice()).calibration, content.calibration);
    let integers = quantize(&bytes, Width::I16).unwrap();
    let [float, integer] = [&copy, &integers].map(|blob| Blob::new(blob.as_slice()).unwrap().bytes().len());
    assert!(integer < float);
}

/// Rows of two numbers and a group. The base rates of the groups differ widely.
fn rows(seed: u64, count: usize) -> String {
    let mut draw = Draw::new(seed);
    let mut text = String::from("u,v,g,y\n");
    for _ in 0..count {
        let g = draw.one_of(&["a", "a", "b"]);
        // `u` depends on the group and carries most of its effect.
        let u = draw.between(-1.0, 1.0) + if g == "a" { 0.4 } else { -0.4 };
        let v = draw.between(-1.0, 1.0);
        let log_odds = 3.0 * u + 2.0 * v + if g == "a" { 0.3 } else { -0.5 };
        let y = draw.between(0.0, 1.0) < 1.0 / (1.0 + (-log_odds).exp());
        text += &format!("{u:.4},{v:.4},{g},{}\n", u8::from(y));
    }
    text
}

fn evaluated(folder: &Folder, model: &str) -> Value {
    folder.run(&["evaluate", model, "test.csv", "--schema", "s.toml", "--no-recourse", "--format", "json"]).json()
}

fn worst(report: &Value) -> f64 {
    let groups = report["groups"].as_array().unwrap();
    groups.iter().map(|group| group["calibration_error"].as_f64().unwrap()).fold(0.0, f64::max)
}

#[test]
fn fair_decisions_leave_honest_probabilities() {
    let folder = Folder::new();
    folder.write("train.csv", rows(1, 24_000));
    folder.write("test.csv", rows(2, 12_000));
    for as_feature in [true, false] {
        let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n[[protected]]\ncolumn = \"g\"\nprivileged = [\"a\"]\n";
        folder.write("s.toml", format!("{schema}as_feature = {as_feature}\n"));
        let train = |out: &str, more: &[&str]| {
            let _ = folder.run(&[&["train", "train.csv", "--schema", "s.toml", "-o", out], more].concat()).done();
            evaluated(&folder, out)
        };
        let unconstrained = train("plain.feamoe", &[]);
        for more in [&["--fair", "spd=0.05"][..], &["--fair", "spd=0.05", "--epochs", "3", "--shuffle"]] {
            let fair = train("m.feamoe", more);
            let gap = fair["fairness"][0]["spd"].as_f64().unwrap();
            assert!(gap.abs() < 0.08 && unconstrained["fairness"][0]["spd"].as_f64().unwrap() < -0.2, "{gap}");
            // The scores themselves have a larger error by group.
            let scored = folder.run(&["score", "m.feamoe", "test.csv", "--schema", "s.toml"]).done();
            assert!(scored.starts_with("row,probability,decision,score,notes\n"));
            let (mut of_score, mut of_probability) = ([0.0_f64; 2], [0.0_f64; 2]);
            let text = rows(2, 12_000);
            for (line, row) in scored.lines().zip(text.lines()).skip(1) {
                let fields: Vec<&str> = line.split(',').collect();
                let [probability, score]: [f64; 2] = [1, 3].map(|index| fields[index].parse().unwrap());
                assert_eq!(fields[2] == "1", score >= 0.5, "{line}");
                let cells: Vec<&str> = row.split(',').collect();
                let (group, outcome) = (usize::from(cells[2] == "b"), f64::from(u8::from(cells[3] == "1")));
                of_score[group] += (score - outcome) / 12_000.0;
                of_probability[group] += (probability - outcome) / 12_000.0;
            }
            let off = |bias: [f64; 2]| bias[0].abs().max(bias[1].abs());
            assert!(off(of_score) > 0.02, "{of_score:?}");
            // If the group is not a feature, `u` partly replaces it.
            let [bias, error] = if as_feature { [0.008, 0.045] } else { [0.03, 0.08] };
            assert!(off(of_probability) < bias && worst(&fair) < error, "{of_probability:?} {}", worst(&fair));
            let lost = fair["log_loss"].as_f64().unwrap() - unconstrained["log_loss"].as_f64().unwrap();
            assert!(lost < 0.01, "{lost}");
            let bins = |report: &Value| -> Vec<[u64; 2]> {
                let bins = report["reliability"].as_array().unwrap().iter();
                bins.map(|bin| ["rows", "positives"].map(|key| bin[key].as_u64().unwrap())).collect()
            };
            let total: u64 = bins(&fair).iter().map(|[rows, _]| rows).sum();
            let by_group: u64 = fair["groups"].as_array().unwrap().iter().flat_map(bins).map(|[rows, _]| rows).sum();
            assert_eq!([total, by_group], [12_000; 2]);
        }
        let scored = folder.run(&["score", "plain.feamoe", "test.csv", "--schema", "s.toml"]).done();
        assert!(scored.starts_with("row,probability,decision,notes\n"), "without a target there is one probability");
    }
}
