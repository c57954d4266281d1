//! `feamoe explain`: what each raw feature added to a record's score.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use feamoe::blob_file::HostAttribution;
use feamoe::explanation::{
    Explained, Explainer, Explanation, MAX_REASONS, Procedure, REASONS, Summary, Sums, by_magnitude, note_name, reasons,
};
use feamoe::output::OutputFile;
use feamoe::plot;
use feamoe::scoring::Binding;
use feamoe::stream::Records;
use feamoe_engine::Method;

use super::print::{self, TextTable, bar, csv_field, share, signed};
use super::{Outcome, Source, TableOption, load_model, read_blob, whole};

/// Above this share of the attribution through the gate, the frozen game misleads.
const GATE_SHARE_WARNING: f32 = 0.1;
/// Characters of a line of text, which bars fill up.
const LINE: usize = 110;
/// Experts that are named.
const MOST_EXPERTS: usize = 3;

/// The options of `feamoe explain`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Explain one record, counted from 1; without it, all of them
    ///
    /// Range: 1 to the number of records.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Option<u64>,
    /// How the score is taken apart
    #[arg(long, value_enum, default_value_t = MethodName::Path)]
    method: MethodName,
    /// Tell of all records together: the mean magnitude of each feature's values
    ///
    /// The unit is that of the values, probability or log-odds. Takes the same memory for any number of records.
    #[arg(long, conflicts_with = "row")]
    global: bool,
    /// Draw the explanation to this SVG file, beside what is printed
    ///
    /// Values are in probability or log-odds, as --method has them. Without --row the printed text is then that of --global, which tells of the records what
    /// the plot shows; all but bars keep the records in memory.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// What is drawn [default: waterfall with --row, bar with --global, else beeswarm]
    #[arg(long, value_enum, value_name = "KIND", requires = "plot")]
    plot_kind: Option<PlotKind>,
    /// Reasons that are told for an unfavourable decision, 0 to 10 [default: 4]
    ///
    /// The features that pulled the score down most, in words. In text and JSON; CSV has the values only.
    #[arg(long, value_name = "K", allow_negative_numbers = true, conflicts_with = "global",
        value_parser = whole::<usize>(0..=MAX_REASONS as u64))]
    reasons: Option<usize>,
    /// How the explanation is printed
    ///
    /// Values have the digits that read back the same 32-bit float in JSON and CSV, four decimals in text.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where the explanation goes; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    table: TableOption,
}

/// The methods on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// The gate held at the record: FEAMOE's Theorem 1, log-odds; not the Shapley value of the score
    Frozen,
    /// From the mean record to this one, gate included, probability
    Path,
}

impl From<MethodName> for Procedure {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Frozen => Self::Frozen,
            MethodName::Path => Self::Path,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables with bars, for people
    Text,
    /// One JSON document; its columns are what shap's plots take
    Json,
    /// A line per record, a column per feature; for any number of records
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlotKind {
    /// One record's way from the base to its score, needs --row
    Waterfall,
    /// The ways of several records; of more than 300, as many evenly by score
    Decision,
    /// Every value of many records as a dot; of more than 1500 a feature, as many evenly by value
    Beeswarm,
    /// Mean magnitude of each feature's values; with --row, the record's values
    Bar,
}

impl Options {
    /// Returns what is drawn, if anything; refuses what cannot be combined.
    fn plot_kind(&self) -> anyhow::Result<Option<PlotKind>> {
        ensure!(
            self.reasons.is_none() || self.format != Format::Csv,
            "--reasons are words, and CSV has values only; use --format json, or leave out --reasons"
        );
        let Some(path) = &self.plot else { return Ok(None) };
        if let Some(extension) = path.extension().filter(|extension| !extension.eq_ignore_ascii_case("svg")) {
            bail!("--plot writes SVG, found {}; name the file .svg", extension.display());
        }
        let kind = self.plot_kind.unwrap_or(match self.row {
            Some(_) => PlotKind::Waterfall,
            None if self.global => PlotKind::Bar,
            None => PlotKind::Beeswarm,
        });
        match kind {
            PlotKind::Bar => {}
            _ if self.global => bail!("--global keeps means only, which --plot-kind bar draws; leave out one of them"),
            PlotKind::Waterfall if self.row.is_none() => {
                bail!("--plot-kind waterfall draws one record; name it with --row")
            }
            PlotKind::Beeswarm if self.row.is_some() => {
                bail!("--plot-kind beeswarm draws many records; leave out --row")
            }
            PlotKind::Decision if self.method == MethodName::Frozen => bail!(plot::PlotError::SeveralBases),
            _ => {}
        }
        Ok(Some(kind))
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let kind = options.plot_kind()?;
    for (option, path) in [("--output", &options.output), ("--plot", &options.plot)] {
        if let Some(path) = path {
            options.source.refuse_overwriting(option, path, &options.table)?;
        }
    }
    ensure!(
        options.plot.is_none() || options.plot != options.output,
        "--plot and --output name the same file; name two"
    );
    // Made before the work, so that a place that cannot be written is found out at once.
    let mut drawing = options.plot.as_deref().map(OutputFile::create).transpose()?;
    print::write(options.output.as_deref(), |out| {
        let drawn = explain(options, kind, out)?;
        if let Some((file, svg)) = drawing.as_mut().zip(drawn) {
            file.write_whole(svg.as_bytes())?;
        }
        Ok(())
    })?;
    drawing.map(OutputFile::commit).transpose()?;
    Ok(Outcome::Done)
}

/// Writes the explanation, and returns the plot.
fn explain(options: &Options, kind: Option<PlotKind>, out: &mut dyn Write) -> anyhow::Result<Option<String>> {
    let table = options.table.table()?;
    let blob = read_blob(&options.source.model)?;
    let model = load_model(&options.source.model, &blob)?;
    let mut records = Records::open(&options.source.data, &table)?;
    let binding = Binding::new(&model, |name| records.column(name, "the model"))?;
    let mut explainer = Explainer::new(&model, options.method.into())?;

    let summarised = options.global || (kind.is_some() && options.row.is_none() && options.format == Format::Text);
    // All records are kept where a document or a plot needs them at once.
    let kept = !options.global && (options.format == Format::Json || kind.is_some());
    let (mut sums, mut explanation) = (Sums::new(&explainer), Explanation::new(&explainer));
    let (mut record, mut attribution) = (model.record(), HostAttribution::new());
    let (mut found_any, mut text) = (false, String::new());
    while records.advance()? {
        let found = records.record();
        let row = found.position.number;
        if options.row.is_some_and(|wanted| wanted != row) {
            continue;
        }
        binding.fill(&found, &mut record)?;
        explainer.explain(&record, &mut attribution)?;
        sums.push(&attribution);
        if options.format == Format::Csv && !options.global {
            if !found_any {
                write_header(&explainer, out)?;
            }
            write_line(&explainer, row, &attribution, out)?;
        }
        if kept || !summarised && options.format == Format::Text {
            let cells = explainer.cells(&binding, &found, &record);
            let reasons = reasons(&explainer, &cells, &attribution, options.reasons.unwrap_or(REASONS));
            let explained = Explained { row, cells, attribution: &attribution, reasons };
            if !summarised && options.format == Format::Text {
                text += &render(&explainer, &explained);
            }
            if kept {
                explanation.push(explained);
            }
        }
        found_any = true;
        if options.row.is_some() {
            break;
        }
    }
    if !found_any {
        let files = records.files();
        match (options.row, records.record().position.number) {
            (Some(row), count @ 1..) => bail!("{files}: no record {row}, expected --row 1 to {count}"),
            _ => bail!("{files}: there are no records, only a header"),
        }
    }
    let summary = sums.summary(&explainer);
    match options.format {
        Format::Text if summarised => out.write_all(render_summary(&summary).as_bytes())?,
        Format::Text => out.write_all(text.as_bytes())?,
        Format::Json if options.global => write_json(&summary, out)?,
        Format::Json => write_json(&explanation, out)?,
        Format::Csv if options.global => write_summary(&summary, out)?,
        Format::Csv => {}
    }
    Ok(match kind {
        None => None,
        Some(PlotKind::Waterfall) => Some(plot::waterfall(&explanation, 0)?),
        Some(PlotKind::Decision) => Some(plot::decision(&explanation)?),
        Some(PlotKind::Beeswarm) => Some(plot::beeswarm(&explanation)?),
        Some(PlotKind::Bar) if options.row.is_some() => Some(plot::bar_of_record(&explanation, 0)?),
        Some(PlotKind::Bar) => Some(plot::bar(&summary)?),
    })
}

fn write_json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

fn write_header(explainer: &Explainer<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    write!(out, "row,probability,decision,base_value,output,residual,gate_share")?;
    for player in explainer.players() {
        write!(out, ",{}", csv_field(&player.name))?;
    }
    Ok(writeln!(out)?)
}

/// `{}` of an f32 prints the fewest digits that read back the same f32.
fn write_line(explainer: &Explainer<'_>, row: u64, a: &HostAttribution, out: &mut dyn Write) -> anyhow::Result<()> {
    let (score, gate_share) = (&a.score, a.gate_share.unwrap_or(0.0));
    write!(out, "{row},{},{},{},", score.probability, u8::from(score.decision), a.base_value)?;
    write!(out, "{},{},{gate_share}", a.output, a.residual)?;
    for (_, value) in explainer.players().iter().zip(&a.values) {
        write!(out, ",{value}")?;
    }
    Ok(writeln!(out)?)
}

fn write_summary(s: &Summary, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "feature,mean_absolute_value,mean_value")?;
    for ((name, magnitude), mean) in s.feature_names.iter().zip(&s.mean_absolute_values).zip(&s.mean_values) {
        writeln!(out, "{},{magnitude},{mean}", csv_field(name))?;
    }
    Ok(())
}

/// Returns one record as text.
fn render(explainer: &Explainer<'_>, explained: &Explained<'_>) -> String {
    let a = explained.attribution;
    let (frozen, sampled) = (a.method == Method::Frozen, a.method == Method::Sampled);
    let gate_share = a.gate_share.unwrap_or(0.0);
    let mut text = format!(
        "record {}: probability of {} {}, decision {} (threshold {})\n\
         {} in {}: base {} + values = {} (residual {:+.1e}), {}\n",
        explained.row,
        explainer.outcome(),
        share(a.score.probability),
        if a.score.decision { "favourable" } else { "unfavourable" },
        explainer.model().threshold(),
        a.method.name(),
        a.space.name(),
        signed(a.base_value),
        signed(a.output),
        a.residual,
        match (frozen, 100.0 * gate_share) {
            (true, percent) => format!("the gate held still (by path, {percent:.0} % runs through it)"),
            (false, percent) => format!("{percent:.0} % through the gate"),
        },
    );
    let _ = writeln!(text, "{}", experts(explainer, a));

    let mut headings = vec!["feature", "cell", "value"];
    headings.extend(sampled.then_some("standard error"));
    headings.extend((a.method == Method::Path).then_some("through the gate"));
    headings.push("note");
    let mut table = TextTable::new(&headings);
    let values = &a.values[..explainer.players().len()];
    let order = by_magnitude(values);
    for &index in &order {
        let cell = &explained.cells[index];
        let mut cells = vec![explainer.players()[index].name.clone(), cell.shown(), signed(values[index])];
        cells.extend(sampled.then(|| share(a.standard_errors[index])));
        cells.extend((a.method == Method::Path).then(|| signed(a.gate_values[index])));
        cells.push(note_name(cell.note).to_owned());
        table.row(cells);
    }
    text += &with_bars(&table, order.iter().map(|index| values[*index]));
    if frozen && gate_share > GATE_SHARE_WARNING {
        text +=
            "warning: the gate moves this score; the frozen game holds it still and may mislead: use --method path\n";
    }
    if !explained.reasons.is_empty() {
        text += "what pulled the score down most:\n";
    }
    for (number, reason) in explained.reasons.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", number + 1, reason.text);
    }
    text + "\n"
}

/// `decided by expert 3 (gate 62 %, alone 0.2100), 1 (20 %, 0.7200); 9 others (18 %)`.
fn experts(explainer: &Explainer<'_>, a: &HostAttribution) -> String {
    let gate = &a.score.gate[..explainer.model().experts()];
    let order = by_magnitude(gate);
    let (named, rest) = order.split_at(order.len().min(MOST_EXPERTS));
    let mut text = String::from("decided by expert ");
    for (place, &expert) in named.iter().enumerate() {
        let (weight, alone) = (100.0 * gate[expert], share(a.score.expert_probabilities[expert]));
        let _ = match place {
            0 => write!(text, "{} (gate {weight:.0} %, alone {alone})", expert + 1),
            _ => write!(text, ", {} ({weight:.0} %, {alone})", expert + 1),
        };
    }
    if !rest.is_empty() {
        let weight: f32 = rest.iter().map(|expert| gate[*expert]).sum();
        let _ = write!(text, "; {} others ({:.0} %)", rest.len(), 100.0 * weight);
    }
    text
}

fn render_summary(s: &Summary) -> String {
    let records = if s.records == 1 { "1 record".to_owned() } else { format!("{} records", s.records) };
    let mut text = format!(
        "{records}, {} in {} of {}; on average {:.0} % through the gate\n",
        s.method.name(),
        s.space.name(),
        s.output_names,
        100.0 * s.gate_share
    );
    let mut table = TextTable::new(&["feature", "mean |value|", "mean value"]);
    for ((name, magnitude), mean) in s.feature_names.iter().zip(&s.mean_absolute_values).zip(&s.mean_values) {
        table.row([name.clone(), share(*magnitude), signed(*mean)]);
    }
    text += &with_bars(&table, s.mean_absolute_values.iter().copied());
    text
}

/// Returns a table with a bar at the end of each row but the heading, the longest for the greatest magnitude; they fill the line, and leave out its
/// left half where nothing is negative.
fn with_bars(table: &TextTable, values: impl Iterator<Item = f32> + Clone) -> String {
    let rendered = table.render();
    let longest = rendered.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = LINE.saturating_sub(longest + 2).clamp(21, 61);
    let greatest = values.clone().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    let negative = values.clone().any(|value| value < 0.0);
    let mut lines = rendered.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    for (line, value) in lines.zip(values) {
        let share = if greatest > 0.0 { f64::from(value) / greatest } else { 0.0 };
        let padding = " ".repeat(longest - line.chars().count() + 2);
        let bar: String =
            if negative { bar(share, width) } else { bar(share, 2 * width).chars().skip(width - 1).collect() };
        let _ = writeln!(text, "{}", format!("{line}{padding}{bar}").trim_end());
    }
    text
}
