//! The weights of the mixture, their AdaGrad steps, their running averages, and growth by one
//! expert; at capacity, two experts are merged.
//!
//! The learner scores with *averaged* weights (Polyak and Juditsky 1992): single steps of the
//! stochastic gradient, including the fairness forces, leave the last weights noisy. The windows of
//! the averages grow with the stream, so that the averages follow drift. They are updated in
//! snapshots, so that they cost a record no more than two weight rows. There are two averages:
//!
//! - the *deciding* one, over up to `DECIDING_ROWS` records, scores the stream and is the input of
//!   the fairness controllers: a long window would delay them;
//! - the *exported* one, over up to `EXPORTED_ROWS` records, smooths out the swings of the
//!   controllers around their targets. On Adult with three targets (20 splits of the training file)
//!   the spread of the exported model's SPD fell from 0.033 to 0.012, that of AOD from 0.059 to
//!   0.026, and accuracy rose by 0.005.
//!
//! **After a drift of the loss** the learner has to be quick, and to keep what it knew, since
//! concepts return:
//!
//! - the averages are reset: the exported one is a copy of the deciding one, and both windows grow
//!   again (500 to 1,000 records after a change the exported model is within 0.012 of the stream's
//!   accuracy: `feamoe study --only streams`);
//! - the added expert is the mean of all the others, weighted by use, so that it can take over
//!   everywhere; the others keep what they know while it learns with large steps;
//! - from the first drift on, the steps of the gate's biases stop shrinking, and the deciding
//!   average follows them within `GATE_RECORDS` records. Experts that know a returning concept then
//!   regain their influence within a few hundred records. On two concepts of opposite sign,
//!   alternating every 10,000 records, the log-loss of the first 500 records is 0.91 when the
//!   second concept first comes, 0.6 at each return; without these measures 1.6, then 1.7 to 1.9.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::mixture::{Term, combine, logits, stride, tame};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::weights::Weights;
use crate::encoder::{Block, Carry};
use crate::model::Merger;

use super::gain::Gains;
use super::growth::Closeness;
use super::loss::Forward;
use super::monotone::Cones;
use super::options::LearnerOptions;
use super::table::{Lanes, Table};

mod merge;

pub(super) use merge::{Part, row_shares};

/// First value of the sums of squared gradients: it bounds the first step of a weight by about
/// `learning rate / 2`.
static FIRST_SQUARE: Tuned<f32> = tuned!(5e-4);
/// Decay of the weights of the active weight rows, per record, inside the gradient (so that AdaGrad
/// scales it): rare weight rows stay near 0.
static DECAY: Tuned<f32> = tuned!(7e-4);
/// Half width of the uniform perturbation of a new expert, in log2 units.
static PERTURBATION: Tuned<f32> = tuned!(0.05);
/// A record with at most this number of terms takes the full step in each term. More terms share
/// that step; otherwise the logit of a long record would overshoot.
static FULL_STEP_TERMS: Tuned<f32> = tuned!(20.0);
/// Records between two measurements of how close the experts are.
static COMPARE_EVERY: Tuned<u64> = tuned!(16);
/// The deciding average covers this share of the records seen, and at most `DECIDING_ROWS` of them.
static DECIDING_SHARE: Tuned<f32> = tuned!(1.0 / 32.0);
static DECIDING_ROWS: Tuned<f32> = tuned!(500.0);
/// The same for the exported average.
static EXPORTED_SHARE: Tuned<f32> = tuned!(1.0 / 4.0);
static EXPORTED_ROWS: Tuned<f32> = tuned!(8000.0);
/// Most weight rows that an average updates per record. The averages of a large model are updated
/// less often, so that the time per record does not grow with the number of levels.
pub(super) const MOST_AVERAGED: f32 = 1024.0;
/// Records that the deciding average assumes to have seen when it is reset by a drift: it need not
/// begin at 0.
static AFTER_DRIFT: Tuned<f32> = tuned!(1600.0);
/// Largest sum of squares of a gate bias after a drift: its steps stay as large as after a few
/// records.
static LARGEST_GATE_SQUARE: Tuned<f32> = tuned!(0.1);
/// Records that the gate biases of the deciding weights cover after a drift.
static GATE_RECORDS: Tuned<f32> = tuned!(5.0);

/// Scratch of a forward pass.
#[derive(Clone, Debug, Default)]
struct Pass {
    logits: Vec<f32>,
    gate: Vec<f32>,
    outputs: Vec<f32>,
}

impl Pass {
    /// Scores a record. `shift` is added to the log-odds of every expert.
    fn run(&mut self, table: &Table, terms: &[Term], experts: usize, shift: f32) -> f32 {
        self.logits.resize(stride(experts), 0.0);
        self.gate.resize(experts, 0.0);
        self.outputs.resize(experts, 0.0);
        let [bias, rows] = table.slices();
        logits(bias, rows, terms, &mut self.logits);
        if shift != 0.0 {
            self.logits.iter_mut().skip(experts).take(experts).for_each(|lane| *lane += shift);
        }
        tame(&mut self.logits, experts);
        combine(&self.logits, experts, &mut self.gate, &mut self.outputs)
    }
}

/// The size of a record's step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The learning rate of AdaGrad.
    pub learning_rate: f32,
    /// The square root of the record's importance. The gradient was multiplied by it; the step is
    /// multiplied by it once more.
    pub factor: f32,
    /// Added to the force on the score for the weight rows of protected columns only. It is already
    /// divided by `factor`.
    pub group_force: f32,
}

/// The mixture during learning.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mixture {
    experts: usize,
    /// The expert added last.
    newest: usize,
    weights: Table,
    /// Sums of squared gradients, per weight.
    squares: Table,
    deciding: Table,
    exported: Table,
    /// Number of records learned from.
    records: u64,
    /// Number of records at the last snapshot into the averages.
    averaged_at: u64,
    /// Number of records at the last drift of the loss.
    drifted_at: Option<u64>,
    /// Responsibility that each expert took since the last growth.
    usage: Vec<f64>,
    closeness: Closeness,
    /// Gains of the current weights. The averages are of weights multiplied by their gains.
    gains: Gains,
    /// Cones of the monotone numbers. All three weight tables lie in them.
    #[serde(skip)]
    cones: Cones,
    /// Whether gains are held fixed.
    #[serde(skip)]
    holds_gains: bool,
    /// The terms of the last record, scaled by their gains.
    #[serde(skip)]
    scaled: Vec<Term>,
    #[serde(skip)]
    pass: Pass,
    #[serde(skip)]
    deciding_pass: Pass,
    #[serde(skip)]
    exported_pass: Pass,
    #[serde(skip)]
    gradient: Vec<f32>,
    /// The gradient for the weight rows of protected columns; empty if it does not differ from
    /// `gradient`.
    #[serde(skip)]
    group_gradient: Vec<f32>,
}

impl Mixture {
    /// Returns a mixture with one expert and all weights 0.
    pub(super) fn new() -> Self {
        let stride = stride(1);
        Self {
            experts: 1,
            newest: 0,
            weights: Table::new(stride, 0.0),
            squares: Table::new(stride, FIRST_SQUARE.get()),
            deciding: Table::new(stride, 0.0),
            exported: Table::new(stride, 0.0),
            records: 0,
            averaged_at: 0,
            drifted_at: None,
            usage: vec![0.0],
            closeness: Closeness::default(),
            gains: Gains::default(),
            cones: Cones::default(),
            holds_gains: false,
            scaled: Vec::new(),
            pass: Pass::default(),
            deciding_pass: Pass::default(),
            exported_pass: Pass::default(),
            gradient: Vec::new(),
            group_gradient: Vec::new(),
        }
    }

    /// Returns whether a deserialised mixture is valid: every table has its lanes for the same
    /// weight rows.
    pub(super) fn is_sound(&self) -> bool {
        if !(1..=LearnerOptions::MOST_EXPERTS).contains(&self.experts) {
            return false;
        }
        let shape = [self.weights.rows().nrows(), stride(self.experts)];
        let has_lanes = |table: &Table| table.bias.len() == shape[1] && table.rows().shape() == shape;
        [&self.weights, &self.squares, &self.deciding, &self.exported].into_iter().all(has_lanes)
            && self.usage.len() == self.experts
            && self.newest < self.experts
            && self.averaged_at <= self.records
            && self.drifted_at.is_none_or(|at| at <= self.records)
            && self.closeness.is_sound(self.experts)
            && self.gains.is_sound()
    }

    pub(super) fn experts(&self) -> usize {
        self.experts
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Returns the exported weights.
    pub(super) fn exported(&self) -> Weights<'_> {
        self.weights_of(&self.exported)
    }

    /// Returns the bias and the weight rows of the weights and of both averages.
    #[cfg(test)]
    pub(super) fn every_row(&self) -> impl Iterator<Item = &[f32]> {
        [&self.weights, &self.deciding, &self.exported].into_iter().flat_map(Table::slices)
    }

    /// Returns the deciding weights.
    pub(super) fn deciding(&self) -> Weights<'_> {
        self.weights_of(&self.deciding)
    }

    fn weights_of<'a>(&self, table: &'a Table) -> Weights<'a> {
        Weights { experts: self.experts, bias: table.bias.view(), rows: table.rows() }
    }

    /// Scores by the deciding weights, with a shift of every expert's log-odds. The engine skips
    /// weight rows that no record has used yet.
    pub(super) fn predict(&self, terms: &[Term], shift: f32) -> f32 {
        Pass::default().run(&self.deciding, terms, self.experts, shift)
    }

    /// Scores by the exported weights, with a shift of every expert's log-odds.
    pub(super) fn predict_exported(&self, terms: &[Term], shift: f32) -> f32 {
        Pass::default().run(&self.exported, terms, self.experts, shift)
    }

    /// Returns the smallest shift of every expert's log-odds, between `-farthest` and `farthest`,
    /// with which the score of a record by the exported weights reaches the threshold. The score
    /// grows with the shift. The result is too large by at most `2^(1 - halvings)` of `farthest`,
    /// and never too small.
    pub(super) fn needed_shift(&self, terms: &[Term], threshold: f32, farthest: f32, halvings: u32) -> f32 {
        let (mut pass, experts) = (Pass::default(), self.experts);
        _ = pass.run(&self.exported, terms, experts, 0.0);
        let logits = pass.logits.clone();
        let [mut low, mut high] = [-farthest, farthest];
        for _ in 0..halvings {
            let middle = 0.5 * (low + high);
            let shifted = logits
                .iter()
                .enumerate()
                .map(|(lane, logit)| if (experts..2 * experts).contains(&lane) { logit + middle } else { *logit });
            pass.logits.iter_mut().zip(shifted).for_each(|(to, logit)| *to = logit);
            tame(&mut pass.logits, experts);
            let score = combine(&pass.logits, experts, &mut pass.gate, &mut pass.outputs);
            *(if score >= threshold { &mut high } else { &mut low }) = middle;
        }
        high
    }

    /// Carries the weights over to a changed encoding; see [`Carry`]. Gains of old weight rows are
    /// multiplied into the new ones.
    pub(super) fn carry(&mut self, carry: &Carry) {
        let rows = carry.rows.iter().map(|carried| carried.row as usize + 1).max().unwrap_or(0);
        self.make_room(rows);
        let gains = &self.gains;
        let as_it_is = |_: u32| 1.0;
        self.weights.carry(carry, |row| gains.of(row as usize));
        self.deciding.carry(carry, as_it_is);
        self.exported.carry(carry, as_it_is);
        self.squares.carry_steps(carry, FIRST_SQUARE.get());
        carry.blocks.iter().for_each(|block| self.gains.start(*block));
    }

    /// Keeps the weights of these numbers monotone from now on.
    pub(super) fn hold(&mut self, cones: Cones) {
        self.make_room(cones.rows());
        self.cones = cones;
        self.project();
    }

    pub(super) fn cones(&self) -> &Cones {
        &self.cones
    }

    /// Projects all weights onto the cones.
    fn project(&mut self) {
        for table in [&mut self.weights, &mut self.deciding, &mut self.exported] {
            self.cones.project(table, self.experts);
        }
    }

    /// Adds the weight rows of a record: they start at 0, where they change no score.
    fn admit(&mut self, terms: &[Term], blocks: &[Block]) {
        self.gains.admit(terms, blocks);
        self.make_room(terms.iter().map(|term| term.row as usize + 1).max().unwrap_or(0));
    }

    fn make_room(&mut self, rows: usize) {
        if rows > self.weights.rows().nrows() {
            for table in [&mut self.weights, &mut self.deciding, &mut self.exported] {
                table.grow(rows, 0.0);
            }
            self.squares.grow(rows, FIRST_SQUARE.get());
        }
    }

    /// Scores a record, by its terms and their blocks. Returns the scores by the deciding and by
    /// the current weights, in this order.
    pub(super) fn forward(&mut self, terms: &[Term], blocks: &[Block], shift: f32) -> (f32, f32) {
        self.admit(terms, blocks);
        let decisive = self.deciding_pass.run(&self.deciding, terms, self.experts, shift);
        self.gains.scale(terms, &mut self.scaled);
        (decisive, self.pass.run(&self.weights, &self.scaled, self.experts, 0.0))
    }

    /// Scores a record by the exported weights, after [`Mixture::forward`].
    pub(super) fn forward_exported(&mut self, terms: &[Term], shift: f32) -> f32 {
        self.exported_pass.run(&self.exported, terms, self.experts, shift)
    }

    /// Takes a step down the gradient that `fill` writes for the record of the last
    /// [`Mixture::forward`].
    ///
    /// AdaGrad (Duchi et al. 2011), per weight: `w -= rate d / sqrt(sum of d^2)`. Cost:
    /// `terms * stride` square roots and divisions.
    ///
    /// With `freeze`, only the gate and the newest expert learn: the weights of the others and
    /// their averages do not change.
    pub(super) fn step(
        &mut self,
        terms: &[Term],
        probability: f32,
        pace: Pace,
        freeze: bool,
        fill: impl FnOnce(&Forward<'_>, &mut [f32]),
    ) {
        let stride = stride(self.experts);
        self.gradient.resize(stride, 0.0);
        let seen = Forward { gate: &self.pass.gate, outputs: &self.pass.outputs, probability };
        fill(&seen, &mut self.gradient);
        self.group_gradient.clear();
        if pace.group_force != 0.0 {
            self.group_gradient.extend_from_slice(&self.gradient);
            seen.add_score_gradient(pace.group_force, &mut self.group_gradient);
        }
        for ((usage, g), de) in self.usage.iter_mut().zip(&self.pass.gate).zip(&self.gradient) {
            // The posterior share, from the gradient of the gate's likelihood; any other loss has
            // the same sum in the long run.
            *usage += f64::from(g - de);
        }
        self.learn_gains(terms, pace.factor);
        let lanes = self.learning_lanes(freeze);
        self.descend(terms, pace.factor * pace.learning_rate, lanes.as_ref());
        if self.drifted_at.is_some() {
            let gates = self.deciding.bias.iter_mut().zip(&self.weights.bias).zip(&mut self.squares.bias);
            for ((deciding, current), square) in gates.take(self.experts) {
                *square = square.min(LARGEST_GATE_SQUARE.get());
                *deciding += (current - *deciding) / GATE_RECORDS.get();
            }
        }
        if self.records.is_multiple_of(COMPARE_EVERY.get()) {
            self.closeness.observe(&self.pass.gate, &self.pass.outputs);
        }
        self.records += 1;
        self.take_averages(lanes.as_ref());
    }

    /// Scores terms that are not a record of the stream, by the deciding and by the current
    /// weights.
    pub(super) fn glance(&mut self, terms: &[Term]) -> (f32, f32) {
        let decisive = self.deciding_pass.run(&self.deciding, terms, self.experts, 0.0);
        self.gains.scale(terms, &mut self.scaled);
        (decisive, self.deciding_pass.run(&self.weights, &self.scaled, self.experts, 0.0))
    }

    /// Moves the score of terms that are not a record of the stream against a force, without
    /// counting them. Call it after [`Mixture::step`].
    pub(super) fn nudge(&mut self, terms: &[Term], force: f32, learning_rate: f32, freeze: bool) {
        self.gains.scale(terms, &mut self.scaled);
        let probability = self.pass.run(&self.weights, &self.scaled, self.experts, 0.0);
        self.gradient.iter_mut().for_each(|lane| *lane = 0.0);
        let seen = Forward { gate: &self.pass.gate, outputs: &self.pass.outputs, probability };
        seen.add_score_gradient(force, &mut self.gradient);
        self.group_gradient.clear();
        let lanes = self.learning_lanes(freeze);
        self.descend(terms, learning_rate, lanes.as_ref());
    }

    /// Returns whether a term of a record belongs to a protected column.
    pub(super) fn reveal_group(&self, terms: &[Term]) -> bool {
        terms.iter().any(|term| self.gains.reveals_group(term.row as usize))
    }

    /// Sets whether gains are held fixed. On records that were learned from before, gains would
    /// follow what the weight rows have memorised.
    pub(super) fn hold_gains(&mut self, holds: bool) {
        self.holds_gains = holds;
    }

    /// Learns the gains from the gradient of the record, before the weight rows do.
    fn learn_gains(&mut self, terms: &[Term], factor: f32) {
        if self.holds_gains {
            return;
        }
        let Self { gains, weights, gradient, experts, .. } = self;
        let ([_, rows], stride) = (weights.slices(), stride(*experts));
        gains.observe(terms, factor, |term| {
            term.scale * product(rows.get(term.row as usize * stride..).unwrap_or_default(), gradient)
        });
    }

    /// Returns the lanes that learn, the gate's and the newest expert's; `None` if all lanes learn.
    fn learning_lanes(&self, freeze: bool) -> Option<Lanes> {
        let newest = self.experts + self.newest;
        freeze.then_some([0..self.experts, newest..newest + 1])
    }

    /// Takes a step down the gradient in all weight rows of the terms.
    fn descend(&mut self, terms: &[Term], learning_rate: f32, lanes: Option<&Lanes>) {
        #[allow(clippy::cast_precision_loss)] // a record has a few hundred terms at most
        let shared = FULL_STEP_TERMS.get() / (terms.len() as f32 + 1.0);
        let rate = learning_rate * shared.min(1.0);
        match lanes {
            None => self.for_active_rows(terms, |w, s, g, scale| descend(w, s, g, scale, rate)),
            Some(lanes) => self.for_active_rows(terms, |w, s, g, scale| descend_in(lanes, w, s, g, scale, rate)),
        }
        if !self.cones.is_empty() {
            self.cones.settle(&mut self.weights, &self.squares, terms, self.experts);
        }
    }

    /// Calls `descend` with the weights, squares and gradient of the bias and of each term's weight
    /// row, and with its scale.
    #[inline]
    fn for_active_rows(&mut self, terms: &[Term], descend: impl Fn(&mut [f32], &mut [f32], &[f32], f32)) {
        let stride = stride(self.experts);
        let [bias, rows] = self.weights.slices_mut();
        let [bias_squares, row_squares] = self.squares.slices_mut();
        descend(bias, bias_squares, &self.gradient, 1.0);
        for term in terms {
            let is_apart = !self.group_gradient.is_empty() && self.gains.reveals_group(term.row as usize);
            let gradient = if is_apart { &self.group_gradient } else { &self.gradient };
            let range = term.row as usize * stride..(term.row as usize + 1) * stride;
            if let (Some(weights), Some(squares)) = (rows.get_mut(range.clone()), row_squares.get_mut(range)) {
                descend(weights, squares, gradient, term.scale);
            }
        }
    }

    /// Moves the averages towards the weights, for all records since the last time, if enough have
    /// passed.
    #[allow(clippy::cast_precision_loss)] // windows, not counts
    fn take_averages(&mut self, lanes: Option<&Lanes>) {
        let passed = self.records - self.averaged_at;
        let rows = self.weights.rows().nrows() as f32;
        let since_drift = (self.records - self.drifted_at.unwrap_or(0)) as f32;
        let since = since_drift + self.drifted_at.map_or(0.0, |_| AFTER_DRIFT.get());
        let passed = passed as f32;
        if passed < (since / 64.0).clamp(rows / MOST_AVERAGED, rows / 8.0).floor() {
            return;
        }
        self.averaged_at = self.records;
        let deciding = (since * DECIDING_SHARE.get()).min(DECIDING_ROWS.get());
        let exported = (since_drift * EXPORTED_SHARE.get()).clamp(deciding, EXPORTED_ROWS.get());
        let [deciding, exported] = [deciding, exported].map(|window| passed / (passed + window));
        let gain = |row: usize| self.gains.of(row);
        self.deciding.move_towards(&self.weights, deciding, gain, lanes);
        self.exported.move_towards(&self.weights, exported, gain, lanes);
        // Rounding may have swapped neighbours.
        self.cones.project(&mut self.deciding, self.experts);
        self.cones.project(&mut self.exported, self.experts);
    }

    /// Adds the lanes of one more expert, which the caller has to fill. Returns its index.
    pub(super) fn add_expert(&mut self) -> usize {
        for table in [&mut self.deciding, &mut self.exported, &mut self.weights] {
            table.add_expert(self.experts, 0.0);
        }
        self.squares.add_expert(self.experts, FIRST_SQUARE.get());
        self.experts += 1;
        self.usage.push(0.0);
        self.experts - 1
    }

    /// Fills a place with a perturbed copy of the expert that took the most responsibility since
    /// the last growth. The two halve its gate, so the score hardly moves. The copy's step sizes
    /// are reset. Returns the parent.
    pub(super) fn fill_with_copy(&mut self, expert: usize, seed: u64) -> usize {
        let mut parent = 0;
        let mut most = f64::MIN;
        for (other, usage) in self.usage.iter().enumerate() {
            if *usage > most && other != expert {
                (parent, most) = (other, *usage);
            }
        }
        let gains = &self.gains;
        for (table, has_gains) in [(&mut self.deciding, true), (&mut self.exported, true), (&mut self.weights, false)] {
            // The same perturbation for all: the averages must remain averages of the weights.
            let mut random = Pcg64Mcg::seed_from_u64(perturbation_seed(seed, expert, self.records));
            table.for_each_row(self.experts, |row, gate, outputs| {
                let gain = row.filter(|_| has_gains).map_or(1.0, |row| gains.of(row));
                for lanes in [gate, outputs] {
                    lanes[expert] = lanes[parent] + gain * PERTURBATION.get() * symmetric(&mut random);
                }
            });
            table.bias[parent] -= 1.0;
            table.bias[expert] -= 1.0;
        }
        self.closeness.halve(parent);
        self.start(expert);
        parent
    }

    /// Fills a place with the mean of all other experts, weighted by the responsibility they took
    /// since the last growth. The new expert gets a third of the gate for any record.
    ///
    /// Around the mean record the total gate, `log2(sum_k 2^a_k)`, is `sum_k w_k a_k + H(w)`, where
    /// H is the entropy of the weights in bits.
    pub(super) fn fill_with_mean(&mut self, expert: usize) {
        self.usage[expert] = 0.0;
        let usage = self.usage.iter().map(|usage| usage.max(0.0));
        let total: f64 = usage.clone().sum();
        #[allow(clippy::cast_possible_truncation)] // in [0, 1]
        let shares: Vec<f32> = usage.map(|usage| (usage / total) as f32).collect();
        let entropy: f32 = shares.iter().filter(|share| **share > 0.0).map(|share| -share * libm::log2f(*share)).sum();
        for table in [&mut self.deciding, &mut self.exported, &mut self.weights] {
            table.for_each_row(self.experts, |_, gate, outputs| {
                for lanes in [gate, outputs] {
                    lanes[expert] = lanes.iter().zip(&shares).map(|(weight, share)| share * weight).sum();
                }
            });
            table.bias[expert] += entropy - 1.0;
        }
        self.start(expert);
    }

    /// Resets the state of a new expert, its step sizes, and the usage of all experts.
    fn start(&mut self, expert: usize) {
        self.squares.for_each_row(self.experts, |_, gate, outputs| {
            (gate[expert], outputs[expert]) = (FIRST_SQUARE.get(), FIRST_SQUARE.get());
        });
        self.project();
        self.newest = expert;
        self.usage.fill(0.0);
        self.closeness.start(expert);
    }

    /// Resets the averages, and keeps the gate's biases quick from now on.
    pub(super) fn answer_drift(&mut self) {
        self.drifted_at = Some(self.records);
        self.exported = self.deciding.clone();
        self.gains.answer_drift();
    }

    /// Returns whether the existing experts differ, so that one more may be useful.
    pub(super) fn experts_differ(&self) -> bool {
        !self.closeness.has_alike()
    }

    /// Merges the two experts whose merging moves the score the least. Returns the merged expert
    /// and the place that became free. [`Merger`] describes the weights and the gate.
    pub(super) fn merge_closest(&mut self) -> Option<(usize, usize)> {
        let (merger, _) = self.closeness.cheapest()?;
        let Merger { into, from, .. } = merger;
        for table in [&mut self.weights, &mut self.squares, &mut self.deciding, &mut self.exported] {
            table.for_each_row(self.experts, |_, gate, outputs| merger.average(gate, outputs));
        }
        for table in [&mut self.weights, &mut self.deciding, &mut self.exported] {
            table.bias[into] += merger.entropy();
        }
        self.usage[into] += self.usage[from];
        Some((into, from))
    }
}

/// Returns the product of a weight row with a gradient. It sums by lanes, so that they can run in
/// parallel.
#[inline]
fn product(row: &[f32], gradient: &[f32]) -> f32 {
    const LANES: usize = feamoe_engine::mixture::LANE_MULTIPLE;
    let (row, _) = row.as_chunks::<LANES>();
    let (gradient, _) = gradient.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (weights, slopes) in row.iter().zip(gradient) {
        for lane in 0..LANES {
            sums[lane] += weights[lane] * slopes[lane];
        }
    }
    sums.iter().sum()
}

/// Returns a uniform number in [-1, 1).
#[allow(clippy::cast_precision_loss)] // 24 bits fit
fn symmetric(random: &mut Pcg64Mcg) -> f32 {
    (random.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0
}

/// One AdaGrad step on a weight row.
#[inline]
fn descend(weights: &mut [f32], squares: &mut [f32], gradient: &[f32], scale: f32, rate: f32) {
    const LANES: usize = feamoe_engine::mixture::LANE_MULTIPLE;
    let (weights, _) = weights.as_chunks_mut::<LANES>();
    let (squares, _) = squares.as_chunks_mut::<LANES>();
    let (gradient, _) = gradient.as_chunks::<LANES>();
    for ((w, s), g) in weights.iter_mut().zip(squares).zip(gradient) {
        for lane in 0..LANES {
            descend_lane(&mut w[lane], &mut s[lane], g[lane], scale, rate);
        }
    }
}

/// One AdaGrad step on some lanes of a weight row. It is a separate function so that it costs
/// nothing while no expert is frozen.
#[inline(never)]
fn descend_in(lanes: &Lanes, weights: &mut [f32], squares: &mut [f32], gradient: &[f32], scale: f32, rate: f32) {
    for lane in lanes.iter().cloned().flatten() {
        descend_lane(&mut weights[lane], &mut squares[lane], gradient[lane], scale, rate);
    }
}

#[inline]
fn descend_lane(w: &mut f32, s: &mut f32, g: f32, scale: f32, rate: f32) {
    let d = scale * g + DECAY.get() * *w;
    *s += d * d;
    *w -= rate * d / s.sqrt();
}

/// Returns the seed of a copy's perturbation: no two copies of a run, nor of runs with other seeds,
/// are perturbed alike (SplitMix64's finaliser, Steele et al. 2014, over all three).
fn perturbation_seed(seed: u64, expert: usize, records: u64) -> u64 {
    [expert as u64, records].into_iter().fold(seed, |hash, next| {
        let mut x = (hash ^ next).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}
