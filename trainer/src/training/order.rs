//! Detects whether rows arrive sorted: by their outcome, by the groups of a protected attribute, or
//! by a feature, such as a date.
//!
//! A single pass over sorted rows learns the last block, and its prequential measures are those of
//! a model that only repeats the last outcome. In random order `n` values with shares `p` change
//! about `n (1 - sum of p^2)` times from one row to the next (the runs test of Wald and Wolfowitz
//! 1940). Rows that change less than a tenth as often count as sorted. Among the values of a
//! feature that differ from the previous one, about half are larger. If the share is below one in
//! twenty, or above nineteen in twenty, the rows count as sorted by that feature.

use serde::{Deserialize, Serialize};

use std::cmp::Ordering;

use crate::rows::{GroupMap, NO_GROUP, Row};

/// With fewer expected changes, no order can be detected.
const LEAST_EXPECTED: f64 = 50.0;
/// Share of the expected changes below which rows count as sorted.
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

    /// Adds the rows of another part of the data. A part with a single value shows nothing about
    /// the order.
    fn add(&mut self, other: &Self) {
        if other.changes > 0 {
            self.changes = self.changes.saturating_add(other.changes);
            self.rows.resize(self.rows.len().max(other.rows.len()), 0);
            self.rows.iter_mut().zip(&other.rows).for_each(|(rows, more)| *rows = rows.saturating_add(*more));
        }
        self.last = other.last.or(self.last);
    }

    #[allow(clippy::cast_precision_loss)]
    fn is_sorted(&self) -> bool {
        let n = self.rows.iter().sum::<u64>() as f64;
        let expected = n - self.rows.iter().map(|rows| *rows as f64 * *rows as f64).sum::<f64>() / n;
        expected >= LEAST_EXPECTED && (self.changes as f64) < SORTED_BELOW * expected
    }
}

/// Counts the steps of a feature from one row to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Steps {
    last: Vec<u8>,
    last_number: Option<f64>,
    up: u64,
    down: u64,
}

impl Steps {
    /// Returns whether the rows moved both ways so often that they can no longer count as sorted.
    fn is_settled(&self) -> bool {
        self.up.min(self.down) as f64 >= LEAST_EXPECTED && !self.is_sorted()
    }

    fn observe(&mut self, number: Option<f64>, text: impl FnOnce(&mut Vec<u8>)) {
        let order = match (number, self.last_number.replace(number.unwrap_or(f64::NAN))) {
            (Some(number), Some(last)) => number.partial_cmp(&last),
            (Some(_), None) => None,
            (None, _) => {
                let last = std::mem::take(&mut self.last);
                text(&mut self.last);
                (!last.is_empty()).then(|| self.last.cmp(&last))
            }
        };
        match order {
            Some(Ordering::Greater) => self.up += 1,
            Some(Ordering::Less) => self.down += 1,
            Some(Ordering::Equal) | None => {}
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn is_sorted(&self) -> bool {
        let expected = (self.up + self.down) as f64 / 2.0;
        expected >= LEAST_EXPECTED && (self.up.min(self.down) as f64) < SORTED_BELOW * expected
    }
}

/// The statistics by which sorted rows are detected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    outcomes: Runs,
    /// By attribute.
    groups: Vec<Runs>,
    /// By feature.
    features: Vec<Steps>,
}

impl Order {
    /// Returns the order of the rows within several parts, whose groups are united.
    pub(super) fn merge(parts: &[(&Self, &GroupMap)]) -> Self {
        let mut merged = Self::default();
        for (part, groups) in parts {
            merged.outcomes.add(&part.outcomes);
            merged.groups.resize_with(merged.groups.len().max(part.groups.len()), Runs::default);
            for (attribute, (into, from)) in merged.groups.iter_mut().zip(&part.groups).enumerate() {
                let last = from.last.and_then(|last| groups.of(attribute, last.into()));
                let last = last.and_then(|last| u8::try_from(last).ok());
                into.add(&Runs { last, changes: from.changes, rows: groups.spread(attribute, &from.rows) });
            }
            merged.features.resize_with(merged.features.len().max(part.features.len()), Steps::default);
            for (into, from) in merged.features.iter_mut().zip(&part.features) {
                *into = Steps {
                    up: into.up.saturating_add(from.up),
                    down: into.down.saturating_add(from.down),
                    ..from.clone()
                };
            }
        }
        merged
    }

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

    /// Counts the features of a row, which are in these columns.
    #[inline]
    pub(super) fn observe_features(&mut self, row: &Row<'_>, columns: &[usize]) {
        if self.features.len() < columns.len() {
            self.features.resize_with(columns.len(), Steps::default);
        }
        for (steps, column) in self.features.iter_mut().zip(columns).filter(|(steps, _)| !steps.is_settled()) {
            let cell = row.cell(*column);
            if !cell.is_missing() {
                steps.observe(cell.number(), |text| text.extend_from_slice(&row.text(*column)));
            }
        }
    }

    /// Returns the indices of the features that the rows are sorted by.
    pub(super) fn sorted_by_features(&self) -> impl Iterator<Item = usize> + '_ {
        self.features.iter().enumerate().filter(|(_, steps)| steps.is_sorted()).map(|(feature, _)| feature)
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
