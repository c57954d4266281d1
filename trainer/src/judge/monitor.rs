//! What devices that watch themselves sent home: the statuses of [`feamoe_engine::monitor`], one or
//! a whole fleet's, added up and measured as an evaluation is.
//!
//! Counters and measures are the engine's; all counts add exactly. A status lists groups and
//! features by number: names come from the schema and the model.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use feamoe_engine::fairness::{Measure, WideCounts};
use feamoe_engine::monitor::{Event, InputCounts, MAX_STATUS_BYTES, Status, Tally};
use serde::Serialize;

use super::gaps::{GroupGaps, correct};
use super::tally::Side;
use super::verdict::Requirement;
use crate::error::{Error, list};
use crate::model::AnyModel;
use crate::rows::Attribute;
use crate::schema::Schema;

/// One status, as read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    file: PathBuf,
    model: u32,
    threshold: f32,
    since: u64,
    observed: u64,
    inputs: InputCounts,
    ungrouped: Tally,
    groups: Vec<Tally>,
    features: Vec<InputCounts>,
    events: Vec<Event>,
    events_dropped: u32,
}

impl Received {
    /// Reads a file, of one that is too long for a status only as much as shows that it is, and
    /// checks all of it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Status`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_STATUS_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| Error::Read { file: path.display().to_string(), source })?;
        let status = Status::read(&bytes).map_err(|error| refused(path, error.to_string()))?;
        Ok(Self {
            file: path.to_owned(),
            model: status.model_crc32(),
            threshold: status.threshold(),
            since: status.since(),
            observed: status.observed(),
            inputs: *status.inputs(),
            ungrouped: *status.ungrouped(),
            groups: status.groups().collect(),
            features: status.features().collect(),
            events: status.events().collect(),
            events_dropped: status.events_dropped(),
        })
    }
}

fn refused(file: &Path, message: String) -> Error {
    Error::Status { file: file.display().to_string(), message }
}

/// Names of what a status numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    attribute: String,
    groups: Vec<String>,
    /// Whether there may be more groups than names.
    is_open: bool,
    model: Option<u32>,
    features: Vec<String>,
}

impl Names {
    /// Takes the names of the groups from a protected column of a schema: the one of this name, or
    /// without a name the only one.
    ///
    /// # Errors
    /// [`Error::Input`] where there is no such column, or several to choose from.
    pub fn name_groups(&mut self, schema: &Schema, attribute: Option<&str>) -> Result<(), Error> {
        let columns: Vec<&str> = schema.protected.iter().map(|protected| protected.column.as_str()).collect();
        let found = match (attribute, schema.protected.as_slice()) {
            (Some(name), all) => all.iter().find(|protected| protected.column == name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some(found) = found else {
            let wanted = attribute.map_or("none named".into(), |name| format!("{name:?}"));
            return Err(Error::Input(format!(
                "found {wanted}, expected the protected column that the monitor watched; the schema has [{}]",
                list(&columns)
            )));
        };
        let named = Attribute::new(found);
        self.attribute = named.column().to_owned();
        self.groups = named.groups().to_vec();
        self.is_open = found.unprivileged.is_none();
        Ok(())
    }

    /// Takes the names of the features from the model, which the statuses must be of.
    pub fn name_features(&mut self, model: AnyModel<'_>) {
        let schema = model.schema();
        self.model = Some(model.crc32());
        self.features =
            (0..schema.features().len()).map_while(|index| schema.feature_name(index)).map(str::to_owned).collect();
    }

    fn group(&self, index: usize) -> String {
        self.groups.get(index).cloned().unwrap_or_else(|| format!("group {index}"))
    }

    fn feature(&self, index: usize) -> String {
        self.features.get(index).cloned().unwrap_or_else(|| format!("feature {index}"))
    }

    fn check(&self, received: &Received) -> Result<(), Error> {
        let (found, expected) = (received.groups.len(), self.groups.len());
        if let Some(model) = self.model.filter(|model| *model != received.model) {
            let found = received.model;
            return Err(refused(
                &received.file,
                format!(
                    "found the status of model {found:08x}, expected that of {model:08x}, the model named; name the model that the device runs"
                ),
            ));
        }
        if found < expected || (found > expected && expected > 0 && !self.is_open) {
            return Err(refused(
                &received.file,
                format!(
                    "found {found} groups, expected the {expected} that the schema lists for column {:?}; choose another attribute",
                    self.attribute
                ),
            ));
        }
        Ok(())
    }
}

/// What one or more statuses say; serialises to the JSON of `feamoe monitor`. A measure that no
/// record supports is NaN (JSON: null).
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// Checksum of the model that was watched.
    pub model: String,
    /// Its threshold.
    pub threshold: f32,
    /// All statuses together.
    #[serde(flatten)]
    pub total: Watched,
    /// Every group, the reference first.
    pub groups: Vec<GroupReport>,
    /// Values that were not as in training: records with such a value.
    pub inputs: InputReport,
    /// The same by feature.
    pub features: Vec<InputReport>,
    /// Each status by itself, in the order given.
    pub statuses: Vec<StatusReport>,
    /// The verdicts on required limits, of all statuses together; empty where none is required.
    pub requirements: Vec<Requirement>,
}

/// What was observed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Watched {
    /// Observations.
    pub rows: u64,
    /// Those whose outcome is known.
    pub labelled: u64,
    /// Those without a group: no measure by group counts them.
    pub without_group: u64,
    /// Mean score.
    pub score_mean: f32,
    /// Share of right decisions, of the labelled ones.
    pub accuracy: f32,
    /// Every group against the reference.
    pub fairness: Vec<WatchedGaps>,
}

/// The side of a tally. A device sums burdens and distances, not their squares: those gaps have no
/// interval.
fn side(tally: &Tally) -> Side {
    Side {
        decisions: WideCounts::from(*tally.decisions()),
        labelled: WideCounts::from(*tally.labelled()),
        burden: None,
        distances: *tally.distances(),
        spread: None,
    }
}

impl Watched {
    fn new(rows: u64, ungrouped: &Tally, groups: &[Tally], names: &Names) -> Self {
        let mut all = *ungrouped;
        groups.iter().for_each(|tally| all.merge(tally));
        let sides: Vec<[Side; 2]> = match groups {
            [reference, others @ ..] => others.iter().map(|tally| [side(tally), side(reference)]).collect(),
            [] => Vec::new(),
        };
        let pair = |(index, pair): (usize, &[Side; 2])| {
            GroupGaps::new(&names.attribute, [&names.group(index + 1), &names.group(0)], pair.each_ref())
        };
        let mut gaps: Vec<GroupGaps> = sides.iter().enumerate().map(pair).collect();
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

    /// Returns the value of a measure that is furthest from equal treatment, over the groups that
    /// can be judged by it; `None` without such a group.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Option<f32> {
        let judged = self.fairness.iter().map(|watched| &watched.gaps);
        let judged = judged.filter_map(|gaps| Some((gaps.magnitude(measure)?, gaps.measure(measure))));
        judged.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, value)| value)
    }
}

/// The gaps of a group, and how many records have an outcome.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct WatchedGaps {
    /// As in an evaluation; `rows` are decisions.
    #[serde(flatten)]
    pub gaps: GroupGaps,
    /// Labelled records of the group.
    pub labelled: u64,
    /// Labelled records of the reference.
    pub reference_labelled: u64,
}

/// What was counted of one group.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GroupReport {
    /// Protected column; empty without a schema.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Its observations.
    pub rows: u64,
    /// Share of favourable decisions.
    pub selection_rate: f32,
    /// Mean score.
    pub score_mean: f32,
    /// Records whose outcome is known; the next four are of these.
    pub labelled: u64,
    /// True positive rate.
    pub tpr: f32,
    /// False positive rate.
    pub fpr: f32,
    /// Share of right ones among the favourable decisions.
    pub precision: f32,
    /// Share of right decisions.
    pub accuracy: f32,
    /// Mean of `threshold - p` over the declined records.
    pub burden: f32,
    /// Mean distance of the declined records from a favourable decision, in standard deviations; of
    /// those whose distance the device found.
    pub recourse_burden: f32,
    /// Declined records for which it found none.
    pub without_recourse: u64,
    /// Whether a counter reached its end, so that the device stopped counting.
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

/// How many values were not as in training.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct InputReport {
    /// The feature; `None` for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// There was none.
    pub missing: u64,
    /// Outside the training range.
    pub clamped: u64,
    /// A level that training had not seen.
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

/// One status.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct StatusReport {
    /// The file.
    pub file: String,
    /// When its counts began, by the device's clock, in seconds since 1970 where it knows; `None`
    /// where it has none.
    pub since: Option<u64>,
    /// What was observed.
    #[serde(flatten)]
    pub watched: Watched,
    /// Drifts found, oldest first.
    pub events: Vec<EventReport>,
    /// Older ones, which the device had no room for.
    pub events_dropped: u32,
}

/// A drift that a device found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct EventReport {
    /// At which observation of the period.
    pub row: u64,
    /// What changed: `favourable rate`, `mean score`, `error rate`.
    pub rate: &'static str,
    /// The group whose gap to the reference changed; `None` where it was the rate of all records.
    pub group: Option<String>,
    /// Mean before.
    pub before: f32,
    /// Mean since.
    pub after: f32,
    /// Records behind it; of a gap, pairs of records.
    pub records_before: u32,
    /// Likewise.
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

/// Adds up statuses of one model, one at least, and measures the sum and each.
///
/// # Errors
/// [`Error::Input`] without a status; [`Error::Status`] for one of another model or with other
/// groups than the first or the names, and where a sum passes what a counter holds.
pub fn report(received: &[Received], names: &Names) -> Result<Report, Error> {
    let Some((first, others)) = received.split_first() else {
        return Err(Error::Input("found no status, expected one at least".into()));
    };
    names.check(first)?;
    let (mut ungrouped, mut groups) = (first.ungrouped, first.groups.clone());
    for other in others {
        names.check(other)?;
        let shape = |received: &Received| (received.model, received.groups.len(), received.features.len());
        if shape(other) != shape(first) {
            let ((model, groups, _), (first_model, first_groups, _)) = (shape(other), shape(first));
            return Err(refused(
                &other.file,
                format!(
                    "found model {model:08x} and {groups} groups, expected those of {}, model {first_model:08x} and {first_groups} groups; \
                     statuses of different monitors do not add up, look at them one by one",
                    first.file.display()
                ),
            ));
        }
        ungrouped.merge(&other.ungrouped);
        groups.iter_mut().zip(&other.groups).for_each(|(sum, tally)| sum.merge(tally));
        if ungrouped.is_full() || groups.iter().any(Tally::is_full) {
            let message = "found a sum past 4294967294, which no counter holds; look at fewer statuses at a time";
            return Err(refused(&other.file, message.into()));
        }
    }
    let status = |received: &Received| StatusReport {
        file: received.file.display().to_string(),
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
    Ok(Report {
        model: format!("{:08x}", first.model),
        threshold: first.threshold,
        total: Watched::new(rows, &ungrouped, &groups, names),
        groups: groups.iter().enumerate().map(|(index, tally)| GroupReport::new(names, index, tally)).collect(),
        inputs: InputReport::new(None, received.iter().map(|received| &received.inputs)),
        features: (0..first.features.len()).map(feature).collect(),
        statuses: received.iter().map(status).collect(),
        requirements: Vec::new(),
    })
}
