//! The points of a feature: one for each bin or level, for the ends of a number's range, for an
//! unseen level and for a missing value.

use feamoe_engine::schema::{Feature, Kind, Transform, bin, clamp};
use feamoe_engine::{FeatureIndex, Schema, Value};

use super::{MOST_POINTS, PointKind, PointValue};
use crate::explanation::{BackgroundRecords, evenly};
use crate::model::{HostModel, inverse, parts};

/// Number of parts of a number without bins. The parts have equal width after its transform and
/// serve as bins.
const PARTS: u16 = 20;

/// A feature, divided into cells. Every value lies in exactly one cell.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub feature: usize,
    pub kind: Kind,
    /// Whether the model has bins. The effect may then jump at their edges, and nowhere else.
    pub is_binned: bool,
    /// Whether the number acts only through its bins. The effect is then constant between their
    /// edges.
    pub is_stepped: bool,
    pub points: Vec<Stop>,
    /// The inner edges of a number's cells, ascending.
    edges: Vec<f32>,
    /// Cells without a point: bins or levels beyond [`MOST_POINTS`].
    pub left_out: Vec<usize>,
}

/// A point of an axis.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub kind: PointKind,
    /// The value to which the feature is set.
    pub value: Value,
    /// The displayed value.
    pub shown: PointValue,
    /// The cell of the point; `None` for the ends of a range, because their bins have points of
    /// their own.
    pub cell: Option<usize>,
    /// The lower and upper end of a bin.
    pub range: Option<[f32; 2]>,
}

impl Axis {
    /// Divides a feature. The background records choose the points: for a bin the median of their
    /// numbers, or the middle of the bin if it has none; for too many levels the most frequent
    /// ones.
    pub fn new(model: &HostModel<'_>, feature: usize, kind: Kind, background: &BackgroundRecords) -> Self {
        let mut axis = Self {
            feature,
            kind,
            is_binned: false,
            is_stepped: model.schema().features().get(feature).is_some_and(Feature::is_stepped),
            points: Vec::new(),
            edges: model.edges(FeatureIndex(feature)).to_vec(),
            left_out: Vec::new(),
        };
        match kind {
            Kind::Number { transform, low, high, bins, .. } => {
                axis.is_binned = bins > 0;
                if bins == 0 {
                    axis.edges = parts(transform, low, high, PARTS);
                }
                axis.place_numbers(transform, [low, high], background);
            }
            Kind::Category { levels } => axis.place_levels(model.schema(), usize::from(levels), background),
        }
        axis
    }

    /// Returns the number of cells.
    pub fn cells(&self) -> usize {
        match self.kind {
            Kind::Number { .. } => self.edges.len() + 2,
            Kind::Category { levels } => usize::from(levels) + 2,
        }
    }

    /// Returns the cell of a value. The last cell stands for a missing value; for a category the
    /// one before it stands for an unseen level.
    pub fn cell(&self, value: Value) -> usize {
        let missing = self.cells() - 1;
        match (value, self.kind) {
            (Value::Number(x), Kind::Number { low, high, .. }) if !x.is_nan() => bin(clamp(x, low, high), &self.edges),
            (Value::Level(code), Kind::Category { .. }) => usize::from(code).min(missing),
            (Value::Unseen, Kind::Category { .. }) => missing - 1,
            _ => missing,
        }
    }

    fn place_numbers(&mut self, transform: Transform, [low, high]: [f32; 2], background: &BackgroundRecords) {
        let bins = self.edges.len() + 1;
        let mut numbers: Vec<Vec<f32>> = vec![Vec::new(); bins];
        for value in background.values().iter().filter_map(|values| values.get(self.feature)) {
            if let (Value::Number(x), Some(bin)) = (*value, numbers.get_mut(self.cell(*value))) {
                bin.push(clamp(x, low, high));
            }
        }
        let number = |kind, x: f32, cell, range| {
            let (value, shown) = (Value::Number(x), PointValue::Number(x));
            Stop { kind, value, shown, cell, range }
        };
        let kept: Vec<usize> = evenly(bins, MOST_POINTS).collect();
        self.left_out = (0..bins).filter(|bin| kept.binary_search(bin).is_err()).collect();
        let mut points = Vec::new();
        for (index, mut numbers) in numbers.into_iter().enumerate().filter(|(bin, _)| kept.binary_search(bin).is_ok()) {
            let from = index.checked_sub(1).and_then(|edge| self.edges.get(edge)).copied().unwrap_or(low);
            let to = self.edges.get(index).copied().unwrap_or(high);
            let last = if index + 1 == bins { high } else { to.next_down() };
            numbers.sort_unstable_by(f32::total_cmp);
            // The lower of the two middle numbers, because it occurs in the data.
            let median = numbers.get(numbers.len().saturating_sub(1) / 2).copied();
            let x = median.unwrap_or_else(|| clamp(middle(transform, from, to), from, last));
            points.push(number(PointKind::Bin, x, Some(index), Some([from, to])));
        }
        let is_new = |x: f32, beside: Option<&Stop>| beside.is_none_or(|stop| stop.value != Value::Number(x));
        let low = is_new(low, points.first()).then(|| number(PointKind::Low, low, None, None));
        let high = is_new(high, points.last()).then(|| number(PointKind::High, high, None, None));
        self.points = low.into_iter().chain(points).chain(high).collect();
        self.points.push(Stop::without_a_value(PointKind::Missing, bins));
    }

    fn place_levels(&mut self, schema: Schema<'_>, levels: usize, background: &BackgroundRecords) {
        let mut rows = vec![0_u64; self.cells()];
        for value in background.values().iter().filter_map(|values| values.get(self.feature)) {
            if let Some(rows) = rows.get_mut(self.cell(*value)) {
                *rows += 1;
            }
        }
        let mut order: Vec<usize> = (0..levels).collect();
        // Equally frequent levels keep their order.
        order.sort_by_key(|level| std::cmp::Reverse(rows.get(*level)));
        self.left_out = order.split_off(levels.min(MOST_POINTS));
        self.left_out.sort_unstable();
        order.sort_unstable();
        let names: Vec<&str> = schema.level_names(self.feature).collect();
        for level in order {
            let Ok(code) = u16::try_from(level) else { continue };
            let shown = (*names.get(level).unwrap_or(&"")).to_owned();
            self.points.push(Stop {
                kind: PointKind::Level,
                value: Value::Level(code),
                shown: PointValue::Level(shown),
                cell: Some(level),
                range: None,
            });
        }
        self.points.push(Stop::without_a_value(PointKind::Unseen, levels));
        self.points.push(Stop::without_a_value(PointKind::Missing, levels + 1));
    }
}

impl Stop {
    fn without_a_value(kind: PointKind, cell: usize) -> Self {
        let value = if kind == PointKind::Unseen { Value::Unseen } else { Value::Missing };
        Self { kind, value, shown: PointValue::None, cell: Some(cell), range: None }
    }
}

/// Returns the midpoint after the transform, transformed back.
fn middle(transform: Transform, from: f32, to: f32) -> f32 {
    inverse(transform, f64::midpoint(f64::from(transform.apply(from)), f64::from(transform.apply(to))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_half_way_after_the_transform() {
        assert_eq!(middle(Transform::Identity, f32::MAX, f32::MAX), f32::MAX);
        assert_eq!(middle(Transform::Identity, 2.0, 5.0), 3.5);
        assert!((middle(Transform::Log1p, 0.0, 99.0) - 9.0).abs() < 1e-5);
    }
}
