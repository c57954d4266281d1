//! The levels of a categorical feature and their weight rows.

use serde::{Deserialize, Serialize};

use crate::rows;

/// One level, as it is stored.
#[derive(Serialize, Deserialize)]
struct Level {
    /// Its text in the data.
    name: String,
    /// Its weight row.
    row: u32,
}

/// Levels in the order in which they got their rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Level>", into = "Vec<Level>")]
pub(super) struct Levels {
    known: rows::Levels,
    /// By code.
    rows: Vec<u32>,
}

impl Levels {
    /// Returns the levels by their names.
    pub(super) fn known(&self) -> &rows::Levels {
        &self.known
    }

    /// Returns the weight row of a code.
    #[inline]
    pub(super) fn row(&self, code: u16) -> Option<u32> {
        self.rows.get(usize::from(code)).copied()
    }

    /// Adds a new level.
    pub(super) fn add(&mut self, name: &[u8], row: u32) {
        self.known.add(name);
        self.rows.push(row);
    }

    /// Gives the row of a code a new name. Returns the row and its previous name.
    pub(super) fn rename(&mut self, code: u16, name: &str) -> Option<(u32, String)> {
        Some((self.row(code)?, self.known.rename(code, name)?))
    }

    /// Returns all names and rows.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, u32)> {
        self.known.names().iter().map(String::as_str).zip(self.rows.iter().copied())
    }
}

impl From<Vec<Level>> for Levels {
    fn from(list: Vec<Level>) -> Self {
        let mut levels = Self::default();
        list.iter().for_each(|level| levels.add(level.name.as_bytes(), level.row));
        levels
    }
}

impl From<Levels> for Vec<Level> {
    fn from(levels: Levels) -> Self {
        levels.iter().map(|(name, row)| Level { name: name.to_owned(), row }).collect()
    }
}
