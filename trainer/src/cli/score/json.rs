//! Scores as one JSON document, written record by record. Its numbers have the fewest digits that
//! read back the same f32.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::{Layout, Scored, Sink};

/// The document, but for its records.
#[derive(Serialize)]
struct Head<'a> {
    model: String,
    threshold: f32,
    favourable_outcome: &'a str,
}

/// A record.
#[derive(Serialize)]
struct Line<'a> {
    row: u64,
    /// By column; null where the value is missing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    kept: BTreeMap<&'a str, Option<&'a str>>,
    probability: f32,
    decision: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "<[f32]>::is_empty")]
    gate: &'a [f32],
    /// By kind, the features.
    notes: BTreeMap<&'a str, &'a [&'a str]>,
}

/// Writes the document.
pub struct Document<'o> {
    out: &'o mut dyn Write,
    kept: Vec<String>,
    is_first: bool,
}

impl<'o> Document<'o> {
    pub fn new(layout: &Layout<'_>, out: &'o mut dyn Write) -> anyhow::Result<Self> {
        let model = layout.model;
        let head = serde_json::to_string(&Head {
            model: format!("{:08x}", model.crc32()),
            threshold: model.threshold(),
            favourable_outcome: model.schema().positive_name().unwrap_or_default(),
        })?;
        // The records follow before its brace.
        write!(out, "{},\"records\":[", head.strip_suffix('}').unwrap_or(&head))?;
        Ok(Self { out, kept: layout.kept.clone(), is_first: true })
    }
}

impl Sink for Document<'_> {
    fn push(&mut self, scored: &Scored<'_>) -> anyhow::Result<()> {
        let kept = self.kept.iter().zip(&scored.kept);
        let line = Line {
            row: scored.row,
            kept: kept
                .map(|(name, (cell, is_missing))| (name.as_str(), (!is_missing).then_some(cell.as_str())))
                .collect(),
            probability: scored.probability,
            decision: u8::from(scored.decision),
            score: scored.score,
            gate: scored.gate,
            notes: scored.notes.iter().map(|(kind, names)| (*kind, names.as_slice())).collect(),
        };
        writeln!(self.out, "{}", if std::mem::take(&mut self.is_first) { "" } else { "," })?;
        serde_json::to_writer(&mut *self.out, &line).map_err(std::io::Error::from)?;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "\n]}}")?)
    }
}
