//! `feamoe sign`: makes keys, signs models with them, and derives the keys of devices.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use feamoe::judge::fleet::{device_named, open_key, write_device_key};
use feamoe::keys::{self, Written};
use feamoe::model::{AlignedBytes, AnyModel, schema_sha256, sign};
use feamoe::output::STANDARD_OUTPUT;
use feamoe_engine::format::Provenance;
use feamoe_engine::monitor::DeviceId;
use feamoe_engine::signature::is_line;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Format, FormatOption, Outcome, load_any, print, read_blob, refuse_overwriting, whole};

/// The options of `feamoe sign`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model, in the form that devices or services get; any later change, including by export,
    /// removes the signature
    #[arg(value_name = "MODEL", required_unless_present_any = ["new_key", "device_key"], requires_all = ["key", "line", "model_version", "output"])]
    model: Option<PathBuf>,
    /// Private key, PKCS#8 PEM, in a file readable only by its owner
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Line of models that the model belongs to, such as loans-eu; a device accepts models of one
    /// line only. 1 to 32 characters of a-z, 0-9, - . _
    #[arg(long, value_name = "NAME", value_parser = line)]
    line: Option<String>,
    /// Version of the model within its line; increase it for each new model, since devices refuse
    /// versions lower than their own
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u32>(0..=u32::MAX.into()))]
    model_version: Option<u32>,
    /// Output file of the signed copy; - for standard output, in which case the report goes to
    /// standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The model with names that MODEL was exported from without names; the signature then covers
    /// the names too
    #[arg(long, value_name = "MODEL")]
    names_of: Option<PathBuf>,
    /// Make a key pair instead: the private key in this file, the public key in FILE.pub
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "key", "line", "model_version", "output", "names_of"])]
    new_key: Option<PathBuf>,
    /// Instead write the secret key with which the device of this id authenticates its statuses,
    /// derived from the key of the fleet: 64 hexadecimal digits, in a file readable only by its
    /// owner. The id is 1 to 16 visible ASCII characters or 32 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = device, requires_all = ["key_file", "output"], conflicts_with_all = ["model", "key", "line", "model_version", "names_of", "new_key"])]
    device_key: Option<DeviceId>,
    /// File with the secret key of the fleet, as for monitor: 64 hexadecimal digits, readable only
    /// by its owner
    #[arg(long, value_name = "FILE", requires = "device_key")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    format: FormatOption,
}

/// The JSON document of `feamoe sign`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The file that was written.
    path: String,
    /// Size of the file in bytes.
    bytes: usize,
    /// SHA-256 of the file, 64 hexadecimal digits.
    sha256: String,
    /// The line of models.
    line: String,
    /// The version of the model within its line.
    model_version: u32,
    /// SHA-256 of the public key (SPKI in DER), 64 hexadecimal digits.
    key_sha256: String,
    /// SHA-256 of the names, kinds and levels of the features, 64 hexadecimal digits.
    schema_sha256: String,
}

/// The JSON document of `feamoe sign --new-key`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewKey {
    /// The file with the private key.
    private_key: String,
    /// The file with the public key.
    public_key: String,
    /// Whether the private key already existed. If so, only the public key was written.
    had_private: bool,
    /// SHA-256 of the public key (SPKI in DER), 64 hexadecimal digits.
    key_sha256: String,
}

/// The JSON document of `feamoe sign --device-key`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeviceKey {
    /// The file with the secret key of the device.
    device_key: String,
    /// The device.
    device: String,
}

/// Parses the name of a line of models.
pub fn line(text: &str) -> Result<String, String> {
    match is_line(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 32 characters of a-z, 0-9, - . _".to_owned()),
    }
}

/// Returns the SHA-256 of a file's bytes, as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let Options { model, key, line, model_version, output, .. } = options;
    match (&options.new_key, model, key, line, model_version, output) {
        (Some(path), ..) => new_key(path, options.format)?,
        (None, Some(model), Some(key), Some(line), Some(version), Some(output)) => {
            let names_of = options.names_of.as_deref();
            signed(model, names_of, key, (line, *version), output, options.format)?;
        }
        // Unreachable: the options require each other.
        _ => {
            if let (Some(device), Some(fleet), Some(output)) = (&options.device_key, &options.key_file, output) {
                device_key(device, fleet, output, options.format)?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// Parses the id of a device.
fn device(text: &str) -> Result<DeviceId, String> {
    device_named(text).ok_or_else(|| "expected 1 to 16 visible ASCII characters, or 32 hexadecimal digits".to_owned())
}

fn device_key(device: &DeviceId, fleet: &Path, output: &Path, format: FormatOption) -> anyhow::Result<()> {
    ensure!(
        output != Path::new(STANDARD_OUTPUT),
        "found --output -, expected a file: the key is secret, and its file must be readable only by its owner"
    );
    write_device_key(output, &open_key(fleet)?, device)?;
    let report = DeviceKey { device_key: output.display().to_string(), device: device.to_string() };
    match format.format {
        Format::Json => print::json(&report),
        Format::Text => print::text(&format!(
            "wrote the secret key of the device {} to {}: copy it to that device only, then delete the file\n",
            report.device, report.device_key
        )),
    }
}

fn new_key(path: &Path, format: FormatOption) -> anyhow::Result<()> {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let Written { public: key, had_private } = keys::write_new(path, &public)?;
    let report = NewKey {
        private_key: path.display().to_string(),
        public_key: public.display().to_string(),
        had_private,
        key_sha256: hex(&keys::fingerprint(&key)),
    };
    match format.format {
        Format::Json => print::json(&report),
        Format::Text => print::text(&format!(
            "{} {} (keep it secret and back it up) and {}the public key {}\nkey SHA-256 {}\n",
            if had_private { "found the private key" } else { "wrote the private key" },
            report.private_key,
            if had_private { "wrote " } else { "" },
            report.public_key,
            report.key_sha256
        )),
    }
}

fn signed(
    model: &Path,
    names_of: Option<&Path>,
    key: &Path,
    (line, model_version): (&str, u32),
    output: &Path,
    format: FormatOption,
) -> anyhow::Result<()> {
    refuse_overwriting("--output", output, [model, key].into_iter().chain(names_of))?;
    let mut file = print::create_binary(output)?;
    let blob = read_blob(model)?;
    let own = load_any(model, &blob)?;
    let other: Option<(AlignedBytes, &Path)> = names_of.map(|path| anyhow::Ok((read_blob(path)?, path))).transpose()?;
    let other = other.as_ref().map(|(blob, path)| load_any(path, blob)).transpose()?;
    if let (Some(other), Some(names_of)) = (&other, names_of) {
        check_origin(own.any(), other.any())
            .with_context(|| format!("{}: {} was not exported from this model", names_of.display(), model.display()))?;
    }
    let schema = other.as_ref().unwrap_or(&own).any().schema();
    let private = keys::read_private(key)?;
    let copy = sign(&blob, schema, &private, line, model_version)
        .with_context(|| format!("cannot sign {}", model.display()))?;
    file.write_whole(copy.as_slice())?;
    file.commit()?;
    let public = feamoe_engine::signature::PublicKey(private.verifying_key().to_bytes());
    let report = Report {
        path: output.display().to_string(),
        bytes: copy.as_slice().len(),
        sha256: sha256(copy.as_slice()),
        line: line.to_owned(),
        model_version,
        key_sha256: hex(&keys::fingerprint(&public)),
        schema_sha256: hex(&schema_sha256(schema).unwrap_or_default()),
    };
    match format.format {
        Format::Json => print::json(&report),
        Format::Text => print::text(&format!(
            "wrote {} ({} bytes), signed as {} version {}\nSHA-256 {}\nkey SHA-256 {}\nschema SHA-256 {}\n",
            report.path,
            report.bytes,
            report.line,
            report.model_version,
            report.sha256,
            report.key_sha256,
            report.schema_sha256
        )),
    }
}

/// Checks that one model can be a copy of another: both come from the same training run and agree
/// in all names that the copy has.
fn check_origin(copy: AnyModel<'_>, other: AnyModel<'_>) -> anyhow::Result<()> {
    let trained = |model: AnyModel<'_>| {
        let Provenance { data_sha256, training_rows, seed, .. } = model.provenance();
        format!("trained on {training_rows} rows of data {} with seed {seed}", hex(data_sha256))
    };
    let (found, expected) = (trained(other), trained(copy));
    ensure!(found == expected, "found one {found}, expected one {expected}");
    let names = |model: AnyModel<'_>| schema_sha256(model.schema());
    ensure!(
        names(copy).is_none() || names(copy) == names(other),
        "found names that differ from those of the model to sign; leave out --names-of"
    );
    Ok(())
}
