//! The integer model: loads a blob in place and scores records.

use bytemuck::try_cast_slice;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::kernel::{SUM_SHIFT, Term, Weight, combine, sum, sum_any};
use super::number::Number;
use super::record::{FixedLayout, Record};
use crate::error::{LoadError, LoadErrorKind, PredictError};
use crate::format::{Blob, FLAGS_AT, Fixed, HEADER_BYTES, IntegerFormat, Provenance, Weights};
use crate::schema::{Feature, Kind, Layout, Note, Schema};
use crate::scorer::{Scored, impl_scorer, sealed};

/// A model with integer weights and at most `FEATURES` features and `EXPERTS` experts, used in
/// place in its blob; see [`crate::integer`].
///
/// Every `Model` is valid: [`Model::load`] checked every index, shape and number, and that no sum
/// can overflow. It takes 48 bytes per feature; the weights stay in the blob. `EXPERTS` must be
/// even, as for [`crate::Model`].
#[derive(Debug)]
pub struct Model<'a, const FEATURES: usize, const EXPERTS: usize> {
    pub(super) fixed: FixedLayout<'a, FEATURES>,
    experts: usize,
    threshold: f32,
    /// The threshold in units of 2^-32, rounded up.
    least: u32,
    format: IntegerFormat,
    pub(super) shift: u8,
    /// An i32 per lane, in the units of the sums.
    pub(super) bias: &'a [[u8; 4]],
    /// A u16 per lane.
    pub(super) scales: &'a [[u8; 2]],
    pub(super) rows: Rows<'a>,
    provenance: Provenance,
    crc32: u32,
    blob_bytes: usize,
}

/// The weight rows, as stored in the blob.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
}

impl Rows<'_> {
    /// Returns a weight; 0 past the end.
    fn weight(&self, index: usize) -> i32 {
        match self {
            Self::I8(rows) => rows.get(index).map_or(0, |weight| i32::from(*weight)),
            Self::I16(rows) => rows.get(index).map_or(0, |weight| i32::from(i16::from_le(*weight))),
        }
    }
}

/// The unit of gate weights and of experts' probabilities, 2^-16.
const UNIT: f32 = 1.0 / 65536.0;

/// The score of a record, in fixed point.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Score<const EXPERTS: usize> {
    /// The score p, in units of 2^-32; below 1.
    pub probability: u32,
    /// `p >= threshold`.
    pub decision: bool,
    /// Gate weights, in units of 2^-16, which sum to exactly 2^16; 0 beyond the model's experts.
    pub gate: [u32; EXPERTS],
    /// The experts' probabilities, in units of 2^-16; 0 beyond the model's experts.
    pub expert_probabilities: [u16; EXPERTS],
    /// Whether some value was missing.
    pub missing: bool,
    /// Whether some number was clamped to the training range.
    pub clamped: bool,
    /// Whether some level was not seen in training.
    pub unseen: bool,
}

impl<const EXPERTS: usize> Score<EXPERTS> {
    /// Returns an empty score. This is `const`, so that a score can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            probability: 0,
            decision: false,
            gate: [0; EXPERTS],
            expert_probabilities: [0; EXPERTS],
            missing: false,
            clamped: false,
            unseen: false,
        }
    }
}

/// The gate and the experts' probabilities are sequences of `EXPERTS` numbers.
impl<const EXPERTS: usize> Serialize for Score<EXPERTS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Score", 7)?;
        fields.serialize_field("probability", &self.probability)?;
        fields.serialize_field("decision", &self.decision)?;
        fields.serialize_field("gate", self.gate.as_slice())?;
        fields.serialize_field("expert_probabilities", self.expert_probabilities.as_slice())?;
        fields.serialize_field("missing", &self.missing)?;
        fields.serialize_field("clamped", &self.clamped)?;
        fields.serialize_field("unseen", &self.unseen)?;
        fields.end()
    }
}

impl<const EXPERTS: usize> Default for Score<EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const EXPERTS: usize> sealed::Sealed for Score<EXPERTS> {}

/// Gate and experts are exact in an f32.
#[allow(clippy::cast_precision_loss)]
impl<const EXPERTS: usize> Scored for Score<EXPERTS> {
    fn probability(&self) -> f32 {
        // Rounded down to 24 significant bits, so that a score below the threshold stays below it.
        let dropped = 8_u32.saturating_sub(self.probability.leading_zeros());
        (self.probability >> dropped << dropped) as f32 * UNIT * UNIT
    }

    fn decision(&self) -> bool {
        self.decision
    }

    fn gate(&self, expert: usize) -> f32 {
        self.gate.get(expert).map_or(0.0, |gate| *gate as f32 * UNIT)
    }

    fn expert_probability(&self, expert: usize) -> f32 {
        self.expert_probabilities.get(expert).map_or(0.0, |probability| f32::from(*probability) * UNIT)
    }

    fn missing(&self) -> bool {
        self.missing
    }

    fn clamped(&self) -> bool {
        self.clamped
    }

    fn unseen(&self) -> bool {
        self.unseen
    }
}

impl<'a, const FEATURES: usize, const EXPERTS: usize> Model<'a, FEATURES, EXPERTS> {
    /// Loads a blob and checks all of it, for arbitrary bytes, without copying weights. 16-bit
    /// weights must be aligned to 2 bytes in memory.
    ///
    /// # Errors
    /// The problem and its byte offset, see [`crate::error::LoadErrorKind`].
    pub fn load(blob: &'a [u8]) -> Result<Self, LoadError> {
        const {
            assert!(EXPERTS > 0 && EXPERTS.is_multiple_of(2), "EXPERTS must be even and not 0: round it up");
            assert!(FEATURES > 0, "FEATURES must not be 0");
        }
        let blob = Blob::of_integers(blob)?;
        let refused = |kind, at| LoadError { kind, at };
        let fixed = match blob.weights() {
            Weights::I8(fixed) | Weights::I16(fixed) => fixed,
            Weights::F32(_) => return Err(refused(LoadErrorKind::FloatWeights, FLAGS_AT)),
        };
        let Fixed { format, bias, edges, scales, rows } = fixed;
        if blob.experts() > EXPERTS {
            let kind = LoadErrorKind::TooManyExperts { found: blob.experts(), capacity: EXPERTS };
            return Err(refused(kind, HEADER_BYTES));
        }
        let row_bytes = scales.len().wrapping_mul(usize::from(format.bits / 8)).max(1);
        let row = |row: u32| rows.chunks(row_bytes).nth(row as usize).unwrap_or_default();
        let layout = Layout::new(&blob, &[], |index| row(index).iter().all(|byte| *byte == 0))?;
        let rows_at = blob.bytes().len().wrapping_sub(rows.len());
        let rows = match format.bits {
            8 => Rows::I8(try_cast_slice(rows).unwrap_or_default()),
            _ => Rows::I16(try_cast_slice(rows).map_err(|_| refused(LoadErrorKind::Misaligned, rows_at))?),
        };
        let mut numbers = heapless::Vec::new();
        for feature in layout.features() {
            let number = Number::new(feature.kind, format.fraction).unwrap_or(Number::NONE);
            let pushed = numbers.push(number);
            debug_assert!(pushed.is_ok(), "broken invariant: as many numbers as features");
        }
        if !fits(layout.features(), &numbers, bias, scales, rows, format) {
            return Err(refused(LoadErrorKind::LogitsTooLarge, blob.values_at));
        }
        let description = blob.description();
        Ok(Self {
            fixed: FixedLayout { layout, numbers, edges, one: 1_i32.wrapping_shl(u32::from(format.fraction)) },
            experts: blob.experts(),
            threshold: description.threshold,
            least: threshold(description.threshold),
            format,
            shift: format.shift,
            bias,
            scales,
            rows,
            provenance: description.provenance,
            crc32: blob.crc32(),
            blob_bytes: blob.bytes().len(),
        })
    }

    /// Returns the features: kinds, names, levels.
    #[must_use]
    pub fn schema(&self) -> Schema<'_> {
        self.fixed.layout.view()
    }

    /// Returns a numeric feature in fixed point; `None` for a category.
    #[must_use]
    pub fn number(&self, feature: usize) -> Option<&Number> {
        let kind = self.fixed.layout.features().get(feature)?.kind();
        self.fixed.numbers.get(feature).filter(|_| matches!(kind, Kind::Number { .. }))
    }

    /// Returns a record of this model with every value missing.
    #[must_use]
    pub fn record(&self) -> Record<'_, FEATURES> {
        Record::new(&self.fixed)
    }

    /// Returns the number of experts, K.
    #[must_use]
    pub fn experts(&self) -> usize {
        self.experts
    }

    /// Returns the decision threshold.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Returns the encoding of the weights.
    #[must_use]
    pub fn format(&self) -> IntegerFormat {
        self.format
    }

    /// Returns where the model comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Returns the checksum of the blob, which identifies the model.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Returns the length of the blob.
    #[must_use]
    pub fn blob_bytes(&self) -> usize {
        self.blob_bytes
    }

    /// Scores a record, without float operations and with a single division.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`] for a record that another model created.
    pub fn score(&self, record: &Record<'_, FEATURES>) -> Result<Score<EXPERTS>, PredictError> {
        let mut score = Score::new();
        self.score_into(record, &mut score)?;
        Ok(score)
    }

    /// Scores a record into the caller's memory, which saves two copies.
    ///
    /// # Errors
    /// The same as [`Model::score`]; `score` is then unchanged.
    #[inline]
    pub fn score_into(&self, record: &Record<'_, FEATURES>, score: &mut Score<EXPERTS>) -> Result<(), PredictError> {
        if !core::ptr::eq(record.fixed, &raw const self.fixed) {
            return Err(PredictError::OtherModel);
        }
        let sums = match self.rows {
            Rows::I8(rows) => self.sum(rows, record.terms()),
            Rows::I16(rows) => self.sum(rows, record.terms()),
        };
        let half = self.bias.len() / 2;
        let sums = sums.as_flattened().split_at_checked(half).unwrap_or_default();
        let scales = self.scales.split_at_checked(half).unwrap_or_default();
        let (gate, outputs) = (&mut score.gate, &mut score.expert_probabilities);
        let live = (gate.get_mut(..self.experts), outputs.get_mut(..self.experts));
        let live = (live.0.unwrap_or_default(), live.1.unwrap_or_default());
        score.probability = combine(sums.into(), scales.into(), self.shift, live.0, live.1);
        // The memory may hold the score of a larger model.
        gate.iter_mut().skip(self.experts).for_each(|lane| *lane = 0);
        outputs.iter_mut().skip(self.experts).for_each(|lane| *lane = 0);
        score.decision = score.probability >= self.least;
        let notes = record.notes().iter().fold(0, |bits, note| bits | *note as u8);
        score.missing = Note::Missing.is_in(notes);
        score.clamped = Note::Clamped.is_in(notes);
        score.unseen = Note::Unseen.is_in(notes);
        Ok(())
    }

    #[inline(always)]
    fn sum<W: Weight>(&self, rows: &[W], terms: &[Term]) -> [[i32; EXPERTS]; 2] {
        if let ([bias], []) = self.bias.as_chunks().0.as_chunks() {
            return sum(bias, rows.as_chunks().0.as_chunks().0, terms);
        }
        let mut sums = [[0; EXPERTS]; 2];
        let lanes = sums.as_flattened_mut().get_mut(..self.bias.len());
        sum_any(self.bias, rows, terms, lanes.unwrap_or_default());
        sums
    }
}

impl_scorer!();

/// Returns whether every possible sum, and its product with the lane's scale, fits an i32.
fn fits(
    features: &[Feature],
    numbers: &[Number],
    bias: &[[u8; 4]],
    scales: &[[u8; 2]],
    rows: Rows<'_>,
    format: IntegerFormat,
) -> bool {
    const MOST: u64 = i32::MAX as u64;
    let lanes = bias.len();
    for (lane, (bias, scale)) in bias.iter().zip(scales).enumerate() {
        let weight = |row: u32| {
            let index = (row as usize).wrapping_mul(lanes).wrapping_add(lane);
            u64::from(rows.weight(index).unsigned_abs())
        };
        let mut bound = u64::from(i32::from_le_bytes(*bias).unsigned_abs());
        for (feature, number) in features.iter().zip(numbers) {
            let (looked_up, linear) = match feature.kind {
                Kind::Number { .. } => (1, weight(feature.first_row).wrapping_mul(u64::from(number.largest_scale()))),
                Kind::Category { .. } => (0, 0),
            };
            let tallest = (looked_up..feature.kind.rows()).map(|row| weight(feature.first_row.wrapping_add(row))).max();
            // At most 4096 features, each at most 2^15 * 2^23 twice: far below the limit of a u64.
            bound = bound.wrapping_add(linear).wrapping_add(tallest.unwrap_or(0) << format.fraction);
        }
        let scaled = (bound >> SUM_SHIFT).wrapping_add(1).wrapping_mul(u64::from(u16::from_le_bytes(*scale)));
        if bound > MOST || scaled > MOST {
            return false;
        }
    }
    true
}

/// Returns a number inside (0, 1) in units of 2^-32, rounded up. Like [`super::number::fixed`], it
/// is computed from the bits of the number.
fn threshold(x: f32) -> u32 {
    let bits = x.to_bits();
    let (exponent, mantissa) = (bits >> 23, bits & 0x007f_ffff | 0x0080_0000);
    // The value is mantissa * 2^(exponent - 150).
    match 118_u32.checked_sub(exponent) {
        None => mantissa << (exponent.wrapping_sub(118) & 15),
        Some(places @ 0..24) => mantissa.wrapping_add((1_u32 << places).wrapping_sub(1)) >> places,
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_rounded_up() {
        for x in
            [0.5, 0.001, 0.999, 0.37, f32::MIN_POSITIVE, 1e-40, 1e-9, 2.3e-10, 1.0_f32.next_down(), 0.25, 0.003_906_25]
        {
            assert_eq!(f64::from(threshold(x)), libm::ceil(f64::from(x) * libm::exp2(32.0)), "{x}");
        }
    }
}
