//! Differences between two models on the same rows, with 95 % intervals that use the pairing:
//! behaviour that both models share cancels out.

use feamoe_engine::fairness::Z_95;
use serde::Serialize;

use crate::judge::reliability::{CALIBRATION_BINS, calibration_bin};

/// The difference between two models: second minus first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Change {
    /// The difference; NaN (JSON: null) without supporting rows.
    pub change: f64,
    /// The 95 % interval of the difference; null if there is none.
    pub interval: Option<[f64; 2]>,
}

impl Change {
    /// The difference without any rows.
    pub const UNKNOWN: Self = Self { change: f64::NAN, interval: None };

    /// Returns the weighted sum of independent differences. The distance of each end of its
    /// interval from the value is the root of the sum of squares of the parts' distances (MOVER:
    /// Donner and Zou 2012).
    #[must_use]
    pub fn sum(parts: &[(f64, Self)]) -> Self {
        let change = parts.iter().map(|(weight, part)| weight * part.change).sum();
        let (mut below, mut above) = (0.0, 0.0);
        for (weight, part) in parts {
            let Some([low, high]) = part.interval else { return Self { change, interval: None } };
            let (down, up) = (weight * (part.change - low), weight * (high - part.change));
            let (down, up) = if *weight < 0.0 { (up, down) } else { (down, up) };
            (below, above) = (below + down * down, above + up * up);
        }
        Self { change, interval: Some([change - below.sqrt(), change + above.sqrt()]) }
    }

    /// Returns whether the whole interval is on one side of 0.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
}

/// Counts rows by the answers of both models to a yes-or-no question, such as the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs([[u64; 2]; 2]);

impl Pairs {
    /// Adds a row.
    pub fn observe(&mut self, [first, second]: [bool; 2]) {
        if let Some(cell) = self.0.get_mut(usize::from(first)).and_then(|row| row.get_mut(usize::from(second))) {
            *cell += 1;
        }
    }

    /// Adds the rows of another table of counts.
    pub fn merge(&mut self, other: &Self) {
        let cells = self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened());
        cells.for_each(|(cell, other)| *cell += other);
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.as_flattened().iter().sum()
    }

    /// Returns the number of rows with yes only by the second model.
    #[must_use]
    pub fn gained(&self) -> u64 {
        self.0[0][1]
    }

    /// Returns the number of rows with yes only by the first model.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0[1][0]
    }

    /// Returns the number of rows with yes by each model.
    #[must_use]
    pub fn yes(&self) -> [u64; 2] {
        let both = self.0[1][1];
        [both + self.lost(), both + self.gained()]
    }

    /// Returns the difference of the two shares of yes, `(gained - lost) / n`. Its interval is the
    /// adjusted Wald interval of Bonett and Price (2012):
    ///
    /// ```text
    /// (g - l) +- z sqrt((g + l - (g - l)^2) / (n + 2))     g = (gained + 1) / (n + 2), l likewise
    /// ```
    #[must_use]
    pub fn change(&self) -> Change {
        let n = self.rows() as f64;
        if n == 0.0 {
            return Change::UNKNOWN;
        }
        let [g, l] = [self.gained(), self.lost()].map(|count| (count as f64 + 1.0) / (n + 2.0));
        let half = f64::from(Z_95) * ((g + l - (g - l) * (g - l)) / (n + 2.0)).sqrt();
        let change = (self.gained() as f64 - self.lost() as f64) / n;
        Change { change, interval: Some([(g - l - half).max(-1.0), (g - l + half).min(1.0)]) }
    }
}

/// Sums of the differences of a number, over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Differences {
    rows: u64,
    sum: f64,
    squares: f64,
}

impl Differences {
    /// Adds a row.
    pub fn observe(&mut self, [first, second]: [f64; 2]) {
        let difference = second - first;
        self.rows += 1;
        self.sum += difference;
        self.squares += difference * difference;
    }

    /// Returns the mean difference `m` with the interval `m +- z s / sqrt(n)`, where `s` is the
    /// standard deviation of the differences. There is no interval for fewer than two rows.
    #[must_use]
    pub fn change(&self) -> Change {
        let n = self.rows as f64;
        let mean = self.sum / n;
        let variance = ((self.squares / n - mean * mean).max(0.0)) * n / (n - 1.0);
        let half = f64::from(Z_95) * (variance / n).sqrt();
        Change { change: mean, interval: (self.rows > 1).then_some([mean - half, mean + half]) }
    }
}

/// Errors `p - y` of both models for one pair of bins, one for each model's probability: rows,
/// sums, sums of squares and of products.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Errors {
    rows: f64,
    sums: [f64; 2],
    squares: [f64; 2],
    products: f64,
}

/// The counts from which the difference of two expected calibration errors is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibrations([[Errors; CALIBRATION_BINS]; CALIBRATION_BINS]);

impl Calibrations {
    /// Adds a row with both probabilities.
    pub fn observe(&mut self, label: bool, probabilities: [f32; 2]) {
        let [a, b] = probabilities.map(|p| f64::from(p) - f64::from(u8::from(label)));
        let [row, column] = probabilities.map(calibration_bin);
        if let Some(errors) = self.0.get_mut(row).and_then(|row| row.get_mut(column)) {
            errors.rows += 1.0;
            errors.sums = [errors.sums[0] + a, errors.sums[1] + b];
            errors.squares = [errors.squares[0] + a * a, errors.squares[1] + b * b];
            errors.products += a * b;
        }
    }

    /// Returns the difference of the expected calibration errors. Each is the mean of `s (p - y)`,
    /// where `s` is the sign of the summed error in the bin of `p`. The interval is that of the
    /// mean difference of these terms, with the signs taken as known. It is too narrow if the
    /// errors of the bins are 0 within chance, because a calibration error is never negative.
    #[must_use]
    pub fn change(&self) -> Change {
        let mut bins = [[0.0_f64; CALIBRATION_BINS]; 2];
        for (a, row) in self.0.iter().enumerate() {
            for (b, errors) in row.iter().enumerate() {
                for (model, bin) in [a, b].into_iter().enumerate() {
                    if let Some(sum) = bins.get_mut(model).and_then(|bins| bins.get_mut(bin)) {
                        *sum += errors.sums.get(model).copied().unwrap_or_default();
                    }
                }
            }
        }
        let sign = |model: usize, bin: usize| {
            bins.get(model).and_then(|bins| bins.get(bin)).map_or(0.0, |sum: &f64| if *sum < 0.0 { -1.0 } else { 1.0 })
        };
        let (mut rows, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (a, row) in self.0.iter().enumerate() {
            for (b, errors) in row.iter().enumerate() {
                let signs = sign(0, a) * sign(1, b);
                rows += errors.rows;
                sum += sign(1, b) * errors.sums[1] - sign(0, a) * errors.sums[0];
                squares += errors.squares[0] + errors.squares[1] - 2.0 * signs * errors.products;
            }
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
        Differences { rows: rows as u64, sum, squares }.change()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pairs(cells: [[u64; 2]; 2]) -> Pairs {
        Pairs(cells)
    }

    #[test]
    fn a_paired_difference_is_that_of_its_formula() {
        let pairs = pairs([[40, 12], [5, 43]]);
        let change = pairs.change();
        assert_eq!((pairs.rows(), pairs.yes(), change.change), (100, [48, 55], 0.07));
        // g = 13 / 102, l = 6 / 102.
        let (g, l) = (13.0_f64 / 102.0, 6.0 / 102.0);
        let half = 1.959_964 * ((g + l - (g - l) * (g - l)) / 102.0).sqrt();
        let [low, high] = change.interval.unwrap();
        assert!((low - (g - l - half)).abs() < 1e-6 && (high - (g - l + half)).abs() < 1e-6);
        assert!(Pairs::default().change().change.is_nan());
    }

    #[test]
    fn swapping_the_models_changes_the_sign() {
        let [a, b] = [pairs([[40, 12], [5, 43]]), pairs([[40, 5], [12, 43]])].map(|pairs| pairs.change());
        let swapped = |change: Change| {
            let [low, high] = change.interval.unwrap();
            Change { change: -change.change, interval: Some([-high, -low]) }
        };
        assert_eq!(a, swapped(b));
        let sum = |part| Change::sum(&[(0.5, part), (-0.25, b)]);
        let other = Change::sum(&[(0.5, swapped(a)), (-0.25, swapped(b))]);
        assert_eq!(sum(a), swapped(other));
    }

    #[test]
    fn equal_models_differ_by_nothing() {
        let mut calibrations = Calibrations::default();
        let mut losses = Differences::default();
        for n in 0..1_000_u16 {
            let p = f32::from(n * 37 % 1_000) / 1_000.0;
            calibrations.observe(n % 3 == 0, [p, p]);
            losses.observe([f64::from(p); 2]);
        }
        let nothing = Change { change: 0.0, interval: Some([0.0, 0.0]) };
        assert_eq!((calibrations.change(), losses.change()), (nothing, nothing));
    }
}
