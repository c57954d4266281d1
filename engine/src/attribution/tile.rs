//! The inner kernel of `exact`: a table of coalitions, evaluated without exponentials.
//!
//! The players of a game are split: some form the columns of a tile, some its rows, and the rest
//! are fixed while the tile is evaluated. Each coalition is then one product per expert of a row's
//! factors and a column's (Sahni and Horowitz's halves, 1974, for products):
//!
//! ```text
//! t_k = row_k * column_k
//! q_k = 1 + row'_k * column'_k
//! p   = sum_k t_k / q_k  /  sum_k t_k
//! ```
//!
//! Lanes run over columns, two rows at a time. Tiles are small, so that everything stays in the
//! first-level cache and a device has enough memory; the products of fixed players take a thirtieth
//! of the work. The order of sums depends only on the number of players, so the bits do not depend
//! on the vector width of a machine.

use super::Space;
use super::factors::{Factors, Player, multiply};

/// The largest number of players that form columns, or rows.
pub(super) const SIDE_PLAYERS: usize = 5;
/// Columns, and rows, of a full tile.
pub(super) const SIDE: usize = 1 << SIDE_PLAYERS;
/// The number of columns that are evaluated at once.
const BLOCK: usize = 8;
const BLOCK_PLAYERS: usize = 3;
const BLOCKS: usize = SIDE / BLOCK;
const _: () = assert!(1 << BLOCK_PLAYERS == BLOCK);

/// The weights of a block's coalitions, for one number of players outside of the block.
pub type Weights = [f32; BLOCK];
pub(super) const NO_WEIGHTS: Weights = [0.0; BLOCK];

/// Evaluates tiles: the portable kernel, or [`Tile::play`] compiled for an instruction set
/// extension.
pub trait Kernel {
    /// Calls [`Tile::play`].
    fn play<const EXPERTS: usize>(&self, tile: &mut Tile<EXPERTS>, weights: &[Weights]);
}

/// The kernel as this build compiles it.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Kernel for Portable {
    fn play<const EXPERTS: usize>(&self, tile: &mut Tile<EXPERTS>, weights: &[Weights]) {
        tile.play(weights);
    }
}

/// A tile: factors of its rows and columns, and the sums over them.
#[derive(Clone, Debug)]
pub struct Tile<const EXPERTS: usize> {
    experts: usize,
    space: Space,
    /// Subtracted from every value, so that sums are more accurate.
    reference: f32,
    /// By pair of rows and expert: gate factor and expert factor of the first row, then of the
    /// second.
    rows: [[[f32; 4]; EXPERTS]; SIDE / 2],
    row_pairs: usize,
    /// By block of columns, and expert: gate factors, expert factors.
    columns: [[[[f32; BLOCK]; 2]; EXPERTS]; BLOCKS],
    blocks: usize,
    /// Weighted sums over the blocks of columns, by place in a block.
    row_sums: [[[f32; BLOCK]; 2]; SIDE / 2],
    /// Weighted sums over rows.
    column_sums: [[f32; BLOCK]; BLOCKS],
    /// Values of the first row and the last, for the first block of columns and the last.
    corners: [[f32; BLOCK]; 2],
}

/// How the players of a game are split: the first form columns, the next rows, the rest are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub columns: usize,
    pub rows: usize,
    pub fixed: usize,
}

impl Split {
    /// Splits players: at least a block of columns, then half columns and half rows.
    pub fn of(players: usize) -> Self {
        let columns = players.min(players.div_ceil(2).clamp(BLOCK_PLAYERS, SIDE_PLAYERS));
        let rows = players.saturating_sub(columns).min(SIDE_PLAYERS);
        Self { columns, rows, fixed: players.saturating_sub(columns).saturating_sub(rows) }
    }
}

/// Writes the weights of a game's coalitions, by the number of players outside of a block, and
/// returns how many there are. `by_size` has the weight for each size.
pub(super) fn set_weights(players: usize, by_size: &[f64], weights: &mut [Weights]) -> usize {
    let count = players.saturating_sub(BLOCK_PLAYERS).wrapping_add(1);
    for (others, weights) in weights.iter_mut().enumerate().take(count) {
        for (column, weight) in (0_u32..).zip(weights) {
            let size = others.wrapping_add(column.count_ones() as usize);
            // With fewer than three players, the remaining columns repeat others.
            let is_column = column.checked_shr(u32::try_from(players).unwrap_or(u32::MAX)).unwrap_or(0) == 0;
            #[allow(clippy::cast_possible_truncation)]
            // The kernel is f32: a weight has a relative error of 1e-7, the same in every game.
            let rounded = by_size.get(size).map_or(0.0, |weight| *weight as f32);
            *weight = if is_column { rounded } else { 0.0 };
        }
    }
    count
}

impl<const EXPERTS: usize> Tile<EXPERTS> {
    pub(super) const NONE: Self = Self {
        experts: 0,
        space: Space::Probability,
        reference: 0.0,
        rows: [[[1.0; 4]; EXPERTS]; SIDE / 2],
        row_pairs: 0,
        columns: [[[[1.0; BLOCK]; 2]; EXPERTS]; BLOCKS],
        blocks: 0,
        row_sums: [[[0.0; BLOCK]; 2]; SIDE / 2],
        column_sums: [NO_WEIGHTS; BLOCKS],
        corners: [[0.0; BLOCK]; 2],
    };

    /// Sets the columns of a game: coalitions of `players`, at most [`SIDE_PLAYERS`], multiplied by
    /// the factors that no player changes.
    #[inline(never)]
    pub(super) fn set_columns(
        &mut self,
        experts: usize,
        space: Space,
        reference: f32,
        common: &Factors<EXPERTS>,
        players: &[Player<EXPERTS>],
    ) {
        (self.experts, self.space, self.reference) = (experts, space, reference);
        let (inner, outer) = players.split_at_checked(BLOCK_PLAYERS).unwrap_or((players, &[]));
        let [first, ..] = &mut self.columns;
        for (expert, (block, common)) in first.iter_mut().zip(common).enumerate().take(experts) {
            for (lanes, common) in block.iter_mut().zip(common) {
                *lanes = [*common; BLOCK];
            }
            for (bit, player) in inner.iter().enumerate() {
                let (Some(absent), Some(present)) = (player.absent.get(expert), player.present.get(expert)) else {
                    continue;
                };
                for ((lanes, absent), present) in block.iter_mut().zip(absent).zip(present) {
                    let by = core::array::from_fn(|column| if (column >> bit) & 1 == 1 { *present } else { *absent });
                    *lanes = times(*lanes, by);
                }
            }
        }
        self.blocks = 1;
        for player in outer {
            let (old, new) = self.columns.split_at_mut_checked(self.blocks).unwrap_or_default();
            for (old, new) in old.iter_mut().zip(new) {
                let factors = player.absent.iter().zip(&player.present).take(experts);
                for ((old, new), (absent, present)) in old.iter_mut().zip(new).zip(factors) {
                    for ((old, new), (absent, present)) in old.iter_mut().zip(new).zip(absent.iter().zip(present)) {
                        *new = times(*old, [*present; BLOCK]);
                        *old = times(*old, [*absent; BLOCK]);
                    }
                }
            }
            self.blocks = self.blocks.wrapping_mul(2);
        }
    }

    /// Sets the rows: coalitions of `players`, at most [`SIDE_PLAYERS`], multiplied by the
    /// coalition of those `fixed` players that are in `present`. Without players, a second row
    /// repeats the first; its weights are 0.
    #[inline(never)]
    pub(super) fn set_rows(&mut self, players: &[Player<EXPERTS>], fixed: &[Player<EXPERTS>], present: u32) {
        let mut start: Factors<EXPERTS> = [[1.0; 2]; EXPERTS];
        let start = start.get_mut(..self.experts).unwrap_or_default();
        for (bit, player) in fixed.iter().enumerate() {
            multiply(start, if (present >> bit) & 1 == 1 { &player.present } else { &player.absent });
        }
        let (inner, outer) = players.split_first().map_or((&Player::NONE, players), |(first, rest)| (first, rest));
        let [first, ..] = &mut self.rows;
        let factors = inner.absent.iter().zip(&inner.present);
        for ((rows, [gate, output]), ([g0, o0], [g1, o1])) in first.iter_mut().zip(start).zip(factors) {
            *rows = times([*gate, *output, *gate, *output], [*g0, *o0, *g1, *o1]);
        }
        self.row_pairs = 1;
        for player in outer {
            let (old, new) = self.rows.split_at_mut_checked(self.row_pairs).unwrap_or_default();
            for (old, new) in old.iter_mut().zip(new) {
                let factors = player.absent.iter().zip(&player.present).take(self.experts);
                for ((old, new), ([g0, o0], [g1, o1])) in old.iter_mut().zip(new).zip(factors) {
                    *new = times(*old, [*g1, *o1, *g1, *o1]);
                    *old = times(*old, [*g0, *o0, *g0, *o0]);
                }
            }
            self.row_pairs = self.row_pairs.wrapping_mul(2);
        }
    }

    /// Evaluates all coalitions, and computes weighted sums by row and by column. The index of
    /// `weights` is the number of players outside of a block, not counting the fixed ones.
    #[inline(always)]
    pub fn play(&mut self, weights: &[Weights]) {
        match self.space {
            Space::Probability => self.play_in::<false>(weights),
            Space::LogOdds => self.play_in::<true>(weights),
        }
    }

    #[inline(always)]
    fn play_in<const LOG_ODDS: bool>(&mut self, weights: &[Weights]) {
        let Self { experts, rows, columns, row_sums, column_sums, .. } = self;
        *column_sums = [[0.0; BLOCK]; BLOCKS];
        let columns = columns.get(..self.blocks).unwrap_or_default();
        let rows = rows.iter().zip(row_sums).take(self.row_pairs);
        let (mut first, mut last) = (None, [0.0; BLOCK]);
        for (pair, (rows, row_sums)) in (0_u32..).zip(rows) {
            let rows = rows.get(..*experts).unwrap_or(rows);
            let players = pair.count_ones() as usize;
            let mut sums = [[0.0; BLOCK]; 2];
            for ((block, columns), column_sums) in (0_u32..).zip(columns).zip(column_sums.iter_mut()) {
                let values = values::<EXPERTS, LOG_ODDS>(rows, columns);
                let _ = first.get_or_insert(values[0]);
                last = values[1];
                let others = players.wrapping_add(block.count_ones() as usize);
                let weigh = |values, others: usize| {
                    lanes(values, *weights.get(others).unwrap_or(&NO_WEIGHTS), |v, w| w * (v - self.reference))
                };
                let weighted = [weigh(values[0], others), weigh(values[1], others.wrapping_add(1))];
                sums = [add(sums[0], weighted[0]), add(sums[1], weighted[1])];
                *column_sums = add(*column_sums, add(weighted[0], weighted[1]));
            }
            // Not added up here, since the compiler would then split the vectors above.
            *row_sums = sums;
        }
        self.corners = [first.unwrap_or(last), last];
    }

    /// Returns the value of the empty coalition, if the fixed players are absent.
    pub(super) fn of_nobody(&self) -> f32 {
        let [first, _] = self.corners;
        let [nobody, ..] = first;
        nobody
    }

    /// Returns the value of the full coalition, if the fixed players are present.
    pub(super) fn of_all(&self, split: Split) -> f32 {
        let [_, last] = self.corners;
        let lane = (1_usize << split.columns).wrapping_sub(1) % BLOCK;
        last.get(lane).copied().unwrap_or(0.0)
    }

    /// Returns the weighted sum of each column.
    pub(super) fn column_sums(&self) -> impl Iterator<Item = f32> {
        self.column_sums.as_flattened().iter().copied().take(self.blocks.wrapping_mul(BLOCK))
    }

    /// Returns the weighted sum of each row.
    pub(super) fn row_sums(&self) -> impl Iterator<Item = f32> {
        self.row_sums.as_flattened().iter().copied().map(sum).take(self.row_pairs.wrapping_mul(2))
    }
}

/// Evaluates two rows of a block of columns.
#[inline(always)]
fn values<const EXPERTS: usize, const LOG_ODDS: bool>(
    rows: &[[f32; 4]],
    columns: &[[[f32; BLOCK]; 2]; EXPERTS],
) -> [[f32; BLOCK]; 2] {
    let (mut sums, mut favourable) = ([[0.0_f32; BLOCK]; 2], [[0.0_f32; BLOCK]; 2]);
    // For log-odds, p and 1 - p are computed separately, so that their quotient is accurate if one
    // of them is small.
    for (rows, [gates, outputs]) in rows.iter().zip(columns) {
        for ((sums, favourable), [gate, output]) in sums.iter_mut().zip(&mut favourable).zip(rows.as_chunks::<2>().0) {
            for (((sum, favourable), g), o) in sums.iter_mut().zip(favourable).zip(gates).zip(outputs) {
                let (t, e) = (gate * g, output * o);
                let f = t / (1.0 + e);
                *favourable += f;
                *sum += if LOG_ODDS { e * f } else { t };
            }
        }
    }
    for (sums, favourable) in sums.iter_mut().zip(&favourable) {
        for (sum, favourable) in sums.iter_mut().zip(favourable) {
            *sum = if LOG_ODDS { libm::logf(favourable / *sum) } else { favourable / *sum };
        }
    }
    sums
}

/// Combines numbers lane by lane. Takes and returns whole arrays, since they would not stay vectors
/// if they were written to memory lane by lane.
#[inline(always)]
pub(super) fn lanes<const N: usize>(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
    let mut result = a;
    result.iter_mut().zip(b).for_each(|(a, b)| *a = f(*a, b));
    result
}

#[inline(always)]
pub(super) fn add<const N: usize>(a: [f32; N], b: [f32; N]) -> [f32; N] {
    lanes(a, b, |a, b| a + b)
}

#[inline(always)]
pub(super) fn times<const N: usize>(a: [f32; N], b: [f32; N]) -> [f32; N] {
    lanes(a, b, |a, b| a * b)
}

/// Adds up a block, in pairs.
#[inline(always)]
fn sum(lanes: [f32; BLOCK]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
