//! trial
#![no_std]
#![no_main]
use firmware_example::meter::{Meter, memory, stack_bytes};
use semihosting::{println, process};
#[cortex_m_rt::entry]
fn main() -> ! {
    let Ok(meter) = Meter::calibrate() else {
        println!("no");
        process::exit(1)
    };
    let x = core::hint::black_box(3.0f32);
    let mut y = 0.0;
    println!("{}", meter.instructions(|| y = feamoe_engine::math::exp2(x)));
    println!("{}", stack_bytes(&mut || y = feamoe_engine::math::exp2(x)));
    println!("{} {:?}", y, memory());
    process::exit(0)
}
