//! Files, output and exit code of the machine that runs the emulator: by semihosting on bare metal, by `std` under a user-mode emulator.

use core::ffi::CStr;

#[cfg(target_os = "none")]
pub use semihosting::{fs::File, io, println, process};
#[cfg(not(target_os = "none"))]
pub use std::{fs::File, io, println, process};

/// Opens a file of the emulator's working folder.
///
/// # Errors
/// What the host says.
pub fn open(name: &CStr) -> io::Result<File> {
    File::open(path(name))
}

/// Creates a file in the emulator's working folder.
///
/// # Errors
/// What the host says.
pub fn create(name: &CStr) -> io::Result<File> {
    File::create(path(name))
}

#[cfg(target_os = "none")]
fn path(name: &CStr) -> &CStr {
    name
}

#[cfg(not(target_os = "none"))]
fn path(name: &CStr) -> std::path::PathBuf {
    name.to_string_lossy().into_owned().into()
}
