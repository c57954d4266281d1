//! The fuzz targets: one function each, which takes any bytes and panics if a promise is broken.
//! `tests/fuzz` wraps them for coverage-guided fuzzing; `tests/tests/all/fuzz_seeds.rs` runs the
//! committed seeds and mutations of them, with any compiler.

mod explain;
mod field;
mod state;
#[cfg(feature = "arrow")]
mod tables;
mod text;
mod watch;

use feamoe_testkit::content::Content;
use feamoe_testkit::explain_into;
use std::path::PathBuf;

use arbitrary::{Result, Unstructured};
use feamoe_engine::format::{
    self, FLAG_BACKGROUND, FLAG_CALIBRATION, FLAG_DEVIATIONS, FLAG_NAMES, FLAGS_AT, HEADER_BYTES,
};
use feamoe_engine::signature::{Signature, Signers, Versions};
use feamoe_engine::{FeatureIndex, Method, Model, Record, Score};
use feamoe_testkit::content::Bytes;

pub use explain::explain;
pub use field::{delta, integer, recourse, slots};
pub use state::{checkpoint, sealed};
#[cfg(feature = "arrow")]
pub use tables::{arrow, is_expected_panic};
pub use text::{csv, schema};
pub use watch::monitor;

use crate::repository_file;
use feamoe_testkit::generate::Draw;

/// The capacity of the targets' build.
const FEATURES: usize = 16;
const EXPERTS: usize = 16;

type FuzzModel<'a> = Model<'a, FEATURES, EXPERTS>;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its folder of seeds.
    pub name: &'static str,
    /// The function, which takes any bytes.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "load", run: load },
    Target { name: "record", run: record },
    Target { name: "explain", run: explain },
    Target { name: "csv", run: csv },
    Target { name: "schema", run: schema },
    Target { name: "checkpoint", run: checkpoint },
    Target { name: "monitor", run: monitor },
    Target { name: "integer", run: integer },
    Target { name: "delta", run: delta },
    Target { name: "slots", run: slots },
    Target { name: "recourse", run: recourse },
    #[cfg(feature = "arrow")]
    Target { name: "arrow", run: arrow },
];

impl Target {
    /// Returns the folder of its seeds.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        repository_file("tests/fuzz/seeds").join(self.name)
    }
}

/// Changes bytes like a fuzzer, in up to five steps. Each step flips a bit, sets a byte, removes or
/// doubles a part, cuts off the end, or continues with another seed.
pub fn mutate(draw: &mut Draw, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=draw.below(4) {
        let at = draw.below(bytes.len() + 1);
        let end = at + draw.below(bytes.len() - at + 1).min(16);
        match draw.below(6) {
            0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << draw.below(8)),
            1 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = draw.one_of(&[0, 1, 0x7f, 0x80, 0xff])),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            4 => bytes.truncate(at),
            _ => bytes.splice(at.., other.get(at..).unwrap_or_default().iter().copied()).for_each(drop),
        }
    }
}

/// Loads the bytes unchanged, and with a header that is valid for the payload. Without the latter,
/// only one mutation in four billion would pass the checksum.
pub fn load(data: &[u8]) {
    load_as_is(data);
    let Some((header, payload)) = data.split_first_chunk::<HEADER_BYTES>() else { return };
    let flags = u16::from_le_bytes([header[FLAGS_AT], header[FLAGS_AT + 1]]);
    if let Some(header) = format::header(flags, payload) {
        load_as_is(&[&header, payload].concat());
    }
}

/// Checks that a model that loads scores and explains, and has no other encoding. In place and
/// copied, it is the same model, or is refused for the same reason.
fn load_as_is(data: &[u8]) {
    let bytes = Bytes::new(data);
    let (in_place, mut memory) = (FuzzModel::load(bytes.as_slice()), Vec::new());
    let copied = FuzzModel::values_needed(data).and_then(|values| {
        memory.resize(values, 0.0);
        FuzzModel::load_into(data, &mut memory)
    });
    let model = match (in_place, copied) {
        (Ok(model), Ok(copied)) => {
            assert_eq!(model.score(&model.record()), copied.score(&copied.record()));
            model
        }
        (Err(error), Err(copied)) => {
            assert_eq!(error, copied);
            return;
        }
        (in_place, copied) => panic!("{:?} in place, {:?} copied", in_place.err(), copied.err()),
    };
    let mut record = model.record();
    check_score(&model, &record);
    for index in 0..model.schema().features().len() {
        let _ = (model.schema().feature_name(index), model.schema().level_names(index).count());
        assert!(model.schema().deviation(index).is_finite());
        let key = FeatureIndex(index);
        assert!(record.set_number(key, f32::MAX).is_ok() != record.set_level(key, None).is_ok());
    }
    check_score(&model, &record);
    for row in 0..model.background_rows().min(2) {
        assert_eq!(model.background_record(row, &mut record), Ok(()));
        check_score(&model, &record);
    }
    let mut why = feamoe_engine::Attribution::new();
    for method in [Method::Frozen, Method::Path] {
        assert_eq!(explain_into(&model, &record, method, &mut why), Ok(()));
        explain::check_law(&why);
    }
    check_signature(data);
    let flags = u16::from_le_bytes([data[FLAGS_AT], data[FLAGS_AT + 1]]);
    // Sections that this version does not know are skipped and not written again.
    if flags & !(FLAG_NAMES | FLAG_BACKGROUND | FLAG_DEVIATIONS | FLAG_CALIBRATION) == 0 {
        let again = Content::read(data).to_bytes(flags & FLAG_NAMES != 0);
        assert_eq!(again.as_slice(), data, "another encoding of the same model");
    }
}

/// With its own key a blob may or may not verify; with the golden key only the golden model does.
fn check_signature(data: &[u8]) {
    const GOLDEN: &[u8] = include_bytes!("../../../engine/golden/v1-signed.feamoe");
    let Ok(claimed) = Signature::claimed(data) else { return };
    let verify =
        |key| Signers { keys: &[key], line: claimed.line, schema_sha256: None, versions: Versions::Any }.verify(data);
    assert_eq!(verify(claimed.key).is_ok(), claimed.holds_for(data));
    let golden = Signature::claimed(GOLDEN).map(|golden| golden.key);
    assert_eq!(golden.and_then(verify).is_ok(), data == GOLDEN);
}

/// Sets values of a golden model in any order, by index and by name.
pub fn record(data: &[u8]) {
    const MODELS: [&[u8]; 3] = [
        feamoe_engine::include_model!("../../../engine/golden/v1.feamoe"),
        feamoe_engine::include_model!("../../../engine/golden/adult-gated.feamoe"),
        feamoe_engine::include_model!("../../../engine/golden/v1-background.feamoe"),
    ];
    let mut data = Unstructured::new(data);
    let Ok(blob) = data.choose(&MODELS) else { return };
    let Ok(model) = FuzzModel::load(blob) else { panic!("a golden model was refused") };
    let mut record = model.record();
    while !data.is_empty() && set_any(&model, &mut record, &mut data).is_ok() {
        check_score(&model, &record);
    }
}

/// Does one thing to a record. A refusal changes nothing.
fn set_any(model: &FuzzModel<'_>, record: &mut Record<'_, FEATURES>, data: &mut Unstructured<'_>) -> Result<()> {
    let before = record.clone();
    let index = data.int_in_range(0..=FEATURES)?;
    let key = FeatureIndex(index);
    let name = model.schema().feature_name(index).unwrap_or("no such feature");
    let set = match data.int_in_range(0..=7)? {
        0 => record.set_number(key, f32::from_bits(data.arbitrary()?)),
        1 => record.set_number(name, f32::from(data.arbitrary::<i16>()?)),
        2 => record.set_level(key, data.arbitrary()?),
        3 => record.set_level(name, data.arbitrary::<Option<u8>>()?.map(u16::from)),
        4 => {
            let levels: Vec<&str> = model.schema().level_names(index).collect();
            record.set_category(name, data.choose(&levels).copied().unwrap_or("none"))
        }
        5 => record.set_category(name, data.arbitrary::<&str>()?),
        6 => record.set_missing(key),
        _ => {
            record.clear();
            return Ok(());
        }
    };
    match set {
        Ok(note) => assert_eq!(record.notes().get(index), Some(&note)),
        Err(_) => assert_eq!((record.terms(), record.notes()), (before.terms(), before.notes())),
    }
    Ok(())
}

/// Checks that the score is a probability, that gate weights are shares, that notes are those of
/// the record, and that entries beyond the model's experts are 0.
fn check_score(model: &FuzzModel<'_>, record: &Record<'_, FEATURES>) {
    use feamoe_engine::schema::Note;

    let found = model.score(record).unwrap_or_else(|error| panic!("{error}"));
    let calibrated = model.calibrated(record, &found);
    let Score { probability, decision, gate, expert_probabilities, missing, clamped, unseen, .. } = found;
    let unit = |value: &f32| (0.0..=1.0).contains(value);
    assert!(calibrated.is_ok_and(|calibrated| unit(&calibrated)), "{calibrated:?}");
    assert!(unit(&probability) && decision == (probability >= model.threshold()), "{probability}");
    assert!(gate.iter().all(unit) && expert_probabilities.iter().all(unit), "{gate:?} {expert_probabilities:?}");
    let sum: f32 = gate.iter().sum();
    // One rounding per weight, and one per sum.
    assert!((sum - 1.0).abs() <= 2.0 * EXPERTS as f32 * f32::EPSILON, "{sum}");
    assert!(
        gate.iter()
            .chain(&expert_probabilities[..])
            .skip(model.experts())
            .take(EXPERTS - model.experts())
            .all(|v| *v == 0.0)
    );
    let noted = |note| record.notes().contains(&note);
    assert_eq!((missing, clamped, unseen), (noted(Note::Missing), noted(Note::Clamped), noted(Note::Unseen)));
}
