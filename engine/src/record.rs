//! Records of a model: values, resolved to the terms of the forward pass.
//!
//! Setting a value clamps, transforms and looks it up once; scoring and explaining then use the
//! same terms. A value that is not set is missing. A number that is NaN is missing; a number
//! outside the training range, including infinities, is clamped and noted. An unknown level uses
//! the *unseen* row and is noted. An error leaves the record unchanged, except for
//! [`Record::set_all`], which then clears it.

use crate::error::RecordError;
use crate::format::background::MISSING_NUMBER;
use crate::mixture::Term;
use crate::schema::{Feature, FeatureIndex, FeatureKey, Kind, Layout, Note, bin};

/// A raw value of a record, for [`Record::set_value`].
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number; NaN is missing.
    Number(f32),
    /// A level's code.
    Level(u16),
    /// A level that was not seen in training.
    Unseen,
    /// No value.
    Missing,
}

impl Value {
    /// Takes the value of a feature of this kind off the bytes of a background record, which `load`
    /// checked; `None` if they end.
    pub(crate) fn take(kind: Kind, bytes: &[u8]) -> Option<(Self, &[u8])> {
        Some(match kind {
            Kind::Number { .. } => {
                let (bytes, rest) = bytes.split_first_chunk()?;
                let number = f32::from_le_bytes(*bytes);
                let missing = number.to_bits() == MISSING_NUMBER.to_bits();
                (if missing { Self::Missing } else { Self::Number(number) }, rest)
            }
            Kind::Category { levels } => {
                let (bytes, rest) = bytes.split_first_chunk()?;
                let value = match u16::from_le_bytes(*bytes) {
                    code if code < levels => Self::Level(code),
                    code if code == levels => Self::Unseen,
                    _ => Self::Missing,
                };
                (value, rest)
            }
        })
    }
}

/// The common interface of records of float and integer models.
pub trait Values: sealed::Sealed {
    /// Makes every value missing again.
    fn clear(&mut self);

    /// Sets one value.
    ///
    /// # Errors
    /// The same as [`Record::set_value`].
    fn set_value(&mut self, key: impl FeatureKey, value: Value) -> Result<Note, RecordError>;

    /// Sets every value, in the order of the features.
    ///
    /// # Errors
    /// The same as [`Record::set_all`].
    fn set_all(&mut self, values: &[Value]) -> Result<(), RecordError>;

    /// Returns the note of each feature's value, in their order.
    fn notes(&self) -> &[Note];
}

pub(crate) mod sealed {
    /// Implemented only by the records of the two models.
    pub trait Sealed {}
}

/// Implements [`Values`] with the methods of the same names.
macro_rules! impl_values {
    () => {
        impl<const FEATURES: usize> $crate::record::sealed::Sealed for Record<'_, FEATURES> {}

        impl<const FEATURES: usize> $crate::record::Values for Record<'_, FEATURES> {
            fn clear(&mut self) {
                self.clear();
            }

            #[inline]
            fn set_value(&mut self, key: impl FeatureKey, value: Value) -> Result<Note, RecordError> {
                self.set_value(key, value)
            }

            fn set_all(&mut self, values: &[Value]) -> Result<(), RecordError> {
                self.set_all(values)
            }

            fn notes(&self) -> &[Note] {
                self.notes()
            }
        }
    };
}

pub(crate) use impl_values;

impl_values!();

/// A record of a model, created by [`crate::Model::record`] with every value missing. Takes 17
/// bytes per feature.
#[derive(Clone, Debug)]
pub struct Record<'m, const FEATURES: usize> {
    pub(crate) layout: &'m Layout<'m, FEATURES>,
    /// The terms of feature 0, then of feature 1, and so on; the first `layout.terms` are valid.
    /// After them, as scales, the clamped values of stepped numbers.
    terms: [[Term; 2]; FEATURES],
    /// [`Note::Usual`] beyond the model's features.
    notes: [Note; FEATURES],
}

impl<'m, const FEATURES: usize> Record<'m, FEATURES> {
    /// Returns a record with every value missing.
    pub(crate) fn new(layout: &'m Layout<'m, FEATURES>) -> Self {
        let mut record =
            Self { layout, terms: [[Term { row: 0, scale: 0.0 }; 2]; FEATURES], notes: [Note::Usual; FEATURES] };
        record.clear();
        record
    }

    /// Makes every value missing again.
    pub fn clear(&mut self) {
        for index in 0..self.layout.features.len() {
            let set = self.set_at(index, Value::Missing);
            debug_assert!(set.is_ok(), "broken invariant: every feature can be missing");
        }
    }

    /// Sets every value, in the order of the features. This is the fastest way. Except for
    /// logarithms, the number of instructions hardly depends on the values.
    ///
    /// # Errors
    /// [`RecordError::WrongValueCount`]; the record is then unchanged. The errors of
    /// [`Record::set_value`]; every value is then missing, so that no score mixes old and new
    /// values.
    pub fn set_all(&mut self, values: &[Value]) -> Result<(), RecordError> {
        let (found, features) = (values.len(), self.layout.features.len());
        if found != features {
            return Err(RecordError::WrongValueCount { found, features });
        }
        let set = self.resolve_from(0, values);
        if set.is_err() {
            self.clear();
        }
        set
    }

    /// Sets the values of features from `first` on, up to the first invalid one.
    #[inline(never)]
    fn resolve_from(&mut self, first: usize, values: &[Value]) -> Result<(), RecordError> {
        let layout = self.layout;
        let features = layout.features.get(first..).unwrap_or_default();
        let first_term = features.first().map_or(0, |feature| usize::from(feature.first_term));
        let (terms, kept) = self.terms.as_flattened_mut().split_at_mut_checked(layout.terms).unwrap_or_default();
        let mut terms = terms.get_mut(first_term..).unwrap_or_default().iter_mut();
        let notes = self.notes.get_mut(first..).unwrap_or_default();
        for (index, ((feature, value), note)) in features.iter().zip(values).zip(notes).enumerate() {
            *note = resolve(feature, first.wrapping_add(index), &layout.edges, *value, &mut terms, kept)?;
        }
        Ok(())
    }

    /// Sets a number; NaN makes it missing.
    ///
    /// # Errors
    /// [`RecordError::NotANumber`] for a category, and the errors of the key.
    pub fn set_number(&mut self, key: impl FeatureKey, value: f32) -> Result<Note, RecordError> {
        self.set_value(key, Value::Number(value))
    }

    /// Sets a category by the name of its level. A name that the model does not know uses the
    /// *unseen* row and returns [`Note::Unseen`]; if it should be an error, use
    /// [`Record::set_known_category`]. Takes time proportional to the number of levels.
    ///
    /// # Errors
    /// [`RecordError::NotACategory`] for a number, [`RecordError::NamesStripped`], and the errors
    /// of the key.
    pub fn set_category(&mut self, key: impl FeatureKey, level: &str) -> Result<Note, RecordError> {
        let index = key.index(self.layout.view())?;
        let feature = self.layout.features.get(index).ok_or(RecordError::UnknownFeature)?;
        let Kind::Category { .. } = feature.kind else { return Err(RecordError::NotACategory { feature: index }) };
        self.set_level(FeatureIndex(index), self.layout.view().level_code(index, level)?)
    }

    /// Sets a category by the name of a level that the model knows.
    ///
    /// # Errors
    /// The same as [`Record::set_category`], and [`RecordError::UnknownLevel`] for another name.
    pub fn set_known_category(&mut self, key: impl FeatureKey, level: &str) -> Result<(), RecordError> {
        let index = key.index(self.layout.view())?;
        let feature = self.layout.features.get(index).ok_or(RecordError::UnknownFeature)?;
        let Kind::Category { .. } = feature.kind else { return Err(RecordError::NotACategory { feature: index }) };
        let code = self.layout.view().level_code(index, level)?.ok_or(RecordError::UnknownLevel { feature: index })?;
        self.set_at(index, Value::Level(code)).map(|_| ())
    }

    /// Sets a category by the code of its level, or with `None` to a level that was not seen in
    /// training.
    ///
    /// # Errors
    /// [`RecordError::NotACategory`] for a number, [`RecordError::LevelOutOfRange`], and the errors
    /// of the key.
    pub fn set_level(&mut self, key: impl FeatureKey, code: Option<u16>) -> Result<Note, RecordError> {
        self.set_value(key, code.map_or(Value::Unseen, Value::Level))
    }

    /// Sets a value to missing.
    ///
    /// # Errors
    /// The errors of the key.
    pub fn set_missing(&mut self, key: impl FeatureKey) -> Result<Note, RecordError> {
        self.set_value(key, Value::Missing)
    }

    /// Sets a value of any kind.
    ///
    /// # Errors
    /// The same as [`Record::set_number`], [`Record::set_level`] and [`Record::set_missing`].
    pub fn set_value(&mut self, key: impl FeatureKey, value: Value) -> Result<Note, RecordError> {
        let index = key.index(self.layout.view())?;
        self.set_at(index, value)
    }

    /// Sets one value with the code that sets all, since a copy of it takes more than a kilobyte of
    /// flash.
    #[inline(never)]
    fn set_at(&mut self, index: usize, value: Value) -> Result<Note, RecordError> {
        self.resolve_from(index, core::slice::from_ref(&value))?;
        self.notes().get(index).copied().ok_or(RecordError::UnknownFeature)
    }

    /// Returns the note of each feature's value, in their order.
    pub fn notes(&self) -> &[Note] {
        self.notes.get(..self.layout.features.len()).unwrap_or(&self.notes)
    }

    /// Returns the bitwise or of all notes, computed four at a time.
    #[inline]
    pub(crate) fn note_bits(&self) -> u8 {
        let (fours, rest) = self.notes.as_chunks::<4>();
        let word = |four: &[Note; 4]| u32::from_le_bytes(four.map(|note| note as u8));
        let bits = fours.iter().fold(0, |bits, four| bits | word(four)).to_le_bytes();
        bits.into_iter().chain(rest.iter().map(|note| *note as u8)).fold(0, |bits, note| bits | note)
    }

    /// Returns the terms of the forward pass.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        let all = self.terms.as_flattened();
        all.get(..self.layout.terms).unwrap_or(all)
    }

    /// Returns the value of a number that is not missing, transformed and centred; 0 for a
    /// category.
    pub(crate) fn centred(&self, feature: &Feature) -> f32 {
        let Kind::Number { transform, centre, .. } = feature.kind else { return 0.0 };
        let terms = self.terms.as_flattened();
        let scale = |at: usize| terms.get(at).map_or(0.0, |term| term.scale);
        if feature.is_stepped() {
            transform.apply(scale(self.layout.terms.wrapping_add(usize::from(feature.kept)))) - centre
        } else {
            scale(usize::from(feature.first_term))
        }
    }
}

/// Writes the terms of a value, and the value of a stepped number to its place in `kept`, and
/// returns its note. `index` is that of the feature, for errors; on an error, nothing is written.
/// `edges` is called only if there are bins.
#[inline(always)]
fn resolve<'t>(
    feature: &Feature,
    index: usize,
    edges: &&[f32],
    value: Value,
    terms: &mut impl Iterator<Item = &'t mut Term>,
    kept: &mut [Term],
) -> Result<Note, RecordError> {
    let mut write = |row: u32, scale: f32| {
        if let Some(to) = terms.next() {
            *to = Term { row, scale };
        }
    };
    let row = feature.first_row;
    match feature.kind {
        Kind::Number { transform, low, high, centre, bins } => {
            let x = match value {
                Value::Number(x) => x,
                Value::Missing => f32::NAN,
                Value::Level(_) | Value::Unseen => return Err(RecordError::NotACategory { feature: index }),
            };
            // Like `clamp`, in the order that is fastest for usual numbers.
            let (inside, note) = if x >= low && x <= high {
                (x, Note::Usual)
            } else if x > high {
                (high, Note::Clamped)
            } else {
                (low, if x.is_nan() { Note::Missing } else { Note::Clamped })
            };
            let missing_row = row.wrapping_add(1);
            if bins == 0 {
                // The missing row replaces the linear row.
                let centred = transform.apply(inside) - centre;
                let (row, scale) = if note == Note::Missing { (missing_row, 1.0) } else { (row, centred) };
                write(row, scale);
                return Ok(note);
            }
            if let Some(to) = kept.get_mut(usize::from(feature.kept)) {
                // Only recourse needs more than the bin; it transforms the number later.
                to.scale = inside;
            } else {
                // A missing number has no linear part.
                write(row, if note == Note::Missing { 0.0 } else { transform.apply(inside) - centre });
            }
            #[allow(clippy::cast_possible_truncation)] // at most MAX_BINS
            let bin = feature
                .first_edges(edges, usize::from(bins).wrapping_sub(1))
                .map_or(0, |edges| bin(inside, edges) as u32);
            let bin_row = missing_row.wrapping_add(1).wrapping_add(bin);
            write(if note == Note::Missing { missing_row } else { bin_row }, 1.0);
            Ok(note)
        }
        Kind::Category { levels } => {
            let (code, note) = match value {
                Value::Level(found) if found >= levels => return Err(RecordError::LevelOutOfRange { found, levels }),
                Value::Level(code) => (code, Note::Usual),
                Value::Unseen => (levels, Note::Unseen),
                Value::Missing => (levels.wrapping_add(1), Note::Missing),
                Value::Number(_) => return Err(RecordError::NotANumber { feature: index }),
            };
            write(row.wrapping_add(u32::from(code)), 1.0);
            Ok(note)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::Model;

    /// age: number; hours-per-week: number of 4 bins; capital-gain: log1p, 2 bins; occupation: 3
    /// levels.
    fn model() -> Model<'static, 6, 4> {
        crate::golden()
    }

    #[test]
    fn an_unknown_feature_is_an_error() {
        let model = model();
        let mut record = model.record();
        for found in [
            record.set_number("agee", 1.0),
            record.set_number(FeatureIndex(4), 1.0),
            record.set_category(FeatureIndex(usize::MAX), "Sales"),
            record.set_level("", None),
            record.set_missing(FeatureIndex(5)),
        ] {
            assert_eq!(found, Err(RecordError::UnknownFeature));
        }
    }

    #[test]
    fn a_number_for_a_category_is_an_error() {
        let model = model();
        assert_eq!(model.record().set_number("occupation", 1.0), Err(RecordError::NotANumber { feature: 3 }));
    }

    #[test]
    fn a_level_for_a_number_is_an_error() {
        let model = model();
        let mut record = model.record();
        let expected = Err(RecordError::NotACategory { feature: 1 });
        assert_eq!(record.set_category("hours-per-week", "40"), expected);
        assert_eq!(record.set_level("hours-per-week", Some(0)), expected);
        assert_eq!(record.set_level("hours-per-week", None), expected);
    }

    #[test]
    fn a_code_past_the_levels_is_an_error() {
        let model = model();
        let mut record = model.record();
        for found in [3, 4, u16::MAX] {
            let expected = Err(RecordError::LevelOutOfRange { found, levels: 3 });
            assert_eq!(record.set_level("occupation", Some(found)), expected);
        }
    }

    #[test]
    fn an_error_leaves_the_record_as_it_was() {
        let model = model();
        let mut record = model.record();
        _ = record.set_level("occupation", Some(1)).unwrap();
        let before = record.clone();
        record.set_level("occupation", Some(3)).unwrap_err();
        record.set_number("occupation", 0.0).unwrap_err();
        assert_eq!((record.terms(), record.notes()), (before.terms(), before.notes()));
    }

    #[test]
    fn notes_say_what_became_of_each_value() {
        let model = model();
        let mut record = model.record();
        assert_eq!(record.notes(), [Note::Missing; 4]);
        for (value, note) in [
            (17.0, Note::Usual),
            (90.0, Note::Usual),
            (16.9, Note::Clamped),
            (f32::INFINITY, Note::Clamped),
            (f32::NEG_INFINITY, Note::Clamped),
            (f32::NAN, Note::Missing),
        ] {
            assert_eq!(record.set_number("age", value), Ok(note), "{value}");
            assert_eq!(record.notes(), [note, Note::Missing, Note::Missing, Note::Missing]);
        }
        assert_eq!(record.set_category("occupation", "Sales"), Ok(Note::Usual));
        assert_eq!(record.set_category("occupation", "sales"), Ok(Note::Unseen));
        assert_eq!(record.set_level("occupation", Some(2)), Ok(Note::Usual));
        assert_eq!(record.set_level("occupation", None), Ok(Note::Unseen));
        assert_eq!(record.set_missing("occupation"), Ok(Note::Missing));
    }

    #[test]
    fn setting_all_values_is_setting_each() {
        let model = model();
        let number = Value::Number;
        for values in [
            [number(40.0), number(39.5), number(999.0), Value::Level(2)],
            [number(-1.0), number(f32::NAN), number(f32::INFINITY), Value::Unseen],
            [Value::Missing, number(0.0), Value::Missing, Value::Missing],
        ] {
            let (mut all, mut each) = (model.record(), model.record());
            assert_eq!(all.set_all(&values), Ok(()));
            for (index, value) in values.into_iter().enumerate() {
                _ = each.set_value(FeatureIndex(index), value).unwrap();
            }
            assert_eq!((all.terms(), all.notes(), all.note_bits()), (each.terms(), each.notes(), each.note_bits()));
        }
    }

    #[test]
    fn values_that_do_not_fit_are_errors() {
        let model = model();
        let mut record = model.record();
        let mut values = [Value::Number(1.0), Value::Missing, Value::Missing, Value::Level(0), Value::Missing];
        let count = RecordError::WrongValueCount { found: 5, features: 4 };
        assert_eq!((record.set_all(&values), record.notes()), (Err(count), [Note::Missing; 4].as_slice()));
        let values = values.first_chunk_mut::<4>().unwrap();
        for (index, wrong, error) in [
            (1, Value::Level(0), RecordError::NotACategory { feature: 1 }),
            (1, Value::Unseen, RecordError::NotACategory { feature: 1 }),
            (3, Value::Number(1.0), RecordError::NotANumber { feature: 3 }),
            (3, Value::Level(3), RecordError::LevelOutOfRange { found: 3, levels: 3 }),
        ] {
            let right = core::mem::replace(values.get_mut(index).unwrap(), wrong);
            assert_eq!(record.set_all(values), Err(error));
            *values.get_mut(index).unwrap() = right;
        }
        assert_eq!(record.set_all(values), Ok(()));
    }

    /// Rows of the golden model: age 0-1, hours 2 linear, 3 missing, 4-7 bins, gain 8 linear, 9
    /// missing, 10-11 bins, occupation 12-14, 15 unseen, 16 missing.
    #[test]
    fn values_pick_their_rows() {
        let model = model();
        let mut record = model.record();
        let rows = |record: &Record<6>| record.terms().iter().map(|term| term.row).collect::<Vec<_>>();
        assert_eq!(rows(&record), [1, 2, 3, 8, 9, 16]);
        _ = record.set_number("age", 40.0).unwrap();
        _ = record.set_number("hours-per-week", 39.5).unwrap();
        _ = record.set_number("capital-gain", 999.0).unwrap();
        _ = record.set_category("occupation", "Prüfung").unwrap();
        assert_eq!(rows(&record), [0, 2, 6, 8, 10, 14]);
        let scales: Vec<_> = record.terms().iter().map(|term| term.scale).collect();
        assert_eq!(scales, [1.5, -1.0, 1.0, libm::log1pf(999.0) - 0.75, 1.0, 1.0]);
        _ = record.set_level("occupation", None).unwrap();
        assert_eq!(rows(&record), [0, 2, 6, 8, 10, 15]);
        record.clear();
        assert_eq!((rows(&record), record.terms().get(1).unwrap().scale), ([1, 2, 3, 8, 9, 16].to_vec(), 0.0));
    }

    #[test]
    fn names_resolve_once() {
        let model = model();
        let schema = model.schema();
        let names: Vec<_> = (0..5).filter_map(|index| schema.feature_name(index)).collect();
        assert_eq!(names, ["age", "hours-per-week", "capital-gain", "occupation"]);
        assert_eq!(schema.feature_index("occupation"), Ok(FeatureIndex(3)));
        assert_eq!(schema.feature_index("Occupation"), Err(RecordError::UnknownFeature));
        assert_eq!(schema.level_names(3).collect::<Vec<_>>(), ["Sales", "Craft-repair", "Prüfung"]);
        assert_eq!(schema.level_names(0).count() + schema.level_names(9).count(), 0);
        assert_eq!(schema.positive_name(), Some(">50K"));
    }
}
