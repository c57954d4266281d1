//! Limits of every build and of the blob format, each with its reason.

/// Whether this build is for a device: a target without an operating system, on which flash and
/// registers are scarce. A RISC-V microcontroller is a device; a Raspberry Pi with Linux is not.
/// WebAssembly counts as a device, since it is downloaded. This affects speed and size, never a bit
/// of a result.
pub(crate) const IS_DEVICE: bool = cfg!(any(target_os = "none", target_family = "wasm"));

/// The largest number of experts a blob may declare. The gate's sum is at most `MAX_EXPERTS *
/// 2^MAX_LOGIT`, which must stay below `f32::MAX`.
pub const MAX_EXPERTS: usize = 64;

/// The largest number of features a blob may declare: term and feature indices are 16-bit in a
/// build.
pub const MAX_FEATURES: usize = 4096;

/// The largest number of levels of one categorical feature: the code of a level is a `u16`, and two
/// codes are reserved for *unseen* and *missing*.
pub const MAX_LEVELS: usize = 65_533;

/// The largest number of bins of one numeric feature. The search for a bin takes a fixed number of
/// steps, at most 12.
pub const MAX_BINS: usize = 4096;

/// The largest number of background records of a blob. The error of an estimate falls with the
/// square root of their number: 65,535 records give 0.4 % of the spread.
pub const MAX_BACKGROUND_ROWS: usize = u16::MAX as usize;

/// Largest blob, in bytes (64 MiB): every offset in it fits a `u32`, with room for checked sums.
pub const MAX_BLOB_BYTES: usize = 64 << 20;

/// Largest logit, in log2 units, for which the kernel need neither subtract the maximum nor clamp.
pub const MAX_LOGIT: f32 = 120.0;

/// Largest logit that any record may reach, and largest weight, in log2 units: 2^100. Beyond
/// [`MAX_LOGIT`] a model is scored with clamping; beyond this limit a sum could overflow to
/// infinity, and the difference of infinities is NaN.
pub const MAX_REACH: f32 = 1.267_650_6e30;

const _: () = assert!(
    MAX_EXPERTS <= 64 && MAX_LOGIT <= 120.0,
    "the gate's sum could overflow: 64 * 2^120 = 2^126 is the largest that f32 holds with a margin"
);
