//! The formula for merging two experts, shared by the learner and finished models.
//!
//! With `w` the share of the first in the use of both, each weight of the new expert is `w a + (1 -
//! w) b`, in its own lane and in its gate lane. The gate of both together was `log2(2^a + 2^b)`.
//! Around the mean record this is `w a + (1 - w) b + H(w)`, where H is the entropy in bits; it is
//! added to the bias. This is exact if both gates differ by a constant.
//!
//! A logit is a sum of weights, so what holds for weight rows also holds for the logits of a
//! record.

/// Minimum share of an expert in a merge. It keeps the entropy of the shares finite.
const LEAST_SHARE: f32 = 1e-4;

/// Two experts to merge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Merger {
    /// The expert that is used more, which stays.
    pub into: usize,
    /// The other expert.
    pub from: usize,
    /// Share of the first in the use of both.
    pub share: f32,
}

impl Merger {
    /// Merges `from` into `into`. The last argument holds the mean gate weight of each, in this
    /// order, not both 0.
    pub(crate) fn new(into: usize, from: usize, [kept, freed]: [f32; 2]) -> Self {
        let share = (kept / (kept + freed)).clamp(LEAST_SHARE, 1.0 - LEAST_SHARE);
        Self { into, from, share }
    }

    /// Averages the lanes of a row. `gate` and `outputs` each hold one lane per expert.
    pub(crate) fn average(&self, gate: &mut [f32], outputs: &mut [f32]) {
        let Self { into, from, share: w } = *self;
        for lanes in [gate, outputs] {
            lanes[into] = w * lanes[into] + (1.0 - w) * lanes[from];
        }
    }

    /// Returns the amount that the gate lane of `into` gains in the bias, in log2 units: 0 to 1.
    pub(crate) fn entropy(&self) -> f32 {
        let w = self.share;
        -w * libm::log2f(w) - (1.0 - w) * libm::log2f(1.0 - w)
    }
}
