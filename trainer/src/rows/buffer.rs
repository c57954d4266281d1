//! Rows kept in memory: those that an encoder is fitted on before learning begins, or a sample.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{Derived, Held as HeldCells, Kept, NOT_KEPT, Position, Record};
use super::{GroupMap, Row, Stream};
use crate::error::Error;

/// Rows with only the cells of some columns, typed. Nothing remains of a row that was replaced.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Buffer {
    /// The place of each column among the kept cells of a row, or [`NOT_KEPT`].
    places: Vec<u32>,
    /// Number of cells kept per row.
    kept: usize,
    /// Number of groups per row.
    attributes: usize,
    rows: VecDeque<Held>,
}

/// One row.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    cells: Box<[Kept]>,
    text: Box<[u8]>,
    groups: Box<[u8]>,
    label: Option<bool>,
    weight: f64,
    /// Not stored, because a path may be private.
    #[serde(skip, default = "unknown")]
    file: Arc<str>,
    line: u64,
    number: u64,
}

fn unknown() -> Arc<str> {
    "the data of an earlier run".into()
}

impl Held {
    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.cells) + self.text.len() + self.groups.len()
    }
}

impl Buffer {
    /// Starts without rows. `columns` is the number of columns of a record; `kept` lists those
    /// whose cells are kept.
    #[must_use]
    pub fn new(columns: usize, kept: &[usize], attributes: usize) -> Self {
        let mut places = vec![NOT_KEPT; columns];
        for (place, column) in (0..).zip(kept) {
            if let Some(to) = places.get_mut(*column) {
                *to = place;
            }
        }
        Self { places, kept: kept.len(), attributes, rows: VecDeque::new() }
    }

    /// Takes more rows from the stream, up to `most` in all.
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

    /// Returns whether a stored buffer is valid for this number of columns and protected
    /// attributes.
    pub(crate) fn is_sound(&self, columns: usize, attributes: usize) -> bool {
        let mut places: Vec<u32> = self.places.iter().copied().filter(|place| *place != NOT_KEPT).collect();
        places.sort_unstable();
        let inside = |row: &Held, cell: &Kept| match cell {
            Kept::Text(range) => row.text.get(range.start as usize..range.end as usize).is_some(),
            Kept::Missing | Kept::Number(_) => true,
        };
        (self.places.len(), self.attributes) == (columns, attributes)
            && (0..).take(self.kept).eq(places)
            && self.rows.iter().all(|row| {
                (row.cells.len(), row.groups.len()) == (self.kept, attributes)
                    && row.weight > 0.0
                    && row.weight.is_finite()
                    && row.cells.iter().all(|cell| inside(row, cell))
            })
    }

    /// Adds a row.
    pub fn push(&mut self, row: &Row<'_>) {
        let held = self.hold(row);
        self.rows.push_back(held);
    }

    /// Like [`Buffer::push`], for rows that may not fit in memory.
    ///
    /// # Errors
    /// [`Error::Memory`]. The row is then not added.
    pub(crate) fn try_push(&mut self, row: &Row<'_>) -> Result<(), Error> {
        /// Far more bytes than one row and the work on it need.
        const SPARE: usize = 1 << 20;
        let room = self.rows.try_reserve(1).and_then(|()| Vec::<u8>::new().try_reserve_exact(SPARE));
        room.map_err(|_| Error::Memory { rows: self.rows.len(), megabytes: self.bytes() / 1_000_000 })?;
        self.push(row);
        Ok(())
    }

    /// Adds the row at `index` of another buffer with the same columns, with its groups mapped to
    /// those of a union.
    pub(crate) fn take(&mut self, from: &Self, index: usize, groups: &GroupMap) {
        if let Some(held) = from.rows.get(index) {
            let mut held = held.clone();
            groups.apply(&mut held.groups);
            self.rows.push_back(held);
        }
    }

    /// Removes the oldest row.
    pub(crate) fn pop(&mut self) {
        self.rows.pop_front();
    }

    /// Returns a buffer with only the rows at these indices.
    pub(crate) fn only<'i>(&self, indices: impl Iterator<Item = &'i u32>) -> Self {
        let rows = indices.filter_map(|index| self.rows.get(*index as usize).cloned()).collect();
        Self { places: self.places.clone(), rows, ..*self }
    }

    /// Replaces a row. Nothing of the old row remains.
    #[cold]
    pub(super) fn replace(&mut self, index: usize, row: &Row<'_>) {
        let held = self.hold(row);
        if let Some(place) = self.rows.get_mut(index) {
            *place = held;
        }
    }

    fn hold(&self, row: &Row<'_>) -> Held {
        let mut text = Vec::new();
        let mut cells = vec![Kept::Missing; self.kept];
        for (column, place) in self.places.iter().enumerate() {
            if let Some(cell) = cells.get_mut(*place as usize) {
                *cell = Kept::of(row.cell(column), &mut text);
            }
        }
        let Position { file, line, number } = row.position;
        // Usually the file of the previous row.
        let known = self.rows.back().map(|row| &row.file).filter(|known| &***known == file);
        Held {
            cells: cells.into(),
            text: text.into(),
            groups: row.groups.into(),
            label: row.label,
            weight: row.weight,
            file: known.map_or_else(|| file.into(), Arc::clone),
            line,
            number,
        }
    }

    /// Returns the memory that the rows take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(Held::bytes).sum()
    }

    /// Returns the memory that a row takes, in bytes.
    pub(crate) fn bytes_of(&self, index: usize) -> usize {
        self.rows.get(index).map_or(0, Held::bytes)
    }

    /// Returns the memory that the row added last takes, in bytes.
    pub(crate) fn last_bytes(&self) -> usize {
        self.bytes_of(self.rows.len().saturating_sub(1))
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

    /// Returns a row by its place in the order of adding.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        let Held { cells, text, groups, label, weight, file, line, number } = self.rows.get(index)?;
        let cells = HeldCells::Kept { cells, text, places: &self.places };
        let position = Position { file, line: *line, number: *number };
        let record = Record { cells, derived: Derived::NONE, position };
        Some(Row { record, label: *label, groups, weight: *weight })
    }

    /// Returns the rows in the order in which they were added.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).filter_map(|index| self.row(index))
    }
}
