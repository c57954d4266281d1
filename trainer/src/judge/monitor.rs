//! Reports on statuses that devices sent ([`feamoe_engine::monitor`]): those of one device or of a
//! fleet are added up, and measured like an evaluation.
//!
//! Counters and measures are the engine's; all counts add exactly. A status lists groups and
//! features by number: names come from the schema and the model.

use feamoe_engine::fairness::Measure;
use feamoe_engine::monitor::{Event, InputCounts, Tally};
use serde::Serialize;

use super::fleet::{Fleet, Refused, Silent};
use super::gaps::{GroupGaps, correct};
use super::outliers::{Decisive, Outlier, decisive, outliers};
use super::received::{Names, Received, side};
use super::tally::Side;
use super::verdict::Requirement;
use crate::error::Error;

/// The report on one or more statuses; serialises to the JSON of `feamoe monitor`. A measure
/// without supporting records is NaN (JSON: null).
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// CRC-32 of the monitored model, 8 hexadecimal digits.
    pub model: String,
    /// The decision threshold of the model.
    pub threshold: f32,
    /// The counts of all statuses together.
    #[serde(flatten)]
    pub total: Watched,
    /// Every group, the reference first.
    pub groups: Vec<GroupReport>,
    /// Numbers of missing, clamped and unseen values.
    pub inputs: InputReport,
    /// Numbers of missing, clamped and unseen values of each feature.
    pub features: Vec<InputReport>,
    /// Each status by itself, in the order given.
    pub statuses: Vec<StatusReport>,
    /// Whether every status that counts is authenticated.
    pub authenticated: bool,
    /// Whether a list of counters was given, so that statuses of earlier runs were recognised.
    pub replays_excluded: bool,
    /// Statuses that do not count, with the reason.
    pub refused: Vec<Refused>,
    /// Devices of earlier runs without a status that counts now, in order of their ids.
    pub silent: Vec<Silent>,
    /// Devices that differ from all others by more than chance, the clearest difference first.
    pub outliers: Vec<Outlier>,
    /// The verdicts on required limits, over all statuses together; empty if none is required.
    pub requirements: Vec<Requirement>,
    /// Devices without which a verdict would be different.
    pub decisive: Vec<Decisive>,
}

/// The counts of observations.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Watched {
    /// Number of observations.
    pub rows: u64,
    /// Number of observations with a known outcome.
    pub labelled: u64,
    /// Number of observations without a group. Measures by group do not count them.
    pub without_group: u64,
    /// Mean score.
    pub score_mean: f32,
    /// Share of correct decisions among the labelled ones.
    pub accuracy: f32,
    /// Every group compared with the reference.
    pub fairness: Vec<WatchedGaps>,
}

impl Watched {
    fn new(rows: u64, ungrouped: &Tally, groups: &[Tally], names: &Names) -> Self {
        let mut all = *ungrouped;
        groups.iter().for_each(|tally| all.merge(tally));
        let sides: Vec<Side> = groups.iter().map(side).collect();
        let mut gaps = names.gaps(&sides);
        let sides: Vec<[Side; 2]> = match sides.as_slice() {
            [reference, others @ ..] => others.iter().map(|side| [*side, *reference]).collect(),
            [] => Vec::new(),
        };
        correct(&mut gaps, &sides);
        let fairness = gaps.into_iter().zip(&sides).map(|(gaps, [u, r])| WatchedGaps {
            gaps,
            labelled: u.labelled.rows(),
            reference_labelled: r.labelled.rows(),
        });
        Self {
            rows,
            labelled: all.labelled().rows(),
            without_group: ungrouped.rows(),
            score_mean: all.score_mean(),
            accuracy: all.labelled().accuracy(),
            fairness: fairness.collect(),
        }
    }

    /// Returns the value of a measure that is farthest from equal treatment, over the groups that
    /// can be judged by it; `None` if there is no such group.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Option<f32> {
        let judged = self.fairness.iter().map(|watched| &watched.gaps);
        let judged = judged.filter_map(|gaps| Some((gaps.magnitude(measure)?, gaps.measure(measure))));
        judged.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, value)| value)
    }
}

/// The gaps of a group, and the numbers of labelled records.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct WatchedGaps {
    /// The gaps, as in an evaluation; `rows` counts decisions.
    #[serde(flatten)]
    pub gaps: GroupGaps,
    /// Number of labelled records of the group.
    pub labelled: u64,
    /// Number of labelled records of the reference.
    pub reference_labelled: u64,
}

/// The counts of one group.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GroupReport {
    /// The protected column; empty without a schema.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Number of observations of the group.
    pub rows: u64,
    /// Share of favourable decisions.
    pub selection_rate: f32,
    /// Mean score.
    pub score_mean: f32,
    /// Number of records with a known outcome. `tpr`, `fpr`, `precision` and `accuracy` are over
    /// these records.
    pub labelled: u64,
    /// True positive rate.
    pub tpr: f32,
    /// False positive rate.
    pub fpr: f32,
    /// Share of correct decisions among the favourable ones.
    pub precision: f32,
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Mean of `threshold - p` over the declined records.
    pub burden: f32,
    /// Mean distance of declined records from a favourable decision, in standard deviations, over
    /// the records for which the device found a recourse.
    pub recourse_burden: f32,
    /// Number of declined records for which the device found no recourse.
    pub without_recourse: u64,
    /// Whether a counter reached its maximum, so that the device stopped counting.
    pub full: bool,
}

impl GroupReport {
    fn new(names: &Names, index: usize, tally: &Tally) -> Self {
        let (rates, labelled) = (tally.rates(), tally.labelled());
        Self {
            attribute: names.attribute.clone(),
            group: names.group(index),
            rows: tally.rows(),
            selection_rate: rates.positive,
            score_mean: tally.score_mean(),
            labelled: labelled.rows(),
            tpr: rates.true_positive,
            fpr: rates.false_positive,
            precision: labelled.precision(),
            accuracy: labelled.accuracy(),
            burden: rates.burden,
            recourse_burden: rates.recourse_burden,
            without_recourse: tally.distances().without(),
            full: tally.is_full(),
        }
    }
}

/// The number of values that differ from training.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct InputReport {
    /// The feature; absent for the sum over all features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// Number of missing values.
    pub missing: u64,
    /// Number of values outside the training range.
    pub clamped: u64,
    /// Number of values whose level was not seen in training.
    pub unseen: u64,
}

impl InputReport {
    fn new<'a>(feature: Option<String>, counts: impl Iterator<Item = &'a InputCounts>) -> Self {
        let none = Self { feature, missing: 0, clamped: 0, unseen: 0 };
        counts.fold(none, |sum, counts| Self {
            missing: sum.missing + u64::from(counts.missing),
            clamped: sum.clamped + u64::from(counts.clamped),
            unseen: sum.unseen + u64::from(counts.unseen),
            ..sum
        })
    }
}

/// The counts of one status.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct StatusReport {
    /// The file.
    pub file: String,
    /// The id of the device; null if it has none.
    pub device: Option<String>,
    /// The counter of the status; null if it has none.
    pub counter: Option<u64>,
    /// Start of the counts by the device's clock, in seconds, since 1970 if the device knows the
    /// date; null if it has no clock.
    pub since: Option<u64>,
    /// The counts of observations.
    #[serde(flatten)]
    pub watched: Watched,
    /// The detected drifts, oldest first.
    pub events: Vec<EventReport>,
    /// Number of older drifts, for which the device had no room.
    pub events_dropped: u32,
}

/// A drift that a device detected.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct EventReport {
    /// Number of the observation at which the drift was detected.
    pub row: u64,
    /// What changed: `favourable rate`, `mean score` or `error rate`.
    pub rate: &'static str,
    /// The group whose gap to the reference changed; null if the rate of all records changed.
    pub group: Option<String>,
    /// The mean before the change.
    pub before: f32,
    /// The mean since the change.
    pub after: f32,
    /// Number of records before the change; for a gap, number of pairs of records.
    pub records_before: u32,
    /// Number of records since the change; for a gap, number of pairs of records.
    pub records_after: u32,
}

impl EventReport {
    fn new(names: &Names, event: &Event) -> Self {
        Self {
            row: event.at,
            rate: event.watched.name(),
            group: (event.group > 0).then(|| names.group(usize::from(event.group))),
            before: event.change.before,
            after: event.change.after,
            records_before: event.change.records_before,
            records_after: event.change.records_after,
        }
    }
}

/// Adds up the statuses that count, at least one, measures the sum and each status, and judges the
/// sum by the limits.
///
/// # Errors
/// If no status counts: [`Error::Status`] if all of them have other models or groups than the
/// names, otherwise [`Error::Input`].
pub fn report(fleet: &Fleet, names: &Names, limits: &[(Measure, f32)]) -> Result<Report, Error> {
    let received = fleet.counted();
    let Some((first, others)) = received.split_first() else {
        let refused = fleet.refused();
        let misfits = refused.iter().filter_map(|one| Some((&one.file, one.found.as_ref()?)));
        return Err(match (refused.first(), misfits.clone().next()) {
            (None, _) => Error::Input("found no status, expected at least one".into()),
            (Some(_), Some((file, found))) if misfits.count() == refused.len() => {
                Error::Status { file: file.clone(), message: found.clone() }
            }
            (Some(first), _) => Error::Input(format!(
                "found no status that counts: {}; the first is {}",
                Refused::counts(refused),
                first.file
            )),
        });
    };
    let (mut ungrouped, mut groups) = (first.ungrouped, first.groups.clone());
    for other in others {
        ungrouped.merge(&other.ungrouped);
        groups.iter_mut().zip(&other.groups).for_each(|(sum, tally)| sum.merge(tally));
    }
    let status = |received: &Received| StatusReport {
        file: received.file.display().to_string(),
        device: received.device(),
        counter: received.sender.map(|sender| sender.counter),
        since: (received.since > 0).then_some(received.since),
        watched: Watched::new(received.observed, &received.ungrouped, &received.groups, names),
        events: received.events.iter().map(|event| EventReport::new(names, event)).collect(),
        events_dropped: received.events_dropped,
    };
    let feature = |index: usize| {
        InputReport::new(
            Some(names.feature(index)),
            received.iter().filter_map(|received| received.features.get(index)),
        )
    };
    let rows = received.iter().fold(0_u64, |rows, received| rows.saturating_add(received.observed));
    let total = Watched::new(rows, &ungrouped, &groups, names);
    let gaps = || total.fairness.iter().map(|watched| &watched.gaps);
    let judged = limits.iter().map(|(measure, limit)| (*measure, Requirement::of(*measure, *limit, gaps())));
    let judged: Vec<(Measure, Requirement)> = judged.collect();
    let decisive = decisive(received, names, &judged);
    Ok(Report {
        model: format!("{:08x}", first.model),
        threshold: first.threshold,
        total,
        groups: groups.iter().enumerate().map(|(index, tally)| GroupReport::new(names, index, tally)).collect(),
        inputs: InputReport::new(None, received.iter().map(|received| &received.inputs)),
        features: (0..first.features.len()).map(feature).collect(),
        statuses: received.iter().map(status).collect(),
        authenticated: fleet.is_authenticated(),
        replays_excluded: fleet.excludes_replays(),
        refused: fleet.refused().to_vec(),
        silent: fleet.silent().to_vec(),
        outliers: outliers(received, names),
        requirements: judged.into_iter().map(|(_, requirement)| requirement).collect(),
        decisive,
    })
}
