//! Constants that were chosen by measurement.
//!
//! [`tuned!`] declares one. It is replaced by its value in every build except that of the unit
//! tests. There, a test tries two neighbours of each on real data, and writes the changes to
//! `docs/constants.md`. Lengths of arrays, limits of a format and guards against overflow are plain
//! constants.

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::Tuned;

/// A constant that was chosen by measurement.
#[cfg(not(test))]
pub(crate) struct Tuned<T>(pub T);

#[cfg(not(test))]
impl<T: Copy> Tuned<T> {
    /// Returns the value.
    #[inline]
    pub(crate) const fn get(&self) -> T {
        self.0
    }
}

/// `tuned!(value)` or `tuned!(value, low, high)`: the neighbours are half and double the value, or
/// `low` and `high`.
macro_rules! tuned {
    ($value:expr $(, $low:expr, $high:expr)?) => {{
        #[cfg(not(test))]
        let tuned = $crate::tuned::Tuned($value);
        #[cfg(test)]
        let tuned = $crate::tuned::Tuned::new($value, &[$($low, $high)?], file!(), line!());
        tuned
    }};
}
pub(crate) use tuned;
