//! A table in memory that can be read again and again.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{ArrowError, SchemaRef};

use super::ArrowRows;
use crate::error::Error;
use crate::rows::Digest;
use crate::schema::Table;

/// Record batches of one schema, as the data of a run in any number of passes: an
/// [`Input`](crate::rows::Input) that is no file. Cheap to clone.
#[derive(Clone)]
pub struct ArrowTable {
    name: Arc<str>,
    schema: SchemaRef,
    batches: Arc<[RecordBatch]>,
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
            None => Ok(Self { name: name.into(), schema, batches: batches.into() }),
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

    /// Returns its rows.
    ///
    /// # Errors
    /// As [`ArrowRows::new`].
    pub fn rows(&self, table: &Table) -> Result<ArrowRows, Error> {
        self.resume(table, &[], Digest::default())
    }

    /// As [`ArrowTable::rows`], with these columns in their order; others are left out.
    ///
    /// # Errors
    /// [`Error::HeaderMismatch`](crate::error::Error::HeaderMismatch), naming the columns that are
    /// not there.
    pub fn rows_of(&self, table: &Table, columns: &[String]) -> Result<ArrowRows, Error> {
        self.resume(table, columns, Digest::default())
    }

    /// As [`ArrowTable::rows`], after earlier data with these columns (none: there were none) and
    /// of this digest.
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
        rows.digest = digest;
        Ok(rows)
    }
}

impl PartialEq for ArrowTable {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.schema, &self.batches) == (&other.name, &other.schema, &other.batches)
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
