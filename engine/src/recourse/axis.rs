//! One feature of a search: the place of the point on it, and the pieces worth considering along a
//! direction.

use super::knapsack::Portions;
use super::reach::{Piece, Place, Reach};
use crate::schema::clamp;

/// The maximum number of pieces kept of a feature along one direction.
pub(super) const PIECES: usize = 8;

/// A piece, and the gain of its weight row along the direction, compared with the record's own row.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    piece: Piece,
    gain: f32,
}

impl Candidate {
    const NONE: Self = Self { piece: Piece::NONE, gain: 0.0 };
}

/// One feature of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub reach: Reach,
    /// The place of the point under consideration.
    pub point: Place,
    /// The nearest favourable point so far.
    pub best: Place,
    /// The gain of a position of 1 along the direction.
    slope: f32,
    /// The pieces kept, nearest first.
    candidates: [Candidate; PIECES],
    count: u8,
    /// Whether pieces were dropped for lack of room.
    has_dropped: bool,
    /// The index of the best candidate for the multiplier chosen last.
    best_candidate: u8,
    /// The index of the candidate that the point is on.
    on: u8,
    /// The piece that the point is on.
    chosen: Piece,
    pub portions: Portions,
}

impl Axis {
    pub const NONE: Self = Self {
        reach: Reach::NONE,
        point: Place::NONE,
        best: Place::NONE,
        slope: 0.0,
        candidates: [Candidate::NONE; PIECES],
        count: 0,
        has_dropped: false,
        best_candidate: 0,
        on: 0,
        chosen: Piece::NONE,
        portions: Portions::NONE,
    };

    /// Initialises the feature: the point and the best point are at the record.
    pub fn start(&mut self, reach: Reach) {
        *self = Self { reach, point: reach.origin, best: reach.origin, ..Self::NONE };
    }

    /// Returns whether the best point differs from the record here.
    pub fn is_changed(&self) -> bool {
        self.best != self.reach.origin
    }

    /// Collects the pieces nearer than the square root of `cost`. `along` returns the gain of a
    /// weight row along the direction.
    ///
    /// A piece that gains no more than a nearer one is skipped. If there are more than [`PIECES`],
    /// the least useful one is dropped, see [`Axis::drop_least`]. Returns the number of pieces
    /// examined.
    pub fn look_along(&mut self, pieces: impl Iterator<Item = Piece>, cost: f32, along: impl Fn(u32) -> f32) -> u32 {
        let mut looks = 0_u32;
        self.slope = self.reach.slope(&along);
        (self.count, self.has_dropped) = (0, false);
        let own = along(self.reach.origin.row);
        let mut reached = f32::MIN;
        for piece in pieces {
            looks = looks.wrapping_add(1);
            let near = piece.near();
            if near * near >= cost {
                break;
            }
            let gain = if piece.row == self.reach.origin.row { 0.0 } else { along(piece.row) - own };
            if piece.most(self.slope) + gain <= reached {
                continue;
            }
            let at_near = self.slope * near + gain;
            reached = if at_near > reached { at_near } else { reached };
            if usize::from(self.count) == PIECES {
                self.has_dropped = true;
                self.drop_least();
            }
            if let Some(place) = self.candidates.get_mut(usize::from(self.count)) {
                *place = Candidate { piece, gain };
                self.count = self.count.wrapping_add(1);
            }
        }
        looks
    }

    /// Returns whether the candidates are complete: no piece was dropped, and every number of a
    /// piece is allowed.
    pub fn is_whole(&self) -> bool {
        !self.has_dropped && self.reach.is_continuous()
    }

    fn candidates(&self) -> &[Candidate] {
        self.candidates.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Drops the candidate that rises least above the line from its predecessor to its successor,
    /// in gain over cost: it is the best one for the narrowest range of multipliers, if for any.
    /// The first and the last candidate stay.
    fn drop_least(&mut self) {
        let corner = |c: &Candidate| {
            let near = c.piece.near();
            (near * near, self.slope * near + c.gain)
        };
        let (mut least, mut lowest) = (1, f32::MAX);
        for (before, three) in self.candidates.windows(3).enumerate() {
            let Some([(c0, g0), (c1, g1), (c2, g2)]) =
                three.first_chunk::<3>().map(|three| three.each_ref().map(corner))
            else {
                continue;
            };
            let share = if c2 > c0 { (c1 - c0) / (c2 - c0) } else { 1.0 };
            let height = g1 - g0 - share * (g2 - g0);
            if height < lowest {
                (least, lowest) = (before.wrapping_add(1), height);
            }
        }
        let mut kept = self.candidates.into_iter().enumerate().filter(|(index, _)| *index != least);
        for place in &mut self.candidates {
            if let Some((_, candidate)) = kept.next() {
                *place = candidate;
            }
        }
        self.count = self.count.wrapping_sub(1);
    }

    /// Returns the best position on a candidate for a multiplier, and the gain there.
    fn at(&self, candidate: &Candidate, multiplier: f32) -> (f32, f32) {
        let at = clamp(0.5 * multiplier * self.slope, candidate.piece.low, candidate.piece.high);
        (at, self.slope * at + candidate.gain)
    }

    /// Moves the point to where `multiplier * gain - cost` is largest. Returns the gain.
    #[inline(never)]
    pub fn choose(&mut self, multiplier: f32) -> f32 {
        let (mut most, mut chosen) = (f32::MIN, 0.0);
        for index in 0..self.count {
            let Some(candidate) = self.candidates.get(usize::from(index)) else { break };
            let (at, gain) = self.at(candidate, multiplier);
            let value = multiplier * gain - at * at;
            if value > most {
                (most, chosen) = (value, gain);
                (self.chosen, self.best_candidate, self.on) = (candidate.piece, index, index);
                self.point = Place { row: candidate.piece.row, at };
            }
        }
        chosen
    }

    /// Returns the value of a candidate for a multiplier: `multiplier * gain - cost` at its best
    /// position.
    fn value(&self, candidate: &Candidate, multiplier: f32) -> f32 {
        let (at, gain) = self.at(candidate, multiplier);
        multiplier * gain - at * at
    }

    /// Returns the value of the best candidate.
    pub fn most_at(&self, multiplier: f32) -> f32 {
        let best = self.candidates.get(usize::from(self.best_candidate));
        best.map_or(0.0, |candidate| self.value(candidate, multiplier))
    }

    /// Returns how much less a candidate is worth than the best one; [`f32::MAX`] if it is the best
    /// one or does not exist.
    pub fn regret(&self, candidate: usize, multiplier: f32) -> f32 {
        match self.candidates().get(candidate) {
            Some(other) if candidate != usize::from(self.best_candidate) => {
                self.most_at(multiplier) - self.value(other, multiplier)
            }
            _ => f32::MAX,
        }
    }

    /// Moves the point to a candidate; [`Axis::settle`] then sets its position.
    pub fn put(&mut self, candidate: usize) {
        if let Some(Candidate { piece, .. }) = self.candidates().get(candidate).copied() {
            self.chosen = piece;
            self.point.row = piece.row;
            // Below 256.
            #[allow(clippy::cast_possible_truncation)]
            let on = candidate as u8;
            self.on = on;
        }
    }

    /// Moves the point back to the best candidate.
    pub fn put_back(&mut self) {
        self.put(usize::from(self.best_candidate));
    }

    /// Returns the gain of the point along the direction.
    pub fn gain_here(&self) -> f32 {
        let on = self.candidates.get(usize::from(self.on));
        on.map_or(0.0, |candidate| self.slope * self.point.at + candidate.gain)
    }

    /// Moves the point, on its piece, to the best position for a multiplier.
    pub fn settle(&mut self, multiplier: f32) {
        self.point.at = clamp(0.5 * multiplier * self.slope, self.chosen.low, self.chosen.high);
    }

    /// Returns the gain and the cost of each candidate at its best position for a multiplier.
    pub fn offers(&self, multiplier: f32) -> impl Iterator<Item = (f32, f32)> {
        self.candidates().iter().map(move |candidate| {
            let (at, gain) = self.at(candidate, multiplier);
            (gain, at * at)
        })
    }

    /// Moves the point to a candidate, at the best position for a multiplier.
    pub fn take(&mut self, candidate: usize, multiplier: f32) {
        self.put(candidate);
        self.settle(multiplier);
    }
}
