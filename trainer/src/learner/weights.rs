//! What a learner has learned, to be laid out for the engine.

/// Weights as the learner holds them: row ids are the encoder's.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Number of experts, K.
    pub experts: usize,
    /// One row.
    pub bias: &'a [f32],
    /// The rows by id; rows past the end were never learned and count as 0.
    pub rows: &'a [f32],
}
