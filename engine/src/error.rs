//! Error types: small, `Copy`, with the position and the numbers found and allowed.

use core::fmt;

pub use crate::frame::FrameError;

/// Why a blob was refused, and the byte offset of the error.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// What is wrong.
    pub kind: LoadErrorKind,
    /// Byte offset of the error from the start of the blob.
    pub at: usize,
}

/// What is wrong with a blob.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The header does not fit the bytes.
    Frame(FrameError),
    /// The blob needs sections that this reader does not support.
    UnsupportedSections {
        /// Flags of the mandatory sections that are unknown.
        flags: u16,
    },
    /// The blob is not aligned to 4 bytes in memory: embed it with `include_model!`, or copy its
    /// values with `load_into`.
    Misaligned,
    /// The target is big endian but the values are little endian: copy them with `load_into`.
    NotInPlace,
    /// The memory for the values is too small.
    MemoryTooSmall {
        /// The number of values that it holds.
        found: usize,
        /// The number of values of the blob.
        expected: usize,
    },
    /// The weights are integers: load the blob with [`crate::integer::Model`].
    IntegerWeights,
    /// The weights are floats: load the blob with [`crate::Model`].
    FloatWeights,
    /// The section that describes the encoding of integer weights is invalid.
    InvalidFormat,
    /// The scale of a lane of integer weights is not between 1 and [`crate::integer::MAX_SCALE`].
    InvalidScale,
    /// The bytes are not the postcard encoding of the expected value.
    Malformed,
    /// The bytes decode, but are not the unique shortest encoding.
    NotCanonical,
    /// The blob has more features than this build supports.
    TooManyFeatures {
        /// Features declared.
        found: usize,
        /// The `FEATURES` of this build.
        capacity: usize,
    },
    /// The blob has more experts than this build supports.
    TooManyExperts {
        /// Experts declared.
        found: usize,
        /// The `EXPERTS` of this build.
        capacity: usize,
    },
    /// The blob has no expert or no feature.
    Empty,
    /// The decision threshold is not inside (0, 1).
    ThresholdOutOfRange,
    /// A feature's range is empty, not finite, or outside its transform.
    InvalidRange {
        /// The feature.
        feature: usize,
    },
    /// A feature has more bins or levels than the format allows.
    InvalidShape {
        /// The feature.
        feature: usize,
    },
    /// A number of the calibration section is not finite or is out of range.
    InvalidCalibration,
    /// The standard deviation of a number is not a normal f32 above 0, or that of a category is not
    /// 0.
    InvalidDeviation {
        /// The feature.
        feature: usize,
    },
    /// A value of a background record is infinite, is a NaN other than the one for missing, or is a
    /// code beyond the feature's levels.
    InvalidBackground {
        /// The record, from 0.
        record: usize,
        /// The feature.
        feature: usize,
    },
    /// The bin edges of a feature do not ascend.
    EdgesNotAscending {
        /// The feature.
        feature: usize,
    },
    /// Two features have the same name.
    DuplicateFeature,
    /// Two levels of a feature have the same name.
    DuplicateLevel {
        /// The feature.
        feature: usize,
    },
    /// The length of the values does not match the description.
    WrongWeightCount {
        /// The number of bytes found.
        found: usize,
        /// The number of bytes needed.
        expected: usize,
    },
    /// A weight or edge is infinite or not a number.
    NotFinite,
    /// A padding byte or padding lane is not zero.
    PaddingNotZero,
    /// A weight, or a logit of some record, may exceed [`crate::limits::MAX_REACH`], so that sums
    /// could overflow.
    LogitsTooLarge,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use LoadErrorKind as K;
        match self.kind {
            K::Frame(FrameError::WrongMagic { .. }) => {
                f.write_str("not a feamoe model: does not start with FEAM")?;
            }
            K::Frame(error @ FrameError::UnsupportedVersion { .. }) => write!(f, "{error}; export the model again")?,
            K::Frame(error @ FrameError::WrongChecksum { .. }) => write!(f, "{error}; the blob is damaged")?,
            K::Frame(error) => write!(f, "blob {error}")?,
            K::UnsupportedSections { flags } => {
                write!(f, "needs sections {flags:#06x}, which this build does not support; update the engine")?;
            }
            K::Misaligned => {
                f.write_str("the blob is not aligned to 4 bytes in memory; embed it with include_model!")?
            }
            K::NotInPlace => {
                f.write_str("the values cannot be used in place on a big-endian target; copy them with load_into")?
            }
            K::MemoryTooSmall { found, expected } => {
                write!(f, "the memory holds {found} values, but the blob has {expected} (see values_needed)")?;
            }
            K::IntegerWeights => f.write_str("the weights are integers; load the blob with integer::Model")?,
            K::FloatWeights => {
                f.write_str("the weights are floats; load the blob with Model, or export it again with --quantize")?;
            }
            K::InvalidFormat => f.write_str("the encoding of the integer weights is invalid")?,
            K::InvalidScale => f.write_str("the scale of a lane is out of range")?,
            K::Malformed => f.write_str("not the postcard encoding of a model")?,
            K::NotCanonical => f.write_str("not the shortest encoding")?,
            K::TooManyFeatures { found, capacity } => {
                write!(f, "the blob needs {found} features, but this build supports {capacity} (raise FEATURES)")?;
            }
            K::TooManyExperts { found, capacity } => {
                write!(f, "the blob needs {found} experts, but this build supports {capacity} (raise EXPERTS)")?;
            }
            K::Empty => f.write_str("a model needs at least one feature and one expert")?,
            K::ThresholdOutOfRange => f.write_str("threshold is not inside (0, 1)")?,
            K::InvalidRange { feature } => write!(f, "feature {feature}: its range is empty or not finite")?,
            K::InvalidShape { feature } => write!(f, "feature {feature}: too many bins or levels")?,
            K::InvalidCalibration => write!(f, "a number of the calibration is out of range")?,
            K::InvalidDeviation { feature } => write!(f, "feature {feature}: its standard deviation is out of range")?,
            K::InvalidBackground { record, feature } => {
                write!(f, "background record {record}, feature {feature}: not a value of the feature")?;
            }
            K::EdgesNotAscending { feature } => write!(f, "feature {feature}: its bin edges do not ascend")?,
            K::DuplicateFeature => f.write_str("two features have the same name")?,
            K::DuplicateLevel { feature } => write!(f, "feature {feature}: two of its levels have the same name")?,
            K::WrongWeightCount { found, expected } => {
                write!(f, "found {found} bytes of weights and edges, but the description needs {expected}")?;
            }
            K::NotFinite => f.write_str("a weight or edge is not finite")?,
            K::PaddingNotZero => f.write_str("padding is not zero")?,
            K::LogitsTooLarge => f.write_str("weights or ranges are so large that sums could overflow")?,
        }
        write!(f, " (at byte {})", self.at)
    }
}

impl core::error::Error for LoadError {}

/// Why a value could not be set in a record.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The model has no such feature.
    UnknownFeature,
    /// The blob has no names: use indices and codes.
    NamesStripped,
    /// A number was given for a category.
    NotANumber {
        /// The feature.
        feature: usize,
    },
    /// A level was given for a number.
    NotACategory {
        /// The feature.
        feature: usize,
    },
    /// The code is not below the number of levels.
    LevelOutOfRange {
        /// The code that was given.
        found: u16,
        /// The number of levels; codes are below it.
        levels: u16,
    },
    /// The category has no level of this name.
    UnknownLevel {
        /// The feature.
        feature: usize,
    },
    /// The number of values differs from the number of features.
    WrongValueCount {
        /// The number of values given.
        found: usize,
        /// The number of features of the model.
        features: usize,
    },
    /// The blob has no such background record.
    NoBackgroundRow {
        /// The number of the record asked for, from 0.
        found: usize,
        /// The number of background records.
        rows: usize,
    },
    /// The record was created by another model, so its values belong to other features.
    OtherModel,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFeature => f.write_str("the model has no such feature"),
            Self::NamesStripped => f.write_str("the blob has no names; use feature indices and level codes"),
            Self::NotANumber { feature } => write!(f, "feature {feature} is a category, found a number"),
            Self::NotACategory { feature } => write!(f, "feature {feature} is a number, found a level"),
            Self::LevelOutOfRange { found, levels } => {
                write!(f, "found level code {found}, but the feature has {levels} levels")
            }
            Self::UnknownLevel { feature } => write!(f, "feature {feature} has no level of this name"),
            Self::WrongValueCount { found, features } => {
                write!(f, "found {found} values, but the model has {features} features")
            }
            Self::NoBackgroundRow { found, rows } => {
                write!(f, "asked for background record {found}, but the model has {rows}")
            }
            Self::OtherModel => f.write_str("the record belongs to another model"),
        }
    }
}

impl core::error::Error for RecordError {}

/// Why a record could not be scored or explained.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PredictError {
    /// The record was created by another model, so its terms would select wrong weight rows.
    OtherModel,
}

impl fmt::Display for PredictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherModel => f.write_str("the record belongs to another model"),
        }
    }
}

impl core::error::Error for PredictError {}

/// Why a record could not be explained against a background.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExplainError {
    /// The record or the background was created by another model.
    OtherModel,
    /// The background has no records.
    EmptyBackground,
    /// The memory of the background is full.
    BackgroundFull {
        /// The number of records that it holds.
        rows: usize,
    },
    /// A feature belongs to a player that is not below the `FEATURES` of this build.
    PlayerOutOfRange {
        /// The feature.
        feature: usize,
    },
    /// The list of players is shorter than the number of features.
    TooFewPlayers {
        /// The length of the list.
        found: usize,
        /// The number of features of the model.
        features: usize,
    },
    /// The caller stopped the computation.
    Stopped,
    /// Too many players differ from a background record for exact values: use sampling, or group
    /// features.
    TooManyPlayers {
        /// The number of players that differ.
        found: usize,
        /// The limit, [`crate::attribution::MAX_PLAYERS`].
        limit: usize,
    },
}

impl From<PredictError> for ExplainError {
    fn from(error: PredictError) -> Self {
        match error {
            PredictError::OtherModel => Self::OtherModel,
        }
    }
}

impl fmt::Display for ExplainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherModel => f.write_str("the record or the background belongs to another model"),
            Self::EmptyBackground => f.write_str("the background has no records"),
            Self::BackgroundFull { rows } => write!(f, "the memory of the background holds only {rows} records"),
            Self::PlayerOutOfRange { feature } => {
                write!(f, "feature {feature} belongs to a player beyond the FEATURES of this build")
            }
            Self::TooFewPlayers { found, features } => {
                write!(f, "{found} players are listed, but the model has {features} features")
            }
            Self::Stopped => f.write_str("stopped before all coalitions were evaluated"),
            Self::TooManyPlayers { found, limit } => {
                write!(
                    f,
                    "{found} features differ from a background record, but exact values allow at most {limit}; use sampling, or group features"
                )
            }
        }
    }
}

impl core::error::Error for ExplainError {}
