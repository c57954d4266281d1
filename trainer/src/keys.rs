//! Keys for signed models, as files in the formats of OpenSSL: a private key as PKCS#8 PEM
//! (`openssl genpkey -algorithm ed25519`), a public key as SPKI PEM (`openssl pkey -pubout`).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use feamoe_engine::signature::PublicKey;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::output::WriteError;
use crate::secret::{self, SecretError};

/// The largest key file that is read. Key files have about 120 bytes.
const MOST_BYTES: u64 = 4096;

/// Why a key could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file could not be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file of a private key could not be read, or other users may access it.
    #[error("{}: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        error: SecretError,
    },
    /// The file does not hold the expected kind of key.
    #[error("{}: expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
    /// There is a public key without its private key.
    #[error("{}: there already is a public key, but its private key is not at {}; remove it if nobody uses it, or name another file", public.display(), private.display())]
    NoPrivate {
        /// The public key.
        public: PathBuf,
        /// The expected path of its private key.
        private: PathBuf,
    },
    /// The file exists; a key is never replaced.
    #[error("{}: the file exists, and replacing a key would lose it; name another file", .0.display())]
    Exists(PathBuf),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The system provides no random bytes.
    #[error("the system provides no random bytes: {0}")]
    Random(getrandom::Error),
    /// A key could not be encoded.
    #[error("the key could not be encoded: {0}")]
    Encode(String),
}

/// Reads a private key.
///
/// # Errors
/// See [`KeyError`]. If files have owners, a file of another user, or one that others may read, is
/// refused.
pub fn read_private(path: &Path) -> Result<SigningKey, KeyError> {
    let expected = "a private Ed25519 key as PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it";
    let text = secret::read(path, MOST_BYTES).map_err(|error| KeyError::Secret { path: path.to_owned(), error })?;
    let key = std::str::from_utf8(&text).ok().and_then(|text| SigningKey::from_pkcs8_pem(text).ok());
    key.ok_or_else(|| KeyError::Format { path: path.to_owned(), expected })
}

/// Reads a public key. A key of small order, for which signatures can be forged without a private
/// key, is refused.
///
/// # Errors
/// See [`KeyError`].
pub fn read_public(path: &Path) -> Result<PublicKey, KeyError> {
    let expected = "a public Ed25519 key as PEM, as `openssl pkey -pubout` writes it";
    let failed = |error| KeyError::Read { path: path.to_owned(), error };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text)).map_err(failed)?;
    let text = String::from_utf8(text).unwrap_or_default();
    let key = VerifyingKey::from_public_key_pem(&text).ok().filter(|key| !key.is_weak());
    let key = key.ok_or_else(|| KeyError::Format { path: path.to_owned(), expected })?;
    Ok(PublicKey(key.to_bytes()))
}

/// A key that [`write_new`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The public key.
    pub public: PublicKey,
    /// Whether the private key existed, so that only the public key was written.
    pub had_private: bool,
}

/// Makes a new key pair: the private key at `path`, readable only by its owner, and the public key
/// at `public_path`. No file is replaced. If only the private key exists, because an earlier run
/// was interrupted, only the public key is written.
///
/// # Errors
/// See [`KeyError`]. On an error, nothing was written, or only the private key; in that case the
/// next run writes the public key.
pub fn write_new(path: &Path, public_path: &Path) -> Result<Written, KeyError> {
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let had_private = is_there(path);
    let key = match (had_private, is_there(public_path)) {
        (true, true) => return Err(KeyError::Exists(path.to_owned())),
        (false, true) => {
            return Err(KeyError::NoPrivate { public: public_path.to_owned(), private: path.to_owned() });
        }
        (true, false) => read_private(path)?,
        (false, false) => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
            // Without the public key, as OpenSSL writes it; OpenSSL does not read a file that
            // includes it.
            let mut pair = KeypairBytes { secret_key: *seed, public_key: None };
            let private = pair.to_pkcs8_pem(LineEnding::LF);
            pair.secret_key.zeroize();
            let private = private.map_err(|error| KeyError::Encode(error.to_string()))?;
            write(path, private.as_bytes(), true)?;
            SigningKey::from_bytes(&seed)
        }
    };
    let public =
        key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|error| KeyError::Encode(error.to_string()))?;
    write(public_path, public.as_bytes(), false)?;
    Ok(Written { public: PublicKey(key.verifying_key().to_bytes()), had_private })
}

/// Returns the fingerprint of a key: the SHA-256 of its SPKI in DER, as computed by `openssl pkey
/// -pubin -outform DER | sha256sum`.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> [u8; 32] {
    /// The prefix of an Ed25519 SPKI (RFC 8410), before the 32 bytes of the key.
    const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    Sha256::new().chain_update(SPKI).chain_update(key.0).finalize().into()
}

/// Writes a file that must not exist yet.
fn write(path: &Path, bytes: &[u8], is_secret: bool) -> Result<(), KeyError> {
    secret::write_new(path, bytes, is_secret).map_err(|error| match error.is_already_there() {
        true => KeyError::Exists(path.to_owned()),
        false => error.into(),
    })
}
