//! Progress lines for long work: rows and rows per second; for training also prequential accuracy,
//! worst gap and experts. Nothing is shown if standard error is not a terminal.

use std::cell::Cell;
use std::fmt::Write;
use std::time::Duration;

use feamoe_engine::fairness::Measure;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use feamoe::training::Progress;

use super::print;

/// A progress line for work on rows.
#[derive(Debug)]
pub struct RowsProgress {
    bar: ProgressBar,
    /// The name of the items that are counted.
    what: &'static str,
}

impl RowsProgress {
    /// Starts the line; indicatif hides it if standard error is not a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self::with("rows", ProgressBar::new_spinner(), "{spinner} {human_pos} rows  {rate}  {elapsed}  {msg}")
    }

    /// Starts the line for a known number of rows; it shows the share that is done and the time
    /// left.
    #[must_use]
    pub fn of(rows: u64) -> Self {
        Self::with("rows", ProgressBar::new(rows), "{bar:30} {human_pos} of {human_len} rows  {rate}  about {eta} left")
    }

    /// Starts the line for the trials of a search, whose number is not known in advance.
    #[must_use]
    pub fn trials() -> Self {
        Self::with("trials", ProgressBar::new_spinner(), "{spinner} {human_pos} trials  {elapsed}")
    }

    fn with(what: &'static str, bar: ProgressBar, template: &str) -> Self {
        if print::is_quiet() {
            return Self { bar: ProgressBar::hidden(), what };
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                let _ = write!(out, "{:.0} rows/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, what }
    }

    /// Shows how many rows are done.
    pub fn update(&self, rows: u64) {
        self.bar.set_position(rows);
    }

    /// Counts one more item as done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        done(self.bar.position(), self.what, self.bar.elapsed());
    }
}

/// Prints how long the work took, if details are wanted.
pub fn done(count: u64, what: &str, time: Duration) {
    let seconds = time.as_secs_f64();
    print::detail(|| format!("{count} {what} in {seconds:.2} s, {:.0} per second", count as f64 / seconds));
}

impl Default for RowsProgress {
    fn default() -> Self {
        Self::new()
    }
}

/// A progress line for a training run.
#[derive(Debug, Default)]
pub struct TrainingProgress {
    rows: RowsProgress,
    /// The pass that was last reported.
    pass: Cell<u32>,
}

impl TrainingProgress {
    /// Starts the line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows the progress of the run.
    pub fn update(&self, progress: &Progress<'_>) {
        self.rows.update(progress.rows);
        let bar = &self.rows.bar;
        if self.pass.replace(progress.epoch) != progress.epoch && print::is_verbose() {
            let (pass, rows, seconds) = (progress.epoch, progress.rows, bar.elapsed().as_secs_f64());
            bar.suspend(|| print::message(&format!("pass {pass}: {rows} rows after {seconds:.2} s")));
        }
        if bar.is_hidden() {
            return;
        }
        // The last window shows the current state; a mean over the whole stream would hide a drift.
        if let Some(window) = progress.prequential.windows().last() {
            let gap = window.worst(Measure::Spd).map_or(String::new(), |gap| format!("  SPD {gap:+.3}"));
            bar.set_message(format!(
                "pass {}  accuracy {:.3}{gap}  experts {}",
                progress.epoch,
                window.all().accuracy(),
                progress.learner.experts()
            ));
        }
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.rows.finish();
    }
}
