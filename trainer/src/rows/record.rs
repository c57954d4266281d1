//! One record of a table, whatever its source: one cell per column, which is missing, a number or a
//! text.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::number::parse;
use super::rules::Rules;
use crate::error::{Error, Where};

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// The source's name in messages: a file, or what its owner calls it.
    pub file: &'a str,
    /// 1-based line of the file on which the record starts; 0 if the source has no lines.
    pub line: u64,
    /// 1-based number of the record over all files, headers, comments and empty lines not counted.
    pub number: u64,
}

impl From<Position<'_>> for Where {
    fn from(Position { file, line, number }: Position<'_>) -> Self {
        Self { file: file.into(), line, number }
    }
}

/// The value of a column in a record, before encoding. CSV gives text, a typed source gives
/// numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Missing,
    /// A number.
    Number(f64),
    /// Text in UTF-8. It is parsed where a number is needed.
    Text(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// Returns the number that the cell holds: NaN for a missing value, `None` for text that is not
    /// a number.
    #[inline]
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Missing => Some(f64::NAN),
            Self::Number(x) => Some(x),
            Self::Text(text) => parse(text),
        }
    }

    /// Returns the text of the cell, as levels and groups are named; `None` for a missing value. A
    /// number gives its shortest decimal form, such as `39` for 39.0.
    #[inline]
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Missing => None,
            Self::Number(x) => Some(Cow::Owned(decimals(x).into_bytes())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// Returns whether there is no value.
    #[inline]
    #[must_use]
    pub fn is_missing(self) -> bool {
        self == Self::Missing
    }
}

#[cold]
pub(super) fn decimals(x: f64) -> String {
    /// Smaller whole numbers are written fastest as integers.
    const WHOLE: f64 = 1e15;
    if x.fract() == 0.0 && x.abs() < WHOLE {
        return (x as i64).to_string();
    }
    x.to_string()
}

/// A record: its cells by column index.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub(super) cells: Held<'a>,
    /// Cells of derived columns.
    pub(super) derived: Derived<'a>,
    /// Where it is.
    pub position: Position<'a>,
}

/// Cells of columns that are derived from others and come after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived<'a> {
    /// Index of the first derived column.
    first: usize,
    cells: &'a [Kept],
    text: &'a [u8],
}

impl<'a> Derived<'a> {
    pub(super) const NONE: Self = Self { first: usize::MAX, cells: &[], text: &[] };

    pub(super) fn new(first: usize, cells: &'a Cells) -> Self {
        Self { first, cells: &cells.cells, text: &cells.text }
    }
}

/// The cells of a record, as its source holds them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held<'a> {
    /// Fields of a line of text.
    Fields(Fields<'a>),
    /// Cells kept in memory. `places` holds the index of each column among them, or [`NOT_KEPT`].
    Kept { cells: &'a [Kept], text: &'a [u8], places: &'a [u32] },
    /// A row of a record batch.
    #[cfg(feature = "arrow")]
    Batch { columns: &'a [super::arrow::Column], row: usize, rules: &'a Rules },
}

/// A line of text and the ranges of its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub text: &'a [u8],
    pub fields: &'a [Range<u32>],
    pub rules: &'a Rules,
}

/// A cell in memory. The texts of all cells are stored one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kept {
    Missing,
    Number(f64),
    Text(Range<u32>),
}

/// Place of a column that is not kept.
pub(super) const NOT_KEPT: u32 = u32::MAX;

impl Kept {
    /// Keeps a cell and appends its text to `texts`. Text that equals the written form of its
    /// number is kept as that number.
    pub(super) fn of(cell: Cell<'_>, texts: &mut Vec<u8>) -> Self {
        match cell {
            Cell::Missing => Self::Missing,
            Cell::Number(x) => Self::Number(x),
            Cell::Text(text) => match parse(text).filter(|x| decimals(*x).as_bytes() == text) {
                Some(x) => Self::Number(x),
                None => {
                    let start = texts.len() as u32;
                    texts.extend_from_slice(text);
                    Self::Text(start..texts.len() as u32)
                }
            },
        }
    }

    #[inline]
    fn cell<'a>(&self, text: &'a [u8]) -> Cell<'a> {
        match self {
            Self::Missing => Cell::Missing,
            Self::Number(x) => Cell::Number(*x),
            Self::Text(range) => Cell::Text(text.get(range.start as usize..range.end as usize).unwrap_or_default()),
        }
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn text(&self, column: usize) -> &'a [u8] {
        let text = self.fields.get(column).map_or(&[][..], |field| slice(self.text, field));
        self.rules.column(column).trimmed(text)
    }
}

impl<'a> Record<'a> {
    /// Returns a record without cells.
    #[cfg(feature = "parquet")]
    pub(super) fn empty(position: Position<'a>) -> Self {
        Self { cells: Held::Kept { cells: &[], text: &[], places: &[] }, derived: Derived::NONE, position }
    }

    /// Returns the cell of a column; missing if there is no such column.
    #[inline]
    #[must_use]
    pub fn cell(&self, column: usize) -> Cell<'a> {
        if let Some(place) = column.checked_sub(self.derived.first) {
            return self.derived.cells.get(place).map_or(Cell::Missing, |cell| cell.cell(self.derived.text));
        }
        match self.cells {
            Held::Fields(fields) => fields.rules.column(column).cell(fields.text(column)),
            Held::Kept { cells, text, places } => {
                let place = places.get(column).copied().unwrap_or(NOT_KEPT);
                cells.get(place as usize).map_or(Cell::Missing, |cell| cell.cell(text))
            }
            #[cfg(feature = "arrow")]
            Held::Batch { columns, row, rules } => {
                columns.get(column).map_or(Cell::Missing, |cells| cells.cell(row, rules.column(column)))
            }
        }
    }

    /// Returns the text of a cell as written, even if it stands for a missing value. Blanks around
    /// it are removed if the table is trimmed.
    #[inline]
    #[must_use]
    pub fn text(&self, column: usize) -> Cow<'a, [u8]> {
        if column >= self.derived.first {
            return self.cell(column).text().unwrap_or_default();
        }
        match self.cells {
            Held::Fields(fields) => Cow::Borrowed(fields.text(column)),
            Held::Kept { .. } => self.cell(column).text().unwrap_or_default(),
            #[cfg(feature = "arrow")]
            Held::Batch { columns, row, .. } => {
                columns.get(column).and_then(|column| column.as_it_stands(row).text()).unwrap_or_default()
            }
        }
    }

    /// Returns the first of these columns whose text is longer than `most` bytes, and the length of
    /// that text.
    #[inline]
    pub(crate) fn long_text(&self, columns: &[usize], most: usize) -> Option<(usize, usize)> {
        if let Held::Fields(fields) = self.cells
            && fields.text.len() <= most
        {
            return None;
        }
        let length = |column: usize| match self.cell(column) {
            Cell::Text(text) => text.len(),
            Cell::Missing | Cell::Number(_) => 0,
        };
        columns.iter().map(|column| (*column, length(*column))).find(|(_, length)| *length > most)
    }

    /// Adds its cells to a digest, each with its kind and length.
    pub(crate) fn hash_into(&self, digest: &mut Digest, columns: usize) {
        for column in 0..columns {
            match self.cell(column) {
                Cell::Missing => digest.update(&[0]),
                Cell::Number(x) => {
                    digest.update(&[1]);
                    digest.update(&x.to_bits().to_le_bytes());
                }
                Cell::Text(text) => {
                    digest.update(&[2]);
                    digest.update(&(text.len() as u64).to_le_bytes());
                    digest.update(text);
                }
            }
        }
    }

    /// Returns the error for a cell that is not a number.
    #[cold]
    pub(crate) fn not_a_number(&self, column: &str, cell: Cell<'_>, help: impl Into<String>) -> Error {
        Error::NotANumber {
            at: self.position.into(),
            column: column.into(),
            found: String::from_utf8_lossy(&cell.text().unwrap_or_default()).into_owned(),
            help: help.into(),
        }
    }
}

/// The cells of one record at a time, for a source or a caller that has values instead of text. The
/// memory is reused.
#[derive(Clone, Debug)]
pub struct Cells {
    cells: Vec<Kept>,
    text: Vec<u8>,
    /// The place of each column, which is its index.
    places: Vec<u32>,
}

impl Cells {
    /// Starts with a record of this number of columns, all missing.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { cells: vec![Kept::Missing; columns], text: Vec::new(), places: (0..).take(columns).collect() }
    }

    /// Makes every cell missing again.
    pub fn clear(&mut self) {
        self.cells.fill(Kept::Missing);
        self.text.clear();
    }

    /// Sets the cell of a column, at most once per record. A column past the last is ignored.
    pub fn put(&mut self, column: usize, cell: Cell<'_>) {
        if let Some(to) = self.cells.get_mut(column) {
            *to = match cell {
                Cell::Missing => Kept::Missing,
                Cell::Number(x) => Kept::Number(x),
                Cell::Text(text) => {
                    let start = self.text.len() as u32;
                    self.text.extend_from_slice(text);
                    Kept::Text(start..self.text.len() as u32)
                }
            };
        }
    }

    /// Sets the cells of a whole record. Columns without a given cell are missing.
    pub fn set(&mut self, cells: &[Cell<'_>]) {
        self.clear();
        cells.iter().enumerate().for_each(|(column, cell)| self.put(column, *cell));
    }

    /// Returns the record. `source` names it in messages, `number` is its 1-based number there.
    #[must_use]
    pub fn record<'a>(&'a self, source: &'a str, number: u64) -> Record<'a> {
        let Self { cells, text, places } = self;
        let position = Position { file: source, line: 0, number };
        Record { cells: Held::Kept { cells, text, places }, derived: Derived::NONE, position }
    }
}

#[inline]
pub(super) fn slice<'a>(text: &'a [u8], field: &Range<u32>) -> &'a [u8] {
    text.get(field.start as usize..field.end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_kept_as_it_is_read_whatever_its_text() {
        for text in
            ["39", "39.0", "0.1", "-0", "007", "1e3", " 5", "nan", "inf", "", "x", "1_000", "0.30000000000000004"]
        {
            let mut texts = b"before".to_vec();
            let kept = Kept::of(Cell::Text(text.as_bytes()), &mut texts);
            let cell = kept.cell(&texts);
            assert_eq!(cell.text().as_deref(), Some(text.as_bytes()), "{kept:?}");
            let (read, expected) = (cell.number(), parse(text.as_bytes()));
            assert_eq!(read.map(f64::to_bits), expected.map(f64::to_bits), "{kept:?}");
        }
        assert_eq!(Kept::of(Cell::Text(b"39"), &mut Vec::new()), Kept::Number(39.0));
    }

    #[test]
    fn a_number_names_a_level_by_its_shortest_decimals() {
        for (x, text) in [(39.0, "39"), (-0.0, "0"), (0.1, "0.1"), (1e21, "1000000000000000000000")] {
            assert_eq!(Cell::Number(x).text().as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(Cell::Missing.text(), None);
    }
}
