//! Differences with their intervals, one below the other, to show which of them exclude zero.

use super::canvas::{
    Anchor, Canvas, Columns, GREY, INK, LOWERS, MARGIN, Mark, RAISES, SIZE, TOP, WIDTH, dots, hint, line, number, px,
};
use super::scale::{Scale, plain, signed};

const ROW: f64 = 26.0;
const DOT: f64 = 9.0;
/// Half the height of the end marks of an interval.
const END: f64 = 4.0;
/// Space for a number beside a dot or the end of an interval.
const ROOM: f64 = 74.0;

/// Differences under a common title.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    /// The title.
    pub title: String,
    /// The meaning of a difference. Written under the title and at the axis.
    pub line: String,
    /// The differences, from the top.
    pub rows: Vec<Difference>,
}

/// One difference.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The name of the row.
    pub name: String,
    /// The difference; NaN if it is unknown.
    pub value: f64,
    /// Its interval, if it has one.
    pub interval: Option<[f64; 2]>,
}

/// Draws each difference as a dot, and its interval as a line, which is bold if it excludes zero.
/// If no value is negative and there are no intervals, values are drawn as sizes: grey and without
/// a sign.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn intervals(p: &Intervals) -> String {
    let columns = Columns::new(p.rows.iter().map(|row| row.name.as_str()), []);
    let values = p.rows.iter().flat_map(|row| row.interval.into_iter().flatten().chain([row.value])).chain([0.0]);
    let scale = Scale::new(values, columns.right() + 16.0, WIDTH - MARGIN, [20.0, ROOM]);
    let mut canvas = Canvas::new(ROW * p.rows.len() as f64, &p.title, &p.line);
    canvas.axis(&scale, &p.line);
    let zero = scale.at(0.0);
    // Sizes have no sign.
    let has_sides = p.rows.iter().any(|row| row.value < 0.0 || row.interval.is_some());
    let shown = |value| if has_sides { signed(value, scale.decimals()) } else { plain(value, scale.decimals()) };
    canvas.put(line(zero, TOP, zero, canvas.bottom, INK, 1.0));
    for (index, row) in p.rows.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        canvas.label(columns, y, &row.name, "");
        if !row.value.is_finite() {
            canvas.put(number(zero + 6.0, y, "not known", Anchor::Start));
            continue;
        }
        let colour = if !has_sides || row.interval.is_none() {
            GREY
        } else if row.value < 0.0 {
            LOWERS
        } else {
            RAISES
        };
        let mut end = scale.at(row.value) + DOT / 2.0;
        if let Some([low, high]) = row.interval {
            let is_clear = low > 0.0 || high < 0.0;
            let (from, to) = (scale.at(low), scale.at(high));
            let wide = if is_clear { 3.0 } else { 1.2 };
            let class = if is_clear { "clear" } else { "interval" };
            canvas.put(line(from, y, to, y, if is_clear { colour } else { GREY }, wide).set("class", class));
            for x in [from, to] {
                canvas.put(line(x, y - END, x, y + END, if is_clear { colour } else { GREY }, 1.2));
            }
            end = end.max(to);
        }
        let words = format!("{}: {}", row.name, shown(row.value));
        let at = format!("M{} {}h0", px(scale.at(row.value)), px(y));
        canvas.put(dots(at, colour, DOT).set("class", "difference").add(hint(&words)));
        canvas.put(number(end + 6.0, y, &shown(row.value), Anchor::Start).set("font-size", SIZE - 1.0));
    }
    if !has_sides {
        return canvas.finish();
    }
    let mut legend = vec![
        (Some(Mark::Dot(RAISES)), "above zero"),
        (Some(Mark::Dot(LOWERS)), "below zero"),
        (Some(Mark::Line(GREY)), "95 % interval, coloured and bold where zero is outside"),
    ];
    if p.rows.iter().any(|row| row.value.is_finite() && row.interval.is_none()) {
        legend.push((Some(Mark::Dot(GREY)), "without one"));
    }
    canvas.legend(&legend);
    canvas.finish()
}
