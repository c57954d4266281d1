//! Metrics of the service in the text format of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use feamoe_engine::schema::Note;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::text::printable;

/// Upper bounds of the latency buckets, in seconds.
const SECONDS: [f64; 16] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Maximum number of groups of a column that are counted by name. Later groups are counted as
/// [`OTHER`].
const MOST_GROUPS: usize = 32;
const OTHER: &str = "other";
/// Maximum number of characters of a group's name.
const MOST_CHARACTERS: usize = 64;
const OUTCOMES: [&str; 2] = ["declined", "favourable"];
const NOTES: [&str; 3] = ["missing", "clamped", "unseen"];

/// Metrics of a service since its start.
pub struct Metrics {
    registry: Registry,
    seconds: HistogramVec,
    /// The histograms of `seconds` for status 200, by endpoint. Saves a look-up for each answered
    /// request.
    answered: Vec<(&'static str, Histogram)>,
    /// By outcome.
    decisions: [IntCounter; 2],
    /// By kind.
    notes: [IntCounter; 3],
    group_decisions: IntCounterVec,
    /// The columns of groups, each with the names that are counted.
    columns: Vec<(String, Mutex<BTreeSet<String>>)>,
    model: IntGaugeVec,
    swaps: IntCounterVec,
    /// Open connections.
    pub connections: IntGauge,
    /// Idle connections that were closed to make room for others.
    pub closed_idle: IntCounter,
    /// Connections that were slow to take an answer and were closed to make room for others.
    pub closed_sending: IntCounter,
    /// Connections that could not be accepted.
    pub failed_accepts: IntCounter,
    /// Lines of the log that were lost because they were not written in time.
    pub lost_lines: IntCounter,
}

impl Metrics {
    /// Creates the metrics: requests by endpoint, and decisions in total and by the groups of
    /// `columns`.
    pub fn new(columns: &[String], endpoints: &[&'static str]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let help = "Time from a request's header to its answer, by endpoint and status; 499 where the client left";
        let options = HistogramOpts::new("feamoe_request_seconds", help).buckets(SECONDS.to_vec());
        let seconds = HistogramVec::new(options, &["endpoint", "status"])?;
        registry.register(Box::new(seconds.clone()))?;
        let model = IntGaugeVec::new(Opts::new("feamoe_model", "The model that answers, by its SHA-256"), &["model"])?;
        registry.register(Box::new(model.clone()))?;
        let connections = IntGauge::new("feamoe_connections", "Open connections, busy or idle")?;
        registry.register(Box::new(connections.clone()))?;
        let decisions = counters("feamoe_decisions_total", "Decisions of /score, by outcome", &["outcome"])?;
        let notes =
            counters("feamoe_notes_total", "Values of /score that were not as in training, by kind", &["kind"])?;
        let groups =
            "Decisions of /score, by the value of a column; beyond 32 values of a column they are counted as other";
        Ok(Self {
            decisions: OUTCOMES.map(|outcome| decisions.with_label_values(&[outcome])),
            notes: NOTES.map(|kind| notes.with_label_values(&[kind])),
            group_decisions: counters("feamoe_group_decisions_total", groups, &["column", "group", "outcome"])?,
            swaps: counters("feamoe_swaps_total", "Models that were put in place or refused", &["outcome"])?,
            closed_idle: counter("feamoe_idle_connections_closed_total", "Idle connections that made room for others")?,
            closed_sending: counter(
                "feamoe_slow_connections_closed_total",
                "Connections that were slow to take an answer, closed to make room for others",
            )?,
            failed_accepts: counter("feamoe_failed_accepts_total", "Connections that the system could not hand over")?,
            lost_lines: counter("feamoe_log_lines_lost_total", "Lines of the log that nobody took in time")?,
            columns: columns.iter().map(|column| (column.clone(), Mutex::default())).collect(),
            answered: endpoints.iter().map(|name| (*name, seconds.with_label_values(&[*name, "200"]))).collect(),
            registry,
            seconds,
            model,
            connections,
        })
    }

    /// Counts a request.
    pub fn request(&self, endpoint: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        if status == 200
            && let Some((_, answered)) = self.answered.iter().find(|(name, _)| *name == endpoint)
        {
            return answered.observe(seconds);
        }
        let mut digits = [0_u8; 3];
        let mut rest = status;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let status = std::str::from_utf8(&digits).unwrap_or_default();
        self.seconds.with_label_values(&[endpoint, status]).observe(seconds);
    }

    /// Counts the decisions of a request.
    pub fn decisions(&self, tally: &Tally) {
        let counters = self.decisions.iter().chain(&self.notes);
        for (counter, count) in counters.zip(tally.decisions.iter().chain(&tally.notes)) {
            counter.inc_by(*count);
        }
        for ((index, group), counts) in &tally.groups {
            let Some((column, names)) = self.columns.get(*index) else { continue };
            let group = admitted(&mut names.lock().unwrap_or_else(PoisonError::into_inner), group);
            for (outcome, count) in OUTCOMES.iter().zip(counts) {
                self.group_decisions.with_label_values(&[column.as_str(), &group, outcome]).inc_by(*count);
            }
        }
    }

    /// Sets the name of the model that answers.
    pub fn model(&self, name: &str) {
        self.model.reset();
        self.model.with_label_values(&[name]).set(1);
    }

    /// Counts a model that was put in place or refused.
    pub fn swap(&self, is_done: bool) {
        self.swaps.with_label_values(&[if is_done { "done" } else { "refused" }]).inc();
    }

    /// Returns all metrics as text.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Returns the name under which a group is counted.
fn admitted(names: &mut BTreeSet<String>, group: &str) -> String {
    let name: String = printable(group).replace('\n', "\u{fffd}").chars().take(MOST_CHARACTERS).collect();
    if names.contains(&name) {
        return name;
    }
    if names.len() == MOST_GROUPS {
        return OTHER.to_owned();
    }
    names.insert(name.clone());
    name
}

/// Returns the number of missing, clamped and unseen values.
pub fn counted(notes: &[Note]) -> [u16; 3] {
    let mut counts = [0; 3];
    for note in notes {
        let [missing, clamped, unseen] = &mut counts;
        match note {
            Note::Usual => {}
            Note::Missing => *missing += 1,
            Note::Clamped => *clamped += 1,
            Note::Unseen => *unseen += 1,
        }
    }
    counts
}

/// The decisions of one request.
#[derive(Debug, Default)]
pub struct Tally {
    decisions: [u64; 2],
    notes: [u64; 3],
    /// By column and group.
    groups: BTreeMap<(usize, String), [u64; 2]>,
}

impl Tally {
    /// Adds the decision on a record.
    pub fn add<'a>(&mut self, decision: bool, notes: &[Note], groups: impl Iterator<Item = &'a str>) {
        let outcome = usize::from(decision);
        let count = |counts: &mut [u64; 2]| counts.iter_mut().skip(outcome).take(1).for_each(|count| *count += 1);
        count(&mut self.decisions);
        for (notes, noted) in self.notes.iter_mut().zip(counted(notes)) {
            *notes += u64::from(noted);
        }
        for (column, group) in groups.enumerate() {
            count(self.groups.entry((column, group.to_owned())).or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that sends ever new values can neither use up memory nor displace known names.
    #[test]
    fn groups_are_bounded_and_printable() {
        let mut names = BTreeSet::new();
        for index in 0..MOST_GROUPS {
            assert_eq!(admitted(&mut names, &format!("g{index}")), format!("g{index}"));
        }
        assert_eq!(admitted(&mut names, "one more"), OTHER);
        assert_eq!((admitted(&mut names, "g7"), names.len()), ("g7".into(), MOST_GROUPS));
        let mut names = BTreeSet::new();
        assert_eq!(admitted(&mut names, "a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(admitted(&mut names, &"x".repeat(1_000)).len(), MOST_CHARACTERS);
    }
}
