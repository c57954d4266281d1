//! Scores as one JSON document, written record by record. Numbers have the fewest digits that read
//! back the same `f32`.

use std::collections::BTreeMap;
use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Layout, Scored, Sink};

/// The JSON document of `feamoe score`.
#[derive(Serialize, JsonSchema)]
pub struct Scores<'a> {
    /// CRC-32 of the model, 8 hexadecimal digits.
    model: String,
    /// Lowest score with a favourable decision.
    threshold: f32,
    /// Name of the favourable outcome; empty if the model has no names.
    favourable_outcome: &'a str,
    /// The records, in the order of the data.
    records: Vec<Line<'a>>,
}

/// The result for a record.
#[derive(Serialize, JsonSchema)]
struct Line<'a> {
    /// Number of the record, from 1.
    row: u64,
    /// The cells of the columns that --keep names, by column; null if the value is missing. Absent
    /// without --keep.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    kept: BTreeMap<&'a str, Option<&'a str>>,
    /// Probability of the favourable outcome.
    probability: f32,
    /// 1 if favourable, 0 if declined.
    decision: u8,
    /// The score that is compared with the threshold; absent if it is the probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    /// The gate weights of the experts; absent without --gate.
    #[serde(skip_serializing_if = "<[f32]>::is_empty")]
    gate: &'a [f32],
    /// The features with unusual values, by kind: `missing`, `clamped` or `unseen`.
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
        let whole = serde_json::to_string(&Scores {
            model: format!("{:08x}", model.crc32()),
            threshold: model.threshold(),
            favourable_outcome: model.schema().positive_name().unwrap_or_default(),
            records: Vec::new(),
        })?;
        // The records are written before the closing brackets.
        write!(out, "{}", whole.strip_suffix("]}").unwrap_or(&whole))?;
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
