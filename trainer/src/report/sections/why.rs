//! What moves scores: in general, along the values of a feature, and for single records.

use feamoe_engine::{Method, Space};
use maud::{Markup, html};

use super::super::pass::{SAMPLE, SHAPES, SMALL_BACKGROUND};
use super::super::table::{Field, Table, figure, shown};
use super::super::{Chosen, Report};
use crate::explanation::{Explanation, RowsFrom, Shapes, by_magnitude, shown as cell};
use crate::plot::{self, MOST_PLAYERS};

/// Maximum number of levels or bins of a feature in a table.
const MOST_POINTS: usize = 24;

/// Describes a method in words.
fn method(method: Method, space: Space) -> String {
    let words = match method {
        Method::Exact => "exact Shapley values against background records, by the marginal expectation",
        Method::Sampled => "Shapley values against background records, from random orders of the features",
        Method::Path => "path attributions from the mean record, since the model holds no background records",
        _ => "log-odds of the experts averaged by the gate, which is held: the model has integer weights",
    };
    let unit = if space == Space::Probability { "the score" } else { space.name() };
    format!("{words}, in {unit}")
}

/// Returns the section on importance and shapes.
pub(super) fn importance(report: &Report) -> Markup {
    let summary = &report.importance;
    let caption = "Importance of the features";
    let mut table = Table::new("importance-table", caption, ["feature", "mean |value|", "mean value"]);
    let means = summary.mean_absolute_values.iter().zip(&summary.mean_values);
    for (name, (magnitude, mean)) in summary.feature_names.iter().zip(means) {
        table.row([name.clone().into(), (*magnitude).into(), (*mean).into()]);
    }
    html! {
        p {
            "How far each feature moves the score, on average over " (plot::grouped(summary.records)) " rows drawn from those of this report (at most " (plot::grouped(SAMPLE as u64)) "): "
            (method(summary.method, summary.space))
            @if let Some(background) = &summary.background { "; here " (background.rows) " background records (at most " (SMALL_BACKGROUND) ")" }
            "."
            @if summary.sampled > 0 { " " (summary.sampled) " of the rows were sampled, not exact: their values have standard errors up to 0.005." }
            " It says what the model uses, not what causes an outcome."
        }
        @if let Ok(svg) = plot::bar(summary, MOST_PLAYERS) { (figure("plot-importance", caption, &svg, "", &table.behind())) }
        @match &report.shapes {
            Some(shapes) => { (along_values(shapes)) }
            None => { p.note { "No shapes: the model holds no background records to average over." } }
        }
    }
}

fn along_values(shapes: &Shapes) -> Markup {
    let headings = ["feature", "value", "share of rows", "mean effect", "5 %", "95 %"];
    let caption = "Effect of the leading features along their values";
    let mut table = Table::new("shapes-table", caption, headings);
    for shape in &shapes.shapes {
        let points = &shape.points;
        for index in crate::explanation::evenly(points.len(), MOST_POINTS) {
            let Some(point) = points.get(index) else { continue };
            let share = point.share.map_or(Field::from("–"), Field::from);
            table.row([
                shape.feature.clone().into(),
                point.shown().into(),
                share,
                point.effect.into(),
                point.lower.into(),
                point.upper.into(),
            ]);
        }
    }
    let rows = match shapes.rows.from {
        RowsFrom::Data => format!("{} rows drawn from those of this report", shapes.rows.count),
        RowsFrom::Background => "the background records".to_owned(),
    };
    let words = format!(
        "The {} features that move the score most. Beneath each curve: where {rows} lie. Far from the rows, a curve is an extrapolation. Of a feature with \
         more than {MOST_POINTS} points the table has {MOST_POINTS}, evenly spread.",
        shapes.shapes.len().min(SHAPES)
    );
    html! {
        h3 { "Along the values of a feature" }
        (figure("plot-shapes", caption, &plot::shapes(shapes, MOST_PLAYERS), &words, &table.behind()))
    }
}

/// Returns the section on records.
pub(super) fn records(report: &Report) -> Markup {
    let e = &report.chosen_values;
    html! {
        p {
            "The records on either side of the threshold, those of the lowest and the highest score, and those that were asked for. Each is explained by "
            (method(e.method, e.space))
            @if let Some(background) = &e.background { " (" (plot::grouped(background.rows.into())) " of them)" }
            ": the values add up from the base to the score."
        }
        @for (place, chosen) in report.chosen.iter().enumerate() { (record(e, place, chosen)) }
        @if let Some(ways) = &report.ways { (many(ways)) }
    }
}

fn record(e: &Explanation, place: usize, chosen: &Chosen) -> Markup {
    let Chosen { why, row, label, probability, groups } = chosen;
    let caption = format!("Record {row}, {why}");
    let mut table =
        Table::new(format!("record-{row}"), caption.clone(), ["feature", "value", "adds to the score", "note"]);
    let values = e.values.get(place).map_or(&[][..], Vec::as_slice);
    for player in by_magnitude(values) {
        let held = e.display_data.get(place).and_then(|cells| cells.get(player)).map_or_else(String::new, cell);
        let note = e.notes.get(place).and_then(|notes| notes.get(player)).copied().unwrap_or_default();
        table.row([
            e.feature_names.get(player).cloned().unwrap_or_default().into(),
            held.into(),
            values.get(player).copied().unwrap_or_default().into(),
            note.into(),
        ]);
    }
    let groups: Vec<String> = groups.iter().map(|(attribute, group)| format!("{attribute}: {group}")).collect();
    let decision = if e.decision.get(place).copied().unwrap_or_default() { "favourable" } else { "declined" };
    let outcome = if *label { "favourable" } else { "other" };
    let reasons = e.reasons.get(place).map_or(&[][..], Vec::as_slice);
    html! {
        h3 { (caption) }
        p {
            "Score " data value=(probability) { (shown((*probability).into(), 4)) } ", decision " strong { (decision) } "; the outcome was " (outcome) "."
            @if !groups.is_empty() { " Groups: " (groups.join(", ")) "." }
        }
        @if !reasons.is_empty() {
            p { "The reasons that would be stated:" }
            ul { @for reason in reasons { li { (reason.text) } } }
        }
        @if let Ok(svg) = plot::waterfall(e, place, MOST_PLAYERS) { (figure(&format!("plot-record-{row}"), &caption, &svg, "", &table.behind())) }
    }
}

fn many(ways: &Explanation) -> Markup {
    let caption = "Ways of many records to their scores";
    let mut table = Table::new("ways-table", caption, ["record", "score", "decision", "what moved it most"]);
    for (place, row) in ways.row.iter().enumerate() {
        let values = ways.values.get(place).map_or(&[][..], Vec::as_slice);
        let most = by_magnitude(values).into_iter().take(3).filter_map(|player| {
            let name = ways.feature_names.get(player)?;
            Some(format!("{name} {}", shown(values.get(player).copied()?.into(), 3)))
        });
        let decision = if ways.decision.get(place).copied().unwrap_or_default() { "favourable" } else { "declined" };
        table.row([
            (*row).into(),
            ways.probability.get(place).copied().unwrap_or_default().into(),
            decision.into(),
            most.collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    let words =
        "Records of the sample behind the importance, each from the common base at the foot to its score at the head.";
    html! {
        @if let Ok(svg) = plot::decision(ways, MOST_PLAYERS) {
            h3 { "Many records together" }
            (figure("plot-ways", caption, &svg, words, &table.behind()))
        }
    }
}
