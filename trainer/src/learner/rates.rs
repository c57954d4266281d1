//! Fading rates of the decisions, by group and label: the input of the fairness controllers.

use crate::tuned::{Tuned, tuned};
use serde::{Deserialize, Serialize};

use feamoe_engine::fairness::Rates;

use crate::rows::GroupMap;

/// Step of a rate per record of its cell: an average over about 100 of them, however rare they are.
static STEP: Tuned<f32> = tuned!(0.02);
/// Step of the averages behind a distance: log-odds and distances vary more than decisions.
static SLOW_STEP: Tuned<f32> = tuned!(0.005);
/// Smallest part of a shift by which a mean distance is assumed to respond.
static SMALLEST_ANSWER: Tuned<f32> = tuned!(0.2);
/// The count of records stops here: in `f32`, adding 1 would not change the number.
const MOST_COUNTED: f32 = 16_777_216.0;
/// Growth of the unit in which records are weighted: shares of groups and labels fade over 10,000
/// records.
static UNIT_GROWTH: Tuned<f32> = tuned!(1.0 + 1e-4, 1.0 + 5e-5, 1.0 + 2e-4);
/// Unit at which it is reset to 1, far from overflow.
const LARGEST_UNIT: f32 = 1e6;
/// Smallest share of a cell used as a divisor.
const SMALLEST_SHARE: f32 = 1e-4;

/// An average with step `max(STEP, 1 / n)`: the plain mean at first, a fading one later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Fading {
    pub mean: f32,
    /// Records behind it; stops counting at 2^24.
    pub count: f32,
}

impl Fading {
    fn observe(&mut self, value: f32) {
        self.count += 1.0;
        let step = if self.count < 1.0 / STEP.get() { 1.0 / self.count } else { STEP.get() };
        self.mean += step * (value - self.mean);
    }

    /// Returns the mean of several, weighted by the records behind each.
    pub fn merge(parts: impl Iterator<Item = Self> + Clone) -> Self {
        let count: f64 = parts.clone().map(|part| f64::from(part.count)).sum();
        if count == 0.0 {
            return Self::default();
        }
        let mean: f64 = parts.map(|part| f64::from(part.count) / count * f64::from(part.mean)).sum();
        #[allow(clippy::cast_possible_truncation)] // as precise as a rate
        let merged = Self { mean: mean as f32, count: (count as f32).min(MOST_COUNTED) };
        merged
    }

    /// Like [`Fading::observe`], fading more slowly.
    pub fn observe_slowly(&mut self, value: f32) {
        self.count += 1.0;
        let step = if self.count < 1.0 / SLOW_STEP.get() { 1.0 / self.count } else { SLOW_STEP.get() };
        self.mean += step * (value - self.mean);
    }
}

/// One scored record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    pub label: bool,
    /// The score that decides.
    pub decisive: f32,
    /// The score that the next step changes.
    pub current: f32,
    pub threshold: f32,
    /// Weight of a threshold force on this record, in [0, 1]: 1 at the threshold.
    pub nearness: f32,
    /// Weight of a burden force on this record, in [0, 1]: 1 far below the threshold, 0 above.
    pub below: f32,
    /// Density of the kernel behind [`Scored::nearness`], per unit of score.
    pub density: f32,
    /// Natural log-odds that the deciding score lacks to the threshold, 0 if it is past it; `None`
    /// if distances are not needed.
    pub log_odds: Option<f32>,
}

/// The statistics of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Group {
    /// Faded number of records, by label.
    mass: [f32; 2],
    positive: Fading,
    /// Favourable decisions among the records of each label: FPR, TPR.
    pub decided: [Fading; 2],
    burden: Fading,
    /// Response of each label's decision rate to a unit threshold force on records of each label.
    pub rate_response: [[Fading; 2]; 2],
    /// Response of each label's decision rate to a unit burden force.
    pub rate_response_to_burden: [Fading; 2],
    /// Response of the burden to a unit threshold force on records of each label.
    pub burden_response_to_rate: [Fading; 2],
    /// Response of the burden to a unit burden force.
    pub burden_response: Fading,
    pub recourse: Recourse,
}

/// The distance of the declined records of a group to the boundary: a ratio estimate. Distances are
/// expensive, so they are measured on a sample; the log-odds of all declined records show how the
/// mean moves in between. Empty if the recourse burden is not a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Recourse {
    /// Log-odds that a declined record lacks to the threshold.
    log_odds: Fading,
    /// The same log-odds, and the distance, for the records of the sample.
    sampled_log_odds: Fading,
    pub distance: Fading,
    /// Share of the declined records that a shift by one unit of log-odds lifts over the threshold.
    lifted: Fading,
    /// Response of each label's decision rate, and of the burden, to a shift of the log-odds.
    pub rate_response: [Fading; 2],
    pub burden_response: Fading,
}

impl Recourse {
    fn observe(&mut self, s: &Scored, log_odds: f32) {
        if log_odds > 0.0 {
            self.log_odds.observe_slowly(log_odds);
        }
        let variance = s.current * (1.0 - s.current);
        if let Some(cell) = self.rate_response.get_mut(usize::from(s.label)) {
            cell.observe(s.density * variance);
        }
        if s.current < s.threshold {
            self.lifted.observe(s.density * variance);
            self.burden_response.observe(variance);
        }
    }

    /// Adds a declined record of the sample.
    pub fn observe_distance(&mut self, log_odds: f32, distance: f32) {
        self.sampled_log_odds.observe_slowly(log_odds);
        self.distance.observe_slowly(distance);
    }

    /// Returns the distance per unit of log-odds.
    fn worth(&self) -> f32 {
        if self.sampled_log_odds.mean > 0.0 { self.distance.mean / self.sampled_log_odds.mean } else { 0.0 }
    }

    /// Returns the mean distance.
    fn burden(&self) -> f32 {
        self.log_odds.mean * self.worth()
    }

    /// Returns the response of the mean distance to a shift of the log-odds: all records come
    /// nearer, but the nearest leave the mean.
    pub fn response(&self) -> f32 {
        self.worth() * (1.0 - self.lifted.mean * self.log_odds.mean).max(SMALLEST_ANSWER.get())
    }
}

impl Group {
    /// Adds a record. A force `f` moves a score by about `f p (1 - p)`; a decision rate moves by
    /// that times the density of scores at the threshold.
    fn observe(&mut self, s: &Scored) {
        let label = usize::from(s.label);
        let decision = s.decisive >= s.threshold;
        let decided = if decision { 1.0 } else { 0.0 };
        self.positive.observe(decided);
        if !decision {
            self.burden.observe(s.threshold - s.decisive);
        }
        let variance = s.current * (1.0 - s.current);
        // The features' evidence on the label: a force on the records of one label also moves
        // similar records of the other label.
        let likely = [1.0 - s.current, s.current];
        if let Some(cell) = self.decided.get_mut(label) {
            cell.observe(decided);
        }
        if let Some(cells) = self.rate_response.get_mut(label) {
            for (cell, share) in cells.iter_mut().zip(likely) {
                cell.observe(s.density * s.nearness * variance * share);
            }
        }
        if let Some(cell) = self.rate_response_to_burden.get_mut(label) {
            cell.observe(s.density * s.below * variance);
        }
        if s.current < s.threshold {
            for (cell, share) in self.burden_response_to_rate.iter_mut().zip(likely) {
                cell.observe(s.nearness * variance * share);
            }
            self.burden_response.observe(s.below * variance);
        }
        if let Some(log_odds) = s.log_odds {
            self.recourse.observe(s, log_odds);
        }
    }

    /// Returns the statistics of one group from several parts, each with the unit of its masses.
    fn merge(parts: &[(&Self, f32)]) -> Self {
        let united = |of: &dyn Fn(&Self) -> Fading| Fading::merge(parts.iter().map(|(group, _)| of(group)));
        let by_label = |of: &dyn Fn(&Self, usize) -> Fading| [0, 1].map(|label| united(&|group| of(group, label)));
        Self {
            mass: [0, 1].map(|label: usize| parts.iter().map(|(group, unit)| group.mass[label] / unit).sum()),
            positive: united(&|group| group.positive),
            decided: by_label(&|group, label| group.decided[label]),
            burden: united(&|group| group.burden),
            rate_response: [0, 1].map(|of: usize| by_label(&|group, label| group.rate_response[of][label])),
            rate_response_to_burden: by_label(&|group, label| group.rate_response_to_burden[label]),
            burden_response_to_rate: by_label(&|group, label| group.burden_response_to_rate[label]),
            burden_response: united(&|group| group.burden_response),
            recourse: Recourse {
                log_odds: united(&|group| group.recourse.log_odds),
                sampled_log_odds: united(&|group| group.recourse.sampled_log_odds),
                distance: united(&|group| group.recourse.distance),
                lifted: united(&|group| group.recourse.lifted),
                rate_response: by_label(&|group, label| group.recourse.rate_response[label]),
                burden_response: united(&|group| group.recourse.burden_response),
            },
        }
    }

    /// Returns the fading decision rates.
    pub(super) fn rates(&self) -> Rates {
        let [negative, positive] = self.decided;
        Rates {
            positive: self.positive.mean,
            true_positive: positive.mean,
            false_positive: negative.mean,
            burden: self.burden.mean,
            recourse_burden: self.recourse.burden(),
        }
    }

    /// Returns the response of the group's mean score to a unit burden force.
    pub(super) fn score_response(&self) -> f32 {
        self.burden_response.mean * (1.0 - self.positive.mean)
    }

    /// Returns the number of records behind the rate of each label and behind the burden.
    pub(super) fn least_count(&self) -> [f32; 3] {
        let [negative, positive] = self.decided;
        [negative.count, positive.count, self.burden.count]
    }
}

/// The groups of one protected attribute; index 0 is the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// The current weight of a record, in the unit of the masses. Its growth fades all earlier
    /// records.
    unit: f32,
    total: f32,
}

impl Default for Groups {
    fn default() -> Self {
        Self { groups: Vec::new(), unit: 1.0, total: 0.0 }
    }
}

impl Groups {
    pub(super) fn observe(&mut self, group: usize, scored: &Scored) {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Group::default);
        }
        if self.unit > LARGEST_UNIT {
            let scale = 1.0 / self.unit;
            self.groups.iter_mut().flat_map(|g| g.mass.iter_mut()).for_each(|mass| *mass *= scale);
            self.total *= scale;
            self.unit = 1.0;
        }
        self.unit *= UNIT_GROWTH.get();
        self.total += self.unit;
        if let Some(known) = self.groups.get_mut(group) {
            if let Some(mass) = known.mass.get_mut(usize::from(scored.label)) {
                *mass += self.unit;
            }
            known.observe(scored);
        }
    }

    /// Returns the groups of an attribute from several parts, united by their group maps.
    pub(super) fn merge(attribute: usize, parts: &[(&Self, &GroupMap)]) -> Self {
        let spread: Vec<(Vec<Group>, f32)> =
            parts.iter().map(|(part, groups)| (groups.spread(attribute, &part.groups), part.unit)).collect();
        let count = spread.iter().map(|(groups, _)| groups.len()).max().unwrap_or(0);
        let known = |index: usize| spread.iter().filter_map(move |(groups, unit)| Some((groups.get(index)?, *unit)));
        Self {
            groups: (0..count).map(|index| Group::merge(&known(index).collect::<Vec<_>>())).collect(),
            unit: 1.0,
            total: parts.iter().map(|(part, _)| part.total / part.unit).sum(),
        }
    }

    pub(super) fn get(&self, group: usize) -> Option<&Group> {
        self.groups.get(group)
    }

    pub(super) fn get_mut(&mut self, group: usize) -> Option<&mut Group> {
        self.groups.get_mut(group)
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns the shares of all records that are in this group and have label 0 and label 1.
    pub(super) fn shares(&self, group: &Group) -> [f32; 2] {
        group.mass.map(|mass| (mass / self.total).max(SMALLEST_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fade_and_survive_the_change_of_unit() {
        let scored = |label| Scored {
            label,
            decisive: 0.7,
            current: 0.7,
            threshold: 0.5,
            nearness: 0.5,
            below: 0.0,
            density: 1.0,
            log_odds: None,
        };
        let mut groups = Groups::default();
        for i in 0..300_000_u32 {
            groups.observe(usize::from(i % 4 == 0), &scored(i % 3 == 0));
        }
        let shares = |g| groups.get(g).map(|g| groups.shares(g)).unwrap_or_default();
        assert!((shares(1)[1] - 1.0 / 12.0).abs() < 1e-3, "{:?}", shares(1));
        let sum: f32 = shares(0).iter().chain(&shares(1)).sum();
        assert!((sum - 1.0).abs() < 1e-3);
        // Another 30,000 records, all of one cell: the window of 10,000 has forgotten the rest.
        for _ in 0..30_000 {
            groups.observe(1, &scored(true));
        }
        assert!(groups.get(1).map(|g| groups.shares(g)).unwrap_or_default()[1] > 0.9);
    }

    /// The sample's ratio of distance to log-odds, times the log-odds of all declined records.
    #[test]
    fn the_recourse_burden_is_a_ratio_estimate() {
        let mut recourse = Recourse::default();
        assert_eq!((recourse.burden(), recourse.response()), (0.0, 0.0));
        for (log_odds, distance) in [(1.0, 0.5), (3.0, 1.1)] {
            recourse.observe_distance(log_odds, distance);
        }
        let mut scored = Scored {
            label: false,
            decisive: 0.1,
            current: 0.1,
            threshold: 0.5,
            nearness: 0.0,
            below: 1.0,
            density: 2.0,
            log_odds: None,
        };
        for log_odds in [1.0, 3.0, 3.0, 5.0] {
            recourse.observe(&scored, log_odds);
        }
        // A record past the threshold.
        scored.current = 0.9;
        recourse.observe(&scored, 0.0);
        assert!((recourse.burden() - 3.0 * 0.4).abs() < 1e-6, "{}", recourse.burden());
        // A unit of log-odds lifts 2 * 0.09 of the declined records over the threshold. They were
        // at distance 0 and no longer lower the mean.
        assert!((recourse.response() - 0.4 * (1.0 - 0.18 * 3.0)).abs() < 1e-6, "{}", recourse.response());
    }

    #[test]
    fn a_fading_mean_is_the_plain_mean_first() {
        let mut fading = Fading::default();
        for value in [1.0, 0.0, 0.0, 1.0] {
            fading.observe(value);
        }
        assert_eq!(fading.mean, 0.5);
    }
}
