//! Blobs of released format versions load forever, and their scores have the same bits on every
//! machine.
//!
//! The blobs are `engine/golden/v1.feamoe` and the same model with a background
//! (`v1-background.feamoe`), with integer weights (`v1-i16.feamoe`) and signed
//! (`v1-signed.feamoe`). Each has its expected output in `.txt`. They are committed and never
//! regenerated once a release reads them. Until then, or for a new version, run
//! `FEAMOE_OVERWRITE_GOLDEN=1 cargo test -p feamoe-tests golden_blob::` and review the difference.

use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_tests::aligned;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use feamoe::model::AlignedBytes;
use feamoe::model::{Loaded, Width, quantize, sign};
use feamoe_engine::format::Provenance;
use feamoe_engine::format::background::MISSING_NUMBER;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::signature::Signature;
use feamoe_engine::{Attribution, FeatureIndex, Method, Model, integer};
use feamoe_testkit::explain_into;
use feamoe_testkit::generate::{Cell, Draw, fill};

const OVERWRITE: &str = "FEAMOE_OVERWRITE_GOLDEN";

/// A larger capacity than the model needs, which must not change the bits.
type GoldenModel<'a> = Model<'a, 8, 6>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/golden").join(name)
}

/// A model with every kind of feature, an odd number of experts, and names.
fn content() -> Content {
    const EXPERTS: usize = 3;
    let number = |transform, low, high, centre, bins| Kind::Number { transform, low, high, centre, bins };
    let kinds = [
        ("age", number(Transform::Identity, 17.0, 90.0, 38.5, 0), &[][..]),
        ("hours-per-week", number(Transform::Identity, 1.0, 99.0, 40.5, 4), &[]),
        ("capital-gain", number(Transform::Log1p, 0.0, 99_999.0, 0.75, 2), &[]),
        ("occupation", Kind::Category { levels: 3 }, &["Sales", "Craft-repair", "Prüfung"]),
    ];
    let mut draw = Draw::new(2023);
    let mut row = |reach: f32| -> Vec<f32> {
        (0..stride(EXPERTS)).map(|lane| if lane < 2 * EXPERTS { draw.between(-reach, reach) } else { 0.0 }).collect()
    };
    let bias = row(1.0);
    let mut rows = Vec::new();
    for (_, kind, _) in kinds {
        let linear = match kind {
            Kind::Number { transform, low, high, .. } => 3.0 / (transform.apply(high) - transform.apply(low)),
            Kind::Category { .. } => 2.0,
        };
        rows.extend(row(linear));
        (1..kind.rows()).for_each(|_| rows.extend(row(2.0)));
    }
    Content {
        threshold: 0.5,
        provenance: Provenance {
            training_rows: 32_561,
            data_sha256: std::array::from_fn(|i| i as u8),
            seed: 1,
            trainer_version: (0, 1, 0),
        },
        experts: EXPERTS,
        features: kinds
            .map(|(name, kind, levels)| FeatureContent {
                name: name.to_owned(),
                kind,
                levels: levels.iter().map(|&level| level.to_owned()).collect(),
            })
            .to_vec(),
        positive_name: ">50K".to_owned(),
        bias,
        rows,
        edges: vec![20.0, 39.5, 45.0, 1000.0],
        deviations: Vec::new(),
        calibration: Vec::new(),
        background: Vec::new(),
    }
}

/// Usual values, edges, clamped and infinite values, missing and unseen ones.
const RECORDS: [[Cell; 4]; 6] = [
    [Cell::Number(39.0), Cell::Number(40.0), Cell::Number(2174.0), Cell::Level(0)],
    [Cell::Number(17.0), Cell::Number(39.5), Cell::Number(0.0), Cell::Level(2)],
    [Cell::Number(90.5), Cell::Number(1.0), Cell::Number(f32::INFINITY), Cell::Unseen],
    [Cell::Missing, Cell::Number(99.0), Cell::Missing, Cell::Level(1)],
    [Cell::Number(f32::NAN), Cell::Number(f32::NEG_INFINITY), Cell::Number(999.999_94), Cell::Missing],
    [Cell::Missing; 4],
];

/// Renders everything that is read from a blob, with floats as their bits.
fn rendered(blob: &AlignedBytes) -> String {
    let model = GoldenModel::load(blob.as_slice()).unwrap();
    let mut text = String::new();
    let schema = model.schema();
    let (experts, count) = (model.experts(), schema.features().len());
    writeln!(text, "crc32 {:08x}, {} bytes, {experts} experts", model.crc32(), model.blob_bytes()).unwrap();
    writeln!(text, "threshold {}, favourable {:?}", model.threshold(), schema.positive_name().unwrap()).unwrap();
    let Provenance { training_rows, data_sha256, seed, trainer_version: (major, minor, patch) } = model.provenance();
    let sha: String = data_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(text, "trained by {major}.{minor}.{patch} on {training_rows} rows of {sha}, seed {seed}").unwrap();
    for (index, feature) in schema.features().iter().enumerate() {
        let (name, levels) = (schema.feature_name(index).unwrap(), schema.level_names(index).collect::<Vec<_>>());
        match feature.kind() {
            Kind::Number { transform, low, high, centre, bins } => {
                writeln!(text, "{name}: {transform:?} on [{low}, {high}], centre {centre}, {bins} bins").unwrap();
            }
            Kind::Category { levels: count } => writeln!(text, "{name}: {count} levels {levels:?}").unwrap(),
        }
    }
    let mut record = model.record();
    let mut attribution = Attribution::new();
    for cells in RECORDS {
        fill(&mut record, &cells).unwrap();
        writeln!(text, "\n{cells:?}\nnotes {:?}", record.notes()).unwrap();
        let mut line = |name: &str, values: &[f32]| {
            let bits: Vec<_> = values.iter().map(|value| format!("{:08x}", value.to_bits())).collect();
            writeln!(text, "{}", format!("{name:15} {}", bits.join(" ")).trim_end()).unwrap();
        };
        let score = model.score(&record).unwrap();
        line("p", &[score.probability]);
        line("gate", &score.gate[..experts]);
        line("experts", &score.expert_probabilities[..experts]);
        for method in [Method::Frozen, Method::Path] {
            explain_into(&model, &record, method, &mut attribution).unwrap();
            let Attribution { base_value, output, residual, gate_share, values, gate_values, .. } = attribution;
            line(method.name(), &[base_value, output, residual]);
            line("  gate share", gate_share.as_slice());
            line("  values", &values[..count]);
            line("  gate values", &gate_values[..count]);
        }
    }
    for row in 0..model.background_rows() {
        model.background_record(row, &mut record).unwrap();
        let p = model.score(&record).unwrap().probability;
        writeln!(text, "\nbackground {row}: p {:08x}\nnotes {:?}", p.to_bits(), record.notes()).unwrap();
    }
    text
}

/// The model with the records as its background.
fn with_background() -> Content {
    let mut content = content();
    let kinds: Vec<Kind> = content.features.iter().map(|feature| feature.kind).collect();
    for cells in RECORDS {
        for (cell, kind) in cells.into_iter().zip(&kinds) {
            let number = |x: f32| if x.is_nan() { MISSING_NUMBER } else { x.clamp(f32::MIN, f32::MAX) };
            content.background.extend(match (cell, kind) {
                (Cell::Number(x), _) => number(x).to_le_bytes().to_vec(),
                (Cell::Missing, Kind::Number { .. }) => MISSING_NUMBER.to_le_bytes().to_vec(),
                (Cell::Level(code), _) => code.to_le_bytes().to_vec(),
                (Cell::Unseen, Kind::Category { levels }) => levels.to_le_bytes().to_vec(),
                (Cell::Missing, Kind::Category { levels }) => (levels + 1).to_le_bytes().to_vec(),
                (Cell::Unseen, Kind::Number { .. }) => unreachable!(),
            });
        }
    }
    content
}

/// The model with integer weights.
fn with_integers() -> AlignedBytes {
    quantize(&aligned(&content().to_bytes(true)), Width::I16).unwrap()
}

/// The model signed with a public test key.
fn with_signature() -> AlignedBytes {
    let plain = aligned(&content().to_bytes(true));
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    sign(&plain, GoldenModel::load(plain.as_slice()).unwrap().schema(), &key, "golden", 7).unwrap()
}

/// Renders everything that is read from a signed blob; its scores are those of the model.
fn rendered_signed(blob: &AlignedBytes) -> String {
    let claimed = Signature::claimed(blob.as_slice()).unwrap();
    assert!(claimed.holds_for(blob.as_slice()));
    format!("{claimed:02x?}\n{}", rendered(blob))
}

/// Renders everything that is read from a blob with integer weights.
fn rendered_integers(blob: &AlignedBytes) -> String {
    let model: integer::Model<'_, 8, 6> = integer::Model::load(blob.as_slice()).unwrap();
    let (experts, count) = (model.experts(), model.schema().features().len());
    let mut text = String::new();
    writeln!(text, "crc32 {:08x}, {} bytes, {experts} experts", model.crc32(), model.blob_bytes()).unwrap();
    writeln!(text, "threshold {}, {:?}", model.threshold(), model.format()).unwrap();
    for index in 0..count {
        writeln!(text, "{}: {:?}", model.schema().feature_name(index).unwrap(), model.number(index)).unwrap();
    }
    let mut record = model.record();
    let mut why = integer::Attribution::new();
    for cells in RECORDS {
        for (index, cell) in cells.into_iter().enumerate() {
            _ = record.set_value(FeatureIndex(index), cell.into()).unwrap();
        }
        model.frozen_into(&record, &mut why).unwrap();
        let integer::Score { probability, decision, gate, expert_probabilities: outputs, .. } = why.score;
        writeln!(text, "\n{cells:?}\nnotes {:?}", record.notes()).unwrap();
        writeln!(text, "p {probability}, decision {decision}").unwrap();
        writeln!(text, "gate {:?}, experts {:?}", &gate[..experts], &outputs[..experts]).unwrap();
        writeln!(text, "frozen {} to {}: {:?}", why.base_value, why.output, &why.values[..count]).unwrap();
    }
    text
}

/// A committed blob, its text, and the function that renders it.
type Golden = (AlignedBytes, String, fn(&AlignedBytes) -> String);

/// Reads a golden blob; first writes it if the environment says so.
fn committed(name: &str, made: &AlignedBytes, render: fn(&AlignedBytes) -> String) -> Golden {
    let [blob, text] = ["feamoe", "txt"].map(|kind| golden(&format!("{name}.{kind}")));
    if std::env::var_os(OVERWRITE).is_some() {
        fs::write(&blob, made.as_slice()).unwrap();
        fs::write(&text, render(made)).unwrap();
    }
    (AlignedBytes::read(&blob).unwrap(), fs::read_to_string(text).unwrap(), render)
}

static VERSION_1: LazyLock<Golden> = LazyLock::new(|| committed("v1", &aligned(&content().to_bytes(true)), rendered));
static WITH_BACKGROUND: LazyLock<Golden> =
    LazyLock::new(|| committed("v1-background", &aligned(&with_background().to_bytes(true)), rendered));
static WITH_INTEGERS: LazyLock<Golden> = LazyLock::new(|| committed("v1-i16", &with_integers(), rendered_integers));
static WITH_SIGNATURE: LazyLock<Golden> = LazyLock::new(|| committed("v1-signed", &with_signature(), rendered_signed));

/// `engine/examples/field` uses two models with integer weights, signed as versions 1 and 2.
#[test]
fn the_field_example_has_signed_models() {
    for (name, of, version) in [("field-v1", "v1-i16", 1), ("field-v2", "delta-v2", 2)] {
        let plain = AlignedBytes::read(&golden(&format!("{of}.feamoe"))).unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let model = Loaded::new(plain.as_slice()).unwrap();
        let made = sign(&plain, model.any().schema(), &key, "golden", version).unwrap();
        let path = golden(&format!("{name}.feamoe"));
        if std::env::var_os(OVERWRITE).is_some() {
            fs::write(&path, made.as_slice()).unwrap();
        }
        assert_eq!(fs::read(path).unwrap(), made.as_slice(), "{name}");
    }
}

#[test]
fn version_1_gives_its_recorded_bits() {
    for golden in [&VERSION_1, &WITH_BACKGROUND, &WITH_INTEGERS, &WITH_SIGNATURE] {
        let (bytes, expected, render) = &**golden;
        let found = render(bytes);
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected);
        }
        assert_eq!(found, *expected);
    }
}

/// A background adds its records and changes nothing else: the text of the model with it begins
/// with that of the model without.
#[test]
fn the_background_is_the_records() {
    let without_size = |text: &'static str| text.split_once('\n').unwrap().1;
    let (plain, with) = (without_size(&VERSION_1.1), without_size(&WITH_BACKGROUND.1));
    assert!(with.starts_with(plain));
    let scores =
        |text: &'static str| text.lines().filter_map(|line| line.strip_prefix("p ")).map(str::trim).collect::<Vec<_>>();
    let of_the_background: Vec<_> =
        with[plain.len()..].lines().filter_map(|line| line.split_once(": p ").map(|(_, p)| p)).collect();
    assert_eq!(scores(plain), of_the_background);
}

/// The exporter still writes these bytes, so a change of the writer is noticed.
#[test]
fn version_1_is_still_what_the_exporter_writes() {
    assert_eq!(aligned(&content().to_bytes(true)), VERSION_1.0);
    assert_eq!(aligned(&with_background().to_bytes(true)), WITH_BACKGROUND.0);
    assert_eq!(with_integers(), WITH_INTEGERS.0);
    assert_eq!(with_signature(), WITH_SIGNATURE.0);
}
