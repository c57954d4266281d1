//! The experiments of the FEAMOE paper, each beside what it published.
//!
//! Where its figures have no numbers in print, there is no published line. Learners here are judged
//! by the scores that would be exported; a mixture of more experts than a model file holds has
//! those too.

mod case;
mod drift;
mod explanations;
mod growth;
mod individual;
mod kernel_shap;
mod methods;
mod regimes;
mod section;
mod times;
mod world;

use std::path::Path;

pub use section::{Line, Section, draw, render};

/// What an experiment is given.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The folder of the data.
    pub folder: &'a Path,
    /// Runs of each setting; `None` for as many as are published.
    pub runs: Option<u64>,
    /// The folder that plots are written to, where they are wanted.
    pub plots: Option<&'a Path>,
}

/// An experiment: its name on the command line, and what runs it.
pub type Experiment = (&'static str, fn(&Context<'_>) -> anyhow::Result<Vec<Section>>);

/// All experiments, in the order of the paper.
pub const ALL: [Experiment; 9] = [
    ("regimes", regimes::study),
    ("growth", growth::study),
    ("world", world::study),
    ("mortgages", drift::mortgages),
    ("readmissions", drift::diabetes),
    ("times", times::study),
    ("methods", methods::study),
    ("individual", individual::study),
    ("explanations", explanations::study),
];
