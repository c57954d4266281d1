//! Keeps the players that move scores most and combines the others.

use serde_json::Value;

use super::{Explanation, INTERVAL, Summary, by_magnitude};

/// The name of the combined player.
const OTHER: &str = "other";

impl Explanation {
    /// Returns the `most` players with the largest mean absolute values, in descending order,
    /// followed by `other`. The values of `other` are the sums of the remaining players' values.
    /// Returns the explanation unchanged if it has at most `most` players.
    ///
    /// The standard error of `other` is the sum of the standard errors, which is an upper bound.
    #[must_use]
    pub fn top(mut self, most: usize) -> Self {
        let players = self.feature_names.len();
        if players <= most {
            return self;
        }
        let magnitude =
            |player: usize| self.values.iter().filter_map(|row| row.get(player)).map(|value| value.abs()).sum::<f32>();
        let order = by_magnitude(&(0..players).map(magnitude).collect::<Vec<_>>());
        let (kept, rest) = order.split_at(most);
        let sum = |row: &[f32]| rest.iter().filter_map(|player| row.get(*player)).sum::<f32>();
        let summed = |rows: &[Vec<f32>]| rows.iter().map(|row| with(row, kept, sum(row))).collect::<Vec<_>>();
        let (values, errors) = (summed(&self.values), summed(&self.error_std));
        let ends = |rows: &[Vec<f32>], sign: f32| {
            let other = values.iter().zip(&errors).map(|(values, errors)| {
                let last = |row: &[f32]| row.last().copied().unwrap_or_default();
                last(values) + sign * INTERVAL * last(errors)
            });
            rows.iter().zip(other).map(|(row, other)| with(row, kept, other)).collect::<Vec<_>>()
        };
        self.lower_bounds = ends(&self.lower_bounds, -1.0);
        self.upper_bounds = ends(&self.upper_bounds, 1.0);
        self.gate_values = summed(&self.gate_values);
        let empty = |rows: &[Vec<Value>]| rows.iter().map(|row| with(row, kept, Value::Null)).collect::<Vec<_>>();
        self.data = empty(&self.data);
        self.display_data = empty(&self.display_data);
        self.notes = self.notes.iter().map(|row| with(row, kept, "")).collect();
        self.numbers = with(&self.numbers, kept, false);
        self.feature_names = with(&self.feature_names, kept, other(&self.feature_names));
        (self.values, self.error_std) = (values, errors);
        self
    }
}

impl Summary {
    /// Returns the first `most` players, followed by `other`. The means of `other` are the sums of
    /// the remaining players' means. Returns the summary unchanged if it has at most `most`
    /// players.
    #[must_use]
    pub fn top(mut self, most: usize) -> Self {
        if self.feature_names.len() <= most {
            return self;
        }
        let name = other(&self.feature_names);
        self.feature_names.truncate(most);
        self.feature_names.push(name);
        for means in [&mut self.mean_absolute_values, &mut self.mean_values] {
            let rest = means.drain(most..).sum();
            means.push(rest);
        }
        self
    }
}

/// Returns a name that no player has.
fn other(names: &[String]) -> String {
    let mut name = OTHER.to_owned();
    while names.contains(&name) {
        name.push('_');
    }
    name
}

/// Returns the kept elements of a row, followed by `rest`.
fn with<T: Clone>(row: &[T], kept: &[usize], rest: T) -> Vec<T> {
    kept.iter().filter_map(|player| row.get(*player)).cloned().chain([rest]).collect()
}
