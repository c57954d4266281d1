//! Prints the cost of a monitor of three groups on this core. It observes the scores of the demo's
//! records and an outcome for each.
//!
//! One line per cost: its name, fewest and most instructions over all records, most bytes of stack,
//! mean number of instructions.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // takes its static

use core::hint::black_box;

use feamoe_engine::monitor::{Monitor, Token};
use feamoe_engine::{Model, include_model};
use firmware_example::host::{println, process};
use firmware_example::meter::{Cost, Meter};
use firmware_example::records::Table;

const GROUPS: usize = 3;
/// The number of scores: enough for the detectors' windows to be cut and merged at every length.
const SCORES: usize = 2_000;

static MODEL: &[u8] = include_model!(env!("FEAMOE_BLOB"));
static RECORDS: &str = include_str!(env!("FEAMOE_RECORDS"));
static mut MONITOR: Monitor<GROUPS, 32> = Monitor::new();

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: `main` runs once, and nothing else uses it.
    #[allow(static_mut_refs)]
    let monitor = unsafe { &mut MONITOR };
    match run(monitor) {
        Ok(()) => process::exit(0),
        Err(message) => {
            println!("watch: {message}");
            process::exit(1)
        }
    }
}

fn run(monitor: &mut Monitor<GROUPS, 32>) -> Result<(), &'static str> {
    let model: Model<'_, 32, 16> = Model::load(MODEL).map_err(|_| "the model was refused")?;
    let meter = Meter::calibrate().map_err(|_| "the counter does not count instructions")?;
    let meter = meter.ok_or("nothing counts instructions on this board")?;
    let table = Table::new(RECORDS);
    let mut record = model.record();
    monitor.start(&model, 0).map_err(|_| "the model has too many features to watch")?;
    let (mut observe, mut label) = (Cost::NONE, Cost::NONE);
    for number in 0..SCORES {
        let row = table.rows().nth(number % table.rows().count().max(1)).ok_or("there are no records")?;
        table.read(row, model.schema(), &mut record).map_err(|_| "a record was refused")?;
        let probability = model.score(&record).map_err(|_| "a record could not be scored")?.probability;
        // A call is made twice, once to count, and each token is used for one outcome.
        let mut tokens = heapless::Vec::<Token, 2>::new();
        observe.add(Some(&meter), || {
            let token = monitor.observe(probability, record.notes(), Some((number % GROUPS) as u8));
            _ = black_box(token.map(|token| tokens.push(token)));
        });
        label.add(Some(&meter), || {
            _ = black_box(tokens.pop().map(|token| monitor.label(token, number.is_multiple_of(3))));
        });
    }
    for (name, cost) in [("observe", observe), ("label", label)] {
        println!("{name} {} {} {} {}", cost.least, cost.most, cost.stack, cost.mean());
    }
    Ok(())
}
