//! Compares both attributions with the slow twin and tests their laws.

use feamoe_engine::format::Provenance;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{Attribution, Method, Model};
use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_testkit::explain_into;
use feamoe_testkit::generate::{Cell, Draw, EXPERTS, FEATURES, Recipe, SHARP, fill, records};
use feamoe_testkit::reference::{Explanation, Reference};
use feamoe_testkit::tolerance;

type TestModel<'a> = Model<'a, FEATURES, EXPERTS>;
type TestAttribution = Attribution<FEATURES, EXPERTS>;

/// The largest residual of `path` where its quadrature converges: its stopping rule, and rounding.
const RESIDUAL: f32 = 1.1 * feamoe_engine::attribution::TOLERANCE;

/// Calls `check` for each record of a model with its explanation by a method.
fn explained(content: &Content, cells: &[Vec<Cell>], method: Method, mut check: impl FnMut(&[Cell], &TestAttribution)) {
    let bytes = content.to_bytes(false);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let mut record = model.record();
    let mut attribution = Attribution::new();
    for cells in cells {
        fill(&mut record, cells).unwrap();
        explain_into(&model, &record, method, &mut attribution).unwrap();
        check(cells, &attribution);
    }
}

/// Explains a single record.
fn explain(content: &Content, cells: &[Cell], method: Method) -> TestAttribution {
    let mut found = Attribution::new();
    explained(content, &[cells.to_vec()], method, |_, attribution| found = *attribution);
    found
}

#[track_caller]
fn assert_close(what: &str, seed: u64, found: f32, expected: f64, tolerance: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(error <= tolerance, "seed {seed}, {what}: {found} against {expected}, error {error:e} over {tolerance:e}");
}

/// Asserts the law `base_value + sum(values) + residual = output`, summed in f64.
#[track_caller]
fn assert_law(seed: u64, attribution: &TestAttribution) {
    let parts = attribution.values.iter().chain([&attribution.base_value, &attribution.residual]);
    let (sum, size) = parts.fold((0.0, 1.0), |(sum, size), v| (sum + f64::from(*v), size + f64::from(v.abs())));
    assert_close("law", seed, attribution.output, sum, FEATURES as f64 * f64::from(f32::EPSILON) * size);
}

#[test]
fn frozen_agrees_with_the_slow_twin() {
    for seed in 0..200 {
        let recipe = Recipe::any(seed);
        let content = recipe.content(seed);
        let reference = Reference::new(&content);
        let reach = f64::from(recipe.gate.max(recipe.outputs));
        let tolerance = tolerance::log_odds(content.experts, tolerance::logit(reference.terms(), reach), reach);
        explained(&content, &records(&content, seed, 20), Method::Frozen, |cells, found| {
            let Explanation { base_value, output, values, .. } = reference.frozen(cells);
            assert_close("base value", seed, found.base_value, base_value, tolerance);
            assert_close("output", seed, found.output, output, tolerance);
            for (found, expected) in found.values.iter().zip(values) {
                assert_close("value", seed, *found, expected, tolerance);
            }
            assert_eq!((found.gate_share, found.gate_values), (None, [0.0; FEATURES]));
            assert_close("residual", seed, found.residual, 0.0, tolerance);
            assert_law(seed, found);
        });
    }
}

/// Compares `path` with the slow twin's quadrature of `steps` steps.
fn assert_path(seed: u64, recipe: Recipe, count: usize, steps: usize) {
    let content = recipe.content(seed);
    let reference = Reference::new(&content);
    let logit = tolerance::logit(reference.terms(), f64::from(recipe.gate.max(recipe.outputs)));
    let p = tolerance::probability(content.experts, logit);
    explained(&content, &records(&content, seed, count), Method::Path, |cells, found| {
        let Explanation { base_value, output, values, gate_values } = reference.path(cells, steps);
        assert_close("base value", seed, found.base_value, base_value, p);
        assert_close("output", seed, found.output, output, p);
        for ((value, gate_value), (expected, gate_expected)) in
            found.values.iter().zip(found.gate_values).zip(values.iter().zip(gate_values))
        {
            assert_close("value", seed, *value, *expected, tolerance::QUADRATURE);
            assert_close("gate value", seed, gate_value, gate_expected, tolerance::QUADRATURE);
        }
        assert_close("residual", seed, found.residual, 0.0, f64::from(RESIDUAL));
    });
}

#[test]
fn path_agrees_with_a_fine_quadrature() {
    for seed in 0..60 {
        assert_path(seed, Recipe::gentle(seed), 4, 128);
    }
}

/// The gates change their expert several times within hundredths of the path.
#[test]
fn path_agrees_with_a_fine_quadrature_where_the_gate_is_sharp() {
    for seed in 0..60 {
        let recipe = Recipe { experts: 2 + seed as usize % 5, features: 3, gate: SHARP, outputs: 12.0 };
        assert_path(seed, recipe, 3, 4096);
    }
}

#[test]
fn path_reports_its_residual_honestly() {
    let mut open = 0;
    for seed in 0..200 {
        // Some of these gates switch within a millionth of the path, so there are residuals to
        // check.
        let recipe = Recipe { gate: if seed % 4 == 0 { 1e6 } else { SHARP }, ..Recipe::any(seed) };
        let content = recipe.content(seed);
        explained(&content, &records(&content, seed, 20), Method::Path, |_, found| {
            assert_law(seed, found);
            assert_eq!(found.output, found.score.probability);
            assert!(found.values.iter().chain(&found.gate_values).all(|value| value.is_finite()));
            assert!(found.gate_share.is_some_and(|share| (0.0..=1.0).contains(&share)));
            let converged = found.residual.abs() <= RESIDUAL;
            assert!(converged || recipe.gate > SHARP, "seed {seed}: {}", found.residual);
            open += usize::from(!converged);
        });
    }
    assert!(open > 0);
}

/// Builds a model by hand from features `(kind, rows, edges)`, with 2K weights in each weight row.
fn hand_made(experts: usize, bias: &[f32], features: Vec<(Kind, Vec<Vec<f32>>)>) -> Content {
    let stride = stride(experts);
    let padded = |row: &[f32]| [row, &vec![0.0; stride - row.len()]].concat();
    Content {
        threshold: 0.5,
        provenance: Provenance::default(),
        experts,
        positive_name: "yes".to_owned(),
        bias: padded(bias),
        rows: features.iter().flat_map(|(_, rows)| rows.iter().flat_map(|row| padded(row))).collect(),
        edges: Vec::new(),
        deviations: Vec::new(),
        calibration: Vec::new(),
        background: Vec::new(),
        features: features
            .iter()
            .map(|(kind, _)| FeatureContent { name: "x".to_owned(), kind: *kind, levels: Vec::new() })
            .collect(),
    }
}

const NUMBER: Kind = Kind::Number { transform: Transform::Identity, low: -4.0, high: 4.0, centre: 0.0, bins: 0 };

/// Two constant experts, 0.1 and 0.9, and one feature that moves only the gate: under Theorem 1 its
/// value is 0.
#[test]
fn the_gate_alone_is_seen_by_path_and_not_by_frozen() {
    let ninth = libm::log2f(9.0);
    let weights = vec![0.0, 4.0, 0.0, 0.0];
    let content = hand_made(2, &[0.0, 0.0, -ninth, ninth], vec![(NUMBER, vec![weights, vec![0.0; 4]])]);
    let cells = [Cell::Number(1.0)];
    let frozen = explain(&content, &cells, Method::Frozen);
    assert_eq!((frozen.values[0], frozen.residual), (0.0, 0.0));
    let path = explain(&content, &cells, Method::Path);
    let p = 0.1 + 0.8 * 16.0 / 17.0;
    assert_close("base value", 0, path.base_value, 0.5, 1e-6);
    assert_close("value", 0, path.values[0], p - 0.5, f64::from(RESIDUAL));
    assert_eq!((path.gate_share, path.gate_values[0]), (Some(1.0), path.values[0]));
}

/// With one expert, p along the path is a logistic curve, whose integral is known.
#[test]
fn one_expert_has_the_closed_form() {
    for seed in 0..50 {
        let recipe = Recipe { experts: 1, ..Recipe::gentle(seed) };
        let content = recipe.content(seed);
        let reference = Reference::new(&content);
        explained(&content, &records(&content, seed, 10), Method::Path, |cells, found| {
            let total = reference.logits(cells)[1] - reference.bias()[1];
            let change = f64::from(found.output) - f64::from(found.base_value);
            for (value, contribution) in found.values.iter().zip(reference.contributions(cells)) {
                let share = if total == 0.0 { 0.0 } else { contribution[1] / total };
                // The residual is shared by all values.
                let tolerance = share.abs() * f64::from(RESIDUAL) + 1e-5;
                assert_close("value", seed, *value, share * change, tolerance);
            }
            assert!(found.gate_values.iter().all(|value| value.abs() < 1e-5));
        });
    }
}

#[test]
fn equal_features_get_equal_values() {
    for seed in 0..100 {
        let mut content = Recipe { features: 7, ..Recipe::any(seed) }.content(seed);
        // A copy of the last feature.
        let last = content.features.last().unwrap().clone();
        let (rows, edges) = (last.kind.rows() as usize * stride(content.experts), last.kind.edges() as usize);
        content.rows.extend_from_within(content.rows.len() - rows..);
        content.edges.extend_from_within(content.edges.len() - edges..);
        content.features.push(last);
        let mut cells = records(&content, seed, 20);
        cells.iter_mut().for_each(|cells| cells[7] = cells[6]);
        for method in [Method::Frozen, Method::Path] {
            explained(&content, &cells, method, |_, found| {
                assert_eq!(found.values[6].to_bits(), found.values[7].to_bits(), "seed {seed}");
                assert_eq!(found.gate_values[6].to_bits(), found.gate_values[7].to_bits(), "seed {seed}");
            });
        }
    }
}

#[test]
fn a_feature_without_weights_gets_exactly_nothing() {
    for seed in 0..100 {
        let mut content = Recipe { features: 6, ..Recipe::any(seed) }.content(seed);
        let rows = content.features[0].kind.rows() as usize * stride(content.experts);
        content.rows[..rows].fill(0.0);
        for method in [Method::Frozen, Method::Path] {
            explained(&content, &records(&content, seed, 20), method, |_, found| {
                assert_eq!((found.values[0], found.gate_values[0]), (0.0, 0.0), "seed {seed}");
            });
        }
    }
}

#[test]
fn permuting_features_permutes_values() {
    for seed in 0..100 {
        let recipe = Recipe { features: 5, ..Recipe::gentle(seed) };
        let content = recipe.content(seed);
        let first = content.features[0].kind;
        let mut turned = content.clone();
        turned.features.rotate_left(1);
        turned.rows.rotate_left(first.rows() as usize * stride(content.experts));
        turned.edges.rotate_left(first.edges() as usize);
        let cells = records(&content, seed, 10);
        let turned_cells: Vec<_> = cells.iter().map(|cells| [&cells[1..], &cells[..1]].concat()).collect();
        let logit = tolerance::logit(10, 12.0);
        for method in [Method::Frozen, Method::Path] {
            let mut before = Vec::new();
            explained(&content, &cells, method, |_, found| before.push(*found));
            let mut before = before.iter();
            explained(&turned, &turned_cells, method, |_, found| {
                let before = before.next().unwrap();
                for feature in 0..5 {
                    let expected = f64::from(before.values[(feature + 1) % 5]);
                    // Logits are summed in another order; values are at most 12 times as sensitive
                    // to logits as p.
                    assert_close("value", seed, found.values[feature], expected, 12.0 * logit);
                }
            });
        }
    }
}

/// The values beyond the model's features and the gates beyond its experts are 0, whatever the
/// memory held before.
#[test]
fn reused_memory_keeps_nothing_of_another_model() {
    let large = Recipe { experts: 9, features: 8, ..Recipe::any(1) }.content(1);
    let small = Recipe { experts: 2, features: 3, ..Recipe::any(2) }.content(2);
    let (large_bytes, small_bytes) = (large.to_bytes(false), small.to_bytes(false));
    let large_model: TestModel = Model::load(large_bytes.as_slice()).unwrap();
    let small_model: TestModel = Model::load(small_bytes.as_slice()).unwrap();
    let (mut large_record, mut small_record) = (large_model.record(), small_model.record());
    fill(&mut large_record, &records(&large, 1, 1)[0]).unwrap();
    fill(&mut small_record, &records(&small, 2, 1)[0]).unwrap();
    for method in [Method::Frozen, Method::Path] {
        let (mut reused, mut fresh): (TestAttribution, TestAttribution) = (Attribution::new(), Attribution::new());
        large_model.path_into(&large_record, &mut reused).unwrap();
        explain_into(&small_model, &small_record, method, &mut reused).unwrap();
        explain_into(&small_model, &small_record, method, &mut fresh).unwrap();
        assert_eq!(reused, fresh);
    }
}

#[test]
fn explain_is_by_path() {
    let content = Recipe::any(5).content(5);
    let bytes = content.to_bytes(false);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let record = model.record();
    let found = model.explain(&record).unwrap();
    assert_eq!(found, explain(&content, &vec![Cell::Missing; content.features.len()], Method::Path));
    assert_eq!(found.score, model.score(&record).unwrap());
}

/// A gate that leaves an expert and returns within a hundredth of the path. The quadrature must see
/// it: its whole effect on the values could be lost while the residual is only 1e-7.
#[test]
fn a_gate_that_leaves_and_returns_is_seen() {
    let number = Kind::Number { transform: Transform::Identity, low: 0.0, high: 1.0, centre: 0.0, bins: 0 };
    for (middle, width) in [(0.5, 0.06), (0.2, 0.06), (0.8, 0.08), (0.5, 0.1), (0.21, 0.05)] {
        // Three gate lines: the middle one is the largest over a stretch of this width, and its
        // expert alone gives a high p. Two features move the gate in opposite directions, so p ends
        // where it began.
        let slope = 100.0_f32;
        let (first, last) = (middle - width / 2.0, middle + width / 2.0);
        let bias = [0.0, -slope * first, -slope * (first + last), -9.0, 9.0, -9.0];
        let row = |gates: [f32; 3]| [gates[0], gates[1], gates[2], 0.0, 0.0, 0.0, 0.0, 0.0].to_vec();
        let none = row([0.0; 3]);
        let features = vec![
            (number, vec![row([0.0, slope, 0.0]), none.clone()]),
            (number, vec![row([0.0, 0.0, 2.0 * slope]), none]),
        ];
        let content = hand_made(3, &bias, features);
        let cells = [Cell::Number(1.0), Cell::Number(1.0)];
        let found = explain(&content, &cells, Method::Path);
        let Explanation { values, .. } = Reference::new(&content).path(&cells, 50_000);
        assert!(values[0].abs() > 0.2, "{middle} {width}: the values are large: {values:?}");
        for (value, expected) in found.values.iter().zip(&values) {
            let error = (f64::from(*value) - expected).abs();
            assert!(error < 2e-2 * expected.abs(), "{middle} {width}: {value} for {expected}");
        }
    }
}

/// Thousands of hostile gates: up to 40 log2 units, many crossings, experts that switch. Each value
/// is close to a fine quadrature in f64, or the residual shows that it is not.
#[test]
fn hostile_gates_are_integrated_or_reported() {
    let (mut checked, mut worst) = (0, 0.0_f64);
    for seed in 0..1_500 {
        let mut draw = Draw::new(seed);
        let recipe = Recipe {
            experts: 2 + draw.below(6),
            features: 1 + draw.below(4),
            gate: draw.one_of(&[10.0, 25.0, 40.0]),
            outputs: draw.one_of(&[2.0, 12.0, 40.0]),
        };
        let content = recipe.content_of(seed, |_, draw| match draw.below(3) {
            0 => Kind::Category { levels: 3 },
            _ => Kind::Number { transform: Transform::Identity, low: 0.0, high: 1.0, centre: 0.5, bins: 0 },
        });
        let reference = Reference::new(&content);
        explained(&content, &records(&content, seed, 2), Method::Path, |cells, found| {
            let Explanation { values, .. } = reference.path(cells, 3_000);
            let errors = found.values.iter().zip(&values).map(|(value, expected)| (f64::from(*value) - expected).abs());
            let error = errors.fold(0.0, f64::max);
            let residual = f64::from(found.residual.abs());
            // The tolerances of a panel and its nodes, for the few panels of a path.
            assert!(error < 5e-3 + 2.0 * residual, "seed {seed}: {error:e}, residual {residual:e}");
            worst = worst.max(error);
            checked += 1;
        });
    }
    println!("{checked} paths, worst error of a value {worst:e}");
    assert!(checked > 2_500);
}
