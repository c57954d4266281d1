//! A validated integer model: loads a blob in place, scores records.

use bytemuck::try_cast_slice;

use super::Format;
use super::kernel::{SUM_SHIFT, Term, Weight, combine, sum, sum_any};
use super::number::Number;
use super::record::{Layout, Record};
use crate::error::{LoadError, LoadErrorKind, PredictError};
use crate::format::{self, Parts, Provenance};
use crate::mixture::stride;
use crate::model::{Scorer, sealed};
use crate::record::Schema;
use crate::schema::{Feature, Kind, Note};

/// Largest scale of a lane: its product with 19 bits and a sign fits an i32, with a gate weight a u32.
pub const MAX_SCALE: u16 = 4095;

/// A model with integer weights, of at most `FEATURES` features and `EXPERTS` experts, read in place from its blob: see [`crate::integer`].
///
/// A `Model` that exists is valid: [`Model::load`] checked every index, shape and number, and that no sum can overflow. It holds 48 bytes a feature; the
/// weights stay in the blob. `EXPERTS` must be even, as for [`crate::Model`].
#[derive(Debug)]
pub struct Model<'a, const FEATURES: usize, const EXPERTS: usize> {
    pub(super) layout: Layout<'a, FEATURES>,
    experts: usize,
    threshold: f32,
    /// The threshold in units of 2^-32, rounded up.
    least: u32,
    format: Format,
    pub(super) shift: u8,
    /// i32, in the units of the sums.
    pub(super) bias: &'a [[u8; 4]],
    /// u16, one a lane.
    pub(super) scales: &'a [[u8; 2]],
    pub(super) rows: Rows<'a>,
    provenance: Provenance,
    crc32: u32,
    blob_bytes: usize,
}

/// The rows of weights, as they lie in the blob.
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

/// What a model says of one record, in fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score<const EXPERTS: usize> {
    /// The score p, in units of 2^-32; below 1.
    pub probability: u32,
    /// `p >= threshold`.
    pub decision: bool,
    /// Gate weights, in units of 2^-16, summing to 2^16 exactly; 0 past the model's experts.
    pub gate: [u32; EXPERTS],
    /// The experts' probabilities, in units of 2^-16; 0 past the model's experts.
    pub expert_probabilities: [u16; EXPERTS],
    /// Some value was missing.
    pub missing: bool,
    /// Some number was clamped to the training range.
    pub clamped: bool,
    /// Some level was not seen in training.
    pub unseen: bool,
}

impl<const EXPERTS: usize> Score<EXPERTS> {
    /// Returns a score of nothing, in a `const` so that it can live in a `static`.
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

impl<const EXPERTS: usize> Default for Score<EXPERTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, const FEATURES: usize, const EXPERTS: usize> Model<'a, FEATURES, EXPERTS> {
    /// Loads a blob, whatever its bytes, and checks all of it; copies no weights. 16-bit weights must lie on a multiple of 2 in memory.
    ///
    /// # Errors
    /// What is wrong, and at which byte: see [`crate::error::LoadErrorKind`].
    pub fn load(blob: &'a [u8]) -> Result<Self, LoadError> {
        const {
            assert!(EXPERTS > 0 && EXPERTS.is_multiple_of(2), "EXPERTS must be even and not 0: round it up");
            assert!(FEATURES > 0, "FEATURES must not be 0");
        }
        let parts = format::parts::<FEATURES, EXPERTS>(blob)?;
        let Parts { description, features, names, deviations, integer, values, values_at, crc32, .. } = parts;
        let Some(format) = integer else {
            return Err(LoadError { kind: LoadErrorKind::FloatWeights, at: format::FLAGS_AT });
        };
        let misvalued = |kind, bytes: &[u8]| {
            // `bytes`: a part of the values, which are the last of the blob.
            let at = (bytes.as_ptr().addr()).wrapping_sub(values.as_ptr().addr());
            LoadError { kind, at: values_at.wrapping_add(at) }
        };
        let experts = usize::from(description.experts);
        let stride = stride(experts);
        let edges = features.iter().fold(0_u32, |edges, feature| edges.wrapping_add(feature.kind.edges()));
        let parts = values.split_at_checked(stride.wrapping_mul(4)).and_then(|(bias, rest)| {
            let (edges, rest) = rest.split_at_checked((edges as usize).wrapping_mul(4))?;
            let (scales, rows) = rest.split_at_checked(stride.wrapping_mul(2))?;
            Some((bias, edges, scales, rows))
        });
        let (bias, edges, scales, weights) = parts.ok_or(misvalued(LoadErrorKind::Malformed, values))?;
        let rows = match format.bits {
            8 => Rows::I8(try_cast_slice(weights).unwrap_or_default()),
            _ => Rows::I16(try_cast_slice(weights).map_err(|_| misvalued(LoadErrorKind::Misaligned, weights))?),
        };
        let (bias, edges, scales) = (bias.as_chunks::<4>().0, edges.as_chunks::<4>().0, scales.as_chunks::<2>().0);
        let half = stride / 2;
        // Each half of a row, of bytes of this many a lane, ends in zeros.
        let padded = |bytes: &'a [u8], width: usize| {
            // Never 0, which the compiler cannot see.
            let halves = bytes.chunks(half.wrapping_mul(width).max(1));
            let mut ends = halves.filter_map(move |half| half.get(experts.wrapping_mul(width)..));
            ends.find(|end| end.iter().any(|byte| *byte != 0))
        };
        let wrong = padded(bias.as_flattened(), 4).or_else(|| padded(scales.as_flattened(), 2));
        if let Some(wrong) = wrong.or_else(|| padded(weights, (format.bits / 8).into())) {
            return Err(misvalued(LoadErrorKind::PaddingNotZero, wrong));
        }
        for scale in scales.chunks(half.max(1)).flat_map(|half| half.iter().take(experts)) {
            if !(1..=MAX_SCALE).contains(&u16::from_le_bytes(*scale)) {
                return Err(misvalued(LoadErrorKind::InvalidScale, scale));
            }
        }
        let mut numbers = heapless::Vec::new();
        for (index, feature) in features.iter().enumerate() {
            let number = Number::new(feature.kind, format.fraction).unwrap_or(Number::NONE);
            if numbers.push(number).is_err() {
                let kind = LoadErrorKind::TooManyFeatures { found: features.len(), capacity: FEATURES };
                return Err(LoadError { kind, at: format::HEADER_BYTES });
            }
            let own = edges.get(feature.edge_range()).unwrap_or_default();
            let descends = |pair: &[[u8; 4]; 2]| i32::from_le_bytes(pair[0]) > i32::from_le_bytes(pair[1]);
            if own.array_windows().any(descends) {
                return Err(misvalued(LoadErrorKind::EdgesNotAscending { feature: index }, own.as_flattened()));
            }
        }
        if !fits(&features, &numbers, bias, scales, rows, format) {
            return Err(misvalued(LoadErrorKind::LogitsTooLarge, values));
        }
        let terms = features.iter().map(|feature| feature.kind.terms()).sum();
        Ok(Self {
            layout: Layout {
                schema: Schema { features, edges: &[], deviations, names, terms },
                numbers,
                edges,
                one: 1_i32.wrapping_shl(u32::from(format.fraction)),
            },
            experts,
            threshold: description.threshold,
            least: threshold(description.threshold),
            format,
            shift: format.shift,
            bias,
            scales,
            rows,
            provenance: description.provenance,
            crc32,
            blob_bytes: blob.len(),
        })
    }

    /// Returns the features: kinds, names, levels.
    #[must_use]
    pub fn schema(&self) -> &Schema<'a, FEATURES> {
        &self.layout.schema
    }

    /// Returns a numeric feature in fixed point; `None` for a category.
    #[must_use]
    pub fn number(&self, feature: usize) -> Option<&Number> {
        let kind = self.layout.schema.features().get(feature)?.kind();
        self.layout.numbers.get(feature).filter(|_| matches!(kind, Kind::Number { .. }))
    }

    /// Returns a record of this model with every value missing.
    #[must_use]
    pub fn record(&self) -> Record<'_, FEATURES> {
        Record::new(&self.layout)
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

    /// Returns how the weights are written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns where the model comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Returns the blob's checksum, which names the model.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Returns the length of the blob.
    #[must_use]
    pub fn blob_bytes(&self) -> usize {
        self.blob_bytes
    }

    /// Scores a record. Takes no float, and one division.
    ///
    /// # Errors
    /// [`PredictError::OtherModel`] for a record that another model made.
    pub fn score(&self, record: &Record<'_, FEATURES>) -> Result<Score<EXPERTS>, PredictError> {
        let mut score = Score::new();
        self.score_into(record, &mut score)?;
        Ok(score)
    }

    /// Scores a record into the caller's memory, which saves two copies.
    ///
    /// # Errors
    /// As [`Model::score`]; then `score` is as it was.
    #[inline]
    pub fn score_into(&self, record: &Record<'_, FEATURES>, score: &mut Score<EXPERTS>) -> Result<(), PredictError> {
        if !core::ptr::eq(record.layout, &raw const self.layout) {
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
        // The memory may have held the score of a larger model.
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

impl<const FEATURES: usize, const EXPERTS: usize> sealed::Sealed for Model<'_, FEATURES, EXPERTS> {}

impl<'a, const FEATURES: usize, const EXPERTS: usize> Scorer<'a> for Model<'a, FEATURES, EXPERTS> {
    fn load(blob: &'a [u8]) -> Result<Self, LoadError> {
        Self::load(blob)
    }

    fn features(&self) -> &[Feature] {
        self.layout.schema.features()
    }

    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn crc32(&self) -> u32 {
        self.crc32
    }
}

/// Returns whether no sum of any record can pass an i32, nor its product with the lane's scale.
fn fits(
    features: &[Feature],
    numbers: &[Number],
    bias: &[[u8; 4]],
    scales: &[[u8; 2]],
    rows: Rows<'_>,
    format: Format,
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
            // At most 4096 features of 2^15 * 2^23 twice: far from a u64's end.
            bound = bound.wrapping_add(linear).wrapping_add(tallest.unwrap_or(0) << format.fraction);
        }
        let scaled = (bound >> SUM_SHIFT).wrapping_add(1).wrapping_mul(u64::from(u16::from_le_bytes(*scale)));
        if bound > MOST || scaled > MOST {
            return false;
        }
    }
    true
}

/// Returns a number inside (0, 1) in units of 2^-32, rounded up: from its bits, as [`super::number::fixed`] does it.
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
