//! Exchange: takes back one change of the best point and makes another one instead, by the true
//! score.

use super::axis::{Axis, PIECES};
use super::reach::{Piece, Place};
use super::search::{FINE, Lanes, NEARER, Search};
use crate::schema::{Feature, clamp};

/// Within a piece, the points tried are at least this many standard deviations apart. If they are
/// farther apart, p cannot reach the threshold between them.
const APART: f32 = 1.0 / 32.0;
/// The maximum number of points tried on either side within a piece.
const POINTS: f32 = 64.0;
/// The number of evaluations after which no more pairs are tried.
const PAIRS_BUDGET: u32 = 2048;

/// A point from which one feature is changed.
struct Base<const EXPERTS: usize> {
    lanes: Lanes<EXPERTS>,
    /// The squared distance that the change may add.
    budget: f32,
    /// Whether only changes that gain along the direction are tried.
    gaining: bool,
}

impl<const FEATURES: usize, const EXPERTS: usize> Search<'_, FEATURES, EXPERTS> {
    /// Replaces one change of the best point by a nearer one, in the same or another feature, or
    /// replaces all changes by one. Returns whether this was possible.
    ///
    /// If there is more than one change, replacements against the gradient at the best point, which
    /// must be the direction, are skipped. If there is only one change, all replacements are tried.
    #[inline(never)]
    pub fn exchange(&mut self) -> bool {
        let changed = self.axes().filter(|axis| axis.is_changed()).count();
        let count = self.axes().len();
        for without in 0..count {
            let (layout, axis) = (self.model.layout(), self.answer.axes.get(without).filter(|axis| axis.is_changed()));
            let (Some(feature), Some(axis)) = (layout.features().get(without), axis) else { continue };
            let nearer = axis.reach.step_nearer(feature, feature.edges_of(layout.edges), axis.best);
            self.point_at_best(Some(without));
            if self.complete(changed > 1) {
                return true;
            }
            // With steps, a nearer point may need a second change to make up for this one.
            if let Some(place) = nearer {
                self.point_at_best(None);
                self.axes().skip(without).take(1).for_each(|axis| axis.point = place);
                if self.complete(false) {
                    return true;
                }
            }
        }
        self.axes().for_each(|axis| axis.point = axis.reach.origin);
        changed > 1 && self.complete(true)
    }

    /// Searches for the nearest favourable point that changes one feature. Returns whether there is
    /// one.
    pub fn change_one(&mut self) -> bool {
        self.axes().for_each(|axis| axis.point = axis.reach.origin);
        self.complete(false)
    }

    /// Searches for a favourable point that changes two features, one of them to an end of a piece.
    /// Returns whether it found one. Stops after [`PAIRS_BUDGET`] evaluations.
    #[inline(never)]
    pub fn change_two(&mut self) -> bool {
        let until = self.answer.evaluations.saturating_add(PAIRS_BUDGET);
        let layout = self.model.layout();
        for (index, feature) in layout.features().iter().enumerate() {
            let Some(reach) = self.answer.axes.get(index).map(|axis| axis.reach) else { continue };
            let pieces = reach.pieces(feature, feature.edges_of(layout.edges)).take(PIECES);
            for (piece, at) in pieces.flat_map(|piece| [(piece, piece.low), (piece, piece.high)]) {
                if self.is_spent() || self.answer.evaluations > until {
                    return false;
                }
                let place = Place { row: piece.row, at };
                if place == reach.origin {
                    continue;
                }
                self.axes().for_each(|axis| axis.point = axis.reach.origin);
                self.axes().skip(index).take(1).for_each(|axis| axis.point = place);
                if self.complete(false) {
                    return true;
                }
            }
        }
        false
    }

    /// Searches for the nearest change of one feature that makes the point favourable. Returns
    /// whether the point is then nearer than the best.
    #[inline(never)]
    fn complete(&mut self, gaining: bool) -> bool {
        if self.evaluate() {
            return self.accept();
        }
        let spent: f32 = self.axes().map(|axis| axis.point.cost()).sum();
        let mut base = Base { lanes: self.lanes, budget: self.cost * NEARER - spent, gaining };
        let mut found = None;
        for (index, feature) in self.model.layout().features().iter().enumerate() {
            let Some(axis) = self.answer.axes.get(index).copied() else { continue };
            if let Some(place) = self.scan(&base, &axis, feature) {
                base.budget = place.cost() - axis.point.cost();
                found = Some((index, place));
            }
        }
        let Some((index, place)) = found else { return false };
        if let Some(axis) = self.answer.axes.get_mut(index) {
            axis.point = place;
        }
        self.accept()
    }

    /// Returns the nearest place on a feature that makes a point favourable within the budget.
    #[inline(never)]
    fn scan(&mut self, base: &Base<EXPERTS>, axis: &Axis, feature: &Feature) -> Option<Place> {
        let Axis { reach, point, .. } = axis;
        let edges = feature.edges_of(self.model.layout().edges);
        let lanes = self.with_change(&base.lanes, reach, *point, -1.0);
        let (slope, present) = (reach.slope(|row| self.along(row)), reach.gain(*point, |row| self.along(row)));
        let (mut budget, mut found) = (base.budget + point.cost(), None);
        let (needed, [upwards, downwards]) = (self.needed_log_odds(), self.steepest(reach));
        for piece in reach.pieces(feature, edges) {
            if piece.near() * piece.near() >= budget || self.is_spent() || self.looks_left() == 0 {
                break;
            }
            self.count_looks(1);
            let farthest = libm::sqrtf(budget);
            let [low, high] = [piece.low, piece.high].map(|end| clamp(end, -farthest, farthest));
            let piece = Piece { low, high, ..piece };
            if base.gaining {
                let looked_up = reach.gain(Place { row: piece.row, at: 0.0 }, |row| self.along(row));
                if looked_up + piece.most(slope) <= present {
                    continue;
                }
            }
            let place = |at: f32| reach.on_step(feature, edges, Place { row: piece.row, at });
            // Returns the log-odds that a position lacks; `None` if it is favourable.
            let mut lack = |at: f32| {
                let mut lanes = self.with_change(&lanes, reach, place(at), 1.0);
                if self.score(&mut lanes) { None } else { Some(needed - self.log_odds()) }
            };
            let near = piece.near();
            let Some(at_near) = lack(near) else {
                budget = near * near;
                found = Some(place(near));
                continue;
            };
            for (end, steepest) in [(piece.low, downwards), (piece.high, upwards)] {
                if let Some(at) = first_favourable(near, at_near, end, steepest, &mut lack)
                    && place(at).cost() < budget
                {
                    budget = place(at).cost();
                    found = Some(place(at));
                }
            }
        }
        found
    }
}

/// Returns the favourable position nearest to `near` on the way to `end`. `near` is not favourable:
/// its log-odds lack `at_near`, and a position of 1 raises them by at most `steepest`. Each step
/// therefore covers a distance in which nothing can be favourable, or the minimum distance if that
/// is larger. Halving then locates the boundary. `lack` returns the log-odds that a position lacks,
/// `None` if it is favourable.
#[inline(never)]
fn first_favourable(
    near: f32,
    at_near: f32,
    end: f32,
    steepest: f32,
    lack: &mut impl FnMut(f32) -> Option<f32>,
) -> Option<f32> {
    let length = (end - near).abs();
    // Nothing is favourable if the length is 0 or the log-odds cannot rise far enough.
    if length == 0.0 || at_near > steepest * length * 1.001 + 1e-3 {
        return None;
    }
    let towards = if end > near { 1.0 } else { -1.0 };
    let least = if length / POINTS > APART { length / POINTS } else { APART };
    let (mut too_little, mut lacks) = (near, at_near);
    loop {
        let safe = 0.999 * lacks / steepest;
        let step = if safe > least { safe } else { least };
        let next = too_little + towards * step;
        let mut enough = if (next - near).abs() < length { next } else { end };
        match lack(enough) {
            None => {
                for _ in 0..FINE {
                    let middle = 0.5 * (enough + too_little);
                    *(if lack(middle).is_none() { &mut enough } else { &mut too_little }) = middle;
                }
                return Some(enough);
            }
            Some(_) if enough == end || enough == too_little => return None,
            Some(found) => (too_little, lacks) = (enough, found),
        }
    }
}
