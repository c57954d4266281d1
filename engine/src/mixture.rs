//! The forward pass of the mixture: terms -> logits -> gate, experts, score. It is the only
//! implementation; engine, learner, evaluator and firmware call it.
//!
//! A record is a list of [`Term`]s; each selects one weight row and a scale (FEAMOE, section 3,
//! with the encoding folded into look-ups):
//!
//! ```text
//! z   = bias + sum over terms of scale * rows[row]
//! g_k = 2^z[k] / sum_i 2^z[i]      o_k = 1 / (1 + 2^-z[K+k])      p = sum_k g_k o_k
//!
//! lanes of a weight row: [ gate 0..K | expert K..2K | zeros up to the stride ]
//! ```
//!
//! Weights are in log2 units (multiplied by log2 e). Sums run over the terms in order, lane by
//! lane, without fused multiply-add. The block width below affects speed, never a bit.

use crate::limits::IS_DEVICE;
use crate::math::exp2;

pub use crate::format::{LANE_MULTIPLE, stride};

/// Whether a block of 24 lanes is summed in assembly.
const IN_ASSEMBLY: bool = IS_DEVICE && cfg!(all(feature = "armv7em", target_arch = "arm", target_abi = "eabihf"));

#[cfg(feature = "armv7em")]
pub use feamoe_armv7em::Term;

/// One summand of the logits: `scale * rows[row]`.
#[cfg(not(feature = "armv7em"))]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Term {
    /// Index of the weight row.
    pub row: u32,
    /// Factor of the weight row: 1 for a level, bin or marker; the centred number for a linear row.
    pub scale: f32,
}

/// Writes the logits `bias + sum(scale * row)` of a record to `out`.
///
/// # Shapes
/// `bias` and `out` have one row (the [`stride`]); `rows` has a whole number of rows. A term whose
/// row is beyond the end adds nothing; a loaded model has no such term. Lanes beyond the shorter of
/// `bias` and `out` are unchanged.
///
/// Cost: `terms.len() * stride` multiply-adds.
#[inline]
pub fn logits(bias: &[f32], rows: &[f32], terms: &[Term], out: &mut [f32]) {
    live_logits(out.len() / 2, bias, rows, terms, out);
}

/// Like [`logits`], for `experts` experts: later lanes are padding, which need not be summed.
#[inline]
pub(crate) fn live_logits(experts: usize, bias: &[f32], rows: &[f32], terms: &[Term], out: &mut [f32]) {
    /// Only one copy of the code, if flash is scarce.
    #[inline(never)]
    fn once(experts: usize, bias: &[f32], rows: &[f32], terms: &[Term], out: &mut [f32]) {
        sum_live(experts, bias, rows, terms, out);
    }
    if IS_DEVICE { once(experts, bias, rows, terms, out) } else { sum_live(experts, bias, rows, terms, out) }
}

#[inline(always)]
fn sum_live(experts: usize, bias: &[f32], rows: &[f32], terms: &[Term], out: &mut [f32]) {
    // The compiler keeps 22 of a device's 32 registers for sums.
    let is_done = IS_DEVICE
        && match experts {
            1 | 2 => whole_rows::<4, 4>(bias, rows, terms, out),
            3 | 4 => whole_rows::<8, 8>(bias, rows, terms, out),
            5 | 6 => whole_rows::<12, 12>(bias, rows, terms, out),
            7 | 8 => whole_rows::<16, 16>(bias, rows, terms, out),
            9 | 10 => whole_rows::<20, 20>(bias, rows, terms, out),
            11 | 12 if IN_ASSEMBLY => block::<24>(bias, rows, terms, out, 24, 0),
            11 => whole_rows::<22, 24>(bias, rows, terms, out),
            _ => false,
        };
    if is_done {
        return;
    }
    let stride = out.len();
    let mut lane = 0;
    // Wide blocks keep their sums in registers over all terms; narrow blocks handle the rest. A
    // device has no registers left for the addresses of a wide block.
    while (!IS_DEVICE || IN_ASSEMBLY) && block::<24>(bias, rows, terms, out, stride, lane) {
        lane = lane.wrapping_add(24);
    }
    while block::<12>(bias, rows, terms, out, stride, lane) {
        lane = lane.wrapping_add(12);
    }
    while block::<LANE_MULTIPLE>(bias, rows, terms, out, stride, lane) {
        lane = lane.wrapping_add(LANE_MULTIPLE);
    }
}

/// Sums the first `LIVE` lanes of rows of `STRIDE` in one pass over the terms; the other lanes are
/// padding. Returns false if a term has no row, or `bias` or `out` is shorter.
#[inline(always)]
fn whole_rows<const LIVE: usize, const STRIDE: usize>(
    bias: &[f32],
    rows: &[f32],
    terms: &[Term],
    out: &mut [f32],
) -> bool {
    let (Some(bias), Some(out)) = (bias.first_chunk::<STRIDE>(), out.first_chunk_mut::<STRIDE>()) else { return false };
    let (Some((bias, padding)), Some((out, past))) = (bias.split_first_chunk::<LIVE>(), out.split_first_chunk_mut())
    else {
        return false;
    };
    past.iter_mut().zip(padding).for_each(|(to, from)| *to = *from);
    let rows = rows.as_chunks::<STRIDE>().0;
    let mut sums = *bias;
    for term in terms {
        let Some(row) = rows.get(term.row as usize) else { return false };
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum += term.scale * weight;
        }
    }
    *out = sums;
    true
}

/// Sums one block of `W` lanes starting at `lane`; false if fewer than `W` lanes are left.
#[inline(always)]
fn block<const W: usize>(
    bias: &[f32],
    rows: &[f32],
    terms: &[Term],
    out: &mut [f32],
    stride: usize,
    lane: usize,
) -> bool {
    let (Some(bias), Some(out)) = (
        bias.get(lane..).and_then(<[f32]>::first_chunk::<W>),
        out.get_mut(lane..).and_then(<[f32]>::first_chunk_mut::<W>),
    ) else {
        return false;
    };
    #[cfg(all(feature = "armv7em", target_arch = "arm", target_abi = "eabihf", target_os = "none"))]
    if let (Ok(bias), Ok(out)) = (bias.as_slice().try_into(), out.as_mut_slice().try_into()) {
        feamoe_armv7em::sum_rows(bias, rows, terms, stride, lane, out);
        return true;
    }
    let mut sums = *bias;
    for term in terms {
        let start = (term.row as usize).wrapping_mul(stride).wrapping_add(lane);
        if let Some(row) = rows.get(start..).and_then(<[f32]>::first_chunk::<W>) {
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += term.scale * weight;
            }
        }
    }
    *out = sums;
    true
}

/// Combines logits into the gate, the experts' outputs and the score.
///
/// `logits` has the gate lanes, then the expert lanes, in log2 units, each within
/// +-[`crate::limits::MAX_LOGIT`] (see [`tame`]). `gate` and `outputs` get `experts` numbers each;
/// the gate sums to 1, outputs are in [0, 1]. Returns p in [0, 1].
#[inline]
pub fn combine(logits: &[f32], experts: usize, gate: &mut [f32], outputs: &mut [f32]) -> f32 {
    /// Only one copy of the code, if flash is scarce.
    #[inline(never)]
    fn once(logits: &[f32], experts: usize, gate: &mut [f32], outputs: &mut [f32]) -> f32 {
        combine_lanes(logits, experts, gate, outputs)
    }
    if IS_DEVICE { once(logits, experts, gate, outputs) } else { combine_lanes(logits, experts, gate, outputs) }
}

#[inline(always)]
fn combine_lanes(logits: &[f32], experts: usize, gate: &mut [f32], outputs: &mut [f32]) -> f32 {
    // All of the same length, so that the loop has only one bounds check.
    let (Some(gate), Some(outputs)) = (gate.get_mut(..experts), outputs.get_mut(..experts)) else { return 0.0 };
    let Some((gate_lanes, rest)) = logits.split_at_checked(experts) else { return 0.0 };
    let Some(expert_lanes) = rest.get(..experts) else { return 0.0 };
    let (mut sum, mut weighted) = (0.0_f32, 0.0_f32);
    for (((g, o), u), z) in gate.iter_mut().zip(outputs).zip(gate_lanes).zip(expert_lanes) {
        let t = exp2(*u);
        let f = 1.0 / (1.0 + exp2(-*z));
        *g = t;
        *o = f;
        sum += t;
        weighted += t * f;
    }
    let inverse = 1.0 / sum;
    let (fours, rest) = gate.as_chunks_mut::<LANE_MULTIPLE>();
    fours.iter_mut().for_each(|four| four.iter_mut().for_each(|g| *g *= inverse));
    rest.iter_mut().for_each(|g| *g *= inverse);
    // Each product is at most its t, and rounding is monotone, so the quotient cannot exceed 1.
    weighted / sum
}

/// Brings logits into the range that [`combine`] needs without changing the gate: subtracts the
/// largest gate logit and clamps.
///
/// A loaded model with bounded logits (see [`crate::Model::bounded`]) does not need this; a learner
/// does.
#[inline]
pub fn tame(logits: &mut [f32], experts: usize) {
    const LIMIT: f32 = crate::limits::MAX_LOGIT;
    let (gate, outputs) = logits.split_at_mut_checked(experts).unwrap_or_default();
    let mut largest = f32::MIN;
    for u in gate.iter() {
        largest = if *u > largest { *u } else { largest };
    }
    for u in gate {
        let shifted = *u - largest;
        *u = if shifted > -LIMIT { shifted } else { -LIMIT };
    }
    for z in outputs {
        *z = z.clamp(-LIMIT, LIMIT);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    /// f32 sums of a few terms against f64.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn matches_the_formulas_in_f64() {
        let experts = 3;
        let stride = stride(experts);
        assert_eq!(stride, 8);
        let mut rows = [0.0_f32; 8 * 4];
        for (i, w) in rows.iter_mut().enumerate() {
            *w = if i % 8 < 6 { (i as f32 * 0.37).fract() - 0.5 } else { 0.0 };
        }
        let bias = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.0, 0.0_f32];
        let terms = [Term { row: 1, scale: 1.0 }, Term { row: 3, scale: -2.5 }];
        let mut z = [0.0_f32; 8];
        logits(&bias, &rows, &terms, &mut z);
        let (mut gate, mut outputs) = ([0.0; 3], [0.0; 3]);
        let p = combine(&z, experts, &mut gate, &mut outputs);

        let exact = |lane: usize| f64::from(bias[lane]) + f64::from(rows[8 + lane]) - 2.5 * f64::from(rows[24 + lane]);
        let t: [f64; 3] = core::array::from_fn(|k| libm::exp2(exact(k)));
        let sum: f64 = t.iter().sum();
        let mut expected = 0.0;
        for k in 0..3 {
            let o = 1.0 / (1.0 + libm::exp2(-exact(3 + k)));
            assert!((f64::from(outputs[k]) - o).abs() < TOLERANCE);
            assert!((f64::from(gate[k]) - t[k] / sum).abs() < TOLERANCE);
            expected += t[k] / sum * o;
        }
        assert!((f64::from(p) - expected).abs() < TOLERANCE);
    }

    #[test]
    fn block_width_does_not_change_a_bit() {
        let mut rows = [0.0_f32; 28 * 3];
        for (i, w) in rows.iter_mut().enumerate() {
            *w = (i as f32 * 0.618).fract() - 0.5;
        }
        let terms = [Term { row: 0, scale: 0.3 }, Term { row: 2, scale: 1.7 }, Term { row: 1, scale: -0.9 }];
        let bias = [0.25_f32; 28];
        let mut wide = [0.0; 28];
        logits(&bias, &rows, &terms, &mut wide);
        let mut whole = [0.0; 28];
        assert!(whole_rows::<28, 28>(&bias, &rows, &terms, &mut whole));
        assert_eq!(whole, wide);
        assert!(!whole_rows::<28, 28>(&bias, &rows, &[Term { row: 3, scale: 1.0 }], &mut whole));
        for lane in 0..28 {
            let mut sum = bias[lane];
            for term in &terms {
                sum += term.scale * rows[term.row as usize * 28 + lane];
            }
            assert_eq!(wide[lane].to_bits(), sum.to_bits());
        }
    }

    #[test]
    fn tame_keeps_the_gate_and_survives_extremes() {
        let mut z = [1.0e6, 1.0e6 - 1.0, -1.0e6, 4.0e5, -4.0e5, 2.0, 0.0, 0.0_f32];
        tame(&mut z, 3);
        let (mut gate, mut outputs) = ([0.0; 3], [0.0; 3]);
        let p = combine(&z, 3, &mut gate, &mut outputs);
        assert!((gate[0] - 2.0 / 3.0).abs() < 1e-6 && (gate[1] - 1.0 / 3.0).abs() < 1e-6);
        assert!((p - 2.0 / 3.0).abs() < 1e-6);
    }
}
