//! This engine as a contender: loads the model from flash, sets values by index and code, and
//! scores; with `frozen` or `path` it also computes attributions.
#![no_std]

use core::cell::UnsafeCell;

use feamoe_engine::Value;
use feamoe_engine::{Attribution, FeatureIndex, PredictError, Record, RecordError, Score, include_model};

mod adult {
    include!(env!("COMPARE_CONSTANTS"));
}
use adult::{Device, feature};

const NUMBERS: [FeatureIndex; 5] =
    [feature::AGE, feature::EDUCATION_NUM, feature::CAPITAL_GAIN, feature::CAPITAL_LOSS, feature::HOURS_PER_WEEK];
const CATEGORIES: [FeatureIndex; 8] = [
    feature::WORKCLASS,
    feature::EDUCATION,
    feature::MARITAL_STATUS,
    feature::OCCUPATION,
    feature::RELATIONSHIP,
    feature::RACE,
    feature::SEX,
    feature::NATIVE_COUNTRY,
];
/// A category without a value.
const MISSING: u16 = 0xffff;

static BLOB: &[u8] = include_model!(env!("COMPARE_MODEL"));

/// A `struct row` of contender.h.
#[repr(C)]
pub struct Row {
    numbers: [f32; NUMBERS.len()],
    codes: [u16; CATEGORIES.len()],
}

/// A value that is prepared once.
struct Place<T>(UnsafeCell<Option<T>>);
// SAFETY: the firmware has one thread and no interrupt.
unsafe impl<T> Sync for Place<T> {}

static MODEL: Place<Device<'static>> = Place(UnsafeCell::new(None));
type Prepared = (&'static Device<'static>, Record<'static, { adult::FEATURES }>, Score<{ adult::EXPERTS }>);
static PREPARED: Place<Prepared> = Place(UnsafeCell::new(None));

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        safe fn a_panic_is_reachable() -> !;
    }
    a_panic_is_reachable()
}

/// Loads the model.
#[unsafe(no_mangle)]
pub extern "C" fn contender_start() -> i32 {
    let Ok(model) = Device::load(BLOB) else { return 1 };
    if model.crc32() != adult::CRC32 {
        return 2;
    }
    // SAFETY: called once, before anything else uses both.
    unsafe {
        let model = (*MODEL.0.get()).insert(model);
        *PREPARED.0.get() = Some((model, model.record(), Score::new()));
    }
    0
}

/// Scores a row.
#[unsafe(no_mangle)]
pub extern "C" fn contender_score(row: &Row) -> f32 {
    // SAFETY: nothing else uses it.
    let Some((model, record, score)) = (unsafe { &mut *PREPARED.0.get() }) else { return -1.0 };
    if set(record, row).is_err() {
        return -1.0;
    }
    scored(model, record, score).unwrap_or(-1.0)
}

fn set(record: &mut Record<'_, { adult::FEATURES }>, row: &Row) -> Result<(), RecordError> {
    let mut values = [Value::Missing; adult::FEATURES];
    let mut put = |index: FeatureIndex, value| {
        if let Some(place) = values.get_mut(index.0) {
            *place = value;
        }
    };
    for (index, number) in NUMBERS.into_iter().zip(row.numbers) {
        put(index, Value::Number(number));
    }
    for (index, code) in CATEGORIES.into_iter().zip(row.codes) {
        put(index, if code == MISSING { Value::Missing } else { Value::Level(code) });
    }
    record.set_all(&values)
}

fn scored(
    model: &Device<'_>,
    record: &Record<'_, { adult::FEATURES }>,
    score: &mut Score<{ adult::EXPERTS }>,
) -> Result<f32, PredictError> {
    if cfg!(any(feature = "frozen", feature = "path")) {
        let mut why = Attribution::<{ adult::FEATURES }, { adult::EXPERTS }>::new();
        if cfg!(feature = "path") {
            model.path_into(record, &mut why)?
        } else {
            model.frozen_into(record, &mut why)?
        }
        Ok(why.score.probability)
    } else {
        model.score_into(record, score)?;
        Ok(score.probability)
    }
}
