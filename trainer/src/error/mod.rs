//! The error of the trainer. Every variant states where it occurred, what was found, what was
//! expected and what to do.
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

/// The place of a record in a message: a file and its line, or the name of a source without lines
/// and the number of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// The name of the source.
    pub file: String,
    /// 1-based line on which the record starts; 0 if the source has no lines.
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
        /// The error of the operating system. The raw name keeps `thiserror` from making it the
        /// source of this error, since the message includes it.
        r#source: io::Error,
    },

    /// A schema or a configuration file is not valid TOML, has an unknown or missing key, or
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

    /// A model without names cannot be bound to columns.
    #[error("the model has no names, so its features cannot be matched with columns; export it with names")]
    NamesStripped,

    /// The engine refused a value.
    #[error("feature {feature}: {error}")]
    Record {
        /// The feature.
        feature: String,
        /// The error of the engine.
        error: feamoe_engine::RecordError,
    },

    /// The engine could not explain a record.
    #[error(transparent)]
    Explain(#[from] feamoe_engine::ExplainError),

    /// There are no background records.
    #[error("{from}: {message}")]
    Background {
        /// Where they were searched for.
        from: String,
        /// What is wrong, and what to do.
        message: String,
    },

    /// A group of features is invalid.
    #[error("group {group}: {message}")]
    Group {
        /// Its name.
        group: String,
        /// What is wrong.
        message: String,
    },

    /// A recourse rule does not fit the feature of the model.
    #[error("recourse: column {column:?} {message}")]
    Rule {
        /// The column.
        column: String,
        /// What is wrong, and what to do.
        message: String,
    },

    /// The inputs are invalid, for example because standard input is named twice.
    #[error("{0}")]
    Input(String),

    /// A file has no lines.
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

    /// A file is not text: it has NUL bytes, or is UTF-16, an archive, or compressed other than by
    /// gzip.
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
        /// The error of its reader.
        problem: String,
    },

    /// A column has an unsupported type.
    #[error(
        "{file}: column {column:?}: found the type {found}, expected numbers, text, booleans or dates; drop the column (features.drop), or convert it"
    )]
    ColumnType {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// The type of the column.
        found: String,
    },

    /// A file has another format than the first one.
    #[error(
        "{file}: expected a Parquet or Arrow file, as the first one is; convert it, or read the files one after the other"
    )]
    OtherFormat {
        /// The file.
        file: String,
    },

    /// The format cannot be read from a pipe.
    #[error(
        "{file}: found a Parquet file, expected text or an Arrow stream, since the index of a Parquet file is at its end; name the file"
    )]
    NoPipe {
        /// The pipe.
        file: String,
    },

    /// A field is not UTF-8.
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

    /// A gzip stream is truncated or damaged.
    #[error("{file}:{line}: the gzip stream {problem}; copy or download the file again (`gzip -t FILE` checks it)")]
    Gzip {
        /// The file.
        file: String,
        /// 1-based line at which reading stopped.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },

    /// A record has more or fewer fields than the header.
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

    /// There are lines before the column names.
    #[error(
        "{file}:1: found {found} field{} where nearly all lines have {fields}; expected the column names, found perhaps a title; take out {lines}, for \
         example: tail -n +{first} FILE", plural(*.found)
    )]
    Title {
        /// The file.
        file: String,
        /// Number of fields in the first line.
        found: usize,
        /// The lines in question.
        lines: String,
        /// Number of fields in the other lines.
        fields: usize,
        /// 1-based number of the first line after them, not counting empty lines.
        first: usize,
    },

    /// The first line of a file names another delimiter than the schema.
    #[error("{file}:1: found \"sep={found}\", expected the delimiter {expected:?}; correct table.delimiter")]
    OtherDelimiter {
        /// The file.
        file: String,
        /// The delimiter that the file names.
        found: char,
        /// The delimiter of the schema.
        expected: char,
    },

    /// A quoted field is never closed.
    #[error(
        "{file}:{line}: the record has an opening quote that is never closed; close it, or double quotes inside a quoted field"
    )]
    UnclosedQuote {
        /// The file.
        file: String,
        /// 1-based line on which the record starts.
        line: u64,
    },

    /// A record exceeds the reader's limit, which bounds its memory.
    #[error("{file}:{line}: the record is longer than {limit} bytes; is a quote left open, or is this not a CSV file?")]
    RecordTooLong {
        /// The file.
        file: String,
        /// 1-based line on which the record starts.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },

    /// A required column is not in the data.
    #[error(
        "{file}: no column {column:?}, which {wanted_by} needs; the columns are {}{}",
        list(.columns), advice_on_columns(.column, .columns)
    )]
    MissingColumn {
        /// The file.
        file: String,
        /// The missing column.
        column: String,
        /// What requires it, such as `target.column`.
        wanted_by: String,
        /// The columns of the data.
        columns: Vec<String>,
    },

    /// A later file lacks columns of the first one.
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

    /// The data differ from those that a run was reading when it stopped.
    #[error(
        "{file}: found {found}, expected the first {records} records of {files}, which the run had read when it stopped; name the same data again, from the \
         first file on, or resume with other data as the rest of them"
    )]
    OtherData {
        /// The file with the difference.
        file: String,
        /// What was found.
        found: &'static str,
        /// Number of records that had been read.
        records: u64,
        /// The files they were read from.
        files: String,
    },

    /// Another run replaced the checkpoint.
    #[error(
        "{file}: another run has replaced the checkpoint that this run started from, so nothing was written; run them one after \
         the other, or give each its own checkpoint"
    )]
    ChangedCheckpoint {
        /// The file.
        file: String,
    },

    /// The kept rows fill the memory.
    #[error(
        "no memory is left for another row: {rows} rows take {megabytes} MB; learn from the rows in their own order, which keeps none, from \
         fewer rows, or where there is more memory"
    )]
    Memory {
        /// Number of rows kept.
        rows: usize,
        /// Their size in megabytes.
        megabytes: usize,
    },

    /// Another process is writing the file.
    #[error("{file}: another process is writing this file, as {lock} shows; wait for it to end, or name another file")]
    Locked {
        /// The file.
        file: String,
        /// The lock file that it holds.
        lock: String,
    },

    /// A run was stopped and its checkpoint was written.
    #[error("stopped after {rows} rows, which are in the checkpoint")]
    Stopped {
        /// Rows learned from.
        rows: u64,
    },

    /// A run was interrupted without writing a checkpoint.
    #[error("interrupted after {rows} rows")]
    Interrupted {
        /// Rows learned from.
        rows: u64,
    },

    /// The run has already learned from the data.
    #[error(
        "{file}: the run learned from the first {records} records before, expected newer data; name what came since, or say that \
         they are to be learned from again"
    )]
    SameData {
        /// The file.
        file: String,
        /// Number of records that are the same.
        records: u64,
    },

    /// The data changed between two passes.
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

    /// A cell of a numeric column is not a number.
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

    /// A sample weight is missing, negative, infinite or not a number.
    #[error("{at}: column {column:?}: found {found:?}, expected a sample weight: a number of at least 0")]
    NotAWeight {
        /// The record.
        at: Where,
        /// The column.
        column: String,
        /// The cell.
        found: String,
    },

    /// A number is outside the domain of its column's transform.
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

    /// Kept rows take too much memory.
    #[error(
        "{at}: the first {rows} rows take more than {limit} MB, expected less for {what}; drop columns of long text (features.drop), or keep \
         fewer rows"
    )]
    TooMuchMemory {
        /// The record reached.
        at: Where,
        /// What the rows are kept for.
        what: &'static str,
        /// Number of rows so far.
        rows: usize,
        /// Megabytes allowed.
        limit: usize,
    },

    /// A text is too long for the level of a feature.
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

    /// The schema has another favourable outcome than the model.
    #[error(
        "target.positive: found {}, expected {expected:?} among them, the favourable outcome that the model was trained for; take the schema \
         that it was trained with, or add {expected:?} if it means the same",
        list(found)
    )]
    OtherOutcome {
        /// The schema's favourable outcomes.
        found: Vec<String>,
        /// The favourable outcome of the model.
        expected: String,
    },

    /// Distinct numbers of a column are equal as 32-bit floats.
    #[error(
        "column {column:?}: found {distinct} distinct numbers, of which only {kept} remain distinct as 32-bit floats ({} and {} become equal), expected numbers that stay \
         distinct; subtract a fixed offset from the column, take a coarser unit, or drop it (features.drop)",
        pair[0], pair[1]
    )]
    TooCloseTogether {
        /// The column.
        column: String,
        /// Number of distinct values found.
        distinct: usize,
        /// Number of values that stay distinct.
        kept: usize,
        /// Two numbers that become equal.
        pair: [f64; 2],
    },

    /// A column that should be numeric has no number in the first rows, so no scale can be fitted.
    #[error(
        "column {column:?}: none of the first {rows} rows has a number in it, so features.{wanted_by} cannot apply; \
         take it off that list or fit on more rows"
    )]
    NoNumbers {
        /// The column.
        column: String,
        /// The list in the schema that requires a number.
        wanted_by: &'static str,
        /// Number of rows checked.
        rows: usize,
    },

    /// The model would have no features, or more than this build supports.
    #[error("found {found} feature columns, expected 1 to {limit}; choose with features.only or features.drop")]
    FeatureCount {
        /// Number of feature columns found.
        found: usize,
        /// The largest number allowed.
        limit: usize,
    },

    /// No record can be used: there are none, or the filters and the target leave none.
    #[error("{files}: {reason}")]
    NoUsableRows {
        /// The files read.
        files: String,
        /// Why no rows are left, the values of the target, and what to do.
        reason: String,
    },

    /// The status of a monitor cannot be read or cannot be added to others.
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

    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),

    /// Only one outcome occurs.
    #[error("{files}: {reason}")]
    OneOutcome {
        /// The files read.
        files: String,
        /// Which outcome occurs, the values of the target, and what to do.
        reason: String,
    },

    /// The target has a third value, but the schema lists only the favourable ones.
    #[error(
        "{at}: column {column:?}: found {found:?}, expected {expected}; \
         with more than two values target.negative must list those of the other outcome (rows of neither are left out and counted)"
    )]
    ThirdLabel {
        /// The record.
        at: Where,
        /// The target column.
        column: String,
        /// The value.
        found: String,
        /// The favourable values and the other value.
        expected: String,
    },

    /// No row belongs to a protected group of the schema.
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
        /// The values that occur, and what to do.
        seen: String,
    },
}

impl Error {
    /// Returns the column of the data that caused the error, if known.
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

    /// Returns the 1-based number of the record that caused the error, if known.
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

    /// Returns the value that was found, if known.
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

    /// Returns what was expected instead, if known.
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
