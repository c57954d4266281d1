//! Shared helpers of the tests: the command in a folder of its own ([`command`]), the firmware in
//! the emulators ([`firmware`]), rows of files ([`data`]); the fuzz targets ([`fuzz`]). Models and
//! records are those of `feamoe_testkit`.

#![allow(clippy::panic)] // a test reports by panicking

pub mod command;
pub mod data;
pub mod firmware;
pub mod fuzz;

use std::path::PathBuf;

use feamoe::model::{AlignedBytes, device_copy};
use feamoe_engine::Blob;
use feamoe_testkit::content::Bytes;

/// Copies a blob of the testkit to the type in which the trainer takes it.
#[must_use]
pub fn aligned(blob: &Bytes) -> AlignedBytes {
    AlignedBytes::new(blob.as_slice())
}

/// Returns the path of a file of the data folder that the environment variable `FEAMOE_DATA` names,
/// or says that the test is skipped.
#[must_use]
pub fn data_file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FEAMOE_DATA");
    if folder.is_none() {
        eprintln!("skipped: FEAMOE_DATA not set");
    }
    folder.map(|folder| PathBuf::from(folder).join(name))
}

/// Returns a model without its card, which says how it was measured too: all that it scores and
/// explains by.
///
/// # Panics
/// Where it is no model.
#[must_use]
pub fn without_card(blob: &[u8]) -> AlignedBytes {
    let rows = Blob::new(blob).unwrap_or_else(|error| panic!("{error}")).background_rows();
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    device_copy(&AlignedBytes::new(blob), true, rows).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the path of a file of the repository.
#[must_use]
pub fn repository_file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}
