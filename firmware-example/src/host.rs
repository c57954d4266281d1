//! Files, output and exit code of the machine that runs the emulator: by semihosting on bare metal,
//! by `std` under a user-mode emulator.

use core::ffi::CStr;

#[cfg(target_os = "none")]
pub use semihosting::{fs::File, io, print, println, process};
#[cfg(not(target_os = "none"))]
pub use std::{fs::File, io, print, println, process};

use io::Read as _;

/// Opens a file in the emulator's working folder.
///
/// # Errors
/// The error of the host.
pub fn open(name: &CStr) -> io::Result<File> {
    File::open(path(name))
}

/// Creates a file in the emulator's working folder.
///
/// # Errors
/// The error of the host.
pub fn create(name: &CStr) -> io::Result<File> {
    File::create(path(name))
}

/// Reads the model to measure, `model.feamoe`, to the start of `memory`, and returns its bytes.
///
/// # Errors
/// A description of what failed.
pub fn read_model(memory: &mut [u8]) -> Result<&mut [u8], &'static str> {
    let mut file = open(c"model.feamoe").map_err(|_| "model.feamoe could not be opened")?;
    let length = file.metadata().ok().map(|about| about.len() as usize);
    let blob = length.and_then(|length| memory.get_mut(..length)).ok_or("model.feamoe is larger than the buffer")?;
    file.read_exact(blob).map_err(|_| "model.feamoe could not be read")?;
    Ok(blob)
}

#[cfg(target_os = "none")]
fn path(name: &CStr) -> &CStr {
    name
}

#[cfg(not(target_os = "none"))]
fn path(name: &CStr) -> std::path::PathBuf {
    name.to_string_lossy().into_owned().into()
}
