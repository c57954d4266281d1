//! Two places in flash for model blobs. A new model is written beside the one in use, checked where
//! it lies, tried, and kept only when it is confirmed; whatever cuts this short leaves a model that
//! loads.
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
//! // Once at each start: a model on trial is marked before it is used. (A second call would
//! // find it tried, and go back.)
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
//! byte 0                        32     unit     2 unit  3 unit      4 unit    5 unit   6 unit
//!      +------------------------+------+--------+-------+-----------+---------+--------+------+------------------+
//!      | header, a crate::frame | pad  | mark:  | mark: | mark:     | mark:   | mark:  | blob | erased, to a     |
//!      | of magic "FESL"        |      | sealed | tried | confirmed | settled | failed |      | multiple of a    |
//!      |                        |      |        |       |           |         |        |      | word             |
//!      +------------------------+------+--------+-------+-----------+---------+--------+------+------------------+
//!
//! payload of the header = sequence number, blob length, model version, CRC-32 that the blob's own header holds: u32 each
//! flags of the header   = bit 0: the flash erases to zeros; bits 8 to 15: which power of two the unit is
//! unit                  = 32 bytes, or one word where a word is longer (512 at most)
//! sealed                = bytes 3c; stands once any bit of its unit differs from the erased state
//! tried                 = bytes 5a; stands as the one before
//! confirmed, settled    = bytes a5; the model is confirmed once the first 16 bytes of either are a5
//! failed                = bytes c3; the slot holds nothing once any bit stands, unless the model is settled
//! ```
//!
//! Worked example, sequence 1, a blob of 28 bytes with CRC 0x12345678, not signed, unit 32, erased
//! to ones: `46 45 53 4c` `03 00` `00 05` `10 00 00 00` (CRC-32) `01 00 00 00` `1c 00 00 00` `00 00
//! 00 00` `78 56 34 12`.
//!
//! - **Order.** A slot is erased whole, the blob is written, checked *in flash*, and the header is
//!   written after it, then the mark that seals it: until both stand, the slot holds nothing. Each
//!   mark has a unit of its own. No word is written twice (but one of a mark that a cut may have
//!   left torn: by the same bytes; where a flash refuses that, its driver leaves out a word that
//!   holds them), bits go from erased to written only, and no step reads: so a flash with error
//!   correction takes it, and one that erases to zeros.
//! - **Trial.** A new model starts on trial. [`Chosen::begin`] marks it as tried before its first
//!   use; [`Chosen::confirm`] keeps it. A start that finds a model tried and not confirmed goes
//!   back to the other slot's model. Only where that one does not load either is the unconfirmed
//!   model used again. While a model is on trial no update is accepted that would overwrite the
//!   model to go back to. (MCUboot and embassy-boot do the same for firmware.)
//! - **Drivers.** Steps are values and not a trait to implement, so that a blocking driver
//!   (`embedded_storage::nor_flash::NorFlash` has both calls), an `async` one or a vendor's can
//!   take them. They start and end on multiples of a word. A slot is a whole number of the driver's
//!   erase units, read in place, on a multiple of 4.
//! - **Lifetimes.** The two slots have lifetimes of their own: a model borrows only the slot it
//!   lies in, so that the other one can be erased and written meanwhile.
//! - The newer of two sequence numbers is the one that lies ahead by less than half their range:
//!   they may wrap around.
//! - A blob is in use only after a load: the other slot serves where the newest blob is damaged or
//!   larger than this build holds. Before a slot is skipped for a checksum, a signature or a
//!   version that does not fit, it is read once more: reading can fail too.
//! - **Trust.** A model is loaded, then verified, and only then sealed or used: at each start, and
//!   when an update is complete. [`Anyone`] verifies nothing; [`crate::signature::Signers`] takes
//!   the models that a key has signed, of one line. The header repeats the model's version, and
//!   must state that of the signature: of a confirmed model that is damaged it is what is left to
//!   know.
//! - **No way back.** An update must be as new as the model in use, and as a confirmed one that is
//!   damaged, until the next update begins, refused or not ([`Target::least_version`]). A start
//!   compares the two slots by sequence number, not by version: where the newer one is damaged, an
//!   older one is better than none. It takes no version below [`crate::signature::Versions::From`]:
//!   give it what a counter of the hardware holds that only counts up. [`Chosen::counter`] is what
//!   to advance it to, once the model is settled. Advancing it gives up an older model in the other
//!   slot: have a last resort then, a model in the firmware by [`crate::include_model!`]. For a way
//!   back on purpose, sign the older model once more as a newer version;
//!   [`crate::signature::Versions::Any`] is for devices without a counter.
//! - **An update that is refused** has cost the model in the other slot, never the one in use. The
//!   signature covers all bytes of a blob, so it is verified once all of them have arrived, and
//!   they arrive in the slot that was erased for them. Nothing shorter would do: whoever can send
//!   an update has an old signed model to begin one with. Where strangers can send updates,
//!   authenticate who sends, or receive a blob into other memory and verify it there
//!   ([`Trust::verify`] with [`Target::least_version`]) before [`Update::erase`].
//! - **Bits that read by chance.** A cut can leave a word that reads right now and wrong at a later
//!   start, so nothing is relied on because it was read once. What is written *after* something
//!   vouches for it: a bit of a later mark says that the power had lasted to the end of what stands
//!   before it. So *sealed* vouches for the header, and *settled* for *confirmed*; a model that
//!   reads as confirmed without *settled* gets both once more, by [`Chosen::begin`], before there
//!   is a [`Chosen::target`]: the other slot is erased only when the model in use is certain to be
//!   there after any cut. A slot that is newer than the one in use is marked as failed before it is
//!   erased: half erased, it could read as confirmed. Drivers must have finished a step when the
//!   next is taken.
//! - Versions 1 and 2 of the layout still read. Version 1 (magic "FEAS": sequence, length, CRC of
//!   these and of the blob's header; the blob at byte 32) is a confirmed model. Version 2 has the
//!   unit in the place of the model version, no flags for it, and of the marks *tried* and
//!   *confirmed* only; the blob at 3 units. Of both nothing vouches for the header or for
//!   *confirmed*: such a slot is taken as it reads, counts as settled, states no version of its
//!   model, and is not marked as failed before it is erased. The first update in layout 3 ends
//!   that. Version 1 with the magic "FESL" was never written and is refused.
//! - [`image`] makes the first image of a factory.
//!
//! Where a torn word raises a bus fault (cores that correct errors), the handler of that fault
//! belongs to the firmware.

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

/// A model of one of the two slots, whichever it lies in.
#[derive(Debug)]
pub enum Loaded<A, B> {
    /// Of the first slot.
    First(A),
    /// Of the second slot.
    Second(B),
}

impl<M> Loaded<M, M> {
    /// Returns the model, where both slots live as long.
    #[must_use]
    pub fn into_inner(self) -> M {
        match self {
            Self::First(model) | Self::Second(model) => model,
        }
    }
}

/// The model to use, and where the next one goes.
#[derive(Debug)]
pub struct Chosen<A, B> {
    /// The newest model that loads, and is not one that failed its trial.
    pub model: Loaded<A, B>,
    /// The slot it lies in, 0 or 1.
    pub slot: usize,
    /// Where its blob lies in the slot, in bytes: what [`crate::delta::apply`] changes.
    pub blob: core::ops::Range<usize>,
    /// Why the other slot was skipped, where it does not hold an older blob.
    pub passed_over: Option<SlotError>,
    /// Which version of its line the model is, by the signature that was verified; 0 by [`Anyone`].
    pub model_version: u32,
    /// The marks of its slot, but of version 1.
    marks: Option<Marks>,
    /// Where the next blob goes once the model is settled.
    next: Target,
}

impl<A, B> Chosen<A, B> {
    /// Returns whether the model is on trial.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        self.marks.is_some_and(|marks| !marks.confirmed())
    }

    /// Returns whether the model is confirmed, and certain to be found so at every later start.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.marks.is_none_or(|marks| marks.confirmed() && marks.settled)
    }

    /// Returns the next step to take before the model is used, of two at most: to mark it as tried,
    /// or, where a cut may have fallen into confirming it, to confirm it once more and as settled.
    /// `None` once that is done, and for a model that is marked as tried and serves because nothing
    /// else loads. `WORD`: the bytes that the flash writes at once.
    #[must_use]
    pub fn begin<const WORD: usize>(&mut self) -> Option<Step<'static>> {
        if !self.on_trial() {
            return self.confirm::<WORD>();
        }
        let marks = self.marks.as_mut().filter(|marks| !marks.tried)?;
        marks.tried = true;
        Some(marks.step::<WORD>(Mark::Tried))
    }

    /// Returns the next step that keeps a model: to mark it as confirmed, then as settled; `None`
    /// once both stand. Take each step before the next call: from then on there is a
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

    /// Returns where the next blob goes: the other slot. `None` while the model is not settled and
    /// the other slot holds one to go back to.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        if !self.is_settled() && self.passed_over.is_none() { None } else { Some(self.next) }
    }

    /// Returns what a monotonic counter of the hardware that holds `counter` is to be advanced to:
    /// the version of the model, once it is settled; `None` if that is no more.
    #[must_use]
    pub fn counter(&self, counter: u32) -> Option<u32> {
        Some(self.model_version).filter(|version| self.is_settled() && *version > counter)
    }
}

impl Marks {
    fn step<const WORD: usize>(&self, mark: Mark) -> Step<'static> {
        // Words that a cut left standing are not written again.
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
    /// Where the first blob goes.
    pub target: Target,
}

/// Why a slot's blob cannot be used.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError {
    /// No blob: the slot is erased, or writing one was cut short.
    Empty,
    /// The header is damaged, or writing it was cut short.
    Header(FrameError),
    /// The header passes its checksum and makes no sense: no unit of a flash, or bytes that are no
    /// blob.
    Malformed,
    /// The header is not sealed: a cut fell into writing it, or came right after.
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
    /// The update has not received or written all its bytes.
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
            Self::Empty => f.write_str("no model: erased, or writing was cut short"),
            Self::Header(error) => write!(f, "slot {error}: the slot is damaged"),
            Self::Malformed => f.write_str("the slot's header is not one that this crate writes"),
            Self::NotSealed => f.write_str("no model: writing the header was cut short"),
            Self::OtherBlob => f.write_str("the slot's blob is not the one that its header declares"),
            Self::TooLong { found, capacity } => write!(f, "the model needs {found} bytes, the slot has {capacity}"),
            Self::Refused(error) => error.fmt(f),
            Self::Untrusted(error) => error.fmt(f),
            Self::NotConfirmed => f.write_str("the model was tried and not confirmed"),
            Self::Incomplete { found, expected } => write!(f, "{found} bytes are written, the model has {expected}"),
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

/// Where a blob goes, and with which sequence number.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The slot, 0 or 1.
    pub slot: usize,
    /// What makes it the newest.
    pub sequence: u32,
    /// Lowest version of its line that it may be: that of the model in use, or of a confirmed one
    /// that is damaged where that is higher. Of the damaged one it is known until the next update
    /// begins, refused or not, for that erases it.
    pub least_version: u32,
    /// Where the slot is marked as failed before it is erased, in bytes; `None` if it need not be.
    pub failed_at: Option<u32>,
}

/// What a driver has to do next. Offsets are in bytes from the start of the slot.
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
    /// Write bytes to where was erased.
    Write {
        /// Where the first one goes.
        at: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// Loads the newest valid model of two slots, each given with all its bytes, as they lie in flash.
/// `A` and `B` are the same model, [`crate::Model`] or [`crate::integer::Model`], of the lifetime
/// of either slot.
///
/// A model is loaded, then verified by `trust`; one that is not trusted is skipped like one that is
/// damaged.
///
/// Cost: that of a load and a verification, twice where the newer blob is refused, and once more
/// for each checksum, signature or version that does not fit.
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
    // Past every sequence number there is, that of a blob that is refused too.
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
    // First those that did not fail a trial; where none of them loads, one that did is better than
    // none.
    for failed in [false, true] {
        // Of two that failed, the one before: it was in use when the newer one failed.
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

/// Returns the highest version among the models that were confirmed and are damaged: damage is no
/// way back. What a header states counts neither where nobody's trust has taken its model nor where
/// the model is whole and not for this build.
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
        // Of the older slot only the header was read: a load that fails leaves another error.
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
    /// Returns where the mark goes that a newer slot than the one in use gets before it is erased:
    /// half erased, it could read as a model that is confirmed. `None` if it stands, or there is
    /// none.
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

/// Loads the blob of a slot and verifies it; returns the model's version by `trust` too.
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

/// Reads the header of a slot, once more where its checksum fails.
fn read_retried(slot: &[u8]) -> Result<Header, SlotError> {
    retried(|| Header::read(core::hint::black_box(slot)))
}

/// Loads a blob and verifies it, no version below `least`; returns the model's version by `trust`
/// too. `stated`: the version that the slot's header states. All of it is done once more where bits
/// that read by chance can be why it fails.
fn load_trusted<'a, M: Scorer<'a>>(
    blob: &'a [u8],
    stated: Option<u32>,
    trust: &impl Trust,
    least: u32,
) -> Result<(M, u32), SlotError> {
    // So that the compiler does not take the second reading for the first.
    retried(|| load_once(core::hint::black_box(blob), stated, trust, least))
}

/// Like [`load_trusted`], once; a function of its own, for it is called twice.
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

/// Returns whether an error says that the bytes of a blob are not those that were written, and not
/// that they are for another build.
fn is_damage(error: &SlotError) -> bool {
    let SlotError::Refused(LoadError { kind: LoadErrorKind::Frame(frame), .. }) = error else { return false };
    !matches!(frame, FrameError::UnsupportedVersion { .. })
}

/// Returns whether an error can come of a bit that reads by chance, and worth another reading.
fn is_glitch(error: &SlotError) -> bool {
    match error {
        SlotError::Header(FrameError::WrongChecksum { .. }) | SlotError::OtherBlob | SlotError::Untrusted(_) => true,
        SlotError::Refused(error) => matches!(error.kind, LoadErrorKind::Frame(FrameError::WrongChecksum { .. })),
        _ => false,
    }
}

/// Does something once more where it fails by what can be a glitch.
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
