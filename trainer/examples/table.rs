//! Trains on a table in memory, without a file of rows: an `ndarray` view, a checkpoint, newer rows
//! in batches of Arrow, a model, scores and explanations. `cargo run -p feamoe --example table`.

use std::sync::Arc;

use arrow_array::{Array, Float64Array, RecordBatch, RecordBatchIterator};
use feamoe::explanation::{Explainer, Procedure, attributions};
use feamoe::judge;
use feamoe::learner::LearnerOptions;
use feamoe::model::{AnyModel, HostModel};
use feamoe::rows::{ArrayRows, ArrowRows};
use feamoe::schema::{Schema, Table};
use feamoe::training::{Options, Trainer};
use feamoe_engine::fairness::Measure;
use ndarray::{Array2, s};

const COLUMNS: [&str; 4] = ["income", "debt", "sex", "repaid"];
const SCHEMA: &str = r#"
    [target]
    column = "repaid"
    positive = ["1"]
    [[protected]]
    column = "sex"
    privileged = ["1"]
"#;
const ROWS: usize = 12_000;

/// Applicants: income and debt in thousands, sex as 0 or 1, and whether the loan was repaid. Women
/// (0) are paid less.
fn applicants() -> Array2<f64> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let mut table = Array2::zeros((ROWS, COLUMNS.len()));
    for mut row in table.rows_mut() {
        let sex = f64::from(u8::from(uniform() < 0.6));
        let income = (30.0 + 8.0 * sex + 40.0 * uniform() * uniform()).round();
        let debt = (30.0 * uniform()).round();
        let repaid = f64::from(u8::from(income - debt + 15.0 * uniform() > 35.0));
        // One income in twenty is not known.
        let income = if uniform() < 0.05 { f64::NAN } else { income };
        row.assign(&ndarray::arr1(&[income, debt, sex, repaid]));
    }
    table
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let table = applicants();
    let (older, newer) = (table.slice(s![..8_000, ..]), table.slice(s![8_000.., ..]));

    // The favourable decisions of both sexes are to differ by 5 points at most.
    let schema = Schema::from_toml("applicants", SCHEMA)?;
    let learner = LearnerOptions::default().target(Measure::Spd, 0.05).check()?;
    let mut trainer = Trainer::new(&COLUMNS, schema, &Options::new(learner))?;
    trainer.learn_all(&mut ArrayRows::new(older, &COLUMNS)?)?;

    // The complete state, to be kept wherever you like; then newer rows, as Arrow has them.
    let stored = trainer.checkpoint().to_bytes()?;
    let mut trainer = Trainer::from_bytes(&stored)?;
    let batch = RecordBatch::try_from_iter(COLUMNS.iter().zip(newer.columns()).map(|(name, column)| {
        let values: Arc<dyn Array> = Arc::new(Float64Array::from(column.to_vec()));
        (name, values)
    }))?;
    let batches = RecordBatchIterator::new([Ok(batch.slice(0, 1_500)), Ok(batch.slice(1_500, 2_500))], batch.schema());
    trainer.learn_all(&mut ArrowRows::new("newer applicants", batches, &Table::default())?)?;
    println!("learned from {} rows, {} bytes of state", trainer.rows(), stored.len());
    for window in trainer.prequential().summary().windows.iter().step_by(4) {
        let spd = window.spd.unwrap_or(f32::NAN);
        println!(
            "from row {:5}: accuracy {:.3}, statistical parity difference {spd:+.3}",
            window.from, window.accuracy
        );
    }

    // The model file: read back by the engine, and compared with the learner row by row.
    let exported = trainer.model()?;
    let file = tempfile::NamedTempFile::with_suffix(".feamoe")?;
    std::fs::write(file.path(), exported.bytes.as_slice())?;
    println!("a model of {} bytes, checked on {} rows", exported.bytes.as_slice().len(), exported.checked_rows);

    let model = HostModel::load(exported.bytes.as_slice())?;
    let scores = judge::scores(AnyModel::Float(&model), &mut ArrayRows::new(newer, &COLUMNS)?)?;
    println!("{} scores, {:.3} on average", scores.len(), scores.mean().unwrap_or(f32::NAN));
    let explainer = Explainer::new(AnyModel::Float(&model), Procedure::Path, &[])?;
    let why = attributions(&explainer, &mut ArrayRows::new(newer, &COLUMNS)?)?;
    for (player, values) in explainer.players().iter().zip(why.values.columns()) {
        println!(
            "  {:8} adds {:.3} up or down on average",
            player.name,
            values.mapv(f32::abs).mean().unwrap_or(f32::NAN)
        );
    }
    Ok(())
}
