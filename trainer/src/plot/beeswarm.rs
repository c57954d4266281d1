//! Every value of many records as a dot: how far a feature moves each score, coloured by the
//! record's value of the feature.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::canvas::{Anchor, Canvas, Columns, GREY, MARGIN, Mark, RULE, SIZE, TOP, WIDTH};
use super::canvas::{dots, line, px, small, text, width};
use super::scale::Scale;
use super::{PlotError, Subject, evenly, grouped};
use crate::explanation::{Explanation, by_magnitude, quantity, shown};

/// Maximum number of dots of a feature. If there are more records, this number of them is drawn,
/// evenly spaced by their value, including the lowest and the highest.
pub const MOST_DOTS: usize = 1_500;
const ROW: f64 = 34.0;
const DOT: f64 = 4.0;
/// From low to high: blue over grey to orange, distinguishable with every kind of colour vision.
const COLOURS: [&str; 9] =
    ["#1f4e96", "#4a6fa6", "#7690b4", "#a0afc0", "#bdbdbd", "#cfae94", "#d4976a", "#d47c3c", "#c85f0a"];
/// For the most frequent levels of a category or group: Okabe and Ito (2008), distinguishable with
/// every kind of colour vision.
const LEVELS: [&str; 5] = ["#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00"];
/// For all other levels.
const OTHER: &str = "#454b54";
/// Text size of the names of levels, under the name of their feature.
const KEY_SIZE: f64 = 10.0;
/// Distance of a feature's name above the middle of its row, and of its levels' names below it.
const KEY: f64 = 8.0;
/// For a missing value.
const MISSING: &str = "#cc79a7";

/// Draws a row of dots for each of the `most` features with the greatest mean magnitude, in
/// descending order. Dots within 4 pixels of each other are stacked around the middle of the row.
///
/// Numbers are coloured from their 5th to their 95th percentile, or from the lowest to the highest
/// if those are equal. The five most frequent levels of a category have colours and are named.
/// Takes `O(n log n)` for the `n` values of a feature. The document has at most [`MOST_DOTS`] dots
/// per row, with about 12 bytes each.
///
/// # Errors
/// [`PlotError::NoRecord`] for an explanation without records.
#[allow(clippy::cast_precision_loss)]
pub fn beeswarm(e: &Explanation, most: usize) -> Result<String, PlotError> {
    if e.values.is_empty() {
        return Err(PlotError::NoRecord);
    }
    let order = by_magnitude(&mean_magnitudes(e));
    let (shown, rest) = order.split_at(order.len().min(most));
    let names = || shown.iter().filter_map(|player| e.feature_names.get(*player));
    let columns = Columns::new(names().map(String::as_str), []);
    let all = e.values.iter().flat_map(|values| shown.iter().filter_map(|player| values.get(*player)));
    let scale =
        Scale::new(all.copied().map(f64::from).chain([0.0]), columns.right() + 16.0, WIDTH - MARGIN, [12.0, 12.0]);
    let subject = Subject::from(e);
    let mut canvas = Canvas::new(ROW * shown.len() as f64, &title(e), &subject.line());
    canvas.axis(&scale, &format!("value, in {}", subject.quantity()));
    let zero = scale.at(0.0);
    let mut seen = Seen::default();
    for (index, (player, name)) in shown.iter().zip(names()).enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        canvas.put(line(scale.left, y, scale.right, y, RULE, 0.6));
        let levels = levels(e, *player);
        canvas.label(columns, if levels.is_empty() { y } else { y - KEY }, name, "");
        key(&mut canvas, columns, y + KEY, &levels);
        if index == 0 {
            canvas.put(line(zero, TOP, zero, canvas.bottom, GREY, 1.0));
        }
        for (colour, path) in swarm(e, *player, &levels, y, &scale, &mut seen) {
            canvas.put(dots(path, colour, DOT));
        }
    }
    legend(&mut canvas, &seen, rest.len());
    Ok(canvas.finish())
}

/// Returns the mean magnitude of each player's values.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub(super) fn mean_magnitudes(e: &Explanation) -> Vec<f32> {
    let mean = |player: usize| {
        let magnitudes = e.values.iter().filter_map(|values| values.get(player)).map(|value| f64::from(value.abs()));
        (magnitudes.sum::<f64>() / e.values.len().max(1) as f64) as f32
    };
    (0..e.feature_names.len()).map(mean).collect()
}

/// Returns the levels that have a colour: the most frequent ones of a player that is not a number.
fn levels(e: &Explanation, player: usize) -> Vec<String> {
    if e.numbers.get(player).copied().unwrap_or_default() {
        return Vec::new();
    }
    let mut counts = BTreeMap::<String, usize>::new();
    for record in (0..e.values.len()).filter(|record| !is_missing(e, *record, player)) {
        *counts.entry(level(e, record, player)).or_default() += 1;
    }
    let mut levels: Vec<(String, usize)> = counts.into_iter().collect();
    // The sort is stable: equally frequent levels stay in the order of their names.
    levels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    levels.into_iter().map(|(name, _)| name).take(LEVELS.len()).collect()
}

pub(super) fn level(e: &Explanation, record: usize, player: usize) -> String {
    e.display_data.get(record).and_then(|cells| cells.get(player)).map_or_else(String::new, shown)
}

pub(super) fn is_missing(e: &Explanation, record: usize, player: usize) -> bool {
    e.notes.get(record).and_then(|notes| notes.get(player)).is_some_and(|note| *note == "missing")
}

/// Writes the names of levels, each beside its colour, until there is no more room.
fn key(canvas: &mut Canvas, columns: Columns, y: f64, levels: &[String]) {
    let (mut x, shrunk) = (MARGIN, KEY_SIZE / SIZE);
    for (name, colour) in levels.iter().zip(LEVELS) {
        let room = (columns.right() - x - KEY_SIZE) / shrunk;
        if room < 4.0 * SIZE {
            return;
        }
        canvas.put(dots(format!("M{} {}h0", px(x + DOT), px(y)), colour, 1.5 * DOT));
        x += KEY_SIZE;
        let words = small(x, y + 0.35 * KEY_SIZE, name, room);
        canvas.put(words.set("font-size", KEY_SIZE).set("class", "level"));
        x += width(name).min(room) * shrunk + 0.6 * KEY_SIZE;
    }
}

/// The colours that the legend has to explain.
#[derive(Default)]
struct Seen {
    numbers: bool,
    others: bool,
    missing: bool,
}

/// Returns the dots of a player, one path per colour. `levels` are the levels that have a colour.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn swarm(
    e: &Explanation,
    player: usize,
    levels: &[String],
    y: f64,
    scale: &Scale,
    seen: &mut Seen,
) -> Vec<(&'static str, String)> {
    let number = e.numbers.get(player).copied().unwrap_or_default();
    let value =
        |record: &usize| e.values.get(*record).and_then(|values| values.get(player)).copied().unwrap_or_default();
    let held = |record: usize| e.data.get(record).and_then(|cells| cells.get(player)).and_then(Value::as_f64);
    let mut order: Vec<usize> = (0..e.values.len()).collect();
    order.sort_by(|a, b| value(a).total_cmp(&value(b)));
    let range = Range::of((0..e.values.len()).filter_map(held).collect());

    // Records by pixel column; each column is stacked around the middle of the row.
    let mut columns: Vec<(i64, Vec<usize>)> = Vec::new();
    for record in evenly(order.len(), MOST_DOTS).filter_map(|index| order.get(index).copied()) {
        let column = (scale.at(f64::from(value(&record))) / DOT).round() as i64;
        match columns.last_mut() {
            Some((last, records)) if *last == column => records.push(record),
            _ => columns.push((column, vec![record])),
        }
    }
    let tallest = columns.iter().map(|(_, records)| records.len()).max().unwrap_or(1) as f64;
    // The fullest column fills the row. If columns are shorter than the row, dots are one diameter
    // apart.
    let apart = ((ROW - DOT - 4.0) / tallest).min(DOT);
    let mut paths: Vec<(&'static str, String)> = Vec::new();
    for (column, mut records) in columns {
        // Sorted by the feature's value, so that the colours of a column are ordered and show their
        // shares.
        records.sort_by(|a, b| held(*a).unwrap_or(f64::NAN).total_cmp(&held(*b).unwrap_or(f64::NAN)));
        let middle = (records.len() - 1) as f64 / 2.0;
        for (place, record) in records.iter().enumerate() {
            let missing = is_missing(e, *record, player);
            let colour = match held(*record).filter(|_| number && !missing) {
                Some(x) => COLOURS.get(range.step(x, COLOURS.len())).copied().unwrap_or(OTHER),
                None if missing => MISSING,
                None => {
                    let name = level(e, *record, player);
                    let place = levels.iter().position(|level| *level == name);
                    place.and_then(|place| LEVELS.get(place)).copied().unwrap_or(OTHER)
                }
            };
            seen.numbers |= number && !missing;
            seen.missing |= missing;
            seen.others |= colour == OTHER;
            let (x, y) = (column as f64 * DOT, y + (middle - place as f64) * apart);
            let index = paths.iter().position(|(found, _)| *found == colour).unwrap_or_else(|| {
                paths.push((colour, String::new()));
                paths.len() - 1
            });
            if let Some((_, path)) = paths.get_mut(index) {
                let _ = write!(path, "M{x} {}h0", px((y * 10.0).round() / 10.0));
            }
        }
    }
    paths
}

/// The values at which the colours begin and end.
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at =
            |percent: usize| values.get(values.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
        let (low, high) = if at(5) < at(95) { (at(5), at(95)) } else { (at(0), at(100)) };
        Self { low, high }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn step(&self, x: f64, steps: usize) -> usize {
        if self.high <= self.low {
            return steps / 2;
        }
        let share = ((x - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        ((share * steps as f64) as usize).min(steps - 1)
    }
}

fn legend(canvas: &mut Canvas, seen: &Seen, rest: usize) {
    let mut entries = Vec::new();
    if seen.others {
        entries.push((Some(Mark::Dot(OTHER)), "other level of a category"));
    }
    if seen.missing {
        entries.push((Some(Mark::Dot(MISSING)), "missing"));
    }
    let omitted = format!("{rest} features that move scores less are not shown");
    if rest > 0 {
        entries.push((None, omitted.as_str()));
    }
    canvas.legend(&entries);
    if seen.numbers {
        let y = canvas.bottom + 70.0;
        let (low, high) = ("low", "high value of the feature");
        let strip = WIDTH - MARGIN - width(high) * 12.0 / SIZE - 8.0 - 12.0 * COLOURS.len() as f64;
        canvas.put(text(strip - 6.0, y + 4.0, low, Anchor::End, GREY).set("font-size", 12));
        for (index, colour) in COLOURS.iter().enumerate() {
            let x = strip + 12.0 * index as f64;
            canvas.put(line(x, y, x + 12.0, y, colour, 10.0));
        }
        canvas.put(text(WIDTH - MARGIN, y + 4.0, high, Anchor::End, GREY).set("font-size", 12));
    }
}

fn title(e: &Explanation) -> String {
    let records = e.values.len();
    let thinned = if records > MOST_DOTS {
        format!("{} of {} records a feature, evenly by value", grouped(MOST_DOTS as u64), grouped(records as u64))
    } else {
        format!("{} records", grouped(records as u64))
    };
    format!("What moves the {}: {thinned}", quantity(e.space, &e.output_names))
}
