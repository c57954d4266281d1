//! The common interface of float and integer models ([`Scorer`]) and of their scores ([`Scored`]).

use crate::error::{LoadError, PredictError};
use crate::format::Provenance;
use crate::record::Values;
use crate::schema::Schema;

/// A loaded model of either kind of weights: [`crate::Model`] or [`crate::integer::Model`]. Slots,
/// the monitor and tools support both through it.
///
/// Sealed, since generic code relies on the rule that every model is valid.
pub trait Scorer<'a>: sealed::Sealed + Sized {
    /// A record of the model.
    type Record<'m>: Values
    where
        Self: 'm;

    /// The score of a record.
    type Score: Scored;

    /// Loads a blob in place and checks all of it.
    ///
    /// # Errors
    /// The problem and its byte offset, see [`crate::error::LoadErrorKind`].
    fn load(blob: &'a [u8]) -> Result<Self, LoadError>;

    /// Returns the features: kinds, names, levels.
    fn schema(&self) -> Schema<'_>;

    /// Returns the number of experts, K.
    fn experts(&self) -> usize;

    /// Returns the decision threshold.
    fn threshold(&self) -> f32;

    /// Returns where the model comes from.
    fn provenance(&self) -> &Provenance;

    /// Returns the blob's checksum, which identifies the model.
    fn crc32(&self) -> u32;

    /// Returns the length of the blob, in bytes.
    fn blob_bytes(&self) -> usize;

    /// Returns a record of this model with every value missing.
    fn record(&self) -> Self::Record<'_>;

    /// Scores a record into the caller's memory.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`] for a record that another model created; `score` is then
    /// unchanged.
    fn score_into(&self, record: &Self::Record<'_>, score: &mut Self::Score) -> Result<(), PredictError>;
}

/// The score of a record, in floats for both kinds of weights.
pub trait Scored: sealed::Sealed + Default {
    /// Returns the score p, in [0, 1]: at or above the model's threshold if and only if
    /// [`Scored::decision`] is favourable. For an integer score, the 24 highest bits.
    fn probability(&self) -> f32;

    /// Returns whether the decision is favourable.
    fn decision(&self) -> bool;

    /// Returns the gate weight of an expert (counted from 0); 0 beyond the model's experts.
    fn gate(&self, expert: usize) -> f32;

    /// Returns the probability of an expert (counted from 0); 0 beyond the model's experts.
    fn expert_probability(&self, expert: usize) -> f32;

    /// Returns whether some value was missing.
    fn missing(&self) -> bool;

    /// Returns whether some number was clamped to the training range.
    fn clamped(&self) -> bool;

    /// Returns whether some level was unseen in training.
    fn unseen(&self) -> bool;
}

pub(crate) mod sealed {
    /// Implemented only by the two models, their records and their scores.
    pub trait Sealed {}
}

/// Implements [`Scorer`] with the methods of the same names.
macro_rules! impl_scorer {
    () => {
        impl<const FEATURES: usize, const EXPERTS: usize> $crate::scorer::sealed::Sealed
            for Model<'_, FEATURES, EXPERTS>
        {
        }

        impl<'a, const FEATURES: usize, const EXPERTS: usize> $crate::scorer::Scorer<'a>
            for Model<'a, FEATURES, EXPERTS>
        {
            type Record<'m>
                = Record<'m, FEATURES>
            where
                Self: 'm;
            type Score = Score<EXPERTS>;

            fn load(blob: &'a [u8]) -> Result<Self, LoadError> {
                Self::load(blob)
            }

            fn schema(&self) -> Schema<'_> {
                self.schema()
            }

            fn experts(&self) -> usize {
                self.experts()
            }

            fn threshold(&self) -> f32 {
                self.threshold()
            }

            fn provenance(&self) -> &Provenance {
                self.provenance()
            }

            fn crc32(&self) -> u32 {
                self.crc32()
            }

            fn blob_bytes(&self) -> usize {
                self.blob_bytes()
            }

            #[inline]
            fn record(&self) -> Record<'_, FEATURES> {
                self.record()
            }

            #[inline]
            fn score_into(
                &self,
                record: &Record<'_, FEATURES>,
                score: &mut Score<EXPERTS>,
            ) -> Result<(), PredictError> {
                self.score_into(record, score)
            }
        }
    };
}

pub(crate) use impl_scorer;
