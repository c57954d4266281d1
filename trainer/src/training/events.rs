//! Reports the events of the mixture and of the encoding, with the names of groups and features.

use serde::Serialize;

use super::Trainer;
use crate::encoder::{Change, ChangeKind};
use crate::learner::{Cause, Event, EventKind};
use crate::rows::Attribute;

/// An event. JSON leaves out the fields that do not apply to its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct EventReport {
    /// Number of rows learned from before the event.
    pub row: u64,
    /// The kind of event.
    pub event: &'static str,
    /// The cause of the event.
    pub cause: &'static str,
    /// Number of the expert, from 1, that was added, or that was removed when two were merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<usize>,
    /// Number of the expert that it was copied from; absent if it is the mean of all experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// Number of the expert that it was merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub into: Option<usize>,
    /// Number of shards that were merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
    /// The group whose relation to the reference changed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What changed: loss, loss lag, or the rate of the group minus that of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<&'static str>,
    /// The size of the change.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// How the encoding changed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// A protected group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Group {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
}

/// How the encoding of a feature changed. JSON leaves out the fields that do not apply to the
/// change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Encoding {
    /// The feature.
    pub feature: String,
    /// The lowest and the highest value that the bins distinguished before the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_before: Option<[f32; 2]>,
    /// The lowest and the highest value that the bins distinguish after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_after: Option<[f32; 2]>,
    /// The level that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_before: Option<String>,
    /// The level that replaced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_after: Option<String>,
    /// The kind of a column that was empty until then: `number` or `category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
}

/// Means before and after a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Size {
    /// The mean before the change.
    pub before: f32,
    /// The mean after the change.
    pub after: f32,
    /// Number of records in the mean before; for a gap, number of pairs of records.
    pub records_before: u32,
    /// Number of records in the mean after; for a gap, number of pairs of records.
    pub records_after: u32,
}

impl EventReport {
    /// Reports an event; groups are named by the attributes of the stream.
    fn new(event: &Event, attributes: &[Attribute]) -> Self {
        let mut report = Self { row: event.record, event: event.kind.name(), ..Self::default() };
        report.cause = match event.cause {
            Cause::Every => "every",
            Cause::LossDrift(sign) => {
                report.rate = Some(sign.name());
                "loss drift"
            }
            Cause::FairnessDrift { attribute, group, rate } => {
                let known = attributes.get(attribute);
                let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
                report.group = Some(Group {
                    attribute: name(known.map(Attribute::column)),
                    group: name(known.and_then(|known| known.groups().get(group)).map(String::as_str)),
                });
                report.rate = Some(rate.name());
                "fairness drift"
            }
            Cause::Unfair => "unfair",
            Cause::Merge => "merge",
        };
        match event.kind {
            EventKind::DriftDetected(change) => {
                report.size = Some(Size {
                    before: change.before,
                    after: change.after,
                    records_before: change.records_before,
                    records_after: change.records_after,
                });
            }
            EventKind::ExpertAdded { expert, parent } => {
                (report.expert, report.parent) = (Some(expert + 1), parent.map(|parent| parent + 1));
            }
            EventKind::ExpertsMerged { into, expert } => {
                (report.into, report.expert) = (Some(into + 1), Some(expert + 1));
            }
            EventKind::ShardsMerged { shards } => report.shards = Some(shards),
        }
        report
    }

    /// Reports a change of the encoding.
    fn of_change(change: &Change) -> Self {
        let mut encoding = Encoding { feature: change.feature.clone(), ..Encoding::default() };
        let cause = match &change.kind {
            ChangeKind::Moved { before, after } => {
                (encoding.range_before, encoding.range_after) = (Some(*before), Some(*after));
                "values moved"
            }
            ChangeKind::Replaced { before, after } => {
                (encoding.level_before, encoding.level_after) = (Some(before.clone()), Some(after.clone()));
                "level replaced"
            }
            ChangeKind::Filled { is_number } => {
                encoding.kind = Some(if *is_number { "number" } else { "category" });
                "first values"
            }
        };
        Self { row: change.row, event: "encoding fitted", cause, encoding: Some(encoding), ..Self::default() }
    }
}

/// Returns the events of the mixture and of the encoding, oldest first.
#[must_use]
pub fn events(trainer: &Trainer) -> Vec<EventReport> {
    let attributes: Vec<Attribute> = trainer.attributes().cloned().collect();
    let events = trainer.learner().events().newest().iter().map(|event| EventReport::new(event, &attributes));
    let changes = trainer.encoder().into_iter().flat_map(|encoder| encoder.changes()).map(EventReport::of_change);
    let mut all: Vec<EventReport> = events.chain(changes).collect();
    all.sort_by_key(|report| report.row);
    all
}
