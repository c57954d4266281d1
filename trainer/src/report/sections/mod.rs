//! The sections of the page.

mod cost;
mod curves;
mod experts;
mod fairness;
pub(super) mod front;
mod inputs;
pub(super) mod limits;
mod made;
mod over_time;
mod recourse;
mod why;

use feamoe_engine::fairness::Measure;
use maud::{Markup, html};

use super::Report;
use super::page::Section;
use crate::judge::gaps::heading;
use crate::judge::verdict::Verdict;
use crate::plot::MOST_STYLES;
use crate::rows::Attribute;

/// Returns the sections in order.
pub(super) fn all(report: &Report) -> Vec<Section> {
    let section = |id, title, body| Section { id, title, body };
    let mut sections = vec![
        section("summary", "In short", front::summary(report)),
        section("made", "How it was made", made::made(report)),
        section("groups", "Groups and gaps", fairness::fairness(report)),
        section("stream", "Over the stream", over_time::over_time(report)),
        section("curves", "Calibration and errors", curves::curves(report)),
        section("threshold", "The threshold", curves::threshold(report)),
        section("experts", "The experts", experts::experts(report)),
        section("importance", "What moves the score", why::importance(report)),
        section("records", "Decisions explained", why::records(report)),
        section("recourse", "What would change a decision", recourse::recourse(report)),
        section("what-if", "What if", report.what_if.section()),
        section("inputs", "The inputs", inputs::inputs(report)),
        section("proxies", "Stand-ins for a group", inputs::proxies(report)),
        section("limits", "Limits", limits::limits(report)),
    ];
    if let Some(cost) = cost::cost(report) {
        let after = sections.iter().position(|section| section.id == "groups").map_or(0, |place| place + 1);
        sections.insert(after, section("cost", "What fairness costs", cost));
    }
    sections
}

/// Returns the meaning of a measure in words.
fn meaning(measure: Measure) -> &'static str {
    match measure {
        Measure::Spd => "statistical parity difference: selection rate of the group less that of the reference",
        Measure::Aod => "average odds difference: mean of the differences of true and false positive rates",
        Measure::Eodds => "equalised odds: the larger of the two differences of error rates, without sign",
        Measure::Eopp => "equal opportunity difference: true positive rate of the group less that of the reference",
        Measure::Burden => "mean of threshold less score over the declined records, group less reference",
        Measure::RecourseBurden => {
            "mean distance of the declined records to a favourable decision, in standard deviations, group less reference"
        }
        Measure::Impact => {
            "disparate impact: selection rate of the group over that of the reference (the four-fifths rule asks for 0.8)"
        }
    }
}

/// Returns a limit on a measure, in words.
fn limit(measure: Measure, limit: f32) -> String {
    if measure == Measure::Impact {
        format!("{} at least {limit}, either way round", heading(measure))
    } else {
        format!("{} at most {limit}", heading(measure))
    }
}

/// Returns the range of values within a limit.
fn within(measure: Measure, limit: f32) -> [f64; 2] {
    let limit = f64::from(limit);
    match measure {
        Measure::Impact => [limit, 1.0 / limit],
        Measure::Eodds => [0.0, limit],
        _ => [-limit, limit],
    }
}

/// Returns a verdict with a sign that is visible without colour.
fn verdict(verdict: Option<Verdict>) -> Markup {
    match verdict {
        Some(Verdict::Met) => html! { span.verdict { "✓ met" } },
        Some(Verdict::NotShown) => html! { span.verdict { "? not shown" } },
        Some(Verdict::NotMet) => html! { span.verdict { "✗ not met" } },
        None => html! { span.verdict { "– not judged" } },
    }
}

/// Returns the indices of the groups that have their own line in a plot (those with the most rows
/// first), and the number of the others.
fn drawn(attribute: &Attribute, with_reference: bool) -> (Vec<usize>, usize) {
    let rows = |group: &usize| attribute.rows().get(*group).copied().unwrap_or_default();
    let mut groups: Vec<usize> = (usize::from(!with_reference)..attribute.groups().len()).collect();
    groups.retain(|group| rows(group) > 0);
    groups.sort_by_key(|group| std::cmp::Reverse(rows(group)));
    let omitted = groups.len().saturating_sub(MOST_STYLES);
    groups.truncate(MOST_STYLES);
    (groups, omitted)
}

/// Returns a note on groups without a line; an empty string if every group has one.
fn omitted(count: usize) -> String {
    let which = match count {
        0 => return String::new(),
        1 => "One smaller group is".to_owned(),
        count => format!("{count} smaller groups are"),
    };
    format!("{which} not shown here; the rates of every group over all rows stand under Groups and gaps.")
}

/// Returns the name of a group.
fn name(attribute: &Attribute, group: usize) -> &str {
    attribute.groups().get(group).map_or("", String::as_str)
}
