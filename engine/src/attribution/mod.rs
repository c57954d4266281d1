//! Explanations: the contribution of each raw feature to the score, computed from the same weight
//! rows as the score.
//!
//! Weight rows are centred on the training mean, so the terms of a feature *are* its contribution
//! `c_j` to each of the 2K logits, and the bias is the logits of the mean record. Every method is
//! based on this:
//!
//! | method | explains | against | space | cost |
//! | --- | --- | --- | --- | --- |
//! | [`Method::Exact`] | the score (Shapley) | background records | either | `2^d` coalitions |
//! | [`Method::Sampled`] | the same, estimated | background records | either | until accurate |
//! | [`Method::Path`] | the score, gate included | mean record | probability | a few scores |
//! | [`Method::Frozen`] | the same, gate fixed | mean record | log-odds | a dot product per term |
//!
//! `exact` evaluates `2^d` coalitions per background record, for `d` features that differ.
//! `sampled` stops at a tolerance and gives standard errors. Both work in probability or log-odds.
//! `path` follows the straight line of the logits (Aumann-Shapley). `frozen` is Theorem 1 of
//! FEAMOE.
//!
//! `frozen` is exact only for its own game and ignores the effect of the gate: linearity of Shapley
//! values needs weights that do not depend on the record. [`Attribution::gate_share`] shows how
//! much the gate matters for a record; above a tenth, `frozen` misleads.
//!
//! ```
//! use feamoe_engine::attribution::{Background, Game, Workspace};
//! use feamoe_engine::mixture::Term;
//! use feamoe_engine::{Attribution, Model};
//!
//! static MODEL: &[u8] = feamoe_engine::include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.feamoe"));
//! static WORKSPACE: std::sync::Mutex<Workspace<16, 12>> = std::sync::Mutex::new(Workspace::new()); // a `static` cell of your device
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model: Model<16, 12> = Model::load(MODEL)?;
//! let mut record = model.record();
//! record.set_number("age", 30.0)?;
//! let mut terms = [Term::default(); 16]; // one reference record; without its factors, which are then computed as needed
//! let mut background = Background::new(&model, &mut terms, &mut []);
//! background.push(&model, &record)?;
//! record.set_number("age", 52.0)?;
//! record.set_category("occupation", "Sales")?;
//! let mut why = Attribution::new();
//! let mut workspace = WORKSPACE.lock().map_err(|_| "poisoned")?;
//! model.exact_into(&record, &background, &Game::default(), &mut workspace, &mut why)?;
//! assert!((why.base_value + why.values.iter().sum::<f32>() - why.score.probability).abs() < 1e-6);
//! assert_eq!(why.evaluations, 4); // two features differ
//! # Ok(())
//! # }
//! ```
//!
//! All methods satisfy `base_value + sum(values) + residual = output`; the residual is reported,
//! never distributed.

mod background;
mod contribution;
mod exact;
mod factors;
mod frozen;
mod path;
mod project;
mod sampled;
// Public for the trainer, which also compiles the kernel for AVX2; not part of the interface.
#[doc(hidden)]
pub mod tile;
mod walk;
mod workspace;

pub use background::Background;
pub use exact::{Cost, Game, MAX_PLAYERS};
pub use path::{MAX_PANELS, NODE_TOLERANCE, TOLERANCE};
pub use sampled::Sampling;
pub use workspace::Workspace;

use crate::error::PredictError;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::model::{Model, Score};
use crate::record::Record;

/// The method of an explanation.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// With the gate held fixed at this record (Theorem 1 of the paper), in log-odds.
    Frozen,
    /// Along the straight path from the mean record, in probability.
    #[default]
    Path,
    /// Shapley values of the score against background records, every coalition evaluated.
    Exact,
    /// The same, estimated from random orders of the features.
    Sampled,
}

impl Method {
    /// The name used in flags and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Path => "path",
            Self::Exact => "exact",
            Self::Sampled => "sampled",
        }
    }
}

/// The space in which the values add up.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Space {
    /// Natural log-odds: those of p for `exact` and `sampled`; those of the experts, averaged by
    /// the gate, for `frozen`.
    LogOdds,
    /// Probability.
    #[default]
    Probability,
}

impl Space {
    /// The name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogOdds => "log-odds",
            Self::Probability => "probability",
        }
    }
}

/// The explanation of a score: one value per raw feature, or per player if features are grouped.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attribution<const FEATURES: usize, const EXPERTS: usize> {
    /// The method.
    pub method: Method,
    /// The space of the values.
    pub space: Space,
    /// The score that is explained.
    pub score: Score<EXPERTS>,
    /// The base value: the value of the mean record, or the mean over the background records.
    pub base_value: f32,
    /// The sum of base, values and residual: p or its log-odds; `sum_k g_k z_k` for `frozen`. For
    /// `exact` and `sampled` with a model that is not [bounded](Model::bounded), p is computed from
    /// f64 sums and may differ from the score by about 1e-6.
    pub output: f32,
    /// `output - base_value - sum(values)`.
    pub residual: f32,
    /// Share of the path's attribution that runs through the gate, in [0, 1]; `None` for `frozen`,
    /// which holds the gate fixed.
    pub gate_share: Option<f32>,
    /// One value per feature, expert and gate channel together; 0 beyond the model's features.
    pub values: [f32; FEATURES],
    /// For `path`, the part of each value that runs through the gate; 0 for the others.
    pub gate_values: [f32; FEATURES],
    /// For `sampled`, the standard error of each value for this background; 0 for the others.
    pub standard_errors: [f32; FEATURES],
    /// The background records, for `exact` and `sampled`.
    pub background: Option<BackgroundId>,
    /// For `exact`, the coalitions, for `sampled`, the points at which the mixture was evaluated; 0
    /// for the others.
    pub evaluations: u64,
}

/// Values are sequences of `FEATURES` numbers, method and space are their names.
impl<const FEATURES: usize, const EXPERTS: usize> Serialize for Attribution<FEATURES, EXPERTS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Attribution", 11)?;
        fields.serialize_field("method", self.method.name())?;
        fields.serialize_field("space", self.space.name())?;
        fields.serialize_field("score", &self.score)?;
        fields.serialize_field("base_value", &self.base_value)?;
        fields.serialize_field("output", &self.output)?;
        fields.serialize_field("residual", &self.residual)?;
        fields.serialize_field("gate_share", &self.gate_share)?;
        fields.serialize_field("values", self.values.as_slice())?;
        fields.serialize_field("gate_values", self.gate_values.as_slice())?;
        fields.serialize_field("standard_errors", self.standard_errors.as_slice())?;
        fields.serialize_field("evaluations", &self.evaluations)?;
        fields.end()
    }
}

/// Identifies the background records of an explanation.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundId {
    /// Their number.
    pub rows: u32,
    /// CRC-32 of the records as the model reads them; it depends on their order.
    pub hash: u32,
}

impl<const FEATURES: usize, const EXPERTS: usize> Attribution<FEATURES, EXPERTS> {
    /// Returns an empty attribution. This is `const`, so that an attribution can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            method: Method::Path,
            space: Space::Probability,
            score: Score::new(),
            base_value: 0.0,
            output: 0.0,
            residual: 0.0,
            gate_share: None,
            values: [0.0; FEATURES],
            gate_values: [0.0; FEATURES],
            standard_errors: [0.0; FEATURES],
            background: None,
            evaluations: 0,
        }
    }

    /// Sets the output, the base, the values and the residual.
    fn finish(&mut self, output: f64, base: f64, values: impl Iterator<Item = f64>) {
        #[allow(clippy::cast_possible_truncation)] // rounded to what is reported
        let rounded = |value: f64| value as f32;
        let mut sum = f64::from(rounded(base));
        for (to, value) in self.values.iter_mut().zip(values) {
            *to = rounded(value);
            sum += f64::from(*to);
        }
        self.base_value = rounded(base);
        self.output = rounded(output);
        self.residual = rounded(f64::from(self.output) - sum);
    }

    /// Clears everything except the score; the memory may hold the values of a larger model.
    fn start(&mut self, method: Method, space: Space) {
        (self.method, self.space) = (method, space);
        (self.gate_share, self.background, self.evaluations) = (None, None, 0);
        for values in [&mut self.values, &mut self.gate_values, &mut self.standard_errors] {
            values.fill(0.0);
        }
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Default for Attribution<FEATURES, EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Explains a record by [`Method::Path`], the device's default.
    ///
    /// # Errors
    /// The same as [`Model::score`].
    pub fn explain(&self, record: &Record<'_, FEATURES>) -> Result<Attribution<FEATURES, EXPERTS>, PredictError> {
        let mut attribution = Attribution::new();
        self.path_into(record, &mut attribution)?;
        Ok(attribution)
    }
}
