//! The calibrated probability of a record, for a blob with [`crate::format::FLAG_CALIBRATION`].
//!
//! If a model was trained with fairness targets, the meaning of its score differs by group. The
//! calibrated probability estimates the probability of the favourable outcome; decisions do not use
//! it.
//!
//! ```text
//! q = 1 / (1 + 2^-z)      z = bias + slope log2(p / (1 - p)) + sum over terms of scale * row
//! ```
//!
//! With the rows of a protected feature, this is Platt scaling (1999) with one intercept per group.
//! If the model does not see the group, the other features act as proxies for it.

use libm::log2f;

use crate::error::PredictError;
use crate::math::exp2;
use crate::model::{Model, Score};
use crate::record::Record;
use crate::schema::clamp;

/// Scores closer to 0 or 1 than this are clamped.
const CLOSEST: f32 = 1.0 / 16_777_216.0;
/// Log-odds beyond this magnitude are clamped; they correspond to probabilities of 0 and 1.
const FARTHEST: f32 = 126.0;

/// Returns the base-2 log-odds of a score in [0, 1]. The result is finite.
#[must_use]
pub fn log2_odds(score: f32) -> f32 {
    let inside = clamp(score, CLOSEST, 1.0 - CLOSEST);
    log2f(inside) - log2f(1.0 - inside)
}

/// Returns the probability, in [0, 1], for base-2 log-odds, which are clamped to a magnitude of
/// 126.
#[must_use]
pub fn probability(log2_odds: f32) -> f32 {
    1.0 / (1.0 + exp2(-clamp(log2_odds, -FARTHEST, FARTHEST)))
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Returns whether the model has calibrated probabilities.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        self.calibration.parts().is_some()
    }

    /// Returns the calibrated probability, in [0, 1], of a record that was scored;
    /// [`Score::probability`] if the model is not calibrated. Cost: two logarithms, an exponential
    /// and a multiply-add for each term.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`] for a record that another model created.
    pub fn calibrated(&self, record: &Record<'_, FEATURES>, score: &Score<EXPERTS>) -> Result<f32, PredictError> {
        if !self.made(record) {
            return Err(PredictError::OtherModel);
        }
        let Some((slope, bias, rows)) = self.calibration.parts() else { return Ok(score.probability) };
        let mut sum = bias + slope * log2_odds(score.probability);
        for term in record.terms() {
            let row = rows.get(term.row as usize).copied().unwrap_or_default();
            sum += term.scale * f32::from_le_bytes(row);
        }
        // If terms overflow in both directions, only the score is known.
        Ok(if sum.is_nan() { score.probability } else { probability(sum) })
    }
}
