//! The source of rows: anything that lends records with the same columns, one at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::digest::Digest;
use super::{BadCells, Record};
use crate::error::Error;

/// Records of a table, lent one at a time.
pub trait Source: Send {
    /// Returns the column names.
    fn columns(&self) -> &Arc<[String]>;

    /// States which columns are needed. The cells of the others may be missing afterwards, if that
    /// saves reading them. Call it before the first record; without a call, every cell is present.
    fn want(&mut self, columns: &[usize]) {
        let _ = columns;
    }

    /// Returns the columns whose cells cannot be read, such as lists. Reading a record is an error
    /// if such a column is needed.
    fn unreadable(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Moves to the next record. Returns false at the end.
    ///
    /// # Errors
    /// An error of the source, with its place. Data that is followed may also return a pause
    /// ([`Error::is_pause`]).
    fn advance(&mut self) -> Result<bool, Error>;

    /// Returns the record that [`advance`](Self::advance) moved to.
    fn record(&self) -> Record<'_>;

    /// Returns the names of the inputs opened so far, the newest last, for messages.
    fn names(&self) -> &[String];

    /// Returns the digest of everything read so far.
    fn digest(&self) -> Digest;

    /// Returns what happens to cells that are not numbers where a number is needed.
    fn bad_cells(&self) -> BadCells {
        BadCells::Error
    }

    /// Returns notes on lines that were skipped and on files that were not read exactly as the
    /// schema says.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the name of the input being read.
    fn file(&self) -> &str {
        self.names().last().map_or("", String::as_str)
    }

    /// Returns the names of the inputs opened so far, for messages about all of them.
    fn files(&self) -> String {
        self.names().join(", ")
    }

    /// Returns the index of a column. `wanted_by` names what needs it, such as `target.column`.
    ///
    /// # Errors
    /// [`Error::MissingColumn`], which lists the columns.
    fn column(&self, name: &str, wanted_by: &str) -> Result<usize, Error> {
        column(self.columns(), self.file(), name, wanted_by)
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn columns(&self) -> &Arc<[String]> {
        (**self).columns()
    }

    fn want(&mut self, columns: &[usize]) {
        (**self).want(columns);
    }

    fn unreadable(&self) -> Vec<usize> {
        (**self).unreadable()
    }

    fn advance(&mut self) -> Result<bool, Error> {
        (**self).advance()
    }

    fn record(&self) -> Record<'_> {
        (**self).record()
    }

    fn names(&self) -> &[String] {
        (**self).names()
    }

    fn digest(&self) -> Digest {
        (**self).digest()
    }

    fn bad_cells(&self) -> BadCells {
        (**self).bad_cells()
    }

    fn notes(&self) -> Vec<String> {
        (**self).notes()
    }
}

/// Finds a column by name. `wanted_by` names what needs it, such as `target.column`.
pub(crate) fn column(columns: &[String], file: &str, name: &str, wanted_by: &str) -> Result<usize, Error> {
    columns.iter().position(|column| column == name).ok_or_else(|| Error::MissingColumn {
        file: file.into(),
        column: name.into(),
        wanted_by: wanted_by.into(),
        columns: columns.to_vec(),
    })
}

/// Trims the names of columns and makes them unique: the first column keeps its name, and later
/// ones are called `name.2`, `name.3`, .... A column without a name is called `column.N`, where `N`
/// is its 1-based place.
pub(super) fn column_names<S: AsRef<str>>(header: impl Iterator<Item = S>) -> Vec<String> {
    let header: Vec<S> = header.collect();
    let given: BTreeSet<&str> = header.iter().map(|name| name.as_ref().trim()).collect();
    let mut taken = BTreeSet::new();
    let mut names = Vec::with_capacity(header.len());
    for (index, name) in header.iter().enumerate() {
        let mut name = name.as_ref().trim().to_string();
        if name.is_empty() {
            name = format!("column.{}", index + 1);
        }
        if taken.contains(&name) {
            let numbered = (2..).map(|n| format!("{name}.{n}"));
            let mut free = numbered.filter(|name| !taken.contains(name) && !given.contains(name.as_str()));
            name = free.next().unwrap_or_default();
        }
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

/// Finds each expected column among those of a file.
///
/// # Errors
/// [`Error::HeaderMismatch`], naming the columns that the file lacks. `first` is the file that
/// defined the columns, unless an earlier run did.
pub(super) fn places(
    found: &[String],
    expected: &[String],
    file: &str,
    first: Option<&String>,
) -> Result<Vec<usize>, Error> {
    let place = |name: &String| found.iter().position(|found| found == name);
    let lacking: Vec<String> = expected.iter().filter(|name| place(name).is_none()).cloned().collect();
    if !lacking.is_empty() {
        let (file, first) = (file.into(), first.map_or("the run so far".into(), String::clone));
        return Err(Error::HeaderMismatch { file, first, lacking, columns: found.to_vec() });
    }
    Ok(expected.iter().filter_map(place).collect())
}
