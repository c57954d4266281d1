//! A table in memory that can be read any number of times.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{ArrowError, SchemaRef};

use super::ArrowRows;
use crate::error::Error;
use crate::rows::dates::{Dated, without_dates};
use crate::rows::{Digest, Source};
use crate::schema::Table;

/// Record batches of one schema. They serve as the data of a run in any number of passes, as an
/// [`Input`](crate::rows::Input) that is not a file. Cheap to clone.
#[derive(Clone)]
pub struct ArrowTable {
    name: Arc<str>,
    schema: SchemaRef,
    batches: Arc<[RecordBatch]>,
    /// Number of rows before these in the table that this is a part of.
    before: u64,
}

impl ArrowTable {
    /// Takes batches; `name` stands for them in messages.
    ///
    /// # Errors
    /// [`Error::Arrow`] for a batch of another schema.
    pub fn new(name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, Error> {
        match batches.iter().find(|batch| batch.schema_ref().fields() != schema.fields()) {
            Some(other) => {
                let problem = format!("found a batch of {}, expected {schema}", other.schema());
                Err(Error::Arrow { file: name.into(), problem })
            }
            None => Ok(Self { name: name.into(), schema, batches: batches.into(), before: 0 }),
        }
    }

    /// Returns the schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the batches.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Splits the rows into parts of at most `most`, which may be read at the same time. Rows keep
    /// their numbers.
    #[must_use]
    pub fn parts(&self, most: usize) -> Vec<Self> {
        let most = most.max(1);
        let mut before = self.before;
        let batches = self.batches.iter();
        let slices = batches.flat_map(|batch| {
            let starts = (0..batch.num_rows()).step_by(most);
            starts.map(move |start| batch.slice(start, most.min(batch.num_rows() - start)))
        });
        let part = |slice: RecordBatch| {
            let rows = slice.num_rows() as u64;
            let part = Self { batches: [slice].into(), before, ..self.clone() };
            before += rows;
            part
        };
        slices.map(part).collect()
    }

    /// Returns the rows, not hashed, with the columns that `table` derives from dates.
    ///
    /// # Errors
    /// The same as [`ArrowRows::new`]; [`Error::MissingColumn`] if a column of dates is missing.
    pub fn rows(&self, table: &Table) -> Result<Box<dyn Source>, Error> {
        self.rows_of(table, &[])
    }

    /// Like [`ArrowTable::rows`], with only these columns, in this order. An empty list means all
    /// columns as they are.
    ///
    /// # Errors
    /// [`Error::HeaderMismatch`], naming the missing columns.
    pub fn rows_of(&self, table: &Table, columns: &[String]) -> Result<Box<dyn Source>, Error> {
        let mut rows = self.resume(table, without_dates(columns, table), Digest::default())?;
        rows.digest = None;
        Dated::of(Box::new(rows), table)
    }

    /// Returns the rows, hashed, after earlier data with these columns and this digest. `columns`
    /// is empty if there was no earlier data.
    pub(in crate::rows) fn resume(
        &self,
        table: &Table,
        columns: &[String],
        digest: Digest,
    ) -> Result<ArrowRows, Error> {
        let batches: Vec<Result<RecordBatch, ArrowError>> = self.batches.iter().cloned().map(Ok).collect();
        let reader = RecordBatchIterator::new(batches, Arc::clone(&self.schema));
        let mut rows = ArrowRows::new(&self.name, reader, table)?;
        if !columns.is_empty() {
            rows.order_by(columns, table)?;
        }
        (rows.digest, rows.lent) = (Some(digest), self.before);
        Ok(rows)
    }
}

impl PartialEq for ArrowTable {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.schema, &self.batches, self.before)
            == (&other.name, &other.schema, &other.batches, other.before)
    }
}

impl fmt::Debug for ArrowTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowTable").field("name", &self.name).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl fmt::Display for ArrowTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
