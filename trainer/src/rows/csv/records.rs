//! Records of one or more files with the same columns: header, column names, missing cells,
//! positions.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::splitter::Splitter;
use super::text::{read_error, text_of};
use crate::error::Error;
use crate::rows::digest::Digest;
use crate::rows::input::{Hashed, Input, SharedDigest, Waiting};
use crate::rows::record::{Derived, Fields, Held, Position, Record, slice};
use crate::rows::rules::Rules;
use crate::rows::source::{Source, column_names, places};
use crate::schema::{BadCells, Table};

/// Reads the records of files in the order given, in constant memory.
///
/// Column names are those of the first file's header, trimmed. If a name occurs again, the first
/// column keeps it and later ones are called `name.2`, `name.3`, ..., whatever their values. A
/// column without a name is called `column.N`, where `N` is its 1-based place. Later files may have
/// the columns in another order, and additional columns, which are skipped.
pub struct Records {
    /// The inputs not read yet, last first.
    waiting: Vec<Waiting>,
    table: Table,
    rules: Rules,
    columns: Arc<[String]>,
    /// The place of each column in the current file; `None` if it has exactly these columns in this
    /// order.
    order: Option<Order>,
    /// Names of the files opened so far.
    files: Vec<String>,
    splitter: Option<Splitter>,
    /// Whether the splitter's current record was read ahead, to learn the number of columns, and is
    /// still to be returned.
    ahead: bool,
    /// 1-based number of the current record, counted over all files.
    number: u64,
    /// The names of the current file's columns, in the order of its fields.
    header: Vec<String>,
    any_delimiter: bool,
    /// Remarks for the user about files that were not read exactly as the schema says.
    remarks: Vec<String>,
    /// Number of lines that repeat the header, and the place of the first.
    repeated: Option<(u64, String)>,
    digest: SharedDigest,
}

/// Number of bytes at the start of a text in which its delimiter is looked for.
const HEAD_BYTES: u64 = 1 << 16;

/// Order of the columns in a file that differs from the first.
struct Order {
    /// Number of fields per record of the file.
    width: usize,
    /// For each column, its index in the file.
    places: Vec<usize>,
    /// The fields of the current record, in the order of the columns.
    fields: Vec<Range<u32>>,
}

impl Records {
    /// Opens the first input and reads its header.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] without inputs or with standard input twice; [`Error::Read`],
    /// [`Error::EmptyFile`] or any error of the text.
    pub fn open(inputs: &[Input], table: &Table) -> Result<Self, Error> {
        Self::start(Waiting::all(inputs)?, table, &[], Digest::default(), false)
    }

    /// Reads one source that is not a file. `name` stands for it in messages.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyFile`] or any error of the text.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static, table: &Table) -> Result<Self, Error> {
        Self::start(vec![Waiting::Reader(name.into(), Box::new(reader))], table, &[], Digest::default(), false)
    }

    /// Continues after earlier files with these columns and this digest of their bytes. `columns`
    /// is empty if there were no earlier files. `any_delimiter` says whether files may have another
    /// delimiter than the table.
    pub(in crate::rows) fn start(
        waiting: Vec<Waiting>,
        table: &Table,
        columns: &[String],
        digest: Digest,
        any_delimiter: bool,
    ) -> Result<Self, Error> {
        let mut records = Self {
            waiting,
            table: table.clone(),
            rules: Rules::new(table, columns),
            columns: columns.into(),
            order: None,
            files: Vec::new(),
            splitter: None,
            ahead: false,
            number: 0,
            header: Vec::new(),
            any_delimiter,
            remarks: Vec::new(),
            repeated: None,
            digest: Arc::new(Mutex::new(digest)),
        };
        records.open_next()?;
        records.rules = Rules::new(table, &records.columns);
        Ok(records)
    }

    /// Opens the next source, if there is one, and reads or checks its header.
    fn open_next(&mut self) -> Result<(), Error> {
        self.splitter = None;
        let Some(source) = self.waiting.pop() else { return Ok(()) };
        let file = source.name();
        let reader = source.open()?;
        let reader = text_of(Box::new(Hashed { reader, digest: Arc::clone(&self.digest) }), &file)?;
        let (reader, delimiter) = match self.any_delimiter {
            true => with_delimiter(reader, &self.table, &file)?,
            false => (reader, self.table.delimiter),
        };
        // Both characters were checked to be ASCII when the schema was read.
        let comment = self.table.comment.map(|mark| mark as u8);
        let mut splitter = Splitter::new(reader, file.clone(), delimiter as u8, comment);
        if !splitter.advance()? || (names_delimiter(&splitter, delimiter)? && !splitter.advance()?) {
            return Err(Error::EmptyFile { file, header: self.table.header });
        }
        let (text, fields) = splitter.record();
        self.header =
            fields.iter().map(|field| String::from_utf8_lossy(slice(text, field)).trim().to_owned()).collect();
        // A file may name the columns although the schema names them. They keep the schema's order,
        // because the next file may have no names.
        let names_columns = !self.table.header && is_header_of(&self.header, &self.table.columns);
        if names_columns {
            self.remarks
                .push(format!("{file}:1 names the columns, but the schema names them too; the line was skipped"));
        }
        if delimiter != self.table.delimiter {
            self.remarks.push(format!(
                "{file} is read with the delimiter {delimiter:?}, as {:?} is not in its first line",
                self.table.delimiter
            ));
        }
        if self.columns.is_empty() && !self.table.header {
            self.columns = self.table.columns.clone().into();
        }
        if self.table.header || names_columns {
            let names = column_names(self.header.iter());
            if self.columns.is_empty() {
                self.columns = names.into();
            } else if *names != *self.columns {
                let places = places(&names, &self.columns, &file, self.files.first())?;
                self.order = Some(Order { width: names.len(), places, fields: Vec::new() });
            } else {
                self.order = None;
            }
        } else {
            self.order = None;
            self.header = self.table.columns.clone();
            self.ahead = true;
        }
        self.files.push(file);
        self.splitter = Some(splitter);
        Ok(())
    }
}

/// Finds the delimiter of a text: that of the table, unless the first line contains only another
/// one. Returns it with the whole text.
fn with_delimiter(
    mut text: Box<dyn Read + Send>,
    table: &Table,
    file: &str,
) -> Result<(Box<dyn Read + Send>, char), Error> {
    const OTHERS: [char; 4] = [',', ';', '\t', '|'];
    let mut head = Vec::new();
    (&mut text).take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| read_error(error, file, 1))?;
    let usual = table.delimiter;
    let is_passed_over =
        |line: &[u8]| line.first().is_none_or(|byte| table.comment.is_some_and(|mark| mark as u8 == *byte));
    let line = head.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !is_passed_over(line)).unwrap_or_default();
    let count = |mark: char| line.iter().filter(|byte| **byte == mark as u8).count();
    let most = OTHERS.into_iter().max_by_key(|mark| count(*mark)).filter(|mark| count(*mark) > 0);
    let delimiter = if count(usual) > 0 { usual } else { most.unwrap_or(usual) };
    Ok((Box::new(Cursor::new(head).chain(text)), delimiter))
}

/// Returns whether the first line is a spreadsheet's `sep=;`, which declares the delimiter.
fn names_delimiter(splitter: &Splitter, delimiter: char) -> Result<bool, Error> {
    let (text, _) = splitter.record();
    let Some(named) = text.strip_prefix(b"sep=").and_then(|rest| rest.first()).filter(|_| text.len() == 5) else {
        return Ok(false);
    };
    if *named == delimiter as u8 {
        return Ok(true);
    }
    Err(Error::OtherDelimiter { file: splitter.file().into(), found: char::from(*named), expected: delimiter })
}

/// Returns whether the first line of a file names the columns, although the schema expects no
/// header.
fn is_header_of(line: &[String], columns: &[String]) -> bool {
    columns.len() > 1 && columns.iter().all(|name| line.contains(name))
}

/// Returns whether a record repeats the header, as happens in concatenated files.
#[inline]
fn repeats(text: &[u8], fields: &[Range<u32>], header: &[String]) -> bool {
    fields.len() > 1
        && fields.len() == header.len()
        && fields.iter().zip(header).all(|(field, name)| slice(text, field).trim_ascii() == name.as_bytes())
}

/// Returns advice for a record with too few or too many fields.
fn ragged_help(first: &[u8], last: &[u8], found: usize, expected: usize, line: u64) -> &'static str {
    let word =
        first.trim_ascii().split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    let is_footer =
        [&b"total"[..], b"sum", b"source", b"note", b"notes", b"grand", b"generated", b"end"].contains(&&*word);
    if is_footer && found != expected {
        "this looks like the end of a report: take the line out"
    } else if found == expected + 1 && last.trim_ascii().is_empty() {
        "the line ends with a delimiter, the header does not: add one to the header, or take it off every line"
    } else if expected == 1 && line <= 5 {
        "the line before it looks like a title, where the names of the columns are expected: take it out; or correct table.delimiter"
    } else {
        "quote fields that contain the delimiter, or check table.delimiter and table.header"
    }
}

impl Source for Records {
    fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// # Errors
    /// [`Error::RaggedRow`], [`Error::HeaderMismatch`], or any error of the text.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            let Some(splitter) = &mut self.splitter else { return Ok(false) };
            if std::mem::take(&mut self.ahead) || splitter.advance()? {
                let (text, fields) = splitter.record();
                let expected = self.order.as_ref().map_or(self.columns.len(), |order| order.width);
                if fields.len() == expected {
                    if repeats(text, fields, &self.header) {
                        let place = || format!("{}:{}", splitter.file(), splitter.line());
                        self.repeated.get_or_insert_with(|| (0, place())).0 += 1;
                        continue;
                    }
                    self.number += 1;
                    if let Some(Order { places, fields: ordered, .. }) = &mut self.order {
                        ordered.clear();
                        ordered.extend(places.iter().filter_map(|place| fields.get(*place).cloned()));
                    }
                    return Ok(true);
                }
                // With trimming, a line that holds only blanks counts as empty.
                if self.table.trim && fields.len() == 1 && text.trim_ascii().is_empty() {
                    continue;
                }
                let [first, last] =
                    [fields.first(), fields.last()].map(|field| field.map_or(&[][..], |field| slice(text, field)));
                return Err(Error::RaggedRow {
                    file: splitter.file().into(),
                    line: splitter.line(),
                    found: fields.len(),
                    expected,
                    help: ragged_help(first, last, fields.len(), expected, splitter.line()),
                });
            }
            self.open_next()?;
        }
    }

    fn record(&self) -> Record<'_> {
        let (text, fields) = self.splitter.as_ref().map_or((&[][..], &[][..]), Splitter::record);
        let line = self.splitter.as_ref().map_or(0, Splitter::line);
        let fields = self.order.as_ref().map_or(fields, |order| &order.fields);
        Record {
            cells: Held::Fields(Fields { text, fields, rules: &self.rules }),
            derived: Derived::NONE,
            position: Position { file: self.file(), line, number: self.number },
        }
    }

    fn names(&self) -> &[String] {
        &self.files
    }

    fn bad_cells(&self) -> BadCells {
        self.table.bad_cells
    }

    fn notes(&self) -> Vec<String> {
        let note = |(lines, place): &(u64, String)| match lines {
            1 => format!("{place} repeats the header and was skipped"),
            _ => format!("{lines} lines repeat the header, the first at {place}; they were skipped"),
        };
        self.remarks.iter().cloned().chain(self.repeated.iter().map(note)).collect()
    }

    fn digest(&self) -> Digest {
        self.digest.lock().map(|digest| digest.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(text: &'static str, table: &Table) -> Result<Records, Error> {
        Records::from_reader("f.csv", Cursor::new(text), table)
    }

    fn cells(text: &'static str, table: &Table) -> Vec<Vec<Option<String>>> {
        let mut records = open(text, table).unwrap();
        let mut all = Vec::new();
        while records.advance().unwrap() {
            let record = records.record();
            let cell = |i| record.cell(i).text().map(|c| String::from_utf8(c.to_vec()).unwrap());
            all.push((0..records.columns().len()).map(cell).collect());
        }
        all
    }

    fn some(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn cells_are_trimmed_and_missing_ones_known() {
        let table = Table::default();
        assert_eq!(cells("a, b\n 1 , ? \nNA,NAN\n  \n", &table), [[some("1"), None], [None, some("NAN")]]);
        let table = Table { trim: false, missing: vec!["-".into()], ..table };
        assert_eq!(cells("a,b\n 1,-\n,?\n", &table), [[some(" 1"), None], [some(""), some("?")]]);
    }

    #[test]
    fn a_later_column_of_the_same_name_gets_a_number() {
        let names = |text| open(text, &Table::default()).unwrap().columns().to_vec();
        assert_eq!(names("a,b,a,a\n"), ["a", "b", "a.2", "a.3"]);
        assert_eq!(names("a,a,a.2\n"), ["a", "a.3", "a.2"]);
        assert_eq!(names(",a,\n"), ["column.1", "a", "column.3"]);
    }

    #[test]
    fn headerless_tables_take_their_names_from_the_schema() {
        let table = Table { header: false, columns: vec!["x".into(), "y".into()], ..Table::default() };
        assert_eq!(cells("1,2\n3,4\n", &table), [[some("1"), some("2")], [some("3"), some("4")]]);
        let error = open("1,2,3\n", &table).unwrap().advance().unwrap_err();
        assert!(error.to_string().starts_with("f.csv:1: found 3 fields, expected 2;"), "{error}");
    }

    #[test]
    fn positions_count_lines_per_file_and_records_over_all() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one.csv", "two.csv"].map(|name| folder.path().join(name));
        std::fs::write(&one, "a,b\n1,\"2\n\"\n\n3,4\n").unwrap();
        std::fs::write(&two, "a,b\n5,6\n").unwrap();
        let inputs = [Input::from(&*one), Input::from(&*two)];
        let mut records = Records::open(&inputs, &Table::default()).unwrap();
        let mut positions = Vec::new();
        while records.advance().unwrap() {
            let Position { file, line, number } = records.record().position;
            positions.push((file.ends_with("two.csv"), line, number));
        }
        assert_eq!(positions, [(false, 2, 1), (false, 5, 2), (true, 2, 3)]);

        std::fs::write(&two, "a,c\n5,6\n").unwrap();
        let mut records = Records::open(&inputs, &Table::default()).unwrap();
        let error = loop {
            match records.advance() {
                Ok(more) => assert!(more),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("one.csv: it lacks \"b\", it has \"a\", \"c\""), "{error}");
    }

    #[test]
    fn later_files_may_have_their_columns_in_another_order_and_further_ones() {
        let folder = tempfile::tempdir().unwrap();
        let texts = ["a,b\n1,2\n", "b,c,a\n4,x,3\n\"6\",,5\n", "a,b\n7,8\n"];
        let inputs = [0, 1, 2].map(|i| {
            let path = folder.path().join(i.to_string());
            std::fs::write(&path, texts[i]).unwrap();
            Input::File(path)
        });
        let mut records = Records::open(&inputs, &Table::default()).unwrap();
        for expected in [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]] {
            assert!(records.advance().unwrap());
            assert_eq!([0, 1].map(|i| records.record().text(i)), expected.map(str::as_bytes));
        }
        assert!(!records.advance().unwrap());
        std::fs::write(folder.path().join("1"), "b,c,a\n4,3\n").unwrap();
        let mut records = Records::open(&inputs[1..], &Table::default()).unwrap();
        assert!(records.advance().unwrap_err().to_string().contains("found 2 fields, expected 3"));
    }

    #[test]
    fn unusable_inputs_say_why() {
        let table = Table::default();
        let message = |result: Result<Records, Error>| result.map(|_| ()).unwrap_err().to_string();
        assert!(message(open("", &table)).starts_with("f.csv: the file is empty, expected a header line"));
        assert!(message(Records::open(&[], &table)).starts_with("no data"));
        assert!(message(Records::open(&[Input::Stdin, Input::Stdin], &table)).contains("named twice"));
        let nowhere = Input::File("no/such/file.csv".into());
        assert!(message(Records::open(&[nowhere], &table)).starts_with("cannot read no/such/file.csv: "));
        let folder = tempfile::tempdir().unwrap();
        assert!(message(Records::open(&[Input::from(folder.path())], &table)).starts_with("cannot read "));
        let error = open("a,b\n1,2\n3\n", &table).and_then(|mut r| r.advance().and_then(|_| r.advance())).unwrap_err();
        assert!(error.to_string().starts_with("f.csv:3: found 1 field, expected 2;"), "{error}");
    }
}
