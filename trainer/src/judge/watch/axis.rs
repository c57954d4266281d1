//! The cells in which the values of a feature are counted.

use feamoe_engine::schema::{Kind, Transform, bin};
use feamoe_engine::{FeatureIndex, Value};

use crate::model::{HostModel, parts};

/// Maximum number of bins of a number. If the model has more, neighbouring bins are counted
/// together.
const MOST_BINS: u16 = 16;

/// The cells of one feature. For a number: *below the training range*, its bins, *missing*, *above
/// the training range*. For a category: *missing*, its levels, *unseen*. Rare cells are at the
/// ends, where [`Exchangeability`](super::exchange::Exchangeability) distinguishes most finely.
#[derive(Clone, Debug)]
pub struct Axis {
    kind: Kind,
    /// Edges between the bins of a number, ascending.
    edges: Vec<f32>,
    levels: Vec<String>,
}

impl Axis {
    /// Divides a feature of a model by the bins and levels that it was trained with. A number
    /// without bins is divided into parts of equal width after its transform.
    #[must_use]
    pub fn new(model: &HostModel<'_>, feature: usize, kind: Kind) -> Self {
        let levels = model.schema().level_names(feature).map(str::to_owned).collect();
        let edges = match kind {
            Kind::Number { transform, low, high, bins: 0, .. } => parts(transform, low, high, MOST_BINS),
            Kind::Number { .. } => {
                let all = model.edges(FeatureIndex(feature));
                let most = usize::from(MOST_BINS) - 1;
                let kept = all.len().min(most);
                (0..kept)
                    .filter_map(|kept_before| all.get((2 * kept_before + 1) * all.len() / (2 * kept)))
                    .copied()
                    .collect()
            }
            Kind::Category { .. } => Vec::new(),
        };
        Self { kind, edges, levels }
    }

    /// Divides the probabilities from 0 to 1 into `bins` of equal width.
    #[must_use]
    pub fn of_probabilities(bins: u16) -> Self {
        let edges = (1..bins).map(|edge| f32::from(edge) / f32::from(bins)).collect();
        let kind = Kind::Number { transform: Transform::Identity, low: 0.0, high: 1.0, centre: 0.5, bins };
        Self { kind, edges, levels: Vec::new() }
    }

    /// Returns the number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        match self.kind {
            Kind::Number { .. } => self.edges.len() + 4,
            Kind::Category { levels } => usize::from(levels) + 2,
        }
    }

    /// Returns the cell of a value. A value of the other kind counts as missing.
    #[must_use]
    pub fn cell(&self, value: Value) -> usize {
        let last = self.cells() - 1;
        match (value, self.kind) {
            (Value::Number(x), Kind::Number { low, .. }) if x < low => 0,
            (Value::Number(x), Kind::Number { high, .. }) if x > high => last,
            (Value::Number(x), Kind::Number { .. }) if !x.is_nan() => 1 + bin(x, &self.edges),
            (_, Kind::Number { .. }) => last - 1,
            (Value::Level(code), Kind::Category { levels }) if code < levels => 1 + usize::from(code),
            (Value::Unseen, Kind::Category { .. }) => last,
            (_, Kind::Category { .. }) => 0,
        }
    }

    /// Returns the name of a cell.
    #[must_use]
    pub fn name(&self, cell: usize) -> String {
        let last = self.cells() - 1;
        match self.kind {
            Kind::Number { low, .. } if cell == 0 => format!("below {low}"),
            Kind::Number { high, .. } if cell == last => format!("above {high}"),
            Kind::Category { .. } if cell == last => "unseen level".into(),
            Kind::Number { low, high, .. } if cell + 1 < last => {
                let edge = |place: usize| self.edges.get(place).copied();
                let from = cell.checked_sub(2).and_then(edge).unwrap_or(low);
                format!("{from} to {}", edge(cell - 1).unwrap_or(high))
            }
            Kind::Category { .. } if cell > 0 => {
                self.levels.get(cell - 1).cloned().unwrap_or_else(|| format!("level {}", cell - 1))
            }
            _ => "missing".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_number_has_a_cell_and_a_name() {
        let axis = Axis::of_probabilities(4);
        let cell = |x: f32| axis.cell(Value::Number(x));
        assert_eq!([-0.5, 0.0, 0.25, 0.99, 1.0, 1.5, f32::NAN].map(cell), [0, 1, 2, 4, 4, 6, 5]);
        assert_eq!([Value::Missing, Value::Unseen, Value::Level(1)].map(|value| axis.cell(value)), [5; 3]);
        let names: Vec<String> = (0..axis.cells()).map(|cell| axis.name(cell)).collect();
        assert_eq!(names, ["below 0", "0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1", "missing", "above 1"]);
        assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(cell), [0, 6]);
    }

    #[test]
    fn every_level_of_a_category_has_a_cell_and_a_name() {
        let axis = Axis { kind: Kind::Category { levels: 2 }, edges: Vec::new(), levels: vec!["a".into(), "b".into()] };
        let values =
            [Value::Missing, Value::Level(0), Value::Level(1), Value::Level(2), Value::Unseen, Value::Number(1.0)];
        assert_eq!(values.map(|value| axis.cell(value)), [0, 1, 2, 0, 3, 0]);
        let names: Vec<String> = (0..axis.cells()).map(|cell| axis.name(cell)).collect();
        assert_eq!(names, ["missing", "a", "b", "unseen level"]);
    }
}
