//! Promise: the costs of a score, an explanation and a recourse on a Cortex-M4F stay within
//! budgets. The cost of a score does not depend on the record. All are as stated in
//! `engine/costs.md`, the one page with costs.
//!
//! Instruction counts are exact and equal in every run. Another compiler gives other counts, so a
//! budget and the page allow a difference of a few per cent. `FEAMOE_OVERWRITE_COSTS=1 cargo test
//! -p feamoe-tests firmware_costs::` writes the page again.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use feamoe::model::AlignedBytes;
use feamoe::model::{Width, quantize};
use feamoe_engine::schema::{Kind, Transform};
use feamoe_testkit::content::Content;
use feamoe_testkit::generate::{Recipe, records};
use feamoe_tests::aligned;
use feamoe_tests::{firmware, repository_file};

/// The shape of UCI Adult: six numbers, and eight categories with these numbers of levels.
const NUMBERS: usize = 6;
const LEVELS: [u16; 8] = [8, 16, 7, 14, 6, 5, 2, 41];
const EXPERTS: usize = 11;
/// Bins of a number, in the shape with bins: four comparisons. Its linear weight rows are zero.
const BINS: u16 = 16;

/// Name of a cost, instructions, bytes of stack, and the functions to check if it grows.
type Budget = (&'static str, u32, u32, &'static str);
/// Budgets for Adult's shape without logarithms and bins. An explanation includes its score;
/// setting the values is separate.
const BUDGETS: [Budget; 4] = [
    ("set", 660, 205, "Record::resolve_from, resolve"),
    ("score", 1_520, 330, "mixture::whole_rows: 22 sums in registers? mixture::combine, Model::forward"),
    ("frozen", 2_940, 520, "frozen_into, project_block, and those of score"),
    // 320 of these instructions search for places to cut the path.
    ("path", 8_850, 1_260, "integrate, next_cut, mixture_at, project_block, and those of score"),
];
/// The same, with the loop over the terms in assembly.
const ASSEMBLY_BUDGETS: [Budget; 3] = [
    ("score", 1_250, 340, "feamoe_sum_rows, mixture::combine, Model::forward"),
    ("frozen", 2_670, 540, "frozen_into, project_block, and those of score"),
    ("path", 8_600, 1_260, "integrate, next_cut, mixture_at, project_block, and those of score"),
];
/// The same at opt-level s.
const SMALL_BUDGETS: [Budget; 4] = [
    ("set", 720, 205, "Record::resolve_from, resolve"),
    ("score", 4_070, 800, "mixture::block, whose loops are not unrolled, mixture::combine"),
    ("frozen", 9_080, 910, "frozen_into, project, and those of score"),
    ("path", 18_000, 1_330, "integrate, next_cut, mixture_at, project, and those of score"),
];
/// The same with two log1p, with a search over the numbers. `answers` are two answers under rules.
const SEARCH_BUDGETS: [Budget; 3] = [
    ("recourse", 1_900_000, 3_000, "the search's evaluations"),
    ("answers", 2_000_000, 4_800, "the search's evaluations"),
    // 2^12 coalitions: one value in ten is missing, as in the background record.
    ("exact", 1_600_000, 2_600, "the walk over coalitions"),
];
/// What a number with bins adds to a cost, compared with one without bins. For `frozen`, what it
/// adds beyond the score, which has the same number of terms.
const BIN_BUDGETS: [(&str, u32); 3] = [("set", 60), ("score", 0), ("frozen", 6)];
/// The cost of setting a value differs by a few instructions between missing, unseen and usual
/// values.
const SET_SPREAD: u32 = 45;
/// Budgets for Adult's shape in integers on a Cortex-M3, by the width of the weights, as in
/// [`BUDGETS`]. A weight takes at least two instructions, and a record has 14 terms of 24 lanes.
/// The rest of a sum moves what does not fit into 13 registers.
const INTEGER_BUDGETS: [(Width, [Budget; 3]); 2] = [
    (
        Width::I16,
        [
            ("set", 1_130, 170, "Record::set_fixed, rescaled to the feature's own unit, write_number"),
            ("score", 2_550, 540, "integer::kernel: sum (half of it), combine"),
            ("frozen", 4_290, 880, "integer::attribution: average, log_odds, and those of score"),
        ],
    ),
    (
        Width::I8,
        [
            ("set", 1_130, 170, "as with 16 bits"),
            ("score", 2_470, 540, "as with 16 bits"),
            ("frozen", 4_110, 880, "as with 16 bits"),
        ],
    ),
];
/// By how many instructions the cost of a score in integers may depend on the record: it depends on
/// which gate is the largest.
const INTEGER_SPREAD: u32 = 8;
/// Budget in flash for an image that loads, sets, scores and explains in integers, at opt-level s
/// on a Cortex-M0. It includes start-up and reading files.
const INTEGER_FLASH_BYTES: usize = 26 << 10;
/// Budgets in flash, at opt-level 3 and s. The first is for loading, setting values by index and
/// scoring; each other row adds one feature set to that. The explanations share code. Rejecting
/// duplicate names takes 0.8 kB of each. In `recourse` the solver for a logistic model, single
/// changes and pairs takes 11 and 7 kB.
const FLASH_BYTES: [(&str, [usize; 2]); 18] = [
    ("", [19_100, 12_600]),
    ("names", [20_600, 13_900]),
    ("calibration", [20_600, 13_400]),
    ("frozen", [22_800, 15_900]),
    ("path", [28_500, 18_200]),
    ("frozen,path", [30_300, 19_000]),
    ("shapley", [114_000, 55_000]),
    ("recourse", [74_000, 37_500]),
    ("monitor", [52_000, 35_500]),
    ("mac", [62_000, 42_000]),
    ("monitor,restore", [62_000, 41_500]),
    ("drift", [22_100, 14_200]),
    ("slots", [27_800, 18_900]),
    ("signed", [49_000, 32_500]),
    ("delta", [24_100, 15_200]),
    ("background", [20_900, 13_100]),
    ("copied", [20_100, 13_200]),
    ("integer", [42_800, 26_200]),
];
const PROFILES: [&str; 2] = ["release", "os"];

/// If this variable is set, the page of costs is written instead of compared: review the
/// difference.
const OVERWRITE: &str = "FEAMOE_OVERWRITE_COSTS";
/// The share by which a count may differ from the page, to allow another compiler.
const PAGE_TOLERANCE: f64 = 0.03;

#[test]
fn instructions_and_stack_stay_within_budgets() {
    if !firmware::available() {
        return;
    }
    let plain = costs("Adult's shape", "release", "adult", 200, |_| (Transform::Identity, 0));
    let assembly = costs("in assembly", "release", "adult,armv7em", 200, |_| (Transform::Identity, 0));
    let log1p = |index| if index < 2 { Transform::Log1p } else { Transform::Identity };
    let logarithms = costs("with two log1p", "release", "adult", 200, |index| (log1p(index), 0));
    let small = costs("at opt-level s", "os", "adult", 50, |_| (Transform::Identity, 0));
    let small_logarithms = costs("with two log1p, at opt-level s", "os", "adult", 50, |index| (log1p(index), 0));
    let others = ASSEMBLY_BUDGETS.map(|budget| (&assembly, budget)).into_iter();
    let others = others.chain(SMALL_BUDGETS.map(|budget| (&small, budget)));
    let others = others.chain(SEARCH_BUDGETS.map(|budget| (&logarithms, budget)));
    for (costs, (name, instructions, stack, look_at)) in
        BUDGETS.map(|budget| (&plain, budget)).into_iter().chain(others)
    {
        let Cost { fewest, most, stack: found, .. } = costs[name];
        assert!(most <= instructions, "{name}: {most} instructions, the budget is {instructions}: look at {look_at}");
        assert!(found <= stack, "{name}: {found} bytes of stack, the budget is {stack}: look at {look_at}");
        assert!(fewest > instructions / 8, "{name}: {fewest} instructions are too few to be true");
    }
    assert_eq!(logarithms["score"].most, plain["score"].most, "logarithms are taken where values are set");

    let many = costs("Adult's shape, more records", "release", "adult", 1_000, |_| (Transform::Identity, 0));
    for name in ["score", "frozen"] {
        let Cost { fewest, most, .. } = many[name];
        assert_eq!(fewest, most, "{name} takes as many instructions for every record");
    }
    let Cost { fewest, most, .. } = many["set"];
    assert!(most - fewest <= SET_SPREAD, "set: {fewest} to {most} instructions");

    let binned = costs("with bins", "release", "adult", 50, |_| (Transform::Identity, BINS));
    let more = |name| (binned[name].most - plain[name].most).div_ceil(NUMBERS as u32);
    for (name, budget) in BIN_BUDGETS {
        let found = if name == "frozen" { more(name) - more("score") } else { more(name) };
        assert!(found <= budget, "{name}: a binned number adds {found} instructions, the budget is {budget}");
    }
    for name in ["score", "frozen"] {
        assert_eq!(binned[name].fewest, binned[name].most, "{name} takes as many instructions for every record");
    }

    let row = |what: &str, [three, assembly, small]: [Option<&Cost>; 3]| {
        let cell = |cost: Option<&Cost>| cost.map_or_else(String::new, Cost::instructions);
        let stack = three.map_or(0, |cost| cost.stack);
        format!("| {what} | {} | {} | {} | {} |\n", cell(three), cell(assembly), cell(small), with_commas(stack))
    };
    let mut table =
        String::from("| what | opt-level 3 | `armv7em` | opt-level s | stack |\n| --- | --- | --- | --- | ---: |\n");
    for (what, name) in [
        ("set all values", "set"),
        ("score", "score"),
        ("`frozen`, its score included", "frozen"),
        ("`path`, its score included", "path"),
    ] {
        table += &row(what, [Some(&many[name]), assembly.get(name).filter(|_| name != "set"), Some(&small[name])]);
    }
    for (what, name) in [
        ("`exact`, one background record, 2^12 coalitions at most", "exact"),
        ("`recourse`", "recourse"),
        ("`recourse` by rules, two answers", "answers"),
    ] {
        table += &row(what, [Some(&logarithms[name]), None, Some(&small_logarithms[name])]);
    }
    let watch = firmware::build("watch", "release", "").unwrap();
    let printed = firmware::run(&watch, &firmware::folder()).unwrap();
    println!("a monitor:\n{printed}");
    let watch = read(&printed);
    for (what, name) in [("monitor, a score", "observe"), ("monitor, an outcome", "label")] {
        let what = format!("{what}; {} on average", with_commas(watch[name].mean.unwrap()));
        table += &row(&what, [Some(&watch[name]), None, None]);
    }
    let verify = firmware::build("verify", "release", "signed").unwrap();
    let printed = firmware::run(&verify, &firmware::folder()).unwrap();
    println!("a signature:\n{printed}");
    let verify = read(&printed);
    let Cost { most, stack, .. } = verify["verify"];
    assert!(most <= 2_800_000 && stack <= 4_100, "{most} instructions, {stack} bytes: look at signature::difference");
    for (what, name) in [("verify a signed model of 0.9 kB", "verify"), ("of these, the hash of the model", "hash")] {
        table += &row(what, [Some(&verify[name]), None, None]);
    }
    for (name, _) in BIN_BUDGETS {
        let beside = if name == "frozen" { more(name) - more("score") } else { more(name) };
        table += &format!("| a number with {BINS} bins adds to `{name}` | {beside} | | | |\n");
    }
    assert_page("Instructions and stack on a Cortex-M4F", &table);
}

#[test]
fn integers_stay_within_budgets_on_a_core_without_floats() {
    let board = firmware::board("thumbv7m-none-eabi");
    if !board.available() {
        return;
    }
    let image = board.build("integer", "release", "").unwrap();
    let content = content(|_| (Transform::Identity, 0));
    let mut table = String::from(
        "| weights | set all values | score | `frozen`, its score included | stack |\n| --- | --- | --- | --- | ---: |\n",
    );
    for (width, budgets) in INTEGER_BUDGETS {
        let blob = quantize(&aligned(&content.to_bytes(true)), width).unwrap();
        let costs = run(&format!("{width:?} on a Cortex-M3"), &image, &content, &blob, 200);
        for (name, instructions, stack, look_at) in budgets {
            let Cost { fewest, most, stack: found, .. } = costs[name];
            assert!(
                most <= instructions,
                "{name}: {most} instructions, the budget is {instructions}: look at {look_at}"
            );
            assert!(found <= stack, "{name}: {found} bytes of stack, the budget is {stack}: look at {look_at}");
            assert!(fewest > instructions / 8, "{name}: {fewest} instructions are too few to be true");
            assert!(name == "set" || most - fewest <= INTEGER_SPREAD, "{name}: {fewest} to {most} instructions");
        }
        let [set, score, frozen] = ["set", "score", "frozen"].map(|name| costs[name].instructions());
        let stack = with_commas(costs["frozen"].stack);
        table += &format!("| {width:?} | {set} | {score} | {frozen} | {stack} |\n");
    }
    assert_page("Integers on a Cortex-M3", &table);
}

#[test]
fn integers_fit_a_small_device() {
    let board = firmware::board("thumbv6m-none-eabi");
    if !board.available() {
        return;
    }
    let image = board.build("integer", "os", "").unwrap();
    let bytes = firmware::section_bytes(&image, &[".vector_table", ".text", ".rodata", ".data"]);
    println!("os, integers: {bytes} bytes");
    assert!(bytes <= INTEGER_FLASH_BYTES && bytes > INTEGER_FLASH_BYTES / 4, "{bytes} bytes");
}

/// One cost as the firmware printed it.
struct Cost {
    fewest: u32,
    most: u32,
    stack: u32,
    /// Mean number of instructions, if the firmware printed it.
    mean: Option<u32>,
}

impl Cost {
    /// Returns the fewest and most instructions, or one figure if they are equal.
    fn instructions(&self) -> String {
        let Self { fewest, most, .. } = *self;
        if fewest == most { with_commas(most) } else { format!("{} to {}", with_commas(fewest), with_commas(most)) }
    }
}

/// Returns a number with commas between its thousands.
fn with_commas(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// Compares a table of `engine/costs.md`, under this heading, with the counts, or writes it.
fn assert_page(heading: &str, table: &str) {
    static PAGE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = PAGE.lock();
    let path = repository_file("engine/costs.md");
    let page = fs::read_to_string(&path).unwrap();
    let heading = format!("## {heading}\n");
    let (before, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("costs.md has no `{heading}`"));
    let from = rest.find("\n|").unwrap() + 1;
    let to = rest[from..].find("\n\n").map_or(rest.len(), |at| from + at + 1);
    let written = &rest[from..to];
    if std::env::var_os(OVERWRITE).is_some() {
        fs::write(path, format!("{before}{heading}{}{table}{}", &rest[..from], &rest[to..])).unwrap();
        return;
    }
    let pieces =
        |text: &str| -> Vec<String> { text.split([' ', '|', '\n']).map(|piece| piece.replace(',', "")).collect() };
    let (said, counted) = (pieces(written), pieces(table));
    let agrees = |(said, counted): (&String, &String)| match (said.parse::<f64>(), counted.parse::<f64>()) {
        (Ok(said), Ok(counted)) => (said - counted).abs() <= PAGE_TOLERANCE * counted.abs(),
        _ => said == counted,
    };
    assert!(
        said.len() == counted.len() && said.iter().zip(&counted).all(agrees),
        "engine/costs.md says\n{written}\nand counted was\n{table}\n{OVERWRITE}=1 writes it anew"
    );
}

/// Builds the firmware with these features and runs it on records of a drawn model of Adult's
/// shape, whose numbers have these transforms and bins. Prints and returns the costs by name.
fn costs(
    shape: &str,
    profile: &str,
    features: &str,
    count: usize,
    number: impl Fn(usize) -> (Transform, u16),
) -> HashMap<String, Cost> {
    let content = content(number);
    let image = firmware::build("parity", profile, features).unwrap();
    run(shape, &image, &content, &aligned(&content.to_bytes(true)), count)
}

/// Draws a model of Adult's shape whose numbers have these transforms and bins.
fn content(number: impl Fn(usize) -> (Transform, u16)) -> Content {
    let recipe = Recipe { experts: EXPERTS, features: NUMBERS + LEVELS.len(), gate: 12.0, outputs: 12.0 };
    let mut content = recipe.content_of(1, |index, _| match (index.checked_sub(NUMBERS), number(index)) {
        (Some(category), _) => Kind::Category { levels: LEVELS[category] },
        (None, (transform @ Transform::Log1p, bins)) => {
            Kind::Number { transform, low: 0.0, high: 99_999.0, centre: 1.0, bins }
        }
        (None, (transform, bins)) => Kind::Number { transform, low: 0.0, high: 90.0, centre: 40.0, bins },
    });
    content.step(|_| true);
    content.threshold = 0.5;
    content
}

/// Runs an image on records drawn for a model. Prints and returns the costs by name.
fn run(shape: &str, image: &Path, content: &Content, blob: &AlignedBytes, count: usize) -> HashMap<String, Cost> {
    let kinds: Vec<Kind> = content.features.iter().map(|feature| feature.kind).collect();
    let words = firmware::words(&kinds, &records(content, 1, count).concat());
    let printed = firmware::answer(image, blob.as_slice(), &words).printed;
    println!("{shape}:\n{printed}");
    read(&printed)
}

/// Reads the costs from the output of a binary, by name.
fn read(printed: &str) -> HashMap<String, Cost> {
    printed
        .lines()
        .filter_map(|line| {
            let (name, numbers) = line.split_once(' ')?;
            let numbers: Vec<u32> = numbers.split(' ').map_while(|number| number.parse().ok()).collect();
            let [fewest, most, stack, mean @ ..] = &numbers[..] else { return None };
            let mean = mean.first().copied();
            Some((name.to_owned(), Cost { fewest: *fewest, most: *most, stack: *stack, mean }))
        })
        .collect()
}

#[test]
fn flash_stays_within_budgets() {
    if !firmware::available() {
        return;
    }
    let (mut least, mut past) = ([0; 2], Vec::new());
    let mut table = String::from("| what | opt-level 3 | opt-level s |\n| --- | ---: | ---: |\n");
    for (features, budgets) in FLASH_BYTES {
        let mut found = [0; 2];
        for ((profile, budget), found) in PROFILES.into_iter().zip(budgets).zip(&mut found) {
            let image = firmware::build("panic-free", profile, features).unwrap();
            *found = firmware::code_bytes(&image);
            if *found > budget || *found <= budget / 2 {
                past.push(format!("{profile} {features}: {found} bytes, the budget is {budget}"));
            }
            let statics = firmware::section_bytes(&image, &[".data", ".bss", ".uninit"]);
            assert_eq!(statics, 0, "{profile} {features}: the engine has no statics");
        }
        let [at_3, at_s] = found;
        let (what, [at_3, at_s]) = if features.is_empty() {
            least = found;
            ("load, set by index, score".to_owned(), found)
        } else {
            (format!("+ {}", features.replace(',', ", ")), [at_3 - least[0], at_s - least[1]])
        };
        table += &format!("| {what} | {} | {} |\n", with_commas(at_3 as u32), with_commas(at_s as u32));
    }
    assert!(past.is_empty(), "{past:#?}");
    assert_page("Flash on a Cortex-M4F", &table);
}
