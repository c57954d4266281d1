//! One model scored by several threads: `cargo bench -p feamoe --bench threads`.
//!
//! Nothing is shared but the model, which no thread changes: there is no lock to wait for, and
//! throughput grows with the cores. Prints scores a second, best of some passes, for one thread and
//! for as many as there are cores; `THREADS` sets another number.

use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use feamoe_engine::Value;
use feamoe_engine::schema::Kind;
use feamoe_engine::{FeatureIndex, Model, Record, Score, include_model};

/// 13 features, 12 experts, learned from Adult.
static MODEL: &[u8] = include_model!("../../engine/golden/adult-gated.feamoe");
const RECORDS: usize = 100;
/// Scores a thread and pass.
const SCORES: usize = 2_000_000;
const PASSES: usize = 7;

type BenchModel<'a> = Model<'a, 16, 12>;
type BenchRecord<'m> = Record<'m, 16>;

fn main() -> Result<(), Box<dyn Error>> {
    let model = BenchModel::load(MODEL)?;
    let records = (0..RECORDS).map(|number| record(&model, number)).collect::<Result<Vec<_>, _>>()?;
    let cores = match std::env::var("THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => std::thread::available_parallelism()?.get(),
    };
    let alone = report(&model, &records, 1);
    if cores > 1 {
        println!("ratio: {:.2}", report(&model, &records, cores) / alone);
    }
    Ok(())
}

/// A record that goes through ranges and levels as its number does.
fn record<'m>(model: &'m BenchModel<'_>, number: usize) -> Result<BenchRecord<'m>, Box<dyn Error>> {
    let mut record = model.record();
    for (index, feature) in model.schema().features().iter().enumerate() {
        let value = match feature.kind() {
            Kind::Number { low, high, .. } => Value::Number(low + (high - low) * number as f32 / RECORDS as f32),
            Kind::Category { levels } => {
                Value::Level(u16::try_from(number * (index + 1) % usize::from(levels.max(1)))?)
            }
        };
        _ = record.set_value(FeatureIndex(index), value)?;
    }
    Ok(record)
}

/// Prints and returns the scores a second of all threads together.
fn report(model: &BenchModel<'_>, records: &[BenchRecord<'_>], threads: usize) -> f64 {
    let pass = || {
        let start = Barrier::new(threads + 1);
        std::thread::scope(|scope| {
            let score = || {
                let mut score = Score::new();
                start.wait();
                for record in records.iter().cycle().take(SCORES) {
                    let scored = model.score_into(black_box(record), &mut score);
                    assert!(scored.is_ok());
                    black_box(&score);
                }
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(score)).collect();
            start.wait();
            let begun = Instant::now();
            running.into_iter().for_each(|thread| assert!(thread.join().is_ok()));
            (threads * SCORES) as f64 / begun.elapsed().as_secs_f64()
        })
    };
    let best = (0..PASSES).map(|_| pass()).fold(0.0, f64::max);
    println!(
        "{threads} threads: {:.2} million scores/s, {:.3} us a score and thread",
        best / 1e6,
        threads as f64 / best * 1e6
    );
    best
}
