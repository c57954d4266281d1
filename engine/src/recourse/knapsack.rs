//! Chooses whole pieces that together gain enough at the least cost. A multiplier cannot do this,
//! since it only finds combinations on the convex hull.
//!
//! A multiple-choice knapsack (Sinha and Zoltners 1979): one piece of each feature, with gains
//! rounded to [`LEVELS`] levels, solved in one pass over the features. Cost: features x pieces x
//! [`LEVELS`] additions.

use super::axis::{Axis, PIECES};

/// Levels of gain.
pub(super) const LEVELS: usize = 32;
/// The level of the gain that is known to suffice; higher levels are for log-odds that are not
/// linear in the logits.
const KNOWN: f32 = 24.0;

const _: () = assert!(LEVELS <= 256 && PIECES <= 256, "levels and pieces are kept as bytes");

/// The cheapest way to a level: the feature's piece, and the level that the features before it
/// reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    piece: u8,
    before: u8,
}

/// The portions of one feature, by level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions([Portion; LEVELS]);

impl Portions {
    pub const NONE: Self = Self([Portion { piece: 0, before: 0 }; LEVELS]);
}

/// The least cost of each level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knapsack {
    costs: [f32; LEVELS],
}

impl Knapsack {
    /// Packs the pieces of all features at a multiplier. `gain` is the gain of a point that is
    /// known to suffice.
    pub fn pack<'a>(axes: impl Iterator<Item = &'a mut Axis>, multiplier: f32, gain: f32) -> Self {
        let quantum = gain / KNOWN;
        let mut costs = [f32::MAX; LEVELS];
        if let Some(nothing) = costs.first_mut() {
            *nothing = 0.0;
        }
        for axis in axes {
            let mut sums = [f32::MAX; LEVELS];
            let mut portions = Portions::NONE;
            for (piece, (gain, cost)) in (0..=u8::MAX).zip(axis.offers(multiplier)) {
                if gain < 0.0 {
                    continue;
                }
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                // saturates; levels above the last one count as the last one
                let levels = (gain / quantum + 0.5) as usize;
                for (before, sum) in (0..=u8::MAX).zip(costs) {
                    let level = levels.saturating_add(before.into()).min(LEVELS.saturating_sub(1));
                    if let (Some(known), Some(portion)) = (sums.get_mut(level), portions.0.get_mut(level))
                        && sum + cost < *known
                    {
                        *known = sum + cost;
                        *portion = Portion { piece, before };
                    }
                }
            }
            axis.portions = portions;
            costs = sums;
        }
        Self { costs }
    }

    /// Returns the cheapest level that is at least `from`, and its cost.
    pub fn cheapest(&self, from: usize) -> (usize, f32) {
        let mut cheapest = (0, f32::MAX);
        for (level, cost) in self.costs.iter().enumerate().skip(from) {
            if *cost < cheapest.1 {
                cheapest = (level, *cost);
            }
        }
        cheapest
    }

    /// Moves the point to the pieces of a level. The last feature comes first in `axes`.
    pub fn unpack<'a>(axes: impl Iterator<Item = &'a mut Axis>, level: usize, multiplier: f32) {
        let mut level = level;
        for axis in axes {
            let Some(portion) = axis.portions.0.get(level).copied() else { return };
            axis.take(portion.piece.into(), multiplier);
            level = portion.before.into();
        }
    }
}
