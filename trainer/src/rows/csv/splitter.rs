//! Splits text into records and fields, in constant memory and without allocation per record.
//!
//! Nearly every line of real files has no quotes and is split at its delimiters. A record with a
//! quote goes through `csv-core`, which also joins the lines that a quoted field spans. Both ways
//! give the same fields (tested against the `csv` crate); the first is several times faster.

use std::io::{self, Read};
use std::ops::Range;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::{memchr, memchr_iter, memchr2};

use super::text::read_error;
use crate::error::Error;

/// Bytes per read.
const CHUNK_BYTES: usize = 1 << 17;

/// Longest record in bytes: bounds the memory of the reader, whatever the file.
const MAX_RECORD_BYTES: usize = 1 << 22;

/// Splits one source.
pub(crate) struct Splitter {
    source: Box<dyn Read + Send>,
    file: String,
    delimiter: u8,
    comment: Option<u8>,
    /// `buffer[start..end]` is read but not yet split.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the source has no more bytes.
    exhausted: bool,
    /// Whether the last record ended with a carriage return: a line feed that follows belongs to
    /// it.
    after_return: bool,
    /// 1-based line on which the next record starts.
    next_line: u64,
    /// Line of the current record. Its bytes and the place of each field in them follow.
    line: u64,
    text: Text,
    fields: Vec<Range<u32>>,
    quoted: Quoted,
}

/// Where the bytes of the current record are.
enum Text {
    Buffer(Range<usize>),
    Unquoted,
}

/// The parser of records with quotes, and its output buffers.
struct Quoted {
    parser: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    pub(crate) fn new(source: Box<dyn Read + Send>, file: String, delimiter: u8, comment: Option<u8>) -> Self {
        Self {
            source,
            file,
            delimiter,
            comment,
            buffer: vec![0; CHUNK_BYTES],
            start: 0,
            end: 0,
            exhausted: false,
            after_return: false,
            next_line: 1,
            line: 1,
            text: Text::Unquoted,
            fields: Vec::new(),
            quoted: Quoted {
                parser: ReaderBuilder::new().delimiter(delimiter).build(),
                text: vec![0; 256],
                ends: vec![0; 32],
            },
        }
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Returns the 1-based line on which the current record starts.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Returns the bytes of the current record and the place of each field in them.
    pub(crate) fn record(&self) -> (&[u8], &[Range<u32>]) {
        let text = match &self.text {
            Text::Buffer(range) => self.buffer.get(range.clone()).unwrap_or_default(),
            Text::Unquoted => &self.quoted.text,
        };
        (text, &self.fields)
    }

    /// Moves to the next record. Returns false at the end. Skips empty lines and comment lines.
    pub(crate) fn advance(&mut self) -> Result<bool, Error> {
        loop {
            let Some((length, terminated)) = self.find_line()? else { return Ok(false) };
            let range = self.start..self.start + length;
            let line = &self.buffer[range.clone()];
            self.line = self.next_line;
            if line.is_empty() || self.comment.is_some_and(|mark| line[0] == mark) {
                self.pass_over(length, terminated);
                continue;
            }
            match split_line(line, self.delimiter, &mut self.fields) {
                LineKind::Special => self.split_special()?,
                kind => {
                    if kind == LineKind::Unicode {
                        check_utf8(line, self.delimiter, &self.file, self.line)?;
                    }
                    self.text = Text::Buffer(range);
                    self.pass_over(length, terminated);
                }
            }
            return Ok(true);
        }
    }

    /// Finds the line that starts at `start`. Returns its length and whether a line end follows;
    /// `None` at the end of the source.
    fn find_line(&mut self) -> Result<Option<(usize, bool)>, Error> {
        if self.after_return {
            while self.start == self.end && !self.exhausted {
                self.fill()?;
            }
            if self.buffer[self.start..self.end].first() == Some(&b'\n') {
                self.start += 1;
            }
            self.after_return = false;
        }
        let mut searched = 0;
        loop {
            let pending = &self.buffer[self.start..self.end];
            if let Some(at) = memchr2(b'\n', b'\r', &pending[searched..]) {
                return Ok(Some((searched + at, true)));
            }
            searched = pending.len();
            if self.exhausted {
                return Ok((searched > 0).then_some((searched, false)));
            }
            self.fill()?;
        }
    }

    /// Consumes a line and its end.
    fn pass_over(&mut self, length: usize, terminated: bool) {
        self.start += length;
        if terminated {
            self.after_return = self.buffer[self.start] == b'\r';
            self.start += 1;
            self.next_line += 1;
        }
    }

    /// Splits the record at `start` by the rules of quoting. Only parsing shows how many lines it
    /// has.
    fn split_special(&mut self) -> Result<(), Error> {
        self.quoted.parser.reset();
        let (mut consumed, mut written, mut ended) = (0, 0, 0);
        loop {
            let pending = &self.buffer[self.start + consumed..self.end];
            // An empty input marks the end for the parser.
            let Quoted { parser, text, ends } = &mut self.quoted;
            let (result, input, output, fields) = parser.read_record(pending, &mut text[written..], &mut ends[ended..]);
            let end_of_source = pending.is_empty();
            consumed += input;
            written += output;
            ended += fields;
            match result {
                ReadRecordResult::OutputFull => text.resize(2 * text.len(), 0),
                ReadRecordResult::OutputEndsFull => ends.resize(2 * ends.len(), 0),
                ReadRecordResult::InputEmpty if !self.exhausted => self.fill()?,
                // The parser gets an empty input next and ends the record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => {
                    return self.take_special(consumed, ended, end_of_source);
                }
            }
        }
    }

    fn take_special(&mut self, consumed: usize, ended: usize, end_of_source: bool) -> Result<(), Error> {
        let raw = &self.buffer[self.start..self.start + consumed];
        if memchr(0, raw).is_some() {
            return Err(self.binary());
        }
        check_utf8(raw, self.delimiter, &self.file, self.line)?;
        // The quote is unclosed if the last line end did not end the record, or if a record of
        // several lines has an odd number of quotes.
        let odd = || memchr_iter(b'"', raw).count() % 2 == 1 && memchr(b'\n', raw).is_some();
        if end_of_source && (raw.ends_with(b"\n") || odd()) {
            return Err(Error::UnclosedQuote { file: self.file.clone(), line: self.line });
        }
        self.after_return = raw.last() == Some(&b'\r');
        self.next_line += memchr_iter(b'\n', raw).count() as u64 + u64::from(self.after_return);
        self.start += consumed;
        self.fields.clear();
        let mut field_start = 0;
        for &end in &self.quoted.ends[..ended] {
            self.fields.push(field_start..end as u32);
            field_start = end as u32;
        }
        self.text = Text::Unquoted;
        Ok(())
    }

    /// Reads more bytes after the pending ones, which move to the front of the buffer.
    fn fill(&mut self) -> Result<(), Error> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= MAX_RECORD_BYTES {
                return Err(Error::RecordTooLong {
                    file: self.file.clone(),
                    line: self.next_line,
                    limit: MAX_RECORD_BYTES,
                });
            }
            self.buffer.resize(2 * self.end, 0);
        }
        let count = loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(|error| read_error(error, &self.file, self.next_line))?,
            }
        };
        self.end += count;
        self.exhausted = count == 0;
        Ok(())
    }

    fn binary(&self) -> Error {
        Error::NotText {
            file: self.file.clone(),
            line: self.line,
            found: "binary data (a NUL byte)",
            help: "check that it is the right file",
        }
    }
}

/// The kinds of bytes in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    /// ASCII without quotes.
    Plain,
    /// No quotes, but bytes that must still be checked to be UTF-8.
    Unicode,
    /// The line has a quote or a NUL byte: the fields found are not valid.
    Special,
}

/// Splits a line at its delimiters, eight bytes at a time, and classifies its bytes on the way.
fn split_line(line: &[u8], delimiter: u8, fields: &mut Vec<Range<u32>>) -> LineKind {
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    /// Sets the high bit of each byte that is 0, and no other.
    fn zeros(word: u64) -> u64 {
        !(((word & !HIGH_BITS) + !HIGH_BITS) | word | !HIGH_BITS)
    }
    let (delimiters, quotes) = (u64::from_ne_bytes([delimiter; 8]), u64::from_ne_bytes([b'"'; 8]));
    let (mut unicode, mut special) = (0, 0);
    let mut field_start = 0;
    fields.clear();
    let (words, rest) = line.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        unicode |= word & HIGH_BITS;
        special |= zeros(word) | zeros(word ^ quotes);
        let mut hits = zeros(word ^ delimiters);
        while hits != 0 {
            let at = (8 * index) as u32 + hits.trailing_zeros() / 8;
            fields.push(field_start..at);
            field_start = at + 1;
            hits &= hits - 1;
        }
    }
    for (at, &byte) in (8 * words.len() as u32..).zip(rest) {
        unicode |= u64::from(byte & 0x80);
        special |= u64::from(byte == b'"' || byte == 0);
        if byte == delimiter {
            fields.push(field_start..at);
            field_start = at + 1;
        }
    }
    fields.push(field_start..line.len() as u32);
    match (special, unicode) {
        (0, 0) => LineKind::Plain,
        (0, _) => LineKind::Unicode,
        _ => LineKind::Special,
    }
}

fn check_utf8(record: &[u8], delimiter: u8, file: &str, line: u64) -> Result<(), Error> {
    std::str::from_utf8(record).map(|_| ()).map_err(|error| {
        let valid = error.valid_up_to();
        Error::NotUtf8 {
            file: file.into(),
            line,
            field: memchr_iter(delimiter, &record[..valid]).count() + 1,
            byte: record[valid],
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;

    use super::*;

    type Records = Vec<(u64, Vec<String>)>;

    /// Returns at most `step` bytes at a time, so that records cross every possible buffer end.
    struct Steps(VecDeque<u8>, usize);

    impl Read for Steps {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    fn split_by(text: &[u8], step: usize) -> Result<Records, Error> {
        let mut splitter = Splitter::new(Box::new(Steps(text.to_vec().into(), step)), "f".into(), b',', Some(b'|'));
        let mut records = Vec::new();
        while splitter.advance()? {
            let (bytes, fields) = splitter.record();
            let fields = fields.iter().map(|f| &bytes[f.start as usize..f.end as usize]);
            let fields = fields.map(|f| String::from_utf8(f.to_vec()).unwrap()).collect();
            records.push((splitter.line(), fields));
        }
        Ok(records)
    }

    fn split(text: &'static str) -> Records {
        let records = split_by(text.as_bytes(), usize::MAX).unwrap();
        for step in 1..8 {
            assert_eq!(split_by(text.as_bytes(), step).unwrap(), records, "{step} bytes at a time");
        }
        records
    }

    fn by_csv_crate(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'|'))
            .from_reader(text.as_bytes());
        reader.records().map(|r| r.unwrap().iter().map(String::from).collect()).collect()
    }

    #[test]
    fn fields_are_those_of_the_csv_crate() {
        for text in [
            "a,b\n1,2\n",
            "a,b\n1,2",
            "a,b\r\n1,2\r\n\r\n3,4",
            "a,b\r1,2\r",
            ",\n,,\n",
            "\n\n|c\na\n\n|d\n",
            "\"a\",b\n\"1,5\",\"2\"\n",
            "\"a\"\"b\",\"\"\nx,y\n",
            "\"two\nlines\",b\r\n\"three\r\n\nlines\",d\r\nlast,\"one\"",
            "5\" pipe,3\n7\" pipe,4\n",
            "a,\"b\" c\n\"a\" \"b\",c\n",
            " \"a\",b\n",
            "a,\"|b\"\n\"|a\",b\n",
        ] {
            let fields: Vec<Vec<String>> = split(text).into_iter().map(|(_, fields)| fields).collect();
            assert_eq!(fields, by_csv_crate(text), "{text:?}");
        }
    }

    proptest::proptest! {
        /// Whatever the `csv` crate writes is read back unchanged, at any size of the reads.
        #[test]
        fn what_was_written_is_read(
            records in proptest::collection::vec(proptest::collection::vec("[a,\"\n\r é|]{0,9}", 1..5), 0..9),
            crlf: bool,
            step in 1..40_usize,
        ) {
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().flexible(true).terminator(terminator).from_writer(Vec::new());
            records.iter().for_each(|record| writer.write_record(record).unwrap());
            let text = writer.into_inner().unwrap();
            let mut splitter = Splitter::new(Box::new(Steps(text.into(), step)), "f".into(), b',', None);
            let mut read = Vec::new();
            while splitter.advance().unwrap() {
                let (bytes, fields) = splitter.record();
                let fields = fields.iter().map(|f| &bytes[f.start as usize..f.end as usize]);
                read.push(fields.map(|f| String::from_utf8(f.to_vec()).unwrap()).collect::<Vec<_>>());
            }
            proptest::prop_assert_eq!(read, records);
        }
    }

    #[test]
    fn delimiters_and_special_bytes_are_found_wherever_they_stand() {
        let mut fields = Vec::new();
        for length in 0..40 {
            for at in 0..length {
                // Neighbours of the bytes looked for, which an inexact bit trick would mistake for
                // them.
                let line: Vec<u8> = (0..length).map(|i| b"+-!#\x01\x7f"[i % 6]).collect();
                let with = |byte| {
                    let mut line = line.clone();
                    line[at] = byte;
                    line
                };
                assert_eq!(split_line(&with(b','), b',', &mut fields), LineKind::Plain);
                assert_eq!(fields, [0..at as u32, at as u32 + 1..length as u32]);
                assert_eq!(split_line(&with(0xe9), b',', &mut fields), LineKind::Unicode);
                assert_eq!(fields, [0..length as u32; 1]);
                for byte in [b'"', 0] {
                    assert_eq!(split_line(&with(byte), b',', &mut fields), LineKind::Special);
                }
            }
        }
        assert_eq!(split_line(b",,,,,,,,,,", b',', &mut fields), LineKind::Plain);
        assert_eq!(fields.len(), 11);
        assert!(fields.iter().all(Range::is_empty));
    }

    #[test]
    fn lines_are_counted_through_quotes_comments_and_every_line_end() {
        let lines = |text| split(text).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
        assert_eq!(lines("a\n\nb\n|c\nd"), [1, 3, 5]);
        assert_eq!(lines("a\r\n\r\nb\r\n"), [1, 3]);
        assert_eq!(lines("a\rb\r\rc"), [1, 2, 4]);
        assert_eq!(lines("\"a\nb\",c\r\n\"d\"\r\ne"), [1, 3, 4]);
        assert_eq!(lines("\"a\r\n\r\nb\"\nc"), [1, 4]);
    }

    #[test]
    fn a_record_may_be_longer_than_a_chunk_but_not_than_the_limit() {
        let long = |length: usize| -> Vec<u8> { [b"\"", vec![b'x'; length].as_slice(), b"\"\ny\n"].concat() };
        let source = io::Cursor::new(long(3 * CHUNK_BYTES));
        let mut splitter = Splitter::new(Box::new(source), "f".into(), b',', None);
        assert!(splitter.advance().unwrap());
        assert_eq!(splitter.record().0.get(..3 * CHUNK_BYTES).unwrap().len(), 3 * CHUNK_BYTES);
        assert!(splitter.advance().unwrap() && !splitter.advance().unwrap());
        let source = io::Cursor::new(long(2 * MAX_RECORD_BYTES));
        let mut splitter = Splitter::new(Box::new(source), "f".into(), b',', None);
        assert!(matches!(splitter.advance().unwrap_err(), Error::RecordTooLong { line: 1, .. }));
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_place() {
        let message = |text| split_by(text, usize::MAX).unwrap_err().to_string();
        assert!(message(b"a,b\n1,\0\n").starts_with("f:2: found binary data (a NUL byte)"));
        assert!(message(b"a,b\n1,\"\0\"\n").starts_with("f:2: found binary data (a NUL byte)"));
        assert!(message(b"a,b\n1,caf\xe9\n").starts_with("f:2: field 2: found byte 0xe9"));
        assert!(message(b"a,b\n\"1\",\"caf\xe9\"\n").starts_with("f:2: field 2: found byte 0xe9"));
        assert!(message(b"a,b\n\"1,2\n3,4\n5,6\n").starts_with("f:2: the record has an opening quote"));
    }
}
