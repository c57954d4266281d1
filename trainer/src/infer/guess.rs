//! What each column is probably for, and why.

use super::column::{Column, NO_CODE};
use super::head::Head;
use super::{counted, percent, plain};

/// Skewness from which a column of amounts counts as heavy-tailed.
const HEAVY_SKEW: f64 = 2.0;

/// Most distinct values of a whole number that may be a code.
const FEW_VALUES: usize = 20;

/// Records below which a column without repeats is no sign of an identifier.
const ENOUGH_RECORDS: usize = 50;

/// Share of the records from which a value is proposed as a group.
const GROUP_SHARE: f64 = 0.01;

/// Share of the records that a group needs to be a reference.
const REFERENCE_SHARE: f64 = 0.1;

/// Parts of a name that make a column a likely target.
const TARGET_WORDS: [&str; 22] = [
    "target",
    "label",
    "class",
    "outcome",
    "approved",
    "approval",
    "decision",
    "default",
    "readmitted",
    "recid",
    "churn",
    "income",
    "hired",
    "accepted",
    "accept",
    "granted",
    "survived",
    "fraud",
    "risk",
    "y",
    "admitted",
    "action",
];

/// Values that are usually the favourable one of two.
const FAVOURABLE: [&str; 20] = [
    "yes", "y", "true", "t", "1", "good", "approved", "accepted", "accept", "granted", "positive", "pass", "paid",
    "hired", "admitted", "high", ">50k", ">50k.", "survived", "1.0",
];

/// Parts of a name that make the other value the favourable one: nobody wants what the name says.
const UNWANTED: [&str; 10] =
    ["recid", "default", "fraud", "churn", "risk", "readmitted", "died", "death", "denied", "delinquent"];

/// Words by which a value says that nothing is known.
const UNKNOWN_WORDS: [&str; 9] =
    ["unknown", "applicable", "provided", "no", "unspecified", "undisclosed", "declined", "invalid", "none"];

/// Parts of a name that speak of another person than the one decided on.
const OTHER_PERSON: [&str; 4] = ["co", "coapplicant", "spouse", "parent"];

/// Parts of a name that make a column an identifier.
const ID_WORDS: [&str; 8] = ["id", "nbr", "uuid", "guid", "index", "key", "rownames", "name"];

/// Parts of a name that make whole numbers codes.
const CODE_WORDS: [&str; 7] = ["code", "id", "zip", "zipcode", "postcode", "fips", "type"];

/// Parts of a name of attributes that are protected in most jurisdictions.
const PROTECTED_WORDS: [&str; 5] = ["sex", "gender", "race", "ethnicity", "ethnic"];

/// Parts of a name of attributes that often are.
const OFTEN_PROTECTED: [&str; 11] = [
    "age",
    "marital",
    "religion",
    "disability",
    "nationality",
    "country",
    "citizenship",
    "foreign",
    "veteran",
    "pregnant",
    "orientation",
];

/// What a column is probably for, with the evidence.
pub(super) enum Role {
    Target,
    Protected,
    Drop(String),
    Number,
    HeavyTail(String),
    FewValues(String),
    Code(String),
    Category,
}

impl Role {
    pub(super) fn evidence(&self) -> &str {
        match self {
            Self::Drop(why) | Self::HeavyTail(why) | Self::FewValues(why) | Self::Code(why) => why,
            Self::Target | Self::Protected | Self::Number | Self::Category => "",
        }
    }

    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Target => "the target",
            Self::Protected => "protected",
            Self::Drop(_) => "left out",
            Self::Number | Self::FewValues(_) => "number",
            Self::HeavyTail(_) => "number, log1p",
            Self::Code(_) | Self::Category => "category",
        }
    }
}

/// The target, and which of its values are which outcome.
pub(super) struct Target {
    pub(super) column: usize,
    pub(super) evidence: String,
    pub(super) positive: String,
    pub(super) positive_evidence: String,
    pub(super) negative: Vec<String>,
}

/// A protected attribute.
pub(super) struct Protection {
    pub(super) column: usize,
    pub(super) evidence: String,
    pub(super) privileged: String,
    pub(super) unprivileged: Vec<String>,
    /// The values, with the share of the favourable outcome where the target is known.
    pub(super) rates: String,
    /// Whether it is only proposed.
    pub(super) suggested: bool,
}

/// Everything guessed.
pub(super) struct Guesses {
    pub(super) target: Option<Target>,
    pub(super) target_candidates: Vec<usize>,
    pub(super) protected: Vec<Protection>,
    /// Columns that may need protection but have no groups as they are.
    pub(super) hints: Vec<(usize, &'static str)>,
    pub(super) roles: Vec<Role>,
    /// Words that seem to mean no value, each with the column it is in.
    pub(super) missing: Vec<(String, String)>,
    pub(super) immutable: Vec<usize>,
}

pub(super) fn guess(head: &Head) -> Guesses {
    let columns = &head.columns;
    let mut target_candidates: Vec<usize> =
        (0..columns.len()).filter(|index| is_target_like(&columns[*index])).collect();
    let target = target(head, &target_candidates);
    target_candidates.sort_by_key(|index| !has_word(&columns[*index].name, &TARGET_WORDS));
    let target_column = target.as_ref().map(|target| target.column);
    let (mut protected, mut hints, mut immutable) = (Vec::new(), Vec::new(), Vec::new());
    for (index, column) in columns.iter().enumerate().filter(|(index, _)| Some(*index) != target_column) {
        let by_name = has_word(&column.name, &PROTECTED_WORDS);
        let often = has_word(&column.name, &OFTEN_PROTECTED);
        let by_values = values_of(column);
        let evidence = match by_values {
            _ if by_name || often => "has the name of a protected attribute".to_string(),
            Some(what) => format!("has the values of a {what}"),
            None => continue,
        };
        immutable.push(index);
        if column.is_number() && column.distinct().is_none_or(|count| count > FEW_VALUES) {
            hints.push((
                index,
                "often protected; to protect it, add a column of brackets to the data: groups are values",
            ));
        } else if column.distinct().is_some_and(|count| (2..=100).contains(&count)) {
            let suggested = !(by_name || by_values.is_some()) || has_word(&column.name, &OTHER_PERSON);
            protected.push(protection(columns, index, target.as_ref(), &evidence, suggested));
        }
    }
    let active = |index: usize| protected.iter().any(|p| p.column == index && !p.suggested);
    let role = |index: usize| {
        if Some(index) == target_column {
            Role::Target
        } else if active(index) {
            Role::Protected
        } else {
            feature(columns, index, head)
        }
    };
    let roles: Vec<Role> = (0..columns.len()).map(role).collect();
    immutable.retain(|index| !matches!(roles[*index], Role::Drop(_)));
    let words = columns.iter().flat_map(|column| {
        column.words_among_numbers().into_iter().map(|word| (word.to_string(), column.name.clone()))
    });
    Guesses { target_candidates, protected, hints, roles, missing: words.collect(), immutable, target }
}

/// Whether a name has one of the words as a part: between punctuation, or at a change of case.
fn has_word(name: &str, words: &[&str]) -> bool {
    let mut parts = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            parts.push(String::new());
        }
        if let (true, Some(part)) = (c.is_alphanumeric(), parts.last_mut()) {
            part.extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase();
    }
    parts.iter().any(|part| words.contains(&part.as_str()))
}

fn is_sex(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "male" | "female" | "man" | "woman")
}

/// What protected attribute the values of a column are those of, whatever its name.
fn values_of(column: &Column) -> Option<&'static str> {
    let values: Vec<String> = column.values.iter().map(|(value, _)| value.to_lowercase()).collect();
    let any = |words: [&str; 2]| values.iter().any(|value| words.iter().any(|word| value.starts_with(word)));
    if values.len() >= 2 && column.values.iter().all(|(value, _)| is_sex(value)) {
        return Some("sex");
    }
    (values.len() <= 100 && any(["white", "caucasian"]) && any(["black", "african"])).then_some("race")
}

/// Two values, or a few in a column with the name of an outcome.
fn is_target_like(column: &Column) -> bool {
    let few = if has_word(&column.name, &TARGET_WORDS) { 2..=10 } else { 2..=2 };
    let all_sex = column.by_frequency().iter().all(|(value, _)| is_sex(value));
    let mostly_there = column.missing * 20 <= column.codes.len();
    column.distinct().is_some_and(|count| few.contains(&count)) && mostly_there && !all_sex
}

fn target(head: &Head, candidates: &[usize]) -> Option<Target> {
    let columns = &head.columns;
    let binary = |index: &&usize| columns[**index].distinct() == Some(2);
    let named = |index: &&usize| has_word(&columns[**index].name, &TARGET_WORDS);
    let last = columns.len() - 1;
    // A name says more than a place, two values more than several; of several the last, since
    // targets stand at the end.
    let (column, evidence) = if let Some(index) = candidates.iter().filter(binary).rfind(named) {
        (*index, "It has the name of an outcome and two values")
    } else if candidates.contains(&last) && columns[last].distinct() == Some(2) {
        (last, "The last column, with two values")
    } else if let [only] = candidates.iter().filter(binary).collect::<Vec<_>>()[..] {
        (*only, "The only column with two values")
    } else {
        return None;
    };
    let values = columns[column].by_frequency();
    let usual = values.iter().find(|(value, _)| FAVOURABLE.contains(&value.to_lowercase().as_str()));
    let rarest = values.last().copied().unwrap_or_default();
    let other = |value: &str| values.iter().map(|(other, _)| *other).find(|other| *other != value).unwrap_or_default();
    let (positive, positive_evidence) = match usual {
        Some((value, _)) if has_word(&columns[column].name, &UNWANTED) => {
            (other(value), "the column's name speaks of something unwanted")
        }
        Some((value, _)) => (*value, "by its wording"),
        None => (rarest.0, "the rarer value, for want of other evidence"),
    };
    let negative =
        values.iter().map(|(value, _)| *value).filter(|value| *value != positive).map(String::from).collect();
    Some(Target {
        column,
        evidence: evidence.into(),
        positive: positive.into(),
        positive_evidence: positive_evidence.into(),
        negative,
    })
}

/// Finds the groups of a column, and the one that does best: with the highest share of the
/// favourable outcome, or the largest one without a target.
fn protection(
    columns: &[Column],
    index: usize,
    target: Option<&Target>,
    evidence: &str,
    suggested: bool,
) -> Protection {
    let column = &columns[index];
    let share = |count: usize| count as f64 / column.present() as f64;
    let known = column.by_frequency().into_iter().filter(|(value, _)| !has_word(value, &UNKNOWN_WORDS));
    let mut groups: Vec<(&str, usize)> = known.filter(|(_, count)| share(*count) >= GROUP_SHARE).collect();
    let (rates, reason) = match target {
        None => (counted(column), "the most frequent value".to_string()),
        Some(target) => {
            let rates = outcome_rates(column, &columns[target.column], &target.positive);
            let rate = |value: &str| rates.iter().find(|(other, ..)| *other == value).map_or(0.0, |(_, _, rate)| *rate);
            // Groups too small or too mixed for a reference go last.
            groups.sort_by(|a, b| {
                let fit =
                    |(value, count): (&str, usize)| share(count) >= REFERENCE_SHARE && !has_word(value, &["other"]);
                fit(*b).cmp(&fit(*a)).then(rate(b.0).total_cmp(&rate(a.0)))
            });
            let shown = rates.iter().take(super::MOST_LISTED);
            let shown = shown.map(|(value, count, rate)| format!("{} {:.1} % of {count}", plain(value), 100.0 * rate));
            let reason = format!(
                "of the values with 10 % of the records or more, the one with most {}",
                plain(&target.positive)
            );
            (shown.collect::<Vec<_>>().join(", "), reason)
        }
    };
    let mut groups = groups.into_iter().map(|(value, _)| value.to_string());
    Protection {
        column: index,
        evidence: format!("{} {evidence}; privileged: {reason}", plain(&column.name)),
        privileged: groups.next().unwrap_or_default(),
        unprivileged: groups.collect(),
        rates,
        suggested,
    }
}

/// Per value of a column, its records and the share of them with the favourable outcome; the
/// highest share first.
fn outcome_rates<'a>(column: &'a Column, outcome: &Column, positive: &str) -> Vec<(&'a str, usize, f64)> {
    let positive_code = outcome.values.iter().position(|(value, _)| value == positive);
    let mut positives = vec![0_usize; column.values.len()];
    for (code, outcome) in column.codes.iter().zip(&outcome.codes) {
        if *code != NO_CODE && positive_code == Some(*outcome as usize) {
            positives[*code as usize] += 1;
        }
    }
    let values = column.values.iter().zip(&positives);
    let mut rates: Vec<(&str, usize, f64)> =
        values.map(|((value, count), positive)| (value.as_str(), *count, *positive as f64 / *count as f64)).collect();
    rates.sort_by(|a, b| b.2.total_cmp(&a.2));
    rates
}

/// What a column is as a feature.
fn feature(columns: &[Column], index: usize, head: &Head) -> Role {
    let column = &columns[index];
    let distinct = column.distinct();
    let later = if head.partial { ", though later ones may differ" } else { "" };
    if column.is_unreadable {
        return Role::Drop("its cells are neither numbers nor text".into());
    }
    if column.present() == 0 {
        return Role::Drop(format!("no value in these records{later}"));
    }
    if distinct == Some(1) && column.missing == 0 {
        return Role::Drop(format!("always {} in these records{later}", plain(&column.values[0].0)));
    }
    if let Some(same) = columns[..index].iter().find(|earlier| earlier.repeats(column)) {
        return Role::Drop(format!("the same as {}", plain(&same.name)));
    }
    if column.is_date() {
        return Role::Drop("dates: give the model an age or a duration instead".into());
    }
    let repeats = distinct.is_some_and(|count| count * 2 <= column.present());
    if head.records >= ENOUGH_RECORDS {
        if column.is_unique() {
            return Role::Drop("no value occurs twice: an identifier?".into());
        }
        if !repeats && !column.is_number() {
            return Role::Drop("most values occur once: free text or an identifier?".into());
        }
        if !repeats && column.is_whole() && has_word(&column.name, &ID_WORDS) {
            return Role::Drop("has the name of an identifier, and most values occur once".into());
        }
    }
    if !column.is_number() {
        return Role::Category;
    }
    if column.is_merged() {
        return Role::Drop(
            "32-bit floats cannot hold its numbers apart: subtract a fixed offset, or take a coarser unit".into(),
        );
    }
    let (low, high) = column.extent();
    if column.is_whole() && has_word(&column.name, &CODE_WORDS) {
        let values = distinct.map_or_else(|| "a great many".into(), |count| count.to_string());
        return Role::Code(format!("whole numbers with {values} values, and the name of a code"));
    }
    let (skew, after) = column.skews();
    if low >= 0.0 && skew > HEAVY_SKEW && after.abs() < skew && distinct != Some(2) {
        return Role::HeavyTail(format!("skew {skew:.1}, after log1p {after:.1}; {low} to {high}"));
    }
    match distinct {
        Some(count) if count > 2 && count <= FEW_VALUES && column.is_whole() => Role::FewValues(format!(
            "{count} values from {low} to {high}, {} missing",
            percent(column.missing, head.records)
        )),
        _ => Role::Number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parts_of_names() {
        for name in ["sex", "applicant_sex", "Sex", "applicantSex", "SEX", "sex.2", "derived-sex"] {
            assert!(has_word(name, &["sex"]), "{name}");
        }
        for name in ["essex", "sexual", "package", ""] {
            assert!(!has_word(name, &["sex", "age"]), "{name}");
        }
    }
}
