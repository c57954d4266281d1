//! The forces that the multipliers of a pair exert on the score of one record.

use super::super::rates::Scored;
use super::{HELD, Held, LARGEST_FORCE, SMALLEST_SCORE, Weights};
use crate::tuned::{Tuned, tuned};

/// Largest shift of log-odds: it makes records count 20 times.
static LARGEST_SHIFT: Tuned<f32> = tuned!(3.0);

/// The forces on a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forces {
    /// Threshold force.
    rates: f32,
    burden: f32,
    /// Shift of the log-odds.
    shift: f32,
}

impl Forces {
    pub(super) fn new(held: &[(Held, f32)], multipliers: &[f32; HELD], weights: &Weights, label: bool) -> Self {
        let mut forces = Self::default();
        for (((held, _), multiplier), weights) in held.iter().zip(multipliers).zip(weights) {
            let force = multiplier * weights[usize::from(label)];
            *match held {
                Held::Burden => &mut forces.burden,
                Held::Recourse => &mut forces.shift,
                _ => &mut forces.rates,
            } += force;
        }
        forces
    }

    /// Returns the largest force; a shift is scaled as if its bound were that of a force.
    fn largest(&self) -> f32 {
        self.rates.abs().max(self.burden.abs()).max(self.shift.abs() * (LARGEST_FORCE.get() / LARGEST_SHIFT.get()))
    }

    /// Returns the force on the score of a record of the group (sign 1) or of the reference (sign
    /// -1).
    pub(super) fn on(&self, scored: &Scored, sign: f32) -> f32 {
        let bound = |force: f32| force.clamp(-LARGEST_FORCE.get(), LARGEST_FORCE.get());
        let force = sign * (bound(self.rates) * scored.nearness - bound(self.burden) * scored.below);
        if self.shift == 0.0 { force } else { force + shift_force(scored, sign * self.shift) }
    }
}

/// Returns the force on a score that shifts a group's log-odds: records of one label count
/// `exp(shift)` times (prior shift, Elkan 2001).
fn shift_force(scored: &Scored, shift: f32) -> f32 {
    let excess = libm::expf(shift.abs().min(LARGEST_SHIFT.get())) - 1.0;
    match (scored.label, shift > 0.0) {
        (true, true) => -excess / scored.current.max(SMALLEST_SCORE.get()),
        (false, false) => excess / (1.0 - scored.current).max(SMALLEST_SCORE.get()),
        _ => 0.0,
    }
}

/// Returns the largest force that the multipliers exert on a record of the group or of the
/// reference.
pub(super) fn largest_force(held: &[(Held, f32)], multipliers: &[f32; HELD], weights: &[Weights; 2]) -> f32 {
    let mut largest = 0.0_f32;
    for weights in weights {
        for label in [false, true] {
            largest = largest.max(Forces::new(held, multipliers, weights, label).largest());
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log-odds shift by as much as the weight of the records of one label grows.
    #[test]
    fn a_shift_weighs_the_records_of_one_label() {
        let scored = |label| Scored {
            label,
            decisive: 0.25,
            current: 0.25,
            threshold: 0.5,
            nearness: 0.0,
            below: 1.0,
            density: 0.0,
            log_odds: None,
        };
        let log_2 = std::f32::consts::LN_2;
        for (label, shift, expected) in [
            (true, log_2, -4.0),
            (false, log_2, 0.0),
            (true, -log_2, 0.0),
            (false, -log_2, 4.0 / 3.0),
            (true, 0.0, 0.0),
        ] {
            assert!((shift_force(&scored(label), shift) - expected).abs() < 1e-5, "{label} {shift}");
        }
        assert_eq!(shift_force(&scored(true), 1e9), shift_force(&scored(true), LARGEST_SHIFT.get()));
        let forces = Forces { shift: log_2, ..Forces::default() };
        assert!(forces.on(&scored(true), 1.0) < 0.0 && forces.on(&scored(false), -1.0) > 0.0);
    }
}
