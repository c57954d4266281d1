//! Promise: bits that a power cut leaves marginal lose no model. Every later start finds the
//! confirmed model, whatever such bits read, until a newer one is confirmed.
//!
//! `FEAMOE_CUTS=600000 cargo test -p feamoe-tests marginal::` sets the number of cuts.

use std::collections::HashSet;

use feamoe::model::AlignedBytes;
use feamoe_engine::slots::{Anyone, Step, Target, Update, blob_at, choose, unit};
use feamoe_engine::{Aligned, Model};
use feamoe_testkit::generate::{Draw, Recipe};
use feamoe_tests::aligned;

type M<'a> = Model<'a, 4, 4>;

const WORD: usize = 8;
const PAGE: usize = 512;
const SLOT_BYTES: usize = 2 * PAGE;
/// Number of power cuts unless `FEAMOE_CUTS` gives one.
const CUTS: u32 = 6_000;

/// A driver that keeps the order of the steps, and two that do not, whose losses the simulation
/// finds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Driver {
    Right,
    /// Seals the header before it is written.
    SealsFirst,
    /// Erases the other slot before the model in use is settled.
    ErasesEarly,
}

struct Flash {
    /// The bits as stored, and a mask of those that read at random.
    bytes: [u8; 2 * SLOT_BYTES],
    weak: [u8; 2 * SLOT_BYTES],
    /// Of 64 reads of a weak bit, the number that give the stored bit.
    leaning: usize,
    draw: Draw,
    /// Words to write and pages to erase until the power fails.
    power: usize,
    cuts: u32,
}

impl Flash {
    fn new(seed: u64) -> Self {
        let (bytes, weak) = ([0xff; 2 * SLOT_BYTES], [0; 2 * SLOT_BYTES]);
        Self { bytes, weak, leaning: 32, draw: Draw::new(seed), power: usize::MAX, cuts: 0 }
    }

    /// Returns the result of a read: each weak bit is random.
    fn read(&mut self) -> Aligned<[u8; 2 * SLOT_BYTES]> {
        let mut read = Aligned(self.bytes);
        for (byte, weak) in read.0.iter_mut().zip(&self.weak).filter(|(_, weak)| **weak != 0) {
            for bit in (0..8).map(|bit| 1 << bit).filter(|bit| weak & bit != 0) {
                if self.draw.below(64) >= self.leaning {
                    *byte ^= bit;
                }
            }
        }
        read
    }

    /// Changes a word or a page. If the power fails, its bits become old, new or weak. Returns
    /// whether the power lasted.
    fn change(&mut self, at: usize, to: &[u8]) -> bool {
        let is_cut = self.power == 0;
        self.power = self.power.saturating_sub(1);
        // How far the change had come, and how many bits are weak: from all to very few.
        let (done, certain) = (self.draw.below(5), self.draw.one_of(&[0, 32, 62, 64]));
        for (index, to) in to.iter().enumerate() {
            let (byte, weak) = (&mut self.bytes[at + index], &mut self.weak[at + index]);
            if !is_cut {
                (*byte, *weak) = (*to, 0);
                continue;
            }
            let changed = *byte ^ to;
            for bit in (0..8).map(|bit| 1 << bit).filter(|bit| changed & bit != 0) {
                if self.draw.below(4) < done {
                    *byte ^= bit;
                }
                if self.draw.below(64) >= certain {
                    *weak |= bit;
                }
            }
        }
        if is_cut {
            (self.leaning, self.cuts) = (self.draw.one_of(&[4, 32, 60, 63]), self.cuts + 1);
        }
        !is_cut
    }

    fn step(&mut self, slot: usize, step: Step<'_>) -> bool {
        let start = slot * SLOT_BYTES;
        match step {
            Step::Erase { from, to } => {
                (from as usize..to as usize).step_by(PAGE).all(|page| self.change(start + page, &[0xff; PAGE]))
            }
            Step::Write { at, bytes } => {
                let words = bytes.chunks(WORD).enumerate();
                words.into_iter().all(|(index, word)| self.change(start + at as usize + index * WORD, word))
            }
        }
    }

    /// Writes a blob and seals it. Returns whether the power lasted.
    fn update(&mut self, target: Target, blob: &[u8], driver: Driver) -> bool {
        let mut update = Update::<WORD>::new(target, SLOT_BYTES as u32, 0xff, blob.len() as u32).unwrap();
        if !update.erase().all(|step| self.step(target.slot, step)) {
            return false;
        }
        let mut chunk = blob;
        while let Some(step) = update.next(&mut chunk) {
            if !self.step(target.slot, step) {
                return false;
            }
        }
        if let Some(step) = update.end().unwrap()
            && !self.step(target.slot, step)
        {
            return false;
        }
        let read = self.read();
        let seal = update.check::<M>(&read.0[target.slot * SLOT_BYTES..][..SLOT_BYTES], &Anyone).unwrap();
        let mut steps = seal.steps();
        if driver == Driver::SealsFirst {
            steps.reverse();
        }
        steps.into_iter().all(|step| self.step(target.slot, step))
    }
}

/// Returns the model of each update; its threshold encodes its number.
fn blobs() -> Vec<AlignedBytes> {
    let recipe = Recipe { experts: 1, features: 1, gate: 5.0, outputs: 5.0 };
    let blob = |id: u32| {
        let mut content = recipe.content_of(1, |_, _| feamoe_engine::schema::Kind::Category { levels: 1 });
        content.threshold = (id + 1) as f32 / 1024.0;
        let blob = aligned(&content.to_bytes(false));
        assert!(blob_at(unit(WORD)) + blob.as_slice().len() <= SLOT_BYTES);
        blob
    };
    (0..1000).map(blob).collect()
}

/// Simulates updates with that many cuts. Returns the number of cuts after which a start first
/// found no model, a model older than the last confirmed one, or a failed one; `None` if that never
/// happened.
fn first_loss(driver: Driver, cuts: u32) -> Option<u32> {
    let (blobs, mut flash) = (blobs(), Flash::new(7));
    // Numbers of updates: the last written one, and the last one that must be kept.
    let (mut newest, mut kept) = (0_usize, 0_usize);
    let mut failed = HashSet::new();
    let first = Target { slot: 0, sequence: 0, least_version: 0, failed_at: None };
    assert!(flash.update(first, blobs[0].as_slice(), driver));
    let mut is_new = true;
    while flash.cuts < cuts {
        flash.power = if is_new || flash.draw.below(3) == 0 { usize::MAX } else { flash.draw.below(60) };
        let read = flash.read();
        let (one, other) = read.0.split_at(SLOT_BYTES);
        let Ok(mut chosen) = choose::<M, M>(one, other, &Anyone) else { return Some(flash.cuts) };
        let threshold = match &chosen.model {
            feamoe_engine::slots::Loaded::First(model) | feamoe_engine::slots::Loaded::Second(model) => {
                model.threshold()
            }
        };
        let of_1000 = (threshold * 1024.0) as usize - 1;
        let id = (kept.saturating_sub(1)..=newest).rev().find(|id| id % 1000 == of_1000);
        let Some(id) = id.filter(|id| *id >= kept && !failed.contains(id)) else { return Some(flash.cuts) };
        let (slot, was_on_trial) = (chosen.slot, chosen.on_trial());
        let skips = driver == Driver::ErasesEarly && !was_on_trial;
        let mut lasted = true;
        while !skips
            && lasted
            && let Some(step) = chosen.begin::<WORD>()
        {
            lasted = flash.step(slot, step);
        }
        if !lasted {
            continue;
        }
        if was_on_trial && !is_new && flash.draw.below(3) == 0 {
            failed.insert(id);
            continue;
        }
        while was_on_trial
            && lasted
            && let Some(step) = chosen.confirm::<WORD>()
        {
            lasted = flash.step(slot, step);
        }
        if !lasted {
            continue;
        }
        // From here on the other slot may be erased.
        (kept, is_new) = (id, false);
        let sequence = chosen.target().map(|target| target.sequence);
        let early = Target { slot: 1 - slot, sequence: newest as u32 + 1, least_version: 0, failed_at: None };
        let target = if skips { chosen.target().unwrap_or(early) } else { chosen.target().unwrap() };
        assert!(skips || sequence.is_some());
        if flash.draw.below(2) == 0 {
            newest += 1;
            failed.retain(|id| *id >= kept);
            let _ = flash.update(target, blobs[newest % 1000].as_slice(), driver);
        }
    }
    None
}

#[test]
fn chance_bits_lose_no_model() {
    let cuts = std::env::var("FEAMOE_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    assert_eq!(first_loss(Driver::Right, cuts), None);
}

/// The simulation detects wrong orders.
#[test]
fn drivers_that_change_the_order_lose_models() {
    for driver in [Driver::SealsFirst, Driver::ErasesEarly] {
        let lost = first_loss(driver, CUTS);
        println!("{driver:?}: lost after {lost:?} cuts");
        assert!(lost.is_some(), "{driver:?} lost nothing in {CUTS} cuts");
    }
}
