//! The area under the ROC curve of scores, computed from a histogram.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Steps of the histogram: scores closer than 1e-6 count as ties.
const STEPS: usize = 1 << 20;

/// The number of records by score: for each step, those with the unfavourable and those with the
/// favourable outcome. Takes 16 MiB; only steps with records are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreHistogram(Vec<[u64; 2]>);

impl Default for ScoreHistogram {
    fn default() -> Self {
        Self(vec![[0; 2]; STEPS + 1])
    }
}

impl ScoreHistogram {
    /// Counts a record.
    pub fn observe(&mut self, label: bool, probability: f32) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let step = (probability * STEPS as f32) as usize;
        if let Some(cell) = self.0.get_mut(step.min(STEPS)).and_then(|step| step.get_mut(usize::from(label))) {
            *cell += 1;
        }
    }

    /// Adds the records of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (step, other) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *step = step.saturating_add(*other);
        }
    }

    /// Returns the area under the ROC curve by the rank sum, where ties count half; NaN if one of
    /// the labels does not occur.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn auc(&self) -> f64 {
        let (mut below, mut ordered) = (0.0_f64, 0.0_f64);
        let (mut negatives, mut positives) = (0_u64, 0_u64);
        for [negative, positive] in &self.0 {
            ordered += *positive as f64 * (below + 0.5 * *negative as f64);
            below += *negative as f64;
            negatives += negative;
            positives += positive;
        }
        ordered / (negatives as f64 * positives as f64)
    }
}

impl Serialize for ScoreHistogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let steps = (0_u32..).zip(&self.0).filter(|(_, records)| **records != [0; 2]);
        steps.collect::<Vec<(u32, &[u64; 2])>>().serialize(to)
    }
}

impl<'de> Deserialize<'de> for ScoreHistogram {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut histogram = Self::default();
        for (step, records) in Vec::<(u32, [u64; 2])>::deserialize(from)? {
            let place = usize::try_from(step).ok().and_then(|step| histogram.0.get_mut(step));
            *place.ok_or_else(|| de::Error::custom("a score past 1"))? = records;
        }
        Ok(histogram)
    }
}
