//! Scores as one JSON document, written record by record.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{Layout, Scored, Sink};

/// The document.
pub struct Document<'o> {
    out: &'o mut dyn Write,
    kept: Vec<String>,
    has_gate: bool,
    is_first: bool,
}

impl<'o> Document<'o> {
    pub fn new(layout: &Layout<'_>, out: &'o mut dyn Write) -> anyhow::Result<Self> {
        let model = layout.model;
        let head = json!({
            "model": format!("{:08x}", model.crc32()),
            "threshold": model.threshold(),
            "favourable_outcome": model.schema().positive_name().unwrap_or_default(),
        });
        let head = head.to_string();
        write!(out, "{},\"records\":[", head.trim_end_matches('}'))?;
        Ok(Self { out, kept: layout.kept.clone(), has_gate: layout.gate, is_first: true })
    }
}

impl Sink for Document<'_> {
    fn push(&mut self, scored: &Scored<'_>) -> anyhow::Result<()> {
        let mut record = Map::new();
        let mut put = |key: &str, value: Value| _ = record.insert(key.to_owned(), value);
        put("row", scored.row.into());
        if !self.kept.is_empty() {
            let cell = |(name, (cell, is_missing)): (&String, &(String, bool))| {
                (name.clone(), if *is_missing { Value::Null } else { cell.as_str().into() })
            };
            put("kept", Value::Object(self.kept.iter().zip(&scored.kept).map(cell).collect()));
        }
        put("probability", json!(scored.probability));
        put("decision", u8::from(scored.decision).into());
        if let Some(score) = scored.score {
            put("score", json!(score));
        }
        if self.has_gate {
            put("gate", json!(scored.gate));
        }
        put(
            "notes",
            Value::Object(scored.notes.iter().map(|(kind, names)| ((*kind).to_owned(), json!(names))).collect()),
        );
        writeln!(self.out, "{}", if std::mem::take(&mut self.is_first) { "" } else { "," })?;
        serde_json::to_writer(&mut *self.out, &record).map_err(std::io::Error::from)?;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "\n]}}")?)
    }
}
