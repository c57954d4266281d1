//! `--require`: limits that must be met.

use std::fmt::Write as _;

use crate::cli::gaps::Gaps;
use clap::Args;
use feamoe::judge::gaps::GroupGaps;
use feamoe::judge::verdict::{NotJudged, Requirement, Verdict};
use feamoe_engine::fairness::Measure;

use super::print::on_one_line;
use super::{Outcome, print};

/// The largest number of groups that a message names.
const MOST_NAMED: usize = 12;

/// The limits.
#[derive(Args, Debug)]
pub struct RequireOption {
    /// Limits that every group must meet, such as spd=0.1,impact=0.8: the largest gap of spd, aod,
    /// eodds, eopp, burden or recourse_burden, or the smallest ratio of impact. The exit code is 1
    /// if a limit is not met or no group could be judged
    #[arg(long, value_name = "MEASURE=LIMIT,...")]
    require: Option<Gaps>,
    /// The exit code is also 1 if a limit is not shown to be met, because the 95 % interval extends
    /// past it, or if a group has too few records to be judged. For statuses, it is also 1 if a
    /// device in --seen sent nothing that counts, or an authentic status conflicts, does not fit or
    /// is inconsistent
    #[arg(long, requires = "require")]
    strict: bool,
}

impl RequireOption {
    /// Returns each limit with its measure.
    pub fn limits(&self) -> impl Iterator<Item = (Measure, f32)> {
        self.require.iter().flat_map(Gaps::as_slice).copied()
    }

    /// Returns whether limits that are not shown to be met count as not met.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Judges all groups against every limit.
    pub fn judge<'a>(&self, gaps: impl IntoIterator<Item = &'a GroupGaps> + Clone) -> Vec<Requirement> {
        self.limits().map(|(measure, limit)| Requirement::of(measure, limit, gaps.clone())).collect()
    }

    /// Reports for every limit whether it is met, and which groups were judged. `nobody` states why
    /// there are no groups at all; `without_group` holds the number of rows in no group, by
    /// attribute.
    pub fn check<'a>(
        &self,
        requirements: &[Requirement],
        nobody: &str,
        without_group: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Outcome {
        let mut outcome = Outcome::Done;
        for (attribute, rows) in without_group.into_iter().filter(|(_, rows)| *rows > 0 && !requirements.is_empty()) {
            print::note(&named(attribute, &format!("{rows} rows are in no group and are not judged")));
        }
        for requirement in requirements {
            let is_missed = requirement.verdict == Verdict::NotMet || requirement.judged.is_empty();
            let is_open = requirement.verdict == Verdict::NotShown || !requirement.not_judged.is_empty();
            let is_failed = is_missed || (self.strict && is_open);
            let say = if is_failed { print::message } else { print::note };
            say(&line(requirement, nobody));
            for group in &requirement.not_judged {
                say(&not_judged(requirement.measure, group));
            }
            if is_failed {
                outcome = Outcome::CheckNotMet;
            }
        }
        outcome
    }
}

/// Returns the name of a group on one line, with its protected column if known.
pub fn named(attribute: &str, group: &str) -> String {
    if attribute.is_empty() { on_one_line(group) } else { on_one_line(&format!("{attribute}: {group}")) }
}

/// Returns an interval as text; empty if there is none.
fn reach(interval: Option<[f32; 2]>) -> String {
    interval.map_or(String::new(), |[low, high]| format!(" (95 % {low:.4} to {high:.4})"))
}

fn line(requirement: &Requirement, nobody: &str) -> String {
    let Requirement { measure, limit, verdict, judged, not_judged, .. } = requirement;
    let bound = if *measure == Measure::Impact.name() { "at least" } else { "at most" };
    let mut text = format!("{}: {measure} {bound} {limit}: ", verdict.name());
    let worst = requirement.largest.zip(requirement.group.as_ref()).zip(requirement.reference.as_ref());
    let Some(((largest, group), reference)) = worst else {
        let why = if not_judged.is_empty() { nobody } else { "no group could be judged" };
        text.push_str(why);
        return text;
    };
    let pair = named(requirement.attribute.as_deref().unwrap_or_default(), &format!("{group} - {reference}"));
    let _ = write!(text, "the most unequal value is {largest:.4}{}, {pair}", reach(requirement.interval));
    if let ([group, reference], true) = (requirement.without_recourse, *measure == Measure::RecourseBurden.name())
        && group + reference > 0
    {
        let _ = write!(text, ", not counting {group} and {reference} declined rows without recourse");
    }
    if requirement.is_vacuous {
        text.push_str("; almost nobody or almost everybody is selected, so the limit could not be exceeded");
    } else if *verdict == Verdict::NotShown {
        text.push_str(
            "; the interval of a group extends past the limit, or there is no interval: more records are needed",
        );
    }
    let all: Vec<String> = judged
        .iter()
        .take(MOST_NAMED)
        .map(|j| format!("{} ({} rows)", named(&j.attribute, &j.group), j.rows))
        .collect();
    let more = judged.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = write!(text, "; judged: {}{more}", all.join(", "));
    text
}

fn not_judged(measure: &str, group: &NotJudged) -> String {
    let NotJudged { attribute, group, rows, value, interval, too_few } = group;
    let value = if value.is_nan() { "no value".to_owned() } else { format!("{value:.4}") };
    let why = too_few.as_ref().map_or(String::new(), |few| {
        format!(": {} {} in the {}, {} more are needed", few.found, few.of, few.side, few.missing)
    });
    format!("not judged by {measure}: {} ({rows} rows), {value}{}{why}", named(attribute, group), reach(*interval))
}
