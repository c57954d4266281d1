//! The learner on generated streams: its accuracy while they change, and its recovery afterwards.

use anyhow::Context as _;
use feamoe::encoder::Encoder;
use feamoe::learner::LearnerOptions;
use feamoe::rows::Cells;
use feamoe::schema::Schema;
use feamoe::training::{Options, Trainer};
use schemars::JsonSchema;
use serde::Serialize;

use super::generators::{Generator, ROWS, Rows, put};

/// Rows after a change in which the exported model is compared with the learner.
const SOON: std::ops::Range<u64> = 500..1_000;
/// Rows after a change by which the learner should be as accurate again as before.
const LATER: std::ops::Range<u64> = 3_000..5_000;
/// Number of first rows whose decisions use as threshold the share of favourable labels so far.
const FIRST: u64 = 2_000;
/// Default number of seeds.
const RUNS: u64 = 5;

/// The results on a stream: means over the runs. Accuracies are prequential.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct StreamRow {
    /// Name of the stream.
    pub stream: &'static str,
    /// Number of runs.
    pub runs: u64,
    /// Accuracy over the whole stream.
    pub accuracy: f64,
    /// Log-loss over the whole stream.
    pub log_loss: f64,
    /// Balanced accuracy over the first 2,000 rows, with the share of favourable labels so far as
    /// the threshold. For correct scores this threshold is the best one, whatever the share.
    pub first: f64,
    /// Accuracy in rows 500 to 1,000 after each change; null if the stream has no sudden change.
    pub soon: Option<f64>,
    /// Accuracy of the model that would be exported, in the same rows; null if the stream has no
    /// sudden change.
    pub exported_soon: Option<f64>,
    /// Accuracy in rows 3,000 to 5,000 after each change; null if the stream has no sudden change.
    pub later: Option<f64>,
    /// Number of changes of the encoding: numbers refitted, levels replaced, empty columns filled.
    pub refits: f64,
    /// Number of experts at the end.
    pub experts: f64,
}

/// A share, counted row by row.
#[derive(Clone, Copy, Default)]
pub struct Share(u64, u64);

impl Share {
    pub fn count(&mut self, is_counted: bool) {
        self.0 += u64::from(is_counted);
        self.1 += 1;
    }

    #[allow(clippy::cast_precision_loss)] // far below 2^53
    pub fn value(self) -> Option<f64> {
        (self.1 > 0).then(|| self.0 as f64 / self.1 as f64)
    }
}

/// Learns a generated stream with default options.
pub fn study(generator: Generator, runs: Option<u64>) -> anyhow::Result<StreamRow> {
    let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\nnegative = [\"0\"]\n";
    let schema = Schema::from_toml("a generated stream", schema)?;
    let columns: Vec<String> =
        (1..=generator.width()).map(|column| format!("x{column}")).chain(["y".to_owned()]).collect();
    let runs = runs.unwrap_or(RUNS);
    let mut sum = StreamRow { stream: generator.name(), runs, ..StreamRow::default() };
    let (mut soon, mut exported_soon, mut later) = <(Share, Share, Share)>::default();
    for seed in 1..=runs {
        let options = Options::new(LearnerOptions::default().seed(seed).check()?);
        let mut trainer = Trainer::new(&columns, schema.clone(), &options)?;
        let (mut rows, mut generated) = (Rows::new(generator, seed), Vec::new());
        let mut at_first = [Share::default(); 2];
        let (mut cells, changes) = (Cells::new(columns.len()), generator.changes());
        for row in 0..ROWS {
            let label = rows.next(&mut generated);
            put(&generated, label, &mut cells);
            let Some(prediction) = trainer.learn(&cells.record(generator.name(), row + 1))? else { continue };
            if row < FIRST {
                let [unfavourable, favourable] = &at_first;
                let share = (favourable.1 + 1) as f64 / (unfavourable.1 + favourable.1 + 2) as f64;
                at_first[usize::from(label)].count((f64::from(prediction.probability) >= share) == label);
            }
            let after = changes.iter().rev().find(|change| **change <= row).map(|change| row - change);
            let Some(after) = after else { continue };
            if SOON.contains(&after) {
                soon.count(prediction.decision == label);
                exported_soon.count((prediction.exported >= prediction.exported_threshold) == label);
            }
            if LATER.contains(&after) {
                later.count(prediction.decision == label);
            }
        }
        sum.first += at_first.iter().filter_map(|share| share.value()).sum::<f64>() / 2.0;
        let total = trainer.prequential().summary().total;
        sum.accuracy += f64::from(total.accuracy);
        sum.log_loss += total.log_loss;
        sum.refits += trainer.encoder().map_or(0, Encoder::n_changes) as f64;
        sum.experts += trainer.learner().experts() as f64;
    }
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let count = runs as f64;
    for mean in [&mut sum.first, &mut sum.accuracy, &mut sum.log_loss, &mut sum.experts, &mut sum.refits] {
        *mean /= count;
    }
    (sum.soon, sum.exported_soon, sum.later) = (soon.value(), exported_soon.value(), later.value());
    (sum.accuracy > 0.0).then_some(sum).context("no row was learned from")
}
