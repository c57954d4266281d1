//! The capacity of this library, chosen when it is built: by environment variables, and for C by
//! `-D` with the same names and values. Memory of another size is refused
//! (`FEAMOE_STATUS_WRONG_SIZE`), so that the two cannot disagree.

/// Returns the number of an environment variable of the build, or the default.
const fn chosen(given: Option<&str>, default: usize) -> usize {
    let Some(given) = given else { return default };
    match usize::from_str_radix(given, 10) {
        Ok(number) => number,
        #[allow(clippy::panic)] // only at compile time
        Err(_) => panic!("FEAMOE_FEATURES, _EXPERTS, _BACKGROUND, _GROUPS and _WORD are whole numbers"),
    }
}

/// The largest number of features of a model.
pub const FEAMOE_FEATURES: usize = chosen(option_env!("FEAMOE_FEATURES"), 32);
/// The largest number of experts of a model; even.
pub const FEAMOE_EXPERTS: usize = chosen(option_env!("FEAMOE_EXPERTS"), 16);
/// The largest number of records that exact values are computed against.
pub const FEAMOE_BACKGROUND: usize = chosen(option_env!("FEAMOE_BACKGROUND"), 4);
/// Number of groups of a monitor, including the reference.
#[cfg(feature = "device")]
pub const FEAMOE_GROUPS: usize = chosen(option_env!("FEAMOE_GROUPS"), 3);
/// Write unit of the flash in bytes: a power of two, at most 512.
#[cfg(feature = "device")]
pub const FEAMOE_WORD: usize = chosen(option_env!("FEAMOE_WORD"), 8);

const _: () = assert!(FEAMOE_EXPERTS.is_multiple_of(2), "FEAMOE_EXPERTS must be even: round it up");
const _: () = assert!(FEAMOE_BACKGROUND > 0, "FEAMOE_BACKGROUND must not be 0");
