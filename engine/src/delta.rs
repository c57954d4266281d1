//! Delta blobs (`.delta`): what turns one model file into another, for devices in the field. [`apply`] builds the new blob in the caller's memory; the
//! writer is the trainer's `export`.
//!
//! ```
//! use feamoe_engine::{Aligned, Model, delta};
//! # use feamoe_engine::include_model;
//! # static OLD: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/v1.feamoe"));
//! # let received: &[u8] = &[];
//! let mut memory = Aligned([0_u8; 8192]); // a model is loaded from a multiple of 4
//! match delta::apply(OLD, received, &mut memory.0) {
//!     Ok(new) => assert!(Model::<16, 12>::load(new).is_ok()),
//!     Err(error) => assert_eq!(error, delta::DeltaError::Truncated { found: 0, expected: delta::HEADER_BYTES }),
//! }
//! ```
//!
//! ```text
//! byte 0        4         6          10
//!      +--------+---------+----------+---------------------------+
//!      | "FEAD" | version | CRC-32   | payload: postcard         |
//!      |        | u16     | u32      |                           |
//!      +--------+---------+----------+---------------------------+
//!
//! payload = Outline, then five byte strings: sources, runs, edits before the table, edits after it, bits
//! sources = for each expert of the new model the expert of the old one that it is told from, a byte; 255 for none
//! runs    = for stretches of the new table's rows: their number, and where they start in the old table plus 1, 0 for nowhere: two varints each
//! edits   = literal byte string, copied from (in the old blob), bytes copied; again until the bytes outside the table are complete
//! bits    = for each new expert, first its gate lane, then its own lane, for each run, a block:
//!           k: 5 bits | shifted: 1 bit | shift: f32, where shifted | the difference of each row's weight, unless k = 31: then all are 0
//! ```
//!
//! - The *table* is the bias and the rows of a blob, drawn in [`crate::blob`]. Experts lie side by side in its rows, and another number of experts is another
//!   stride: so it is told lane by lane, each from the lane of an expert of the old model. One that did not change takes 6 bits a run and lane.
//! - A weight is told from the one before it by the difference of their bits as integers, zigzag (0, -1, 1, -2, ...), in a Rice code: the difference shifted
//!   right by k, as so many ones and a zero, then its low k bits; after [`ESCAPE`] ones its 32 bits follow instead. Bits are taken from the low end of a byte.
//! - Rows are centred on the mean of all records (see [`crate::schema`]), which moves while learning goes on: the weights of a feature in a lane then move
//!   together even where the expert is frozen. *shift* is added to each of them first, but for zeros, which stand for what no record had.
//! - The CRC covers all other bytes of the delta. The Outline names the old blob by its CRC and holds the new blob's header with its CRC: so either the very
//!   bytes of the new blob come out, or an error.
//! - Whatever the bytes: no panic, and work in proportion to the lengths of old blob, delta and new blob.
//!
//! Worked example, a block of two weights of which the second moved by one step up, k = 0: `00000` `0` `0` `110`, the byte `80 01` from the low end.

use core::fmt;

use serde::Serialize;

use crate::blob::{self, CHECKSUM, check_header};
use crate::error::LoadError;
use crate::limits::MAX_BLOB_BYTES;
use crate::mixture::stride;
use crate::reader::Reader;

/// First bytes of every delta.
pub const MAGIC: [u8; 4] = *b"FEAD";
/// The version of the format this crate reads and writes. Version 1: the first.
pub const VERSION: u16 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 10;
const _: () = assert!(MAGIC.len() + 2 + 4 == HEADER_BYTES);
/// The source of an expert that is told from zeros.
pub const NO_SOURCE: u8 = u8::MAX;
/// The `k` of a block without differences.
pub const UNCHANGED: u32 = 31;
/// Ones after which a difference stands as it is.
pub const ESCAPE: u32 = 20;

/// What stands first in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outline<'a> {
    /// CRC-32 of the blob that the delta applies to.
    pub old_crc32: u32,
    /// The header of the new blob.
    pub header: &'a [u8],
    /// Where the old blob has its table.
    pub old: Table,
    /// Where the new one has it.
    pub new: Table,
}

impl<'a> Outline<'a> {
    fn take(reader: &mut Reader<'a>) -> Result<Self, LoadError> {
        let (old_crc32, header) = (reader.u32()?, reader.bytes()?);
        let mut table = || Ok(Table { at: reader.u32()?, rows: reader.u32()?, experts: reader.u32()? });
        Ok(Self { old_crc32, header, old: table()?, new: table()? })
    }
}

/// Where a blob has its bias and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Offset in the blob, in bytes.
    pub at: u32,
    /// Rows, the bias among them.
    pub rows: u32,
    /// Experts, K: they tell the stride. 0 for a blob whose table is told by edits.
    pub experts: u32,
}

impl Table {
    /// Returns the offset of the table's end in its blob, in bytes; `None` past what a `usize` holds.
    #[must_use]
    pub fn end(&self) -> Option<usize> {
        let bytes = stride(self.experts as usize).checked_mul(4)?.checked_mul(self.rows as usize)?;
        bytes.checked_add(self.at as usize)
    }

    /// Returns the offset of a weight in its blob, in bytes: of an expert in the gate's lane or (`own`) its own. Past the table's end where there is none.
    fn weight(&self, row: usize, expert: u32, own: bool) -> usize {
        let lane = expert.wrapping_add(if own { self.experts } else { 0 }) as usize;
        let index = row.wrapping_mul(stride(self.experts as usize)).wrapping_add(lane);
        index.wrapping_mul(4).wrapping_add(self.at as usize)
    }
}

/// Why a delta was not applied.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DeltaError {
    /// Shorter than its header.
    Truncated {
        /// Bytes there are.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// Does not start with `FEAD`.
    WrongMagic,
    /// Of a format version this reader does not know.
    UnsupportedVersion {
        /// The delta's version.
        found: u16,
        /// The version this reader knows.
        expected: u16,
    },
    /// The checksum does not match: the delta was cut or damaged.
    WrongChecksum {
        /// CRC-32 of the bytes there are.
        found: u32,
        /// CRC-32 the header declares.
        expected: u32,
    },
    /// Not the encoding of a delta, though its checksum matches: no exporter wrote it.
    Malformed,
    /// The old blob is damaged.
    Old(LoadError),
    /// The delta was made for another blob.
    OtherModel {
        /// CRC-32 of the old blob.
        found: u32,
        /// CRC-32 of the blob that the delta applies to.
        expected: u32,
    },
    /// The new blob does not fit into the memory given.
    OutputTooSmall {
        /// Bytes given.
        found: usize,
        /// Bytes of the new blob.
        expected: usize,
    },
    /// What came out is not the blob that the delta declares.
    WrongResult(LoadError),
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { found, expected } => {
                write!(f, "delta ends after {found} bytes, its header has {expected}")
            }
            Self::WrongMagic => f.write_str("not a feamoe delta: does not start with FEAD"),
            Self::UnsupportedVersion { found, expected } => {
                write!(f, "delta of format version {found}, this build reads {expected}: send the model itself")
            }
            Self::WrongChecksum { found, expected } => {
                write!(f, "checksum {found:08x}, header says {expected:08x}: the delta is damaged, send it again")
            }
            Self::Malformed => f.write_str("not the encoding of a delta"),
            Self::Old(error) => write!(f, "the model to change: {error}"),
            Self::OtherModel { found, expected } => {
                write!(
                    f,
                    "the delta changes the model with CRC-32 {expected:08x}, this one has {found:08x}: send the model itself"
                )
            }
            Self::OutputTooSmall { found, expected } => {
                write!(f, "the new model has {expected} bytes, the memory given {found}")
            }
            Self::WrongResult(error) => write!(f, "the delta does not give the model it declares: {error}"),
        }
    }
}

impl core::error::Error for DeltaError {}

/// Returns the header that goes before a payload.
#[must_use]
pub fn header(payload: &[u8]) -> [u8; HEADER_BYTES] {
    let [m0, m1, m2, m3] = MAGIC;
    let [v0, v1] = VERSION.to_le_bytes();
    let [c0, c1, c2, c3] = checksum([m0, m1, m2, m3, v0, v1], payload).to_le_bytes();
    [m0, m1, m2, m3, v0, v1, c0, c1, c2, c3]
}

fn checksum(head: [u8; 6], payload: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(&head);
    digest.update(payload);
    digest.finalize()
}

/// Builds in `out` the blob into which `delta` turns `old`, and returns it: byte by byte the one that the delta was made of, by its length and CRC. `out`
/// must start on a multiple of 4 for [`crate::Model::load`] to take it, which has to check it still.
///
/// Cost: one pass over `old` and two over the delta and the new blob. No memory but `out`; stack under 512 bytes.
///
/// # Errors
/// See [`DeltaError`]; then `out` holds nothing of use.
pub fn apply<'o>(old: &[u8], delta: &[u8], out: &'o mut [u8]) -> Result<&'o [u8], DeltaError> {
    let payload = payload(delta)?;
    let (_, found) = check_header(old).map_err(DeltaError::Old)?;
    let mut reader = Reader { blob: payload, at: 0 };
    let outline = Outline::take(&mut reader).map_err(|_| DeltaError::Malformed)?;
    let expected = outline.old_crc32;
    if found != expected {
        return Err(DeltaError::OtherModel { found, expected });
    }
    let [_, _, length, _] = outline.header.as_chunks().0 else { return Err(DeltaError::Malformed) };
    let expected = (u32::from_le_bytes(*length) as usize).saturating_add(blob::HEADER_BYTES);
    if expected > MAX_BLOB_BYTES.saturating_add(blob::HEADER_BYTES) {
        return Err(DeltaError::Malformed);
    }
    let found = out.len();
    let out = out.get_mut(..expected).ok_or(DeltaError::OutputTooSmall { found, expected })?;
    build(&outline, &mut reader, old, out).ok_or(DeltaError::Malformed)?;
    check_header(out).map_err(DeltaError::WrongResult)?;
    Ok(out)
}

/// Checks what stands before the payload; returns the payload.
fn payload(delta: &[u8]) -> Result<&[u8], DeltaError> {
    let Some((header, payload)) = delta.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DeltaError::Truncated { found: delta.len(), expected: HEADER_BYTES });
    };
    let [m0, m1, m2, m3, v0, v1, c0, c1, c2, c3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(DeltaError::WrongMagic);
    }
    let found = u16::from_le_bytes([v0, v1]);
    if found != VERSION {
        return Err(DeltaError::UnsupportedVersion { found, expected: VERSION });
    }
    let (found, expected) = (checksum([m0, m1, m2, m3, v0, v1], payload), u32::from_le_bytes([c0, c1, c2, c3]));
    if found != expected {
        return Err(DeltaError::WrongChecksum { found, expected });
    }
    Ok(payload)
}

/// Writes the new blob; `None` where the delta makes no sense.
fn build(outline: &Outline<'_>, reader: &mut Reader<'_>, old: &[u8], out: &mut [u8]) -> Option<()> {
    let mut part = || reader.bytes().ok();
    let (sources, runs, before, after, bits) = (part()?, part()?, part()?, part()?, part()?);
    let Outline { old: from, new: to, header, .. } = outline;
    if reader.at != reader.blob.len() || sources.len() != to.experts as usize {
        return None;
    }
    let (head, tail) = out.split_at_mut_checked(to.end()?)?;
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
                let block = Block::take(&mut bits)?;
                // The table bounds the rows, so that no run can be longer than it.
                for index in 0..rows as usize {
                    let before = match start.checked_sub(1) {
                        Some(start) if *source != NO_SOURCE => {
                            let at = from.weight((start as usize).wrapping_add(index), u32::from(*source), own);
                            u32::from_le_bytes(*old.get(at..)?.first_chunk()?)
                        }
                        _ => 0,
                    };
                    let at = to.weight(row, expert, own);
                    let weight = block.weight(before, &mut bits)?;
                    put(out.get_mut(at..to.end()?)?, &weight.to_le_bytes())?;
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

/// Copies bytes to the start of `out`; returns the rest of it, `None` where they do not fit.
fn put<'o>(out: &'o mut [u8], bytes: &[u8]) -> Option<&'o mut [u8]> {
    let (to, rest) = out.split_at_mut_checked(bytes.len())?;
    to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Some(rest)
}

/// Fills `out` by edits, to its end and theirs.
fn edit(mut out: &mut [u8], edits: &[u8], old: &[u8]) -> Option<()> {
    let mut reader = Reader { blob: edits, at: 0 };
    while reader.at != edits.len() {
        out = put(out, reader.bytes().ok()?)?;
        let (from, length) = (reader.u32().ok()? as usize, reader.u32().ok()? as usize);
        out = put(out, old.get(from..)?.get(..length)?)?;
    }
    out.is_empty().then_some(())
}

/// What the weights of one lane in one run have in common.
struct Block {
    k: u32,
    shift: Option<f32>,
}

impl Block {
    fn take(bits: &mut Bits<'_>) -> Option<Self> {
        let k = bits.take(5)?;
        let shift = if bits.take(1)? == 1 { Some(f32::from_bits(bits.take(32)?)) } else { None };
        Some(Self { k, shift })
    }

    /// Returns the bits of a weight, by those of the one before.
    fn weight(&self, before: u32, bits: &mut Bits<'_>) -> Option<u32> {
        let predicted = predicted(before, self.shift);
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

/// Returns the bits of a weight as a delta predicts it, before its difference is added.
#[must_use]
pub fn predicted(before: u32, shift: Option<f32>) -> u32 {
    match shift {
        Some(shift) if before != 0 => (f32::from_bits(before) + shift).to_bits(),
        _ => before,
    }
}

/// Takes bits off bytes, from the low end of each.
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
