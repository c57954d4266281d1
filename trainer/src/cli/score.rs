//! `feamoe score`: probability and decision of every record, as CSV.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use feamoe::judge::binding::Binding;
use feamoe::model::{AnyModel, AnyRecord};
use feamoe::rows::{Source as _, open};
use feamoe_engine::schema::Note;

use super::print::csv_field;
use super::{Outcome, Source, TableOption, load_any, print, read_blob};

/// The options of `feamoe score`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Where the scores go; without it, standard output. Columns: row, probability, decision, the
    /// score that decides where it is not the probability, notes
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
    if let Some(path) = &options.output {
        options.source.refuse_overwriting("--output", path, &options.table)?;
    }
    let blob = read_blob(&options.source.model)?;
    let model = load_any(&options.source.model, &blob)?;
    print::write(options.output.as_deref(), |out| write_scores(model.any(), options, &table, out))?;
    Ok(Outcome::Done)
}

fn write_scores(
    model: AnyModel<'_>,
    options: &Options,
    table: &feamoe::schema::Table,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut records = open(&options.source.data, table)?;
    let binding = Binding::of(model.schema(), |name| records.column(name, "the model"))?;
    records.want(&binding.columns());
    let names: Vec<&str> = (0..).map_while(|index| model.schema().feature_name(index)).collect();

    // The score that decides, where that is not the probability.
    let is_calibrated = model.is_calibrated();
    write!(out, "row,probability,decision{}", if is_calibrated { ",score" } else { "" })?;
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
        let probability = model.calibrated(&record, &score)?;
        // `{}` of an f32 prints the fewest digits that read back the same f32.
        write!(out, "{},{probability},{}", row.position.number, u8::from(score.decision))?;
        if is_calibrated {
            write!(out, ",{}", score.probability)?;
        }
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
fn notes(record: &AnyRecord<'_>, names: &[&str]) -> String {
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
