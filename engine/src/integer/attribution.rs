//! [`crate::Method::Frozen`] in integers: explanations with the gate held fixed.

use super::kernel::{Term, Weight, average, average_any};
use super::model::{Model, Rows, Score};
use super::record::Record;
use crate::error::PredictError;

/// ln 2, in units of 2^-16.
const LN_2: u32 = 45_426;
/// The number of low bits dropped from the product of a gate weight and a scale.
const GATE_SHIFT: u32 = 12;

/// The explanation of a score with the gate held fixed, in natural log-odds in units of 2^-16.
///
/// `base_value + sum(values) = output` exactly, and the output is `sum_k g_k z_k` (see
/// [`crate::Method::Frozen`]).
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribution<const FEATURES: usize, const EXPERTS: usize> {
    /// The score that is explained.
    pub score: Score<EXPERTS>,
    /// The value of the mean record.
    pub base_value: i32,
    /// The sum of base and values.
    pub output: i32,
    /// One value per feature; 0 beyond the model's features.
    pub values: [i32; FEATURES],
}

impl<const FEATURES: usize, const EXPERTS: usize> Attribution<FEATURES, EXPERTS> {
    /// Returns an empty attribution. This is `const`, so that an attribution can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { score: Score::new(), base_value: 0, output: 0, values: [0; FEATURES] }
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Default for Attribution<FEATURES, EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Scores a record and explains the score by [`crate::Method::Frozen`], into the caller's
    /// memory.
    ///
    /// # Errors
    /// The same as [`Model::score`]; `attribution` is then unchanged.
    pub fn frozen_into(
        &self,
        record: &Record<'_, FEATURES>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        self.score_into(record, &mut attribution.score)?;
        // The contribution of a weight of 1 to the averaged log-odds, by expert.
        let mut shares = [0_i32; EXPERTS];
        let half = self.bias.len() / 2;
        let lanes = self.bias.iter().zip(self.scales).skip(half).zip(&attribution.score.gate);
        let mut base = 0_i64;
        for (share, ((bias, scale), gate)) in shares.iter_mut().zip(lanes) {
            let scale = u32::from(u16::from_le_bytes(*scale));
            let product = gate.wrapping_mul(scale).wrapping_add(1 << (GATE_SHIFT - 1)) >> GATE_SHIFT;
            *share = (product.wrapping_mul(LN_2).wrapping_add(1 << 15) >> 16).cast_signed();
            base = base.wrapping_add(i64::from(i32::from_le_bytes(*bias)).wrapping_mul(i64::from(*share)));
        }
        attribution.base_value = self.log_odds(base);
        let mut averages = [[0; 2]; FEATURES];
        let averages = averages.as_flattened_mut();
        match self.rows {
            Rows::I8(rows) => self.average(rows, record.terms(), &shares, averages),
            Rows::I16(rows) => self.average(rows, record.terms(), &shares, averages),
        }
        let products = record.terms().iter().zip(averages);
        let mut products = products.map(|(term, average)| i64::from(*average).wrapping_mul(i64::from(term.scale)));
        let mut values = attribution.values.iter_mut();
        for (value, feature) in values.by_ref().zip(self.fixed.layout.features()) {
            let mut product = products.next().unwrap_or(0);
            if feature.terms() == 2 {
                product = product.wrapping_add(products.next().unwrap_or(0));
            }
            *value = self.log_odds(product);
        }
        // The memory may hold the values of a larger model.
        values.for_each(|value| *value = 0);
        let sum = |sum: i32, value: &i32| sum.wrapping_add(*value);
        attribution.output = attribution.values.iter().fold(attribution.base_value, sum);
        Ok(())
    }

    #[inline(always)]
    fn average<W: Weight>(&self, rows: &[W], terms: &[Term], shares: &[i32; EXPERTS], averages: &mut [i32]) {
        let half = self.bias.len() / 2;
        if half == EXPERTS {
            average(rows.as_chunks().0.as_chunks().0, terms, shares, averages);
        } else {
            average_any(rows, terms, shares.get(..half).unwrap_or_default(), averages);
        }
    }

    /// Returns an averaged sum in units of 2^-16, rounded.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // no larger than a logit, which fits
    fn log_odds(&self, sum: i64) -> i32 {
        let shift = u32::from(self.shift).wrapping_add(16) & 63;
        (sum.wrapping_add(1_i64.wrapping_shl(shift.wrapping_sub(1))) >> shift) as i32
    }
}
