//! The command line: a file per command. Results go to standard output, everything else to standard
//! error.
//!
//! Exit codes: 0 done; 1 a check was not met; 2 usage, input or I/O.

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

/// Fair, explainable, adaptive scoring that fits on a microcontroller
#[derive(Debug, Parser)]
#[command(version, help_expected = true, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: print::Verbosity,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 a check was not met; 2 usage, input or I/O";

#[derive(Debug, Subcommand)]
enum Command {
    /// Infer a schema from data; every guess is commented with its evidence
    Schema(schema::Options),
    /// Learn a fair mixture from a stream of rows and export it
    Train(Box<train::Options>),
    /// Search for the options of a run; shows what fairness costs in accuracy
    Tune(Box<tune::Options>),
    /// Resume learning, with newer data or where a run stopped, and export the model
    Update(update::Options),
    /// Make one run of several that learned apart, each from its part of the data, and export the
    /// model
    Merge(merge::Options),
    /// Accuracy and every fairness measure by group, with intervals
    Evaluate(evaluate::Options),
    /// Compare two models on the same rows: changed decisions, accuracy, gaps, explanations
    Compare(compare::Options),
    /// Probability and decision of every record
    Score(score::Options),
    /// What each feature added to a record's score
    Explain(explain::Options),
    /// What would change a decision, and only by what may change
    Recourse(recourse::Options),
    /// What a model holds: features, capacity needed, bytes, checksum, training summary
    Inspect(inspect::Options),
    /// A model on one page, for those who have to judge it: how it was made, how accurate and how
    /// fair it is, and why
    Report(report::Options),
    /// Copy a model for a device: without background records, without names on request
    Export(export::Options),
    /// Sign a model, so that devices and services can refuse any other, or make a key for it
    Sign(sign::Options),
    /// Watch a model at work: drift of inputs, scores, decisions, gaps and calibration over a
    /// stream of rows, or what devices sent home
    Monitor(Box<monitor::Options>),
    /// Score and explain by HTTP, with limits; swap the model while it runs
    #[cfg(feature = "serve")]
    Serve(serve::Options),
    /// Repeat the published figures: every data set, setting and seed
    Study(study::Options),
    /// End to end on a built-in stream: data, model, scores, explanation, recourse
    Demo(demo::Options),
    /// Print the JSON Schema of what a command prints as JSON
    JsonSchema(json_schema::Options),
    /// Print what makes a shell complete commands, options and their values
    Completions(manual::Completions),
    /// Print the manual page, or write one for every command
    Man(manual::Man),
}

/// A model and the data it is used on.
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
    /// Refuses an output, named after an option, that is one of the files to be read.
    fn refuse_overwriting(&self, option: &str, output: &Path, table: &TableOption) -> anyhow::Result<()> {
        let read = files(&self.data).chain([self.model.as_path()]).chain(table.schema.as_deref());
        refuse_overwriting(option, output, read)
    }
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug)]
struct FormatOption {
    /// Tables for people, or one stable JSON document on standard output
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

/// How many records are worked on at the same time.
#[derive(Args, Clone, Copy, Debug)]
struct ThreadsOption {
    /// Threads that records are shared out to, 1 to 1024; no result depends on it [default:
    /// RAYON_NUM_THREADS, else one a core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1..=1024))]
    threads: Option<usize>,
}

impl ThreadsOption {
    /// Starts the threads, where their number was given; without it they start when they are
    /// needed.
    fn start(self) -> anyhow::Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().with_context(|| format!("cannot start {threads} threads; lower --threads"))
    }
}

/// How to treat cells that are no numbers.
#[derive(Args, Clone, Copy, Debug)]
struct CellsOption {
    /// How to treat text in a column of numbers, in any row [default: table.bad_cells of the
    /// schema, or of the one that the model was trained with; else error]
    #[arg(long, value_enum, value_name = "OUTCOME")]
    bad_cells: Option<BadCellsName>,
}

/// The help of the option where there is no model yet.
const BAD_CELLS: &str =
    "How to treat text in a column of numbers, in any row [default: table.bad_cells of the schema, else error]";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BadCellsName {
    /// An error with line, column and remedy
    Error,
    /// A missing value, counted
    Missing,
}

impl CellsOption {
    /// Returns the option's value, where it was given.
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

/// How a table is read where no target is needed.
#[derive(Args, Clone, Debug)]
struct TableOption {
    /// Schema whose [table] says how to read the file [default: the one that the model was trained
    /// with]
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

    /// Opens the data of a source: as the schema says, or like those that the model was trained on.
    fn open(&self, data: &[Input], table: &Table) -> Result<Box<dyn Rows>, Error> {
        if self.schema.is_some() { open(data, table) } else { open_like(data, table) }
    }

    /// Returns the schemas that are known of a model: that it was trained with, then the one that
    /// was named.
    fn schemas(&self, card: Option<Card>) -> anyhow::Result<Vec<Schema>> {
        let named = self.schema.as_deref().map(Schema::open).transpose()?;
        Ok(card.map(|card| card.schema).into_iter().chain(named).collect())
    }
}

/// Opens rows with a schema that the user named (`is_named`) or that the model carries.
fn open_rows<'s>(data: &[Input], schema: &Schema, is_named: bool, usage: Use) -> Result<Stream<'s>, Error> {
    let source = if is_named { open(data, &schema.table)? } else { open_like(data, &schema.table)? };
    Stream::new(source, schema, usage)
}

/// The result of a command that did not fail.
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
        // The reader of a pipe had enough (`feamoe score ... | head`): nothing went wrong.
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

/// Prints help, the version or what is wrong with the command line, whichever clap says.
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

/// Returns what a command took.
fn spent(time: Duration) -> String {
    let memory = memory::peak_memory_bytes()
        .map_or_else(String::new, |bytes| format!(", peak memory {:.1} MB", bytes as f64 / 1e6));
    format!("{:.2} s{memory}", time.as_secs_f64())
}

/// Says nothing of a panic that becomes an error: a damaged table makes its reader panic.
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

/// Refuses an output, named after an option, that is one of the files to be read: it would replace
/// them.
fn refuse_overwriting<'a>(option: &str, output: &Path, read: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
    let Ok(output_file) = fs::canonicalize(output) else { return Ok(()) };
    // Devices and pipes are not replaced.
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

/// Refuses outputs, each named after its option, that are files to be read, or two of which are one
/// file: the last would replace the others.
fn refuse_outputs(outputs: &[(&str, Option<&Path>)], read: &[&Path]) -> anyhow::Result<()> {
    let given = || outputs.iter().filter_map(|(option, path)| Some((*option, (*path)?)));
    for (index, (option, path)) in given().enumerate() {
        refuse_overwriting(option, path, read.iter().copied())?;
        let place = destination(path);
        let is_kept = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file());
        if let Some((other, _)) = given().skip(index + 1).find(|(_, path)| destination(path) == place && !is_kept(path))
        {
            bail!("{option} and {other} name the same file; name two");
        }
    }
    Ok(())
}

/// Refuses a plot whose file is named as something else than SVG.
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

/// A number, or `auto` where it is left to the command.
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

/// Reads `auto` or a whole number in a range.
fn or_auto<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<OrAuto<T>, String> + Clone {
    let number = whole(range);
    move |text| match text {
        "auto" => Ok(OrAuto(None)),
        _ => number(text).map(|number| OrAuto(Some(number))).map_err(|error| format!("{error}, or auto")),
    }
}

/// Parses a whole number of a range; the message names the range whatever is wrong.
fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(expected)
    }
}

/// Reads a JSON document that a command wrote; `expected` says which, and what to do about another.
fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> anyhow::Result<T> {
    /// Some thousand times what a search writes.
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

/// As [`read_card`]; an unreadable card counts as none if a schema was named.
fn read_card_beside(schema: Option<&Path>, path: &Path, blob: &AlignedBytes) -> anyhow::Result<Option<Card>> {
    match (read_card(path, blob), schema) {
        (Err(_), Some(_)) => Ok(None),
        (card, _) => card,
    }
}

/// Reads how a model was made, where it says so.
fn read_card(path: &Path, blob: &AlignedBytes) -> anyhow::Result<Option<Card>> {
    Card::of(blob).with_context(|| path.display().to_string())
}

/// Loads a model of float weights: what most commands need.
fn load_model<'a>(path: &Path, blob: &'a AlignedBytes) -> anyhow::Result<HostModel<'a>> {
    match load_any(path, blob)? {
        Loaded::Float(model) => Ok(*model),
        Loaded::Integer(_) => bail!(
            "{}: a model of integer weights, which is for score, evaluate, inspect and explain --method frozen; name the model it was exported from",
            path.display()
        ),
    }
}

/// Loads a model, whatever its weights are.
fn load_any<'a>(path: &Path, blob: &'a AlignedBytes) -> anyhow::Result<Loaded<'a>> {
    if blob.as_slice().starts_with(&checkpoint::MAGIC) {
        let path = path.display();
        bail!("{path}: found a checkpoint, expected a model; `feamoe export {path} -o MODEL` writes its model");
    }
    Loaded::new(blob.as_slice()).with_context(|| format!("{}: not a usable model", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// A letter means the same everywhere, and whatever has a letter has it in every command.
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
