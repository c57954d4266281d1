//! Numeric features in fixed point.

use super::table::log2;
use crate::schema::{Kind, Transform};

/// Bits of a feature's largest magnitude in its own unit: the difference of two numbers then fits
/// an i32 with one bit to spare.
const MAGNITUDE_BITS: i32 = 29;
/// Larger numbers saturate here, which is beyond every range.
const LIMIT: u32 = (1 << 30) - 1;
/// Fraction bits of a logarithm.
const LOG_BITS: i8 = 20;
/// log2(e), in units of 2^-30.
const LOG2_E: i64 = 1_549_082_005;

/// A numeric feature in fixed point. It is computed from the feature's [`Kind`] with integer
/// operations only, so that trainer and device agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    low: i32,
    high: i32,
    /// The mean of the transformed number, in its unit.
    centre: i32,
    fraction_bits: i8,
    /// The transformed number is shifted right by this many bits (left if negative) to become a
    /// scale.
    shift: i8,
    logarithm: bool,
}

impl Number {
    /// The entry of a category, which is never read.
    pub(super) const NONE: Self = Self { low: 0, high: 0, centre: 0, fraction_bits: 0, shift: 0, logarithm: false };

    /// Returns a numeric feature in fixed point, where a scale of 1 has `fraction` bits; `None` for
    /// a category.
    #[must_use]
    pub fn new(kind: Kind, fraction: u8) -> Option<Self> {
        let Kind::Number { transform, low, high, centre, .. } = kind else { return None };
        let (low_bits, high_bits) = (low.to_bits() << 1, high.to_bits() << 1);
        let largest = if low_bits > high_bits { low_bits } else { high_bits };
        let exponent = (largest >> 24).cast_signed().wrapping_sub(126);
        let finest = match transform {
            Transform::Identity => i32::from(i8::MAX),
            // 1 + x has to fit too.
            Transform::Log1p => MAGNITUDE_BITS.wrapping_sub(1),
        };
        let fraction_bits = MAGNITUDE_BITS.wrapping_sub(exponent);
        #[allow(clippy::cast_possible_truncation)] // -99 to 127
        let fraction_bits = if fraction_bits < finest { fraction_bits } else { finest } as i8;
        let mut number = Self {
            low: fixed(low, fraction_bits),
            high: fixed(high, fraction_bits),
            centre: 0,
            fraction_bits,
            shift: 0,
            logarithm: transform == Transform::Log1p,
        };
        number.centre = match transform {
            Transform::Identity => fixed(centre, fraction_bits),
            #[allow(clippy::cast_possible_truncation)] // at most 2^30 times 1.45
            Transform::Log1p => (i64::from(fixed(centre, LOG_BITS)).wrapping_mul(LOG2_E) >> 30) as i32,
        };
        let reach = |x| number.transformed(x).wrapping_sub(number.centre).unsigned_abs();
        let (low, high) = (reach(number.low), reach(number.high));
        let widest = if low > high { low } else { high };
        let bits = 32_u32.wrapping_sub(widest.leading_zeros());
        #[allow(clippy::cast_possible_truncation)] // 0 to 32
        let bits = bits as i8;
        number.shift = if bits == 0 { 0 } else { bits.wrapping_sub(fraction.cast_signed()) };
        Some(number)
    }

    /// Returns the number of fraction bits of the feature's own unit: values in this unit need no
    /// shift. Negative if the unit is above 1.
    #[must_use]
    pub fn fraction_bits(&self) -> i8 {
        self.fraction_bits
    }

    /// Returns the binary exponent of one unit of the scale, as an amount of the number or, for
    /// [`Transform::Log1p`], of `log2(1 + x)`.
    #[must_use]
    pub fn scale_exponent(&self) -> i32 {
        let bits = if self.logarithm { LOG_BITS } else { self.fraction_bits };
        i32::from(self.shift).wrapping_sub(i32::from(bits))
    }

    /// Returns the largest magnitude of the scale over the training range.
    #[must_use]
    pub fn largest_scale(&self) -> u32 {
        let (low, high) = (self.scale(self.low).unsigned_abs(), self.scale(self.high).unsigned_abs());
        if low > high { low } else { high }
    }

    /// Clamps a number in the feature's unit to the training range.
    #[inline]
    pub(super) fn clamp(&self, x: i32) -> i32 {
        let x = if x > self.low { x } else { self.low };
        if x < self.high { x } else { self.high }
    }

    /// Returns the factor of the linear row for a number of the range, in the feature's unit.
    #[inline]
    pub(super) fn scale(&self, x: i32) -> i32 {
        let centred = self.transformed(x).wrapping_sub(self.centre);
        if self.shift > 0 {
            let half = 1_i32.wrapping_shl(u32::from(self.shift.unsigned_abs()).wrapping_sub(1));
            centred.wrapping_add(half).wrapping_shr(u32::from(self.shift.unsigned_abs()))
        } else {
            centred.wrapping_shl(u32::from(self.shift.unsigned_abs()))
        }
    }

    #[inline]
    fn transformed(&self, x: i32) -> i32 {
        if self.logarithm { self.log1p(x) } else { x }
    }

    #[inline(never)]
    fn log1p(&self, x: i32) -> i32 {
        let bits = i32::from(self.fraction_bits);
        // A unit above 1 cannot distinguish numbers below it from 0.
        let one = if bits < 0 { i32::from(x == 0) } else { 1_i32.wrapping_shl(bits.unsigned_abs()) };
        let bits = if bits < 0 && x == 0 { 0 } else { bits };
        let sum = x.wrapping_add(one);
        log2(if sum > 0 { sum.unsigned_abs() } else { 1 }).wrapping_sub(bits << LOG_BITS)
    }
}

/// Returns an f32 in units of `2^-fraction_bits`, without float operations, rounded half away from
/// 0. Larger numbers saturate at 2^30 units and infinities count as 2^128; both are beyond every
/// range.
#[inline]
#[must_use]
pub fn fixed(x: f32, fraction_bits: i8) -> i32 {
    let bits = x.to_bits();
    let (exponent, mantissa) = ((bits >> 23 & 0xff).cast_signed(), bits & 0x007f_ffff);
    let (exponent, mantissa) = if exponent == 0 { (1, mantissa) } else { (exponent, mantissa | 0x0080_0000) };
    let shift = exponent.wrapping_sub(150).wrapping_add(i32::from(fraction_bits));
    signed(shifted(mantissa, shift), bits >> 31 != 0)
}

/// Returns `raw / 2^from` in units of `2^-to`, rounded and saturated like [`fixed`].
#[inline]
pub(super) fn rescaled(raw: i32, from: i8, to: i8) -> i32 {
    let shift = i32::from(to).wrapping_sub(i32::from(from));
    signed(shifted(raw.unsigned_abs(), shift), raw < 0)
}

#[inline]
fn signed(magnitude: u32, negative: bool) -> i32 {
    let magnitude = magnitude.cast_signed();
    if negative { magnitude.wrapping_neg() } else { magnitude }
}

/// Returns `magnitude * 2^shift`, at most [`LIMIT`].
#[inline]
fn shifted(magnitude: u32, shift: i32) -> u32 {
    let places = shift.unsigned_abs();
    let moved = if shift < 0 {
        let half = if places > 32 { 0 } else { magnitude >> places.wrapping_sub(1) & 1 };
        (if places > 31 { 0 } else { magnitude >> places }).wrapping_add(half)
    } else if places > 30 || magnitude > LIMIT >> places {
        return if magnitude == 0 { 0 } else { LIMIT };
    } else {
        magnitude << places
    };
    if moved < LIMIT { moved } else { LIMIT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_agrees_with_f64() {
        for fraction_bits in [-99, -4, 0, 7, 24, 29, 127] {
            for x in
                [0.0, -0.0, 1.0, -1.5, 0.499_999_97, 0.5, 3.0e-39, 1e-30, 123.456, -9.9e8, 1e30, f32::MAX, f32::MIN]
            {
                let exact = libm::round(f64::from(x) * libm::exp2(f64::from(fraction_bits)));
                let held = exact.clamp(-f64::from(LIMIT), f64::from(LIMIT));
                assert_eq!(f64::from(fixed(x, fraction_bits)), held, "{x} {fraction_bits}");
            }
        }
        assert_eq!((fixed(f32::INFINITY, 0), fixed(f32::NEG_INFINITY, -99)), (LIMIT.cast_signed(), -(1 << 29)));
    }

    #[test]
    fn rescaled_agrees_with_f64() {
        for (from, to) in
            [(0, 0), (0, 24), (8, 24), (24, 8), (31, 0), (0, -5), (0, -31), (0, -32), (0, -127), (-128, 127)]
        {
            for raw in [0, 1, -1, 3, -3, 255, 4096, -40_000, i32::MAX, i32::MIN] {
                let exact = f64::from(raw) * libm::exp2(f64::from(to) - f64::from(from));
                let held = libm::round(exact).clamp(-f64::from(LIMIT), f64::from(LIMIT));
                assert_eq!(f64::from(rescaled(raw, from, to)), held, "{raw} {from} {to}");
            }
        }
    }

    fn number(transform: Transform, low: f32, high: f32, centre: f32) -> (Number, f64) {
        let number = Number::new(Kind::Number { transform, low, high, centre, bins: 0 }, 13);
        let number = number.unwrap_or(Number::NONE);
        let unit = libm::exp2(f64::from(number.scale_exponent()));
        (number, if transform == Transform::Log1p { unit * core::f64::consts::LN_2 } else { unit })
    }

    /// The scale is the centred number, to half a unit; a full range takes most of the bits.
    #[test]
    fn the_scale_follows_the_range() {
        for (transform, low, high, centre) in [
            (Transform::Identity, 17.0, 90.0, 38.6),
            (Transform::Identity, -40.5, 12.25, -3.0),
            (Transform::Identity, 0.0, 1.0e6, 1.0e4),
            (Transform::Identity, 1.6e9, 1.7e9, 1.65e9),
            (Transform::Identity, 1.0e-6, 2.0e-6, 1.5e-6),
            (Transform::Identity, f32::MIN, f32::MAX, 0.0),
            (Transform::Log1p, 0.0, 99_999.0, 0.75),
            (Transform::Log1p, -0.5, 8.0, 0.1),
            (Transform::Log1p, 0.0, 1.0e-3, 1.0e-4),
            (Transform::Log1p, 1.0, 1.0e9, 12.0),
        ] {
            let (number, unit) = number(transform, low, high, centre);
            let most = number.largest_scale();
            assert!((1 << 12..=1 << 13).contains(&most), "{low} {high}: {most}");
            for step in 0_u8..=200 {
                let x = low + (high - low) * (f32::from(step) / 200.0);
                let x = if x.is_finite() { x } else { 0.0 };
                let inside = number.clamp(fixed(x, number.fraction_bits()));
                let (x, centre) = (f64::from(x), f64::from(centre));
                let exact = if transform == Transform::Log1p { libm::log1p(x) } else { x } - centre;
                let own_unit = libm::exp2(-f64::from(number.fraction_bits()));
                let slack =
                    if transform == Transform::Log1p { 6e-5 + own_unit / (1.0 + x.abs()) } else { 2.0 * own_unit };
                assert!(
                    (f64::from(number.scale(inside)) * unit - exact).abs() <= 0.5 * unit + slack,
                    "{low} {high} {x}"
                );
            }
        }
    }

    #[test]
    fn a_range_of_one_number_has_no_scale() {
        let (number, _) = number(Transform::Identity, 3.0, 3.0, 3.0);
        assert_eq!((number.largest_scale(), number.scale(number.clamp(i32::MAX))), (0, 0));
    }
}
