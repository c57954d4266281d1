//! The column that is to be predicted, and which of its values is the favourable outcome.

use super::super::column::Column;
use super::super::counted;
use super::super::names::{ID_WORDS, TARGET_WORDS, favourable, has_word};
use super::super::survey::Survey;

/// Most values of a target that was named.
const MOST_VALUES: usize = 100;

/// The target, and which of its values are which outcome.
pub(in crate::infer) struct Target {
    pub(in crate::infer) column: usize,
    pub(in crate::infer) evidence: String,
    /// Empty where the values do not say which is the favourable one.
    pub(in crate::infer) positive: Vec<String>,
    pub(in crate::infer) positive_evidence: String,
    pub(in crate::infer) negative: Vec<String>,
}

/// Finds the target: the one that is `given`, or the one that can be no other; and the columns that
/// it could be. A protected characteristic never is.
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
    Ok((Some(outcomes(&columns[column], column, evidence, positive)?), candidates))
}

/// Returns the candidate that it must be.
fn only_one(columns: &[Column], candidates: &[usize]) -> Option<(usize, &'static str)> {
    let binary: Vec<usize> = candidates.iter().copied().filter(|index| columns[*index].distinct() == Some(2)).collect();
    let named: Vec<usize> =
        binary.iter().copied().filter(|index| has_word(&columns[*index].name, TARGET_WORDS)).collect();
    let last = columns.len() - 1;
    match (&named[..], &binary[..]) {
        ([only], _) => Some((*only, "It has the name of an outcome and two values")),
        // Of several the one where targets stand.
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

/// Two values, or a few in a column with the name of an outcome.
fn is_target_like(column: &Column) -> bool {
    let is_named = has_word(&column.name, TARGET_WORDS) && !has_word(&column.name, ID_WORDS);
    let few = if is_named { 2..=10 } else { 2..=2 };
    let mostly_there = column.missing * 20 <= column.records;
    column.distinct().is_some_and(|count| few.contains(&count)) && mostly_there
}

/// Finds which values are which outcome.
fn outcomes(column: &Column, index: usize, evidence: String, positive: Option<&str>) -> Result<Target, String> {
    let values = column.by_frequency();
    let others = |positive: &str| {
        let others = values.iter().map(|(value, _)| *value).filter(|value| *value != positive);
        others.map(String::from).collect::<Vec<_>>()
    };
    let target = |positive: Option<&str>, why: &str| {
        let negative = positive.map_or_else(Vec::new, others);
        Target {
            column: index,
            evidence,
            positive: positive.into_iter().map(String::from).collect(),
            positive_evidence: why.into(),
            negative: if negative.len() <= MOST_VALUES { negative } else { Vec::new() },
        }
    };
    if let Some(positive) = positive {
        if column.code_of(positive).is_none() {
            return Err(format!(
                "column {:?} has no value {positive:?}; its values are {}",
                column.name,
                counted(column)
            ));
        }
        return Ok(target(Some(positive), "as you said"));
    }
    let two: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
    Ok(match favourable(&column.name, &two) {
        Some((value, why)) => target(Some(value), why),
        None => target(None, ""),
    })
}
