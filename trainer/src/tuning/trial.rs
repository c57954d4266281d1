//! One trial: options learn from a share of the rows and are evaluated on others.

use std::collections::BTreeMap;

use feamoe_engine::LoadError;
use feamoe_engine::fairness::Measure;
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::error::Error;
use crate::judge::evaluation::{Evaluation, RecourseBurden, evaluate};
use crate::model::{AnyModel, HostModel};
use crate::rows::{Digest, Input, Part, Split, Stream, Use};
use crate::schema::Schema;
use crate::training::config::Config;
use crate::training::export::ExportError;
use crate::training::prequential::Tally;
use crate::training::{self, unwatched};

/// The rows on which candidates are evaluated.
#[derive(Clone, Debug)]
pub enum JudgedOn {
    /// A share of the data, in (0, 1), drawn by the seed. No candidate learns from it.
    HeldOut(f64),
    /// Other data.
    Data(Vec<Input>),
    /// Each row of the stream on arrival, before the candidate learns from it (prequential).
    Stream,
}

/// The quantity to optimise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The smallest mean negative log-likelihood.
    LogLoss,
    /// The largest share of correct decisions.
    Accuracy,
    /// The largest mean of the true positive rate and the true negative rate.
    BalancedAccuracy,
}

impl Objective {
    /// Returns the quantity to minimise.
    pub(super) fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::LogLoss => figures.log_loss,
            Self::Accuracy => 1.0 - f64::from(figures.accuracy),
            Self::BalancedAccuracy => 1.0 - f64::from(figures.balanced_accuracy),
        }
    }
}

/// The results of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Figures {
    /// Number of rows on which it was evaluated, over all draws.
    pub rows: u64,
    /// Mean negative log-likelihood, in natural logarithms.
    pub log_loss: f64,
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Mean of the true positive rate and the true negative rate.
    pub balanced_accuracy: f32,
    /// By the name of the measure, the value of the group that is farthest from equal treatment;
    /// null if no group can be judged.
    pub gaps: BTreeMap<String, Option<f32>>,
    /// Sum of the amounts by which gaps exceed their targets. A target that cannot be judged counts
    /// as exceeded by 1.
    pub excess: f64,
}

/// The reason why a search failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// A fault of the data or the options.
    #[error(transparent)]
    Data(#[from] Error),
    /// A model could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The engine refused a model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The time limit allowed no trial on all rows.
    #[error("the time limit was reached before any candidate had learned from all rows")]
    NoTime,
}

fn split(plan: &Plan, draw: u32, training_share: f64, part: Part) -> Split {
    Split { seed: plan.seed.wrapping_add(u64::from(draw)), training_share, part }
}

/// Reads all data once. Returns the number of rows to learn from, and the SHA-256 (in hexadecimal)
/// of everything that all trials depend on.
pub(super) fn survey(inputs: &[Input], schema: &Schema, plan: &Plan) -> Result<(u64, String), TuneError> {
    let read = |inputs: &[Input], split: Option<Split>| -> Result<(u64, [u8; 32]), Error> {
        let mut stream = Stream::open(inputs, schema, Use::Learn)?;
        if let Some(split) = split {
            stream.keep(split);
        }
        let mut rows = 0;
        while stream.next_row()?.is_some() {
            rows += 1;
        }
        stream.check_rows()?;
        Ok((rows, stream.digest().finish()))
    };
    let (held_out, judged_on) = match &plan.judged_on {
        JudgedOn::HeldOut(share) => (Some(split(plan, 0, 1.0 - share, Part::Training)), format!("held out {share}")),
        JudgedOn::Data(data) => (None, format!("{:?}", read(data, None)?)),
        JudgedOn::Stream => (None, "stream".to_owned()),
    };
    let (rows, data) = read(inputs, held_out)?;
    let basis = format!("{data:?} {schema:?} {judged_on} {} {:?}", plan.seed, plan.base.fair);
    let hash = Digest::of(basis.as_bytes());
    Ok((rows, hash.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Learns from a share of the rows and evaluates the result. `draw` selects the held-out rows.
pub(super) fn judge(
    inputs: &[Input],
    schema: &Schema,
    plan: &Plan,
    config: &Config,
    share: f64,
    draw: u32,
) -> Result<Figures, TuneError> {
    let mut options = config.options()?;
    let training_share = match plan.judged_on {
        JudgedOn::HeldOut(part) => (1.0 - part) * share,
        JudgedOn::Data(_) | JudgedOn::Stream => share,
    };
    options.split = (training_share < 1.0).then(|| split(plan, draw, training_share, Part::Training));
    // Explanations are not evaluated, so no background records are needed.
    options.background = 0;
    let run = training::run(inputs, schema, &options, &mut unwatched)?;
    let mut rows = match &plan.judged_on {
        JudgedOn::Stream => return Ok(Figures::of_stream(&run.prequential().total(), &plan.base.fair)),
        JudgedOn::Data(data) => Stream::open(data, schema, Use::Learn)?,
        JudgedOn::HeldOut(part) => {
            let mut rows = Stream::open(inputs, schema, Use::Learn)?;
            rows.keep(split(plan, draw, 1.0 - part, Part::HeldOut));
            rows
        }
    };
    let exported = run.model()?;
    let model = HostModel::load(exported.bytes.as_slice())?;
    let has_recourse = plan.base.fair.iter().any(|(measure, _)| *measure == Measure::RecourseBurden);
    let burden = if has_recourse { RecourseBurden::Measured } else { RecourseBurden::LeftOut };
    let evaluation = evaluate(AnyModel::Float(&model), None, &mut rows, burden, &mut |_| ())?;
    Ok(Figures::of_rows(&evaluation, &plan.base.fair))
}

impl Figures {
    fn of_rows(evaluation: &Evaluation, targets: &[(Measure, f32)]) -> Self {
        let gap = |measure| evaluation.worst(measure);
        Self {
            rows: evaluation.rows,
            log_loss: evaluation.log_loss,
            accuracy: evaluation.accuracy,
            balanced_accuracy: evaluation.balanced_accuracy,
            gaps: gaps(gap),
            excess: excess(targets, gap),
        }
    }

    fn of_stream(total: &Tally, targets: &[(Measure, f32)]) -> Self {
        let gap = |measure| total.worst(measure);
        Self {
            rows: total.all().rows(),
            log_loss: total.mean_log_loss(),
            accuracy: total.all().accuracy(),
            balanced_accuracy: total.all().balanced_accuracy(),
            gaps: gaps(gap),
            excess: excess(targets, gap),
        }
    }

    /// Returns the means over several draws. A measure has no mean if it cannot be evaluated in one
    /// of them.
    pub(super) fn mean(draws: &[&Self], targets: &[(Measure, f32)]) -> Self {
        let n = draws.len() as f64;
        let mean = |of: &dyn Fn(&Self) -> f64| draws.iter().map(|figures| of(figures)).sum::<f64>() / n;
        #[allow(clippy::cast_possible_truncation)]
        let mean_f32 = |of: &dyn Fn(&Self) -> f32| mean(&|figures| f64::from(of(figures))) as f32;
        let value = |figures: &Self, measure: Measure| figures.gaps.get(measure.name()).copied().flatten();
        let gap = |measure: Measure| {
            let all = draws.iter().all(|figures| value(figures, measure).is_some());
            all.then(|| mean_f32(&|figures| value(figures, measure).unwrap_or_default()))
        };
        Self {
            rows: draws.iter().map(|figures| figures.rows).sum(),
            log_loss: mean(&|figures| figures.log_loss),
            accuracy: mean_f32(&|figures| figures.accuracy),
            balanced_accuracy: mean_f32(&|figures| figures.balanced_accuracy),
            gaps: gaps(gap),
            excess: excess(targets, gap),
        }
    }

    /// Returns the distance of a measure from equal treatment, see [`Measure::magnitude`].
    #[must_use]
    pub fn magnitude(&self, measure: Measure) -> Option<f32> {
        self.gaps.get(measure.name()).copied().flatten().map(|value| measure.magnitude(value))
    }
}

fn gaps(gap: impl Fn(Measure) -> Option<f32>) -> BTreeMap<String, Option<f32>> {
    Measure::ALL.into_iter().map(|measure| (measure.name().to_owned(), gap(measure))).collect()
}

fn excess(targets: &[(Measure, f32)], gap: impl Fn(Measure) -> Option<f32>) -> f64 {
    let of = |(measure, limit): &(Measure, f32)| {
        gap(*measure).map_or(1.0, |value| f64::from((measure.magnitude(value) - measure.allowance(*limit)).max(0.0)))
    };
    targets.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_cannot_be_judged_is_not_held() {
        let targets = [(Measure::Spd, 0.05), (Measure::Impact, 0.8), (Measure::Aod, 0.1)];
        let gap = |measure| match measure {
            Measure::Spd => Some(-0.07),
            Measure::Impact => Some(1.6),
            _ => None,
        };
        assert!((excess(&targets, gap) - (0.02 + 0.175 + 1.0)).abs() < 1e-6);
        assert_eq!(excess(&targets[..1], |_| Some(0.05)), 0.0);
    }
}
