//! Values with the gate held fixed at the record (FEAMOE, Theorem 1), exact for that game.
//!
//! `phi_j = sum_k g_k(x) c_jk`, `base = sum_k g_k(x) zbar_k`, adding up to `sum_k g_k(x) z_k(x)`
//! (natural log-odds). Linearity of Shapley values needs weights that do not depend on x. The gate
//! depends on x, so these are not the Shapley values of p.

use super::project::{dot, sum};
use super::{Attribution, Method, Space};
use crate::error::PredictError;
use crate::math::LN_2;
use crate::mixture::LANE_MULTIPLE;
use crate::model::{Model, UNWRITTEN};
use crate::record::Record;

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Explains a record by [`Method::Frozen`], into the caller's memory. Cost over a score: `terms
    /// * K` multiply-adds.
    ///
    /// # Errors
    /// The same as [`Model::score`]; then `attribution` is unchanged.
    #[inline(never)]
    pub fn frozen_into(
        &self,
        record: &Record<'_, FEATURES>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        let mut lanes = [[UNWRITTEN; EXPERTS]; 2];
        let lanes = lanes.as_flattened_mut();
        self.forward(record, lanes, &mut attribution.score)?;
        attribution.start(Method::Frozen, Space::LogOdds);
        let experts = self.experts();
        let mut weights = [[0.0; EXPERTS]; 2];
        let weights = self.row_of(weights.as_flattened_mut());
        let expert_weights = weights.get_mut(experts..).unwrap_or_default();
        for (weight, gate) in expert_weights.iter_mut().zip(&attribution.score.gate) {
            *weight = LN_2 * *gate;
        }
        // In whole groups of four lanes. The first may start with lanes of the gate, whose weights
        // are 0.
        let from = experts.wrapping_sub(experts % LANE_MULTIPLE);
        let averaged = |row: &[f32]| dot(row.get(from..).unwrap_or_default(), weights.get(from..).unwrap_or_default());
        attribution.base_value = averaged(self.bias);
        attribution.output = averaged(lanes);
        self.project(record, weights, experts..experts.wrapping_mul(2), &mut attribution.values);
        attribution.residual = attribution.output - (attribution.base_value + sum(&attribution.values));
        Ok(())
    }
}
