//! `feamoe schema`: infers a schema from data.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use feamoe::infer::{self, Inferred, Open, infer};
use feamoe::output::write_file;
use feamoe::rows::Input;

use super::{Outcome, files, print, refuse_overwriting, whole};

const EXIT: &str = "\
Exit codes: 0 done; 2 usage, input or I/O, and if the target or its favourable outcome is not clear: the schema is then written with empty places, which --target \
and --positive fill.

Decisions, what to check and the next command go to standard error.";

/// The options of `feamoe schema`.
#[derive(Args, Debug)]
#[command(after_help = EXIT)]
pub struct Options {
    /// A CSV (plain or gzip), Parquet or Arrow file; - for standard input
    #[arg(value_name = "DATA")]
    data: Input,
    /// Output file of the schema; standard output if omitted or -
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The column to predict
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// The value of the target that is the favourable outcome; all other values are the
    /// unfavourable one
    #[arg(long, value_name = "VALUE")]
    positive: Option<String>,
    /// Columns to protect; numbers are cut into groups. Other columns that look protected by their
    /// names become comments
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    protected: Vec<String>,
    /// Read only the first N records
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    rows: Option<u64>,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    if let Some(path) = &options.output {
        refuse_overwriting("--output", path, files(std::slice::from_ref(&options.data)))?;
    }
    let known = infer::Options {
        rows: options.rows.unwrap_or(u64::MAX),
        target: options.target.clone(),
        positive: options.positive.clone(),
        protected: options.protected.clone(),
    };
    let Inferred { text, summary, open } = infer(&options.data, &known)?;
    match &options.output {
        Some(path) if !print::is_standard_output(path) => write_file(path, text.as_bytes())?,
        _ => print::verbatim(&text)?,
    }
    summary.iter().for_each(|line| print::note(line));
    let schema = options
        .output
        .as_ref()
        .filter(|path| !print::is_standard_output(path))
        .map_or_else(|| "SCHEMA".into(), |path| path.display().to_string());
    let missing = open.map(|open| match open {
        Open::Target(message) => (message, "--target COLUMN"),
        Open::Outcome(message) => (message, "--positive VALUE"),
    });
    if let Some((message, flag)) = missing {
        bail!("{}: {message}; give it with {flag}, or fill it in in {schema}", options.data);
    }
    print::note(&format!("next: feamoe train {} --schema {schema} -o MODEL", options.data));
    Ok(Outcome::Done)
}
