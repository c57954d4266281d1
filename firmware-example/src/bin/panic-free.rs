//! Links only if no panic is reachable from loading, setting values by index and scoring, and from
//! the calls of the features in `all`: its panic handler calls a function that does not exist.
//!
//! The tests build it at opt-levels 1, 3 and s. It is also the smallest firmware with these
//! features, so its size is what the engine takes in flash. It is not meant to be run. When the
//! engine gains a function, add it here: a module with its calls, a line in `main`, a feature in
//! `all`.
#![cfg_attr(feature = "no-floats", allow(dead_code))]
#![no_std]
#![no_main]
#![allow(unsafe_code)] // declares the missing function and makes slices of unknown content

use core::hint::black_box;

use feamoe_engine::Value;
use feamoe_engine::{LoadError, Model, PredictError, Record, RecordError, Score};

const FEATURES: usize = 16;
const EXPERTS: usize = 12;
type Device = Model<'static, FEATURES, EXPERTS>;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        safe fn a_panic_is_reachable() -> !;
    }
    a_panic_is_reachable()
}

/// Returns values of unknown content and number, as far as the compiler can see.
fn unknown<T>() -> &'static mut [T] {
    let (start, length) = black_box((core::ptr::dangling_mut::<T>(), 0));
    // SAFETY: never run, only linked. With the values above it would be an empty slice.
    unsafe { core::slice::from_raw_parts_mut(start, length) }
}

// Each in a function of its own, so that `nm --size-sort` shows its size.

#[inline(never)]
fn load() -> Result<Device, LoadError> {
    Device::load(unknown())
}

#[inline(never)]
fn set(record: &mut Record<'_, FEATURES>, values: &[Value]) -> Result<(), RecordError> {
    record.set_all(values)
}

#[inline(never)]
fn score(model: &Device, record: &Record<'_, FEATURES>, score: &mut Score<EXPERTS>) -> Result<(), PredictError> {
    model.score_into(record, score)
}

#[cfg(feature = "names")]
mod names {
    use feamoe_engine::schema::Note;

    use super::{FEATURES, Record, RecordError, black_box, unknown};

    #[inline(never)]
    fn set(record: &mut Record<'_, FEATURES>, name: &str, number: f32) -> Result<Note, RecordError> {
        _ = record.set_number(name, number)?;
        record.set_known_category(name, name)?;
        record.set_category(name, name)
    }

    pub fn link(record: &mut Record<'_, FEATURES>) {
        let name = core::str::from_utf8(unknown()).unwrap_or_default();
        _ = black_box(set(record, name, black_box(0.0)));
    }
}

#[cfg(feature = "calibration")]
mod calibration {
    use super::{Device, EXPERTS, FEATURES, PredictError, Record, Score, black_box};

    #[inline(never)]
    fn calibrated(model: &Device, record: &Record<'_, FEATURES>, score: &Score<EXPERTS>) -> Result<f32, PredictError> {
        model.calibrated(record, score)
    }

    pub fn link(model: &Device, record: &Record<'_, FEATURES>, score: &Score<EXPERTS>) {
        _ = black_box(calibrated(model, record, score));
    }
}

#[cfg(feature = "frozen")]
mod frozen {
    use feamoe_engine::Attribution;

    use super::{Device, EXPERTS, FEATURES, PredictError, Record, black_box};

    #[inline(never)]
    fn explain(
        model: &Device,
        record: &Record<'_, FEATURES>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        model.frozen_into(record, attribution)
    }

    pub fn link(model: &Device, record: &Record<'_, FEATURES>) {
        let mut attribution = Attribution::new();
        _ = black_box(explain(model, record, &mut attribution));
        black_box(&attribution);
    }
}

#[cfg(feature = "path")]
mod path {
    use feamoe_engine::Attribution;

    use super::{Device, EXPERTS, FEATURES, PredictError, Record, black_box};

    #[inline(never)]
    fn explain(
        model: &Device,
        record: &Record<'_, FEATURES>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        model.path_into(record, attribution)
    }

    pub fn link(model: &Device, record: &Record<'_, FEATURES>) {
        let mut attribution = Attribution::new();
        _ = black_box(explain(model, record, &mut attribution));
        black_box(&attribution);
    }
}

#[cfg(feature = "drift")]
mod drift {
    use feamoe_engine::drift::{Adwin, Change};

    use super::black_box;

    #[inline(never)]
    fn watch(detector: &mut Adwin, value: f32) -> Option<Change> {
        detector.update(value)
    }

    pub fn link(probability: f32) {
        let mut detector = Adwin::new(black_box(0.002), black_box(0.0), 1.0);
        _ = black_box(watch(&mut detector, probability));
        black_box(&detector);
    }
}

#[cfg(feature = "slots")]
mod slots {
    use feamoe_engine::Scorer;
    #[cfg(not(feature = "signed"))]
    use feamoe_engine::slots::Anyone;
    use feamoe_engine::slots::{SlotError, Trust, Update, choose};

    use super::{EXPERTS, FEATURES, black_box, unknown};

    /// The write unit of the flash of many microcontrollers.
    const WORD: usize = 8;

    type Model<'a> = feamoe_engine::Model<'a, FEATURES, EXPERTS>;

    #[inline(never)]
    fn update<M: Scorer<'static>>(received: &[u8], trust: &impl Trust) -> Option<SlotError> {
        match choose::<M, M>(unknown(), unknown(), trust) {
            Ok(mut chosen) => {
                _ = black_box((chosen.begin::<WORD>(), chosen.confirm::<WORD>()));
                let mut update =
                    Update::<WORD>::new(chosen.target()?, black_box(0), black_box(0), black_box(0)).ok()?;
                _ = black_box(update.erase().last());
                let mut chunk = received;
                while let Some(step) = update.next(&mut chunk) {
                    _ = black_box(step);
                }
                _ = black_box(update.end());
                match update.check::<M>(unknown(), trust) {
                    Ok(seal) => _ = black_box(seal.steps()),
                    Err(error) => return Some(error),
                }
                chosen.passed_over
            }
            Err(none) => none.errors.first().copied(),
        }
    }

    pub fn link() {
        #[cfg(not(feature = "signed"))]
        let trust = Anyone;
        #[cfg(feature = "signed")]
        let trust = super::signed::signers();
        _ = black_box(update::<Model<'_>>(unknown(), &trust));
        #[cfg(feature = "integer")]
        {
            _ = black_box(update::<feamoe_engine::integer::Model<'_, FEATURES, EXPERTS>>(unknown(), &trust));
        }
    }
}

#[cfg(feature = "signed")]
mod signed {
    use feamoe_engine::signature::{PublicKey, Signers, TrustError, Versions};

    use super::{black_box, unknown};

    #[inline(never)]
    fn verify(signers: &Signers<'_>, blob: &[u8]) -> Result<u32, TrustError> {
        Ok(signers.verify(blob)?.model_version)
    }

    pub fn signers() -> Signers<'static> {
        let (keys, schema): (&[PublicKey], _) = (unknown(), unknown::<[u8; 32]>().first().copied());
        let line = core::str::from_utf8(unknown()).unwrap_or_default();
        let versions = Versions::From(black_box(1));
        Signers { keys, line, schema_sha256: schema, versions }
    }

    pub fn link() {
        _ = black_box(verify(&signers(), unknown()));
    }
}

#[cfg(feature = "delta")]
mod delta {
    use feamoe_engine::delta::apply;

    use super::{black_box, unknown};

    #[inline(never)]
    fn build() -> usize {
        apply(unknown(), unknown(), unknown()).map_or(0, <[u8]>::len)
    }

    pub fn link() {
        _ = black_box(build());
    }
}

#[cfg(feature = "copied")]
mod copied {
    use super::{Device, LoadError, Score, black_box, unknown};

    #[inline(never)]
    fn load() -> Result<Device, LoadError> {
        Device::load_into(unknown(), unknown())
    }

    pub fn link() {
        _ = black_box(Device::values_needed(unknown()));
        if let Ok(model) = black_box(load()) {
            let mut score = Score::new();
            _ = black_box(super::score(&model, &model.record(), &mut score));
            black_box(&score);
        }
    }
}

#[cfg(feature = "integer")]
mod integer {
    use feamoe_engine::Value;
    use feamoe_engine::integer::{Attribution, Model, Record, Score};
    use feamoe_engine::schema::Note;
    use feamoe_engine::{FeatureIndex, LoadError, PredictError, RecordError};

    use super::{EXPERTS, FEATURES, black_box, unknown};

    type Device = Model<'static, FEATURES, EXPERTS>;

    #[inline(never)]
    fn load() -> Result<Device, LoadError> {
        Device::load(unknown())
    }

    #[inline(never)]
    fn set(record: &mut Record<'_, FEATURES>, name: &str, raw: i32, bits: i8) -> Result<Note, RecordError> {
        let key = FeatureIndex(black_box(0));
        record.set_all(&[black_box(Value::Missing); FEATURES])?;
        record.set_known_category(name, name)?;
        for note in [
            record.set_fixed(key, raw, bits)?,
            record.set_number(name, black_box(0.0))?,
            record.set_category(name, name)?,
            record.set_level(key, black_box(None))?,
            record.set_value(key, black_box(Value::Missing))?,
        ] {
            _ = black_box(note);
        }
        record.set_missing(key)
    }

    #[inline(never)]
    fn score(model: &Device, record: &Record<'_, FEATURES>) -> Result<Score<EXPERTS>, PredictError> {
        model.score(record)
    }

    #[inline(never)]
    fn explain(
        model: &Device,
        record: &Record<'_, FEATURES>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), PredictError> {
        model.frozen_into(record, attribution)
    }

    pub fn link() {
        let name = core::str::from_utf8(unknown()).unwrap_or_default();
        let Ok(model) = black_box(load()) else { return };
        let unit = model.number(black_box(0)).map_or(0, |number| number.fraction_bits());
        let mut record = model.record();
        _ = black_box(set(&mut record, name, black_box(0), black_box(unit)));
        black_box(record.notes());
        _ = black_box(score(&model, &record));
        let mut attribution = Attribution::new();
        _ = black_box(explain(&model, &record, &mut attribution));
        black_box(&attribution);
    }
}

#[cfg(feature = "background")]
mod background {
    use super::{Device, FEATURES, Record, RecordError, black_box};

    #[inline(never)]
    fn set(model: &Device, row: usize, record: &mut Record<'_, FEATURES>) -> Result<(), RecordError> {
        model.background_record(row, record)
    }

    pub fn link(model: &Device, record: &mut Record<'_, FEATURES>) {
        _ = black_box(set(model, black_box(0), record));
    }
}

#[cfg(feature = "shapley")]
mod shapley {
    use feamoe_engine::attribution::{Background, Game, Sampling, Workspace};
    use feamoe_engine::mixture::Term;
    use feamoe_engine::{Attribution, ExplainError, Space};

    use super::{Device, EXPERTS, FEATURES, Record, black_box};

    #[inline(never)]
    fn explain(
        model: &Device,
        record: &Record<'_, FEATURES>,
        game: &Game<'_>,
        workspace: &mut Workspace<FEATURES, EXPERTS>,
        attribution: &mut Attribution<FEATURES, EXPERTS>,
    ) -> Result<(), ExplainError> {
        let mut terms = [[Term::default(); 2]; FEATURES];
        let mut background = Background::new(model, terms.as_flattened_mut(), &mut []);
        background.push(model, &model.record())?;
        let keep_going = |evaluations| black_box(evaluations) < 10;
        model.exact_while(record, &background, game, workspace, keep_going, attribution)?;
        model.sampled_into(record, &background, game, &Sampling::default(), workspace, keep_going, attribution)
    }

    pub fn link(model: &Device, record: &Record<'_, FEATURES>) {
        let space = if black_box(true) { Space::LogOdds } else { Space::Probability };
        let player_of = [black_box(0_u16); FEATURES];
        let game = Game { space, player_of: Some(&player_of) };
        let (mut workspace, mut attribution) = (Workspace::new(), Attribution::new());
        _ = black_box(explain(model, record, &game, &mut workspace, &mut attribution));
        black_box((&workspace, &attribution));
    }
}

#[cfg(feature = "monitor")]
mod monitor {
    use feamoe_engine::fairness::Measure;
    use feamoe_engine::monitor::{Monitor, MonitorError, Status};

    use super::{Device, FEATURES, Record, black_box, unknown};

    #[inline(never)]
    fn watch(
        monitor: &mut Monitor<3, FEATURES>,
        model: &Device,
        record: &Record<'_, FEATURES>,
        probability: f32,
    ) -> Result<(), MonitorError> {
        monitor.start(model, black_box(0))?;
        let token = monitor.observe(probability, record.notes(), black_box(Some(1)))?;
        monitor.distance(&token, black_box(Some(1.0)))?;
        monitor.label(token, black_box(true))
    }

    #[inline(never)]
    fn read(bytes: &[u8]) -> Option<f32> {
        let status = Status::read(bytes).ok()?;
        black_box((status.features().count(), status.events().count()));
        let (reference, mut other) = (status.groups().next()?, status.groups().last()?);
        other.merge(&reference);
        black_box(other.interval(black_box(Measure::Spd), &reference));
        Some(other.gap(black_box(Measure::Spd), &reference))
    }

    pub fn link(model: &Device, record: &Record<'_, FEATURES>, probability: f32) {
        let mut monitor = Monitor::new();
        _ = black_box(watch(&mut monitor, model, record, probability));
        _ = black_box(monitor.write(unknown()));
        monitor.reset(black_box(1));
        #[cfg(feature = "restore")]
        {
            _ = black_box(monitor.store(unknown()));
            _ = black_box(monitor.restore(model, unknown()));
        }
        #[cfg(feature = "mac")]
        {
            _ = black_box(send(&monitor));
        }
        black_box(&monitor);
        _ = black_box(read(unknown()));
    }

    #[cfg(feature = "mac")]
    #[inline(never)]
    fn send(monitor: &Monitor<3, FEATURES>) -> Option<bool> {
        use feamoe_engine::monitor::{DeviceId, Key, Sender};

        let sender = Sender { device: DeviceId::new(black_box(&[1; 16]))?, counter: black_box(2) };
        let key = Key::new(black_box([3; 32]));
        let bytes = monitor.write_authenticated(&sender, &key, unknown()).ok()?;
        Some(Status::read(bytes).ok()?.is_authentic(&key))
    }
}

#[cfg(feature = "recourse")]
mod recourse {
    use feamoe_engine::Recourse;
    use feamoe_engine::recourse::{Answer, Rule, Rules};

    use super::{Device, FEATURES, PredictError, Record, black_box};

    #[inline(never)]
    fn look_for_one(
        model: &Device,
        record: &Record<'_, FEATURES>,
        recourse: &mut Recourse<FEATURES>,
    ) -> Result<(), PredictError> {
        model.recourse_while(record, &Rules::FREE, recourse, |evaluations| black_box(evaluations) < 10)
    }

    #[inline(never)]
    fn look_for_answers(
        model: &Device,
        record: &Record<'_, FEATURES>,
        rule: Rule,
        recourse: &mut Recourse<FEATURES>,
        answers: &mut [Answer<FEATURES>],
    ) -> Result<usize, PredictError> {
        Rules::new([rule; FEATURES]).map_or(Ok(0), |rules| model.recourses_within(record, &rules, recourse, answers))
    }

    pub fn link(model: &Device, record: &Record<'_, FEATURES>) {
        let mut recourse = Recourse::new();
        _ = black_box(look_for_one(model, record, &mut recourse));
        let (mut answers, count) = ([Answer::NONE; 2], black_box(2));
        let places = answers.get_mut(..count).unwrap_or_default();
        _ = black_box(look_for_answers(model, record, black_box(Rule::FREE), &mut recourse, places));
        black_box(&answers);
        black_box(&recourse);
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    #[cfg(feature = "copied")]
    copied::link();
    #[cfg(feature = "slots")]
    slots::link();
    #[cfg(feature = "signed")]
    signed::link();
    #[cfg(feature = "delta")]
    delta::link();
    #[cfg(feature = "integer")]
    integer::link();
    #[cfg(not(feature = "no-floats"))]
    if let Ok(model) = black_box(load()) {
        let (mut record, mut scored) = (model.record(), Score::new());
        _ = black_box(set(&mut record, unknown()));
        _ = black_box(score(&model, &record, &mut scored));
        black_box(&scored);
        #[cfg(feature = "names")]
        names::link(&mut record);
        #[cfg(feature = "background")]
        background::link(&model, &mut record);
        #[cfg(feature = "calibration")]
        calibration::link(&model, &record, &scored);
        #[cfg(feature = "frozen")]
        frozen::link(&model, &record);
        #[cfg(feature = "path")]
        path::link(&model, &record);
        #[cfg(feature = "shapley")]
        shapley::link(&model, &record);
        #[cfg(feature = "recourse")]
        recourse::link(&model, &record);
        #[cfg(feature = "monitor")]
        monitor::link(&model, &record, scored.probability);
        #[cfg(feature = "drift")]
        drift::link(scored.probability);
    }
    #[cfg(feature = "plant-panic")]
    black_box(unknown::<u8>()[black_box(0)]);
    loop {
        core::hint::spin_loop();
    }
}
