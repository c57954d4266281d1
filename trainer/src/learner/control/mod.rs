//! Holds fairness gaps at targets: one damped Newton-PI controller per pair of an unprivileged
//! group and its reference.
//!
//! The learner minimises loss subject to `|gap_m| <= target_m` for each measure m. As in the proxy
//! Lagrangian of Cotter et al. (2019), multipliers follow the *hard* decision rates and the model
//! descends a *smooth* surrogate: a force on the score, `dE/dp`, of the records near the threshold
//! (rates) or below it (burden). What differs, and why:
//!
//! - **One multiplier per measure, signed, drawn back to 0 once the gap is inside the target**
//!   (projected dual ascent). With a dead zone instead, noise ratchets it up until the gap is 0,
//!   which costs accuracy.
//! - **Steps are divided by the plant's gain**: how much each gap answers to a unit force,
//!   estimated from the density of scores at the threshold. The same constants then serve any base
//!   rate and spread of scores. The estimate is a matrix over the measures of a pair, since SPD and
//!   AOD, say, move together: its diagonal is doubled, or the nearly singular part would be
//!   amplified.
//! - **The clock of a measure runs with the root of the share of its rarest cell**: a rate over 1 %
//!   of the records is known, and steered, ten times more slowly. (With the share itself, AOD took
//!   60,000 rows of Adult to settle, with no clock at all it swings.)
//!   But never faster than the rate of that cell is known: without this bound a group of 271 rows
//!   (race `Other` of Adult, `spd=0.05`) ended up to 0.09 past equality on the other side, with it
//!   0.05 short of it, and the model lost less accuracy.
//! - **Only records whose group is known are pushed**, so that the answer to a force is taken for
//!   as much smaller as they are fewer.
//! - **Forces are weighed by the inverse shares of the cells, scaled so that they sum to 1**: no
//!   record of a tiny group gets a step a hundred times the usual, and multipliers mean the same
//!   for all group sizes.
//! - **Forces go by the label that came**, though going by the score instead would halve their
//!   noise: where constraints contradict each other (SPD and AOD with unequal base rates, TPR and
//!   FPR gaps of opposite sign) only the label separates the records on which both can be met.
//! - **The coupling of loops is taken into account**: pairs of one attribute share the force on
//!   their reference, and the gain is taken for larger by as many attributes as there are.
//!   Otherwise several controllers answer the same gap at once: with three pairs in one attribute
//!   gaps swung by 0.1 for 30,000 rows.
//! - **Equalised odds hold the TPR gap and the FPR gap** within the target, each by itself.
//! - **Impact is held as a statistical parity difference**: a ratio of the selection rates of at
//!   least `t` is a difference of at most `1 - t` times the larger rate, as it is at the time.
//! - **Recourse burden moves with the boundary only**: forces below the threshold would rescale
//!   scores. A group's log-odds are shifted as a whole, the reference's the other way. It is seen
//!   by the log-odds missing to the threshold, of every declined record, times the distance that a
//!   unit of them is worth, which the engine measures on a sample (see
//!   [`crate::training::distance`]).
//! - **A gain schedule**: the integral gain is higher in a pair's first rows, and again after a
//!   detected drift of its gap.
//! - **Where one gap of rates is held and protected columns are features,** their rows take most of
//!   the force: they shift a group and leave the order within it alone. On five splits of Adult's
//!   training file at `spd=0.05`: accuracy 0.8593 at an SPD of 0.050, 0.8567 at 0.044 with the same
//!   force on all rows; the best two thresholds, found on the rows judged, reach 0.8602 at 0.050.
//!   At `spd=0.01` 0.8522 for 0.8485. Others keep a part: on rows of the protected column alone a
//!   relationship such as `Wife` takes the shift back (SPD 0.17). Two gaps, such as those of
//!   equalised odds or SPD with AOD, need the label: there the same force on all rows is better
//!   (AOD 0.027 for 0.088).
//! - **Burden forces shift both groups' scores by the same amount**, so that neither group's
//!   calibration bears all of it, and fade near the threshold: a record pushed over it leaves the
//!   average and undoes the work.
//!
//! Decisions are those of the deciding average (see `mixture`). Controlled on the current weights,
//! which answer sooner, the exported model misses its targets: steps leave the current weights
//! noisy, and noisy decisions are more alike between groups.

mod forces;
mod merge;
mod steering;

use crate::tuned::{Tuned, tuned};
use feamoe_engine::fairness::{Measure, Rates};
use serde::{Deserialize, Serialize};

use super::rates::{Fading, Group, Groups, Scored};
use crate::encoder::NO_GROUP;
use forces::{Forces, largest_force};
pub use steering::Steering;

/// Share of the target that is aimed at: the rest is for the noise of the decisions to come. What
/// is inside the target has no force at all: pushing on to 0 cost 0.005 of accuracy on Adult at
/// `spd=0.1`.
static AIM: Tuned<f32> = tuned!(0.85, 0.7, 1.0);
/// The same for the recourse burden, of which less is known: distances are those of a sample.
static RECOURSE_AIM: Tuned<f32> = tuned!(0.85, 0.7, 1.0);
/// Integral gain, per record and root of the share of the rarest cell.
static INTEGRAL: Tuned<f32> = tuned!(1.5e-3);
/// Largest pace, per share of the rarest cell: not much faster than its rate is known, which is a
/// mean over its last 100 records.
static FASTEST: Tuned<f32> = tuned!(25.0);
/// Records of the pair, and of the rarest cell, until which the integral gain is raised, in
/// proportion: a stream's first rows know nothing of the multipliers.
static EARLY_RECORDS: Tuned<f32> = tuned!(14_000.0);
static EARLY_CELL: Tuned<f32> = tuned!(1000.0);
/// Records that a pair counts as having seen after a drift of its gap: what the multipliers were
/// found for no longer holds.
static RECORDS_AFTER_DRIFT: Tuned<u64> = tuned!(2000);
/// Proportional gain on what passes the target.
static PROPORTIONAL: Tuned<f32> = tuned!(10.0);
/// Slope of the surrogate `1 / (1 + exp(-slope (p - threshold)))`: forces reach scores within about
/// 0.2 of the threshold, others keep their calibration.
static SLOPE: Tuned<f32> = tuned!(10.0);
/// Largest force on a record. A force f moves the score at the threshold by up to f / 4; a larger
/// one would only overflow.
static LARGEST_FORCE: Tuned<f32> = tuned!(8.0);
/// Records of a cell at which its gap gets half its weight.
static HALF_TRUST: Tuned<f32> = tuned!(50.0);
/// Added to the answer of a group's mean score to a burden force, for groups whose scores are all
/// near 0.
static SMALLEST_SCORE_RESPONSE: Tuned<f32> = tuned!(0.01);
/// Added to the gain. Where few scores are near the threshold (base rates of a few per cent) the
/// noise of the rates, divided by the gain, would become a large force.
static SMALLEST_GAIN: Tuned<f32> = tuned!(7e-3);

/// Scores below it count as it where their log-odds are taken: a few sure ones must not be all
/// there is to a mean.
static SMALLEST_SCORE: Tuned<f32> = tuned!(1e-4);

/// Smallest share of records with a group used as a divisor.
const SMALLEST_KNOWN: f32 = 0.02;

/// Where a shift of whole groups meets what is held: how much of a force the rows of protected
/// columns take, and how much all others.
static OF_GROUP_ROWS: Tuned<f32> = tuned!(5.0);
static OF_OTHER_ROWS: Tuned<f32> = tuned!(0.5, 0.25, 1.0);

/// A pair's weights and gains are planned anew at each of its first records, then now and then.
static PLAN_FIRST: Tuned<u64> = tuned!(64);
static PLAN_EVERY: Tuned<u64> = tuned!(16);

/// Quantities held; equalised odds are two of them.
const HELD: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Held {
    Spd,
    Aod,
    Tpr,
    Fpr,
    Burden,
    Recourse,
}

impl Held {
    /// What is held for a measure.
    fn of(measure: Measure) -> &'static [Self] {
        match measure {
            Measure::Spd | Measure::Impact => &[Self::Spd],
            Measure::Aod => &[Self::Aod],
            Measure::Eodds => &[Self::Tpr, Self::Fpr],
            Measure::Eopp => &[Self::Tpr],
            Measure::Burden => &[Self::Burden],
            Measure::RecourseBurden => &[Self::Recourse],
        }
    }

    fn gap(self, u: &Rates, r: &Rates) -> f32 {
        match self {
            Self::Spd => Measure::Spd.gap(u, r),
            Self::Aod => Measure::Aod.gap(u, r),
            Self::Tpr => Measure::Eopp.gap(u, r),
            Self::Fpr => u.false_positive - r.false_positive,
            Self::Burden => Measure::Burden.gap(u, r),
            Self::Recourse => Measure::RecourseBurden.gap(u, r),
        }
    }

    /// Derivative of the measure in the decision rates of label 0 and 1 of a group with these
    /// shares of the cells.
    fn coefficients(self, [negative, positive]: [f32; 2]) -> [f32; 2] {
        match self {
            Self::Spd => [negative / (negative + positive), positive / (negative + positive)],
            Self::Aod => [0.5, 0.5],
            Self::Tpr => [0.0, 1.0],
            Self::Fpr => [1.0, 0.0],
            Self::Burden | Self::Recourse => [0.0, 0.0],
        }
    }

    /// Force on a record of each label, for a multiplier of 1, up to the common scale: the
    /// derivative of the gap in the score of one record.
    ///
    /// Burden: the inverse of the answer of the group's mean score, so that the means of both
    /// groups move alike. Recourse: a shift of the log-odds, the same for both.
    fn weights(self, group: &Group, shares: [f32; 2]) -> [f32; 2] {
        match self {
            Self::Burden => return [1.0 / (group.score_response() + SMALLEST_SCORE_RESPONSE.get()); 2],
            Self::Recourse => return [1.0; 2],
            _ => {}
        }
        let [negative, positive] = self.coefficients(shares);
        [negative / shares[0], positive / shares[1]]
    }

    /// Share of the rarest cell that the gap needs.
    fn rarest(self, u: [f32; 2], r: [f32; 2]) -> f32 {
        let whole = |s: [f32; 2]| s[0] + s[1];
        match self {
            Self::Spd | Self::Burden | Self::Recourse => whole(u).min(whole(r)),
            Self::Aod => u[0].min(u[1]).min(r[0]).min(r[1]),
            Self::Tpr => u[1].min(r[1]),
            Self::Fpr => u[0].min(r[0]),
        }
    }

    /// Records behind the least known rate of the gap.
    fn least_count(self, u: &Group, r: &Group) -> f32 {
        let ([u0, u1, ub], [r0, r1, rb]) = (u.least_count(), r.least_count());
        match self {
            Self::Spd => (u0 + u1).min(r0 + r1),
            Self::Aod => u0.min(u1).min(r0).min(r1),
            Self::Tpr => u1.min(r1),
            Self::Fpr => u0.min(r0),
            Self::Burden => ub.min(rb),
            Self::Recourse => u.recourse.distance.count.min(r.recourse.distance.count),
        }
    }
}

/// Force weights of what is held, by label, of one group of a pair.
type Weights = [[f32; 2]; HELD];

fn dot(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// Adds to `gains` how far each gap (first index) falls under a unit of each force (second index)
/// on the records of a group.
fn add_responses(
    gains: &mut [[f32; HELD]; HELD],
    held: &[(Held, f32)],
    group: &Group,
    shares: [f32; 2],
    weights: &Weights,
) {
    let means = |cells: [Fading; 2]| cells.map(|cell| cell.mean);
    let rate_response = group.rate_response.map(means);
    let (rate_to_burden, burden_to_rate) = (means(group.rate_response_to_burden), means(group.burden_response_to_rate));
    for ((gap, _), row) in held.iter().zip(gains) {
        let of = gap.coefficients(shares);
        for (((force, _), weights), gain) in held.iter().zip(weights).zip(row) {
            *gain += match (gap, force) {
                (Held::Burden, Held::Burden) => group.burden_response.mean * weights[0],
                (Held::Burden, Held::Recourse) => group.recourse.burden_response.mean * weights[0],
                (Held::Burden, _) => -dot(burden_to_rate, *weights),
                (Held::Recourse, Held::Recourse) => group.recourse.response() * weights[0],
                // Known last and least: it must not lean on the forces of others, which it would at
                // times turn its own force round for.
                (Held::Recourse, _) => 0.0,
                (_, Held::Recourse) => -dot(of, means(group.recourse.rate_response)) * weights[0],
                // Burden forces raise the scores that rate forces would lower.
                (_, Held::Burden) => -dot(of, rate_to_burden) * weights[0],
                (_, _) => dot(of, rate_response.map(|row| dot(row, *weights))),
            };
        }
    }
}

/// The controllers of one protected attribute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Attribute {
    groups: Groups,
    /// By group; that of the reference is never used.
    pairs: Vec<Pair>,
    /// Share of the records whose group is known.
    known: Fading,
}

/// Who else pushes the scores that a pair pushes.
#[derive(Clone, Copy, Debug)]
struct Coupling {
    /// The pairs that share its reference, itself included: each has its part of the reference's
    /// force, else all of them together would swing it.
    pairs: usize,
    /// The attributes, its own included: each moves the same records, by as much as this one
    /// expects to.
    attributes: usize,
    /// Share of the records whose group is known: only these are pushed.
    known: f32,
    /// Part of a force that most rows take.
    taken: f32,
}

/// The controller of one group against its reference; arrays in the order of what is held.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pair {
    multipliers: [f32; HELD],
    /// Records of the pair so far.
    records: u64,
    /// Force weights of the group and of the reference, as of the last plan.
    weights: [Weights; 2],
    /// What the diagonal of the gains is multiplied with, as of the last plan: 1, and 1 more for
    /// every attribute whose controllers move the same scores.
    damping: f32,
    /// How far each gap falls under a unit of each force, as of the last plan.
    gains: [[f32; HELD]; HELD],
    /// Pace of each multiplier, as of the last plan.
    paces: [f32; HELD],
}

/// All controllers of a learner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Controller {
    /// What is held, each with the largest gap aimed at; at most [`HELD`].
    held: Vec<(Held, f32)>,
    /// Where a ratio of the selection rates is a target: the largest SPD aimed at, as a part of the
    /// larger rate.
    impact: Option<f32>,
    attributes: Vec<Attribute>,
    /// Share of the records whose force the rows of protected columns take.
    reached: Fading,
}

impl Controller {
    pub(super) fn new(targets: &[(Measure, f32)], attributes: usize) -> Self {
        let (mut held, mut impact): (Vec<(Held, f32)>, _) = (Vec::new(), None);
        for (measure, limit) in targets {
            let share = if *measure == Measure::RecourseBurden { RECOURSE_AIM.get() } else { AIM.get() };
            let mut aim = share * measure.allowance(*limit);
            if *measure == Measure::Impact {
                // A difference of rates is never past 1: no limit of its own.
                impact = Some(std::mem::replace(&mut aim, 1.0));
            }
            for kind in Held::of(*measure) {
                match held.iter_mut().find(|(other, _)| other == kind) {
                    Some((_, target)) => *target = target.min(aim),
                    None => held.push((*kind, aim)),
                }
            }
        }
        Self { held, impact, attributes: vec![Attribute::default(); attributes], reached: Fading::default() }
    }

    /// Returns whether a stored controller can be one that was made of these.
    pub(super) fn is_sound(&self, targets: &[(Measure, f32)], attributes: usize) -> bool {
        let new = Self::new(targets, attributes);
        (&self.held, self.impact) == (&new.held, new.impact) && self.attributes.len() == attributes
    }

    /// Returns all that steers, for tests: without the share of records whose group is known.
    #[cfg(test)]
    pub(super) fn steers(&self) -> Vec<u8> {
        let state: Vec<_> = self.attributes.iter().map(|attribute| (&attribute.groups, &attribute.pairs)).collect();
        postcard::to_stdvec(&state).unwrap_or_default()
    }

    /// Returns whether the distances of declined records are wanted.
    pub(super) fn holds_recourse(&self) -> bool {
        self.held.iter().any(|(held, _)| *held == Held::Recourse)
    }

    /// Returns a force as all rows take it, and what the rows of protected columns take beyond it;
    /// `tell_group`: whether the record has any.
    pub(super) fn share(&mut self, force: f32, tell_group: bool) -> [f32; 2] {
        let by_shift = matches!(self.held[..], [(Held::Spd | Held::Aod | Held::Tpr | Held::Fpr, _)]);
        let is_apart = by_shift && tell_group;
        self.reached.observe_slowly(if is_apart { 1.0 } else { 0.0 });
        if is_apart {
            [OF_OTHER_ROWS.get() * force, (OF_GROUP_ROWS.get() - OF_OTHER_ROWS.get()) * force]
        } else {
            [force, 0.0]
        }
    }

    /// Takes note of the distance of a declined record to the decision boundary, by the deciding
    /// score.
    pub(super) fn observe_distance(&mut self, groups: &[u8], threshold: f32, decisive: f32, distance: f32) {
        let log_odds = missing_log_odds(decisive, threshold);
        for (attribute, group) in self.attributes.iter_mut().zip(groups) {
            if let Some(group) = attribute.groups.get_mut(usize::from(*group)) {
                group.recourse.observe_distance(log_odds, distance);
            }
        }
    }

    /// Returns the recourse burden gap of a group, by index of attribute and group, as it is
    /// steered by; NaN before there are distances of both.
    pub(super) fn recourse_gap(&self, [attribute, group]: [usize; 2]) -> f32 {
        let groups = self.attributes.get(attribute).map(|attribute| &attribute.groups);
        let pair = groups.and_then(|groups| Some((groups.get(group)?, groups.get(0)?)));
        let known = pair.filter(|(u, r)| u.recourse.distance.count > 0.0 && r.recourse.distance.count > 0.0);
        known.map_or(f32::NAN, |(u, r)| Measure::RecourseBurden.gap(&u.rates(), &r.rates()))
    }

    /// Raises the integral gain of a group's controllers for a while, after a drift of its gap to
    /// the reference.
    pub(super) fn raise_gain(&mut self, attribute: usize, group: usize) {
        if let Some(attribute) = self.attributes.get_mut(attribute) {
            attribute.raise_gain(group);
        }
    }

    /// Takes note of a scored record and returns the force on its score: what to add to `dE/dp`.
    ///
    /// `decisive` is the score that decides by the threshold, `current` the one that the next step
    /// changes. Groups of [`NO_GROUP`] neither count nor push.
    pub(super) fn observe(&mut self, groups: &[u8], label: bool, threshold: f32, [decisive, current]: [f32; 2]) -> f32 {
        if self.held.is_empty() {
            return 0.0;
        }
        let q = logistic(SLOPE.get() * (current - threshold));
        let nearness = 4.0 * q * (1.0 - q);
        let scored = Scored {
            label,
            decisive,
            current,
            threshold,
            nearness,
            below: if current < threshold { 1.0 - nearness } else { 0.0 },
            density: 0.25 * SLOPE.get() * nearness,
            log_odds: self.holds_recourse().then(|| missing_log_odds(decisive, threshold)),
        };
        let (mut force, attributes) = (0.0, self.attributes.len());
        let taken = 1.0 - (1.0 - OF_OTHER_ROWS.get()) * self.reached.mean;
        for (attribute, group) in self.attributes.iter_mut().zip(groups) {
            attribute.known.observe_slowly(if *group == NO_GROUP { 0.0 } else { 1.0 });
            if *group != NO_GROUP {
                force +=
                    attribute.observe(usize::from(*group), &scored, (attributes, taken), (&self.held, self.impact));
            }
        }
        force
    }
}

impl Attribute {
    /// Raises the integral gain of a pair again.
    fn raise_gain(&mut self, group: usize) {
        if let Some(pair) = self.pairs.get_mut(group) {
            pair.records = pair.records.min(RECORDS_AFTER_DRIFT.get());
        }
    }

    fn observe(
        &mut self,
        group: usize,
        scored: &Scored,
        (attributes, taken): (usize, f32),
        (held, impact): (&[(Held, f32)], Option<f32>),
    ) -> f32 {
        self.groups.observe(group, scored);
        self.pairs.resize_with(self.groups.len(), Pair::default);
        let unprivileged = if group == 0 { 1..self.groups.len() } else { group..group + 1 };
        let mut force = 0.0;
        for u in unprivileged {
            if let (Some(known), Some(reference), Some(pair)) =
                (self.groups.get(u), self.groups.get(0), self.pairs.get_mut(u))
            {
                if pair.records < PLAN_FIRST.get() || pair.records.is_multiple_of(PLAN_EVERY.get()) {
                    let shares = [self.groups.shares(known), self.groups.shares(reference)];
                    let share_known = self.known.mean.max(SMALLEST_KNOWN);
                    let coupling = Coupling { pairs: self.groups.len() - 1, attributes, known: share_known, taken };
                    pair.plan([known, reference], shares, coupling, held);
                }
                pair.records = pair.records.saturating_add(1);
                force += pair.steer([known, reference], (held, impact), scored, group == 0);
            }
        }
        force
    }
}

impl Pair {
    /// Estimates what changes slowly: the weights, the plant's gains, the clocks.
    fn plan(&mut self, [u, r]: [&Group; 2], shares: [[f32; 2]; 2], coupling: Coupling, held: &[(Held, f32)]) {
        let part = 1.0 / coupling.pairs as f32;
        self.damping = 1.0 + coupling.attributes as f32;
        for (i, (kind, _)) in held.iter().enumerate() {
            let of = [kind.weights(u, shares[0]), kind.weights(r, shares[1]).map(|weight| weight * part)];
            let scale = 1.0 / (of[0][0].max(of[0][1]) + of[1][0].max(of[1][1]));
            self.weights[0][i] = of[0].map(|weight| weight * scale);
            self.weights[1][i] = of[1].map(|weight| weight * scale);
            let rarest = kind.rarest(shares[0], shares[1]);
            let schedule = 1.0
                + coupling.known * EARLY_CELL.get() / (kind.least_count(u, r) + 1.0)
                + coupling.known * EARLY_RECORDS.get() / (self.records as f32 + 1.0);
            self.paces[i] = INTEGRAL.get() * (rarest.sqrt() * schedule).min(FASTEST.get() * rarest);
        }
        self.gains = Default::default();
        add_responses(&mut self.gains, held, u, shares[0], &self.weights[0]);
        add_responses(&mut self.gains, held, r, shares[1], &self.weights[1]);
        self.gains.iter_mut().flatten().for_each(|gain| *gain *= coupling.known * coupling.taken);
    }

    /// Moves the multipliers by one record and returns the force on that record.
    fn steer(
        &mut self,
        [u, r]: [&Group; 2],
        (held, impact): (&[(Held, f32)], Option<f32>),
        scored: &Scored,
        is_reference: bool,
    ) -> f32 {
        let (u_rates, r_rates) = (u.rates(), r.rates());
        let (mut gaps, mut trusts, mut limits) = ([0.0; HELD], [0.0; HELD], [0.0; HELD]);
        for (i, (kind, limit)) in held.iter().enumerate() {
            limits[i] = match impact.filter(|_| *kind == Held::Spd) {
                Some(part) => limit.min(part * u_rates.positive.max(r_rates.positive)),
                None => *limit,
            };
            let count = kind.least_count(u, r);
            if count > 0.0 {
                gaps[i] = kind.gap(&u_rates, &r_rates);
                trusts[i] = count / (count + HALF_TRUST.get());
            }
        }
        let mut total = [0.0; HELD];
        self.hold(held, &limits, [&gaps, &trusts], &mut total);
        let (weights, sign) = if is_reference { (&self.weights[1], -1.0) } else { (&self.weights[0], 1.0) };
        Forces::new(held, &total, weights, scored.label).on(scored, sign)
    }

    /// Moves the multipliers and adds them, and the proportional part, to the forces.
    fn hold(
        &mut self,
        held: &[(Held, f32)],
        limits: &[f32; HELD],
        [gaps, trusts]: [&[f32; HELD]; 2],
        total: &mut [f32; HELD],
    ) {
        // The active set: what has its multiplier up or its gap outside.
        let (mut active, mut n) = ([0; HELD], 0);
        let (mut integral, mut proportional) = ([0.0; HELD], [0.0; HELD]);
        for (i, target) in limits.iter().copied().enumerate().take(held.len()) {
            let (gap, multiplier) = (gaps[i], self.multipliers[i]);
            let outside = gap - gap.clamp(-target, target);
            if trusts[i] == 0.0 || (multiplier == 0.0 && outside == 0.0) {
                continue;
            }
            let side = if multiplier == 0.0 { gap } else { multiplier };
            integral[n] = self.paces[i] * trusts[i] * (gap - target.copysign(side));
            proportional[n] = PROPORTIONAL.get() * outside;
            active[n] = i;
            n += 1;
        }
        let damped = self.damped(&active, n);
        let step = solve(damped, integral, n);
        let push = solve(damped, proportional, n);
        for ((&i, step), push) in active.iter().zip(step).zip(push).take(n) {
            let moved = self.multipliers[i] + step;
            // Passing 0 ends at 0: a multiplier acts on one side of its target only.
            self.multipliers[i] = if self.multipliers[i] * moved < 0.0 { 0.0 } else { moved };
            total[i] += push;
        }
        // Against wind-up: multipliers stop where a force would pass its bound.
        let largest = largest_force(held, &self.multipliers, &self.weights);
        if largest > LARGEST_FORCE.get() {
            self.multipliers.iter_mut().for_each(|multiplier| *multiplier *= LARGEST_FORCE.get() / largest);
        }
        for (total, multiplier) in total.iter_mut().zip(&self.multipliers) {
            *total += multiplier;
        }
    }

    /// Returns the gains between the first `n` of `which`, the diagonal doubled at least: else the
    /// nearly singular part would be amplified.
    fn damped(&self, which: &[usize; HELD], n: usize) -> [[f32; HELD]; HELD] {
        let mut damped = [[0.0; HELD]; HELD];
        for (row, &i) in damped.iter_mut().zip(which).take(n) {
            for (gain, &j) in row.iter_mut().zip(which).take(n) {
                *gain = if i == j { self.damping * self.gains[i][i] + SMALLEST_GAIN.get() } else { self.gains[i][j] };
            }
        }
        damped
    }
}

/// Solves `a x = b` in the first `n` unknowns by elimination with row exchange; an unknown without
/// a pivot is 0.
fn solve(mut a: [[f32; HELD]; HELD], mut b: [f32; HELD], n: usize) -> [f32; HELD] {
    const SMALLEST_PIVOT: f32 = 1e-12;
    for i in 0..n {
        let pivot = (i..n).fold(i, |best, row| if a[row][i].abs() > a[best][i].abs() { row } else { best });
        a.swap(i, pivot);
        b.swap(i, pivot);
        if a[i][i].abs() < SMALLEST_PIVOT {
            continue;
        }
        let eliminated = a[i];
        for row in i + 1..n {
            let factor = a[row][i] / eliminated[i];
            for (value, above) in a[row].iter_mut().zip(eliminated) {
                *value -= factor * above;
            }
            b[row] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        let known: f32 = (i + 1..n).map(|column| a[i][column] * b[column]).sum();
        b[i] = if a[i][i].abs() < SMALLEST_PIVOT { 0.0 } else { (b[i] - known) / a[i][i] };
    }
    b
}

/// Returns the natural log-odds from a score up to the threshold, 0 past it.
fn missing_log_odds(score: f32, threshold: f32) -> f32 {
    let log_odds = |p: f32| libm::logf(p / (1.0 - p));
    if score < threshold { log_odds(threshold) - log_odds(score.max(SMALLEST_SCORE.get())) } else { 0.0 }
}

fn logistic(x: f32) -> f32 {
    use feamoe_engine::math::{LOG2_E, exp2};
    1.0 / (1.0 + exp2(-LOG2_E * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solve_inverts_a_known_system() {
        let mut a = [[0.0; HELD]; HELD];
        a[0][..3].copy_from_slice(&[0.0, 2.0, 1.0]); // needs the row exchange
        a[1][..3].copy_from_slice(&[1.0, -1.0, 0.0]);
        a[2][..3].copy_from_slice(&[3.0, 0.0, 4.0]);
        let x = solve(a, [7.0, -1.0, 15.0, 0.0, 0.0, 0.0], 3); // of x = (1, 2, 3)
        for (found, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-5, "{x:?}");
        }
    }

    #[test]
    fn eodds_and_eopp_share_the_tighter_target() {
        let controller = Controller::new(&[(Measure::Eodds, 0.1), (Measure::Eopp, 0.05)], 1);
        assert_eq!(controller.held, [(Held::Tpr, AIM.get() * 0.05), (Held::Fpr, AIM.get() * 0.1)]);
    }
}
