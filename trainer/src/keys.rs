//! The keys of signed models, as files in the formats of OpenSSL: a private key as PKCS#8 PEM
//! (`openssl genpkey -algorithm ed25519`), a public one as SPKI PEM (`openssl pkey -pubout`).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use feamoe_engine::signature::PublicKey;
use sha2::{Digest as _, Sha256};

use crate::output::WriteError;

/// A key's file has some 120 bytes; of more than this nothing is read.
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
    /// Others than its owner may read a private key.
    #[error("{}: found mode {mode:03o}, others may read the private key; expected 600: take it from them, `chmod 600`", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else than was asked for.
    #[error("{}: expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
    /// There is a file already: a key is never replaced.
    #[error("{}: there is a file already, and a key that is replaced is lost; name another file", .0.display())]
    Exists(PathBuf),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// A key could not be encoded.
    #[error("the key could not be encoded: {0}")]
    Encode(String),
}

/// Reads a private key.
///
/// # Errors
/// See [`KeyError`]: one that others may read is refused, where files have owners.
pub fn read_private(path: &Path) -> Result<SigningKey, KeyError> {
    let file = open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let found = file.metadata().map_err(|error| KeyError::Read { path: path.to_owned(), error })?;
        let mode = found.mode() & 0o777;
        if found.is_file() && mode & 0o077 != 0 {
            return Err(KeyError::Readable { path: path.to_owned(), mode });
        }
    }
    let expected = "a private Ed25519 key as PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it";
    let text = read(path, file, expected)?;
    SigningKey::from_pkcs8_pem(&text).map_err(|_| KeyError::Format { path: path.to_owned(), expected })
}

/// Reads a public key. One of small order, for which signatures can be made without a private key,
/// is refused.
///
/// # Errors
/// See [`KeyError`].
pub fn read_public(path: &Path) -> Result<PublicKey, KeyError> {
    let expected = "a public Ed25519 key as PEM, as `openssl pkey -pubout` writes it";
    let text = read(path, open(path)?, expected)?;
    let key = VerifyingKey::from_public_key_pem(&text).ok().filter(|key| !key.is_weak());
    let key = key.ok_or_else(|| KeyError::Format { path: path.to_owned(), expected })?;
    Ok(PublicKey(key.to_bytes()))
}

/// Makes a new key: the private one at `path`, for its owner alone, the public one at
/// `public_path`. No file is replaced.
///
/// # Errors
/// See [`KeyError`]; then nothing was written, or the private key alone.
pub fn write_new(path: &Path, public_path: &Path) -> Result<PublicKey, KeyError> {
    if let Some(path) = [path, public_path].into_iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(KeyError::Exists(path.to_owned()));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyError::Random)?;
    let key = SigningKey::from_bytes(&seed);
    // Without the public key, as OpenSSL writes it: with it, OpenSSL does not read it.
    let pair = KeypairBytes { secret_key: seed, public_key: None };
    let private = pair.to_pkcs8_pem(LineEnding::LF).map_err(|error| KeyError::Encode(error.to_string()))?;
    write(path, private.as_bytes(), 0o600)?;
    let public =
        key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|error| KeyError::Encode(error.to_string()))?;
    write(public_path, public.as_bytes(), 0o644)?;
    Ok(PublicKey(key.verifying_key().to_bytes()))
}

/// Returns what a key is known by: the SHA-256 of its SPKI in DER, which `openssl pkey -pubin
/// -outform DER | sha256sum` gives too.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> [u8; 32] {
    /// SPKI of Ed25519 (RFC 8410) before the 32 bytes of the key.
    const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    Sha256::new().chain_update(SPKI).chain_update(key.0).finalize().into()
}

fn open(path: &Path) -> Result<File, KeyError> {
    File::open(path).map_err(|error| KeyError::Read { path: path.to_owned(), error })
}

fn read(path: &Path, file: File, expected: &'static str) -> Result<String, KeyError> {
    let mut text = Vec::new();
    let read = file.take(MOST_BYTES).read_to_end(&mut text);
    read.map_err(|error| KeyError::Read { path: path.to_owned(), error })?;
    String::from_utf8(text).map_err(|_| KeyError::Format { path: path.to_owned(), expected })
}

/// Writes a file that is not there yet: beside its place, then put there.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => WriteError::new(path, cause).into(),
    };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist_noclobber(path).map(drop).map_err(|error| failed(error.error))
}
