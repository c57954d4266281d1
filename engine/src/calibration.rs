//! The calibrated probability of a record, where the blob has [`crate::format::FLAG_CALIBRATION`].
//!
//! A model that was made fair decides by a score whose meaning differs by group. The calibrated
//! probability is what a record's chances are; no decision looks at it.
//!
//! ```text
//! q = 1 / (1 + 2^-z)      z = bias + slope log2(p / (1 - p)) + sum over terms of scale * row
//! ```
//!
//! With the rows of a protected feature this is Platt's scaling (1999) with an intercept of its own
//! for each group; where the model does not see the group, the other features stand for it.

use libm::log2f;

use crate::error::PredictError;
use crate::math::exp2;
use crate::model::{Model, Score};
use crate::record::Record;
use crate::schema::clamp;

/// Scores closer to 0 or 1 count as that close.
const CLOSEST: f32 = 1.0 / 16_777_216.0;
/// Log-odds past this are probabilities of 0 and 1.
const FARTHEST: f32 = 126.0;

/// Returns the log-odds of a score, in [0, 1], to base 2: finite.
#[must_use]
pub fn log2_odds(score: f32) -> f32 {
    let inside = clamp(score, CLOSEST, 1.0 - CLOSEST);
    log2f(inside) - log2f(1.0 - inside)
}

/// Returns the probability, in [0, 1], of log-odds to base 2; those past 126 count as 126.
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

    /// Returns the calibrated probability of a record that was scored, in [0, 1];
    /// [`Score::probability`] where the model has none. Cost: two logarithms, an exponential and a
    /// multiply-add for each term.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`] for a record that another model made.
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
        // Terms past every bound on both sides: then nothing is known beside the score.
        Ok(if sum.is_nan() { score.probability } else { probability(sum) })
    }
}
