//! The trade-off between fairness and accuracy: accuracy against one measure of unequal treatment.

use super::canvas::{
    Anchor, Canvas, GREY, INK, LOWERS, MARGIN, Mark, PAPER, RAISES, RULE, TOP, WIDTH, dots, hint, line, px,
};
use super::canvas::{polyline, text};
use super::scale::Scale;
use crate::judge::gaps::heading;
use crate::tuning::{Kind, Tuned};

const HEIGHT: f64 = 420.0;
/// Left end of the values, to the right of the labels of the accuracy.
const LEFT: f64 = 92.0;
/// Maximum number of ticks of the accuracy.
const TICKS: f64 = 7.0;
const DOT: f64 = 9.0;

/// Draws every point of a search. Points to the left are fairer, and higher points are more
/// accurate. A line joins the points that no other point beats. `own` is a further model, drawn
/// with a ring: its distance from equal treatment
/// ([`Figures::magnitude`](crate::tuning::Figures::magnitude)) and its accuracy. Returns `None` if
/// no model of the search has a value of the measure.
#[must_use]
pub fn front(tuned: &Tuned, own: Option<[f64; 2]>) -> Option<String> {
    let measure = tuned.front_measure()?;
    let mut points: Vec<_> = tuned
        .front
        .iter()
        .filter_map(|point| {
            Some((f64::from(point.figures.magnitude(measure)?), f64::from(point.figures.accuracy), point))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let rows = points.first().map(|(.., point)| point.figures.rows)?;
    let across = points.iter().map(|(gap, ..)| *gap).chain(own.map(|[gap, _]| gap)).chain([0.0]);
    let across = Scale::new(across, LEFT, WIDTH - MARGIN, [0.0, 24.0]);
    let up = points.iter().map(|(_, accuracy, _)| *accuracy).chain(own.map(|[_, accuracy]| accuracy));
    let up = Scale::new(up, 0.0, HEIGHT, [24.0, 24.0]);

    let name = heading(measure);
    let mut canvas = Canvas::new(HEIGHT, "What fairness costs", &format!("accuracy and {name} on {rows} rows"));
    canvas.describe("Accuracy rises to the top, unequal treatment to the right; the line joins the best points.");
    canvas.axis(&across, &format!("unequal treatment, |{name}|, of the group furthest from it"));
    let bottom = canvas.bottom;
    for (tick, label) in up.ticks_within(TICKS) {
        let y = bottom - up.at(tick);
        canvas.put(line(LEFT, y, WIDTH - MARGIN, y, RULE, 1.0));
        canvas.put(text(LEFT - 8.0, y + 4.0, &label, Anchor::End, GREY).set("font-size", 12));
    }
    canvas.put(text(MARGIN, TOP - 10.0, "accuracy", Anchor::Start, INK).set("font-size", 12));
    if let Some(limit) = tuned.limit {
        canvas.mark(across.at(f64::from(measure.allowance(limit))), "target", "target");
    }
    let best = points.iter().filter(|(.., point)| point.is_best);
    let best = best.map(|(gap, accuracy, _)| (across.at(*gap), bottom - up.at(*accuracy)));
    canvas.put(polyline(best, INK).set("stroke-width", 1.2).set("class", "best"));
    for (gap, accuracy, point) in &points {
        let at = format!("M{} {}h0", px(across.at(*gap)), px(bottom - up.at(*accuracy)));
        let limit = point.limit.map_or_else(String::new, |limit| format!(" {}={limit}", measure.name()));
        let words = format!("{}{limit}: accuracy {accuracy:.4}, {name} {gap:.4}", point.kind.name());
        canvas.put(dots(at, colour(point.kind), DOT).set("class", "point").add(hint(&words)));
    }
    if let Some([gap, accuracy]) = own {
        let at = format!("M{} {}h0", px(across.at(gap)), px(bottom - up.at(accuracy)));
        for (colour, wide) in [(INK, 2.0 * DOT), (PAPER, 2.0 * DOT - 4.0), (INK, 5.0)] {
            canvas.put(dots(at.clone(), colour, wide).set("class", "own"));
        }
    }
    let kinds = [Kind::Target, Kind::GroupThresholds, Kind::Unconstrained, Kind::LogisticRegression];
    let shown = kinds.into_iter().filter(|kind| points.iter().any(|(.., point)| point.kind == *kind));
    let legend: Vec<_> = shown.map(|kind| (Some(Mark::Dot(colour(kind))), kind.name())).collect();
    let own = own.map(|_| (None, "ringed: this model"));
    canvas.legend(&legend.into_iter().chain(own).collect::<Vec<_>>());
    Some(canvas.finish())
}

/// Returns the colour of a kind: Okabe and Ito (2008).
const fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Target => RAISES,
        Kind::GroupThresholds => LOWERS,
        Kind::Unconstrained => INK,
        Kind::LogisticRegression => "#009e73",
    }
}
