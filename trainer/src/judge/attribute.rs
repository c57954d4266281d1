//! The rows of each protected attribute, with and without a group.

use serde::Serialize;

use super::individual::IndividualUnfairness;
use crate::rows::{Attribute, MOST_SEEN, Seen, resembling};
use crate::schema::Target;

/// The rows of one protected attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct AttributeReport {
    /// The protected column, or the columns of an intersection.
    pub attribute: String,
    /// The groups, the reference first.
    pub groups: Vec<String>,
    /// The groups without rows.
    pub absent_groups: Vec<String>,
    /// Number of rows with a group.
    pub rows: u64,
    /// Number of rows in no group. Measures by group do not count them.
    pub without_group: u64,
    /// The first distinct values of the rows in no group, at most 10; empty for an intersection.
    pub values_without_group: Vec<UnlistedValue>,
    /// Whether the column is a feature, and the share of records whose decision changes if only
    /// this column is changed; absent for an intersection and in the report of a training run.
    #[serde(flatten)]
    pub individual: Option<IndividualUnfairness>,
}

/// A value of a protected column that is in no group, or a label that is neither outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct UnlistedValue {
    /// The value; null if it is missing.
    pub value: Option<String>,
    /// Number of rows with this value.
    pub rows: u64,
    /// The listed value from which it differs only in case, blanks, Unicode form or number format;
    /// null if there is none.
    pub resembles: Option<String>,
}

impl AttributeReport {
    /// Creates the report on an attribute from its counts.
    #[must_use]
    pub fn new(attribute: &Attribute, individual: Option<IndividualUnfairness>) -> Self {
        let without = attribute.without_group();
        let listed: Vec<&str> = attribute.values().map(|(_, value)| value).collect();
        let values = if attribute.is_intersection() { Vec::new() } else { unlisted(without, &listed) };
        let groups = attribute.groups();
        let absent = groups.iter().zip(attribute.rows()).filter(|(_, rows)| **rows == 0);
        Self {
            attribute: attribute.column().to_owned(),
            groups: groups.to_vec(),
            absent_groups: absent.map(|(group, _)| group.clone()).collect(),
            rows: attribute.rows().iter().sum(),
            without_group: without.rows(),
            values_without_group: values,
            individual,
        }
    }

    /// Returns the report without the rows that have no value.
    #[must_use]
    pub(crate) fn known(mut self) -> Self {
        self.without_group -= drop_missing(&mut self.values_without_group);
        self
    }
}

/// Removes the rows without a value and returns their number.
fn drop_missing(values: &mut Vec<UnlistedValue>) -> u64 {
    let missing = values.iter().filter(|value| value.value.is_none()).map(|value| value.rows).sum();
    values.retain(|value| value.value.is_some());
    missing
}

/// Returns the first distinct values among those seen, missing values first.
pub(crate) fn unlisted(seen: &Seen, listed: &[&str]) -> Vec<UnlistedValue> {
    let mut values: Vec<UnlistedValue> = Vec::new();
    if seen.missing() > 0 {
        values.push(UnlistedValue { value: None, rows: seen.missing(), resembles: None });
    }
    values.extend(seen.values().map(|(value, rows)| {
        let resembles = resembling(&value, listed.iter().copied()).map(str::to_owned);
        UnlistedValue { value: Some(value), rows, resembles }
    }));
    values.truncate(MOST_SEEN);
    values
}

/// Rows that were left out because their label is neither outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct OtherLabels {
    /// Number of rows.
    pub rows: u64,
    /// The first distinct labels, at most 10.
    pub values: Vec<UnlistedValue>,
}

impl OtherLabels {
    /// Creates the report on the labels seen that the target does not list.
    #[must_use]
    pub fn new(seen: &Seen, target: &Target) -> Self {
        let listed: Vec<&str> = target.positive.iter().chain(&target.negative).map(String::as_str).collect();
        Self { rows: seen.rows(), values: unlisted(seen, &listed) }
    }
    /// Returns the report without the rows that have no label.
    #[must_use]
    pub(crate) fn known(mut self) -> Self {
        self.rows -= drop_missing(&mut self.values);
        self
    }
}
