//! The file of a checkpoint. Only one process at a time writes it, and it replaces only a version
//! that it knows.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::lock::Lock;
use crate::output::{OutputFile, WriteError};
use crate::rows::Digest;

/// The exclusive right to write the file of a checkpoint, until this value is dropped.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    /// The hash of the known contents of the file; `None` if there is no file.
    known: Option<[u8; 32]>,
    _lock: Option<Lock>,
}

impl CheckpointFile {
    /// Takes the [`Lock`] of a file, which may exist or not. A device or pipe needs no lock.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process writes it, and [`Error::Write`] if it cannot be
    /// written, or an existing file cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::check(path)?;
        let is_file = path.metadata().map_or(true, |found| found.is_file());
        let lock = is_file.then(|| Lock::beside(path)).transpose()?;
        let known = hash_at(path).map_err(|cause| WriteError::new(path, cause))?;
        Ok(Self { path: path.to_owned(), known, _lock: lock })
    }

    /// Checks that the file can be written.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn check(path: &Path) -> Result<(), Error> {
        OutputFile::create_private(path)?;
        Ok(())
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the bytes of a checkpoint to a temporary file; [`OutputFile::commit`] renames it. A
    /// new file is readable only by its owner, since it holds values of rows.
    ///
    /// # Errors
    /// [`Error::ChangedCheckpoint`] if the file was changed meanwhile without the lock, or
    /// [`Error::Write`].
    pub fn prepare(&self, bytes: &[u8]) -> Result<OutputFile, Error> {
        if hash_at(&self.path).map_err(|cause| WriteError::new(&self.path, cause))? != self.known {
            return Err(Error::ChangedCheckpoint { file: self.path.display().to_string() });
        }
        let mut file = OutputFile::create_private(&self.path)?;
        file.write_whole(bytes)?;
        Ok(file)
    }

    /// Writes the bytes of a checkpoint atomically.
    ///
    /// # Errors
    /// The errors of [`CheckpointFile::prepare`]. The file is then unchanged.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.prepare(bytes)?.commit()?;
        self.known = Some(Digest::of(bytes));
        Ok(())
    }
}

/// Returns the hash of a file; `None` if it does not exist or is not a regular file.
fn hash_at(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match path.metadata() {
        Ok(found) if found.is_file() => hash(path).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the hash of a file of any length.
fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = BufReader::new(File::open(path)?);
    let mut digest = Digest::default();
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(digest.finish());
        }
        digest.update(bytes);
        let length = bytes.len();
        file.consume(length);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// An unreadable file is not treated as absent, and is not replaced.
    #[cfg(unix)]
    #[test]
    fn a_file_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(hash_at(&at("none")).unwrap(), None);
        assert_eq!(hash_at(folder.path()).unwrap(), None);
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        assert!(hash_at(&at("round")).is_err());
        std::fs::write(at("file"), "").unwrap();
        assert_eq!(hash_at(&at("file")).unwrap(), Some(Digest::of(b"")));
        assert!(hash_at(&at("file").join("below")).is_err());
    }
}
