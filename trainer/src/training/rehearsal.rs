//! Checks the data of a run in advance: what the run would count, and how long it would take.

use std::time::Instant;

use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::{Options, Trainer, check_passes, open, without_weight};
use crate::error::Error;
use crate::judge::attribute::{AttributeReport, OtherLabels};
use crate::model::card::FeatureCells;
use crate::rows::{Digest, Input, Reader, ResumeFrom};
use crate::schema::Schema;

/// The number of rows that are learned from to measure the speed.
const TIMED: u64 = 20_000;

/// What a run would find in its data, and the estimated time and memory of the run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Rehearsal {
    /// Number of rows that the run would learn from.
    pub rows: u64,
    /// Number of rows that are filtered out or have neither outcome.
    pub skipped: u64,
    /// Number of rows left out because their sample weight is 0.
    pub weightless: u64,
    /// The rows with neither outcome.
    pub other_labels: OtherLabels,
    /// The counts of the cells of every feature, as counted by a run that reads the rows in this
    /// order.
    pub features: Vec<FeatureCells>,
    /// The protected attributes and their groups.
    pub attributes: Vec<AttributeReport>,
    /// Number of passes over the data; the largest possible number if the run decides when to end.
    pub passes: u32,
    /// Number of rows that were learned from to measure the speed.
    pub timed_rows: u64,
    /// Rows learned per second, reading and encoding included.
    pub rows_per_second: f64,
    /// Estimated time of the run with all its passes, in seconds, not including writing the model.
    pub seconds: f64,
    /// Estimated memory for the rows, in bytes; 0 if they are streamed.
    pub rows_in_memory_bytes: u64,
    /// Notes about what was skipped while reading.
    pub notes: Vec<String>,
}

/// Reads the data like [`run`](super::run), but learns only from the first rows and discards the
/// result.
///
/// # Errors
/// The errors of [`run`](super::run).
pub fn rehearse(inputs: &[Input], schema: &Schema, options: &Options) -> Result<Rehearsal, Error> {
    check_passes(inputs, options)?;
    let weight = options.weight.as_deref();
    let schema = &*without_weight(schema, weight)?;
    let reader = Reader::new(open(inputs, schema, weight, &[], Digest::default())?, false);
    let trainer = Trainer::of_source(reader.source().columns(), reader.file(), schema.clone(), options)?;
    look_over(trainer, reader, options.epochs, options.shuffle)
}

/// Like [`rehearse`], for [`resume`](super::resume).
///
/// # Errors
/// The errors of [`resume`](super::resume).
pub fn rehearse_resuming(
    checkpoint: Checkpoint<'_>,
    inputs: &[Input],
    resume_from: ResumeFrom,
) -> Result<Rehearsal, Error> {
    let place = &checkpoint.place;
    let open = |digest| open(inputs, &checkpoint.schema, checkpoint.weight.as_deref(), place.columns(), digest);
    let reader = Reader::resume(open, place, resume_from)?;
    let trainer = Trainer::resume(checkpoint, reader.source().columns(), reader.file(), resume_from)?;
    look_over(trainer, reader, 1, false)
}

#[allow(clippy::cast_precision_loss)]
fn look_over(mut trainer: Trainer, mut reader: Reader<'_>, passes: u32, shuffle: bool) -> Result<Rehearsal, Error> {
    let (started, before) = (Instant::now(), trainer.counts());
    let seconds = || started.elapsed().as_secs_f64();
    let (mut rows, mut timed_rows) = (0_u64, 0);
    // The first rows take longer, until the encoder is fitted.
    let (mut settled, mut timed) = (None, 0.0);
    while reader.advance()? {
        let record = reader.record();
        if rows >= TIMED && trainer.encoder().is_some() {
            rows += u64::from(trainer.look(&record)?);
            continue;
        }
        rows += u64::from(trainer.learn(&record)?.is_some());
        (timed_rows, timed) = (rows, seconds());
        if settled.is_none() && trainer.encoder().is_some() {
            settled = Some((rows, timed));
        }
    }
    trainer.check(&reader.files())?;
    trainer.fit()?;
    if rows == timed_rows {
        timed = seconds();
    }
    // With few rows, the mean over all of them.
    let (settled_rows, settled_at) = settled.filter(|(settled, _)| timed_rows > 2 * settled).unwrap_or_default();
    let each = (timed - settled_at) / (timed_rows - settled_rows).max(1) as f64;
    let left = (rows - timed_rows) + u64::from(passes - 1) * rows;
    let sampled = trainer.reservoir().rows().count().max(1) as u64;
    let counts = trainer.counts();
    Ok(Rehearsal {
        rows,
        skipped: counts.filtered + counts.unlabelled - before.filtered - before.unlabelled,
        weightless: counts.weightless - before.weightless,
        other_labels: OtherLabels::new(trainer.other_labels(), &trainer.schema().target),
        features: trainer.feature_cells(),
        attributes: trainer.attributes().map(|attribute| AttributeReport::new(attribute, None)).collect(),
        passes,
        timed_rows,
        rows_per_second: 1.0 / each,
        seconds: timed + left as f64 * each,
        rows_in_memory_bytes: if shuffle { trainer.reservoir().bytes() as u64 * rows / sampled } else { 0 },
        notes: reader.source().notes(),
    })
}
