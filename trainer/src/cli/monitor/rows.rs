//! `feamoe monitor MODEL DATA`: monitors a model by the rows that it scores.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use feamoe::judge::watch::report::{Alarm, Group, Quantity, ReferenceFrom, Summary, Window};
use feamoe::judge::watch::{Event, Watch};
use feamoe::rows::{Input, Use};
use feamoe::schema::Schema;
use feamoe_engine::fairness::Measure;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Options, hook};
use crate::cli::evaluate::{values, without_group};
use crate::cli::follow::say_left_out;
use crate::cli::print::{self, share, signed};
use crate::cli::require::named;
use crate::cli::{Format, Outcome, load_model, open_rows, read_blob, read_card_beside};

/// The largest number of inputs that the line of a window names.
const MOST_NAMED: usize = 3;

/// One line of JSON.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line<'a> {
    Alarm(&'a Alarm),
    Window(&'a Window),
    /// The rows so far of an incomplete window.
    SoFar(&'a Window),
    Summary(&'a Summary),
}

/// Runs the command.
pub fn run(options: &Options, path: &Path) -> anyhow::Result<Outcome> {
    if options.require.limits().next().is_some() {
        bail!(
            "--require applies to the statuses of devices (--status); for rows, use feamoe evaluate MODEL DATA --require"
        );
    }
    let blob = read_blob(path)?;
    let model = load_model(path, &blob)?;
    let card = read_card_beside(options.schema.as_deref(), path, &blob)?;
    let mut schema = match (&options.schema, card) {
        (Some(path), _) => Schema::open(path)?,
        (None, Some(card)) => card.schema,
        (None, None) => bail!(
            "{}: the model does not state how to read rows and which column is the target; name a schema with --schema",
            path.display()
        ),
    };
    schema.target.check_model(model.schema())?;
    options.cells.apply(&mut schema.table);
    let watched = feamoe::judge::watch::Options {
        false_alarms: options.false_alarms,
        window: options.window,
        most_waiting: options.waiting,
    };
    if [&options.data, &options.reference].iter().all(|inputs| inputs.contains(&Input::Stdin)) {
        bail!(
            "standard input (-) is named for the data and for --reference, but can be read only once; name a file after --reference"
        );
    }
    let mut watch = Watch::new(&model, watched)?;
    let is_named = options.schema.is_some();
    let data = options.follow.data(&options.data)?;
    let mut stream = open_rows(&data, &schema, is_named, Use::Score)?;
    if options.reference.is_empty() {
        watch.learn_background();
    } else {
        let mut reference = open_rows(&options.reference, &schema, is_named, Use::Score)?;
        watch.learn_all(&mut reference)?;
        stream.resume_groups(reference.attributes());
        print::warnings(&reference.notes(), &[]);
    }
    let format = options.format.format;
    let warnings = watch.observe_all::<anyhow::Error>(&mut stream, options.id.as_deref(), |event| {
        match &event {
            Event::Alarm(alarm) => print_line(format, &Line::Alarm(alarm), || alarm_text(alarm))?,
            Event::Window(window) => print_line(format, &Line::Window(window), || window_text(window))?,
            Event::SoFar(window) => {
                print_line(format, &Line::SoFar(window), || format!("{}  so far", window_text(window)))?;
            }
        }
        match (&options.on_event, &event) {
            (Some(command), Event::Alarm(alarm)) => hook::run(command, alarm),
            _ => Ok(()),
        }
    })?;
    say_left_out(&data);
    print::warnings(&stream.notes(), &warnings);
    let summary = watch.summary();
    let other = &summary.other_labels;
    if other.rows > 0 {
        let values = values(&other.values, other.rows);
        print::note(&format!("note: {} labels are neither outcome{values}", other.rows));
    }
    for line in without_group(&summary.attributes).lines().filter(|line| !line.is_empty()) {
        print::note(&format!("note: {line}"));
    }
    print_line(format, &Line::Summary(&summary), || summary_text(&summary))?;
    Ok(if summary.alarms > 0 { Outcome::CheckNotMet } else { Outcome::Done })
}

/// Prints a line without buffering.
fn print_line(format: Format, line: &Line<'_>, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    match format {
        Format::Json => print::json_line(line),
        Format::Text => print::text(&(text().replace('\n', "\\n") + "\n")),
    }
}

/// Describes a monitored quantity.
fn quantity_text(quantity: &Quantity) -> String {
    let of = |rate: &str, Group { attribute, group }: &Group| format!("{rate} of {}", named(attribute, group));
    match quantity {
        Quantity::Input { feature } => format!("input {feature:?}"),
        Quantity::Score => "scores".into(),
        Quantity::Decision => "decisions".into(),
        Quantity::Calibration => "calibration".into(),
        Quantity::SelectionRate(group) => of("selection rate", group),
        Quantity::Tpr(group) => of("true positive rate", group),
        Quantity::Fpr(group) => of("false positive rate", group),
    }
}

fn alarm_text(alarm: &Alarm) -> String {
    let Alarm { quantity, row, values_since, cell, before, after } = alarm;
    format!(
        "ALARM row {row}: {}: share of {cell} {} -> {}, over the last {values_since} values",
        quantity_text(quantity),
        share(*before),
        share(*after)
    )
}

fn window_text(window: &Window) -> String {
    let mut text = format!(
        "rows {} to {}: score {}  selected {}",
        window.from_row,
        window.to_row,
        share(window.score_mean),
        share(window.selection_rate)
    );
    if window.labelled > 0 {
        let _ = write!(
            text,
            "  labelled {}  accuracy {}  calibration error {}",
            window.labelled,
            share(window.accuracy),
            share(window.calibration_error)
        );
    }
    let worst = |measure: Measure| {
        let gaps = window.fairness.iter().filter_map(|gaps| Some((gaps.magnitude(measure)?, gaps.measure(measure))));
        gaps.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    for (name, measure) in [("SPD", Measure::Spd), ("AOD", Measure::Aod)] {
        if let Some((_, value)) = worst(measure) {
            let _ = write!(text, "  largest {name} {}", signed(value));
        }
    }
    let beyond = |psi: f64, by_chance: f64| psi > by_chance;
    let mut drifted: Vec<(&str, f64)> = window
        .inputs
        .iter()
        .filter(|input| beyond(input.drift.psi, input.drift.psi_by_chance))
        .map(|input| (input.feature.as_str(), input.drift.psi))
        .chain(beyond(window.score.psi, window.score.psi_by_chance).then_some(("scores", window.score.psi)))
        .collect();
    drifted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named: Vec<String> =
        drifted.iter().take(MOST_NAMED).map(|(name, psi)| format!("{name} {}", share(*psi))).collect();
    if !named.is_empty() {
        let more = drifted.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(text, "  PSI beyond chance: {}{more}", named.join(", "));
    }
    text
}

fn summary_text(summary: &Summary) -> String {
    let from = match summary.reference.from {
        ReferenceFrom::Data => "rows of the reference",
        ReferenceFrom::Background => "background records of the model",
        ReferenceFrom::Stream => "first rows of the stream",
    };
    let mut text = format!(
        "rows {}  labelled {}  alarms {}  compared with {} {from}; {} quantities monitored, probability of a false alarm at most {}",
        summary.rows,
        summary.labelled,
        summary.alarms,
        summary.reference.rows,
        summary.quantities,
        summary.false_alarms
    );
    if let Some(ids) = &summary.ids {
        let _ = write!(
            text,
            "; outcomes joined {}, still awaited {}, given up {}, with unknown id {}; repeated rows {}, without id {}",
            ids.joined, ids.waiting, ids.expired, ids.unknown, ids.repeated, ids.without_id
        );
    }
    text
}
