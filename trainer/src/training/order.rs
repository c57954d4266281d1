//! Whether rows come sorted: by their outcome, or by the groups of a protected attribute.
//!
//! One pass over sorted rows learns the last block, and its prequential measures are those of a
//! model that only repeats the last outcome. In random order `n` values with shares `p` change
//! about `n (1 - sum of p^2)` times from one row to the next (the runs test of Wald and Wolfowitz
//! 1940); rows that change a tenth as often are sorted.

use serde::{Deserialize, Serialize};

use crate::rows::NO_GROUP;

/// Fewer expected changes say nothing.
const LEAST_EXPECTED: f64 = 50.0;
/// Part of the expected changes below which rows are sorted.
const SORTED_BELOW: f64 = 0.1;

/// Counts how often one value follows another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Runs {
    last: Option<u8>,
    changes: u64,
    /// Rows by value.
    rows: Vec<u64>,
}

impl Runs {
    fn observe(&mut self, value: u8) {
        if self.last.is_some_and(|last| last != value) {
            self.changes += 1;
        }
        self.last = Some(value);
        let index = usize::from(value);
        if self.rows.len() <= index {
            self.rows.resize(index + 1, 0);
        }
        if let Some(rows) = self.rows.get_mut(index) {
            *rows += 1;
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn is_sorted(&self) -> bool {
        let n = self.rows.iter().sum::<u64>() as f64;
        let expected = n - self.rows.iter().map(|rows| *rows as f64 * *rows as f64).sum::<f64>() / n;
        expected >= LEAST_EXPECTED && (self.changes as f64) < SORTED_BELOW * expected
    }
}

/// What the rows may be sorted by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    outcomes: Runs,
    /// By attribute.
    groups: Vec<Runs>,
}

impl Order {
    pub(super) fn observe(&mut self, label: bool, groups: &[u8]) {
        self.outcomes.observe(u8::from(label));
        if self.groups.len() < groups.len() {
            self.groups.resize_with(groups.len(), Runs::default);
        }
        for (runs, group) in self.groups.iter_mut().zip(groups) {
            if *group != NO_GROUP {
                runs.observe(*group);
            }
        }
    }

    /// Returns whether the rows are sorted by their outcome.
    pub(super) fn is_sorted_by_outcome(&self) -> bool {
        self.outcomes.is_sorted()
    }

    /// Returns whether the rows are sorted by the groups of an attribute.
    pub(super) fn is_sorted_by_group(&self, attribute: usize) -> bool {
        self.groups.get(attribute).is_some_and(Runs::is_sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(values: impl Iterator<Item = u8>) -> bool {
        let mut runs = Runs::default();
        values.for_each(|value| runs.observe(value));
        runs.is_sorted()
    }

    #[test]
    fn blocks_are_sorted_and_mixtures_are_not() {
        let scrambled = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 100;
        for share in [2, 10, 50, 90] {
            assert!(sorted((0..5_000).map(|row| u8::from(row * 100 < share * 5_000))), "{share} % first");
            assert!(!sorted((0..5_000).map(|row| u8::from(scrambled(row) < share))), "{share} % mixed");
        }
        // Three blocks; a rare value in one burst; alternating rows; one value; few rows.
        assert!(sorted((0..3_000).map(|row| (row / 1_000) as u8)));
        assert!(!sorted((0..10_000).map(|row| u8::from((5_000..5_010).contains(&row)))));
        assert!(!sorted((0..1_000).map(|row| (row % 2) as u8)));
        assert!(!sorted((0..1_000).map(|_| 1)));
        assert!(!sorted((0..60).map(|row| u8::from(row < 30))));
        // A base rate that drifts slowly from 10 to 90 %.
        assert!(!sorted((0..5_000).map(|row| u8::from(scrambled(row) < 10 + row * 80 / 5_000))));
    }
}
