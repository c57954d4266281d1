//! Parquet and Arrow files, and Arrow streams from standard input.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::column::is_readable;
use super::messages::{ARROW_FILE, ARROW_STREAM, Messages, without_magic};
use super::{Batches, ROWS, wanted};
use crate::error::Error;
use crate::rows::input::{Hashed, SharedDigest, Waiting, peek};
use crate::rows::rules::Rules;
use crate::rows::source::{column_names, places};
use crate::rows::{Digest, Input, Position, Record, Source};
use crate::schema::{BadCells, Table};

const PARQUET: &[u8] = b"PAR1";

/// A format of files that hold record batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rows) enum Format {
    Parquet,
    ArrowFile,
    ArrowStream,
}

impl Format {
    /// Returns the format that a file's first bytes indicate.
    pub(in crate::rows) fn of(head: &[u8]) -> Option<Self> {
        let formats = [(PARQUET, Self::Parquet), (ARROW_FILE, Self::ArrowFile), (ARROW_STREAM, Self::ArrowStream)];
        formats.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, format)| format)
    }
}

/// Reads the rows of Parquet or Arrow files in the order given, in constant memory. From Parquet it
/// reads only the wanted columns, a few thousand rows at a time, whatever the row groups. It reads
/// an Arrow file one whole batch at a time.
///
/// Later files may have the columns in another order, and additional columns, which are skipped.
pub(in crate::rows) struct ArrowFiles {
    /// The inputs not read yet, last first.
    waiting: Vec<Waiting>,
    columns: Arc<[String]>,
    wanted: Option<Vec<bool>>,
    rules: Rules,
    /// Names of the files opened so far.
    files: Vec<String>,
    /// A file that is open but has no record read yet.
    opened: Option<Opened>,
    /// Columns of the first file that cannot be read as cells.
    unreadable: Vec<usize>,
    /// `None` before the first record and after an error.
    batches: Option<Batches>,
    number: u64,
    digest: SharedDigest,
}

/// An open file and the place of each column in it.
struct Opened {
    content: Content,
    places: Vec<usize>,
}

enum Content {
    Parquet(Box<ParquetRecordBatchReaderBuilder<File>>),
    Arrow(Box<Messages>),
}

impl ArrowFiles {
    /// Opens the first file, after earlier ones with these columns and this digest of their bytes.
    /// `columns` is empty if there were no earlier files.
    pub(in crate::rows) fn start(
        waiting: Vec<Waiting>,
        table: &Table,
        columns: &[String],
        digest: Digest,
    ) -> Result<Self, Error> {
        let mut files = Self {
            waiting,
            columns: columns.into(),
            wanted: None,
            rules: Rules::new(table, columns),
            files: Vec::new(),
            opened: None,
            unreadable: Vec::new(),
            batches: None,
            number: 0,
            digest: Arc::new(Mutex::new(digest)),
        };
        files.opened = files.open_next()?;
        files.rules = Rules::new(table, &files.columns);
        Ok(files)
    }

    /// Opens the next file, if there is one.
    fn open_next(&mut self) -> Result<Option<Opened>, Error> {
        let Some(waiting) = self.waiting.pop() else { return Ok(None) };
        let file = waiting.name();
        let path = match &waiting {
            Waiting::Input(Input::File(path)) => Some(path.clone()),
            _ => None,
        };
        let mut reader = waiting.open()?;
        let failed = |source| Error::Read { file: file.clone(), source };
        let head = peek(&mut reader).map_err(failed)?;
        let whole = io::Cursor::new(head.clone()).chain(reader);
        let mut hashed = Hashed { reader: Box::new(whole), digest: Arc::clone(&self.digest) };
        let content = match (Format::of(&head), path) {
            (None, _) if head.is_empty() => return Err(Error::EmptyFile { file, header: false }),
            (None, _) => return Err(Error::OtherFormat { file }),
            (Some(Format::Parquet), None) => return Err(Error::NoPipe { file }),
            (Some(Format::Parquet), Some(path)) => {
                // A Parquet file is read from its end, so its bytes are hashed in a separate pass.
                io::copy(&mut hashed, &mut io::sink()).map_err(failed)?;
                let opened = File::open(path).map_err(failed)?;
                Content::Parquet(Box::new(guarded(|| parquet(opened)).map_err(of(&file))?))
            }
            (Some(Format::ArrowFile), _) => {
                let stream = without_magic(hashed).map_err(failed)?;
                Content::Arrow(Box::new(guarded(|| Messages::new(stream, true)).map_err(of(&file))?))
            }
            (Some(Format::ArrowStream), _) => {
                Content::Arrow(Box::new(guarded(|| Messages::new(hashed, false)).map_err(of(&file))?))
            }
        };
        let schema = content.schema();
        let names = column_names(schema.fields().iter().map(|field| field.name()));
        if self.columns.is_empty() {
            self.columns = names.clone().into();
        }
        let places = places(&names, &self.columns, &file, self.files.first())?;
        if self.files.is_empty() {
            let is_unreadable = |place: &usize| !is_readable(schema.field(*place).data_type());
            self.unreadable =
                (0..).zip(&places).filter(|(_, place)| is_unreadable(place)).map(|found| found.0).collect();
        }
        self.files.push(file);
        Ok(Some(Opened { content, places }))
    }

    /// Begins to read a file. By now it is known which columns are wanted.
    fn begin(&mut self, opened: Opened) -> Result<(), Error> {
        let Opened { content, places } = opened;
        let wanted = self.wanted.as_ref();
        let is_wanted = |column: usize| wanted.is_none_or(|wanted| wanted.get(column) == Some(&true));
        let mut chosen: Vec<Option<usize>> =
            places.iter().enumerate().map(|(column, place)| is_wanted(column).then_some(*place)).collect();
        let file = self.files.last().cloned().unwrap_or_default();
        let batches = match content {
            Content::Arrow(messages) => Batches::new(messages, chosen),
            Content::Parquet(builder) => {
                let mut roots: Vec<usize> = chosen.iter().flatten().copied().collect();
                roots.sort_unstable();
                // The reader returns only the chosen columns, in the order of the file.
                for place in chosen.iter_mut().flatten() {
                    *place = roots.partition_point(|root| root < place);
                }
                let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
                let reader =
                    guarded(|| builder.with_projection(mask).with_batch_size(ROWS).build().map_err(Into::into));
                Batches::new(reader.map_err(of(&file))?, chosen)
            }
        };
        self.batches = Some(batches);
        Ok(())
    }
}

impl Source for ArrowFiles {
    fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    fn want(&mut self, columns: &[usize]) {
        self.wanted = Some(wanted(self.columns.len(), columns));
    }

    fn unreadable(&self) -> Vec<usize> {
        self.unreadable.clone()
    }

    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            if let Some(batches) = &mut self.batches {
                let more = if batches.advance() { Ok(true) } else { guarded(|| batches.take(&self.rules)) };
                match more {
                    Ok(true) => {
                        self.number += 1;
                        return Ok(true);
                    }
                    Ok(false) => {}
                    Err(problem) => {
                        (self.batches, self.waiting) = (None, Vec::new());
                        return Err(problem.of(self.file(), &self.columns));
                    }
                }
                self.opened = self.open_next()?;
            }
            match self.opened.take() {
                Some(opened) => self.begin(opened)?,
                None => return Ok(false),
            }
        }
    }

    fn record(&self) -> Record<'_> {
        let position = Position { file: self.file(), line: 0, number: self.number };
        self.batches.as_ref().map_or(Record::empty(position), |batches| batches.record(&self.rules, position))
    }

    fn names(&self) -> &[String] {
        &self.files
    }

    fn bad_cells(&self) -> BadCells {
        self.rules.bad_cells
    }

    fn digest(&self) -> Digest {
        self.digest.lock().map(|digest| digest.clone()).unwrap_or_default()
    }
}

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether this thread is reading a Parquet or Arrow file. The readers panic on some
/// damaged files, and such a panic becomes an error; a panic hook should then print nothing.
#[must_use]
pub fn is_reading_tables() -> bool {
    IS_GUARDED.get()
}

/// Runs `read` and turns a panic into an error.
pub(crate) fn guarded<T, E: From<ArrowError>>(read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    IS_GUARDED.set(true);
    // Nothing is read from the same reader after an error.
    let result = catch_unwind(AssertUnwindSafe(read));
    IS_GUARDED.set(false);
    result.unwrap_or_else(|_| Err(ArrowError::ParseError("it is damaged".into()).into()))
}

/// Opens a Parquet file with its texts as dictionaries: the meaning of a text is then looked up
/// once for thousands of rows.
fn parquet(file: File) -> Result<ParquetRecordBatchReaderBuilder<File>, ArrowError> {
    let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    check_places(found.metadata(), file.metadata()?.len())?;
    let as_dictionary = |field: &Field| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            field.clone().with_data_type(dictionary)
        }
        _ => field.clone(),
    };
    let fields: Vec<Field> = found.schema().fields().iter().map(|field| as_dictionary(field)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, found.schema().metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options).unwrap_or(found);
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
}

/// Checks that all columns lie inside the file, because the reader assumes it.
fn check_places(metadata: &ParquetMetaData, length: u64) -> Result<(), ArrowError> {
    let is_inside = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let [start, size, values] = [start, column.compressed_size(), column.num_values()].map(u64::try_from);
        values.is_ok() && start.is_ok_and(|start| size.is_ok_and(|size| start.saturating_add(size) <= length))
    };
    let is_sound = |group: &RowGroupMetaData| group.num_rows() >= 0 && group.columns().iter().all(is_inside);
    if metadata.row_groups().iter().all(is_sound) {
        Ok(())
    } else {
        Err(ArrowError::ParquetError("its index belongs to another file".into()))
    }
}

impl Content {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Parquet(builder) => Arc::clone(builder.schema()),
            Self::Arrow(messages) => messages.schema(),
        }
    }
}

/// Adds the name of the file to an error.
fn of(file: &str) -> impl Fn(ArrowError) -> Error {
    move |error| Error::Arrow { file: file.into(), problem: error.to_string() }
}
