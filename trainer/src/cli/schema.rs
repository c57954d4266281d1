//! `feamoe schema`: a first schema from data.

use std::path::PathBuf;

use clap::Args;
use feamoe::infer::infer;
use feamoe::output::write_file;
use feamoe::rows::Input;

use super::{Outcome, files, print, refuse_overwriting};

/// The options of `feamoe schema`.
#[derive(Args, Debug)]
pub struct Options {
    /// A CSV (plain or gzip), Parquet or Arrow file; - for standard input
    #[arg(value_name = "DATA")]
    data: Input,
    /// Where the schema goes; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    if let Some(path) = &options.output {
        refuse_overwriting("--output", path, files(std::slice::from_ref(&options.data)))?;
    }
    let text = infer(&options.data)?;
    match &options.output {
        Some(path) => write_file(path, text.as_bytes())?,
        None => print::text(&text)?,
    }
    Ok(Outcome::Done)
}
