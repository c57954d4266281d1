//! The calibration section: the numbers with which [`crate::calibration`] turns a score into a
//! probability.
//!
//! ```text
//! slope f32, bias f32, then an f32 for each weight row except the bias row
//! ```
//!
//! All are at most [`MOST`] in magnitude.

use crate::error::LoadErrorKind;

/// Largest magnitude of a number of the section.
pub const MOST: f32 = 1e6;

/// The calibration section of a checked blob, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calibration<'a> {
    numbers: &'a [[u8; 4]],
}

impl<'a> Calibration<'a> {
    /// Checks the section of a blob with this number of weight rows.
    pub fn check(section: &'a [u8], rows: usize) -> Result<Self, LoadErrorKind> {
        let (numbers, rest) = section.as_chunks::<4>();
        if numbers.len() != rows.wrapping_add(2) || !rest.is_empty() {
            return Err(LoadErrorKind::Malformed);
        }
        // The comparison is false for NaN.
        let fits = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes).abs() <= MOST;
        if numbers.iter().all(fits) { Ok(Self { numbers }) } else { Err(LoadErrorKind::InvalidCalibration) }
    }

    /// Returns slope, bias and rows; `None` if there is no section.
    #[inline]
    pub fn parts(&self) -> Option<(f32, f32, &'a [[u8; 4]])> {
        let ([slope, bias], rows) = self.numbers.split_first_chunk()?;
        Some((f32::from_le_bytes(*slope), f32::from_le_bytes(*bias), rows))
    }

    /// Returns whether a weight row contributes to the calibrated probability.
    pub fn sees(&self, row: u32) -> bool {
        let row = self.parts().and_then(|(_, _, rows)| rows.get(row as usize));
        row.is_some_and(|row| f32::from_le_bytes(*row) != 0.0)
    }
}
