//! The options of Shapley values: the background records, the space, and the cost up to which
//! values are exact.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use feamoe::explanation::{Against, BackgroundRecords, Choice, Condition, Procedure};
use feamoe::model::{HostBackground, HostModel};
use feamoe::rows::Input;
use feamoe::schema::Table;
use feamoe_engine::Space;
use feamoe_engine::attribution::Sampling;

use super::super::{print, whole};
use super::MethodName;

/// The default number of background records.
const BACKGROUND_ROWS: usize = 1000;
/// The default budget of coalitions per record, about 50 ms on one core.
const BUDGET: u64 = 1 << 24;

/// The options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Exact and sampled values")]
#[group(skip)]
pub struct Options {
    /// Space in which the values add up [default: probability]
    #[arg(long, value_enum, value_name = "SPACE")]
    space: Option<SpaceName>,
    /// Explain against the records of this file, which is read like DATA [default: the records that
    /// the model holds]
    ///
    /// May be given several times. The file may have columns that the model does not use, and
    /// --background-where may select by them. Every output states the number and the hash of the
    /// records.
    #[arg(long, value_name = "FILE")]
    background: Vec<Input>,
    /// Explain only against records with this value in this column, such as approved=yes
    ///
    /// May be given several times: a record must match every column named, with any of the values
    /// given for it. Without --background, the column must be a feature.
    #[arg(long, value_name = "COLUMN=VALUE")]
    background_where: Vec<Condition>,
    /// Largest number of background records, 1 to 65535 [default: 1000]
    ///
    /// If a file has more, this number is drawn uniformly by --seed; of the model's own records,
    /// which are in random order, the first are used. More records take longer and give steadier
    /// values.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1..=65_535))]
    background_rows: Option<usize>,
    /// Write the background records to this file, as CSV; --background reads it back with the same
    /// hash
    #[arg(long, value_name = "FILE")]
    save_background: Option<PathBuf>,
    /// Largest number of coalitions per record for exact values, over all background records
    /// [default: 16777216]
    ///
    /// A record that needs more is sampled, which the output states. Each background record needs
    /// 2^d coalitions, where d is the number of players in which it differs from the record. A
    /// coalition takes 2 to 4 ns.
    #[arg(long, value_name = "COALITIONS", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    budget: Option<u64>,
    /// Standard error at which sampling of a record ends, above 0, in units of the space [default:
    /// 0.001]
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = tolerance)]
    tolerance: Option<f32>,
    /// Number of evaluations after which sampling of a record ends in any case [default: 10000000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    max_evaluations: Option<u64>,
    /// Seconds after which sampling of a record ends; results then depend on the machine [default:
    /// no limit]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    max_seconds: Option<Duration>,
    /// Seed of random choices: background records of a file, orders of sampled values [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SpaceName {
    /// Probability
    Probability,
    /// Natural log-odds of the probability
    LogOdds,
}

fn tolerance(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number: &f32| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number above 0".into())
}

impl Options {
    /// Returns the first option that was given.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--space", self.space.is_some()),
            ("--background", !self.background.is_empty()),
            ("--background-where", !self.background_where.is_empty()),
            ("--background-rows", self.background_rows.is_some()),
            ("--save-background", self.save_background.is_some()),
            ("--budget", self.budget.is_some()),
            ("--tolerance", self.tolerance.is_some()),
            ("--max-evaluations", self.max_evaluations.is_some()),
            ("--max-seconds", self.max_seconds.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        given.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }

    /// Returns the first option that was given and concerns values, not background records.
    pub fn first_of_values(&self) -> Option<&'static str> {
        let given = [
            ("--space", self.space.is_some()),
            ("--budget", self.budget.is_some()),
            ("--tolerance", self.tolerance.is_some()),
            ("--max-evaluations", self.max_evaluations.is_some()),
            ("--max-seconds", self.max_seconds.is_some()),
        ];
        given.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }

    /// Returns the files that are read.
    pub fn inputs(&self) -> &[Input] {
        &self.background
    }

    /// Returns the file that is written.
    pub fn output(&self) -> Option<&Path> {
        self.save_background.as_deref()
    }

    /// Refuses standard input for both the records and their background.
    pub fn check(&self, data: &[Input]) -> anyhow::Result<()> {
        let is_stdin = |inputs: &[Input]| inputs.contains(&Input::Stdin);
        ensure!(
            !is_stdin(&self.background) || !is_stdin(data),
            "standard input (-) is named for the records and for --background, but can be read only once"
        );
        Ok(())
    }

    /// Returns whether there are background records.
    pub fn has_background(&self, model: &HostModel<'_>) -> bool {
        !self.background.is_empty() || model.background_rows() > 0
    }

    /// Returns the method. The default is exact; if there are no background records it is path,
    /// which is reported.
    pub fn method(&self, asked: Option<MethodName>, model: &HostModel<'_>) -> anyhow::Result<MethodName> {
        let has_background = self.has_background(model);
        match (asked, self.first_given()) {
            (Some(method @ (MethodName::Frozen | MethodName::Path)), Some(option)) => {
                bail!("{option} is for exact and sampled values; leave it out, or leave out --method {}", method.name())
            }
            (None, Some(_)) => {}
            (None, None) if !has_background => {
                print::note(
                    "explained by path, since the model holds no background records; for exact values, name a file of records with --background",
                );
                return Ok(MethodName::Path);
            }
            _ => {}
        }
        let method = asked.unwrap_or(MethodName::Exact);
        let needs_one = matches!(method, MethodName::Exact | MethodName::Sampled);
        ensure!(
            has_background || !needs_one,
            "{} values need background records, and the model holds none; name a file of records with --background, or use --method path",
            method.name()
        );
        Ok(method)
    }

    /// Returns the background records, and saves them if asked to.
    pub fn background(&self, model: &HostModel<'_>, table: &Table) -> anyhow::Result<BackgroundRecords> {
        let choice = Choice {
            only: self.background_where.clone(),
            most: self.background_rows.unwrap_or(BACKGROUND_ROWS),
            seed: self.seed(),
        };
        let records = match self.background.as_slice() {
            [] => BackgroundRecords::of_model(model, &choice)?,
            inputs => BackgroundRecords::read(model, inputs, table, &choice)?,
        };
        if let Some(path) = &self.save_background {
            let mut text = Vec::new();
            records.write_csv(model, table, &mut text)?;
            let mut file = print::create(path)?;
            file.write_whole(&text)?;
            file.commit()?;
        }
        Ok(records)
    }

    /// Returns the procedure for these background records.
    pub fn procedure<'b>(&self, method: MethodName, background: Option<&'b HostBackground<'b>>) -> Procedure<'b> {
        let Some(background) = background else {
            return if method == MethodName::Frozen { Procedure::Frozen } else { Procedure::Path };
        };
        let default = Sampling::default();
        let against = Against {
            background,
            space: match self.space {
                Some(SpaceName::LogOdds) => Space::LogOdds,
                Some(SpaceName::Probability) | None => Space::Probability,
            },
            sampling: Sampling {
                tolerance: self.tolerance.unwrap_or(default.tolerance),
                most_evaluations: self.max_evaluations.unwrap_or(default.most_evaluations),
                seed: self.seed(),
            },
            most_time: self.max_seconds,
        };
        match method {
            MethodName::Sampled => Procedure::Sampled(against),
            _ => Procedure::Exact { against, budget: self.budget() },
        }
    }

    /// Returns the largest number of coalitions per record.
    pub fn budget(&self) -> u64 {
        self.budget.unwrap_or(BUDGET)
    }

    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(Sampling::default().seed)
    }
}
