//! The reports of a watch: alarms, windows of rows, and a summary. Each serialises to one line of
//! `feamoe monitor --format json`. A measure without supporting records is NaN (JSON: null).

use serde::Serialize;

use crate::judge::attribute::{AttributeReport, OtherLabels};
use crate::judge::gaps::GroupGaps;

/// A monitored quantity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(tag = "quantity", rename_all = "snake_case")]
pub enum Quantity {
    /// The values of a feature.
    Input {
        /// Name of the feature.
        feature: String,
    },
    /// The scores.
    Score,
    /// The share of favourable decisions.
    Decision,
    /// The share of favourable outcomes at a calibrated probability.
    Calibration,
    /// The share of favourable decisions in a group: a change moves `spd` and `impact`.
    SelectionRate(Group),
    /// The share of favourable decisions among the records of a group with the favourable outcome:
    /// a change moves `eopp`, `aod` and `eodds`.
    Tpr(Group),
    /// The share of favourable decisions among the records of a group with the unfavourable
    /// outcome: a change moves `aod` and `eodds`.
    Fpr(Group),
}

/// A protected group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Group {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
}

/// A detected change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Alarm {
    /// The quantity that changed.
    #[serde(flatten)]
    pub quantity: Quantity,
    /// Number of the record, from 1, at which the change was detected.
    pub row: u64,
    /// Number of values of the quantity since the most likely time of the change: of rows, or for
    /// the rate of a group, of rows of the group.
    pub values_since: u64,
    /// The cell whose share changed most, such as a bin, a level or `missing`; `favourable` for a
    /// rate.
    pub cell: String,
    /// The share of the cell before the change.
    pub before: f64,
    /// The share of the cell since the change: over the latest 100, 1,000 or 10,000 values,
    /// whichever show the change best.
    pub after: f64,
}

/// The measures of a window of rows.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Window {
    /// Number of the first record of the window, from 1.
    pub from_row: u64,
    /// Number of the last record of the window, from 1.
    pub to_row: u64,
    /// Number of scored records.
    pub rows: u64,
    /// Number of outcomes that arrived in the window. Accuracy, log-loss, calibration error and the
    /// gaps that need labels are over the records of these outcomes, which may be from earlier
    /// windows.
    pub labelled: u64,
    /// Mean score.
    pub score_mean: f64,
    /// Share of favourable decisions.
    pub selection_rate: f32,
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Mean negative log-likelihood of the calibrated probabilities, in natural logarithms.
    pub log_loss: f64,
    /// Expected calibration error over ten bins of equal width.
    pub calibration_error: f64,
    /// The difference of the scores from those of the reference.
    pub score: Drift,
    /// The difference of each feature from the reference.
    pub inputs: Vec<InputDrift>,
    /// Every group compared with its reference group.
    pub fairness: Vec<GroupGaps>,
}

/// The difference of a distribution from that of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Drift {
    /// Population stability index; NaN (JSON: null) without a reference.
    pub psi: f64,
    /// The value that `psi` exceeds in about 5 % of windows without drift.
    pub psi_by_chance: f64,
}

/// The values of a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct InputDrift {
    /// The feature.
    pub feature: String,
    /// The difference from the reference.
    #[serde(flatten)]
    pub drift: Drift,
    /// Share of records without a value.
    pub missing: f64,
    /// Share of numbers outside the training range.
    pub clamped: f64,
    /// Share of levels that were absent or too rare in training.
    pub unseen: f64,
}

/// The summary at the end of the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Summary {
    /// CRC-32 of the model, 8 hexadecimal digits.
    pub model: String,
    /// Number of scored records.
    pub rows: u64,
    /// Number of outcomes that were used.
    pub labelled: u64,
    /// Number of alarms.
    pub alarms: u64,
    /// Number of monitored quantities.
    pub quantities: usize,
    /// Bound on the probability of any alarm in a stream that never changes.
    pub false_alarms: f64,
    /// The reference that the rows were compared with.
    pub reference: Reference,
    /// Labels that are neither outcome, which no measure counts. A missing label may still arrive.
    pub other_labels: OtherLabels,
    /// The protected attributes and their groups. If ids join rows, rows without a value are not
    /// counted and intersections are left out, because such a row may hold only an outcome.
    pub attributes: Vec<AttributeReport>,
    /// The counts of ids; null if there is no id column.
    pub ids: Option<Ids>,
}

/// The reference at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Reference {
    /// The source of its rows.
    pub from: ReferenceFrom,
    /// Number of reference rows.
    pub rows: u64,
}

/// The source of the reference rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferenceFrom {
    /// Rows that the user gave.
    Data,
    /// The background records of the model, drawn from its training rows. They have no labels and
    /// no groups.
    Background,
    /// The first rows of the stream itself.
    Stream,
}

/// The counts of rows with ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ids {
    /// Number of outcomes that arrived later than their records.
    pub joined: u64,
    /// Number of records that still wait for their outcome.
    pub waiting: u64,
    /// Number of records that were dropped before their outcome arrived.
    pub expired: u64,
    /// Number of rows left out because they hold only an outcome and their record is unknown.
    pub unknown: u64,
    /// Number of rows left out because their id was seen before and needs nothing more.
    pub repeated: u64,
    /// Number of records without an id.
    pub without_id: u64,
}
