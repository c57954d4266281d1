//! Writes a model for the runtimes of ONNX, to score where Rust cannot run.
//!
//! There is one input per feature, with the feature's name and the extents *records, 1*:
//!
//! | feature | type | missing |
//! | --- | --- | --- |
//! | number | float | NaN |
//! | category | string: the level, trimmed | the empty string, unless it is a level |
//!
//! If the model has a card, the words for *missing* in its schema mean missing here too: as text in
//! a category, and as numbers in a number. The file knows no other rules for reading tables: blanks
//! around a level make it a different one.
//!
//! Outputs:
//!
//! | name | type, extents | meaning |
//! | --- | --- | --- |
//! | `label` | int64, records | 1 if the decision is favourable, 0 if the record is declined |
//! | `probability` | float, records | the probability of the favourable outcome, calibrated if the model is |
//! | `score` | float, records | compared with the threshold; equal to the probability without calibration |
//! | `gate` | float, records x experts | the weight of each expert |
//! | `attributions` | float, records x features | what each feature adds to the log-odds with the gate held (`frozen`) |
//! | `base` | float, records | the log-odds that the attributions are added to |
//!
//! An output with the same name as a feature gets `_` appended.
//!
//! A record picks weight rows as in the engine ([`feamoe_engine::schema`]): for each feature one
//! row as it is (the *picked* row), and for a number with a linear row also that row, times the
//! centred number. A number without bins picks a row of zeros if it is present. The computation is
//! thus one look-up, one product with the linear rows, and the mixture.
//!
//! Sums run in another order than in the engine, and runtimes have their own exponentials: a score
//! is close to the engine's, but not bit-identical. The difference grows with the terms of a record
//! and the size of their weights: it is within 1e-6 on the data sets used here (3.6e-7 on Adult),
//! and within 3e-6 for a model with 40 features that was made to have large weights. A score that
//! close to the threshold can be decided differently. If scores are near 0 or 1, the calibrated
//! probability can differ by more than the score, because it is a function of the log-odds.
//!
//! The file uses operators of ONNX 18 and of `ai.onnx.ml` 3.

mod graph;
mod proto;

use std::collections::BTreeSet;
use std::f32::consts::LN_2;

use feamoe_engine::format::FLAG_CALIBRATION;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Feature, Kind, Transform};
use feamoe_engine::{FeatureIndex, LoadError, Schema};
use prost::Message as _;

use self::graph::{Graph, Name};
use self::proto::{AttributeProto, FLOAT, INT64, ModelProto, OperatorSetIdProto, STRING, StringStringEntryProto};
use super::card::{Card, CardError};
use super::device::Sections;
use super::{AlignedBytes, HostModel};
use crate::schema::Table;

/// Version of the file format that introduced the operators.
const IR_VERSION: i64 = 8;
const OPERATORS: i64 = 18;
const ML_OPERATORS: i64 = 3;
/// Limits of the engine's calibration: scores are kept at least `CLOSEST` away from 0 and 1, and
/// log-odds to base 2 at most `FARTHEST` away from 0.
const CLOSEST: f32 = 1.0 / 16_777_216.0;
const FARTHEST: f32 = 126.0;

/// Why a model cannot be written for ONNX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The engine refuses the model, or it has integer weights.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// Its names were stripped.
    #[error("the model has no names, but the inputs are named after its features; export the model with names")]
    NamesStripped,
    /// The name of a feature is empty.
    #[error("feature {0} has an empty name, which is not allowed for an input; rename its column")]
    EmptyName(usize),
    /// The card, which lists the words for missing, cannot be read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A part of the blob could not be decoded.
    #[error("the model could not be decoded: {0}")]
    Postcard(#[from] postcard::Error),
}

/// Returns a model of float weights as an ONNX file. See the module for its inputs and outputs. The
/// same blob gives the same bytes.
///
/// # Errors
/// See [`OnnxError`].
pub fn onnx(blob: &AlignedBytes) -> Result<Vec<u8>, OnnxError> {
    let model = HostModel::load(blob.as_slice())?;
    let schema = model.schema();
    let outcome = schema.positive_name().ok_or(OnnxError::NamesStripped)?;
    if let Some(nameless) = (0..schema.features().len()).find(|index| schema.feature_name(*index) == Some("")) {
        return Err(OnnxError::EmptyName(nameless));
    }
    let sections = Sections::of(blob.as_slice())?;
    let numbers =
        |bytes: &[u8]| -> Vec<f32> { bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect() };
    let calibration = sections.sections.iter().find(|(flag, _)| *flag == FLAG_CALIBRATION);
    let calibration = calibration.map(|(_, section)| numbers(section));
    let writer = Writer {
        graph: Graph::default(),
        schema,
        table: Card::of(blob)?.map(|card| card.schema.table).unwrap_or_default(),
        experts: model.experts(),
        weights: numbers(sections.values),
        picked: Vec::new(),
        linear: Vec::new(),
    };
    let graph = writer.write(&model, calibration.as_deref());
    let provenance = model.provenance();
    let sha256: String = provenance.data_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let properties = [
        ("model_crc32", format!("{:08x}", model.crc32())),
        ("threshold", model.threshold().to_string()),
        ("favourable_outcome", outcome.to_owned()),
        ("attributions", "frozen: natural log-odds, with the gate held fixed at the record".to_owned()),
        ("training_rows", provenance.training_rows.to_string()),
        ("training_sha256", sha256),
    ];
    let properties = properties.map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value });
    let operators = [(String::new(), OPERATORS), ("ai.onnx.ml".to_owned(), ML_OPERATORS)];
    let file = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "feamoe".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("Probability of {outcome}, from a mixture of {} logistic experts", model.experts()),
        graph: Some(graph),
        opset_import: operators.map(|(domain, version)| OperatorSetIdProto { domain, version }).to_vec(),
        metadata_props: properties.to_vec(),
    };
    Ok(file.encode_to_vec())
}

/// The linear row of a number.
struct Linear {
    feature: usize,
    row: usize,
    /// The centred number, 0 if it is missing; records x 1.
    scale: Name,
}

struct Writer<'m> {
    graph: Graph,
    schema: Schema<'m>,
    /// How tables are written, as far as the card states it.
    table: Table,
    experts: usize,
    /// The bias, then the rows.
    weights: Vec<f32>,
    /// By feature, the row that a record picks; extents records x 1.
    picked: Vec<Name>,
    linear: Vec<Linear>,
}

impl Writer<'_> {
    fn write(mut self, model: &HostModel<'_>, calibration: Option<&[f32]>) -> proto::GraphProto {
        let features = self.schema.features();
        let name = |index| self.schema.feature_name(index).unwrap_or_default().to_owned();
        let names: Vec<String> = (0..features.len()).map(name).collect();
        for (index, (feature, name)) in features.iter().zip(&names).enumerate() {
            match feature.kind() {
                Kind::Number { low, high, .. } => {
                    self.graph.input(name, FLOAT, format!("{low} to {high}; NaN where missing"));
                }
                Kind::Category { .. } => {
                    let words: Vec<String> = self.words(index).map(|word| format!("{word:?}")).collect();
                    let missing = if words.is_empty() { "never".to_owned() } else { words.join(" or ") };
                    self.graph.input(name, STRING, format!("a level without surrounding blanks; missing: {missing}"));
                }
            }
        }
        let rows: usize = features.iter().map(|feature| feature.kind().rows() as usize).sum();
        let mut first = 0;
        for (index, (feature, name)) in features.iter().zip(&names).enumerate() {
            match feature.kind() {
                Kind::Number { .. } => self.number(model, index, name, [first, rows]),
                Kind::Category { levels } => self.category(index, name, first, levels),
            }
            first += feature.kind().rows() as usize;
        }
        self.mixture(model.threshold(), rows, calibration);
        self.graph.finish("feamoe")
    }

    /// Finds the rows of a number. The row of zeros is the one past the last.
    fn number(&mut self, model: &HostModel<'_>, index: usize, name: &str, [first, zeros]: [usize; 2]) {
        let features = self.schema.features();
        let Some(Kind::Number { transform, low, high, centre, bins }) = features.get(index).map(Feature::kind) else {
            return;
        };
        let stepped = features.get(index).is_some_and(Feature::is_stepped);
        let [low, high] = [low, high].map(|end| self.graph.float(end));
        let mut is_missing = self.graph.op("IsNaN", &[name], Vec::new());
        let words = self.table.missing.iter().chain(self.table.missing_in.get(name).into_iter().flatten());
        let numbers: Vec<f32> = words.filter_map(|word| word.parse().ok()).filter(|x: &f32| x.is_finite()).collect();
        for number in numbers {
            let number = self.graph.float(number);
            let is_it = self.graph.op("Equal", &[name, &number], Vec::new());
            is_missing = self.graph.op("Or", &[&is_missing, &is_it], Vec::new());
        }
        let present = self.graph.op("Where", &[&is_missing, &low, name], Vec::new());
        let inside = self.graph.op("Clip", &[&present, &low, &high], Vec::new());
        if !stepped {
            let transformed = match transform {
                Transform::Identity => inside.clone(),
                Transform::Log1p => {
                    let one = self.graph.float(1.0);
                    let sum = self.graph.op("Add", &[&inside, &one], Vec::new());
                    self.graph.op("Log", &[&sum], Vec::new())
                }
            };
            let [centre, zero] = [centre, 0.0].map(|value| self.graph.float(value));
            let centred = self.graph.op("Sub", &[&transformed, &centre], Vec::new());
            let scale = self.graph.op("Where", &[&is_missing, &zero, &centred], Vec::new());
            self.linear.push(Linear { feature: index, row: first, scale });
        }
        let missing = self.graph.integers(&[1], &[first as i64 + 1]);
        let found = if bins < 2 {
            let found = if bins == 0 { zeros } else { first + 2 };
            self.graph.integers(&[1], &[found as i64])
        } else {
            let edges = model.edges(FeatureIndex(index)).to_vec();
            let edges = self.graph.floats(&[1, edges.len()], &edges);
            let reached = self.graph.op("GreaterOrEqual", &[&inside, &edges], Vec::new());
            let reached = self.graph.op("Cast", &[&reached], vec![AttributeProto::int("to", INT64.into())]);
            let axes = self.graph.integers(&[1], &[1]);
            let bin = self.graph.op("ReduceSum", &[&reached, &axes], vec![AttributeProto::int("keepdims", 1)]);
            let first_bin = self.graph.integers(&[1], &[first as i64 + 2]);
            self.graph.op("Add", &[&bin, &first_bin], Vec::new())
        };
        let picked = self.graph.op("Where", &[&is_missing, &missing, &found], Vec::new());
        self.picked.push(picked);
    }

    /// Returns the words for a missing value of a category, each once, without those that are
    /// levels.
    fn words(&self, index: usize) -> impl Iterator<Item = &str> {
        let name = self.schema.feature_name(index).unwrap_or_default();
        let own = self.table.missing_in.get(name).into_iter().flatten();
        let words: BTreeSet<&str> = self.table.missing.iter().chain(own).map(String::as_str).chain([""]).collect();
        words.into_iter().filter(move |word| !self.schema.level_names(index).any(|level| level == *word))
    }

    /// Finds the row of a category.
    fn category(&mut self, index: usize, name: &str, first: usize, levels: u16) {
        let [first, unseen] = [first as i64, first as i64 + i64::from(levels)];
        let names = self.schema.level_names(index).map(|level| level.as_bytes().to_vec());
        let missing = self.words(index).map(|word| (word.as_bytes().to_vec(), unseen + 1));
        let (keys, rows): (Vec<_>, Vec<_>) = names.zip(first..).chain(missing).unzip();
        let picked = self.graph.look_up(name, keys, rows, unseen);
        self.picked.push(picked);
    }

    /// Adds the computation after the rows are found.
    fn mixture(&mut self, threshold: f32, rows: usize, calibration: Option<&[f32]>) {
        let (experts, width) = (self.experts, 2 * self.experts);
        let lanes = stride(experts);
        let live: Vec<f32> =
            self.weights.chunks_exact(lanes).take(1 + rows).flat_map(|row| row.iter().take(width)).copied().collect();
        let (bias, all) = live.split_at(width.min(live.len()));
        let table: Vec<f32> = all.iter().copied().chain(std::iter::repeat_n(0.0, width)).collect();
        let picked_rows = self.graph.concat(&self.picked.clone());
        let table = self.graph.floats(&[rows + 1, width], &table);
        let picked = self.graph.op("Gather", &[&table, &picked_rows], Vec::new());
        let mut logits = self.graph.sum(&picked, 1);
        let bias_row = self.graph.floats(&[1, width], bias);
        logits = self.graph.op("Add", &[&logits, &bias_row], Vec::new());
        let scales = (!self.linear.is_empty()).then(|| {
            let scales: Vec<Name> = self.linear.iter().map(|linear| linear.scale.clone()).collect();
            self.graph.concat(&scales)
        });
        let lines: Vec<f32> =
            self.linear.iter().flat_map(|linear| all.iter().skip(linear.row * width).take(width)).copied().collect();
        if let Some(scales) = &scales {
            let lines = self.graph.floats(&[self.linear.len(), width], &lines);
            let straight = self.graph.op("MatMul", &[scales, &lines], Vec::new());
            logits = self.graph.op("Add", &[&logits, &straight], Vec::new());
        }
        // Converts to natural logarithms, because runtimes have no exponential to base 2.
        let ln_2 = self.graph.float(LN_2);
        let natural = self.graph.op("Mul", &[&logits, &ln_2], Vec::new());
        let gate_logits = self.graph.slice(&natural, 1, [0, experts]);
        let expert_logits = self.graph.slice(&natural, 1, [experts, width]);
        let gate = self.graph.op("Softmax", &[&gate_logits], vec![AttributeProto::int("axis", 1)]);
        let answers = self.graph.op("Sigmoid", &[&expert_logits], Vec::new());
        let weighted = self.graph.op("Mul", &[&gate, &answers], Vec::new());
        let score = self.graph.sum(&weighted, 1);
        let threshold = self.graph.float(threshold);
        let favourable = self.graph.op("GreaterOrEqual", &[&score, &threshold], Vec::new());
        let label = self.graph.op("Cast", &[&favourable], vec![AttributeProto::int("to", INT64.into())]);
        let probability = match calibration {
            Some(numbers) => self.calibrated(&score, &picked_rows, scales.as_deref(), numbers),
            None => score.clone(),
        };
        let (attributions, base) = self.frozen(&gate, &picked, scales.as_deref(), [bias, &lines]);
        let graph = &mut self.graph;
        graph.output("label", &label, INT64, None, "1 where the decision is favourable, 0 where declined");
        graph.output("probability", &probability, FLOAT, None, "of the favourable outcome");
        graph.output("score", &score, FLOAT, None, "compared with the threshold");
        graph.output("gate", &gate, FLOAT, Some(experts), "weight of each expert");
        let words = "added to the log-odds by each feature, in the order of the inputs, the gate held";
        graph.output("attributions", &attributions, FLOAT, Some(self.picked.len()), words);
        graph.output("base", &base, FLOAT, None, "log-odds that the attributions are added to");
    }

    /// Returns the calibrated probability: `ln q/(1-q) = ln 2 (bias + rows) + slope ln p/(1-p)`.
    fn calibrated(&mut self, score: &str, picked_rows: &str, scales: Option<&str>, numbers: &[f32]) -> Name {
        let (line, rows) = numbers.split_at(2.min(numbers.len()));
        let [slope, bias] = [0, 1].map(|place: usize| line.get(place).copied().unwrap_or_default());
        let table: Vec<f32> = rows.iter().copied().chain([0.0]).map(|row| row * LN_2).collect();
        let of_rows: Vec<f32> =
            self.linear.iter().map(|linear| LN_2 * rows.get(linear.row).copied().unwrap_or_default()).collect();
        let graph = &mut self.graph;
        let [closest, farthest, one] = [CLOSEST, 1.0 - CLOSEST, 1.0].map(|value| graph.float(value));
        let inside = graph.op("Clip", &[score, &closest, &farthest], Vec::new());
        let rest = graph.op("Sub", &[&one, &inside], Vec::new());
        let [yes, no] = [&inside, &rest].map(|share| graph.op("Log", &[share], Vec::new()));
        let odds = graph.op("Sub", &[&yes, &no], Vec::new());
        let slope = graph.float(slope);
        let scaled = graph.op("Mul", &[&odds, &slope], Vec::new());
        let table = graph.floats(&[table.len()], &table);
        let picked = graph.op("Gather", &[&table, picked_rows], Vec::new());
        let mut sum = graph.sum(&picked, 1);
        sum = graph.op("Add", &[&sum, &scaled], Vec::new());
        let bias = graph.float(LN_2 * bias);
        sum = graph.op("Add", &[&sum, &bias], Vec::new());
        if let Some(scales) = scales {
            let of_rows = graph.floats(&[of_rows.len()], &of_rows);
            let straight = graph.op("MatMul", &[scales, &of_rows], Vec::new());
            sum = graph.op("Add", &[&sum, &straight], Vec::new());
        }
        let [low, high] = [-FARTHEST * LN_2, FARTHEST * LN_2].map(|value| graph.float(value));
        let clipped = graph.op("Clip", &[&sum, &low, &high], Vec::new());
        graph.op("Sigmoid", &[&clipped], Vec::new())
    }

    /// Returns the attributions with the gate held, and their base. They sum the expert lanes of
    /// the rows that a record picks, weighted by the gate.
    fn frozen(&mut self, gate: &str, picked: &str, scales: Option<&str>, [bias, lines]: [&[f32]; 2]) -> (Name, Name) {
        let (experts, features) = (self.experts, self.picked.len());
        let of_experts = |row: &[f32]| row.iter().skip(experts).map(|weight| weight * LN_2).collect::<Vec<_>>();
        let ln_2 = self.graph.float(LN_2);
        let scaled_gate = self.graph.op("Mul", &[gate, &ln_2], Vec::new());
        let last = self.graph.integers(&[1], &[2]);
        let column = self.graph.op("Unsqueeze", &[&scaled_gate, &last], Vec::new());
        let lanes = self.graph.slice(picked, 2, [experts, 2 * experts]);
        let weighed = self.graph.op("MatMul", &[&lanes, &column], Vec::new());
        let mut values = self.graph.op("Squeeze", &[&weighed, &last], Vec::new());
        if let Some(scales) = scales {
            let columns: Vec<Vec<f32>> = lines.chunks_exact(2 * experts).map(of_experts).collect();
            let by_lane: Vec<f32> =
                (0..experts).flat_map(|lane| columns.iter().filter_map(move |row| row.get(lane).copied())).collect();
            let by_lane = self.graph.floats(&[experts, columns.len()], &by_lane);
            let slopes = self.graph.op("MatMul", &[gate, &by_lane], Vec::new());
            let straight = self.graph.op("Mul", &[&slopes, scales], Vec::new());
            let mut places = vec![0.0; self.linear.len() * features];
            for (place, linear) in places.chunks_exact_mut(features.max(1)).zip(&self.linear) {
                if let Some(own) = place.get_mut(linear.feature) {
                    *own = 1.0;
                }
            }
            let places = self.graph.floats(&[self.linear.len(), features], &places);
            let placed = self.graph.op("MatMul", &[&straight, &places], Vec::new());
            values = self.graph.op("Add", &[&values, &placed], Vec::new());
        }
        let bias = self.graph.floats(&[experts], &of_experts(bias));
        let base = self.graph.op("MatMul", &[gate, &bias], Vec::new());
        (values, base)
    }
}
