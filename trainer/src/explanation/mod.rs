//! Explanations of records as documents: by column for `shap`'s plots ([`Explanation`]), as the
//! mean over records ([`Summary`]), in words ([`Reason`]). [`Explainer`] explains one record at a
//! time, [`Batch`] many on all threads, and [`attributions`] a whole table as arrays.
//! [`crate::plot`] draws the documents. [`Shaper`] computes the effect of each feature along its
//! values ([`Shapes`]).
//!
//! A value belongs to a [`Player`]: a feature, or a [`Group`] of features that act together. Exact
//! and sampled values are relative to [`BackgroundRecords`].

mod arrays;
mod background;
mod batch;
mod cell;
mod explainer;
mod group;
mod kernel;
mod reason;
mod shape;
mod summary;
mod top;
mod typical;

use feamoe_engine::schema::Kind;
use feamoe_engine::{BackgroundId, Method, Space};
use serde::{Serialize, Serializer};
use serde_json::Value;

pub use arrays::{Attributions, attributions, explanation};
pub use background::{BackgroundMemory, BackgroundRecords, Choice, Condition};
pub use batch::{Batch, Slot};
pub use cell::{Cell, note_name, shown};
pub use explainer::{Against, Explainer, Player, Procedure, Scratch};
pub use group::Group;
pub use kernel::Fastest;
pub use reason::{MAX_REASONS, REASONS, Reason, reasons};
pub use shape::{
    CountedRows, Density, LeftOut, MOST_POINTS, Point, PointKind, PointValue, RowsFrom, Shape, Shaper, Shapes,
};
pub use summary::{Summary, Sums};

use crate::model::HostAttribution;

/// Half-width of the 95 % interval of a value in standard errors (normal distribution).
const INTERVAL: f32 = 1.96;

/// One record and the explanation of its score.
#[derive(Clone, Debug)]
pub struct Explained<'a> {
    /// The 1-based number of the record.
    pub row: u64,
    /// The cells of its players.
    pub cells: &'a [Cell],
    /// The values of its players.
    pub attribution: &'a HostAttribution,
    /// Why the record was declined; see [`reasons`].
    pub reasons: Vec<Reason>,
}

/// The explanations of records, column by column. The first keys are the arguments of
/// `shap.Explanation`.
///
/// Memory: a few hundred bytes per feature and record.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// By record and player, the value.
    pub values: Vec<Vec<f32>>,
    /// By record, the base value.
    pub base_values: Vec<f32>,
    /// By record and player, the number or the code of the level: -1 for an unseen level; null for
    /// a missing value and for a group of features.
    pub data: Vec<Vec<Value>>,
    /// By record and player, the value in the file; null if it is missing.
    pub display_data: Vec<Vec<Value>>,
    /// The names of the players: features, or groups of features.
    pub feature_names: Vec<String>,
    /// Name of the favourable outcome.
    pub output_names: String,
    /// By record and player, the standard error of the value; 0 for exact values. Absent if no
    /// record was sampled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_std: Vec<Vec<f32>>,
    /// By record and player, the lower end of the value's 95 % interval. Absent if no record was
    /// sampled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lower_bounds: Vec<Vec<f32>>,
    /// By record and player, the upper end of the value's 95 % interval. Absent if no record was
    /// sampled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upper_bounds: Vec<Vec<f32>>,
    /// The method: `sampled` if any record was sampled.
    #[serde(serialize_with = "method_name")]
    #[cfg_attr(feature = "cli", schemars(with = "String"))]
    pub method: Method,
    /// By record, the method. Absent if all records have the same method: only records whose exact
    /// values exceed the budget are sampled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<&'static str>,
    /// The space of the values: `probability` or `log-odds`.
    #[serde(serialize_with = "space_name")]
    #[cfg_attr(feature = "cli", schemars(with = "String"))]
    pub space: Space,
    /// By record, its number, from 1.
    pub row: Vec<u64>,
    /// By record, the explained output: the sum of base value, values and residual.
    pub output: Vec<f32>,
    /// By record, `output - base_value - sum(values)`.
    pub residual: Vec<f32>,
    /// By record, the share of the path's attribution that runs through the gate, in [0, 1]; null
    /// for integer weights without their float model.
    pub gate_share: Vec<Option<f32>>,
    /// By record and expert, the gate weight.
    pub gate: Vec<Vec<f32>>,
    /// By record and expert, the probability of this expert.
    pub expert_values: Vec<Vec<f32>>,
    /// By record and player, the part of the value that runs through the gate; 0 for methods other
    /// than `path`.
    pub gate_values: Vec<Vec<f32>>,
    /// By record, the score, which is compared with the threshold. It is the probability, unless
    /// the model is calibrated (`feamoe score` writes both).
    pub probability: Vec<f32>,
    /// By record, whether the decision is favourable: the score is at least the threshold.
    pub decision: Vec<bool>,
    /// Lowest score with a favourable decision.
    pub threshold: f32,
    /// By record and player, `missing`, `clamped` or `unseen`; empty for a usual value.
    pub notes: Vec<Vec<&'static str>>,
    /// By record, the features that lowered the score most; empty if the decision is favourable.
    pub reasons: Vec<Vec<Reason>>,
    /// The background records; absent for methods that need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// By record, the number of coalitions or points at which the mixture was evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<u64>,
    /// The seed of the sampling; absent if no record was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// CRC-32 of the model, 8 hexadecimal digits.
    pub model: String,
    /// By player, whether it is a number. Codes of levels have no order.
    #[serde(skip)]
    pub numbers: Vec<bool>,
    #[serde(skip)]
    experts: usize,
    #[serde(skip)]
    sampling_seed: Option<u64>,
}

/// The background records that values are relative to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Background {
    /// Number of records.
    pub rows: u32,
    /// CRC-32 of the records as the model reads them, 8 hexadecimal digits.
    pub hash: String,
}

impl From<BackgroundId> for Background {
    fn from(id: BackgroundId) -> Self {
        Self { rows: id.rows, hash: format!("{:08x}", id.hash) }
    }
}

impl Explanation {
    /// Creates an explanation without records.
    #[must_use]
    pub fn new(explainer: &Explainer<'_>) -> Self {
        let players = 0..explainer.players().len();
        Self {
            values: Vec::new(),
            base_values: Vec::new(),
            data: Vec::new(),
            display_data: Vec::new(),
            feature_names: explainer.players().iter().map(|player| player.name.clone()).collect(),
            output_names: explainer.outcome().to_owned(),
            error_std: Vec::new(),
            lower_bounds: Vec::new(),
            upper_bounds: Vec::new(),
            method: explainer.procedure().method(),
            methods: Vec::new(),
            space: explainer.procedure().space(),
            row: Vec::new(),
            output: Vec::new(),
            residual: Vec::new(),
            gate_share: Vec::new(),
            gate: Vec::new(),
            expert_values: Vec::new(),
            gate_values: Vec::new(),
            probability: Vec::new(),
            decision: Vec::new(),
            threshold: explainer.model().threshold(),
            notes: Vec::new(),
            reasons: Vec::new(),
            background: None,
            evaluations: Vec::new(),
            seed: None,
            model: explainer.model_crc(),
            numbers: players.map(|player| matches!(explainer.kind(player), Some(Kind::Number { .. }))).collect(),
            experts: explainer.model().experts(),
            sampling_seed: explainer.procedure().against().map(|against| against.sampling.seed),
        }
    }

    /// Returns the number of sampled records.
    #[must_use]
    pub fn sampled(&self) -> usize {
        match self.method {
            Method::Sampled if self.methods.is_empty() => self.values.len(),
            _ => self.methods.iter().filter(|method| **method == Method::Sampled.name()).count(),
        }
    }

    /// Adds a record.
    pub fn push(&mut self, explained: Explained<'_>) {
        let Explained { row, cells, attribution, reasons } = explained;
        let players = self.feature_names.len();
        let of_players = |values: &[f32]| values.iter().copied().take(players).collect::<Vec<_>>();
        let score = &attribution.score;
        let values = of_players(&attribution.values);
        // Columns that only some records have are filled for the records before the first such one.
        let before = self.values.len();
        if attribution.method == Method::Sampled || !self.error_std.is_empty() {
            self.error_std.resize(before, vec![0.0; players]);
            self.lower_bounds.extend_from_slice(&self.values[self.lower_bounds.len()..]);
            self.upper_bounds.extend_from_slice(&self.values[self.upper_bounds.len()..]);
            let errors = of_players(&attribution.standard_errors);
            let end =
                |sign: f32| values.iter().zip(&errors).map(|(value, error)| value + sign * INTERVAL * error).collect();
            self.lower_bounds.push(end(-1.0));
            self.upper_bounds.push(end(1.0));
            self.error_std.push(errors);
            self.seed = self.sampling_seed;
        }
        if before == 0 {
            self.method = attribution.method;
        } else if attribution.method != self.method || !self.methods.is_empty() {
            self.methods.resize(before, self.method.name());
            self.methods.push(attribution.method.name());
            self.method = Method::Sampled;
        }
        self.values.push(values);
        self.gate_values.push(of_players(&attribution.gate_values));
        self.base_values.push(attribution.base_value);
        self.output.push(attribution.output);
        self.residual.push(attribution.residual);
        self.gate_share.push(attribution.gate_share);
        self.gate.push(score.gate.iter().copied().take(self.experts).collect());
        self.expert_values.push(score.expert_probabilities.iter().copied().take(self.experts).collect());
        self.row.push(row);
        self.probability.push(score.probability);
        self.decision.push(score.decision);
        self.notes.push(cells.iter().map(|cell| note_name(cell.note)).collect());
        self.reasons.push(reasons);
        self.background = attribution.background.map(Background::from);
        if attribution.evaluations > 0 {
            self.evaluations.push(attribution.evaluations);
        }
        let (data, display) = cells.iter().map(|cell| (cell.data.clone(), cell.display.clone())).unzip();
        self.data.push(data);
        self.display_data.push(display);
    }
}

/// Returns the players' indices by descending magnitude of weight; equal magnitudes keep their
/// order.
#[must_use]
pub fn by_magnitude(weights: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let magnitude = |index: &usize| weights.get(*index).map_or(0.0, |weight| weight.abs());
    order.sort_by(|a, b| magnitude(b).total_cmp(&magnitude(a)));
    order
}

/// Returns `most` of `count` indices, evenly spaced, including the first and the last. Returns all
/// if there are at most `most`.
pub(crate) fn evenly(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(most);
    (0..kept).map(move |index| if kept > 1 { index * (count - 1) / (kept - 1) } else { index })
}

/// Returns the name of the explained quantity, such as `score for yes`. The score decides; it is
/// also the probability, unless the model calibrates the probability separately.
#[must_use]
pub fn quantity(space: Space, outcome: &str) -> String {
    match space {
        Space::Probability => format!("score for {outcome}"),
        Space::LogOdds => format!("log-odds of {outcome}"),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn method_name<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.name())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn space_name<S: Serializer>(space: &Space, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(space.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_even_and_keeps_both_ends() {
        assert_eq!(evenly(3, 5).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(evenly(11, 3).collect::<Vec<_>>(), [0, 5, 10]);
        assert_eq!((evenly(9, 1).collect::<Vec<_>>(), evenly(0, 4).count()), (vec![0], 0));
        let many: Vec<usize> = evenly(20_000, 1_500).collect();
        assert_eq!((many.len(), many.last()), (1_500, Some(&19_999)));
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
