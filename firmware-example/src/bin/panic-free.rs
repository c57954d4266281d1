//! Links only where no panic is reachable from loading, scoring and explaining: its panic handler calls a function that does not exist.
//!
//! Built by the tests at opt-levels 1, 3 and s. It is also the smallest firmware that does all of it, so its size is what the engine costs
//! in flash. It is not meant to be run.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // declares the missing function and makes a slice of unknown content

use core::hint::black_box;

use feamoe_engine::{Attribution, Method, Model};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        safe fn a_panic_is_reachable() -> !;
    }
    a_panic_is_reachable()
}

/// Bytes and lengths the compiler knows nothing of.
fn unknown_bytes() -> &'static [u8] {
    let (start, length) = black_box((core::ptr::dangling::<u8>(), 0));
    // SAFETY: never run; linked only. With the values above it would be an empty slice.
    unsafe { core::slice::from_raw_parts(start, length) }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    if let Ok(model) = black_box(Model::<16, 12>::load(unknown_bytes())) {
        let mut record = model.record();
        let name = core::str::from_utf8(unknown_bytes()).unwrap_or_default();
        let _ = black_box(record.set_number(name, black_box(0.0)));
        let _ = black_box(record.set_category(name, name));
        if let Ok(index) = model.schema().feature_index(name) {
            let _ = black_box(record.set_number(index, black_box(0.0)));
            let _ = black_box(record.set_level(index, black_box(None)));
        }
        let _ = black_box(model.score(&record));
        let mut attribution = Attribution::new();
        for method in [Method::Frozen, Method::Path] {
            let _ = black_box(model.explain_into(&record, black_box(method), &mut attribution));
        }
        black_box(&attribution);
    }
    #[cfg(feature = "plant-panic")]
    black_box(unknown_bytes()[black_box(0)]);
    loop {
        core::hint::spin_loop();
    }
}
