//! Shapes as small multiples: a row per feature, with the mixture on the left, its experts on the
//! right, and the shares of rows below both.
//!
//! Mixture and experts have separate panels because their units differ: probability and log-odds.
//! All features share the two scales, so that heights are comparable.

use feamoe_engine::Space;
use feamoe_engine::schema::Transform;
use svg::node::element::{Circle, Polygon};

use super::canvas::{
    Anchor, BAND, Canvas, GREY, INK, LOWERS, MARGIN, PAPER, RAISES, ROWS, RULE, SIZE, SLANT, TOP, WIDTH, area, hint,
    line, polyline, px, text, width,
};
use super::grouped;
use super::scale::{Scale, plain};
use crate::explanation::{Point, PointKind, PointValue, RowsFrom, Shape, Shapes, by_magnitude, quantity};

/// Maximum number of levels of a category that are drawn: those with the most rows. The others are
/// counted.
pub const MOST_LEVELS: usize = 14;

/// Heights of the feature's name, of a panel, of the gap and the row shares below it, and of the
/// labels below those.
const NAME: f64 = 26.0;
const PANEL: f64 = 112.0;
const GAP: f64 = 5.0;
const STRIP: f64 = 24.0;
const LABELS: f64 = 22.0;
/// Text size of axes.
const SMALL: f64 = 11.0;
/// Maximum length of a slanted label; its angle is [`super::canvas::SLANT`].
const LONGEST_LABEL: f64 = 100.0;
const PAD: f64 = 14.0;
/// Left and right end of the panels.
const MIXTURE: [f64; 2] = [MARGIN + 46.0, 470.0];
const EXPERTS: [f64; 2] = [538.0, WIDTH - MARGIN];
/// Width of the place for missing numbers, and the space before it.
const SLOT: f64 = 32.0;
const BEFORE_SLOT: f64 = 14.0;
/// Maximum number of ticks of a vertical and of a horizontal axis.
const TICKS: [f64; 2] = [4.0, 6.0];
/// Minimum space between the last label of an axis and the label of missing numbers, in pixels.
const APART_FROM_REST: f64 = 8.0;
/// Minimum space between the labels of a logarithmic axis, in pixels.
const APART: f64 = 44.0;

/// The experts with the greatest mean gate weights: colours of Okabe and Ito (2008) with dashes, so
/// that lines are distinguishable without colour.
const NAMED: [(&str, &str); 4] = [("#d55e00", "none"), ("#009e73", "7 3"), ("#cc79a7", "2 2"), ("#8a6d00", "8 3 2 3")];
/// The other experts.
const OTHER: (&str, &str) = ("#9aa0a6", "none");

/// Draws shapes by descending mean magnitude: at most `most` features, and at most [`MOST_LEVELS`]
/// levels of each. The number of the others is stated.
///
/// A number that acts only through its bins is drawn as the model has it, with a step at each edge.
/// Lines are straight at the ends of the range and between the points of all other numbers. A mark
/// is hollow if no row has its value.
#[must_use]
pub fn shapes(shapes: &Shapes, most: usize) -> String {
    let weights: Vec<f32> = shapes.shapes.iter().map(|shape| shape.mean_absolute_effect).collect();
    let order = by_magnitude(&weights);
    let drawn = order.iter().take(most).filter_map(|index| shapes.shapes.get(*index));
    let drawn: Vec<Drawn<'_>> = drawn.map(Drawn::new).collect();
    let heights = drawn.iter().map(Drawn::height).sum();
    let mixture = quantity(Space::Probability, &shapes.output_names);
    let title = format!("How each feature moves the {mixture}");
    let mut canvas = Canvas::new(heights, &title, &subject(shapes));
    canvas.describe(&format!(
        "One row for each of {} features, those that move the score most first. Left, the mixture: the mean change of \
         the score of the background records when the feature has a value. Right, each expert: what the feature adds \
         to its log-odds. Beneath both, how many rows have the value.",
        drawn.len()
    ));
    for ([left, _], words) in [
        (MIXTURE, format!("mixture: mean change, in {mixture}")),
        (EXPERTS, format!("experts: what the feature adds, in {}", shapes.expert_space)),
    ] {
        canvas.fitted(left, TOP - 12.0, &words, EXPERTS[1] - EXPERTS[0], Anchor::Start, INK);
    }
    let points = || drawn.iter().flat_map(|drawn| drawn.points.iter());
    let of_mixture: Vec<f64> =
        points().flat_map(|point| [point.effect, point.lower, point.upper]).map(f64::from).collect();
    let of_experts: Vec<f64> = points().flat_map(|point| point.expert_effects.iter().copied().map(f64::from)).collect();
    let styles = styles(&shapes.gate);
    let mut top = TOP;
    for drawn in &drawn {
        let floor = top + NAME + PANEL;
        let upright =
            |values: &[f64]| Scale::new(values.iter().copied().chain([0.0]), floor - 3.0, top + NAME + 3.0, [0.0; 2]);
        canvas.put(line(MARGIN, top, EXPERTS[1], top, RULE, 1.0));
        canvas.fitted(MARGIN, top + 18.0, &drawn.shape.feature, MIXTURE[1] - MARGIN, Anchor::Start, INK);
        if let Some(words) = drawn.omitted() {
            canvas.put(text(EXPERTS[1], top + 18.0, &words, Anchor::End, GREY).set("font-size", SMALL));
        }
        let (mixture, experts) = (upright(&of_mixture), upright(&of_experts));
        drawn.frame(&mut canvas, MIXTURE, &mixture, floor);
        drawn.mixture(&mut canvas, &mixture);
        drawn.frame(&mut canvas, EXPERTS, &experts, floor);
        drawn.experts(&mut canvas, &experts, &styles);
        top += drawn.height();
    }
    legend(&mut canvas, shapes, &styles, order.len() - drawn.len());
    canvas.finish()
}

/// Returns the line under the title, such as `partial dependence over 1,000 background records
/// (0123abcd) · rows: 16,281 of data · model ...`.
fn subject(shapes: &Shapes) -> String {
    let background = &shapes.background;
    let rows = match shapes.rows.from {
        RowsFrom::Background => String::new(),
        RowsFrom::Data => format!(" · rows: {} of data", grouped(shapes.rows.count)),
    };
    format!(
        "partial dependence over {} background records ({}), mean score {}{rows} · model {}",
        grouped(background.rows.into()),
        background.hash,
        plain(shapes.base_value.into(), 4),
        shapes.model
    )
}

/// Returns the colour and dashes of each expert.
fn styles(gate: &[f32]) -> Vec<(&'static str, &'static str)> {
    let mut styles = vec![OTHER; gate.len()];
    for (expert, style) in by_magnitude(gate).into_iter().zip(NAMED) {
        if let Some(place) = styles.get_mut(expert) {
            *place = style;
        }
    }
    styles
}

/// A feature with the points that are drawn.
struct Drawn<'s> {
    shape: &'s Shape,
    /// Numbers or levels, followed by unseen and missing.
    points: Vec<&'s Point>,
    /// The number of levels that are not drawn.
    omitted: usize,
}

impl<'s> Drawn<'s> {
    fn new(shape: &'s Shape) -> Self {
        let mut points: Vec<&Point> = shape.points.iter().collect();
        let mut omitted = 0;
        if !shape.is_number {
            let (mut levels, rest): (Vec<&Point>, Vec<&Point>) =
                points.into_iter().partition(|point| point.kind == PointKind::Level);
            let share = |point: &Point| point.share.unwrap_or_default();
            levels.sort_by(|a, b| share(b).total_cmp(&share(a)));
            omitted = levels.len().saturating_sub(MOST_LEVELS);
            levels.truncate(MOST_LEVELS);
            points = levels.into_iter().chain(rest).collect();
        }
        Self { shape, points, omitted }
    }

    fn height(&self) -> f64 {
        let longest = self.points.iter().map(|point| width(&point.shown())).fold(0.0, f64::max);
        let labels = if self.shape.is_number {
            LABELS
        } else {
            LABELS + longest.min(LONGEST_LABEL) * SMALL / SIZE * libm::sin(SLANT.to_radians())
        };
        NAME + PANEL + GAP + STRIP + labels + PAD
    }

    /// Returns a note on bins or levels that are not drawn.
    fn omitted(&self) -> Option<String> {
        let more = self.omitted + self.shape.left_out.points;
        let what = if self.shape.is_number { "bins" } else { "rarer levels" };
        (more > 0).then(|| format!("{more} {what} are not shown"))
    }

    /// Returns the points that are numbers, and the other points.
    fn numbers(&self) -> (Vec<(f64, &'s Point)>, Vec<&'s Point>) {
        let mut numbers = Vec::new();
        let mut rest = Vec::new();
        for point in &self.points {
            match point.value {
                PointValue::Number(x) => numbers.push((self.transformed(x), *point)),
                _ => rest.push(*point),
            }
        }
        (numbers, rest)
    }

    fn transformed(&self, x: f32) -> f64 {
        match self.shape.transform {
            Transform::Identity => x.into(),
            Transform::Log1p => libm::log1p(x.into()),
        }
    }

    /// Returns the horizontal scale of numbers in a panel. Points that are not numbers have a place
    /// to the right of it.
    fn across(&self, [left, right]: [f64; 2]) -> Scale {
        let (numbers, _) = self.numbers();
        let ends = numbers.iter().flat_map(|(x, point)| {
            let ends = [point.from, point.to].into_iter().flatten().map(|end| self.transformed(end));
            ends.chain([*x]).collect::<Vec<_>>()
        });
        Scale::new(ends, left, right - SLOT - BEFORE_SLOT, [0.0; 2])
    }

    /// Returns the middle and the width of the place of each point that is not a number.
    fn slots(&self, [left, right]: [f64; 2]) -> Vec<(f64, f64, &'s Point)> {
        if self.shape.is_number {
            let (_, rest) = self.numbers();
            return rest.into_iter().map(|point| (right - SLOT / 2.0, SLOT, point)).collect();
        }
        let each = (right - left) / self.points.len().max(1) as f64;
        let place = |(index, point): (usize, &&'s Point)| (left + each * (index as f64 + 0.5), each, *point);
        self.points.iter().enumerate().map(place).collect()
    }

    /// Draws what both panels have in common: grid, axes, labels and the shares of rows.
    fn frame(&self, canvas: &mut Canvas, panel: [f64; 2], upright: &Scale, floor: f64) {
        let [left, right] = panel;
        for (tick, label) in upright.ticks_within(TICKS[0]) {
            let y = upright.at(tick);
            canvas.put(line(left, y, right, y, RULE, 0.8));
            canvas.put(text(left - 6.0, y + 4.0, &label, Anchor::End, GREY).set("font-size", SMALL));
        }
        let zero = upright.at(0.0);
        canvas.put(line(left, zero, right, zero, GREY, 1.0));
        let ground = floor + GAP + STRIP;
        let mut bars: Vec<(f64, f64, f32)> = Vec::new();
        if self.shape.is_number {
            let scale = self.across(panel);
            for point in &self.points {
                let ends =
                    point.from.zip(point.to).map(|(from, to)| [from, to].map(|end| scale.at(self.transformed(end))));
                bars.extend(ends.zip(point.share).map(|([from, to], share)| (from, to, share)));
            }
            let wide = |label: &str| width(label) * SMALL / SIZE;
            let rest = self.slots(panel).iter().map(|(.., point)| wide(&point.shown())).fold(0.0, f64::max);
            let room = right + 4.0 - rest - APART_FROM_REST;
            for (x, label) in self.labels(&scale) {
                canvas.put(line(x, ground, x, ground + 4.0, GREY, 1.0));
                let is_long = x + wide(&label) / 2.0 > room;
                let (x, anchor) = if is_long { (room, Anchor::End) } else { (x, Anchor::Middle) };
                canvas.put(text(x, ground + 16.0, &label, anchor, GREY).set("font-size", SMALL));
            }
            canvas.put(line(scale.left, ground, scale.right, ground, GREY, 1.0));
        } else {
            canvas.put(line(left, ground, right, ground, GREY, 1.0));
        }
        for (middle, width, point) in self.slots(panel) {
            let half = (width * 0.36).min(13.0);
            bars.extend(point.share.map(|share| (middle - half, middle + half, share)));
            match self.shape.is_number {
                true => {
                    canvas.put(line(middle - SLOT / 2.0, ground, middle + SLOT / 2.0, ground, GREY, 1.0));
                    let label = text(right + 4.0, ground + 16.0, &point.shown(), Anchor::End, GREY);
                    canvas.put(label.set("font-size", SMALL));
                }
                false => canvas.slanted(middle + 4.0, ground + 12.0, &point.shown(), LONGEST_LABEL),
            }
        }
        // The area of a bar represents the share: a wide bin with few rows is low.
        let thick = |from: f64, to: f64, share: f32| f64::from(share) / (to - from).max(1.0);
        let most = bars.iter().map(|(from, to, share)| thick(*from, *to, *share)).fold(0.0, f64::max);
        for (from, to, share) in bars.into_iter().filter(|(.., share)| *share > 0.0) {
            let height = (STRIP * thick(from, to, share) / most).max(0.7);
            let to = to.max(from + 1.0);
            let bar = area(&[(from, ground), (from, ground - height), (to, ground - height), (to, ground)]);
            let bar = bar.set("fill", ROWS).set("class", "rows");
            canvas.put(bar.add(hint(&format!("{} % of the rows", plain(100.0 * f64::from(share), 1)))));
        }
    }

    /// Returns the positions and texts of the labels below a panel.
    fn labels(&self, scale: &Scale) -> Vec<(f64, String)> {
        if self.shape.transform == Transform::Identity {
            let ticks = scale.ticks_within(TICKS[1]);
            return ticks.into_iter().map(|(tick, label)| (scale.at(tick), label)).collect();
        }
        let mut labels: Vec<(f64, String)> = Vec::new();
        let zero = std::iter::once(0.0);
        let steps = |first: f64| (-2..39).map(move |power| first * 10.0_f64.powi(power));
        for round in zero.chain(steps(1.0)).chain(steps(2.0)).chain(steps(5.0)) {
            let x = scale.at(libm::log1p(round));
            let is_apart = labels.iter().all(|(other, _)| (x - other).abs() >= APART);
            if (scale.left - 0.5..=scale.right + 0.5).contains(&x) && is_apart {
                labels.push((x, round.to_string()));
            }
        }
        labels
    }

    fn mixture(&self, canvas: &mut Canvas, upright: &Scale) {
        let zero = upright.at(0.0);
        if self.shape.is_number {
            let scale = self.across(MIXTURE);
            let along = |of: fn(&Point) -> f32| self.outline(&scale, upright, |point| of(point).into());
            let band: Vec<(f64, f64)> =
                along(|point| point.upper).into_iter().chain(along(|point| point.lower).into_iter().rev()).collect();
            canvas.put(area(&band).set("fill", BAND).set("class", "band"));
            let curve = polyline(along(|point| point.effect).into_iter(), RAISES);
            canvas.put(curve.set("stroke-width", 2.6).set("class", "mixture"));
        }
        for (middle, width, point) in self.slots(MIXTURE) {
            let [effect, lower, upper] = [point.effect, point.lower, point.upper].map(|y| upright.at(y.into()));
            let colour = if point.effect < 0.0 { LOWERS } else { RAISES };
            let is_empty = point.share == Some(0.0);
            let colour = if self.shape.is_number { RAISES } else { colour };
            let fill = if is_empty { PAPER } else { colour };
            let words = hint(&format!("{}: {}", point.shown(), plain(point.effect.into(), 4)));
            if self.shape.is_number {
                canvas.put(line(middle, lower, middle, upper, BAND, 7.0).set("class", "band"));
                let dot = Circle::new().set("cx", px(middle)).set("cy", px(effect)).set("r", 4).set("fill", fill);
                canvas.put(dot.set("stroke", colour).set("stroke-width", 2).set("class", "mixture").add(words));
            } else {
                let half = (width * 0.36).min(13.0);
                let bar = area(&[
                    (middle - half, zero),
                    (middle - half, effect),
                    (middle + half, effect),
                    (middle + half, zero),
                ]);
                canvas.put(bar.set("fill", fill).set("stroke", colour).set("class", "mixture").add(words));
                canvas.put(line(middle, lower, middle, upper, INK, 1.0).set("class", "band"));
                for end in [lower, upper] {
                    canvas.put(line(middle - 3.0, end, middle + 3.0, end, INK, 1.0));
                }
            }
        }
    }

    fn experts(&self, canvas: &mut Canvas, upright: &Scale, styles: &[(&'static str, &'static str)]) {
        let scale = self.across(EXPERTS);
        let named = |style: &(&str, &str)| style.0 != OTHER.0;
        // Experts with a colour are drawn over the others.
        let (last, first): (Vec<usize>, Vec<usize>) =
            (0..styles.len()).partition(|expert| styles.get(*expert).is_some_and(named));
        for expert in first.into_iter().chain(last.into_iter().rev()) {
            let Some((colour, dashes)) = styles.get(expert).copied() else { continue };
            let of = |point: &Point| f64::from(point.expert_effects.get(expert).copied().unwrap_or_default());
            let words = || hint(&format!("expert {}", expert + 1));
            if self.shape.is_number {
                let curve = polyline(self.outline(&scale, upright, of).into_iter(), colour);
                let curve = curve.set("stroke-width", 1.2).set("stroke-dasharray", dashes);
                canvas.put(curve.set("class", "expert").add(words()));
            }
            for (middle, width, point) in self.slots(EXPERTS) {
                let (half, y) = ((width * 0.36).min(13.0), upright.at(of(point)));
                let mark = line(middle - half, y, middle + half, y, colour, 1.6).set("stroke-dasharray", dashes);
                canvas.put(mark.set("class", "expert").add(words()));
            }
        }
    }

    /// Returns the corners of a line along the numbers. A stepped line is constant within a bin and
    /// has a step at each edge. In the outermost bins it continues straight to the end of the
    /// range.
    fn outline(&self, scale: &Scale, upright: &Scale, of: impl Fn(&Point) -> f64) -> Vec<(f64, f64)> {
        let (numbers, _) = self.numbers();
        let is_end = |place: Option<usize>| {
            let point = place.and_then(|place| numbers.get(place));
            point.is_some_and(|(_, point)| point.kind != PointKind::Bin)
        };
        let mut corners = Vec::new();
        for (place, (x, point)) in numbers.iter().enumerate() {
            let y = upright.at(of(point));
            let mut put = |x: f64| corners.push((scale.at(x), y));
            // The ends of the range are in the outermost bins.
            let from = point.from.filter(|_| self.shape.is_stepped && !is_end(place.checked_sub(1)));
            let to = point.to.filter(|_| self.shape.is_stepped && !is_end(Some(place + 1)));
            let is_level = from.is_some() && to.is_some();
            from.into_iter().for_each(|from| put(self.transformed(from)));
            if !is_level {
                put(*x);
            }
            to.into_iter().for_each(|to| put(self.transformed(to)));
        }
        corners
    }
}

fn legend(canvas: &mut Canvas, shapes: &Shapes, styles: &[(&'static str, &'static str)], omitted: usize) {
    let (mut x, y) = (MARGIN, canvas.bottom + 34.0);
    let [low, high] = shapes.quantiles.map(|quantile| plain(100.0 * f64::from(quantile), 0));
    let words = |canvas: &mut Canvas, mark: Option<Box<dyn svg::Node>>, words: &str, y: f64, x: &mut f64| {
        if let Some(mark) = mark {
            canvas.put(mark);
            *x += 26.0;
        }
        canvas.put(text(*x, y + 4.0, words, Anchor::Start, GREY).set("font-size", 12));
        *x += width(words) * 12.0 / SIZE + 18.0;
    };
    let box_at = |x: f64, y: f64, colour: &str| -> Box<dyn svg::Node> { Box::new(square(x, y).set("fill", colour)) };
    words(canvas, Some(Box::new(line(x, y, x + 20.0, y, RAISES, 2.6))), "mean", y, &mut x);
    let spread = format!("{low} to {high} % of the records’ own changes, no confidence interval");
    let mark = box_at(x, y, BAND);
    words(canvas, Some(mark), &spread, y, &mut x);
    let mark = box_at(x, y, ROWS);
    words(canvas, Some(mark), "rows, by area", y, &mut x);
    let mark: Box<dyn svg::Node> =
        Box::new(square(x, y).set("fill", PAPER).set("stroke", RAISES).set("stroke-width", 1.5));
    words(canvas, Some(mark), "no row has it", y, &mut x);
    if omitted > 0 {
        words(canvas, None, &format!("{omitted} features that move scores less are not shown"), y, &mut x);
    }
    let (mut x, y) = (MARGIN, canvas.bottom + 60.0);
    let order = by_magnitude(&shapes.gate);
    for (place, expert) in order.iter().take(NAMED.len()).enumerate() {
        let (Some((colour, dashes)), Some(gate)) = (styles.get(*expert), shapes.gate.get(*expert)) else { continue };
        let mark = line(x, y, x + 20.0, y, colour, 1.8).set("stroke-dasharray", *dashes);
        let mean = if place == 0 { "mean gate " } else { "" };
        let name = format!("expert {} ({mean}{} %)", expert + 1, plain(100.0 * f64::from(*gate), 0));
        words(canvas, Some(Box::new(mark)), &name, y, &mut x);
    }
    if let Some(others @ 1..) = order.len().checked_sub(NAMED.len()) {
        let gate: f64 =
            order.iter().skip(NAMED.len()).filter_map(|expert| shapes.gate.get(*expert)).copied().map(f64::from).sum();
        let mark = line(x, y, x + 20.0, y, OTHER.0, 1.8);
        let name = format!("{others} others ({} %)", plain(100.0 * gate, 0));
        words(canvas, Some(Box::new(mark)), &name, y, &mut x);
    }
}

fn square(x: f64, y: f64) -> Polygon {
    area(&[(x + 4.0, y - 6.0), (x + 16.0, y - 6.0), (x + 16.0, y + 6.0), (x + 4.0, y + 6.0)])
}
