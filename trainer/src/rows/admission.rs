//! Decides which records are used, and finds the label and protected groups of a row. Counts
//! everything.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Record;
use super::alike::is_same_number;
use super::groups::{Attribute, Grouping, NO_GROUP};
use super::intersection::Intersection;
use super::seen::Seen;
use super::source::column;
use super::split::Split;
use crate::error::{Error, list};
use crate::schema::{Filter, Schema, Target};

/// What the rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Learning and evaluating: the target and every protected column must exist, filters apply,
    /// and each row has a label.
    Learn,
    /// Scoring: each record of the file gives a row. Label and groups are known if their columns
    /// exist.
    Score,
}

/// What happened to the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Records left out by a filter.
    pub filtered: u64,
    /// Records left out because the target has neither outcome.
    pub unlabelled: u64,
    /// Records left out because their sample weight is 0.
    pub weightless: u64,
    /// Rows used that have the favourable outcome.
    pub positive: u64,
    /// Rows used that have the other outcome.
    pub negative: u64,
}

impl Counts {
    /// Adds the counts of other records.
    pub(super) fn add(&mut self, other: &Self) {
        let Self { read, filtered, unlabelled, weightless, positive, negative } = other;
        self.read = self.read.saturating_add(*read);
        self.filtered = self.filtered.saturating_add(*filtered);
        self.unlabelled = self.unlabelled.saturating_add(*unlabelled);
        self.weightless = self.weightless.saturating_add(*weightless);
        self.positive = self.positive.saturating_add(*positive);
        self.negative = self.negative.saturating_add(*negative);
    }
}

/// Admits records of the same columns, as a schema describes.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(super) columns: Arc<[String]>,
    usage: Use,
    target: Target,
    /// Index of the target's column; `None` if scoring data has none.
    target_index: Option<usize>,
    filters: Vec<(usize, Filter)>,
    pub(super) groupings: Vec<Grouping>,
    pub(super) intersections: Vec<Intersection>,
    pub(super) counts: Counts,
    /// Counts of the sources before this one.
    pub(super) earlier: Counts,
    /// Index and name of the column of sample weights; `None` if each weight is 1.
    weighed_by: Option<(usize, String)>,
    weight: f64,
    /// Values of the target that are neither outcome.
    pub(super) other_targets: Seen,
    /// Values that count as the other outcome because the schema lists none.
    pub(super) implied_negatives: Seen,
    label: Option<bool>,
    groups: Vec<u8>,
    split: Option<Split>,
}

/// One row: a record with its label and its group of each protected attribute.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub(crate) record: Record<'a>,
    /// Whether the outcome is the favourable one; `None` only for [`Use::Score`].
    pub label: Option<bool>,
    /// Group per attribute, intersections after the protected columns: 0 for the privileged group,
    /// 1 and up for the others, or [`NO_GROUP`].
    pub groups: &'a [u8],
    /// Sample weight, above 0; 1 without a column of weights.
    pub weight: f64,
}

impl<'a> Deref for Row<'a> {
    type Target = Record<'a>;

    fn deref(&self) -> &Record<'a> {
        &self.record
    }
}

impl Admission {
    /// Finds the schema's columns. `file` stands for the source in messages.
    pub(crate) fn new(columns: &Arc<[String]>, file: &str, schema: &Schema, usage: Use) -> Result<Self, Error> {
        let optional = |name: &str, wanted_by: &str| match column(columns, file, name, wanted_by) {
            Err(_) if usage == Use::Score => Ok(None),
            found => found.map(Some),
        };
        let target_index = optional(&schema.target.column, "target.column")?;
        let groupings = schema.protected.iter().map(|protected| {
            let columns = protected.columns().map(|column| optional(column, "a [[protected]] table"));
            let columns = columns.collect::<Result<Option<Vec<_>>, Error>>()?;
            Ok(Grouping::new(protected, &columns.unwrap_or_default()))
        });
        let groupings = groupings.collect::<Result<Vec<_>, Error>>()?;
        let intersections: Vec<_> = schema.intersection.iter().map(|i| Intersection::new(i, &groupings)).collect();
        let filters = schema.filter.iter().filter(|_| usage == Use::Learn).map(|filter| {
            let index = column(columns, file, &filter.column, "a [[filter]] table")?;
            Ok((index, filter.clone()))
        });
        Ok(Self {
            columns: Arc::clone(columns),
            target: schema.target.clone(),
            target_index,
            filters: filters.collect::<Result<_, Error>>()?,
            groups: vec![NO_GROUP; groupings.len() + intersections.len()],
            groupings,
            intersections,
            usage,
            counts: Counts::default(),
            earlier: Counts::default(),
            other_targets: Seen::default(),
            implied_negatives: Seen::default(),
            label: None,
            weighed_by: None,
            weight: 1.0,
            split: None,
        })
    }

    /// Lets the protected groups keep the ids they had in an earlier pass: groups that the schema
    /// does not list are numbered by first appearance. Call it before the first record.
    pub(crate) fn resume_groups<'a>(&mut self, earlier: impl IntoIterator<Item = &'a Attribute>) {
        let mut earlier = earlier.into_iter();
        for (grouping, earlier) in self.groupings.iter_mut().zip(&mut earlier) {
            grouping.resume_groups(earlier);
        }
        for (intersection, earlier) in self.intersections.iter_mut().zip(earlier) {
            intersection.resume(earlier);
        }
    }

    /// Keeps one part of the records from here on. The others are not counted as filtered.
    pub(crate) fn keep(&mut self, split: Split) {
        self.split = Some(split);
    }

    /// Uses a column as the sample weights: each value must be a number of at least 0. Records of
    /// weight 0 are counted and left out.
    ///
    /// # Errors
    /// [`Error::MissingColumn`].
    pub(crate) fn weigh_by(&mut self, name: &str, file: &str) -> Result<(), Error> {
        let index = column(&self.columns, file, name, "weighing the rows")?;
        self.weighed_by = Some((index, name.to_owned()));
        Ok(())
    }

    /// Returns the target that the schema names.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the column names.
    pub(crate) fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// Returns the protected attributes in the order of the schema, then the intersections, with
    /// the groups and counts so far.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &Attribute> + Clone {
        let intersections = self.intersections.iter().map(|intersection| &intersection.attribute);
        self.groupings.iter().map(|grouping| &grouping.attribute).chain(intersections)
    }

    /// Returns what happened to the records so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the columns that it reads.
    pub(crate) fn wanted(&self) -> Vec<usize> {
        let groups = self.groupings.iter().flat_map(|grouping| grouping.columns().iter().copied());
        let weights = self.weighed_by.iter().map(|(index, _)| *index);
        self.filters.iter().map(|(index, _)| *index).chain(self.target_index).chain(weights).chain(groups).collect()
    }

    /// Decides whether a record is used, and if so finds its label and groups.
    pub(crate) fn admit(&mut self, record: &Record<'_>) -> Result<bool, Error> {
        self.counts.read += 1;
        if self.split.is_some_and(|split| !split.keeps(record.position.number)) {
            return Ok(false);
        }
        for (index, filter) in &self.filters {
            if !passes(filter, record, *index)? {
                self.counts.filtered += 1;
                return Ok(false);
            }
        }
        self.label = None;
        if let Some(index) = self.target_index {
            let text = record.text(index);
            let is_missing = record.cell(index).is_missing();
            if is_listed(&self.target.positive, &text) {
                self.label = Some(true);
            } else if is_listed(&self.target.negative, &text) {
                self.label = Some(false);
            } else if self.target.negative.is_empty() && !is_missing {
                self.implied_negatives.note(&text);
                if self.usage == Use::Learn && self.implied_negatives.values().nth(1).is_some() {
                    return Err(self.third_label(record, &text));
                }
                self.label = Some(false);
            } else {
                self.counts.unlabelled += 1;
                match is_missing {
                    true => self.other_targets.note_missing(),
                    false => self.other_targets.note(&text),
                }
                if self.usage == Use::Learn {
                    return Ok(false);
                }
            }
        }
        if let Some((index, column)) = &self.weighed_by {
            self.weight = weight(record, *index, column)?;
            if self.weight == 0.0 {
                self.counts.weightless += 1;
                return Ok(false);
            }
        }
        match self.label {
            Some(true) => self.counts.positive += 1,
            Some(false) => self.counts.negative += 1,
            None => {}
        }
        for (grouping, group) in self.groupings.iter_mut().zip(&mut self.groups) {
            *group = grouping.group(record);
        }
        let (groups, combined) = self.groups.split_at_mut(self.groupings.len());
        for (intersection, group) in self.intersections.iter_mut().zip(combined) {
            *group = intersection.group(&self.groupings, groups);
        }
        Ok(true)
    }

    /// Returns the groups of a record, where known, without counting it.
    pub(crate) fn groups_of(&self, record: &Record<'_>) -> Vec<u8> {
        let mut groups: Vec<u8> = self.groupings.iter().map(|grouping| grouping.find(record)).collect();
        let combined = self.intersections.iter().map(|intersection| intersection.find(&groups));
        let combined: Vec<u8> = combined.collect();
        groups.extend(combined);
        groups
    }

    #[cold]
    fn third_label(&self, record: &Record<'_>, found: &[u8]) -> Error {
        let (known, _) = self.implied_negatives.values().next().unwrap_or_default();
        let favourable = list(&self.target.positive);
        Error::ThirdLabel {
            at: record.position.into(),
            column: self.target.column.clone(),
            found: String::from_utf8_lossy(found).into_owned(),
            expected: format!("the favourable outcome, {favourable}, or the one other value, {known:?}"),
        }
    }

    /// Returns the labels of rows with neither outcome.
    pub(crate) fn other_labels(&self) -> &Seen {
        &self.other_targets
    }

    /// Returns the labels that count as the other outcome because the schema lists none.
    pub(crate) fn implied_negatives(&self) -> &Seen {
        &self.implied_negatives
    }

    /// Returns the record that was admitted last as a row.
    pub(crate) fn row<'a>(&'a self, record: Record<'a>) -> Row<'a> {
        Row { record, label: self.label, groups: &self.groups, weight: self.weight }
    }

    /// Checks, once all records are read, that learning is possible: rows of both outcomes
    /// occurred, and every group that the schema names.
    ///
    /// # Errors
    ///
    /// Those of the other `check_` methods.
    pub(crate) fn check(&self, files: &str) -> Result<(), Error> {
        self.check_rows(files)?;
        self.check_learned(files)
    }

    /// Checks that learning is possible from all rows together, including those of earlier sources.
    ///
    /// # Errors
    ///
    /// [`Error::OneOutcome`], [`Error::AbsentGroup`].
    pub(crate) fn check_learned(&self, files: &str) -> Result<(), Error> {
        self.check_outcomes(files)?;
        self.check_groups(files)
    }

    /// Like [`Admission::check`], for a part of the data: groups may be absent.
    ///
    /// # Errors
    /// [`Error::NoUsableRows`], [`Error::OneOutcome`].
    pub(crate) fn check_part(&self, files: &str) -> Result<(), Error> {
        self.check_rows(files)?;
        self.check_outcomes(files)
    }

    /// Checks that at least one record since the start was used.
    ///
    /// # Errors
    ///
    /// [`Error::NoUsableRows`].
    pub(crate) fn check_rows(&self, files: &str) -> Result<(), Error> {
        let read = self.counts.read - self.earlier.read;
        let filtered = self.counts.filtered - self.earlier.filtered;
        let unlabelled = self.counts.unlabelled - self.earlier.unlabelled;
        let weightless = self.counts.weightless - self.earlier.weightless;
        let Target { column, positive, .. } = &self.target;
        let reason = if read == 0 {
            "there are no records, only a header".to_string()
        } else if filtered == read {
            format!("none of the {read} records passes the filters; check the [[filter]] tables")
        } else if self.usage == Use::Learn && filtered + unlabelled == read {
            format!(
                "column {column:?}: found {}, expected one of {}; correct target.positive and target.negative \
                 ({read} records read, {filtered} filtered out)",
                self.other_targets.list(),
                list(&[positive.as_slice(), &self.target.negative].concat()),
            )
        } else if let Some((_, column)) = &self.weighed_by
            && filtered + unlabelled + weightless == read
        {
            format!("column {column:?}: all {weightless} sample weights are 0, expected some above")
        } else {
            return Ok(());
        };
        Err(Error::NoUsableRows { files: files.into(), reason })
    }

    /// Checks that both outcomes occurred.
    ///
    /// # Errors
    ///
    /// [`Error::OneOutcome`].
    pub(crate) fn check_outcomes(&self, files: &str) -> Result<(), Error> {
        let Counts { positive, negative, .. } = self.counts;
        if positive > 0 && negative > 0 {
            return Ok(());
        }
        let Target { column, positive: favourable, negative: others, .. } = &self.target;
        let (found, missing, expected) = match (positive, others.is_empty()) {
            (0, _) => ("other", "favourable", list(favourable)),
            (_, false) => ("favourable", "other", list(others)),
            (_, true) => ("favourable", "other", format!("all but {}", list(favourable))),
        };
        let unmatched = if others.is_empty() { &self.implied_negatives } else { &self.other_targets };
        let advice = match unmatched.values().next() {
            Some(_) => format!(", the data have {}; correct target.positive and target.negative", unmatched.list()),
            None => "; use data with both outcomes".into(),
        };
        let reason = format!(
            "column {column:?}: all {} rows have the {found} outcome, expected both; the values of the {missing} one are {expected}{advice}",
            positive + negative
        );
        Err(Error::OneOutcome { files: files.into(), reason })
    }

    /// Checks that each protected group occurred: the privileged one, each listed one, and at least
    /// one to compare with.
    ///
    /// # Errors
    ///
    /// [`Error::AbsentGroup`].
    pub(crate) fn check_groups(&self, files: &str) -> Result<(), Error> {
        self.groupings.iter().try_for_each(|grouping| grouping.check(files))?;
        self.intersections.iter().try_for_each(|intersection| intersection.check(files))
    }

    /// Checks that at least one group of each protected column occurred.
    ///
    /// # Errors
    ///
    /// [`Error::AbsentGroup`].
    pub(crate) fn check_any_group(&self, files: &str) -> Result<(), Error> {
        self.groupings.iter().try_for_each(|grouping| grouping.check_any(files))
    }
}

/// Returns whether a label is one of these values. 1, 1.0 and "1" are the same.
#[inline]
fn is_listed(values: &[String], label: &[u8]) -> bool {
    values.iter().any(|value| value.as_bytes() == label)
        || std::str::from_utf8(label).is_ok_and(|label| values.iter().any(|value| is_same_number(value, label)))
}

/// Reads the sample weight of a record.
fn weight(record: &Record<'_>, index: usize, column: &str) -> Result<f64, Error> {
    let cell = record.cell(index);
    match cell.number() {
        Some(weight) if weight >= 0.0 && weight.is_finite() => Ok(weight),
        _ => Err(not_a_weight(record, index, column)),
    }
}

#[cold]
fn not_a_weight(record: &Record<'_>, index: usize, column: &str) -> Error {
    Error::NotAWeight {
        at: record.position.into(),
        column: column.into(),
        found: String::from_utf8_lossy(&record.text(index)).into_owned(),
    }
}

/// Returns whether a record passes a filter.
fn passes(filter: &Filter, record: &Record<'_>, index: usize) -> Result<bool, Error> {
    let text = record.text(index);
    let listed = |values: &[String]| values.iter().any(|value| value.as_bytes() == &*text);
    if listed(&filter.drop) || !(filter.keep.is_empty() || listed(&filter.keep)) {
        return Ok(false);
    }
    if filter.min.is_none() && filter.max.is_none() {
        return Ok(true);
    }
    let cell = record.cell(index);
    if cell.is_missing() {
        return Ok(false);
    }
    let number = cell.number().ok_or_else(|| {
        let help = "its [[filter]] has min or max; add the value to table.missing if it means that";
        record.not_a_number(&filter.column, cell, help)
    })?;
    Ok(filter.min.is_none_or(|min| number >= min) && filter.max.is_none_or(|max| number <= max))
}
