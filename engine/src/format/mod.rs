//! The model file (blob), format version 1 (`.feamoe`): layout, checks and reader. The trainer's
//! `export` writes it with the same types.
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
//! values  = f32: bias row, the weight rows of each feature, the bin edges of each feature;
//!           starts on a multiple of 4
//! ```
//!
//! - The header is a [`crate::frame`]. Its integers are little endian, postcard is little endian by
//!   definition, and so are the values, which a big-endian target has to copy.
//! - Flags: one bit for each optional part of the payload. Bits 0..8 are *mandatory*: a reader that
//!   does not know one refuses the blob. Bits 8..16 are *optional*: a reader skips an unknown
//!   section by its length. This reader also skips [`FLAG_CARD`], which is for the host, and
//!   [`FLAG_SIGNATURE`], which [`crate::signature`] reads. It knows [`FLAG_INTEGER`],
//!   [`FLAG_NAMES`], [`FLAG_BACKGROUND`], [`FLAG_DEVIATIONS`] and [`FLAG_CALIBRATION`]. With
//!   [`FLAG_INTEGER`] the values are integers, drawn in [`crate::integer`].
//! - A weight row has [`stride`] lanes: gate lanes, expert lanes, zeros. Weights are in log2 units
//!   and centred (see [`crate::schema`]). [`crate::Model::load`] uses the values in place and
//!   copies nothing. They must then be aligned to 4 bytes in memory, since reading unaligned bytes
//!   takes 28 % more instructions per score on a Cortex-M4F; `include_model!` aligns them.
//!   Otherwise [`crate::Model::load_into`] copies them.
//! - Every float is finite, no sum of a logit can overflow ([`crate::limits::MAX_REACH`]), every
//!   length is exact, every varint is the shortest, and no name occurs twice, so a model has
//!   exactly one encoding. Nothing is decoded before length and CRC are checked, and nothing is
//!   kept on failure.
//!
//! Worked example, `Kind::Category { levels: 300 }`: `01` (variant) `ac 02` (varint 300).

pub mod background;
mod calibration;
mod kind;
mod names;
mod reader;
mod values;

use serde::{Deserialize, Serialize};

use crate::error::{LoadError, LoadErrorKind};
use crate::frame::{self, Frame, FrameError};
pub use crate::frame::{FLAGS_AT, HEADER_BYTES, checksum};
use crate::limits::{MAX_BINS, MAX_EXPERTS, MAX_FEATURES, MAX_LEVELS};
pub(crate) use calibration::Calibration;
pub use calibration::MOST as MOST_CALIBRATION;
pub use kind::{Kind, Transform};
pub(crate) use names::Names;
pub(crate) use reader::Reader;
use values::Shape;
pub use values::{Fixed, Format as IntegerFormat, MAX_FRACTION, MAX_SCALE, Weights, stride};

/// The first bytes of every blob.
pub const MAGIC: [u8; 4] = *b"FEAM";
/// The format version this crate reads and writes. Version 1: the first.
pub const VERSION: u16 = 1;

/// Lanes are padded to a multiple of this, so that blocks of four fit every model.
pub const LANE_MULTIPLE: usize = 4;

/// Flags of sections that a reader must know.
pub const MANDATORY_FLAGS: u16 = 0x00ff;
/// The integer section, drawn in [`crate::integer`]: weights are integers, for
/// [`crate::integer::Model`].
pub const FLAG_INTEGER: u16 = 1 << 0;
/// The names section: the name of the favourable outcome, then each feature's name followed by its
/// levels' names, all as strings. No two features share a name, nor do two levels of one feature.
pub const FLAG_NAMES: u16 = 1 << 8;
/// The background section, drawn in [`background`]: records that stand for the training data.
pub const FLAG_BACKGROUND: u16 = 1 << 9;
/// The deviations section: an f32 for each feature. For a number it is the standard deviation after
/// the transform over the training rows, above 0; for a category it is 0. It is the unit of
/// distances in [`crate::recourse`].
pub const FLAG_DEVIATIONS: u16 = 1 << 10;
/// The card section: a JSON object, for people and for the host, that states how the model was
/// made. This reader skips it.
pub const FLAG_CARD: u16 = 1 << 11;
/// The calibration section: slope, bias and a number for each weight row except the bias row, each
/// an f32 of at most [`MOST_CALIBRATION`] in magnitude. [`crate::calibration`] uses it to turn a
/// score into a probability.
pub const FLAG_CALIBRATION: u16 = 1 << 12;
/// The signature section, drawn in [`crate::signature`]: who made the model. This reader skips it.
pub const FLAG_SIGNATURE: u16 = 1 << 13;
/// Sections this reader knows.
const KNOWN_FLAGS: u16 = FLAG_INTEGER | FLAG_NAMES | FLAG_BACKGROUND | FLAG_DEVIATIONS | FLAG_CALIBRATION;

/// The start of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Number of experts, K.
    pub experts: u8,
    /// A decision is favourable if `p >= threshold`; inside (0, 1).
    pub threshold: f32,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// Number of features, which is the number of [`Kind`]s that follow.
    pub features: u16,
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The number of rows learned from, counting every pass.
    pub training_rows: u64,
    /// SHA-256 of the training files' bytes, in the order they were read.
    pub data_sha256: [u8; 32],
    /// Seed of the run.
    pub seed: u64,
    /// Version of the trainer: major, minor, patch.
    pub trainer_version: (u16, u16, u16),
}

/// Returns the header of a blob with these flags and payload, or `None` if the payload exceeds
/// [`crate::limits::MAX_BLOB_BYTES`].
#[must_use]
pub fn header(flags: u16, payload: &[u8]) -> Option<[u8; HEADER_BYTES]> {
    frame::seal(MAGIC, VERSION, flags, payload)
}

/// Returns whether bytes have the magic of a blob and the length that its header declares. This can
/// be checked at compile time.
#[must_use]
pub const fn is_whole(bytes: &[u8]) -> bool {
    match bytes.split_first_chunk::<HEADER_BYTES>() {
        Some((&[b'F', b'E', b'A', b'M', _, _, _, _, l0, l1, l2, l3, ..], payload)) => {
            u32::from_le_bytes([l0, l1, l2, l3]) as usize == payload.len()
        }
        _ => false,
    }
}

/// Checks the header of a blob against its length and content, and returns its flags and checksum.
/// Code that only copies blobs needs no more.
pub(crate) fn check_header(bytes: &[u8]) -> Result<(u16, u32), LoadError> {
    let Frame { flags, crc32, .. } = frame::open(bytes, MAGIC, VERSION)
        .map_err(|error| LoadError { kind: LoadErrorKind::Frame(error), at: error.at() })?;
    Ok((flags, crc32))
}

/// Returns a section of a valid blob and its offset; `None` if there is none.
pub(crate) fn section(bytes: &[u8], flag: u16) -> Option<(&[u8], usize)> {
    let flags = u16::from_le_bytes(*bytes.get(FLAGS_AT..)?.first_chunk()?);
    if flags & flag == 0 {
        return None;
    }
    let mut reader = Reader { blob: bytes, at: HEADER_BYTES };
    for _ in 0..reader.features().ok()? {
        reader.kind().ok()?;
    }
    for _ in 0..(flags & flag.wrapping_sub(1)).count_ones() {
        reader.bytes().ok()?;
    }
    let section = reader.bytes().ok()?;
    Some((section, reader.at.wrapping_sub(section.len())))
}

/// A model file that passed every check, so every `Blob` is valid. It borrows the bytes and has no
/// capacity. Whether a build can hold the model, and whether its arithmetic could overflow, is
/// checked by [`crate::Model`] and [`crate::integer::Model`].
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    bytes: &'a [u8],
    crc32: u32,
    description: Description,
    /// The offset of the first kind.
    kinds_at: usize,
    pub(crate) names: Option<Names<'a>>,
    /// The background records, one after the other; empty if there are none.
    pub(crate) background: &'a [u8],
    /// An f32 for each feature; empty if there are none.
    pub(crate) deviations: &'a [[u8; 4]],
    pub(crate) calibration: Calibration<'a>,
    weights: Weights<'a>,
    /// The number of bin edges.
    pub(crate) edges: usize,
    /// The offset of the values.
    pub(crate) values_at: usize,
}

impl<'a> Blob<'a> {
    /// Checks arbitrary bytes in the order length, magic, version, flags, exact length, CRC,
    /// message, sections, values. Cost: one pass over the bytes for the checksum and a few over the
    /// weights.
    ///
    /// # Errors
    /// The problem and its byte offset.
    pub fn new(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let parsed = Self::parse(bytes)?;
        match parsed.integer {
            None => parsed.with_floats(),
            Some(format) => parsed.with_integers(format),
        }
    }

    /// Like [`Blob::new`], for a blob with float weights: a device without integer models does not
    /// need their checks.
    pub(crate) fn of_floats(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let parsed = Self::parse(bytes)?;
        match parsed.integer {
            None => parsed.with_floats(),
            Some(_) => Err(LoadError { kind: LoadErrorKind::IntegerWeights, at: FLAGS_AT }),
        }
    }

    /// Like [`Blob::new`], for a blob with integer weights.
    pub(crate) fn of_integers(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let parsed = Self::parse(bytes)?;
        match parsed.integer {
            None => Err(LoadError { kind: LoadErrorKind::FloatWeights, at: FLAGS_AT }),
            Some(format) => parsed.with_integers(format),
        }
    }

    /// Checks everything except the values.
    fn parse(bytes: &'a [u8]) -> Result<Parsed<'a>, LoadError> {
        let (flags, crc32) = check_header(bytes)?;
        let unknown = flags & MANDATORY_FLAGS & !KNOWN_FLAGS;
        if unknown != 0 {
            return Err(LoadError { kind: LoadErrorKind::UnsupportedSections { flags: unknown }, at: FLAGS_AT });
        }
        let mut reader = Reader { blob: bytes, at: HEADER_BYTES };
        let description = reader.description()?;
        if let Some(kind) = wrong_description(&description) {
            return Err(LoadError { kind, at: HEADER_BYTES });
        }
        let kinds_at = reader.at;
        let (mut rows, mut edges, mut record_bytes) = (0_u32, 0_u32, 0_usize);
        for feature in 0..usize::from(description.features) {
            let at = reader.at;
            let kind = reader.kind()?;
            if let Some(wrong) = wrong_kind(kind, feature) {
                return Err(LoadError { kind: wrong, at });
            }
            // At most 4096 features with at most 65,535 weight rows each, so none of these can
            // wrap.
            rows = rows.wrapping_add(kind.rows());
            edges = edges.wrapping_add(kind.edges());
            record_bytes = record_bytes.wrapping_add(kind.value_bytes());
        }
        let kinds = || Kinds { reader: Reader { blob: bytes, at: kinds_at }, left: description.features };

        let (mut names, mut background, mut deviations, mut integer) = (None, &[][..], &[][..], None);
        let mut calibration = Calibration::default();
        for flag in (0..16).map(|bit| 1_u16 << bit).filter(|flag| flags & flag != 0) {
            let section = reader.bytes()?;
            let start = reader.at.wrapping_sub(section.len());
            let placed = |error: LoadError| LoadError { at: start.wrapping_add(error.at), ..error };
            if flag == FLAG_INTEGER {
                let format = IntegerFormat::read(section);
                integer = Some(format.ok_or(LoadError { kind: LoadErrorKind::InvalidFormat, at: start })?);
            } else if flag == FLAG_NAMES {
                names = Some(Names::new(section, kinds()).map_err(placed)?);
            } else if flag == FLAG_BACKGROUND {
                background = background::check(section, record_bytes, kinds()).map_err(placed)?;
            } else if flag == FLAG_DEVIATIONS {
                deviations = check_deviations(section, kinds()).map_err(|kind| LoadError { kind, at: start })?;
            } else if flag == FLAG_CALIBRATION {
                let checked = Calibration::check(section, rows as usize);
                calibration = checked.map_err(|kind| LoadError { kind, at: start })?;
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
        if reader.at != bytes.len() {
            let trailing = FrameError::TrailingBytes { found: bytes.len(), expected: reader.at };
            return Err(reader.error(LoadErrorKind::Frame(trailing)));
        }
        if values_at % 4 != 0 {
            return Err(LoadError { kind: LoadErrorKind::NotCanonical, at: values_at });
        }
        let shape = Shape { experts: description.experts.into(), rows: rows as usize, edges: edges as usize };
        let weights = Weights::F32(&[]);
        let edges = shape.edges;
        let blob = Self {
            bytes,
            crc32,
            description,
            kinds_at,
            names,
            background,
            deviations,
            calibration,
            weights,
            edges,
            values_at,
        };
        Ok(Parsed { blob, values, shape, integer })
    }

    /// Returns the bytes of the blob.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the checksum, which identifies the model.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Returns the description: experts, threshold, provenance, number of features.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the number of experts, K.
    #[must_use]
    pub fn experts(&self) -> usize {
        self.description.experts.into()
    }

    /// Returns the kinds of the features, in order.
    #[must_use]
    pub fn kinds(&self) -> Kinds<'a> {
        Kinds { reader: Reader { blob: self.bytes, at: self.kinds_at }, left: self.description.features }
    }

    /// Returns the number of background records.
    #[must_use]
    pub fn background_rows(&self) -> usize {
        let record_bytes = self.kinds().map(Kind::value_bytes).sum();
        self.background.len().checked_div(record_bytes).unwrap_or(0)
    }

    /// Returns whether the blob has the names of features and levels.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// Returns the values, by the type of the weights.
    #[must_use]
    pub fn weights(&self) -> Weights<'a> {
        self.weights
    }
}

/// A blob whose values have not been checked.
struct Parsed<'a> {
    /// The blob without its weights.
    blob: Blob<'a>,
    values: &'a [u8],
    shape: Shape,
    /// How integer weights are encoded; `None` for floats.
    integer: Option<IntegerFormat>,
}

impl<'a> Parsed<'a> {
    fn with_floats(self) -> Result<Blob<'a>, LoadError> {
        let weights = values::floats(self.values, self.shape, self.blob.kinds());
        self.with(weights.map(Weights::F32))
    }

    fn with_integers(self, format: IntegerFormat) -> Result<Blob<'a>, LoadError> {
        let fixed = Fixed::new(self.values, self.shape, format, self.blob.kinds());
        self.with(fixed.map(|fixed| if format.bits == 8 { Weights::I8(fixed) } else { Weights::I16(fixed) }))
    }

    /// Completes the blob. Errors of the weights come with their offset in the values.
    fn with(self, weights: Result<Weights<'a>, (LoadErrorKind, usize)>) -> Result<Blob<'a>, LoadError> {
        let placed =
            |(kind, offset): (LoadErrorKind, usize)| LoadError { kind, at: self.blob.values_at.wrapping_add(offset) };
        Ok(Blob { weights: weights.map_err(placed)?, ..self.blob })
    }
}

/// The kinds of the features of a blob, in order, decoded one by one.
#[derive(Clone, Debug)]
pub struct Kinds<'a> {
    reader: Reader<'a>,
    left: u16,
}

impl Iterator for Kinds<'_> {
    type Item = Kind;

    #[inline(never)]
    fn next(&mut self) -> Option<Kind> {
        self.left = self.left.checked_sub(1)?;
        self.reader.kind().ok()
    }
}

/// Returns the error of a description, if any.
fn wrong_description(description: &Description) -> Option<LoadErrorKind> {
    let (experts, features) = (usize::from(description.experts), usize::from(description.features));
    if experts == 0 || features == 0 {
        Some(LoadErrorKind::Empty)
    } else if experts > MAX_EXPERTS {
        Some(LoadErrorKind::TooManyExperts { found: experts, capacity: MAX_EXPERTS })
    } else if features > MAX_FEATURES {
        Some(LoadErrorKind::TooManyFeatures { found: features, capacity: MAX_FEATURES })
    } else if !(description.threshold > 0.0 && description.threshold < 1.0) {
        Some(LoadErrorKind::ThresholdOutOfRange)
    } else {
        None
    }
}

/// Returns the error of a feature's declaration, if any.
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

/// Checks that the deviations section has one number in range for each feature, and returns the
/// numbers.
fn check_deviations<'a>(section: &'a [u8], kinds: Kinds<'_>) -> Result<&'a [[u8; 4]], LoadErrorKind> {
    let (deviations, rest) = section.as_chunks::<4>();
    if deviations.len() != usize::from(kinds.left) || !rest.is_empty() {
        return Err(LoadErrorKind::Malformed);
    }
    for (feature, (kind, bytes)) in kinds.zip(deviations).enumerate() {
        let deviation = f32::from_le_bytes(*bytes);
        let fits = match kind {
            Kind::Number { .. } => deviation.is_normal() && deviation > 0.0,
            Kind::Category { .. } => deviation.to_bits() == 0,
        };
        if !fits {
            return Err(LoadErrorKind::InvalidDeviation { feature });
        }
    }
    Ok(deviations)
}
