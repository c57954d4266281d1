//! One learner of several that learned apart, over the same encoding and by the same options.

use feamoe_engine::limits::MAX_EXPERTS;

use super::growth::{Events, Grower, Watch};
use super::mixture::{Mixture, Part as MixturePart, row_shares};
use super::{Calibrator, Controller, FairBy, Follower, GroupThresholds, Importance, Learner, Paper, ValidOptions};
use crate::encoder::{Encoder, Example};
use crate::rows::GroupMap;

/// How several mixtures become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// All experts side by side, the gate of each part shifted so that it has its share of the
    /// records.
    #[default]
    Join,
    /// The mean of the weights, each row by the records that picked it. Experts are matched by
    /// their numbers: for parts that began with the same mixture, or have one expert.
    Average,
}

/// One of several learners.
pub(crate) struct Part<'a> {
    pub learner: &'a Learner,
    pub encoder: &'a Encoder,
    /// Its groups in the union.
    pub groups: &'a GroupMap,
}

impl Learner {
    /// Returns one learner of several over the same encoding, with the same options but for the
    /// seed; averaged ones have the same number of experts. `None` without any.
    ///
    /// What counts or averages records is that of all. Detectors of drift start anew: what they
    /// have seen of the single learners says nothing of the loss of this one.
    pub(crate) fn merge(parts: &[Part<'_>], how: How) -> Option<Self> {
        let first = parts.first()?.learner;
        let mut options = first.options.clone();
        let mixtures = parts.iter().map(|part| MixturePart { mixture: &part.learner.mixture, encoder: part.encoder });
        let mixtures: Vec<MixturePart<'_>> = mixtures.collect();
        let mixture = match how {
            How::Join => Mixture::join(&mixtures),
            How::Average => Mixture::average(&mixtures),
        };
        if mixture.experts() > options.most_experts() {
            options.experts = Some(mixture.experts().min(MAX_EXPERTS));
        }
        let controllers: Vec<(&Controller, &GroupMap)> =
            parts.iter().map(|part| (&part.learner.controller, part.groups)).collect();
        let papers: Vec<(&Paper, &GroupMap)> = parts.iter().map(|part| (&part.learner.paper, part.groups)).collect();
        let mut events = Events::default();
        let (mut records, mut experts) = (0, 0);
        for Part { learner, groups, .. } in parts {
            events.append(&learner.events, records, experts, groups);
            records = u64::saturating_add(records, learner.mixture.records());
            experts += if how == How::Join { learner.mixture.experts() } else { 0 };
        }
        let followers = |which: usize| {
            let known: Option<Vec<&Follower>> =
                parts.iter().map(|part| part.learner.thresholds.as_ref()?.get(which)).collect();
            Follower::merge(&known?)
        };
        let shares = row_shares(&parts.iter().map(|part| part.encoder).collect::<Vec<_>>());
        let calibrators: Option<Vec<(&Calibrator, &[f64])>> = parts
            .iter()
            .zip(&shares)
            .map(|(part, shares)| Some((part.learner.calibrator.as_ref()?, shares.as_slice())))
            .collect();
        let of_groups: Option<Vec<(&GroupThresholds, &GroupMap)>> =
            parts.iter().map(|part| Some((part.learner.group_thresholds.as_ref()?, part.groups))).collect();
        let attributes = first.paper.attributes();
        let mut merged = Self {
            mixture,
            importance: Importance::merge(&parts.iter().map(|part| &part.learner.importance).collect::<Vec<_>>())?,
            controller: Controller::merge(&controllers)?,
            paper: Paper::merge(&papers)?,
            watch: Watch::new(attributes, !options.targets_of(FairBy::Score).is_empty()),
            grower: Grower::merge(parts.iter().map(|part| &part.learner.grower)),
            events,
            thresholds: followers(0).zip(followers(1)).map(|(deciding, exported)| [deciding, exported]),
            calibrator: calibrators.map(|calibrators| Calibrator::merge(&calibrators)),
            group_thresholds: None,
            repeats: false,
            options,
        };
        let threshold = merged.exported_threshold();
        merged.group_thresholds = of_groups.and_then(|parts| GroupThresholds::merge(&parts, threshold));
        Some(merged)
    }

    /// Learns anew, from some examples, how close the experts are.
    pub(crate) fn compare_experts(&mut self, sample: &[Example]) {
        self.mixture.compare_experts(sample);
    }

    /// Makes one expert of the closest two until this number is left, at least 1; `sample`: what
    /// closeness is measured on. There are no more experts from here on.
    pub(crate) fn merge_experts(&mut self, experts: usize, sample: &[Example]) {
        if self.mixture.merge_down(experts, sample) {
            self.options.experts = Some(self.mixture.experts());
        }
    }

    /// Returns whether another learner learns alike, by its options: all but the seed, and the
    /// number of experts, which a merging may have changed.
    pub(crate) fn learns_like(&self, other: &Self) -> bool {
        let comparable = |options: &ValidOptions| ValidOptions { seed: 0, experts: None, ..options.clone() };
        comparable(&self.options) == comparable(&other.options)
    }
}
