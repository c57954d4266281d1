//! Ctrl-C and SIGTERM: a run that stores itself finishes its row and does so; one that follows its
//! data takes them as the end; every other command removes its unfinished files and ends.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// Exit code of a process that ends by a signal, without the signal's number.
const BY_SIGNAL: i32 = 128;
/// How long a run may take to store itself, before it counts as waiting for data that do not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The signal that came; 0 before.
static CAME: AtomicI32 = AtomicI32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether a run looks at [`STOP`], and whether one ever did: then there is a checkpoint.
static IS_HEEDED: AtomicBool = AtomicBool::new(false);
static WAS_HEEDED: AtomicBool = AtomicBool::new(false);
/// Whether the first signal leaves a run all the time it takes.
static HAS_TIME: AtomicBool = AtomicBool::new(false);

/// Starts to wait for signals.
#[cfg(unix)]
pub fn watch() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    // Without it, signals end the process as they always do.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let is_first = CAME.swap(signal, Ordering::SeqCst) == 0;
            STOP.store(true, Ordering::SeqCst);
            if is_first && HAS_TIME.load(Ordering::SeqCst) {
                continue;
            }
            if is_first && IS_HEEDED.load(Ordering::SeqCst) {
                std::thread::spawn(move || {
                    std::thread::sleep(PATIENCE);
                    leave(signal);
                });
            } else {
                leave(signal);
            }
        }
    });
}

#[cfg(not(unix))]
pub fn watch() {}

/// Ends the process at once: a run that stores itself waits for data, or writes its model.
#[cfg(unix)]
fn leave(signal: i32) {
    feamoe::output::remove_unfinished();
    if WAS_HEEDED.load(Ordering::SeqCst) {
        let last = "stopped: the checkpoint, if there is one, is the last that was stored";
        super::print::message(&format!("{last}, and `feamoe update CHECKPOINT DATA -o MODEL` resumes from it"));
    }
    std::process::exit(BY_SIGNAL + signal);
}

/// Returns what says that a run is to stop; it is looked at from here on.
pub fn heed() -> &'static AtomicBool {
    IS_HEEDED.store(true, Ordering::SeqCst);
    WAS_HEEDED.store(true, Ordering::SeqCst);
    &STOP
}

/// As [`heed`], for data that are followed: their reader hears the request while it waits, so that
/// the run comes to its end. A second signal ends the process.
pub fn heed_to_the_end() -> &'static AtomicBool {
    HAS_TIME.store(true, Ordering::SeqCst);
    &STOP
}

/// Says that nobody looks any more.
pub fn heed_no_more() {
    IS_HEEDED.store(false, Ordering::SeqCst);
}

/// Returns the exit code of a process that stopped because it was asked to.
pub fn exit_code() -> ExitCode {
    ExitCode::from(u8::try_from(BY_SIGNAL + CAME.load(Ordering::SeqCst)).unwrap_or(u8::MAX))
}
