//! The counts of a monitor: the decisions on a group, and the values of a feature.

use serde::{Deserialize, Serialize};

use crate::fairness::{self, Counts, Distances, Interval, Measure, Rates};
use crate::schema::Note;

/// The decisions on the records of one group and their outcomes. Takes 72 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Every decision, counted as if its label were unfavourable; only results that do not depend
    /// on labels are used.
    decisions: Counts,
    labelled: Counts,
    distances: Distances,
    /// Sum in the units of [`fairness::units`].
    scores: u64,
}

impl Tally {
    /// Largest accepted distance, in standard deviations, so that sums cannot overflow.
    pub const LARGEST_DISTANCE: u16 = u16::MAX;

    /// Returns an empty tally. This is `const`, so that a tally can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { decisions: Counts::new(), labelled: Counts::new(), distances: Distances::new(), scores: 0 }
    }

    /// Returns the number of decisions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.decisions.rows()
    }

    /// Returns the counts of all decisions, with or without a known outcome, as if each label were
    /// unfavourable.
    #[must_use]
    pub fn decisions(&self) -> &Counts {
        &self.decisions
    }

    /// Returns the number of favourable decisions.
    #[must_use]
    pub fn favourable(&self) -> u64 {
        self.decisions.decided(true)
    }

    /// Returns the counts of the decisions whose outcome is known.
    #[must_use]
    pub fn labelled(&self) -> &Counts {
        &self.labelled
    }

    /// Returns the distances of the declined records from a favourable decision, as far as they
    /// were given.
    #[must_use]
    pub fn distances(&self) -> &Distances {
        &self.distances
    }

    /// Returns the mean score; NaN without records.
    #[must_use]
    pub fn score_mean(&self) -> f32 {
        fairness::mean(self.scores, self.rows())
    }

    /// Returns the rates that the measures compare: from all decisions if no label is needed,
    /// otherwise from the labelled ones.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates::new(&self.decisions, &self.labelled, &self.distances)
    }

    /// Returns the gap to the reference group; NaN if a rate is.
    #[must_use]
    pub fn gap(&self, measure: Measure, reference: &Self) -> f32 {
        measure.gap(&self.rates(), &reference.rates())
    }

    /// Returns the 95 % interval of the gap, see [`fairness::interval`].
    #[must_use]
    pub fn interval(&self, measure: Measure, reference: &Self) -> Option<Interval> {
        let counts = |tally: &Self| if measure.needs_labels() { tally.labelled } else { tally.decisions };
        fairness::interval(measure, &counts(self), &counts(reference))
    }

    /// Adds the tally of another period or device.
    pub fn merge(&mut self, other: &Self) {
        self.decisions.merge(&other.decisions);
        self.labelled.merge(&other.labelled);
        self.distances.merge(&other.distances);
        self.scores = self.scores.saturating_add(other.scores);
    }

    /// Returns whether a counter reached its maximum, so that counting stopped or a merge was not
    /// exact.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.decisions.is_full() || self.labelled.is_full() || self.distances.is_full()
    }

    pub(super) fn observe(&mut self, probability: f32, threshold: f32) {
        if !self.decisions.is_full() {
            self.decisions.observe(false, probability, threshold);
            self.scores = self.scores.saturating_add(fairness::units(probability));
        }
    }

    pub(super) fn label(&mut self, label: bool, probability: f32, threshold: f32) {
        if !self.labelled.is_full() {
            self.labelled.observe(label, probability, threshold);
        }
    }

    pub(super) fn distance(&mut self, distance: Option<f32>) {
        if !self.distances.is_full() {
            self.distances.observe(distance);
        }
    }

    /// Returns whether the tally is consistent.
    pub(super) fn is_sound(&self) -> bool {
        self.decisions.labelled(true) == 0
            && fairness::can_be_sum(self.scores, self.rows())
            && self.decisions.is_sound()
            && self.labelled.is_sound()
            && self.distances.is_sound(Self::LARGEST_DISTANCE)
    }
}

/// The number of values that differ from training. Takes 12 bytes.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputCounts {
    /// Missing values.
    pub missing: u32,
    /// Numbers outside the training range, which were clamped.
    pub clamped: u32,
    /// Levels that were not seen in training.
    pub unseen: u32,
}

impl InputCounts {
    /// Returns empty counts. This is `const`, so that they can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { missing: 0, clamped: 0, unseen: 0 }
    }

    /// Adds the counts of another period or device.
    pub fn merge(&mut self, other: &Self) {
        self.missing = self.missing.saturating_add(other.missing);
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.unseen = self.unseen.saturating_add(other.unseen);
    }

    /// Counts the notes in these bits.
    pub(super) fn observe(&mut self, notes: u8) {
        let once = |note: Note| u32::from(note.is_in(notes));
        self.merge(&Self { missing: once(Note::Missing), clamped: once(Note::Clamped), unseen: once(Note::Unseen) });
    }

    /// Returns whether no count exceeds that of `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.missing <= other.missing && self.clamped <= other.clamped && self.unseen <= other.unseen
    }

    /// Returns whether this many records can have these counts: at most one of each kind per
    /// record.
    pub(super) fn is_at_most(&self, records: u64) -> bool {
        [self.missing, self.clamped, self.unseen].into_iter().all(|count| u64::from(count) <= records)
    }
}
