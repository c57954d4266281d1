//! A device in the field, `no_std`: two signed integer models in slots of flash, a counter that
//! only counts up, a monitor that outlives a reset, updates on trial.
//!
//! The flash here is memory, so that this runs anywhere and its supply can be cut at every word; a
//! device's own driver takes the same steps. Nothing else would be different on a board.

use core::fmt;

use feamoe_engine::error::{PredictError, RecordError};
use feamoe_engine::integer::{Model, Score};
use feamoe_engine::monitor::{Monitor, MonitorError, RestoreError};
#[cfg(feature = "signed")]
use feamoe_engine::signature::{PublicKey, Signers, Versions};
use feamoe_engine::slots::{SlotError, Step, Target, Trust, Update, choose, image};
use feamoe_engine::{Aligned, FeatureIndex, Scored as _, Value};

/// The most that this device holds: 4 features, 4 experts.
type Device<'a> = Model<'a, 4, 4>;
/// Two groups, the reference first.
type Watch = Monitor<2, 4>;

/// Bytes that the flash writes at once.
const WORD: usize = 8;
/// What it erases to.
const ERASED: u8 = 0xff;
/// Bytes of a slot.
const SLOT_BYTES: usize = 1024;
/// Bytes in which an update arrives.
const PIECE: usize = 50;

/// The key that the models of this example are signed with: of the private key of 32 bytes 1, which
/// anyone has. A device has its own.
#[cfg(feature = "signed")]
static KEYS: [PublicKey; 1] = [PublicKey([
    0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb, 0x2d, 0x3c, 0xba, 0x5d, 0x72, 0xca, 0x67, 0x09,
    0xbf, 0x1d, 0x94, 0x12, 0x1b, 0xf3, 0x74, 0x88, 0x01, 0xb4, 0x0f, 0x6f, 0x5c,
])];

/// Whose models the device takes: those of its keys and its line, of no version below its counter.
#[cfg(feature = "signed")]
fn trust(counter: u32) -> impl Trust {
    Signers { keys: &KEYS, line: "golden", schema_sha256: None, versions: Versions::From(counter) }
}

/// A firmware that is built without signatures takes any model.
#[cfg(not(feature = "signed"))]
fn trust(_: u32) -> impl Trust {
    feamoe_engine::slots::Anyone
}

/// What went wrong.
#[derive(Debug)]
#[allow(dead_code)] // printed
pub enum Fault {
    /// The supply failed: the device starts anew.
    NoPower,
    /// A step that this flash cannot take.
    Flash(&'static str),
    /// A model is on trial: no update before it is confirmed or given up.
    OnTrial,
    /// An update was refused.
    Slot(SlotError),
    /// A value was refused.
    Record(RecordError),
    /// A record was refused.
    Predict(PredictError),
    /// The monitor refused something.
    Monitor(MonitorError),
    /// The monitor's stored state was refused.
    Restore(RestoreError),
    /// The report could not be written.
    Report(fmt::Error),
    /// The device did not do what this example says it does.
    Broken(&'static str),
}

macro_rules! from {
    ($($kind:ident of $error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::$kind(error)
            }
        })*
    };
}
from!(
    Slot of SlotError, Record of RecordError, Predict of PredictError,
    Monitor of MonitorError, Restore of RestoreError, Report of fmt::Error
);

/// The flash of the device, its counter, and its supply.
pub struct Flash {
    slots: [Aligned<[u8; SLOT_BYTES]>; 2],
    /// A counter of the hardware, such as fuses, that only counts up: the version of the newest
    /// model that was kept.
    counter: u32,
    /// Words that can still be written, or erases made, before the supply fails.
    power: u32,
}

impl Flash {
    /// Returns an erased flash with a steady supply, in a `const` so that it can live in a
    /// `static`.
    pub const fn new() -> Self {
        Self { slots: [const { Aligned([ERASED; SLOT_BYTES]) }; 2], counter: 0, power: u32::MAX }
    }

    fn slots(&self) -> [&[u8]; 2] {
        self.slots.each_ref().map(|slot| slot.0.as_slice())
    }

    /// Takes a step in a slot, word by word. Only whole words that were erased can be written.
    fn take(&mut self, slot: usize, step: Step<'_>) -> Result<(), Fault> {
        let place = self.slots.get_mut(slot).ok_or(Fault::Flash("no such slot"))?;
        let (from, to) = match step {
            Step::Erase { from, to } => (from as usize, to as usize),
            Step::Write { at, bytes } => (at as usize, (at as usize).saturating_add(bytes.len())),
        };
        let place = place.0.get_mut(from..to).ok_or(Fault::Flash("past the slot"))?;
        let (words, rest) = place.as_chunks_mut::<WORD>();
        if !from.is_multiple_of(WORD) || !rest.is_empty() {
            return Err(Fault::Flash("not whole words"));
        }
        for (index, word) in words.iter_mut().enumerate() {
            self.power = self.power.checked_sub(1).ok_or(Fault::NoPower)?;
            match step {
                Step::Erase { .. } => *word = [ERASED; WORD],
                Step::Write { bytes, .. } if bytes.as_chunks().0.get(index) == Some(word) => {}
                Step::Write { .. } if *word != [ERASED; WORD] => return Err(Fault::Flash("written twice")),
                Step::Write { bytes, .. } => {
                    *word = *bytes.as_chunks().0.get(index).ok_or(Fault::Flash("not whole words"))?;
                }
            }
        }
        Ok(())
    }
}

/// The monitor, and its state in memory that keeps its content over a reset.
pub struct Memory {
    monitor: Watch,
    retained: [u8; Watch::STATE_BYTES],
    /// Bytes of the state.
    length: usize,
}

impl Memory {
    /// Returns memory that holds nothing yet, in a `const` so that it can live in a `static`.
    pub const fn new() -> Self {
        Self { monitor: Watch::new(), retained: [0; Watch::STATE_BYTES], length: 0 }
    }
}

/// What a start of the device found. The slots are looked at once, at the start: a look after that
/// would find a model on trial tried already.
struct Started {
    /// `None` if neither slot holds a model, and that of the firmware is in use.
    slot: Option<usize>,
    /// Checksum of the model in use.
    model: u32,
    /// Keep a model on trial; `None` for one that is confirmed.
    confirm: [Option<Step<'static>>; 2],
    /// What the counter is advanced to once the model is kept; `None` if it holds that.
    counter: Option<u32>,
    /// Where an update may go now.
    target: Option<Target>,
    /// Records that the monitor has counted of this model.
    observed: u64,
}

impl Started {
    fn on_trial(&self) -> bool {
        self.confirm.iter().any(Option::is_some)
    }
}

/// Programs a factory-fresh device: a confirmed model in the first slot, nothing in the second.
fn program(flash: &mut Flash, blob: &[u8]) -> Result<(), Fault> {
    let [first, second] = &mut flash.slots;
    second.0.fill(ERASED);
    image(blob, 0, WORD, ERASED, &mut first.0)?;
    (flash.counter, flash.power) = (0, u32::MAX);
    Ok(())
}

/// What the device does after each reset: picks the model, marks one on trial as tried, and scores
/// some records. `last_resort`: the model in the firmware, by [`feamoe_engine::include_model!`].
fn start(flash: &mut Flash, memory: &mut Memory, last_resort: &[u8]) -> Result<Started, Fault> {
    let [first, second] = flash.slots();
    let (mut slot, mut place, mut begin, mut confirm) = (None, 0..0, [None; 2], [None; 2]);
    let (mut settled, mut kept) = (None, None);
    let target = match choose::<Device, Device>(first, second, &trust(flash.counter)) {
        Ok(mut chosen) => {
            (slot, place) = (Some(chosen.slot), chosen.blob.clone());
            begin = [chosen.begin::<WORD>(), chosen.begin::<WORD>()];
            let target = chosen.target();
            settled = chosen.counter(flash.counter);
            confirm = [chosen.confirm::<WORD>(), chosen.confirm::<WORD>()];
            kept = chosen.counter(flash.counter);
            target
        }
        Err(none) => Some(none.target),
    };
    for (slot, step) in begin.into_iter().flatten().filter_map(|step| Some((slot?, step))) {
        flash.take(slot, step)?;
    }
    // Of a model that is kept already; of one on trial, once it is.
    flash.counter = settled.unwrap_or(flash.counter);
    // Where flash is mapped into memory and written by a driver, `chosen.model` would continue to
    // be used; here the borrow checker sees that the mark is written to the same memory.
    let blob = match slot {
        Some(slot) => flash.slots().get(slot).and_then(|slot| slot.get(place)).ok_or(Fault::Flash("no such slot"))?,
        None => last_resort,
    };
    let model = Device::load(blob).map_err(SlotError::Refused)?;

    let Memory { monitor, retained, length } = memory;
    monitor.start(&model, 0)?;
    match monitor.restore(&model, retained.get(..*length).unwrap_or_default()) {
        // At the first start there is no state, or it belongs to the model before: this one is
        // watched from its beginning.
        Ok(()) | Err(RestoreError::OtherModel { .. } | RestoreError::State(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let mut record = model.record();
    let mut score = Score::new();
    for (age, group) in [(25.0, 0), (61.0, 1), (44.0, 1), (38.0, 0)] {
        _ = record.set_value(FeatureIndex(0), Value::Number(age))?;
        model.score_into(&record, &mut score)?;
        let token = monitor.observe(score.probability(), record.notes(), Some(group))?;
        monitor.label(token, age > 40.0)?;
    }
    *length = monitor.store(retained)?.len();
    Ok(Started { slot, model: model.crc32(), confirm, counter: kept, target, observed: monitor.observed() })
}

/// Keeps a model that has proved itself; then no older one is taken any more.
fn keep(flash: &mut Flash, started: &Started) -> Result<(), Fault> {
    for (slot, step) in started.confirm.into_iter().flatten().filter_map(|step| Some((started.slot?, step))) {
        flash.take(slot, step)?;
    }
    flash.counter = started.counter.unwrap_or(flash.counter);
    Ok(())
}

/// Takes an update, in pieces as they arrive.
fn update(flash: &mut Flash, started: &Started, blob: &[u8]) -> Result<(), Fault> {
    let target = started.target.ok_or(Fault::OnTrial)?;
    let bytes = u32::try_from(blob.len()).map_err(|_| Fault::Broken("a model of more than 4 GB"))?;
    let mut update = Update::<WORD>::new(target, SLOT_BYTES as u32, ERASED, bytes)?;
    update.erase().try_for_each(|step| flash.take(target.slot, step))?;
    for mut piece in blob.chunks(PIECE) {
        while let Some(step) = update.next(&mut piece) {
            flash.take(target.slot, step)?;
        }
    }
    if let Some(step) = update.end()? {
        flash.take(target.slot, step)?;
    }
    let [first, second] = flash.slots();
    let written = if target.slot == 0 { first } else { second };
    let seal = update.check::<Device>(written, &trust(flash.counter))?;
    seal.steps().into_iter().try_for_each(|step| flash.take(target.slot, step))
}

fn expect(holds: bool, what: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Broken(what)) }
}

/// Lives the life of a device: scores and monitors itself, loses its supply at every word of an
/// update, tries a model that fails, goes back, tries it again and keeps it; refuses one that was
/// changed, and the older one.
///
/// # Errors
/// If something is not as it should be.
pub fn live(
    [old, new]: [&[u8]; 2],
    flash: &mut Flash,
    memory: &mut Memory,
    report: &mut impl fmt::Write,
) -> Result<(), Fault> {
    program(flash, old)?;
    let mut now = start(flash, memory, old)?;
    let first = now.model;
    expect(!now.on_trial() && now.observed == 4, "a factory's model is confirmed, and watched from its beginning")?;
    writeln!(report, "factory: model {first:08x}")?;

    // The supply fails after ever more words, until the update is through.
    let (mut cuts, mut observed) = (0, now.observed);
    loop {
        flash.power = cuts;
        let done = update(flash, &now, new);
        flash.power = u32::MAX;
        if let Err(fault @ (Fault::Flash(_) | Fault::Slot(_))) = done {
            return Err(fault);
        }
        now = start(flash, memory, old)?;
        // It counts from the first bit on of the mark that seals it.
        if now.on_trial() {
            break;
        }
        (cuts, observed) = (cuts + 1, observed + 4);
        expect(now.model == first, "a cut update leaves the model in use")?;
        expect(now.observed == observed, "the monitor continues where it was")?;
    }
    writeln!(report, "supply cut at each of {cuts} words of an update: the same model, {observed} records counted")?;

    let second = now.model;
    expect(second != first && now.on_trial(), "a new model is on trial")?;
    expect(now.observed == 4, "the monitor begins anew with another model")?;
    expect(matches!(update(flash, &now, old), Err(Fault::OnTrial)), "no update overwrites the model to go back to")?;
    writeln!(report, "on trial: model {second:08x}")?;

    // A reset without confirm: the trial has failed.
    now = start(flash, memory, old)?;
    expect(now.model == first && !now.on_trial(), "a failed trial goes back")?;
    writeln!(report, "reset without confirm: back to model {first:08x}")?;

    update(flash, &now, new)?;
    now = start(flash, memory, old)?;
    expect(now.model == second && now.on_trial(), "it can be tried again")?;
    keep(flash, &now)?;
    now = start(flash, memory, old)?;
    expect(now.model == second && !now.on_trial() && now.observed == 8, "a confirmed model stays")?;
    writeln!(report, "confirmed: model {second:08x}, {} records counted", now.observed)?;

    #[cfg(feature = "signed")]
    {
        let refused = update(flash, &now, old);
        let is_older = matches!(refused, Err(Fault::Slot(SlotError::Untrusted(_))));
        expect(is_older && flash.counter == 2, "there is no way back to an older model")?;
        now = start(flash, memory, old)?;
        expect(now.model == second, "an update that is refused leaves the model in use")?;
        writeln!(report, "counter {}: the older model {first:08x} is refused", flash.counter)?;
    }

    // Both slots are lost: the model in the firmware serves until an update comes.
    flash.slots.iter_mut().for_each(|slot| slot.0.fill(0));
    now = start(flash, memory, old)?;
    expect(now.slot.is_none() && now.model == first, "the firmware's model is the last resort")?;
    update(flash, &now, new)?;
    now = start(flash, memory, old)?;
    expect(now.model == second, "an update fills a slot again")?;
    writeln!(report, "both slots lost: the firmware's model {first:08x}, then an update to {second:08x}")?;
    Ok(())
}
