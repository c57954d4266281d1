//! The levels of a categorical feature and the row of weights of each.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// One level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Its text in the data.
    pub name: String,
    /// Its row of weights.
    pub row: u32,
}

/// Levels in the order in which they got their rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Level>", into = "Vec<Level>")]
pub(super) struct Levels {
    list: Vec<Level>,
    /// Looked up only, never iterated: the order of its entries has no effect.
    rows: FxHashMap<Box<[u8]>, u32>,
}

impl Levels {
    #[inline]
    pub(super) fn row(&self, cell: &[u8]) -> Option<u32> {
        self.rows.get(cell).copied()
    }

    /// Adds a level that is not there yet.
    pub(super) fn add(&mut self, cell: &[u8], row: u32) {
        self.list.push(Level { name: String::from_utf8_lossy(cell).into_owned(), row });
        self.rows.insert(cell.into(), row);
    }

    pub(super) fn list(&self) -> &[Level] {
        &self.list
    }
}

impl From<Vec<Level>> for Levels {
    fn from(list: Vec<Level>) -> Self {
        let rows = list.iter().map(|level| (level.name.as_bytes().into(), level.row)).collect();
        Self { list, rows }
    }
}

impl From<Levels> for Vec<Level> {
    fn from(levels: Levels) -> Self {
        levels.list
    }
}
