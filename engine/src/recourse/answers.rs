//! Several answers, so that a person can choose: the nearest one, and others that avoid one of its
//! changes.
//!
//! First the nearest answer is searched for; then, for each feature that it changes, the nearest
//! answer that leaves that feature unchanged. If there are fewer answers than the caller has room
//! for, the same is done from the second answer on, also without the features that it had to avoid
//! (Lawler 1972; of his K best solutions, these are the ones that differ in the set of features
//! changed).
//!
//! The nearest point of a boundary changes every feature that helps, most of them by very little.
//! The small changes of each answer are therefore left out. If it is then not favourable, the
//! search is repeated without these features, and its result is used if it is hardly farther.

use super::{Change, Recourse, Rules};
use crate::error::PredictError;
use crate::model::Model;
use crate::record::Record;
use crate::schema::FeatureIndex;

/// Changes below this share of an answer's distance are small. Without them, the answer may be
/// farther by this share.
const SMALL: f32 = 0.1;
const HARDLY_FARTHER: f32 = 1.01;

/// One way to a favourable decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<const FEATURES: usize> {
    /// The distance; 0 for another bin so near that f32 cannot distinguish its numbers from the
    /// record's after the transform.
    pub distance: f32,
    /// The score after the changes, at least the threshold.
    pub probability: f32,
    /// The changes, by feature.
    pub changes: [Option<Change>; FEATURES],
    /// The features that it had to leave unchanged, besides those of the rules.
    without: [bool; FEATURES],
}

impl<const FEATURES: usize> Answer<FEATURES> {
    /// An empty answer. This is `const`, so that an answer can be in a `static`.
    pub const NONE: Self =
        Self { distance: 0.0, probability: 0.0, changes: [None; FEATURES], without: [false; FEATURES] };

    /// Returns whether two answers change the same features.
    fn is_alike(&self, changes: &[Option<Change>; FEATURES]) -> bool {
        self.changes.iter().zip(changes).all(|(one, other)| one.is_some() == other.is_some())
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Finds several favourable records that the rules allow, no two of which change the same
    /// features, the nearest first. Returns their number, at most the length of `answers`. The
    /// nearest is also in `recourse`, with the evaluations of all searches. If it has a distance
    /// but no change, the record is favourable already.
    ///
    /// Each is verified like the answer of [`Model::recourse_within`], and is at most a hundredth
    /// farther because small changes are left out. Cost: at most two searches plus two for each
    /// change of the nearest answer; if there are fewer answers than room, the same for each
    /// answer.
    ///
    /// # Errors
    /// The same as [`Model::score`]; all memory is then unchanged.
    pub fn recourses_within(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        recourse: &mut Recourse<FEATURES>,
        answers: &mut [Answer<FEATURES>],
    ) -> Result<usize, PredictError> {
        self.recourses_while(record, rules, recourse, answers, |_| true)
    }

    /// Like [`Model::recourses_within`]. After each evaluation, `keep_going` receives the number of
    /// evaluations of the current search. If it returns false, the search ends with the answers
    /// found so far, and [`Recourse::stopped`] is set.
    ///
    /// # Errors
    /// The same as [`Model::recourses_within`].
    pub fn recourses_while(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        recourse: &mut Recourse<FEATURES>,
        answers: &mut [Answer<FEATURES>],
        mut keep_going: impl FnMut(u32) -> bool,
    ) -> Result<usize, PredictError> {
        let keep_going: &mut dyn FnMut(u32) -> bool = &mut keep_going;
        let everything = [false; FEATURES];
        self.few_changes_without(record, rules, &everything, recourse, keep_going)?;
        let mut count = keep(answers, 0, recourse, &everything);
        let (mut evaluations, mut looks, mut rank) = (recourse.evaluations, recourse.looks, 0_usize);
        // All alternatives to the nearest answer are searched for, even beyond the room, and the
        // nearest of them are kept.
        while answers.len() > 1 && rank < count && (rank == 0 || count < answers.len()) && !recourse.stopped {
            let Some(parent) = answers.get(rank).copied() else { break };
            for (index, _) in parent.changes.iter().enumerate().filter(|(_, change)| change.is_some()) {
                let mut without = parent.without;
                without.iter_mut().skip(index).take(1).for_each(|without| *without = true);
                self.few_changes_without(record, rules, &without, recourse, keep_going)?;
                evaluations = evaluations.wrapping_add(recourse.evaluations);
                looks = looks.saturating_add(recourse.looks);
                count = keep(answers, count, recourse, &without);
                if recourse.stopped {
                    break;
                }
            }
            rank = rank.wrapping_add(1);
        }
        if let Some(nearest) = answers.first().filter(|_| count > 0) {
            recourse.distance = Some(nearest.distance);
            recourse.probability = nearest.probability;
            recourse.changes = nearest.changes;
        }
        (recourse.evaluations, recourse.looks) = (evaluations, looks);
        Ok(count)
    }

    /// Finds the nearest favourable record, or one that is hardly farther without its small
    /// changes.
    #[inline(never)]
    fn few_changes_without(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        without: &[bool; FEATURES],
        recourse: &mut Recourse<FEATURES>,
        keep_going: &mut dyn FnMut(u32) -> bool,
    ) -> Result<(), PredictError> {
        self.recourse_without(record, rules, without, recourse, keep_going)?;
        let Recourse { distance: Some(distance), probability, changes, evaluations, looks, .. } = *recourse else {
            return Ok(());
        };
        let (mut fewer, mut cost) = (*without, 0.0);
        for ((axis, change), without) in recourse.axes.iter().zip(&mut recourse.changes).zip(&mut fewer) {
            if change.is_some() && axis.best.at.abs() < SMALL * distance {
                (*without, *change) = (true, None);
            } else if change.is_some() {
                cost += axis.best.cost();
            }
        }
        if fewer == *without || recourse.stopped {
            return Ok(());
        }
        recourse.evaluations = evaluations.wrapping_add(1);
        if let Some(probability) = self.favourable_score(record, rules, &recourse.changes) {
            (recourse.distance, recourse.probability) = (Some(libm::sqrtf(cost)), probability);
            return Ok(());
        }
        self.recourse_without(record, rules, &fewer, recourse, keep_going)?;
        if recourse.distance.is_none_or(|found| found > HARDLY_FARTHER * distance) {
            (recourse.distance, recourse.probability, recourse.changes) = (Some(distance), probability, changes);
        }
        recourse.evaluations = recourse.evaluations.wrapping_add(evaluations).wrapping_add(1);
        recourse.looks = recourse.looks.saturating_add(looks);
        Ok(())
    }

    /// Returns the score of a record after changes, if it is favourable.
    #[inline(never)]
    fn favourable_score(
        &self,
        record: &Record<'_, FEATURES>,
        rules: &Rules<FEATURES>,
        changes: &[Option<Change>],
    ) -> Option<f32> {
        let mut changed = record.clone();
        for (index, change) in changes.iter().enumerate() {
            let key = FeatureIndex(index);
            _ = match *change {
                None => continue,
                Some(Change::Number(number)) => changed.set_number(key, number),
                Some(Change::Level(code)) => changed.set_level(key, Some(code)),
            }
            .ok()?;
        }
        let probability = self.score(&changed).ok()?.probability;
        (probability >= rules.sought(self.threshold())).then_some(probability)
    }
}

/// Adds an answer to those kept, in the order of their distances. It replaces one that changes the
/// same features and is farther. It is dropped if such an answer is as near, or if there is no
/// room. Returns the number of answers kept.
#[inline(never)]
fn keep<const FEATURES: usize>(
    answers: &mut [Answer<FEATURES>],
    count: usize,
    found: &Recourse<FEATURES>,
    without: &[bool; FEATURES],
) -> usize {
    let Some(distance) = found.distance.filter(|_| found.changes.iter().any(Option::is_some)) else { return count };
    let kept = answers.get(..count).unwrap_or_default();
    let nearer = kept.iter().filter(|answer| answer.distance <= distance).count();
    let alike = kept.iter().position(|answer| answer.is_alike(&found.changes));
    let (count, end) = match alike {
        Some(alike) => (count, alike.wrapping_add(1)),
        None => {
            let count = count.wrapping_add(1).min(answers.len());
            (count, count)
        }
    };
    // `None` if the similar answer is among the nearer ones.
    let Some(farther) = answers.get_mut(nearer..end) else { return count };
    if let Some(last) = farther.last_mut() {
        *last = Answer { distance, probability: found.probability, changes: found.changes, without: *without };
        farther.rotate_right(1);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nearest first, one for each set of features, the nearest of it.
    #[test]
    fn the_nearest_of_each_kind_is_kept() {
        const NUMBER: Option<Change> = Some(Change::Number(1.0));
        let mut answers = [Answer::NONE; 2];
        let mut count = 0;
        let mut add = |distance, changes| {
            let found = Recourse { distance: Some(distance), changes, ..Recourse::new() };
            count = keep(&mut answers, count, &found, &[false; 2]);
            (count, [answers[0].distance, answers[1].distance], answers[0].changes)
        };
        let (first, second, both) = ([NUMBER, None], [None, NUMBER], [NUMBER; 2]);
        assert_eq!(add(2.0, first), (1, [2.0, 0.0], first));
        assert_eq!(add(3.0, second), (2, [2.0, 3.0], first));
        assert_eq!(add(2.5, first), (2, [2.0, 3.0], first), "as near as before");
        assert_eq!(add(1.0, second), (2, [1.0, 2.0], second), "nearer than one alike");
        assert_eq!(add(1.5, both), (2, [1.0, 1.5], second), "nearer than the last");
        assert_eq!(add(9.0, first), (2, [1.0, 1.5], second), "no room");
        assert_eq!(add(0.5, [None; 2]), (2, [1.0, 1.5], second), "nothing to change");
    }
}
