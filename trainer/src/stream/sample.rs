//! A few rows of a stream, evenly spread over all of it, kept as text.

use serde::{Deserialize, Serialize};

use super::{Buffer, Row, Stream};

/// Rows kept at most.
const MOST_ROWS: usize = 1024;

/// Every n-th row of a stream; n doubles, and every other row goes, whenever there are `MOST_ROWS`. No chance is involved.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sample {
    rows: Buffer,
    every: u64,
    offered: u64,
}

impl Sample {
    /// Starts without rows, for rows of this stream.
    #[must_use]
    pub fn new(stream: &Stream) -> Self {
        Self { rows: Buffer::new(stream), every: 1, offered: 0 }
    }

    /// Lets a stored sample go on with a stream of the same columns and schema.
    pub(crate) fn attach(&mut self, stream: &Stream) {
        self.rows.attach(stream);
    }

    /// Returns whether a stored sample can be one; see [`Buffer`].
    pub(crate) fn is_sound(&self, columns: usize, attributes: usize) -> bool {
        self.every > 0 && self.rows.is_sound(columns, attributes)
    }

    /// Takes the next row of the stream, or passes it over.
    #[inline]
    pub fn offer(&mut self, row: &Row<'_>) {
        if self.offered.is_multiple_of(self.every) {
            self.take(row);
        }
        self.offered += 1;
    }

    #[cold]
    fn take(&mut self, row: &Row<'_>) {
        if self.rows.len() == MOST_ROWS {
            self.every *= 2;
            let mut kept = self.rows.emptied();
            self.rows.rows().step_by(2).for_each(|row| kept.push(&row));
            self.rows = kept;
        }
        if self.offered.is_multiple_of(self.every) {
            self.rows.push(row);
        }
    }

    /// Returns the rows kept, in the order of the stream.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.rows()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use crate::stream::Use;

    #[test]
    fn spreads_evenly_over_a_stream_of_any_length() {
        let text: String = (0..10_000).fold("x,y\n".into(), |text, i| text + &format!("{i},1\n"));
        let schema = Schema::from_toml("s", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
        let mut stream = Stream::from_reader("rows", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
        let mut sample = Sample::new(&stream);
        while let Some(row) = stream.next_row().unwrap() {
            sample.offer(&row);
        }
        let numbers: Vec<u64> = sample.rows().map(|row| row.position.number).collect();
        assert!(numbers.len() > MOST_ROWS / 2 && numbers.len() <= MOST_ROWS);
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 16), "{numbers:?}");
    }
}
