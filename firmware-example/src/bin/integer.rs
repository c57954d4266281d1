//! Like `parity`, for integer models: answers a file of records on the device, so that the host can
//! compare the answers bit by bit, and prints the cost.
//!
//! Each record is set twice: with numbers as f32 and without floats. Costs: setting all values
//! without floats, scoring, explaining (including the score).
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code)] // takes its static

use core::hint::black_box;

use feamoe_engine::Value;
use feamoe_engine::integer::{Attribution, Model, Score};
use feamoe_engine::{Aligned, FeatureIndex};
use firmware_example::host::io::{Read, Write};
use firmware_example::host::{create, open, println, process, read_model};
use firmware_example::meter::{Cost, Meter};
use firmware_example::vectors::{Capacity, Raw, integer_answer, set_raw, value};

const FEATURES: usize = Capacity::INTEGER.features;
const EXPERTS: usize = Capacity::INTEGER.experts;
const BLOB_BYTES: usize = Capacity::INTEGER.blob_bytes;
/// Bytes of the longest answer for one of the two ways to set a record.
const ANSWER_BYTES: usize = 4 * (2 * (5 + 2 * EXPERTS) + FEATURES + 2 + FEATURES);

static mut BLOB: Aligned<[u8; BLOB_BYTES]> = Aligned([0; BLOB_BYTES]);

#[cfg_attr(all(target_os = "none", target_arch = "arm"), cortex_m_rt::entry)]
#[cfg_attr(all(target_os = "none", target_arch = "riscv32"), riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: `main` runs once, and nothing else uses it.
    #[allow(static_mut_refs)]
    match run(unsafe { &mut BLOB.0 }) {
        Ok(()) => process::exit(0),
        Err(message) => {
            println!("integer: {message}");
            process::exit(1)
        }
    }
}

fn run(blob: &mut [u8]) -> Result<(), &'static str> {
    let meter = Meter::calibrate().map_err(|_| "the counter does not count instructions")?;
    let meter = meter.as_ref();
    let blob = read_model(blob)?;
    let model: Model<'_, FEATURES, EXPERTS> = Model::load(blob).map_err(|_| "model.feamoe was refused")?;

    let mut records = open(c"records.bin").map_err(|_| "records.bin could not be opened")?;
    let mut answers = create(c"answers.bin").map_err(|_| "answers.bin could not be created")?;
    let mut words = [[0_u8; 4]; FEATURES];
    let words = words.get_mut(..model.schema().features().len()).ok_or("too many features")?;
    let bytes = records.metadata().map_err(|_| "records.bin has no length")?.len() as usize;
    let count = bytes / words.as_flattened().len();
    let mut record = model.record();
    let (mut set, mut score, mut frozen) = (Cost::NONE, Cost::NONE, Cost::NONE);
    for _ in 0..count {
        records.read_exact(words.as_flattened_mut()).map_err(|_| "records.bin could not be read")?;
        let mut values = [Value::Missing; FEATURES];
        let features = model.schema().features().iter().zip(&*words).zip(&mut values);
        features.for_each(|((feature, word), to)| *to = value(feature.kind(), u32::from_le_bytes(*word)));
        let mut raw = [Raw::Missing; FEATURES];
        values.iter().zip(&mut raw).enumerate().for_each(|(index, (value, to))| *to = Raw::of(&model, index, *value));
        let raw = raw.get(..words.len()).unwrap_or(&raw);
        for without_floats in [false, true] {
            if without_floats {
                set_raw(&mut record, raw).map_err(|_| "a value without floats was refused")?;
            } else {
                for (index, value) in values.iter().take(words.len()).enumerate() {
                    _ = record.set_value(FeatureIndex(index), *value).map_err(|_| "a value was refused")?;
                }
            }
            let mut bytes = heapless::Vec::<u8, ANSWER_BYTES>::new();
            let mut fits = true;
            let word = |word: u32| fits &= bytes.extend_from_slice(&word.to_le_bytes()).is_ok();
            integer_answer(&model, &record, word).map_err(|_| "a record could not be scored")?;
            if !fits {
                return Err("an answer is longer than its buffer");
            }
            answers.write_all(&bytes).map_err(|_| "answers.bin could not be written")?;
        }
        let (mut found, mut why) = (Score::new(), Attribution::new());
        set.add(meter, || _ = black_box(set_raw(&mut record, raw)));
        score.add(meter, || _ = black_box(model.score_into(&record, &mut found)));
        frozen.add(meter, || _ = black_box(model.frozen_into(&record, &mut why)));
    }
    println!("records {count}");
    for (name, cost) in [("set", set), ("score", score), ("frozen", frozen)] {
        println!("{name} {} {} {}", cost.least, cost.most, cost.stack);
    }
    Ok(())
}
