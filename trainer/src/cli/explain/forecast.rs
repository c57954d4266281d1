//! Estimates how long exact and sampled values of a whole file will take.

use std::time::{Duration, Instant};

use feamoe::explanation::{Batch, Explainer};
use feamoe::rows::{Input, Source, open};
use feamoe::schema::Table;

/// The speed of the machine is measured by explaining records for this long. The results are kept.
const CALIBRATION: Duration = Duration::from_millis(50);
/// Shorter work is not announced.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// Counts the records of files. Returns `None` if they cannot be read, or not twice; an error is
/// reported later, when the records are explained.
pub fn count(inputs: &[Input], table: &Table) -> Option<u64> {
    let are_files = inputs.iter().all(|input| input.stored_bytes().is_some());
    let mut records = are_files.then(|| open(inputs, table).ok())??;
    records.want(&[]);
    while records.advance().ok()? {}
    Some(records.record().position.number)
}

/// Explains some records of the first batch, and returns the estimated time for `records` similar
/// records; `None` if that is short.
#[allow(clippy::cast_precision_loss)]
pub fn forecast(
    explainer: &Explainer<'_>,
    batch: &mut Batch<'_, '_>,
    records: u64,
) -> anyhow::Result<Option<Duration>> {
    let start = Instant::now();
    let mut measured = 0;
    while start.elapsed() < CALIBRATION && batch.explain_one()? {
        measured += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    // In proportion to the coalitions of the records where they are known; otherwise as if all
    // records took the same time.
    let costs = batch.slots().iter().map(|slot| explainer.coalitions(&slot.record));
    let costs: Vec<Option<u64>> = costs.collect::<Result<_, _>>()?;
    let costs: Vec<f64> = match costs.iter().copied().collect::<Option<Vec<u64>>>() {
        Some(costs) => costs.into_iter().map(|cost| cost as f64).collect(),
        None => vec![1.0; costs.len()],
    };
    let of_measured: f64 = costs.iter().take(measured).sum();
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    let all = seconds / of_measured * mean * records as f64 / rayon::current_num_threads() as f64;
    Ok(Duration::try_from_secs_f64(all).ok().filter(|all| *all > WORTH_A_WORD))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_of_files_are_counted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = ["one", "two"].map(|name| Input::File(folder.path().join(name)));
        std::fs::write(folder.path().join("one"), "a,b\n1,2\n\n3,4\n").unwrap();
        assert_eq!(count(&inputs, &Table::default()), None);
        std::fs::write(folder.path().join("two"), "b,a\n5,6\n").unwrap();
        assert_eq!(count(&inputs, &Table::default()), Some(3));
        assert_eq!(count(&[Input::Stdin], &Table::default()), None);
    }
}
