//! `--on-event`: a command that gets every alarm.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use feamoe::judge::watch::report::Alarm;

use crate::cli::print;

/// Runs the command, which gets the alarm as one line of JSON on its standard input, and waits for
/// it. What is in the alarm, such as the name of a column, never becomes part of a command line. A
/// command that fails is reported, and the watch continues.
pub fn run(command: &str, alarm: &Alarm) -> anyhow::Result<()> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    // Its output must not mix with the results.
    let started = Command::new(shell).arg(flag).arg(command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = started.with_context(|| format!("--on-event: cannot start {shell}"))?;
    let mut line = serde_json::to_vec(alarm)?;
    line.push(b'\n');
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(&line) {
            // A command need not read it.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("--on-event: cannot hand over the alarm")?,
        }
    }
    let ended = child.wait().context("--on-event: cannot wait for the command")?;
    if !ended.success() {
        print::message(&format!("--on-event at row {}: the command ended with {ended}", alarm.row));
    }
    Ok(())
}
