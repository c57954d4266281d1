//! The status that functions return, and its conversion from the engine's errors.

use core::ffi::CStr;

use feamoe_engine::error::{FrameError as F, LoadErrorKind};
use feamoe_engine::monitor::{MonitorError, RestoreError};
use feamoe_engine::{ExplainError, LoadError, PredictError, RecordError};

/// The result of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// A pointer is null.
    NullPointer = 1,
    /// A pointer is not aligned for what it points to.
    Misaligned = 2,
    /// The memory has another size than the library's: it was compiled with another feamoe.h.
    WrongSize = 3,
    /// The memory holds no loaded model or no record of one; or it was moved.
    NotInitialised = 4,
    /// The array is too short.
    TooShort = 5,
    /// A name is not UTF-8.
    NotUtf8 = 6,
    /// A number is not one of the choices.
    NoSuchChoice = 7,
    /// The number of values differs from the number of features.
    WrongCount = 8,
    /// The caller's function stopped the work.
    Stopped = 9,
    /// The file is shorter or longer than it declares, or larger than the format allows.
    BlobWrongLength = 10,
    /// Not a feamoe model.
    BlobWrongMagic = 11,
    /// The format version or a section is not supported by this library.
    BlobUnsupported = 12,
    /// The checksum does not match.
    BlobDamaged = 13,
    /// The blob is not aligned to 4 bytes in memory.
    BlobMisaligned = 14,
    /// The model has more features than FEAMOE_FEATURES.
    BlobTooManyFeatures = 15,
    /// The model has more experts than FEAMOE_EXPERTS.
    BlobTooManyExperts = 16,
    /// The checksum is correct, but the content is not a model that this library can use.
    BlobInvalid = 17,
    /// The weights are integers where floats are expected, or vice versa.
    BlobOtherWeights = 18,
    /// The model has no such feature.
    UnknownFeature = 20,
    /// The feature has no such level.
    UnknownLevel = 21,
    /// The blob has no names.
    NamesStripped = 22,
    /// A number was given for a category.
    NotANumber = 23,
    /// A level was given for a number.
    NotACategory = 24,
    /// The code is not below the number of levels.
    LevelOutOfRange = 25,
    /// The record belongs to another model than the one that is loaded now.
    OtherModel = 26,
    /// There is no background record.
    BackgroundEmpty = 30,
    /// There are more background records than FEAMOE_BACKGROUND.
    BackgroundFull = 31,
    /// Too many features differ from a background record for exact values.
    TooManyPlayers = 32,
    /// A rule has an empty range, or a step, cost or margin out of range.
    RuleInvalid = 33,
    /// The monitor was not started.
    NotStarted = 40,
    /// The group is not below FEAMOE_GROUPS.
    GroupOutOfRange = 41,
    /// The score is not in [0, 1].
    NotAProbability = 42,
    /// Only a declined record has a distance to a favourable decision.
    NotDeclined = 43,
    /// The distance is below 0 or above 65535.
    NotADistance = 44,
    /// The token is damaged.
    TokenInvalid = 45,
    /// The state is damaged, or of another monitor.
    StateInvalid = 46,
    /// Neither slot holds a model that this library can use.
    NoModel = 50,
    /// The slot is too short for the model.
    SlotTooShort = 51,
    /// The update has not received or written all its bytes.
    Incomplete = 52,
    /// The slot's header is damaged.
    SlotInvalid = 53,
    /// The delta is damaged, or made for another model, or its model does not fit.
    DeltaRefused = 54,
    /// The slot has no model: it is erased, or writing was interrupted.
    SlotEmpty = 55,
    /// The model was tried and not confirmed.
    NotConfirmed = 56,
    /// The model is not signed.
    NotSigned = 60,
    /// The model's signature section is not one that the format allows.
    SignatureInvalid = 61,
    /// The model is signed for another line of models.
    OtherLine = 62,
    /// The model is signed by a key that is not trusted.
    OtherKey = 63,
    /// The model is signed for other features, names or levels.
    OtherSchema = 64,
    /// The version of the model is lower than accepted.
    OlderVersion = 65,
    /// The signature is wrong: the model was changed, or the key did not sign it.
    WrongSignature = 66,
    /// Another error: the engine is newer than this interface.
    Unknown = 99,
}

impl Status {
    /// Every status, for [`Status::of_code`].
    const ALL: [Self; 52] = [
        Self::Ok,
        Self::NullPointer,
        Self::Misaligned,
        Self::WrongSize,
        Self::NotInitialised,
        Self::TooShort,
        Self::NotUtf8,
        Self::NoSuchChoice,
        Self::WrongCount,
        Self::Stopped,
        Self::BlobWrongLength,
        Self::BlobWrongMagic,
        Self::BlobUnsupported,
        Self::BlobDamaged,
        Self::BlobMisaligned,
        Self::BlobTooManyFeatures,
        Self::BlobTooManyExperts,
        Self::BlobInvalid,
        Self::BlobOtherWeights,
        Self::UnknownFeature,
        Self::UnknownLevel,
        Self::NamesStripped,
        Self::NotANumber,
        Self::NotACategory,
        Self::LevelOutOfRange,
        Self::OtherModel,
        Self::BackgroundEmpty,
        Self::BackgroundFull,
        Self::TooManyPlayers,
        Self::RuleInvalid,
        Self::NotStarted,
        Self::GroupOutOfRange,
        Self::NotAProbability,
        Self::NotDeclined,
        Self::NotADistance,
        Self::TokenInvalid,
        Self::StateInvalid,
        Self::NoModel,
        Self::SlotTooShort,
        Self::Incomplete,
        Self::SlotInvalid,
        Self::DeltaRefused,
        Self::SlotEmpty,
        Self::NotConfirmed,
        Self::NotSigned,
        Self::SignatureInvalid,
        Self::OtherLine,
        Self::OtherKey,
        Self::OtherSchema,
        Self::OlderVersion,
        Self::WrongSignature,
        Self::Unknown,
    ];

    /// Returns the status for a number from C, where an enum may hold any number.
    pub fn of_code(code: i32) -> Self {
        Self::ALL.into_iter().find(|status| *status as i32 == code).unwrap_or(Self::Unknown)
    }

    /// Returns what a status means and what to do.
    pub const fn message(self) -> &'static CStr {
        match self {
            Self::Ok => c"done",
            Self::NullPointer => c"a pointer is null",
            Self::Misaligned => c"a pointer is not aligned for what it points to",
            Self::WrongSize => {
                c"the memory has another size than the library's: compile with the feamoe.h of this library and pass sizeof"
            }
            Self::NotInitialised => {
                c"there is no loaded model, or no record of one, here; load or initialise it in place, and do not copy it"
            }
            Self::TooShort => c"the array is too short",
            Self::NotUtf8 => c"the name is not UTF-8",
            Self::NoSuchChoice => c"the number is not one of the choices in feamoe.h",
            Self::WrongCount => c"there are not as many values as the model has features",
            Self::Stopped => c"ended by the caller's function",
            Self::BlobWrongLength => c"the model's file is shorter or longer than it says: copy all of it",
            Self::BlobWrongMagic => c"not a feamoe model: does not start with FEAM",
            Self::BlobUnsupported => c"the model's format is newer than this library: update the library, or export it again",
            Self::BlobDamaged => c"the model's checksum does not match: the file is damaged",
            Self::BlobMisaligned => c"the model is not at a multiple of 4 in memory: align it",
            Self::BlobTooManyFeatures => c"the model has more features than FEAMOE_FEATURES: raise it where library and program are built",
            Self::BlobTooManyExperts => c"the model has more experts than FEAMOE_EXPERTS: raise it where library and program are built",
            Self::BlobInvalid => c"the file's checksum is right, but it is no model that this library can use",
            Self::BlobOtherWeights => {
                c"the model's weights are of the other kind: load integers by feamoe_integer_model_load, floats by feamoe_model_load"
            }
            Self::UnknownFeature => c"the model has no such feature",
            Self::UnknownLevel => c"the feature has no such level",
            Self::NamesStripped => c"the model has no names: use feature indices and level codes",
            Self::NotANumber => c"the feature is a category, found a number",
            Self::NotACategory => c"the feature is a number, found a level",
            Self::LevelOutOfRange => c"the code is past the feature's levels",
            Self::OtherModel => c"the record belongs to another model than the one loaded now: init it again",
            Self::BackgroundEmpty => c"there is no background record: give one at least",
            Self::BackgroundFull => c"there are more background records than FEAMOE_BACKGROUND: give fewer, or raise it",
            Self::TooManyPlayers => c"too many features differ from a background record: explain by path",
            Self::RuleInvalid => c"a rule has an empty range, or a step, cost or margin out of range",
            Self::NotStarted => c"the monitor watches no model yet: start it",
            Self::GroupOutOfRange => c"the group is past FEAMOE_GROUPS: raise it, or give FEAMOE_NO_GROUP",
            Self::NotAProbability => c"the score is not in [0, 1]",
            Self::NotDeclined => c"only a declined record has a distance to a favourable decision",
            Self::NotADistance => c"the distance is below 0 or past 65535",
            Self::TokenInvalid => c"the token is damaged",
            Self::StateInvalid => c"the stored state is damaged, or of another model or other groups: start anew",
            Self::NoModel => c"neither slot holds a model that this library can use: write one to the target",
            Self::SlotTooShort => c"the slot is too short for the model",
            Self::Incomplete => c"the update has not received or written all its bytes",
            Self::SlotInvalid => c"the slot's header is damaged",
            Self::DeltaRefused => c"the delta is damaged, or made for another model, or its model does not fit the array",
            Self::SlotEmpty => c"the slot holds no model: it is erased, or writing one was cut short",
            Self::NotConfirmed => c"the model was tried and not confirmed",
            Self::NotSigned => c"the model is not signed: sign it by `feamoe sign`",
            Self::SignatureInvalid => c"the model's signature section is not one that the format allows: sign it again",
            Self::OtherLine => c"the model is signed for another line of models",
            Self::OtherKey => c"the model is signed by a key that is not trusted",
            Self::OtherSchema => c"the model is signed for other features, names or levels",
            Self::OlderVersion => c"the model is an older version than is accepted: sign it as a newer one",
            Self::WrongSignature => c"the signature is wrong: the model was changed, or the key did not sign it",
            Self::Unknown => c"an error that this interface does not know",
        }
    }
}

impl Status {
    /// Returns it as a result, for `?`.
    pub fn of(self) -> Result<(), Self> {
        if self == Self::Ok { Ok(()) } else { Err(self) }
    }
}

impl From<LoadError> for Status {
    fn from(error: LoadError) -> Self {
        match error.kind {
            LoadErrorKind::Frame(F::Truncated { .. })
            | LoadErrorKind::Frame(F::TrailingBytes { .. })
            | LoadErrorKind::Frame(F::TooLarge { .. }) => Self::BlobWrongLength,
            LoadErrorKind::Frame(F::WrongMagic { .. }) => Self::BlobWrongMagic,
            LoadErrorKind::Frame(F::UnsupportedVersion { .. }) | LoadErrorKind::UnsupportedSections { .. } => {
                Self::BlobUnsupported
            }
            LoadErrorKind::Frame(F::WrongChecksum { .. }) => Self::BlobDamaged,
            LoadErrorKind::Misaligned => Self::BlobMisaligned,
            LoadErrorKind::TooManyFeatures { .. } => Self::BlobTooManyFeatures,
            LoadErrorKind::TooManyExperts { .. } => Self::BlobTooManyExperts,
            LoadErrorKind::IntegerWeights | LoadErrorKind::FloatWeights => Self::BlobOtherWeights,
            _ => Self::BlobInvalid,
        }
    }
}

impl From<RecordError> for Status {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::UnknownFeature => Self::UnknownFeature,
            RecordError::NamesStripped => Self::NamesStripped,
            RecordError::NotANumber { .. } => Self::NotANumber,
            RecordError::NotACategory { .. } => Self::NotACategory,
            RecordError::LevelOutOfRange { .. } => Self::LevelOutOfRange,
            RecordError::OtherModel => Self::OtherModel,
            _ => Self::Unknown,
        }
    }
}

impl From<ExplainError> for Status {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::OtherModel => Self::OtherModel,
            ExplainError::EmptyBackground => Self::BackgroundEmpty,
            ExplainError::BackgroundFull { .. } => Self::BackgroundFull,
            ExplainError::TooManyPlayers { .. } => Self::TooManyPlayers,
            ExplainError::Stopped => Self::Stopped,
            _ => Self::Unknown,
        }
    }
}

impl From<MonitorError> for Status {
    fn from(error: MonitorError) -> Self {
        match error {
            MonitorError::NotStarted => Self::NotStarted,
            MonitorError::GroupOutOfRange { .. } => Self::GroupOutOfRange,
            MonitorError::NotAProbability { .. } => Self::NotAProbability,
            MonitorError::OtherModel { .. } | MonitorError::WrongFeatureCount { .. } => Self::OtherModel,
            MonitorError::NotDeclined => Self::NotDeclined,
            MonitorError::NotADistance { .. } => Self::NotADistance,
            MonitorError::BufferTooSmall { .. } => Self::TooShort,
            _ => Self::Unknown,
        }
    }
}

impl From<RestoreError> for Status {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::OtherModel { .. } => Self::OtherModel,
            _ => Self::StateInvalid,
        }
    }
}

impl From<PredictError> for Status {
    fn from(error: PredictError) -> Self {
        match error {
            PredictError::OtherModel => Self::OtherModel,
            _ => Self::Unknown,
        }
    }
}
