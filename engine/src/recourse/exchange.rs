//! Exchange: one change of the best point taken back, another made instead, by the true score.

use super::axis::Axis;
use super::reach::{Piece, Place};
use super::search::{FINE, Lanes, NEARER, Search};
use crate::schema::{Feature, clamp};

/// Within a piece, points are tried so many standard deviations apart, and no more than so many on either side.
const APART: f32 = 0.25;
const POINTS: u32 = 32;

/// A point from which one feature is to be changed.
struct Base<const EXPERTS: usize> {
    lanes: Lanes<EXPERTS>,
    /// Squared distance that a change may add.
    budget: f32,
    /// Whether only changes that gain along the direction are tried.
    gaining: bool,
}

impl<const FEATURES: usize, const EXPERTS: usize> Search<'_, FEATURES, EXPERTS> {
    /// Replaces one change of the best point by a nearer one, of the same or another feature, or all by one; returns whether that was possible.
    ///
    /// Changes against the gradient at the best point, which is the direction, are passed over, unless there is but one change, to be replaced by one: with
    /// one feature, all are tried.
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
            // On steps, a nearer point need not be found by one change alone.
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

    /// Looks for the nearest change of one feature that makes the point favourable; returns whether it is then nearer than the best.
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

    /// Returns the nearest place of a feature that makes a point favourable within the budget.
    #[inline(never)]
    fn scan(&mut self, base: &Base<EXPERTS>, axis: &Axis, feature: &Feature) -> Option<Place> {
        let Axis { reach, point, .. } = axis;
        let edges = feature.edges_of(self.model.layout().edges);
        let lanes = self.with_change(&base.lanes, reach, *point, -1.0);
        let (slope, present) = (reach.slope(|row| self.along(row)), reach.gain(*point, |row| self.along(row)));
        let (mut budget, mut found) = (base.budget + point.cost(), None);
        for piece in reach.pieces(feature, edges) {
            if piece.near() * piece.near() >= budget || self.is_spent() {
                break;
            }
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
            let mut is_favourable = |at: f32| {
                let mut lanes = self.with_change(&lanes, reach, place(at), 1.0);
                self.score(&mut lanes)
            };
            let near = piece.near();
            // The record's own piece starts where the point is without this change: not favourable.
            if piece.row != reach.origin.row && is_favourable(near) {
                budget = near * near;
                found = Some(place(near));
                continue;
            }
            for end in [piece.low, piece.high] {
                if let Some(at) = first_favourable(near, end, &mut is_favourable)
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

/// Returns the position nearest to `near`, which is not favourable, on the way to `end`: of points not far apart the first that is, then by halving.
#[inline(never)]
fn first_favourable(near: f32, end: f32, is_favourable: &mut impl FnMut(f32) -> bool) -> Option<f32> {
    let length = end - near;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and is cut
    let points = ((length.abs() / APART) as u32).wrapping_add(u32::from(length != 0.0)).min(POINTS);
    let mut too_little = near;
    for point in 1..=points {
        #[allow(clippy::cast_precision_loss)] // few
        let mut enough = near + length * (point as f32 / points as f32);
        if is_favourable(enough) {
            for _ in 0..FINE {
                let middle = 0.5 * (enough + too_little);
                *(if is_favourable(middle) { &mut enough } else { &mut too_little }) = middle;
            }
            return Some(enough);
        }
        too_little = enough;
    }
    None
}
