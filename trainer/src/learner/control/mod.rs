//! Holds fairness gaps at targets: one damped Newton-PI controller per pair of an unprivileged
//! group and its reference group.
//!
//! The learner minimises loss subject to `|gap_m| <= target_m` for each measure m. As in the proxy
//! Lagrangian of Cotter et al. (2019), multipliers follow the *hard* decision rates and the model
//! descends a *smooth* surrogate: a force on the score, `dE/dp`, of the records near the threshold
//! (rates) or below it (burden). The differences, with their reasons:
//!
//! - **One signed multiplier per measure, which decays to 0 once the gap is inside the target**
//!   (projected dual ascent). With a dead zone instead, noise ratchets it up until the gap is 0,
//!   which costs accuracy.
//! - **Steps are divided by the plant's gain**: the response of each gap to a unit force, estimated
//!   from the density of scores at the threshold. The same constants then suit any base rate and
//!   spread of scores. The estimate is a matrix over the measures of a pair, since measures such as
//!   SPD and AOD move together. Its diagonal is doubled; otherwise the nearly singular part would
//!   be amplified.
//! - **The pace of a measure is proportional to the square root of the share of its rarest cell**:
//!   a rate over 1 % of the records is known, and steered, ten times more slowly. (With the share
//!   itself, AOD took 60,000 rows of Adult to settle; without any such pace it swings.) But the
//!   pace never exceeds the rate at which that cell becomes known: without this bound a group of
//!   271 rows (race `Other` of Adult, `spd=0.05`) ended up to 0.09 past equality on the other side;
//!   with it the group stayed 0.05 short of equality, and the model lost less accuracy.
//! - **Only records whose group is known are pushed**, so the expected response to a force is
//!   reduced by their share of all records.
//! - **Forces are weighted by the inverse shares of the cells, scaled so that they sum to 1**: no
//!   record of a tiny group gets a step a hundred times the usual one, and multipliers mean the
//!   same for all group sizes.
//! - **Forces depend on the observed label**, although forces by the score would have half the
//!   noise. If constraints contradict each other (SPD and AOD with unequal base rates, TPR and FPR
//!   gaps of opposite sign), only the label separates the records on which both can be met.
//! - **The coupling of loops is taken into account**: pairs of one attribute share the force on
//!   their reference group, and the assumed gain grows with the number of attributes. Otherwise
//!   several controllers answer the same gap at once: with three pairs in one attribute gaps swung
//!   by 0.1 for 30,000 rows.
//! - **Equalised odds hold the TPR gap and the FPR gap** within the target, each separately.
//! - **Impact is held as a statistical parity difference**: a ratio of the selection rates of at
//!   least `t` is a difference of at most `1 - t` times the current larger rate.
//! - **Recourse burden is moved only through the boundary**: forces below the threshold would
//!   rescale scores. A group's log-odds are shifted as a whole, those of the reference group the
//!   other way. The burden is estimated from the log-odds that each declined record lacks to the
//!   threshold, times the distance per unit of log-odds, which the engine measures on a sample (see
//!   [`crate::training::distance`]).
//! - **A gain schedule**: the integral gain is higher in a pair's first records, and again after a
//!   detected drift of its gap.
//! - **If one gap of rates is held and protected columns are features,** the weight rows of these
//!   columns take most of the force: they shift a group and leave the order within it unchanged. On
//!   five splits of Adult's training file at `spd=0.05`: accuracy 0.8593 at an SPD of 0.050,
//!   against 0.8567 at 0.044 with the same force on all weight rows; the best two thresholds, found
//!   on the rows judged, reach 0.8602 at 0.050. At `spd=0.01` 0.8522 against 0.8485. Other weight
//!   rows keep part of the force: with force on those of the protected column alone, a relationship
//!   such as `Wife` takes the shift back (SPD 0.17). Two gaps, such as those of equalised odds or
//!   SPD with AOD, need the label: there the same force on all weight rows is better (AOD 0.027
//!   against 0.088).
//! - **Burden forces shift both groups' scores by the same amount**, so that neither group's
//!   calibration bears all of the shift. They fade near the threshold: a record pushed over the
//!   threshold leaves the average and undoes the effect.
//!
//! Decisions are those of the deciding average (see `mixture`). If the current weights were
//! controlled, which respond sooner, the exported model would miss its targets: steps leave the
//! current weights noisy, and noisy decisions are more alike between groups.

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

/// Share of the target that is aimed for; the rest is a margin for the noise of future decisions. A
/// gap inside the target has no force at all: pushing on to 0 cost 0.005 of accuracy on Adult at
/// `spd=0.1`.
static AIM: Tuned<f32> = tuned!(0.85, 0.7, 1.0);
/// The same for the recourse burden, which is known less well: its distances come from a sample.
static RECOURSE_AIM: Tuned<f32> = tuned!(0.85, 0.7, 1.0);
/// Integral gain, per record and square root of the share of the rarest cell.
static INTEGRAL: Tuned<f32> = tuned!(1.5e-3);
/// Largest pace, per share of the rarest cell. It is not much faster than the rate of that cell
/// becomes known, which is a mean over its last 100 records.
static FASTEST: Tuned<f32> = tuned!(25.0);
/// Up to these numbers of records, of the pair and of the rarest cell, the integral gain is raised
/// in proportion: at the start of a stream the multipliers are unknown.
static EARLY_RECORDS: Tuned<f32> = tuned!(14_000.0);
static EARLY_CELL: Tuned<f32> = tuned!(1000.0);
/// Number of records a pair is set back to after a drift of its gap: the multipliers found so far
/// no longer fit.
static RECORDS_AFTER_DRIFT: Tuned<u64> = tuned!(2000);
/// Proportional gain on the part of a gap beyond its target.
static PROPORTIONAL: Tuned<f32> = tuned!(10.0);
/// Slope of the surrogate `1 / (1 + exp(-slope (p - threshold)))`: forces reach scores within about
/// 0.2 of the threshold; other scores keep their calibration.
static SLOPE: Tuned<f32> = tuned!(10.0);
/// Largest force on a record. A force f moves the score at the threshold by up to f / 4, so a
/// larger bound would only allow overflow.
static LARGEST_FORCE: Tuned<f32> = tuned!(8.0);
/// Number of records in a cell at which its gap gets half its weight.
static HALF_TRUST: Tuned<f32> = tuned!(50.0);
/// Added to the response of a group's mean score to a burden force, for groups whose scores are all
/// near 0.
static SMALLEST_SCORE_RESPONSE: Tuned<f32> = tuned!(0.01);
/// Added to the gain. If few scores are near the threshold (base rates of a few per cent), the
/// noise of the rates divided by the gain would become a large force.
static SMALLEST_GAIN: Tuned<f32> = tuned!(7e-3);

/// Lower scores count as this one when log-odds are taken: a few very low scores must not dominate
/// a mean.
static SMALLEST_SCORE: Tuned<f32> = tuned!(1e-4);

/// Smallest divisor used for the share of records whose group is known.
const SMALLEST_KNOWN: f32 = 0.02;

/// Factors of the force on the weight rows of protected columns, and on all others. They apply if a
/// single gap of rates is held, which a shift of whole groups can meet.
static OF_GROUP_ROWS: Tuned<f32> = tuned!(5.0);
static OF_OTHER_ROWS: Tuned<f32> = tuned!(0.5, 0.25, 1.0);

/// A pair's weights and gains are planned at each of its first records, then at intervals.
static PLAN_FIRST: Tuned<u64> = tuned!(64);
static PLAN_EVERY: Tuned<u64> = tuned!(16);

/// Number of held quantities; equalised odds are two of them.
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
    /// Returns the quantities that are held for a measure.
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

    /// Returns the derivative of the measure in the decision rates of label 0 and 1 of a group with
    /// these shares of the cells.
    fn coefficients(self, [negative, positive]: [f32; 2]) -> [f32; 2] {
        match self {
            Self::Spd => [negative / (negative + positive), positive / (negative + positive)],
            Self::Aod => [0.5, 0.5],
            Self::Tpr => [0.0, 1.0],
            Self::Fpr => [1.0, 0.0],
            Self::Burden | Self::Recourse => [0.0, 0.0],
        }
    }

    /// Returns the force on a record of each label for a multiplier of 1, up to the common scale:
    /// the derivative of the gap in the score of one record.
    ///
    /// Burden: the inverse of the response of the group's mean score, so that the means of both
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

    /// Returns the share of the rarest cell that the gap depends on.
    fn rarest(self, u: [f32; 2], r: [f32; 2]) -> f32 {
        let whole = |s: [f32; 2]| s[0] + s[1];
        match self {
            Self::Spd | Self::Burden | Self::Recourse => whole(u).min(whole(r)),
            Self::Aod => u[0].min(u[1]).min(r[0]).min(r[1]),
            Self::Tpr => u[1].min(r[1]),
            Self::Fpr => u[0].min(r[0]),
        }
    }

    /// Returns the number of records behind the least known rate of the gap.
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

/// Force weights of the held quantities, by label, of one group of a pair.
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
                // Recourse is known last and least. It must not depend on the forces of others: at
                // times it would reverse its own force because of them.
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
    /// By group; the entry of the reference group is never used.
    pairs: Vec<Pair>,
    /// Share of the records whose group is known.
    known: Fading,
}

/// The other controllers that push the same scores as a pair.
#[derive(Clone, Copy, Debug)]
struct Coupling {
    /// Number of pairs that share the reference group, this one included. Each has its part of the
    /// reference's force; otherwise all together would make it swing.
    pairs: usize,
    /// Number of attributes, this one included: each is expected to move the same records by as
    /// much.
    attributes: usize,
    /// Share of the records whose group is known: only these are pushed.
    known: f32,
    /// Mean share of a force that most weight rows take.
    taken: f32,
}

/// The controller of one group against its reference group; arrays are in the order of the held
/// quantities.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pair {
    multipliers: [f32; HELD],
    /// Records of the pair so far.
    records: u64,
    /// Force weights of the group and of the reference, as of the last plan.
    weights: [Weights; 2],
    /// Factor of the diagonal of the gains, as of the last plan: 1, plus 1 for every attribute
    /// whose controllers move the same scores.
    damping: f32,
    /// How far each gap falls under a unit of each force, as of the last plan.
    gains: [[f32; HELD]; HELD],
    /// Pace of each multiplier, as of the last plan.
    paces: [f32; HELD],
}

/// All controllers of a learner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Controller {
    /// The held quantities, each with the largest gap aimed for; at most [`HELD`].
    held: Vec<(Held, f32)>,
    /// With a ratio of the selection rates as a target: the largest SPD aimed for, as a share of
    /// the larger rate.
    impact: Option<f32>,
    attributes: Vec<Attribute>,
    /// Share of the records for which the weight rows of protected columns take the force.
    reached: Fading,
}

impl Controller {
    pub(super) fn new(targets: &[(Measure, f32)], attributes: usize) -> Self {
        let (mut held, mut impact): (Vec<(Held, f32)>, _) = (Vec::new(), None);
        for (measure, limit) in targets {
            let share = if *measure == Measure::RecourseBurden { RECOURSE_AIM.get() } else { AIM.get() };
            let mut aim = share * measure.allowance(*limit);
            if *measure == Measure::Impact {
                // A difference of rates never exceeds 1, so this sets no limit of its own.
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

    /// Returns whether a deserialised controller is valid for these targets and attributes.
    pub(super) fn is_sound(&self, targets: &[(Measure, f32)], attributes: usize) -> bool {
        let new = Self::new(targets, attributes);
        (&self.held, self.impact) == (&new.held, new.impact) && self.attributes.len() == attributes
    }

    /// Returns the whole state that steers, for tests, without the share of records whose group is
    /// known.
    #[cfg(test)]
    pub(super) fn steers(&self) -> Vec<u8> {
        let state: Vec<_> = self.attributes.iter().map(|attribute| (&attribute.groups, &attribute.pairs)).collect();
        postcard::to_stdvec(&state).unwrap_or_default()
    }

    /// Returns whether the distances of declined records are needed.
    pub(super) fn holds_recourse(&self) -> bool {
        self.held.iter().any(|(held, _)| *held == Held::Recourse)
    }

    /// Splits a force: returns the force on all weight rows and the force that the weight rows of
    /// protected columns take beyond it. `reveal_group` is whether the record has any such weight
    /// row.
    pub(super) fn share(&mut self, force: f32, reveal_group: bool) -> [f32; 2] {
        let by_shift = matches!(self.held[..], [(Held::Spd | Held::Aod | Held::Tpr | Held::Fpr, _)]);
        let is_apart = by_shift && reveal_group;
        self.reached.observe_slowly(if is_apart { 1.0 } else { 0.0 });
        if is_apart {
            [OF_OTHER_ROWS.get() * force, (OF_GROUP_ROWS.get() - OF_OTHER_ROWS.get()) * force]
        } else {
            [force, 0.0]
        }
    }

    /// Adds the distance of a declined record to the decision boundary, by the deciding score.
    pub(super) fn observe_distance(&mut self, groups: &[u8], threshold: f32, decisive: f32, distance: f32) {
        let log_odds = missing_log_odds(decisive, threshold);
        for (attribute, group) in self.attributes.iter_mut().zip(groups) {
            if let Some(group) = attribute.groups.get_mut(usize::from(*group)) {
                group.recourse.observe_distance(log_odds, distance);
            }
        }
    }

    /// Returns the recourse burden gap that steers a group, by index of attribute and group; NaN
    /// until there are distances of both groups.
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

    /// Adds a scored record and returns the force on its score, to be added to `dE/dp`.
    ///
    /// `decisive` is the score that decides by the threshold, `current` the one that the next step
    /// changes. Records with [`NO_GROUP`] neither count nor are pushed.
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
    /// Estimates what changes slowly: the weights, the plant's gains and the paces.
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
        // The active set: every quantity with a multiplier other than 0 or a gap outside the
        // target.
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
            // A multiplier that would pass 0 ends at 0: it acts on one side of its target only.
            self.multipliers[i] = if self.multipliers[i] * moved < 0.0 { 0.0 } else { moved };
            total[i] += push;
        }
        // Prevents wind-up: multipliers stop where a force would exceed its bound.
        let largest = largest_force(held, &self.multipliers, &self.weights);
        if largest > LARGEST_FORCE.get() {
            self.multipliers.iter_mut().for_each(|multiplier| *multiplier *= LARGEST_FORCE.get() / largest);
        }
        for (total, multiplier) in total.iter_mut().zip(&self.multipliers) {
            *total += multiplier;
        }
    }

    /// Returns the gains between the first `n` of `which`, with the diagonal at least doubled;
    /// otherwise the nearly singular part would be amplified.
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

/// Solves `a x = b` in the first `n` unknowns by elimination with row exchange. An unknown without
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

/// Returns the natural log-odds that a score lacks to the threshold; 0 from the threshold on.
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
