//! Draws from a generator whose sequence is part of its contract: the same on every machine.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::RngCore;

/// Draws a number below `n`, which is not 0: the high half of a 64-bit product is below its factor.
/// The bias is under `n / 2^64`.
#[inline]
pub fn below(n: u64, random: &mut Pcg64Mcg) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(n)) >> 64) as u64
}

/// Shuffles by Fisher and Yates.
pub fn shuffle(order: &mut [u32], random: &mut Pcg64Mcg) {
    for last in (1..order.len()).rev() {
        order.swap(last, below(last as u64 + 1, random) as usize);
    }
}
