//! Verdicts on limits of fairness measures: for one group, and over all groups.

use feamoe_engine::fairness::Measure;
use serde::Serialize;

use super::gaps::{GroupGaps, TooFew};

/// A verdict on a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// The whole 95 % interval is within the limit.
    #[serde(rename = "met")]
    Met,
    /// The value is within the limit, but the interval is not, or there is no interval, or the
    /// limit could not be exceeded because hardly anyone or nearly everyone is selected.
    #[serde(rename = "not shown")]
    NotShown,
    /// The value exceeds the limit.
    #[serde(rename = "not met")]
    NotMet,
}

impl Verdict {
    /// Returns the verdict as text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotShown => "not shown",
            Self::NotMet => "not met",
        }
    }

    /// Returns whether the whole 95 % interval of one group exceeds the limit, all on one side.
    #[must_use]
    pub fn is_refuted(measure: Measure, limit: f32, gaps: &GroupGaps) -> bool {
        let allowed = measure.allowance(limit);
        let is_past = |[low, high]: [f32; 2]| {
            let equal = if measure == Measure::Impact { 1.0 } else { 0.0 };
            let is_one_sided = low > equal || high < equal;
            is_one_sided && [low, high].iter().all(|end| measure.magnitude(*end) > allowed)
        };
        gaps.magnitude(measure).is_some() && gaps.interval(measure).is_some_and(is_past)
    }

    /// Returns the verdict on one group; `None` if the measure cannot be judged.
    #[must_use]
    pub fn of(measure: Measure, limit: f32, gaps: &GroupGaps) -> Option<Self> {
        let allowed = measure.allowance(limit);
        if gaps.magnitude(measure)? > allowed {
            return Some(Self::NotMet);
        }
        let is_within = |ends: [f32; 2]| ends.iter().all(|end| measure.magnitude(*end) <= allowed);
        let is_shown = gaps.interval(measure).is_some_and(is_within) && !gaps.is_vacuous(measure, limit);
        Some(if is_shown { Self::Met } else { Self::NotShown })
    }
}

/// The verdict on a required limit over all groups: the worst verdict on any group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Requirement {
    /// The measure.
    pub measure: &'static str,
    /// The largest gap allowed; for `impact`, the smallest ratio allowed.
    pub limit: f32,
    /// The value farthest from equal treatment; null if no group was judged.
    pub largest: Option<f32>,
    /// The protected column of the group with the value `largest`; null if no group was judged.
    pub attribute: Option<String>,
    /// The group with the value `largest`; null if no group was judged.
    pub group: Option<String>,
    /// The reference of that group; null if no group was judged.
    pub reference: Option<String>,
    /// The 95 % interval of `largest`; null if there is none.
    pub interval: Option<[f32; 2]>,
    /// The verdict; `not shown` if no group was judged.
    pub verdict: Verdict,
    /// Numbers of declined records without recourse in that group and in its reference.
    pub without_recourse: [u64; 2],
    /// Whether in some group hardly anyone or nearly everyone is selected, so that the limit could
    /// not be exceeded.
    pub is_vacuous: bool,
    /// The groups that were judged.
    pub judged: Vec<Judged>,
    /// The groups that could not be judged.
    pub not_judged: Vec<NotJudged>,
}

/// A group that was judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Judged {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Number of records of the group.
    pub rows: u64,
    /// The verdict on this group alone.
    pub verdict: Verdict,
}

/// A group that could not be judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct NotJudged {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The group.
    pub group: String,
    /// Number of records of the group.
    pub rows: u64,
    /// The value, although it is not judged; NaN (JSON: null) without records.
    pub value: f32,
    /// The 95 % interval of the value; null if there is none.
    pub interval: Option<[f32; 2]>,
    /// The number of records that is too small; absent if there is no such number.
    #[serde(flatten)]
    pub too_few: Option<TooFew>,
}

impl Requirement {
    /// Judges all groups and returns the verdict over them.
    #[must_use]
    pub fn of<'a>(measure: Measure, limit: f32, gaps: impl IntoIterator<Item = &'a GroupGaps>) -> Self {
        let mut worst: Option<(f32, &GroupGaps)> = None;
        let (mut judged, mut not_judged, mut is_vacuous) = (Vec::new(), Vec::new(), false);
        for found in gaps {
            let (attribute, group, rows) = (found.attribute.clone(), found.group.clone(), found.rows);
            let (Some(verdict), Some(magnitude)) = (Verdict::of(measure, limit, found), found.magnitude(measure))
            else {
                let (value, interval) = (found.measure(measure), found.interval(measure));
                let too_few = found.too_few(measure).cloned();
                not_judged.push(NotJudged { attribute, group, rows, value, interval, too_few });
                continue;
            };
            is_vacuous |= found.is_vacuous(measure, limit);
            judged.push(Judged { attribute, group, rows, verdict });
            if worst.is_none_or(|(largest, _)| magnitude > largest) {
                worst = Some((magnitude, found));
            }
        }
        let worst = worst.map(|(_, found)| found);
        Self {
            measure: measure.name(),
            limit,
            largest: worst.map(|found| found.measure(measure)),
            attribute: worst.map(|found| found.attribute.clone()),
            group: worst.map(|found| found.group.clone()),
            reference: worst.map(|found| found.reference.clone()),
            interval: worst.and_then(|found| found.interval(measure)),
            without_recourse: worst.map_or([0; 2], |found| [found.without_recourse, found.reference_without_recourse]),
            verdict: judged.iter().map(|judged| judged.verdict).max().unwrap_or(Verdict::NotShown),
            is_vacuous,
            judged,
            not_judged,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tally::{Decisions, Side};
    use super::*;

    fn side(rows: u32, selected: u32) -> Side {
        let mut decisions = Decisions::default();
        (0..rows).for_each(|row| decisions.observe(row % 2 == 0, if row < selected { 0.75 } else { 0.25 }, 0.5));
        Side::of(&decisions)
    }

    fn gaps(name: &str, group: Side) -> GroupGaps {
        GroupGaps::new("sex", [name, "m"], [&group, &side(1_000, 500)])
    }

    #[test]
    fn a_limit_is_met_where_the_whole_interval_is_within_it() {
        let of = |group: Side, limit| Verdict::of(Measure::Spd, limit, &gaps("f", group));
        assert_eq!(of(side(1_000, 500), 0.1), Some(Verdict::Met));
        assert_eq!(of(side(1_000, 420), 0.1), Some(Verdict::NotShown), "the interval reaches past 0.1");
        assert_eq!(of(side(1_000, 390), 0.1), Some(Verdict::NotMet));
        assert_eq!(of(side(29, 0), 0.1), None);
        // The four-fifths rule, from both sides.
        let impact = |selected| Verdict::of(Measure::Impact, 0.8, &gaps("f", side(1_000, selected)));
        assert_eq!(
            [500, 420, 390, 640].map(impact).map(Option::unwrap).map(Verdict::name),
            ["met", "not shown", "not met", "not met"]
        );
    }

    #[test]
    fn a_limit_is_refuted_where_the_whole_interval_is_past_it() {
        let refuted = |measure, limit, selected| Verdict::is_refuted(measure, limit, &gaps("f", side(1_000, selected)));
        assert_eq!([350, 380, 500, 620, 650].map(|n| refuted(Measure::Spd, 0.1, n)), [true, false, false, false, true]);
        assert_eq!(
            [300, 380, 500, 620, 800].map(|n| refuted(Measure::Impact, 0.8, n)),
            [true, false, false, false, true]
        );
    }

    #[test]
    fn what_cannot_be_passed_is_not_shown() {
        let few = |selected| {
            let mut r = side(10_000, selected);
            r.labelled = r.decisions;
            GroupGaps::new("sex", ["f", "m"], [&side(10_000, selected), &r])
        };
        assert_eq!(Verdict::of(Measure::Spd, 0.05, &few(0)), Some(Verdict::NotShown));
        assert_eq!(Verdict::of(Measure::Spd, 0.05, &few(20)), Some(Verdict::NotShown));
        assert_eq!(Verdict::of(Measure::Spd, 0.05, &few(2_000)), Some(Verdict::Met));
        assert_eq!(Verdict::of(Measure::Spd, 0.05, &few(9_990)), Some(Verdict::NotShown));
    }

    #[test]
    fn a_requirement_names_the_worst_group_and_those_not_judged() {
        let all = [gaps("a", side(1_000, 480)), gaps("b", side(1_000, 300)), gaps("c", side(12, 0))];
        let requirement = Requirement::of(Measure::Spd, 0.1, &all);
        assert_eq!((requirement.verdict, requirement.group.as_deref()), (Verdict::NotMet, Some("b")));
        assert_eq!(requirement.judged.iter().map(|j| j.verdict).collect::<Vec<_>>(), [Verdict::Met, Verdict::NotMet]);
        let [c] = requirement.not_judged.as_slice() else { unreachable!("one group is too small") };
        assert_eq!((c.group.as_str(), c.value, c.too_few.as_ref().map(|few| few.missing)), ("c", -0.5, Some(18)));
        assert!(c.interval.is_some());
        let nothing = Requirement::of(Measure::Spd, 0.1, &all[2..]);
        assert_eq!((nothing.verdict, nothing.largest), (Verdict::NotShown, None));
    }
}
