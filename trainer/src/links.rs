//! Resolves paths through links, and decides which links are not followed.
//!
//! A file is written under a temporary name and renamed, so its folder must be known, and links are
//! resolved here instead of by the kernel. In a world-writable folder such as `/tmp`, an attacker
//! can create a link under a name that another user is about to write. The kernel does not follow
//! such links (`fs.protected_symlinks`), and neither does this module.

use std::path::{Path, PathBuf};

/// The largest number of links followed, more than any system allows.
const MOST_LINKS: usize = 64;

/// Returns the file that a path leads to, through all links, whether it exists or not. Two
/// spellings of the same file give the same path.
#[must_use]
pub fn destination(path: &Path) -> PathBuf {
    #[cfg(unix)]
    return unix::follow(path, |_, _| false, |_| false).unwrap_or_else(|stopped| stopped);
    #[cfg(not(unix))]
    other::destination(path)
}

/// Like [`destination`], except for a path to an open descriptor such as `/dev/fd/3`: an open file
/// may have no name, so its link in `/proc` is returned.
///
/// # Errors
/// The first link on the way, or the file itself, that is in a world-writable folder and belongs
/// neither to this user nor to the owner of the folder.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, PathBuf> {
    #[cfg(unix)]
    return unix::follow(path, unix::belongs_to_another, is_descriptor);
    #[cfg(not(unix))]
    Ok(other::destination(path))
}

/// Returns whether a path is the link of an open descriptor: `/proc/PID/fd/N`, or that of a thread.
pub(crate) fn is_descriptor(path: &Path) -> bool {
    let is_number = path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    is_number && path.starts_with("/proc") && path.parent().is_some_and(|folder| folder.ends_with("fd"))
}

/// Returns the descriptor that a path such as `/dev/stdout` leads to: 1 for standard output, 2 for
/// standard error.
pub(crate) fn standard_stream(path: &Path) -> Option<u32> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        for folder in ["/dev/fd", "/proc/self/fd"] {
            let number = path.strip_prefix(folder).ok().and_then(Path::to_str).and_then(|name| name.parse().ok());
            if number.is_some() {
                return number.filter(|number| [1, 2].contains(number));
            }
        }
        path = path.parent()?.join(std::fs::read_link(&path).ok()?);
    }
    None
}

#[cfg(unix)]
mod unix {
    use std::collections::VecDeque;
    use std::ffi::OsString;
    use std::fs::{self, Metadata};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Component, Path, PathBuf};

    use super::MOST_LINKS;

    const WRITABLE_BY_ALL: u32 = 0o002;

    /// Resolves a path link by link, checking each before it is followed. The result contains no
    /// link except a last one that is kept. A caller that opens the result without following links
    /// is safe from a link that replaces the last component afterwards.
    pub(super) fn follow(
        path: &Path,
        is_refused: fn(&Path, &Metadata) -> bool,
        is_kept: fn(&Path) -> bool,
    ) -> Result<PathBuf, PathBuf> {
        let mut place = fs::canonicalize(".").unwrap_or_default();
        let mut rest = parts(path);
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            match Path::new(&part).components().next() {
                Some(Component::ParentDir) => _ = place.pop(),
                Some(Component::CurDir) | None => {}
                // The root, or a name.
                Some(_) => {
                    place.push(&part);
                    let Ok(found) = fs::symlink_metadata(&place) else { break };
                    // A folder of another user is fine: its owner decides what it contains.
                    if !found.is_dir() && is_refused(&place, &found) {
                        return Err(place);
                    }
                    if rest.is_empty() && is_kept(&place) {
                        break;
                    }
                    if found.is_symlink() && links < MOST_LINKS {
                        let Ok(link) = fs::read_link(&place) else { break };
                        links += 1;
                        place.pop();
                        rest = parts(&link).into_iter().chain(rest).collect();
                    } else if !found.is_dir() {
                        break;
                    }
                }
            }
        }
        // The part of the path after a missing component or a file is appended unchanged.
        place.extend(rest);
        Ok(place)
    }

    fn parts(path: &Path) -> VecDeque<OsString> {
        path.components().map(|part| part.as_os_str().to_owned()).collect()
    }

    /// Returns whether a file or link in a world-writable folder belongs to another user, other
    /// than the owner of the folder.
    pub(super) fn belongs_to_another(place: &Path, found: &Metadata) -> bool {
        let owner = found.uid();
        owner != rustix::process::geteuid().as_raw()
            && place
                .parent()
                .and_then(|folder| fs::symlink_metadata(folder).ok())
                .is_some_and(|folder| folder.mode() & WRITABLE_BY_ALL != 0 && folder.uid() != owner)
    }
}

#[cfg(not(unix))]
mod other {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::MOST_LINKS;

    pub(super) fn destination(path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            if let Ok(found) = fs::canonicalize(&path) {
                return found;
            }
            let Ok(link) = fs::read_link(&path) else { break };
            path = path.parent().unwrap_or(Path::new("")).join(link);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match (fs::canonicalize(folder), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use rustix::fs::{Mode, OFlags};

    use super::{destination, resolve, standard_stream};

    const NOBODY: u32 = 65534;

    #[test]
    fn what_others_left_where_all_may_write_is_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["shared", "own"] {
            fs::create_dir(at(name)).unwrap();
            symlink("../target", at(name).join("theirs")).unwrap();
            symlink("../target", at(name).join("mine")).unwrap();
            symlink("../shared", at(name).join("way")).unwrap();
            symlink("pipe", at(name).join("to-pipe")).unwrap();
            fs::write(at(name).join("file"), "").unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, at(name).join("pipe"), rustix::fs::FileType::Fifo, 0o666.into(), 0)
                .unwrap();
            for theirs in ["theirs", "way", "file", "pipe"] {
                if lchown(at(name).join(theirs), Some(NOBODY), None).is_err() {
                    println!("skipped: links of another user, which root alone can make");
                    return;
                }
            }
        }
        symlink(at("shared").join("theirs"), at("own").join("leads-there")).unwrap();
        let shared = fs::canonicalize(at("shared")).unwrap();
        let cases = [
            ("shared/theirs", Some("theirs")),
            ("shared/file", Some("file")),
            ("shared/pipe", Some("pipe")),
            ("shared/to-pipe", Some("pipe")),
            ("shared/way/new", Some("way")),
            ("own/leads-there", Some("theirs")),
            ("own/../shared/./theirs", Some("theirs")),
            ("shared/mine", None),
            ("shared/new", None),
            ("own/theirs", None),
            ("own/way/new", None),
            ("own/file", None),
            ("own/pipe", None),
            ("own/to-pipe", None),
            ("none/x", None),
        ];
        // In a world-writable folder, sticky or not, everyone can create a link.
        for mode in [0o1777, 0o777] {
            fs::set_permissions(at("shared"), Permissions::from_mode(mode)).unwrap();
            for (name, expected) in cases {
                let expected = expected.map_or_else(|| Ok(destination(&at(name))), |file| Err(shared.join(file)));
                assert_eq!(resolve(&at(name)), expected, "{name}, {mode:o}");
            }
        }
        // A reader waits at the pipe.
        let waits = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut pipe = fs::File::from(rustix::fs::open(at("shared/pipe"), waits, Mode::empty()).unwrap());
        symlink("pipe", at("shared/theirs-to-pipe")).unwrap();
        lchown(at("shared/theirs-to-pipe"), Some(NOBODY), None).unwrap();
        for name in ["theirs", "pipe", "to-pipe", "theirs-to-pipe"] {
            let refused = crate::output::write_file(&at("shared").join(name), b"x").unwrap_err().to_string();
            assert!(refused.contains("belongs to another user") && !at("target").exists(), "{refused}");
        }
        assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn the_standard_streams_are_known_by_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("/dev/stdout", &link).unwrap();
        assert_eq!(standard_stream(&link), Some(1));
        for (name, expected) in [
            ("/dev/stdout", Some(1)),
            ("/dev/fd/1", Some(1)),
            ("/dev/stderr", Some(2)),
            ("/dev/stdin", None),
            ("/dev/fd/17", None),
            ("/dev/null", None),
            ("1", None),
        ] {
            assert_eq!(standard_stream(name.as_ref()), expected, "{name}");
        }
    }
}
