//! Checks whether 32-bit floats, with which models compute, keep the numbers of a column distinct.

/// Accepted share of the distinct numbers of a column that become equal to a neighbour. It occurs
/// with measurements in more digits than matter.
const MOST_LOST: f64 = 0.1;

/// The effect of 32-bit floats on a column's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Merged {
    /// Number of distinct numbers.
    pub distinct: usize,
    /// Number of those that stay distinct.
    pub kept: usize,
    /// Two numbers that become equal.
    pub pair: [f64; 2],
}

/// Returns the loss if it is too large to ignore, as for seconds since 1970, long identifiers, or
/// dates written as numbers.
pub(crate) fn merged(numbers: impl Iterator<Item = f64>) -> Option<Merged> {
    let mut numbers: Vec<f64> = numbers.filter(|x| x.is_finite()).collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.dedup();
    let [mut lost, mut pair] = [0_usize; 2];
    for (index, two) in numbers.windows(2).enumerate() {
        if two[0] as f32 == two[1] as f32 {
            (lost, pair) = (lost + 1, index);
        }
    }
    let distinct = numbers.len();
    let is_much = lost as f64 > distinct as f64 * MOST_LOST;
    is_much.then(|| Merged { distinct, kept: distinct - lost, pair: [numbers[pair], numbers[pair + 1]] })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_floats_cannot_hold_apart_is_found_and_measurements_are_not() {
        let seconds = merged((0..351).map(|i| 1_700_000_000.0 + f64::from(i))).unwrap();
        assert_eq!((seconds.distinct, seconds.kept), (351, 4));
        assert_eq!(seconds.pair[0] as f32, seconds.pair[1] as f32);
        assert!(merged((1..32).map(|day| 20_230_100.0 + f64::from(day))).is_some());
        // More digits than a float has, but the loss does not matter.
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for scale in [1.0, 1e-20, 1e20] {
            assert_eq!(merged((0..5_000).map(|_| uniform() * scale)), None);
        }
        assert_eq!(merged((0..1_000).map(f64::from)), None);
        assert_eq!(merged([f64::NAN, f64::INFINITY].into_iter()), None);
        assert_eq!(merged([7.0, 7.0].into_iter()), None);
    }
}
