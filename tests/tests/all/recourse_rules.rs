//! Recourse by rules: compared in f64 with every point of the grid of steps and levels, and tested
//! for what each answer must satisfy under any rules.

use feamoe_engine::recourse::{Answer, Change, Direction, LEVEL_CHANGE, MAX_EVALUATIONS, Rule, Rules};
use feamoe_engine::schema::{Kind, Transform};
use feamoe_engine::{Model, Recourse};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Cell, Draw, EXPERTS, FEATURES, Recipe, SHARP, fill, records};
use feamoe_testkit::reference::Reference;

type TestModel<'a> = Model<'a, FEATURES, EXPERTS>;

/// Number of grid points for a number without steps.
const GRID: f32 = 2_000.0;
/// Evaluations by which one descent may exceed the stated budget.
const ONE_DESCENT: u32 = 400;

/// Draws a small model with deviations.
fn small(recipe: Recipe, seed: u64) -> Content {
    over(&[(0.0, 1.0), (17.0, 90.0), (0.0, 1.0e4)], recipe, seed)
}

/// Like [`small`], with the numbers over some of these ranges.
fn over(ranges: &[(f32, f32)], recipe: Recipe, seed: u64) -> Content {
    let mut content = recipe.content_of(seed, |_, draw| {
        if draw.below(3) == 0 {
            return Kind::Category { levels: draw.one_of(&[2, 3, 5]) };
        }
        let transform = draw.one_of(&[Transform::Identity, Transform::Log1p]);
        let (low, high) = draw.one_of(ranges);
        let centre = draw.between(transform.apply(low), transform.apply(high));
        Kind::Number { transform, low, high, centre, bins: draw.one_of(&[0, 2, 4, 7]) }
    });
    content.threshold = 0.5;
    let mut draw = Draw::new(seed ^ 0xde1a);
    let deviations = content.features.iter().map(|feature| match feature.kind {
        Kind::Category { .. } => 0.0,
        Kind::Number { transform, low, high, .. } => {
            (transform.apply(high) - transform.apply(low)) * draw.between(0.1, 0.4)
        }
    });
    content.deviations = deviations.collect();
    content
}

/// Draws a rule for each feature. Every number has steps if `on_steps` is set, otherwise every
/// other one.
fn draw_rules(content: &Content, seed: u64, on_steps: bool) -> Rules<FEATURES> {
    let mut draw = Draw::new(seed ^ 0x401e);
    let mut rules = [Rule::FREE; FEATURES];
    for (feature, rule) in content.features.iter().zip(&mut rules) {
        use Direction::{Any, Decrease, Fixed, Increase};
        rule.direction = draw.one_of(&[Any, Any, Any, Any, Increase, Increase, Decrease, Decrease, Fixed]);
        rule.cost = draw.one_of(&[0.5, 1.0, 1.0, 3.0]);
        let Kind::Number { low, high, .. } = feature.kind else { continue };
        let width = high - low;
        if draw.below(2) == 0 {
            rule.low = low + width * draw.between(-0.1, 0.4);
            rule.high = high - width * draw.between(-0.1, 0.4);
        }
        if on_steps || draw.below(2) == 0 {
            rule.step = width / draw.one_of(&[4.0, 7.0, 12.0]);
        }
    }
    Rules::new(rules).unwrap()
}

/// Returns `n` steps as a decimal writes them: the f32 nearest to `n` times the step's shortest
/// decimal.
fn multiple(n: f32, step: f32) -> f32 {
    (f64::from(n) * step.to_string().parse::<f64>().unwrap()) as f32
}

/// Returns a cell as the model reads it: a NaN is missing, and other numbers are clamped to the
/// training range.
fn known(kind: Kind, cell: Cell) -> Cell {
    match (kind, cell) {
        (_, Cell::Number(x)) if x.is_nan() => Cell::Missing,
        (Kind::Number { low, high, .. }, Cell::Number(x)) => Cell::Number(x.clamp(low, high)),
        _ => cell,
    }
}

/// Returns what a change of a feature adds to the squared distance, in f64, or `None` if the rule
/// forbids it.
fn cost(content: &Content, index: usize, rule: &Rule, from: Cell, to: Cell) -> Option<f64> {
    let kind = content.features[index].kind;
    let from = known(kind, from);
    if from == to {
        return Some(0.0);
    }
    let moved = match (kind, from, to) {
        (Kind::Category { levels }, Cell::Level(_) | Cell::Unseen, Cell::Level(code)) if code < levels => {
            f64::from(LEVEL_CHANGE)
        }
        (Kind::Number { transform, low, high, .. }, Cell::Number(from), Cell::Number(to)) => {
            let inside = (low.max(rule.low)..=high.min(rule.high)).contains(&to);
            let right_way = match rule.direction {
                Direction::Increase => to > from,
                Direction::Decrease => to < from,
                _ => true,
            };
            let on_step = rule.step == 0.0 || to == multiple((to / rule.step).round(), rule.step);
            if !(inside && right_way && on_step) {
                return None;
            }
            let t = |x: f32| match transform {
                Transform::Identity => f64::from(x),
                Transform::Log1p => libm::log1p(f64::from(x)),
            };
            (t(to) - t(from)) / f64::from(content.deviations[index])
        }
        _ => return None,
    };
    (rule.direction != Direction::Fixed).then(|| (moved * f64::from(rule.cost)).powi(2))
}

/// The slow search: every combination of the values that the rules allow, without those farther
/// than the best so far. It is exact if every number has steps; otherwise it uses a grid for each
/// number and the ends of its range.
struct Slow<'a> {
    reference: Reference<'a>,
    /// By feature: the squared distance and contribution of each cell, nearest first.
    candidates: Vec<Vec<(f64, Vec<f64>)>>,
    best: f64,
}

impl<'a> Slow<'a> {
    fn new(content: &'a Content, rules: &Rules<FEATURES>, cells: &[Cell]) -> Self {
        let reference = Reference::new(content);
        let mut candidates = Vec::new();
        for (index, ((feature, rule), cell)) in content.features.iter().zip(rules.as_slice()).zip(cells).enumerate() {
            let mut list = vec![known(feature.kind, *cell)];
            match feature.kind {
                Kind::Category { levels } => list.extend((0..levels).map(Cell::Level)),
                Kind::Number { low, high, .. } => {
                    let step = if rule.step > 0.0 { rule.step } else { (high - low) / GRID };
                    let steps = |x: f32| (x / step) as i32;
                    list.extend((steps(low) - 1..=steps(high) + 1).map(|n| Cell::Number(multiple(n as f32, step))));
                    list.extend([rule.low, rule.high].map(Cell::Number));
                }
            }
            let with_cost = |to: Cell| {
                let cost = cost(content, index, rule, *cell, to)?;
                Some((cost, reference.contribution(index, to)))
            };
            let mut list: Vec<_> = list.into_iter().filter_map(with_cost).collect();
            list.sort_by(|a, b| a.0.total_cmp(&b.0));
            candidates.push(list);
        }
        Self { reference, candidates, best: f64::INFINITY }
    }

    /// Returns the distance of the nearest favourable point, or infinity if there is none.
    fn search(&mut self, threshold: f32) -> f64 {
        let bias = self.reference.bias();
        self.descend(0, 0.0, &bias, f64::from(threshold));
        self.best.sqrt()
    }

    fn descend(&mut self, feature: usize, cost: f64, logits: &[f64], threshold: f64) {
        if feature == self.candidates.len() {
            if self.reference.outcome(logits).probability >= threshold {
                self.best = cost;
            }
            return;
        }
        for index in 0..self.candidates[feature].len() {
            let (own, contribution) = &self.candidates[feature][index];
            let cost = cost + own;
            if cost >= self.best {
                break;
            }
            let sum: Vec<f64> = logits.iter().zip(contribution).map(|(a, b)| a + b).collect();
            self.descend(feature + 1, cost, &sum, threshold);
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

/// Asserts that an answer is allowed by the rules, has the stated distance, and is favourable with
/// the stated score.
fn assert_holds(
    content: &Content,
    model: &TestModel<'_>,
    rules: &Rules<FEATURES>,
    cells: &[Cell],
    changes: &[Option<Change>; FEATURES],
    (distance, probability): (f32, f32),
) {
    let after = changed(cells, changes);
    let mut record = model.record();
    fill(&mut record, &after).unwrap();
    let score = model.score(&record).unwrap();
    assert!(score.decision && score.probability == probability, "{probability}: {score:?}");
    let mut squares = 0.0;
    for (index, (from, to)) in cells.iter().zip(&after).enumerate().filter(|(index, _)| changes[*index].is_some()) {
        let rule = &rules.as_slice()[index];
        let cost = cost(content, index, rule, *from, *to);
        squares += cost.unwrap_or_else(|| panic!("feature {index}: {from:?} to {to:?}, forbidden by {rule:?}"));
    }
    let error = (f64::from(distance) - squares.sqrt()).abs();
    assert!(error <= 1e-3 * squares.sqrt() + 1e-6, "{distance}, its changes {}", squares.sqrt());
}

/// Calls `check` for each declined record among the drawn records of a model.
fn declined(content: &Content, seed: u64, count: usize, mut check: impl FnMut(&TestModel<'_>, &[Cell])) {
    let bytes = content.to_bytes(false);
    let model: TestModel = Model::load(bytes.as_slice()).unwrap();
    let mut record = model.record();
    for cells in records(content, seed, count) {
        fill(&mut record, &cells).unwrap();
        if !model.score(&record).unwrap().decision {
            check(&model, &cells);
        }
    }
}

/// The engine's answers compared with those of the slow search.
#[derive(Debug, Default)]
struct Tally {
    found: usize,
    /// Neither search found an answer.
    none: usize,
    /// The engine found no answer, but the slow search did.
    missed: usize,
    /// Answers farther than the nearest.
    farther: usize,
}

fn tally(seeds: u64, on_steps: bool, recipe: impl Fn(u64) -> Recipe) -> Tally {
    let (mut tally, mut recourse) = (Tally::default(), Recourse::new());
    for seed in 0..seeds {
        let content = small(recipe(seed), seed);
        let rules = draw_rules(&content, seed, on_steps);
        declined(&content, seed, 6, |model, cells| {
            let mut record = model.record();
            fill(&mut record, cells).unwrap();
            model.recourse_within(&record, &rules, &mut recourse).unwrap();
            let nearest = Slow::new(&content, &rules, cells).search(content.threshold);
            let Some(distance) = recourse.distance else {
                *(if nearest.is_finite() { &mut tally.missed } else { &mut tally.none }) += 1;
                return;
            };
            assert_holds(&content, model, &rules, cells, &recourse.changes, (distance, recourse.probability));
            let exact = f64::from(distance) >= nearest * 0.999;
            assert!(exact || !on_steps, "seed {seed}: {distance}, the nearest is {nearest}");
            tally.found += 1;
            tally.farther += usize::from(f64::from(distance) > 1.001 * nearest);
        });
    }
    println!("{tally:?}");
    tally
}

#[test]
fn one_feature_is_exact() {
    for (gate, on_steps) in [(6.0, true), (SHARP, true), (6.0, false), (SHARP, false)] {
        let tally =
            tally(1_500, on_steps, |seed| Recipe { experts: 1 + seed as usize % 6, features: 1, gate, outputs: 8.0 });
        assert!(tally.found > 600 && tally.none > 600, "{tally:?}");
        assert_eq!((tally.missed, tally.farther), (0, 0), "{on_steps} {gate}");
    }
}

/// Two to five features. 99 of 100 answers are the nearest; of 314 records with an answer, 2 are
/// missed.
#[test]
fn is_near_the_nearest_on_the_grid() {
    let tally = tally(600, true, |seed| Recipe {
        experts: 1 + seed as usize % 6,
        features: 2 + seed as usize % 4,
        gate: 6.0,
        outputs: 8.0,
    });
    assert!(tally.found > 200 && tally.none > 50, "{tally:?}");
    assert!(100 * tally.missed <= tally.found && 100 * tally.farther <= tally.found, "{tally:?}");
}

/// A sharp gate switches experts abruptly. 97 of 100 answers are the nearest; of 350 records with
/// an answer, 5 are missed.
#[test]
fn is_near_the_nearest_on_the_grid_where_the_gate_is_sharp() {
    let tally = tally(600, true, |seed| Recipe {
        experts: 2 + seed as usize % 5,
        features: 2 + seed as usize % 4,
        gate: SHARP,
        outputs: 12.0,
    });
    assert!(tally.found > 200 && tally.none > 50, "{tally:?}");
    assert!(100 * tally.missed <= 2 * tally.found && 100 * tally.farther <= 3 * tally.found, "{tally:?}");
}

/// Several answers of any model, record and rules. Each is allowed and favourable, the nearest
/// comes first and is hardly farther than that of the single search, and no two change the same
/// features. There are as many as fit, or all if there are fewer.
#[test]
fn several_answers_differ_and_hold() {
    let (mut recourse, mut found) = (Recourse::new(), [0_usize; 5]);
    for seed in 0..150 {
        let recipe = Recipe { features: 1 + seed as usize % 7, ..Recipe::any(seed) };
        let content = small(recipe, seed);
        let rules = draw_rules(&content, seed, false);
        declined(&content, seed, 8, |model, cells| {
            let mut record = model.record();
            fill(&mut record, cells).unwrap();
            model.recourse_within(&record, &rules, &mut recourse).unwrap();
            let alone = recourse.clone();
            assert!(alone.evaluations <= MAX_EVALUATIONS + ONE_DESCENT, "seed {seed}: {}", alone.evaluations);
            let mut answers = [Answer::NONE; 4];
            let count = model.recourses_within(&record, &rules, &mut recourse, &mut answers).unwrap();
            found[count] += 1;
            assert_eq!(count == 0, alone.distance.is_none());
            for (index, answer) in answers[..count].iter().enumerate() {
                let said = (answer.distance, answer.probability);
                assert_holds(&content, model, &rules, cells, &answer.changes, said);
                for earlier in &answers[..index] {
                    assert!(earlier.distance <= answer.distance);
                    let differs = |(a, b): (&Option<Change>, &Option<Change>)| a.is_some() != b.is_some();
                    assert!(earlier.changes.iter().zip(&answer.changes).any(differs), "seed {seed}: {answers:?}");
                }
            }
            if count > 0 {
                let nearest = alone.distance.unwrap();
                assert!(answers[0].distance <= 1.01 * nearest, "seed {seed}: {nearest}, {answers:?}");
                assert_eq!((recourse.distance, recourse.changes), (Some(answers[0].distance), answers[0].changes));
                assert!(recourse.evaluations >= alone.evaluations);
            }
            // With fewer places, the nearest of the same answers are returned.
            let two = model.recourses_within(&record, &rules, &mut recourse, &mut answers[..2]).unwrap();
            assert_eq!(two, count.min(2));
            assert_eq!(model.recourses_within(&record, &rules, &mut recourse, &mut []), Ok(0));
            let nearest = if count > 0 { Some(answers[0].distance) } else { None };
            assert!(recourse.distance.is_some() == nearest.is_some() && recourse.distance >= nearest);
        });
    }
    println!("{found:?}");
    assert!(found.iter().all(|count| *count > 20), "{found:?}");
}

/// Steps and costs so small or so large that f32 can hardly distinguish the numbers, in particular
/// after a logarithm. An answer is allowed and differs from the record's number, and the search
/// ends.
#[test]
fn numbers_hardly_distinguished_are_allowed_and_others() {
    let (mut recourse, mut found) = (Recourse::new(), 0);
    for seed in 0..1_000 {
        let recipe = Recipe { features: 1 + seed as usize % 7, ..Recipe::any(seed) };
        let content = over(&[(0.0, 2.0e6), (2_000.0, 2_020.0)], recipe, seed);
        let mut draw = Draw::new(seed ^ 0x57e9);
        let mut rules = *draw_rules(&content, seed, false).as_slice().first_chunk::<FEATURES>().unwrap();
        for rule in &mut rules {
            (rule.step, rule.cost) = (draw.one_of(&[0.0, 1.0, 1.0, 100.0]), draw.one_of(&[1e-3, 1.0, 1e3]));
        }
        let rules = Rules::new(rules).unwrap();
        declined(&content, seed, 4, |model, cells| {
            let mut record = model.record();
            fill(&mut record, cells).unwrap();
            model.recourse_within(&record, &rules, &mut recourse).unwrap();
            assert!(recourse.evaluations <= MAX_EVALUATIONS + ONE_DESCENT, "seed {seed}: {}", recourse.evaluations);
            found += usize::from(recourse.distance.is_some());
            let after = changed(cells, &recourse.changes);
            for index in (0..cells.len()).filter(|index| recourse.changes[*index].is_some()) {
                let (from, to, rule) = (cells[index], after[index], &rules.as_slice()[index]);
                let is_other = known(content.features[index].kind, from) != to;
                let is_allowed = cost(&content, index, rule, from, to).is_some();
                assert!(is_other && is_allowed, "seed {seed}: {from:?} to {to:?}, {rule:?}");
            }
        });
    }
    assert!(found > 500, "{found}");
}

#[test]
fn a_favourable_record_needs_no_answer_and_free_rules_change_nothing() {
    let (mut recourse, mut free) = (Recourse::new(), Recourse::new());
    let (mut favourable, mut answers) = (0, [Answer::NONE; 2]);
    for seed in 0..40 {
        let content = Recipe::any(seed).content(seed);
        let bytes = content.to_bytes(false);
        let model: TestModel = Model::load(bytes.as_slice()).unwrap();
        let mut record = model.record();
        for cells in records(&content, seed, 5) {
            fill(&mut record, &cells).unwrap();
            model.recourse_into(&record, &mut free).unwrap();
            model.recourse_within(&record, &Rules::FREE, &mut recourse).unwrap();
            let words =
                |found: &Recourse<FEATURES>| (found.distance, found.probability, found.changes, found.evaluations);
            assert_eq!(words(&free), words(&recourse));
            if model.score(&record).unwrap().decision {
                favourable += 1;
                assert_eq!(model.recourses_within(&record, &Rules::FREE, &mut recourse, &mut answers), Ok(0));
                assert_eq!((recourse.distance, recourse.changes), (Some(0.0), [None; FEATURES]));
            }
        }
    }
    assert!(favourable > 40, "{favourable}");
}
