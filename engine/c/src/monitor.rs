//! A device that monitors itself.

use feamoe_engine::fairness::Measure as EngineMeasure;
use feamoe_engine::monitor::{DeviceId, Key, MonitorError, Sender as EngineSender, Token as EngineToken};

use crate::capacity::{FEAMOE_FEATURES, FEAMOE_GROUPS};
use crate::memory::{
    self, EngineMonitor, Filled, FilledInteger, Kept, Loaded, LoadedInteger, Sealed, Values, Watching,
};
use crate::model::{IntegerModel, Model};
use crate::record::{IntegerValues, Record};
use crate::status;
use crate::status::Status;

/// Size of a feamoe_monitor, in units of 8 bytes.
pub const FEAMOE_MONITOR_WORDS: usize = 288 * FEAMOE_GROUPS + 2 * FEAMOE_FEATURES + 92;
/// Size of the longest status of a monitor in bytes, with its sender and a MAC.
pub const FEAMOE_STATUS_BYTES: usize = 90 * FEAMOE_GROUPS + 15 * FEAMOE_FEATURES + 680;
/// Size of the longest stored state of a monitor in bytes.
pub const FEAMOE_STATE_BYTES: usize = 2175 * FEAMOE_GROUPS + 15 * FEAMOE_FEATURES + 640;
/// An unknown group.
pub const FEAMOE_NO_GROUP: u32 = 0xffff_ffff;
/// Bytes of a device id.
pub const FEAMOE_DEVICE_BYTES: usize = 16;
/// Bytes of the secret key of a device.
pub const FEAMOE_KEY_BYTES: usize = 32;
/// Size of a feamoe_token in bytes.
pub const FEAMOE_TOKEN_BYTES: usize = 12;

/// Monitors a model's decisions on the groups of one protected attribute: opaque, in memory that
/// you provide.
#[repr(C)]
pub struct Monitor {
    opaque: [u64; FEAMOE_MONITOR_WORDS],
}

/// Identifies an observed score for its label. Return it once, when the outcome is known; it may be
/// stored meanwhile.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Token {
    opaque: [u8; FEAMOE_TOKEN_BYTES],
}

/// A measure of fairness; gaps are those of a group minus the reference.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Measure {
    /// Statistical parity difference; needs no labels.
    Spd = 0,
    /// Average odds difference.
    Aod = 1,
    /// Equalised odds: the larger gap of the two error rates.
    Eodds = 2,
    /// Equal opportunity difference.
    Eopp = 3,
    /// Probability burden gap; needs no labels.
    Burden = 4,
    /// Recourse burden gap, from the given distances.
    RecourseBurden = 5,
    /// Disparate impact, the ratio of the selection rates, 1 if they are equal; needs no labels.
    Impact = 6,
}

/// The sender of a status.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sender {
    /// The id of the device: any bytes, padded with zeros.
    pub device: [u8; FEAMOE_DEVICE_BYTES],
    /// A counter that increases with each status of the device, also over resets; keep it in
    /// non-volatile memory.
    pub counter: u64,
}

/// The counts of a group.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Group {
    /// Decisions.
    pub rows: u64,
    /// Favourable decisions.
    pub favourable: u64,
    /// Decisions with a known outcome.
    pub labelled: u64,
    /// The mean score; NaN without records.
    pub score_mean: f32,
}

const _: () = {
    let fits = size_of::<Watching>() <= size_of::<Monitor>() && align_of::<Watching>() <= align_of::<Monitor>();
    assert!(fits, "raise FEAMOE_MONITOR_WORDS: a monitor of the engine has grown");
    assert!(EngineMonitor::SENT_STATUS_BYTES <= FEAMOE_STATUS_BYTES, "raise FEAMOE_STATUS_BYTES");
    assert!(EngineMonitor::STATE_BYTES <= FEAMOE_STATE_BYTES, "raise FEAMOE_STATE_BYTES");
};

/// The initial value, copied from flash; a value created here would take 7 kB of stack.
static FRESH: EngineMonitor = EngineMonitor::new();

/// Starts monitoring a model, and forgets everything about an earlier one. since: the current time
/// in seconds since 1970, or 0 if unknown. monitor_bytes: sizeof(feamoe_monitor).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_start(
    monitor: *mut Monitor,
    monitor_bytes: usize,
    model: *const Model,
    since: u64,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { start(monitor, monitor_bytes, model.cast::<Loaded>(), since) }
}

/// Like feamoe_monitor_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_monitor_start(
    monitor: *mut Monitor,
    monitor_bytes: usize,
    model: *const IntegerModel,
    since: u64,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { start(monitor, monitor_bytes, model.cast::<LoadedInteger>(), since) }
}

/// Starts a new period: counts and events restart, the drift detectors continue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_reset(monitor: *mut Monitor, since: u64) -> Status {
    // SAFETY: by the header's contract.
    unsafe {
        with(monitor, |monitor| {
            monitor.reset(since);
            Ok(())
        })
    }
}

/// Counts the score of a record: its probability, and its group, which is 0 for the reference or
/// FEAMOE_NO_GROUP. token: NULL, or where to write the token for the label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_observe(
    monitor: *mut Monitor,
    record: *const Record,
    probability: f32,
    group: u32,
    token: *mut Token,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { observe(monitor, record.cast::<Filled>(), probability, group, token) }
}

/// Like feamoe_monitor_observe, with the probability in units of 2^-32, as in feamoe_integer_score.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_monitor_observe(
    monitor: *mut Monitor,
    record: *const IntegerValues,
    probability: u32,
    group: u32,
    token: *mut Token,
) -> Status {
    let mut score = feamoe_engine::integer::Score::<2>::new();
    score.probability = probability;
    let probability = feamoe_engine::Scored::probability(&score);
    // SAFETY: by the header's contract.
    unsafe { observe(monitor, record.cast::<FilledInteger>(), probability, group, token) }
}

/// Counts the outcome of a score that was observed, in any order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_label(monitor: *mut Monitor, token: *const Token, favourable: bool) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let token = unsafe { read(token) }?;
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, |monitor| Ok(monitor.label(token, favourable)?)) })
    })
}

/// Counts the distance of a declined record from a favourable decision, in standard deviations; NaN
/// if no recourse was found.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_distance(monitor: *mut Monitor, token: *const Token, distance: f32) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let token = unsafe { read(token) }?;
        let distance = (!distance.is_nan()).then_some(distance);
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, |monitor| Ok(monitor.distance(&token, distance)?)) })
    })
}

/// Returns the counts of a group.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_group(monitor: *mut Monitor, group: u32, counts: *mut Group) -> Status {
    status(|| {
        let counts = memory::place(counts)?;
        let call = |monitor: &mut EngineMonitor| {
            let group = usize::try_from(group).map_err(|_| Status::GroupOutOfRange)?;
            let tally = monitor.groups().get(group).ok_or(Status::GroupOutOfRange)?;
            let found = Group {
                rows: tally.rows(),
                favourable: tally.favourable(),
                labelled: tally.labelled().rows(),
                score_mean: tally.score_mean(),
            };
            // SAFETY: a checked place in the caller's memory.
            unsafe { counts.write(found) };
            Ok(())
        };
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, call) })
    })
}

/// Returns the gap of a group to the reference by a measure, one of feamoe_measure; NaN if a rate
/// has no records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_gap(monitor: *mut Monitor, group: u32, measure: u32, gap: *mut f32) -> Status {
    status(|| {
        let gap = memory::place(gap)?;
        let call = |monitor: &mut EngineMonitor| {
            let group = usize::try_from(group).map_err(|_| Status::GroupOutOfRange)?;
            let index = usize::try_from(measure).map_err(|_| Status::NoSuchChoice)?;
            // In the order of feamoe_measure, asserted below.
            let measure = *EngineMeasure::ALL.get(index).ok_or(Status::NoSuchChoice)?;
            let reference = monitor.groups().first().ok_or(Status::GroupOutOfRange)?;
            let tally = monitor.groups().get(group).ok_or(Status::GroupOutOfRange)?;
            // SAFETY: a checked place in the caller's memory.
            unsafe { gap.write(tally.gap(measure, reference)) };
            Ok(())
        };
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, call) })
    })
}

const _: () = {
    let [a, b, c, d, e, f, g] = EngineMeasure::ALL;
    assert!(matches!(a, EngineMeasure::Spd) && Measure::Spd as u32 == 0);
    assert!(matches!(b, EngineMeasure::Aod) && Measure::Aod as u32 == 1);
    assert!(matches!(c, EngineMeasure::Eodds) && Measure::Eodds as u32 == 2);
    assert!(matches!(d, EngineMeasure::Eopp) && Measure::Eopp as u32 == 3);
    assert!(matches!(e, EngineMeasure::Burden) && Measure::Burden as u32 == 4);
    assert!(matches!(f, EngineMeasure::RecourseBurden) && Measure::RecourseBurden as u32 == 5);
    assert!(matches!(g, EngineMeasure::Impact) && Measure::Impact as u32 == 6);
};

/// Writes the status, which `feamoe monitor` reads, to an array of length bytes
/// (FEAMOE_STATUS_BYTES suffice); written: the number of bytes written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_status(
    monitor: *mut Monitor,
    buffer: *mut u8,
    length: usize,
    written: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { write(monitor, buffer, length, written, EngineMonitor::write) }
}

/// Like feamoe_monitor_status, with the sender. The sender is not authenticated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_status_from(
    monitor: *mut Monitor,
    sender: *const Sender,
    buffer: *mut u8,
    length: usize,
    written: *mut usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let sender = unsafe { read_sender(sender) }?;
        // SAFETY: by the header's contract.
        Status::of(unsafe { write(monitor, buffer, length, written, |monitor, to| monitor.write_from(&sender, to)) })
    })
}

/// Like feamoe_monitor_status_from, with a MAC by the secret key of the device, FEAMOE_KEY_BYTES
/// bytes: nobody without the key can write or change the status. The file that `feamoe sign
/// --device-key` writes has the key in hexadecimal digits with a line end; the factory decodes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_status_authenticated(
    monitor: *mut Monitor,
    sender: *const Sender,
    key: *const u8,
    buffer: *mut u8,
    length: usize,
    written: *mut usize,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let sender = unsafe { read_sender(sender) }?;
        // SAFETY: by the header's contract.
        let key = unsafe { memory::bytes(key, FEAMOE_KEY_BYTES) }?;
        let key = Key::new(*key.first_chunk().ok_or(Status::Unknown)?);
        let by = |monitor: &EngineMonitor, to| monitor.write_authenticated(&sender, &key, to);
        // SAFETY: by the header's contract.
        Status::of(unsafe { write(monitor, buffer, length, written, by) })
    })
}

/// Writes the whole state, for a reset or deep sleep, to an array of length bytes
/// (FEAMOE_STATE_BYTES suffice); written: the number of bytes written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_store(
    monitor: *mut Monitor,
    buffer: *mut u8,
    length: usize,
    written: *mut usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { write(monitor, buffer, length, written, EngineMonitor::store) }
}

/// Restores a state that feamoe_monitor_store wrote, to a monitor that was started with the same
/// model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_monitor_restore(
    monitor: *mut Monitor,
    model: *const Model,
    state: *const u8,
    length: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { restore(monitor, model.cast::<Loaded>(), state, length) }
}

/// Like feamoe_monitor_restore.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn feamoe_integer_monitor_restore(
    monitor: *mut Monitor,
    model: *const IntegerModel,
    state: *const u8,
    length: usize,
) -> Status {
    // SAFETY: by the header's contract.
    unsafe { restore(monitor, model.cast::<LoadedInteger>(), state, length) }
}

/// Calls a function with the monitor in the memory of C.
unsafe fn with(monitor: *mut Monitor, call: impl FnOnce(&mut EngineMonitor) -> Result<(), Status>) -> Status {
    status(|| {
        let place = memory::place(monitor.cast::<Watching>())?;
        // SAFETY: readable by the header's contract.
        let mut monitor = unsafe { Sealed::value(place) }?;
        // SAFETY: written by a start; nothing else uses it meanwhile.
        call(unsafe { monitor.as_mut() })
    })
}

unsafe fn start<M: Kept>(monitor: *mut Monitor, monitor_bytes: usize, model: *const M, since: u64) -> Status {
    status(|| {
        if monitor_bytes != size_of::<Monitor>() {
            return Err(Status::WrongSize);
        }
        let place = memory::place(monitor.cast::<Watching>())?;
        // SAFETY: by the header's contract.
        let model = unsafe { memory::loaded(model) }?;
        // SAFETY: writable memory of the caller, of the library's size.
        unsafe { Sealed::copy(place, &FRESH) };
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, |monitor| Ok(monitor.start(model, since)?)) })
    })
}

unsafe fn observe<M: Kept, R: feamoe_engine::Values + 'static, const KIND: usize>(
    monitor: *mut Monitor,
    record: *const Sealed<Values<M, R>, KIND>,
    probability: f32,
    group: u32,
    token: *mut Token,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let (_, record) = unsafe { memory::filled(record) }?;
        let group = match group {
            FEAMOE_NO_GROUP => None,
            group => Some(u8::try_from(group).map_err(|_| Status::GroupOutOfRange)?),
        };
        let to = if token.is_null() { None } else { Some(memory::place(token)?) };
        let call = |monitor: &mut EngineMonitor| {
            let found = monitor.observe(probability, record.notes(), group)?;
            if let Some(to) = to {
                let mut opaque = [0; FEAMOE_TOKEN_BYTES];
                // At most five, four and two bytes.
                _ = postcard::to_slice(&found, &mut opaque).map_err(|_| Status::Unknown)?;
                // SAFETY: a checked place in the caller's memory.
                unsafe { to.write(Token { opaque }) };
            }
            Ok(())
        };
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, call) })
    })
}

unsafe fn read_sender(sender: *const Sender) -> Result<EngineSender, Status> {
    let sender = memory::place(sender.cast_mut())?;
    // SAFETY: readable by the header's contract.
    let Sender { device, counter } = unsafe { sender.read() };
    let device = DeviceId::new(&device).ok_or(Status::Unknown)?;
    Ok(EngineSender { device, counter })
}

unsafe fn read(token: *const Token) -> Result<EngineToken, Status> {
    let token = memory::place(token.cast_mut())?;
    // SAFETY: readable by the header's contract.
    let Token { opaque } = unsafe { token.read() };
    postcard::from_bytes(&opaque).map_err(|_| Status::TokenInvalid)
}

unsafe fn write(
    monitor: *mut Monitor,
    buffer: *mut u8,
    length: usize,
    written: *mut usize,
    by: impl FnOnce(&EngineMonitor, &'static mut [u8]) -> Result<&'static [u8], MonitorError>,
) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let buffer = unsafe { memory::bytes_mut(buffer, length) }?;
        let written = memory::place(written)?;
        let call = |monitor: &mut EngineMonitor| {
            let found = by(monitor, buffer)?.len();
            // SAFETY: a checked place in the caller's memory.
            unsafe { written.write(found) };
            Ok(())
        };
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, call) })
    })
}

unsafe fn restore<M: Kept>(monitor: *mut Monitor, model: *const M, state: *const u8, length: usize) -> Status {
    status(|| {
        // SAFETY: by the header's contract.
        let model = unsafe { memory::loaded(model) }?;
        // SAFETY: by the header's contract.
        let state = unsafe { memory::bytes(state, length) }?;
        // SAFETY: by the header's contract.
        Status::of(unsafe { with(monitor, |monitor| Ok(monitor.restore(model, state)?)) })
    })
}
