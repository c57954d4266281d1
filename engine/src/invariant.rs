//! Assertions of invariants that checked code relies on.

/// Returns the value of an `Option` that an earlier check guarantees to be `Some`. If it is `None`
/// nevertheless, the program has a bug: debug, test and fuzz builds panic. A release build, which
/// must not panic, uses `fallback`; linking without a panic handler proves that no panic is left.
macro_rules! certain {
    ($value:expr, $fallback:expr) => {
        match $value {
            Some(value) => value,
            None => {
                debug_assert!(false, concat!("broken invariant: ", stringify!($value)));
                $fallback
            }
        }
    };
}

pub(crate) use certain;
