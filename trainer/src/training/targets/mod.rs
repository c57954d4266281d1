//! What became of the targets: for every target and group, the gap reached, whether it is held, and
//! if not, why.
//!
//! Judged on decisions made before their record was learned from, over the last quarter of the
//! first pass; where that has too few records of a group, over more of it. A target is *held* where
//! the gap is within it, *uncertain* where the gap is past it by less than this number of records
//! can show (95 % interval; for equalised odds that of average odds, which has the same spread; a
//! burden gap has none and is taken as it is), else *not held*. Groups of fewer than
//! [`SMALL_GROUP`] records of either label are not judged, nor is a burden where nobody was
//! declined. A recourse burden gap is the learner's own, an average over its last records, as
//! distances are measured on a sample only. The exported model is judged by `feamoe evaluate`, on
//! rows of its own.
//!
//! **The reason why a target is not held** comes from the state of the controllers (which other
//! target pulls the other way, whether the force is at its bound), and for SPD against equalised
//! odds from the base rates `b`. With error rates `d1` and `d2` apart, as every classifier has it,
//!
//! ```text
//! SPD = (TPR_r - FPR_r) (b_u - b_r) + d1 b_u + d2 (1 - b_u)          EOdds = (|d1| + |d2|) / 2
//! |SPD| >= |(TPR_r - FPR_r) (b_u - b_r)| - 2 m EOdds                 m = max(b_u, 1 - b_u)
//! ```
//!
//! so that with unequal base rates both vanish only where the decisions carry no information
//! (Kleinberg et al. 2016; Chouldechova 2017). The right side, at the error rates reached, is the
//! smallest possible gap beside the other target. Read the other way it is the most that `TPR_r -
//! FPR_r` can be under both targets: they can always be held by decisions that hardly separate the
//! outcomes. That is reported as a conflict too.

use feamoe_engine::fairness::{Measure, WideCounts, interval};
use serde::Serialize;

use crate::judge::evaluation::{GroupGaps, SMALL_GROUP};
use crate::learner::{Learner, Steering};
use crate::rows::Attribute;
use crate::training::Trainer;
use crate::training::prequential::Prequential;

/// Part of the stream that is judged.
const JUDGED_PART: f64 = 0.25;
/// Two targets that leave no more than this of TPR - FPR, which is 1 for decisions without error,
/// are a conflict even where both are held.
const LEAST_DISCERNMENT: f32 = 0.5;

/// Whether a target is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The gap is within the target.
    Held,
    /// The gap is past the target by less than its sampling noise.
    Uncertain,
    /// The gap is past the target.
    NotHeld,
    /// Too few records to judge.
    TooFew,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Uncertain => "uncertain",
            Self::NotHeld => "not held",
            Self::TooFew => "too few records",
        }
    }
}

/// What became of one target for one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetReport {
    /// Protected column, or columns of an intersection.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// The measure.
    pub measure: &'static str,
    /// The largest gap asked for.
    pub target: f32,
    /// The gap reached: group minus reference.
    pub gap: f32,
    /// Its 95 % interval, where the measure has one.
    pub interval: Option<[f32; 2]>,
    /// First row judged, counted from 1.
    pub from: u64,
    /// Records of the group judged.
    pub rows: u64,
    /// Records of the reference judged.
    pub reference_rows: u64,
    /// Whether it is held.
    pub verdict: Verdict,
    /// The target that pulls the other way, where this one is not held, or is held at the expense
    /// of the information in the decisions.
    pub conflicts_with: Option<&'static str>,
    /// The smallest gap that the base rates leave beside the other target, where that is past this
    /// one.
    pub smallest_possible: Option<f32>,
    /// Whether the controller's force is at its bound.
    pub at_limit: bool,
    /// In words, where the target is not held or conflicts with another.
    pub reason: Option<String>,
}

/// Reports on every target, for every group.
#[must_use]
pub fn targets(trainer: &Trainer) -> Vec<TargetReport> {
    let mut reports = Vec::new();
    for (index, attribute) in trainer.attributes().enumerate() {
        for (group, name) in attribute.groups().iter().enumerate().skip(1) {
            let judged = Judged::new(trainer.prequential(), index, group);
            let names = Names { attribute: attribute.column(), group: name, reference: reference(attribute) };
            reports.extend(of_group(trainer.learner(), &judged, [index, group], &names));
        }
    }
    reports
}

/// Reports the gaps of every group over the part of the run that is judged, as `feamoe evaluate`
/// does.
#[must_use]
pub fn gaps(trainer: &Trainer) -> Vec<GroupGaps> {
    let mut gaps = Vec::new();
    for (index, attribute) in trainer.attributes().enumerate() {
        for (group, name) in attribute.groups().iter().enumerate().skip(1) {
            let Judged { u, r, .. } = Judged::new(trainer.prequential(), index, group);
            gaps.push(GroupGaps::new(attribute.column(), [name, reference(attribute)], [&u, &r]));
        }
    }
    gaps
}

fn reference(attribute: &Attribute) -> &str {
    attribute.groups().first().map_or("", String::as_str)
}

struct Names<'a> {
    attribute: &'a str,
    group: &'a str,
    reference: &'a str,
}

/// The decisions that a group and its reference are judged by.
#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    u: WideCounts,
    r: WideCounts,
    from: u64,
}

impl Judged {
    fn new(prequential: &Prequential, attribute: usize, group: usize) -> Self {
        let rows: u64 = prequential.windows().iter().map(|window| window.all().rows()).sum();
        let mut judged = Self { from: rows + 1, ..Self::default() };
        for window in prequential.windows().iter().rev() {
            #[allow(clippy::cast_precision_loss)]
            let part = (rows + 1 - judged.from) as f64 / rows as f64;
            if part >= JUDGED_PART && !judged.is_small() {
                break;
            }
            judged.from -= window.all().rows();
            let counts = window.groups().get(attribute);
            if let Some(counts) = counts.and_then(|counts| counts.get(group)) {
                judged.u.merge(counts);
            }
            if let Some(counts) = counts.and_then(|counts| counts.first()) {
                judged.r.merge(counts);
            }
        }
        judged
    }

    fn is_small(&self) -> bool {
        [&self.u, &self.r].into_iter().any(|c| c.labelled(true) < SMALL_GROUP || c.labelled(false) < SMALL_GROUP)
    }

    fn gap(&self, measure: Measure) -> f32 {
        measure.gap(&self.u.rates(), &self.r.rates())
    }

    /// How far the gap may be off.
    fn noise(&self, measure: Measure) -> f32 {
        let measure = if measure == Measure::Eodds { Measure::Aod } else { measure };
        interval(measure, &self.u, &self.r).map_or(0.0, |interval| 0.5 * (interval.high - interval.low))
    }

    /// Returns the base rates of the group and of the reference.
    #[allow(clippy::cast_precision_loss)]
    fn base_rates(&self) -> [f32; 2] {
        [&self.u, &self.r].map(|counts| counts.labelled(true) as f32 / counts.rows() as f32)
    }

    /// Returns how well the decisions separate the outcomes of the reference: TPR - FPR.
    fn discernment(&self) -> f32 {
        let rates = self.r.rates();
        rates.true_positive - rates.false_positive
    }

    /// Returns the magnitude of SPD with equal error rates.
    fn parity_at_equal_odds(&self) -> f32 {
        let [b_u, b_r] = self.base_rates();
        (self.discernment() * (b_u - b_r)).abs()
    }
}

/// What the base rates leave of a target beside another.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trade {
    other: Measure,
    /// The smallest gap possible with the other at its target, at the error rates reached.
    smallest: f32,
    /// The largest `TPR_r - FPR_r` possible with both at their targets.
    discernment: f32,
}

impl Trade {
    /// `None` where there is no such trade.
    fn new(measure: Measure, targets: &[(Measure, f32)], judged: &Judged) -> Option<Self> {
        let target = |wanted| targets.iter().find(|(known, _)| *known == wanted).map(|(_, target)| *target);
        let (spd, eodds) = (target(Measure::Spd)?, target(Measure::Eodds)?);
        let [b_u, b_r] = judged.base_rates();
        let (parity, m) = (judged.parity_at_equal_odds(), b_u.max(1.0 - b_u));
        let (other, smallest) = match measure {
            Measure::Spd => (Measure::Eodds, parity - 2.0 * m * eodds),
            Measure::Eodds => (Measure::Spd, (parity - spd) / (2.0 * m)),
            _ => return None,
        };
        Some(Self { other, smallest, discernment: (spd + 2.0 * m * eodds) / (b_u - b_r).abs() })
    }
}

fn of_group(learner: &Learner, judged: &Judged, place: [usize; 2], names: &Names<'_>) -> Vec<TargetReport> {
    let targets = learner.options().targets();
    let report = |(measure, target): &(Measure, f32)| {
        let gap = match measure {
            Measure::RecourseBurden => learner.recourse_gap(place),
            _ => judged.gap(*measure),
        };
        let past = gap.abs() - target;
        let verdict = if judged.is_small() || gap.is_nan() {
            Verdict::TooFew
        } else if past <= 0.0 {
            Verdict::Held
        } else if past <= judged.noise(*measure) {
            Verdict::Uncertain
        } else {
            Verdict::NotHeld
        };
        let steering = learner.steering(*measure, place);
        let trade = Trade::new(*measure, targets, judged).filter(|_| verdict != Verdict::TooFew);
        let impossible = trade.filter(|trade| trade.smallest > *target && verdict == Verdict::NotHeld);
        let dear = trade.filter(|trade| trade.discernment < LEAST_DISCERNMENT);
        let opposed_by = steering.opposed_by.filter(|_| verdict == Verdict::NotHeld);
        TargetReport {
            attribute: names.attribute.to_owned(),
            group: names.group.to_owned(),
            reference: names.reference.to_owned(),
            measure: measure.name(),
            target: *target,
            gap,
            interval: interval(*measure, &judged.u, &judged.r).map(|interval| [interval.low, interval.high]),
            from: judged.from,
            rows: judged.u.rows(),
            reference_rows: judged.r.rows(),
            verdict,
            conflicts_with: impossible.or(dear).map(|trade| trade.other).or(opposed_by).map(Measure::name),
            smallest_possible: impossible.map(|trade| trade.smallest),
            at_limit: steering.at_limit,
            reason: reason(verdict, *measure, judged, impossible, dear, &steering),
        }
    };
    targets.iter().map(report).collect()
}

fn reason(
    verdict: Verdict,
    measure: Measure,
    judged: &Judged,
    impossible: Option<Trade>,
    dear: Option<Trade>,
    steering: &Steering,
) -> Option<String> {
    let (rows, reference_rows) = (judged.u.rows(), judged.r.rows());
    let [b_u, b_r] = judged.base_rates().map(|rate| 100.0 * rate);
    let discernment = judged.discernment();
    let base_rates = format!("{b_u:.1} % of the group and {b_r:.1} % of the reference have the favourable outcome");
    match (verdict, impossible, dear) {
        (Verdict::TooFew, ..) if !judged.is_small() => Some(format!(
            "nobody was declined in the group or in the reference ({rows} and {reference_rows} records): there is no {measure} to compare",
            measure = measure.name(),
        )),
        (Verdict::TooFew, ..) => Some(format!(
            "fewer than {SMALL_GROUP} records of either outcome in the group or the reference ({rows} and {reference_rows} records)"
        )),
        (_, Some(Trade { other, smallest, .. }), _) => Some(format!(
            "contradicts the {other} target: {base_rates}, so that with TPR - FPR at {discernment:.2} and {other} at its target, {measure} cannot be below \
             {smallest:.3}; raise one of the two targets",
            other = other.name(),
            measure = measure.name(),
        )),
        (_, _, Some(Trade { other, discernment: largest, .. })) => Some(format!(
            "contradicts the {other} target: {base_rates}, so that both can be held only by decisions with TPR - FPR below {largest:.2} (here \
             {discernment:.2}); raise one of the two targets",
            other = other.name(),
        )),
        (Verdict::Held, ..) => None,
        (Verdict::Uncertain, ..) => Some(format!(
            "past the target by less than the sampling noise of {rows} records of the group and {reference_rows} of the reference"
        )),
        (Verdict::NotHeld, ..) => Some(match steering {
            Steering { opposed_by: Some(other), .. } => {
                format!("the {} target pulls the other way; raise one of the two targets", other.name())
            }
            Steering { at_limit: true, .. } => {
                "its force is at its bound: with these features the gap goes no further down".into()
            }
            _ => "no target pulls the other way: not settled yet (give it more rows or passes), or the stream drifts faster than it is followed".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
