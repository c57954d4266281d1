//! Shared helpers of the tests.

use std::path::PathBuf;

/// Returns the path of a file of the data folder that the environment variable `FEAMOE_DATA` names, or says that the test
/// is skipped.
#[must_use]
pub fn data_file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FEAMOE_DATA");
    if folder.is_none() {
        eprintln!("skipped: FEAMOE_DATA not set");
    }
    folder.map(|folder| PathBuf::from(folder).join(name))
}

/// Returns the path of a file of the repository.
#[must_use]
pub fn repository_file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}
