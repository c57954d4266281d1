//! SHA-256 with a state that can be stored: a resumed run continues the hash, so that the hash of
//! its data does not depend on interruptions.

use std::fmt;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::{SerializableState as _, SerializedState};
use sha2::{Digest as _, Sha256};

/// Place of the number of blocks in the stored state.
const BLOCKS: Range<usize> = 32..40;
/// Far more than any real input. The number of bits still fits in 64 bits.
const MOST_BLOCKS: u64 = 1 << 54;

/// The hash of all bytes so far.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Returns the SHA-256 of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    /// Adds more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.serialize() == other.0.serialize()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x?})", self.clone().finish())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize().as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let state = Vec::<u8>::deserialize(deserializer)?;
        let state = SerializedState::<Sha256>::try_from(state.as_slice()).map_err(D::Error::custom)?;
        // Number of blocks so far, which the hash multiplies by the bits of a block.
        let blocks = state.get(BLOCKS).and_then(|blocks| blocks.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes);
        if blocks > MOST_BLOCKS {
            return Err(D::Error::custom("a SHA-256 of more bytes than there are"));
        }
        Sha256::deserialize(&state).map(Self).map_err(|_| D::Error::custom("no state of a SHA-256"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// FIPS 180-4's examples. A stored state can be resumed at any byte.
    #[test]
    fn a_stored_state_goes_on() {
        let text = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".repeat(5);
        for at in 0..text.len() {
            let mut digest = Digest::default();
            digest.update(&text[..at]);
            let stored = postcard::to_allocvec(&digest).unwrap();
            let mut again: Digest = postcard::from_bytes(&stored).unwrap();
            assert_eq!(again, digest);
            again.update(&text[at..]);
            assert_eq!(again.finish(), Digest::of(&text), "{at}");
        }
        assert_eq!(Digest::of(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
        let refused = |state: &[u8]| postcard::from_bytes::<Digest>(&postcard::to_allocvec(state).unwrap()).is_err();
        let mut state = [0; 104];
        assert!(!refused(&state) && refused(&state[..103]));
        state[BLOCKS].copy_from_slice(&(MOST_BLOCKS + 1).to_le_bytes());
        assert!(refused(&state));
    }
}
