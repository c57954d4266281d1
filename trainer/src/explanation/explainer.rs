//! Explains the records of one model by one method: the only place that knows which method is which.

use feamoe_engine::schema::Kind;
use feamoe_engine::{Method, PredictError, Space};

use super::cell::{Cell, feature_cell};
use crate::blob_file::{HostAttribution, HostModel, HostRecord};
use crate::error::Error;
use crate::scoring::Binding;
use crate::stream::Record;

/// How scores are taken apart, with what each way needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Procedure {
    /// [`Method::Frozen`].
    Frozen,
    /// [`Method::Path`].
    #[default]
    Path,
}

impl Procedure {
    /// Returns the method.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Frozen => Method::Frozen,
            Self::Path => Method::Path,
        }
    }

    /// Returns the space its values are in.
    #[must_use]
    pub const fn space(self) -> Space {
        match self {
            Self::Frozen => Space::LogOdds,
            Self::Path => Space::Probability,
        }
    }
}

/// What gets one value of an explanation: a feature, or features that act together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player {
    /// The name shown.
    pub name: String,
    /// Indices of its features in the model; one or more.
    pub features: Vec<usize>,
}

/// Explains the records of a model; what it says of them does not depend on those before.
#[derive(Debug)]
pub struct Explainer<'m> {
    model: &'m HostModel<'m>,
    procedure: Procedure,
    players: Vec<Player>,
    by_path: Box<HostAttribution>,
}

impl<'m> Explainer<'m> {
    /// Makes every feature of the model a player.
    ///
    /// # Errors
    /// [`Error::NamesStripped`] for a blob without names.
    pub fn new(model: &'m HostModel<'m>, procedure: Procedure) -> Result<Self, Error> {
        let schema = model.schema();
        let player = |index| {
            let name = schema.feature_name(index).ok_or(Error::NamesStripped)?.to_owned();
            Ok(Player { name, features: vec![index] })
        };
        let players = (0..schema.features().len()).map(player).collect::<Result<_, Error>>()?;
        Ok(Self { model, procedure, players, by_path: Box::default() })
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &'m HostModel<'m> {
        self.model
    }

    /// Returns how scores are taken apart.
    #[must_use]
    pub fn procedure(&self) -> Procedure {
        self.procedure
    }

    /// Returns the players, in the order of an attribution's values.
    #[must_use]
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// Explains a record. The attribution tells the gate's share whatever the method: where it cannot see the gate, the path can.
    ///
    /// # Errors
    /// Those of the engine's methods.
    pub fn explain(&mut self, record: &HostRecord<'_>, attribution: &mut HostAttribution) -> Result<(), PredictError> {
        match self.procedure {
            Procedure::Frozen => self.model.frozen_into(record, attribution)?,
            Procedure::Path => self.model.path_into(record, attribution)?,
        }
        if attribution.gate_share.is_none() {
            self.model.path_into(record, &mut self.by_path)?;
            attribution.gate_share = self.by_path.gate_share;
        }
        Ok(())
    }

    /// Returns what each player holds in a row, which is also in `record`.
    #[must_use]
    pub fn cells(&self, binding: &Binding, row: &Record<'_>, record: &HostRecord<'_>) -> Vec<Cell> {
        let cell = |feature: usize| {
            let text = binding.column(feature).map_or("", |column| std::str::from_utf8(row.text(column)).unwrap_or(""));
            let note = record.notes().get(feature).copied().unwrap_or_default();
            feature_cell(self.model.schema(), feature, text, note)
        };
        let player = |player: &Player| match player.features.as_slice() {
            [feature] => cell(*feature),
            features => Cell::group(
                features
                    .iter()
                    .map(|index| (self.model.schema().feature_name(*index).unwrap_or_default(), cell(*index))),
            ),
        };
        self.players.iter().map(player).collect()
    }

    /// Returns the name of the favourable outcome.
    #[must_use]
    pub fn outcome(&self) -> &'m str {
        self.model.schema().positive_name().unwrap_or_default()
    }

    /// Returns the model's CRC-32, 8 hex digits.
    pub(super) fn model_crc(&self) -> String {
        format!("{:08x}", self.model.crc32())
    }

    /// Returns the kind of the feature that is a player by itself; `None` for a group.
    pub(super) fn kind(&self, player: usize) -> Option<Kind> {
        match self.players.get(player)?.features.as_slice() {
            [feature] => self.model.schema().features().get(*feature).map(|feature| feature.kind()),
            _ => None,
        }
    }
}
