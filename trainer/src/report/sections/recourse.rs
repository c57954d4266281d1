//! The distance of declined records from a favourable decision, and the changes that would reach
//! it.

use feamoe_engine::fairness::Measure;
use maud::{Markup, html};

use super::super::chosen::{EXAMPLES, MOST_CHANGES};
use super::super::table::{Field, Table, shown};
use super::super::{RecourseOf, Report};
use crate::judge::gaps::GroupGaps;
use crate::judge::recourse::MARGIN;

/// Maximum number of groups whose examples are shown.
const MOST_GROUPS: usize = 24;

/// Returns the section.
pub(super) fn recourse(report: &Report) -> Markup {
    let Some(found) = &report.recourse else {
        return html! { p.note { "Not known: recourse is looked for in models of float weights. Make the report of the model that this one was exported from." } };
    };
    html! {
        p {
            "The distance of a declined record to a favourable decision is that of the nearest change of its features, in standard deviations of the "
            "training rows (a change of level counts √2). This is a measure of burden: it lets every feature change."
        }
        (burdens(report))
        h3 { "By the rules of the schema" }
        p {
            "Examples by what may be changed: of the declined records of each group, " (EXAMPLES) " at most are drawn, and the nearest change of at most "
            (MOST_CHANGES) " columns is looked for. Protected columns never change. Each answer was scored: it passes the threshold by "
            (MARGIN) ", as those of " code { "feamoe recourse" } " do unless another margin is asked for."
        }
        @if report.rules.is_empty() { p { "The schema limits no column: decide which of them a person can change (immutable, increase_only, ranges), before anybody is given such advice." } }
        @else { ul { @for rule in &report.rules { li { (rule) } } } }
        (examples(found))
    }
}

fn burdens(report: &Report) -> Markup {
    let e = &report.evaluation;
    let mut table = Table::new(
        "burdens",
        "Distance of the declined records by group",
        ["group", "declined", "without recourse", "mean distance", "gap to the reference", "95 % interval"],
    );
    for g in &e.groups {
        let is_own = |gaps: &&GroupGaps| gaps.attribute == g.attribute && gaps.group == g.group;
        let gaps = e.fairness.iter().find(is_own);
        table.row([
            format!("{}: {}", g.attribute, g.group).into(),
            (g.tn + g.r#fn).into(),
            g.without_recourse.into(),
            g.recourse_burden.into(),
            gaps.map_or(Field::from("reference"), |gaps| gaps.measure(Measure::RecourseBurden).into()),
            gaps.map_or(Field::from("–"), |gaps| gaps.interval(Measure::RecourseBurden).into()),
        ]);
    }
    html! { @if !table.is_empty() { (table.markup()) } }
}

fn examples(found: &[RecourseOf]) -> Markup {
    let mut table = Table::new(
        "recourse-examples",
        "Nearest changes, by example",
        ["group", "record", "score", "change", "score then", "distance"],
    );
    for group in found.iter().take(MOST_GROUPS) {
        let mut name = group.attribute.clone();
        if !group.group.is_empty() {
            name += &format!(": {}", group.group);
        }
        if group.drawn == 0 {
            continue;
        }
        if group.examples.is_empty() {
            table.row([
                name.clone().into(),
                "–".into(),
                "–".into(),
                format!("none found for the {} drawn", group.drawn).into(),
                "–".into(),
                "–".into(),
            ]);
        }
        for example in &group.examples {
            let changes = example.changes.iter().map(|(feature, from, to)| format!("{feature}: {from} → {to}"));
            table.row([
                name.clone().into(),
                example.row.into(),
                example.probability.into(),
                changes.collect::<Vec<_>>().join("; ").into(),
                example.then.into(),
                Field::Number(shown(example.distance.into(), 2), example.distance.to_string()),
            ]);
        }
        if group.answered < group.drawn && group.answered > 0 {
            let words = format!("no answer for {} of the {} drawn", group.drawn - group.answered, group.drawn);
            table.row([name.into(), "–".into(), "–".into(), words.into(), "–".into(), "–".into()]);
        }
    }
    html! {
        @if table.is_empty() { p { "No record was declined." } } @else { (table.markup()) }
        @if found.len() > MOST_GROUPS { p { (found.len() - MOST_GROUPS) " more groups are not shown." } }
    }
}
