//! Numbers as people write them.
//!
//! | text | number |
//! | --- | --- |
//! | `39`, `-1.5`, `.5`, `5.`, `+3`, `1e5` | as it stands |
//! | `12 %`, `$5`, `5 EUR` | a percent or currency sign beside it is ignored: 12 and 5 |
//! | `(5)`, `5-`, `−5` | -5 |
//! | `1 234`, `1'234`, `1_234` | 1234: blanks, apostrophes and underscores between groups of digits |
//! | full-width, Arabic and Indic digits | as ASCII digits |
//! | `0x1f` | 31 |
//! | `1.234,5` | 1234.5 where the table says `decimal = ","` and `thousands = "."` |
//! | `1,234.5` | 1234.5 where the table says `thousands = ","` |
//!
//! A comma alone can be either, so a table without these keys has no number with one.

use std::borrow::Cow;

use crate::schema::Table;

/// Longest text of a number, in bytes.
const LONGEST: usize = 80;

/// Blanks that stand between groups of digits: plain, no-break, thin, figure, narrow no-break.
const BLANKS: [char; 5] = [' ', '\u{a0}', '\u{2009}', '\u{2007}', '\u{202f}'];

/// Other marks between groups of digits: from Switzerland, and from program text.
const MARKS: [char; 3] = ['\'', '\u{2019}', '_'];

/// Words for currencies, in addition to the signs in Unicode.
const CURRENCIES: [&str; 22] = [
    "usd", "eur", "gbp", "chf", "jpy", "cny", "inr", "brl", "sek", "nok", "dkk", "pln", "czk", "huf", "rub", "cad",
    "aud", "kr", "kč", "zł", "rs", "r",
];

/// The zeros of other digits: full-width, Arabic, Persian, Devanagari.
const ZEROS: [u32; 4] = [0xff10, 0x0660, 0x06f0, 0x0966];

/// Reads a number in any notation of the module's table that needs no key in the schema.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text).ok().or_else(|| Marks::default().read(text))
}

/// The decimal and thousands marks of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// `None` means a point.
    pub decimal: Option<char>,
    pub thousands: Option<char>,
}

impl Marks {
    /// Returns the marks of a table; `None` if it has only plain notation.
    pub(crate) fn of(table: &Table) -> Option<Self> {
        let marks = Self { decimal: Some(table.decimal).filter(|mark| *mark != '.'), thousands: table.thousands };
        (marks != Self::default()).then_some(marks)
    }

    /// Reads a number that contains one of the marks; `None` for any other text, including a plain
    /// number.
    pub(crate) fn number(self, text: &[u8]) -> Option<f64> {
        let has = |mark: Option<char>| {
            let mut bytes = [0; 4];
            mark.is_some_and(|mark| memchr::memmem::find(text, mark.encode_utf8(&mut bytes).as_bytes()).is_some())
        };
        if has(self.decimal) || has(self.thousands) { self.read(text) } else { None }
    }

    /// Reads a number with any signs beside and inside it.
    #[cold]
    pub(crate) fn read(self, text: &[u8]) -> Option<f64> {
        if text.len() > LONGEST {
            return None;
        }
        let text = ascii_digits(std::str::from_utf8(text).ok()?);
        if !text.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (text, is_negative) = bare(&text)?;
        let plain = self.plain(text)?;
        let number: f64 = match plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?.into(),
            None => fast_float2::parse(plain.as_bytes()).ok()?,
        };
        Some(if is_negative { -number } else { number })
    }

    /// Returns the number in plain notation: without marks between groups, with a point.
    fn plain(self, text: &str) -> Option<Cow<'_, str>> {
        let decimal = self.decimal.unwrap_or('.');
        let (whole, rest) = match text.find(decimal) {
            Some(at) => (&text[..at], Some(&text[at + decimal.len_utf8()..])),
            None => (text, None),
        };
        let is_mark = |c: char| Some(c) == self.thousands || BLANKS.contains(&c) || MARKS.contains(&c);
        let whole: Cow<'_, str> = match whole.chars().find(|c| is_mark(*c)) {
            None => whole.into(),
            Some(mark) => {
                let groups: Vec<&str> = whole.split(mark).collect();
                // Groups have three digits. In India they have two, except for the last.
                let is_digits = |group: &&str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
                let (first, others) = groups.split_first()?;
                let (last, middle) = others.split_last()?;
                let fits = groups.iter().all(is_digits)
                    && first.len() <= 3
                    && last.len() == 3
                    && middle.iter().all(|group| (2..=3).contains(&group.len()));
                if !fits {
                    return None;
                }
                groups.concat().into()
            }
        };
        Some(match rest {
            None => whole,
            // A second decimal mark, or a point that is not the decimal mark.
            Some(rest) if rest.contains(decimal) || rest.contains('.') => return None,
            Some(rest) => format!("{whole}.{rest}").into(),
        })
    }
}

/// Replaces the digits of other scripts by ASCII digits, and wide signs by ASCII signs.
fn ascii_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let ascii = |c: char| {
        let digit = ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(*zero).filter(|digit| *digit < 10));
        match (digit, c) {
            (Some(digit), _) => char::from_digit(digit, 10).unwrap_or(c),
            (None, '\u{2212}' | '\u{ff0d}' | '\u{2013}') => '-',
            (None, '\u{ff0b}') => '+',
            (None, '\u{ff0e}') => '.',
            (None, '\u{ff0c}') => ',',
            (None, '\u{ff05}') => '%',
            (None, c) => c,
        }
    };
    text.chars().map(ascii).collect::<String>().into()
}

/// Removes what stands beside a number, each at most once: a sign or parentheses, a currency, a
/// percent sign. Returns the rest and whether the number is negative.
fn bare(text: &str) -> Option<(&str, bool)> {
    let is_blank = |c: char| c.is_whitespace() || BLANKS.contains(&c);
    let mut text = text.trim_matches(is_blank);
    let [mut sign, mut currency, mut percent] = [false; 3];
    let mut is_negative = false;
    if let Some(inside) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        (text, sign, is_negative) = (inside.trim_matches(is_blank), true, true);
    }
    loop {
        let (first, last) = (text.chars().next()?, text.chars().next_back()?);
        if first.is_ascii_digit() && last.is_ascii_digit() {
            return Some((text, is_negative));
        }
        let rest = if let Some(rest) = text.strip_prefix(['-', '+']).filter(|_| !sign) {
            (sign, is_negative) = (true, first == '-');
            rest
        } else if let Some(rest) = text.strip_suffix('-').filter(|_| !sign) {
            (sign, is_negative) = (true, true);
            rest
        } else if let Some(rest) = text.strip_suffix('%').or_else(|| text.strip_prefix('%')).filter(|_| !percent) {
            percent = true;
            rest
        } else if let Some(rest) = without_currency(text).filter(|_| !currency) {
            currency = true;
            rest
        } else {
            // Such as `.5` and `5.`
            return Some((text, is_negative));
        };
        text = rest.trim_matches(is_blank);
    }
}

/// Removes the sign or word of a currency from either end.
fn without_currency(text: &str) -> Option<&str> {
    let is_sign = |c: char| c == '$' || c == '¢' || c == '£' || c == '¥' || ('\u{20a0}'..='\u{20cf}').contains(&c);
    if let Some(rest) = text.strip_prefix(is_sign).or_else(|| text.strip_suffix(is_sign)) {
        return Some(rest);
    }
    let is_word = |word: &str| CURRENCIES.contains(&word.trim_end_matches('.').to_lowercase().as_str());
    let is_letter = |c: char| c.is_alphabetic();
    let start = text.find(|c: char| !is_letter(c))?;
    let (word, rest) = text.split_at(start);
    // `Rs.` and `R$`
    let rest = if word.is_empty() { rest } else { rest.trim_start_matches(['.', '$']) };
    if !word.is_empty() && is_word(word) {
        return Some(rest);
    }
    let end = text.trim_end_matches('.').trim_end_matches(is_letter).len();
    let (rest, word) = text.split_at(end);
    (!word.is_empty() && is_word(word)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn german() -> Marks {
        Marks { decimal: Some(','), thousands: Some('.') }
    }

    fn english() -> Marks {
        Marks { decimal: None, thousands: Some(',') }
    }

    #[test]
    fn numbers_as_people_write_them() {
        for (text, number) in [
            ("39", 39.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("+3", 3.0),
            ("1e5", 1e5),
            ("12 %", 12.0),
            ("12%", 12.0),
            ("$5", 5.0),
            ("-$5.50", -5.5),
            ("$-5.50", -5.5),
            ("5 €", 5.0),
            ("€ 5", 5.0),
            ("EUR 5", 5.0),
            ("5.5 usd", 5.5),
            ("Rs. 500", 500.0),
            ("R$ 12", 12.0),
            ("($5)", -5.0),
            ("(1 234.5)", -1234.5),
            ("5-", -5.0),
            ("\u{2212}5", -5.0),
            ("1 234", 1234.0),
            ("1\u{a0}234\u{a0}567.25", 1_234_567.25),
            ("1\u{202f}234", 1234.0),
            ("1'234", 1234.0),
            ("1_234", 1234.0),
            ("１２３．５", 123.5),
            ("٣٩", 39.0),
            ("0x4bec", 19436.0),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for text in [
            "",
            "x",
            "n.a.",
            "-",
            "--",
            "%",
            "$",
            "()",
            "1,234",
            "1,5",
            "12 34",
            "1 2345",
            "1.2.3",
            "5 km",
            "1-5",
            "2020-01-05",
            "12:30",
            "1e",
            "((5))",
            "$$5",
            "5%%",
            "V57",
            "0x",
            "1 234 56",
            "5 6",
            "a5",
            "3rd",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_table_says_which_mark_is_which() {
        for (text, number) in [
            ("19.435,92", Some(19_435.92)),
            ("1,5", Some(1.5)),
            ("-1,5", Some(-1.5)),
            ("12,5 %", Some(12.5)),
            ("1.234", Some(1234.0)),
            ("1.234.567", Some(1_234_567.0)),
            ("1,5e3", Some(1500.0)),
            ("€ 1.234,50", Some(1234.5)),
            ("1 234,5", Some(1234.5)),
            ("1.5", None),
            ("1,5,5", None),
            ("39", None), // plain: no mark
        ] {
            assert_eq!(german().number(text.as_bytes()), number, "{text}");
        }
        for (text, number) in [
            ("1,234.50", Some(1234.5)),
            ("1,234", Some(1234.0)),
            ("12,34,567", Some(1_234_567.0)),
            ("$1,234", Some(1234.0)),
            ("1,5", None),
            ("1,2345", None),
            ("1.234,5", None),
        ] {
            assert_eq!(english().number(text.as_bytes()), number, "{text}");
        }
    }
}
