//! `feamoe recourse`: changes of permitted columns that would turn the decision of a declined
//! record.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::progress::RowsProgress;
use anyhow::bail;
use clap::Args;
use feamoe::explanation::quantity;
use feamoe::judge::recourse::{MARGIN, RecourseReport, Wanted, recourse, rules};
use feamoe::rows::Use;
use feamoe::schema::{Features, Schema};
use feamoe_engine::Space;

use super::print::{self, TextTable, share, signed};
use super::require::named;
use super::{
    CellsOption, Format, FormatOption, Outcome, Source, ThreadsOption, load_model, open_rows, read_blob,
    read_card_beside, whole,
};

/// The JSON document, for `--help`.
const DOCUMENT: &str = "The JSON document: rules (by feature), declined (columns row, probability (the score), answers (the number found)), \
answers (columns row, rank, distance, probability, features, from, to), summary (rows, declined, with_recourse, without_recourse, mean_distance, changed, groups), \
output_names, threshold, model.

The distance is in standard deviations, a change of level counts sqrt(2); both times the cost. A missing value stays missing. Numbers are proposed in the \
steps asked for, or in those that the model's background records have: whole numbers where all of theirs are whole. A gap of recourse burden is measured by \
feamoe evaluate, without margin, steps or rules.";

/// The options of `feamoe recourse`.
#[derive(Args, Debug)]
#[command(after_long_help = DOCUMENT)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// States how to read the file, which columns are protected and therefore never changed, and in
    /// [features] which changes are allowed: immutable, increase_only, decrease_only, ranges,
    /// steps, costs [default: the schema that the model was trained with]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
    /// Only this record, counted from 1 [default: all declined records, with a summary]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Option<u64>,
    /// Largest number of answers per record, which differ in the features changed; more take longer
    #[arg(long, value_name = "K", default_value = "3", value_parser = whole::<usize>(1..=20))]
    answers: usize,
    /// Largest number of columns that an answer changes
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole::<usize>(1..=512))]
    max_changes: usize,
    /// Margin by which the score of an answer exceeds the threshold, from 0 and below 1; without a
    /// margin, another model of the same rows may decline the answer
    #[arg(long, value_name = "SCORE", default_value_t = MARGIN, allow_negative_numbers = true)]
    margin: f32,
    /// Columns that must not change
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    fix: Vec<String>,
    /// Columns that may only increase
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    increase_only: Vec<String>,
    /// Columns that may only decrease
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    decrease_only: Vec<String>,
    /// Lowest and highest number proposed for a column; may be given once per column
    #[arg(long, value_name = "COLUMN=LOW..HIGH", value_parser = entry(range, "COLUMN=LOW..HIGH, such as hours=20..40"))]
    range: Vec<(String, [f64; 2])>,
    /// Propose only multiples of N for a column, such as 1 for whole numbers
    #[arg(long, value_name = "COLUMN=N", value_parser = entry(number, "COLUMN=N, such as income=100"))]
    step: Vec<(String, f64)>,
    /// Factor for a column's part of the distance; above 1 if the column is hard to change
    #[arg(long, value_name = "COLUMN=FACTOR", value_parser = entry(number, "COLUMN=FACTOR, such as income=2"))]
    cost: Vec<(String, f64)>,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    threads: ThreadsOption,
}

/// Parses `COLUMN=...`.
fn entry<T>(
    value: fn(&str) -> Option<T>,
    expected: &'static str,
) -> impl Fn(&str) -> Result<(String, T), String> + Clone {
    move |text| {
        let entry = text.rsplit_once('=').and_then(|(column, text)| Some((column.to_owned(), value(text)?)));
        entry.ok_or_else(|| format!("expected {expected}"))
    }
}

fn number(text: &str) -> Option<f64> {
    f64::from_str(text.trim()).ok()
}

fn range(text: &str) -> Option<[f64; 2]> {
    let (low, high) = text.split_once("..")?;
    Some([number(low)?, number(high)?])
}

/// Collects entries by column. Each column may be named only once.
fn by_column<T: Copy>(flag: &str, entries: &[(String, T)]) -> anyhow::Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for (column, value) in entries {
        if all.insert(column.clone(), *value).is_some() {
            anyhow::bail!("{flag} names {column:?} twice, expected it once");
        }
    }
    Ok(all)
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    options.threads.start()?;
    let schema = options.schema.as_deref().map(Schema::open).transpose()?;
    let wishes = Features {
        immutable: options.fix.clone(),
        increase_only: options.increase_only.clone(),
        decrease_only: options.decrease_only.clone(),
        ranges: by_column("--range", &options.range)?,
        steps: by_column("--step", &options.step)?,
        costs: by_column("--cost", &options.cost)?,
        ..Features::default()
    };
    let blob = read_blob(&options.source.model)?;
    let model = load_model(&options.source.model, &blob)?;
    let card = read_card_beside(options.schema.as_deref(), &options.source.model, &blob)?;
    let rules = rules(&model, card.as_ref(), schema.as_ref(), &wishes)?.with_margin(options.margin);
    let Some(rules) = rules else { bail!("--margin {}: expected 0 or more, below 1", options.margin) };
    let mut schema = schema.or_else(|| card.as_ref().map(|card| card.schema.clone())).unwrap_or_default();
    options.cells.apply(&mut schema.table);
    let mut stream = open_rows(&options.source.data, &schema, options.schema.is_some(), Use::Score)?;
    let progress = RowsProgress::new();
    let wanted = Wanted { answers: options.answers, changes: options.max_changes, row: options.row };
    // Only the summary as text does not need the single records.
    let keep_each = options.row.is_some() || matches!(options.format.format, Format::Json);
    let found = recourse(&model, &mut stream, card.as_ref(), &rules, wanted, keep_each, &mut |rows| {
        progress.update(rows);
    });
    progress.finish();
    let report = found?;
    print::warnings(&stream.notes(), &report.warnings);
    match (options.format.format, options.row) {
        (Format::Json, _) => print::json(&report)?,
        (Format::Text, Some(row)) => print::text(&render_record(&report, row))?,
        (Format::Text, None) => print::text(&render_summary(&report))?,
    }
    Ok(Outcome::Done)
}

/// Returns the changes for one record as text.
fn render_record(report: &RecourseReport, row: u64) -> String {
    let RecourseReport { output_names, threshold, declined, answers, .. } = report;
    let quantity = quantity(Space::Probability, output_names);
    if let Some(score) = report.favourable {
        return format!(
            "record {row}: {quantity} {score}, threshold {threshold}: favourable already, nothing to change\n"
        );
    }
    let mut text = String::new();
    for score in &declined.probability {
        let _ = writeln!(text, "record {row}: {quantity} {score}, threshold {threshold}: declined");
    }
    if answers.row.is_empty() {
        text.push_str("no recourse within the ranges: no allowed change makes the decision favourable\n");
    }
    for (index, rank) in answers.rank.iter().enumerate() {
        let (distance, score) = (answers.distance[index], answers.probability[index]);
        let _ = writeln!(text, "\nanswer {rank}: distance {distance}, score then {score}, verified by scoring");
        let mut table = TextTable::new(&["feature", "from", "to"]);
        let cells = answers.from[index].iter().zip(&answers.to[index]);
        for (feature, (from, to)) in answers.features[index].iter().zip(cells) {
            table.row([feature.clone(), from.to_string(), to.to_string()]);
        }
        text.push_str(&table.render());
    }
    text
}

/// Returns the summary as text.
fn render_summary(report: &RecourseReport) -> String {
    let summary = &report.summary;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "rows {}  declined {}  with recourse {}  without recourse within the ranges {}  mean distance {}",
        summary.rows,
        summary.declined,
        summary.with_recourse,
        summary.without_recourse,
        share(summary.mean_distance)
    );
    let mut table = |headings: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            let mut table = TextTable::new(headings);
            rows.into_iter().for_each(|row| table.row(row));
            text.push('\n');
            text.push_str(&table.render());
        }
    };
    let count = |number: &dyn Display| number.to_string();
    let changed = summary.changed.iter().map(|changed| vec![changed.feature.clone(), count(&changed.records)]);
    table(&["changed by the nearest answers", "records"], changed.collect());
    let groups = summary.groups.iter().map(|g| {
        vec![
            named(&g.attribute, &g.group),
            count(&g.declined),
            count(&g.without_recourse),
            share(g.mean_distance),
            signed(g.gap),
        ]
    });
    table(&["group", "declined", "without", "mean distance", "gap to the reference"], groups.collect());
    text
}
