//! `feamoe train`: learns from a stream of rows and exports the model.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use feamoe::encoder;
use feamoe::learner::{ClassWeight, FairBy, Growth, Increment, LearnerOptions, Loss, Penalties, ThresholdRule};
use feamoe::rows::Input;
use feamoe::schema::Schema;
use feamoe::training::checkpoint::Checkpoint;
use feamoe::training::config::Config;
use feamoe::training::delay::MOST_DELAY;
use feamoe::training::rehearsal::rehearse;
use feamoe::training::{self, Encoding};
use feamoe_engine::limits::{MAX_BACKGROUND_ROWS, MAX_BINS, MAX_EXPERTS};

use super::dry_run::{self, DryRunOption};
use super::follow::{FollowOption, say_left_out};
use super::gaps::{Gaps, MEASURES};
use super::run::{AtStop, Outputs, Store};
use super::{BAD_CELLS, CellsOption, FormatOption, OrAuto, Outcome, files, or_auto, whole};

/// The options of `feamoe train`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = MEASURES, mut_arg("bad_cells", |arg| arg.help(BAD_CELLS)))]
pub struct Options {
    /// Labelled data: CSV (plain or gzip), Parquet or Arrow files in the order given; - for
    /// standard input
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
    /// Schema that names the target, the protected columns and the features; `feamoe schema` writes
    /// a first one
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Output file of the model; - for standard output, in which case the report goes to standard
    /// error
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    cells: CellsOption,
    #[command(flatten)]
    learning: Learning,
    /// File for checkpoints of the run; `feamoe update` resumes from it, with newer data or after
    /// an interruption
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Checkpoint of an earlier run with the same schema, whose encoding this run uses unchanged;
    /// needed for shards that `feamoe merge` will merge. The encoding does not follow drifting
    /// numbers, and levels that the earlier run did not see count as unseen
    #[arg(long, value_name = "CHECKPOINT")]
    encoding: Option<PathBuf>,
    /// Rows between two checkpoints [default: 250000]; with fewer, less is lost if the run is
    /// interrupted. A run that is shuffled or makes several passes writes only one, at its end
    #[arg(long, value_name = "N", requires = "checkpoint", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    checkpoint_every: Option<u64>,
    #[command(flatten)]
    follow: FollowOption,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    format: FormatOption,
}

/// The options of the learner.
#[derive(Args, Clone, Debug)]
pub struct Learning {
    #[command(flatten)]
    given: Given,
    /// TOML file with options of the learner, such as `feamoe tune` writes. Keys are the flags with
    /// _ instead of -, such as bins = 64 or fair.spd = 0.05. Flags on the command line take
    /// precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Fairness targets to meet for every group, such as spd=0.05,aod=0.05,burden=0.02 or
    /// impact=0.8 (measures: spd, aod, eodds, eopp, burden, recourse_burden, impact); tighter
    /// targets cost accuracy
    #[arg(long, value_name = "MEASURE=LIMIT,...")]
    fair: Option<Gaps>,
    /// How targets are held: through the scores, which need no group at decision time; or through,
    /// in effect, one threshold per group of the one protected column that the model sees. Group
    /// thresholds settle at once and lose less accuracy (Adult, spd=0.05: 0.857 instead of 0.855,
    /// in five passes 0.859 instead of 0.853), but apply different thresholds to different people,
    /// which laws on credit, work and housing often forbid
    #[arg(long, value_enum, default_value_t = FairByName::Score)]
    fair_by: FairByName,
    /// How fairness is enforced: by holding the targets of --fair, or by the paper's penalties,
    /// whose weight grows with every expert added
    #[arg(long, value_enum, default_value_t = FairnessName::Targets)]
    fairness: FairnessName,
    /// With --fairness paper: what is penalised, any of spd,aod,burden, or none [default: all
    /// three]
    #[arg(long, value_name = "NAME,...")]
    penalties: Option<Penalties>,
    /// With --fairness paper: increment of the penalties' weight for each expert added, above 0 and
    /// at most 0.1 [default: 0.02]; or one per penalty, such as spd=0.02,aod=0.01. Larger
    /// increments give smaller gaps and lower accuracy
    #[arg(long, value_name = "WEIGHT|NAME=WEIGHT,...", allow_negative_numbers = true)]
    increment: Option<Increment>,
    /// Penalty on decisions that change when only a protected column is changed, 0 to 1 (0.4 in the
    /// paper); larger penalties make such decisions rarer and lower accuracy; 0 only counts them
    /// [default: neither penalised nor counted]
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    individual: Option<f32>,
    /// Largest number of experts; more fit better but need more memory and time on the device.
    /// auto: as many as pay off, at most 12; no expert is added by count while two of them score
    /// almost alike
    #[arg(long, value_name = "K|auto", default_value_t = OrAuto(None), allow_negative_numbers = true, value_parser = or_auto::<usize>(1..=MAX_EXPERTS as u64))]
    experts: OrAuto<usize>,
    /// When experts are added; policies separated by commas: every=N (rows), drift (in loss or
    /// fairness), unfair=M (individually unfair decisions)
    #[arg(long, value_name = "POLICY", default_value_t = Growth::default())]
    grow: Growth,
    /// Let only the gate and the newest expert learn; each time an expert is added, the older ones
    /// are frozen
    #[arg(long)]
    freeze: bool,
    /// Loss for accuracy: the mixture's negative log-likelihood, or the paper's sum of the experts'
    /// squared errors
    #[arg(long, value_enum, default_value_t = LossName::Nll)]
    loss: LossName,
    /// Bins per numeric feature, 0 for none; more bins capture finer steps and make the model
    /// larger
    #[arg(long, value_name = "N", default_value_t = encoder::Options::default().bins, allow_negative_numbers = true, value_parser = whole::<usize>(0..=MAX_BINS as u64))]
    bins: usize,
    /// Learning rate, above 0 and at most 1; larger values follow drift faster and are noisier
    #[arg(long, visible_alias = "learning-rate", value_name = "RATE", default_value_t = LearnerOptions::LEARNING_RATE, allow_negative_numbers = true)]
    lr: f32,
    /// Lowest score with a favourable decision, above 0 and below 1; or a rule to choose it during
    /// training: auto:accuracy, auto:balanced (mean of the true positive and true negative rate),
    /// auto:cost=R (a false negative costs as much as R false positives), auto:select=Q (the share
    /// selected). The model gets the threshold chosen on the last rows
    #[arg(long, value_name = "T|auto:...", default_value_t = ThresholdRule::default(), allow_negative_numbers = true)]
    threshold: ThresholdRule,
    /// Column of sample weights, numbers of at least 0; it is not used as a feature. A row with
    /// weight 2 counts as two rows in the loss; a row with weight 0 is counted and left out. Only
    /// ratios matter: a weight is divided by the mean so far, and limited to 100 times the mean.
    /// Measures and fairness targets count every row once
    #[arg(long, value_name = "COLUMN")]
    weight: Option<String>,
    /// Weight of the two outcomes: equal for every row; or balanced, so that each outcome has half
    /// of the total weight, according to their shares of the stream so far. Meant for rare
    /// outcomes: the score is then not a probability; the probability is calibrated and written
    /// separately. Measures count every row once
    #[arg(long, value_enum, default_value_t = ClassWeightName::Equal)]
    class_weight: ClassWeightName,
    /// Delay of the labels in rows, 0 to 100000: a row is scored when it arrives, and learned from
    /// after N more rows. The measures of the run then describe decisions made without the last N
    /// labels. The last N rows wait in the checkpoint for an update
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u32>(0..=u64::from(MOST_DELAY)))]
    label_delay: u32,
    /// Passes over the data; more fit static files better. auto: until the log-loss on one row in
    /// ten, which only the first pass learns from, no longer falls, but at most 20
    #[arg(long, value_name = "N|auto", default_value_t = OrAuto(Some(1)), allow_negative_numbers = true, value_parser = or_auto::<u32>(1..=u32::MAX.into()))]
    epochs: OrAuto<u32>,
    /// Learn in random order, drawn by the seed, for static files; keeps the rows in memory and
    /// reports the memory used
    #[arg(long)]
    shuffle: bool,
    /// Background records in the model, which explanations compare with, drawn from the first pass,
    /// 0 for none; more give steadier explanations and a larger file
    #[arg(long, value_name = "N", default_value_t = training::Options::BACKGROUND, allow_negative_numbers = true, value_parser = whole::<u16>(0..=MAX_BACKGROUND_ROWS as u64))]
    background: u16,
    /// Seed of all random choices; the same data, options and seed give the same bytes
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    seed: u64,
    /// Rows per prequential window; doubles whenever a stream has more than 512 windows
    #[arg(long, value_name = "N", default_value_t = 1000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    window: u64,
}

/// The values of `--loss`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LossName {
    /// Negative log-likelihood of the mixture
    Nll,
    /// The experts' squared errors, weighted by the gate
    Competitive,
}

/// The values of `--fair-by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FairByName {
    /// Train the scores
    Score,
    /// Use one threshold per group
    Threshold,
}

/// The values of `--class-weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ClassWeightName {
    /// Every row weighs the same
    Equal,
    /// Each outcome has half of the total weight
    Balanced,
}

/// The values of `--fairness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FairnessName {
    /// Hold the targets of --fair with controllers
    Targets,
    /// Use the FEAMOE paper's penalties, see --penalties and --increment
    Paper,
}

impl Learning {
    /// Returns the penalties and their increments.
    fn paper(&self) -> anyhow::Result<(Option<Penalties>, Option<Increment>)> {
        if self.fairness == FairnessName::Paper {
            if self.fair.is_some() {
                bail!(
                    "--fair names targets, --fairness paper has penalties instead; leave out --fairness paper to hold the targets, or --fair to \
                     learn as the paper does"
                );
            }
            // Increments by name also select the penalties.
            let by_name = matches!(self.increment, Some(Increment::Each(_)));
            let penalties = self.penalties.or_else(|| (!by_name).then_some(Penalties::ALL));
            return Ok((penalties, self.increment));
        }
        for (flag, is_given) in [("--penalties", self.penalties.is_some()), ("--increment", self.increment.is_some())] {
            if is_given {
                bail!(
                    "{flag} applies to the paper's penalties; add --fairness paper, or set targets with --fair instead"
                );
            }
        }
        Ok((None, None))
    }

    /// Returns the configuration from the file and the flags.
    ///
    /// # Errors
    /// If the file cannot be read or an option is invalid.
    pub fn config(&self) -> anyhow::Result<Config> {
        let (penalties, increment) = self.paper()?;
        let mut config = self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::open)?;
        let given = |flag: &str| self.config.is_none() || self.given.has(flag);
        if given("fair") {
            config.fair = self.fair.iter().flat_map(Gaps::as_slice).copied().collect();
        }
        if given("fair_by") {
            config.fair_by = match self.fair_by {
                FairByName::Score => FairBy::Score,
                FairByName::Threshold => FairBy::Threshold,
            };
        }
        if given("fairness") {
            (config.penalties, config.increment) = (penalties, increment);
        }
        if given("individual") {
            config.individual = self.individual;
        }
        if given("experts") {
            config.experts = self.experts.0;
        }
        if given("grow") {
            config.grow = self.grow;
        }
        if given("freeze") {
            config.freeze = self.freeze;
        }
        if given("loss") {
            config.loss = match self.loss {
                LossName::Nll => Loss::Nll,
                LossName::Competitive => Loss::Competitive,
            };
        }
        if given("bins") {
            config.bins = self.bins;
        }
        if given("lr") {
            config.lr = self.lr;
        }
        if given("threshold") {
            config.threshold = self.threshold;
        }
        if given("weight") {
            config.weight.clone_from(&self.weight);
        }
        if given("class_weight") {
            config.class_weight = match self.class_weight {
                ClassWeightName::Equal => ClassWeight::Equal,
                ClassWeightName::Balanced => ClassWeight::Balanced,
            };
        }
        if given("label_delay") {
            config.label_delay = self.label_delay;
        }
        if given("epochs") {
            config.epochs = self.epochs.0;
        }
        if given("shuffle") {
            config.shuffle = self.shuffle;
        }
        if given("background") {
            config.background = self.background;
        }
        if given("seed") {
            config.seed = self.seed;
        }
        if given("window") {
            config.window = self.window;
        }
        Ok(config)
    }

    /// Returns the configuration file, if one was named.
    pub fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Returns whether an option was set on the command line or in the configuration file.
    pub fn has(&self, config: &Config, key: &str) -> bool {
        let default = Config::default();
        self.given.has(key)
            || match key {
                "bins" => config.bins != default.bins,
                "lr" => config.lr != default.lr,
                "experts" => config.experts != default.experts,
                "grow" => config.grow != default.grow,
                "loss" => config.loss != default.loss,
                "epochs" => config.epochs != default.epochs,
                _ => config.shuffle != default.shuffle,
            }
    }
}

/// Returns an option that has no effect without protected columns, if one was given.
pub fn compares_groups(config: &Config) -> Option<&'static str> {
    [
        ("--fair", !config.fair.is_empty()),
        (
            "--fairness paper",
            config.penalties().is_ok_and(|penalties| penalties.is_some_and(|penalties| penalties != Penalties::NONE)),
        ),
        ("--individual", config.individual.is_some()),
        ("--grow unfair", config.grow.unfair > 0),
    ]
    .into_iter()
    .find_map(|(flag, is_given)| is_given.then_some(flag))
}

/// Refuses options that compare groups if the schema has none.
pub fn refuse_without_groups(config: &Config, schema: &Schema, path: &Path) -> anyhow::Result<()> {
    if let Some(flag) = compares_groups(config).filter(|_| schema.protected.is_empty()) {
        bail!(
            "{flag} compares groups of protected columns, but {} names no protected column; add a [[protected]] table, or leave out {flag}",
            path.display()
        );
    }
    Ok(())
}

/// The keys of the options set on the command line.
#[derive(Clone, Debug, Default)]
struct Given(BTreeSet<String>);

impl Given {
    fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Ok(Self(matches.ids().filter(is_given).map(ToString::to_string).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let config = options.learning.config()?;
    let mut learning = config.options()?;
    if options.checkpoint_every.is_some() && (learning.shuffle || learning.epochs > 1) {
        bail!(
            "--checkpoint-every needs a run in one pass; with --shuffle or several --epochs, the checkpoint is written at the end; leave out --checkpoint-every"
        );
    }
    if learning.label_delay > 0 && (learning.shuffle || learning.epochs > 1) {
        bail!("--label-delay needs a run in one pass, in the order of the data; leave out --shuffle and --epochs");
    }
    if options.follow.is_on() && (learning.shuffle || learning.epochs > 1) {
        bail!("--follow needs a run in one pass, in the order of the data; leave out --shuffle and --epochs");
    }
    let store = options.checkpoint.as_deref().map(|path| Store { path, every: options.checkpoint_every });
    let read = files(&options.data).chain([options.schema.as_path()]).chain(options.learning.config_file());
    let read = read.chain(options.encoding.as_deref());
    let read: Vec<&Path> = read.collect();
    let outputs = match options.dry_run.is_on() {
        true => Outputs::check(&options.output, store, &read).map(|()| None)?,
        false => Some(Outputs::open(&options.output, store, &read)?),
    };
    let mut schema = Schema::open(&options.schema)?;
    options.cells.apply(&mut schema.table);
    refuse_without_groups(&config, &schema, &options.schema)?;
    if let Some(path) = &options.encoding {
        let shared = Encoding::of(&Checkpoint::read(path)?)?;
        if !options.learning.has(&config, "bins") && config.warmup == Config::default().warmup {
            learning.encoder = shared.options().clone();
        }
        learning.encoding = Some(Arc::new(shared));
    }
    let Some(mut outputs) = outputs else {
        return dry_run::run(|| rehearse(&options.data, &schema, &learning), options.format);
    };
    let at_stop = match learning.epochs == 1 && !learning.shuffle {
        true if options.follow.is_on() => AtStop::Finish,
        true => AtStop::Store,
        false => AtStop::Leave,
    };
    let data = options.follow.data(&options.data)?;
    let run = outputs
        .learn(at_stop, |saving, on_progress| training::run_saving(&data, &schema, &learning, saving, on_progress))?;
    say_left_out(&data);
    outputs.finish(&run, options.format)
}
