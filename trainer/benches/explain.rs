//! What scores and explanations take on one core: `FEAMOE_DATA=FOLDER cargo bench -p feamoe --bench
//! explain`.
//!
//! Prints microseconds a row, best of some passes, and the ratios that are promised. Two kinds of
//! model: one learned from Adult with all its 14 features and 11 experts, against its own records;
//! and drawn ones of 14 and 20 features, all of which differ from a single background record.
//! `tests/peers` runs this beside other packages.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use feamoe::explanation::Fastest;
use feamoe::learner::LearnerOptions;
use feamoe::model::{Content, FeatureContent};
use feamoe::rows::{Input, Records, Source};
use feamoe::schema::Schema;
use feamoe::training::{self, Options};
use feamoe_engine::attribution::tile::Portable;
use feamoe_engine::attribution::{Background, Game, Sampling, Workspace};
use feamoe_engine::format::Provenance;
use feamoe_engine::mixture::{Term, stride};
use feamoe_engine::schema::Kind;
use feamoe_engine::{Attribution, FeatureIndex, Model, Record, Score};

/// Records explained a pass, and background records of Adult.
const ROWS: usize = 100;
const PASSES: usize = 15;
const EXPERTS: usize = 11;

/// As a service would choose it.
type BenchModel<'a> = Model<'a, 20, 12>;
type BenchRecord<'m> = Record<'m, 20>;
type BenchAttribution = Attribution<20, 12>;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::var_os("FEAMOE_DATA").map(PathBuf::from) else {
        println!("skipped: FEAMOE_DATA not set");
        return Ok(());
    };
    adult(&folder)?;
    for features in [14, 20] {
        one_baseline(features)?;
    }
    Ok(())
}

fn adult(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut schema = Schema::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/adult.toml")))?;
    schema.features.drop.clear();
    let training = [Input::from(folder.join("adult.data").as_path())];
    let learner = LearnerOptions::default().experts(EXPERTS).check()?;
    let run = training::run(&training, &schema, &Options::new(learner), &mut training::unwatched)?;
    let bytes = run.model()?.bytes;
    let model = BenchModel::load(bytes.as_slice())?;
    println!("Adult: {} features, {} experts", model.schema().features().len(), model.experts());
    let test = [Input::from(folder.join("adult.test").as_path())];
    let (rows, others) = (records(&model, &test, &schema)?, records(&model, &training, &schema)?);

    let mut score = Score::new();
    let mut why = BenchAttribution::new();
    let scored = report("score", &rows, 200, |record| model.score_into(record, &mut score).is_ok());
    let frozen = report("score + frozen", &rows, 200, |record| model.frozen_into(record, &mut why).is_ok());
    println!("ratio: score + frozen takes {:.2} times a score", frozen / scored);
    let naive = naive_score();
    println!("ratio to a naive dense loop: score {:.4}, score + frozen {:.4}", scored / naive, frozen / naive);
    report("score + path", &rows, 100, |record| model.path_into(record, &mut why).is_ok());
    exact("exact, 100 background rows", &model, &rows, &others, 1);
    Ok(())
}

/// The yardstick of this machine: a score as a naive port computes it, by dense dot products with a
/// one-hot record and the exponentials of the standard library. Returns and prints microseconds.
fn naive_score() -> f64 {
    const COLUMNS: usize = 108;
    let unit = |index: usize| (index as f32 * 0.618_034).fract();
    let weights: Vec<[f32; COLUMNS]> =
        (0..2 * EXPERTS).map(|row| std::array::from_fn(|column| unit(row * COLUMNS + column) - 0.5)).collect();
    let one_hot: [f32; COLUMNS] = std::array::from_fn(|column| if column < 6 || column % 12 == 7 { 1.0 } else { 0.0 });
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        for _ in 0..200 * ROWS {
            let record = black_box(&one_hot);
            let logit =
                |row: &[f32; COLUMNS]| row.iter().zip(record).map(|(weight, value)| weight * value).sum::<f32>();
            let (gate, experts) = weights.split_at(EXPERTS);
            let (sum, weighted) = gate.iter().zip(experts).fold((0.0, 0.0), |(sum, weighted), (gate, expert)| {
                let share = logit(gate).exp();
                (sum + share, weighted + share / (1.0 + (-logit(expert)).exp()))
            });
            black_box(weighted / sum);
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / (200 * ROWS) as f64);
    }
    println!("naive dense score: {best:.3} us a row");
    best
}

fn one_baseline(features: usize) -> Result<(), Box<dyn Error>> {
    let content = drawn(features);
    let bytes = content.to_bytes(false)?;
    let model = BenchModel::load(bytes.as_slice())?;
    let all = |level| {
        let mut record = model.record();
        (0..features).try_for_each(|feature| record.set_level(FeatureIndex(feature), Some(level)).map(drop))?;
        Ok::<_, Box<dyn Error>>(record)
    };
    println!("one baseline, {features} features that differ, {EXPERTS} experts");
    exact(
        &format!("exact, one baseline, d = {features}"),
        &model,
        &[all(0)?],
        &[all(1)?],
        if features < 20 { 50 } else { 1 },
    );
    Ok(())
}

/// Exact values of some records by each kernel.
fn exact(name: &str, model: &BenchModel<'_>, rows: &[BenchRecord<'_>], others: &[BenchRecord<'_>], repeats: usize) {
    let mut terms = vec![Term::default(); Background::terms_needed(model) * others.len()];
    let mut factors = vec![0.0; Background::factors_needed(model) * others.len()];
    let mut background = Background::new(model, &mut terms, &mut factors);
    others.iter().for_each(|other| assert!(background.push(model, other).is_ok()));
    let mut workspace = Workspace::new();
    let mut why = BenchAttribution::new();
    let mut by =
        |kernel: &str, play: &dyn Fn(&BenchRecord<'_>, &mut Workspace<20, 12>, &mut BenchAttribution) -> bool| {
            report(&format!("{name}, {kernel}"), rows, repeats, |record| play(record, &mut workspace, &mut why))
        };
    by("portable", &|record, workspace, why| {
        model.exact_with(&Portable, record, &background, &Game::default(), workspace, |_| true, why).is_ok()
    });
    by("fastest", &|record, workspace, why| {
        model.exact_with(&Fastest, record, &background, &Game::default(), workspace, |_| true, why).is_ok()
    });
    let (sampling, mut evaluations) = (Sampling { tolerance: 2e-3, ..Sampling::default() }, 0);
    let taken = by("sampled to a standard error of 0.002", &|record, workspace, why| {
        model.sampled_into(record, &background, &Game::default(), &sampling, workspace, |_| true, why).is_ok()
    });
    for record in rows {
        assert!(
            model
                .sampled_into(record, &background, &Game::default(), &sampling, &mut workspace, |_| true, &mut why)
                .is_ok()
        );
        evaluations += why.evaluations;
    }
    let each = evaluations as f64 / rows.len() as f64;
    println!("{name}, sampled: {each:.0} evaluations a row, {:.1} ns each", 1e3 * taken / each);
    let coalitions: u64 = rows
        .iter()
        .filter_map(|record| model.exact_cost(record, &background, &Game::default()).ok())
        .map(|cost| cost.coalitions)
        .sum();
    println!("{name}: {} coalitions a row", coalitions / rows.len() as u64);
}

/// Prints and returns the microseconds that a record takes.
fn report(name: &str, rows: &[BenchRecord<'_>], repeats: usize, mut work: impl FnMut(&BenchRecord<'_>) -> bool) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        for _ in 0..repeats {
            for record in rows {
                assert!(black_box(work(black_box(record))));
            }
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / (rows.len() * repeats) as f64);
    }
    println!("{name}: {best:.3} us a row");
    best
}

/// Reads the first records of a file.
fn records<'m>(
    model: &'m BenchModel<'m>,
    input: &[Input],
    schema: &Schema,
) -> Result<Vec<BenchRecord<'m>>, Box<dyn Error>> {
    let mut file = Records::open(input, &schema.table)?;
    let mut read = Vec::new();
    while read.len() < ROWS && file.advance()? {
        let mut record = model.record();
        for (index, feature) in model.schema().features().iter().enumerate() {
            let name = model.schema().feature_name(index).ok_or("no name")?;
            let row = file.record();
            let Some(cell) = row.cell(file.column(name, "the model")?).text() else { continue };
            let cell = std::str::from_utf8(&cell)?;
            _ = match feature.kind() {
                Kind::Number { .. } => record.set_number(FeatureIndex(index), cell.parse()?)?,
                Kind::Category { .. } => record.set_category(FeatureIndex(index), cell)?,
            };
        }
        read.push(record);
    }
    Ok(read)
}

/// A model of two levels a feature, of weights between -1 and 1.
fn drawn(features: usize) -> Content {
    let mut number = 0_u32;
    let mut row = || -> Vec<f32> {
        let mut row: Vec<f32> = (0..2 * EXPERTS)
            .map(|_| {
                number += 1;
                (number as f32 * 0.618_034).fract() * 2.0 - 1.0
            })
            .collect();
        row.resize(stride(EXPERTS), 0.0);
        row
    };
    Content {
        threshold: 0.5,
        provenance: Provenance::default(),
        experts: EXPERTS,
        positive_name: "yes".into(),
        bias: row(),
        rows: (0..4 * features).flat_map(|_| row()).collect(),
        edges: Vec::new(),
        deviations: Vec::new(),
        calibration: Vec::new(),
        background: Vec::new(),
        features: (0..features)
            .map(|feature| FeatureContent {
                name: format!("feature {feature}"),
                kind: Kind::Category { levels: 2 },
                levels: vec!["a".into(), "b".into()],
            })
            .collect(),
    }
}
