//! The calibrated probability: what a record's chances are, beside the score that decides.
//!
//! Fairness moves scores: it raises those of one group and lowers those of another until the
//! decisions are alike. As probabilities they are then wrong, for each group in its own way. The
//! calibrated probability says what was to be expected all the same; decisions do not look at it.
//!
//! ```text
//! log2(q / (1 - q)) = bias + slope log2(p / (1 - p)) + sum over terms of scale * row
//! ```
//!
//! p is the score of the exported weights. With the rows of a protected feature this is Platt's
//! scaling (1999) with an intercept of its own for each group; where the group is not seen, the
//! other features stand for it as far as they can. One term and one row each cost the same whether
//! or not the group is known. Learned from the records as they come, each before the mixture learns
//! from it, by AdaGrad on the log-loss of q.

use std::f32::consts::LN_2;

use feamoe_engine::calibration::{log2_odds, probability};
use feamoe_engine::mixture::Term;
use serde::{Deserialize, Serialize};

/// First value of the sums of squared gradients.
const FIRST_SQUARE: f32 = 5e-4;
/// Decay of the rows of a record, inside the gradient: rare rows stay near 0.
const DECAY: f32 = 7e-4;
/// Terms of a record up to which each takes the full step.
const FULL_STEP_TERMS: f32 = 20.0;

/// A weight and the sum of its squared gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Weight {
    value: f32,
    square: f32,
}

impl Weight {
    const fn new(value: f32) -> Self {
        Self { value, square: FIRST_SQUARE }
    }

    fn step(&mut self, rate: f32, gradient: f32) {
        self.square += gradient * gradient;
        self.value -= rate * gradient / self.square.sqrt();
    }
}

/// Learns what scores mean as probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    slope: Weight,
    bias: Weight,
    rows: Vec<Weight>,
}

impl Calibrator {
    pub(super) fn new() -> Self {
        Self { slope: Weight::new(1.0), bias: Weight::new(0.0), rows: Vec::new() }
    }

    /// Learns from a record that the exported weights give this score, and have not learned from.
    pub(super) fn observe(&mut self, terms: &[Term], score: f32, label: bool, learning_rate: f32) {
        let needed = terms.iter().map(|term| term.row as usize + 1).max().unwrap_or(0);
        if self.rows.len() < needed {
            self.rows.resize(needed, Weight::new(0.0));
        }
        let odds = log2_odds(score);
        let z = self.log2_odds(terms, score);
        let error = LN_2 * (probability(z) - if label { 1.0 } else { 0.0 });
        let rate = learning_rate * (FULL_STEP_TERMS / terms.len() as f32).min(1.0);
        self.bias.step(rate, error);
        self.slope.step(rate, error * odds);
        for term in terms {
            if let Some(weight) = self.rows.get_mut(term.row as usize) {
                weight.step(rate, error * term.scale + DECAY * weight.value);
            }
        }
    }

    fn log2_odds(&self, terms: &[Term], score: f32) -> f32 {
        let row = |term: &Term| self.rows.get(term.row as usize).map_or(0.0, |weight| term.scale * weight.value);
        let sum: f32 = terms.iter().map(row).sum();
        self.bias.value + self.slope.value * log2_odds(score) + sum
    }

    /// Returns the calibrated probability of a record of this score.
    pub(super) fn probability(&self, terms: &[Term], score: f32) -> f32 {
        probability(self.log2_odds(terms, score))
    }

    /// Returns slope and bias.
    pub(crate) fn line(&self) -> [f32; 2] {
        [self.slope.value, self.bias.value]
    }

    /// Returns the weight of every row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = f32> {
        self.rows.iter().map(|weight| weight.value)
    }

    /// Returns whether a stored calibrator can be one.
    pub(super) fn is_sound(&self) -> bool {
        let mut all = [self.slope, self.bias].into_iter().chain(self.rows.iter().copied());
        all.all(|weight| weight.value.is_finite() && weight.square.is_finite() && weight.square > 0.0)
    }
}
