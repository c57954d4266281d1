//! Tells whether the records that are read again are those that were read before.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The records read since a stream was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub records: u64,
    /// Tells other records apart, by chance wrongly once in 2^64; not made to withstand malice.
    hash: u64,
}

impl Passed {
    /// Takes in a record.
    #[inline]
    pub(super) fn take(&mut self, text: &[u8], fields: &[Range<u32>]) {
        self.records += 1;
        let (words, rest) = text.as_chunks();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.mix(u64::from_le_bytes(last));
        // Cheaper, and apart from the long chain above: only where quotes hid the delimiters does the text not tell where fields end.
        let ends = fields.iter().fold(0_u64, |ends, field| ends.rotate_left(7) ^ u64::from(field.end));
        self.mix(ends);
    }

    /// Multiplies by the golden ratio and folds the halves.
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.hash ^ word ^ 0x5851_f42d_4c95_7f2d) * 0x9e37_79b9_7f4a_7c15;
        #[allow(clippy::cast_possible_truncation)]
        let folded = (product as u64) ^ (product >> 64) as u64;
        self.hash = folded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            passed.take(record.as_bytes(), &fields);
        }
        passed
    }

    #[test]
    fn other_records_another_order_and_other_fields_are_told_apart() {
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
