//! What a model expects of a record: its features, their kinds, ranges, bins and levels, and where their rows of weights lie.
//!
//! Rows of a feature, in this order:
//!
//! | kind | rows | terms of a record |
//! | --- | --- | --- |
//! | number without bins | linear, missing | 1: the linear row times `t(x) - centre`, or the missing row |
//! | number with `B` bins | linear, missing, bin 0 .. bin B-1 | 2: the linear row, and a bin's or the missing row |
//! | category of `L` levels | level 0 .. level L-1, unseen, missing | 1 |
//!
//! The number of terms never depends on the record, and every row is centred on its mean over the training rows, so that a feature's
//! terms are at once its summand of the logits and its Shapley value in each lane (design: "Model").

use serde::{Deserialize, Serialize};

/// A monotone transform of a number, applied after clamping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transform {
    /// `t(x) = x`.
    #[default]
    Identity,
    /// `t(x) = ln(1 + x)`, for heavy tails; needs a range above -1.
    Log1p,
}

impl Transform {
    /// Returns `t(x)`. `libm` gives the same bits on every target.
    #[inline]
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Log1p => libm::log1pf(x),
        }
    }
}

/// Returns the bin of `x`: the number of `edges` that are `<= x`. `edges` ascend; takes `log2(edges.len()) + 1` steps, whatever `x`.
#[inline]
#[must_use]
pub fn bin(x: f32, edges: &[f32]) -> usize {
    bin_by(edges, |edge| *edge <= x)
}

/// Returns the number of `edges` that `reached` says are not above the number; those come first.
#[inline(always)]
pub(crate) fn bin_by<T>(edges: &[T], reached: impl Fn(&T) -> bool) -> usize {
    let (mut left, mut rest) = (0_usize, edges);
    // A branch-free lower bound: halves the range until one candidate is left, a number of steps that depends on the length only.
    while rest.len() > 1 {
        let half = rest.len() / 2;
        let Some((_, upper)) = rest.split_at_checked(half) else { break };
        let below = upper.first().is_some_and(&reached);
        // Of an odd number the lower part keeps the middle too, so that both are as long.
        let lower = rest.get(..upper.len()).unwrap_or_default();
        (left, rest) = if below { (left.wrapping_add(half), upper) } else { (left, lower) };
    }
    left.wrapping_add(usize::from(rest.first().is_some_and(&reached)))
}

/// Clamps a number to `low..=high`; NaN becomes `low`.
#[inline]
#[must_use]
pub fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// What a feature is, as the blob declares it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// A number.
    Number {
        /// Applied after clamping.
        transform: Transform,
        /// Smallest value of the training range; smaller ones are clamped and flagged.
        low: f32,
        /// Largest value of the training range.
        high: f32,
        /// Mean of `t(x)` over the training rows where it was present.
        centre: f32,
        /// Bins, 0 for none; `bins - 1` edges lie in the blob.
        bins: u16,
    },
    /// A category.
    Category {
        /// Known levels; their codes are `0..levels`.
        levels: u16,
    },
}

impl Kind {
    /// Returns the rows of weights of such a feature.
    #[must_use]
    pub const fn rows(self) -> u32 {
        match self {
            Self::Number { bins, .. } => (bins as u32).saturating_add(2),
            Self::Category { levels } => (levels as u32).saturating_add(2),
        }
    }

    /// Returns the terms of such a feature in every record.
    #[must_use]
    pub const fn terms(self) -> usize {
        match self {
            Self::Number { bins, .. } if bins > 0 => 2,
            _ => 1,
        }
    }

    /// Returns the bytes of such a feature's value in a background record, see [`crate::format::background`].
    #[must_use]
    pub const fn value_bytes(self) -> usize {
        match self {
            Self::Number { .. } => 4,
            Self::Category { .. } => 2,
        }
    }

    /// Returns the bin edges of such a feature.
    #[must_use]
    pub const fn edges(self) -> u32 {
        match self {
            Self::Number { bins, .. } => (bins as u32).saturating_sub(1),
            Self::Category { .. } => 0,
        }
    }
}

/// Something to know about one value of a record. One bit each, so that those of a record are found by or-ing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Note {
    /// A value like those of the training rows.
    #[default]
    Usual = 0,
    /// No value: the *missing* row is used.
    Missing = 1,
    /// A number outside the training range (or infinite): clamped to it.
    Clamped = 2,
    /// A level that training had not seen, or that was too rare for a row of its own: the *unseen* row is used.
    Unseen = 4,
}

impl Note {
    /// Returns whether this note is among those or-ed to `bits`.
    pub(crate) const fn is_in(self, bits: u8) -> bool {
        bits & self as u8 != 0
    }
}

/// A feature of a loaded model: its kind and where its parts lie. Every index was checked by `load`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feature {
    pub(crate) kind: Kind,
    pub(crate) first_row: u32,
    pub(crate) first_edge: u32,
    pub(crate) first_term: u16,
    /// Byte offset of its name in the names section; 0 where the blob has none.
    pub(crate) name_at: u32,
}

impl Feature {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the range of its bin edges among those of all features.
    pub(crate) fn edge_range(&self) -> core::ops::Range<usize> {
        let start = self.first_edge as usize;
        start..start.wrapping_add(self.kind.edges() as usize)
    }

    /// Returns the range of its terms in a record's list of terms.
    pub(crate) fn term_range(&self) -> core::ops::Range<usize> {
        let start = usize::from(self.first_term);
        start..start.wrapping_add(self.kind.terms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bin_counts_the_edges_not_above_x() {
        let edges = [-1.0, 0.0, 0.5, 2.0, 2.5, 7.0, 9.0_f32];
        for n in 0..=edges.len() {
            let edges = edges.get(..n).unwrap_or_default();
            for x in [-5.0, -1.0, -0.5, 0.0, 0.4, 0.5, 2.0, 2.4, 2.5, 6.9, 7.0, 9.0, 1e9, f32::INFINITY] {
                assert_eq!(bin(x, edges), edges.iter().filter(|e| **e <= x).count(), "{x} {edges:?}");
            }
        }
    }

    #[test]
    fn clamp_maps_nan_and_infinities_into_the_range() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
            assert!((-1.0..=2.0).contains(&clamp(x, -1.0, 2.0)));
        }
        assert_eq!(clamp(1.5, -1.0, 2.0), 1.5);
    }
}
