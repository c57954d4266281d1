//! Prints results on standard output, or on standard error if a file is written to standard output;
//! messages go to standard error.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use clap::Args;
use feamoe::escaped::Escaped;
pub use feamoe::output::is_standard_output;
use feamoe::output::{OutputFile, STANDARD_OUTPUT, WriteError};
use feamoe::rows::Input;
use feamoe::text::controls_terminal;
use serde::Serialize;

pub use super::table::TextTable;
use super::table::{fitting_no_terminal, terminal_width};

/// The position of global options in the help, before `--help`.
const LAST: usize = 900;

/// How much is printed besides the results.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Verbosity {
    /// Print no progress and no notes; errors, warnings and failed checks are still printed
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = LAST)]
    quiet: bool,
    /// Also print details: time, rows per second, peak memory, passes, checkpoints, refits
    #[arg(short, long, global = true, display_order = LAST)]
    verbose: bool,
}

/// The verbosity of this process.
static VERBOSITY: OnceLock<Verbosity> = OnceLock::new();

/// Whether a file is written to standard output, so that reports go to standard error.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

impl Verbosity {
    /// Sets the verbosity for the rest of the process.
    pub fn start(self) {
        _ = VERBOSITY.set(self);
    }
}

/// Returns whether progress and notes are left out.
pub fn is_quiet() -> bool {
    VERBOSITY.get().is_some_and(|verbosity| verbosity.quiet)
}

/// Returns whether details are printed.
pub fn is_verbose() -> bool {
    VERBOSITY.get().is_some_and(|verbosity| verbosity.verbose)
}

/// Opens a file for text, or standard output for `-`, in which case reports go to standard error.
pub fn create(path: &Path) -> anyhow::Result<OutputFile> {
    take(path)?;
    Ok(OutputFile::create(path)?)
}

/// Like [`create`], except for binary data, which is refused if standard output is a terminal.
pub fn create_binary(path: &Path) -> anyhow::Result<OutputFile> {
    take(path)?;
    Ok(OutputFile::create_binary(path)?)
}

fn take(path: &Path) -> anyhow::Result<()> {
    if is_standard_output(path) && IS_TAKEN.swap(true, Ordering::SeqCst) {
        bail!("two outputs are - (standard output), which takes only one; name a file for the other");
    }
    Ok(())
}

/// Writes a whole file through [`create`].
pub fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = create(path)?;
    file.write_whole(bytes)?;
    Ok(file.commit()?)
}

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    report(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

/// Prints one JSON document on a line of its own.
pub fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    report(|out| {
        serde_json::to_writer(&mut *out, value)?;
        writeln!(out)
    })
}

/// Prints lines of text for people.
pub fn text(text: &str) -> anyhow::Result<()> {
    report(|out| out.write_all(fitted(text).as_bytes()))
}

/// Prints text for other programs, without wrapping lines.
pub fn verbatim(text: &str) -> anyhow::Result<()> {
    report(|out| out.write_all(safe(text).as_bytes()))
}

/// Returns the writer of results: standard output, in a buffer because its own buffer is flushed at
/// every line. Control characters are escaped on a terminal.
fn results() -> BufWriter<Box<dyn Write>> {
    let (is_terminal, out): (bool, Box<dyn Write>) = if IS_TAKEN.load(Ordering::SeqCst) {
        (io::stderr().is_terminal(), Box::new(io::stderr().lock()))
    } else {
        (io::stdout().is_terminal(), Box::new(io::stdout().lock()))
    };
    BufWriter::new(if is_terminal { Box::new(Escaped::new(out)) } else { out })
}

/// Writes a report.
fn report(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = results();
    write(&mut out).and_then(|()| out.flush()).map_err(WriteError::standard_output)?;
    Ok(())
}

/// Writes results to a file, or to standard output if there is none or it is `-`. An error names
/// the output.
pub fn write(output: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // An error without a name of its own comes from writing.
    let named = |error: anyhow::Error, name: &dyn Fn(io::Error) -> WriteError| match error.downcast::<io::Error>() {
        Ok(cause) => name(cause).into(),
        Err(other) => other,
    };
    match output.filter(|path| !is_standard_output(path)) {
        Some(path) => {
            let mut file = OutputFile::create(path)?;
            fitting_no_terminal(|| write(&mut file))
                .map_err(|error| named(error, &|cause| WriteError::new(path, cause)))?;
            file.commit()?;
        }
        None => {
            let mut out = results();
            let written = write(&mut out).and_then(|()| Ok(out.flush()?));
            written.map_err(|error| named(error, &WriteError::standard_output))?;
        }
    }
    Ok(())
}

/// Quotes a field if CSV needs it (RFC 4180).
pub fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Prints a line on standard error. Failures to write are ignored, since the exit code still
/// reports errors.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{}", safe(text));
}

/// Prints a note, unless notes are suppressed.
pub fn note(text: &str) {
    if !is_quiet() {
        message(text);
    }
}

/// Prints a detail, if details are wanted.
pub fn detail(text: impl FnOnce() -> String) {
    if is_verbose() {
        message(&text());
    }
}

/// Prints the notes of a reader and the warnings about columns.
pub fn warnings(notes: &[String], warnings: &[String]) {
    for text in notes {
        note(&format!("note: {text}"));
    }
    for warning in warnings {
        message(&format!("warning: {warning}"));
    }
}

/// Escapes control characters and those that change the direction of text, except line ends and
/// tabs: names and cells must not control a terminal.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(controls_terminal) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if controls_terminal(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe.into()
}

/// Like [`safe`], with lines wrapped for a terminal.
pub fn fitted(text: &str) -> Cow<'_, str> {
    match terminal_width() {
        None => safe(text),
        Some(width) => {
            safe(text).split_inclusive('\n').map(|line| broken(line, width.into())).collect::<String>().into()
        }
    }
}

/// Wraps a line between words if it is longer than `width` characters.
fn broken(line: &str, width: usize) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some((end, first)) = rest.trim_end().char_indices().nth(width) {
        // The indentation is not a place to wrap.
        let start = rest.len() - rest.trim_start().len();
        let space = rest.get(start..end + first.len_utf8()).and_then(|fitting| fitting.rfind(' '));
        let Some((head, tail)) = space.map(|space| rest.split_at(start + space)) else { break };
        text.push_str(head.trim_end());
        text.push('\n');
        rest = tail.trim_start_matches(' ');
    }
    text + rest
}

/// Returns the names of data columns, with a prefix for those that equal the name of an output
/// column.
pub fn names_apart(names: &[String], own: &[&str], prefix: &str) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let mut apart = name.clone();
        while own.contains(&apart.as_str()) || taken.contains(&apart) || (apart != *name && names.contains(&apart)) {
            apart.insert_str(0, prefix);
        }
        taken.push(apart);
    }
    taken
}

/// Like [`safe`], on one line.
pub fn on_one_line(text: &str) -> String {
    safe(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Formats a number with a sign and four decimals; `-` for NaN.
pub fn signed(x: impl Into<f64>) -> String {
    let x = x.into();
    if x.is_nan() { "-".into() } else { format!("{x:+.4}") }
}

/// Draws a bar of at most `width` characters from its middle, to the right for a positive share and
/// to the left for a negative one. The share is in `[-1, 1]`; the bar grows in steps of half a
/// character.
pub fn bar(share: f64, width: usize) -> String {
    let side = width.saturating_sub(1) / 2;
    let halves = (share.abs().clamp(0.0, 1.0) * (2 * side) as f64).round() as usize;
    let (full, half) = (halves / 2, halves % 2 == 1);
    let empty = " ".repeat(side - full - usize::from(half));
    if share < 0.0 {
        format!("{empty}{}{}│{}", if half { "▐" } else { "" }, "█".repeat(full), " ".repeat(side))
    } else {
        format!("{}│{}{}{empty}", " ".repeat(side), "█".repeat(full), if half { "▌" } else { "" })
    }
}

/// Formats a share with four decimals; `-` for NaN.
pub fn share(x: impl Into<f64>) -> String {
    let x = x.into();
    if x.is_nan() { "-".into() } else { format!("{x:.4}") }
}

/// A shell command, built word by word.
#[derive(Debug)]
pub struct CommandLine(String);

impl CommandLine {
    /// Creates a command from words that need no quotes.
    pub fn new(words: &str) -> Self {
        Self(words.to_owned())
    }

    /// Adds words.
    pub fn words<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        for word in words {
            self.0.push(' ');
            self.0.push_str(&quoted(word.as_ref()));
        }
        self
    }

    /// Adds inputs.
    pub fn inputs(self, inputs: &[Input]) -> Self {
        self.words(inputs.iter().map(|input| match input {
            Input::Stdin => STANDARD_OUTPUT.to_owned(),
            input => input.to_string(),
        }))
    }

    /// Adds an option, if it was given.
    pub fn option(self, flag: &str, value: Option<impl AsRef<OsStr>>) -> Self {
        match value {
            Some(value) => self.words([flag, &value.as_ref().to_string_lossy()]),
            None => self,
        }
    }

    /// Returns the command.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Quotes a word for a shell, if needed.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,+%@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{bar, broken};

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(broken("  one two three\n", 10), "  one two\nthree\n");
        assert_eq!(broken("one two\n", 7), "one two\n");
        assert_eq!(broken("one  two\n", 4), "one\ntwo\n");
        assert_eq!(broken("üüüü üü", 5), "üüüü\nüü");
        assert_eq!(broken("incomprehensible", 5), "incomprehensible");
    }

    #[test]
    fn bars_have_one_width_and_grow_from_the_middle() {
        assert_eq!(bar(0.0, 9), "    │    ");
        assert_eq!(bar(1.0, 9), "    │████");
        assert_eq!(bar(-0.4, 9), "  ▐█│    ");
        assert_eq!(bar(0.6, 9), "    │██▌ ");
        assert_eq!(bar(-7.0, 8), "███│   ");
        assert_eq!(bar(f64::NAN, 3), " │ ");
    }
}
