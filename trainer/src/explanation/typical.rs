//! The typical value of a feature: the median number or the most frequent level among the model's
//! background records.

use std::collections::BTreeMap;

use feamoe_engine::Value;

use crate::model::AnyModel;

/// Returns the typical value of every feature; `None` if no background record has one.
pub(super) fn typical(model: AnyModel<'_>) -> Vec<Option<String>> {
    let schema = model.schema();
    let feature = |feature: usize| {
        let (mut numbers, mut levels) = (Vec::new(), BTreeMap::<u16, u32>::new());
        for value in model.background_values(feature) {
            match value {
                Value::Number(number) => numbers.push(number),
                Value::Level(level) => *levels.entry(level).or_default() += 1,
                Value::Unseen | Value::Missing => {}
            }
        }
        numbers.sort_unstable_by(f32::total_cmp);
        // The lower of the two middle numbers, because it occurs in the data.
        if let Some(median) = numbers.get(numbers.len().saturating_sub(1) / 2) {
            return Some(median.to_string());
        }
        // Of equally frequent levels the first.
        let (level, _) = levels.into_iter().max_by_key(|(level, rows)| (*rows, u16::MAX - level))?;
        schema.level_names(feature).nth(level.into()).map(str::to_owned)
    };
    (0..schema.features().len()).map(feature).collect()
}
