//! Promise: `sampled` estimates the result of `exact`, states its error correctly, and ends when it
//! is asked to.

use feamoe_engine::attribution::{Game, Sampling, Workspace};
use feamoe_engine::{Attribution, Method, Space};
use feamoe_testkit::against;
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Cell, EXPERTS, FEATURES, Recipe, SHARP, fill, records};

type TestAttribution = Attribution<FEATURES, EXPERTS>;

/// Explains a record with `exact`, and with `sampled` for each sampling.
fn explain(
    content: &Content,
    cells: &[Cell],
    background: &[Vec<Cell>],
    game: Game<'_>,
    samplings: impl IntoIterator<Item = Sampling>,
    mut keep_going: impl FnMut(u64) -> bool,
) -> (TestAttribution, Vec<TestAttribution>) {
    against(content, background, false, |model, set| {
        let (mut record, mut workspace, mut exact) = (model.record(), Workspace::new(), Attribution::new());
        fill(&mut record, cells).unwrap();
        model.exact_into(&record, set, &game, &mut workspace, &mut exact).unwrap();
        let sampled = samplings.into_iter().map(|sampling| {
            let mut found = Attribution::new();
            model.sampled_into(&record, set, &game, &sampling, &mut workspace, &mut keep_going, &mut found).unwrap();
            assert_eq!((found.method, found.space, found.background), (Method::Sampled, game.space, Some(set.id())));
            found
        });
        (exact, sampled.collect())
    })
}

/// Samples until the given number of evaluations, whatever the tolerance.
fn rounds(seed: u64, evaluations: u64) -> Sampling {
    Sampling { tolerance: f32::MIN_POSITIVE, most_evaluations: evaluations, seed }
}

/// Counts the values, and those whose 95 % interval contains the exact one. Values that hardly vary
/// are skipped, because rounding in f32 dominates their error.
fn count_inside(exact: &TestAttribution, sampled: &[TestAttribution], inside: &mut i32, all: &mut i32) {
    for found in sampled {
        let values = found.values.iter().zip(&found.standard_errors).zip(&exact.values);
        for ((value, error), exact) in values.filter(|((_, error), _)| **error > 1e-5) {
            *all += 1;
            *inside += i32::from((value - exact).abs() <= 1.96 * error);
        }
    }
}

/// 95 % intervals contain the exact value in 90 to 98 cases of 100.
#[test]
fn standard_errors_are_honest() {
    for (rows, space) in [(1, Space::Probability), (10, Space::Probability), (40, Space::LogOdds)] {
        let (mut inside, mut all) = (0, 0);
        for seed in 0..40 {
            let recipe = Recipe { features: 9, experts: 5, gate: 25.0, outputs: 15.0 };
            let content = recipe.content(seed);
            let cells = records(&content, seed, 1 + rows);
            let (explained, background) = cells.split_at(1);
            let samplings = (0..10).map(|run| rounds(100 * seed + run, 3_000));
            let game = Game { space, player_of: None };
            let (exact, sampled) = explain(&content, &explained[0], background, game, samplings, |_| true);
            count_inside(&exact, &sampled, &mut inside, &mut all);
        }
        let share = f64::from(inside) / f64::from(all);
        println!("{rows} background records, {}: {share:.3} of {all}", space.name());
        assert!(all > 2_000 && (0.90..=0.98).contains(&share), "{rows} rows, {space:?}: {share} of {all}");
    }
}

/// If a loose tolerance ends the sampling early, 95 % intervals still contain the exact value in at
/// least 93 cases of 100.
#[test]
fn standard_errors_are_honest_where_sampling_stops_early() {
    for rows in [1, 4, 20] {
        let (mut inside, mut all) = (0, 0);
        for seed in 0..80 {
            let recipe = Recipe { features: 9, experts: 5, gate: 25.0, outputs: 15.0 };
            let content = recipe.content(seed);
            let cells = records(&content, seed, 1 + rows);
            let (explained, background) = cells.split_at(1);
            let loose = |run| Sampling { tolerance: 3e-2, seed: 100 * seed + run, ..Sampling::default() };
            let game = Game::default();
            let (exact, sampled) = explain(&content, &explained[0], background, game, (0..10).map(loose), |_| true);
            count_inside(&exact, &sampled, &mut inside, &mut all);
        }
        let share = f64::from(inside) / f64::from(all);
        println!("{rows} background records, stopped early: {share:.3} of {all}");
        assert!(all > 4_000 && (0.93..=0.98).contains(&share), "{rows} rows: {share} of {all}");
    }
}

/// Every model and record has an estimate, and its values add up.
#[test]
fn estimates_approach_the_exact_values_and_add_up() {
    for seed in 0..120 {
        let recipe = Recipe { features: 1 + seed as usize % 10, ..Recipe::any(seed) };
        let content = recipe.content(seed);
        let cells = records(&content, seed, 4);
        let (explained, background) = cells.split_at(1);
        for space in [Space::Probability, Space::LogOdds] {
            let game = Game { space, player_of: None };
            let (exact, sampled) = explain(&content, &explained[0], background, game, [rounds(seed, 20_000)], |_| true);
            let found = sampled[0];
            let size = found.values.iter().fold(1.0, |size: f32, value| size.max(value.abs()));
            assert!(found.residual.abs() <= 2e-6 * size, "seed {seed}, {space:?}: residual {:e}", found.residual);
            assert!((found.base_value - exact.base_value).abs() <= 2e-6 * size);
            assert_eq!(found.output, exact.output);
            for ((value, error), exact) in found.values.iter().zip(found.standard_errors).zip(exact.values) {
                assert!(
                    (value - exact).abs() <= 6.0 * error + 1e-5 * size,
                    "seed {seed}, {space:?}: {value}, {exact}, {error}"
                );
            }
        }
    }
}

/// With two players there are only an order and its reverse.
#[test]
fn two_players_are_exact() {
    let content = Recipe { features: 2, ..Recipe::gentle(3) }.content(3);
    let cells = records(&content, 3, 2);
    let (exact, sampled) = explain(&content, &cells[0], &cells[1..], Game::default(), [Sampling::default()], |_| true);
    for ((value, error), exact) in sampled[0].values.iter().zip(sampled[0].standard_errors).zip(exact.values) {
        assert!((value - exact).abs() < 1e-6 && error < 1e-6, "{value} {exact} {error}");
    }
}

#[test]
fn it_ends_when_close_when_spent_and_when_stopped() {
    let content = Recipe { features: 12, experts: 6, gate: 25.0, outputs: 15.0 }.content(8);
    let cells = records(&content, 8, 6);
    let run = |sampling, keep_going: &mut dyn FnMut(u64) -> bool| {
        explain(&content, &cells[0], &cells[1..], Game::default(), [sampling], keep_going).1[0]
    };
    let close = |tolerance| run(Sampling { tolerance, ..Sampling::default() }, &mut |_| true);
    let (rough, fine) = (close(1e-2), close(3e-4));
    for (found, tolerance) in [(rough, 1e-2), (fine, 3e-4)] {
        assert!(found.standard_errors.iter().all(|error| *error < tolerance) && found.standard_errors[0] > 0.0);
    }
    assert!(fine.evaluations > 10 * rough.evaluations, "{} {}", fine.evaluations, rough.evaluations);

    let mut asked = Vec::new();
    let spent = run(rounds(1, 5_000), &mut |evaluations| {
        asked.push(evaluations);
        true
    });
    let each = asked[0];
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] == each), "{asked:?}");
    assert!((5_000..5_000 + each).contains(&spent.evaluations), "{}", spent.evaluations);
    let stopped = run(rounds(1, u64::MAX), &mut |evaluations| evaluations < 3 * each);
    assert_eq!(stopped.evaluations, 3 * each);
}

/// The same seed gives the same bits, and another seed gives others. Earlier explanations do not
/// matter.
#[test]
fn the_seed_decides() {
    let content = Recipe { features: 8, gate: SHARP, outputs: 20.0, experts: 4 }.content(2);
    let cells = records(&content, 2, 3);
    let sampling = |seed| Sampling { tolerance: 1e-2, seed, ..Sampling::default() };
    let run = |seeds: &[u64]| {
        let samplings: Vec<_> = seeds.iter().copied().map(sampling).collect();
        explain(&content, &cells[0], &cells[1..], Game::default(), samplings, |_| true).1
    };
    let found = run(&[1, 2, 1]);
    assert_eq!(found[0], found[2]);
    assert_eq!(found[1], run(&[2])[0]);
    assert_ne!(found[0].values, found[1].values);
}

/// A record against itself has no variance, so sampling ends at once with any tolerance.
#[test]
fn nothing_to_share_ends_at_once() {
    let content = Recipe { features: 5, ..Recipe::gentle(4) }.content(4);
    let cells = records(&content, 4, 1);
    let mut asked = 0;
    let (_, sampled) = explain(&content, &cells[0], &cells, Game::default(), [rounds(1, u64::MAX)], |_| {
        asked += 1;
        asked < 5
    });
    assert_eq!((asked, sampled[0].evaluations, sampled[0].values), (0, 0, [0.0; FEATURES]));
}
