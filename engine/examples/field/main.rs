//! What a device in the field does, on this machine: `cargo run -p feamoe-engine --features
//! signed --example field`.
//!
//! All of it is in `device.rs`, which needs no operating system;
//! `firmware-example/src/bin/field.rs` runs the same file on emulated boards.

mod device;

use feamoe_engine::include_model;

static OLD: &[u8] = include_model!("../../golden/field-v1.feamoe");
static NEW: &[u8] = include_model!("../../golden/field-v2.feamoe");

fn main() -> Result<(), String> {
    let mut report = String::new();
    let lived = device::live([OLD, NEW], &mut device::Flash::new(), &mut device::Memory::new(), &mut report);
    print!("{report}");
    lived.map_err(|fault| format!("{fault:?}"))
}
