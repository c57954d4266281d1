//! Merges several learners that learned separately, over the same encoding and with the same
//! options.

use feamoe_engine::limits::MAX_EXPERTS;

use super::group_thresholds::{FARTHEST, HALVINGS};
use super::growth::{Cause, Event, EventKind, Events, Grower, Watch};
use super::mixture::{Mixture, Part as MixturePart, row_shares};
use super::{Calibrator, Controller, FairBy, Follower, GroupThresholds, Importance, Learner, Paper, ValidOptions};
use crate::encoder::{Encoder, Example, Monotone, NO_GROUP};
use crate::rows::GroupMap;

/// How several mixtures are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// All experts side by side. The gate of each part is shifted so that the part gets its share
    /// of the records.
    #[default]
    Join,
    /// The mean of the weights, each weight row averaged by the records that contain it. Experts
    /// are matched by number: for parts that started from the same mixture, or have one expert.
    Average,
}

/// One of the learners to be merged.
pub(crate) struct Part<'a> {
    pub learner: &'a Learner,
    pub encoder: &'a Encoder,
    /// The part's groups in the union of all groups.
    pub groups: &'a GroupMap,
}

impl Learner {
    /// Returns several learners over the same encoding merged into one; `None` if there are none.
    /// All have the same options except the seed; averaged learners have the same number of
    /// experts. `sample` holds records of all parts. `most_experts` is the maximum number of
    /// experts from here on.
    ///
    /// Counts and averages over records become those of all records. Chosen thresholds are chosen
    /// again by the merged scores of the sample. Drift detectors are reset: what they have seen of
    /// the single learners says nothing about the loss of the merged one.
    pub(crate) fn merge(
        parts: &[Part<'_>],
        how: How,
        most_experts: Option<usize>,
        monotone: Vec<Monotone>,
        sample: &[Example],
    ) -> Option<Self> {
        let first = parts.first()?.learner;
        let mut options = first.options.clone();
        let means: Vec<f64> = parts.iter().map(|part| part.learner.importance.mean()).collect();
        let largest = means.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let mixtures = parts.iter().zip(&means).map(|(part, mean)| MixturePart {
            mixture: &part.learner.mixture,
            encoder: part.encoder,
            weight: (mean / largest).max(f64::MIN_POSITIVE),
        });
        let mixtures: Vec<MixturePart<'_>> = mixtures.collect();
        let mixture = match how {
            How::Join => Mixture::join(&mixtures, sample),
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
        events.push(Event {
            record: records,
            cause: Cause::Merge,
            kind: EventKind::ShardsMerged { shards: parts.len() },
        });
        let followers = |which: usize| {
            let known: Option<Vec<&Follower>> =
                parts.iter().map(|part| part.learner.thresholds.as_ref()?.get(which)).collect();
            Follower::merge(&known?)
        };
        let shares = row_shares(&mixtures);
        let calibrators: Option<Vec<(&Calibrator, &[f64])>> = parts
            .iter()
            .zip(&shares)
            .map(|(part, shares)| Some((part.learner.calibrator.as_ref()?, shares.as_slice())))
            .collect();
        let of_groups: Option<Vec<&GroupThresholds>> =
            parts.iter().map(|part| part.learner.group_thresholds.as_ref()).collect();
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
            group_thresholds: of_groups.and_then(|parts| GroupThresholds::merge(&parts)),
            repeats: false,
            options,
        };
        merged.hold(monotone);
        merged.mixture.compare_experts(sample);
        if let Some(experts) = most_experts {
            merged.merge_experts(experts, sample);
        }
        merged.choose_thresholds(sample);
        Some(merged)
    }

    /// Merges the closest two experts until this number is left, at least 1. `sample` is what
    /// closeness is measured on. The number left is the maximum from here on.
    pub(crate) fn merge_experts(&mut self, experts: usize, sample: &[Example]) {
        let Self { mixture, events, .. } = self;
        let (record, before) = (mixture.records(), mixture.experts());
        mixture.merge_down(experts, sample, &mut |into, expert| {
            events.push(Event { record, cause: Cause::Merge, kind: EventKind::ExpertsMerged { into, expert } });
        });
        if mixture.experts() < before {
            self.options.experts = Some(mixture.experts());
        }
    }

    /// Chooses the thresholds by the scores of a sample, if the learner chooses any.
    fn choose_thresholds(&mut self, sample: &[Example]) {
        let Self { mixture, thresholds, .. } = self;
        if let Some([deciding, exported]) = thresholds {
            deciding.begin_with(sample.iter().map(|record| (record.label, mixture.predict(&record.terms, 0.0))));
            exported
                .begin_with(sample.iter().map(|record| (record.label, mixture.predict_exported(&record.terms, 0.0))));
        }
        let threshold = self.exported_threshold();
        let Self { mixture, group_thresholds: Some(of_groups), .. } = self else { return };
        let needed = |record: &Example| {
            let group = record.groups.first().copied().unwrap_or(NO_GROUP);
            (group, mixture.needed_shift(&record.terms, threshold, FARTHEST, HALVINGS), record.label)
        };
        of_groups.begin_with(&sample.iter().map(needed).collect::<Vec<_>>(), threshold);
    }

    /// Returns whether this learner was merged and has learned from no record since.
    pub(crate) fn is_just_merged(&self) -> bool {
        let last = self.events.newest().iter().rev().take_while(|event| event.record == self.mixture.records());
        last.into_iter().any(|event| matches!(event.kind, EventKind::ShardsMerged { .. }))
    }

    /// Returns the first option in which another learner differs, with both values. Ignores the
    /// seed and the number of experts, which a merge may have changed.
    pub(crate) fn other_option(&self, other: &Self) -> Option<String> {
        let options = |learner: &Self| {
            let comparable = ValidOptions { seed: 0, experts: None, ..learner.options.clone() };
            // Compares by text, which has the shortest digits of a number.
            let text = serde_json::to_string(&comparable).unwrap_or_default();
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default()
        };
        let [own, others] = [options(self), options(other)];
        let (name, value) = own.as_object()?.iter().find(|(name, value)| others.get(name.as_str()) != Some(*value))?;
        Some(format!("{name}: {} and {value}", others.get(name.as_str()).unwrap_or_default()))
    }
}
