//! What a feature adds to scores against its value, with one panel per feature.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::beeswarm::{is_missing, level, mean_magnitudes};
use super::canvas::{Anchor, BOLD, Canvas, GREY, INK, MARGIN, RAISES, RULE, TOP, WIDTH, dots, line, px, small, text};
use super::scale::Scale;
use super::{PlotError, Subject, evenly, grouped};
use crate::explanation::{Explanation, by_magnitude, quantity};

/// Maximum number of dots of a panel. If there are more records, this number of them is drawn,
/// evenly spaced by their value of the feature.
pub const MOST_POINTS: usize = 1_500;
/// Maximum number of levels that have a place of their own; the others share one.
const MOST_LEVELS: usize = 8;
const DOT: f64 = 4.0;
/// Space between the two panels of a row.
const BETWEEN: f64 = 28.0;
/// Height of a panel with its name and the labels below it.
const PANEL: f64 = 232.0;
const NAME: f64 = 26.0;
const LABELS: f64 = 30.0;
/// Left end of the dots, to the right of the labels of the values.
const LEFT: f64 = 58.0;
/// Width of the place for missing numbers.
const MISSING: f64 = 52.0;
/// Maximum number of ticks of a panel.
const TICKS: f64 = 7.0;

/// Draws a panel for each of the `most` features with the greatest mean magnitude. Each record is a
/// dot: horizontally its value of the feature, vertically what this value adds to the score. All
/// panels share the vertical scale.
///
/// # Errors
/// [`PlotError::NoRecord`] for an explanation without records.
pub fn scatter(e: &Explanation, most: usize) -> Result<String, PlotError> {
    if e.values.is_empty() {
        return Err(PlotError::NoRecord);
    }
    let order = by_magnitude(&mean_magnitudes(e));
    let (shown, rest) = order.split_at(order.len().min(most));
    let all = e.values.iter().flat_map(|values| shown.iter().filter_map(|player| values.get(*player)));
    let up = Scale::new(all.copied().map(f64::from).chain([0.0]), 0.0, PANEL - NAME - LABELS, [6.0, 6.0]);
    let subject = Subject::from(e);
    let mut canvas = Canvas::new(PANEL * shown.len().div_ceil(2) as f64, &title(e), &subject.line());
    canvas.describe("One panel for each feature: across what a record holds, up what that adds to its score.");
    for (index, player) in shown.iter().enumerate() {
        let width = (WIDTH - 2.0 * MARGIN - BETWEEN) / 2.0;
        let left = MARGIN + (index % 2) as f64 * (width + BETWEEN);
        let top = TOP - 12.0 + PANEL * (index / 2) as f64;
        panel(&mut canvas, e, *player, &up, [left, left + width], top);
    }
    let words = format!("up: value, in {}", subject.quantity());
    let omitted = format!("{} features that move scores less are not shown", rest.len());
    let omitted = (!rest.is_empty()).then_some((None, omitted.as_str()));
    canvas.legend(&[(None, words.as_str())].into_iter().chain(omitted).collect::<Vec<_>>());
    Ok(canvas.finish())
}

fn panel(canvas: &mut Canvas, e: &Explanation, player: usize, up: &Scale, [left, right]: [f64; 2], top: f64) {
    let bottom = top + PANEL - LABELS;
    let name = e.feature_names.get(player).map(String::as_str).unwrap_or_default();
    canvas.put(small(left, top + 14.0, name, (right - left) / BOLD).set("fill", INK).set("font-weight", "bold"));
    for (tick, label) in up.ticks_within(TICKS) {
        let y = bottom - up.at(tick);
        canvas.put(line(left + LEFT, y, right, y, RULE, 1.0));
        canvas.put(text(left + LEFT - 6.0, y + 4.0, &label, Anchor::End, GREY).set("font-size", 11));
    }
    let zero = bottom - up.at(0.0);
    canvas.put(line(left + LEFT, zero, right, zero, GREY, 1.0));
    let y = |record: usize| {
        let value = e.values.get(record).and_then(|values| values.get(player)).copied().unwrap_or_default();
        bottom - up.at(f64::from(value))
    };
    let across = if e.numbers.get(player).copied().unwrap_or_default() { numbers } else { levels };
    let places = across(canvas, e, player, [left + LEFT, right], bottom);
    let mut path = String::new();
    for place in evenly(places.len(), MOST_POINTS) {
        if let Some((record, x)) = places.get(place) {
            let _ = write!(path, "M{} {}h0", px(*x), px((y(*record) * 10.0).round() / 10.0));
        }
    }
    canvas.put(dots(path, RAISES, DOT).set("stroke-opacity", "0.5").set("class", "dots"));
}

/// Returns the horizontal position of each record by its number, with missing ones at the end, and
/// draws the axis.
fn numbers(
    canvas: &mut Canvas,
    e: &Explanation,
    player: usize,
    [left, right]: [f64; 2],
    bottom: f64,
) -> Vec<(usize, f64)> {
    let held = |record: usize| {
        let number = e.data.get(record).and_then(|cells| cells.get(player)).and_then(Value::as_f64);
        number.filter(|_| !is_missing(e, record, player))
    };
    let mut present: Vec<(usize, f64)> =
        (0..e.values.len()).filter_map(|record| Some((record, held(record)?))).collect();
    present.sort_by(|a, b| a.1.total_cmp(&b.1));
    let absent: Vec<usize> = (0..e.values.len()).filter(|record| held(*record).is_none()).collect();
    let end = if absent.is_empty() { right } else { right - MISSING };
    let scale = Scale::new(present.iter().map(|(_, number)| *number), left, end, [8.0, 8.0]);
    if !present.is_empty() {
        for (tick, label) in scale.ticks_within(TICKS) {
            canvas.put(text(scale.at(tick), bottom + 16.0, &label, Anchor::Middle, GREY).set("font-size", 11));
        }
    }
    let mut places: Vec<(usize, f64)> =
        present.into_iter().map(|(record, number)| (record, scale.at(number))).collect();
    if !absent.is_empty() {
        let middle = right - MISSING / 2.0;
        canvas.put(text(middle, bottom + 16.0, "missing", Anchor::Middle, GREY).set("font-size", 11));
        places.extend(absent.into_iter().map(|record| (record, middle + spread(record) * MISSING / 3.0)));
    }
    places
}

/// Returns the horizontal position of each record by its level, the most frequent first, and draws
/// the names of the levels.
fn levels(
    canvas: &mut Canvas,
    e: &Explanation,
    player: usize,
    [left, right]: [f64; 2],
    bottom: f64,
) -> Vec<(usize, f64)> {
    let name = |record: usize| {
        if is_missing(e, record, player) { "missing".to_owned() } else { level(e, record, player) }
    };
    let names: Vec<String> = (0..e.values.len()).map(name).collect();
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in &names {
        *counts.entry(name).or_default() += 1;
    }
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let own = if order.len() > MOST_LEVELS { MOST_LEVELS - 1 } else { order.len() };
    let (own, rest) = order.split_at(own);
    let others = format!("{} others", rest.len());
    let labels: Vec<&str> = own.iter().map(|(name, _)| *name).chain((!rest.is_empty()).then_some(&*others)).collect();
    let column = (right - left) / labels.len().max(1) as f64;
    let middle = |place: usize| left + column * (place as f64 + 0.5);
    for (place, label) in labels.iter().enumerate() {
        let words = small(middle(place), bottom + 16.0, label, (column - 4.0) * 1.18);
        canvas.put(words.set("text-anchor", "middle").set("font-size", 11));
    }
    let mut places: Vec<(usize, f64)> = names
        .iter()
        .enumerate()
        .map(|(record, name)| {
            let place = own.iter().position(|(own, _)| own == name).unwrap_or(own.len());
            (record, middle(place) + spread(record) * column * 0.35)
        })
        .collect();
    places.sort_by(|a, b| a.1.total_cmp(&b.1));
    places
}

/// Returns a position in [-1, 1) for a record. Multiples of the golden ratio distribute all records
/// evenly.
fn spread(record: usize) -> f64 {
    2.0 * (record as f64 * 0.618_033_988_749_894_9).fract() - 1.0
}

fn title(e: &Explanation) -> String {
    let records = e.values.len();
    let thinned = if records > MOST_POINTS {
        format!("{} of {} records a feature, evenly", grouped(MOST_POINTS as u64), grouped(records as u64))
    } else {
        format!("{} records", grouped(records as u64))
    };
    format!("What features add to the {}: {thinned}", quantity(e.space, &e.output_names))
}
