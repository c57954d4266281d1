//! Opens data in any of the supported formats.

use std::io::Read;

use super::dates::{Dated, without_dates};
use super::input::{Input, Waiting};
use super::{Digest, Followed, Records, Source};
use crate::error::Error;
use crate::schema::Table;

/// Opens files in the order given, in the format that the first bytes of each indicate: CSV text,
/// plain or gzip. With the feature `parquet` also Parquet and Arrow; the files of one run are then
/// either all text or all tables. Standard input and pipes can hold text and Arrow.
///
/// `table` says how to read text, and for every format which cells mean a missing value.
///
/// # Errors
/// [`Error::Input`] without inputs or with standard input twice; [`Error::Read`],
/// [`Error::EmptyFile`], [`Error::OtherFormat`], [`Error::NoPipe`], [`Error::Arrow`], or any error
/// of the text.
pub fn open(inputs: &[Input], table: &Table) -> Result<Box<dyn Source>, Error> {
    resume(inputs, table, &[], Digest::default())
}

/// Like [`open`], with the table of other files, such as those that a model was trained on. If the
/// first line of a file does not contain the table's delimiter, the most frequent of `, ; tab |` in
/// it is used, and noted. This does not apply to a followed file, because it would have to read
/// ahead.
///
/// # Errors
/// The same as [`open`].
pub fn open_like(inputs: &[Input], table: &Table) -> Result<Box<dyn Source>, Error> {
    start(inputs, table, &[], Digest::default(), true)
}

/// Like [`open`], after earlier files with these columns and this digest of their bytes. `columns`
/// is empty if there were no earlier files.
pub(crate) fn resume(
    inputs: &[Input],
    table: &Table,
    columns: &[String],
    digest: Digest,
) -> Result<Box<dyn Source>, Error> {
    start(inputs, table, without_dates(columns, table), digest, false)
}

/// Opens data after earlier data. `is_like` says whether text may have another delimiter than the
/// table's.
fn start(
    inputs: &[Input],
    table: &Table,
    columns: &[String],
    digest: Digest,
    is_like: bool,
) -> Result<Box<dyn Source>, Error> {
    #[cfg(feature = "arrow")]
    if let [Input::Table(rows)] = inputs {
        return Dated::of(Box::new(rows.resume(table, columns, digest)?), table);
    }
    let followed = inputs.iter().find_map(|input| match input {
        Input::Followed(followed) => Some(followed),
        _ => None,
    });
    if followed.is_some() && inputs.len() > 1 {
        return Err(Error::Input(format!("found {} inputs to follow, expected one", inputs.len())));
    }
    let source: Box<dyn Source> = match either(Waiting::all(inputs)?, table, columns, digest)? {
        Opened::Table(table) => table,
        Opened::Text(waiting, digest) => {
            Box::new(Records::start(waiting, table, columns, digest, is_like && followed.is_none())?)
        }
    };
    // Only now that the header is read: an earlier pause would be taken for an error.
    followed.into_iter().for_each(Followed::start_pauses);
    Dated::of(source, table)
}

/// The text of a file, or a table whose cells have types.
pub(crate) enum TextOrTable {
    Text(Box<dyn Read + Send>),
    Table(Box<dyn Source>),
}

/// Opens a file to find out how to read its text.
pub(crate) fn text_or_table(input: &Input) -> Result<TextOrTable, Error> {
    #[cfg(feature = "arrow")]
    if let Input::Table(rows) = input {
        return Ok(TextOrTable::Table(rows.rows(&Table::default())?));
    }
    let waiting = Waiting::all(std::slice::from_ref(input))?;
    Ok(match either(waiting, &Table::default(), &[], Digest::default())? {
        Opened::Table(table) => TextOrTable::Table(table),
        Opened::Text(mut waiting, _) => {
            let waiting = waiting.pop().map_or_else(|| input.open(), Waiting::open)?;
            TextOrTable::Text(waiting)
        }
    })
}

/// Files of the same kind as the first one.
enum Opened {
    Text(Vec<Waiting>, Digest),
    #[cfg_attr(not(feature = "parquet"), expect(dead_code))]
    Table(Box<dyn Source>),
}

#[cfg(feature = "parquet")]
fn either(mut waiting: Vec<Waiting>, table: &Table, columns: &[String], digest: Digest) -> Result<Opened, Error> {
    let Some(first) = waiting.pop() else { return Ok(Opened::Text(waiting, digest)) };
    let (first, head) = first.peek()?;
    waiting.push(first);
    Ok(match super::arrow::Format::of(&head) {
        Some(_) => Opened::Table(Box::new(super::arrow::ArrowFiles::start(waiting, table, columns, digest)?)),
        None => Opened::Text(waiting, digest),
    })
}

#[cfg(not(feature = "parquet"))]
fn either(waiting: Vec<Waiting>, _: &Table, _: &[String], digest: Digest) -> Result<Opened, Error> {
    Ok(Opened::Text(waiting, digest))
}
