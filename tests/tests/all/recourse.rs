//! Compares recourse with an exhaustive search in f64, and tests the laws of its distance.

use feamoe_engine::recourse::{Answer, Change, LEVEL_CHANGE, MAX_EVALUATIONS, MAX_LOOKS, Rule, Rules};
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{FeatureIndex, Model, Recourse, Value};
use feamoe_testkit::content::Bytes;
use feamoe_testkit::content::{Content, FeatureContent};
use feamoe_testkit::generate::{Cell, Draw, EXPERTS, FEATURES, Recipe, SHARP, fill, records};
use feamoe_testkit::load;
use feamoe_testkit::reference::Reference;
use feamoe_testkit::tolerance;
use feamoe_tests::repository_file;

type TestModel<'a> = Model<'a, FEATURES, EXPERTS>;

/// Evaluations by which the last descent may exceed the budget.
const ONE_DESCENT: u32 = 250;
/// Number of grid points over the range of a number.
const GRID: usize = 24;

/// Draws a small model with deviations.
fn small(recipe: Recipe, seed: u64) -> Content {
    let mut content = recipe.content_of(seed, |_, draw| draw_kind(draw));
    content.threshold = 0.5;
    content.deviations = small_deviations(&content, seed);
    content
}

/// Draws deviations. That of a number is between a tenth and two fifths of the width of its range.
fn small_deviations(content: &Content, seed: u64) -> Vec<f32> {
    let mut draw = Draw::new(seed ^ 0xde1a);
    let mut deviation = |feature: &FeatureContent| match feature.kind {
        Kind::Category { .. } => 0.0,
        Kind::Number { transform, low, high, .. } => {
            let width = transform.apply(high) - transform.apply(low);
            if width > 0.0 { width * draw.between(0.1, 0.4) } else { 1.0 }
        }
    };
    content.features.iter().map(&mut deviation).collect()
}

fn draw_kind(draw: &mut Draw) -> Kind {
    if draw.below(3) == 0 {
        return Kind::Category { levels: draw.one_of(&[2, 3, 5]) };
    }
    let transform = draw.one_of(&[Transform::Identity, Transform::Log1p]);
    let (low, high) = draw.one_of(&[(0.0, 1.0), (17.0, 90.0), (0.0, 1.0e4)]);
    let centre = draw.between(transform.apply(low), transform.apply(high));
    Kind::Number { transform, low, high, centre, bins: draw.one_of(&[0, 2, 4, 7]) }
}

/// The slow search. It tries all combinations of a grid over each number, both sides of its edges,
/// and all levels; then it moves one or two numbers in ever smaller steps. It uses no kernel of the
/// engine, no gradient, and no order except that of the distance.
struct Slow<'a> {
    reference: Reference<'a>,
    content: &'a Content,
    cells: Vec<Cell>,
    /// By feature: the cells with their squared distance and contribution, nearest first.
    candidates: Vec<Vec<(f64, Cell, Vec<f64>)>>,
    best: f64,
    at: Vec<Cell>,
}

impl<'a> Slow<'a> {
    fn new(content: &'a Content, cells: &[Cell]) -> Self {
        let reference = Reference::new(content);
        // A NaN is a missing value.
        let known = |cell: &Cell| if matches!(cell, Cell::Number(x) if x.is_nan()) { Cell::Missing } else { *cell };
        let cells: Vec<Cell> = cells.iter().map(known).collect();
        let mut edges = content.edges.as_slice();
        let mut slow = Self { reference, content, cells, candidates: vec![], best: f64::MAX, at: vec![] };
        for (index, feature) in content.features.iter().enumerate() {
            let (own, rest) = edges.split_at(feature.kind.edges() as usize);
            edges = rest;
            let own_cell = slow.cells[index];
            let mut list = vec![own_cell];
            match (feature.kind, own_cell) {
                (_, Cell::Missing) => {}
                (Kind::Category { levels }, _) => list.extend((0..levels).map(Cell::Level)),
                (Kind::Number { low, high, .. }, _) => {
                    let inside = |x: f32| Cell::Number(x.clamp(low, high));
                    list.extend((0..=GRID).map(|i| inside(low + (high - low) * i as f32 / GRID as f32)));
                    list.extend(own.iter().flat_map(|edge| [inside(*edge), inside(edge.next_down())]));
                }
            }
            let with_cost = |cell| (slow.cost(index, cell), cell, slow.reference.contribution(index, cell));
            let mut list: Vec<_> = list.into_iter().map(with_cost).collect();
            list.sort_by(|a, b| a.0.total_cmp(&b.0));
            slow.candidates.push(list);
        }
        slow
    }

    /// Returns the squared distance of a new value of a feature.
    fn cost(&self, feature: usize, cell: Cell) -> f64 {
        match (self.content.features[feature].kind, self.cells[feature], cell) {
            (Kind::Number { transform, low, high, .. }, Cell::Number(from), Cell::Number(to)) => {
                let t = |x: f32| match transform {
                    Transform::Identity => f64::from(x.clamp(low, high)),
                    Transform::Log1p => libm::log1p(f64::from(x.clamp(low, high))),
                };
                let moved = (t(to) - t(from)) / f64::from(self.content.deviations[feature]);
                moved * moved
            }
            (_, from, to) if from == to => 0.0,
            (_, Cell::Missing, _) => f64::INFINITY,
            _ => 2.0,
        }
    }

    fn is_favourable(&self, cells: &[Cell]) -> bool {
        self.reference.score(cells).probability >= f64::from(self.content.threshold)
    }

    /// Returns the distance of the nearest favourable grid point after refinement in ever smaller
    /// steps, or infinity if there is none.
    fn search(&mut self) -> f64 {
        let mut chosen = self.cells.clone();
        let logits = self.reference.bias();
        self.descend(0, 0.0, &logits, &mut chosen);
        if self.best < f64::MAX {
            self.refine();
        }
        if self.best < f64::MAX { self.best.sqrt() } else { f64::INFINITY }
    }

    fn descend(&mut self, feature: usize, cost: f64, logits: &[f64], chosen: &mut Vec<Cell>) {
        if feature == self.cells.len() {
            if self.reference.outcome(logits).probability >= f64::from(self.content.threshold) {
                self.best = cost;
                self.at.clone_from(chosen);
            }
            return;
        }
        for index in 0..self.candidates[feature].len() {
            let (own, cell, contribution) = &self.candidates[feature][index];
            if cost + own >= self.best {
                break;
            }
            chosen[feature] = *cell;
            let sum: Vec<f64> = logits.iter().zip(contribution).map(|(a, b)| a + b).collect();
            self.descend(feature + 1, cost + own, &sum, chosen);
        }
    }

    /// Moves one or two numbers at a time.
    fn refine(&mut self) {
        let count = self.cells.len();
        let total = |slow: &Self, at: &[Cell]| (0..count).map(|index| slow.cost(index, at[index])).sum::<f64>();
        let mut step = 0.5;
        while step > 1e-5 {
            let mut moved = false;
            for (i, j) in (0..count).flat_map(|i| (0..count).map(move |j| (i, j))) {
                for (a, b) in [
                    (-1.0, 0.0),
                    (1.0, 0.0),
                    (1.0, -1.0),
                    (1.0, 1.0),
                    (-1.0, -1.0),
                    (1.0, -0.3),
                    (1.0, 0.3),
                    (-1.0, -0.3),
                    (-1.0, 0.3),
                ] {
                    let mut at = self.at.clone();
                    at[i] = self.shifted(i, at[i], a * step);
                    at[j] = self.shifted(j, at[j], b * step);
                    let cost = total(self, &at);
                    if cost < self.best * (1.0 - 1e-9) && self.is_favourable(&at) {
                        (self.best, self.at, moved) = (cost, at, true);
                    }
                }
            }
            if !moved {
                step *= 0.5;
            }
        }
    }

    fn shifted(&self, feature: usize, cell: Cell, by: f64) -> Cell {
        let (Kind::Number { transform, low, high, .. }, Cell::Number(x)) = (self.content.features[feature].kind, cell)
        else {
            return cell;
        };
        let by = by * f64::from(self.content.deviations[feature]);
        let x = f64::from(x);
        let moved = match transform {
            Transform::Identity => x + by,
            Transform::Log1p => libm::expm1(libm::log1p(x) + by),
        };
        Cell::Number((moved as f32).clamp(low, high))
    }
}

/// Calls `check` for each declined record among `count` records of a model, with the model and the
/// engine's answer.
fn declined(
    content: &Content,
    seed: u64,
    count: usize,
    mut check: impl FnMut(&TestModel<'_>, &[Cell], &Recourse<FEATURES>),
) {
    let bytes = content.to_bytes(false);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let (mut record, mut recourse) = (model.record(), Recourse::new());
    for cells in records(content, seed, count) {
        fill(&mut record, &cells).unwrap();
        let score = model.score(&record).unwrap();
        model.recourse_into(&record, &mut recourse).unwrap();
        if score.decision {
            let found = (recourse.distance, recourse.probability, recourse.changes);
            assert_eq!(found, (Some(0.0), score.probability, [None; FEATURES]));
        } else {
            check(&model, &cells, &recourse);
        }
    }
}

/// Returns the cells after the changes.
fn changed(cells: &[Cell], changes: &[Option<Change>]) -> Vec<Cell> {
    let changed = |(cell, change): (&Cell, &Option<Change>)| match *change {
        None => *cell,
        Some(Change::Number(x)) => Cell::Number(x),
        Some(Change::Level(code)) => Cell::Level(code),
    };
    cells.iter().zip(changes).map(changed).collect()
}

/// The engine's answers compared with those of the slow search, over many records.
#[derive(Debug, Default)]
struct Tally {
    found: usize,
    /// The engine found no answer, but the slow search did.
    missed: usize,
    /// The engine's distance exceeds that of the slow search by more than a hundredth (`farther`),
    /// by more than a fifth (`far`).
    farther: usize,
    far: usize,
}

fn tally(seeds: u64, recipe: impl Fn(u64) -> Recipe) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..seeds {
        let content = small(recipe(seed), seed);
        declined(&content, seed, 6, |_, cells, found| {
            let nearest = Slow::new(&content, cells).search();
            let Some(distance) = found.distance else {
                tally.missed += usize::from(nearest.is_finite());
                return;
            };
            tally.found += 1;
            // f32 cannot separate a number at an edge from its neighbours.
            let nearest = nearest + 1e-6;
            tally.farther += usize::from(f64::from(distance) > 1.01 * nearest);
            tally.far += usize::from(f64::from(distance) > 1.2 * nearest);
        });
    }
    println!("{tally:?}");
    tally
}

#[test]
fn one_feature_is_exact() {
    for gate in [6.0, SHARP, 40.0] {
        let tally = tally(1_500, |seed| Recipe { experts: 1 + seed as usize % 6, features: 1, gate, outputs: 8.0 });
        assert!(tally.found > 50 && tally.farther == 0 && tally.missed == 0, "{tally:?}");
    }
}

/// Two to four features. In 96 of 100 answers the slow search is at most a hundredth nearer, in 97
/// at most a fifth. At most one answer in 100 is missed.
#[test]
fn is_near_what_an_exhaustive_search_finds() {
    let tally = tally(300, |seed| Recipe {
        experts: 1 + seed as usize % 6,
        features: 2 + seed as usize % 3,
        gate: 6.0,
        outputs: 8.0,
    });
    assert!(tally.found > 600 && 100 * tally.missed <= tally.found, "{tally:?}");
    assert!(100 * tally.farther <= 4 * tally.found && 100 * tally.far <= 3 * tally.found, "{tally:?}");
}

/// A sharp gate switches experts abruptly, which a gradient does not see from afar. 90 and 92 of
/// 100 answers are within the two bounds; at most one in 100 is missed.
#[test]
fn is_near_what_an_exhaustive_search_finds_where_the_gate_is_sharp() {
    let tally = tally(300, |seed| Recipe {
        experts: 2 + seed as usize % 5,
        features: 2 + seed as usize % 3,
        gate: SHARP,
        outputs: 12.0,
    });
    assert!(tally.found > 600 && 100 * tally.missed <= tally.found, "{tally:?}");
    assert!(100 * tally.farther <= 10 * tally.found && 100 * tally.far <= 8 * tally.found, "{tally:?}");
}

/// Where the foot of the perpendicular lies within the ranges, the distance is that to a
/// hyperplane, `|z| / ||w||` in standardised numbers. It is never less, and larger beyond the
/// ranges.
#[test]
fn logistic_regression_is_exact() {
    let number = Kind::Number { transform: Transform::Identity, low: -50.0, high: 50.0, centre: 0.0, bins: 0 };
    let mut checked = 0;
    for seed in 0..60 {
        let features = 1 + seed as usize % 5;
        let recipe = Recipe { experts: 1, features, gate: 5.0, outputs: 20.0 };
        let mut content = recipe.content_of(seed, |_, _| number);
        let mut draw = Draw::new(seed);
        content.deviations = (0..features).map(|_| draw.between(0.1, 20.0)).collect();
        let threshold = f64::from(content.threshold);
        let boundary = libm::log2(threshold / (1.0 - threshold));
        // Weight rows of a number without bins: linear, missing. Lanes: gate, expert.
        let slopes = content.deviations.iter().zip(content.rows.chunks(8)).map(|(sd, rows)| f64::from(sd * rows[1]));
        let slopes: Vec<f64> = slopes.collect();
        let norm = slopes.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        let reference = Reference::new(&content);
        declined(&content, seed, 30, |_, cells, found| {
            if !cells.iter().all(|cell| matches!(cell, Cell::Number(x) if x.abs() <= 50.0)) {
                return;
            }
            let z = boundary - reference.logits(cells)[1];
            let foot = |(cell, (slope, sd)): (&Cell, (&f64, &f32))| match cell {
                Cell::Number(x) => f64::from(*x) + z * slope / (norm * norm) * f64::from(*sd),
                _ => f64::NAN,
            };
            let mut feet = cells.iter().zip(slopes.iter().zip(&content.deviations)).map(foot);
            let inside = feet.all(|foot| foot.abs() <= 50.0);
            let expected = z / norm;
            match found.distance {
                Some(distance) if inside => {
                    let error = (f64::from(distance) - expected).abs();
                    assert!(error <= 1e-4 * expected + 1e-6, "seed {seed}: {distance} for {expected}");
                    checked += 1;
                }
                Some(distance) => assert!(f64::from(distance) > expected, "seed {seed}: {distance} below {expected}"),
                None => {
                    let most: f64 = cells
                        .iter()
                        .zip(slopes.iter().zip(&content.deviations))
                        .map(|(cell, (slope, sd))| match cell {
                            Cell::Number(x) => (50.0 - f64::from(*x) * slope.signum()) * slope.abs() / f64::from(*sd),
                            _ => 0.0,
                        })
                        .sum();
                    assert!(most <= z * (1.0 + 1e-5), "seed {seed}: none, but {most} of {z} can be reached");
                }
            }
        });
    }
    assert!(checked > 100, "{checked}");
}

/// Every answer of any model and record holds: it is verified in f64, its distance is that of its
/// changes, it stays within the ranges, it changes no missing value, and it keeps the stated cost.
#[test]
fn every_answer_holds() {
    let (mut found, mut with_deviations) = (0, 0);
    for seed in 0..200 {
        let recipe = Recipe::any(seed);
        let mut content = recipe.content(seed);
        if seed % 2 == 0 {
            content.deviations = small_deviations(&content, seed);
        }
        let reference = Reference::new(&content);
        let logit = tolerance::logit(reference.terms(), f64::from(recipe.gate.max(recipe.outputs)));
        let tolerance = tolerance::probability(content.experts, logit);
        declined(&content, seed, 10, |model, cells, answer| {
            assert!(answer.evaluations <= MAX_EVALUATIONS, "seed {seed}: {} evaluations", answer.evaluations);
            let Some(distance) = answer.distance else {
                assert_eq!(answer.changes, [None; FEATURES]);
                return;
            };
            found += 1;
            with_deviations += usize::from(!content.deviations.is_empty());
            let after = changed(cells, &answer.changes);
            let mut record = model.record();
            fill(&mut record, &after).unwrap();
            let score = model.score(&record).unwrap();
            assert!(score.decision && score.probability == answer.probability, "seed {seed}");
            let probability = reference.score(&after).probability;
            assert!(probability >= f64::from(content.threshold) - tolerance, "seed {seed}: {probability}");
            let mut squares = 0.0;
            for (index, change) in answer.changes.iter().enumerate().filter(|(_, change)| change.is_some()) {
                let missing =
                    matches!(cells[index], Cell::Missing) || matches!(cells[index], Cell::Number(x) if x.is_nan());
                assert!(!missing, "seed {seed}: what is missing stays so");
                let moved = match (content.features[index].kind, cells[index], change) {
                    (Kind::Number { transform, low, high, .. }, Cell::Number(from), Some(Change::Number(to))) => {
                        assert!((low..=high).contains(to), "seed {seed}: {to} is outside");
                        let t = |x: f32| f64::from(transform.apply(x.clamp(low, high)));
                        (t(*to) - t(from)) / f64::from(model.schema().deviation(index))
                    }
                    (_, _, Some(Change::Level(_))) => f64::from(LEVEL_CHANGE),
                    other => panic!("seed {seed}: {other:?}"),
                };
                squares += moved * moved;
            }
            let error = (f64::from(distance) - squares.sqrt()).abs();
            assert!(error <= 1e-3 * squares.sqrt() + 1e-6, "seed {seed}: {distance}, its changes {}", squares.sqrt());
        });
    }
    assert!(found > 300 && with_deviations > 100, "{found}, {with_deviations}");
}

#[test]
fn the_same_record_gives_the_same_answer_in_any_build() {
    for seed in 0..40 {
        let content = Recipe { features: 6, experts: 1 + seed as usize % 8, ..Recipe::gentle(seed) }.content(seed);
        let bytes = content.to_bytes(true);
        let wide: Model<64, 64> = Model::load(bytes.as_slice()).unwrap();
        let (mut record, mut recourse) = (wide.record(), Recourse::new());
        declined(&content, seed, 10, |_, cells, expected| {
            fill(&mut record, cells).unwrap();
            wide.recourse_into(&record, &mut recourse).unwrap();
            assert_eq!(recourse.distance.map(f32::to_bits), expected.distance.map(f32::to_bits));
            assert_eq!(recourse.evaluations, expected.evaluations);
            assert_eq!(recourse.changes[..6], expected.changes[..6]);
        });
    }
}

#[test]
fn without_deviations_values_count_as_spread_evenly() {
    let content = Recipe { features: 12, ..Recipe::any(3) }.content(3);
    let bytes = content.to_bytes(true);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    for (index, feature) in content.features.iter().enumerate() {
        let expected = match feature.kind {
            Kind::Category { .. } => 0.0,
            Kind::Number { low, high, .. } if low == high => 1.0,
            Kind::Number { transform, low, high, .. } => (transform.apply(high) - transform.apply(low)) / 12_f32.sqrt(),
        };
        assert!((model.schema().deviation(index) - expected).abs() <= 1e-6 * expected);
    }
    assert_eq!(model.schema().deviation(12), 0.0);
}

/// One expert; categories and numbers with and without bins. No answer is missed, and none is
/// farther than the nearest except for rounding.
#[test]
fn a_logistic_model_with_categories_is_exact() {
    let tally = tally(1_200, |seed| Recipe { experts: 1, features: 2 + seed as usize % 3, gate: 5.0, outputs: 8.0 });
    assert!(tally.found > 1_000, "{tally:?}");
    assert_eq!((tally.missed, tally.farther, tally.far), (0, 0, 0));
}

/// The rules free one feature of a real model and fix the others. An answer is found wherever any
/// value of the feature gives the favourable outcome.
#[test]
fn no_single_change_of_a_real_model_is_missed() {
    let bytes = Bytes::new(&std::fs::read(repository_file("engine/golden/adult-gated.feamoe")).unwrap());
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let content = Content::read(bytes.as_slice());
    let (mut record, mut recourse, mut found) = (model.record(), Recourse::new(), 0);
    for cells in records(&content, 5, 250) {
        for (index, feature) in content.features.iter().enumerate() {
            fill(&mut record, &cells).unwrap();
            if model.score(&record).unwrap().decision || matches!(cells[index], Cell::Missing) {
                continue;
            }
            let mut rules = [Rule::FIXED; FEATURES];
            rules[index] = Rule::FREE;
            model.recourse_within(&record, &Rules::new(rules).unwrap(), &mut recourse).unwrap();
            let key = FeatureIndex(index);
            let mut is_favourable = |value: Value| {
                _ = record.set_value(key, value).unwrap();
                model.score(&record).unwrap().decision
            };
            let any = match feature.kind {
                Kind::Category { levels } => (0..levels).any(|code| is_favourable(Value::Level(code))),
                Kind::Number { low, high, .. } => {
                    (0..=500).any(|n| is_favourable(Value::Number(low + (high - low) * n as f32 / 500.0)))
                }
            };
            let missing = matches!(cells[index], Cell::Number(x) if x.is_nan());
            assert!(recourse.distance.is_some() || !any || missing, "feature {index} of {cells:?}");
            found += usize::from(any);
        }
    }
    assert!(found > 200, "{found}");
}

/// Features with 60,000 levels each: the work is bounded by counts, not by the size of the model.
#[test]
fn very_many_levels_take_no_more_looks_than_stated() {
    let recipe = Recipe { experts: 2, features: 4, gate: 6.0, outputs: 8.0 };
    let mut content = recipe.content_of(1, |_, _| Kind::Category { levels: 60_000 });
    // Unreachable, so the search looks at everything.
    content.threshold = 1.0 - f32::EPSILON;
    let mut most = 0;
    declined(&content, 1, 30, |_, _, found| {
        assert!(found.looks <= MAX_LOOKS + 4 * 60_000, "{} looks", found.looks);
        assert!(found.evaluations <= MAX_EVALUATIONS + ONE_DESCENT, "{} evaluations", found.evaluations);
        most = most.max(found.looks);
    });
    assert!(most > 100_000, "{most} looks");
}

/// A search can be stopped at any point. It then ends at once, reports that it was stopped, and its
/// answer so far is verified like any other.
#[test]
fn a_stopped_search_keeps_the_best_answer_so_far() {
    let (mut stopped, mut kept) = (0, 0);
    for seed in 0..60 {
        let content = small(Recipe { experts: 1 + seed as usize % 6, features: 4, gate: 6.0, outputs: 8.0 }, seed);
        let bytes = content.to_bytes(false);
        let model: TestModel = Model::load(bytes.as_slice()).unwrap();
        let mut again = Recourse::new();
        declined(&content, seed, 5, |_, cells, whole| {
            assert!(!whole.stopped);
            let mut record = model.record();
            fill(&mut record, cells).unwrap();
            for limit in [2, 3, 10, 50, 200, whole.evaluations + 1] {
                model.recourse_while(&record, &Rules::FREE, &mut again, |made| made < limit).unwrap();
                assert_eq!(again.stopped, limit <= whole.evaluations, "{limit} of {}", whole.evaluations);
                // The step in progress is still completed.
                assert!(again.evaluations <= limit.max(2) + 120, "{} of {limit}", again.evaluations);
                let Some(distance) = again.distance else { continue };
                let after = changed(cells, &again.changes);
                let mut record = model.record();
                fill(&mut record, &after).unwrap();
                let score = model.score(&record).unwrap();
                assert!(score.decision && score.probability == again.probability);
                assert!(whole.distance.is_some_and(|nearest| nearest <= distance));
                kept += usize::from(again.stopped);
            }
            assert_eq!((again.distance, again.changes), (whole.distance, whole.changes));
            stopped += 1;
        });
    }
    assert!(stopped > 60 && kept > 60, "{stopped} {kept}");
}

/// Steps finer than the spacing of f32 in the range, and steps of hundredths at large numbers: no
/// answer is infinite, outside the rule's range, or different from its decimal.
#[test]
fn fine_steps_propose_numbers_as_decimals_write_them() {
    let mut answers = 0;
    for seed in 0..2_000_u64 {
        let mut draw = Draw::new(seed);
        let high = draw.one_of(&[1.0, 90.0, 5e4, 3e6, 2e9]);
        let number = Kind::Number { transform: Transform::Identity, low: 0.0, high, centre: high / 3.0, bins: 0 };
        let recipe = Recipe { experts: 1 + draw.below(3), features: 1, gate: 5.0, outputs: 9.0 };
        let mut content = recipe.content_of(seed, |_, _| number);
        content.deviations = vec![high / 6.0];
        let step = draw.one_of(&[2e-38, 1e-6, 0.01, 0.05, 0.25, 1.0, 100.0]);
        let (from, to) = (draw.between(0.0, high), draw.between(0.0, high));
        let rule = Rule { low: from.min(to), high: from.max(to), step, ..Rule::FREE };
        let mut rules = [Rule::FIXED; FEATURES];
        rules[0] = rule;
        let rules = Rules::new(rules).unwrap();
        let bytes = content.to_bytes(false);
        let model: TestModel = Model::load(bytes.as_slice()).unwrap();
        let (mut record, mut recourse) = (model.record(), Recourse::new());
        for cells in records(&content, seed, 6) {
            fill(&mut record, &cells).unwrap();
            model.recourse_within(&record, &rules, &mut recourse).unwrap();
            let Some(Change::Number(x)) = recourse.changes[0] else { continue };
            answers += 1;
            assert!(x.is_finite() && x >= rule.low && x <= rule.high, "seed {seed}: {x} outside {rule:?}");
            if step >= f32::EPSILON * rule.high {
                let steps = (f64::from(x) / step.to_string().parse::<f64>().unwrap()).round();
                let written = (steps * step.to_string().parse::<f64>().unwrap()) as f32;
                assert_eq!(x, written, "seed {seed}: {rule:?}");
            }
        }
    }
    assert!(answers > 200, "{answers}");
}

/// A margin has the same effect as a higher threshold.
#[test]
fn a_margin_is_a_threshold_further_away() {
    let mut answers = 0;
    for seed in 0..150 {
        let recipe =
            Recipe { experts: 1 + seed as usize % 5, features: 1 + seed as usize % 6, gate: 6.0, outputs: 8.0 };
        let content = small(recipe, seed);
        let margin = Draw::new(seed).one_of(&[0.02, 0.1, 0.3, 0.49, 0.9]);
        let sought = (content.threshold + margin).min(0.5 * (1.0 + content.threshold));
        let higher = Content { threshold: sought, ..content.clone() };
        let (bytes, higher) = (content.to_bytes(false), higher.to_bytes(false));
        let [model, higher]: [TestModel<'_>; 2] = [load(bytes.as_slice()), load(higher.as_slice())];
        let rules = Rules::FREE.with_margin(margin).unwrap();
        let (mut found, mut expected) = (Recourse::new(), Recourse::new());
        let mut room = [[Answer::NONE; 3]; 2];
        for cells in records(&content, seed, 12) {
            let (mut record, mut again) = (model.record(), higher.record());
            fill(&mut record, &cells).unwrap();
            fill(&mut again, &cells).unwrap();
            if model.score(&record).unwrap().decision {
                model.recourse_within(&record, &rules, &mut found).unwrap();
                assert_eq!(found.distance, Some(0.0), "what is favourable stays");
                continue;
            }
            let [one, other] = &mut room;
            let counts = [
                model.recourses_within(&record, &rules, &mut found, one).unwrap(),
                higher.recourses_within(&again, &Rules::FREE, &mut expected, other).unwrap(),
            ];
            assert_eq!(counts[0], counts[1], "seed {seed}");
            assert_eq!((found.distance, found.changes), (expected.distance, expected.changes), "seed {seed}");
            assert_eq!(one[..counts[0]], other[..counts[1]], "seed {seed}");
            assert!(one[..counts[0]].iter().all(|answer| answer.probability >= sought));
            answers += counts[0];
        }
    }
    assert!(answers > 500, "{answers}");
    for wrong in [-0.1, 1.0, f32::NAN] {
        assert!(Rules::<FEATURES>::FREE.with_margin(wrong).is_none());
    }
}
