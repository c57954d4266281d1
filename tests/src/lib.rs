//! Shared helpers of the tests: the command in its own folder ([`command`]), the firmware in the
//! emulators ([`firmware`]), rows of files ([`data`]), and the fuzz targets ([`fuzz`]).
//! `feamoe_testkit` generates models and records.

#![allow(clippy::panic)] // a test reports by panicking

pub mod command;
pub mod data;
pub mod firmware;
pub mod fuzz;

use std::path::PathBuf;

use feamoe::model::{AlignedBytes, device_copy};
use feamoe_engine::Blob;
use feamoe_testkit::content::Bytes;

/// Copies a blob of the testkit to the type that the trainer takes.
#[must_use]
pub fn aligned(blob: &Bytes) -> AlignedBytes {
    AlignedBytes::new(blob.as_slice())
}

/// Returns the path of a file in the data folder, which the environment variable `FEAMOE_DATA`
/// names. If it is not set, returns `None` and prints that the test is skipped.
#[must_use]
pub fn data_file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FEAMOE_DATA");
    if folder.is_none() {
        eprintln!("skipped: FEAMOE_DATA not set");
    }
    folder.map(|folder| PathBuf::from(folder).join(name))
}

/// Returns a model without its card, which also states how the model was measured. What remains is
/// everything that scores and explanations use.
///
/// # Panics
/// If it is not a model.
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
