//! Accuracy and gaps along the rows: those of the training stream, if there is a checkpoint, and
//! those of the report.

use feamoe_engine::fairness::Measure;
use maud::{Markup, html};

use super::super::stretches::long_enough;
use super::super::table::{Table, figure, range, shown};
use super::super::{Report, Run, Stretch};
use super::{drawn, heading, name, omitted, within};
use crate::plot::{Curve, Entry, Panel, Panels, grouped, panels};
use crate::rows::Attribute;
use crate::training::events::EventReport;

/// The measures that depend on decisions and scores alone. Distances of recourse are not computed
/// per stretch.
const MEASURES: [Measure; 6] =
    [Measure::Spd, Measure::Aod, Measure::Eodds, Measure::Eopp, Measure::Burden, Measure::Impact];
/// Maximum number of lines with intervals: more would hide each other.
const MOST_SPREADS: usize = 2;
/// Maximum ratio that is drawn.
const MOST_IMPACT: f64 = 3.0;

/// Returns the section.
pub(super) fn over_time(report: &Report) -> Markup {
    html! {
        h3 { "While it learned" }
        @match &report.run {
            Some(run) => {
                p {
                    "The stream that the model learned from, " (grouped(run.rows)) " rows"
                    @if run.epochs > 1 { " counted over " (run.epochs) " passes; the plots show the first" }
                    ". Every row was scored by what was learned before it, and then learned from."
                }
                (of_stretches(report, "learning", &run.stretches, &run.attributes, Some(run)))
                (events(run))
            }
            None => {
                p.note {
                    "Not known: a model file does not hold the history of its run. Give the report the run's checkpoint, and it shows accuracy, gaps, "
                    "drifts, experts and re-fits over the training stream."
                }
            }
        }
        h3 { "Over the rows of this report" }
        p {
            "The finished model on the rows in their order, in windows of " (grouped(report.stretches.first().map_or(0, Stretch::rows))) " rows. "
            "A gap that grows here is one that the model does not follow."
        }
        (of_stretches(report, "rows", &report.stretches, &report.attributes, None))
    }
}

fn of_stretches(
    report: &Report,
    id: &str,
    stretches: &[Stretch],
    attributes: &[Attribute],
    run: Option<&Run>,
) -> Markup {
    let what = if run.is_some() { "the training stream" } else { "the rows of this report" };
    html! {
        (accuracy(id, what, stretches, run))
        @for (place, attribute) in attributes.iter().enumerate() {
            (gaps(report, id, what, stretches, (place, attribute), run))
        }
    }
}

/// Returns the first and last row of the axis of a plot.
#[allow(clippy::cast_precision_loss)]
fn across(stretches: &[Stretch]) -> [f64; 2] {
    [1.0, stretches.last().map_or(1, |last| last.from + last.rows()) as f64]
}

/// Returns the letters that mark events, with their rows.
#[allow(clippy::cast_precision_loss)]
fn marks(run: Option<&Run>) -> Vec<(f64, &'static str)> {
    let events = run.into_iter().flat_map(|run| &run.events);
    events.map(|event| ((event.row + 1) as f64, letter(event))).collect()
}

fn letter(event: &EventReport) -> &'static str {
    match event.event {
        "drift detected" => "D",
        "expert added" => "E",
        "experts merged" => "M",
        _ => "R",
    }
}

/// Returns a legend for the letters that occur.
fn letters(marks: &[(f64, &'static str)]) -> Option<Entry> {
    let all = [("D", "drift detected"), ("E", "expert added"), ("M", "experts merged"), ("R", "encoding re-fitted")];
    let met = all.iter().filter(|(letter, _)| marks.iter().any(|(_, other)| other == letter));
    let words: Vec<String> = met.map(|(letter, words)| format!("{letter} {words}")).collect();
    (!words.is_empty()).then(|| Entry::Words(format!("marks: {}", words.join(", "))))
}

fn accuracy(id: &str, what: &str, stretches: &[Stretch], run: Option<&Run>) -> Markup {
    let curve = |style, name: &str, value: &dyn Fn(&Stretch) -> f64| Curve {
        name: name.to_owned(),
        style,
        points: stretches.iter().map(|stretch| [stretch.middle(), value(stretch)]).collect(),
        spread: Vec::new(),
    };
    let of_all = |stretch: &Stretch| f64::from(stretch.tally.all().accuracy());
    let balanced = |stretch: &Stretch| f64::from(stretch.tally.all().balanced_accuracy());
    let selected = |stretch: &Stretch| f64::from(stretch.tally.all().rates().positive);
    let lines = vec![curve(0, "accuracy", &of_all), curve(1, "balanced accuracy", &balanced)];
    let rate = vec![curve(2, "selection rate", &selected)];
    let (across, marks) = (across(stretches), marks(run));
    let mut legend = vec![
        Entry::Line(0, "accuracy".into()),
        Entry::Line(1, "balanced accuracy".into()),
        Entry::Line(2, "selection rate".into()),
    ];
    legend.extend(letters(&marks));
    let drawing = Panels {
        title: format!("Accuracy over {what}"),
        line: format!("{} windows", stretches.len()),
        columns: 1,
        height: 130.0,
        panels: vec![
            Panel { name: "share of right decisions".into(), across, lines, marks: marks.clone(), ..Panel::default() },
            Panel {
                name: "share of favourable decisions".into(),
                axis: "row".into(),
                across,
                lines: rate,
                marks,
                ..Panel::default()
            },
        ],
        legend,
    };
    let caption = format!("Accuracy over {what}");
    let mut table = Table::new(
        format!("{id}-accuracy"),
        caption.clone(),
        ["rows", "accuracy", "balanced accuracy", "selection rate", "log-loss of scores"],
    );
    for stretch in stretches {
        table.row([
            rows(stretch).into(),
            of_all(stretch).into(),
            balanced(stretch).into(),
            selected(stretch).into(),
            stretch.tally.mean_log_loss().into(),
        ]);
    }
    figure(&format!("plot-{id}-accuracy"), &caption, &panels(&drawing), "", &table.behind())
}

fn rows(stretch: &Stretch) -> String {
    format!("{} to {}", stretch.from, stretch.from + stretch.rows() - 1)
}

fn gaps(
    report: &Report,
    id: &str,
    what: &str,
    stretches: &[Stretch],
    (place, attribute): (usize, &Attribute),
    run: Option<&Run>,
) -> Markup {
    let (groups, left_out) = drawn(attribute, false);
    let stretches = &long_enough(stretches, (place, attribute), &groups);
    let (across, marks) = (across(stretches), marks(run));
    let value = |stretch: &Stretch, group: usize, measure: Measure| {
        let found = stretch.gap((place, attribute), group, measure);
        if measure == Measure::Impact { found.map(|value| value.min(MOST_IMPACT)) } else { found }
    };
    let panel = |(index, measure): (usize, &Measure)| {
        let lines = groups.iter().enumerate().map(|(style, group)| {
            let found: Vec<[f64; 3]> = stretches.iter().map(|stretch| value(stretch, *group, *measure)).collect();
            let points = stretches.iter().zip(&found).map(|(stretch, [value, ..])| [stretch.middle(), *value]);
            let spread = found.iter().map(|[_, low, high]| [*low, *high]).collect();
            Curve {
                name: name(attribute, *group).to_owned(),
                style,
                points: points.collect(),
                spread: if groups.len() <= MOST_SPREADS { spread } else { Vec::new() },
            }
        });
        let band = report.target(*measure).map(|limit| within(*measure, limit));
        Panel {
            name: heading(*measure).into(),
            axis: if index + 1 == MEASURES.len() { "row".into() } else { String::new() },
            across,
            seen: band.into_iter().flatten().collect(),
            band,
            level: Some(if *measure == Measure::Impact { 1.0 } else { 0.0 }),
            marks: marks.clone(),
            lines: lines.collect(),
            ..Panel::default()
        }
    };
    let reference = name(attribute, 0);
    let mut legend: Vec<Entry> = groups
        .iter()
        .enumerate()
        .map(|(style, group)| Entry::Line(style, format!("{} - {reference}", name(attribute, *group))))
        .collect();
    if MEASURES.iter().any(|measure| report.target(*measure).is_some()) {
        legend.push(Entry::Band("within the target".into()));
    }
    if groups.len() <= MOST_SPREADS {
        legend.push(Entry::Words("shades around lines: 95 % intervals".into()));
    }
    legend.extend(letters(&marks));
    let caption = format!("Gaps by {} over {what}", attribute.column());
    if is_unknown(stretches, (place, attribute), &groups) {
        return html! { p.note { (caption) ": no window of the rows has enough records of a group and its reference." } };
    }
    let drawing = Panels {
        title: caption.clone(),
        line: format!("{} windows; a window with too few records of a group has no value", stretches.len()),
        columns: 1,
        height: 96.0,
        panels: MEASURES.iter().enumerate().map(panel).collect(),
        legend,
    };
    let headings = MEASURES.map(|measure| heading(measure).to_owned());
    let headings = ["rows".to_owned(), "group".to_owned()].into_iter().chain(headings);
    let mut table = Table::new(format!("{id}-gaps-{place}"), caption.clone(), headings);
    for stretch in stretches {
        for group in &groups {
            let cell = |measure: Measure| {
                let [value, low, high] = stretch.gap((place, attribute), *group, measure);
                let interval = if low.is_finite() { format!(" ({})", range([low, high])) } else { String::new() };
                format!("{}{interval}", shown(value, 3)).into()
            };
            table.row([rows(stretch).into(), name(attribute, *group).into()].into_iter().chain(MEASURES.map(cell)));
        }
    }
    figure(&format!("plot-{id}-gaps-{place}"), &caption, &panels(&drawing), &omitted(left_out), &table.behind())
}

/// Returns whether all measures of all groups are unknown in every stretch.
fn is_unknown(stretches: &[Stretch], attribute: (usize, &Attribute), groups: &[usize]) -> bool {
    let is_known = |stretch: &Stretch, group: usize| {
        MEASURES.iter().any(|measure| stretch.gap(attribute, group, *measure)[0].is_finite())
    };
    !stretches.iter().any(|stretch| groups.iter().any(|group| is_known(stretch, *group)))
}

/// Returns a table of changes of the mixture and the encoding.
fn events(run: &Run) -> Markup {
    let mut table = Table::new(
        "events",
        "What happened while it learned",
        ["after row", "mark", "what", "why", "to whom or what", "from, to"],
    );
    for event in &run.events {
        let whom = match (&event.group, &event.encoding, event.expert) {
            (Some(group), ..) => format!("{}: {}", group.attribute, group.group),
            (_, Some(encoding), _) => encoding.feature.clone(),
            (.., Some(expert)) => format!("expert {expert}"),
            _ => event.rate.unwrap_or_default().to_owned(),
        };
        let change = match (&event.size, &event.encoding, event.parent, event.into) {
            (Some(size), ..) => format!(
                "{}: {} to {}",
                event.rate.unwrap_or_default(),
                shown(size.before.into(), 3),
                shown(size.after.into(), 3)
            ),
            (_, Some(encoding), ..) => match (encoding.range_before, encoding.range_after) {
                (Some([a, b]), Some([c, d])) => format!("{a}–{b} to {c}–{d}"),
                _ => format!(
                    "{} to {}",
                    encoding.level_before.as_deref().unwrap_or("nothing"),
                    encoding.level_after.as_deref().or(encoding.kind).unwrap_or_default()
                ),
            },
            (.., Some(parent), _) => format!("a copy of expert {parent}"),
            (.., Some(into)) => format!("into expert {into}"),
            _ => String::new(),
        };
        table.row([
            event.row.into(),
            letter(event).into(),
            event.event.into(),
            event.cause.into(),
            whom.into(),
            change.into(),
        ]);
    }
    html! {
        @if table.is_empty() { p { "Nothing happened: no drift, no expert added or merged, no encoding re-fitted." } }
        @else { (table.behind()) }
        @if run.events_dropped > 0 { p { (grouped(run.events_dropped)) " older events are no longer kept." } }
    }
}
