//! Individual fairness: whether the decision on a record would change if only its group were
//! different (FEAMOE, A.10).
//!
//! The protected value is replaced by each value of every *other* group: the values that the schema
//! lists and, if it leaves groups open, every level that the model knows, so that the order of the
//! rows does not matter. For a numeric feature they are the numbers in the model's background;
//! without a background, or with a single number in it, they are those that occurred so far. A
//! privileged group with several values is tried with each. If any value changes the decision, the
//! record is treated unfairly. Protected columns are changed one at a time; intersections are not
//! tried. Records without a group in a column are not judged by it.
//!
//! A column that is not a feature of the model cannot change a decision, so unfairness by it is 0
//! by definition. That does not cover its proxies; the group measures do.
//!
//! *Cost:* one score for every value tried.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::judge::binding::Binding;
use crate::model::{AnyModel, AnyRecord};
use crate::rows::{Attribute, NO_GROUP, Row};

/// Judges the records of a model, one at a time.
pub(crate) struct IndividualFairness {
    columns: Vec<Column>,
    /// Records with a group in any column, and those treated unfairly by any.
    all: Share,
}

/// One protected column.
struct Column {
    /// Its feature in the model, if it is one.
    feature: Option<usize>,
    /// Whether the values come from the model, not from the rows so far.
    of_model: bool,
    /// Whether each value belongs to the privileged group, and its text.
    values: Vec<(bool, Vec<u8>)>,
    share: Share,
}

/// Unfairly treated records among those judged.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Share {
    rows: u64,
    unfair: u64,
}

impl Share {
    fn observe(&mut self, unfair: bool) {
        self.rows += 1;
        self.unfair += u64::from(unfair);
    }

    #[allow(clippy::cast_precision_loss)]
    fn value(self) -> f64 {
        self.unfair as f64 / self.rows as f64
    }
}

impl IndividualFairness {
    /// Finds the protected columns among the features of the model.
    pub(crate) fn new<'a>(
        model: AnyModel<'_>,
        binding: &Binding,
        attributes: impl IntoIterator<Item = &'a Attribute>,
    ) -> Self {
        let column = |attribute: &Attribute| {
            let feature = binding.feature(attribute.column());
            let mut known = feature.map_or_else(Vec::new, |feature| binding.levels(feature).to_vec());
            if let Some(feature) = feature.filter(|_| known.is_empty() && attribute.is_open()) {
                let numbers = model.background_numbers(feature);
                let is_listed = |number: &f32| attribute.values().any(|(_, value)| value.parse() == Ok(*number));
                // Listed values stay as the schema spells them.
                let others = numbers.iter().filter(|number| numbers.len() > 1 && !is_listed(number));
                known.extend(others.map(f32::to_string));
                if !known.is_empty() {
                    known.extend(attribute.values().map(|(_, value)| value.to_owned()));
                }
            }
            let group = |value: &String| {
                let listed = attribute.values().find(|(_, listed)| listed == value).map(|(group, _)| group == 0);
                let privileged = listed.or_else(|| attribute.is_open().then_some(false))?;
                Some((privileged, value.as_bytes().to_vec()))
            };
            let values: Vec<_> = known.iter().filter_map(group).collect();
            Column { feature, of_model: !known.is_empty(), values, share: Share::default() }
        };
        Self { columns: attributes.into_iter().map(column).collect(), all: Share::default() }
    }

    /// Adds groups that are new since the last call.
    pub(crate) fn learn_groups<'a>(&mut self, attributes: impl IntoIterator<Item = &'a Attribute>) {
        for (column, attribute) in self.columns.iter_mut().zip(attributes).filter(|(column, _)| !column.of_model) {
            let new = attribute.values().skip(column.values.len());
            let new: Vec<_> = new.map(|(group, value)| (group == 0, value.as_bytes().to_vec())).collect();
            column.values.extend(new);
        }
    }

    /// Judges a record, given its decision. The record is unchanged afterwards.
    ///
    /// # Errors
    /// Those of [`Binding::set`] on the row's own values.
    pub(crate) fn observe(
        &mut self,
        model: AnyModel<'_>,
        binding: &Binding,
        row: &Row<'_>,
        record: &mut AnyRecord<'_>,
        decision: bool,
    ) -> Result<(), Error> {
        let (mut judged, mut unfair) = (false, false);
        for (column, own) in self.columns.iter_mut().zip(row.groups).filter(|(_, own)| **own != NO_GROUP) {
            let mut changes = false;
            if let Some(feature) = column.feature {
                // A value that the model does not know could not be distinguished from any other
                // such value.
                let own_value = binding.column(feature).map_or_else(Cow::default, |column| row.text(column));
                let others = column.values.iter().filter(|(privileged, value)| match *own {
                    0 => !privileged,
                    _ => *privileged || **value != *own_value,
                });
                changes = others.into_iter().any(|(_, value)| {
                    binding.set_if_known(feature, value, record)
                        && model.score(record).is_ok_and(|score| score.decision != decision)
                });
                binding.set(feature, row, record)?;
            }
            column.share.observe(changes);
            (judged, unfair) = (true, unfair | changes);
        }
        if judged {
            self.all.observe(unfair);
        }
        Ok(())
    }

    /// Returns the counts. `attributes` are those passed to [`Self::new`].
    pub(crate) fn counts<'a>(&self, attributes: impl IntoIterator<Item = &'a Attribute>) -> IndividualCounts {
        let columns = self.columns.iter().zip(attributes).map(|(column, attribute)| ColumnCounts {
            is_feature: column.feature.is_some(),
            is_additive: column.feature.is_none() || column.of_model || !attribute.is_open(),
            share: Some(column.share),
        });
        IndividualCounts { columns: columns.collect(), all: Some(self.all) }
    }
}

/// The counts of individual fairness, over all rows or a part of them. A share is `None` if parts
/// do not add up, because a record is tried with the values that occurred before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IndividualCounts {
    columns: Vec<ColumnCounts>,
    all: Option<Share>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ColumnCounts {
    is_feature: bool,
    is_additive: bool,
    share: Option<Share>,
}

impl IndividualCounts {
    /// Adds the counts of another part.
    pub(crate) fn merge(&mut self, other: &Self) {
        let is_additive = self.columns.iter().all(|column| column.is_additive);
        self.all = sum(self.all, other.all, is_additive);
        for (column, other) in self.columns.iter_mut().zip(&other.columns) {
            column.share = sum(column.share, other.share, column.is_additive);
        }
    }

    /// Returns the protected columns whose parts do not add up.
    pub(crate) fn lost<'a>(&self, attributes: impl IntoIterator<Item = &'a Attribute>) -> Vec<&'a str> {
        let columns = self.columns.iter().zip(attributes).filter(|(column, _)| column.share.is_none());
        columns.map(|(_, attribute)| attribute.column()).collect()
    }

    /// Returns the share of unfair records over all protected columns (NaN if no record was
    /// judged), and the share by attribute (`None` for intersections).
    pub(crate) fn report<'a>(
        &self,
        attributes: impl IntoIterator<Item = &'a Attribute>,
    ) -> (f64, Vec<Option<IndividualUnfairness>>) {
        let columns = self.columns.iter().zip(attributes).map(|(column, attribute)| {
            (!attribute.is_intersection()).then(|| IndividualUnfairness {
                is_feature: column.is_feature,
                individual_unfairness: column.share.map_or(f64::NAN, Share::value),
            })
        });
        (self.all.map_or(f64::NAN, Share::value), columns.collect())
    }
}

/// Returns the records of both parts; `None` if both have records that do not add up.
fn sum(a: Option<Share>, b: Option<Share>, is_additive: bool) -> Option<Share> {
    let (a, b) = (a?, b?);
    let is_one_part = a.rows == 0 || b.rows == 0;
    let both = Share { rows: a.rows.saturating_add(b.rows), unfair: a.unfair.saturating_add(b.unfair) };
    (is_additive || is_one_part).then_some(both)
}

/// Individual unfairness with respect to one protected column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct IndividualUnfairness {
    /// Whether the column is a feature. If it is not, `individual_unfairness` is 0 by definition.
    pub is_feature: bool,
    /// Share of the records with a group whose decision changes if only this column is changed; NaN
    /// (JSON: null) without such records.
    pub individual_unfairness: f64,
}
