//! Drift and growth on synthetic streams whose drifts are known.
#![allow(clippy::unwrap_used)]

use feamoe_engine::fairness::Measure;
use feamoe_engine::mixture::{Term, stride};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::encoder::Example;
use crate::learner::{Learner, LearnerOptions};

/// Weight rows of the stream.
const ROWS: usize = 6;
/// Records before the drift.
const AT: u64 = 15_000;
const AFTER: u64 = 10_000;

/// Two numbers, one shifted by group, a category that depends on the group, and the group itself.
/// `log_odds(record, group, a, b)` gives the log-odds of the label.
fn stream(seed: u64, records: u64, log_odds: impl Fn(u64, bool, f32, f32) -> f32) -> impl Iterator<Item = Example> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut uniform = move || (random.next_u64() >> 40) as f32 / 16_777_216.0;
    (0..records).map(move |record| {
        let group = uniform() < 0.3;
        let a = 2.0 * (uniform() + uniform()) - 2.0 + if group { -0.5 } else { 0.3 };
        let b = 2.0 * uniform() - 1.0;
        let proxy = u32::from((uniform() < 0.8) == group);
        let label = uniform() < 1.0 / (1.0 + libm::expf(-log_odds(record, group, a, b)));
        let terms = vec![
            Term { row: 0, scale: a },
            Term { row: 1, scale: b },
            Term { row: 2 + proxy, scale: 1.0 },
            Term { row: 4 + u32::from(group), scale: 1.0 },
        ];
        Example { terms, label, groups: vec![u8::from(group)], ..Example::default() }
    })
}

fn first_concept(_: bool, a: f32, b: f32) -> f32 {
    2.0 * a + a * b
}

fn other_concept(_: bool, a: f32, b: f32) -> f32 {
    0.8 * a + 2.0 * b
}

/// Like the first concept, except for the group's bonus.
fn biased(bias: f32) -> impl Fn(bool, f32, f32) -> f32 {
    move |group, a, b| first_concept(group, a, b) + if group { bias } else { 0.0 }
}

/// Two concepts in sequence: the second replaces the first within this number of records after
/// [`AT`].
fn drifting(
    seed: u64,
    width: u64,
    before: impl Fn(bool, f32, f32) -> f32,
    after: impl Fn(bool, f32, f32) -> f32,
) -> impl Iterator<Item = Example> {
    stream(seed, AT + width + AFTER, move |record, group, a, b| {
        let share = (record.saturating_sub(AT) as f32 / width as f32).min(1.0);
        (1.0 - share) * before(group, a, b) + share * after(group, a, b)
    })
}

/// Without targets, and with all targets that push groups.
fn with_and_without_targets() -> [LearnerOptions; 2] {
    let growth = "every=500,drift".parse().unwrap();
    let free = LearnerOptions::default().experts(8).growth(growth);
    let held = free.clone().target(Measure::Spd, 0.1).target(Measure::Aod, 0.05).target(Measure::Burden, 0.03);
    [free, held]
}

fn learned(options: &LearnerOptions, examples: impl Iterator<Item = Example>) -> Learner {
    let mut learner = Learner::new(options.clone().check().unwrap(), 1);
    for example in examples {
        learner.learn_one(&example);
    }
    learner
}

/// The records at which drifts of this kind were detected, and those at which an expert was added
/// because of it.
fn records(learner: &Learner, is_wanted: impl Fn(Cause) -> bool) -> (Vec<u64>, Vec<u64>) {
    let (mut detected, mut added) = (Vec::new(), Vec::new());
    for event in learner.events().newest().iter().filter(|event| is_wanted(event.cause)) {
        match event.kind {
            EventKind::DriftDetected(_) => detected.push(event.record),
            EventKind::ExpertAdded { .. } => added.push(event.record),
            EventKind::ExpertsMerged { .. } | EventKind::ShardsMerged { .. } => {}
        }
    }
    (detected, added)
}

fn is_loss(cause: Cause) -> bool {
    matches!(cause, Cause::LossDrift(_))
}

fn is_fairness(cause: Cause) -> bool {
    matches!(cause, Cause::FairnessDrift { attribute: 0, group: 1, .. })
}

/// Changes due to learning or to controllers are hardly ever reported.
#[test]
fn a_stationary_stream_has_hardly_a_drift() {
    for (options, allowed) in with_and_without_targets().iter().zip([0, 3]) {
        let mut alarms = Vec::new();
        for seed in 0..10 {
            let learner = learned(options, stream(seed, 30_000, |_, group, a, b| first_concept(group, a, b)));
            alarms.extend(records(&learner, |cause| cause != Cause::Every).0);
        }
        println!("{} in 300,000 records: {alarms:?}", alarms.len());
        assert!(alarms.len() <= allowed, "{alarms:?}");
    }
}

#[test]
fn an_accuracy_drift_is_found_and_answered_by_an_expert() {
    for options in with_and_without_targets() {
        for seed in 0..10 {
            let learner = learned(&options, drifting(seed, 1, first_concept, other_concept));
            let (detected, added) = records(&learner, is_loss);
            let first = *detected.iter().find(|record| **record >= AT).unwrap();
            assert!(first < AT + 600, "{detected:?}");
            assert!(added.contains(&(first + 1)), "{detected:?} {added:?}");
        }
    }
}

/// The group's bonus becomes a penalty of the same size: the labels stay as predictable as before.
#[test]
fn a_fairness_drift_without_an_accuracy_drift_is_found_and_answered_by_an_expert() {
    for options in with_and_without_targets() {
        for seed in 0..10 {
            let learner = learned(&options, drifting(seed, 1, biased(0.8), biased(-0.8)));
            let (detected, added) = records(&learner, is_fairness);
            let first = *detected.iter().find(|record| **record >= AT).unwrap();
            assert!(first < AT + 1_500, "{detected:?}");
            assert!(added.iter().any(|record| (AT..AT + 1_500).contains(record)), "{added:?}");
        }
    }
}

/// The labels of a group begin to depend on another feature, at the same rate: only error rates
/// show the change. With the policy, the learner adapts before they can; if targets hold the error
/// rates, they may not show it at all.
#[test]
fn a_change_of_error_rates_alone_is_found() {
    let within = |group, a, b| if group { 2.0 * b - 0.9 } else { first_concept(group, a, b) };
    for (options, held) in with_and_without_targets().into_iter().zip([0, 2]) {
        let mut missed = 0;
        for seed in 0..10 {
            let slow = options.clone().growth("every=500".parse().unwrap());
            let found = records(&learned(&slow, drifting(seed, 1, first_concept, within)), is_fairness).0;
            missed += usize::from(!found.iter().any(|record| (AT..AT + 4_000).contains(record)));
            assert!(missed <= held, "{found:?}");
            let added = records(&learned(&options, drifting(seed, 1, first_concept, within)), |_| true).1;
            assert!(added.iter().any(|record| (AT..AT + 2_000).contains(record)), "{added:?}");
        }
    }
}

#[test]
fn a_gradual_drift_is_found_before_it_is_over() {
    const WIDTH: u64 = 10_000;
    for options in with_and_without_targets() {
        for seed in 0..5 {
            let found = records(&learned(&options, drifting(seed, WIDTH, first_concept, other_concept)), is_loss).0;
            assert!(found.iter().any(|record| (AT..AT + WIDTH).contains(record)), "{found:?}");
            let turned = learned(&options, drifting(seed, WIDTH, biased(0.8), biased(-0.8)));
            let found = records(&turned, is_fairness).0;
            assert!(found.iter().any(|record| (AT..AT + WIDTH).contains(record)), "{found:?}");
        }
    }
}

#[test]
fn drift_is_reported_but_not_answered_without_the_policy() {
    let by_count = LearnerOptions::default().experts(8).growth("every=500".parse().unwrap());
    let learner = learned(&by_count, drifting(1, 1, first_concept, other_concept));
    let (detected, added) = records(&learner, is_loss);
    assert!(detected.iter().any(|record| *record >= AT) && added.is_empty(), "{detected:?} {added:?}");
    // A single expert has no other to merge with.
    let single = LearnerOptions::default().experts(1).growth("drift".parse().unwrap());
    let learner = learned(&single, drifting(1, 1, first_concept, other_concept));
    assert!(records(&learner, is_loss).1.is_empty() && learner.experts() == 1);
}

#[test]
fn merging_the_closest_hardly_moves_the_score() {
    let options = LearnerOptions::default().experts(8).growth("every=500".parse().unwrap());
    let mut learner = learned(&options, stream(3, 20_000, |_, group, a, b| first_concept(group, a, b)));
    let examples: Vec<Example> = stream(4, 2_000, |_, group, a, b| first_concept(group, a, b)).collect();
    type Score = fn(&Learner, &Example) -> f32;
    let both: [Score; 2] = [|l, e| l.predict(&e.terms), |l, e| l.predict_exported(&e.terms, &e.groups)];
    let before: Vec<[f32; 2]> = examples.iter().map(|e| both.map(|score| score(&learner, e))).collect();
    // The free place gets no records until it is filled: here, with a copy.
    let (_, free) = learner.mixture.merge_closest().unwrap();
    let _ = learner.mixture.fill_with_copy(free, 1);
    let mut largest = 0.0_f32;
    let mut sum = 0.0;
    for (example, before) in examples.iter().zip(before) {
        for (score, before) in both.iter().zip(before) {
            let moved = (score(&learner, example) - before).abs();
            largest = largest.max(moved);
            sum += moved / (2 * examples.len()) as f32;
        }
    }
    println!("moved by {sum} on average, at most {largest}");
    assert!(sum < 0.005 && largest < 0.05, "{sum} {largest}");
}

/// Categories of a record of the recurring stream, and their levels: enough that a concept takes
/// thousands of records to learn.
const CATEGORIES: u32 = 8;
const LEVELS: u32 = 25;
/// Records of a concept, and how many of them are measured after each change.
const PHASE: usize = 10_000;
const RETURN: usize = 500;

/// Mean log-loss of the first [`RETURN`] records of each phase, for two alternating concepts that
/// have nothing in common.
fn losses_at_changes(options: &LearnerOptions, seed: u64) -> Vec<f32> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut uniform = move || (random.next_u64() >> 40) as f32 / 16_777_216.0;
    let concepts: Vec<Vec<f32>> =
        (0..2).map(|_| (0..CATEGORIES * LEVELS).map(|_| 5.0 * (uniform() - 0.5)).collect()).collect();
    let mut learner = Learner::new(options.clone().check().unwrap(), 0);
    let mut losses = vec![0.0; 6];
    for (phase, loss) in losses.iter_mut().enumerate() {
        for record in 0..PHASE {
            let level = |category| category * LEVELS + (uniform() * LEVELS as f32) as u32;
            let terms: Vec<Term> = (0..CATEGORIES).map(level).map(|row| Term { row, scale: 1.0 }).collect();
            let log_odds: f32 = terms.iter().map(|term| concepts[phase % 2][term.row as usize]).sum();
            let label = uniform() < 1.0 / (1.0 + libm::expf(-log_odds));
            let p = learner.learn_one(&Example { terms, label, groups: Vec::new(), ..Example::default() }).probability;
            if record < RETURN {
                *loss -= libm::logf(if label { p } else { 1.0 - p }) / RETURN as f32;
            }
        }
    }
    losses
}

/// Concepts A and B alternate: when one returns, it is recalled.
#[test]
fn a_concept_that_returns_is_recalled() {
    let options = LearnerOptions::default().growth("every=500,drift".parse().unwrap());
    let mean = |options: &LearnerOptions| {
        let runs: Vec<Vec<f32>> = (0..3).map(|seed| losses_at_changes(options, seed)).collect();
        (0..6).map(|phase| runs.iter().map(|run| run[phase] / 3.0).sum()).collect::<Vec<f32>>()
    };
    let recalled = mean(&options);
    let single = mean(&options.clone().experts(1));
    let without = mean(&options.growth("every=500".parse().unwrap()));
    println!("{recalled:.3?}, a single expert {single:.3?}, without drift {without:.3?}");
    let [first_a, first_b, later @ ..] = &recalled[..] else { unreachable!("six phases") };
    for (returned, first) in later.iter().zip([first_a, first_b].into_iter().cycle()) {
        assert!(returned < first, "a concept comes easier the second time");
    }
    for (recalled, others) in later.iter().zip(single.iter().zip(&without).skip(2)) {
        assert!(*recalled < 0.9 * others.0 && *recalled < 0.6 * others.1);
    }
}

/// A stream that keeps drifting takes no more memory than one that drifted a few times.
#[test]
fn tables_and_events_are_bounded_however_often_it_drifts() {
    let options = LearnerOptions::default().experts(6).growth("every=500,drift,unfair=100".parse().unwrap());
    let mut learner = Learner::new(options.check().unwrap(), 1);
    let mut sizes = Vec::new();
    let concepts = |record: u64, group, a, b| {
        if (record / 10_000).is_multiple_of(2) { first_concept(group, a, b) } else { other_concept(group, -a, b) }
    };
    for (record, example) in stream(7, 200_000, concepts).enumerate() {
        learner.learn_one(&example);
        if record % 20_000 == 19_999 {
            sizes.push(postcard::to_stdvec(&(&learner.mixture, &learner.watch, &learner.grower)).unwrap().len());
            assert!(learner.events().newest().len() <= Events::MOST);
            assert_eq!(learner.weights().bias.len() + learner.weights().rows.len(), (1 + ROWS) * stride(6));
        }
    }
    let (detected, added) = records(&learner, is_loss);
    println!("{} drifts, {} experts added on them; bytes {sizes:?}", detected.len(), added.len());
    let found = |start: u64| detected.iter().any(|record| (start..start + 1_000).contains(record));
    assert!((1..20).all(|part| found(10_000 * part)), "{detected:?}");
    assert!(added.len() >= 19 && learner.experts() == 6);
    // Counts are stored in as many bytes as they need, hence the slack.
    assert!(sizes.iter().all(|size| size.abs_diff(sizes[0]) < 20), "{sizes:?}");
}

#[test]
fn reads_what_it_prints() {
    for text in ["every=4000,drift,unfair=500", "every=500", "drift", "unfair=7", "every=0", "drift,unfair=1"] {
        assert_eq!(text.parse::<Growth>().unwrap().to_string(), text);
    }
    assert_eq!("unfair=500, drift,every=4000".parse::<Growth>().unwrap().to_string(), "every=4000,drift,unfair=500");
    assert_eq!("every=0,drift".parse::<Growth>().unwrap().to_string(), "drift");
    assert_eq!(Growth::default().to_string().parse::<Growth>().unwrap(), Growth::default());
}

#[test]
fn says_what_is_wrong() {
    const EXPECTED: &str = "expected every=N (rows), drift, unfair=M (rows), or several separated by commas, for example \
                            every=4000,drift; every=0 for a single expert";
    for wrong in ["", "every", "every=", "every=-1", "every=1.5", "drift=1", "unfair", "shrink", "every=5 drift"] {
        assert_eq!(wrong.parse::<Growth>().unwrap_err().to_string(), format!("found `{wrong}`, {EXPECTED}"));
    }
    assert_eq!("drift,every=5,drift".parse::<Growth>().unwrap_err().to_string(), "drift is named twice");
    assert_eq!("every=5,drift,x".parse::<Growth>().unwrap_err().to_string(), format!("found `x`, {EXPECTED}"));
}

#[test]
fn an_expert_is_due_when_a_policy_says_so() {
    let growth: Growth = "every=100,drift,unfair=3".parse().unwrap();
    let mut grower = Grower::default();
    assert_eq!(grower.due(growth, 0, || true), None);
    assert_eq!(grower.due(growth, 100, || true), Some(Cause::Every));
    assert_eq!(grower.due(growth, 200, || false), None, "nothing makes room for the clock");
    let drift = Cause::LossDrift(LossSign::Level);
    grower.note_drift(drift);
    assert_eq!(grower.due(growth, 201, || false), Some(drift));
    assert_eq!(grower.due(growth, 202, || false), None, "once");
    for _ in 0..3 {
        assert_eq!(grower.due(growth, 203, || false), None);
        grower.note_unfair();
    }
    assert_eq!(grower.due(growth, 204, || false), Some(Cause::Unfair));
    assert_eq!(grower.due(growth, 205, || false), None, "counted anew");
    // A cause that no policy asks for is forgotten.
    grower.note_drift(drift);
    assert_eq!(grower.due(Growth::NONE, 206, || true), None);
    assert_eq!(grower.due(growth, 207, || true), None);
}
