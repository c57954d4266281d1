//! `--dry-run`: what a run would find in its data, and how much time and memory it would take.

use std::fmt::Write as _;

use clap::Args;
use feamoe::error::Error;
use feamoe::training::rehearsal::Rehearsal;
use schemars::JsonSchema;
use serde::Serialize;

use super::memory::peak_memory_bytes;
use super::run::{bad_cells, features};
use super::{Format, FormatOption, Outcome, print};

/// Whether the run takes place.
#[derive(Args, Clone, Copy, Debug)]
pub struct DryRunOption {
    /// Write nothing: check the options, the schema, the output paths and all of the data, count
    /// what the run would count, and estimate its time and memory. To measure the speed, it learns
    /// from the first 20,000 rows
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,
}

impl DryRunOption {
    /// Returns whether this is a dry run.
    pub fn is_on(self) -> bool {
        self.dry_run
    }
}

/// The JSON document of `feamoe train --dry-run` and `feamoe update --dry-run`.
#[derive(Serialize, JsonSchema)]
pub struct Report {
    #[serde(flatten)]
    rehearsal: Rehearsal,
    /// Estimated peak memory of the run, in bytes; null if the system does not report the peak
    /// memory of this process.
    memory_bytes: Option<u64>,
}

/// Checks the data and prints what was found.
pub fn run(look: impl FnOnce() -> Result<Rehearsal, Error>, format: FormatOption) -> anyhow::Result<Outcome> {
    let rehearsal = look()?;
    let memory_bytes = peak_memory_bytes().map(|bytes| bytes + rehearsal.rows_in_memory_bytes);
    let report = Report { rehearsal, memory_bytes };
    match format.format {
        Format::Json => print::json(&report)?,
        Format::Text => print::text(&render(&report))?,
    }
    Ok(Outcome::Done)
}

fn render(report: &Report) -> String {
    let Report { rehearsal: r, memory_bytes } = report;
    let mut text = String::new();
    let weightless = if r.weightless > 0 { format!(", {} of weight 0", r.weightless) } else { String::new() };
    let _ = writeln!(text, "would learn from {} rows ({} skipped{weightless}); nothing was written", r.rows, r.skipped);
    let passes = if r.passes > 1 { format!(" in {} passes", r.passes) } else { String::new() };
    let memory =
        memory_bytes.map_or_else(String::new, |bytes| format!(", peak memory about {:.0} MB", bytes as f64 / 1e6));
    let _ = writeln!(
        text,
        "about {:.1} s{passes}, {:.0} rows/s measured on {} rows{memory}",
        r.seconds, r.rows_per_second, r.timed_rows
    );
    text.push_str(&super::evaluate::other_labels(&r.other_labels));
    let _ = write!(text, "\n{}", features(&r.features));
    text.push_str(&super::evaluate::without_group(&r.attributes));
    for warning in r.notes.iter().cloned().chain(bad_cells(&r.features)) {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}
