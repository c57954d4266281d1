//! Converts values to pixels, and to numbers for readers.

/// Maximum number of ticks of an axis.
const MOST_TICKS: f64 = 9.0;
/// Numbers beside a scale resolve at least its range divided by this.
const RESOLUTION: f64 = 100.0;

/// A linear scale across a plot.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    /// The left end of the axis, in pixels.
    pub left: f64,
    /// The right end of the axis, in pixels.
    pub right: f64,
}

impl Scale {
    /// Fits values into `left..right`, with a margin of `room` pixels at each side.
    pub fn new(values: impl IntoIterator<Item = f64>, left: f64, right: f64, room: [f64; 2]) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = match high - low {
            range if range > 0.0 => (low, high),
            // A single value is placed in the middle of a range of width 1.
            _ if low.is_finite() => (low - 0.5, high + 0.5),
            _ => (0.0, 1.0),
        };
        let [before, after] = room;
        let pixel = (high - low) / (right - left - before - after);
        Self { low: low - pixel * before, high: high + pixel * after, left, right }
    }

    /// Returns the horizontal position of a value, in pixels.
    pub fn at(&self, value: f64) -> f64 {
        self.left + (value - self.low) / (self.high - self.low) * (self.right - self.left)
    }

    /// Returns round values across the scale, with their labels.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        self.ticks_within(MOST_TICKS)
    }

    /// Returns about `most` ticks or fewer, like [`Scale::ticks`]. `most` is at least 2.
    pub fn ticks_within(&self, most: f64) -> Vec<(f64, String)> {
        let (step, decimals) = self.step(most);
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        let mut ticks = Vec::new();
        let mut index = first;
        while index <= last {
            let value = index * step;
            ticks.push((value, plain(value, decimals)));
            index += 1.0;
        }
        ticks
    }

    /// Returns the smallest step of 1, 2 or 5 times a power of ten that gives at most `most`
    /// intervals, and its number of decimals.
    fn step(&self, most: f64) -> (f64, usize) {
        let range = self.high - self.low;
        let (mut power, mut decimals) = (1.0, 0);
        while power * 10.0 <= range {
            power *= 10.0;
        }
        while power > range {
            power /= 10.0;
            decimals += 1;
        }
        // `power <= range < 10 power`, so `power / 10` gives too many ticks or just enough.
        for factor in [0.2, 0.5, 1.0, 2.0] {
            if range / (power * factor) <= most {
                let fraction = factor < 1.0 && power < 10.0;
                return (power * factor, decimals + usize::from(fraction));
            }
        }
        (power * 5.0, decimals)
    }

    /// Returns the number of decimals for numbers beside this scale.
    pub fn decimals(&self) -> usize {
        let (mut range, mut decimals) = (self.high - self.low, 0);
        while range < RESOLUTION && decimals < 9 {
            range *= 10.0;
            decimals += 1;
        }
        decimals
    }
}

/// Returns a number with a typographic minus.
pub fn plain(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$}");
    match text.strip_prefix('-') {
        Some(magnitude) if is_zero(magnitude) => magnitude.to_owned(),
        Some(magnitude) => format!("−{magnitude}"),
        None => text,
    }
}

/// Returns a number with its sign; without one if all its digits are 0.
pub fn signed(x: f64, decimals: usize) -> String {
    let text = plain(x, decimals);
    if text.starts_with('−') || is_zero(&text) { text } else { format!("+{text}") }
}

fn is_zero(digits: &str) -> bool {
    digits.chars().all(|c| matches!(c, '0' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_few_and_within() {
        for (low, high) in [(0.0, 1.0), (0.231, 0.234), (-3.0, 5.5), (0.0, 1e-7), (-1e5, 3e5), (7.0, 7.0), (0.1, 0.11)]
        {
            let scale = Scale::new([low, high], 100.0, 900.0, [60.0, 60.0]);
            let ticks = scale.ticks();
            assert!((3..=10).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            for (value, label) in &ticks {
                assert!((99.9..=900.1).contains(&scale.at(*value)), "{label}");
                let read: f64 = label.replace('−', "-").parse().unwrap_or(f64::NAN);
                assert!((read - value).abs() <= (high - low).abs() * 1e-6 + 1e-12, "{label} is not {value}");
            }
            assert!((scale.at(low) - 160.0).abs() < 1e-6 || low == high);
        }
        assert_eq!(Scale::new([], 0.0, 10.0, [0.0, 0.0]).ticks().len(), 6);
    }

    #[test]
    fn numbers_have_signs_and_zero_has_none() {
        assert_eq!([0.123, -0.123, 0.0001, -0.0001].map(|x| signed(x, 2)), ["+0.12", "−0.12", "0.00", "0.00"]);
        assert_eq!(plain(-12.0, 0), "−12");
    }
}
