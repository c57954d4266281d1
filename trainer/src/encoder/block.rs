//! Blocks: weight rows that the learner treats as one.

use serde::{Deserialize, Serialize};

/// The part that one feature adds at one resolution: the line through a number, its hats, its bins,
/// or the levels of a category.
///
/// Stored as an index from 0, with two flags in the upper bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Block(u32);

impl Block {
    /// The block of weight rows that belong to none: their gain is 1.
    pub const NONE: Self = Self(u32::MAX);
    const FINE: u32 = 1 << 31;
    const REVEALS_GROUP: u32 = 1 << 30;

    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Returns the block `count` places later, with the same flags.
    pub(super) const fn after(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Marks a block of many rows that each add little: bins in addition to hats.
    pub(crate) const fn fine(self) -> Self {
        Self(self.0 | Self::FINE)
    }

    /// Marks a block of a protected column.
    pub(super) const fn revealing_group(self) -> Self {
        Self(self.0 | Self::REVEALS_GROUP)
    }

    /// Returns its index among all blocks; past the end for [`Block::NONE`].
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 & !(Self::FINE | Self::REVEALS_GROUP)) as usize
    }

    /// Returns whether it holds bins in addition to hats.
    #[must_use]
    pub const fn is_fine(self) -> bool {
        self.0 & Self::FINE != 0
    }

    /// Returns whether it belongs to a protected column.
    #[must_use]
    pub fn reveals_group(self) -> bool {
        self != Self::NONE && self.0 & Self::REVEALS_GROUP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_leave_the_number_alone() {
        let block = Block::new(5).revealing_group().after(2).fine();
        assert_eq!((block.index(), block.is_fine(), block.reveals_group()), (7, true, true));
        let plain = Block::new(7);
        assert_eq!((plain.index(), plain.is_fine(), plain.reveals_group()), (7, false, false));
        assert!(!Block::NONE.reveals_group() && Block::NONE.index() > 1 << 29);
    }
}
