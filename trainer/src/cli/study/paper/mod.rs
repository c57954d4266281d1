//! The experiments of the FEAMOE paper, each beside its published figures.
//!
//! There is no published line if the paper only has a plot without numbers. Learners are evaluated
//! by the scores that an exported model would give. This includes mixtures with more experts than a
//! model file can hold.

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

/// The settings of an experiment.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The folder of the data.
    pub folder: &'a Path,
    /// Runs of each setting; `None` for the published number.
    pub runs: Option<u64>,
    /// The folder for plots, if they are wanted.
    pub plots: Option<&'a Path>,
}

/// An experiment: its name on the command line, and its function.
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
