//! Files with a secret, such as a key: only their owner may read them, and what is read from them
//! is wiped from memory.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::output::{WriteError, sync_folder};

/// Why a secret was not read, without the name of its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file could not be read.
    #[error(transparent)]
    Read(io::Error),
    /// Users other than the owner may read or change the file.
    #[error("found mode {0:03o}, with which others may read or change the secret; expected 600; run `chmod 600`")]
    Exposed(u32),
    /// The file belongs to another user, who can read and change it.
    #[error(
        "found a file of user {found}, who can read and change the secret; expected a file of user {expected}; run this as its owner, or change the owner with `chown`"
    )]
    OfAnother {
        /// Who owns the file.
        found: u32,
        /// Who runs this.
        expected: u32,
    },
}

/// Reads a file of at most a number of bytes that only its owner can read, on systems where files
/// have owners.
///
/// # Errors
/// See [`SecretError`].
pub(crate) fn read(path: &Path, most_bytes: u64) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let file = File::open(path).map_err(SecretError::Read)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let found = file.metadata().map_err(SecretError::Read)?;
        let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
        // A pipe from another command, `--key <(...)`, is nobody's file.
        if found.is_file() && owner != user {
            return Err(SecretError::OfAnother { found: owner, expected: user });
        }
        let mode = found.mode() & 0o777;
        if found.is_file() && mode & 0o077 != 0 {
            return Err(SecretError::Exposed(mode));
        }
    }
    // Of its full size from the start: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(most_bytes).unwrap_or(usize::MAX)));
    file.take(most_bytes).read_to_end(&mut bytes).map_err(SecretError::Read)?;
    Ok(bytes)
}

/// Writes a new file: first beside its place, then moved there. `is_secret`: only the owner may
/// read it.
///
/// # Errors
/// [`WriteError`], also if the file exists: no file is replaced.
pub(crate) fn write_new(path: &Path, bytes: &[u8], is_secret: bool) -> Result<(), WriteError> {
    let failed = |cause: io::Error| WriteError::new(path, cause);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let mode = if is_secret { 0o600 } else { 0o644 };
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    sync_folder(path).map_err(failed)
}
