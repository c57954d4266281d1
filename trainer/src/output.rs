//! Files that are whole or not there: written beside their place, then renamed.
//!
//! A run that fails removes what it wrote. One that is killed cannot: it may leave a file named `.feamoe-` and some letters in the folder of its
//! output, which nothing reads and which can be deleted.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why a file could not be written; the place keeps what it held before.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {}{}", path.display(), reason(cause), advice(cause.kind()))]
pub struct WriteError {
    path: PathBuf,
    // Not a `source`: the message above is complete, a chain would say it twice.
    cause: io::Error,
}

impl WriteError {
    /// Says that writing to `path` failed.
    #[must_use]
    pub fn new(path: &Path, cause: io::Error) -> Self {
        Self { path: path.to_owned(), cause }
    }

    /// Says that writing to standard output failed.
    #[must_use]
    pub fn standard_output(cause: io::Error) -> Self {
        Self::new(Path::new("standard output"), cause)
    }

    /// Returns whether the reader of a pipe had enough.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        self.cause.kind() == io::ErrorKind::BrokenPipe
    }
}

/// The system's words, without the temporary file's name that `tempfile` adds: nobody knows that name.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

fn advice(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as K;
    match kind {
        K::NotFound => "; make the folder first",
        K::NotADirectory | K::AlreadyExists => "; what stands there for a folder is a file",
        K::IsADirectory => "; that is a folder, name a file",
        K::StorageFull | K::FileTooLarge | K::QuotaExceeded => "; free some space, or choose another place",
        K::PermissionDenied | K::ReadOnlyFilesystem => "; check the permissions, or choose another place",
        _ => "",
    }
}

/// A file in the making. Dropped before [`OutputFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    /// As it was named.
    path: PathBuf,
    /// The file itself, behind whatever links lead to it: a rename to `path` would replace the link.
    target: PathBuf,
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
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let writer = if special {
            fs::OpenOptions::new().write(true).open(path).map(|file| Writer::Straight(BufWriter::new(file)))
        } else {
            let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty());
            // The permissions of a file made the usual way, not the temporary file's private ones.
            let mut builder = tempfile::Builder::new();
            builder.prefix(".feamoe-");
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            builder.tempfile_in(folder.unwrap_or(Path::new("."))).map(|file| Writer::Beside(BufWriter::new(file)))
        };
        match writer {
            Ok(writer) => Ok(Self { path: path.to_owned(), target, writer }),
            Err(cause) => Err(WriteError::new(path, cause)),
        }
    }

    /// Writes bytes, to the disk, naming the file where that fails: all that is left for [`OutputFile::commit`] is to put it in its place.
    ///
    /// # Errors
    /// Where the bytes do not fit.
    pub fn write_whole(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let written = self.write_all(bytes).and_then(|()| self.flush()).and_then(|()| match &self.writer {
            Writer::Beside(writer) => writer.get_ref().as_file().sync_all(),
            Writer::Straight(_) => Ok(()),
        });
        written.map_err(|cause| WriteError::new(&self.path, cause))
    }

    /// Finishes the file: flushes it to the disk and puts it in its place.
    ///
    /// # Errors
    /// Where the last bytes or the rename fail; then the place is as it was.
    pub fn commit(self) -> Result<(), WriteError> {
        let done = match self.writer {
            Writer::Beside(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
                file.as_file().sync_all()?;
                file.persist(&self.target).map(drop).map_err(|error| error.error)
            }),
            Writer::Straight(mut writer) => writer.flush(),
        };
        done.map_err(|cause| WriteError::new(&self.path, cause))
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
        assert_eq!(
            error.to_string(),
            "cannot write no-such-folder/model: No such file or directory (os error 2); make the folder first"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_the_file_behind_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_file(&file, b"old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
