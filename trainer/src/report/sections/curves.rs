//! Calibration, the ROC curve, and the effect of other thresholds.

use feamoe_engine::fairness::{Measure, rate_interval};
use maud::{Markup, html};

use super::super::table::{Field, Table, figure};
use super::super::{Point, Report};
use super::{drawn, heading, name, omitted, within};
use crate::judge::evaluation::GroupReport;
use crate::judge::reliability::ReliabilityBin;
use crate::plot::{Curve, Entry, Panel, Panels, panels};
use crate::rows::Attribute;

/// Minimum number of rows of a bin that is drawn.
const FEW: u64 = 10;
/// Number of thresholds in a table.
const TABLED: usize = 20;
/// Range of the thresholds that are drawn. Near 0 and 1 there are more thresholds than an axis can
/// show.
const SHOWN: std::ops::RangeInclusive<f32> = 0.005..=0.995;
/// Measures that are known at every threshold.
const MEASURES: [Measure; 5] = [Measure::Spd, Measure::Aod, Measure::Eodds, Measure::Eopp, Measure::Impact];
/// Minimum number of selected rows in the group and in the reference for which a gap is drawn.
const FEW_SELECTED: u64 = 30;

/// Returns the section on calibration and errors.
pub(super) fn curves(report: &Report) -> Markup {
    html! {
        p {
            "Left: of the records with about this probability, the share whose outcome was favourable; on the dashed line a probability is what it says. "
            "Right: the ROC curve, true against false positive rate at every threshold; the ringed dot is the model's threshold. "
            "Groups on different curves are ranked differently well; dots apart on one curve are different error rates at one threshold."
        }
        (pair(report, "all", "all rows", &[of_all(report)], 0))
        @for (place, attribute) in report.attributes.iter().enumerate() {
            @let (groups, left_out) = drawn(attribute, true);
            @let lines = groups.iter().filter_map(|group| of_group(report, (place, attribute), *group)).collect::<Vec<_>>();
            (pair(report, &place.to_string(), attribute.column(), &lines, left_out))
        }
    }
}

/// The data that is drawn of a group.
struct Line<'r> {
    name: String,
    bins: &'r [ReliabilityBin],
    points: Vec<Point>,
}

fn of_all(report: &Report) -> Line<'_> {
    Line { name: "all rows".into(), bins: &report.evaluation.reliability, points: report.curves.all() }
}

fn of_group<'r>(report: &'r Report, (place, attribute): (usize, &Attribute), group: usize) -> Option<Line<'r>> {
    let name = name(attribute, group);
    let is_own = |g: &&GroupReport| g.attribute == attribute.column() && g.group == name;
    let own = report.evaluation.groups.iter().find(is_own)?;
    Some(Line { name: name.to_owned(), bins: &own.reliability, points: report.curves.group(place, group) })
}

#[allow(clippy::cast_precision_loss)]
fn share(bin: &ReliabilityBin) -> f64 {
    bin.positives as f64 / bin.rows as f64
}

fn pair(report: &Report, id: &str, of: &str, lines: &[Line<'_>], left_out: usize) -> Markup {
    let is_one = lines.len() == 1;
    let calibration = lines.iter().enumerate().map(|(style, line)| {
        let bins = || line.bins.iter().filter(|bin| bin.rows >= FEW);
        let ends = |bin: &ReliabilityBin| {
            rate_interval(bin.positives, bin.rows).map_or([f64::NAN; 2], |ends| [ends.low, ends.high].map(f64::from))
        };
        Curve {
            name: line.name.clone(),
            style,
            points: bins().map(|bin| [bin.probability, share(bin)]).collect(),
            spread: if is_one || lines.len() == 2 { bins().map(ends).collect() } else { Vec::new() },
        }
    });
    let roc = lines.iter().enumerate().map(|(style, line)| Curve {
        name: line.name.clone(),
        style,
        points: [[1.0, 1.0]]
            .into_iter()
            .chain(line.points.iter().map(|point| [point.fpr(), point.tpr()]))
            .chain([[0.0, 0.0]])
            .collect(),
        spread: Vec::new(),
    });
    let chosen = report.curves.chosen();
    let dots = lines.iter().enumerate().filter_map(|(style, line)| {
        let point = line.points.get(chosen)?;
        (point.fpr().is_finite() && point.tpr().is_finite()).then(|| ([point.fpr(), point.tpr()], style))
    });
    let diagonal = Some([[0.0, 0.0], [1.0, 1.0]]);
    let caption = format!("Calibration and ROC of {of}");
    let mut legend: Vec<Entry> =
        lines.iter().enumerate().map(|(style, line)| Entry::Line(style, line.name.clone())).collect();
    legend.push(Entry::Words(format!("ringed: the threshold {}", report.facts.threshold)));
    if is_one || lines.len() == 2 {
        legend.push(Entry::Words("shades: 95 % intervals".into()));
    }
    let drawing = Panels {
        title: caption.clone(),
        line: format!(
            "tenths of probability with at least {FEW} rows; ROC at {} thresholds",
            report.curves.all().len()
        ),
        columns: 2,
        height: 360.0,
        panels: vec![
            Panel {
                name: "share of favourable outcomes".into(),
                axis: "mean probability".into(),
                across: [0.0, 1.0],
                seen: vec![0.0, 1.0],
                straight: diagonal,
                lines: calibration.collect(),
                ..Panel::default()
            },
            Panel {
                name: "true positive rate".into(),
                axis: "false positive rate".into(),
                across: [0.0, 1.0],
                seen: vec![0.0, 1.0],
                straight: diagonal,
                lines: roc.collect(),
                dots: dots.collect(),
                ..Panel::default()
            },
        ],
        legend,
    };
    let mut bins = Table::new(
        format!("calibration-{id}"),
        format!("Calibration of {of}"),
        ["group", "rows", "mean probability", "share of favourable outcomes", "95 %"],
    );
    let mut rates = Table::new(
        format!("roc-{id}"),
        format!("Error rates of {of} by threshold"),
        ["group", "threshold", "false positive rate", "true positive rate"],
    );
    for line in lines {
        for bin in line.bins {
            let interval = rate_interval(bin.positives, bin.rows).map(|ends| [ends.low, ends.high]);
            let fields = [Field::from(bin.rows), bin.probability.into(), share(bin).into(), interval.into()];
            bins.row([Field::from(line.name.clone())].into_iter().chain(fields));
        }
        for (_, point) in tabled(&line.points, chosen) {
            rates.row([line.name.clone().into(), point.threshold.into(), point.fpr().into(), point.tpr().into()]);
        }
    }
    let behind = html! { (bins.behind()) (rates.behind()) };
    figure(&format!("plot-curves-{id}"), &caption, &panels(&drawing), &omitted(left_out), &behind)
}

/// Returns about evenly spaced thresholds, including the chosen one.
fn tabled(points: &[Point], chosen: usize) -> Vec<(usize, &Point)> {
    let mut next = 0.0_f32;
    let step = 1.0 / TABLED as f32;
    let mut all = Vec::new();
    for (place, point) in points.iter().enumerate() {
        if place == chosen || point.threshold >= next {
            all.push((place, point));
        }
        while point.threshold >= next {
            next += step;
        }
    }
    all
}

/// Returns whether a threshold is drawn.
fn is_shown(point: &&Point) -> bool {
    SHOWN.contains(&point.threshold)
}

/// Returns the section on the threshold.
pub(super) fn threshold(report: &Report) -> Markup {
    let all = report.curves.all();
    let chosen = report.curves.chosen();
    let own = f64::from(report.facts.threshold);
    let curve = |style: usize, name: &str, points: &[Point], value: &dyn Fn(&Point) -> f64| Curve {
        name: name.to_owned(),
        style,
        points: points.iter().filter(is_shown).map(|point| [point.threshold.into(), value(point)]).collect(),
        spread: Vec::new(),
    };
    let caption = "Accuracy by threshold, all rows";
    let drawing = Panels {
        title: caption.into(),
        line: format!("T: the model's threshold {}", report.facts.threshold),
        columns: 1,
        height: 150.0,
        panels: vec![Panel {
            name: "share".into(),
            axis: "threshold".into(),
            across: [0.0, 1.0],
            seen: vec![0.0, 1.0],
            marks: vec![(own, "T")],
            lines: vec![
                curve(0, "accuracy", &all, &Point::accuracy),
                curve(1, "balanced accuracy", &all, &Point::balanced_accuracy),
                curve(2, "selection rate", &all, &Point::selection_rate),
            ],
            ..Panel::default()
        }],
        legend: ["accuracy", "balanced accuracy", "selection rate"]
            .into_iter()
            .enumerate()
            .map(|(style, name)| Entry::Line(style, name.into()))
            .collect(),
    };
    let mut table =
        Table::new("sweep", caption, ["threshold", "accuracy", "balanced accuracy", "selection rate", "TPR", "FPR"]);
    for (place, point) in tabled(&all, chosen) {
        let words =
            if place == chosen { format!("{} (the model's)", point.threshold) } else { point.threshold.to_string() };
        table.row([
            words.into(),
            point.accuracy().into(),
            point.balanced_accuracy().into(),
            point.selection_rate().into(),
            point.tpr().into(),
            point.fpr().into(),
        ]);
    }
    html! {
        p {
            "What the same scores would bring with another threshold, on these rows. The model decides by " (report.facts.threshold)
            @if let Some(rule) = report.card.as_ref().and_then(|card| card.options.get("threshold")) { ", as its option " code { "threshold " (rule) } " says" }
            "."
        }
        (figure("plot-sweep", caption, &panels(&drawing), "", &table.behind()))
        @for (place, attribute) in report.attributes.iter().enumerate() { (sweep(report, (place, attribute))) }
    }
}

fn sweep(report: &Report, (place, attribute): (usize, &Attribute)) -> Markup {
    let (groups, left_out) = drawn(attribute, true);
    let reference = report.curves.group(place, 0);
    let chosen = report.curves.chosen();
    let of = |group: usize| report.curves.group(place, group);
    let style = |group: usize| groups.iter().position(|other| *other == group).unwrap_or(usize::MAX);
    let rates = groups.iter().map(|group| Curve {
        name: name(attribute, *group).to_owned(),
        style: style(*group),
        points: of(*group)
            .iter()
            .filter(is_shown)
            .map(|point| [point.threshold.into(), point.selection_rate()])
            .collect(),
        spread: Vec::new(),
    });
    let marks = || vec![(f64::from(report.facts.threshold), "T")];
    let first = Panel {
        name: "selection rate".into(),
        across: [0.0, 1.0],
        seen: vec![0.0, 1.0],
        marks: marks(),
        lines: rates.collect(),
        ..Panel::default()
    };
    let gap = |measure: Measure, point: &Point, reference: &Point| {
        let is_small = |point: &Point| point.selected.iter().sum::<u64>() < FEW_SELECTED;
        if is_small(point) || is_small(reference) { f64::NAN } else { point.gap(measure, reference) }
    };
    let panel = |(index, measure): (usize, &Measure)| {
        let lines = groups.iter().filter(|group| **group > 0).map(|group| {
            let points = of(*group);
            let points = points.iter().zip(&reference).filter(|(point, _)| is_shown(point));
            Curve {
                name: name(attribute, *group).to_owned(),
                style: style(*group),
                points: points.map(|(point, base)| [point.threshold.into(), gap(*measure, point, base)]).collect(),
                spread: Vec::new(),
            }
        });
        let band = report.target(*measure).map(|limit| within(*measure, limit));
        Panel {
            name: heading(*measure).into(),
            axis: if index + 1 == MEASURES.len() { "threshold".into() } else { String::new() },
            across: [0.0, 1.0],
            seen: band.into_iter().flatten().collect(),
            band,
            level: Some(if *measure == Measure::Impact { 1.0 } else { 0.0 }),
            marks: marks(),
            lines: lines.collect(),
            ..Panel::default()
        }
    };
    let mut legend: Vec<Entry> =
        groups.iter().map(|group| Entry::Line(style(*group), name(attribute, *group).to_owned())).collect();
    if MEASURES.iter().any(|measure| report.target(*measure).is_some()) {
        legend.push(Entry::Band("within the target".into()));
    }
    legend.push(Entry::Words("T: the model's threshold".into()));
    let caption = format!("Decisions by {} at other thresholds", attribute.column());
    let drawing = Panels {
        title: caption.clone(),
        line: format!(
            "gaps are against {}, where at least {FEW_SELECTED} rows of both are selected",
            name(attribute, 0)
        ),
        columns: 1,
        height: 96.0,
        panels: [first].into_iter().chain(MEASURES.iter().enumerate().map(panel)).collect(),
        legend,
    };
    let headings = ["group", "threshold", "selection rate"].into_iter().chain(MEASURES.map(heading));
    let mut table = Table::new(format!("sweep-{place}"), caption.clone(), headings);
    for group in &groups {
        let points = of(*group);
        for (at, point) in tabled(&points, chosen) {
            let base = reference.get(at).copied().unwrap_or_default();
            let own =
                |measure: Measure| if *group == 0 { Field::from("–") } else { point.gap(measure, &base).into() };
            let fields = [Field::from(name(attribute, *group)), point.threshold.into(), point.selection_rate().into()];
            table.row(fields.into_iter().chain(MEASURES.map(own)));
        }
    }
    figure(&format!("plot-sweep-{place}"), &caption, &panels(&drawing), &omitted(left_out), &table.behind())
}
