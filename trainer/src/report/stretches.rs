//! Divides a stream into stretches and counts decisions and gate weights in each, in constant
//! memory.

use feamoe_engine::fairness::Measure;

use crate::judge::gaps::GroupGaps;
use crate::judge::tally::{Decisions, Side};
use crate::rows::Attribute;
use crate::training::prequential::Tally;

/// Maximum number of stretches that a report shows.
pub const MOST_STRETCHES: usize = 48;
/// Minimum number of stretches for an informative plot over the rows.
const FEWEST: usize = 5;
/// Length of the first stretches, in rows. It doubles when there are too many stretches.
const FIRST_ROWS: u64 = 50;

/// Consecutive rows.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// The number of the first row, from 1.
    pub from: u64,
    /// The decisions on the rows.
    pub tally: Tally,
    /// By expert, the sum of its gate weights; empty if the weights are unknown.
    pub gate: Vec<f64>,
}

impl Stretch {
    fn merge(&mut self, later: &Self) {
        self.tally.merge(&later.tally);
        self.gate.iter_mut().zip(&later.gate).for_each(|(sum, more)| *sum += more);
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tally.all().rows()
    }

    /// Returns the number of the middle row.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn middle(&self) -> f64 {
        self.from as f64 + (self.rows() as f64 - 1.0) / 2.0
    }

    /// Returns the mean gate weight of an expert.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn mean_gate(&self, expert: usize) -> f64 {
        self.gate.get(expert).copied().unwrap_or_default() / self.rows() as f64
    }

    /// Compares a group with the reference. Attribute and group are given by index. `None` if the
    /// attribute has no counts here.
    #[must_use]
    pub fn gaps(&self, attribute: (usize, &Attribute), group: usize) -> Option<GroupGaps> {
        let (place, attribute) = attribute;
        let groups = self.tally.groups().get(place)?;
        let none = Decisions::default();
        let side = |group: usize| Side::of(groups.get(group).unwrap_or(&none));
        let name = |group: usize| attribute.groups().get(group).map_or("", String::as_str);
        Some(GroupGaps::new(attribute.column(), [name(group), name(0)], [&side(group), &side(0)]))
    }

    /// Returns a measure of a group and the ends of its interval; NaN if it cannot be judged.
    #[must_use]
    pub fn gap(&self, attribute: (usize, &Attribute), group: usize, measure: Measure) -> [f64; 3] {
        let gaps = self.gaps(attribute, group).filter(|gaps| gaps.magnitude(measure).is_some());
        gaps.map_or([f64::NAN; 3], |gaps| {
            let [low, high] = gaps.interval(measure).unwrap_or([f32::NAN; 2]);
            [gaps.measure(measure), low, high].map(f64::from)
        })
    }
}

/// Stretches that are being filled.
#[derive(Clone, Debug)]
pub(super) struct Stretches {
    length: u64,
    all: Vec<Stretch>,
    experts: usize,
    rows: u64,
}

impl Stretches {
    /// Creates stretches without rows.
    pub(super) fn new(experts: usize) -> Self {
        Self { length: FIRST_ROWS, all: Vec::new(), experts, rows: 0 }
    }

    /// Adds a decision.
    pub(super) fn observe(&mut self, label: bool, probability: f32, threshold: f32, groups: &[u8], gate: &[f32]) {
        if self.all.last().is_none_or(|last| last.rows() >= self.length) {
            if self.all.len() == 2 * MOST_STRETCHES {
                halve(&mut self.all);
                self.length *= 2;
            }
            self.all.push(Stretch { from: self.rows + 1, gate: vec![0.0; self.experts], ..Stretch::default() });
        }
        self.rows += 1;
        if let Some(last) = self.all.last_mut() {
            last.tally.observe(label, probability, threshold, groups);
            last.gate.iter_mut().zip(gate).for_each(|(sum, weight)| *sum += f64::from(*weight));
        }
    }

    /// Returns the stretches, merged until there are at most [`MOST_STRETCHES`].
    pub(super) fn finish(self) -> Vec<Stretch> {
        few(self.all)
    }
}

/// Returns the windows of a run, merged until there are at most [`MOST_STRETCHES`].
pub(super) fn of_windows(windows: &[Tally]) -> Vec<Stretch> {
    let mut from = 1;
    let stretches = windows.iter().map(|tally| {
        let stretch = Stretch { from, tally: tally.clone(), gate: Vec::new() };
        from += stretch.rows();
        stretch
    });
    few(stretches.collect())
}

fn few(mut all: Vec<Stretch>) -> Vec<Stretch> {
    while all.len() > MOST_STRETCHES {
        halve(&mut all);
    }
    all
}

/// Merges stretches until most of them have enough records of these groups, or only about
/// [`FEWEST`] stretches remain.
pub(super) fn long_enough(stretches: &[Stretch], attribute: (usize, &Attribute), groups: &[usize]) -> Vec<Stretch> {
    let mut all = stretches.to_vec();
    let is_known = |stretch: &Stretch, group: &usize| stretch.gap(attribute, *group, Measure::Spd)[0].is_finite();
    let share = |all: &[Stretch]| {
        let known = all.iter().map(|stretch| groups.iter().filter(|group| is_known(stretch, group)).count());
        known.sum::<usize>() * 2 >= all.len() * groups.len()
    };
    while all.len() > FEWEST && !share(&all) {
        halve(&mut all);
    }
    all
}

/// Merges neighbours in pairs, adding their counts.
fn halve(all: &mut Vec<Stretch>) {
    let mut pairs = std::mem::take(all).into_iter();
    while let Some(mut first) = pairs.next() {
        if let Some(second) = pairs.next() {
            first.merge(&second);
        }
        all.push(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_lost_and_there_are_few() {
        for rows in [1, 49, 50, 51, 4_800, 4_801, 16_281, 70_000] {
            let mut stretches = Stretches::new(2);
            for row in 0..rows {
                stretches.observe(row % 3 == 0, 0.75, 0.5, &[], &[0.25, 0.75]);
            }
            let all = stretches.finish();
            assert!(all.len() <= MOST_STRETCHES && (rows < 2_400 || all.len() > MOST_STRETCHES / 3), "{rows}");
            assert_eq!(all.iter().map(Stretch::rows).sum::<u64>(), rows);
            assert!(all.windows(2).all(|pair| pair[0].from + pair[0].rows() == pair[1].from));
            assert!(all.iter().all(|stretch| (stretch.mean_gate(1) - 0.75).abs() < 1e-9));
        }
    }
}
