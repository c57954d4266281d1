//! Tables: columns of whatever a user has them in, each converted once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, RecordBatchReader, StringArray, new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use feamoe::infer;
use feamoe::rows::{ArrowTable, Input};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyString, PyTuple};

use crate::cells::Value;
use crate::error::{Fault, detached, message};

/// Columns that pandas makes of an index that has no name.
const INDEX: &str = "__index_level_";

/// Rows in memory.
#[pyclass(frozen, module = "feamoe._feamoe")]
pub struct Table(pub ArrowTable);

fn made(name: &str, fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<Table, Fault> {
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(message)?;
    Ok(Table(ArrowTable::new(name, schema, vec![batch])?))
}

#[pymethods]
impl Table {
    /// Takes what has an Arrow C stream: a frame of pandas, polars, pyarrow, duckdb. `name` stands
    /// for it in messages.
    #[staticmethod]
    fn from_stream(py: Python<'_>, rows: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let reader = stream(rows)?;
        detached(py, move || {
            let schema = reader.schema();
            let kept: Vec<usize> = (0..)
                .zip(schema.fields())
                .filter(|(_, field)| !field.name().starts_with(INDEX))
                .map(|(at, _)| at)
                .collect();
            let project = |batch: Result<RecordBatch, ArrowError>| batch?.project(&kept);
            let batches = reader.map(project).collect::<Result<Vec<_>, _>>().map_err(message)?;
            // Metadata, such as those of pandas, are not part of the rows.
            let schema = Arc::new(Schema::new(schema.project(&kept).map_err(message)?.fields));
            let plain = |batch: RecordBatch| {
                let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &rows)
            };
            let batches = batches.into_iter().map(plain).collect::<Result<Vec<_>, _>>().map_err(message)?;
            Ok(Self(ArrowTable::new(name, schema, batches)?))
        })
    }

    /// Takes columns: one-dimensional arrays of numpy, pairs of codes and categories (code -1 for
    /// none), or any sequence of values.
    #[staticmethod]
    fn from_columns(names: Vec<String>, columns: Vec<Bound<'_, PyAny>>, name: &str) -> PyResult<Self> {
        let arrays = names.iter().zip(&columns).map(|(column, values)| named(column, array(values)));
        let arrays = arrays.collect::<Result<Vec<_>, Fault>>()?;
        let fields = names.iter().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true));
        Ok(made(name, fields.collect(), arrays)?)
    }

    /// Returns the table with further columns, each a sequence with a value for each row.
    fn with_columns(&self, names: Vec<String>, columns: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let rows = self.__len__();
        let mut added = Vec::new();
        for (name, values) in names.iter().zip(&columns) {
            let array = named(name, array(values))?;
            if array.len() != rows {
                let found = array.len();
                return Err(message(format!(
                    "column {name:?}: found {found} values, expected one for each of the {rows} rows"
                ))
                .into());
            }
            added.push((name.clone(), array));
        }
        Ok(Self(self.joined(added)?))
    }

    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.0.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Returns whether each column holds numbers.
    fn is_number(&self) -> Vec<bool> {
        self.0.schema().fields().iter().map(|field| field.data_type().is_numeric()).collect()
    }

    fn __len__(&self) -> usize {
        self.0.batches().iter().map(RecordBatch::num_rows).sum()
    }
}

impl Table {
    /// Returns the table with further columns, each of as many rows.
    fn joined(&self, added: Vec<(String, ArrayRef)>) -> Result<ArrowTable, Fault> {
        let Self(table) = self;
        let mut fields: Vec<Field> = table.schema().fields().iter().map(|field| (**field).clone()).collect();
        fields.extend(added.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)));
        let schema = Arc::new(Schema::new(fields));
        let mut start = 0;
        let batches = table.batches().iter().map(|batch| {
            let mut columns = batch.columns().to_vec();
            columns.extend(added.iter().map(|(_, array)| array.slice(start, batch.num_rows())));
            start += batch.num_rows();
            RecordBatch::try_new(Arc::clone(&schema), columns).map_err(message)
        });
        let batches = batches.collect::<Result<Vec<_>, Fault>>()?;
        Ok(ArrowTable::new(&table.to_string(), schema, batches)?)
    }

    /// Returns the table with columns of these names, without values where it has none.
    pub fn with_missing(&self, names: &[String]) -> Result<ArrowTable, Fault> {
        let there = self.columns();
        let absent = names.iter().filter(|name| !there.contains(name));
        let missing = |name: &String| (name.clone(), new_null_array(&DataType::Utf8, self.__len__()));
        self.joined(absent.map(missing).collect())
    }

    /// Returns whether a column holds truth values.
    pub fn is_truth(&self, column: &str) -> bool {
        self.0.schema().field_with_name(column).is_ok_and(|field| *field.data_type() == DataType::Boolean)
    }

    /// Returns the table as the data of a run.
    pub fn input(&self) -> Input {
        Input::Table(self.0.clone())
    }
}

/// Takes an object's Arrow C stream: the `PyCapsule` interface of Arrow.
fn stream(rows: &Bound<'_, PyAny>) -> PyResult<ArrowArrayStreamReader> {
    let capsule = rows.call_method0("__arrow_c_stream__")?;
    let pointer = capsule.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_array_stream"))?;
    // SAFETY: by its contract, a capsule of this name holds a stream. Taking the stream leaves a
    // released one behind, which the capsule does not release again.
    let taken = unsafe { FFI_ArrowArrayStream::from_raw(pointer.cast().as_ptr()) };
    Ok(ArrowArrayStreamReader::try_new(taken).map_err(message)?)
}

/// Says which column is at fault.
fn named<T>(column: &str, array: Result<T, Fault>) -> Result<T, Fault> {
    array.map_err(|fault| match fault {
        Fault::Message(said) => message(format!("column {column:?}: {said}")),
        fault => fault.in_column(column),
    })
}

/// Makes an array of what a column is in.
fn array(values: &Bound<'_, PyAny>) -> Result<ArrayRef, Fault> {
    if let Ok(numbers) = values.extract::<PyReadonlyArray1<'_, f64>>() {
        return Ok(Arc::new(Float64Array::from_iter_values(numbers.as_array().iter().copied())));
    }
    if let Ok(numbers) = values.extract::<PyReadonlyArray1<'_, f32>>() {
        return Ok(Arc::new(Float32Array::from_iter_values(numbers.as_array().iter().copied())));
    }
    if let Ok(numbers) = values.extract::<PyReadonlyArray1<'_, i64>>() {
        return Ok(Arc::new(Int64Array::from_iter_values(numbers.as_array().iter().copied())));
    }
    if let Ok(truths) = values.extract::<PyReadonlyArray1<'_, bool>>() {
        return Ok(Arc::new(BooleanArray::from_iter(truths.as_array().iter().copied().map(Some))));
    }
    if let Ok(pair) = values.cast::<PyTuple>() {
        let (codes, categories) = pair.extract::<(PyReadonlyArray1<'_, i32>, Bound<'_, PyAny>)>()?;
        let codes = codes.as_array().iter().map(|code| (*code >= 0).then_some(*code)).collect::<Int32Array>();
        let categories = array(&categories)?;
        return Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(codes, categories).map_err(message)?));
    }
    objects(values)
}

/// Makes an array of a sequence of values: of numbers where all are, of truth values where all are,
/// else of text.
fn objects(values: &Bound<'_, PyAny>) -> Result<ArrayRef, Fault> {
    if values.is_instance_of::<PyString>() {
        return Err(message("found text, expected a sequence of values"));
    }
    let mut read = Vec::new();
    for (row, value) in (1..).zip(values.try_iter()?) {
        let value = value?;
        read.push(match Value::of(&value).map_err(|fault| fault.in_row(row))? {
            Value::Text(text) => Value::Text(text.into_owned().into()),
            Value::Missing => Value::Missing,
            Value::Number(number) => Value::Number(number),
            Value::Truth(truth) => Value::Truth(truth),
        });
    }
    let all = |is: fn(&Value<'_>) -> bool| read.iter().all(|value| matches!(value, Value::Missing) || is(value));
    if all(|value| matches!(value, Value::Number(_))) {
        let number = |value: &Value<'_>| if let Value::Number(number) = value { Some(*number) } else { None };
        return Ok(Arc::new(read.iter().map(number).collect::<Float64Array>()));
    }
    if all(|value| matches!(value, Value::Truth(_))) {
        let truth = |value: &Value<'_>| if let Value::Truth(truth) = value { Some(*truth) } else { None };
        return Ok(Arc::new(read.iter().map(truth).collect::<BooleanArray>()));
    }
    // Texts repeat, so each is stored once.
    let mut codes: HashMap<String, i32> = HashMap::new();
    let mut levels: Vec<String> = Vec::new();
    let mut keys = Vec::with_capacity(read.len());
    for value in &read {
        let Some(text) = value.cell().text() else {
            keys.push(None);
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        let code = match codes.get(&*text) {
            Some(code) => *code,
            None => {
                let code = i32::try_from(levels.len()).map_err(message)?;
                levels.push(text.to_string());
                codes.insert(text.into_owned(), code);
                code
            }
        };
        keys.push(Some(code));
    }
    let levels = Arc::new(StringArray::from(levels));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), levels).map_err(message)?))
}

/// Returns a first schema of a table, as `feamoe schema` writes it.
#[pyfunction]
#[pyo3(signature = (table, target=None, positive=None, protected=None))]
pub fn infer_schema(
    py: Python<'_>,
    table: &Table,
    target: Option<String>,
    positive: Option<String>,
    protected: Option<Vec<String>>,
) -> PyResult<String> {
    let input = table.input();
    detached(py, move || {
        let options =
            infer::Options { target, positive, protected: protected.unwrap_or_default(), ..infer::Options::default() };
        Ok(infer::infer(&input, &options)?.text)
    })
}
