//! Lines, shapes and text in the common style of all plots.

use std::fmt::Write as _;

use svg::node::element::{Description, Line, Path, Polygon, Rectangle, Text, Title};
use svg::{Document, Node};

use super::scale::Scale;
use crate::text::printable;

/// Raises the score: blue of Okabe and Ito (2008), distinguishable from [`LOWERS`] with every kind
/// of colour vision and in print.
pub const RAISES: &str = "#0072b2";
/// Lowers the score: vermilion of Okabe and Ito (2008).
pub const LOWERS: &str = "#d55e00";
/// Text and marks that carry the message.
pub const INK: &str = "#222222";
/// Secondary text and marks.
pub const GREY: &str = "#5f6368";
/// Guide lines.
pub const RULE: &str = "#dadce0";

/// A range of values in the background.
pub const BAND: &str = "#bcd9ea";
/// Counts of rows below a panel.
pub const ROWS: &str = "#80868b";
/// The background of a plot.
pub const PAPER: &str = "#ffffff";
/// Lines of groups: colours of Okabe and Ito (2008) with dashes, so that lines are distinguishable
/// without colour.
pub const LINES: [(&str, &str); 6] =
    [(RAISES, "none"), (LOWERS, "7 3"), ("#009e73", "2 2"), ("#cc79a7", "8 3 2 3"), ("#8a6d00", "12 3"), (INK, "1 2")];
/// Every colour with its name. A page can replace a colour by its name, for example in dark mode or
/// in print.
pub const COLOURS: [(&str, &str); 11] = [
    (RAISES, "raises"),
    (LOWERS, "lowers"),
    (INK, "ink"),
    (GREY, "grey"),
    (RULE, "rule"),
    (BAND, "band"),
    (ROWS, "rows"),
    (PAPER, "paper"),
    ("#009e73", "green"),
    ("#cc79a7", "pink"),
    ("#8a6d00", "ochre"),
];

/// Width of every plot, in pixels.
pub const WIDTH: f64 = 960.0;
/// Horizontal margin, in pixels.
pub const MARGIN: f64 = 24.0;
/// Text size, in pixels.
pub const SIZE: f64 = 13.0;
/// Width of bold text relative to regular text.
pub const BOLD: f64 = 1.12;
/// Top of the rows, below the title and the line under it.
pub const TOP: f64 = 92.0;
/// Height of the axis, its title and the legend below the rows.
pub const BOTTOM: f64 = 92.0;

/// Angle of slanted text, in degrees.
pub const SLANT: f64 = 35.0;

/// Position of text relative to its point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// To the right of the point.
    Start,
    /// Centred on the point.
    Middle,
    /// To the left of the point.
    End,
}

/// A plot under construction.
pub struct Canvas {
    document: Document,
    /// Bottom of the rows, where the axis is.
    pub bottom: f64,
}

impl Canvas {
    /// Creates a plot with a height for its rows.
    pub fn new(rows_height: f64, title: &str, line: &str) -> Self {
        let bottom = TOP + rows_height;
        Self { bottom, ..Self::of_height(bottom + BOTTOM, title, line) }
    }

    /// Creates a plot of a total height, whose rows extend to its bottom.
    pub fn of_height(height: f64, title: &str, line: &str) -> Self {
        let document = Document::new()
            .set("width", WIDTH)
            .set("height", px(height))
            .set("viewBox", format!("0 0 {WIDTH} {}", px(height)))
            .set("font-family", "Helvetica, Arial, 'Liberation Sans', sans-serif")
            .set("role", "img")
            .add(Title::new(printable(title)))
            .add(Rectangle::new().set("width", WIDTH).set("height", px(height)).set("fill", PAPER));
        let mut canvas = Self { document, bottom: height };
        let fitted = |text: &str, size: f64| fit(text, (WIDTH - 2.0 * MARGIN) * SIZE / size);
        canvas.put(
            text(MARGIN, 34.0, &fitted(title, 18.0 * BOLD), Anchor::Start, INK)
                .set("font-size", 18)
                .set("font-weight", "bold"),
        );
        canvas.put(text(MARGIN, 56.0, &fitted(line, 12.0), Anchor::Start, GREY).set("font-size", 12));
        canvas
    }

    /// Adds a description for screen readers.
    pub fn describe(&mut self, words: &str) {
        self.put(Description::new().add(svg::node::Text::new(printable(words))));
    }

    /// Adds an element.
    pub fn put(&mut self, node: impl Into<Box<dyn Node>>) {
        self.document.append(node);
    }

    /// Draws the axis below the rows: grid, ticks, tick labels and title.
    pub fn axis(&mut self, scale: &Scale, title: &str) {
        for (tick, label) in scale.ticks() {
            let x = scale.at(tick);
            self.put(line(x, TOP, x, self.bottom, RULE, 1.0));
            self.put(text(x, self.bottom + 18.0, &label, Anchor::Middle, GREY).set("font-size", 12));
        }
        self.put(line(scale.left, self.bottom, scale.right, self.bottom, GREY, 1.0));
        let middle = (scale.left + scale.right) / 2.0;
        self.put(text(middle, self.bottom + 38.0, &fit(title, 560.0), Anchor::Middle, INK));
    }

    /// Draws a dashed vertical line through the rows, with words above it.
    pub fn mark(&mut self, x: f64, words: &str, class: &str) {
        self.put(line(x, TOP - 4.0, x, self.bottom, INK, 1.0).set("stroke-dasharray", "5 4").set("class", class));
        let anchor = if x > WIDTH - 140.0 { Anchor::End } else { Anchor::Middle };
        self.put(text(x, TOP - 10.0, words, anchor, INK).set("font-size", 12));
    }

    /// Writes the labels of a row: a name and, in grey, a value. Both end before the right end of
    /// `columns`.
    pub fn label(&mut self, columns: Columns, y: f64, name: &str, value: &str) {
        let baseline = y + SIZE * 0.35;
        self.fitted(MARGIN, baseline, name, columns.name, Anchor::Start, INK);
        self.fitted(columns.right(), baseline, value, columns.value, Anchor::End, GREY);
    }

    /// Writes text shortened to a width. If it is shortened, the element's title contains the whole
    /// text.
    pub fn fitted(&mut self, x: f64, y: f64, content: &str, width: f64, anchor: Anchor, colour: &str) {
        self.put(fitted(x, y, content, width, anchor, colour));
    }

    /// Like [`Canvas::fitted`], but small and slanted, ending under a mark at `x`.
    pub fn slanted(&mut self, x: f64, y: f64, content: &str, width: f64) {
        let turned = format!("rotate(-{SLANT} {} {})", px(x), px(y));
        self.put(fitted(x, y, content, width, Anchor::End, GREY).set("font-size", 11).set("transform", turned));
    }

    /// Draws the legend at the bottom: pairs of mark and meaning; `None` for words without a mark.
    pub fn legend(&mut self, entries: &[(Option<Mark>, &str)]) {
        let (mut x, y) = (MARGIN, self.bottom + 70.0);
        for (mark, words) in entries {
            if let Some(mark) = mark {
                match mark {
                    Mark::Bar(colour, points_right) => {
                        let (from, to) = if *points_right { (x, x + 20.0) } else { (x + 20.0, x) };
                        self.put(arrow(from, to, y, 10.0).set("fill", *colour));
                    }
                    Mark::Dot(colour) => {
                        let at = format!("M{} {}h0", px(x + 10.0), px(y));
                        self.put(dots(at, colour, 9.0));
                    }
                    Mark::Line(colour) => self.put(line(x, y, x + 20.0, y, colour, 2.0)),
                }
                x += 26.0;
            }
            self.put(text(x, y + 4.0, words, Anchor::Start, GREY).set("font-size", 12));
            x += width(words) * 12.0 / SIZE + 22.0;
        }
    }

    /// Returns the document.
    pub fn finish(self) -> String {
        self.document.to_string() + "\n"
    }
}

/// The mark before the words of a legend.
#[derive(Clone, Copy)]
pub enum Mark {
    /// A bar; the flag is true if it points to the right.
    Bar(&'static str, bool),
    /// A dot.
    Dot(&'static str),
    /// A line.
    Line(&'static str),
}

/// Widths of the names and values to the left of the rows.
#[derive(Clone, Copy)]
pub struct Columns {
    name: f64,
    value: f64,
}

impl Columns {
    /// Uses the width of the longest text, up to a maximum.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, values: impl IntoIterator<Item = &'a str>) -> Self {
        let widest = |texts: &mut dyn Iterator<Item = &'a str>| texts.map(width).fold(0.0, f64::max).ceil();
        Self { name: widest(&mut names.into_iter()).min(230.0), value: widest(&mut values.into_iter()).min(150.0) }
    }

    /// Returns the right end of the values.
    pub fn right(self) -> f64 {
        MARGIN + self.name + if self.value > 0.0 { 14.0 + self.value } else { 0.0 }
    }
}

fn fitted(x: f64, y: f64, content: &str, width: f64, anchor: Anchor, colour: &str) -> Text {
    let shown = fit(content, width);
    let whole = (shown != content).then(|| Title::new(printable(content)));
    let mut element = text(x, y, &shown, anchor, colour);
    if let Some(whole) = whole {
        element.append(whole);
    }
    element
}

/// Returns small grey text, shortened to a width.
pub fn small(x: f64, y: f64, content: &str, width: f64) -> Text {
    fitted(x, y, content, width, Anchor::Start, GREY).set("font-size", 12)
}

/// Returns text whose baseline starts, is centred or ends at a point.
pub fn text(x: f64, y: f64, content: &str, anchor: Anchor, colour: &str) -> Text {
    let element =
        Text::new(printable(content)).set("x", px(x)).set("y", px(y)).set("font-size", SIZE).set("fill", colour);
    match anchor {
        Anchor::Start => element,
        Anchor::Middle => element.set("text-anchor", "middle"),
        Anchor::End => element.set("text-anchor", "end"),
    }
}

/// Returns a number beside a mark at height `y`, with an outline that keeps it readable over lines.
pub fn number(x: f64, y: f64, content: &str, anchor: Anchor) -> Text {
    let element = text(x, y + SIZE * 0.35, content, anchor, INK);
    element.set("stroke", PAPER).set("stroke-width", 3).set("stroke-linejoin", "round").set("paint-order", "stroke")
}

/// Returns a line.
pub fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) -> Line {
    let line = Line::new().set("x1", px(x1)).set("y1", px(y1)).set("x2", px(x2)).set("y2", px(y2));
    line.set("stroke", colour).set("stroke-width", width)
}

/// Returns a bar from one place to another around `y`, pointed at its end, so that its direction is
/// visible without colour.
pub fn arrow(from: f64, to: f64, y: f64, height: f64) -> Polygon {
    let half = height / 2.0;
    let tip = (to - from).abs().min(half);
    let neck = if to < from { to + tip } else { to - tip };
    polygon(&[(from, y - half), (neck, y - half), (to, y), (neck, y + half), (from, y + half)])
}

/// Returns a bar without a direction.
pub fn plain_bar(from: f64, to: f64, y: f64, height: f64) -> Polygon {
    let half = height / 2.0;
    polygon(&[(from, y - half), (to, y - half), (to, y + half), (from, y + half)])
}

fn polygon(points: &[(f64, f64)]) -> Polygon {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", px(*x), px(*y))).collect();
    Polygon::new().set("points", points.join(" "))
}

/// Returns dots, one at each `M x y h0` of a path. A dot takes a few bytes.
pub fn dots(path: String, colour: &str, diameter: f64) -> Path {
    Path::new().set("d", path).set("stroke", colour).set("stroke-width", diameter).set("stroke-linecap", "round")
}

/// Returns a line through points.
pub fn polyline(points: impl Iterator<Item = (f64, f64)>, colour: &str) -> Path {
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(path, "{}{} {}", if path.is_empty() { 'M' } else { 'L' }, px(x), px(y));
    }
    Path::new().set("d", path).set("stroke", colour).set("fill", "none").set("stroke-linejoin", "round")
}

/// Returns the filled area inside points.
pub fn area(points: &[(f64, f64)]) -> Polygon {
    polygon(points)
}

/// Returns the text that appears when a pointer is over an element.
pub fn hint(words: &str) -> Title {
    Title::new(printable(words))
}

/// Formats a coordinate, rounded to a hundredth of a pixel.
pub fn px(x: f64) -> String {
    // Adding 0.0 turns "-0" into "0".
    ((x * 100.0).round() / 100.0 + 0.0).to_string()
}

/// Shortens text that is wider than `place`. The middle is replaced by `…`, because long names
/// often differ only at their end.
fn fit(content: &str, place: f64) -> String {
    if width(content) <= place {
        return content.to_owned();
    }
    let place = place - width("…");
    let taken = |characters: &mut dyn Iterator<Item = char>, place: f64| -> Vec<char> {
        let mut taken = 0.0;
        let fits = characters.take_while(|c| {
            taken += character_width(*c);
            taken <= place
        });
        fits.collect()
    };
    let head = taken(&mut content.chars(), place * 0.6);
    let tail = taken(&mut content.chars().rev(), place * 0.4);
    head.into_iter().chain(['…']).chain(tail.into_iter().rev()).collect()
}

/// Returns the maximum width of text of [`SIZE`]: its width in DejaVu Sans, the widest of the
/// common sans serif fonts and often the only one in a minimal container.
pub fn width(content: &str) -> f64 {
    content.chars().map(character_width).sum()
}

fn character_width(c: char) -> f64 {
    SIZE * match c {
        'i' | 'j' | 'l' | '\'' => 0.28,
        '.' | ',' | ':' | ';' | '|' | ' ' | '-' | '/' | 'f' | 'I' | 'J' => 0.36,
        't' | 'r' | '(' | ')' | '[' | ']' | '!' => 0.41,
        'w' | 'M' => 0.87,
        'm' | 'W' | '@' | '%' | '…' => 1.0,
        'A'..='Z' | '&' => 0.79,
        '+' | '<' | '>' | '=' | '−' | '~' | '^' => 0.84,
        // East Asian scripts and most pictographs are square.
        '\u{1100}'.. if !matches!(c, '\u{2000}'..='\u{2bff}') => 1.0,
        _ => 0.64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_place_and_never_breaks_a_character() {
        assert_eq!(fit("capital-gain", 200.0), "capital-gain");
        let long = "größe-".repeat(40);
        let cut = fit(&long, 200.0);
        assert!(cut.starts_with("größe-größe") && cut.contains('…') && cut.ends_with("größe-"), "{cut}");
        assert!((170.0..=200.0).contains(&width(&cut)), "{cut}");
        assert_eq!(fit("abc", 0.0), "…");
    }

    #[test]
    fn what_xml_forbids_is_replaced() {
        let mut canvas = Canvas::new(10.0, "a<b&\"c\"", "\u{1}\u{ffff}\u{1b}[0m");
        canvas.label(Columns { name: 20.0, value: 0.0 }, 5.0, "]]><script>", "\u{202e}");
        let document = canvas.finish();
        assert!(document.contains("a&lt;b&amp;\"c\"") && document.contains("]]&gt;&lt;script&gt;"), "{document}");
        assert!(document.chars().all(|c| c == '\n' || !(c.is_control() || crate::text::changes_direction(c))));
    }

    #[test]
    fn coordinates_have_at_most_two_decimals_and_no_negative_zero() {
        assert_eq!([1.0, 0.125, -0.001, 99.999, 1e6].map(px), ["1", "0.13", "0", "100", "1000000"]);
    }
}
