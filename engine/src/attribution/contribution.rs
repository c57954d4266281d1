//! The contribution of one feature to the log-odds of each expert: the summands of FEAMOE, section
//! 4.

use super::factors::contributions;
use crate::error::ExplainError;
use crate::math::LN_2;
use crate::model::{Model, UNWRITTEN};
use crate::record::Record;
use crate::schema::FeatureIndex;

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Writes the contribution `c_jk` of a feature of a record to the log-odds of each expert, in
    /// natural log-odds.
    ///
    /// The log-odds of an expert are its bias plus the contributions of all features, so a
    /// contribution depends neither on the gate nor on other features. Weight rows are centred on
    /// their mean over the training rows, so 0 is the average contribution there.
    ///
    /// # Shapes
    /// `values` gets one number per expert; the rest is unchanged.
    ///
    /// Cost: `2 K` multiply-adds for each of the feature's one or two terms.
    ///
    /// # Errors
    /// [`ExplainError::OtherModel`] for a record that another model created, and for an index
    /// beyond the features. `values` is then unchanged.
    pub fn contributions_into(
        &self,
        record: &Record<'_, FEATURES>,
        feature: FeatureIndex,
        values: &mut [f32],
    ) -> Result<(), ExplainError> {
        let feature = self.layout().features().get(feature.0).filter(|_| self.made(record));
        let feature = feature.ok_or(ExplainError::OtherModel)?;
        let mut lanes = [[UNWRITTEN; EXPERTS]; 2];
        let lanes = self.row_of(lanes.as_flattened_mut());
        contributions(self, feature, record.terms(), lanes);
        let experts = lanes.iter().skip(self.experts()).take(self.experts());
        values.iter_mut().zip(experts).for_each(|(value, lane)| *value = LN_2 * lane);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Sums of a few f32.
    const TOLERANCE: f32 = 1e-5;

    /// The frozen game averages contributions by the gate.
    #[test]
    fn averaged_by_the_gate_contributions_are_the_frozen_values() {
        let model: Model<6, 4> = crate::golden();
        let mut record = model.record();
        _ = record.set_number("age", 61.0).unwrap();
        _ = record.set_number("hours-per-week", 12.0).unwrap();
        _ = record.set_category("occupation", "Sales").unwrap();
        let mut attribution = crate::Attribution::<6, 4>::new();
        model.frozen_into(&record, &mut attribution).unwrap();
        for (feature, value) in attribution.values.into_iter().enumerate().take(4) {
            let mut of_experts = [0.0; 4];
            model.contributions_into(&record, FeatureIndex(feature), &mut of_experts).unwrap();
            let gate = attribution.score.gate.iter();
            let averaged: f32 = gate.zip(of_experts).map(|(gate, value)| gate * value).sum();
            assert!((averaged - value).abs() < TOLERANCE, "{feature}: {averaged} is not {value}");
        }
    }

    #[test]
    fn a_record_or_feature_of_another_model_is_an_error() {
        let (model, other): (Model<6, 4>, Model<6, 4>) = (crate::golden(), crate::golden());
        let mut values = [7.0; 4];
        for (record, feature) in [(other.record(), 0), (model.record(), 4), (model.record(), usize::MAX)] {
            let found = model.contributions_into(&record, FeatureIndex(feature), &mut values);
            assert_eq!((found, values), (Err(ExplainError::OtherModel), [7.0; 4]));
        }
    }
}
