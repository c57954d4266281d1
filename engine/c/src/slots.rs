//! Updates in the field: two slots of flash, trusted signers, and deltas.

use core::ffi::{c_char, c_int, c_void};

use feamoe_engine::signature::{PublicKey, Signers as EngineSigners, TrustError, Versions};
use feamoe_engine::slots::{
    self, Loaded as InSlot, NoModel, SlotError, Step as EngineStep, Target as EngineTarget, Trust,
};
use feamoe_engine::{Scorer, delta};

use crate::capacity::FEAMOE_WORD;
use crate::memory::{self, EngineInteger, EngineModel, EngineUpdate, Loaded, LoadedInteger, Sealed, Updating, Writer};
use crate::model::{IntegerModel, Model};
use crate::status;
use crate::status::Status;

/// Size of a feamoe_update, in units of 8 bytes.
pub const FEAMOE_UPDATE_WORDS: usize = FEAMOE_WORD / 8 + 82;

/// An update of a slot in progress: opaque, in memory that you provide.
#[repr(C)]
pub struct Update {
    opaque: [u64; FEAMOE_UPDATE_WORDS],
}

/// The kind of a feamoe_step.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum StepKind {
    /// Nothing.
    None = 0,
    /// Erase from one offset to before another.
    Erase = 1,
    /// Write bytes to an erased place.
    Write = 2,
}

/// A step that the driver of the flash has to execute. Offsets are in bytes from the start of the
/// slot, and multiples of a word. A step must be finished before the next one is requested or
/// executed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Step {
    /// The kind of the step.
    pub kind: StepKind,
    /// The first byte.
    pub from: u32,
    /// One past the last byte.
    pub to: u32,
    /// The bytes to write, to - from of them; NULL if there is nothing to write.
    pub bytes: *const u8,
}

/// The target of a model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Target {
    /// The slot, 0 or 1.
    pub slot: usize,
    /// The sequence number, which makes it the newest.
    pub sequence: u32,
    /// Lowest accepted version within its line.
    pub least_version: u32,
    /// Offset at which the slot is marked as failed before it is erased; 0 if this is not needed.
    pub failed_at: u32,
}

/// The model to use, with its steps. Choose once after each reset: a second call would find a model
/// on trial already tried, and return to the previous one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Chosen {
    /// The slot of the model, 0 or 1.
    pub slot: usize,
    /// Whether the model is on trial: execute the steps `confirm` to keep it. Otherwise, the next
    /// start returns to the previous model.
    pub on_trial: bool,
    /// Whether an update may be written to `target` once the steps `begin` are executed; if not,
    /// once the steps `confirm` are.
    pub can_update: bool,
    /// The version of the model within its line, as reported by the verifying function; 0 with
    /// feamoe_verify_anyone. Advance a monotonic hardware counter to it: once the steps `confirm`
    /// are executed if the model is on trial, otherwise once the steps `begin` are.
    pub model_version: u32,
    /// For each slot, why its model is not used: a feamoe_status, 0 for the one in use and for an
    /// older one.
    pub passed_over: [c_int; 2],
    /// Steps to execute in that slot, in order, before the model is used. Some of their words may
    /// be written already, since a power cut can leave a mark torn: if the flash does not allow a
    /// second write of a word, the driver must skip words that already hold the same bytes.
    pub begin: [Step; 2],
    /// Steps to execute in that slot, in order, to keep a model on trial.
    pub confirm: [Step; 2],
    /// The target of the next model.
    pub target: Target,
}

/// Checks whether a valid model is trusted and its version is not below least_version; called with
/// the given context, for each model before it is used. Returns 0 and the model's version, or a
/// feamoe_status with the reason; any other number is reported as FEAMOE_STATUS_UNKNOWN.
/// feamoe_verify_signed and feamoe_verify_anyone are such functions; NULL is not allowed.
pub type Verify = Option<
    unsafe extern "C" fn(
        context: *const c_void,
        blob: *const u8,
        blob_bytes: usize,
        least_version: u32,
        model_version: *mut u32,
    ) -> c_int,
>;

/// The trust settings of a device: who may sign its models, and for what. The context of
/// feamoe_verify_signed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Signers {
    /// The trusted public keys, of 32 bytes each, one after another; more than one while a key is
    /// being replaced. They are the last 32 bytes of a public key in DER.
    pub keys: *const u8,
    /// Number of keys.
    pub key_count: usize,
    /// The line of models, as given to `feamoe sign`.
    pub line: *const c_char,
    /// SHA-256 of the schema that the program was written for, 32 bytes, as shown by `feamoe
    /// inspect`; NULL for any.
    pub schema_sha256: *const u8,
    /// Lowest accepted version: the one that the program was built with, or the value of a hardware
    /// counter, whichever is higher.
    pub least_version: u32,
}

const _: () = {
    let fits = size_of::<Updating>() <= size_of::<Update>() && align_of::<Updating>() <= align_of::<Update>();
    assert!(fits, "raise FEAMOE_UPDATE_WORDS: an update of the engine has grown");
};

/// A feamoe_verify that trusts any model that loads, of any version, for a device whose flash
/// nobody else can write. context is not read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_verify_anyone(
    context: *const c_void,
    blob: *const u8,
    blob_bytes: usize,
    least_version: u32,
    model_version: *mut u32,
) -> c_int {
    let _ = (context, blob, blob_bytes);
    let taken = status(|| {
        let version = memory::place(model_version)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { version.write(least_version) };
        Ok(())
    });
    taken as c_int
}

/// A feamoe_verify that verifies signed models with the Ed25519 keys of a feamoe_signers, to which
/// context points. Its code (for the size, see engine/costs.md) is linked only if it is used, given
/// a linker that removes unused sections (--gc-sections).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_verify_signed(
    context: *const c_void,
    blob: *const u8,
    blob_bytes: usize,
    least_version: u32,
    model_version: *mut u32,
) -> c_int {
    let verified = status(|| {
        let signers = memory::place(context.cast_mut().cast::<Signers>())?;
        // SAFETY: readable by the header's contract.
        let signers = unsafe { signers.read() };
        let version = memory::place(model_version)?;
        // SAFETY: by the header's contract.
        let blob = unsafe { memory::bytes(blob, blob_bytes) }?;
        // SAFETY: by the header's contract.
        let keys = unsafe { memory::bytes(signers.keys, signers.key_count.saturating_mul(size_of::<PublicKey>())) }?;
        // SAFETY: as many keys as these bytes; any bytes are a key.
        let keys = unsafe { core::slice::from_raw_parts(keys.as_ptr().cast::<PublicKey>(), signers.key_count) };
        // SAFETY: by the header's contract.
        let line = unsafe { memory::text(signers.line) }?;
        let schema_sha256 = match signers.schema_sha256.is_null() {
            true => None,
            // SAFETY: by the header's contract.
            false => unsafe { memory::bytes(signers.schema_sha256, 32) }?.first_chunk().copied(),
        };
        let signers = EngineSigners { keys, line, schema_sha256, versions: Versions::From(signers.least_version) };
        let found = Trust::verify(&signers, blob, least_version)?;
        // SAFETY: a checked place in the caller's memory.
        unsafe { version.write(found) };
        Ok(())
    });
    verified as c_int
}

/// Loads the newest model of two slots that loads and that verify, called with verify_context,
/// accepts. Each slot is given with all its bytes in flash, aligned to 4 bytes. model_bytes:
/// sizeof(feamoe_model). FEAMOE_STATUS_NO_MODEL if neither slot has one: chosen->passed_over then
/// states why, and chosen->target where to write one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_slots_choose(
    first: *const u8,
    first_bytes: usize,
    second: *const u8,
    second_bytes: usize,
    verify: Verify,
    verify_context: *const c_void,
    model: *mut Model,
    model_bytes: usize,
    chosen: *mut Chosen,
) -> Status {
    let has_size = model_bytes == size_of::<Model>();
    let trust = Verifier::new(verify, verify_context);
    // SAFETY: by the header's contract.
    unsafe { choose([first, second], [first_bytes, second_bytes], trust, model.cast::<Loaded>(), has_size, chosen) }
}

/// Like feamoe_slots_choose, for integer weights. model_bytes: sizeof(feamoe_integer_model).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_slots_choose(
    first: *const u8,
    first_bytes: usize,
    second: *const u8,
    second_bytes: usize,
    verify: Verify,
    verify_context: *const c_void,
    model: *mut IntegerModel,
    model_bytes: usize,
    chosen: *mut Chosen,
) -> Status {
    let has_size = model_bytes == size_of::<IntegerModel>();
    let model = model.cast::<LoadedInteger>();
    let trust = Verifier::new(verify, verify_context);
    // SAFETY: by the header's contract.
    unsafe { choose([first, second], [first_bytes, second_bytes], trust, model, has_size, chosen) }
}

/// Starts an update with a model of blob_bytes in a slot of slot_bytes, a multiple of the flash's
/// erase unit; erased: the value of erased flash. update_bytes: sizeof(feamoe_update). steps: an
/// array of two steps to execute in order: to mark the slot as failed, if needed, and to erase it.
/// A refused update has overwritten the model of that slot, never the one in use: if strangers can
/// send updates, authenticate the sender first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_update_begin(
    update: *mut Update,
    update_bytes: usize,
    target: Target,
    slot_bytes: u32,
    erased: u8,
    blob_bytes: u32,
    steps: *mut Step,
) -> Status {
    status(|| {
        if update_bytes != size_of::<Update>() {
            return Err(Status::WrongSize);
        }
        let place = memory::place(update.cast::<Updating>())?;
        let steps = memory::place(steps.cast::<[Step; 2]>())?;
        let Target { slot, sequence, least_version, failed_at } = target;
        let target = EngineTarget { slot, sequence, least_version, failed_at: Some(failed_at).filter(|at| *at > 0) };
        let update = EngineUpdate::new(target, slot_bytes, erased, blob_bytes)?;
        let mut first = [Step::NONE; 2];
        first.iter_mut().zip(update.erase()).for_each(|(to, from)| *to = from.into());
        // SAFETY: a checked place in the caller's memory.
        unsafe { steps.write(first) };
        // SAFETY: writable memory of the caller, of the library's size.
        unsafe { Sealed::put(place, Writer { update, seal: None }) };
        Ok(())
    })
}

/// Takes bytes from the front of a piece of the model, *length bytes at *piece, and reports the
/// step that writes them once they form whole words. Execute each step before the next call. Call
/// until the step is FEAMOE_STEP_KIND_NONE; then the next piece can follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_update_next(
    update: *mut Update,
    piece: *mut *const u8,
    length: *mut usize,
    step: *mut Step,
) -> Status {
    status(|| {
        let (piece, length, step) = (memory::place(piece)?, memory::place(length)?, memory::place(step)?);
        // SAFETY: readable by the header's contract.
        let start = unsafe { piece.read() };
        // SAFETY: as above.
        let count = unsafe { length.read() };
        // SAFETY: by the header's contract.
        let mut bytes = unsafe { memory::bytes(start, count) }?;
        // SAFETY: by the header's contract.
        let writer = unsafe { writer(update) }?;
        let next = Step::from(writer.update.next(&mut bytes));
        // SAFETY: checked places in the caller's memory.
        unsafe { step.write(next) };
        // SAFETY: as above.
        unsafe { piece.write(bytes.as_ptr()) };
        // SAFETY: as above.
        unsafe { length.write(bytes.len()) };
        Ok(())
    })
}

/// Returns the step that writes the end of the model, padded to a word; FEAMOE_STEP_KIND_NONE if it
/// is written already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_update_end(update: *mut Update, step: *mut Step) -> Status {
    status(|| {
        let step = memory::place(step)?;
        // SAFETY: by the header's contract.
        let writer = unsafe { writer(update) }?;
        let end = Step::from(writer.update.end()?);
        // SAFETY: a checked place in the caller's memory.
        unsafe { step.write(end) };
        Ok(())
    })
}

/// Loads the model from the slot, given with all its bytes in flash, verifies it like
/// feamoe_slots_choose, and reports the last two steps to execute in order: to write the header,
/// and the mark that seals it. After both, the slot has a model on trial, which the next start
/// chooses. An error states why the model is refused. steps: an array of two.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_update_check(
    update: *mut Update,
    slot: *const u8,
    slot_bytes: usize,
    verify: Verify,
    verify_context: *const c_void,
    steps: *mut Step,
) -> Status {
    let trust = Verifier::new(verify, verify_context);
    // SAFETY: by the header's contract.
    unsafe { check::<EngineModel>(update, slot, slot_bytes, trust, steps) }
}

/// Like feamoe_update_check, for integer weights.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_update_check(
    update: *mut Update,
    slot: *const u8,
    slot_bytes: usize,
    verify: Verify,
    verify_context: *const c_void,
    steps: *mut Step,
) -> Status {
    let trust = Verifier::new(verify, verify_context);
    // SAFETY: by the header's contract.
    unsafe { check::<EngineInteger>(update, slot, slot_bytes, trust, steps) }
}

/// Builds a model from an older one and a delta that `feamoe export --delta` wrote, in an array of
/// out_bytes; written: the number of bytes written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_delta_apply(
    old: *const u8,
    old_bytes: usize,
    delta: *const u8,
    delta_bytes: usize,
    out: *mut u8,
    out_bytes: usize,
    written: *mut usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let old = unsafe { memory::bytes(old, old_bytes) }?;
        // SAFETY: by the header's contract.
        let changes = unsafe { memory::bytes(delta, delta_bytes) }?;
        // SAFETY: by the header's contract.
        let out = unsafe { memory::bytes_mut(out, out_bytes) }?;
        let written = memory::place(written)?;
        let found = delta::apply(old, changes, out).map_err(|_| Status::DeltaRefused)?.len();
        // SAFETY: a checked place in the caller's memory.
        unsafe { written.write(found) };
        Ok(())
    })
}

/// The function of C that verifies a model.
struct Verifier {
    verify: unsafe extern "C" fn(*const c_void, *const u8, usize, u32, *mut u32) -> c_int,
    context: *const c_void,
}

impl Verifier {
    fn new(verify: Verify, context: *const c_void) -> Result<Self, Status> {
        Ok(Self { verify: verify.ok_or(Status::NullPointer)?, context })
    }
}

impl Trust for Verifier {
    fn verify(&self, blob: &[u8], least: u32) -> Result<u32, TrustError> {
        let mut version = 0;
        // SAFETY: by the header's contract: a function of this type, and its context.
        let code = unsafe { (self.verify)(self.context, blob.as_ptr(), blob.len(), least, &raw mut version) };
        match Status::of_code(code) {
            Status::Ok if version < least => Err(TrustError::OlderVersion { found: version, least }),
            Status::Ok => Ok(version),
            Status::NotSigned => Err(TrustError::NotSigned),
            Status::SignatureInvalid => Err(TrustError::Malformed),
            Status::OtherLine => Err(TrustError::OtherLine),
            Status::OtherKey => Err(TrustError::OtherKey),
            Status::OtherSchema => Err(TrustError::OtherSchema),
            Status::OlderVersion => Err(TrustError::OlderVersion { found: version, least }),
            Status::WrongSignature => Err(TrustError::WrongSignature),
            _ => Err(TrustError::Failed { code }),
        }
    }
}

unsafe fn choose<M: Scorer<'static>, const KIND: usize>(
    [first, second]: [*const u8; 2],
    [first_bytes, second_bytes]: [usize; 2],
    trust: Result<Verifier, Status>,
    model: *mut Sealed<M, KIND>,
    has_size: bool,
    chosen: *mut Chosen,
) -> Status {
    status(|| {
        if !has_size {
            return Err(Status::WrongSize);
        }
        let place = memory::place(model)?;
        let chosen = memory::place(chosen)?;
        // SAFETY: writable memory of the caller, of the library's size.
        unsafe { Sealed::clear(place) };
        let trust = trust?;
        // SAFETY: by the header's contract.
        let first = unsafe { memory::bytes(first, first_bytes) }?;
        // SAFETY: by the header's contract.
        let second = unsafe { memory::bytes(second, second_bytes) }?;
        let mut found = match slots::choose::<M, M>(first, second, &trust) {
            Ok(found) => found,
            Err(NoModel { target, errors, .. }) => {
                let none = Chosen {
                    slot: target.slot,
                    on_trial: false,
                    can_update: true,
                    model_version: 0,
                    passed_over: errors.map(|error| Status::from(error) as c_int),
                    begin: [Step::NONE; 2],
                    confirm: [Step::NONE; 2],
                    target: target.into(),
                };
                // SAFETY: a checked place in the caller's memory.
                unsafe { chosen.write(none) };
                return Err(Status::NoModel);
            }
        };
        let on_trial = found.on_trial();
        // These two steps settle a model that is confirmed but not settled.
        let begin = [found.begin::<FEAMOE_WORD>(), found.begin::<FEAMOE_WORD>()].map(Step::from);
        let can_update = found.target().is_some();
        let confirm = [found.confirm::<FEAMOE_WORD>(), found.confirm::<FEAMOE_WORD>()].map(Step::from);
        let target =
            found.target().map_or(Target { slot: 0, sequence: 0, least_version: 0, failed_at: 0 }, Target::from);
        let why = found.passed_over.map_or(Status::Ok, Status::from) as c_int;
        let passed_over = if found.slot == 0 { [0, why] } else { [why, 0] };
        let (slot, model_version) = (found.slot, found.model_version);
        let reported = Chosen { slot, on_trial, can_update, model_version, passed_over, begin, confirm, target };
        // SAFETY: a checked place in the caller's memory.
        unsafe { chosen.write(reported) };
        let (InSlot::First(model) | InSlot::Second(model)) = found.model;
        // SAFETY: as above; an older model's users have ended.
        unsafe { Sealed::put(place, model) };
        Ok(())
    })
}

unsafe fn check<M: Scorer<'static>>(
    update: *mut Update,
    slot: *const u8,
    slot_bytes: usize,
    trust: Result<Verifier, Status>,
    steps: *mut Step,
) -> Status {
    status(|| {
        let steps = memory::place(steps.cast::<[Step; 2]>())?;
        // SAFETY: by the header's contract.
        let slot = unsafe { memory::bytes(slot, slot_bytes) }?;
        // SAFETY: by the header's contract.
        let writer = unsafe { writer(update) }?;
        let seal = writer.seal.insert(writer.update.check::<M>(slot, &trust?)?);
        // SAFETY: a checked place in the caller's memory.
        unsafe { steps.write(seal.steps().map(Step::from)) };
        Ok(())
    })
}

/// Returns the update in the memory of C.
unsafe fn writer(update: *mut Update) -> Result<&'static mut Writer, Status> {
    let place = memory::place(update.cast::<Updating>())?;
    // SAFETY: readable by the header's contract.
    let mut writer = unsafe { Sealed::value(place) }?;
    // SAFETY: written by a begin; nothing else uses it meanwhile.
    Ok(unsafe { writer.as_mut() })
}

impl Step {
    const NONE: Self = Self { kind: StepKind::None, from: 0, to: 0, bytes: core::ptr::null() };
}

impl From<EngineStep<'_>> for Step {
    fn from(step: EngineStep<'_>) -> Self {
        match step {
            EngineStep::Erase { from, to } => Self { kind: StepKind::Erase, from, to, bytes: core::ptr::null() },
            EngineStep::Write { at, bytes } => {
                // A slot's length is a u32.
                let to = at.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                Self { kind: StepKind::Write, from: at, to, bytes: bytes.as_ptr() }
            }
        }
    }
}

impl From<Option<EngineStep<'_>>> for Step {
    fn from(step: Option<EngineStep<'_>>) -> Self {
        step.map_or(Self::NONE, Self::from)
    }
}

impl From<EngineTarget> for Target {
    fn from(target: EngineTarget) -> Self {
        let EngineTarget { slot, sequence, least_version, failed_at } = target;
        Self { slot, sequence, least_version, failed_at: failed_at.unwrap_or(0) }
    }
}

impl From<SlotError> for Status {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::TooLong { .. } => Self::SlotTooShort,
            SlotError::Incomplete { .. } => Self::Incomplete,
            SlotError::Refused(error) => error.into(),
            SlotError::Untrusted(error) => error.into(),
            SlotError::Empty | SlotError::NotSealed => Self::SlotEmpty,
            SlotError::NotConfirmed => Self::NotConfirmed,
            _ => Self::SlotInvalid,
        }
    }
}

impl From<TrustError> for Status {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::NotSigned => Self::NotSigned,
            TrustError::Malformed => Self::SignatureInvalid,
            TrustError::OtherLine => Self::OtherLine,
            TrustError::OtherKey => Self::OtherKey,
            TrustError::OtherSchema => Self::OtherSchema,
            TrustError::OlderVersion { .. } => Self::OlderVersion,
            TrustError::WrongSignature => Self::WrongSignature,
            TrustError::Failed { code } => Self::of_code(code),
            _ => Self::Unknown,
        }
    }
}
