//! `--on-event`: a command that is run for every alarm.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use feamoe::judge::watch::report::Alarm;

use crate::cli::print;

/// Runs the command with the alarm as one line of JSON on its standard input, and waits for it. The
/// contents of the alarm, such as the name of a column, never become part of a command line. A
/// failing command is reported, and monitoring continues.
pub fn run(command: &str, alarm: &Alarm) -> anyhow::Result<()> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    // The output of the command must not mix with the results.
    let started = Command::new(shell).arg(flag).arg(command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = started.with_context(|| format!("--on-event: cannot start {shell}"))?;
    let mut line = serde_json::to_vec(alarm)?;
    line.push(b'\n');
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(&line) {
            // The command need not read its input.
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
