//! The only conversion from the cells of a table to the values of the engine.

use feamoe_engine::Value;
use rustc_hash::FxHashMap;

use super::Cell;

/// The names of a categorical feature's levels, in the order of their codes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    names: Vec<String>,
    /// Only looked up, never iterated: the order of its entries has no effect.
    codes: FxHashMap<Box<[u8]>, u16>,
}

impl Levels {
    #[inline]
    pub(crate) fn code(&self, name: &[u8]) -> Option<u16> {
        self.codes.get(name).copied()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Gives a code a new name, which no other code has. Returns its previous name.
    pub(crate) fn rename(&mut self, code: u16, name: &str) -> Option<String> {
        let before = std::mem::replace(self.names.get_mut(usize::from(code))?, name.to_owned());
        self.codes.remove(before.as_bytes());
        self.codes.insert(name.as_bytes().into(), code);
        Some(before)
    }

    /// Adds a new level. A model has room for far fewer levels than there are codes.
    pub(crate) fn add(&mut self, name: &[u8]) {
        let code = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.names.push(String::from_utf8_lossy(name).into_owned());
        self.codes.insert(name.into(), code);
    }
}

impl<'a> FromIterator<&'a str> for Levels {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut levels = Self::default();
        names.into_iter().for_each(|name| levels.add(name.as_bytes()));
        levels
    }
}

/// Returns the engine's value of a cell: the code of its level for a feature with `levels`, else
/// the nearest `f32`. `None` for text that is not a number where one is needed.
#[inline]
pub(crate) fn value(cell: Cell<'_>, levels: Option<&Levels>) -> Option<Value> {
    match (cell, levels) {
        (Cell::Missing, _) => Some(Value::Missing),
        (Cell::Text(text), Some(levels)) => Some(levels.code(text).map_or(Value::Unseen, Value::Level)),
        (Cell::Number(_), Some(levels)) => {
            Some(cell.text().and_then(|text| levels.code(&text)).map_or(Value::Unseen, Value::Level))
        }
        #[allow(clippy::cast_possible_truncation)] // the nearest f32
        (_, None) => cell.number().map(|x| Value::Number(x as f32)),
    }
}
