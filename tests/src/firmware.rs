//! Builds the firmware and runs it in the emulator, if compiler and emulator are installed
//! (`setup.sh` installs them).

// The same file that the firmware uses: the encoding in words cannot differ between the two sides,
// the values can.
#[path = "../../firmware-example/src/vectors.rs"]
pub mod vectors;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use feamoe_engine::schema::Kind;
use object::{Object as _, ObjectSection as _};
use vectors::Capacity;

use feamoe_testkit::generate::Cell;

/// Targets that must not be skipped if a tool is missing, separated by spaces: those that
/// `setup.sh` prepared.
const REQUIRED: &str = "FEAMOE_REQUIRE_FIRMWARE";

/// Vector table and start-up code, which every image has.
const START_UP_BYTES: usize = 1_250;

/// A board, or another processor, that an emulator simulates: a line of `boards.txt`.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// The target of rustc.
    pub target: &'static str,
    /// The capacity of its `parity` binary.
    pub capacity: Capacity,
    /// Whether instructions are counted.
    pub counts: bool,
    /// Whether it has no operating system; if so, it runs the example too.
    pub bare: bool,
    emulator: &'static str,
}

/// Returns every board; the first is the Cortex-M4F.
///
/// # Panics
/// If a line is too short.
pub fn boards() -> impl Iterator<Item = Board> {
    let lines = include_str!("../../firmware-example/boards.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        let [target, capacity, counter, flash, _, _, _, emulator, ..] = *words else {
            panic!("boards.txt: {line} is too short")
        };
        let capacity = if capacity == "small" { Capacity::SMALL } else { Capacity::LARGE };
        Board { target, capacity, counts: counter != "-", bare: flash != "-", emulator }
    })
}

/// Returns the board of a target.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn board(target: &str) -> Board {
    boards().find(|board| board.target == target).unwrap_or_else(|| panic!("boards.txt has no {target}"))
}

/// Returns the folder of the firmware's workspace.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-example")
}

/// Like [`Board::available`], for the Cortex-M4F.
#[must_use]
pub fn available() -> bool {
    boards().next().is_some_and(|board| board.available())
}

/// Like [`Board::build`], for the Cortex-M4F.
///
/// # Errors
/// The same as [`Board::build`].
pub fn build(binary: &str, profile: &str, features: &str) -> Result<PathBuf, String> {
    build_with(binary, profile, features, &folder().join("target"), &[])
}

/// Like [`Board::build_with`], for the Cortex-M4F.
///
/// # Errors
/// The same as [`Board::build_with`].
pub fn build_with(
    binary: &str,
    profile: &str,
    features: &str,
    target_dir: &Path,
    variables: &[(&str, &Path)],
) -> Result<PathBuf, String> {
    let board = boards().next().ok_or("boards.txt has no board")?;
    board.build_with(binary, profile, features, target_dir, variables)
}

/// Returns the lock of a build folder.
fn lock_of(target_dir: &Path) -> Arc<Mutex<()>> {
    static LOCKS: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>> = LazyLock::new(Mutex::default);
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    locks.entry(target_dir.to_owned()).or_default().clone()
}

impl Board {
    /// Returns whether firmware can be built for it and run here. Prints what is missing, if
    /// anything.
    ///
    /// # Panics
    /// If something is missing and `FEAMOE_REQUIRE_FIRMWARE` names the target.
    #[must_use]
    pub fn available(&self) -> bool {
        let Self { target, emulator, .. } = self;
        let missing = match (self.has_compiler(), self.has_emulator()) {
            (true, true) => return true,
            (false, true) => format!("no compiler for {target}"),
            (true, false) => format!("no {emulator}"),
            (false, false) => format!("no compiler for {target}, no {emulator}"),
        };
        let required = std::env::var(REQUIRED).unwrap_or_default();
        let is_required = required.split_whitespace().any(|required| required == *target);
        assert!(!is_required, "{missing}, but {REQUIRED} names it: run setup.sh --all");
        eprintln!("skipped: {missing} (setup.sh --all brings it)");
        false
    }

    fn has_emulator(&self) -> bool {
        let version = Command::new(self.emulator).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    /// Either `setup.sh` built core with Debian's compiler, or the compiler in the path includes
    /// it.
    fn has_compiler(&self) -> bool {
        let toolchain = folder().join(".toolchain");
        if toolchain.join("built-by").exists() {
            return toolchain.join("sysroot/lib/rustlib").join(self.target).is_dir();
        }
        let libraries = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", self.target])
            .current_dir(folder())
            .output()
            .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        libraries.is_ok_and(|folder| folder.is_dir())
    }

    /// Builds one binary of the firmware with one profile, and returns the image.
    ///
    /// # Errors
    /// The output of cargo if it failed.
    ///
    /// # Panics
    /// If cargo cannot be run.
    pub fn build(&self, binary: &str, profile: &str, features: &str) -> Result<PathBuf, String> {
        self.build_with(binary, profile, features, &folder().join("target"), &[])
    }

    /// Like [`Board::build`], to another folder and with environment variables for the firmware's
    /// `build.rs`.
    ///
    /// # Errors
    /// The same as [`Board::build`].
    ///
    /// # Panics
    /// Like [`Board::build`].
    pub fn build_with(
        &self,
        binary: &str,
        profile: &str,
        features: &str,
        target_dir: &Path,
        variables: &[(&str, &Path)],
    ) -> Result<PathBuf, String> {
        // Builds with other features have the same name, so each is copied before the next one.
        let lock = lock_of(target_dir);
        let _building = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let output = Command::new("cargo")
            .args(["build", "--quiet", "--bin", binary, "--profile", profile, "--features", features, "--target-dir"])
            .arg(target_dir)
            .args(["--target", self.target])
            .current_dir(folder())
            // The flags of this test's own build are not meant for the device, and would replace
            // those of the folder's configuration.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .envs(variables.iter().copied())
            .output()
            .unwrap_or_else(|error| panic!("cargo: {error}"));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let built = target_dir.join(self.target).join(profile);
        let (image, copy) = (built.join(format!("{binary}+{features}")), built.join(format!("{binary}.copy")));
        let copied = fs::copy(built.join(binary), &copy).and_then(|_| fs::rename(&copy, &image));
        copied.map(|()| image).map_err(|error| format!("the image of {binary}: {error}"))
    }
}

/// Runs an image in the emulator, which sees the files of `working_folder`. Returns what it
/// printed; if the exit code is not 0, as an error.
///
/// # Errors
/// The output of the firmware.
///
/// # Panics
/// If the emulator cannot be run.
pub fn run(image: &Path, working_folder: &Path) -> Result<String, String> {
    run_with(image, working_folder, &[])
}

/// Like [`run`], with environment variables for `run-emulator.sh`.
///
/// # Errors
/// The same as [`run`].
///
/// # Panics
/// The same as [`run`].
pub fn run_with(image: &Path, working_folder: &Path, variables: &[(&str, &Path)]) -> Result<String, String> {
    let output = Command::new(folder().join("run-emulator.sh"))
        .arg(image)
        .envs(variables.iter().copied())
        .current_dir(working_folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("run-emulator.sh: {error}"));
    let [printed, complaints] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() { Ok(printed) } else { Err(printed + &complaints) }
}

/// Returns the size of an image's sections with these names, in bytes.
///
/// # Panics
/// If it is not an image.
#[must_use]
pub fn section_bytes(image: &Path, names: &[&str]) -> usize {
    let bytes = fs::read(image).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    let file = object::File::parse(bytes.as_slice()).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    let sections = file.sections().filter(|section| section.name().is_ok_and(|name| names.contains(&name)));
    sections.map(|section| section.size() as usize).sum()
}

/// Returns the bytes of flash that the engine takes in an image: code and constants, without the
/// vector table and the start-up code, which every image has.
///
/// # Panics
/// If it is not an image.
#[must_use]
pub fn code_bytes(image: &Path) -> usize {
    // Debug sections are not loaded: they have no address.
    section_bytes(image, &[".vector_table", ".text", ".rodata", ".data"]) - START_UP_BYTES
}

/// Returns the words of records, one after the other, for features of these kinds.
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

/// The answers of the `parity` binary to records.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The words of each record's answer, the same number for each.
    pub words: Vec<u32>,
    /// The printed text: a line with the number of records, and one per cost.
    pub printed: String,
}

/// Runs the `parity` binary (its image) on the words of records.
///
/// # Panics
/// If files cannot be written or the firmware fails.
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
