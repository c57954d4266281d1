//! What can go wrong, and where: small, `Copy`, with the numbers found and allowed.

use core::fmt;

pub use crate::frame::FrameError;

/// Why a blob was refused, and at which byte.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// What is wrong.
    pub kind: LoadErrorKind,
    /// Offset from the start of the blob, in bytes, of what is wrong.
    pub at: usize,
}

/// What is wrong with a blob.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The header does not fit the bytes.
    Frame(FrameError),
    /// Needs sections this reader does not know.
    UnsupportedSections {
        /// Flags of the mandatory sections that are unknown.
        flags: u16,
    },
    /// Does not start on a multiple of four in memory: embed it with `include_model!`, or copy its
    /// values with `load_into`.
    Misaligned,
    /// The target is big endian, the values are little endian: copy them with `load_into`.
    NotInPlace,
    /// The memory for the values is too small.
    MemoryTooSmall {
        /// Values it holds.
        found: usize,
        /// Values the blob has.
        expected: usize,
    },
    /// The weights are integers: load the blob with [`crate::integer::Model`].
    IntegerWeights,
    /// The weights are floats: load the blob with [`crate::Model`].
    FloatWeights,
    /// The section that says how integer weights are written is not three bytes of their ranges.
    InvalidFormat,
    /// The scale of a lane of integer weights is not within 1 and [`crate::integer::MAX_SCALE`].
    InvalidScale,
    /// Not the postcard encoding of what stands here.
    Malformed,
    /// Decodes, but not in its one shortest encoding.
    NotCanonical,
    /// More features than this build holds.
    TooManyFeatures {
        /// Features declared.
        found: usize,
        /// The build's `FEATURES`.
        capacity: usize,
    },
    /// More experts than this build holds.
    TooManyExperts {
        /// Experts declared.
        found: usize,
        /// The build's `EXPERTS`.
        capacity: usize,
    },
    /// No expert or no feature.
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
    /// A number of the calibration section is not finite, or out of range.
    InvalidCalibration,
    /// A number's standard deviation is not a normal f32 above 0, or a category's is not 0.
    InvalidDeviation {
        /// The feature.
        feature: usize,
    },
    /// A value of a background record is infinite, a NaN that is not the one for missing, or a code
    /// past the feature's levels.
    InvalidBackground {
        /// The record, from 0.
        record: usize,
        /// The feature.
        feature: usize,
    },
    /// Bin edges do not ascend.
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
    /// The weights' byte string is not as long as the description says.
    WrongWeightCount {
        /// Bytes there are.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A weight or edge is infinite or not a number.
    NotFinite,
    /// A padding byte or padding lane is not zero.
    PaddingNotZero,
    /// A weight, or the logits of some record, pass [`crate::limits::MAX_REACH`]: sums could
    /// overflow.
    LogitsTooLarge,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use LoadErrorKind as K;
        match self.kind {
            K::Frame(FrameError::WrongMagic { .. }) => {
                f.write_str("not a feamoe model: does not start with FEAM")?;
            }
            K::Frame(error @ FrameError::UnsupportedVersion { .. }) => write!(f, "{error}: export the model again")?,
            K::Frame(error @ FrameError::WrongChecksum { .. }) => write!(f, "{error}: the blob is damaged")?,
            K::Frame(error) => write!(f, "blob {error}")?,
            K::UnsupportedSections { flags } => {
                write!(f, "needs sections {flags:#06x} that this build does not know: update the engine")?;
            }
            K::Misaligned => f.write_str("blob is not aligned to 4 bytes in memory: embed it with include_model!")?,
            K::NotInPlace => {
                f.write_str("values cannot be used in place on a big-endian target: copy them (load_into)")?
            }
            K::MemoryTooSmall { found, expected } => {
                write!(f, "memory for {found} values, the blob has {expected} (see values_needed)")?;
            }
            K::IntegerWeights => f.write_str("weights are integers: load the blob with integer::Model")?,
            K::FloatWeights => {
                f.write_str("weights are floats: load the blob with Model, or export it again with --quantize")?;
            }
            K::InvalidFormat => f.write_str("integer weights of an unknown format")?,
            K::InvalidScale => f.write_str("the scale of a lane is out of range")?,
            K::Malformed => f.write_str("not the postcard encoding of a model")?,
            K::NotCanonical => f.write_str("not the shortest encoding")?,
            K::TooManyFeatures { found, capacity } => {
                write!(f, "blob needs {found} features, this build holds {capacity} (raise FEATURES)")?;
            }
            K::TooManyExperts { found, capacity } => {
                write!(f, "blob needs {found} experts, this build holds {capacity} (raise EXPERTS)")?;
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
                write!(f, "{found} bytes of weights and edges, the description needs {expected}")?;
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
    /// Names were stripped from the blob: use indices and codes.
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
    /// The code is past the feature's levels.
    LevelOutOfRange {
        /// The code given.
        found: u16,
        /// The feature's levels; codes are below it.
        levels: u16,
    },
    /// The category has no level of this name.
    UnknownLevel {
        /// The feature.
        feature: usize,
    },
    /// The number of values differs from the number of features.
    WrongValueCount {
        /// The values given.
        found: usize,
        /// The model's features.
        features: usize,
    },
    /// The blob has no such background record.
    NoBackgroundRow {
        /// The row asked for, from 0.
        found: usize,
        /// The records there are.
        rows: usize,
    },
    /// The record was made by another model: its values are of other features.
    OtherModel,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFeature => f.write_str("the model has no such feature"),
            Self::NamesStripped => f.write_str("the blob has no names: use feature indices and level codes"),
            Self::NotANumber { feature } => write!(f, "feature {feature} is a category, found a number"),
            Self::NotACategory { feature } => write!(f, "feature {feature} is a number, found a level"),
            Self::LevelOutOfRange { found, levels } => write!(f, "level {found}, the feature has {levels}"),
            Self::UnknownLevel { feature } => write!(f, "feature {feature} has no level of this name"),
            Self::WrongValueCount { found, features } => write!(f, "{found} values, the model has {features} features"),
            Self::NoBackgroundRow { found, rows } => write!(f, "background record {found}, the model has {rows}"),
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
    /// The record was made by another model: its terms would pick other rows.
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
    /// The record, or the background, was made by another model.
    OtherModel,
    /// The background has no records.
    EmptyBackground,
    /// The background's memory holds no more records.
    BackgroundFull {
        /// Records it holds.
        rows: usize,
    },
    /// A feature belongs to a player past the build's `FEATURES`.
    PlayerOutOfRange {
        /// The feature.
        feature: usize,
    },
    /// There are fewer players listed than the model has features.
    TooFewPlayers {
        /// The length of the list.
        found: usize,
        /// The model's features.
        features: usize,
    },
    /// The caller ended it.
    Stopped,
    /// More players differ from a background record than coalitions can be counted for: sample, or
    /// group features.
    TooManyPlayers {
        /// Players that differ.
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
            Self::BackgroundFull { rows } => write!(f, "the background's memory ends after {rows} records"),
            Self::PlayerOutOfRange { feature } => {
                write!(f, "feature {feature} belongs to a player past the build's FEATURES")
            }
            Self::TooFewPlayers { found, features } => {
                write!(f, "{found} players are listed, the model has {features} features")
            }
            Self::Stopped => f.write_str("stopped before every game was played"),
            Self::TooManyPlayers { found, limit } => {
                write!(
                    f,
                    "{found} features differ from a background record, exact values take at most {limit}: sample, or group features"
                )
            }
        }
    }
}

impl core::error::Error for ExplainError {}
