//! The attribution of the score along the straight path from the mean record: Aumann-Shapley values
//! of p, gate included.
//!
//! With `R = logits(x) - bias` and nodes `t_q` of weight `w_q` on [0, 1]:
//!
//! ```text
//! G_z[k] = sum_q w_q g_k o_k (1 - o_k)      expert channel
//! G_u[k] = sum_q w_q g_k (o_k - p)          gate channel            both at bias + t_q R
//! phi_j  = sum_k c_jk^z G_z[k] + sum_k c_jk^u G_u[k]             adds up to p(x) - p(mean record)
//! ```
//!
//! The quadrature is adaptive, panel by panel from the left: four Gauss-Legendre nodes, and two
//! checks that only need p at the end of the panel in addition. The integral of dp/dt over the
//! panel must equal the change of p within [`TOLERANCE`]. The integral up to each node (of the
//! cubic through the four slopes, as in Gauss's collocation method) must equal the change of p up
//! to there within [`NODE_TOLERANCE`]. A panel that fails is halved, so nodes are dense where the
//! gate switches. What [`MAX_PANELS`] do not resolve remains in the residual.
//!
//! Checks of p at the nodes cannot detect what happens between them: a gate that leaves an expert
//! and returns, or two experts that switch one after the other. But all logits are linear along the
//! path, so the possible places are known. The gate changes its leader at the vertices of the upper
//! envelope of its logits; the distance of any other logit from the envelope, which is convex, is
//! smallest at one of them. An expert switches where its own logit is 0. The path is cut at each of
//! these points that is sharp ([`SHARP`]), so that panels end in the middle of every switch, where
//! p shows it.

use super::{Attribution, Method, Space};
use crate::error::PredictError;
use crate::math::LN_2;
use crate::model::{Model, UNWRITTEN};
use crate::record::Record;

/// The error of the whole path may be this large, and that of a panel its share by length; for a
/// panel narrower than a sixteenth of the path, the share of a sixteenth.
pub const TOLERANCE: f32 = 1e-3;
/// The error of the change of p up to a node within a panel may be this large.
pub const NODE_TOLERANCE: f32 = 1e-2;
/// The largest number of panels that are tried, of up to five evaluations of the mixture each,
/// besides two for every cut.
pub const MAX_PANELS: u32 = 64;
/// The path is cut where logits change their order at this rate or faster, in log2 units over the
/// whole path. A slower switch is wider than the gap between two nodes of a single panel, so that a
/// node detects it.
pub const SHARP: f32 = 16.0;
/// Cuts that are closer to each other, or to an end, than this share of the path are merged.
const APART: f32 = 1e-5;

/// The length of a stretch between two cuts in units of its narrowest panel, which is 2^-12 of it.
const FINEST: u32 = 1 << 12;

/// Gauss-Legendre nodes and weights of order 4 on [0, 1].
const NODES: [(f32, f32); 4] = [
    (0.069_431_84, 0.173_927_42),
    (0.330_009_5, 0.326_072_57),
    (0.669_990_5, 0.326_072_57),
    (0.930_568_16, 0.173_927_42),
];

/// `UP_TO_NODE[q][j]`: the integral from 0 to node `q` of the cubic that is 1 at node `j` and 0 at
/// the others (Butcher 1964, order 8).
const UP_TO_NODE: [[f32; 4]; 4] = [
    [0.086_963_71, -0.026_604_18, 0.012_627_463, -0.003_555_15],
    [0.188_118_12, 0.163_036_29, -0.027_880_43, 0.006_735_500_6],
    [0.167_191_92, 0.353_953, 0.163_036_29, -0.014_190_695],
    [0.177_482_57, 0.313_445_12, 0.352_676_76, 0.086_963_71],
];

/// The derivative of p by each logit, integrated over a part of the path.
struct Gradient<const EXPERTS: usize> {
    by_gate: [f32; EXPERTS],
    by_experts: [f32; EXPERTS],
}

impl<const EXPERTS: usize> Gradient<EXPERTS> {
    #[inline(always)]
    fn zero() -> Self {
        Self { by_gate: [0.0; EXPERTS], by_experts: [0.0; EXPERTS] }
    }

    fn add(&mut self, scale: f32, other: &Self) {
        for (to, from) in self.by_gate.iter_mut().zip(&other.by_gate) {
            *to += scale * from;
        }
        for (to, from) in self.by_experts.iter_mut().zip(&other.by_experts) {
            *to += scale * from;
        }
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Explains a record by [`Method::Path`], into the caller's memory. Cost in addition to a
    /// score: two dot products per term and five evaluations of the mixture per panel.
    ///
    /// # Errors
    /// The same as [`Model::score`]; then `attribution` is unchanged.
    #[inline(never)]
    pub fn path_into(
        &self,
        record: &Record<'_, FEATURES>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        let mut lanes = [[UNWRITTEN; EXPERTS]; 2];
        let lanes = lanes.as_flattened_mut();
        self.forward(record, lanes, &mut attribution.score)?;
        attribution.start(Method::Path, Space::Probability);
        let lanes = self.row_of(lanes);
        for (lane, bias) in lanes.iter_mut().zip(self.bias) {
            *lane -= bias;
        }
        let (base_value, output) = (self.mean_probability(), attribution.score.probability);
        let mut gradient = Gradient::zero();
        self.integrate(lanes, base_value, output, &mut gradient);

        // The lanes are no longer needed, so they now hold the weights of one channel at a time.
        let Attribution { values, gate_values, .. } = attribution;
        let experts = self.experts();
        lanes.fill(0.0);
        for (weight, by_gate) in lanes.iter_mut().zip(gradient.by_gate.iter().take(experts)) {
            *weight = *by_gate;
        }
        self.project(record, lanes, 0..experts, gate_values);
        lanes.fill(0.0);
        let expert_lanes = lanes.get_mut(experts..).unwrap_or_default();
        for (weight, by_experts) in expert_lanes.iter_mut().zip(&gradient.by_experts) {
            *weight = *by_experts;
        }
        self.project(record, lanes, experts..experts.wrapping_mul(2), values);
        let (mut sum, mut through_gate, mut through_experts) = (base_value, 0.0_f32, 0.0_f32);
        for (value, gate_value) in values.iter_mut().zip(gate_values).take(self.layout().features().len()) {
            through_gate += gate_value.abs();
            through_experts += value.abs();
            *value += *gate_value;
            sum += *value;
        }
        let total = through_gate + through_experts;
        attribution.gate_share = Some(if total > 0.0 { through_gate / total } else { 0.0 });
        attribution.base_value = base_value;
        attribution.output = output;
        attribution.residual = output - sum;
        Ok(())
    }

    /// Integrates the derivative of p over the path from `bias`, where p is `first`, to `bias +
    /// change`, where it is `last`.
    #[inline(never)]
    fn integrate(&self, change: &[f32], first: f32, last: f32, total: &mut Gradient<EXPERTS>) {
        let (mut panels, mut start, mut p_start) = (MAX_PANELS, 0.0, first);
        while let Some(cut) = self.next_cut(change, start) {
            let (mut gate, mut outputs) = ([0.0; EXPERTS], [0.0; EXPERTS]);
            let p_cut = self.mixture_at(change, cut, &mut gate, &mut outputs);
            panels = panels.wrapping_add(2);
            self.integrate_between(change, [start, cut], [p_start, p_cut], &mut panels, total);
            (start, p_start) = (cut, p_cut);
        }
        self.integrate_between(change, [start, 1.0], [p_start, last], &mut panels, total);
    }

    /// Like [`Model::integrate`], between two points on the path with given p. `panels` is the
    /// number of panels that may still be tried; one is left over.
    #[inline(never)]
    fn integrate_between(
        &self,
        change: &[f32],
        [start, end]: [f32; 2],
        [first, last]: [f32; 2],
        panels: &mut u32,
        total: &mut Gradient<EXPERTS>,
    ) {
        let (gate_change, expert_change) = change.split_at_checked(self.experts()).unwrap_or_default();
        let (mut gate, mut outputs) = ([0.0; EXPERTS], [0.0; EXPERTS]);
        let (mut from, mut steps, mut p_from) = (0_u32, FINEST, first);
        let length = end - start;
        while *panels > 0 {
            *panels = panels.wrapping_sub(1);
            let to = from.wrapping_add(steps);
            let (low, width) = (start + length * position(from), length * position(steps));
            let p_to = if to == FINEST {
                last
            } else {
                self.mixture_at(change, start + length * position(to), &mut gate, &mut outputs)
            };

            let mut panel = Gradient::zero();
            let (mut ps, mut slopes) = ([0.0_f32; 4], [0.0_f32; 4]);
            for (((node, weight), p), slope) in NODES.into_iter().zip(&mut ps).zip(&mut slopes) {
                let here = self.mixture_at(change, low + node * width, &mut gate, &mut outputs);
                let mut sum = 0.0;
                let mixture = gate.iter().zip(&outputs);
                let changes = gate_change.iter().zip(expert_change);
                let sums = panel.by_gate.iter_mut().zip(&mut panel.by_experts);
                for (((g, o), (du, dz)), (to_gate, to_expert)) in mixture.zip(changes).zip(sums) {
                    let (by_u, by_z) = (g * (o - here), g * o * (1.0 - o));
                    *to_gate += weight * by_u;
                    *to_expert += weight * by_z;
                    sum += by_u * du + by_z * dz;
                }
                (*p, *slope) = (here, sum);
            }

            let scale = LN_2 * width;
            let missed = |p: f32, weights: [f32; 4]| {
                let reached: f32 = weights.into_iter().zip(slopes).map(|(weight, slope)| weight * slope).sum();
                (p - p_from - scale * reached).abs()
            };
            let share = if width > 0.0625 { width } else { 0.0625 };
            let close = missed(p_to, NODES.map(|(_, weight)| weight)) < TOLERANCE * share
                && ps.into_iter().zip(UP_TO_NODE).all(|(p, weights)| missed(p, weights) < NODE_TOLERANCE);
            // One panel for each set bit of the remaining length reaches the end, and one is left
            // for the stretch after it.
            let out_of_panels = *panels <= FINEST.wrapping_sub(to).count_ones().wrapping_add(1);
            if close || steps == 1 || out_of_panels {
                total.add(scale, &panel);
                if to == FINEST {
                    break;
                }
                // Continue with the widest panel that may start here: a power of two, at a multiple
                // of itself.
                (from, p_from, steps) = (to, p_to, to & to.wrapping_neg());
            } else {
                steps /= 2;
            }
        }
    }

    /// Returns the first cut of the path after a point: a sharp vertex of the upper envelope of the
    /// gate's logits, or a point where an expert's own logit crosses 0 sharply.
    #[inline(never)]
    fn next_cut(&self, change: &[f32], place: f32) -> Option<f32> {
        let experts = self.experts();
        let (gate_bias, own_bias) = self.bias.split_at_checked(experts).unwrap_or_default();
        let (gate_change, own_change) = change.split_at_checked(experts).unwrap_or_default();
        let (low, mut first) = (place + APART, 1.0 - APART);
        for (z, dz) in own_bias.iter().zip(own_change).take(experts) {
            if dz.abs() >= SHARP {
                let at = -z / dz;
                first = if at > low && at < first { at } else { first };
            }
        }
        let (mut flattest, mut steepest) = (f32::MAX, f32::MIN);
        for du in gate_change {
            flattest = if *du < flattest { *du } else { flattest };
            steepest = if *du > steepest { *du } else { steepest };
        }
        if steepest - flattest >= SHARP {
            let vertex = first_vertex(gate_bias, gate_change, low);
            first = if vertex < first { vertex } else { first };
        }
        if first < 1.0 - APART { Some(first) } else { None }
    }
}

/// Returns the first sharp vertex after `low` of the upper envelope of the lines `bias + t *
/// change`; 1 if there is none.
#[inline(never)]
fn first_vertex(bias: &[f32], change: &[f32], low: f32) -> f32 {
    let lines = || bias.iter().zip(change);
    // The leader at the start; among equals, the steepest.
    let (mut u, mut du) = (f32::MIN, f32::MIN);
    for (other, change) in lines() {
        if *other > u || (*other == u && *change > du) {
            (u, du) = (*other, *change);
        }
    }
    // Each leader is steeper than the one before it, so there are no more changes than lines.
    for _ in 0..bias.len() {
        let (mut next, mut at) = ((u, du), f32::MAX);
        for (other, change) in lines().filter(|(_, change)| **change > du) {
            let crossing = (u - other) / (change - du);
            if crossing < at || (crossing == at && *change > next.1) {
                (next, at) = ((*other, *change), crossing);
            }
        }
        if at >= 1.0 {
            break;
        }
        if next.1 - du >= SHARP && at > low {
            return at;
        }
        (u, du) = next;
    }
    1.0
}

/// Returns the position, in [0, 1], of a multiple of the narrowest panel.
#[allow(clippy::cast_precision_loss)] // at most 2^12, a power of two
fn position(steps: u32) -> f32 {
    steps as f32 / FINEST as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Constants are rounded to f32.
    const TOLERANCE: f64 = 2e-7;

    /// Polynomials up to degree 7 over the panel, up to degree 3 up to each node.
    #[test]
    fn the_constants_integrate_polynomials() {
        let nodes = NODES.map(|(node, _)| f64::from(node));
        let integral = |weights: [f32; 4], degree: i32| -> f64 {
            weights.iter().zip(nodes).map(|(w, t)| f64::from(*w) * t.powi(degree)).sum()
        };
        for degree in 0..8 {
            let found = integral(NODES.map(|(_, weight)| weight), degree);
            assert!((found - 1.0 / f64::from(degree + 1)).abs() < TOLERANCE, "degree {degree}: {found}");
        }
        for degree in 0..4 {
            for (node, weights) in nodes.into_iter().zip(UP_TO_NODE) {
                let expected = node.powi(degree + 1) / f64::from(degree + 1);
                let found = integral(weights, degree);
                assert!((found - expected).abs() < TOLERANCE, "degree {degree} up to {node}: {found}");
            }
        }
    }
}
