//! The one error of the trainer: every variant says where, what was found, what was expected, what
//! to do.
//!
//! The command line prints it after `error: ` and exits with code 2.

mod checkpoint;
mod pause;
mod words;

use std::fmt;
use std::io;

pub use self::checkpoint::CheckpointError;
pub(crate) use self::pause::pause;
pub(crate) use self::words::list;
use self::words::{advice_on_columns, plural};
use crate::output::WriteError;

/// Where a record is, in a message: a file and its line, or a source without lines and the number
/// of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// The source's name.
    pub file: String,
    /// 1-based line on which the record starts; 0 where the source has no lines.
    pub line: u64,
    /// 1-based number of the record.
    pub number: u64,
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: record {}", self.file, self.number),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Why a schema, a data file or an option cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file, or `standard input`.
        file: String,
        /// What the operating system said. Not a source of this error (hence the raw name): the
        /// message has it already.
        r#source: io::Error,
    },

    /// A schema, or a file of options, is not valid TOML, has an unknown or missing key, or
    /// contradicts itself.
    #[error("{file}:{line}:{column}: {message}")]
    Schema {
        /// The file.
        file: String,
        /// 1-based line of the offending key or value.
        line: usize,
        /// 1-based column, in characters.
        column: usize,
        /// What was found, expected, and what to do.
        message: String,
    },

    /// A blob without names cannot be bound to columns.
    #[error("the model has no names, so its features cannot be found among the columns; export it with names")]
    NamesStripped,

    /// The engine refused a value.
    #[error("feature {feature}: {error}")]
    Record {
        /// The feature.
        feature: String,
        /// What the engine said.
        error: feamoe_engine::RecordError,
    },

    /// The engine could not explain a record.
    #[error(transparent)]
    Explain(#[from] feamoe_engine::ExplainError),

    /// Background records that are not there.
    #[error("{from}: {message}")]
    Background {
        /// Where they were looked for.
        from: String,
        /// What is wrong, and what to do.
        message: String,
    },

    /// A group of features that cannot be.
    #[error("group {group}: {message}")]
    Group {
        /// Its name.
        group: String,
        /// What is wrong.
        message: String,
    },

    /// A rule of recourse that the model's feature cannot have.
    #[error("recourse: column {column:?} {message}")]
    Rule {
        /// The column.
        column: String,
        /// What is wrong, and what to do.
        message: String,
    },

    /// No input was named, or standard input twice.
    #[error("{0}")]
    Input(String),

    /// A file without a single line.
    #[error(
        "{file}: the file is empty, expected {}; check that the step which writes it has run",
        if *.header { "a header line and records" } else { "records" }
    )]
    EmptyFile {
        /// The file.
        file: String,
        /// Whether a header line was expected first.
        header: bool,
    },

    /// Files that are not text: NUL bytes, UTF-16, an archive, a compression that is not gzip.
    #[error("{file}:{line}: found {found}, expected CSV text in UTF-8, plain or gzip; {help}")]
    NotText {
        /// The file.
        file: String,
        /// 1-based line.
        line: u64,
        /// What the bytes look like.
        found: &'static str,
        /// What to do.
        help: &'static str,
    },

    /// A Parquet or Arrow file that cannot be read.
    #[error(
        "{file}: found a Parquet or Arrow file that cannot be read: {problem}; write it again, or export it as CSV"
    )]
    Arrow {
        /// The file.
        file: String,
        /// What its reader says.
        problem: String,
    },

    /// A column of a type that is neither numbers nor text.
    #[error(
        "{file}: column {column:?}: found the type {found}, expected numbers, text, booleans or dates; drop the column (features.drop), or convert it"
    )]
    ColumnType {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What it holds.
        found: String,
    },

    /// A file of another format than the first.
    #[error(
        "{file}: expected a Parquet or Arrow file, as the first one is; convert it, or read the files one after the other"
    )]
    OtherFormat {
        /// The file.
        file: String,
    },

    /// A format that cannot be read from a pipe.
    #[error(
        "{file}: found a Parquet file, expected text or an Arrow stream, since the index of a Parquet file is at its end; name the file"
    )]
    NoPipe {
        /// The pipe.
        file: String,
    },

    /// Bytes that are not UTF-8.
    #[error(
        "{file}:{line}: field {field}: found byte 0x{byte:02x}, which is not UTF-8; convert the file first, \
         for example: iconv -f LATIN1 -t UTF-8 FILE"
    )]
    NotUtf8 {
        /// The file.
        file: String,
        /// 1-based line on which the record starts.
        line: u64,
        /// 1-based field of the record.
        field: usize,
        /// The first offending byte.
        byte: u8,
    },

    /// A gzip stream that ends too early or is damaged.
    #[error("{file}:{line}: the gzip stream {problem}; copy or download the file again (`gzip -t FILE` checks it)")]
    Gzip {
        /// The file.
        file: String,
        /// 1-based line reached when it stopped.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },

    /// A record with more or fewer fields than the header.
    #[error(
        "{file}:{line}: found {found} field{}, expected {expected}; {help}", plural(*.found)
    )]
    RaggedRow {
        /// The file.
        file: String,
        /// 1-based line on which the record starts.
        line: u64,
        /// Fields found.
        found: usize,
        /// Fields expected.
        expected: usize,
        /// What to do.
        help: &'static str,
    },

    /// Lines before the names of the columns.
    #[error(
        "{file}:1: found {found} field{} where nearly all lines have {fields}, a title? expected the names of the columns; take out {lines}, for \
         example: tail -n +{first} FILE", plural(*.found)
    )]
    Title {
        /// The file.
        file: String,
        /// Fields of the first line.
        found: usize,
        /// Which lines.
        lines: String,
        /// Fields of the others.
        fields: usize,
        /// The first line that is not one of them, from 1, empty lines not counted.
        first: usize,
    },

    /// A file whose first line names another delimiter than the schema.
    #[error("{file}:1: found \"sep={found}\", expected the delimiter {expected:?}; correct table.delimiter")]
    OtherDelimiter {
        /// The file.
        file: String,
        /// Its delimiter.
        found: char,
        /// That of the schema.
        expected: char,
    },

    /// A quote that is never closed.
    #[error(
        "{file}:{line}: the record has an opening quote that is never closed; close it, or double quotes inside a quoted field"
    )]
    UnclosedQuote {
        /// The file.
        file: String,
        /// 1-based line on which the record starts.
        line: u64,
    },

    /// A record longer than the reader's bound, which keeps memory constant.
    #[error("{file}:{line}: the record is longer than {limit} bytes; is a quote left open, or is this no CSV file?")]
    RecordTooLong {
        /// The file.
        file: String,
        /// 1-based line on which the record starts.
        line: u64,
        /// The bound, in bytes.
        limit: usize,
    },

    /// A column that something needs is not in the data.
    #[error(
        "{file}: no column {column:?}, which {wanted_by} needs; the columns are {}{}",
        list(.columns), advice_on_columns(.column, .columns)
    )]
    MissingColumn {
        /// The file.
        file: String,
        /// The column looked for.
        column: String,
        /// Who looked for it, such as `target.column`.
        wanted_by: String,
        /// The columns there are.
        columns: Vec<String>,
    },

    /// A later file without all of the columns of the first.
    #[error(
        "{file}: the header differs from that of {first}: it lacks {}, it has {}; all files of one run must have the same columns, in any \
         order",
        list(.lacking), list(.columns)
    )]
    HeaderMismatch {
        /// The later file.
        file: String,
        /// The first file.
        first: String,
        /// The columns it lacks.
        lacking: Vec<String>,
        /// The columns it has.
        columns: Vec<String>,
    },

    /// Data that are not those a run was reading when it stopped.
    #[error(
        "{file}: found {found}, expected the records that the run had read of {files} when it stopped, the first {records}; name the same data again, from the \
         first file on, or resume with other data as the rest of them"
    )]
    OtherData {
        /// The file where that showed.
        file: String,
        /// What is there.
        found: &'static str,
        /// Records that had been read.
        records: u64,
        /// The files they were read from.
        files: String,
    },

    /// A checkpoint that another run replaced.
    #[error(
        "{file}: another run wrote this checkpoint meanwhile, expected the one that this run began with; nothing was written: let one run after \
             the other learn, or give each a checkpoint of its own"
    )]
    ChangedCheckpoint {
        /// The file.
        file: String,
    },

    /// Rows that are kept in memory, which has an end.
    #[error(
        "no memory is left for another row: {rows} rows take {megabytes} MB; learn from the rows in their own order, which keeps none, from \
         fewer rows, or where there is more memory"
    )]
    Memory {
        /// Rows that are kept.
        rows: usize,
        /// Megabytes that they take.
        megabytes: usize,
    },

    /// A file that another process is writing.
    #[error("{file}: another process writes this file, as {lock} shows; wait for it to end, or name another file")]
    Locked {
        /// The file.
        file: String,
        /// What it holds locked.
        lock: String,
    },

    /// A run that was asked to stop, and was stored.
    #[error("stopped after {rows} rows, which the checkpoint holds")]
    Stopped {
        /// Rows learned from.
        rows: u64,
    },

    /// A run that was asked to end, and was not stored.
    #[error("interrupted after {rows} rows")]
    Interrupted {
        /// Rows learned from.
        rows: u64,
    },

    /// Data that were learned from already.
    #[error(
        "{file}: the run learned from the first {records} records before, expected newer data; name what came since, or say that \
         they are to be learned from again"
    )]
    SameData {
        /// The file.
        file: String,
        /// Records that are the same.
        records: u64,
    },

    /// Data that changed between two passes.
    #[error(
        "{files}: pass {epoch} found other data than the first one, expected the same in every pass; nothing was written: train again on files that \
         nobody writes to"
    )]
    ChangedData {
        /// The files.
        files: String,
        /// The pass, counted from 1.
        epoch: u32,
    },

    /// A cell that should be a number is not.
    #[error("{at}: column {column:?}: found {found:?}, expected a number; {help}")]
    NotANumber {
        /// The record.
        at: Where,
        /// The column.
        column: String,
        /// The cell.
        found: String,
        /// What to do.
        help: String,
    },

    /// A sample weight that is missing, negative, infinite or no number.
    #[error("{at}: column {column:?}: found {found:?}, expected a sample weight: a number of at least 0")]
    NotAWeight {
        /// The record.
        at: Where,
        /// The column.
        column: String,
        /// The cell.
        found: String,
    },

    /// A number outside the domain of its column's transform.
    #[error(
        "{at}: column {column:?}: found {found}, expected a number of 0 or more, since the column is listed in \
         features.log1p; take it off that list"
    )]
    NegativeForLog {
        /// The record.
        at: Where,
        /// The column.
        column: String,
        /// The number.
        found: f32,
    },

    /// Rows that are kept take too much memory.
    #[error(
        "{at}: the first {rows} rows take more than {limit} MB, expected less for {what}; drop columns of long text (features.drop), or keep \
         fewer rows"
    )]
    TooMuchMemory {
        /// The record reached.
        at: Where,
        /// What they are kept for.
        what: &'static str,
        /// Rows so far.
        rows: usize,
        /// Megabytes allowed.
        limit: usize,
    },

    /// A text too long for a level of a feature.
    #[error(
        "{at}: column {column:?}: found a text of {found} bytes, expected at most {limit} in a column that is a feature; drop the column \
         (features.drop), or shorten its texts"
    )]
    LongText {
        /// The record.
        at: Where,
        /// The column.
        column: String,
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },

    /// A schema for another favourable outcome than the model's.
    #[error(
        "target.positive: found {}, expected {expected:?} among them, the favourable outcome that the model was trained for; take the schema \
         that it was trained with, or add {expected:?} if it means the same",
        list(found)
    )]
    OtherOutcome {
        /// The schema's favourable outcomes.
        found: Vec<String>,
        /// The model's.
        expected: String,
    },

    /// A column whose numbers are one to a model.
    #[error(
        "column {column:?}: found {distinct} numbers, of which 32-bit floats hold {kept} apart ({} and {} are one), expected numbers that stay \
         distinct; subtract a fixed offset from the column, take a coarser unit, or drop it (features.drop)",
        pair[0], pair[1]
    )]
    TooCloseTogether {
        /// The column.
        column: String,
        /// Distinct numbers found.
        distinct: usize,
        /// Those that stay distinct.
        kept: usize,
        /// Two that do not.
        pair: [f64; 2],
    },

    /// A column that should be numeric shows no number in the first rows, so it has no scale.
    #[error(
        "column {column:?}: none of the first {rows} rows has a number in it, so features.{wanted_by} cannot apply; \
         take it off that list or fit on more rows"
    )]
    NoNumbers {
        /// The column.
        column: String,
        /// The list of the schema that asks for a number.
        wanted_by: &'static str,
        /// Rows looked at.
        rows: usize,
    },

    /// The model would have more features than this build holds, or none.
    #[error("found {found} feature columns, expected 1 to {limit}; choose with features.only or features.drop")]
    FeatureCount {
        /// Feature columns found.
        found: usize,
        /// The most there may be.
        limit: usize,
    },

    /// No record can be used: there are none, or filters or the target left none.
    #[error("{files}: {reason}")]
    NoUsableRows {
        /// The files read.
        files: String,
        /// What became of the rows, what the target's values are, what to do.
        reason: String,
    },

    /// The status of a monitor that cannot be read, or not be added to others.
    #[error("{file}: {message}")]
    Status {
        /// The file.
        file: String,
        /// What was found, expected, and what to do.
        message: String,
    },

    /// A checkpoint that cannot be resumed.
    #[error("{file}: {error}")]
    Checkpoint {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: CheckpointError,
    },

    /// A checkpoint could not be written on the way.
    #[error(transparent)]
    Write(#[from] WriteError),

    /// Only one of the two outcomes occurs.
    #[error("{files}: {reason}")]
    OneOutcome {
        /// The files read.
        files: String,
        /// Which outcome there is, which not, what the target's values are, what to do.
        reason: String,
    },

    /// A third value of the target where the schema lists the favourable ones only.
    #[error(
        "{at}: column {column:?}: found {found:?}, expected {expected}; \
         with more than two values target.negative must list those of the other outcome (rows of neither are left out and counted)"
    )]
    ThirdLabel {
        /// Where it is.
        at: Where,
        /// The target.
        column: String,
        /// The value.
        found: String,
        /// The favourable values and the other one.
        expected: String,
    },

    /// A protected group of the schema that no row belongs to.
    #[error("{files}: column {column:?}: no row belongs to the {role} group {group}; {seen}")]
    AbsentGroup {
        /// The files read.
        files: String,
        /// The protected column.
        column: String,
        /// `privileged` or `unprivileged`.
        role: &'static str,
        /// The values of the group.
        group: String,
        /// The values that do occur, and what to do.
        seen: String,
    },
}

impl Error {
    /// Returns the column of the data that it is about.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Record { feature: column, .. }
            | Self::Rule { column, .. }
            | Self::ColumnType { column, .. }
            | Self::MissingColumn { column, .. }
            | Self::NotANumber { column, .. }
            | Self::NotAWeight { column, .. }
            | Self::NegativeForLog { column, .. }
            | Self::LongText { column, .. }
            | Self::TooCloseTogether { column, .. }
            | Self::NoNumbers { column, .. }
            | Self::ThirdLabel { column, .. }
            | Self::AbsentGroup { column, .. } => Some(column),
            _ => None,
        }
    }

    /// Returns the number of the record that it is about, from 1.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        match self {
            Self::NotANumber { at, .. }
            | Self::NotAWeight { at, .. }
            | Self::NegativeForLog { at, .. }
            | Self::TooMuchMemory { at, .. }
            | Self::LongText { at, .. }
            | Self::ThirdLabel { at, .. } => Some(at.number),
            _ => None,
        }
    }

    /// Returns what was found there, as it stands.
    #[must_use]
    pub fn found(&self) -> Option<String> {
        match self {
            Self::ColumnType { found, .. }
            | Self::NotANumber { found, .. }
            | Self::NotAWeight { found, .. }
            | Self::ThirdLabel { found, .. } => Some(found.clone()),
            Self::NegativeForLog { found, .. } => Some(found.to_string()),
            Self::MissingColumn { columns, .. } => Some(list(columns)),
            Self::OtherOutcome { found, .. } => Some(list(found)),
            Self::FeatureCount { found, .. } => Some(found.to_string()),
            _ => None,
        }
    }

    /// Returns what was expected in its place.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        match self {
            Self::ThirdLabel { expected, .. } | Self::OtherOutcome { expected, .. } => Some(expected.clone()),
            Self::NotANumber { .. } => Some("a number".into()),
            Self::NotAWeight { .. } => Some("a finite number of at least 0".into()),
            Self::NegativeForLog { .. } => Some("a number of at least 0".into()),
            Self::MissingColumn { column, .. } => Some(format!("the column {column:?}")),
            Self::ColumnType { .. } => Some("numbers, text, truth values or dates".into()),
            _ => None,
        }
    }
}
