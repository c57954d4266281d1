//! Searches for the options of a run: draws candidates, discards the worst after a few rows,
//! evaluates the rest on all rows, and shows the trade-off between fairness and accuracy.
//!
//! *Successive halving* (Jamieson and Talwalkar 2016): all candidates learn from a share of the
//! rows, the best third learns from three times as many, and so on until they learn from all. The
//! first candidate is the default. It is kept to the last round, so that the chosen options were
//! compared with it. The seed draws rows from the whole stream, and they keep their order: every
//! share contains all drifts.
//!
//! Candidates are ordered by a loss plus the amounts by which gaps exceed their targets, on rows
//! that they did not learn from. Of the candidates that meet the targets, the one with the smallest
//! loss is chosen.
//!
//! Small differences between good candidates are mostly chance: on 6,500 rows two log-losses differ
//! by 0.002 without any cause. Therefore the last round and the front evaluate everything on
//! several draws of held-out rows and compare the means.
//!
//! *Cost:* about a hundred runs over the data or more by default. The result does not depend on the
//! number of threads. With a time limit it depends on the machine.

mod front;
mod space;
mod trial;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use feamoe_engine::fairness::Measure;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use front::{Kind, Point};
pub use space::Fixed;
pub use trial::{Figures, JudgedOn, Objective, TuneError};

use crate::error::{Error, list};
use crate::rows::Input;
use crate::schema::Schema;
use crate::training::config::Config;

/// One in `HALVING` candidates of a round enters the next, which has `HALVING` times as many rows.
const HALVING: usize = 3;
/// Minimum number of training rows of a round: the encoding is first fitted on this many.
const FEWEST_ROWS: u64 = 5_000;

/// The settings of a search.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The targets, and the values of the options that are not drawn.
    pub base: Config,
    /// The options that keep their value in `base`.
    pub fixed: Fixed,
    /// Number of candidates in the first round, at least 1.
    pub candidates: usize,
    /// Seed for drawing the candidates and the rows.
    pub seed: u64,
    /// The rows on which candidates are evaluated.
    pub judged_on: JudgedOn,
    /// Number of draws of held-out rows in the last round and for the front, at least 1.
    pub repeats: u32,
    /// The quantity to optimise.
    pub objective: Objective,
    /// No trial starts after this time.
    pub deadline: Option<Instant>,
}

/// A candidate that learned from a share of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Trial {
    /// Number of the candidate, from 1. Candidate 1 has the default options.
    pub candidate: usize,
    /// Share of the training rows that it learned from: above 0, at most 1.
    pub share: f64,
    /// The options that differ from the default, as TOML.
    pub options: String,
    /// The results of the trial.
    pub figures: Figures,
}

/// What a model predicts, and between which groups it should be fair. Results of different problems
/// are not comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Problem {
    /// The target column.
    pub target: String,
    /// The values that are the favourable outcome.
    pub favourable: Vec<String>,
    /// The protected columns, in ascending order.
    pub protected: Vec<String>,
}

impl Problem {
    /// Returns the problem that a schema describes.
    #[must_use]
    pub fn of(schema: &Schema) -> Self {
        let mut protected: Vec<String> = schema.protected.iter().map(|protected| protected.column.clone()).collect();
        protected.sort_unstable();
        Self { target: schema.target.column.clone(), favourable: schema.target.positive.clone(), protected }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, favourable, protected } = self;
        write!(f, "target {target:?} with the favourable outcome {}, protected: ", list(favourable))?;
        f.write_str(&if protected.is_empty() { "no column".to_owned() } else { list(protected) })
    }
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Tuned {
    /// The problem that was searched.
    pub problem: Problem,
    /// The quantity that was optimised.
    pub objective: Objective,
    /// Number of training rows.
    pub rows: u64,
    /// All trials of the search: round by round, and within a round from the best to the worst.
    pub trials: Vec<Trial>,
    /// The trial whose options were chosen.
    pub chosen: Trial,
    /// Whether the chosen options meet every target on the rows on which they were evaluated.
    pub holds_targets: bool,
    /// The name of the fairness measure of the front; null if no column is protected.
    pub measure: Option<String>,
    /// The target for that measure; null if there is none.
    pub limit: Option<f32>,
    /// The points of the trade-off between accuracy and the measure; empty if no column is
    /// protected.
    pub front: Vec<Point>,
    /// Points that are not on the front, with the reason.
    pub notes: Vec<String>,
    /// Number of trials that were skipped because of the time limit.
    pub left_out: usize,
}

impl Tuned {
    /// Returns the measure of the front.
    #[must_use]
    pub fn front_measure(&self) -> Option<Measure> {
        Measure::ALL.into_iter().find(|measure| self.measure.as_deref() == Some(measure.name()))
    }
}

/// Results of trials, for resuming a search. The key consists of the SHA-256 of everything that all
/// trials depend on (data, schema, evaluation rows, seed, targets), the share of the rows, the draw
/// and the options.
pub type Known = BTreeMap<String, Figures>;

/// A running search.
struct Tuner<'a> {
    inputs: &'a [Input],
    schema: &'a Schema,
    plan: &'a Plan,
    /// The hash of everything that all trials depend on; see [`Known`].
    basis: String,
    known: Mutex<Known>,
    /// Called with all results after each new one.
    on_trial: &'a (dyn Fn(&Known) -> Result<(), Error> + Sync),
}

/// Runs a search. `known` contains results of earlier searches; those of the same data, schema and
/// targets are not computed again. `on_trial` is called with all results after each new one.
///
/// # Errors
/// Those of a run over the data; [`TuneError::NoTime`] if the time limit allowed no trial on all
/// rows; those of `on_trial`.
pub fn tune(
    inputs: &[Input],
    schema: &Schema,
    plan: &Plan,
    known: Known,
    on_trial: &(dyn Fn(&Known) -> Result<(), Error> + Sync),
) -> Result<Tuned, TuneError> {
    let (rows, basis) = trial::survey(inputs, schema, plan)?;
    let tuner = Tuner { inputs, schema, plan, basis, known: Mutex::new(known), on_trial };
    let mut remaining: Vec<(usize, Config)> = space::candidates(plan).into_iter().enumerate().collect();
    let (mut trials, mut left_out) = (Vec::new(), 0);
    let mut last: Vec<(usize, Config, Figures)> = Vec::new();
    let shares = shares(remaining.len(), rows);
    for (round, share) in shares.iter().enumerate() {
        let judged = tuner.all(&remaining, *share)?;
        left_out += remaining.len() - judged.len();
        last = judged;
        last.sort_by(|(a, _, x), (b, _, y)| cost(plan, x).total_cmp(&cost(plan, y)).then(a.cmp(b)));
        trials.extend(last.iter().map(|(candidate, config, figures)| trial(*candidate, *share, config, figures)));
        if round + 1 < shares.len() {
            let kept = remaining.len().div_ceil(HALVING);
            let is_kept = |(rank, (candidate, ..)): &(usize, &(usize, _, _))| *rank < kept || *candidate == 0;
            let best = last.iter().enumerate().filter(is_kept);
            remaining = best.map(|(_, (candidate, config, _))| (*candidate, config.clone())).collect();
        }
    }
    let holds = |figures: &Figures| plan.base.fair.is_empty() || figures.excess == 0.0;
    let chosen = last.iter().find(|(.., figures)| holds(figures)).or(last.first());
    let (candidate, config, figures) = chosen.ok_or(TuneError::NoTime)?;
    let measure =
        (!schema.protected.is_empty()).then(|| plan.base.fair.first().map_or(Measure::Spd, |(measure, _)| *measure));
    let front = measure.map(|measure| front::front(&tuner, config, measure)).transpose()?.unwrap_or_default();
    left_out += front.left_out;
    Ok(Tuned {
        problem: Problem::of(schema),
        objective: plan.objective,
        rows,
        trials,
        chosen: trial(*candidate, 1.0, config, figures),
        holds_targets: holds(figures),
        measure: measure.map(|measure| measure.name().to_owned()),
        limit: plan.base.fair.first().map(|(_, limit)| *limit).filter(|_| measure.is_some()),
        front: front.points,
        notes: front.notes,
        left_out,
    })
}

fn trial(candidate: usize, share: f64, config: &Config, figures: &Figures) -> Trial {
    Trial { candidate: candidate + 1, share, options: config.to_toml(), figures: figures.clone() }
}

/// Returns the value by which candidates are ordered; smaller is better.
fn cost(plan: &Plan, figures: &Figures) -> f64 {
    plan.objective.of(figures) + figures.excess
}

/// Returns the share of the rows in each round; it is 1 in the last.
fn shares(candidates: usize, rows: u64) -> Vec<f64> {
    let mut shares = vec![1.0];
    let mut left = candidates;
    while left > HALVING && rows as f64 * shares[0] / HALVING as f64 >= FEWEST_ROWS as f64 {
        left = left.div_ceil(HALVING);
        shares.insert(0, shares[0] / HALVING as f64);
    }
    shares
}

impl Tuner<'_> {
    /// Evaluates candidates on all threads and returns them in order. Omits those that the time
    /// limit skipped.
    fn all<T: Copy + Send + Sync>(
        &self,
        candidates: &[(T, Config)],
        share: f64,
    ) -> Result<Vec<(T, Config, Figures)>, TuneError> {
        let draws = match self.plan.judged_on {
            JudgedOn::HeldOut(_) if share == 1.0 => self.plan.repeats.max(1),
            _ => 1,
        };
        let trials: Vec<(usize, u32)> =
            (0..candidates.len()).flat_map(|index| (0..draws).map(move |draw| (index, draw))).collect();
        let judged = trials.par_iter().with_max_len(1).map(|(index, draw)| {
            let (_, config) = &candidates[*index];
            self.judge(config, share, *draw)
        });
        let judged: Vec<Option<Figures>> = judged.collect::<Result<_, TuneError>>()?;
        let judged = judged.chunks(draws as usize).zip(candidates).filter_map(|(draws, (name, config))| {
            let draws: Vec<&Figures> = draws.iter().map(Option::as_ref).collect::<Option<_>>()?;
            Some((*name, config.clone(), Figures::mean(&draws, &self.plan.base.fair)))
        });
        Ok(judged.collect())
    }

    /// Evaluates options that learn from a share of the rows, for one draw of held-out rows.
    /// Returns `None` after the time limit.
    fn judge(&self, config: &Config, share: f64, draw: u32) -> Result<Option<Figures>, TuneError> {
        let key = format!("{} {share} {draw}\n{}", self.basis, config.to_toml());
        let known = |known: &Mutex<Known>| known.lock().ok().and_then(|known| known.get(&key).cloned());
        if let Some(figures) = known(&self.known) {
            return Ok(Some(figures));
        }
        if self.plan.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        let figures = trial::judge(self.inputs, self.schema, self.plan, config, share, draw)?;
        if let Ok(mut known) = self.known.lock() {
            known.insert(key, figures.clone());
            (self.on_trial)(&known)?;
        }
        Ok(Some(figures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_with_all_rows_and_begin_with_enough() {
        assert_eq!(shares(1, 1_000_000), [1.0]);
        assert_eq!(shares(3, 1_000_000), [1.0]);
        assert_eq!(shares(27, 1_000), [1.0]);
        assert_eq!(shares(27, 1_000_000).len(), 3);
        assert_eq!(shares(27, 20_000).len(), 2);
        let shares = shares(243, 1_000_000_000);
        assert!(shares.len() == 5 && shares.windows(2).all(|pair| (pair[1] / pair[0] - 3.0).abs() < 1e-9));
    }
}
