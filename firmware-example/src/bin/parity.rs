//! Answers a file of records on the device, so that the host can compare the answers bit by bit,
//! and prints the cost.
//!
//! Reads `model.feamoe` and `records.bin` in the emulator's working folder, and writes
//! `answers.bin` (words as in [`firmware_example::vectors`]). Then, if the board counts
//! instructions, prints a line per cost: its name, fewest and most instructions over all records,
//! most bytes of stack.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code)] // takes its statics

use core::hint::black_box;

use feamoe_engine::Value;
use feamoe_engine::attribution::{Background, Game};
use feamoe_engine::mixture::Term;
use feamoe_engine::{Aligned, Attribution, Model, Record, Score};
use firmware_example::host::io::{Read, Write};
use firmware_example::host::{create, open, println, process, read_model};
use firmware_example::meter::{Cost, Meter};
use firmware_example::vectors::{ANSWERS, Capacity, EXACT_EVERY, Memory, RECOURSE_EVERY, answer, rules, value};

const CAPACITY: Capacity = if cfg!(feature = "adult") {
    Capacity::ADULT
} else if cfg!(capacity = "small") {
    Capacity::SMALL
} else {
    Capacity::LARGE
};
const FEATURES: usize = CAPACITY.features;
const EXPERTS: usize = CAPACITY.experts;
/// Bytes of the longest answer, rounded up.
const ANSWER_BYTES: usize =
    4 * (3 * (5 + 2 * EXPERTS) + 6 * (6 + 3 * FEATURES) + 3 + FEATURES + 2 + ANSWERS * (2 + FEATURES));

/// The number of values that are copied if they cannot be used in place.
const COPIED_VALUES: usize = if cfg!(target_endian = "big") { CAPACITY.blob_bytes / 4 } else { 0 };

type Device<'a> = Model<'a, FEATURES, EXPERTS>;

// Too large for a stack.
static mut BLOB: Aligned<[u8; CAPACITY.blob_bytes]> = Aligned([0; CAPACITY.blob_bytes]);
static mut COPIES: [f32; COPIED_VALUES] = [0.0; COPIED_VALUES];
static mut MEMORY: Memory<FEATURES, EXPERTS> = Memory::new();

#[cfg_attr(all(target_os = "none", target_arch = "arm"), cortex_m_rt::entry)]
#[cfg_attr(all(target_os = "none", target_arch = "riscv32"), riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: `main` runs once, and nothing else uses them.
    #[allow(static_mut_refs)]
    let (blob, copies, memory) = unsafe { (&mut BLOB.0, &mut COPIES, &mut MEMORY) };
    match run(blob, copies, memory) {
        Ok(()) => process::exit(0),
        Err(message) => {
            println!("parity: {message}");
            process::exit(1)
        }
    }
}

fn run(blob: &mut [u8], copies: &mut [f32], memory: &mut Memory<FEATURES, EXPERTS>) -> Result<(), &'static str> {
    let meter = Meter::calibrate().map_err(|_| "the counter does not count instructions")?;
    let meter = meter.as_ref();
    let blob = read_model(blob)?;
    let model = if cfg!(target_endian = "big") { Device::load_into(blob, copies) } else { Device::load(blob) };
    let model = model.map_err(|_| "model.feamoe was refused")?;

    let mut records = open(c"records.bin").map_err(|_| "records.bin could not be opened")?;
    let mut answers = create(c"answers.bin").map_err(|_| "answers.bin could not be created")?;
    let mut words = [[0_u8; 4]; FEATURES];
    let words = words.get_mut(..model.schema().features().len()).ok_or("too many features")?;
    let bytes = records.metadata().map_err(|_| "records.bin has no length")?.len() as usize;
    if bytes == 0 || !bytes.is_multiple_of(words.as_flattened().len()) {
        return Err("records.bin does not hold whole records of this model");
    }
    let mut record = model.record();
    let none = Cost::NONE;
    let mut costs =
        Costs { set: none, score: none, frozen: none, path: none, exact: none, recourse: none, answers: none };
    for number in 0..bytes / words.as_flattened().len() {
        records.read_exact(words.as_flattened_mut()).map_err(|_| "records.bin could not be read")?;
        let mut values = [Value::Missing; FEATURES];
        let features = model.schema().features().iter().zip(&*words).zip(&mut values);
        features.for_each(|((feature, word), to)| *to = value(feature.kind(), u32::from_le_bytes(*word)));
        let values = values.get(..words.len()).unwrap_or(&values);
        record.set_all(values).map_err(|_| "a value of records.bin was refused")?;
        let mut bytes = heapless::Vec::<u8, ANSWER_BYTES>::new();
        let mut fits = true;
        let word = |word: u32| fits &= bytes.extend_from_slice(&word.to_le_bytes()).is_ok();
        answer(&model, &record, number, memory, word).map_err(|_| "a record could not be scored")?;
        if !fits {
            return Err("an answer is longer than its buffer");
        }
        answers.write_all(&bytes).map_err(|_| "answers.bin could not be written")?;
        costs.add(meter, &model, &mut record, values);
        if number.is_multiple_of(EXACT_EVERY) {
            let mut terms = [[Term::default(); 2]; FEATURES];
            let mut background = Background::new(&model, terms.as_flattened_mut(), &mut []);
            background.push(&model, &model.record()).map_err(|_| "the background has no room")?;
            let (mut why, game) = (Attribution::new(), Game::default());
            costs.exact.add(meter, || {
                _ = black_box(model.exact_into(&record, &background, &game, &mut memory.workspace, &mut why));
            });
        }
        let Memory { recourse, answers: places, .. } = memory;
        // A favourable record needs no recourse.
        if number.is_multiple_of(RECOURSE_EVERY) && recourse.distance != Some(0.0) {
            costs.recourse.add(meter, || _ = black_box(model.recourse_into(&record, recourse)));
            let rules = const { rules() }.map_err(|_| "the rules are not sound")?;
            costs.answers.add(meter, || _ = black_box(model.recourses_within(&record, &rules, recourse, places)));
        }
    }
    println!("records {}", bytes / words.as_flattened().len());
    let Costs { set, score, frozen, path, exact, recourse, answers } = costs;
    let by_name = [("set", set), ("score", score), ("frozen", frozen), ("path", path), ("recourse", recourse)];
    for (name, cost) in by_name.into_iter().chain([("answers", answers), ("exact", exact)]) {
        println!("{name} {} {} {}", cost.least, cost.most, cost.stack);
    }
    Ok(())
}

/// The costs of setting all values, scoring, explaining and searching for recourse. An explanation
/// includes its score.
struct Costs {
    set: Cost,
    score: Cost,
    frozen: Cost,
    path: Cost,
    /// Against one background record.
    exact: Cost,
    recourse: Cost,
    /// For [`ANSWERS`] answers of recourse by rules.
    answers: Cost,
}

impl Costs {
    fn add(&mut self, meter: Option<&Meter>, model: &Device<'_>, record: &mut Record<'_, FEATURES>, values: &[Value]) {
        let (mut score, mut why) = (Score::new(), Attribution::new());
        self.set.add(meter, || _ = black_box(record.set_all(values)));
        self.score.add(meter, || _ = black_box(model.score_into(record, &mut score)));
        self.frozen.add(meter, || _ = black_box(model.frozen_into(record, &mut why)));
        self.path.add(meter, || _ = black_box(model.path_into(record, &mut why)));
        _ = black_box((&score, &why));
    }
}
