//! What a monitor counts: of the decisions of a group, and of the values of a feature.

use serde::{Deserialize, Serialize};

use crate::fairness::{self, Counts, Distances, Interval, Measure, Rates};
use crate::schema::Note;

/// What was decided on the records of one group, and what came of it: 72 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Every decision. What is read of it depends on no label, so each is counted as if its label
    /// were unfavourable.
    decisions: Counts,
    labelled: Counts,
    distances: Distances,
    /// Sum in the units of [`fairness::units`].
    scores: u64,
}

impl Tally {
    /// Largest distance that is taken, in standard deviations: sums of as many as can be counted
    /// fit.
    pub const LARGEST_DISTANCE: u16 = u16::MAX;

    /// Returns a tally of no records, in a `const` so that it can live in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { decisions: Counts::new(), labelled: Counts::new(), distances: Distances::new(), scores: 0 }
    }

    /// Returns the number of decisions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.decisions.rows()
    }

    /// Returns every decision, as if each label were unfavourable: whether the outcome is known or
    /// not.
    #[must_use]
    pub fn decisions(&self) -> &Counts {
        &self.decisions
    }

    /// Returns the number of favourable decisions.
    #[must_use]
    pub fn favourable(&self) -> u64 {
        self.decisions.decided(true)
    }

    /// Returns the decisions whose outcome is known, by outcome.
    #[must_use]
    pub fn labelled(&self) -> &Counts {
        &self.labelled
    }

    /// Returns how far the declined records were from a favourable decision, where that was looked
    /// for.
    #[must_use]
    pub fn distances(&self) -> &Distances {
        &self.distances
    }

    /// Returns the mean score; NaN without records.
    #[must_use]
    pub fn score_mean(&self) -> f32 {
        fairness::mean(self.scores, self.rows())
    }

    /// Returns the rates that the measures compare: of decisions where no label is needed, else of
    /// the labelled ones.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates::new(&self.decisions, &self.labelled, &self.distances)
    }

    /// Returns the gap to the reference group; NaN if a rate is.
    #[must_use]
    pub fn gap(&self, measure: Measure, reference: &Self) -> f32 {
        measure.gap(&self.rates(), &reference.rates())
    }

    /// Returns its 95 % interval, see [`fairness::interval`].
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

    /// Returns whether a counter is at its end: what it belongs to was counted no further, or was
    /// not merged exactly.
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

    /// Whether records can have given this tally.
    pub(super) fn is_sound(&self) -> bool {
        self.decisions.labelled(true) == 0
            && fairness::can_be_sum(self.scores, self.rows())
            && self.decisions.is_sound()
            && self.labelled.is_sound()
            && self.distances.is_sound(Self::LARGEST_DISTANCE)
    }
}

/// How many values were not as in training: 12 bytes.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputCounts {
    /// There was none.
    pub missing: u32,
    /// Outside the training range: the nearer end was taken.
    pub clamped: u32,
    /// A level that training had not seen.
    pub unseen: u32,
}

impl InputCounts {
    /// Returns no values, in a `const` so that it can live in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { missing: 0, clamped: 0, unseen: 0 }
    }

    /// Adds those of another period or device.
    pub fn merge(&mut self, other: &Self) {
        self.missing = self.missing.saturating_add(other.missing);
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.unseen = self.unseen.saturating_add(other.unseen);
    }

    /// Counts what is noted in these bits.
    pub(super) fn observe(&mut self, notes: u8) {
        let once = |note: Note| u32::from(note.is_in(notes));
        self.merge(&Self { missing: once(Note::Missing), clamped: once(Note::Clamped), unseen: once(Note::Unseen) });
    }

    /// Whether all are within those of `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.missing <= other.missing && self.clamped <= other.clamped && self.unseen <= other.unseen
    }

    /// Whether this many records can have given them, one of each a record.
    pub(super) fn is_at_most(&self, records: u64) -> bool {
        [self.missing, self.clamped, self.unseen].into_iter().all(|count| u64::from(count) <= records)
    }
}
