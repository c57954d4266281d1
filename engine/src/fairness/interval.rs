//! Confidence intervals of the measures.

use super::{Cell, Counts, Measure, ratio};

/// A 95 % confidence interval of a signed gap.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// Lower end.
    pub low: f32,
    /// Upper end.
    pub high: f32,
}

/// Two-sided 95 % quantile of the standard normal distribution.
const Z_95: f32 = 1.959_964;

/// Returns the 95 % interval of a gap between counts of group `u` and reference `r`; `None` for the
/// measures without one (equalised odds folds signs, burdens are no proportions) and where a rate
/// has no records.
///
/// Differences of proportions: Newcombe (1998), method 10, from Wilson's score intervals. Their
/// half sum (AOD): the same square-and-add rule (MOVER: Donner and Zou 2012), the two error rates
/// being independent as they come from different labels.
#[must_use]
pub fn interval<N: Cell>(measure: Measure, u: &Counts<N>, r: &Counts<N>) -> Option<Interval> {
    let rate = |counts: &Counts<N>, label: bool| Wilson::new(counts.cell(label, true), counts.labelled(label));
    match measure {
        Measure::Spd => {
            let positive = |counts: &Counts<N>| Wilson::new(counts.decided(true), counts.rows());
            Some(difference(positive(u)?, positive(r)?))
        }
        Measure::Eopp => Some(difference(rate(u, true)?, rate(r, true)?)),
        Measure::Aod => {
            let tpr = (rate(u, true)?, rate(r, true)?);
            let fpr = (rate(u, false)?, rate(r, false)?);
            let centre = 0.5 * ((tpr.0.rate - tpr.1.rate) + (fpr.0.rate - fpr.1.rate));
            let (a, b) = (difference(tpr.0, tpr.1), difference(fpr.0, fpr.1));
            let below = hypotenuse(tpr.0.rate - tpr.1.rate - a.low, fpr.0.rate - fpr.1.rate - b.low);
            let above = hypotenuse(a.high - tpr.0.rate + tpr.1.rate, b.high - fpr.0.rate + fpr.1.rate);
            Some(Interval { low: centre - 0.5 * below, high: centre + 0.5 * above })
        }
        Measure::Eodds | Measure::Burden | Measure::RecourseBurden => None,
    }
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
    fn new(part: u64, whole: u64) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        let (rate, n) = (ratio(part, whole), whole as f32);
        let z2 = Z_95 * Z_95;
        let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z_95 * libm::sqrtf(rate * (1.0 - rate) / n + z2 / (4.0 * n * n)) / (1.0 + z2 / n);
        Some(Self { rate, low: centre - half, high: centre + half })
    }
}

fn difference(u: Wilson, r: Wilson) -> Interval {
    let gap = u.rate - r.rate;
    Interval {
        low: gap - hypotenuse(u.rate - u.low, r.high - r.rate),
        high: gap + hypotenuse(u.high - u.rate, r.rate - r.low),
    }
}

fn hypotenuse(a: f32, b: f32) -> f32 {
    libm::sqrtf(a * a + b * b)
}

#[cfg(test)]
mod tests {
    use super::super::tests::counts;
    use super::*;

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

    /// Equal gaps of both error rates: their half sum is the gap, its interval narrower by the root
    /// of 2.
    #[test]
    fn the_interval_of_aod_takes_the_rates_as_independent() {
        let (u, r) = (counts(56, 56, 14, 14), counts(48, 48, 32, 32));
        let Some(found) = interval(Measure::Aod, &u, &r) else { unreachable!("both labels are there") };
        let half = core::f32::consts::FRAC_1_SQRT_2;
        assert!((found.low - (0.2 - half * (0.2 - 0.0524))).abs() < 1e-4, "{found:?}");
        assert!((found.high - (0.2 + half * (0.3339 - 0.2))).abs() < 1e-4, "{found:?}");
    }
}
