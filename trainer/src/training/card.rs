//! Builds a model's card: the description of the run that made it.

use std::collections::BTreeMap;

use feamoe_engine::fairness::Measure;

use super::{Passes, Trainer, targets};
use crate::encoder;
use crate::judge::gaps::GroupGaps;
use crate::learner::{ClassWeight, FairBy, Loss, ValidOptions};
use crate::model::card::{Card, Gap, Measured, Target};
use targets::TargetReport;

/// Returns the card of the current model.
pub(super) fn card(trainer: &Trainer, encoding: &encoder::Options, passes: Passes, weight: Option<&str>) -> Card {
    let total = trainer.prequential().summary().total;
    #[allow(clippy::cast_possible_truncation)] // as precise as it is read
    let measured = Measured {
        accuracy: total.accuracy,
        balanced_accuracy: finite(total.balanced_accuracy),
        log_loss: total.log_loss as f32,
        gaps: targets::gaps(trainer).iter().map(gap).collect(),
        targets: targets::targets(trainer).iter().map(target).collect(),
    };
    let mut options = options(trainer.learner().options(), encoding, passes, weight);
    if trainer.delay().rows() > 0 {
        options.insert("label-delay".into(), trainer.delay().rows().to_string());
    }
    Card { schema: trainer.schema().clone(), options, features: trainer.feature_cells(), measured: Some(measured) }
}

fn options(
    learner: &ValidOptions,
    encoding: &encoder::Options,
    passes: Passes,
    weight: Option<&str>,
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut say = |flag: &str, value: String| _ = options.insert(flag.to_owned(), value);
    say("experts", learner.experts().map_or_else(|| "auto".to_owned(), |experts| experts.to_string()));
    say("grow", learner.growth().to_string());
    say("loss", if learner.loss() == Loss::Nll { "nll" } else { "competitive" }.into());
    say("lr", learner.learning_rate().to_string());
    say("seed", learner.seed().to_string());
    say("threshold", learner.threshold().to_string());
    say("bins", encoding.bins.to_string());
    say("epochs", passes.epochs.to_string());
    let targets: Vec<String> =
        learner.targets().iter().map(|(measure, limit)| format!("{}={limit}", measure.name())).collect();
    if !targets.is_empty() {
        say("fair", targets.join(","));
    }
    if learner.fair_by() == FairBy::Threshold {
        say("fair-by", "threshold".into());
    }
    if let Some(penalties) = learner.penalties() {
        say("fairness", "paper".into());
        say("penalties", penalties.to_string());
        say("increment", penalties.increment().to_string());
    }
    if let Some(weight) = learner.individual() {
        say("individual", weight.to_string());
    }
    if learner.class_weight() == ClassWeight::Balanced {
        say("class-weight", "balanced".into());
    }
    if let Some(column) = weight {
        say("weight", column.to_owned());
    }
    if passes.shards > 1 {
        say(Card::MERGED, format!("{} shards", passes.shards));
    }
    for (flag, is_set) in [("freeze", learner.freezes()), ("shuffle", passes.shuffled)] {
        if is_set {
            say(flag, "yes".into());
        }
    }
    options
}

fn gap(gaps: &GroupGaps) -> Gap {
    // JSON has no infinity, so an infinite ratio is left out.
    let is_stated = |measure: &Measure| gaps.magnitude(*measure).is_some() && gaps.measure(*measure).is_finite();
    let judged = Measure::ALL.into_iter().filter(is_stated);
    Gap {
        attribute: gaps.attribute.clone(),
        group: gaps.group.clone(),
        reference: gaps.reference.clone(),
        rows: gaps.rows,
        reference_rows: gaps.reference_rows,
        measures: judged.map(|measure| (measure.name().to_owned(), gaps.measure(measure))).collect(),
    }
}

fn target(report: &TargetReport) -> Target {
    Target {
        attribute: report.attribute.clone(),
        group: report.group.clone(),
        measure: report.measure.to_owned(),
        target: report.target,
        value: finite(report.gap),
        interval: report.interval.filter(|ends| ends.iter().all(|end| end.is_finite())),
        verdict: report.verdict.map(|verdict| verdict.name().to_owned()),
    }
}

fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}
