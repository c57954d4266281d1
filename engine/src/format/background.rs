//! The background: records that stand for the data a model learned from, kept in the blob as raw values. Shapley values of a record are taken against
//! them (see [`crate::attribution::Background`]); scores need none, so a copy for a device may go without.
//!
//! ```text
//! section = number of records (1 to 65,535, a varint), the records one after the other, each feature by feature:
//!           a number as f32: as it was in the data, even outside the training range; the canonical NaN where it is missing
//!           a category as u16: a level's code; `levels` for one that training had not seen, `levels + 1` where it is missing
//! ```
//!
//! Little endian, without padding. Worked example, one record of a number 1.0 and a missing category of two levels: `01` `00 00 80 3f` `03 00`.

use crate::error::{LoadError, LoadErrorKind, RecordError};
use crate::format::Reader;
use crate::limits::MAX_BACKGROUND_ROWS;
use crate::model::Model;
use crate::record::{FeatureIndex, Record};
use crate::schema::{Feature, Kind};

/// What stands for a missing number: the quiet NaN without sign or payload.
pub const MISSING_NUMBER: f32 = f32::from_bits(0x7fc0_0000);

/// A raw value of a record: what [`Record::set_value`] sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number; NaN is missing.
    Number(f32),
    /// A level's code.
    Level(u16),
    /// A level that training had not seen.
    Unseen,
    /// Neither number nor level.
    Missing,
}

impl Value {
    /// Takes the value of a feature of this kind off the bytes: with `None` for bytes that are no such value.
    fn take(kind: Kind, bytes: &[u8]) -> Option<(Option<Self>, &[u8])> {
        Some(match kind {
            Kind::Number { .. } => {
                let (bytes, rest) = bytes.split_first_chunk()?;
                let value = match f32::from_le_bytes(*bytes) {
                    number if number.is_finite() => Some(Self::Number(number)),
                    number if number.to_bits() == MISSING_NUMBER.to_bits() => Some(Self::Missing),
                    _ => None,
                };
                (value, rest)
            }
            Kind::Category { levels } => {
                let (bytes, rest) = bytes.split_first_chunk()?;
                let value = match u16::from_le_bytes(*bytes) {
                    code if code < levels => Some(Self::Level(code)),
                    code if code == levels => Some(Self::Unseen),
                    code if code == levels.wrapping_add(1) => Some(Self::Missing),
                    _ => None,
                };
                (value, rest)
            }
        })
    }
}

/// Returns the length of a record in bytes, above 0 for a model, which has features.
fn record_bytes(features: &[Feature]) -> usize {
    features.iter().map(|feature| feature.kind.value_bytes()).sum()
}

/// Checks a section; returns its records. Errors are placed from the section's start.
pub(crate) fn check<'a>(section: &'a [u8], features: &[Feature]) -> Result<&'a [u8], LoadError> {
    let mut reader = Reader { blob: section, at: 0 };
    let rows = reader.u32()?;
    if rows == 0 {
        return Err(LoadError { kind: LoadErrorKind::NotCanonical, at: 0 });
    }
    let records = section.get(reader.at..).unwrap_or_default();
    let rows = rows as usize;
    if rows > MAX_BACKGROUND_ROWS || rows.checked_mul(record_bytes(features)) != Some(records.len()) {
        return Err(reader.error(LoadErrorKind::Malformed));
    }
    let mut rest = records;
    for record in 0..rows {
        for (index, feature) in features.iter().enumerate() {
            let at = section.len().wrapping_sub(rest.len());
            let taken = Value::take(feature.kind, rest);
            let Some((Some(_), after)) = taken else {
                return Err(LoadError { kind: LoadErrorKind::InvalidBackground { record, feature: index }, at });
            };
            rest = after;
        }
    }
    Ok(records)
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Returns the number of background records: 0 where the blob has none, at most [`crate::limits::MAX_BACKGROUND_ROWS`].
    ///
    /// Any number of the first ones is a sample of the data too: their order is drawn.
    #[must_use]
    pub fn background_rows(&self) -> usize {
        self.background.len().checked_div(record_bytes(self.schema().features())).unwrap_or(0)
    }

    /// Returns the values of background record `row`, counted from 0, feature by feature; `None` where there is no such record.
    pub fn background_values(&self, row: usize) -> Option<impl Iterator<Item = Value>> {
        let features = self.schema().features();
        let mut rest = row.checked_mul(record_bytes(features)).and_then(|start| self.background.get(start..))?;
        // Only the first feature can lack its bytes: `load` has counted and checked them.
        let mut values = features.iter().map_while(move |feature| {
            let (value, after) = Value::take(feature.kind, rest)?;
            rest = after;
            value
        });
        let first = values.next()?;
        Some(core::iter::once(first).chain(values))
    }

    /// Sets every value of `record` to those of background record `row`, counted from 0. Takes the time of setting each value by its index; no memory.
    ///
    /// # Errors
    /// [`RecordError::NoBackgroundRow`]; [`RecordError::OtherModel`] for a record that another model made. Then `record` is as it was.
    pub fn background_record(&self, row: usize, record: &mut Record<'_, FEATURES>) -> Result<(), RecordError> {
        if !self.made(record) {
            return Err(RecordError::OtherModel);
        }
        let missing = RecordError::NoBackgroundRow { found: row, rows: self.background_rows() };
        for (index, value) in self.background_values(row).ok_or(missing)?.enumerate() {
            record.set_value(FeatureIndex(index), value)?;
        }
        Ok(())
    }
}
