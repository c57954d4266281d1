//! The rows on which explanations are compared.

use feamoe_engine::{FeatureIndex, Value};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng as _;

use super::FeatureChange;
use crate::error::Error;
use crate::judge::binding::Binding;
use crate::model::{AnyModel, HostAttribution, HostModel};
use crate::random::below;
use crate::rows::Row;

/// Seed of the rows that are explained.
const SEED: u64 = 1;

/// Rows drawn to be explained by both models.
pub(super) struct Sample<'m> {
    /// `None` if one of them has integer weights.
    models: Option<[&'m HostModel<'m>; 2]>,
    most: usize,
    offered: u64,
    random: Pcg64Mcg,
    /// The values of each row, as each model takes them.
    rows: Vec<[Vec<Value>; 2]>,
}

impl<'m> Sample<'m> {
    pub fn new(models: [AnyModel<'m>; 2], most: usize) -> Self {
        let models = match models {
            [AnyModel::Float(first), AnyModel::Float(second)] => Some([first, second]),
            _ => None,
        };
        Self { models, most, offered: 0, random: Pcg64Mcg::seed_from_u64(SEED), rows: Vec::new() }
    }

    /// Keeps a row with the same probability as all rows so far (Vitter 1985, algorithm R).
    pub fn offer(&mut self, bindings: &[Binding], row: &Row<'_>) -> Result<(), Error> {
        let ([first, second], Some(_)) = (bindings, self.models) else { return Ok(()) };
        self.offered += 1;
        let place = if self.rows.len() < self.most {
            self.rows.push(Default::default());
            self.rows.len() - 1
        } else {
            usize::try_from(below(self.offered, &mut self.random)).unwrap_or(usize::MAX)
        };
        if let Some(kept) = self.rows.get_mut(place) {
            *kept = [first.values(row)?, second.values(row)?];
        }
        Ok(())
    }

    /// Returns the number of rows, and the features in descending order of the change of their
    /// values.
    pub fn explain(&self) -> (u64, Vec<FeatureChange>) {
        let Some(models) = self.models.filter(|_| !self.rows.is_empty()) else { return (0, Vec::new()) };
        let names = models.map(|model| {
            let schema = model.schema();
            (0..schema.features().len()).map(|index| schema.feature_name(index).unwrap_or_default()).collect::<Vec<_>>()
        });
        let mut features: Vec<&str> = names[0].clone();
        features.extend(names[1].iter().filter(|name| !names[0].contains(name)));
        let places: Vec<[Option<usize>; 2]> = features
            .iter()
            .map(|feature| names.each_ref().map(|names| names.iter().position(|name| name == feature)))
            .collect();
        let mut changes: Vec<FeatureChange> = features
            .iter()
            .zip(&places)
            .map(|(feature, places)| FeatureChange {
                feature: (*feature).to_owned(),
                has: places.map(|place| place.is_some()),
                mean_change: 0.0,
                mean_values: [0.0; 2],
            })
            .collect();
        let rows = self.rows.len() as f64;
        let mut records = models.map(HostModel::record);
        let mut attributions = [(); 2].map(|()| Box::new(HostAttribution::new()));
        for values in &self.rows {
            for (((model, record), values), attribution) in
                models.iter().zip(&mut records).zip(values).zip(&mut attributions)
            {
                record.clear();
                for (index, value) in values.iter().enumerate() {
                    // The values belong to this model, so neither a value nor the record can be
                    // refused.
                    let _ = record.set_value(FeatureIndex(index), *value);
                }
                let _ = model.path_into(record, attribution);
            }
            for (change, places) in changes.iter_mut().zip(&places) {
                let value = |model: usize| {
                    let place = places.get(model).copied().flatten();
                    place.and_then(|place| attributions[model].values.get(place)).map_or(0.0, |value| f64::from(*value))
                };
                change.mean_change += (value(1) - value(0)).abs() / rows;
                change.mean_values = [0, 1].map(|model| change.mean_values[model] + value(model).abs() / rows);
            }
        }
        // The sort is stable: equal features keep their order.
        changes.sort_by(|a, b| b.mean_change.total_cmp(&a.mean_change));
        (self.rows.len() as u64, changes)
    }
}
