//! Explanations of single decisions (A.12), and the distance between theorem 1 and the Shapley
//! values of the score.

use std::io::Cursor;

use anyhow::Context as _;
use feamoe::explanation::{
    Against, BackgroundMemory, BackgroundRecords, Choice, Explainer, Explanation, Procedure, explanation,
};
use feamoe::learner::{LearnerOptions, Penalties};
use feamoe::model::{AnyModel, HostModel};
use feamoe::output::write_file;
use feamoe::plot;
use feamoe::rows::Records;
use feamoe_engine::Space;
use feamoe_engine::attribution::Sampling;

use super::Context;
use super::case::{Case, Learned};
use super::section::{Line, Section};
use crate::cli::study::plan::DataSet;

/// Number of rows that are explained, and of those that are drawn.
const ROWS: usize = 200;
const DRAWN: usize = 20;
/// Number of background records.
const BACKGROUND: usize = 100;
const SEED: u64 = 1;
/// Theorem 1 compared with the Shapley values of the score's log-odds: the L1 distance relative to
/// their magnitude (mean over the rows), and the share of rows for which both rank the same feature
/// first.
const ERROR: &str = "error";
const SAME: &str = "same first feature";
/// The mean share of a score's explanation that runs through the gate.
const GATE: &str = "through the gate";

/// Explains rows of adult.test.
pub fn study(context: &Context<'_>) -> anyhow::Result<Vec<Section>> {
    let case = Case { folder: context.folder, data: DataSet::Adult };
    let path = context.folder.join("adult.test");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rows: Vec<&str> = text.lines().filter(|line| line.contains(',')).collect();
    let mut lines = Vec::new();
    for (file, setting) in [
        ("decisions-feamoe.svg", Learned::paper("FEAMOE, 11 experts", Penalties::NONE, 3_000)),
        ("decisions.svg", Learned::default("our default", LearnerOptions::default())),
    ] {
        let (_, trainer) = case.learned(SEED, &setting)?;
        let exported = trainer.model()?;
        let model = HostModel::load(exported.bytes.as_slice())?;
        let choice = Choice { only: Vec::new(), most: BACKGROUND, seed: SEED };
        let background = BackgroundRecords::of_model(&model, &choice)?;
        let mut memory = BackgroundMemory::default();
        let background = background.against(&model, &mut memory)?;
        let exact = |space| Procedure::Exact {
            against: Against { background: &background, space, sampling: Sampling::default(), most_time: None },
            budget: u64::MAX,
        };
        let explained = |procedure, count: usize| -> anyhow::Result<Explanation> {
            let text = rows.iter().take(count).flat_map(|row| [*row, "\n"]).collect::<String>();
            let mut source = Records::from_reader("adult.test", Cursor::new(text), &case.schema()?.table)?;
            let explainer = Explainer::new(AnyModel::Float(&model), procedure, &[])?;
            Ok(explanation(&explainer, &mut source, 0)?)
        };
        let (true_values, frozen) = (explained(exact(Space::LogOdds), ROWS)?, explained(Procedure::Frozen, ROWS)?);
        let pairs = || true_values.values.iter().zip(&frozen.values);
        let same = pairs().filter(|(exact, frozen)| first(exact) == first(frozen)).count();
        let error = pairs().map(|(exact, frozen)| distance(exact, frozen)).sum::<f64>() / ROWS as f64;
        let shares: Vec<f64> = true_values.gate_share.iter().flatten().map(|share| f64::from(*share)).collect();
        let gate = shares.iter().sum::<f64>() / shares.len() as f64;
        lines.push(Line::new(
            setting.name.clone(),
            &[vec![(ERROR, error), (SAME, same as f64 / ROWS as f64), (GATE, gate)]],
        ));
        if let Some(folder) = context.plots {
            let drawn = explained(exact(Space::Probability), DRAWN)?;
            write_file(&folder.join(file), plot::decision(&drawn, plot::MOST_PLAYERS)?.as_bytes())?;
        }
    }
    Ok(vec![Section {
        part: "A.12",
        title: format!("Theorem 1 beside the Shapley values of the score's log-odds, {ROWS} rows of adult.test"),
        lines,
        reason: "Both are in log-odds: exact values against 100 rows of training, theorem 1 against the mean of all, which is \
                 a part of its error. Theorem 1 averages the experts' log-odds by a gate that it holds, and the gate depends \
                 on the record: it gives the Shapley values of another game than the score's. The paper's figure 8 is drawn \
                 by it; `--plots` draws exact values instead.",
    }])
}

/// Returns the L1 distance between values, relative to the L1 norm of the first.
fn distance(exact: &[f32], others: &[f32]) -> f64 {
    let apart: f32 = exact.iter().zip(others).map(|(a, b)| (a - b).abs()).sum();
    f64::from(apart / exact.iter().map(|value| value.abs()).sum::<f32>())
}

/// Returns the feature with the largest magnitude.
fn first(values: &[f32]) -> Option<usize> {
    let largest = values.iter().enumerate().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
    largest.map(|(feature, _)| feature)
}
