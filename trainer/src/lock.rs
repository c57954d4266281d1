//! Who writes a file that takes long to make: one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::links;
use crate::output::{Unfinished, WriteError, destination};

/// The right to write a file, until it is dropped: a locked file beside it, `.NAME.lock`. A process
/// that is killed leaves that file, but not the lock.
#[derive(Debug)]
pub struct Lock {
    /// Holds the lock.
    _file: File,
    path: PathBuf,
    _unfinished: Unfinished,
}

impl Lock {
    /// Takes the lock of the file that will be at `path`. Where the file system knows no locks,
    /// everybody gets it.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it; [`Error::Write`] where no file can be made
    /// beside it.
    pub fn beside(path: &Path) -> Result<Self, Error> {
        let target = destination(path);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let place = target.with_file_name(format!(".{name}.lock"));
        let failed = |cause| Error::from(WriteError::new(path, cause));
        if let Some(found) = links::of_another_user(&place) {
            return Err(failed(io::Error::other(format!("{} belongs to another user", found.display()))));
        }
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&place).map_err(failed)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { file: path.display().to_string(), lock: place.display().to_string() });
                }
                // Whoever had it has removed it since it was opened.
                Ok(()) if !is_at(&file, &place) => continue,
                Ok(()) | Err(TryLockError::Error(_)) => {
                    let unfinished = Unfinished::new(&place);
                    return Ok(Self { _file: file, path: place, _unfinished: unfinished });
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is held: nobody else's is removed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns whether a path still leads to an open file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let place = |found: &fs::Metadata| (found.dev(), found.ino());
        matches!((file.metadata(), fs::metadata(path)), (Ok(ours), Ok(there)) if place(&ours) == place(&there))
    }
    #[cfg(not(unix))]
    {
        // An open file is not removed there.
        let _ = (file, path);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.ckpt");
        let first = Lock::beside(&path).unwrap();
        let refused = Lock::beside(&path).unwrap_err().to_string();
        assert!(refused.contains("run.ckpt: another process writes this file"), "{refused}");
        assert!(Lock::beside(&folder.path().join("other.ckpt")).is_ok());
        drop(first);
        assert!(Lock::beside(&path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Threads that take and leave it as fast as they can: never two at once.
    #[test]
    fn a_race_has_one_winner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.ckpt");
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let Ok(lock) = Lock::beside(&path) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        drop(lock);
                    }
                });
            }
        });
        assert!(taken.into_inner() > 1_000);
    }
}
