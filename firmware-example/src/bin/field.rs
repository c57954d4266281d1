//! Runs the engine's example of a device in the field (`engine/examples/field/device.rs`) on a
//! board: two integer models in slots, a monitor whose state survives a reset, power cuts, a failed
//! trial, and the rollback. With the feature `signed` it verifies the models and keeps a counter.
//! Needs 24 kB of RAM, including the simulated flash.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // takes its statics

#[path = "../../../engine/examples/field/device.rs"]
mod device;

use core::fmt;

use device::{Flash, Memory};
use feamoe_engine::include_model;
use firmware_example::host::{print, println, process};

static OLD: &[u8] = include_model!("../../../engine/golden/field-v1.feamoe");
static NEW: &[u8] = include_model!("../../../engine/golden/field-v2.feamoe");
static mut FLASH: Flash = Flash::new();
static mut MEMORY: Memory = Memory::new();

struct Printer;

impl fmt::Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        print!("{text}");
        Ok(())
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: `main` runs once, and nothing else uses them.
    #[allow(static_mut_refs)]
    let (flash, memory) = unsafe { (&mut FLASH, &mut MEMORY) };
    match device::live([OLD, NEW], flash, memory, &mut Printer) {
        Ok(()) => process::exit(0),
        Err(fault) => {
            println!("field: {fault:?}");
            process::exit(1)
        }
    }
}
