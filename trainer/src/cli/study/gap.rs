//! A stream with a sudden gap between two groups: how soon and how far a target closes it.

use std::ops::Range;

use feamoe::learner::LearnerOptions;
use feamoe::rows::Cells;
use feamoe::schema::Schema;
use feamoe::training::{Options, Trainer};
use schemars::JsonSchema;
use serde::Serialize;

use super::generators::{Generated, Random, put};
use super::regimes::{StudyError, with_targets};
use super::streams::Share;

const ROWS: u64 = 24_000;
/// The row (counted from 0) from which one group has fewer favourable labels.
const JUMP: u64 = 12_000;
/// Rows soon after the jump.
const SOON: Range<u64> = JUMP + 1_500..JUMP + 3_500;
/// Rows at the end of the stream.
const LAST: Range<u64> = ROWS - 4_000..ROWS;
/// Default number of seeds.
const RUNS: u64 = 5;
/// Targets in the format of `--fair`.
pub const TARGETS: [&str; 3] = ["", "spd=0.05", "spd=0.01"];

/// The protected column `sex` is not a feature.
const COLUMNS: [&str; 6] = ["a", "b", "c", "proxy", "sex", "y"];
const SCHEMA: &str = r#"
[target]
column = "y"
positive = ["1"]
negative = ["0"]

[[protected]]
column = "sex"
privileged = ["level 0"]
"#;

/// The results with one target: means over the runs.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct GapRow {
    /// The target, in the format of `--fair`; empty for none.
    pub fair: &'static str,
    /// Number of runs.
    pub runs: u64,
    /// Prequential accuracy over the whole stream.
    pub accuracy: f64,
    /// Magnitude of the SPD of the decisions in rows 1,500 to 3,500 after the jump.
    pub soon: f64,
    /// Magnitude of the SPD of the decisions in the last 4,000 rows.
    pub last: f64,
}

/// Learns the stream with a target.
///
/// # Errors
/// See [`StudyError`].
pub fn study(fair: &'static str, runs: Option<u64>) -> Result<GapRow, StudyError> {
    let schema = Schema::from_toml("a generated stream", SCHEMA)?;
    let runs = runs.unwrap_or(RUNS);
    let mut sum = GapRow { fair, runs, ..GapRow::default() };
    for seed in 1..=runs {
        let options = Options::new(with_targets(LearnerOptions::default().seed(seed), fair)?.check()?);
        let mut trainer = Trainer::new(&COLUMNS, schema.clone(), &options)?;
        let (mut random, mut generated, mut cells) = (Random::new(seed), Vec::new(), Cells::new(COLUMNS.len()));
        let (mut soon, mut last) = <([Share; 2], [Share; 2])>::default();
        for row in 0..ROWS {
            let is_female = random.uniform() < 0.4;
            let label = next(row, is_female, &mut random, &mut generated);
            put(&generated, label, &mut cells);
            let Some(prediction) = trainer.learn(&cells.record("a gap that jumps", row + 1))? else { continue };
            for (span, groups) in [(SOON, &mut soon), (LAST, &mut last)] {
                if span.contains(&row) {
                    groups[usize::from(is_female)].count(prediction.decision);
                }
            }
        }
        sum.accuracy += f64::from(trainer.prequential().summary().total.accuracy);
        sum.soon += gap(soon);
        sum.last += gap(last);
    }
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    [&mut sum.accuracy, &mut sum.soon, &mut sum.last].into_iter().for_each(|mean| *mean /= runs as f64);
    Ok(sum)
}

/// Writes the next row and returns its label.
fn next(row: u64, is_female: bool, random: &mut Random, cells: &mut Vec<Generated>) -> bool {
    let shift = match (is_female, row < JUMP) {
        (false, _) => 0.0,
        (true, true) => 0.4,
        (true, false) => -1.4,
    };
    let a = random.normal() - if is_female { 0.3 } else { 0.0 };
    let (b, c) = (random.normal(), random.uniform());
    let proxy = if is_female { [0, 0, 0, 1, 2] } else { [0, 1, 1, 2, 2] }[random.below(5) as usize];
    cells.clear();
    cells.extend([a, b, c].map(Generated::Number));
    cells.extend([proxy, u64::from(is_female)].map(Generated::Level));
    random.says(-0.3 + 1.1 * a - 0.8 * b * b + if c > 0.6 { 0.7 } else { 0.0 } + shift)
}

/// Returns the magnitude of the SPD of the decisions on two groups; NaN if a group has no rows.
fn gap(groups: [Share; 2]) -> f64 {
    let [men, women] = groups.map(|group| group.value().unwrap_or(f64::NAN));
    (women - men).abs()
}
