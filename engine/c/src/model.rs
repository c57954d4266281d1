//! Models with either kind of weights: loading and describing them.

use core::ffi::c_char;

use feamoe_engine::schema::{Kind, Schema};
use feamoe_engine::{LoadError, Scorer as _};

use crate::capacity::FEAMOE_FEATURES;
use crate::memory::{self, EngineInteger, EngineModel, Kept, Loaded, LoadedInteger, Sealed};
use crate::schema::write_name;
use crate::status;
use crate::status::Status;

/// Size of a feamoe_model, in units of 8 bytes.
pub const FEAMOE_MODEL_WORDS: usize = 4 * FEAMOE_FEATURES + 40;
/// Size of a feamoe_integer_model, in units of 8 bytes.
pub const FEAMOE_INTEGER_MODEL_WORDS: usize = 6 * FEAMOE_FEATURES + 34;

/// A loaded model: opaque, in memory that you provide.
#[repr(C)]
pub struct Model {
    opaque: [u64; FEAMOE_MODEL_WORDS],
}

/// A loaded model with integer weights, for a core without a floating-point unit: opaque, in memory
/// that you provide. `feamoe export --quantize i16` (or `i8`) writes such a file.
#[repr(C)]
pub struct IntegerModel {
    opaque: [u64; FEAMOE_INTEGER_MODEL_WORDS],
}

/// The description of a model.
#[repr(C)]
pub struct Info {
    /// The checksum of the file, which identifies the model.
    pub crc32: u32,
    /// The decision threshold: a decision is favourable if the score is at least this.
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

const _: () = {
    let fits = size_of::<Loaded>() <= size_of::<Model>() && align_of::<Loaded>() <= align_of::<Model>();
    assert!(fits, "raise FEAMOE_MODEL_WORDS: a model of the engine has grown");
    let fits = size_of::<LoadedInteger>() <= size_of::<IntegerModel>()
        && align_of::<LoadedInteger>() <= align_of::<IntegerModel>();
    assert!(fits, "raise FEAMOE_INTEGER_MODEL_WORDS: a model of the engine has grown");
};

/// Loads a model file, which must be aligned to 4 bytes in memory, and checks all of it, without
/// copying weights. model_bytes: sizeof(feamoe_model). After an error there is no model in the
/// memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_load(
    model: *mut Model,
    model_bytes: usize,
    blob: *const u8,
    blob_bytes: usize,
) -> Status {
    let has_size = model_bytes == size_of::<Model>();
    // SAFETY: by the header's contract.
    unsafe { load(model.cast::<Loaded>(), has_size, blob, blob_bytes, EngineModel::load) }
}

/// Like feamoe_model_load, for integer weights; 8-bit weights need no alignment. model_bytes:
/// sizeof(feamoe_integer_model).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_load(
    model: *mut IntegerModel,
    model_bytes: usize,
    blob: *const u8,
    blob_bytes: usize,
) -> Status {
    let has_size = model_bytes == size_of::<IntegerModel>();
    // SAFETY: by the header's contract.
    unsafe { load(model.cast::<LoadedInteger>(), has_size, blob, blob_bytes, EngineInteger::load) }
}

/// Describes a model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_info(model: *const Model, info: *mut Info) -> Status {
    // SAFETY: by the header's contract.
    unsafe { describe(model.cast::<Loaded>(), info) }
}

/// Like feamoe_model_info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_info(model: *const IntegerModel, info: *mut Info) -> Status {
    // SAFETY: by the header's contract.
    unsafe { describe(model.cast::<LoadedInteger>(), info) }
}

/// Finds the index of a feature by its name. Takes time proportional to the number of features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_feature_index(
    model: *const Model,
    name: *const c_char,
    index: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { feature_index(model.cast::<Loaded>(), name, index) }
}

/// Like feamoe_model_feature_index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_feature_index(
    model: *const IntegerModel,
    name: *const c_char,
    index: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { feature_index(model.cast::<LoadedInteger>(), name, index) }
}

/// Finds the code of a category's level by its name. Takes time proportional to the number of
/// levels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_level_code(
    model: *const Model,
    index: usize,
    level: *const c_char,
    code: *mut u16,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { level_code(model.cast::<Loaded>(), index, level, code) }
}

/// Like feamoe_model_level_code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_level_code(
    model: *const IntegerModel,
    index: usize,
    level: *const c_char,
    code: *mut u16,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { level_code(model.cast::<LoadedInteger>(), index, level, code) }
}

/// Returns the name of a feature: length bytes of UTF-8 in the blob, without a terminating NUL.
/// Print them with "%.*s".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_feature_name(
    model: *const Model,
    index: usize,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { feature_name(model.cast::<Loaded>(), index, name, length) }
}

/// Like feamoe_model_feature_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_feature_name(
    model: *const IntegerModel,
    index: usize,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { feature_name(model.cast::<LoadedInteger>(), index, name, length) }
}

unsafe fn load<M, const KIND: usize>(
    model: *mut Sealed<M, KIND>,
    has_size: bool,
    blob: *const u8,
    blob_bytes: usize,
    load: fn(&'static [u8]) -> Result<M, LoadError>,
) -> Status {
    status(|| {
        if !has_size {
            return Err(Status::WrongSize);
        }
        let place = memory::place(model)?;
        // SAFETY: writable memory of the caller, of the library's size.
        unsafe { Sealed::clear(place) };
        // SAFETY: by the header's contract.
        let blob = unsafe { memory::bytes(blob, blob_bytes) }?;
        let loaded = load(blob)?;
        // SAFETY: as above; an older model's users have ended.
        unsafe { Sealed::put(place, loaded) };
        Ok(())
    })
}

unsafe fn describe<M: Kept>(model: *const M, info: *mut Info) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { memory::loaded(model) }?;
        let info = memory::place(info)?;
        let found = Info {
            crc32: model.crc32(),
            threshold: model.threshold(),
            features: model.schema().features().len(),
            experts: model.experts(),
            blob_bytes: model.blob_bytes(),
            names: model.schema().positive_name().is_some(),
        };
        // SAFETY: a checked place in the caller's memory.
        unsafe { info.write(found) };
        Ok(())
    })
}

unsafe fn feature_index<M: Kept>(model: *const M, name: *const c_char, index: *mut usize) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { memory::loaded(model) }?;
        // SAFETY: by the header's contract.
        let name = unsafe { memory::text(name) }?;
        let index = memory::place(index)?;
        let found = model.schema().feature_index(name)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { index.write(found.0) };
        Ok(())
    })
}

unsafe fn level_code<M: Kept>(model: *const M, index: usize, level: *const c_char, code: *mut u16) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { memory::loaded(model) }?;
        // SAFETY: by the header's contract.
        let level = unsafe { memory::text(level) }?;
        let code = memory::place(code)?;
        let found = code_of(model.schema(), index, level)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { code.write(found.ok_or(Status::UnknownLevel)?) };
        Ok(())
    })
}

/// Returns the code of a level; `None` if the model does not know it.
pub fn code_of(schema: Schema<'_>, index: usize, level: &str) -> Result<Option<u16>, Status> {
    let feature = schema.features().get(index).ok_or(Status::UnknownFeature)?;
    let Kind::Category { .. } = feature.kind() else { return Err(Status::NotACategory) };
    schema.positive_name().ok_or(Status::NamesStripped)?;
    Ok((0..).zip(schema.level_names(index)).find(|(_, name)| *name == level).map(|(code, _)| code))
}

unsafe fn feature_name<M: Kept>(model: *const M, index: usize, name: *mut *const c_char, length: *mut usize) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let schema = unsafe { memory::loaded(model) }?.schema();
        schema.features().get(index).ok_or(Status::UnknownFeature)?;
        let found = schema.feature_name(index).ok_or(Status::NamesStripped)?;
        // SAFETY: by the header's contract.
        unsafe { write_name(found, name, length) }
    })
}
