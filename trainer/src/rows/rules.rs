//! Rules for reading the cells of a table, for text and typed tables alike: which words mean *no
//! value*, and which marks stand inside numbers.

use super::number::{Marks, parse};
use super::record::{Cell, decimals};
#[cfg(feature = "arrow")]
use crate::schema::BadCells;
use crate::schema::Table;

/// The rules of a table.
#[derive(Debug)]
pub(super) struct Rules {
    trim: bool,
    #[cfg(feature = "arrow")]
    pub(super) bad_cells: BadCells,
    everywhere: Words,
    /// Words of individual columns, by column.
    own: Vec<Option<Words>>,
    marks: Option<Marks>,
}

/// The rules of one column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnRules<'a> {
    table: &'a Rules,
    own: Option<&'a Words>,
}

impl Rules {
    /// Returns the rules of a table with these columns. Rules for absent columns are ignored,
    /// because scored data need no target.
    pub(super) fn new(table: &Table, columns: &[String]) -> Self {
        let own = |column: &String| table.missing_in.get(column).map(|words| Words::new(words));
        let own = if table.missing_in.is_empty() { Vec::new() } else { columns.iter().map(own).collect() };
        Self {
            trim: table.trim,
            #[cfg(feature = "arrow")]
            bad_cells: table.bad_cells,
            everywhere: Words::new(&table.missing),
            own,
            marks: Marks::of(table),
        }
    }

    #[inline]
    pub(super) fn column(&self, index: usize) -> ColumnRules<'_> {
        ColumnRules { table: self, own: self.own.get(index).and_then(Option::as_ref) }
    }
}

impl<'a> ColumnRules<'a> {
    /// Returns the text, trimmed if the table is trimmed.
    #[inline]
    pub(super) fn trimmed(self, text: &[u8]) -> &[u8] {
        if self.table.trim { text.trim_ascii() } else { text }
    }

    /// Returns whether a text means a missing value. A number among the words of this column stands
    /// for every way to write that number.
    #[inline]
    pub(super) fn is_missing(self, text: &[u8]) -> bool {
        self.table.everywhere.contains(text)
            || self.own.is_some_and(|own| {
                own.contains(text) || (!own.numbers.is_empty() && parse(text).is_some_and(|x| own.numbers.contains(&x)))
            })
    }

    /// Returns whether a number means a missing value.
    #[inline]
    pub(super) fn is_missing_number(self, x: f64) -> bool {
        let has = |words: &Words| !words.numbers.is_empty() && words.numbers.contains(&x);
        has(&self.table.everywhere) || self.own.is_some_and(has)
    }

    /// Returns the cell of a text that is not missing: a number if it contains marks of the table,
    /// else the text, which may be the name of a level.
    #[inline]
    pub(super) fn present<'t>(self, text: &'t [u8]) -> Cell<'t> {
        match self.table.marks.and_then(|marks| marks.number(text)) {
            Some(x) => Cell::Number(x),
            None => Cell::Text(text),
        }
    }

    /// Returns the cell of a text.
    #[inline]
    pub(super) fn cell<'t>(self, text: &'t [u8]) -> Cell<'t> {
        if self.is_missing(text) { Cell::Missing } else { self.present(text) }
    }
}

/// Words that mean *no value*.
#[derive(Debug)]
struct Words {
    words: Vec<Box<[u8]>>,
    /// The words that are numbers.
    numbers: Vec<f64>,
    empty: bool,
    /// The first bytes of all words. One look-up rules out nearly every cell.
    first: [bool; 256],
}

impl Words {
    fn new(words: &[String]) -> Self {
        let mut first = [false; 256];
        for byte in words.iter().filter_map(|word| word.as_bytes().first()) {
            first[usize::from(*byte)] = true;
        }
        let number = |word: &String| parse(word.as_bytes()).filter(|x| decimals(*x) == **word);
        Self {
            numbers: words.iter().filter_map(number).collect(),
            empty: words.iter().any(String::is_empty),
            words: words.iter().map(|word| word.as_bytes().into()).collect(),
            first,
        }
    }

    #[inline]
    fn contains(&self, cell: &[u8]) -> bool {
        match cell.first() {
            None => self.empty,
            Some(byte) => self.first[usize::from(*byte)] && self.words.iter().any(|word| **word == *cell),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_column_is_missing_there_only_and_a_number_however_written() {
        let table = Table {
            missing: vec!["?".into(), "7".into()],
            missing_in: [("b".to_owned(), vec!["-1".to_owned(), "none".to_owned()])].into(),
            ..Table::default()
        };
        let rules = Rules::new(&table, &["a".to_owned(), "b".to_owned()]);
        let missing = |column, text: &str| rules.column(column).cell(text.as_bytes()) == Cell::Missing;
        assert!(missing(0, "?") && missing(1, "?") && missing(0, "7"));
        assert!(missing(1, "-1") && missing(1, "-1.0") && missing(1, "none"));
        assert!(!missing(0, "-1") && !missing(0, "none") && !missing(0, "7.0") && !missing(1, "-10"));
        #[cfg(feature = "arrow")]
        assert!(rules.column(1).is_missing_number(-1.0) && rules.column(1).is_missing_number(7.0));
        #[cfg(feature = "arrow")]
        assert!(!rules.column(0).is_missing_number(-1.0));
        assert!(rules.column(9).is_missing(b"?"));
    }

    #[test]
    fn only_numbers_with_the_marks_of_the_table_are_numbers_already() {
        let table = Table { decimal: ',', thousands: Some('.'), ..Table::default() };
        let rules = Rules::new(&table, &[]);
        let cell = |text: &'static str| rules.column(0).cell(text.as_bytes());
        assert_eq!([cell("1,5"), cell("1.234,5")], [Cell::Number(1.5), Cell::Number(1234.5)]);
        for text in ["01067", "39", "a,b", "1.5"] {
            assert_eq!(cell(text), Cell::Text(text.as_bytes()));
        }
    }
}
