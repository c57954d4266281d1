//! Model files on the host: their bytes in memory, aligned as the engine needs them, and the capacity of this build.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use feamoe_engine::attribution::{Background, Workspace};
use feamoe_engine::blob::HEADER_BYTES;
use feamoe_engine::limits::{MAX_BLOB_BYTES, MAX_EXPERTS};
use feamoe_engine::recourse::{Answer, Rules};
use feamoe_engine::{Attribution, Model, Record, Recourse, Score};

use crate::error::Error;

/// Features a model may have on the host.
pub const FEATURES: usize = 512;
/// Experts a model may have on the host: as many as the format allows.
pub const EXPERTS: usize = MAX_EXPERTS;

/// A model of the host's capacity.
pub type HostModel<'a> = Model<'a, FEATURES, EXPERTS>;
/// A record of a [`HostModel`].
pub type HostRecord<'m> = Record<'m, FEATURES>;
/// A score of a [`HostModel`].
pub type HostScore = Score<EXPERTS>;
/// Background records of a [`HostModel`].
pub type HostBackground<'m> = Background<'m, FEATURES>;
/// The memory of its Shapley values.
pub type HostWorkspace = Workspace<FEATURES, EXPERTS>;
/// An attribution of a [`HostModel`].
pub type HostAttribution = Attribution<FEATURES, EXPERTS>;

/// A recourse of a record of a [`HostModel`].
pub type HostRecourse = Recourse<FEATURES>;
/// The rules of one.
pub type HostRules = Rules<FEATURES>;
/// One answer of several.
pub type HostAnswer = Answer<FEATURES>;

/// Bytes at an address that is a multiple of 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignedBytes {
    words: Vec<u32>,
    length: usize,
}

impl AlignedBytes {
    /// Copies bytes to an aligned place.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0_u32; bytes.len().div_ceil(4)];
        for (to, from) in bytemuck::cast_slice_mut::<u32, u8>(&mut words).iter_mut().zip(bytes) {
            *to = *from;
        }
        Self { words, length: bytes.len() }
    }

    /// Reads a whole file; of one that is too long for a blob, only as much as shows that it is.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        const MOST: u64 = (MAX_BLOB_BYTES + HEADER_BYTES) as u64 + 1;
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        read.map_err(|source| Error::Read { file: path.display().to_string(), source })?;
        Ok(Self::new(&bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let bytes = bytemuck::cast_slice::<u32, u8>(&self.words);
        bytes.get(..self.length).unwrap_or(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_byte_whatever_the_length() {
        for length in 0..9 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(AlignedBytes::new(&bytes).as_slice(), bytes);
        }
    }
}
