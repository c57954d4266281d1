//! The feamoe library as a module of Python, `feamoe._feamoe`: tables, models, learners. Numbers
//! come back as numpy arrays; documents as the JSON that the command prints, for
//! the package's own Python code (`python/feamoe`) to make objects of.
//!
//! Contract: the GIL is released around all work; a panic becomes a [`FeamoeError`] as any other
//! fault does; results do not depend on the number of threads.

mod cells;
mod counts;
mod error;
mod explain;
mod export;
mod learner;
mod model;
mod table;

use pyo3::prelude::*;

/// Tables, models and learners.
#[pymodule]
fn _feamoe(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let error = module.py().get_type::<error::FeamoeError>();
    for name in ["column", "row", "found", "expected"] {
        error.setattr(name, module.py().None())?;
    }
    module.add("FeamoeError", error)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<table::Table>()?;
    module.add_class::<model::Model>()?;
    module.add_class::<learner::Learner>()?;
    module.add_function(wrap_pyfunction!(counts::sum_counts, module)?)?;
    module.add_function(wrap_pyfunction!(counts::counted_rows, module)?)?;
    module.add_function(wrap_pyfunction!(counts::evaluation_of, module)?)?;
    module.add_function(wrap_pyfunction!(learner::check_options, module)?)?;
    module.add_function(wrap_pyfunction!(learner::target_of, module)?)?;
    module.add_function(wrap_pyfunction!(table::infer_schema, module)?)?;
    module.add_function(wrap_pyfunction!(export::devices, module)?)
}
