//! Recourse for people: changes that the schema allows and that would turn the decision of a
//! declined record.
//!
//! The search is the engine's ([`feamoe_engine::recourse`]). This module derives its rules from a
//! schema, or from the card of the model, names the changes, and summarises them by group. Changes
//! of protected columns are never proposed.

use std::borrow::Cow;

use feamoe_engine::fairness::Distances;
use feamoe_engine::recourse::{Change, Direction, Rule, RuleErrorKind};
use feamoe_engine::schema::Kind;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, list};
use crate::judge::binding::Binding;
use crate::judge::inputs::Inputs;
use crate::model::card::Card;
use crate::model::{AnyModel, FEATURES, HostAnswer, HostModel, HostRecord, HostRecourse, HostRules};
use crate::rows::{Buffer, NO_GROUP, Row, Stream, parse};
use crate::schema::{Features, Protected, Schema};
use crate::threads::PerThread;

/// Number of declined records that are processed together, on all threads. They take a few
/// megabytes.
const BATCH: usize = 128;

/// The default margin by which an answer exceeds the threshold. Without a margin, another model of
/// the same rows may decline the answer.
pub const MARGIN: f32 = 0.05;

/// Creates the engine's rules for a model from a schema, or from the model's card if there is no
/// schema. The `wishes` of a user, with the same keys, take precedence, but a column that either of
/// them calls protected or immutable stays fixed.
///
/// Columns of the schema that are not features are ignored. Without `steps`, the step of a number
/// follows the background records: hundreds if all of its values there are hundreds, whole numbers
/// if they are whole. Without a background, any number may be proposed.
///
/// # Errors
/// [`Error::Rule`] for a wish for a column that is not a feature, is protected or immutable, or
/// that contradicts another; for a numeric rule on a category; and for an empty range, or a step or
/// cost out of range.
pub fn rules(
    model: &HostModel<'_>,
    card: Option<&Card>,
    schema: Option<&Schema>,
    wishes: &Features,
) -> Result<HostRules, Error> {
    let known = || card.map(|card| &card.schema).into_iter().chain(schema);
    let is_protected = |column: &str| {
        known().any(|known| known.protected.iter().flat_map(Protected::columns).any(|name| name == column))
    };
    let is_immutable = |column: &str| known().any(|known| known.features.immutable.iter().any(|name| name == column));
    let base = known().last().map(|known| &known.features);
    let fault = |column: &str, message: String| Error::Rule { column: column.to_owned(), message };
    let features = model.schema().features();
    let names: Vec<&str> = (0..features.len()).filter_map(|index| model.schema().feature_name(index)).collect();
    let mut rules = [Rule::FREE; FEATURES];
    let ways = [
        ("immutable", &wishes.immutable),
        ("increase_only", &wishes.increase_only),
        ("decrease_only", &wishes.decrease_only),
    ];
    for (index, (later, columns)) in ways.iter().enumerate() {
        for (earlier, others) in ways.iter().take(index) {
            if let Some(column) = columns.iter().find(|column| others.contains(column)) {
                return Err(fault(column, format!("is {earlier} and {later}, expected only one of them")));
            }
        }
    }
    for (said, is_wish) in base.map(|base| (base, false)).into_iter().chain([(wishes, true)]) {
        for (key, column) in said.columns() {
            if is_wish && is_protected(column) {
                return Err(fault(column, "is protected, which recourse never changes".into()));
            }
            if is_wish && key != "immutable" && is_immutable(column) {
                return Err(fault(column, "is immutable in the schema, so recourse never changes it".into()));
            }
            let Some(index) = names.iter().position(|name| name == column) else {
                if is_wish {
                    return Err(fault(
                        column,
                        format!("is not a feature of the model; the features are {}", list(&names)),
                    ));
                }
                continue;
            };
            let kind = features.get(index).map(|feature| feature.kind());
            let is_number = matches!(kind, Some(Kind::Number { .. }));
            if !is_number && matches!(key, "increase_only" | "decrease_only" | "ranges" | "steps") {
                return Err(fault(column, format!("is a category of the model, but features.{key} needs a number")));
            }
            if let Some(rule) = rules.get_mut(index) {
                set(rule, said, key, column);
            }
            if let (true, "ranges", Some(Kind::Number { low, high, .. })) = (is_wish, key, kind) {
                let [lowest, highest] = said.ranges[column];
                if lowest <= highest && (lowest > f64::from(high) || highest < f64::from(low)) {
                    let message = format!(
                        "has the range {lowest}..{highest}, expected one that overlaps the training range {low}..{high}"
                    );
                    return Err(fault(column, message));
                }
            }
        }
    }
    for (index, (rule, name)) in rules.iter_mut().zip(&names).enumerate() {
        if rule.step == 0.0 {
            rule.step = usual_step(&AnyModel::Float(model).background_numbers(index));
        }
        if is_protected(name) || is_immutable(name) {
            rule.direction = Direction::Fixed;
        }
    }
    HostRules::new(rules).map_err(|error| {
        let Rule { low, high, step, cost, .. } = rules.get(error.feature).unwrap_or(&Rule::FREE);
        let message = match error.kind {
            RuleErrorKind::EmptyRange => {
                format!("has the range {low}..{high}, expected LOW..HIGH with LOW not above HIGH")
            }
            RuleErrorKind::InvalidStep => {
                format!("has the step {step}, expected a number above 0, or 0 for any number")
            }
            RuleErrorKind::InvalidCost => {
                format!("has the cost {cost}, expected a number from {} to {}", Rule::LEAST_COST, Rule::MOST_COST)
            }
            _ => error.to_string(),
        };
        fault(names.get(error.feature).unwrap_or(&""), message)
    })
}

/// Returns the largest step of which all of these numbers are multiples; 0 if there is none, or if
/// there are too few numbers.
#[allow(clippy::cast_possible_truncation)] // the engine's precision
fn usual_step(numbers: &[f32]) -> f32 {
    const STEPS: [f64; 6] = [1000.0, 100.0, 10.0, 1.0, 0.1, 0.01];
    const LEAST_NUMBERS: usize = 3;
    let is_multiple = |number: &f32, step: f64| ((f64::from(*number) / step).round() * step) as f32 == *number;
    let step = STEPS.into_iter().find(|step| numbers.iter().all(|number| is_multiple(number, *step)));
    step.filter(|_| numbers.len() >= LEAST_NUMBERS).map_or(0.0, |step| step as f32)
}

/// Applies one key of the schema to the rule of a column.
#[allow(clippy::cast_possible_truncation)] // the engine's precision
fn set(rule: &mut Rule, said: &Features, key: &str, column: &str) {
    match key {
        "immutable" => rule.direction = Direction::Fixed,
        "increase_only" => rule.direction = Direction::Increase,
        "decrease_only" => rule.direction = Direction::Decrease,
        "ranges" => [rule.low, rule.high] = said.ranges[column].map(|end| end as f32),
        "steps" => rule.step = said.steps[column] as f32,
        "costs" => rule.cost = said.costs[column] as f32,
        _ => {}
    }
}

/// The number and kind of answers to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The largest number of answers per record, at least 1.
    pub answers: usize,
    /// The largest number of features that an answer changes, at least 1.
    pub changes: usize,
    /// The only record to process, counted from 1; `None` for all.
    pub row: Option<u64>,
}

/// Searches for recourse for each declined record of a stream, or only for record `row`. Reports
/// the number of rows to `on_progress` regularly. Uses all threads of rayon's pool; their number
/// does not change a bit of the result. Without `keep_each`, only the summary is kept, in constant
/// memory.
///
/// # Errors
/// The errors of the stream and of [`Binding`], [`Error::NoUsableRows`] if there is no record, or
/// none with this number, and [`Error::OtherOutcome`].
pub fn recourse(
    model: &HostModel<'_>,
    stream: &mut Stream,
    card: Option<&Card>,
    rules: &HostRules,
    wanted: Wanted,
    keep_each: bool,
    on_progress: &mut dyn FnMut(u64),
) -> Result<RecourseReport, Error> {
    stream.target().check_model(model.schema())?;
    let binding = Binding::new(model, |name| stream.column(name, "the model"))?;
    let binding = binding.with_bad_cells(stream.bad_cells());
    stream.want(&binding.columns());
    let mut report = RecourseReport::new(model, rules);
    let mut inputs = Inputs::new(model.schema(), card);
    let row = wanted.row;
    let mut tallies: Vec<Vec<Distances>> = vec![Vec::new(); stream.attributes().count()];
    // Each takes a few hundred kilobytes, too much for the stack.
    let memory = PerThread::new(|| (Box::new(HostRecourse::new()), vec![HostAnswer::NONE; wanted.answers]));
    let mut record = model.record();
    let mut all = Distances::new();
    let mut changed = [0; FEATURES];
    let (mut last, mut more) = (0, true);
    let columns: Vec<usize> =
        (0..model.schema().features().len()).filter_map(|feature| binding.column(feature)).collect();
    while more {
        let mut rows = Buffer::new(stream.columns().len(), &columns, stream.attributes().count());
        let mut declined: Vec<(HostRecord<'_>, f32)> = Vec::new();
        while more && declined.len() < BATCH {
            let Some(found) = stream.next_row()? else {
                more = false;
                break;
            };
            last = found.position.number;
            if row.is_some_and(|wanted| wanted != last) {
                continue;
            }
            more = row.is_none();
            binding.fill(&found, &mut record)?;
            inputs.observe(record.notes());
            report.summary.rows += 1;
            // The record was created by this model, so this cannot fail.
            let probability = model.score(&record).map_or(f32::NAN, |score| score.probability);
            if probability < model.threshold() {
                rows.push(&found);
                declined.push((record.clone(), probability));
            } else if row.is_some() {
                report.favourable = Some(probability);
            }
        }
        let search = |(record, _): &(HostRecord<'_>, f32)| {
            memory
                .with(|(scratch, room)| few_changes(model, record, rules, wanted.changes, scratch, room, &mut || true))
        };
        let found: Vec<Vec<HostAnswer>> = declined.par_iter().with_max_len(1).map(search).collect();
        for ((row, (_, probability)), answers) in rows.rows().zip(&declined).zip(&found) {
            let distance = answers.first().map(|nearest| nearest.distance);
            all.observe(distance);
            for (tallies, group) in tallies.iter_mut().zip(row.groups).filter(|(_, group)| **group != NO_GROUP) {
                let group = usize::from(*group);
                tallies.resize(tallies.len().max(group + 1), Distances::new());
                tallies[group].observe(distance);
            }
            let nearest = answers.first().map_or(&[][..], |nearest| &nearest.changes);
            changed.iter_mut().zip(nearest).for_each(|(count, change)| *count += u64::from(change.is_some()));
            if keep_each {
                report.add(model, &binding, &row, *probability, answers);
            }
        }
        on_progress(report.summary.rows);
    }
    stream.check_rows()?;
    if let Some(row) = row.filter(|_| report.summary.rows == 0) {
        let reason = format!("no record {row}, expected a row from 1 to {last}");
        return Err(Error::NoUsableRows { files: stream.files(), reason });
    }
    report.sum_up(&all, &changed, stream, &tallies);
    report.warnings = inputs.warnings(binding.bad_cells());
    Ok(report)
}

/// Returns the answers that change at most `most` features. If the nearest answers all change more,
/// one is searched for by repeatedly fixing the feature without which the next answer is nearest.
/// If `keep_going` returns false, the search ends with the answers found so far.
pub(crate) fn few_changes(
    model: &HostModel<'_>,
    record: &HostRecord<'_>,
    rules: &HostRules,
    most: usize,
    scratch: &mut HostRecourse,
    room: &mut [HostAnswer],
    keep_going: &mut dyn FnMut() -> bool,
) -> Vec<HostAnswer> {
    // The record was created by this model, so this cannot fail.
    let mut search = |rules: &HostRules, room: &mut [HostAnswer]| {
        let count = model.recourses_while(record, rules, scratch, room, |_| keep_going()).unwrap_or(0);
        room.get(..count).unwrap_or_default().to_vec()
    };
    let changed = |answer: &HostAnswer| answer.changes.iter().filter(|change| change.is_some()).count();
    let found = search(rules, room);
    let mut nearest = found.first().copied();
    let few: Vec<HostAnswer> = found.into_iter().filter(|answer| changed(answer) <= most).collect();
    let mut rules = *rules;
    while let Some(answer) = nearest.filter(|answer| few.is_empty() && changed(answer) > most) {
        let features = (0..FEATURES).filter(|feature| answer.changes[*feature].is_some());
        let without = features.filter_map(|feature| {
            let rules = rules.fixing(feature);
            Some((search(&rules, &mut room[..1]).first().copied()?, rules))
        });
        let best = without.min_by(|(one, _), (other, _)| one.distance.total_cmp(&other.distance));
        nearest = best.as_ref().map(|(answer, _)| *answer);
        rules = best.map_or(rules, |(_, rules)| rules);
    }
    if few.is_empty() { nearest.into_iter().collect() } else { few }
}

/// Returns the features that an answer changes, each with its current and its new cell. `cell`
/// returns the text of a feature's cell.
pub(crate) fn changes<'c>(
    model: &HostModel<'_>,
    answer: &HostAnswer,
    cell: impl Fn(usize) -> Cow<'c, [u8]>,
) -> Vec<(String, Value, Value)> {
    let schema = model.schema();
    let changed = answer.changes.iter().enumerate().filter_map(|(index, change)| Some((index, (*change)?)));
    let named = changed.map(|(index, change)| {
        let cell = cell(index);
        let level = |name: &[u8]| Value::Level(String::from_utf8_lossy(name).into_owned());
        let (before, after) = match change {
            Change::Number(x) => {
                (parse(&cell).map_or_else(|| level(&cell), |x| Value::number(x as f32)), Value::number(x))
            }
            Change::Level(code) => {
                let name = schema.level_names(index).nth(usize::from(code)).unwrap_or_default();
                (level(&cell), level(name.as_bytes()))
            }
        };
        (schema.feature_name(index).unwrap_or_default().to_owned(), before, after)
    });
    named.collect()
}

/// The recourse of all declined records; serialises to the JSON of `feamoe recourse`. `declined`
/// has an entry for each declined record, `answers` for each answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RecourseReport {
    /// Name of the favourable outcome.
    pub output_names: String,
    /// Decision threshold.
    pub threshold: f32,
    /// The rule for each feature.
    pub rules: Vec<FeatureRule>,
    /// The declined records.
    pub declined: Declined,
    /// The answers for the declined records.
    pub answers: Answers,
    /// The summary over all records.
    pub summary: Summary,
    /// CRC-32 of the model, 8 hexadecimal digits.
    pub model: String,
    /// The score of the single record that was asked for, if its decision is favourable.
    #[serde(skip)]
    pub favourable: Option<f32>,
    /// Warnings about the cells of the records.
    pub warnings: Vec<String>,
}

/// The rule for a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FeatureRule {
    /// The feature.
    pub feature: String,
    /// `any`, `increase`, `decrease` or `fixed`.
    pub direction: &'static str,
    /// Lowest number that the rule allows to propose, in addition to the training range; infinite
    /// (JSON: null) if the rule sets none.
    pub low: f32,
    /// Highest number that the rule allows to propose; see `low`.
    pub high: f32,
    /// Step of the proposed numbers, which are multiples of it; 0 if any number is allowed.
    pub step: f32,
    /// Factor by which a change of the feature counts in the distance.
    pub cost: f32,
}

/// The declined records, as columns of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Declined {
    /// Record numbers, from 1.
    pub row: Vec<u64>,
    /// Scores, which are compared with the threshold. They equal the probabilities unless the model
    /// is calibrated.
    pub probability: Vec<f32>,
    /// Number of answers found; 0 means no recourse within the ranges.
    pub answers: Vec<usize>,
}

/// The answers, as columns of the same length. Each answer has a favourable decision. The nearest
/// answer of a record comes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Answers {
    /// Record numbers, from 1.
    pub row: Vec<u64>,
    /// Number of the answer within its record, from 1.
    pub rank: Vec<usize>,
    /// Distance in standard deviations, costs included.
    pub distance: Vec<f32>,
    /// Score after the changes.
    pub probability: Vec<f32>,
    /// The features to change.
    pub features: Vec<Vec<String>>,
    /// The current cells of these features.
    pub from: Vec<Vec<Value>>,
    /// The new cells of these features.
    pub to: Vec<Vec<Value>>,
}

/// A value of a feature, printed so that it reads back the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Value {
    /// A whole number: shown as 39, not 39.0.
    Whole(i64),
    /// Any other number.
    Number(f32),
    /// A level.
    Level(String),
}

impl Value {
    fn number(x: f32) -> Self {
        // Below 2^24, every whole number is exact as f32.
        #[allow(clippy::cast_possible_truncation)]
        if x.fract() == 0.0 && x.abs() < 16_777_216.0 { Self::Whole(x as i64) } else { Self::Number(x) }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(x) => write!(f, "{x}"),
            Self::Number(x) => write!(f, "{x}"),
            Self::Level(name) => f.write_str(name),
        }
    }
}

/// The summary over all records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Number of scored records.
    pub rows: u64,
    /// Number of declined records.
    pub declined: u64,
    /// Number of declined records with an answer.
    pub with_recourse: u64,
    /// Number of declined records without an answer.
    pub without_recourse: u64,
    /// Mean distance of the nearest answers; NaN (JSON: null) without answers.
    pub mean_distance: f32,
    /// The features that the nearest answers change, the most frequent first.
    pub changed: Vec<Changed>,
    /// The recourse of every protected group whose column is in the data.
    pub groups: Vec<GroupRecourse>,
}

/// How often a feature is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Changed {
    /// The feature.
    pub feature: String,
    /// Number of records whose nearest answer changes it.
    pub records: u64,
}

/// The recourse of a protected group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GroupRecourse {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Number of its declined records.
    pub declined: u64,
    /// Number of its declined records without an answer.
    pub without_recourse: u64,
    /// Mean distance of the nearest answers, over its declined records with an answer; NaN (JSON:
    /// null) without answers.
    pub mean_distance: f32,
    /// The mean distance minus that of the privileged group; 0 for the privileged group.
    pub gap: f32,
}

impl RecourseReport {
    fn new(model: &HostModel<'_>, rules: &HostRules) -> Self {
        let named = (0..).map_while(|index| model.schema().feature_name(index)).zip(rules.as_slice());
        let rule = |(name, rule): (&str, &Rule)| FeatureRule {
            feature: name.to_owned(),
            direction: match rule.direction {
                Direction::Any => "any",
                Direction::Increase => "increase",
                Direction::Decrease => "decrease",
                Direction::Fixed => "fixed",
            },
            low: rule.low,
            high: rule.high,
            step: rule.step,
            cost: rule.cost,
        };
        Self {
            output_names: model.schema().positive_name().unwrap_or_default().to_owned(),
            threshold: model.threshold(),
            rules: named.map(rule).collect(),
            declined: Declined::default(),
            answers: Answers::default(),
            summary: Summary::default(),
            model: format!("{:08x}", model.crc32()),
            favourable: None,
            warnings: Vec::new(),
        }
    }

    /// Adds a declined record.
    fn add(&mut self, model: &HostModel<'_>, binding: &Binding, row: &Row<'_>, probability: f32, found: &[HostAnswer]) {
        let number = row.position.number;
        self.declined.row.push(number);
        self.declined.probability.push(probability);
        self.declined.answers.push(found.len());
        for (rank, answer) in (1..).zip(found) {
            let cell = |index: usize| binding.column(index).map_or_else(Cow::default, |column| row.text(column));
            let (mut features, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new());
            for (feature, before, after) in changes(model, answer, cell) {
                features.push(feature);
                from.push(before);
                to.push(after);
            }
            let answers = &mut self.answers;
            answers.row.push(number);
            answers.rank.push(rank);
            answers.distance.push(answer.distance);
            answers.probability.push(answer.probability);
            answers.features.push(features);
            answers.from.push(from);
            answers.to.push(to);
        }
    }

    fn sum_up(&mut self, all: &Distances, changed: &[u64], stream: &Stream, tallies: &[Vec<Distances>]) {
        let changed = self.rules.iter().zip(changed).filter(|(_, records)| **records > 0);
        let mut changed: Vec<Changed> =
            changed.map(|(rule, records)| Changed { feature: rule.feature.clone(), records: *records }).collect();
        changed.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.feature.cmp(&b.feature)));
        let mut groups = Vec::new();
        let none = Distances::new();
        for (attribute, tallies) in stream.attributes().zip(tallies) {
            // Without the column, nobody's group is known.
            if attribute.rows().iter().all(|rows| *rows == 0) {
                continue;
            }
            let reference = tallies.first().unwrap_or(&none).mean();
            for (index, group) in attribute.groups().iter().enumerate() {
                let tally = tallies.get(index).unwrap_or(&none);
                groups.push(GroupRecourse {
                    attribute: attribute.column().to_owned(),
                    group: group.clone(),
                    declined: tally.found() + tally.without(),
                    without_recourse: tally.without(),
                    mean_distance: tally.mean(),
                    gap: tally.mean() - reference,
                });
            }
        }
        self.summary = Summary {
            rows: self.summary.rows,
            declined: all.found() + all.without(),
            with_recourse: all.found(),
            without_recourse: all.without(),
            mean_distance: all.mean(),
            changed,
            groups,
        };
    }
}
