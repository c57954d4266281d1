//! Parquet and Arrow files, and Arrow streams from standard input.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::column::{Rules, is_readable};
use super::{Batches, ROWS, wanted};
use crate::error::Error;
use crate::rows::input::{Hashed, SharedDigest, Waiting, peek};
use crate::rows::record::Missing;
use crate::rows::source::{column_names, places};
use crate::rows::{Digest, Input, Position, Record, Source};
use crate::schema::Table;

const PARQUET: &[u8] = b"PAR1";

/// Of an Arrow file, before, padded to [`PADDED`], and after what is an Arrow stream and an index of
/// it.
const ARROW_FILE: &[u8] = b"ARROW1";
const PADDED: u64 = 8;

/// Of an Arrow stream: the mark before each message.
const ARROW_STREAM: &[u8] = b"\xff\xff\xff\xff";

/// A format of files that hold record batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rows) enum Format {
    Parquet,
    ArrowFile,
    ArrowStream,
}

impl Format {
    /// Returns the format that a file's first bytes tell.
    pub(in crate::rows) fn of(head: &[u8]) -> Option<Self> {
        let formats = [(PARQUET, Self::Parquet), (ARROW_FILE, Self::ArrowFile), (ARROW_STREAM, Self::ArrowStream)];
        formats.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, format)| format)
    }
}

/// The rows of files, each Parquet or Arrow, in the order given and in constant memory: of Parquet
/// only the columns that are wanted, a few thousand rows at a time, whatever its row groups. The
/// batches of an Arrow file are taken whole, one at a time.
///
/// Later files may have the columns in another order, and further ones, which are passed over.
pub(in crate::rows) struct ArrowFiles {
    /// What is still to be read, last first.
    waiting: Vec<Waiting>,
    columns: Arc<[String]>,
    wanted: Option<Vec<bool>>,
    rules: Rules,
    /// Names of the files opened so far.
    files: Vec<String>,
    /// A file that no record was read of.
    opened: Option<Opened>,
    /// Columns of the first file that no cells can be had of.
    unreadable: Vec<usize>,
    batches: Option<Batches>,
    number: u64,
    digest: SharedDigest,
}

/// A file and where it has the columns.
struct Opened {
    content: Content,
    places: Vec<usize>,
}

enum Content {
    Parquet(Box<ParquetRecordBatchReaderBuilder<File>>),
    Arrow(Messages),
}

impl ArrowFiles {
    /// Opens the first file, after earlier ones with these columns (none: there were none), whose
    /// bytes have this digest.
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
            rules: Rules { trim: table.trim, missing: Missing::new(&table.missing) },
            files: Vec::new(),
            opened: None,
            unreadable: Vec::new(),
            batches: None,
            number: 0,
            digest: Arc::new(Mutex::new(digest)),
        };
        files.opened = files.open_next()?;
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
                // Its index comes last, and is read first: its bytes are hashed on their own.
                io::copy(&mut hashed, &mut io::sink()).map_err(failed)?;
                Content::Parquet(Box::new(parquet(File::open(path).map_err(failed)?).map_err(of(&file))?))
            }
            (Some(Format::ArrowFile), _) => {
                io::copy(&mut hashed.by_ref().take(PADDED), &mut io::sink()).map_err(failed)?;
                Content::Arrow(Messages::new(hashed, true).map_err(of(&file))?)
            }
            (Some(Format::ArrowStream), _) => Content::Arrow(Messages::new(hashed, false).map_err(of(&file))?),
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

    /// Begins to read a file: what is wanted of it is known by now.
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
                // Of the columns that are read only, in the order of the file.
                for place in chosen.iter_mut().flatten() {
                    *place = roots.partition_point(|root| root < place);
                }
                let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
                let reader = builder.with_projection(mask).with_batch_size(ROWS).build();
                Batches::new(reader.map_err(|error| of(&file)(error.into()))?, chosen)
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
                let more = batches.advance(&self.rules);
                if more.map_err(|problem| problem.of(self.files.last().map_or("", |file| file), &self.columns))? {
                    self.number += 1;
                    return Ok(true);
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
        self.batches.as_ref().map_or(Record::empty(position), |batches| batches.record(&self.rules.missing, position))
    }

    fn names(&self) -> &[String] {
        &self.files
    }

    fn digest(&self) -> Digest {
        self.digest.lock().map(|digest| digest.clone()).unwrap_or_default()
    }
}

/// Opens a Parquet file, its texts as dictionaries: what a text means is then looked up once for
/// thousands of rows.
fn parquet(file: File) -> Result<ParquetRecordBatchReaderBuilder<File>, ArrowError> {
    let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
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

/// The batches of an Arrow stream, and of a file as the stream that it holds.
struct Messages {
    reader: StreamReader<Tail>,
    is_file: bool,
}

impl Messages {
    fn new(reader: impl Read + Send + 'static, is_file: bool) -> Result<Self, ArrowError> {
        let reader = Tail { reader: Box::new(io::BufReader::new(reader)), last: [0; ARROW_FILE.len()] };
        Ok(Self { reader: StreamReader::try_new(reader, None)?, is_file })
    }
}

impl Iterator for Messages {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(batch) = self.reader.next() {
            return Some(batch);
        }
        // The rest belongs to the bytes that are hashed.
        if let Err(error) = io::copy(self.reader.get_mut(), &mut io::sink()) {
            return Some(Err(error.into()));
        }
        let is_whole = !self.is_file || self.reader.get_ref().last == ARROW_FILE;
        self.is_file = false;
        (!is_whole).then(|| Err(ArrowError::IpcError("the file ends too early".into())))
    }
}

/// Passes bytes on and keeps the last ones, by which a whole file is known.
struct Tail {
    reader: Box<dyn Read + Send>,
    last: [u8; ARROW_FILE.len()],
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        let new = buffer.get(..length).unwrap_or_default();
        let new = new.get(length.saturating_sub(self.last.len())..).unwrap_or_default();
        self.last.rotate_left(new.len());
        let kept = self.last.len() - new.len();
        self.last.iter_mut().skip(kept).zip(new).for_each(|(to, from)| *to = *from);
        Ok(length)
    }
}

impl Content {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Parquet(builder) => Arc::clone(builder.schema()),
            Self::Arrow(messages) => messages.reader.schema(),
        }
    }
}

/// Says which file an error is of.
fn of(file: &str) -> impl Fn(ArrowError) -> Error {
    move |error| Error::Arrow { file: file.into(), problem: error.to_string() }
}
