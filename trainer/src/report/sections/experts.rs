//! Which experts decide, and when.

use maud::{Markup, html};

use super::super::table::{Table, figure};
use super::super::{Report, Stretch};
use crate::plot::{Map, map};

/// Returns the section.
#[allow(clippy::cast_precision_loss)]
pub(super) fn experts(report: &Report) -> Markup {
    let stretches = &report.stretches;
    let rows: u64 = stretches.iter().map(Stretch::rows).sum();
    let mean = |expert: usize| {
        let sum: f64 = stretches.iter().filter_map(|stretch| stretch.gate.get(expert)).sum();
        sum / rows as f64
    };
    let caption = "Mean gate weight of each expert over the rows of this report";
    let experts = 0..report.facts.experts;
    let row = |expert: usize| {
        let shares = stretches.iter().map(|stretch| stretch.mean_gate(expert)).collect();
        (format!("expert {}", expert + 1), shares, mean(expert))
    };
    let drawing = Map {
        title: caption.into(),
        line: format!("{} windows; the weights of a row sum to 1", stretches.len()),
        axis: "row".into(),
        stretches: stretches.iter().map(|stretch| (stretch.from, stretch.rows())).collect(),
        rows: experts.clone().map(row).collect(),
    };
    let headings =
        ["rows".to_owned()].into_iter().chain(experts.clone().map(|expert| format!("expert {}", expert + 1)));
    let mut table = Table::new("gate", caption, headings);
    for stretch in stretches {
        let from = format!("{} to {}", stretch.from, stretch.from + stretch.rows() - 1);
        table.row([from.into()].into_iter().chain(experts.clone().map(|expert| stretch.mean_gate(expert).into())));
    }
    html! {
        p {
            "The score of a record is the mean of the experts' probabilities, weighed by the gate. An expert with hardly any weight over all rows "
            "hardly decides; one whose weight changes along the rows follows something that changes in the data."
        }
        (figure("plot-gate", caption, &map(&drawing), "", &table.behind()))
    }
}
