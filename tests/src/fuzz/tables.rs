//! Arrow streams and files, and Parquet files, as rows.

use std::fs;

use feamoe::rows::{Input, is_reading_tables, open};
use feamoe::schema::Table;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

thread_local! {
    /// Files are opened by their paths.
    static FILE: NamedTempFile = NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
}

/// Returns whether a panic of this thread becomes an error: a panic of a decoder of the crates
/// `arrow` and `parquet` does.
#[must_use]
pub fn is_expected_panic() -> bool {
    is_reading_tables()
}

/// Reads an Arrow stream, an Arrow file or a Parquet file, depending on the first bytes. At the
/// end, every byte must be hashed and every row counted.
pub fn arrow(data: &[u8]) {
    let (is_arrow, is_parquet) =
        (data.starts_with(b"\xff\xff\xff\xff") || data.starts_with(b"ARROW1"), data.starts_with(b"PAR1"));
    // Anything else is text, which the target `csv` covers.
    if !is_arrow && !is_parquet {
        return;
    }
    let path = FILE.with(|file| file.path().to_owned());
    fs::write(&path, data).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Ok(mut rows) = open(&[Input::File(path)], &Table::default()) else { return };
    let columns: Vec<usize> = (0..rows.columns().len()).filter(|column| !rows.unreadable().contains(column)).collect();
    rows.want(&columns);
    let mut number = 0;
    loop {
        match rows.advance() {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        }
        let record = rows.record();
        assert_eq!(record.position.number, number + 1);
        number += 1;
        for column in &columns {
            let _ = record.cell(*column).text();
        }
    }
    assert_eq!(rows.digest().finish(), <[u8; 32]>::from(Sha256::digest(data)));
}
