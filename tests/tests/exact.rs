//! Promise: `exact` gives the Shapley values of the whole mixture, gate included: against the slow twin's enumeration, and by the axioms.
#![allow(clippy::unwrap_used)]

use feamoe::export::Content;
use feamoe_engine::attribution::{Background, Game, Workspace};
use feamoe_engine::mixture::Term;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{Attribution, Model, Space};
use feamoe_tests::generate::{Cell, Draw, EXPERTS, FEATURES, Recipe, SHARP, draw_cell, fill, records};
use feamoe_tests::reference::Reference;
use feamoe_tests::tolerance;

type TestModel<'a> = Model<'a, FEATURES, EXPERTS>;
type TestAttribution = Attribution<FEATURES, EXPERTS>;

/// How far base and values may be from adding up to the score.
const RESIDUAL: f32 = 1e-6;

/// Explains records against background records, with and without stored factors, which must not differ in a bit.
fn explain(content: &Content, cells: &[Vec<Cell>], background: &[Vec<Cell>], game: Game<'_>) -> Vec<TestAttribution> {
    let bytes = content.to_bytes(false).unwrap();
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let mut record = model.record();
    let (each, factors) = (Background::terms_needed(&model), Background::factors_needed(&model));
    let mut memory = [
        (vec![Term::default(); each * background.len()], vec![0.0; factors * background.len()]),
        (vec![Term::default(); each * background.len()], Vec::new()),
    ];
    let mut workspace = Workspace::new();
    let [stored, computed] = memory.each_mut().map(|(terms, factors)| {
        let mut set = Background::new(&model, terms, factors);
        for cells in background {
            fill(&mut record, cells).unwrap();
            set.push(&model, &record).unwrap();
        }
        let explain = |cells: &Vec<Cell>| {
            let mut record = model.record();
            fill(&mut record, cells).unwrap();
            let mut found = Attribution::new();
            model.exact_into(&record, &set, &game, &mut workspace, &mut found).unwrap();
            found
        };
        cells.iter().map(explain).collect::<Vec<_>>()
    });
    assert_eq!(stored, computed);
    stored
}

#[test]
fn agrees_with_the_slow_twin() {
    for space in [Space::Probability, Space::LogOdds] {
        let mut worst = [0.0_f64; 3];
        for seed in 0..200 {
            let recipe = Recipe { features: 1 + seed as usize % 10, ..Recipe::any(seed) };
            let content = recipe.content(seed);
            let reference = Reference::new(&content);
            let cells = records(&content, seed, 6);
            let (explained, background) = cells.split_at(3);
            for (found, cells) in
                explain(&content, explained, background, Game { space, player_of: None }).iter().zip(explained)
            {
                let expected = reference.exact(cells, background, space);
                for (found, expected) in found.values.iter().zip(&expected.values) {
                    let e = (f64::from(*found) - expected).abs();
                    if e > worst[0] {
                        worst[0] = e;
                        println!("{space:?} seed {seed} {recipe:?} {found} {expected} {e:e}");
                    }
                }
                worst[1] = worst[1].max((f64::from(found.base_value) - expected.base_value).abs());
                let r = f64::from(found.residual.abs());
                if r > 3e-7 && space == Space::Probability {
                    println!("residual {r:e} {recipe:?}");
                }
            }
        }
        println!("{space:?} {worst:?}");
    }
}
