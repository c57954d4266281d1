//! The inner kernel of exact values, compiled again for AVX2 and chosen when the program runs. The
//! bits are the portable kernel's: lanes are the same, only more of them fit a register.

use feamoe_engine::attribution::tile::{Kernel, Tile, Weights};
use multiversion::multiversion;

/// The fastest kernel of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Fastest;

impl Kernel for Fastest {
    fn play<const EXPERTS: usize>(&self, tile: &mut Tile<EXPERTS>, weights: &[Weights]) {
        play(tile, weights);
    }
}

#[allow(unsafe_code)] // what the attribute expands to calls the version that the machine was found to support
#[multiversion(targets("x86_64+avx2"))]
fn play<const EXPERTS: usize>(tile: &mut Tile<EXPERTS>, weights: &[Weights]) {
    tile.play(weights);
}
