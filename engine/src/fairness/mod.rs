//! Group fairness: counts per group, and the measures defined on them.
//!
//! The learner's controllers, the evaluator and a device that monitors itself share these
//! definitions. Decisions are hard (`p >= threshold`); `u` is an unprivileged group and `r` is the
//! privileged reference group.
//!
//! | measure | definition |
//! | --- | --- |
//! | [`Measure::Spd`] | `P(yhat=1 given u) - P(yhat=1 given r)` |
//! | [`Measure::Aod`] | `((TPR_u - TPR_r) + (FPR_u - FPR_r)) / 2` |
//! | [`Measure::Eodds`] | `max(abs(TPR_u - TPR_r), abs(FPR_u - FPR_r))`, which does not cancel |
//! | [`Measure::Eopp`] | `TPR_u - TPR_r` |
//! | [`Measure::Burden`] | `B_u - B_r`, `B` = mean of `threshold - p` if `yhat=0` |
//! | [`Measure::RecourseBurden`] | the same, `B` = mean distance if `yhat=0`: [`Distances`] |
//! | [`Measure::Impact`] | `P(yhat=1 given u) / P(yhat=1 given r)`: the four-fifths rule |
//!
//! All but the last are gaps, which are 0 if both groups are treated alike; impact is a ratio,
//! which is then 1. A rate without records is NaN, and so is every measure that needs it.
//!
//! ```
//! use feamoe_engine::fairness::{Counts, Measure};
//! let (mut women, mut men) = (Counts::new(), Counts::new());
//! women.observe(true, 0.25, 0.5); // label, probability, threshold
//! women.observe(true, 0.75, 0.5);
//! men.observe(true, 0.9, 0.5);
//! assert_eq!(Measure::Spd.gap(&women.rates(), &men.rates()), -0.5);
//! ```

mod interval;

use serde::{Deserialize, Serialize};

pub use interval::{Interval, Z_95, interval, interval_at, rate_interval};

/// A group fairness measure: compares a group with the reference group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Measure {
    /// Statistical parity difference.
    Spd,
    /// Average odds difference.
    Aod,
    /// Equalised odds: the larger gap of the two error rates, in [0, 1].
    Eodds,
    /// Equal opportunity difference.
    Eopp,
    /// Probability burden gap.
    Burden,
    /// Recourse burden gap, in standard deviations: see [`crate::recourse`].
    RecourseBurden,
    /// Disparate impact: the ratio of the selection rates, at least 0.
    Impact,
}

impl Measure {
    /// All measures, in the order of the reports.
    pub const ALL: [Self; 7] =
        [Self::Spd, Self::Aod, Self::Eodds, Self::Eopp, Self::Burden, Self::RecourseBurden, Self::Impact];

    /// The name used in flags and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spd => "spd",
            Self::Aod => "aod",
            Self::Eodds => "eodds",
            Self::Eopp => "eopp",
            Self::Burden => "burden",
            Self::RecourseBurden => "recourse_burden",
            Self::Impact => "impact",
        }
    }

    /// Returns whether the measure compares error rates, which need records whose outcome is known.
    #[must_use]
    pub const fn needs_labels(self) -> bool {
        matches!(self, Self::Aod | Self::Eodds | Self::Eopp)
    }

    /// Returns the largest limit that is accepted: rates and scores differ by at most 1, distances
    /// by more.
    #[must_use]
    pub const fn largest(self) -> f32 {
        match self {
            Self::RecourseBurden => 100.0,
            _ => 1.0,
        }
    }

    /// Returns the value of group `u` against the reference `r`: a signed gap, for
    /// [`Measure::Eodds`] a magnitude, for [`Measure::Impact`] a ratio. NaN if a rate is NaN, and
    /// for impact if nobody of either group was selected.
    #[must_use]
    pub fn gap(self, u: &Rates, r: &Rates) -> f32 {
        let tpr = u.true_positive - r.true_positive;
        let fpr = u.false_positive - r.false_positive;
        match self {
            Self::Spd => u.positive - r.positive,
            Self::Aod => 0.5 * (tpr + fpr),
            // Not `f32::max`, which ignores a NaN.
            Self::Eodds if tpr.abs() > fpr.abs() => tpr.abs(),
            Self::Eodds => fpr.abs() + 0.0 * tpr,
            Self::Eopp => tpr,
            Self::Burden => u.burden - r.burden,
            Self::RecourseBurden => u.recourse_burden - r.recourse_burden,
            Self::Impact => u.positive / r.positive,
        }
    }

    /// Returns the inequality that a value stands for, 0 if the groups are treated alike: the
    /// magnitude of a gap; for a ratio, `1 - min(x, 1 / x)`, the relative shortfall of the smaller
    /// selection rate.
    #[must_use]
    pub fn magnitude(self, value: f32) -> f32 {
        match self {
            Self::Impact if value > 1.0 => 1.0 - 1.0 / value,
            Self::Impact => 1.0 - value,
            _ => value.abs(),
        }
    }

    /// Returns the largest [`Measure::magnitude`] within a limit. For a gap this is the limit
    /// itself; the limit of [`Measure::Impact`] is the smallest ratio allowed, such as 0.8.
    #[must_use]
    pub fn allowance(self, limit: f32) -> f32 {
        match self {
            Self::Impact => 1.0 - limit,
            _ => limit,
        }
    }
}

/// The decision rates of one group; a rate without records is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// `P(yhat=1)`.
    pub positive: f32,
    /// True positive rate, `P(yhat=1 given y=1)`.
    pub true_positive: f32,
    /// False positive rate, `P(yhat=1 given y=0)`.
    pub false_positive: f32,
    /// Mean of `threshold - p` over the records with `yhat=0`, in [0, 1].
    pub burden: f32,
    /// Mean distance of the declined records with a recourse, in standard deviations. [`Counts`] do
    /// not contain it, so it is NaN unless it is set to [`Distances::mean`].
    pub recourse_burden: f32,
}

impl Rates {
    /// Returns the rates of a group: from all `decisions` if no label is needed, otherwise from the
    /// records with a known outcome (`labelled`).
    #[must_use]
    pub fn new<N: Cell>(decisions: &Counts<N>, labelled: &Counts<N>, distances: &Distances) -> Self {
        let Self { positive, burden, .. } = decisions.rates();
        Self { positive, burden, recourse_burden: distances.mean(), ..labelled.rates() }
    }
}

/// Burdens and scores are summed in units of 2^-24, the resolution of an f32 in [0.5, 1].
const UNIT_BITS: u32 = 24;
/// One over that unit.
const UNITS: f32 = (1_u32 << UNIT_BITS) as f32;

/// Converts a probability, or a non-negative difference of two, to units of 2^-24; the result is at
/// most 2^24.
pub(crate) fn units(share: f32) -> u64 {
    // A cast from float to integer saturates and maps NaN to 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    u64::from((share * UNITS) as u32)
}

/// Returns the mean of `summands` values from their sum in [`units`]; NaN if there are none.
pub(crate) fn mean(units: u64, summands: u64) -> f32 {
    ratio(units, summands) / UNITS
}

/// Returns whether a sum in [`units`] is possible for this number of summands.
pub(crate) fn can_be_sum(units: u64, summands: u64) -> bool {
    units <= summands.saturating_mul(1 << UNIT_BITS)
}

/// The integer type of a cell count: 32 bits on a device, 64 bits for longer streams.
pub trait Cell: Copy + Ord + Into<u64> + sealed::Sealed {
    /// The largest count.
    const MAX: Self;

    /// Returns the sum, at most [`Cell::MAX`].
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

impl Cell for u32 {
    const MAX: Self = Self::MAX;

    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl Cell for u64 {
    const MAX: Self = Self::MAX;

    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

mod sealed {
    /// Implemented only by the two integer types.
    pub trait Sealed: From<bool> {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// Counts of the decisions on one group. Takes 24 bytes. A cell saturates at `u32::MAX` records, in
/// [`WideCounts`] at `u64::MAX`.
///
/// The burden is summed as an integer in units of 2^-24: the sum is exact, needs no f64 on a device
/// and does not depend on the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts<N = u32> {
    true_positive: N,
    false_positive: N,
    true_negative: N,
    false_negative: N,
    burden: u64,
}

impl Counts {
    /// Returns empty counts. This is `const`, so that counts can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { true_positive: 0, false_positive: 0, true_negative: 0, false_negative: 0, burden: 0 }
    }
}

impl<N: Cell> Counts<N> {
    /// Counts a record with its label, score and threshold.
    pub fn observe(&mut self, label: bool, probability: f32, threshold: f32) {
        let decision = probability >= threshold;
        let cell = match (label, decision) {
            (true, true) => &mut self.true_positive,
            (false, true) => &mut self.false_positive,
            (false, false) => &mut self.true_negative,
            (true, false) => &mut self.false_negative,
        };
        *cell = cell.plus(N::from(true));
        if !decision {
            self.burden = self.burden.saturating_add(units(threshold - probability));
        }
    }

    /// Adds the counts of other records of the same group.
    pub fn merge(&mut self, other: &Self) {
        self.true_positive = self.true_positive.plus(other.true_positive);
        self.false_positive = self.false_positive.plus(other.false_positive);
        self.true_negative = self.true_negative.plus(other.true_negative);
        self.false_negative = self.false_negative.plus(other.false_negative);
        self.burden = self.burden.saturating_add(other.burden);
    }

    /// Returns the number of records.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.labelled(true).saturating_add(self.labelled(false))
    }

    /// Returns the number of records with this label.
    #[must_use]
    pub fn labelled(&self, label: bool) -> u64 {
        if label {
            self.cell(true, true).saturating_add(self.cell(true, false))
        } else {
            self.cell(false, true).saturating_add(self.cell(false, false))
        }
    }

    /// Returns the number of records with this label and decision.
    #[must_use]
    pub fn cell(&self, label: bool, decision: bool) -> u64 {
        match (label, decision) {
            (true, true) => self.true_positive.into(),
            (false, true) => self.false_positive.into(),
            (false, false) => self.true_negative.into(),
            (true, false) => self.false_negative.into(),
        }
    }

    /// Returns the number of records with this decision.
    #[must_use]
    pub fn decided(&self, decision: bool) -> u64 {
        self.cell(true, decision).saturating_add(self.cell(false, decision))
    }

    /// Returns the share of correct decisions; NaN without records.
    #[must_use]
    pub fn accuracy(&self) -> f32 {
        ratio(self.cell(true, true).saturating_add(self.cell(false, false)), self.rows())
    }

    /// Returns the share of correct decisions among the favourable ones; NaN if there are none.
    #[must_use]
    pub fn precision(&self) -> f32 {
        ratio(self.cell(true, true), self.decided(true))
    }

    /// Returns the mean of the true positive and the true negative rate; NaN if one label is
    /// missing.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f32 {
        let tpr = ratio(self.cell(true, true), self.labelled(true));
        let tnr = ratio(self.cell(false, false), self.labelled(false));
        0.5 * (tpr + tnr)
    }

    /// Returns the rates that the measures compare.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates {
            positive: ratio(self.decided(true), self.rows()),
            true_positive: ratio(self.cell(true, true), self.labelled(true)),
            false_positive: ratio(self.cell(false, true), self.labelled(false)),
            burden: mean(self.burden, self.decided(false)),
            recourse_burden: f32::NAN,
        }
    }

    /// Returns whether a cell is saturated, so that rates would be wrong from then on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        [self.true_positive, self.false_positive, self.true_negative, self.false_negative].contains(&N::MAX)
    }

    /// Returns whether these counts are consistent.
    pub(crate) fn is_sound(&self) -> bool {
        can_be_sum(self.burden, self.decided(false))
    }
}

/// [`Counts`] of any number of records.
pub type WideCounts = Counts<u64>;

impl From<Counts> for WideCounts {
    fn from(counts: Counts) -> Self {
        Self {
            true_positive: counts.true_positive.into(),
            false_positive: counts.false_positive.into(),
            true_negative: counts.true_negative.into(),
            false_negative: counts.false_negative.into(),
            burden: counts.burden,
        }
    }
}

/// Bits of the unit in which distances are summed, 2^-16.
const DISTANCE_UNIT_BITS: u32 = 16;
/// One over that unit.
const DISTANCE_UNITS: f32 = (1_u32 << DISTANCE_UNIT_BITS) as f32;

/// The distances of the declined records of one group from a favourable decision (see
/// [`crate::recourse`]). Takes 16 bytes. Separate from [`Counts`], since a device that counts its
/// decisions seldom has the time to search for recourse.
///
/// Distances are summed as integers in units of 2^-16, so the sum does not depend on the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distances {
    sum: u64,
    found: u32,
    none: u32,
}

impl Distances {
    /// Returns empty distances. This is `const`, so that they can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, found: 0, none: 0 }
    }

    /// Adds the distance of a declined record, `None` if no recourse was found.
    pub fn observe(&mut self, distance: Option<f32>) {
        let Some(distance) = distance else {
            self.none = self.none.saturating_add(1);
            return;
        };
        self.found = self.found.saturating_add(1);
        // A cast from float to integer saturates and maps NaN to 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let units = (distance * DISTANCE_UNITS + 0.5) as u64;
        self.sum = self.sum.saturating_add(units);
    }

    /// Adds the distances of other records of the same group.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.found = self.found.saturating_add(other.found);
        self.none = self.none.saturating_add(other.none);
    }

    /// Returns whether a number of records is saturated.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.found == u32::MAX || self.none == u32::MAX
    }

    /// Returns whether the sum is possible for distances of at most `largest`.
    pub(crate) fn is_sound(&self, largest: u16) -> bool {
        self.sum <= self.found().saturating_mul(u64::from(largest)).saturating_mul(1 << DISTANCE_UNIT_BITS)
    }

    /// Returns the number of records with a recourse.
    #[must_use]
    pub fn found(&self) -> u64 {
        u64::from(self.found)
    }

    /// Returns the number of records for which no recourse was found.
    #[must_use]
    pub fn without(&self) -> u64 {
        u64::from(self.none)
    }

    /// Returns the mean distance of the records with a recourse, the recourse burden; NaN without
    /// one.
    #[must_use]
    pub fn mean(&self) -> f32 {
        ratio(self.sum, self.found()) / DISTANCE_UNITS
    }
}

/// Returns `part / whole`, NaN if `whole` is 0.
#[allow(clippy::cast_precision_loss)] // a rate needs no more than the 24 bits of an f32
fn ratio(part: u64, whole: u64) -> f32 {
    if whole == 0 { f32::NAN } else { part as f32 / whole as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: f32 = 0.5;

    pub(super) fn counts(tp: u32, fp: u32, tn: u32, fn_: u32) -> Counts {
        let mut counts = Counts::new();
        for (n, label, p) in [(tp, true, 0.9), (fp, false, 0.6), (tn, false, 0.25), (fn_, true, 0.4)] {
            for _ in 0..n {
                counts.observe(label, p, THRESHOLD);
            }
        }
        counts
    }

    /// With more than 2^32 records in a cell, the rates of wide counts are still correct.
    #[test]
    fn wide_counts_continue_where_a_device_s_are_full() {
        let full = Counts { true_positive: u32::MAX, false_negative: u32::MAX, ..Counts::new() };
        let mut wide = WideCounts::from(full);
        assert!(full.is_full() && !wide.is_full());
        for _ in 0..3 {
            wide.merge(&wide.clone());
        }
        let mut more = WideCounts::default();
        more.observe(true, 0.75, 0.5);
        wide.merge(&more);
        assert_eq!(wide.cell(true, true), 8 * u64::from(u32::MAX) + 1);
        assert_eq!((wide.rows(), wide.rates().true_positive), (16 * u64::from(u32::MAX) + 1, 0.5));
    }

    #[test]
    fn measures_follow_their_definitions() {
        let u = counts(3, 1, 5, 1); // TPR 3/4, FPR 1/6, positive 4/10
        let r = counts(1, 2, 2, 3); // TPR 1/4, FPR 1/2, positive 3/8
        let gap = |m: Measure| m.gap(&u.rates(), &r.rates());
        assert!((gap(Measure::Spd) - (0.4 - 0.375)).abs() < 1e-6);
        assert!((gap(Measure::Eopp) - 0.5).abs() < 1e-6);
        assert!((gap(Measure::Aod) - 0.5 * (0.5 + 1.0 / 6.0 - 0.5)).abs() < 1e-6);
        assert!((gap(Measure::Eodds) - 0.5).abs() < 1e-6);
        assert_eq!(Measure::Eodds.gap(&r.rates(), &u.rates()), gap(Measure::Eodds));
        let burden_u = (5.0 * 0.25 + 0.1) / 6.0;
        let burden_r = (2.0 * 0.25 + 3.0 * 0.1) / 5.0;
        assert!((gap(Measure::Burden) - (burden_u - burden_r)).abs() < 1e-6);
        assert!((gap(Measure::Impact) - 0.4 / 0.375).abs() < 1e-6);
        assert!((u.accuracy() - 0.8).abs() < 1e-6);
        assert!((u.precision() - 0.75).abs() < 1e-6);
        assert!((u.balanced_accuracy() - 0.5 * (0.75 + 5.0 / 6.0)).abs() < 1e-6);
    }

    #[test]
    fn a_rate_without_records_is_nan() {
        let empty = Counts::new();
        assert!(empty.rates().positive.is_nan() && empty.accuracy().is_nan());
        for (measure, one_label) in
            Measure::ALL.into_iter().flat_map(|m| [(m, counts(1, 0, 0, 1)), (m, counts(0, 1, 1, 0))])
        {
            assert!(measure.gap(&empty.rates(), &counts(1, 1, 1, 1).rates()).is_nan(), "{measure:?}");
            let needs_labels = matches!(measure, Measure::Aod | Measure::Eodds);
            let is_nan = measure.gap(&one_label.rates(), &counts(1, 1, 1, 1).rates()).is_nan();
            assert!(is_nan || !needs_labels, "{measure:?}");
        }
        assert_eq!(interval(Measure::Spd, &empty, &counts(1, 1, 1, 1)), None);
    }

    /// A group that is selected half as often is as far from equal as one selected twice as often.
    #[test]
    fn magnitudes_are_compared_with_what_a_limit_allows() {
        for value in [0.5, 2.0] {
            assert_eq!(Measure::Impact.magnitude(value), 0.5);
        }
        assert_eq!(Measure::Impact.magnitude(f32::INFINITY), 1.0);
        assert!(Measure::Impact.magnitude(f32::NAN).is_nan());
        assert!(Measure::Impact.magnitude(0.75) > Measure::Impact.allowance(0.8));
        assert_eq!((Measure::Spd.magnitude(-0.5), Measure::Spd.allowance(0.5)), (0.5, 0.5));
    }

    #[test]
    fn counting_saturates() {
        let mut full = Counts { true_positive: u32::MAX, burden: u64::MAX, ..Counts::new() };
        full.observe(true, 0.9, THRESHOLD);
        full.observe(false, 0.0, THRESHOLD);
        full.merge(&full.clone());
        assert_eq!((full.cell(true, true), full.rows()), (u64::from(u32::MAX), u64::from(u32::MAX) + 2));
    }

    /// The integer sum is the sum of the burdens truncated to 2^-24, in any order.
    #[test]
    fn burden_is_exact_to_its_unit() {
        let mut counts = Counts::new();
        let scores = [0.0_f32, 0.1, 0.2, 0.3, 0.499_999_97, 0.5, 1.0];
        for _ in 0..1000 {
            scores.iter().for_each(|p| counts.observe(false, *p, THRESHOLD));
        }
        let expected = scores.iter().take(5).map(|p| 0.5 - f64::from(*p)).sum::<f64>() / 5.0;
        assert!((f64::from(counts.rates().burden) - expected).abs() < 6e-8);
        // Neither NaN nor a score above the threshold can make the sum wrap.
        counts.observe(false, f32::NAN, THRESHOLD);
        assert!(counts.rates().burden > 0.0);
    }

    #[test]
    fn distances_are_averaged_over_the_records_with_a_recourse() {
        let mut distances = Distances::new();
        assert!(distances.mean().is_nan());
        for distance in [Some(0.5), None, Some(2.0), Some(0.25), None] {
            distances.observe(distance);
        }
        assert_eq!((distances.found(), distances.without()), (3, 2));
        assert!((distances.mean() - 2.75 / 3.0).abs() < 1e-5);
        let rates = |burden| Rates { recourse_burden: burden, ..counts(1, 1, 1, 1).rates() };
        assert_eq!(Measure::RecourseBurden.gap(&rates(2.5), &rates(1.0)), 1.5);
        assert!(Measure::RecourseBurden.gap(&counts(1, 1, 1, 1).rates(), &rates(1.0)).is_nan());
        distances.observe(Some(f32::INFINITY));
        distances.observe(Some(f32::INFINITY));
        assert_eq!(distances.found(), 5);
    }

    #[test]
    fn merging_equals_counting_once() {
        let mut a = counts(1, 2, 3, 4);
        a.merge(&counts(5, 6, 7, 8));
        assert_eq!(a, counts(6, 8, 10, 12));
    }
}
