//! Merges several mixtures over the same encoding.
//!
//! **Joined**, all experts stand side by side (FEAMOE, section 4.2: the models of single years are
//! the experts of one mixture). The softmax within a part does not change if all its gate lanes
//! gain the same amount. So the gate of part s, with n_s of N records, is moved in two steps:
//!
//! ```text
//! row r:  every gate lane loses  sum_k g_k w_rk        g: the gate of the part at the mean record
//! bias:   every gate lane gains  c_s, so that over a sample of all records
//!         mean of 2^(c_s) S_s / sum_t 2^(c_t) S_t  =  n_s / N        S_s = sum_k 2^(a_k)
//! ```
//!
//! The first step makes the influence of a part depend on the record as little as its own gate
//! allows. (Without it, the influence depends on where the part's gate lanes happen to have drifted
//! together: four shards of Adult by education had a log-loss of 0.2909 against 0.2885, by hash
//! 0.2765 against 0.2758, of four copies.) The second step gives each part its share, whatever the
//! number of its experts. If shares were set at the mean record alone, then of two parts with the
//! same records one with twelve experts would get 0.63 of the influence and one with a single
//! expert 0.37.
//!
//! **Averaged**, each weight row is the mean of the parts' weight rows, weighted by the records
//! that contain it. That is useful if the parts started from the same mixture, or have one expert
//! each.
//!
//! If records have weights, n_s is their sum.
//!
//! A part's gains are multiplied into its current weight rows as far as they differ from the mean
//! gain. A level that no record of a part contains counts as unseen there, so the part contributes
//! its weight row of the unseen level.

use feamoe_engine::limits::MAX_EXPERTS;
use feamoe_engine::mixture::Term;

use super::{Closeness, FIRST_SQUARE, Gains, Mixture, Pass, Table};
use crate::encoder::{Encoder, Example};

/// One of the mixtures, with the encoder that has counted its records.
pub(in super::super) struct Part<'a> {
    pub mixture: &'a Mixture,
    pub encoder: &'a Encoder,
    /// The mean weight of its records, above 0.
    pub weight: f64,
}

impl Part<'_> {
    /// Returns the number of records times their mean weight.
    #[allow(clippy::cast_precision_loss)] // a count
    fn records(&self) -> f64 {
        self.weight * self.encoder.rows_seen() as f64
    }
}

/// The smallest share of a part: its logarithm must be finite.
const LEAST_SHARE: f64 = 1e-12;
/// Maximum number of rounds in which the gate is shared out, and the largest difference to the
/// shares at which they end, in log2 units.
const ROUNDS: usize = 500;
const NEAR: f64 = 1e-7;

/// Returns the share of each part in all records.
fn shares(parts: &[Part<'_>]) -> Vec<f64> {
    let all: f64 = parts.iter().map(Part::records).sum();
    parts.iter().map(|part| (part.records() / all).max(LEAST_SHARE)).collect()
}

/// Returns the share of each part in each weight row: by the records that contain it, or by all
/// records if none do.
pub(in super::super) fn row_shares(parts: &[Part<'_>]) -> Vec<Vec<f64>> {
    let picked = |part: &Part<'_>| part.encoder.picked().iter().map(|picked| picked * part.weight).collect();
    let picked: Vec<Vec<f64>> = parts.iter().map(picked).collect();
    let share = |(own, of_all): (&Vec<f64>, f64)| {
        let of_row = |(row, own): (usize, &f64)| {
            let total: f64 = picked.iter().filter_map(|picked| picked.get(row)).sum();
            if total > 0.0 { own / total } else { of_all }
        };
        own.iter().enumerate().map(of_row).collect()
    };
    picked.iter().zip(shares(parts)).map(share).collect()
}

impl Mixture {
    /// Returns the mixture of all experts of the parts, at most [`MAX_EXPERTS`]. `sample` holds
    /// records of all parts.
    pub(in super::super) fn join(parts: &[Part<'_>], sample: &[Example]) -> Self {
        let (gains, shares) = (common_gains(parts), shares(parts));
        let prepared: Vec<Self> = parts.iter().map(|part| part.prepared(&gains)).collect();
        let all: f64 = parts.iter().map(Part::records).sum();
        let mut mean: Vec<f64> = Vec::new();
        for part in parts {
            mean.resize(mean.len().max(part.encoder.n_rows()), 0.0);
            let masses = part.encoder.mass().iter();
            mean.iter_mut().zip(masses).for_each(|(mean, mass)| *mean += part.weight * mass / all);
        }
        let experts: Vec<usize> = prepared.iter().map(|part| part.experts).collect();
        let joined = |table: &dyn Fn(&Self) -> &Table, has_gains: bool| {
            let gain = |row: usize| if has_gains { f64::from(gains.of(row)) } else { 1.0 };
            let levelled: Vec<Table> = prepared
                .iter()
                .map(|mixture| {
                    let mut table = table(mixture).clone();
                    let scales = mean.iter().enumerate().map(|(row, scale)| scale * gain(row));
                    level_gate(&mut table, mixture.experts, scales);
                    table
                })
                .collect();
            let parts: Vec<(&Table, usize)> = levelled.iter().zip(experts.iter().copied()).collect();
            let mut joined = Table::side_by_side(&parts, 0.0);
            let mut terms = Vec::new();
            let scaled = sample.iter().map(|example| match has_gains {
                true => {
                    gains.scale(&example.terms, &mut terms);
                    terms.clone()
                }
                false => example.terms.clone(),
            });
            share_gate(&mut joined, &experts, &shares, scaled);
            joined
        };
        let squares: Vec<(&Table, usize)> = prepared.iter().map(|part| (&part.squares, part.experts)).collect();
        let n_experts = experts.iter().sum();
        let mut merged = Self {
            experts: n_experts,
            newest: prepared.last().map_or(0, |last| n_experts - last.experts + last.newest),
            weights: joined(&|part| &part.weights, true),
            squares: Table::side_by_side(&squares, FIRST_SQUARE.get()),
            deciding: joined(&|part| &part.deciding, false),
            exported: joined(&|part| &part.exported, false),
            usage: prepared.iter().flat_map(|part| part.usage.iter().copied()).collect(),
            gains: gains.clone(),
            ..Self::new()
        };
        merged.count(parts);
        merged
    }

    /// Returns the mean of parts with the same number of experts.
    pub(in super::super) fn average(parts: &[Part<'_>]) -> Self {
        let gains = common_gains(parts);
        let prepared: Vec<Self> = parts.iter().map(|part| part.prepared(&gains)).collect();
        let (shares, row_shares) = (shares(parts), row_shares(parts));
        let mean = |table: &dyn Fn(&Self) -> &Table| {
            let weighed = prepared.iter().zip(&shares).zip(&row_shares);
            let weighed: Vec<(&Table, f64, &[f64])> =
                weighed.map(|((part, share), rows)| (table(part), *share, rows.as_slice())).collect();
            Table::mean(&weighed)
        };
        let Some((first, others)) = prepared.split_first() else { return Self::new() };
        let mut squares = first.squares.clone();
        others.iter().for_each(|part| squares.add_past(&part.squares, FIRST_SQUARE.get()));
        let mut usage = first.usage.clone();
        others.iter().for_each(|part| usage.iter_mut().zip(&part.usage).for_each(|(usage, more)| *usage += more));
        let mut merged = Self {
            experts: first.experts,
            newest: prepared.iter().map(|part| part.newest).max().unwrap_or(0),
            weights: mean(&|part| &part.weights),
            squares,
            deciding: mean(&|part| &part.deciding),
            exported: mean(&|part| &part.exported),
            usage,
            gains,
            ..Self::new()
        };
        merged.count(parts);
        merged
    }

    /// Counts the records of all parts. A merge is a new start, like a drift: averages are reset,
    /// and the gate stays quick. (Adult by sex, then trained on 20,000 rows: a log-loss of 0.2770
    /// against 0.2793 with `spd=0.05`, and an SPD of -0.032 against -0.046.)
    fn count(&mut self, parts: &[Part<'_>]) {
        self.records = parts.iter().map(|part| part.mixture.records).fold(0, u64::saturating_add);
        self.averaged_at = self.records;
        self.drifted_at = Some(self.records);
    }

    /// Measures again, on a sample, how close the experts are.
    pub(in super::super) fn compare_experts(&mut self, sample: &[Example]) {
        self.closeness = Closeness::default();
        for example in sample {
            _ = self.forward(&example.terms, &example.blocks, 0.0);
            self.closeness.observe(&self.pass.gate, &self.pass.outputs);
        }
    }

    /// Merges the closest two experts until this number is left. `sample` is what closeness is
    /// measured on. Calls back with each pair: the merged expert, and the one that is removed.
    pub(in super::super) fn merge_down(
        &mut self,
        experts: usize,
        sample: &[Example],
        on_merged: &mut dyn FnMut(usize, usize),
    ) {
        let experts = experts.clamp(1, MAX_EXPERTS);
        while self.experts > experts {
            self.compare_experts(sample);
            // With too few records to know any pair, the last two experts are merged.
            let (into, from) = self.merge_closest().unwrap_or((self.experts - 2, self.experts - 1));
            for table in [&mut self.weights, &mut self.deciding, &mut self.exported] {
                table.remove_expert(self.experts, from, 0.0);
            }
            self.squares.remove_expert(self.experts, from, FIRST_SQUARE.get());
            self.usage.remove(from);
            self.experts -= 1;
            let after = |expert: usize| expert - usize::from(expert > from);
            self.newest = if self.newest == from { after(into) } else { after(self.newest) };
            on_merged(into, from);
        }
        self.compare_experts(sample);
    }
}

fn common_gains(parts: &[Part<'_>]) -> Gains {
    Gains::merge(&parts.iter().map(|part| (&part.mixture.gains, part.records())).collect::<Vec<_>>())
}

impl Part<'_> {
    /// Returns the part's mixture with every weight row of the encoding, scaled for the common
    /// gains.
    fn prepared(&self, common: &Gains) -> Mixture {
        let mut mixture = self.mixture.clone();
        mixture.make_room(self.encoder.n_rows());
        let Mixture { experts, weights, gains, .. } = &mut mixture;
        weights.for_each_row(*experts, |row, gate, outputs| {
            let Some(row) = row else { return };
            let (own, common) = (gains.of(row), common.of(row));
            if common > 0.0 && own != common {
                gate.iter_mut().chain(outputs).for_each(|lane| *lane *= own / common);
            }
        });
        for [level, unseen] in self.encoder.stand_ins() {
            for table in [&mut mixture.weights, &mut mixture.deciding, &mut mixture.exported] {
                table.copy_row(unseen as usize, level as usize);
            }
        }
        mixture
    }
}

/// Subtracts from the gate of a part, in each weight row, what its lanes have in common around the
/// mean record, which contains the weight rows with these scales.
#[allow(clippy::cast_possible_truncation)] // as precise as a weight
fn level_gate(table: &mut Table, experts: usize, scales: impl Iterator<Item = f64> + Clone) {
    let gate = softmax(&table.gates_at(experts, scales));
    table.for_each_row(experts, |row, lanes, _| {
        if row.is_some() {
            let common = lanes.iter().zip(&gate).map(|(lane, gate)| gate * f64::from(*lane)).sum::<f64>() as f32;
            lanes.iter_mut().for_each(|lane| *lane -= common);
        }
    });
}

/// Shifts the gate of each part, which have these numbers of experts, so that the part has its
/// share of the influence on average over some records. It uses the contraction of Berry, Levinsohn
/// and Pakes (1995), which adds to each logarithm what its share lacks.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // as precise as a weight; a count
fn share_gate(table: &mut Table, experts: &[usize], shares: &[f64], sample: impl Iterator<Item = Vec<Term>>) {
    let n_experts = experts.iter().sum();
    let mut pass = Pass::default();
    let says: Vec<Vec<f64>> = sample
        .map(|terms| {
            _ = pass.run(table, &terms, n_experts, 0.0);
            let mut gate = pass.logits.iter().map(|logit| f64::from(*logit));
            experts.iter().map(|experts| log2_sum(&gate.by_ref().take(*experts).collect::<Vec<_>>())).collect()
        })
        .collect();
    let mut shifts = vec![0.0; shares.len()];
    for _ in 0..ROUNDS {
        let mut means = vec![0.0; shares.len()];
        for say in &says {
            let gate = softmax(&say.iter().zip(&shifts).map(|(say, shift)| say + shift).collect::<Vec<_>>());
            means.iter_mut().zip(gate).for_each(|(mean, gate)| *mean += gate / says.len() as f64);
        }
        let missing: Vec<f64> =
            means.iter().zip(shares).map(|(mean, share)| libm::log2(share / mean.max(LEAST_SHARE))).collect();
        shifts.iter_mut().zip(&missing).for_each(|(shift, missing)| *shift += missing);
        if missing.iter().all(|missing| missing.abs() < NEAR) {
            break;
        }
    }
    let of_lane = experts.iter().zip(shifts).flat_map(|(experts, shift)| std::iter::repeat_n(shift as f32, *experts));
    table.bias.iter_mut().zip(of_lane).for_each(|(lane, shift)| *lane += shift);
}

/// Returns the softmax of logits in log2 units.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let all = log2_sum(logits);
    logits.iter().map(|logit| libm::exp2(logit - all)).collect()
}

/// Returns log2 of the sum of the numbers with these logarithms.
fn log2_sum(logits: &[f64]) -> f64 {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(*logit));
    largest + libm::log2(logits.iter().map(|logit| libm::exp2(logit - largest)).sum::<f64>())
}
