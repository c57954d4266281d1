//! The card of a model: how it was made, in its own file. A device does without it.
//!
//! The section is JSON, so that anything can read it: the keys are the fields here. It states what
//! the trainer knew at the end and nothing else; where a later step makes part of it untrue, such
//! as another threshold, that part is taken out.

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
    /// What the cells of every feature were in training.
    #[serde(default)]
    pub features: Vec<FeatureCells>,
    /// What the trainer measured; `None` if the model was changed since.
    pub measured: Option<Measured>,
}

/// What the cells of a feature were in the rows that the model learned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FeatureCells {
    /// The feature.
    pub feature: String,
    /// `number` or `category`.
    pub kind: String,
    /// Rows.
    pub rows: u64,
    /// Missing cells among them.
    pub missing: u64,
    /// Cells that are no number where one is needed, taken as missing.
    pub bad: u64,
    /// The first of those, at most 10.
    pub bad_values: Vec<String>,
    /// Numbers outside the range that the encoding was fitted to.
    pub clamped: u64,
    /// Levels that had no weights of their own at that time.
    pub unseen: u64,
    /// How often its encoding was fitted again while learning.
    #[serde(default)]
    pub refits: u64,
}

/// What the trainer measured of a model at the end of its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Measured {
    /// Share of right decisions on rows not learned from yet, over the whole stream.
    pub accuracy: f32,
    /// Mean of both true rates there; `None` if the rows have one outcome.
    pub balanced_accuracy: Option<f32>,
    /// Mean log-loss there, in nats.
    pub log_loss: f32,
    /// Every group against its reference.
    pub gaps: Vec<Gap>,
    /// What became of every target.
    pub targets: Vec<Target>,
}

/// A group against its reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Gap {
    /// Protected column, or columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// Records of the group that were judged.
    pub rows: u64,
    /// Records of the reference.
    pub reference_rows: u64,
    /// By measure, those that there were records enough for.
    pub measures: BTreeMap<String, f32>,
}

/// What became of a target for a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Target {
    /// Protected column, or columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// The measure.
    pub measure: String,
    /// The largest gap asked for; of impact, the smallest ratio.
    pub target: f32,
    /// The value reached; `None` without a record.
    pub value: Option<f32>,
    /// Its 95 % interval.
    pub interval: Option<[f32; 2]>,
    /// `met`, `not shown` or `not met`; `None` if it could not be judged.
    pub verdict: Option<String>,
}

/// Why a model has no card, or gets none.
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
    /// Stands among the options of a model that was merged of shards: how many.
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
