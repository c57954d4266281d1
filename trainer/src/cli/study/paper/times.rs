//! Time of explanations (A.7) for 100 held-out rows on one thread.

use std::time::Instant;

use feamoe::explanation::{Against, BackgroundMemory, BackgroundRecords, Choice, Explainer, Procedure, Scratch};
use feamoe::judge::binding::Binding;
use feamoe::learner::{LearnerOptions, Loss, Penalties};
use feamoe::model::{AnyModel, AnyRecord, HostAttribution, HostModel};
use feamoe::rows::Part;
use feamoe_engine::Space;
use feamoe_engine::attribution::Sampling;
use ndarray::Array2;

use super::Context;
use super::case::{Case, Learned};
use super::kernel_shap::kernel_shap;
use super::section::{Line, SECONDS, Section};
use crate::cli::study::generators::Random;
use crate::cli::study::network::rows::Rows;
use crate::cli::study::network::{Networks, Plan};
use crate::cli::study::plan::DataSet;

/// Number of rows that are explained.
const ROWS: usize = 100;
/// Number of background rows.
const BACKGROUND: usize = 100;
/// Numbers of coalitions of Kernel SHAP: a quarter of 2,000, and 2,000, which is about the authors'
/// default for few features.
const COALITIONS: [usize; 2] = [500, 2_000];
const SEED: u64 = 1;

/// Explains rows of each data set with every method.
pub fn study(context: &Context<'_>) -> anyhow::Result<Vec<Section>> {
    let Context { folder, .. } = *context;
    let sets: [(DataSet, u64, &[usize], [f64; 3]); 3] = [
        (DataSet::Adult, 3_000, &[30; 2], [34.0, 379.0, 941.0]),
        (DataSet::Compas, 370, &[30; 2], [32.0, 246.0, 805.0]),
        (DataSet::Hmda, 5_600, &[50; 5], [38.0, 314.0, 887.0]),
    ];
    let mut sections = Vec::new();
    for (data, every, hidden, [feamoe, few, many]) in sets {
        let case = Case { folder, data };
        let mut lines = vec![
            Line::published("FEAMOE", &[(SECONDS, feamoe)]),
            Line::published("Kernel SHAP of a network, few coalitions", &[(SECONDS, few)]),
            Line::published("Kernel SHAP of a network, more coalitions", &[(SECONDS, many)]),
        ];
        lines.extend(mixture(&case, &Learned::paper("FEAMOE, 11 experts", Penalties::NONE, every))?);
        lines.extend(mixture(&case, &Learned::default("our default", LearnerOptions::default()))?);
        lines.extend(network(&case, hidden)?);
        sections.push(Section {
            part: "A.7",
            title: format!("Seconds to explain {ROWS} rows of {}", data.name()),
            lines,
            reason: "The paper's times are of Python on another machine; their unit is not in print. Times depend on the \
                     machine: compare the lines of one run.",
        });
    }
    Ok(sections)
}

/// Explains by a mixture's own methods.
fn mixture(case: &Case<'_>, setting: &Learned) -> anyhow::Result<Vec<Line>> {
    let (_, trainer) = case.learned(SEED, setting)?;
    let exported = trainer.model()?;
    let model = HostModel::load(exported.bytes.as_slice())?;
    let mut records = Vec::new();
    let (schema, table) = (case.schema()?, case.table(SEED, Part::HeldOut));
    let stream = table.open(&schema)?;
    let binding = Binding::new(&model, |name| stream.column(name, "the model"))?;
    table.each(&schema, &[], &mut |row| {
        if records.len() < ROWS {
            let mut record = model.record();
            binding.fill(row, &mut record)?;
            records.push(AnyRecord::Float(record));
        }
        Ok(())
    })?;
    let choice = Choice { only: Vec::new(), most: BACKGROUND, seed: SEED };
    let background = BackgroundRecords::of_model(&model, &choice)?;
    let mut memory = BackgroundMemory::default();
    let background = background.against(&model, &mut memory)?;
    let against =
        Against { background: &background, space: Space::Probability, sampling: Sampling::default(), most_time: None };
    let procedures = [
        ("gate held (theorem 1)", Procedure::Frozen),
        ("path", Procedure::Path),
        ("exact Shapley values", Procedure::Exact { against, budget: u64::MAX }),
        ("sampled Shapley values", Procedure::Sampled(against)),
    ];
    let mut lines = Vec::new();
    for (name, procedure) in procedures {
        let explainer = Explainer::new(AnyModel::Float(&model), procedure, &[])?;
        let (mut scratch, mut attribution) = (Scratch::default(), HostAttribution::new());
        let start = Instant::now();
        for record in &records {
            explainer.explain(record, &mut scratch, &mut attribution)?;
        }
        lines.push(Line::new(format!("{}: {name}", setting.name), &[vec![(SECONDS, start.elapsed().as_secs_f64())]]));
    }
    Ok(lines)
}

/// Explains a network by Kernel SHAP.
fn network(case: &Case<'_>, hidden: &[usize]) -> anyhow::Result<Vec<Line>> {
    let [training, held_out] = case.rows(SEED)?;
    let plan =
        Plan { hidden: hidden.into(), loss: Loss::Nll, penalties: Penalties::NONE, increments: None, seed: SEED };
    let mut network = Networks::new(plan, &training);
    network.learn((&training).into(), 1);
    let random = &mut Random::new(SEED);
    let background: Vec<usize> = (0..BACKGROUND).map(|_| random.below(training.len() as u64) as usize).collect();
    let mut lines = Vec::new();
    for coalitions in COALITIONS {
        let start = Instant::now();
        for row in 0..ROWS.min(held_out.len()) {
            let features = held_out.terms(row).len();
            let mut value =
                |drawn: &Array2<f32>| mean_outputs(&network, drawn, (&held_out, row), (&training, &background));
            std::hint::black_box(kernel_shap(features, coalitions, random, &mut value));
        }
        let figures = [vec![(SECONDS, start.elapsed().as_secs_f64())]];
        lines.push(Line::new(format!("Kernel SHAP of a network, {coalitions} coalitions"), &figures));
    }
    Ok(lines)
}

/// Returns the mean score over the background for each coalition of a row's features.
fn mean_outputs(
    network: &Networks,
    coalitions: &Array2<f32>,
    (rows, row): (&Rows, usize),
    (training, background): (&Rows, &[usize]),
) -> Vec<f32> {
    let own = rows.terms(row);
    let mean = |coalition: ndarray::ArrayView1<'_, f32>| {
        let mut inputs = Array2::<f32>::zeros((background.len(), rows.width));
        for (mut to, other) in inputs.outer_iter_mut().zip(background) {
            // Without bins, every feature has exactly one term.
            for ((is_in, own), other) in coalition.iter().zip(own).zip(training.terms(*other)) {
                let term = if *is_in > 0.5 { own } else { other };
                to[term.row as usize] += term.scale;
            }
        }
        let scores = network.scores(inputs);
        scores.iter().sum::<f32>() / scores.len() as f32
    };
    coalitions.outer_iter().map(mean).collect()
}
