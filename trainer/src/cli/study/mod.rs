//! `feamoe study`: reproduces the published figures.

mod categories;
mod credit;
mod gap;
mod generators;
mod network;
mod paper;
mod plan;
mod regimes;
mod scaling;
mod shapes;
mod streams;
mod years;

use std::fs;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use feamoe::output::{WriteError, write_file};

use gap::GapRow;
use generators::Generator;
use regimes::{StudyRow, Verdicts, settings, study};
use shapes::Shapes;
use streams::StreamRow;
use years::YearRow;

use super::print::{self, TextTable, share, signed};
use super::{Format, FormatOption, Outcome, whole};

/// The options of `feamoe study`.
#[derive(Args, Debug)]
pub struct Options {
    /// Folder with adult.data, adult.test, compas-scores-two-years.csv, diabetes_1999_2008.csv.gz,
    /// hmda_2014_2017.csv.gz; the schemas in trainer/schemas say where to get them
    #[arg(long, value_name = "DIR", env = "FEAMOE_DATA")]
    data: PathBuf,
    /// Only these parts: adult, compas, diabetes, hmda, regimes (which penalties; also of
    /// networks), growth (how many experts), world, mortgages, readmissions (drift), times,
    /// explanations, methods (other ways to be fair), individual (individual fairness), years (hmda
    /// with experts of each year, merged), streams (generated ones), scaling (speed and memory;
    /// only where named), shapes (generated too: what two samples of the same data teach)
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Runs of each setting, seeds or splits from its first one on; the published number by default
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=1000))]
    runs: Option<u64>,
    /// Folder that plots of the paper's experiments and of scaling are written to; made where it is
    /// missing
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    #[command(flatten)]
    format: FormatOption,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let settings = settings();
    let mut known: Vec<&str> = settings.iter().map(|setting| setting.data.name()).collect();
    known.dedup();
    known.extend(paper::ALL.map(|(name, _)| name));
    known.extend([YEARS, STREAMS, SHAPES, SCALING]);
    if let Some(name) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("--only: found `{name}`, expected one of {}", known.join(", "));
    }
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut rows = Vec::new();
    for setting in settings.iter().filter(|setting| wanted(setting.data.name())) {
        print::note(&format!("{}: {} {}", setting.data.name(), setting.name, setting.fair));
        rows.push(study(&options.data, setting, options.runs)?);
    }
    let mut sections = Vec::new();
    let context = paper::Context { folder: &options.data, runs: options.runs, plots: options.plots.as_deref() };
    if let Some(folder) = context.plots {
        fs::create_dir_all(folder).map_err(|cause| WriteError::new(folder, cause))?;
    }
    for (name, experiment) in paper::ALL.into_iter().filter(|(name, _)| wanted(name)) {
        print::note(name);
        let found = experiment(&context)?;
        for (number, section) in (1..).zip(&found) {
            if let Some((folder, plot)) = context.plots.zip(paper::draw(section)) {
                write_file(&folder.join(format!("{name}-{number}.svg")), plot.as_bytes())?;
            }
        }
        sections.extend(found);
    }
    if options.only.iter().any(|only| only == SCALING) {
        print::note(SCALING);
        let found = scaling::study(options.runs)?;
        if let Some(folder) = context.plots {
            write_file(&folder.join(format!("{SCALING}.svg")), scaling::draw(&found).as_bytes())?;
        }
        sections.extend(found);
    }
    let mut years = Vec::new();
    for fair in years::TARGETS.into_iter().filter(|_| wanted(YEARS)) {
        print::note(&format!("{YEARS}: {fair}"));
        years.extend(years::study(&options.data, fair)?);
    }
    let mut streams = Vec::new();
    for generator in Generator::ALL.into_iter().filter(|_| wanted(STREAMS)) {
        print::note(&format!("{STREAMS}: {}", generator.name()));
        streams.push(streams::study(generator, options.runs)?);
    }
    let mut gaps = Vec::new();
    for fair in gap::TARGETS.into_iter().filter(|_| wanted(STREAMS)) {
        print::note(&format!("{STREAMS}: a gap that jumps {fair}"));
        gaps.push(gap::study(fair, options.runs)?);
    }
    let mut shapes = None;
    if wanted(SHAPES) {
        print::note(SHAPES);
        shapes = Some(shapes::study(options.runs)?);
    }
    match options.format.format {
        Format::Json => print::json(&Report { rows, sections, years, streams, gaps, shapes })?,
        Format::Text => {
            let tables = [
                (!rows.is_empty()).then(|| render(&rows)),
                (!sections.is_empty()).then(|| sections.iter().map(paper::render).collect::<Vec<_>>().join("\n")),
                (!years.is_empty()).then(|| render_years(&years)),
                (!streams.is_empty()).then(|| render_streams(&streams)),
                (!gaps.is_empty()).then(|| render_gaps(&gaps)),
                shapes.as_ref().map(render_shapes),
            ];
            print::text(&tables.into_iter().flatten().collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(Outcome::Done)
}

/// The name of the years of mortgages on the command line.
const YEARS: &str = "years";
/// The name of the generated streams on the command line.
const STREAMS: &str = "streams";
/// The name of the measurement of speed and memory on generated rows. It only runs if it is named,
/// because it needs an otherwise idle machine.
const SCALING: &str = "scaling";
/// The name of the comparison of two generated samples.
const SHAPES: &str = "shapes";

/// The JSON document of `feamoe study`.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub struct Report {
    /// The results by data set and setting.
    rows: Vec<StudyRow>,
    /// The experiments of the paper.
    sections: Vec<paper::Section>,
    /// The results on mortgages by year.
    years: Vec<YearRow>,
    /// The results on the generated streams.
    streams: Vec<StreamRow>,
    /// The results on the generated stream whose gap jumps, by target.
    gaps: Vec<GapRow>,
    shapes: Option<Shapes>,
}

fn render_years(rows: &[YearRow]) -> String {
    let mut table = TextTable::new(&[
        "mortgages of 2017, learned from 2014 to 2016, targets",
        "experts",
        "accuracy before",
        "log-loss",
        "SPD",
        "AOD",
        "accuracy in one pass",
        "log-loss",
        "SPD",
        "AOD",
    ]);
    for YearRow { way, fair, experts, before, passing } in rows {
        let optional = |value: Option<f32>| value.map_or_else(|| "-".to_owned(), signed);
        let figures = [before, passing].into_iter().flat_map(|figures| {
            let gaps = [figures.spd, figures.aod].map(optional);
            [share(figures.accuracy), share(figures.log_loss)].into_iter().chain(gaps)
        });
        let name = format!("{way}{}{fair}", if fair.is_empty() { "" } else { ", " });
        table.row([name, experts.to_string()].into_iter().chain(figures));
    }
    table.render()
}

fn render_gaps(rows: &[GapRow]) -> String {
    let mut table = TextTable::new(&[
        "generated stream, targets",
        "runs",
        "accuracy",
        "SPD, rows 1,500-3,500 after the jump",
        "SPD, last 4,000 rows",
    ]);
    for row in rows {
        table.row([
            format!("a gap that jumps{}{}", if row.fair.is_empty() { "" } else { ", " }, row.fair),
            row.runs.to_string(),
            share(row.accuracy),
            share(row.soon),
            share(row.last),
        ]);
    }
    table.render()
}

fn render_shapes(shapes: &Shapes) -> String {
    let mut columns =
        TextTable::new(&["column, two halves", "runs", "correlation of the steps", "variation over range"]);
    for column in &shapes.columns {
        let Shapes { runs, .. } = shapes;
        columns.row([
            column.column.to_owned(),
            runs.to_string(),
            format!("{:.2}", column.correlation),
            format!("{:.2}", column.variation),
        ]);
    }
    let mut distances = TextTable::new(&["bins at most", "median distance of declined rows to approval"]);
    for distance in &shapes.distances {
        distances.row([distance.bins.to_string(), share(distance.median)]);
    }
    let noise = share(shapes.noise);
    format!("{}\ncredit of a column of noise over the largest: {noise}\n\n{}", columns.render(), distances.render())
}

fn render_streams(rows: &[StreamRow]) -> String {
    let mut table = TextTable::new(&[
        "generated stream, in its order",
        "runs",
        "accuracy",
        "log-loss",
        "balanced, rows 1-2,000",
        "rows 500-1,000 after a change",
        "exported model there",
        "rows 3,000-5,000 after",
        "refits",
        "experts",
    ]);
    for row in rows {
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), share);
        table.row([
            row.stream.to_owned(),
            row.runs.to_string(),
            share(row.accuracy),
            share(row.log_loss),
            share(row.first),
            optional(row.soon),
            optional(row.exported_soon),
            optional(row.later),
            format!("{:.1}", row.refits),
            format!("{:.1}", row.experts),
        ]);
    }
    table.render()
}

fn render(rows: &[StudyRow]) -> String {
    let mut table = TextTable::new(&[
        "data, setting, targets",
        "runs",
        "accuracy",
        "balanced",
        "log-loss",
        "SPD",
        "AOD",
        "EOdds",
        "burden",
        "largest SPD",
        "calibration",
        "experts",
        "rows/s",
    ]);
    for row in rows {
        let f = &row.figures;
        table.row([
            format!("{}, {}{}{}", row.data, row.setting, if row.fair.is_empty() { "" } else { ", " }, row.fair),
            row.runs.to_string(),
            share(f.accuracy),
            share(f.balanced_accuracy),
            share(f.log_loss),
            share(f.spd),
            share(f.aod),
            share(f.eodds),
            share(f.burden),
            share(f.largest_spd),
            share(f.calibration_error),
            format!("{:.0}", f.experts),
            format!("{:.0}", f.rows_per_second),
        ]);
    }
    let mut verdicts =
        TextTable::new(&["data, setting, targets", "by training", "on held-out rows", "met, but refuted there"]);
    let words = |v: &Verdicts| {
        let judged = format!("{} met, {} not shown, {} not met", v.met, v.not_shown, v.not_met);
        if v.not_judged > 0 { format!("{judged}, {} not judged", v.not_judged) } else { judged }
    };
    for row in rows.iter().filter(|row| !row.fair.is_empty()) {
        let held_out = if row.held_out.is_empty() { "-".into() } else { words(&row.held_out) };
        let refuted = if row.held_out.is_empty() { "-".into() } else { row.refuted.to_string() };
        verdicts.row([format!("{}, {}, {}", row.data, row.setting, row.fair), words(&row.trained), held_out, refuted]);
    }
    format!("{}\nverdicts on the targets, over all runs and groups:\n{}", table.render(), verdicts.render())
}
