//! How to read cells: words for *no value* by column, numbers that probably stand for no value, and
//! cells that are not numbers among numbers.

use std::collections::BTreeMap;

use chrono::Datelike as _;

use super::super::column::{Column, Extremes, Kind, is_strong};
use super::super::survey::Survey;
use super::Role;
use crate::rows::moment;
use crate::schema::Table;

/// A number is not a measurement if its distance from all others is this multiple of their range:
/// [`FAR`] if it recurs, [`VERY_FAR`] if it does not.
const FAR: f64 = 1.0;
const VERY_FAR: f64 = 10.0;

/// The findings.
pub(in crate::infer) struct Reading {
    /// Words that mean a missing value in any column.
    pub(in crate::infer) missing: Vec<String>,
    /// Additional words, by column, each with its number of cells.
    pub(in crate::infer) missing_in: BTreeMap<String, Vec<(String, u64)>>,
    /// Numbers, by column, that probably mean a missing value, each with the evidence.
    pub(in crate::infer) sentinels: Vec<(String, String, String)>,
    /// Cells, by column, that are not numbers, each with its count.
    pub(in crate::infer) odd: Vec<(String, Vec<(String, u64)>)>,
    /// Columns in which NA is probably a value, such as Namibia.
    pub(in crate::infer) na_is_a_value: Vec<String>,
}

impl Reading {
    pub(super) fn of(survey: &Survey, roles: &[Role]) -> Self {
        let columns = || survey.columns.iter().zip(roles).filter(|(_, role)| !matches!(role, Role::Drop(_)));
        let na_is_a_value: Vec<String> =
            columns().filter(|(column, _)| has_na_as_code(column)).map(|(column, _)| column.name.clone()).collect();
        let mut missing = Table::default().missing;
        if !na_is_a_value.is_empty() {
            missing.retain(|word| word != "NA");
        }
        let mut missing_in = BTreeMap::new();
        let (mut sentinels, mut odd) = (Vec::new(), Vec::new());
        for (column, role) in columns() {
            let is_number = column.is_number();
            let is_word = |word: &str| (is_number || is_strong(word)) && !missing.iter().any(|known| known == word);
            let words: Vec<(String, u64)> = column
                .words()
                .filter(|(word, _)| is_word(word) && !(*word == "NA" && na_is_a_value.contains(&column.name)))
                .map(|(word, count)| (word.to_owned(), count))
                .collect();
            if !words.is_empty() {
                missing_in.insert(column.name.clone(), words);
            }
            if *role == Role::Target || !is_number {
                continue;
            }
            let found = column.odd_cells();
            if !found.is_empty() {
                let found = found.into_iter().map(|(text, count)| (text.to_owned(), count)).collect();
                odd.push((column.name.clone(), found));
            }
            if !matches!(role, Role::Code(_)) {
                let found = sentinels_of(column);
                sentinels.extend(found.into_iter().map(|(value, why)| (column.name.clone(), value, why)));
            }
        }
        for column in &survey.columns {
            let Kind::Dates(format) = column.kind() else { continue };
            let found = column.values.iter().filter(|(value, _)| is_no_day(value, format));
            sentinels.extend(found.map(|(value, count)| {
                (column.name.clone(), value.clone(), format!("in {count} cells, a placeholder"))
            }));
        }
        Self { missing, missing_in, sentinels, odd, na_is_a_value }
    }
}

/// Returns whether a date is a placeholder: far in the future, or the first day that a program
/// knows.
fn is_no_day(value: &str, format: &str) -> bool {
    let date = moment(value, format).map(|moment| moment.date());
    date.is_some_and(|date| {
        date.year() >= 2999 || [1900, 1899, 1753].iter().any(|year| date.year() == *year && date.ordinal() == 1)
    })
}

/// Returns whether NA is one of many codes of two letters.
fn has_na_as_code(column: &Column) -> bool {
    let is_code = |value: &str| value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase());
    let mut values = column.values.iter().map(|(value, _)| value.as_str());
    column.has("NA") && column.values.len() > 3 && values.all(is_code)
}

/// Returns the numbers that probably stand for no value: the only negative one, or one far from all
/// others.
fn sentinels_of(column: &Column) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (Some((low, low_count)), Some((high, high_count))) = (column.lowest.outer(), column.highest.outer()) else {
        return found;
    };
    let after = |extremes: Extremes| extremes.next().map(|(x, _)| x);
    let (Some(next_low), Some(next_high)) = (after(column.lowest), after(column.highest)) else { return found };
    if column.distinct().is_some_and(|count| count < 3) {
        return found;
    }
    let is_round = |x: f64| {
        let digits = format!("{}", x.abs());
        digits.len() > 1
            && (digits.bytes().all(|byte| byte == b'9') || ["666", "8888", "777", "7777", "888"].contains(&&*digits))
    };
    let far = |gap: f64, range: f64, x: f64, count: usize| {
        let times = if is_round(x) || count > 2 { FAR } else { VERY_FAR };
        gap > times * range.max(f64::MIN_POSITIVE)
    };
    if low < 0.0 && next_low >= 0.0 && low.fract() == 0.0 {
        found.push((low.to_string(), format!("in {low_count} cells, all others are {next_low} to {high}")));
    } else if low != 0.0 && far(next_low - low, high - next_low, low, low_count) {
        found.push((low.to_string(), format!("in {low_count} cells, far below all others, {next_low} to {high}")));
    }
    let base = if found.is_empty() { low } else { next_low };
    if far(high - next_high, next_high - base, high, high_count) && high != base {
        found.push((high.to_string(), format!("in {high_count} cells, far above all others, {base} to {next_high}")));
    }
    found
}
