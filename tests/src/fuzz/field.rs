//! What a device receives in the field: integer models, deltas, slots, and rules of recourse.

use arbitrary::{Result, Unstructured};
use feamoe_engine::format::{self, FLAGS_AT, HEADER_BYTES};
use feamoe_engine::recourse::{Change, Direction, Rule, Rules};
use feamoe_engine::schema::Kind;
use feamoe_engine::slots::{Anyone, Step, Target, Update, choose};
use feamoe_engine::{Aligned, FeatureIndex, Model, Recourse, Scored as _, Value, delta, integer};
use feamoe_testkit::content::Bytes;

use super::{EXPERTS, FEATURES, FuzzModel};

type IntegerModel<'a> = integer::Model<'a, FEATURES, EXPERTS>;

const FLOATS: &[u8] = feamoe_engine::include_model!("../../../engine/golden/v1.feamoe");
const INTEGERS: &[u8] = feamoe_engine::include_model!("../../../engine/golden/v1-i16.feamoe");
const NEWER: &[u8] = feamoe_engine::include_model!("../../../engine/golden/delta-v2.feamoe");

/// Loads the bytes as an integer model, unchanged and with a valid header.
pub fn integer(data: &[u8]) {
    check_integers(data);
    let Some((header, payload)) = data.split_first_chunk::<HEADER_BYTES>() else { return };
    let flags = u16::from_le_bytes([header[FLAGS_AT], header[FLAGS_AT + 1]]);
    if let Some(header) = format::header(flags, payload) {
        check_integers(&[&header, payload].concat());
    }
}

/// Checks that a model that loads scores and explains any record, that its shares sum to 1 and its
/// values to the output.
fn check_integers(data: &[u8]) {
    let bytes = Bytes::new(data);
    let Ok(model) = IntegerModel::load(bytes.as_slice()) else { return };
    let mut record = model.record();
    for numbers in [None, Some(f32::MIN), Some(0.5), Some(f32::MAX)] {
        for index in 0..model.schema().features().len() {
            let key = FeatureIndex(index);
            let Some(x) = numbers else { continue };
            let is_number = model.number(index).is_some();
            assert_eq!(record.set_number(key, x).is_ok(), is_number);
            assert_eq!(record.set_level(key, None).is_ok(), !is_number);
            assert_eq!(record.set_fixed(key, i32::MIN, 31).is_ok(), is_number);
            let _ = record.set_number(key, x);
        }
        let score = model.score(&record).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(score.gate.iter().sum::<u32>(), 65_536);
        assert_eq!(score.probability() >= model.threshold(), score.decision, "{score:?}");
        let mut why = integer::Attribution::new();
        assert_eq!(model.frozen_into(&record, &mut why), Ok(()));
        let sum = why.values.iter().fold(why.base_value, |sum, value| sum.wrapping_add(*value));
        assert_eq!((sum, why.score), (why.output, score));
    }
}

/// Applies the bytes as a delta of golden models, unchanged and with a valid header. The result is
/// a model or an error.
pub fn delta(data: &[u8]) {
    let apply = |data: &[u8]| {
        for old in [FLOATS, INTEGERS] {
            let mut out = Aligned([0; 4096]);
            let Ok(new) = delta::apply(old, data, &mut out.0) else { continue };
            let new = Bytes::new(new);
            let (floats, integers) = (FuzzModel::load(new.as_slice()), IntegerModel::load(new.as_slice()));
            assert!(floats.is_ok() || integers.is_ok(), "{:?}, {:?}", floats.err(), integers.err());
        }
    };
    apply(data);
    if data.len() > delta::HEADER_BYTES {
        let payload = &data[delta::HEADER_BYTES..];
        apply(&[&delta::header(payload)[..], payload].concat());
    }
    if data.len() > feamoe_engine::frame::HEADER_BYTES {
        let payload = &data[feamoe_engine::frame::HEADER_BYTES..];
        if let Some(header) = delta::header_of_integers(payload) {
            apply(&[&header[..], payload].concat());
        }
    }
}

const SLOT_BYTES: usize = 800;
const WORD: usize = 8;

type Slot = Aligned<[u8; SLOT_BYTES]>;

/// Two slots with updates, starts and damaged bytes in any order. Unless bytes were changed, a
/// chosen model is one of the two that were written. A start always finds a model while a confirmed
/// one is undamaged.
pub fn slots(data: &[u8]) {
    let mut slots = [const { Aligned([0xff; SLOT_BYTES]) }; 2];
    let mut data = Unstructured::new(data);
    let (mut is_written, mut is_damaged) = (false, false);
    while !data.is_empty() && act(&mut slots, &mut data, &mut is_written, &mut is_damaged).is_ok() {}
}

fn act(slots: &mut [Slot; 2], data: &mut Unstructured<'_>, is_written: &mut bool, is_damaged: &mut bool) -> Result<()> {
    let choice = data.int_in_range(0..=7)?;
    if choice == 0 {
        // Damage at any place.
        let slot = data.int_in_range(0..=1)?;
        let at = data.int_in_range(0..=SLOT_BYTES - 1)?;
        slots[slot].0[at] ^= data.arbitrary::<u8>()?;
        (*is_written, *is_damaged) = (false, true);
        return Ok(());
    }
    let [first, second] = &*slots;
    let chosen = choose::<IntegerModel, IntegerModel>(&first.0, &second.0, &Anyone);
    let (begin, confirm, target, slot) = match chosen {
        Ok(mut chosen) => {
            let target = chosen.target();
            let steps = (
                [chosen.begin::<WORD>(), chosen.begin::<WORD>()],
                [chosen.confirm::<WORD>(), chosen.confirm::<WORD>()],
            );
            assert!(chosen.target().is_some(), "a confirmed model leaves the other slot");
            let slot = chosen.slot;
            let model = chosen.model.into_inner();
            assert!(slots[slot].0[chosen.blob].starts_with(b"FEAM"));
            assert!(model.score(&model.record()).is_ok());
            (steps.0, steps.1, target, slot)
        }
        Err(none) => {
            assert!(!*is_written, "a model that was written whole is found: {none}");
            ([None; 2], [None; 2], Some(none.target), 0)
        }
    };
    let power = if data.arbitrary()? { u32::MAX } else { data.int_in_range(0..=400)? };
    let mut supply = Supply { power, is_damaged: *is_damaged };
    for step in begin.into_iter().flatten() {
        take(&mut slots[slot], step, &mut supply);
    }
    for step in confirm.into_iter().flatten().filter(|_| choice == 1) {
        take(&mut slots[slot], step, &mut supply);
    }
    if let (Some(target), true) = (target, choice > 2) {
        let blob = if data.arbitrary()? { INTEGERS } else { NEWER };
        if write(&mut slots[target.slot], target, blob, data, &mut supply)? {
            *is_written = true;
        }
    }
    Ok(())
}

/// Writes a model in pieces of any size. Returns whether it was written.
fn write(
    slot: &mut Slot,
    target: Target,
    blob: &[u8],
    data: &mut Unstructured<'_>,
    supply: &mut Supply,
) -> Result<bool> {
    let mut update = Update::<WORD>::new(target, SLOT_BYTES as u32, 0xff, blob.len() as u32)
        .unwrap_or_else(|error| panic!("{error}"));
    update.erase().for_each(|step| take(slot, step, supply));
    let mut rest = blob;
    while !rest.is_empty() {
        let length = data.int_in_range(0..=200)?.clamp(1, rest.len());
        let (mut piece, after) = rest.split_at(length);
        while let Some(step) = update.next(&mut piece) {
            take(slot, step, supply);
        }
        assert!(piece.is_empty());
        rest = after;
    }
    match update.end() {
        Ok(Some(step)) => take(slot, step, supply),
        Ok(None) => {}
        Err(error) => panic!("{error}"),
    }
    let had_power = supply.power > 0;
    match update.check::<IntegerModel>(&slot.0, &Anyone) {
        Ok(seal) => {
            seal.steps().into_iter().for_each(|step| take(slot, step, supply));
            Ok(supply.power > 0)
        }
        Err(error) => {
            assert!(!had_power, "{error}");
            Ok(false)
        }
    }
}

/// The power supply: the number of words that can still be written, and whether bytes were changed.
struct Supply {
    power: u32,
    is_damaged: bool,
}

/// Takes a step as long as there is power, which each word reduces by one.
fn take(slot: &mut Slot, step: Step<'_>, Supply { power, is_damaged }: &mut Supply) {
    let (from, to) = match step {
        Step::Erase { from, to } => (from as usize, to as usize),
        Step::Write { at, bytes } => (at as usize, at as usize + bytes.len()),
    };
    for at in (from..to).step_by(WORD) {
        let Some(left) = power.checked_sub(1) else { return };
        *power = left;
        let word = &mut slot.0[at..at + WORD];
        match step {
            Step::Erase { .. } => word.fill(0xff),
            Step::Write { bytes, .. } => {
                // Damage can look like a half-written word.
                let to = &bytes[at - from..at - from + WORD];
                assert!(*is_damaged || word == to || word.iter().all(|byte| *byte == 0xff), "a word is written twice");
                word.copy_from_slice(to);
            }
        }
    }
}

/// Rules with any numbers are refused, or every answer complies with them and is favourable.
pub fn recourse(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let _ = search(&mut data);
}

fn search(data: &mut Unstructured<'_>) -> Result<()> {
    const GATED: &[u8] = feamoe_engine::include_model!("../../../engine/golden/adult-gated.feamoe");
    let model: FuzzModel<'_> = Model::load(data.choose(&[FLOATS, GATED])?).unwrap_or_else(|error| panic!("{error}"));
    let features = model.schema().features();
    let mut record = model.record();
    let mut values = [Value::Missing; FEATURES];
    for (index, feature) in features.iter().enumerate() {
        values[index] = match feature.kind() {
            Kind::Number { low, high, .. } => {
                Value::Number(low + (high - low) * f32::from(data.arbitrary::<u8>()?) / 255.0)
            }
            Kind::Category { levels } => Value::Level(data.int_in_range(0..=levels - 1)?),
        };
        assert!(record.set_value(FeatureIndex(index), values[index]).is_ok());
    }
    let mut rules = [Rule::FIXED; FEATURES];
    for (rule, feature) in rules.iter_mut().zip(features) {
        const DIRECTIONS: [Direction; 4] = [Direction::Any, Direction::Increase, Direction::Decrease, Direction::Fixed];
        let any = f32::from_bits(data.arbitrary()?);
        let inside = |data: &mut Unstructured<'_>| -> Result<f32> {
            let Kind::Number { low, high, .. } = feature.kind() else { return Ok(0.0) };
            Ok(low + (high - low) * f32::from(data.arbitrary::<u8>()?) / 255.0)
        };
        // Most rules are valid.
        let (mut low, mut high, mut step, mut cost) = (f32::NEG_INFINITY, f32::INFINITY, 0.0, 1.0);
        match data.int_in_range(0..=11)? {
            0 => low = any,
            1 => high = any,
            2 => step = any,
            3 => cost = any,
            4 => (low, high) = (inside(data)?, inside(data)?),
            5 => step = inside(data)? / f32::from(data.int_in_range::<u8>(1..=255)?),
            6 => cost = f32::from(data.int_in_range::<u8>(1..=255)?) / 16.0,
            _ => {}
        }
        *rule = Rule { direction: *data.choose(&DIRECTIONS)?, low, high, step, cost };
    }
    let Ok(known) = Rules::new(rules) else { return Ok(()) };
    let before = model.score(&record).unwrap_or_else(|error| panic!("{error}"));
    let (mut found, mut last) = (Recourse::new(), 1);
    let budget: u32 = data.int_in_range(1..=300)?;
    let done = model.recourse_while(&record, &known, &mut found, |evaluations| {
        assert!(last <= budget, "asked again after it was told to stop");
        assert_eq!(evaluations, last + 1);
        last = evaluations;
        evaluations <= budget
    });
    assert_eq!(done, Ok(()));
    assert_eq!(found.stopped, last > budget);
    let Some(distance) = found.distance else {
        assert!(!before.decision);
        return Ok(());
    };
    assert!(distance >= 0.0 && distance.is_finite(), "{distance}");
    for (index, change) in found.changes.iter().enumerate() {
        let (Some(change), rule) = (change, &rules[index]) else { continue };
        assert_ne!(rule.direction, Direction::Fixed);
        let value = match (*change, values[index]) {
            (Change::Number(number), Value::Number(was)) => {
                assert!(number >= rule.low && number <= rule.high, "{number} by {rule:?}");
                // A record keeps its number transformed and rounded.
                let near = 1e-3 * was.abs().max(1e-3);
                assert!(rule.direction != Direction::Increase || number >= was - near, "{number} from {was}");
                assert!(rule.direction != Direction::Decrease || number <= was + near, "{number} from {was}");
                Value::Number(number)
            }
            (Change::Level(code), _) => Value::Level(code),
            (change, value) => panic!("{change:?} of {value:?}"),
        };
        assert!(record.set_value(FeatureIndex(index), value).is_ok());
    }
    let after = model.score(&record).unwrap_or_else(|error| panic!("{error}"));
    assert!(after.decision && after.probability.to_bits() == found.probability.to_bits(), "{found:?}");
    Ok(())
}
