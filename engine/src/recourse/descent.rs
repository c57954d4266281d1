//! Descent: from one direction to the next, the nearest favourable point along each.

use super::knapsack::{Knapsack, LEVELS};
use super::search::Search;

/// The maximum number of directions that a descent follows.
const DIRECTIONS: u32 = 4;
/// The number of bisections of the logarithm of the multiplier.
const BISECTIONS: u32 = 8;
/// A multiplier so large that only gain counts, and the factor and maximum number of the steps
/// towards it or towards 0.
const UNBOUNDED: f32 = 1e12;
const FACTOR: f32 = 4.0;
const STEPS: u32 = 20;
/// Pieces are packed along a direction if its point costs less than this multiple of the best
/// point.
const WORTH_PACKING: f32 = 1.5;
/// A packing is scored if it costs less than this multiple of the best point: moving inside the
/// pieces may still bring it nearer.
const WORTH_A_LOOK: f32 = 1.05;

impl<const FEATURES: usize, const EXPERTS: usize> Search<'_, FEATURES, EXPERTS> {
    /// Follows one direction after another, starting with the current one, as long as each brings
    /// the best point nearer. Without a best point, follows the gradient of the expert's share if
    /// an expert is given, and otherwise the gradient of p.
    #[inline(never)]
    pub fn descend(&mut self, expert: Option<usize>) {
        for _ in 0..DIRECTIONS {
            if self.is_spent() {
                return;
            }
            self.look_along();
            if self.find_multiplier() {
                let cost: f32 = self.axes().map(|axis| axis.point.cost()).sum();
                let found = self.accept();
                if !(cost < WORTH_PACKING * self.cost && self.pack() || found) {
                    return;
                }
                self.take_gradient();
            } else if let Some(expert) = expert.filter(|_| self.cost == f32::MAX) {
                self.head_for(expert);
            } else if self.cost == f32::MAX {
                self.take_gradient();
            } else {
                return;
            }
        }
    }

    /// Collects each feature's pieces along the direction that are nearer than the best point.
    /// Returns whether they are complete.
    #[inline(never)]
    pub fn look_along(&mut self) -> bool {
        let (model, cost) = (self.model, self.cost);
        let layout = model.layout();
        let mut is_whole = true;
        for (index, feature) in layout.features().iter().enumerate() {
            let Some(mut axis) = self.answer.axes.get(index).copied() else { return false };
            let left = self.looks_left();
            let pieces = axis.reach.pieces(feature, feature.edges_of(layout.edges)).take(left as usize);
            let looks = axis.look_along(pieces, cost, |row| self.along(row));
            self.count_looks(looks);
            is_whole = is_whole && axis.is_whole() && looks < left;
            if let Some(place) = self.answer.axes.get_mut(index) {
                *place = axis;
            }
        }
        is_whole
    }

    /// Moves the point to its place for a multiplier and scores it. Returns whether it is
    /// favourable.
    #[inline(never)]
    fn is_enough(&mut self, multiplier: f32) -> bool {
        self.axes().for_each(|axis| _ = axis.choose(multiplier));
        self.evaluate()
    }

    /// Finds the smallest multiplier whose point is favourable, and moves the point there, or
    /// nearer on the same pieces. If there is none, returns false with the point at the largest
    /// gain.
    #[inline(never)]
    fn find_multiplier(&mut self) -> bool {
        let (mut enough, mut too_little) = (self.multiplier, 0.0);
        if self.is_enough(enough) {
            for _ in 0..STEPS {
                let smaller = enough / FACTOR;
                if !self.is_enough(smaller) {
                    too_little = smaller;
                    break;
                }
                enough = smaller;
            }
        } else if self.is_enough(UNBOUNDED) {
            for _ in 0..STEPS {
                too_little = enough;
                enough *= FACTOR;
                if self.is_enough(enough) {
                    break;
                }
            }
        } else {
            return false;
        }
        for _ in 0..BISECTIONS {
            let middle = libm::sqrtf(enough) * libm::sqrtf(too_little);
            *(if self.is_enough(middle) { &mut enough } else { &mut too_little }) = middle;
        }
        self.multiplier = enough;
        self.axes().for_each(|axis| _ = axis.choose(enough));
        self.settle();
        true
    }

    /// Moves the point, on its pieces, to its position for the smallest favourable multiplier. The
    /// current multiplier is assumed to be favourable.
    #[inline(never)]
    fn settle(&mut self) {
        let (mut enough, mut too_little) = (self.multiplier, 0.0);
        for _ in 0..self.halvings {
            let middle = 0.5 * (enough + too_little);
            self.axes().for_each(|axis| axis.settle(middle));
            *(if self.evaluate() { &mut enough } else { &mut too_little }) = middle;
        }
        self.axes().for_each(|axis| axis.settle(enough));
        self.evaluate();
    }

    /// Searches for a set of whole pieces that is favourable and nearer than the best point.
    /// Returns whether it found one.
    #[inline(never)]
    fn pack(&mut self) -> bool {
        let multiplier = self.multiplier;
        let gain: f32 = self.axes().map(|axis| axis.choose(multiplier)).sum();
        if gain.is_nan() || gain <= 0.0 {
            return false;
        }
        let knapsack = Knapsack::pack(self.axes(), multiplier, gain);
        // Find the lowest level that is favourable by the true score: the cost rises with the
        // level, and p nearly always does.
        let (mut enough, mut too_little) = (LEVELS, 0);
        while enough.wrapping_sub(too_little) > 1 {
            let middle = enough.midpoint(too_little);
            let (level, cost) = knapsack.cheapest(middle);
            let is_enough = cost >= WORTH_A_LOOK * self.cost || {
                Knapsack::unpack(self.axes().rev(), level, multiplier);
                self.evaluate()
            };
            *(if is_enough { &mut enough } else { &mut too_little }) = middle;
        }
        let (level, cost) = knapsack.cheapest(enough);
        if cost >= WORTH_A_LOOK * self.cost {
            return false;
        }
        Knapsack::unpack(self.axes().rev(), level, multiplier);
        if !self.evaluate() {
            return false;
        }
        self.settle();
        self.accept()
    }
}
