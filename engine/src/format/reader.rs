//! Reads the payload of a blob, which has postcard's encodings in their shortest form.
//!
//! The reader is written by hand and not derived with serde: the derived code has four times the
//! size at opt-level s (2.4 kB), keeps a panic path for f32, and accepts longer encodings of the
//! same value. A test checks that both read the same values.

use super::kind::{Kind, Transform};
use super::{Description, Provenance};
use crate::error::{LoadError, LoadErrorKind};

/// Reads a payload value by value.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    pub blob: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    pub fn error(&self, kind: LoadErrorKind) -> LoadError {
        LoadError { kind, at: self.at }
    }

    /// Reads `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], LoadError> {
        let end = self.at.checked_add(length);
        let bytes = end.and_then(|end| self.blob.get(self.at..end)).ok_or(self.error(LoadErrorKind::Malformed))?;
        self.at = self.at.wrapping_add(length);
        Ok(bytes)
    }

    /// Reads an integer of at most `bits` bits: seven bits per byte, lowest first; the eighth bit
    /// is set if more bytes follow.
    #[inline(never)]
    fn varint(&mut self, bits: u32) -> Result<u64, LoadError> {
        let rest = self.blob.get(self.at..).unwrap_or_default();
        let mut value = 0_u64;
        for (index, byte) in (0_u32..).zip(rest) {
            let (shift, part) = (index.wrapping_mul(7), u64::from(byte & 0x7f));
            // In the last byte, only the remaining bits may be set.
            if shift >= bits || part.unbounded_shr(bits.wrapping_sub(shift)) != 0 {
                break;
            }
            value |= part.wrapping_shl(shift);
            if byte & 0x80 == 0 {
                if *byte == 0 && index > 0 {
                    return Err(self.error(LoadErrorKind::NotCanonical));
                }
                self.at = self.at.wrapping_add(index as usize).wrapping_add(1);
                return Ok(value);
            }
        }
        Err(self.error(LoadErrorKind::Malformed))
    }

    #[allow(clippy::cast_possible_truncation)] // of 16 bits
    fn u16(&mut self) -> Result<u16, LoadError> {
        Ok(self.varint(16)? as u16)
    }

    #[allow(clippy::cast_possible_truncation)] // of 32 bits
    pub fn u32(&mut self) -> Result<u32, LoadError> {
        Ok(self.varint(32)? as u32)
    }

    fn f32(&mut self) -> Result<f32, LoadError> {
        let bytes = self.take(4)?.first_chunk();
        Ok(f32::from_le_bytes(bytes.copied().unwrap_or_default()))
    }

    /// Reads a byte string: its length, then its bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], LoadError> {
        let start = self.at;
        let length = self.u32()? as usize;
        self.take(length).map_err(|error| LoadError { at: start, ..error })
    }

    /// Reads a byte string that is UTF-8.
    pub fn string(&mut self) -> Result<&'a str, LoadError> {
        let start = self.at;
        let bytes = self.bytes()?;
        core::str::from_utf8(bytes).map_err(|_| LoadError { kind: LoadErrorKind::Malformed, at: start })
    }

    /// Reads the description and returns the number of features.
    pub fn features(&mut self) -> Result<u16, LoadError> {
        self.take(5)?;
        self.varint(64)?;
        self.take(32)?;
        for bits in [64, 16, 16, 16] {
            self.varint(bits)?;
        }
        self.u16()
    }

    /// Reads the description.
    pub fn description(&mut self) -> Result<Description, LoadError> {
        let [experts] = *self.take(1)?.first_chunk().unwrap_or(&[0]);
        Ok(Description {
            experts,
            threshold: self.f32()?,
            provenance: Provenance {
                training_rows: self.varint(64)?,
                data_sha256: self.take(32)?.first_chunk().copied().unwrap_or_default(),
                seed: self.varint(64)?,
                trainer_version: (self.u16()?, self.u16()?, self.u16()?),
            },
            features: self.u16()?,
        })
    }

    /// Reads the declaration of a feature.
    #[inline(never)]
    pub fn kind(&mut self) -> Result<Kind, LoadError> {
        let unknown = self.error(LoadErrorKind::Malformed);
        Ok(match self.u32()? {
            0 => Kind::Number {
                transform: match self.u32()? {
                    0 => Transform::Identity,
                    1 => Transform::Log1p,
                    _ => return Err(unknown),
                },
                low: self.f32()?,
                high: self.f32()?,
                centre: self.f32()?,
                bins: self.u16()?,
            },
            1 => Kind::Category { levels: self.u16()? },
            _ => return Err(unknown),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    /// Returns a value as the writer encodes it, by postcard with the derived encodings of the
    /// types.
    fn written(value: &impl serde::Serialize) -> std::vec::Vec<u8> {
        let mut buffer = [0; 128];
        postcard::to_slice(value, &mut buffer).unwrap().to_vec()
    }

    #[test]
    fn reads_what_postcard_writes() {
        let mut rng = rand_pcg::Pcg64Mcg::new(1);
        for bits in (0..=64).cycle().take(2_000) {
            let mut draw = || rand_pcg::rand_core::RngCore::next_u64(&mut rng).checked_shr(64 - bits).unwrap_or(0);
            let (training_rows, seed, short) = (draw(), draw(), draw() as u16);
            let description = Description {
                experts: short as u8,
                threshold: f32::from(short),
                provenance: Provenance {
                    training_rows,
                    data_sha256: [short as u8; 32],
                    seed,
                    trainer_version: (draw() as u16, short, draw() as u16),
                },
                features: draw() as u16,
            };
            let bytes = written(&description);
            let mut reader = Reader { blob: &bytes, at: 0 };
            assert_eq!((reader.description(), reader.at), (Ok(description), bytes.len()));

            let number =
                |transform| Kind::Number { transform, low: -1.5, high: f32::from(short), centre: 0.0, bins: short };
            for kind in [number(Transform::Identity), number(Transform::Log1p), Kind::Category { levels: short }] {
                let bytes = written(&kind);
                let mut reader = Reader { blob: &bytes, at: 0 };
                assert_eq!((reader.kind(), reader.at), (Ok(kind), bytes.len()));
            }
        }
    }

    #[test]
    fn whole_numbers_have_one_encoding_and_fit_their_type() {
        let read = |bytes: &[u8], bits| Reader { blob: bytes, at: 0 }.varint(bits).map_err(|error| error.kind);
        let (malformed, not_canonical) = (Err(LoadErrorKind::Malformed), Err(LoadErrorKind::NotCanonical));
        assert_eq!(read(&[0xff, 0xff, 0x03], 16), Ok(0xffff));
        assert_eq!(read(&[0xff, 0xff, 0x04], 16), malformed);
        assert_eq!(read(&[0xff, 0xff, 0x83, 0x00], 16), malformed);
        assert_eq!(read(&[0x80], 16), malformed);
        assert_eq!(read(&[], 16), malformed);
        assert_eq!(read(&[0x80, 0x00], 16), not_canonical);
        assert_eq!(read(&[0x00], 16), Ok(0));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 64), Ok(u64::MAX));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], 64), malformed);
    }
}
