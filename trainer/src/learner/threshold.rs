//! The decision threshold: a fixed number, or chosen for an objective while the stream runs.
//!
//! An objective is evaluated on the recent scores with their outcomes, faded over 5,000 records, in
//! bins of the log-odds. A fixed threshold ages: if base rates drift, or fairness forces move
//! scores, the best threshold moves too.

use crate::tuned::{Tuned, tuned};
use std::fmt;
use std::str::FromStr;

use feamoe_engine::math::{LOG2_E, exp2};
use serde::{Deserialize, Serialize};

/// What a threshold is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Objective {
    /// The largest number of correct decisions.
    Accuracy,
    /// The largest mean of true positive and true negative rate.
    Balanced,
    /// The lowest cost, where a false negative costs as much as this number of false positives;
    /// above 0.
    Cost(f32),
    /// This share of favourable decisions; inside (0, 1).
    Select(f32),
}

/// How the threshold is set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ThresholdRule {
    /// This score, inside (0, 1).
    Fixed(f32),
    /// The score that is best for the objective.
    Auto(Objective),
}

impl Default for ThresholdRule {
    fn default() -> Self {
        Self::Fixed(0.5)
    }
}

impl ThresholdRule {
    /// Returns whether the numbers of the rule are in their ranges.
    pub(super) fn is_valid(self) -> bool {
        let is_share = |share: f32| share > 0.0 && share < 1.0;
        match self {
            Self::Fixed(share) | Self::Auto(Objective::Select(share)) => is_share(share),
            Self::Auto(Objective::Cost(ratio)) => ratio > 0.0 && ratio.is_finite(),
            Self::Auto(Objective::Accuracy | Objective::Balanced) => true,
        }
    }
}

/// Why a threshold could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found `{0}`, expected a number above 0 and below 1, auto:accuracy, auto:balanced, auto:cost=R (a false negative costs R false positives, R above 0) \
     or auto:select=Q (the share selected, above 0 and below 1)"
)]
pub struct ThresholdError(String);

impl FromStr for ThresholdRule {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let refused = || ThresholdError(text.to_owned());
        let number = |text: &str| text.parse::<f32>().map_err(|_| refused());
        let rule =
            match text.strip_prefix("auto:").map(|objective| objective.split_once('=').unwrap_or((objective, ""))) {
                Some(("accuracy", "")) => Self::Auto(Objective::Accuracy),
                Some(("balanced", "")) => Self::Auto(Objective::Balanced),
                Some(("cost", ratio)) => Self::Auto(Objective::Cost(number(ratio)?)),
                Some(("select", share)) => Self::Auto(Objective::Select(number(share)?)),
                Some(_) => return Err(refused()),
                None => Self::Fixed(number(text)?),
            };
        if rule.is_valid() { Ok(rule) } else { Err(refused()) }
    }
}

impl fmt::Display for ThresholdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(threshold) => write!(f, "{threshold}"),
            Self::Auto(Objective::Accuracy) => f.write_str("auto:accuracy"),
            Self::Auto(Objective::Balanced) => f.write_str("auto:balanced"),
            Self::Auto(Objective::Cost(ratio)) => write!(f, "auto:cost={ratio}"),
            Self::Auto(Objective::Select(share)) => write!(f, "auto:select={share}"),
        }
    }
}

/// Bins of the natural log-odds, from `-REACH` to `REACH`.
const BINS: usize = 512;
const REACH: f32 = 8.0;
/// Bins per unit of the log-odds.
const PER_UNIT: f32 = BINS as f32 / (2.0 * REACH);

/// Scores by log-odds and outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Weight of the records of each bin: first with the other outcome, then with the favourable
    /// one.
    bins: Vec<[f64; 2]>,
}

impl Default for Scores {
    fn default() -> Self {
        Self { bins: vec![[0.0; 2]; BINS] }
    }
}

impl Scores {
    /// Counts a record.
    pub fn observe(&mut self, label: bool, probability: f32) {
        self.add(label, probability, 1.0);
    }

    fn add(&mut self, label: bool, probability: f32, weight: f64) {
        let log_odds = libm::logf(probability / (1.0 - probability));
        // Float to integer saturates and maps NaN to 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bin = ((log_odds + REACH) * PER_UNIT) as usize;
        if let Some(weights) = self.bins.get_mut(bin.min(BINS - 1)).and_then(|bin| bin.get_mut(usize::from(label))) {
            *weights += weight;
        }
    }

    /// Returns the log-odds that are best for the objective; `None` if an outcome that it needs did
    /// not occur.
    ///
    /// Returns the middle of several nearly equal candidates, because the curve is noisy.
    fn choose(&self, objective: Objective) -> Option<f32> {
        let sum = |label: usize| self.bins.iter().map(|bin| bin[label]).sum::<f64>();
        let (negatives, positives) = (sum(0), sum(1));
        let all = negatives + positives;
        let needs_both = !matches!(objective, Objective::Select(_));
        if all <= 0.0 || (needs_both && (negatives <= 0.0 || positives <= 0.0)) {
            return None;
        }
        let gain = |[fp, tp]: [f64; 2]| match objective {
            Objective::Accuracy => (tp - fp) / all,
            Objective::Balanced => 0.5 * (tp / positives - fp / negatives),
            Objective::Cost(ratio) => (f64::from(ratio) * tp - fp) / ((1.0 + f64::from(ratio)) * all),
            Objective::Select(share) => -((tp + fp) / all - f64::from(share)).abs(),
        };
        // From the highest score down: what is selected if the threshold is below this bin.
        let mut selected = [0.0; 2];
        let mut gains = Vec::with_capacity(BINS);
        for (edge, bin) in self.bins.iter().enumerate().rev() {
            selected = [selected[0] + bin[0], selected[1] + bin[1]];
            gains.push((edge, gain(selected)));
        }
        let best = gains.iter().map(|(_, gain)| *gain).fold(f64::NEG_INFINITY, f64::max);
        let near = if needs_both { NEARLY_AS_GOOD.get() } else { 0.0 };
        let (mut edges, mut count) = (0.0, 0.0);
        for (edge, _) in gains.iter().filter(|(edge, gain)| *edge > 0 && *gain >= best - near) {
            edges += *edge as f32;
            count += 1.0;
        }
        (count > 0.0).then(|| edges / count / PER_UNIT - REACH)
    }

    /// Returns the threshold that is best for the objective; `None` if an outcome that it needs did
    /// not occur.
    #[must_use]
    pub fn threshold(&self, objective: Objective) -> Option<f32> {
        self.choose(objective).map(logistic)
    }
}

/// Largest loss of gain, against the best threshold, at which a threshold is nearly as good.
static NEARLY_AS_GOOD: Tuned<f64> = tuned!(5e-4);
/// Growth of the weight of a record: scores fade over 5,000 records.
static GROWTH: Tuned<f64> = tuned!(1.0 + 2e-4, 1.0 + 1e-4, 1.0 + 4e-4);
/// Weight at which it is reset to 1, far from overflow.
const LARGEST_WEIGHT: f64 = 1e6;
/// Records before the first choice, and between two choices.
static FIRST: Tuned<u64> = tuned!(256);
static EVERY: Tuned<u64> = tuned!(64);
/// Part of the way to the chosen threshold that each update moves.
static STEP: Tuned<f32> = tuned!(0.2);

/// A threshold that follows the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Follower {
    objective: Objective,
    scores: Scores,
    weight: f64,
    records: u64,
    log_odds: f32,
}

impl Follower {
    pub fn new(objective: Objective) -> Self {
        Self { objective, scores: Scores::default(), weight: 1.0, records: 0, log_odds: 0.0 }
    }

    /// Returns the threshold as of the records so far; 0.5 at first.
    pub fn value(&self) -> f32 {
        logistic(self.log_odds)
    }

    /// Adds a score with its outcome.
    pub fn observe(&mut self, label: bool, probability: f32) {
        if self.weight > LARGEST_WEIGHT {
            let scale = 1.0 / self.weight;
            self.scores.bins.iter_mut().flatten().for_each(|weight| *weight *= scale);
            self.weight = 1.0;
        }
        self.weight *= GROWTH.get();
        self.scores.add(label, probability, self.weight);
        self.records += 1;
        if self.records >= FIRST.get()
            && self.records.is_multiple_of(EVERY.get())
            && let Some(chosen) = self.scores.choose(self.objective)
        {
            let step = if self.records < FIRST.get() + EVERY.get() { 1.0 } else { STEP.get() };
            self.log_odds += step * (chosen - self.log_odds);
        }
    }

    /// Returns a follower that has seen as many records as several parts with the same objective.
    /// Its scores are left empty: see [`Follower::begin_with`].
    pub fn merge(parts: &[&Self]) -> Option<Self> {
        let mut merged = Self::new(parts.first()?.objective);
        merged.records = parts.iter().map(|part| part.records).fold(0, u64::saturating_add);
        Some(merged)
    }

    /// Replaces all scores and outcomes by those of a sample, and chooses the threshold by them.
    #[allow(clippy::cast_precision_loss)] // a count
    pub fn begin_with(&mut self, sample: impl ExactSizeIterator<Item = (bool, f32)>) {
        self.scores = Scores::default();
        // Records older than the fading window have hardly any weight left.
        let seen = (self.records as f64).min(1.0 / (GROWTH.get() - 1.0));
        let each = seen / sample.len().max(1) as f64;
        self.weight = 1.0;
        sample.for_each(|(label, probability)| self.scores.add(label, probability, each));
        self.log_odds = self.scores.choose(self.objective).unwrap_or(0.0).clamp(-REACH, REACH);
    }

    /// Returns whether a deserialised follower is valid for this objective.
    pub fn is_sound(&self, objective: Objective) -> bool {
        let mut weights = self.scores.bins.iter().flatten();
        self.objective == objective
            && (1.0..=2.0 * LARGEST_WEIGHT).contains(&self.weight)
            && weights.all(|weight| weight.is_finite() && *weight >= 0.0)
            && self.scores.bins.len() == BINS
            && self.log_odds.abs() <= REACH
    }
}

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp2(-LOG2_E * x))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Calibrated scores: among records with score p, a share of p is favourable.
    fn calibrated(scores: &[f32]) -> Scores {
        let mut all = Scores::default();
        for score in scores {
            all.add(true, *score, f64::from(*score));
            all.add(false, *score, f64::from(1.0 - *score));
        }
        all
    }

    #[test]
    fn objectives_on_right_scores_have_known_thresholds() {
        // Uniform scores: the base rate is a half.
        let uniform: Vec<f32> = (1..10_000).map(|i| i as f32 / 10_000.0).collect();
        let scores = calibrated(&uniform);
        for (objective, expected) in [
            (Objective::Accuracy, 0.5),
            (Objective::Balanced, 0.5),
            // Both decisions cost the same where R p = 1 - p.
            (Objective::Cost(3.0), 0.25),
            (Objective::Cost(1.0 / 9.0), 0.9),
            (Objective::Select(0.2), 0.8),
            (Objective::Select(0.95), 0.05),
        ] {
            let found = scores.threshold(objective).unwrap();
            assert!((found - expected).abs() < 0.02, "{objective:?}: {found} for {expected}");
        }
        // Rare favourable outcomes: the threshold of balanced accuracy is their base rate.
        let rare: Vec<f32> = uniform.iter().map(|p| 0.04 * p * p).collect();
        let base_rate = rare.iter().sum::<f32>() / rare.len() as f32;
        let found = calibrated(&rare).threshold(Objective::Balanced).unwrap();
        assert!((found / base_rate - 1.0).abs() < 0.1, "{found} for {base_rate}");
        assert_eq!(Scores::default().threshold(Objective::Accuracy), None);
    }

    #[test]
    fn the_threshold_follows_scores_that_move() {
        let objective = Objective::Select(0.5);
        let mut follower = Follower::new(objective);
        let mut observe = |from: f32, records: u32| {
            for i in 0..records {
                let share = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
                follower.observe(i % 2 == 0, from + 0.3 * share);
            }
            follower.value()
        };
        assert!((observe(0.1, 5_000) - 0.25).abs() < 0.01);
        assert!((observe(0.6, 30_000) - 0.75).abs() < 0.02);
        assert!(follower.is_sound(objective));
        // Hostile scores move it no further than its reach.
        for score in [f32::NAN, 0.0, 1.0, f32::INFINITY, -1.0].repeat(1_000) {
            follower.observe(true, score);
        }
        assert!(follower.is_sound(objective));
    }

    #[test]
    fn rules_are_read_as_they_are_printed() {
        for text in ["0.3", "auto:accuracy", "auto:balanced", "auto:cost=5", "auto:select=0.1"] {
            assert_eq!(text.parse::<ThresholdRule>().unwrap().to_string(), text);
        }
        for text in [
            "0",
            "1",
            "nan",
            "auto",
            "auto:",
            "auto:cost",
            "auto:cost=0",
            "auto:cost=inf",
            "auto:select=1",
            "auto:accuracy=1",
        ] {
            let error = text.parse::<ThresholdRule>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("found `{text}`, expected a number above 0")), "{error}");
        }
    }
}
