//! `feamoe update`: resumes a run from its checkpoint.
//!
//! Only the data is needed: the schema, the options and all that was learned are in the checkpoint.
//! In a single pass, `train` on A followed by `update` with B gives the same model and checkpoint,
//! byte for byte, as `train` on A and B. Learning from one period in several passes, and then from
//! newer periods in a single pass each, is the per-period start of the FEAMOE paper (section 4.2).
//!
//! A checkpoint written during the run states how much of DATA was learned from; the final one does
//! not. The same command therefore resumes after a kill, and learns from the data once more after a
//! finished run.

use std::path::PathBuf;

use clap::Args;
use feamoe::rows::{Input, ResumeFrom};
use feamoe::training;
use feamoe::training::checkpoint::Checkpoint;
use feamoe::training::delay::MOST_DELAY;
use feamoe::training::rehearsal::rehearse_resuming;

use super::dry_run::{self, DryRunOption};
use super::follow::{FollowOption, say_left_out};
use super::run::{AtStop, Outputs, Store};
use super::{CellsOption, FormatOption, Outcome, files, refuse_overwriting, whole};

const EXAMPLES: &str = "\
Examples:
  One period in several passes, then newer ones in a single pass:
    feamoe train 2014.csv --schema S --epochs 5 --shuffle --checkpoint run.ckpt -o 2014.feamoe
    feamoe update run.ckpt 2015.csv 2016.csv -o 2016.feamoe
  The same where all years are in one file:
    awk -F, 'NR == 1 || $1 == 2014' all.csv | feamoe train - --schema S --epochs 5 --shuffle --checkpoint run.ckpt -o 2014.feamoe
    awk -F, 'NR == 1 || $1 > 2014' all.csv | feamoe update run.ckpt - -o 2016.feamoe
  After a kill or a full disk, of train or update: the same data again, what was learned is passed over
    feamoe update run.ckpt 2015.csv 2016.csv -o 2016.feamoe";

/// The options of `feamoe update`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Checkpoint that `feamoe train --checkpoint` or an earlier update wrote
    #[arg(value_name = "CHECKPOINT")]
    from: PathBuf,
    /// Newer labelled data: CSV (plain or gzip), Parquet or Arrow files in the order given; - for
    /// standard input. To resume an interrupted run, give the same data again, from the first file
    /// on; the rows already learned from are skipped
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
    /// Where the model goes; - for standard output, the report then goes to standard error
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// File for checkpoints of the run [default: replace the checkpoint that the run came from]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Rows between two checkpoints [default: 250000]; with fewer, less is lost if the run is
    /// interrupted
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    checkpoint_every: Option<u64>,
    /// DATA starts after the last row learned from, even if the run was interrupted; for a pipe
    /// that cannot repeat its rows
    #[arg(long)]
    rest: bool,
    /// Learn from DATA even if it starts with records that the run has already learned from
    #[arg(long, conflicts_with = "rest")]
    again: bool,
    /// Let only the gate and the newest expert learn, in this and later updates until
    /// --freeze=false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    freeze: Option<bool>,
    /// Column of sample weights, for this and later updates [default: that of the run so far, if
    /// any]. It cannot be a feature
    #[arg(long, value_name = "COLUMN")]
    weight: Option<String>,
    /// Delay of the labels in rows, 0 to 100000, for this and later updates [default: that of the
    /// run so far]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u32>(0..=u64::from(MOST_DELAY)))]
    label_delay: Option<u32>,
    #[command(flatten)]
    cells: CellsOption,
    #[command(flatten)]
    follow: FollowOption,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    format: FormatOption,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let store = match &options.checkpoint {
        Some(path) => Store { path, every: options.checkpoint_every },
        None => Store { path: &options.from, every: options.checkpoint_every },
    };
    refuse_overwriting("--output", &options.output, [options.from.as_path()])?;
    let read: Vec<_> = files(&options.data).collect();
    // The lock is taken first, because the file that is read will be replaced.
    let outputs = match options.dry_run.is_on() {
        true => Outputs::check(&options.output, Some(store), &read).map(|()| None)?,
        false => Some(Outputs::open(&options.output, Some(store), &read)?),
    };
    let mut checkpoint = Checkpoint::read(&options.from)?;
    if let Some(freeze) = options.freeze {
        checkpoint.learner.to_mut().set_freeze(freeze);
    }
    if let Some(weight) = &options.weight {
        checkpoint.weigh_by(weight)?;
    }
    if let Some(rows) = options.label_delay {
        checkpoint.set_label_delay(rows)?;
    }
    options.cells.apply(&mut checkpoint.schema.to_mut().table);
    let resume_from = match (options.rest, options.again) {
        (true, _) => ResumeFrom::Rest,
        (_, true) => ResumeFrom::Again,
        _ => ResumeFrom::Same,
    };
    let Some(mut outputs) = outputs else {
        return dry_run::run(|| rehearse_resuming(checkpoint, &options.data, resume_from), options.format);
    };
    let at_stop = if options.follow.is_on() { AtStop::Finish } else { AtStop::Store };
    let data = options.follow.data(&options.data)?;
    let run = outputs
        .learn(at_stop, |saving, on_progress| training::resume(checkpoint, &data, resume_from, saving, on_progress))?;
    say_left_out(&data);
    outputs.finish(&run, options.format)
}
