//! Faults of the library as Python's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use feamoe::error::Error;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pyo3::create_exception!(
    feamoe,
    FeamoeError,
    PyValueError,
    "Data, options or a file that cannot be used. `column` and `row` (from 1) say where, `found` and `expected` what; None where \
     they do not apply."
);

/// What may be raised: everything that says what is wrong.
pub enum Fault {
    /// Of the library.
    Feamoe(Error),
    /// Of Python, such as Ctrl-C.
    Python(PyErr),
    /// Something else, in words.
    Message(String),
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
        let error = match fault {
            Fault::Python(error) => return error,
            Fault::Message(message) => return raised(message, &Error::Input(String::new())),
            Fault::Feamoe(error) => error,
        };
        raised(error.to_string(), &error)
    }
}

fn raised(message: String, error: &Error) -> PyErr {
    Python::attach(|py| {
        let raised = FeamoeError::new_err(message);
        let value = raised.value(py);
        let set = value
            .setattr("column", error.column())
            .and_then(|()| value.setattr("row", error.row()))
            .and_then(|()| value.setattr("found", error.found()))
            .and_then(|()| value.setattr("expected", error.expected()));
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

/// Returns an error where the user asked to stop. Takes the GIL for a moment.
pub fn check_signals() -> Result<(), Fault> {
    Python::attach(|py| py.check_signals()).map_err(Fault::Python)
}
