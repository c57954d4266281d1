//! A uniform sample of a stream of items, in constant memory.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use crate::random::below;

/// Separates these draws from all others with the same seed.
const SEED: u64 = u64::from_be_bytes(*b"thereprt");

/// A sample without replacement: Vitter (1985), algorithm R.
#[derive(Clone, Debug)]
pub(super) struct Sample<T> {
    most: usize,
    offered: u64,
    random: Pcg64Mcg,
    kept: Vec<T>,
}

impl<T> Sample<T> {
    /// Creates an empty sample.
    pub(super) fn new(most: usize) -> Self {
        Self { most, offered: 0, random: Pcg64Mcg::seed_from_u64(SEED), kept: Vec::new() }
    }

    /// Offers the next item. `make` is called only if the item is kept.
    pub(super) fn offer(&mut self, make: impl FnOnce() -> T) {
        self.offered += 1;
        if self.kept.len() < self.most {
            self.kept.push(make());
            return;
        }
        let place = below(self.offered, &mut self.random);
        if let Some(place) = usize::try_from(place).ok().and_then(|place| self.kept.get_mut(place)) {
            *place = make();
        }
    }

    /// Returns the number of offered items.
    pub(super) fn offered(&self) -> u64 {
        self.offered
    }

    /// Returns the kept items.
    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts by tenths of the offered items. The bound is five standard deviations.
    #[test]
    fn everything_is_as_likely() {
        let mut counts = [0_u32; 10];
        let mut sample = Sample::new(2_000);
        (0..20_000_u32).for_each(|number| sample.offer(|| number));
        assert_eq!((sample.kept().len(), sample.offered()), (2_000, 20_000));
        sample.kept().iter().for_each(|number| counts[*number as usize / 2_000] += 1);
        assert!(counts.iter().all(|count| (f64::from(*count) - 200.0).abs() < 5.0 * 180.0_f64.sqrt()), "{counts:?}");
    }
}
