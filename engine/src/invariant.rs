//! What checked code relies on, stated where it is used.

/// Returns the value of an `Option` that an earlier check made certain. Where it is `None` all the
/// same, the program has a bug: debug, test and fuzz builds stop there. A release build, which must
/// not panic, takes `fallback`; the link without a panic handler shows that nothing else is left.
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
