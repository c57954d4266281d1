//! Statistics of one column: counts over all records, and the cells of a sample.

use std::collections::BTreeMap;

use chrono::Datelike as _;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rows::{Cell, is_number_column, means_missing, merged, moment};

/// Maximum number of distinct values counted.
const MOST_VALUES: usize = 2_000;

/// Maximum number of bytes kept of a value.
const MOST_BYTES: usize = 200;

/// Longest text that is tried as a date, in bytes, and the number of cells on which every format is
/// tried.
const LONGEST_DATE: usize = 40;
const ENOUGH_DATES: u64 = 100;

/// Recognised formats of dates, in the notation of `strftime`.
pub(super) const DATE_FORMATS: [&str; 12] = [
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%Y%m%d",
];

/// Code of a missing cell, and of a value past those that are counted.
pub(super) const NO_CODE: u32 = u32::MAX;

/// The statistics of a column.
pub(super) struct Column {
    pub(super) name: String,
    /// Whether its type is neither numbers nor text.
    pub(super) is_unreadable: bool,
    /// Number of records.
    pub(super) records: usize,
    /// Number of cells without text.
    pub(super) missing: usize,
    /// Distinct values in the order of appearance, each with its count.
    pub(super) values: Vec<(String, usize)>,
    code_of: BTreeMap<Box<[u8]>, u32>,
    /// Number of cells with values past those that are counted.
    overflow: usize,
    /// Number of cells that are numbers, of those that are whole, and of those that start with a
    /// zero before another digit.
    numbers: usize,
    whole: usize,
    zeros: usize,
    sum: f64,
    /// The two smallest and the two largest distinct numbers, each with how often it occurs.
    pub(super) lowest: Extremes,
    pub(super) highest: Extremes,
    /// The first distinct cells that are not numbers, each with its count.
    others: BTreeMap<String, u64>,
    other_cells: u64,
    /// Whether the numbers ascend strictly.
    ascends: bool,
    last: f64,
    /// Number of cells on which formats of dates were tried, and of those that are dates, by
    /// format.
    dated: u64,
    dates: [u64; DATE_FORMATS.len()],
    /// Lengths in bytes of the shortest and the longest cell.
    lengths: (usize, usize),
    /// Hash of all cells: equal for columns with the same cells.
    pub(super) hash: u64,
    /// For each sampled record, the code of the value, and the number or NaN.
    pub(super) sample: Vec<(u32, f64)>,
}

/// The two outermost distinct numbers of a column, the outer one first, with their counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extremes([Option<(f64, usize)>; 2]);

impl Extremes {
    /// Counts a number. `is_outer` returns whether its first argument lies further out than the
    /// second.
    fn take(&mut self, x: f64, is_outer: impl Fn(f64, f64) -> bool) {
        let [first, second] = &mut self.0;
        for place in [&mut *first, &mut *second] {
            if let Some((known, count)) = place
                && *known == x
            {
                *count += 1;
                return;
            }
        }
        if first.is_none_or(|(known, _)| is_outer(x, known)) {
            *second = *first;
            *first = Some((x, 1));
        } else if second.is_none_or(|(known, _)| is_outer(x, known)) {
            *second = Some((x, 1));
        }
    }

    pub(super) fn outer(self) -> Option<(f64, usize)> {
        self.0[0]
    }

    pub(super) fn next(self) -> Option<(f64, usize)> {
        self.0[1]
    }
}

/// The kind of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    Number,
    /// Dates, with their format.
    Dates(&'static str),
    Text,
}

impl Column {
    pub(super) fn new(name: &str, is_readable: bool) -> Self {
        Self {
            name: name.to_owned(),
            is_unreadable: !is_readable,
            records: 0,
            missing: 0,
            values: Vec::new(),
            code_of: BTreeMap::new(),
            overflow: 0,
            numbers: 0,
            whole: 0,
            zeros: 0,
            sum: 0.0,
            lowest: Extremes::default(),
            highest: Extremes::default(),
            others: BTreeMap::new(),
            other_cells: 0,
            ascends: true,
            last: f64::NEG_INFINITY,
            dated: 0,
            dates: [0; DATE_FORMATS.len()],
            lengths: (usize::MAX, 0),
            hash: 0,
            sample: Vec::new(),
        }
    }

    /// Counts a cell. Returns it in the form in which the sample keeps it.
    pub(super) fn add(&mut self, cell: Cell<'_>) -> (u32, f64) {
        self.records += 1;
        let Some(text) = cell.text() else {
            self.missing += 1;
            self.hash = xxh3_64_with_seed(b"", self.hash.rotate_left(1));
            return (NO_CODE, f64::NAN);
        };
        self.hash = xxh3_64_with_seed(&text, self.hash ^ 1);
        self.lengths = (self.lengths.0.min(text.len()), self.lengths.1.max(text.len()));
        let number = cell.number().filter(|x| x.is_finite());
        match number {
            Some(x) => self.add_number(x, &text),
            None => self.add_other(&text),
        }
        (self.code(&text), number.unwrap_or(f64::NAN))
    }

    fn add_number(&mut self, x: f64, text: &[u8]) {
        self.numbers += 1;
        self.whole += usize::from(x.fract() == 0.0);
        self.zeros += usize::from(matches!(text, [b'0', b'0'..=b'9', ..]));
        self.sum += x;
        self.ascends &= x > self.last;
        self.last = x;
        self.lowest.take(x, |a, b| a < b);
        self.highest.take(x, |a, b| a > b);
        if text.len() == 8 && self.dates[DATE_FORMATS.len() - 1] + 1 >= self.numbers as u64 {
            self.count_date(DATE_FORMATS.len() - 1, text);
        }
    }

    fn add_other(&mut self, text: &[u8]) {
        self.other_cells += 1;
        let short = text.get(..MOST_BYTES).unwrap_or(text);
        let short = String::from_utf8_lossy(short).into_owned();
        if let Some(count) = self.others.get_mut(&short) {
            *count += 1;
        } else if self.others.len() < MOST_VALUES {
            self.others.insert(short, 1);
        }
        // A format that does not match most of the first cells is not tried again.
        if text.len() <= LONGEST_DATE && text.iter().any(u8::is_ascii_digit) {
            for format in 0..DATE_FORMATS.len() {
                if self.dated < ENOUGH_DATES || self.dates[format] * 10 >= self.dated * 9 {
                    self.count_date(format, text);
                }
            }
            self.dated += 1;
        }
    }

    fn count_date(&mut self, format: usize, text: &[u8]) {
        // `%Y` reads a year of two digits as one in antiquity.
        let is_date = |text: &str| moment(text, DATE_FORMATS[format]).is_some_and(|moment| moment.year() >= 1000);
        if std::str::from_utf8(text).is_ok_and(is_date) {
            self.dates[format] += 1;
        }
    }

    fn code(&mut self, text: &[u8]) -> u32 {
        let text = text.get(..MOST_BYTES).unwrap_or(text);
        let code = match self.code_of.get(text) {
            Some(&code) => code,
            None if self.values.len() < MOST_VALUES => {
                let code = self.values.len() as u32;
                self.code_of.insert(text.into(), code);
                self.values.push((String::from_utf8_lossy(text).into_owned(), 0));
                code
            }
            None => {
                self.overflow += 1;
                return NO_CODE;
            }
        };
        self.values[code as usize].1 += 1;
        code
    }

    /// Returns the number of cells that are numbers.
    pub(super) fn numbers(&self) -> usize {
        self.numbers
    }

    /// Returns the number of cells with text.
    pub(super) fn present(&self) -> usize {
        self.records - self.missing
    }

    pub(super) fn has(&self, value: &str) -> bool {
        self.code_of.contains_key(value.as_bytes())
    }

    pub(super) fn kind(&self) -> Kind {
        if self.present() == 0 {
            return Kind::Empty;
        }
        let best = (0..DATE_FORMATS.len()).rev().max_by_key(|format| self.dates[*format]).unwrap_or_default();
        let words: u64 = self.words().map(|(_, count)| count).sum();
        let there = self.present() as u64 - words;
        if self.dates[best] > 0 && self.dates[best] * 20 >= there * 19 {
            return Kind::Dates(DATE_FORMATS[best]);
        }
        let others = self.others.iter().map(|(text, count)| (text.as_str(), *count));
        let are_listed = self.others.values().sum::<u64>() == self.other_cells;
        if are_listed && is_number_column(self.numbers as u64, others) { Kind::Number } else { Kind::Text }
    }

    pub(super) fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    /// Returns the words for no value, each with its count.
    pub(super) fn words(&self) -> impl Iterator<Item = (&str, u64)> {
        self.others().filter(|(text, _)| means_missing(text))
    }

    /// Returns the cells that are not numbers, each with its count.
    pub(super) fn others(&self) -> impl Iterator<Item = (&str, u64)> {
        self.others.iter().map(|(text, count)| (text.as_str(), *count))
    }

    /// Returns the cells of a column of numbers that are neither numbers nor words for no value,
    /// each with its count.
    pub(super) fn odd_cells(&self) -> Vec<(&str, u64)> {
        let odd = self.others.iter().filter(|(text, _)| self.is_number() && !means_missing(text));
        odd.map(|(text, count)| (text.as_str(), *count)).collect()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_number() && self.whole == self.numbers
    }

    /// Returns whether whole numbers of equal length start with zeros: then they are codes.
    pub(super) fn has_leading_zeros(&self) -> bool {
        self.zeros > 0 && self.whole == self.numbers && self.lengths.0 == self.lengths.1
    }

    /// Returns the number of distinct values, without words for no value; `None` if there are more
    /// than are counted.
    pub(super) fn distinct(&self) -> Option<usize> {
        (self.overflow == 0).then(|| self.known_values().count())
    }

    /// Returns the values with their counts, without words for no value in a column of numbers.
    pub(super) fn known_values(&self) -> impl Iterator<Item = (&str, usize)> {
        let is_number = self.is_number();
        let values = self.values.iter().map(|(value, count)| (value.as_str(), *count));
        values.filter(move |(value, _)| !(is_strong(value) || (is_number && means_missing(value))))
    }

    /// Returns whether no value occurs twice, in a column of text or of ascending whole numbers.
    pub(super) fn is_unique(&self) -> bool {
        let repeats = self.values.iter().any(|(_, count)| *count > 1) || !self.sample_is_unique();
        let counter = self.is_whole() && self.ascends && self.numbers == self.records;
        self.missing == 0 && (counter || (!repeats && !self.is_number()))
    }

    /// Returns whether all sampled cells with counted values differ. Others are not compared.
    fn sample_is_unique(&self) -> bool {
        let codes: Vec<u32> = self.sample.iter().map(|(code, _)| *code).filter(|code| *code != NO_CODE).collect();
        let mut distinct = codes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.len() == codes.len()
    }

    /// Returns whether most values occur once or twice.
    pub(super) fn rarely_repeats(&self) -> bool {
        match self.overflow {
            0 => self.values.len() * 2 > self.present(),
            // The counted values came first: if they cover few cells, the others are rare too.
            overflow => {
                self.present() - overflow < 2 * MOST_VALUES
                    && self.values.iter().filter(|(_, count)| *count <= 2).count() * 2 > MOST_VALUES
            }
        }
    }

    /// Returns whether a model cannot keep its numbers distinct.
    pub(super) fn is_merged(&self) -> bool {
        merged(self.sample_numbers()).is_some()
    }

    pub(super) fn sample_numbers(&self) -> impl Iterator<Item = f64> + Clone {
        self.sample.iter().map(|(_, x)| *x).filter(|x| x.is_finite())
    }

    /// Returns the smallest and the largest number.
    pub(super) fn extent(&self) -> (f64, f64) {
        let of = |extremes: Extremes| extremes.outer().map_or(f64::NAN, |(x, _)| x);
        (of(self.lowest), of(self.highest))
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.numbers as f64
    }

    /// Returns the third standardised moment of the sampled numbers, and of their `ln(1 + x)`.
    pub(super) fn skews(&self) -> (f64, f64) {
        (skew(self.sample_numbers()), skew(self.sample_numbers().map(libm::log1p)))
    }

    /// Returns the values by frequency, the most frequent first. Equally frequent values keep the
    /// order of appearance.
    pub(super) fn by_frequency(&self) -> Vec<(&str, usize)> {
        let mut values: Vec<(&str, usize)> = self.known_values().collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values
    }

    /// Returns whether a sampled record has 1 or true in this column.
    pub(super) fn is_one(&self, record: usize) -> bool {
        let is_true =
            |code: u32| self.values.get(code as usize).is_some_and(|(value, _)| value.eq_ignore_ascii_case("true"));
        self.sample.get(record).is_some_and(|(code, x)| *x == 1.0 || is_true(*code))
    }

    /// Returns the code of a value.
    pub(super) fn code_of(&self, value: &str) -> Option<u32> {
        self.code_of.get(value.as_bytes()).copied()
    }
}

/// Returns whether a word means no value even in a column of text, where "none" and "unknown" may
/// be values.
pub(super) fn is_strong(value: &str) -> bool {
    const STRONG: &str = "na|n.a.|n.a|n/a|#n/a|#na|<na>|(na)|(n/a)|nan|-nan|nat|null|(null)|<null>|nil|\\n|?";
    let value = value.trim().to_lowercase();
    STRONG.split('|').any(|word| word == value)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> Column {
        let mut column = Column::new("c", true);
        for cell in cells {
            let kept = column.add(if cell.is_empty() { Cell::Missing } else { Cell::Text(cell.as_bytes()) });
            column.sample.push(kept);
        }
        column
    }

    #[test]
    fn kinds() {
        assert!(column(&["1", "2.5", ""]).is_number() && !column(&["1", "2.5"]).is_whole());
        assert!(column(&["1", "-2"]).is_whole() && column(&["$1", "2 %"]).is_number());
        assert!(!column(&["1", "x"]).is_number() && column(&["", ""]).kind() == Kind::Empty);
        assert_eq!(column(&["1", "N/A", "2"]).words().collect::<Vec<_>>(), [("N/A", 1)]);
        let many: Vec<String> = (0..99).map(|i| i.to_string()).chain(["12 years".into()]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(column(&many).odd_cells(), [("12 years", 1)]);
        assert_eq!(column(&["2013-08-14 06:03:42", "2013-08-15"]).kind(), Kind::Dates("%Y-%m-%d"));
        assert_eq!(column(&["31.12.2013", "n.a.", "01.02.2014"]).kind(), Kind::Dates("%d.%m.%Y"));
        assert_eq!(column(&["8/14/13", "8/15/13"]).kind(), Kind::Dates("%m/%d/%y"));
        assert_eq!(column(&["20130814", "20130815"]).kind(), Kind::Dates("%Y%m%d"));
        assert_eq!(column(&["2013-08-14", "later", "x"]).kind(), Kind::Text);
        assert!(column(&["01067", "20095"]).has_leading_zeros() && !column(&["0", "10"]).has_leading_zeros());
        assert!(column(&["a", "b"]).is_unique() && !column(&["a", "a"]).is_unique());
        assert!(column(&["1", "5"]).is_unique() && !column(&["5", "1"]).is_unique());
        assert!(!column(&["1.5", "2.5"]).is_unique() && !column(&["1", ""]).is_unique());
        assert_eq!(column(&["1", "x", ""]).hash, column(&["1", "x", ""]).hash);
        assert_ne!(column(&["1", "x", ""]).hash, column(&["1", "", "x"]).hash);
    }

    #[test]
    fn values_are_counted() {
        let column = column(&["b", "a", "a", "", "c", "null"]);
        assert_eq!(column.by_frequency(), [("a", 2), ("b", 1), ("c", 1)]);
        assert_eq!((column.present(), column.missing, column.distinct()), (5, 1, Some(3)));
        let codes: Vec<u32> = column.sample.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [0, 1, 1, NO_CODE, 2, 3]);
    }

    #[test]
    fn moments_and_extremes() {
        let column = column(&["0", "0", "0", "4"]);
        assert_eq!((column.extent(), column.mean()), ((0.0, 4.0), 1.0));
        assert_eq!((column.lowest.outer(), column.lowest.next()), (Some((0.0, 3)), Some((4.0, 1))));
        // Two-point distribution with p = 1/4: (1 - 2p) / sqrt(p (1 - p)).
        assert!((column.skews().0 - 0.5 / 0.1875_f64.sqrt()).abs() < 1e-12);
        assert_eq!(self::column(&["5", "5"]).skews().0, 0.0);
    }
}
