//! Shares as shades: one row per name, and one column per stretch of the rows.

use super::canvas::{Anchor, Canvas, Columns, GREY, MARGIN, RAISES, RULE, TOP, WIDTH, area, hint, number, text};
use super::scale::{Scale, plain};

const ROW: f64 = 26.0;

/// Shares over stretches of rows.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// The title.
    pub title: String,
    /// The line under the title.
    pub line: String,
    /// The title of the axis.
    pub axis: String,
    /// The first row of each stretch, from 1, and its number of rows.
    pub stretches: Vec<(u64, u64)>,
    /// Rows of the map: the name, its share in every stretch, in [0, 1], and its share over all
    /// rows.
    pub rows: Vec<(String, Vec<f64>, f64)>,
}

/// Draws shares from 0 to the largest; a darker shade is a larger share.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn map(m: &Map) -> String {
    let columns = Columns::new(m.rows.iter().map(|row| row.0.as_str()), []);
    let last = m.stretches.last().map_or(1, |(from, rows)| from + rows);
    let scale = Scale::new([1.0, last as f64], columns.right() + 16.0, WIDTH - MARGIN - 60.0, [0.0; 2]);
    // The largest share has the darkest shade, so that differences are visible.
    let most = m.rows.iter().flat_map(|row| row.1.iter().copied()).fold(f64::MIN_POSITIVE, f64::max);
    let mut canvas = Canvas::new(ROW * m.rows.len() as f64, &m.title, &m.line);
    canvas.axis(&scale, &m.axis);
    canvas.put(text(WIDTH - MARGIN, TOP - 10.0, "mean", Anchor::End, GREY).set("font-size", 12));
    for (index, (name, shares, mean)) in m.rows.iter().enumerate() {
        let top = TOP + ROW * index as f64;
        let (above, below) = (top + 2.0, top + ROW - 2.0);
        let frame = area(&[(scale.left, above), (scale.right, above), (scale.right, below), (scale.left, below)]);
        canvas.put(frame.set("fill", "none").set("stroke", RULE));
        for ((from, rows), share) in m.stretches.iter().zip(shares) {
            let [start, end] = [*from as f64, (from + rows) as f64].map(|row| scale.at(row));
            let cell = area(&[(start, above), (end, above), (end, below), (start, below)]);
            let words = format!("{name}, rows {from} to {}: {}", from + rows - 1, plain(*share, 3));
            let opacity = plain((share / most).clamp(0.0, 1.0), 3);
            canvas.put(cell.set("fill", RAISES).set("fill-opacity", opacity).add(hint(&words)));
        }
        canvas.label(columns, top + ROW / 2.0, name, "");
        canvas.put(number(WIDTH - MARGIN, top + ROW / 2.0, &plain(*mean, 3), Anchor::End));
    }
    let y = canvas.bottom + 66.0;
    let mut x = MARGIN;
    canvas.put(text(x, y + 4.0, "0", Anchor::Start, GREY).set("font-size", 12));
    x += 14.0;
    for step in 0..=10 {
        let cell = area(&[(x, y - 6.0), (x + 14.0, y - 6.0), (x + 14.0, y + 6.0), (x, y + 6.0)]);
        canvas.put(cell.set("fill", RAISES).set("fill-opacity", plain(f64::from(step) / 10.0, 1)).set("stroke", RULE));
        x += 14.0;
    }
    canvas.put(text(x + 6.0, y + 4.0, &plain(most, 3), Anchor::Start, GREY).set("font-size", 12));
    canvas.finish()
}
