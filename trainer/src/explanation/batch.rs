//! Explains some records at a time on all threads.

use feamoe_engine::ExplainError;
use rayon::prelude::*;

use super::explainer::Scratch;
use super::{Cell, Explainer};
use crate::model::{AnyRecord, HostAttribution};
use crate::threads::PerThread;

/// Records per batch, about 5 MB: enough to keep every thread busy although the costs of records
/// differ.
const MOST: usize = 256;

/// One record of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Slot<'m> {
    /// The 1-based number of the record.
    pub row: u64,
    /// The cells of its players; empty if they were not requested.
    pub cells: Vec<Cell>,
    /// The record.
    pub record: AnyRecord<'m>,
    /// Its attribution, once it is explained.
    pub attribution: HostAttribution,
}

/// Records of a file that are explained together. Their order and the result do not depend on the
/// number of threads.
#[derive(Debug)]
pub struct Batch<'e, 'm> {
    explainer: &'e Explainer<'m>,
    scratch: PerThread<Scratch>,
    slots: Vec<Slot<'m>>,
    filled: usize,
    explained: usize,
}

impl<'e, 'm> Batch<'e, 'm> {
    /// Creates an empty batch.
    #[must_use]
    pub fn new(explainer: &'e Explainer<'m>) -> Self {
        Self { explainer, scratch: PerThread::new(Scratch::default), slots: Vec::new(), filled: 0, explained: 0 }
    }

    /// Adds a record.
    pub fn push(&mut self, row: u64, record: &AnyRecord<'m>, cells: Vec<Cell>) {
        match self.slots.get_mut(self.filled) {
            Some(slot) => {
                (slot.row, slot.cells) = (row, cells);
                slot.record.clone_from(record);
            }
            None => {
                let attribution = HostAttribution::new();
                self.slots.push(Slot { row, cells, record: record.clone(), attribution });
            }
        }
        self.filled += 1;
    }

    /// Returns whether the batch must be explained before another record is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filled == MOST
    }

    /// Returns the records.
    #[must_use]
    pub fn slots(&self) -> &[Slot<'m>] {
        &self.slots[..self.filled]
    }

    /// Explains the next record on this thread. Returns false if none is left.
    ///
    /// # Errors
    /// Those of the engine's methods.
    pub fn explain_one(&mut self) -> Result<bool, ExplainError> {
        let Some(slot) = self.slots[..self.filled].get_mut(self.explained) else { return Ok(false) };
        self.scratch.with(|scratch| self.explainer.explain(&slot.record, scratch, &mut slot.attribution))?;
        self.explained += 1;
        Ok(true)
    }

    /// Explains the remaining records on all threads and returns all records of the batch. The
    /// batch is then empty again. `done` is called after each explained record, on any thread.
    ///
    /// # Errors
    /// The engine's error for the first record that has one.
    pub fn explain(&mut self, done: impl Fn() + Sync) -> Result<&[Slot<'m>], ExplainError> {
        let (explainer, scratch) = (self.explainer, &self.scratch);
        let explain = |slot: &mut Slot<'m>| {
            let explained = scratch.with(|scratch| explainer.explain(&slot.record, scratch, &mut slot.attribution));
            done();
            explained
        };
        let left = &mut self.slots[self.explained..self.filled];
        // A single record is explained on this thread.
        let results: Vec<_> = match left {
            [slot] => vec![explain(slot)],
            left => left.par_iter_mut().with_max_len(1).map(explain).collect(),
        };
        results.into_iter().collect::<Result<(), _>>()?;
        let filled = std::mem::take(&mut self.filled);
        self.explained = 0;
        Ok(&self.slots[..filled])
    }
}
