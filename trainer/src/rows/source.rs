//! What rows come from: anything that lends records of the same columns, one at a time.

use std::sync::Arc;

use super::Record;
use super::digest::Digest;
use crate::error::Error;

/// Records of a table, lent one at a time.
pub trait Source: Send {
    /// Returns the column names.
    fn columns(&self) -> &Arc<[String]>;

    /// Moves to the next record; false at the end.
    ///
    /// # Errors
    /// What is wrong with the source, and where.
    fn advance(&mut self) -> Result<bool, Error>;

    /// Returns the record that [`advance`](Self::advance) moved to.
    fn record(&self) -> Record<'_>;

    /// Returns the names of what was opened so far, the newest last, for messages.
    fn names(&self) -> &[String];

    /// Returns the digest of all that was read so far.
    fn digest(&self) -> Digest;
}

/// Finds a column by name; `wanted_by` names who asks, such as `target.column`.
pub(crate) fn column(columns: &[String], file: &str, name: &str, wanted_by: &str) -> Result<usize, Error> {
    columns.iter().position(|column| column == name).ok_or_else(|| Error::MissingColumn {
        file: file.into(),
        column: name.into(),
        wanted_by: wanted_by.into(),
        columns: columns.to_vec(),
    })
}
