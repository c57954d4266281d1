//! The slow twin: the mixture in f64 with `libm`, computed directly from the formulas and the
//! content of a blob. It calls no kernel of the engine.

use feamoe_engine::Space;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};

use crate::content::Content;
use crate::generate::Cell;

const LN_2: f64 = std::f64::consts::LN_2;

/// A model in f64.
#[derive(Debug)]
pub struct Reference<'a> {
    content: &'a Content,
    stride: usize,
    first_rows: Vec<usize>,
    first_edges: Vec<usize>,
}

/// The outcome of the model for a record.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The score p.
    pub probability: f64,
    /// Gate weights.
    pub gate: Vec<f64>,
    /// The experts' probabilities.
    pub outputs: Vec<f64>,
}

/// An explanation.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Value of the mean record.
    pub base_value: f64,
    /// Value of the record.
    pub output: f64,
    /// One per feature.
    pub values: Vec<f64>,
    /// The part of each that runs through the gate.
    pub gate_values: Vec<f64>,
}

impl<'a> Reference<'a> {
    /// Creates the reference for the content of a blob.
    #[must_use]
    pub fn new(content: &'a Content) -> Self {
        let (mut first_rows, mut first_edges) = (Vec::new(), Vec::new());
        let (mut row, mut edge) = (0, 0);
        for feature in &content.features {
            first_rows.push(row);
            first_edges.push(edge);
            match feature.kind {
                Kind::Number { bins, .. } => {
                    row += 2 + usize::from(bins);
                    edge += usize::from(bins).saturating_sub(1);
                }
                Kind::Category { levels } => row += usize::from(levels) + 2,
            }
        }
        assert_eq!(edge, content.edges.len());
        Self { content, stride: stride(content.experts), first_rows, first_edges }
    }

    /// Returns the number of terms of a record: two for a binned number, otherwise one.
    #[must_use]
    pub fn terms(&self) -> usize {
        let binned = |kind| matches!(kind, Kind::Number { bins: 1.., .. });
        self.content.features.iter().map(|feature| 1 + usize::from(binned(feature.kind))).sum()
    }

    fn lanes(&self, row: &[f32]) -> Vec<f64> {
        row[..2 * self.content.experts].iter().map(|w| f64::from(*w)).collect()
    }

    /// Returns the logits of the mean record, in log2 units.
    #[must_use]
    pub fn bias(&self) -> Vec<f64> {
        self.lanes(&self.content.bias)
    }

    /// Returns a feature's contribution to each of the 2K logits.
    #[must_use]
    pub fn contribution(&self, feature: usize, cell: Cell) -> Vec<f64> {
        let row = |offset: usize, scale: f64| -> Vec<f64> {
            let start = (self.first_rows[feature] + offset) * self.stride;
            self.lanes(&self.content.rows[start..]).iter().map(|w| w * scale).collect()
        };
        let add = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
        match (self.content.features[feature].kind, cell) {
            (Kind::Number { .. }, Cell::Missing) => row(1, 1.0),
            (Kind::Number { .. }, Cell::Number(x)) if x.is_nan() => row(1, 1.0),
            (Kind::Number { transform, low, high, centre, bins }, Cell::Number(x)) => {
                let x = x.clamp(low, high);
                let transformed = match transform {
                    Transform::Identity => f64::from(x),
                    Transform::Log1p => libm::log1p(f64::from(x)),
                };
                let linear = row(0, transformed - f64::from(centre));
                if bins == 0 {
                    return linear;
                }
                let edges = &self.content.edges[self.first_edges[feature]..][..usize::from(bins) - 1];
                add(linear, row(2 + edges.iter().filter(|edge| **edge <= x).count(), 1.0))
            }
            (Kind::Category { levels }, Cell::Missing) => row(usize::from(levels) + 1, 1.0),
            (Kind::Category { levels }, Cell::Unseen) => row(usize::from(levels), 1.0),
            (Kind::Category { .. }, Cell::Level(code)) => row(usize::from(code), 1.0),
            (kind, cell) => unreachable!("{cell:?} for {kind:?}"),
        }
    }

    /// Returns the contributions of all features.
    #[must_use]
    pub fn contributions(&self, cells: &[Cell]) -> Vec<Vec<f64>> {
        cells.iter().enumerate().map(|(feature, cell)| self.contribution(feature, *cell)).collect()
    }

    /// Returns the logits of a record, in log2 units.
    #[must_use]
    pub fn logits(&self, cells: &[Cell]) -> Vec<f64> {
        let mut logits = self.bias();
        for contribution in self.contributions(cells) {
            for (sum, c) in logits.iter_mut().zip(contribution) {
                *sum += c;
            }
        }
        logits
    }

    /// Returns the outcome of the mixture at the given logits.
    #[must_use]
    pub fn outcome(&self, logits: &[f64]) -> Outcome {
        let (gate, outputs) = logits.split_at(self.content.experts);
        let largest = gate.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exponentials: Vec<f64> = gate.iter().map(|u| libm::exp(LN_2 * (u - largest))).collect();
        let sum: f64 = exponentials.iter().sum();
        let gate: Vec<f64> = exponentials.iter().map(|e| e / sum).collect();
        let outputs: Vec<f64> = outputs.iter().map(|z| sigmoid(LN_2 * z)).collect();
        let probability = gate.iter().zip(&outputs).map(|(g, o)| g * o).sum();
        Outcome { probability, gate, outputs }
    }

    /// Scores a record.
    #[must_use]
    pub fn score(&self, cells: &[Cell]) -> Outcome {
        self.outcome(&self.logits(cells))
    }

    /// Explains a record with the gate held fixed: LinearSHAP of each expert's log-odds, averaged
    /// by the record's gate.
    #[must_use]
    pub fn frozen(&self, cells: &[Cell]) -> Explanation {
        let gate = self.score(cells).gate;
        let averaged =
            |lanes: &[f64]| -> f64 { lanes[self.content.experts..].iter().zip(&gate).map(|(z, g)| LN_2 * z * g).sum() };
        Explanation {
            base_value: averaged(&self.bias()),
            output: averaged(&self.logits(cells)),
            values: self.contributions(cells).iter().map(|c| averaged(c)).collect(),
            gate_values: vec![0.0; cells.len()],
        }
    }

    /// Explains a record along the straight path from the mean record: the integral of the
    /// derivative of p in the direction of each feature's contribution. Uses Simpson's rule over
    /// `steps` (even) steps and central differences for the derivative, but no formula of the
    /// engine's gradient.
    #[must_use]
    pub fn path(&self, cells: &[Cell], steps: usize) -> Explanation {
        const H: f64 = 1e-5;
        let bias = self.bias();
        let total = self.logits(cells);
        let p = |logits: &[f64]| self.outcome(logits).probability;
        let slope = |at: &[f64], direction: &[f64]| {
            let moved = |h: f64| -> Vec<f64> { at.iter().zip(direction).map(|(z, c)| z + h * c).collect() };
            (p(&moved(H)) - p(&moved(-H))) / (2.0 * H)
        };
        let contributions = self.contributions(cells);
        let mut values = vec![0.0; cells.len()];
        let mut gate_values = vec![0.0; cells.len()];
        for step in 0..=steps {
            let t = step as f64 / steps as f64;
            let weight = match step {
                _ if step == 0 || step == steps => 1.0,
                _ if step % 2 == 1 => 4.0,
                _ => 2.0,
            } / (3.0 * steps as f64);
            let at: Vec<f64> = bias.iter().zip(&total).map(|(b, z)| b + t * (z - b)).collect();
            for (feature, contribution) in contributions.iter().enumerate() {
                let mut through_gate = contribution.clone();
                through_gate[self.content.experts..].fill(0.0);
                values[feature] += weight * slope(&at, contribution);
                gate_values[feature] += weight * slope(&at, &through_gate);
            }
        }
        Explanation { base_value: p(&bias), output: p(&total), values, gate_values }
    }

    /// Returns the score at the given logits, in log2 units: p, or its natural log-odds, which stay
    /// finite if p rounds to 0 or 1.
    #[must_use]
    pub fn value(&self, logits: &[f64], space: Space) -> f64 {
        if space == Space::Probability {
            return self.outcome(logits).probability;
        }
        let (gate, outputs) = logits.split_at(self.content.experts);
        // ln sum g_k o_k - ln sum g_k (1 - o_k): the gate's denominator cancels.
        let side = |sign: f64| {
            log_sum_exp(gate.iter().zip(outputs).map(|(u, z)| LN_2 * u + log_sigmoid(sign * LN_2 * z)).collect())
        };
        side(1.0) - side(-1.0)
    }

    /// Returns the Shapley values of the whole mixture, by their definition. In a coalition, its
    /// features have the record's cells and the others those of a background record; the value is
    /// averaged over the background. Each difference that a feature makes has the weight
    /// `s! (d - 1 - s)! / d!`.
    ///
    /// Features whose contributions equal those of the background record change nothing and are
    /// left out, so there are 2^d values for the `d` others.
    #[must_use]
    pub fn exact(&self, cells: &[Cell], background: &[Vec<Cell>], space: Space) -> Exact {
        let contributions = self.contributions(cells);
        let mut exact =
            Exact { base_value: 0.0, output: self.value(&self.logits(cells), space), values: vec![0.0; cells.len()] };
        for other in background {
            let from = self.contributions(other);
            let players: Vec<usize> = (0..cells.len()).filter(|j| contributions[*j] != from[*j]).collect();
            let changes: Vec<Vec<f64>> = players
                .iter()
                .map(|j| sum(&contributions[*j], &from[*j].iter().map(|c| -c).collect::<Vec<_>>()))
                .collect();
            let (low, high) = changes.split_at(changes.len() / 2);
            let (low_sums, high_sums) =
                (subset_sums(&self.logits(other), low), subset_sums(&vec![0.0; 2 * self.content.experts], high));
            // Coalition S has the low players of its low bits, and the high players of its other
            // bits.
            let values: Vec<f64> =
                high_sums.iter().flat_map(|h| low_sums.iter().map(|l| self.value(&sum(l, h), space))).collect();
            let share = 1.0 / background.len() as f64;
            exact.base_value += share * values[0];
            let weights = shapley_weights(players.len());
            for (place, player) in players.iter().enumerate() {
                let without = (0..values.len()).filter(|coalition| coalition & (1 << place) == 0);
                let differences = without.map(|coalition| {
                    weights[coalition.count_ones() as usize] * (values[coalition | 1 << place] - values[coalition])
                });
                exact.values[*player] += share * differences.sum::<f64>();
            }
        }
        exact
    }
}

/// Exact Shapley values of one record.
#[derive(Clone, Debug)]
pub struct Exact {
    /// Mean value of the background records.
    pub base_value: f64,
    /// Value of the record.
    pub output: f64,
    /// One per feature; with the base value they sum to the output.
    pub values: Vec<f64>,
}

/// Returns `s! (d - 1 - s)! / d!` for each size `s` of the coalitions without a player, for `d`
/// players.
fn shapley_weights(players: usize) -> Vec<f64> {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    (0..players).map(|size| factorial(size) * factorial(players - 1 - size) / factorial(players)).collect()
}

/// Returns `start` plus the sum of every subset of `changes`. Bit i of the index states whether
/// change i is in the subset.
fn subset_sums(start: &[f64], changes: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut sums = vec![start.to_vec()];
    for change in changes {
        sums.extend(sums.iter().map(|without| sum(without, change)).collect::<Vec<_>>());
    }
    sums
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn log_sum_exp(terms: Vec<f64>) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + libm::log(terms.iter().map(|term| libm::exp(term - largest)).sum())
}

/// The logarithm of the logistic function.
fn log_sigmoid(z: f64) -> f64 {
    z.min(0.0) - libm::log1p(libm::exp(-z.abs()))
}

/// The logistic function, computed by the branch that cannot overflow.
fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + libm::exp(-z))
    } else {
        let e = libm::exp(z);
        e / (1.0 + e)
    }
}
