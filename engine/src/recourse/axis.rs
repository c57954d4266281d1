//! One feature of a search: the pieces of it that are worth a look along a direction, and where the point is on it.

use super::knapsack::Portions;
use super::reach::{Piece, Place, Reach};
use crate::schema::clamp;

/// Pieces that one direction keeps of a feature.
pub(super) const PIECES: usize = 8;

/// A piece, and what looking up its row adds along the direction.
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
    /// The point that is looked at.
    pub point: Place,
    /// The nearest favourable point so far.
    pub best: Place,
    /// What a standard deviation adds along the direction.
    slope: f32,
    /// The pieces kept, nearest first.
    candidates: [Candidate; PIECES],
    count: usize,
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
        chosen: Piece::NONE,
        portions: Portions::NONE,
    };

    /// Starts at the record.
    pub fn start(&mut self, reach: Reach) {
        *self = Self { reach, point: reach.origin, best: reach.origin, ..Self::NONE };
    }

    /// Returns whether the best point differs from the record here.
    pub fn is_changed(&self) -> bool {
        self.best != self.reach.origin
    }

    /// Takes up the pieces nearer than the root of `cost`, where `along` gives what a row adds along the direction.
    ///
    /// A piece that adds no more than a nearer one is passed over. Of more than [`PIECES`] the least useful is dropped, see [`Axis::drop_least`].
    pub fn look_along(&mut self, pieces: impl Iterator<Item = Piece>, cost: f32, along: impl Fn(u32) -> f32) {
        self.slope = self.reach.slope(&along);
        self.count = 0;
        let own = along(self.reach.origin.row);
        let mut reached = f32::MIN;
        for piece in pieces {
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
            if self.count == PIECES {
                self.drop_least();
            }
            if let Some(place) = self.candidates.get_mut(self.count) {
                *place = Candidate { piece, gain };
                self.count = self.count.wrapping_add(1);
            }
        }
    }

    /// Drops the candidate that rises least above the line from the one before it to the one after it, in gain by cost: it would be chosen for the
    /// narrowest range of multipliers, if for any. The first and the last stay.
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

    /// Returns where a candidate is best for a multiplier, and what that adds.
    fn at(&self, candidate: &Candidate, multiplier: f32) -> (f32, f32) {
        let at = clamp(0.5 * multiplier * self.slope, candidate.piece.low, candidate.piece.high);
        (at, self.slope * at + candidate.gain)
    }

    /// Puts the point where `multiplier * gain - cost` is largest; returns the gain.
    #[inline(never)]
    pub fn choose(&mut self, multiplier: f32) -> f32 {
        let (mut most, mut chosen) = (f32::MIN, 0.0);
        for candidate in self.candidates.iter().take(self.count) {
            let (at, gain) = self.at(candidate, multiplier);
            let value = multiplier * gain - at * at;
            if value > most {
                (most, chosen) = (value, gain);
                self.chosen = candidate.piece;
                self.point = Place { row: candidate.piece.row, at };
            }
        }
        chosen
    }

    /// Puts the point where it would be for another multiplier on the piece that it is on.
    pub fn settle(&mut self, multiplier: f32) {
        self.point.at = clamp(0.5 * multiplier * self.slope, self.chosen.low, self.chosen.high);
    }

    /// Returns gain and cost of each candidate for a multiplier.
    pub fn offers(&self, multiplier: f32) -> impl Iterator<Item = (f32, f32)> {
        self.candidates.iter().take(self.count).map(move |candidate| {
            let (at, gain) = self.at(candidate, multiplier);
            (gain, at * at)
        })
    }

    /// Puts the point on a candidate.
    pub fn take(&mut self, candidate: usize, multiplier: f32) {
        if let Some(Candidate { piece, .. }) = self.candidates.get(candidate) {
            self.chosen = *piece;
            self.point.row = piece.row;
            self.settle(multiplier);
        }
    }
}
