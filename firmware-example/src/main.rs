//! Loads a model from flash, scores and explains a few records, and prints the cost on this core.
//!
//! `cargo run --release` runs it in the emulator with the model and the records of `feamoe demo`;
//! `--target` selects another board than the Cortex-M4F. For your own, set `FEAMOE_BLOB` to a
//! `.feamoe` file and `FEAMOE_RECORDS` to a CSV file with a header, both relative to this folder.
#![no_std]
#![no_main]

use feamoe_engine::{Attribution, Model, Score, include_model};
use firmware_example::host::{println, process};
use firmware_example::meter::{Cost, Meter, memory};
use firmware_example::records::Table;

/// The capacity of this build: 32 features, 16 experts.
type Device<'a> = Model<'a, 32, 16>;

static MODEL: &[u8] = include_model!(env!("FEAMOE_BLOB"));
static RECORDS: &str = include_str!(env!("FEAMOE_RECORDS"));
/// The number of records shown, from the first on.
const SHOWN: usize = 3;

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    let model = Device::load(MODEL).unwrap_or_else(|error| fail(format_args!("model: {error}")));
    let meter = Meter::calibrate().unwrap_or_else(|error| fail(format_args!("{error:?}")));
    let meter = meter.as_ref();
    let (schema, experts) = (model.schema(), model.experts());
    println!(
        "model {:08x}: {} features, {experts} experts, {} bytes",
        model.crc32(),
        schema.features().len(),
        MODEL.len()
    );

    let table = Table::new(RECORDS);
    let mut record = model.record();
    let (mut score, mut frozen, mut path) = (Score::new(), Attribution::new(), Attribution::new());
    let (mut score_cost, mut frozen_cost, mut path_cost) = (Cost::NONE, Cost::NONE, Cost::NONE);
    let mut done = Ok(());
    for (number, row) in (1..).zip(table.rows().take(SHOWN)) {
        if let Err(error) = table.read(row, schema, &mut record) {
            fail(format_args!("record {number}: {error:?}"));
        }
        score_cost.add(meter, || done = model.score(&record).map(|found| score = found));
        frozen_cost.add(meter, || done = model.frozen_into(&record, &mut frozen));
        path_cost.add(meter, || done = model.path_into(&record, &mut path));
        if let Err(error) = done {
            fail(format_args!("record {number}: {error}"));
        }

        let outcome = if score.decision { "favourable" } else { "unfavourable" };
        println!("\nrecord {number}: p {:.6} [{:08x}], {outcome}", score.probability, score.probability.to_bits());
        for (expert, gate) in (1..).zip(score.gate.iter().take(experts)) {
            println!("  gate of expert {expert:2} {gate:10.6} [{:08x}]", gate.to_bits());
        }
        println!("  {:20} {:>16}  frozen, log-odds       path, probability", "feature", "value");
        let line = |name, cell, frozen: f32, path: f32| {
            println!(
                "  {name:20} {cell:>16} {frozen:+10.6} [{:08x}] {path:+10.6} [{:08x}]",
                frozen.to_bits(),
                path.to_bits()
            );
        };
        line("(base)", "", frozen.base_value, path.base_value);
        for (index, (frozen, path)) in frozen.values.iter().zip(&path.values).take(schema.features().len()).enumerate()
        {
            let name = schema.feature_name(index).unwrap_or("?");
            line(name, table.cell(row, name).unwrap_or(""), *frozen, *path);
        }
    }

    if meter.is_some() {
        println!("\n{:16} {:>12} {:>12} {:>12}", "instructions", "fewest", "most", "stack bytes");
        for (name, cost) in [("score", score_cost), ("score + frozen", frozen_cost), ("score + path", path_cost)] {
            println!("{name:16} {:12} {:12} {:12}", cost.least, cost.most, cost.stack);
        }
    }
    let image = memory();
    println!("flash {} bytes, of which the model {}; static RAM {} bytes", image.flash, MODEL.len(), image.ram);
    process::exit(0)
}

fn fail(why: core::fmt::Arguments<'_>) -> ! {
    println!("firmware: {why}");
    process::exit(1)
}
