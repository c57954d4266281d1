//! `feamoe monitor --status`: evaluates the statuses that devices sent.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::bail;
use feamoe::judge::fleet::{Counters, Fleet, Inbox, Refused, open_key};
use feamoe::judge::gaps::GroupGaps;
use feamoe::judge::monitor::{EventReport, Report, report};
use feamoe::judge::outliers::{Decisive, Outlier};
use feamoe::judge::received::Names;
use feamoe::lock::Lock;
use feamoe::schema::Schema;
use feamoe_engine::fairness::Measure;

use super::Options;
use crate::cli::evaluate::gaps;
use crate::cli::print::{self, TextTable, share, signed};
use crate::cli::require::named;
use crate::cli::{Format, Outcome, load_any, read_blob, read_card};

/// The largest number of outliers in the text.
const MOST_LISTED: usize = 12;

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let mut names = Names::default();
    let schema = options.schema.as_deref().map(Schema::open).transpose()?;
    if let Some(schema) = &schema {
        names.name_groups(schema, options.attribute.as_deref())?;
    }
    let is_open = schema.is_none();
    if let Some(path) = &options.of {
        let blob = read_blob(path)?;
        let model = load_any(path, &blob)?;
        if let Some(schema) = &schema {
            schema.target.check_model(model.any().schema())?;
        }
        names.name_features(model.any());
        // The model's schema names the groups if it is clear which attribute was monitored.
        let card = read_card(path, &blob)?.filter(|_| is_open);
        let known = card.filter(|card| options.attribute.is_some() || card.schema.protected.len() == 1);
        if let Some(card) = known {
            names.name_groups(&card.schema, options.attribute.as_deref())?;
        } else if is_open && options.attribute.is_some() {
            bail!("{}: the model does not name its groups; name a schema with --schema", path.display());
        }
    } else if is_open && options.attribute.is_some() {
        bail!("--attribute needs a schema with the column; name one with --schema, or the model with --model");
    }
    let mut inbox = Inbox::new(options.key_file.as_deref().map(open_key).transpose()?);
    // Without the lock, two concurrent runs would lose the counters that one of them saw.
    let _lock = options.seen.as_deref().map(Lock::beside).transpose()?;
    let seen = options.seen.as_deref().map(counters).transpose()?.flatten();
    let mut files = Vec::new();
    for path in &options.status {
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        // With a key, only one of two identical statuses counts.
        if options.key_file.is_none() && files.contains(&file) {
            bail!(
                "{}: found the same status twice, which would be counted twice; name each status once",
                path.display()
            );
        }
        files.push(file);
        inbox.read(path)?;
    }
    let fleet = inbox.settle(seen.as_ref(), &names);
    let limits: Vec<(Measure, f32)> = options.require.limits().collect();
    let report = match report(&fleet, &names, &limits) {
        Ok(report) => report,
        Err(error) => {
            // No status counts, but the counters of those refused for good are kept.
            note(options.seen.as_deref(), seen, &fleet)?;
            return Err(error.into());
        }
    };
    if !report.refused.is_empty() {
        print::message(&format!("statuses that do not count: {}", Refused::counts(&report.refused)));
    }
    match options.format.format {
        Format::Json => print::json(&report)?,
        Format::Text => print::text(&render(&report))?,
    }
    note(options.seen.as_deref(), seen, &fleet)?;
    let without_group = [("", report.total.without_group)];
    let outcome = options.require.check(&report.requirements, "the statuses have no groups to compare", without_group);
    report.decisive.iter().for_each(|decisive| print::message(&decides(decisive)));
    if !report.silent.is_empty() {
        print::message(&format!(
            "devices in --seen without a status that counts: {}; they sent nothing, or it was refused",
            report.silent.len()
        ));
    }
    let lost = report.authenticated && report.refused.iter().any(|refused| refused.why.is_authentic_loss());
    let is_whole = report.silent.is_empty() && !lost;
    Ok(if options.require.is_strict() && !is_whole { Outcome::CheckNotMet } else { outcome })
}

/// Adds the counters of this run to those of earlier runs, if there are any to add.
fn note(path: Option<&Path>, seen: Option<Counters>, fleet: &Fleet) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let mut all = seen.clone().unwrap_or_default();
    all.note(fleet);
    if all != seen.unwrap_or_default() {
        print::write_file(path, all.to_json().as_bytes())?;
    }
    Ok(())
}

/// Reads the counters of earlier runs. If the file does not exist, prints a note.
fn counters(path: &Path) -> anyhow::Result<Option<Counters>> {
    let found = Counters::open(path)?;
    if found.is_none() {
        print::note(&format!(
            "note: {} does not exist; this run creates it, and cannot recognise statuses that were seen before",
            path.display()
        ));
    }
    Ok(found)
}

/// Returns the name of a file with the device that sent it.
fn sent_by(file: &str, device: Option<&str>) -> String {
    device.map_or_else(|| file.to_owned(), |device| format!("{file} (device {device})"))
}

fn decides(decisive: &Decisive) -> String {
    let Decisive { file, device, measure, limit, verdict, without } = decisive;
    let who = sent_by(file, device.as_deref());
    format!(
        "{who} alone decides {measure} {limit}: {} with it, {} without it; check this device",
        verdict.name(),
        without.name()
    )
}

/// Returns the tables for people.
fn render(report: &Report) -> String {
    let mut text = String::new();
    let total = &report.total;
    let _ = writeln!(
        text,
        "{} status{} of model {}, threshold {}, {}\nrows {}  labelled {}  without group {}  mean score {}  accuracy {}\n",
        report.statuses.len(),
        if report.statuses.len() == 1 { "" } else { "es" },
        report.model,
        report.threshold,
        match (report.authenticated, report.replays_excluded) {
            (true, true) => "authenticated",
            (true, false) =>
                "authenticated; without the counters of an earlier run (--seen), it is unknown whether they were seen before",
            (false, _) => "not authenticated: anyone could have written them",
        },
        total.rows,
        total.labelled,
        total.without_group,
        share(total.score_mean),
        share(total.accuracy)
    );
    let fairness: Vec<GroupGaps> = total.fairness.iter().map(|watched| watched.gaps.clone()).collect();
    let has_distances = report.groups.iter().any(|g| !g.recourse_burden.is_nan() || g.without_recourse > 0);
    if !fairness.is_empty() {
        let _ = writeln!(text, "{}", gaps(&fairness, has_distances));
    }
    groups(&mut text, report);
    inputs(&mut text, report);
    statuses(&mut text, report);
    outliers(&mut text, &report.outliers);
    text
}

fn groups(text: &mut String, report: &Report) {
    let headings = ["group", "rows", "selected", "mean score", "labelled", "TPR", "FPR", "precision", "accuracy"];
    let mut table = TextTable::new(&[&headings[..], &["recourse", "without"]].concat());
    let mut full = String::new();
    for g in &report.groups {
        let name = named(&g.attribute, &g.group);
        if g.full {
            let _ = writeln!(full, "{name}: a counter reached its maximum, and the device stopped counting");
        }
        table.row([
            name,
            g.rows.to_string(),
            share(g.selection_rate),
            share(g.score_mean),
            g.labelled.to_string(),
            share(g.tpr),
            share(g.fpr),
            share(g.precision),
            share(g.accuracy),
            share(g.recourse_burden),
            g.without_recourse.to_string(),
        ]);
    }
    let _ = writeln!(text, "{}{full}", table.render());
}

/// Lists only the features with such a value.
fn inputs(text: &mut String, report: &Report) {
    let mut table = TextTable::new(&["input", "missing", "clamped", "unseen"]);
    let rows = report.total.rows;
    #[allow(clippy::cast_precision_loss)]
    let of_rows = |count: u64| format!("{count} ({})", share(count as f64 / rows as f64));
    for input in [&report.inputs].into_iter().chain(&report.features) {
        let counts = [input.missing, input.clamped, input.unseen];
        if input.feature.is_none() || counts != [0; 3] {
            let name = input.feature.as_deref().unwrap_or("records with such a value");
            table.row([name.to_owned()].into_iter().chain(counts.map(of_rows)));
        }
    }
    let _ = writeln!(text, "{}", table.render());
}

fn statuses(text: &mut String, report: &Report) {
    let mut table =
        TextTable::new(&["status", "device", "since", "rows", "labelled", "accuracy", "largest SPD", "drifts"]);
    for status in &report.statuses {
        table.row([
            status.file.clone(),
            status.device.clone().unwrap_or_else(|| "-".into()),
            status.since.map_or("-".into(), |since| since.to_string()),
            status.watched.rows.to_string(),
            status.watched.labelled.to_string(),
            share(status.watched.accuracy),
            signed(status.watched.worst(Measure::Spd).unwrap_or(f32::NAN)),
            (status.events.len() as u64 + u64::from(status.events_dropped)).to_string(),
        ]);
    }
    text.push_str(&table.render());
    for status in &report.statuses {
        if status.events_dropped > 0 {
            let _ = writeln!(
                text,
                "{}: {} earlier drifts, which the device had no room to store",
                status.file, status.events_dropped
            );
        }
        for event in &status.events {
            let _ = writeln!(text, "{}: {}", status.file, line(event));
        }
    }
    for refused in &report.refused {
        let counter = refused.counter.map_or(String::new(), |counter| format!(", counter {counter}"));
        let who = sent_by(&refused.file, refused.device.as_deref());
        let found = refused.found.as_ref().map_or(String::new(), |found| format!("; {found}"));
        let _ = writeln!(text, "{who}{counter} does not count: {}{found}", refused.why.name());
    }
    for silent in &report.silent {
        let _ = writeln!(text, "device {}: no status that counts since counter {}", silent.device, silent.counter);
    }
}

/// Lists devices that differ from all others, the clearest first.
fn outliers(text: &mut String, outliers: &[Outlier]) {
    if outliers.is_empty() {
        return;
    }
    let mut table = TextTable::new(&["differs from all others", "group", "measure", "difference", "interval"]);
    for outlier in outliers.iter().take(MOST_LISTED) {
        let [low, high] = outlier.interval;
        table.row([
            sent_by(&outlier.file, outlier.device.as_deref()),
            outlier.group.clone(),
            outlier.measure.to_owned(),
            signed(outlier.difference),
            format!("{} to {}", signed(low), signed(high)),
        ]);
    }
    let _ = write!(text, "\n{}", table.render());
    if outliers.len() > MOST_LISTED {
        let _ = writeln!(text, "and {} more (--format json)", outliers.len() - MOST_LISTED);
    }
}

fn line(event: &EventReport) -> String {
    let (before, after) = (signed(event.before), signed(event.after));
    let what = event.group.as_ref().map_or(String::new(), |group| format!("{group}, gap in "));
    format!("row {}: {what}{} {before} -> {after}", event.row, event.rate)
}
