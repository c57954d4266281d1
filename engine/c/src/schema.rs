//! The schema of a model: kinds, ranges and levels of its features; and its background records.

use core::ffi::c_char;

use feamoe_engine::schema::Kind;
use feamoe_engine::{RecordError, Scorer as _};

use crate::memory::{self, Filled, Kept, Loaded, LoadedInteger};
use crate::model::{IntegerModel, Model};
use crate::record::Record;
use crate::status;
use crate::status::Status;

/// The kind of a feamoe_feature.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum FeatureKind {
    /// A number.
    Number = 1,
    /// A category, which has levels.
    Category = 2,
}

/// The description of a feature.
#[repr(C)]
pub struct Feature {
    /// A number or a category.
    pub kind: FeatureKind,
    /// The lowest number of the training rows; 0 for a category.
    pub low: f32,
    /// The highest number of the training rows; 0 for a category.
    pub high: f32,
    /// The number of levels of a category; 0 for a number.
    pub levels: u32,
}

/// Describes a feature.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_feature(model: *const Model, index: usize, feature: *mut Feature) -> Status {
    // SAFETY: by the header's contract.
    unsafe { describe(model.cast::<Loaded>(), index, feature) }
}

/// Like feamoe_model_feature.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_feature(
    model: *const IntegerModel,
    index: usize,
    feature: *mut Feature,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { describe(model.cast::<LoadedInteger>(), index, feature) }
}

/// Returns the name of a level of a category by its code, like feamoe_model_feature_name. Takes
/// time proportional to the number of levels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_level_name(
    model: *const Model,
    index: usize,
    code: u16,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { level_name(model.cast::<Loaded>(), index, code, name, length) }
}

/// Like feamoe_model_level_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_level_name(
    model: *const IntegerModel,
    index: usize,
    code: u16,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { level_name(model.cast::<LoadedInteger>(), index, code, name, length) }
}

/// Returns the name of the favourable outcome, like feamoe_model_feature_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_outcome_name(
    model: *const Model,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { outcome_name(model.cast::<Loaded>(), name, length) }
}

/// Like feamoe_model_outcome_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_model_outcome_name(
    model: *const IntegerModel,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { outcome_name(model.cast::<LoadedInteger>(), name, length) }
}

/// Returns the number of background records of a model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_model_background_rows(model: *const Model, rows: *mut usize) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { memory::loaded(model.cast::<Loaded>()) }?;
        let rows = memory::place(rows)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { rows.write(model.background_rows()) };
        Ok(())
    })
}

/// Sets every value of a record to those of a background record of its model, counted from 0. These
/// records are in random order, so the first ones are a sample, whatever their number.
/// FEAMOE_STATUS_BACKGROUND_EMPTY beyond the last one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_background(record: *mut Record, row: usize) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, mut values) = unsafe { memory::values(record.cast::<Filled>()) }?;
        // SAFETY: written by an init; nothing else uses it meanwhile.
        model.background_record(row, unsafe { &mut values.as_mut().record }).map_err(|error| match error {
            RecordError::NoBackgroundRow { .. } => Status::BackgroundEmpty,
            error => error.into(),
        })
    })
}

unsafe fn describe<M: Kept>(model: *const M, index: usize, feature: *mut Feature) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let schema = unsafe { memory::loaded(model) }?.schema();
        let feature = memory::place(feature)?;
        let found = match schema.features().get(index).ok_or(Status::UnknownFeature)?.kind() {
            Kind::Number { low, high, .. } => Feature { kind: FeatureKind::Number, low, high, levels: 0 },
            Kind::Category { levels } => {
                Feature { kind: FeatureKind::Category, low: 0.0, high: 0.0, levels: u32::from(levels) }
            }
        };
        // SAFETY: a checked place in the caller's memory.
        unsafe { feature.write(found) };
        Ok(())
    })
}

unsafe fn level_name<M: Kept>(
    model: *const M,
    index: usize,
    code: u16,
    name: *mut *const c_char,
    length: *mut usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let schema = unsafe { memory::loaded(model) }?.schema();
        let feature = schema.features().get(index).ok_or(Status::UnknownFeature)?;
        let Kind::Category { levels } = feature.kind() else { return Err(Status::NotACategory) };
        if code >= levels {
            return Err(Status::LevelOutOfRange);
        }
        let found = schema.level_names(index).nth(usize::from(code)).ok_or(Status::NamesStripped)?;
        // SAFETY: by the header's contract.
        unsafe { write_name(found, name, length) }
    })
}

unsafe fn outcome_name<M: Kept>(model: *const M, name: *mut *const c_char, length: *mut usize) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let found = unsafe { memory::loaded(model) }?.schema().positive_name().ok_or(Status::NamesStripped)?;
        // SAFETY: by the header's contract.
        unsafe { write_name(found, name, length) }
    })
}

/// Writes the address and the length of a name.
///
/// # Safety
/// The header's contract.
pub unsafe fn write_name(found: &str, name: *mut *const c_char, length: *mut usize) -> Result<(), Status> {
    let (name, length) = (memory::place(name)?, memory::place(length)?);
    // SAFETY: a checked place in the caller's memory.
    unsafe { name.write(found.as_ptr().cast()) };
    // SAFETY: a checked place in the caller's memory.
    unsafe { length.write(found.len()) };
    Ok(())
}
