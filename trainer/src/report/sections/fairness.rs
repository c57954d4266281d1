//! Every group, and every group against its reference.

use feamoe_engine::fairness::{Measure, rate_interval};
use maud::{Markup, html};

use super::super::Report;
use super::super::table::{Field, Table};
use super::{heading, limit, meaning};
use crate::judge::evaluation::GroupReport;

/// Returns the section.
pub(super) fn fairness(report: &Report) -> Markup {
    let e = &report.evaluation;
    if e.groups.is_empty() {
        return html! { p { "The schema names no protected column, so no groups are compared." } };
    }
    html! {
        p {
            "Rates of the decisions on each group. The base rate is the share of rows whose outcome is favourable; the selection rate is the share of "
            "favourable decisions. Intervals are Wilson's, at 95 %."
        }
        (groups(&e.groups))
        (errors(&e.groups))
        h3 { "Gaps to the reference group" }
        p {
            "Each measure is of the group against its reference, the privileged group; 0 is equal treatment, of impact 1. "
            "Under each value is its 95 % interval"
            @if e.fairness.len() > 1 { ", then the one that holds for all comparisons of this page at once (Holm)" }
            "."
        }
        (gaps(report))
        dl.pairs { @for measure in Measure::ALL { dt { (heading(measure)) } dd { (meaning(measure)) } } }
        (too_few(report))
        h3 { "Decisions that depend on a protected column alone" }
        (individual(report))
    }
}

fn groups(groups: &[GroupReport]) -> Markup {
    let headings =
        ["group", "rows", "base rate", "95 %", "selection rate", "95 %", "accuracy", "precision", "calibration error"];
    let mut table = Table::new("group-rates", "Rates by group", headings);
    for g in groups {
        let interval = |part: u64| rate_interval(part, g.rows).map(|ends| [ends.low, ends.high]);
        table.row([
            format!("{}: {}", g.attribute, g.group).into(),
            g.rows.into(),
            g.base_rate.into(),
            interval(g.tp + g.r#fn).into(),
            g.selection_rate.into(),
            interval(g.tp + g.fp).into(),
            g.accuracy.into(),
            g.precision.into(),
            g.calibration_error.into(),
        ]);
    }
    table.markup()
}

fn errors(groups: &[GroupReport]) -> Markup {
    let headings = [
        "group",
        "TPR",
        "95 %",
        "FPR",
        "95 %",
        "selected, favourable",
        "selected, other",
        "declined, favourable",
        "declined, other",
    ];
    let mut table = Table::new(
        "group-errors",
        "Errors by group: true and false positive rates, and the counts behind them",
        headings,
    );
    for g in groups {
        let interval = |part: u64, whole: u64| rate_interval(part, whole).map(|ends| [ends.low, ends.high]);
        table.row([
            format!("{}: {}", g.attribute, g.group).into(),
            g.tpr.into(),
            interval(g.tp, g.tp + g.r#fn).into(),
            g.fpr.into(),
            interval(g.fp, g.fp + g.tn).into(),
            g.tp.into(),
            g.fp.into(),
            g.r#fn.into(),
            g.tn.into(),
        ]);
    }
    table.markup()
}

fn gaps(report: &Report) -> Markup {
    let e = &report.evaluation;
    let headings = ["group against reference".to_owned(), "rows".to_owned()];
    let headings = headings.into_iter().chain(Measure::ALL.map(|measure| match report.target(measure) {
        Some(asked) => format!(
            "{} (target: {})",
            heading(measure),
            limit(measure, asked).trim_start_matches(heading(measure)).trim()
        ),
        None => heading(measure).to_owned(),
    }));
    let mut table = Table::new("gaps", "Gaps of every group", headings);
    for gaps in &e.fairness {
        let field = |measure: Measure| -> Field {
            if gaps.too_few(measure).is_some() && gaps.measure(measure).is_nan() {
                "–".into()
            } else {
                gaps.measure(measure).into()
            }
        };
        let pair = format!("{}: {} - {}", gaps.attribute, gaps.group, gaps.reference);
        table.row([pair.into(), gaps.rows.into()].into_iter().chain(Measure::ALL.map(field)));
        let ends = Measure::ALL.map(|measure| Field::from(gaps.interval(measure)));
        table.row(["95 % interval".into(), "".into()].into_iter().chain(ends));
        if e.fairness.len() > 1 {
            let ends = Measure::ALL.map(|measure| Field::from(gaps.corrected(measure)));
            table.row(["of all comparisons at once".into(), "".into()].into_iter().chain(ends));
        }
    }
    table.markup()
}

/// Returns the comparisons that could not be judged, and how many records they lack.
fn too_few(report: &Report) -> Markup {
    let all = report.evaluation.fairness.iter().flat_map(|gaps| gaps.too_few.iter().map(move |few| (gaps, few)));
    let mut table = Table::new(
        "not-judged",
        "What has too few records to be judged",
        ["group", "measure", "found", "more are needed"],
    );
    for (gaps, few) in all {
        table.row([
            format!("{}: {}", gaps.attribute, gaps.group).into(),
            few.measure.into(),
            format!("{} {} in the {}", few.found, few.of, few.side).into(),
            few.missing.into(),
        ]);
    }
    html! { @if !table.is_empty() { (table.markup()) } }
}

fn individual(report: &Report) -> Markup {
    let e = &report.evaluation;
    let mut table = Table::new(
        "individual",
        "Share of decisions that change when the column alone is changed",
        ["column", "rows", "share", "does the model see it?"],
    );
    for attribute in &e.attributes {
        let Some(found) = &attribute.individual else { continue };
        let sees = if found.is_feature { "yes" } else { "no: no decision depends on it directly" };
        table.row([
            attribute.attribute.clone().into(),
            attribute.rows.into(),
            Field::from(found.individual_unfairness),
            sees.into(),
        ]);
    }
    html! { @if table.is_empty() { p { "Nothing to change: there is no protected column by itself." } } @else { (table.markup()) } }
}
