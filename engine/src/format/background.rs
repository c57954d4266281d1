//! The background section: records that represent the training data, stored in the blob as raw
//! values. Shapley values of a record are computed against them (see
//! [`crate::attribution::Background`]). Scores do not need them, so a copy for a device may leave
//! them out.
//!
//! ```text
//! section = number of records (1 to 65,535, a varint), then the records, each feature by feature:
//!           a number as f32: as in the data, even outside the training range;
//!                            the canonical NaN if it is missing
//!           a category as u16: the code of a level; `levels` for a level unseen in training,
//!                              `levels + 1` if it is missing
//! ```
//!
//! Little endian, without padding. Worked example, one record of a number 1.0 and a missing
//! category of two levels: `01` `00 00 80 3f` `03 00`.

use super::kind::Kind;
use super::{Kinds, Reader};
use crate::error::{LoadError, LoadErrorKind};
use crate::limits::MAX_BACKGROUND_ROWS;

/// The value for a missing number: the quiet NaN without sign or payload.
pub const MISSING_NUMBER: f32 = f32::from_bits(0x7fc0_0000);

/// Checks a section and returns its records. `record_bytes` is the size of a record. Error offsets
/// are relative to the start of the section. Cost: one pass over the bytes.
pub(super) fn check<'a>(section: &'a [u8], record_bytes: usize, kinds: Kinds<'_>) -> Result<&'a [u8], LoadError> {
    let mut reader = Reader { blob: section, at: 0 };
    let rows = reader.u32()?;
    if rows == 0 {
        return Err(LoadError { kind: LoadErrorKind::NotCanonical, at: 0 });
    }
    let records = section.get(reader.at..).unwrap_or_default();
    let rows = rows as usize;
    if rows > MAX_BACKGROUND_ROWS || rows.checked_mul(record_bytes) != Some(records.len()) {
        return Err(reader.error(LoadErrorKind::Malformed));
    }
    // Feature by feature, so that each kind is decoded only once.
    let mut start = 0_usize;
    for (feature, kind) in kinds.enumerate() {
        // Never 0, since a record has a feature, but the compiler does not know that.
        for (record, bytes) in records.chunks(record_bytes.max(1)).enumerate() {
            if !is_value(kind, bytes.get(start..).unwrap_or_default()) {
                let at = reader.at.wrapping_add(record.wrapping_mul(record_bytes)).wrapping_add(start);
                return Err(LoadError { kind: LoadErrorKind::InvalidBackground { record, feature }, at });
            }
        }
        start = start.wrapping_add(kind.value_bytes());
    }
    Ok(records)
}

/// Returns whether the bytes start with a value of a feature of this kind.
fn is_value(kind: Kind, bytes: &[u8]) -> bool {
    match kind {
        Kind::Number { .. } => bytes.first_chunk().is_some_and(|bytes| {
            let number = f32::from_le_bytes(*bytes);
            number.is_finite() || number.to_bits() == MISSING_NUMBER.to_bits()
        }),
        Kind::Category { levels } => {
            bytes.first_chunk().is_some_and(|bytes| u16::from_le_bytes(*bytes) <= levels.wrapping_add(1))
        }
    }
}
