//! `feamoe explain`: how much each raw feature contributed to a record's score, and how it changes
//! scores along its values.

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
    /// CSV (plain or gzip), Parquet or Arrow files in the order given; - for standard input;
    /// optional with --shapes
    #[arg(value_name = "DATA", required_unless_present = "shapes")]
    data: Vec<Input>,
    /// Explain only this record, counted from 1
    ///
    /// Range: 1 to the number of records.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Option<u64>,
    /// How the score is divided among the features [default: exact, or path if there are no
    /// background records]
    #[arg(long, value_enum)]
    method: Option<MethodName>,
    /// Treat several features as one with a single value, such as money=income+debt
    ///
    /// May be given several times for different features. For exact and sampled values, a group is
    /// one player; for path and frozen values, its value is the sum of the values of its features.
    #[arg(long, value_name = "NAME=FEATURE+...")]
    groups: Vec<Group>,
    /// Summarise all records: the mean magnitude of each feature's values
    ///
    /// The unit is that of the values, probability or log-odds. Memory does not grow with the
    /// number of records.
    #[arg(long, conflicts_with = "row")]
    global: bool,
    /// Show instead how each feature affects the score along its values, for each expert and for
    /// the mixture
    ///
    /// The effects are given at each bin of a number, at the ends of its range, for each level, and
    /// for unseen and missing values. The mixture's effect is the change of the background records'
    /// mean score when all of them take the value, in probability (partial dependence), with the 5
    /// to 95 % range of the changes of single records. An expert's effect is what the feature adds
    /// to the expert's natural log-odds, minus its mean over the background; it is exact. Each
    /// value also has the share of background rows, or of the rows of DATA if given, that take it.
    /// Text has a line per feature, CSV a line per point and curve. At most 128 bins or levels are
    /// given.
    #[arg(long, conflicts_with_all = ["row", "method", "groups", "global", "reasons", "space", "budget",
        "tolerance", "max_evaluations", "max_seconds"])]
    shapes: bool,
    /// Features whose shapes are shown, in this order [default: all]
    ///
    /// All features of a plot share its scales; features with small effects are easier to read when
    /// they are drawn alone.
    #[arg(long, value_name = "FEATURE,...", value_delimiter = ',', requires = "shapes")]
    features: Vec<String>,
    /// Explain N records of the files, drawn uniformly by --seed; all records if there are no more
    /// than N
    ///
    /// The files are read twice, once to count their records.
    #[arg(long, value_name = "N", conflicts_with_all = ["row", "shapes"], allow_negative_numbers = true,
        value_parser = whole::<u64>(1..=u64::MAX))]
    sample: Option<u64>,
    /// Show only the N features with the largest mean absolute values; the rest are summed as
    /// "other"
    ///
    /// Applies to text and JSON, and to the plot unless --max-display is given. The text of a
    /// record shows the features that are largest for that record. With --global, "other" is the
    /// sum of the means. The standard error of "other" is the sum of the standard errors of its
    /// features, an upper bound.
    #[arg(long, value_name = "N", conflicts_with = "shapes", allow_negative_numbers = true,
        value_parser = whole::<usize>(1..=500))]
    top: Option<usize>,
    /// Also draw the explanation into this SVG file
    ///
    /// Values are in probability or log-odds, depending on --method. Without --row or --shapes, the
    /// printed text is that of --global for the records that the plot shows. All kinds except bars
    /// keep the records in memory.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Kind of plot [default: waterfall with --row, bar with --global, shapes with --shapes, else
    /// beeswarm]
    #[arg(long, value_enum, value_name = "KIND", requires = "plot")]
    plot_kind: Option<PlotKind>,
    /// Number of feature rows in the plot, 1 to 500 [default: 20, with --top N+1]; the remaining
    /// features share the last row. The printed text is not affected; see --top
    #[arg(long, value_name = "N", requires = "plot", allow_negative_numbers = true, value_parser = whole::<usize>(1..=500))]
    max_display: Option<usize>,
    /// Number of reasons given for a declined record, 0 to 10 [default: 4]
    ///
    /// The reasons are the features that lowered the score most, in words. They are part of text
    /// and JSON; CSV has only the values.
    #[arg(long, value_name = "K", allow_negative_numbers = true, conflicts_with = "global",
        value_parser = whole::<usize>(0..=MAX_REASONS as u64))]
    reasons: Option<usize>,
    /// Output format of the explanation
    ///
    /// In JSON and CSV, values have enough digits to read back the same 32-bit float; in text, four
    /// decimals.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Output file of the explanation; standard output if omitted or -
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    table: TableOption,
    #[command(flatten)]
    threads: ThreadsOption,
    #[command(flatten)]
    shapley: shapley::Options,
}

/// The values of `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// Exact Shapley values of the score, gate included, against background records: all coalitions
    /// of features
    Exact,
    /// The same, estimated from random orders of the features, with standard errors: for records
    /// that differ from the background in very many features
    Sampled,
    /// Along the path from the mean record to this one, gate included, in probability
    Path,
    /// With the gate held fixed at the record (FEAMOE, Theorem 1), in log-odds; not the Shapley
    /// value of the score
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
    /// One JSON document whose columns suit shap's plots
    Json,
    /// A line per record and a column per feature, for any number of records; with --shapes a line
    /// per point and curve
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlotKind {
    /// The path of one record from the base value to its score; needs --row
    Waterfall,
    /// The paths of several records; if there are more than 300, 300 that are evenly spread by
    /// score
    Decision,
    /// Every value of many records as a dot; if there are more than 1500 per feature, 1500 that are
    /// evenly spread by value
    Beeswarm,
    /// The contribution of each feature against its value in the record, one panel per feature
    Scatter,
    /// All values as shades, one column per record, from the lowest score to the highest; if there
    /// are more than 400 records, 400 that are evenly spread by score
    Heatmap,
    /// Mean magnitude of each feature's values; with --row, the record's values
    Bar,
    /// The effect of each feature along its values; implies --shapes
    Shapes,
}

impl PlotKind {
    /// Returns the name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |kind| kind.get_name().to_owned())
    }
}

impl Options {
    /// Returns the largest number of feature rows in a plot.
    fn most_rows(&self) -> usize {
        self.max_display.or(self.top.map(|top| top + 1)).unwrap_or(plot::MOST_PLAYERS)
    }

    /// Returns the numbers of the records to explain, in ascending order; `None` means all.
    fn wanted(&self, table: &Table) -> anyhow::Result<Option<VecDeque<u64>>> {
        match (self.row, self.sample) {
            (Some(row), _) => Ok(Some([row].into())),
            (None, None) => Ok(None),
            (None, Some(size)) => {
                if let Some(input) = self.data.iter().find(|input| !input.can_be_read_again()) {
                    bail!("--sample reads the data twice, but {input} can be read only once; name a file");
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

    /// Returns whether the command computes shapes.
    fn is_of_shapes(&self) -> bool {
        self.shapes || self.plot_kind == Some(PlotKind::Shapes)
    }

    /// Refuses options about records in combination with shapes.
    fn refuse_records(&self) -> anyhow::Result<()> {
        if let Some(kind) = self.plot_kind.filter(|kind| *kind != PlotKind::Shapes) {
            bail!("--shapes cannot be drawn as --plot-kind {}; leave out one of them", kind.name());
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

    /// Returns the kind of plot, if one was asked for. Refuses options that cannot be combined.
    fn plot_kind(&self) -> anyhow::Result<Option<PlotKind>> {
        ensure!(
            self.reasons.is_none() || self.format != Format::Csv,
            "--reasons are words, and CSV has only values; use --format json, or leave out --reasons"
        );
        ensure!(
            self.top.is_none() || self.global || self.format != Format::Csv,
            "--top needs all records before the first is printed, and CSV is printed record by record; use --format json, or --global"
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
            _ if self.global => bail!("--global keeps only means, which --plot-kind bar draws; leave out one of them"),
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
    // Created before the work, so that an unwritable path is reported at once.
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
            "{}: a model with integer weights can only be explained with --method frozen; for other methods, name the model it was exported from",
            options.model.display()
        ),
    };
    let procedure = options.shapley.procedure(method, background.as_ref());
    // The gate's share of an integer explanation is that of the equivalent float model.
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

/// Returns the float model equivalent to integer weights; `None` for float weights.
fn floats_blob(model: &Loaded<'_>, blob: &AlignedBytes) -> anyhow::Result<Option<AlignedBytes>> {
    Ok(match model {
        Loaded::Float(_) => None,
        Loaded::Integer(_) => Some(dequantize(blob)?),
    })
}

/// The explanation of the records read so far.
struct Report<'o, 'm> {
    options: &'o Options,
    kind: Option<PlotKind>,
    explainer: &'o Explainer<'m>,
    /// Whether means are printed, not records.
    summarised: bool,
    /// Whether all records are kept, because a document or a plot needs them at once.
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

    /// Returns whether each record is printed as text.
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
                // A reader of the output need not wait for the last record.
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

    /// Starts the progress line and announces the estimated time. `known` is the number of records,
    /// if known.
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

    /// Writes the summary of all records, and returns the plot.
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
            // Already written record by record.
            Format::Text | Format::Csv => {}
        }
        Ok(match kind {
            None => None,
            Some(PlotKind::Waterfall) => Some(plot::waterfall(&explanation, 0, options.most_rows())?),
            Some(PlotKind::Decision) => Some(plot::decision(&explanation, options.most_rows())?),
            Some(PlotKind::Beeswarm) => Some(plot::beeswarm(&explanation, options.most_rows())?),
            Some(PlotKind::Scatter) => Some(plot::scatter(&explanation, options.most_rows())?),
            // Shapes explain features, not records.
            Some(PlotKind::Shapes) => None,
            Some(PlotKind::Heatmap) => Some(plot::heatmap(&explanation, options.most_rows())?),
            Some(PlotKind::Bar) if options.row.is_some() => {
                Some(plot::bar_of_record(&explanation, 0, options.most_rows())?)
            }
            Some(PlotKind::Bar) => Some(plot::bar(&summary, options.most_rows())?),
        })
    }
}
