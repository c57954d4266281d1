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

use crate::mixture::Term;

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
    let mut left = 0_usize;
    let mut size = edges.len();
    // A branch-free lower bound: halves the range until one candidate is left, a number of steps that depends on the length only.
    while size > 1 {
        let half = size / 2;
        let middle = left.wrapping_add(half);
        let below = edges.get(middle).is_some_and(|edge| *edge <= x);
        left = if below { middle } else { left };
        size = size.wrapping_sub(half);
    }
    left.wrapping_add(usize::from(edges.get(left).is_some_and(|edge| *edge <= x)))
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

    /// Returns the bytes of such a feature's value in a background record, see [`crate::background`].
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

    /// Returns the range of its terms in a record's list of terms.
    pub(crate) fn term_range(&self) -> core::ops::Range<usize> {
        let start = usize::from(self.first_term);
        start..start.wrapping_add(self.kind.terms())
    }
}

/// Returns the terms of a number (the second one counts only with bins) and what is to be noted. `first_row`: the feature's linear row.
#[inline]
pub(crate) fn number_terms(kind: Kind, first_row: u32, edges: &[f32], x: f32) -> Option<([Term; 2], Note)> {
    let Kind::Number { transform, low, high, centre, bins } = kind else { return None };
    let missing_row = first_row.wrapping_add(1);
    let missing = x.is_nan();
    let inside = clamp(x, low, high);
    let note = if missing {
        Note::Missing
    } else if inside == x {
        Note::Usual
    } else {
        Note::Clamped
    };
    let centred = transform.apply(inside) - centre;
    // A missing number has no linear part: scale 0 where a bin follows, else the missing row takes the linear row's place.
    let linear = if !missing {
        Term { row: first_row, scale: centred }
    } else if bins > 0 {
        Term { row: first_row, scale: 0.0 }
    } else {
        Term { row: missing_row, scale: 1.0 }
    };
    #[allow(clippy::cast_possible_truncation)] // at most MAX_BINS
    let bin_row = missing_row.wrapping_add(1).wrapping_add(bin(inside, edges) as u32);
    let looked_up = Term { row: if missing { missing_row } else { bin_row }, scale: 1.0 };
    Some(([linear, looked_up], note))
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
