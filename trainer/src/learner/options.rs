//! The learner's options: unchecked while they are set, checked once before use.

use feamoe_engine::fairness::Measure;
use feamoe_engine::limits::{MAX_EXPERTS, MAX_LOGIT};
use serde::{Deserialize, Serialize};

use super::group_thresholds::{GroupThresholds, HELD};
use super::growth::Growth;
use super::paper::Penalties;
use super::threshold::{Objective, ThresholdRule};

/// The loss on the outcome, before any fairness force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// `-log p(y given x)` of the mixture.
    #[default]
    Nll,
    /// `sum_k g_k (y - o_k)^2`: experts compete for records (Jacobs et al. 1991, eq. 1.2; the loss
    /// of the FEAMOE paper).
    Competitive,
}

/// How much the records of each label weigh in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClassWeight {
    /// Records of both labels weigh the same.
    #[default]
    Equal,
    /// Records of the rarer label weigh more: `n / (2 n_y)` for label y, so that each label has
    /// half of the total weight.
    Balanced,
}

/// How targets are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FairBy {
    /// By the scores: the group is not needed at decision time.
    #[default]
    Score,
    /// By a threshold for each group; see [`LearnerOptions::fair_by`].
    Threshold,
}

/// Unchecked options; [`LearnerOptions::check`] makes them usable.
///
/// ```
/// use feamoe::learner::LearnerOptions;
/// use feamoe_engine::fairness::Measure;
/// let options = LearnerOptions::default().experts(8).target(Measure::Spd, 0.05).check();
/// assert!(options.is_ok());
/// let error = LearnerOptions::default().experts(0).check();
/// assert_eq!(error.map_err(|e| e.to_string()).err().as_deref(), Some("experts: found 0, allowed 1 to 128"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnerOptions(ValidOptions);

/// Options within their ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidOptions {
    /// `None`: the learner chooses the number.
    pub(super) experts: Option<usize>,
    pub(super) growth: Growth,
    pub(super) loss: Loss,
    pub(super) learning_rate: f32,
    pub(super) seed: u64,
    pub(super) threshold: ThresholdRule,
    pub(super) targets: Vec<(Measure, f32)>,
    pub(super) fair_by: FairBy,
    pub(super) freeze: bool,
    pub(super) class_weight: ClassWeight,
    pub(super) penalties: Penalties,
    /// Penalty on an individually unfair decision; `None` if such decisions are not looked for.
    pub(super) individual: Option<f32>,
}

/// An option outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{option}: found {found}, allowed {allowed}")]
pub struct OptionError {
    option: &'static str,
    found: String,
    allowed: String,
}

impl Default for LearnerOptions {
    fn default() -> Self {
        Self(ValidOptions {
            experts: None,
            growth: Growth::default(),
            loss: Loss::default(),
            learning_rate: Self::LEARNING_RATE,
            seed: 1,
            threshold: ThresholdRule::default(),
            targets: Vec::new(),
            fair_by: FairBy::Score,
            freeze: false,
            class_weight: ClassWeight::Equal,
            penalties: Penalties::NONE,
            individual: None,
        })
    }
}

const _: () = assert!(
    MAX_EXPERTS <= LearnerOptions::MOST_EXPERTS && LearnerOptions::MOST_EXPERTS <= 128 && MAX_LOGIT <= 120.0,
    "the gate's sum could overflow: 128 * 2^120 = 2^127 is below the largest f32"
);

impl LearnerOptions {
    /// Maximum number of experts of a learner: with more, the sum of a gate could overflow.
    pub const MOST_EXPERTS: usize = 128;
    /// Maximum number of experts if the learner chooses their number.
    pub const EXPERTS: usize = 12;
    /// Default of [`LearnerOptions::learning_rate`].
    pub const LEARNING_RATE: f32 = 0.2;

    /// Sets the maximum number of experts: 1 to [`LearnerOptions::MOST_EXPERTS`]. More experts fit
    /// finer interactions; each one adds to the time per record and to the size of the blob. The
    /// blob holds at most [`MAX_EXPERTS`], so a mixture with more cannot be exported.
    ///
    /// With `None`, the default, the learner chooses the number, at most
    /// [`LearnerOptions::EXPERTS`]. While two experts answer nearly alike, [`Growth::every`] adds
    /// none; a drift still adds one.
    #[must_use]
    pub fn experts(mut self, experts: impl Into<Option<usize>>) -> Self {
        self.0.experts = experts.into();
        self
    }

    /// Sets when an expert is added: by default every 500 records and on drift. Rarer growth gives
    /// each expert more records before the next one is added. At capacity, growth on drift makes
    /// room by merging the two closest experts.
    #[must_use]
    pub fn growth(mut self, growth: Growth) -> Self {
        self.0.growth = growth;
        self
    }

    /// Sets the loss, default [`Loss::Nll`].
    #[must_use]
    pub fn loss(mut self, loss: Loss) -> Self {
        self.0.loss = loss;
        self
    }

    /// Sets the learning rate of AdaGrad in log2 units: above 0 and at most 1, default 0.2. For
    /// records of more than 20 terms it is multiplied by 20 / terms. Raise it for short or fast
    /// drifting streams, lower it for noisy ones.
    #[must_use]
    pub fn learning_rate(mut self, learning_rate: f32) -> Self {
        self.0.learning_rate = learning_rate;
        self
    }

    /// Sets the seed of the perturbation of new experts, default 1.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Sets the score from which on a decision is favourable: inside (0, 1), default 0.5.
    #[must_use]
    pub fn threshold(self, threshold: f32) -> Self {
        self.threshold_rule(ThresholdRule::Fixed(threshold))
    }

    /// Sets the score from which on a decision is favourable, or the objective that it is chosen
    /// for while the stream runs.
    #[must_use]
    pub fn threshold_rule(mut self, rule: ThresholdRule) -> Self {
        self.0.threshold = rule;
        self
    }

    /// Sets the largest gap of a measure between any group and its reference: above 0 and at most
    /// [`Measure::largest`]; replaces an earlier target of the measure. No target by default. A
    /// smaller gap costs more accuracy.
    #[must_use]
    pub fn target(mut self, measure: Measure, gap: f32) -> Self {
        self.0.targets.retain(|(other, _)| *other != measure);
        self.0.targets.push((measure, gap));
        self
    }

    /// Sets how the targets are held, by default by the scores. With thresholds for each group the
    /// mixture learns from the outcomes alone and needs no time to settle. But the group must be
    /// known at decision time, which law may forbid. Thresholds hold measures of decisions (not the
    /// burdens), for one protected attribute that is a feature of the model.
    #[must_use]
    pub fn fair_by(mut self, fair_by: FairBy) -> Self {
        self.0.fair_by = fair_by;
        self
    }

    /// Sets whether only the gate and the newest expert learn, default false. Older experts then
    /// keep what they know in case it returns, but cannot follow changes.
    #[must_use]
    pub fn freeze(mut self, freeze: bool) -> Self {
        self.0.freeze = freeze;
        self
    }

    /// Sets how much the records of each label weigh, default [`ClassWeight::Equal`]. Balanced
    /// labels let a rare outcome be predicted at a threshold of 0.5. The score is then not a
    /// probability, and probabilities are calibrated separately. The label counts are those of the
    /// stream so far, faded over 100,000 records. A label weighs at most 1,000.
    #[must_use]
    pub fn class_weight(mut self, class_weight: ClassWeight) -> Self {
        self.0.class_weight = class_weight;
        self
    }

    /// Sets the penalties of the FEAMOE paper, none by default. They are an alternative to targets
    /// and exclude them. A larger increment gives a smaller gap and less accuracy.
    #[must_use]
    pub fn penalties(mut self, penalties: Penalties) -> Self {
        self.0.penalties = penalties;
        self
    }

    /// Sets the penalty on a decision that changes when a protected column alone is changed: 0 to
    /// 1; the paper uses 0.4 (A.10). At 0 such decisions are only counted. They are not looked for
    /// by default, because each record then takes one score for every value of the other groups.
    #[must_use]
    pub fn individual(mut self, weight: f32) -> Self {
        self.0.individual = Some(weight);
        self
    }

    /// Checks every option.
    ///
    /// # Errors
    /// [`OptionError`] for the first option outside its range.
    pub fn check(self) -> Result<ValidOptions, OptionError> {
        let v = self.0;
        let most = v.most_experts();
        within("experts", most, &format!("1 to {}", Self::MOST_EXPERTS), (1..=Self::MOST_EXPERTS).contains(&most))?;
        within(
            "learning-rate",
            v.learning_rate,
            "above 0, at most 1",
            v.learning_rate > 0.0 && v.learning_rate <= 1.0,
        )?;
        let allowed = match v.threshold {
            ThresholdRule::Auto(Objective::Cost(_)) => "a cost above 0",
            ThresholdRule::Auto(_) => "a share above 0, below 1",
            ThresholdRule::Fixed(_) => "above 0, below 1",
        };
        within("threshold", v.threshold, allowed, v.threshold.is_valid())?;
        for (measure, gap) in &v.targets {
            let (largest, allowed) = (measure.largest(), format!("a gap above 0, at most {}", measure.largest()));
            within(measure.name(), gap, &allowed, *gap > 0.0 && *gap <= largest)?;
        }
        let largest = Penalties::LARGEST_INCREMENT;
        for increment in v.penalties.increments() {
            let allowed = increment > 0.0 && increment <= largest;
            within("increment", increment, &format!("above 0, at most {largest}"), allowed)?;
        }
        let individual = v.individual.unwrap_or_default();
        within("individual", individual, "0 to 1", (0.0..=1.0).contains(&individual))?;
        if v.fair_by == FairBy::Threshold {
            let held = v.targets.iter().find(|(measure, _)| !HELD.contains(measure));
            within(
                "fair-by",
                "threshold",
                "score for a target of a burden: thresholds hold measures of decisions",
                held.is_none(),
            )?;
            within("fair-by", "threshold", "with at least one target", !v.targets.is_empty())?;
            within("fair-by", "threshold", "score beside a penalty on unfair decisions", v.individual.is_none())?;
        }
        let one_way = v.targets.is_empty() || v.penalties == Penalties::NONE;
        within(
            "penalties",
            v.penalties,
            "none beside targets: penalties push whether or not a target is met",
            one_way,
        )?;
        Ok(v)
    }
}

impl ValidOptions {
    /// Returns whether deserialised options are within their ranges.
    pub(super) fn is_sound(&self) -> bool {
        LearnerOptions(self.clone()).check().is_ok()
    }

    /// Returns the maximum number of experts; `None` if the learner chooses it.
    #[must_use]
    pub fn experts(&self) -> Option<usize> {
        self.experts
    }

    /// Returns the maximum number of experts, whether it was set or left to the learner.
    #[must_use]
    pub fn most_experts(&self) -> usize {
        self.experts.unwrap_or(LearnerOptions::EXPERTS)
    }

    /// Returns whether [`Growth::every`] adds an expert only if the existing ones differ.
    pub(super) fn asks_whether_experts_pay(&self) -> bool {
        // The paper adds experts at fixed intervals: its penalties grow with each expert.
        self.experts.is_none() && self.penalties == Penalties::NONE && self.loss == Loss::Nll
    }

    /// Returns the decision threshold, or the objective that it is chosen for.
    #[must_use]
    pub fn threshold(&self) -> ThresholdRule {
        self.threshold
    }

    /// Returns how the targets are held.
    #[must_use]
    pub fn fair_by(&self) -> FairBy {
        self.fair_by
    }

    /// Returns when an expert is added.
    #[must_use]
    pub fn growth(&self) -> Growth {
        self.growth
    }

    /// Returns the loss.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Returns the learning rate of AdaGrad.
    #[must_use]
    pub fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    /// Returns whether only the gate and the newest expert learn.
    #[must_use]
    pub fn freezes(&self) -> bool {
        self.freeze
    }

    /// Returns how much the records of each label weigh.
    #[must_use]
    pub fn class_weight(&self) -> ClassWeight {
        self.class_weight
    }

    /// Returns the paper's penalties; `None` if there are none.
    #[must_use]
    pub fn penalties(&self) -> Option<Penalties> {
        (self.penalties != Penalties::NONE).then_some(self.penalties)
    }

    /// Returns the penalty on an individually unfair decision; `None` if such decisions are not
    /// looked for.
    #[must_use]
    pub fn individual(&self) -> Option<f32> {
        self.individual
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns whether the learner needs [`Flips`](crate::encoder::Flips): whether it looks for
    /// decisions that depend on a protected column alone.
    #[must_use]
    pub fn wants_flips(&self) -> bool {
        self.individual.is_some() || self.growth.unfair > 0
    }

    /// Returns whether anything besides the log-loss moves scores, so that they are not
    /// probabilities.
    pub(super) fn distorts(&self) -> bool {
        !self.targets.is_empty()
            || self.penalties != Penalties::NONE
            || self.individual.is_some_and(|weight| weight > 0.0)
            || self.loss != Loss::Nll
            || self.class_weight == ClassWeight::Balanced
    }

    /// Returns the targets that are held by `fair_by`.
    pub(super) fn targets_of(&self, fair_by: FairBy) -> &[(Measure, f32)] {
        if self.fair_by == fair_by { &self.targets } else { &[] }
    }

    /// Returns thresholds per group that hold the targets; `None` if the targets are held by the
    /// scores.
    pub(super) fn holds_by_thresholds(&self) -> Option<GroupThresholds> {
        (self.fair_by == FairBy::Threshold).then(|| GroupThresholds::new(&self.targets))
    }

    /// Returns the fairness targets, in the order they were set.
    #[must_use]
    pub fn targets(&self) -> &[(Measure, f32)] {
        &self.targets
    }
}

fn within(option: &'static str, found: impl ToString, allowed: &str, holds: bool) -> Result<(), OptionError> {
    if holds { Ok(()) } else { Err(OptionError { option, found: found.to_string(), allowed: allowed.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(options: LearnerOptions) -> String {
        options.check().err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
    }

    #[test]
    fn rejects_what_is_out_of_range_and_names_both_numbers() {
        let default = LearnerOptions::default;
        assert_eq!(rejected(default()), "accepted");
        assert_eq!(rejected(default().experts(129)), "experts: found 129, allowed 1 to 128");
        assert_eq!(rejected(default().learning_rate(0.0)), "learning-rate: found 0, allowed above 0, at most 1");
        assert_eq!(rejected(default().learning_rate(f32::NAN)), "learning-rate: found NaN, allowed above 0, at most 1");
        assert_eq!(rejected(default().threshold(1.0)), "threshold: found 1, allowed above 0, below 1");
        for (increment, found) in [(0.2, "0.2"), (0.0, "0"), (f32::NAN, "NaN")] {
            let penalties = Penalties { burden: Some(increment), ..Penalties::ALL };
            let message = format!("increment: found {found}, allowed above 0, at most 0.1");
            assert_eq!(rejected(default().penalties(penalties)), message);
        }
        assert_eq!(rejected(default().individual(1.5)), "individual: found 1.5, allowed 0 to 1");
        let both = default().penalties(Penalties::ALL).target(Measure::Spd, 0.1);
        assert!(rejected(both).starts_with("penalties: found spd,aod,burden, allowed none beside targets"));
        assert_eq!(rejected(default().target(Measure::RecourseBurden, 1.5)), "accepted");
        assert_eq!(rejected(default().target(Measure::Spd, 1.5)), "spd: found 1.5, allowed a gap above 0, at most 1");
    }

    #[test]
    fn a_target_set_again_replaces_the_first() {
        let options = LearnerOptions::default().target(Measure::Spd, 0.1).target(Measure::Spd, 0.05).check();
        assert_eq!(options.map(|o| o.targets).unwrap_or_default(), [(Measure::Spd, 0.05)]);
    }
}
