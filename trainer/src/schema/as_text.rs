//! Stores a schema as TOML text, so that an additional key does not change the binary layout.

use std::borrow::Cow;

use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

use super::Schema;

pub(crate) fn serialize<S: Serializer>(schema: &Schema, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&toml::to_string(schema).map_err(ser::Error::custom)?)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'static, Schema>, D::Error> {
    let text = String::deserialize(from)?;
    toml::from_str(&text).map(Cow::Owned).map_err(de::Error::custom)
}
