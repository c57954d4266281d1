//! The role of a column as a feature, with the reason: number, category, or left out.

use super::super::column::{Column, Kind};
use super::super::names::{CODE_WORDS, ID_WORDS, has_word};
use super::super::survey::Survey;
use super::super::{others, percent, plain};
use super::Role;
use crate::rows::parse;

/// Minimum skewness of a heavy-tailed column of amounts.
const HEAVY_SKEW: f64 = 2.0;

/// Maximum number of distinct values of a whole number that may be a code.
const FEW_VALUES: usize = 20;

/// Maximum number of distinct values of codes that divide many records.
const MOST_CODES: usize = 100;

/// With fewer records, a column without repeated values need not be an identifier.
const ENOUGH_RECORDS: usize = 50;

/// Decides the role of a column. `outcome` holds 1, 0 or NaN per sampled record if the target is
/// known.
pub(super) fn feature(survey: &Survey, index: usize, outcome: Option<&[f64]>) -> Role {
    let columns = &survey.columns;
    let column = &columns[index];
    let distinct = column.distinct();
    let later = if survey.partial { ", though later ones may differ" } else { "" };
    if column.is_unreadable {
        return Role::Drop("its cells are neither numbers nor text".into());
    }
    let words: u64 = column.words().map(|(_, count)| count).sum();
    if column.present() as u64 == words || distinct == Some(0) {
        return Role::Drop(format!("no value in these records{later}"));
    }
    if let (Some(1), 0, 0, Some((value, _))) = (distinct, column.missing, words, column.known_values().next()) {
        return Role::Drop(format!("always {} in these records{later}", plain(value)));
    }
    if let Some(same) = columns[..index].iter().find(|earlier| earlier.hash == column.hash) {
        return Role::Drop(format!("the same as {}", plain(&same.name)));
    }
    if let Kind::Dates(format) = column.kind() {
        return Role::Drop(format!("dates, written as {format}: [table.dates] makes numbers of them"));
    }
    let is_number = column.is_number();
    if survey.records >= ENOUGH_RECORDS {
        let has_no_name = survey.layout.as_ref().is_some_and(|layout| layout.renamed.iter().any(String::is_empty))
            && column.name == format!("column.{}", index + 1);
        let is_numbering = has_no_name && column.is_whole() && distinct == Some(survey.records);
        if column.is_unique() || is_numbering {
            return Role::Drop("no value occurs twice: an identifier?".into());
        }
        if column.rarely_repeats() && !is_number && column.numbers() * 2 > column.present() {
            let others = others(column);
            let numbers = percent(column.numbers(), column.present());
            return Role::Drop(format!(
                "{numbers} numbers, the others {others}: list those under table.missing_in, and take the column off this list, to use the numbers"
            ));
        }
        if column.rarely_repeats() && !is_number {
            return Role::Drop(match unit(column) {
                Some(unit) => format!("numbers with {} beside them: take that out to use the column", plain(&unit)),
                None => "most values occur once: free text or an identifier?".into(),
            });
        }
        let values = distinct.unwrap_or(usize::MAX);
        let is_shared = values < MOST_CODES || values < survey.records / 5;
        if column.is_whole() && has_word(&column.name, ID_WORDS) && !is_shared {
            return Role::Drop("has the name of an identifier, and few records share a value".into());
        }
    }
    if !is_number {
        // A column with numbers in its first rows is listed as a category, because text may come
        // later.
        return match column.numbers() {
            0 => Role::Category,
            numbers => Role::Code(format!("text, and {} numbers", percent(numbers, column.present()))),
        };
    }
    let values = || distinct.map_or_else(|| "a great many".into(), |count| count.to_string());
    if column.has_leading_zeros() {
        return Role::Code(format!("numbers of one length, some with zeros before them; {} values", values()));
    }
    if column.is_merged() {
        return Role::Drop(
            "32-bit floats cannot hold its numbers apart: subtract a fixed offset, or take a coarser unit".into(),
        );
    }
    let (low, high) = column.extent();
    if column.is_whole() && has_word(&column.name, CODE_WORDS) && distinct != Some(2) {
        return Role::Code(format!("whole numbers with {} values, and the name of a code", values()));
    }
    let (skew, after) = column.skews();
    if low >= 0.0 && skew > HEAVY_SKEW && after.abs() < skew && distinct != Some(2) && log_helps(column, outcome) {
        return Role::HeavyTail(format!("skew {skew:.1}, after log1p {after:.1}; {low} to {high}"));
    }
    match distinct {
        Some(count) if count > 2 && count <= FEW_VALUES && column.is_whole() => Role::FewValues(format!(
            "{count} values from {low} to {high}, {} missing",
            percent(column.missing, column.records)
        )),
        _ => Role::Number,
    }
}

/// Returns whether the outcome correlates at least as strongly with the logarithm of a column's
/// numbers as with the numbers; true if the outcome is not known.
fn log_helps(column: &Column, outcome: Option<&[f64]>) -> bool {
    let Some(outcome) = outcome else { return true };
    let pairs =
        || column.sample.iter().zip(outcome).map(|((_, x), y)| (*x, *y)).filter(|(x, y)| x.is_finite() && !y.is_nan());
    let plain = correlation(pairs());
    let log = correlation(pairs().map(|(x, y)| (libm::log1p(x), y)));
    log.is_nan() || plain.is_nan() || log.abs() >= plain.abs()
}

fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = pairs.clone().count() as f64;
    let (x, y) = pairs.clone().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        xy += (a - x) * (b - y);
        xx += (a - x) * (a - x);
        yy += (b - y) * (b - y);
    }
    xy / (xx * yy).sqrt()
}

/// Returns the text beside the number in nearly every cell, such as ` km`.
fn unit(column: &Column) -> Option<String> {
    let beside = |text: &str| -> Option<String> {
        let digits = |c: char| c.is_ascii_digit();
        let (first, last) = (text.find(digits)?, text.rfind(digits)?);
        let number = &text[first..=last];
        let is_number =
            parse(number.as_bytes()).is_some() || number.bytes().all(|byte| b"0123456789.,".contains(&byte));
        is_number.then(|| format!("{}{}", &text[..first], &text[last + 1..]))
    };
    let values = || column.known_values().take(200);
    let unit = values().find_map(|(value, _)| beside(value))?;
    let same = values().filter(|(value, _)| beside(value).as_ref() == Some(&unit)).count();
    (!unit.trim().is_empty() && same * 10 >= values().count() * 9).then_some(unit)
}
