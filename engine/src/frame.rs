//! The frame of everything that this crate stores: a header with a checksum, then a payload. It is
//! shared by model files ([`crate::format`]), statuses and states of a monitor, deltas and slots.
//!
//! ```text
//! byte 0        4         6        8              12         16
//!      +--------+---------+--------+--------------+----------+---------+
//!      | magic  | version | flags  | payload      | CRC-32   | payload |
//!      |        | u16     | u16    | length, u32  | u32      |         |
//!      +--------+---------+--------+--------------+----------+---------+
//! ```
//!
//! Integers are little endian. The CRC (ISO-HDLC, as in zip) covers every byte except its own four.
//! It includes the flags, since they decide how the payload is read.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::invariant::certain;
use crate::limits::{IS_DEVICE, MAX_BLOB_BYTES};

/// Length of the header, in bytes.
pub const HEADER_BYTES: usize = 16;
/// Offset of the version.
pub(crate) const VERSION_AT: usize = 4;
/// Offset of the flags.
pub const FLAGS_AT: usize = 6;
/// Offset of the payload's length.
pub(crate) const LENGTH_AT: usize = 8;
/// Offset of the CRC.
pub(crate) const CRC_AT: usize = 12;
const _: () = assert!(VERSION_AT + 2 == FLAGS_AT && FLAGS_AT + 2 == LENGTH_AT && LENGTH_AT + 4 == CRC_AT);
const _: () = assert!(CRC_AT + 4 == HEADER_BYTES);

/// A device uses a CRC without a table, since a table takes 1 kB of flash and saves only a few
/// milliseconds at start-up. With the feature `tables`, sixteen tables process 16 bytes at once.
static TABLE_FREE: Crc<u32, crc::NoTable> = Crc::<u32, crc::NoTable>::new(&CRC_32_ISO_HDLC);
static WITH_TABLE: Crc<u32, Tables> = Crc::<u32, Tables>::new(&CRC_32_ISO_HDLC);
#[cfg(feature = "tables")]
type Tables = crc::Table<16>;
#[cfg(not(feature = "tables"))]
type Tables = crc::Table<1>;

/// Returns the CRC-32 (ISO-HDLC) of the concatenation of several parts.
pub(crate) fn crc32<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> u32 {
    if IS_DEVICE {
        let mut digest = TABLE_FREE.digest();
        parts.into_iter().for_each(|part| digest.update(part.as_ref()));
        digest.finalize()
    } else {
        let mut digest = WITH_TABLE.digest();
        parts.into_iter().for_each(|part| digest.update(part.as_ref()));
        digest.finalize()
    }
}

/// Returns the checksum for a header: that of its bytes before the CRC and of the payload.
#[must_use]
pub fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32([header.get(..CRC_AT).unwrap_or(header), payload])
}

/// Why a frame is invalid.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes end before the header does, or before the length that the header declares.
    Truncated {
        /// The number of bytes.
        found: usize,
        /// The number of bytes needed.
        expected: usize,
    },
    /// There are more bytes than the header declares.
    TrailingBytes {
        /// The number of bytes.
        found: usize,
        /// The number of bytes declared.
        expected: usize,
    },
    /// The first four bytes are not those of this kind of data.
    WrongMagic {
        /// The four bytes that were expected.
        expected: [u8; 4],
    },
    /// This build does not support the format version.
    UnsupportedVersion {
        /// The version that the header declares.
        found: u16,
        /// The newest version that this build reads.
        expected: u16,
    },
    /// The header declares more bytes than the format allows.
    TooLarge {
        /// The number of bytes declared.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The checksum does not match: the bytes were damaged.
    WrongChecksum {
        /// CRC-32 of the bytes.
        found: u32,
        /// CRC-32 that the header declares.
        expected: u32,
    },
}

impl FrameError {
    /// Returns the byte offset of the error from the start of the frame.
    #[must_use]
    pub const fn at(&self) -> usize {
        match self {
            Self::Truncated { found, .. } => *found,
            Self::TrailingBytes { expected, .. } => *expected,
            Self::WrongMagic { .. } => 0,
            Self::UnsupportedVersion { .. } => VERSION_AT,
            Self::TooLarge { .. } => LENGTH_AT,
            Self::WrongChecksum { .. } => CRC_AT,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { found, expected } => write!(f, "ends after {found} bytes, but needs {expected}"),
            Self::TrailingBytes { found, expected } => write!(f, "has {found} bytes, declares {expected}"),
            Self::WrongMagic { expected } => write!(f, "does not start with {}", expected.escape_ascii()),
            Self::UnsupportedVersion { found, expected } => {
                write!(f, "format version {found}, but this build reads {expected}")
            }
            Self::TooLarge { found, limit } => write!(f, "declares {found} bytes, but the format allows {limit}"),
            Self::WrongChecksum { found, expected } => {
                write!(f, "checksum {found:08x}, but the header states {expected:08x}")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// The contents of a valid frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub flags: u16,
    pub crc32: u32,
    pub payload: &'a [u8],
}

/// Checks that the bytes have a header of `header_bytes` that starts with `magic` and a version up
/// to `newest`, and returns the version.
pub(crate) fn version(bytes: &[u8], header_bytes: usize, magic: [u8; 4], newest: u16) -> Result<u16, FrameError> {
    let header = bytes.get(..header_bytes).and_then(|header| header.first_chunk());
    let Some([m0, m1, m2, m3, v0, v1]) = header else {
        return Err(FrameError::Truncated { found: bytes.len(), expected: header_bytes });
    };
    if [*m0, *m1, *m2, *m3] != magic {
        return Err(FrameError::WrongMagic { expected: magic });
    }
    match u16::from_le_bytes([*v0, *v1]) {
        found if (1..=newest).contains(&found) => Ok(found),
        found => Err(FrameError::UnsupportedVersion { found, expected: newest }),
    }
}

/// Checks a frame in the order header length, magic, version (up to `newest`), declared length,
/// exact length, CRC. The payload is not interpreted.
pub(crate) fn open(bytes: &[u8], magic: [u8; 4], newest: u16) -> Result<Frame<'_>, FrameError> {
    version(bytes, HEADER_BYTES, magic, newest)?;
    let (header, payload) = certain!(bytes.split_first_chunk::<HEADER_BYTES>(), (&[0; HEADER_BYTES], &[][..]));
    let [_, _, _, _, _, _, f0, f1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_BLOB_BYTES {
        return Err(FrameError::TooLarge { found: length, limit: MAX_BLOB_BYTES });
    }
    let (found, expected) = (bytes.len(), HEADER_BYTES.wrapping_add(length));
    if found < expected {
        return Err(FrameError::Truncated { found, expected });
    }
    if found > expected {
        return Err(FrameError::TrailingBytes { found, expected });
    }
    let crc32 = check(checksum(header, payload), [c0, c1, c2, c3])?;
    Ok(Frame { flags: u16::from_le_bytes([f0, f1]), crc32, payload })
}

/// Compares a checksum with the declared one, and returns it.
pub(crate) fn check(found: u32, declared: [u8; 4]) -> Result<u32, FrameError> {
    let expected = u32::from_le_bytes(declared);
    if found == expected { Ok(found) } else { Err(FrameError::WrongChecksum { found, expected }) }
}

/// Returns the header for a payload; `None` if the payload exceeds [`MAX_BLOB_BYTES`].
pub(crate) fn seal(magic: [u8; 4], version: u16, flags: u16, payload: &[u8]) -> Option<[u8; HEADER_BYTES]> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_BLOB_BYTES)?;
    let ([m0, m1, m2, m3], [v0, v1], [f0, f1]) = (magic, version.to_le_bytes(), flags.to_le_bytes());
    let [l0, l1, l2, l3] = length.to_le_bytes();
    let head = [m0, m1, m2, m3, v0, v1, f0, f1, l0, l1, l2, l3];
    let [c0, c1, c2, c3] = checksum(&head, payload).to_le_bytes();
    Some([m0, m1, m2, m3, v0, v1, f0, f1, l0, l1, l2, l3, c0, c1, c2, c3])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        [&seal(*b"TEST", 3, 0x0102, payload).unwrap()[..], payload].concat()
    }

    #[test]
    fn what_is_sealed_opens() {
        for length in [0, 1, 4, 1000] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let bytes = framed(&payload);
            let frame = open(&bytes, *b"TEST", 3).unwrap();
            assert_eq!((frame.flags, frame.payload), (0x0102, &payload[..]));
            assert_eq!(frame.crc32.to_le_bytes(), bytes[CRC_AT..HEADER_BYTES]);
        }
    }

    #[test]
    fn every_error_is_placed_where_it_is() {
        let bytes = framed(&[7; 5]);
        let refused = |bytes: &[u8]| open(bytes, *b"TEST", 3).unwrap_err();
        let flipped = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x80;
            refused(&bytes)
        };
        for length in 0..bytes.len() {
            let expected = if length < HEADER_BYTES { HEADER_BYTES } else { bytes.len() };
            assert_eq!(refused(&bytes[..length]), FrameError::Truncated { found: length, expected });
        }
        assert_eq!(refused(&[&bytes[..], &[0]].concat()), FrameError::TrailingBytes { found: 22, expected: 21 });
        assert_eq!(flipped(0), FrameError::WrongMagic { expected: *b"TEST" });
        assert_eq!(flipped(VERSION_AT), FrameError::UnsupportedVersion { found: 0x83, expected: 3 });
        assert!(matches!(flipped(LENGTH_AT + 3), FrameError::TooLarge { limit: MAX_BLOB_BYTES, .. }));
        for at in (FLAGS_AT..LENGTH_AT).chain(CRC_AT..bytes.len()) {
            let error = flipped(at);
            assert!(matches!(error, FrameError::WrongChecksum { .. }) && error.at() == CRC_AT, "{at}");
        }
    }

    /// Both implementations give the check value of the CRC that zip uses.
    #[test]
    fn the_checksum_is_iso_hdlc() {
        assert_eq!(crc32([&b"1234"[..], b"56789"]), 0xcbf4_3926);
        assert_eq!(TABLE_FREE.checksum(b"123456789"), WITH_TABLE.checksum(b"123456789"));
    }
}
