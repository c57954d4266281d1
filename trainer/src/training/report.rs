//! The report of a run.

use serde::Serialize;

use super::Trainer;
use super::events::{EventReport, events};
use super::prequential::PrequentialSummary;
use super::targets::{self, JudgedOn, TargetReport};
use crate::judge::attribute::{AttributeReport, OtherLabels};
use crate::judge::gaps::GroupGaps;
use crate::judge::proxies::Proxy;
use crate::model::card::FeatureCells;

/// What a run learned from, how accurate the model is, and how fair.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// Number of rows learned from.
    pub rows: u64,
    /// Number of rows among `rows` that earlier runs learned from.
    pub earlier_rows: u64,
    /// Number of shards that were merged; 1 if the run learned from all rows itself.
    pub shards: u32,
    /// Number of rows that were filtered out or have neither outcome.
    pub skipped: u64,
    /// Number of rows left out because their sample weight is 0.
    pub weightless: u64,
    /// Number of rows that were scored and wait for their labels.
    pub waiting: usize,
    /// The rows with neither outcome.
    pub other_labels: OtherLabels,
    /// Seed of every random choice.
    pub seed: u64,
    /// Number of experts.
    pub experts: usize,
    /// Decision threshold of the model.
    pub threshold: f32,
    /// The threshold as given, or the rule that chose it.
    pub threshold_rule: String,
    /// Measures of decisions that were made before their rows were learned from.
    pub prequential: PrequentialSummary,
    /// The counts of the cells of every feature.
    pub features: Vec<FeatureCells>,
    /// The protected attributes and their groups.
    pub attributes: Vec<AttributeReport>,
    /// The decisions that `fairness` and `targets` are based on.
    pub judged_on: JudgedOn,
    /// Every group compared with its reference, over the decisions of `judged_on`.
    pub fairness: Vec<GroupGaps>,
    /// The result of every target.
    pub targets: Vec<TargetReport>,
    /// Features that almost alone predict the outcome, or that predict a group.
    pub proxies: Vec<Proxy>,
    /// The newest events, at most 1,000.
    pub events: Vec<EventReport>,
    /// Number of older events, which are not kept.
    pub events_dropped: u64,
}

impl Report {
    /// Reports the state of a trainer.
    #[must_use]
    pub fn new(trainer: &Trainer) -> Self {
        let counts = trainer.counts();
        Self {
            rows: trainer.rows(),
            earlier_rows: trainer.earlier_rows(),
            shards: trainer.passes().shards,
            skipped: counts.filtered + counts.unlabelled,
            weightless: counts.weightless,
            waiting: trainer.delay().waiting(),
            other_labels: OtherLabels::new(trainer.other_labels(), &trainer.schema().target),
            seed: trainer.learner().options().seed(),
            experts: trainer.learner().experts(),
            threshold: trainer.learner().exported_threshold(),
            threshold_rule: trainer.learner().options().threshold().to_string(),
            prequential: trainer.prequential().summary(),
            features: trainer.feature_cells(),
            attributes: trainer.attributes().map(|attribute| AttributeReport::new(attribute, None)).collect(),
            judged_on: targets::judged_on(trainer),
            fairness: targets::gaps(trainer),
            targets: targets::targets(trainer),
            proxies: trainer.proxies(),
            events: events(trainer),
            events_dropped: trainer.learner().events().dropped() + trainer.changes_dropped(),
        }
    }
}
