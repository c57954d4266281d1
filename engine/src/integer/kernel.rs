//! The forward pass in integers: terms -> logits -> gate, experts, p.

use super::table::{exp2_negative, sigmoid};

/// The number of low bits dropped from a sum of products before it is multiplied by the scale of
/// its lane; of 31 bits, 19 and a sign remain.
pub(super) const SUM_SHIFT: u32 = 12;

/// One summand of the logits: `scale` times a weight row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Term {
    pub row: u32,
    pub scale: i32,
}

/// A weight as the blob holds it.
pub(super) trait Weight: Copy {
    fn value(self) -> i32;
}

impl Weight for i8 {
    #[inline(always)]
    fn value(self) -> i32 {
        i32::from(self)
    }
}

impl Weight for i16 {
    #[inline(always)]
    fn value(self) -> i32 {
        // Used in place: a blob is little endian on every target.
        i32::from(Self::from_le(self))
    }
}

/// The number of terms that are added together: as many rows and scales as the registers of a small
/// core hold besides a sum.
const TOGETHER: usize = 4;

/// Returns `bias + sum(scale * row)` of a record. No sum overflows: `load` checked this.
///
/// A row is two halves of `N` lanes, gate and experts. `N` is constant, so that the instructions
/// contain the offsets of the lanes.
#[inline(never)]
pub(super) fn sum<W: Weight, const N: usize>(
    bias: &[[[u8; 4]; N]; 2],
    rows: &[[[W; N]; 2]],
    terms: &[Term],
) -> [[i32; N]; 2] {
    let mut sums = bias.map(|half| half.map(i32::from_le_bytes));
    let (rest, groups) = terms.as_rchunks::<TOGETHER>();
    let (single, pairs) = rest.as_rchunks();
    for term in single {
        add_rows(rows, &[*term], &mut sums);
    }
    for pair in pairs {
        add_rows::<W, N, 2>(rows, pair, &mut sums);
    }
    for group in groups {
        add_rows(rows, group, &mut sums);
    }
    sums
}

/// Adds some terms in one pass over the sums.
#[inline(always)]
fn add_rows<W: Weight, const N: usize, const TERMS: usize>(
    rows: &[[[W; N]; 2]],
    terms: &[Term; TERMS],
    sums: &mut [[i32; N]; 2],
) {
    // Every row exists, so `first` never replaces another row: `load` counted them.
    let [first, ..] = rows else { return };
    let terms = terms.map(|term| (term.scale, rows.get(term.row as usize).unwrap_or(first)));
    for (half, sums) in sums.iter_mut().enumerate() {
        let terms = terms.map(|(scale, row @ [gate, _])| (scale, row.get(half).unwrap_or(gate)));
        for (lane, sum) in sums.iter_mut().enumerate() {
            for (scale, row) in terms {
                *sum = sum.wrapping_add(scale.wrapping_mul(row.get(lane).map_or(0, |weight| weight.value())));
            }
        }
    }
}

/// Like [`sum`], for rows of any length: the length of `sums`. Twice as slow.
#[inline(never)]
pub(super) fn sum_any<W: Weight>(bias: &[[u8; 4]], rows: &[W], terms: &[Term], sums: &mut [i32]) {
    for (sum, bias) in sums.iter_mut().zip(bias) {
        *sum = i32::from_le_bytes(*bias);
    }
    for term in terms {
        let row = rows.get((term.row as usize).wrapping_mul(sums.len())..);
        add(term.scale, row.unwrap_or_default(), sums);
    }
}

#[inline(always)]
fn add<W: Weight>(scale: i32, row: &[W], sums: &mut [i32]) {
    for (sum, weight) in sums.iter_mut().zip(row) {
        *sum = sum.wrapping_add(scale.wrapping_mul(weight.value()));
    }
}

/// Writes the averages of a record's rows, weighted by `shares`, over the expert lanes: one per
/// term, in order. None overflows if the sum of the shares is below 2^16.
#[inline(never)]
pub(super) fn average<W: Weight, const N: usize>(
    rows: &[[[W; N]; 2]],
    terms: &[Term],
    shares: &[i32; N],
    averages: &mut [i32],
) {
    for (term, average) in terms.iter().zip(averages) {
        *average = rows.get(term.row as usize).map_or(0, |[_, row]| dot(shares, row));
    }
}

/// Like [`average`], for rows of any length: twice the length of `shares`.
#[inline(never)]
pub(super) fn average_any<W: Weight>(rows: &[W], terms: &[Term], shares: &[i32], averages: &mut [i32]) {
    for (term, average) in terms.iter().zip(averages) {
        let start = (term.row as usize).wrapping_mul(2).wrapping_add(1).wrapping_mul(shares.len());
        *average = dot(shares, rows.get(start..).unwrap_or_default());
    }
}

#[inline(always)]
fn dot<W: Weight>(shares: &[i32], row: &[W]) -> i32 {
    let products = shares.iter().zip(row).map(|(share, weight)| share.wrapping_mul(weight.value()));
    products.fold(0, i32::wrapping_add)
}

/// Turns a sum into a logit in units of 2^-16, by the scale of its lane.
#[inline(always)]
fn logit((sum, scale): (&i32, &[u8; 2]), shift: u8) -> i32 {
    (*sum >> SUM_SHIFT).wrapping_mul(i32::from(u16::from_le_bytes(*scale))) >> (shift & 31)
}

/// Combines half rows of sums, with their scales, into the gate (units of 2^-16, summing to 1
/// exactly), the experts' probabilities (units of 2^-16) and p (units of 2^-32).
///
/// `gate` and `outputs` have one entry per expert; later lanes are not read. Takes a single
/// division, of u32: the largest gate weight is 1 minus the sum of the others.
#[inline(never)]
pub(super) fn combine(
    [gate_sums, expert_sums]: [&[i32]; 2],
    [gate_scales, expert_scales]: [&[[u8; 2]]; 2],
    shift: u8,
    gate: &mut [u32],
    outputs: &mut [u16],
) -> u32 {
    let (mut largest, mut place) = (i32::MIN, 0);
    for (k, (gate, lane)) in gate.iter_mut().zip(gate_sums.iter().zip(gate_scales)).enumerate() {
        let logit = logit(lane, shift);
        *gate = logit.cast_unsigned();
        if logit > largest {
            (largest, place) = (logit, k);
        }
    }
    let mut sum = 0_u32;
    for gate in gate.iter_mut() {
        *gate = exp2_negative(largest.cast_unsigned().wrapping_sub(*gate));
        sum = sum.wrapping_add(*gate);
    }
    // The largest adds 2^16, so the sum has 17 to 23 bits, of which 17 are kept.
    let shift_of_sum = 15_u32.wrapping_sub(sum.leading_zeros()) & 31;
    let inverse = u32::MAX.checked_div(sum >> shift_of_sum).unwrap_or(0);
    let lanes = expert_sums.iter().zip(expert_scales);
    let (mut rest, mut p, mut largest_output) = (1_u32 << 16, 0_u32, 0);
    for (k, ((gate, output), lane)) in gate.iter_mut().zip(outputs).zip(lanes).enumerate() {
        let probability = sigmoid(logit(lane, shift));
        #[allow(clippy::cast_possible_truncation)] // at most 65,535
        let narrow = probability as u16;
        *output = narrow;
        if k == place {
            largest_output = probability;
        } else {
            *gate = (gate.wrapping_mul(inverse) >> (shift_of_sum.wrapping_add(15) & 31)).wrapping_add(1) >> 1;
            rest = rest.wrapping_sub(*gate);
            p = p.wrapping_add(gate.wrapping_mul(probability));
        }
    }
    if let Some(gate) = gate.get_mut(place) {
        *gate = rest;
    }
    p.wrapping_add(rest.wrapping_mul(largest_output))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Both ways of summing, for groups of terms and for the remaining terms.
    #[test]
    fn sums_and_averages_are_what_they_say() {
        const HALF: usize = 6;
        let rows: Vec<i16> = (0..12 * 2 * HALF as i32).map(|i| (((i * 7919) % 4001 - 2000) as i16).to_le()).collect();
        let bias: Vec<[u8; 4]> = (0..2 * HALF as i32).map(|i| (i * 1000 - 3000).to_le_bytes()).collect();
        let shares: [i32; HALF] = core::array::from_fn(|i| i as i32 * 500 + 3);
        for count in 0..12 {
            let terms: Vec<Term> = (0..count).map(|i| Term { row: i * 5 % 12, scale: i as i32 * 300 - 700 }).collect();
            let weight = |term: &Term, lane: usize| i32::from(i16::from_le(rows[term.row as usize * 2 * HALF + lane]));
            let expected: [i32; 2 * HALF] = core::array::from_fn(|lane| {
                let terms: i32 = terms.iter().map(|term| term.scale * weight(term, lane)).sum();
                i32::from_le_bytes(bias[lane]) + terms
            });
            let mut any = [0; 2 * HALF];
            let whole = rows.as_chunks::<HALF>().0.as_chunks::<2>().0;
            let fixed = sum(&bias.as_chunks().0.as_chunks().0[0], whole, &terms);
            sum_any(&bias, &rows, &terms, &mut any);
            assert_eq!((fixed.as_flattened(), any), (&expected[..], expected), "{count} terms");

            let average_of = |term: &Term| (0..HALF).map(|lane| shares[lane] * weight(term, HALF + lane)).sum();
            let expected: Vec<i32> = terms.iter().map(average_of).collect();
            let (mut fixed, mut any) = ([0; 12], [0; 12]);
            average(whole, &terms, &shares, &mut fixed);
            average_any(&rows, &terms, &shares, &mut any);
            let count = terms.len();
            assert_eq!((&fixed[..count], &any[..count]), (&expected[..], &expected[..]), "{count} terms");
        }
    }

    #[test]
    fn the_gate_sums_to_one_and_p_stays_below_it() {
        for logits in [&[0_i32][..], &[5, 5], &[i32::MAX, i32::MIN, 0], &[-70_000, 65_536, 65_000, 0, 1], &[9; 64]] {
            let (mut gate, mut outputs) = ([7; 64], [7; 64]);
            let k = logits.len();
            for experts in [&[i32::MAX; 64], &[i32::MIN; 64], &[0; 64]] {
                // With lanes after those of the experts, as in a weight row.
                let logits: Vec<i32> = logits.iter().copied().chain([0, i32::MAX]).collect();
                // The largest scale, with which a logit is nearly the sum.
                let (scales, live) = ([[0xff, 0x0f]; 66], (&mut gate[..k], &mut outputs[..k]));
                let p = combine([&logits, experts], [&scales; 2], 0, live.0, live.1);
                assert_eq!(gate[..k].iter().sum::<u32>(), 1 << 16);
                let exact: u64 = gate.iter().zip(&outputs).take(k).map(|(g, o)| u64::from(*g) * u64::from(*o)).sum();
                assert_eq!(u64::from(p), exact);
            }
        }
    }
}
