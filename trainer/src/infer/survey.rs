//! Surveys all records of a file by column: counts of all cells and a uniform sample, in one pass
//! and in constant memory.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::column::Column;
use super::layout::Layout;
use crate::error::Error;
use crate::random::below;
use crate::rows::csv::text::{read_error, text_of};
use crate::rows::{Input, Records, Source, TextOrTable, text_or_table};
use crate::schema::Table;

/// Number of bytes at the start of a text from which the layout is inferred.
const HEAD_BYTES: u64 = 1 << 20;

/// Maximum numbers of records and of cells in the sample.
const SAMPLE: usize = 20_000;
const SAMPLE_CELLS: usize = 2_000_000;

/// Seed of the sample.
const SEED: u64 = u64::from_be_bytes(*b"schema s");

/// The statistics of each column, with the way the records were read.
pub(super) struct Survey {
    pub(super) file: String,
    pub(super) table: Table,
    pub(super) columns: Vec<Column>,
    pub(super) records: usize,
    /// Whether there are more records than were read.
    pub(super) partial: bool,
    /// The layout of text; `None` for a table whose cells have types.
    pub(super) layout: Option<Layout>,
    /// Notes of the reader on skipped lines.
    pub(super) notes: Vec<String>,
    /// The cells of the last record.
    pub(super) last: Vec<String>,
}

impl Survey {
    /// Reads a file, up to `most` records.
    pub(super) fn read(input: &Input, most: u64) -> Result<Self, Error> {
        let file = input.to_string();
        let mut unreadable = Vec::new();
        let text = loop {
            let table = match text_or_table(input)? {
                TextOrTable::Text(source) => break source,
                TextOrTable::Table(table) => table,
            };
            unreadable.extend(table.unreadable());
            let names = Arc::clone(table.columns());
            match (Self::of_rows(&file, table, &unreadable, None, most), input.can_be_read_again()) {
                // Some columns turn out to be unreadable only when their cells are read.
                (Err(Error::ColumnType { column, .. }), true) => {
                    unreadable.extend(names.iter().position(|name| *name == column));
                }
                (read, _) => return read,
            }
        };
        Self::of_text(&file, text_of(text, &file)?, most)
    }

    /// Reads text, up to `most` records.
    pub(super) fn of_text(file: &str, mut text: impl Read + Send + 'static, most: u64) -> Result<Self, Error> {
        let mut head = Vec::new();
        (&mut text).take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| read_error(error, file, 1))?;
        let is_whole = (head.len() as u64) < HEAD_BYTES;
        let end = if is_whole { head.len() } else { memchr::memrchr(b'\n', &head).map_or(head.len(), |at| at + 1) };
        let beginning: Arc<[u8]> = head.get(..end).unwrap_or_default().into();
        let layout = Layout::of(file, &beginning)?;
        // Only empty cells are missing here: the survey itself finds the words for no value.
        let table = Table { missing: vec![String::new()], ..layout.table.clone() };
        let text: Box<dyn Read + Send> = Box::new(Cursor::new(head).chain(text));
        let records = Records::from_reader(file, text, &table)?;
        Self::of_rows(file, Box::new(records), &[], Some(layout), most)
    }

    fn of_rows(
        file: &str,
        mut rows: Box<dyn Source>,
        unreadable: &[usize],
        layout: Option<Layout>,
        most: u64,
    ) -> Result<Self, Error> {
        let names = Arc::clone(rows.columns());
        let is_readable = |column: &usize| !unreadable.contains(column);
        rows.want(&(0..names.len()).filter(is_readable).collect::<Vec<_>>());
        let mut columns: Vec<Column> =
            names.iter().enumerate().map(|(index, name)| Column::new(name, is_readable(&index))).collect();
        let capacity = SAMPLE.min(SAMPLE_CELLS / names.len().max(1)).max(100);
        let mut random = Pcg64Mcg::seed_from_u64(SEED);
        let mut records = 0_u64;
        let mut last = Vec::new();
        let partial = loop {
            if !rows.advance()? {
                break false;
            }
            if records == most {
                break true;
            }
            records += 1;
            let record = rows.record();
            // Vitter (1985), algorithm R.
            let place = if records <= capacity as u64 { records - 1 } else { below(records, &mut random) };
            for (index, column) in columns.iter_mut().enumerate() {
                let kept = column.add(record.cell(index));
                match column.sample.get_mut(place as usize) {
                    Some(sampled) => *sampled = kept,
                    None if records <= capacity as u64 => column.sample.push(kept),
                    None => {}
                }
            }
            if names.len() > 1 && record.cell(1).is_missing() {
                last =
                    (0..names.len()).map(|column| String::from_utf8_lossy(&record.text(column)).into_owned()).collect();
            } else {
                last.clear();
            }
        };
        if records == 0 {
            let what = if layout.is_some() { "records, only a header" } else { "records" };
            let reason = format!("there are no {what}, so nothing can be inferred");
            return Err(Error::NoUsableRows { files: file.into(), reason });
        }
        Ok(Self {
            file: file.into(),
            table: layout.as_ref().map_or_else(Table::default, |layout| layout.table.clone()),
            columns,
            records: usize::try_from(records).unwrap_or(usize::MAX),
            partial,
            notes: rows.notes(),
            layout,
            last,
        })
    }

    /// Returns the first cell of the last record, if it looks like the end of a report: a word for
    /// a sum, or text followed only by empty cells.
    pub(super) fn footer(&self) -> Option<&str> {
        let first = self.last.first()?;
        let empty = self.last.iter().skip(1).filter(|cell| cell.is_empty()).count();
        let word = first.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_lowercase();
        let is_sum =
            ["total", "totals", "sum", "grand", "source", "note", "notes", "end", "generated", "summe", "gesamt"];
        let is_footer = is_sum.contains(&word.as_str())
            || (self.last.len() > 2 && empty + 1 == self.last.len() && !first.is_empty());
        is_footer.then_some(first.as_str())
    }
}

/// Returns a reader of a copy of the text.
pub(super) fn in_memory(text: &[u8]) -> impl Read + Send + 'static + use<> {
    io::Cursor::new(text.to_vec())
}
