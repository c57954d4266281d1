//! Two parts of a stream, drawn by a seed: to learn from one and judge on the other.

/// Which part of the rows is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The rows to learn from.
    Training,
    /// The others.
    HeldOut,
}

/// A split of a stream by record number: the same seed gives the same parts in every pass, in
/// constant memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Draws the parts.
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
    fn every_record_is_in_just_one_part_and_seeds_differ() {
        let part = |seed, part| Split { seed, training_share: 0.7, part };
        let training = (1..=10_000).filter(|n| part(0, Part::Training).keeps(*n)).count();
        assert!((6_850..7_150).contains(&training), "{training}");
        assert!((1..=1_000).all(|n| part(3, Part::Training).keeps(n) != part(3, Part::HeldOut).keeps(n)));
        assert!((1..=100).any(|n| part(0, Part::Training).keeps(n) != part(1, Part::Training).keeps(n)));
    }
}
