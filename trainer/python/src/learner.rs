//! Learners: rows at once or one by one, scores of the stream, checkpoints, models.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use feamoe::encoder;
use feamoe::learner::{How, Prediction};
use feamoe::output::STANDARD_OUTPUT;
use feamoe::rows::{Cell, Input, RecordBuilder, Source as _, Stream, Use};
use feamoe::schema::Schema;
use feamoe::training::checkpoint::Checkpoint;
use feamoe::training::config::Config;
use feamoe::training::merge::{self, MergeError, Merging};
use feamoe::training::report::Report;
use feamoe::training::{self, Encoding, Trainer, events};
use numpy::{PyArray1, ToPyArray as _};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict as _, PyBytes, PyDict, PyString, PyType};

use crate::cells::{Value, is_exact};
use crate::error::{Fault, Interruptible, detached, keep_raised, message};
use crate::model::Model;
use crate::table::Table;

/// Rows between two looks whether the user asked to stop; others may use the learner then.
const CHECK_EVERY: usize = 1024;

/// A learner of a stream of rows.
#[pyclass(frozen, module = "feamoe._feamoe")]
pub struct Learner {
    state: Mutex<State>,
    columns: Vec<Py<PyString>>,
    /// Whether columns are made of dates, which rows of dictionaries do not have.
    has_dates: bool,
}

struct State {
    trainer: Trainer,
    builder: RecordBuilder,
    /// The number of the record that came last.
    pushed: u64,
}

impl Learner {
    fn of(trainer: Trainer) -> Self {
        let columns =
            Python::attach(|py| trainer.columns().iter().map(|column| PyString::intern(py, column).unbind()).collect());
        let builder = RecordBuilder::new(&trainer.schema().table, trainer.columns());
        let has_dates = !trainer.schema().table.dates.is_empty();
        let pushed = trainer.counts().read;
        Self { state: Mutex::new(State { trainer, builder, pushed }), columns, has_dates }
    }

    /// Takes the state: never while holding the GIL, which another thread may want meanwhile.
    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is usable: the panic was raised as an error, and the trainer learns a
        // record completely or not at all.
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
        if self.has_dates {
            return Err(message(
                "found a single row, expected a table: the schema makes columns of dates (table.dates), which is done for tables only",
            ));
        }
        let owned = |name: &Py<PyString>| -> Result<Owned, Fault> {
            let name = name.bind(values.py());
            let Some(value) = values.get_item(name)? else { return Ok(Owned::Missing) };
            Ok(match Value::of(&value).map_err(|fault| fault.in_column(&name.to_string()))? {
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

/// What an outcome is called.
#[derive(PartialEq)]
enum Name {
    Number(f64),
    Text(String),
}

/// What the unfavourable and the favourable outcome are called, where that is known.
type Outcomes = (Option<Py<PyAny>>, Option<Py<PyAny>>);

/// Probability, threshold and decision.
type Said = (f32, f32, bool);

fn said(prediction: Prediction) -> Said {
    (prediction.probability, prediction.threshold, prediction.decision)
}

#[pymethods]
impl Learner {
    /// Starts with rows of these columns. `schema`: TOML; `options`: JSON, see `Config`;
    /// `encoding`: the checkpoint whose encoding is held.
    #[new]
    #[pyo3(signature = (columns, schema, options, encoding=None))]
    fn new(columns: Vec<String>, schema: &str, options: &str, encoding: Option<&[u8]>) -> PyResult<Self> {
        let made = || -> Result<Trainer, Fault> {
            let mut options = Config::from_json(options)?.options()?;
            if let Some(stored) = encoding {
                let shared = Encoding::of(&Checkpoint::from_bytes(stored).map_err(message)?)?;
                if options.encoder == encoder::Options::default() {
                    options.encoder = shared.options().clone();
                }
                options.encoding = Some(Arc::new(shared));
            }
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
            let run = training::run(&[table.input()], &schema, &options, &mut |progress| {
                let at = (progress.rows, progress.epoch, progress.learner.experts());
                let asked = Python::attach(|py| {
                    py.check_signals()?;
                    watcher.as_ref().map_or(Ok(()), |watcher| watcher.call1(py, at).map(drop))
                });
                match keep_raised(progress.rows, asked) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            let notes = run.notes.clone();
            Ok((run.into_trainer(), notes))
        })?;
        Ok((Self::of(trainer), notes))
    }

    /// Resumes from the bytes of a checkpoint.
    #[classmethod]
    fn from_bytes(_: &Bound<'_, PyType>, py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let data = data.to_vec();
        Ok(Self::of(detached(py, move || Ok(Trainer::from_bytes(&data)?))?))
    }

    /// Merges learners: `how` is join or average; `polish`: rows to learn from at the end;
    /// `experts`: as many at most; `numbers`: those of the shards in messages, by default from 1.
    /// Returns the merged one, with notes about the rows.
    #[classmethod]
    #[pyo3(signature = (learners, how, polish=None, experts=None, numbers=None))]
    fn merge(
        _: &Bound<'_, PyType>,
        py: Python<'_>,
        learners: Vec<Py<Self>>,
        how: &str,
        polish: Option<&Table>,
        experts: Option<usize>,
        numbers: Option<Vec<usize>>,
    ) -> PyResult<(Self, Vec<String>)> {
        let how = match how {
            "join" => How::Join,
            "average" => How::Average,
            _ => return Err(message(format!("how: found {how:?}, expected \"join\" or \"average\"")).into()),
        };
        let trainers = learners.iter().map(|learner| learner.get().with(py, |state| Ok(state.trainer.clone())));
        let trainers = trainers.collect::<PyResult<Vec<Trainer>>>()?;
        let polish: Vec<Input> = polish.map(Table::input).into_iter().collect();
        let (trainer, notes) = detached(py, || {
            let shards: Vec<Checkpoint<'_>> = trainers.iter().map(Trainer::checkpoint).collect();
            let merging = Merging { how, experts, is_polished: !polish.is_empty() };
            let run = merge::run(&shards, &merging, &polish, None, &mut |progress| match keep_raised(
                progress.rows,
                Python::attach(|py| py.check_signals()),
            ) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
            match run {
                Ok(run) => {
                    let notes = run.notes.clone();
                    Ok((run.into_trainer(), notes))
                }
                Err(MergeError::Run(error)) => Err(error.into()),
                Err(error) => Err(message(error.numbered(&numbers.unwrap_or_default()))),
            }
        })?;
        Ok((Self::of(trainer), notes))
    }

    /// Returns the complete state, as a checkpoint that the command resumes too.
    fn checkpoint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.with(py, |state| state.trainer.checkpoint().to_bytes().map_err(message))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Writes the checkpoint to a file, as the command does: whole or not at all, and not while
    /// another process writes it. `-` is a file of that name.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let path = if path.as_os_str() == STANDARD_OUTPUT { Path::new(".").join(path) } else { path };
        self.with(py, |state| state.trainer.checkpoint().write(&path).map_err(message))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((py.get_type::<Self>().getattr("from_bytes")?, (self.checkpoint(py)?,)))
    }

    /// Learns from every row of a table, in their order. After an error or Ctrl-C the rows before
    /// were learned from. Others may use the learner meanwhile: it is free every thousand rows.
    fn learn_many(&self, py: Python<'_>, table: &Table) -> PyResult<()> {
        let mut rows =
            self.with(py, |State { trainer, .. }| Ok(table.0.rows_of(&trainer.schema().table, trainer.columns())?))?;
        let mut more = true;
        while more {
            // A signal handler may use the learner too, so its lock is free here.
            py.check_signals()?;
            more = self.with(py, |State { trainer, .. }| {
                for _ in 0..CHECK_EVERY {
                    if !rows.advance()? {
                        return Ok(false);
                    }
                    trainer.learn(&rows.record())?;
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// Learns from a row: values by column, missing if there is none. Returns whether its outcome
    /// is the favourable one; None for a row that is not used.
    fn learn_one(&self, values: &Bound<'_, PyDict>) -> PyResult<Option<bool>> {
        let record = self.record(values)?;
        self.with(values.py(), |state| {
            state.put(&record);
            state.pushed += 1;
            let record = state.builder.record("the stream", state.pushed);
            let before = state.trainer.counts();
            state.trainer.learn(&record)?;
            let after = state.trainer.counts();
            let is_used = after.positive + after.negative > before.positive + before.negative;
            Ok(is_used.then_some(after.positive > before.positive))
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

    /// Scores every row of a table by the stream's own weights, and learns nothing from them:
    /// returns probabilities and decisions. Columns that are no features may be absent.
    #[allow(clippy::type_complexity)] // a tuple of arrays
    fn score_many<'py>(
        &self,
        py: Python<'py>,
        table: &Table,
    ) -> PyResult<(Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<bool>>)> {
        let mut rows = self.with(py, |State { trainer, .. }| {
            let features: Vec<&str> = trainer.features().collect();
            let others = trainer.columns().iter().filter(|name| !features.contains(&name.as_str()));
            let table = table.with_missing(&others.cloned().collect::<Vec<_>>())?;
            Ok(table.rows_of(&trainer.schema().table, trainer.columns())?)
        })?;
        let mut scored: Vec<Said> = Vec::new();
        let mut more = true;
        while more {
            py.check_signals()?;
            more = self.with(py, |State { trainer, .. }| {
                for _ in 0..CHECK_EVERY {
                    if !rows.advance()? {
                        return Ok(false);
                    }
                    scored.push(said(trainer.score(&rows.record())?));
                }
                Ok(true)
            })?;
        }
        let probabilities: Vec<f32> = scored.iter().map(|(probability, ..)| *probability).collect();
        let decisions: Vec<bool> = scored.iter().map(|(.., decision)| *decision).collect();
        Ok((probabilities.to_pyarray(py), decisions.to_pyarray(py)))
    }

    /// Returns what the unfavourable and the favourable outcome are called where a table first has
    /// them; None where it has not.
    fn outcomes(&self, py: Python<'_>, table: &Table) -> PyResult<Outcomes> {
        let (schema, columns) =
            self.with(py, |State { trainer, .. }| Ok((trainer.schema().clone(), trainer.columns().clone())))?;
        let is_truth = table.is_truth(&schema.target.column);
        let found = detached(py, || {
            let rows = Interruptible::new(table.0.rows_of(&schema.table, &columns)?);
            let target = rows.column(&schema.target.column, "target.column")?;
            let mut stream = Stream::new(rows, &schema, Use::Score)?;
            let mut found = [const { None }; 2];
            while found.contains(&None)
                && let Some(row) = stream.next_row()?
            {
                let Some(label) = row.label else { continue };
                let place = &mut found[usize::from(label)];
                if place.is_none() {
                    *place = Some(match row.cell(target) {
                        Cell::Number(number) => Name::Number(number),
                        cell => Name::Text(String::from_utf8_lossy(&cell.text().unwrap_or_default()).into_owned()),
                    });
                }
            }
            Ok(found)
        })?;
        let name = |name: Name| -> PyResult<Py<PyAny>> {
            Ok(match name {
                Name::Number(number) if number.fract() == 0.0 && is_exact(number as i64) => {
                    (number as i64).into_pyobject(py)?.into_any().unbind()
                }
                Name::Number(number) => number.into_pyobject(py)?.into_any().unbind(),
                Name::Text(text) if is_truth => (text == "true").into_pyobject(py)?.to_owned().into_any().unbind(),
                Name::Text(text) => text.into_pyobject(py)?.into_any().unbind(),
            })
        };
        let [unfavourable, favourable] = found;
        Ok((unfavourable.map(name).transpose()?, favourable.map(name).transpose()?))
    }

    /// Returns the values of the target that are the unfavourable and the favourable outcome, as
    /// far as the schema or the rows say.
    fn labels(&self, py: Python<'_>) -> PyResult<(Vec<String>, Vec<String>)> {
        self.with(py, |State { trainer, .. }| {
            let target = &trainer.schema().target;
            let mut negative = target.negative.clone();
            negative.extend(trainer.implied_negatives().values().map(|(value, _)| value.to_owned()));
            Ok((negative, target.positive.clone()))
        })
    }

    /// Returns what became of the rows, each counted once.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.with(py, |state| Ok(state.trainer.counts()))?;
        [
            ("read", counts.read),
            ("filtered", counts.filtered),
            ("unlabelled", counts.unlabelled),
            ("weightless", counts.weightless),
            ("favourable", counts.positive),
            ("unfavourable", counts.negative),
        ]
        .into_py_dict(py)
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

    /// Returns what was learned, how well, and how fair: the JSON of `feamoe train`, except for the
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

/// Returns the column of the outcome that a schema names, its unfavourable and its favourable
/// values.
#[pyfunction]
pub fn target_of(schema: &str) -> PyResult<(String, Vec<String>, Vec<String>)> {
    let target = Schema::from_toml("schema", schema).map_err(Fault::from)?.target;
    Ok((target.column, target.negative, target.positive))
}
