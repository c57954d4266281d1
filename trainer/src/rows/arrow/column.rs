//! One column of a record batch, as cells: numbers, or levels of a dictionary whose values are each
//! examined once.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;

use crate::rows::number::parse;
use crate::rows::record::Cell;
use crate::rows::rules::ColumnRules;

/// Key of a null value.
const NULL: u32 = u32::MAX;

/// Whole numbers up to this magnitude are exact as f64.
const MOST_EXACT: i64 = 1 << 53;

/// The cells of a column. The memory is reused from batch to batch.
#[derive(Debug, Default)]
pub(in crate::rows) struct Column {
    holds: Holds,
    /// NaN where the value is missing.
    numbers: Vec<f64>,
    texts: Texts,
}

/// The kind of a column's cells.
#[derive(Debug, Default)]
enum Holds {
    /// Nobody wants the column.
    #[default]
    Nothing,
    Numbers,
    Texts,
}

/// Texts. A text that the batch stores once is stored once here.
#[derive(Debug, Default)]
struct Texts {
    /// The level of each row, or [`NULL`].
    keys: Vec<u32>,
    levels: Vec<Level>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    text: Range<u32>,
    is_missing: bool,
}

/// Returns whether columns of this type can be read as cells.
pub(super) fn is_readable(kind: &DataType) -> bool {
    use DataType as D;
    match kind {
        D::Dictionary(_, values) => !values.is_nested() && is_readable(values),
        kind => !(kind.is_nested() || matches!(kind, D::Interval(_))),
    }
}

impl Column {
    /// Reads the column of a batch. The error describes why it cannot be read.
    pub(super) fn fill(&mut self, array: &ArrayRef, rules: ColumnRules<'_>) -> Result<(), String> {
        use DataType as D;
        match array.data_type() {
            D::Dictionary(_, values) if values.is_numeric() || **values == D::Boolean => {
                let plain = cast(array, values)?;
                return self.fill(&plain, rules);
            }
            D::Dictionary(..) => self.texts().fill_dictionary(array, rules)?,
            D::Null => {
                let numbers = self.numbers();
                numbers.resize(array.len(), f64::NAN);
            }
            D::Boolean => {
                let booleans = array.as_boolean();
                let texts = self.texts();
                texts.add(b"false", rules);
                texts.add(b"true", rules);
                texts.keys.extend(booleans.iter().map(|value| value.map_or(NULL, u32::from)));
            }
            D::Float64 => {
                let values = array.as_primitive::<Float64Type>();
                self.numbers().extend(values.iter().map(|value| value.unwrap_or(f64::NAN)));
            }
            D::Float32 => {
                let values = array.as_primitive::<Float32Type>();
                self.numbers().extend(values.iter().map(|value| value.map_or(f64::NAN, as_written)));
            }
            D::Float16 => {
                let values = array.as_primitive::<Float16Type>();
                let decimals = |value| f16_as_written(value).unwrap_or(f64::NAN);
                self.numbers().extend(values.iter().map(|value| value.map_or(f64::NAN, decimals)));
            }
            D::Int64 if is_exact(array.as_primitive::<Int64Type>().iter().flatten()) => {
                let values = array.as_primitive::<Int64Type>();
                self.numbers().extend(values.iter().map(|value| value.map_or(f64::NAN, |x| x as f64)));
            }
            D::UInt64 if is_exact(array.as_primitive::<UInt64Type>().iter().flatten()) => {
                let values = array.as_primitive::<UInt64Type>();
                self.numbers().extend(values.iter().map(|value| value.map_or(f64::NAN, |x| x as f64)));
            }
            D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 | D::UInt32 => {
                let values = cast(array, &D::Float64)?;
                return self.fill(&values, rules);
            }
            // Durations have no agreed unit in text, so they stay plain numbers.
            D::Duration(_) => {
                let values = cast(array, &D::Int64)?;
                return self.fill(&values, rules);
            }
            D::LargeUtf8 => {
                let values = array.as_string::<i64>();
                self.texts().fill(values.iter().map(|text| text.map(str::as_bytes)), rules)?;
            }
            D::Utf8View => {
                let values = array.as_string_view();
                self.texts().fill(values.iter().map(|text| text.map(str::as_bytes)), rules)?;
            }
            D::Utf8 => {
                let values = array.as_string::<i32>();
                self.texts().fill(values.iter().map(|text| text.map(str::as_bytes)), rules)?;
            }
            // Binary columns: the cast checks that the text is UTF-8. Dates, decimals and whole
            // numbers that f64 cannot hold exactly: as CSV would write them.
            kind if is_readable(kind) => {
                let text = cast(array, &D::LargeUtf8)?;
                return self.fill(&text, rules);
            }
            kind => return Err(format!("{kind}")),
        }
        Ok(())
    }

    /// Returns the cell of a row.
    #[inline]
    pub(in crate::rows) fn cell(&self, row: usize, rules: ColumnRules<'_>) -> Cell<'_> {
        match self.holds {
            Holds::Nothing => Cell::Missing,
            Holds::Numbers => match self.numbers.get(row) {
                Some(x) if !x.is_nan() && !rules.is_missing_number(*x) => Cell::Number(*x),
                _ => Cell::Missing,
            },
            Holds::Texts => match self.texts.level(row) {
                Some(level) if !level.is_missing => rules.present(self.texts.text(level)),
                _ => Cell::Missing,
            },
        }
    }

    /// Returns the cell of a row as written, even if its value stands for a missing one.
    #[inline]
    pub(in crate::rows) fn as_it_stands(&self, row: usize) -> Cell<'_> {
        match self.holds {
            Holds::Nothing => Cell::Missing,
            Holds::Numbers => match self.numbers.get(row) {
                Some(x) if !x.is_nan() => Cell::Number(*x),
                _ => Cell::Missing,
            },
            Holds::Texts => self.texts.level(row).map_or(Cell::Missing, |level| Cell::Text(self.texts.text(level))),
        }
    }

    /// Empties the column and makes it hold numbers.
    fn numbers(&mut self) -> &mut Vec<f64> {
        self.holds = Holds::Numbers;
        self.numbers.clear();
        &mut self.numbers
    }

    /// Empties the column and makes it hold texts.
    fn texts(&mut self) -> &mut Texts {
        self.holds = Holds::Texts;
        self.texts.keys.clear();
        self.texts.levels.clear();
        self.texts.bytes.clear();
        &mut self.texts
    }
}

impl Texts {
    /// Adds a level.
    fn add(&mut self, text: &[u8], rules: ColumnRules<'_>) {
        let text = rules.trimmed(text);
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        let is_missing = rules.is_missing(text);
        self.levels.push(Level { text: start..self.bytes.len() as u32, is_missing });
    }

    /// Adds one text per row.
    fn fill<'a>(
        &mut self,
        texts: impl Iterator<Item = Option<&'a [u8]>>,
        rules: ColumnRules<'_>,
    ) -> Result<(), String> {
        for text in texts {
            match text {
                None => self.keys.push(NULL),
                Some(text) => {
                    self.fits(text)?;
                    self.keys.push(self.levels.len() as u32);
                    self.add(text, rules);
                }
            }
        }
        Ok(())
    }

    /// Adds each level once and one key per row.
    fn fill_dictionary(&mut self, array: &ArrayRef, rules: ColumnRules<'_>) -> Result<(), String> {
        let dictionary = array.as_any_dictionary();
        let levels = cast(dictionary.values(), &DataType::LargeUtf8)?;
        let levels = levels.as_string::<i64>();
        for level in levels {
            self.fits(level.unwrap_or_default().as_bytes())?;
            self.add(level.unwrap_or_default().as_bytes(), rules);
        }
        if levels.is_empty() {
            self.keys.resize(array.len(), NULL);
            return Ok(());
        }
        let keys = dictionary.normalized_keys();
        let is_null = |row: usize, key: usize| dictionary.keys().is_null(row) || levels.is_null(key);
        let keys = keys.into_iter().enumerate();
        self.keys.extend(keys.map(|(row, key)| if is_null(row, key) { NULL } else { key as u32 }));
        Ok(())
    }

    /// Refuses a text that would exceed the 32-bit ranges.
    fn fits(&self, text: &[u8]) -> Result<(), String> {
        match u32::try_from(self.bytes.len() + text.len()) {
            Ok(_) => Ok(()),
            Err(_) => Err("more than 4 GB of text in a few thousand rows".into()),
        }
    }

    #[inline]
    fn level(&self, row: usize) -> Option<&Level> {
        self.levels.get(*self.keys.get(row)? as usize)
    }

    #[inline]
    fn text(&self, level: &Level) -> &[u8] {
        self.bytes.get(level.text.start as usize..level.text.end as usize).unwrap_or_default()
    }
}

/// Casts. Fails if a value would be lost.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| format!("{}: {error}", array.data_type()))
}

/// Returns whether every number is exact as f64.
fn is_exact<T: TryInto<i64>>(mut numbers: impl Iterator<Item = T>) -> bool {
    numbers.all(|x| x.try_into().is_ok_and(|x| (-MOST_EXACT..=MOST_EXACT).contains(&x)))
}

/// Returns the number that the shortest decimal form of an f32 stands for, as text would give it:
/// 0.1 gives 0.1, not 0.10000000149.
fn as_written(x: f32) -> f64 {
    /// Up to this magnitude, whole numbers have no shorter decimal form.
    const WHOLE: f32 = 16_777_216.0;
    if x.fract() == 0.0 && x.abs() <= WHOLE {
        return f64::from(x);
    }
    parse(x.to_string().as_bytes()).unwrap_or(f64::NAN)
}

/// Like [`as_written`]; half-precision numbers print their own shortest decimals.
fn f16_as_written(x: impl std::fmt::Display) -> Option<f64> {
    parse(x.to_string().as_bytes())
}
