//! Watches the stream for drift in the loss and in the relation between groups, with the engine's
//! ADWIN.
//!
//! **Loss.** Two detectors, both on the Brier score `(y - p)^2`, which is bounded as ADWIN needs
//! it: over 20 synthetic streams it alarmed as fast as the log-loss, clipped, and faster than the
//! error (medians 160, 190 and 220 records after an abrupt drift, no false alarm in any). Only a
//! rise counts: learning itself makes the loss fall.
//!
//! - the *level* of the deciding score's loss;
//! - its *lag*: the loss of the exported weights, a long average, minus that of the deciding ones,
//!   a short one. It rises wherever the short average has learned what the long one has not, even
//!   where the new concept is the easier one and the level falls. Both averages make the same
//!   mistakes else, so it is far less noisy. Not the current weights against the deciding ones:
//!   fairness controllers swing the current ones about, which would alarm every few thousand
//!   records.
//!
//! **Fairness.** What is watched is never a group's rate but the *gap* to the reference group. A
//! rate moves for many reasons that concern everyone (learning, a change of mixture, an accuracy
//! drift); rates by themselves gave 90 false alarms on 20 stationary streams with targets, gaps 7.
//! Records are compared in pairs: all of the group since the last pair against all of the reference
//! since then, as soon as there is one of each. So every record counts once and pairs are
//! independent.
//!
//! - the labels' gap: the world's own, which no controller can move; it alarms in both directions;
//! - the gaps of decisions, true and false positive rates, and of label minus score (which has the
//!   smallest variance and alarms first): here only a widening counts. A controller with a target
//!   narrows gaps on purpose, and no expert is needed for that.
//!
//! Where targets are held, the answer to a drift of a gap (controllers with a raised gain, a new
//! expert) moves the short average away from the long one by itself: for twice [`QUIET`] records
//! the lag is no sign then. (Two of five orders of Adult with three targets ended with a false
//! alarm of the lag some 1,000 records after one of a gap, which left an average of few records to
//! be exported, at an SPD of -0.11 in one of them.)
//!
//! One drift shows in several detectors: for [`QUIET`] records after an alarm, further ones about
//! the loss, or about the same group, are not reported.
//!
//! *Cost:* three updates and a few sums for a record. *Memory:* 3.7 kB per group.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::drift::{Adwin, Change, Gap};
use serde::{Deserialize, Serialize};

use super::Cause;
use crate::encoder::NO_GROUP;

/// Chance of a false alarm that a look of a detector is allowed; those found are a thousandth of it
/// (see the engine's tests).
static DELTA: Tuned<f32> = tuned!(0.01);
/// Bounds of the lag: a score changes by less between two averages.
static LARGEST_LAG: Tuned<f32> = tuned!(0.2);
/// A lag below is no reason for an expert: fairness controllers that swing reach half of it.
static SMALLEST_LAG: Tuned<f32> = tuned!(0.004);
/// Records between two looks at the lag.
static LAG_EVERY: Tuned<u64> = tuned!(2);
/// Records without a second report on the same.
static QUIET: Tuned<u64> = tuned!(1000);

/// What shows a drift in the loss: the Brier score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossSign {
    /// The loss of the score that decides.
    Level,
    /// How much larger the loss of the exported weights is, whose average reaches back further.
    Lag,
}

impl LossSign {
    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Level => "loss",
            Self::Lag => "loss lag",
        }
    }
}

/// What is compared between a group and the reference group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rate {
    /// Positive labels: the base rate.
    Label,
    /// Positive decisions.
    Decision,
    /// Positive decisions where the label is positive.
    TruePositive,
    /// Positive decisions where the label is negative.
    FalsePositive,
    /// Label minus score.
    Residual,
}

impl Rate {
    const COUNT: usize = 5;

    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Label => "label rate",
            Self::Decision => "decision rate",
            Self::TruePositive => "true positive rate",
            Self::FalsePositive => "false positive rate",
            Self::Residual => "residual",
        }
    }

    /// Whether a change is a drift that an expert could answer.
    fn is_drift(self, change: &Change) -> bool {
        self == Self::Label || change.after.abs() > change.before.abs()
    }
}

/// A group against the reference group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    /// In the order of [`Rate`].
    gaps: [Gap; Rate::COUNT],
    /// Record from which on alarms are reported.
    heard_from: u64,
}

impl Pair {
    fn new() -> Self {
        Self { gaps: std::array::from_fn(|_| Gap::new(DELTA.get())), heard_from: 0 }
    }
}

/// One scored record.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Watched<'a> {
    /// Records learned from before.
    pub record: u64,
    /// By protected attribute.
    pub groups: &'a [u8],
    pub label: bool,
    /// The score that decides.
    pub score: f32,
    /// The score of the exported weights.
    pub exported: f32,
    pub decision: bool,
}

/// All detectors of a learner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Watch {
    level: Adwin,
    lag: Adwin,
    /// Record from which on alarms of the loss are reported.
    loss_heard_from: u64,
    /// Record from which on the lag is a sign.
    lag_heard_from: u64,
    /// Whether gaps are held at targets.
    holds_gaps: bool,
    /// By attribute, by group from 1 on.
    pairs: Vec<Vec<Pair>>,
}

impl Watch {
    pub(in super::super) fn new(attributes: usize, holds_gaps: bool) -> Self {
        Self {
            level: Adwin::new(DELTA.get(), 0.0, 1.0),
            lag: Adwin::new(DELTA.get(), -LARGEST_LAG.get(), LARGEST_LAG.get()),
            loss_heard_from: 0,
            lag_heard_from: 0,
            holds_gaps,
            pairs: vec![Vec::new(); attributes],
        }
    }

    /// Takes note of a record. Tells `report` of every drift.
    pub(in super::super) fn observe(&mut self, watched: &Watched<'_>, report: &mut impl FnMut(Cause, Change)) {
        let y = f32::from(u8::from(watched.label));
        let loss = |p: f32| (y - p) * (y - p);
        let level = self.level.update(loss(watched.score)).filter(Change::is_rise);
        let lag = if watched.record.is_multiple_of(LAG_EVERY.get()) {
            let lag = self.lag.update(loss(watched.exported) - loss(watched.score));
            lag.filter(|change| {
                change.is_rise() && change.after > SMALLEST_LAG.get() && watched.record >= self.lag_heard_from
            })
        } else {
            None
        };
        let level = level.map(|change| (LossSign::Level, change));
        if let Some((sign, change)) = level.or(lag.map(|change| (LossSign::Lag, change)))
            && watched.record >= self.loss_heard_from
        {
            self.loss_heard_from = watched.record + QUIET.get();
            report(Cause::LossDrift(sign), change);
        }

        let decision = f32::from(u8::from(watched.decision));
        let given_label = if watched.label { Rate::TruePositive } else { Rate::FalsePositive };
        let values = [
            (Rate::Label, y),
            (Rate::Decision, decision),
            (given_label, decision),
            (Rate::Residual, y - watched.score),
        ];
        for (attribute, (pairs, group)) in self.pairs.iter_mut().zip(watched.groups).enumerate() {
            let group = usize::from(*group);
            if group == usize::from(NO_GROUP) {
                continue;
            }
            if pairs.len() < group {
                pairs.resize_with(group, Pair::new);
            }
            let is_reference = group == 0;
            let first = group.saturating_sub(1);
            let last = if is_reference { pairs.len() } else { group };
            for (index, pair) in pairs.iter_mut().enumerate().take(last).skip(first) {
                for (rate, value) in values {
                    if let Some(change) = pair.gaps[rate as usize].observe(is_reference, value)
                        && rate.is_drift(&change)
                        && watched.record >= pair.heard_from
                    {
                        pair.heard_from = watched.record + QUIET.get();
                        if self.holds_gaps {
                            self.lag_heard_from = watched.record + 2 * QUIET.get();
                        }
                        report(Cause::FairnessDrift { attribute, group: index + 1, rate }, change);
                    }
                }
            }
        }
    }
}
