//! The text that the trainer reads: tables and schemas.

use std::io::Cursor;

use feamoe::error::Error;
use feamoe::infer::infer_text;
use feamoe::rows::{Records, Source, Stream, Use};
use feamoe::schema::{Schema, Table};
use sha2::{Digest as _, Sha256};

/// Reads a table in one of 16 ways, which the first byte selects, infers its schema, and streams
/// the table with that schema.
pub fn csv(data: &[u8]) {
    let Some((how, text)) = data.split_first() else { return };
    let table = Table {
        header: how & 1 == 0,
        columns: if how & 1 == 0 { Vec::new() } else { vec!["a".into(), "b".into(), "c".into()] },
        delimiter: [',', ';', '\t', '|'][usize::from(how >> 1 & 3)],
        trim: how & 8 == 0,
        comment: (how & 16 != 0).then_some('#'),
        ..Table::default()
    };
    let read = |text: &[u8]| Records::from_reader("fuzz.csv", Cursor::new(text.to_vec()), &table);
    if let Ok(mut records) = read(text) {
        let (mut number, mut line) = (0, 0);
        while records.advance().unwrap_or(false) {
            let record = records.record();
            assert!(record.position.number == number + 1 && record.position.line > line, "{:?}", record.position);
            (number, line) = (record.position.number, record.position.line);
            for column in 0..=records.columns().len() {
                assert!(record.cell(column).text().is_none_or(|cell| cell == record.text(column)));
            }
        }
        // At the end, every byte must have been read and hashed.
        if records.advance().is_ok() {
            assert_eq!(records.digest().finish(), <[u8; 32]>::from(Sha256::digest(text)));
        }
    }

    let Ok(inferred) = infer_text("fuzz.csv", text, &feamoe::infer::Options::default()) else { return };
    let (schema, is_open) = (inferred.text, inferred.open.is_some());
    match Schema::from_toml("fuzz.toml", &schema) {
        Ok(schema) => {
            let open = Stream::from_reader("fuzz.csv", Cursor::new(text.to_vec()), &schema, Use::Learn);
            let Ok(mut stream) = open else { return };
            while let Ok(Some(row)) = stream.next_row() {
                assert!(row.label.is_some());
            }
            let counts = stream.counts();
            assert_eq!(counts.read, counts.filtered + counts.unlabelled + counts.positive + counts.negative);
            let _ = (stream.check(), stream.check_rows(), stream.check_any_group());
        }
        // An error may only ask for what the inferred schema leaves open.
        Err(error) => {
            let message = error.to_string();
            let is_asked = message.contains("fill in the name of the column")
                || message.contains("at least one value of the favourable");
            assert!(is_open && is_asked, "{error}\n{schema}");
        }
    }
}

/// Reads a schema. An accepted schema is written as in a model, and is the same when it is read
/// again. A message names a place in the text.
pub fn schema(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Schema::from_toml("fuzz.toml", text) {
        Ok(schema) => {
            let written = toml::to_string(&schema).unwrap_or_else(|error| panic!("{error}"));
            let again = Schema::from_toml("fuzz.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert_eq!(again, schema, "{written}");
        }
        Err(Error::Schema { line, column, .. }) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&line) && column >= 1, "line {line} of {lines}, column {column}");
        }
        Err(error) => panic!("{error}"),
    }
}
