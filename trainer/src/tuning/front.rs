//! The trade-off between accuracy and one fairness measure, for several limits and ways to enforce
//! them.

use feamoe_engine::fairness::Measure;
use serde::{Deserialize, Serialize};

use super::{Figures, TuneError, Tuner};
use crate::error::Error;
use crate::learner::{FairBy, Growth, Loss};
use crate::training::config::Config;
use crate::training::export::ExportError;

/// Limits on a gap.
const GAPS: [f32; 8] = [0.2, 0.15, 0.1, 0.075, 0.05, 0.03, 0.02, 0.01];
/// Limits on a ratio.
const RATIOS: [f32; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// The options of a point of the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The chosen options without targets.
    Unconstrained,
    /// The chosen options with a target that the scores meet.
    Target,
    /// The chosen options with a target that a threshold for each group meets.
    GroupThresholds,
    /// A single logistic regression, without bins and targets.
    LogisticRegression,
}

impl Kind {
    /// Returns the name of the kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unconstrained => "no target",
            Self::Target => "target",
            Self::GroupThresholds => "group thresholds",
            Self::LogisticRegression => "logistic regression",
        }
    }
}

/// A point of the front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Point {
    /// The options of the point.
    pub kind: Kind,
    /// The target for the measure; null if there is none.
    pub limit: Option<f32>,
    /// The results of the trial.
    pub figures: Figures,
    /// Whether no other point is at least as accurate and as fair, and better in one of the two.
    pub is_best: bool,
}

/// The points for a measure.
#[derive(Debug, Default)]
pub(super) struct Front {
    pub points: Vec<Point>,
    /// Points that could not be evaluated, with the reason.
    pub notes: Vec<String>,
    /// Number of trials that were skipped because of the time limit.
    pub left_out: usize,
}

/// Evaluates the points for a measure, starting from the chosen options.
pub(super) fn front(tuner: &Tuner<'_>, chosen: &Config, measure: Measure) -> Result<Front, TuneError> {
    let with = |limit: Option<f32>, fair_by: FairBy| {
        let mut config = Config { fair_by, ..chosen.clone() };
        match limit {
            None => config.fair.clear(),
            Some(limit) => match config.fair.iter_mut().find(|(of, _)| *of == measure) {
                Some((_, own)) => *own = limit,
                None => config.fair.push((measure, limit)),
            },
        }
        config
    };
    let regression = Config {
        experts: Some(1),
        grow: Growth::NONE,
        bins: 0,
        loss: Loss::Nll,
        freeze: false,
        ..with(None, FairBy::Score)
    };
    let limits: &[f32] = if measure == Measure::Impact { &RATIOS } else { &GAPS };
    let limited = |kind: Kind, fair_by: FairBy| -> Vec<_> {
        limits.iter().map(|limit| ((kind, Some(*limit)), with(Some(*limit), fair_by))).collect()
    };
    let mut trials =
        vec![((Kind::LogisticRegression, None), regression), ((Kind::Unconstrained, None), with(None, FairBy::Score))];
    trials.extend(limited(Kind::Target, FairBy::Score));
    let mut judged = tuner.all(&trials, 1.0)?;
    let mut front = Front { left_out: trials.len() - judged.len(), ..Front::default() };
    // Not every schema allows group thresholds: they need one protected column with levels that the
    // model may use.
    let thresholds = limited(Kind::GroupThresholds, FairBy::Threshold);
    match tuner.all(&thresholds, 1.0) {
        Ok(held) => {
            front.left_out += thresholds.len() - held.len();
            judged.extend(held);
        }
        Err(error @ (TuneError::Data(Error::Input(_)) | TuneError::Export(ExportError::Data(Error::Input(_))))) => {
            front.notes.push(format!("group thresholds are not on the front: {error}"));
        }
        Err(error) => return Err(error),
    }
    let place = |figures: &Figures| Some((figures.accuracy, figures.magnitude(measure)?));
    let places: Vec<_> = judged.iter().filter_map(|(.., figures)| place(figures)).collect();
    let is_best = |figures: &Figures| {
        place(figures).is_some_and(|(accuracy, gap)| {
            !places.iter().any(|(other, of)| *other >= accuracy && *of <= gap && (*other > accuracy || *of < gap))
        })
    };
    let points = judged.into_iter().map(|((kind, limit), _, figures)| {
        let is_best = is_best(&figures);
        Point { kind, limit, figures, is_best }
    });
    front.points = points.collect();
    Ok(front)
}
