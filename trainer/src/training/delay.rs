//! Labels that come late: rows that wait, with the scores they got when they came.
//!
//! Row t is scored when it comes, by the model that has learned from the rows up to t - N - 1, and
//! learned from once row t + N has come and was scored, as if it came only then. What is reported
//! of the stream (prequential measures, detectors of drift) takes the score of its arrival: that
//! was the decision. What steers the model (gradients, targets, a chosen threshold, calibration)
//! takes the score of the model that it steers.
//!
//! *Memory:* N rows of typed cells, and 24 bytes for each.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::learner::Prediction;
use crate::rows::{Buffer, GroupMap, Row};

/// The largest number of rows that a label can be late by.
pub const MOST_DELAY: u32 = 100_000;

/// Checks how many rows labels are late by.
pub(super) fn check(rows: u32) -> Result<(), Error> {
    if rows <= MOST_DELAY {
        return Ok(());
    }
    Err(Error::Input(format!("found a label delay of {rows} rows, expected 0 to {MOST_DELAY}")))
}

/// Rows whose labels are not known yet, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delay {
    /// Rows that a label is late by.
    rows: u32,
    waiting: Buffer,
    arrivals: VecDeque<Prediction>,
    /// That the rows take in memory.
    #[serde(skip)]
    bytes: usize,
}

impl Delay {
    /// Starts without rows that wait, in an empty buffer.
    pub(super) fn new(rows: u32, waiting: Buffer) -> Self {
        Self { rows, waiting, arrivals: VecDeque::new(), bytes: 0 }
    }

    /// Returns the rows that wait in several, of the same delay, whose groups are united.
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

    /// Returns the rows that a label is late by.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Changes how many rows labels are late by: those that wait longer are learned from when the
    /// next row comes.
    pub(super) fn set_rows(&mut self, rows: u32) {
        self.rows = rows;
    }

    /// Returns the number of rows that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.arrivals.len()
    }

    /// Returns whether a row is learned from at once.
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

    /// Says what was said of the rows that came last, of which those that wait are the last.
    pub(super) fn say(&mut self, said: &[Prediction]) {
        let pairs = self.arrivals.iter_mut().rev().zip(said.iter().rev());
        pairs.for_each(|(arrival, said)| *arrival = *said);
    }

    /// Returns the oldest row, with what was said of it.
    pub(super) fn oldest(&self) -> Option<(Row<'_>, Prediction)> {
        self.waiting.row(0).zip(self.arrivals.front().copied())
    }

    /// Takes the oldest row out.
    pub(super) fn pop(&mut self) {
        self.bytes -= self.waiting.bytes_of(0);
        self.waiting.pop();
        self.arrivals.pop_front();
    }

    /// Returns the bytes that the rows take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Resumes a stored one.
    pub(super) fn resume(&mut self) {
        self.bytes = self.waiting.bytes();
    }

    /// Returns whether a stored delay can be one; see [`Buffer`].
    pub(super) fn is_sound(&self, columns: usize, attributes: usize) -> bool {
        self.rows <= MOST_DELAY
            && self.arrivals.len() == self.waiting.len()
            && self.arrivals.len() <= MOST_DELAY as usize
            && self.waiting.is_sound(columns, attributes)
            && self.arrivals.iter().all(Prediction::is_sound)
    }
}
