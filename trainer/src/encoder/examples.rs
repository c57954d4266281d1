//! Every row of a stream as an example, from the first one on.

use super::{Encoder, Example, Options};
use crate::error::Error;
use crate::rows::{Buffer, Reservoir, Stream};
use crate::schema::Schema;

/// Fits an encoder on the first rows of a stream, then encodes them and all that follow, in order and in constant memory.
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
pub struct Examples {
    stream: Stream,
    encoder: Encoder,
    /// Rows the encoder is fitted on at most.
    wanted: usize,
    /// Rows the encoder was fitted on, until they have been given out; to the end where there were too few.
    warmup: Option<Buffer>,
    given: usize,
    reservoir: Reservoir,
}

impl Examples {
    /// Reads the first rows and fits an encoder on them.
    ///
    /// # Errors
    ///
    /// Those of the stream and of [`Encoder::fit`]; [`Error::NoUsableRows`].
    pub fn new(stream: Stream, schema: &Schema, options: &Options) -> Result<Self, Error> {
        Self::with_first(Buffer::new(&stream), Reservoir::new(&stream, 0, 0), stream, schema, options)
    }

    /// As [`Examples::new`], after rows of earlier streams, fewer than the encoder is fitted on. The reservoir is offered every row, these first: it must be
    /// new.
    ///
    /// # Errors
    ///
    /// As [`Examples::new`].
    pub fn with_first(
        mut warmup: Buffer,
        mut reservoir: Reservoir,
        mut stream: Stream,
        schema: &Schema,
        options: &Options,
    ) -> Result<Self, Error> {
        let wanted = options.warmup.max(1);
        warmup.attach(&stream);
        reservoir.attach(&stream);
        warmup.fill(&mut stream, wanted)?;
        if warmup.is_empty() {
            stream.check_rows()?;
        }
        let encoder = Encoder::fit(&warmup, &stream, schema, options)?;
        Ok(Self { stream, encoder, wanted, warmup: Some(warmup), given: 0, reservoir })
    }

    /// Goes on with what an earlier stream came to.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`].
    pub fn resume(stream: Stream, mut encoder: Encoder, mut reservoir: Reservoir) -> Result<Self, Error> {
        encoder.bind(&stream)?;
        reservoir.attach(&stream);
        Ok(Self { stream, encoder, wanted: 0, warmup: None, given: 0, reservoir })
    }

    /// Encodes the next row; false at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream and of [`Encoder::learn_one`].
    pub fn next_example(&mut self, example: &mut Example) -> Result<bool, Error> {
        if let Some(warmup) = &self.warmup {
            if let Some(row) = warmup.row(self.given) {
                self.given += 1;
                self.reservoir.offer(&row);
                self.encoder.learn_one(&row, example)?;
                return Ok(true);
            }
            if self.are_too_few() {
                return Ok(false);
            }
            self.warmup = None;
        }
        match self.stream.next_row()? {
            Some(row) => {
                self.reservoir.offer(&row);
                self.encoder.learn_one(&row, example).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Returns the stream, for its counts and groups. While the first rows are given out, it is ahead of the examples.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Returns whether every row that was read has been given out: not while the stream is ahead.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.warmup.as_ref().is_none_or(|warmup| self.given >= warmup.len())
    }

    /// Returns whether the stream ended before there were as many rows as the encoder is to be fitted on.
    #[must_use]
    pub fn are_too_few(&self) -> bool {
        self.warmup.as_ref().is_some_and(|warmup| warmup.len() < self.wanted)
    }

    /// Returns the encoder as it is after the last example.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Returns a sample of the rows that were encoded.
    #[must_use]
    pub fn reservoir(&self) -> &Reservoir {
        &self.reservoir
    }

    /// Returns the parts: the stream, the encoder, a sample of the rows that were encoded, and all rows where they were fewer than the encoder
    /// is to be fitted on.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Encoder, Reservoir, Option<Buffer>) {
        let all = if self.are_too_few() { self.warmup } else { None };
        (self.stream, self.encoder, self.reservoir, all)
    }
}
