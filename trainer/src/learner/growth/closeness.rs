//! Finds the two experts that can be merged at the least cost.
//!
//! Let `w = E[g_a] / E[g_a + g_b]`. An expert that answers between `a` and `b`, nearer to the more
//! used one, is off by `(1 - w) (o_a - o_b)` where the gate used `a`, and by `w (o_a - o_b)` where
//! it used `b`. So the cost of merging is
//!
//! ```text
//! (1 - w)^2 E[g_a (o_a - o_b)^2] + w^2 E[g_b (o_a - o_b)^2]
//! ```
//!
//! in units of squared score. It is small for two experts that agree, and for one that is hardly
//! used: retiring the least used is the case `w = 1`. Means fade over [`REACH`] observations.
//! *Cost:* K^2 products per observation; *memory:* K (K + 2) numbers.

use crate::tuned::{Tuned, tuned};
use serde::{Deserialize, Serialize};

use crate::model::Merger;

/// Observations that a mean covers.
static REACH: Tuned<f32> = tuned!(2000.0);
/// Observations from which on an expert is known. Before, it is not merged.
static KNOWN: Tuned<f32> = tuned!(30.0);
/// Experts are alike if merging two of them moves scores by less than this, squared, on average:
/// 0.014 of score. On Adult, COMPAS, HMDA and Diabetes-130, mixtures that stop there, at 4, 5, 8
/// and 12 experts, are within 0.0008 of the log-loss of 12.
static ALIKE: Tuned<f32> = tuned!(3e-4);

/// The closeness statistics of the experts, by index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Closeness {
    experts: Vec<Expert>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Expert {
    /// Observations since the expert was added; stops at [`REACH`].
    looks: f32,
    /// `E[g]`.
    used: f32,
    /// `E[g (o - o_b)^2]` by expert b.
    apart: Vec<f32>,
}

impl Closeness {
    /// Observes the gate and the outputs of a record.
    pub(in super::super) fn observe(&mut self, gate: &[f32], outputs: &[f32]) {
        self.experts.resize_with(gate.len(), Expert::default);
        for expert in &mut self.experts {
            expert.looks = (expert.looks + 1.0).min(REACH.get());
            expert.apart.resize(gate.len(), 0.0);
        }
        for (a, g) in gate.iter().enumerate() {
            let looks = self.experts[a].looks;
            for (b, o) in outputs.iter().enumerate() {
                let difference = outputs[a] - o;
                let step = 1.0 / looks.min(self.experts[b].looks);
                let mean = &mut self.experts[a].apart[b];
                *mean += step * (g * difference * difference - *mean);
            }
            let used = &mut self.experts[a].used;
            *used += (g - *used) / looks;
        }
    }

    /// Returns the pair that is cheapest to merge, with its cost; `None` if there are fewer than
    /// two known experts.
    pub(in super::super) fn cheapest(&self) -> Option<(Merger, f32)> {
        let known = |expert: &Expert| expert.looks >= KNOWN.get();
        let mut cheapest = None;
        let mut least = f32::INFINITY;
        for (a, one) in self.experts.iter().enumerate().filter(|(_, expert)| known(expert)) {
            for (b, other) in self.experts.iter().enumerate().filter(|(_, expert)| known(expert)) {
                if a == b || one.used < other.used {
                    continue;
                }
                let merger = Merger::new(a, b, [one.used, other.used]);
                let share = merger.share;
                let cost = (1.0 - share) * (1.0 - share) * one.apart[b] + share * share * other.apart[a];
                if cost < least {
                    least = cost;
                    cheapest = Some((merger, cost));
                }
            }
        }
        cheapest
    }

    /// Returns whether two experts answer nearly alike, or an expert is too new to say.
    pub(in super::super) fn has_alike(&self) -> bool {
        let is_new = |expert: &Expert| expert.looks < KNOWN.get();
        self.experts.iter().any(is_new) || self.cheapest().is_some_and(|(_, cost)| cost < ALIKE.get())
    }

    /// Returns whether the deserialised state is valid for this number of experts.
    pub(in super::super) fn is_sound(&self, experts: usize) -> bool {
        let known = self.experts.len();
        let is_whole =
            |expert: &Expert| expert.apart.len() == known || (expert.looks == 0.0 && expert.apart.is_empty());
        known <= experts && self.experts.iter().all(is_whole)
    }

    /// Registers that an expert's gate was halved.
    pub(in super::super) fn halve(&mut self, expert: usize) {
        if let Some(expert) = self.experts.get_mut(expert) {
            expert.used *= 0.5;
            expert.apart.iter_mut().for_each(|mean| *mean *= 0.5);
        }
    }

    /// Registers that an expert was added, or replaced another.
    pub(in super::super) fn start(&mut self, expert: usize) {
        if let Some(expert) = self.experts.get_mut(expert) {
            *expert = Expert::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Experts 0 and 2 agree, 1 contradicts them; 3 is hardly used.
    #[test]
    fn those_that_agree_are_closest_then_the_one_hardly_used() {
        let look = |gate: [f32; 4], outputs: [f32; 4]| {
            let mut closeness = Closeness::default();
            (0..100).for_each(|_| closeness.observe(&gate, &outputs));
            closeness
        };
        let pair = |closeness: &Closeness| closeness.cheapest().map(|(merger, _)| (merger.into, merger.from));
        let mut agreeing = look([0.2, 0.3, 0.3, 0.2], [0.4, 0.9, 0.41, 0.1]);
        assert_eq!(pair(&agreeing), Some((2, 0)));
        let unused = look([0.3, 0.4, 0.299, 0.001], [0.2, 0.9, 0.5, 0.7]);
        assert_eq!(pair(&unused).map(|(_, from)| from), Some(3));
        agreeing.start(0);
        assert!(agreeing.is_sound(4) && agreeing.is_sound(5) && !agreeing.is_sound(3));
        assert!(pair(&agreeing).is_some_and(|(into, from)| into != 0 && from != 0), "a new expert is left alone");
    }
}
