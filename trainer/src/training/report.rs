//! All that a run has to say of itself.

use serde::Serialize;

use super::Trainer;
use super::events::{EventReport, events};
use super::prequential::PrequentialSummary;
use super::targets::{self, JudgedOn, TargetReport};
use crate::judge::attribute::{AttributeReport, OtherLabels};
use crate::judge::gaps::GroupGaps;
use crate::judge::proxies::Proxy;
use crate::model::card::FeatureCells;

/// What a trainer learned from, how well, and how fair it is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// Rows learned from.
    pub rows: u64,
    /// Rows among them that earlier runs had learned from.
    pub earlier_rows: u64,
    /// Shards that became one run; 1 where a run learned from all rows itself.
    pub shards: u32,
    /// Rows that were filtered out or have neither target value.
    pub skipped: u64,
    /// Rows left out because their sample weight is 0.
    pub weightless: u64,
    /// Rows that were scored, and wait for their labels.
    pub waiting: usize,
    /// Those with neither target value.
    pub other_labels: OtherLabels,
    /// The seed.
    pub seed: u64,
    /// Experts there are.
    pub experts: usize,
    /// Decision threshold of the model.
    pub threshold: f32,
    /// The same, or what it is chosen for.
    pub threshold_rule: String,
    /// Measures of rows seen for the first time.
    pub prequential: PrequentialSummary,
    /// What the cells of every feature were.
    pub features: Vec<FeatureCells>,
    /// Who was learned from, by protected attribute.
    pub attributes: Vec<AttributeReport>,
    /// The decisions that `fairness` and `targets` are of.
    pub judged_on: JudgedOn,
    /// Every group against its reference: see [`targets::gaps`].
    pub fairness: Vec<GroupGaps>,
    /// What became of every target.
    pub targets: Vec<TargetReport>,
    /// Features that predict the outcome almost alone, or a group.
    pub proxies: Vec<Proxy>,
    /// The newest, at most 1,000.
    pub events: Vec<EventReport>,
    /// Older ones, no longer kept.
    pub events_dropped: u64,
}

impl Report {
    /// Reports the state that a trainer is in.
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
