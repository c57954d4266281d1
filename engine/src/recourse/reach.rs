//! What a record can reach on one feature: the units of the distance, and the pieces on which
//! logits are linear.
//!
//! Positions are in standard deviations from the record's own value, times the cost of the
//! feature's rule. A *piece* is a bin, the whole range of a number without bins, or a level. A
//! level lies at [`LEVEL_CHANGE`] times that cost. No piece contains what the rule forbids.

use core::f32::consts::SQRT_2;

use super::rules::{Direction, Rule, Steps};
use crate::model::Model;
use crate::record::Record;
use crate::schema::{Feature, Kind, Note, Transform, bin, clamp};

/// The distance of a change of level at cost 1.
pub const LEVEL_CHANGE: f32 = SQRT_2;

/// Positions are clamped to this magnitude, so that their squares stay finite.
const FARTHEST: f32 = 1e9;

/// A place on a feature: its position, and the weight row that it looks up (the linear row if it
/// looks up none).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub row: u32,
    pub at: f32,
}

impl Place {
    pub const NONE: Self = Self { row: 0, at: 0.0 };

    /// Returns the square of the distance to this place.
    pub fn cost(self) -> f32 {
        self.at * self.at
    }
}

/// A stretch of a feature, and the weight row that it looks up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub row: u32,
    pub low: f32,
    pub high: f32,
}

impl Piece {
    pub const NONE: Self = Self { row: 0, low: 0.0, high: 0.0 };

    /// Returns the position nearest to the record's own.
    pub fn near(&self) -> f32 {
        clamp(0.0, self.low, self.high)
    }

    /// Returns the largest gain on the piece for a slope.
    pub fn most(&self, slope: f32) -> f32 {
        slope * if slope > 0.0 { self.high } else { self.low }
    }
}

/// What a record can reach on one feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The record's own place.
    pub origin: Place,
    /// The linear row.
    pub linear: u32,
    /// The change of the transformed number for a position of 1: the standard deviation divided by
    /// the cost; 0 if there is no linear row to move along.
    pub unit: f32,
    /// The record's number, transformed and centred.
    value: f32,
    /// The range of positions that may be reached besides the record's own, which may lie outside.
    /// For a category, the position of its levels.
    low: f32,
    high: f32,
    /// The range of numbers that may be proposed, and their steps.
    lowest: f32,
    highest: f32,
    steps: Steps,
    /// The first of the weight rows that a value may look up.
    first_row: u32,
    /// The number of those rows; 0 if the value cannot change.
    rows: u32,
}

impl Reach {
    pub const NONE: Self = Self {
        origin: Place::NONE,
        linear: 0,
        unit: 0.0,
        value: 0.0,
        low: 0.0,
        high: 0.0,
        lowest: 0.0,
        highest: 0.0,
        steps: Steps::NONE,
        first_row: 0,
        rows: 0,
    };

    /// Returns what a record can reach on a feature under its rule.
    pub fn new<const FEATURES: usize, const EXPERTS: usize>(
        model: &Model<'_, FEATURES, EXPERTS>,
        record: &Record<'_, FEATURES>,
        index: usize,
        feature: &Feature,
        rule: &Rule,
    ) -> Self {
        let terms = record.terms().get(feature.term_range()).unwrap_or_default();
        let Some(last) = terms.last() else { return Self::NONE };
        let still = Self { origin: Place { row: last.row, at: 0.0 }, ..Self::NONE };
        if record.notes().get(index) == Some(&Note::Missing) || rule.direction == Direction::Fixed {
            return still;
        }
        match feature.kind {
            Kind::Category { levels } => {
                let at = LEVEL_CHANGE * rule.cost;
                Self { low: at, high: at, first_row: feature.first_row, rows: levels.into(), ..still }
            }
            Kind::Number { low, high, bins, .. } => {
                let unit = model.schema().deviation(index) / rule.cost;
                let ([lowest, highest], steps) = rule.within(low, high);
                let value = record.centred(feature);
                let reach = Self { linear: feature.first_row, unit, value, lowest, highest, steps, ..still };
                let [low, high] = [lowest, highest].map(|x| reach.position(feature, x));
                let low = if rule.direction == Direction::Increase { clamp(low, 0.0, FARTHEST) } else { low };
                let high = if rule.direction == Direction::Decrease { clamp(high, -FARTHEST, 0.0) } else { high };
                if lowest > highest || low > high {
                    return still;
                }
                let (first_row, rows) =
                    if bins == 0 { (last.row, 1) } else { (feature.first_row.wrapping_add(2), bins.into()) };
                Self { low, high, first_row, rows, ..reach }
            }
        }
    }

    /// Returns whether a number may be proposed: it is within the range and on a step, and its
    /// position is on a side of the record that the rule allows.
    pub fn is_allowed(&self, number: f32, at: f32) -> bool {
        let is_on_step = self.steps.is_any() || self.steps.nearest(number) == number;
        let is_that_way = !(at < 0.0 && self.low >= 0.0 || at > 0.0 && self.high <= 0.0);
        is_on_step && is_that_way && number >= self.lowest && number <= self.highest
    }

    /// Returns whether any number of a piece may be proposed.
    pub fn is_continuous(&self) -> bool {
        self.steps.is_any()
    }

    /// Returns the gain of a position of 1. `along` returns the gain of a weight row.
    pub fn slope(&self, along: impl Fn(u32) -> f32) -> f32 {
        if self.unit > 0.0 { self.unit * along(self.linear) } else { 0.0 }
    }

    /// Returns the gain of a place. `along` returns the gain of a weight row.
    pub fn gain(&self, place: Place, along: impl Fn(u32) -> f32) -> f32 {
        let looked_up = if place.row == self.origin.row { 0.0 } else { along(place.row) - along(self.origin.row) };
        looked_up + self.slope(along) * place.at
    }

    /// Returns the position of a raw number.
    fn position(&self, feature: &Feature, x: f32) -> f32 {
        let Kind::Number { transform, centre, .. } = feature.kind else { return 0.0 };
        self.position_of(transform.apply(x) - centre)
    }

    /// Returns the position of a transformed and centred number.
    pub fn position_of(&self, centred: f32) -> f32 {
        clamp((centred - self.value) / self.unit, -FARTHEST, FARTHEST)
    }

    /// Returns the raw number at a place, rounded to a step and clamped to its bin and the range.
    pub fn number(&self, feature: &Feature, edges: &[f32], place: Place) -> f32 {
        let Kind::Number { transform, low, high, centre, .. } = feature.kind else { return 0.0 };
        let t = self.value + place.at * self.unit + centre;
        let x = match transform {
            Transform::Identity => t,
            Transform::Log1p => libm::expm1f(t),
        };
        let x = if self.steps.is_any() { x } else { self.steps.nearest(x) };
        let bin = place.row.wrapping_sub(self.first_row) as usize;
        let from = bin.checked_sub(1).and_then(|edge| edges.get(edge)).copied().unwrap_or(low);
        let to = edges.get(bin).map_or(high, |edge| edge.next_down());
        // After the transform and back, a number may round to a step outside its bin.
        let [from, to] = self.steps.ends(from, to);
        clamp(clamp(x, from, to), self.lowest, self.highest)
    }

    /// Returns the nearest place on the same piece that is on a step or is the record's own.
    #[inline]
    pub fn on_step(&self, feature: &Feature, edges: &[f32], place: Place) -> Place {
        if self.steps.is_any() || place.at == 0.0 { place } else { self.nearest_step(feature, edges, place) }
    }

    #[inline(never)]
    fn nearest_step(&self, feature: &Feature, edges: &[f32], place: Place) -> Place {
        let at = self.position(feature, self.number(feature, edges, place));
        let is_own = place.row == self.origin.row && (at * place.at <= 0.0 || 2.0 * place.at.abs() < at.abs());
        Place { at: if is_own { 0.0 } else { at }, ..place }
    }

    /// Returns the place one step nearer to the record's own, if there is one in between.
    pub fn step_nearer(&self, feature: &Feature, edges: &[f32], place: Place) -> Option<Place> {
        if self.steps.is_any() {
            return None;
        }
        let step = if place.at > 0.0 { self.steps.step() } else { -self.steps.step() };
        let number = self.number(feature, edges, place) - step;
        let at = self.position(feature, number);
        #[allow(clippy::cast_possible_truncation)] // at most MAX_BINS
        let row = self.first_row.wrapping_add(bin(number, edges) as u32);
        (at * place.at > 0.0 && at >= self.low && at <= self.high).then_some(Place { row, at })
    }

    /// Returns the code of the level at a place.
    #[allow(clippy::cast_possible_truncation)] // a feature has fewer than 65,536 levels
    pub fn level(&self, place: Place) -> u16 {
        place.row.wrapping_sub(self.first_row) as u16
    }

    /// Returns the pieces of the feature: the record's own first, then the others by distance.
    #[inline(never)]
    pub fn pieces<'e>(&self, feature: &'e Feature, edges: &'e [f32]) -> Pieces<'e> {
        let own = self.origin.row.wrapping_sub(self.first_row);
        let is_number = self.unit > 0.0;
        let mut pieces = Pieces { reach: *self, feature, edges, own: None, below: None, above: None };
        let first = pieces.piece(own);
        pieces.own = first.or(Some(Piece { row: self.origin.row, ..Piece::NONE }));
        if is_number {
            pieces.below = if self.low < 0.0 { pieces.next_piece(own, u32::MAX) } else { None };
            pieces.above = if self.high > 0.0 { pieces.next_piece(own, 1) } else { None };
        } else if self.rows > 0 {
            pieces.above = pieces.next_piece(u32::MAX, 1);
        }
        pieces
    }
}

/// The pieces of a feature, see [`Reach::pieces`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces<'e> {
    reach: Reach,
    feature: &'e Feature,
    edges: &'e [f32],
    own: Option<Piece>,
    /// The next pieces on either side.
    below: Option<Piece>,
    above: Option<Piece>,
}

impl Pieces<'_> {
    /// Returns the piece with this index; `None` beyond the last one.
    fn piece(&self, index: u32) -> Option<Piece> {
        let Reach { low, high, first_row, rows, unit, steps, .. } = self.reach;
        if index >= rows {
            return None;
        }
        let row = first_row.wrapping_add(index);
        if unit == 0.0 {
            return Some(Piece { row, low, high });
        }
        // The first step at or above an edge or, with `before` 1, the last step below it.
        let edge = |edge: u32, before: f32| {
            let x = self.edges.get(edge as usize)?;
            let x = if steps.is_any() { *x } else { steps.multiple(steps.count_from(*x) - before) };
            Some(self.reach.position(self.feature, x))
        };
        let from = index.checked_sub(1).and_then(|index| edge(index, 0.0));
        let from = from.map_or(low, |from| if from > low { from } else { low });
        let to = edge(index, 1.0).map_or(high, |to| if to < high { to } else { high });
        Some(Piece { row, low: from, high: to })
    }

    /// Returns the first non-empty piece after `index` in increments of `step`, except the record's
    /// own.
    #[inline(never)]
    fn next_piece(&self, index: u32, step: u32) -> Option<Piece> {
        let mut index = index;
        loop {
            index = index.wrapping_add(step);
            let piece = self.piece(index)?;
            // Edges may lie outside the range that training saw.
            if piece.low <= piece.high && piece.row != self.reach.origin.row {
                return Some(piece);
            }
        }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    #[inline(never)]
    fn next(&mut self) -> Option<Piece> {
        if let Some(own) = self.own.take() {
            let to = |end: f32| if self.reach.unit > 0.0 { end } else { 0.0 };
            // The record lies in its own piece, even if rounding or its rule moved the ends. If it
            // lies outside the range, `number` clamps positions in between to the range.
            let (low, high) = (to(own.low), to(own.high));
            return Some(Piece {
                low: if low < 0.0 { low } else { 0.0 },
                high: if high > 0.0 { high } else { 0.0 },
                ..own
            });
        }
        let is_below = match (&self.below, &self.above) {
            (Some(below), Some(above)) => -below.near() < above.near(),
            (below, _) => below.is_some(),
        };
        let (piece, step) = if is_below { (self.below?, u32::MAX) } else { (self.above?, 1) };
        let next = self.next_piece(piece.row.wrapping_sub(self.reach.first_row), step);
        *(if is_below { &mut self.below } else { &mut self.above }) = next;
        Some(piece)
    }
}
