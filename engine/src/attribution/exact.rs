//! Exact Shapley values of the whole mixture, gate included, against background records.
//!
//! The game of a record x against a background record b: a coalition S of features has the value
//! `v(S) = p(x_S, b)`, x's values for the features in S and b's for the others. The value of the
//! set of records is their mean (the *interventional* Shapley value; Lundberg and Lee 2017, Janzing
//! et al. 2020):
//!
//! ```text
//! phi_j = sum over S containing j of w(|S|-1) v(S)  -  sum over S without j of w(|S|) v(S)
//!       = T_j - C
//!
//! w(s)  = s! (d-1-s)! / d!      W(s) = w(s-1) + w(s)
//! T_j   = sum over S containing j of W(|S|) v(S)
//! C     = (sum_j T_j - v(all) + v(none)) / d
//! ```
//!
//! so one weighted sum over all coalitions gives every value; the second line uses that they add up
//! to `v(all) - v(none)`. Features with the same value in x and b are left out: their Shapley value
//! is exactly 0, and leaving one out halves the work.
//!
//! Coalitions are evaluated as products of stored exponentials ([tile](super::tile)) in f32, which
//! is possible if no sum of logits exceeds [`MAX_LOGIT`](crate::limits::MAX_LOGIT), and so always
//! for a [bounded](Model::bounded) model. Otherwise they are evaluated in f64 from their logits
//! ([walk](super::walk)), which is slower but works for any valid model and record.

use super::factors::{is_held, player};
use super::tile::{Kernel, Portable, SIDE, Split, set_weights};
use super::walk::Walk;
use super::{Attribution, Background, Method, Space, Workspace};
use crate::error::ExplainError;
use crate::mixture::Term;
use crate::model::Model;
use crate::record::Record;

/// The largest number of players of one game: `2^32` coalitions, which take some seconds per
/// background record on a workstation.
pub const MAX_PLAYERS: usize = 32;
const _: () = assert!(MAX_PLAYERS <= 32, "sets of players are the bits of a u32, and coalitions are counted in a u64");

/// The game to explain: the space of the values, and the players.
#[derive(Clone, Copy, Debug, Default)]
pub struct Game<'g> {
    /// The space of the values: probability or log-odds.
    pub space: Space,
    /// The player that each feature of the model belongs to, below `FEATURES`. Features with the
    /// same number act together and share one value, at the index of the player. Entries beyond the
    /// features are ignored. With `None`, each feature is a player.
    pub player_of: Option<&'g [u16]>,
}

/// The cost of exact values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// An upper bound of the players of the largest game.
    pub players: usize,
    /// An upper bound of the coalitions of all games; [`u64::MAX`] if there are more.
    pub coalitions: u64,
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Returns the cost of exact values of a record, in coalitions. See [`crate::costs`] for the
    /// cost of a coalition on a device.
    ///
    /// # Errors
    /// [`ExplainError::OtherModel`], [`ExplainError::EmptyBackground`],
    /// [`ExplainError::PlayerOutOfRange`].
    pub fn exact_cost(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
    ) -> Result<Cost, ExplainError> {
        self.check_game(record, background, game)?;
        let mut cost = Cost::default();
        for (terms, _) in background.records() {
            let players = self.players(record.terms(), terms, game.player_of);
            cost.players = cost.players.max(players);
            let coalitions = u32::try_from(players).ok().and_then(|players| 1_u64.checked_shl(players));
            cost.coalitions = cost.coalitions.saturating_add(coalitions.unwrap_or(u64::MAX));
        }
        Ok(cost)
    }

    /// Explains a record by [`Method::Exact`], into the caller's memory. See [`Model::exact_cost`].
    ///
    /// # Errors
    /// The same as [`Model::exact_cost`]; and [`ExplainError::TooManyPlayers`] for more than
    /// [`MAX_PLAYERS`]. `attribution` is then unchanged.
    pub fn exact_into(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
        workspace: &mut Workspace<FEATURES, EXPERTS>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), ExplainError> {
        self.exact_while(record, background, game, workspace, |_| true, attribution)
    }

    /// Like [`Model::exact_into`]. After each background record, `keep_going` receives the number
    /// of coalitions so far. If it returns false, the computation ends without values, since a part
    /// of the games has no meaning. [`Model::exact_cost`] gives the total number beforehand.
    ///
    /// # Errors
    /// The same as [`Model::exact_into`], and [`ExplainError::Stopped`], after which `attribution`
    /// holds only the score.
    pub fn exact_while(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
        workspace: &mut Workspace<FEATURES, EXPERTS>,
        keep_going: impl FnMut(u64) -> bool,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), ExplainError> {
        self.exact_with(&Portable, record, background, game, workspace, keep_going, attribution)
    }

    /// Like [`Model::exact_while`], with the same bits, but with another compilation of the inner
    /// kernel.
    ///
    /// # Errors
    /// The same as [`Model::exact_while`].
    #[doc(hidden)]
    #[allow(clippy::too_many_arguments)] // kernel; record, background, game; memory; how long
    pub fn exact_with(
        &self,
        kernel: &impl Kernel,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
        workspace: &mut Workspace<FEATURES, EXPERTS>,
        mut keep_going: impl FnMut(u64) -> bool,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), ExplainError> {
        self.check_game(record, background, game)?;
        // There are at most as many players as features, so counting is only needed for many
        // features.
        if self.layout().features().len() > MAX_PLAYERS {
            let Cost { players: found, .. } = self.exact_cost(record, background, game)?;
            if found > MAX_PLAYERS {
                return Err(ExplainError::TooManyPlayers { found, limit: MAX_PLAYERS });
            }
        }
        self.start_game(record, background, game, Method::Exact, attribution)?;
        let (terms, space) = (record.terms(), game.space);
        let output = self.output(terms, space, attribution.score.probability);
        workspace.take_record(self, terms);
        workspace.totals.fill(0.0);
        #[allow(clippy::cast_possible_truncation)] // any number near the values will do
        let reference = output as f32;
        workspace.reference = reference;
        let mut base = 0.0;
        for (absent, stored) in background.records() {
            let is_held = is_held(self, terms, absent, space);
            let players = workspace.set_up(self, terms, absent, stored, game.player_of, is_held);
            let coalitions = u32::try_from(players).ok().and_then(|players| 1_u64.checked_shl(players));
            attribution.evaluations = attribution.evaluations.wrapping_add(coalitions.unwrap_or(0));
            base += if players == 0 {
                output
            } else if is_held {
                workspace.play(kernel, self.experts(), space, players)
            } else {
                workspace.play_in_f64(&mut Walk::new(self, terms, absent, game.player_of), space, players)
            };
            let Workspace { players: all, totals, shares, .. } = workspace;
            for (player, share) in all.iter().zip(shares).take(players) {
                if let Some(total) = totals.get_mut(usize::from(player.index)) {
                    *total += *share;
                }
            }
            if !keep_going(attribution.evaluations) {
                let score = attribution.score;
                *attribution = Attribution { score, ..Attribution::new() };
                return Err(ExplainError::Stopped);
            }
        }
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let scale = 1.0 / background.rows() as f64;
        attribution.finish(output, base * scale, workspace.totals.iter().map(|total| total * scale));
        Ok(())
    }

    /// Checks that record, background and players fit this model.
    pub(super) fn check_game(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
    ) -> Result<(), ExplainError> {
        if !core::ptr::eq(record.layout, self.layout()) || !background.is_of(self) {
            return Err(ExplainError::OtherModel);
        }
        if background.rows() == 0 {
            return Err(ExplainError::EmptyBackground);
        }
        let (found, features) = (game.player_of.map(<[u16]>::len), self.layout().features().len());
        if let Some(found) = found.filter(|found| *found < features) {
            return Err(ExplainError::TooFewPlayers { found, features });
        }
        let is_out = |feature: &u16| usize::from(player(game.player_of, *feature)) >= FEATURES;
        match (0_u16..).zip(self.layout().features()).map(|(feature, _)| feature).find(is_out) {
            Some(feature) => Err(ExplainError::PlayerOutOfRange { feature: usize::from(feature) }),
            None => Ok(()),
        }
    }

    /// Fills in what `exact` and `sampled` share: the score, the share of the path through the
    /// gate, and the identity of the background.
    pub(super) fn start_game(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
        method: Method,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), ExplainError> {
        self.path_into(record, attribution)?;
        let gate_share = attribution.gate_share;
        attribution.start(method, game.space);
        (attribution.gate_share, attribution.background) = (gate_share, Some(background.id()));
        Ok(())
    }

    /// Returns the output, to which base and values add up: the score of the record, or if logits
    /// are so large that f32 sums are not accurate enough, the score computed in f64.
    pub(super) fn output(&self, terms: &[Term], space: Space, probability: f32) -> f64 {
        if space == Space::Probability && self.bounded() {
            f64::from(probability)
        } else {
            Walk::new(self, terms, terms, None).value(space)
        }
    }

    /// Counts the players of a game. Each is counted at its first feature that differs.
    fn players(&self, record: &[Term], background: &[Term], player_of: Option<&[u16]>) -> usize {
        let features = self.layout().features();
        let differs = |feature: u16| {
            let terms = features.get(usize::from(feature)).map(|feature| feature.term_range());
            terms.is_some_and(|terms| record.get(terms.clone()) != background.get(terms))
        };
        let is_first = |feature: &u16| {
            let own = player(player_of, *feature);
            player_of.is_none() || !(0..*feature).any(|earlier| player(player_of, earlier) == own && differs(earlier))
        };
        (0_u16..)
            .zip(features)
            .map(|(feature, _)| feature)
            .filter(|feature| differs(*feature) && is_first(feature))
            .count()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Workspace<FEATURES, EXPERTS> {
    /// Evaluates the game that is set up. Leaves the values of the players in `shares`, and returns
    /// the value of the empty coalition.
    #[inline(never)]
    fn play(&mut self, kernel: &impl Kernel, experts: usize, space: Space, players: usize) -> f64 {
        let split = Split::of(players);
        if self.weights_of != players {
            let mut by_size = [0.0; MAX_PLAYERS + 1];
            self::by_size(players, &mut by_size);
            self.weights_count = set_weights(players, &by_size, &mut self.weights);
            self.weights_of = players;
        }
        let Self { players: all, tile, weights, common, shares, .. } = self;
        let (in_columns, rest) = all.get(..players).unwrap_or(all).split_at_checked(split.columns).unwrap_or_default();
        let (in_rows, fixed) = rest.split_at_checked(split.rows).unwrap_or_default();
        let (reference, weights) = (self.reference, weights.get(..self.weights_count).unwrap_or_default());
        tile.set_columns(experts, space, reference, common, in_columns);
        let (mut column_sums, mut row_sums, mut of_nobody) = ([0.0; SIDE], [0.0; SIDE], 0.0);
        let shares = shares.get_mut(..players).unwrap_or_default();
        shares.fill(0.0);
        let fixed_shares = split.columns.wrapping_add(split.rows);
        let sets = 1_u32.checked_shl(u32::try_from(split.fixed).unwrap_or(0)).unwrap_or(0);
        for present in 0..sets {
            tile.set_rows(in_rows, fixed, present);
            kernel.play(tile, weights.get(present.count_ones() as usize..).unwrap_or_default());
            if present == 0 {
                of_nobody = f64::from(tile.of_nobody());
            }
            let mut total = 0.0;
            column_sums.iter_mut().zip(tile.column_sums()).for_each(|(sum, column)| *sum += f64::from(column));
            for (sum, row) in row_sums.iter_mut().zip(tile.row_sums()) {
                *sum += f64::from(row);
                total += f64::from(row);
            }
            if present > 0 {
                for (bit, share) in shares.iter_mut().skip(fixed_shares).take(split.fixed).enumerate() {
                    *share += if (present >> bit) & 1 == 1 { total } else { 0.0 };
                }
            }
        }
        let (column_shares, rest) = shares.split_at_mut_checked(split.columns).unwrap_or_default();
        fold(&mut column_sums, column_shares);
        fold(&mut row_sums, rest.get_mut(..split.rows).unwrap_or_default());
        divide(shares, f64::from(tile.of_all(split)) - of_nobody);
        of_nobody
    }

    /// Like [`Workspace::play`], coalition by coalition in f64. Each differs from the previous one
    /// by one player (Gray 1953).
    #[inline(never)]
    fn play_in_f64(&mut self, walk: &mut Walk<'_, FEATURES, EXPERTS>, space: Space, players: usize) -> f64 {
        let mut by_size = [0.0; MAX_PLAYERS + 1];
        self::by_size(players, &mut by_size);
        let of_nobody = walk.value(space);
        let mut of_all = of_nobody;
        let shares = self.shares.get_mut(..players).unwrap_or_default();
        shares.fill(0.0);
        let coalitions = 1_u64.checked_shl(u32::try_from(players).unwrap_or(0)).unwrap_or(0);
        let mut present = 0_u64;
        for number in 1..coalitions {
            let bit = number.trailing_zeros();
            present ^= 1_u64.wrapping_shl(bit);
            if let Some(player) = self.players.get(bit as usize) {
                walk.change(player.index, (present >> bit) & 1 == 1);
            }
            let value = walk.value(space);
            let size = present.count_ones() as usize;
            if size == players {
                of_all = value;
            }
            let weight = by_size.get(size).copied().unwrap_or(0.0);
            for (bit, share) in shares.iter_mut().enumerate() {
                *share += if (present >> bit) & 1 == 1 { weight * (value - of_nobody) } else { 0.0 };
            }
        }
        divide(shares, of_all - of_nobody);
        of_nobody
    }
}

/// Writes `W(s)` for coalitions of each size: `w(s - 1) + w(s)`, where `w(s) = 1 / (d C(d-1, s))`,
/// and `w(-1) = w(d) = 0`.
fn by_size(players: usize, to: &mut [f64; MAX_PLAYERS + 1]) {
    #[allow(clippy::cast_precision_loss)] // at most MAX_PLAYERS
    let d = players as f64;
    let (mut w_below, mut w, mut size) = (0.0, 1.0 / d, 0.0);
    for weight in to.iter_mut().take(players.wrapping_add(1)) {
        *weight = w_below + w;
        w_below = w;
        size += 1.0;
        // C(d-1, s) = C(d-1, s-1) (d - s) / s
        w = if size < d { w * size / (d - size) } else { 0.0 };
    }
}

/// Writes, for each bit, the sum over all entries whose index has that bit set. Adds in place by
/// halving, with `2 n` additions.
fn fold(sums: &mut [f64; SIDE], shares: &mut [f64]) {
    for (bit, share) in shares.iter_mut().enumerate().rev() {
        let half = 1_usize.wrapping_shl(u32::try_from(bit).unwrap_or(0));
        let (lower, upper) = sums.split_at_mut_checked(half).unwrap_or_default();
        let mut sum = 0.0;
        for (lower, upper) in lower.iter_mut().zip(upper) {
            sum += *upper;
            *lower += *upper;
        }
        *share = sum;
    }
}

/// Converts `T_j` to values that add up to `change`.
fn divide(sums: &mut [f64], change: f64) {
    #[allow(clippy::cast_precision_loss)] // at most MAX_PLAYERS
    let constant = (sums.iter().sum::<f64>() - change) / sums.len() as f64;
    for sum in sums {
        *sum -= constant;
    }
}
