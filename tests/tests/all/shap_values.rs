//! Exact Shapley values of the whole mixture: the slow enumeration is compared with closed forms
//! and with the results of SHAP's `ExactExplainer` on Adult.
//!
//! `tests/golden/shap-adult.json` holds SHAP's base values and values, with the numbers of their
//! records; `tests/peers/record_values.py` wrote it. `adult-gentle.feamoe` (4 experts) and
//! `adult-gated.feamoe` (12; most of the score depends on the gate) are described in
//! `tests/peers/README.md`.

use feamoe_testkit::against;
use feamoe_testkit::content::Content;
use std::fs;

use feamoe::schema::Schema;
use feamoe_engine::attribution::{Game, Workspace};
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{Attribution, Space};
use feamoe_testkit::content::Bytes;
use feamoe_testkit::generate::{Cell, Recipe, fill, records};
use feamoe_testkit::reference::Reference;
use feamoe_tests::{data, data_file, repository_file};
use serde_json::Value;

const NUMBER: Kind = Kind::Number { transform: Transform::Identity, low: -4.0, high: 4.0, centre: 0.0, bins: 0 };
/// The weights are logarithms rounded to f32.
const ROUNDED: f64 = 1e-7;
/// Both sides sum in f64 in different orders: at most 8,192 coalitions of 100 rows each, every term
/// rounded to 1e-16 of its size, which is below 1 (log-odds: below 20). The observed difference is
/// 1e-15 (log-odds: 2e-14).
const SHAP_SUMS: f64 = 1e-12;

/// Allowed difference of `exact`: f32 products, and values rounded to f32. Log-odds are up to ten
/// times as large.
const ENGINE: f64 = 5e-7;
const ENGINE_LOG_ODDS: f64 = 3e-6;

/// Builds a model of numbers by hand. `weights` has the 2K weights of each feature's linear weight
/// row.
fn linear<const LANES: usize>(bias: [f32; LANES], weights: &[[f32; LANES]]) -> Content {
    let recipe = Recipe { experts: LANES / 2, features: weights.len(), gate: 1.0, outputs: 1.0 };
    let mut content = recipe.content_of(0, |_, _| NUMBER);
    let stride = content.bias.len();
    content.bias[..LANES].copy_from_slice(&bias);
    for (rows, weights) in content.rows.chunks_mut(2 * stride).zip(weights) {
        rows.fill(0.0);
        rows[..LANES].copy_from_slice(weights);
    }
    content
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{found} against {expected}, over {tolerance:e}");
    }
}

/// One expert. The first feature triples its odds and the second doubles them, so p is 1/2, 3/4 or
/// 2/3, and 6/7.
#[test]
fn two_features_have_the_closed_form() {
    let content = linear([0.0; 2], &[[0.0, 3_f32.log2()], [0.0, 1.0]]);
    let reference = Reference::new(&content);
    let (ones, zeros) = (vec![Cell::Number(1.0); 2], vec![Cell::Number(0.0); 2]);
    let found = reference.exact(&ones, std::slice::from_ref(&zeros), Space::Probability);
    assert_close(&[found.base_value, found.output], &[1.0 / 2.0, 6.0 / 7.0], ROUNDED);
    assert_close(&found.values, &[37.0 / 168.0, 23.0 / 168.0], ROUNDED);
    let found = reference.exact(&ones, std::slice::from_ref(&zeros), Space::LogOdds);
    assert_close(&[found.base_value, found.output], &[0.0, libm::log(6.0)], ROUNDED);
    assert_close(&found.values, &[libm::log(3.0), libm::log(2.0)], ROUNDED);
    // A second background record differs from the explained one only in the first feature: the
    // result is the mean of both.
    let found = reference.exact(&ones, &[zeros, vec![Cell::Number(0.0), Cell::Number(1.0)]], Space::Probability);
    let first = 6.0 / 7.0 - 2.0 / 3.0;
    assert_close(&found.values, &[(37.0 / 168.0 + first) / 2.0, 23.0 / 336.0], ROUNDED);
    assert_close(&[found.base_value], &[(1.0 / 2.0 + 2.0 / 3.0) / 2.0], ROUNDED);
}

/// Two constant experts, 0.1 and 0.9, and a gate that depends on the only feature, which gets all
/// the credit.
#[test]
fn the_gate_alone_is_credited() {
    let ninth = 9_f32.log2();
    let content = linear([0.0, 0.0, -ninth, ninth], &[[0.0, 4.0 * std::f32::consts::LOG2_E, 0.0, 0.0]]);
    let reference = Reference::new(&content);
    for x in [1.0_f32, -0.25, 3.0] {
        let gate = 1.0 / (1.0 + libm::exp(-4.0 * f64::from(x)));
        let p = 0.1 + 0.8 * gate;
        let (cells, background) = ([Cell::Number(x)], [vec![Cell::Number(0.0)]]);
        let found = reference.exact(&cells, &background, Space::Probability);
        assert_close(&[found.base_value, found.output, found.values[0]], &[0.5, p, p - 0.5], ROUNDED);
        let found = reference.exact(&cells, &background, Space::LogOdds);
        assert_close(&found.values, &[libm::log(p / (1.0 - p))], 1e-6); // 1 / (p (1 - p)) is at most 11
    }
}

/// The base value and the values add up to the output for any model, even with gate logits of
/// hundreds.
#[test]
fn values_sum_to_the_output() {
    for seed in 0..60 {
        let recipe = Recipe { features: 1 + seed as usize % 8, ..Recipe::any(seed) };
        let content = recipe.content(seed);
        let reference = Reference::new(&content);
        let cells = records(&content, seed, 5);
        for space in [Space::Probability, Space::LogOdds] {
            let found = reference.exact(&cells[0], &cells[1..], space);
            let size = 1.0 + found.output.abs() + found.base_value.abs();
            let sum = found.base_value + found.values.iter().sum::<f64>();
            assert_close(&[sum], &[found.output], 1e-11 * size);
        }
    }
}

fn golden(name: &str) -> Bytes {
    Bytes::new(&std::fs::read(repository_file("engine/golden").join(name)).unwrap())
}

#[test]
fn a_blob_is_read_back_to_its_content() {
    for name in ["v1.feamoe", "adult-gentle.feamoe", "adult-gated.feamoe"] {
        let bytes = golden(name);
        assert_eq!(Content::read(bytes.as_slice()).to_bytes(true), bytes);
    }
    for seed in 0..50 {
        let content = Recipe::any(seed).content(seed);
        assert_eq!(Content::read(content.to_bytes(true).as_slice()), content);
    }
}

fn numbers<T>(list: &Value, number: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    list.as_array().unwrap().iter().map(|value| number(value).unwrap()).collect()
}

/// Compares the engine's values with the recorded values.
fn assert_engine(
    content: &Content,
    cells: &[Vec<Cell>],
    background: &[Vec<Cell>],
    space: Space,
    expected: &Value,
    tolerance: f64,
) {
    against(content, background, true, |model, set| {
        let (mut record, mut workspace, mut found) = (model.record(), Workspace::new(), Attribution::new());
        for (cells, values) in cells.iter().zip(expected["values"].as_array().unwrap()) {
            fill(&mut record, cells).unwrap();
            let game = Game { space, player_of: None };
            model.exact_into(&record, set, &game, &mut workspace, &mut found).unwrap();
            let values = numbers(values, Value::as_f64);
            let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            assert_close(&wide(&found.values[..values.len()]), &values, tolerance);
            assert_close(&wide(&[found.base_value]), &[expected["base_value"].as_f64().unwrap()], tolerance);
            assert!(f64::from(found.residual.abs()) < tolerance.max(1e-6), "residual {:e}", found.residual);
        }
    });
}

#[test]
fn adult_has_the_values_that_shap_gives() {
    let (Some(data), Some(test)) = (data_file("adult.data"), data_file("adult.test")) else { return };
    let table = Schema::open(&repository_file("trainer/schemas/adult.toml")).unwrap().table;
    let text = fs::read_to_string(repository_file("tests/golden/shap-adult.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    for case in recorded["cases"].as_array().unwrap() {
        let content = Content::read(golden(case["model"].as_str().unwrap()).as_slice());
        let reference = Reference::new(&content);
        let rows = |file, list| data::rows(&content, file, &table, &numbers(list, Value::as_u64));
        let (cells, background) = (rows(&test, &recorded["test_rows"]), rows(&data, &recorded["background_rows"]));
        for space in [Space::Probability, Space::LogOdds] {
            let expected = &case[space.name()];
            let mut largest = 0.0_f64;
            for (cells, values) in cells.iter().zip(expected["values"].as_array().unwrap()) {
                let found = reference.exact(cells, &background, space);
                let values = numbers(values, Value::as_f64);
                let errors = found.values.iter().zip(&values).map(|(a, b)| (a - b).abs());
                largest = errors.fold(largest, f64::max);
                assert_close(&found.values, &values, SHAP_SUMS);
                assert_close(&[found.base_value], &[expected["base_value"].as_f64().unwrap()], SHAP_SUMS);
            }
            println!("{}, {}: {largest:.1e}", case["model"], space.name());
            let tolerance = if space == Space::Probability { ENGINE } else { ENGINE_LOG_ODDS };
            assert_engine(&content, &cells, &background, space, expected, tolerance);
        }
    }
}
