//! Rows of a file as the cells of a model.

use std::collections::BTreeMap;
use std::path::Path;

use feamoe::rows::{Record, Records, Source};
use feamoe::schema::Table;
use feamoe_engine::schema::Kind;
use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_testkit::generate::Cell;

/// Returns the rows of a file with these record numbers, in order, as the model with this content
/// reads them.
///
/// # Panics
/// If the file, a row or a column is missing, or a number is invalid.
#[must_use]
pub fn rows(content: &Content, file: &Path, table: &Table, numbers: &[u64]) -> Vec<Vec<Cell>> {
    let mut records = Records::open(&[file.into()], table).unwrap_or_else(|error| panic!("{error}"));
    let column = |feature: &FeatureContent| records.column(&feature.name, "the model");
    let columns: Result<Vec<usize>, _> = content.features.iter().map(column).collect();
    let columns = columns.unwrap_or_else(|error| panic!("{error}"));
    let mut found = BTreeMap::new();
    while records.advance().unwrap_or_else(|error| panic!("{error}")) {
        let record = records.record();
        if numbers.contains(&record.position.number) {
            let cells = content.features.iter().zip(&columns).map(|(feature, column)| cell(feature, &record, *column));
            found.insert(record.position.number, cells.collect::<Vec<_>>());
        }
    }
    numbers.iter().map(|number| found[number].clone()).collect()
}

fn cell(feature: &FeatureContent, record: &Record<'_>, column: usize) -> Cell {
    let Some(text) = record.cell(column).text() else { return Cell::Missing };
    let text = std::str::from_utf8(&text).unwrap_or_else(|error| panic!("{error}"));
    match feature.kind {
        Kind::Number { .. } => Cell::Number(text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))),
        Kind::Category { .. } => {
            feature.levels.iter().position(|level| level == text).map_or(Cell::Unseen, |code| Cell::Level(code as u16))
        }
    }
}
