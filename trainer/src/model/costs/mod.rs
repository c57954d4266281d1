//! Predicts what a model costs on a microcontroller before it is flashed: instructions, stack,
//! flash and RAM.
//!
//! Instructions are sums over the kinds of work ([`Shape::setting`], [`Shape::passing`],
//! [`Shape::parting`]), each times a constant of the device; so is the stack. The constants are
//! counted in the emulator, from the binaries `costs` and `panic-free` of `firmware-example`. After
//! a change of engine or compiler,
//!
//! ```text
//! cargo test -p feamoe-tests device_costs:: -- --ignored
//! ```
//!
//! counts them again and writes `constants.rs`. Other tests in the same file compare the
//! predictions with measurements of models of other shapes. Sizes in RAM are exact, because they
//! follow from the types. Instructions are not cycles, and are those of opt-level 3.
//!
//! Float and integer weights have separate kinds of work and constants.

mod constants;

use feamoe_engine::attribution::MAX_PANELS;
use feamoe_engine::mixture::{LANE_MULTIPLE, stride};
use feamoe_engine::schema::{Feature, Kind, Transform};
use feamoe_engine::{Model, Scorer, integer};
use serde::Serialize;

pub use constants::{COMPILER, DEVICES};

/// Maximum number of experts whose lanes a Cortex-M4F keeps in registers.
const MOST_IN_REGISTERS: usize = 11;
/// Number of kinds of work to set all values, see [`Shape::setting`].
pub const SETTING: usize = 7;
/// Number of kinds of work for a score and its explanations, see [`Shape::passing`].
pub const PASSING: usize = 19;
/// Number of kinds of work for one more part of the path, see [`Shape::parting`].
pub const PARTING: usize = 4;
/// Number of kinds of stack, see [`Shape::stacking`].
pub const STACKING: usize = 3;
/// Calls whose costs are predicted.
pub const CALLS: [&str; 4] = ["set_all", "score_into", "frozen_into", "path_into"];
/// Code whose size is predicted, and the features of the `panic-free` binary that link it with all
/// before it.
pub const CODE: [(&str, &str); 4] = [
    ("load, set_all, score_into", ""),
    ("+ frozen_into", "frozen"),
    ("+ path_into", "frozen,path"),
    ("+ names", "frozen,path,names"),
];

/// Number of kinds of work for an integer score and its explanation, see
/// [`Shape::passing_integers`].
pub const PASSING_INTEGERS: usize = 9;
/// Number of kinds of stack with integers, see [`Shape::stacking_integers`].
pub const STACKING_INTEGERS: usize = 2;
/// Calls of an integer model whose costs are predicted.
pub const INTEGER_CALLS: [&str; 3] = ["set_all", "score_into", "frozen_into"];
/// Code of integer models only, and the features of the `panic-free` binary that link it.
pub const INTEGER_CODE: (&str, &str) = ("load, set, score_into, frozen_into, names", "integer,no-floats");

/// The cost of each kind of work with integer weights of one width.
#[derive(Clone, Copy, Debug)]
pub struct Integers {
    /// Bits of a weight.
    pub bits: u8,
    /// Instructions of `set_all`.
    pub setting: [f64; SETTING],
    /// Instructions of score and frozen.
    pub passing: [[f64; PASSING_INTEGERS]; 2],
    /// Bytes of stack of each of [`INTEGER_CALLS`].
    pub stacking: [[f64; STACKING_INTEGERS]; 3],
}

/// A device, and the cost of each kind of work on it.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// The name used in flags and JSON.
    pub name: &'static str,
    /// The target that its firmware is built for.
    pub target: &'static str,
    /// Target of the board on which instructions are counted: its own, or that of a larger core
    /// that runs the same instructions.
    pub board: &'static str,
    /// Instructions of `set_all`.
    pub setting: [f64; SETTING],
    /// Instructions of score, frozen and path, where the path has one part.
    pub passing: [[f64; PASSING]; 3],
    /// Instructions of one more part of the path, for a model that is not bounded.
    pub parting: [f64; PARTING],
    /// Bytes of stack of each of [`CALLS`].
    pub stacking: [[f64; STACKING]; 4],
    /// Flash bytes of each of [`CODE`] with all before it, at opt-level 3 and s.
    pub code: [[usize; 2]; 4],
    /// Costs of integer weights, by their width.
    pub integers: [Integers; 2],
    /// Flash bytes of [`INTEGER_CODE`], at opt-level 3 and s.
    pub integer_code: [usize; 2],
}

/// The properties of a model that determine its costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    features: usize,
    experts: usize,
    bounded: bool,
    blob_bytes: usize,
    terms: usize,
    numbers: usize,
    /// Number of logarithms taken.
    logarithms: usize,
    binned: usize,
    /// Steps of the searches for bins.
    steps: usize,
    /// Bits of an integer weight; `None` for floats.
    bits: Option<u8>,
}

/// The costs of a model on a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Costs {
    /// The name of the device.
    pub device: &'static str,
    /// The compiler of the firmware on which the costs were counted.
    pub compiler: &'static str,
    /// The cost of each call of the engine.
    pub calls: Vec<Call>,
    /// Flash use: the parts of the code, then the model.
    pub flash: Vec<Flash>,
    /// RAM use: the types that the caller keeps, then statics.
    pub ram: Vec<Ram>,
}

/// The cost of a call. An explanation includes its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Call {
    /// The function of the engine.
    pub name: &'static str,
    /// Number of instructions; for a path, if it has only one part.
    pub instructions: u64,
    /// Upper limit of the number of instructions. It differs from `instructions` only for a path,
    /// which has more parts if the gate switches.
    pub most_instructions: u64,
    /// Upper limit of the stack in bytes.
    pub stack_bytes: u64,
}

/// Flash use of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Flash {
    /// The part.
    pub name: &'static str,
    /// Bytes at opt-level 3.
    pub bytes: usize,
    /// Bytes at opt-level s, which runs slower.
    pub bytes_at_s: usize,
}

/// RAM use of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ram {
    /// The type.
    pub name: String,
    /// Size of the type in bytes.
    pub bytes: usize,
}

impl Shape {
    /// Returns the properties of a model that determine its costs, independent of the capacity it
    /// is loaded with here.
    #[must_use]
    pub fn of<const FEATURES: usize, const EXPERTS: usize>(model: &Model<'_, FEATURES, EXPERTS>) -> Self {
        Self { bounded: model.bounded(), ..Self::of_any(model) }
    }

    /// Like [`Shape::of`], for integer weights.
    #[must_use]
    pub fn of_integers<const FEATURES: usize, const EXPERTS: usize>(
        model: &integer::Model<'_, FEATURES, EXPERTS>,
    ) -> Self {
        Self { bits: Some(model.format().bits), ..Self::of_any(model) }
    }

    fn of_any<'a>(model: &impl Scorer<'a>) -> Self {
        let schema = model.schema();
        let features = schema.features();
        let count = |is: fn(&&Feature) -> bool| features.iter().filter(is).count();
        Self {
            features: features.len(),
            experts: model.experts(),
            bounded: true,
            blob_bytes: model.blob_bytes(),
            terms: features.iter().map(Feature::terms).sum(),
            numbers: count(|feature| matches!(feature.kind(), Kind::Number { .. })),
            logarithms: count(|feature| {
                matches!(feature.kind(), Kind::Number { transform: Transform::Log1p, .. }) && !feature.is_stepped()
            }),
            binned: count(|feature| matches!(feature.kind(), Kind::Number { bins: 1.., .. })),
            // Each comparison halves the number of remaining edges.
            steps: features.iter().map(|feature| (u32::BITS - feature.kind().edges().leading_zeros()) as usize).sum(),
            bits: None,
        }
    }

    /// Returns `FEATURES` and `EXPERTS` of the smallest build that holds the model.
    #[must_use]
    pub fn capacity(&self) -> [usize; 2] {
        [self.features, self.experts.next_multiple_of(2)]
    }

    /// Returns the amount of each kind of work to set all values.
    #[must_use]
    pub fn setting(&self) -> [f64; SETTING] {
        let linear = self.terms - self.features;
        [1, self.features, self.numbers, self.logarithms, self.binned, linear, self.steps].map(number)
    }

    /// Returns the amount of each kind of work for a score, which is the same for its explanations.
    /// The amounts count terms, with all lanes in registers if they fit, else in blocks of 12 and 4
    /// lanes; experts; and the special code for some numbers of experts.
    #[must_use]
    pub fn passing(&self) -> [f64; PASSING] {
        let Self { features, experts, terms, .. } = *self;
        let in_registers = usize::from(experts <= MOST_IN_REGISTERS);
        let registers = if experts == MOST_IN_REGISTERS { 2 * experts } else { in_registers * stride(experts) };
        let lanes = (1 - in_registers) * stride(experts);
        let (wide, narrow) = (lanes / 12, lanes % 12 / LANE_MULTIPLE);
        let fours = experts.div_ceil(LANE_MULTIPLE);
        let is_twelve = usize::from(fours == 3);
        let fours = (1 - is_twelve) * fours;
        let is_unbounded = usize::from(!self.bounded);
        [
            1,
            features,
            terms,
            experts,
            experts % 2,
            experts % LANE_MULTIPLE,
            wide,
            wide * terms,
            narrow,
            narrow * terms,
            registers,
            registers * terms,
            in_registers,
            in_registers * terms,
            is_twelve,
            is_twelve * terms,
            fours * terms,
            is_unbounded,
            is_unbounded * experts,
        ]
        .map(number)
    }

    /// Returns the amount of each kind of work for one more part of the path.
    #[must_use]
    pub fn parting(&self) -> [f64; PARTING] {
        [1, self.experts, self.experts % 2, usize::from(self.experts == MOST_IN_REGISTERS)].map(number)
    }

    /// Returns the maximum number of parts of the path: two more for each possible cut. Cuts are at
    /// the vertices of the gate's envelope and at one zero per expert.
    #[must_use]
    pub fn most_panels(&self) -> f64 {
        f64::from(MAX_PANELS) + 2.0 * number(2 * self.experts - 1)
    }

    /// Returns the amount of each kind of stack.
    #[must_use]
    pub fn stacking(&self) -> [f64; STACKING] {
        [1, self.capacity()[1], usize::from(self.experts == MOST_IN_REGISTERS)].map(number)
    }

    /// Returns the amount of each kind of work for an integer score, which is the same for its
    /// explanation. The amounts count terms, in groups of four and the rest, times the lanes of the
    /// build; and experts.
    #[must_use]
    pub fn passing_integers(&self) -> [f64; PASSING_INTEGERS] {
        let Self { features, experts, terms, .. } = *self;
        let lanes = self.capacity()[1];
        let (fours, twos, ones) = (terms / 4, terms % 4 / 2, terms % 2);
        [1, features, terms, experts, lanes, fours * lanes, twos * lanes, ones * lanes, fours].map(number)
    }

    /// Returns the amount of each kind of stack with integers.
    #[must_use]
    pub fn stacking_integers(&self) -> [f64; STACKING_INTEGERS] {
        [1, self.capacity()[1]].map(number)
    }

    /// Returns the sizes in bytes of the types that a caller keeps, on a 32-bit core.
    #[must_use]
    pub fn ram(&self) -> Vec<Ram> {
        let [f, e] = self.capacity();
        if self.bits.is_some() {
            return [
                (format!("integer::Model<{f}, {e}>"), 160 + 48 * f),
                (format!("integer::Record<{f}>"), (4 + 17 * f).next_multiple_of(4)),
                (format!("integer::Score<{e}>"), (8 + 6 * e).next_multiple_of(4)),
                (format!("integer::Attribution<{f}, {e}>"), (8 + 6 * e).next_multiple_of(4) + 8 + 4 * f),
            ]
            .map(|(name, bytes)| Ram { name, bytes })
            .into();
        }
        // An attribution and a workspace hold numbers of eight bytes, so their sizes are padded to
        // multiples of eight.
        [
            (format!("Model<{f}, {e}>"), 144 + 32 * f),
            (format!("Record<{f}>"), (4 + 17 * f).next_multiple_of(4)),
            (format!("Score<{e}>"), 8 + 8 * e),
            (format!("Attribution<{f}, {e}>"), (52 + 8 * e + 12 * f).next_multiple_of(8)),
            (format!("Workspace<{f}, {e}>"), (1248 + 78 * f + 528 * e + 32 * f * e).next_multiple_of(8)),
            (format!("Recourse<{f}>"), 24 + 292 * f),
        ]
        .map(|(name, bytes)| Ram { name, bytes })
        .into()
    }
}

impl Device {
    /// Returns the device with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        DEVICES.iter().find(|device| device.name == name)
    }

    /// Returns the costs of a model on this device, in the smallest build that holds it.
    #[must_use]
    pub fn costs(&self, shape: &Shape) -> Costs {
        if let Some(integers) = self.integers.iter().find(|integers| Some(integers.bits) == shape.bits) {
            return self.costs_of(integers, shape);
        }
        let passing = shape.passing();
        let [score, frozen, path] = self.passing.map(|constants| sum(&constants, &passing));
        let instructions = [sum(&self.setting, &shape.setting()), score, frozen, path];
        let stacks = self.stacking.map(|constants| sum(&constants, &shape.stacking()));
        let mut calls: Vec<Call> = CALLS
            .into_iter()
            .zip(instructions.into_iter().zip(stacks))
            .map(|(name, (instructions, stack))| Call {
                name,
                instructions: whole(instructions),
                most_instructions: whole(instructions),
                // Stacks on Arm are aligned to eight bytes.
                stack_bytes: whole(stack).next_multiple_of(8),
            })
            .collect();
        if let Some(call) = calls.last_mut() {
            call.most_instructions = whole(path + (shape.most_panels() - 1.0) * self.part(shape));
        }
        let code = CODE.iter().zip(self.code).scan([0, 0], |before, ((name, _), [bytes, bytes_at_s])| {
            let added = Flash { name, bytes: bytes - before[0], bytes_at_s: bytes_at_s - before[1] };
            *before = [bytes, bytes_at_s];
            Some(added)
        });
        self.all(calls, code.collect(), shape)
    }

    fn costs_of(&self, integers: &Integers, shape: &Shape) -> Costs {
        let passing = shape.passing_integers();
        let [score, frozen] = integers.passing.map(|constants| sum(&constants, &passing));
        let instructions = [sum(&integers.setting, &shape.setting()), score, frozen].map(whole);
        let stacks = integers.stacking.map(|constants| sum(&constants, &shape.stacking_integers()));
        let calls = INTEGER_CALLS.into_iter().zip(instructions.into_iter().zip(stacks));
        let calls = calls.map(|(name, (instructions, stack))| Call {
            name,
            instructions,
            most_instructions: instructions,
            stack_bytes: whole(stack).next_multiple_of(8),
        });
        let [bytes, bytes_at_s] = self.integer_code;
        self.all(calls.collect(), vec![Flash { name: INTEGER_CODE.0, bytes, bytes_at_s }], shape)
    }

    fn all(&self, calls: Vec<Call>, mut flash: Vec<Flash>, shape: &Shape) -> Costs {
        flash.push(Flash { name: "the model", bytes: shape.blob_bytes, bytes_at_s: shape.blob_bytes });
        let ram = [shape.ram(), vec![Ram { name: "statics".into(), bytes: 0 }]].concat();
        Costs { device: self.name, compiler: COMPILER, calls, flash, ram }
    }

    /// Returns the instructions of one more part of the path. A part evaluates the mixture five
    /// times, as often as a path in one part does together with its score. The extra cost of a
    /// model that is not bounded is thus the same for both.
    #[must_use]
    pub fn part(&self, shape: &Shape) -> f64 {
        let [.., path] = self.passing;
        let in_one = |bounded| sum(&path, &Shape { bounded, ..*shape }.passing());
        let taming = if shape.bounded { in_one(false) - in_one(true) } else { 0.0 };
        sum(&self.parting, &shape.parting()) - taming
    }
}

/// Returns the sum of each constant times its amount.
#[must_use]
pub fn sum(constants: &[f64], amounts: &[f64]) -> f64 {
    constants.iter().zip(amounts).map(|(constant, amount)| constant * amount).sum()
}

fn number(amount: usize) -> f64 {
    amount as f64
}

fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}
