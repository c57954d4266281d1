//! The solver for a logistic model (one expert): its logit is a sum over the features, so the
//! nearest point can be computed.
//!
//! Minimise the squared distance `sum_j c_j` subject to `sum_j g_j >= G`, where `G` is the gain
//! that the record lacks, and feature j is on one of its pieces, on which its gain is linear and
//! its cost quadratic. For a multiplier `m` the problem separates: with `v_j = max over pieces and
//! positions (m g_j - c_j)`, the value `m G - sum_j v_j` is a lower bound of every solution
//! (Everett 1963). A feature on another piece raises the bound by its *regret*, `v_j` minus the
//! largest value on that piece. The point of the best multiplier has at most one feature off its
//! best piece, so bound and solution are close, and only the few combinations whose regrets fit
//! between them have to be solved. Each takes one bisection without an evaluation of the mixture.

use super::axis::PIECES;
use super::search::Search;

/// The maximum number of features that leave their best piece at the same time.
const DEPTH: usize = 8;
/// The largest number of combinations of pieces that are solved.
const COMBINATIONS: u32 = 2_000;
/// Halvings of a multiplier.
const HALVINGS: u32 = 40;
/// A multiplier so large that only gain counts.
const UNBOUNDED: f32 = 1e12;
/// The rounding error of a regret, as a share of the best cost.
const SLACK: f32 = 1e-5;

/// The pieces that features are on instead of their best ones, as `feature * PIECES + candidate`,
/// ascending.
#[derive(Clone, Copy)]
struct Deviations {
    places: [usize; DEPTH],
    count: usize,
}

impl Deviations {
    const NONE: Self = Self { places: [0; DEPTH], count: 0 };

    fn as_slice(&self) -> &[usize] {
        self.places.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, place: usize) {
        if let Some(to) = self.places.get_mut(self.count) {
            *to = place;
            self.count = self.count.wrapping_add(1);
        }
    }

    fn pop(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        self.places.get(self.count).copied()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Search<'_, FEATURES, EXPERTS> {
    /// Finds the nearest favourable point of a logistic model along the gradient, which must be the
    /// direction. Returns whether the search is finished: the point is the nearest one, or there is
    /// none.
    #[inline(never)]
    pub fn solve(&mut self) -> bool {
        let Some(gap) = self.gap() else { return false };
        let mut is_exact = self.look_along();
        if self.gain_at_best_pieces(UNBOUNDED) < gap {
            // No point is favourable.
            return true;
        }
        // The smallest sufficient multiplier; the bound is largest there.
        let (mut enough, mut too_little) = (UNBOUNDED, 0.0_f32);
        for _ in 0..HALVINGS {
            let middle = if too_little > 0.0 { libm::sqrtf(enough) * libm::sqrtf(too_little) } else { enough * 1e-3 };
            let is_enough = self.gain_at_best_pieces(middle) >= gap;
            if is_enough && middle < f32::MIN_POSITIVE * 1e6 {
                break;
            }
            *(if is_enough { &mut enough } else { &mut too_little }) = middle;
        }
        let multiplier = enough;
        _ = self.gain_at_best_pieces(multiplier);
        let most: f32 = self.axes().map(|axis| axis.most_at(multiplier)).sum();
        let bound = multiplier * gap - most;
        let mut best = (self.cost_of_pieces(gap).unwrap_or(f32::MAX), Deviations::NONE);
        let (mut at, mut next, mut tried) = (Deviations::NONE, 0_usize, 0_u32);
        loop {
            let regrets: f32 = at.as_slice().iter().map(|place| self.regret(*place, multiplier)).sum();
            let room = best.0 - bound + SLACK * best.0 - regrets;
            let end = self.axes().len().wrapping_mul(PIECES);
            let found = (next..end).find(|place| self.regret(*place, multiplier) <= room);
            match found {
                Some(_) if at.count == DEPTH || tried == COMBINATIONS => is_exact = false,
                Some(place) => {
                    tried = tried.wrapping_add(1);
                    at.push(place);
                    self.put(place);
                    if let Some(cost) = self.cost_of_pieces(gap)
                        && cost < best.0
                    {
                        best = (cost, at);
                    }
                    // At most one piece per feature.
                    next = (place / PIECES).wrapping_add(1).wrapping_mul(PIECES);
                    continue;
                }
                None => {}
            }
            let Some(last) = at.pop() else { break };
            self.take_back(last);
            next = last.wrapping_add(1);
        }
        best.1.as_slice().iter().for_each(|place| self.put(*place));
        if self.cost_of_pieces(gap).is_none() {
            return false;
        }
        self.evaluate();
        self.accept() && is_exact
    }

    /// Returns the gain that the record's logit lacks, in log2 units.
    fn gap(&self) -> Option<f32> {
        let logit = self.lanes.as_flattened().get(self.model.experts())?;
        Some(self.needed_log_odds() - logit)
    }

    /// Moves every feature to its best piece for a multiplier. Returns the gain.
    fn gain_at_best_pieces(&mut self, multiplier: f32) -> f32 {
        self.axes().map(|axis| axis.choose(multiplier)).sum()
    }

    /// Moves each feature, on its piece, to its position for the smallest multiplier at which the
    /// pieces gain `gap` together. Returns the cost, or `None` if they cannot gain that much.
    #[inline(never)]
    fn cost_of_pieces(&mut self, gap: f32) -> Option<f32> {
        let mut gain = |multiplier: f32| -> f32 {
            self.axes()
                .map(|axis| {
                    axis.settle(multiplier);
                    axis.gain_here()
                })
                .sum()
        };
        let (mut enough, mut too_little) = (UNBOUNDED, 0.0_f32);
        if gain(0.0) >= gap {
            enough = 0.0;
        } else if gain(UNBOUNDED) < gap {
            return None;
        } else {
            for _ in 0..HALVINGS {
                let middle =
                    if too_little > 0.0 { libm::sqrtf(enough) * libm::sqrtf(too_little) } else { enough * 1e-3 };
                *(if gain(middle) >= gap { &mut enough } else { &mut too_little }) = middle;
            }
        }
        _ = gain(enough);
        Some(self.axes().map(|axis| axis.point.cost()).sum())
    }

    fn regret(&self, place: usize, multiplier: f32) -> f32 {
        self.answer.axes.get(place / PIECES).map_or(f32::MAX, |axis| axis.regret(place % PIECES, multiplier))
    }

    fn put(&mut self, place: usize) {
        self.axes().skip(place / PIECES).take(1).for_each(|axis| axis.put(place % PIECES));
    }

    fn take_back(&mut self, place: usize) {
        self.axes().skip(place / PIECES).take(1).for_each(super::axis::Axis::put_back);
    }
}
