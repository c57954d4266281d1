//! Several passes over rows that are kept: a trainer learns from each row again, and is judged by
//! the rows that only the first pass learned from.

use super::super::start::Start;
use super::super::state::{Measured, State};
use super::super::steps::Learning;
use super::{Trainer, plan};
use crate::encoder::Example;
use crate::error::Error;
use crate::learner::Learner;
use crate::rows::{Buffer, Row};

impl Trainer {
    /// Keeps the rows in memory instead of learning from them.
    pub(in super::super) fn keep_rows(&mut self) {
        self.keeps_rows = true;
    }

    /// Returns the rows that were kept. Learning then starts from the first of them.
    pub(in super::super) fn take_rows(&mut self) -> Buffer {
        self.keeps_rows = false;
        let rows = self.start.as_mut().map(Start::take_rows).unwrap_or_default();
        self.start.take_if(|_| self.encoder.is_held());
        rows
    }

    /// Learns for the first time from a row that was kept.
    pub(in super::super) fn learn_kept(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let Self { schema, encoding, admission, features, encoder, start, state, .. } = self;
        let Some(start) = start else {
            return Learning { features, encoder, admission, state }.learn(row, None).map(drop);
        };
        start.take(row, &plan(schema, encoding, admission, &state.learner, 0), |row, said| {
            state.measured.observe(row, said, state.learner.options());
        });
        self.fit_if_due()
    }

    /// Learns in a later pass from a row that was learned from before.
    pub(in super::super) fn learn_row_again(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let Self { admission, encoder, state, .. } = self;
        encoder.encode(row, &mut state.example)?;
        state.learn(encoder, admission.attributes(), None);
        Ok(())
    }

    /// Begins a pass, counted from 1.
    pub(in super::super) fn begin_pass(&mut self, epoch: u32) {
        self.state.epoch = epoch;
        self.state.learner.set_repeats(epoch > 1);
    }

    /// Calibrates, in a later pass, on a row that the model does not learn from.
    pub(in super::super) fn calibrate(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let State { learner, example, .. } = &mut self.state;
        self.encoder.encode(row, example)?;
        let score = learner.predict_exported(&example.terms, &example.groups);
        learner.calibrate(example, score);
        Ok(())
    }

    /// Returns the label of a row, and its probability according to a learner of this encoding.
    pub(in super::super) fn probability_by(&self, learner: &Learner, row: &Row<'_>) -> Result<(bool, f32), Error> {
        let mut example = Example::default();
        self.encoder.encode(row, &mut example)?;
        let score = learner.predict_exported(&example.terms, &example.groups);
        Ok((example.label, learner.calibrated(&example.terms, score)))
    }

    /// Restores an earlier learner, with its number of rows and passes.
    pub(in super::super) fn restore(&mut self, learner: &Learner, rows: u64, epochs: u32) {
        self.state.learner = learner.clone();
        self.state.rows = rows;
        self.passes.epochs = epochs;
    }

    /// Judges the finished model on a row that no later pass learned from.
    pub(in super::super) fn judge_reserved(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let State { learner, measured: Measured { reserved, .. }, example, .. } = &mut self.state;
        self.encoder.encode(row, example)?;
        let probability = learner.predict_exported(&example.terms, &example.groups);
        let reserved = reserved.get_or_insert_default();
        reserved.observe(example.label, probability, learner.exported_threshold(), &example.groups);
        Ok(())
    }
}
