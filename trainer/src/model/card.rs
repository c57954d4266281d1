//! The card of a model: how it was made, in a section of its own. A device does not need it.
//!
//! The section is JSON, so that any program can read it; the keys are the fields here. It states
//! what the trainer knew at the end, and nothing else. A later step that makes part of it untrue,
//! such as a new threshold, removes that part.

use std::collections::BTreeMap;

use feamoe_engine::format::FLAG_CARD;
use feamoe_engine::{Blob, LoadError};
use serde::{Deserialize, Serialize};

use super::blob::{EncodeError, assemble};
use super::device::Sections;
use crate::model::AlignedBytes;
use crate::schema::Schema;

/// How a model was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Card {
    /// How the rows were read: target, protected columns, features, what recourse may change.
    pub schema: Schema,
    /// The options of the run, by the name of the flag that sets them.
    pub options: BTreeMap<String, String>,
    /// Statistics of every feature's cells in training.
    #[serde(default)]
    pub features: Vec<FeatureCells>,
    /// What the trainer measured; null if the model was changed since.
    pub measured: Option<Measured>,
}

/// Statistics of a feature's cells in the rows that the model learned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FeatureCells {
    /// The feature.
    pub feature: String,
    /// `number` or `category`.
    pub kind: String,
    /// Number of rows.
    pub rows: u64,
    /// Number of missing cells.
    pub missing: u64,
    /// Number of cells that are not a number where one is needed, treated as missing.
    pub bad: u64,
    /// The first bad values, at most 10.
    pub bad_values: Vec<String>,
    /// Number of values outside the range to which the encoding was fitted.
    pub clamped: u64,
    /// Number of cells whose level had no weights of its own when the row was learned.
    pub unseen: u64,
    /// Number of times that the feature's encoding was refitted during training.
    #[serde(default)]
    pub refits: u64,
}

/// The trainer's measurements of a model at the end of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Measured {
    /// Share of correct decisions over the whole stream, each made before its row was learned from.
    pub accuracy: f32,
    /// Mean of the true positive rate and the true negative rate on the same rows; null if all of
    /// them have the same outcome.
    pub balanced_accuracy: Option<f32>,
    /// Mean log-loss on the same rows, in nats.
    pub log_loss: f32,
    /// Every group compared with its reference.
    pub gaps: Vec<Gap>,
    /// The result of every target.
    pub targets: Vec<Target>,
}

/// A group compared with its reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Gap {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// Number of judged records of the group.
    pub rows: u64,
    /// Number of judged records of the reference.
    pub reference_rows: u64,
    /// The value of each measure, by its name. Measures with too few records are left out.
    pub measures: BTreeMap<String, f32>,
}

/// The result of a target for a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Target {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// The measure.
    pub measure: String,
    /// The largest gap allowed; for `impact`, the smallest ratio allowed.
    pub target: f32,
    /// The value reached; null without records.
    pub value: Option<f32>,
    /// The 95 % interval of the value; null if there is none.
    pub interval: Option<[f32; 2]>,
    /// `met`, `not shown` or `not met`; null if the target could not be judged.
    pub verdict: Option<String>,
}

/// Why a model has no card, or cannot get one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The engine refuses the model.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The section is not a card.
    #[error(
        "the model's card cannot be read: {0}; it is damaged or was written by a newer version; read it with that version, \
         or make a copy without a card with feamoe export"
    )]
    Unreadable(serde_json::Error),
    /// The copy could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl From<postcard::Error> for CardError {
    fn from(error: postcard::Error) -> Self {
        Self::Encode(error.into())
    }
}

impl Card {
    /// Key of an option that is set for a model merged from shards: the number of shards.
    pub const MERGED: &str = "merged";

    /// Returns the card of a blob, if it has one.
    ///
    /// # Errors
    /// [`CardError::Refused`], [`CardError::Unreadable`].
    pub fn of(blob: &AlignedBytes) -> Result<Option<Self>, CardError> {
        Blob::new(blob.as_slice())?;
        let sections = Sections::of(blob.as_slice())?.sections;
        let section = sections.into_iter().find_map(|(flag, section)| (flag == FLAG_CARD).then_some(section));
        section.map(serde_json::from_slice).transpose().map_err(CardError::Unreadable)
    }

    /// Returns a copy of a blob with this card, in place of any other.
    ///
    /// # Errors
    /// If the blob is too long with it.
    pub fn put_into(&self, blob: &AlignedBytes) -> Result<AlignedBytes, EncodeError> {
        let Sections { head, sections, values, .. } = Sections::of(blob.as_slice())?;
        let section = serde_json::to_vec(self).map_err(|_| postcard::Error::SerdeSerCustom)?;
        let others = sections.into_iter().filter(|(flag, _)| *flag != FLAG_CARD);
        let mut sections: Vec<_> = others.map(|(flag, section)| (flag, section.to_vec())).collect();
        sections.push((FLAG_CARD, section));
        sections.sort_by_key(|(flag, _)| *flag);
        assemble(head.to_vec(), &sections, values)
    }
}
