//! Reads a blob back to the content it was written from, and rows of a file to the cells of its model: for the slow twin, with none of the engine's readers.

use std::collections::BTreeMap;
use std::path::Path;

use feamoe::export::{Content, FeatureContent};
use feamoe::schema::Table;
use feamoe::stream::{Record, Records};
use feamoe_engine::format::{Description, FLAG_BACKGROUND, FLAG_DEVIATIONS, FLAG_NAMES, HEADER_BYTES};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;
use serde::Deserialize;

use crate::generate::Cell;

/// Returns the content of a blob that the engine accepts.
///
/// # Panics
/// On bytes that are no such blob.
#[must_use]
pub fn read(blob: &[u8]) -> Content {
    let flags = u16::from_le_bytes([blob[6], blob[7]]);
    let mut rest = &blob[HEADER_BYTES..];
    let description: Description = take(&mut rest);
    let kinds: Vec<Kind> = (0..description.features).map(|_| take(&mut rest)).collect();
    let mut sections: BTreeMap<u16, &[u8]> = BTreeMap::new();
    for flag in (0..16).map(|bit| 1 << bit).filter(|flag| flags & flag != 0) {
        sections.insert(flag, take(&mut rest));
    }
    let _padding: &[u8] = take(&mut rest);
    let mut weights = floats(take(&mut rest));

    let mut names = sections.get(&FLAG_NAMES).copied().unwrap_or_default();
    let mut name = || if names.is_empty() { String::new() } else { take(&mut names) };
    let positive_name = name();
    let feature = |kind| {
        let levels = match kind {
            Kind::Category { levels } => levels,
            Kind::Number { .. } => 0,
        };
        FeatureContent { name: name(), kind, levels: (0..levels).map(|_| name()).collect() }
    };
    let features: Vec<FeatureContent> = kinds.iter().copied().map(feature).collect();
    let experts = usize::from(description.experts);
    let rows: usize = kinds.iter().map(|kind| kind.rows() as usize).sum();
    let mut rest_of_weights = weights.split_off(stride(experts));
    let edges = rest_of_weights.split_off(rows * stride(experts));
    Content {
        threshold: description.threshold,
        provenance: description.provenance,
        experts,
        features,
        positive_name,
        bias: weights,
        rows: rest_of_weights,
        edges,
        deviations: sections.get(&FLAG_DEVIATIONS).map_or_else(Vec::new, |bytes| floats(bytes)),
        background: sections.get(&FLAG_BACKGROUND).copied().map_or_else(Vec::new, |mut section| {
            let _rows: u16 = take(&mut section);
            section.to_vec()
        }),
    }
}

fn take<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> T {
    let (value, left) = postcard::take_from_bytes(rest).unwrap_or_else(|error| panic!("{error}"));
    *rest = left;
    value
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Returns the rows of a file that have these record numbers, in their order, as the model of this content reads them.
///
/// # Panics
/// Where the file, a row or a column is not there, or a number is none.
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
    let Some(text) = record.cell(column) else { return Cell::Missing };
    let text = std::str::from_utf8(text).unwrap_or_else(|error| panic!("{error}"));
    match feature.kind {
        Kind::Number { .. } => Cell::Number(text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))),
        Kind::Category { .. } => {
            feature.levels.iter().position(|level| level == text).map_or(Cell::Unseen, |code| Cell::Level(code as u16))
        }
    }
}
