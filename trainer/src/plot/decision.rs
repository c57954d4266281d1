//! The paths of several records from a common base to their scores.

use super::canvas::{
    Anchor, Canvas, Columns, INK, LOWERS, MARGIN, Mark, RAISES, RULE, TOP, WIDTH, line, polyline, px, text,
};
use super::scale::Scale;
use super::waterfall::threshold;
use super::{PlotError, Subject, evenly, grouped, others};
use crate::explanation::{Explanation, by_magnitude, quantity};

const ROW: f64 = 27.0;
/// Maximum number of records that are drawn. If there are more, this number of them is drawn,
/// evenly spaced by their score, including the lowest and the highest.
pub const MOST_LINES: usize = 300;
/// Maximum number of records whose lines are numbered.
const MOST_NUMBERED: usize = 12;
/// Minimum space between two of those numbers, in pixels.
const NUMBER_WIDTH: f64 = 40.0;

/// Maximum difference between bases that count as equal: means over the same background are rounded
/// differently for each record.
const SAME_BASE: f32 = 1e-5;

/// Draws a line per record, from the base at the bottom to its score at the top. The features take
/// at most `most` rows, with the greatest mean magnitude on top.
///
/// Lines that reach the threshold are blue; the others are orange.
///
/// # Errors
/// [`PlotError::SeveralBases`] if the records have different base values, as with the frozen gate;
/// [`PlotError::NoRecord`] if there are no records.
#[allow(clippy::cast_precision_loss)]
pub fn decision(e: &Explanation, most: usize) -> Result<String, PlotError> {
    let base = *e.base_values.first().ok_or(PlotError::NoRecord)?;
    if e.base_values.iter().any(|other| (other - base).abs() > SAME_BASE * base.abs().max(1.0)) {
        return Err(PlotError::SeveralBases);
    }
    let records = drawn(e);
    let order = by_magnitude(&super::beeswarm::mean_magnitudes(e));
    let own = if order.len() > most { most.saturating_sub(1) } else { order.len() };
    let (own, rest) = order.split_at(own);
    let mut names: Vec<String> = own.iter().filter_map(|player| e.feature_names.get(*player).cloned()).collect();
    if !rest.is_empty() {
        names.push(others(rest.len()));
    }
    // From the bottom: first the combined other features, then the rows upwards.
    let ways: Vec<Vec<f64>> = records.iter().map(|record| way(e, *record, f64::from(base), own, rest)).collect();
    let threshold = threshold(e);
    let columns = Columns::new(names.iter().map(String::as_str), []);
    let values = ways.iter().flatten().copied().chain(threshold);
    let scale = Scale::new(values, columns.right() + 16.0, WIDTH - MARGIN, [24.0, 24.0]);

    let subject = Subject::from(e);
    let mut canvas = Canvas::new(ROW * names.len() as f64, &title(e, records.len()), &subject.line());
    canvas.axis(&scale, &subject.quantity());
    for (index, name) in names.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        canvas.put(line(scale.left, y, scale.right, y, RULE, 0.6));
        canvas.label(columns, y, name, "");
    }
    let x = scale.at(f64::from(base));
    canvas.put(line(x, TOP, x, canvas.bottom, INK, 0.8).set("class", "base"));
    let opacity = px((12.0 / records.len() as f64).clamp(0.18, 0.9));
    for (record, way) in records.iter().zip(&ways) {
        let points = way.iter().enumerate().map(|(step, value)| (scale.at(*value), canvas.bottom - ROW * step as f64));
        let favourable = e.decision.get(*record).copied().unwrap_or_default();
        let path = polyline(points, if favourable { RAISES } else { LOWERS });
        canvas.put(path.set("stroke-width", 1.6).set("stroke-opacity", opacity.as_str()).set("class", "way"));
    }
    let numbered = records.len() <= MOST_NUMBERED;
    if numbered {
        let mut free = 0.0_f64;
        for (record, way) in records.iter().zip(&ways) {
            let end = way.last().map_or(x, |value| scale.at(*value));
            let at = end.max(free).min(WIDTH - MARGIN);
            let row = e.row.get(*record).copied().unwrap_or_default();
            canvas.put(text(at, TOP - 8.0, &row.to_string(), Anchor::Middle, INK).set("font-size", 12));
            free = at + NUMBER_WIDTH;
        }
    }
    if let Some(threshold) = threshold {
        let x = scale.at(threshold);
        canvas.put(line(x, TOP, x, canvas.bottom, INK, 1.0).set("stroke-dasharray", "5 4").set("class", "threshold"));
    }
    let dashed = format!("dashed: threshold {}", e.threshold);
    let mut legend = vec![(Some(Mark::Line(RAISES)), "favourable"), (Some(Mark::Line(LOWERS)), "declined")];
    legend.push((Some(Mark::Line(INK)), subject.start()));
    legend.extend(threshold.map(|_| (None, dashed.as_str())));
    legend.extend(numbered.then_some((None, "numbers at the head: records")));
    canvas.legend(&legend);
    Ok(canvas.finish())
}

/// Returns the records to draw, by ascending score.
fn drawn(e: &Explanation) -> Vec<usize> {
    let mut order: Vec<usize> = (0..e.output.len()).collect();
    let output = |record: &usize| e.output.get(*record).copied().unwrap_or_default();
    order.sort_by(|a, b| output(a).total_cmp(&output(b)));
    evenly(order.len(), MOST_LINES).filter_map(|index| order.get(index).copied()).collect()
}

/// Returns the values along a record's path, from the base upwards.
fn way(e: &Explanation, record: usize, base: f64, own: &[usize], rest: &[usize]) -> Vec<f64> {
    let values = e.values.get(record).map_or(&[][..], Vec::as_slice);
    let value = |player: &usize| values.get(*player).copied().map_or(0.0, f64::from);
    let mut way = vec![base];
    let mut end = base;
    if !rest.is_empty() {
        end += rest.iter().map(value).sum::<f64>();
        way.push(end);
    }
    for player in own.iter().rev() {
        end += value(player);
        way.push(end);
    }
    way
}

fn title(e: &Explanation, drawn: usize) -> String {
    let count = match e.output.len() {
        1 => "one record comes".to_owned(),
        all if all > drawn => format!("{drawn} of {} records, evenly by score, come", grouped(all as u64)),
        all => format!("{all} records come"),
    };
    format!("How {count} to the {}", quantity(e.space, &e.output_names))
}
