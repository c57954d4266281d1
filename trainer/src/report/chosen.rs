//! The records that a report explains individually: the most informative ones and the requested
//! ones.

use std::borrow::Cow;

use feamoe_engine::Value;
use feamoe_engine::recourse::Direction;
use rayon::prelude::*;

use super::sample::Sample;
use crate::error::Error;
use crate::explanation::Cell;
use crate::judge::evaluation::JudgedRow;
use crate::judge::recourse::{changes, few_changes};
use crate::model::{AnyRecord, HostAnswer, HostModel, HostRecord, HostRecourse, HostRules};
use crate::rows::{Attribute, NO_GROUP};
use crate::threads::PerThread;

/// Maximum number of requested records.
pub const MOST_ASKED: usize = 16;
/// Number of declined records per group that are drawn as examples of recourse.
pub(super) const EXAMPLES: usize = 6;
/// Maximum number of columns that an example changes.
pub(super) const MOST_CHANGES: usize = 3;

/// A record that is explained.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The reason why it was chosen.
    pub why: &'static str,
    /// The number of the record, from 1.
    pub row: u64,
    /// The label of the record.
    pub label: bool,
    /// Its score.
    pub probability: f32,
    /// Its groups, as pairs of attribute and group.
    pub groups: Vec<(String, String)>,
}

/// A record with the data for explaining it.
#[derive(Clone, Debug)]
pub(super) struct Kept<'m> {
    pub row: u64,
    pub label: bool,
    pub probability: f32,
    pub groups: Vec<u8>,
    pub record: AnyRecord<'m>,
    pub cells: Vec<Cell>,
    /// The model's view of the cells.
    pub values: Vec<Value>,
}

impl<'m> Kept<'m> {
    pub(super) fn of(judged: &JudgedRow<'_, 'm>, cells: Vec<Cell>) -> Self {
        Self {
            row: judged.row.position.number,
            label: judged.label,
            probability: judged.score.probability,
            groups: judged.row.groups.to_vec(),
            record: judged.record.clone(),
            cells,
            // Cannot fail: the record was made from these values.
            values: judged.binding.values(judged.row).unwrap_or_default(),
        }
    }

    pub(super) fn chosen(&self, why: &'static str, attributes: &[Attribute]) -> Chosen {
        let named = attributes.iter().zip(&self.groups).filter_map(|(attribute, group)| {
            let name = attribute.groups().get(usize::from(*group))?;
            Some((attribute.column().to_owned(), name.clone()))
        });
        let Self { row, label, probability, .. } = *self;
        Chosen { why, row, label, probability, groups: named.collect() }
    }
}

/// Chooses records during the pass over the rows. Of equally good records it keeps the first.
#[derive(Clone, Debug)]
pub(super) struct Choosing<'m> {
    threshold: f32,
    extremes: [Option<Kept<'m>>; 4],
    wanted: Vec<u64>,
    asked: Vec<Kept<'m>>,
}

/// The reason for each of the extremes.
const EXTREMES: [&str; 4] =
    ["nearest below the threshold", "nearest above the threshold", "lowest score", "highest score"];

impl<'m> Choosing<'m> {
    /// Creates a choice without records.
    pub(super) fn new(threshold: f32, wanted: &[u64]) -> Self {
        Self { threshold, extremes: [const { None }; 4], wanted: wanted.to_vec(), asked: Vec::new() }
    }

    /// Keeps a row if it is requested or more extreme than the rows so far.
    pub(super) fn offer(&mut self, judged: &JudgedRow<'_, 'm>, cells: impl Fn() -> Vec<Cell>) {
        let p = judged.score.probability;
        let is_declined = p < self.threshold;
        let better: [&dyn Fn(f32) -> bool; 4] =
            [&|best| p > best, &|best| p < best, &|best| p < best, &|best| p > best];
        let is_candidate = [is_declined, !is_declined, is_declined, !is_declined];
        for ((best, better), is_candidate) in self.extremes.iter_mut().zip(better).zip(is_candidate) {
            if is_candidate && best.as_ref().is_none_or(|best| better(best.probability)) {
                *best = Some(Kept::of(judged, cells()));
            }
        }
        if self.wanted.contains(&judged.row.position.number) {
            self.asked.push(Kept::of(judged, cells()));
        }
    }

    /// Returns the chosen records, each once.
    ///
    /// # Errors
    /// [`Error::Input`] if a requested record was not among the `read` rows of `files`.
    pub(super) fn finish(self, files: &str, read: u64) -> Result<Vec<(&'static str, Kept<'m>)>, Error> {
        if let Some(row) = self.wanted.iter().find(|row| self.asked.iter().all(|kept| kept.row != **row)) {
            let message = format!(
                "{files}: no record {row}, expected a row from 1 to {read} that has an outcome and passes the filters"
            );
            return Err(Error::Input(message));
        }
        let asked = self.asked.into_iter().map(|kept| ("asked for", kept));
        let extremes = EXTREMES.into_iter().zip(self.extremes).filter_map(|(why, kept)| Some((why, kept?)));
        let mut all: Vec<(&'static str, Kept<'m>)> = Vec::new();
        for (why, kept) in asked.chain(extremes) {
            if all.iter().all(|(_, other)| other.row != kept.row) {
                all.push((why, kept));
            }
        }
        Ok(all)
    }
}

/// The recourse of some records of a group.
#[derive(Clone, Debug)]
pub struct RecourseOf {
    /// The protected column. Without protected columns, a name for all rows.
    pub attribute: String,
    /// The group; empty for all rows.
    pub group: String,
    /// Number of declined records of the group.
    pub declined: u64,
    /// Number of records that were drawn from them.
    pub drawn: usize,
    /// Number of drawn records with an answer that respects the rules.
    pub answered: usize,
    /// The changes of the nearest answer of each drawn record.
    pub examples: Vec<Example>,
}

/// The nearest answer of a record.
#[derive(Clone, Debug)]
pub struct Example {
    /// The record's number, from 1.
    pub row: u64,
    /// Its score.
    pub probability: f32,
    /// The score after the changes.
    pub then: f32,
    /// The distance of the answer, in standard deviations.
    pub distance: f32,
    /// Feature, cell and new value.
    pub changes: Vec<(String, String, String)>,
}

/// Draws declined records from every group, or from all rows if there are no groups.
#[derive(Clone, Debug)]
pub(super) struct Drawing<'m> {
    all: Sample<Kept<'m>>,
    groups: Vec<Vec<Sample<Kept<'m>>>>,
}

impl<'m> Drawing<'m> {
    /// Creates a drawing without records.
    pub(super) fn new(attributes: usize) -> Self {
        Self { all: Sample::new(EXAMPLES), groups: vec![Vec::new(); attributes] }
    }

    /// Offers a declined row to the samples of its groups.
    pub(super) fn offer(&mut self, judged: &JudgedRow<'_, 'm>, cells: impl Fn() -> Vec<Cell>) {
        if self.groups.is_empty() {
            self.all.offer(|| Kept::of(judged, cells()));
        }
        for (samples, group) in self.groups.iter_mut().zip(judged.row.groups).filter(|(_, group)| **group != NO_GROUP) {
            let group = usize::from(*group);
            if samples.len() <= group {
                samples.resize(group + 1, Sample::new(EXAMPLES));
            }
            samples.iter_mut().skip(group).take(1).for_each(|sample| sample.offer(|| Kept::of(judged, cells())));
        }
    }

    /// Finds the nearest answers on all threads. The number of threads does not change the result.
    pub(super) fn look(&self, model: &HostModel<'_>, rules: &HostRules, attributes: &[Attribute]) -> Vec<RecourseOf> {
        let memory = PerThread::new(|| (Box::new(HostRecourse::new()), vec![HostAnswer::NONE; 1]));
        let search = |record: &HostRecord<'_>| {
            memory.with(|(scratch, room)| {
                few_changes(model, record, rules, MOST_CHANGES, scratch, room, &mut || true).first().copied()
            })
        };
        let example = |kept: &Kept<'_>| {
            let AnyRecord::Float(record) = &kept.record else { return None };
            let answer = search(record)?;
            let cell = |index: usize| {
                kept.cells.get(index).map_or_else(Cow::default, |cell| Cow::Owned(cell.shown().into_bytes()))
            };
            let named = changes(model, &answer, cell).into_iter();
            Some(Example {
                row: kept.row,
                probability: kept.probability,
                then: answer.probability,
                distance: answer.distance,
                changes: named.map(|(name, from, to)| (name, from.to_string(), to.to_string())).collect(),
            })
        };
        let of_group = |attribute: &str, group: &str, sample: &Sample<Kept<'m>>| {
            let found: Vec<Option<Example>> = sample.kept().par_iter().with_max_len(1).map(example).collect();
            RecourseOf {
                attribute: attribute.to_owned(),
                group: group.to_owned(),
                declined: sample.offered(),
                drawn: found.len(),
                answered: found.iter().flatten().count(),
                examples: found.into_iter().flatten().collect(),
            }
        };
        if attributes.is_empty() {
            return vec![of_group("all rows", "", &self.all)];
        }
        let mut all = Vec::new();
        for (attribute, samples) in attributes.iter().zip(&self.groups) {
            for (group, sample) in attribute.groups().iter().zip(samples).filter(|(_, sample)| sample.offered() > 0) {
                all.push(of_group(attribute.column(), group, sample));
            }
        }
        all
    }
}

/// Describes the restrictions of the rules by feature. Returns an empty list if there are none.
pub(super) fn in_words(model: &HostModel<'_>, rules: &HostRules) -> Vec<String> {
    let named = (0..).map_while(|index| model.schema().feature_name(index)).zip(rules.as_slice());
    let words = named.filter_map(|(name, rule)| {
        let mut words = Vec::new();
        match rule.direction {
            Direction::Any => {}
            Direction::Increase => words.push("may only grow".to_owned()),
            Direction::Decrease => words.push("may only fall".to_owned()),
            Direction::Fixed => return Some(format!("{name} stays as it is")),
        }
        if rule.low.is_finite() {
            words.push(format!("at least {}", rule.low));
        }
        if rule.high.is_finite() {
            words.push(format!("at most {}", rule.high));
        }
        if rule.step > 0.0 && rule.step != 1.0 {
            words.push(format!("in steps of {}", rule.step));
        }
        (!words.is_empty()).then(|| format!("{name} {}", words.join(", ")))
    });
    words.collect()
}
