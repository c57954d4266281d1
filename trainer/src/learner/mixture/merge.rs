//! Several mixtures over the same encoding become one.
//!
//! **Joined**, all experts stand side by side (FEAMOE, section 4.2: the models of single years are
//! the experts of one mixture). A softmax within a part does not change where all its gate lanes
//! gain the same. So the gate of part s, with n_s of N records, is moved in two steps:
//!
//! ```text
//! row r:  every gate lane loses  sum_k g_k w_rk        g: the gate of the part at the mean record
//! bias:   every gate lane gains  log2(n_s / N) - log2 sum_k 2^(a_k(mean))
//! ```
//!
//! Around the mean record of all parts, each part then has its share of the records, wherever a
//! record lies: to first order, its say does not depend on the record. At the mean record the score
//! is the mean of the parts' scores, weighted by their records. (Without the first step the say of
//! a part depends on where its gate lanes happen to have drifted together: four shards of Adult by
//! education had a log-loss of 0.2909 for 0.2885, by hash 0.2765 for 0.2758, of four copies.)
//!
//! **Averaged**, each weight row is the mean of the parts' rows, weighted by the records that
//! picked it. That is of use where parts started from the same mixture, or where there is one
//! expert each.
//!
//! A part's gains go into its current rows, as far as they differ from the mean gain. A level that
//! no record of a part has picked counts as the unseen one there, so its row is that in what is
//! joined.

use feamoe_engine::limits::MAX_EXPERTS;

use super::{Closeness, FIRST_SQUARE, Gains, Mixture, Table};
use crate::encoder::{Encoder, Example};

/// One of several mixtures, with the encoder that has counted its records.
pub(in super::super) struct Part<'a> {
    pub mixture: &'a Mixture,
    pub encoder: &'a Encoder,
}

/// Returns the share of each part in each weight row: by the records that picked it, or by all
/// records where none did.
#[allow(clippy::cast_precision_loss)] // counts
pub(in super::super) fn row_shares(encoders: &[&Encoder]) -> Vec<Vec<f64>> {
    let all = encoders.iter().map(|encoder| encoder.rows_seen() as f64).sum::<f64>().max(1.0);
    let picked: Vec<Vec<f64>> = encoders.iter().map(|encoder| encoder.picked()).collect();
    let share = |encoder: &&Encoder, picked_here: &Vec<f64>| {
        let of_row = |(row, own): (usize, &f64)| {
            let total: f64 = picked.iter().filter_map(|picked| picked.get(row)).sum();
            if total > 0.0 { own / total } else { encoder.rows_seen() as f64 / all }
        };
        picked_here.iter().enumerate().map(of_row).collect()
    };
    encoders.iter().zip(&picked).map(|(encoder, picked)| share(encoder, picked)).collect()
}

impl Mixture {
    /// Returns the mixture of all experts of some parts, at most [`MAX_EXPERTS`].
    #[allow(clippy::cast_precision_loss)] // counts
    pub(in super::super) fn join(parts: &[Part<'_>]) -> Self {
        let gains = common_gains(parts);
        let prepared: Vec<Self> = parts.iter().map(|part| part.prepared(&gains)).collect();
        let all = parts.iter().map(|part| part.encoder.rows_seen() as f64).sum::<f64>().max(1.0);
        let mut mean: Vec<f64> = Vec::new();
        for part in parts {
            mean.resize(mean.len().max(part.encoder.n_rows()), 0.0);
            mean.iter_mut().zip(part.encoder.mass()).for_each(|(mean, mass)| *mean += mass / all);
        }
        let joined = |table: &dyn Fn(&Self) -> &Table, has_gains: bool| {
            let shared: Vec<(Table, usize)> = prepared
                .iter()
                .zip(parts)
                .map(|(mixture, part)| {
                    let mut table = table(mixture).clone();
                    let gain = |row: usize| if has_gains { f64::from(gains.of(row)) } else { 1.0 };
                    let scales = mean.iter().enumerate().map(|(row, scale)| scale * gain(row));
                    share_gate(&mut table, mixture.experts, scales, part.encoder.rows_seen() as f64 / all);
                    (table, mixture.experts)
                })
                .collect();
            Table::side_by_side(&shared.iter().map(|(table, experts)| (table, *experts)).collect::<Vec<_>>(), 0.0)
        };
        let squares: Vec<(&Table, usize)> = prepared.iter().map(|part| (&part.squares, part.experts)).collect();
        let (squares, experts) = (Table::side_by_side(&squares, FIRST_SQUARE), squares.iter().map(|(_, k)| k).sum());
        let newest = prepared.last().map_or(0, |last| experts - last.experts + last.newest);
        let mut merged = Self {
            experts,
            newest,
            weights: joined(&|part| &part.weights, true),
            squares,
            deciding: joined(&|part| &part.deciding, false),
            exported: joined(&|part| &part.exported, false),
            usage: prepared.iter().flat_map(|part| part.usage.iter().copied()).collect(),
            gains,
            ..Self::new()
        };
        merged.count(parts);
        merged
    }

    /// Returns the mean of some parts of the same number of experts.
    #[allow(clippy::cast_precision_loss)] // counts
    pub(in super::super) fn average(parts: &[Part<'_>]) -> Self {
        let gains = common_gains(parts);
        let prepared: Vec<Self> = parts.iter().map(|part| part.prepared(&gains)).collect();
        let encoders: Vec<&Encoder> = parts.iter().map(|part| part.encoder).collect();
        let all = encoders.iter().map(|encoder| encoder.rows_seen() as f64).sum::<f64>().max(1.0);
        let shares = row_shares(&encoders);
        let mean = |table: &dyn Fn(&Self) -> &Table| {
            let weighed = prepared.iter().zip(&encoders).zip(&shares);
            let weighed: Vec<(&Table, f64, &[f64])> = weighed
                .map(|((part, encoder), shares)| (table(part), encoder.rows_seen() as f64 / all, shares.as_slice()))
                .collect();
            Table::mean(&weighed)
        };
        let Some((first, others)) = prepared.split_first() else { return Self::new() };
        let mut squares = first.squares.clone();
        others.iter().for_each(|part| squares.add_past(&part.squares, FIRST_SQUARE));
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

    /// Counts the records of all parts, and those since their drifts as the last ones.
    fn count(&mut self, parts: &[Part<'_>]) {
        let sum = |of: &dyn Fn(&Mixture) -> u64| parts.iter().map(|part| of(part.mixture)).fold(0, u64::saturating_add);
        self.records = sum(&|part| part.records);
        self.averaged_at = self.records;
        let since = sum(&|part| part.records - part.drifted_at.unwrap_or(0).min(part.records));
        let has_drifted = parts.iter().any(|part| part.mixture.drifted_at.is_some());
        self.drifted_at = has_drifted.then(|| self.records - since);
    }

    /// Learns anew, from some examples, how close the experts are.
    pub(in super::super) fn compare_experts(&mut self, sample: &[Example]) {
        self.closeness = Closeness::default();
        for example in sample {
            _ = self.forward(&example.terms, &example.blocks, 0.0);
            self.closeness.observe(&self.pass.gate, &self.pass.outputs);
        }
    }

    /// Makes one expert of the closest two until this number is left; `sample`: what closeness is
    /// measured on. Returns whether there were more.
    pub(in super::super) fn merge_down(&mut self, experts: usize, sample: &[Example]) -> bool {
        let experts = experts.clamp(1, MAX_EXPERTS);
        let had_more = self.experts > experts;
        while self.experts > experts {
            self.compare_experts(sample);
            // Too few examples to know any pair by: the last two.
            let (into, from) = self.merge_closest().unwrap_or((self.experts - 2, self.experts - 1));
            for table in [&mut self.weights, &mut self.deciding, &mut self.exported] {
                table.remove_expert(self.experts, from, 0.0);
            }
            self.squares.remove_expert(self.experts, from, FIRST_SQUARE);
            self.usage.remove(from);
            self.experts -= 1;
            let after = |expert: usize| expert - usize::from(expert > from);
            self.newest = if self.newest == from { after(into) } else { after(self.newest) };
        }
        self.compare_experts(sample);
        had_more
    }
}

fn common_gains(parts: &[Part<'_>]) -> Gains {
    #[allow(clippy::cast_precision_loss)] // counts
    let known: Vec<(&Gains, f64)> =
        parts.iter().map(|part| (&part.mixture.gains, part.encoder.rows_seen() as f64)).collect();
    Gains::merge(&known)
}

impl Part<'_> {
    /// Returns the part's mixture with a row for every one of the encoding, scaled for the common
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

/// Gives a part its share of the gate around the mean record, which picks the rows with these
/// scales.
#[allow(clippy::cast_possible_truncation)] // as precise as a weight
fn share_gate(table: &mut Table, experts: usize, scales: impl Iterator<Item = f64> + Clone, share: f64) {
    let (gate, _) = softmax(&table.gates_at(experts, scales.clone()));
    table.for_each_row(experts, |row, lanes, _| {
        if row.is_some() {
            let common = lanes.iter().zip(&gate).map(|(lane, gate)| gate * f64::from(*lane)).sum::<f64>() as f32;
            lanes.iter_mut().for_each(|lane| *lane -= common);
        }
    });
    let (_, total) = softmax(&table.gates_at(experts, scales));
    let shift = (libm::log2(share) - total) as f32;
    table.bias.iter_mut().take(experts).for_each(|lane| *lane += shift);
}

/// Returns the softmax of logits in log2 units, and the logarithm of its denominator.
fn softmax(logits: &[f64]) -> (Vec<f64>, f64) {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(*logit));
    let powers: Vec<f64> = logits.iter().map(|logit| libm::exp2(logit - largest)).collect();
    let sum: f64 = powers.iter().sum();
    (powers.iter().map(|power| power / sum).collect(), largest + libm::log2(sum))
}
