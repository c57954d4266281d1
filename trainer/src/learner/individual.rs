//! Individual fairness during learning: a penalty on decisions that depend on a protected column
//! alone (FEAMOE, A.10).
//!
//! The paper adds a constant, 0.4, to the loss of a record whose decision changes when its
//! protected value is replaced. A constant has no gradient. So a record `x` and its flip `x'` with
//! another decision are pulled together by a smooth form of the same penalty:
//!
//! ```text
//! E = w [yhat(x) != yhat(x')]  ~  w |q(x) - q(x')|          q = 1 / (1 + exp(-slope (p - threshold)))
//! dE/dp(x) = w s q'(x)         dE/dp(x') = -w s q'(x')      s = sign(p(x) - p(x'))
//! ```
//!
//! Records whose flips are all decided alike have no penalty, as in the paper. If several values
//! change the decision, the one whose score is farthest away counts. Decisions are made by the
//! deciding average (see `mixture`); the penalty acts on the weights being trained.
//!
//! *Cost:* two scores for every value tried, and one more step for every unfair record.

use crate::tuned::{Tuned, tuned};

/// Slope of the smooth decision, the same as for the fairness targets. The penalty acts on scores
/// within about 0.2 of the threshold.
static SLOPE: Tuned<f32> = tuned!(10.0);

/// Returns the forces `dE/dp` on a record and on its flip, from their scores.
pub(super) fn forces(weight: f32, threshold: f32, own: f32, flipped: f32) -> (f32, f32) {
    let sign = if own > flipped { 1.0 } else { -1.0 };
    let slope = |p: f32| {
        let q = smooth_decision(p, threshold);
        SLOPE.get() * q * (1.0 - q)
    };
    (weight * sign * slope(own), -weight * sign * slope(flipped))
}

fn smooth_decision(p: f32, threshold: f32) -> f32 {
    use feamoe_engine::math::{LOG2_E, exp2};
    1.0 / (1.0 + exp2(-LOG2_E * SLOPE.get() * (p - threshold)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: f32 = 0.4;

    #[test]
    fn forces_are_the_derivatives_of_the_smooth_price() {
        let penalty = |own, flipped| {
            let q = |p: f64| 1.0 / (1.0 + libm::exp(-f64::from(SLOPE.get()) * (p - f64::from(THRESHOLD))));
            0.4 * libm::fabs(q(own) - q(flipped))
        };
        for (own, flipped) in [(0.45_f32, 0.35_f32), (0.3, 0.6), (0.41, 0.1), (0.0, 1.0)] {
            let (a, b) = (f64::from(own), f64::from(flipped));
            let step = 1e-5;
            let expected = [
                (penalty(a + step, b) - penalty(a - step, b)) / (2.0 * step),
                (penalty(a, b + step) - penalty(a, b - step)) / (2.0 * step),
            ];
            let (on_own, on_flip) = forces(0.4, THRESHOLD, own, flipped);
            for (found, expected) in [on_own, on_flip].into_iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() < 1e-5, "{own} {flipped}: {found} for {expected}");
            }
        }
    }
}
