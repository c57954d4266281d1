//! The exponential function of the hot path, with one definition for every target, so that host and
//! device give the same bits.
//!
//! `libm::exp2f` is not used because it computes in f64, which takes about 1,200 instructions on a
//! core with only single-precision floats. This function takes about 13 once inlined, in f32 and
//! without fused multiply-add.

/// log2(e): weights are stored multiplied by it, so that the kernel needs only [`exp2`].
pub const LOG2_E: f32 = core::f32::consts::LOG2_E;

/// ln(2): the factor from a derivative in log2 units to one in natural units.
pub const LN_2: f32 = core::f32::consts::LN_2;

/// Largest magnitude for which [`exp2`] is exact to its stated error.
pub const EXP2_RANGE: f32 = 126.0;

/// Bit patterns of `2^(i/64)`, correctly rounded.
#[rustfmt::skip]
const EXP2_TABLE: [u32; 64] = [
    0x3f80_0000, 0x3f81_64d2, 0x3f82_cd87, 0x3f84_3a29, 0x3f85_aac3, 0x3f87_1f62, 0x3f88_980f, 0x3f8a_14d5,
    0x3f8b_95c2, 0x3f8d_1adf, 0x3f8e_a43a, 0x3f90_31dc, 0x3f91_c3d3, 0x3f93_5a2b, 0x3f94_f4f0, 0x3f96_942d,
    0x3f98_37f0, 0x3f99_e046, 0x3f9b_8d3a, 0x3f9d_3eda, 0x3f9e_f532, 0x3fa0_b051, 0x3fa2_7043, 0x3fa4_3516,
    0x3fa5_fed7, 0x3fa7_cd94, 0x3fa9_a15b, 0x3fab_7a3a, 0x3fad_583f, 0x3faf_3b79, 0x3fb1_23f6, 0x3fb3_11c4,
    0x3fb5_04f3, 0x3fb6_fd92, 0x3fb8_fbaf, 0x3fba_ff5b, 0x3fbd_08a4, 0x3fbf_179a, 0x3fc1_2c4d, 0x3fc3_46cd,
    0x3fc5_672a, 0x3fc7_8d75, 0x3fc9_b9be, 0x3fcb_ec15, 0x3fce_248c, 0x3fd0_6334, 0x3fd2_a81e, 0x3fd4_f35b,
    0x3fd7_44fd, 0x3fd9_9d16, 0x3fdb_fbb8, 0x3fde_60f5, 0x3fe0_ccdf, 0x3fe3_3f89, 0x3fe5_b907, 0x3fe8_396a,
    0x3fea_c0c7, 0x3fed_4f30, 0x3fef_e4ba, 0x3ff2_8177, 0x3ff5_257d, 0x3ff7_d0df, 0x3ffa_83b3, 0x3ffd_3e0c,
];

/// The table minus what the index adds to the exponent, so that [`exp2`] need not mask out the
/// index.
const EXP2_LESS_INDEX: [u32; 64] = {
    let mut entries = EXP2_TABLE;
    let mut rest: &mut [u32] = &mut entries;
    let mut index = 0_u32;
    while let [entry, others @ ..] = rest {
        *entry = entry.wrapping_sub(index << 17);
        index = index.wrapping_add(1);
        rest = others;
    }
    entries
};

/// `1.5 * 2^17`: adding it to an f32 leaves the multiple of 1/64 nearest to the addend in the low
/// mantissa bits.
const ROUND_TO_64THS: f32 = 196_608.0;

/// Returns `2^x` for `|x| <=` [`EXP2_RANGE`]; relative error at most 1.5 ulp (tested exhaustively
/// over a grid of the range).
///
/// Outside the range, the result is a meaningless number, possibly infinite; the function never
/// panics. A table of 64 entries gives `2^(k/64)`, and a polynomial of degree 2 gives the rest,
/// `|f| <= 1/128`.
#[inline(always)]
#[must_use]
pub fn exp2(x: f32) -> f32 {
    const C1: f32 = 6.931_497_2e-1;
    const C2: f32 = 2.402_265_7e-1;
    let shifted = x + ROUND_TO_64THS;
    let n = shifted.to_bits();
    let f = x - (shifted - ROUND_TO_64THS);
    // The mask keeps the index inside the table, so the compiler removes the fallback.
    let entry = EXP2_LESS_INDEX.get((n & 63) as usize).copied().unwrap_or(0);
    let s = f32::from_bits(entry.wrapping_add(n << 17));
    s + s * (f * (C2 * f + C1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allowed relative error: one and a half units in the last place of an f32.
    const TOLERANCE: f64 = 1.5 * f32::EPSILON as f64;

    #[test]
    fn exp2_agrees_with_f64_on_a_dense_grid() {
        let mut worst = 0.0_f64;
        let mut x = -EXP2_RANGE;
        while x <= EXP2_RANGE {
            let exact = libm::exp2(f64::from(x));
            worst = worst.max(((f64::from(exp2(x)) - exact) / exact).abs());
            x += 1.0 / 8192.0;
        }
        assert!(worst <= TOLERANCE, "worst relative error {worst:e}");
    }

    /// Tests all 2.2 billion numbers of the range: `cargo test --release -p feamoe-engine --
    /// --ignored`, half a minute.
    #[test]
    #[ignore = "half a minute in release"]
    fn exp2_agrees_with_f64_everywhere() {
        let worst = (0..=EXP2_RANGE.to_bits())
            .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
            .map(|x| (f64::from(exp2(x)) / libm::exp2(f64::from(x)) - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst <= TOLERANCE, "worst relative error {worst:e}");
    }

    /// Monotone scores rely on this: as `z` grows, `1 / (1 + 2^-z)` falls at only ten numbers, by
    /// one unit in the last place.
    #[test]
    #[ignore = "half a minute in release"]
    fn the_sigmoid_hardly_ever_falls() {
        const LEAST: f32 = 1e-12;
        let of = |bits: u32| f32::from_bits(bits);
        let negative = (LEAST.to_bits()..=EXP2_RANGE.to_bits()).rev().map(|bits| -of(bits));
        let positive = (LEAST.to_bits()..=EXP2_RANGE.to_bits()).map(of);
        let (mut falls, mut last) = (0, 0.0_f32);
        for z in negative.chain(positive) {
            let sigmoid = 1.0 / (1.0 + exp2(-z));
            falls += u32::from(sigmoid < last);
            assert!(sigmoid >= last.next_down(), "{z}");
            last = sigmoid.max(last);
        }
        assert_eq!(falls, 10);
    }

    /// Monotone scores rely on this too.
    #[test]
    #[ignore = "a minute in release"]
    fn log1p_never_falls() {
        let all = (0..f32::INFINITY.to_bits()).map(|bits| libm::log1pf(f32::from_bits(bits)));
        assert!(all.is_sorted());
    }

    #[test]
    fn exp2_is_exact_at_whole_numbers() {
        for n in -126..=126_i16 {
            assert_eq!(f64::from(exp2(f32::from(n))), libm::exp2(f64::from(n)));
        }
    }
}
