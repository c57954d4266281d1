//! Scores that wait for their outcome, by id.

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_128;

/// The data of a record that are kept until its outcome is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The score that decided.
    pub probability: f32,
    /// The calibrated probability.
    pub calibrated: f32,
    /// Its group in each attribute.
    pub groups: Box<[u8]>,
}

/// Whether a record with an id still waits for its outcome.
#[derive(Clone, Debug)]
enum State {
    Waiting(Scored),
    Known,
}

/// The latest ids, in constant memory: an id is kept as a hash of 128 bits.
#[derive(Clone, Debug)]
pub struct Waiting {
    states: HashMap<u128, State>,
    order: VecDeque<u128>,
    most: usize,
    expired: u64,
}

/// The state of an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It was not seen, or so long ago that it was forgotten.
    New,
    /// Its record waits for the outcome.
    Waiting,
    /// Its record and its outcome were seen.
    Known,
}

impl Waiting {
    /// Starts without ids. If there are more than `most`, the oldest is forgotten.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { states: HashMap::new(), order: VecDeque::new(), most, expired: 0 }
    }

    /// Returns the hash that stands for an id.
    #[must_use]
    pub fn key(id: &[u8]) -> u128 {
        xxh3_128(id)
    }

    /// Looks an id up.
    #[must_use]
    pub fn find(&self, key: u128) -> Found {
        match self.states.get(&key) {
            None => Found::New,
            Some(State::Waiting(_)) => Found::Waiting,
            Some(State::Known) => Found::Known,
        }
    }

    /// Adds a new id. Without a score, its outcome is known.
    pub fn insert(&mut self, key: u128, scored: Option<Scored>) {
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
            && let Some(State::Waiting(_)) = self.states.remove(&oldest)
        {
            self.expired += 1;
        }
        self.states.insert(key, scored.map_or(State::Known, State::Waiting));
        self.order.push_back(key);
    }

    /// Takes the score of an id whose outcome has arrived.
    pub fn take(&mut self, key: u128) -> Option<Scored> {
        match std::mem::replace(self.states.get_mut(&key)?, State::Known) {
            State::Waiting(scored) => Some(scored),
            State::Known => None,
        }
    }

    /// Returns the number of records that wait for their outcome.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.states.values().filter(|state| matches!(state, State::Waiting(_))).count() as u64
    }

    /// Returns the number of records that were forgotten before their outcome came.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_joined_once_and_the_oldest_is_forgotten() {
        let mut waiting = Waiting::new(2);
        let scored = |p| Some(Scored { probability: p, calibrated: p, groups: [0].into() });
        let [a, b, c] = [b"a", b"b", b"c"].map(|id| Waiting::key(id));
        waiting.insert(a, scored(0.25));
        waiting.insert(b, scored(0.5));
        assert_eq!(waiting.take(b).unwrap().probability, 0.5);
        assert_eq!((waiting.take(b), waiting.find(a), waiting.find(b)), (None, Found::Waiting, Found::Known));
        assert_eq!((waiting.find(c), waiting.take(c)), (Found::New, None));
        waiting.insert(c, None);
        assert_eq!((waiting.find(a), waiting.expired(), waiting.waiting()), (Found::New, 1, 0));
        waiting.insert(a, scored(0.75));
        assert_eq!((waiting.find(b), waiting.expired(), waiting.waiting()), (Found::New, 1, 1));
    }
}
