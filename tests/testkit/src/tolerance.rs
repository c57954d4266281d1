//! The allowed difference between the engine and its slow twin in f64: every tolerance of the
//! parity tests, with its reason.
//!
//! All except [`QUADRATURE`] are bounds derived from the arithmetic, not fitted to observations.
//! `eps` is the distance from 1 to the next f32; one rounding has an error of at most `eps / 2` of
//! its result.

const EPS: f64 = f32::EPSILON as f64;
const LN_2: f64 = std::f64::consts::LN_2;

/// Error of a logit, in log2 units. The logit is a sum of `terms` products and the bias, whose
/// partial sums stay within `reach`. Each term has one rounding of the product, one of the sum, and
/// two of the scale: the logarithm has an error of one unit in the last place, then the centre is
/// subtracted; a range lies at most ten times its width from 0, hence the constant.
#[must_use]
pub fn logit(terms: usize, reach: f64) -> f64 {
    (terms as f64 + 10.0) * EPS * reach
}

/// Error of a gate weight if each logit has an error of `logit`:
/// `|dg_k| <= 2 g_k (1 - g_k) max|du|`, at most half of it; then `exp2` (1.5 `eps`), the sum over
/// K, the inverse and the product.
#[must_use]
pub fn gate(experts: usize, logit: f64) -> f64 {
    0.5 * LN_2 * logit + (experts as f64 + 5.0) * EPS
}

/// Error of an expert's probability: the slope is at most a quarter; then `exp2`, a sum and a
/// quotient.
#[must_use]
pub fn output(logit: f64) -> f64 {
    0.25 * LN_2 * logit + 3.0 * EPS
}

/// Error of p: through the gate at most `sum g_k |o_k - p| <= 1/2`, through the experts at most a
/// quarter; then the same roundings as for [`gate`].
#[must_use]
pub fn probability(experts: usize, logit: f64) -> f64 {
    0.75 * LN_2 * logit + (experts as f64 + 8.0) * EPS
}

/// Error of a gate-averaged log-odds whose magnitude is at most `reach` log2 units: from the error
/// of the gate, from K products and sums, and from the error of its own logits.
#[must_use]
pub fn log_odds(experts: usize, logit: f64, reach: f64) -> f64 {
    // The gate's errors are relative to each weight: 2 ln2 |du| each, and its roundings.
    LN_2 * (reach * (2.0 * LN_2 * logit + (2.0 * experts as f64 + 8.0) * EPS) + logit)
}

/// Allowed difference between a value of `path` and a fine quadrature, also for gates of
/// [`crate::generate::SHARP`]: the sum is accurate to [`feamoe_engine::attribution::TOLERANCE`],
/// and a single value may have a few times that error.
pub const QUADRATURE: f64 = 3e-3;
