//! `feamoe monitor`: monitors a model in use, by the rows it scores or by the statuses that devices
//! sent.

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

/// The output for rows, for the help.
const OF_ROWS: &str = "\
For rows, every alarm and every window is printed at once, and a summary at the end; with --follow,
also the window so far, every --flush seconds. With --format json, each is one JSON object on a line
of its own, whose key event is alarm, window, so_far or summary. Exit codes: 0 no alarm; 1 an alarm
was raised, or for statuses a limit is not met; 2 a usage, input or I/O error.
Rows in a meaningful order also raise alarms: seasons, batches of one kind, sorted files; and if one
outcome is known sooner than the other, the first late outcomes.";

/// The options of `feamoe monitor`.
#[derive(Args, Debug)]
#[command(after_long_help = format!("{OF_ROWS}\n\n{MEASURES}"))]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL", required_unless_present = "status", conflicts_with = "status")]
    model: Option<PathBuf>,
    /// The rows that the model scores, labelled or not: CSV (plain or gzip), Parquet or Arrow files
    /// in the order given; - for standard input. As in score, filters of the schema do not apply
    #[arg(value_name = "DATA", required_unless_present = "status", conflicts_with = "status")]
    data: Vec<Input>,
    /// Reference rows that alarms and measures compare with [default: the background records of the
    /// model, else the first rows of DATA]
    #[arg(long, value_name = "DATA", conflicts_with = "status")]
    reference: Vec<Input>,
    /// Column of identifiers, for outcomes that come later: a row with the id of an earlier row
    /// holds the outcome of that row [default: each row holds its own outcome]
    #[arg(long, value_name = "COLUMN", conflicts_with = "status")]
    id: Option<String>,
    /// Largest number of records that wait for their outcomes, 1 to 100000000; each takes about 100
    /// bytes
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "id", allow_negative_numbers = true, value_parser = whole::<usize>(1..=100_000_000))]
    waiting: usize,
    /// Rows per window, 1 to 1000000000; measures are reported once per window
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "status", allow_negative_numbers = true, value_parser = whole::<u64>(1..=1_000_000_000))]
    window: u64,
    /// Probability that a stream that never changes ever raises an alarm, however long it is, above
    /// 0 and below 1; with a smaller one, changes are detected a little later
    #[arg(long, value_name = "P", default_value_t = 0.01, conflicts_with = "status", allow_negative_numbers = true, value_parser = chance)]
    false_alarms: f64,
    #[command(flatten)]
    follow: FollowOption,
    /// Command that the shell runs for every alarm, with the alarm as one JSON object on its
    /// standard input
    #[arg(long, value_name = "CMD", conflicts_with = "status")]
    on_event: Option<String>,
    /// Status files of devices, or of several periods; their counts are added up, and each is
    /// listed
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "follow")]
    status: Vec<PathBuf>,
    /// The model of the statuses, for the names of its features; a status of another model does not
    /// count [default: the model of most statuses]
    #[arg(long = "model", id = "of", value_name = "FILE", requires = "status")]
    of: Option<PathBuf>,
    /// Names the target and the protected columns of the rows. For statuses, it names the groups:
    /// the privileged group is group 0, and the unprivileged ones follow in their order [default:
    /// the schema that the model was trained with]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
    /// The protected column of the statuses, if the schema has several
    #[arg(long, value_name = "COLUMN", requires = "status")]
    attribute: Option<String>,
    /// File with the secret key of the fleet: 64 hexadecimal digits, readable only by its owner. A
    /// status counts only if a device authenticated it with its own key, which `feamoe sign
    /// --device-key` derives; forged ones are listed. Without this option, statuses are not
    /// authenticated
    #[arg(long, value_name = "FILE", requires = "status")]
    key_file: Option<PathBuf>,
    /// File with the newest counter of each device, updated after the report is printed. A status
    /// whose counter is not above the device's counter was seen before and does not count. A device
    /// in the file without a status that counts in this run is listed; with --strict the exit code
    /// is then 1, as for an authentic status that is refused for its content. To remove a retired
    /// device, delete its line
    #[arg(long, value_name = "FILE", requires = "key_file")]
    seen: Option<PathBuf>,
    #[command(flatten)]
    require: RequireOption,
    #[command(flatten)]
    format: FormatOption,
}

/// Parses a probability above 0 and below 1.
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
