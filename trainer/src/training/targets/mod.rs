//! The results of targets: for every target and group, the gap reached, whether the target is met,
//! and if not, why.
//!
//! **The exported model is judged**: decisions are those of the exported weights. After one pass
//! they are decisions on rows that were not learned from yet, over the last quarter of the rows, or
//! over more if that has too few records of a group. After several passes they are those of the
//! finished model on the one row in ten that only the first pass learned from. A merged model has
//! made no decision until it learns again: the gaps are those of the shards, and there is no
//! verdict.
//!
//! The verdicts are those of [`crate::judge::verdict`]. There is no verdict on a group with too few
//! records for the measure, or if the rows are sorted (see [`super::remarks`]). A recourse burden
//! gap is the learner's own average over its last records, since distances are measured only on a
//! sample; it may be *not met*, but is never shown to be met.
//!
//! **The reason why a target is not met** comes from the state of the controllers (which other
//! target works against it, whether the penalty is at its limit), and for SPD against equalised
//! odds from the base rates `b`. For every classifier whose two error rates differ by `d1` and `d2`
//! between the groups,
//!
//! ```text
//! SPD = (TPR_r - FPR_r) (b_u - b_r) + d1 b_u + d2 (1 - b_u)          EOdds = max(|d1|, |d2|)
//! |SPD| >= |(TPR_r - FPR_r) (b_u - b_r)| - EOdds
//! ```
//!
//! so with unequal base rates both vanish only if the decisions carry no information (Kleinberg et
//! al. 2016; Chouldechova 2017). The right side, at the error rates reached, is the smallest
//! possible gap given the other target. Conversely, it bounds `TPR_r - FPR_r` under both targets:
//! they can always be held by decisions that hardly separate the outcomes, which is also reported
//! as a conflict.

use feamoe_engine::fairness::Measure;
use serde::Serialize;

use crate::judge::gaps::{GroupGaps, SMALL_GROUP, correct};
use crate::judge::tally::{Decisions, Side};
use crate::judge::verdict::Verdict;
use crate::learner::{Learner, Steering};
use crate::rows::Attribute;
use crate::training::Trainer;
use crate::training::prequential::Tally;

/// The share of the stream that is judged.
const JUDGED_PART: f64 = 0.25;
/// If two targets leave at most this value for TPR - FPR, which is 1 for perfect decisions, they
/// conflict even if both are met.
const LEAST_DISCERNMENT: f32 = 0.5;

/// The decisions that gaps are based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum JudgedOn {
    /// Decisions on the last rows of a single pass, before they were learned from.
    #[serde(rename = "last rows")]
    LastRows,
    /// Decisions of the finished model on the one row in ten that only the first of several passes
    /// learned from.
    #[serde(rename = "held-out rows")]
    HeldOutRows,
    /// Decisions of the shards of a merged model that has learned from no row since.
    #[serde(rename = "shards")]
    Shards,
}

/// Returns the decisions that gaps are based on.
#[must_use]
pub fn judged_on(trainer: &Trainer) -> JudgedOn {
    match trainer.reserved() {
        Some(_) if trainer.learner().is_just_merged() => JudgedOn::Shards,
        Some(_) => JudgedOn::HeldOutRows,
        None => JudgedOn::LastRows,
    }
}

/// The result of one target for one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct TargetReport {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The unprivileged group.
    pub group: String,
    /// The privileged group.
    pub reference: String,
    /// The measure.
    pub measure: &'static str,
    /// The largest gap allowed; for `impact`, the smallest ratio allowed.
    pub target: f32,
    /// The value reached: group minus reference; for `impact`, a ratio. NaN (JSON: null) if there
    /// is none.
    pub gap: f32,
    /// The 95 % interval of the value; null if there is none.
    pub interval: Option<[f32; 2]>,
    /// Number of the first row judged, from 1; null if other rows than the last ones are judged.
    pub from: Option<u64>,
    /// Number of judged records of the group.
    pub rows: u64,
    /// Number of judged records of the reference.
    pub reference_rows: u64,
    /// Whether the target is met; null if it cannot be judged.
    pub verdict: Option<Verdict>,
    /// The measure whose target works against this one, if this one is not met, or if both can be
    /// met only by decisions that carry little information; otherwise null.
    pub conflicts_with: Option<&'static str>,
    /// The smallest gap possible given the base rates and the other target, if that gap exceeds
    /// this target and this target is not met; otherwise null.
    pub smallest_possible: Option<f32>,
    /// Whether the penalty of the target is at its limit.
    pub at_limit: bool,
    /// Why the target is not met, not shown or not judged, or conflicts with another; null if it is
    /// met without a conflict.
    pub reason: Option<String>,
}

/// Reports on every target, for every group.
#[must_use]
pub fn targets(trainer: &Trainer) -> Vec<TargetReport> {
    let unjudged = match () {
        () if judged_on(trainer) == JudgedOn::Shards => {
            Some("the gap is that of the shards, each on its own rows; the merged model has made no decision yet")
        }
        () if trainer.is_sorted() => Some("the rows are sorted"),
        () => None,
    };
    pairs(trainer)
        .flat_map(|(place, [attribute, group, reference])| {
            let judged = Judged::new(trainer, place);
            let gaps = GroupGaps::new(attribute, [group, reference], [&judged.u, &judged.r]);
            of_group(trainer.learner(), &judged, place, &gaps, unjudged)
        })
        .collect()
}

/// Reports the gaps of every group over the part of the run that is judged, like `feamoe evaluate`.
#[must_use]
pub fn gaps(trainer: &Trainer) -> Vec<GroupGaps> {
    let (mut gaps, mut sides) = (Vec::new(), Vec::new());
    for (place, [attribute, group, reference]) in pairs(trainer) {
        let Judged { u, r, .. } = Judged::new(trainer, place);
        gaps.push(GroupGaps::new(attribute, [group, reference], [&u, &r]));
        sides.push([u, r]);
    }
    correct(&mut gaps, &sides);
    gaps
}

/// Returns the decisions on the last quarter of a stream, in whole windows.
pub(super) fn last(windows: &[Tally]) -> Tally {
    let rows: u64 = windows.iter().map(|window| window.all().rows()).sum();
    let mut last = Tally::default();
    for window in windows.iter().rev() {
        #[allow(clippy::cast_precision_loss)]
        if last.all().rows() as f64 >= JUDGED_PART * rows as f64 {
            break;
        }
        last.merge(window);
    }
    last
}

/// Returns every group except the references: its place, and the names of its attribute, of the
/// group, and of its reference.
fn pairs(trainer: &Trainer) -> impl Iterator<Item = ([usize; 2], [&str; 3])> {
    trainer.attributes().enumerate().flat_map(|(index, attribute)| {
        let names = attribute.groups().iter().enumerate().skip(1);
        names.map(move |(group, name)| ([index, group], [attribute.column(), name, reference(attribute)]))
    })
}

fn reference(attribute: &Attribute) -> &str {
    attribute.groups().first().map_or("", String::as_str)
}

/// The decisions that a group and its reference are judged by.
#[derive(Clone, Copy, Debug)]
struct Judged {
    u: Side,
    r: Side,
    from: Option<u64>,
}

impl Judged {
    fn new(trainer: &Trainer, [attribute, group]: [usize; 2]) -> Self {
        let (mut u, mut r) = (Decisions::default(), Decisions::default());
        let mut add = |tally: &Tally| {
            let groups = tally.groups().get(attribute);
            let [known, reference] = [group, 0].map(|group| groups.and_then(|groups| groups.get(group)));
            known.into_iter().for_each(|decisions| u.merge(decisions));
            reference.into_iter().for_each(|decisions| r.merge(decisions));
            [u, r]
        };
        if let Some(reserved) = trainer.reserved() {
            add(reserved);
            return Self { u: Side::of(&u), r: Side::of(&r), from: None };
        }
        let windows = trainer.exported().windows();
        let rows = trainer.exported().rows();
        let mut from = rows + 1;
        let mut is_small = true;
        for window in windows.iter().rev() {
            #[allow(clippy::cast_precision_loss)]
            let part = (rows + 1 - from) as f64 / rows as f64;
            if part >= JUDGED_PART && !is_small {
                break;
            }
            from -= window.all().rows();
            let few = |decisions: &Decisions| [true, false].iter().any(|l| decisions.counts.labelled(*l) < SMALL_GROUP);
            is_small = add(window).iter().any(few);
        }
        // Rows that a merged run learned from before the merge.
        let earlier = trainer.prequential().rows().saturating_sub(trainer.delay().waiting() as u64 + rows);
        Self { u: Side::of(&u), r: Side::of(&r), from: Some(earlier + from) }
    }

    /// Returns the base rates of the group and of the reference.
    #[allow(clippy::cast_precision_loss)]
    fn base_rates(&self) -> [f32; 2] {
        [&self.u, &self.r].map(|side| side.labelled.labelled(true) as f32 / side.labelled.rows() as f32)
    }

    /// Returns how well the decisions separate the outcomes of the reference: TPR - FPR.
    fn discernment(&self) -> f32 {
        let rates = self.r.rates();
        rates.true_positive - rates.false_positive
    }

    /// Returns the magnitude of SPD if the error rates were equal.
    fn parity_at_equal_odds(&self) -> f32 {
        let [b_u, b_r] = self.base_rates();
        (self.discernment() * (b_u - b_r)).abs()
    }
}

/// The limits that the base rates set on a target, given another target.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trade {
    other: Measure,
    /// The smallest gap possible with the other measure at its target, at the error rates reached.
    smallest: f32,
    /// The largest `TPR_r - FPR_r` possible with both at their targets.
    discernment: f32,
}

impl Trade {
    /// Returns `None` if no other target limits this one.
    fn new(measure: Measure, targets: &[(Measure, f32)], judged: &Judged) -> Option<Self> {
        let target = |wanted| targets.iter().find(|(known, _)| *known == wanted).map(|(_, target)| *target);
        let (spd, eodds) = (target(Measure::Spd)?, target(Measure::Eodds)?);
        let [b_u, b_r] = judged.base_rates();
        let parity = judged.parity_at_equal_odds();
        let (other, smallest) = match measure {
            Measure::Spd => (Measure::Eodds, parity - eodds),
            Measure::Eodds => (Measure::Spd, parity - spd),
            _ => return None,
        };
        Some(Self { other, smallest, discernment: (spd + eodds) / (b_u - b_r).abs() })
    }
}

fn of_group(
    learner: &Learner,
    judged: &Judged,
    place: [usize; 2],
    gaps: &GroupGaps,
    unjudged: Option<&'static str>,
) -> Vec<TargetReport> {
    let targets = learner.options().targets();
    let report = |(measure, target): &(Measure, f32)| {
        let is_own = *measure == Measure::RecourseBurden;
        let gap = if is_own { learner.recourse_gap(place) } else { gaps.measure(*measure) };
        let verdict = match () {
            () if unjudged.is_some() || gap.is_nan() => None,
            () if is_own && gap.abs() > *target => Some(Verdict::NotMet),
            () if is_own => Some(Verdict::NotShown),
            () => Verdict::of(*measure, *target, gaps),
        };
        let is_missed = verdict == Some(Verdict::NotMet);
        let steering = learner.steering(*measure, place);
        let trade = Trade::new(*measure, targets, judged).filter(|_| verdict.is_some());
        let impossible = trade.filter(|trade| trade.smallest > *target && is_missed);
        let dear = trade.filter(|trade| trade.discernment < LEAST_DISCERNMENT);
        let opposed_by = steering.opposed_by.filter(|_| is_missed);
        let found = Found { measure: *measure, target: *target, verdict, gaps, unjudged };
        TargetReport {
            attribute: gaps.attribute.clone(),
            group: gaps.group.clone(),
            reference: gaps.reference.clone(),
            measure: measure.name(),
            target: *target,
            gap,
            interval: gaps.interval(*measure),
            from: judged.from,
            rows: gaps.rows,
            reference_rows: gaps.reference_rows,
            verdict,
            conflicts_with: impossible.or(dear).map(|trade| trade.other).or(opposed_by).map(Measure::name),
            smallest_possible: impossible.map(|trade| trade.smallest),
            at_limit: steering.at_limit,
            reason: found.reason(judged, impossible, dear, &steering),
        }
    };
    targets.iter().map(report).collect()
}

/// The findings on a target.
struct Found<'a> {
    measure: Measure,
    target: f32,
    verdict: Option<Verdict>,
    gaps: &'a GroupGaps,
    /// Why nothing is judged, if so, whatever the gap.
    unjudged: Option<&'static str>,
}

impl Found<'_> {
    fn reason(
        &self,
        judged: &Judged,
        impossible: Option<Trade>,
        dear: Option<Trade>,
        steering: &Steering,
    ) -> Option<String> {
        let Self { measure, target, gaps, .. } = self;
        let name = measure.name();
        let (rows, reference_rows) = (gaps.rows, gaps.reference_rows);
        let records = format!("{rows} records of the group and {reference_rows} of the reference");
        let Some(verdict) = self.verdict else {
            if let Some(reason) = self.unjudged {
                return Some(reason.into());
            }
            return Some(match gaps.too_few(*measure) {
                _ if *measure == Measure::RecourseBurden => "no distances are known yet".into(),
                Some(few) => format!("{} {} in the {}, {} more are needed", few.found, few.of, few.side, few.missing),
                None => format!("{name} has no value for {records}"),
            });
        };
        let [b_u, b_r] = judged.base_rates().map(|rate| 100.0 * rate);
        let discernment = judged.discernment();
        let base_rates = format!("{b_u:.1} % of the group and {b_r:.1} % of the reference have the favourable outcome");
        if let Some(Trade { other, smallest, .. }) = impossible {
            return Some(format!(
                "contradicts the {other} target: {base_rates}, so that with TPR - FPR at {discernment:.2} and {other} at its target, {name} cannot be below \
                 {smallest:.3}; raise one of the two targets",
                other = other.name(),
            ));
        }
        if let Some(Trade { other, discernment: largest, .. }) = dear {
            return Some(format!(
                "contradicts the {other} target: {base_rates}, so that both can be met only by decisions with TPR - FPR below {largest:.2} (here \
                 {discernment:.2}); raise one of the two targets",
                other = other.name(),
            ));
        }
        let reaches_within =
            |ends: [f32; 2]| ends.iter().any(|end| measure.magnitude(*end) <= measure.allowance(*target));
        match (verdict, steering) {
            (Verdict::Met, _) => None,
            (Verdict::NotShown, _) if *measure == Measure::RecourseBurden => Some(
                "within the target according to the learner's sample of distances; evaluate the model to measure its own distances".into(),
            ),
            (Verdict::NotShown, _) if gaps.is_vacuous(*measure, *target) => {
                Some("almost nobody or almost everybody is selected, so the target could not be missed".into())
            }
            (Verdict::NotShown, _) => {
                Some(format!("within the target, but the 95 % interval of {records} is not; more records are needed"))
            }
            (Verdict::NotMet, _) if gaps.interval(*measure).is_some_and(reaches_within) => {
                Some(format!("past the target by less than the sampling noise of {records}"))
            }
            (Verdict::NotMet, Steering { opposed_by: Some(other), .. }) => {
                Some(format!("the {} target works against it; raise one of the two targets", other.name()))
            }
            (Verdict::NotMet, Steering { at_limit: true, .. }) => {
                Some("its penalty is at its limit; with these features the gap cannot be reduced further".into())
            }
            (Verdict::NotMet, _) => Some(
                "no target works against it; it has not settled yet (use more rows or passes), or the stream drifts too fast".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
