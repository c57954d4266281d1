//! Record batches of Arrow as rows.
//!
//! A cell of a number column is its number, whole or not. A 32-bit float gives the number of its
//! shortest decimal form, so that a table gives the same model from Arrow and from text. Booleans
//! become `true` and `false`; dates, times and decimals become the text that CSV would have. The
//! schema's table says whether text is trimmed and which text means a missing value.

mod column;
#[cfg(feature = "parquet")]
mod files;
mod messages;
mod table;

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, FieldRef};

pub(super) use column::Column;
use column::is_readable;
#[cfg(feature = "serve")]
pub(crate) use files::guarded;
#[cfg(feature = "parquet")]
pub use files::is_reading_tables;
#[cfg(feature = "parquet")]
pub(super) use files::{ArrowFiles, Format};
pub use table::ArrowTable;

use super::record::{Derived, Held};
use super::rules::Rules;
use super::source::{column_names, places};
use super::{Digest, Position, Record, Source};
use crate::error::Error;
use crate::schema::{BadCells, Table};

/// Rows converted into cells at a time: memory does not depend on the size of the batches.
const ROWS: usize = 8192;

/// The rows of a record batch reader: Parquet, another library through Arrow's C stream, or batches
/// in memory ([`arrow_array::RecordBatchIterator`]).
///
/// ```
/// # #[cfg(feature = "arrow")] {
/// use std::sync::Arc;
/// use arrow_array::{Float64Array, RecordBatch, RecordBatchIterator, StringArray};
/// use arrow_schema::{DataType, Field, Schema};
/// use feamoe::rows::{ArrowRows, Cell, Source};
///
/// let schema = Schema::new(vec![
///     Field::new("age", DataType::Float64, true),
///     Field::new("job", DataType::Utf8, true),
/// ]);
/// let columns: Vec<arrow_array::ArrayRef> = vec![
///     Arc::new(Float64Array::from(vec![Some(39.0), None])),
///     Arc::new(StringArray::from(vec!["clerk", "?"])),
/// ];
/// let schema = Arc::new(schema);
/// let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
/// let reader = RecordBatchIterator::new([Ok(batch)], schema);
/// let mut rows = ArrowRows::new("people", reader, &feamoe::schema::Table::default())?;
/// assert!(rows.advance()?);
/// assert_eq!(rows.record().cell(1), Cell::Text(b"clerk"));
/// assert!(rows.advance()? && rows.record().cell(1) == Cell::Missing);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ArrowRows {
    batches: Batches,
    columns: Arc<[String]>,
    unreadable: Vec<usize>,
    rules: Rules,
    names: [String; 1],
    lent: u64,
    /// Digest of the rows returned; `None` where it is not needed.
    digest: Option<Digest>,
}

impl ArrowRows {
    /// Takes a reader. `name` stands for it in messages; `table` says which text means a missing
    /// value and whether text is trimmed.
    ///
    /// # Errors
    /// [`Error::Input`] for a reader without columns.
    pub fn new(name: &str, reader: impl RecordBatchReader + Send + 'static, table: &Table) -> Result<Self, Error> {
        let columns: Arc<[String]> = column_names(reader.schema().fields().iter().map(|field| field.name())).into();
        if columns.is_empty() {
            return Err(Error::Input(format!("{name}: found no columns, expected one or more")));
        }
        let unreadable = |field: &(usize, &FieldRef)| !is_readable(field.1.data_type());
        let unreadable = reader.schema().fields().iter().enumerate().filter(unreadable).map(|found| found.0).collect();
        let batches = Batches::new(reader, (0..columns.len()).map(Some).collect());
        let rules = Rules::new(table, &columns);
        Ok(Self { batches, columns, unreadable, rules, names: [name.into()], lent: 0, digest: Some(Digest::default()) })
    }

    /// Puts the columns in the order of earlier data and leaves the others out. Call it before the
    /// first record.
    fn order_by(&mut self, columns: &[String], table: &Table) -> Result<(), Error> {
        let [name] = &self.names;
        let places = places(&self.columns, columns, name, None)?;
        let is_unreadable = |place: &usize| self.unreadable.contains(place);
        self.unreadable =
            (0..).zip(&places).filter_map(|(column, place)| is_unreadable(place).then_some(column)).collect();
        self.batches.places = places.into_iter().map(Some).collect();
        self.batches.columns.resize_with(columns.len(), Column::default);
        self.columns = columns.into();
        self.rules = Rules::new(table, &self.columns);
        Ok(())
    }
}

impl Source for ArrowRows {
    fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    fn want(&mut self, columns: &[usize]) {
        self.batches.keep(&wanted(self.columns.len(), columns));
    }

    fn unreadable(&self) -> Vec<usize> {
        self.unreadable.clone()
    }

    fn advance(&mut self) -> Result<bool, Error> {
        let [name] = &self.names;
        let more = self.batches.advance() || {
            self.batches.take(&self.rules).map_err(|problem| problem.of(name, &self.columns))?
        };
        if !more {
            return Ok(false);
        }
        self.lent += 1;
        if let Some(digest) = &mut self.digest {
            let record = self.batches.record(&self.rules, Position { file: "", line: 0, number: 0 });
            record.hash_into(digest, self.columns.len());
        }
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        let [file] = &self.names;
        self.batches.record(&self.rules, Position { file, line: 0, number: self.lent })
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn bad_cells(&self) -> BadCells {
        self.rules.bad_cells
    }

    fn digest(&self) -> Digest {
        self.digest.clone().unwrap_or_default()
    }
}

/// Returns for each column whether it is wanted.
fn wanted(columns: usize, wanted: &[usize]) -> Vec<bool> {
    (0..columns).map(|column| wanted.contains(&column)).collect()
}

/// The batches of a reader, taken a few thousand rows at a time and then row by row.
struct Batches {
    reader: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    /// The place of each column in a batch; `None` where nobody wants it.
    places: Vec<Option<usize>>,
    /// The rest of a batch that has more rows than are taken at a time.
    rest: Option<RecordBatch>,
    columns: Vec<Column>,
    rows: usize,
    row: usize,
}

/// What stops the reading.
enum Problem {
    /// An error of the reader.
    Reader(ArrowError),
    /// An error in a column.
    Column(usize, String),
}

impl From<ArrowError> for Problem {
    fn from(error: ArrowError) -> Self {
        Self::Reader(error)
    }
}

impl Problem {
    fn of(self, file: &str, columns: &[String]) -> Error {
        let file = file.into();
        match self {
            Self::Reader(error) => Error::Arrow { file, problem: error.to_string() },
            Self::Column(column, found) => {
                Error::ColumnType { file, column: columns.get(column).cloned().unwrap_or_default(), found }
            }
        }
    }
}

impl Batches {
    fn new(
        reader: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
        places: Vec<Option<usize>>,
    ) -> Self {
        let mut columns = Vec::new();
        columns.resize_with(places.len(), Column::default);
        Self { reader: Box::new(reader), places, rest: None, columns, rows: 0, row: 0 }
    }

    /// Skips the unwanted columns from the next batch on.
    fn keep(&mut self, wanted: &[bool]) {
        for ((place, wanted), column) in self.places.iter_mut().zip(wanted).zip(&mut self.columns) {
            if !wanted {
                *place = None;
                *column = Column::default();
            }
        }
    }

    /// Moves to the next of the rows taken. Returns false after the last: then `take` gets more.
    #[inline]
    fn advance(&mut self) -> bool {
        self.row += 1;
        self.row < self.rows
    }

    /// Takes the next rows and moves to the first. Returns false if there are none.
    fn take(&mut self, rules: &Rules) -> Result<bool, Problem> {
        (self.rows, self.row) = (0, 0);
        let batch = loop {
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.reader.next() {
                    None => return Ok(false),
                    Some(batch) => batch.map_err(Problem::Reader)?,
                },
            };
            if batch.num_rows() > 0 {
                break batch;
            }
        };
        let length = batch.num_rows().min(ROWS);
        for (index, (place, column)) in self.places.iter().zip(&mut self.columns).enumerate() {
            if let Some(array) = place.and_then(|place| batch.columns().get(place)) {
                column
                    .fill(&array.slice(0, length), rules.column(index))
                    .map_err(|found| Problem::Column(index, found))?;
            }
        }
        self.rest = (length < batch.num_rows()).then(|| batch.slice(length, batch.num_rows() - length));
        self.rows = length;
        Ok(true)
    }

    #[inline]
    fn record<'a>(&'a self, rules: &'a Rules, position: Position<'a>) -> Record<'a> {
        Record { cells: Held::Batch { columns: &self.columns, row: self.row, rules }, derived: Derived::NONE, position }
    }
}
