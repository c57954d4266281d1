//! A pause in data that are followed.

use std::fmt;
use std::io;

use super::Error;

/// The error of a reader if no more data have arrived so far.
#[derive(Debug)]
struct Pause;

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no more data so far")
    }
}

impl std::error::Error for Pause {}

/// Returns the error of a reader at a pause.
pub(crate) fn pause() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, Pause)
}

impl Error {
    /// Returns whether this is a pause between two records of followed data, and not a failure. The
    /// source can be asked for the next record again.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.get_ref().is_some_and(|inner| inner.is::<Pause>()))
    }
}
