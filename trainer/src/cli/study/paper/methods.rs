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
                 target for SPD alone. Our reductions have 30 rounds, and decide each record by one of two that are drawn at random; \
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
/// and then updates the multipliers by the gaps. Each record is decided by a classifier drawn at
/// random from the two of [`best_pair`].
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
    let mut rounds: Vec<Round> = Vec::with_capacity(ROUNDS);
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
        let gaps: Vec<f32> = members.iter().map(|members| rate(&mut members.iter().copied()) - overall).collect();
        for ([high, low], gap) in exponents.iter_mut().zip(&gaps) {
            *high += STEP / bound * (gap - ALLOWED);
            *low += STEP / bound * (-gap - ALLOWED);
        }
        let decided = decisions.iter().map(|score| *score >= THRESHOLD);
        let wrong = decided.zip(&training.labels).filter(|(decided, label)| decided != *label).count();
        let scores = classifier.all_scores(held_out);
        rounds.push(Round { gaps, error: wrong as f32 / training.len() as f32, scores });
    }
    let (pair, share) = best_pair(&rounds);
    let random = &mut Random::new(seed);
    let drawn: Vec<f32> = (0..held_out.len())
        .map(|row| {
            let round = &rounds[pair[usize::from(random.uniform() >= f64::from(share))]];
            f32::from(u8::from(round.scores[row] >= THRESHOLD))
        })
        .collect();
    judge(held_out, &drawn, |_, drawn| drawn)
}

/// The classifier of a round.
struct Round {
    /// Selection rate of each group minus that of all, on the training rows.
    gaps: Vec<f32>,
    /// Share of wrong decisions on the training rows.
    error: f32,
    /// Scores of the held-out rows.
    scores: Vec<f32>,
}

/// Returns the two rounds, and the share of decisions by the first, with the smallest error whose
/// gaps are allowed. The authors solve a linear programme over all rounds instead. With two groups
/// there is one gap, and two rounds are its solution.
fn best_pair(rounds: &[Round]) -> ([usize; 2], f32) {
    let of = |a: f32, b: f32, share: f32| share * a + (1.0 - share) * b;
    // A little past the bound, for rounding.
    let is_allowed = |gap: f32| gap.abs() <= 1.001 * ALLOWED;
    let mut best = (f32::INFINITY, [rounds.len() - 1; 2], 1.0);
    for (i, first) in rounds.iter().enumerate() {
        for (j, second) in rounds.iter().enumerate() {
            let gaps = || first.gaps.iter().zip(&second.gaps);
            // The best share is 1, or leaves a gap at its bound.
            let bounds = gaps().flat_map(|(a, b)| [ALLOWED, -ALLOWED].map(|bound| (bound - b) / (a - b)));
            for share in bounds.filter(|share| (0.0..1.0).contains(share)).chain([1.0]) {
                let error = of(first.error, second.error, share);
                if error < best.0 && gaps().all(|(a, b)| is_allowed(of(*a, *b, share))) {
                    best = (error, [i, j], share);
                }
            }
        }
    }
    (best.1, best.2)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn round(gap: f32, error: f32) -> Round {
        Round { gaps: vec![gap, -2.0 * gap], error, scores: Vec::new() }
    }

    #[test]
    fn the_pair_has_the_smallest_error_within_the_bound() {
        // Twice the gap of a round is at most ALLOWED from here on.
        let bound = ALLOWED / 2.0;
        let single = [round(3.0 * bound, 0.10), round(bound / 2.0, 0.14), round(0.0, 0.2)];
        let (pair, share) = best_pair(&single);
        // The first may decide a fifth of the records: then the mean gap is at its bound.
        assert!(pair == [0, 1] || pair == [1, 0], "{pair:?}");
        assert!((share - if pair[0] == 0 { 0.2 } else { 0.8 }).abs() < 1e-5, "{share}");
        // One round that is best and within the bound decides alone.
        let (pair, share) = best_pair(&[round(3.0 * bound, 0.2), round(0.5 * bound, 0.1)]);
        assert_eq!((pair[0], share), (1, 1.0));
        // If none is within the bound, the last one decides.
        assert_eq!(best_pair(&[round(2.0 * bound, 0.1), round(3.0 * bound, 0.1)]), ([1, 1], 1.0));
    }
}
