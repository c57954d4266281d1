//! The learned weights, in the layout that the engine needs.

use ndarray::{ArrayView1, ArrayView2};

/// Weights as the learner holds them. Weight row ids are the encoder's. Lanes are laid out as in
/// [`feamoe_engine::mixture`], in log2 units.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Number of experts, K.
    pub experts: usize,
    /// One weight row: stride lanes.
    pub bias: ArrayView1<'a, f32>,
    /// The weight rows by id, each of stride lanes. Weight rows past the end were never learned and
    /// count as 0.
    pub rows: ArrayView2<'a, f32>,
}
