//! Watches the stream for drift in the loss and in the relation between groups, with the engine's
//! ADWIN.
//!
//! **Loss.** Two detectors, both on the Brier score `(y - p)^2`, which is bounded as ADWIN
//! requires. Over 20 synthetic streams it alarmed as fast as the clipped log-loss, and faster than
//! the error (medians 160, 190 and 220 records after an abrupt drift, no false alarm in any). Only
//! a rise counts: learning itself makes the loss fall.
//!
//! - the *level* of the deciding score's loss;
//! - its *lag*: the loss of the exported weights, a long average, minus that of the deciding ones,
//!   a short average. It rises wherever the short average has learned what the long one has not,
//!   even if the new concept is the easier one and the level falls. Otherwise both averages make
//!   the same mistakes, so the lag is far less noisy. Current weights are not compared with the
//!   deciding ones: fairness controllers make the current ones swing, which would alarm every few
//!   thousand records.
//!
//! **Fairness.** The detectors watch the *gap* to the reference group, never a group's rate. A rate
//! moves for many reasons that concern everyone (learning, a change of mixture, an accuracy drift);
//! rates alone gave 90 false alarms on 20 stationary streams with targets, gaps gave 7. Records are
//! compared in pairs: all of the group since the last pair against all of the reference group since
//! then, as soon as there is one of each. So every record counts once and pairs are independent.
//!
//! - the labels' gap: it belongs to the data, so no controller can move it; it alarms in both
//!   directions;
//! - the gaps of decisions, of true and false positive rates, and of label minus score (which has
//!   the smallest variance and alarms first): here only a widening counts. A controller with a
//!   target narrows gaps on purpose, which needs no expert.
//!
//! If targets are held, the response to a drift of a gap (controllers with a raised gain, a new
//! expert) itself moves the short average away from the long one. For twice [`QUIET`] records the
//! lag is then ignored. (Two of five orders of Adult with three targets ended with a false alarm of
//! the lag some 1,000 records after one of a gap. The exported average then covered few records,
//! with an SPD of -0.11 in one of them.)
//!
//! One drift shows in several detectors: for [`QUIET`] records after an alarm, further alarms about
//! the loss, or about the same group, are not reported.
//!
//! *Cost:* three updates and a few sums per record. *Memory:* 3.7 kB per group.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::drift::{Adwin, Change, Gap};
use serde::{Deserialize, Serialize};

use super::Cause;
use crate::encoder::NO_GROUP;

/// Allowed chance of a false alarm per check of a detector. The measured chance is a thousandth of
/// it (see the engine's tests).
static DELTA: Tuned<f32> = tuned!(0.01);
/// Bounds of the lag: a score differs by less between the two averages.
static LARGEST_LAG: Tuned<f32> = tuned!(0.2);
/// A smaller lag is no reason for an expert: swinging fairness controllers reach half of it.
static SMALLEST_LAG: Tuned<f32> = tuned!(0.004);
/// Records between two checks of the lag.
static LAG_EVERY: Tuned<u64> = tuned!(2);
/// Records during which an alarm of the same kind is not reported again.
static QUIET: Tuned<u64> = tuned!(1000);

/// The statistic of the Brier score that shows a drift in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossSign {
    /// The loss of the score that decides.
    Level,
    /// By how much the loss of the exported weights, a longer average, is larger.
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

/// The quantity compared between a group and the reference group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rate {
    /// Favourable labels: the base rate.
    Label,
    /// Favourable decisions.
    Decision,
    /// Favourable decisions among records with a favourable label.
    TruePositive,
    /// Favourable decisions among records with the other label.
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

    /// Returns whether a change is a drift that an expert could answer.
    fn is_drift(self, change: &Change) -> bool {
        self == Self::Label || change.after.abs() > change.before.abs()
    }
}

/// The comparison of a group with the reference group.
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
    /// Number of records learned from before.
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
    /// Record from which on loss alarms are reported.
    loss_heard_from: u64,
    /// Record from which on lag alarms are reported.
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

    /// Observes a record. Calls `report` for every drift.
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
