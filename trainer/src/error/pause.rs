//! A pause of data that are followed.

use std::fmt;
use std::io;

use super::Error;

/// What a reader says where nothing is wrong and nothing more has come so far.
#[derive(Debug)]
struct Pause;

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing more has come so far")
    }
}

impl std::error::Error for Pause {}

/// Returns what a reader says at a pause.
pub(crate) fn pause() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, Pause)
}

impl Error {
    /// Returns whether nothing is wrong: data that are followed pause between two records, so that
    /// what came so far can be shown. The source can be asked for the next record again.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.get_ref().is_some_and(|inner| inner.is::<Pause>()))
    }
}
