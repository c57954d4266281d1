//! Shapes: whether what a model learns about a column comes from the data or from the sample. Two
//! models learn from two samples of the same credit applications and are compared.

use feamoe::encoder;
use feamoe::explanation::{
    Against, BackgroundMemory, BackgroundRecords, Batch, Choice, Explainer, Procedure, Summary, Sums,
};
use feamoe::judge::binding::Binding;
use feamoe::judge::recourse::rules;
use feamoe::learner::LearnerOptions;
use feamoe::model::{AnyModel, AnyRecord, HostModel, HostRecord, HostRecourse};
use feamoe::rows::Cells;
use feamoe::schema::{Features, Schema};
use feamoe::training::export::Export;
use feamoe::training::{Options, Trainer};
use feamoe_engine::attribution::Sampling;
use feamoe_engine::{FeatureIndex, Space, Value};
use schemars::JsonSchema;
use serde::Serialize;

use super::credit::{self, COLUMNS, SCHEMA};
use super::generators::{Generated, Random, put};

/// Rows of each half.
const ROWS: u64 = 12_000;
/// Number of rows that no model learns from.
const JUDGED: u64 = 2_000;
/// Number of these rows over which an effect is averaged.
const EFFECT_RECORDS: usize = 60;
/// Number of these rows that are explained, and number of background records.
const EXPLAINED: [usize; 2] = [200, 60];
/// Default number of seeds.
const RUNS: u64 = 5;
/// Number of quantiles at which the effect of a number other than the age is compared.
const QUANTILES: usize = 40;
/// Columns whose effects are compared.
const COMPARED: [&str; 4] = ["age", "income", "amount", "savings"];
/// Columns without any effect.
const NOISE: [&str; 2] = ["noise_a", "noise_b"];
/// Numbers of bins for which distances are compared, beside the default.
const FEWER_BINS: [usize; 2] = [16, 64];
/// Minimum distance of a probability from 0 and 1.
const SMALLEST: f64 = 1e-6;

/// The results: means over the runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shapes {
    /// Number of runs, each with the models of two halves of the data.
    pub runs: u64,
    /// The columns compared.
    pub columns: Vec<Column>,
    /// Mean magnitude of the Shapley values of a noise column, divided by the largest mean
    /// magnitude of any column.
    pub noise: f64,
    /// The distances of declined records from a favourable decision.
    pub distances: Vec<Distance>,
}

/// The effect of a column: the mean log-odds of some records if all of them have the same value in
/// this column.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Column {
    /// The column.
    pub column: &'static str,
    /// Correlation between the two models of a run, over the steps of the effect from value to
    /// value.
    pub correlation: f64,
    /// Sum of the magnitudes of the steps, divided by the range of the effect; 1 if the effect is
    /// monotone.
    pub variation: f64,
}

/// The distances of declined records from a favourable decision.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Distance {
    /// Maximum number of bins of a number.
    pub bins: usize,
    /// Median of the distances to the nearest recourse; NaN (JSON: null) if fewer than half of the
    /// records have a recourse.
    pub median: f64,
}

/// Learns from pairs of halves and compares the models.
pub fn study(runs: Option<u64>) -> anyhow::Result<Shapes> {
    let runs = runs.unwrap_or(RUNS);
    let schema = Schema::from_toml("generated applications", SCHEMA)?;
    let bins = encoder::Options::default().bins;
    let column = |column| Column { column, correlation: 0.0, variation: 0.0 };
    let distance = |bins| Distance { bins, median: 0.0 };
    let distances = FEWER_BINS.into_iter().chain([bins]).map(distance).collect();
    let mut sum = Shapes { runs, columns: COMPARED.map(column).into(), noise: 0.0, distances };
    for run in 1..=runs {
        let applications = applications(3 * run, JUDGED);
        let halves = [learn(3 * run + 1, bins, &schema)?, learn(3 * run + 2, bins, &schema)?];
        let models = [HostModel::load(halves[0].bytes.as_slice())?, HostModel::load(halves[1].bytes.as_slice())?];
        for column in &mut sum.columns {
            let values = values(column.column, &applications);
            let [one, other] = [
                steps(&models[0], column.column, &values, &applications)?,
                steps(&models[1], column.column, &values, &applications)?,
            ];
            column.correlation += correlation(&one, &other);
            column.variation += (variation(&one) + variation(&other)) / 2.0;
        }
        for model in &models {
            sum.noise += noise(model, &applications)? / models.len() as f64;
        }
        for distance in &mut sum.distances {
            let other = if distance.bins == bins { None } else { Some(learn(3 * run + 1, distance.bins, &schema)?) };
            let other = other.as_ref().map(|other| HostModel::load(other.bytes.as_slice())).transpose()?;
            distance.median += median_distance(other.as_ref().unwrap_or(&models[0]), &schema, &applications)?;
        }
    }
    let of_columns = sum.columns.iter_mut().flat_map(|column| [&mut column.correlation, &mut column.variation]);
    let of_distances = sum.distances.iter_mut().map(|distance| &mut distance.median);
    of_columns.chain(of_distances).chain([&mut sum.noise]).for_each(|mean| *mean /= runs as f64);
    Ok(sum)
}

/// An application, and whether it was paid back.
type Application = (Vec<Generated>, bool);

fn applications(seed: u64, count: u64) -> Vec<Application> {
    let mut random = Random::new(seed);
    let mut application = || {
        let mut cells = Vec::new();
        let is_paid = credit::next(&mut random, &mut cells);
        (cells, is_paid)
    };
    (0..count).map(|_| application()).collect()
}

fn learn(seed: u64, bins: usize, schema: &Schema) -> anyhow::Result<Export> {
    let mut options = Options::new(LearnerOptions::default().check()?);
    options.encoder.bins = bins;
    let mut trainer = Trainer::new(&COLUMNS, schema.clone(), &options)?;
    let mut cells = Cells::new(COLUMNS.len());
    for (number, (application, is_paid)) in (1..).zip(applications(seed, ROWS)) {
        put(&application, is_paid, &mut cells);
        trainer.learn(&cells.record("generated applications", number))?;
    }
    Ok(trainer.model()?)
}

/// Returns applications as records of a model.
fn records<'m>(model: &'m HostModel<'m>, applications: &[Application]) -> anyhow::Result<Vec<HostRecord<'m>>> {
    let column = |name: &str| Ok(COLUMNS.iter().position(|column| *column == name).unwrap_or(COLUMNS.len()));
    let binding = Binding::new(model, column)?;
    let mut cells = Cells::new(COLUMNS.len());
    let mut of = |(application, is_paid): &Application| {
        put(application, *is_paid, &mut cells);
        let mut record = model.record();
        binding.fill(&cells.record("generated applications", 1), &mut record)?;
        Ok(record)
    };
    applications.iter().map(&mut of).collect()
}

/// Returns the values at which a column's effect is compared, in ascending order: every year for
/// the age, and quantiles of the occurring values for other columns.
fn values(column: &str, applications: &[Application]) -> Vec<f64> {
    if column == "age" {
        return (20..=70).map(f64::from).collect();
    }
    let cell = |(cells, _): &Application| {
        cells.iter().zip(COLUMNS).find_map(|(cell, name)| match cell {
            Generated::Number(x) if name == column => Some(*x),
            _ => None,
        })
    };
    let mut numbers: Vec<f64> = applications.iter().filter_map(cell).collect();
    numbers.sort_unstable_by(f64::total_cmp);
    let place = |quantile: usize| (2 * quantile + 1) * numbers.len() / (2 * QUANTILES);
    let mut values: Vec<f64> = (0..QUANTILES).filter_map(|quantile| numbers.get(place(quantile)).copied()).collect();
    values.dedup();
    values
}

/// Returns the steps of a column's effect from value to value.
#[allow(clippy::cast_possible_truncation)] // the engine computes with this precision
fn steps(
    model: &HostModel<'_>,
    column: &str,
    values: &[f64],
    applications: &[Application],
) -> anyhow::Result<Vec<f64>> {
    let features = 0..model.schema().features().len();
    let feature = features.into_iter().find(|feature| model.schema().feature_name(*feature) == Some(column));
    let feature = FeatureIndex(feature.unwrap_or_default());
    let mut records = records(model, &applications[..EFFECT_RECORDS])?;
    let mut effects = Vec::with_capacity(values.len());
    for value in values {
        let mut sum = 0.0;
        for record in &mut records {
            _ = record.set_value(feature, Value::Number(*value as f32))?;
            let p = f64::from(model.score(record)?.probability).clamp(SMALLEST, 1.0 - SMALLEST);
            sum += libm::log(p / (1.0 - p));
        }
        effects.push(sum / EFFECT_RECORDS as f64);
    }
    Ok(effects.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

/// Returns Pearson's correlation; NaN if one series is constant.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let centred = |numbers: &[f64]| -> Vec<f64> {
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        numbers.iter().map(|number| number - mean).collect()
    };
    let product = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(x, y)| x * y).sum::<f64>();
    let (one, other) = (centred(one), centred(other));
    product(&one, &other) / libm::sqrt(product(&one, &one) * product(&other, &other))
}

/// Returns the sum of the steps' magnitudes relative to the range of their cumulative sum.
fn variation(steps: &[f64]) -> f64 {
    let (mut effect, mut low, mut high) = (0.0_f64, 0.0_f64, 0.0_f64);
    for step in steps {
        effect += step;
        (low, high) = (low.min(effect), high.max(effect));
    }
    steps.iter().map(|step| step.abs()).sum::<f64>() / (high - low)
}

/// Returns the mean magnitude of the Shapley values of the noise columns, relative to the largest
/// of any column.
fn noise(model: &HostModel<'_>, applications: &[Application]) -> anyhow::Result<f64> {
    let [explained, most] = EXPLAINED;
    let background = BackgroundRecords::of_model(model, &Choice { only: Vec::new(), most, seed: 0 })?;
    let mut memory = BackgroundMemory::default();
    let background = background.against(model, &mut memory)?;
    let against =
        Against { background: &background, space: Space::LogOdds, sampling: Sampling::default(), most_time: None };
    let explainer = Explainer::new(AnyModel::Float(model), Procedure::Exact { against, budget: u64::MAX }, &[])?;
    let mut batch = Batch::new(&explainer);
    for (number, record) in (1..).zip(records(model, &applications[..explained])?) {
        batch.push(number, &AnyRecord::Float(record), Vec::new());
    }
    let mut sums = Sums::new(&explainer);
    batch.explain(|| ())?.iter().for_each(|slot| sums.push(&slot.attribution));
    let Summary { feature_names, mean_absolute_values, .. } = sums.summary(&explainer);
    let of_noise = feature_names.iter().zip(&mean_absolute_values).filter(|(name, _)| NOISE.contains(&name.as_str()));
    let sum: f64 = of_noise.map(|(_, value)| f64::from(*value)).sum();
    // Summaries list the largest magnitude first.
    Ok(sum / NOISE.len() as f64 / mean_absolute_values.first().map_or(f64::NAN, |most| f64::from(*most)))
}

/// Returns the median of the distances of declined applications to their nearest recourse.
fn median_distance(model: &HostModel<'_>, schema: &Schema, applications: &[Application]) -> anyhow::Result<f64> {
    let rules = rules(model, None, Some(schema), &Features::default())?;
    let mut recourse = Box::new(HostRecourse::new());
    let mut distances = Vec::new();
    for record in records(model, applications)? {
        if model.score(&record)?.probability < model.threshold() {
            model.recourse_within(&record, &rules, &mut recourse)?;
            distances.push(recourse.distance.map_or(f64::INFINITY, f64::from));
        }
    }
    distances.sort_unstable_by(f64::total_cmp);
    let median = distances.get(distances.len() / 2).copied();
    Ok(median.filter(|median| median.is_finite()).unwrap_or(f64::NAN))
}
