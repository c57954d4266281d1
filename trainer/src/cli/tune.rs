//! `feamoe tune`: a search for the options of a run.

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

/// Trials of the last round that are listed.
const LISTED: usize = 5;

/// The options of `feamoe tune`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = MEASURES, mut_arg("bad_cells", |arg| arg.help(BAD_CELLS)))]
pub struct Options {
    /// Labelled data: CSV (plain or gzip), Parquet or Arrow files in the order given; they are read
    /// once for each trial
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
    /// Names the target, the protected columns and the features
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Where the chosen options go, for `feamoe train --config FILE`; - for standard output, the
    /// report then goes to standard error
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    cells: CellsOption,
    /// Candidates in the first round, 1 to 10000: the best third of each round learns from three
    /// times as many rows
    #[arg(long, value_name = "N", default_value_t = 27, allow_negative_numbers = true, value_parser = whole::<usize>(1..=10_000))]
    candidates: usize,
    /// What is to be best of the candidates that hold the targets
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = By::LogLoss)]
    by: By,
    /// Share of the rows, drawn by the seed, that candidates are judged on and nobody learns from,
    /// above 0 and below 1 [default: 0.2]
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["validation", "stream"], allow_negative_numbers = true)]
    holdout: Option<f64>,
    /// Judge on these labelled rows instead, and learn from all of DATA; may be given several times
    #[arg(long, value_name = "DATA", conflicts_with = "stream")]
    validation: Vec<Input>,
    /// Judge on each row when it comes, before it is learned from: for streams that drift
    #[arg(long)]
    stream: bool,
    /// Draws of held-out rows that the last candidates, and the points of the front, are judged on,
    /// 1 to 100; means over more decide less by chance
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with_all = ["validation", "stream"], allow_negative_numbers = true, value_parser = whole::<u32>(1..=100))]
    repeats: u32,
    /// No trial starts after this time, such as 90s, 10m or 2h; what was found by then counts
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time_limit: Option<Duration>,
    /// Keep the results of all trials in this file: a search with the same data, schema and targets
    /// takes them from there, so that one that stopped, or grows, resumes
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Draw accuracy against unfairness as SVG: targets, group thresholds, no target, logistic
    /// regression
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
    /// The smallest mean negative log-likelihood
    LogLoss,
    /// The largest share of right decisions
    Accuracy,
    /// The largest mean of the rates of right decisions of both outcomes
    BalancedAccuracy,
}

/// Reads a time with its unit.
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

/// The JSON of `feamoe tune`.
#[derive(Serialize, JsonSchema)]
pub struct Report<'a> {
    #[serde(flatten)]
    tuned: &'a Tuned,
    /// The file of the chosen options.
    output: String,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    options.threads.start()?;
    if let Some(input) = options.data.iter().chain(&options.validation).find(|input| !input.can_be_read_again()) {
        bail!("{input} can be read once only, and every trial reads the data; name files");
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
        // Remedies are looked up by the library's own error.
        TuneError::Data(error) => error.into(),
        error => error.into(),
    })?;
    write_options(options, &tuned)?;
    match (&options.plot, plot::front(&tuned, None)) {
        (Some(path), Some(drawing)) => print::write_file(path, drawing.as_bytes())?,
        (Some(path), None) => {
            let why = match tuned.front_measure() {
                None => "protects no column; add a [[protected]] table".to_owned(),
                Some(measure) => format!("names groups with too few rows to be judged by {}", measure.name()),
            };
            print::note(&format!("note: {} is not drawn: {} {why}", path.display(), options.schema.display()));
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

/// Reads the results of earlier trials; none where there is no file yet.
fn open_state(path: &Path) -> anyhow::Result<Known> {
    if !path.try_exists().with_context(|| path.display().to_string())? {
        return Ok(Known::new());
    }
    read_json(path, "what an earlier `feamoe tune --state` wrote; name that file, or a new one")
}

/// Writes the chosen options, with what came of them.
fn write_options(options: &Options, tuned: &Tuned) -> anyhow::Result<()> {
    let figures = &tuned.chosen.figures;
    let mut text = format!(
        "# Chosen by feamoe tune on {} rows; feamoe train --config takes it.\n# On the {} rows it was judged on: accuracy {:.4}, log-loss {:.4}",
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
                format!("{} rows that were held out, in {} draws", tuned.chosen.figures.rows, options.repeats)
            }
            JudgedOn::Data(_) => format!("{} rows of --validation", tuned.chosen.figures.rows),
            JudgedOn::Stream => "each row before it was learned from".to_owned(),
        }
    );
    if tuned.left_out > 0 {
        let _ = writeln!(
            text,
            "the time limit left out {} trials of the rounds it reached and of the front",
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
            "\nno candidate holds the targets on the rows it was judged on: the chosen one comes nearest"
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

/// Returns options in one line.
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
