//! A test that a stream does not change. Its false-alarm rate holds for the whole stream, however
//! long, and for any distribution of values.
//!
//! A value is in one of a few *cells*, and may be in a *stratum*, whose values are only compared
//! with each other. While the values of every stratum are exchangeable (for example drawn
//! independently from one distribution), the smoothed conformal p-values
//!
//! ```text
//! p_n = (#{i < n: cell_i < cell_n} + theta_n (#{i < n: cell_i = cell_n} + 1)) / n
//! ```
//!
//! are independent and uniform in [0, 1] (Vovk, Nouretdinov and Gammerman 2003, "Testing
//! exchangeability on-line"); `i` and `n` count the values of the stratum (Mondrian conformal
//! prediction: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", chapter
//! 4). `theta` is drawn uniformly. Earlier values may come from a reference: they are used for
//! comparison, but not tested.
//!
//! A bettor bets on the next p-value, with a density over parts of [0, 1] (sixteenths, finer at
//! both ends, where rare cells are). It learns the density from the p-values so far, forgetting old
//! ones:
//!
//! ```text
//! b_n = (w[part] / width[part] + PRIOR) / (sum(w) + PRIOR)
//! ```
//!
//! Its mean is 1 if p-values are uniform, so its products are martingales (plug-in martingales:
//! Fedorova, Gammerman, Nouretdinov and Vovk 2012). A change may come at any time, so the capital
//! is divided over all times at which a bettor could start,
//!
//! ```text
//! S_n = (S_{n-1} + pi_n) b_n      pi_n = 1 / ln(e + n - 1) - 1 / ln(e + n)      sum(pi) = 1
//! ```
//!
//! and over three lengths of memory, 100, 1,000 and 10,000 values. `S_n` plus the capital not yet
//! staked is a martingale of mean 1: by Ville's inequality, the probability that `S` ever reaches
//! `1 / level` is at most `level`, for any number of values. At value `n`, a change is detected
//! once it has contributed about `ln(n) + 2 ln(ln(n)) + ln(3 / level)` nats.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore as _, SeedableRng as _};

/// Edges between the parts of [0, 1] that a bet distinguishes, in units of 1/1,024.
const EDGES: [u16; PARTS - 1] =
    [1, 4, 16, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1_008, 1_020, 1_023];
/// Number of the parts.
const PARTS: usize = 22;
/// The number of values after which the weight of a value has decayed to 1/e.
const MEMORIES: [f64; 3] = [100.0, 1_000.0, 10_000.0];
/// Prior weight of all parts together, distributed by their widths; a larger weight is more
/// cautious.
const PRIOR: f64 = 64.0;
/// Weight of the earlier shares in the estimated shares that determine which cell changed most.
const CAUTION: f64 = 10.0;

/// A detected change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The stratum that changed most.
    pub stratum: usize,
    /// The cell whose share changed most, in the sense of the population stability index.
    pub cell: usize,
    /// Its share among the values of the stratum before the latest ones.
    pub before: f64,
    /// Its share among the latest values: about 100, 1,000 or 10,000, whichever show the change
    /// best.
    pub after: f64,
    /// Number of tested values, of all strata, since the most likely time of the change.
    pub values_since: u64,
}

/// The test of one stream, in constant memory.
#[derive(Clone, Debug)]
pub struct Exchangeability {
    cells: usize,
    /// Number of earlier values, by stratum and cell.
    counts: Vec<u64>,
    bettors: [Bettor; MEMORIES.len()],
    /// Number of tested values.
    values: u64,
    level: f64,
    random: Pcg64Mcg,
}

impl Exchangeability {
    /// Starts without values. `level`, in (0, 1), bounds the probability of a false alarm over the
    /// whole stream. `seed` is that of `theta`; streams that are tested together must have
    /// different seeds.
    #[must_use]
    pub fn new(strata: usize, cells: usize, level: f64, seed: u64) -> Self {
        Self {
            cells,
            counts: vec![0; strata * cells],
            bettors: MEMORIES.map(|memory| Bettor::new(memory, strata * cells)),
            values: 0,
            level,
            random: Pcg64Mcg::seed_from_u64(seed),
        }
    }

    /// Adds an earlier value, which is not tested. A stratum or cell out of range is ignored.
    pub fn learn(&mut self, stratum: usize, cell: usize) {
        if let Some(count) = self.counts.get_mut(stratum * self.cells + cell) {
            *count += 1;
        }
    }

    /// Tests a value and adds it. Returns the detected change, if any; the test then restarts
    /// without values.
    pub fn update(&mut self, stratum: usize, cell: usize) -> Option<Change> {
        let start = stratum * self.cells;
        let counts = self.counts.get(start..start + self.cells)?;
        let equal = counts.get(cell)? + 1;
        let less: u64 = counts.iter().take(cell).sum();
        let all: u64 = counts.iter().sum::<u64>() + 1;
        let p = (less as f64 + self.uniform() * equal as f64) / all as f64;
        let part = EDGES.partition_point(|edge| f64::from(*edge) <= 1_024.0 * p);
        self.values += 1;
        let stake = stake(self.values);
        let mut evidence = 0.0;
        for bettor in &mut self.bettors {
            bettor.bet(part, stake, self.values);
            bettor.remember(start + cell);
            evidence += bettor.capital / MEMORIES.len() as f64;
        }
        self.learn(stratum, cell);
        if evidence * self.level < 1.0 {
            return None;
        }
        let change = self.change();
        *self = Self {
            random: self.random.clone(),
            ..Self::new(self.counts.len() / self.cells, self.cells, self.level, 0)
        };
        Some(change)
    }

    /// Returns a uniform number in [0, 1), with 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn change(&self) -> Change {
        let mut found = Change { stratum: 0, cell: 0, before: 0.0, after: 0.0, values_since: 0 };
        let best = self.bettors.iter().max_by(|a, b| a.capital.total_cmp(&b.capital));
        let Some(best) = best else { return found };
        found.values_since = self.values - best.since + 1;
        let mut most = -1.0;
        let strata = self.counts.chunks(self.cells).zip(best.recent.chunks(self.cells));
        for (stratum, (counts, recent)) in strata.enumerate() {
            let earlier: Vec<f64> =
                counts.iter().zip(recent).map(|(all, late)| (*all as f64 - late).max(0.0)).collect();
            let (before, after): (f64, f64) = (earlier.iter().sum(), recent.iter().sum());
            for (cell, (early, late)) in earlier.iter().zip(recent).enumerate() {
                let e = (early + 0.5) / (before + 0.5 * self.cells as f64);
                let a = (late + CAUTION * e) / (after + CAUTION);
                let distance = after * (a - e) * libm::log(a / e);
                if distance > most {
                    most = distance;
                    let share = |weight: f64, sum: f64| if sum > 0.0 { weight / sum } else { f64::NAN };
                    (found.stratum, found.cell) = (stratum, cell);
                    (found.before, found.after) = (share(*early, before), share(*late, after));
                }
            }
        }
        found
    }
}

/// Returns the share of the capital that starts to bet at the n-th value.
fn stake(n: u64) -> f64 {
    let e = std::f64::consts::E;
    1.0 / libm::log(e + (n - 1) as f64) - 1.0 / libm::log(e + n as f64)
}

/// Returns the width of a part of [0, 1].
fn width(part: usize) -> f64 {
    let edge = |place: usize| EDGES.get(place).copied().map_or(1_024.0, f64::from);
    (edge(part) - part.checked_sub(1).map_or(0.0, edge)) / 1_024.0
}

/// Bets on the part of [0, 1] that the next p-value is in.
#[derive(Clone, Debug)]
struct Bettor {
    /// Factor on the weight of a value for each later value.
    decay: f64,
    weights: [f64; PARTS],
    /// The latest values by stratum and cell, with the same weights.
    recent: Vec<f64>,
    capital: f64,
    /// The capital of the best starting time, followed by that time.
    best: f64,
    since: u64,
}

impl Bettor {
    fn new(memory: f64, cells: usize) -> Self {
        let recent = vec![0.0; cells];
        Self { decay: 1.0 - 1.0 / memory, weights: [0.0; PARTS], recent, capital: 0.0, best: 0.0, since: 1 }
    }

    fn remember(&mut self, cell: usize) {
        self.recent.iter_mut().for_each(|weight| *weight *= self.decay);
        if let Some(weight) = self.recent.get_mut(cell) {
            *weight += 1.0;
        }
    }

    fn bet(&mut self, part: usize, stake: f64, value: u64) {
        let sum: f64 = self.weights.iter().sum();
        let weight = self.weights.get(part).copied().unwrap_or_default();
        let gain = (weight / width(part) + PRIOR) / (sum + PRIOR);
        self.capital = (self.capital + stake) * gain;
        if stake >= self.best {
            (self.best, self.since) = (stake, value);
        }
        self.best *= gain;
        self.weights.iter_mut().for_each(|weight| *weight *= self.decay);
        if let Some(weight) = self.weights.get_mut(part) {
            *weight += 1.0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_stakes_together_are_the_capital() {
        let staked: f64 = (1..=1_000_000).map(stake).sum();
        let left = 1.0 / libm::log(std::f64::consts::E + 1e6);
        assert!((staked + left - 1.0).abs() < 1e-9 && (1..1_000).all(|n| stake(n) > stake(n + 1)));
    }

    /// The mean of a bet over [0, 1] is 1, whatever was learned.
    #[test]
    fn a_bet_on_uniform_values_is_fair() {
        let mut bettor = Bettor::new(100.0, 1);
        for value in 1..=500 {
            bettor.bet((value as usize * value as usize) % 7, 0.0, value);
            let gains = (0..PARTS).map(|part| {
                let mut next = Bettor { capital: 1.0, ..bettor.clone() };
                next.bet(part, 0.0, value);
                width(part) * next.capital
            });
            let mean = gains.sum::<f64>();
            assert!((mean - 1.0).abs() < 1e-12, "{mean}");
        }
    }

    /// Four thousand streams of 300 values, each with another distribution, half of them with
    /// reference values. At a level of 20 %, the share of false alarms stays below 20 %, and a
    /// change is found in nearly all streams.
    #[test]
    fn alarms_are_rare_without_a_change_and_sure_with_one() {
        let mut random = Pcg64Mcg::seed_from_u64(7);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let (mut false_alarms, mut found) = (0, 0);
        let streams = 4_000;
        for stream in 0..streams {
            let skew = 1.0 + 3.0 * uniform();
            let mut test = Exchangeability::new(2, 6, 0.2, stream);
            if stream % 2 == 0 {
                (0..200).for_each(|_| test.learn(usize::from(uniform() < 0.3), (6.0 * uniform().powf(skew)) as usize));
            }
            let alarms: Vec<Change> = (0..300)
                .filter_map(|_| test.update(usize::from(uniform() < 0.3), (6.0 * uniform().powf(skew)) as usize))
                .collect();
            false_alarms += usize::from(!alarms.is_empty());
            let change = (0..300).find_map(|_| test.update(0, 5));
            found += usize::from(change.is_some_and(|change| change.cell == 5 && change.after > change.before));
        }
        assert!(false_alarms > 0 && false_alarms * 5 < streams as usize, "{false_alarms} of {streams}");
        assert!(found * 100 > 99 * streams as usize, "{found} of {streams}");
    }

    #[test]
    fn the_time_and_the_share_of_a_change_are_found() {
        let mut test = Exchangeability::new(1, 2, 0.01, 1);
        let cell = |n: u64| usize::from(n.is_multiple_of(if n < 5_000 { 10 } else { 2 }));
        let (at, change) = (0..).find_map(|n| Some((n, test.update(0, cell(n))?))).unwrap();
        assert!((5_030..5_250).contains(&at), "{at}");
        let since = at + 1 - change.values_since;
        assert!((4_900..5_100).contains(&since), "{since}");
        assert!((change.before - if change.cell == 1 { 0.1 } else { 0.9 }).abs() < 0.02, "{change:?}");
        assert_eq!(test.counts, [0, 0], "starts anew");
    }

    #[test]
    fn values_that_never_differ_raise_no_alarm_and_places_past_the_end_are_passed_over() {
        let mut test = Exchangeability::new(1, 3, 0.01, 1);
        assert!((0..100_000).all(|_| test.update(0, 1).is_none()));
        assert_eq!((test.update(9, 0), test.update(0, 3)), (None, None));
        test.learn(9, 9);
    }
}
