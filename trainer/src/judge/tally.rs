//! The counts of one group that a comparison with another group needs: decisions, and the sums for
//! the intervals of mean burdens and distances.

use feamoe_engine::fairness::{Distances, Rates, WideCounts};
use serde::{Deserialize, Serialize};

/// Number of units per 1 in the sums of [`Moments`]: a unit is 2^-20.
const UNITS: f64 = (1_u64 << 20) as f64;

/// Number of units per 1 in a [`Sum`]: a unit is 2^-64.
const SUM_UNITS: f64 = (1_u128 << 64) as f64;

/// A sum of values from 0 to a few thousand. Each value is rounded down to units of 2^-64, and the
/// units are summed as integers. Neither the order of the values nor adding up partial sums changes
/// a bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum(u128);

impl Sum {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        // Float to integer saturates and maps NaN to 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let units = (value * SUM_UNITS) as u128;
        self.0 = self.0.saturating_add(units);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    /// Returns the sum, rounded once.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn value(self) -> f64 {
        self.0 as f64 / SUM_UNITS
    }
}

/// Number, sum and sum of squares of values of at least 0, summed as integers: the sums do not
/// depend on the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    /// Adds a value.
    pub fn observe(&mut self, value: f32) {
        // Float to integer saturates and maps NaN to 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let units = u128::from((f64::from(value) * UNITS + 0.5) as u64);
        self.count += 1;
        self.sum = self.sum.saturating_add(units);
        self.squares = self.squares.saturating_add(units * units);
    }

    /// Adds the values of another part.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the squared standard error of the mean; NaN for fewer than two values.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn squared_error(&self) -> f64 {
        let n = self.count as f64;
        let mean = self.sum as f64 / n;
        let variance = (self.squares as f64 / n - mean * mean).max(0.0) * n / (n - 1.0);
        variance / n / (UNITS * UNITS)
    }
}

/// The decisions on one group, and the distances of its declined records below the threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    /// Decisions by label.
    pub counts: WideCounts,
    /// `threshold - p` of the declined records.
    pub burden: Moments,
}

impl Decisions {
    /// Counts one record with its label, score and threshold.
    pub fn observe(&mut self, label: bool, probability: f32, threshold: f32) {
        self.counts.observe(label, probability, threshold);
        if probability < threshold {
            self.burden.observe(threshold - probability);
        }
    }

    /// Adds another part of the same group.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.burden.merge(&other.burden);
    }
}

/// One side of a comparison: a group or its reference.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// All decisions; their labels may be unknown.
    pub decisions: WideCounts,
    /// Decisions on records whose outcome is known.
    pub labelled: WideCounts,
    /// `threshold - p` of the declined records; `None` if only its mean is known.
    pub burden: Option<Moments>,
    /// Distances of the declined records to the decision boundary.
    pub distances: Distances,
    /// The same distances; `None` if only their mean is known.
    pub spread: Option<Moments>,
}

impl Side {
    /// Returns the side of decisions with known outcomes, without distances.
    #[must_use]
    pub fn of(decisions: &Decisions) -> Self {
        Self {
            decisions: decisions.counts,
            labelled: decisions.counts,
            burden: Some(decisions.burden),
            distances: Distances::new(),
            spread: None,
        }
    }

    /// Returns the rates that the measures compare.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates::new(&self.decisions, &self.labelled, &self.distances)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_the_same_in_any_order_and_in_parts() {
        let values: Vec<f64> = (1..=2_000).map(|n| f64::from(n * 7_919 % 2_003).recip() + f64::from(n % 17)).collect();
        let sum = |values: &mut dyn Iterator<Item = &f64>| {
            let mut sum = Sum::default();
            values.for_each(|value| sum.add(*value));
            sum
        };
        let all = sum(&mut values.iter());
        assert_eq!(sum(&mut values.iter().rev()), all);
        for cut in [0, 1, 700, 1_999, 2_000] {
            let (first, rest) = values.split_at(cut);
            let mut parts = sum(&mut rest.iter());
            parts.merge(sum(&mut first.iter()));
            assert_eq!(parts, all);
        }
        // Sums of floats depend on the order.
        let [floats, reversed]: [f64; 2] = [values.iter().sum(), values.iter().rev().sum()];
        assert!(floats != reversed && (floats - all.value()).abs() < 1e-9);
        for hostile in [f64::NAN, f64::INFINITY, -1.0, 5e-324] {
            let mut sum = all;
            sum.add(hostile);
            assert!(sum.value() >= all.value());
        }
    }

    #[test]
    fn the_squared_error_is_that_of_a_mean() {
        let mut moments = Moments::default();
        for value in [0.25, 0.5, 0.125, 0.125] {
            moments.observe(value);
        }
        // Mean 0.25; squares of the deviations 0, 1/16, 1/64, 1/64: 3/32 over 3, over 4.
        assert!((moments.squared_error() - 3.0 / 32.0 / 3.0 / 4.0).abs() < 1e-12);
        let mut one = Moments::default();
        one.observe(1.0);
        assert!(one.squared_error().is_nan() && Moments::default().squared_error().is_nan());
        for hostile in [f32::NAN, f32::INFINITY, -1.0, f32::MAX] {
            one.observe(hostile);
        }
        assert_eq!(one.count(), 5);
    }
}
