//! Learners: rows at once or one by one, scores of the stream, checkpoints, models.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use feamoe::learner::Prediction;
use feamoe::rows::{Cell, RecordBuilder, Source as _};
use feamoe::schema::Schema;
use feamoe::training::config::Config;
use feamoe::training::report::Report;
use feamoe::training::{self, Trainer, events};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::cells::Value;
use crate::error::{Fault, check_signals, detached, message};
use crate::model::Model;
use crate::table::Table;

/// Rows between two looks whether the user asked to stop.
const CHECK_EVERY: usize = 1024;

/// A learner of a stream of rows.
#[pyclass(frozen, module = "feamoe._feamoe")]
pub struct Learner {
    state: Mutex<State>,
    columns: Vec<Py<PyString>>,
}

struct State {
    trainer: Trainer,
    builder: RecordBuilder,
    /// Records that came one by one.
    pushed: u64,
}

impl Learner {
    fn of(trainer: Trainer) -> Self {
        let columns =
            Python::attach(|py| trainer.columns().iter().map(|column| PyString::intern(py, column).unbind()).collect());
        let builder = RecordBuilder::new(&trainer.schema().table, trainer.columns());
        Self { state: Mutex::new(State { trainer, builder, pushed: 0 }), columns }
    }

    /// Takes the state: never while holding the GIL, which another thread may want meanwhile.
    fn state(&self) -> MutexGuard<'_, State> {
        // What panicked was raised; the trainer learns a record whole or not at all.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with the state, without the GIL.
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut State) -> Result<T, Fault> + Send) -> PyResult<T> {
        detached(py, || work(&mut self.state()))
    }
}

/// Values of a record, out of Python.
enum Owned {
    Missing,
    Number(f64),
    Text(String),
}

impl Learner {
    fn record(&self, values: &Bound<'_, PyDict>) -> Result<Vec<Owned>, Fault> {
        let owned = |name: &Py<PyString>| -> Result<Owned, Fault> {
            let Some(value) = values.get_item(name.bind(values.py()))? else { return Ok(Owned::Missing) };
            Ok(match Value::of(&value)? {
                Value::Missing => Owned::Missing,
                Value::Number(number) => Owned::Number(number),
                value => Owned::Text(
                    value.cell().text().map_or_else(String::new, |text| String::from_utf8_lossy(&text).into_owned()),
                ),
            })
        };
        self.columns.iter().map(owned).collect()
    }
}

impl State {
    fn put(&mut self, values: &[Owned]) {
        self.builder.clear();
        for (column, value) in values.iter().enumerate() {
            self.builder.put(
                column,
                match value {
                    Owned::Missing => Cell::Missing,
                    Owned::Number(number) => Cell::Number(*number),
                    Owned::Text(text) => Cell::Text(text.as_bytes()),
                },
            );
        }
    }
}

/// Probability, threshold and decision.
type Said = (f32, f32, bool);

fn said(prediction: Prediction) -> Said {
    (prediction.probability, prediction.threshold, prediction.decision)
}

#[pymethods]
impl Learner {
    /// Starts with rows of these columns. `schema`: TOML; `options`: JSON, see `Config`.
    #[new]
    fn new(columns: Vec<String>, schema: &str, options: &str) -> PyResult<Self> {
        let made = || -> Result<Trainer, Fault> {
            let options = Config::from_json(options)?.options()?;
            Ok(Trainer::new(&columns, Schema::from_toml("schema", schema)?, &options)?)
        };
        Ok(Self::of(made()?))
    }

    /// Runs over a table as the options say. `watcher` is called every few thousand rows with the
    /// rows learned from, the pass and the number of experts.
    #[classmethod]
    #[pyo3(signature = (table, schema, options, watcher=None))]
    fn fit(
        _: &Bound<'_, PyType>,
        py: Python<'_>,
        table: &Table,
        schema: &str,
        options: &str,
        watcher: Option<Py<PyAny>>,
    ) -> PyResult<(Self, Vec<String>)> {
        let (trainer, notes) = detached(py, || {
            let options = Config::from_json(options)?.options()?;
            let schema = Schema::from_toml("schema", schema)?;
            let mut raised = None;
            let run = training::run(&[table.input()], &schema, &options, &mut |progress| {
                let at = (progress.rows, progress.epoch, progress.learner.experts());
                let asked = Python::attach(|py| {
                    py.check_signals()?;
                    watcher.as_ref().map_or(Ok(()), |watcher| watcher.call1(py, at).map(drop))
                });
                match asked {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        raised = Some(error);
                        ControlFlow::Break(())
                    }
                }
            });
            match raised {
                Some(error) => Err(Fault::Python(error)),
                None => {
                    let run = run?;
                    let notes = run.notes.clone();
                    Ok((run.into_trainer(), notes))
                }
            }
        })?;
        Ok((Self::of(trainer), notes))
    }

    /// Resumes from the bytes of a checkpoint.
    #[classmethod]
    fn from_bytes(_: &Bound<'_, PyType>, py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let data = data.to_vec();
        Ok(Self::of(detached(py, move || Ok(Trainer::from_bytes(&data)?))?))
    }

    /// Returns the complete state, as a checkpoint that the command resumes too.
    fn checkpoint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.with(py, |state| state.trainer.checkpoint().to_bytes().map_err(message))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((py.get_type::<Self>().getattr("from_bytes")?, (self.checkpoint(py)?,)))
    }

    /// Learns from every row of a table, in their order. After an error or Ctrl-C the rows before
    /// were learned from.
    fn learn_many(&self, py: Python<'_>, table: &Table) -> PyResult<()> {
        self.with(py, |State { trainer, .. }| {
            let mut rows = table.0.rows_of(&trainer.schema().table, trainer.columns())?;
            let mut since = 0;
            while rows.advance()? {
                trainer.learn(&rows.record())?;
                since += 1;
                if since == CHECK_EVERY {
                    since = 0;
                    check_signals()?;
                }
            }
            Ok(())
        })
    }

    /// Learns from a row: values by column, missing where there is none. Returns probability,
    /// threshold and decision as they were before; None for a row that is not used.
    fn learn_one(&self, values: &Bound<'_, PyDict>) -> PyResult<Option<Said>> {
        let record = self.record(values)?;
        self.with(values.py(), |state| {
            state.put(&record);
            state.pushed += 1;
            let record = state.builder.record("the stream", state.pushed);
            Ok(state.trainer.learn(&record)?.map(said))
        })
    }

    /// Scores a row, and learns nothing from it.
    fn score_one(&self, values: &Bound<'_, PyDict>) -> PyResult<Said> {
        let record = self.record(values)?;
        self.with(values.py(), |state| {
            state.put(&record);
            let record = state.builder.record("the record", state.pushed + 1);
            Ok(said(state.trainer.score(&record)?))
        })
    }

    /// Returns the model as it is now, and messages about columns that changed since the encoding
    /// was fitted.
    fn model(&self, py: Python<'_>) -> PyResult<(Model, Vec<String>)> {
        self.with(py, |state| {
            let export = state.trainer.model().map_err(|error| match error {
                training::export::ExportError::Data(error) => Fault::Feamoe(error),
                error => message(error),
            })?;
            Ok((Model::of(export.bytes)?, export.warnings))
        })
    }

    /// Returns what was learned, how well, and how fair: the JSON of `feamoe train`, but for the
    /// files.
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |state| serde_json::to_string(&Report::new(&state.trainer)).map_err(message))
    }

    /// Returns what happened to the mixture and to the encoding, oldest first, in JSON.
    fn events(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |state| serde_json::to_string(&events::events(&state.trainer)).map_err(message))
    }

    /// Returns the measures of rows seen for the first time, by window and in all, in JSON.
    fn prequential(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |state| serde_json::to_string(&state.trainer.prequential().summary()).map_err(message))
    }

    /// Returns what is to be said of the rows and the decisions.
    fn remarks(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |state| Ok(state.trainer.remarks().iter().map(ToString::to_string).collect()))
    }

    /// The column of the outcome.
    #[getter]
    fn target(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |state| Ok(state.trainer.schema().target.column.clone()))
    }

    /// The columns of its rows.
    #[getter]
    fn columns(&self, py: Python<'_>) -> Vec<Py<PyString>> {
        self.columns.iter().map(|column| column.clone_ref(py)).collect()
    }

    /// The rows learned from.
    #[getter]
    fn rows(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |state| Ok(state.trainer.rows()))
    }

    /// The experts there are.
    #[getter]
    fn experts(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |state| Ok(state.trainer.learner().experts()))
    }
}

/// Checks options, in JSON.
#[pyfunction]
pub fn check_options(options: &str) -> PyResult<()> {
    let checked = Config::from_json(options).and_then(|config| config.options());
    Ok(checked.map(drop).map_err(Fault::from)?)
}

/// Returns the column of the outcome that a schema names.
#[pyfunction]
pub fn target_of(schema: &str) -> PyResult<String> {
    Ok(Schema::from_toml("schema", schema).map_err(Fault::from)?.target.column)
}
