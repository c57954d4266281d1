//! Encodes records as if one protected column had another group's value. Individual fairness is
//! learned from these.
//!
//! The values are those of [`crate::judge::individual`]: the values of every other group that the
//! encoder knows, whether or not a record of the group has been seen. Only the terms of the
//! protected feature differ; all others are copied.
//!
//! *Cost:* none if it is not used; otherwise the terms of the record once more per value.

use feamoe_engine::mixture::Term;

use super::{Encoder, Example, Feature, Kind};
use crate::rows::{Attribute, Cell, NO_GROUP, value as value_of};

/// The terms of a record under other groups' values. The buffers are reused from row to row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flips {
    terms: Vec<Term>,
    /// The end of each flip's terms.
    ends: Vec<usize>,
}

impl Flips {
    /// Returns the terms under each value tried, one protected column after the other.
    pub fn iter(&self) -> impl Iterator<Item = &[Term]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).filter_map(|(start, end)| self.terms.get(*start..*end))
    }

    /// Adds the terms of a record with those in `replaced` replaced by `by`.
    fn push(&mut self, terms: &[Term], replaced: &std::ops::Range<usize>, by: &[Term]) {
        self.terms.extend_from_slice(terms.get(..replaced.start).unwrap_or_default());
        self.terms.extend_from_slice(by);
        self.terms.extend_from_slice(terms.get(replaced.end..).unwrap_or_default());
        self.ends.push(self.terms.len());
    }
}

/// Finds the flips of examples.
#[derive(Clone, Debug, Default)]
pub struct Flipper {
    columns: Vec<Column>,
    /// Numbers of weight rows, encoding changes and groups that were known when the values were
    /// looked up.
    known: (usize, u64, usize),
}

/// A protected column that is a feature.
#[derive(Clone, Debug)]
struct Column {
    attribute: usize,
    feature: usize,
    /// The terms of each value that the encoder knows, with its group.
    values: Vec<(u8, Vec<Term>)>,
}

impl Flipper {
    /// Writes the flips of an example of this encoder into `flips`. There are none if no protected
    /// column is a feature.
    pub fn flip<'a>(
        &mut self,
        encoder: &Encoder,
        attributes: impl Iterator<Item = &'a Attribute> + Clone,
        example: &Example,
        flips: &mut Flips,
    ) {
        let known =
            (encoder.n_rows(), encoder.n_changes(), attributes.clone().map(|attribute| attribute.groups().len()).sum());
        if self.known != known {
            self.known = known;
            self.columns = columns(encoder, attributes);
        }
        flips.terms.clear();
        flips.ends.clear();
        for column in &self.columns {
            let Some(own) = example.groups.get(column.attribute).filter(|own| **own != NO_GROUP) else { continue };
            let replaced = span(&encoder.features, column.feature, &example.terms);
            for (_, terms) in column.values.iter().filter(|(group, _)| group != own) {
                flips.push(&example.terms, &replaced, terms);
            }
        }
    }
}

/// Looks up the values of the protected columns that are features.
#[cold]
fn columns<'a>(encoder: &Encoder, attributes: impl Iterator<Item = &'a Attribute>) -> Vec<Column> {
    let column = |(index, attribute): (usize, &Attribute)| {
        let feature = encoder.features.iter().position(|feature| feature.name == attribute.column())?;
        Some(Column { attribute: index, feature, values: values(&encoder.features.get(feature)?.kind, attribute) })
    };
    attributes.enumerate().filter_map(column).collect()
}

/// Returns the terms of every value, with its group: [`NO_GROUP`] if no record of the group has
/// been seen.
fn values(kind: &Kind, attribute: &Attribute) -> Vec<(u8, Vec<Term>)> {
    let group_of = |name: &str| attribute.values().find(|(_, value)| *value == name).map(|(group, _)| group);
    match kind {
        Kind::Number(number) => {
            let terms = |value: &str| {
                let mut example = Example::default();
                number.push_terms(value_of(Cell::Text(value.as_bytes()), None)?, &mut example);
                Some(example.terms)
            };
            attribute.values().filter_map(|(group, value)| Some((group, terms(value)?))).collect()
        }
        Kind::Category(category) => {
            let level = |(name, row)| {
                let group = group_of(name).or_else(|| attribute.is_open().then_some(NO_GROUP))?;
                Some((group, vec![Term { row, scale: 1.0 }]))
            };
            category.levels().filter_map(level).collect()
        }
    }
}

/// Returns the range of a feature's terms among those of a record.
fn span(features: &[Feature], feature: usize, terms: &[Term]) -> std::ops::Range<usize> {
    let count = |feature: &Feature, start: usize| match &feature.kind {
        Kind::Number(number) if terms.get(start).is_some_and(|term| term.row == number.linear_row()) => {
            number.n_terms()
        }
        _ => 1,
    };
    let start = features.iter().take(feature).fold(0, |start, feature| start + count(feature, start));
    start..start + features.get(feature).map_or(0, |feature| count(feature, start))
}
