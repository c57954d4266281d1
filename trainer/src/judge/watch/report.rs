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
        /// Its name.
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
    /// The share of favourable decisions among its records with the favourable outcome: a change
    /// moves `eopp`, `aod` and `eodds`.
    Tpr(Group),
    /// The share of favourable decisions among its records with the unfavourable outcome: a change
    /// moves `aod` and `eodds`.
    Fpr(Group),
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Group {
    /// Protected column; columns of an intersection.
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
    /// 1-based number of the record at which it was detected.
    pub row: u64,
    /// Values of the quantity since the most likely time of the change: rows, or for the rate of a
    /// group, rows of the group.
    pub values_since: u64,
    /// The cell whose share changed most: a bin, a level, `missing` and so on; `favourable` for a
    /// rate.
    pub cell: String,
    /// Its share before.
    pub before: f64,
    /// Its share since: over the latest 100, 1,000 or 10,000 values, whichever show the change
    /// best.
    pub after: f64,
}

/// The measures of a window of rows.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Window {
    /// 1-based number of its first record.
    pub from_row: u64,
    /// 1-based number of its last record.
    pub to_row: u64,
    /// Records scored.
    pub rows: u64,
    /// Outcomes that arrived. Accuracy, log-loss, calibration error and the gaps that need labels
    /// are over their records, which may be from earlier windows.
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
    /// The scores compared with those of the reference.
    pub score: Drift,
    /// Each feature compared with the reference.
    pub inputs: Vec<InputDrift>,
    /// Every group compared with its reference group.
    pub fairness: Vec<GroupGaps>,
}

/// The difference of a distribution from that of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Drift {
    /// Population stability index; NaN without reference.
    pub psi: f64,
    /// The value that it exceeds in about 5 % of windows without drift.
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

/// The summary at the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Checksum of the model.
    pub model: String,
    /// Records scored.
    pub rows: u64,
    /// Outcomes that were used.
    pub labelled: u64,
    /// Alarms raised.
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
    /// counted, and intersections are left out, since such a row may only hold an outcome.
    pub attributes: Vec<AttributeReport>,
    /// The counts of ids; `None` if there is no id column.
    pub ids: Option<Ids>,
}

/// The reference at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Reference {
    /// The source of its rows.
    pub from: ReferenceFrom,
    /// Number of its rows.
    pub rows: u64,
}

/// The source of the reference rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferenceFrom {
    /// Rows that the user gave.
    Data,
    /// The background records of the model, drawn from its training rows: they have no labels and
    /// no groups.
    Background,
    /// The first rows of the stream itself.
    Stream,
}

/// The counts of rows with ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ids {
    /// Outcomes that came later than their records.
    pub joined: u64,
    /// Records that still wait for their outcome.
    pub waiting: u64,
    /// Records that were forgotten before their outcome came.
    pub expired: u64,
    /// Rows that hold only an outcome, whose record is unknown: left out.
    pub unknown: u64,
    /// Rows with an id that was seen before and needs nothing more: left out.
    pub repeated: u64,
    /// Records without an id.
    pub without_id: u64,
}
