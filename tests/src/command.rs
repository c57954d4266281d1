//! Runs the real `feamoe` command in its own folder, and inspects everything that it did: exit
//! code, both outputs, every file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use feamoe::demo::{LendingStream, SCHEMA, write_csv};
use serde_json::Value;
use tempfile::TempDir;

/// Returns the path of the command, built by cargo on first use.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn feamoe() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("bin", "feamoe"))
}

/// Returns the path of a binary or an example of the trainer, built by cargo.
///
/// It is built together with the tests and shares their dependencies. Cargo unifies features over
/// everything that it builds at once, so a separate build would compile the readers of Parquet
/// again.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn built(kind: &str, name: &str) -> PathBuf {
    let profile = if cfg!(debug_assertions) { "test" } else { "release" };
    let beside = ["--workspace", "--test", "all", &format!("--{kind}"), name];
    executable(escargot::CargoBuild::new().args(beside).profile(profile), name)
}

/// Builds something with cargo, and returns the path of the executable of this name.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn executable(build: escargot::CargoBuild, name: &str) -> PathBuf {
    let messages = build.exec().unwrap_or_else(|error| panic!("cargo build: {error}"));
    let is_it = |path: &Path| path.file_stem().is_some_and(|stem| stem == name);
    messages
        .filter_map(|message| {
            let message = message.unwrap_or_else(|error| panic!("cargo build: {error}"));
            let message: Value = message.decode_custom().unwrap_or_else(|error| panic!("cargo build: {error}"));
            message["executable"].as_str().map(PathBuf::from).filter(|path| is_it(path))
        })
        .last()
        .unwrap_or_else(|| panic!("cargo build made no {name}"))
}

/// A temporary folder in which commands run; all names are relative to it.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// Creates an empty folder.
    ///
    /// # Panics
    /// If it cannot be created. All methods panic if the system fails them.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap_or_else(|error| panic!("temporary folder: {error}")))
    }

    /// Creates a folder with `lending.csv` (3,000 rows of the demo's stream), its schema
    /// `lending.toml`, and `lending.feamoe`, trained on it.
    #[must_use]
    pub fn with_model() -> Self {
        static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
        let folder = Self::with_lending();
        let model = MODEL.get_or_init(|| {
            let _ = folder.run(&["train", "lending.csv", "--schema", "lending.toml", "-o", "lending.feamoe"]).done();
            folder.read("lending.feamoe")
        });
        folder.write("lending.feamoe", model);
        folder
    }

    /// Creates a folder with `lending.csv` (3,000 rows of the demo's stream) and its schema
    /// `lending.toml`.
    #[must_use]
    pub fn with_lending() -> Self {
        let folder = Self::new();
        folder.write("lending.csv", lending(1, 3_000));
        folder.write("lending.toml", SCHEMA);
        folder
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Writes a file that only its owner may read.
    pub fn write_secret(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write(name, content);
        #[cfg(unix)]
        fs::set_permissions(self.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Returns the content of a file.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns the content of a text file.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns every file of the folder with its content; subfolders are skipped.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.0.path()).unwrap_or_else(|error| panic!("{error}"));
        let names = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_type().ok()?.is_file().then(|| entry.file_name().to_string_lossy().into_owned())
        });
        names.map(|name| (name.clone(), self.read(&name))).collect()
    }

    /// Returns `feamoe` with these arguments, ready to start in the folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(feamoe(), arguments)
    }

    /// Returns a program with these arguments, ready to start in the folder.
    #[must_use]
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        // Wide, so that no message or help is wrapped; the input is empty unless a test provides
        // one.
        command.args(arguments).current_dir(self.0.path()).env("COLUMNS", "1000").stdin(Stdio::null());
        command
    }

    /// Runs `feamoe`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finished(&mut self.command(arguments))
    }

    /// Runs `feamoe` with these bytes on standard input.
    #[must_use]
    pub fn run_on(&self, input: &[u8], arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut pipe = child.stdin.take();
        let output = std::thread::scope(|scope| {
            // A command that refuses its input early does not read all of it.
            scope.spawn(move || pipe.as_mut().map(|pipe| pipe.write_all(input)));
            child.wait_with_output()
        });
        Ran::new(&command, &output.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Runs `feamoe`, which must refuse and leave every file unchanged. Returns the message after
    /// `error: `.
    #[must_use]
    pub fn refusal(&self, arguments: &[&str]) -> String {
        self.unchanged(|| self.run(arguments)).refused()
    }

    /// Does something that must neither change a file nor create one.
    pub fn unchanged<T>(&self, act: impl FnOnce() -> T) -> T {
        let before = self.files();
        let result = act();
        let after = self.files();
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before));
        assert!(after == before, "a file was changed");
        result
    }
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be run.
#[must_use]
pub fn finished(command: &mut Command) -> Ran {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ran::new(command, &output)
}

/// The outcome of a command.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command line.
    pub called: String,
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Takes the outcome of a command, whose outputs must be text.
    ///
    /// # Panics
    /// If they are not text.
    #[must_use]
    pub fn new(command: &Command, output: &Output) -> Self {
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            called: format!("{command:?}"),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Returns the results of a command that succeeded without messages.
    ///
    /// # Panics
    /// If it failed or printed a message.
    #[must_use]
    pub fn done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.called);
        self.stdout
    }

    /// Returns the results of a command that succeeded, with or without messages.
    ///
    /// # Panics
    /// If it failed.
    #[must_use]
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}: {}", self.called, self.stderr);
        self.stdout
    }

    /// Returns the JSON document of a command that succeeded.
    ///
    /// # Panics
    /// If it failed, or printed something else.
    #[must_use]
    pub fn json(self) -> Value {
        let called = self.called.clone();
        serde_json::from_str(&self.done()).unwrap_or_else(|error| panic!("{called}: {error}"))
    }

    /// Returns the message of a command that refused, after `error: `. It must exit with code 2 and
    /// print one line and no results.
    ///
    /// # Panics
    /// If it did anything else.
    #[must_use]
    pub fn refused(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{}\n{}", self.called, self.stderr);
        let message = self.stderr.strip_prefix("error: ").and_then(|rest| rest.strip_suffix('\n'));
        let message = message.unwrap_or_else(|| panic!("{}\n{}", self.called, self.stderr));
        assert!(!message.contains('\n'), "more than one line: {message}");
        message.to_owned()
    }

    /// Returns clap's message about arguments that it refused, before the usage.
    ///
    /// # Panics
    /// If they were not refused.
    #[must_use]
    pub fn usage_refused(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{}\n{}", self.called, self.stderr);
        let message = self.stderr.strip_prefix("error: ").and_then(|rest| rest.lines().next());
        message.unwrap_or_else(|| panic!("{}\n{}", self.called, self.stderr)).to_owned()
    }
}

/// Returns rows of the demo's stream as CSV, with a header.
///
/// # Panics
/// Never, since writing to memory cannot fail.
#[must_use]
pub fn lending(seed: u64, rows: usize) -> String {
    let mut text = Vec::new();
    let written = write_csv(&mut text, LendingStream::new(seed).take(rows));
    written.unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the keys of an object in the order of the document, which `feamoe` must have printed:
/// indented by two spaces.
#[must_use]
pub fn keys_in_order(document: &str) -> Vec<&str> {
    document.lines().filter(|line| line.starts_with("  \"")).filter_map(|line| line.split('"').nth(1)).collect()
}

/// Returns the keys of an object, sorted.
///
/// # Panics
/// If it is not an object.
#[must_use]
pub fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The keys of a comparison, followed by `more`.
#[must_use]
pub fn gap_keys(more: &[&str]) -> Vec<String> {
    let measures = ["spd", "aod", "eodds", "eopp", "burden", "recourse_burden", "impact"];
    let of_measures =
        measures.iter().flat_map(|name| ["", "_interval", "_corrected"].map(|end| format!("{name}{end}")));
    let others = [
        "attribute",
        "group",
        "reference",
        "reference_rows",
        "rows",
        "too_few",
        "without_recourse",
        "reference_without_recourse",
    ];
    let mut keys: Vec<String> = of_measures.chain(others.iter().chain(more).map(|key| (*key).to_owned())).collect();
    keys.sort_unstable();
    keys
}
