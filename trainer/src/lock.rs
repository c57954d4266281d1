//! Locks, so that only one process at a time writes a file that takes a long time to compute.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::links;
use crate::output::{Unfinished, WriteError};

/// The longest file name in bytes on nearly every file system.
const MOST_BYTES: usize = 255;

/// The exclusive right to write a file, until this value is dropped. It is held by locking a file
/// beside it, named `.NAME.lock`, or with the SHA-256 of the name if it is too long. A killed
/// process leaves the lock file but not the lock, so a stale file blocks nobody. The holder of the
/// lock removes the file; on a file system without locks it stays.
#[derive(Debug)]
pub struct Lock {
    /// The open file, which holds the lock.
    file: File,
    path: PathBuf,
    /// Removes the file if the process is stopped by a signal; `None` if no lock is held.
    held: Option<Unfinished>,
}

impl Lock {
    /// Takes the lock of the file that will be at `path`. On a file system without locks, this
    /// always succeeds.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process holds the lock. [`Error::Write`] if no file can be
    /// created or locked beside it, if an existing file of that name is not a lock file, or if
    /// `path` leads through a link of another user.
    pub fn beside(path: &Path) -> Result<Self, Error> {
        let target = links::resolve(path).map_err(|found| WriteError::of_another_user(path, &found))?;
        let place = target.with_file_name(name(target.file_name().unwrap_or_default()));
        loop {
            let failed = |cause| WriteError::new(path, cause);
            let file = open(&place).map_err(failed)?;
            let held = match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { file: path.display().to_string(), lock: place.display().to_string() });
                }
                // The previous holder has removed the file since it was opened.
                Ok(()) if !is_at(&file, &place) => continue,
                Ok(()) => Some(Unfinished::new(&place)),
                Err(TryLockError::Error(error)) if is_unknown(&error) => None,
                Err(TryLockError::Error(error)) => return Err(failed(error).into()),
            };
            return Ok(Self { file, path: place, held });
        }
    }
}

/// Returns the name of the lock file for a file.
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

/// Returns whether an error means that the file system has no locks.
fn is_unknown(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let unknown = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK];
        Errno::from_io_error(error).is_some_and(|error| unknown.contains(&error))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::Unsupported
    }
}

/// Opens or creates a lock file. A link is not followed, and a file that is not a lock file is left
/// unchanged.
fn open(place: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    let mut writing = options.clone();
    writing.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Opening must not block on a pipe.
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
        options.custom_flags(flags);
        writing.custom_flags(flags).mode(READABLE);
    }
    loop {
        match writing.clone().create_new(true).open(place) {
            Ok(file) => {
                // Set explicitly, independent of the umask of this user.
                #[cfg(unix)]
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(READABLE))?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let file = writing.open(place).or_else(|error| match error.kind() {
            // Left by a killed run of another user. Opening it for reading is enough to lock it.
            io::ErrorKind::PermissionDenied => options.open(place).map_err(|_| error),
            _ => Err(error),
        });
        match file {
            Ok(file) if is_lock(&file.metadata()?) => return Ok(file),
            Ok(_) => return Err(io::Error::other(format!("{} is not a lock file; remove it", place.display()))),
            // The previous holder has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns whether this may be a lock file: it is empty and has only one name.
fn is_lock(found: &fs::Metadata) -> bool {
    #[cfg(unix)]
    let has_other_names = std::os::unix::fs::MetadataExt::nlink(found) > 1;
    #[cfg(not(unix))]
    let has_other_names = false;
    found.is_file() && found.len() == 0 && !has_other_names
}

/// The mode of a lock file. It is empty, and everyone may open it to take the lock.
#[cfg(unix)]
const READABLE: u32 = 0o644;

impl Drop for Lock {
    fn drop(&mut self) {
        // Only while the lock is held, so that no other process's file is removed.
        if self.held.is_some() && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns whether a path still leads to the open file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let place = |found: &fs::Metadata| (found.dev(), found.ino());
        matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(ours), Ok(there)) if place(&ours) == place(&there))
    }
    #[cfg(not(unix))]
    {
        // On this platform an open file cannot be removed.
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
        assert!(refused.contains("run.ckpt: another process is writing this file"), "{refused}");
        assert!(Lock::beside(&folder.path().join("other.ckpt")).is_ok());
        drop(first);
        assert!(Lock::beside(&path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Names of the largest length have different locks.
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
        assert!(refused.contains("is not a lock file"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_somebody_in_its_place_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("run"), folder.path().join(".run.lock"));
        let private = fs::Permissions::from_mode(0o600);
        fs::write(&place, "theirs").unwrap();
        fs::set_permissions(&place, private.clone()).unwrap();
        let refuses = || Lock::beside(&path).unwrap_err().to_string().contains("is not a lock file");
        assert!(refuses() && fs::read(&place).unwrap() == b"theirs");
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        // Empty, but with a second name (hard link).
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        fs::remove_file(&place).unwrap();
        fs::hard_link(&other, &place).unwrap();
        assert!(refuses() && place.exists());
        // The file of a killed run, and one that replaced the file of a held lock.
        fs::remove_file(&other).unwrap();
        let lock = Lock::beside(&path).unwrap();
        fs::remove_file(&place).unwrap();
        fs::write(&place, "new").unwrap();
        drop(lock);
        assert_eq!(fs::read(&place).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn only_what_says_that_there_are_no_locks_is_forgiven() {
        use rustix::io::Errno;
        for (error, expected) in [
            (Errno::NOSYS, true),
            (Errno::OPNOTSUPP, true),
            (Errno::NOLCK, true),
            (Errno::BADF, false),
            (Errno::IO, false),
            (Errno::INTR, false),
        ] {
            assert_eq!(is_unknown(&error.into()), expected, "{error}");
        }
    }

    /// Threads take and release the lock as fast as they can; never two hold it at once.
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
