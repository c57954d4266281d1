//! `GET /model`: what the model is.

use axum::body::Bytes;
use feamoe_engine::FeatureIndex;
use feamoe_engine::schema::{Kind, Transform};
use serde::Serialize;
use utoipa::ToSchema;

use super::published::{Named, Ready, hex};

/// The description of a model.
#[derive(Serialize, ToSchema)]
pub struct Model<'r> {
    /// SHA-256 of the model, 64 hexadecimal digits.
    model: &'r str,
    /// CRC-32 of the model, 8 hexadecimal digits. It detects damage and does not identify the
    /// model.
    crc32: String,
    /// Size of the model in bytes.
    bytes: usize,
    /// Number of experts.
    experts: usize,
    /// Lowest score with a favourable decision.
    threshold: f32,
    /// Name of the favourable outcome; null if the model has no names.
    outcome: Option<&'r str>,
    /// Number of background records.
    background_rows: usize,
    /// Number of rows that the model learned from.
    training_rows: u64,
    /// SHA-256 of the training data, 64 hexadecimal digits.
    data_sha256: String,
    /// Seed of the training run.
    seed: u64,
    /// Version of feamoe that trained the model.
    trainer_version: String,
    features: Vec<Feature<'r>>,
}

/// Describes the model.
pub fn model(ready: &Ready<'_>) -> serde_json::Result<Bytes> {
    let model = ready.model;
    let provenance = model.provenance();
    let (major, minor, patch) = provenance.trainer_version;
    let features = model.schema().features().iter().enumerate();
    let description = Model {
        model: &ready.name,
        crc32: format!("{:08x}", model.crc32()),
        bytes: model.blob_bytes(),
        experts: model.experts(),
        threshold: model.threshold(),
        outcome: model.schema().positive_name(),
        background_rows: ready.background.as_ref().map_or(0, |background| background.rows()),
        training_rows: provenance.training_rows,
        data_sha256: hex(&provenance.data_sha256),
        seed: provenance.seed,
        trainer_version: format!("{major}.{minor}.{patch}"),
        features: features
            .filter_map(|(index, feature)| {
                let Named { name, .. } = ready.names.at(FeatureIndex(index))?;
                Some(Feature { name, kind: Described::new(feature.kind(), model.schema().level_names(index)) })
            })
            .collect(),
    };
    serde_json::to_vec(&description).map(Bytes::from)
}

/// A feature of the model.
#[derive(Serialize, ToSchema)]
struct Feature<'r> {
    name: &'r str,
    #[serde(flatten)]
    kind: Described<'r>,
}

/// A number, or a category with its levels.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Described<'r> {
    Number { low: f32, high: f32, bins: u16, log1p: bool },
    Category { levels: Vec<&'r str> },
}

impl<'r> Described<'r> {
    fn new(kind: Kind, levels: impl Iterator<Item = &'r str>) -> Self {
        match kind {
            Kind::Number { transform, low, high, bins, .. } => {
                Self::Number { low, high, bins, log1p: transform == Transform::Log1p }
            }
            Kind::Category { .. } => Self::Category { levels: levels.collect() },
        }
    }
}
