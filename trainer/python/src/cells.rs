//! Values of Python as cells: what a row of a dictionary, or a column of objects, holds.

use std::borrow::Cow;

use feamoe::rows::{Cell, RecordBuilder};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

use crate::error::Fault;

/// A value of Python.
pub enum Value<'a> {
    /// None, NaN, NA, NaT.
    Missing,
    /// A number that a float holds as it is.
    Number(f64),
    /// Text, a date, a number of more digits.
    Text(Cow<'a, str>),
    /// True or False.
    Truth(bool),
}

impl<'a> Value<'a> {
    /// Reads a value.
    pub fn of(value: &'a Bound<'_, PyAny>) -> Result<Self, Fault> {
        if value.is_none() {
            return Ok(Self::Missing);
        }
        if let Ok(text) = value.cast::<PyString>() {
            let text = text.to_cow().map_err(|_| {
                let found = text.repr().map_or_else(|_| "text".to_owned(), |text| text.to_string());
                Fault::misfit(found, "text of Unicode, without lone surrogates")
            })?;
            return Ok(Self::Text(text));
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            return Ok(Self::number(number.extract()?));
        }
        if let Ok(truth) = value.cast::<PyBool>() {
            return Ok(Self::Truth(truth.is_true()));
        }
        if let Ok(number) = value.cast::<PyInt>() {
            return match number.extract::<i64>() {
                Ok(number) if is_exact(number) => Ok(Self::Number(number as f64)),
                _ => Ok(Self::Text(Cow::Owned(number.str()?.to_string()))),
            };
        }
        let kind = value.get_type().name()?.to_string();
        match kind.as_str() {
            "NAType" | "NaTType" => Ok(Self::Missing),
            "bool" | "bool_" => Ok(Self::Truth(value.is_truthy()?)),
            // Dates and times.
            _ if value.hasattr("isoformat")? => {
                Ok(Self::Text(Cow::Owned(value.call_method0("isoformat")?.str()?.to_string())))
            }
            "complex" | "complex64" | "complex128" => Err(refused(&kind)),
            // Numbers of numpy, decimals, fractions.
            _ => value.extract::<f64>().map(Self::number).map_err(|_| refused(&kind)),
        }
    }

    fn number(number: f64) -> Self {
        if number.is_nan() { Self::Missing } else { Self::Number(number) }
    }

    /// Returns it as a cell.
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Self::Missing => Cell::Missing,
            Self::Number(number) => Cell::Number(*number),
            Self::Text(text) => Cell::Text(text.as_bytes()),
            Self::Truth(truth) => Cell::Text(if *truth { b"true" } else { b"false" }),
        }
    }
}

fn refused(kind: &str) -> Fault {
    Fault::misfit(format!("a value of type {kind}"), "a number, text, a date, True or False, or None")
}

/// Whole numbers up to here are their own f64.
pub fn is_exact(number: i64) -> bool {
    const MOST: i64 = 1 << 53;
    (-MOST..=MOST).contains(&number)
}

/// Puts the values of a dictionary into the columns of these names. Returns the first column that
/// it has no value for, which is missing.
pub fn put_all(
    record: &mut RecordBuilder,
    values: &Bound<'_, PyDict>,
    columns: &[Py<PyString>],
) -> Result<Option<usize>, Fault> {
    let mut absent = None;
    for (column, name) in columns.iter().enumerate() {
        match values.get_item(name.bind(values.py()))? {
            Some(value) => {
                let value = Value::of(&value).map_err(|fault| fault.in_column(&name.bind(values.py()).to_string()))?;
                record.put(column, value.cell());
            }
            None => absent = absent.or(Some(column)),
        }
    }
    Ok(absent)
}
