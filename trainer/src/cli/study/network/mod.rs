//! The networks that the paper compares with and uses as experts: multilayer perceptrons under the
//! mixture's own loss and penalties.
//!
//! A single network is a mixture with one expert. Without hidden layers it is a logistic
//! regression, and a mixture of those is the paper's model. Therefore all of them share one forward
//! pass ([`combine`]), one loss ([`Forward`]) and one count of penalties ([`Paper`]).
//!
//! Results are *reproducible* on one machine. Matrix products use the widest instructions of the
//! processor, so another processor may differ in the last digits.

pub mod mlp;
pub mod rows;

use feamoe::learner::{Forward, Loss, Paper, Penalties};
use feamoe::training::prequential::Tally;
use feamoe_engine::mixture::{combine, tame};
use ndarray::{Array2, s};

use super::generators::Random;
use mlp::Mlp;
use rows::Rows;

/// Number of records per step, also for online steps.
pub const BATCH: usize = 32;
/// The step size of Adam.
pub const LEARNING_RATE: f64 = 1e-3;
/// Standard deviation of the perturbation of a new expert's weights, relative to the expert that it
/// copies.
const SPREAD: f64 = 0.05;
/// Number of records that are scored at once.
const SCORED: usize = 1024;

/// The settings of a network.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of units of each hidden layer.
    pub hidden: Vec<usize>,
    /// The loss on the outcome.
    pub loss: Loss,
    /// Penalties with their increments.
    pub penalties: Penalties,
    /// Number of increments that the penalties have; `None`: one for each expert beyond the first,
    /// as in the paper.
    pub increments: Option<usize>,
    /// Seed.
    pub seed: u64,
}

/// The decision threshold.
pub const THRESHOLD: f32 = 0.5;

/// A mixture of networks with a linear gate.
pub struct Networks {
    plan: Plan,
    gate: Mlp<f32>,
    experts: Vec<Mlp<f32>>,
    paper: Paper,
    random: Random,
}

/// The training data: rows, with labels that may differ from their own, and optional weights.
#[derive(Clone, Copy)]
pub struct Lesson<'a> {
    /// The rows.
    pub rows: &'a Rows,
    /// The label of each row.
    pub labels: &'a [bool],
    /// The weight of each row; empty if all weights are 1.
    pub weights: &'a [f32],
}

impl<'a> From<&'a Rows> for Lesson<'a> {
    fn from(rows: &'a Rows) -> Self {
        Self { rows, labels: &rows.labels, weights: &[] }
    }
}

impl Networks {
    /// Creates a mixture with one expert.
    pub fn new(plan: Plan, rows: &Rows) -> Self {
        let mut random = Random::new(plan.seed);
        let experts = vec![Mlp::new(rows.width, &plan.hidden, 1, &mut random)];
        let gate = Mlp::new(rows.width, &[], 1, &mut random);
        let paper = Paper::new(plan.penalties, rows.attributes());
        Self { plan, gate, experts, paper, random }
    }

    /// Returns the number of experts.
    pub fn experts(&self) -> usize {
        self.experts.len()
    }

    /// Adds a slightly perturbed copy of the newest expert.
    pub fn add_expert(&mut self) {
        let Some(newest) = self.experts.last() else { return };
        let mut expert = newest.clone();
        expert.perturb(SPREAD, &mut self.random);
        self.experts.push(expert);
        self.gate.widen(SPREAD, &mut self.random);
    }

    /// Learns from all rows in several passes, each in a new order.
    pub fn learn(&mut self, lesson: Lesson<'_>, passes: usize) {
        let mut order: Vec<u32> = (0..lesson.rows.len() as u32).collect();
        for _ in 0..passes {
            self.random.shuffle(&mut order);
            order.chunks(BATCH).for_each(|batch| self.step(lesson, batch));
        }
    }

    /// Scores the rows in order, each before learning from it. Adds an expert after every `grow`
    /// rows.
    pub fn learn_online(&mut self, rows: &Rows, grow: Option<usize>, tally: &mut Tally) {
        let order: Vec<u32> = (0..rows.len() as u32).collect();
        let mut since = 0;
        for batch in order.chunks(BATCH) {
            self.judge_rows(rows, batch, tally);
            self.step(rows.into(), batch);
            since += batch.len();
            if grow.is_some_and(|grow| since >= grow) {
                since = 0;
                self.add_expert();
            }
        }
    }

    /// Evaluates all rows, including the share of decisions that would change with a protected
    /// column alone.
    pub fn judge(&self, rows: &Rows) -> Tally {
        let mut tally = Tally::default();
        let order: Vec<u32> = (0..rows.len() as u32).collect();
        order.chunks(SCORED).for_each(|batch| self.judge_rows(rows, batch, &mut tally));
        tally
    }

    fn judge_rows(&self, rows: &Rows, batch: &[u32], tally: &mut Tally) {
        for (row, score) in batch.iter().zip(self.scores(rows.batch(batch))) {
            let row = *row as usize;
            let Some(label) = rows.labels.get(row) else { continue };
            tally.observe(*label, score, THRESHOLD, rows.groups(row));
            let flips = rows.flips(row);
            if flips.nrows() > 0 {
                let unfair = self.scores(flips).iter().any(|flip| (*flip >= THRESHOLD) != (score >= THRESHOLD));
                tally.observe_individual(unfair, rows.groups(row));
            }
        }
    }

    /// Returns the score of every row.
    pub fn all_scores(&self, rows: &Rows) -> Vec<f32> {
        let order: Vec<u32> = (0..rows.len() as u32).collect();
        order.chunks(SCORED).flat_map(|batch| self.scores(rows.batch(batch))).collect()
    }

    /// Returns the score of each record.
    pub fn scores(&self, records: Array2<f32>) -> Vec<f32> {
        let mut logits = self.logits(&records);
        let experts = self.experts.len();
        let (mut gate, mut outputs) = (vec![0.0; experts], vec![0.0; experts]);
        let scores = logits.outer_iter_mut().map(|mut logits| match logits.as_slice_mut() {
            Some(logits) => {
                tame(logits, experts);
                combine(logits, experts, &mut gate, &mut outputs)
            }
            None => f32::NAN,
        });
        scores.collect()
    }

    /// Returns the logits of the gate, followed by those of the experts, in log2 units, with one
    /// row per record.
    fn logits(&self, records: &Array2<f32>) -> Array2<f32> {
        let experts = self.experts.len();
        let mut logits = Array2::zeros((records.nrows(), 2 * experts));
        logits.slice_mut(s![.., ..experts]).assign(&self.gate.forward(records.clone()).outputs);
        for (expert, network) in self.experts.iter().enumerate() {
            logits
                .slice_mut(s![.., experts + expert..=experts + expert])
                .assign(&network.forward(records.clone()).outputs);
        }
        logits
    }

    fn step(&mut self, lesson: Lesson<'_>, batch: &[u32]) {
        let experts = self.experts.len();
        let records = lesson.rows.batch(batch);
        let gate_pass = self.gate.forward(records.clone());
        let passes: Vec<_> = self.experts.iter().map(|expert| expert.forward(records.clone())).collect();
        let mut gradients = Array2::<f32>::zeros((batch.len(), 2 * experts));
        let (mut gate, mut outputs, mut logits) = (vec![0.0; experts], vec![0.0; experts], vec![0.0; 2 * experts]);
        let increments = self.plan.increments.map_or(experts, |increments| increments + 1);
        for (at, (row, mut gradient)) in batch.iter().zip(gradients.outer_iter_mut()).enumerate() {
            let row = *row as usize;
            let (Some(label), Some(gradient)) = (lesson.labels.get(row), gradient.as_slice_mut()) else { continue };
            for expert in 0..experts {
                logits[expert] = gate_pass.outputs[[at, expert]];
                logits[experts + expert] = passes[expert].outputs[[at, 0]];
            }
            tame(&mut logits, experts);
            let probability = combine(&logits, experts, &mut gate, &mut outputs);
            let forward = Forward { gate: &gate, outputs: &outputs, probability };
            let decision = probability >= THRESHOLD;
            let pull = self.paper.observe(lesson.rows.groups(row), *label, decision, increments);
            forward.loss_gradient(self.plan.loss, *label, gradient);
            forward.add_competitive_gradient(pull.squares, !decision, gradient);
            forward.add_score_gradient(pull.force, gradient);
            let weight = lesson.weights.get(row).copied().unwrap_or(1.0) / batch.len() as f32;
            gradient.iter_mut().for_each(|lane| *lane *= weight);
        }
        let gradient = self.gate.gradient(&gate_pass, gradients.slice(s![.., ..experts]));
        self.gate.step(&gradient, LEARNING_RATE);
        for (expert, (network, pass)) in self.experts.iter_mut().zip(&passes).enumerate() {
            let lane = experts + expert;
            let gradient = network.gradient(pass, gradients.slice(s![.., lane..=lane]));
            network.step(&gradient, LEARNING_RATE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scores of a mixture do not jump when an expert is added.
    #[test]
    fn an_expert_that_is_added_leaves_the_scores_nearly_as_they_are() {
        let random = &mut Random::new(1);
        let records = Array2::from_shape_simple_fn((100, 3), || random.normal() as f32);
        let plan = Plan { hidden: vec![4], loss: Loss::Nll, penalties: Penalties::NONE, increments: None, seed: 1 };
        let mut networks = Networks::new(plan, &Rows::new(3, 1));
        networks.experts[0].perturb(1.0, random);
        for _ in 0..3 {
            let before = networks.scores(records.clone());
            networks.add_expert();
            let after = networks.scores(records.clone());
            let largest = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest > 0.0 && largest < 0.1, "{largest}");
        }
        assert_eq!(networks.experts(), 4);
    }
}
