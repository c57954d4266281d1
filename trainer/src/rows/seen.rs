//! The first few distinct values of a column that match nothing, to name them in a message.

use serde::{Deserialize, Serialize};

use crate::error::list;

/// Most values kept.
const MOST_KEPT: usize = 8;

/// A handful of values, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    values: Vec<Box<[u8]>>,
    more: bool,
}

impl Seen {
    pub(crate) fn note(&mut self, value: &[u8]) {
        if !self.more && !self.values.iter().any(|known| **known == *value) {
            self.more = self.values.len() == MOST_KEPT;
            if !self.more {
                self.values.push(value.into());
            }
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Writes `"a", "b"`, or `nothing`.
    pub(crate) fn list(&self) -> String {
        let values: Vec<String> = self.values().collect();
        match (values.is_empty(), self.more) {
            (true, _) => "nothing".into(),
            (false, false) => list(&values),
            (false, true) => format!("{}, ...", list(&values)),
        }
    }
}
