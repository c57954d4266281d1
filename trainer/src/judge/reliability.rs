//! The quality of probabilities: log-loss, and calibration by bins.

use serde::{Deserialize, Serialize};

use super::tally::Sum;

/// Number of bins of the calibration error, of equal width.
pub const CALIBRATION_BINS: usize = 10;
/// Log-loss keeps probabilities at least this far from 0 and 1, half the spacing of f32 below 1.
/// Otherwise a single certain and wrong score would make it infinite.
const SMALLEST_PROBABILITY: f64 = 3e-8;

/// Returns the negative log-likelihood (in nats) of a label under a score; always finite.
#[must_use]
pub fn log_loss(label: bool, probability: f32) -> f64 {
    let p = f64::from(if label { probability } else { 1.0 - probability });
    -libm::log(p.max(SMALLEST_PROBABILITY))
}

/// Returns the bin of a probability (counted from 0).
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub fn calibration_bin(probability: f32) -> usize {
    ((probability * CALIBRATION_BINS as f32) as usize).min(CALIBRATION_BINS - 1)
}

/// Probabilities and outcomes by bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reliability([Bin; CALIBRATION_BINS]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bin {
    rows: u64,
    positives: u64,
    probabilities: Sum,
}

/// The records whose probability is in the same tenth of [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct ReliabilityBin {
    /// Number of records.
    pub rows: u64,
    /// Number of records with the favourable outcome.
    pub positives: u64,
    /// Mean probability of the records.
    pub probability: f64,
}

impl Reliability {
    /// Adds a record.
    pub fn observe(&mut self, label: bool, probability: f32) {
        if let Some(bin) = self.0.get_mut(calibration_bin(probability)) {
            bin.rows += 1;
            bin.positives += u64::from(label);
            bin.probabilities.add(f64::from(probability));
        }
    }

    /// Adds the records of another one.
    pub fn merge(&mut self, other: &Self) {
        for (bin, other) in self.0.iter_mut().zip(&other.0) {
            bin.rows = bin.rows.saturating_add(other.rows);
            bin.positives = bin.positives.saturating_add(other.positives);
            bin.probabilities.merge(other.probabilities);
        }
    }

    /// Returns the bins that have records.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn bins(&self) -> Vec<ReliabilityBin> {
        let bins = self.0.iter().filter(|bin| bin.rows > 0);
        let mean = |bin: &Bin| ReliabilityBin {
            rows: bin.rows,
            positives: bin.positives,
            probability: bin.probabilities.value() / bin.rows as f64,
        };
        bins.map(mean).collect()
    }

    /// Returns the expected calibration error: the mean over records of the difference between mean
    /// probability and share of favourable outcomes in their bin, in magnitude; NaN without
    /// records.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn error(&self) -> f64 {
        let gap: f64 = self.0.iter().map(|bin| (bin.probabilities.value() - bin.positives as f64).abs()).sum();
        gap / self.0.iter().map(|bin| bin.rows).sum::<u64>() as f64
    }
}
