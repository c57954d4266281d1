//! Scores as CSV.

use std::io::Write;

use super::{Layout, Scored, Sink, on_one_line};
use crate::cli::print::csv_field;

/// Writes a line per record.
pub struct Lines<'o> {
    out: &'o mut dyn Write,
}

impl<'o> Lines<'o> {
    pub fn new(layout: &Layout<'_>, out: &'o mut dyn Write) -> anyhow::Result<Self> {
        let columns: Vec<String> = layout.columns().iter().map(|name| csv_field(name)).collect();
        writeln!(out, "{}", columns.join(","))?;
        Ok(Self { out })
    }
}

impl Sink for Lines<'_> {
    fn push(&mut self, scored: &Scored<'_>) -> anyhow::Result<()> {
        let out = &mut self.out;
        write!(out, "{}", scored.row)?;
        for (cell, _) in &scored.kept {
            write!(out, ",{}", csv_field(cell))?;
        }
        // `{}` of an f32 prints the fewest digits that read back the same f32.
        write!(out, ",{},{}", scored.probability, u8::from(scored.decision))?;
        for weight in scored.score.iter().chain(scored.gate) {
            write!(out, ",{weight}")?;
        }
        Ok(writeln!(out, ",{}", csv_field(&on_one_line(&scored.notes)))?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }

    fn finish(self) -> anyhow::Result<()> {
        Ok(())
    }
}
