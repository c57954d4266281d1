//! Records of models with either kind of weights, and setting their values.

use core::ffi::c_char;
use core::ptr::NonNull;

use feamoe_engine::schema::Note;
use feamoe_engine::{FeatureIndex, RecordError, Scorer as _};

use crate::capacity::FEAMOE_FEATURES;
use crate::memory::{self, Filled, FilledInteger, Kept, Loaded, LoadedInteger, Origin, Sealed, Values};
use crate::model::{IntegerModel, Model, code_of};
use crate::status;
use crate::status::Status;

/// Size of a feamoe_record and of a feamoe_integer_record, in units of 8 bytes.
pub const FEAMOE_RECORD_WORDS: usize = 17 * FEAMOE_FEATURES / 8 + 12;
/// The code of a level that was not seen in training.
pub const FEAMOE_UNSEEN: u16 = 0xffff;

/// The values of a record: opaque, in memory that you provide.
#[repr(C)]
pub struct Record {
    opaque: [u64; FEAMOE_RECORD_WORDS],
}

/// The values of a record of a model with integer weights: opaque, in memory that you provide.
#[repr(C)]
pub struct IntegerValues {
    opaque: [u64; FEAMOE_RECORD_WORDS],
}

/// The kind of a feamoe_value.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum ValueKind {
    /// None.
    Missing = 0,
    /// A number; NaN is missing.
    Number = 1,
    /// A level, given by its code.
    Level = 2,
}

/// A value of a feature.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    /// One of feamoe_value_kind.
    pub kind: u32,
    /// The number, if the kind is a number.
    pub number: f32,
    /// The level's code, if the kind is a level; FEAMOE_UNSEEN for a level that was not seen in
    /// training.
    pub level: u16,
}

const _: () = {
    let fits = size_of::<Filled>() <= size_of::<Record>() && align_of::<Filled>() <= align_of::<Record>();
    assert!(fits, "raise FEAMOE_RECORD_WORDS: a record of the engine has grown");
    let fits = size_of::<FilledInteger>() <= size_of::<IntegerValues>()
        && align_of::<FilledInteger>() <= align_of::<IntegerValues>();
    assert!(fits, "raise FEAMOE_RECORD_WORDS: a record of the engine has grown");
};

/// Initialises or clears a record of a model, with every value missing. record_bytes:
/// sizeof(feamoe_record).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_init(record: *mut Record, record_bytes: usize, model: *const Model) -> Status {
    let has_size = record_bytes == size_of::<Record>();
    // SAFETY: by the header's contract.
    unsafe { init(record.cast::<Filled>(), has_size, model.cast::<Loaded>()) }
}

/// Like feamoe_record_init. record_bytes: sizeof(feamoe_integer_record).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_init(
    record: *mut IntegerValues,
    record_bytes: usize,
    model: *const IntegerModel,
) -> Status {
    let has_size = record_bytes == size_of::<IntegerValues>();
    // SAFETY: by the header's contract.
    unsafe { init(record.cast::<FilledInteger>(), has_size, model.cast::<LoadedInteger>()) }
}

/// Sets a number; NaN makes it missing, and a number outside the training range is clamped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_number(record: *mut Record, index: usize, number: f32) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<Filled>(), |record| record.set_number(FeatureIndex(index), number)) }
}

/// Like feamoe_record_set_number, using only integer operations on the bits of the float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_set_number(
    record: *mut IntegerValues,
    index: usize,
    number: f32,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<FilledInteger>(), |record| record.set_number(FeatureIndex(index), number)) }
}

/// Sets a number to raw / 2^fraction_bits, such as the reading of a converter, without floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_set_fixed(
    record: *mut IntegerValues,
    index: usize,
    raw: i32,
    fraction_bits: i8,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<FilledInteger>(), |record| record.set_fixed(FeatureIndex(index), raw, fraction_bits)) }
}

/// Sets a category by the code of its level; FEAMOE_UNSEEN for a level that was not seen in
/// training.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_level(record: *mut Record, index: usize, code: u16) -> Status {
    let code = (code != FEAMOE_UNSEEN).then_some(code);
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<Filled>(), |record| record.set_level(FeatureIndex(index), code)) }
}

/// Like feamoe_record_set_level.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_set_level(
    record: *mut IntegerValues,
    index: usize,
    code: u16,
) -> Status {
    let code = (code != FEAMOE_UNSEEN).then_some(code);
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<FilledInteger>(), |record| record.set_level(FeatureIndex(index), code)) }
}

/// Sets a category by the name of its level; an unknown name counts as a level that was not seen in
/// training. Takes time proportional to the number of levels. If an unknown name should be an
/// error, use feamoe_model_level_code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_category(record: *mut Record, index: usize, level: *const c_char) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set_category(record.cast::<Filled>(), index, level) }
}

/// Like feamoe_record_set_category.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_set_category(
    record: *mut IntegerValues,
    index: usize,
    level: *const c_char,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set_category(record.cast::<FilledInteger>(), index, level) }
}

/// Sets a value to missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_missing(record: *mut Record, index: usize) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<Filled>(), |record| record.set_missing(FeatureIndex(index))) }
}

/// Like feamoe_record_set_missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_set_missing(record: *mut IntegerValues, index: usize) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set(record.cast::<FilledInteger>(), |record| record.set_missing(FeatureIndex(index))) }
}

/// Sets every value at once, in the order of the features; count: the number of features. After an
/// error every value is missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_record_set_all(record: *mut Record, values: *const Value, count: usize) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set_all(record.cast::<Filled>(), values, count) }
}

/// Like feamoe_record_set_all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_record_set_all(
    record: *mut IntegerValues,
    values: *const Value,
    count: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { set_all(record.cast::<FilledInteger>(), values, count) }
}

unsafe fn init<M: Kept, const KIND: usize>(
    record: *mut Sealed<Values<M, M::Record>, KIND>,
    has_size: bool,
    model: *const M,
) -> Status {
    status(|| {
        if !has_size {
            return Err(Status::WrongSize);
        }
        let place = memory::place(record)?;
        // SAFETY: by the header's contract.
        let loaded = unsafe { memory::loaded(model) }?;
        let model: NonNull<M> = memory::place(model.cast_mut())?;
        // SAFETY: writable memory of the caller, of the library's size.
        unsafe {
            Sealed::put(place, Values { origin: Origin { model, crc32: loaded.crc32() }, record: loaded.record() });
        }
        Ok(())
    })
}

/// Sets a value of a record.
unsafe fn set<M: Kept, R: 'static, const KIND: usize>(
    record: *mut Sealed<Values<M, R>, KIND>,
    set: impl FnOnce(&mut R) -> Result<Note, RecordError>,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (_, mut values) = unsafe { memory::values(record) }?;
        // SAFETY: written by an init; nothing else uses it meanwhile.
        _ = set(unsafe { &mut values.as_mut().record })?;
        Ok(())
    })
}

unsafe fn set_category<M: Kept, R: feamoe_engine::Values + 'static, const KIND: usize>(
    record: *mut Sealed<Values<M, R>, KIND>,
    index: usize,
    level: *const c_char,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let level = unsafe { memory::text(level) }?;
        // SAFETY: by the header's contract.
        let (model, mut values) = unsafe { memory::values(record) }?;
        let code = code_of(model.schema(), index, level)?;
        let value = code.map_or(feamoe_engine::Value::Unseen, feamoe_engine::Value::Level);
        // SAFETY: written by an init; nothing else uses it meanwhile.
        _ = unsafe { &mut values.as_mut().record }.set_value(FeatureIndex(index), value)?;
        Ok(())
    })
}

unsafe fn set_all<M: Kept, R: feamoe_engine::Values + 'static, const KIND: usize>(
    record: *mut Sealed<Values<M, R>, KIND>,
    given: *const Value,
    count: usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (model, mut values) = unsafe { memory::values(record) }?;
        // SAFETY: written by an init; nothing else uses it meanwhile.
        let record = unsafe { &mut values.as_mut().record };
        // No earlier value may be part of a later score.
        record.clear();
        let features = model.schema().features().len();
        if count != features {
            return Err(Status::WrongCount);
        }
        let given = memory::array(given.cast_mut(), count, features)?;
        // SAFETY: the caller's array, whose length was checked.
        let given = unsafe { core::slice::from_raw_parts(given.as_ptr(), count) };
        for (index, value) in given.iter().enumerate() {
            let done = value.known().and_then(|value| Ok(record.set_value(FeatureIndex(index), value)?));
            if let Err(status) = done {
                record.clear();
                return Err(status);
            }
        }
        Ok(())
    })
}

impl Value {
    fn known(&self) -> Result<feamoe_engine::Value, Status> {
        const MISSING: u32 = ValueKind::Missing as u32;
        const NUMBER: u32 = ValueKind::Number as u32;
        const LEVEL: u32 = ValueKind::Level as u32;
        match (self.kind, self.level) {
            (MISSING, _) => Ok(feamoe_engine::Value::Missing),
            (NUMBER, _) => Ok(feamoe_engine::Value::Number(self.number)),
            (LEVEL, FEAMOE_UNSEEN) => Ok(feamoe_engine::Value::Unseen),
            (LEVEL, code) => Ok(feamoe_engine::Value::Level(code)),
            _ => Err(Status::NoSuchChoice),
        }
    }
}
