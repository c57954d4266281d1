//! `feamoe score`: probability and decision of every record, as CSV, JSON or Parquet.

mod csv;
mod json;
#[cfg(feature = "parquet")]
mod parquet;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use feamoe::judge::binding::Binding;
use feamoe::judge::inputs::Inputs;
use feamoe::model::{AnyModel, AnyRecord};
use feamoe::rows::Source as _;
use feamoe_engine::schema::Note;

pub use json::Scores;

use super::follow::{FollowOption, say_left_out};
use super::progress::done;
use super::{Outcome, Source, TableOption, load_any, print, read_blob, read_card_beside};

/// The options of `feamoe score`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Output file; standard output if omitted or -. Columns: row, those of --keep, probability,
    /// decision, score (if it is not the probability), notes. Without records, only the header is
    /// written
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Columns of DATA to copy unchanged, such as an identifier; a column with the name of an
    /// output column is called data.NAME
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    keep: Vec<String>,
    /// Add a column per expert with its gate weight
    #[arg(long)]
    gate: bool,
    #[command(flatten)]
    follow: FollowOption,
    #[command(flatten)]
    table: TableOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line per record
    Csv,
    /// One document with model, threshold, `favourable_outcome` and records, each with its kept
    /// columns and notes
    Json,
    /// A Parquet file, which needs --output; for - it is kept in memory until its end
    #[cfg(feature = "parquet")]
    Parquet,
}

/// The columns of the output.
struct Layout<'a> {
    model: AnyModel<'a>,
    /// Names of the kept columns.
    kept: Vec<String>,
    /// Whether gate weights are written.
    gate: bool,
}

/// A scored record.
struct Scored<'a> {
    row: u64,
    /// The kept cells, unchanged, each with whether it stands for a missing value.
    kept: Vec<(String, bool)>,
    probability: f32,
    decision: bool,
    /// The score that decides, if it is not the probability.
    score: Option<f32>,
    gate: &'a [f32],
    notes: Vec<(&'static str, Vec<&'a str>)>,
}

/// A writer of scored records.
trait Sink {
    fn push(&mut self, scored: &Scored<'_>) -> anyhow::Result<()>;
    /// Writes out the records so far, if the format allows reading them before the end.
    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
    fn finish(self) -> anyhow::Result<()>;
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    if let Some(path) = &options.output {
        options.source.refuse_overwriting("--output", path, &options.table)?;
    }
    let output = options.output.as_deref();
    match options.format {
        Format::Csv => print::write(output, |out| score(options, |layout| csv::Lines::new(layout, out)))?,
        Format::Json => print::write(output, |out| score(options, |layout| json::Document::new(layout, out)))?,
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            let Some(path) = output else {
                bail!(
                    "a Parquet file cannot be printed on a terminal; name a file with --output, or - for standard output"
                )
            };
            let mut file = print::create_binary(path)?;
            score(options, |layout| parquet::File::new(layout, &mut file))?;
            file.commit()?;
        }
    }
    Ok(Outcome::Done)
}

/// Scores every record into the sink that `to` creates for the layout.
fn score<S: Sink>(options: &Options, to: impl FnOnce(&Layout<'_>) -> anyhow::Result<S>) -> anyhow::Result<()> {
    let blob = read_blob(&options.source.model)?;
    let model = load_any(&options.source.model, &blob)?;
    let model = model.any();
    let card = read_card_beside(options.table.schema.as_deref(), &options.source.model, &blob)?;
    let table = options.table.table(card.as_ref())?;
    let data = options.follow.data(&options.source.data)?;
    let mut records = options.table.open(&data, &table)?;
    let binding =
        Binding::of(model.schema(), |name| records.column(name, "the model"))?.with_bad_cells(table.bad_cells);
    let kept = options.keep.iter().map(|name| records.column(name, "--keep"));
    let kept: Vec<usize> = kept.collect::<Result<_, _>>()?;
    if let Some(twice) =
        (1..).zip(&options.keep).find_map(|(next, name)| options.keep[next..].contains(name).then_some(name))
    {
        bail!("--keep names {twice:?} twice, expected it once");
    }
    records.want(&[binding.columns(), kept.clone()].concat());
    let names: Vec<&str> = (0..).map_while(|index| model.schema().feature_name(index)).collect();
    let mut inputs = Inputs::new(model.schema(), card.as_ref());
    let layout = Layout { model, kept: options.keep.clone(), gate: options.gate };
    let mut sink = to(&layout)?;
    let mut record = model.record();
    let started = Instant::now();
    loop {
        match records.advance() {
            Err(error) if error.is_pause() => {
                sink.flush()?;
                continue;
            }
            more => {
                if !more? {
                    break;
                }
            }
        }
        let row = records.record();
        binding.fill(&row, &mut record)?;
        inputs.observe(record.notes());
        let score = model.score(&record)?;
        let cell =
            |column: &usize| (String::from_utf8_lossy(&row.text(*column)).into_owned(), row.cell(*column).is_missing());
        sink.push(&Scored {
            row: row.position.number,
            kept: kept.iter().map(cell).collect(),
            probability: model.calibrated(&record, &score)?,
            decision: score.decision,
            score: model.is_calibrated().then_some(score.probability),
            gate: score.gate.get(..model.experts()).filter(|_| options.gate).unwrap_or_default(),
            notes: notes(&record, &names, &inputs),
        })?;
    }
    sink.finish()?;
    if records.record().position.number == 0 {
        print::note(&format!("note: {}: there are no records, only a header", records.files()));
    }
    say_left_out(&data);
    done(records.record().position.number, "rows", started.elapsed());
    print::warnings(&records.notes(), &inputs.warnings(binding.bad_cells()));
    Ok(())
}

/// Returns the features with unusual values, by kind: missing although every training row had a
/// value, clamped, or unseen.
fn notes<'a>(record: &AnyRecord<'_>, names: &[&'a str], inputs: &Inputs) -> Vec<(&'static str, Vec<&'a str>)> {
    if record.notes().iter().all(|note| *note == Note::Usual) {
        return Vec::new();
    }
    let of = |note: Note| -> Vec<&'a str> {
        let noted = record.notes().iter().zip(names).enumerate();
        let noted = noted.filter(|(index, (found, _))| {
            **found == note && (note != Note::Missing || inputs.was_never_missing(*index))
        });
        noted.map(|(_, (_, name))| *name).collect()
    };
    let kinds = [(Note::Missing, "missing"), (Note::Clamped, "clamped"), (Note::Unseen, "unseen")];
    kinds.into_iter().map(|(note, word)| (word, of(note))).filter(|(_, features)| !features.is_empty()).collect()
}

/// Returns the notes on one line: `clamped: age; unseen: country "marital status"`.
fn on_one_line(notes: &[(&'static str, Vec<&str>)]) -> String {
    // A name that could be misread as several names or as the end of the list is quoted.
    let shown = |name: &&str| {
        let is_plain =
            !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || ";:\"\\".contains(c));
        if is_plain { (*name).to_owned() } else { format!("{name:?}") }
    };
    let kinds = notes
        .iter()
        .map(|(word, features)| format!("{word}: {}", features.iter().map(shown).collect::<Vec<_>>().join(" ")));
    kinds.collect::<Vec<_>>().join("; ")
}

impl Layout<'_> {
    /// Returns the names of all columns in order; kept columns get unique names.
    fn columns(&self) -> Vec<String> {
        let gates = if self.gate { self.model.experts() } else { 0 };
        let score = self.model.is_calibrated().then(|| "score".to_owned());
        let own: Vec<String> = ["probability", "decision"].map(String::from).into_iter().chain(score).collect();
        let gates = (1..=gates).map(|expert| format!("gate_{expert}"));
        let own: Vec<String> = own.into_iter().chain(gates).chain(["notes".to_owned()]).collect();
        let taken: Vec<&str> = ["row"].into_iter().chain(own.iter().map(String::as_str)).collect();
        let kept = print::names_apart(&self.kept, &taken, "data.");
        ["row".to_owned()].into_iter().chain(kept).chain(own).collect()
    }
}
