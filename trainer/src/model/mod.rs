//! Model files on the host: their bytes in memory, aligned as the engine needs them, and the
//! capacity of this build.
//!
//! These functions convert model files without a learner: [`device_copy`] removes what a device
//! does not need, [`quantize()`] converts the weights to integers, [`delta()`] encodes a model as
//! the changes from another one, [`fewer_experts`] merges experts, [`constants()`] writes source
//! code, and `onnx` (feature `onnx`) writes a model for other runtimes. [`mod@costs`] predicts the
//! costs of a model on a microcontroller.

mod blob;
pub mod card;
mod constants;
pub mod costs;
mod delta;
mod device;
mod fewer;
mod merger;
#[cfg(feature = "onnx")]
mod onnx;
mod owned;
mod parts;
mod quantize;
#[cfg(feature = "sign")]
mod sign;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use feamoe_engine::Value;
use feamoe_engine::attribution::{Background, Workspace};
use feamoe_engine::format::{Blob, HEADER_BYTES, Provenance, Weights};
use feamoe_engine::limits::{MAX_BLOB_BYTES, MAX_EXPERTS};
use feamoe_engine::recourse::{Answer, Rules};
use feamoe_engine::schema::Note;
use feamoe_engine::{
    Attribution, FeatureIndex, LoadError, Method, Model, PredictError, Record, RecordError, Recourse, Schema, Score,
    Scored, Space, Values, integer,
};

pub use blob::{Content, EncodeError, FeatureContent};
pub use constants::{ConstantsError, Language, constants};
pub use delta::{DeltaError, delta};
pub use device::{DeviceError, device_copy, with_threshold};
pub use fewer::{FewerError, fewer_experts};
pub(crate) use merger::Merger;
#[cfg(feature = "onnx")]
pub use onnx::{OnnxError, onnx};
pub use owned::{Loaded, OwnedModel};
pub(crate) use parts::{inverse, parts};
pub use quantize::{DequantizeError, QuantizeError, Width, dequantize, quantize};

#[cfg(feature = "sign")]
pub use sign::{SignError, schema_sha256, sign};

use crate::error::Error;

/// Maximum number of features of a model on the host.
pub const FEATURES: usize = 512;
/// Maximum number of experts of a model on the host: as many as the format allows.
pub const EXPERTS: usize = MAX_EXPERTS;

/// A model of the host's capacity.
pub type HostModel<'a> = Model<'a, FEATURES, EXPERTS>;
/// A record of a [`HostModel`].
pub type HostRecord<'m> = Record<'m, FEATURES>;
/// A score of a [`HostModel`].
pub type HostScore = Score<EXPERTS>;
/// A model of the host's capacity with integer weights.
pub type HostIntegerModel<'a> = integer::Model<'a, FEATURES, EXPERTS>;
/// A record of a [`HostIntegerModel`].
pub type HostIntegerRecord<'m> = integer::Record<'m, FEATURES>;
/// Background records of a [`HostModel`].
pub type HostBackground<'m> = Background<'m, FEATURES>;
/// The working memory for its Shapley values.
pub type HostWorkspace = Workspace<FEATURES, EXPERTS>;
/// An attribution of a [`HostModel`].
pub type HostAttribution = Attribution<FEATURES, EXPERTS>;

/// The recourse of a record of a [`HostModel`].
pub type HostRecourse = Recourse<FEATURES>;
/// The rules of such a recourse.
pub type HostRules = Rules<FEATURES>;
/// One of several answers of such a recourse.
pub type HostAnswer = Answer<FEATURES>;

/// A model with float or integer weights.
///
/// The engine's [`feamoe_engine::Scorer`] is for code that is compiled for one kind of weights; a
/// command learns the kind only from the file. Every such choice is made here once, not in each
/// command.
#[derive(Clone, Copy, Debug)]
pub enum AnyModel<'m> {
    /// A model with float weights.
    Float(&'m HostModel<'m>),
    /// A model with integer weights.
    Integer {
        /// The model.
        model: &'m HostIntegerModel<'m>,
        /// The float model that its weights represent, if explanations need it: see
        /// [`crate::model::dequantize`].
        floats: Option<&'m HostModel<'m>>,
    },
}

/// Methods that both models have under the same name.
macro_rules! of_either {
    ($($(#[$doc:meta])* $name:ident: $returned:ty,)*) => {
        impl<'m> AnyModel<'m> {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(self) -> $returned {
                    match self {
                        Self::Float(model) => model.$name(),
                        Self::Integer { model, .. } => model.$name(),
                    }
                }
            )*
        }
    };
}

of_either! {
    /// Returns the features: kinds, names, levels.
    schema: Schema<'m>,
    /// Returns the number of experts.
    experts: usize,
    /// Returns the decision threshold.
    threshold: f32,
    /// Returns the origin of the model.
    provenance: &'m Provenance,
    /// Returns the blob's checksum.
    crc32: u32,
    /// Returns the length of the blob, in bytes.
    blob_bytes: usize,
}

impl<'m> AnyModel<'m> {
    /// Returns the float model: the model itself, or the one that its integer weights represent, if
    /// it was made.
    #[must_use]
    pub fn floats(self) -> Option<&'m HostModel<'m>> {
        match self {
            Self::Float(model) => Some(model),
            Self::Integer { floats, .. } => floats,
        }
    }

    /// Returns the value of a feature in each background record; empty without a background, or if
    /// there are only integer weights.
    #[must_use]
    pub fn background_values(self, feature: usize) -> Vec<Value> {
        let Some(model) = self.floats() else { return Vec::new() };
        (0..model.background_rows()).filter_map(|row| model.background_values(row)?.nth(feature)).collect()
    }

    /// Returns the distinct numbers of a feature in the background records, in ascending order;
    /// empty without a background, for a category, or if there are only integer weights.
    #[must_use]
    pub fn background_numbers(self, feature: usize) -> Vec<f32> {
        let values = self.background_values(feature).into_iter();
        let mut numbers: Vec<f32> = values
            .filter_map(|value| match value {
                Value::Number(number) => Some(number),
                Value::Level(_) | Value::Unseen | Value::Missing => None,
            })
            .collect();
        numbers.sort_unstable_by(f32::total_cmp);
        numbers.dedup();
        numbers
    }

    /// Returns a record of this model with every value missing.
    #[must_use]
    #[inline]
    pub fn record(self) -> AnyRecord<'m> {
        match self {
            Self::Float(model) => AnyRecord::Float(model.record()),
            Self::Integer { model, floats } => {
                AnyRecord::Integer { record: model.record(), floats: floats.map(Model::record) }
            }
        }
    }

    /// Explains a record with [`Method::Frozen`], using the kernel for its weights; the values are
    /// floats.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`].
    pub fn frozen_into(self, record: &AnyRecord<'_>, attribution: &mut HostAttribution) -> Result<(), PredictError> {
        match (self, record) {
            (Self::Float(model), AnyRecord::Float(record)) => model.frozen_into(record, attribution),
            (Self::Integer { model, .. }, AnyRecord::Integer { record, .. }) => frozen_into(model, record, attribution),
            _ => Err(PredictError::OtherModel),
        }
    }

    /// Returns whether the model has calibrated probabilities besides its scores; never with
    /// integer weights.
    #[must_use]
    pub fn is_calibrated(self) -> bool {
        matches!(self, Self::Float(model) if model.is_calibrated())
    }

    /// Returns the calibrated probability of a record that was scored. It is the score itself if
    /// the model is not calibrated.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`].
    pub fn calibrated(self, record: &AnyRecord<'_>, score: &HostScore) -> Result<f32, PredictError> {
        match (self, record) {
            (Self::Float(model), AnyRecord::Float(record)) => model.calibrated(record, score),
            _ => Ok(score.probability),
        }
    }

    /// Scores a record with the kernel for its weights.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`].
    pub fn score(self, record: &AnyRecord<'_>) -> Result<HostScore, PredictError> {
        match (self, record) {
            (Self::Float(model), AnyRecord::Float(record)) => model.score(record),
            (Self::Integer { model, .. }, AnyRecord::Integer { record, .. }) => {
                model.score(record).map(|score| in_floats(&score))
            }
            _ => Err(PredictError::OtherModel),
        }
    }
}

/// A record of an [`AnyModel`].
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // both take a few kilobytes
pub enum AnyRecord<'m> {
    /// A model with float weights.
    Float(HostRecord<'m>),
    /// A model with integer weights.
    Integer {
        /// The record.
        record: HostIntegerRecord<'m>,
        /// The same values as a record of the float model, if there is one.
        floats: Option<HostRecord<'m>>,
    },
}

impl AnyRecord<'_> {
    /// Sets one value.
    ///
    /// # Errors
    /// The same as [`Record::set_value`].
    pub fn set_value(&mut self, key: FeatureIndex, value: Value) -> Result<Note, RecordError> {
        match self {
            Self::Float(record) => record.set_value(key, value),
            Self::Integer { record, floats } => {
                if let Some(floats) = floats {
                    _ = floats.set_value(key, value)?;
                }
                record.set_value(key, value)
            }
        }
    }

    /// Makes every value missing again.
    pub fn clear(&mut self) {
        match self {
            Self::Float(record) => record.clear(),
            Self::Integer { record, floats } => {
                record.clear();
                if let Some(floats) = floats {
                    floats.clear();
                }
            }
        }
    }

    /// Returns the note on each feature's value, in the order of the features.
    pub fn notes(&self) -> &[Note] {
        match self {
            Self::Float(record) => record.notes(),
            Self::Integer { record, .. } => record.notes(),
        }
    }
}

/// A record whose values a row can set.
pub trait Fill {
    /// Sets one value.
    ///
    /// # Errors
    /// The same as [`Record::set_value`].
    fn fill(&mut self, key: FeatureIndex, value: Value) -> Result<Note, RecordError>;

    /// Sets every value, in the order of the features.
    ///
    /// # Errors
    /// The same as [`Record::set_all`].
    fn fill_all(&mut self, values: &[Value]) -> Result<(), RecordError>;
}

impl<R: Values> Fill for R {
    #[inline]
    fn fill(&mut self, key: FeatureIndex, value: Value) -> Result<Note, RecordError> {
        self.set_value(key, value)
    }

    #[inline]
    fn fill_all(&mut self, values: &[Value]) -> Result<(), RecordError> {
        self.set_all(values)
    }
}

/// Checks that a blob loads on the host, whatever the type of its weights.
///
/// # Errors
/// Those of the engine's reader.
pub fn check(bytes: &AlignedBytes) -> Result<(), LoadError> {
    match Blob::new(bytes.as_slice())?.weights() {
        Weights::F32(_) => check_floats(bytes),
        Weights::I16(_) | Weights::I8(_) => HostIntegerModel::load(bytes.as_slice()).map(|_| ()),
    }
}

/// Checks that a blob of float weights loads on the host. It loads a copy, which works on any
/// machine.
///
/// # Errors
/// Those of the engine's reader.
pub(crate) fn check_floats(bytes: &AlignedBytes) -> Result<(), LoadError> {
    let bytes = bytes.as_slice();
    HostModel::load_into(bytes, &mut vec![0.0; bytes.len() / size_of::<f32>()]).map(|_| ())
}

impl Fill for AnyRecord<'_> {
    fn fill(&mut self, key: FeatureIndex, value: Value) -> Result<Note, RecordError> {
        self.set_value(key, value)
    }

    fn fill_all(&mut self, values: &[Value]) -> Result<(), RecordError> {
        match self {
            Self::Float(record) => record.set_all(values),
            Self::Integer { record, floats } => {
                if let Some(floats) = floats {
                    floats.set_all(values)?;
                }
                record.set_all(values)
            }
        }
    }
}

/// Converts a score of integers to floats.
pub(crate) fn in_floats(score: &integer::Score<EXPERTS>) -> HostScore {
    let mut floats = HostScore::new();
    floats.probability = Scored::probability(score);
    floats.decision = score.decision;
    floats.gate = std::array::from_fn(|expert| Scored::gate(score, expert));
    floats.expert_probabilities = std::array::from_fn(|expert| score.expert_probability(expert));
    (floats.missing, floats.clamped, floats.unseen) = (score.missing, score.clamped, score.unseen);
    floats
}

/// Explains a record of integer weights with [`Method::Frozen`], in floats.
///
/// # Errors
/// [`PredictError::OtherModel`].
#[allow(clippy::cast_possible_truncation)] // 2^-16 in an f32: exact up to 256, past it to 24 bits
pub(crate) fn frozen_into(
    model: &HostIntegerModel<'_>,
    record: &HostIntegerRecord<'_>,
    attribution: &mut HostAttribution,
) -> Result<(), PredictError> {
    let mut integers = integer::Attribution::new();
    model.frozen_into(record, &mut integers)?;
    let log_odds = |value: i32| (f64::from(value) / 65536.0) as f32;
    *attribution = HostAttribution::new();
    (attribution.method, attribution.space) = (Method::Frozen, Space::LogOdds);
    attribution.score = in_floats(&integers.score);
    (attribution.base_value, attribution.output) = (log_odds(integers.base_value), log_odds(integers.output));
    attribution.values = integers.values.map(log_odds);
    Ok(())
}

/// Bytes at an address that is a multiple of 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignedBytes {
    words: Vec<u32>,
    length: usize,
}

impl AlignedBytes {
    /// Copies bytes to an aligned place.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0_u32; bytes.len().div_ceil(4)];
        for (to, from) in bytemuck::cast_slice_mut::<u32, u8>(&mut words).iter_mut().zip(bytes) {
            *to = *from;
        }
        Self { words, length: bytes.len() }
    }

    /// Reads a whole file. If it is too long for a blob, reads only enough of it to show that.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        const MOST: u64 = (MAX_BLOB_BYTES + HEADER_BYTES) as u64 + 1;
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        read.map_err(|source| Error::Read { file: path.display().to_string(), source })?;
        Ok(Self::new(&bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let bytes = bytemuck::cast_slice::<u32, u8>(&self.words);
        bytes.get(..self.length).unwrap_or(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_byte_whatever_the_length() {
        for length in 0..9 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(AlignedBytes::new(&bytes).as_slice(), bytes);
        }
    }
}
