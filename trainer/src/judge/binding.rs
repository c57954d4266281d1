//! Rows of a CSV file as records of a model: columns bound to features once, levels looked up by
//! hash.

use std::collections::HashMap;

use feamoe_engine::schema::Kind;
use feamoe_engine::{FeatureIndex, RecordError, Schema};
use feamoe_engine::{Value, format::background::MISSING_NUMBER};

use crate::error::Error;
use crate::model::{Fill, HostModel};
use crate::rows::{Cell, Record, parse};

/// Where the features of a model are found in a file.
#[derive(Clone, Debug)]
pub struct Binding {
    features: Vec<BoundFeature>,
}

#[derive(Clone, Debug)]
struct BoundFeature {
    name: String,
    column: usize,
    /// Codes by level name; `None` for a number.
    levels: Option<HashMap<Vec<u8>, u16>>,
    /// The names, in the order of their codes.
    names: Vec<String>,
}

impl BoundFeature {
    #[inline]
    fn value(&self, row: &Record<'_>) -> Result<Value, Error> {
        let cell = row.cell(self.column);
        Ok(match (cell, &self.levels) {
            (Cell::Missing, _) => Value::Missing,
            (_, Some(levels)) => {
                let level = cell.text().and_then(|level| levels.get(&*level).copied());
                level.map_or(Value::Unseen, Value::Level)
            }
            (_, None) => Value::Number(number(row, &self.name, cell)?),
        })
    }
}

impl Binding {
    /// Finds every feature of the model; `column` finds a column by name.
    ///
    /// # Errors
    /// Those of `column` ([`Error::MissingColumn`]), [`Error::NamesStripped`] for a blob without
    /// names.
    pub fn new(model: &HostModel<'_>, column: impl Fn(&str) -> Result<usize, Error>) -> Result<Self, Error> {
        Self::of(model.schema(), column)
    }

    /// As [`Binding::new`], for the features of a model of any weights.
    ///
    /// # Errors
    /// As [`Binding::new`].
    pub fn of(schema: Schema<'_>, column: impl Fn(&str) -> Result<usize, Error>) -> Result<Self, Error> {
        let features = schema.features().iter().enumerate().map(|(index, feature)| {
            let name = schema.feature_name(index).ok_or(Error::NamesStripped)?;
            let (mut levels, mut names) = (None, Vec::new());
            if let Kind::Category { .. } = feature.kind() {
                levels = Some((0..).zip(schema.level_names(index)).map(|(code, name)| (name.into(), code)).collect());
                names = schema.level_names(index).map(str::to_owned).collect();
            }
            let column = column(name)?;
            Ok(BoundFeature { name: name.to_owned(), column, levels, names })
        });
        Ok(Self { features: features.collect::<Result<_, Error>>()? })
    }

    /// Returns the columns of all features.
    #[must_use]
    pub fn columns(&self) -> Vec<usize> {
        self.features.iter().map(|feature| feature.column).collect()
    }

    /// Returns the column of a feature.
    #[must_use]
    pub fn column(&self, feature: usize) -> Option<usize> {
        self.features.get(feature).map(|feature| feature.column)
    }

    /// Returns the names of a feature's levels, in the order of their codes; none of a number.
    #[must_use]
    pub fn levels(&self, feature: usize) -> &[String] {
        self.features.get(feature).map_or(&[], |feature| &feature.names)
    }

    /// Returns the feature of a name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }

    /// Sets every value of `record` from a row.
    ///
    /// # Errors
    /// [`Error::NotANumber`] for text in a numeric feature's column.
    pub fn fill(&self, row: &Record<'_>, record: &mut impl Fill) -> Result<(), Error> {
        (0..self.features.len()).try_for_each(|feature| self.set(feature, row, record))
    }

    /// Sets the value of one feature of `record` from a row.
    ///
    /// # Errors
    /// As [`Binding::fill`].
    pub fn set(&self, feature: usize, row: &Record<'_>, record: &mut impl Fill) -> Result<(), Error> {
        let Some(bound) = self.features.get(feature) else { return Ok(()) };
        let set = record.fill(FeatureIndex(feature), bound.value(row)?);
        set.map(|_| ()).map_err(|error: RecordError| Error::Record { feature: bound.name.clone(), error })
    }

    /// Returns every value of a row.
    ///
    /// # Errors
    /// As [`Binding::fill`].
    pub fn values(&self, row: &Record<'_>) -> Result<Vec<Value>, Error> {
        self.features.iter().map(|feature| feature.value(row)).collect()
    }

    /// Adds every value of a row to `values`, as [`feamoe_engine::format::background`] draws a
    /// record.
    ///
    /// # Errors
    /// As [`Binding::fill`].
    pub fn write_background(&self, row: &Record<'_>, values: &mut Vec<u8>) -> Result<(), Error> {
        for feature in &self.features {
            // At most `MAX_LEVELS`: the two codes past them fit.
            let unseen = feature.levels.as_ref().map(|levels| u16::try_from(levels.len()).unwrap_or(u16::MAX - 1));
            match (feature.value(row)?, unseen) {
                (Value::Number(number), _) if !number.is_nan() => {
                    // Infinities have no place in a blob; a record clamps them as it does the
                    // largest numbers.
                    values.extend(number.clamp(f32::MIN, f32::MAX).to_le_bytes());
                }
                (_, None) => values.extend(MISSING_NUMBER.to_le_bytes()),
                (Value::Level(code), Some(_)) => values.extend(code.to_le_bytes()),
                (Value::Unseen, Some(unseen)) => values.extend(unseen.to_le_bytes()),
                (_, Some(unseen)) => values.extend((unseen + 1).to_le_bytes()),
            }
        }
        Ok(())
    }

    /// Sets one feature of `record` to a value, unless it is a level that the model does not know,
    /// or no number where one is needed.
    #[must_use]
    pub fn set_if_known(&self, feature: usize, value: &[u8], record: &mut impl Fill) -> bool {
        let value = match self.features.get(feature).map(|feature| &feature.levels) {
            Some(Some(levels)) => levels.get(value).map(|code| Value::Level(*code)),
            #[allow(clippy::cast_possible_truncation)]
            Some(None) => parse(value).map(|x| Value::Number(x as f32)),
            None => None,
        };
        value.is_some_and(|value| record.fill(FeatureIndex(feature), value).is_ok())
    }
}

#[allow(clippy::cast_possible_truncation)] // the nearest f32
fn number(row: &Record<'_>, column: &str, cell: Cell<'_>) -> Result<f32, Error> {
    cell.number().map(|x| x as f32).ok_or_else(|| {
        let help =
            "the model takes this column as a number; correct the cell, or leave it empty where the value is not known";
        row.not_a_number(column, cell, help)
    })
}
