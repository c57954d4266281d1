//! The contract of the learner, on a small stream with a biased label.
#![allow(clippy::unwrap_used)]

use feamoe_engine::fairness::{Counts, Measure};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::encoder::{Block, NO_GROUP};
use crate::schema::Direction;

const THRESHOLD: f32 = 0.5;
/// Weight rows that the stream uses.
const ROWS: usize = 6;

/// Two numbers, one of them shifted by group, a categorical proxy of the group, and a label that
/// favours the reference group.
fn stream(seed: u64, records: usize) -> Vec<Example> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut uniform = move || (random.next_u64() >> 40) as f32 / 16_777_216.0;
    (0..records)
        .map(|_| {
            let group = u8::from(uniform() < 0.3);
            let shift = if group == 1 { -0.5 } else { 0.3 };
            let a = 2.0 * (uniform() + uniform()) - 2.0 + shift;
            let b = 2.0 * uniform() - 1.0;
            let proxy = u32::from((uniform() < 0.8) == (group == 1));
            let chance = 1.0 / (1.0 + libm::expf(-2.0 * a - a * b));
            let label = uniform() < chance;
            let terms = vec![
                Term { row: 0, scale: a },
                Term { row: 1, scale: b },
                Term { row: 2 + proxy, scale: 1.0 },
                Term { row: 4 + u32::from(group), scale: 1.0 },
            ];
            Example { terms, label, groups: vec![group], ..Example::default() }
        })
        .collect()
}

fn learner(options: LearnerOptions) -> Learner {
    Learner::new(options.check().unwrap(), 1)
}

fn small() -> LearnerOptions {
    LearnerOptions::default().experts(4).growth(Growth { every: 300, ..Growth::NONE })
}

fn bits(learner: &Learner) -> Vec<u32> {
    learner.weights().bias.iter().chain(learner.weights().rows).map(|w| w.to_bits()).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_another_does_not() {
    let examples = stream(1, 2000);
    let run = |seed| {
        let mut learner = learner(small().seed(seed).target(Measure::Spd, 0.05));
        for example in &examples {
            learner.learn_one(example);
        }
        bits(&learner)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn predicts_before_it_learns() {
    let mut learner = learner(small());
    for (record, example) in stream(2, 1000).iter().enumerate() {
        let before = learner.predict(&example.terms);
        let prediction = learner.learn_one(example);
        // If an expert is added before a record, the record is scored with it.
        if record % 300 != 0 {
            assert_eq!(prediction.probability.to_bits(), before.to_bits(), "record {record}");
        }
        assert_eq!(prediction.decision, prediction.probability >= THRESHOLD);
    }
    assert_eq!(learner.rows_seen(), 1000);
}

#[test]
fn grows_as_set_and_no_further() {
    let mut learner = learner(small());
    let mut size = 0;
    for (record, example) in stream(3, 10_000).iter().enumerate() {
        learner.learn_one(example);
        if record == 1000 {
            size = learner.weights().bias.len() + learner.weights().rows.len();
        }
    }
    assert_eq!(learner.experts(), 4);
    let added: Vec<(u64, usize)> = learner
        .events()
        .newest()
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::ExpertAdded { expert, parent } => {
                assert!(parent.is_some_and(|parent| parent < expert) && event.cause == Cause::Every);
                Some((event.record, expert))
            }
            _ => None,
        })
        .collect();
    assert_eq!(added, [(300, 1), (600, 2), (900, 3)]);
    assert_eq!(
        learner.weights().bias.len() + learner.weights().rows.len(),
        size,
        "memory must not grow with the stream"
    );
    assert_eq!(size, (1 + ROWS) * feamoe_engine::mixture::stride(4));
}

#[test]
fn a_new_expert_does_not_move_the_score() {
    let examples = stream(4, 901);
    let mut learner = learner(small());
    for example in examples.iter().take(900) {
        learner.learn_one(example);
    }
    let before: Vec<f32> = examples.iter().map(|e| learner.predict(&e.terms)).collect();
    learner.grow_if_due();
    assert_eq!(learner.experts(), 4);
    for (example, before) in examples.iter().zip(before) {
        // A perturbation of 0.05 in each of 5 terms of one of two equal halves.
        assert!((learner.predict(&example.terms) - before).abs() < 0.03);
    }
}

#[test]
fn unknown_groups_are_not_steered() {
    let examples = stream(5, 1500);
    let mut learner = learner(small().target(Measure::Spd, 0.01).target(Measure::Burden, 0.01));
    for (record, known) in examples.iter().enumerate() {
        let state = learner.controller.steers();
        let mut example = known.clone();
        let unknown = record % 3 == 0;
        if unknown {
            example.groups[0] = NO_GROUP;
        }
        learner.learn_one(&example);
        assert_eq!(unknown, state == learner.controller.steers(), "record {record}");
    }
    assert_eq!(learner.rows_seen(), 1500);
}

#[test]
fn a_stored_learner_goes_on_to_the_same_bytes() {
    let examples = stream(6, 2000);
    let mut straight = learner(small().target(Measure::Eodds, 0.03).target(Measure::Burden, 0.05));
    let mut stored = straight.clone();
    for (record, example) in examples.iter().enumerate() {
        straight.learn_one(example);
        if record == 777 {
            stored = postcard::from_bytes(&postcard::to_stdvec(&stored).unwrap()).unwrap();
        }
        stored.learn_one(example);
    }
    assert_eq!(bits(&straight), bits(&stored));
}

/// Returns the lanes of one expert in every table, weights and averages, and the lanes of the
/// others.
fn lanes_of(learner: &Learner, expert: usize) -> [Vec<u32>; 2] {
    let experts = learner.experts();
    let stride = feamoe_engine::mixture::stride(experts);
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for row in learner.mixture.every_row().flat_map(|rows| rows.chunks(stride)) {
        for (lane, weight) in row.iter().enumerate() {
            let lanes = if lane == experts + expert { &mut own } else { &mut others };
            lanes.push(weight.to_bits());
        }
    }
    [own, others]
}

#[test]
fn frozen_experts_stand_still_to_the_bit_while_gate_and_newest_learn() {
    let examples = stream(8, 4000);
    let mut learner = learner(small().target(Measure::Spd, 0.05));
    let (first, more) = examples.split_at(2000);
    for example in first {
        learner.learn_one(example);
    }
    assert_eq!(learner.experts(), 4);
    let mut free = learner.clone();
    let before = learner.clone();
    learner.set_freeze(true);
    for example in more {
        learner.learn_one(example);
        free.learn_one(example);
    }
    for expert in 0..4 {
        let stands = |learner: &Learner| lanes_of(learner, expert)[0] == lanes_of(&before, expert)[0];
        assert_eq!((stands(&learner), stands(&free)), (expert < 3, false), "expert {expert}");
    }
    let gate = |learner: &Learner| learner.weights().bias.iter().take(4).map(|w| w.to_bits()).collect::<Vec<_>>();
    assert_ne!(gate(&learner), gate(&before));
}

#[test]
fn the_newest_expert_is_the_one_added_last_wherever_its_lanes_are() {
    let mut learner = learner(small());
    let examples = stream(8, 3000);
    let (first, more) = examples.split_at(2000);
    for example in first {
        learner.learn_one(example);
    }
    let freed = learner.mixture.merge_closest().map(|(_, freed)| freed).unwrap();
    let _ = learner.mixture.fill_with_copy(freed, 1);
    learner.set_freeze(true);
    let before = learner.clone();
    for example in more {
        learner.learn_one(example);
    }
    for expert in 0..4 {
        let stands = lanes_of(&learner, expert)[0] == lanes_of(&before, expert)[0];
        assert_eq!(stands, expert != freed, "expert {expert}, the newest is {freed}");
    }
}

#[test]
fn with_freeze_an_expert_stands_still_once_the_next_is_added() {
    let mut learner = learner(small().freeze(true));
    let mut stood = Vec::new();
    for (record, example) in stream(8, 1200).iter().enumerate() {
        learner.learn_one(example);
        // After 300, 600 and 900 records, an expert was added before the next one was learned from.
        if record == 301 {
            stood = lanes_of(&learner, 0)[0].clone();
        }
    }
    assert_eq!(learner.experts(), 4);
    assert_eq!(lanes_of(&learner, 0)[0], stood);
}

/// Returns the prequential counts by group, the accuracy, and the mean score minus base rate by
/// group, over the records from `first` on.
fn measure(options: LearnerOptions, records: usize, first: usize) -> ([Counts; 2], f32, [f32; 2]) {
    let mut learner = learner(options);
    let mut counts = [Counts::new(), Counts::new()];
    let mut bias = [0.0_f32; 2];
    for (record, example) in stream(9, records).iter().enumerate() {
        let p = learner.learn_one(example).probability;
        if record >= first {
            let group = usize::from(example.groups[0]);
            counts[group].observe(example.label, p, THRESHOLD);
            bias[group] += p - f32::from(u8::from(example.label));
        }
    }
    let mut all = counts[0];
    all.merge(&counts[1]);
    (counts, all.accuracy(), [0, 1].map(|g| bias[g] / counts[g].rows() as f32))
}

#[test]
fn gaps_are_driven_to_their_targets_and_accuracy_stays() {
    let (records, first) = (20_000, 4_000);
    let gap = |counts: &[Counts; 2], measure: Measure| measure.gap(&counts[1].rates(), &counts[0].rates());
    let (free, free_accuracy, _) = measure(small(), records, first);
    for (measured, target) in [
        (Measure::Spd, 0.1),
        (Measure::Aod, 0.05),
        (Measure::Eodds, 0.05),
        (Measure::Eopp, 0.05),
        (Measure::Burden, 0.03),
    ] {
        let before = gap(&free, measured);
        assert!(before.abs() > 1.5 * target, "{measured:?}: the stream must be unfair, found {before}");
        let (fair, accuracy, bias) = measure(small().target(measured, target), records, first);
        let after = gap(&fair, measured);
        assert!(after.abs() < target + 0.015, "{measured:?}: {after}, free {before}");
        if measured == Measure::Burden {
            assert!(bias.iter().all(|bias| bias.abs() < 0.05), "scores must stay calibrated by group: {bias:?}");
        }
        assert!(accuracy > free_accuracy - 0.04, "{measured:?}: {accuracy}, free {free_accuracy}");
    }
}

#[test]
fn every_penalty_of_the_paper_narrows_its_gap() {
    let (records, first) = (20_000, 10_000);
    let gaps = |penalties: &str| {
        let penalties = penalties.parse::<Penalties>().and_then(|penalties| penalties.with(Increment::Same(0.05)));
        let options = small().loss(Loss::Competitive).penalties(penalties.unwrap());
        let (counts, accuracy, _) = measure(options, records, first);
        let gap = |measure: Measure| measure.gap(&counts[1].rates(), &counts[0].rates()).abs();
        ([Measure::Spd, Measure::Aod, Measure::Burden].map(gap), accuracy)
    };
    let (free, free_accuracy) = gaps("none");
    for (i, name) in ["spd", "aod", "burden"].into_iter().enumerate() {
        let (penalised, accuracy) = gaps(name);
        assert!(penalised[i] < 0.9 * free[i], "{name}: {} without, {} with penalty", free[i], penalised[i]);
        assert!(accuracy > free_accuracy - 0.04, "{name}: {accuracy}, free {free_accuracy}");
    }
    let (all, _) = gaps("spd,aod,burden");
    assert!(all.iter().zip(free).all(|(all, free)| *all < 0.8 * free), "{all:?}, free {free:?}");
}

/// Covers growth, perturbed copies, means, mergers, forces and averages: after every record, every
/// table is in order, whatever the label is.
#[test]
fn monotone_rows_are_in_order_after_every_record() {
    const BINS: u32 = 6;
    let monotone = |direction| Monotone { direction, line: 6, bins: 8..8 + BINS };
    let grown = small().growth(Growth { every: 150, ..Growth::default() });
    for (seed, options) in [
        (11, grown.clone()),
        (12, grown.clone().target(Measure::Spd, 0.02).target(Measure::Eodds, 0.02)),
        (13, grown.clone().freeze(true).loss(Loss::Competitive)),
        (14, grown.penalties(Penalties { aod: Some(0.05), ..Penalties::ALL })),
    ] {
        for direction in [Direction::Up, Direction::Down] {
            let mut learner = learner(options.clone());
            learner.hold(vec![monotone(direction)]);
            let sign = direction.sign();
            for (record, mut example) in stream(seed, 1_500).into_iter().enumerate() {
                // The label follows the number up to the middle of the stream, then the reverse.
                let bin = (example.terms[0].scale + 2.0).clamp(0.0, 3.9) * BINS as f32 / 4.0;
                example.label ^= record > 750;
                example.terms.push(Term { row: 6, scale: example.terms[0].scale });
                example.terms.push(Term { row: 8 + bin as u32, scale: 1.0 });
                example.blocks = (0..example.terms.len() as u32).map(Block::new).collect();
                learner.learn_one(&example);
                let (experts, stride) = (learner.experts(), feamoe_engine::mixture::stride(learner.experts()));
                for rows in learner.mixture.every_row().filter(|rows| rows.len() > stride) {
                    let lane = |lane: usize| rows.chunks(stride).map(move |row| row[lane]).collect::<Vec<_>>();
                    for gate in (0..experts).map(lane) {
                        assert!(gate[6] == 0.0 && gate[8..].iter().all(|weight| *weight == 0.0), "{seed} {record}");
                    }
                    for expert in (experts..2 * experts).map(lane) {
                        assert!(sign * expert[6] >= 0.0, "{seed} {record}");
                        assert!(
                            expert[8..].iter().map(|weight| sign * weight).is_sorted(),
                            "{seed} {record}: {expert:?}"
                        );
                    }
                }
            }
            assert!(learner.experts() > 2);
        }
    }
}
