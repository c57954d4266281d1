//! The memory of `exact` and `sampled`.

use super::factors::{Factors, Player};
use super::tile::{NO_WEIGHTS, Tile, Weights};

/// The working memory of `exact` and `sampled`: 15,000 bytes for 16 features and 12 experts, of
/// which each feature takes 462.
#[derive(Clone, Debug)]
pub struct Workspace<const FEATURES: usize, const EXPERTS: usize> {
    pub(super) bias: Factors<EXPERTS>,
    /// Factors of the record, by feature.
    pub(super) record: [Factors<EXPERTS>; FEATURES],
    /// Factors of a background record without stored factors.
    pub(super) other: [Factors<EXPERTS>; FEATURES],
    /// Product of the factors of features that are not players in this game.
    pub(super) common: Factors<EXPERTS>,
    /// The players; those of this game come first.
    pub(super) players: [Player<EXPERTS>; FEATURES],
    /// The values of this game.
    pub(super) shares: [f64; FEATURES],
    /// Sums over the games, by player's index.
    pub(super) totals: [f64; FEATURES],
    /// For `sampled`: sums of squares for the standard errors, by player's index.
    pub(super) squares: [f64; FEATURES],
    /// The changes of the players of the current game in two units.
    pub(super) units: [[f64; FEATURES]; 2],
    pub(super) order: [u16; FEATURES],
    pub(super) reference: f32,
    /// The number of players that `weights` are for.
    pub(super) weights_of: usize,
    pub(super) weights_count: usize,
    pub(super) weights: [Weights; FEATURES],
    pub(super) tile: Tile<EXPERTS>,
}

impl<const FEATURES: usize, const EXPERTS: usize> Workspace<FEATURES, EXPERTS> {
    /// Returns an empty workspace. This is `const`, so that a workspace can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bias: [[1.0; 2]; EXPERTS],
            record: [[[1.0; 2]; EXPERTS]; FEATURES],
            other: [[[1.0; 2]; EXPERTS]; FEATURES],
            common: [[1.0; 2]; EXPERTS],
            players: [const { Player::NONE }; FEATURES],
            shares: [0.0; FEATURES],
            totals: [0.0; FEATURES],
            squares: [0.0; FEATURES],
            units: [[0.0; FEATURES]; 2],
            order: [0; FEATURES],
            reference: 0.0,
            weights_of: 0,
            weights_count: 0,
            weights: [NO_WEIGHTS; FEATURES],
            tile: Tile::NONE,
        }
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Default for Workspace<FEATURES, EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory is part of the contract.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn sizes_are_as_stated() {
        assert_eq!(size_of::<Workspace<16, 12>>(), 15_000);
        assert_eq!(size_of::<Workspace<32, 12>>() - size_of::<Workspace<16, 12>>(), 16 * 462);
    }
}
