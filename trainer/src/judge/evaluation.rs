//! Evaluation of decisions on labelled records: accuracy, ranking, calibration, and every fairness
//! measure by group.
//!
//! The fairness measures and the distances are the engine's ([`feamoe_engine::fairness`],
//! [`feamoe_engine::recourse`]); this module adds what a device does not need. Memory does not grow
//! with the records: it is 2 x 8 MiB for the ranking and a few hundred bytes per group.

use feamoe_engine::fairness::{Distances, Measure, WideCounts};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::attribute::{AttributeReport, OtherLabels};
use super::binding::Binding;
use super::counts::Counted;
use super::gaps::{GroupGaps, correct};
use super::individual::IndividualFairness;
use super::inputs::{Input, Inputs};
use super::proxies::{Proxy, proxies};
use super::ranking::ScoreHistogram;
use super::reliability::{Reliability, ReliabilityBin, log_loss};
use super::tally::{Decisions, Moments, Side, Sum};
use super::verdict::Requirement;
use crate::error::Error;
use crate::model::card::Card;
use crate::model::{AnyModel, AnyRecord, HostModel, HostRecord, HostRecourse, HostScore};
use crate::rows::{Attribute, Buffer, GroupMap, NO_GROUP, Reservoir, Row, Stream};
use crate::threads::PerThread;

/// Rows between two reports of progress.
const REPORT_EVERY: u64 = 512;
/// Maximum size in bytes of the sample in which proxies are searched for, because texts may be
/// long.
const MOST_BYTES: usize = 64 << 20;
/// The number of declined records that are processed together, about 2 MB.
const BATCH: usize = 256;

/// Whether to search for the recourse of declined records, which takes about a hundred times as
/// long as a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecourseBurden {
    /// Yes.
    Measured,
    /// No; the recourse burdens are NaN.
    LeftOut,
}

/// Scores the labelled rows of a stream with the engine and computes every measure. Reports the
/// number of rows to `on_progress` regularly and at the end. Recourse burdens need float weights.
///
/// # Errors
/// [`Error::NoUsableRows`] without rows, [`Error::AbsentGroup`] for a protected column without any
/// occurring group, [`Error::OtherOutcome`], and the errors of the stream and of [`Binding`].
pub fn evaluate(
    model: AnyModel<'_>,
    card: Option<&Card>,
    stream: &mut Stream,
    recourse_burden: RecourseBurden,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Evaluation, Error> {
    evaluate_watched(model, card, stream, recourse_burden, &mut |_| Ok(()), on_progress)
}

/// A labelled row with its score.
#[derive(Clone, Copy, Debug)]
pub struct JudgedRow<'a, 'm> {
    /// The row.
    pub row: &'a Row<'a>,
    /// Its label.
    pub label: bool,
    /// The columns of the features.
    pub binding: &'a Binding,
    /// The row as the model reads it.
    pub record: &'a AnyRecord<'m>,
    /// Its score.
    pub score: &'a HostScore,
    /// Its calibrated probability, or the score if the model is not calibrated.
    pub calibrated: f32,
}

/// Like [`evaluate`], but also passes every labelled row to `watch`.
///
/// # Errors
/// The same as [`evaluate`], and those of `watch`.
pub fn evaluate_watched<'m>(
    model: AnyModel<'m>,
    card: Option<&Card>,
    stream: &mut Stream,
    recourse_burden: RecourseBurden,
    watch: &mut dyn FnMut(JudgedRow<'_, 'm>) -> Result<(), Error>,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Evaluation, Error> {
    let (columns, attributes) = (stream.columns().len(), stream.attributes().count());
    let (mut sample, mut features) = (None, Vec::new());
    let watch = &mut |judged: JudgedRow<'_, 'm>| {
        let sample = sample.get_or_insert_with(|| {
            features = judged.binding.named_columns();
            Reservoir::new(Buffer::new(columns, &judged.binding.columns(), attributes), 0, 0)
        });
        if sample.bytes() < MOST_BYTES {
            sample.offer(judged.row);
        }
        watch(judged)
    };
    let counts = count_rows(model, card, stream, recourse_burden, watch, on_progress)?;
    stream.check_rows()?;
    stream.check_any_group()?;
    let sample: Vec<Row<'_>> = sample.iter().flat_map(Reservoir::rows).collect();
    let proxies = proxies(&sample, &features, &stream.attributes().collect::<Vec<_>>());
    Ok(Evaluation { proxies, ..counts.report(stream.target()) })
}

/// Scores the labelled rows of a stream and counts everything that the measures need.
///
/// # Errors
/// Those of the stream, of [`Binding`] and of `watch`; [`Error::OtherOutcome`].
pub(super) fn count_rows<'m>(
    model: AnyModel<'m>,
    card: Option<&Card>,
    stream: &mut Stream,
    recourse_burden: RecourseBurden,
    watch: &mut dyn FnMut(JudgedRow<'_, 'm>) -> Result<(), Error>,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Counted, Error> {
    let mut declined = match model {
        AnyModel::Float(model) if recourse_burden == RecourseBurden::Measured => Some(Declined::new(model)),
        _ => None,
    };
    stream.target().check_model(model.schema())?;
    let binding = Binding::of(model.schema(), |name| stream.column(name, "the model"))?;
    let binding = binding.with_bad_cells(stream.bad_cells());
    stream.want(&binding.columns());
    let mut evaluator = Evaluator::new(model.threshold(), stream.attributes().count());
    let mut individual = IndividualFairness::new(model, &binding, stream.attributes());
    individual.learn_groups(stream.attributes());
    let mut record = model.record();
    let mut inputs = Inputs::new(model.schema(), card);
    let mut rows = 0_u64;
    while let Some(row) = stream.next_row()? {
        binding.fill(&row, &mut record)?;
        inputs.observe(record.notes());
        rows += 1;
        if rows.is_multiple_of(REPORT_EVERY) {
            on_progress(rows);
        }
        // The record was created by this model, so scoring cannot fail.
        let score = model.score(&record);
        let calibrated = score.as_ref().map_or(f32::NAN, |score| model.calibrated(&record, score).unwrap_or(f32::NAN));
        let probability = score.as_ref().map_or(f32::NAN, |score| score.probability);
        if let Some(label) = row.label {
            if let Ok(score) = &score {
                watch(JudgedRow { row: &row, label, binding: &binding, record: &record, score, calibrated })?;
            }
            evaluator.observe_calibrated(label, [probability, calibrated], row.groups);
            if let Some(declined) = declined.as_mut().filter(|_| probability < model.threshold()) {
                declined.push(&binding, &row, &mut evaluator)?;
            }
            individual.observe(model, &binding, &row, &mut record, probability >= model.threshold())?;
        }
        individual.learn_groups(stream.attributes());
    }
    on_progress(rows);
    if let Some(mut declined) = declined {
        declined.look(&mut evaluator);
    }
    Ok(Counted {
        model: model.crc32(),
        favourable_outcome: model.schema().positive_name().unwrap_or_default().to_owned(),
        has_distances: recourse_burden == RecourseBurden::Measured,
        place: stream.place(),
        individual: individual.counts(stream.attributes()),
        evaluator,
        inputs,
        bad_cells: binding.bad_cells().collect(),
    })
}

/// Declined records whose distances are still to be computed, on all threads. Results are added in
/// the order of the records, so that the number of threads does not change a bit.
struct Declined<'m> {
    model: &'m HostModel<'m>,
    /// Each record with its groups.
    records: Vec<(HostRecord<'m>, Vec<u8>)>,
    /// Each takes a few hundred kilobytes, too much for the stack.
    memory: PerThread<Box<HostRecourse>>,
}

impl<'m> Declined<'m> {
    fn new(model: &'m HostModel<'m>) -> Self {
        Self { model, records: Vec::new(), memory: PerThread::new(|| Box::new(HostRecourse::new())) }
    }

    fn push(&mut self, binding: &Binding, row: &Row<'_>, evaluator: &mut Evaluator) -> Result<(), Error> {
        let mut record = self.model.record();
        binding.fill(row, &mut record)?;
        self.records.push((record, row.groups.to_vec()));
        if self.records.len() == BATCH {
            self.look(evaluator);
        }
        Ok(())
    }

    fn look(&mut self, evaluator: &mut Evaluator) {
        let search = |(record, _): &(HostRecord<'m>, Vec<u8>)| {
            self.memory.with(|recourse| {
                let found = self.model.recourse_into(record, recourse);
                found.map_or(None, |()| recourse.distance)
            })
        };
        let distances: Vec<Option<f32>> = self.records.par_iter().with_max_len(1).map(search).collect();
        for ((_, groups), distance) in self.records.drain(..).zip(distances) {
            evaluator.observe_distance(distance, &groups);
        }
    }
}

/// Counts decisions, one record at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluator {
    threshold: f32,
    all: GroupTally,
    log_loss: Sum,
    scores: ScoreHistogram,
    groups: Vec<Vec<GroupTally>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct GroupTally {
    decisions: Decisions,
    distances: Distances,
    spread: Moments,
    reliability: Reliability,
}

impl Evaluator {
    /// Starts without records, with this number of attributes. The number of groups of each may
    /// grow with the records.
    #[must_use]
    pub fn new(threshold: f32, attributes: usize) -> Self {
        Self {
            threshold,
            all: GroupTally::default(),
            log_loss: Sum::default(),
            scores: ScoreHistogram::default(),
            groups: vec![Vec::new(); attributes],
        }
    }

    /// Counts a record by its label, score, and group in each attribute ([`NO_GROUP`] for none).
    pub fn observe(&mut self, label: bool, probability: f32, groups: &[u8]) {
        self.observe_calibrated(label, [probability; 2], groups);
    }

    /// Like [`Evaluator::observe`], for a record whose calibrated probability differs from the
    /// score: decisions and AUC use the score, log-loss and calibration the calibrated probability.
    pub fn observe_calibrated(&mut self, label: bool, [probability, calibrated]: [f32; 2], groups: &[u8]) {
        self.all.observe(label, [probability, calibrated], self.threshold);
        self.log_loss.add(log_loss(label, calibrated));
        self.scores.observe(label, probability);
        self.tallies(groups, |tally, threshold| tally.observe(label, [probability, calibrated], threshold));
    }

    /// Counts the distance of a declined record from a favourable decision; `None` if no recourse
    /// was found.
    pub fn observe_distance(&mut self, distance: Option<f32>, groups: &[u8]) {
        self.tallies(groups, |tally, _| tally.observe_distance(distance));
    }

    /// Adds the records of another evaluator with the same threshold and attributes. `groups` maps
    /// its groups to those of this one.
    pub(super) fn merge(&mut self, other: &Self, groups: &GroupMap) {
        self.all.merge(&other.all);
        self.log_loss.merge(other.log_loss);
        self.scores.merge(&other.scores);
        for (attribute, (tallies, others)) in self.groups.iter_mut().zip(&other.groups).enumerate() {
            let others = groups.spread(attribute, others);
            if tallies.len() < others.len() {
                tallies.resize_with(others.len(), GroupTally::default);
            }
            tallies.iter_mut().zip(&others).for_each(|(tally, other)| tally.merge(other));
        }
    }

    /// Calls `with` for the tallies of a record's groups, and the threshold.
    fn tallies(&mut self, groups: &[u8], mut with: impl FnMut(&mut GroupTally, f32)) {
        for (tallies, group) in self.groups.iter_mut().zip(groups) {
            if *group == NO_GROUP {
                continue;
            }
            let index = usize::from(*group);
            if tallies.len() <= index {
                tallies.resize_with(index + 1, GroupTally::default);
            }
            if let Some(tally) = tallies.get_mut(index) {
                with(tally, self.threshold);
            }
        }
    }

    /// Returns the report on the records so far. `attributes` names the groups.
    #[must_use]
    pub fn report<'a>(&self, attributes: impl IntoIterator<Item = &'a Attribute>) -> Evaluation {
        let empty = GroupTally::default();
        let (mut fairness, mut sides, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (attribute, tallies) in attributes.into_iter().zip(&self.groups) {
            let tally = |group: usize| tallies.get(group).unwrap_or(&empty);
            let reference = attribute.groups().first().map_or("", String::as_str);
            for (index, name) in attribute.groups().iter().enumerate() {
                groups.push(tally(index).report(attribute.column(), name));
                if index > 0 {
                    let pair = [tally(index).side(), tally(0).side()];
                    fairness.push(GroupGaps::new(attribute.column(), [name, reference], pair.each_ref()));
                    sides.push(pair);
                }
            }
        }
        correct(&mut fairness, &sides);
        let all = &self.all.decisions.counts;
        #[allow(clippy::cast_precision_loss)]
        let rows = all.rows() as f64;
        Evaluation {
            rows: all.rows(),
            skipped: 0,
            other_labels: OtherLabels::default(),
            accuracy: all.accuracy(),
            balanced_accuracy: all.balanced_accuracy(),
            auc: self.scores.auc(),
            log_loss: self.log_loss.value() / rows,
            calibration_error: self.all.reliability.error(),
            reliability: self.all.reliability.bins(),
            threshold: self.threshold,
            selection_rate: all.rates().positive,
            favourable_outcome: String::new(),
            individual_unfairness: f64::NAN,
            attributes: Vec::new(),
            fairness,
            groups,
            requirements: Vec::new(),
            proxies: Vec::new(),
            inputs: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl GroupTally {
    fn observe(&mut self, label: bool, [probability, calibrated]: [f32; 2], threshold: f32) {
        self.decisions.observe(label, probability, threshold);
        self.reliability.observe(label, calibrated);
    }

    fn observe_distance(&mut self, distance: Option<f32>) {
        self.distances.observe(distance);
        if let Some(distance) = distance {
            self.spread.observe(distance);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.decisions.merge(&other.decisions);
        self.distances.merge(&other.distances);
        self.spread.merge(&other.spread);
        self.reliability.merge(&other.reliability);
    }

    fn side(&self) -> Side {
        Side { distances: self.distances, spread: Some(self.spread), ..Side::of(&self.decisions) }
    }

    fn report(&self, attribute: &str, group: &str) -> GroupReport {
        let counts = &self.decisions.counts;
        let rates = counts.rates();
        GroupReport {
            attribute: attribute.to_owned(),
            group: group.to_owned(),
            rows: counts.rows(),
            selection_rate: rates.positive,
            base_rate: base_rate(counts),
            tpr: rates.true_positive,
            fpr: rates.false_positive,
            fnr: 1.0 - rates.true_positive,
            precision: counts.precision(),
            accuracy: counts.accuracy(),
            calibration_error: self.reliability.error(),
            reliability: self.reliability.bins(),
            tp: counts.cell(true, true),
            fp: counts.cell(false, true),
            tn: counts.cell(false, false),
            r#fn: counts.cell(true, false),
            recourse_burden: self.distances.mean(),
            without_recourse: self.distances.without(),
        }
    }
}

/// Returns the share of records with the favourable outcome; NaN without records.
#[allow(clippy::cast_precision_loss)]
fn base_rate(counts: &WideCounts) -> f32 {
    counts.labelled(true) as f32 / counts.rows() as f32
}

/// The report of an evaluation; serialises to the JSON of `feamoe evaluate`. A measure without
/// supporting records is NaN (JSON: null).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Evaluation {
    /// Number of evaluated records.
    pub rows: u64,
    /// Number of records left out: filtered out, or with neither outcome.
    pub skipped: u64,
    /// The records with neither outcome.
    pub other_labels: OtherLabels,
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Mean of the true positive rate and the true negative rate.
    pub balanced_accuracy: f32,
    /// Area under the ROC curve of the scores.
    pub auc: f64,
    /// Mean negative log-likelihood of the calibrated probabilities, in natural logarithms.
    pub log_loss: f64,
    /// Expected calibration error over ten bins of equal width.
    pub calibration_error: f64,
    /// The bins that have records.
    pub reliability: Vec<ReliabilityBin>,
    /// Decision threshold.
    pub threshold: f32,
    /// Share of favourable decisions.
    pub selection_rate: f32,
    /// Name of the favourable outcome, which a decision of 1 stands for; empty if the model has no
    /// names.
    pub favourable_outcome: String,
    /// Share of records whose decision changes if only a protected column is changed.
    pub individual_unfairness: f64,
    /// The protected attributes and their groups.
    pub attributes: Vec<AttributeReport>,
    /// Every group compared with its reference.
    pub fairness: Vec<GroupGaps>,
    /// The rates of every group.
    pub groups: Vec<GroupReport>,
    /// The verdicts on required limits; empty if none is required.
    pub requirements: Vec<Requirement>,
    /// Features that almost alone predict the outcome, or that predict a group.
    pub proxies: Vec<Proxy>,
    /// The input quality of every feature.
    pub inputs: Vec<Input>,
    /// Warnings about the input quality.
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// Returns the value of a measure that is farthest from equal treatment, over the groups that
    /// can be judged by it; `None` if there is no such group.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Option<f32> {
        let judged = self.fairness.iter().filter_map(|gaps| Some((gaps.magnitude(measure)?, gaps.measure(measure))));
        judged.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, value)| value)
    }

    /// Adds the verdict on a required limit.
    pub fn require(&mut self, measure: Measure, limit: f32) {
        self.requirements.push(Requirement::of(measure, limit, &self.fairness));
    }
}

/// The rates of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GroupReport {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Number of records of the group.
    pub rows: u64,
    /// Share of favourable decisions.
    pub selection_rate: f32,
    /// Share of favourable outcomes.
    pub base_rate: f32,
    /// True positive rate.
    pub tpr: f32,
    /// False positive rate.
    pub fpr: f32,
    /// False negative rate.
    pub fnr: f32,
    /// Share of correct decisions among the favourable ones.
    pub precision: f32,
    /// Share of correct decisions.
    pub accuracy: f32,
    /// Expected calibration error over ten bins of equal width.
    pub calibration_error: f64,
    /// The bins that have records.
    pub reliability: Vec<ReliabilityBin>,
    /// Number of favourable decisions on records with the favourable outcome.
    pub tp: u64,
    /// Number of favourable decisions on records with the unfavourable outcome.
    pub fp: u64,
    /// Number of declined records with the unfavourable outcome.
    pub tn: u64,
    /// Number of declined records with the favourable outcome.
    pub r#fn: u64,
    /// Mean distance of declined records from a favourable decision, in standard deviations, over
    /// the records with a recourse.
    pub recourse_burden: f32,
    /// Number of declined records for which no recourse was found within the training ranges.
    pub without_recourse: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Protected;

    fn attribute() -> Attribute {
        Attribute::new(&Protected {
            column: "sex".into(),
            privileged: vec!["Male".into()],
            unprivileged: Some(vec!["Female".into()]),
            ..Protected::default()
        })
    }

    #[test]
    fn auc_counts_ordered_pairs_and_half_of_ties() {
        let mut evaluator = Evaluator::new(0.5, 0);
        for (label, p) in [(true, 0.9), (false, 0.8), (true, 0.8), (false, 0.1)] {
            evaluator.observe(label, p, &[]);
        }
        // Pairs: 0.9 over both, 0.8 ties one and beats one: (2 + 1.5) of 4.
        assert!((evaluator.report(&[]).auc - 3.5 / 4.0).abs() < 1e-9);
    }

    #[test]
    fn log_loss_and_calibration_follow_their_definitions() {
        let mut evaluator = Evaluator::new(0.5, 1);
        evaluator.observe(true, 0.75, &[0]);
        evaluator.observe(false, 0.25, &[1]);
        let report = evaluator.report([&attribute()]);
        assert!((report.log_loss + libm::log(0.75)).abs() < 1e-7);
        assert!(report.groups.iter().all(|group| (group.calibration_error - 0.25).abs() < 1e-7));
        let gaps = &report.fairness[0];
        assert_eq!((gaps.rows, gaps.reference_rows, gaps.measure(Measure::Spd)), (1, 1, -1.0));
        assert_eq!((gaps.too_few.len(), report.worst(Measure::Spd)), (Measure::ALL.len(), None));
        assert!((report.calibration_error - 0.25).abs() < 1e-7);
    }

    #[test]
    fn the_recourse_burden_is_a_gap_of_mean_distances() {
        let mut evaluator = Evaluator::new(0.5, 1);
        for (group, distance) in [(0, Some(1.0)), (0, Some(2.0)), (1, Some(2.5)), (1, None), (NO_GROUP, Some(9.0))] {
            evaluator.observe(false, 0.1, &[group]);
            evaluator.observe_distance(distance, &[group]);
        }
        evaluator.observe(true, 0.9, &[1]);
        let report = evaluator.report([&attribute()]);
        assert_eq!(report.fairness[0].measure(Measure::RecourseBurden), 1.0);
        let groups: Vec<_> = report.groups.iter().map(|g| (g.recourse_burden, g.without_recourse)).collect();
        assert_eq!(groups, [(1.5, 0), (2.5, 1)]);
        assert!(report.groups[0].precision.is_nan() && report.groups[1].precision == 1.0);
    }

    #[test]
    fn a_sure_and_wrong_score_keeps_the_log_loss_finite() {
        let mut evaluator = Evaluator::new(0.5, 0);
        evaluator.observe(true, 0.0, &[]);
        assert!(evaluator.report(&[]).log_loss.is_finite());
    }
}
