//! The trade-off between fairness and accuracy, if the report has a search.

use feamoe_engine::fairness::Measure;
use maud::{Markup, html};

use super::super::Report;
use super::super::table::{Field, Table, figure};
use super::heading;
use crate::plot;
use crate::tuning::{Figures, Tuned};

/// Returns the section; `None` without a search, and for a search without a protected column.
pub(super) fn cost(report: &Report) -> Option<Markup> {
    let tuned = report.options.front.as_ref()?;
    let measure = tuned.front_measure()?;
    let own = report.evaluation.worst(measure).map(|gap| measure.magnitude(gap));
    let drawing = plot::front(tuned, own.map(|gap| [gap, report.evaluation.accuracy].map(f64::from)));
    let caption = format!("Accuracy against {}", heading(measure));
    let words = "To the left is fairer, above is more accurate. No other point is both fairer and more accurate than those on the line.";
    Some(html! {
        p {
            "Models that a search (" code { "feamoe tune" } ") trained on " (plot::grouped(tuned.rows)) " rows, with more or less strict targets on "
            (heading(measure)) ", with a threshold for each group, without any target, and as one logistic regression. They are judged on rows that they did "
            "not learn from; the ring is this model on the rows of this report, which may be others."
        }
        @match drawing {
            Some(drawing) => { (figure("plot-front", &caption, &drawing, words, &table(tuned, measure, &caption).behind())) }
            None => { p.note { "Nothing is drawn: in the rows of the search, groups have too few records to be judged by " (heading(measure)) "." } }
        }
        @for note in &tuned.notes { p.note { (note) } }
        @if tuned.left_out > 0 { p.note { "The time limit of the search left out " (tuned.left_out) " trials." } }
    })
}

fn table(tuned: &Tuned, measure: Measure, caption: &str) -> Table {
    let headings = ["model", "target", "furthest from equal", "accuracy", "log-loss", "rows", "best"];
    let mut table = Table::new("front-table", caption, headings);
    for point in &tuned.front {
        let Figures { rows, log_loss, accuracy, .. } = point.figures;
        table.row([
            point.kind.name().into(),
            point.limit.map_or_else(|| Field::from("–"), Field::from),
            point.figures.magnitude(measure).map_or_else(|| Field::from("not judged"), Field::from),
            accuracy.into(),
            log_loss.into(),
            rows.into(),
            if point.is_best { "yes" } else { "no" }.into(),
        ]);
    }
    table
}
