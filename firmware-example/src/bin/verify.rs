//! Prints the cost of verifying a signed model on this core: the hash of the golden model and its
//! signature.
//!
//! One line per cost: its name, fewest and most instructions, most bytes of stack, bytes of the
//! model.
#![no_std]
#![no_main]

use core::hint::black_box;

use feamoe_engine::signature::{Signature, Signers, Versions};
use feamoe_engine::{Model, include_model};
use firmware_example::host::{println, process};
use firmware_example::meter::{Cost, Meter};

static MODEL: &[u8] = include_model!("../../../engine/golden/v1-signed.feamoe");

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    match run() {
        Ok(()) => process::exit(0),
        Err(message) => {
            println!("verify: {message}");
            process::exit(1)
        }
    }
}

fn run() -> Result<(), &'static str> {
    let meter = Meter::calibrate().map_err(|_| "the counter does not count instructions")?;
    let meter = meter.ok_or("nothing counts instructions on this board")?;
    let _: Model<'_, 16, 12> = Model::load(MODEL).map_err(|_| "the model was refused")?;
    // The key from the blob itself; a device has its own trusted key.
    let claimed = Signature::claimed(MODEL).map_err(|_| "the model is not signed")?;
    let signers = Signers { keys: &[claimed.key], line: "golden", schema_sha256: None, versions: Versions::From(7) };
    let (mut verify, mut message, mut verified) = (Cost::NONE, Cost::NONE, None);
    verify.add(Some(&meter), || verified = black_box(signers.verify(black_box(MODEL)).ok()));
    message.add(Some(&meter), || _ = black_box(claimed.message(black_box(MODEL))));
    if verified.is_none_or(|signature| signature.model_version != 7) {
        return Err("the model does not verify");
    }
    for (name, cost) in [("verify", verify), ("hash", message)] {
        println!("{name} {} {} {} {}", cost.least, cost.most, cost.stack, MODEL.len());
    }
    Ok(())
}
