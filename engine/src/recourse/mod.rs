//! Recourse: the nearest values with which a declined record would get a favourable decision from
//! the whole mixture, gate included. To advise a person, only values that [`Rules`] allow are
//! considered; to measure the distance itself, all values.
//!
//! # The space
//! The distance is Euclidean over all features, in units from training:
//!
//! | feature | change | its part of the distance |
//! | --- | --- | --- |
//! | number | from `x` to `y` | `(t(y) - t(x)) / sd` |
//! | category | to another level seen in training | `sqrt(2)`, for any levels |
//! | either, missing | none, since the distance from an unknown value is not known | |
//!
//! `t` is the feature's transform, `sd` the standard deviation of `t(x)` in training. Each part is
//! multiplied by the cost of the feature's rule, or 1 if it has no rule.
//!
//! The one-hot indicators of two levels are `sqrt(2)` apart. So are the standardised numbers of two
//! random records, as a root mean square. A change of level thus weighs as much as a typical
//! difference in a number. The indicators are not divided by their deviations, since a rare level
//! would then be far away from everyone because it is rare. (Mixed distances of this kind: Gower
//! 1971; for recourse, Ustun, Spangher and Liu 2019 and CERTIFAI, Sharma, Henderson and Ghosh 2020,
//! whose *burden* is the mean distance over the declined records.)
//!
//! Numbers stay within the training range, since scores beyond it equal those at its ends. For a
//! blob without [`crate::format::FLAG_DEVIATIONS`], `sd` is `(t(high) - t(low)) / sqrt(12)`, that
//! of a uniform distribution over the range.
//!
//! # Accuracy
//! Every answer is verified: a copy of the record with [`Recourse::changes`] scores at or above the
//! threshold, and the rules allow the changes. The distance is therefore never below the true one.
//! It may be above, since the favourable region of a mixture is not convex and its nearest point
//! has to be searched for:
//!
//! | model and record | accuracy |
//! | --- | --- |
//! | one expert, at most 8 useful bins per number, no steps | exact up to rounding, also `None` |
//! | one feature free | exact, except for very narrow favourable stretches |
//! | otherwise | found by search; the tests `recourse` and `recourse_rules` state the accuracy |
//!
//! With one free feature, favourable stretches narrower than 1/32 of a deviation or 1/64 of a bin
//! may be missed.
//!
//! # Cost
//! At most [`MAX_EVALUATIONS`] evaluations of the mixture and those of one more descent, about 200,
//! and [`MAX_LOOKS`] looks at levels and bins; twice as many for two answers. No memory except the
//! caller's [`Recourse`]. Instructions and stack on a device: [`crate::costs`].
//! [`Model::recourse_while`] and [`Model::recourses_while`] can be stopped sooner.
//!
//! The blob does not state which features a person can change, and in which direction and steps;
//! the caller gives [`Rules`].

mod answers;
mod axis;
mod descent;
mod exchange;
mod knapsack;
mod linear;
mod reach;
mod rules;
mod search;

use crate::error::PredictError;
use crate::model::{Model, Score};
use crate::record::Record;
pub use answers::Answer;
use axis::Axis;
pub use reach::LEVEL_CHANGE;
pub use rules::{Direction, Rule, RuleError, RuleErrorKind, Rules};
use search::Search;
pub use search::{MAX_EVALUATIONS, MAX_LOOKS};

/// A new value of a feature.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// This number.
    Number(f32),
    /// The level of this code.
    Level(u16),
}

/// The nearest favourable record that was found, and the memory for the search: 292 bytes per
/// feature on a 64-bit host.
#[derive(Clone, Debug)]
pub struct Recourse<const FEATURES: usize> {
    /// The distance of the record from a favourable decision; 0 if it has one, `None` if none was
    /// found.
    pub distance: Option<f32>,
    /// The score after the changes, at least the threshold; without an answer, the record's own.
    pub probability: f32,
    /// What to change, by feature.
    pub changes: [Option<Change>; FEATURES],
    /// The number of evaluations of the mixture.
    pub evaluations: u32,
    /// The number of looks at levels and bins along directions.
    pub looks: u32,
    /// Whether the caller stopped the search; the answer is then the nearest one found so far.
    pub stopped: bool,
    axes: [Axis; FEATURES],
}

impl<const FEATURES: usize> Recourse<FEATURES> {
    /// Returns an empty recourse. This is `const`, so that it can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            distance: None,
            probability: 0.0,
            changes: [None; FEATURES],
            evaluations: 0,
            looks: 0,
            stopped: false,
            axes: [const { Axis::NONE }; FEATURES],
        }
    }
}

impl<const FEATURES: usize> Default for Recourse<FEATURES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Finds the nearest favourable record, into the caller's memory, as if every feature were
    /// free. See [`crate::recourse`] for the distance and its accuracy.
    ///
    /// # Errors
    /// The same as [`Model::score`]; `recourse` is then unchanged.
    pub fn recourse_into(
        &self,
        record: &Record<'_, FEATURES>,
        recourse: &mut Recourse<FEATURES>,
    ) -> Result<(), PredictError> {
        self.recourse_within(record, &Rules::FREE, recourse)
    }

    /// Finds the nearest favourable record that the rules allow, into the caller's memory.
    ///
    /// # Errors
    /// The same as [`Model::score`]; `recourse` is then unchanged.
    pub fn recourse_within(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        recourse: &mut Recourse<FEATURES>,
    ) -> Result<(), PredictError> {
        self.recourse_while(record, rules, recourse, |_| true)
    }

    /// Like [`Model::recourse_within`]. After each evaluation except the first, which scores the
    /// record itself, `keep_going` receives the number of evaluations so far. If it returns false,
    /// the search ends with the nearest record found so far, and [`Recourse::stopped`] is set.
    ///
    /// # Errors
    /// The same as [`Model::score`]; `recourse` is then unchanged.
    pub fn recourse_while(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        recourse: &mut Recourse<FEATURES>,
        mut keep_going: impl FnMut(u32) -> bool,
    ) -> Result<(), PredictError> {
        self.recourse_without(record, rules, &[], recourse, &mut keep_going)
    }

    /// Like [`Model::recourse_within`], without changing the marked features.
    #[inline(never)]
    fn recourse_without(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        without: &[bool],
        recourse: &mut Recourse<FEATURES>,
        keep_going: &mut dyn FnMut(u32) -> bool,
    ) -> Result<(), PredictError> {
        let (mut lanes, mut score) = ([[0.0; EXPERTS]; 2], Score::<EXPERTS>::new());
        self.forward(record, lanes.as_flattened_mut(), &mut score)?;
        recourse.probability = score.probability;
        recourse.changes = [None; FEATURES];
        (recourse.evaluations, recourse.looks, recourse.stopped) = (1, 0, false);
        recourse.distance =
            if score.decision { Some(0.0) } else { Search::run(self, record, rules, without, recourse, keep_going) };
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{PredictError, golden};

    #[test]
    fn the_record_of_another_model_is_an_error() {
        let (model, other): (Model<6, 4>, Model<6, 4>) = (golden(), golden());
        let mut recourse = Recourse::new();
        assert_eq!(model.recourse_into(&other.record(), &mut recourse), Err(PredictError::OtherModel));
    }

    /// Memory is part of the contract.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn sizes_are_as_stated() {
        assert_eq!(size_of::<Recourse<32>>() - size_of::<Recourse<16>>(), 16 * 292);
    }
}
