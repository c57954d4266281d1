//! Background records, against which `exact` and `sampled` explain a record.

use super::BackgroundId;
use super::factors::{contributions, factors};
use crate::error::ExplainError;
use crate::frame::crc32;
use crate::mixture::Term;
use crate::model::Model;
use crate::record::Record;
use crate::schema::Layout;

/// Background records of a model, in the caller's memory.
///
/// A Shapley value answers "why this score, and not the mean score of *these* records?". The choice
/// of records matters as much as the method (all of the training data, the approved records, a
/// single reference). Every explanation therefore identifies them, by [`Background::id`].
///
/// Holds the terms of each record and, if there is memory, its factors, so that a game of `exact`
/// needs no exponentials.
#[derive(Debug)]
pub struct Background<'a, const FEATURES: usize> {
    layout: &'a Layout<'a, FEATURES>,
    experts: usize,
    terms: &'a mut [Term],
    factors: &'a mut [f32],
    rows: usize,
    hash: u32,
}

impl<'a, const FEATURES: usize> Background<'a, FEATURES> {
    /// The largest number of terms of a record of any model: two per feature, for numbers with
    /// bins. Use it to size a `static`.
    pub const MAX_TERMS: usize = FEATURES.saturating_mul(2);

    /// Creates a background without records. `terms` needs room for [`Background::terms_needed`]
    /// per record; `factors` is empty or has room for [`Background::factors_needed`] per record.
    #[must_use]
    pub fn new<const EXPERTS: usize>(
        model: &'a Model<'a, FEATURES, EXPERTS>,
        terms: &'a mut [Term],
        factors: &'a mut [f32],
    ) -> Self {
        Self { layout: model.layout(), experts: model.experts(), terms, factors, rows: 0, hash: 0 }
    }

    /// Returns the number of terms per record, of 8 bytes each.
    #[must_use]
    pub fn terms_needed<const EXPERTS: usize>(model: &Model<'_, FEATURES, EXPERTS>) -> usize {
        model.layout().terms
    }

    /// Returns the number of factors per record: `2 K` for each feature.
    #[must_use]
    pub fn factors_needed<const EXPERTS: usize>(model: &Model<'_, FEATURES, EXPERTS>) -> usize {
        model.layout().features.len().wrapping_mul(model.experts()).wrapping_mul(2)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`ExplainError::OtherModel`], or [`ExplainError::BackgroundFull`] if the memory is full. The
    /// background is then unchanged.
    pub fn push<const EXPERTS: usize>(
        &mut self,
        model: &Model<'_, FEATURES, EXPERTS>,
        record: &Record<'_, FEATURES>,
    ) -> Result<(), ExplainError> {
        if !core::ptr::eq(record.layout, self.layout) || !core::ptr::eq(record.layout, model.layout()) {
            return Err(ExplainError::OtherModel);
        }
        let full = ExplainError::BackgroundFull { rows: self.rows };
        let each = self.layout.terms;
        let at = self.rows.checked_mul(each).ok_or(full)?;
        let memory = self.terms.get_mut(at..).and_then(|rest| rest.get_mut(..each)).ok_or(full)?;
        if !self.factors.is_empty() {
            let each = Self::factors_needed(model);
            let at = self.rows.checked_mul(each).ok_or(full)?;
            let memory = self.factors.get_mut(at..).and_then(|rest| rest.get_mut(..each)).ok_or(full)?;
            let (by_feature, _) = memory.as_chunks_mut::<2>();
            let mut lanes = [[0.0; EXPERTS]; 2];
            for (feature, memory) in self.layout.features.iter().zip(by_feature.chunks_exact_mut(self.experts.max(1))) {
                contributions(model, feature, record.terms(), model.row_of(lanes.as_flattened_mut()));
                factors(lanes.as_flattened(), self.experts, memory);
            }
        }
        memory.iter_mut().zip(record.terms()).for_each(|(to, from)| *to = *from);
        self.hash = hash(self.hash, record.terms());
        self.rows = self.rows.wrapping_add(1);
        Ok(())
    }

    /// Returns the identity of the records.
    #[must_use]
    pub fn id(&self) -> BackgroundId {
        BackgroundId { rows: u32::try_from(self.rows).unwrap_or(u32::MAX), hash: self.hash }
    }

    /// Returns the number of records.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns whether the records belong to this model.
    pub(super) fn is_of<const EXPERTS: usize>(&self, model: &Model<'_, FEATURES, EXPERTS>) -> bool {
        core::ptr::eq(self.layout, model.layout())
    }

    /// Returns the terms and factors of each record; the factors are empty if there was no memory
    /// for them.
    pub(super) fn records(&self) -> impl Iterator<Item = (&[Term], &[[f32; 2]])> {
        let each = self.layout.features.len().wrapping_mul(self.experts);
        let factors = self.factors.as_chunks::<2>().0;
        // A model has a feature, which has a term.
        self.terms.chunks_exact(self.layout.terms.max(1)).take(self.rows).enumerate().map(move |(row, terms)| {
            let factors = factors.get(row.wrapping_mul(each)..).and_then(|rest| rest.get(..each));
            (terms, factors.unwrap_or_default())
        })
    }
}

/// Returns the CRC-32 of an earlier hash and the terms of a record.
pub(super) fn hash(earlier: u32, terms: &[Term]) -> u32 {
    let terms = terms.iter().flat_map(|term| [term.row.to_le_bytes(), term.scale.to_le_bytes()]);
    crc32(core::iter::once(earlier.to_le_bytes()).chain(terms))
}
