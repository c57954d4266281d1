//! Signed models: a signature proves who made a model file, for which line of models and as which
//! version.
//!
//! A signature is an optional section of the blob ([`crate::format::FLAG_SIGNATURE`]): a reader
//! that does not know it skips it. [`Signature::claimed`] reads its contents; with the feature
//! `signed`, `Signers::verify` checks whether one of the keys that a device trusts has signed the
//! blob.
//!
//! ```text
//! section = model version u32 | public key, 32 bytes | SHA-256 of the schema, 32 bytes
//!           | Ed25519 signature, 64 bytes | name of the line, 1 to 32 bytes of a-z 0-9 - . _
//! signed  = "feamoe model signature, v1" and zeros up to 32 bytes | SHA-256 of content, 32 bytes
//! content = all bytes of the blob in order, without the CRC (4) and the signature (64)
//! schema  = number of features u16, then for each feature its kind (0 number, 1 category), its
//!           levels u16, its name and its levels' names, then the favourable outcome's name: each
//!           name its length u32, then its bytes
//! ```
//!
//! Integers are little endian.
//!
//! - **What is signed.** All bytes of the blob except two fields: the CRC, which follows from the
//!   rest, and the signature itself. The model, the format version, the flags, the line, the
//!   version, the key and the hash of the schema are thus signed together, and any flipped bit is
//!   refused, by the load or here. A verifier hashes the blob in place, in one pass. The file is
//!   identified by the SHA-256 of all its bytes, which `feamoe inspect` shows.
//! - **Key.** The section contains the Ed25519 public key. This is only a claim, since anyone can
//!   sign with a key of their own. [`Signers`] lists the trusted keys; to revoke a key, remove it
//!   from that list.
//! - **What a signature does not prove.** It does not state when it was made, nor does it expire.
//!   It does not prove that the model is good, fair or fit for a device, nor that it is the newest:
//!   an older model stays signed, and only [`Versions`] keeps it out. Nothing is encrypted.
//! - **Schema.** Its hash is computed from the names of the model, or of the model that it was
//!   exported from. A device that sets values by index, in a blob without names, can thus refuse a
//!   model with other inputs: see [`Signers::schema_sha256`].
//! - **Strict.** S must be below the order of the group, R must be the canonical encoding of its
//!   point, and neither R nor the key may be of small order, so nobody without the key can make a
//!   second signature for a blob, or another message for a signature. Verification handles only
//!   public values, so its time may depend on them.
//! - **Order.** A blob is first loaded, which checks all of it and detects damage, then verified,
//!   and only then used.
//! - **Cost.** On a Cortex-M4F, 2.7 million instructions and 66 more per byte of the model, 3.9 kB
//!   of stack, 17 to 29 kB of flash; once per start and once per update. See [`crate::costs`].
//!
//! # Choice of crates
//! Measured on a Cortex-M4F, one verification of a short message (opt-level 3 and s: flash; at 3:
//! instructions, stack):
//!
//! | crate | flash, kB | instructions | stack | links without a panic |
//! | --- | --- | --- | --- | --- |
//! | ed25519-dalek 3, `verify_strict` | 58, 44 | 1.71 M | 7.6 kB | no |
//! | ed25519-compact 2 | 314, 310 | 1.46 M | 6.1 kB | no |
//! | salty 0.3, in assembly, not strict | 16, 12 | 2.83 M | 2.9 kB | no |
//! | curve25519-dalek 5 and sha2, as here | 55, 43 | 2.57 M | 3.2 kB | yes |
//! | the same, sha2 compact | 28, 18 | 2.57 M | 3.0 kB | yes |
//!
//! The equation of Ed25519 is a dozen lines on the points and scalars of curve25519-dalek; its own
//! product of two scalars uses a table with a check that the compiler cannot remove. Unrolled
//! SHA-512 takes 26 kB; a device sets `--cfg sha2_backend="soft" --cfg sha2_backend_soft="compact"`
//! in its flags, as `firmware-example` does. The proof by linking holds at the opt-levels 2, 3 and
//! s; at 1 a length check in sha2 remains, which never fails.

use core::fmt;

use crate::format;

/// The longest name of a line, in bytes.
pub const MAX_LINE: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of the signed message: domain and hash.
pub const MESSAGE_BYTES: usize = 64;
/// Domain separation: distinguishes signatures of models from any other use of a key.
pub const DOMAIN: [u8; 32] = *b"feamoe model signature, v1\0\0\0\0\0\0";
/// Bytes of the section before the line.
const FIXED_BYTES: usize = 4 + 32 + 32 + SIGNATURE_BYTES;
/// Where the signature starts in the section.
const SIGNATURE_AT: usize = 4 + 32 + 32;

/// A public key of Ed25519, as RFC 8032 encodes it.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct PublicKey(pub [u8; 32]);

/// The contents of the signature section of a blob, which are only a claim until they are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The version of the model within its line.
    pub model_version: u32,
    /// The key that signed.
    pub key: PublicKey,
    /// SHA-256 of the schema.
    pub schema_sha256: [u8; 32],
    /// The line of models.
    pub line: &'a str,
    /// R and S.
    pub signature: [u8; SIGNATURE_BYTES],
    /// Where the signature starts in the blob.
    at: usize,
}

/// Why a model is not trusted.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustError {
    /// The blob has no signature.
    NotSigned,
    /// The signature section is not one that the format allows.
    Malformed,
    /// The blob was signed for another line of models.
    OtherLine,
    /// The blob was signed by a key that is not trusted.
    OtherKey,
    /// The model has other features, names or levels.
    OtherSchema,
    /// The version of the model is below the lowest one accepted.
    OlderVersion {
        /// The version of the model.
        found: u32,
        /// The lowest version accepted.
        least: u32,
    },
    /// The signature is not one of these bytes by this key.
    WrongSignature,
    /// The verifier failed without a verdict, so the model is not trusted.
    Failed {
        /// The verifier's own error code.
        code: i32,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned => f.write_str("the model is not signed"),
            Self::Malformed => f.write_str("the model's signature section is not one that the format allows"),
            Self::OtherLine => f.write_str("the model is signed for another line"),
            Self::OtherKey => f.write_str("the model is signed by a key that is not trusted"),
            Self::OtherSchema => f.write_str("the model is signed for other features, names or levels"),
            Self::OlderVersion { found, least } => {
                write!(f, "the model has version {found} of its line, but the lowest accepted is {least}")
            }
            Self::WrongSignature => {
                f.write_str("the signature is wrong: the model was changed, or the key did not sign it")
            }
            Self::Failed { code } => write!(f, "the model could not be verified: code {code}"),
        }
    }
}

impl core::error::Error for TrustError {}

/// Returns whether a name is valid for a line: 1 to [`MAX_LINE`] bytes of a-z, 0-9, `-`, `.` and
/// `_`.
#[must_use]
pub fn is_line(name: &[u8]) -> bool {
    let is_usual = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    (1..=MAX_LINE).contains(&name.len()) && name.iter().all(is_usual)
}

impl<'a> Signature<'a> {
    /// Returns a section that is to be signed; its signature is zeros.
    #[must_use]
    pub const fn unsigned(line: &'a str, model_version: u32, key: PublicKey, schema_sha256: [u8; 32]) -> Self {
        Self { model_version, key, schema_sha256, line, signature: [0; SIGNATURE_BYTES], at: 0 }
    }

    /// Reads the signature section of a blob that loads. Nothing is verified.
    ///
    /// # Errors
    /// [`TrustError::NotSigned`], [`TrustError::Malformed`].
    pub fn claimed(blob: &'a [u8]) -> Result<Self, TrustError> {
        let (section, start) = format::section(blob, format::FLAG_SIGNATURE).ok_or(TrustError::NotSigned)?;
        Self::parse(section, start.wrapping_add(SIGNATURE_AT)).ok_or(TrustError::Malformed)
    }

    fn parse(section: &'a [u8], at: usize) -> Option<Self> {
        let (version, rest) = section.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (schema_sha256, rest) = rest.split_first_chunk()?;
        let (signature, line) = rest.split_first_chunk()?;
        let line = core::str::from_utf8(line).ok().filter(|line| is_line(line.as_bytes()))?;
        Some(Self {
            model_version: u32::from_le_bytes(*version),
            key: PublicKey(*key),
            schema_sha256: *schema_sha256,
            line,
            signature: *signature,
            at,
        })
    }

    /// Returns the bytes of the section up to the name of the line, which follows them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; FIXED_BYTES] {
        let mut bytes = [0; FIXED_BYTES];
        let version = self.model_version.to_le_bytes();
        let parts = version.iter().chain(&self.key.0).chain(&self.schema_sha256).chain(&self.signature);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// The trust settings of a device: who may sign its models, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Signers<'k> {
    /// The trusted keys; more than one while a key is being replaced.
    pub keys: &'k [PublicKey],
    /// The line of models.
    pub line: &'k str,
    /// SHA-256 of the schema that the firmware was written for, as shown by `feamoe inspect`;
    /// `None` for any. Firmware that sets values by index should set it.
    pub schema_sha256: Option<[u8; 32]>,
    /// The accepted versions.
    pub versions: Versions,
}

/// The accepted versions of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// This version and later ones: the version that the firmware was built with, or the value of a
    /// monotonic hardware counter, whichever is higher.
    From(u32),
    /// Any version, including ones older than the model in use, for a rollback that a person asked
    /// for. It lasts only until the next start if that start uses [`Versions::From`] with a
    /// counter: it then refuses the older model and returns to the other slot. With a counter, sign
    /// the older model again as a newer version instead.
    Any,
}

impl Versions {
    /// Returns these versions without those below `least`; [`Versions::Any`] is unchanged.
    #[must_use]
    pub fn not_before(self, least: u32) -> Self {
        match self {
            Self::From(own) => Self::From(if own > least { own } else { least }),
            Self::Any => Self::Any,
        }
    }
}

#[cfg(feature = "signed")]
mod verify {
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
    use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
    use curve25519_dalek::scalar::Scalar;
    use curve25519_dalek::traits::Identity as _;
    use sha2::{Digest as _, Sha256, Sha512};

    use super::{DOMAIN, MESSAGE_BYTES, PublicKey, SIGNATURE_BYTES, Signature, Signers, TrustError, Versions};
    use crate::frame::{CRC_AT, HEADER_BYTES};

    impl Signers<'_> {
        /// Checks whether one of the keys has signed a valid blob, and returns the signature. Cost:
        /// one pass over the bytes for the hash, about 2.7 million instructions on a Cortex-M4F for
        /// the signature; checks without arithmetic come first.
        ///
        /// # Errors
        /// See [`TrustError`].
        pub fn verify<'a>(&self, blob: &'a [u8]) -> Result<Signature<'a>, TrustError> {
            let claimed = Signature::claimed(blob)?;
            if claimed.line != self.line {
                return Err(TrustError::OtherLine);
            }
            if !self.keys.contains(&claimed.key) {
                return Err(TrustError::OtherKey);
            }
            if self.schema_sha256.is_some_and(|schema| schema != claimed.schema_sha256) {
                return Err(TrustError::OtherSchema);
            }
            if let Versions::From(least) = self.versions
                && claimed.model_version < least
            {
                return Err(TrustError::OlderVersion { found: claimed.model_version, least });
            }
            if claimed.holds_for(blob) { Ok(claimed) } else { Err(TrustError::WrongSignature) }
        }
    }

    impl Signature<'_> {
        /// Returns whether the key in the section has signed these bytes. Does not check whether
        /// that key is trusted; see [`Signers::verify`].
        #[must_use]
        pub fn holds_for(&self, blob: &[u8]) -> bool {
            self.message(blob).is_some_and(|message| self.key.has_signed(&message, &self.signature))
        }

        /// Returns the signed message for the blob that the section was read from; `None` if the
        /// blob is too short.
        #[must_use]
        pub fn message(&self, blob: &[u8]) -> Option<[u8; MESSAGE_BYTES]> {
            let mut hash = Sha256::new();
            hash.update(blob.get(..CRC_AT)?);
            hash.update(blob.get(HEADER_BYTES..self.at)?);
            hash.update(blob.get(self.at.checked_add(SIGNATURE_BYTES)?..)?);
            let mut message = [0; MESSAGE_BYTES];
            let parts = DOMAIN.into_iter().chain(hash.finalize());
            message.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
            Some(message)
        }
    }

    impl PublicKey {
        /// Returns whether this key has signed a message, by the strict rules of [`super`].
        #[must_use]
        pub fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
            let ([r, s], []) = signature.as_chunks::<32>() else { return false };
            let Some(key) = CompressedEdwardsY(self.0).decompress() else { return false };
            let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(*s)) else { return false };
            let mut hash = Sha512::new();
            hash.update(r);
            hash.update(self.0);
            hash.update(message);
            let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
            // S B = R + k A
            let point = difference(&s, &k, key);
            !key.is_small_order() && !point.is_small_order() && point.compress().0 == *r
        }
    }

    /// Returns `s B - k A`, computed bit by bit of both scalars at once. Compared with two
    /// products, this takes half the stack, less code, and no look-up.
    #[allow(clippy::arithmetic_side_effects)] // sums of points are points
    fn difference(s: &Scalar, k: &Scalar, a: EdwardsPoint) -> EdwardsPoint {
        let base = ED25519_BASEPOINT_POINT;
        let both = base - a;
        let mut sum = EdwardsPoint::identity();
        for (s, k) in s.as_bytes().iter().zip(k.as_bytes()).rev() {
            for bit in [7, 6, 5, 4, 3, 2, 1, 0] {
                sum += sum;
                match (s >> bit & 1, k >> bit & 1) {
                    (0, 0) => {}
                    (1, 0) => sum += base,
                    (0, _) => sum -= a,
                    _ => sum += both,
                }
            }
        }
        sum
    }
}
