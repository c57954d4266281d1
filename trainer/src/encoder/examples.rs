//! Encodes every row of a stream, from the first one on.

use super::{Encoder, Example, Options, feature_columns};
use crate::error::Error;
use crate::rows::{Buffer, Stream};
use crate::schema::Schema;

/// Fits an encoder on the first rows of a stream, then encodes these and all following rows, in
/// order and in constant memory.
///
/// ```
/// # use feamoe::encoder::{Example, Examples, Options};
/// # use feamoe::rows::{Stream, Use};
/// # use feamoe::schema::Schema;
/// let schema = Schema::from_toml("s.toml", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n")?;
/// let stream = Stream::from_reader("f.csv", "age,job,y\n30,cook,1\n40,smith,0\n".as_bytes(), &schema, Use::Learn)?;
/// let mut examples = Examples::new(stream, &schema, &Options::default())?;
/// let mut example = Example::default();
/// while examples.next_example(&mut example)? {
///     assert_eq!(example.terms.len(), 2); // an age and a job
/// }
/// assert_eq!(examples.encoder().rows_seen(), 2);
/// # Ok::<(), feamoe::error::Error>(())
/// ```
pub struct Examples<'s> {
    stream: Stream<'s>,
    encoder: Encoder,
    /// Rows that the encoder was fitted on, until they have been returned.
    warmup: Option<Buffer>,
    given: usize,
}

impl<'s> Examples<'s> {
    /// Reads the first rows and fits an encoder on them.
    ///
    /// # Errors
    ///
    /// Those of the stream and of [`Encoder::fit`]; [`Error::NoUsableRows`].
    pub fn new(mut stream: Stream<'s>, schema: &Schema, options: &Options) -> Result<Self, Error> {
        let kept = feature_columns(stream.columns(), &stream.files(), schema)?;
        let mut warmup = Buffer::new(stream.columns().len(), &kept, stream.attributes().count());
        warmup.fill(&mut stream, options.warmup.max(1))?;
        if warmup.is_empty() {
            stream.check_rows()?;
        }
        let encoder = Encoder::fit(&warmup, stream.columns(), schema, options)?;
        Ok(Self { stream, encoder, warmup: Some(warmup), given: 0 })
    }

    /// Encodes the next row. Returns false at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream and of [`Encoder::learn_one`].
    pub fn next_example(&mut self, example: &mut Example) -> Result<bool, Error> {
        if let Some(warmup) = &self.warmup {
            if let Some(row) = warmup.row(self.given) {
                self.given += 1;
                self.encoder.learn_one(&row, example)?;
                return Ok(true);
            }
            self.warmup = None;
        }
        match self.stream.next_row()? {
            Some(row) => self.encoder.learn_one(&row, example).map(|()| true),
            None => Ok(false),
        }
    }

    /// Returns the stream, for its counts and groups. It is ahead of the examples while the first
    /// rows are returned.
    #[must_use]
    pub fn stream(&self) -> &Stream<'s> {
        &self.stream
    }

    /// Returns the encoder in its state after the last example.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}
