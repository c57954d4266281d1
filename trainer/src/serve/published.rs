//! A model in the form in which the service holds it: the blob, the model that reads it in place,
//! and indices by name.

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

/// The data that a [`Ready`] borrows.
struct Held {
    loaded: OwnedModel,
    /// The signed version; `None` if no signature was verified.
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

/// A model that is ready for requests.
pub struct Ready<'p> {
    /// The name of the model in answers, metrics and log: the SHA-256 of its bytes as 64
    /// hexadecimal digits.
    pub name: String,
    /// The model.
    pub model: AnyModel<'p>,
    /// Features and levels by name.
    pub names: Names<'p>,
    /// The model's own background records, if it has any.
    pub background: Option<HostBackground<'p>>,
    /// Rules of what recourse may change; `None` for integer weights.
    pub rules: Option<HostRules>,
    /// How values of a table are parsed, as in training.
    pub table: Table,
    /// The answer of `GET /model`.
    pub description: Bytes,
    /// The answer of `GET /openapi.json`, made at the first request.
    pub openapi: OnceLock<Bytes>,
}

impl Published {
    /// Checks a blob completely: first its signature, if there is a trust, and then that the model
    /// knows the columns `groups`. Every model that answers passes through here. `in_use` is the
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

    /// Returns the verified version; `None` without a trust.
    pub(super) fn version(&self) -> Option<u32> {
        self.borrow_owner().version
    }

    /// Returns the model with its indices.
    #[must_use]
    pub(super) fn ready(&self) -> &Ready<'_> {
        self.borrow_dependent()
    }
}

/// Refuses a column of `groups` that is neither a feature of the model nor a protected column of
/// its schema.
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

/// Features and levels by name in hash maps. The engine, which has no heap, searches linearly.
pub struct Names<'m> {
    by_name: HashMap<&'m str, usize>,
    features: Vec<Named<'m>>,
}

/// The names of a feature.
pub struct Named<'m> {
    /// The name of the feature.
    pub name: &'m str,
    /// The codes of its levels by name; `None` for a number.
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

    /// Returns the feature with this name.
    pub fn find(&self, name: &str) -> Option<FeatureIndex> {
        self.by_name.get(name).copied().map(FeatureIndex)
    }

    /// Returns the names of the feature at an index.
    pub fn at(&self, feature: FeatureIndex) -> Option<&Named<'m>> {
        self.features.get(feature.0)
    }

    /// Returns the group of a record for its value of a feature.
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

    /// Returns the group of a row for its text in a column. If the column is a categorical feature,
    /// a text that is not one of its levels is [`Group::Unknown`].
    pub fn group_of_text(&self, column: &str, text: &str) -> Group {
        let levels = self.find(column).and_then(|feature| self.at(feature)).and_then(|named| named.levels.as_ref());
        match levels {
            Some(levels) if !levels.contains_key(text) => Group::Unknown,
            _ => Group::Named(text.to_owned()),
        }
    }

    /// Returns all features in order.
    pub fn features(&self) -> &[Named<'m>] {
        &self.features
    }

    /// Returns the names of all features in order.
    pub fn all(&self) -> impl Iterator<Item = &'m str> {
        self.features.iter().map(|named| named.name)
    }
}
