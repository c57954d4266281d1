//! `feamoe compare`: two models on the same rows.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use feamoe::judge::comparison::paired::Change;
use feamoe::judge::comparison::{Comparison, compare};
use feamoe::model::card::Card;
use feamoe::report::{Compared, comparison_page};
use feamoe::rows::{Input, Use};
use feamoe::schema::Schema;

use super::evaluate::{other_labels, too_few, without_group};
use super::gaps::OF_DECISIONS;
use super::print::{self, CommandLine, TextTable, share, signed};
use super::progress::RowsProgress;
use super::require::named;
use super::{
    CellsOption, Format, FormatOption, Outcome, files, load_any, open_rows, read_blob, read_card_beside,
    refuse_overwriting, whole,
};

/// The number of features that the table lists.
const MOST_FEATURES: usize = 10;

/// The options of `feamoe compare`.
#[derive(Args, Debug)]
#[command(after_long_help = OF_DECISIONS)]
pub struct Options {
    /// The first model, such as the one in use
    #[arg(value_name = "FIRST")]
    first: PathBuf,
    /// The second model; every difference is the second minus the first
    #[arg(value_name = "SECOND")]
    second: PathBuf,
    /// Labelled rows: CSV (plain or gzip), Parquet or Arrow files in the order given; - for
    /// standard input
    #[arg(value_name = "DATA", required = true)]
    data: Vec<Input>,
    /// Names the target and the protected columns of the data [default: the schema that the first
    /// model was trained with, or the second]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
    /// Number of rows, drawn at random, on which the explanations are compared, 0 to 1000000
    #[arg(long, value_name = "N", default_value_t = 1_000, allow_negative_numbers = true, value_parser = whole::<usize>(0..=1_000_000))]
    sample: usize,
    /// Also write the comparison as a page: one self-contained HTML file that makes no network
    /// request; - for standard output, in which case the report goes to standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    format: FormatOption,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let paths = [&options.first, &options.second];
    if let Some(page) = &options.output {
        let models = paths.map(PathBuf::as_path);
        refuse_overwriting("--output", page, files(&options.data).chain(models).chain(options.schema.as_deref()))?;
    }
    let page = options.output.as_deref().map(print::create).transpose()?;
    let (first, second) = (read_blob(paths[0])?, read_blob(paths[1])?);
    let (a, b) = (load_any(paths[0], &first)?, load_any(paths[1], &second)?);
    let named = options.schema.as_deref();
    let cards = [read_card_beside(named, paths[0], &first)?, read_card_beside(named, paths[1], &second)?];
    let mut schema = match named {
        Some(path) => Schema::open(path)?,
        None => schema_of(cards, paths.map(PathBuf::as_path))?,
    };
    options.cells.apply(&mut schema.table);
    let mut stream = open_rows(&options.data, &schema, named.is_some(), Use::Learn)?;
    let progress = RowsProgress::new();
    let comparison = compare([a.any(), b.any()], &mut stream, options.sample, &mut |rows| progress.update(rows));
    progress.finish();
    let comparison = comparison?;
    print::warnings(&stream.notes(), &[]);
    if let Some(mut page) = page {
        page.write_whole(comparison_page(&comparison, &options.compared(stream.files())).as_bytes())?;
        page.commit()?;
    }
    match options.format.format {
        Format::Json => print::json(&comparison)?,
        Format::Text => {
            let page = options.output.as_deref().filter(|path| !print::is_standard_output(path));
            let page = page.map(|path| format!("\nthe comparison is in {}; open it in a browser\n", path.display()));
            print::text(&(render(&comparison) + &page.unwrap_or_default()))?;
        }
    }
    Ok(Outcome::Done)
}

impl Options {
    /// Returns what the page states about the comparison.
    fn compared(&self, files: String) -> Compared {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let command = CommandLine::new("feamoe compare")
            .words([&self.first, &self.second].map(|path| path.to_string_lossy()))
            .inputs(&self.data)
            .option("--schema", self.schema.as_ref())
            .option("--bad-cells", self.cells.value())
            .option("--sample", Some(self.sample.to_string()))
            .option("-o", self.output.as_ref())
            .finish();
        Compared { names: [name(&self.first), name(&self.second)], files, command }
    }
}

/// Returns the schema that both models were trained with.
fn schema_of(cards: [Option<Card>; 2], [first, second]: [&Path; 2]) -> anyhow::Result<Schema> {
    match cards.map(|card| card.map(|card| card.schema)) {
        [Some(a), Some(b)] if (&a.target.column, &a.target.positive) != (&b.target.column, &b.target.positive) => {
            bail!(
                "{}: found the target {:?} with the favourable outcome {}, expected {:?} with {} as of {}; compare models with the same target, or name a schema with --schema",
                second.display(),
                b.target.column,
                b.target.positive.join("|"),
                a.target.column,
                a.target.positive.join("|"),
                first.display()
            )
        }
        [Some(schema), _] | [None, Some(schema)] => Ok(schema),
        [None, None] => {
            bail!(
                "{}: the model does not state which column is the target; name a schema with --schema",
                first.display()
            )
        }
    }
}

/// Returns the tables for people.
fn render(comparison: &Comparison) -> String {
    let Comparison { models, rows, skipped, scores, .. } = comparison;
    let mut text = String::new();
    for (name, model) in ["first", "second"].iter().zip(models) {
        let _ = writeln!(
            text,
            "{name} model {}: {} experts, {} features, threshold {}",
            model.model, model.experts, model.features, model.threshold
        );
    }
    let _ = writeln!(
        text,
        "rows {rows}  skipped {skipped}  mean change of the score {}  largest {}  changed decisions {} ({:.2} %)\n",
        share(scores.mean_change),
        share(scores.largest_change),
        scores.changed_decisions,
        100.0 * scores.changed_share
    );
    text.push_str(&other_labels(&comparison.other_labels));
    let interval = |change: &Change| {
        change.interval.map_or_else(|| "-".into(), |[low, high]| format!("{} {}", signed(low), signed(high)))
    };
    let mut table = TextTable::new(&["", "first", "second", "change", "95 %"]);
    for measure in &comparison.measures {
        let [a, b] = measure.values.map(share);
        table.row([measure.words().to_owned(), a, b, signed(measure.change.change), interval(&measure.change)]);
    }
    for gap in &comparison.gaps {
        let [a, b] = gap.values.map(signed);
        let name = named(&gap.attribute, &format!("{} - {}, {}", gap.group, gap.reference, gap.heading()));
        table.row([name, a, b, signed(gap.change.change), interval(&gap.change)]);
    }
    text.push_str(&table.render());
    text.push_str(&too_few(
        comparison.gaps.iter().filter_map(|gap| Some((&*gap.attribute, &*gap.group, gap.too_few.as_ref()?))),
    ));
    text.push_str(&without_group(&comparison.attributes));
    let mut table =
        TextTable::new(&["decisions", "rows", "gained", "lost", "selected first", "second", "change", "95 %"]);
    for decision in &comparison.decisions {
        let name = match (&decision.attribute, &decision.group) {
            (Some(attribute), Some(group)) => named(attribute, group),
            _ => "all".into(),
        };
        let [a, b] = decision.selection_rates.map(share);
        let counts = [decision.rows, decision.gained, decision.lost].map(|count| count.to_string());
        table.row([name].into_iter().chain(counts).chain([
            a,
            b,
            signed(decision.change.change),
            interval(&decision.change),
        ]));
    }
    let _ = write!(text, "\n{}", table.render());
    if comparison.features.is_empty() {
        let _ = writeln!(text, "\nno explanations are compared");
    } else {
        let mut table = TextTable::new(&["explanations", "mean change", "mean size first", "second"]);
        for feature in comparison.features.iter().take(MOST_FEATURES) {
            let [a, b] = [0, 1].map(|model: usize| {
                let is_there = feature.has.get(model).copied().unwrap_or_default();
                let value = feature.mean_values.get(model).copied().unwrap_or(f64::NAN);
                if is_there { share(value) } else { "no feature".into() }
            });
            table.row([feature.feature.clone(), share(feature.mean_change), a, b]);
        }
        let _ = write!(text, "\n{}", table.render());
        let left = comparison.features.len().saturating_sub(MOST_FEATURES);
        let left = if left > 0 { format!("; {left} more features change less") } else { String::new() };
        let _ = writeln!(
            text,
            "values in probability by the method path, on {} of {rows} rows{left}",
            comparison.explained_rows
        );
    }
    let _ = writeln!(text, "\n{}", comparison.verdict);
    text
}
