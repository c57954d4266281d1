//! The online learner: a mixture of logistic experts under a softmax gate (Jacobs et al. 1991;
//! FEAMOE, section 3). It adds experts and enforces fairness while records arrive.
//!
//! For each record, in this order: score it (with the averaged weights), watch for drift, register
//! the decision, then take a gradient step on the loss plus the fairness forces. These are the
//! forces of the targets (`control`) or the penalties of the paper (`paper`), and the penalty on
//! decisions that depend on a protected column alone (`individual`). An expert that a growth policy
//! asks for is added before the next record.
//!
//! ```
//! use feamoe::encoder::Example;
//! use feamoe::learner::{Learner, LearnerOptions};
//! use feamoe_engine::mixture::Term;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut learner = Learner::new(LearnerOptions::default().check()?, 0);
//! let terms = vec![Term { row: 0, scale: 1.0 }];
//! let mut example = Example { terms, label: true, ..Example::default() };
//! for record in 0..100 {
//!     example.label = record % 2 == 0;
//!     example.terms[0].scale = if example.label { 1.0 } else { -1.0 };
//!     learner.learn_one(&example);
//! }
//! assert!(learner.predict(&example.terms) < 0.5);
//! # Ok(())
//! # }
//! ```
//!
//! The same options and the same records in the same order give bit-identical weights on any
//! machine.
//!
//! *Cost:* a record of `t` terms with K experts reads and writes `2 (t + 1)` weight rows of 2K
//! numbers, and reads the same number again every other record. It takes as many square roots and
//! divisions. Nothing is allocated once the weight rows are known. *Memory:* 4 x 4 bytes per lane
//! and weight row (weights, step sizes, two averages), whatever the length of the stream; 3.7 kB of
//! detectors per protected group; the newest 1,000 events.

mod calibration;
mod control;
mod gain;
mod group_thresholds;
mod growth;
mod importance;
mod individual;
mod loss;
mod merge;
mod mixture;
mod monotone;
mod options;
mod paper;
mod rates;
mod table;
mod threshold;
mod weights;

use feamoe_engine::fairness::Measure;
use feamoe_engine::mixture::Term;
use serde::{Deserialize, Serialize};

use crate::encoder::{Carry, Example, Flips, Monotone};
pub use calibration::Calibrator;
use control::Controller;
pub use control::Steering;
use group_thresholds::{FARTHEST, GroupThresholds, HALVINGS};
pub use growth::{Cause, Event, EventKind, Events, Growth, GrowthError, LossSign, Rate};
use growth::{Grower, Watch, Watched};
use importance::{Importance, factor};
pub use loss::Forward;
pub use merge::How;
pub(crate) use merge::Part;
use mixture::{Mixture, Pace};
use monotone::Cones;
pub use options::{ClassWeight, FairBy, LearnerOptions, Loss, OptionError, ValidOptions};
pub use paper::{Increment, Paper, Penalties, PenaltiesError, Pull};
use threshold::Follower;
pub use threshold::{Objective, Scores, ThresholdError, ThresholdRule};
pub use weights::Weights;

/// The score of a record, computed before the record is learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// p(x), in [0, 1].
    pub probability: f32,
    /// The score by the weights that would be exported, in [0, 1].
    pub exported: f32,
    /// Decisions by the exported weights are favourable from this score on.
    pub exported_threshold: f32,
    /// Decisions by `probability` are favourable from this score on.
    pub threshold: f32,
    /// Whether `probability` reaches `threshold`.
    pub decision: bool,
    /// Whether replacing the value of a protected column alone, by another group's, would have
    /// changed the decision; false if flips were not requested.
    pub unfair: bool,
}

impl Prediction {
    /// Returns whether a deserialised prediction is valid.
    pub(crate) fn is_sound(&self) -> bool {
        let numbers = [self.probability, self.threshold, self.exported, self.exported_threshold];
        numbers.iter().all(|number| (0.0..=1.0).contains(number))
    }
}

/// The online learner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Learner {
    options: ValidOptions,
    mixture: Mixture,
    importance: Importance,
    controller: Controller,
    paper: Paper,
    watch: Watch,
    grower: Grower,
    events: Events,
    /// Present if the threshold is chosen by the learner: first for the decisions of the stream,
    /// then for the exported weights.
    thresholds: Option<[Follower; 2]>,
    /// Present if anything besides the log-loss moves the scores.
    calibrator: Option<Calibrator>,
    /// Present if targets are held by thresholds per group.
    group_thresholds: Option<GroupThresholds>,
    /// Whether the records to come were already learned from in an earlier pass.
    #[serde(skip)]
    repeats: bool,
}

impl Learner {
    /// Returns a learner with one expert that scores everything 0.5, for records with this number
    /// of protected attributes.
    ///
    /// Groups are added when they first occur. So are weight rows, which start at 0.
    #[must_use]
    pub fn new(options: ValidOptions, attributes: usize) -> Self {
        Self {
            mixture: Mixture::new(),
            importance: Importance::new(options.class_weight),
            controller: Controller::new(options.targets_of(FairBy::Score), attributes),
            paper: Paper::new(options.penalties, attributes),
            watch: Watch::new(attributes, !options.targets_of(FairBy::Score).is_empty()),
            grower: Grower::default(),
            events: Events::default(),
            thresholds: match options.threshold {
                ThresholdRule::Fixed(_) => None,
                ThresholdRule::Auto(objective) => Some([objective; 2].map(Follower::new)),
            },
            calibrator: options.distorts().then(Calibrator::new),
            group_thresholds: options.holds_by_thresholds(),
            repeats: false,
            options,
        }
    }

    /// Scores a record, then learns from it.
    pub fn learn_one(&mut self, example: &Example) -> Prediction {
        self.learn_one_with(example, &Flips::default())
    }

    /// Scores a record, then learns from it and from how it would be decided in other groups.
    ///
    /// In the loss on the outcome a record weighs its sample weight, divided by the mean of the
    /// sample weights so far, times the weight of its label. The forces of targets and penalties,
    /// the drift detectors and the choice of the threshold count each record once, whatever its
    /// weight. A record whose weight is not above 0, or not finite, is scored only.
    pub fn learn_one_with(&mut self, example: &Example, flips: &Flips) -> Prediction {
        self.learn_late(example, flips, None)
    }

    /// Like [`Learner::learn_one_with`], for a record that was scored earlier ([`Learner::score`]),
    /// before its label was known. The drift detectors take that earlier score. Returns the current
    /// score.
    pub fn learn_late(&mut self, example: &Example, flips: &Flips, earlier: Option<Prediction>) -> Prediction {
        if !Importance::teaches(example.weight) {
            return self.score(example, flips);
        }
        self.grow_if_due();
        let threshold = self.threshold();
        let shift = self.shift(&example.groups);
        let (averaged, current) = self.mixture.forward(&example.terms, &example.blocks, shift);
        let exported = self.mixture.forward_exported(&example.terms, shift);
        if !self.repeats {
            self.calibrate(example, exported);
        }
        if let Some([_, follower]) = &mut self.thresholds {
            follower.observe(example.label, exported);
        }
        let unfair = self.unfair_flip(averaged, flips);
        if unfair.is_some() {
            self.grower.note_unfair();
        }
        let decision = averaged >= threshold;
        let exported_threshold = self.exported_threshold();
        let unfair_now = unfair.is_some();
        let prediction =
            Prediction { probability: averaged, threshold, decision, unfair: unfair_now, exported, exported_threshold };
        self.watch_for_drift(example, earlier.unwrap_or(prediction));
        let force = self.controller.observe(&example.groups, example.label, threshold, [averaged, current]);
        let decision = current >= threshold;
        let [force, group_force] = self.controller.share(force, self.mixture.reveal_group(&example.terms));
        let pull = self.paper.observe(&example.groups, example.label, decision, self.mixture.experts());
        let mut force = force + pull.force;
        let mut flip_force = 0.0;
        if let (Some(weight), Some((_, flipped))) = (self.options.individual, unfair) {
            let (own, flip) = individual::forces(weight, threshold, current, flipped);
            force += own;
            flip_force = flip;
        }
        let ValidOptions { loss, learning_rate, freeze, .. } = self.options;
        self.mixture.hold_gains(self.repeats || loss == Loss::Competitive);
        let importance = self.importance.observe(example.weight, example.label);
        let (factor, of_force) = (factor(importance), 1.0 / factor(importance));
        let pace = Pace { learning_rate, factor, group_force: of_force * group_force };
        self.mixture.step(&example.terms, current, pace, freeze, |forward, gradient| {
            forward.loss_gradient(loss, example.label, gradient);
            if importance != 1.0 {
                gradient.iter_mut().for_each(|lane| *lane *= factor);
            }
            if force != 0.0 {
                forward.add_score_gradient(of_force * force, gradient);
            }
            if pull.squares != 0.0 {
                forward.add_competitive_gradient(of_force * pull.squares, !decision, gradient);
            }
        });
        if let Some((terms, _)) = unfair.filter(|_| flip_force != 0.0) {
            self.mixture.nudge(terms, flip_force, learning_rate, freeze);
        }
        if let Some([deciding, _]) = &mut self.thresholds {
            deciding.observe(example.label, averaged);
        }
        prediction
    }

    /// Scores a record in the same way as the stream, and learns nothing from it.
    pub fn score(&mut self, example: &Example, flips: &Flips) -> Prediction {
        let (threshold, probability) =
            (self.threshold(), self.mixture.predict(&example.terms, self.shift(&example.groups)));
        let unfair = self.unfair_flip(probability, flips).is_some();
        let exported = self.predict_exported(&example.terms, &example.groups);
        let (decision, exported_threshold) = (probability >= threshold, self.exported_threshold());
        Prediction { probability, threshold, decision, unfair, exported, exported_threshold }
    }

    /// Returns, among the flips that are decided differently, the one whose score is farthest away,
    /// with its score by the current weights.
    fn unfair_flip<'a>(&mut self, averaged: f32, flips: &'a Flips) -> Option<(&'a [Term], f32)> {
        let threshold = self.threshold();
        let decision = averaged >= threshold;
        let mut farthest = None;
        let mut distance = 0.0;
        for terms in flips.iter() {
            let (decisive, current) = self.mixture.glance(terms);
            let away = (decisive - averaged).abs();
            if (decisive >= threshold) != decision && away > distance {
                distance = away;
                farthest = Some((terms, current));
            }
        }
        farthest
    }

    /// Scores a record in the same way as the stream, by the deciding average and without the shift
    /// of a group. Weight rows that were never learned add nothing.
    #[must_use]
    pub fn predict(&self, terms: &[Term]) -> f32 {
        self.mixture.predict(terms, 0.0)
    }

    /// Scores a record, by its terms and groups, as the exported model does: by the weights of
    /// [`Learner::weights`], a longer average than the stream's own, and with its group's shift.
    #[must_use]
    pub fn predict_exported(&self, terms: &[Term], groups: &[u8]) -> f32 {
        self.mixture.predict_exported(terms, self.shift(groups))
    }

    fn shift(&self, groups: &[u8]) -> f32 {
        self.group_thresholds.as_ref().map_or(0.0, |thresholds| thresholds.of(groups))
    }

    /// Returns the shift that is added to the log-odds of every expert, in log2 units, by group of
    /// the only protected attribute; empty if targets are held by the scores.
    #[must_use]
    pub fn shifts(&self) -> &[f32] {
        self.group_thresholds.as_ref().map_or(&[], GroupThresholds::shifts)
    }

    fn watch_for_drift(&mut self, example: &Example, prediction: Prediction) {
        let Self { mixture, controller, watch, grower, events, .. } = self;
        let record = mixture.records();
        let watched = Watched {
            record,
            groups: &example.groups,
            label: example.label,
            score: prediction.probability,
            exported: prediction.exported,
            decision: prediction.decision,
        };
        watch.observe(&watched, &mut |cause, change| {
            events.push(Event { record, cause, kind: EventKind::DriftDetected(change) });
            grower.note_drift(cause);
            if let Cause::FairnessDrift { attribute, group, .. } = cause {
                controller.raise_gain(attribute, group);
            }
        });
    }

    /// Adds an expert if one is due. At capacity the two closest are merged first, except for
    /// [`Growth::every`].
    fn grow_if_due(&mut self) {
        let Self { options, mixture, grower, events, .. } = self;
        let record = mixture.records();
        let has_room = mixture.experts() < options.most_experts();
        let pays = || has_room && (!options.asks_whether_experts_pay() || mixture.experts_differ());
        let Some(cause) = grower.due(options.growth, record, pays) else { return };
        let is_loss = matches!(cause, Cause::LossDrift(_));
        if is_loss {
            mixture.answer_drift();
        }
        let mut happened = |kind| events.push(Event { record, cause, kind });
        let expert = if has_room {
            mixture.add_expert()
        } else {
            let Some((into, expert)) = mixture.merge_closest() else { return };
            happened(EventKind::ExpertsMerged { into, expert });
            expert
        };
        let parent = if is_loss {
            mixture.fill_with_mean(expert);
            None
        } else {
            Some(mixture.fill_with_copy(expert, options.seed))
        };
        happened(EventKind::ExpertAdded { expert, parent });
    }

    /// Follows a change of the encoding: carries what was learned over to the new weight rows.
    pub fn carry(&mut self, carry: &Carry) {
        self.mixture.carry(carry);
        if let Some(calibrator) = &mut self.calibrator {
            calibrator.carry(carry);
        }
    }

    /// Makes the score monotone in these numbers from now on, and in no others, through their
    /// weight rows. Call it after the encoding was fitted, after each [`Learner::carry`], and on a
    /// learner that was stored. Weights that break the order are moved to the nearest ones that
    /// keep it.
    pub fn hold(&mut self, monotone: Vec<Monotone>) {
        self.mixture.hold(Cones::new(monotone));
    }

    /// Sets whether the records to come were already learned from. Gains and calibration learn from
    /// new records only.
    pub fn set_repeats(&mut self, repeats: bool) {
        self.repeats = repeats;
    }

    /// Returns whether a deserialised learner is valid for this number of protected attributes.
    pub(crate) fn is_sound(&self, attributes: usize) -> bool {
        let ValidOptions { targets, penalties, .. } = &self.options;
        self.options.is_sound()
            && self.mixture.is_sound()
            && self.importance.is_sound(self.options.class_weight)
            && self.controller.is_sound(self.options.targets_of(FairBy::Score), attributes)
            && match (&self.group_thresholds, self.options.fair_by) {
                (Some(thresholds), FairBy::Threshold) => thresholds.is_sound(targets),
                (thresholds, fair_by) => thresholds.is_none() && fair_by == FairBy::Score,
            }
            && match (self.options.threshold, &self.thresholds) {
                (ThresholdRule::Auto(objective), Some(both)) => both.iter().all(|one| one.is_sound(objective)),
                (rule, both) => matches!(rule, ThresholdRule::Fixed(_)) && both.is_none(),
            }
            && self.paper.is_sound(*penalties, attributes)
            && self.calibrator.is_some() == self.options.distorts()
            && self.calibrator.as_ref().is_none_or(Calibrator::is_sound)
    }

    /// Changes [`LearnerOptions::freeze`] from here on.
    pub fn set_freeze(&mut self, freeze: bool) {
        self.options.freeze = freeze;
    }

    /// Returns whether [`Learner::observe_distance`] is needed: whether the recourse burden is a
    /// target.
    #[must_use]
    pub fn wants_distances(&self) -> bool {
        self.controller.holds_recourse()
    }

    /// Adds the distance of a declined record to the decision boundary, in standard deviations. The
    /// record is given by its groups and its score ([`Learner::predict`]). A sample of the records
    /// suffices.
    pub fn observe_distance(&mut self, groups: &[u8], probability: f32, distance: f32) {
        self.controller.observe_distance(groups, self.threshold(), probability, distance);
    }

    /// Returns whether probabilities are calibrated separately from the score that decides, so that
    /// [`Learner::calibrate`] is needed: if fairness, a loss other than the log-loss, or class
    /// weights move the score.
    #[must_use]
    pub fn calibrates(&self) -> bool {
        self.calibrator.is_some()
    }

    /// Learns to calibrate from a record that was not learned from yet, by its score by the
    /// exported weights.
    pub fn calibrate(&mut self, example: &Example, score: f32) {
        if !Importance::teaches(example.weight) {
            return;
        }
        if let Some(calibrator) = &mut self.calibrator {
            let ValidOptions { learning_rate, .. } = self.options;
            let importance = self.importance.of(example.weight);
            calibrator.observe(example, score, importance, learning_rate, self.mixture.cones());
        }
        let threshold = self.exported_threshold();
        if let Some(thresholds) = &mut self.group_thresholds {
            let needed = self.mixture.needed_shift(&example.terms, threshold, FARTHEST, HALVINGS);
            thresholds.observe(&example.groups, needed, example.label, threshold);
        }
    }

    /// Returns the calibrated probability of a record, by its score by the exported weights; that
    /// score itself if nothing is calibrated.
    #[must_use]
    pub fn calibrated(&self, terms: &[Term], score: f32) -> f32 {
        self.calibrator().map_or(score, |calibrator| calibrator.averaged(terms, score))
    }

    /// Returns the calibrator, if it lowers the log-loss.
    pub(crate) fn calibrator(&self) -> Option<&Calibrator> {
        self.calibrator.as_ref().filter(|calibrator| calibrator.pays())
    }

    /// Returns the decision threshold of the stream, as of the records so far.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold_of(|[deciding, _]| deciding)
    }

    /// Returns the decision threshold of the exported weights.
    #[must_use]
    pub fn exported_threshold(&self) -> f32 {
        self.threshold_of(|[_, exported]| exported)
    }

    fn threshold_of(&self, which: impl FnOnce(&[Follower; 2]) -> &Follower) -> f32 {
        match (self.options.threshold, &self.thresholds) {
            (ThresholdRule::Fixed(threshold), _) => threshold,
            (_, both) => both.as_ref().map_or(0.5, |both| which(both).value()),
        }
    }

    /// Returns the recourse burden gap that steers a group, by index of attribute and group; NaN
    /// until there are distances of both groups.
    #[must_use]
    pub fn recourse_gap(&self, place: [usize; 2]) -> f32 {
        self.controller.recourse_gap(place)
    }

    /// Returns the weights that decide, a shorter average than the exported ones.
    pub(crate) fn deciding_weights(&self) -> Weights<'_> {
        self.mixture.deciding()
    }

    /// Returns the options that the learner was made with.
    #[must_use]
    pub fn options(&self) -> &ValidOptions {
        &self.options
    }

    /// Returns the number of experts so far.
    #[must_use]
    pub fn experts(&self) -> usize {
        self.mixture.experts()
    }

    /// Returns the number of records learned from.
    #[must_use]
    pub fn rows_seen(&self) -> u64 {
        self.mixture.records()
    }

    /// Returns how a target is held for a group, by index of attribute and group.
    #[must_use]
    pub fn steering(&self, measure: Measure, place: [usize; 2]) -> Steering {
        self.controller.steering(measure, place, &self.options.targets)
    }

    /// Returns the events so far.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Returns the exported weights. Weight rows past the end were never learned.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        self.mixture.exported()
    }
}

#[cfg(test)]
mod tests;
