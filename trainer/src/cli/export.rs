//! `feamoe export`: a copy of a model for a device.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use feamoe::judge;
use feamoe::keys;
use feamoe::learner::ThresholdRule;
use feamoe::model::{AlignedBytes, AnyModel, DeviceError, Language, constants, device_copy, onnx, with_threshold};
use feamoe::rows::{Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::Trainer;
use feamoe::training::checkpoint::{self, Checkpoint};
use feamoe_engine::Blob;
use feamoe_engine::format::Weights;
use feamoe_engine::limits::MAX_BACKGROUND_ROWS;
use feamoe_engine::signature::{Signature, TrustError};
use feamoe_engine::slots::{self, MAX_WORD, SlotError};
use schemars::JsonSchema;
use serde::Serialize;

use super::experts::{self, ExpertsOptions, Merged};
use super::quantize::{self, QuantizeOptions, Quantized, RowsOptions};
use super::{Format, FormatOption, Outcome, files, load_any, read_blob, refuse_overwriting, whole};
use super::{delta, print, sign};

/// The options of `feamoe export`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model, or the checkpoint of a run, whose current model is then exported
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Output file of the copy; - for standard output, in which case the report goes to standard
    /// error
    #[arg(short, long, value_name = "FILE", required_unless_present = "onnx")]
    output: Option<PathBuf>,
    /// Write an ONNX model instead, with one input per feature and label, probability, score, gate
    /// and attributions as outputs. Its scores are close to the model's own, usually within 1e-6
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "strip_names", "background", "delta",
        "constants", "factory", "quantize", "max_difference", "max_changed_decisions", "max_gap_change"])]
    onnx: Option<PathBuf>,
    /// Leave out the names of features and levels; records are then set by index and code
    #[arg(long)]
    strip_names: bool,
    /// Number of the model's background records to keep, from the first on; they are needed only
    /// for Shapley values on the device [default: 0; all with --experts if no option asks for a
    /// copy for a device]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u16>(0..=MAX_BACKGROUND_ROWS as u64))]
    background: Option<u16>,
    /// Decision threshold of the copy: a score, or a rule applied to the rows of --data, as in
    /// `feamoe train`
    #[arg(long, value_name = "T|auto:...", allow_negative_numbers = true)]
    threshold: Option<ThresholdRule>,
    #[command(flatten)]
    rows: RowsOptions,
    /// Write a delta instead, which turns this older model into MODEL, byte for byte. Both must be
    /// the copies that devices have, that is, exported before
    #[arg(long, value_name = "OLD", conflicts_with_all = ["strip_names", "background", "constants", "threshold"])]
    delta: Option<PathBuf>,
    /// Write source code instead: feature indices and level codes as constants, the checksum to
    /// compare with and, for C, the copy itself as an array. C identifiers start with the name of
    /// the file
    #[arg(long, value_name = "LANGUAGE")]
    constants: Option<ConstantsOption>,
    /// Write the flash image that a factory programs instead: both slots of a device, each of
    /// SLOT_BYTES and with the copy in it, confirmed. SLOT_BYTES is a multiple of the flash's erase
    /// unit
    #[arg(long, value_name = "SLOT_BYTES", conflicts_with_all = ["delta", "constants"], value_parser = whole::<u32>(1..=1 << 30))]
    factory: Option<u32>,
    /// Write unit of the flash in bytes, for --factory: a power of two from 1 to 512
    #[arg(long, value_name = "BYTES", requires = "factory", default_value_t = 8, value_parser = word)]
    word: u16,
    /// Value of erased flash, for --factory
    #[arg(long, value_name = "BITS", requires = "factory", default_value = "ones")]
    erased: Erased,
    /// Public key (PEM) that must have signed the model; may be given several times, and one of the
    /// keys must have signed it. The version of the model is not checked [default: a signed model
    /// is copied with a note that it was not verified]
    #[arg(long, value_name = "KEY")]
    verify: Vec<PathBuf>,
    /// Also refuse a model that is signed for another line of models [default: any line, with a
    /// note]
    #[arg(long, value_name = "NAME", requires = "verify", value_parser = sign::line)]
    line: Option<String>,
    #[command(flatten)]
    experts: ExpertsOptions,
    #[command(flatten)]
    quantize: QuantizeOptions,
    #[command(flatten)]
    format: FormatOption,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ConstantsOption {
    /// A header for C99 or later, and for C++
    C,
    /// A module for `mod` or `include!`; the model itself is exported without this option and
    /// embedded with include_model!
    Rust,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Erased {
    /// Bytes ff, as in most flash
    Ones,
    /// Bytes 00
    Zeros,
}

/// Parses the write unit of a flash.
fn word(text: &str) -> Result<u16, String> {
    let word = text.parse().ok().filter(|word: &u16| word.is_power_of_two() && usize::from(*word) <= MAX_WORD);
    word.ok_or_else(|| format!("expected a power of two from 1 to {MAX_WORD}"))
}

/// The JSON document of `feamoe export`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The file that was written.
    path: String,
    /// Size of the file in bytes; for constants and a factory image, size of the copy in it.
    bytes: usize,
    /// Size of the original model in bytes.
    bytes_before: usize,
    /// CRC-32 of the copy, 8 hexadecimal digits.
    crc32: String,
    /// Decision threshold of the copy.
    threshold: f32,
    /// Whether the copy has the names of features and levels.
    names: bool,
    /// Number of background records of the copy.
    background_rows: usize,
    /// The language of the constants; null if the file is not source code.
    constants: Option<ConstantsOption>,
    /// Size of the image of both slots in bytes; null if the file is not a factory image.
    factory_bytes: Option<usize>,
    /// Size of the ONNX file in bytes; null if the file is not an ONNX model.
    onnx_bytes: Option<usize>,
    /// The changes from merging experts; null if none were merged.
    merging: Option<experts::Report>,
    /// The changes from integer weights; null for float weights.
    integer: Option<quantize::Report>,
}

impl Options {
    /// Returns the output path: exactly one of the two options is given.
    fn destination(&self) -> &Path {
        self.output.as_ref().or(self.onnx.as_ref()).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Returns the threshold that was asked for, if any.
    fn threshold(&self, model: AnyModel<'_>) -> anyhow::Result<Option<f32>> {
        match (self.threshold, &self.rows.schema) {
            (Some(ThresholdRule::Fixed(_)) | None, Some(_))
                if !self.quantize.is_asked() && !self.experts.is_asked() =>
            {
                bail!(
                    "--data is for --threshold auto:..., --quantize and --experts; add one of them, or leave --data out"
                )
            }
            (None, _) => Ok(None),
            (Some(ThresholdRule::Fixed(threshold)), _) => Ok(Some(threshold)),
            (Some(rule), None) => {
                bail!("--threshold {rule} needs labelled rows; name them with --data and --schema")
            }
            (Some(ThresholdRule::Auto(objective)), Some(path)) => {
                let schema = Schema::open(path)?;
                let mut stream = Stream::open(&self.rows.data, &schema, Use::Learn)?;
                let chosen = judge::threshold(model, &mut stream, objective)?;
                ensure!(chosen.is_some(), "the rows have only one outcome; choosing a threshold needs both");
                Ok(chosen)
            }
        }
    }

    /// Checks that the model is signed by one of the given keys, and for the given line. Returns
    /// whether it is signed.
    fn verify(&self, blob: &[u8]) -> anyhow::Result<bool> {
        let keys = self.verify.iter().map(|path| keys::read_public(path)).collect::<Result<Vec<_>, _>>()?;
        let verified = match Signature::claimed(blob) {
            Err(TrustError::NotSigned) if keys.is_empty() => return Ok(false),
            Err(error) => Err(error),
            Ok(claimed) if !keys.is_empty() && !keys.contains(&claimed.key) => Err(TrustError::OtherKey),
            Ok(claimed) if self.line.as_deref().is_some_and(|line| line != claimed.line) => Err(TrustError::OtherLine),
            Ok(claimed) if !claimed.holds_for(blob) => Err(TrustError::WrongSignature),
            Ok(_) => Ok(true),
        };
        match (&verified, &self.line) {
            (Ok(_), _) if keys.is_empty() => {
                print::note("note: the signature is not verified; name the trusted key with --verify");
            }
            (Ok(_), None) => {
                print::note(
                    "note: a key of --verify has signed these bytes; the line was not checked; name it with --line",
                );
            }
            _ => {}
        }
        verified.with_context(|| self.model.display().to_string())
    }

    /// Returns the copy: one for a device, unless merging experts is the only change asked for.
    fn copy(&self, blob: AlignedBytes) -> Result<AlignedBytes, DeviceError> {
        let is_for_device = self.background.is_some()
            || self.strip_names
            || self.quantize.is_asked()
            || self.constants.is_some()
            || self.factory.is_some();
        // A signed model is copied byte for byte unless an option changes it. The signature was
        // verified before.
        let is_changed = self.background.is_some() || self.strip_names || self.quantize.is_asked();
        if !is_changed
            && Signature::claimed(blob.as_slice()).is_ok()
            && (self.constants.is_some() || self.factory.is_some())
        {
            return Ok(blob);
        }
        match self.onnx.is_some() || (self.experts.is_asked() && !is_for_device) {
            true => Ok(blob),
            false => device_copy(&blob, !self.strip_names, self.background.unwrap_or(0)),
        }
    }

    /// Returns the image of both slots. The second slot holds the older copy, which the first
    /// update replaces.
    fn image(&self, blob: &[u8], slot_bytes: u32) -> anyhow::Result<Vec<u8>> {
        let erased = match self.erased {
            Erased::Ones => 0xff,
            Erased::Zeros => 0,
        };
        let slot_bytes = slot_bytes as usize;
        ensure!(
            slot_bytes.is_multiple_of(4),
            "--factory {slot_bytes} is not a multiple of 4, which a model used in place needs"
        );
        let mut image = vec![erased; 2 * slot_bytes];
        for (sequence, slot) in [1, 0].into_iter().zip(image.chunks_mut(slot_bytes)) {
            match slots::image(blob, sequence, self.word.into(), erased, slot) {
                Err(SlotError::TooLong { found, .. }) => bail!(
                    "the model needs slots of {found} bytes, but --factory gives {slot_bytes}; give more, or shrink the model with --strip-names or --quantize"
                ),
                written => written?,
            }
        }
        Ok(image)
    }
}

/// Returns the model in the ONNX format.
fn onnx_of(path: &Path, blob: &AlignedBytes) -> anyhow::Result<Vec<u8>> {
    ensure!(
        matches!(Blob::new(blob.as_slice())?.weights(), Weights::F32(_)),
        "{}: the model has integer weights, and the ONNX export needs float weights; name the model it was exported from",
        path.display()
    );
    onnx(blob).with_context(|| path.display().to_string())
}

/// Returns whether a file begins as a checkpoint does.
fn is_checkpoint(path: &Path) -> bool {
    let mut magic = [0; checkpoint::MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == checkpoint::MAGIC
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let output = options.destination();
    if let Some(old) = &options.delta {
        let verify = |new: &[u8]| options.verify(new).map(drop);
        return delta::run(old, &options.model, output, verify, options.format);
    }
    let read = files(&options.rows.data).chain(options.rows.schema.as_deref()).chain([options.model.as_path()]);
    let flag = if options.onnx.is_some() { "--onnx" } else { "--output" };
    refuse_overwriting(flag, output, read)?;
    let mut file = match options.constants {
        Some(_) => print::create(output)?,
        None => print::create_binary(output)?,
    };
    let blob = match is_checkpoint(&options.model) {
        true => Trainer::from_checkpoint(Checkpoint::read(&options.model)?)?.model()?.bytes,
        false => read_blob(&options.model)?,
    };
    let (bytes_before, was_signed) = (blob.as_slice().len(), options.verify(blob.as_slice())?);
    let merged = options.experts.merge(&load_any(&options.model, &blob)?, &blob, &options.rows)?;
    let (blob, merging) = match merged {
        Some(Merged { bytes, report }) => (bytes, Some(report)),
        None => (blob, None),
    };
    let threshold = options.threshold(load_any(&options.model, &blob)?.any())?;
    let blob = threshold.map(|threshold| with_threshold(&blob, threshold)).transpose()?.unwrap_or(blob);
    let named = load_any(&options.model, &blob)?;
    let mut copy = options.copy(blob.clone())?;
    let mut integer = None;
    if let Some(Quantized { bytes, report }) = options.quantize.quantize(&named, &copy, &options.rows)? {
        (copy, integer) = (bytes, Some(report));
    }
    let copied = load_any(output, &copy)?;
    if was_signed && options.onnx.is_none() && Signature::claimed(copy.as_slice()).is_err() {
        print::note(
            "note: the copy is not signed, since its bytes differ from the model's; sign it with `feamoe sign`",
        );
    }
    let image = options.factory.map(|slot_bytes| options.image(copy.as_slice(), slot_bytes)).transpose()?;
    let onnx = options.onnx.as_ref().map(|_| onnx_of(&options.model, &copy)).transpose()?;
    match options.constants {
        None => file.write_whole(onnx.as_deref().or(image.as_deref()).unwrap_or(copy.as_slice()))?,
        Some(language) => {
            let language = match language {
                ConstantsOption::C => Language::C,
                ConstantsOption::Rust => Language::Rust,
            };
            let stem = output.file_stem().unwrap_or_default().to_string_lossy();
            let text = constants(language, &stem, named.any().schema(), &Blob::new(copy.as_slice())?)?;
            file.write_whole(text.as_bytes())?;
        }
    }
    let merging_tolerated = merging.as_ref().is_none_or(experts::Report::check);
    let tolerated = integer.as_ref().is_none_or(quantize::Report::check) && merging_tolerated;
    if tolerated {
        file.commit()?;
    }
    let report = Report {
        path: output.display().to_string(),
        bytes: copy.as_slice().len(),
        bytes_before,
        crc32: format!("{:08x}", copied.any().crc32()),
        threshold: copied.any().threshold(),
        names: copied.any().schema().positive_name().is_some(),
        background_rows: Blob::new(copy.as_slice())?.background_rows(),
        constants: options.constants,
        factory_bytes: image.as_ref().map(Vec::len),
        onnx_bytes: onnx.as_ref().map(Vec::len),
        merging,
        integer,
    };
    match options.format.format {
        Format::Json => print::json(&report)?,
        Format::Text => print::text(&format!(
            "{}{}{} {}{} ({} bytes of {}, CRC-32 {}): threshold {}, {} names, {} background records\n",
            report.merging.as_ref().map_or_else(String::new, experts::Report::render),
            report.integer.as_ref().map_or_else(String::new, quantize::Report::render),
            if tolerated { "wrote" } else { "did not write" },
            report.path,
            match (options.constants, report.factory_bytes) {
                (None, None) => {
                    report
                        .onnx_bytes
                        .map_or_else(String::new, |bytes| format!(", {bytes} bytes of ONNX, from the model"))
                }
                (None, Some(bytes)) => format!(", {bytes} bytes, both slots of the model"),
                (Some(ConstantsOption::C), _) => ", constants and array of the model".to_owned(),
                (Some(ConstantsOption::Rust), _) => ", constants of the model".to_owned(),
            },
            report.bytes,
            report.bytes_before,
            report.crc32,
            report.threshold,
            if report.names { "with" } else { "without" },
            report.background_rows,
        ))?,
    }
    Ok(if tolerated { Outcome::Done } else { Outcome::CheckNotMet })
}
