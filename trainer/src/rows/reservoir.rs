//! A uniform sample of the rows of a stream. It serves as the background of a model and to check
//! the export.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::{Buffer, GroupMap, Row};
use crate::random::{below, shuffle};

/// Minimum number of rows kept, whatever the background, because the export is checked on them.
const CHECKED_ROWS: u64 = 1000;

/// Separates this draw from everything else that is drawn in a run.
const SEED: u64 = u64::from_be_bytes(*b"reservoi");

/// The same for merging.
const MERGING_SEED: u64 = u64::from_be_bytes(*b"merging ");

/// A uniform sample without replacement of the rows offered so far, in constant memory (Vitter
/// 1985, algorithm R). A stored reservoir must be resumed with `resume` before it is used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reservoir {
    rows: Buffer,
    background: u16,
    seed: u64,
    offered: u64,
    /// Memory that the rows take, in bytes.
    #[serde(skip)]
    bytes: usize,
    /// Its state follows from the seed and the number of rows offered: one draw for each row past
    /// the capacity.
    #[serde(skip, default = "unseeded")]
    random: Pcg64Mcg,
}

fn unseeded() -> Pcg64Mcg {
    Pcg64Mcg::new(0)
}

impl Reservoir {
    /// Starts without rows, with an empty buffer to hold them. `background` is the number of rows
    /// that will go into the model.
    #[must_use]
    pub fn new(rows: Buffer, background: u16, seed: u64) -> Self {
        let mut reservoir = Self { rows, background, seed, offered: 0, bytes: 0, random: unseeded() };
        reservoir.resume();
        reservoir
    }

    /// Resumes a stored reservoir.
    pub(crate) fn resume(&mut self) {
        self.bytes = self.rows.bytes();
        self.random = Pcg64Mcg::seed_from_u64(self.seed ^ SEED);
        self.random.advance(self.offered.saturating_sub(self.capacity()).into());
    }

    /// Returns whether a stored reservoir is valid; see [`Buffer`].
    pub(crate) fn is_sound(&self, columns: usize, attributes: usize) -> bool {
        self.rows.len() as u64 == self.offered.min(self.capacity()) && self.rows.is_sound(columns, attributes)
    }

    /// Returns a sample of all rows offered to these reservoirs, which must have the same columns.
    /// It has the same distribution as if one reservoir had been offered all rows: each place goes
    /// to a part in proportion to the part's rows that are not drawn yet. The background is the
    /// smallest of the parts' backgrounds, so that no run adds more rows to a model than it allows.
    pub(crate) fn merge(parts: &[(&Self, &GroupMap)]) -> Option<Self> {
        let ((first, _), offered) = (parts.first()?, parts.iter().map(|(part, _)| part.offered));
        let background = parts.iter().map(|(part, _)| part.background).min()?;
        let rows = first.rows.only(std::iter::empty());
        let mut merged =
            Self { offered: offered.fold(0, u64::saturating_add), ..Self::new(rows, background, first.seed) };
        let mut random = Pcg64Mcg::seed_from_u64(first.seed ^ MERGING_SEED);
        let drawn = |part: &Self, random: &mut Pcg64Mcg| {
            let mut order: Vec<u32> = (0..).take(part.rows.len()).collect();
            shuffle(&mut order, random);
            order.into_iter()
        };
        let mut left: Vec<(u64, std::vec::IntoIter<u32>)> =
            parts.iter().map(|(part, _)| (part.offered, drawn(part, &mut random))).collect();
        for _ in 0..merged.offered.min(merged.capacity()) {
            let mut place = below(left.iter().map(|(offered, _)| *offered).fold(0, u64::saturating_add), &mut random);
            for ((part, groups), (offered, order)) in parts.iter().zip(&mut left) {
                if place < *offered {
                    *offered -= 1;
                    order.next().iter().for_each(|index| merged.rows.take(&part.rows, *index as usize, groups));
                    break;
                }
                place -= *offered;
            }
        }
        merged.resume();
        Some(merged)
    }

    fn capacity(&self) -> u64 {
        CHECKED_ROWS.max(self.background.into())
    }

    /// Takes the next row of the stream, and keeps it or not.
    #[inline]
    pub fn offer(&mut self, row: &Row<'_>) {
        self.offered += 1;
        if self.offered <= self.capacity() {
            self.rows.push(row);
            self.bytes += self.rows.last_bytes();
        } else {
            let place = below(self.offered, &mut self.random);
            if place < self.capacity() {
                self.bytes -= self.rows.bytes_of(place as usize);
                self.rows.replace(place as usize, row);
                self.bytes += self.rows.bytes_of(place as usize);
            }
        }
    }

    /// Returns the memory that the rows take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the rows kept, in no particular order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.rows()
    }

    /// Returns the background: the requested number of rows, or all if there are fewer. Their order
    /// is drawn at random, so that any first part is a sample too: in the buffer, early rows of the
    /// stream come first.
    pub fn background(&self) -> impl Iterator<Item = Row<'_>> {
        let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
        shuffle(&mut order, &mut self.random.clone());
        order.into_iter().take(self.background.into()).filter_map(|index| self.rows.row(index as usize))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::{Stream, Use};
    use crate::schema::Schema;

    /// A stream of `rows` rows in files of a hundred rows. Rows of the first and of the second half
    /// differ in length.
    fn over(rows: u64, background: u16, seed: u64) -> Reservoir {
        let schema = Schema::from_toml("s", "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n").unwrap();
        let text: String = (0..rows).fold("x,y\n".into(), |text, i| {
            let digits = if i < rows / 2 { 60 } else { 3 };
            text + &format!("{i:0digits$},1\n")
        });
        let mut stream = Stream::from_reader("rows", std::io::Cursor::new(text), &schema, Use::Learn).unwrap();
        let mut reservoir = Reservoir::new(Buffer::new(2, &[0], 0), background, seed);
        while let Some(mut row) = stream.next_row().unwrap() {
            let file = format!("file {}", row.position.number / 100);
            row.record.position.file = &file;
            reservoir.offer(&row);
        }
        assert!(reservoir.is_sound(2, 0));
        reservoir
    }

    fn numbers<'a>(rows: impl Iterator<Item = Row<'a>>) -> Vec<u64> {
        rows.map(|row| {
            assert_eq!(row.position.file, format!("file {}", row.position.number / 100));
            assert_eq!(row.cell(0).number(), Some((row.position.number - 1) as f64));
            row.position.number
        })
        .collect()
    }

    #[test]
    fn keeps_every_row_of_a_short_stream_once() {
        for rows in [1, 999, 1000] {
            let reservoir = over(rows, 300, 1);
            assert_eq!(numbers(reservoir.rows()), (1..=rows).collect::<Vec<_>>());
            assert_eq!(reservoir.background().count() as u64, rows.min(300));
        }
        assert_eq!((over(5, 0, 1).background().count(), over(3_000, 2_000, 1).rows().count()), (0, 2_000));
    }

    /// Counts rows by tenths of the stream: of the background, of its first part, and of the whole
    /// reservoir. The bound is five standard deviations.
    #[test]
    fn every_row_is_as_likely() {
        const ROWS: u64 = 4_000;
        const SEEDS: u64 = 40;
        let mut counts = [[0_u64; 10]; 3];
        for seed in 0..SEEDS {
            let reservoir = over(ROWS, 500, seed);
            let parts =
                [numbers(reservoir.background()), numbers(reservoir.background().take(50)), numbers(reservoir.rows())];
            for (counts, numbers) in counts.iter_mut().zip(parts) {
                numbers.iter().for_each(|number| counts[((number - 1) * 10 / ROWS) as usize] += 1);
            }
        }
        for (counts, rows) in counts.into_iter().zip([500, 50, 1000]) {
            let expected = (SEEDS * rows) as f64 / 10.0;
            assert!(counts.iter().all(|count| (*count as f64 - expected).abs() < 5.0 * expected.sqrt()), "{counts:?}");
        }
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let drawn = |seed| numbers(over(3_000, 100, seed).background());
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn one_that_lacks_rows_or_has_too_many_is_refused() {
        for (rows, offered) in [(5, 4), (5, 6), (1_000, 999), (1_200, 999)] {
            let mut reservoir = over(rows, 0, 1);
            reservoir.offered = offered;
            assert!(!reservoir.is_sound(2, 0), "{rows} rows, {offered} offered");
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_stream() {
        let bytes = |rows| postcard::to_allocvec(&over(rows, 0, 1)).unwrap().len();
        let (short, long) = (bytes(2_000), bytes(60_000));
        assert!(long < short, "{short} bytes, then {long}");
    }
}
