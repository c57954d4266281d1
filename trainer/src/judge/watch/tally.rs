//! The counts of one window.

use feamoe_engine::fairness::{Distances, WideCounts};
use feamoe_engine::schema::Note;

use super::log_loss;
use super::rates::Names;
use super::report::{Drift, InputDrift, Window};
use super::waiting::Scored;
use crate::judge::gaps::{GroupGaps, correct};
use crate::judge::reliability::Reliability;
use crate::judge::tally::{Moments, Side};
use crate::rows::NO_GROUP;

/// The counts of one window.
#[derive(Clone, Debug, Default)]
pub(super) struct WindowTally {
    from: Option<u64>,
    to: u64,
    scores: f64,
    log_loss: f64,
    all: GroupTally,
    reliability: Reliability,
    groups: Vec<Vec<GroupTally>>,
    /// By feature, the numbers of missing, clamped and unseen values.
    notes: Vec<[u64; 3]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct GroupTally {
    /// All are counted with the other outcome, because their real outcomes may never be known.
    decisions: WideCounts,
    labelled: WideCounts,
    burden: Moments,
}

impl GroupTally {
    fn side(&self) -> Side {
        let Self { decisions, labelled, burden } = *self;
        Side { decisions, labelled, burden: Some(burden), distances: Distances::new(), spread: None }
    }
}

impl WindowTally {
    /// Returns the number of records so far.
    pub fn rows(&self) -> u64 {
        self.all.decisions.rows()
    }

    pub fn is_empty(&self) -> bool {
        self.from.is_none()
    }

    /// Returns the numbers of records in which a feature was missing, outside the training range,
    /// and an unseen level.
    pub fn notes(&self, feature: usize) -> [u64; 3] {
        self.notes.get(feature).copied().unwrap_or_default()
    }

    pub fn observe(&mut self, row: u64, notes: &[Note], scored: &Scored, threshold: f32) {
        self.reach(row);
        self.scores += f64::from(scored.probability);
        self.notes.resize(notes.len(), [0; 3]);
        for ([missing, clamped, unseen], note) in self.notes.iter_mut().zip(notes) {
            match note {
                Note::Usual => {}
                Note::Missing => *missing += 1,
                Note::Clamped => *clamped += 1,
                Note::Unseen => *unseen += 1,
            }
        }
        self.each(&scored.groups, |tally| {
            tally.decisions.observe(false, scored.probability, threshold);
            if scored.probability < threshold {
                tally.burden.observe(threshold - scored.probability);
            }
        });
    }

    pub fn label(&mut self, row: u64, label: bool, scored: &Scored, threshold: f32) {
        self.reach(row);
        self.log_loss += log_loss(label, scored.calibrated);
        self.reliability.observe(label, scored.calibrated);
        self.each(&scored.groups, |tally| tally.labelled.observe(label, scored.probability, threshold));
    }

    fn reach(&mut self, row: u64) {
        self.from.get_or_insert(row);
        self.to = row;
    }

    fn each(&mut self, groups: &[u8], mut with: impl FnMut(&mut GroupTally)) {
        with(&mut self.all);
        self.groups.resize(groups.len().max(self.groups.len()), Vec::new());
        for (tallies, group) in self.groups.iter_mut().zip(groups).filter(|(_, group)| **group != NO_GROUP) {
            let group = usize::from(*group);
            tallies.resize(tallies.len().max(group + 1), GroupTally::default());
            if let Some(tally) = tallies.get_mut(group) {
                with(tally);
            }
        }
    }

    pub fn report(&self, inputs: Vec<InputDrift>, score: Drift, names: &Names) -> Window {
        let (mut fairness, mut sides) = (Vec::new(), Vec::new());
        let empty = GroupTally::default();
        for ((attribute, groups), tallies) in names.iter().zip(&self.groups) {
            let [reference, others @ ..] = groups.as_slice() else { continue };
            let side = |group: usize| tallies.get(group).unwrap_or(&empty).side();
            for (index, name) in others.iter().enumerate() {
                let pair = [side(index + 1), side(0)];
                fairness.push(GroupGaps::new(attribute, [name, reference], pair.each_ref()));
                sides.push(pair);
            }
        }
        correct(&mut fairness, &sides);
        let (rows, labelled) = (self.rows(), self.all.labelled.rows());
        Window {
            from_row: self.from.unwrap_or(self.to),
            to_row: self.to,
            rows,
            labelled,
            score_mean: self.scores / rows as f64,
            selection_rate: self.all.decisions.rates().positive,
            accuracy: self.all.labelled.accuracy(),
            log_loss: self.log_loss / labelled as f64,
            calibration_error: self.reliability.error(),
            score,
            inputs,
            fairness,
        }
    }
}
