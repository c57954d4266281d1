//! Values of many records as shades: which records a feature moves, and which of them are alike.

use std::fmt::Write as _;

use svg::node::element::Path;

use super::beeswarm::mean_magnitudes;
use super::canvas::{Anchor, Canvas, Columns, GREY, INK, MARGIN, RULE, SIZE, TOP, WIDTH};
use super::canvas::{line, polyline, px, text, width};
use super::scale::{Scale, signed};
use super::waterfall::threshold;
use super::{PlotError, Subject, evenly, grouped, others};
use crate::explanation::{Explanation, by_magnitude, quantity};

/// Maximum number of records that are drawn. If there are more, this number of them is drawn,
/// evenly spaced by their score, including the lowest and the highest.
pub const MOST_COLUMNS: usize = 400;
const ROW: f64 = 24.0;
/// Height of the scores above the rows, and the space below them.
const SCORES: f64 = 72.0;
const SPACE: f64 = 14.0;
/// From the most negative to the most positive value.
const SHADES: [&str; 9] =
    ["#b34f00", "#d97b33", "#eda97a", "#f7d8c4", "#f2f2f2", "#c5dcec", "#84b6d8", "#3f8dc0", "#00568a"];
/// Share of the magnitudes that are distinguished; all larger ones have the last shade.
const DISTINCT: f64 = 0.99;

/// Draws a column for each record, from the lowest score to the highest. The score is on top. Below
/// it, the values of the features take at most `most` rows, by descending mean magnitude.
///
/// # Errors
/// [`PlotError::NoRecord`] for an explanation without records.
pub fn heatmap(e: &Explanation, most: usize) -> Result<String, PlotError> {
    let mut records: Vec<usize> = (0..e.values.len()).collect();
    let output = |record: usize| e.output.get(record).copied().unwrap_or_default();
    records.sort_by(|a, b| output(*a).total_cmp(&output(*b)));
    let records: Vec<usize> =
        evenly(records.len(), MOST_COLUMNS).filter_map(|index| records.get(index).copied()).collect();
    if records.is_empty() {
        return Err(PlotError::NoRecord);
    }
    let order = by_magnitude(&mean_magnitudes(e));
    let own = if order.len() > most { most.saturating_sub(1) } else { order.len() };
    let (own, rest) = order.split_at(own);
    let value = |record: usize, player: usize| -> f64 {
        e.values.get(record).and_then(|values| values.get(player)).copied().map_or(0.0, f64::from)
    };
    let mut rows: Vec<(String, Vec<f64>)> = own
        .iter()
        .map(|player| {
            let name = e.feature_names.get(*player).cloned().unwrap_or_default();
            (name, records.iter().map(|record| value(*record, *player)).collect())
        })
        .collect();
    if !rest.is_empty() {
        let sum = |record: &usize| rest.iter().map(|player| value(*record, *player)).sum();
        rows.push((others(rest.len()), records.iter().map(sum).collect()));
    }
    let largest = largest(rows.iter().flat_map(|(_, values)| values));

    let columns = Columns::new(rows.iter().map(|(name, _)| name.as_str()), []);
    let (left, right) = (columns.right() + 16.0, WIDTH - MARGIN);
    let column = (right - left) / records.len() as f64;
    let subject = Subject::from(e);
    let mut canvas = Canvas::new(SCORES + SPACE + ROW * rows.len() as f64, &title(e, records.len()), &subject.line());
    canvas.describe("One column for each record, from the lowest score to the highest; one row for each feature.");
    scores(&mut canvas, e, &records, [left, right], columns, &subject.quantity());
    for (index, (name, values)) in rows.iter().enumerate() {
        let y = TOP + SCORES + SPACE + ROW * (index as f64 + 0.5);
        canvas.label(columns, y, name, "");
        for (colour, path) in strokes(values, largest, left, column, y) {
            canvas.put(Path::new().set("d", path).set("stroke", colour).set("stroke-width", px(ROW - 2.0)));
        }
    }
    let words = format!("{} records, from the lowest score to the highest", grouped(records.len() as u64));
    canvas.put(text((left + right) / 2.0, canvas.bottom + 20.0, &words, Anchor::Middle, INK));
    legend(&mut canvas, largest, &subject.quantity());
    Ok(canvas.finish())
}

/// Draws the scores above the columns, with their lowest and highest value and the threshold.
fn scores(
    canvas: &mut Canvas,
    e: &Explanation,
    records: &[usize],
    [left, right]: [f64; 2],
    columns: Columns,
    quantity: &str,
) {
    let outputs: Vec<f64> =
        records.iter().map(|record| e.output.get(*record).copied().map_or(0.0, f64::from)).collect();
    let scale = Scale::new(outputs.iter().copied(), 0.0, SCORES, [4.0, 4.0]);
    let bottom = TOP + SCORES;
    canvas.label(columns, bottom - SCORES / 2.0, "score", "");
    let column = (right - left) / records.len() as f64;
    if let Some(threshold) = threshold(e) {
        let y = bottom - scale.at(threshold);
        if (TOP..=bottom).contains(&y) {
            canvas.put(line(left, y, right, y, INK, 1.0).set("stroke-dasharray", "5 4").set("class", "threshold"));
        }
    }
    canvas.put(line(left, bottom, right, bottom, RULE, 1.0));
    let points = outputs.iter().enumerate();
    let points = points.map(|(index, score)| (left + column * (index as f64 + 0.5), bottom - scale.at(*score)));
    canvas.put(polyline(points, INK).set("stroke-width", 1.4).set("class", "scores"));
    let decimals = scale.decimals().min(4);
    if let (Some(low), Some(high)) = (outputs.first(), outputs.last()) {
        let words = format!("{low:.decimals$} to {high:.decimals$}, {quantity}");
        canvas.put(text(right, TOP - 8.0, &words, Anchor::End, GREY).set("font-size", 12));
    }
}

/// Returns the magnitude at which the last shade is reached.
fn largest<'v>(values: impl Iterator<Item = &'v f64>) -> f64 {
    let mut magnitudes: Vec<f64> = values.map(|value| value.abs()).collect();
    magnitudes.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (magnitudes.len().saturating_sub(1) as f64 * DISTINCT) as usize;
    let at = |place: usize| magnitudes.get(place).copied().unwrap_or_default();
    if at(place) > 0.0 { at(place) } else { at(magnitudes.len().saturating_sub(1)) }
}

/// Returns the strokes of a row by shade. Neighbours of the same shade share one stroke.
fn strokes(values: &[f64], largest: f64, left: f64, column: f64, y: f64) -> Vec<(&'static str, String)> {
    let shades: Vec<usize> = values.iter().map(|value| shade(*value, largest)).collect();
    let mut paths = vec![String::new(); SHADES.len()];
    let mut start = 0;
    for same in shades.chunk_by(|a, b| a == b) {
        let (x, length) = (left + column * start as f64, column * same.len() as f64);
        if let Some(path) = same.first().and_then(|shade| paths.get_mut(*shade)) {
            let _ = write!(path, "M{} {}h{}", px(x), px(y), px(length));
        }
        start += same.len();
    }
    SHADES.into_iter().zip(paths).filter(|(_, path)| !path.is_empty()).collect()
}

/// Returns the shade of a value. The middle shade covers magnitudes up to a ninth of the largest.
fn shade(value: f64, largest: f64) -> usize {
    let steps = SHADES.len() as f64;
    let share = if largest > 0.0 { (value / largest).clamp(-1.0, 1.0) } else { 0.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let step = ((share + 1.0) / 2.0 * steps) as usize;
    step.min(SHADES.len() - 1)
}

/// Draws the shades at the bottom, with the magnitude of the last.
fn legend(canvas: &mut Canvas, largest: f64, quantity: &str) {
    let y = canvas.bottom + 62.0;
    let decimals = Scale::new([-largest, largest], 0.0, 100.0, [0.0, 0.0]).decimals().min(6);
    let [low, high] = [-largest, largest].map(|end| signed(end, decimals));
    let (low, high) = (format!("{low} and less"), format!("{high} and more, in {quantity}"));
    let mut x = MARGIN;
    canvas.put(text(x, y + 4.0, &low, Anchor::Start, GREY).set("font-size", 12));
    x += width(&low) * 12.0 / SIZE + 8.0;
    for shade in SHADES {
        canvas.put(line(x, y, x + 16.0, y, shade, 12.0));
        x += 16.0;
    }
    canvas.put(text(x + 8.0, y + 4.0, &high, Anchor::Start, GREY).set("font-size", 12));
}

fn title(e: &Explanation, drawn: usize) -> String {
    let records = e.values.len();
    let which = if drawn < records {
        format!("{} of {} records, evenly by score", grouped(drawn as u64), grouped(records as u64))
    } else {
        format!("{} records", grouped(records as u64))
    };
    format!("What moves the {}: {which}", quantity(e.space, &e.output_names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_are_symmetric_and_end_at_the_largest() {
        let middle = SHADES.len() / 2;
        assert_eq!([shade(0.0, 1.0), shade(0.1, 1.0), shade(-0.1, 1.0), shade(3.0, 0.0)], [middle; 4]);
        for step in 0..=1_000 {
            let value = f64::from(step) / 500.0;
            let (up, down) = (shade(value, 1.0), shade(-value, 1.0));
            assert!(up + down == SHADES.len() - 1 || up + down + 1 == SHADES.len() - 1 || up == down + 1, "{value}");
            assert!(up >= middle && down <= middle);
        }
        assert_eq!((shade(9.0, 1.0), shade(-9.0, 1.0)), (SHADES.len() - 1, 0));
    }

    #[test]
    fn neighbours_of_one_shade_are_one_stroke() {
        let paths = strokes(&[0.0, 0.0, 1.0, 0.0], 1.0, 10.0, 5.0, 3.0);
        let all: String = paths.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths.len(), 2);
        assert_eq!(all, "M10 3h10M25 3h5M20 3h5");
    }
}
