//! Copies a model with integer weights, for a core without floats.
//!
//! Each lane has one scale, a multiple of a unit that all lanes share: the smallest scale with
//! which its largest weight fits the integers. A number's linear row is stored at the full range of
//! the number, so that it fills the integers like a looked-up row. Weights are rounded to nearest.
//! The bias is kept in the finer unit of the sums, so its rounding does not matter.
//!
//! Scales that are powers of two would be enough for 16-bit weights: over the 16,281 rows of UCI
//! Adult's test set, p moves by at most 0.00019 and no decision changes, against 0.00025 and one
//! with these scales. With 8 bits they lose more: 0.037 and 41 decisions, against 0.032 and 33.

mod dequantize;

use feamoe_engine::LoadError;
use feamoe_engine::error::LoadErrorKind;
use feamoe_engine::format::{FLAG_BACKGROUND, FLAG_CALIBRATION, FLAG_CARD, FLAG_DEVIATIONS, FLAG_INTEGER};
use feamoe_engine::integer::{Format, MAX_FRACTION, MAX_SCALE, Number, fixed};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};

pub use dequantize::{DequantizeError, dequantize};

use super::blob::{EncodeError, assemble};
use super::device::Sections;
use crate::model::{AlignedBytes, HostIntegerModel, check_floats};

/// Minimum number of fraction bits of numbers. If the sum of a lane leaves fewer, its scale grows
/// instead.
const LEAST_FRACTION: i32 = 13;
/// Largest exponent of the unit. A finer unit would need sums to be shifted by more than 31 bits.
const FINEST: i32 = 36;

/// The width of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    I8,
    /// 16 bits.
    I16,
}

impl Width {
    /// Returns the bits of a weight.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::I8 => 8,
            Self::I16 => 16,
        }
    }
}

/// Why a model cannot have integer weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The engine refuses the model or (which should not happen) its copy.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The logits of some record exceed the integers of a sum, whatever the number of fraction
    /// bits.
    #[error(
        "the model's logits are too large for integer weights; keep float weights, or train with a lower learning rate or more regularisation"
    )]
    LogitsTooLarge,
    /// The copy could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl From<postcard::Error> for QuantizeError {
    fn from(error: postcard::Error) -> Self {
        Self::Encode(error.into())
    }
}

/// Returns a copy of a blob with integer weights, read back through the engine. Names are kept.
/// Background records, deviations and calibration are dropped because their uses need float
/// weights, and the card because it describes other weights.
///
/// # Errors
/// See [`QuantizeError`].
pub fn quantize(blob: &AlignedBytes, width: Width) -> Result<AlignedBytes, QuantizeError> {
    check_floats(blob)?;
    let blob = Sections::of(blob.as_slice())?;
    let kept =
        |(flag, _): &&(u16, &[u8])| !matches!(*flag, FLAG_BACKGROUND | FLAG_CALIBRATION | FLAG_CARD | FLAG_DEVIATIONS);
    let kept: Vec<_> = blob.sections.iter().filter(kept).map(|(flag, section)| (*flag, section.to_vec())).collect();
    let lanes = Lanes::of(&blob, width);
    // Uses the most fraction bits with which no sum can overflow, as judged by the engine's reader.
    for fraction in (1..=MAX_FRACTION).rev() {
        let Ok(shift @ 0..32) = u8::try_from(lanes.exponent + i32::from(fraction) - 28) else { continue };
        let format = Format { bits: width.bits(), fraction, shift };
        let section = (FLAG_INTEGER, vec![format.bits, format.fraction, format.shift]);
        let sections: Vec<_> = [section].into_iter().chain(kept.iter().cloned()).collect();
        let bytes = assemble(blob.head.to_vec(), &sections, &lanes.values(&blob, format))?;
        match HostIntegerModel::load(bytes.as_slice()) {
            Ok(_) => return Ok(bytes),
            Err(LoadError { kind: LoadErrorKind::LogitsTooLarge, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(QuantizeError::LogitsTooLarge)
}

/// The weights of a model by lane, and their scales.
struct Lanes {
    /// Number of experts. Rows hold their gate lanes and then their own lanes, without padding.
    experts: usize,
    bias: Vec<f64>,
    /// The rows, each linear row at the full range of its number.
    rows: Vec<Vec<f64>>,
    /// Scales, in units.
    scales: Vec<u16>,
    /// A unit is `2^-exponent`.
    exponent: i32,
}

impl Lanes {
    fn of(blob: &Sections<'_>, width: Width) -> Self {
        let experts = usize::from(blob.description.experts);
        let floats: Vec<f64> =
            blob.values.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
        let mut stored = floats.chunks(stride(experts)).map(|row| row.iter().take(2 * experts).copied());
        let mut row = || stored.next().into_iter().flatten();
        let bias: Vec<f64> = row().collect();
        let mut rows = Vec::new();
        let mut reach: Vec<f64> = bias.iter().map(|bias| bias.abs()).collect();
        let mut largest = vec![0.0_f64; bias.len()];
        for kind in &blob.kinds {
            let mut tallest = vec![0.0_f64; bias.len()];
            for index in 0..kind.rows() {
                let linear = full_range(*kind).filter(|_| index == 0);
                let row: Vec<f64> = row().map(|weight| weight * linear.unwrap_or(1.0)).collect();
                for (lane, weight) in row.iter().map(|weight| weight.abs()).enumerate() {
                    largest[lane] = largest[lane].max(weight);
                    match linear {
                        Some(_) => reach[lane] += weight,
                        None => tallest[lane] = tallest[lane].max(weight),
                    }
                }
                rows.push(row);
            }
            reach.iter_mut().zip(tallest).for_each(|(reach, tallest)| *reach += tallest);
        }
        let most = f64::from((1_u32 << (width.bits() - 1)) - 1);
        // Leaves some room for rounding.
        let longest = 0.98 * f64::from(1_u32 << (31 - LEAST_FRACTION));
        let needed: Vec<f64> =
            largest.iter().zip(&reach).map(|(largest, reach)| (largest / most).max(reach / longest)).collect();
        let coarsest = needed.iter().copied().fold(0.0, f64::max);
        let mut exponent = FINEST;
        while coarsest * exp2(exponent) > f64::from(MAX_SCALE) {
            exponent -= 1;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to 4095
        let scale = |needed: f64| (needed * exp2(exponent)).ceil().max(1.0) as u16;
        let scales = needed.into_iter().map(scale).collect();
        Self { experts, bias, rows, scales, exponent }
    }

    /// Returns the bytes of the values.
    fn values(&self, blob: &Sections<'_>, format: Format) -> Vec<u8> {
        let units = self.scales.iter().map(|scale| f64::from(*scale) * exp2(-self.exponent));
        let one = exp2(i32::from(format.fraction));
        let most = f64::from((1_u32 << (format.bits - 1)) - 1);
        // Saturates. The engine refuses a model whose bias is too large.
        #[allow(clippy::cast_possible_truncation)]
        let bias = self.bias.iter().zip(units.clone()).map(|(bias, unit)| (bias / unit * one).round() as i32);
        let mut bytes: Vec<u8> = self.halves(bias).into_iter().flat_map(i32::to_le_bytes).collect();
        let weights = 4 * stride(self.experts) * (1 + self.rows.len());
        let mut edges = blob.values[weights..].as_chunks().0.iter();
        for kind in &blob.kinds {
            let unit = Number::new(*kind, format.fraction).map_or(0, |number| number.fraction_bits());
            for edge in edges.by_ref().take(kind.edges() as usize) {
                bytes.extend(fixed(f32::from_le_bytes(*edge), unit).to_le_bytes());
            }
        }
        bytes.extend(self.halves(self.scales.iter().copied()).into_iter().flat_map(u16::to_le_bytes));
        for row in &self.rows {
            let weights =
                row.iter().zip(units.clone()).map(|(weight, unit)| (weight / unit).round().clamp(-most, most));
            for weight in self.halves(weights) {
                #[allow(clippy::cast_possible_truncation)] // at most `most`
                let weight = weight as i16;
                // The lower byte if the weight fits it, else both.
                bytes.extend(&weight.to_le_bytes()[..usize::from(format.bits / 8)]);
            }
        }
        bytes
    }

    /// Returns lanes padded with zeros after the gate lanes and after the expert lanes.
    fn halves<T: Copy + Default>(&self, lanes: impl Iterator<Item = T>) -> Vec<T> {
        let lanes: Vec<T> = lanes.collect();
        let zeros = vec![T::default(); stride(self.experts) / 2 - self.experts];
        lanes.chunks(self.experts).flat_map(|half| [half, &zeros]).flatten().copied().collect()
    }
}

/// Returns the factor that converts a number's linear weight to a scale of 1; 0 if the range is a
/// single number, `None` for a category.
fn full_range(kind: Kind) -> Option<f64> {
    let fraction = 13;
    let number = Number::new(kind, fraction)?;
    if number.largest_scale() == 0 {
        return Some(0.0);
    }
    let full = exp2(number.scale_exponent() + i32::from(fraction));
    let logarithm = matches!(kind, Kind::Number { transform: Transform::Log1p, .. });
    Some(if logarithm { full * std::f64::consts::LN_2 } else { full })
}

/// Returns a power of two.
fn exp2(exponent: i32) -> f64 {
    libm::ldexp(1.0, exponent)
}
