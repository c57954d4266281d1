//! Copies a model with fewer experts: the two experts whose merging changes the scores the least
//! become one, until few enough are left.
//!
//! A pair is merged as the learner merges (`Merger`). The chosen pair is the one after which the
//! mean of `|p' - p|` over some records is the smallest, where p is the score of the original
//! model. This is measured, whereas the learner estimates it while it learns. A logit of the merged
//! expert is a weighted sum of two logits, so a pair takes two exponentials and K sums per record.
//!
//! Mean change of the score over the 1,000 background records of models trained with 12 experts and
//! merged to 5, with pairs chosen by this rule and by the learner's estimate (`Closeness`):
//!
//! | data                    | measured | estimated |
//! | ----------------------- | -------- | --------- |
//! | Adult                   | 0.0060   | 0.0060    |
//! | Adult, `spd`, `aod`     | 0.0058   | 0.0068    |
//! | COMPAS                  | 0.0012   | 0.0026    |
//! | Diabetes-130            | 0.0079   | 0.0082    |
//!
//! Squared changes choose pairs that are as good. A search for a better share than the share of use
//! takes eleven times as long and gains at most a seventh on these data.

use feamoe_engine::format::Description;
use feamoe_engine::mixture::{logits, stride, tame};
use feamoe_engine::{FeatureIndex, LoadError, RecordError, Value};
use rayon::prelude::*;

use super::blob::{EncodeError, assemble};
use super::card::{Card, CardError};
use super::device::Sections;
use super::merger::Merger;
use crate::model::{AlignedBytes, HostModel, check_floats};

/// Why a copy with fewer experts cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FewerError {
    /// The engine refuses the model, for example because its weights are integers, or (which should
    /// not happen) its copy.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The requested number of experts is 0, or not below that of the model.
    #[error("the model has {found} experts, but {asked} were asked for; ask for fewer than it has, and at least one")]
    WrongNumber {
        /// Number of experts of the model.
        found: usize,
        /// Number of experts requested.
        asked: usize,
    },
    /// There is no record to measure on.
    #[error("there are no records to measure the change from merging experts")]
    NoRecords,
    /// A record does not fit this model.
    #[error("a record does not fit the model: {0}")]
    Record(#[from] RecordError),
    /// Its card cannot be read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The copy could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Returns copies of a blob of float weights, each with one expert fewer than the previous one: the
/// first has one less than the blob, the last has `experts`, at least 1. Each has been read back
/// through the engine.
///
/// `records` are the records to measure on. Each has a value per feature; values past its last are
/// missing. Names, background, deviations, calibration and provenance are copied byte by byte. The
/// calibration depends on the experts only through the score: it is as accurate as the score. The
/// options in the card state that experts were merged, and the earlier measurements are removed.
///
/// The same blob and records give the same bytes on any machine, whatever the number of threads.
/// *Cost*, with K experts: in each step, two exponentials and K sums per record and pair; down to
/// one expert, about `K^3 / 3` exponentials per record. *Memory*: the copies, and about 30 bytes
/// per record and lane.
///
/// # Errors
/// See [`FewerError`].
pub fn fewer_experts(
    blob: &AlignedBytes,
    experts: usize,
    records: &[Vec<Value>],
) -> Result<Vec<AlignedBytes>, FewerError> {
    let model = HostModel::load(blob.as_slice())?;
    let found = model.experts();
    if !(1..found).contains(&experts) {
        return Err(FewerError::WrongNumber { found, asked: experts });
    }
    if records.is_empty() {
        return Err(FewerError::NoRecords);
    }
    let sections = Sections::of(blob.as_slice()).map_err(EncodeError::from)?;
    let card = Card::of(blob)?;
    let (mut weights, edges) = Lanes::of_weights(&sections);
    let mut measured = Measured::new(Lanes::of_logits(&model, &weights, records)?);
    let mut copies = Vec::new();
    for left in (experts..found).rev() {
        let Some(merger) = measured.cheapest() else { break };
        measured.logits.merge(&merger, records.len());
        weights.merge(&merger, 1);
        let copy = copy(&sections, &weights, edges)?;
        copies.push(match &card {
            Some(card) => merged_card(card, left).put_into(&copy)?,
            None => copy,
        });
    }
    Ok(copies)
}

/// Returns the blob with these weights, after the engine has read it back.
fn copy(sections: &Sections<'_>, weights: &Lanes, edges: &[u8]) -> Result<AlignedBytes, FewerError> {
    let experts = u8::try_from(weights.experts).unwrap_or(u8::MAX);
    let head = sections.head_with(&Description { experts, ..sections.description }).map_err(EncodeError::from)?;
    let others: Vec<_> = sections.sections.iter().map(|(flag, section)| (*flag, section.to_vec())).collect();
    let values: Vec<u8> =
        weights.lanes.iter().flat_map(|weight| weight.to_le_bytes()).chain(edges.iter().copied()).collect();
    let copy = assemble(head, &others, &values)?;
    check_floats(&copy)?;
    Ok(copy)
}

/// Returns the card of a model whose experts were merged to this number.
fn merged_card(card: &Card, experts: usize) -> Card {
    let mut card = Card { measured: None, ..card.clone() };
    let option = card.options.entry("experts".to_owned()).or_default();
    let merged = format!("{option} merged to {experts}");
    merged.trim_start().clone_into(option);
    card
}

/// Rows of lanes in the order of the engine's weights: gate lanes, expert lanes, zeros up to the
/// stride.
struct Lanes {
    experts: usize,
    lanes: Vec<f32>,
}

impl Lanes {
    /// Takes the weights of a blob: the bias and every weight row. Also returns the bytes of the
    /// edges.
    fn of_weights<'b>(sections: &Sections<'b>) -> (Self, &'b [u8]) {
        let experts = usize::from(sections.description.experts);
        let rows = 1 + sections.kinds.iter().map(|kind| kind.rows() as usize).sum::<usize>();
        let (weights, edges) = sections.values.split_at(size_of::<f32>() * stride(experts) * rows);
        let lanes = weights.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (Self { experts, lanes }, edges)
    }

    /// Returns the logits of every record, one row each, clamped to the range of the exponentials.
    fn of_logits(model: &HostModel<'_>, weights: &Self, records: &[Vec<Value>]) -> Result<Self, RecordError> {
        let experts = weights.experts;
        let stride = stride(experts);
        let (bias, rows) = weights.lanes.split_at(stride);
        let mut lanes = vec![0.0; stride * records.len()];
        let mut record = model.record();
        for (values, lanes) in records.iter().zip(lanes.chunks_exact_mut(stride)) {
            record.clear();
            for (feature, value) in values.iter().enumerate() {
                _ = record.set_value(FeatureIndex(feature), *value)?;
            }
            logits(bias, rows, record.terms(), lanes);
            // A common shift of the gate lanes remains a common shift when they are averaged.
            tame(lanes, experts);
        }
        Ok(Self { experts, lanes })
    }

    /// Merges two experts. The first `biased` rows include a bias: there the gate lane gains the
    /// entropy.
    fn merge(&mut self, merger: &Merger, biased: usize) {
        let Self { experts, lanes } = self;
        let (experts, left) = (*experts, *experts - 1);
        let entropy = merger.entropy();
        let mut kept = Vec::with_capacity(lanes.len());
        for (index, row) in lanes.chunks_exact_mut(stride(experts)).enumerate() {
            let (gate, outputs) = row.split_at_mut(experts);
            merger.average(gate, outputs);
            if index < biased {
                gate[merger.into] += entropy;
            }
            for lanes in [&*gate, &outputs[..experts]] {
                kept.extend_from_slice(&lanes[..merger.from]);
                kept.extend_from_slice(&lanes[merger.from + 1..]);
            }
            kept.extend(std::iter::repeat_n(0.0, stride(left) - 2 * left));
        }
        *self = Self { experts: left, lanes: kept };
    }

    fn rows(&self) -> impl Iterator<Item = [&[f32]; 2]> {
        let experts = self.experts;
        self.lanes.chunks_exact(stride(experts)).map(move |row| [&row[..experts], &row[experts..2 * experts]])
    }
}

/// The records on which merging is measured.
struct Measured {
    logits: Lanes,
    /// Their scores by the original model.
    scores: Vec<f64>,
}

/// A record's mixture: `p = sum_k t_k o_k / sum_k t_k`.
struct Sums {
    /// By expert, `[t, t o]`.
    parts: Vec<[f64; 2]>,
    sum: [f64; 2],
}

impl Sums {
    fn new([gate, outputs]: [&[f32]; 2]) -> Self {
        let part = |(u, z): (&f32, &f32)| part(f64::from(*u), f64::from(*z));
        let parts: Vec<[f64; 2]> = gate.iter().zip(outputs).map(part).collect();
        let sum = parts.iter().fold([0.0; 2], |[t, to], part| [t + part[0], to + part[1]]);
        Self { parts, sum }
    }
}

/// Returns `[t, t o]` of an expert from the logits of its gate and its output, in log2 units.
fn part(u: f64, z: f64) -> [f64; 2] {
    let t = libm::exp2(u);
    [t, t / (1.0 + libm::exp2(-z))]
}

impl Measured {
    fn new(logits: Lanes) -> Self {
        let scores = logits.rows().map(|row| Sums::new(row).sum).map(|[t, to]| to / t).collect();
        Self { logits, scores }
    }

    /// Returns the pair whose merging changes the scores the least; the first among equals. `None`
    /// with a single expert.
    fn cheapest(&self) -> Option<Merger> {
        let sums: Vec<Sums> = self.logits.rows().map(Sums::new).collect();
        let experts = self.logits.experts;
        let used: Vec<f64> =
            (0..experts).map(|expert| sums.iter().map(|sums| sums.parts[expert][0] / sums.sum[0]).sum()).collect();
        let pairs: Vec<Merger> = (0..experts)
            .flat_map(|a| (a + 1..experts).map(move |b| (a, b)))
            .map(|(a, b)| if used[a] >= used[b] { (a, b) } else { (b, a) })
            .map(|(into, from)| {
                #[allow(clippy::cast_possible_truncation)] // a mean gate weight times the records
                let used = [used[into] as f32, used[from] as f32];
                Merger::new(into, from, used)
            })
            .collect();
        let costs: Vec<f64> = pairs.par_iter().map(|merger| self.cost(merger, &sums)).collect();
        let cheapest = pairs.into_iter().zip(costs).min_by(|(_, a), (_, b)| a.total_cmp(b));
        cheapest.map(|(merger, _)| merger)
    }

    /// Returns the total change of the scores from the original model's if two experts are merged.
    fn cost(&self, merger: &Merger, sums: &[Sums]) -> f64 {
        let Merger { into, from, share } = *merger;
        let (w, entropy) = (f64::from(share), f64::from(merger.entropy()));
        let moved = self.logits.rows().zip(sums).zip(&self.scores).map(|(([gate, outputs], sums), score)| {
            let average = |lanes: &[f32]| w * f64::from(lanes[into]) + (1.0 - w) * f64::from(lanes[from]);
            let merged = part(average(gate) + entropy, average(outputs));
            // The other experts are summed again: subtracting from the total would lose precision.
            let others = sums.parts.iter().enumerate().filter(|(expert, _)| *expert != into && *expert != from);
            let [t, to] = others.fold(merged, |[t, to], (_, part)| [t + part[0], to + part[1]]);
            (to / t - score).abs()
        });
        moved.sum()
    }
}
