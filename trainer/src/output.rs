//! Atomic output files: written under a temporary name, then renamed.
//!
//! A run that fails removes its temporary files, and so does a run that is stopped by a signal,
//! with [`remove_unfinished`]. A killed run may leave a file named `.feamoe-` and some letters in
//! the folder of its output. Nothing reads that file, and the next output in the folder removes it.
//! Temporary files are locked while they are written, so that only abandoned ones are removed.
//!
//! Devices, pipes and open descriptors (`/dev/fd/3`) are written directly: if a run fails, what it
//! wrote before remains.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::NamedTempFile;

use crate::escaped::Escaped;
use crate::links;
pub use crate::links::destination;

/// Why a file could not be written. An existing file is left unchanged.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {}{}", path.display(), reason(cause), advice(cause.kind()))]
pub struct WriteError {
    path: PathBuf,
    // Not a `source`, because the message above already includes it.
    cause: io::Error,
}

impl WriteError {
    /// Creates the error for a failure to write to `path`.
    #[must_use]
    pub fn new(path: &Path, cause: io::Error) -> Self {
        Self { path: path.to_owned(), cause }
    }

    /// Creates the error for a file or link on the way to `path` that belongs to another user,
    /// possibly an attacker.
    pub(crate) fn of_another_user(path: &Path, found: &Path) -> Self {
        let cause = format!(
            "{} belongs to another user, in a folder where everyone may write; name a file of your own",
            found.display()
        );
        Self::new(path, io::Error::other(cause))
    }

    /// Creates the error for a failure to write to standard output.
    #[must_use]
    pub fn standard_output(cause: io::Error) -> Self {
        Self::new(Path::new("standard output"), cause)
    }

    /// Returns whether the error is that the file exists and must not be replaced.
    #[must_use]
    pub fn is_already_there(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AlreadyExists
    }

    /// Returns whether the reader closed the pipe.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        self.cause.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Returns the message of the system, without the name of the temporary file that `tempfile` adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

fn advice(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as K;
    match kind {
        K::NotFound => "; create the folder first",
        K::NotADirectory | K::AlreadyExists => "; part of the path is a file, not a folder",
        K::IsADirectory => "; this is a folder, name a file",
        K::StorageFull | K::FileTooLarge | K::QuotaExceeded => "; free some space, or choose another place",
        K::PermissionDenied | K::ReadOnlyFilesystem => "; check the permissions, or choose another place",
        _ => "",
    }
}

/// An output file. If it is dropped before [`OutputFile::commit`], nothing is left behind.
#[derive(Debug)]
pub struct OutputFile {
    /// The path as it was given.
    path: PathBuf,
    /// The path with all links resolved; renaming to `path` would replace a link.
    target: PathBuf,
    writer: Writer,
}

#[derive(Debug)]
enum Writer {
    /// A temporary file that is renamed at the end.
    Beside(BufWriter<NamedTempFile>, Unfinished),
    /// A device, a pipe or an open descriptor, which must not be replaced by a file.
    Straight(BufWriter<fs::File>),
    /// A terminal that gets text.
    Terminal(BufWriter<Escaped<fs::File>>),
    /// Standard output, which gets all bytes at the end.
    Standard(Vec<u8>),
}

/// The path that stands for standard output.
pub const STANDARD_OUTPUT: &str = "-";

/// Returns whether a path names standard output: `-`, or a path to its descriptor such as
/// `/dev/stdout`.
#[must_use]
pub fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == STANDARD_OUTPUT || links::standard_stream(path) == Some(1)
}

/// The kind of content of an output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Text, which is escaped on a terminal.
    Text,
    /// Binary data, for which a terminal is refused.
    Binary,
}

impl OutputFile {
    /// Opens a temporary file for text in the folder of `path`, so that the rename stays within one
    /// file system. It takes the mode and, if allowed, the owner of the file that it replaces.
    /// Links are followed, including a link to a file that does not exist yet. `-` is standard
    /// output: the content is kept in memory and written at the end. On a terminal, control
    /// characters are escaped.
    ///
    /// # Errors
    /// If the folder is missing or not writable, or if the file or a link on the way to it is in a
    /// world-writable folder and belongs to another user.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        Self::create_with(path, Content::Text, 0o666)
    }

    /// Like [`OutputFile::create`], for binary data.
    ///
    /// # Errors
    /// Like [`OutputFile::create`], and also if `path` is a terminal.
    pub fn create_binary(path: &Path) -> Result<Self, WriteError> {
        Self::create_with(path, Content::Binary, 0o666)
    }

    /// Like [`OutputFile::create_binary`], but only the owner may access a new file.
    ///
    /// # Errors
    /// Like [`OutputFile::create_binary`].
    pub fn create_private(path: &Path) -> Result<Self, WriteError> {
        Self::create_with(path, Content::Binary, 0o600)
    }

    fn create_with(path: &Path, content: Content, mode: u32) -> Result<Self, WriteError> {
        if is_standard_output(path) {
            refuse_terminal(&io::stdout(), content).map_err(WriteError::standard_output)?;
            return Ok(Self { path: path.to_owned(), target: path.to_owned(), writer: Writer::Standard(Vec::new()) });
        }
        let failed = |cause| WriteError::new(path, cause);
        let target = links::resolve(path).map_err(|found| WriteError::of_another_user(path, &found))?;
        if let Some(device) = device(path, &target).map_err(failed)? {
            refuse_terminal(&device, content).map_err(failed)?;
            let writer = match device.is_terminal() {
                true => Writer::Terminal(BufWriter::new(Escaped::new(device))),
                false => Writer::Straight(BufWriter::new(device)),
            };
            return Ok(Self { path: path.to_owned(), target, writer });
        }
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The default permissions of new files, not the private ones of temporary files.
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        #[cfg(not(unix))]
        let _ = mode;
        remove_stale(folder);
        let file = locked(&builder, folder).map_err(failed)?;
        take_after(file.as_file(), &target).map_err(failed)?;
        let unfinished = Unfinished::new(file.path());
        Ok(Self { path: path.to_owned(), target, writer: Writer::Beside(BufWriter::new(file), unfinished) })
    }

    /// Writes bytes and syncs them to the disk, so that [`OutputFile::commit`] only has to rename
    /// the file.
    ///
    /// # Errors
    /// If the bytes cannot be written.
    pub fn write_whole(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let written = self.write_all(bytes).and_then(|()| self.flush()).and_then(|()| match &self.writer {
            Writer::Beside(writer, _) => writer.get_ref().as_file().sync_all(),
            Writer::Straight(_) | Writer::Terminal(_) | Writer::Standard(_) => Ok(()),
        });
        written.map_err(|cause| WriteError::new(&self.path, cause))
    }

    /// Finishes the file: syncs it to the disk and renames it.
    ///
    /// # Errors
    /// If writing the last bytes or the rename fails. An existing file is then unchanged.
    pub fn commit(self) -> Result<(), WriteError> {
        let done = match self.writer {
            Writer::Beside(writer, unfinished) => {
                let done = writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
                    file.as_file().sync_all()?;
                    file.persist(&self.target).map(drop).map_err(|error| error.error)?;
                    sync_folder(&self.target)
                });
                drop(unfinished);
                done
            }
            Writer::Straight(mut writer) => writer.flush(),
            Writer::Terminal(mut writer) => writer.flush(),
            Writer::Standard(bytes) => {
                let mut out = io::stdout().lock();
                let written = match out.is_terminal() {
                    true => Escaped::new(&mut out).write_all(&bytes),
                    false => out.write_all(&bytes),
                };
                return written.and_then(|()| out.flush()).map_err(WriteError::standard_output);
            }
        };
        done.map_err(|cause| WriteError::new(&self.path, cause))
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens what must not be replaced by a file: a device, a pipe, standard error, or an open
/// descriptor (a file is appended to). Returns `None` for any other file, or if there is none.
/// `target` is `path` with links resolved.
fn device(path: &Path, target: &Path) -> io::Result<Option<fs::File>> {
    #[cfg(unix)]
    if links::standard_stream(path) == Some(2) {
        use std::os::fd::AsFd as _;
        return Ok(Some(io::stderr().as_fd().try_clone_to_owned()?.into()));
    }
    #[cfg(not(unix))]
    let _ = path;
    let is_descriptor = links::is_descriptor(target);
    if !is_descriptor && fs::symlink_metadata(target).map_or(true, |found| found.is_file()) {
        return Ok(None);
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).append(is_descriptor);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt as _;
        // The link of a descriptor belongs to the system and may be followed.
        let links = if is_descriptor { OFlags::empty() } else { OFlags::NOFOLLOW };
        options.custom_flags((links | OFlags::NOCTTY).bits().cast_signed());
    }
    let device = options.open(target)?;
    // In the meantime a regular file may have taken its place.
    match !is_descriptor && device.metadata()?.is_file() {
        true => Err(io::Error::other("it was replaced by a file meanwhile")),
        false => Ok(Some(device)),
    }
}

fn refuse_terminal(place: &impl IsTerminal, content: Content) -> io::Result<()> {
    match content == Content::Binary && place.is_terminal() {
        true => Err(io::Error::other("a terminal cannot show binary data; name a file, or redirect the output")),
        false => Ok(()),
    }
}

/// The prefix of the names of temporary files.
const PREFIX: &str = ".feamoe-";

/// The temporary files of this process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Registers a temporary file until it is renamed or removed.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub(crate) fn new(path: &Path) -> Self {
        if let Ok(mut files) = UNFINISHED.lock() {
            files.push(path.to_owned());
        }
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Ok(mut files) = UNFINISHED.lock() {
            files.retain(|file| *file != self.0);
        }
    }
}

/// Removes all temporary files of this process, which is about to exit.
pub fn remove_unfinished() {
    if let Ok(files) = UNFINISHED.lock() {
        files.iter().for_each(|file| _ = fs::remove_file(file));
    }
}

/// Creates a temporary file and locks it, so that other processes see that it is in use.
fn locked(builder: &tempfile::Builder<'_, '_>, folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file = builder.tempfile_in(folder)?;
        match file.as_file().try_lock() {
            // Another process that removes abandoned files has locked it.
            Err(fs::TryLockError::WouldBlock) => continue,
            Ok(()) if !file.path().exists() => continue,
            // Some file systems have no locks; abandoned files are not removed there.
            Ok(()) | Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Removes temporary files that killed runs left in a folder.
fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    for path in entries.filter_map(Result::ok).filter(is_file).map(|entry| entry.path()) {
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if is_ours
            && let Ok(file) = fs::File::open(&path)
            && file.try_lock().is_ok()
        {
            _ = fs::remove_file(&path);
        }
    }
}

/// Gives a new file the mode and the owner of the file that it will replace, if there is one.
#[cfg(unix)]
fn take_after(file: &fs::File, target: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    /// Bits of a mode: set-user-ID and set-group-ID; the permissions of the group.
    const SET_ID: u32 = 0o6000;
    const OF_GROUP: u32 = 0o070;
    let Ok(old) = fs::metadata(target) else { return Ok(()) };
    let mut mode = old.mode() & 0o7777;
    // Only root may change the owner. Other users keep the file, and give it to its old group if
    // they are a member. Another group gets no permissions.
    if fchown(file, Some(old.uid()), Some(old.gid())).is_err() {
        mode &= !SET_ID;
        if fchown(file, None, Some(old.gid())).is_err() {
            mode &= !OF_GROUP;
        }
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn take_after(_: &fs::File, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a rename durable by syncing the folder.
#[cfg(unix)]
pub(crate) fn sync_folder(target: &Path) -> io::Result<()> {
    let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every file system supports this, and not every user may read the folder. The file has
        // been renamed already.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Writer::Beside(writer, _) => writer.write(bytes),
            Writer::Straight(writer) => writer.write(bytes),
            Writer::Terminal(writer) => writer.write(bytes),
            Writer::Standard(all) => {
                all.try_reserve(bytes.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
                all.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Beside(writer, _) => writer.flush(),
            Writer::Straight(writer) => writer.flush(),
            Writer::Terminal(writer) => writer.flush(),
            Writer::Standard(_) => Ok(()),
        }
    }
}

/// Writes a whole file through [`OutputFile`].
///
/// # Errors
/// If it cannot be written. An existing file is then unchanged.
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
    fn what_a_killed_run_left_is_removed_by_the_next_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        fs::write(folder.path().join(".feamoe-left"), b"half").unwrap();
        let first = OutputFile::create(&folder.path().join("a")).unwrap();
        assert_eq!(names(), 1, "the stale one is gone");
        let second = OutputFile::create(&folder.path().join("b")).unwrap();
        assert_eq!(names(), 2);
        second.commit().unwrap();
        first.commit().unwrap();
        assert!(folder.path().join("a").exists() && folder.path().join("b").exists());
    }

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
            "cannot write no-such-folder/model: No such file or directory (os error 2); create the folder first"
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

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_mode_and_a_link_to_nothing_is_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        let write = |file: Result<OutputFile, WriteError>| {
            let mut file = file.unwrap();
            file.write_whole(b"x").unwrap();
            file.commit().unwrap();
        };
        let path = folder.path().join("old");
        fs::write(&path, b"old").unwrap();
        for kept in [0o640, 0o604, 0o444] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            write(OutputFile::create(&path));
            assert_eq!(mode("old"), kept);
            write(OutputFile::create_private(&path));
            assert_eq!(mode("old"), kept);
        }
        write(OutputFile::create_private(&folder.path().join("private")));
        assert_eq!(mode("private"), 0o600);

        fs::create_dir(folder.path().join("deep")).unwrap();
        symlink("deep/link", folder.path().join("link")).unwrap();
        symlink("../new", folder.path().join("deep/link")).unwrap();
        write(OutputFile::create(&folder.path().join("link")));
        assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_symlink());
        assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"x");
        symlink("round", folder.path().join("round")).unwrap();
        assert!(destination(&folder.path().join("round")).ends_with("round"), "a link to itself leads nowhere");
    }

    #[cfg(unix)]
    #[test]
    fn every_spelling_of_a_place_is_that_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        std::os::unix::fs::symlink("deep", folder.path().join("way")).unwrap();
        std::os::unix::fs::symlink("deep/new", folder.path().join("link")).unwrap();
        let place = destination(&folder.path().join("deep/new"));
        for spelled in ["way/new", "deep/../deep/./new", "way/../deep/new", "link"] {
            assert_eq!(destination(&folder.path().join(spelled)), place, "{spelled}");
        }
        fs::write(&place, b"").unwrap();
        assert_eq!(destination(&folder.path().join("way/new")), place);
        assert_ne!(destination(&folder.path().join("new")), place);
    }
}
