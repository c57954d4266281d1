//! Runs the fuzz target that `FEAMOE_FUZZ_TARGET` names, guided by coverage. One program for all
//! targets is compiled and linked only once.

#![no_main]

use std::sync::LazyLock;
use std::{env, process};

use feamoe_tests::fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("FEAMOE_FUZZ_TARGET").unwrap_or_default();
    *TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("error: FEAMOE_FUZZ_TARGET: found {name:?}, expected one of {}", names.join(", "));
        process::exit(2)
    })
});

fn start() {
    LazyLock::force(&TARGET);
    #[cfg(feature = "arrow")]
    pass_over_expected_panics();
}

/// Turns a panic in a reader of Arrow into an error.
#[cfg(feature = "arrow")]
fn pass_over_expected_panics() {
    use std::panic;
    let fail = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !feamoe_tests::fuzz::is_expected_panic() {
            fail(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: start(), |data: &[u8]| (TARGET.run)(data));
