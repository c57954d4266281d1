//! Files and links that another user left in a folder where everybody may write, such as `/tmp`.
//!
//! The kernel follows no such links (`fs.protected_symlinks`) and opens no such files to create
//! them (`fs.protected_regular`), where that is switched on. A path that is resolved by hand, so
//! that a file is written beside its place, must not be a way around that.

use std::path::{Path, PathBuf};

/// More links than any system follows.
pub(crate) const MOST_LINKS: usize = 64;

/// Returns the first file or link on the way to `path`, itself included, that is neither this
/// user's nor its folder's owner's, in a folder where everybody may write.
pub(crate) fn of_another_user(path: &Path) -> Option<PathBuf> {
    #[cfg(unix)]
    return unix::of_another_user(path);
    #[cfg(not(unix))]
    None
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Metadata};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use super::MOST_LINKS;

    /// Sticky, and writable by all.
    const SHARED: u32 = 0o1002;

    pub(super) fn of_another_user(path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let (link, rest) = match walk(&path) {
                Step::End => return None,
                Step::Another(found) => return Some(found),
                Step::Link(link, rest) => (link, rest),
            };
            let folder = link.parent().unwrap_or(Path::new(""));
            path = folder.join(fs::read_link(&link).ok()?).join(rest);
        }
        None
    }

    enum Step {
        End,
        Another(PathBuf),
        /// A link that may be followed, and what stands behind it.
        Link(PathBuf, PathBuf),
    }

    fn walk(path: &Path) -> Step {
        let mut place = PathBuf::new();
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            place.push(part);
            let Ok(found) = fs::symlink_metadata(&place) else { return Step::End };
            let is_last = parts.as_path().as_os_str().is_empty();
            // A folder of somebody else is no trap: its owner decides what is in it.
            if (found.is_symlink() || is_last && !found.is_dir()) && is_anothers(&place, &found) {
                return Step::Another(place);
            }
            if found.is_symlink() {
                return Step::Link(place, parts.as_path().to_owned());
            }
        }
        Step::End
    }

    fn is_anothers(place: &Path, found: &Metadata) -> bool {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let owner = found.uid();
        owner != rustix::process::geteuid().as_raw()
            && fs::metadata(folder).is_ok_and(|folder| folder.mode() & SHARED == SHARED && folder.uid() != owner)
    }
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::of_another_user;

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
            fs::write(at(name).join("file"), "").unwrap();
            for theirs in ["theirs", "way", "file"] {
                if lchown(at(name).join(theirs), Some(NOBODY), None).is_err() {
                    println!("skipped: links of another user, which root alone can make");
                    return;
                }
            }
        }
        fs::set_permissions(at("shared"), Permissions::from_mode(0o1777)).unwrap();
        symlink(at("shared").join("theirs"), at("own").join("leads-there")).unwrap();
        let found = |name: &str| {
            of_another_user(&at(name))
                .map(|path| fs::canonicalize(path.parent().unwrap()).unwrap().join(path.file_name().unwrap()))
        };
        let shared = fs::canonicalize(at("shared")).unwrap();
        for (name, expected) in [
            ("shared/theirs", Some("theirs")),
            ("shared/file", Some("file")),
            ("shared/way/new", Some("way")),
            ("own/leads-there", Some("theirs")),
            ("own/../shared/./theirs", Some("theirs")),
            ("shared/mine", None),
            ("shared/new", None),
            ("own/theirs", None),
            ("own/way/new", None),
            ("own/file", None),
            ("none/x", None),
        ] {
            assert_eq!(found(name), expected.map(|file| shared.join(file)), "{name}");
        }
        let refused = crate::output::write_file(&at("shared/theirs"), b"x").unwrap_err().to_string();
        assert!(refused.contains("belongs to another user") && !at("target").exists(), "{refused}");
    }
}
