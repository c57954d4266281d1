//! Records built value by value.

use super::rules::Rules;
use super::{Cell, Cells, Record};
use crate::schema::Table;

/// Builds a record whose cells are read like those of a table: text is trimmed, and a value that
/// stands for a missing one becomes missing.
///
/// ```
/// use feamoe::rows::{Cell, RecordBuilder};
///
/// let columns = ["age", "job"].map(String::from);
/// let mut builder = RecordBuilder::new(&feamoe::schema::Table::default(), &columns);
/// builder.put(0, Cell::Number(39.0));
/// builder.put(1, Cell::Text(b" ? "));
/// let record = builder.record("a question", 1);
/// assert_eq!((record.cell(0), record.cell(1)), (Cell::Number(39.0), Cell::Missing));
/// ```
#[derive(Debug)]
pub struct RecordBuilder {
    rules: Rules,
    cells: Cells,
}

impl RecordBuilder {
    /// Starts with no value in any of the columns.
    #[must_use]
    pub fn new(table: &Table, columns: &[String]) -> Self {
        Self { rules: Rules::new(table, columns), cells: Cells::new(columns.len()) }
    }

    /// Makes all values missing again.
    pub fn clear(&mut self) {
        self.cells.clear();
    }

    /// Sets the value of a column. All texts, even replaced ones, stay in memory until
    /// [`Self::clear`].
    pub fn put(&mut self, column: usize, cell: Cell<'_>) {
        let rules = self.rules.column(column);
        let cell = match cell {
            Cell::Text(text) => rules.cell(rules.trimmed(text)),
            Cell::Number(x) if x.is_nan() || rules.is_missing_number(x) => Cell::Missing,
            cell => cell,
        };
        self.cells.put(column, cell);
    }

    /// Returns the record. `source` stands for its origin in messages.
    #[must_use]
    pub fn record<'a>(&'a self, source: &'a str, number: u64) -> Record<'a> {
        self.cells.record(source, number)
    }
}
