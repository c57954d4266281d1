//! What happened to the mixture, as `feamoe train` reports it.

use std::fmt::Write as _;

use feamoe::encoder::{Change, ChangeKind};
use feamoe::learner::{Cause, Event, EventKind};
use feamoe::rows::Attribute;
use feamoe::training::Trainer;
use serde::Serialize;

use super::print::{safe, signed};

/// Lines in the text report at most; JSON has all that are kept.
const SHOWN: usize = 10;

/// An event in JSON; what does not belong to its kind is left out.
#[derive(Debug, Default, Serialize)]
pub struct EventReport {
    /// Rows learned from before.
    row: u64,
    event: &'static str,
    cause: &'static str,
    /// The expert, counted from 1, that was added, or that was given up when two were merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    expert: Option<usize>,
    /// The expert it was copied from; none where it is the mean of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<usize>,
    /// The expert it was merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    into: Option<usize>,
    /// The group whose relation to the reference changed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    group: Option<Group>,
    /// What changed: loss, loss lag, or the rate of the group minus that of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
}

#[derive(Debug, Serialize)]
struct Group {
    attribute: String,
    group: String,
}

/// How the encoding of a feature changed; what does not belong to the change is left out.
#[derive(Debug, Default, Serialize)]
struct Encoding {
    feature: String,
    /// The values that bins distinguish, from lowest to highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    range_before: Option<[f32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_after: Option<[f32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level_after: Option<String>,
    /// What an empty column turned out to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

/// Means before and after a change.
#[derive(Debug, Serialize)]
struct Size {
    before: f32,
    after: f32,
    /// Records behind them; of a gap, pairs of records.
    records_before: u32,
    records_after: u32,
}

impl EventReport {
    /// Names the groups by the attributes of the stream.
    pub fn new(event: &Event, attributes: &[Attribute]) -> Self {
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

    fn line(&self) -> String {
        let mut line = format!("row {}: {}", self.row, self.event);
        if let Some(encoding) = &self.encoding {
            let _ = write!(line, ": {}, {}", safe(&encoding.feature), self.cause);
            if let (Some(before), Some(after)) = (encoding.range_before, encoding.range_after) {
                let [[a, b], [c, d]] = [before, after];
                let _ = write!(line, ", {a} to {b} -> {c} to {d}");
            }
            if let (Some(before), Some(after)) = (&encoding.level_before, &encoding.level_after) {
                let _ = write!(line, ", {} -> {}", safe(before), safe(after));
            }
            if let Some(kind) = encoding.kind {
                let _ = write!(line, ": a {kind}");
            }
            return line;
        }
        match (self.expert, self.parent, self.into, &self.size) {
            (Some(expert), Some(parent), ..) => _ = write!(line, ": {expert}, from {parent}, on {}", self.cause),
            (Some(expert), _, Some(into), _) => _ = write!(line, ": {expert} into {into}, on {}", self.cause),
            (Some(expert), ..) => _ = write!(line, ": {expert}, the mean of all, on {}", self.cause),
            (.., Some(size)) => {
                let rate = self.rate.unwrap_or_default();
                let what = self.group.as_ref().map(|group| format!("{} {}, gap in ", group.attribute, group.group));
                let (what, before, after) = (what.unwrap_or_default(), signed(size.before), signed(size.after));
                let _ = write!(line, ": {what}{rate} {before} -> {after}");
            }
            _ => {}
        }
        line
    }
}

/// Returns what happened to the mixture and to the encoding, oldest first.
pub fn reports(trainer: &Trainer, attributes: &[Attribute]) -> Vec<EventReport> {
    let events = trainer.learner().events().newest().iter().map(|event| EventReport::new(event, attributes));
    let changes = trainer.encoder().into_iter().flat_map(|encoder| encoder.changes()).map(EventReport::of_change);
    let mut all: Vec<EventReport> = events.chain(changes).collect();
    all.sort_by_key(|report| report.row);
    all
}

/// Returns a line for each of the newest events that are not by the clock, and how many more there
/// were; nothing where there was none.
pub fn render(events: &[EventReport], dropped: u64) -> String {
    let shown: Vec<&EventReport> = events.iter().filter(|event| event.cause != "every").collect();
    let mut text = String::new();
    if shown.is_empty() {
        return text;
    }
    let first = shown.len().saturating_sub(SHOWN);
    text.push('\n');
    if first > 0 || dropped > 0 {
        let _ = writeln!(text, "({first} earlier events; --format json has the newest {})", events.len());
    }
    for event in shown.iter().skip(first) {
        let _ = writeln!(text, "{}", event.line());
    }
    text
}
