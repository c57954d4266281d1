//! Guesses the purpose of each column, with the reason.

mod feature;
mod protected;
mod reading;
mod target;

use super::column::{Column, Kind, NO_CODE};
use super::names::{Family, family_of_values};
use super::survey::Survey;
use super::{Options, plain};
pub(super) use protected::Protection;
pub(super) use reading::Reading;
pub(super) use target::Target;

/// The probable purpose of a column, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// All guesses.
pub(super) struct Guesses {
    pub(super) target: Option<Target>,
    pub(super) target_candidates: Vec<usize>,
    pub(super) protected: Vec<Protection>,
    pub(super) roles: Vec<Role>,
    pub(super) reading: Reading,
    pub(super) immutable: Vec<usize>,
    /// Columns of dates that could be features, with their formats.
    pub(super) dates: Vec<(usize, &'static str)>,
}

/// Returns the protected characteristic of each column, by its name or its values.
fn families(columns: &[Column]) -> Vec<Option<Family>> {
    let named: Vec<Option<Family>> = columns.iter().map(|column| Family::of_name(&column.name)).collect();
    let letters = !named.contains(&Some(Family::Sex));
    let by_values = |column: &Column| family_of_values(column.known_values().map(|(value, _)| value), letters);
    columns.iter().zip(&named).map(|(column, named)| named.or_else(|| by_values(column))).collect()
}

pub(super) fn guess(survey: &Survey, options: &Options) -> Result<Guesses, String> {
    let columns = &survey.columns;
    let families = families(columns);
    let place = |name: &String| {
        columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            let names: Vec<String> = columns.iter().map(|column| plain(&column.name)).collect();
            format!("no column {name:?}; the columns are {}", names.join(", "))
        })
    };
    let wanted = options.protected.iter().map(place).collect::<Result<Vec<_>, String>>()?;
    let given = options.target.as_ref().map(place).transpose()?;
    if let Some(both) = given.filter(|given| wanted.contains(given)) {
        return Err(format!(
            "column {:?} is named as target and as protected, expected it as one of the two",
            columns[both].name
        ));
    }
    let is_protected = |index: usize| families[index].is_some() || wanted.contains(&index);
    let (target, target_candidates) = target::target(survey, given, options.positive.as_deref(), &is_protected)?;
    let target_column = target.as_ref().map(|target| target.column);
    let protected = protected::protections(survey, &families, target.as_ref(), &wanted);
    let active = |index: usize| protected.iter().any(|p| !p.suggested && p.columns.contains(&index));
    let outcome = target.as_ref().and_then(|target| outcome(survey, target));
    let mut dates = Vec::new();
    let mut roles = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        roles.push(if Some(index) == target_column {
            Role::Target
        } else if active(index) {
            Role::Protected
        } else {
            feature::feature(survey, index, outcome.as_deref())
        });
        if let (Kind::Dates(format), Some(Role::Drop(_))) = (column.kind(), roles.last()) {
            dates.push((index, format));
        }
    }
    let is_kept = |index: &usize| Some(*index) != target_column && !matches!(roles[*index], Role::Drop(_));
    let immutable = (0..columns.len()).filter(|index| is_protected(*index)).filter(is_kept).collect();
    let reading = Reading::of(survey, &roles);
    Ok(Guesses { target, target_candidates, protected, roles, reading, immutable, dates })
}

/// Returns, per sampled record, 1 for the favourable outcome, 0 for the other, and NaN if it is not
/// known.
fn outcome(survey: &Survey, target: &Target) -> Option<Vec<f64>> {
    let column = &survey.columns[target.column];
    let positive: Vec<u32> = target.positive.iter().filter_map(|value| column.code_of(value)).collect();
    let negative: Vec<u32> = target.negative.iter().filter_map(|value| column.code_of(value)).collect();
    let of = |code: u32| match (positive.contains(&code), negative.contains(&code)) {
        (true, _) => 1.0,
        (_, true) => 0.0,
        _ => f64::NAN,
    };
    (!positive.is_empty())
        .then(|| column.sample.iter().map(|(code, _)| if *code == NO_CODE { f64::NAN } else { of(*code) }).collect())
}
