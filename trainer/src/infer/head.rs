//! The first records of a file, and how they are to be read: delimiter, comment lines, header.

use std::io::{Cursor, Read};
use std::sync::Arc;

use crate::error::Error;
use crate::rows::csv::splitter::Splitter;
use crate::rows::csv::text::{read_error, text_of};
use crate::rows::{Input, Records, Source, TextOrTable, text_or_table};
use crate::schema::Table;

use super::column::Column;

/// Records looked at.
const RECORDS: usize = 10_000;

/// Text looked at, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// Lines from which the delimiter is judged.
const PROBE_LINES: usize = 200;

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

const COMMENTS: [char; 3] = ['#', '|', '%'];

/// The first records, by column, with how they were read and why so.
pub(super) struct Head {
    pub(super) file: String,
    pub(super) table: Table,
    pub(super) columns: Vec<Column>,
    pub(super) records: usize,
    /// Whether there is more than was looked at.
    pub(super) partial: bool,
    /// Why text is read so; empty for a table whose cells have types.
    pub(super) evidence: Option<Evidence>,
}

/// Why the text of a file is read as it is.
pub(super) struct Evidence {
    pub(super) delimiter: String,
    pub(super) comment: Option<String>,
    pub(super) header: String,
}

impl Head {
    pub(super) fn read(input: &Input) -> Result<Self, Error> {
        let file = input.to_string();
        let mut text = Vec::new();
        let mut unreadable = Vec::new();
        let source = loop {
            let table = match text_or_table(input)? {
                TextOrTable::Text(source) => break source,
                TextOrTable::Table(table) => table,
            };
            unreadable.extend(table.unreadable());
            let names = Arc::clone(table.columns());
            match (Self::of_table(&file, table, &unreadable), input.can_be_read_again()) {
                // Of some only the cells show that they are no text.
                (Err(Error::ColumnType { column, .. }), true) => {
                    unreadable.extend(names.iter().position(|name| *name == column));
                }
                (read, _) => return read,
            }
        };
        let mut source = text_of(source, &file)?.take(MOST_BYTES);
        source.read_to_end(&mut text).map_err(|error| read_error(error, &file, 1))?;
        Self::of(file, text)
    }

    pub(super) fn of(file: String, mut text: Vec<u8>) -> Result<Self, Error> {
        let mut partial = text.len() as u64 >= MOST_BYTES;
        if partial {
            let whole_lines = memchr::memrchr(b'\n', &text).map_or(text.len(), |at| at + 1);
            text.truncate(whole_lines);
        }
        let text: Arc<[u8]> = text.into();
        let (delimiter, delimiter_evidence) = delimiter(&file, &text)?;
        let (comment, comment_evidence) = comment(&file, &text, delimiter)?;
        let mut table = Table { delimiter, comment, ..Table::default() };
        let first = first_record(&file, &text, &table)?;
        let numbered = || (1..=first.len()).map(|n| format!("column.{n}")).collect();

        // Read without a header first: the first record is then a cell of each column like any
        // other.
        table.header = false;
        table.columns = numbered();
        let mut records = Records::from_reader(&file, Cursor::new(Arc::clone(&text)), &table)?;
        let mut columns: Vec<Column> = Vec::new();
        columns.resize_with(first.len(), Column::default);
        let mut count = 0;
        loop {
            match records.advance() {
                Ok(true) if count <= RECORDS => {}
                Ok(more) => {
                    partial |= more;
                    break;
                }
                Err(Error::UnclosedQuote { .. }) if partial => break,
                Err(error) => return Err(error),
            }
            let record = records.record();
            if count > 0 {
                for (index, column) in columns.iter_mut().enumerate() {
                    column.add(record.cell(index).text().as_deref());
                }
            }
            count += 1;
        }
        let (header, header_evidence) = header(&first, &columns);
        if header {
            table.header = true;
            table.columns.clear();
            let names = Records::from_reader(&file, Cursor::new(text), &table)?;
            for (column, name) in columns.iter_mut().zip(names.columns().iter()) {
                column.name.clone_from(name);
            }
            count -= 1;
        } else {
            for (index, column) in columns.iter_mut().enumerate() {
                column.name.clone_from(&table.columns[index]);
                column.add(first.get(index).filter(|cell| !table.missing.contains(cell)).map(String::as_bytes));
            }
        }
        if count == 0 {
            let reason = "there are no records, only a header, so nothing can be inferred".into();
            return Err(Error::NoUsableRows { files: file, reason });
        }
        Ok(Self {
            file,
            table,
            columns,
            records: count,
            partial,
            evidence: Some(Evidence {
                delimiter: delimiter_evidence,
                comment: comment_evidence,
                header: header_evidence,
            }),
        })
    }

    /// Of a table whose cells have types.
    fn of_table(file: &str, mut rows: Box<dyn Source>, unreadable: &[usize]) -> Result<Self, Error> {
        let names = Arc::clone(rows.columns());
        let is_readable = |column: &usize| !unreadable.contains(column);
        rows.want(&(0..names.len()).filter(is_readable).collect::<Vec<_>>());
        let mut columns: Vec<Column> =
            names.iter().enumerate().map(|(index, name)| Column::new(name, is_readable(&index))).collect();
        let mut records = 0;
        let partial = loop {
            if !rows.advance()? {
                break false;
            }
            if records == RECORDS {
                break true;
            }
            let record = rows.record();
            for (index, column) in columns.iter_mut().enumerate() {
                column.add(record.cell(index).text().as_deref());
            }
            records += 1;
        };
        if records == 0 {
            let reason = "there are no records, so nothing can be inferred".into();
            return Err(Error::NoUsableRows { files: file.into(), reason });
        }
        Ok(Self { file: file.into(), table: Table::default(), columns, records, partial, evidence: None })
    }
}

fn splitter(file: &str, text: &Arc<[u8]>, delimiter: char, comment: Option<char>) -> Splitter {
    Splitter::new(Box::new(Cursor::new(Arc::clone(text))), file.into(), delimiter as u8, comment.map(|mark| mark as u8))
}

fn first_record(file: &str, text: &Arc<[u8]>, table: &Table) -> Result<Vec<String>, Error> {
    let mut splitter = splitter(file, text, table.delimiter, table.comment);
    if !splitter.advance()? {
        return Err(Error::EmptyFile { file: file.into(), header: true });
    }
    let (bytes, fields) = splitter.record();
    let cell = |field: &std::ops::Range<u32>| {
        String::from_utf8_lossy(bytes[field.start as usize..field.end as usize].trim_ascii()).into_owned()
    };
    Ok(fields.iter().map(cell).collect())
}

/// Returns the number of fields of each of the first records, and whether each starts with one of
/// [`COMMENTS`].
fn widths(file: &str, text: &Arc<[u8]>, delimiter: char) -> Result<Vec<(usize, Option<char>)>, Error> {
    let mut splitter = splitter(file, text, delimiter, None);
    let mut widths = Vec::new();
    // A wrong delimiter may split inside quotes and leave one open: what was read until then still
    // counts.
    while widths.len() < PROBE_LINES && matches!(splitter.advance(), Ok(true)) {
        let (bytes, fields) = splitter.record();
        let mark = bytes.first().map(|byte| char::from(*byte)).filter(|mark| COMMENTS.contains(mark));
        widths.push((fields.len(), mark));
    }
    if widths.is_empty() {
        // Nothing could be read: say why.
        splitter = self::splitter(file, text, delimiter, None);
        if !splitter.advance()? {
            return Err(Error::EmptyFile { file: file.into(), header: true });
        }
    }
    Ok(widths)
}

/// The most frequent width (the larger one of two equally frequent ones), and how many records have
/// it.
fn usual_width(widths: &[(usize, Option<char>)]) -> (usize, usize) {
    let count = |width: usize| widths.iter().filter(|other| other.0 == width).count();
    widths.iter().map(|&(width, _)| (count(width), width)).max().map_or((1, 0), |(count, width)| (width, count))
}

/// The delimiter with which most records have the same number of fields, two or more.
fn delimiter(file: &str, text: &Arc<[u8]>) -> Result<(char, String), Error> {
    let mut best: Option<(usize, usize, char, usize)> = None;
    for candidate in DELIMITERS {
        let widths = widths(file, text, candidate)?;
        let (width, count) = usual_width(&widths);
        let better = best.is_none_or(|(best_count, best_width, ..)| (count, width) > (best_count, best_width));
        if width > 1 && better {
            best = Some((count, width, candidate, widths.len()));
        }
    }
    Ok(match best {
        Some((count, width, delimiter, lines)) => {
            (delimiter, format!("{count} of the first {lines} records have {width} fields"))
        }
        None => (',', "no line has a second field with any of , ; tab |".into()),
    })
}

/// A character that starts lines which do not have the usual number of fields.
fn comment(file: &str, text: &Arc<[u8]>, delimiter: char) -> Result<(Option<char>, Option<String>), Error> {
    let widths = widths(file, text, delimiter)?;
    let (usual, _) = usual_width(&widths);
    for mark in COMMENTS.into_iter().filter(|mark| *mark != delimiter) {
        let marked = || widths.iter().filter(|(_, first)| *first == Some(mark));
        if marked().next().is_some() && marked().all(|(width, _)| *width != usual) {
            let evidence = format!("{} of the first lines start with it and have no {usual} fields", marked().count());
            return Ok((Some(mark), Some(evidence)));
        }
    }
    Ok((None, None))
}

/// Whether the first record names the columns below it.
fn header(first: &[String], below: &[Column]) -> (bool, String) {
    let is_number = |cell: &str| fast_float2::parse::<f64, _>(cell).is_ok();
    if let Some(number) = first.iter().find(|cell| is_number(cell)) {
        return (false, format!("the first line has the number {number}"));
    }
    if let Some(twice) = first.iter().zip(below).find(|(name, column)| !name.is_empty() && column.has(name)) {
        return (false, format!("{:?} of the first line occurs again below it", twice.0));
    }
    match below.iter().filter(|column| column.is_number()).count() {
        0 => (true, "nothing in the first line occurs again below it".into()),
        numbers => (true, format!("the first line has no number, {numbers} columns below it are numbers")),
    }
}
