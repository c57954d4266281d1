//! `feamoe monitor`: a model at work, watched by the rows it scores, or by what devices sent home.

mod hook;
mod rows;
mod status;

use std::path::PathBuf;

use clap::Args;
use feamoe::rows::Input;

pub use rows::Line;

use super::follow::FollowOption;
use super::gaps::MEASURES;
use super::require::RequireOption;
use super::{CellsOption, FormatOption, Outcome, whole};

/// What is printed of rows, for the help.
const OF_ROWS: &str = "\
Of rows, every alarm and every window is printed at once, a summary at the end; with --follow also
the window so far, every --flush seconds. With --format json each is one JSON object on a line of
its own, and says which by its event: alarm, window, so_far, summary. Exit codes: 0 no alarm; 1 an
alarm was raised, or of statuses a limit is not met; 2 usage, input or I/O.
An order of the rows that says something is a change too: seasons, batches of one kind, sorted
files; and where one outcome is known sooner than the other, the first outcomes that come later.";

/// The options of `feamoe monitor`.
#[derive(Args, Debug)]
#[command(after_long_help = format!("{OF_ROWS}\n\n{MEASURES}"))]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL", required_unless_present = "status", conflicts_with = "status")]
    model: Option<PathBuf>,
    /// The rows that it scores, whether labelled or not: CSV (plain or gzip), Parquet or Arrow
    /// files in the order given; - for standard input. As in score, filters of the schema do not
    /// apply
    #[arg(value_name = "DATA", required_unless_present = "status", conflicts_with = "status")]
    data: Vec<Input>,
    /// Rows that are as they should be: alarms and measures compare with them [default: the
    /// background records that the model carries; else the first rows of DATA]
    #[arg(long, value_name = "DATA", conflicts_with = "status")]
    reference: Vec<Input>,
    /// Column whose values say which rows belong together: a row with the id of an earlier one is
    /// the outcome of that one. Without it outcomes stand in their own rows
    #[arg(long, value_name = "COLUMN", conflicts_with = "status")]
    id: Option<String>,
    /// Records that wait for their outcome at most, 1 to 100000000; more take some 100 bytes each
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "id", allow_negative_numbers = true, value_parser = whole::<usize>(1..=100_000_000))]
    waiting: usize,
    /// Rows of a window, 1 to 1000000000: measures are reported once a window
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "status", allow_negative_numbers = true, value_parser = whole::<u64>(1..=1_000_000_000))]
    window: u64,
    /// Chance that a stream that never changes raises any alarm, however long it is, above 0 and
    /// below 1; a smaller one finds changes a little later
    #[arg(long, value_name = "P", default_value_t = 0.01, conflicts_with = "status", allow_negative_numbers = true, value_parser = chance)]
    false_alarms: f64,
    #[command(flatten)]
    follow: FollowOption,
    /// Command that the shell runs for every alarm, which it gets as one JSON object on its
    /// standard input
    #[arg(long, value_name = "CMD", conflicts_with = "status")]
    on_event: Option<String>,
    /// Statuses of one monitor, of several periods or devices: their counts are added up, and each
    /// is listed
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "follow")]
    status: Vec<PathBuf>,
    /// The model that the statuses are of, for the names of its features; a status of another does
    /// not count [default: the model of most statuses]
    #[arg(long = "model", id = "of", value_name = "FILE", requires = "status")]
    of: Option<PathBuf>,
    /// Names target and protected columns of the rows. Of statuses, names the groups: the
    /// privileged one is group 0, the unprivileged ones follow in their order [default: the schema
    /// that the model was trained with]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
    /// The protected column that statuses are of, where the schema has several
    #[arg(long, value_name = "COLUMN", requires = "status")]
    attribute: Option<String>,
    /// The secret key of the fleet: 64 hexadecimal digits, in a file that only its owner may read. A
    /// status counts only if a device wrote it with its own key, which sign --device-key derives;
    /// forged ones are listed. Without the key anybody can have written a status
    #[arg(long, value_name = "FILE", requires = "status")]
    key_file: Option<PathBuf>,
    /// The newest counter of each device, from earlier runs, which this run adds to: a status whose
    /// counter is not above it was seen before and does not count. A device in it of which nothing
    /// counts now is listed: no status came, or what came was refused; with --strict the exit code is
    /// then 1, as where an authentic status is refused for its content. To forget a device that is
    /// retired, take its line out. Written once the report is printed
    #[arg(long, value_name = "FILE", requires = "key_file")]
    seen: Option<PathBuf>,
    #[command(flatten)]
    require: RequireOption,
    #[command(flatten)]
    format: FormatOption,
}

/// Parses a chance that is neither 0 nor 1.
fn chance(text: &str) -> Result<f64, String> {
    let chance = text.parse().ok().filter(|chance| *chance > 0.0 && *chance < 1.0);
    chance.ok_or_else(|| "expected a number above 0 and below 1".to_owned())
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    match &options.model {
        Some(model) => rows::run(options, model),
        None => status::run(options),
    }
}
