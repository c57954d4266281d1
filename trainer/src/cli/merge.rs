//! `feamoe merge`: merges several runs that learned independently from parts of the data.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use feamoe::error::Error;
use feamoe::learner::How;
use feamoe::rows::Input;
use feamoe::training::checkpoint::Checkpoint;
use feamoe::training::merge::{self, MergeError, Merging};
use feamoe_engine::limits::MAX_EXPERTS;

use super::run::{AtStop, Outputs, Store};
use super::{FormatOption, Outcome, files, whole};

const EXAMPLES: &str = "\
Shards share the encoding of one earlier run and hold it as it is; without that, a weight would not
mean the same in each. Groups are united by name. What shards have counted and measured is added up,
as if each had followed the one before; detectors of drift start anew. The same shards in the same
order give the same bytes.

A checkpoint holds the state of a run and a sample of its rows: 1000, or as many as --background
says. The model gets the smallest background of its shards.

A shard that has hardly any rows of a group cannot have held a target for it. Such shards are merged
only with --polish, by rows that have the group. No target is judged before the merged model has
decided rows: --polish some, or evaluate it.

Examples:
  The encoding from first rows of all sites, a run at each site, one model of all:
    feamoe train first.csv --schema S --checkpoint first.ckpt -o first.feamoe
    feamoe train a.csv --schema S --fair spd=0.05 --encoding first.ckpt --checkpoint a.ckpt -o a.feamoe
    feamoe train b.csv --schema S --fair spd=0.05 --encoding first.ckpt --checkpoint b.ckpt -o b.feamoe
    feamoe merge a.ckpt b.ckpt -o all.feamoe --checkpoint all.ckpt
  A smaller model, which has learned from some rows of both sites at the end:
    feamoe merge a.ckpt b.ckpt --polish some.csv --experts 4 -o all.feamoe";

/// The options of `feamoe merge`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Checkpoints that `feamoe train --encoding FILE --checkpoint` wrote, one for each shard;
    /// their order matters
    #[arg(value_name = "CHECKPOINT", required = true)]
    shards: Vec<PathBuf>,
    /// Output file of the model
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How the mixtures are merged
    #[arg(long, value_enum, default_value_t = HowName::Join)]
    how: HowName,
    /// Labelled rows from all shards, learned from once at the end: the gate learns which experts
    /// to trust, and targets are held across shards. A target needs a few thousand rows to settle.
    /// Use rows that no shard has learned from, otherwise the measures are too favourable. CSV
    /// (plain or gzip), Parquet or Arrow files in the order given; - for standard input
    #[arg(long, value_name = "DATA", num_args = 1..)]
    polish: Vec<Input>,
    /// Largest number of experts from here on; the closest are merged before polishing [default:
    /// keep the experts of all shards]
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = whole::<usize>(1..=MAX_EXPERTS as u64))]
    experts: Option<usize>,
    /// Checkpoint file of the merged run; `feamoe update` resumes from it, and it can be merged
    /// again
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Rows of --polish between two checkpoints [default: 250000]; with fewer, less is lost if the
    /// run is interrupted. `feamoe update` with the same rows then completes it
    #[arg(long, value_name = "N", requires = "checkpoint", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    checkpoint_every: Option<u64>,
    #[command(flatten)]
    format: FormatOption,
}

/// The values of `--how`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum HowName {
    /// Keep all experts side by side, each shard weighted by its share of the rows; for shards that
    /// differ
    Join,
    /// Average the weights, each weighted by the rows that used it; for shards with the same number
    /// of experts that started from the same run
    Average,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    if options.checkpoint_every.is_some() && options.polish.is_empty() {
        bail!("--checkpoint-every counts rows of --polish; add --polish, or leave out --checkpoint-every");
    }
    let store = options.checkpoint.as_deref().map(|path| Store { path, every: options.checkpoint_every });
    let read: Vec<&Path> = options.shards.iter().map(PathBuf::as_path).chain(files(&options.polish)).collect();
    let mut outputs = Outputs::open(&options.output, store, &read)?;
    let shards: Result<Vec<Checkpoint<'_>>, _> = options.shards.iter().map(|path| Checkpoint::read(path)).collect();
    let shards = shards?;
    let how = match options.how {
        HowName::Join => How::Join,
        HowName::Average => How::Average,
    };
    let merging = Merging { how, experts: options.experts, is_polished: !options.polish.is_empty() };
    let at_stop = if merging.is_polished { AtStop::Store } else { AtStop::Leave };
    let run: Result<_, MergeError> = outputs
        .learn(at_stop, |saving, on_progress| merge::run(&shards, &merging, &options.polish, saving, on_progress));
    let run = run.map_err(|error| match error {
        // A stopped run is resumed like any other; the other remedies name flags that this command
        // does not have.
        MergeError::Run(error @ Error::Stopped { .. }) => error.into(),
        // These errors do not concern the file of a shard.
        error @ MergeError::PolishLacksGroup { .. } => error.into(),
        mut error => match error.shard().and_then(|shard| options.shards.get(*shard - 1)) {
            Some(path) => anyhow::Error::new(error).context(path.display().to_string()),
            None => error.into(),
        },
    });
    outputs.finish(&run?, options.format)
}
