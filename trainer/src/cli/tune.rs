//! `feamoe tune`: a search for the best training options.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use feamoe::error::Error;
use feamoe::output;
use feamoe::plot;
use feamoe::rows::Input;
use feamoe::schema::Schema;
use feamoe::tuning::{Figures, Fixed, JudgedOn, Known, Objective, Plan, TuneError, Tuned, tune};
use schemars::JsonSchema;
use serde::Serialize;

use super::gaps::MEASURES;
use super::print::{self, TextTable, share, signed};
use super::progress::RowsProgress;
use super::train::{Learning, refuse_without_groups};
use super::{
    BAD_CELLS, CellsOption, Format, FormatOption, Outcome, ThreadsOption, files, read_json, refuse_but_svg,
    refuse_outputs, whole,
};

/// The number of listed trials of the last round.
const LISTED: usize = 5;

/// The options of `feamoe tune`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = MEASURES, mut_arg("bad_cells", |arg| arg.help(BAD_CELLS)))]
pub struct Options {
    /// Labelled data: CSV (plain or gzip), Parquet or Arrow files in the order given; they are read
    /// once per trial
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
    /// Schema that names the target, the protected columns and the features
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Output file of the chosen options, for `feamoe train --config FILE`; - for standard output,
    /// in which case the report goes to standard error
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    cells: CellsOption,
    /// Candidates in the first round, 1 to 10000; the best third of each round goes on to three
    /// times as many rows
    #[arg(long, value_name = "N", default_value_t = 27, allow_negative_numbers = true, value_parser = whole::<usize>(1..=10_000))]
    candidates: usize,
    /// Criterion to choose among the candidates that hold the targets
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = By::LogLoss)]
    by: By,
    /// Share of rows to hold out for judging the candidates, drawn by the seed, above 0 and below 1
    /// [default: 0.2]
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["validation", "stream"], allow_negative_numbers = true)]
    holdout: Option<f64>,
    /// Judge on these labelled rows instead of held-out rows, and learn from all of DATA; may be
    /// given several times
    #[arg(long, value_name = "DATA", conflicts_with = "stream")]
    validation: Vec<Input>,
    /// Judge on each row before it is learned from, for streams that drift
    #[arg(long)]
    stream: bool,
    /// Number of draws of held-out rows on which the last candidates and the points of the front
    /// are judged, 1 to 100; the mean over more draws depends less on chance
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with_all = ["validation", "stream"], allow_negative_numbers = true, value_parser = whole::<u32>(1..=100))]
    repeats: u32,
    /// Start no trial after this time, such as 90s, 10m or 2h, and choose among those that ended
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time_limit: Option<Duration>,
    /// File with the results of all trials; a search with the same data, schema and targets reuses
    /// them, so that it can be resumed or extended
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Draw accuracy against unfairness into this SVG file: targets, group thresholds, no target,
    /// logistic regression
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    learning: Box<Learning>,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    threads: ThreadsOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Lowest mean negative log-likelihood
    LogLoss,
    /// Highest share of correct decisions
    Accuracy,
    /// Highest mean of the true positive and true negative rate
    BalancedAccuracy,
}

/// Parses a time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let seconds = units.into_iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * seconds)
    });
    let seconds =
        seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a time above 0 with its unit, such as 90s, 10m or 2h".to_owned())
}

/// The JSON document of `feamoe tune`.
#[derive(Serialize, JsonSchema)]
pub struct Report<'a> {
    #[serde(flatten)]
    tuned: &'a Tuned,
    /// The file with the chosen options.
    output: String,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    options.threads.start()?;
    if let Some(input) = options.data.iter().chain(&options.validation).find(|input| !input.can_be_read_again()) {
        bail!("{input} can be read only once, but every trial reads the data; name files");
    }
    let learning = &options.learning;
    let plot = options.plot.as_deref();
    plot.map_or(Ok(()), refuse_but_svg)?;
    let read = files(&options.data).chain(files(&options.validation)).chain([options.schema.as_path()]);
    let read: Vec<&Path> = read.chain(learning.config_file().filter(|file| *file != options.output)).collect();
    refuse_outputs(&[("-o", Some(&options.output)), ("--state", options.state.as_deref()), ("--plot", plot)], &read)?;
    let mut schema = Schema::open(&options.schema)?;
    options.cells.apply(&mut schema.table);
    let base = learning.config()?;
    base.options()?;
    refuse_without_groups(&base, &schema, &options.schema)?;
    let fixed = |key| learning.has(&base, key);
    let plan = Plan {
        fixed: Fixed {
            bins: fixed("bins"),
            lr: fixed("lr"),
            experts: fixed("experts"),
            grow: fixed("grow"),
            loss: fixed("loss"),
            epochs: fixed("epochs"),
            shuffle: fixed("shuffle"),
        },
        candidates: options.candidates,
        seed: base.seed,
        judged_on: options.judged_on()?,
        repeats: options.repeats,
        objective: match options.by {
            By::LogLoss => Objective::LogLoss,
            By::Accuracy => Objective::Accuracy,
            By::BalancedAccuracy => Objective::BalancedAccuracy,
        },
        deadline: options.time_limit.map(|limit| started + limit),
        base,
    };
    let known = options.state.as_deref().map_or_else(|| Ok(Known::new()), open_state)?;
    let progress = RowsProgress::trials();
    let on_trial = |known: &Known| -> Result<(), Error> {
        progress.advance();
        let Some(path) = &options.state else { return Ok(()) };
        let text = serde_json::to_vec_pretty(known).unwrap_or_default();
        output::write_file(path, &text).map_err(|error| Error::Input(error.to_string()))
    };
    let tuned = tune(&options.data, &schema, &plan, known, &on_trial);
    progress.finish();
    let tuned = tuned.map_err(|error| match error {
        TuneError::NoTime => anyhow!("{error}; raise --time-limit, or lower --candidates"),
        // Unwrapped, because remedies are looked up by the library's own error.
        TuneError::Data(error) => error.into(),
        error => error.into(),
    })?;
    write_options(options, &tuned)?;
    match (&options.plot, plot::front(&tuned, None)) {
        (Some(path), Some(drawing)) => print::write_file(path, drawing.as_bytes())?,
        (Some(path), None) => {
            let why = match tuned.front_measure() {
                None => "protects no column; add a [[protected]] table".to_owned(),
                Some(measure) => format!("has groups with too few rows to judge them by {}", measure.name()),
            };
            print::note(&format!("note: {} was not drawn: {} {why}", path.display(), options.schema.display()));
        }
        (None, _) => {}
    }
    match options.format.format {
        Format::Json => print::json(&Report { tuned: &tuned, output: options.output.display().to_string() })?,
        Format::Text => print::text(&text(options, &plan, &tuned))?,
    }
    Ok(Outcome::Done)
}

impl Options {
    fn judged_on(&self) -> anyhow::Result<JudgedOn> {
        if self.stream {
            return Ok(JudgedOn::Stream);
        }
        if !self.validation.is_empty() {
            return Ok(JudgedOn::Data(self.validation.clone()));
        }
        match self.holdout.unwrap_or(0.2) {
            share if share > 0.0 && share < 1.0 => Ok(JudgedOn::HeldOut(share)),
            share => bail!("--holdout: found {share}, expected a share above 0 and below 1"),
        }
    }
}

/// Reads the results of earlier trials; empty if the file does not exist yet.
fn open_state(path: &Path) -> anyhow::Result<Known> {
    if !path.try_exists().with_context(|| path.display().to_string())? {
        return Ok(Known::new());
    }
    read_json(path, "a file that `feamoe tune --state` wrote; name that file, or a new one")
}

/// Writes the chosen options, with their results as comments.
fn write_options(options: &Options, tuned: &Tuned) -> anyhow::Result<()> {
    let figures = &tuned.chosen.figures;
    let mut text = format!(
        "# Chosen by feamoe tune on {} rows, for feamoe train --config.\n# On the {} rows it was judged on: accuracy {:.4}, log-loss {:.4}",
        tuned.rows, figures.rows, figures.accuracy, figures.log_loss
    );
    for (measure, gap) in &figures.gaps {
        if let Some(gap) = gap {
            let _ = write!(text, ", {measure} {gap:.4}");
        }
    }
    let _ = write!(text, ".\n{}", tuned.chosen.options);
    print::write_file(&options.output, text.as_bytes())
}

fn text(options: &Options, plan: &Plan, tuned: &Tuned) -> String {
    let mut text = format!(
        "{} trials on {} rows, judged on {}\n",
        tuned.trials.len() + tuned.front.len(),
        tuned.rows,
        match &plan.judged_on {
            JudgedOn::HeldOut(_) => {
                format!("{} held-out rows, in {} draws", tuned.chosen.figures.rows, options.repeats)
            }
            JudgedOn::Data(_) => format!("{} rows of --validation", tuned.chosen.figures.rows),
            JudgedOn::Stream => "each row before it was learned from".to_owned(),
        }
    );
    if tuned.left_out > 0 {
        let _ = writeln!(
            text,
            "because of the time limit, {} trials of the rounds reached and of the front were left out",
            tuned.left_out
        );
    }
    let measure = tuned.front_measure();
    let gap = |figures: &Figures| {
        let value = measure.and_then(|measure| figures.gaps.get(measure.name()).copied().flatten());
        value.map_or_else(|| "-".to_owned(), signed)
    };
    let name = tuned.measure.as_deref().unwrap_or("spd");
    let mut table = TextTable::new(&["candidate", "log-loss", "accuracy", "balanced accuracy", name, "options"]);
    for trial in tuned.trials.iter().filter(|trial| trial.share == 1.0).take(LISTED) {
        let mark = if trial.candidate == tuned.chosen.candidate { " *" } else { "" };
        table.row([
            format!("{}{mark}", trial.candidate),
            format!("{:.4}", trial.figures.log_loss),
            share(trial.figures.accuracy),
            share(trial.figures.balanced_accuracy),
            gap(&trial.figures),
            short(&trial.options),
        ]);
    }
    let _ = write!(text, "\n{}", table.render());
    if !tuned.front.is_empty() {
        let mut table = TextTable::new(&["what fairness costs", "limit", name, "accuracy", "log-loss", "best"]);
        for point in &tuned.front {
            table.row([
                point.kind.name().to_owned(),
                point.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
                gap(&point.figures),
                share(point.figures.accuracy),
                format!("{:.4}", point.figures.log_loss),
                if point.is_best { "*".to_owned() } else { String::new() },
            ]);
        }
        let _ = write!(text, "\n{}", table.render());
    }
    for note in &tuned.notes {
        let _ = writeln!(text, "\n{note}");
    }
    if !tuned.holds_targets {
        let _ = writeln!(
            text,
            "\nno candidate holds the targets on the rows it was judged on; the chosen one comes closest"
        );
    }
    let _ = writeln!(
        text,
        "\nchosen: candidate {}; feamoe train DATA --schema {} --config {} -o MODEL trains it",
        tuned.chosen.candidate,
        options.schema.display(),
        options.output.display()
    );
    text
}

/// Returns the options on one line.
fn short(options: &str) -> String {
    let line: Vec<&str> = options.lines().filter(|line| !line.is_empty()).collect();
    if line.is_empty() { "the default".to_owned() } else { line.join(" ").replace(" = ", "=") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for text in ["", "10", "-1s", "0s", "s", "1d", "1e400s", "NaNs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
