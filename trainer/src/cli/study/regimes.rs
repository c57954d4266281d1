//! Reproduces the published figures: every data set, setting and seed behind the tables of
//! `docs/results.md`, with the same code as the commands.
//!
//! Each setting trains, exports, and is evaluated by the engine on held-out rows, or prequentially
//! if the order of the rows matters. Figures are means over the runs. A gap is the mean of its
//! magnitude.

use std::path::Path;

use feamoe_engine::fairness::Measure;
use schemars::JsonSchema;
use serde::Serialize;

pub use super::plan::{Judged, Setting, settings};

use crate::cli::gaps::{Gaps, GapsError};
use feamoe::encoder;
use feamoe::error::Error;
use feamoe::judge::evaluation::{Evaluation, RecourseBurden, evaluate};
use feamoe::judge::gaps::GroupGaps;
use feamoe::judge::verdict::Verdict;
use feamoe::learner::{Growth, LearnerOptions, Loss, OptionError, Penalties, PenaltiesError};
use feamoe::model::{AnyModel, HostModel};
use feamoe::rows::{Input, Part, Split, Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::export::ExportError;
use feamoe::training::prequential::{Prequential, Tally};
use feamoe::training::{self, Options, Run, targets};

/// Rows of a prequential window. Stretches of a stream consist of whole windows.
const WINDOW: u64 = 200;
/// Number of stretches over which a prequential figure is averaged.
const STRETCHES: usize = 10;
/// Share of the rows for training if the rest is held out.
const TRAINING_SHARE: f64 = 0.7;
/// Records between two new experts in the paper's regimes (its section 4.1, Adult).
const PAPER_GROWTH: u64 = 4000;

/// The reason why a study stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The data could not be used.
    #[error(transparent)]
    Data(#[from] Error),
    /// A model could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A setting of the plan is out of range.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A setting of the plan has targets that cannot be read.
    #[error(transparent)]
    Gaps(#[from] GapsError),
    /// A setting of the plan has penalties that cannot be read.
    #[error(transparent)]
    Penalties(#[from] PenaltiesError),
}

/// The results of a setting: means over its runs. Gaps are means of magnitudes. A result that was
/// not measured is NaN (JSON: null).
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Figures {
    /// Share of correct decisions.
    pub accuracy: f64,
    /// Mean of the true positive rate and the true negative rate.
    pub balanced_accuracy: f64,
    /// Mean negative log-likelihood, in natural logarithms.
    pub log_loss: f64,
    /// Statistical parity difference.
    pub spd: f64,
    /// Average odds difference.
    pub aod: f64,
    /// Equalised odds gap.
    pub eodds: f64,
    /// Equal opportunity difference.
    pub eopp: f64,
    /// Burden gap.
    pub burden: f64,
    /// Largest SPD of any run, or of any stretch of a stream.
    pub largest_spd: f64,
    /// Largest calibration error of any group; held-out rows only.
    pub calibration_error: f64,
    /// Rows learned per second: from memory if the rows were shuffled, otherwise from the file.
    pub rows_per_second: f64,
    /// Number of experts at the end.
    pub experts: f64,
}

/// The results of a setting on a data set.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StudyRow {
    /// The data set.
    pub data: &'static str,
    /// The setting, in words.
    pub setting: &'static str,
    /// The targets, in the format of `--fair`; empty for none.
    pub fair: &'static str,
    /// Number of runs, each with its own seed or split.
    pub runs: u64,
    /// The verdicts of training on the targets, over all runs and groups.
    pub trained: Verdicts,
    /// The verdicts on the held-out rows, over all runs and groups; all 0 without held-out rows.
    pub held_out: Verdicts,
    /// Number of targets that are met in training but refuted by the held-out rows: the whole
    /// interval exceeds the target.
    pub refuted: u64,
    /// The results.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The number of times that each verdict was given.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct Verdicts {
    /// Met.
    pub met: u64,
    /// Not shown.
    pub not_shown: u64,
    /// Not met.
    pub not_met: u64,
    /// Not judged.
    pub not_judged: u64,
}

impl Verdicts {
    /// Returns whether there are no verdicts.
    pub fn is_empty(&self) -> bool {
        self.met + self.not_shown + self.not_met + self.not_judged == 0
    }

    fn add(&mut self, verdict: Option<Verdict>) {
        *match verdict {
            Some(Verdict::Met) => &mut self.met,
            Some(Verdict::NotShown) => &mut self.not_shown,
            Some(Verdict::NotMet) => &mut self.not_met,
            None => &mut self.not_judged,
        } += 1;
    }
}

/// Runs one setting on the files in `folder`, with its own seeds or with `runs` seeds from its
/// first one on.
///
/// # Errors
/// See [`StudyError`]; [`Error::Read`] for a missing file.
pub fn study(folder: &Path, setting: &Setting, runs: Option<u64>) -> Result<StudyRow, StudyError> {
    let mut schema = Schema::from_toml(setting.data.schema_name(), setting.data.schema())?;
    schema.protected.iter_mut().for_each(|protected| protected.as_feature = setting.as_feature);
    let training = vec![Input::from(folder.join(setting.data.training_file()).as_path()); setting.repeated];
    let mut sum = Figures::default();
    let seeds = setting.seeds();
    let seeds = seeds.start..runs.map_or(seeds.end, |runs| seeds.start + runs);
    let (mut trained, mut held_out_verdicts, mut refuted) = (Verdicts::default(), Verdicts::default(), 0);
    let mut runs = 0;
    for seed in seeds {
        let options = options(setting, seed)?;
        let run = training::run(&training, &schema, &options, &mut training::unwatched)?;
        let targets = targets::targets(&run);
        targets.iter().for_each(|target| trained.add(target.verdict));
        let figures = match setting.judged {
            Judged::Prequentially => prequential_figures(&run),
            Judged::TestFile(_) | Judged::Split => {
                let exported = run.model()?;
                let model = HostModel::load(exported.bytes.as_slice()).map_err(ExportError::from)?;
                let mut rows = held_out(folder, setting, &schema, seed)?;
                let evaluation =
                    evaluate(AnyModel::Float(&model), None, &mut rows, RecourseBurden::LeftOut, &mut |_| ())?;
                for target in &targets {
                    let is_its =
                        |gaps: &&GroupGaps| (&gaps.attribute, &gaps.group) == (&target.attribute, &target.group);
                    let measure = Measure::ALL.into_iter().find(|measure| measure.name() == target.measure);
                    let Some((measure, gaps)) = measure.zip(evaluation.fairness.iter().find(is_its)) else { continue };
                    held_out_verdicts.add(Verdict::of(measure, target.target, gaps));
                    let is_refuted = Verdict::is_refuted(measure, target.target, gaps);
                    refuted += u64::from(target.verdict == Some(Verdict::Met) && is_refuted);
                }
                held_out_figures(&evaluation)
            }
        };
        sum.add(&figures, &run);
        runs += 1;
    }
    Ok(StudyRow {
        data: setting.data.name(),
        setting: setting.name,
        fair: setting.fair,
        runs,
        trained,
        held_out: held_out_verdicts,
        refuted,
        figures: sum.divided_by(runs),
    })
}

/// Adds targets in the format of `--fair`; none if the text is empty.
pub fn with_targets(learner: LearnerOptions, fair: &str) -> Result<LearnerOptions, GapsError> {
    if fair.is_empty() {
        return Ok(learner);
    }
    let gaps: Gaps = fair.parse()?;
    Ok(gaps.as_slice().iter().fold(learner, |learner, (measure, gap)| learner.target(*measure, *gap)))
}

fn options(setting: &Setting, seed: u64) -> Result<Options, StudyError> {
    let mut learner = LearnerOptions::default().seed(seed);
    if let Some(experts) = setting.experts {
        learner = learner.experts(experts);
    }
    learner = with_targets(learner, setting.fair)?;
    if let Some(penalties) = setting.penalties {
        let penalties: Penalties = penalties.parse()?;
        learner =
            learner.penalties(penalties).loss(Loss::Competitive).growth(Growth { every: PAPER_GROWTH, ..Growth::NONE });
    }
    let mut encoder = encoder::Options::default();
    if let Some(bins) = setting.bins {
        encoder.bins = bins;
    }
    Ok(Options {
        epochs: setting.epochs,
        shuffle: setting.shuffled,
        window: WINDOW,
        encoder,
        split: (setting.judged == Judged::Split).then_some(split(seed, Part::Training)),
        ..Options::new(learner.check()?)
    })
}

/// Opens the held-out rows of a setting.
fn held_out(folder: &Path, setting: &Setting, schema: &Schema, seed: u64) -> Result<Stream<'static>, Error> {
    let open = |file| Stream::open(&[Input::from(folder.join(file).as_path())], schema, Use::Learn);
    if let Judged::TestFile(file) = setting.judged {
        return open(file);
    }
    let mut stream = open(setting.data.training_file())?;
    stream.keep(split(seed, Part::HeldOut));
    Ok(stream)
}

fn split(seed: u64, part: Part) -> Split {
    Split { seed, training_share: TRAINING_SHARE, part }
}

fn held_out_figures(evaluation: &Evaluation) -> Figures {
    let gap = |measure| evaluation.worst(measure).map_or(f64::NAN, |gap| f64::from(gap.abs()));
    let calibration = evaluation.groups.iter().map(|group| group.calibration_error);
    Figures {
        accuracy: evaluation.accuracy.into(),
        balanced_accuracy: evaluation.balanced_accuracy.into(),
        log_loss: evaluation.log_loss,
        spd: gap(Measure::Spd),
        aod: gap(Measure::Aod),
        eodds: gap(Measure::Eodds),
        eopp: gap(Measure::Eopp),
        burden: gap(Measure::Burden),
        largest_spd: gap(Measure::Spd),
        calibration_error: calibration.filter(|error| !error.is_nan()).fold(f64::NAN, f64::max),
        ..Figures::default()
    }
}

fn prequential_figures(run: &Run) -> Figures {
    let total = run.prequential().total();
    let stretches = stretches(run.prequential());
    let mean = |measure: Measure| {
        let gaps: Vec<f64> =
            stretches.iter().filter_map(|stretch| stretch.worst(measure)).map(|gap| f64::from(gap.abs())).collect();
        gaps.iter().sum::<f64>() / gaps.len() as f64
    };
    let spd = stretches.iter().filter_map(|stretch| stretch.worst(Measure::Spd));
    Figures {
        accuracy: total.all().accuracy().into(),
        balanced_accuracy: total.all().balanced_accuracy().into(),
        log_loss: total.mean_log_loss(),
        spd: mean(Measure::Spd),
        aod: mean(Measure::Aod),
        eodds: mean(Measure::Eodds),
        eopp: mean(Measure::Eopp),
        burden: mean(Measure::Burden),
        largest_spd: spd.map(|gap| f64::from(gap.abs())).fold(0.0, f64::max),
        calibration_error: f64::NAN,
        ..Figures::default()
    }
}

/// Merges windows into at most [`STRETCHES`] stretches, with numbers of windows that are as equal
/// as possible.
fn stretches(prequential: &Prequential) -> Vec<Tally> {
    let windows = prequential.windows();
    let mut stretches = vec![Tally::default(); STRETCHES.min(windows.len())];
    let count = stretches.len();
    for (index, window) in windows.iter().enumerate() {
        if let Some(stretch) = stretches.get_mut(index * count / windows.len()) {
            stretch.merge(window);
        }
    }
    stretches
}

impl Figures {
    fn add(&mut self, run_figures: &Self, run: &Run) {
        let (total, learning) = (run.timing.total, run.timing.learning);
        self.rows_per_second += run.rows() as f64 / learning.unwrap_or(total);
        self.experts += run.learner().experts() as f64;
        self.largest_spd = self.largest_spd.max(run_figures.largest_spd);
        for (into, from) in self.means().into_iter().zip(run_figures.clone().means()) {
            *into += *from;
        }
    }

    fn divided_by(mut self, runs: u64) -> Self {
        let runs = runs.max(1) as f64;
        self.means().into_iter().for_each(|figure| *figure /= runs);
        self.rows_per_second /= runs;
        self.experts /= runs;
        self
    }

    /// Returns the figures that are means over the runs.
    fn means(&mut self) -> [&mut f64; 9] {
        [
            &mut self.accuracy,
            &mut self.balanced_accuracy,
            &mut self.log_loss,
            &mut self.spd,
            &mut self.aod,
            &mut self.eodds,
            &mut self.eopp,
            &mut self.burden,
            &mut self.calibration_error,
        ]
    }
}
