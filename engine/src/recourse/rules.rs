//! Rules of what a person can change, and how: one for each feature, given by the caller.

use core::fmt;

use crate::schema::clamp;

/// The direction in which a feature may change.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Any direction.
    #[default]
    Any,
    /// A number may only increase; a category may change.
    Increase,
    /// A number may only decrease; a category may change.
    Decrease,
    /// The feature must not change.
    Fixed,
}

/// The allowed changes of one feature. For a category, only `cost` and whether it is fixed are
/// used.
///
/// A number outside its range or off its steps may stay unchanged; if it changes, its new value is
/// within the range and on a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The direction of change.
    pub direction: Direction,
    /// Lowest number that may be proposed, but not below the training range.
    pub low: f32,
    /// Highest number that may be proposed, but not above the training range.
    pub high: f32,
    /// Proposed numbers are multiples of this step: whole numbers with 1, hundreds with 100, any
    /// number with 0. They are multiples and not steps from the record's number, since a record
    /// keeps its number only transformed and rounded, and since round numbers are what people would
    /// name.
    pub step: f32,
    /// Factor of the feature's part of the distance, from [`Rule::LEAST_COST`] to
    /// [`Rule::MOST_COST`].
    pub cost: f32,
}

impl Rule {
    /// Any change within the training range, at cost 1.
    pub const FREE: Self =
        Self { direction: Direction::Any, low: f32::NEG_INFINITY, high: f32::INFINITY, step: 0.0, cost: 1.0 };
    /// No change.
    pub const FIXED: Self = Self { direction: Direction::Fixed, ..Self::FREE };

    /// Lowest cost; squared distances must not underflow in f32.
    pub const LEAST_COST: f32 = 1e-3;
    /// Highest cost; squared distances must not overflow.
    pub const MOST_COST: f32 = 1e3;

    /// Returns why the rule is invalid, if it is.
    const fn fault(&self) -> Option<RuleErrorKind> {
        if self.low.is_nan() || self.high.is_nan() || self.low > self.high {
            Some(RuleErrorKind::EmptyRange)
        } else if !(self.step == 0.0 || self.step >= f32::MIN_POSITIVE && self.step.is_finite()) {
            Some(RuleErrorKind::InvalidStep)
        } else if !(self.cost >= Self::LEAST_COST && self.cost <= Self::MOST_COST) {
            Some(RuleErrorKind::InvalidCost)
        } else {
            None
        }
    }

    /// Returns the ends of the numbers that may be proposed within a range (the first above the
    /// second if there are none), and the steps.
    pub(super) fn within(&self, low: f32, high: f32) -> ([f32; 2], Steps) {
        let (low, high) = (clamp(low, self.low, f32::INFINITY), clamp(high, f32::NEG_INFINITY, self.high));
        let steps = Steps::new(self.step, low, high);
        (steps.ends(low, high), steps)
    }
}

/// Multiples of a step in decimal: the f32 nearest to `n * step`, where *step* is the decimal that
/// a person wrote (0.01, not 0.00999999977), so that 2,138,913 steps of 0.01 are 21389.13 and not
/// 21389.129.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Steps {
    /// The step; 0 for any number.
    step: f32,
    /// The step as a fraction, `numerator / power_of_ten`; 0 if it is not a short decimal.
    numerator: f32,
    power_of_ten: f32,
}

/// Integers below this are exact in f32.
const EXACT: f32 = 16_777_216.0;
/// The largest number of decimal places of a step. 10^10 is exact in f32.
const PLACES: u32 = 10;

impl Steps {
    pub const NONE: Self = Self { step: 0.0, numerator: 0.0, power_of_ten: 1.0 };

    /// Creates the steps for a range. A step too small for f32 at the larger end of the range
    /// counts as any number.
    pub fn new(step: f32, low: f32, high: f32) -> Self {
        let (low, high) = (low.abs(), high.abs());
        let largest = if low > high { low } else { high };
        if step < f32::EPSILON * largest {
            return Self::NONE;
        }
        let mut power_of_ten = 1.0_f32;
        for _ in 0..=PLACES {
            let numerator = libm::roundf(step * power_of_ten);
            if (1.0..EXACT).contains(&numerator) && numerator / power_of_ten == step {
                return Self { step, numerator, power_of_ten };
            }
            power_of_ten *= 10.0;
        }
        Self { step, numerator: 0.0, power_of_ten: 1.0 }
    }

    /// Returns whether any number is allowed.
    pub fn is_any(&self) -> bool {
        self.step == 0.0
    }

    /// Returns the step; 0 for any number.
    pub fn step(&self) -> f32 {
        self.step
    }

    /// Returns `n` steps, never -0, which would be printed with its sign.
    pub fn multiple(&self, n: f32) -> f32 {
        let product = n * self.numerator;
        let multiple = if self.numerator == 0.0 {
            n * self.step
        } else if product.abs() < EXACT {
            product / self.power_of_ten
        } else {
            // Both are integers of at most 2^24, so their product is exact.
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let multiple = {
                let product = (n as i64).wrapping_mul(self.numerator as i64);
                (product as f64 / f64::from(self.power_of_ten)) as f32
            };
            multiple
        };
        multiple + 0.0
    }

    /// Returns the multiple nearest to a number.
    pub fn nearest(&self, x: f32) -> f32 {
        self.multiple(libm::roundf(x / self.step))
    }

    /// Returns the smallest number of steps that is not below `x`. Compares multiples, since a
    /// quotient may be rounded across an integer.
    pub fn count_from(&self, x: f32) -> f32 {
        let mut steps = libm::roundf(x / self.step);
        if self.multiple(steps) < x {
            steps += 1.0;
        } else if self.multiple(steps - 1.0) >= x {
            steps -= 1.0;
        }
        steps
    }

    /// Returns the first and the last multiple within a range (the first above the second if there
    /// is none); if any number is allowed, the ends.
    pub fn ends(&self, low: f32, high: f32) -> [f32; 2] {
        if self.is_any() {
            [low, high]
        } else {
            [self.multiple(self.count_from(low)), self.multiple(-self.count_from(-high))]
        }
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self::FREE
    }
}

/// Valid rules for the features of a model, in order; rules beyond its features are ignored. Takes
/// 20 bytes per feature.
///
/// ```
/// use feamoe_engine::recourse::{Direction, Rule, Rules};
///
/// // Age is fixed; the second only increases, in whole numbers up to 60, and counts twice.
/// const RULES: Rules<16> = match Rules::new({
///     let mut rules = [Rule::FREE; 16];
///     rules[0] = Rule::FIXED;
///     rules[1] = Rule { direction: Direction::Increase, high: 60.0, step: 1.0, cost: 2.0, ..Rule::FREE };
///     rules
/// }) {
///     Ok(rules) => rules,
///     Err(_) => panic!("a rule that nothing can be searched by"),
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules<const FEATURES: usize> {
    rules: [Rule; FEATURES],
    margin: f32,
}

impl<const FEATURES: usize> Rules<FEATURES> {
    /// Every feature free.
    pub const FREE: Self = Self { rules: [Rule::FREE; FEATURES], margin: 0.0 };

    /// Checks rules. This is a `const fn`, so that the rules of a firmware are checked when it is
    /// built.
    ///
    /// # Errors
    /// [`RuleError`] for the first rule whose range is empty, or whose step or cost is out of
    /// range.
    pub const fn new(rules: [Rule; FEATURES]) -> Result<Self, RuleError> {
        let mut rest: &[Rule] = &rules;
        while let [rule, others @ ..] = rest {
            if let Some(kind) = rule.fault() {
                return Err(RuleError { feature: FEATURES.wrapping_sub(rest.len()), kind });
            }
            rest = others;
        }
        Ok(Self { rules, margin: 0.0 })
    }

    /// Requires a score that exceeds the threshold by this margin, in [0, 1), or by half of the
    /// distance to 1 if that is less. Without a margin, another model trained on the same rows may
    /// decline the answer. Returns `None` for an invalid margin.
    #[must_use]
    pub const fn with_margin(self, margin: f32) -> Option<Self> {
        if margin >= 0.0 && margin < 1.0 { Some(Self { margin, ..self }) } else { None }
    }

    /// Returns the same rules with one feature fixed.
    #[must_use]
    pub fn fixing(mut self, feature: usize) -> Self {
        if let Some(rule) = self.rules.get_mut(feature) {
            rule.direction = Direction::Fixed;
        }
        self
    }

    /// Returns the lowest score of an answer.
    pub(super) fn sought(&self, threshold: f32) -> f32 {
        clamp(threshold + self.margin, threshold, 0.5 * (1.0 + threshold))
    }

    /// Returns the rules, by feature.
    #[must_use]
    pub const fn as_slice(&self) -> &[Rule] {
        &self.rules
    }
}

impl<const FEATURES: usize> Default for Rules<FEATURES> {
    fn default() -> Self {
        Self::FREE
    }
}

/// Why rules were refused, and for which feature.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleError {
    /// The feature.
    pub feature: usize,
    /// What is wrong.
    pub kind: RuleErrorKind,
}

/// Why a rule is invalid.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// `low` is above `high`, or one is not a number.
    EmptyRange,
    /// The step is below 0, too small for a normal f32, infinite or not a number.
    InvalidStep,
    /// The cost is not from [`Rule::LEAST_COST`] to [`Rule::MOST_COST`].
    InvalidCost,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "feature {}: ", self.feature)?;
        match self.kind {
            RuleErrorKind::EmptyRange => f.write_str("the range of its rule is empty"),
            RuleErrorKind::InvalidStep => f.write_str("the step of its rule is not 0 or above"),
            RuleErrorKind::InvalidCost => {
                write!(f, "the cost of its rule is not from {} to {}", Rule::LEAST_COST, Rule::MOST_COST)
            }
        }
    }
}

impl core::error::Error for RuleError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_what_nothing_can_be_searched_by() {
        use RuleErrorKind::{EmptyRange, InvalidCost, InvalidStep};
        for (rule, kind) in [
            (Rule { low: 2.0, high: 1.0, ..Rule::FREE }, EmptyRange),
            (Rule { low: f32::NAN, ..Rule::FREE }, EmptyRange),
            (Rule { high: f32::NAN, ..Rule::FREE }, EmptyRange),
            (Rule { step: -1.0, ..Rule::FREE }, InvalidStep),
            (Rule { step: f32::NAN, ..Rule::FREE }, InvalidStep),
            (Rule { step: f32::INFINITY, ..Rule::FREE }, InvalidStep),
            (Rule { step: f32::MIN_POSITIVE / 2.0, ..Rule::FREE }, InvalidStep),
            (Rule { cost: 0.0, ..Rule::FREE }, InvalidCost),
            (Rule { cost: f32::NAN, ..Rule::FREE }, InvalidCost),
            (Rule { cost: 1001.0, ..Rule::FREE }, InvalidCost),
        ] {
            let found = Rules::new([Rule::FREE, rule, Rule::FIXED]);
            assert_eq!(found, Err(RuleError { feature: 1, kind }), "{rule:?}");
        }
        let most = Rule { low: 1.0, high: 1.0, step: 1e-30, cost: 1e3, direction: Direction::Decrease };
        assert_eq!(Rules::new([most]), Ok(Rules { rules: [most], margin: 0.0 }));
    }

    #[test]
    fn ends_are_on_steps() {
        let rule = Rule { low: -2.5, high: 9.0, step: 2.0, ..Rule::FREE };
        assert_eq!(rule.within(0.5, 80.0).0, [2.0, 8.0]);
        assert_eq!(rule.within(-10.0, 5.0).0, [-2.0, 4.0]);
        let ([low, high], _) = rule.within(2.5, 3.5);
        assert!(low > high);
        assert_eq!(Rule::FREE.within(0.5, 80.0).0, [0.5, 80.0]);
    }

    /// Compared with decimals written and parsed: every multiple is the f32 nearest to the decimal,
    /// and the ends are inside the range.
    #[test]
    fn multiples_are_as_decimals_write_them() {
        use std::format;

        let mut rng = rand_pcg::Pcg64Mcg::new(3);
        let mut draw = |below: u64| rand_pcg::rand_core::RngCore::next_u64(&mut rng) % below;
        let mut checked = 0;
        for (places, digits) in (0..7_u32).flat_map(|places| [1_u64, 2, 5, 25].map(|digits| (places, digits))) {
            let decimal = |n: u64| -> f32 {
                let units = n * digits;
                let power = 10_u64.pow(places);
                let text = format!("{}.{:0width$}", units / power, units % power, width = places.max(1) as usize);
                let text = if places == 0 { format!("{units}") } else { text };
                text.parse().unwrap_or(f32::NAN)
            };
            let step = decimal(1);
            for _ in 0..2_000 {
                let n = draw(8_000_000);
                let expected = decimal(n);
                let steps = Steps::new(step, 0.0, expected);
                if steps.is_any() {
                    continue;
                }
                #[allow(clippy::cast_precision_loss)] // below 2^24
                let found = steps.multiple(n as f32);
                assert_eq!(found.to_bits(), expected.to_bits(), "{n} of {step}");
                let (low, high) = (expected * 0.9, expected * 1.1);
                let [first, last] = steps.ends(low, high);
                assert!(first >= low && last <= high || first > last, "{step}: {first} {last} in {low} {high}");
                let near = steps.nearest(expected);
                assert!((near - expected).abs() <= step + f32::EPSILON * expected, "{near} for {expected}");
                checked += 1;
            }
        }
        assert!(checked > 30_000, "{checked}");
    }

    #[test]
    fn a_step_below_the_precision_of_its_range_is_any_number() {
        for (step, low, high) in [(1e-38, 0.0, 1.0), (1e-3, 0.0, 1e5), (0.01, -3e6, 0.0), (1.0, 0.0, 1e8)] {
            assert!(Steps::new(step, low, high).is_any(), "{step} {low} {high}");
            assert_eq!(Steps::new(step, low, high).ends(low, high), [low, high]);
        }
        assert!(!Steps::new(0.01, 0.0, 50_000.0).is_any());
    }
}
