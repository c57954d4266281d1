//! The header of a slot and the marks after it.

use super::SlotError;
use crate::format;
use crate::frame::{self, FrameError};

/// First bytes of a slot of version 1.
const MAGIC_1: [u8; 4] = *b"FEAS";
/// First bytes of a slot from version 2 on.
pub const MAGIC: [u8; 4] = *b"FESL";
/// The version of the layout that this crate writes. Version 2, with the same magic, and version 1,
/// with its own magic, can still be read: 1 as a confirmed model, 2 with two marks. Neither has the
/// marks that vouch for what was written before them; see [`super`].
pub const VERSION: u16 = 3;
/// Length of the header, in bytes. Padding follows up to the unit.
pub const HEADER_BYTES: usize = 32;
// A frame, and four numbers of four bytes.
const _: () = assert!(frame::HEADER_BYTES + 16 == HEADER_BYTES);
/// Flag of a flash that erases to zeros.
const FLAG_ERASED_TO_ZEROS: u16 = 1;
/// The position of the unit's power of two in the flags of version 3.
const UNIT_SHIFT: u32 = 8;

/// Largest write unit (word) of a flash, in bytes.
pub const MAX_WORD: usize = 512;
/// Smallest unit. A header and a mark each take one.
pub const MIN_UNIT: usize = 32;
/// The smallest number of bytes in a mark: few enough for one unit, but too many for a torn word to
/// read as all of them.
const MARK_BYTES: usize = 16;
const SEALED: u8 = 0x3c;
const TRIED: u8 = 0x5a;
const CONFIRMED: u8 = 0xa5;
const FAILED: u8 = 0xc3;

/// A mark, written once, in its own unit, after the earlier marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The header was written completely.
    Sealed,
    /// The model was used.
    Tried,
    /// The model was confirmed.
    Confirmed,
    /// The previous mark was written completely.
    Settled,
    /// The slot will be erased although it is the newer one.
    Failed,
}

impl Mark {
    /// Returns the number of units before the mark, in a slot of version 3 or 2. Version 2 has only
    /// the marks tried and confirmed.
    const fn units_before(self, version: u16) -> usize {
        let of_3: usize = match self {
            Self::Sealed => 1,
            Self::Tried => 2,
            Self::Confirmed => 3,
            Self::Settled => 4,
            Self::Failed => 5,
        };
        if version < 3 { of_3.wrapping_sub(1) } else { of_3 }
    }

    /// Returns the bytes of the mark on a flash with this word: one word, or as many words as
    /// [`MARK_BYTES`] need.
    pub const fn bytes<const WORD: usize>(self) -> &'static [u8] {
        const {
            assert!(WORD <= MAX_WORD && WORD.is_power_of_two(), "WORD must be a power of two, 512 at most");
        }
        match self {
            Self::Sealed if WORD < MARK_BYTES => &[SEALED; MARK_BYTES],
            Self::Sealed => &[SEALED; WORD],
            Self::Tried if WORD < MARK_BYTES => &[TRIED; MARK_BYTES],
            Self::Tried => &[TRIED; WORD],
            Self::Confirmed | Self::Settled if WORD < MARK_BYTES => &[CONFIRMED; MARK_BYTES],
            Self::Confirmed | Self::Settled => &[CONFIRMED; WORD],
            Self::Failed if WORD < MARK_BYTES => &[FAILED; MARK_BYTES],
            Self::Failed => &[FAILED; WORD],
        }
    }
}

/// Returns the unit of a flash whose words have `word` bytes: [`MIN_UNIT`] or a word, whichever is
/// larger.
#[must_use]
pub const fn unit(word: usize) -> usize {
    if word > MIN_UNIT { word } else { MIN_UNIT }
}

/// The contents of a slot's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub sequence: u32,
    /// Length of the blob, in bytes.
    pub length: u32,
    /// Where the blob starts.
    pub blob_at: usize,
    /// The model's version within its line, from its signature; 0 without a signature. `None`
    /// before version 3 of the layout.
    pub model_version: Option<u32>,
    /// `None` before version 2 of the layout.
    pub marks: Option<Marks>,
}

/// The positions of the marks of a slot, and which are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub unit: usize,
    /// The version of the layout.
    pub version: u16,
    pub tried: bool,
    /// The number of leading bytes of the confirmed mark that are written; fewer than all if a
    /// power cut interrupted writing it.
    pub confirmed_bytes: usize,
    /// Whether that mark was written completely since this start.
    pub is_certain: bool,
    /// Whether the next mark, settled, is written at least in part.
    pub settled: bool,
    /// Whether it is written completely.
    pub settled_whole: bool,
    /// Whether the mark of a slot to be erased, failed, is written at least in part.
    pub failed: bool,
    /// Whether it is written completely.
    pub failed_whole: bool,
}

impl Marks {
    /// Returns where a mark is written.
    pub fn at(&self, mark: Mark) -> usize {
        self.unit.wrapping_mul(mark.units_before(self.version))
    }

    /// Returns whether the model must not be used: it was tried and not confirmed, or marked as
    /// failed before its slot was erased.
    pub fn has_failed(&self) -> bool {
        (self.failed && !self.settled_whole) || (self.tried && !self.confirmed())
    }

    /// Records that a mark was written completely.
    pub fn made(&mut self, mark: Mark) {
        match mark {
            Mark::Sealed | Mark::Failed => {}
            Mark::Tried => self.tried = true,
            Mark::Confirmed => (self.confirmed_bytes, self.is_certain) = (MARK_BYTES, true),
            Mark::Settled => self.settled = true,
        }
    }

    /// Returns whether the model is confirmed: either of two marks is complete.
    pub fn confirmed(&self) -> bool {
        self.confirmed_bytes == MARK_BYTES || self.settled_whole
    }
}

impl Header {
    /// Reads the header of a slot, given with all its bytes.
    pub fn read(slot: &[u8]) -> Result<Self, SlotError> {
        match slot.first_chunk() {
            Some(&MAGIC_1) => Self::read_1(slot),
            Some(&MAGIC) => Self::read_2(slot),
            _ => Err(SlotError::Empty),
        }
    }

    /// Version 1: magic, sequence u32, length u32, CRC-32 of these and of the blob's header; the
    /// blob at byte 32.
    fn read_1(slot: &[u8]) -> Result<Self, SlotError> {
        const BLOB_AT: usize = 32;
        let [head @ .., c0, c1, c2, c3] = read_once(slot.first_chunk::<16>().ok_or(SlotError::Empty)?);
        let blob = slot.get(BLOB_AT..).unwrap_or_default();
        let blob_header = blob.get(..format::HEADER_BYTES).unwrap_or(blob);
        frame::check(frame::crc32([&head, blob_header]), [c0, c1, c2, c3]).map_err(SlotError::Header)?;
        let [_, _, _, _, s0, s1, s2, s3, l0, l1, l2, l3] = head;
        let sequence = u32::from_le_bytes([s0, s1, s2, s3]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        Ok(Self { sequence, length, blob_at: BLOB_AT, model_version: None, marks: None })
    }

    /// Versions 2 and 3.
    fn read_2(slot: &[u8]) -> Result<Self, SlotError> {
        let truncated = FrameError::Truncated { found: slot.len(), expected: HEADER_BYTES };
        let bytes = read_once(slot.first_chunk::<HEADER_BYTES>().ok_or(SlotError::Header(truncated))?);
        let version = frame::version(&bytes, HEADER_BYTES, MAGIC, VERSION).map_err(SlotError::Header)?;
        let frame = frame::open(&bytes, MAGIC, VERSION).map_err(SlotError::Header)?;
        // Version 1 has another magic.
        if version < 2 {
            return Err(SlotError::Header(FrameError::UnsupportedVersion { found: version, expected: VERSION }));
        }
        let ([sequence, length, third, blob_crc], []) = frame.payload.as_chunks() else {
            return Err(SlotError::Malformed);
        };
        let third = u32::from_le_bytes(*third);
        let (unit, model_version) = match version {
            3 => (1_u32.checked_shl(u32::from(frame.flags) >> UNIT_SHIFT).unwrap_or(0), third),
            _ => (third, 0),
        };
        let is_3 = version >= 3;
        let unit = unit as usize;
        if !(MIN_UNIT..=MAX_WORD).contains(&unit) || !unit.is_power_of_two() {
            return Err(SlotError::Malformed);
        }
        let erased = if frame.flags & FLAG_ERASED_TO_ZEROS == 0 { 0xff } else { 0 };
        let mark = |mark: Mark| {
            let at = unit.wrapping_mul(mark.units_before(version));
            slot.get(at..).and_then(|rest| rest.get(..unit)).unwrap_or_default()
        };
        // Any part of a mark counts: once writing it has begun, everything written before it is
        // complete.
        let stands = |of: Mark| mark(of).iter().any(|byte| *byte != erased);
        let standing =
            |of: Mark, value: u8| mark(of).iter().take(MARK_BYTES).take_while(|byte| **byte == value).count();
        let marks = Marks {
            unit,
            version,
            tried: stands(Mark::Tried),
            confirmed_bytes: standing(Mark::Confirmed, CONFIRMED),
            is_certain: false,
            settled: !is_3 || stands(Mark::Settled),
            settled_whole: is_3 && standing(Mark::Settled, CONFIRMED) == MARK_BYTES,
            failed: is_3 && stands(Mark::Failed),
            failed_whole: is_3 && standing(Mark::Failed, FAILED) == MARK_BYTES,
        };
        // A header that a power cut may have interrupted does not count, since it could read
        // differently the next time.
        if is_3 && !stands(Mark::Sealed) && !marks.tried && !stands(Mark::Confirmed) && !marks.settled {
            return Err(SlotError::NotSealed);
        }
        let header = Self {
            sequence: u32::from_le_bytes(*sequence),
            length: u32::from_le_bytes(*length),
            blob_at: unit.wrapping_mul(if is_3 { UNITS_BEFORE_BLOB } else { 3 }),
            model_version: is_3.then_some(model_version),
            marks: Some(marks),
        };
        // The header belongs to this very blob.
        let declared = slot.get(header.blob_at.wrapping_add(frame::CRC_AT)..).and_then(|rest| rest.first_chunk::<4>());
        if declared == Some(blob_crc) { Ok(header) } else { Err(SlotError::OtherBlob) }
    }
}

/// Copies bytes out of flash, so that the bytes used are those whose checksum was computed, and are
/// not read a second time.
fn read_once<const N: usize>(bytes: &[u8; N]) -> [u8; N] {
    // Keeps the compiler from removing the copy.
    core::hint::black_box(*bytes)
}

/// Units of the header and the five marks.
const UNITS_BEFORE_BLOB: usize = 6;

/// Returns the offset of the blob in a slot of this unit: after the header and five marks.
#[must_use]
pub const fn blob_at(unit: usize) -> usize {
    unit.saturating_mul(UNITS_BEFORE_BLOB)
}

/// Returns the header of a slot, without the padding up to the unit. `erased` is the value of
/// erased flash.
///
/// Returns `None` for a blob that is shorter than its own header or whose length exceeds a u32, and
/// for a unit that no flash has.
#[must_use]
pub fn seal(sequence: u32, blob: &[u8], unit: usize, erased: u8) -> Option<[u8; HEADER_BYTES]> {
    let crc32 = blob.get(frame::CRC_AT..)?.first_chunk::<4>()?;
    let length = u32::try_from(blob.len()).ok()?;
    let unit = u16::try_from(unit).ok().filter(|unit| unit.is_power_of_two())?;
    let payload = [sequence.to_le_bytes(), length.to_le_bytes(), model_version(blob).to_le_bytes(), *crc32];
    #[allow(clippy::cast_possible_truncation)] // of 16 bits at most
    let power = (unit.trailing_zeros() as u16) << UNIT_SHIFT;
    let flags = power | if erased == 0 { FLAG_ERASED_TO_ZEROS } else { 0 };
    let header = frame::seal(MAGIC, VERSION, flags, payload.as_flattened())?;
    let mut bytes = [0; HEADER_BYTES];
    bytes.iter_mut().zip(header.iter().chain(payload.as_flattened())).for_each(|(to, from)| *to = *from);
    Some(bytes)
}

/// Returns the version of a model within its line, as its signature claims; 0 if it is not signed.
#[inline(never)]
pub(super) fn model_version(blob: &[u8]) -> u32 {
    // Reads only the first bytes, so that a device that does not verify links no more code.
    let section = format::section(blob, format::FLAG_SIGNATURE);
    section.and_then(|(section, _)| section.first_chunk()).map_or(0, |version| u32::from_le_bytes(*version))
}

/// Writes the image of a whole slot with a confirmed model into `slot`, for a factory to program.
/// The rest is filled with `erased`, the value of erased flash; `word` is the write unit of its
/// driver. A device then starts without a trial.
///
/// # Errors
/// [`SlotError::TooLong`], [`SlotError::Malformed`] for a word that no flash has or for bytes that
/// are no blob. The content of the blob is not checked: load it first.
pub fn image(blob: &[u8], sequence: u32, word: usize, erased: u8, slot: &mut [u8]) -> Result<(), SlotError> {
    if word > MAX_WORD || !word.is_power_of_two() {
        return Err(SlotError::Malformed);
    }
    let unit = unit(word);
    let header = seal(sequence, blob, unit, erased).ok_or(SlotError::Malformed)?;
    let (found, capacity) = (blob.len().saturating_add(blob_at(unit)), slot.len());
    if found > capacity {
        return Err(SlotError::TooLong { found, capacity });
    }
    slot.fill(erased);
    let (head, rest) = slot.split_at_mut_checked(blob_at(unit)).unwrap_or_default();
    rest.iter_mut().zip(blob).for_each(|(to, from)| *to = *from);
    head.iter_mut().zip(header).for_each(|(to, from)| *to = from);
    let values = [SEALED, TRIED, CONFIRMED, CONFIRMED];
    for (mark, value) in [Mark::Sealed, Mark::Tried, Mark::Confirmed, Mark::Settled].into_iter().zip(values) {
        let at = unit.wrapping_mul(mark.units_before(VERSION));
        let bytes = if word > MARK_BYTES { word } else { MARK_BYTES };
        head.iter_mut().skip(at).take(bytes).for_each(|byte| *byte = value);
    }
    Ok(())
}
