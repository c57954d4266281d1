//! What lies in the memory of C, and pointers to it, checked as far as a callee can: null, misaligned, too short, or to memory that does not hold what it should.

use core::ffi::{CStr, c_char};
use core::ptr::NonNull;

// By other names than those C sees: cbindgen tells types apart by their names.
use feamoe_engine::{Attribution as AnyAttribution, Model as AnyModel, Record as AnyRecord, Score as AnyScore};

use crate::status::Status;
use crate::{FEAMOE_EXPERTS, FEAMOE_FEATURES};

pub type EngineModel = AnyModel<'static, FEAMOE_FEATURES, FEAMOE_EXPERTS>;
pub type EngineRecord = AnyRecord<'static, FEAMOE_FEATURES>;
pub type EngineScore = AnyScore<FEAMOE_EXPERTS>;
pub type EngineAttribution = AnyAttribution<FEAMOE_FEATURES, FEAMOE_EXPERTS>;
pub type Loaded = Sealed<EngineModel, 0x4d_4445>;
pub type Filled = Sealed<Values, 0x52_4543>;

/// A record and what it belongs to.
pub struct Values {
    pub origin: Origin,
    pub record: EngineRecord,
}

/// The model that made a record: where it is, and which was there then.
#[derive(Clone, Copy)]
pub struct Origin {
    pub model: NonNull<Loaded>,
    pub crc32: u32,
}

/// A value in memory of the caller's, under a seal made of its address: memory that was never written, that was moved or that holds another `KIND` is told
/// apart. Not against malice: who writes a seal by hand gets what he wrote.
#[repr(C)]
pub struct Sealed<T, const KIND: usize> {
    seal: usize,
    value: T,
}

impl<T, const KIND: usize> Sealed<T, KIND> {
    fn seal(place: NonNull<Self>) -> usize {
        place.addr().get() ^ KIND
    }

    /// Opens the seal: until the next [`Sealed::put`] nothing is here.
    ///
    /// # Safety
    /// `place` is writable.
    pub unsafe fn clear(place: NonNull<Self>) {
        // Of the seal alone: the rest may never have been written.
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

/// Checks a pointer to an array of `length` that is to hold `needed` numbers; no more are written.
pub fn numbers(pointer: *mut f32, length: usize, needed: usize) -> Result<NonNull<f32>, Status> {
    let place = place(pointer)?;
    if length < needed { Err(Status::TooShort) } else { Ok(place) }
}

/// Writes numbers to an array.
///
/// # Safety
/// [`numbers`] checked the array for as many.
pub unsafe fn write_numbers(array: NonNull<f32>, numbers: &[f32]) {
    // Both are distinct: the numbers are the callee's.
    // SAFETY: by this function's contract.
    unsafe { array.as_ptr().copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) };
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
