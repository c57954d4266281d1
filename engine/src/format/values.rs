//! The values of a blob: the weights with the bias and the bin edges, as floats or as integers.
//! They are checked here as bytes, at any alignment; a model reads them in place or copies them.

use super::Kinds;
use super::LANE_MULTIPLE;
use crate::error::LoadErrorKind;
use crate::invariant::certain;

/// The largest number of fraction bits of a scale.
pub const MAX_FRACTION: u8 = 22;

/// Largest scale of a lane: its product with a signed 19-bit number fits an i32, and its product
/// with a gate weight a u32.
pub const MAX_SCALE: u16 = 4095;

/// Returns the number of lanes of a weight row for `experts` experts: `2 * experts`, rounded up to
/// a multiple of [`LANE_MULTIPLE`].
#[inline]
#[must_use]
pub const fn stride(experts: usize) -> usize {
    experts.saturating_mul(2).next_multiple_of(LANE_MULTIPLE)
}

/// The encoding of the weights of an integer blob: the section of [`super::FLAG_INTEGER`], one byte
/// per field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of a weight, 8 or 16.
    pub bits: u8,
    /// Fraction bits of a scale, F, 1 to [`MAX_FRACTION`].
    pub fraction: u8,
    /// The right shift that turns a scaled sum into a logit, S, 0 to 31.
    pub shift: u8,
}

impl Format {
    /// Reads the section; `None` if it is not one.
    pub(super) fn read(section: &[u8]) -> Option<Self> {
        let [bits, fraction, shift] = *section else { return None };
        let sound = matches!(bits, 8 | 16) && (1..=MAX_FRACTION).contains(&fraction) && shift < 32;
        sound.then_some(Self { bits, fraction, shift })
    }
}

/// The values of a blob, by the type of their weights.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Floats: bias, weight rows and bin edges, each an f32.
    F32(&'a [[u8; 4]]),
    /// Integer weights of 16 bits.
    I16(Fixed<'a>),
    /// Integer weights of 8 bits.
    I8(Fixed<'a>),
}

/// The values of an integer blob.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'a> {
    /// The encoding of the weights.
    pub format: Format,
    /// The bias: an i32 for each lane.
    pub bias: &'a [[u8; 4]],
    /// The bin edges: i32, in the unit of the feature.
    pub edges: &'a [[u8; 4]],
    /// The scales: a u16 for each lane, 1 to [`MAX_SCALE`]; 0 in padding.
    pub scales: &'a [[u8; 2]],
    /// The weight rows.
    pub rows: &'a [u8],
}

/// The numbers of weights and edges.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub experts: usize,
    pub rows: usize,
    pub edges: usize,
}

impl Shape {
    fn check_bytes(self, values: &[u8], integer: Option<Format>) -> Result<(), (LoadErrorKind, usize)> {
        let (found, expected) = (values.len(), self.bytes(integer).unwrap_or(usize::MAX));
        if found == expected { Ok(()) } else { Err((LoadErrorKind::WrongWeightCount { found, expected }, 0)) }
    }

    /// Returns the size of the values in bytes; `None` if it overflows.
    fn bytes(self, integer: Option<Format>) -> Option<usize> {
        let stride = stride(self.experts);
        let (weights, edges) = (self.rows.checked_mul(stride)?, self.edges.checked_mul(4)?);
        match integer {
            None => weights.checked_add(stride)?.checked_mul(4)?.checked_add(edges),
            // Each lane has a bias of 4 bytes and a scale of 2.
            Some(format) => {
                let weights = weights.checked_mul(usize::from(format.bits / 8))?;
                stride.checked_mul(6)?.checked_add(edges)?.checked_add(weights)
            }
        }
    }
}

/// Checks the values of a float blob: their number, that they are finite, that padding is zero and
/// that edges ascend. An error comes with its byte offset.
pub(super) fn floats<'a>(
    values: &'a [u8],
    shape: Shape,
    kinds: Kinds<'_>,
) -> Result<&'a [[u8; 4]], (LoadErrorKind, usize)> {
    shape.check_bytes(values, None)?;
    let values = values.as_chunks().0;
    let float = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    if let Some(index) = values.iter().position(|bytes| !float(bytes).is_finite()) {
        return Err((LoadErrorKind::NotFinite, index.wrapping_mul(4)));
    }
    let stride = stride(shape.experts);
    let lanes = values.len().wrapping_sub(shape.edges);
    let (lanes, mut edges) = certain!(values.split_at_checked(lanes), Default::default());
    let live = shape.experts.wrapping_mul(2);
    let padded = |row: &[[u8; 4]]| row.iter().skip(live).any(|lane| *lane != [0; 4]);
    // The maximum shows the compiler that rows are never empty; `chunks` would panic on an empty
    // row.
    if let Some(row) = lanes.chunks(stride.max(1)).position(padded) {
        return Err((LoadErrorKind::PaddingNotZero, row.wrapping_mul(stride).wrapping_mul(4)));
    }
    let mut first = lanes.len();
    for (feature, kind) in kinds.enumerate() {
        let (own, rest) = certain!(edges.split_at_checked(kind.edges() as usize), Default::default());
        if own.iter().zip(own.iter().skip(1)).any(|(a, b)| float(a) >= float(b)) {
            return Err((LoadErrorKind::EdgesNotAscending { feature }, first.wrapping_mul(4)));
        }
        (edges, first) = (rest, first.wrapping_add(own.len()));
    }
    Ok(values)
}

impl<'a> Fixed<'a> {
    /// Checks the values of an integer blob: their number, scales, edges and padding. An error
    /// comes with its byte offset.
    pub(super) fn new(
        values: &'a [u8],
        shape: Shape,
        format: Format,
        kinds: Kinds<'_>,
    ) -> Result<Self, (LoadErrorKind, usize)> {
        shape.check_bytes(values, Some(format))?;
        let stride = stride(shape.experts);
        let parts = values.split_at_checked(stride.wrapping_mul(4)).and_then(|(bias, rest)| {
            let (edges, rest) = rest.split_at_checked(shape.edges.wrapping_mul(4))?;
            let (scales, rows) = rest.split_at_checked(stride.wrapping_mul(2))?;
            Some((bias, edges, scales, rows))
        });
        let (bias, edges, scales, rows) = certain!(parts, Default::default());
        let (bias, edges, scales) = (bias.as_chunks().0, edges.as_chunks().0, scales.as_chunks().0);
        let fixed = Self { format, bias, edges, scales, rows };
        fixed.check(shape.experts, kinds)?;
        Ok(fixed)
    }

    /// Checks the values. An error comes with its byte offset.
    fn check(&self, experts: usize, kinds: Kinds<'_>) -> Result<(), (LoadErrorKind, usize)> {
        let (half, width) = (self.scales.len() / 2, usize::from(self.format.bits / 8));
        let (bias, edges, scales) = (self.bias.as_flattened(), self.edges.as_flattened(), self.scales.as_flattened());
        let edges_at = bias.len();
        let scales_at = edges_at.wrapping_add(edges.len());
        let rows_at = scales_at.wrapping_add(scales.len());
        // Each half of a row ends in zeros. `bytes` has `width` bytes per lane and starts at `at`.
        for (bytes, width, at) in [(bias, 4, 0), (scales, 2, scales_at), (self.rows, width, rows_at)] {
            // Never 0, but the compiler does not know that.
            let half = half.wrapping_mul(width).max(1);
            let live = experts.wrapping_mul(width);
            let wrong = bytes.chunks(half).position(|half| half.iter().skip(live).any(|byte| *byte != 0));
            if let Some(index) = wrong {
                let at = at.wrapping_add(index.wrapping_mul(half)).wrapping_add(live);
                return Err((LoadErrorKind::PaddingNotZero, at));
            }
        }
        for (lane, scale) in self.scales.iter().enumerate() {
            let in_range = (1..=MAX_SCALE).contains(&u16::from_le_bytes(*scale));
            if lane.checked_rem(half).is_some_and(|lane| lane < experts) && !in_range {
                return Err((LoadErrorKind::InvalidScale, scales_at.wrapping_add(lane.wrapping_mul(2))));
            }
        }
        let (mut edges, mut at) = (self.edges, edges_at);
        for (feature, kind) in kinds.enumerate() {
            let (own, rest) = certain!(edges.split_at_checked(kind.edges() as usize), Default::default());
            // Neighbouring edges may be equal, since two floats can round to the same integer.
            if own.iter().zip(own.iter().skip(1)).any(|(a, b)| i32::from_le_bytes(*a) > i32::from_le_bytes(*b)) {
                return Err((LoadErrorKind::EdgesNotAscending { feature }, at));
            }
            (edges, at) = (rest, at.wrapping_add(own.as_flattened().len()));
        }
        Ok(())
    }
}
