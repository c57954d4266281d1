//! Promise: the costs that `feamoe inspect --device` states for a model are what it takes on the
//! emulated board.
//!
//! The ignored test counts the constants behind these costs and writes them: see
//! `feamoe::model::costs`.

use feamoe_testkit::content::Content;
use feamoe_tests::aligned;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use feamoe::model::costs::{CALLS, CODE, COMPILER, DEVICES, Device, INTEGER_CALLS, INTEGER_CODE, Integers, Shape, sum};
use feamoe::model::{AlignedBytes, HostIntegerModel, HostModel};
use feamoe::model::{Width, quantize};
use feamoe_engine::attribution::MAX_PANELS;
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::{Kind, Transform};
use feamoe_testkit::generate::{Cell, Draw, Recipe, draw_cell};
use feamoe_tests::command::Folder;
use feamoe_tests::firmware::{self, board};
use feamoe_tests::repository_file;

/// Features and experts of the models that the constants are fitted to.
const FITTED: [[usize; 2]; 18] = [
    [2, 1],
    [2, 2],
    [4, 1],
    [4, 2],
    [5, 3],
    [5, 4],
    [8, 5],
    [8, 6],
    [13, 11],
    [13, 12],
    [14, 11],
    [14, 12],
    [20, 9],
    [20, 10],
    [24, 15],
    [24, 16],
    [32, 15],
    [32, 16],
];
/// Features and experts of the models that are compared with the prediction; they have other seeds.
const OTHERS: [[usize; 2]; 8] = [[2, 1], [4, 1], [5, 3], [10, 8], [21, 11], [21, 12], [30, 16], [10, 7]];
/// Number of models for each pair of [`FITTED`], and of [`OTHERS`].
const MODELS: [u64; 2] = [12, 3];
/// Number of integer models of either width for each pair of [`OTHERS`].
const INTEGER_MODELS: u64 = 2;
/// Number of records for each model.
const RECORDS: usize = 12;

/// Allowed difference from the prediction: a share, or a number of instructions, whichever is
/// larger. The second matters for calls of a few hundred instructions.
const TOLERANCE: f64 = 0.05;
const FEW: f64 = 40.0;
/// The share allowed for setting values: the cost of a logarithm, and of software floats, depends
/// on the value.
const SETTING_TOLERANCE: f64 = 0.1;
/// The share allowed for integers on RISC-V and Cortex-M0, whose code differs more between
/// capacities (on a Cortex-M0 `frozen` of 10 features and 8 experts: 6 %).
const ROUGHER_INTEGERS: f64 = 0.08;
/// The share allowed with another compiler than that of the constants.
const OTHER_COMPILER: f64 = 0.2;
/// The share by which code in flash may differ.
const CODE_TOLERANCE: f64 = 0.02;

/// The output of the `costs` binary: for each call the fewest and most instructions and the most
/// bytes of stack, and for each capacity the sizes of types.
struct Counted {
    capacity: [usize; 2],
    calls: Vec<[f64; 3]>,
    sizes: HashMap<[usize; 2], Vec<usize>>,
}

/// The `costs` binary for a device, and the board that counts.
struct Counter {
    image: PathBuf,
    board: &'static str,
    kinds: Kinds,
}

/// The kind of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kinds {
    Floats,
    Integers(Width),
}

impl Kinds {
    const ALL: [Self; 3] = [Self::Floats, Self::Integers(Width::I16), Self::Integers(Width::I8)];

    /// Returns the blob of a model with this kind of weights.
    fn blob(self, content: &Content) -> AlignedBytes {
        let blob = aligned(&content.to_bytes(true));
        match self {
            Self::Floats => blob,
            Self::Integers(width) => quantize(&blob, width).unwrap(),
        }
    }

    fn shape(self, content: &Content) -> Shape {
        let blob = self.blob(content);
        match self {
            Self::Floats => Shape::of(&HostModel::load(blob.as_slice()).unwrap()),
            Self::Integers(_) => Shape::of_integers(&HostIntegerModel::load(blob.as_slice()).unwrap()),
        }
    }
}

impl Counter {
    /// Returns `None` if the device cannot be emulated here.
    fn new(device: &Device, kinds: Kinds) -> Option<Self> {
        if !board(device.board).available() || !board(device.target).available() {
            return None;
        }
        let features = if kinds == Kinds::Floats { "" } else { "integer" };
        let own = board(device.target);
        let image = if device.board == device.target {
            own.build("costs", "release", features)
        } else {
            // In a separate folder: a changed variable would rebuild everything.
            let target = firmware::folder().join("target").join(format!("{}-on-{}", device.target, device.board));
            own.build_with("costs", "release", features, &target, &[("FEAMOE_BOARD", Path::new(device.board))])
        };
        Some(Self { image: image.unwrap(), board: device.board, kinds })
    }

    /// Counts the costs of scoring and explaining these records.
    fn count(&self, content: &Content, cells: &[Cell]) -> Counted {
        let kinds: Vec<Kind> = content.features.iter().map(|feature| feature.kind).collect();
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<u8> = firmware::words(&kinds, cells).into_iter().flat_map(u32::to_le_bytes).collect();
        fs::write(folder.path().join("records.bin"), records).unwrap();
        fs::write(folder.path().join("model.feamoe"), self.kinds.blob(content).as_slice()).unwrap();
        let printed =
            firmware::run_with(&self.image, folder.path(), &[("FEAMOE_BOARD", Path::new(self.board))]).unwrap();
        let mut counted = Counted { capacity: [0; 2], calls: Vec::new(), sizes: HashMap::new() };
        for line in printed.lines() {
            let (name, numbers) = line.split_once(' ').unwrap();
            let numbers: Vec<usize> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            match name {
                "bytes" | "more" => {
                    counted.sizes.entry([numbers[0], numbers[1]]).or_default().extend(&numbers[2..]);
                }
                "capacity" => counted.capacity = [numbers[0], numbers[1]],
                _ => counted.calls.push([0, 1, 2].map(|index| numbers[index] as f64)),
            }
        }
        counted
    }
}

/// Draws a model and records. The path of each record needs only one part; if the path is
/// unbounded, that is because of a level which no record has.
fn draw([features, experts]: [usize; 2], seed: u64) -> (Content, Vec<Cell>) {
    let mut draw = Draw::new(seed * 1_000 + (features * 64 + experts) as u64);
    let [numbers, logarithms, binned] = [0; 3].map(|_: u8| draw.below(101));
    let recipe = Recipe { experts, features, gate: 12.0, outputs: 12.0 };
    let mut content = recipe.content_of(draw.bits(), |index, draw| {
        if index == 0 {
            return Kind::Category { levels: 2 };
        } else if draw.below(100) >= numbers {
            return Kind::Category { levels: draw.one_of(&[1, 2, 5, 41]) };
        }
        let bins = if draw.below(100) < binned { draw.one_of(&[1, 2, 4, 7, 16, 64, 128]) } else { 0 };
        if draw.below(200) < logarithms {
            Kind::Number { transform: Transform::Log1p, low: 0.0, high: 99_999.0, centre: 1.0, bins }
        } else {
            Kind::Number { transform: Transform::Identity, low: 0.0, high: 90.0, centre: 40.0, bins }
        }
    });
    content.step(|index| (seed ^ index as u64).is_multiple_of(2));
    if draw.below(5) < 2 {
        content.rows[stride(experts)] = 200.0;
    }
    let mut cells = Vec::new();
    for _ in 0..RECORDS {
        cells.push(Cell::Level(0));
        cells.extend(content.features[1..].iter().map(|feature| draw_cell(&mut draw, feature.kind, &[])));
    }
    (content, cells)
}

/// Returns a model whose gate switches between experts all along the path of a record, more often
/// than the path has parts, and that record.
fn switching([features, experts]: [usize; 2]) -> (Content, Vec<Cell>) {
    let recipe = Recipe { experts, features, gate: 1.0, outputs: 1.0 };
    let mut content = recipe.content_of(1, |_, _| Kind::Category { levels: 2 });
    let stride = stride(experts);
    content.rows.fill(0.0);
    // Tangents of a parabola. They do not meet where a part of the path could end.
    const STEEP: f32 = 1e6;
    for expert in 0..experts {
        let touches = (0.93 * expert as f32 + 0.57) / experts as f32;
        (content.bias[expert], content.rows[expert]) = (-STEEP * touches * touches, 2.0 * STEEP * touches);
        content.bias[experts + expert] = if expert % 2 == 0 { 9.0 } else { -9.0 };
    }
    content.bias[2 * experts..stride].fill(0.0);
    (content, vec![Cell::Level(0); features])
}

/// Returns the compiler and version of the firmware, without the build.
fn compiler() -> String {
    let printed = Command::new("rustc").arg("--version").current_dir(firmware::folder()).output().unwrap().stdout;
    String::from_utf8(printed).unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_reported_costs_of_a_model_are_what_it_takes() {
    for device in &DEVICES {
        for kinds in Kinds::ALL {
            let Some(counter) = Counter::new(device, kinds) else { continue };
            is_reported(device, &counter);
        }
        let Some(counter) = Counter::new(device, Kinds::Floats) else { continue };
        let (content, cells) = switching([10, 8]);
        let predicted = device.costs(&Kinds::Floats.shape(&content)).calls[3];
        let counted = counter.count(&content, &cells).calls[3];
        let share = counted[1] / predicted.most_instructions as f64;
        println!("{}: the longest path takes {share:.3} of the prediction", device.name);
        // The experts do not switch; if they did, they would cut the path at as many further
        // places.
        assert!(share <= 1.0 + tolerance() && share > 0.75, "{counted:?}, predicted {predicted:?}");
    }
}

fn tolerance() -> f64 {
    if compiler() == COMPILER { TOLERANCE } else { OTHER_COMPILER }
}

fn is_reported(device: &Device, counter: &Counter) {
    let (mut tolerance, kinds) = (tolerance(), counter.kinds);
    let is_rougher = ["riscv", "thumbv6m"].iter().any(|target| device.target.starts_with(target));
    if kinds != Kinds::Floats && is_rougher {
        tolerance = tolerance.max(ROUGHER_INTEGERS);
    }
    for capacity in OTHERS {
        let mut worst = [0.0_f64; CALLS.len()];
        for seed in 0..if kinds == Kinds::Floats { MODELS[1] } else { INTEGER_MODELS } {
            let (content, cells) = draw(capacity, 77 + seed);
            let counted = counter.count(&content, &cells);
            let shape = kinds.shape(&content);
            assert_eq!(counted.capacity, shape.capacity(), "predictions are for the capacity needed");
            let costs = device.costs(&shape);
            assert_eq!(costs.calls.len(), counted.calls.len());
            for (index, (predicted, [fewest, most, stack])) in costs.calls.iter().zip(&counted.calls).enumerate() {
                let name = format!("{}, {kinds:?}, {capacity:?}, seed {seed}: {}", device.name, predicted.name);
                let instructions = predicted.instructions as f64;
                // The number of parts of a path varies, so the fewest instructions are compared.
                let found = if predicted.name == "path_into" { *fewest } else { *most };
                let off = instructions / found - 1.0;
                worst[index] = if off.abs() > worst[index].abs() { off } else { worst[index] };
                let tolerance = if index == 0 { tolerance.max(SETTING_TOLERANCE) } else { tolerance };
                let allowed = (tolerance * found).max(FEW);
                assert!(
                    (instructions - found).abs() <= allowed,
                    "{name}: {found} instructions, predicted {instructions}"
                );
                assert!(
                    *most <= predicted.most_instructions as f64 + allowed,
                    "{name}: up to {most}, predicted {predicted:?}"
                );
                assert!(
                    *stack <= predicted.stack_bytes as f64,
                    "{name}: {stack} bytes of stack, predicted {predicted:?}"
                );
            }
        }
        let worst = worst.map(|off| format!("{:+.1} %", 100.0 * off));
        println!(
            "{}, {kinds:?}, {capacity:?}: prediction of set, score, frozen, path against the count, at worst {worst:?}",
            device.name
        );
    }
}

#[test]
fn sizes_in_ram_are_those_of_the_types() {
    for device in &DEVICES {
        for kinds in [Kinds::Floats, Kinds::Integers(Width::I16)] {
            let Some(counter) = Counter::new(device, kinds) else { continue };
            let (content, cells) = draw([2, 1], 0);
            let counted = counter.count(&content, &cells);
            assert!(counted.sizes.len() > 10);
            for ([features, experts], sizes) in counted.sizes {
                let predicted = kinds.shape(&draw([features, experts], 0).0).ram();
                assert_eq!(
                    predicted.iter().map(|ram| ram.bytes).collect::<Vec<_>>(),
                    sizes,
                    "{}, {kinds:?}: {features} features, {experts} experts",
                    device.name
                );
            }
        }
    }
}

#[test]
fn code_in_flash_is_what_is_reported() {
    for device in &DEVICES {
        let board = board(device.target);
        if !board.available() || compiler() != COMPILER {
            continue;
        }
        let integers = (&INTEGER_CODE, device.integer_code);
        for ((_, features), predicted) in CODE.iter().zip(device.code).chain([integers]) {
            for (profile, predicted) in ["release", "os"].into_iter().zip(predicted) {
                let found = firmware::code_bytes(&board.build("panic-free", profile, features).unwrap());
                let off = found as f64 / predicted as f64 - 1.0;
                assert!(
                    off.abs() <= CODE_TOLERANCE,
                    "{}, {profile}, {features}: {found} bytes, predicted {predicted}",
                    device.name
                );
            }
        }
    }
}

#[test]
fn inspect_prints_what_is_reported() {
    let folder = Folder::with_model();
    let blob = AlignedBytes::new(&folder.read("lending.feamoe"));
    let shape = Shape::of(&HostModel::load(blob.as_slice()).unwrap());
    let inspect = |more: &[&str]| folder.run(&[&["inspect", "lending.feamoe"], more].concat());
    assert!(inspect(&["--format", "json"]).json()["device"].is_null());
    for device in &DEVICES {
        let costs = device.costs(&shape);
        let json = inspect(&["--device", device.name, "--format", "json"]).json();
        assert_eq!(json["device"], serde_json::to_value(&costs).unwrap());
        let text = inspect(&["--device", device.name]).done();
        for call in &costs.calls {
            assert!(
                text.contains(&call.instructions.to_string()) && text.contains(&call.stack_bytes.to_string()),
                "{text}"
            );
        }
        assert!(costs.calls[3].most_instructions > costs.calls[3].instructions);
        assert!(costs.flash.iter().any(|line| line.bytes == blob.as_slice().len() && line.bytes_at_s == line.bytes));
    }
    let message = inspect(&["--device", "cortex-m99"]).usage_refused();
    assert!(message.contains("cortex-m99") && message.contains("--device"), "{message}");

    for (width, bits) in [("i16", Width::I16), ("i8", Width::I8)] {
        let name = format!("{width}.feamoe");
        _ = folder.run(&["export", "lending.feamoe", "--quantize", width, "-o", &name]).done();
        let blob = quantize(&blob, bits).unwrap();
        let shape = Shape::of_integers(&HostIntegerModel::load(blob.as_slice()).unwrap());
        for device in &DEVICES {
            let costs = device.costs(&shape);
            let json = folder.run(&["inspect", &name, "--device", device.name, "--format", "json"]).json();
            assert_eq!(json["device"], serde_json::to_value(&costs).unwrap());
            assert_eq!(costs.calls.len(), INTEGER_CALLS.len());
            assert!(costs.calls.iter().all(|call| call.instructions > 100 && call.stack_bytes > 0), "{costs:?}");
        }
    }
}

/// Counts the constants again and writes them. To be run after a change of the engine or the
/// compiler.
#[test]
#[ignore = "writes trainer/src/model/costs/constants.rs"]
fn count_the_constants() {
    let mut text = format!(
        "//! The constants of the formulas. Written by `cargo test -p feamoe-tests device_costs:: -- --ignored`, see [`super`].\n\n\
         use super::{{Device, Integers}};\n\n/// What they were counted with.\npub const COMPILER: &str = {:?};\n\n\
         /// Every device.\npub const DEVICES: [Device; {}] = [\n",
        compiler(),
        DEVICES.len()
    );
    for device in DEVICES {
        // The constants of a device are written in their debug format.
        writeln!(text, "{:?},", fitted(device)).unwrap();
    }
    let path = repository_file("trainer/src/model/costs/constants.rs");
    fs::write(&path, text + "];\n").unwrap();
    assert!(Command::new("rustfmt").args(["--edition", "2024"]).arg(path).status().unwrap().success());
}

/// Returns the device with constants fitted to the counts on its board.
fn fitted(mut device: Device) -> Device {
    for (index, width) in [Width::I16, Width::I8].into_iter().enumerate() {
        let counter = Counter::new(&device, Kinds::Integers(width)).unwrap();
        fit_integers(&mut device.integers[index], &counter, device.target);
    }
    let board = board(device.target);
    let code = |features: &str| {
        ["release", "os"].map(|profile| firmware::code_bytes(&board.build("panic-free", profile, features).unwrap()))
    };
    device.code = CODE.map(|(_, features)| code(features));
    device.integer_code = code(INTEGER_CODE.1);
    let counter = Counter::new(&device, Kinds::Floats).unwrap();
    let mut counts = Vec::new();
    for capacity in FITTED {
        for seed in 0..MODELS[0] {
            let (content, cells) = draw(capacity, seed);
            counts.push((capacity, Kinds::Floats.shape(&content), counter.count(&content, &cells).calls));
        }
    }
    // A build for two features has different loops.
    let some = || counts.iter().filter(|([features, _], ..)| *features > 2);
    device.setting = fit(some().map(|(_, shape, calls)| (shape.setting(), calls[0][1])));
    device.passing = [(1, 1), (2, 1), (3, 0)]
        .map(|(call, most)| fit(counts.iter().map(|(_, shape, calls)| (shape.passing(), calls[call][most]))));
    device.stacking = std::array::from_fn(|call| {
        above(counts.iter().map(|(_, shape, calls)| (shape.stacking(), calls[call][2])).collect(), device.target)
    });
    device.parting = fit(FITTED.into_iter().filter(|[_, experts]| *experts > 4).map(|capacity| {
        let (content, cells) = switching(capacity);
        let shape = Kinds::Floats.shape(&content);
        let in_one = sum(&device.passing[2], &shape.passing());
        // The gate's envelope has a vertex between each two experts; the experts themselves do not
        // change.
        let panels = f64::from(MAX_PANELS) + 2.0 * (capacity[1] - 1) as f64;
        (shape.parting(), (counter.count(&content, &cells).calls[3][1] - in_one) / (panels - 1.0))
    }));
    device
}

fn fit_integers(integers: &mut Integers, counter: &Counter, target: &str) {
    let mut counts = Vec::new();
    for capacity in FITTED {
        for seed in 0..MODELS[0] / 2 {
            let (content, cells) = draw(capacity, seed);
            counts.push((capacity, counter.kinds.shape(&content), counter.count(&content, &cells).calls));
        }
    }
    let some = || counts.iter().filter(|([features, _], ..)| *features > 2);
    integers.setting = fit(some().map(|(_, shape, calls)| (shape.setting(), calls[0][1])));
    integers.passing =
        [1, 2].map(|call| fit(counts.iter().map(|(_, shape, calls)| (shape.passing_integers(), calls[call][1]))));
    integers.stacking = std::array::from_fn(|call| {
        let stacks = counts.iter().map(|(_, shape, calls)| (shape.stacking_integers(), calls[call][2]));
        above(stacks.collect(), target)
    });
}

/// Returns constants that give no less than any count. A margin on RISC-V covers builds of other
/// capacities, whose stack frames differ more than on Arm.
fn above<const N: usize>(found: Vec<([f64; N], f64)>, target: &str) -> [f64; N] {
    let mut constants = fit(found.iter().copied());
    let above = found.iter().map(|(amounts, found)| f64::ceil(found - sum(&constants, amounts)));
    let margin = if target.starts_with("riscv") { 64.0 } else { 0.0 };
    constants[0] = f64::ceil(constants[0] + above.fold(0.0, f64::max)) + margin;
    constants
}

/// Returns the constants with the least squared relative errors.
fn fit<const N: usize>(found: impl Iterator<Item = ([f64; N], f64)>) -> [f64; N] {
    let mut rows = [[0.0; N]; N];
    let mut sides = [0.0; N];
    for (amounts, found) in found {
        let amounts = amounts.map(|amount| amount / found);
        for ((row, side), amount) in rows.iter_mut().zip(&mut sides).zip(amounts) {
            *side += amount;
            row.iter_mut().zip(amounts).for_each(|(to, other)| *to += amount * other);
        }
    }
    // Kinds of work that always occur together share their cost.
    (0..N).for_each(|index| rows[index][index] *= 1.0 + 1e-9);
    for pivot in 0..N {
        let (above, side) = (rows[pivot], sides[pivot]);
        for (row, to) in rows.iter_mut().zip(&mut sides).skip(pivot + 1) {
            let factor = row[pivot] / above[pivot];
            row.iter_mut().zip(above).skip(pivot).for_each(|(to, from)| *to -= factor * from);
            *to -= factor * side;
        }
    }
    let mut constants = [0.0; N];
    for index in (0..N).rev() {
        constants[index] = (sides[index] - sum(&rows[index], &constants)) / rows[index][index];
    }
    constants.map(|constant| (100.0 * constant).round() / 100.0)
}
