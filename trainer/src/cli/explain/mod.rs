//! `feamoe explain`: what each raw feature added to a record's score, and how it moves scores along
//! its values.

mod forecast;
mod render;
mod shapes;
mod shapley;

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::progress::RowsProgress;
use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use feamoe::explanation::{
    BackgroundMemory, Batch, Explained, Explainer, Explanation, Group, MAX_REASONS, Procedure, REASONS, Slot, Summary,
    Sums, reasons,
};
use feamoe::judge::binding::Binding;
use feamoe::judge::inputs::Inputs;
use feamoe::model::{AlignedBytes, AnyModel, HostModel, Loaded, dequantize};
use feamoe::output::OutputFile;
use feamoe::plot;
use feamoe::rows::{Input, Source as _, draw};
use feamoe::schema::Table;

use super::{
    Outcome, TableOption, ThreadsOption, files, load_any, print, read_blob, read_card_beside, refuse_but_svg,
    refuse_outputs, whole,
};
use render::{render, render_summary, write_header, write_json, write_line, write_summary};

/// The options of `feamoe explain`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// CSV (plain or gzip), Parquet or Arrow files in the order given; - for standard input; with
    /// --shapes not needed
    #[arg(value_name = "DATA", required_unless_present = "shapes")]
    data: Vec<Input>,
    /// Explain one record, counted from 1; without it, all of them
    ///
    /// Range: 1 to the number of records.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Option<u64>,
    /// How the score is taken apart [default: exact; path where there are no background records]
    #[arg(long, value_enum)]
    method: Option<MethodName>,
    /// Let features act together, as one that has one value, such as money=income+debt
    ///
    /// May be given again for other features; the rest stay single. For exact and sampled values a
    /// group is one player; for path and frozen ones its value is the sum of its features'.
    #[arg(long, value_name = "NAME=FEATURE+...")]
    groups: Vec<Group>,
    /// Report on all records together: the mean magnitude of each feature's values
    ///
    /// The unit is that of the values, probability or log-odds. Takes the same memory for any
    /// number of records.
    #[arg(long, conflicts_with = "row")]
    global: bool,
    /// Follow each feature along its values instead: its effect on the score, by expert and for the
    /// mixture
    ///
    /// At each bin of a number, the ends of its range, each level, unseen and missing. The
    /// mixture's effect is the change of the background records' mean score when all of them have
    /// the value, in probability (partial dependence), with the 5 to 95 % range of their own
    /// changes. An expert's effect is what the feature adds to its natural log-odds, less the mean
    /// of the background: exact. Beside it stands the share of the background's rows, or with DATA
    /// of its rows, that have the value. Text is a line for each feature, CSV one for each point
    /// and curve. If there are more than 128 bins or levels, 128 are given.
    #[arg(long, conflicts_with_all = ["row", "method", "groups", "global", "reasons", "space", "budget",
        "tolerance", "max_evaluations", "max_seconds"])]
    shapes: bool,
    /// Features whose shapes are given, in this order [default: all]
    ///
    /// All features of a plot share its scales; those that move scores little show more when they
    /// are drawn alone.
    #[arg(long, value_name = "FEATURE,...", value_delimiter = ',', requires = "shapes")]
    features: Vec<String>,
    /// Explain N records of the files, drawn by --seed, each as likely; all where there are no more
    ///
    /// The files are read twice: once to count their records.
    #[arg(long, value_name = "N", conflicts_with_all = ["row", "shapes"], allow_negative_numbers = true,
        value_parser = whole::<u64>(1..=u64::MAX))]
    sample: Option<u64>,
    /// Only the N features with the largest mean absolute values; the rest are summed as other
    ///
    /// In text and JSON, and in the plot, unless --max-display says how many rows that has. The
    /// text of a record has its own largest. Of --global, other is the sum of the means. A standard
    /// error of other is the sum of those of its features: the most that it can be.
    #[arg(long, value_name = "N", conflicts_with = "shapes", allow_negative_numbers = true,
        value_parser = whole::<usize>(1..=500))]
    top: Option<usize>,
    /// Draw the explanation to this SVG file, beside what is printed
    ///
    /// Values are in probability or log-odds, as --method has them. Without --row or --shapes the
    /// printed text is then that of --global, of the records that the plot shows; all but bars keep
    /// the records in memory.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// What is drawn [default: waterfall with --row, bar with --global, else beeswarm; with
    /// --shapes those]
    #[arg(long, value_enum, value_name = "KIND", requires = "plot")]
    plot_kind: Option<PlotKind>,
    /// Rows of features in the plot, 1 to 500 [default: 20, with --top N+1]; features past them
    /// share the last. What is printed is left whole, see --top
    #[arg(long, value_name = "N", requires = "plot", allow_negative_numbers = true, value_parser = whole::<usize>(1..=500))]
    max_display: Option<usize>,
    /// Reasons that are given for an unfavourable decision, 0 to 10 [default: 4]
    ///
    /// The features that pulled the score down most, in words. In text and JSON; CSV has the values
    /// only.
    #[arg(long, value_name = "K", allow_negative_numbers = true, conflicts_with = "global",
        value_parser = whole::<usize>(0..=MAX_REASONS as u64))]
    reasons: Option<usize>,
    /// How the explanation is printed
    ///
    /// Values have the digits that read back the same 32-bit float in JSON and CSV, four decimals
    /// in text.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where the explanation goes; without it or for -, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    table: TableOption,
    #[command(flatten)]
    threads: ThreadsOption,
    #[command(flatten)]
    shapley: shapley::Options,
}

/// The methods on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// Shapley values of the score against background records, gate included: every coalition of
    /// features
    Exact,
    /// The same from random orders of the features, with standard errors: for very many features
    /// that differ
    Sampled,
    /// From the mean record to this one, gate included, probability
    Path,
    /// The gate held at the record: FEAMOE's Theorem 1, log-odds; not the Shapley value of the
    /// score
    Frozen,
}

impl MethodName {
    const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Sampled => "sampled",
            Self::Path => "path",
            Self::Frozen => "frozen",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables with bars, for people
    Text,
    /// One JSON document; its columns are what shap's plots take
    Json,
    /// A line per record, a column per feature; for any number of records. Of --shapes a line per
    /// point and curve
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlotKind {
    /// One record's way from the base to its score, needs --row
    Waterfall,
    /// The ways of several records; if there are more than 300, that number, evenly by score
    Decision,
    /// Every value of many records as a dot; if there are more than 1500 a feature, that number,
    /// evenly by value
    Beeswarm,
    /// What each feature adds, against what the record holds: a panel for each feature
    Scatter,
    /// All values as shades, a column for each record, from the lowest score to the highest; if
    /// there are more than 400 records, that number, evenly by score
    Heatmap,
    /// Mean magnitude of each feature's values; with --row, the record's values
    Bar,
    /// The effect of each feature along its values: the same as --shapes, which is then printed
    Shapes,
}

impl PlotKind {
    /// Returns its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |kind| kind.get_name().to_owned())
    }
}

impl Options {
    /// Returns how many rows of features a plot has at most.
    fn most_rows(&self) -> usize {
        self.max_display.or(self.top.map(|top| top + 1)).unwrap_or(plot::MOST_PLAYERS)
    }

    /// Returns the numbers of the records that are explained, in ascending order; `None`: all.
    fn wanted(&self, table: &Table) -> anyhow::Result<Option<VecDeque<u64>>> {
        match (self.row, self.sample) {
            (Some(row), _) => Ok(Some([row].into())),
            (None, None) => Ok(None),
            (None, Some(size)) => {
                if let Some(input) = self.data.iter().find(|input| !input.can_be_read_again()) {
                    bail!("--sample reads the data twice, but {input} can be read once only; name a file");
                }
                let count = forecast::count(&self.data, table).unwrap_or_default();
                let drawn: VecDeque<u64> = draw(count, size, self.shapley.seed()).into();
                if drawn.is_empty() {
                    return Ok(None);
                }
                print::note(&format!("note: {} of {count} records are explained, drawn by the seed", drawn.len()));
                Ok(Some(drawn))
            }
        }
    }

    /// Returns whether features are followed along their values.
    fn is_of_shapes(&self) -> bool {
        self.shapes || self.plot_kind == Some(PlotKind::Shapes)
    }

    /// Refuses what is about records beside shapes.
    fn refuse_records(&self) -> anyhow::Result<()> {
        if let Some(kind) = self.plot_kind.filter(|kind| *kind != PlotKind::Shapes) {
            bail!("--shapes are drawn as such, found --plot-kind {}; leave out one of them", kind.name());
        }
        let given = [
            ("--row", self.row.is_some()),
            ("--global", self.global),
            ("--method", self.method.is_some()),
            ("--groups", !self.groups.is_empty()),
            ("--sample", self.sample.is_some()),
            ("--top", self.top.is_some()),
            ("--reasons", self.reasons.is_some()),
        ];
        let given = given.into_iter().find_map(|(option, is_given)| is_given.then_some(option));
        if let Some(option) = given.or_else(|| self.shapley.first_of_values()) {
            bail!("--plot-kind shapes draws features, not records; leave out {option}");
        }
        Ok(())
    }

    /// Returns what is drawn, if anything; refuses what cannot be combined.
    fn plot_kind(&self) -> anyhow::Result<Option<PlotKind>> {
        ensure!(
            self.reasons.is_none() || self.format != Format::Csv,
            "--reasons are words, and CSV has values only; use --format json, or leave out --reasons"
        );
        ensure!(
            self.top.is_none() || self.global || self.format != Format::Csv,
            "--top looks at all records before the first is printed, and a line of CSV is printed as it comes; use --format json, or --global"
        );
        let Some(path) = &self.plot else { return Ok(None) };
        refuse_but_svg(path)?;
        if self.is_of_shapes() {
            return self.refuse_records().map(|()| None);
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
            PlotKind::Beeswarm | PlotKind::Scatter | PlotKind::Heatmap if self.row.is_some() => {
                bail!("--plot-kind {} draws many records; leave out --row", kind.name())
            }
            PlotKind::Decision if self.method == Some(MethodName::Frozen) => bail!(plot::PlotError::SeveralBases),
            _ => {}
        }
        Ok(Some(kind))
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    options.threads.start()?;
    let kind = options.plot_kind()?;
    let Options { model, data, output, plot, table, shapley, .. } = options;
    shapley.check(data)?;
    let read = files(data).chain(files(shapley.inputs())).chain([model.as_path()]);
    let read: Vec<&Path> = read.chain(table.schema.as_deref()).collect();
    let outputs =
        [("--plot", plot.as_deref()), ("--output", output.as_deref()), ("--save-background", shapley.output())];
    refuse_outputs(&outputs, &read)?;
    // Made before the work, so that a place that cannot be written is found out at once.
    let mut drawing = options.plot.as_deref().map(print::create).transpose()?;
    print::write(options.output.as_deref(), |out| {
        let drawn = if options.is_of_shapes() { shapes::explain(options, out)? } else { explain(options, kind, out)? };
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
    let blob = read_blob(&options.model)?;
    let model = load_any(&options.model, &blob)?;
    let card = read_card_beside(options.table.schema.as_deref(), &options.model, &blob)?;
    let table = options.table.table(card.as_ref())?;
    let wanted = options.wanted(&table)?;
    let mut records = options.table.open(&options.data, &table)?;
    let binding = Binding::of(model.any().schema(), |name| records.column(name, "the model"))?;
    let binding = binding.with_bad_cells(table.bad_cells);
    records.want(&binding.columns());
    let mut memory = BackgroundMemory::default();
    let (method, background) = match &model {
        Loaded::Float(model) => match options.shapley.method(options.method, model)? {
            method @ (MethodName::Path | MethodName::Frozen) => (method, None),
            method => (method, Some(options.shapley.background(model, &table)?.against(model, &mut memory)?)),
        },
        Loaded::Integer(_) if options.method == Some(MethodName::Frozen) => (MethodName::Frozen, None),
        Loaded::Integer(_) => bail!(
            "{}: a model of integer weights is explained by --method frozen; for others name the model it was exported from",
            options.model.display()
        ),
    };
    let procedure = options.shapley.procedure(method, background.as_ref());
    // The gate's share of an explanation by integers is that of the float model that they stand
    // for.
    let floats_blob = floats_blob(&model, &blob)?;
    let floats = floats_blob.as_ref().map(|blob| HostModel::load(blob.as_slice()).map(Box::new)).transpose()?;
    let model = model.any_with(floats.as_deref());
    let inputs = Inputs::new(model.schema(), card.as_ref());
    let schemas = options.table.schemas(card)?;
    let explainer = schemas.iter().fold(Explainer::new(model, procedure, &options.groups)?, Explainer::informed_by);
    let mut report = Report::new(options, kind, &explainer, inputs);
    report.read(model, &table, records, wanted, &binding, out)?;
    report.finish(out)
}

/// Returns the float model that integer weights stand for; `None` of float weights.
fn floats_blob(model: &Loaded<'_>, blob: &AlignedBytes) -> anyhow::Result<Option<AlignedBytes>> {
    Ok(match model {
        Loaded::Float(_) => None,
        Loaded::Integer(_) => Some(dequantize(blob)?),
    })
}

/// The explanation of the records so far.
struct Report<'o, 'm> {
    options: &'o Options,
    kind: Option<PlotKind>,
    explainer: &'o Explainer<'m>,
    /// Means are printed, not records.
    summarised: bool,
    /// All records are kept where a document or a plot needs them at once.
    kept: bool,
    sums: Sums,
    explanation: Explanation,
    inputs: Inputs,
}

impl<'o, 'm> Report<'o, 'm> {
    fn new(options: &'o Options, kind: Option<PlotKind>, explainer: &'o Explainer<'m>, inputs: Inputs) -> Self {
        let drawn = kind.is_some() && options.row.is_none() && options.format == Format::Text;
        Self {
            options,
            kind,
            explainer,
            summarised: options.global || drawn,
            kept: !options.global && (options.format == Format::Json || kind.is_some()),
            sums: Sums::new(explainer),
            explanation: Explanation::new(explainer),
            inputs,
        }
    }

    /// Returns whether text is made of each record.
    fn in_words(&self) -> bool {
        !self.summarised && self.options.format == Format::Text
    }

    /// Explains the records that were asked for.
    fn read(
        &mut self,
        model: AnyModel<'m>,
        table: &Table,
        mut records: Box<dyn feamoe::rows::Source>,
        mut wanted: Option<VecDeque<u64>>,
        binding: &Binding,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let (explainer, known) = (self.explainer, wanted.as_ref().map(|wanted| wanted.len() as u64));
        let mut record = model.record();
        let mut batch = Batch::new(explainer);
        let mut progress = None;
        let mut more = true;
        while more {
            more = records.advance()?;
            if more {
                let found = records.record();
                let row = found.position.number;
                if wanted.as_ref().is_some_and(|wanted| wanted.front() != Some(&row)) {
                    continue;
                }
                binding.fill(&found, &mut record)?;
                self.inputs.observe(record.notes());
                let shown = self.kept || self.in_words();
                let cells = if shown { explainer.cells(binding, &found, &record) } else { Vec::new() };
                batch.push(row, &record, cells);
                more = wanted.as_mut().is_none_or(|wanted| {
                    wanted.pop_front();
                    !wanted.is_empty()
                });
            }
            if batch.is_full() || !more && !batch.slots().is_empty() {
                let progress = match &progress {
                    Some(progress) => progress,
                    None => progress.insert(self.start(&mut batch, more, known, table)?),
                };
                for slot in batch.explain(|| progress.advance())? {
                    self.push(slot, out)?;
                }
                // Whoever reads along need not wait for the last record.
                out.flush()?;
            }
        }
        if let Some(progress) = progress {
            progress.finish();
            print::warnings(&records.notes(), &self.inputs.warnings(binding.bad_cells()));
        } else {
            let files = records.files();
            match (self.options.row, records.record().position.number) {
                (Some(row), count @ 1..) => bail!("{files}: no record {row}, expected a row from 1 to {count}"),
                _ => bail!("{files}: there are no records, only a header"),
            }
        }
        Ok(())
    }

    /// Starts the line that shows progress, and says how long it will be.
    /// `known`: the number of the records, where it is.
    fn start(
        &self,
        batch: &mut Batch<'_, '_>,
        more: bool,
        known: Option<u64>,
        table: &Table,
    ) -> anyhow::Result<RowsProgress> {
        if self.explainer.procedure().against().is_none() || self.options.row.is_some() {
            return Ok(RowsProgress::new());
        }
        let here = batch.slots().len() as u64;
        let records = match known {
            None if more => forecast::count(&self.options.data, table),
            None => Some(here),
            known => known,
        };
        if let Some(records) = records
            && let Some(time) = forecast::forecast(self.explainer, batch, records)?
        {
            print::note(&format!("about {:.0} s for {records} records", time.as_secs_f64()));
        }
        Ok(records.map_or_else(RowsProgress::new, RowsProgress::of))
    }

    /// Adds a record.
    fn push(&mut self, slot: &Slot<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
        let Slot { row, cells, attribution, .. } = slot;
        self.sums.push(attribution);
        if self.options.format == Format::Csv && !self.options.global {
            if self.sums.records().0 == 1 {
                write_header(self.explainer, out)?;
            }
            write_line(self.explainer, *row, attribution, out)?;
        }
        if self.kept || self.in_words() {
            let reasons = reasons(self.explainer, cells, attribution, self.options.reasons.unwrap_or(REASONS));
            let explained = Explained { row: *row, cells, attribution, reasons };
            if self.in_words() {
                out.write_all(print::fitted(&render(self.explainer, &explained, self.options.top)).as_bytes())?;
            }
            if self.kept {
                self.explanation.push(explained);
            }
        }
        Ok(())
    }

    /// Writes the report on all records together, and returns the plot.
    fn finish(self, out: &mut dyn Write) -> anyhow::Result<Option<String>> {
        let Self { options, kind, explainer, summarised, sums, explanation, .. } = self;
        if let (records, sampled @ 1..) = sums.records()
            && matches!(explainer.procedure(), Procedure::Exact { .. })
        {
            print::note(&format!(
                "{sampled} of {records} records take more than {} coalitions (--budget) and were sampled instead of exact",
                options.shapley.budget()
            ));
        }
        let summary = sums.summary(explainer);
        let top = |summary: &Summary| options.top.map_or_else(|| summary.clone(), |top| summary.clone().top(top));
        match options.format {
            Format::Text if summarised => out.write_all(print::fitted(&render_summary(&top(&summary))).as_bytes())?,
            Format::Json if options.global => write_json(&top(&summary), out)?,
            Format::Json => match options.top {
                Some(top) => write_json(&explanation.clone().top(top), out)?,
                None => write_json(&explanation, out)?,
            },
            Format::Csv if options.global => write_summary(&top(&summary), out)?,
            // Written record by record.
            Format::Text | Format::Csv => {}
        }
        Ok(match kind {
            None => None,
            Some(PlotKind::Waterfall) => Some(plot::waterfall(&explanation, 0, options.most_rows())?),
            Some(PlotKind::Decision) => Some(plot::decision(&explanation, options.most_rows())?),
            Some(PlotKind::Beeswarm) => Some(plot::beeswarm(&explanation, options.most_rows())?),
            Some(PlotKind::Scatter) => Some(plot::scatter(&explanation, options.most_rows())?),
            // Of features, which no records are explained for.
            Some(PlotKind::Shapes) => None,
            Some(PlotKind::Heatmap) => Some(plot::heatmap(&explanation, options.most_rows())?),
            Some(PlotKind::Bar) if options.row.is_some() => {
                Some(plot::bar_of_record(&explanation, 0, options.most_rows())?)
            }
            Some(PlotKind::Bar) => Some(plot::bar(&summary, options.most_rows())?),
        })
    }
}
