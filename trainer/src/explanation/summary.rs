//! The mean influence of each player: the mean magnitude of its values over records.

use feamoe_engine::{Method, Space};
use serde::Serialize;

use super::{Background, Explainer, by_magnitude, method_name, space_name};
use crate::model::HostAttribution;

/// The mean over records of the magnitude of each player's value, and of the value itself.
///
/// The mean value is near 0 if a player pulls some records up and others down; the mean magnitude
/// is not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Summary {
    /// The names of the players, in descending order of their mean magnitude.
    pub feature_names: Vec<String>,
    /// `mean |value|`, in the same order.
    pub mean_absolute_values: Vec<f32>,
    /// `mean value`, in the same order.
    pub mean_values: Vec<f32>,
    /// Name of the favourable outcome.
    pub output_names: String,
    /// The method: `sampled` if any record was sampled.
    #[serde(serialize_with = "method_name")]
    #[cfg_attr(feature = "cli", schemars(with = "String"))]
    pub method: Method,
    /// The space of the values: `probability` or `log-odds`.
    #[serde(serialize_with = "space_name")]
    #[cfg_attr(feature = "cli", schemars(with = "String"))]
    pub space: Space,
    /// Number of records.
    pub records: u64,
    /// Number of sampled records; absent if it is 0.
    #[serde(skip_serializing_if = "is_none")]
    pub sampled: u64,
    /// Mean over the records of the share of the path's attribution that runs through the gate, in
    /// [0, 1]; null for integer weights without their float model.
    pub gate_share: Option<f32>,
    /// The background records; absent for methods that need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// The seed of the sampling; absent if no record was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// CRC-32 of the model, 8 hexadecimal digits.
    pub model: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Sums over records, from which a [`Summary`] is computed.
#[derive(Clone, Debug)]
pub struct Sums {
    /// By player: the sum of magnitudes and the sum of values.
    sums: Vec<[f64; 2]>,
    /// `None` as soon as it is unknown for one record.
    gate_share: Option<f64>,
    records: u64,
    sampled: u64,
    background: Option<Background>,
}

impl Sums {
    /// Creates empty sums.
    #[must_use]
    pub fn new(explainer: &Explainer<'_>) -> Self {
        Self {
            sums: vec![[0.0; 2]; explainer.players().len()],
            gate_share: Some(0.0),
            records: 0,
            sampled: 0,
            background: None,
        }
    }

    /// Adds a record.
    pub fn push(&mut self, attribution: &HostAttribution) {
        for ([magnitudes, sum], value) in self.sums.iter_mut().zip(&attribution.values) {
            *magnitudes += f64::from(value.abs());
            *sum += f64::from(*value);
        }
        self.gate_share = self.gate_share.zip(attribution.gate_share).map(|(sum, share)| sum + f64::from(share));
        self.background = attribution.background.map(Background::from);
        self.records += 1;
        self.sampled += u64::from(attribution.method == Method::Sampled);
    }

    /// Returns the number of records so far, and the number of sampled ones among them.
    #[must_use]
    pub fn records(&self) -> (u64, u64) {
        (self.records, self.sampled)
    }

    /// Returns the means over the records; 0 if there are none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    pub fn summary(&self, explainer: &Explainer<'_>) -> Summary {
        let mean = |sum: f64| (sum / (self.records.max(1) as f64)) as f32;
        let means: Vec<[f32; 2]> = self.sums.iter().map(|sums| sums.map(mean)).collect();
        let order = by_magnitude(&means.iter().map(|mean| mean[0]).collect::<Vec<_>>());
        let in_order =
            || order.iter().filter_map(|player| Some((explainer.players().get(*player)?, means.get(*player)?)));
        Summary {
            feature_names: in_order().map(|(player, _)| player.name.clone()).collect(),
            mean_absolute_values: in_order().map(|(_, mean)| mean[0]).collect(),
            mean_values: in_order().map(|(_, mean)| mean[1]).collect(),
            output_names: explainer.outcome().to_owned(),
            method: if self.sampled > 0 { Method::Sampled } else { explainer.procedure().method() },
            space: explainer.procedure().space(),
            records: self.records,
            sampled: self.sampled,
            gate_share: self.gate_share.map(mean),
            background: self.background.clone(),
            seed: explainer.procedure().against().filter(|_| self.sampled > 0).map(|against| against.sampling.seed),
            model: explainer.model_crc(),
        }
    }
}
