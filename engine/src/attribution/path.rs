//! The score along the straight path from the mean record: Aumann-Shapley values of p, gate included.
//!
//! With `R = logits(x) - bias` and nodes `t_q` of weight `w_q` on [0, 1]:
//!
//! ```text
//! G_z[k] = sum_q w_q g_k o_k (1 - o_k)      expert channel
//! G_u[k] = sum_q w_q g_k (o_k - p)          gate channel            both at bias + t_q R
//! phi_j  = sum_k c_jk^z G_z[k] + sum_k c_jk^u G_u[k]                 adds up to p(x) - p(mean record)
//! ```
//!
//! The quadrature is adaptive: panels of four Gauss-Legendre nodes, doubled until what is left is below [`TOLERANCE`] or [`MAX_PANELS`] are
//! reached. A gate that switches within a small part of the path needs many; the residual says when even those were too few.

use super::Attribution;
use crate::math::LN_2;
use crate::model::Model;
use crate::record::Record;

/// Panels are doubled until the residual, a probability, is below this.
pub const TOLERANCE: f32 = 1e-3;
/// Most panels; the first doubling that would pass it is not tried.
pub const MAX_PANELS: u8 = 32;

/// Gauss-Legendre nodes and weights of order 4 on [0, 1].
const NODES: [(f32, f32); 4] = [
    (0.069_431_84, 0.173_927_42),
    (0.330_009_5, 0.326_072_57),
    (0.669_990_5, 0.326_072_57),
    (0.930_568_16, 0.173_927_42),
];

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Fills `attribution`, whose score is there already, from the record's logits.
    pub(super) fn path(
        &self,
        record: &Record<'_, FEATURES>,
        lanes: &mut [f32],
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) {
        let mut point = [[0.0; EXPERTS]; 2];
        let point = self.row_of(point.as_flattened_mut());
        let lanes = self.row_of(lanes);
        for (to, bias) in point.iter_mut().zip(self.bias) {
            *to = *bias;
        }
        let (mut gate, mut outputs) = ([0.0; EXPERTS], [0.0; EXPERTS]);
        let base_value = self.combine(point, &mut gate, &mut outputs);
        for (lane, bias) in lanes.iter_mut().zip(self.bias) {
            *lane -= bias;
        }

        let output = attribution.score.probability;
        let change = output - base_value;
        let (mut by_gate, mut by_experts) = ([0.0; EXPERTS], [0.0; EXPERTS]);
        let mut panels = 1_u8;
        loop {
            self.gradient(lanes, panels, point, &mut by_gate, &mut by_experts);
            let experts = self.experts();
            let reached = super::dot(lanes, by_gate.get(..experts).unwrap_or_default())
                + super::dot(lanes.get(experts..).unwrap_or_default(), &by_experts);
            let close = (change - reached).abs() < TOLERANCE;
            if close || panels >= MAX_PANELS {
                break;
            }
            panels = panels.wrapping_mul(2);
        }

        let experts = self.experts();
        let by_gate = by_gate.get(..experts).unwrap_or_default();
        let by_experts = by_experts.get(..experts).unwrap_or_default();
        let (mut sum, mut through_gate, mut through_experts) = (base_value, 0.0_f32, 0.0_f32);
        let Attribution { values, gate_values, .. } = attribution;
        for ((value, gate_value), terms) in values.iter_mut().zip(gate_values).zip(record.terms_by_feature()) {
            let (gate_part, expert_part) = self.contribution(terms, by_gate, by_experts);
            *gate_value = gate_part;
            *value = gate_part + expert_part;
            sum += *value;
            through_gate += gate_part.abs();
            through_experts += expert_part.abs();
        }
        let total = through_gate + through_experts;
        attribution.gate_share = Some(if total > 0.0 { through_gate / total } else { 0.0 });
        attribution.base_value = base_value;
        attribution.output = output;
        attribution.residual = output - sum;
    }

    /// Integrates the derivative of p by each logit, in log2 units, along `bias + t * change`, over `panels` equal panels.
    fn gradient(
        &self,
        change: &[f32],
        panels: u8,
        point: &mut [f32],
        by_gate: &mut [f32; EXPERTS],
        by_experts: &mut [f32; EXPERTS],
    ) {
        *by_gate = [0.0; EXPERTS];
        *by_experts = [0.0; EXPERTS];
        let (mut gate, mut outputs) = ([0.0; EXPERTS], [0.0; EXPERTS]);
        let width = 1.0 / f32::from(panels);
        for panel in 0..panels {
            for (node, weight) in NODES {
                let t = (f32::from(panel) + node) * width;
                for ((to, bias), change) in point.iter_mut().zip(self.bias).zip(change) {
                    *to = bias + t * change;
                }
                let p = self.combine(point, &mut gate, &mut outputs);
                let scale = weight * width * LN_2;
                for (((g, o), to_gate), to_expert) in
                    gate.iter().zip(&outputs).zip(by_gate.iter_mut()).zip(by_experts.iter_mut())
                {
                    *to_gate += scale * g * (o - p);
                    *to_expert += scale * g * o * (1.0 - o);
                }
            }
        }
    }
}
