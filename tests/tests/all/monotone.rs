//! Promise: no score ever moves against the direction that `features.monotone` gives for a column.
//! This holds for any data and any way of training, for values inside and outside the range, for
//! floats and integers, and before and after experts are merged.

use std::fmt::Write as _;

use feamoe::model::{AlignedBytes, AnyModel, HostIntegerModel, HostModel, Width, quantize};
use feamoe_engine::format::{Blob, Weights};
use feamoe_engine::schema::Kind;
use feamoe_engine::{FeatureIndex, Value};
use feamoe_tests::command::Folder;
use serde_json::Value as Json;

/// The directions of `x` and `w`.
const MONOTONE: &str = "monotone = { x = \"up\", w = \"down\" }\n";
/// By how much calibrated probabilities may move in the wrong direction. They are computed from
/// scores with two logarithms, whose rounding need not keep the order.
const CALIBRATED: f32 = 1e-6;
const ROWS: u32 = 6_000;

/// Pseudorandom numbers: SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) % count
    }

    fn uniform(&mut self) -> f64 {
        self.below(1 << 32) as f64 / f64::from(u32::MAX)
    }
}

fn schema(more: &str) -> String {
    format!(
        "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n\
         [[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\nas_feature = true\n\
         [features]\nlog1p = [\"w\"]\ncategorical = [\"s\"]\n{more}"
    )
}

/// A stream in which the label goes up and down with `x`, more strongly in group `f` and where `z`
/// is large, and in the wrong direction with `w` for half of the levels of `k`. Some cells are
/// missing. `moved` is added to `x` in the second half.
fn stream(seed: u64, rows: u32, moved: f64) -> String {
    let mut random = Random(seed);
    (0..rows).fold("x,w,z,k,s,y\n".to_owned(), |mut text, row| {
        let [x, z] = [6.0 * random.uniform() - 3.0, 4.0 * random.uniform() - 2.0];
        let w = 1_000.0 * random.uniform() * random.uniform() * random.uniform();
        let (k, s) = (random.below(6), if random.below(3) == 0 { "f" } else { "m" });
        let wave = libm::sin(2.0 * x) * if s == "f" { 2.5 } else { 1.0 } * if z > 0.5 { -1.5 } else { 1.0 };
        let log_odds = wave + 0.3 * x + libm::log1p(w) * if k % 2 == 0 { 0.5 } else { -0.4 } + 0.5 * z - 0.6;
        let label = u8::from(random.uniform() < 1.0 / (1.0 + libm::exp(-log_odds)));
        let shift = if 2 * row > rows { moved } else { 0.0 };
        let x = if random.below(20) == 0 { String::new() } else { format!("{:.2}", x + shift) };
        let w = if random.below(30) == 0 { String::new() } else { format!("{w:.0}") };
        let _ = writeln!(text, "{x},{w},{z:.3},k{k},{s},{label}");
        text
    })
}

fn folder(seed: u64, schema: &str) -> Folder {
    let folder = Folder::new();
    folder.write("s.toml", schema);
    folder.write("s.csv", stream(seed, ROWS, 0.0));
    folder
}

fn train(folder: &Folder, options: &[&str]) -> AlignedBytes {
    let train = ["train", "s.csv", "--schema", "s.toml", "-o", "m.feamoe", "--background", "50"];
    let _ = folder.run(&[&train, options].concat()).well();
    AlignedBytes::new(&folder.read("m.feamoe"))
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Found {
    /// Pairs of neighbouring values between which the score moved in the right direction.
    right: u64,
    /// Pairs between which it moved in the wrong direction.
    wrong: u64,
    /// The same for calibrated probabilities, if the change exceeds rounding.
    wrong_calibrated: u64,
}

/// Sweeps the value of a number over a grid, for records whose other values are random, including
/// missing and unseen ones.
fn sweep(blob: &AlignedBytes, name: &str, sign: f32, records: u32) -> Found {
    match Blob::new(blob.as_slice()).unwrap().weights() {
        Weights::F32(_) => {
            let model = HostModel::load(blob.as_slice()).unwrap();
            sweep_any(AnyModel::Float(&model), &edges(&model, name), name, sign, records)
        }
        _ => {
            let model = HostIntegerModel::load(blob.as_slice()).unwrap();
            sweep_any(AnyModel::Integer { model: &model, floats: None }, &[], name, sign, records)
        }
    }
}

fn edges(model: &HostModel<'_>, name: &str) -> Vec<f32> {
    let index = (0..).find(|index| model.schema().feature_name(*index) == Some(name)).unwrap();
    model.edges(FeatureIndex(index)).to_vec()
}

fn sweep_any(model: AnyModel<'_>, edges: &[f32], name: &str, sign: f32, records: u32) -> Found {
    let features = model.schema().features();
    let swept = (0..features.len()).find(|index| model.schema().feature_name(*index) == Some(name)).unwrap();
    let range = |index: usize| match features[index].kind() {
        Kind::Number { low, high, .. } => Some([low, high]),
        Kind::Category { .. } => None,
    };
    let [low, high] = range(swept).unwrap();
    let span = (high - low).max(1.0);
    let even = (0..=300_u16).map(|step| low - 0.5 * span + 2.0 * span * f32::from(step) / 300.0);
    let ends = [f32::NEG_INFINITY, f32::MIN, low, high, f32::MAX, f32::INFINITY];
    let special = edges.iter().copied().chain(ends).flat_map(|edge| [edge.next_down(), edge, edge.next_up()]);
    let mut grid: Vec<f32> = even.chain(special).filter(|value| !value.is_nan()).collect();
    grid.sort_unstable_by(f32::total_cmp);

    let (mut random, mut found, mut record) = (Random(77), Found::default(), model.record());
    for _ in 0..records {
        record.clear();
        for index in (0..features.len()).filter(|index| *index != swept) {
            let value = match (random.below(12), features[index].kind()) {
                (0, _) => Value::Missing,
                (1, Kind::Category { .. }) => Value::Unseen,
                (_, Kind::Category { levels }) => Value::Level(random.below(levels.max(1).into()) as u16),
                (_, Kind::Number { low, high, .. }) => {
                    Value::Number(low + (high - low) * (1.4 * random.uniform() - 0.2) as f32)
                }
            };
            let _ = record.set_value(FeatureIndex(index), value).unwrap();
        }
        let mut last: Option<[f32; 2]> = None;
        for x in &grid {
            let _ = record.set_value(FeatureIndex(swept), Value::Number(*x)).unwrap();
            let score = model.score(&record).unwrap();
            let both = [score.probability, model.calibrated(&record, &score).unwrap()];
            if let Some([before, calibrated]) = last {
                found.right += u64::from(sign * both[0] > sign * before);
                found.wrong += u64::from(sign * both[0] < sign * before);
                found.wrong_calibrated += u64::from(sign * (both[1] - calibrated) < -CALIBRATED);
            }
            last = Some(both);
        }
    }
    found
}

/// Asserts that a model is monotone in both columns, and that its scores depend on them.
fn check(blob: &AlignedBytes, what: &str) {
    let mut right = 0;
    for (name, sign) in [("x", 1.0), ("w", -1.0)] {
        let found = sweep(blob, name, sign, 150);
        assert_eq!((found.wrong, found.wrong_calibrated), (0, 0), "{what}: {name}: {found:?}");
        right += found.right;
    }
    assert!(right > 100, "{what}: the score hardly depends on the columns: {right}");
}

/// Checks a float model, its integer copies, and its copies with fewer experts.
fn check_all(folder: &Folder, blob: &AlignedBytes, what: &str) {
    check(blob, what);
    for width in [Width::I16, Width::I8] {
        check(&quantize(blob, width).unwrap(), &format!("{what}, {} bits", width.bits()));
    }
    let experts = HostModel::load(blob.as_slice()).unwrap().experts();
    for fewer in [1, 2, experts - 1] {
        if (1..experts).contains(&fewer) {
            folder.write("whole.feamoe", blob.as_slice());
            let fewer = fewer.to_string();
            let export = ["export", "whole.feamoe", "-o", "fewer.feamoe", "--experts", &fewer, "--tolerance", "1"];
            let _ = folder.run(&export).well();
            check(&AlignedBytes::new(&folder.read("fewer.feamoe")), &format!("{what}, {fewer} experts"));
        }
    }
}

/// Holds for every way of training.
#[test]
fn no_score_goes_the_wrong_way_however_it_is_learned() {
    let options: [&[&str]; 16] = [
        &[],
        &["--bins", "0"],
        &["--bins", "256", "--lr", "0.5"],
        &["--bins", "12", "--grow", "every=300"],
        &["--bins", "40", "--lr", "0.5", "--fair", "spd=0.02"],
        &["--grow", "every=300", "--experts", "12"],
        &["--grow", "every=700,drift", "--experts", "5", "--freeze"],
        &["--fair", "spd=0.02"],
        &["--fair", "eodds=0.02,burden=0.02", "--grow", "every=500", "--experts", "6"],
        &["--fair", "spd=0.02", "--fair-by", "threshold"],
        &["--fairness", "paper", "--increment", "0.05", "--experts", "8"],
        &["--loss", "competitive", "--experts", "6"],
        &["--individual", "0.4"],
        &["--epochs", "3", "--shuffle"],
        &["--epochs", "3", "--fair", "spd=0.02"],
        &["--class-weight", "balanced", "--threshold", "auto:balanced", "--label-delay", "200"],
    ];
    for (seed, options) in (1..).zip(options) {
        let folder = folder(seed, &schema(MONOTONE));
        let blob = train(&folder, &[options, &["--seed", &seed.to_string()]].concat());
        check_all(&folder, &blob, &options.join(" "));
    }
}

/// The opposite case: without the constraint, the same data give scores that move in the wrong
/// direction.
#[test]
fn without_the_constraint_the_same_data_do_go_the_wrong_way() {
    let folder = folder(1, &schema(""));
    let blob = train(&folder, &[]);
    for (name, sign) in [("x", 1.0), ("w", -1.0)] {
        let found = sweep(&blob, name, sign, 150);
        assert!(found.wrong > 1_000, "{name}: {found:?}");
    }
}

/// A single direction, and a column that does not affect the label.
#[test]
fn every_column_has_its_own_direction() {
    for seed in 1..4 {
        for (rule, signs) in [
            ("monotone = { x = \"down\" }\n", [("x", -1.0), ("x", -1.0)]),
            ("monotone = { z = \"down\", x = \"up\" }\n", [("x", 1.0), ("z", -1.0)]),
        ] {
            let blob = train(&folder(seed, &schema(rule)), &["--grow", "every=400", "--experts", "9"]);
            for (name, sign) in signs {
                assert_eq!(sweep(&blob, name, sign, 100).wrong, 0, "{rule} {name}");
            }
        }
    }
}

/// The values shift during training, so the encoding is fitted again and the weights are carried
/// over.
#[test]
fn a_fit_of_the_encoding_keeps_the_order() {
    let few = [(4, "8", -7.0), (6, "16", 40.0), (7, "40", 2.5), (8, "5", 1e6)];
    for (seed, bins, moved) in
        [(1, "128", 40.0), (2, "128", 2.5), (3, "0", 40.0), (5, "64", 1e6)].into_iter().chain(few)
    {
        let folder = folder(seed, &schema(MONOTONE));
        folder.write("s.csv", stream(seed, 16_000, moved));
        let train = ["train", "s.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json", "--bins", bins];
        let report: Json = serde_json::from_str(&folder.run(&train).well()).unwrap();
        let refits = report["features"].as_array().unwrap().iter().find(|feature| feature["feature"] == "x").unwrap();
        assert!(refits["refits"].as_u64().unwrap() > 0, "{bins} {moved}");
        check_all(&folder, &AlignedBytes::new(&folder.read("m.feamoe")), &format!("{bins} bins, {moved}"));
    }
}

/// The checkpoint contains the schema, and so the constraint.
#[test]
fn a_resumed_run_is_the_whole_run_and_stays_monotone() {
    let text = stream(9, 9_000, 3.0);
    let at = |row: usize| text.match_indices('\n').nth(row).unwrap().0 + 1;
    let folder = folder(9, &schema(MONOTONE));
    folder.write("s.csv", &text);
    let more = ["--grow", "every=900", "--fair", "spd=0.03", "--seed", "3"];
    let whole = train(&folder, &more);
    folder.write("s.csv", &text[..at(5_500)]);
    let _ = train(&folder, &[&more[..], &["--checkpoint", "run.ckpt"]].concat());
    folder.write("rest.csv", format!("x,w,z,k,s,y\n{}", &text[at(5_500)..]));
    let update = ["update", "run.ckpt", "rest.csv", "-o", "m.feamoe", "--checkpoint", "run2.ckpt"];
    let _ = folder.run(&update).well();
    let resumed = AlignedBytes::new(&folder.read("m.feamoe"));
    let weights = |blob: &AlignedBytes| match Blob::new(blob.as_slice()).unwrap().weights() {
        Weights::F32(weights) => weights.to_vec(),
        _ => Vec::new(),
    };
    assert!(!weights(&whole).is_empty() && weights(&whole) == weights(&resumed));
    check_all(&folder, &resumed, "resumed");
}

/// A constraint that agrees with the data costs less than 0.004 of log-loss, compared with a model
/// whose columns have as few bins. The constrained columns do not enter the gate, and their bins
/// have no slope.
#[test]
fn what_the_data_say_anyway_costs_little() {
    let mut random = Random(4);
    let text = (0..20_000).fold("x,w,z,k,s,y\n".to_owned(), |mut text, _| {
        let [x, z, w] = [0; 3].map(|_| 6.0 * random.uniform() - 3.0);
        let log_odds = 2.0 * libm::tanh(3.0 * x) - 0.7 * w + z;
        let label = u8::from(random.uniform() < 1.0 / (1.0 + libm::exp(-log_odds)));
        let _ = writeln!(text, "{x:.3},{:.3},{z:.3},k,{},{label}", w + 3.0, ["m", "f"][random.below(2) as usize]);
        text
    });
    let log_loss = |rule: &str, bins: &str| {
        let folder = folder(1, &schema(rule));
        folder.write("s.csv", &text);
        let train = ["train", "s.csv", "--schema", "s.toml", "-o", "m.feamoe", "--format", "json", "--bins", bins];
        let report: Json = serde_json::from_str(&folder.run(&train).well()).unwrap();
        report["prequential"]["log_loss"].as_f64().unwrap()
    };
    let [free, held] = [log_loss("", "16"), log_loss(MONOTONE, "128")];
    assert!(held < free + 0.004, "{held} for {free}");
}

#[test]
fn what_cannot_be_kept_is_refused_with_the_reason() {
    let refusal = |rule: &str, options: &[&str]| {
        let folder = folder(1, &schema(rule));
        let train = ["train", "s.csv", "--schema", "s.toml", "-o", "m.feamoe"];
        folder.refusal(&[&train, options].concat())
    };
    let absent = refusal("monotone = { age = \"up\" }\n", &[]);
    assert!(absent.starts_with("s.csv: no column \"age\", which features.monotone needs"), "{absent}");
    let category = refusal("monotone = { k = \"up\" }\n", &[]);
    assert!(category.starts_with("s.csv:2: column \"k\": found"), "{category}");
    assert!(category.contains("features.monotone lists the column"), "{category}");
    let listed = refusal("monotone = { s = \"up\" }\n", &[]);
    assert!(listed.contains("column \"s\" is categorical, but features.monotone needs a number"), "{listed}");
    let direction = refusal("monotone = { x = \"rising\" }\n", &[]);
    assert!(direction.contains("unknown variant `rising`, expected `up` or `down`"), "{direction}");
    let weight = refusal(MONOTONE, &["--weight", "x"]);
    assert!(weight.contains("features.monotone names it too"), "{weight}");

    let folder = folder(1, &schema("monotone = { e = \"up\" }\n"));
    folder.write("s.csv", stream(1, 600, 0.0).replace('\n', ",\n").replacen("y,\n", "y,e\n", 1));
    let empty = folder.refusal(&["train", "s.csv", "--schema", "s.toml", "-o", "m.feamoe"]);
    assert!(empty.starts_with("column \"e\": none of the first 600 rows has a number"), "{empty}");

    let coded = schema(MONOTONE).replace("column = \"s\"", "column = \"x\"").replace("[\"m\"]", "[\"0.00\"]");
    folder.write("s.toml", coded.replace("categorical = [\"s\"]", ""));
    folder.write("s.csv", stream(1, 600, 0.0));
    let train = ["train", "s.csv", "--schema", "s.toml", "-o", "m.feamoe", "--fair", "spd=0.1"];
    let by_group = folder.refusal(&[&train[..], &["--fair-by", "threshold"]].concat());
    assert!(by_group.contains("features.monotone names \"x\", but the threshold changes with it"), "{by_group}");
}

#[test]
fn a_model_says_in_which_columns_it_is_monotone() {
    let folder = folder(1, &schema(MONOTONE));
    let _ = train(&folder, &[]);
    let text = folder.run(&["inspect", "m.feamoe"]).done();
    assert!(text.contains("monotone: \"w\" down, \"x\" up\n"), "{text}");
    let json = folder.run(&["inspect", "m.feamoe", "--format", "json"]).json();
    assert_eq!(json["card"]["schema"]["features"]["monotone"], serde_json::json!({ "x": "up", "w": "down" }));
}
