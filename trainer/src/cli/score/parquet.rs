//! Scores as a Parquet file.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, StringBuilder, UInt8Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;

use super::{Layout, Scored, Sink, on_one_line};

/// Records per batch.
const BATCH: usize = 8192;

/// The file.
pub struct File<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    rows: UInt64Builder,
    kept: Vec<StringBuilder>,
    probabilities: Float32Builder,
    decisions: UInt8Builder,
    /// The score that decides, if it is not the probability, and the gate weights.
    weights: Vec<Float32Builder>,
    notes: StringBuilder,
    filled: usize,
}

impl<W: Write + Send> File<W> {
    pub fn new(layout: &Layout<'_>, out: W) -> anyhow::Result<Self> {
        let columns = layout.columns();
        let (kept, all) = (layout.kept.len(), columns.len());
        // row, kept columns, probability, decision, ..., notes
        let field = |(index, name): (usize, String)| {
            let kind = match index {
                0 => DataType::UInt64,
                _ if index <= kept || index + 1 == all => DataType::Utf8,
                _ if index == kept + 2 => DataType::UInt8,
                _ => DataType::Float32,
            };
            Field::new(name, kind, (1..=kept).contains(&index))
        };
        let schema = Arc::new(Schema::new(columns.into_iter().enumerate().map(field).collect::<Vec<_>>()));
        Ok(Self {
            writer: ArrowWriter::try_new(out, Arc::clone(&schema), None)?,
            schema,
            rows: UInt64Builder::new(),
            kept: (0..kept).map(|_| StringBuilder::new()).collect(),
            probabilities: Float32Builder::new(),
            decisions: UInt8Builder::new(),
            weights: (0..all - kept - 4).map(|_| Float32Builder::new()).collect(),
            notes: StringBuilder::new(),
            filled: 0,
        })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.rows.finish())];
        columns.extend(self.kept.iter_mut().map(|cells| Arc::new(cells.finish()) as ArrayRef));
        columns.push(Arc::new(self.probabilities.finish()));
        columns.push(Arc::new(self.decisions.finish()));
        columns.extend(self.weights.iter_mut().map(|weights| Arc::new(weights.finish()) as ArrayRef));
        columns.push(Arc::new(self.notes.finish()));
        self.filled = 0;
        Ok(self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?)
    }
}

impl<W: Write + Send> Sink for File<W> {
    fn push(&mut self, scored: &Scored<'_>) -> anyhow::Result<()> {
        self.rows.append_value(scored.row);
        for (to, (cell, is_missing)) in self.kept.iter_mut().zip(&scored.kept) {
            to.append_option((!is_missing).then_some(cell));
        }
        self.probabilities.append_value(scored.probability);
        self.decisions.append_value(u8::from(scored.decision));
        for (to, weight) in self.weights.iter_mut().zip(scored.score.iter().chain(scored.gate)) {
            to.append_value(*weight);
        }
        self.notes.append_value(on_one_line(&scored.notes));
        self.filled += 1;
        if self.filled == BATCH { self.flush() } else { Ok(()) }
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.writer.close()?;
        Ok(())
    }
}
