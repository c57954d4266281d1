//! A model as the service holds it: the blob, the model that reads it in place, and what is looked
//! up by name.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use axum::body::Bytes;
use feamoe_engine::schema::Kind;
use feamoe_engine::{FeatureIndex, Value};
use self_cell::{MutBorrow, self_cell};

use super::record::Group;
use super::trust::Trust;
use super::{ServeError, describe};
use crate::error::Error;
use crate::explanation::{BackgroundMemory, BackgroundRecords, Choice};
use crate::judge::recourse::{MARGIN, rules};
use crate::model::card::Card;
use crate::model::{AlignedBytes, AnyModel, HostBackground, HostRules, OwnedModel};
use crate::rows::Digest;
use crate::schema::{Features, Protected, Table};

/// What a [`Ready`] borrows.
struct Held {
    loaded: OwnedModel,
    /// As it was signed, where that was verified.
    version: Option<u32>,
    memory: MutBorrow<BackgroundMemory>,
}

self_cell!(
    /// A model with all that requests need of it, checked as a whole before any request sees it.
    pub struct Published {
        owner: Held,
        #[covariant]
        dependent: Ready,
    }
);

/// A model, ready for requests.
pub struct Ready<'p> {
    /// What the model is called in answers, metrics and log: the SHA-256 of its bytes, 64
    /// hexadecimal digits.
    pub name: String,
    /// The model.
    pub model: AnyModel<'p>,
    /// Its features by name.
    pub names: Names<'p>,
    /// Its own background records, where it has some.
    pub background: Option<HostBackground<'p>>,
    /// What recourse may change; none for integer weights.
    pub rules: Option<HostRules>,
    /// How the tables that it was trained on are read.
    pub table: Table,
    /// What `GET /model` answers.
    pub description: Bytes,
    /// What `GET /openapi.json` answers, from the first time on.
    pub openapi: OnceLock<Bytes>,
}

impl Published {
    /// Checks all of a blob: its signature first, where there is a trust, and that it knows the
    /// columns `groups`. This is the only way from bytes to a model that answers. `in_use`: the
    /// version of the model that it is to replace.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub(super) fn load(
        blob: AlignedBytes,
        trust: Option<&Trust>,
        in_use: Option<u32>,
        groups: &[String],
    ) -> Result<Self, ServeError> {
        let version = trust.map(|trust| trust.verify(blob.as_slice(), in_use)).transpose()?;
        let loaded = OwnedModel::load(blob)?;
        let name = hex(&Digest::of(loaded.bytes().as_slice()));
        let card = Card::of(loaded.bytes())?;
        Self::try_new(Held { loaded, version, memory: MutBorrow::new(BackgroundMemory::default()) }, |held| {
            let model = held.loaded.any();
            let all = Choice { only: Vec::new(), most: usize::MAX, seed: 0 };
            let background = match model {
                AnyModel::Float(model) if model.background_rows() > 0 => {
                    Some(BackgroundRecords::of_model(model, &all)?.against(model, held.memory.borrow_mut())?)
                }
                _ => None,
            };
            let rules = match model {
                AnyModel::Float(model) => rules(model, card.as_ref(), None, &Features::default())?.with_margin(MARGIN),
                AnyModel::Integer { .. } => None,
            };
            let names = Names::new(model)?;
            check_groups(groups, &names, card.as_ref())?;
            let table = card.map(|card| card.schema.table).unwrap_or_default();
            let (description, openapi) = (Bytes::new(), OnceLock::new());
            let mut ready = Ready { name, model, names, background, rules, table, description, openapi };
            ready.description = describe::model(&ready)?;
            Ok(ready)
        })
    }

    /// Returns the version that was verified.
    pub(super) fn version(&self) -> Option<u32> {
        self.borrow_owner().version
    }

    /// Returns the model and what belongs to it.
    #[must_use]
    pub(super) fn ready(&self) -> &Ready<'_> {
        self.borrow_dependent()
    }
}

/// Refuses a column of groups that is neither a feature of the model nor one of the protected
/// columns of its schema.
fn check_groups(groups: &[String], names: &Names<'_>, card: Option<&Card>) -> Result<(), ServeError> {
    let protected = card.into_iter().flat_map(|card| &card.schema.protected).flat_map(Protected::columns);
    let known: BTreeSet<&str> = names.all().chain(protected.map(String::as_str)).collect();
    match groups.iter().find(|group| !known.contains(group.as_str())) {
        None => Ok(()),
        Some(found) => {
            let known = known.into_iter().map(str::to_owned).collect();
            Err(ServeError::Group { found: found.clone(), known })
        }
    }
}

/// Returns bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Features and levels by name: found by hash, while the engine, which has no memory of its own,
/// walks through them.
pub struct Names<'m> {
    by_name: HashMap<&'m str, usize>,
    features: Vec<Named<'m>>,
}

/// A feature's names.
pub struct Named<'m> {
    /// Its own.
    pub name: &'m str,
    /// Codes by the names of its levels; `None` for a number.
    pub levels: Option<HashMap<&'m str, u16>>,
}

impl<'m> Names<'m> {
    fn new(model: AnyModel<'m>) -> Result<Self, ServeError> {
        let schema = model.schema();
        let mut names = Names { by_name: HashMap::new(), features: Vec::new() };
        for (index, feature) in schema.features().iter().enumerate() {
            let name = schema.feature_name(index).ok_or(Error::NamesStripped)?;
            if names.by_name.insert(name, index).is_some() {
                return Err(ServeError::TwoFeatures(name.to_owned()));
            }
            let levels = matches!(feature.kind(), Kind::Category { .. });
            let levels = levels.then(|| schema.level_names(index).zip(0..).collect());
            names.features.push(Named { name, levels });
        }
        Ok(names)
    }

    /// Returns the feature of a name.
    pub fn find(&self, name: &str) -> Option<FeatureIndex> {
        self.by_name.get(name).copied().map(FeatureIndex)
    }

    /// Returns the names of the feature at an index.
    pub fn at(&self, feature: FeatureIndex) -> Option<&Named<'m>> {
        self.features.get(feature.0)
    }

    /// Returns the group of a record by the value that it has of a feature.
    pub fn group(&self, feature: FeatureIndex, value: Value) -> Group {
        match value {
            Value::Missing => Group::Missing,
            Value::Number(number) => Group::Named(number.to_string()),
            Value::Unseen => Group::Unknown,
            Value::Level(code) => {
                let levels = self.at(feature).and_then(|named| named.levels.as_ref());
                let name = levels.and_then(|levels| levels.iter().find(|(_, found)| **found == code));
                name.map_or(Group::Unknown, |(name, _)| Group::Named((*name).to_owned()))
            }
        }
    }

    /// Returns the group of a row by its text in a column: of a feature the level, where it has it.
    pub fn group_of_text(&self, column: &str, text: &str) -> Group {
        let levels = self.find(column).and_then(|feature| self.at(feature)).and_then(|named| named.levels.as_ref());
        match levels {
            Some(levels) if !levels.contains_key(text) => Group::Unknown,
            _ => Group::Named(text.to_owned()),
        }
    }

    /// Returns all features, in their order.
    pub fn features(&self) -> &[Named<'m>] {
        &self.features
    }

    /// Returns all features' names, in their order.
    pub fn all(&self) -> impl Iterator<Item = &'m str> {
        self.features.iter().map(|named| named.name)
    }
}
