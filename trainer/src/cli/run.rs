//! A training run of `train`, `update` or `merge`: its progress, outputs and report.
//!
//! At the end, the model, the report and the checkpoint are written in this order. If a run is
//! killed before the checkpoint is written, the old checkpoint is still valid and the run can be
//! repeated.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::cli::memory::peak_memory_bytes;
use crate::cli::progress::TrainingProgress;
use anyhow::bail;
use feamoe::error::Error;
use feamoe::model::card::FeatureCells;
use feamoe::output::{OutputFile, WriteError, destination};
use feamoe::rows::MOST_SEEN;
use feamoe::training::checkpoint_file::CheckpointFile;
use feamoe::training::export::Export;
use feamoe::training::remarks::Remark;
use feamoe::training::report::Report as Learned;
use feamoe::training::targets::JudgedOn;
use feamoe::training::{OnProgress, Run, Saving, Trainer};
use schemars::JsonSchema;
use serde::Serialize;

use super::events;
use super::print::{self, TextTable, share, signed};
use super::{Format, FormatOption, Outcome, follow, refuse_overwriting, signals};

/// The largest number of windows in the text report. If there are more, every n-th is shown.
const SHOWN_WINDOWS: usize = 10;

/// Where the checkpoints of a run are written.
#[derive(Clone, Copy)]
pub struct Store<'a> {
    pub path: &'a Path,
    /// Rows between two checkpoints, if given.
    pub every: Option<u64>,
}

/// What a run does on Ctrl-C or SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStop {
    /// Ends without a checkpoint: several passes cannot be resumed.
    Leave,
    /// Writes a checkpoint, to be resumed.
    Store,
    /// Treats it as the end of the data, which are followed.
    Finish,
}

/// The output files of a run.
pub struct Outputs {
    model: OutputFile,
    checkpoint: Option<CheckpointFile>,
    /// Rows between two checkpoints, if given.
    every: Option<u64>,
}

impl Outputs {
    /// Opens the outputs. This happens before training, so that an unwritable folder is reported at
    /// once. Refuses outputs that would replace a file in `read`.
    pub fn open(model: &Path, store: Option<Store<'_>>, read: &[&Path]) -> anyhow::Result<Self> {
        refuse(model, store, read)?;
        let checkpoint = store.map(|store| CheckpointFile::open(store.path)).transpose()?;
        let every = store.and_then(|store| store.every);
        Ok(Self { model: print::create_binary(model)?, checkpoint, every })
    }

    /// Checks that the outputs could be opened. Takes no lock, since nothing is written.
    pub fn check(model: &Path, store: Option<Store<'_>>, read: &[&Path]) -> anyhow::Result<()> {
        refuse(model, store, read)?;
        store.map_or(Ok(()), |store| CheckpointFile::check(store.path))?;
        print::create_binary(model)?;
        Ok(())
    }

    /// Learns, writing checkpoints and showing a progress line.
    pub fn learn<E>(
        &mut self,
        at_stop: AtStop,
        learn: impl FnOnce(Option<Saving<'_>>, OnProgress<'_>) -> Result<Run, E>,
    ) -> Result<Run, E> {
        let progress = TrainingProgress::new();
        let follows = at_stop == AtStop::Finish;
        let Self { model, checkpoint, every } = self;
        let (stores, model) = (checkpoint.is_some(), model.path());
        let mut save = |trainer: &Trainer| {
            if let Some(file) = checkpoint.as_mut() {
                let path = file.path().display().to_string();
                let bytes =
                    trainer.checkpoint().to_bytes().map_err(|error| Error::Checkpoint { file: path.clone(), error })?;
                file.write(&bytes)?;
                print::detail(|| format!("stored {path} ({} bytes)", bytes.len()));
            }
            match follows {
                true => follow::show(trainer, model, checkpoint.as_ref().map(CheckpointFile::path)),
                false => Ok(()),
            }
        };
        let never = AtomicBool::new(false);
        let saving = (stores || follows).then(|| Saving {
            every: every.unwrap_or(Saving::EVERY),
            save: &mut save,
            stop: if at_stop == AtStop::Store { signals::heed() } else { &never },
        });
        let run = learn(saving, &mut |at| {
            progress.update(at);
            ControlFlow::Continue(())
        });
        signals::heed_no_more();
        progress.finish();
        run
    }

    /// Writes the model, the report and the checkpoint, in this order.
    pub fn finish(mut self, run: &Run, format: FormatOption) -> anyhow::Result<Outcome> {
        let exported = run.model()?;
        self.model.write_whole(exported.bytes.as_slice())?;
        let path = self.model.path().display().to_string();
        let stored = match &self.checkpoint {
            Some(checkpoint) => {
                let bytes = run.checkpoint().to_bytes()?;
                let path = checkpoint.path().display().to_string();
                Some((checkpoint.prepare(&bytes)?, CheckpointReport { path, bytes: bytes.len() }))
            }
            None => None,
        };
        self.model.commit()?;
        let refits = run.feature_cells().into_iter().filter(|cells| cells.refits > 0);
        let refits: Vec<String> = refits.map(|cells| format!("{} {}", cells.feature, cells.refits)).collect();
        print::detail(|| {
            format!("refits of the encoding: {}", if refits.is_empty() { "none".to_owned() } else { refits.join(", ") })
        });
        let (file, stored) = stored.unzip();
        let report = report(run, &exported, path, stored);
        let printed = match format.format {
            Format::Json => print::json(&report),
            Format::Text => print::text(&render(&report)),
        };
        match printed {
            // A reader that closes the pipe early does not discard the run.
            Err(error) if !error.downcast_ref().is_some_and(WriteError::is_broken_pipe) => Err(error),
            _ => {
                file.map_or(Ok(()), OutputFile::commit)?;
                Ok(Outcome::Done)
            }
        }
    }
}

/// Refuses outputs that would replace an input or each other.
fn refuse(model: &Path, store: Option<Store<'_>>, read: &[&Path]) -> anyhow::Result<()> {
    refuse_overwriting("--output", model, read.iter().copied())?;
    let Some(Store { path, .. }) = store else { return Ok(()) };
    if print::is_standard_output(path) {
        bail!(
            "--checkpoint: found {} for standard output, expected a file, from which the run can be resumed",
            path.display()
        );
    }
    refuse_overwriting("--checkpoint", path, read.iter().copied())?;
    if destination(path) == destination(model) {
        bail!(
            "{}: both the model and the checkpoint would be written to this file; name two different files",
            path.display()
        );
    }
    Ok(())
}

/// The JSON document of `feamoe train`, `feamoe update` and `feamoe merge`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    #[serde(flatten)]
    learned: Learned,
    /// The model file.
    blob: BlobReport,
    /// The checkpoint file; null without --checkpoint.
    checkpoint: Option<CheckpointReport>,
    /// Rows learned per second, reading and encoding included.
    rows_per_second: f64,
    /// Rows learned per second once they were in memory; null if rows were streamed.
    learning_rows_per_second: Option<f64>,
    /// Warnings about the rows, the decisions, and columns that changed since the encoding was
    /// fitted.
    warnings: Vec<String>,
    /// Memory of the rows with --shuffle, in bytes; 0 if they were streamed.
    rows_in_memory_bytes: usize,
    /// Peak resident memory of the process, in bytes; null if the system does not report it.
    peak_memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct BlobReport {
    /// Path of the file.
    path: String,
    /// Size of the file in bytes.
    bytes: usize,
    /// CRC-32 of the model, 8 hexadecimal digits.
    crc32: String,
    /// Number of rows that were scored again with the model read back from the file, for
    /// comparison.
    checked_rows: u64,
    /// Largest difference in p that this comparison found.
    largest_difference: f32,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CheckpointReport {
    /// Path of the file.
    path: String,
    /// Size of the file in bytes.
    bytes: usize,
}

#[allow(clippy::cast_precision_loss)]
fn report(run: &Run, exported: &Export, path: String, checkpoint: Option<CheckpointReport>) -> Report {
    let rows = (run.rows() - run.earlier_rows()) as f64;
    Report {
        learned: Learned::new(run),
        blob: BlobReport {
            path,
            bytes: exported.bytes.as_slice().len(),
            crc32: format!("{:08x}", exported.crc32),
            checked_rows: exported.checked_rows,
            largest_difference: exported.largest_difference,
        },
        checkpoint,
        rows_per_second: rows / run.timing.total,
        learning_rows_per_second: run.timing.learning.map(|seconds| rows / seconds),
        warnings: warnings(run, exported),
        rows_in_memory_bytes: run.timing.rows_in_memory_bytes,
        peak_memory_bytes: peak_memory_bytes(),
    }
}

/// Returns the warnings, each with a remedy if there is one.
fn warnings(run: &Run, exported: &Export) -> Vec<String> {
    let remedy = |remark: &Remark| match remark {
        Remark::Sorted { .. } => "; if they come from a file, shuffle them with --shuffle",
        Remark::SortedByFeature { .. } => {
            "; if they come from a file, shuffle them with --shuffle; if they are a stream in time, leave the column out with drop in [features]"
        }
        Remark::FewRowsForTargets { .. } => "; if the rows come from a file, make several passes with --epochs auto",
        Remark::SameDecisions { .. } => {
            "; if one outcome is rare, use --class-weight balanced or --threshold auto:balanced"
        }
        _ => "",
    };
    let cells = run.feature_cells();
    let remarks = run.remarks();
    let remarks = remarks.iter().map(|remark| format!("{remark}{}", remedy(remark)));
    run.notes.iter().cloned().chain(bad_cells(&cells)).chain(remarks).chain(exported.warnings.iter().cloned()).collect()
}

/// Returns a message for every feature with cells that are not numbers.
pub fn bad_cells(features: &[FeatureCells]) -> impl Iterator<Item = String> {
    features.iter().filter(|cells| cells.bad > 0).map(|FeatureCells { feature, bad, bad_values, .. }| {
        let values: Vec<String> = bad_values.iter().map(|value| format!("{value:?}")).collect();
        let more = if bad_values.len() < MOST_SEEN { "" } else { ", ..." };
        format!("column {feature:?}: {bad} cells are not numbers and count as missing: {}{more}", values.join(", "))
    })
}

/// Returns a table of the counts of cells, with a row for every feature.
pub fn features(features: &[FeatureCells]) -> String {
    let mut table = TextTable::new(&["feature", "kind", "missing", "bad cells", "clamped", "unseen", "refits"]);
    for FeatureCells { feature, kind, missing, bad, clamped, unseen, refits, .. } in features {
        let counts = [missing, bad, clamped, unseen, refits].map(u64::to_string);
        table.row([feature.clone(), kind.clone()].into_iter().chain(counts));
    }
    table.render()
}

#[allow(clippy::cast_precision_loss)] // bytes
fn speed(report: &Report) -> String {
    let Report { rows_per_second, learning_rows_per_second, rows_in_memory_bytes, .. } = report;
    let in_memory = learning_rows_per_second.map_or(String::new(), |rate| {
        format!(" ({rate:.0} rows/s learning, {:.1} MB of rows in memory)", *rows_in_memory_bytes as f64 / 1e6)
    });
    format!(", {rows_per_second:.0} rows/s{in_memory}")
}

/// Returns the tables for people.
fn render(report: &Report) -> String {
    let mut text = String::new();
    let learned = &report.learned;
    let total = &learned.prequential.total;
    let merged = learned.judged_on == JudgedOn::Shards;
    let _ = writeln!(
        text,
        "{} {} rows{} ({} skipped{}{}), seed {}, {} expert{}{}{}",
        match merged {
            true => format!("merged {} shards that learned from", learned.shards),
            false => "learned from".to_owned(),
        },
        learned.rows,
        match learned.earlier_rows {
            0 => String::new(),
            _ if merged => String::new(),
            earlier => format!(", {} of them new", learned.rows - earlier),
        },
        learned.skipped,
        match learned.weightless {
            0 => String::new(),
            weightless => format!(", {weightless} with weight 0"),
        },
        match learned.waiting {
            0 => String::new(),
            waiting => format!(", {waiting} waiting for their labels"),
        },
        learned.seed,
        learned.experts,
        if learned.experts == 1 { "" } else { "s" },
        if merged { String::new() } else { speed(report) },
        report.peak_memory_bytes.map_or(String::new(), |bytes| format!(", peak memory {:.1} MB", bytes as f64 / 1e6)),
    );
    if learned.threshold.to_string() != learned.threshold_rule {
        let _ = writeln!(text, "threshold {}, chosen by {}", share(learned.threshold), learned.threshold_rule);
    }
    text.push_str(&super::evaluate::other_labels(&learned.other_labels));
    let unfair = total
        .individual_unfairness
        .map_or(String::new(), |unfair| format!(", individual unfairness {}", share(unfair)));
    let _ = writeln!(
        text,
        "prequential: accuracy {}, balanced accuracy {}, log-loss {}{unfair}\n",
        share(total.accuracy),
        share(total.balanced_accuracy),
        share(total.log_loss)
    );
    let mut table = TextTable::new(&[
        "rows from",
        "rows",
        "accuracy",
        "balanced",
        "log-loss",
        "SPD",
        "AOD",
        "EOdds",
        "EOpp",
        "burden",
    ]);
    let step = learned.prequential.windows.len().div_ceil(SHOWN_WINDOWS).max(1);
    for window in learned.prequential.windows.iter().step_by(step) {
        let gap = |gap: Option<f32>| gap.map_or("-".into(), signed);
        table.row([
            window.from.to_string(),
            window.rows.to_string(),
            share(window.accuracy),
            share(window.balanced_accuracy),
            share(window.log_loss),
            gap(window.spd),
            gap(window.aod),
            gap(window.eodds),
            gap(window.eopp),
            gap(window.burden),
        ]);
    }
    text.push_str(&table.render());
    if step > 1 {
        let _ = writeln!(text, "(one window in {step}; --format json has all {})", learned.prequential.windows.len());
    }
    let _ = write!(text, "\n{}", features(&learned.features));
    text.push_str(&events::render(&learned.events, learned.events_dropped));
    text.push_str(&super::targets::render(learned.judged_on, &learned.fairness, &learned.targets));
    text.push_str(&super::evaluate::without_group(&learned.attributes));
    text.push_str(&super::evaluate::proxies(&learned.proxies));
    let _ = writeln!(
        text,
        "\nwrote {} ({} bytes, CRC-32 {}); read back and compared on {} rows, largest difference {:.1e}",
        report.blob.path,
        report.blob.bytes,
        report.blob.crc32,
        report.blob.checked_rows,
        report.blob.largest_difference,
    );
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    if let Some(CheckpointReport { path, bytes }) = &report.checkpoint {
        let _ = writeln!(text, "wrote {path} ({bytes} bytes); to resume: feamoe update {path} DATA -o MODEL");
    }
    text
}
