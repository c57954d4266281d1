//! Builds the firmware and runs it in the emulator, where compiler and emulator are there (`setup.sh` brings them).

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TARGET: &str = "thumbv7em-none-eabihf";
/// With this set in the environment, a missing tool is a failure instead of a reason to skip.
const REQUIRED: &str = "FEAMOE_REQUIRE_FIRMWARE";

/// Returns the folder of the firmware's workspace.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-example")
}

/// Returns whether firmware can be built and run here; says what is missing where not.
///
/// # Panics
/// Where something is missing and `FEAMOE_REQUIRE_FIRMWARE` is set.
#[must_use]
pub fn available() -> bool {
    let missing = match (has_compiler(), has_emulator()) {
        (true, true) => return true,
        (false, true) => "no compiler for thumbv7em-none-eabihf",
        (true, false) => "no qemu-system-arm",
        (false, false) => "no compiler for thumbv7em-none-eabihf, no qemu-system-arm",
    };
    assert!(std::env::var_os(REQUIRED).is_none(), "{missing}, but {REQUIRED} is set: run setup.sh");
    eprintln!("skipped: {missing} (setup.sh brings it)");
    false
}

fn has_emulator() -> bool {
    Command::new("qemu-system-arm").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Either `setup.sh` built core with Debian's compiler, or the compiler in the path holds it.
fn has_compiler() -> bool {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(folder())
        .output()
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    folder().join(".toolchain/built-by").exists() || libraries.is_ok_and(|folder| folder.is_dir())
}

/// Builds one binary of the firmware with one profile; returns the image.
///
/// # Errors
/// What cargo printed, where it failed.
///
/// # Panics
/// Where cargo cannot be run.
pub fn build(binary: &str, profile: &str, features: &str) -> Result<PathBuf, String> {
    let target_dir = folder().join("target");
    let output = Command::new("cargo")
        .args(["build", "--quiet", "--bin", binary, "--profile", profile, "--features", features, "--target-dir"])
        .arg(&target_dir)
        .current_dir(folder())
        // The flags of this test's own build are not for the device, and would replace those of the folder's configuration.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap_or_else(|error| panic!("cargo: {error}"));
    if output.status.success() {
        Ok(target_dir.join(TARGET).join(profile).join(binary))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Runs an image in the emulator, which sees the files of `working_folder`.
///
/// # Panics
/// Where the emulator cannot be run.
#[must_use]
pub fn run(image: &Path, working_folder: &Path) -> Output {
    let output = Command::new(folder().join("run-emulator.sh"))
        .arg(image)
        .current_dir(working_folder)
        .stdin(Stdio::null())
        .output();
    output.unwrap_or_else(|error| panic!("run-emulator.sh: {error}"))
}
