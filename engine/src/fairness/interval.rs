//! Confidence intervals of the measures.

use super::{Cell, Counts, Measure, ratio};

/// A confidence interval of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// Lower end.
    pub low: f32,
    /// Upper end.
    pub high: f32,
}

/// Two-sided 95 % quantile of the standard normal distribution.
pub const Z_95: f32 = 1.959_964;

/// Returns the 95 % interval of a measure between counts of group `u` and reference `r`: see
/// [`interval_at`].
#[must_use]
pub fn interval<N: Cell>(measure: Measure, u: &Counts<N>, r: &Counts<N>) -> Option<Interval> {
    interval_at(measure, u, r, Z_95)
}

/// Returns the interval of a measure between counts of group `u` and reference `r`, at the
/// two-sided quantile `z` of the standard normal distribution. Returns `None` for the burdens,
/// since [`Counts`] do not contain their spread, if a rate has no records, and for
/// [`Measure::Impact`] if nobody in the reference group was selected.
///
/// - SPD, EOpp: difference of proportions from Wilson's score intervals (Newcombe 1998, method 10).
/// - AOD: half the sum of two such differences by the same square-and-add rule (MOVER: Donner and
///   Zou 2012). The error rates are independent, since they come from rows with different labels.
/// - EOdds: the larger lower and the larger upper end of both magnitudes. The lower ends use a
///   quantile that is exceeded half as often, since either of two gaps may exclude 0 by chance.
/// - Impact: ratio of proportions from Wilson's intervals by MOVER-R (Donner and Zou 2012;
///   Fagerland and Newcombe 2013).
///
/// Simulated coverage: `cargo test -p feamoe-tests --test all -- intervals::`.
#[must_use]
pub fn interval_at<N: Cell>(measure: Measure, u: &Counts<N>, r: &Counts<N>, z: f32) -> Option<Interval> {
    let selected = |counts: &Counts<N>| Wilson::new(counts.decided(true), counts.rows(), z);
    let error = |label: bool, z: f32| {
        let rate = |counts: &Counts<N>| Wilson::new(counts.cell(label, true), counts.labelled(label), z);
        Some(Difference::new(rate(u)?, rate(r)?))
    };
    match measure {
        Measure::Spd => Some(Difference::new(selected(u)?, selected(r)?).interval()),
        Measure::Eopp => Some(error(true, z)?.interval()),
        Measure::Aod => {
            let (tpr, fpr) = (error(true, z)?, error(false, z)?);
            let centre = 0.5 * (tpr.gap + fpr.gap);
            Some(Interval {
                low: centre - 0.5 * hypotenuse(tpr.below, fpr.below),
                high: centre + 0.5 * hypotenuse(tpr.above, fpr.above),
            })
        }
        Measure::Eodds => {
            // P(|Z| > sqrt(z^2 + 2 ln 2)) <= P(|Z| > z) / 2: the tail falls faster than
            // exp(-z^2 / 2).
            let rarer = libm::sqrtf(z * z + 2.0 * core::f32::consts::LN_2);
            let high = error(true, z)?.magnitude().high.max(error(false, z)?.magnitude().high);
            let low = error(true, rarer)?.magnitude().low.max(error(false, rarer)?.magnitude().low);
            Some(Interval { low, high })
        }
        Measure::Impact => ratio_of(selected(u)?, selected(r)?),
        Measure::Burden | Measure::RecourseBurden => None,
    }
}

/// Returns the 95 % interval of a rate, `part` of `whole` records, by Wilson's score interval
/// (1927). Returns `None` if there are no records.
#[must_use]
pub fn rate_interval(part: u64, whole: u64) -> Option<Interval> {
    Wilson::new(part, whole, Z_95).map(|Wilson { low, high, .. }| Interval { low, high })
}

/// A proportion with Wilson's score interval.
#[derive(Clone, Copy)]
struct Wilson {
    rate: f32,
    low: f32,
    high: f32,
}

impl Wilson {
    /// `None` without records.
    #[allow(clippy::cast_precision_loss)]
    fn new(part: u64, whole: u64, z: f32) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        let (rate, n) = (ratio(part, whole), whole as f32);
        let z2 = z * z;
        let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = z * libm::sqrtf(rate * (1.0 - rate) / n + z2 / (4.0 * n * n)) / (1.0 + z2 / n);
        Some(Self { rate, low: centre - half, high: centre + half })
    }
}

/// A difference of two proportions, and how far its interval extends below and above.
#[derive(Clone, Copy)]
struct Difference {
    gap: f32,
    below: f32,
    above: f32,
}

impl Difference {
    fn new(u: Wilson, r: Wilson) -> Self {
        Self {
            gap: u.rate - r.rate,
            below: hypotenuse(u.rate - u.low, r.high - r.rate),
            above: hypotenuse(u.high - u.rate, r.rate - r.low),
        }
    }

    fn interval(self) -> Interval {
        Interval { low: self.gap - self.below, high: self.gap + self.above }
    }

    /// Returns the interval of the magnitude.
    fn magnitude(self) -> Interval {
        let Interval { low, high } = self.interval();
        Interval { low: low.max(-high).max(0.0), high: high.max(-low) }
    }
}

/// Returns the interval of `u / r`; `None` if `r` is 0.
///
/// The published closed form, rearranged so that nearly equal numbers are not subtracted: `l (2 p -
/// l) = p^2 - (p - l)^2`.
fn ratio_of(u: Wilson, r: Wilson) -> Option<Interval> {
    if r.rate <= 0.0 {
        return None;
    }
    let product = u.rate * r.rate;
    let root = |a: f32, b: f32| libm::sqrtf((a * a * r.rate * r.rate + b * b * (u.rate * u.rate - a * a)).max(0.0));
    let (a, b) = (u.rate - u.low, r.high - r.rate);
    let low = (u.rate - a) * (u.rate + a) / (product + root(a, b));
    let (a, b) = (u.high - u.rate, r.rate - r.low);
    let below = (r.rate - b) * (r.rate + b);
    let high = if below > 0.0 { (product + root(a, b)) / below } else { f32::INFINITY };
    // Nobody in the group was selected; 0 / 0 counts as 0.
    Some(Interval { low: if low > 0.0 { low } else { 0.0 }, high })
}

fn hypotenuse(a: f32, b: f32) -> f32 {
    libm::sqrtf(a * a + b * b)
}

#[cfg(test)]
mod tests {
    use super::super::tests::counts;
    use super::*;

    /// Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method
    /// 3.
    #[test]
    fn the_interval_of_a_rate_is_wilsons() {
        for (part, whole, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = rate_interval(part, whole);
            let fits = |found: Interval| (found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5;
            assert!(found.is_some_and(fits), "{part} of {whole}: {found:?}");
        }
        assert_eq!(rate_interval(0, 0), None);
    }

    /// Newcombe (1998), table II, method 10: every example of the paper, those with empty cells
    /// included.
    #[test]
    fn the_interval_is_newcombes() {
        for (part_u, whole_u, part_r, whole_r, low, high) in [
            (56, 70, 48, 80, 0.0524, 0.3339),
            (9, 10, 3, 10, 0.1705, 0.8090),
            (6, 7, 2, 7, 0.0582, 0.8062),
            (5, 56, 0, 29, -0.0381, 0.1926),
            (0, 10, 0, 20, -0.1611, 0.2775),
            (0, 10, 0, 10, -0.2775, 0.2775),
            (10, 10, 0, 20, 0.6791, 1.0),
            (10, 10, 0, 10, 0.6075, 1.0),
        ] {
            let (u, r) = (counts(part_u, 0, whole_u - part_u, 0), counts(part_r, 0, whole_r - part_r, 0));
            let Some(found) = interval(Measure::Spd, &u, &r) else { unreachable!("both groups have records") };
            assert!((found.low - low).abs() < 6e-5 && (found.high - high).abs() < 6e-5, "{low} {high}: {found:?}");
        }
    }

    /// With equal gaps of both error rates, their half sum is the gap, and its interval is narrower
    /// by the square root of 2.
    #[test]
    fn the_interval_of_aod_takes_the_rates_as_independent() {
        let (u, r) = (counts(56, 56, 14, 14), counts(48, 48, 32, 32));
        let Some(found) = interval(Measure::Aod, &u, &r) else { unreachable!("both labels are there") };
        let half = core::f32::consts::FRAC_1_SQRT_2;
        assert!((found.low - (0.2 - half * (0.2 - 0.0524))).abs() < 1e-4, "{found:?}");
        assert!((found.high - (0.2 + half * (0.3339 - 0.2))).abs() < 1e-4, "{found:?}");
    }

    /// MOVER-R against values by the published formula, in f64.
    #[test]
    fn the_interval_of_impact_is_mover_r() {
        let wilson = |part: f64, n: f64| {
            let z2 = 1.959_963_985_f64.powi(2);
            let (p, d) = (part / n, 1.0 + z2 / n);
            let half = (z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))).sqrt() / d;
            [p, (p + z2 / (2.0 * n)) / d - half, (p + z2 / (2.0 * n)) / d + half]
        };
        for (part_u, whole_u, part_r, whole_r) in
            [(56, 70, 48, 80), (9, 10, 3, 10), (10, 40, 20, 40), (1, 1000, 3, 900), (40, 40, 20, 40), (0, 50, 5, 50)]
        {
            let (u, r) = (counts(part_u, 0, whole_u - part_u, 0), counts(part_r, 0, whole_r - part_r, 0));
            let [p1, l1, u1] = wilson(f64::from(part_u), f64::from(whole_u));
            let [p2, l2, u2] = wilson(f64::from(part_r), f64::from(whole_r));
            let squared = (p1 * p2) * (p1 * p2);
            let root = |a: f64, b: f64| (squared - a * b * (2.0 * p1 - a) * (2.0 * p2 - b)).max(0.0).sqrt();
            let low = (p1 * p2 - root(l1, u2)) / (u2 * (2.0 * p2 - u2));
            let high = (p1 * p2 + root(u1, l2)) / (l2 * (2.0 * p2 - l2));
            let Some(found) = interval(Measure::Impact, &u, &r) else { unreachable!("the reference has selected") };
            let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 2e-5 * expected.max(1.0);
            assert!(near(found.low, low.max(0.0)) && near(found.high, high), "{low} {high}: {found:?}");
        }
        assert_eq!(interval(Measure::Impact, &counts(5, 0, 5, 0), &counts(0, 0, 5, 5)), None);
    }

    #[test]
    fn the_interval_of_equalised_odds_is_that_of_the_larger_gap() {
        let (u, r) = (counts(56, 50, 50, 14), counts(48, 50, 50, 32));
        let ends = |measure| interval(measure, &u, &r).map(|found| (found.low, found.high));
        let (Some(eodds), Some(eopp)) = (ends(Measure::Eodds), ends(Measure::Eopp)) else {
            unreachable!("both labels are there")
        };
        assert_eq!(eodds.1, eopp.1, "the false positive rates are equal");
        assert!(0.0 < eodds.0 && eodds.0 < eopp.0, "{eodds:?} {eopp:?}");
        let Some(equal) = interval(Measure::Eodds, &r, &r) else { unreachable!("both labels are there") };
        assert!(equal.low == 0.0 && equal.high > 0.1, "{equal:?}");
    }
}
