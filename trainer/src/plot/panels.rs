//! Lines in panels: measures over the rows of a stream, and curves of calibration and errors.
//!
//! Panels form a grid below a common legend. Each line has its own colour and dashes, so that lines
//! are distinguishable without colour.

use svg::node::element::Polygon;

use super::canvas::{
    Anchor, BAND, Canvas, GREY, INK, LINES, MARGIN, RULE, SIZE, TOP, WIDTH, area, dots, hint, line, polyline, px, text,
    width,
};
use super::scale::Scale;

/// Number of lines with distinct colour and dashes.
pub const MOST_STYLES: usize = LINES.len();
/// Maximum number of points of a line for which each point has a dot.
const MOST_DOTTED: usize = 64;
/// Height of a panel's name, of its tick labels, and of the title of its axis.
const NAME: f64 = 24.0;
const TICKS: f64 = 20.0;
const AXIS: f64 = 20.0;
/// Height of a line of the legend.
const ENTRY: f64 = 22.0;
/// Space for the labels to the left of a panel, and between two panels.
const LABELS: f64 = 50.0;
const APART: f64 = 40.0;
/// Width of a letter above a mark.
const LETTER: f64 = 11.0;
const SMALL: f64 = 11.0;

/// Panels under a common title.
#[derive(Clone, Debug, Default)]
pub struct Panels {
    /// The title.
    pub title: String,
    /// The line under the title.
    pub line: String,
    /// Panels side by side, at least 1.
    pub columns: usize,
    /// Height of a panel, in pixels.
    pub height: f64,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// The legend: the meaning of each style, and further notes.
    pub legend: Vec<Entry>,
}

/// An entry of the legend.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The name of the lines of a style.
    Line(usize, String),
    /// The meaning of the shaded band.
    Band(String),
    /// Words without a mark.
    Words(String),
}

/// One panel.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// The title of the vertical axis.
    pub name: String,
    /// The title of the horizontal axis. If it is empty, the panel uses the axis of the last panel
    /// in its column.
    pub axis: String,
    /// The ends of the horizontal axis.
    pub across: [f64; 2],
    /// Values that the vertical axis must include, even if no line reaches them.
    pub seen: Vec<f64>,
    /// The shaded band, such as values within a target.
    pub band: Option<[f64; 2]>,
    /// A horizontal line, such as equal treatment.
    pub level: Option<f64>,
    /// A dashed straight line between two points.
    pub straight: Option<[[f64; 2]; 2]>,
    /// Vertical marks: the position, and the letter above.
    pub marks: Vec<(f64, &'static str)>,
    /// The lines.
    pub lines: Vec<Curve>,
    /// Single points: the position, and the style of their line.
    pub dots: Vec<([f64; 2], usize)>,
}

/// A line through points. It is interrupted at values that are not finite.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// The name of the line.
    pub name: String,
    /// Index of its colour and dashes, below [`MOST_STYLES`].
    pub style: usize,
    /// The points.
    pub points: Vec<[f64; 2]>,
    /// The lower and upper end of an interval at each point; empty if no intervals are drawn.
    pub spread: Vec<[f64; 2]>,
}

/// Draws panels.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn panels(p: &Panels) -> String {
    let columns = p.columns.max(1);
    let places = legend_places(&p.legend);
    let legend = places.last().map_or(0.0, |(_, row)| ENTRY * (*row as f64 + 1.0) + 6.0);
    let rows: Vec<&[Panel]> = p.panels.chunks(columns).collect();
    let height = |row: &&[Panel]| {
        let axis = if row.iter().any(|panel| !panel.axis.is_empty()) { TICKS + AXIS } else { 4.0 };
        NAME + p.height + axis
    };
    let heights: f64 = rows.iter().map(height).sum();
    // `Canvas::new` would reserve space for an axis and a legend below the rows, which panels do
    // not need.
    let mut canvas = Canvas::of_height(TOP - 18.0 + legend + heights + MARGIN, &p.title, &p.line);
    draw_legend(&mut canvas, &p.legend, &places);
    let each = (WIDTH - 2.0 * MARGIN - APART * (columns as f64 - 1.0)) / columns as f64;
    let mut top = TOP - 18.0 + legend;
    for row in &rows {
        for (index, panel) in row.iter().enumerate() {
            let left = MARGIN + (each + APART) * index as f64;
            panel.draw(&mut canvas, [left + LABELS, left + each], [top + NAME, top + NAME + p.height]);
        }
        top += height(row);
    }
    canvas.finish()
}

impl Panel {
    fn draw(&self, canvas: &mut Canvas, [left, right]: [f64; 2], [ceiling, floor]: [f64; 2]) {
        let values = self.lines.iter().flat_map(|curve| {
            let spread = curve.spread.iter().flatten().copied();
            curve.points.iter().map(|point| point[1]).chain(spread).collect::<Vec<_>>()
        });
        let values = values.chain(self.seen.iter().copied()).chain(self.level);
        let upright = Scale::new(values, floor - 3.0, ceiling + 3.0, [0.0; 2]);
        let across = Scale::new(self.across, left, right, [0.0; 2]);
        canvas.fitted(left - LABELS, ceiling - 9.0, &self.name, right - left + LABELS, Anchor::Start, INK);
        if let Some(ends) = self.band {
            let [low, high] = ends.map(|end| upright.at(end).clamp(ceiling, floor));
            let band: Polygon = area(&[(left, low), (right, low), (right, high), (left, high)]);
            canvas.put(band.set("fill", BAND).set("fill-opacity", "0.55").set("class", "target"));
        }
        let is_empty = !self.lines.iter().any(|curve| curve.points.iter().any(|point| point[1].is_finite()));
        if is_empty {
            let middle = ((left + right) / 2.0, (ceiling + floor) / 2.0);
            canvas.put(text(middle.0, middle.1, "too few records", Anchor::Middle, GREY).set("font-size", 12));
        }
        for (tick, label) in upright.ticks_within(5.0).into_iter().filter(|_| !is_empty) {
            let y = upright.at(tick);
            canvas.put(line(left, y, right, y, RULE, 0.8));
            canvas.put(text(left - 6.0, y + 4.0, &label, Anchor::End, GREY).set("font-size", SMALL));
        }
        if let Some(level) = self.level.filter(|_| !is_empty) {
            canvas.put(line(left, upright.at(level), right, upright.at(level), GREY, 1.2));
        }
        canvas.put(line(left, floor, right, floor, GREY, 1.0));
        if !self.axis.is_empty() {
            for (tick, label) in across.ticks_within(if right - left > 500.0 { 9.0 } else { 6.0 }) {
                let x = across.at(tick);
                canvas.put(line(x, floor, x, floor + 4.0, GREY, 1.0));
                canvas.put(text(x, floor + 17.0, &label, Anchor::Middle, GREY).set("font-size", SMALL));
            }
            canvas.put(
                text((left + right) / 2.0, floor + TICKS + 15.0, &self.axis, Anchor::Middle, INK).set("font-size", 12),
            );
        }
        if let Some([[x1, y1], [x2, y2]]) = self.straight {
            let straight = line(across.at(x1), upright.at(y1), across.at(x2), upright.at(y2), GREY, 1.0);
            canvas.put(straight.set("stroke-dasharray", "4 4"));
        }
        self.draw_marks(canvas, &across, [ceiling, floor]);
        for curve in &self.lines {
            curve.draw(canvas, &across, &upright);
        }
        for ([x, y], style) in &self.dots {
            let (x, y) = (across.at(*x), upright.at(*y));
            canvas.put(dots(format!("M{} {}h0", px(x), px(y)), INK, 11.0).set("class", "chosen"));
            canvas.put(dots(format!("M{} {}h0", px(x), px(y)), style_of(*style).0, 7.0));
        }
    }

    fn draw_marks(&self, canvas: &mut Canvas, across: &Scale, [ceiling, floor]: [f64; 2]) {
        // Letters that would overlap are combined into one label.
        let mut labels: Vec<(f64, String)> = Vec::new();
        for (at, letter) in &self.marks {
            let x = across.at(*at);
            if !(across.left..=across.right).contains(&x) {
                continue;
            }
            canvas.put(line(x, ceiling, x, floor, GREY, 0.8).set("stroke-dasharray", "2 3").set("class", "event"));
            match labels.last_mut().filter(|(start, label)| x < start + LETTER * label.chars().count() as f64) {
                Some((_, label)) if label.contains(*letter) => {}
                Some((_, label)) => label.push_str(letter),
                None => labels.push((x, (*letter).to_owned())),
            }
        }
        for (x, label) in labels {
            canvas.put(text(x, ceiling + 8.0, &label, Anchor::Middle, INK).set("font-size", SMALL));
        }
    }
}

impl Curve {
    fn draw(&self, canvas: &mut Canvas, across: &Scale, upright: &Scale) {
        let (colour, dashes) = style_of(self.style);
        let at = |[x, y]: [f64; 2]| (across.at(x), upright.at(y));
        if self.spread.len() == self.points.len() {
            let known = |(point, ends): &(&[f64; 2], &[f64; 2])| point.iter().chain(*ends).all(|x| x.is_finite());
            let both: Vec<(&[f64; 2], &[f64; 2])> = self.points.iter().zip(&self.spread).collect();
            for run in both.chunk_by(|a, b| known(a) == known(b)).filter(|run| run.first().is_some_and(known)) {
                let below = run.iter().map(|(point, ends)| at([point[0], ends[0]]));
                let above = run.iter().rev().map(|(point, ends)| at([point[0], ends[1]]));
                let shape: Vec<(f64, f64)> = below.chain(above).collect();
                canvas.put(area(&shape).set("fill", colour).set("fill-opacity", "0.13").set("class", "spread"));
            }
        }
        let is_known = |point: &[f64; 2]| point.iter().all(|x| x.is_finite());
        let runs = self.points.chunk_by(|a, b| is_known(a) == is_known(b));
        for run in runs.filter(|run| run.first().is_some_and(is_known)) {
            let path = polyline(run.iter().map(|point| at(*point)), colour).set("stroke-width", 1.8);
            canvas.put(path.set("stroke-dasharray", dashes).set("class", "line").add(hint(&self.name)));
        }
        let is_dotted = self.points.len() <= MOST_DOTTED;
        let path: String = self
            .points
            .iter()
            .filter(|point| is_dotted && is_known(point))
            .map(|point| {
                let (x, y) = at(*point);
                format!("M{} {}h0", px(x), px(y))
            })
            .collect();
        if !path.is_empty() {
            canvas.put(dots(path, colour, 4.0));
        }
    }
}

fn style_of(style: usize) -> (&'static str, &'static str) {
    LINES.get(style).copied().unwrap_or((GREY, "1 3"))
}

/// Returns the horizontal start of each entry, and its line of the legend.
fn legend_places(legend: &[Entry]) -> Vec<(f64, usize)> {
    let (mut x, mut row) = (MARGIN, 0);
    let place = |entry: &Entry| {
        let (words, mark) = match entry {
            Entry::Line(_, words) | Entry::Band(words) => (words, 34.0),
            Entry::Words(words) => (words, 0.0),
        };
        let wide = mark + width(words) * 12.0 / SIZE + 20.0;
        if x > MARGIN && x + wide > WIDTH - MARGIN {
            (x, row) = (MARGIN, row + 1);
        }
        x += wide;
        (x - wide, row)
    };
    legend.iter().map(place).collect()
}

#[allow(clippy::cast_precision_loss)]
fn draw_legend(canvas: &mut Canvas, legend: &[Entry], places: &[(f64, usize)]) {
    for (entry, (x, row)) in legend.iter().zip(places) {
        let y = TOP - 18.0 + ENTRY * (*row as f64 + 0.4);
        let (words, start) = match entry {
            Entry::Line(style, words) => {
                let (colour, dashes) = style_of(*style);
                canvas.put(line(*x, y, x + 26.0, y, colour, 2.2).set("stroke-dasharray", dashes));
                canvas.put(dots(format!("M{} {}h0", px(x + 13.0), px(y)), colour, 5.0));
                (words, x + 34.0)
            }
            Entry::Band(words) => {
                let ends = [(*x, y - 6.0), (x + 26.0, y - 6.0), (x + 26.0, y + 6.0), (*x, y + 6.0)];
                canvas.put(area(&ends).set("fill", BAND));
                (words, x + 34.0)
            }
            Entry::Words(words) => (words, *x),
        };
        let room = (WIDTH - MARGIN - start) * SIZE / 12.0;
        canvas.put(super::canvas::small(start, y + 4.0, words, room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(panel: Panel) -> String {
        panels(&Panels { columns: 1, height: 100.0, panels: vec![panel], ..Panels::default() })
    }

    #[test]
    fn a_mark_right_beside_another_has_its_letter_too() {
        let marks = vec![(10.0, "D"), (11.0, "E"), (12.0, "D"), (500.0, "D")];
        let svg = drawn(Panel { across: [0.0, 1000.0], marks, ..Panel::default() });
        assert_eq!((svg.matches(">\nDE\n<").count(), svg.matches(">\nD\n<").count()), (1, 1), "{svg}");
    }

    #[test]
    fn a_line_is_broken_where_either_coordinate_is_unknown() {
        let points = vec![[0.0, 0.0], [f64::NAN, 0.5], [0.5, f64::NAN], [0.7, 0.7], [1.0, 1.0]];
        let spread = points.iter().map(|[_, y]| [y - 0.1, y + 0.1]).collect();
        let lines = vec![Curve { points, spread, ..Curve::default() }];
        let svg = drawn(Panel { across: [0.0, 1.0], lines, ..Panel::default() });
        assert!(!svg.contains("NaN") && svg.matches("class=\"line\"").count() == 2, "{svg}");
    }
}
