//! Promise: `exact` gives the Shapley values of the whole mixture, gate included. They are compared
//! with the slow twin's enumeration and tested by the axioms.

use feamoe::explanation::Fastest;
use feamoe_engine::attribution::tile::Portable;
use feamoe_engine::attribution::{Background, Game, MAX_PLAYERS, Workspace};
use feamoe_engine::mixture::{Term, stride};
use feamoe_engine::schema::Kind;
use feamoe_engine::{Attribution, ExplainError, Method, Model, Space};
use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_testkit::generate::{Cell, EXPERTS, FEATURES, Recipe, SHARP, fill, records};
use feamoe_testkit::reference::Reference;
use feamoe_testkit::{against, load};

type TestModel<'a> = Model<'a, FEATURES, EXPERTS>;
type TestAttribution = Attribution<FEATURES, EXPERTS>;

/// Allowed difference from an enumeration in f64, in probability.
const AGREEMENT: f64 = 5e-7;
/// Allowed difference in log-odds, as a share of the largest of them: f32 holds 24 bits of each.
const LOG_ODDS_AGREEMENT: f64 = 5e-6;
/// Allowed difference between the output and the sum of base and values, with gate logits up to
/// 3,000.
const RESIDUAL: f32 = 1e-6;

/// Explains records against background records with each kernel, with and without stored factors.
/// The results must not differ in any bit.
fn explain(content: &Content, cells: &[Vec<Cell>], background: &[Vec<Cell>], game: Game<'_>) -> Vec<TestAttribution> {
    let [stored, computed] = [true, false].map(|stored| {
        against(content, background, stored, |model, set| {
            let (mut record, mut workspace) = (model.record(), Workspace::new());
            let explain = |cells: &Vec<Cell>| {
                fill(&mut record, cells).unwrap();
                let mut found = Attribution::new();
                if stored {
                    model.exact_with(&Fastest, &record, set, &game, &mut workspace, |_| true, &mut found).unwrap();
                } else {
                    model.exact_with(&Portable, &record, set, &game, &mut workspace, |_| true, &mut found).unwrap();
                }
                assert_eq!((found.method, found.space, found.background), (Method::Exact, game.space, Some(set.id())));
                found
            };
            cells.iter().map(explain).collect::<Vec<_>>()
        })
    });
    assert_eq!(stored, computed);
    stored
}

fn in_space(space: Space) -> Game<'static> {
    Game { space, player_of: None }
}

#[test]
fn agrees_with_an_enumeration_in_f64() {
    for seed in 0..240 {
        // At most ten features that differ, and at most three that do not.
        let recipe = Recipe { features: 1 + seed as usize % 13, ..Recipe::any(seed) };
        let content = recipe.content(seed);
        let reference = Reference::new(&content);
        let mut cells = records(&content, seed, 6);
        for same in 10..recipe.features {
            let shared = cells[0][same];
            cells.iter_mut().for_each(|cells| cells[same] = shared);
        }
        let (explained, background) = cells.split_at(3);
        for space in [Space::Probability, Space::LogOdds] {
            for (found, cells) in explain(&content, explained, background, in_space(space)).iter().zip(explained) {
                let expected = reference.exact(cells, background, space);
                let largest = expected.values.iter().fold(expected.output.abs(), |a, b| a.max(b.abs()));
                let tolerance = match space {
                    Space::Probability => AGREEMENT,
                    Space::LogOdds => LOG_ODDS_AGREEMENT * (1.0 + 0.1 * largest),
                };
                let all = found.values.iter().zip(&expected.values);
                for (found, expected) in all.chain([(&found.base_value, &expected.base_value)]) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error <= tolerance, "seed {seed}, {space:?}: {found} for {expected}, error {error:e}");
                }
                if space == Space::Probability {
                    assert!(found.residual.abs() <= RESIDUAL, "seed {seed}: residual {:e}", found.residual);
                    // In f32, logits of several thousand have errors of some thousandths.
                    let (output, score) = (found.output, found.score.probability);
                    let far = if recipe.gate > SHARP { 1e-4 } else { 1e-5 };
                    assert!(if recipe.is_bounded() { output == score } else { (output - score).abs() < far });
                }
            }
        }
    }
}

/// Returns a model of categories with two levels, `no` and `yes`. `rows` gives the contributions of
/// `yes` to the gate and expert logits, in natural units; `no` contributes the opposite.
fn of_two_levels(experts: usize, bias: &[f32], rows: &[&[f32]]) -> Content {
    let padded = |logits: &[f32], sign: f32| -> Vec<f32> {
        let mut row: Vec<f32> = logits.iter().map(|logit| sign * logit * std::f32::consts::LOG2_E).collect();
        row.resize(stride(experts), 0.0);
        row
    };
    let feature = |name| FeatureContent {
        name: format!("feature {name}"),
        kind: Kind::Category { levels: 2 },
        levels: vec!["no".into(), "yes".into()],
    };
    Content {
        experts,
        threshold: 0.5,
        features: (0..rows.len()).map(feature).collect(),
        bias: padded(bias, 1.0),
        // Unseen and missing values add nothing; no test uses them.
        rows: rows.iter().flat_map(|row| [-1.0, 1.0, 0.0, 0.0].map(|sign| padded(row, sign)).concat()).collect(),
        edges: Vec::new(),
        deviations: Vec::new(),
        calibration: Vec::new(),
        ..Recipe { experts, features: 1, gate: 1.0, outputs: 1.0 }.content(1)
    }
}

const NO: Cell = Cell::Level(0);
const YES: Cell = Cell::Level(1);

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[track_caller]
fn assert_close(found: f32, expected: f64) {
    assert!((f64::from(found) - expected).abs() < AGREEMENT, "{found} for {expected}");
}

/// Two constant experts, 0.9 and 0.1, and a gate that depends on one feature. With the gate frozen
/// no feature would have any effect.
#[test]
fn what_the_gate_does_is_seen() {
    let nine_tenths = 9.0_f32.ln();
    let content = of_two_levels(2, &[0.0, 0.0, nine_tenths, -nine_tenths], &[&[2.0, 0.0, 0.0, 0.0]]);
    let found = explain(&content, &[vec![YES]], &[vec![NO]], Game::default())[0];
    assert_close(found.values[0], 0.8 * (sigmoid(2.0) - sigmoid(-2.0)));
    let bytes = content.to_bytes(false);
    let model: TestModel = load(bytes.as_slice());
    let (mut record, mut frozen) = (model.record(), Attribution::new());
    fill(&mut record, &[YES]).unwrap();
    model.frozen_into(&record, &mut frozen).unwrap();
    assert_eq!(frozen.values[0], 0.0);
    assert_eq!(found.gate_share, Some(1.0));
}

/// With one expert the model is a logistic regression, whose values have closed forms.
#[test]
fn one_expert_is_a_logistic_regression() {
    let content = of_two_levels(1, &[0.0, 0.25], &[&[0.0, 0.5], &[0.0, -1.5]]);
    let p = |a: f64, b: f64| sigmoid(0.25 + 0.5 * a - 1.5 * b);
    let found = explain(&content, &[vec![YES, YES]], &[vec![NO, NO]], Game::default())[0];
    assert_close(found.values[0], 0.5 * (p(1.0, -1.0) - p(-1.0, -1.0) + p(1.0, 1.0) - p(-1.0, 1.0)));
    assert_close(found.values[1], 0.5 * (p(-1.0, 1.0) - p(-1.0, -1.0) + p(1.0, 1.0) - p(1.0, -1.0)));

    // In log-odds, the game is linear. The contributions of these background records have the mean
    // 0, like those of the records that a model is centred on.
    let all = [[NO, NO], [NO, YES], [YES, NO], [YES, YES]].map(Vec::from);
    let linear = explain(&content, &all, &all, in_space(Space::LogOdds));
    for (found, cells) in linear.iter().zip(&all) {
        let sign = |cell: Cell| if cell == YES { 1.0 } else { -1.0 };
        assert_close(found.base_value, 0.25);
        assert_close(found.values[0], 0.5 * sign(cells[0]));
        assert_close(found.values[1], -1.5 * sign(cells[1]));
    }
}

/// With a constant gate, the values of the mixture are the weighted values of its experts.
#[test]
fn a_constant_gate_is_linear() {
    let experts = [[0.3_f32, 1.0, -2.0, 0.7], [-0.4, 0.2, 1.5, -0.9], [1.1, -1.3, 0.4, 2.2]];
    let gate = [0.5_f32, -0.3, 0.9];
    let bias: Vec<f32> = gate.iter().copied().chain(experts.map(|expert| expert[0])).collect();
    let rows = [1, 2, 3].map(|j| [0.0; 3].into_iter().chain(experts.map(|expert| expert[j])).collect::<Vec<f32>>());
    let mixture = of_two_levels(3, &bias, &rows.each_ref().map(Vec::as_slice));
    let (cells, background) = ([vec![YES, NO, YES]], [vec![NO, YES, NO], vec![NO, NO, NO]]);
    let found = explain(&mixture, &cells, &background, Game::default())[0];
    let total: f64 = gate.iter().map(|u| f64::from(*u).exp()).sum();
    let mut expected = [0.0; 3];
    for (expert, u) in experts.iter().zip(gate) {
        let own: Vec<Vec<f32>> = expert[1..].iter().map(|weight| vec![0.0, *weight]).collect();
        let alone = of_two_levels(1, &[0.0, expert[0]], &own.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let values = explain(&alone, &cells, &background, Game::default())[0].values;
        for (expected, value) in expected.iter_mut().zip(values) {
            *expected += f64::from(u).exp() / total * f64::from(value);
        }
    }
    for (found, expected) in found.values.iter().zip(expected) {
        assert_close(*found, expected);
    }
}

/// Features with the same weights and the same values get the same value. A feature with the same
/// value in both records, or without weights, gets exactly 0.
#[test]
fn twins_share_alike_and_null_players_get_nothing() {
    let (twin, other): (&[f32], &[f32]) = (&[0.4, -1.0, 2.0, 0.3], &[-1.0, 0.5, 0.7, -2.0]);
    let content = of_two_levels(2, &[0.1, 0.2, -0.3, 0.4], &[twin, other, &[0.0; 4], twin, other, other]);
    let cells = [vec![YES, YES, YES, YES, NO, YES]];
    let background = [vec![NO, NO, NO, NO, NO, NO], vec![NO, YES, NO, NO, NO, NO]];
    for space in [Space::Probability, Space::LogOdds] {
        let found = explain(&content, &cells, &background, in_space(space))[0];
        assert_close(found.values[0], f64::from(found.values[3]));
        assert!(found.values[0].abs() > 0.01);
        assert_eq!([found.values[2], found.values[4]], [0.0; 2]);
        assert_eq!(found.evaluations, 16 + 8);
    }
    // A record against itself: there is nothing to distribute.
    let found = explain(&content, &cells, &cells, Game::default())[0];
    assert_eq!((found.values, found.base_value), ([0.0; FEATURES], found.output));
}

/// The features of a group act together as one player.
#[test]
fn groups_are_players() {
    for seed in 0..20 {
        let recipe = Recipe { features: 7, ..Recipe::gentle(seed) };
        let content = recipe.content(seed);
        let cells = records(&content, seed, 2);
        let (explained, background) = cells.split_at(1);
        let player_of = [4, 4, 1, 1, 4, 1, 4];
        let found =
            explain(&content, explained, background, Game { space: Space::Probability, player_of: Some(&player_of) });
        // v of no player, of player 1, of player 4, of both.
        let bytes = content.to_bytes(false);
        let model: TestModel = load(bytes.as_slice());
        let mut record = model.record();
        let v = [[0, 0], [1, 0], [0, 1], [1, 1]].map(|[one, four]| {
            let from = player_of.map(|player| if player == 1 { one } else { four });
            let mixed: Vec<Cell> =
                (0..7).map(|j| if from[j] == 1 { explained[0][j] } else { background[0][j] }).collect();
            fill(&mut record, &mixed).unwrap();
            f64::from(model.score(&record).unwrap().probability)
        });
        assert_close(found[0].values[1], 0.5 * (v[1] - v[0] + v[3] - v[2]));
        assert_close(found[0].values[4], 0.5 * (v[2] - v[0] + v[3] - v[1]));
        let others = found[0].values.iter().enumerate().filter(|(player, _)| ![1, 4].contains(player));
        assert!(others.into_iter().all(|(_, value)| *value == 0.0));
        assert!(found[0].evaluations <= 4);
    }
}

/// The values against several records are the mean of the values against each.
#[test]
fn a_background_is_the_mean_of_its_records() {
    let recipe = Recipe { features: 8, ..Recipe::gentle(5) };
    let content = recipe.content(5);
    let cells = records(&content, 5, 7);
    let (explained, background) = cells.split_at(2);
    let together = explain(&content, explained, background, Game::default());
    let mut means = [[0.0_f64; FEATURES]; 2];
    for other in background {
        let apart = explain(&content, explained, std::slice::from_ref(other), Game::default());
        for (mean, apart) in means.iter_mut().zip(apart) {
            mean.iter_mut()
                .zip(apart.values)
                .for_each(|(mean, value)| *mean += f64::from(value) / background.len() as f64);
        }
    }
    for (together, means) in together.iter().zip(means) {
        together.values.iter().zip(means).for_each(|(found, expected)| assert_close(*found, expected));
    }
    // The hash identifies the records in their order.
    let turned: Vec<_> = background.iter().rev().cloned().collect();
    let id =
        |background: &[Vec<Cell>]| explain(&content, explained, background, Game::default())[0].background.unwrap();
    let same = background.iter().rev().rev().cloned().collect::<Vec<_>>();
    assert_eq!(id(background), id(&same));
    assert_ne!(id(background).hash, id(&turned).hash);
    assert_eq!(id(background).rows, 5);
}

/// Logits beyond the range of f32 factors, up to the largest that a blob may have: none is confused
/// with another, and none affects another.
#[test]
fn logits_of_any_size_are_distinguished() {
    for size in [200.0_f32, 1e6, 1e18, 1e20, 1e28] {
        let content = of_two_levels(1, &[0.0, 0.0], &[&[0.0, size], &[0.0, 1.5]]);
        let of = |record: [Cell; 2], other: [Cell; 2]| {
            explain(&content, &[record.to_vec()], &[other.to_vec()], Game::default())[0]
        };
        let found = of([YES, NO], [NO, NO]);
        assert_close(found.base_value, 0.0);
        assert_close(found.values[0], 1.0);
        // The contribution of the large one must not hide that of the small one after it is
        // removed: alone, the small one moves p as in a logistic regression.
        let content = of_two_levels(1, &[0.0, 0.0], &[&[0.0, size], &[0.0, -size], &[0.0, 1.5]]);
        let found = explain(&content, &[vec![YES, YES, YES]], &[vec![NO, NO, NO]], Game::default())[0];
        // With both large ones or with neither, p goes from sigmoid(-1.5) to sigmoid(1.5); with one
        // of them, p is 0 or 1 in any case. 2 of 3 orders have an even number of large ones first.
        assert_close(found.values[2], 2.0 / 3.0 * (sigmoid(1.5) - sigmoid(-1.5)));
        assert!(found.residual.abs() <= RESIDUAL, "{size}: {:e}", found.residual);
    }
}

/// A workspace used for a larger model in another space does not affect later results.
#[test]
fn a_workspace_serves_one_model_after_another() {
    let (large, small) = (
        Recipe { features: 9, experts: 16, ..Recipe::gentle(1) },
        Recipe { features: 4, experts: 3, ..Recipe::gentle(2) },
    );
    let (large, small) = (large.content(1), small.content(2));
    let [large_cells, small_cells] = [&large, &small].map(|content| records(content, 3, 3));
    let mut workspace = Workspace::new();
    let explain = |content: &Content, cells: &[Vec<Cell>], space, workspace: &mut _| {
        against(content, &cells[1..], false, |model, set| {
            let (mut record, mut found) = (model.record(), Attribution::new());
            fill(&mut record, &cells[0]).unwrap();
            model.exact_into(&record, set, &in_space(space), workspace, &mut found).unwrap();
            found
        })
    };
    let _ = explain(&large, &large_cells, Space::LogOdds, &mut workspace);
    let reused = explain(&small, &small_cells, Space::Probability, &mut workspace);
    assert_eq!(reused, explain(&small, &small_cells, Space::Probability, &mut Workspace::new()));
}

#[test]
fn what_cannot_be_explained_is_an_error() {
    const MANY: usize = MAX_PLAYERS + 2;
    let row = [0.1_f32, 0.2];
    let content = of_two_levels(1, &[0.0, 0.0], &vec![row.as_slice(); MANY]);
    let bytes = content.to_bytes(false);
    let (model, other): (Model<MANY, 2>, Model<MANY, 2>) = (load(bytes.as_slice()), load(bytes.as_slice()));
    let (mut record, mut foreign) = (model.record(), other.record());
    fill(&mut record, &[NO; MANY]).unwrap();
    fill(&mut foreign, &[NO; MANY]).unwrap();
    let (mut workspace, mut found) = (Workspace::new(), Attribution::new());
    let before = found;
    let mut terms = vec![Term::default(); Background::terms_needed(&model)];
    let mut background = Background::new(&model, &mut terms, &mut []);
    let mut explain = |record, background: &_, game: Game<'_>| {
        let result = model.exact_into(record, background, &game, &mut workspace, &mut found);
        assert!(result.is_ok() || found == before);
        result
    };
    assert_eq!(explain(&record, &background, Game::default()), Err(ExplainError::EmptyBackground));
    assert_eq!(background.push(&model, &foreign), Err(ExplainError::OtherModel));
    background.push(&model, &record).unwrap();
    let id = background.id();
    assert_eq!(background.push(&model, &record), Err(ExplainError::BackgroundFull { rows: 1 }));
    assert_eq!(background.id(), id);
    assert_eq!(explain(&foreign, &background, Game::default()), Err(ExplainError::OtherModel));
    let mut player_of = [3_u16; MANY];
    player_of[5] = MANY as u16;
    let grouped = Game { space: Space::Probability, player_of: Some(&player_of) };
    assert_eq!(explain(&record, &background, grouped), Err(ExplainError::PlayerOutOfRange { feature: 5 }));
    let mut all = record.clone();
    fill(&mut all, &[YES; MANY]).unwrap();
    let many = ExplainError::TooManyPlayers { found: MANY, limit: MAX_PLAYERS };
    assert_eq!(explain(&all, &background, Game::default()), Err(many));
    // As one player they are accepted.
    let one = Game { space: Space::Probability, player_of: Some(&[0; MANY]) };
    assert_eq!(explain(&all, &background, one), Ok(()));
}

/// A list of players that is too short is refused; missing entries do not default to features.
#[test]
fn a_short_list_of_players_is_an_error() {
    let content = Recipe { features: 5, ..Recipe::gentle(1) }.content(1);
    let cells = records(&content, 1, 2);
    against(&content, &cells[1..], true, |model, set| {
        let (mut record, mut workspace, mut found) = (model.record(), Workspace::new(), Attribution::new());
        fill(&mut record, &cells[0]).unwrap();
        for length in 0..8 {
            let players: Vec<u16> = (0..length as u16).collect();
            let game = Game { space: Space::Probability, player_of: Some(&players) };
            let result = model.exact_into(&record, set, &game, &mut workspace, &mut found);
            let expected =
                if length < 5 { Err(ExplainError::TooFewPlayers { found: length, features: 5 }) } else { Ok(()) };
            assert_eq!(result, expected, "{length}");
            assert_eq!(model.exact_cost(&record, set, &game).map(|_| ()), expected);
        }
    });
}

/// Stopped after any background record, an exact explanation says so and holds no values. If it is
/// not stopped, it gives the same bits.
#[test]
fn a_stopped_game_leaves_no_values() {
    let content = Recipe { features: 6, ..Recipe::gentle(2) }.content(2);
    let cells = records(&content, 2, 5);
    against(&content, &cells[1..], false, |model, set| {
        let (mut record, mut workspace) = (model.record(), Workspace::new());
        fill(&mut record, &cells[0]).unwrap();
        let mut whole = Attribution::new();
        let game = Game::default();
        model.exact_into(&record, set, &game, &mut workspace, &mut whole).unwrap();
        for stop in 1..=5 {
            let (mut calls, mut last) = (0, 0);
            let mut found = whole;
            let keep_going = |coalitions: u64| {
                assert!(coalitions >= last);
                (calls, last) = (calls + 1, coalitions);
                calls < stop
            };
            let result = model.exact_while(&record, set, &game, &mut workspace, keep_going, &mut found);
            if stop <= 4 {
                assert_eq!(result, Err(ExplainError::Stopped));
                assert_eq!((found.values, found.background, found.score), ([0.0; FEATURES], None, whole.score));
            } else {
                assert_eq!((result, found), (Ok(()), whole));
            }
        }
    });
    assert_eq!(Background::<FEATURES>::MAX_TERMS, 2 * FEATURES);
}
