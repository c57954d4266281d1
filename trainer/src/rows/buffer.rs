//! A few rows kept in memory: what an encoder is fitted on before the stream goes on, and a sample of them.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::csv::records::{Missing, Position, Record};
use super::{Row, Stream};
use crate::error::Error;

/// Rows of a stream, as text, in a few large allocations. One that was stored must be attached to a stream before its rows are read.
#[derive(Clone, Serialize, Deserialize)]
pub struct Buffer {
    text: Vec<u8>,
    /// `fields_per_row` for each row, relative to the row's text.
    fields: Vec<Range<u32>>,
    fields_per_row: usize,
    groups: Vec<u8>,
    groups_per_row: usize,
    rows: Vec<Place>,
    files: Vec<String>,
    #[serde(skip)]
    trim: bool,
    #[serde(skip)]
    missing: Arc<Missing>,
}

/// What a row has besides its cells and groups.
#[derive(Clone, Serialize, Deserialize)]
struct Place {
    text: Range<usize>,
    file: usize,
    line: u64,
    number: u64,
    label: Option<bool>,
}

impl Buffer {
    /// Starts without rows, for rows of this stream.
    #[must_use]
    pub fn new(stream: &Stream) -> Self {
        Self {
            text: Vec::new(),
            fields: Vec::new(),
            fields_per_row: stream.columns().len(),
            groups: Vec::new(),
            groups_per_row: stream.groups.len(),
            rows: Vec::new(),
            files: Vec::new(),
            trim: stream.records.trim(),
            missing: stream.records.missing(),
        }
    }

    /// Takes up to `most` rows from the stream.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::next_row`].
    pub fn read(stream: &mut Stream, most: usize) -> Result<Self, Error> {
        let mut buffer = Self::new(stream);
        buffer.fill(stream, most)?;
        Ok(buffer)
    }

    /// Takes more rows, up to `most` in all, from a stream that goes on with the one before.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::next_row`].
    pub fn fill(&mut self, stream: &mut Stream, most: usize) -> Result<(), Error> {
        while self.rows.len() < most {
            let Some(row) = stream.next_row()? else { break };
            self.push(&row);
        }
        Ok(())
    }

    /// Lets a stored buffer go on with a stream of the same columns and schema.
    pub(crate) fn attach(&mut self, stream: &Stream) {
        self.trim = stream.records.trim();
        self.missing = stream.records.missing();
    }

    /// Returns whether a stored buffer can be one, for this number of columns and protected attributes.
    pub(crate) fn is_sound(&self, columns: usize, attributes: usize) -> bool {
        let all = |per_row: usize| self.rows.len().checked_mul(per_row);
        (self.fields_per_row, self.groups_per_row) == (columns, attributes)
            && all(columns) == Some(self.fields.len())
            && all(attributes) == Some(self.groups.len())
            && self
                .rows
                .iter()
                .all(|place| place.file < self.files.len() && self.text.get(place.text.clone()).is_some())
    }

    /// Returns a buffer without rows, for rows of the same stream.
    fn emptied(&self) -> Self {
        Self {
            text: Vec::new(),
            fields: Vec::new(),
            groups: Vec::new(),
            rows: Vec::new(),
            files: Vec::new(),
            missing: Arc::clone(&self.missing),
            ..*self
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &Row<'_>) {
        let place = self.keep(row);
        self.rows.push(place);
        self.fields.extend_from_slice(row.record.fields);
        self.groups.extend_from_slice(row.groups);
    }

    /// Puts a row in the place of another. What is left of rows replaced goes once it is the larger part: texts differ in length, and moving them each time
    /// would cost more.
    #[cold]
    pub(super) fn replace(&mut self, index: usize, row: &Row<'_>) {
        let place = self.keep(row);
        self.rows[index] = place;
        let span = |per_row: usize| index * per_row..(index + 1) * per_row;
        self.fields[span(self.fields_per_row)]
            .iter_mut()
            .zip(row.record.fields)
            .for_each(|(to, from)| *to = from.clone());
        self.groups[span(self.groups_per_row)].iter_mut().zip(row.groups).for_each(|(to, from)| *to = *from);
        let used: usize = self.rows.iter().map(|place| place.text.len()).sum();
        if self.text.len() / 2 > used {
            let mut tight = self.emptied();
            self.rows().for_each(|row| tight.push(&row));
            *self = tight;
        }
    }

    /// Keeps the text of a row and the name of its file.
    fn keep(&mut self, row: &Row<'_>) -> Place {
        let Position { file, line, number } = row.position;
        // Mostly the newest one.
        let known = self.files.iter().rposition(|known| known == file);
        let file = known.unwrap_or_else(|| {
            self.files.push(file.into());
            self.files.len() - 1
        });
        let start = self.text.len();
        self.text.extend_from_slice(row.record.text);
        Place { text: start..self.text.len(), file, line, number, label: row.label }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns a row, in the order of the stream.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        let place = self.rows.get(index)?;
        let span = |per_row: usize| index * per_row..(index + 1) * per_row;
        Some(Row {
            record: Record {
                text: self.text.get(place.text.clone())?,
                fields: self.fields.get(span(self.fields_per_row))?,
                trim: self.trim,
                missing: &self.missing,
                position: Position { file: self.files.get(place.file)?, line: place.line, number: place.number },
            },
            label: place.label,
            groups: self.groups.get(span(self.groups_per_row))?,
        })
    }

    /// Returns the rows in the order of the stream.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).filter_map(|index| self.row(index))
    }
}
