//! Shapes: the effect of each feature on the score along its values.
//!
//! | curve | at a value | space |
//! | --- | --- | --- |
//! | an expert's effect | what the feature adds to this expert's log-odds, less the mean of that over the background records | natural log-odds |
//! | the mixture's effect | the mean score of the background records with the feature set to the value, less their mean score | probability |
//! | lower and upper | the 5 and 95 % quantile of the same difference, record by record | probability |
//! | share | the part of the rows that have the value, or a number of its bin | |
//!
//! An expert's effect is exact, because its log-odds are a sum over features. The mixture's effect
//! is the centred partial dependence of Friedman (2001): `mean_i p(v, x_i) - mean_i p(x_i)`. How
//! far one record moves depends on the gate and on its other features, so individual effects spread
//! (Goldstein et al. 2015). The interval shows this spread and is not a confidence interval.
//!
//! Partial dependence sets a value in every record, even if the combination never occurs. If
//! features are correlated, the Shapley values of records are more informative.

mod axis;

use axis::{Axis, Stop};
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{FeatureIndex, RecordError, Value};
use rayon::prelude::*;
use serde::Serialize;

use super::{Background, BackgroundRecords};
use crate::error::{Error, list};
use crate::model::{AnyModel, AnyRecord, EXPERTS, HostModel};

/// Maximum number of bins or levels of a feature that have a point. If there are more, evenly
/// spaced bins or the levels most frequent in the background are kept.
pub const MOST_POINTS: usize = 128;
/// The quantiles of a point's interval, in percent.
const QUANTILES: [usize; 2] = [5, 95];

/// The shapes of a model's features.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Shapes {
    /// The shape of each feature.
    pub shapes: Vec<Shape>,
    /// Name of the favourable outcome.
    pub output_names: String,
    /// The mean score of the background records. Effects of the mixture are relative to it.
    pub base_value: f32,
    /// Space of the mixture's effects: `probability`.
    pub space: &'static str,
    /// Space of the experts' effects: `log-odds`.
    pub expert_space: &'static str,
    /// The quantiles of the individual effects that `lower` and `upper` state.
    pub quantiles: [f32; 2],
    /// By expert, the mean gate weight over the background records.
    pub gate: Vec<f32>,
    /// The rows on which shares are based.
    pub rows: CountedRows,
    /// The background records.
    pub background: Background,
    /// CRC-32 of the model, 8 hexadecimal digits.
    pub model: String,
}

/// The rows on which shares are based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct CountedRows {
    /// The source of the rows.
    pub from: RowsFrom,
    /// Number of rows.
    pub count: u64,
}

/// The source of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RowsFrom {
    /// The background records of the explanation.
    Background,
    /// The rows of the given data.
    Data,
}

/// The effect of one feature along its values.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Shape {
    /// The feature.
    pub feature: String,
    /// Whether the feature is a number, whose points are in ascending order; otherwise it is a
    /// category.
    pub is_number: bool,
    /// Whether the feature is a number with bins. If so, its effect may jump at their edges.
    pub is_binned: bool,
    /// The mean magnitude of the mixture's effect, over the rows whose bin or level has a point.
    pub mean_absolute_effect: f32,
    /// The bins or levels without a point, if there are more than 128.
    pub left_out: LeftOut,
    /// The points: for a number the ends of its range and its bins, for a category its levels and
    /// an unseen level; then a missing value.
    pub points: Vec<Point>,
    /// What the model applies to the number, and a plot therefore too.
    #[serde(skip)]
    pub transform: Transform,
    /// Whether its effect is level within each bin: a plot draws other effects as straight lines
    /// from point to point.
    #[serde(skip)]
    pub is_stepped: bool,
}

/// Bins or levels without a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct LeftOut {
    /// Number of bins or levels.
    pub points: usize,
    /// The share of the rows in these bins or levels, in [0, 1].
    pub share: f32,
}

/// A feature at one value.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Point {
    /// The kind of the point.
    pub kind: PointKind,
    /// The number, or the name of the level; null for an unseen level and for a missing value.
    pub value: PointValue,
    /// The lower end of a bin; null for other points.
    pub from: Option<f32>,
    /// The upper end of a bin; null for other points. Only the last bin contains its upper end.
    pub to: Option<f32>,
    /// The share of the rows that have this value or are in this bin, in [0, 1]; null for an end of
    /// the range, whose bin has a point of its own.
    pub share: Option<f32>,
    /// The mixture's effect, in [-1, 1].
    pub effect: f32,
    /// The 5 % quantile of the individual effects.
    pub lower: f32,
    /// The 95 % quantile of the individual effects.
    pub upper: f32,
    /// By expert, the effect on the expert's log-odds.
    pub expert_effects: Vec<f32>,
}

/// The kind of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PointKind {
    /// The smallest number of the training range.
    Low,
    /// A bin, at the median of the background's numbers in it, or at its middle if there are none.
    Bin,
    /// The largest number of the training range.
    High,
    /// A level.
    Level,
    /// Any level that was not seen in training.
    Unseen,
    /// A missing value.
    Missing,
}

impl PointKind {
    /// Returns its name in JSON and CSV.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Bin => "bin",
            Self::High => "high",
            Self::Level => "level",
            Self::Unseen => "unseen",
            Self::Missing => "missing",
        }
    }
}

/// The value of a point.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum PointValue {
    /// A number.
    Number(f32),
    /// The name of a level.
    Level(String),
    /// Neither.
    None,
}

impl Point {
    /// Returns its value as text: a number, a level, `unseen` or `missing`.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.value {
            PointValue::Number(number) => number.to_string(),
            PointValue::Level(level) => level.clone(),
            PointValue::None => self.kind.name().to_owned(),
        }
    }
}

/// Computes the shapes of features against background records.
#[derive(Debug)]
pub struct Shaper<'m> {
    model: AnyModel<'m>,
    /// The model itself, or the float model that integer weights were made from. It provides the
    /// experts' effects.
    floats: &'m HostModel<'m>,
    background: &'m BackgroundRecords,
    axes: Vec<Axis>,
    names: Vec<String>,
}

/// The number of rows in each cell of each feature.
#[derive(Clone, Debug)]
pub struct Density {
    from: RowsFrom,
    rows: u64,
    cells: Vec<Vec<u64>>,
}

impl<'m> Shaper<'m> {
    /// Chooses the points of the named features; of all features if `features` is empty.
    ///
    /// A model of integer weights scores by integers. Its experts' effects are those of the float
    /// model that the weights were made from.
    ///
    /// # Errors
    /// [`Error::NamesStripped`]; [`Error::Input`] for an unknown feature, a feature that is named
    /// twice, or integer weights without their float model.
    pub fn new(model: AnyModel<'m>, background: &'m BackgroundRecords, features: &[String]) -> Result<Self, Error> {
        let floats = model.floats().ok_or_else(|| Error::Input("integer weights come without their floats".into()))?;
        let schema = model.schema();
        let count = schema.features().len();
        let all = (0..count).map(|index| schema.feature_name(index).ok_or(Error::NamesStripped));
        let all: Vec<&str> = all.collect::<Result<_, _>>()?;
        let mut chosen: Vec<usize> = Vec::new();
        for name in features {
            let index = all.iter().position(|other| other == name);
            match index.filter(|index| !chosen.contains(index)) {
                Some(index) => chosen.push(index),
                None if index.is_some() => return Err(Error::Input(format!("feature {name:?} is named twice"))),
                None => {
                    let known = list(&all);
                    return Err(Error::Input(format!(
                        "{name:?} is not a feature of the model; the features are {known}"
                    )));
                }
            }
        }
        if features.is_empty() {
            chosen = (0..count).collect();
        }
        let kinds = chosen.iter().filter_map(|index| Some((*index, schema.features().get(*index)?.kind())));
        let axes = kinds.map(|(index, kind)| Axis::new(floats, index, kind, background)).collect();
        Ok(Self { model, floats, background, axes, names: all.into_iter().map(str::to_owned).collect() })
    }

    /// Counts the background records.
    #[must_use]
    pub fn background_density(&self) -> Density {
        let mut density = Density { from: RowsFrom::Background, ..self.data_density() };
        self.background.values().iter().for_each(|values| self.count(values, &mut density));
        density
    }

    /// Creates an empty count for rows of data.
    #[must_use]
    pub fn data_density(&self) -> Density {
        let cells = self.axes.iter().map(|axis| vec![0; axis.cells()]).collect();
        Density { from: RowsFrom::Data, rows: 0, cells }
    }

    /// Adds a row, given as the values of all features of the model.
    pub fn count(&self, values: &[Value], density: &mut Density) {
        density.rows += 1;
        for (axis, cells) in self.axes.iter().zip(&mut density.cells) {
            let cell = values.get(axis.feature).map(|value| axis.cell(*value));
            if let Some(count) = cell.and_then(|cell| cells.get_mut(cell)) {
                *count += 1;
            }
        }
    }

    /// Computes the shapes on all threads of rayon's pool. The number of threads does not change
    /// the result. `outcome` is the name of the favourable outcome.
    ///
    /// *Cost:* one score per point and background record. Memory: 4 bytes per point and background
    /// record of one feature, on each thread.
    ///
    /// # Errors
    /// [`Error::Record`] or [`Error::Explain`] if the background does not belong to this model.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    pub fn shapes(&self, density: &Density, outcome: &str) -> Result<Shapes, Error> {
        let rows = self.background.values();
        let mut record = self.model.record();
        let (mut scores, mut gate) = (Vec::with_capacity(rows.len()), [0.0_f64; EXPERTS]);
        for values in rows {
            self.set_all(&mut record, values)?;
            let score = self.model.score(&record).map_err(feamoe_engine::ExplainError::from)?;
            scores.push(score.probability);
            gate.iter_mut().zip(score.gate).for_each(|(sum, weight)| *sum += f64::from(weight));
        }
        let shapes = self.axes.par_iter().zip(&density.cells).with_max_len(1);
        let shapes = shapes.map(|(axis, cells)| self.shape(axis, &scores, cells, density.rows));
        let shapes: Vec<Result<Shape, Error>> = shapes.collect();
        let count = rows.len().max(1) as f64;
        Ok(Shapes {
            shapes: shapes.into_iter().collect::<Result<_, _>>()?,
            output_names: outcome.to_owned(),
            base_value: mean(scores.iter().copied().map(f64::from)) as f32,
            space: feamoe_engine::Space::Probability.name(),
            expert_space: feamoe_engine::Space::LogOdds.name(),
            quantiles: QUANTILES.map(|percent| percent as f32 / 100.0),
            gate: gate.iter().take(self.model.experts()).map(|sum| (sum / count) as f32).collect(),
            rows: CountedRows { from: density.from, count: density.rows },
            background: self.background.id(self.floats)?.into(),
            model: format!("{:08x}", self.model.crc32()),
        })
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn shape(&self, axis: &Axis, scores: &[f32], cells: &[u64], rows: u64) -> Result<Shape, Error> {
        let share = |cell: usize| (cells.get(cell).copied().unwrap_or(0) as f64 / rows.max(1) as f64) as f32;
        let moved = self.moved(axis)?;
        let of_experts = self.of_experts(axis)?;
        let points = axis.points.iter().zip(moved).zip(of_experts).map(|((stop, moved), expert_effects)| {
            let mut changes: Vec<f64> =
                moved.into_iter().zip(scores).map(|(score, from)| f64::from(score) - f64::from(*from)).collect();
            let effect = mean(changes.iter().copied());
            changes.sort_unstable_by(f64::total_cmp);
            let [lower, upper] = QUANTILES.map(|percent| quantile(&changes, percent) as f32);
            Point {
                kind: stop.kind,
                value: stop.shown.clone(),
                from: stop.range.map(|range| range[0]),
                to: stop.range.map(|range| range[1]),
                share: stop.cell.map(share),
                effect: effect as f32,
                lower,
                upper,
                expert_effects,
            }
        });
        let points: Vec<Point> = points.collect();
        let weighted = points.iter().filter_map(|point| Some((f64::from(point.share?), f64::from(point.effect.abs()))));
        let (sum, weights) =
            weighted.fold((0.0, 0.0), |(sum, weights), (weight, effect)| (sum + weight * effect, weights + weight));
        let (is_number, transform) = match axis.kind {
            Kind::Number { transform, .. } => (true, transform),
            Kind::Category { .. } => (false, Transform::Identity),
        };
        Ok(Shape {
            feature: self.name(axis.feature).to_owned(),
            is_number,
            is_binned: axis.is_binned,
            mean_absolute_effect: if weights > 0.0 { (sum / weights) as f32 } else { 0.0 },
            left_out: LeftOut {
                points: axis.left_out.len(),
                share: axis.left_out.iter().fold(0.0, |sum, cell| sum + share(*cell)),
            },
            points,
            transform,
            is_stepped: axis.is_stepped,
        })
    }

    /// Returns, by point, the score of each background record with the feature set to that point.
    fn moved(&self, axis: &Axis) -> Result<Vec<Vec<f32>>, Error> {
        let rows = self.background.values();
        let mut moved: Vec<Vec<f32>> = axis.points.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        let mut record = self.model.record();
        for values in rows {
            self.set_all(&mut record, values)?;
            for (Stop { value, .. }, scores) in axis.points.iter().zip(&mut moved) {
                let set = record.set_value(FeatureIndex(axis.feature), *value);
                _ = set.map_err(|error| self.fault(axis.feature, error))?;
                let score = self.model.score(&record).map_err(feamoe_engine::ExplainError::from)?;
                scores.push(score.probability);
            }
        }
        Ok(moved)
    }

    /// Returns, by point, the effect of each expert.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn of_experts(&self, axis: &Axis) -> Result<Vec<Vec<f32>>, Error> {
        let (experts, key) = (self.floats.experts(), FeatureIndex(axis.feature));
        let mut record = self.floats.record();
        let mut contributions = [0.0; EXPERTS];
        let mut at = |value: Value| -> Result<Vec<f64>, Error> {
            _ = record.set_value(key, value).map_err(|error| self.fault(axis.feature, error))?;
            self.floats.contributions_into(&record, key, &mut contributions)?;
            Ok(contributions.iter().take(experts).copied().map(f64::from).collect())
        };
        let rows = self.background.values();
        let mut means = vec![0.0_f64; experts];
        for value in rows.iter().filter_map(|values| values.get(axis.feature)) {
            means.iter_mut().zip(at(*value)?).for_each(|(sum, contribution)| *sum += contribution);
        }
        means.iter_mut().for_each(|sum| *sum /= rows.len().max(1) as f64);
        let effects = |stop: &Stop| {
            let effects = at(stop.value)?.into_iter().zip(&means).map(|(effect, mean)| (effect - mean) as f32);
            Ok(effects.collect())
        };
        axis.points.iter().map(effects).collect()
    }

    fn set_all(&self, record: &mut AnyRecord<'_>, values: &[Value]) -> Result<(), Error> {
        for (feature, value) in values.iter().enumerate() {
            let set = record.set_value(FeatureIndex(feature), *value);
            _ = set.map_err(|error| self.fault(feature, error))?;
        }
        Ok(())
    }

    fn name(&self, feature: usize) -> &str {
        self.names.get(feature).map_or("", String::as_str)
    }

    fn fault(&self, feature: usize, error: RecordError) -> Error {
        Error::Record { feature: self.name(feature).to_owned(), error }
    }
}

/// Returns the mean, summed in order; 0 if there are no numbers.
#[allow(clippy::cast_precision_loss)]
fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len().max(1);
    numbers.sum::<f64>() / count as f64
}

/// Returns the smallest of ascending numbers that is at least as large as `percent` % of them; 0 if
/// there are none.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_that_occur() {
        let numbers: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(QUANTILES.map(|percent| quantile(&numbers, percent)), [1.0, 19.0]);
        assert_eq!(QUANTILES.map(|percent| quantile(&[7.0], percent)), [7.0, 7.0]);
        assert_eq!(quantile(&[], 5), 0.0);
        let many: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(QUANTILES.map(|percent| quantile(&many, percent)), [50.0, 950.0]);
    }
}
