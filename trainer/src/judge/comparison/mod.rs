//! Comparison of two models on the same rows: the decisions that change and for whom; accuracy,
//! calibration and gaps with paired intervals; the features whose explanations change most; and a
//! verdict.
//!
//! The models may have different features; each takes its own from the rows. Differences are the
//! second model minus the first.

pub mod paired;
mod sample;
mod verdict;

use feamoe_engine::fairness::Measure;
use serde::Serialize;

use self::paired::{Calibrations, Change, Differences, Pairs};
use self::sample::Sample;
use super::attribute::{AttributeReport, OtherLabels};
use super::binding::Binding;
use super::evaluation::{Evaluation, Evaluator};
use super::gaps::{GroupGaps, TooFew, heading};
use super::reliability::log_loss;
use crate::error::Error;
use crate::model::{AnyModel, HostScore};
use crate::rows::{Attribute, NO_GROUP, Row, Stream};

/// The measures of decisions, whose gaps are compared.
pub const MEASURES: [Measure; 4] = [Measure::Spd, Measure::Aod, Measure::Eodds, Measure::Eopp];

/// Rows between two reports of progress.
const REPORT_EVERY: u64 = 512;

/// The difference of the scores of two models over some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct ScoreChange {
    /// Number of records that both models scored.
    pub rows: u64,
    /// Mean of the absolute difference in p.
    pub mean_change: f64,
    /// Largest absolute difference in p.
    pub largest_change: f32,
    /// Number of records whose decision differs.
    pub changed_decisions: u64,
    /// Share of the records whose decision differs.
    pub changed_share: f64,
}

impl ScoreChange {
    /// Adds the scores of a record by both models.
    pub fn observe(&mut self, [before, after]: [&HostScore; 2]) {
        let difference = (before.probability - after.probability).abs();
        self.rows += 1;
        self.mean_change += (f64::from(difference) - self.mean_change) / self.rows as f64;
        self.largest_change = self.largest_change.max(difference);
        self.changed_decisions += u64::from(before.decision != after.decision);
        self.changed_share = self.changed_decisions as f64 / self.rows as f64;
    }
}

/// Two models on the same rows; serialises to the JSON of `feamoe compare`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The first and the second model.
    pub models: [ModelReport; 2],
    /// Number of labelled rows that both models scored.
    pub rows: u64,
    /// Number of rows left out: filtered out, or with neither outcome.
    pub skipped: u64,
    /// The rows with neither outcome.
    pub other_labels: OtherLabels,
    /// The protected attributes and their groups.
    pub attributes: Vec<AttributeReport>,
    /// The difference of the scores.
    pub scores: ScoreChange,
    /// The changed decisions: of all rows, then of every group.
    pub decisions: Vec<DecisionChange>,
    /// Accuracy and related measures.
    pub measures: Vec<MeasureChange>,
    /// The fairness gaps of every group.
    pub gaps: Vec<GapChange>,
    /// Number of randomly drawn rows that were explained.
    pub explained_rows: u64,
    /// The features, in descending order of the change of their values in explanations; empty if a
    /// model has integer weights.
    pub features: Vec<FeatureChange>,
    /// A summary in one sentence.
    pub verdict: String,
}

/// A description of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct ModelReport {
    /// CRC-32 of the model, 8 hexadecimal digits.
    pub model: String,
    /// Number of experts.
    pub experts: usize,
    /// Number of features.
    pub features: usize,
    /// Decision threshold.
    pub threshold: f32,
}

/// The decisions that differ between two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct DecisionChange {
    /// The protected column; null for all rows.
    pub attribute: Option<String>,
    /// The group; null for all rows.
    pub group: Option<String>,
    /// Number of rows.
    pub rows: u64,
    /// Number of rows with a favourable decision by the second model only.
    pub gained: u64,
    /// Number of rows with a favourable decision by the first model only.
    pub lost: u64,
    /// Share of favourable decisions by each model.
    pub selection_rates: [f64; 2],
    /// The difference of the shares.
    #[serde(flatten)]
    pub change: Change,
}

/// A measure over all rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct MeasureChange {
    /// `accuracy`, `balanced_accuracy`, `log_loss`, `calibration_error` or `auc`.
    pub measure: &'static str,
    /// The value of each model.
    pub values: [f64; 2],
    /// The difference of the values; without an interval for `auc`.
    #[serde(flatten)]
    pub change: Change,
}

impl MeasureChange {
    /// Returns the name of the measure in text.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.measure {
            "balanced_accuracy" => "balanced accuracy",
            "log_loss" => "log-loss",
            "calibration_error" => "calibration error",
            "auc" => "AUC",
            measure => measure,
        }
    }
}

/// A fairness gap.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GapChange {
    /// Protected column.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// The measure.
    pub measure: &'static str,
    /// The value of each model, group minus reference.
    pub values: [f64; 2],
    /// The difference of the values. There is no interval if there are too few records to judge the
    /// gap. `eodds` has an interval only if the larger gap of both models is that of the same rate,
    /// with the same sign.
    #[serde(flatten)]
    pub change: Change,
    /// Why the gap cannot be judged; null if it can.
    pub too_few: Option<TooFew>,
}

impl GapChange {
    /// Returns the name of the measure in headings.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        Measure::ALL.into_iter().find(|measure| measure.name() == self.measure).map_or(self.measure, heading)
    }
}

/// The change of the values of a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FeatureChange {
    /// The feature.
    pub feature: String,
    /// Whether each model has the feature. If a model does not, its value counts as 0.
    pub has: [bool; 2],
    /// Mean absolute difference of the feature's values by the method `path`, in probability.
    pub mean_change: f64,
    /// Mean absolute value of the feature for each model.
    pub mean_values: [f64; 2],
}

/// Compares two models on the labelled rows of a stream, and explains at most `most_explained` of
/// them. Reports the number of rows to `on_progress` regularly and at the end.
///
/// # Errors
/// The errors of the stream and of [`Binding`], [`Error::OtherOutcome`] if a model has another
/// outcome, [`Error::NoUsableRows`], and [`Error::AbsentGroup`] for a protected column of which no
/// group occurs.
pub fn compare(
    models: [AnyModel<'_>; 2],
    stream: &mut Stream<'_>,
    most_explained: usize,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Comparison, Error> {
    let mut sample = Sample::new(models, most_explained);
    let tally = Tally::of(models, ["the first model", "the second model"], stream, |bindings, row| {
        if row.position.number.is_multiple_of(REPORT_EVERY) {
            on_progress(row.position.number);
        }
        sample.offer(bindings, row)
    })?;
    stream.check_any_group()?;
    let counts = stream.counts();
    on_progress(counts.read);
    let attributes: Vec<&Attribute> = stream.attributes().collect();
    let (explained_rows, features) = sample.explain();
    let mut comparison = Comparison {
        models: models.map(|model| ModelReport {
            model: format!("{:08x}", model.crc32()),
            experts: model.experts(),
            features: model.schema().features().len(),
            threshold: model.threshold(),
        }),
        rows: tally.scores.rows,
        skipped: counts.filtered + counts.unlabelled,
        other_labels: OtherLabels::new(stream.other_labels(), stream.target()),
        attributes: attributes.iter().map(|attribute| AttributeReport::new(attribute, None)).collect(),
        scores: tally.scores,
        decisions: tally.decisions(&attributes),
        measures: Vec::new(),
        gaps: Vec::new(),
        explained_rows,
        features,
        verdict: String::new(),
    };
    let reports = tally.reports(&attributes);
    comparison.measures = tally.measures(&reports);
    comparison.gaps = tally.gaps(&attributes, &reports);
    if models[0].crc32() == models[1].crc32() {
        comparison.is_of_one_model();
    }
    comparison.verdict = verdict::verdict(&comparison);
    Ok(comparison)
}

impl Comparison {
    /// Handles the comparison of a model with itself, which differs on no row.
    fn is_of_one_model(&mut self) {
        let changes = self.decisions.iter_mut().map(|decision| &mut decision.change);
        let changes = changes.chain(self.measures.iter_mut().map(|measure| &mut measure.change));
        for change in changes.chain(self.gaps.iter_mut().map(|gap| &mut gap.change)) {
            change.interval = change.interval.map(|_| [0.0; 2]);
        }
    }
}

/// The counts over all rows.
struct Tally {
    thresholds: [f32; 2],
    scores: ScoreChange,
    evaluators: [Evaluator; 2],
    right: Pairs,
    all: ByLabel,
    /// By attribute and group.
    groups: Vec<Vec<ByLabel>>,
    losses: Differences,
    calibrations: Calibrations,
}

/// Decisions on rows with the unfavourable and with the favourable outcome.
type ByLabel = [Pairs; 2];

fn all([other, favourable]: &ByLabel) -> Pairs {
    let mut all = *other;
    all.merge(favourable);
    all
}

/// Returns the difference of the scores of two models on the labelled rows of a stream, and the
/// evaluation of each. `names` are their names in messages.
///
/// # Errors
/// The same as [`compare`].
pub(super) fn evaluate_both(
    models: [AnyModel<'_>; 2],
    names: [&str; 2],
    stream: &mut Stream<'_>,
) -> Result<(ScoreChange, [Evaluation; 2]), Error> {
    let tally = Tally::of(models, names, stream, |_, _| Ok(()))?;
    let attributes: Vec<&Attribute> = stream.attributes().collect();
    Ok((tally.scores, tally.reports(&attributes)))
}

impl Tally {
    /// Scores the labelled rows of a stream by both models. `each` gets every row, with the
    /// bindings of both models.
    fn of(
        models: [AnyModel<'_>; 2],
        names: [&str; 2],
        stream: &mut Stream<'_>,
        mut each: impl FnMut(&[Binding], &Row<'_>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut bindings = Vec::new();
        for (model, name) in models.iter().zip(names) {
            stream.target().check_model(model.schema())?;
            let binding = Binding::of(model.schema(), |column| stream.column(column, name))?;
            bindings.push(binding.with_bad_cells(stream.bad_cells()));
        }
        stream.want(&bindings.iter().flat_map(Binding::columns).collect::<Vec<_>>());
        let mut records = models.map(AnyModel::record);
        let mut tally = Self::new(models, stream.attributes().count());
        while let Some(row) = stream.next_row()? {
            let Some(label) = row.label else { continue };
            for (binding, record) in bindings.iter().zip(&mut records) {
                binding.fill(&row, record)?;
            }
            let [(a, of_a), (b, of_b)] = [(models[0], &records[0]), (models[1], &records[1])];
            // Each record was created by its model, so scoring cannot fail.
            let scores = [a.score(of_a), b.score(of_b)].map(Result::unwrap_or_default);
            let calibrated = [a.calibrated(of_a, &scores[0]), b.calibrated(of_b, &scores[1])];
            tally.observe(label, &scores, calibrated.map(|p| p.unwrap_or(f32::NAN)), row.groups);
            each(&bindings, &row)?;
        }
        stream.check_rows()?;
        Ok(tally)
    }

    fn reports(&self, attributes: &[&Attribute]) -> [Evaluation; 2] {
        self.evaluators.each_ref().map(|evaluator| evaluator.report(attributes.iter().copied()))
    }

    fn new(models: [AnyModel<'_>; 2], attributes: usize) -> Self {
        Self {
            thresholds: models.map(AnyModel::threshold),
            scores: ScoreChange::default(),
            evaluators: models.map(|model| Evaluator::new(model.threshold(), attributes)),
            right: Pairs::default(),
            all: ByLabel::default(),
            groups: vec![Vec::new(); attributes],
            losses: Differences::default(),
            calibrations: Calibrations::default(),
        }
    }

    fn observe(&mut self, label: bool, scores: &[HostScore; 2], calibrated: [f32; 2], groups: &[u8]) {
        self.scores.observe(scores.each_ref());
        let decisions = [0, 1].map(|model: usize| scores[model].probability >= self.thresholds[model]);
        self.right.observe(decisions.map(|decision| decision == label));
        self.losses.observe(calibrated.map(|p| log_loss(label, p)));
        self.calibrations.observe(label, calibrated);
        for ((evaluator, score), calibrated) in self.evaluators.iter_mut().zip(scores).zip(calibrated) {
            evaluator.observe_calibrated(label, [score.probability, calibrated], groups);
        }
        self.all[usize::from(label)].observe(decisions);
        for (tallies, group) in self.groups.iter_mut().zip(groups).filter(|(_, group)| **group != NO_GROUP) {
            let group = usize::from(*group);
            tallies.resize(tallies.len().max(group + 1), ByLabel::default());
            if let Some(tally) = tallies.get_mut(group) {
                tally[usize::from(label)].observe(decisions);
            }
        }
    }

    fn decisions(&self, attributes: &[&Attribute]) -> Vec<DecisionChange> {
        let change = |names: Option<(&str, &str)>, pairs: Pairs| DecisionChange {
            attribute: names.map(|(attribute, _)| attribute.to_owned()),
            group: names.map(|(_, group)| group.to_owned()),
            rows: pairs.rows(),
            gained: pairs.gained(),
            lost: pairs.lost(),
            selection_rates: pairs.yes().map(|yes| yes as f64 / pairs.rows() as f64),
            change: pairs.change(),
        };
        let mut changes = vec![change(None, all(&self.all))];
        for (attribute, tallies) in attributes.iter().zip(&self.groups) {
            for (index, group) in attribute.groups().iter().enumerate() {
                let pairs = tallies.get(index).map(all).unwrap_or_default();
                changes.push(change(Some((attribute.column(), group)), pairs));
            }
        }
        changes
    }

    fn measures(&self, reports: &[Evaluation; 2]) -> Vec<MeasureChange> {
        let [other, favourable] = self.all.each_ref().map(Pairs::change);
        let of = |measure, value: fn(&Evaluation) -> f64, change: Option<Change>| {
            let values = reports.each_ref().map(value);
            let change = change.unwrap_or(Change { change: values[1] - values[0], interval: None });
            MeasureChange { measure, values, change }
        };
        let balanced = Change::sum(&[(0.5, favourable), (-0.5, other)]);
        vec![
            of("accuracy", |report| report.accuracy.into(), Some(self.right.change())),
            of("balanced_accuracy", |report| report.balanced_accuracy.into(), Some(balanced)),
            of("log_loss", |report| report.log_loss, Some(self.losses.change())),
            of("calibration_error", |report| report.calibration_error, Some(self.calibrations.change())),
            of("auc", |report| report.auc, None),
        ]
    }

    fn gaps(&self, attributes: &[&Attribute], reports: &[Evaluation; 2]) -> Vec<GapChange> {
        let [first, second] = reports;
        let mut changes = Vec::new();
        let mut fairness = first.fairness.iter().zip(&second.fairness);
        for (attribute, tallies) in attributes.iter().zip(&self.groups) {
            let tally = |group: usize| tallies.get(group).copied().unwrap_or_default();
            for index in 1..attribute.groups().len() {
                let Some((first, second)) = fairness.next() else { return changes };
                let sides = [tally(index), tally(0)];
                changes.extend(MEASURES.map(|measure| gap(measure, sides, [first, second])));
            }
        }
        changes
    }
}

/// Returns the change of a gap between a group and its reference, whose rows are independent.
fn gap(measure: Measure, [group, reference]: [ByLabel; 2], reports: [&GroupGaps; 2]) -> GapChange {
    let apart = |group: &Pairs, reference: &Pairs| Change::sum(&[(1.0, group.change()), (-1.0, reference.change())]);
    let rate = |label: usize| apart(&group[label], &reference[label]);
    let values = reports.map(|gaps| f64::from(gaps.measure(measure)));
    let mut change = match measure {
        Measure::Eopp => rate(1),
        Measure::Aod => Change::sum(&[(0.5, rate(1)), (0.5, rate(0))]),
        Measure::Eodds => equalised_odds(&group, &reference, rate),
        _ => apart(&all(&group), &all(&reference)),
    };
    let too_few = reports.iter().find_map(|gaps| gaps.too_few(measure)).cloned();
    change.interval = change.interval.filter(|_| too_few.is_none());
    let [GroupGaps { attribute, group, reference, .. }, _] = reports;
    let [attribute, group, reference] = [attribute, group, reference].map(Clone::clone);
    GapChange { attribute, group, reference, measure: measure.name(), values, change, too_few }
}

/// Returns the change of the larger gap of the two error rates.
fn equalised_odds(group: &ByLabel, reference: &ByLabel, rate: impl Fn(usize) -> Change) -> Change {
    // For each model and outcome, the gap of the rate of favourable decisions.
    let gap = |model: usize, label: usize| {
        let share = |pairs: &Pairs| pairs.yes()[model] as f64 / pairs.rows() as f64;
        share(&group[label]) - share(&reference[label])
    };
    let [first, second] = [0, 1].map(|model| {
        let [other, favourable] = [0, 1].map(|label| gap(model, label));
        if favourable.abs() >= other.abs() { (1, favourable) } else { (0, other) }
    });
    let change = second.1.abs() - first.1.abs();
    let is_same = first.0 == second.0 && (first.1 < 0.0) == (second.1 < 0.0);
    let sign = if first.1 < 0.0 { -1.0 } else { 1.0 };
    Change { change, interval: Change::sum(&[(sign, rate(first.0))]).interval.filter(|_| is_same) }
}
