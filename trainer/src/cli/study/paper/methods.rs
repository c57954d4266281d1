//! Other methods for a fair classifier (A.8): reweighing, group thresholds and reductions for
//! logistic regression, beside those that the paper quotes.

use feamoe::learner::{LearnerOptions, Loss, Penalties};
use feamoe::training::prequential::Tally;

use super::Context;
use super::case::{Case, Learned, each, no_more};
use super::section::{ACCURACY, AOD, BURDEN, Line, Measured, SPD, Section, measured};
use crate::cli::study::generators::Random;
use crate::cli::study::network::rows::Rows;
use crate::cli::study::network::{Lesson, Networks, Plan, THRESHOLD};
use crate::cli::study::plan::DataSet;
use crate::cli::study::regimes::with_targets;

/// Passes of a logistic regression.
const PASSES: usize = 20;
/// Rounds of the reductions, and passes of the classifier in each round.
const ROUNDS: usize = 30;
const ROUND_PASSES: usize = 3;
/// The gap that the reductions allow between a group and all rows, and the first step of their
/// multipliers. Men are two thirds of the rows, so the gap corresponds to 0.05 between women and
/// men, like our target. The step is that of the authors' code.
const ALLOWED: f32 = 0.05 * 2.0 / 3.0;
const STEP: f32 = 2.0;
/// Number of selection rates that are tried for thresholds of the groups.
const RATES: usize = 200;

/// A method. Learns from training rows with a seed and evaluates held-out rows.
type Method = fn(&Rows, &Rows, u64) -> Tally;

/// Learns with every method.
pub fn study(context: &Context<'_>) -> anyhow::Result<Vec<Section>> {
    let Context { folder, runs, .. } = *context;
    let case = Case { folder, data: DataSet::Adult };
    let published = |name: &str, [accuracy, spd, aod, burden]: [f64; 4]| {
        Line::published(name, &[(ACCURACY, accuracy), (SPD, spd), (AOD, aod), (BURDEN, burden)])
    };
    let mut lines = vec![
        published("NN", [0.8202, 0.19, 0.29, 0.29]),
        published("FEAMOE", [0.8324, 0.06, 0.07, 0.03]),
        published("FaiR-N-4", [0.8375, 0.12, 0.11, 0.02]),
        published("prejudice remover", [0.7814, 0.09, 0.14, 0.32]),
        published("optimised preprocessing", [0.7762, 0.10, 0.08, 0.16]),
        published("data augmentation", [0.7857, 0.07, 0.06, 0.11]),
        published("reductions", [0.8198, 0.10, 0.08, 0.21]),
    ];
    let methods: [(&str, Method); 4] = [
        ("logistic regression", plain),
        ("logistic regression, reweighing", reweighed),
        ("logistic regression, a threshold for each group", by_threshold),
        ("logistic regression, reductions for SPD", reduced),
    ];
    let seeds = case.seeds(runs);
    let rows = case.rows(seeds.start)?; // the same for every seed: for Adult it only draws an order
    for (name, method) in methods {
        let runs: Vec<Measured> = each(seeds.clone(), |seed| Ok(measured(&method(&rows[0], &rows[1], seed))))?;
        lines.push(Line::new(name, &runs));
    }
    lines.push(case.line(&Learned::paper("FEAMOE: all penalties", Penalties::ALL, 4_000), runs, &no_more)?);
    for targets in ["spd=0.05", "spd=0.05,aod=0.05,burden=0.03", "eodds=0.03"] {
        let learner = with_targets(LearnerOptions::default(), targets)?;
        let passes = Learned { epochs: 5, ..Learned::default(format!("our targets {targets}; five passes"), learner) };
        lines.push(case.line(&passes, runs, &no_more)?);
    }
    Ok(vec![Section {
        part: "A.8",
        title: "Ways to a fair classifier on Adult, judged on adult.test".into(),
        lines,
        reason: "The published lines are of networks by other authors' code, on splits that are not in print. Ours are of \
                 one logistic regression, so that the ways differ in nothing else; all are more accurate than the published \
                 network and its reductions. Who holds one gap lets the others go: so do thresholds, reductions, and our \
                 target for SPD alone. Our reductions are of 30 rounds, each record decided by one drawn at random; \
                 fairlearn's are in `tests/peers/ways.py`. A threshold for each group asks for the group at decision time.",
    }])
}

fn plan(seed: u64) -> Plan {
    Plan { hidden: Vec::new(), loss: Loss::Nll, penalties: Penalties::NONE, increments: None, seed }
}

fn fitted(lesson: Lesson<'_>, passes: usize, seed: u64) -> Networks {
    let mut regression = Networks::new(plan(seed), lesson.rows);
    regression.learn(lesson, passes);
    regression
}

fn plain(training: &Rows, held_out: &Rows, seed: u64) -> Tally {
    fitted(training.into(), PASSES, seed).judge(held_out)
}

/// Weighs each row by the expected frequency of its group and label if both were independent,
/// divided by their actual frequency (Kamiran and Calders 2012).
fn reweighed(training: &Rows, held_out: &Rows, seed: u64) -> Tally {
    let count = |is_in: &dyn Fn(Option<u8>, bool) -> bool| {
        (0..training.len()).filter(|row| is_in(training.group(*row), training.labels[*row])).count() as f32
    };
    let weight = |row: usize| {
        let (own, label) = (training.group(row), training.labels[row]);
        let of_group = count(&|group, _| group == own);
        let of_label = count(&|_, other| other == label);
        let of_both = count(&|group, other| group == own && other == label);
        of_group * of_label / (of_both * training.len() as f32)
    };
    let mut cells: Vec<((Option<u8>, bool), f32)> = Vec::new();
    let mut weights = Vec::with_capacity(training.len());
    for row in 0..training.len() {
        let cell = (training.group(row), training.labels[row]);
        let known = cells.iter().find(|(known, _)| *known == cell).map(|(_, weight)| *weight);
        weights.push(known.unwrap_or_else(|| {
            let weight = weight(row);
            cells.push((cell, weight));
            weight
        }));
    }
    fitted(Lesson { weights: &weights, ..training.into() }, PASSES, seed).judge(held_out)
}

/// Selects the same share of every group, with a threshold per group on the scores (Hardt et al.
/// 2016, for statistical parity). Uses the share with the best accuracy on the training rows.
fn by_threshold(training: &Rows, held_out: &Rows, seed: u64) -> Tally {
    let regression = fitted(training.into(), PASSES, seed);
    let scores = regression.all_scores(training);
    let groups = groups(training);
    let sorted: Vec<Vec<f32>> = groups
        .iter()
        .map(|group| {
            let own = scores.iter().enumerate().filter(|(row, _)| training.group(*row) == Some(*group));
            let mut own: Vec<f32> = own.map(|(_, score)| *score).collect();
            own.sort_by(|a, b| b.total_cmp(a));
            own
        })
        .collect();
    let thresholds = |rate: usize| -> Vec<f32> {
        let at = |own: &Vec<f32>| own.get(own.len() * rate / RATES).copied().unwrap_or(0.0);
        sorted.iter().map(at).collect()
    };
    let decide = |group: Option<u8>, score: f32, thresholds: &[f32]| {
        let place = groups.iter().position(|other| Some(*other) == group);
        score >= place.map_or(THRESHOLD, |place| thresholds[place])
    };
    let right = |rate: &usize| {
        let thresholds = thresholds(*rate);
        let is_right =
            |(row, score): &(usize, &f32)| decide(training.group(*row), **score, &thresholds) == training.labels[*row];
        scores.iter().enumerate().filter(is_right).count()
    };
    let best = thresholds((1..RATES).max_by_key(right).unwrap_or(RATES / 2));
    judge(held_out, &regression.all_scores(held_out), |row, score| {
        f32::from(u8::from(decide(held_out.group(row), score, &best)))
    })
}

/// Reduces fairness to a sequence of weighted problems (Agarwal et al. 2018, exponentiated
/// gradient, for statistical parity). Each round learns with the costs that the multipliers define,
/// and then updates the multipliers by the gaps. Each record is decided by the classifier of a round
/// drawn at random, so the allowed gap is that of the mean over the rounds.
fn reduced(training: &Rows, held_out: &Rows, seed: u64) -> Tally {
    let groups = groups(training);
    let members: Vec<Vec<usize>> = groups
        .iter()
        .map(|group| (0..training.len()).filter(|row| training.group(*row) == Some(*group)).collect())
        .collect();
    let all: usize = members.iter().map(Vec::len).sum();
    let bound = 1.0 / ALLOWED;
    // For each group, the constraints that its rate is not too high and not too low.
    let mut exponents = vec![[0.0_f32; 2]; groups.len()];
    let random = &mut Random::new(seed);
    let drawn: Vec<u64> = (0..held_out.len()).map(|_| random.below(ROUNDS as u64)).collect();
    let mut decided = vec![0.0_f32; held_out.len()];
    for round in 0..ROUNDS {
        let total: f32 = 1.0 + exponents.iter().flatten().map(|exponent| exponent.exp()).sum::<f32>();
        let multipliers: Vec<f32> =
            exponents.iter().map(|[high, low]| bound * (high.exp() - low.exp()) / total).collect();
        let sum: f32 = multipliers.iter().sum();
        // The cost of selecting a row, relative to not selecting it.
        let cost = |row: usize| {
            let own = groups.iter().position(|group| Some(*group) == training.group(row));
            let error = if training.labels[row] { -1.0 } else { 1.0 };
            let fairness = own.map_or(0.0, |own| multipliers[own] * all as f32 / members[own].len() as f32 - sum);
            error + fairness
        };
        let costs: Vec<f32> = (0..training.len()).map(cost).collect();
        let labels: Vec<bool> = costs.iter().map(|cost| *cost < 0.0).collect();
        let weights: Vec<f32> = costs.iter().map(|cost| cost.abs()).collect();
        let lesson = Lesson { rows: training, labels: &labels, weights: &weights };
        let classifier = fitted(lesson, ROUND_PASSES, seed.wrapping_add(round as u64));
        let decisions = classifier.all_scores(training);
        let rate = |rows: &mut dyn Iterator<Item = usize>| {
            let (mut selected, mut count) = (0.0_f32, 0.0_f32);
            for row in rows {
                selected += f32::from(u8::from(decisions[row] >= THRESHOLD));
                count += 1.0;
            }
            selected / count.max(1.0)
        };
        let overall = rate(&mut members.iter().flatten().copied());
        for ([high, low], members) in exponents.iter_mut().zip(&members) {
            let gap = rate(&mut members.iter().copied()) - overall;
            *high += STEP / bound * (gap - ALLOWED);
            *low += STEP / bound * (-gap - ALLOWED);
        }
        let own = decided.iter_mut().zip(&drawn).zip(classifier.all_scores(held_out));
        for ((decided, _), score) in own.filter(|((_, drawn), _)| **drawn == round as u64) {
            *decided = f32::from(u8::from(score >= THRESHOLD));
        }
    }
    judge(held_out, &decided, |_, decided| decided)
}

/// Evaluates a score for each row.
fn judge(rows: &Rows, scores: &[f32], score: impl Fn(usize, f32) -> f32) -> Tally {
    let mut tally = Tally::default();
    for (row, own) in scores.iter().enumerate() {
        tally.observe(rows.labels[row], score(row, *own), THRESHOLD, rows.groups(row));
    }
    tally
}

/// Returns the groups of the first protected attribute that occur.
fn groups(rows: &Rows) -> Vec<u8> {
    let mut groups: Vec<u8> = (0..rows.len()).filter_map(|row| rows.group(row)).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
