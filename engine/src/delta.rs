//! Delta blobs (`.delta`), which turn one model file into another on devices in the field.
//! [`apply`] builds the new blob in the caller's memory; the trainer's `export` writes deltas.
//!
//! ```
//! use feamoe_engine::{Aligned, Model, delta};
//! # use feamoe_engine::include_model;
//! # static OLD: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.feamoe"));
//! # let received: &[u8] = &[];
//! let mut memory = Aligned([0_u8; 8192]); // a model is loaded from a multiple of 4
//! match delta::apply(OLD, received, &mut memory.0) {
//!     Ok(new) => assert!(Model::<16, 12>::load(new).is_ok()),
//!     Err(error) => assert!(matches!(error, delta::DeltaError::Frame(_))),
//! }
//! ```
//!
//! ```text
//! version 1, for models of float weights:          version 2, for models of integer weights:
//! byte 0        4         6          10            byte 0                         16
//!      +--------+---------+----------+---------+        +------------------------+---------+
//!      | "FEAD" | version | CRC-32   | payload |        | frame of magic "FEAD"  | payload |
//!      |        | u16     | u32      |         |        | (see crate::frame)     |         |
//!      +--------+---------+----------+---------+        +------------------------+---------+
//!
//! payload = Outline; in version 2 the bits of a weight of the old and of the new model (a byte
//!           each: 8, 16 or 32); then five byte strings: sources, runs, edits before the table,
//!           edits after it, bits
//! sources = for each expert of the new model, the expert of the old one that it derives from: a
//!           byte; 255 for none
//! runs    = for stretches of the new table's rows: their number, and where they start in the old
//!           table plus 1, 0 for nowhere: two varints each
//! edits   = literal byte string, copied from (in the old blob), bytes copied; repeated until the
//!           bytes outside the table are complete
//! bits    = for each new expert, first its gate lane, then its own lane, for each run, a block:
//!           k: 5 bits | shifted: 1 bit | shift: 32 bits, if shifted | the difference of each
//!           row's weight, except if k = 31: then all are 0
//! ```
//!
//! - The *table* is the bias and the weight rows of a float blob, the weight rows of an integer
//!   blob (see [`crate::format`] and [`crate::integer`]). Experts are side by side in its rows, and
//!   another number of experts means another stride. The table is therefore coded lane by lane,
//!   each from the lane of an expert of the old model. An unchanged lane takes 6 bits per run.
//! - Each weight is coded as the difference from its predecessor in the old table: for floats the
//!   difference of their bits as integers, for integers that of their values. A difference is
//!   mapped to an unsigned number (zigzag: 0, -1, 1, -2, ...) and written in a Rice code: the
//!   number shifted right by k, as that many ones and a zero, then its low k bits. After [`ESCAPE`]
//!   ones its 32 bits follow instead. Bits fill a byte from its low end.
//! - Weight rows are centred on the mean of all records (see [`crate::schema`]), which moves while
//!   learning continues, so the weights of a feature in a lane move together even if the expert is
//!   frozen. *shift*, an f32 or for integers an i32, is therefore added to each predecessor first.
//!   Zeros are the exception: they stand for values that no record had, and stay zero.
//! - The CRC covers all other bytes of the delta. The Outline identifies the old blob by its CRC
//!   and contains the new blob's header with its CRC, so the result is either the exact new blob or
//!   an error.
//! - For any bytes, there is no panic, and the work is proportional to the lengths of old blob,
//!   delta and new blob.
//!
//! Worked example, a block of two weights, the second of which is one step higher than before,
//! k = 0: `00000` `0` `0` `110`, which are the bytes `80 01` from the low end.

use core::fmt;

use serde::Serialize;

use crate::error::LoadError;
use crate::format::{self, Reader, check_header, stride};
use crate::frame::{self, FrameError};
use crate::limits::MAX_BLOB_BYTES;

/// First bytes of every delta.
pub const MAGIC: [u8; 4] = *b"FEAD";
/// The newest version of the format. Version 1 is for float weights, version 2 for integer weights.
pub const VERSION: u16 = 2;
/// Length of the header of version 1.
pub const HEADER_BYTES: usize = 10;
const _: () = assert!(MAGIC.len() + 2 + 4 == HEADER_BYTES);
/// The source of an expert without a predecessor.
pub const NO_SOURCE: u8 = u8::MAX;
/// The `k` of a block without differences.
pub const UNCHANGED: u32 = 31;
/// The number of ones after which the 32 bits of a difference follow.
pub const ESCAPE: u32 = 20;

/// The start of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outline<'a> {
    /// CRC-32 of the blob that the delta applies to.
    pub old_crc32: u32,
    /// The header of the new blob: [`crate::format::HEADER_BYTES`].
    pub header: &'a [u8],
    /// The table of the old blob.
    pub old: Table,
    /// The table of the new blob.
    pub new: Table,
}

impl<'a> Outline<'a> {
    fn take(reader: &mut Reader<'a>) -> Result<Self, LoadError> {
        let (old_crc32, header) = (reader.u32()?, reader.bytes()?);
        let mut table = || Ok(Table { at: reader.u32()?, rows: reader.u32()?, experts: reader.u32()? });
        Ok(Self { old_crc32, header, old: table()?, new: table()? })
    }
}

/// The position and size of the table in a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Offset in the blob, in bytes.
    pub at: u32,
    /// Number of rows, for floats including the bias.
    pub rows: u32,
    /// Number of experts, K, which determines the stride. 0 for a blob that is coded only by edits.
    pub experts: u32,
}

/// The type of a table's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Width {
    /// f32.
    F32,
    /// i16.
    I16,
    /// i8.
    I8,
}

impl Width {
    /// Returns the size of a weight in bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::F32 => 32,
            Self::I16 => 16,
            Self::I8 => 8,
        }
    }

    /// Returns the size of a weight in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        (self.bits() / 8) as usize
    }

    fn from_bits(bits: u8) -> Option<Self> {
        [Self::F32, Self::I16, Self::I8].into_iter().find(|width| width.bits() == bits)
    }

    /// Returns the weight at a byte offset: the bits of a float, or the value of an integer
    /// extended to 32 bits.
    #[must_use]
    pub fn read(self, blob: &[u8], at: usize) -> Option<u32> {
        let bytes = blob.get(at..)?;
        Some(match self {
            Self::F32 => u32::from_le_bytes(*bytes.first_chunk()?),
            Self::I16 => i32::from(i16::from_le_bytes(*bytes.first_chunk()?)).cast_unsigned(),
            Self::I8 => i32::from(bytes.first()?.cast_signed()).cast_unsigned(),
        })
    }

    /// Writes a weight to the start of `out`; `None` if it does not fit.
    fn write(self, weight: u32, out: &mut [u8]) -> Option<()> {
        let bytes = weight.to_le_bytes();
        let bytes = bytes.get(..self.bytes())?;
        put(out, bytes)?;
        (self.read(bytes, 0)? == weight).then_some(())
    }

    /// Returns the prediction of a weight from its predecessor, before the difference is added.
    #[must_use]
    pub fn predicted(self, before: u32, shift: Option<u32>) -> u32 {
        match (self, shift) {
            (_, None) => before,
            // A zero stands for a value that no record had.
            _ if before == 0 => 0,
            (Self::F32, Some(shift)) => (f32::from_bits(before) + f32::from_bits(shift)).to_bits(),
            (Self::I16 | Self::I8, Some(shift)) => before.wrapping_add(shift),
        }
    }
}

impl Table {
    /// Returns the offset of the table's end in its blob, in bytes; `None` if it overflows.
    #[must_use]
    pub fn end(&self, width: Width) -> Option<usize> {
        let bytes = stride(self.experts as usize).checked_mul(width.bytes())?.checked_mul(self.rows as usize)?;
        bytes.checked_add(self.at as usize)
    }

    /// Returns the byte offset of a weight of an expert in its blob, in the gate's lane or (`own`)
    /// in the expert's own lane; beyond the end of the table if there is none.
    #[must_use]
    pub fn weight(&self, width: Width, row: usize, expert: u32, own: bool) -> usize {
        let stride = stride(self.experts as usize);
        let own_lanes = match width {
            Width::F32 => self.experts as usize,
            Width::I16 | Width::I8 => stride / 2,
        };
        let lane = (expert as usize).wrapping_add(if own { own_lanes } else { 0 });
        let index = row.wrapping_mul(stride).wrapping_add(lane);
        index.wrapping_mul(width.bytes()).wrapping_add(self.at as usize)
    }
}

/// Why a delta was not applied.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DeltaError {
    /// The header does not fit the bytes.
    Frame(FrameError),
    /// The payload is not the encoding of a delta although the checksum matches; no exporter wrote
    /// it.
    Malformed,
    /// The old blob is damaged.
    Old(LoadError),
    /// The delta applies to another blob.
    OtherModel {
        /// CRC-32 of the old blob.
        found: u32,
        /// CRC-32 of the blob that the delta applies to.
        expected: u32,
    },
    /// The new blob does not fit into the given memory.
    OutputTooSmall {
        /// Bytes given.
        found: usize,
        /// Bytes of the new blob.
        expected: usize,
    },
    /// The result is not the blob that the delta declares.
    WrongResult(LoadError),
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(FrameError::WrongMagic { .. }) => f.write_str("not a feamoe delta: does not start with FEAD"),
            Self::Frame(error @ FrameError::UnsupportedVersion { .. }) => {
                write!(f, "delta of {error}; send the model itself")
            }
            Self::Frame(error @ FrameError::WrongChecksum { .. }) => {
                write!(f, "{error}; the delta is damaged, send it again")
            }
            Self::Frame(error) => write!(f, "delta {error}"),
            Self::Malformed => f.write_str("not the encoding of a delta"),
            Self::Old(_) => f.write_str("the old model is refused"),
            Self::OtherModel { found, expected } => {
                write!(
                    f,
                    "the delta applies to the model with CRC-32 {expected:08x}, but this one has {found:08x}; send the model itself"
                )
            }
            Self::OutputTooSmall { found, expected } => {
                write!(f, "the new model has {expected} bytes, but the given memory has {found}")
            }
            Self::WrongResult(_) => f.write_str("the delta does not give the model that it declares"),
        }
    }
}

impl core::error::Error for DeltaError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Old(error) | Self::WrongResult(error) => Some(error),
            _ => None,
        }
    }
}

/// Returns the header of version 1 for a payload.
#[must_use]
pub fn header(payload: &[u8]) -> [u8; HEADER_BYTES] {
    let ([m0, m1, m2, m3], [v0, v1]) = (MAGIC, 1_u16.to_le_bytes());
    let [c0, c1, c2, c3] = frame::crc32([&[m0, m1, m2, m3, v0, v1], payload]).to_le_bytes();
    [m0, m1, m2, m3, v0, v1, c0, c1, c2, c3]
}

/// Returns the header of version 2 for a payload; `None` if the payload exceeds [`MAX_BLOB_BYTES`].
#[must_use]
pub fn header_of_integers(payload: &[u8]) -> Option<[u8; frame::HEADER_BYTES]> {
    frame::seal(MAGIC, VERSION, 0, payload)
}

/// Applies `delta` to `old`: builds the new blob in `out`, and returns it. Its length and CRC are
/// those of the blob that the delta was made for. `out` must be aligned to 4 bytes for
/// [`crate::Model::load`], which still has to check the blob.
///
/// Cost: one pass over `old` and two over the delta and the new blob. No memory except `out`; stack
/// below 512 bytes.
///
/// # Errors
/// See [`DeltaError`]; the contents of `out` are then unspecified.
pub fn apply<'o>(old: &[u8], delta: &[u8], out: &'o mut [u8]) -> Result<&'o [u8], DeltaError> {
    let (version, payload) = payload(delta).map_err(DeltaError::Frame)?;
    let (_, found) = check_header(old).map_err(DeltaError::Old)?;
    let mut reader = Reader { blob: payload, at: 0 };
    let outline = Outline::take(&mut reader).map_err(|_| DeltaError::Malformed)?;
    let widths = widths(version, &mut reader).ok_or(DeltaError::Malformed)?;
    let expected = outline.old_crc32;
    if found != expected {
        return Err(DeltaError::OtherModel { found, expected });
    }
    let ([_, _, length, _], []) = outline.header.as_chunks() else { return Err(DeltaError::Malformed) };
    let expected = (u32::from_le_bytes(*length) as usize).saturating_add(format::HEADER_BYTES);
    if expected > MAX_BLOB_BYTES.saturating_add(format::HEADER_BYTES) {
        return Err(DeltaError::Malformed);
    }
    let found = out.len();
    let out = out.get_mut(..expected).ok_or(DeltaError::OutputTooSmall { found, expected })?;
    build(&outline, widths, &mut reader, old, out).ok_or(DeltaError::Malformed)?;
    check_header(out).map_err(DeltaError::WrongResult)?;
    Ok(out)
}

/// Checks the header; returns the version and the payload.
fn payload(delta: &[u8]) -> Result<(u16, &[u8]), FrameError> {
    let version = frame::version(delta, HEADER_BYTES, MAGIC, VERSION)?;
    if version > 1 {
        return Ok((version, frame::open(delta, MAGIC, VERSION)?.payload));
    }
    let (header, payload) = delta.split_first_chunk::<HEADER_BYTES>().unwrap_or((&[0; HEADER_BYTES], &[]));
    let [head @ .., c0, c1, c2, c3] = header;
    frame::check(frame::crc32([head, payload]), [*c0, *c1, *c2, *c3])?;
    Ok((version, payload))
}

/// Returns the types of the weights of the old and the new table.
fn widths(version: u16, reader: &mut Reader<'_>) -> Option<[Width; 2]> {
    if version == 1 {
        return Some([Width::F32; 2]);
    }
    let [old, new] = *reader.take(2).ok()?.first_chunk()?;
    Some([Width::from_bits(old)?, Width::from_bits(new)?])
}

/// Writes the new blob; `None` if the delta is malformed.
fn build(
    outline: &Outline<'_>,
    [from_width, to_width]: [Width; 2],
    reader: &mut Reader<'_>,
    old: &[u8],
    out: &mut [u8],
) -> Option<()> {
    let mut part = || reader.bytes().ok();
    let (sources, runs, before, after, bits) = (part()?, part()?, part()?, part()?, part()?);
    let Outline { old: from, new: to, header, .. } = outline;
    if reader.at != reader.blob.len() || sources.len() != to.experts as usize {
        return None;
    }
    let end = to.end(to_width)?;
    let (head, tail) = out.split_at_mut_checked(end)?;
    let (head, table) = head.split_at_mut_checked(to.at as usize)?;
    table.fill(0);
    edit(put(head, header)?, before, old)?;
    edit(tail, after, old)?;
    let mut bits = Bits { bytes: bits, at: 0 };
    for (expert, source) in (0_u32..).zip(sources) {
        for own in [false, true] {
            let mut row = 0;
            let mut runs = Reader { blob: runs, at: 0 };
            while runs.at != runs.blob.len() {
                let (rows, start) = (runs.u32().ok()?, runs.u32().ok()?);
                let block = Block::take(to_width, &mut bits)?;
                // The rows are bounded by the table, so no run can be longer.
                for index in 0..rows as usize {
                    let before = match start.checked_sub(1) {
                        Some(start) if *source != NO_SOURCE => {
                            let row = (start as usize).wrapping_add(index);
                            from_width.read(old, from.weight(from_width, row, u32::from(*source), own))?
                        }
                        _ => 0,
                    };
                    let at = to.weight(to_width, row, expert, own);
                    let weight = block.weight(before, &mut bits)?;
                    to_width.write(weight, out.get_mut(at..end)?)?;
                    row = row.wrapping_add(1);
                }
            }
            if row != to.rows as usize {
                return None;
            }
        }
    }
    (bits.at.div_ceil(8) == bits.bytes.len()).then_some(())
}

/// Copies bytes to the start of `out` and returns the rest of it; `None` if they do not fit.
fn put<'o>(out: &'o mut [u8], bytes: &[u8]) -> Option<&'o mut [u8]> {
    let (to, rest) = out.split_at_mut_checked(bytes.len())?;
    to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Some(rest)
}

/// Fills `out` with edits; both must end together.
fn edit(mut out: &mut [u8], edits: &[u8], old: &[u8]) -> Option<()> {
    let mut reader = Reader { blob: edits, at: 0 };
    while reader.at != edits.len() {
        out = put(out, reader.bytes().ok()?)?;
        let (from, length) = (reader.u32().ok()? as usize, reader.u32().ok()? as usize);
        out = put(out, old.get(from..)?.get(..length)?)?;
    }
    out.is_empty().then_some(())
}

/// The common parameters of the weights of one lane in one run.
struct Block {
    width: Width,
    k: u32,
    shift: Option<u32>,
}

impl Block {
    fn take(width: Width, bits: &mut Bits<'_>) -> Option<Self> {
        let k = bits.take(5)?;
        let shift = if bits.take(1)? == 1 { Some(bits.take(32)?) } else { None };
        Some(Self { width, k, shift })
    }

    /// Returns a weight, given its predecessor.
    fn weight(&self, before: u32, bits: &mut Bits<'_>) -> Option<u32> {
        let predicted = self.width.predicted(before, self.shift);
        if self.k == UNCHANGED {
            return Some(predicted);
        }
        let mut ones = 0;
        while ones < ESCAPE && bits.take(1)? == 1 {
            ones = ones.wrapping_add(1);
        }
        let zigzag = if ones == ESCAPE { bits.take(32)? } else { ones.wrapping_shl(self.k) | bits.take(self.k)? };
        Some(predicted.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()))
    }
}

/// Reads bits from bytes, starting at the low end of each.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits taken.
    at: usize,
}

impl Bits<'_> {
    /// Takes `count` bits, 32 at most.
    #[inline(never)]
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            let byte = u32::from(*self.bytes.get(self.at >> 3)?);
            value |= (byte >> (self.at & 7) & 1) << (place & 31);
            self.at = self.at.wrapping_add(1);
        }
        Some(value)
    }
}
