//! Thresholds per group at export: each group's shift is added to the weights of its level, so the
//! model needs nothing else for it.

use ndarray::Array2;

use crate::encoder::{Encoder, Kind};
use crate::error::Error;
use crate::learner::{FairBy, Learner};
use crate::rows::Attribute;
use crate::schema::Schema;

/// Checks that thresholds can hold the targets: this needs exactly one protected column, which is a
/// feature, so that the model knows the group.
pub(super) fn check(schema: &Schema, fair_by: FairBy, is_feature: impl Fn(&str) -> bool) -> Result<(), Error> {
    let fault = |what: String| {
        Err(Error::Input(format!("thresholds for each group need one protected column that is a feature; {what}")))
    };
    match (fair_by, schema.protected.as_slice()) {
        (FairBy::Score, _) => Ok(()),
        (_, _) if !schema.intersection.is_empty() => fault("the schema has intersections; leave them out".into()),
        (_, [only]) if !only.is_plain() => {
            fault(format!("the groups of {:?} come from numbers or from several columns", only.column))
        }
        (_, [only]) if schema.features.monotone.contains_key(&only.column) => {
            fault(format!("features.monotone names {:?}, but the threshold changes with it", only.column))
        }
        (_, [only]) if is_feature(&only.column) => Ok(()),
        (_, [only]) => fault(format!(
            "column {:?} is not a feature; set as_feature = true, and list it under features.only if that list is used",
            only.column
        )),
        (_, others) => fault(format!("the schema has {} protected columns", others.len())),
    }
}

/// Returns the weight rows of the exported weights with the shifts added; `None` if there are no
/// shifts.
///
/// # Errors
/// [`Error::Input`] if a shifted group has no weights of its own: a number, or a level beyond those
/// that the schema keeps.
pub(super) fn folded(
    learner: &Learner,
    encoder: &Encoder,
    attribute: Option<&Attribute>,
) -> Result<Option<Array2<f32>>, Error> {
    let (Some(attribute), true) = (attribute, learner.shifts().iter().any(|shift| *shift != 0.0)) else {
        return Ok(None);
    };
    let fault =
        |help: &str| Error::Input(format!("column {:?} has a threshold for each group; {help}", attribute.column()));
    let weights = learner.weights();
    let mut rows = weights.rows.to_owned();
    let feature = encoder.features().iter().find(|feature| feature.name() == attribute.column());
    let Some(Kind::Category(category)) = feature.map(|feature| feature.kind()) else {
        return Err(fault("list it under features.categorical"));
    };
    for (group, value) in attribute.values() {
        let Some(shift) = learner.shifts().get(usize::from(group)).filter(|shift| **shift != 0.0) else { continue };
        let level = category.levels().find(|(level, _)| *level == value).map(|(_, row)| row);
        let Some(row) = level.filter(|row| encoder.learned_row(category, *row) == *row) else {
            // A privileged value that does not occur in the rows.
            if group == 0 {
                continue;
            }
            return Err(fault("raise features.max_levels, so that every group has weights of its own"));
        };
        let lanes = weights.experts..2 * weights.experts;
        for lane in lanes {
            if let Some(weight) = rows.get_mut([row as usize, lane]) {
                *weight += shift;
            }
        }
    }
    Ok(Some(rows))
}
