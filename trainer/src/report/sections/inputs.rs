//! The state of the cells of the rows, and the features that stand in for a group or the outcome.

use maud::{Markup, html};

use super::super::Report;
use super::super::table::{Field, Table};
use crate::judge::proxies::{IS_TARGET, PREDICTS_GROUP, PREDICTS_TARGET};

/// Returns the section on inputs.
pub(super) fn inputs(report: &Report) -> Markup {
    let headings = [
        "feature",
        "holds",
        "missing",
        "bad cells",
        "clamped",
        "unseen",
        "missing in training",
        "clamped in training",
        "unseen in training",
        "re-fits",
    ];
    let mut table =
        Table::new("features", "Features of the model, and how many cells of these rows were unusual", headings);
    for (feature, input) in report.facts.features.iter().zip(&report.evaluation.inputs) {
        let before = feature.training.as_ref();
        let count = |of: Option<u64>| of.map_or(Field::from("–"), Field::from);
        table.row([
            feature.name.clone().into(),
            feature.holds.clone().into(),
            input.missing.into(),
            input.bad.into(),
            input.clamped.into(),
            input.unseen.into(),
            count(before.map(|cells| cells.missing + cells.bad)),
            count(before.map(|cells| cells.clamped)),
            count(before.map(|cells| cells.unseen)),
            count(before.map(|cells| cells.refits)),
        ]);
    }
    let rows = report.facts.features.iter().find_map(|feature| feature.training.as_ref()).map(|cells| cells.rows);
    html! {
        p {
            "Missing cells have weights of their own. A number outside of its training range is clamped to it; a level that training did not see, or too "
            "rarely, is unseen: all such levels share one weight. Here of " (crate::plot::grouped(report.evaluation.rows)) " rows"
            @if let Some(rows) = rows { ", in training of " (crate::plot::grouped(rows)) }
            "."
        }
        (table.markup())
    }
}

/// Returns the section on stand-ins (proxies).
pub(super) fn proxies(report: &Report) -> Markup {
    let found = &report.evaluation.proxies;
    let mut table = Table::new(
        "proxies-table",
        "Features that predict too much, each alone",
        ["feature", "what it predicts", "AUC", "rows"],
    );
    for proxy in found {
        let what = match (&proxy.attribute, &proxy.group) {
            (Some(attribute), Some(group)) => format!("{attribute}: {group} against the reference"),
            _ if proxy.auc >= IS_TARGET => "the outcome itself, or its complement".to_owned(),
            _ => "the outcome, almost alone: is it known at scoring time?".to_owned(),
        };
        table.row([proxy.feature.clone().into(), what.into(), proxy.auc.into(), proxy.rows.into()]);
    }
    html! {
        p {
            "A feature that separates a group from its reference with an AUC of " (PREDICTS_GROUP) " or more lets a model treat the groups differently without "
            "the protected column. One that predicts the outcome with " (PREDICTS_TARGET) " or more may be known only after it. Both are asked feature by feature, on a "
            "sample of the rows: several features together may stand in for a group where none does alone."
        }
        @if table.is_empty() { p { "None was found." } } @else { (table.markup()) }
    }
}
