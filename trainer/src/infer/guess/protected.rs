//! Finds protected attributes: columns with the name or the values of a protected characteristic,
//! several columns that form one attribute, and numbers divided into groups.

use std::collections::BTreeSet;

use super::super::column::{Column, NO_CODE};
use super::super::names::{Family, OTHER_PERSON, has_word, is_unknown, parts};
use super::super::survey::Survey;
use super::super::{MOST_LISTED, plain};
use super::{Target, outcome};
use crate::schema::Protected;

/// Minimum share of the records of a value that is proposed as a group.
const GROUP_SHARE: f64 = 0.01;

/// Minimum share of the records of a reference group.
const REFERENCE_SHARE: f64 = 0.1;

/// Maximum number of values of a column whose values are the groups.
const MOST_GROUPS: usize = 100;

/// Maximum number of values of a whole number that are codes: of sex or race, and of any other
/// family.
const MOST_CODES: usize = 12;
const FEW_CODES: usize = 2;

/// Ages at which groups are cut, if they lie within the data.
const AGES: [f64; 2] = [30.0, 62.0];

/// A protected attribute.
pub(in crate::infer) struct Protection {
    /// The columns it is read from.
    pub(in crate::infer) columns: Vec<usize>,
    /// The attribute in the form of a schema.
    pub(in crate::infer) attribute: Protected,
    pub(in crate::infer) evidence: String,
    /// The groups, with their share of the favourable outcome if the target is known.
    pub(in crate::infer) rates: String,
    /// Whether it is only a proposal.
    pub(in crate::infer) suggested: bool,
}

/// A group: its name, its sampled records, those of them with a known outcome, and those with the
/// favourable outcome.
struct Group {
    name: String,
    records: usize,
    known: usize,
    favourable: usize,
}

impl Group {
    fn rate(&self) -> f64 {
        if self.known == 0 { f64::NAN } else { self.favourable as f64 / self.known as f64 }
    }
}

/// Finds the protected attributes. Those that are `wanted` are more than a proposal.
pub(super) fn protections(
    survey: &Survey,
    families: &[Option<Family>],
    target: Option<&Target>,
    wanted: &[usize],
) -> Vec<Protection> {
    let columns = &survey.columns;
    let is_target = |index: usize| target.is_some_and(|target| target.column == index);
    let outcome = target.and_then(|target| outcome(survey, target));
    let favourable = target.and_then(|target| target.positive.first()).map(String::as_str);
    let finder = Finder { columns, outcome: outcome.as_deref(), favourable };
    let mut found = Vec::new();
    let mut joined = BTreeSet::new();
    for (name, family, dummies) in dummies(columns, families, wanted) {
        if dummies.iter().any(|index| is_target(*index)) {
            continue;
        }
        joined.extend(dummies.iter().copied());
        let is_wanted = !wanted.is_empty() && dummies.iter().any(|index| wanted.contains(index));
        let suggested = if wanted.is_empty() { !family.is_strict() } else { !is_wanted };
        found.push(finder.of_dummies(&name, family, dummies, suggested));
    }
    for (index, column) in columns.iter().enumerate() {
        let is_wanted = wanted.contains(&index);
        if is_target(index) || joined.contains(&index) || !(is_wanted || families[index].is_some()) {
            continue;
        }
        let family = families[index];
        let groups = column.distinct().filter(|count| (2..=MOST_GROUPS).contains(count));
        let most = if matches!(family, Some(Family::Sex | Family::Race)) { MOST_CODES } else { FEW_CODES };
        let is_number = column.is_number() && groups.is_none_or(|count| count > most);
        let for_another = has_word(&column.name, OTHER_PERSON);
        let is_strict = family.is_some_and(Family::is_strict) && !is_number && !for_another;
        let suggested = if wanted.is_empty() { !is_strict } else { !is_wanted };
        if is_number {
            found.extend(finder.of_numbers(index, family, suggested));
        } else if groups.is_some() {
            found.push(finder.of_values(index, family, suggested));
        }
    }
    found
}

/// Finds columns of 0 and 1 that form one attribute: all of one family, and at most one of them 1
/// in any record.
fn dummies(columns: &[Column], families: &[Option<Family>], wanted: &[usize]) -> Vec<(String, Family, Vec<usize>)> {
    let is_binary = |column: &Column| {
        column.distinct() == Some(2)
            && column
                .known_values()
                .all(|(value, _)| matches!(value.to_lowercase().as_str(), "0" | "1" | "0.0" | "1.0" | "true" | "false"))
    };
    let mut found: Vec<(String, Family, Vec<usize>)> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let Some(family) = families[index].filter(|_| is_binary(column) && !has_word(&column.name, OTHER_PERSON))
        else {
            continue;
        };
        let open = found.iter_mut().filter(|(_, other, _)| *other == family);
        let is_apart = |members: &[usize]| {
            (0..column.sample.len())
                .all(|record| !column.is_one(record) || members.iter().all(|member| !columns[*member].is_one(record)))
        };
        let mut open = open.filter(|(_, _, members)| is_apart(members));
        match open.next() {
            Some((_, _, members)) => members.push(index),
            None => found.push((family.name().to_owned(), family, vec![index])),
        }
    }
    found.retain(|(_, _, members)| members.len() > 1);
    for (name, _, members) in &mut found {
        // The common prefix of their names, such as race_ of race_white and race_black.
        let first = &columns[members[0]].name;
        let common = members.iter().skip(1).fold(first.len(), |length, member| {
            let same = first.bytes().zip(columns[*member].name.bytes()).take_while(|(a, b)| a == b).count();
            length.min(same)
        });
        let prefix = first.get(..common).unwrap_or_default().trim_end_matches(|c: char| !c.is_alphanumeric());
        if parts(prefix).iter().any(|part| part.len() > 2) {
            prefix.clone_into(name);
        }
        if columns.iter().any(|column| column.name == *name) {
            name.push_str(" (together)");
        }
    }
    // Columns that the user named one by one stay separate.
    found.retain(|(_, _, members)| wanted.is_empty() || members.iter().all(|member| wanted.contains(member)));
    found
}

/// Builds attributes from columns.
struct Finder<'a> {
    columns: &'a [Column],
    outcome: Option<&'a [f64]>,
    favourable: Option<&'a str>,
}

impl Finder<'_> {
    /// Builds an attribute whose groups are the values of a column.
    fn of_values(&self, index: usize, family: Option<Family>, suggested: bool) -> Protection {
        let column = &self.columns[index];
        let mut groups = self.groups(&column.name, |record| {
            let (code, _) = *column.sample.get(record)?;
            if code == NO_CODE { None } else { column.values.get(code as usize).map(|(value, _)| value.clone()) }
        });
        // The records of a group are counted over all records, not only over the sample.
        for group in &mut groups {
            group.records = column.code_of(&group.name).map_or(0, |code| column.values[code as usize].1);
        }
        groups.retain(|group| !is_unknown(&group.name));
        let named = Family::of_name(&column.name).is_some();
        let what = match (named, family) {
            (true, _) => "has the name of a protected attribute".to_owned(),
            (false, Some(family)) => format!("has the values of a {}", family.name()),
            (false, None) => "is protected as you said".to_owned(),
        };
        let attribute = Protected { column: column.name.clone(), ..Protected::default() };
        self.protection(vec![index], attribute, groups, family, &what, suggested)
    }

    /// Builds an attribute whose groups are columns.
    fn of_dummies(&self, name: &str, family: Family, columns: Vec<usize>, suggested: bool) -> Protection {
        let names: Vec<String> = columns.iter().map(|index| self.columns[*index].name.clone()).collect();
        let groups = self.groups(name, |record| {
            let one = columns.iter().find(|index| self.columns[**index].is_one(record));
            Some(one.map_or(Protected::NONE, |index| self.columns[*index].name.as_str()).to_owned())
        });
        let attribute = Protected { column: name.to_owned(), dummies: names, ..Protected::default() };
        self.protection(columns, attribute, groups, Some(family), "is one attribute in several columns", suggested)
    }

    /// Builds an attribute whose groups are ranges of a number; `None` if no cut gives two groups
    /// that are large enough.
    fn of_numbers(&self, index: usize, family: Option<Family>, suggested: bool) -> Option<Protection> {
        let column = &self.columns[index];
        let mut numbers: Vec<f64> = column.sample_numbers().collect();
        numbers.sort_unstable_by(f64::total_cmp);
        let share_below = |cut: f64| numbers.partition_point(|x| *x < cut) as f64 / numbers.len() as f64;
        let is_apart = |cut: &f64| (0.05..=0.95).contains(&share_below(*cut));
        let mut cuts: Vec<f64> =
            if family == Some(Family::Age) { AGES.into_iter().filter(is_apart).collect() } else { Vec::new() };
        if cuts.is_empty() {
            let at = |share: f64| numbers.get((share * numbers.len() as f64) as usize).copied();
            cuts = [1.0 / 3.0, 2.0 / 3.0].into_iter().filter_map(at).filter(|cut| share_below(*cut) > 0.0).collect();
            cuts.dedup();
        }
        let attribute = Protected { column: column.name.clone(), cuts, ..Protected::default() };
        let names = attribute.cut_names();
        if names.len() < 2 {
            return None;
        }
        let groups = self.groups(&column.name, |record| {
            let (_, x) = *column.sample.get(record)?;
            names.get(attribute.cuts.partition_point(|cut| *cut <= x)).filter(|_| !x.is_nan()).cloned()
        });
        let what = if family.is_some() { "has the name of a protected attribute" } else { "is protected as you said" };
        Some(self.protection(vec![index], attribute, groups, family, what, suggested))
    }

    /// Counts the sampled records of each group.
    fn groups(&self, name: &str, of: impl Fn(usize) -> Option<String>) -> Vec<Group> {
        let records = self.columns.iter().find(|column| column.name == *name).or(self.columns.first());
        let mut groups: Vec<Group> = Vec::new();
        for record in 0..records.map_or(0, |column| column.sample.len()) {
            let Some(name) = of(record) else { continue };
            let place = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
                groups.push(Group { name, records: 0, known: 0, favourable: 0 });
                groups.len() - 1
            });
            let group = &mut groups[place];
            group.records += 1;
            match self.outcome.and_then(|outcome| outcome.get(record)) {
                Some(outcome) if !outcome.is_nan() => {
                    group.known += 1;
                    group.favourable += usize::from(*outcome == 1.0);
                }
                _ => {}
            }
        }
        groups
    }

    /// Chooses the reference among the groups that are large enough: the one with the highest share
    /// of the favourable outcome. For races it is the majority's group, as is customary.
    fn protection(
        &self,
        columns: Vec<usize>,
        mut attribute: Protected,
        mut groups: Vec<Group>,
        family: Option<Family>,
        what: &str,
        suggested: bool,
    ) -> Protection {
        let all: usize = groups.iter().map(|group| group.records).sum();
        let share = |group: &Group| group.records as f64 / all.max(1) as f64;
        // Ties are broken by size, then by name.
        groups.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.name.cmp(&b.name)));
        groups.retain(|group| share(group) >= GROUP_SHARE);
        let is_reference = |group: &Group| share(group) >= REFERENCE_SHARE && !has_word(&group.name, "other|others");
        let is_custom = |group: &Group| {
            let lower = group.name.to_lowercase();
            family == Some(Family::Race)
                && is_reference(group)
                && !lower.contains("non")
                && ["white", "caucasian", "cauc"]
                    .iter()
                    .any(|word| has_word(&group.name, word) || lower.starts_with(word))
        };
        let best = |groups: &[Group]| {
            let rates = groups.iter().enumerate().filter(|(_, group)| is_reference(group) && !group.rate().is_nan());
            rates.max_by(|a, b| a.1.rate().total_cmp(&b.1.rate()).then(b.0.cmp(&a.0))).map(|(index, _)| index)
        };
        let (place, reason) = match (groups.iter().position(is_custom), best(&groups)) {
            (Some(place), _) => (place, "the majority, as is the custom for race".to_owned()),
            (None, Some(place)) => {
                let favourable = plain(self.favourable.unwrap_or_default());
                (place, format!("of those with 10 % of the records or more, the one with most {favourable}"))
            }
            (None, None) => (0, "the most frequent one".to_owned()),
        };
        let rates = groups.iter().take(MOST_LISTED).map(|group| match group.rate() {
            rate if rate.is_nan() => format!("{} {}", plain(&group.name), group.records),
            rate => format!("{} {:.1} % of {}", plain(&group.name), 100.0 * rate, group.records),
        });
        let rates = rates.collect::<Vec<_>>().join(", ");
        if place < groups.len() {
            let privileged = groups.remove(place);
            attribute.privileged = vec![privileged.name];
        }
        if attribute.cuts.is_empty() {
            attribute.unprivileged = (!groups.is_empty()).then(|| groups.into_iter().map(|group| group.name).collect());
        }
        let evidence = format!("{} {what}; privileged: {reason}", plain(&attribute.column));
        Protection { columns, attribute, evidence, rates, suggested }
    }
}
