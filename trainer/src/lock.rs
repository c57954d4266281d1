//! Who writes a file that takes long to make: one process at a time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::links;
use crate::output::{Unfinished, WriteError};

/// Most bytes of a file's name, on nearly every file system.
const MOST_BYTES: usize = 255;

/// The right to write a file, until it is dropped: a locked file beside it, `.NAME.lock`, or with
/// the SHA-256 of a name that leaves no space. A process that is killed leaves that file, but not
/// the lock; then it keeps nobody away, other users included.
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
    /// beside it, or `path` leads through a link of another user.
    pub fn beside(path: &Path) -> Result<Self, Error> {
        let target = links::resolve(path).map_err(|found| WriteError::of_another_user(path, &found))?;
        let place = target.with_file_name(name(target.file_name().unwrap_or_default()));
        loop {
            let file = open(&place).map_err(|cause| WriteError::new(path, cause))?;
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

/// Returns the name of a file's lock.
fn name(of: &OsStr) -> OsString {
    let mut lock = OsString::from(".");
    lock.push(of);
    lock.push(".lock");
    if lock.len() > MOST_BYTES {
        let hash = Sha256::digest(of.as_encoded_bytes());
        lock = format!(".{}.lock", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).into();
    }
    lock
}

/// Opens a lock's file, or makes it. A link is not followed.
fn open(place: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    let mut making = options.clone();
    making.write(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Without waiting, if it is a pipe.
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
        options.custom_flags(flags);
        making.custom_flags(flags).mode(READABLE);
    }
    let file = making.open(place).or_else(|error| match error.kind() {
        // What a killed run of another user left: to lock it, reading it is enough.
        io::ErrorKind::PermissionDenied => options.open(place).map_err(|_| error),
        _ => Err(error),
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is no file; remove it", place.display())));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Whatever the mask of this user; what is another's stays as it is.
        let _ = file.set_permissions(fs::Permissions::from_mode(READABLE));
    }
    Ok(file)
}

/// The mode of a lock's file, which is empty: everybody may open it to take the lock.
#[cfg(unix)]
const READABLE: u32 = 0o644;

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
        matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(ours), Ok(there)) if place(&ours) == place(&there))
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

    /// A name as long as any may be; two of them have two locks.
    #[test]
    fn a_long_name_has_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        for length in [248, 249, 250, 255] {
            let of = |last: &str| folder.path().join("n".repeat(length - 1) + last);
            let _first = Lock::beside(&of("1")).unwrap();
            assert!(Lock::beside(&of("1")).is_err() && Lock::beside(&of("2")).is_ok(), "{length}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_its_place_is_not_followed_and_a_pipe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("run"), folder.path().join(".run.lock"));
        std::os::unix::fs::symlink("victim", &place).unwrap();
        assert!(Lock::beside(&path).is_err() && !folder.path().join("victim").exists());
        fs::remove_file(&place).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let refused = Lock::beside(&path).unwrap_err().to_string();
        assert!(refused.contains("is no file"), "{refused}");
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
