//! Checks the column of sample weights: it must not be a feature, nor be needed for anything else.

use std::borrow::Cow;

use crate::encoder::feature_columns;
use crate::error::Error;
use crate::rows::column;
use crate::schema::Schema;

/// Returns the schema of a run with a column of sample weights: the same schema, with that column
/// left out of the features.
///
/// # Errors
/// [`Error::Input`] if the schema needs the column for something else.
pub(super) fn without_weight<'s>(schema: &'s Schema, weight: Option<&str>) -> Result<Cow<'s, Schema>, Error> {
    let Some(weight) = weight else { return Ok(Cow::Borrowed(schema)) };
    let features = &schema.features;
    let used = if schema.target.column == weight {
        Some("target.column".to_owned())
    } else if schema.protected.iter().any(|protected| protected.columns().any(|column| column == weight)) {
        Some("a [[protected]] table".to_owned())
    } else {
        let key = features.columns().find(|(key, name)| *key != "drop" && *name == weight);
        key.map(|(key, _)| format!("features.{key}"))
    };
    if let Some(used) = used {
        return Err(Error::Input(format!(
            "column {weight:?} holds the sample weights, but {used} names it too; the weights need a column of their own"
        )));
    }
    if !features.only.is_empty() || features.drop.iter().any(|name| name == weight) {
        return Ok(Cow::Borrowed(schema));
    }
    let mut schema = schema.clone();
    schema.features.drop.push(weight.to_owned());
    Ok(Cow::Owned(schema))
}

/// Checks that one of the columns of a run can hold the sample weights of its newer rows.
///
/// # Errors
/// [`Error::MissingColumn`]; [`Error::Input`] for a feature, or as in [`without_weight`].
pub(super) fn check_newer(schema: &Schema, columns: &[String], weight: &str) -> Result<(), Error> {
    without_weight(schema, Some(weight))?;
    let index = column(columns, "the run so far", weight, "weighing the rows")?;
    if feature_columns(columns, "the run so far", schema)?.contains(&index) {
        return Err(Error::Input(format!(
            "column {weight:?} is a feature of the run so far, so it cannot hold the sample weights; train again with it as weights"
        )));
    }
    Ok(())
}
