//! `feamoe report`: a model on one page, for those who have to judge it.

use std::fs;
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
use feamoe::tuning::Tuned;

use super::print::quoted;
use super::progress::RowsProgress;
use super::{
    CellsOption, Outcome, ThreadsOption, files, load_any, open_rows, print, read_blob, refuse_overwriting, whole,
};

/// The options of `feamoe report`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model, or the checkpoint of a run: with it the report also shows what happened over the
    /// training stream
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
    /// Where the page goes: one HTML file that opens in any browser and asks for nothing; - for
    /// standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write a model card too: Markdown under YAML, as the hub of Hugging Face reads it
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Show what fairness costs: the JSON that `feamoe tune --format json` printed
    #[arg(long, value_name = "FILE")]
    front: Option<PathBuf>,
    /// Explain this record too, counted from 1; may be given again, 16 times at most
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    row: Vec<u64>,
    #[command(flatten)]
    threads: ThreadsOption,
}

/// What the first argument names.
struct Given {
    blob: AlignedBytes,
    run: Option<Trainer>,
}

/// Reads a checkpoint, or else a model.
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
    let other = || options.schema.as_deref().into_iter().chain(options.front.as_deref());
    let read_too = || files(&options.data).chain([options.model.as_path()]).chain(other());
    refuse_overwriting("--output", &options.output, read_too())?;
    if let Some(card) = &options.card {
        refuse_overwriting("--card", card, read_too())?;
        if *card == options.output {
            bail!("--card and --output name the same file; name two");
        }
    }
    if options.row.len() > MOST_ASKED {
        bail!("--row is given {} times, expected {MOST_ASKED} times at most", options.row.len());
    }
    // Made before the work, so that a place that cannot be written is found out at once.
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
            "{}: the model does not say which column is the target; name a schema with --schema",
            options.model.display()
        ),
    };
    options.cells.apply(&mut schema.table);
    let mut stream = open_rows(&options.data, &schema, options.schema.is_some(), Use::Learn)?;
    let said = Said {
        rows: options.row.clone(),
        front: options.front.as_deref().map(read_front).transpose()?,
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
    let card = options.card.as_ref().map_or_else(String::new, |card| format!(", its model card in {}", card.display()));
    if print::is_standard_output(&options.output) {
        return Ok(Outcome::Done);
    }
    print::text(&format!("the report is in {}{card}; open it in a browser\n", options.output.display()))?;
    Ok(Outcome::Done)
}

/// Reads what a search found.
fn read_front(path: &Path) -> anyhow::Result<Tuned> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let tuned: Tuned = serde_json::from_slice(&bytes).with_context(|| {
        format!("{}: expected what `feamoe tune --format json` prints; name a file that holds it", path.display())
    })?;
    if tuned.front_measure().is_none() {
        bail!(
            "{}: the search has no front, since its schema protects no column; leave --front out, or search with a [[protected]] table",
            path.display()
        );
    }
    Ok(tuned)
}

impl Options {
    /// Returns the command that makes the same report.
    fn command(&self) -> String {
        let mut words = vec!["feamoe report".to_owned(), quoted(&self.model.to_string_lossy())];
        words.push("--data".into());
        words.extend(self.data.iter().map(|input| quoted(&input.to_string())));
        if let Some(schema) = &self.schema {
            words.push(format!("--schema {}", quoted(&schema.to_string_lossy())));
        }
        if let Some(front) = &self.front {
            words.push(format!("--front {}", quoted(&front.to_string_lossy())));
        }
        words.extend(self.row.iter().map(|row| format!("--row {row}")));
        words.push(format!("-o {}", quoted(&self.output.to_string_lossy())));
        words.join(" ")
    }
}

/// Returns the command that made a model, by its card; of a merged one also that of its shards.
fn made_by(card: &Card) -> String {
    let is_merged = card.options.contains_key(Card::MERGED);
    let options =
        card.options.iter().filter(|(flag, _)| flag.as_str() != Card::MERGED).map(|(flag, value)| {
            match value.as_str() {
                "yes" => format!("--{flag}"),
                value => format!("--{flag} {}", quoted(value)),
            }
        });
    let (shard, merge) = match is_merged {
        true => (" --encoding SHARED --checkpoint SHARD", "\nfeamoe merge SHARD... -o MODEL"),
        false => ("", ""),
    };
    let train = format!("feamoe train DATA --schema SCHEMA -o MODEL{shard}");
    [train].into_iter().chain(options).collect::<Vec<_>>().join(" ") + merge
}
