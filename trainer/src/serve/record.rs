//! Records as JSON: an object by the features' names, or an array of such objects. Read straight
//! into a record of the model: a request allocates no tree.
//!
//! A number is a JSON number, a category a string; `null`, and a feature that is not named, are
//! missing values. A level that the model does not know is no error: the answer notes it, as it
//! does a number outside the training range.

use std::fmt;

use crate::model::{AnyRecord, FEATURES};
use feamoe_engine::FeatureIndex;
use feamoe_engine::Value;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::published::{Names, Ready};

/// Reads every record of a body and gives it to `then`, whose refusal is reported with its place in
/// the body. Returns how many there were.
pub fn read<'m>(
    body: &[u8],
    ready: &Ready<'m>,
    then: impl FnMut(&AnyRecord<'m>) -> Result<(), String>,
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut records = Records { names: &ready.names, record: ready.model.record(), then };
    json.deserialize_any(&mut records)?;
    json.end()
}

struct Records<'r, 'm, F> {
    names: &'r Names<'m>,
    record: AnyRecord<'m>,
    then: F,
}

impl<'de, 'm, F: FnMut(&AnyRecord<'m>) -> Result<(), String>> Visitor<'de> for &mut Records<'_, 'm, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record (an object by the features' names) or an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One(self))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Records { names, record, then } = self;
        record.clear();
        let mut given = [false; FEATURES];
        while let Some(feature) = map.next_key_seed(Key(names))? {
            if let Some(given) = given.get_mut(feature.0)
                && std::mem::replace(given, true)
            {
                let name = names.at(feature).map_or("", |named| named.name);
                return Err(A::Error::custom(format_args!("found `{name}` twice, expected each feature once")));
            }
            let value = map.next_value_seed(Cell { names, feature })?;
            _ = record.set_value(feature, value).map_err(A::Error::custom)?;
        }
        then(record).map_err(A::Error::custom)
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

/// The name of a feature.
struct Key<'r, 'm>(&'r Names<'m>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = FeatureIndex;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FeatureIndex, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = FeatureIndex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a feature")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<FeatureIndex, E> {
        self.0.find(name).ok_or_else(|| {
            let names: Vec<&str> = self.0.all().collect();
            E::custom(format_args!("found the feature `{name}`, expected one of: {}", names.join(", ")))
        })
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

    /// Numbers past f32 are infinite here, and clamped to the training range like all that lie
    /// outside it.
    #[allow(clippy::cast_possible_truncation)]
    fn number<E: Error>(self, number: f64) -> Result<Value, E> {
        match self.levels() {
            None => Ok(Value::Number(number as f32)),
            Some(_) => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
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

    #[allow(clippy::cast_precision_loss)] // to f32 in the end
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
            None => Err(E::invalid_type(serde::de::Unexpected::Str(level), &self)),
        }
    }
}
