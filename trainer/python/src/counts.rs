//! What evaluations of shards count, added up.

use feamoe::judge::counts::EvaluationCounts;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Fault, detached, message};

/// Adds up the counts of shards, given by number, in their order.
#[pyfunction]
pub fn sum_counts<'py>(py: Python<'py>, shards: Vec<(u64, Vec<u8>)>) -> PyResult<Bound<'py, PyBytes>> {
    let sum = detached(py, || {
        let mut sum: Option<EvaluationCounts> = None;
        for (shard, bytes) in shards {
            // Decoded one at a time, because each takes 16 MiB.
            let counts = EvaluationCounts::from_bytes(&bytes);
            let added = counts.and_then(|counts| match &mut sum {
                Some(sum) => sum.add(&counts),
                None => {
                    sum = Some(counts);
                    Ok(())
                }
            });
            added.map_err(|error| message(format!("shard {shard}: {error}")))?;
        }
        let sum = sum.ok_or_else(|| message("found no counts, expected those of at least one shard"))?;
        sum.to_bytes().map_err(message)
    });
    Ok(PyBytes::new(py, &sum?))
}

/// Returns the rows that were counted.
#[pyfunction]
pub fn counted_rows(py: Python<'_>, counts: &[u8]) -> PyResult<u64> {
    detached(py, || Ok(read(counts)?.rows()))
}

/// Returns the JSON of `feamoe evaluate` on all that was counted.
#[pyfunction]
pub fn evaluation_of(py: Python<'_>, counts: &[u8]) -> PyResult<String> {
    detached(py, || serde_json::to_string(&read(counts)?.evaluation()?).map_err(message))
}

fn read(counts: &[u8]) -> Result<EvaluationCounts, Fault> {
    EvaluationCounts::from_bytes(counts).map_err(message)
}
