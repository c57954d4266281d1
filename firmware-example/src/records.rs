//! Records as text: a table of comma-separated values whose first line names the columns.
//!
//! Columns that the model does not know (an id, the outcome) are skipped; a feature without a
//! column is missing. Quotes are not supported; tables that need them belong on a host. Cells are
//! trimmed; an empty cell and `?` are missing.

use feamoe_engine::error::RecordError;
use feamoe_engine::schema::Kind;
use feamoe_engine::{Record, Schema};

/// What is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError<'a> {
    /// No column has the name of a feature.
    NoFeature,
    /// A row has more or fewer cells than there are columns.
    Ragged,
    /// A cell of a numeric column is not a number.
    NotANumber(&'a str),
    /// The model refused a value.
    Refused(RecordError),
}

/// A table of records.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    columns: &'a str,
    rows: &'a str,
}

impl<'a> Table<'a> {
    /// Splits the text into the first line and the rows.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let (columns, rows) = text.split_once('\n').unwrap_or((text, ""));
        Self { columns, rows }
    }

    /// Returns the rows that are not empty.
    pub fn rows(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.rows.lines().filter(|row| !row.trim().is_empty())
    }

    /// Returns the trimmed cell of a row in the column of this name.
    #[must_use]
    pub fn cell(&self, row: &'a str, name: &str) -> Option<&'a str> {
        let column = self.columns.split(',').position(|column| column.trim() == name)?;
        row.split(',').nth(column).map(str::trim)
    }

    /// Sets a record to the values of a row.
    ///
    /// # Errors
    /// See [`TableError`]; the record is then partly set.
    pub fn read<const FEATURES: usize>(
        &self,
        row: &'a str,
        schema: Schema<'_>,
        record: &mut Record<'_, FEATURES>,
    ) -> Result<(), TableError<'a>> {
        if row.split(',').count() != self.columns.split(',').count() {
            return Err(TableError::Ragged);
        }
        record.clear();
        let mut found = false;
        for (column, cell) in self.columns.split(',').map(str::trim).zip(row.split(',').map(str::trim)) {
            let Ok(index) = schema.feature_index(column) else { continue };
            found = true;
            if cell.is_empty() || cell == "?" {
                continue;
            }
            _ = match schema.features().get(index.0).map(|feature| feature.kind()) {
                Some(Kind::Number { .. }) => {
                    record.set_number(index, cell.parse().map_err(|_| TableError::NotANumber(cell))?)
                }
                _ => record.set_category(index, cell),
            }
            .map_err(TableError::Refused)?;
        }
        if found { Ok(()) } else { Err(TableError::NoFeature) }
    }
}
