//! Files that are whole or not there: written beside their place, then renamed.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why a file could not be written; the place keeps what it held before.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; check the folder, its permissions and the free space", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

impl WriteError {
    /// Says that writing to `path` failed.
    #[must_use]
    pub fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

/// A file in the making. Dropped before [`OutputFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    writer: Writer,
}

#[derive(Debug)]
enum Writer {
    /// Renamed into place at the end.
    Beside(BufWriter<NamedTempFile>),
    /// A device or pipe, which must not be replaced by a file.
    Straight(BufWriter<fs::File>),
}

impl OutputFile {
    /// Opens a file beside `path`, in the same folder so that the rename stays within a file system.
    ///
    /// # Errors
    /// Where the folder is missing or cannot be written.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let writer = if special {
            fs::OpenOptions::new().write(true).open(path).map(|file| Writer::Straight(BufWriter::new(file)))
        } else {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            // The permissions of a file made the usual way, not the temporary file's private ones.
            let mut builder = tempfile::Builder::new();
            builder.prefix(".feamoe-");
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            builder.tempfile_in(folder.unwrap_or(Path::new("."))).map(|file| Writer::Beside(BufWriter::new(file)))
        };
        match writer {
            Ok(writer) => Ok(Self { path: path.to_owned(), writer }),
            Err(source) => Err(WriteError::new(path, source)),
        }
    }

    /// Writes bytes, naming the file where that fails.
    ///
    /// # Errors
    /// Where the bytes do not fit.
    pub fn write_whole(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_all(bytes).map_err(|source| WriteError::new(&self.path, source))
    }

    /// Finishes the file: flushes it to the disk and puts it in its place.
    ///
    /// # Errors
    /// Where the last bytes or the rename fail; then the place is as it was.
    pub fn commit(self) -> Result<(), WriteError> {
        let path = self.path;
        let done = match self.writer {
            Writer::Beside(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
                file.as_file().sync_all()?;
                file.persist(&path).map(drop).map_err(|error| error.error)
            }),
            Writer::Straight(mut writer) => writer.flush(),
        };
        done.map_err(|source| WriteError::new(&path, source))
    }

    /// Returns where the file will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Writer::Beside(writer) => writer.write(bytes),
            Writer::Straight(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Beside(writer) => writer.flush(),
            Writer::Straight(writer) => writer.flush(),
        }
    }
}

/// Writes a whole file by way of [`OutputFile`].
///
/// # Errors
/// Where it cannot be written; the place keeps what it held before.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut file = OutputFile::create(path)?;
    file.write_whole(bytes)?;
    file.commit()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_the_old_one_and_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write_file(&path, b"old").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_file(&path, b"newer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = write_file(Path::new("no-such-folder/model"), b"").unwrap_err();
        assert!(error.to_string().contains("no-such-folder/model"), "{error}");
    }
}
