//! `feamoe inspect`: what a model holds.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use feamoe::keys;
use feamoe::model::card::Card;
use feamoe::model::costs::{Call, Costs, DEVICES, Device, Shape};
use feamoe::model::{Loaded, schema_sha256};
use feamoe_engine::format::VERSION;
use feamoe_engine::integer::Number;
use feamoe_engine::schema::{Kind, Schema, Transform};
use feamoe_engine::signature::{Signature, Signers, TrustError, Versions};
use schemars::JsonSchema;
use serde::Serialize;

use super::card;
use super::print::{self, TextTable};
use super::sign;
use super::{Format, FormatOption, Outcome, load_any, read_blob, read_card};

/// The options of `feamoe inspect`.
#[derive(Args, Debug)]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Predict the cost of the model on this device: instructions, stack, flash and RAM. Only
    /// cortex-m4f has a floating-point unit [default: none]
    #[arg(long, value_name = "DEVICE", value_parser = device())]
    device: Option<&'static Device>,
    /// Verify that the model is signed with this public key (PEM); may be given several times, and
    /// one of the keys must have signed it. The exit code is 1 if verification fails
    #[arg(long, value_name = "KEY")]
    verify: Vec<PathBuf>,
    /// Also verify that the model is signed for this line of models [default: any line, which the
    /// report states]
    #[arg(long, value_name = "NAME", requires = "verify", value_parser = sign::line)]
    line: Option<String>,
    #[command(flatten)]
    format: FormatOption,
}

fn device() -> impl clap::builder::TypedValueParser<Value = &'static Device> {
    PossibleValuesParser::new(DEVICES.iter().map(|device| device.name))
        .try_map(|name| Device::named(&name).ok_or("no such device"))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Inspection {
    /// Version of the blob format that this command reads.
    format_version: u16,
    /// Size of the file in bytes.
    bytes: usize,
    /// CRC-32 of the model, 8 hexadecimal digits.
    crc32: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    sha256: String,
    /// The contents of the signature, whether verified or not; null for a model that is not signed.
    signature: Option<SignatureView>,
    /// Whether the model has a signature section that the format does not allow; such a section is
    /// not a signature.
    malformed_signature: bool,
    /// Whether one of the given keys has signed the model; null if no key was given.
    verified: Option<bool>,
    /// Why verification failed; null if it did not.
    not_verified: Option<String>,
    /// Whether the signature was checked for a given line of models; null if no key was given.
    line_checked: Option<bool>,
    /// Whether every possible logit is within the limit, so that scoring needs no clamping; always
    /// true for integer weights.
    bounded: bool,
    /// The encoding of integer weights; null for float weights.
    integer: Option<IntegerWeights>,
    /// Number of experts.
    experts: usize,
    /// Lowest score with a favourable decision.
    threshold: f32,
    /// Name of the favourable outcome; null if names were stripped.
    positive: Option<String>,
    /// The capacity `Model<FEATURES, EXPERTS>` that holds the model; EXPERTS is even.
    capacity: Capacity,
    /// The background records; null if the model carries none.
    background: Option<Background>,
    /// The training data, and the version of the trainer.
    training: Training,
    /// The card, which states how the model was made; null if the model carries none.
    card: Option<Card>,
    /// The features, in the order of their indices.
    features: Vec<FeatureView>,
    /// The costs on the given device; null if no device was given.
    device: Option<Costs>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct IntegerWeights {
    /// Bits of a weight: 16 or 8.
    bits: u8,
    /// Number of fraction bits of the scale of a weight row.
    fraction_bits: u8,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Capacity {
    /// The constant FEATURES.
    features: usize,
    /// The constant EXPERTS.
    experts: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Background {
    /// Number of records.
    rows: usize,
    /// Size of the records in the file, in bytes.
    bytes: usize,
}

/// The contents of a signature.
#[derive(Debug, Serialize, JsonSchema)]
struct SignatureView {
    /// The line of models.
    line: String,
    /// The version of the model within its line.
    model_version: u32,
    /// SHA-256 of the public key (SPKI in DER), 64 hexadecimal digits.
    key_sha256: String,
    /// SHA-256 of the names, kinds and levels of the features, 64 hexadecimal digits.
    schema_sha256: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Training {
    /// Number of training rows.
    rows: u64,
    /// SHA-256 of the data, 64 hexadecimal digits.
    data_sha256: String,
    /// Seed of every random choice.
    seed: u64,
    /// Version of feamoe that trained the model.
    trainer_version: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FeatureView {
    /// Index of the feature on a device, from 0.
    index: usize,
    /// Name of the feature; null if names were stripped.
    name: Option<String>,
    /// `number` or `category`.
    kind: &'static str,
    /// For a number: its transform, `identity` or `log1p`; absent for a category.
    #[serde(skip_serializing_if = "Option::is_none")]
    transform: Option<&'static str>,
    /// For a number: the lowest and the highest value that is not clamped; absent for a category.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<[f32; 2]>,
    /// For a number: the number of bins, 0 without bins; absent for a category.
    #[serde(skip_serializing_if = "Option::is_none")]
    bins: Option<u16>,
    /// For a number in a model with integer weights: the number of fraction bits of its fixed-point
    /// unit; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction_bits: Option<i8>,
    /// For a category: the names of its levels, empty if names were stripped; absent for a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    levels: Option<Vec<String>>,
}

impl Options {
    /// Checks whether one of the given keys has signed the model; `None` if no key was given.
    fn verified(&self, blob: &[u8], schema: Schema<'_>) -> anyhow::Result<Option<Result<(), TrustError>>> {
        if self.verify.is_empty() {
            return Ok(None);
        }
        let keys = self.verify.iter().map(|path| keys::read_public(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Signature::claimed(blob).and_then(|claimed| {
            let line = self.line.as_deref().unwrap_or(claimed.line);
            let signers = Signers { keys: &keys, line, schema_sha256: schema_sha256(schema), versions: Versions::Any };
            signers.verify(blob).map(|_| ())
        })))
    }
}

impl SignatureView {
    /// Returns the contents of the signature, whether verified or not.
    fn new(claimed: &Signature<'_>) -> Self {
        Self {
            line: claimed.line.to_owned(),
            model_version: claimed.model_version,
            key_sha256: sign::hex(&keys::fingerprint(&claimed.key)),
            schema_sha256: sign::hex(&claimed.schema_sha256),
        }
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let blob = read_blob(&options.model)?;
    let model = load_any(&options.model, &blob)?;
    let (bounded, background_rows, integer) = match &model {
        Loaded::Float(model) => (model.bounded(), model.background_rows(), None),
        Loaded::Integer(model) => (true, 0, Some(model)),
    };
    let shape = match &model {
        Loaded::Float(model) => Shape::of(model),
        Loaded::Integer(model) => Shape::of_integers(model),
    };
    let card = read_card(&options.model, &blob)?;
    let device = options.device.map(|device| device.costs(&shape));
    let model = model.any();
    let schema = model.schema();
    let features = schema.features().iter().enumerate().map(|(index, feature)| {
        let name = schema.feature_name(index).map(str::to_owned);
        match feature.kind() {
            Kind::Number { transform, low, high, bins, .. } => FeatureView {
                index,
                name,
                kind: "number",
                transform: Some(match transform {
                    Transform::Identity => "identity",
                    Transform::Log1p => "log1p",
                }),
                range: Some([low, high]),
                bins: Some(bins),
                fraction_bits: integer.and_then(|model| model.number(index)).map(Number::fraction_bits),
                levels: None,
            },
            Kind::Category { .. } => FeatureView {
                index,
                name,
                kind: "category",
                transform: None,
                range: None,
                bins: None,
                fraction_bits: None,
                levels: Some(schema.level_names(index).map(str::to_owned).collect()),
            },
        }
    });
    let claimed = Signature::claimed(blob.as_slice());
    let verified = options.verified(blob.as_slice(), schema)?;
    let provenance = model.provenance();
    let (major, minor, patch) = provenance.trainer_version;
    let inspection = Inspection {
        format_version: VERSION,
        bytes: blob.as_slice().len(),
        crc32: format!("{:08x}", model.crc32()),
        sha256: sign::sha256(blob.as_slice()),
        signature: claimed.as_ref().ok().map(SignatureView::new),
        malformed_signature: matches!(claimed, Err(TrustError::Malformed)),
        verified: verified.map(|verified| verified.is_ok()),
        not_verified: verified.and_then(Result::err).map(|error| error.to_string()),
        line_checked: verified.map(|_| options.line.is_some()),
        bounded,
        integer: integer
            .map(|model| IntegerWeights { bits: model.format().bits, fraction_bits: model.format().fraction }),
        experts: model.experts(),
        threshold: model.threshold(),
        positive: schema.positive_name().map(str::to_owned),
        capacity: Capacity { features: schema.features().len(), experts: model.experts().next_multiple_of(2) },
        background: (background_rows > 0).then(|| Background {
            rows: background_rows,
            bytes: background_rows
                * schema.features().iter().map(|feature| feature.kind().value_bytes()).sum::<usize>(),
        }),
        training: Training {
            rows: provenance.training_rows,
            data_sha256: sign::hex(&provenance.data_sha256),
            seed: provenance.seed,
            trainer_version: format!("{major}.{minor}.{patch}"),
        },
        card,
        features: features.collect(),
        device,
    };
    match options.format.format {
        Format::Json => print::json(&inspection)?,
        Format::Text => print::text(&render(&inspection))?,
    }
    Ok(if inspection.verified == Some(false) { Outcome::CheckNotMet } else { Outcome::Done })
}

fn render(i: &Inspection) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "format version {}, {} bytes, CRC-32 {}\nSHA-256 {}\n{}\n{} experts, threshold {}, favourable outcome {}\nneeds {}Model<{}, {}>{}\n\
         trained on {} rows by feamoe {}, seed {}\ndata SHA-256 {}\n{}\n",
        i.format_version,
        i.bytes,
        i.crc32,
        i.sha256,
        render_signature(i),
        i.experts,
        i.threshold,
        i.positive.as_deref().unwrap_or("(names stripped)"),
        if i.integer.is_some() { "integer::" } else { "" },
        i.capacity.features,
        i.capacity.experts,
        match &i.integer {
            Some(weights) => format!("; weights of {} bits", weights.bits),
            None if i.bounded => String::new(),
            None => "; logits are not bounded, so scoring clamps them".into(),
        },
        i.training.rows,
        i.training.trainer_version,
        i.training.seed,
        i.training.data_sha256,
        match &i.background {
            Some(Background { rows, bytes }) => format!("background of {rows} records, {bytes} bytes"),
            None => "no background".into(),
        },
    );
    let mut table = TextTable::new(&["feature", "index", "kind", "values"]);
    for feature in &i.features {
        let values = match (&feature.range, &feature.levels) {
            (Some([low, high]), _) => {
                let transform = feature.transform.filter(|name| *name != "identity").map_or("", |_| ", log1p");
                let unit =
                    feature.fraction_bits.map_or_else(String::new, |bits| format!(", unit 2^{}", -i32::from(bits)));
                format!("{low} to {high}{transform}, {} bins{unit}", feature.bins.unwrap_or(0))
            }
            (None, Some(levels)) if levels.len() <= 4 => levels.join(", "),
            (None, Some(levels)) => format!(
                "{}, ... ({} levels)",
                levels.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
                levels.len()
            ),
            (None, None) => String::new(),
        };
        let name = feature.name.clone().unwrap_or_default();
        table.row([name, feature.index.to_string(), feature.kind.into(), values]);
    }
    text.push_str(&table.render());
    text.push_str(&i.card.as_ref().map_or_else(String::new, card::render));
    text + &i.device.as_ref().map(render_costs).unwrap_or_default()
}

fn render_signature(i: &Inspection) -> String {
    let said = match &i.signature {
        None if i.malformed_signature => {
            "not signed: the signature section is not one that the format allows".to_owned()
        }
        None => "not signed".to_owned(),
        Some(SignatureView { line, model_version, key_sha256, schema_sha256 }) => {
            format!("signed as {line} version {model_version} by key {key_sha256}\nschema SHA-256 {schema_sha256}")
        }
    };
    match (&i.not_verified, i.verified) {
        (Some(why), _) => format!("{said}\nNOT VERIFIED: {why}"),
        (None, Some(_)) if i.line_checked == Some(true) => {
            format!("{said}\nverified: a key of --verify has signed these bytes for this line")
        }
        (None, Some(_)) => format!(
            "{said}\nverified: a key of --verify has signed these bytes; the line was not checked; name it with --line"
        ),
        (None, None) if i.signature.is_some() => format!("{said}\nnot verified: no key was given with --verify"),
        (None, None) => said,
    }
}

fn render_costs(costs: &Costs) -> String {
    let mut calls = TextTable::new(&["call", "instructions", "stack, bytes"]);
    for Call { name, instructions, most_instructions, stack_bytes } in &costs.calls {
        let most = if most_instructions > instructions { format!(" to {most_instructions}") } else { String::new() };
        calls.row([(*name).into(), format!("{instructions}{most}"), stack_bytes.to_string()]);
    }
    let mut flash = TextTable::new(&["flash, bytes", "opt-level 3", "opt-level s"]);
    for line in &costs.flash {
        flash.row([line.name.into(), line.bytes.to_string(), line.bytes_at_s.to_string()]);
    }
    let mut ram = TextTable::new(&["RAM, bytes, if it is used", ""]);
    for line in &costs.ram {
        ram.row([line.name.clone(), line.bytes.to_string()]);
    }
    format!(
        "\non {}, at opt-level 3 by {}; instructions are not cycles; an explanation includes its score{}\n\n\
         {}\n{}\n{}",
        costs.device,
        costs.compiler,
        if costs.calls.iter().any(|call| call.most_instructions > call.instructions) {
            ", a path takes more if the gate switches"
        } else {
            ""
        },
        calls.render(),
        flash.render(),
        ram.render()
    )
}
