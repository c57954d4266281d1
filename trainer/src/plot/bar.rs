//! Bars that start at zero: which features move scores in general, or the score of one record.

use super::canvas::{
    Anchor, Canvas, Columns, GREY, INK, LOWERS, MARGIN, Mark, RAISES, TOP, WIDTH, arrow, line, number, plain_bar,
};
use super::scale::{Scale, plain, signed};
use super::waterfall::title;
use super::{PlotError, Subject, grouped, others};
use crate::explanation::{Explanation, Summary, by_magnitude, quantity, shown};

const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const ROOM: f64 = 66.0;

/// Draws the mean magnitude of each feature's values over records in descending order, in at most
/// `most` rows. If there are more features, the last row combines the others.
///
/// # Errors
/// [`PlotError::NoRecord`] for a summary without records.
pub fn bar(summary: &Summary, most: usize) -> Result<String, PlotError> {
    if summary.records == 0 {
        return Err(PlotError::NoRecord);
    }
    let rows = summary.feature_names.iter().zip(&summary.mean_absolute_values);
    let rows = rows.map(|(name, value)| (name.clone(), String::new(), f64::from(*value))).collect();
    let subject = Subject::from(summary);
    let records = if summary.records == 1 { "record".into() } else { format!("{} records", grouped(summary.records)) };
    let title = format!("What moves the {}: mean over {records}", quantity(subject.space, subject.outcome));
    let axis = format!("mean |value|, in {}", subject.quantity());
    Ok(draw(together(rows, most), &title, &subject, &axis, false))
}

/// Draws the values of the record at an index by descending magnitude, in at most `most` rows.
///
/// # Errors
/// [`PlotError::NoRecord`].
pub fn bar_of_record(e: &Explanation, record: usize, most: usize) -> Result<String, PlotError> {
    let (values, cells) = e.values.get(record).zip(e.display_data.get(record)).ok_or(PlotError::NoRecord)?;
    let row = |player: usize| {
        let value = values.get(player).copied().map_or(0.0, f64::from);
        Some((e.feature_names.get(player)?.clone(), shown(cells.get(player)?), value))
    };
    let rows = by_magnitude(values).into_iter().filter_map(row).collect();
    let subject = Subject::of_record(e, record);
    let axis = format!("value, in {}", subject.quantity());
    Ok(draw(together(rows, most), &title(e, record), &subject, &axis, true))
}

/// Name, cell and length of a bar.
type Bar = (String, String, f64);

/// Combines the rows from place `most` on into one, if there are more than `most`.
fn together(mut rows: Vec<Bar>, most: usize) -> Vec<Bar> {
    if rows.len() > most {
        let rest = rows.split_off(most.saturating_sub(1));
        rows.push((others(rest.len()), String::new(), rest.iter().map(|row| row.2).sum()));
    }
    rows
}

fn draw(rows: Vec<Bar>, title: &str, subject: &Subject<'_>, axis: &str, with_sign: bool) -> String {
    let columns = Columns::new(rows.iter().map(|row| row.0.as_str()), rows.iter().map(|row| row.1.as_str()));
    let values = rows.iter().map(|row| row.2).chain([0.0]);
    let room = [if with_sign { ROOM } else { 1.0 }, ROOM];
    let scale = Scale::new(values, columns.right() + 16.0, WIDTH - MARGIN, room);
    let mut canvas = Canvas::new(ROW * rows.len() as f64, title, &subject.line());
    canvas.axis(&scale, axis);
    let zero = scale.at(0.0);
    for (index, (name, cell, value)) in rows.iter().enumerate() {
        let (y, end) = (TOP + ROW * (index as f64 + 0.5), scale.at(*value));
        canvas.put(match (with_sign, *value < 0.0) {
            (false, _) => plain_bar(zero, end, y, BAR).set("fill", GREY).set("class", "bar"),
            (true, negative) => {
                arrow(zero, end, y, BAR).set("fill", if negative { LOWERS } else { RAISES }).set("class", "bar")
            }
        });
        let (x, anchor) = if *value < 0.0 { (end - 6.0, Anchor::End) } else { (end + 6.0, Anchor::Start) };
        let words = if with_sign { signed(*value, scale.decimals()) } else { plain(*value, scale.decimals()) };
        canvas.put(number(x, y, &words, anchor));
        canvas.label(columns, y, name, cell);
    }
    canvas.put(line(zero, TOP, zero, canvas.bottom, INK, 1.0));
    if with_sign {
        canvas.legend(&[
            (Some(Mark::Bar(RAISES, true)), "raises the score"),
            (Some(Mark::Bar(LOWERS, false)), "lowers it"),
        ]);
    } else {
        canvas.legend(&[(None, "how far a feature moves a score on average, up or down")]);
    }
    canvas.finish()
}
