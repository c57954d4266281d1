//! Input quality of a data set: missing, clamped, unseen and bad cells, counted by feature.

use feamoe_engine::Schema;
use feamoe_engine::schema::Note;
use serde::{Deserialize, Serialize};

use crate::model::card::Card;
use crate::rows::Seen;

/// Share of records above which there is a warning about a feature, and the smallest number of
/// records for a warning.
const MOST: f64 = 0.5;
const ENOUGH: u64 = 20;

/// Counts by feature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inputs {
    /// The features; their bad cells are counted by the binding.
    features: Vec<Input>,
    rows: u64,
    /// By feature, the share of training rows in which it was missing; `None` if the card does not
    /// state it.
    missing_in_training: Vec<Option<f64>>,
}

/// The counts of the cells of one feature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Input {
    /// The feature.
    pub feature: String,
    /// Number of records without a value, including bad cells.
    pub missing: u64,
    /// Number of cells that are not numbers although a number is needed. They count as missing.
    pub bad: u64,
    /// Number of values outside the training range.
    pub clamped: u64,
    /// Number of values whose level was absent or too rare in training.
    pub unseen: u64,
}

impl Inputs {
    /// Starts without records. With a card, missing values are compared with those in training.
    #[must_use]
    pub fn new(schema: Schema<'_>, card: Option<&Card>) -> Self {
        let names = (0..schema.features().len()).map(|index| schema.feature_name(index).unwrap_or_default());
        let features: Vec<Input> = names.map(|name| Input { feature: name.to_owned(), ..Input::default() }).collect();
        let missing_in_training = features.iter().map(|input| missing_in_training(card?, &input.feature)).collect();
        Self { features, rows: 0, missing_in_training }
    }

    /// Counts a record, given the notes on its values.
    pub fn observe(&mut self, notes: &[Note]) {
        self.rows += 1;
        for (input, note) in self.features.iter_mut().zip(notes) {
            match note {
                Note::Usual => {}
                Note::Missing => input.missing += 1,
                Note::Clamped => input.clamped += 1,
                Note::Unseen => input.unseen += 1,
            }
        }
    }

    /// Adds the counts of other records of the same model.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        for (input, other) in self.features.iter_mut().zip(&other.features) {
            input.missing = input.missing.saturating_add(other.missing);
            input.clamped = input.clamped.saturating_add(other.clamped);
            input.unseen = input.unseen.saturating_add(other.unseen);
        }
    }

    /// Returns whether a feature, by index, was never missing in training, as far as is known.
    #[must_use]
    pub fn was_never_missing(&self, feature: usize) -> bool {
        self.missing_in_training.get(feature).copied().flatten() == Some(0.0)
    }

    /// Returns the counts of every feature, with its bad cells.
    #[must_use]
    pub fn report(&self, bad_cells: impl IntoIterator<Item = Seen>) -> Vec<Input> {
        let mut inputs = self.features.clone();
        for (input, bad) in inputs.iter_mut().zip(bad_cells) {
            input.bad = bad.rows();
        }
        inputs
    }

    /// Returns a warning for every feature that is missing in most records but not in training,
    /// that is clamped or unseen in most records, or that has bad cells.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn warnings(&self, bad_cells: impl IntoIterator<Item = Seen>) -> Vec<String> {
        let Self { features, rows, missing_in_training } = self;
        let mut lines = Vec::new();
        for ((input, bad), training) in features.iter().zip(bad_cells).zip(missing_in_training) {
            let Input { feature, missing, clamped, unseen, .. } = input;
            let mut say = |what: String| lines.push(format!("column {feature:?}: {what}"));
            if bad.rows() > 0 {
                say(format!("{} cells are not numbers and count as missing: {}", bad.rows(), bad.list()));
            }
            let most = |count: u64| *rows >= ENOUGH && count as f64 >= MOST * *rows as f64;
            match training {
                Some(0.0) if most(*missing) => {
                    say(format!("missing in {missing} of {rows} records, but never in training"))
                }
                Some(part) if most(*missing) && *part < MOST * (*missing as f64 / *rows as f64) => {
                    say(format!("missing in {missing} of {rows} records, but in {:.1} % in training", 100.0 * part));
                }
                None if most(*missing) => say(format!("missing in {missing} of {rows} records")),
                _ => {}
            }
            if most(*clamped) {
                say(format!("outside the training range in {clamped} of {rows} records"));
            }
            if most(*unseen) {
                say(format!("a level that was absent or rare in training in {unseen} of {rows} records"));
            }
        }
        lines
    }
}

/// Returns the share of the training rows in which a feature was missing.
#[allow(clippy::cast_precision_loss)]
fn missing_in_training(card: &Card, feature: &str) -> Option<f64> {
    let known = card.features.iter().find(|known| known.feature == feature)?;
    Some((known.missing + known.bad) as f64 / known.rows as f64)
}
