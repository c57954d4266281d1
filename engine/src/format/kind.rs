//! The kinds of features, as a blob declares them.

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

/// The kind of a feature. The order of variants and fields is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// A number.
    Number {
        /// Applied after clamping.
        transform: Transform,
        /// Smallest value of the training range; smaller values are clamped and noted.
        low: f32,
        /// Largest value of the training range.
        high: f32,
        /// Mean of `t(x)` over the training rows in which it was present.
        centre: f32,
        /// Number of bins, 0 for none; the blob has `bins - 1` edges.
        bins: u16,
    },
    /// A category.
    Category {
        /// Number of known levels; their codes are `0..levels`.
        levels: u16,
    },
}

impl Kind {
    /// Returns the number of weight rows of such a feature.
    #[must_use]
    pub const fn rows(self) -> u32 {
        match self {
            Self::Number { bins, .. } => (bins as u32).saturating_add(2),
            Self::Category { levels } => (levels as u32).saturating_add(2),
        }
    }

    /// Returns the size in bytes of such a feature's value in a background record, see
    /// [`crate::format::background`].
    #[must_use]
    pub const fn value_bytes(self) -> usize {
        match self {
            Self::Number { .. } => 4,
            Self::Category { .. } => 2,
        }
    }

    /// Returns the number of bin edges of such a feature.
    #[must_use]
    pub const fn edges(self) -> u32 {
        match self {
            Self::Number { bins, .. } => (bins as u32).saturating_sub(1),
            Self::Category { .. } => 0,
        }
    }

    /// Returns the number of named levels of such a feature; 0 for a number.
    pub(crate) const fn levels(self) -> u16 {
        match self {
            Self::Number { .. } => 0,
            Self::Category { levels } => levels,
        }
    }
}
