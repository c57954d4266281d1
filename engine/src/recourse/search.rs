//! The search for the nearest favourable point, and what its steps share: scoring a point,
//! computing its gradient, accepting it as the answer.
//!
//! Minimise the squared distance `sum_j c_j` subject to `p >= threshold`, or more by a margin.
//! Features add up in the logits. If the log-odds of p are approximated as linear in the logits,
//! with weights `d` (the *direction*), the problem separates by feature for a given multiplier `m`
//! (Everett 1963):
//!
//! ```text
//! x_j(m) = argmax over the places of feature j:   m * d . (the logits it adds)  -  c_j
//! ```
//!
//! 1. One expert: log-odds *are* linear, and `linear` solves for the nearest point.
//! 2. *Descent* (`descent`): along a direction, the smallest multiplier whose point is favourable
//!    by the true score; then the knapsack of whole pieces; then the gradient at the point found is
//!    the next direction. At the nearest point of a smooth boundary direction and gradient agree.
//!    First directions: the gradient at the record, its mean with that at the best point, and those
//!    in which one expert takes over, for the [`EXPERTS_TRIED`] that favour the record most (all,
//!    while there is no answer).
//! 3. Without an answer yet: one change of the record, each feature scanned by the true score
//!    (`exchange`).
//! 4. *Exchange* (`exchange`): one change of the best point is taken back, and any one feature may
//!    make it favourable again, by the true score. Then the same from the record itself.
//!
//! 2 and 4 repeat until neither finds a nearer point, or the budget is spent.
//!
//! Most functions are not inlined, since at opt-level 3 their copies would take twice the flash and
//! save no time.

use super::axis::Axis;
use super::reach::{Place, Reach};
use super::rules::{Rule, Rules};
use super::{Change, Recourse};
use crate::mixture::{LANE_MULTIPLE, logits, stride};
use crate::model::{Model, Score};
use crate::record::Record;
use crate::schema::FeatureIndex;
use crate::schema::Kind;

/// The number of evaluations of the mixture after which the search ends, except for the last
/// descent.
pub const MAX_EVALUATIONS: u32 = 4096;
/// The largest number of pieces (levels, bins) that the search looks at along directions. It bounds
/// the time for features with very many levels. A look takes a few per cent of an evaluation.
pub const MAX_LOOKS: u32 = 1 << 20;

/// The number of experts that are tried as a direction once there is an answer.
const EXPERTS_TRIED: usize = 4;
/// The number of halvings of a stretch that contains the boundary, during the search and at the
/// end.
const COARSE: u32 = 8;
pub(super) const FINE: u32 = 20;
/// A point counts as nearer if its squared distance is below this share of the best.
pub(super) const NEARER: f32 = 0.9999;
/// Below this p, the quotients of the gradient would be inaccurate.
const SMALLEST_P: f32 = 1e-30;
/// Changes of a number below this many standard deviations are left out.
const SMALLEST_CHANGE: f32 = 1e-5;

/// The logits of a point; only as many lanes as a weight row has are used.
pub(super) type Lanes<const EXPERTS: usize> = [[f32; EXPERTS]; 2];

/// The state of a search.
pub(super) struct Search<'s, const FEATURES: usize, const EXPERTS: usize> {
    pub model: &'s Model<'s, FEATURES, EXPERTS>,
    record: &'s Record<'s, FEATURES>,
    pub answer: &'s mut Recourse<FEATURES>,
    /// Called after each evaluation; if it returns false, the search ends.
    keep_going: &'s mut dyn FnMut(u32) -> bool,
    /// The lowest score of an answer.
    pub sought: f32,
    /// Logits of the record.
    origin: Lanes<EXPERTS>,
    /// The result of [`Search::evaluate`] at the point: logits, gate, experts, p.
    pub lanes: Lanes<EXPERTS>,
    gate: [f32; EXPERTS],
    outputs: [f32; EXPERTS],
    probability: f32,
    direction: Lanes<EXPERTS>,
    /// Squared distance of the best point; [`f32::MAX`] without one.
    pub cost: f32,
    /// The multiplier that was found last, where the search for the next one starts.
    pub multiplier: f32,
    pub halvings: u32,
}

impl<'s, const FEATURES: usize, const EXPERTS: usize> Search<'s, FEATURES, EXPERTS> {
    /// Searches from a declined record by the rules, without changing the marked features. Returns
    /// the distance of the best point, which is then in the answer.
    pub fn run(
        model: &'s Model<'s, FEATURES, EXPERTS>,
        record: &'s Record<'s, FEATURES>,
        rules: &Rules<FEATURES>,
        without: &[bool],
        answer: &'s mut Recourse<FEATURES>,
        keep_going: &'s mut dyn FnMut(u32) -> bool,
    ) -> Option<f32> {
        let features = model.layout().features().iter().enumerate();
        for (((index, feature), rule), axis) in features.zip(rules.as_slice()).zip(&mut answer.axes) {
            let rule = if without.get(index) == Some(&true) { &Rule::FIXED } else { rule };
            axis.start(Reach::new(model, record, index, feature, rule));
        }
        let nothing = [[0.0; EXPERTS]; 2];
        let mut search = Self {
            model,
            record,
            answer,
            keep_going,
            sought: rules.sought(model.threshold()),
            origin: nothing,
            lanes: nothing,
            gate: [0.0; EXPERTS],
            outputs: [0.0; EXPERTS],
            probability: 0.0,
            direction: nothing,
            cost: f32::MAX,
            multiplier: 1.0,
            halvings: COARSE,
        };
        logits(model.bias, model.rows, record.terms(), model.row_of(search.origin.as_flattened_mut()));
        search.look_everywhere();
        (search.cost < f32::MAX).then(|| libm::sqrtf(search.cost))
    }

    fn look_everywhere(&mut self) {
        self.evaluate();
        self.take_gradient();
        if self.model.experts() == 1 && self.solve() {
            return;
        }
        let first = self.direction;
        self.descend(None);
        if self.cost < f32::MAX {
            self.turn_to_best();
            for (lane, first) in self.direction.as_flattened_mut().iter_mut().zip(first.as_flattened()) {
                *lane = 0.5 * (*lane + first);
            }
            self.descend(None);
        }
        let mut last = (f32::INFINITY, 0);
        for tried in 0..self.model.experts() {
            if tried >= EXPERTS_TRIED && self.cost < f32::MAX {
                break;
            }
            last = self.next_expert(last);
            // With these, the direction is 1 for this expert and 0 for all others.
            (self.gate, self.outputs) = ([0.0; EXPERTS], [0.0; EXPERTS]);
            self.head_for(last.1);
            self.descend(Some(last.1));
        }
        if self.cost == f32::MAX && !self.change_one() && !self.change_two() {
            return;
        }
        self.turn_to_best();
        // A single step nearer also counts as an exchange; the budget bounds their number.
        while !self.is_spent() && self.exchange() {
            self.turn_to_best();
            self.descend(None);
            self.turn_to_best();
        }
        self.halvings = FINE;
        self.descend(None);
    }

    /// The axes of the features.
    pub fn axes(&mut self) -> impl DoubleEndedIterator<Item = &mut Axis> + ExactSizeIterator {
        let count = self.model.layout().features().len();
        self.answer.axes.iter_mut().take(count)
    }

    /// Returns whether the search has to end.
    pub fn is_spent(&self) -> bool {
        self.answer.evaluations >= MAX_EVALUATIONS || self.answer.stopped
    }

    /// Returns the number of pieces that may still be looked at.
    pub fn looks_left(&self) -> u32 {
        MAX_LOOKS.saturating_sub(self.answer.looks)
    }

    /// Counts pieces that were looked at.
    pub fn count_looks(&mut self, looks: u32) {
        self.answer.looks = self.answer.looks.saturating_add(looks);
    }

    /// Returns the contribution of a weight row along the direction.
    #[inline(never)]
    pub fn along(&self, row: u32) -> f32 {
        let direction = self.direction.as_flattened().get(..stride(self.model.experts()));
        let (row, direction) = (self.model.row(row), direction.unwrap_or_default());
        // One sum for each position modulo four, which are independent of each other.
        let mut sums = [0.0_f32; LANE_MULTIPLE];
        for (row, direction) in row.as_chunks::<LANE_MULTIPLE>().0.iter().zip(direction.as_chunks::<LANE_MULTIPLE>().0)
        {
            for ((sum, weight), by_lane) in sums.iter_mut().zip(row).zip(direction) {
                *sum += weight * by_lane;
            }
        }
        sums.into_iter().sum()
    }

    /// Puts the point at the best one, except for one feature.
    pub fn point_at_best(&mut self, without: Option<usize>) {
        for (index, axis) in self.axes().enumerate() {
            axis.point = if without == Some(index) { axis.reach.origin } else { axis.best };
        }
    }

    /// Moves the point to the best one, and sets the direction to the gradient there.
    #[inline(never)]
    fn turn_to_best(&mut self) {
        self.point_at_best(None);
        self.evaluate();
        self.take_gradient();
    }

    /// Moves the point to the steps of the rules and scores it. Returns whether it is favourable.
    #[inline(never)]
    pub fn evaluate(&mut self) -> bool {
        let Self { model, answer, lanes, origin, .. } = self;
        let lanes = model.row_of(lanes.as_flattened_mut());
        copy(origin, lanes);
        let layout = model.layout();
        for (feature, axis) in layout.features().iter().zip(&mut answer.axes) {
            axis.point = axis.reach.on_step(feature, feature.edges_of(layout.edges), axis.point);
            model.add_change(&axis.reach, axis.point, 1.0, lanes);
        }
        let mut point = [[0.0; EXPERTS]; 2];
        copy(&self.lanes, model.row_of(point.as_flattened_mut()));
        self.score(&mut point)
    }

    /// Scores logits, which may be changed. Returns whether the score is favourable.
    pub fn score(&mut self, lanes: &mut Lanes<EXPERTS>) -> bool {
        let lanes = self.model.row_of(lanes.as_flattened_mut());
        self.probability = self.model.combine(lanes, &mut self.gate, &mut self.outputs);
        self.count_evaluation();
        // Once stopped, nothing more is found; what was found is already verified.
        self.probability >= self.sought && !self.answer.stopped
    }

    /// Counts an evaluation, and asks the caller whether to continue.
    fn count_evaluation(&mut self) {
        self.answer.evaluations = self.answer.evaluations.wrapping_add(1);
        self.answer.stopped = self.answer.stopped || !(self.keep_going)(self.answer.evaluations);
    }

    /// Returns the log-odds of p at the point that was scored last, in log2 units. A p near the end
    /// of the range of f32 is clamped.
    pub fn log_odds(&self) -> f32 {
        let p = if self.probability > SMALLEST_P { self.probability } else { SMALLEST_P };
        libm::log2f(p / (1.0 - p))
    }

    /// Returns the log-odds of the lowest score of an answer, in log2 units.
    pub fn needed_log_odds(&self) -> f32 {
        libm::log2f(self.sought / (1.0 - self.sought))
    }

    /// Returns an upper bound of the rise of the log-odds of p along the linear row of a feature,
    /// for a position of 1 towards larger and towards smaller numbers, in log2 units. The
    /// contribution of the gate is at most the spread of the gate's slopes, that of the experts at
    /// most the largest of their slopes.
    pub fn steepest(&self, reach: &Reach) -> [f32; 2] {
        let experts = self.model.experts();
        let row = if reach.unit > 0.0 { self.model.row(reach.linear) } else { &[] };
        let (gates, own) = row.split_at_checked(experts).unwrap_or_default();
        let ends = |lanes: &[f32]| {
            lanes.iter().fold([f32::MAX, f32::MIN], |[low, high], slope| {
                [if *slope < low { *slope } else { low }, if *slope > high { *slope } else { high }]
            })
        };
        let ([gate_low, gate_high], [own_low, own_high]) = (ends(gates), ends(own.get(..experts).unwrap_or_default()));
        let spread = gate_high - gate_low;
        [spread + own_high, spread - own_low].map(|rise| if rise > 0.0 { rise * reach.unit } else { 0.0 })
    }

    /// Sets the direction to the gradient of the log-odds of p at the point that was evaluated
    /// last.
    ///
    /// With `h_k` and `h'_k` the shares of expert k in p and in 1 - p: `h_k - h'_k` in its gate's
    /// logit, `h_k (1 - o_k) + h'_k o_k` in its own.
    #[inline(never)]
    pub fn take_gradient(&mut self) {
        let (experts, p) = (self.model.experts(), self.probability);
        let (gates, logits) = self.lanes.as_flattened().split_at_checked(experts).unwrap_or_default();
        // For a very small p, the largest shares are used, by their logarithms, up to the sum of
        // the gate.
        let log_share = |(gate, logit): (&f32, &f32)| gate + if *logit < 0.0 { *logit } else { 0.0 };
        let largest = gates.iter().zip(logits).map(log_share).fold(f32::MIN, |a, b| if a > b { a } else { b });
        let (by_gate, by_expert) = self.direction.as_flattened_mut().split_at_mut_checked(experts).unwrap_or_default();
        let mixture = self.gate.iter().zip(&self.outputs).zip(gates.iter().zip(logits));
        for (((g, o), logs), (by_gate, by_expert)) in mixture.zip(by_gate.iter_mut().zip(by_expert)) {
            let favourable = if p > SMALLEST_P {
                g * o / p
            } else if log_share(logs) > largest - 1.0 {
                1.0
            } else {
                0.0
            };
            let unfavourable = g * (1.0 - o) / (1.0 - p);
            *by_gate = favourable - unfavourable;
            *by_expert = favourable * (1.0 - o) + unfavourable * o;
        }
    }

    /// Returns the expert that favours the record most after `last`: its logit at the record, and
    /// its index.
    fn next_expert(&self, last: (f32, usize)) -> (f32, usize) {
        let experts = self.model.experts();
        let logits = self.origin.as_flattened().iter().skip(experts).take(experts);
        let mut next = (f32::NEG_INFINITY, 0);
        for (expert, logit) in logits.enumerate() {
            let is_after = *logit < last.0 || (*logit == last.0 && expert > last.1);
            if is_after && *logit > next.0 {
                next = (*logit, expert);
            }
        }
        next
    }

    /// Sets the direction to the gradient of `log(g_k o_k)`, one expert's share in p, at the point
    /// that was evaluated last. Along it, the expert takes over and becomes favourable.
    #[inline(never)]
    pub fn head_for(&mut self, expert: usize) {
        let experts = self.model.experts();
        let (by_gate, by_expert) = self.direction.as_flattened_mut().split_at_mut_checked(experts).unwrap_or_default();
        let lanes = by_gate.iter_mut().zip(by_expert).zip(self.gate.iter().zip(&self.outputs));
        for (index, ((by_gate, by_expert), (g, o))) in lanes.enumerate() {
            (*by_gate, *by_expert) = if index == expert { (1.0 - g, 1.0 - o) } else { (-g, 0.0) };
        }
    }

    /// Accepts the point as the best if it is nearer and favourable when set in a record. If
    /// rounding prevents this, tries a point slightly beyond.
    #[inline(never)]
    pub fn accept(&mut self) -> bool {
        for beyond in [1.0, 1.000_001, 1.000_01, 1.000_1, 1.001] {
            let cost: f32 = self.axes().map(|axis| axis.point.cost()).sum();
            if cost >= NEARER * self.cost || self.answer.stopped {
                return false;
            }
            if let Some(cost) = self.verify(beyond) {
                self.cost = cost;
                return true;
            }
        }
        false
    }

    /// Sets the point in a copy of the record, with numbers `beyond` times as far, and scores it.
    /// If it is favourable and nearer, it becomes the answer.
    #[inline(never)]
    fn verify(&mut self, beyond: f32) -> Option<f32> {
        let Self { model, record, answer, .. } = self;
        let layout = model.layout();
        let (mut changed, mut changes, mut cost) = ((*record).clone(), [None; FEATURES], 0.0);
        let features = layout.features().iter().enumerate();
        for (((index, feature), axis), change) in features.zip(&mut answer.axes).zip(&mut changes) {
            let Axis { reach, point, .. } = axis;
            if point.row == reach.origin.row && point.at.abs() < SMALLEST_CHANGE {
                *point = reach.origin;
                continue;
            }
            let key = FeatureIndex(index);
            if let Kind::Category { .. } = feature.kind() {
                let code = reach.level(*point);
                _ = changed.set_level(key, Some(code)).ok()?;
                *change = Some(Change::Level(code));
            } else {
                let place = Place { at: point.at * beyond, ..*point };
                let number = reach.number(feature, feature.edges_of(layout.edges), place);
                _ = changed.set_number(key, number).ok()?;
                let terms = changed.terms().get(feature.term_range())?;
                *point = Place { row: terms.last()?.row, at: reach.position_of(changed.centred(feature)) };
                if *point == reach.origin {
                    // Too near for the record to represent.
                    continue;
                }
                if !reach.is_allowed(number, point.at) {
                    return None;
                }
                *change = Some(Change::Number(number));
            }
            cost += point.cost();
        }
        let (mut lanes, mut score) = ([[0.0; EXPERTS]; 2], Score::<EXPERTS>::new());
        model.forward(&changed, lanes.as_flattened_mut(), &mut score).ok()?;
        self.count_evaluation();
        if score.probability < self.sought || cost >= self.cost {
            return None;
        }
        (self.answer.probability, self.answer.changes) = (score.probability, changes);
        self.axes().for_each(|axis| axis.best = axis.point);
        Some(cost)
    }

    /// Returns the logits with another place of a feature.
    #[inline(never)]
    pub fn with_change(&self, lanes: &Lanes<EXPERTS>, reach: &Reach, place: Place, scale: f32) -> Lanes<EXPERTS> {
        let mut changed = [[0.0; EXPERTS]; 2];
        let row = self.model.row_of(changed.as_flattened_mut());
        copy(lanes, row);
        self.model.add_change(reach, place, scale, row);
        changed
    }
}

/// Copies the lanes in use; the capacity of the build may be much larger.
fn copy<const EXPERTS: usize>(lanes: &Lanes<EXPERTS>, row: &mut [f32]) {
    for (to, from) in row.iter_mut().zip(lanes.as_flattened()) {
        *to = *from;
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Adds `scale` times the change of the logits from the record's own place of a feature to
    /// another place.
    #[inline(never)]
    fn add_change(&self, reach: &Reach, place: Place, scale: f32, lanes: &mut [f32]) {
        let mut add = |row: u32, scale: f32| {
            for (lane, weight) in lanes.iter_mut().zip(self.row(row)) {
                *lane += scale * weight;
            }
        };
        if reach.unit > 0.0 && place.at != 0.0 {
            add(reach.linear, scale * place.at * reach.unit);
        }
        if place.row != reach.origin.row {
            add(place.row, scale);
            add(reach.origin.row, -scale);
        }
    }
}
