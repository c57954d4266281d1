//! Summarises the state of the controllers for the report on the targets: which targets oppose each
//! other, and whether the forces are at their bound.

use feamoe_engine::fairness::{Measure, Rates};

use super::{Controller, Held, LARGEST_FORCE, Pair, largest_force};

/// An opposite push counts as a conflict from this share of the target's own push on.
const OPPOSITION: f32 = 0.2;
/// The largest force counts as reached from this share of it on.
const AT_LIMIT: f32 = 0.98;

/// How a target is being held for a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steering {
    /// The measure whose target widens this gap most, if that is large against the own target's
    /// push.
    pub opposed_by: Option<Measure>,
    /// Whether the group's forces are at their bound.
    pub at_limit: bool,
}

impl Controller {
    /// Returns how the controllers of a measure steer a group, by index of attribute and group.
    /// `targets` are the targets that the controllers were made with.
    pub(in super::super) fn steering(
        &self,
        measure: Measure,
        [attribute, group]: [usize; 2],
        targets: &[(Measure, f32)],
    ) -> Steering {
        let attribute = self.attributes.get(attribute);
        match attribute.and_then(|a| Some((a.groups.get(group)?, a.groups.get(0)?, a.pairs.get(group)?))) {
            Some((u, r, pair)) => {
                let (opposed_by, at_limit) = pair.steering(measure, &self.held, [&u.rates(), &r.rates()]);
                let is_held_for =
                    |(measure, _): &&(Measure, f32)| opposed_by.is_some_and(|kind| Held::of(*measure).contains(&kind));
                Steering { opposed_by: targets.iter().find(is_held_for).map(|(measure, _)| *measure), at_limit }
            }
            None => Steering::default(),
        }
    }
}

impl Pair {
    /// Summarises the state for a measure: see [`Steering`].
    fn steering(&self, measure: Measure, held: &[(Held, f32)], [u, r]: [&Rates; 2]) -> (Option<Held>, bool) {
        let of_measure = Held::of(measure);
        let push = |gap: usize, force: usize| self.gains[gap][force] * self.multipliers[force];
        let (mut opposed_by, mut strongest) = (None, 0.0);
        for (i, (kind, _)) in held.iter().enumerate().filter(|(_, (kind, _))| of_measure.contains(kind)) {
            // The side that is being pushed back: the sign of the multiplier or, without a
            // multiplier, of the gap.
            let side = if self.multipliers[i] == 0.0 { kind.gap(u, r) } else { self.multipliers[i] };
            for (j, (other, _)) in held.iter().enumerate().filter(|(_, (other, _))| !of_measure.contains(other)) {
                let against = -push(i, j) * side.signum();
                if against > OPPOSITION * push(i, i).abs() && against > strongest {
                    strongest = against;
                    opposed_by = Some(*other);
                }
            }
        }
        let largest = largest_force(held, &self.multipliers, &self.weights);
        (opposed_by, largest >= AT_LIMIT * LARGEST_FORCE.get())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scored;
    use super::*;

    #[test]
    fn a_target_is_opposed_by_the_force_that_widens_its_gap() {
        let held = [(Held::Spd, 0.02), (Held::Aod, 0.02), (Held::Burden, 0.02)];
        let mut pair = Pair { multipliers: [1.0, -0.5, 0.0, 0.0, 0.0, 0.0], ..Pair::default() };
        pair.gains[0][..3].copy_from_slice(&[1.0, 0.8, 0.3]);
        pair.gains[1][..3].copy_from_slice(&[0.15, 1.0, 0.0]);
        pair.gains[2][..3].copy_from_slice(&[0.5, 0.0, 1.0]);
        let rates = |burden| Rates {
            positive: 0.5,
            true_positive: 0.5,
            false_positive: 0.5,
            burden,
            recourse_burden: f32::NAN,
        };
        let opposed = |measure, gap: f32| pair.steering(measure, &held, [&rates(0.2 + gap), &rates(0.2)]).0;
        assert_eq!(opposed(Measure::Spd, 0.0), Some(Held::Aod), "0.4 outwards against 1 inwards");
        assert_eq!(opposed(Measure::Aod, 0.0), Some(Held::Spd), "0.15 outwards against 0.5");
        // Burden has no multiplier, so the sign of its gap decides.
        assert_eq!(opposed(Measure::Burden, -0.1), Some(Held::Spd));
        assert_eq!(opposed(Measure::Burden, 0.1), None, "the SPD force narrows it");
        assert_eq!(opposed(Measure::Eopp, 0.0), None, "not held");
    }

    #[test]
    fn what_opposes_is_named_as_the_target_was() {
        for named in [Measure::Eodds, Measure::Eopp] {
            let targets = [(Measure::Spd, 0.02), (named, 0.02)];
            let mut controller = Controller::new(&targets, 1);
            let scored = Scored {
                label: true,
                decisive: 0.5,
                current: 0.5,
                threshold: 0.5,
                nearness: 1.0,
                below: 0.0,
                density: 1.0,
                log_odds: None,
            };
            for group in [0, 1] {
                let _ = controller.attributes[0].observe(group, &scored, (1, 1.0), (&controller.held, None));
            }
            let pair = &mut controller.attributes[0].pairs[1];
            pair.multipliers[..2].copy_from_slice(&[1.0, -1.0]);
            pair.gains[0][..2].copy_from_slice(&[1.0, 1.0]);
            assert_eq!(controller.steering(Measure::Spd, [0, 1], &targets).opposed_by, Some(named));
            assert_eq!(controller.steering(Measure::Spd, [0, 7], &targets), Steering::default(), "no such group");
        }
    }

    #[test]
    fn forces_at_their_bound_are_reported() {
        let held = [(Held::Spd, 0.02)];
        let mut pair = Pair::default();
        pair.weights[1][0] = [0.5, 0.25];
        let rates =
            Rates { positive: 0.5, true_positive: 0.5, false_positive: 0.5, burden: 0.1, recourse_burden: f32::NAN };
        for (multiplier, at_limit) in [(1.9 * LARGEST_FORCE.get(), false), (-2.0 * LARGEST_FORCE.get(), true)] {
            pair.multipliers[0] = multiplier;
            assert_eq!(pair.steering(Measure::Spd, &held, [&rates, &rates]).1, at_limit);
        }
    }
}
