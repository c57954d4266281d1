//! `feamoe export`: a copy of a model for a device.

use std::path::PathBuf;

use clap::Args;
use feamoe::export::device_copy;
use feamoe::output::OutputFile;
use feamoe_engine::limits::MAX_BACKGROUND_ROWS;
use serde::Serialize;

use super::{Format, FormatOption, Outcome, load_model, read_blob, refuse_overwriting, whole};
use super::{delta, print};

/// The options of `feamoe export`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Where the copy goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Leave the names of features and levels out: records are then set by index and code
    #[arg(long)]
    strip_names: bool,
    /// Background records that go along, the first ones of the model's; none are needed but for Shapley values on the device
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u16>(0..=MAX_BACKGROUND_ROWS as u64))]
    background: u16,
    /// Write what turns this older model into MODEL, byte by byte, in place of a copy: both as devices have them, that is, copied for them before
    #[arg(long, value_name = "OLD", conflicts_with_all = ["strip_names", "background"])]
    delta: Option<PathBuf>,
    #[command(flatten)]
    format: FormatOption,
}

/// The JSON document of `feamoe export`.
#[derive(Debug, Serialize)]
struct Report {
    path: PathBuf,
    bytes: usize,
    /// Of the model that was copied.
    bytes_before: usize,
    crc32: String,
    names: bool,
    background_rows: usize,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    if let Some(old) = &options.delta {
        return delta::run(old, &options.model, &options.output, options.format);
    }
    refuse_overwriting("--output", &options.output, [options.model.as_path()])?;
    let mut file = OutputFile::create(&options.output)?;
    let blob = read_blob(&options.model)?;
    load_model(&options.model, &blob)?;
    let copy = device_copy(&blob, !options.strip_names, options.background)?;
    let model = load_model(&options.output, &copy)?;
    file.write_whole(copy.as_slice())?;
    file.commit()?;
    let report = Report {
        path: options.output.clone(),
        bytes: model.blob_bytes(),
        bytes_before: blob.as_slice().len(),
        crc32: format!("{:08x}", model.crc32()),
        names: model.schema().positive_name().is_some(),
        background_rows: model.background_rows(),
    };
    match options.format.format {
        Format::Json => print::json(&report)?,
        Format::Text => print::text(&format!(
            "wrote {} ({} bytes of {}, CRC-32 {}): {} names, {} background records\n",
            report.path.display(),
            report.bytes,
            report.bytes_before,
            report.crc32,
            if report.names { "with" } else { "without" },
            report.background_rows,
        ))?,
    }
    Ok(Outcome::Done)
}
