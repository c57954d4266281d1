//! Prints the cost of setting values, scoring and explaining on this board, for a model in the
//! smallest capacity that holds it, and the sizes of the caller's memory. With the feature
//! `integer`, for a model with integer weights.
//!
//! Reads `model.feamoe` and `records.bin` (words as in [`firmware_example::vectors`]) in the
//! emulator's working folder. Prints a line per capacity, the capacity that was used, and a line
//! per cost: its name, fewest and most instructions over all records, most bytes of stack.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code)] // takes its static

use core::hint::black_box;

#[cfg(feature = "integer")]
use feamoe_engine::integer::{Attribution, Model, Record, Score};
use feamoe_engine::{Aligned, Value};
#[cfg(not(feature = "integer"))]
use feamoe_engine::{Attribution, Model, Record, Recourse, Score, attribution::Workspace};
use firmware_example::host::io::Read;
use firmware_example::host::{open, println, process, read_model};
use firmware_example::meter::{Cost, Meter};
use firmware_example::vectors::{Capacity, value};

const BLOB_BYTES: usize = if cfg!(capacity = "small") { Capacity::SMALL } else { Capacity::LARGE }.blob_bytes;

// Too large for a stack.
static mut BLOB: Aligned<[u8; BLOB_BYTES]> = Aligned([0; BLOB_BYTES]);

#[cfg_attr(all(target_os = "none", target_arch = "arm"), cortex_m_rt::entry)]
#[cfg_attr(all(target_os = "none", target_arch = "riscv32"), riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: `main` runs once, and nothing else uses it.
    #[allow(static_mut_refs)]
    let blob = unsafe { &mut BLOB.0 };
    match run(blob) {
        Ok(()) => process::exit(0),
        Err(message) => {
            println!("costs: {message}");
            process::exit(1)
        }
    }
}

fn run(blob: &mut [u8]) -> Result<(), &'static str> {
    let meter = Meter::calibrate().map_err(|_| "the counter does not count instructions")?;
    let meter = meter.ok_or("nothing counts instructions on this board")?;
    let blob = read_model(blob)?;
    // The first capacity that holds the model is used.
    macro_rules! capacities {
        ($($features:literal x $experts:literal),+) => {
            $(print_sizes::<$features, $experts>();)+
            $(if let Ok(model) = Model::<$features, $experts>::load(blob) {
                return print_costs(&model, &meter);
            })+
        };
    }
    capacities!(2 x 2, 4 x 2, 5 x 4, 8 x 6, 10 x 8, 13 x 12, 14 x 12, 20 x 10, 21 x 12, 24 x 16, 30 x 16, 32 x 16);
    Err("no capacity holds the model")
}

fn print_sizes<const FEATURES: usize, const EXPERTS: usize>() {
    #[cfg(not(feature = "integer"))]
    let more = [size_of::<Workspace<FEATURES, EXPERTS>>(), size_of::<Recourse<FEATURES>>()];
    #[cfg(feature = "integer")]
    let more: [usize; 0] = [];
    println!(
        "bytes {FEATURES} {EXPERTS} {} {} {} {}",
        size_of::<Model<'_, FEATURES, EXPERTS>>(),
        size_of::<Record<'_, FEATURES>>(),
        size_of::<Score<EXPERTS>>(),
        size_of::<Attribution<FEATURES, EXPERTS>>(),
    );
    for bytes in more {
        println!("more {FEATURES} {EXPERTS} {bytes}");
    }
}

#[inline(never)]
fn print_costs<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    meter: &Meter,
) -> Result<(), &'static str> {
    let mut records = open(c"records.bin").map_err(|_| "records.bin could not be opened")?;
    let mut words = [[0_u8; 4]; FEATURES];
    let words = words.get_mut(..model.schema().features().len()).ok_or("too many features")?;
    let bytes = records.metadata().map_err(|_| "records.bin has no length")?.len() as usize;
    let mut record = model.record();
    let (mut score, mut why) = (Score::new(), Attribution::new());
    let [mut set, mut scored, mut frozen] = [Cost::NONE; 3];
    #[cfg(not(feature = "integer"))]
    let mut path = Cost::NONE;
    for _ in 0..bytes / words.as_flattened().len() {
        records.read_exact(words.as_flattened_mut()).map_err(|_| "records.bin could not be read")?;
        let mut values = [Value::Missing; FEATURES];
        let features = model.schema().features().iter().zip(&*words).zip(&mut values);
        features.for_each(|((feature, word), to)| *to = value(feature.kind(), u32::from_le_bytes(*word)));
        let values = values.get(..words.len()).unwrap_or(&values);
        let meter = Some(meter);
        set.add(meter, || _ = black_box(record.set_all(values)));
        scored.add(meter, || _ = black_box(model.score_into(&record, &mut score)));
        frozen.add(meter, || _ = black_box(model.frozen_into(&record, &mut why)));
        #[cfg(not(feature = "integer"))]
        path.add(meter, || _ = black_box(model.path_into(&record, &mut why)));
        _ = black_box((&score, &why));
    }
    println!("capacity {FEATURES} {EXPERTS} 0");
    let costs = [
        ("set", set),
        ("score", scored),
        ("frozen", frozen),
        #[cfg(not(feature = "integer"))]
        ("path", path),
    ];
    for (name, cost) in costs {
        println!("{name} {} {} {}", cost.least, cost.most, cost.stack);
    }
    Ok(())
}
