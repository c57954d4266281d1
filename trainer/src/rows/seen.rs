//! Counts the first distinct values of a column that match nothing, to list them in a message or a
//! report.

use serde::{Deserialize, Serialize};

use crate::error::list;

/// Maximum number of values kept.
pub const MOST_KEPT: usize = 10;
/// Maximum number of bytes kept of a value. Longer values with the same beginning count as one.
const MOST_BYTES: usize = 256;

/// The first distinct values, in order of appearance, with the number of rows of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    values: Vec<(Box<[u8]>, u64)>,
    /// Rows with other values.
    others: u64,
    /// Rows whose value is missing.
    missing: u64,
}

impl Seen {
    pub(crate) fn note(&mut self, value: &[u8]) {
        let value = value.get(..MOST_BYTES).unwrap_or(value);
        if let Some((_, rows)) = self.values.iter_mut().find(|(known, _)| **known == *value) {
            *rows += 1;
        } else if self.values.len() < MOST_KEPT {
            self.values.push((value.into(), 1));
        } else {
            self.others += 1;
        }
    }

    /// Adds the rows of another one, whose values come after these.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.others = self.others.saturating_add(other.others);
        self.missing = self.missing.saturating_add(other.missing);
        for (value, rows) in &other.values {
            if let Some((_, known)) = self.values.iter_mut().find(|(known, _)| known == value) {
                *known = known.saturating_add(*rows);
            } else if self.values.len() < MOST_KEPT {
                self.values.push((value.clone(), *rows));
            } else {
                self.others = self.others.saturating_add(*rows);
            }
        }
    }

    pub(crate) fn note_missing(&mut self) {
        self.missing += 1;
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.values.iter().map(|(_, rows)| rows).sum::<u64>() + self.others + self.missing
    }

    /// Returns the number of rows whose value is missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Returns the number of rows with values past the first [`MOST_KEPT`].
    #[must_use]
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Returns the first distinct values, each with its number of rows.
    pub fn values(&self) -> impl Iterator<Item = (String, u64)> {
        self.values.iter().map(|(value, rows)| (String::from_utf8_lossy(value).into_owned(), *rows))
    }

    /// Returns the values as `"a", "b"`, or `nothing`.
    pub(crate) fn list(&self) -> String {
        let values: Vec<String> = self.values().map(|(value, _)| value).collect();
        match (values.is_empty(), self.others > 0) {
            (true, _) => "nothing".into(),
            (false, false) => list(&values),
            (false, true) => format!("{}, ...", list(&values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_counted_and_the_first_values_are_named() {
        let mut seen = Seen::default();
        for row in 0..100_u32 {
            seen.note((row % 12).to_string().as_bytes());
        }
        seen.note_missing();
        assert_eq!((seen.rows(), seen.missing(), seen.others()), (101, 1, 16));
        assert_eq!(seen.values().next(), Some(("0".into(), 9)));
        assert!(seen.list().ends_with("\"9\", ..."), "{}", seen.list());
        let mut long = Seen::default();
        long.note(&[b'a'; 1_000]);
        long.note(&[b'a'; 2_000]);
        assert_eq!(long.values().map(|(value, rows)| (value.len(), rows)).collect::<Vec<_>>(), [(MOST_BYTES, 2)]);
    }
}
