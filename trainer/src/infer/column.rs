//! What the first records show of one column.

use std::collections::BTreeMap;

use crate::rows::merged;

/// Most distinct values remembered.
const MOST_VALUES: usize = 2_000;

/// Words for *no value* that are no missing tokens yet.
const MISSING_WORDS: [&str; 12] =
    ["N/A", "n/a", "na", "null", "NULL", "None", "none", "#N/A", "-", ".", "unknown", "Unknown"];

/// Marks a missing cell, and a value that is not remembered any more.
pub(super) const NO_CODE: u32 = u32::MAX;

/// The cells of a column: a code per record, and the values the codes stand for.
#[derive(Default)]
pub(super) struct Column {
    pub(super) name: String,
    /// Of a type that is neither numbers nor text.
    pub(super) is_unreadable: bool,
    /// Per record, an index into `values`, or [`NO_CODE`].
    pub(super) codes: Vec<u32>,
    /// Distinct values in the order of appearance, with their number.
    pub(super) values: Vec<(String, usize)>,
    code_of: BTreeMap<Box<[u8]>, u32>,
    pub(super) missing: usize,
    /// The numbers in it, and how many of them are whole.
    numbers: Vec<f64>,
    whole: usize,
    /// Cells too many to be remembered.
    overflow: usize,
}

impl Column {
    pub(super) fn new(name: &str, is_readable: bool) -> Self {
        Self { name: name.to_owned(), is_unreadable: !is_readable, ..Self::default() }
    }

    pub(super) fn add(&mut self, cell: Option<&[u8]>) {
        let Some(cell) = cell else {
            self.missing += 1;
            self.codes.push(NO_CODE);
            return;
        };
        if let Some(number) = fast_float2::parse::<f64, _>(cell).ok().filter(|number| number.is_finite()) {
            self.whole += usize::from(number.fract() == 0.0);
            self.numbers.push(number);
        }
        let code = match self.code_of.get(cell) {
            Some(&code) => code,
            None if self.values.len() < MOST_VALUES => {
                let code = self.values.len() as u32;
                self.code_of.insert(cell.into(), code);
                self.values.push((String::from_utf8_lossy(cell).into_owned(), 0));
                code
            }
            None => {
                self.overflow += 1;
                NO_CODE
            }
        };
        if let Some((_, count)) = self.values.get_mut(code as usize) {
            *count += 1;
        }
        self.codes.push(code);
    }

    pub(super) fn present(&self) -> usize {
        self.codes.len() - self.missing
    }

    pub(super) fn has(&self, value: &str) -> bool {
        self.code_of.contains_key(value.as_bytes())
    }

    /// Whether all its values, words for *no value* aside, are numbers.
    pub(super) fn is_number(&self) -> bool {
        !self.numbers.is_empty()
            && self.numbers.len() + self.missing_words().map(|(_, n)| n).sum::<usize>() == self.present()
    }

    /// Words that stand for *no value*, if all its other values are numbers.
    pub(super) fn words_among_numbers(&self) -> Vec<&str> {
        if self.is_number() { self.missing_words().map(|(word, _)| word).collect() } else { Vec::new() }
    }

    fn missing_words(&self) -> impl Iterator<Item = (&str, usize)> {
        let words = self.values.iter().map(|(value, count)| (value.as_str(), *count));
        words.filter(|(value, _)| MISSING_WORDS.contains(value))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_number() && self.whole == self.numbers.len()
    }

    /// Number of distinct values; `None` if there are more than are counted.
    pub(super) fn distinct(&self) -> Option<usize> {
        (self.overflow == 0).then_some(self.values.len())
    }

    /// Whether no value occurs twice, in a column of text or of ascending whole numbers.
    pub(super) fn is_unique(&self) -> bool {
        let repeats = self.values.iter().any(|(_, count)| *count > 1);
        let counter = self.is_whole() && self.numbers.is_sorted();
        !repeats && self.missing == 0 && (counter || !self.is_number())
    }

    /// Whether every cell is the same as in the other column.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.overflow == 0 && self.codes == other.codes && self.values == other.values
    }

    /// Whether its values look like dates or times: text that starts with a date.
    pub(super) fn is_date(&self) -> bool {
        let all = self.values.iter();
        !self.is_number() && !self.values.is_empty() && all.clone().all(|(value, _)| starts_with_date(value))
    }

    /// Whether a model cannot hold its numbers apart.
    pub(super) fn is_merged(&self) -> bool {
        merged(self.numbers.iter().copied()).is_some()
    }

    /// Smallest and largest number.
    pub(super) fn extent(&self) -> (f64, f64) {
        self.numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)))
    }

    pub(super) fn mean(&self) -> f64 {
        self.numbers.iter().sum::<f64>() / self.numbers.len() as f64
    }

    /// Third standardised moment of the numbers, and of their `ln(1 + x)`.
    pub(super) fn skews(&self) -> (f64, f64) {
        (skew(self.numbers.iter().copied()), skew(self.numbers.iter().map(|x| libm::log1p(*x))))
    }

    /// Values by frequency, the most frequent first, equally frequent ones in the order of
    /// appearance.
    pub(super) fn by_frequency(&self) -> Vec<(&str, usize)> {
        let mut values: Vec<(&str, usize)> =
            self.values.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values
    }
}

fn skew(numbers: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    let (second, third) = numbers.fold((0.0, 0.0), |(second, third), x| {
        let off = x - mean;
        (second + off * off, third + off * off * off)
    });
    let variance = second / count;
    if variance > 0.0 { third / count / (variance * variance.sqrt()) } else { 0.0 }
}

/// Whether the text starts as `2013-08-14`, `14.08.2013` or `8/14/13`.
fn starts_with_date(text: &str) -> bool {
    let first = text.split([' ', 'T']).next().unwrap_or_default();
    let parts: Vec<&str> = first.split(['-', '/', '.']).collect();
    parts.len() == 3
        && parts.iter().all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> Column {
        let mut column = Column::default();
        for cell in cells {
            column.add((!cell.is_empty()).then_some(cell.as_bytes()));
        }
        column
    }

    #[test]
    fn kinds() {
        assert!(column(&["1", "2.5", ""]).is_number() && !column(&["1", "2.5"]).is_whole());
        assert!(column(&["1", "-2"]).is_whole());
        assert!(!column(&["1", "x"]).is_number() && !column(&["", ""]).is_number());
        assert_eq!(column(&["1", "N/A", "2"]).words_among_numbers(), ["N/A"]);
        assert!(column(&["None", "Norm", "1"]).words_among_numbers().is_empty());
        assert!(column(&["2013-08-14 06:03:42", "8/14/13"]).is_date() && !column(&["2013-08-14", "later"]).is_date());
        assert!(column(&["a", "b"]).is_unique() && !column(&["a", "a"]).is_unique());
        assert!(column(&["1", "5"]).is_unique() && !column(&["5", "1"]).is_unique());
        assert!(!column(&["1.5", "2.5"]).is_unique() && !column(&["1", ""]).is_unique());
        assert!(column(&["1", "x", ""]).repeats(&column(&["1", "x", ""])));
        assert!(!column(&["1", "x", ""]).repeats(&column(&["1", "y", ""])));
    }

    #[test]
    fn values_are_counted() {
        let column = column(&["b", "a", "a", "", "c"]);
        assert_eq!(column.by_frequency(), [("a", 2), ("b", 1), ("c", 1)]);
        assert_eq!((column.present(), column.missing, column.distinct()), (4, 1, Some(3)));
        assert_eq!(column.codes, [0, 1, 1, NO_CODE, 2]);
    }

    #[test]
    fn moments() {
        let column = column(&["0", "0", "0", "4"]);
        assert_eq!((column.extent(), column.mean()), ((0.0, 4.0), 1.0));
        // Two-point distribution with p = 1/4: (1 - 2p) / sqrt(p (1 - p)).
        assert!((column.skews().0 - 0.5 / 0.1875_f64.sqrt()).abs() < 1e-12);
        assert_eq!(self::column(&["5", "5"]).skews().0, 0.0);
    }
}
