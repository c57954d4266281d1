//! `feamoe export --delta`: a file that turns an older model into a newer one.

use std::path::Path;

use anyhow::Context as _;
use feamoe::model::{DeltaError, delta};
use feamoe_engine::Blob;
use schemars::JsonSchema;
use serde::Serialize;

use super::print;
use super::{Format, FormatOption, Outcome, load_any, read_blob, refuse_overwriting};

/// The JSON document of `feamoe export --delta`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The file that was written.
    path: String,
    /// Size of the file in bytes.
    bytes: usize,
    /// Size of the new model in bytes.
    model_bytes: usize,
    /// CRC-32 of the old model, 8 hexadecimal digits.
    old_crc32: String,
    /// CRC-32 of the new model, 8 hexadecimal digits.
    crc32: String,
}

/// Writes the delta from `old` to `new`; `verify` must accept the bytes of `new`.
pub fn run(
    old: &Path,
    new: &Path,
    output: &Path,
    verify: impl FnOnce(&[u8]) -> anyhow::Result<()>,
    format: FormatOption,
) -> anyhow::Result<Outcome> {
    refuse_overwriting("--output", output, [old, new])?;
    let mut file = print::create_binary(output)?;
    let (old_blob, new_blob) = (read_blob(old)?, read_blob(new)?);
    verify(new_blob.as_slice())?;
    let (old_loaded, loaded) = (load_any(old, &old_blob)?, load_any(new, &new_blob)?);
    let (old_model, model) = (old_loaded.any(), loaded.any());
    let background_rows = Blob::new(new_blob.as_slice())?.background_rows();
    let bytes = match delta(&old_blob, &new_blob) {
        Err(error @ DeltaError::NoSmaller { .. }) if background_rows > 0 => {
            return Err(error)
                .context("background records are encoded whole: make copies without them by export first");
        }
        result => result?,
    };
    file.write_whole(&bytes)?;
    file.commit()?;
    let report = Report {
        path: output.display().to_string(),
        bytes: bytes.len(),
        model_bytes: new_blob.as_slice().len(),
        old_crc32: format!("{:08x}", old_model.crc32()),
        crc32: format!("{:08x}", model.crc32()),
    };
    match format.format {
        Format::Json => print::json(&report)?,
        Format::Text => print::text(&format!(
            "wrote {} ({} bytes): turns {} (CRC-32 {}) into {} (CRC-32 {}, {} bytes)\n",
            report.path,
            report.bytes,
            old.display(),
            report.old_crc32,
            new.display(),
            report.crc32,
            report.model_bytes,
        ))?,
    }
    Ok(Outcome::Done)
}
