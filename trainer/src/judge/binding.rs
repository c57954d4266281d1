//! Rows of a table as records of a model: columns are bound to features once, and levels are looked
//! up by hash.

use std::sync::{Arc, Mutex};

use feamoe_engine::schema::Kind;
use feamoe_engine::{FeatureIndex, RecordError, Schema, Value, format::background::MISSING_NUMBER};

use crate::error::Error;
use crate::model::{FEATURES, Fill, HostModel};
use crate::rows::{self, BadCells, Cell, Levels, Record, Seen};

/// The columns of a model's features in a table.
#[derive(Clone, Debug)]
pub struct Binding {
    features: Vec<BoundFeature>,
    bad_cells: BadCells,
}

#[derive(Clone, Debug)]
struct BoundFeature {
    name: String,
    column: usize,
    /// `None` for a number.
    levels: Option<Levels>,
    /// The cells so far that are not numbers although a number is needed.
    bad: Arc<Mutex<Seen>>,
}

impl BoundFeature {
    #[inline]
    fn value(&self, row: &Record<'_>, bad_cells: BadCells) -> Result<Value, Error> {
        let cell = row.cell(self.column);
        rows::value(cell, self.levels.as_ref()).map_or_else(|| self.bad_cell(row, cell, bad_cells), Ok)
    }

    #[cold]
    fn bad_cell(&self, row: &Record<'_>, cell: Cell<'_>, bad_cells: BadCells) -> Result<Value, Error> {
        if bad_cells == BadCells::Error {
            return Err(unexpected_text(row, &self.name, cell));
        }
        if let Ok(mut bad) = self.bad.lock() {
            bad.note(&cell.text().unwrap_or_default());
        }
        Ok(Value::Missing)
    }
}

impl Binding {
    /// Finds every feature of the model; `column` finds a column by name.
    ///
    /// # Errors
    /// The errors of `column` ([`Error::MissingColumn`]), and [`Error::NamesStripped`] for a blob
    /// without names.
    pub fn new(model: &HostModel<'_>, column: impl Fn(&str) -> Result<usize, Error>) -> Result<Self, Error> {
        Self::of(model.schema(), column)
    }

    /// Like [`Binding::new`], for a model with any kind of weights.
    ///
    /// # Errors
    /// The same as [`Binding::new`].
    pub fn of(schema: Schema<'_>, column: impl Fn(&str) -> Result<usize, Error>) -> Result<Self, Error> {
        let features = schema.features().iter().enumerate().map(|(index, feature)| {
            let name = schema.feature_name(index).ok_or(Error::NamesStripped)?;
            let is_category = matches!(feature.kind(), Kind::Category { .. });
            let levels = is_category.then(|| schema.level_names(index).collect());
            Ok(BoundFeature { name: name.to_owned(), column: column(name)?, levels, bad: Arc::default() })
        });
        Ok(Self { features: features.collect::<Result<_, Error>>()?, bad_cells: BadCells::Error })
    }

    /// Sets how to treat cells that are not numbers although a number is needed; by default they
    /// are errors.
    #[must_use]
    pub fn with_bad_cells(mut self, bad_cells: BadCells) -> Self {
        self.bad_cells = bad_cells;
        self
    }

    /// Returns, per feature, the bad cells so far.
    pub fn bad_cells(&self) -> impl Iterator<Item = Seen> {
        self.features.iter().map(|feature| feature.bad.lock().map(|bad| bad.clone()).unwrap_or_default())
    }

    /// Returns the columns of all features.
    #[must_use]
    pub fn columns(&self) -> Vec<usize> {
        self.features.iter().map(|feature| feature.column).collect()
    }

    /// Returns the features by name, each with its column.
    pub(crate) fn named_columns(&self) -> Vec<(String, usize)> {
        self.features.iter().map(|feature| (feature.name.to_string(), feature.column)).collect()
    }

    /// Returns the column of a feature.
    #[must_use]
    pub fn column(&self, feature: usize) -> Option<usize> {
        self.features.get(feature).map(|feature| feature.column)
    }

    /// Returns the names of a feature's levels, in the order of their codes; empty for a number.
    #[must_use]
    pub fn levels(&self, feature: usize) -> &[String] {
        self.features.get(feature).and_then(|feature| feature.levels.as_ref()).map_or(&[], Levels::names)
    }

    /// Returns the feature with this name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }

    /// Sets every value of `record` from a row.
    ///
    /// # Errors
    /// [`Error::NotANumber`] for text in a numeric feature's column.
    pub fn fill(&self, row: &Record<'_>, record: &mut impl Fill) -> Result<(), Error> {
        let mut values = heapless::Vec::<Value, FEATURES>::new();
        for feature in &self.features {
            // A model that loads on the host has no more features.
            _ = values.push(feature.value(row, self.bad_cells)?);
        }
        record.fill_all(&values).or_else(|_| self.fill_one_by_one(row, record))
    }

    /// Like [`Binding::fill`], which failed, to find the feature that caused the error.
    #[cold]
    fn fill_one_by_one(&self, row: &Record<'_>, record: &mut impl Fill) -> Result<(), Error> {
        (0..self.features.len()).try_for_each(|feature| self.set(feature, row, record))
    }

    /// Sets the value of one feature of `record` from a row.
    ///
    /// # Errors
    /// The same as [`Binding::fill`].
    pub fn set(&self, feature: usize, row: &Record<'_>, record: &mut impl Fill) -> Result<(), Error> {
        let Some(bound) = self.features.get(feature) else { return Ok(()) };
        let set = record.fill(FeatureIndex(feature), bound.value(row, self.bad_cells)?);
        set.map(|_| ()).map_err(|error: RecordError| Error::Record { feature: bound.name.clone(), error })
    }

    /// Returns every value of a row.
    ///
    /// # Errors
    /// The same as [`Binding::fill`].
    pub fn values(&self, row: &Record<'_>) -> Result<Vec<Value>, Error> {
        self.features.iter().map(|feature| feature.value(row, self.bad_cells)).collect()
    }

    /// Adds every value of a row to `values`, in the format of a record in
    /// [`feamoe_engine::format::background`].
    ///
    /// # Errors
    /// The same as [`Binding::fill`].
    pub fn write_background(&self, row: &Record<'_>, values: &mut Vec<u8>) -> Result<(), Error> {
        for feature in &self.features {
            // At most `MAX_LEVELS`, so the two codes after them fit.
            let unseen =
                feature.levels.as_ref().map(|levels| u16::try_from(levels.names().len()).unwrap_or(u16::MAX - 1));
            match (feature.value(row, self.bad_cells)?, unseen) {
                (Value::Number(number), _) if !number.is_nan() => {
                    // A blob cannot contain infinities; a record clamps them like the largest
                    // numbers.
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

    /// Sets one feature of `record` to a value, unless it is an unknown level, or not a number
    /// although one is needed.
    #[must_use]
    pub fn set_if_known(&self, feature: usize, value: &[u8], record: &mut impl Fill) -> bool {
        let bound = self.features.get(feature);
        let value = bound.and_then(|bound| rows::value(Cell::Text(value), bound.levels.as_ref()));
        value.is_some_and(|value| value != Value::Unseen && record.fill(FeatureIndex(feature), value).is_ok())
    }
}

#[cold]
fn unexpected_text(row: &Record<'_>, column: &str, cell: Cell<'_>) -> Error {
    let help = "the column is a number in the model; correct the cell, or leave it empty if the value is not known";
    row.not_a_number(column, cell, help)
}
