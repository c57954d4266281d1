//! Recourse: the nearest values with which a declined record would be decided favourably, by the
//! whole mixture, gate included; of those that [`Rules`] allow, where a person must learn what
//! to do, and of all, where the distance itself is measured.
//!
//! # The space
//! The distance is Euclidean, over all features, in units that training has set:
//!
//! | feature | change | its part of the distance |
//! | --- | --- | --- |
//! | number | from `x` to `y` | `(t(y) - t(x)) / sd`, `t` the feature's transform, `sd` the standard deviation of `t(x)` in training |
//! | category | to another level that training had seen | `sqrt(2)`, whatever the levels |
//! | either, missing | none: how far an unknown value is from another is not known | |
//!
//! each part times the cost of the feature's rule, 1 where it has none.
//!
//! One-hot indicators of two levels are `sqrt(2)` apart; so are, as a root mean square, the
//! standardised numbers of two records drawn at random. A change of level thus weighs as much as
//! the usual difference in a number. The indicators are not divided by their deviations: a rare
//! level would be far away from everyone for being rare. (Mixed distances of this kind: Gower 1971;
//! for recourse, Ustun, Spangher and Liu 2019 and CERTIFAI, Sharma, Henderson and Ghosh 2020, whose
//! *burden* is the mean distance over those declined.)
//!
//! Numbers stay within the training range, as scores beyond it are those of its ends. A blob
//! without [`crate::format::FLAG_DEVIATIONS`] takes `(t(high) - t(low)) / sqrt(12)` for `sd`: that
//! of values spread evenly over the range.
//!
//! # How far it can be trusted
//! Every answer was verified: [`Recourse::changes`], set in a copy of the record, score at or above
//! the threshold, and are what the rules allow. So the distance is never below the true one. It may
//! be above, since the favourable region of a mixture is not convex and its nearest point is
//! searched for:
//!
//! | model and record | how near |
//! | --- | --- |
//! | one expert, at most 8 useful bins a number, no steps | exact, to rounding, also that there is none |
//! | one feature free | exact, but for favourable stretches narrower than 1/32 of a deviation or 1/64 of a bin |
//! | else | searched; the tests `recourse` and `recourse_rules` state how near it comes |
//!
//! # Cost
//! [`MAX_EVALUATIONS`] evaluations of the mixture and what one more descent takes, about 200, at
//! most, and [`MAX_LOOKS`] looks at levels and bins; twice as many for two answers. No memory but the
//! caller's [`Recourse`]. Instructions and stack on a device: [`crate::costs`].
//! [`Model::recourse_while`] and [`Model::recourses_while`] can be stopped sooner.
//!
//! Which features a person can change, in which direction and steps, is not in the blob: [`Rules`]
//! are the caller's.

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

/// The nearest favourable record that was found, and the memory to find it with: 292 bytes a
/// feature on a 64-bit host.
#[derive(Clone, Debug)]
pub struct Recourse<const FEATURES: usize> {
    /// How far the record is from a favourable decision; 0 if it has one, `None` if none was found.
    pub distance: Option<f32>,
    /// The score after the changes, at least the threshold; without an answer, the record's own.
    pub probability: f32,
    /// What to change, by feature.
    pub changes: [Option<Change>; FEATURES],
    /// Evaluations of the mixture that it took.
    pub evaluations: u32,
    /// Looks at levels and bins along directions that it took.
    pub looks: u32,
    /// Whether the caller stopped the search: the answer is the nearest one found until then.
    pub stopped: bool,
    axes: [Axis; FEATURES],
}

impl<const FEATURES: usize> Recourse<FEATURES> {
    /// Returns a recourse of nothing, in a `const` so that it can live in a `static`.
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
    /// free. See [`crate::recourse`] for the distance and what it is worth.
    ///
    /// # Errors
    /// The same as [`Model::score`]; then `recourse` is unchanged.
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
    /// The same as [`Model::score`]; then `recourse` is unchanged.
    pub fn recourse_within(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        recourse: &mut Recourse<FEATURES>,
    ) -> Result<(), PredictError> {
        self.recourse_while(record, rules, recourse, |_| true)
    }

    /// Like [`Model::recourse_within`]. After each evaluation but the first, which is that of the
    /// record, `keep_going` receives their number; where it returns false, the search ends with the
    /// nearest record found until then, and [`Recourse::stopped`] is set.
    ///
    /// # Errors
    /// The same as [`Model::score`]; then `recourse` is unchanged.
    pub fn recourse_while(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        recourse: &mut Recourse<FEATURES>,
        mut keep_going: impl FnMut(u32) -> bool,
    ) -> Result<(), PredictError> {
        self.recourse_without(record, rules, &[], recourse, &mut keep_going)
    }

    /// Like [`Model::recourse_within`], the features so marked left as they are.
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
