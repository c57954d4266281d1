//! A stream of 30 categories: tests what a learner knows after few rows of many columns.

use super::generators::{Generated, Random};

/// Number of columns.
pub const COLUMNS: usize = 30;
/// Number of pairs of columns that have an effect together.
const PAIRS: usize = 4;
/// Number of rows for setting the share of favourable labels.
const SAMPLE: usize = 2_000;

/// A table of log-odds by the levels of its columns.
struct Effect {
    columns: [usize; 2],
    log_odds: Vec<f64>,
}

/// The distribution of the rows for a seed: 3 to 10 levels per column, log-odds by level and by the
/// levels of some pairs, and a share of favourable labels between 10 % and 40 %.
pub struct Categories {
    /// By column, the share of the rows in each level.
    shares: Vec<Vec<f64>>,
    effects: Vec<Effect>,
    intercept: f64,
}

impl Categories {
    /// Draws the stream.
    pub fn new(random: &mut Random) -> Self {
        let counts: [u64; COLUMNS] = std::array::from_fn(|_| 3 + random.below(8));
        let shares = counts.map(|levels| {
            let masses: Vec<f64> = (0..levels).map(|_| random.exponential() + random.exponential()).collect();
            let total: f64 = masses.iter().sum();
            masses.iter().map(|mass| mass / total).collect()
        });
        let mut categories = Self { shares: shares.into(), effects: Vec::new(), intercept: 0.0 };
        for (column, levels) in counts.into_iter().enumerate() {
            let strength = 0.35 * random.exponential();
            let log_odds = (0..levels).map(|_| strength * random.normal()).collect();
            categories.effects.push(Effect { columns: [column; 2], log_odds });
        }
        for _ in 0..PAIRS {
            let columns = [(); 2].map(|()| random.below(COLUMNS as u64) as usize);
            let cells = counts[columns[0]] * counts[columns[1]];
            let log_odds = (0..cells).map(|_| 0.5 * random.normal()).collect();
            categories.effects.push(Effect { columns, log_odds });
        }
        let wanted = random.between(0.1, 0.4);
        let sample: Vec<f64> = (0..SAMPLE).map(|_| categories.log_odds(&categories.levels(random))).collect();
        let [mut low, mut high] = [-20.0, 20.0];
        for _ in 0..50 {
            categories.intercept = (low + high) / 2.0;
            let sum: f64 = sample.iter().map(|z| 1.0 / (1.0 + libm::exp(-z - categories.intercept))).sum();
            *(if sum > wanted * SAMPLE as f64 { &mut high } else { &mut low }) = categories.intercept;
        }
        categories
    }

    fn levels(&self, random: &mut Random) -> Vec<usize> {
        let level = |shares: &Vec<f64>| {
            let mut rest = random.uniform();
            let passed = |share: &&f64| {
                rest -= **share;
                rest >= 0.0
            };
            shares.iter().take_while(passed).count().min(shares.len() - 1)
        };
        self.shares.iter().map(level).collect()
    }

    fn log_odds(&self, levels: &[usize]) -> f64 {
        let of = |Effect { columns: [a, b], log_odds }: &Effect| {
            log_odds[if a == b { levels[*a] } else { levels[*a] * self.shares[*b].len() + levels[*b] }]
        };
        self.intercept + self.effects.iter().map(of).sum::<f64>()
    }

    /// Writes the next row and returns its log-odds.
    pub fn next(&self, random: &mut Random, cells: &mut Vec<Generated>) -> f64 {
        let levels = self.levels(random);
        cells.extend(levels.iter().map(|level| Generated::Level(*level as u64)));
        self.log_odds(&levels)
    }
}
