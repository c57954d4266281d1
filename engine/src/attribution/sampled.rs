//! Shapley values from random orders of the players, for games with too many coalitions for exact
//! values.
//!
//! The Shapley value is the mean, over all orders in which the players may join, of the change when
//! the player joins (Castro, Gomez and Tejada 2009). A *unit* is an order and its reverse: their
//! errors cancel in part (antithetic; Lomeli et al. 2019, Mitchell et al. 2022). Units come in
//! pairs against the same background record, so that their difference measures the spread for this
//! record, and the spread between background records does not count as an error:
//!
//! ```text
//! value_j = mean over all pairs of (u_1j + u_2j) / 2
//! se_j^2  = sum over all pairs of (u_1j - u_2j)^2 / 2  /  (2 r^2 B^2)
//!
//! r pairs against each of B background records
//! ```
//!
//! The changes in one order add up to `v(all) - v(none)`, and therefore so do the values, without a
//! projection.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::RngCore;

use super::background::hash;
use super::exact::Game;
use super::factors::{Factors, Player, is_held, multiply};
use super::project::add_up;
use super::tile::{add, lanes, times};
use super::walk::Walk;
use super::{Attribution, Background, Method, Space, Workspace};
use crate::error::ExplainError;
use crate::mixture::LANE_MULTIPLE;
use crate::model::Model;
use crate::record::Record;

/// The smallest number of pairs in a round, after which the standard errors are first used: each
/// pair gives one degree of freedom.
const FEWEST_PAIRS: usize = 128;

/// When sampling ends, and the seed of its orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Standard error at which sampling ends, in units of the space, above 0.
    pub tolerance: f32,
    /// Number of evaluations of the mixture after which sampling ends in any case; the last round
    /// is finished.
    pub most_evaluations: u64,
    /// Seed of the orders. The orders for a record depend only on the seed and its values, not on
    /// what was explained before.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { tolerance: 1e-3, most_evaluations: 10_000_000, seed: 1 }
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Explains a record by [`Method::Sampled`], into the caller's memory. After each round,
    /// `keep_going` receives the number of evaluations so far; if it returns false, sampling ends
    /// with the current estimate. Cost: 17 to 35 ns per evaluation on a workstation, with 11
    /// experts; less if there are fewer background records to set up games for.
    ///
    /// # Errors
    /// [`ExplainError::OtherModel`], [`ExplainError::EmptyBackground`],
    /// [`ExplainError::PlayerOutOfRange`]; `attribution` is then unchanged.
    #[allow(clippy::too_many_arguments)] // record, background, game; how long; memory
    pub fn sampled_into(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
        sampling: &Sampling,
        workspace: &mut Workspace<FEATURES, EXPERTS>,
        mut keep_going: impl FnMut(u64) -> bool,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), ExplainError> {
        self.check_game(record, background, game)?;
        self.start_game(record, background, game, Method::Sampled, attribution)?;
        let output = self.output(record.terms(), game.space, attribution.score.probability);
        workspace.take_record(self, record.terms());
        workspace.totals.fill(0.0);
        workspace.squares.fill(0.0);
        let mut random = Pcg32::new(sampling.seed, u64::from(hash(0, record.terms())));
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let rows = background.rows() as f64;
        let each = FEWEST_PAIRS.div_ceil(background.rows());
        #[allow(clippy::cast_precision_loss)] // at most FEWEST_PAIRS
        let (more, mut pairs) = (each as f64, 0.0);
        let base = loop {
            let evaluations = &mut attribution.evaluations;
            let base = self.round(record, background, game, output, each, &mut random, workspace, evaluations);
            pairs += more;
            let largest = workspace.squares.iter().fold(0.0, |a, b| if *b > a { *b } else { a });
            // Without any spread, the estimate cannot improve.
            let is_close = largest == 0.0 || standard_error(largest, pairs, rows) < f64::from(sampling.tolerance);
            if is_close || *evaluations >= sampling.most_evaluations || !keep_going(*evaluations) {
                break base;
            }
        };
        for (to, square) in attribution.standard_errors.iter_mut().zip(&workspace.squares) {
            #[allow(clippy::cast_possible_truncation)] // rounded to what is reported
            let error = standard_error(*square, pairs, rows) as f32;
            *to = error;
        }
        let scale = 1.0 / (pairs * rows);
        attribution.finish(output, base / rows, workspace.totals.iter().map(|total| total * scale));
        Ok(())
    }

    /// Draws `each` pairs of units against each background record, and returns the sum of their
    /// values.
    #[allow(clippy::too_many_arguments)] // what sampling holds between rounds
    #[inline(never)]
    fn round(
        &self,
        record: &Record<'_, FEATURES>,
        background: &Background<'_, FEATURES>,
        game: &Game<'_>,
        all: f64,
        each: usize,
        random: &mut Pcg32,
        workspace: &mut Workspace<FEATURES, EXPERTS>,
        evaluations: &mut u64,
    ) -> f64 {
        let (terms, space) = (record.terms(), game.space);
        let mut base = 0.0;
        for (absent, stored) in background.records() {
            let is_held = is_held(self, terms, absent, space);
            let players = workspace.set_up(self, terms, absent, stored, game.player_of, is_held);
            if players == 0 {
                base += all;
                continue;
            }
            let Workspace { players: slots, common, totals, squares, units, order, .. } = workspace;
            let slots = slots.get_mut(..players).unwrap_or_default();
            let start = is_held.then(|| start(self.experts(), common, slots)).flatten();
            let slots = &*slots;
            let order = order.get_mut(..players).unwrap_or_default();
            let mut draw = |none: f64, steps: &mut dyn FnMut(Step) -> f64| {
                base += none;
                for _ in 0..each {
                    for unit in units.iter_mut() {
                        shuffle(order, random);
                        join_in_order(order, none, all, steps, unit);
                    }
                    let [first, second] = &*units;
                    for (player, (first, second)) in slots.iter().zip(first.iter().zip(second)) {
                        let index = usize::from(player.index);
                        if let (Some(total), Some(square)) = (totals.get_mut(index), squares.get_mut(index)) {
                            *total += 0.5 * (*first + *second);
                            *square += 0.5 * (*first - *second) * (*first - *second);
                        }
                    }
                }
            };
            // The empty coalition, and all but the last step of two orders and their reverses.
            let steps = (players as u64).wrapping_sub(1).wrapping_mul(4).wrapping_mul(each as u64);
            *evaluations = evaluations.wrapping_add(steps).wrapping_add(1);
            match start {
                Some(start) => {
                    let mut products = Products { space, start, now: start, players: slots };
                    draw(products.value(), &mut |step| products.step(step));
                }
                None => {
                    let mut walk = Walk::new(self, terms, absent, game.player_of);
                    let none = walk.value(space);
                    draw(none, &mut |step| match step {
                        Step::Restart => {
                            walk.restart();
                            none
                        }
                        Step::Join(slot) => {
                            walk.change(slots.get(slot).map_or(0, |player| player.index), true);
                            walk.value(space)
                        }
                    });
                }
            }
        }
        base
    }
}

/// Returns the standard error for a sum of squares, after `pairs` pairs against each of `rows`
/// records.
fn standard_error(squares: f64, pairs: f64, rows: f64) -> f64 {
    libm::sqrt(0.5 * squares) / (pairs * rows)
}

/// A step through an order.
enum Step {
    /// Restart from the empty coalition.
    Restart,
    /// The player of this slot joins.
    Join(usize),
}

/// Draws an order (Fisher and Yates). With 32 random bits, no order is favoured by more than one
/// part in a hundred million.
#[inline(never)]
fn shuffle(order: &mut [u16], random: &mut Pcg32) {
    for (slot, place) in (0_u16..).zip(order.iter_mut()) {
        *place = slot;
    }
    for last in (1..order.len()).rev() {
        let pick = u64::from(random.next_u32()).wrapping_mul((last as u64).wrapping_add(1)) >> 32;
        let pick = usize::try_from(pick).unwrap_or(last);
        // Not `swap`, for which the compiler would keep a panic path.
        if let (Some(at_last), Some(at_pick)) = (order.get(last).copied(), order.get(pick).copied()) {
            order.get_mut(last).into_iter().for_each(|place| *place = at_pick);
            order.get_mut(pick).into_iter().for_each(|place| *place = at_last);
        }
    }
}

/// Lets the players join in an order, then in its reverse, and writes the mean of their changes.
#[inline(never)]
fn join_in_order(order: &[u16], none: f64, all: f64, step: &mut dyn FnMut(Step) -> f64, unit: &mut [f64]) {
    let mut join = |order: &mut dyn ExactSizeIterator<Item = &u16>, is_first: bool| {
        let _ = step(Step::Restart);
        let mut before = none;
        while let Some(slot) = order.next() {
            let slot = usize::from(*slot);
            let value = if order.len() == 0 { all } else { step(Step::Join(slot)) };
            if let Some(to) = unit.get_mut(slot) {
                *to = if is_first { 0.5 * (value - before) } else { *to + 0.5 * (value - before) };
            }
            before = value;
        }
    };
    join(&mut order.iter(), true);
    join(&mut order.iter().rev(), false);
}

/// A coalition as products of exponentials: all gate factors, then all expert factors, so that they
/// are processed as vectors.
struct Products<'p, const EXPERTS: usize> {
    space: Space,
    start: [[f32; EXPERTS]; 2],
    now: [[f32; EXPERTS]; 2],
    /// Players whose `present` holds the factors by which they join, gate factors first.
    players: &'p [Player<EXPERTS>],
}

impl<const EXPERTS: usize> Products<'_, EXPERTS> {
    #[inline(never)]
    fn step(&mut self, step: Step) -> f64 {
        match step {
            Step::Restart => {
                self.now = self.start;
                // The value of the empty coalition is known.
                return 0.0;
            }
            Step::Join(slot) => {
                let ratio = self.players.get(slot).map(|player| player.present.as_flattened()).unwrap_or_default();
                self.now.as_flattened_mut().iter_mut().zip(ratio).for_each(|(now, ratio)| *now *= ratio);
            }
        }
        self.value()
    }

    fn value(&self) -> f64 {
        let (mut favourable, mut other) = ([0.0_f32; LANE_MULTIPLE], [0.0_f32; LANE_MULTIPLE]);
        let [(gates, more_gates), (outputs, more_outputs)] = self.now.each_ref().map(|lanes| lanes.as_chunks());
        for (gates, outputs) in gates.iter().zip(outputs) {
            let f = lanes(*gates, *outputs, |t, e| t / (1.0 + e));
            favourable = add(favourable, f);
            other = add(other, times(f, *outputs));
        }
        let mut sums = [add_up(favourable), add_up(other)];
        for (t, e) in more_gates.iter().zip(more_outputs) {
            let f = t / (1.0 + e);
            sums = add(sums, [f, e * f]);
        }
        let [favourable, other] = sums;
        f64::from(match self.space {
            Space::Probability => favourable / (favourable + other),
            Space::LogOdds => libm::logf(favourable / other),
        })
    }
}

/// Returns the products of the empty coalition, and leaves the factors of each player in `present`,
/// gate factors first; `None` if they exceed the range of f32.
#[inline(never)]
fn start<const EXPERTS: usize>(
    experts: usize,
    common: &Factors<EXPERTS>,
    players: &mut [Player<EXPERTS>],
) -> Option<[[f32; EXPERTS]; 2]> {
    let (mut together, mut is_held) = (*common, true);
    for player in players {
        multiply(together.get_mut(..experts).unwrap_or_default(), &player.absent);
        let mut ratios = [[1.0; EXPERTS]; 2];
        let [gates, outputs] = &mut ratios;
        let factors = player.present.iter().zip(&player.absent).take(experts);
        for (([g1, o1], [g0, o0]), (gate, output)) in factors.zip(gates.iter_mut().zip(outputs)) {
            (*gate, *output) = (g1 / g0, o1 / o0);
            is_held &= gate.is_normal() && output.is_normal();
        }
        player.present.as_flattened_mut().iter_mut().zip(ratios.as_flattened()).for_each(|(to, ratio)| *to = *ratio);
    }
    // Experts beyond the model's have weight 0.
    let mut start = [[0.0; EXPERTS]; 2];
    let [gates, outputs] = &mut start;
    for ([g, o], (gate, output)) in together.iter().zip(gates.iter_mut().zip(outputs)).take(experts) {
        (*gate, *output) = (*g, *o);
    }
    is_held.then_some(start)
}
