//! What a watch reports: alarms, windows of rows, and a summary; each serialises to one line of
//! `feamoe monitor --format json`. A measure that no record supports is NaN (JSON: null).

use serde::Serialize;

use crate::judge::attribute::{AttributeReport, OtherLabels};
use crate::judge::gaps::GroupGaps;

/// What is watched.
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
    /// That of its records with the favourable outcome: moves `eopp`, `aod` and `eodds`.
    Tpr(Group),
    /// That of its records with the other outcome: moves `aod` and `eodds`.
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

/// A change that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Alarm {
    /// What changed.
    #[serde(flatten)]
    pub quantity: Quantity,
    /// 1-based number of the record at which it was found.
    pub row: u64,
    /// Values of the quantity since the most likely time of the change: rows, of a group's rate
    /// rows of the group.
    pub values_since: u64,
    /// The cell whose share changed most: bin, level, `missing`, ...; of a rate `favourable`.
    pub cell: String,
    /// Its share before.
    pub before: f64,
    /// Its share since: over the latest 100, 1,000 or 10,000 values, whichever show the change
    /// best.
    pub after: f64,
}

/// What some rows in a row were.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Window {
    /// 1-based number of its first record.
    pub from_row: u64,
    /// That of its last.
    pub to_row: u64,
    /// Records scored.
    pub rows: u64,
    /// Outcomes that came; accuracy, log-loss, calibration error and the gaps that need labels are
    /// of their records, which may be earlier ones.
    pub labelled: u64,
    /// Mean score.
    pub score_mean: f64,
    /// Share of favourable decisions.
    pub selection_rate: f32,
    /// Share of right decisions.
    pub accuracy: f32,
    /// Mean negative log-likelihood of the calibrated probabilities, natural.
    pub log_loss: f64,
    /// Expected calibration error over ten bins of equal width.
    pub calibration_error: f64,
    /// The scores against those of the reference.
    pub score: Drift,
    /// Each feature against the reference.
    pub inputs: Vec<InputDrift>,
    /// Every group against its reference group.
    pub fairness: Vec<GroupGaps>,
}

/// How far a distribution is from that of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Drift {
    /// Population stability index; NaN without reference.
    pub psi: f64,
    /// What it exceeds in about 5 % of windows without any drift.
    pub psi_by_chance: f64,
}

/// The values of a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct InputDrift {
    /// The feature.
    pub feature: String,
    /// How far they are from the reference.
    #[serde(flatten)]
    pub drift: Drift,
    /// Share of records without a value.
    pub missing: f64,
    /// Share of numbers outside the training range.
    pub clamped: f64,
    /// Share of levels that training had not seen, or too rarely.
    pub unseen: f64,
}

/// Everything at the end.
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
    /// Quantities watched.
    pub quantities: usize,
    /// Bound on the chance of any alarm in a stream that never changes.
    pub false_alarms: f64,
    /// What the rows were compared with.
    pub reference: Reference,
    /// Outcomes that are neither of the two; no measure counts them. A missing one may still come.
    pub other_labels: OtherLabels,
    /// Who was watched, by protected attribute. Where ids join rows, rows without a value count in
    /// none, and intersections are left out: such a row may be an outcome alone.
    pub attributes: Vec<AttributeReport>,
    /// What became of the ids; `None` if no column has them.
    pub ids: Option<Ids>,
}

/// What rows are compared with at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Reference {
    /// Where they are from.
    pub from: ReferenceFrom,
    /// Their number.
    pub rows: u64,
}

/// Where reference rows are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferenceFrom {
    /// Rows that were given.
    Data,
    /// The background records of the model, drawn from its training rows: they have no labels and
    /// no groups.
    Background,
    /// The first rows of the stream itself.
    Stream,
}

/// What became of the rows with ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ids {
    /// Outcomes that came later than their records.
    pub joined: u64,
    /// Records that still wait for their outcome.
    pub waiting: u64,
    /// Records that were forgotten before their outcome came.
    pub expired: u64,
    /// Rows of an outcome alone whose record is not known: left out.
    pub unknown: u64,
    /// Rows of an id that was seen before and needs nothing more: left out.
    pub repeated: u64,
    /// Records without an id.
    pub without_id: u64,
}
