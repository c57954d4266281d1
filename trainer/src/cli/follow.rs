//! `--follow`: reads data while they are being written, and shows intermediate results.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use feamoe::error::Error;
use feamoe::output::write_file;
use feamoe::rows::{Followed, Input};
use feamoe::training::Trainer;
use feamoe_engine::fairness::Measure;

use super::print::{self, share, signed};
use super::signals;

/// Whether data are followed, and how often results are shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct FollowOption {
    /// Read DATA while it is being written: a pipe until it ends, or a growing file. Ctrl-C or
    /// SIGTERM ends the data, and all results are written. Plain text only
    #[arg(long)]
    follow: bool,
    /// With --follow: seconds between two times at which the state is shown and stored, if rows
    /// came in between, 0.1 to
    /// 86400. `train` and `update` write a line of measures, the model and the checkpoint;
    ///        `monitor` the measures of the window so far; `score` the scores. The final results do
    ///        not depend on it
    #[arg(long, value_name = "SECONDS", default_value = "10", requires = "follow", allow_negative_numbers = true, value_parser = seconds)]
    flush: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds from 0.1 to 86400".to_owned())
}

impl FollowOption {
    /// Returns whether data are followed.
    pub fn is_on(self) -> bool {
        self.follow
    }

    /// Returns the data, followed if asked for. If they are followed, signals are handled from here
    /// on.
    pub fn data(self, inputs: &[Input]) -> anyhow::Result<Vec<Input>> {
        Ok(match inputs {
            inputs if !self.follow => inputs.to_vec(),
            [input] => vec![Input::Followed(Followed::new(input.clone(), signals::heed_to_the_end(), self.flush))],
            inputs => bail!("--follow takes one input, found {}", inputs.len()),
        })
    }
}

/// Reports the incomplete last line of followed data, which is left out.
pub fn say_left_out(inputs: &[Input]) {
    let left_out = inputs.iter().map(|input| match input {
        Input::Followed(followed) => followed.left_out(),
        _ => 0,
    });
    for bytes in left_out.filter(|bytes| *bytes > 0) {
        print::note(&format!("note: an incomplete last line was left out ({bytes} bytes)"));
    }
}

/// Writes the model of a run in progress, and reports its state. `stored` is the path of the
/// checkpoint that was written.
pub fn show(trainer: &Trainer, model: &Path, stored: Option<&Path>) -> Result<(), Error> {
    let mut wrote: Vec<String> = stored.iter().map(|path| path.display().to_string()).collect();
    let mut missing = String::new();
    // Standard output gets only the last model.
    if !print::is_standard_output(model) {
        match trainer.model() {
            Ok(exported) => {
                write_file(model, exported.bytes.as_slice())?;
                wrote.insert(0, model.display().to_string());
            }
            Err(error) => missing = format!("; there is no model yet: {error}"),
        }
    }
    let mut line = format!("rows {}", trainer.counts().read);
    if let Some(window) = trainer.prequential().windows().last() {
        let (accuracy, loss) = (share(window.all().accuracy()), share(window.mean_log_loss()));
        line += &format!(": in the last window accuracy {accuracy}, log-loss {loss}");
        if let Some(gap) = window.worst(Measure::Spd) {
            line += &format!(", SPD {}", signed(gap));
        }
    }
    if !wrote.is_empty() {
        line += &format!("; wrote {}", wrote.join(" and "));
    }
    print::note(&(line + &missing));
    Ok(())
}
