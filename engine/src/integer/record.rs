//! Records of an integer model: values, resolved to the terms of the forward pass.

use super::kernel::Term;
use super::number::{Number, fixed, rescaled};
use crate::error::RecordError;
use crate::record::{Value, impl_values};
use crate::schema::{Feature, FeatureIndex, FeatureKey, Kind, Layout, Note, bin_by};

/// The parts of a model that its records need.
#[derive(Debug)]
pub(super) struct FixedLayout<'a, const FEATURES: usize> {
    pub layout: Layout<'a, FEATURES>,
    /// One per feature; the entry of a category is never read.
    pub numbers: heapless::Vec<Number, FEATURES>,
    /// The bin edges of every feature, i32 in the feature's unit.
    pub edges: &'a [[u8; 4]],
    /// A scale of 1.
    pub one: i32,
}

/// A record of a model, created by [`super::Model::record`] with every value missing. Takes 17
/// bytes per feature.
///
/// Like [`crate::Record`], with [`Record::set_fixed`] in addition, which sets numbers without
/// floats.
#[derive(Clone, Debug)]
pub struct Record<'m, const FEATURES: usize> {
    pub(super) fixed: &'m FixedLayout<'m, FEATURES>,
    /// The terms of feature 0, then of feature 1, and so on; their numbers are those of the schema.
    terms: [[Term; 2]; FEATURES],
    notes: [Note; FEATURES],
}

impl_values!();

impl<'m, const FEATURES: usize> Record<'m, FEATURES> {
    pub(super) fn new(fixed: &'m FixedLayout<'m, FEATURES>) -> Self {
        let mut record = Self { fixed, terms: [[Term::default(); 2]; FEATURES], notes: [Note::Missing; FEATURES] };
        record.clear();
        record
    }

    /// Makes every value missing again.
    pub fn clear(&mut self) {
        for (index, feature) in self.fixed.layout.features().iter().enumerate() {
            _ = self.write_missing(index, feature);
        }
    }

    /// Sets a number; NaN makes it missing. Uses only integer operations on its bits, so that no
    /// float routine is linked.
    ///
    /// # Errors
    /// [`RecordError::NotANumber`] for a category, and the errors of the key.
    #[inline]
    pub fn set_number(&mut self, key: impl FeatureKey, value: f32) -> Result<Note, RecordError> {
        let (index, feature, number) = self.number(key)?;
        if value.is_nan() {
            return Ok(self.write_missing(index, feature));
        }
        Ok(self.write_number(index, feature, number, fixed(value, number.fraction_bits())))
    }

    /// Sets a number to `raw / 2^fraction_bits`, such as the reading of a converter: rounded to the
    /// feature's unit, clamped to its range.
    ///
    /// [`Number::fraction_bits`] of [`super::Model::number`] names the unit that needs no rounding.
    ///
    /// # Errors
    /// [`RecordError::NotANumber`] for a category, and the errors of the key.
    #[inline]
    pub fn set_fixed(&mut self, key: impl FeatureKey, raw: i32, fraction_bits: i8) -> Result<Note, RecordError> {
        let (index, feature, number) = self.number(key)?;
        let x = rescaled(raw, fraction_bits, number.fraction_bits());
        Ok(self.write_number(index, feature, number, x))
    }

    /// Sets a category by the name of its level. A name that the model does not know uses the
    /// *unseen* row and returns [`Note::Unseen`]; if it should be an error, use
    /// [`Record::set_known_category`]. Takes time proportional to the number of levels.
    ///
    /// # Errors
    /// [`RecordError::NotACategory`] for a number, [`RecordError::NamesStripped`], and the errors
    /// of the key.
    pub fn set_category(&mut self, key: impl FeatureKey, level: &str) -> Result<Note, RecordError> {
        let (index, feature) = self.feature(key)?;
        let levels = levels(index, feature)?;
        let code = self.fixed.layout.view().level_code(index, level)?;
        Ok(self.write_level(index, feature, levels, code.unwrap_or(levels)))
    }

    /// Sets a category by the name of a level that the model knows.
    ///
    /// # Errors
    /// The same as [`Record::set_category`], and [`RecordError::UnknownLevel`] for another name.
    pub fn set_known_category(&mut self, key: impl FeatureKey, level: &str) -> Result<(), RecordError> {
        let (index, feature) = self.feature(key)?;
        let levels = levels(index, feature)?;
        let code =
            self.fixed.layout.view().level_code(index, level)?.ok_or(RecordError::UnknownLevel { feature: index })?;
        _ = self.write_level(index, feature, levels, code);
        Ok(())
    }

    /// Sets a category by the code of its level, or with `None` to a level that was not seen in
    /// training.
    ///
    /// # Errors
    /// [`RecordError::NotACategory`] for a number, [`RecordError::LevelOutOfRange`], and the errors
    /// of the key.
    #[inline]
    pub fn set_level(&mut self, key: impl FeatureKey, code: Option<u16>) -> Result<Note, RecordError> {
        let (index, feature) = self.feature(key)?;
        let levels = levels(index, feature)?;
        match code {
            Some(found) if found >= levels => Err(RecordError::LevelOutOfRange { found, levels }),
            code => Ok(self.write_level(index, feature, levels, code.unwrap_or(levels))),
        }
    }

    /// Sets a value of any kind.
    ///
    /// # Errors
    /// The same as [`Record::set_number`], [`Record::set_level`] and [`Record::set_missing`].
    pub fn set_value(&mut self, key: impl FeatureKey, value: Value) -> Result<Note, RecordError> {
        match value {
            Value::Number(number) => self.set_number(key, number),
            Value::Level(code) => self.set_level(key, Some(code)),
            Value::Unseen => self.set_level(key, None),
            Value::Missing => self.set_missing(key),
        }
    }

    /// Sets every value, in the order of the features.
    ///
    /// # Errors
    /// [`RecordError::WrongValueCount`]; the record is then unchanged. The errors of
    /// [`Record::set_value`]; every value is then missing, so that no score mixes old and new
    /// values.
    pub fn set_all(&mut self, values: &[Value]) -> Result<(), RecordError> {
        let (found, features) = (values.len(), self.fixed.layout.features().len());
        if found != features {
            return Err(RecordError::WrongValueCount { found, features });
        }
        for (index, value) in values.iter().enumerate() {
            if let Err(error) = self.set_value(FeatureIndex(index), *value) {
                self.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sets a value to missing.
    ///
    /// # Errors
    /// The errors of the key.
    pub fn set_missing(&mut self, key: impl FeatureKey) -> Result<Note, RecordError> {
        let (index, feature) = self.feature(key)?;
        Ok(self.write_missing(index, feature))
    }

    /// Returns the note of each feature's value, in their order.
    pub fn notes(&self) -> &[Note] {
        self.notes.get(..self.fixed.layout.features().len()).unwrap_or(&self.notes)
    }

    #[inline]
    pub(super) fn terms(&self) -> &[Term] {
        let all = self.terms.as_flattened();
        all.get(..self.fixed.layout.terms).unwrap_or(all)
    }

    #[inline]
    fn feature(&self, key: impl FeatureKey) -> Result<(usize, &'m Feature), RecordError> {
        let index = key.index(self.fixed.layout.view())?;
        let feature = self.fixed.layout.features().get(index).ok_or(RecordError::UnknownFeature)?;
        Ok((index, feature))
    }

    #[inline]
    fn number(&self, key: impl FeatureKey) -> Result<(usize, &'m Feature, &'m Number), RecordError> {
        let (index, feature) = self.feature(key)?;
        match (feature.kind, self.fixed.numbers.get(index)) {
            (Kind::Number { .. }, Some(number)) => Ok((index, feature, number)),
            _ => Err(RecordError::NotANumber { feature: index }),
        }
    }

    /// Writes the terms of a number `x` in the feature's unit.
    #[inline(never)]
    fn write_number(&mut self, index: usize, feature: &Feature, number: &Number, x: i32) -> Note {
        let inside = number.clamp(x);
        let note = if inside == x { Note::Usual } else { Note::Clamped };
        let linear = || Term { row: feature.first_row, scale: number.scale(inside) };
        let edges = match feature.kind {
            Kind::Number { bins: 1.., .. } => feature.edges_of(self.fixed.edges),
            _ => return self.write(index, feature, linear(), None, note),
        };
        #[allow(clippy::cast_possible_truncation)] // at most MAX_BINS
        let bin = bin_by(edges, |edge| i32::from_le_bytes(*edge) <= inside) as u32;
        let bin = self.whole(feature.first_row.wrapping_add(2).wrapping_add(bin));
        if feature.is_stepped() {
            return self.write(index, feature, bin, None, note);
        }
        self.write(index, feature, linear(), Some(bin), note)
    }

    /// Writes the term of a level; `code == levels` selects the unseen row.
    #[inline]
    fn write_level(&mut self, index: usize, feature: &Feature, levels: u16, code: u16) -> Note {
        let note = if code < levels { Note::Usual } else { Note::Unseen };
        let term = self.whole(feature.first_row.wrapping_add(u32::from(code)));
        self.write(index, feature, term, None, note)
    }

    fn write_missing(&mut self, index: usize, feature: &Feature) -> Note {
        let row = match feature.kind {
            Kind::Number { .. } => 1,
            Kind::Category { levels } => u32::from(levels).wrapping_add(1),
        };
        let missing = self.whole(feature.first_row.wrapping_add(row));
        // With bins, the missing row replaces the row of the bin, and the linear row adds nothing.
        // Otherwise the missing row replaces the linear row.
        let nothing = Term { row: feature.first_row, scale: 0 };
        match feature.terms() {
            2 => self.write(index, feature, nothing, Some(missing), Note::Missing),
            _ => self.write(index, feature, missing, None, Note::Missing),
        }
    }

    /// Returns the term of a row that is looked up.
    #[inline]
    fn whole(&self, row: u32) -> Term {
        Term { row, scale: self.fixed.one }
    }

    #[inline]
    fn write(&mut self, index: usize, feature: &Feature, first: Term, second: Option<Term>, note: Note) -> Note {
        let (to, start) = (self.terms.as_flattened_mut(), usize::from(feature.first_term));
        if let Some(to) = to.get_mut(start) {
            *to = first;
        }
        if let Some((to, second)) = to.get_mut(start.wrapping_add(1)).zip(second) {
            *to = second;
        }
        if let Some(to) = self.notes.get_mut(index) {
            *to = note;
        }
        note
    }
}

/// Returns the levels of a category.
#[inline]
fn levels(index: usize, feature: &Feature) -> Result<u16, RecordError> {
    match feature.kind {
        Kind::Category { levels } => Ok(levels),
        Kind::Number { .. } => Err(RecordError::NotACategory { feature: index }),
    }
}
