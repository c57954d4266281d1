//! The engine for C and C++, as a static library: `include/feamoe.h` is its documentation, and `firmware-example/c` shows it at work.
//!
//! The engine itself has no unsafe code; the pointers of C are checked in `memory`, and everything behind them is the engine. No panic can be reached: the panic
//! handler calls a function that does not exist, so that a program with a panic path does not link.
#![no_std]
// The contract of all functions is the same, and stands where C sees it: at the head of the header.
#![allow(clippy::missing_safety_doc)]

mod memory;
mod status;

use core::ffi::{c_char, c_int};
use core::ptr::NonNull;

use feamoe_engine as engine;
use feamoe_engine::FeatureIndex;
use feamoe_engine::format::HEADER_BYTES;
use feamoe_engine::limits::MAX_BLOB_BYTES;
use feamoe_engine::schema::{Kind, Note};

use memory::{EngineAttribution, EngineModel, EngineRecord, EngineScore, Filled, Loaded, Origin, Values};
pub use status::Status;

/// Most features of a model. To raise it, raise it in engine/c/src/lib.rs and write feamoe.h anew.
pub const FEAMOE_FEATURES: usize = 32;
/// Most experts of a model, an even number; raised in the same way.
pub const FEAMOE_EXPERTS: usize = 16;
/// What a feamoe_model takes, in units of 8 bytes.
pub const FEAMOE_MODEL_WORDS: usize = 4 * FEAMOE_FEATURES + 40;
/// What a feamoe_record takes, in units of 8 bytes.
pub const FEAMOE_RECORD_WORDS: usize = 17 * FEAMOE_FEATURES / 8 + 12;
/// The code of a level that training had not seen.
pub const FEAMOE_UNSEEN: u16 = 0xffff;

/// A loaded model, opaque, in memory of yours.
#[repr(C)]
pub struct Model {
    opaque: [u64; FEAMOE_MODEL_WORDS],
}

/// The values of one record, opaque, in memory of yours.
#[repr(C)]
pub struct Record {
    opaque: [u64; FEAMOE_RECORD_WORDS],
}

/// What is in a model.
#[repr(C)]
pub struct Info {
    /// The file's checksum, which names the model.
    pub crc32: u32,
    /// A record is decided favourably when its probability is not below.
    pub threshold: f32,
    /// Number of features.
    pub features: usize,
    /// Number of experts.
    pub experts: usize,
    /// Length of the file.
    pub blob_bytes: usize,
    /// Whether the file has the names of features and levels.
    pub names: bool,
}

/// What a model says of one record.
#[repr(C)]
pub struct Score {
    /// The score, in [0, 1].
    pub probability: f32,
    /// Whether it reaches the threshold.
    pub decision: bool,
    /// Some value was missing.
    pub missing: bool,
    /// Some number was clamped to the training range.
    pub clamped: bool,
    /// Some level was not seen in training.
    pub unseen: bool,
}

/// Why a record got its score: base_value + the sum of the features' values + residual = output.
#[repr(C)]
pub struct Attribution {
    /// The score that is explained.
    pub score: Score,
    /// What the values start from: that of the mean record.
    pub base_value: f32,
    /// What they lead to.
    pub output: f32,
    /// What is left between them.
    pub residual: f32,
    /// Share of the attribution that runs through the gate, in [0, 1]; NaN for frozen, which holds the gate still.
    pub gate_share: f32,
}

const _: () = {
    let fits = size_of::<Loaded>() <= size_of::<Model>() && align_of::<Loaded>() <= align_of::<Model>();
    assert!(fits, "raise FEAMOE_MODEL_WORDS: a model of the engine has grown");
    let fits = size_of::<Filled>() <= size_of::<Record>() && align_of::<Filled>() <= align_of::<Record>();
    assert!(fits, "raise FEAMOE_RECORD_WORDS: a record of the engine has grown");
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        safe fn feamoe_a_panic_is_reachable() -> !;
    }
    feamoe_a_panic_is_reachable()
}

/// Returns what a status means and what to do; a string that is always there.
#[unsafe(no_mangle)]
pub extern "C" fn feamoe_message(status: c_int) -> *const c_char {
    #[cfg(feature = "plant-panic")]
    #[allow(clippy::indexing_slicing)]
    core::hint::black_box([0; 2][core::hint::black_box(2)]);
    Status::of_code(status).message().as_ptr()
}

/// Loads a model file that lies at a multiple of 4 in memory, and checks all of it; copies no weights. model_bytes: sizeof(feamoe_model). After an error
/// there is no model in the memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_load(
    model: *mut Model,
    model_bytes: usize,
    blob: *const u8,
    blob_bytes: usize,
) -> Status {
    status(|| {
        if model_bytes != size_of::<Model>() {
            return Err(Status::WrongSize);
        }
        let place = memory::place(model.cast::<Loaded>())?;
        // SAFETY: a place of the library's size, the caller's to write to.
        unsafe { Loaded::clear(place) };
        let blob = NonNull::new(blob.cast_mut()).ok_or(Status::NullPointer)?;
        // No slice may be longer than half of the memory; no blob is.
        if blob_bytes > MAX_BLOB_BYTES.saturating_add(HEADER_BYTES) {
            return Err(Status::BlobWrongLength);
        }
        // SAFETY: the caller's bytes, which stay as long as the model is used.
        let blob = unsafe { core::slice::from_raw_parts(blob.as_ptr(), blob_bytes) };
        let loaded = EngineModel::load(blob)?;
        // SAFETY: as above; an older model's users have ended.
        unsafe { Loaded::put(place, loaded) };
        Ok(())
    })
}

/// Tells what is in a model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_info(model: *const Model, info: *mut Info) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { loaded(model) }?;
        let info = memory::place(info)?;
        let found = Info {
            crc32: model.crc32(),
            threshold: model.threshold(),
            features: model.schema().features().len(),
            experts: model.experts(),
            blob_bytes: model.blob_bytes(),
            names: model.schema().positive_name().is_some(),
        };
        // SAFETY: a checked place of the caller's.
        unsafe { info.write(found) };
        Ok(())
    })
}

/// Finds the index of a feature by its name; takes time in the number of features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_feature_index(
    model: *const Model,
    name: *const c_char,
    index: *mut usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { loaded(model) }?;
        // SAFETY: by the header's contract.
        let name = unsafe { memory::text(name) }?;
        let index = memory::place(index)?;
        let found = model.schema().feature_index(name)?;
        // SAFETY: a checked place of the caller's.
        unsafe { index.write(found.0) };
        Ok(())
    })
}

/// Finds the code of a category's level by its name; takes time in the number of levels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_level_code(
    model: *const Model,
    index: usize,
    level: *const c_char,
    code: *mut u16,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { loaded(model) }?;
        // SAFETY: by the header's contract.
        let level = unsafe { memory::text(level) }?;
        let code = memory::place(code)?;
        let schema = model.schema();
        let feature = schema.features().get(index).ok_or(Status::UnknownFeature)?;
        let Kind::Category { .. } = feature.kind() else { return Err(Status::NotACategory) };
        schema.positive_name().ok_or(Status::NamesStripped)?;
        let found = (0..).zip(schema.level_names(index)).find(|(_, name)| *name == level);
        // SAFETY: a checked place of the caller's.
        unsafe { code.write(found.ok_or(Status::UnknownLevel)?.0) };
        Ok(())
    })
}

/// Tells the name of a feature: length bytes of UTF-8 in the blob, not ended by a NUL. Print them by "%.*s".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_feature_name(
    model: *const Model,
    index: usize,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let schema = unsafe { loaded(model) }?.schema();
        let (name, length) = (memory::place(name)?, memory::place(length)?);
        schema.features().get(index).ok_or(Status::UnknownFeature)?;
        let found = schema.feature_name(index).ok_or(Status::NamesStripped)?;
        // SAFETY: a checked place of the caller's.
        unsafe { name.write(found.as_ptr().cast()) };
        // SAFETY: a checked place of the caller's.
        unsafe { length.write(found.len()) };
        Ok(())
    })
}

/// Makes a record of a model, with every value missing; also to clear it. record_bytes: sizeof(feamoe_record).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_init(record: *mut Record, record_bytes: usize, model: *const Model) -> Status {
    status(|| {
        if record_bytes != size_of::<Record>() {
            return Err(Status::WrongSize);
        }
        let place = memory::place(record.cast::<Filled>())?;
        // SAFETY: by the header's contract.
        let loaded = unsafe { loaded(model) }?;
        let model = memory::place(model.cast_mut().cast::<Loaded>())?;
        // SAFETY: a place of the library's size, the caller's to write to.
        unsafe {
            Filled::put(place, Values { origin: Origin { model, crc32: loaded.crc32() }, record: loaded.record() })
        };
        Ok(())
    })
}

/// Sets a number; NaN makes it missing, one outside the training range is clamped to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_number(record: *mut Record, index: usize, number: f32) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record, |record| record.set_number(FeatureIndex(index), number)) }
}

/// Sets a category by its level's code; FEAMOE_UNSEEN for a level that training had not seen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_level(record: *mut Record, index: usize, code: u16) -> Status {
    let code = (code != FEAMOE_UNSEEN).then_some(code);
    // SAFETY: by the header's contract.
    unsafe { set(record, |record| record.set_level(FeatureIndex(index), code)) }
}

/// Sets a category by its level's name; a name that the model does not know is a level that training had not seen. Takes time in the number of levels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_category(record: *mut Record, index: usize, level: *const c_char) -> Status {
    // SAFETY: by the header's contract.
    match unsafe { memory::text(level) } {
        // SAFETY: by the header's contract.
        Ok(level) => unsafe { set(record, |record| record.set_category(FeatureIndex(index), level)) },
        Err(status) => status,
    }
}

/// Makes a value missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_missing(record: *mut Record, index: usize) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record, |record| record.set_missing(FeatureIndex(index))) }
}

/// Scores a record. gate: NULL, or an array of gate_length, not less than the model's experts, for their weights, which sum to 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_score(
    record: *const Record,
    score: *mut Score,
    gate: *mut f32,
    gate_length: usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { filled(record) }?;
        let score = memory::place(score)?;
        let gate = match gate.is_null() {
            true => None,
            false => Some(memory::numbers(gate, gate_length, model.experts())?),
        };
        let mut found = EngineScore::new();
        model.score_into(record, &mut found)?;
        // SAFETY: a checked place of the caller's.
        unsafe { score.write(plain(&found)) };
        if let Some(gate) = gate {
            // SAFETY: checked for as many numbers.
            unsafe { memory::write_numbers(gate, first(&found.gate, model.experts())) };
        }
        Ok(())
    })
}

/// Explains a record with the gate held still (FEAMOE, Theorem 1), in log-odds: not the Shapley values of the score. values: an array of values_length, not
/// less than the model's features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_frozen(
    record: *const Record,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { explain(record, attribution, values, values_length, EngineModel::frozen_into) }
}

/// Explains a record along the path from the mean record, gate included, in probability. values: an array of values_length, not less than the model's
/// features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_path(
    record: *const Record,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { explain(record, attribution, values, values_length, EngineModel::path_into) }
}

fn status(call: impl FnOnce() -> Result<(), Status>) -> Status {
    match call() {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}

/// Returns the model in the memory of C.
///
/// # Safety
/// The header's contract.
unsafe fn loaded(model: *const Model) -> Result<&'static EngineModel, Status> {
    let place = memory::place(model.cast_mut().cast::<Loaded>())?;
    // SAFETY: readable by the header's contract.
    let model = unsafe { Loaded::value(place) }?;
    // SAFETY: put there by `feamoe_model_load`, and used until it is loaded anew.
    Ok(unsafe { model.as_ref() })
}

/// Returns the record in the memory of C, and its model, which must still be the one that made it.
///
/// # Safety
/// The header's contract; nothing else holds the record.
unsafe fn values(record: *mut Record) -> Result<(&'static EngineModel, NonNull<Values>), Status> {
    let place = memory::place(record.cast::<Filled>())?;
    // SAFETY: readable by the header's contract.
    let values = unsafe { Filled::value(place) }?;
    // SAFETY: put there by `feamoe_record_init`; not the record itself, which refers to the model.
    let Origin { model, crc32 } = unsafe { (*values.as_ptr()).origin };
    // SAFETY: by the header's contract the model's memory stays as long as its records.
    let model = unsafe { Loaded::value(model) }?;
    // SAFETY: as in `loaded`.
    let model = unsafe { model.as_ref() };
    if model.crc32() == crc32 { Ok((model, values)) } else { Err(Status::OtherModel) }
}

/// As [`values`], to read.
unsafe fn filled(record: *const Record) -> Result<(&'static EngineModel, &'static EngineRecord), Status> {
    // SAFETY: by the header's contract.
    let (model, values) = unsafe { values(record.cast_mut()) }?;
    // SAFETY: put there by `feamoe_record_init`; not written while it is read.
    Ok((model, unsafe { &values.as_ref().record }))
}

/// Sets a value of a record.
unsafe fn set(record: *mut Record, set: impl FnOnce(&mut EngineRecord) -> Result<Note, engine::RecordError>) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (_, mut values) = unsafe { values(record) }?;
        // SAFETY: put there by `feamoe_record_init`; nothing else uses it meanwhile.
        _ = set(unsafe { &mut values.as_mut().record })?;
        Ok(())
    })
}

/// Explains a record into the arrays of C.
unsafe fn explain(
    record: *const Record,
    attribution: *mut Attribution,
    values: *mut f32,
    values_length: usize,
    by: fn(&EngineModel, &EngineRecord, &mut EngineAttribution) -> Result<(), engine::PredictError>,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, record) = unsafe { filled(record) }?;
        let features = model.schema().features().len();
        let attribution = memory::place(attribution)?;
        let values = memory::numbers(values, values_length, features)?;
        let mut why = EngineAttribution::new();
        by(model, record, &mut why)?;
        let (base_value, output, residual) = (why.base_value, why.output, why.residual);
        let gate_share = why.gate_share.unwrap_or(f32::NAN);
        // SAFETY: a checked place of the caller's.
        unsafe {
            attribution.write(Attribution { score: plain(&why.score), base_value, output, residual, gate_share });
        }
        // SAFETY: checked for as many numbers.
        unsafe { memory::write_numbers(values, first(&why.values, features)) };
        Ok(())
    })
}

fn plain(score: &EngineScore) -> Score {
    let engine::Score { probability, decision, missing, clamped, unseen, .. } = *score;
    Score { probability, decision, missing, clamped, unseen }
}

fn first(numbers: &[f32], count: usize) -> &[f32] {
    numbers.get(..count).unwrap_or(numbers)
}
