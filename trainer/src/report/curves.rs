//! The decisions at other thresholds: counts of all rows and of every group, in constant memory.
//! The counts are exact at each listed threshold.

use feamoe_engine::fairness::{Measure, Rates};

use crate::rows::NO_GROUP;

/// Number of evenly spaced thresholds. About as many more are evenly spaced in log-odds, for scores
/// near 0 and 1.
const EVEN: u16 = 200;
/// Log-odds of the outermost thresholds, in magnitude.
const OUTERMOST: f64 = 9.0;

/// Counts at every threshold.
#[derive(Clone, Debug)]
pub struct Curves {
    /// In ascending order, including the model's own threshold.
    thresholds: Vec<f32>,
    chosen: usize,
    all: Vec<[u64; 2]>,
    /// By attribute and group.
    groups: Vec<Vec<Vec<[u64; 2]>>>,
}

/// Decisions at one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// The threshold.
    pub threshold: f32,
    /// Selected rows by label: other, favourable.
    pub selected: [u64; 2],
    /// Rows by label.
    pub rows: [u64; 2],
}

impl Point {
    #[allow(clippy::cast_precision_loss)]
    fn ratio(part: u64, whole: u64) -> f64 {
        part as f64 / whole as f64
    }

    /// Returns the share of selected rows.
    #[must_use]
    pub fn selection_rate(&self) -> f64 {
        Self::ratio(self.selected[0] + self.selected[1], self.rows[0] + self.rows[1])
    }

    /// Returns the true positive rate.
    #[must_use]
    pub fn tpr(&self) -> f64 {
        Self::ratio(self.selected[1], self.rows[1])
    }

    /// Returns the false positive rate.
    #[must_use]
    pub fn fpr(&self) -> f64 {
        Self::ratio(self.selected[0], self.rows[0])
    }

    /// Returns the share of right decisions.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        Self::ratio(self.selected[1] + self.rows[0] - self.selected[0], self.rows[0] + self.rows[1])
    }

    /// Returns the mean of true positive and true negative rate.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        0.5 * (self.tpr() + 1.0 - self.fpr())
    }

    /// Returns a measure of this group against another one. Returns NaN for the burdens, which
    /// cannot be computed from counts.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // the engine computes with this precision
    pub fn gap(&self, measure: Measure, reference: &Self) -> f64 {
        let rates = |point: &Self| Rates {
            positive: point.selection_rate() as f32,
            true_positive: point.tpr() as f32,
            false_positive: point.fpr() as f32,
            burden: f32::NAN,
            recourse_burden: f32::NAN,
        };
        measure.gap(&rates(self), &rates(reference)).into()
    }
}

impl Curves {
    /// Creates counts without rows.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(threshold: f32, attributes: usize) -> Self {
        let even = (1..EVEN).map(|step| f64::from(step) / f64::from(EVEN));
        let odds = (0..=EVEN).map(|step| {
            let log_odds = OUTERMOST * (2.0 * f64::from(step) / f64::from(EVEN) - 1.0);
            1.0 / (1.0 + libm::exp(-log_odds))
        });
        let mut thresholds: Vec<f32> = even.chain(odds).map(|x| x as f32).chain([threshold]).collect();
        thresholds.sort_by(f32::total_cmp);
        thresholds.dedup();
        let chosen = thresholds.partition_point(|other| *other < threshold);
        let all = vec![[0; 2]; thresholds.len() + 1];
        Self { thresholds, chosen, all, groups: vec![Vec::new(); attributes] }
    }

    /// Counts a row.
    pub fn observe(&mut self, label: bool, probability: f32, groups: &[u8]) {
        // The number of thresholds that the row reaches.
        let step = self.thresholds.partition_point(|threshold| probability >= *threshold);
        let label = usize::from(label);
        let empty = vec![[0; 2]; self.all.len()];
        let mut add = |counts: &mut Vec<[u64; 2]>| {
            if let Some(count) = counts.get_mut(step).and_then(|cell| cell.get_mut(label)) {
                *count += 1;
            }
        };
        add(&mut self.all);
        for (known, group) in self.groups.iter_mut().zip(groups).filter(|(_, group)| **group != NO_GROUP) {
            let group = usize::from(*group);
            if known.len() <= group {
                known.resize(group + 1, empty.clone());
            }
            known.iter_mut().skip(group).take(1).for_each(&mut add);
        }
    }

    /// Returns the decisions on all rows at every threshold, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<Point> {
        self.points(&self.all)
    }

    /// Returns the decisions on a group at every threshold. Attribute and group are given by index.
    #[must_use]
    pub fn group(&self, attribute: usize, group: usize) -> Vec<Point> {
        let counts = self.groups.get(attribute).and_then(|groups| groups.get(group));
        counts.map_or_else(Vec::new, |counts| self.points(counts))
    }

    /// Returns the index of the model's own threshold.
    #[must_use]
    pub fn chosen(&self) -> usize {
        self.chosen
    }

    fn points(&self, counts: &[[u64; 2]]) -> Vec<Point> {
        let sum = |counts: &[[u64; 2]]| counts.iter().fold([0; 2], |[a, b], [x, y]| [a + x, b + y]);
        let rows = sum(counts);
        let mut selected = rows;
        let passed = self.thresholds.iter().zip(counts).map(|(threshold, below)| {
            selected = [selected[0] - below[0], selected[1] - below[1]];
            Point { threshold: *threshold, selected, rows }
        });
        passed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a direct count at each threshold, for scores on thresholds and next to them.
    #[test]
    fn counts_are_exact_at_every_threshold() {
        let mut curves = Curves::new(0.337, 1);
        let thresholds = curves.thresholds.clone();
        let beside = |t: &f32| [*t, f32::from_bits(t.to_bits() - 1), f32::from_bits(t.to_bits() + 1)];
        let scores: Vec<f32> = thresholds.iter().flat_map(beside).chain([0.0, 1.0]).collect();
        for (index, score) in scores.iter().enumerate() {
            curves.observe(index % 3 == 0, *score, &[(index % 2) as u8]);
        }
        for group in [None, Some(0), Some(1)] {
            let points = group.map_or_else(|| curves.all(), |group| curves.group(0, group));
            assert_eq!(points.len(), thresholds.len());
            for point in points {
                let own = |index: usize| group.is_none_or(|group| index % 2 == group);
                let count = |label: bool| {
                    let rows = scores.iter().enumerate().filter(|(index, _)| own(*index) && (index % 3 == 0) == label);
                    rows.filter(|(_, score)| **score >= point.threshold).count() as u64
                };
                assert_eq!(point.selected, [count(false), count(true)], "{}", point.threshold);
            }
        }
        assert_eq!(curves.all()[curves.chosen()].threshold, 0.337);
    }
}
