//! The engine for C and C++, as a static and a shared library: `include/feamoe.h` is its
//! documentation, and `firmware-example/c` is an example.
//!
//! The engine itself has no unsafe code; the pointers of C are checked in `memory`, and everything
//! behind them is the engine. No panic can be reached: on a device and in a browser, the panic
//! handler calls a function that does not exist, so a program with a panic path does not link. With
//! an operating system, sha2 uses processor instructions, with checks that never fail but that the
//! compiler does not remove; there a panic would abort the process.
#![no_std]
// The safety contract of all functions is the same, and is at the top of the C header.
#![allow(clippy::missing_safety_doc)]

mod capacity;
mod memory;
mod status;

// In the order of the header.
mod explain;
mod model;
#[cfg(feature = "device")]
mod monitor;
mod record;
mod recourse;
mod schema;
#[cfg(feature = "device")]
mod slots;

use core::ffi::{c_char, c_int};

pub use status::Status;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        #[cfg_attr(not(any(target_os = "none", target_os = "unknown")), link_name = "abort")]
        safe fn feamoe_a_panic_is_reachable() -> !;
    }
    feamoe_a_panic_is_reachable()
}

/// Returns what a status means and what to do, as a static string.
#[unsafe(no_mangle)]
pub extern "C" fn feamoe_message(status: c_int) -> *const c_char {
    #[cfg(feature = "plant-panic")]
    #[allow(clippy::indexing_slicing)]
    core::hint::black_box([0; 2][core::hint::black_box(2)]);
    Status::of_code(status).message().as_ptr()
}

/// Returns the version of the library, such as "0.1.0", as a static string.
#[unsafe(no_mangle)]
pub extern "C" fn feamoe_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

fn status(call: impl FnOnce() -> Result<(), Status>) -> Status {
    match call() {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}

fn first<T>(items: &[T], count: usize) -> &[T] {
    items.get(..count).unwrap_or(items)
}
