//! How far the engine may be from its slow twin in f64: every tolerance of the parity tests, with
//! its reason.
//!
//! All but [`QUADRATURE`] are bounds derived from the arithmetic, not fitted to what was seen.
//! `eps` is the distance from 1 to the next f32; one rounding errs by at most `eps / 2` of its
//! result.

const EPS: f64 = f32::EPSILON as f64;
const LN_2: f64 = std::f64::consts::LN_2;

/// Error of a logit, in log2 units, that is a sum of `terms` products and the bias, whose partial
/// sums stay within `reach`: for each term one rounding of the product, one of the sum, and two of
/// the scale (the logarithm errs by one unit in the last place, then the centre is subtracted; a
/// range lies at most ten times its width from 0, hence the factor).
#[must_use]
pub fn logit(terms: usize, reach: f64) -> f64 {
    (terms as f64 + 10.0) * EPS * reach
}

/// Error of a gate weight, where each logit errs by `logit`: `|dg_k| <= 2 g_k (1 - g_k) max|du|`,
/// at most half of it; then `exp2` (1.5 `eps`), the sum over K, the inverse and the product.
#[must_use]
pub fn gate(experts: usize, logit: f64) -> f64 {
    0.5 * LN_2 * logit + (experts as f64 + 5.0) * EPS
}

/// Error of an expert's probability: slope at most a quarter; then `exp2`, a sum and a quotient.
#[must_use]
pub fn output(logit: f64) -> f64 {
    0.25 * LN_2 * logit + 3.0 * EPS
}

/// Error of p: through the gate `sum g_k |o_k - p| <= 1/2`, through the experts at most a quarter;
/// then as for [`gate`].
#[must_use]
pub fn probability(experts: usize, logit: f64) -> f64 {
    0.75 * LN_2 * logit + (experts as f64 + 8.0) * EPS
}

/// Error of a gate-averaged log-odds whose magnitude is at most `reach` log2 units: the gate's
/// error on it, K products and sums, and its own logits'.
#[must_use]
pub fn log_odds(experts: usize, logit: f64, reach: f64) -> f64 {
    // The gate's errors are relative to each weight: 2 ln2 |du| each, and its roundings.
    LN_2 * (reach * (2.0 * LN_2 * logit + (2.0 * experts as f64 + 8.0) * EPS) + logit)
}

/// How far a value of `path` may be from a fine quadrature, gates of [`crate::generate::SHARP`]
/// included: its sum is held to [`feamoe_engine::attribution::TOLERANCE`], a single value may err
/// by a few times that.
pub const QUADRATURE: f64 = 3e-3;
