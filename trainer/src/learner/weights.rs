//! What a learner has learned, to be laid out for the engine.

use ndarray::{ArrayView1, ArrayView2};

/// Weights as the learner holds them: row ids are the encoder's. Lanes are laid out as
/// [`feamoe_engine::mixture`] does, in log2 units.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Number of experts, K.
    pub experts: usize,
    /// One row of stride lanes.
    pub bias: ArrayView1<'a, f32>,
    /// The rows by id, times the stride; rows past the end were never learned and count as 0.
    pub rows: ArrayView2<'a, f32>,
}
