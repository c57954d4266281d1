//! Faults of the library as Python's.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use feamoe::error::Error;
use feamoe::rows::{BadCells, Digest, Record, Source};
use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::prelude::*;

/// Time between two looks whether the user asked to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pyo3::create_exception!(
    feamoe,
    FeamoeError,
    PyValueError,
    "Invalid data, options or file. `column` and `row` (from 1) state the position, `found` and `expected` the values; None if \
     they do not apply."
);

/// What may be raised: everything that says what is wrong.
pub enum Fault {
    /// Of the library.
    Feamoe(Error),
    /// Of Python, such as Ctrl-C.
    Python(PyErr),
    /// A value of Python that is no cell of a table.
    Value(Misfit),
    /// Something else, in words.
    Message(String),
}

/// What was found in the place of a cell.
#[derive(Default)]
pub struct Misfit {
    column: Option<String>,
    row: Option<u64>,
    found: String,
    expected: &'static str,
}

impl Fault {
    /// Makes a fault of a value that is no cell.
    pub fn misfit(found: String, expected: &'static str) -> Self {
        Self::Value(Misfit { found, expected, ..Misfit::default() })
    }

    /// Says which row a value is of, from 1.
    pub fn in_row(self, row: u64) -> Self {
        match self {
            Self::Value(misfit) => Self::Value(Misfit { row: Some(row), ..misfit }),
            fault => fault,
        }
    }

    /// Says which column it is about.
    pub fn in_column(self, column: &str) -> Self {
        match self {
            Self::Value(misfit) => Self::Value(Misfit { column: Some(column.to_owned()), ..misfit }),
            fault => fault,
        }
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { column, row, found, expected } = self;
        match (column, row) {
            (Some(column), Some(row)) => write!(f, "column {column:?}, row {row}: ")?,
            (Some(column), None) => write!(f, "column {column:?}: ")?,
            (None, Some(row)) => write!(f, "row {row}: ")?,
            (None, None) => {}
        }
        write!(f, "found {found}, expected {expected}")
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Feamoe(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// Makes a fault of an error that is known by its message.
pub fn message(error: impl std::fmt::Display) -> Fault {
    Fault::Message(error.to_string())
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Python(error) => error,
            Fault::Feamoe(Error::Interrupted { .. }) => {
                RAISED.take().unwrap_or_else(|| PyKeyboardInterrupt::new_err(()))
            }
            Fault::Feamoe(error) => {
                let column = error.column().map(str::to_owned);
                raised(error.to_string(), column, error.row(), error.found(), error.expected())
            }
            Fault::Value(misfit) => {
                let said = misfit.to_string();
                raised(said, misfit.column, misfit.row, Some(misfit.found), Some(misfit.expected.to_owned()))
            }
            Fault::Message(message) => FeamoeError::new_err(message),
        }
    }
}

fn raised(
    message: String,
    column: Option<String>,
    row: Option<u64>,
    found: Option<String>,
    expected: Option<String>,
) -> PyErr {
    Python::attach(|py| {
        let raised = FeamoeError::new_err(message);
        let value = raised.value(py);
        let set = value
            .setattr("column", column)
            .and_then(|()| value.setattr("row", row))
            .and_then(|()| value.setattr("found", found))
            .and_then(|()| value.setattr("expected", expected));
        set.err().unwrap_or(raised)
    })
}

/// Works without the GIL; a panic is a fault.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Fault> + Send) -> PyResult<T> {
    let done = py.detach(|| catch_unwind(AssertUnwindSafe(work)));
    let done = done.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        let said = said.unwrap_or_default();
        Err(Fault::Message(format!("{said}; this is a fault in feamoe, please report it")))
    });
    Ok(done?)
}

thread_local! {
    /// What a handler of a signal raised, until [`Error::Interrupted`] is made Python's.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Returns [`Error::Interrupted`] where the user asked to stop. Takes the GIL for a moment.
pub fn check_signals(rows: u64) -> Result<(), Error> {
    keep_raised(rows, Python::attach(|py| py.check_signals()))
}

/// Keeps what Python raised, until [`Error::Interrupted`], which is returned in its place, is made
/// Python's.
pub fn keep_raised(rows: u64, called: PyResult<()>) -> Result<(), Error> {
    called.map_err(|error| {
        RAISED.replace(Some(error));
        Error::Interrupted { rows }
    })
}

/// A source that ends with [`Error::Interrupted`] where the user asked to stop.
pub struct Interruptible<S> {
    source: S,
    rows: u64,
    looked: Instant,
}

impl<S: Source> Interruptible<S> {
    /// Reads another source.
    pub fn new(source: S) -> Self {
        Self { source, rows: 0, looked: Instant::now() }
    }
}

impl<S: Source> Source for Interruptible<S> {
    fn columns(&self) -> &Arc<[String]> {
        self.source.columns()
    }

    fn want(&mut self, columns: &[usize]) {
        self.source.want(columns);
    }

    fn unreadable(&self) -> Vec<usize> {
        self.source.unreadable()
    }

    fn advance(&mut self) -> Result<bool, Error> {
        if self.looked.elapsed() >= LOOK_EVERY {
            check_signals(self.rows)?;
            self.looked = Instant::now();
        }
        self.rows += 1;
        self.source.advance()
    }

    fn record(&self) -> Record<'_> {
        self.source.record()
    }

    fn names(&self) -> &[String] {
        self.source.names()
    }

    fn digest(&self) -> Digest {
        self.source.digest()
    }

    fn bad_cells(&self) -> BadCells {
        self.source.bad_cells()
    }

    fn notes(&self) -> Vec<String> {
        self.source.notes()
    }
}
