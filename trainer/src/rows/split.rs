//! Random choices of rows by a seed: two parts of a stream, one to learn from and one to judge on,
//! and a sample of a given size.

use std::collections::BTreeSet;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng as _;

use crate::random::below;

/// Which part of the rows is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The rows to learn from.
    Training,
    /// The rows held out for evaluation.
    HeldOut,
}

/// A split of a stream by record number: the same seed gives the same parts in every pass, in
/// constant memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// The seed that determines the parts.
    pub seed: u64,
    /// Share of the records in the training part, in (0, 1).
    pub training_share: f64,
    /// The part that is kept.
    pub part: Part,
}

impl Split {
    /// Returns whether the record of this number is in the part.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn keeps(&self, number: u64) -> bool {
        let uniform = (mix(number ^ mix(self.seed)) >> 11) as f64 / (1_u64 << 53) as f64;
        (uniform < self.training_share) == (self.part == Part::Training)
    }
}

/// Draws `size` of the numbers from 1 to `count`, in ascending order: every set of this size is
/// equally likely (Bentley and Floyd 1987). Returns all of them if there are not more. Memory and
/// time grow with `size`.
#[must_use]
pub fn draw(count: u64, size: u64, seed: u64) -> Vec<u64> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut drawn = BTreeSet::new();
    for last in count.saturating_sub(size) + 1..=count {
        let number = 1 + below(last, &mut random);
        if !drawn.insert(number) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

/// Scrambles 64 bits (SplitMix64: Steele, Lea and Flood 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_drawn_as_often_as_any_other() {
        assert_eq!(draw(5, 9, 1), [1, 2, 3, 4, 5]);
        assert_eq!((draw(0, 3, 1).len(), draw(7, 0, 1).len(), draw(u64::MAX, 3, 1).len()), (0, 0, 3));
        let mut counts = [0_i32; 10];
        for seed in 0..10_000 {
            let drawn = draw(10, 3, seed);
            assert!(drawn.len() == 3 && drawn.is_sorted() && drawn.iter().all(|number| (1..=10).contains(number)));
            drawn.iter().for_each(|number| counts[*number as usize - 1] += 1);
        }
        // Each occurs about 3,000 times, with a standard deviation of 46.
        assert!(counts.iter().all(|count| (count - 3_000).abs() < 230), "{counts:?}");
    }

    #[test]
    fn every_record_is_in_just_one_part_and_seeds_differ() {
        let part = |seed, part| Split { seed, training_share: 0.7, part };
        let training = (1..=10_000).filter(|n| part(0, Part::Training).keeps(*n)).count();
        assert!((6_850..7_150).contains(&training), "{training}");
        assert!((1..=1_000).all(|n| part(3, Part::Training).keeps(n) != part(3, Part::HeldOut).keeps(n)));
        assert!((1..=100).any(|n| part(0, Part::Training).keeps(n) != part(1, Part::Training).keeps(n)));
    }
}
