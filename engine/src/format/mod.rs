//! The model file, format version 1 (`.feamoe`): layout, checks and reader. The writer is the trainer's `export`, on the same types.
//!
//! ```text
//! byte 0        4         6        8              12         16
//!      +--------+---------+--------+--------------+----------+---------------------------------+
//!      | "FEAM" | version | flags  | payload      | CRC-32   | payload: one postcard message   |
//!      |        | u16     | u16    | length, u32  | u32      |                                 |
//!      +--------+---------+--------+--------------+----------+---------------------------------+
//!
//! payload = Description, features x Kind, one byte string per set flag (lowest bit first),
//!           padding byte string (0..=3 zero bytes), values byte string
//! values  = f32: bias row, the rows of each feature, the bin edges of each feature; starts on a multiple of 4
//! ```
//!
//! - Integers of the header are little endian; postcard is little endian by definition. So are the values: a big-endian target copies them.
//! - The CRC (ISO-HDLC, as in zip) covers bytes 0..12 and the payload, so that a flipped flag is found like any other bit. One more than the
//!   payload alone: a flag decides how the payload is read.
//! - Flags: one bit per optional part of the payload. Bits 0..8 are *mandatory*: a reader that does not know one refuses the blob. Bits 8..16 are
//!   *optional*: an unknown one is passed over by its length. [`FLAG_INTEGER`], [`FLAG_NAMES`], [`FLAG_BACKGROUND`] and [`FLAG_DEVIATIONS`] are known today.
//!   With [`FLAG_INTEGER`] the values are integers, drawn in [`crate::integer`].
//! - A row is the [`crate::mixture::stride`] of the experts: gate lanes, expert lanes, zeros. Weights are in log2 units and centred (see
//!   [`crate::schema`]). [`crate::Model::load`] uses the values in place: nothing is copied. They must then lie on a multiple of 4 in memory: a reader of
//!   unaligned bytes costs 28 % more instructions on a Cortex-M4F in every score, and `include_model!` makes it unnecessary. Where they cannot
//!   lie so, [`crate::Model::load_into`] copies them.
//! - Every float is finite (no NaN), no sum of a logit can overflow ([`crate::limits::MAX_REACH`]), every length exact, every varint the shortest: a model has
//!   one encoding. Nothing is decoded before length and CRC were checked, and nothing is kept on failure.
//!
//! Worked example, `Kind::Category { levels: 300 }`: `01` (variant) `ac 02` (varint 300).

pub mod background;
mod reader;

use bytemuck::try_cast_slice;
use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};

use crate::error::{LoadError, LoadErrorKind};
use crate::integer;
use crate::limits::{MAX_BINS, MAX_BLOB_BYTES, MAX_EXPERTS, MAX_FEATURES, MAX_LEVELS};
use crate::mixture::stride;
use crate::schema::{Feature, Kind, Transform};
pub(crate) use reader::Reader;

/// First bytes of every blob.
pub const MAGIC: [u8; 4] = *b"FEAM";
/// The format version this crate reads and writes. Version 1: the first.
pub const VERSION: u16 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 16;
/// Offset of the flags in the header.
pub const FLAGS_AT: usize = 6;
/// Offset of the CRC in the header: the CRC covers what stands before it and after it.
const CRC_AT: usize = 12;
const _: () = assert!(MAGIC.len() + 2 == FLAGS_AT && FLAGS_AT + 2 + 4 == CRC_AT && CRC_AT + 4 == HEADER_BYTES);

/// Flags of sections that a reader must know.
pub const MANDATORY_FLAGS: u16 = 0x00ff;
/// The integer section, drawn in [`crate::integer`]: weights are integers, for [`crate::integer::Model`]. Since 0.3.
pub const FLAG_INTEGER: u16 = 1 << 0;
/// The names section: the favourable outcome's name, then each feature's name followed by its levels' names, all as strings.
pub const FLAG_NAMES: u16 = 1 << 8;
/// The background section, drawn in [`crate::format::background`]: records that stand for the training data. Since 0.2.
pub const FLAG_BACKGROUND: u16 = 1 << 9;
/// The deviations section: an f32 for each feature, the standard deviation of a number after its transform over the training rows, above 0; 0 for a category.
/// Since 0.2: it is what [`crate::recourse`] measures distances in.
pub const FLAG_DEVIATIONS: u16 = 1 << 10;
/// Sections this reader knows.
const KNOWN_FLAGS: u16 = FLAG_INTEGER | FLAG_NAMES | FLAG_BACKGROUND | FLAG_DEVIATIONS;

/// On a device by shifting bit by bit: a table takes 1 kB of flash to save some milliseconds of a start.
#[cfg(target_os = "none")]
pub(crate) const CHECKSUM: Crc<u32, crc::NoTable> = Crc::<u32, crc::NoTable>::new(&CRC_32_ISO_HDLC);
#[cfg(not(target_os = "none"))]
pub(crate) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What stands first in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Number of experts, K.
    pub experts: u8,
    /// A record is decided favourably when `p >= threshold`; inside (0, 1).
    pub threshold: f32,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// Number of features; so many [`Kind`]s follow.
    pub features: u16,
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Records it learned from, repeated passes counted again.
    pub training_rows: u64,
    /// SHA-256 of the training files' bytes, in the order they were read.
    pub data_sha256: [u8; 32],
    /// Seed of the run.
    pub seed: u64,
    /// Version of the trainer: major, minor, patch.
    pub trainer_version: (u16, u16, u16),
}

/// Returns the checksum that a header must carry: of its own bytes before the CRC, and of the payload.
#[must_use]
pub fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(header.get(..CRC_AT).unwrap_or(header));
    digest.update(payload);
    digest.finalize()
}

/// Returns the header of a blob with these flags and payload, or `None` where the payload is past [`MAX_BLOB_BYTES`].
#[must_use]
pub fn header(flags: u16, payload: &[u8]) -> Option<[u8; HEADER_BYTES]> {
    header_of(MAGIC, VERSION, flags, payload)
}

/// Returns the header of whatever is laid out like a blob.
pub(crate) fn header_of(magic: [u8; 4], version: u16, flags: u16, payload: &[u8]) -> Option<[u8; HEADER_BYTES]> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_BLOB_BYTES)?;
    let mut header = [0; HEADER_BYTES];
    let (head, crc) = header.split_at_mut_checked(CRC_AT)?;
    for (to, from) in head
        .iter_mut()
        .zip(magic.into_iter().chain(version.to_le_bytes()).chain(flags.to_le_bytes()).chain(length.to_le_bytes()))
    {
        *to = from;
    }
    for (to, from) in crc.iter_mut().zip(checksum(head, payload).to_le_bytes()) {
        *to = from;
    }
    Some(header)
}

/// The parts of a blob that passed every check but those of single values: they lie in place or are copied first.
pub(crate) struct Parts<'a, const FEATURES: usize> {
    pub description: Description,
    pub features: heapless::Vec<Feature, FEATURES>,
    pub names: Option<Names<'a>>,
    /// The background records, one after the other, or none.
    pub background: &'a [u8],
    /// One f32 a feature, or none.
    pub deviations: &'a [u8],
    /// How the weights are written, where they are integers.
    pub integer: Option<integer::Format>,
    /// Bias, rows and edges, as many as the description says; unchecked but for that.
    pub values: &'a [u8],
    /// Where they begin.
    pub values_at: usize,
    pub crc32: u32,
}

/// The values of a blob, checked.
pub(crate) struct Values<'a> {
    pub bias: &'a [f32],
    pub rows: &'a [f32],
    pub edges: &'a [f32],
}

/// The strings of the names section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Names<'a> {
    /// Returns the strings from byte `at` on.
    pub fn strings(&self, at: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader { blob: self.bytes, at };
        core::iter::from_fn(move || reader.string().ok())
    }
}

/// Splits a blob into its parts, checking it in the order length, magic, version, flags, exact length, CRC, message, shapes.
pub(crate) fn parts<const FEATURES: usize, const EXPERTS: usize>(
    blob: &[u8],
) -> Result<Parts<'_, FEATURES>, LoadError> {
    let (flags, crc32) = check_header(blob)?;
    let mut reader = Reader { blob, at: HEADER_BYTES };

    let misdescribed = |kind| LoadError { kind, at: HEADER_BYTES };
    let description = reader.description()?;
    let experts = usize::from(description.experts);
    let count = usize::from(description.features);
    if experts == 0 || count == 0 {
        return Err(misdescribed(LoadErrorKind::Empty));
    }
    let capacity = if EXPERTS < MAX_EXPERTS { EXPERTS } else { MAX_EXPERTS };
    if experts > capacity {
        return Err(misdescribed(LoadErrorKind::TooManyExperts { found: experts, capacity }));
    }
    let capacity = if FEATURES < MAX_FEATURES { FEATURES } else { MAX_FEATURES };
    if count > capacity {
        return Err(misdescribed(LoadErrorKind::TooManyFeatures { found: count, capacity }));
    }
    if !(description.threshold > 0.0 && description.threshold < 1.0) {
        return Err(misdescribed(LoadErrorKind::ThresholdOutOfRange));
    }

    let mut features = heapless::Vec::new();
    let (mut rows, mut edges, mut terms) = (0_u32, 0_u32, 0_u16);
    for feature in 0..count {
        let at = reader.at;
        let kind = reader.kind()?;
        if let Some(wrong) = wrong_kind(kind, feature) {
            return Err(LoadError { kind: wrong, at });
        }
        let entry = Feature { kind, first_row: rows, first_edge: edges, first_term: terms, name_at: 0 };
        // At most 4096 features of at most 65,535 rows and 2 terms: none of these can wrap.
        rows = rows.wrapping_add(kind.rows());
        edges = edges.wrapping_add(kind.edges());
        terms = terms.wrapping_add(if kind.terms() == 2 { 2 } else { 1 });
        if features.push(entry).is_err() {
            return Err(reader.error(LoadErrorKind::TooManyFeatures { found: count, capacity: FEATURES }));
        }
    }

    let (mut names, mut background, mut deviations, mut integer) = (None, &[][..], &[][..], None);
    for bit in 0..16 {
        let flag = 1_u16 << bit;
        if flags & flag == 0 {
            continue;
        }
        let bytes = reader.bytes()?;
        let start = reader.at.wrapping_sub(bytes.len());
        let placed = |error: LoadError| LoadError { at: start.wrapping_add(error.at), ..error };
        if flag == FLAG_INTEGER {
            let format = integer::Format::read(bytes);
            integer = Some(format.ok_or(LoadError { kind: LoadErrorKind::InvalidFormat, at: start })?);
        } else if flag == FLAG_NAMES {
            check_names(bytes, &mut features).map_err(placed)?;
            names = Some(Names { bytes });
        } else if flag == FLAG_BACKGROUND {
            background = background::check(bytes, &features).map_err(placed)?;
        } else if flag == FLAG_DEVIATIONS {
            check_deviations(bytes, &features).map_err(|kind| LoadError { kind, at: start })?;
            deviations = bytes;
        }
    }

    let padding = reader.bytes()?;
    let padding_at = reader.at.wrapping_sub(padding.len());
    if padding.len() > 3 {
        return Err(LoadError { kind: LoadErrorKind::NotCanonical, at: padding_at });
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err(LoadError { kind: LoadErrorKind::PaddingNotZero, at: padding_at });
    }
    let values = reader.bytes()?;
    let values_at = reader.at.wrapping_sub(values.len());
    if reader.at != blob.len() {
        return Err(reader.error(LoadErrorKind::TrailingBytes { found: blob.len(), expected: reader.at }));
    }
    if values_at % 4 != 0 {
        return Err(LoadError { kind: LoadErrorKind::NotCanonical, at: values_at });
    }
    let (stride, rows, edges) = (stride(experts), rows as usize, edges as usize);
    let floats = || rows.checked_mul(stride)?.checked_add(stride)?.checked_add(edges)?.checked_mul(4);
    let expected = integer.map_or_else(floats, |format| format.values_bytes(stride, rows, edges)).unwrap_or(usize::MAX);
    if values.len() != expected {
        let kind = LoadErrorKind::WrongWeightCount { found: values.len(), expected };
        return Err(LoadError { kind, at: values_at });
    }
    Ok(Parts { description, features, names, background, deviations, integer, values, values_at, crc32 })
}

impl<'a, const FEATURES: usize> Parts<'a, FEATURES> {
    /// Returns the values where they lie.
    pub fn in_place(&self) -> Result<Values<'a>, LoadError> {
        if cfg!(target_endian = "big") {
            return Err(self.misvalued(LoadErrorKind::NotInPlace, 0));
        }
        self.check(try_cast_slice(self.values).map_err(|_| self.misvalued(LoadErrorKind::Misaligned, 0))?)
    }

    /// Copies the values to the start of `memory` and returns them there.
    pub fn copied(&self, memory: &'a mut [f32]) -> Result<Values<'a>, LoadError> {
        let (values, _) = self.values.as_chunks::<4>();
        let (found, expected) = (memory.len(), values.len());
        let Some(copies) = memory.get_mut(..expected) else {
            return Err(self.misvalued(LoadErrorKind::MemoryTooSmall { found, expected }, 0));
        };
        for (copy, bytes) in copies.iter_mut().zip(values) {
            *copy = f32::from_le_bytes(*bytes);
        }
        self.check(copies)
    }

    /// What is wrong with a value, by its index.
    fn misvalued(&self, kind: LoadErrorKind, index: usize) -> LoadError {
        LoadError { kind, at: self.values_at.wrapping_add(index.wrapping_mul(4)) }
    }

    /// Splits the values into their kinds and checks each of them.
    fn check(&self, values: &'a [f32]) -> Result<Values<'a>, LoadError> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.misvalued(LoadErrorKind::NotFinite, index));
        }
        let experts = usize::from(self.description.experts);
        let stride = stride(experts);
        let edges = self.features.iter().fold(0_u32, |edges, feature| edges.wrapping_add(feature.kind.edges()));
        let parts = values
            .len()
            .checked_sub(edges as usize)
            .and_then(|lanes| values.split_at_checked(lanes))
            .and_then(|(lanes, edges)| Some((lanes, lanes.split_at_checked(stride)?, edges)));
        let Some((lanes, (bias, rows), edges)) = parts else {
            return Err(self.misvalued(LoadErrorKind::Malformed, 0));
        };
        let live = experts.wrapping_mul(2);
        let padded = |row: &[f32]| row.iter().skip(live).any(|lane| lane.to_bits() != 0);
        // The maximum tells the compiler that rows are not empty, which no model's are: `chunks` would panic.
        if let Some(row) = lanes.chunks(stride.max(1)).position(padded) {
            return Err(self.misvalued(LoadErrorKind::PaddingNotZero, row.wrapping_mul(stride)));
        }
        for (index, feature) in self.features.iter().enumerate() {
            let own = feature_edges(feature, edges);
            if own.iter().zip(own.iter().skip(1)).any(|(a, b)| a >= b) {
                let first = lanes.len().wrapping_add(feature.first_edge as usize);
                return Err(self.misvalued(LoadErrorKind::EdgesNotAscending { feature: index }, first));
            }
        }
        Ok(Values { bias, rows, edges })
    }
}

/// Returns the bin edges of a feature out of all edges.
pub(crate) fn feature_edges<'a>(feature: &Feature, edges: &'a [f32]) -> &'a [f32] {
    edges.get(feature.edge_range()).unwrap_or_default()
}

/// Checks the header against the blob's length and content; returns the flags and the CRC.
pub(crate) fn check_header(blob: &[u8]) -> Result<(u16, u32), LoadError> {
    let error = |kind, at| Err(LoadError { kind, at });
    let Some((header, payload)) = blob.split_first_chunk::<HEADER_BYTES>() else {
        return error(LoadErrorKind::Truncated { found: blob.len(), expected: HEADER_BYTES }, blob.len());
    };
    let [m0, m1, m2, m3, v0, v1, f0, f1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return error(LoadErrorKind::WrongMagic, 0);
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return error(LoadErrorKind::UnsupportedVersion { found: version, expected: VERSION }, 4);
    }
    let flags = u16::from_le_bytes([f0, f1]);
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_BLOB_BYTES {
        return error(LoadErrorKind::TooLarge { found: length, limit: MAX_BLOB_BYTES }, 8);
    }
    let (found, expected) = (blob.len(), HEADER_BYTES.wrapping_add(length));
    if found < expected {
        return error(LoadErrorKind::Truncated { found, expected }, found);
    }
    if found > expected {
        return error(LoadErrorKind::TrailingBytes { found, expected }, expected);
    }
    let (found, expected) = (checksum(header, payload), u32::from_le_bytes([c0, c1, c2, c3]));
    if found != expected {
        return error(LoadErrorKind::WrongChecksum { found, expected }, CRC_AT);
    }
    let unknown = flags & MANDATORY_FLAGS & !KNOWN_FLAGS;
    if unknown != 0 {
        return error(LoadErrorKind::UnsupportedSections { flags: unknown }, FLAGS_AT);
    }
    Ok((flags, expected))
}

/// Returns what is wrong with a feature's declaration, if anything.
fn wrong_kind(kind: Kind, feature: usize) -> Option<LoadErrorKind> {
    match kind {
        Kind::Number { transform, low, high, centre, bins } => {
            let finite = low.is_finite() && high.is_finite() && centre.is_finite();
            let inside = transform == Transform::Identity || low > -1.0;
            if usize::from(bins) > MAX_BINS {
                Some(LoadErrorKind::InvalidShape { feature })
            } else if !(finite && inside && low <= high) {
                Some(LoadErrorKind::InvalidRange { feature })
            } else {
                None
            }
        }
        Kind::Category { levels } if usize::from(levels) > MAX_LEVELS => Some(LoadErrorKind::InvalidShape { feature }),
        Kind::Category { .. } => None,
    }
}

/// Checks that the names section holds just the strings the features need, and notes where each feature's name lies. Errors are placed from
/// the section's start.
fn check_names<const FEATURES: usize>(
    bytes: &[u8],
    features: &mut heapless::Vec<Feature, FEATURES>,
) -> Result<(), LoadError> {
    let mut reader = Reader { blob: bytes, at: 0 };
    reader.string()?;
    for feature in features.iter_mut() {
        // A section is shorter than a blob, which fits a u32.
        #[allow(clippy::cast_possible_truncation)]
        let name_at = reader.at as u32;
        feature.name_at = name_at;
        reader.string()?;
        if let Kind::Category { levels } = feature.kind {
            for _ in 0..levels {
                reader.string()?;
            }
        }
    }
    if reader.at == bytes.len() {
        Ok(())
    } else {
        Err(reader.error(LoadErrorKind::TrailingBytes { found: bytes.len(), expected: reader.at }))
    }
}

/// Checks that the deviations section holds one number for each feature, in its range.
fn check_deviations(bytes: &[u8], features: &[Feature]) -> Result<(), LoadErrorKind> {
    let (deviations, rest) = bytes.as_chunks::<4>();
    if deviations.len() != features.len() || !rest.is_empty() {
        return Err(LoadErrorKind::Malformed);
    }
    for (index, (feature, bytes)) in features.iter().zip(deviations).enumerate() {
        let deviation = f32::from_le_bytes(*bytes);
        let fits = match feature.kind {
            Kind::Number { .. } => deviation.is_normal() && deviation > 0.0,
            Kind::Category { .. } => deviation.to_bits() == 0,
        };
        if !fits {
            return Err(LoadErrorKind::InvalidDeviation { feature: index });
        }
    }
    Ok(())
}
