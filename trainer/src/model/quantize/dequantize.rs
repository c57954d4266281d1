//! The float model that integer weights represent.

use feamoe_engine::LoadError;
use feamoe_engine::format::{Blob, FLAG_INTEGER, Weights};
use feamoe_engine::integer::Number;

use super::{exp2, full_range};
use crate::model::AlignedBytes;
use crate::model::EncodeError;
use crate::model::blob::assemble;
use crate::model::device::Sections;

/// Why an integer model has no float model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DequantizeError {
    /// The engine refuses the model.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The float model could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl From<postcard::Error> for DequantizeError {
    fn from(error: postcard::Error) -> Self {
        Self::Encode(error.into())
    }
}

/// Returns the float model with the weights of an integer model, for computations that need floats:
/// the path along which a gate moves. Its scores differ from the integer model's only by the
/// rounding of the integer operations. A blob of float weights is returned unchanged.
///
/// # Errors
/// See [`DequantizeError`].
#[allow(clippy::cast_possible_truncation)] // to f32: rounded
pub fn dequantize(bytes: &AlignedBytes) -> Result<AlignedBytes, DequantizeError> {
    let blob = Blob::new(bytes.as_slice())?;
    let fixed = match blob.weights() {
        Weights::F32(_) => return Ok(bytes.clone()),
        Weights::I16(fixed) | Weights::I8(fixed) => fixed,
    };
    let (experts, stride, format) = (blob.experts(), fixed.scales.len(), fixed.format);
    let exponent = i32::from(format.shift) + 28 - i32::from(format.fraction);
    let scales = fixed.scales.iter().map(|scale| f64::from(u16::from_le_bytes(*scale)) * exp2(-exponent));
    let scales: Vec<f64> = scales.collect();
    // Gate lanes and expert lanes side by side, followed by zeros.
    let lanes = |row: &[f64]| -> Vec<u8> {
        let (gate, own) = row.split_at(stride / 2);
        let live = gate[..experts].iter().chain(&own[..experts]).copied();
        live.chain(std::iter::repeat(0.0)).take(stride).flat_map(|weight| (weight as f32).to_le_bytes()).collect()
    };
    let one = exp2(i32::from(format.fraction));
    let bias = fixed.bias.iter().zip(&scales).map(|(bias, scale)| f64::from(i32::from_le_bytes(*bias)) * scale / one);
    let mut values = lanes(&bias.collect::<Vec<_>>());
    let width = usize::from(format.bits / 8);
    let mut rows = fixed.rows.chunks(width * stride);
    for kind in blob.kinds() {
        for (index, row) in rows.by_ref().take(kind.rows() as usize).enumerate() {
            let range = full_range(kind).filter(|_| index == 0);
            let divisor = range.map_or(1.0, |range| if range > 0.0 { range } else { f64::INFINITY });
            let weights = row.chunks(width).zip(&scales).map(|(bytes, scale)| {
                let weight = match *bytes {
                    [low, high] => f64::from(i16::from_le_bytes([low, high])),
                    [byte] => f64::from(byte.cast_signed()),
                    _ => 0.0,
                };
                weight * scale / divisor
            });
            values.extend(lanes(&weights.collect::<Vec<_>>()));
        }
    }
    let mut edges = fixed.edges.iter();
    for kind in blob.kinds() {
        let bits = Number::new(kind, format.fraction).map_or(0, |number| number.fraction_bits());
        let mut last = f32::NEG_INFINITY;
        for edge in edges.by_ref().take(kind.edges() as usize) {
            let edge = (f64::from(i32::from_le_bytes(*edge)) * exp2(-i32::from(bits))) as f32;
            // Edges that are equal as integers or as f32 are kept distinct.
            last = if edge > last { edge } else { last.next_up() };
            values.extend(last.to_le_bytes());
        }
    }
    let sections = Sections::of(bytes.as_slice())?;
    let kept = sections.sections.iter().filter(|(flag, _)| *flag != FLAG_INTEGER);
    let kept: Vec<_> = kept.map(|(flag, section)| (*flag, section.to_vec())).collect();
    Ok(assemble(sections.head.to_vec(), &kept, &values)?)
}
