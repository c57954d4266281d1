//! Detects whether records that are read again are the same as before.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

#[cfg(feature = "arrow")]
use super::record::Cell;
use super::record::{Held, Kept, Record};

/// The records read since a source was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub records: u64,
    /// Detects other records. Collides by chance once in 2^64; not secure against a deliberate
    /// attack.
    hash: u64,
}

impl Passed {
    /// Adds a record.
    #[inline]
    pub(super) fn take(&mut self, record: &Record<'_>) {
        self.records += 1;
        match record.cells {
            Held::Fields(fields) => {
                // The text does not show the ends of the fields if quotes hid delimiters.
                let ends = fields.fields.iter().fold(0_u64, |ends, field| ends.rotate_left(7) ^ u64::from(field.end));
                self.mix(fields.text, ends);
            }
            Held::Kept { cells, text, .. } => cells.iter().for_each(|cell| match cell {
                Kept::Missing => self.mix(&[], 0),
                Kept::Number(x) => self.mix(&x.to_bits().to_le_bytes(), 1),
                Kept::Text(range) => {
                    self.mix(text.get(range.start as usize..range.end as usize).unwrap_or_default(), 2)
                }
            }),
            #[cfg(feature = "arrow")]
            Held::Batch { columns, row, .. } => {
                columns.iter().for_each(|column| match column.as_it_stands(row) {
                    Cell::Missing => self.mix(&[], 0),
                    Cell::Number(x) => self.mix(&x.to_bits().to_le_bytes(), 1),
                    Cell::Text(text) => self.mix(text, 2),
                });
            }
        }
    }

    #[inline]
    fn mix(&mut self, bytes: &[u8], also: u64) {
        self.hash = xxh3_64_with_seed(bytes, self.hash ^ also);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::rows::record::{Derived, Fields, Position};
    use crate::rows::rules::Rules;
    use crate::schema::Table;

    fn passed(records: &[&str]) -> Passed {
        let mut passed = Passed::default();
        for record in records {
            let mut start = 0;
            let fields: Vec<Range<u32>> = record
                .split(',')
                .map(|field| {
                    let range = start..start + field.len() as u32;
                    start = range.end + 1;
                    range
                })
                .collect();
            let rules = Rules::new(&Table { trim: false, missing: Vec::new(), ..Table::default() }, &[]);
            let fields = Fields { text: record.as_bytes(), fields: &fields, rules: &rules };
            let position = Position { file: "f", line: 1, number: 1 };
            passed.take(&Record { cells: Held::Fields(fields), derived: Derived::NONE, position });
        }
        passed
    }

    #[test]
    fn other_records_another_order_and_other_fields_are_distinguished() {
        let same = passed(&["a,b", "longer than a word,c"]);
        assert_eq!(passed(&["a,b", "longer than a word,c"]), same);
        for other in [
            &["a,b"][..],
            &["longer than a word,c", "a,b"],
            &["a,b", "longer than a word,d"],
            &["a,b", "longer_than a word,c"],
            &["a,b", "longer than a word,c,"],
            &["a,b\0", "longer than a word,c"],
        ] {
            assert_ne!(passed(other), same, "{other:?}");
        }
    }
}
