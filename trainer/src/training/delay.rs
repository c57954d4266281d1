//! Late labels: rows wait for their labels, with the scores from when they arrived.
//!
//! With a label delay of N rows, row t is scored when it arrives, by the model that has learned
//! from the rows up to t - N - 1. It is learned from after row t + N has arrived and was scored, as
//! if it had arrived only then. Reports about the stream (prequential measures, drift detectors)
//! use the score of its arrival, which was the decision. Everything that steers the model
//! (gradients, targets, a chosen threshold, calibration) uses the score of the current model.
//!
//! *Memory:* N rows of typed cells, and 24 bytes for each of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::learner::Prediction;
use crate::rows::{Buffer, GroupMap, Row};

/// The largest label delay, in rows.
pub const MOST_DELAY: u32 = 100_000;

/// Checks the range of a label delay in rows.
pub(super) fn check(rows: u32) -> Result<(), Error> {
    if rows <= MOST_DELAY {
        return Ok(());
    }
    Err(Error::Input(format!("found a label delay of {rows} rows, expected 0 to {MOST_DELAY}")))
}

/// Rows whose labels are not known yet, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delay {
    /// The label delay in rows.
    rows: u32,
    waiting: Buffer,
    arrivals: VecDeque<Prediction>,
    /// Memory that the rows take, in bytes.
    #[serde(skip)]
    bytes: usize,
}

impl Delay {
    /// Returns a delay without waiting rows, in an empty buffer.
    pub(super) fn new(rows: u32, waiting: Buffer) -> Self {
        Self { rows, waiting, arrivals: VecDeque::new(), bytes: 0 }
    }

    /// Returns the waiting rows of several parts with the same delay, with their groups united.
    pub(super) fn merge(parts: &[(&Self, &GroupMap)]) -> Option<Self> {
        let (first, _) = parts.first()?;
        let mut merged = Self::new(first.rows, first.waiting.only(std::iter::empty()));
        for (part, groups) in parts {
            (0..part.waiting.len()).for_each(|index| merged.waiting.take(&part.waiting, index, groups));
            merged.arrivals.extend(&part.arrivals);
        }
        merged.resume();
        Some(merged)
    }

    /// Returns the label delay in rows.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Changes the label delay. Rows that wait longer than it are learned from when the next row
    /// arrives.
    pub(super) fn set_rows(&mut self, rows: u32) {
        self.rows = rows;
    }

    /// Returns the number of waiting rows.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.arrivals.len()
    }

    /// Returns whether every row is learned from at once.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.rows == 0 && self.arrivals.is_empty()
    }

    /// Returns whether the oldest row's label is known.
    pub(super) fn is_due(&self) -> bool {
        self.arrivals.len() > self.rows as usize
    }

    pub(super) fn push(&mut self, row: &Row<'_>, arrival: Prediction) {
        self.waiting.push(row);
        self.bytes += self.waiting.last_bytes();
        self.arrivals.push_back(arrival);
    }

    /// Replaces the predictions on the waiting rows by the last ones of `said`.
    pub(super) fn say(&mut self, said: &[Prediction]) {
        let pairs = self.arrivals.iter_mut().rev().zip(said.iter().rev());
        pairs.for_each(|(arrival, said)| *arrival = *said);
    }

    /// Returns the oldest row, with its prediction from when it arrived.
    pub(super) fn oldest(&self) -> Option<(Row<'_>, Prediction)> {
        self.waiting.row(0).zip(self.arrivals.front().copied())
    }

    /// Removes the oldest row.
    pub(super) fn pop(&mut self) {
        self.bytes -= self.waiting.bytes_of(0);
        self.waiting.pop();
        self.arrivals.pop_front();
    }

    /// Returns the memory that the rows take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Restores the state that is not stored.
    pub(super) fn resume(&mut self) {
        self.bytes = self.waiting.bytes();
    }

    /// Returns whether a deserialised delay is valid; see [`Buffer`].
    pub(super) fn is_sound(&self, columns: usize, attributes: usize) -> bool {
        self.rows <= MOST_DELAY
            && self.arrivals.len() == self.waiting.len()
            && self.arrivals.len() <= MOST_DELAY as usize
            && self.waiting.is_sound(columns, attributes)
            && self.arrivals.iter().all(Prediction::is_sound)
    }
}
