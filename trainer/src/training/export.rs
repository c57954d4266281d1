//! Export of a learned model as a blob, with a check of the blob.
//!
//! The bytes are read back through the engine, and a sample of the training rows is scored by both:
//! the learner uses its own weights, the engine the raw cells. A difference above [`TOLERANCE`] is
//! an error. So is a background record whose score differs from that of its row.

use feamoe_engine::LoadError;
use feamoe_engine::format::Provenance;

use super::layout::{lay_out, lay_out_calibration};
use super::monotone::broken;
use crate::encoder::{Encoder, Example, Feature, Kind};
use crate::error::Error;
use crate::judge::binding::Binding;
use crate::learner::{Calibrator, Weights};
use crate::model::card::Card;
use crate::model::{AlignedBytes, Content, EncodeError, HostModel};
use crate::rows::{Merged, Reservoir, merged};

/// Largest difference in p between learner and blob. They sum some dozens of f32 in different
/// orders, and centring rounds each weight once. That gives a few 1e-6 in a logit of moderate size;
/// a mistake in the layout moves scores by far more.
pub const TOLERANCE: f32 = 5e-5;

/// The parts of a learner that an export needs.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The encoder that made the learner's weight rows.
    pub encoder: &'a Encoder,
    /// The weights to export.
    pub weights: Weights<'a>,
    /// Turns scores into probabilities; `None` if the scores are the probabilities.
    pub calibrator: Option<&'a Calibrator>,
    /// Decision threshold.
    pub threshold: f32,
    /// Name of the favourable outcome.
    pub positive_name: &'a str,
    /// Where the model comes from.
    pub provenance: Provenance,
}

/// A checked blob.
#[derive(Clone, Debug)]
pub struct Export {
    /// The bytes of the file.
    pub bytes: AlignedBytes,
    /// Its checksum.
    pub crc32: u32,
    /// Number of rows that learner and engine both scored.
    pub checked_rows: u64,
    /// Largest difference in p over these rows.
    pub largest_difference: f32,
    /// Messages about columns that changed since the encoding was fitted: in the sample of the
    /// rows, their numbers are no longer distinct as 32-bit floats.
    pub warnings: Vec<String>,
}

/// Why a model could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The model exceeds the limits of the format.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The engine refused the written bytes.
    #[error("the engine refuses the exported model; nothing was written. This is a bug in feamoe, please report it")]
    Refused(#[from] LoadError),
    /// A row could not be read again.
    #[error(transparent)]
    Data(#[from] Error),
    /// Learner and engine disagree.
    #[error(
        "{file}:{line}: the scores of the learner, {learner}, and of the exported model, {engine}, differ by more than {TOLERANCE}; nothing was written. This is a bug in \
         feamoe, please report it"
    )]
    Differs {
        /// File of the row.
        file: String,
        /// Line of the row.
        line: u64,
        /// The learner's score.
        learner: f32,
        /// The engine's score.
        engine: f32,
    },
    /// The score is not monotone in a column, although the schema requires it.
    #[error(
        "column {column:?}: the exported model is not monotone in it, which features.monotone requires; nothing was written. This is a bug in feamoe, \
         please report it"
    )]
    NotMonotone {
        /// The column.
        column: String,
    },
    /// The score of a background record differs from that of its row.
    #[error(
        "{file}:{line}: the row has another score in the model's background; nothing was written. This is a bug in feamoe, please report it"
    )]
    Background {
        /// File of the row.
        file: String,
        /// Line of the row.
        line: u64,
    },
}

/// Returns a model without names and without a check against its learner.
///
/// # Errors
/// [`EncodeError`] if the model exceeds the limits of the format.
pub(crate) fn snapshot(source: &Source<'_>) -> Result<AlignedBytes, EncodeError> {
    content(source).to_bytes(false)
}

fn content(source: &Source<'_>) -> Content {
    let layout = lay_out(source.encoder, source.weights);
    Content {
        threshold: source.threshold,
        provenance: source.provenance,
        experts: source.weights.experts,
        features: layout.features,
        positive_name: source.positive_name.to_owned(),
        bias: layout.bias,
        rows: layout.rows,
        edges: layout.edges,
        deviations: layout.deviations,
        calibration: source
            .calibrator
            .map_or_else(Vec::new, |calibrator| lay_out_calibration(source.encoder, calibrator)),
        background: Vec::new(),
    }
}

/// Lays out, encodes, reads back and checks a model with its card and the reservoir's background.
/// `predict` returns the learner's score of an encoded row, and its calibrated probability.
/// `column` finds a column of the reservoir's rows.
///
/// # Errors
/// See [`ExportError`].
pub fn export(
    source: &Source<'_>,
    card: &Card,
    reservoir: &Reservoir,
    column: impl Fn(&str) -> Result<usize, Error>,
    predict: impl Fn(&Example) -> [f32; 2],
) -> Result<Export, ExportError> {
    let mut content = content(source);
    let directions: Vec<_> =
        source.encoder.features().iter().map(|feature| source.encoder.direction(feature)).collect();
    if let Some(column) = broken(&content, &directions) {
        return Err(ExportError::NotMonotone { column: column.to_owned() });
    }
    let bytes = content.to_bytes(true)?;
    // The columns are bound by the names of a model that has no background yet.
    let binding = Binding::new(&HostModel::load(bytes.as_slice())?, &column)?;
    let binding = binding.with_bad_cells(source.encoder.bad_cells());
    for row in reservoir.background() {
        binding.write_background(&row, &mut content.background)?;
    }
    let bytes = card.put_into(&content.to_bytes(true)?)?;
    let model = HostModel::load(bytes.as_slice())?;
    let (mut record, mut example) = (model.record(), Example::default());
    let (mut checked_rows, mut largest_difference) = (0, 0.0_f32);
    for row in reservoir.rows() {
        binding.fill(&row, &mut record)?;
        // The record was made for this model, so scoring it cannot fail for being another model's.
        let engine = model
            .score(&record)
            .map_or([f32::NAN; 2], |score| [score.probability, model.calibrated(&record, &score).unwrap_or(f32::NAN)]);
        source.encoder.encode(&row, &mut example)?;
        for (learner, engine) in predict(&example).into_iter().zip(engine) {
            let difference = (engine - learner).abs();
            if difference.is_nan() || difference > TOLERANCE {
                let (file, line) = (row.position.file.to_owned(), row.position.line);
                return Err(ExportError::Differs { file, line, learner, engine });
            }
            largest_difference = largest_difference.max(difference);
        }
        checked_rows += 1;
    }
    for (index, row) in reservoir.background().enumerate() {
        binding.fill(&row, &mut record)?;
        let expected = model.score(&record).map(|score| score.probability);
        let read = model.background_record(index, &mut record);
        if read.is_err() || model.score(&record).map(|score| score.probability) != expected {
            return Err(ExportError::Background { file: row.position.file.to_owned(), line: row.position.line });
        }
    }
    let crc32 = model.crc32();
    let warnings = source.encoder.features().iter().filter_map(|feature| too_close(feature, reservoir, &column));
    Ok(Export { crc32, checked_rows, largest_difference, warnings: warnings.collect(), bytes })
}

/// Returns a message if the numbers of a feature lie too close together for a model.
fn too_close(
    feature: &Feature,
    reservoir: &Reservoir,
    column: impl Fn(&str) -> Result<usize, Error>,
) -> Option<String> {
    let Kind::Number(_) = feature.kind() else { return None };
    let index = column(feature.name()).ok()?;
    let Merged { distinct, kept, pair } = merged(reservoir.rows().filter_map(|row| row.cell(index).number()))?;
    let error = Error::TooCloseTogether { column: feature.name().to_owned(), distinct, kept, pair };
    Some(format!("in a sample of the rows, {error}"))
}
