//! Ctrl-C and SIGTERM. A run with checkpoints finishes its row and writes one. A command that
//! follows its data treats the signal as the end of the data. Every other command removes its
//! unfinished files and ends.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// Added to the number of a signal, this is the exit code of a process that it ends.
const BY_SIGNAL: i32 = 128;
/// How long a run may take to write its checkpoint before it is assumed to be waiting for data.
const PATIENCE: Duration = Duration::from_secs(5);

/// The signal that was received; 0 if none.
static CAME: AtomicI32 = AtomicI32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether a run checks [`STOP`].
static IS_HEEDED: AtomicBool = AtomicBool::new(false);
static WAS_HEEDED: AtomicBool = AtomicBool::new(false);
/// Whether a run may take any time to finish after the first signal.
static HAS_TIME: AtomicBool = AtomicBool::new(false);

/// Starts the thread that waits for signals.
#[cfg(unix)]
pub fn watch() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    // If this fails, signals have their default effect.
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

/// Ends the process at once: a run with checkpoints is waiting for data or writing its model.
#[cfg(unix)]
fn leave(signal: i32) {
    feamoe::output::remove_unfinished();
    if WAS_HEEDED.load(Ordering::SeqCst) {
        let last = "stopped; the checkpoint, if there is one, is the last one that was written";
        super::print::message(&format!("{last}, and `feamoe update CHECKPOINT DATA -o MODEL` resumes from it"));
    }
    std::process::exit(BY_SIGNAL + signal);
}

/// Returns the flag that asks a run to stop. From this call on, signals set it.
pub fn heed() -> &'static AtomicBool {
    IS_HEEDED.store(true, Ordering::SeqCst);
    WAS_HEEDED.store(true, Ordering::SeqCst);
    &STOP
}

/// Like [`heed`], for data that are followed: their reader checks the flag while it waits, so that
/// the run finishes. A second signal ends the process.
pub fn heed_to_the_end() -> &'static AtomicBool {
    HAS_TIME.store(true, Ordering::SeqCst);
    &STOP
}

/// Stops signals from setting the flag.
pub fn heed_no_more() {
    IS_HEEDED.store(false, Ordering::SeqCst);
}

/// Returns the exit code of a process that was stopped by a signal.
pub fn exit_code() -> ExitCode {
    ExitCode::from(u8::try_from(BY_SIGNAL + CAME.load(Ordering::SeqCst)).unwrap_or(u8::MAX))
}
