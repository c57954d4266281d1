//! The state that changes with the rows: the learner, the helpers that it needs for every row, and
//! the measures.

use serde::{Deserialize, Serialize};

use super::distance::Gauge;
use super::order::Order;
use super::prequential::{Prequential, Tally};
use super::targets;
use crate::encoder::{Encoder, Example, Flipper, Flips};
use crate::learner::{Learner, Prediction, ValidOptions};
use crate::rows::{Attribute, GroupMap, Row};

/// The state that changes with every row.
#[derive(Clone)]
pub(super) struct State {
    /// Present if the learner needs to know how records would be decided in other groups.
    flipper: Option<Flipper>,
    flips: Flips,
    /// Present if the learner needs to know how far declined records are from the boundary.
    gauge: Option<Gauge>,
    pub learner: Learner,
    pub measured: Measured,
    pub rows: u64,
    /// The pass over the data, from 1; 0 if nothing is measured.
    pub epoch: u32,
    /// Whether the rows were scored, and the scores measured, when they arrived; see
    /// [`Start`](super::start::Start).
    pub is_measured: bool,
    pub example: Example,
}

/// The measures on rows that the model has not learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Decisions of the stream on rows seen for the first time, before they are learned from.
    pub(super) prequential: Prequential,
    /// Decisions of the exported weights on the same rows.
    pub(super) exported: Prequential,
    pub(super) order: Order,
    /// After several passes, decisions of the model on rows that only the first pass learned from;
    /// after a merge, the decisions that each run is judged by; `None` once the model has learned
    /// more.
    pub(super) reserved: Option<Tally>,
}

impl Measured {
    pub(super) fn new(window: u64) -> Self {
        let prequential = Prequential::new(window);
        Self { exported: prequential.clone(), prequential, order: Order::default(), reserved: None }
    }

    /// Returns the measures of several parts, one after the other, with their groups united. The
    /// merged model has made no decision yet: until it learns more, it has the decisions that each
    /// part is judged by.
    pub(super) fn merge(parts: &[(&Self, &GroupMap)]) -> Self {
        fn all<'a, T>(
            parts: &[(&'a Measured, &'a GroupMap)],
            of: impl Fn(&'a Measured) -> T,
        ) -> Vec<(T, &'a GroupMap)> {
            parts.iter().map(|(measured, groups)| (of(measured), *groups)).collect()
        }
        Self {
            prequential: Prequential::merge(&all(parts, |part| &part.prequential)),
            exported: Prequential::new(parts.first().map_or(1, |(part, _)| part.exported.length())),
            order: Order::merge(&all(parts, |part| &part.order)),
            reserved: Some(Tally::sum(&all(parts, Self::last_decisions))),
        }
    }

    /// Returns the decisions that the model is judged by: on reserved rows, or over the last part
    /// of the stream.
    pub(super) fn last_decisions(&self) -> Tally {
        self.reserved.clone().unwrap_or_else(|| targets::last(self.exported.windows()))
    }

    /// Counts the prediction on a row that arrives for the first time, as the stream sees it.
    pub(super) fn observe(&mut self, row: &Row<'_>, said: Prediction, options: &ValidOptions) {
        self.observe_one(row.label.unwrap_or_default(), row.groups, said, options);
    }

    fn observe_one(&mut self, label: bool, groups: &[u8], said: Prediction, options: &ValidOptions) {
        self.prequential.observe(label, said.probability, said.threshold, groups);
        if options.wants_flips() {
            self.prequential.observe_individual(said.unfair, groups);
        }
    }
}

impl State {
    pub(super) fn new(learner: Learner, measured: Measured, rows: u64) -> Self {
        Self {
            flipper: learner.options().wants_flips().then(Flipper::default),
            flips: Flips::default(),
            gauge: Gauge::new(&learner),
            learner,
            measured,
            rows,
            epoch: 1,
            is_measured: false,
            example: Example::default(),
        }
    }

    /// Returns a state with this learner and without measures.
    pub(super) fn unmeasured(learner: Learner) -> Self {
        Self { epoch: 0, ..Self::new(learner, Measured::new(1), 0) }
    }

    /// Scores the example that was encoded last, and learns nothing from it.
    pub(super) fn score<'a>(
        &mut self,
        encoder: &Encoder,
        attributes: impl Iterator<Item = &'a Attribute> + Clone,
    ) -> Prediction {
        let Self { flipper, flips, learner, example, .. } = self;
        if let Some(flipper) = flipper {
            flipper.flip(encoder, attributes, example, flips);
        }
        learner.score(example, flips)
    }

    /// Learns from the example that was encoded last. `earlier` is the prediction from when the row
    /// arrived, if its label came late.
    #[inline]
    pub(super) fn learn<'a>(
        &mut self,
        encoder: &Encoder,
        attributes: impl Iterator<Item = &'a Attribute> + Clone,
        earlier: Option<Prediction>,
    ) -> Prediction {
        let Self { flipper, flips, gauge, learner, measured, rows, epoch, is_measured, example } = self;
        if let Some(flipper) = flipper {
            flipper.flip(encoder, attributes, example, flips);
        }
        if let Some(gauge) = gauge {
            gauge.look_at(example, encoder, learner);
        }
        // Later passes have already learned from the row: their measures would be too good.
        let is_first = *epoch == 1;
        let now = learner.learn_late(example, flips, earlier);
        let prediction = earlier.unwrap_or(now);
        if is_first {
            measured.reserved = None;
            measured.order.observe(example.label, &example.groups);
            measured.exported.observe(
                example.label,
                prediction.exported,
                prediction.exported_threshold,
                &example.groups,
            );
            if !*is_measured {
                measured.observe_one(example.label, &example.groups, prediction, learner.options());
            }
        }
        *rows += 1;
        prediction
    }

    /// Carries the learned weights over if the encoding was fitted again.
    #[inline]
    pub(super) fn follow(&mut self, encoder: &mut Encoder) {
        let carries = encoder.follow();
        if !carries.is_empty() {
            carries.iter().for_each(|carry| self.learner.carry(carry));
            self.learner.hold(encoder.monotone());
        }
    }
}
