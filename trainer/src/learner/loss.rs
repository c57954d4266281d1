//! Gradients of the losses in the logits of one record.

use feamoe_engine::math::LN_2;

use super::options::Loss;

/// Smallest likelihood used as a divisor: a score of exactly 0 or 1 on the wrong side must not give
/// an infinite step.
const SMALLEST_LIKELIHOOD: f32 = 1e-12;

/// One record as seen by the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// Share of each expert, K of them.
    pub gate: &'a [f32],
    /// Score of each expert.
    pub outputs: &'a [f32],
    /// `sum_k g_k o_k`.
    pub probability: f32,
}

impl Forward<'_> {
    /// Writes the gradient of the loss in the logits, gate lanes first, then expert lanes. Logits
    /// are in log2 units, hence the factor ln 2.
    ///
    /// With `h_k` the posterior share of expert k, `g_k p(y given x, k) / p(y given x)`, the
    /// likelihood gives `g_k - h_k` for the gate and `h_k (o_k - y)` for the expert. Expects at
    /// least `2K` lanes and leaves those past `2K` unchanged.
    pub fn loss_gradient(&self, loss: Loss, label: bool, gradient: &mut [f32]) {
        match loss {
            Loss::Nll => {
                let y = if label { 1.0 } else { 0.0 };
                let likelihood = |o: f32| if label { o } else { 1.0 - o };
                let inverse = 1.0 / likelihood(self.probability).max(SMALLEST_LIKELIHOOD);
                let (gate_lanes, expert_lanes) = gradient.split_at_mut(self.gate.len());
                for ((dg, de), (g, o)) in
                    gate_lanes.iter_mut().zip(expert_lanes).zip(self.gate.iter().zip(self.outputs))
                {
                    let h = g * likelihood(*o) * inverse;
                    *dg = LN_2 * (g - h);
                    *de = LN_2 * h * (o - y);
                }
            }
            Loss::Competitive => {
                gradient.iter_mut().take(2 * self.gate.len()).for_each(|lane| *lane = 0.0);
                self.add_competitive_gradient(1.0, label, gradient);
            }
        }
    }

    /// Adds `weight` times the gradient of `sum_k g_k (y - o_k)^2`: the competitive loss, which the
    /// penalties of the paper use too.
    pub fn add_competitive_gradient(&self, weight: f32, y: bool, gradient: &mut [f32]) {
        let y = if y { 1.0 } else { 0.0 };
        let weight = LN_2 * weight;
        let error = |o: f32| (y - o) * (y - o);
        let mean: f32 = self.gate.iter().zip(self.outputs).map(|(g, o)| g * error(*o)).sum();
        let (gate_lanes, expert_lanes) = gradient.split_at_mut(self.gate.len());
        for ((dg, de), (g, o)) in gate_lanes.iter_mut().zip(expert_lanes).zip(self.gate.iter().zip(self.outputs)) {
            *dg += weight * g * (error(*o) - mean);
            *de += weight * 2.0 * g * (o - y) * o * (1.0 - o);
        }
    }

    /// Adds `force` times the gradient of the score. This applies a fairness force, `dE/dp`, to the
    /// logits.
    pub fn add_score_gradient(&self, force: f32, gradient: &mut [f32]) {
        let force = LN_2 * force;
        let (gate_lanes, expert_lanes) = gradient.split_at_mut(self.gate.len());
        for ((dg, de), (g, o)) in gate_lanes.iter_mut().zip(expert_lanes).zip(self.gate.iter().zip(self.outputs)) {
            *dg += force * g * (o - self.probability);
            *de += force * g * o * (1.0 - o);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use feamoe_engine::mixture::combine;

    const EXPERTS: usize = 3;
    const LOGITS: [f64; 2 * EXPERTS] = [0.3, -1.1, 0.6, 1.7, -0.4, -2.2];
    /// Central differences in f64 with this step are accurate to about 1e-9; the rest is f32
    /// rounding in the kernel.
    const STEP: f64 = 1e-5;
    const TOLERANCE: f64 = 2e-6;

    /// Gate, outputs and score in f64, straight from the formulas.
    fn forward(z: &[f64]) -> (Vec<f64>, Vec<f64>, f64) {
        let t: Vec<f64> = z.iter().take(EXPERTS).map(|z| libm::exp2(*z)).collect();
        let sum: f64 = t.iter().sum();
        let gate: Vec<f64> = t.iter().map(|t| t / sum).collect();
        let outputs: Vec<f64> = z.iter().skip(EXPERTS).map(|z| 1.0 / (1.0 + libm::exp2(-z))).collect();
        let p = gate.iter().zip(&outputs).map(|(g, o)| g * o).sum();
        (gate, outputs, p)
    }

    fn check(analytic: &[f32], loss: impl Fn(&[f64]) -> f64) {
        for (lane, found) in analytic.iter().enumerate() {
            let at = |step: f64| {
                let mut z = LOGITS;
                z[lane] += step;
                loss(&z)
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!((f64::from(*found) - expected).abs() < TOLERANCE, "lane {lane}: {found} for {expected}");
        }
    }

    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn gradients_agree_with_finite_differences() {
        let logits = LOGITS.map(|z| z as f32);
        let (mut gate, mut outputs) = ([0.0; EXPERTS], [0.0; EXPERTS]);
        let probability = combine(&logits, EXPERTS, &mut gate, &mut outputs);
        let seen = Forward { gate: &gate, outputs: &outputs, probability };
        for label in [false, true] {
            let y = f64::from(u8::from(label));
            let mut found = [0.0; 2 * EXPERTS];
            seen.loss_gradient(Loss::Nll, label, &mut found);
            check(&found, |z| -libm::log(if label { forward(z).2 } else { 1.0 - forward(z).2 }));
            seen.loss_gradient(Loss::Competitive, label, &mut found);
            check(&found, |z| {
                let (gate, outputs, _) = forward(z);
                gate.iter().zip(&outputs).map(|(g, o)| g * (y - o) * (y - o)).sum()
            });
        }
        let mut found = [0.0; 2 * EXPERTS];
        seen.add_score_gradient(-0.7, &mut found);
        check(&found, |z| -0.7 * forward(z).2);
        // A penalty is added to the gradient that is already there: the paper's eq. 1, with all
        // penalties, for an unprivileged record that was declined.
        let (lambda, threshold) = (0.3, 0.5);
        seen.loss_gradient(Loss::Competitive, false, &mut found);
        seen.add_competitive_gradient(lambda + lambda, true, &mut found);
        seen.add_score_gradient(-lambda, &mut found);
        let lambda = f64::from(lambda);
        check(&found, |z| {
            let (gate, outputs, p) = forward(z);
            let squares = |y: f64| -> f64 { gate.iter().zip(&outputs).map(|(g, o)| g * (y - o) * (y - o)).sum() };
            squares(0.0) + lambda * squares(1.0) + lambda * squares(1.0) + lambda * (threshold - p)
        });
    }
}
