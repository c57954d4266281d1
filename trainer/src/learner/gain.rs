//! The gain of each block of weight rows: a factor learned from each record before the weights
//! learn from it.
//!
//! A *block* is what one feature adds at one resolution: the line through a number, its hats, its
//! bins, or the levels of a category. All its weight rows are scaled by one gain:
//!
//! ```text
//! logits = bias + sum over terms of gain of the row's block * scale * row
//! ```
//!
//! Every block learns its weight rows as if its gain were 1. The gain is the factor with which they
//! would have predicted best so far. Let `r = gradient . (scale * row)` be the derivative of a
//! record's loss in the gain, taken before the record is learned from, and let `r^2` stand for its
//! curvature (Fisher's). Then the gain is the Newton step of a quadratic through all records:
//!
//! ```text
//! gain = sum (gain_t r_t^2 - r_t) / sum r_t^2,        both with a prior of one at gain 1
//! ```
//!
//! The contribution of *bins* beside the hats of a number counts only as far as it is beyond
//! chance:
//!
//! ```text
//! counted = gain max(0, 1 - (1.5 / gain)^2 / sum r_t^2)
//! ```
//!
//! This is the non-negative garrote of Breiman (1995), with `1 / sum r_t^2` as the variance of the
//! gain. A hundred bins of a hundred records each are mostly noise, and their sum may still look
//! like a gain. On 12,000 rows of credit data, models were trained on two halves of the data. Their
//! steps between neighbouring ages correlated by 0.34 without the garrote and by 0.58 with it (one
//! pair, with coarse bins instead of hats); steps between amounts by 0.18 and 0.67. On hats and
//! categories the garrote loses more than it gains (log-loss of Adult higher by 0.003 and more).
//!
//! So weight rows that only follow noise shrink to 0, as in the estimator of James and Stein
//! (1961), and weight rows that are right but slow count for more than they learned. No rows are
//! held out for this: each record is a held-out one before it is learned from. That holds in the
//! first pass only; in later passes the gains do not change.
//!
//! Adult, one pass (`feamoe study --only adult`): log-loss 0.2767 and accuracy 0.8732; one set of
//! 64 bins without gains had 0.2865 and 0.8711.
//!
//! *Cost:* a product of the gradient with each weight row of a record. *Memory:* three numbers per
//! block, one per weight row.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::mixture::Term;
use serde::{Deserialize, Serialize};

use crate::encoder;

/// Weight of the prior, in squared derivatives.
static PRIOR: Tuned<f32> = tuned!(1.0);
/// Largest gain.
static LARGEST: Tuned<f32> = tuned!(8.0);
/// Standard errors by which the gain of bins beside hats has to exceed 0.
static STANDARD_ERRORS: Tuned<f32> = tuned!(1.5);
/// Records that the sums cover: a block that was useful long ago may not be useful now.
static REACH: Tuned<f32> = tuned!(8000.0);
/// Share of the evidence that is kept at a drift.
static KEPT_AT_DRIFT: Tuned<f32> = tuned!(0.1);

/// The gains of all blocks, and the block of every row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Gains {
    block_of_row: Vec<encoder::Block>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Block {
    gain: f32,
    /// `sum (gain r^2 - r)`, fading.
    wanted: f32,
    /// `sum r^2`, fading.
    curvature: f32,
}

impl Block {
    const NEW: Self = Self { gain: 1.0, wanted: 0.0, curvature: 0.0 };

    /// Returns the mean of several blocks, weighted by their records. `wanted` is chosen so that
    /// the evidence gives this mean as the gain. The caller scales the weight rows by their gain
    /// over the mean.
    #[allow(clippy::cast_possible_truncation)] // as precise as a gain
    fn merge(parts: &[(Self, f64)], is_fine: bool) -> Self {
        let all: f64 = parts.iter().map(|(_, records)| records).sum();
        if all == 0.0 {
            return Self::NEW;
        }
        let mean = |of: &dyn Fn(&Self) -> f64| {
            parts.iter().map(|(block, records)| records / all * of(block)).sum::<f64>() as f32
        };
        let gain = mean(&|block| block.gain.into()).clamp(0.0, LARGEST.get());
        // Evidence fades: many records leave no more of it than the last `REACH` records.
        let reach = f64::from(REACH.get());
        let left: f64 = parts.iter().map(|(_, records)| records.min(reach)).sum();
        let kept = left.min(reach) / left;
        let curvature: f64 = parts
            .iter()
            .map(|(block, _)| {
                let scaled = if gain > 0.0 { f64::from(block.gain / gain) } else { 1.0 };
                kept * scaled * scaled * f64::from(block.curvature)
            })
            .sum();
        let curvature = curvature as f32;
        let noise =
            if is_fine { STANDARD_ERRORS.get() * STANDARD_ERRORS.get() / (curvature + PRIOR.get()) } else { 0.0 };
        let wanted = if gain > 0.0 {
            0.5 * (gain + (gain * gain + 4.0 * noise).sqrt()) * (curvature + PRIOR.get()) - PRIOR.get()
        } else {
            mean(&|block| block.wanted.into())
        };
        Self { gain, wanted, curvature }
    }

    /// Adds the derivative of one record. `factor` is what the derivative was multiplied by, the
    /// square root of the record's importance.
    fn observe(&mut self, derivative: f32, factor: f32, is_fine: bool) {
        let square = derivative * derivative;
        let kept = 1.0 - 1.0 / REACH.get();
        self.wanted = kept * self.wanted + (self.gain * square - factor * derivative);
        self.curvature = kept * self.curvature + square;
        let curvature = self.curvature + PRIOR.get();
        let gain = ((self.wanted + PRIOR.get()) / curvature).clamp(0.0, LARGEST.get());
        let noise = if is_fine { STANDARD_ERRORS.get() * STANDARD_ERRORS.get() / curvature } else { 0.0 };
        self.gain = if gain * gain > noise { gain - noise / gain } else { 0.0 };
    }
}

impl Gains {
    /// Registers the blocks of a record's terms, in the order of the terms. Terms past the end have
    /// none.
    pub(super) fn admit(&mut self, terms: &[Term], blocks: &[encoder::Block]) {
        for (term, block) in terms.iter().zip(blocks) {
            let row = term.row as usize;
            if row >= self.block_of_row.len() {
                self.block_of_row.resize(row + 1, encoder::Block::NONE);
            }
            self.block_of_row[row] = *block;
            if *block != encoder::Block::NONE && block.index() >= self.blocks.len() {
                self.blocks.resize(block.index() + 1, Block::NEW);
            }
        }
    }

    /// Returns the gain of a weight row.
    #[inline]
    pub(super) fn of(&self, row: usize) -> f32 {
        self.blocks.get(self.block_of(row).index()).map_or(1.0, |block| block.gain)
    }

    /// Returns whether a weight row belongs to a protected column.
    pub(super) fn reveals_group(&self, row: usize) -> bool {
        self.block_of(row).reveals_group()
    }

    #[inline]
    fn block_of(&self, row: usize) -> encoder::Block {
        self.block_of_row.get(row).copied().unwrap_or(encoder::Block::NONE)
    }

    /// Writes the terms scaled by their gains.
    pub(super) fn scale(&self, terms: &[Term], scaled: &mut Vec<Term>) {
        scaled.clear();
        scaled.extend(terms.iter().map(|term| Term { row: term.row, scale: term.scale * self.of(term.row as usize) }));
    }

    /// Learns from a record. `derivative` returns the derivative of its loss in the gain of a term.
    pub(super) fn observe(&mut self, terms: &[Term], factor: f32, derivative: impl Fn(&Term) -> f32) {
        let Self { block_of_row, blocks } = self;
        let block = |term: &Term| block_of_row.get(term.row as usize).copied().unwrap_or(encoder::Block::NONE);
        for same in terms.chunk_by(|a, b| block(a) == block(b)) {
            let Some(first) = same.first() else { continue };
            let of_rows = block(first);
            if let Some(block) = blocks.get_mut(of_rows.index()) {
                block.observe(same.iter().map(&derivative).sum(), factor, of_rows.is_fine());
            }
        }
    }

    /// Resets a block whose weight rows were replaced.
    pub(super) fn start(&mut self, block: encoder::Block) {
        if let Some(block) = self.blocks.get_mut(block.index()) {
            *block = Block::NEW;
        }
    }

    /// Drops most of the evidence: a block that was useful before a drift may not be useful after
    /// it.
    pub(super) fn answer_drift(&mut self) {
        for block in &mut self.blocks {
            block.wanted *= KEPT_AT_DRIFT.get();
            block.curvature *= KEPT_AT_DRIFT.get();
        }
    }

    /// Returns the gains of several mixtures whose weight rows are joined or averaged. The caller
    /// multiplies the weight rows of each mixture by its own gain over the returned one. Each part
    /// comes with the number of records it has learned from. A block's gain is the mean, with as
    /// much evidence as all records together have left.
    pub(super) fn merge(parts: &[(&Self, f64)]) -> Self {
        let count = |of: &dyn Fn(&Self) -> usize| parts.iter().map(|(gains, _)| of(gains)).max().unwrap_or(0);
        let block_of_row = |row: usize| {
            let mut known = parts.iter().map(|(gains, _)| gains.block_of(row));
            known.find(|block| *block != encoder::Block::NONE).unwrap_or(encoder::Block::NONE)
        };
        let block_of_row: Vec<encoder::Block> =
            (0..count(&|gains| gains.block_of_row.len())).map(block_of_row).collect();
        let is_fine = |index: usize| block_of_row.iter().any(|block| block.index() == index && block.is_fine());
        let blocks = (0..count(&|gains| gains.blocks.len())).map(|index| {
            let known = parts.iter().filter_map(|(gains, records)| Some((*gains.blocks.get(index)?, *records)));
            Block::merge(&known.collect::<Vec<_>>(), is_fine(index))
        });
        Self { blocks: blocks.collect(), block_of_row }
    }

    /// Returns whether the deserialised state is valid.
    pub(super) fn is_sound(&self) -> bool {
        let known = |block: &encoder::Block| *block == encoder::Block::NONE || block.index() < self.blocks.len();
        self.block_of_row.iter().all(known)
            && self.blocks.iter().all(|Block { gain, wanted, curvature }| {
                (0.0..=LARGEST.get()).contains(gain) && wanted.is_finite() && (0.0..f32::MAX).contains(curvature)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Term = Term { row: 0, scale: 1.0 };

    fn plain() -> encoder::Block {
        encoder::Block::new(0)
    }

    fn gain_after(derivatives: impl Iterator<Item = f32>) -> f32 {
        let mut gains = Gains::default();
        gains.admit(&[TERM], &[plain()]);
        for derivative in derivatives {
            gains.observe(&[TERM], 1.0, |_| derivative);
        }
        gains.of(0)
    }

    #[test]
    fn rows_that_follow_noise_count_nothing_and_slow_ones_more() {
        let sign = |record: i32| if record % 2 == 0 { 1.0 } else { -1.0 };
        // A weight row that adds 1 or -1 at random to log-odds of 0: the loss curves upwards from
        // gain 0.
        let noise = gain_after((0..2_000).map(|record| 0.25 + 0.5 * sign(record)));
        assert!(noise < 0.05, "{noise}");
        let slow = gain_after((0..2_000).map(|record| -0.1 + 0.5 * sign(record)));
        assert!(slow > 1.2, "{slow}");
    }

    #[test]
    fn bins_count_only_beyond_chance_and_then_nearly_in_full() {
        // Weight rows of 1 for log-odds of 0.8: the standard error of their gain is 0.9 after 5
        // records, 0.04 after many.
        let learned = |block: encoder::Block, records: u32| {
            let mut gains = Gains::default();
            gains.admit(&[TERM], &[block]);
            for record in 0..records {
                let score = 1.0 / (1.0 + (-gains.of(0)).exp());
                let label = (record * 7_919 % 1_000) as f32 <= 1_000.0 / (1.0 + (-0.8_f32).exp());
                gains.observe(&[TERM], 1.0, |_| score - f32::from(u8::from(label)));
            }
            gains.of(0)
        };
        let few = [plain(), plain().fine()].map(|block| learned(block, 5));
        assert!(few[0] > 0.3 && few[1] == 0.0, "{few:?}");
        let many = [plain(), plain().fine()].map(|block| learned(block, 4_000));
        assert!((many[0] - 0.8).abs() < 0.1 && many[1] < many[0] && many[0] - many[1] < 0.02, "{many:?}");
    }

    #[test]
    fn a_row_without_a_block_counts_as_it_is() {
        let mut gains = Gains::default();
        gains.admit(&[TERM], &[]);
        gains.observe(&[TERM], 1.0, |_| 0.7);
        assert_eq!(gains.of(0), 1.0);
        assert_eq!(gains.of(99), 1.0);
    }
}
