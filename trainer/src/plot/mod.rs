//! Plots of explanations as SVG. They are plain, safe for colour-blind readers (blue raises, orange
//! lowers, and the shape shows the direction too), and have the same bytes on every machine.
//!
//! | plot | of | shows |
//! | --- | --- | --- |
//! | [`waterfall`] | one record | the path from base to score, by feature |
//! | [`bar`] | a summary | which features move scores |
//! | [`bar_of_record`] | one record | which features moved this score |
//! | [`beeswarm`] | many records | each value as a dot, coloured by the value of the feature |
//! | [`scatter`] | many records | what each feature adds, against the value of the feature |
//! | [`heatmap`] | many records | all values as shades, with records sorted by score |
//! | [`decision`] | some records | their paths from a common base to their scores |
//! | [`front`] | a search | the trade-off between fairness and accuracy |
//! | [`shapes`] | a model | how each feature moves scores along its values, by expert |
//! | [`panels()`] | anything | lines over rows, thresholds or rates, in panels |
//! | [`intervals()`] | a comparison | differences with their intervals |
//! | [`map()`] | shares | their change over the rows, as shades |
//!
//! Each plot is a complete document without identifiers, so that one page can contain several. Text
//! uses the reader's sans serif font. A name or value that is too long for its place is shortened
//! in the middle with `…`, and the element's title contains the whole text. Features beyond the
//! number of rows that the caller allows, such as [`MOST_PLAYERS`], share one row; the beeswarm,
//! the scatter plot and the shapes only count them.

mod bar;
mod beeswarm;
mod canvas;
mod decision;
mod front;
mod heatmap;
mod intervals;
mod map;
mod panels;
mod scale;
mod scatter;
mod shapes;
mod waterfall;

pub use bar::{bar, bar_of_record};
pub use beeswarm::{MOST_DOTS, beeswarm};
pub use canvas::COLOURS;
pub use decision::{MOST_LINES, decision};
pub use front::front;
pub use heatmap::{MOST_COLUMNS, heatmap};
pub use intervals::{Difference, Intervals, intervals};
pub use map::{Map, map};
pub use panels::{Curve, Entry, MOST_STYLES, Panel, Panels, panels};
pub use scatter::{MOST_POINTS, scatter};
pub use shapes::{MOST_LEVELS, shapes};
pub use waterfall::waterfall;

use feamoe_engine::{Method, Space};

use crate::explanation::{Background, Explanation, Summary, evenly, quantity};

/// The default number of rows of features in a plot.
pub const MOST_PLAYERS: usize = 20;

/// The reason why nothing can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The explanation does not have this record, or has no records.
    #[error("the record to draw does not exist")]
    NoRecord,
    /// The records start from different base values.
    #[error(
        "a decision plot needs one base value, but with the gate held fixed each record has its own; use another method"
    )]
    SeveralBases,
}

/// The subject of an explanation, written under the title of its plot.
struct Subject<'a> {
    method: Method,
    /// The number of records, and of the sampled ones among them.
    records: [u64; 2],
    space: Space,
    outcome: &'a str,
    background: Option<&'a Background>,
    model: &'a str,
}

impl Subject<'_> {
    /// Returns the name of the quantity that the values add up to.
    fn quantity(&self) -> String {
        let averaged = if self.method == Method::Frozen { ", experts averaged by the gate" } else { "" };
        format!("{}{averaged}", quantity(self.space, self.outcome))
    }

    /// Returns the name of the base value.
    fn start(&self) -> &'static str {
        if self.background.is_some() { "mean of the background" } else { "the mean record" }
    }

    fn line(&self) -> String {
        let against = match self.background {
            Some(background) => format!("{} background records ({})", grouped(background.rows.into()), background.hash),
            None => "the mean record of training".to_owned(),
        };
        let method = match self.records {
            [records, sampled] if sampled > 0 && sampled < records => {
                format!("exact, {} of {} records sampled", grouped(sampled), grouped(records))
            }
            _ => self.method.name().to_owned(),
        };
        format!("method {method} · against {against} · model {}", self.model)
    }
}

impl<'a> From<&'a Explanation> for Subject<'a> {
    fn from(e: &'a Explanation) -> Self {
        let (outcome, background, model) = (&e.output_names, e.background.as_ref(), &e.model);
        let records = [e.values.len() as u64, e.sampled() as u64];
        Self { method: e.method, records, space: e.space, outcome, background, model }
    }
}

impl<'a> From<&'a Summary> for Subject<'a> {
    fn from(s: &'a Summary) -> Self {
        let (outcome, background, model) = (&s.output_names, s.background.as_ref(), &s.model);
        let records = [s.records, s.sampled];
        Self { method: s.method, records, space: s.space, outcome, background, model }
    }
}

impl<'a> Subject<'a> {
    /// Describes one record of an explanation.
    fn of_record(e: &'a Explanation, record: usize) -> Self {
        let was_sampled =
            e.methods.get(record).map_or(e.method == Method::Sampled, |method| *method == Method::Sampled.name());
        let method = if was_sampled || e.method != Method::Sampled { e.method } else { Method::Exact };
        Self { method, records: [1, u64::from(was_sampled)], ..Self::from(e) }
    }
}

/// Returns a count with commas: `16,281`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Returns the name of the row that combines several features.
fn others(count: usize) -> String {
    format!("{count} other features")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        assert_eq!([0, 999, 1_000, 16_281, 1_000_000].map(grouped), ["0", "999", "1,000", "16,281", "1,000,000"]);
    }
}
