//! The path of one record from the base to its score: one bar per feature, which starts at the end
//! of the bar above it.

use feamoe_engine::{Method, Space};

use super::canvas::{Anchor, Canvas, Columns, INK, LOWERS, MARGIN, Mark, RAISES, RULE, WIDTH, arrow, line, number};
use super::scale::{Scale, plain, signed};
use super::{PlotError, Subject, others};
use crate::explanation::{Explanation, by_magnitude, quantity, shown};

const ROW: f64 = 27.0;
const BAR: f64 = 17.0;
/// Space at both ends of the axis for numbers beside bars.
const ROOM: f64 = 66.0;

/// A row of the plot.
struct Row {
    name: String,
    cell: String,
    value: f64,
    /// The ends of its interval, relative to the start of the bar.
    interval: Option<[f64; 2]>,
}

/// Draws the explanation of the record at an index: base on top, features by descending magnitude,
/// score at the bottom.
///
/// There are at most `most` bars; the last one combines the features without a bar of their own.
/// Whiskers are 95 % intervals, if the method has them. The threshold is drawn if its distance from
/// the values is at most their range; the title always states it. A residual that is visible at the
/// precision of the numbers has its own bar.
///
/// # Errors
/// [`PlotError::NoRecord`].
pub fn waterfall(e: &Explanation, record: usize, most: usize) -> Result<String, PlotError> {
    let at = |values: &[f32]| values.get(record).copied().map(f64::from).ok_or(PlotError::NoRecord);
    let (base, output, residual) = (at(&e.base_values)?, at(&e.output)?, at(&e.residual)?);
    let mut rows = rows(e, record, most);
    let ends = |rows: &[Row]| {
        let mut end = base;
        let mut ends = Vec::new();
        for row in rows {
            end += row.value;
            ends.push((end - row.value, end));
        }
        ends
    };
    let reach = |ends: &[(f64, f64)], rows: &[Row]| -> Vec<f64> {
        let whiskers =
            ends.iter().zip(rows).filter_map(|((start, _), row)| row.interval.map(|i| i.map(|end| start + end)));
        ends.iter().map(|(_, end)| *end).chain([base, output]).chain(whiskers.flatten()).collect()
    };
    let subject = Subject::of_record(e, record);
    let mut values = reach(&ends(&rows), &rows);
    if let Some(threshold) = threshold(e) {
        let (low, high) = values.iter().fold((base, base), |(low, high), x| (low.min(*x), high.max(*x)));
        let near = (low - (high - low))..=(high + (high - low));
        values.extend(near.contains(&threshold).then_some(threshold));
    }
    let cells = rows.iter().map(|row| row.cell.as_str());
    let columns = Columns::new(rows.iter().map(|row| row.name.as_str()).chain([subject.start()]), cells);
    let scale = Scale::new(values.iter().copied(), columns.right() + 16.0, WIDTH - MARGIN, [ROOM, ROOM]);
    let decimals = scale.decimals();
    // A residual below the precision of the numbers would be a row of zeros.
    if signed(residual, decimals) != signed(0.0, decimals) {
        rows.push(Row { name: "residual".into(), cell: String::new(), value: residual, interval: None });
    }
    let ends = ends(&rows);

    let mut canvas = Canvas::new(ROW * (rows.len() + 2) as f64, &title(e, record), &subject.line());
    canvas.axis(&scale, &subject.quantity());
    if let Some(threshold) = threshold(e).filter(|threshold| values.contains(threshold)) {
        canvas.mark(scale.at(threshold), &format!("threshold {}", e.threshold), "threshold");
    }
    let middle = |row: usize| super::canvas::TOP + ROW * (row as f64 + 0.5);
    total(&mut canvas, &scale, columns, middle(0), (subject.start(), base), "base");
    let mut intervals = false;
    for (index, (row, (start, end))) in rows.iter().zip(&ends).enumerate() {
        let (y, from, to) = (middle(index + 1), scale.at(*start), scale.at(*end));
        let colour = if row.value < 0.0 { LOWERS } else { RAISES };
        canvas.put(line(from, y - ROW + BAR / 2.0, from, y - BAR / 2.0, INK, 0.7));
        canvas.put(arrow(from, to, y, BAR).set("fill", colour).set("class", "bar"));
        let mut outermost = to;
        if let Some([low, high]) = row.interval.map(|interval| interval.map(|end| scale.at(start + end))) {
            intervals = true;
            canvas.put(line(low, y, high, y, INK, 1.3).set("class", "interval"));
            for end in [low, high] {
                canvas.put(line(end, y - 4.0, end, y + 4.0, INK, 1.3));
            }
            outermost = if row.value < 0.0 { to.min(low) } else { to.max(high) };
        }
        let (x, anchor) =
            if row.value < 0.0 { (outermost - 6.0, Anchor::End) } else { (outermost + 6.0, Anchor::Start) };
        canvas.put(number(x, y, &signed(row.value, decimals), anchor));
        canvas.label(columns, y, &row.name, &row.cell);
    }
    let (last, y) = (scale.at(ends.last().map_or(base, |ends| ends.1)), middle(rows.len() + 1));
    canvas.put(line(last, y - ROW + BAR / 2.0, last, y - BAR / 2.0, INK, 0.7));
    total(&mut canvas, &scale, columns, y, ("this record", output), "output");
    let mut legend =
        vec![(Some(Mark::Bar(RAISES, true)), "raises the score"), (Some(Mark::Bar(LOWERS, false)), "lowers it")];
    if intervals {
        legend.push((Some(Mark::Line(INK)), "95 % interval of the estimate"));
    }
    canvas.legend(&legend);
    Ok(canvas.finish())
}

/// Draws the base or the score: a vertical line and its number.
fn total(canvas: &mut Canvas, scale: &Scale, columns: Columns, y: f64, (name, value): (&str, f64), class: &str) {
    let x = scale.at(value);
    let rule = if class == "base" { y + ROW / 2.0 } else { y - ROW / 2.0 };
    canvas.put(line(MARGIN, rule, scale.right, rule, RULE, 1.0));
    canvas.put(line(x, y - BAR / 2.0, x, y + BAR / 2.0, INK, 3.0).set("class", class));
    canvas.put(number(x + 7.0, y, &plain(value, scale.decimals()), Anchor::Start).set("font-weight", "bold"));
    canvas.label(columns, y, name, "");
}

fn rows(e: &Explanation, record: usize, most: usize) -> Vec<Row> {
    let of = |columns: &[Vec<f32>]| columns.get(record).cloned().unwrap_or_default();
    let (values, low, high) = (of(&e.values), of(&e.lower_bounds), of(&e.upper_bounds));
    let order = by_magnitude(&values);
    // If there is one feature too many, two are combined: a row "1 other feature" would hide a name
    // without saving a row.
    let own = if order.len() > most { most.saturating_sub(1) } else { order.len() };
    let (own, rest) = order.split_at(own);
    let value = |player: usize| values.get(player).copied().map_or(0.0, f64::from);
    let mut rows: Vec<Row> = own
        .iter()
        .map(|player| {
            let cell = e.display_data.get(record).and_then(|cells| cells.get(*player)).map_or(String::new(), shown);
            let interval = low.get(*player).zip(high.get(*player)).map(|(low, high)| [*low, *high].map(f64::from));
            let name = e.feature_names.get(*player).cloned().unwrap_or_default();
            Row { name, cell, value: value(*player), interval }
        })
        .collect();
    if !rest.is_empty() {
        let value = rest.iter().map(|player| value(*player)).sum();
        rows.push(Row { name: others(rest.len()), cell: String::new(), value, interval: None });
    }
    rows
}

/// Returns `Record 7: score for yes = 0.2341, declined (threshold 0.5)`.
pub(super) fn title(e: &Explanation, record: usize) -> String {
    let score = e.probability.get(record).copied().unwrap_or_default();
    let decision = e.decision.get(record).copied().unwrap_or_default();
    format!(
        "Record {}: {} = {score:.4}, {} (threshold {})",
        e.row.get(record).copied().unwrap_or_default(),
        quantity(Space::Probability, &e.output_names),
        if decision { "favourable" } else { "declined" },
        e.threshold,
    )
}

/// Returns the threshold in the space of the values; `None` for the frozen gate, because its
/// averaged log-odds are not those of the score.
pub(super) fn threshold(e: &Explanation) -> Option<f64> {
    let threshold = f64::from(e.threshold);
    match (e.method, e.space) {
        (Method::Frozen, _) => None,
        (_, Space::Probability) => Some(threshold),
        (_, Space::LogOdds) => Some(libm::log(threshold / (1.0 - threshold))),
    }
}
