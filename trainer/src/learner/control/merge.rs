//! Merges several controllers that held the same targets, each on its part of the data.

use super::{Attribute, Controller, Fading, Groups, HELD, Pair};
use crate::rows::GroupMap;

impl Controller {
    /// Returns one controller for the targets of several, with their groups united. Rates and
    /// multipliers are means weighted by the records behind them.
    pub(in super::super) fn merge(parts: &[(&Self, &GroupMap)]) -> Option<Self> {
        let mut merged = parts.first()?.0.clone();
        for (index, attribute) in merged.attributes.iter_mut().enumerate() {
            let of_part =
                |(part, groups): &(&Self, &GroupMap)| Some((part.attributes.get(index)?.clone(), (*groups).clone()));
            let known: Vec<(Attribute, GroupMap)> = parts.iter().filter_map(of_part).collect();
            *attribute = Attribute::merge(index, &known);
        }
        merged.reached = Fading::merge(parts.iter().map(|(part, _)| part.reached));
        Some(merged)
    }
}

impl Attribute {
    fn merge(index: usize, parts: &[(Self, GroupMap)]) -> Self {
        let groups: Vec<(&Groups, &GroupMap)> = parts.iter().map(|(part, groups)| (&part.groups, groups)).collect();
        let groups = Groups::merge(index, &groups);
        let pairs: Vec<Vec<Pair>> =
            parts.iter().map(|(part, groups)| groups.spread(index, &part.pairs_with_a_gap())).collect();
        let of_group = |group: usize| pairs.iter().filter_map(|pairs| pairs.get(group)).collect::<Vec<_>>();
        Self {
            pairs: (0..groups.len()).map(|group| Pair::merge(&of_group(group))).collect(),
            known: Fading::merge(parts.iter().map(|(part, _)| part.known)),
            groups,
        }
    }
}

impl Attribute {
    /// Returns the pairs. A pair with a group that never occurred has learned nothing and is reset,
    /// so that its integral is as quick as in the first records of a stream.
    fn pairs_with_a_gap(&self) -> Vec<Pair> {
        let has_come = |group: usize| {
            self.groups.get(group).is_some_and(|group| {
                let [negatives, positives, _] = group.least_count();
                negatives + positives > 0.0
            })
        };
        let found = |(group, pair): (usize, &Pair)| {
            if has_come(0) && has_come(group) { pair.clone() } else { Pair::default() }
        };
        self.pairs.iter().enumerate().map(found).collect()
    }
}

impl Pair {
    fn merge(parts: &[&Self]) -> Self {
        let records = parts.iter().map(|part| part.records).fold(0, u64::saturating_add);
        if records == 0 {
            return Self::default();
        }
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // a share; as precise as a force
        let mean = |of: &dyn Fn(&Self) -> f32| {
            let share = |part: &&Self| part.records as f64 / records as f64 * f64::from(of(part));
            parts.iter().map(share).sum::<f64>() as f32
        };
        let by_held = |of: &dyn Fn(&Self, usize) -> f32| -> [f32; HELD] {
            std::array::from_fn(|held| mean(&|part| of(part, held)))
        };
        let weights = |side: usize| {
            std::array::from_fn(|held| [0, 1].map(|label: usize| mean(&|part| part.weights[side][held][label])))
        };
        Self {
            multipliers: by_held(&|part, held| part.multipliers[held]),
            records,
            weights: [weights(0), weights(1)],
            damping: mean(&|part| part.damping),
            gains: std::array::from_fn(|gap| by_held(&|part, force| part.gains[gap][force])),
            paces: by_held(&|part, held| part.paces[held]),
        }
    }
}
