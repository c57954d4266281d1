//! Puts the memory map where the linker looks for it, links with cortex-m-rt's script, and picks the files that go into flash.

use std::path::Path;

/// Environment variable, and the file where it is not set.
const FILES: [(&str, &str); 2] = [("FEAMOE_BLOB", "demo.feamoe"), ("FEAMOE_RECORDS", "demo.csv")];

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rustc-link-search={}", folder.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=build.rs");
    for (variable, default) in FILES {
        let file = folder.join(std::env::var(variable).unwrap_or_else(|_| default.to_owned()));
        println!("cargo:rerun-if-env-changed={variable}");
        println!("cargo:rerun-if-changed={}", file.display());
        if !file.is_file() {
            println!("cargo:error={variable}: no file {}", file.display());
        }
        println!("cargo:rustc-env={variable}={}", file.display());
    }
}
