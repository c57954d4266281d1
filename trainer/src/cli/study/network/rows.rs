//! Rows of a table as inputs of a network: the terms of the learner's encoder as dense vectors.

use std::io::Cursor;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use feamoe::encoder::{Encoder, Example, Flipper, Flips, NO_GROUP, Options};
use feamoe::error::Error;
use feamoe::rows::{Attribute, Buffer, Input, Row, Split, Stream, Use};
use feamoe::schema::Schema;
use feamoe_engine::mixture::Term;
use ndarray::Array2;

/// All or some rows of a source.
#[derive(Clone, Debug)]
pub struct Table {
    /// The source.
    pub from: From,
    /// A random part of the rows; `None` for all.
    pub split: Option<Split>,
    /// Range of indices among the rows that the schema keeps; `None` for all.
    pub places: Option<Range<usize>>,
}

/// A source of rows.
#[derive(Clone, Debug)]
pub enum From {
    /// In a file.
    File(PathBuf),
    /// In text.
    Text(Arc<str>),
}

/// Encodes rows. There is an input for each number, for each level, and for each kind of missing
/// and unseen value.
pub struct Inputs {
    encoder: Encoder,
    attributes: Vec<Attribute>,
}

/// Encoded rows in the order of their table.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    terms: Terms,
    /// For each row its variants in which a protected column has the value of another group.
    flips: Terms,
    /// The end of each row's variants in `flips`.
    flip_ends: Vec<usize>,
    groups: Vec<u8>,
    attributes: usize,
    /// Number of inputs of a network.
    pub width: usize,
    /// Whether the label of each row is the favourable outcome.
    pub labels: Vec<bool>,
}

/// The terms of consecutive records.
#[derive(Clone, Debug, Default)]
struct Terms {
    terms: Vec<Term>,
    ends: Vec<usize>,
}

impl Table {
    /// Returns the table of all rows of a file.
    pub fn file(path: PathBuf) -> Self {
        Self { from: From::File(path), split: None, places: None }
    }

    /// Opens the table, ignoring `places`.
    ///
    /// # Errors
    /// Those of [`Stream::open`].
    pub fn open(&self, schema: &Schema) -> Result<Stream<'static>, Error> {
        let mut stream = match &self.from {
            From::File(path) => Stream::open(&[Input::from(path.as_path())], schema, Use::Learn)?,
            From::Text(text) => {
                let text = Cursor::new(text.as_bytes().to_vec());
                Stream::from_reader("generated rows", text, schema, Use::Learn)?
            }
        };
        if let Some(split) = self.split {
            stream.keep(split);
        }
        Ok(stream)
    }

    /// Calls `take` for each row. Groups are numbered as in an earlier table.
    ///
    /// # Errors
    /// Those of reading, and of `take`.
    pub fn each<'a>(
        &self,
        schema: &Schema,
        attributes: impl IntoIterator<Item = &'a Attribute>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<Stream<'static>, Error> {
        let mut stream = self.open(schema)?;
        stream.resume_groups(attributes);
        let mut place = 0;
        while let Some(row) = stream.next_row()? {
            if self.places.as_ref().is_none_or(|places| places.contains(&place)) {
                take(&row)?;
            }
            place += 1;
        }
        Ok(stream)
    }

    /// Reads all rows of the table.
    fn read(&self, schema: &Schema, attributes: &[Attribute]) -> Result<(Stream<'static>, Buffer), Error> {
        let stream = self.open(schema)?;
        let columns: Vec<usize> = (0..stream.columns().len()).collect();
        let mut rows = Buffer::new(columns.len(), &columns, stream.attributes().count());
        let stream = self.each(schema, attributes, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        stream.check_rows()?;
        Ok((stream, rows))
    }
}

impl Inputs {
    /// Fits the encoding on a table.
    ///
    /// # Errors
    /// Those of reading the table.
    pub fn fit(table: &Table, schema: &Schema) -> Result<Self, Error> {
        let (stream, rows) = table.read(schema, &[])?;
        let options = Options { warmup: rows.len(), bins: 0 };
        let mut encoder = Encoder::fit(&rows, stream.columns(), schema, &options)?;
        let mut example = Example::default();
        for row in rows.rows() {
            encoder.learn_one(&row, &mut example)?;
        }
        Ok(Self { encoder, attributes: stream.attributes().cloned().collect() })
    }

    /// Encodes a table.
    ///
    /// # Errors
    /// Those of reading the table.
    pub fn encode(&mut self, table: &Table, schema: &Schema) -> Result<Rows, Error> {
        let (stream, read) = table.read(schema, &self.attributes)?;
        self.encoder.bind(stream.columns(), &stream.files())?;
        let mut rows = Rows::new(self.encoder.n_rows(), stream.attributes().count());
        let (mut example, mut flipper, mut flips) = <(Example, Flipper, Flips)>::default();
        for row in read.rows() {
            self.encoder.encode(&row, &mut example)?;
            flipper.flip(&self.encoder, stream.attributes(), &example, &mut flips);
            rows.push(&example, flips.iter());
        }
        Ok(rows)
    }
}

impl Rows {
    /// Creates an empty table for a number of inputs and of protected attributes.
    pub fn new(width: usize, attributes: usize) -> Self {
        Self { width, attributes, ..Self::default() }
    }

    fn push<'a>(&mut self, example: &Example, flips: impl Iterator<Item = &'a [Term]>) {
        self.terms.push(&example.terms);
        flips.for_each(|terms| self.flips.push(terms));
        self.flip_ends.push(self.flips.ends.len());
        self.groups.extend_from_slice(&example.groups);
        self.labels.push(example.label);
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns the number of protected attributes.
    pub fn attributes(&self) -> usize {
        self.attributes
    }

    /// Returns the groups of a row, by protected attribute.
    pub fn groups(&self, row: usize) -> &[u8] {
        let start = row * self.attributes;
        self.groups.get(start..start + self.attributes).unwrap_or_default()
    }

    /// Returns the group of a row in the first protected attribute, if it has one.
    pub fn group(&self, row: usize) -> Option<u8> {
        self.groups(row).first().copied().filter(|group| *group != NO_GROUP)
    }

    /// Returns the terms of a row, by feature.
    pub fn terms(&self, row: usize) -> &[Term] {
        self.terms.of(row)
    }

    /// Returns the inputs of some rows, with one row of the result per row.
    pub fn batch(&self, rows: &[u32]) -> Array2<f32> {
        let records = rows.iter().map(|row| self.terms.of(*row as usize));
        dense(records, rows.len(), self.width)
    }

    /// Returns the inputs of a row's variants, with one row per value of another group.
    pub fn flips(&self, row: usize) -> Array2<f32> {
        let start = row.checked_sub(1).and_then(|before| self.flip_ends.get(before)).copied().unwrap_or(0);
        let flips = start..self.flip_ends.get(row).copied().unwrap_or(start);
        dense(flips.clone().map(|flip| self.flips.of(flip)), flips.len(), self.width)
    }
}

impl Terms {
    fn push(&mut self, terms: &[Term]) {
        self.terms.extend_from_slice(terms);
        self.ends.push(self.terms.len());
    }

    fn of(&self, record: usize) -> &[Term] {
        let start = record.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(record).and_then(|end| self.terms.get(start..*end)).unwrap_or_default()
    }
}

/// Writes terms as dense vectors, with one row per record.
fn dense<'a>(records: impl Iterator<Item = &'a [Term]>, count: usize, width: usize) -> Array2<f32> {
    let mut batch = Array2::zeros((count, width));
    for (mut to, terms) in batch.outer_iter_mut().zip(records) {
        for term in terms {
            if let Some(input) = to.get_mut(term.row as usize) {
                *input += term.scale;
            }
        }
    }
    batch
}
