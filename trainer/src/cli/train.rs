//! `feamoe train`: learns from a stream and exports the model.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use feamoe::encoder;
use feamoe::export::Export;
use feamoe::learner::{Cause, Event, Growth, LearnerOptions, Loss};
use feamoe::memory::peak_memory_bytes;
use feamoe::options::Gaps;
use feamoe::output::OutputFile;
use feamoe::prequential::PrequentialSummary;
use feamoe::progress::TrainingProgress;
use feamoe::schema::Schema;
use feamoe::stream::Input;
use feamoe::training::{self, Run};
use feamoe_engine::limits::{MAX_BINS, MAX_EXPERTS};
use serde::Serialize;

use super::print::{self, TextTable, share, signed};
use super::{Format, FormatOption, Outcome, files, refuse_overwriting, whole};

/// Windows in the text report at most: of more, every so manieth is shown.
const SHOWN_WINDOWS: usize = 10;

/// The options of `feamoe train`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Labelled CSV files in the order given, plain or gzip; - for standard input
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
    /// Names the target, the protected columns and the features; `feamoe schema` makes a first one
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Where the model goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    format: FormatOption,
}

/// How the learner learns.
#[derive(Args, Clone, Debug)]
pub struct Learning {
    /// Gaps to hold for every group, such as spd=0.05,aod=0.05,burden=0.02 (spd, aod, eodds, eopp, burden); smaller gaps cost accuracy
    #[arg(long, value_name = "MEASURE=GAP,...")]
    fair: Option<Gaps>,
    /// Experts at most; more fit finer, need more memory and time on the device
    #[arg(long, value_name = "K", default_value_t = LearnerOptions::EXPERTS, allow_negative_numbers = true, value_parser = whole::<usize>(1..=MAX_EXPERTS as u64))]
    experts: usize,
    /// When an expert is added: every=N rows
    #[arg(long, value_name = "POLICY", default_value_t = Growth::default())]
    grow: Growth,
    /// Accuracy loss: the mixture's negative log-likelihood, or the paper's sum of the experts' squared errors
    #[arg(long, value_enum, default_value_t = LossName::Nll)]
    loss: LossName,
    /// Bins of a numeric feature, 0 for none; more follow finer steps and make the model larger
    #[arg(long, value_name = "N", default_value_t = encoder::Options::default().bins, allow_negative_numbers = true, value_parser = whole::<usize>(0..=MAX_BINS as u64))]
    bins: usize,
    /// Step size, above 0 and at most 1; larger ones follow drift faster and are noisier
    #[arg(long, visible_alias = "learning-rate", value_name = "RATE", default_value_t = LearnerOptions::LEARNING_RATE, allow_negative_numbers = true)]
    lr: f32,
    /// Passes over the data; more fit static files better
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u32::MAX.into()))]
    epochs: u32,
    /// Learn in an order drawn by the seed, for static files; keeps the rows in memory and says how much
    #[arg(long)]
    shuffle: bool,
    /// Seed of every random choice: the same data, options and seed give the same bytes
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    seed: u64,
    /// Rows of a prequential window; doubles when a stream has more than 512 windows
    #[arg(long, value_name = "N", default_value_t = 1000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    window: u64,
}

/// The losses on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LossName {
    /// Negative log-likelihood of the mixture
    Nll,
    /// The experts' squared errors, weighted by the gate
    Competitive,
}

impl Learning {
    /// Checks the options and adds what the library needs.
    ///
    /// # Errors
    /// Where an option is out of its range.
    pub fn checked(&self) -> anyhow::Result<training::Options> {
        let loss = match self.loss {
            LossName::Nll => Loss::Nll,
            LossName::Competitive => Loss::Competitive,
        };
        let learner = LearnerOptions::default()
            .experts(self.experts)
            .growth(self.grow)
            .loss(loss)
            .learning_rate(self.lr)
            .seed(self.seed);
        let targets = self.fair.iter().flat_map(Gaps::as_slice);
        let learner = targets.fold(learner, |learner, (measure, gap)| learner.target(*measure, *gap));
        Ok(training::Options {
            encoder: encoder::Options { bins: self.bins, ..encoder::Options::default() },
            epochs: self.epochs,
            shuffle: self.shuffle,
            window: self.window,
            ..training::Options::new(learner.check()?)
        })
    }
}

/// The JSON document of `feamoe train`.
#[derive(Debug, Serialize)]
pub struct Report {
    rows: u64,
    skipped: u64,
    seed: u64,
    experts: usize,
    prequential: PrequentialSummary,
    events: Vec<EventReport>,
    blob: BlobReport,
    /// Rows learned per second, reading and encoding included.
    rows_per_second: f64,
    /// Rows learned per second once in memory; null where rows were streamed.
    learning_rows_per_second: Option<f64>,
    /// Bytes the rows took in memory with --shuffle; 0 where they were streamed.
    rows_in_memory_bytes: usize,
    /// Peak resident memory of the process; null where the system does not tell.
    peak_memory_bytes: Option<u64>,
}

/// What happened to the mixture.
#[derive(Debug, Serialize)]
struct EventReport {
    /// Rows learned from before.
    row: u64,
    event: &'static str,
    cause: &'static str,
    expert: usize,
    /// The expert it was copied from.
    parent: usize,
}

impl From<&Event> for EventReport {
    fn from(event: &Event) -> Self {
        let Event::ExpertAdded { record, expert, parent, cause } = *event;
        let cause = match cause {
            Cause::Every => "every",
        };
        Self { row: record, event: "expert added", cause, expert, parent }
    }
}

#[derive(Debug, Serialize)]
struct BlobReport {
    path: PathBuf,
    bytes: usize,
    crc32: String,
    checked_rows: u64,
    largest_difference: f32,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let report = train(&options.data, &options.schema, &options.output, &options.learning)?;
    match options.format.format {
        Format::Json => print::json(&report)?,
        Format::Text => print::text(&render(&report))?,
    }
    Ok(Outcome::Done)
}

/// Trains and exports; the output is opened first, so that a folder that cannot be written costs no training.
pub fn train(data: &[Input], schema: &Path, output: &Path, learning: &Learning) -> anyhow::Result<Report> {
    let options = learning.checked()?;
    refuse_overwriting(output, files(data).chain([schema]))?;
    let schema = Schema::open(schema)?;
    let mut file = OutputFile::create(output)?;
    let progress = TrainingProgress::new();
    let run = training::run(data, &schema, &options, &mut |at| progress.update(at));
    progress.finish();
    let run = run?;
    let exported = run.export(&schema)?;
    file.write_whole(exported.bytes.as_slice())?;
    let path = file.path().to_owned();
    file.commit()?;
    Ok(report(run, exported, path, options.seed))
}

#[allow(clippy::cast_precision_loss)]
fn report(run: Run, exported: Export, path: PathBuf, seed: u64) -> Report {
    let rows = run.rows as f64;
    Report {
        rows: run.rows,
        skipped: run.counts.filtered + run.counts.unlabelled,
        seed,
        experts: run.learner.experts(),
        prequential: run.prequential.summary(),
        events: run.learner.events().iter().map(EventReport::from).collect(),
        blob: BlobReport {
            path,
            bytes: exported.bytes.as_slice().len(),
            crc32: format!("{:08x}", exported.crc32),
            checked_rows: exported.checked_rows,
            largest_difference: exported.largest_difference,
        },
        rows_per_second: rows / run.timing.total,
        learning_rows_per_second: run.timing.learning.map(|seconds| rows / seconds),
        rows_in_memory_bytes: run.timing.rows_in_memory_bytes,
        peak_memory_bytes: peak_memory_bytes(),
    }
}

/// Returns the tables for people.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let total = &report.prequential.total;
    let _ = writeln!(
        text,
        "learned from {} rows ({} skipped), seed {}, {} expert{}, {:.0} rows/s{}{}",
        report.rows,
        report.skipped,
        report.seed,
        report.experts,
        if report.experts == 1 { "" } else { "s" },
        report.rows_per_second,
        report.learning_rows_per_second.map_or(String::new(), |rate| format!(
            " ({rate:.0} rows/s learning, {:.1} MB of rows in memory)",
            report.rows_in_memory_bytes as f64 / 1e6
        )),
        report.peak_memory_bytes.map_or(String::new(), |bytes| format!(", peak memory {:.1} MB", bytes as f64 / 1e6)),
    );
    let _ = writeln!(text, "prequential: accuracy {}, log-loss {}\n", share(total.accuracy), share(total.log_loss));
    let mut table =
        TextTable::new(&["rows from", "rows", "accuracy", "log-loss", "SPD", "AOD", "EOdds", "EOpp", "burden"]);
    let step = report.prequential.windows.len().div_ceil(SHOWN_WINDOWS).max(1);
    for window in report.prequential.windows.iter().step_by(step) {
        let gap = |gap: Option<f32>| gap.map_or("-".into(), signed);
        table.row([
            window.from.to_string(),
            window.rows.to_string(),
            share(window.accuracy),
            share(window.log_loss),
            gap(window.spd),
            gap(window.aod),
            gap(window.eodds),
            gap(window.eopp),
            gap(window.probability_burden),
        ]);
    }
    text.push_str(&table.render());
    if step > 1 {
        let _ = writeln!(text, "(one window in {step}; --format json has all {})", report.prequential.windows.len());
    }
    let _ = writeln!(
        text,
        "\nwrote {} ({} bytes, CRC-32 {}); read back and compared on {} rows, largest difference {:.1e}",
        report.blob.path.display(),
        report.blob.bytes,
        report.blob.crc32,
        report.blob.checked_rows,
        report.blob.largest_difference,
    );
    text
}
