//! Monotone numbers: columns in which a higher value may only raise the score, or only lower it.
//!
//! The score is `p = sum_k g_k sigmoid(a_k)`. It is monotone in a number x if no gate `g_k` depends
//! on x and every expert's log-odds `a_k` are monotone in x. For each number both are properties of
//! its own weight rows ([`Monotone`]):
//!
//! - its line and its bins have weight 0 in every gate lane;
//! - in every expert lane the line's weight does not point the wrong way, and the bins' weights are
//!   ordered.
//!
//! Such weights form a convex cone: it contains their sums and their products with a gain of at
//! least 0. So averages, merged experts and the table that replaces a number at export are monotone
//! too.
//!
//! The weight row of a missing value is free, in the gates too: a missing value has no place in the
//! order.
//!
//! **While learning**, each step is followed by a projection. The step has moved one bin of a
//! number, so it suffices to pool that bin with the neighbours that it has passed, at their mean
//! (pool adjacent violators, Ayer et al. 1955). The mean is weighted by the square roots of
//! AdaGrad's sums of squares, which makes it the projection in the norm of the steps (Duchi et al.
//! 2011, eq. 3): a rare bin follows a frequent one rather than the reverse. Other changes of
//! weights (perturbed copies, averages whose rounding may swap neighbours, a new fit of the
//! encoding) are followed by a projection of all bins.
//!
//! **Calibrated probabilities** are monotone too: the calibrator has no weight rows for such
//! numbers, and its slope is at least 0.
//!
//! **In the engine** every operation from value to log-odds is monotone in `f32` as well, rounding
//! included (`log1p` for numbers of 0 or more). The last step is not quite monotone: `sigmoid`
//! falls by one unit in the last place (6e-8) at 10 of the 786 million `f32` log-odds between 1e-12
//! and 126 in magnitude. Ignored tests of the engine count both (`the_sigmoid_hardly_ever_falls`,
//! `log1p_never_falls`). The integer kernel has no such exception.
//!
//! **Cost.** Adult, mean of six random splits of adult.data, training on 80 %, with
//! `monotone = { "education-num" = "up", "hours-per-week" = "up" }` in trainer/schemas/adult.toml
//! (`feamoe train` with `--seed 1` to `6`, then `feamoe evaluate` on the rest):
//!
//! | options | log-loss, monotone and free | accuracy, monotone and free |
//! | --- | --- | --- |
//! | | 0.2808, 0.2805 | 0.8699, 0.8714 |
//! | `--epochs 5` | 0.2765, 0.2759 | 0.8718, 0.8721 |
//! | `--fair spd=0.05` | 0.2800, 0.2803 | 0.8580, 0.8585 |
//!
//! If a monotone column has a steep step, its 16 bins cost about as much as the order does: see the
//! test `monotone::what_the_data_say_anyway_costs_little`. Each record takes a few comparisons per
//! monotone number and expert.

use feamoe_engine::mixture::{Term, stride};

use super::table::Table;
use crate::encoder::Monotone;

/// The weight rows of all monotone numbers, in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Cones(Vec<Monotone>);

impl Cones {
    pub(super) fn new(mut cones: Vec<Monotone>) -> Self {
        cones.sort_unstable_by_key(|cone| cone.line);
        Self(cones)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of weight rows up to the last monotone one.
    pub(super) fn rows(&self) -> usize {
        self.0.iter().map(|cone| cone.bins.end.max(cone.line + 1) as usize).max().unwrap_or(0)
    }

    /// Returns whether a weight row belongs to a monotone number.
    pub(super) fn hold(&self, row: u32) -> bool {
        self.of(row).is_some()
    }

    fn of(&self, row: u32) -> Option<&Monotone> {
        let following = self.0.partition_point(|cone| cone.line <= row);
        self.0.get(following.checked_sub(1)?).filter(|cone| row == cone.line || cone.bins.contains(&row))
    }

    /// Projects the weights after a step on the weight rows of these terms. `squares` are AdaGrad's
    /// sums.
    pub(super) fn settle(&self, weights: &mut Table, squares: &Table, terms: &[Term], experts: usize) {
        let ([_, weights], [_, squares]) = (weights.slices_mut(), squares.slices());
        let stride = stride(experts);
        for term in terms {
            let Some(cone) = self.of(term.row) else { continue };
            clear_gates(weights, term.row, experts);
            for lane in experts..2 * experts {
                let place = |row: u32| row as usize * stride + lane;
                let trust = |place: usize| squares[place].sqrt();
                if term.row == cone.line {
                    cone.bound_line(&mut weights[place(cone.line)]);
                } else {
                    let (before, after) = (cone.bins.start..term.row + 1, term.row..cone.bins.end);
                    pool(weights, trust, cone.direction.sign(), before.rev().map(place));
                    pool(weights, trust, -cone.direction.sign(), after.map(place));
                }
            }
        }
    }

    /// Projects all weights of a table.
    pub(super) fn project(&self, table: &mut Table, experts: usize) {
        let [_, weights] = table.slices_mut();
        let stride = stride(experts);
        for cone in &self.0 {
            for row in std::iter::once(cone.line).chain(cone.bins.clone()) {
                clear_gates(weights, row, experts);
            }
            for lane in experts..2 * experts {
                let place = |row: u32| row as usize * stride + lane;
                cone.bound_line(&mut weights[place(cone.line)]);
                for row in cone.bins.clone() {
                    let so_far = (cone.bins.start..row + 1).rev();
                    pool(weights, |_| 1.0, cone.direction.sign(), so_far.map(place));
                }
            }
        }
    }
}

impl Monotone {
    fn bound_line(&self, weight: &mut f32) {
        if self.direction.sign() * *weight < 0.0 {
            *weight = 0.0;
        }
    }
}

fn clear_gates(weights: &mut [f32], row: u32, experts: usize) {
    let start = row as usize * stride(experts);
    weights[start..start + experts].fill(0.0);
}

/// Sets the first of the places, and those after it that exceed their common mean, to that mean.
///
/// `places` lead away from the first place; beyond it their values times `sign` do not rise.
/// `trust` is the weight of a place in the mean.
fn pool(values: &mut [f32], trust: impl Fn(usize) -> f32, sign: f32, mut places: impl Iterator<Item = usize> + Clone) {
    let all = places.clone();
    let Some(first) = places.next() else { return };
    let (mut mean, mut total, mut pooled) = (values[first], trust(first), 1);
    for place in places {
        let value = values[place];
        if sign * value <= sign * mean {
            break;
        }
        let trust = trust(place);
        total += trust;
        let moved = mean + (value - mean) * (trust / total);
        // Rounding must not carry the mean past a value that is part of it.
        mean = if sign * moved < sign * value { moved } else { value };
        pooled += 1;
    }
    if pooled > 1 {
        all.take(pooled).for_each(|place| values[place] = mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Direction;

    const EXPERTS: usize = 2;
    const BINS: u32 = 7;

    /// Numbers in [-1, 1) in a fixed irregular order.
    fn numbers(seed: u32) -> impl Iterator<Item = f32> {
        (1_u32..)
            .map(move |i| (i.wrapping_mul(2_654_435_769).wrapping_add(seed * 40_503) >> 8) as f32 / 8_388_608.0 - 1.0)
    }

    fn cone(direction: Direction) -> Cones {
        Cones::new(vec![Monotone { direction, line: 1, bins: 3..3 + BINS }])
    }

    fn filled(seed: u32) -> Table {
        let mut table = Table::new(stride(EXPERTS), 0.0);
        table.grow(12, 0.0);
        let [_, rows] = table.slices_mut();
        rows.iter_mut().zip(numbers(seed)).for_each(|(weight, number)| *weight = number);
        table
    }

    fn lane(table: &Table, lane: usize) -> Vec<f32> {
        let [_, rows] = table.slices();
        (0..12).map(|row| rows[row * stride(EXPERTS) + lane]).collect()
    }

    fn is_held(table: &Table, direction: Direction) -> bool {
        let sign = direction.sign();
        (0..2 * EXPERTS).all(|index| {
            let lane: Vec<f32> = lane(table, index).iter().map(|weight| sign * weight).collect();
            let bins = &lane[3..3 + BINS as usize];
            if index < EXPERTS {
                lane[1] == 0.0 && bins.iter().all(|w| *w == 0.0)
            } else {
                lane[1] >= 0.0 && bins.is_sorted()
            }
        })
    }

    /// Pool adjacent violators by definition: every value becomes the largest, over all starts, of
    /// the smallest mean over all ends (Barlow et al. 1972).
    fn isotonic(values: &[f32], weights: &[f32]) -> Vec<f64> {
        let mean = |from: usize, to: usize| {
            let both = values[from..=to].iter().zip(&weights[from..=to]);
            let [sum, total] = both.fold([0.0; 2], |[sum, total], (value, weight)| {
                [sum + f64::from(*value) * f64::from(*weight), total + f64::from(*weight)]
            });
            sum / total
        };
        let of = |at: usize| {
            let least = |from: usize| (at..values.len()).map(|to| mean(from, to)).fold(f64::INFINITY, f64::min);
            (0..=at).map(least).fold(f64::NEG_INFINITY, f64::max)
        };
        (0..values.len()).map(of).collect()
    }

    #[test]
    fn a_projection_is_the_isotonic_regression_and_leaves_what_it_need_not_touch() {
        for (seed, direction) in (0..200).flat_map(|seed| [(seed, Direction::Up), (seed, Direction::Down)]) {
            let before = filled(seed);
            let mut after = before.clone();
            cone(direction).project(&mut after, EXPERTS);
            assert!(is_held(&after, direction), "{seed}");
            for index in 0..2 * EXPERTS {
                let (old, new) = (lane(&before, index), lane(&after, index));
                let free = [0, 2, 10, 11];
                assert!(free.iter().all(|row| old[*row] == new[*row]), "the missing row and others stay");
                if index >= EXPERTS {
                    let sign = direction.sign();
                    let bins: Vec<f32> = old[3..10].iter().map(|weight| sign * weight).collect();
                    let expected = isotonic(&bins, &[1.0; BINS as usize]);
                    for (found, expected) in new[3..10].iter().zip(expected) {
                        assert!((f64::from(sign * found) - expected).abs() < 1e-6, "{seed}: {new:?}");
                    }
                }
            }
            let again = after.clone();
            cone(direction).project(&mut after, EXPERTS);
            assert!(after.slices() == again.slices(), "what is held is not moved");
        }
    }

    #[test]
    fn each_step_is_followed_by_the_projection_in_its_norm() {
        for direction in [Direction::Up, Direction::Down] {
            let (cones, mut weights, mut squares) = (cone(direction), filled(1), filled(2));
            cones.project(&mut weights, EXPERTS);
            squares.slices_mut()[1].iter_mut().for_each(|square| *square = (1.5 + *square) * (1.5 + *square));
            for (step, change) in (0..2_000_u32).zip(numbers(3)) {
                let row = if step % 9 == 0 { 1 } else { 3 + step * 5 % BINS };
                let start = row as usize * stride(EXPERTS);
                let scattered = numbers(step).take(2 * EXPERTS);
                let [_, rows] = weights.slices_mut();
                rows[start..].iter_mut().zip(scattered).for_each(|(weight, more)| *weight += 0.3 * (change + more));
                let before = weights.clone();
                cones.settle(&mut weights, &squares, &[Term { row, scale: 1.0 }], EXPERTS);
                assert!(is_held(&weights, direction), "{step}: {:?}", lane(&weights, EXPERTS));
                if row != 1 {
                    let sign = direction.sign();
                    let bins: Vec<f32> = lane(&before, 3)[3..10].iter().map(|weight| sign * weight).collect();
                    let trust: Vec<f32> = lane(&squares, 3)[3..10].iter().map(|square| square.sqrt()).collect();
                    for (found, expected) in lane(&weights, 3)[3..10].iter().zip(isotonic(&bins, &trust)) {
                        assert!((f64::from(sign * found) - expected).abs() < 1e-5, "{step}");
                    }
                }
            }
        }
    }
}
