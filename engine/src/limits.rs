//! Limits of every build and of the blob format, each with its reason.

/// Whether this build is for a device: a target without an operating system, where flash and
/// registers are scarce. A RISC-V part is a device; a Raspberry Pi under Linux is not. WebAssembly
/// counts as one: it is downloaded. Decides speed and size, never a bit of a result.
pub(crate) const IS_DEVICE: bool = cfg!(any(target_os = "none", target_family = "wasm"));

/// Most experts a blob may declare. The gate's sum is at most `MAX_EXPERTS * 2^MAX_LOGIT`, which
/// must stay below `f32::MAX`.
pub const MAX_EXPERTS: usize = 64;

/// Most features a blob may declare: term and feature indices are 16-bit in a build.
pub const MAX_FEATURES: usize = 4096;

/// Most levels of one categorical feature: a level's code is a `u16`, two codes are kept for
/// *unseen* and *missing*.
pub const MAX_LEVELS: usize = 65_533;

/// Most bins of one numeric feature. The bin search takes a fixed number of steps, 12 at most.
pub const MAX_BINS: usize = 4096;

/// Most background records of a blob. An estimate's error falls with the square root of their
/// number: 65,535 are good for 0.4 % of the spread.
pub const MAX_BACKGROUND_ROWS: usize = u16::MAX as usize;

/// Largest blob, in bytes (64 MiB): every offset inside fits a `u32` with room for checked sums.
pub const MAX_BLOB_BYTES: usize = 64 << 20;

/// Largest logit, in log2 units, for which the kernel needs neither the maximum subtracted nor a
/// clamp.
pub const MAX_LOGIT: f32 = 120.0;

/// Largest logit that any record may reach, and largest weight, in log2 units: 2^100. Past
/// [`MAX_LOGIT`] a model is scored by the safe path; past this one a sum could overflow to an
/// infinity, whose difference is no number.
pub const MAX_REACH: f32 = 1.267_650_6e30;

const _: () = assert!(
    MAX_EXPERTS <= 64 && MAX_LOGIT <= 120.0,
    "the gate's sum could overflow: 64 * 2^120 = 2^126 is the largest that f32 holds with a margin"
);
