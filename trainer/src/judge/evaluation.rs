//! Everything that is reported of decisions on labelled records: accuracy, ranking, calibration,
//! and every fairness measure by group.
//!
//! The fairness measures and the distances are the engine's ([`feamoe_engine::fairness`],
//! [`feamoe_engine::recourse`]); this module adds what a device has no use for. Memory does not
//! grow with the records: 2 x 8 MiB for the ranking, some hundred bytes a group.

use feamoe_engine::fairness::{Distances, Measure, WideCounts, disparate_impact, interval};
use rayon::prelude::*;
use serde::Serialize;

use crate::error::Error;
use crate::judge::binding::Binding;
use crate::judge::individual::{IndividualFairness, IndividualUnfairness};
use crate::model::{AnyModel, HostModel, HostRecord, HostRecourse};
use crate::rows::{Attribute, NO_GROUP, Row, Stream};
use crate::threads::PerThread;

/// Steps of the score histogram behind the AUC: scores closer than 1e-6 count as ties.
const SCORE_STEPS: usize = 1 << 20;
/// Bins of the calibration error, of equal width.
const CALIBRATION_BINS: usize = 10;
/// Log-loss takes no probability nearer to 0 or 1 than this, half the spacing of f32 below 1: else
/// one sure and wrong score would make it infinite.
const SMALLEST_PROBABILITY: f64 = 3e-8;

/// Returns the negative log-likelihood, natural, of a label under a score; finite.
#[must_use]
pub fn log_loss(label: bool, probability: f32) -> f64 {
    let p = f64::from(if label { probability } else { 1.0 - probability });
    -libm::log(p.max(SMALLEST_PROBABILITY))
}

/// Groups smaller than this, or with fewer than this many records of either label, are too small to
/// judge.
pub const SMALL_GROUP: u64 = 30;

/// Rows between two reports of progress.
const REPORT_EVERY: u64 = 512;
/// Declined records that are looked at together: some 2 MB.
const BATCH: usize = 256;

/// Whether the recourse of declined records is looked for: it takes some hundred times as long as a
/// score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecourseBurden {
    /// It is.
    Measured,
    /// It is not: the recourse burdens are NaN.
    LeftOut,
}

/// Scores the labelled rows of a stream with the engine and gathers every measure; reports
/// the number of rows to `on_progress` now and then. Recourse burdens need float weights.
///
/// # Errors
/// Those of the stream and of [`Binding`]; [`Error::NoUsableRows`] without a row; a protected group
/// that the schema names and that never occurs; [`Error::OtherOutcome`].
pub fn evaluate(
    model: AnyModel<'_>,
    stream: &mut Stream,
    recourse_burden: RecourseBurden,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Evaluation, Error> {
    let mut declined = match model {
        AnyModel::Float(model) if recourse_burden == RecourseBurden::Measured => Some(Declined::new(model)),
        _ => None,
    };
    stream.target().check_model(model.schema())?;
    let binding = Binding::of(model.schema(), |name| stream.column(name, "the model"))?;
    stream.want(&binding.columns());
    let mut evaluator = Evaluator::new(model.threshold(), stream.attributes().count());
    let mut individual = IndividualFairness::new(model, &binding, stream.attributes());
    individual.learn_groups(stream.attributes());
    let mut record = model.record();
    let mut rows = 0_u64;
    while let Some(row) = stream.next_row()? {
        binding.fill(&row, &mut record)?;
        rows += 1;
        if rows.is_multiple_of(REPORT_EVERY) {
            on_progress(rows);
        }
        // A record of this very model: it cannot be another's.
        let probability = model.score(&record).map_or(f32::NAN, |score| score.probability);
        if let Some(label) = row.label {
            evaluator.observe(label, probability, row.groups);
            if let Some(declined) = declined.as_mut().filter(|_| probability < model.threshold()) {
                declined.push(&binding, &row, &mut evaluator)?;
            }
            individual.observe(model, &binding, &row, &mut record, probability >= model.threshold())?;
        }
        individual.learn_groups(stream.attributes());
    }
    if let Some(mut declined) = declined {
        declined.look(&mut evaluator);
    }
    stream.check_rows()?;
    stream.check_groups()?;
    let counts = stream.counts();
    let (individual_unfairness, attributes) = individual.report(stream.attributes());
    let skipped = counts.filtered + counts.unlabelled;
    Ok(Evaluation { skipped, individual_unfairness, attributes, ..evaluator.report(stream.attributes()) })
}

/// Declined records whose distances are still to be found, on all threads; taken in by their order,
/// so that the number of threads changes no bit.
struct Declined<'m> {
    model: &'m HostModel<'m>,
    /// With the groups of each.
    records: Vec<(HostRecord<'m>, Vec<u8>)>,
    /// Some hundred kilobytes each: too large for the stack.
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

/// Gathers decisions, one record at a time.
#[derive(Clone, Debug)]
pub struct Evaluator {
    threshold: f32,
    all: WideCounts,
    log_loss: f64,
    /// Records by score step: with a negative and with a positive label.
    scores: Vec<[u64; 2]>,
    groups: Vec<Vec<GroupTally>>,
}

#[derive(Clone, Debug, Default)]
struct GroupTally {
    counts: WideCounts,
    distances: Distances,
    bins: [CalibrationBin; CALIBRATION_BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct CalibrationBin {
    rows: u64,
    positives: u64,
    probability: f64,
}

impl Evaluator {
    /// Starts with no records. `attributes`: the number of groups of each may grow while records
    /// come in.
    #[must_use]
    pub fn new(threshold: f32, attributes: usize) -> Self {
        Self {
            threshold,
            all: WideCounts::default(),
            log_loss: 0.0,
            scores: vec![[0; 2]; SCORE_STEPS + 1],
            groups: vec![Vec::new(); attributes],
        }
    }

    /// Takes in one record: its label, score, and group in each attribute ([`NO_GROUP`] for none).
    pub fn observe(&mut self, label: bool, probability: f32, groups: &[u8]) {
        self.all.observe(label, probability, self.threshold);
        self.log_loss += log_loss(label, probability);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let step = (probability * SCORE_STEPS as f32) as usize;
        if let Some(cell) = self.scores.get_mut(step.min(SCORE_STEPS)).and_then(|c| c.get_mut(usize::from(label))) {
            *cell += 1;
        }
        self.tallies(groups, |tally, threshold| tally.observe(label, probability, threshold));
    }

    /// Takes in how far a declined record is from a favourable decision, `None` where no recourse
    /// was found.
    pub fn observe_distance(&mut self, distance: Option<f32>, groups: &[u8]) {
        self.tallies(groups, |tally, _| tally.distances.observe(distance));
    }

    /// Does something with the tallies of a record's groups, and the threshold.
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
        let (mut fairness, mut groups) = (Vec::new(), Vec::new());
        for (attribute, tallies) in attributes.into_iter().zip(&self.groups) {
            let tally = |group: usize| tallies.get(group).unwrap_or(&empty);
            let reference = attribute.groups().first().map_or("", String::as_str);
            for (index, name) in attribute.groups().iter().enumerate() {
                groups.push(tally(index).report(attribute.column(), name));
                if index > 0 {
                    let counts = [&tally(index).counts, &tally(0).counts];
                    let gaps = GroupGaps::new(attribute.column(), [name, reference], counts);
                    let recourse_burden = tally(index).distances.mean() - tally(0).distances.mean();
                    fairness.push(GroupGaps { recourse_burden, ..gaps });
                }
            }
        }
        #[allow(clippy::cast_precision_loss)]
        let rows = self.all.rows() as f64;
        Evaluation {
            rows: self.all.rows(),
            skipped: 0,
            accuracy: self.all.accuracy(),
            balanced_accuracy: self.all.balanced_accuracy(),
            auc: self.auc(),
            log_loss: self.log_loss / rows,
            threshold: self.threshold,
            individual_unfairness: f64::NAN,
            fairness,
            groups,
            attributes: Vec::new(),
        }
    }

    /// Area under the ROC curve by the rank sum of the histogram, ties counted half; NaN where a
    /// label is missing.
    #[allow(clippy::cast_precision_loss)]
    fn auc(&self) -> f64 {
        let (mut below, mut ordered) = (0.0_f64, 0.0_f64);
        let (mut negatives, mut positives) = (0_u64, 0_u64);
        for [negative, positive] in &self.scores {
            ordered += *positive as f64 * (below + 0.5 * *negative as f64);
            below += *negative as f64;
            negatives += negative;
            positives += positive;
        }
        ordered / (negatives as f64 * positives as f64)
    }
}

impl GroupTally {
    fn observe(&mut self, label: bool, probability: f32, threshold: f32) {
        self.counts.observe(label, probability, threshold);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let bin = (probability * CALIBRATION_BINS as f32) as usize;
        if let Some(bin) = self.bins.get_mut(bin.min(CALIBRATION_BINS - 1)) {
            bin.rows += 1;
            bin.positives += u64::from(label);
            bin.probability += f64::from(probability);
        }
    }

    /// Expected calibration error: mean over records of |mean score - share of positives| of their
    /// bin.
    #[allow(clippy::cast_precision_loss)]
    fn calibration_error(&self) -> f64 {
        let gap: f64 = self.bins.iter().map(|bin| (bin.probability - bin.positives as f64).abs()).sum();
        gap / self.counts.rows() as f64
    }

    fn report(&self, attribute: &str, group: &str) -> GroupReport {
        let rates = self.counts.rates();
        GroupReport {
            attribute: attribute.to_owned(),
            group: group.to_owned(),
            rows: self.counts.rows(),
            positive_rate: rates.positive,
            tpr: rates.true_positive,
            fpr: rates.false_positive,
            precision: self.counts.precision(),
            accuracy: self.counts.accuracy(),
            calibration_error: self.calibration_error(),
            recourse_burden: self.distances.mean(),
            without_recourse: self.distances.without(),
        }
    }
}

/// The report of an evaluation; serialises to the JSON of `feamoe evaluate`. A measure that no
/// record supports is NaN (JSON: null).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Records evaluated.
    pub rows: u64,
    /// Records left out: filtered, or with neither target value.
    pub skipped: u64,
    /// Share of right decisions.
    pub accuracy: f32,
    /// Mean of true positive and true negative rate.
    pub balanced_accuracy: f32,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Mean negative log-likelihood, natural.
    pub log_loss: f64,
    /// Decision threshold.
    pub threshold: f32,
    /// Share of records whose decision changes when a protected column alone is changed, see
    /// [`crate::judge::individual`].
    pub individual_unfairness: f64,
    /// Every group against its reference.
    pub fairness: Vec<GroupGaps>,
    /// Every group.
    pub groups: Vec<GroupReport>,
    /// Individual unfairness by protected column.
    pub attributes: Vec<IndividualUnfairness>,
}

impl Evaluation {
    /// Returns the largest magnitude of a measure over all groups large enough to judge; `None`
    /// without such a group.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Option<f32> {
        self.fairness
            .iter()
            .filter(|gaps| !gaps.too_small)
            .map(|gaps| gaps.measure(measure).abs())
            .filter(|gap| !gap.is_nan())
            .max_by(f32::total_cmp)
    }
}

/// The gaps of one group against the reference: group minus reference; see
/// [`feamoe_engine::fairness`] for the definitions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupGaps {
    /// Protected column.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// Records of the group.
    pub rows: u64,
    /// Records of the reference.
    pub reference_rows: u64,
    /// Statistical parity difference.
    pub spd: f32,
    /// Average odds difference.
    pub aod: f32,
    /// Equalised odds gap, not negative.
    pub eodds: f32,
    /// Equal opportunity difference.
    pub eopp: f32,
    /// Burden gap, as `threshold - p`.
    pub probability_burden: f32,
    /// Burden gap, as the distance to the decision boundary in standard deviations (see
    /// [`feamoe_engine::recourse`]); NaN where it was not measured.
    pub recourse_burden: f32,
    /// Ratio of the positive rates.
    pub disparate_impact: f32,
    /// 95 % interval of `spd`.
    pub spd_interval: Option<[f32; 2]>,
    /// 95 % interval of `aod`.
    pub aod_interval: Option<[f32; 2]>,
    /// 95 % interval of `eopp`.
    pub eopp_interval: Option<[f32; 2]>,
    /// Fewer than [`SMALL_GROUP`] records of a label in the group or the reference: the gaps say
    /// little.
    pub too_small: bool,
}

/// Returns whether a group or its reference has too few records to be judged by a measure: fewer
/// than [`SMALL_GROUP`] decisions, or of either label for a measure of label rates.
#[must_use]
pub fn is_too_few(measure: Measure, [u, r]: [&WideCounts; 2]) -> bool {
    let few = |counts: &WideCounts| match measure {
        Measure::Spd | Measure::Burden | Measure::RecourseBurden => counts.rows() < SMALL_GROUP,
        Measure::Aod | Measure::Eodds | Measure::Eopp => {
            counts.labelled(true) < SMALL_GROUP || counts.labelled(false) < SMALL_GROUP
        }
    };
    few(u) || few(r)
}

impl GroupGaps {
    /// Compares a group with its reference, given the names and counts of both.
    #[must_use]
    pub fn new(attribute: &str, [group, reference]: [&str; 2], [u, r]: [&WideCounts; 2]) -> Self {
        let (rates, reference_rates) = (u.rates(), r.rates());
        let gap = |measure: Measure| measure.gap(&rates, &reference_rates);
        let ends = |measure| interval(measure, u, r).map(|interval| [interval.low, interval.high]);
        Self {
            attribute: attribute.to_owned(),
            group: group.to_owned(),
            reference: reference.to_owned(),
            rows: u.rows(),
            reference_rows: r.rows(),
            spd: gap(Measure::Spd),
            aod: gap(Measure::Aod),
            eodds: gap(Measure::Eodds),
            eopp: gap(Measure::Eopp),
            probability_burden: gap(Measure::Burden),
            recourse_burden: f32::NAN,
            disparate_impact: disparate_impact(&rates, &reference_rates),
            spd_interval: ends(Measure::Spd),
            aod_interval: ends(Measure::Aod),
            eopp_interval: ends(Measure::Eopp),
            too_small: is_too_few(Measure::Aod, [u, r]),
        }
    }

    /// Returns one of the measures.
    #[must_use]
    pub fn measure(&self, measure: Measure) -> f32 {
        match measure {
            Measure::Spd => self.spd,
            Measure::Aod => self.aod,
            Measure::Eodds => self.eodds,
            Measure::Eopp => self.eopp,
            Measure::Burden => self.probability_burden,
            Measure::RecourseBurden => self.recourse_burden,
        }
    }

    /// Returns the 95 % interval of one of the measures, where it has one.
    #[must_use]
    pub fn interval(&self, measure: Measure) -> Option<[f32; 2]> {
        match measure {
            Measure::Spd => self.spd_interval,
            Measure::Aod => self.aod_interval,
            Measure::Eopp => self.eopp_interval,
            Measure::Eodds | Measure::Burden | Measure::RecourseBurden => None,
        }
    }
}

/// The rates of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    /// Protected column.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Its records.
    pub rows: u64,
    /// Share of favourable decisions.
    pub positive_rate: f32,
    /// True positive rate.
    pub tpr: f32,
    /// False positive rate.
    pub fpr: f32,
    /// Share of right ones among the favourable decisions.
    pub precision: f32,
    /// Share of right decisions.
    pub accuracy: f32,
    /// Expected calibration error over ten bins.
    pub calibration_error: f64,
    /// Mean distance of the declined records from a favourable decision, in standard deviations; of
    /// those with a recourse.
    pub recourse_burden: f32,
    /// Declined records for which no recourse was found within the training ranges.
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
            as_feature: false,
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
        assert_eq!((gaps.rows, gaps.reference_rows, gaps.spd, gaps.too_small), (1, 1, -1.0, true));
        assert_eq!(report.worst(Measure::Spd), None);
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
        assert_eq!(report.fairness[0].recourse_burden, 1.0);
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
