//! Writes the board's memory map to where the linker looks for it, links with the runtime's script,
//! and selects the files that are put into flash.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Environment variable, and the default file if it is not set.
const FILES: [(&str, &str); 2] = [("FEAMOE_BLOB", "demo.feamoe"), ("FEAMOE_RECORDS", "demo.csv")];

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=boards.txt");
    println!("cargo:rustc-check-cfg=cfg(capacity, values(\"large\", \"small\"))");
    println!("cargo:rustc-check-cfg=cfg(counter, values(\"mps2\", \"instret\", \"-\"))");
    if let Err(why) = set_board(&folder.join("boards.txt")) {
        println!("cargo:error={why}");
    }
    for (variable, default) in FILES {
        let file = folder.join(env::var(variable).unwrap_or_else(|_| default.to_owned()));
        println!("cargo:rerun-if-env-changed={variable}");
        println!("cargo:rerun-if-changed={}", file.display());
        if !file.is_file() {
            println!("cargo:error={variable}: no file {}", file.display());
        }
        println!("cargo:rustc-env={variable}={}", file.display());
    }
}

/// Sets what the target's line in `boards.txt` states.
fn set_board(boards: &Path) -> Result<(), Box<dyn std::error::Error>> {
    // Another board can run a build for a smaller core.
    println!("cargo:rerun-if-env-changed=FEAMOE_BOARD");
    let target = env::var("FEAMOE_BOARD").or_else(|_| env::var("TARGET"))?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let boards = fs::read_to_string(boards)?;
    let words = |line: &'static str| line.split_whitespace();
    let board = boards.leak().lines().map(words).find(|line| line.clone().next() == Some(&target));
    let board: Vec<&str> = board.ok_or(format!("boards.txt has no line for {target}"))?.collect();
    let [_, capacity, counter, flash, flash_bytes, ram, ram_bytes, ..] = *board else {
        return Err(format!("boards.txt: the line for {target} is too short").into());
    };
    println!("cargo:rustc-cfg=capacity=\"{capacity}\"");
    println!("cargo:rustc-cfg=counter=\"{counter}\"");
    if flash == "-" {
        return Ok(());
    }
    // The second names of the regions are those that riscv-rt's script uses.
    let map = format!(
        "MEMORY\n{{\n  FLASH : ORIGIN = {flash}, LENGTH = {flash_bytes}\n  RAM : ORIGIN = {ram}, LENGTH = {ram_bytes}\n}}\n\
         REGION_ALIAS(\"REGION_TEXT\", FLASH);\nREGION_ALIAS(\"REGION_RODATA\", FLASH);\nREGION_ALIAS(\"REGION_DATA\", RAM);\n\
         REGION_ALIAS(\"REGION_BSS\", RAM);\nREGION_ALIAS(\"REGION_HEAP\", RAM);\nREGION_ALIAS(\"REGION_STACK\", RAM);\n\
         __flash = ORIGIN(FLASH);\n"
    );
    fs::write(out.join("memory.x"), map)?;
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    Ok(())
}
