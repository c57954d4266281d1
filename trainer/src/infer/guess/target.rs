//! The column to predict, and which of its values are the favourable outcome.

use super::super::column::Column;
use super::super::counted;
use super::super::names::{ID_WORDS, TARGET_WORDS, favourable, has_word, is_unknown};
use super::super::survey::Survey;
use crate::rows::parse;

/// Maximum number of values of a target.
const MOST_VALUES: usize = 100;

/// The target, with the values of each outcome.
pub(in crate::infer) struct Target {
    pub(in crate::infer) column: usize,
    pub(in crate::infer) evidence: String,
    /// Empty if the values do not show which one is favourable.
    pub(in crate::infer) positive: Vec<String>,
    pub(in crate::infer) positive_evidence: String,
    pub(in crate::infer) negative: Vec<String>,
}

/// Finds the target and the columns that it could be. The target is the `given` column, or else the
/// only plausible one. A protected characteristic is never the target.
pub(super) fn target(
    survey: &Survey,
    given: Option<usize>,
    positive: Option<&str>,
    is_protected: &dyn Fn(usize) -> bool,
) -> Result<(Option<Target>, Vec<usize>), String> {
    let columns = &survey.columns;
    let mut candidates: Vec<usize> =
        (0..columns.len()).filter(|index| !is_protected(*index) && is_target_like(&columns[*index])).collect();
    candidates.sort_by_key(|index| !has_word(&columns[*index].name, TARGET_WORDS));
    let found = match given {
        Some(index) => Some((index, "As you said".to_owned())),
        None => only_one(columns, &candidates).map(|(index, why)| (index, why.to_owned())),
    };
    let Some((column, evidence)) = found else { return Ok((None, candidates)) };
    Ok((Some(divided(&columns[column], column, evidence, positive)?), candidates))
}

/// Returns the only plausible candidate, if there is one.
fn only_one(columns: &[Column], candidates: &[usize]) -> Option<(usize, &'static str)> {
    let binary: Vec<usize> = candidates.iter().copied().filter(|index| outcomes(&columns[*index]).len() == 2).collect();
    let named: Vec<usize> =
        binary.iter().copied().filter(|index| has_word(&columns[*index].name, TARGET_WORDS)).collect();
    let last = columns.len() - 1;
    match (&named[..], &binary[..]) {
        ([only], _) => Some((*only, "It has the name of an outcome and two values")),
        // Among several, choose the usual place of a target.
        ([_, _, ..], _) if named.contains(&last) => {
            Some((last, "Of those with the name of an outcome and two values the last of the table"))
        }
        ([_, _, ..], _) if named.contains(&0) => {
            Some((0, "Of those with the name of an outcome and two values the first of the table"))
        }
        ([], [only]) if *only == last => Some((*only, "The only column with two values, and the last")),
        _ => None,
    }
}

/// Returns whether a column has two values, or a few and the name of an outcome.
fn is_target_like(column: &Column) -> bool {
    let is_named = has_word(&column.name, TARGET_WORDS) && !has_word(&column.name, ID_WORDS);
    let few = if is_named { 2..=10 } else { 2..=2 };
    let mostly_there = column.missing * 20 <= column.records;
    column.distinct().is_some() && few.contains(&outcomes(column).len()) && mostly_there
}

/// Returns the outcomes of a column, the most frequent first. Each lists all its spellings, which
/// differ in case or in the form of a number. Values that mean *unknown* are not outcomes.
fn outcomes(column: &Column) -> Vec<Vec<&str>> {
    let mut outcomes: Vec<(String, Vec<&str>)> = Vec::new();
    for (value, _) in column.by_frequency().into_iter().filter(|(value, _)| !is_unknown(value)).take(MOST_VALUES) {
        let key = parse(value.as_bytes()).map_or_else(|| value.trim().to_lowercase(), |x| x.to_string());
        match outcomes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, ways)) => ways.push(value),
            None => outcomes.push((key, vec![value])),
        }
    }
    outcomes.into_iter().map(|(_, ways)| ways).collect()
}

/// Assigns the values to the two outcomes.
fn divided(column: &Column, index: usize, evidence: String, positive: Option<&str>) -> Result<Target, String> {
    let outcomes = outcomes(column);
    if column.distinct().is_none_or(|count| count > MOST_VALUES) {
        return Err(format!(
            "column {:?} has more than {MOST_VALUES} values, expected those of two outcomes; make a column of the outcome first",
            column.name
        ));
    }
    let (favourable, why) = match positive {
        Some(positive) => {
            let place = outcomes.iter().position(|ways| ways.contains(&positive));
            let place = place.ok_or_else(|| {
                format!("column {:?} has no value {positive:?}; its values are {}", column.name, counted(column))
            })?;
            (Some(place), "as you said")
        }
        None => {
            let two: Vec<&str> = outcomes.iter().filter_map(|ways| ways.first().copied()).collect();
            let found = favourable(&column.name, &two);
            let place = found.and_then(|(value, _)| two.iter().position(|other| *other == value));
            (place, found.map_or("", |(_, why)| why))
        }
    };
    let of = |is: &dyn Fn(usize) -> bool| -> Vec<String> {
        let ways = outcomes.iter().enumerate().filter(|(place, _)| is(*place));
        ways.flat_map(|(_, ways)| ways.iter().map(|value| (*value).to_owned())).collect()
    };
    Ok(Target {
        column: index,
        evidence,
        positive: favourable.map_or_else(Vec::new, |favourable| of(&|place| place == favourable)),
        positive_evidence: why.into(),
        negative: favourable.map_or_else(Vec::new, |favourable| of(&|place| place != favourable)),
    })
}
