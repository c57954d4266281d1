//! Parses records from JSON: an object by the features' names, or an array of such objects. Values
//! go straight into a record of the model, without an intermediate tree.
//!
//! A number is a JSON number and a category a string. `null` and an absent feature are missing
//! values. A level that the model does not know is not an error: the answer notes it, like a number
//! outside the training range. A record may also contain the columns by whose values decisions are
//! counted. Those that are not features do not change the score.

use std::fmt;

use axum::http::StatusCode;
use feamoe_engine::{FeatureIndex, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::published::{Names, Ready};
use super::refusal::Refusal;
use crate::model::{AnyRecord, FEATURES, Fill as _};

/// The group of a record in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// The record has no value there.
    Missing,
    /// The value is a level that the model does not know.
    Unknown,
    /// The record has this value.
    Named(String),
}

impl Group {
    /// Returns the name under which the group is counted.
    pub fn label(&self) -> &str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "other",
            Self::Named(name) => name,
        }
    }
}

/// Reads every record of a body, at most `most`, and passes it to `then` with its index and its
/// groups by `columns`. The message of a refusal includes the position in the body.
pub fn read<'m>(
    body: &[u8],
    ready: &Ready<'m>,
    columns: &[String],
    most: usize,
    then: impl FnMut(usize, &AnyRecord<'m>, &[Group]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let columns = Columns {
        names: &ready.names,
        columns,
        features: columns.iter().map(|column| ready.names.find(column)).collect(),
    };
    let groups = vec![Group::Missing; columns.columns.len()];
    // A record is large, so it is filled in place.
    let mut record = ready.model.record();
    let values = vec![Value::Missing; ready.names.features().len()];
    let mut records = Records { columns, record: &mut record, values, groups, read: 0, most, then, status: None };
    let read = json.deserialize_any(&mut records).and_then(|()| json.end());
    read.map_err(|error| match records.status {
        Some(status) => Refusal::new(status, error),
        None => error.into(),
    })
}

/// The keys that a record may have.
struct Columns<'r, 'm> {
    names: &'r Names<'m>,
    /// The columns by which decisions are counted.
    columns: &'r [String],
    /// For each column its feature; `None` if it is not a feature.
    features: Vec<Option<FeatureIndex>>,
}

struct Records<'r, 'm, F> {
    columns: Columns<'r, 'm>,
    record: &'r mut AnyRecord<'m>,
    /// By feature.
    values: Vec<Value>,
    groups: Vec<Group>,
    read: usize,
    most: usize,
    then: F,
    /// The status of a refusal by `then`. The JSON reader carries only its message.
    status: Option<StatusCode>,
}

impl<'de, 'm, F: FnMut(usize, &AnyRecord<'m>, &[Group]) -> Result<(), Refusal>> Visitor<'de>
    for &mut Records<'_, 'm, F>
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record (an object by the features' names) or an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One(self))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Records { columns, record, values, groups, read, most, then, status } = self;
        if read == most {
            let message = format_args!("found more than {most} records, expected at most {most} a request");
            return Err(A::Error::custom(message));
        }
        values.fill(Value::Missing);
        groups.fill(Group::Missing);
        let mut given = [0_u64; FEATURES.div_ceil(64)];
        let twice = |name: &str| A::Error::custom(format_args!("found `{name}` twice, expected each feature once"));
        let mut next = FeatureIndex(0);
        while let Some(key) = map.next_key_seed(Key { columns, next })? {
            let feature = match key {
                Place::Feature(feature) => feature,
                Place::Column(index) => {
                    let group = map.next_value_seed(GroupCell)?;
                    if let Some(place) = groups.get_mut(index)
                        && std::mem::replace(place, group) != Group::Missing
                    {
                        return Err(twice(columns.columns.get(index).map_or("", String::as_str)));
                    }
                    continue;
                }
            };
            let bit = 1 << (feature.0 % 64);
            if let Some(given) = given.get_mut(feature.0 / 64)
                && std::mem::replace(given, *given | bit) & bit != 0
            {
                return Err(twice(columns.names.at(feature).map_or("", |named| named.name)));
            }
            next = FeatureIndex(feature.0 + 1);
            let value = map.next_value_seed(Cell { names: columns.names, feature })?;
            if let Some(place) = values.get_mut(feature.0) {
                *place = value;
            }
            for (group, _) in groups.iter_mut().zip(&columns.features).filter(|(_, of)| **of == Some(feature)) {
                *group = columns.names.group(feature, value);
            }
        }
        record.fill_all(values).map_err(A::Error::custom)?;
        then(*read, record, groups).map_err(|refusal| {
            *status = Some(refusal.status);
            A::Error::custom(refusal.message)
        })?;
        *read += 1;
        Ok(())
    }
}

/// An element of an array, which must be a record.
struct One<'a, T>(&'a mut T);

impl<'de, T> DeserializeSeed<'de> for One<'_, T>
where
    for<'a> &'a mut T: Visitor<'de, Value = ()>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self.0)
    }
}

/// The destination of the value of a key.
enum Place {
    Feature(FeatureIndex),
    Column(usize),
}

/// The name of a feature or of a column by which decisions are counted.
struct Key<'c, 'r, 'm> {
    columns: &'c Columns<'r, 'm>,
    /// The expected feature if the record is in the model's order: found without hashing.
    next: FeatureIndex,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_, '_> {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_, '_> {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a feature")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Place, E> {
        let Self { columns: Columns { names, columns, .. }, next } = self;
        if names.at(next).is_some_and(|named| named.name == name) {
            return Ok(Place::Feature(next));
        }
        let column = || columns.iter().position(|column| column == name).map(Place::Column);
        names.find(name).map(Place::Feature).or_else(column).ok_or_else(|| {
            let names: Vec<&str> = names.all().collect();
            E::custom(format_args!("found the feature `{name}`, expected one of: {}", names.join(", ")))
        })
    }
}

/// The value of a column that is not a feature.
struct GroupCell;

impl<'de> DeserializeSeed<'de> for GroupCell {
    type Value = Group;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Group, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for GroupCell {
    type Value = Group;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<Group, E> {
        Ok(Group::Missing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Group, E> {
        Ok(Group::Named(value.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Group, E> {
        Ok(Group::Named(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Group, E> {
        Ok(Group::Named(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Group, E> {
        Ok(Group::Named(number.to_string()))
    }

    fn visit_str<E>(self, name: &str) -> Result<Group, E> {
        Ok(Group::Named(name.to_owned()))
    }
}

/// The value of a feature.
struct Cell<'r, 'm> {
    names: &'r Names<'m>,
    feature: FeatureIndex,
}

impl<'de> DeserializeSeed<'de> for Cell<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Cell<'_, '_> {
    fn levels(&self) -> Option<&std::collections::HashMap<&str, u16>> {
        self.names.at(self.feature)?.levels.as_ref()
    }

    /// Numbers beyond the range of `f32` become infinite and are then clamped to the training
    /// range, like all numbers outside it.
    #[allow(clippy::cast_possible_truncation)]
    fn number<E: Error>(self, number: f64) -> Result<Value, E> {
        match self.levels() {
            None => Ok(Value::Number(number as f32)),
            Some(_) => Err(E::invalid_type(Unexpected::Float(number), &self)),
        }
    }
}

impl Visitor<'_> for Cell<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.levels().is_some() { "a string" } else { "a number" };
        write!(f, "{kind} or null for `{}`", self.names.at(self.feature).map_or("", |named| named.name))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Missing)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        self.number(number)
    }

    #[allow(clippy::cast_precision_loss)] // converted to f32 in the end
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.number(number as f64)
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.number(number as f64)
    }

    fn visit_str<E: Error>(self, level: &str) -> Result<Value, E> {
        match self.levels() {
            Some(levels) => Ok(levels.get(level).map_or(Value::Unseen, |code| Value::Level(*code))),
            None => Err(E::invalid_type(Unexpected::Str(level), &self)),
        }
    }
}
