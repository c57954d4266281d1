//! Compiles the inner kernel of exact values a second time for AVX2 and chooses at run time. Both
//! versions return the same bits: the lanes are the same, AVX2 only fits more of them into a
//! register.

use feamoe_engine::attribution::tile::{Kernel, Tile, Weights};
use multiversion::multiversion;

/// The fastest kernel for this machine.
#[derive(Clone, Copy, Debug)]
pub struct Fastest;

impl Kernel for Fastest {
    fn play<const EXPERTS: usize>(&self, tile: &mut Tile<EXPERTS>, weights: &[Weights]) {
        play(tile, weights);
    }
}

#[allow(unsafe_code)] // the macro calls only a version that it has found the CPU to support
#[multiversion(targets("x86_64+avx2"))]
fn play<const EXPERTS: usize>(tile: &mut Tile<EXPERTS>, weights: &[Weights]) {
    tile.play(weights);
}
