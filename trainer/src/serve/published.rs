//! A model as the service holds it: the blob, the model that reads it in place, and what is looked
//! up by name.

use std::collections::HashMap;

use crate::explanation::{BackgroundMemory, BackgroundRecords, Choice};
use crate::model::{AlignedBytes, AnyModel, HostBackground, Loaded};
use anyhow::bail;
use feamoe_engine::FeatureIndex;
use feamoe_engine::schema::Kind;
use self_cell::{MutBorrow, self_cell};

self_cell!(
    struct WithBytes {
        owner: AlignedBytes,
        #[covariant]
        dependent: Loaded,
    }
);

/// What a [`Ready`] borrows.
struct Held {
    loaded: WithBytes,
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
    /// The model.
    pub model: AnyModel<'p>,
    /// Its features by name.
    pub names: Names<'p>,
    /// Its own background records, where it has some.
    pub background: Option<HostBackground<'p>>,
}

impl Published {
    /// Checks all of a blob.
    pub fn load(blob: AlignedBytes) -> anyhow::Result<Self> {
        let loaded = WithBytes::try_new(blob, |blob| Loaded::new(blob.as_slice()))?;
        Self::try_new(Held { loaded, memory: MutBorrow::new(BackgroundMemory::default()) }, |held| {
            let model = held.loaded.borrow_dependent().any();
            let all = Choice { only: Vec::new(), most: usize::MAX, seed: 0 };
            let background = match model {
                AnyModel::Float(model) if model.background_rows() > 0 => {
                    Some(BackgroundRecords::of_model(model, &all)?.against(model, held.memory.borrow_mut())?)
                }
                _ => None,
            };
            Ok(Ready { model, names: Names::new(model)?, background })
        })
    }

    /// Returns the model and what belongs to it.
    pub fn ready(&self) -> &Ready<'_> {
        self.borrow_dependent()
    }
}

impl Ready<'_> {
    /// Returns the model's checksum, which names it in every answer: 8 hex digits.
    pub fn crc(&self) -> String {
        format!("{:08x}", self.model.crc32())
    }
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
    fn new(model: AnyModel<'m>) -> anyhow::Result<Self> {
        let schema = model.schema();
        let mut names = Names { by_name: HashMap::new(), features: Vec::new() };
        for (index, feature) in schema.features().iter().enumerate() {
            let Some(name) = schema.feature_name(index) else {
                bail!(
                    "found a model without names, expected one with them: records come by name; export it again with its names"
                );
            };
            if names.by_name.insert(name, index).is_some() {
                bail!("found two features of the name `{name}`, expected names that differ");
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

    /// Returns all features' names, in their order.
    pub fn all(&self) -> impl Iterator<Item = &'m str> {
        self.features.iter().map(|named| named.name)
    }
}
