//! Promise: experts of a finished model are merged as the formula says, and two experts with the
//! same answers at no cost. The rest of the file stays the same, and a merge that changes too much
//! is not written.

use feamoe::model::{AlignedBytes, FewerError, HostModel, Width, fewer_experts, quantize};
use feamoe_engine::Value;
use feamoe_engine::mixture::stride;
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Cell, Recipe, fill, records};
use feamoe_testkit::reference::Reference;
use feamoe_tests::command::{Folder, keys, lending};
use feamoe_tests::{aligned, data_file, repository_file};

/// Tolerance of f32 weights and sums, with two steps of rounding, against f64.
const TOLERANCE: f64 = 2e-5;

fn values(cells: &[Vec<Cell>]) -> Vec<Vec<Value>> {
    cells.iter().map(|cells| cells.iter().map(|cell| Value::from(*cell)).collect()).collect()
}

/// Scores computed by the engine.
fn scores(blob: &AlignedBytes, cells: &[Vec<Cell>]) -> Vec<f64> {
    let model = HostModel::load(blob.as_slice()).unwrap();
    let mut record = model.record();
    let score = |cells: &Vec<Cell>| {
        fill(&mut record, cells).unwrap();
        f64::from(model.score(&record).unwrap().probability)
    };
    cells.iter().map(score).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// A mixture in f64: for each record, the logits of the gates and of the experts.
#[derive(Clone)]
struct Twin {
    logits: Vec<[Vec<f64>; 2]>,
}

impl Twin {
    fn new(content: &Content, cells: &[Vec<Cell>]) -> Self {
        let reference = Reference::new(content);
        let halves = |cells: &Vec<Cell>| {
            let mut gate = reference.logits(cells);
            let outputs = gate.split_off(content.experts);
            [gate, outputs]
        };
        Self { logits: cells.iter().map(halves).collect() }
    }

    fn gate(gate: &[f64]) -> Vec<f64> {
        let largest = gate.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = gate.iter().map(|u| (u - largest).exp2()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    }

    fn scores(&self) -> Vec<f64> {
        let score = |[gate, outputs]: &[Vec<f64>; 2]| {
            Self::gate(gate).iter().zip(outputs).map(|(g, z)| g / (1.0 + (-z).exp2())).sum()
        };
        self.logits.iter().map(score).collect()
    }

    /// Returns the mean gate weights over the first `measured` records.
    fn used(&self, measured: usize) -> Vec<f64> {
        let mut used = vec![0.0; self.logits[0][0].len()];
        for [gate, _] in &self.logits[..measured] {
            used.iter_mut().zip(Self::gate(gate)).for_each(|(sum, g)| *sum += g / measured as f64);
        }
        used
    }

    /// Merges `from` into `into` with the shares `w` and `1 - w`. The gate's bias gains the entropy
    /// in bits.
    fn merged(&self, into: usize, from: usize, w: f64) -> Self {
        let mut twin = self.clone();
        let entropy = -w * w.log2() - (1.0 - w) * (1.0 - w).log2();
        for halves in &mut twin.logits {
            for lanes in halves.iter_mut() {
                lanes[into] = w * lanes[into] + (1.0 - w) * lanes[from];
            }
            halves[0][into] += entropy;
            halves.iter_mut().for_each(|lanes| _ = lanes.remove(from));
        }
        twin
    }

    /// Merges the pair that leaves the scores of the first records closest to `whole`.
    fn step(&self, whole: &[f64], measured: usize) -> Self {
        let used = self.used(measured);
        let mut best: Option<(f64, Self)> = None;
        for a in 0..used.len() {
            for b in (0..used.len()).filter(|b| *b != a && (used[a], *b) > (used[*b], a)) {
                let twin = self.merged(a, b, (used[a] / (used[a] + used[b])).clamp(1e-4, 1.0 - 1e-4));
                let moved = whole.iter().zip(twin.scores()).take(measured).map(|(p, q)| (p - q).abs()).sum();
                if best.as_ref().is_none_or(|(least, _)| moved < *least) {
                    best = Some((moved, twin));
                }
            }
        }
        best.unwrap().1
    }
}

#[test]
fn the_copies_score_as_a_twin_in_f64_says() {
    let mut worst = 0.0_f64;
    for seed in 0..40 {
        let recipe = Recipe { experts: 2 + (seed % 5) as usize, ..Recipe::gentle(seed) };
        let content = recipe.content(seed);
        let blob = aligned(&content.to_bytes(true));
        // The first records choose the pairs; the others are scored too.
        let (measured, cells) = (60, records(&content, seed, 90));
        let copies = fewer_experts(&blob, 1, &values(&cells[..measured])).unwrap();
        assert_eq!(copies.len(), recipe.experts - 1);
        let mut twin = Twin::new(&content, &cells);
        let whole = twin.scores();
        for (index, copy) in copies.iter().enumerate() {
            twin = twin.step(&whole, measured);
            assert_eq!(HostModel::load(copy.as_slice()).unwrap().experts(), recipe.experts - 1 - index);
            worst = worst.max(largest_difference(&scores(copy, &cells), &twin.scores()));
        }
    }
    assert!(worst < TOLERANCE, "{worst}");
}

/// Makes expert 1 a copy of expert 0; `apart` is the difference of their gates.
fn with_a_double(seed: u64, apart: f32) -> Content {
    let mut content = Recipe { experts: 4, ..Recipe::gentle(seed) }.content(seed);
    let double = |row: &mut [f32]| {
        row[1] = row[0];
        row[5] = row[4];
    };
    content.rows.chunks_mut(stride(4)).for_each(double);
    double(&mut content.bias);
    content.bias[1] += apart;
    content
}

#[test]
fn two_experts_that_answer_alike_merge_at_no_cost() {
    for (seed, apart) in [(1, 0.0), (2, 0.0), (3, 1.5), (4, -3.0)] {
        let content = with_a_double(seed, apart);
        let (blob, cells) = (aligned(&content.to_bytes(true)), records(&content, seed, 300));
        let copies = fewer_experts(&blob, 3, &values(&cells)).unwrap();
        let moved = largest_difference(&scores(&blob, &cells), &scores(&copies[0], &cells));
        assert!(moved < TOLERANCE, "seed {seed}: {moved}");
        let unlike = fewer_experts(&blob, 2, &values(&cells)).unwrap();
        let moved = largest_difference(&scores(&blob, &cells), &scores(&unlike[1], &cells));
        assert!(moved > 10.0 * TOLERANCE, "seed {seed}: others are not alike: {moved}");
    }
}

#[test]
fn all_but_the_experts_stays_and_every_run_gives_the_same_bytes() {
    let mut content = Recipe { experts: 6, features: 5, ..Recipe::gentle(7) }.content(7);
    let rows = content.features.iter().map(|feature| feature.kind.rows() as usize).sum::<usize>();
    content.calibration = (0..rows + 2).map(|index| index as f32 / 64.0).collect();
    content.deviations = content
        .features
        .iter()
        .map(|feature| f32::from(u8::from(feature.levels.is_empty() && feature.kind.value_bytes() == 4)))
        .collect();
    let blob = aligned(&content.to_bytes(true));
    let cells = records(&content, 7, 50);
    let copies = fewer_experts(&blob, 2, &values(&cells)).unwrap();
    assert_eq!(copies, fewer_experts(&blob, 2, &values(&cells)).unwrap());
    let found = Content::read(copies[3].as_slice());
    assert_eq!(found.experts, 2);
    let others = Content { experts: 6, bias: content.bias.clone(), rows: content.rows.clone(), ..found };
    assert_eq!(others, content);
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let content = Recipe { experts: 3, features: 2, ..Recipe::gentle(5) }.content(5);
    let blob = aligned(&content.to_bytes(true));
    let cells = values(&records(&content, 5, 5));
    for asked in [0, 3, 64] {
        let error = fewer_experts(&blob, asked, &cells).unwrap_err();
        assert!(matches!(error, FewerError::WrongNumber { found: 3, asked: said } if said == asked), "{error}");
    }
    assert!(matches!(fewer_experts(&blob, 2, &[]), Err(FewerError::NoRecords)));
    let other = vec![vec![Value::Missing; 3]];
    assert!(matches!(fewer_experts(&blob, 2, &other), Err(FewerError::Record(_))));
    let integer = quantize(&blob, Width::I16).unwrap();
    assert!(matches!(fewer_experts(&integer, 2, &cells), Err(FewerError::Refused(_))));
}

const EXPORT: [&str; 4] = ["export", "lending.feamoe", "-o", "small.feamoe"];

fn folder() -> Folder {
    let folder = Folder::with_model();
    folder.write("later.csv", lending(2, 2_000));
    folder
}

fn export(more: &[&str]) -> Vec<String> {
    EXPORT.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn run(folder: &Folder, more: &[&str]) -> feamoe_tests::command::Ran {
    folder.run(&export(more).iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_command_measures_and_keeps_the_file_whole() {
    let folder = folder();
    let before = folder.run(&["inspect", "lending.feamoe", "--format", "json"]).json();
    let experts = before["experts"].as_u64().unwrap();
    let fewer = (experts - 1).to_string();
    let data = ["--data", "later.csv", "--schema", "lending.toml"];
    let options = [&["--experts", &fewer, "--tolerance", "0.5", "--format", "json"][..], &data].concat();
    let report = run(&folder, &options).json();
    let merging = &report["merging"];
    assert_eq!(
        keys(merging),
        [
            "bytes",
            "bytes_before",
            "change",
            "experts",
            "experts_before",
            "labelled",
            "measured_on",
            "smallest_tolerated",
            "tolerance",
            "tolerated",
        ]
    );
    assert_eq!((merging["experts_before"].as_u64(), merging["experts"].as_u64()), (Some(experts), Some(experts - 1)));
    assert_eq!((&merging["measured_on"], merging["change"]["rows"].as_u64()), (&"background".into(), Some(1_000)));
    let bytes = folder.read("small.feamoe").len() as u64;
    assert_eq!((merging["bytes"].as_u64(), report["bytes"].as_u64()), (Some(bytes), Some(bytes)));
    assert_eq!(merging["bytes_before"], report["bytes_before"]);
    assert!(bytes < report["bytes_before"].as_u64().unwrap());

    // The comparison on the rows equals that of `evaluate`.
    let evaluate = |model: &str| {
        folder
            .run(&["evaluate", model, "later.csv", "--schema", "lending.toml", "--no-recourse", "--format", "json"])
            .json()
    };
    let labelled = &merging["labelled"];
    assert_eq!(labelled["rows"].as_u64(), Some(2_000));
    for (model, ends) in [("lending.feamoe", ["_before", "before"]), ("small.feamoe", ["", "after"])] {
        let judged = evaluate(model);
        for measure in ["log_loss", "accuracy"] {
            assert_eq!(labelled[format!("{measure}{}", ends[0])], judged[measure], "{model} {measure}");
        }
        for gap in labelled["gaps"].as_array().unwrap() {
            let mut groups = judged["fairness"].as_array().unwrap().iter();
            let group = groups.find(|of| of["attribute"] == gap["attribute"] && of["group"] == gap["group"]).unwrap();
            assert_eq!(gap[ends[1]], group[gap["measure"].as_str().unwrap()], "{model} {gap}");
        }
    }
    assert!(!labelled["gaps"].as_array().unwrap().is_empty());

    let after = folder.run(&["inspect", "small.feamoe", "--format", "json"]).json();
    assert_eq!(after["experts"].as_u64(), Some(experts - 1));
    assert_eq!(report["background_rows"].as_u64(), Some(1_000));
    let said = after["card"]["options"]["experts"].as_str().unwrap();
    assert_eq!(said, format!("{} merged to {fewer}", before["card"]["options"]["experts"].as_str().unwrap()));
    assert!(after["card"]["measured"].is_null() && !before["card"]["measured"].is_null());
    assert_eq!(after["card"]["schema"], before["card"]["schema"]);
    let text = folder.run(&["inspect", "small.feamoe"]).done();
    assert!(text.contains("its threshold or its experts were changed since"), "{text}");
    // Explanations work, because the background is kept.
    let _ = folder.run(&["explain", "small.feamoe", "later.csv", "--row", "1"]).well();

    // An option for a device also makes a copy for a device; quantising comes last.
    let whole = folder.read("small.feamoe").len();
    let _ = run(&folder, &["--experts", &fewer, "--tolerance", "0.5", "--background", "0"]).done();
    assert!(folder.read("small.feamoe").len() < whole / 2);
    let tolerant = ["--max-difference", "1", "--max-changed-decisions", "1"];
    let quantized = [&["--experts", &fewer, "--tolerance", "0.5", "--quantize", "i16"][..], &tolerant].concat();
    let text = run(&folder, &quantized).done();
    assert!(
        text.contains(&format!("{experts} experts merged to {fewer}")) && text.contains("i16 weights over"),
        "{text}"
    );
}

#[test]
fn the_command_refuses_what_changes_too_much() {
    let folder = folder();
    let data = ["--data", "later.csv", "--schema", "lending.toml"];
    let ran = folder.unchanged(|| run(&folder, &["--experts", "1", "--tolerance", "1e-6"]));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("not met: with 1 of "), "{}", ran.stderr);
    assert!(ran.stderr.contains(", tolerated 0.000001 (--tolerance); no number of experts below "));
    assert!(ran.stdout.contains("did not write small.feamoe"), "{}", ran.stdout);

    // The number of experts in the message is the smallest that passes.
    let all = [&["--experts", "1", "--tolerance", "0", "--format", "json"][..], &data].concat();
    let ran = folder.unchanged(|| run(&folder, &all));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let experts = report["merging"]["experts_before"].as_u64().unwrap();
    let moves = |count: u64| {
        let options = ["--experts", &count.to_string(), "--tolerance", "1", "--format", "json"];
        run(&folder, &options).json()["merging"]["change"]["mean_change"].as_f64().unwrap()
    };
    let changes: Vec<f64> = (1..experts).map(moves).collect();
    let tolerance = (changes[0] * 0.99).to_string();
    let smallest = 1 + changes.iter().position(|change| *change <= changes[0] * 0.99).unwrap();
    std::fs::remove_file(folder.path("small.feamoe")).unwrap();
    let ran = folder.unchanged(|| run(&folder, &["--experts", "1", "--tolerance", &tolerance]));
    let named = format!("the smallest number of experts that passes is {smallest} (--experts {smallest})");
    assert!(ran.code == Some(1) && ran.stderr.contains(&named), "{}", ran.stderr);
    let _ = run(&folder, &["--experts", &smallest.to_string(), "--tolerance", &tolerance]).done();
}

#[test]
fn the_command_says_what_it_needs() {
    let folder = folder();
    for (more, expected) in [
        (&["--experts", "0"][..], "expected a whole number from 1 to 63"),
        (&["--experts", "64"], "expected a whole number from 1 to 63"),
        (&["--tolerance", "0.1"], "--experts"),
        (&["--experts", "2", "--tolerance", "2"], "expected a number from 0 to 1"),
        (&["--experts", "2", "--delta", "lending.feamoe"], "--delta"),
        (&["--experts", "63"], "experts; --experts takes 1 to "),
    ] {
        let ran = folder.unchanged(|| run(&folder, more));
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
        assert!(ran.stderr.contains(expected), "{more:?}: {}", ran.stderr);
    }
    let _ = folder.run(&["export", "lending.feamoe", "-o", "bare.feamoe"]).done();
    let bare = ["export", "bare.feamoe", "-o", "small.feamoe", "--experts", "2", "--tolerance", "1"];
    let message = folder.refusal(&bare);
    assert!(
        message.contains("no background records to measure the change on") && message.contains("--data"),
        "{message}"
    );
    let stdin = [&bare[..], &["--data", "-", "--schema", "lending.toml"]].concat();
    assert!(folder.refusal(&stdin).contains("standard input"));
    let data = [&bare[..], &["--data", "later.csv", "--schema", "lending.toml", "--format", "json"]].concat();
    let merging = &folder.run(&data).json()["merging"];
    assert_eq!((&merging["measured_on"], merging["change"]["rows"].as_u64()), (&"data".into(), Some(1_000)));

    let _ = folder.run(&["export", "lending.feamoe", "-o", "integer.feamoe", "--quantize", "i16"]).done();
    let message = folder.refusal(&["export", "integer.feamoe", "-o", "no.feamoe", "--experts", "2"]);
    assert!(message.contains("name the model it was exported from, with --experts 2 and --quantize"), "{message}");
    let one = ["export", "small.feamoe", "-o", "one.feamoe", "--experts", "1", "--tolerance", "1"];
    let _ = folder.run(&[&one[..], &data[8..12]].concat()).done();
    let message =
        folder.refusal(&[&["export", "one.feamoe", "-o", "no.feamoe", "--experts", "1"][..], &data[8..12]].concat());
    assert!(message.contains("the model has only one expert"), "{message}");
}

/// COMPAS: experts that hardly differ are merged, but not all of them.
#[test]
fn compas_keeps_its_loss_with_fewer_experts() {
    let Some(data) = data_file("compas-scores-two-years.csv") else { return };
    let folder = Folder::new();
    let schema = repository_file("trainer/schemas/compas.toml");
    let (data, schema) = (data.to_str().unwrap(), schema.to_str().unwrap());
    let _ = folder.run(&["train", data, "--schema", schema, "-o", "lending.feamoe", "--experts", "12"]).well();
    let export =
        |experts: &str| run(&folder, &["--experts", experts, "--data", data, "--schema", schema, "--format", "json"]);
    let merging = export("7").json()["merging"].clone();
    let labelled = &merging["labelled"];
    let rise = labelled["log_loss"].as_f64().unwrap() - labelled["log_loss_before"].as_f64().unwrap();
    assert!(rise < 0.002 && merging["change"]["mean_change"].as_f64().unwrap() < 0.004, "{merging}");
    std::fs::remove_file(folder.path("small.feamoe")).unwrap();
    let ran = folder.unchanged(|| export("1"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("tolerated 0.005 (--tolerance); the smallest number of experts that passes is "));
}
