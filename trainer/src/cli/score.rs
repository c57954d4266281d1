//! `feamoe score`: probability and decision of every record, as CSV.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use feamoe::blob_file::HostRecord;
use feamoe::output::{OutputFile, WriteError};
use feamoe::scoring::Binding;
use feamoe::stream::Records;
use feamoe_engine::schema::Note;

use super::{Outcome, Source, TableOption, files, load_model, read_blob, refuse_overwriting};

/// The options of `feamoe score`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Where the scores go; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Adds a column per expert with its gate weight
    #[arg(long)]
    gate: bool,
    #[command(flatten)]
    table: TableOption,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let table = options.table.table()?;
    // What fails without a name of its own is the writing.
    let named = |error: anyhow::Error, name: &dyn Fn(io::Error) -> WriteError| match error.downcast::<io::Error>() {
        Ok(cause) => name(cause).into(),
        Err(other) => other,
    };
    match &options.output {
        Some(path) => {
            let read = files(&options.source.data)
                .chain([options.source.model.as_path()])
                .chain(options.table.schema.as_deref());
            refuse_overwriting("--output", path, read)?;
            let mut file = OutputFile::create(path)?;
            let name = |cause| WriteError::new(path, cause);
            write_scores(options, &table, &mut file).map_err(|error| named(error, &name))?;
            file.commit()?;
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let written = write_scores(options, &table, &mut out).and_then(|()| Ok(out.flush()?));
            written.map_err(|error| named(error, &WriteError::standard_output))?;
        }
    }
    Ok(Outcome::Done)
}

fn write_scores(options: &Options, table: &feamoe::schema::Table, out: &mut dyn Write) -> anyhow::Result<()> {
    let blob = read_blob(&options.source.model)?;
    let model = load_model(&options.source.model, &blob)?;
    let mut records = Records::open(&options.source.data, table)?;
    let binding = Binding::new(&model, |name| records.column(name, "the model"))?;
    let names: Vec<&str> = (0..).map_while(|index| model.schema().feature_name(index)).collect();

    write!(out, "row,probability,decision")?;
    if options.gate {
        for expert in 1..=model.experts() {
            write!(out, ",gate_{expert}")?;
        }
    }
    writeln!(out, ",notes")?;
    let mut record = model.record();
    while records.advance()? {
        let row = records.record();
        binding.fill(&row, &mut record)?;
        let score = model.score(&record)?;
        // `{}` of an f32 prints the fewest digits that read back the same f32.
        write!(out, "{},{},{}", row.position.number, score.probability, u8::from(score.decision))?;
        if options.gate {
            for weight in score.gate.iter().take(model.experts()) {
                write!(out, ",{weight}")?;
            }
        }
        writeln!(out, ",{}", csv_field(&notes(&record, &names)))?;
    }
    Ok(())
}

/// Returns what is unusual about a record: `clamped: age; unseen: country`.
fn notes(record: &HostRecord<'_>, names: &[&str]) -> String {
    let mut notes = String::new();
    for (note, word) in [(Note::Clamped, "clamped"), (Note::Unseen, "unseen")] {
        let noted = record.notes().iter().zip(names).filter(|(found, _)| **found == note);
        for (place, (_, name)) in noted.enumerate() {
            if place > 0 {
                notes.push(' ');
            } else {
                notes.push_str(if notes.is_empty() { "" } else { "; " });
                notes.push_str(word);
                notes.push_str(": ");
            }
            notes.push_str(name);
        }
    }
    notes
}

/// Quotes a field where CSV needs it (RFC 4180).
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
