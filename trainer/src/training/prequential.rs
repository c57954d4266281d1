//! Prequential measures: every record is scored before it is learned from, and the results are
//! counted in windows of the stream.
//!
//! Memory is bounded: at [`MOST_WINDOWS`] windows, neighbours are merged in pairs and the window
//! length doubles. Counts add up, so a merged window is exactly the window of twice the length.

use feamoe_engine::fairness::{Measure, WideCounts};
use serde::{Deserialize, Serialize};

use crate::judge::gaps::too_few;
use crate::judge::reliability::log_loss;
use crate::judge::tally::{Decisions, Side};
use crate::rows::{GroupMap, NO_GROUP};

/// The largest number of windows that are kept.
pub const MOST_WINDOWS: usize = 512;
/// Decisions over a stretch of the stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    all: WideCounts,
    log_loss: f64,
    /// Per attribute, per group.
    groups: Vec<Vec<Decisions>>,
    /// Records checked for individual fairness, and the unfair ones among them.
    flipped: u64,
    unfair: u64,
}

impl Tally {
    /// Counts one record.
    pub fn observe(&mut self, label: bool, probability: f32, threshold: f32, groups: &[u8]) {
        self.all.observe(label, probability, threshold);
        self.log_loss += log_loss(label, probability);
        if self.groups.len() < groups.len() {
            self.groups.resize_with(groups.len(), Vec::new);
        }
        for (counts, group) in self.groups.iter_mut().zip(groups) {
            if *group == NO_GROUP {
                continue;
            }
            let index = usize::from(*group);
            if counts.len() <= index {
                counts.resize_with(index + 1, Decisions::default);
            }
            if let Some(counts) = counts.get_mut(index) {
                counts.observe(label, probability, threshold);
            }
        }
    }

    /// Counts whether the decision on a record was individually unfair. A record without any group
    /// is not counted.
    pub fn observe_individual(&mut self, unfair: bool, groups: &[u8]) {
        if groups.iter().any(|group| *group != NO_GROUP) {
            self.flipped += 1;
            self.unfair += u64::from(unfair);
        }
    }

    /// Adds the counts of another stretch.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.log_loss += other.log_loss;
        self.flipped += other.flipped;
        self.unfair += other.unfair;
        if self.groups.len() < other.groups.len() {
            self.groups.resize_with(other.groups.len(), Vec::new);
        }
        for (into, from) in self.groups.iter_mut().zip(&other.groups) {
            if into.len() < from.len() {
                into.resize_with(from.len(), Decisions::default);
            }
            for (into, from) in into.iter_mut().zip(from) {
                into.merge(from);
            }
        }
    }

    /// Returns the tally with its groups mapped into a union.
    fn united(&self, groups: &GroupMap) -> Self {
        let by_attribute = self.groups.iter().enumerate().map(|(attribute, counts)| groups.spread(attribute, counts));
        Self { groups: by_attribute.collect(), ..self.clone() }
    }

    /// Returns the sum of several tallies, with their groups united.
    pub(super) fn sum(parts: &[(Self, &GroupMap)]) -> Self {
        let mut sum = Self::default();
        parts.iter().for_each(|(part, groups)| sum.merge(&part.united(groups)));
        sum
    }

    /// Returns the counts of all records.
    #[must_use]
    pub fn all(&self) -> &WideCounts {
        &self.all
    }

    /// Returns the counts by attribute and group.
    #[must_use]
    pub fn groups(&self) -> &[Vec<Decisions>] {
        &self.groups
    }

    /// Returns the mean log-loss; NaN without records.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn mean_log_loss(&self) -> f64 {
        self.log_loss / self.all.rows() as f64
    }

    /// Returns the share of individually unfair decisions; `None` if they were not checked.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn individual_unfairness(&self) -> Option<f64> {
        (self.flipped > 0).then(|| self.unfair as f64 / self.flipped as f64)
    }

    /// Returns the value of a measure that is furthest from equal treatment, over all attributes
    /// and the groups with enough records for it; `None` if there is no such group.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Option<f32> {
        let values = self.groups.iter().flat_map(|groups| {
            let mut sides = groups.iter().map(Side::of);
            let reference = sides.next();
            let pairs = sides.filter_map(move |u| Some((u, reference?)));
            let judged = pairs.filter(move |(u, r)| too_few(measure, [u, r]).is_none());
            judged.map(move |(u, r)| measure.gap(&u.rates(), &r.rates()))
        });
        let magnitude = |value: &f32| measure.magnitude(*value);
        values.filter(|value| !value.is_nan()).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b)))
    }

    fn summary(&self, from: u64) -> WindowSummary {
        WindowSummary {
            from,
            rows: self.all.rows(),
            accuracy: self.all.accuracy(),
            balanced_accuracy: self.all.balanced_accuracy(),
            log_loss: self.mean_log_loss(),
            spd: self.worst(Measure::Spd),
            aod: self.worst(Measure::Aod),
            eodds: self.worst(Measure::Eodds),
            eopp: self.worst(Measure::Eopp),
            burden: self.worst(Measure::Burden),
            impact: self.worst(Measure::Impact),
            individual_unfairness: self.individual_unfairness(),
        }
    }
}

/// Measures over the stream, in windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prequential {
    /// Records per window; it doubles when there are [`MOST_WINDOWS`].
    length: u64,
    windows: Vec<Tally>,
}

impl Prequential {
    /// Returns measures without records. `window` is the number of records per window, at least 1.
    #[must_use]
    pub fn new(window: u64) -> Self {
        Self { length: window.max(1), windows: Vec::new() }
    }

    /// Counts one record by the score and the threshold it had before it was learned from.
    pub fn observe(&mut self, label: bool, probability: f32, threshold: f32, groups: &[u8]) {
        if self.windows.last().is_none_or(|last| last.all.rows() >= self.length) {
            if self.windows.len() == MOST_WINDOWS {
                self.merge_neighbours();
            }
            self.windows.push(Tally::default());
        }
        if let Some(last) = self.windows.last_mut() {
            last.observe(label, probability, threshold, groups);
        }
    }

    /// Counts whether the decision on the last counted record was individually unfair.
    pub fn observe_individual(&mut self, unfair: bool, groups: &[u8]) {
        if let Some(last) = self.windows.last_mut() {
            last.observe_individual(unfair, groups);
        }
    }

    fn merge_neighbours(&mut self) {
        self.length = self.length.saturating_mul(2);
        let windows = std::mem::take(&mut self.windows);
        let mut pairs = windows.into_iter();
        while let Some(mut first) = pairs.next() {
            if let Some(second) = pairs.next() {
                first.merge(&second);
            }
            self.windows.push(first);
        }
    }

    /// Returns the windows of several parts, one part after the other, with their groups united.
    pub(super) fn merge(parts: &[(&Self, &GroupMap)]) -> Self {
        let length = parts.iter().map(|(part, _)| part.length).max().unwrap_or(1);
        let mut merged = Self::new(length);
        for (part, groups) in parts {
            let mut part = (*part).clone();
            while part.length < length && part.windows.len() > 1 {
                part.merge_neighbours();
            }
            merged.windows.extend(part.windows.iter().map(|window| window.united(groups)));
        }
        while merged.windows.len() > MOST_WINDOWS {
            merged.merge_neighbours();
        }
        merged
    }

    /// Returns the number of records per window.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of records.
    pub(super) fn rows(&self) -> u64 {
        self.windows.iter().map(|window| window.all.rows()).sum()
    }

    /// Returns the windows, oldest first.
    #[must_use]
    pub fn windows(&self) -> &[Tally] {
        &self.windows
    }

    /// Returns all windows as one.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for window in &self.windows {
            total.merge(window);
        }
        total
    }

    /// Returns the report: the JSON of `feamoe train` under `prequential`.
    #[must_use]
    pub fn summary(&self) -> PrequentialSummary {
        let total = self.total().summary(1);
        let mut from = 1;
        let windows = self.windows.iter().map(|window| {
            let summary = window.summary(from);
            from += summary.rows;
            summary
        });
        PrequentialSummary { windows: windows.collect(), total }
    }
}

/// Measures of the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct PrequentialSummary {
    /// The measures over all rows.
    #[serde(flatten)]
    pub total: WindowSummary,
    /// The windows of the stream, oldest first.
    pub windows: Vec<WindowSummary>,
}

/// Measures of a window of the stream. Each fairness measure is the value of the group with the
/// largest gap; null if no group has enough records.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct WindowSummary {
    /// Number of the first row of the window, from 1.
    pub from: u64,
    /// Number of rows in the window.
    pub rows: u64,
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Mean of the true positive rate and the true negative rate.
    pub balanced_accuracy: f32,
    /// Mean negative log-likelihood, in natural logarithms.
    pub log_loss: f64,
    /// Statistical parity difference.
    pub spd: Option<f32>,
    /// Average odds difference.
    pub aod: Option<f32>,
    /// Equalised odds gap.
    pub eodds: Option<f32>,
    /// Equal opportunity difference.
    pub eopp: Option<f32>,
    /// Burden gap.
    pub burden: Option<f32>,
    /// Disparate impact, a ratio.
    pub impact: Option<f32>,
    /// Share of decisions that change if only a protected column is changed; null if this was not
    /// measured.
    pub individual_unfairness: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of ten records, all declined, must not determine the gap of a window in which a
    /// thousand others have a small gap.
    #[test]
    fn the_worst_group_is_not_the_smallest_one() {
        let mut window = Tally::default();
        for i in 0..1_000_u32 {
            let is_approved = i % 10 < if i % 2 == 0 { 5 } else { 6 };
            window.observe(i % 3 == 0, if is_approved { 0.75 } else { 0.25 }, 0.5, &[(i % 2) as u8]);
        }
        let alone = window.worst(Measure::Spd);
        assert!(alone.is_some_and(|gap| gap.abs() < 0.3), "{alone:?}");
        for _ in 0..10 {
            window.observe(true, 0.25, 0.5, &[2]);
        }
        assert_eq!(window.worst(Measure::Spd), alone);
        assert!(window.worst(Measure::Eopp).is_some_and(|gap| gap.abs() < 0.9));
    }

    #[test]
    fn memory_is_bounded_and_no_record_is_lost() {
        let mut prequential = Prequential::new(2);
        let rows = 2 * MOST_WINDOWS as u64 * 3 + 5;
        for i in 0..rows {
            prequential.observe(i % 3 == 0, if i % 2 == 0 { 0.75 } else { 0.25 }, 0.5, &[(i % 2) as u8]);
        }
        assert!(prequential.windows().len() <= MOST_WINDOWS);
        let summary = prequential.summary();
        assert_eq!(summary.total.rows, rows);
        assert_eq!(summary.windows.iter().map(|w| w.rows).sum::<u64>(), rows);
        assert!(summary.windows.iter().rev().skip(1).all(|w| w.rows == 8));
        // Half of each label is accepted.
        assert!((summary.total.balanced_accuracy - 0.5).abs() < 1e-3);
        // Every accepted record is of group 0: the gap of group 1 is -1.
        assert_eq!(summary.total.spd, Some(-1.0));
        assert_eq!(summary.windows.last().map(|w| w.from + w.rows), Some(rows + 1));
    }
}
