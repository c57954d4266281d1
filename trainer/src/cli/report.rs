//! `feamoe report`: a report on a model, for those who have to judge it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use feamoe::error::{CheckpointError, Error};
use feamoe::model::card::Card;
use feamoe::model::{AlignedBytes, HostModel, Loaded, dequantize};
use feamoe::output::OutputFile;
use feamoe::report::{MOST_ASKED, Options as Said, Subject, report};
use feamoe::rows::{Input, Use};
use feamoe::schema::Schema;
use feamoe::training::Trainer;
use feamoe::training::checkpoint::Checkpoint;
use feamoe::tuning::{Problem, Tuned};

use super::print::CommandLine;
use super::progress::RowsProgress;
use super::{
    CellsOption, Outcome, ThreadsOption, files, load_any, open_rows, print, read_blob, read_json, refuse_outputs, whole,
};

/// The options of `feamoe report`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model, or the checkpoint of a run; with a checkpoint, the report also shows the run over
    /// its training stream
    #[arg(value_name = "MODEL|CHECKPOINT")]
    model: PathBuf,
    /// Labelled rows that the model is judged on: CSV (plain or gzip), Parquet or Arrow files in
    /// the order given; - for standard input
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<Input>,
    /// Names the target and the protected columns of the data [default: the schema that the model
    /// was trained with]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    cells: CellsOption,
    /// Output file: one self-contained HTML page that makes no network request; - for standard
    /// output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Also write a model card for the Hugging Face Hub: Markdown with YAML metadata
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Also show what fairness costs, from the output of `feamoe tune --format json`
    #[arg(long, value_name = "FILE")]
    front: Option<PathBuf>,
    /// Also explain this record, counted from 1; may be given up to 16 times
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Vec<u64>,
    #[command(flatten)]
    threads: ThreadsOption,
}

/// The file that the first argument names.
struct Given {
    blob: AlignedBytes,
    run: Option<Trainer>,
}

/// Reads a checkpoint or a model.
fn read(path: &Path) -> anyhow::Result<Given> {
    match Checkpoint::read(path) {
        Ok(checkpoint) => {
            let run = Trainer::from_checkpoint(checkpoint)?;
            let blob = run.model().with_context(|| path.display().to_string())?.bytes;
            Ok(Given { blob, run: Some(run) })
        }
        Err(Error::Checkpoint {
            error: CheckpointError::Model | CheckpointError::Magic { .. } | CheckpointError::TooShort { .. },
            ..
        }) => Ok(Given { blob: read_blob(path)?, run: None }),
        Err(error) => Err(error.into()),
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    options.threads.start()?;
    let read_too = files(&options.data).chain([options.model.as_path()]);
    let read_too: Vec<&Path> = read_too.chain(options.schema.as_deref()).chain(options.front.as_deref()).collect();
    refuse_outputs(&[("--card", options.card.as_deref()), ("--output", Some(&options.output))], &read_too)?;
    if options.row.len() > MOST_ASKED {
        bail!("--row is given {} times, expected at most {MOST_ASKED}", options.row.len());
    }
    // Created before the work, so that an unwritable path is reported at once.
    let mut page = print::create(&options.output)?;
    let mut card_file = options.card.as_deref().map(print::create).transpose()?;

    let Given { blob, run } = read(&options.model)?;
    let loaded = load_any(&options.model, &blob)?;
    let floats = match &loaded {
        Loaded::Float(_) => None,
        Loaded::Integer(_) => Some(dequantize(&blob)?),
    };
    let floats = floats.as_ref().map(|blob| HostModel::load(blob.as_slice()).map(Box::new)).transpose()?;
    let model = loaded.any_with(floats.as_deref());
    let card = super::read_card_beside(options.schema.as_deref(), &options.model, &blob)?;
    let mut schema = match (&options.schema, &card) {
        (Some(path), _) => Schema::open(path)?,
        (None, Some(card)) => card.schema.clone(),
        (None, None) => bail!(
            "{}: the model does not state which column is the target; name a schema with --schema",
            options.model.display()
        ),
    };
    options.cells.apply(&mut schema.table);
    let mut stream = open_rows(&options.data, &schema, options.schema.is_some(), Use::Learn)?;
    let said = Said {
        rows: options.row.clone(),
        front: options.front.as_deref().map(|path| read_front(path, &schema)).transpose()?,
        name: options.model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        made_by: card.as_ref().map(made_by),
        reported_by: Some(options.command()),
    };
    let subject = Subject { model, blob: &blob, card: card.as_ref(), run: run.as_ref() };
    let progress = RowsProgress::new();
    let made = report(&subject, &mut stream, said, &mut |rows| progress.update(rows));
    progress.finish();
    let made = made?;
    print::warnings(&stream.notes(), &made.evaluation().warnings);
    page.write_whole(made.page().as_bytes())?;
    if let Some(file) = &mut card_file {
        file.write_whole(made.model_card().as_bytes())?;
    }
    page.commit()?;
    card_file.map(OutputFile::commit).transpose()?;
    let card = options.card.as_deref().filter(|card| !print::is_standard_output(card));
    let card = card.map_or_else(String::new, |card| format!(", its model card in {}", card.display()));
    if print::is_standard_output(&options.output) {
        return Ok(Outcome::Done);
    }
    print::text(&format!("the report is in {}{card}; open it in a browser\n", options.output.display()))?;
    Ok(Outcome::Done)
}

/// Reads the result of a search, which must have the target and groups of the schema.
fn read_front(path: &Path, schema: &Schema) -> anyhow::Result<Tuned> {
    let tuned: Tuned = read_json(path, "the output of `feamoe tune --format json`; name a file that holds it")?;
    if tuned.front_measure().is_none() {
        bail!(
            "{}: the search has no front, since its schema protects no column; leave out --front, or search with a [[protected]] table",
            path.display()
        );
    }
    let problem = Problem::of(schema);
    if tuned.problem != problem {
        bail!(
            "{}: the search is for another problem: {}; expected {problem}; name a search with the schema of the report",
            path.display(),
            tuned.problem
        );
    }
    Ok(tuned)
}

impl Options {
    /// Returns the command that makes the same report.
    fn command(&self) -> String {
        let rows = self.row.iter().flat_map(|row| ["--row".to_owned(), row.to_string()]);
        CommandLine::new("feamoe report")
            .words([self.model.to_string_lossy()])
            .words(["--data"])
            .inputs(&self.data)
            .option("--schema", self.schema.as_ref())
            .option("--bad-cells", self.cells.value())
            .option("--front", self.front.as_ref())
            .words(rows)
            .option("--card", self.card.as_ref())
            .option("-o", Some(&self.output))
            .finish()
    }
}

/// Returns the command that made a model, according to its card. For a merged model, also returns
/// the command of its shards.
fn made_by(card: &Card) -> String {
    let (shard, merge) = match card.options.contains_key(Card::MERGED) {
        true => (" --encoding SHARED --checkpoint SHARD", "\nfeamoe merge SHARD... -o MODEL"),
        false => ("", ""),
    };
    let command = CommandLine::new(&format!("feamoe train DATA --schema SCHEMA -o MODEL{shard}"));
    let add = |command: CommandLine, (flag, value): (&String, &String)| match value.as_str() {
        _ if flag == Card::MERGED => command,
        "yes" => command.words([format!("--{flag}")]),
        value => command.option(&format!("--{flag}"), Some(value)),
    };
    card.options.iter().fold(command, add).finish() + merge
}
