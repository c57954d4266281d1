//! Builds the firmware and runs it in the emulator, where compiler and emulator are there (`setup.sh` brings them).

// The very file that the firmware uses: how words are made cannot differ between both sides, what is in them can.
#[path = "../../firmware-example/src/vectors.rs"]
pub mod vectors;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use feamoe_engine::schema::Kind;

use crate::generate::Cell;

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
    build_with(binary, profile, features, &folder().join("target"), &[])
}

/// As [`build`], to another folder and with environment variables: those of its own `build.rs`.
///
/// # Errors
/// As [`build`].
///
/// # Panics
/// As [`build`].
pub fn build_with(
    binary: &str,
    profile: &str,
    features: &str,
    target_dir: &Path,
    variables: &[(&str, &Path)],
) -> Result<PathBuf, String> {
    let output = Command::new("cargo")
        .args(["build", "--quiet", "--bin", binary, "--profile", profile, "--features", features, "--target-dir"])
        .arg(target_dir)
        .current_dir(folder())
        // The flags of this test's own build are not for the device, and would replace those of the folder's configuration.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .envs(variables.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("cargo: {error}"));
    if output.status.success() {
        Ok(target_dir.join(TARGET).join(profile).join(binary))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Runs an image in the emulator, which sees the files of `working_folder`; returns what it printed, as an error where it exits with another code than 0.
///
/// # Errors
/// What the firmware printed.
///
/// # Panics
/// Where the emulator cannot be run.
pub fn run(image: &Path, working_folder: &Path) -> Result<String, String> {
    let output = Command::new(folder().join("run-emulator.sh"))
        .arg(image)
        .current_dir(working_folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("run-emulator.sh: {error}"));
    let [printed, complaints] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() { Ok(printed) } else { Err(printed + &complaints) }
}

/// Returns the words of records, whose cells follow each other, for features of these kinds.
#[must_use]
pub fn words(kinds: &[Kind], cells: &[Cell]) -> Vec<u32> {
    let word = |(kind, cell): (&Kind, &Cell)| match (kind, *cell) {
        (_, Cell::Number(number)) => number.to_bits(),
        (_, Cell::Level(code)) => u32::from(code),
        (_, Cell::Unseen) => vectors::UNSEEN,
        (Kind::Number { .. }, Cell::Missing) => f32::NAN.to_bits(),
        (Kind::Category { .. }, Cell::Missing) => vectors::MISSING,
    };
    kinds.iter().cycle().zip(cells).map(word).collect()
}

/// What the `parity` binary says of records.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The words of each record's answer, as many for each.
    pub words: Vec<u32>,
    /// What was printed: a line with the number of records, and one per cost.
    pub printed: String,
}

/// Lets the `parity` binary (its image) answer the words of records.
///
/// # Panics
/// Where files cannot be written or the firmware fails.
#[must_use]
pub fn answer(parity: &Path, blob: &[u8], records: &[u32]) -> Answers {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a temporary folder: {error}"));
    let file = |name| folder.path().join(name);
    let bytes: Vec<u8> = records.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (name, content) in [("model.feamoe", blob), ("records.bin", &bytes)] {
        fs::write(file(name), content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let printed = run(parity, folder.path()).unwrap_or_else(|printed| panic!("the firmware failed: {printed}"));
    let bytes = fs::read(file("answers.bin")).unwrap_or_else(|error| panic!("answers.bin: {error}"));
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty(), "answers.bin does not hold whole words");
    Answers { words: words.iter().map(|word| u32::from_le_bytes(*word)).collect(), printed }
}
