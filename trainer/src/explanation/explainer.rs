//! Explains the records of one model by one method. Only this file distinguishes the methods.

use std::borrow::Cow;

use std::time::{Duration, Instant};

use feamoe_engine::attribution::{Game, MAX_PLAYERS, Sampling};
use feamoe_engine::schema::Kind;
use feamoe_engine::{ExplainError, Method, Space};

use super::cell::{Cell, feature_cell};
use super::group::{Group, players};
use super::kernel::Fastest;
use super::typical::typical;
use crate::error::Error;
use crate::judge::binding::Binding;
use crate::model::{
    AnyModel, AnyRecord, FEATURES, HostAttribution, HostBackground, HostModel, HostRecord, HostWorkspace, frozen_into,
};
use crate::rows::Record;
use crate::schema::{Protected, Schema};

/// The method of explanation, with its settings.
#[derive(Clone, Copy, Debug, Default)]
pub enum Procedure<'b> {
    /// [`Method::Frozen`].
    Frozen,
    /// [`Method::Path`].
    #[default]
    Path,
    /// [`Method::Exact`]; for a record that needs more coalitions than `budget`,
    /// [`Method::Sampled`]. The budget is a count and not a time, so that no value depends on the
    /// machine.
    Exact {
        /// The background and the settings of sampling.
        against: Against<'b>,
        /// Maximum number of coalitions of a record, counted over all background records together.
        budget: u64,
    },
    /// [`Method::Sampled`].
    Sampled(Against<'b>),
}

/// The background of Shapley values and the settings of sampling.
#[derive(Clone, Copy, Debug)]
pub struct Against<'b> {
    /// The background records.
    pub background: &'b HostBackground<'b>,
    /// The space of the values.
    pub space: Space,
    /// When sampling stops.
    pub sampling: Sampling,
    /// Maximum time of sampling a record. If it is set, results depend on the machine.
    pub most_time: Option<Duration>,
}

impl<'b> Procedure<'b> {
    /// Returns the method; for [`Procedure::Exact`] that of the records within the budget.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Frozen => Method::Frozen,
            Self::Path => Method::Path,
            Self::Exact { .. } => Method::Exact,
            Self::Sampled(_) => Method::Sampled,
        }
    }

    /// Returns the space of the values.
    #[must_use]
    pub const fn space(&self) -> Space {
        match self {
            Self::Frozen => Space::LogOdds,
            Self::Path => Space::Probability,
            Self::Exact { against, .. } | Self::Sampled(against) => against.space,
        }
    }

    /// Returns the background and sampling of Shapley values; `None` for the other methods.
    #[must_use]
    pub const fn against(&self) -> Option<&Against<'b>> {
        match self {
            Self::Frozen | Self::Path => None,
            Self::Exact { against, .. } | Self::Sampled(against) => Some(against),
        }
    }
}

/// The owner of one value of an explanation: a feature, or features that act together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player {
    /// The displayed name.
    pub name: String,
    /// Indices of its features in the model; at least one.
    pub features: Vec<usize>,
}

/// Explains the records of a model. The explanation of a record does not depend on earlier records.
#[derive(Clone, Debug)]
pub struct Explainer<'m> {
    model: AnyModel<'m>,
    procedure: Procedure<'m>,
    players: Vec<Player>,
    /// The player of each feature; `None` if no features act together.
    player_of: Option<Vec<u16>>,
    /// A typical value of each feature.
    typical: Vec<Option<String>>,
    /// Whether each player contains a protected column.
    protected: Vec<bool>,
    /// The name of the favourable outcome.
    outcome: String,
}

/// The memory for explaining a record, about a megabyte.
#[derive(Debug, Default)]
pub struct Scratch {
    workspace: Box<HostWorkspace>,
    by_path: Box<HostAttribution>,
}

impl<'m> Explainer<'m> {
    /// Creates an explainer. Its players are the groups, and each feature of the model that is in
    /// no group.
    ///
    /// # Errors
    /// [`Error::NamesStripped`] for a blob without names; [`Error::Group`] for invalid groups.
    pub fn new(model: AnyModel<'m>, procedure: Procedure<'m>, groups: &[Group]) -> Result<Self, Error> {
        let players = players(model.schema(), groups)?;
        let player_of = (!groups.is_empty()).then(|| {
            let mut player_of = vec![0; FEATURES];
            for (number, player) in (0..).zip(&players) {
                player.features.iter().for_each(|feature| player_of[*feature] = number);
            }
            player_of
        });
        let (typical, protected) = (typical(model), vec![false; players.len()]);
        let outcome = model.schema().positive_name().unwrap_or_default().to_owned();
        Ok(Self { model, procedure, players, player_of, typical, protected, outcome })
    }

    /// Takes the protected columns from a schema, and the name of the favourable outcome if it has
    /// one. A reason that rests on a protected column is marked as such.
    #[must_use]
    pub fn informed_by(mut self, schema: &Schema) -> Self {
        let name = |feature: &usize| self.model.schema().feature_name(*feature);
        let is_protected = |feature: &usize| {
            name(feature)
                .is_some_and(|name| schema.protected.iter().flat_map(Protected::columns).any(|column| column == name))
        };
        for (protected, player) in self.protected.iter_mut().zip(&self.players) {
            *protected |= player.features.iter().any(is_protected);
        }
        if let Some(label) = &schema.target.label {
            self.outcome.clone_from(label);
        }
        self
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> AnyModel<'m> {
        self.model
    }

    /// Returns the method and its settings.
    #[must_use]
    pub fn procedure(&self) -> &Procedure<'m> {
        &self.procedure
    }

    /// Returns the players, in the order of an attribution's values.
    #[must_use]
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// Explains a record. A record of integer weights is always explained by [`Method::Frozen`],
    /// whatever the procedure. The attribution also states the gate's share. A method that does not
    /// measure it takes it from the path. For integer weights this is the path of the float model
    /// they were made from, if the model has it.
    ///
    /// # Errors
    /// Those of the engine's methods.
    pub fn explain(
        &self,
        record: &AnyRecord<'_>,
        scratch: &mut Scratch,
        attribution: &mut HostAttribution,
    ) -> Result<(), ExplainError> {
        match (self.model, record) {
            (AnyModel::Float(model), AnyRecord::Float(record)) => {
                self.explain_floats(model, record, scratch, attribution)
            }
            (AnyModel::Integer { model, floats }, AnyRecord::Integer { record, floats: values }) => {
                frozen_into(model, record, attribution)?;
                self.add_up_players(attribution);
                if let Some((model, record)) = floats.zip(values.as_ref()) {
                    model.path_into(record, &mut scratch.by_path)?;
                    attribution.gate_share = scratch.by_path.gate_share;
                }
                Ok(())
            }
            _ => Err(ExplainError::OtherModel),
        }
    }

    fn explain_floats(
        &self,
        model: &HostModel<'_>,
        record: &HostRecord<'_>,
        scratch: &mut Scratch,
        attribution: &mut HostAttribution,
    ) -> Result<(), ExplainError> {
        match &self.procedure {
            Procedure::Frozen => model.frozen_into(record, attribution)?,
            Procedure::Path => model.path_into(record, attribution)?,
            Procedure::Exact { against, .. } if self.coalitions_of(model, record)?.is_some() => {
                let (game, workspace) = (self.game(against), &mut scratch.workspace);
                model.exact_with(&Fastest, record, against.background, &game, workspace, |_| true, attribution)?;
            }
            Procedure::Exact { against, .. } | Procedure::Sampled(against) => {
                let (Against { background, sampling, .. }, start) = (against, Instant::now());
                let in_time = |_| against.most_time.is_none_or(|most| start.elapsed() < most);
                let (game, workspace) = (self.game(against), &mut scratch.workspace);
                model.sampled_into(record, background, &game, sampling, workspace, in_time, attribution)?;
            }
        }
        self.add_up_players(attribution);
        if attribution.gate_share.is_none() {
            model.path_into(record, &mut scratch.by_path)?;
            attribution.gate_share = scratch.by_path.gate_share;
        }
        Ok(())
    }

    /// Returns the number of coalitions for exact values of a record; `None` if it is sampled or
    /// explained without coalitions.
    ///
    /// # Errors
    /// The same as [`Explainer::explain`].
    pub fn coalitions(&self, record: &AnyRecord<'_>) -> Result<Option<u64>, ExplainError> {
        match (self.model, record) {
            (AnyModel::Float(model), AnyRecord::Float(record)) => self.coalitions_of(model, record),
            _ => Ok(None),
        }
    }

    fn coalitions_of(&self, model: &HostModel<'_>, record: &HostRecord<'_>) -> Result<Option<u64>, ExplainError> {
        let Procedure::Exact { against, budget } = &self.procedure else { return Ok(None) };
        let cost = model.exact_cost(record, against.background, &self.game(against))?;
        Ok((cost.players <= MAX_PLAYERS && cost.coalitions <= *budget).then_some(cost.coalitions))
    }

    fn game(&self, against: &Against<'_>) -> Game<'_> {
        Game { space: against.space, player_of: self.player_of.as_deref() }
    }

    /// Replaces the values of features by those of players: a player's value is the sum of its
    /// features' values. This applies to methods whose values do not depend on a grouping.
    #[allow(clippy::cast_possible_truncation)] // rounded for display
    fn add_up_players(&self, attribution: &mut HostAttribution) {
        if self.procedure.against().is_some() || self.player_of.is_none() {
            return;
        }
        for values in [&mut attribution.values, &mut attribution.gate_values] {
            let of_features = *values;
            values.fill(0.0);
            for (value, player) in values.iter_mut().zip(&self.players) {
                let sum: f64 = player.features.iter().map(|feature| f64::from(of_features[*feature])).sum();
                *value = sum as f32;
            }
        }
        let sum: f64 = attribution.values.iter().copied().map(f64::from).sum();
        attribution.residual = (f64::from(attribution.output) - f64::from(attribution.base_value) - sum) as f32;
    }

    /// Returns the cell of each player in a row. `record` is the encoded row.
    #[must_use]
    pub fn cells(&self, binding: &Binding, row: &Record<'_>, record: &AnyRecord<'_>) -> Vec<Cell> {
        let cell = |feature: usize| {
            let text = binding.column(feature).map_or_else(Cow::default, |column| row.text(column));
            let text = std::str::from_utf8(&text).unwrap_or("");
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
    pub fn outcome(&self) -> &str {
        &self.outcome
    }

    /// Returns the model's CRC-32, 8 hex digits.
    pub(super) fn model_crc(&self) -> String {
        format!("{:08x}", self.model.crc32())
    }

    /// Returns the typical value of a player with one feature; `None` for a group, and without a
    /// background.
    pub(super) fn typical(&self, player: usize) -> Option<&str> {
        match self.players.get(player)?.features.as_slice() {
            [feature] => self.typical.get(*feature)?.as_deref(),
            _ => None,
        }
    }

    /// Returns whether a player contains a protected column.
    pub(super) fn is_protected(&self, player: usize) -> bool {
        self.protected.get(player).copied().unwrap_or_default()
    }

    /// Returns the kind of a player with one feature; `None` for a group.
    pub(super) fn kind(&self, player: usize) -> Option<Kind> {
        match self.players.get(player)?.features.as_slice() {
            [feature] => self.model.schema().features().get(*feature).map(|feature| feature.kind()),
            _ => None,
        }
    }
}
