//! Values in the memory of C, and pointers to them, checked as far as a callee can: null,
//! misaligned, too short, or to memory that does not hold the expected value.

use core::ffi::{CStr, c_char};
use core::ptr::NonNull;

// Renamed, since cbindgen distinguishes types by their names.
use feamoe_engine::attribution::Workspace as AnyWorkspace;
use feamoe_engine::format::HEADER_BYTES;
use feamoe_engine::integer::{Attribution as AnyIntegerWhy, Model as AnyInteger, Record as AnyIntegerRecord};
use feamoe_engine::limits::MAX_BLOB_BYTES;
use feamoe_engine::mixture::Term;
#[cfg(feature = "device")]
use feamoe_engine::monitor::Monitor as AnyMonitor;
use feamoe_engine::recourse::Rules;
#[cfg(feature = "device")]
use feamoe_engine::slots::{Seal, Update as AnyUpdate};
use feamoe_engine::{
    Attribution as AnyAttribution, Model as AnyModel, Record as AnyRecord, Recourse as AnyRecourse, Score as AnyScore,
    Scorer, Space,
};

use crate::capacity::{FEAMOE_BACKGROUND, FEAMOE_EXPERTS, FEAMOE_FEATURES};
#[cfg(feature = "device")]
use crate::capacity::{FEAMOE_GROUPS, FEAMOE_WORD};
use crate::status::Status;

pub type EngineModel = AnyModel<'static, FEAMOE_FEATURES, FEAMOE_EXPERTS>;
pub type EngineRecord = AnyRecord<'static, FEAMOE_FEATURES>;
pub type EngineInteger = AnyInteger<'static, FEAMOE_FEATURES, FEAMOE_EXPERTS>;
pub type IntegerRecord = AnyIntegerRecord<'static, FEAMOE_FEATURES>;
pub type EngineScore = AnyScore<FEAMOE_EXPERTS>;
pub type EngineAttribution = AnyAttribution<FEAMOE_FEATURES, FEAMOE_EXPERTS>;
pub type IntegerWhy = AnyIntegerWhy<FEAMOE_FEATURES, FEAMOE_EXPERTS>;
#[cfg(feature = "device")]
pub type EngineMonitor = AnyMonitor<FEAMOE_GROUPS, FEAMOE_FEATURES>;
pub type EngineRules = Rules<FEAMOE_FEATURES>;
pub type EngineRecourse = AnyRecourse<FEAMOE_FEATURES>;
#[cfg(feature = "device")]
pub type EngineUpdate = AnyUpdate<FEAMOE_WORD>;

pub type Loaded = Sealed<EngineModel, 0x4d_4445>;
pub type LoadedInteger = Sealed<EngineInteger, 0x4d_4449>;
pub type Filled = Sealed<Values<Loaded, EngineRecord>, 0x52_4543>;
pub type FilledInteger = Sealed<Values<LoadedInteger, IntegerRecord>, 0x52_4549>;
#[cfg(feature = "device")]
pub type Watching = Sealed<EngineMonitor, 0x57_4154>;
#[cfg(feature = "device")]
pub type Updating = Sealed<Writer, 0x55_5044>;

/// A record and its model.
pub struct Values<M, R> {
    pub origin: Origin<M>,
    pub record: R,
}

/// The model that created a record: its address, and its checksum at that time.
pub struct Origin<M> {
    pub model: NonNull<M>,
    pub crc32: u32,
}

impl<M> Clone for Origin<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Origin<M> {}

/// An update, and the header that completes it.
#[cfg(feature = "device")]
pub struct Writer {
    pub update: EngineUpdate,
    pub seal: Option<Seal>,
}

/// The working memory of exact values, and the background records. It consists of numbers, and a
/// [`Space`] whose discriminants are bytes, so zeros are a valid value.
#[repr(C)]
pub struct Games {
    pub workspace: AnyWorkspace<FEAMOE_FEATURES, FEAMOE_EXPERTS>,
    pub terms: [[[Term; 2]; FEAMOE_FEATURES]; FEAMOE_BACKGROUND],
}

const _: () = assert!(Space::LogOdds as u8 == 0 || Space::Probability as u8 == 0, "zeros are a space");

/// A model, and the address of one of its records.
type Found<M, V> = (&'static M, NonNull<V>);

/// A model with either kind of weights in the memory of C.
pub trait Kept: Sized + 'static {
    type Model: Scorer<'static, Record<'static> = Self::Record> + 'static;
    type Record: 'static;

    /// # Safety
    /// Like [`Sealed::value`].
    unsafe fn value(place: NonNull<Self>) -> Result<NonNull<Self::Model>, Status>;
}

impl<M: Scorer<'static> + 'static, const KIND: usize> Kept for Sealed<M, KIND> {
    type Model = M;
    type Record = M::Record<'static>;

    unsafe fn value(place: NonNull<Self>) -> Result<NonNull<M>, Status> {
        // SAFETY: by this function's contract.
        unsafe { Self::value(place) }
    }
}

/// Returns the model in the memory of C.
///
/// # Safety
/// The header's contract.
pub unsafe fn loaded<M: Kept>(model: *const M) -> Result<&'static M::Model, Status> {
    let place = place(model.cast_mut())?;
    // SAFETY: readable by the header's contract.
    let model = unsafe { M::value(place) }?;
    // SAFETY: written by a load, and used until the next load.
    Ok(unsafe { model.as_ref() })
}

/// Returns the record in the memory of C, and its model, which must still be the one that created
/// it.
///
/// # Safety
/// The header's contract; nothing else holds the record.
pub unsafe fn values<M: Kept, R: 'static, const KIND: usize>(
    record: *mut Sealed<Values<M, R>, KIND>,
) -> Result<Found<M::Model, Values<M, R>>, Status> {
    let place = place(record)?;
    // SAFETY: readable by the header's contract.
    let values = unsafe { Sealed::value(place) }?;
    // SAFETY: written by an init; not the record itself, which refers to the model.
    let Origin { model, crc32 } = unsafe { (*values.as_ptr()).origin };
    // SAFETY: by the header's contract the model's memory stays as long as its records.
    let model = unsafe { M::value(model) }?;
    // SAFETY: as in `loaded`.
    let model = unsafe { model.as_ref() };
    if model.crc32() == crc32 { Ok((model, values)) } else { Err(Status::OtherModel) }
}

/// Like [`values`], to read.
///
/// # Safety
/// The header's contract.
pub unsafe fn filled<M: Kept, R: 'static, const KIND: usize>(
    record: *const Sealed<Values<M, R>, KIND>,
) -> Result<(&'static M::Model, &'static R), Status> {
    // SAFETY: by this function's contract.
    let (model, values) = unsafe { values(record.cast_mut()) }?;
    // SAFETY: written by an init; not written while it is read.
    Ok((model, unsafe { &values.as_ref().record }))
}

/// Returns the bytes of a blob, or any other bytes.
///
/// # Safety
/// The header's contract: the bytes stay as long as what is made of them.
pub unsafe fn bytes(bytes: *const u8, length: usize) -> Result<&'static [u8], Status> {
    let bytes = NonNull::new(bytes.cast_mut()).ok_or(Status::NullPointer)?;
    // A slice must not be longer than half of the memory; no blob is, nor a slot that holds one.
    if length > MAX_BLOB_BYTES.saturating_add(HEADER_BYTES).saturating_mul(2) {
        return Err(Status::BlobWrongLength);
    }
    // SAFETY: the caller's bytes.
    Ok(unsafe { core::slice::from_raw_parts(bytes.as_ptr(), length) })
}

/// Like [`bytes`], to write to.
///
/// # Safety
/// The header's contract; nothing else uses the bytes.
#[cfg(feature = "device")]
pub unsafe fn bytes_mut(bytes: *mut u8, length: usize) -> Result<&'static mut [u8], Status> {
    let bytes = NonNull::new(bytes).ok_or(Status::NullPointer)?;
    let length = if length > MAX_BLOB_BYTES { MAX_BLOB_BYTES } else { length };
    // SAFETY: the caller's bytes.
    Ok(unsafe { core::slice::from_raw_parts_mut(bytes.as_ptr(), length) })
}

/// A value in the caller's memory, with a seal computed from its address: memory that was never
/// written, that was moved, or that holds another `KIND` is recognised. This does not protect
/// against malice.
#[repr(C)]
pub struct Sealed<T, const KIND: usize> {
    seal: usize,
    value: T,
}

impl<T, const KIND: usize> Sealed<T, KIND> {
    fn seal(place: NonNull<Self>) -> usize {
        place.addr().get() ^ KIND
    }

    /// Breaks the seal: there is no value until the next [`Sealed::put`].
    ///
    /// # Safety
    /// `place` is writable.
    pub unsafe fn clear(place: NonNull<Self>) {
        // Only the seal: the rest may never have been written.
        // SAFETY: the field of a place that is writable.
        let seal = unsafe { &raw mut (*place.as_ptr()).seal };
        // SAFETY: as above; aligned, as `place` is.
        unsafe { seal.write(0) };
    }

    /// Puts a value under its seal.
    ///
    /// # Safety
    /// `place` is writable; nobody holds a reference into it.
    pub unsafe fn put(place: NonNull<Self>, value: T) {
        // SAFETY: by this function's contract.
        unsafe { place.write(Self { seal: Self::seal(place), value }) };
    }

    /// Puts a copy of a value under its seal without using the stack.
    ///
    /// # Safety
    /// Like [`Sealed::put`]; a copy of the value's bytes is a value.
    #[cfg(feature = "device")]
    pub unsafe fn copy(place: NonNull<Self>, from: &'static T) {
        // SAFETY: the field of a place that is writable.
        let value = unsafe { &raw mut (*place.as_ptr()).value };
        // SAFETY: as above; a static is not the caller's memory.
        unsafe { value.copy_from_nonoverlapping(from, 1) };
        // SAFETY: the field of a place that is writable.
        let seal = unsafe { &raw mut (*place.as_ptr()).seal };
        // SAFETY: as above.
        unsafe { seal.write(Self::seal(place)) };
    }

    /// Returns where the value is.
    ///
    /// # Safety
    /// `place` is readable.
    pub unsafe fn value(place: NonNull<Self>) -> Result<NonNull<T>, Status> {
        // SAFETY: the field of a place that is readable.
        let seal = unsafe { &raw const (*place.as_ptr()).seal };
        // SAFETY: as above; every bit pattern is a `usize`.
        if unsafe { seal.read() } != Self::seal(place) {
            return Err(Status::NotInitialised);
        }
        // SAFETY: the field of a place that is not null.
        let value = unsafe { &raw mut (*place.as_ptr()).value };
        NonNull::new(value).ok_or(Status::NullPointer)
    }
}

/// Checks a pointer: neither null nor misaligned.
pub fn place<T>(pointer: *mut T) -> Result<NonNull<T>, Status> {
    let place = NonNull::new(pointer).ok_or(Status::NullPointer)?;
    if place.is_aligned() { Ok(place) } else { Err(Status::Misaligned) }
}

/// Checks a pointer to an array of `length` that is to hold `needed` items; no more are written.
pub fn array<T>(pointer: *mut T, length: usize, needed: usize) -> Result<NonNull<T>, Status> {
    let place = place(pointer)?;
    if length < needed { Err(Status::TooShort) } else { Ok(place) }
}

/// Writes items to an array.
///
/// # Safety
/// [`array`] checked the array for as many.
pub unsafe fn write_array<T: Copy>(array: NonNull<T>, items: &[T]) {
    // The arrays do not overlap: the items belong to the callee.
    // SAFETY: by this function's contract.
    unsafe { array.as_ptr().copy_from_nonoverlapping(items.as_ptr(), items.len()) };
}

/// Returns a string of C.
///
/// # Safety
/// `text` is null, or ends with a NUL.
pub unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, Status> {
    if text.is_null() {
        return Err(Status::NullPointer);
    }
    // SAFETY: not null; the rest by this function's contract.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Status::NotUtf8)
}
