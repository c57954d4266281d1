//! How much each record counts in the loss: its sample weight relative to the mean and, with
//! balanced labels, the weight of its label.
//!
//! ```text
//! importance = clamp(w / mean of w so far, SMALLEST, LARGEST) * c_y   w: the sample weight
//! c_y = min(n / (2 n_y), LARGEST_OF_LABEL)    n_y: faded number of records of label y
//! ```
//!
//! An AdaGrad step on a record of importance i should be `i d / sqrt(S + i d^2)`, where S is the
//! sum of squares so far: the step of i records with the same gradient d. So the gradient of the
//! loss on the outcome is multiplied by the square root of i, and the step size by the square root
//! of i again. A record of weight 2 among records of weight 1 then counts as two of them.
//! (Multiplying the gradient by i makes one heavy record add `i^2 d^2` to S. With the favourable
//! outcome in 1 % of the records, balanced labels then gave a balanced accuracy of 0.70, against
//! 0.80 at the best threshold.)
//!
//! Only ratios of weights matter. AdaGrad divides each step by the gradients so far, so a factor
//! shared by all records would cancel in part and change the step size for the rest. The mean
//! covers all records of the stream so far, the current one included, so it depends only on their
//! order.
//!
//! *Limit:* the largest step grows with the square root of i. A record counts as at most `LARGEST`
//! mean records, which makes its step ten times the usual one, and as at least `SMALLEST`.
//!
//! `c_y` is the class weight `balanced` of scikit-learn (King and Zeng 2001), computed from the
//! records so far instead of all records: each label gets half of the total weight. The numbers
//! start at `PRIOR` for each label, so that the first records of a rare label do not outweigh all
//! others. They fade over `FADING` records, so that they follow a base rate that drifts. Sample
//! weights do not enter them.

use crate::tuned::{Tuned, tuned};
use serde::{Deserialize, Serialize};

use super::options::ClassWeight;

/// The largest number of mean records that one record counts as.
const LARGEST: f64 = 100.0;
/// The smallest importance. It is well above 0 because forces are divided by its square root.
const SMALLEST: f64 = 1e-6;
/// Starting number of records of each label. The first record of a label with a share of 1 % then
/// counts as at most 10 others, not as 50.
static PRIOR: Tuned<f64> = tuned!(50.0);
/// Records over which the counts per label fade. A label with a share of 0.1 % still has 100
/// records in its count.
static FADING: Tuned<f64> = tuned!(100_000.0);
/// Largest weight of a label, reached at a share of 0.05 %. A rarer label gets less than half of
/// the total weight.
const LARGEST_OF_LABEL: f64 = 1000.0;

/// The running mean of the sample weights, and the counts of the labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Importance {
    records: u64,
    mean: f64,
    /// Faded number of records of each label; `None` if labels are not balanced.
    labels: Option<[f64; 2]>,
}

impl Importance {
    pub(super) fn new(class_weight: ClassWeight) -> Self {
        let labels = (class_weight == ClassWeight::Balanced).then_some([PRIOR.get(); 2]);
        Self { records: 0, mean: 0.0, labels }
    }

    /// Returns whether the learner learns from a record of this sample weight.
    pub(super) fn teaches(weight: f64) -> bool {
        weight > 0.0 && weight.is_finite()
    }

    /// Counts a record. Returns its importance, which is exactly 1 if all weights are equal and
    /// labels are not balanced.
    #[allow(clippy::cast_precision_loss)] // a count
    pub(super) fn observe(&mut self, weight: f64, label: bool) -> f32 {
        self.records += 1;
        self.mean += (weight - self.mean) / self.records as f64;
        let importance = self.of(weight);
        self.labels.as_mut().map_or(importance, |labels| importance * balance(labels, label))
    }

    /// Returns the importance of a record without counting it, and without the weight of its label.
    #[allow(clippy::cast_possible_truncation)] // as precise as a gradient
    pub(super) fn of(&self, weight: f64) -> f32 {
        if self.records == 0 { 1.0 } else { (weight / self.mean).clamp(SMALLEST, LARGEST) as f32 }
    }

    /// Returns the mean of the sample weights; 1 if there are no records.
    pub(super) fn mean(&self) -> f64 {
        if self.records == 0 { 1.0 } else { self.mean }
    }

    /// Returns the state after all records of several parts.
    #[allow(clippy::cast_precision_loss)] // counts
    pub(super) fn merge(parts: &[&Self]) -> Option<Self> {
        let mut merged = (*parts.first()?).clone();
        merged.records = parts.iter().map(|part| part.records).fold(0, u64::saturating_add);
        merged.mean = parts.iter().map(|part| part.records as f64 / merged.records.max(1) as f64 * part.mean).sum();
        if let Some(labels) = &mut merged.labels {
            for (label, number) in labels.iter_mut().enumerate() {
                let known = parts.iter().filter_map(|part| Some(part.labels?[label] - PRIOR.get()));
                *number = (known.sum::<f64>() + PRIOR.get()).max(0.0);
            }
        }
        Some(merged)
    }

    /// Returns whether a deserialised state is valid.
    pub(super) fn is_sound(&self, class_weight: ClassWeight) -> bool {
        let is_number = |number: &f64| number.is_finite() && *number >= 0.0;
        self.labels.is_some() == (class_weight == ClassWeight::Balanced)
            && self.labels.iter().flatten().all(is_number)
            && if self.records == 0 { self.mean == 0.0 } else { Self::teaches(self.mean) }
    }
}

/// Returns the square root of an importance, exactly 1 for 1. Both the gradient and the step size
/// of the record are multiplied by it, so that their product is the importance.
pub(super) fn factor(importance: f32) -> f32 {
    importance.sqrt()
}

/// Counts a record of a label. Returns the label's weight.
#[allow(clippy::cast_possible_truncation)] // as precise as a gradient
fn balance(labels: &mut [f64; 2], label: bool) -> f32 {
    let [negatives, positives] = labels.map(|number| number * (1.0 - 1.0 / FADING.get()));
    *labels = if label { [negatives, positives + 1.0] } else { [negatives + 1.0, positives] };
    let own = if label { positives } else { negatives } + 1.0;
    ((negatives + positives + 1.0) / (2.0 * own)).min(LARGEST_OF_LABEL) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const EQUAL: ClassWeight = ClassWeight::Equal;

    #[test]
    fn only_ratios_count_and_equal_weights_are_exactly_1() {
        for scale in [f64::MIN_POSITIVE, 0.1, 1.0, 226_802.0, 1e300] {
            let mut importance = Importance::new(EQUAL);
            for _ in 0..10_000 {
                assert_eq!(importance.observe(scale, true).to_bits(), 1.0_f32.to_bits());
            }
        }
        let run = |scale: f64| {
            let mut importance = Importance::new(EQUAL);
            (1..=1_000_u32).map(|i| importance.observe(scale * f64::from(i % 3 + 1), true)).collect::<Vec<_>>()
        };
        assert_eq!(run(1.0), run(1024.0));
        // The weights 1, 2, 3 have the mean 2.
        assert!((run(1.0)[998] - 0.5).abs() < 1e-3, "{}", run(1.0)[998]);
    }

    #[test]
    fn no_weight_is_too_large_or_too_small() {
        let mut importance = Importance::new(EQUAL);
        let found = [1.0, f64::MAX, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0].map(|w| importance.observe(w, false));
        assert!(found.iter().all(|found| (0.0..=100.0).contains(found)), "{found:?}");
        assert!(importance.is_sound(EQUAL) && !importance.is_sound(ClassWeight::Balanced));
        let mut importance = Importance::new(EQUAL);
        (0..100_000).for_each(|_| _ = importance.observe(1.0, false));
        assert_eq!(importance.observe(1e9, false), 100.0_f32.min(importance.of(1e9)));
        assert!([f64::NAN, f64::INFINITY, 0.0, -1.0].iter().all(|weight| !Importance::teaches(*weight)));
    }

    /// A label with a share of 1 %: each label gets half of the total weight, the weight never far
    /// exceeds its final value, and it follows when the labels change places.
    #[test]
    fn balanced_labels_share_the_weight() {
        let mut importance = Importance::new(ClassWeight::Balanced);
        let mut run = |rare: bool, records: u32| {
            let mut sums = [0.0_f32; 2];
            let mut largest = 0.0_f32;
            for i in 1..=records {
                let label = (i % 100 == 0) == rare;
                let weight = importance.observe(1.0, label);
                largest = largest.max(weight);
                // The last tenth.
                if i > records - records / 10 {
                    sums[usize::from(label)] += weight;
                }
            }
            (sums[1] / (sums[0] + sums[1]), largest)
        };
        let (share, largest) = run(true, 100);
        assert!(share < 0.3 && largest < 2.0, "{share} {largest}");
        let (share, largest) = run(true, 200_000);
        assert!((share - 0.5).abs() < 0.02 && largest < 50.0, "{share} {largest}");
        let (share, _) = run(false, 1_200_000);
        assert!((share - 0.5).abs() < 0.02, "{share}");
        // A label that never occurred.
        (0..3_000_000).for_each(|_| _ = importance.observe(1.0, false));
        assert_eq!(importance.observe(1.0, true), 1000.0);
        assert!(importance.is_sound(ClassWeight::Balanced));
    }
}
