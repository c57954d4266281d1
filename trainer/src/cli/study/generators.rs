//! Streams that change, from the formulas that are common in research on online learning.
//!
//! | stream | rows | after |
//! | --- | --- | --- |
//! | Agrawal, abrupt | functions 1, 2 and 3, 12,000 rows each | Agrawal, Imielinski, Swami 1993 |
//! | Agrawal, recurring | functions 1 and 2 in turn, 6,000 rows each | the same |
//! | Agrawal, gradual | 1 to 2 to 3, each change spread over 6,000 rows | the same |
//! | label flip | one in ten labels wrong; the concept is inverted every 9,000 rows | - |
//! | SEA | thresholds 8, 9, 7, 9.5, 9,000 rows each, one in ten labels wrong | Street and Kim 2001 |
//! | moving RBF | 30 centres of two classes in 10 dimensions that wander | Bifet et al. 2009 |
//! | 30 categories | 3 to 10 levels each; log-odds by level, and by those of four pairs | - |
//! | level shift, trend, empty at first, new levels | one number or category, which alone predicts the outcome | - |
//!
//! *Reproducible*: the same seed gives the same rows on every machine.

use std::f64::consts::TAU;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use feamoe::rows::{Cell, Cells};

use super::categories::{COLUMNS, Categories};

/// Rows of each stream.
pub const ROWS: u64 = 36_000;

/// A cell of a generated row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Generated {
    /// A number.
    Number(f64),
    /// A level, given by its number.
    Level(u64),
    /// No value.
    Missing,
}

/// Converts a generated row to cells, with the label last.
pub fn put(generated: &[Generated], label: bool, cells: &mut Cells) {
    cells.clear();
    for (column, cell) in generated.iter().enumerate() {
        match cell {
            Generated::Number(x) => cells.put(column, Cell::Number(*x)),
            Generated::Level(level) => cells.put(column, Cell::Text(format!("level {level}").as_bytes())),
            Generated::Missing => {}
        }
    }
    cells.put(generated.len(), Cell::Text(if label { b"1" } else { b"0" }));
}

/// A generated stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Three functions in sequence.
    AgrawalAbrupt,
    /// Two functions that alternate.
    AgrawalRecurring,
    /// Three functions. Each replaces the one before it over thousands of rows.
    AgrawalGradual,
    /// A concept and its opposite, which alternate.
    LabelFlip,
    /// Two numbers compared with a threshold that changes.
    Sea,
    /// Classes around moving centres.
    MovingRbf,
    /// Many categories without any change.
    Categories,
    /// One number without any change, as a reference for the next four.
    Still,
    /// The level of the number changes by 100 standard deviations at row 8,000.
    LevelShift,
    /// The number grows by a standard deviation every 1,000 rows.
    Trend,
    /// The number is missing in the first 6,000 rows.
    EmptyAtFirst,
    /// 100 levels are replaced by six others at row 6,000.
    NewLevels,
}

impl Generator {
    /// All generators.
    pub const ALL: [Self; 12] = [
        Self::AgrawalAbrupt,
        Self::AgrawalRecurring,
        Self::AgrawalGradual,
        Self::LabelFlip,
        Self::Sea,
        Self::MovingRbf,
        Self::Categories,
        Self::Still,
        Self::LevelShift,
        Self::Trend,
        Self::EmptyAtFirst,
        Self::NewLevels,
    ];

    /// Returns the name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgrawalAbrupt => "Agrawal, abrupt",
            Self::AgrawalRecurring => "Agrawal, recurring",
            Self::AgrawalGradual => "Agrawal, gradual",
            Self::LabelFlip => "label flip",
            Self::Sea => "SEA",
            Self::MovingRbf => "moving RBF",
            Self::Categories => "30 categories",
            Self::Still => "nothing moves",
            Self::LevelShift => "level shift",
            Self::Trend => "trend",
            Self::EmptyAtFirst => "empty at first",
            Self::NewLevels => "new levels",
        }
    }

    /// Returns the rows (counted from 0) at which something changes abruptly.
    pub fn changes(self) -> Vec<u64> {
        let every = |rows: u64| (1..ROWS / rows).map(|part| part * rows).collect();
        match self {
            Self::AgrawalAbrupt => every(12_000),
            Self::AgrawalRecurring => every(6_000),
            Self::LabelFlip | Self::Sea => every(9_000),
            Self::LevelShift => vec![8_000],
            Self::EmptyAtFirst | Self::NewLevels => vec![6_000],
            Self::AgrawalGradual | Self::MovingRbf | Self::Categories | Self::Still | Self::Trend => Vec::new(),
        }
    }

    /// Returns the number of columns before the label.
    pub const fn width(self) -> usize {
        match self {
            Self::AgrawalAbrupt | Self::AgrawalRecurring | Self::AgrawalGradual => 9,
            Self::LabelFlip => 5,
            Self::Sea => 3,
            Self::MovingRbf => DIMENSIONS,
            Self::Categories => COLUMNS,
            Self::Still | Self::LevelShift | Self::Trend | Self::EmptyAtFirst | Self::NewLevels => 1,
        }
    }
}

const DIMENSIONS: usize = 10;
const CENTRES: usize = 30;
/// Distance that a centre moves per row.
const SPEED: f64 = 0.0005;

/// A centre of the moving RBF.
struct Centre {
    at: [f64; DIMENSIONS],
    towards: [f64; DIMENSIONS],
    spread: f64,
    label: bool,
}

impl Centre {
    fn new(index: usize, random: &mut Random) -> Self {
        let at = std::array::from_fn(|_| random.uniform());
        let towards: [f64; DIMENSIONS] = std::array::from_fn(|_| random.normal());
        let length = libm::sqrt(towards.iter().map(|x| x * x).sum());
        Self {
            at,
            towards: towards.map(|x| x / length),
            spread: random.between(0.05, 0.15),
            label: index.is_multiple_of(2),
        }
    }
}

/// Random numbers of a seed, the same on every machine.
pub struct Random(Pcg64Mcg);

impl Random {
    /// Creates the random numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Returns a uniform number in [0, 1).
    #[allow(clippy::cast_precision_loss)] // 53 bits are exact in f64
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Returns a standard normal number (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(TAU * v)
    }

    /// Returns an exponentially distributed number with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.0.next_u64() % count
    }

    /// Shuffles by Fisher and Yates.
    pub fn shuffle(&mut self, order: &mut [u32]) {
        feamoe::random::shuffle(order, &mut self.0);
    }

    /// Returns true with the probability that these log-odds correspond to.
    pub fn says(&mut self, log_odds: f64) -> bool {
        self.uniform() < 1.0 / (1.0 + libm::exp(-log_odds))
    }
}

/// A running generator.
pub struct Rows {
    generator: Generator,
    random: Random,
    row: u64,
    centres: Vec<Centre>,
    categories: Option<Categories>,
}

impl Rows {
    /// Creates the stream of a seed.
    pub fn new(generator: Generator, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let centres = match generator {
            Generator::MovingRbf => (0..CENTRES).map(|index| Centre::new(index, &mut random)).collect(),
            _ => Vec::new(),
        };
        let categories = (generator == Generator::Categories).then(|| Categories::new(&mut random));
        Self { generator, random, row: 0, centres, categories }
    }

    /// Writes the next row and returns its label.
    pub fn next(&mut self, cells: &mut Vec<Generated>) -> bool {
        cells.clear();
        let row = self.row;
        self.row += 1;
        match self.generator {
            Generator::AgrawalAbrupt => self.agrawal(1 + row / 12_000, cells),
            Generator::AgrawalRecurring => self.agrawal(1 + row / 6_000 % 2, cells),
            Generator::AgrawalGradual => {
                // Each change is centred on `middle` and takes 6,000 rows.
                let mut function = 1;
                for middle in [12_000.0, 24_000.0] {
                    #[allow(clippy::cast_precision_loss)] // far below 2^53
                    let passed = (row as f64 - middle) / 6_000.0 + 0.5;
                    function += u64::from(self.random.uniform() < passed);
                }
                self.agrawal(function, cells)
            }
            Generator::LabelFlip => {
                let x: [f64; 5] = std::array::from_fn(|_| self.random.normal());
                cells.extend(x.map(Generated::Number));
                let label = x[0] + 0.5 * x[1] - 0.5 * x[2] > 0.0;
                label ^ (row / 9_000 % 2 == 1) ^ (self.random.uniform() < 0.1)
            }
            Generator::Sea => {
                let x: [f64; 3] = std::array::from_fn(|_| self.random.between(0.0, 10.0));
                cells.extend(x.map(Generated::Number));
                let threshold = [8.0, 9.0, 7.0, 9.5][(row / 9_000) as usize % 4];
                (x[0] + x[1] <= threshold) ^ (self.random.uniform() < 0.1)
            }
            Generator::MovingRbf => {
                for centre in &mut self.centres {
                    for (at, towards) in centre.at.iter_mut().zip(&mut centre.towards) {
                        *at += SPEED * *towards;
                        if !(0.0..=1.0).contains(at) {
                            *towards = -*towards;
                        }
                    }
                }
                let chosen = self.random.below(CENTRES as u64) as usize;
                let (at, spread, label) =
                    (self.centres[chosen].at, self.centres[chosen].spread, self.centres[chosen].label);
                cells.extend(at.map(|at| Generated::Number(at + spread * self.random.normal())));
                label
            }
            Generator::Categories => {
                let Some(categories) = &self.categories else { return false };
                let log_odds = categories.next(&mut self.random, cells);
                self.random.says(log_odds)
            }
            Generator::NewLevels => {
                let level = if row < 6_000 { self.random.below(100) } else { 100 + self.random.below(6) };
                cells.push(Generated::Level(level));
                self.random.says(if level % 2 == 1 { 2.0 } else { -2.0 })
            }
            moved => {
                let x = self.random.normal();
                #[allow(clippy::cast_precision_loss)] // far below 2^53
                cells.push(match moved {
                    Generator::LevelShift if row >= 8_000 => Generated::Number(x + 100.0),
                    Generator::Trend => Generated::Number(x + row as f64 / 1_000.0),
                    Generator::EmptyAtFirst if row < 6_000 => Generated::Missing,
                    _ => Generated::Number(x),
                });
                self.random.says(3.0 * x)
            }
        }
    }

    /// Draws a person, and returns whether a function (one of the first three) assigns them to
    /// group A.
    fn agrawal(&mut self, function: u64, cells: &mut Vec<Generated>) -> bool {
        let salary = self.random.between(20_000.0, 150_000.0);
        let commission = if salary >= 75_000.0 { 0.0 } else { self.random.between(10_000.0, 75_000.0) };
        let age = self.random.between(20.0, 80.0);
        let [education, car, zip] = [5, 20, 9].map(|count| self.random.below(count));
        #[allow(clippy::cast_precision_loss)] // below 10
        let house = self.random.between(50_000.0, 150_000.0) * (9 - zip) as f64;
        let years = self.random.between(1.0, 30.0);
        let loan = self.random.between(0.0, 500_000.0);
        let number = Generated::Number;
        cells.extend([number(salary), number(commission), number(age), Generated::Level(education)]);
        cells.extend([Generated::Level(car), Generated::Level(zip), number(house), number(years), number(loan)]);
        let stage = [40.0, 60.0].iter().filter(|from| age >= **from).count();
        match function {
            1 => stage != 1,
            2 => [50_000.0..=100_000.0, 75_000.0..=125_000.0, 25_000.0..=75_000.0][stage].contains(&salary),
            _ => [0..=1, 1..=3, 2..=4][stage].contains(&education),
        }
    }
}
