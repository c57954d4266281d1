//! SHA-256 whose state can be stored: a run that goes on later hashes on, so that its data have one hash however often it was interrupted.

use serde::{Deserialize, Serialize};
use sha2::compress256;
use sha2::digest::generic_array::GenericArray;

/// Bytes of a block (FIPS 180-4, 5.2.1).
const BLOCK_BYTES: usize = 64;

/// First state (FIPS 180-4, 5.3.3).
const FIRST: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The hash of all bytes so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    state: [u32; 8],
    /// Bytes so far.
    length: u64,
    /// The last bytes, which do not fill a block: `length % BLOCK_BYTES` of them.
    partial: Vec<u8>,
}

impl Default for Digest {
    fn default() -> Self {
        Self { state: FIRST, length: 0, partial: Vec::new() }
    }
}

impl Digest {
    /// Returns the SHA-256 of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> [u8; 32] {
        let mut digest = Self::default();
        digest.update(bytes);
        digest.finish()
    }

    /// Takes in more bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if !self.partial.is_empty() {
            let room = BLOCK_BYTES.saturating_sub(self.partial.len());
            let (head, rest) = bytes.split_at(room.min(bytes.len()));
            self.partial.extend_from_slice(head);
            bytes = rest;
            if self.partial.len() < BLOCK_BYTES {
                return;
            }
            compress(&mut self.state, &self.partial);
            self.partial.clear();
        }
        let blocks = bytes.chunks_exact(BLOCK_BYTES);
        self.partial.extend_from_slice(blocks.remainder());
        blocks.for_each(|block| compress(&mut self.state, block));
    }

    /// Returns the hash: pads to whole blocks with a 1 bit, zeros and the length in bits (FIPS 180-4, 5.1.1).
    pub(crate) fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        let zeros = (2 * BLOCK_BYTES - 9 - self.partial.len()) % BLOCK_BYTES;
        self.update(&[0x80]);
        self.update(&[0; BLOCK_BYTES][..zeros]);
        self.update(&bits.to_be_bytes());
        let mut hash = [0; 32];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        hash
    }

    /// Returns whether a stored state can be one.
    pub(crate) fn is_sound(&self) -> bool {
        self.partial.len() as u64 == self.length % BLOCK_BYTES as u64
    }
}

fn compress(state: &mut [u32; 8], block: &[u8]) {
    compress256(state, std::slice::from_ref(GenericArray::from_slice(block)));
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn hashes_as_the_standard_says_at_every_length() {
        let bytes: Vec<u8> = (0..200).map(|i| (i * 7) as u8).collect();
        for length in 0..=bytes.len() {
            assert_eq!(Digest::of(&bytes[..length]), <[u8; 32]>::from(Sha256::digest(&bytes[..length])), "{length}");
        }
    }

    #[test]
    fn goes_on_from_a_stored_state_wherever_it_was_cut() {
        let bytes: Vec<u8> = (0..200).map(|i| (i * 7) as u8).collect();
        for cut in 0..=bytes.len() {
            let mut first = Digest::default();
            first.update(&bytes[..cut]);
            assert!(first.is_sound());
            let stored = postcard::to_stdvec(&first).unwrap_or_default();
            let mut second: Digest = postcard::from_bytes(&stored).unwrap_or_default();
            second.update(&bytes[cut..]);
            assert_eq!(second.finish(), Digest::of(&bytes), "{cut}");
        }
    }
}
