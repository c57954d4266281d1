//! Compares the engine with its slow twin in f64: scores of arbitrary models and records.

use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Note, Transform};
use feamoe_engine::{Attribution, FeatureIndex, Model, RecordError, Recourse, Score};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Cell, EXPERTS, FEATURES, Recipe, SHARP, fill, records};
use feamoe_testkit::reference::Reference;
use feamoe_testkit::tolerance;

const MODELS: u64 = 300;
const RECORDS: usize = 40;

type TestModel<'a> = Model<'a, FEATURES, EXPERTS>;

/// Fails, naming the seed, if `found` is farther from `expected` than `tolerance`.
#[track_caller]
fn assert_close(what: &str, seed: u64, found: f32, expected: f64, tolerance: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(error <= tolerance, "seed {seed}, {what}: {found} against {expected}, error {error:e} over {tolerance:e}");
}

#[test]
fn scores_agree_with_the_slow_twin() {
    let (mut bounded, mut unbounded) = (0, 0);
    for seed in 0..MODELS {
        let recipe = Recipe::any(seed);
        let content = recipe.content(seed);
        let bytes = content.to_bytes(seed % 2 == 0);
        let model: TestModel = Model::load(bytes.as_slice()).unwrap();
        *(if model.bounded() { &mut bounded } else { &mut unbounded }) += 1;
        let reference = Reference::new(&content);
        let gate_logit = tolerance::logit(reference.terms(), f64::from(recipe.gate));
        let logit = tolerance::logit(reference.terms(), f64::from(recipe.gate.max(recipe.outputs)));
        let mut record = model.record();
        for cells in records(&content, seed, RECORDS) {
            fill(&mut record, &cells).unwrap();
            let found = model.score(&record).unwrap();
            let expected = reference.score(&cells);
            let k = content.experts;
            assert_close("p", seed, found.probability, expected.probability, tolerance::probability(k, logit));
            assert_eq!(found.decision, found.probability >= content.threshold);
            for expert in 0..k {
                assert_close("gate", seed, found.gate[expert], expected.gate[expert], tolerance::gate(k, gate_logit));
                let output = found.expert_probabilities[expert];
                assert_close("expert", seed, output, expected.outputs[expert], tolerance::output(logit));
            }
            assert!(found.gate[k..].iter().chain(&found.expert_probabilities[k..]).all(|value| *value == 0.0));
        }
    }
    assert!(bounded > 20 && unbounded > 20, "both paths of the kernel: {bounded} bounded, {unbounded} not");
}

/// A model with a calibration keeps its linear terms, so it is the same model without stepped
/// numbers.
#[test]
fn a_stepped_number_gives_the_bits_of_two_terms() {
    let mut searches = 0;
    for seed in 0..MODELS {
        let mut content = Recipe::gentle(seed).content(seed);
        content.step(|_| true);
        // Zero weights of either sign add nothing.
        content.rows.iter_mut().filter(|weight| **weight == 0.0).skip(1).step_by(2).for_each(|weight| *weight = -0.0);
        let stride = stride(content.experts);
        content.rows.chunks_mut(stride).for_each(|row| row[2 * content.experts..].fill(0.0));
        let rows = content.rows.len() / stride;
        let linear = Content { calibration: vec![1.0; rows + 2], ..content.clone() };
        let (stepped, linear) = (content.to_bytes(false), linear.to_bytes(false));
        let [stepped, linear]: [TestModel; 2] = [&stepped, &linear].map(|bytes| Model::load(bytes.as_slice()).unwrap());
        let binned = |kind| matches!(kind, Kind::Number { bins: 1.., .. });
        for (step, line) in stepped.schema().features().iter().zip(linear.schema().features()) {
            assert_eq!((step.is_stepped(), line.is_stepped()), (binned(step.kind()), false), "seed {seed}");
            assert_eq!((step.terms(), line.terms()), (1, if binned(line.kind()) { 2 } else { 1 }), "seed {seed}");
        }
        let (mut fewer, mut more) = (stepped.record(), linear.record());
        let [mut found, mut wanted] = [Attribution::new(); 2];
        let [mut near, mut nearest] = [Recourse::new(), Recourse::new()];
        for (number, cells) in records(&content, seed, RECORDS).into_iter().enumerate() {
            fill(&mut fewer, &cells).unwrap();
            fill(&mut more, &cells).unwrap();
            assert_eq!(fewer.notes(), more.notes());
            let [score, expected] = [stepped.score(&fewer).unwrap(), linear.score(&more).unwrap()];
            assert_eq!(score.probability.to_bits(), expected.probability.to_bits(), "seed {seed}");
            assert_eq!(score, expected, "seed {seed}");
            stepped.frozen_into(&fewer, &mut found).unwrap();
            linear.frozen_into(&more, &mut wanted).unwrap();
            assert_eq!(found, wanted, "seed {seed}, frozen");
            stepped.path_into(&fewer, &mut found).unwrap();
            linear.path_into(&more, &mut wanted).unwrap();
            assert_eq!(found, wanted, "seed {seed}, path");
            if number % 8 == 0 && !score.decision {
                stepped.recourse_into(&fewer, &mut near).unwrap();
                linear.recourse_into(&more, &mut nearest).unwrap();
                assert_eq!((near.distance, near.changes), (nearest.distance, nearest.changes), "seed {seed}, recourse");
                searches += 1;
            }
        }
    }
    assert!(searches > 100, "{searches} searches");
}

#[test]
fn a_calibration_keeps_the_linear_rows_that_it_sees() {
    let kind = Kind::Number { transform: Transform::Log1p, low: 0.0, high: 9.0, centre: 1.0, bins: 2 };
    let mut content = Recipe { features: 1, ..Recipe::gentle(1) }.content_of(1, |_, _| kind);
    content.step(|_| true);
    for (weight, is_stepped) in [(0.0, true), (0.5, false)] {
        content.calibration = vec![1.0, 0.0, weight, 0.1, 0.2, 0.3];
        let bytes = content.to_bytes(false);
        let model: TestModel = Model::load(bytes.as_slice()).unwrap();
        assert_eq!(model.schema().features()[0].is_stepped(), is_stepped);
    }
}

/// Scores records with a model.
fn scores(content: &Content, cells: &[Vec<Cell>]) -> Vec<Score<EXPERTS>> {
    let bytes = content.to_bytes(false);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let mut record = model.record();
    cells
        .iter()
        .map(|cells| {
            fill(&mut record, cells).unwrap();
            model.score(&record).unwrap()
        })
        .collect()
}

#[test]
fn one_expert_is_a_plain_logistic() {
    for seed in 0..50 {
        let recipe = Recipe { experts: 1, ..Recipe::any(seed) };
        let content = recipe.content(seed);
        let reference = Reference::new(&content);
        let logit = tolerance::logit(reference.terms(), f64::from(recipe.outputs));
        let cells = records(&content, seed, 20);
        for (cells, found) in cells.iter().zip(scores(&content, &cells)) {
            let z = std::f64::consts::LN_2 * reference.logits(cells)[1];
            assert_close("p", seed, found.probability, 1.0 / (1.0 + libm::exp(-z)), tolerance::output(logit));
            assert_close("gate", seed, found.gate[0], 1.0, f64::from(f32::EPSILON));
        }
    }
}

#[test]
fn permuting_experts_permutes_gate_and_outputs() {
    for seed in 0..50 {
        let content = Recipe::any(seed).content(seed);
        let k = content.experts;
        let mut turned = content.clone();
        let rotate = |row: &mut [f32]| {
            row[..k].rotate_left(1);
            row[k..2 * k].rotate_left(1);
        };
        rotate(&mut turned.bias);
        turned.rows.chunks_mut(stride(k)).for_each(rotate);
        let cells = records(&content, seed, 20);
        for (before, after) in scores(&content, &cells).iter().zip(scores(&turned, &cells)) {
            for expert in 0..k {
                let from = (expert + 1) % k;
                assert_eq!(after.expert_probabilities[expert].to_bits(), before.expert_probabilities[from].to_bits());
                // The gate is summed in another order.
                let tolerance = tolerance::gate(k, 0.0);
                assert_close("gate", seed, after.gate[expert], f64::from(before.gate[from]), tolerance);
            }
            let tolerance = tolerance::probability(k, 0.0);
            assert_close("p", seed, after.probability, f64::from(before.probability), tolerance);
        }
    }
}

#[test]
fn a_gate_past_every_exponential_still_picks_an_expert() {
    for seed in 0..20 {
        let content = Recipe { gate: 20.0 * SHARP, experts: 5, features: 8, outputs: 5.0 }.content(seed);
        let cells = records(&content, seed, 50);
        for score in scores(&content, &cells) {
            let sum: f64 = score.gate.iter().map(|g| f64::from(*g)).sum();
            assert_close("sum of the gate", seed, sum as f32, 1.0, tolerance::gate(5, 0.0));
            let chosen = (0..5).find(|k| score.gate[*k] > 0.999);
            if let Some(chosen) = chosen {
                assert_close("p", seed, score.probability, f64::from(score.expert_probabilities[chosen]), 1e-3);
            }
        }
    }
}

#[test]
fn names_and_codes_say_the_same() {
    let content = Recipe { features: 12, ..Recipe::any(3) }.content(3);
    let bytes = content.to_bytes(true);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let (mut by_code, mut by_name) = (model.record(), model.record());
    for cells in records(&content, 3, 50) {
        fill(&mut by_code, &cells).unwrap();
        by_name.clear();
        for (feature, cell) in content.features.iter().zip(&cells) {
            let name = feature.name.as_str();
            _ = match *cell {
                Cell::Missing => continue,
                Cell::Number(value) => by_name.set_number(name, value),
                Cell::Level(code) => by_name.set_category(name, &feature.levels[usize::from(code)]),
                Cell::Unseen => by_name.set_category(name, "never seen"),
            }
            .unwrap();
        }
        assert_eq!(by_code.terms(), by_name.terms());
        assert_eq!(by_code.notes(), by_name.notes());
    }
    let schema = model.schema();
    assert_eq!(schema.positive_name(), Some(content.positive_name.as_str()));
    for (index, feature) in content.features.iter().enumerate() {
        assert_eq!(schema.feature_name(index), Some(feature.name.as_str()));
        assert_eq!(schema.level_names(index).collect::<Vec<_>>(), feature.levels);
    }
}

#[test]
fn a_blob_without_names_takes_indices_and_codes_only() {
    let content = Recipe { features: 12, ..Recipe::any(3) }.content(3);
    let bytes = content.to_bytes(false);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let category = content.features.iter().position(|feature| !feature.levels.is_empty()).unwrap();
    let name = content.features[category].name.as_str();
    let mut record = model.record();
    let stripped = Err(RecordError::NamesStripped);
    assert_eq!(record.set_level(name, Some(0)), stripped);
    assert_eq!(record.set_number("age", 1.0), stripped);
    assert_eq!(record.set_category(FeatureIndex(category), "level 0"), stripped);
    assert_eq!(record.set_level(FeatureIndex(category), Some(0)), Ok(Note::Usual));
    let schema = model.schema();
    assert_eq!((schema.positive_name(), schema.feature_name(0), schema.level_names(category).count()), (None, None, 0));
}
