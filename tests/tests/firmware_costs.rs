//! Promise: what scoring, explaining and a recourse cost on a Cortex-M4F stays within budgets, and for scoring does not depend on the record.
//!
//! Instructions are counted exactly and are the same in every run; another compiler gives other figures, so a budget leaves some per cent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::fs;

use feamoe_engine::schema::{Kind, Transform};
use feamoe_tests::firmware;
use feamoe_tests::generate::{Recipe, records};
use object::{Object, ObjectSection};

/// UCI Adult's shape: six numbers, and eight categories of these levels.
const NUMBERS: usize = 6;
const LEVELS: [u16; 8] = [8, 16, 7, 14, 6, 5, 2, 41];
const EXPERTS: usize = 11;
/// Bins of a number, in the shape with bins: four steps of the search.
const BINS: u16 = 16;

/// Budgets of Adult's shape without logarithms and bins: name of the cost, instructions, bytes of stack, where to look when it grows. An explanation includes
/// its score; setting the values is a cost of its own.
const BUDGETS: [(&str, u32, u32, &str); 4] = [
    ("set", 640, 190, "Record::set_all, resolve"),
    ("score", 1_520, 330, "mixture::whole_rows: 22 sums in registers? mixture::combine, Model::forward"),
    ("frozen", 2_940, 520, "frozen_into, project_block, and those of score"),
    ("path", 8_700, 1_150, "integrate, mixture_at, project_block, and those of score"),
];
/// The same with the loop over the terms in assembly.
const ASSEMBLY_BUDGETS: [(&str, u32, u32, &str); 3] = [
    ("score", 1_250, 340, "feamoe_sum_rows, mixture::combine, Model::forward"),
    ("frozen", 2_670, 540, "frozen_into, project_block, and those of score"),
    ("path", 8_420, 1_150, "integrate, mixture_at, project_block, and those of score"),
];
/// The same with two log1p, where a search takes its way through them. Answers are two, by rules.
const SEARCH_BUDGETS: [(&str, u32, u32, &str); 3] = [
    ("recourse", 1_900_000, 3_000, "the search's evaluations"),
    ("answers", 2_000_000, 4_800, "the search's evaluations"),
    // 2^12 coalitions: one value in ten is missing, as in the background record.
    ("exact", 1_600_000, 2_600, "the walk over coalitions"),
];
/// What a binned number adds to a cost; to `frozen` beside what it adds to the score.
const BIN_BUDGETS: [(&str, u32); 3] = [("set", 105), ("score", 58), ("frozen", 48)];
/// Setting a value takes as long whatever it is, but for a few instructions by its kind: missing, unseen or usual.
const SET_SPREAD: u32 = 40;
/// Budgets in flash for all that a device needs: load, set values by name, score, both explanations, watch for drift (2 kB of it); and with the search for a
/// recourse, or with Shapley values, exact and sampled. By profile.
const FLASH_BYTES: [(&str, &str, u64); 6] = [
    ("release", "", 32 << 10),
    ("os", "", 20 << 10),
    ("release", "recourse", 73 << 10),
    ("os", "recourse", 36 << 10),
    ("release", "shapley", 112 << 10),
    ("os", "shapley", 55 << 10),
];
/// Vector table and start-up code, which every image has.
const START_UP_BYTES: u64 = 1_250;

#[test]
fn instructions_and_stack_stay_within_budgets() {
    if !firmware::available() {
        return;
    }
    let plain = costs("Adult's shape", "adult", 200, |_| (Transform::Identity, 0));
    let assembly = costs("in assembly", "adult,armv7em", 200, |_| (Transform::Identity, 0));
    let log1p = |index| if index < 2 { Transform::Log1p } else { Transform::Identity };
    let logarithms = costs("with two log1p", "adult", 200, |index| (log1p(index), 0));
    let others = ASSEMBLY_BUDGETS.map(|budget| (&assembly, budget)).into_iter();
    let others = others.chain(SEARCH_BUDGETS.map(|budget| (&logarithms, budget)));
    for (costs, (name, instructions, stack, look_at)) in
        BUDGETS.map(|budget| (&plain, budget)).into_iter().chain(others)
    {
        let Cost { fewest, most, stack: found } = costs[name];
        assert!(most <= instructions, "{name}: {most} instructions, the budget is {instructions}: look at {look_at}");
        assert!(found <= stack, "{name}: {found} bytes of stack, the budget is {stack}: look at {look_at}");
        assert!(fewest > instructions / 8, "{name}: {fewest} instructions are too few to be true");
    }
    assert_eq!(logarithms["score"].most, plain["score"].most, "logarithms are taken where values are set");

    let many = costs("Adult's shape, more records", "adult", 1_000, |_| (Transform::Identity, 0));
    for name in ["score", "frozen"] {
        let Cost { fewest, most, .. } = many[name];
        assert_eq!(fewest, most, "{name} takes as many instructions for every record");
    }
    let Cost { fewest, most, .. } = many["set"];
    assert!(most - fewest <= SET_SPREAD, "set: {fewest} to {most} instructions");

    let binned = costs("with bins", "adult", 50, |_| (Transform::Identity, BINS));
    let more = |name| (binned[name].most - plain[name].most).div_ceil(NUMBERS as u32);
    for (name, budget) in BIN_BUDGETS {
        let found = if name == "frozen" { more(name) - more("score") } else { more(name) };
        assert!(found <= budget, "{name}: a binned number adds {found} instructions, the budget is {budget}");
    }
    for name in ["score", "frozen"] {
        assert_eq!(binned[name].fewest, binned[name].most, "{name} takes as many instructions for every record");
    }
}

/// What the firmware printed of one cost.
struct Cost {
    fewest: u32,
    most: u32,
    stack: u32,
}

/// Runs the firmware, built with these features, on records of a drawn model of Adult's shape, whose numbers have these transforms and bins; prints and returns
/// the costs by name.
fn costs(
    shape: &str,
    features: &str,
    count: usize,
    number: impl Fn(usize) -> (Transform, u16),
) -> HashMap<String, Cost> {
    let recipe = Recipe { experts: EXPERTS, features: NUMBERS + LEVELS.len(), gate: 12.0, outputs: 12.0 };
    let mut content = recipe.content_of(1, |index, _| match (index.checked_sub(NUMBERS), number(index)) {
        (Some(category), _) => Kind::Category { levels: LEVELS[category] },
        (None, (transform @ Transform::Log1p, bins)) => {
            Kind::Number { transform, low: 0.0, high: 99_999.0, centre: 1.0, bins }
        }
        (None, (transform, bins)) => Kind::Number { transform, low: 0.0, high: 90.0, centre: 40.0, bins },
    });
    content.threshold = 0.5;
    let kinds: Vec<Kind> = content.features.iter().map(|feature| feature.kind).collect();
    let words = firmware::words(&kinds, &records(&content, 1, count).concat());
    let image = firmware::build("parity", "release", features).unwrap();
    let printed = firmware::answer(&image, content.to_bytes(true).unwrap().as_slice(), &words).printed;
    println!("{shape}:\n{printed}");
    printed
        .lines()
        .filter_map(|line| {
            let [name, fewest, most, stack] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
            let [fewest, most, stack] = [fewest, most, stack].map(|number: &str| number.parse().unwrap());
            Some((name.to_owned(), Cost { fewest, most, stack }))
        })
        .collect()
}

#[test]
fn flash_stays_within_budgets() {
    if !firmware::available() {
        return;
    }
    for (profile, features, budget) in FLASH_BYTES {
        let image = fs::read(firmware::build("panic-free", profile, features).unwrap()).unwrap();
        let file = object::File::parse(image.as_slice()).unwrap();
        // What the debugger reads is not loaded: its sections have no address.
        let bytes: u64 = file
            .sections()
            .filter(|section| [".vector_table", ".text", ".rodata", ".data"].contains(&section.name().unwrap()))
            .map(|section| section.size())
            .sum();
        let engine = bytes - START_UP_BYTES;
        println!("{profile} {features}: {engine} bytes");
        assert!(engine <= budget && engine > budget / 4, "{profile} {features}: {engine} bytes");
        let statics: u64 = file
            .sections()
            .filter(|section| [".data", ".bss", ".uninit"].contains(&section.name().unwrap()))
            .map(|section| section.size())
            .sum();
        assert_eq!(statics, 0, "{profile}: the engine has no statics");
    }
}
