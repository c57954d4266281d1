//! The command line, with a file per command. Results go to standard output, everything else to
//! standard error.
//!
//! Exit codes: 0 success; 1 a check was not met; 2 a usage, input or I/O error.

mod card;
mod compare;
mod delta;
mod demo;
mod dry_run;
mod evaluate;
mod events;
mod experts;
mod explain;
mod export;
mod follow;
mod gaps;
mod inspect;
mod json_schema;
mod manual;
mod memory;
mod merge;
mod monitor;
mod print;
mod progress;
mod quantize;
mod recourse;
mod remedy;
mod report;
mod require;
mod run;
mod schema;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod sign;
mod signals;
mod study;
mod table;
mod targets;
mod train;
mod tune;
mod update;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use feamoe::error::Error;
use feamoe::model::card::Card;
use feamoe::model::{AlignedBytes, HostModel, Loaded};
use feamoe::output::{WriteError, destination};
use feamoe::rows::{Input, Source as Rows, Stream, Use, open, open_like};
use feamoe::schema::{BadCells, Schema, Table};
use feamoe::text::controls_terminal;
use feamoe::training::checkpoint;
use serde::de::DeserializeOwned;

/// Fair, explainable, adaptive scoring models that fit on a microcontroller
#[derive(Debug, Parser)]
#[command(version, help_expected = true, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: print::Verbosity,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 a check was not met; 2 a usage, input or I/O error";

#[derive(Debug, Subcommand)]
enum Command {
    /// Infer a schema from data, with the evidence for every guess in comments
    Schema(schema::Options),
    /// Train a fair mixture of experts on a stream of rows and export the model
    Train(Box<train::Options>),
    /// Search for the best training options, and show what fairness costs in accuracy
    Tune(Box<tune::Options>),
    /// Resume a run, with newer data or after an interruption, and export the model
    Update(update::Options),
    /// Merge runs that learned from separate parts of the data, and export the model
    Merge(merge::Options),
    /// Report accuracy and every fairness measure by group, with confidence intervals
    Evaluate(evaluate::Options),
    /// Compare two models on the same rows: changed decisions, accuracy, gaps, explanations
    Compare(compare::Options),
    /// Compute the probability and the decision of every record
    Score(score::Options),
    /// Explain scores: how much each feature contributed
    Explain(explain::Options),
    /// Find changes that would turn a declined record into a favourable one
    Recourse(recourse::Options),
    /// Show the contents of a model: features, capacity needed, bytes, checksum, training summary
    Inspect(inspect::Options),
    /// Write a report on a model, for those who have to judge it: how it was made, how accurate and
    /// fair it is, and why
    Report(report::Options),
    /// Export a copy of a model for a device, or in another format
    Export(export::Options),
    /// Sign a model, so that devices and services can refuse unsigned ones; or make a key
    Sign(sign::Options),
    /// Monitor a model in use: drift of inputs, scores, decisions, gaps and calibration over a
    /// stream of rows, or the statuses that devices sent
    Monitor(Box<monitor::Options>),
    /// Serve scores, explanations and recourse over HTTP, with limits; the model can be replaced
    /// while it runs
    #[cfg(feature = "serve")]
    Serve(serve::Options),
    /// Reproduce the published figures, for every data set, setting and seed
    Study(study::Options),
    /// Run end to end on a built-in stream: data, model, scores, explanation, recourse
    Demo(demo::Options),
    /// Print the JSON Schema of a command's JSON output
    JsonSchema(json_schema::Options),
    /// Print shell completions
    Completions(manual::Completions),
    /// Print the manual page, or write one per command
    Man(manual::Man),
}

/// A model and the data that it is applied to.
#[derive(Args, Clone, Debug)]
struct Source {
    /// The model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// CSV (plain or gzip), Parquet or Arrow files in the order given; - for standard input
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
}

impl Source {
    /// Refuses an output of the named option that is one of the input files.
    fn refuse_overwriting(&self, option: &str, output: &Path, table: &TableOption) -> anyhow::Result<()> {
        let read = files(&self.data).chain([self.model.as_path()]).chain(table.schema.as_deref());
        refuse_overwriting(option, output, read)
    }
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug)]
struct FormatOption {
    /// Print tables for people, or one stable JSON document
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people
    Text,
    /// One JSON document
    Json,
}

/// The number of worker threads.
#[derive(Args, Clone, Copy, Debug)]
struct ThreadsOption {
    /// Number of worker threads, 1 to 1024; no result depends on it [default: RAYON_NUM_THREADS,
    /// else one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1..=1024))]
    threads: Option<usize>,
}

impl ThreadsOption {
    /// Starts the threads if their number was given; otherwise they start when needed.
    fn start(self) -> anyhow::Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().with_context(|| format!("cannot start {threads} threads; lower --threads"))
    }
}

/// How to treat cells that are not numbers.
#[derive(Args, Clone, Copy, Debug)]
struct CellsOption {
    /// How to treat text in a numeric column, in any row [default: table.bad_cells of the schema
    /// given, or of the schema that the model was trained with, else error]
    #[arg(long, value_enum, value_name = "OUTCOME")]
    bad_cells: Option<BadCellsName>,
}

/// The help text of the option for commands without a model.
const BAD_CELLS: &str =
    "How to treat text in a numeric column, in any row [default: table.bad_cells of the schema, else error]";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BadCellsName {
    /// Stop with an error that names line, column and remedy
    Error,
    /// Count it as a missing value, and report the number
    Missing,
}

impl CellsOption {
    /// Returns the value of the option, if it was given.
    fn value(self) -> Option<String> {
        self.bad_cells.and_then(|name| Some(name.to_possible_value()?.get_name().to_owned()))
    }

    fn apply(self, table: &mut Table) {
        table.bad_cells = match self.bad_cells {
            None => return,
            Some(BadCellsName::Error) => BadCells::Error,
            Some(BadCellsName::Missing) => BadCells::Missing,
        };
    }
}

/// How to read a table if no target is needed.
#[derive(Args, Clone, Debug)]
struct TableOption {
    /// Schema whose [table] section states how to read the file [default: the schema that the model
    /// was trained with]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
}

impl TableOption {
    fn table(&self, card: Option<&Card>) -> anyhow::Result<Table> {
        let mut table = match (&self.schema, card) {
            (Some(path), _) => Schema::open(path)?.table,
            (None, Some(card)) => card.schema.table.clone(),
            (None, None) => Table::default(),
        };
        self.cells.apply(&mut table);
        Ok(table)
    }

    /// Opens the data as the given schema states, or like the data that the model was trained on.
    fn open(&self, data: &[Input], table: &Table) -> Result<Box<dyn Rows>, Error> {
        if self.schema.is_some() { open(data, table) } else { open_like(data, table) }
    }

    /// Returns the known schemas: the one that the model was trained with, then the one that was
    /// named.
    fn schemas(&self, card: Option<Card>) -> anyhow::Result<Vec<Schema>> {
        let named = self.schema.as_deref().map(Schema::open).transpose()?;
        Ok(card.map(|card| card.schema).into_iter().chain(named).collect())
    }
}

/// Opens rows with a schema that the user named (`is_named`) or with the one that the model
/// carries.
fn open_rows<'s>(data: &[Input], schema: &Schema, is_named: bool, usage: Use) -> Result<Stream<'s>, Error> {
    let source = if is_named { open(data, &schema.table)? } else { open_like(data, &schema.table)? };
    Stream::new(source, schema, usage)
}

/// The outcome of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    CheckNotMet,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    silence_damaged_tables();
    signals::watch();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return help_or_refuse(&said),
    };
    cli.verbosity.start();
    let started = Instant::now();
    let outcome = run(cli.command);
    print::detail(|| spent(started.elapsed()));
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CheckNotMet) => ExitCode::from(1),
        // The reader of a pipe closed it (`feamoe score ... | head`), which is not an error.
        Err(error) if error.downcast_ref().is_some_and(WriteError::is_broken_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            let is_stopped = matches!(error.downcast_ref(), Some(feamoe::error::Error::Stopped { .. }));
            if is_stopped {
                let remedy = remedy::remedy(&error).unwrap_or_default();
                print::message(&format!("{error:#}: {remedy}"));
                return signals::exit_code();
            }
            let remedy = remedy::remedy(&error).map_or_else(String::new, |remedy| format!(" ({remedy})"));
            print::message(&format!("error: {error:#}{remedy}"));
            ExitCode::from(2)
        }
    }
}

/// Prints the message of clap: help, the version or a usage error.
fn help_or_refuse(said: &clap::Error) -> ExitCode {
    let plain = said.render().to_string();
    if said.use_stderr() && plain.contains(controls_terminal) {
        print::message(plain.trim_end());
        return ExitCode::from(2);
    }
    let printed = said.print().and_then(|()| io::stdout().flush()).map_err(WriteError::standard_output);
    match (printed, said.use_stderr()) {
        (_, true) => ExitCode::from(2),
        (Err(error), false) if !error.is_broken_pipe() => {
            print::message(&format!("error: {error}"));
            ExitCode::from(2)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Returns the time and the memory that a command took.
fn spent(time: Duration) -> String {
    let memory = memory::peak_memory_bytes()
        .map_or_else(String::new, |bytes| format!(", peak memory {:.1} MB", bytes as f64 / 1e6));
    format!("{:.2} s{memory}", time.as_secs_f64())
}

/// Suppresses the message of a panic that becomes an error: the Parquet reader panics on some
/// damaged files.
fn silence_damaged_tables() {
    #[cfg(feature = "parquet")]
    {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !feamoe::rows::is_reading_tables() {
                usual(panic);
            }
        }));
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Schema(options) => schema::run(&options),
        Command::Train(options) => train::run(&options),
        Command::Update(options) => update::run(&options),
        Command::Merge(options) => merge::run(&options),
        Command::Tune(options) => tune::run(&options),
        Command::Evaluate(options) => evaluate::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Score(options) => score::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Recourse(options) => recourse::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Export(options) => export::run(&options),
        Command::Sign(options) => sign::run(&options),
        Command::Monitor(options) => monitor::run(&options),
        #[cfg(feature = "serve")]
        Command::Serve(options) => serve::run(&options),
        Command::Study(options) => study::run(&options),
        Command::Demo(options) => demo::demo(&options),
        Command::JsonSchema(options) => json_schema::run(&options),
        Command::Completions(options) => manual::completions(&options),
        Command::Man(options) => manual::man(&options),
    }
}

/// Refuses an output of the named option that is one of the input files, since it would replace
/// that file.
fn refuse_overwriting<'a>(option: &str, output: &Path, read: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
    let Ok(output_file) = fs::canonicalize(output) else { return Ok(()) };
    // Devices and pipes are never replaced.
    let same = |path: &&Path| output_file.is_file() && fs::canonicalize(path).is_ok_and(|path| path == output_file);
    match read.into_iter().find(same) {
        Some(path) => bail!(
            "the output {} is the input {}, which it would replace; name another file after {option}",
            output.display(),
            path.display()
        ),
        None => Ok(()),
    }
}

/// Refuses outputs, each with its option, that are input files, or two outputs with the same file.
fn refuse_outputs(outputs: &[(&str, Option<&Path>)], read: &[&Path]) -> anyhow::Result<()> {
    let given = || outputs.iter().filter_map(|(option, path)| Some((*option, (*path)?)));
    for (index, (option, path)) in given().enumerate() {
        refuse_overwriting(option, path, read.iter().copied())?;
        let place = destination(path);
        let is_kept = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file());
        if let Some((other, _)) = given().skip(index + 1).find(|(_, path)| destination(path) == place && !is_kept(path))
        {
            bail!("{option} and {other} name the same file; name two different files");
        }
    }
    Ok(())
}

/// Refuses a plot file with an extension other than .svg.
fn refuse_but_svg(plot: &Path) -> anyhow::Result<()> {
    match plot.extension().filter(|extension| !extension.eq_ignore_ascii_case("svg")) {
        Some(extension) => bail!("--plot writes SVG, found {}; name the file .svg", extension.display()),
        None => Ok(()),
    }
}

/// Returns the files among the inputs.
fn files(data: &[Input]) -> impl Iterator<Item = &Path> {
    data.iter().filter_map(|input| match input {
        Input::File(path) => Some(path.as_path()),
        _ => None,
    })
}

/// A number, or `auto` if the command chooses it.
#[derive(Clone, Copy, Debug)]
struct OrAuto<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrAuto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("auto"),
            Some(number) => number.fmt(f),
        }
    }
}

/// Parses `auto` or a whole number in a range.
fn or_auto<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<OrAuto<T>, String> + Clone {
    let number = whole(range);
    move |text| match text {
        "auto" => Ok(OrAuto(None)),
        _ => number(text).map(|number| OrAuto(Some(number))).map_err(|error| format!("{error}, or auto")),
    }
}

/// Parses a whole number in a range. The message always names the range.
fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(expected)
    }
}

/// Reads a JSON document that a command wrote. `expected` states which document, and what to do if
/// it is another.
fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> anyhow::Result<T> {
    /// Several thousand times the size of what a search writes.
    const MOST_BYTES: u64 = 256 << 20;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(|| path.display().to_string())?;
    if bytes.len() as u64 > MOST_BYTES {
        bail!("{}: found more than {} MB, expected {expected}", path.display(), MOST_BYTES >> 20);
    }
    serde_json::from_slice(&bytes).with_context(|| format!("{}: expected {expected}", path.display()))
}

/// Reads a model file's bytes; load them with [`load_model`].
fn read_blob(path: &Path) -> anyhow::Result<AlignedBytes> {
    Ok(AlignedBytes::read(path)?)
}

/// Like [`read_card`], but an unreadable card counts as absent if a schema was named.
fn read_card_beside(schema: Option<&Path>, path: &Path, blob: &AlignedBytes) -> anyhow::Result<Option<Card>> {
    match (read_card(path, blob), schema) {
        (Err(_), Some(_)) => Ok(None),
        (card, _) => card,
    }
}

/// Reads the card of a model, if it carries one.
fn read_card(path: &Path, blob: &AlignedBytes) -> anyhow::Result<Option<Card>> {
    Card::of(blob).with_context(|| path.display().to_string())
}

/// Loads a model with float weights, which most commands need.
fn load_model<'a>(path: &Path, blob: &'a AlignedBytes) -> anyhow::Result<HostModel<'a>> {
    match load_any(path, blob)? {
        Loaded::Float(model) => Ok(*model),
        Loaded::Integer(_) => bail!(
            "{}: found a model with integer weights, which works only with score, evaluate, inspect and explain --method frozen; name the model it was exported from",
            path.display()
        ),
    }
}

/// Loads a model with any kind of weights.
fn load_any<'a>(path: &Path, blob: &'a AlignedBytes) -> anyhow::Result<Loaded<'a>> {
    if blob.as_slice().starts_with(&checkpoint::MAGIC) {
        let path = path.display();
        bail!("{path}: found a checkpoint, expected a model; `feamoe export {path} -o MODEL` writes its model");
    }
    Loaded::new(blob.as_slice()).with_context(|| format!("{}: cannot use this model", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// A short form means the same option in all commands, and an option has its short form in all
    /// of them.
    #[test]
    fn short_forms_are_the_same_in_all_commands() {
        let mut command = super::Cli::command();
        command.build();
        let (mut of_letters, mut of_names) = (BTreeMap::new(), BTreeMap::new());
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            for option in command.get_arguments() {
                let Some(name) = option.get_long() else {
                    assert_eq!(option.get_short(), None, "a letter without a name");
                    continue;
                };
                let letter = option.get_short();
                assert_eq!(of_names.entry(name).or_insert(letter), &letter, "--{name} of {}", command.get_name());
                if let Some(letter) = letter {
                    assert_eq!(of_letters.entry(letter).or_insert(name), &name, "-{letter} of {}", command.get_name());
                }
            }
        }
        let letters: String = of_letters.into_keys().collect();
        assert_eq!(letters, "Vhoqv");
    }
}
