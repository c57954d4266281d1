//! The functions of the integer kernel, from tables that the compiler computes in integers, so that
//! they are the same in every build.

/// `2^(-1/64)`, in units of 2^-63.
const STEP: u128 = 0x7e9f_0606_7a43_60ba;

/// `2^(-i/64)`, in units of 2^-16.
// An index out of range would not compile.
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
static EXP2: [u32; 65] = {
    let (mut table, mut power, mut i) = ([0; 65], 1_u128 << 63, 0);
    while i < table.len() {
        table[i] = ((power + (1 << 46)) >> 47) as u32;
        power = (power * STEP) >> 63;
        i += 1;
    }
    table
};

/// `1 / (1 + 2^(-i/16))`, in units of 2^-16.
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)] // as above
static SIGMOID: [u16; 257] = {
    let (mut table, mut power, mut i) = ([0; 257], 1_u128 << 63, 0);
    while i < 4 * table.len() {
        if i % 4 == 0 {
            let sum = (1 << 63) + power;
            let rounded = ((1 << 79) + sum / 2) / sum;
            table[i / 4] = if rounded < 1 << 16 { rounded as u16 } else { u16::MAX };
        }
        power = (power * STEP) >> 63;
        i += 1;
    }
    table
};

/// `log2(1 + i/64)`, in units of 2^-20.
#[allow(clippy::indexing_slicing)] // as above
static LOG2: [u32; 65] = {
    let (mut table, mut i) = ([0; 65], 0);
    while i < table.len() {
        // Digit by digit: squaring doubles the logarithm. Computes one more digit than is kept, for
        // rounding.
        let (mut x, mut digits, mut count) = ((64 + i as u128) << 56, 0_u32, 0);
        while count < 21 {
            x = (x * x) >> 62;
            let past_two = x >> 63 != 0;
            x >>= past_two as u32;
            digits = 2 * digits + past_two as u32;
            count += 1;
        }
        table[i] = (digits + 1) >> 1;
        i += 1;
    }
    table
};

/// Returns `2^-x`; `x` and the result in units of 2^-16. The error is at most 2e-5 of the exact
/// value plus one unit.
#[inline(always)]
pub(super) fn exp2_negative(x: u32) -> u32 {
    let (from, to) = between(&EXP2, x >> 10 & 63);
    // Rounded up, since the chord lies above the curve.
    let part = from.wrapping_sub(to).wrapping_mul(x & 1023).wrapping_add(1023);
    let power = from.wrapping_sub(part >> 10);
    let halvings = x >> 16;
    // A shift of a u32 by 32 or more places would be taken modulo 32.
    power >> if halvings < 31 { halvings } else { 31 }
}

/// Returns `1 / (1 + 2^-z)`, at least 1 and at most 65,535; `z` and the result in units of 2^-16.
/// Within 4e-5 of the exact value.
#[inline(always)]
pub(super) fn sigmoid(z: i32) -> u32 {
    const LAST: u32 = (16 << 16) - 1;
    let magnitude = z.unsigned_abs();
    let x = if magnitude < LAST { magnitude } else { LAST };
    let (from, to) = between(&SIGMOID, x >> 12 & 255);
    let (from, to) = (u32::from(from), u32::from(to));
    let part = to.wrapping_sub(from).wrapping_mul(x & 4095);
    let above = from.wrapping_add(part.wrapping_add(2048) >> 12);
    if z < 0 { (1_u32 << 16).wrapping_sub(above) } else { above }
}

/// Returns `log2(x)` of a number above 0, in units of 2^-20. Within 5e-5 of the exact value.
pub(super) fn log2(x: u32) -> i32 {
    let zeros = x.leading_zeros();
    let mantissa = x.wrapping_shl(zeros);
    let (from, to) = between(&LOG2, mantissa >> 25 & 63);
    let part = to.wrapping_sub(from).wrapping_mul(mantissa >> 9 & 0xffff);
    let whole = 31_u32.wrapping_sub(zeros);
    (whole << 20).wrapping_add(from).wrapping_add(part >> 16).cast_signed()
}

/// Returns an entry and the next one.
#[inline(always)]
fn between<T: Copy + Default, const N: usize>(table: &[T; N], index: u32) -> (T, T) {
    let pair = table.get(index as usize..).and_then(<[T]>::first_chunk::<2>);
    pair.map_or_else(Default::default, |[from, to]| (*from, *to))
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    const ONE: f64 = 65536.0;

    #[test]
    fn exp2_agrees_with_f64() {
        for x in (0..20 << 16).chain([u32::MAX, 31 << 16, 32 << 16, 33 << 16]) {
            let exact = ONE * libm::exp2(-f64::from(x) / ONE);
            let found = f64::from(exp2_negative(x));
            assert!((found - exact).abs() <= 2e-5 * exact + 1.0, "{x}: {found} {exact}");
        }
        assert_eq!((exp2_negative(0), exp2_negative(1 << 16), exp2_negative(16 << 16)), (1 << 16, 1 << 15, 1));
    }

    #[test]
    fn the_sigmoid_agrees_with_f64_never_falls_and_is_symmetric() {
        let mut last = 0;
        for z in [i32::MIN].into_iter().chain(-(20 << 16)..=20 << 16).chain([i32::MAX]) {
            let exact = ONE / (1.0 + libm::exp2(-f64::from(z) / ONE));
            let found = sigmoid(z);
            assert!((f64::from(found) - exact).abs() <= 4e-5 * ONE, "{z}: {found} {exact}");
            assert!((last.max(1)..=65535).contains(&found));
            last = found;
            assert_eq!(found.wrapping_add(sigmoid(z.wrapping_neg())), if z == i32::MIN { 2 } else { 1 << 16 }, "{z}");
        }
        assert_eq!(sigmoid(0), 1 << 15);
    }

    #[test]
    fn the_logarithm_agrees_with_f64() {
        for bit in 0..32_u32 {
            for step in 0..=1000_u32 {
                let x = (1_u32 << bit).wrapping_add(((1_u64 << bit) / 1000 * u64::from(step)) as u32).max(1);
                let exact = libm::log2(f64::from(x));
                assert!((f64::from(log2(x)) / f64::from(1 << 20) - exact).abs() <= 5e-5, "{x}");
            }
            assert_eq!(log2(1 << bit), (bit << 20).cast_signed());
        }
    }
}
