//! Two slots in flash for model blobs. A new model is written into the slot that is not in use,
//! checked in place, tried, and kept only when it is confirmed. An interruption at any time leaves
//! a model that loads.
//!
//! ```no_run
//! use feamoe_engine::Model;
//! use feamoe_engine::slots::{Anyone, Step, Update, choose};
//!
//! # type Error = Box<dyn std::error::Error>;
//! # struct Flash;
//! # impl Flash {
//! #     fn step(&mut self, start: u32, step: Step<'_>) -> Result<(), Error> { Ok(()) }
//! #     fn slots(&self) -> (&'static [u8], &'static [u8]) { (&[], &[]) }
//! #     fn receive(&mut self, buffer: &mut [u8]) -> usize { 0 }
//! #     fn received_bytes(&self) -> u32 { 0 }
//! # }
//! # fn run(mut flash: Flash) -> Result<(), Error> {
//! const STARTS: [u32; 2] = [0x4_0000, 0x6_0000]; // of the slots, for the flash driver
//! const SLOT_BYTES: u32 = 0x2_0000;
//! const WORD: usize = 8; // bytes that the flash writes at once
//! const ERASED: u8 = 0xff;
//! type M<'a> = Model<'a, 16, 12>; // or feamoe_engine::integer::Model
//! let trust = Anyone; // or feamoe_engine::signature::Signers
//!
//! // Once per start: a model on trial is marked before it is used. (A second call would
//! // find it tried, and roll back.)
//! let (first, second) = flash.slots();
//! let mut chosen = choose::<M, M>(first, second, &trust)?;
//! while let Some(step) = chosen.begin::<WORD>() {
//!     flash.step(STARTS[chosen.slot], step)?;
//! }
//! // ... score; once the new model has proved itself:
//! while let Some(step) = chosen.confirm::<WORD>() {
//!     flash.step(STARTS[chosen.slot], step)?;
//! }
//!
//! // An update arrives in pieces.
//! let target = chosen.target().ok_or("a model is on trial: confirm it first")?;
//! let start = STARTS[target.slot];
//! let mut update = Update::<WORD>::new(target, SLOT_BYTES, ERASED, flash.received_bytes())?;
//! for step in update.erase() {
//!     flash.step(start, step)?;
//! }
//! let mut buffer = [0; 256];
//! loop {
//!     let length = flash.receive(&mut buffer);
//!     if length == 0 {
//!         break;
//!     }
//!     let mut chunk = &buffer[..length];
//!     while let Some(step) = update.next(&mut chunk) {
//!         flash.step(start, step)?;
//!     }
//! }
//! if let Some(step) = update.end()? {
//!     flash.step(start, step)?;
//! }
//! let written = if target.slot == 0 { flash.slots().0 } else { flash.slots().1 };
//! let seal = update.check::<M>(written, &trust)?;
//! for step in seal.steps() {
//!     flash.step(start, step)?;
//! }
//! // After a reset, choose gives the new model, on trial.
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! byte 0                   32    unit     2 unit  3 unit      4 unit    5 unit   6 unit
//!      +-------------------+-----+--------+-------+-----------+---------+--------+------+--------+
//!      | header: a frame   | pad | mark:  | mark: | mark:     | mark:   | mark:  | blob | erased |
//!      | with magic "FESL" |     | sealed | tried | confirmed | settled | failed |      |        |
//!      +-------------------+-----+--------+-------+-----------+---------+--------+------+--------+
//!
//! header, a crate::frame = payload: sequence number, blob length, model version, CRC-32 in the
//!                          blob's own header: u32 each
//!                          flags: bit 0: the flash erases to zeros; bits 8 to 15: log2 of the unit
//! unit                   = 32 bytes, or one word if a word is longer (512 at most)
//! sealed                 = bytes 3c; set once any bit of its unit differs from the erased state
//! tried                  = bytes 5a; set under the same condition
//! confirmed, settled     = bytes a5; the model is confirmed once the first 16 bytes of one are a5
//! failed                 = bytes c3; the slot holds nothing once any bit is set, unless the model
//!                          is settled
//! erased                 = padding of the blob to a multiple of a word
//! ```
//!
//! Worked example, sequence 1, a blob of 28 bytes with CRC 0x12345678, not signed, unit 32, erased
//! to ones: `46 45 53 4c` `03 00` `00 05` `10 00 00 00` (CRC-32) `01 00 00 00` `1c 00 00 00` `00 00
//! 00 00` `78 56 34 12`.
//!
//! - **Order.** A slot is erased completely, the blob is written and checked *in flash*, then the
//!   header is written, and then the mark that seals it. Until both are written, the slot is empty.
//!   Each mark has its own unit. Bits only change from erased to written, and no step reads, so
//!   flash with error correction and flash that erases to zeros are supported. No word is written
//!   twice, except a word of a mark that a power cut may have torn, which gets the same bytes; if a
//!   flash refuses this, its driver must skip a word that already holds them.
//! - **Trial.** A new model starts on trial. [`Chosen::begin`] marks it as tried before its first
//!   use; [`Chosen::confirm`] keeps it. A start that finds a model tried but not confirmed returns
//!   to the model in the other slot. Only if that one does not load either is the unconfirmed model
//!   used again. While a model is on trial, no update is accepted that would overwrite the model to
//!   return to. (MCUboot and embassy-boot do the same for firmware.)
//! - **Drivers.** Steps are values and not a trait to implement, so that a blocking driver
//!   (`embedded_storage::nor_flash::NorFlash` has both calls), an `async` driver or a vendor's
//!   driver can execute them. They start and end on multiples of a word. A slot is a multiple of
//!   the driver's erase unit, is read in place, and is aligned to 4 bytes.
//! - **Lifetimes.** The two slots have separate lifetimes: a model borrows only its own slot, so
//!   that the other one can be erased and written meanwhile.
//! - The newer of two sequence numbers is the one that is ahead by less than half their range, so
//!   they may wrap around.
//! - A blob is used only after a load; if the newest blob is damaged or too large for this build,
//!   the other slot is used. Before a slot is skipped because of a wrong checksum, signature or
//!   version, it is read once more, since reading can fail too.
//! - **Trust.** A model is loaded, then verified, and only then sealed or used: at each start, and
//!   when an update is complete. [`Anyone`] verifies nothing; [`crate::signature::Signers`] accepts
//!   models of one line that a trusted key has signed. The header repeats the model's version,
//!   which must equal that of the signature; it remains readable if a confirmed model is damaged.
//! - **Rollback protection.** An update must be at least as new as the model in use and as a
//!   damaged confirmed model, which is known until the next update begins, even if that update is
//!   refused ([`Target::least_version`]). A start compares the two slots by sequence number, not by
//!   version: if the newer model is damaged, an older one is better than none. It accepts no
//!   version below [`crate::signature::Versions::From`], which should be the value of a monotonic
//!   hardware counter. [`Chosen::counter`] gives the value to advance the counter to, once the
//!   model is settled. Advancing it makes an older model in the other slot unusable, so have a last
//!   resort: a model in the firmware, with [`crate::include_model!`]. For an intended rollback,
//!   sign the older model again as a newer version; [`crate::signature::Versions::Any`] is for
//!   devices without a counter.
//! - **A refused update** has overwritten the model in the other slot, never the one in use. The
//!   signature covers all bytes of a blob, so it is verified once all of them have arrived, in the
//!   slot that was erased for them. Checking less would not help, since an attacker can start an
//!   update with an old signed model. If strangers can send updates, authenticate the sender, or
//!   receive a blob into other memory and verify it there ([`Trust::verify`] with
//!   [`Target::least_version`]) before [`Update::erase`].
//! - **Unstable bits.** A power cut can leave a word that reads correctly now and wrongly at a
//!   later start, so a single correct reading is not relied on. Instead, a *later* write vouches
//!   for an earlier one: a bit of a later mark shows that the power lasted until the earlier write
//!   was complete. So *sealed* vouches for the header, and *settled* for *confirmed*. A model that
//!   reads as confirmed without *settled* gets both marks again, by [`Chosen::begin`], before there
//!   is a [`Chosen::target`]: the other slot is erased only when the model in use is certain to
//!   survive any power cut. A slot newer than the one in use is marked as failed before it is
//!   erased, since it could read as confirmed when half erased. Drivers must have finished a step
//!   before the next is taken.
//! - Versions 1 and 2 of the layout can still be read. Version 1 (magic "FEAS": sequence, length,
//!   CRC of these and of the blob's header; the blob at byte 32) is a confirmed model. Version 2
//!   has the unit in place of the model version, no flags for it, and only the marks *tried* and
//!   *confirmed*; the blob is at 3 units. In both, nothing vouches for the header or for
//!   *confirmed*: such a slot is used as it reads, counts as settled, states no model version, and
//!   is not marked as failed before it is erased. The first update in layout 3 ends this. Version 1
//!   with the magic "FESL" was never written and is refused.
//! - [`image`] makes the first image of a factory.
//!
//! If a torn word raises a bus fault (cores with error correction), the firmware must handle that
//! fault.

mod header;
mod trust;
mod update;

use core::fmt;

use crate::error::{LoadError, LoadErrorKind};
use crate::frame::FrameError;
use crate::scorer::Scorer;
use crate::signature::TrustError;
pub use header::{HEADER_BYTES, MAGIC, MAX_WORD, MIN_UNIT, VERSION, blob_at, image, seal, unit};
use header::{Header, Mark, Marks, model_version};
pub use trust::{Anyone, Trust};
pub use update::{Seal, Update};

/// A model from one of the two slots.
#[derive(Debug)]
pub enum Loaded<A, B> {
    /// From the first slot.
    First(A),
    /// From the second slot.
    Second(B),
}

impl<M> Loaded<M, M> {
    /// Returns the model, if both slots have the same lifetime.
    #[must_use]
    pub fn into_inner(self) -> M {
        match self {
            Self::First(model) | Self::Second(model) => model,
        }
    }
}

/// The model to use, and the target of the next one.
#[derive(Debug)]
pub struct Chosen<A, B> {
    /// The newest model that loads and has not failed its trial.
    pub model: Loaded<A, B>,
    /// Its slot, 0 or 1.
    pub slot: usize,
    /// The byte range of its blob in the slot, for [`crate::delta::apply`].
    pub blob: core::ops::Range<usize>,
    /// Why the other slot was skipped; `None` if it holds an older blob.
    pub passed_over: Option<SlotError>,
    /// The version of the model within its line, from the verified signature; 0 with [`Anyone`].
    pub model_version: u32,
    /// The marks of its slot; `None` for version 1.
    marks: Option<Marks>,
    /// The target of the next blob, once the model is settled.
    next: Target,
}

impl<A, B> Chosen<A, B> {
    /// Returns whether the model is on trial.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        self.marks.is_some_and(|marks| !marks.confirmed())
    }

    /// Returns whether the model is confirmed, and certain to read as confirmed at every later
    /// start.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.marks.is_none_or(|marks| marks.confirmed() && marks.settled)
    }

    /// Returns the next step before the model is used, of at most two: to mark it as tried or, if a
    /// power cut may have interrupted confirming it, to confirm it again and mark it as settled.
    /// Returns `None` when done, and for a model that is marked as tried and used because nothing
    /// else loads. `WORD` is the write unit of the flash in bytes.
    #[must_use]
    pub fn begin<const WORD: usize>(&mut self) -> Option<Step<'static>> {
        if !self.on_trial() {
            return self.confirm::<WORD>();
        }
        let marks = self.marks.as_mut().filter(|marks| !marks.tried)?;
        marks.tried = true;
        Some(marks.step::<WORD>(Mark::Tried))
    }

    /// Returns the next step to keep a model: to mark it as confirmed, then as settled; `None` once
    /// both are written. Execute each step before the next call. After the last one there is a
    /// [`Chosen::target`].
    #[must_use]
    pub fn confirm<const WORD: usize>(&mut self) -> Option<Step<'static>> {
        if self.is_settled() {
            return None;
        }
        let marks = self.marks.as_mut()?;
        let mark = if marks.confirmed() && marks.is_certain { Mark::Settled } else { Mark::Confirmed };
        let step = marks.step::<WORD>(mark);
        marks.made(mark);
        Some(step)
    }

    /// Returns the target of the next blob, the other slot. `None` while the model is not settled
    /// and the other slot has a model to return to.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        if !self.is_settled() && self.passed_over.is_none() { None } else { Some(self.next) }
    }

    /// Returns the value to which a monotonic hardware counter that holds `counter` should be
    /// advanced: the version of the model, once it is settled. `None` if it is not higher.
    #[must_use]
    pub fn counter(&self, counter: u32) -> Option<u32> {
        Some(self.model_version).filter(|version| self.is_settled() && *version > counter)
    }
}

impl Marks {
    fn step<const WORD: usize>(&self, mark: Mark) -> Step<'static> {
        // Words that a power cut left complete are not written again.
        let is_torn = mark == Mark::Confirmed && !self.confirmed();
        let standing = if is_torn { self.confirmed_bytes & !WORD.wrapping_sub(1) } else { 0 };
        let bytes = mark.bytes::<WORD>();
        // A unit has 512 bytes at most.
        #[allow(clippy::cast_possible_truncation)]
        let at = self.at(mark).wrapping_add(standing) as u32;
        Step::Write { at, bytes: bytes.get(standing..).unwrap_or(bytes) }
    }
}

/// Neither slot holds a model that this build can use.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoModel {
    /// Why, for each slot.
    pub errors: [SlotError; 2],
    /// The target of the first blob.
    pub target: Target,
}

/// Why a slot's blob cannot be used.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError {
    /// The slot is erased, or writing a blob was interrupted.
    Empty,
    /// The header is damaged, or writing it was interrupted.
    Header(FrameError),
    /// The header has a correct checksum but is invalid: it has no valid unit, or the bytes are not
    /// a blob.
    Malformed,
    /// The header is not sealed: a power cut interrupted writing it, or came right after.
    NotSealed,
    /// The blob is not the one that the header was written for.
    OtherBlob,
    /// The blob does not fit into the slot.
    TooLong {
        /// Bytes of the blob, with header, marks and padding.
        found: usize,
        /// Bytes of the slot.
        capacity: usize,
    },
    /// The blob is damaged, or this build cannot hold it.
    Refused(LoadError),
    /// The model is not trusted.
    Untrusted(TrustError),
    /// The model was tried and not confirmed.
    NotConfirmed,
    /// The update has not received or written all bytes.
    Incomplete {
        /// Bytes written.
        found: u32,
        /// Bytes of the blob.
        expected: u32,
    },
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no model: erased, or writing was interrupted"),
            Self::Header(error) => write!(f, "slot {error}; the slot is damaged"),
            Self::Malformed => f.write_str("the slot's header is not one that this crate writes"),
            Self::NotSealed => f.write_str("no model: writing the header was interrupted"),
            Self::OtherBlob => f.write_str("the slot's blob is not the one that its header declares"),
            Self::TooLong { found, capacity } => {
                write!(f, "the model needs {found} bytes, but the slot has {capacity}")
            }
            Self::Refused(error) => error.fmt(f),
            Self::Untrusted(error) => error.fmt(f),
            Self::NotConfirmed => f.write_str("the model was tried and not confirmed"),
            Self::Incomplete { found, expected } => {
                write!(f, "{found} bytes are written, but the model has {expected}")
            }
        }
    }
}

impl core::error::Error for SlotError {}

impl fmt::Display for NoModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.errors;
        write!(f, "no usable model; slot 0: {first}; slot 1: {second}")
    }
}

impl core::error::Error for NoModel {}

/// The target of a blob: the slot and the sequence number.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The slot, 0 or 1.
    pub slot: usize,
    /// The sequence number, which makes it the newest.
    pub sequence: u32,
    /// Lowest accepted version within its line: that of the model in use, or of a damaged confirmed
    /// model if that is higher. The version of the damaged model is known until the next update
    /// begins, whether refused or not, since that erases it.
    pub least_version: u32,
    /// The byte offset at which the slot is marked as failed before it is erased; `None` if this is
    /// not needed.
    pub failed_at: Option<u32>,
}

/// A step that a driver has to execute. Offsets are in bytes from the start of the slot.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Erase from one offset to before another.
    Erase {
        /// The first byte.
        from: u32,
        /// One past the last byte.
        to: u32,
    },
    /// Write bytes to an erased place.
    Write {
        /// The offset of the first byte.
        at: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// Loads the newest valid model of two slots, each given with all its bytes in flash. `A` and `B`
/// are the same type, [`crate::Model`] or [`crate::integer::Model`], with the lifetimes of the two
/// slots.
///
/// A model is loaded, then verified by `trust`. An untrusted model is skipped like a damaged one.
///
/// Cost: that of a load and a verification, twice if the newer blob is refused, and once more for
/// each wrong checksum, signature or version.
///
/// # Errors
/// [`NoModel`], with the reason for each slot, and where to write one.
pub fn choose<'a, 'b, A: Scorer<'a>, B: Scorer<'b>>(
    first: &'a [u8],
    second: &'b [u8],
    trust: &impl Trust,
) -> Result<Chosen<A, B>, NoModel> {
    let headers = [read_retried(first), read_retried(second)];
    let [first_header, second_header] = headers;
    let second_is_newer = match (first_header, second_header) {
        (Ok(first), Ok(second)) => is_newer(second.sequence, first.sequence),
        (first, second) => first.is_err() && second.is_ok(),
    };
    // Greater than every sequence number in use, including that of a refused blob.
    let newest = if second_is_newer { second_header } else { first_header };
    let sequence = newest.map_or(0, |header| header.sequence.wrapping_add(1));
    let load = |slot: usize| {
        if slot == 0 {
            load_slot(first, first_header, trust).map(|(model, more)| (Loaded::First(model), more))
        } else {
            load_slot(second, second_header, trust).map(|(model, more)| (Loaded::Second(model), more))
        }
    };
    let order = if second_is_newer { [1, 0] } else { [0, 1] };
    let [newer, older] = order;
    let mut errors = [SlotError::Empty; 2];
    // First the models that did not fail a trial; if none of them loads, a failed one is better
    // than none.
    for failed in [false, true] {
        // If both failed, the older one, which was in use when the newer one failed.
        let [first_choice, second_choice] = if failed { [older, newer] } else { order };
        for (slot, other) in [(first_choice, second_choice), (second_choice, first_choice)] {
            let header = if slot == 0 { first_header } else { second_header };
            let has_failed = header.is_ok_and(|header| header.has_failed());
            if has_failed != failed {
                continue;
            }
            match load(slot) {
                Ok((model, (header, model_version))) => {
                    let blob = header.blob_at..header.blob_at.wrapping_add(header.length as usize);
                    let passed_over = passed_over(slot, headers, errors);
                    let others = if other == newer { newest } else { Err(SlotError::Empty) };
                    let failed_at = others.ok().and_then(|header| header.failed_at());
                    let least_version = least_version(headers, errors).max(model_version);
                    let next = Target { slot: other, sequence, least_version, failed_at };
                    return Ok(Chosen { model, slot, blob, passed_over, model_version, marks: header.marks, next });
                }
                Err(error) => {
                    if let Some(to) = errors.get_mut(slot) {
                        *to = error;
                    }
                }
            }
        }
    }
    let least_version = least_version(headers, errors);
    Err(NoModel { errors, target: Target { slot: newer, sequence, least_version, failed_at: None } })
}

/// Returns the highest version among confirmed models that are damaged, since damage must not allow
/// a rollback. The version in a header does not count if the model was never trusted, or if it is
/// intact but not for this build.
fn least_version(headers: [Result<Header, SlotError>; 2], errors: [SlotError; 2]) -> u32 {
    let lost = |(header, error): (Result<Header, SlotError>, SlotError)| {
        let header = header.ok().filter(|header| header.marks.is_some_and(|marks| marks.confirmed()))?;
        header.model_version.filter(|_| is_damage(&error))
    };
    headers.into_iter().zip(errors).filter_map(lost).max().unwrap_or(0)
}

/// Returns why the slot other than the chosen one was skipped: `None` if it holds an older blob.
fn passed_over(
    chosen: usize,
    [first, second]: [Result<Header, SlotError>; 2],
    [first_error, second_error]: [SlotError; 2],
) -> Option<SlotError> {
    let (header, error) = if chosen == 0 { (second, second_error) } else { (first, first_error) };
    match header {
        Err(error) => Some(error),
        Ok(header) if header.has_failed() => Some(SlotError::NotConfirmed),
        // Only the header of the older slot was read; a failed load would leave another error.
        Ok(_) if error == SlotError::Empty => None,
        Ok(_) => Some(error),
    }
}

impl Header {
    /// Returns whether the model is not to be used.
    fn has_failed(&self) -> bool {
        self.marks.is_some_and(|marks| marks.has_failed())
    }
}

impl Header {
    /// Returns the offset of the mark that a slot newer than the one in use gets before it is
    /// erased, since it could read as confirmed when half erased. `None` if it is written already,
    /// or there is none.
    fn failed_at(&self) -> Option<u32> {
        let marks = self.marks.filter(|marks| marks.version >= 3 && !marks.failed_whole)?;
        u32::try_from(marks.at(Mark::Failed)).ok()
    }
}

/// Returns whether sequence number `a` is newer than `b`: serial number arithmetic (RFC 1982,
/// section 3.2).
fn is_newer(a: u32, b: u32) -> bool {
    (1..1 << 31).contains(&a.wrapping_sub(b))
}

/// Loads the blob of a slot and verifies it. Also returns the model's version from `trust`.
fn load_slot<'a, M: Scorer<'a>>(
    slot: &'a [u8],
    header: Result<Header, SlotError>,
    trust: &impl Trust,
) -> Result<(M, (Header, u32)), SlotError> {
    let header = header?;
    let length = header.length as usize;
    let blob = slot.get(header.blob_at..).and_then(|rest| rest.get(..length));
    let too_long = SlotError::TooLong { found: length.saturating_add(header.blob_at), capacity: slot.len() };
    let (model, version) = load_trusted(blob.ok_or(too_long)?, header.model_version, trust, 0)?;
    Ok((model, (header, version)))
}

/// Reads the header of a slot, and once more if its checksum is wrong.
fn read_retried(slot: &[u8]) -> Result<Header, SlotError> {
    retried(|| Header::read(core::hint::black_box(slot)))
}

/// Loads a blob and verifies it, with no version below `least`. Also returns the model's version
/// from `trust`. `stated` is the version in the slot's header. Everything is repeated once if
/// unstable bits may be the reason for a failure.
fn load_trusted<'a, M: Scorer<'a>>(
    blob: &'a [u8],
    stated: Option<u32>,
    trust: &impl Trust,
    least: u32,
) -> Result<(M, u32), SlotError> {
    // Keeps the compiler from reusing the first reading.
    retried(|| load_once(core::hint::black_box(blob), stated, trust, least))
}

/// Like [`load_trusted`], without repetition; a separate function because it is called twice.
#[inline(never)]
fn load_once<'a, M: Scorer<'a>>(
    blob: &'a [u8],
    stated: Option<u32>,
    trust: &impl Trust,
    least: u32,
) -> Result<(M, u32), SlotError> {
    let model = M::load(blob).map_err(SlotError::Refused)?;
    if stated.is_some_and(|version| version != model_version(blob)) {
        return Err(SlotError::OtherBlob);
    }
    let version = trust.verify(blob, least).map_err(SlotError::Untrusted)?;
    Ok((model, version))
}

/// Returns whether an error means that the bytes of a blob are damaged, and not that they are for
/// another build.
fn is_damage(error: &SlotError) -> bool {
    let SlotError::Refused(LoadError { kind: LoadErrorKind::Frame(frame), .. }) = error else { return false };
    !matches!(frame, FrameError::UnsupportedVersion { .. })
}

/// Returns whether an unstable bit can cause the error, so that another reading is worthwhile.
fn is_glitch(error: &SlotError) -> bool {
    match error {
        SlotError::Header(FrameError::WrongChecksum { .. }) | SlotError::OtherBlob | SlotError::Untrusted(_) => true,
        SlotError::Refused(error) => matches!(error.kind, LoadErrorKind::Frame(FrameError::WrongChecksum { .. })),
        _ => false,
    }
}

/// Repeats something once if it fails with a possible glitch.
fn retried<T>(mut once: impl FnMut() -> Result<T, SlotError>) -> Result<T, SlotError> {
    match once() {
        Err(error) if is_glitch(&error) => once(),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_glitch_is_tried_again_and_only_once() {
        let checksum = FrameError::WrongChecksum { found: 1, expected: 2 };
        let damaged = SlotError::Refused(LoadError { kind: LoadErrorKind::Frame(checksum), at: 12 });
        let glitches = [
            SlotError::Header(checksum),
            SlotError::OtherBlob,
            SlotError::Untrusted(TrustError::WrongSignature),
            SlotError::Untrusted(TrustError::OtherKey),
            damaged,
        ];
        let of = |results: &[Result<u32, SlotError>]| {
            let (mut results, mut made) = (results.iter().copied(), 0);
            let found = retried(|| {
                made += 1;
                results.next().unwrap_or(Err(SlotError::Empty))
            });
            (found, made)
        };
        assert_eq!(of(&[Ok(1)]), (Ok(1), 1));
        for glitch in glitches {
            assert_eq!(of(&[Err(glitch), Ok(2)]), (Ok(2), 2));
            assert_eq!(of(&[Err(glitch), Err(glitch), Ok(3)]), (Err(glitch), 2));
        }
        for other in [SlotError::NotSealed, SlotError::Header(FrameError::TrailingBytes { found: 1, expected: 0 })] {
            assert_eq!(of(&[Err(other), Ok(4)]), (Err(other), 1));
        }
    }
}
