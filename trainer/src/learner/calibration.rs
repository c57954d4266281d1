//! The calibrated probability: the probability of the outcome, reported beside the score that
//! decides.
//!
//! Fairness raises the scores of one group and lowers those of another until the decisions are
//! alike. As probabilities the scores are then wrong, in a different way for each group. The
//! calibrated probability is the expected outcome without that shift. Decisions do not use it.
//!
//! ```text
//! log2(q / (1 - q)) = bias + slope log2(p / (1 - p)) + sum over terms of scale * row
//! ```
//!
//! p is the score of the exported weights and `row` is a weight row. With the weight rows of a
//! protected feature, this is Platt scaling (1999) with an intercept for each group. If the group
//! is not a feature, the other features replace it as far as they can. The weights are learned by
//! AdaGrad on the log-loss of q, from each record before the mixture learns from it. Averages of
//! the weights are exported, and only if q has had the smaller log-loss recently. If nothing but
//! the log-loss moves the score, it is left as it is.

use crate::tuned::{Tuned, tuned};
use std::f32::consts::LN_2;

use feamoe_engine::calibration::{log2_odds, probability};
use feamoe_engine::mixture::Term;
use serde::{Deserialize, Serialize};

use super::importance::factor;
use super::mixture::MOST_AVERAGED;
use super::monotone::Cones;
use crate::encoder::{Carried, Carry, Example};

/// First value of the sums of squared gradients.
static FIRST_SQUARE: Tuned<f32> = tuned!(5e-4);
/// Strength of the prior that draws a weight row to 0, in records. There are as many weight rows as
/// in the mixture, and each adds log-loss that the score did not have. (On Adult with `spd=0.05`
/// the log-loss was 0.2851 without the prior, 0.2830 with it.)
static PRIOR_RECORDS: Tuned<f32> = tuned!(300.0);
/// Curvature of the log-loss, and squared gradient, of a typical record. They convert AdaGrad's sum
/// of squares into the prior's share of a weight row's records.
const CURVATURE: f32 = 0.1;
const USUAL_SQUARE: f32 = 0.04;
/// Largest decay, reached in the first records of a weight row.
static LARGEST_DECAY: Tuned<f32> = tuned!(0.1);
/// A record with at most this number of terms takes the full step in each term.
static FULL_STEP_TERMS: Tuned<f32> = tuned!(20.0);

/// The average covers this share of the records so far, at most `AVERAGED_RECORDS`. It is updated
/// every `AVERAGE_EVERY` records, less often in a large model.
static AVERAGED_SHARE: Tuned<f32> = tuned!(1.0 / 4.0);
static AVERAGED_RECORDS: Tuned<f32> = tuned!(8000.0);
static AVERAGE_EVERY: Tuned<u64> = tuned!(16);

/// Returns the log-loss of a probability, in nats.
fn log_loss(probability: f32, label: bool) -> f32 {
    let odds = log2_odds(probability);
    // For log-odds z this is ln(1 + exp(-z)), which stays finite.
    LN_2 * libm::log2f(1.0 + libm::exp2f(if label { -odds } else { odds }))
}

/// A weight, its average, and the sum of its squared gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Weight {
    value: f32,
    square: f32,
    average: f32,
}

impl Weight {
    fn new(value: f32) -> Self {
        Self { value, square: FIRST_SQUARE.get(), average: value }
    }

    fn step(&mut self, rate: f32, gradient: f32) {
        self.square += gradient * gradient;
        self.value -= rate * gradient / self.square.sqrt();
    }
}

/// Learns which probabilities the scores stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    slope: Weight,
    bias: Weight,
    rows: Vec<Weight>,
    records: u64,
    /// Recent mean log-loss of the score and of the calibrated probability.
    losses: [f32; 2],
}

impl Calibrator {
    pub(super) fn new() -> Self {
        Self { slope: Weight::new(1.0), bias: Weight::new(0.0), rows: Vec::new(), records: 0, losses: [0.0; 2] }
    }

    /// Learns from a record that the exported weights score as `score` and have not learned from.
    /// `importance` is the number of mean records that it counts as; `cones` are the monotone
    /// numbers.
    pub(super) fn observe(
        &mut self,
        example: &Example,
        score: f32,
        importance: f32,
        learning_rate: f32,
        cones: &Cones,
    ) {
        let Example { terms, label, .. } = example;
        let needed = terms.iter().map(|term| term.row as usize + 1).max().unwrap_or(0);
        if self.rows.len() < needed {
            self.rows.resize(needed, Weight::new(0.0));
        }
        self.records += 1;
        let window = (self.records as f32 * AVERAGED_SHARE.get()).clamp(1.0, AVERAGED_RECORDS.get());
        let both = [score, self.averaged(terms, score)];
        for (loss, probability) in self.losses.iter_mut().zip(both) {
            *loss += importance * (log_loss(probability, *label) - *loss) / window.max(importance);
        }
        let odds = log2_odds(score);
        let z = self.log2_odds(terms, score, |weight| weight.value);
        let factor = factor(importance);
        let error = factor * LN_2 * (probability(z) - if *label { 1.0 } else { 0.0 });
        let rate = factor * learning_rate * (FULL_STEP_TERMS.get() / terms.len() as f32).min(1.0);
        self.bias.step(rate, error);
        self.slope.step(rate, error * odds);
        if !cones.is_empty() {
            self.slope.value = self.slope.value.max(0.0);
        }
        for term in terms.iter().filter(|term| !cones.hold(term.row)) {
            if let Some(weight) = self.rows.get_mut(term.row as usize) {
                let decay = (PRIOR_RECORDS.get() * CURVATURE * USUAL_SQUARE / weight.square).min(LARGEST_DECAY.get());
                weight.step(rate, error * term.scale + decay * weight.value);
            }
        }
        // Less often where there are many rows, so that a record takes no longer.
        let every = AVERAGE_EVERY.get();
        let every = every * (self.rows.len() as u64 / (every * MOST_AVERAGED as u64)).next_power_of_two();
        if self.records.is_multiple_of(every) {
            let part = (every as f32 / window).min(1.0);
            for weight in [&mut self.slope, &mut self.bias].into_iter().chain(&mut self.rows) {
                weight.average += part * (weight.value - weight.average);
            }
        }
    }

    /// Carries the weights over to a changed encoding.
    pub(super) fn carry(&mut self, carry: &Carry) {
        let old = |row: u32| self.rows.get(row as usize).copied().unwrap_or(Weight::new(0.0));
        let sum = |from: &[(u32, f32)]| {
            from.iter().fold([0.0_f32; 2], |[value, average], (row, factor)| {
                [value + factor * old(*row).value, average + factor * old(*row).average]
            })
        };
        let weight = |carried: &Carried| {
            let [value, average] = sum(&carried.from);
            let square = carried.steps_of.map_or(FIRST_SQUARE.get(), |row| old(row).square);
            (carried.row as usize, Weight { value, square, average })
        };
        let [value, average] = sum(&carry.bias);
        let rows: Vec<(usize, Weight)> = carry.rows.iter().map(weight).collect();
        self.bias.value += value;
        self.bias.average += average;
        let needed = rows.iter().map(|(row, _)| row + 1).max().unwrap_or(0);
        if self.rows.len() < needed {
            self.rows.resize(needed, Weight::new(0.0));
        }
        for (row, weight) in rows {
            self.rows[row] = weight;
        }
    }

    /// Returns one calibrator made of several. Slope, bias and losses are averaged by the records
    /// of each part, each weight row by the records that contain it. `shares` is each part's share
    /// of every weight row; the shares of a weight row sum to 1.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // counts; as precise as a weight
    pub(super) fn merge(parts: &[(&Self, &[f64])]) -> Self {
        let records = parts.iter().map(|(part, _)| part.records).fold(0, u64::saturating_add);
        let share = |part: &Self| part.records as f64 / records.max(1) as f64;
        let mean = |of: &dyn Fn(&Self) -> Weight, share: &dyn Fn(&Self, &[f64]) -> f64| {
            let (mut value, mut average, mut square) = (0.0, 0.0, FIRST_SQUARE.get());
            for (part, shares) in parts {
                let (weight, share) = (of(part), share(part, shares));
                value += share * f64::from(weight.value);
                average += share * f64::from(weight.average);
                square += weight.square - FIRST_SQUARE.get();
            }
            Weight { value: value as f32, average: average as f32, square }
        };
        let rows = (0..parts.iter().map(|(part, _)| part.rows.len()).max().unwrap_or(0)).map(|row| {
            let of = |part: &Self| part.rows.get(row).copied().unwrap_or(Weight::new(0.0));
            mean(&of, &|_, shares| shares.get(row).copied().unwrap_or(0.0))
        });
        let loss = |index: usize| {
            let of = |(part, _): &(&Self, &[f64])| share(part) * f64::from(part.losses[index]);
            parts.iter().map(of).sum::<f64>() as f32
        };
        Self {
            rows: rows.collect(),
            slope: mean(&|part| part.slope, &|part, _| share(part)),
            bias: mean(&|part| part.bias, &|part, _| share(part)),
            records,
            losses: [loss(0), loss(1)],
        }
    }

    fn log2_odds(&self, terms: &[Term], score: f32, of: impl Fn(&Weight) -> f32) -> f32 {
        let row = |term: &Term| self.rows.get(term.row as usize).map_or(0.0, |weight| term.scale * of(weight));
        let sum: f32 = terms.iter().map(row).sum();
        of(&self.bias) + of(&self.slope) * log2_odds(score) + sum
    }

    /// Returns whether calibration lowers the log-loss. If not, it is not exported.
    pub(crate) fn pays(&self) -> bool {
        let [of_score, calibrated] = self.losses;
        calibrated <= of_score
    }

    /// Returns the calibrated probability of a record with this score.
    pub(super) fn averaged(&self, terms: &[Term], score: f32) -> f32 {
        probability(self.log2_odds(terms, score, |weight| weight.average))
    }

    /// Returns the slope and the bias.
    pub(crate) fn line(&self) -> [f32; 2] {
        [self.slope.average, self.bias.average]
    }

    /// Returns the weight of every weight row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = f32> {
        self.rows.iter().map(|weight| weight.average)
    }

    /// Returns whether a deserialised calibrator is valid.
    pub(super) fn is_sound(&self) -> bool {
        let mut all = [self.slope, self.bias].into_iter().chain(self.rows.iter().copied());
        all.all(|weight| {
            [weight.value, weight.average].iter().all(|x| x.is_finite())
                && weight.square.is_finite()
                && weight.square > 0.0
        }) && self.losses.iter().all(|loss| loss.is_finite())
    }
}
