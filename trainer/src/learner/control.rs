//! Holds fairness gaps at targets: one damped Newton-PI controller per pair of an unprivileged group and its reference.
//!
//! The learner minimises loss subject to `|gap_m| <= target_m` for each measure m. As in the proxy Lagrangian of Cotter et al. (2019), multipliers
//! follow the *hard* decision rates and the model descends a *smooth* surrogate: a force on the score, `dE/dp`, of the records near the
//! threshold (rates) or below it (burden). What differs, and why:
//!
//! - **One multiplier per measure, signed, drawn back to 0 once the gap is inside the target** (projected dual ascent). With a dead zone instead, noise
//!   ratchets it up until the gap is 0, at the price of accuracy.
//! - **Steps are divided by the plant's gain**: how much each gap answers to a unit force, estimated from the density of scores at the threshold. The same
//!   constants then serve any base rate and spread of scores. The estimate is a matrix over the measures of a pair, since SPD and AOD, say, move
//!   together: its diagonal is doubled, or the nearly singular part would be amplified.
//! - **The clock of a measure runs with the root of the share of its rarest cell**: a rate over 1 % of the records is known, and steered, ten times more
//!   slowly. (With the share itself, AOD took 60,000 rows of Adult to settle, with no clock at all it swings.)
//! - **Forces are weighed by the inverse shares of the cells, scaled so that they sum to 1**: no record of a tiny group gets a step a hundred times the
//!   usual, and multipliers mean the same for all group sizes.
//! - **A fixed price on the gap itself** besides the multiplier: where fairness is cheap the gap then vanishes, where it is dear it stays at the target.
//! - **Burden forces shift both groups' scores by the same amount**, so that neither group's calibration bears all of it, and fade near the threshold: a
//!   record pushed over it leaves the average and undoes the work.
//!
//! Decisions are those of the averaged weights, the ones that are exported. Controlled on the current weights, which answer sooner, the exported model
//! misses its targets: steps leave the current weights noisy, and noisy decisions are more alike between groups.

use feamoe_engine::fairness::{Measure, Rates};
use serde::{Deserialize, Serialize};

use super::rates::{Group, Groups, Scored};
use crate::encoder::NO_GROUP;

/// Share of the target that is aimed at: the rest is for the noise of the decisions to come.
const AIM: f32 = 0.95;
/// The same for equalised odds: it folds signs, so noise adds to it instead of cancelling.
const AIM_FOLDED: f32 = 0.7;
/// Integral gain, per record and root of the share of the rarest cell.
const INTEGRAL: f32 = 2e-3;
/// Records of the rarest cell until which the integral gain is raised, in proportion: a stream's first rows know nothing of the multipliers.
const EARLY: f32 = 1000.0;
/// Proportional gain on what passes the target.
const PROPORTIONAL: f32 = 5.0;
/// Price of a gap, in units of force, and its bound in units of the plant's gain over all held measures (a loop gain: beyond it the delay would make it
/// swing).
const PRICE: f32 = 10.0;
const PRICE_LOOP_GAIN: f32 = 4.0;
/// Slope of the surrogate `1 / (1 + exp(-slope (p - threshold)))`: forces reach scores within about 0.2 of the threshold, others keep their calibration.
const SLOPE: f32 = 10.0;
/// Largest force on a record. A force f moves the score at the threshold by up to f / 4; a larger one would only overflow.
const LARGEST_FORCE: f32 = 8.0;
/// Records of a cell at which its gap gets half its weight.
const HALF_TRUST: f32 = 50.0;
/// Added to the answer of a group's mean score to a burden force, for groups whose scores are all near 0.
const SMALLEST_SCORE_RESPONSE: f32 = 0.01;
/// Added to the gain, for groups without scores near the threshold.
const SMALLEST_GAIN: f32 = 1e-4;

/// Quantities held; equalised odds are two of them.
const HELD: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Spd,
    Aod,
    Tpr,
    Fpr,
    Burden,
}

impl Held {
    const ALL: [Self; HELD] = [Self::Spd, Self::Aod, Self::Tpr, Self::Fpr, Self::Burden];

    fn gap(self, u: &Rates, r: &Rates) -> f32 {
        match self {
            Self::Spd => Measure::Spd.gap(u, r),
            Self::Aod => Measure::Aod.gap(u, r),
            Self::Tpr => Measure::Eopp.gap(u, r),
            Self::Fpr => u.false_positive - r.false_positive,
            Self::Burden => Measure::Burden.gap(u, r),
        }
    }

    /// Derivative of the measure in the decision rates of label 0 and 1 of a group with these shares of the cells.
    fn coefficients(self, [negative, positive]: [f32; 2]) -> [f32; 2] {
        match self {
            Self::Spd => [negative / (negative + positive), positive / (negative + positive)],
            Self::Aod => [0.5, 0.5],
            Self::Tpr => [0.0, 1.0],
            Self::Fpr => [1.0, 0.0],
            Self::Burden => [0.0, 0.0],
        }
    }

    /// Force on a record of each label, for a multiplier of 1, up to the common scale: the derivative of the gap in the score of one record.
    ///
    /// Burden: the inverse of the answer of the group's mean score, so that the means of both groups move alike.
    fn weights(self, group: &Group, shares: [f32; 2]) -> [f32; 2] {
        if self == Self::Burden {
            return [1.0 / (group.score_response() + SMALLEST_SCORE_RESPONSE); 2];
        }
        let [negative, positive] = self.coefficients(shares);
        [negative / shares[0], positive / shares[1]]
    }

    /// Share of the rarest cell that the gap needs.
    fn rarest(self, u: [f32; 2], r: [f32; 2]) -> f32 {
        let whole = |s: [f32; 2]| s[0] + s[1];
        match self {
            Self::Spd | Self::Burden => whole(u).min(whole(r)),
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
        }
    }
}

/// One side of a pair: force weights by measure and label, and the fall of each gap (first index) under a unit of each force (second).
struct Side {
    weights: [[f32; 2]; HELD],
    response: [[f32; HELD]; HELD],
}

impl Side {
    fn new(group: &Group, shares: [f32; 2], scale: [f32; HELD]) -> Self {
        let weights: [[f32; 2]; HELD] =
            std::array::from_fn(|n| Held::ALL[n].weights(group, shares).map(|weight| weight * scale[n]));
        let dot = |a: [f32; 2], b: [f32; 2]| a[0] * b[0] + a[1] * b[1];
        let rate_response = group.rate_response.map(|row| row.map(|cell| cell.mean));
        let rate_to_burden = group.rate_response_to_burden.map(|cell| cell.mean);
        let burden_to_rate = group.burden_response_to_rate.map(|cell| cell.mean);
        let response = std::array::from_fn(|m| {
            let of = Held::ALL[m].coefficients(shares);
            std::array::from_fn(|n| match (Held::ALL[m], Held::ALL[n]) {
                (Held::Burden, Held::Burden) => group.burden_response.mean * weights[n][0],
                (Held::Burden, _) => -dot(burden_to_rate, weights[n]),
                // Burden forces raise the scores that rate forces would lower.
                (_, Held::Burden) => -dot(of, rate_to_burden) * weights[n][0],
                (_, _) => dot(of, rate_response.map(|row| dot(row, weights[n]))),
            })
        });
        Self { weights, response }
    }

    /// Threshold force by label, and burden force.
    fn forces(&self, multipliers: &[f32; HELD]) -> ([f32; 2], f32) {
        let mut rates = [0.0; 2];
        let mut burden = 0.0;
        for ((held, weights), multiplier) in Held::ALL.iter().zip(&self.weights).zip(multipliers) {
            if *held == Held::Burden {
                burden = multiplier * weights[0];
            } else {
                rates[0] += multiplier * weights[0];
                rates[1] += multiplier * weights[1];
            }
        }
        (rates, burden)
    }

    fn largest_force(&self, multipliers: &[f32; HELD]) -> f32 {
        let (rates, burden) = self.forces(multipliers);
        rates[0].abs().max(rates[1].abs()).max(burden.abs())
    }
}

/// The controllers of one protected attribute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Attribute {
    groups: Groups,
    /// Multipliers per group, by measure; those of the reference stay 0.
    multipliers: Vec<[f32; HELD]>,
}

/// All controllers of a learner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Controller {
    /// Per held quantity, the largest gap aimed at, if any.
    targets: [Option<f32>; HELD],
    threshold: f32,
    attributes: Vec<Attribute>,
}

impl Controller {
    pub(super) fn new(targets: &[(Measure, f32)], threshold: f32, attributes: usize) -> Self {
        let mut held = [None; HELD];
        for (measure, gap) in targets {
            let kinds: &[Held] = match measure {
                Measure::Spd => &[Held::Spd],
                Measure::Aod => &[Held::Aod],
                Measure::Eodds => &[Held::Tpr, Held::Fpr],
                Measure::Eopp => &[Held::Tpr],
                Measure::Burden => &[Held::Burden],
            };
            let aim = if *measure == Measure::Eodds { AIM_FOLDED } else { AIM } * gap;
            for kind in kinds {
                let target = &mut held[*kind as usize];
                *target = Some(target.map_or(aim, |other: f32| other.min(aim)));
            }
        }
        Self { targets: held, threshold, attributes: vec![Attribute::default(); attributes] }
    }

    /// Takes note of a scored record and returns the force on its score: what to add to `dE/dp`.
    ///
    /// `decisive` is the score that decides, `current` the one that the next step changes. Groups of [`NO_GROUP`] neither count nor push.
    pub(super) fn observe(&mut self, groups: &[u8], label: bool, decisive: f32, current: f32) -> f32 {
        if self.targets.iter().all(Option::is_none) {
            return 0.0;
        }
        let q = logistic(SLOPE * (current - self.threshold));
        let nearness = 4.0 * q * (1.0 - q);
        let scored = Scored {
            label,
            decisive,
            current,
            threshold: self.threshold,
            nearness,
            below: if current < self.threshold { 1.0 - nearness } else { 0.0 },
            density: 0.25 * SLOPE * nearness,
        };
        let mut force = 0.0;
        for (attribute, group) in self.attributes.iter_mut().zip(groups) {
            if *group != NO_GROUP {
                force += attribute.observe(usize::from(*group), &scored, &self.targets);
            }
        }
        force
    }
}

impl Attribute {
    fn observe(&mut self, group: usize, scored: &Scored, targets: &[Option<f32>; HELD]) -> f32 {
        self.groups.observe(group, scored);
        self.multipliers.resize(self.groups.len(), [0.0; HELD]);
        let unprivileged = if group == 0 { 1..self.groups.len() } else { group..group + 1 };
        let mut force = 0.0;
        for u in unprivileged {
            if let (Some(known), Some(reference), Some(multipliers)) =
                (self.groups.get(u), self.groups.get(0), self.multipliers.get_mut(u))
            {
                let shares = [self.groups.shares(known), self.groups.shares(reference)];
                force += pair_force(known, reference, shares, multipliers, targets, scored, group == 0);
            }
        }
        force
    }
}

/// Moves the multipliers of a pair by one record and returns the force on that record.
fn pair_force(
    u: &Group,
    r: &Group,
    shares: [[f32; 2]; 2],
    multipliers: &mut [f32; HELD],
    targets: &[Option<f32>; HELD],
    scored: &Scored,
    is_reference: bool,
) -> f32 {
    if u.least_count().iter().chain(&r.least_count()).any(|count| *count == 0.0) {
        return 0.0;
    }
    let scale = Held::ALL.map(|held| {
        let largest = |group, shares| held.weights(group, shares).into_iter().fold(0.0, f32::max);
        1.0 / (largest(u, shares[0]) + largest(r, shares[1]))
    });
    let (u_side, r_side) = (Side::new(u, shares[0], scale), Side::new(r, shares[1], scale));
    let (u_rates, r_rates) = (u.rates(), r.rates());

    // The active set: measures whose multiplier is up or whose gap is outside.
    let mut active = [Held::Spd; HELD];
    let (mut integral, mut proportional) = ([0.0; HELD], [0.0; HELD]);
    let mut price = [0.0; HELD];
    let mut n = 0;
    for ((held, target), multiplier) in Held::ALL.into_iter().zip(targets).zip(multipliers.iter()) {
        let Some(target) = target else { continue };
        let index = held as usize;
        let gap = held.gap(&u_rates, &r_rates);
        let count = held.least_count(u, r);
        let trust = count / (count + HALF_TRUST);
        let gain: f32 = (0..HELD)
            .filter(|n| targets[*n].is_some())
            .map(|n| (u_side.response[index][n] + r_side.response[index][n]).abs())
            .sum();
        price[index] = trust * PRICE.min(PRICE_LOOP_GAIN / (gain + SMALLEST_GAIN)) * gap;
        let outside = gap - gap.clamp(-target, *target);
        if *multiplier == 0.0 && outside == 0.0 {
            continue;
        }
        let side = if *multiplier == 0.0 { gap } else { *multiplier };
        let excess = gap - target.copysign(side);
        active[n] = held;
        integral[n] =
            INTEGRAL * (1.0 + EARLY / (count + 1.0)) * held.rarest(shares[0], shares[1]).sqrt() * trust * excess;
        proportional[n] = PROPORTIONAL * outside;
        n += 1;
    }

    let mut gains = [[0.0; HELD]; HELD];
    for (i, row) in gains.iter_mut().enumerate().take(n) {
        let m = active[i] as usize;
        for (gain, held) in row.iter_mut().zip(&active).take(n) {
            *gain = u_side.response[m][*held as usize] + r_side.response[m][*held as usize];
        }
        row[i] = 2.0 * row[i] + SMALLEST_GAIN;
    }
    let mut total = price;
    let step = solve(gains, integral, n);
    let push = solve(gains, proportional, n);
    for ((held, step), push) in active.iter().zip(step).zip(push).take(n) {
        let multiplier = &mut multipliers[*held as usize];
        let moved = *multiplier + step;
        // Passing 0 ends at 0: a multiplier acts on one side of its target only.
        *multiplier = if *multiplier * moved < 0.0 { 0.0 } else { moved };
        total[*held as usize] += push;
    }
    // Against wind-up: multipliers stop where the force would pass its bound.
    let largest = u_side.largest_force(multipliers).max(r_side.largest_force(multipliers));
    if largest > LARGEST_FORCE {
        multipliers.iter_mut().for_each(|multiplier| *multiplier *= LARGEST_FORCE / largest);
    }
    for (total, multiplier) in total.iter_mut().zip(multipliers.iter()) {
        *total += multiplier;
    }

    let (side, sign) = if is_reference { (&r_side, -1.0) } else { (&u_side, 1.0) };
    let (rates, burden) = side.forces(&total);
    let bound = |force: f32| force.clamp(-LARGEST_FORCE, LARGEST_FORCE);
    sign * (bound(rates[usize::from(scored.label)]) * scored.nearness - bound(burden) * scored.below)
}

/// Solves `a x = b` in the first `n` unknowns by elimination with row exchange; an unknown without a pivot is 0.
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
        let x = solve(a, [7.0, -1.0, 15.0, 0.0, 0.0], 3); // of x = (1, 2, 3)
        for (found, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-5, "{x:?}");
        }
    }

    #[test]
    fn eodds_and_eopp_share_the_tighter_target() {
        let controller = Controller::new(&[(Measure::Eodds, 0.1), (Measure::Eopp, 0.05)], 0.5, 1);
        assert_eq!(controller.targets, [None, None, Some(AIM * 0.05), Some(AIM_FOLDED * 0.1), None]);
    }
}
