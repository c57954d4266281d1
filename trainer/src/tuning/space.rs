//! The options in which candidates differ, and the values that are drawn for each.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng as _;

use super::{JudgedOn, Plan};
use crate::learner::{Growth, Loss};
use crate::random::below;
use crate::training::config::Config;

/// The options that are not drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // one per option
pub struct Fixed {
    /// Number of bins per number.
    pub bins: bool,
    /// Step size.
    pub lr: bool,
    /// Maximum number of experts.
    pub experts: bool,
    /// When an expert is added.
    pub grow: bool,
    /// The loss.
    pub loss: bool,
    /// Number of passes over the data.
    pub epochs: bool,
    /// Whether rows are shuffled.
    pub shuffle: bool,
}

/// Bins: from few enough for a small device to finer than most numbers need.
const BINS: [usize; 5] = [16, 32, 64, 128, 256];
/// Step sizes around the default, 0.2.
const RATES: [f32; 7] = [0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8];
/// Maximum numbers of experts; `None`: as many as improve the model.
const EXPERTS: [Option<usize>; 6] = [None, Some(1), Some(2), Some(4), Some(8), Some(12)];
/// Rows between two new experts; 0: only at drifts.
const EVERY: [u64; 5] = [0, 250, 500, 1_000, 4_000];
/// Numbers of passes; `None`: until the log-loss stops falling.
const EPOCHS: [Option<u32>; 6] = [Some(1), Some(2), Some(3), Some(5), Some(8), None];
/// Targets during learning, as multiples of the requested ones. A target that is met with a margin
/// is more likely to be met on other rows too.
const TIGHTER: [f32; 4] = [1.0, 0.85, 0.7, 0.5];

/// Draws the candidates of a plan, all different. The first one is `plan.base`.
pub fn candidates(plan: &Plan) -> Vec<Config> {
    let mut random = Pcg64Mcg::seed_from_u64(plan.seed);
    let mut candidates = vec![plan.base.clone()];
    // If few options are drawn, there may be fewer different candidates than requested.
    for _ in 0..plan.candidates * 20 {
        if candidates.len() >= plan.candidates.max(1) {
            break;
        }
        let candidate = draw(plan, &mut random);
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates
}

fn draw(plan: &Plan, random: &mut Pcg64Mcg) -> Config {
    let Plan { base, fixed, judged_on, .. } = plan;
    let mut config = base.clone();
    // Every option is drawn, even if it is fixed: fixing one does not change the others.
    let bins = one_of(&BINS, random);
    let rate = one_of(&RATES, random);
    let experts = one_of(&EXPERTS, random);
    let every = one_of(&EVERY, random);
    let loss = if below(6, random) == 0 { Loss::Competitive } else { Loss::Nll };
    let epochs = one_of(&EPOCHS, random);
    let shuffle = below(3, random) == 0;
    let tighter = one_of(&TIGHTER, random);
    if !fixed.bins {
        config.bins = bins;
    }
    if !fixed.lr {
        config.lr = rate;
    }
    if !fixed.experts {
        config.experts = experts;
    }
    if !fixed.grow {
        config.grow = Growth { every, ..Growth::default() };
    }
    if !fixed.loss {
        config.loss = loss;
    }
    // Measures of the stream are those of a single pass in order, and delayed labels allow nothing
    // else.
    if !matches!(judged_on, JudgedOn::Stream) && base.label_delay == 0 {
        if !fixed.epochs {
            config.epochs = epochs;
        }
        if !fixed.shuffle {
            config.shuffle = shuffle;
        }
    }
    for (measure, limit) in &mut config.fair {
        // For a ratio, the distance to 1 shrinks.
        *limit = match measure.allowance(*limit) {
            allowed if allowed == *limit => allowed * tighter,
            allowed => 1.0 - allowed * tighter,
        };
    }
    config
}

fn one_of<T: Copy>(choices: &[T], random: &mut Pcg64Mcg) -> T {
    choices[below(choices.len() as u64, random) as usize]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use feamoe_engine::fairness::Measure;

    use super::super::Objective;
    use super::*;

    fn plan(fixed: Fixed, judged_on: JudgedOn) -> Plan {
        let base = Config { fair: vec![(Measure::Spd, 0.05), (Measure::Impact, 0.8)], ..Config::default() };
        Plan {
            base,
            fixed,
            candidates: 200,
            seed: 3,
            judged_on,
            repeats: 1,
            objective: Objective::LogLoss,
            deadline: None,
        }
    }

    #[test]
    fn candidates_differ_hold_what_is_fixed_and_are_options_of_a_run() {
        let free = plan(Fixed::default(), JudgedOn::HeldOut(0.2));
        let drawn = candidates(&free);
        assert_eq!((drawn.len(), &drawn[0]), (200, &free.base));
        assert!(drawn.iter().enumerate().all(|(index, a)| !drawn[..index].contains(a)));
        for config in &drawn {
            config.options().unwrap();
            assert!(config.fair[0].1 <= 0.05 && config.fair[0].1 > 0.02);
            assert!(config.fair[1].1 >= 0.8 && config.fair[1].1 <= 0.9);
        }
        assert!(drawn.iter().any(|config| config.epochs != Some(1)) && drawn.iter().any(|config| config.shuffle));
        let fixed = candidates(&plan(Fixed { bins: true, lr: true, ..Fixed::default() }, JudgedOn::Stream));
        assert!(fixed.iter().all(|config| config.bins == free.base.bins && config.lr == free.base.lr));
        assert!(fixed.iter().all(|config| config.epochs == Some(1) && !config.shuffle));
        let all = Fixed { bins: true, lr: true, experts: true, grow: true, loss: true, epochs: true, shuffle: true };
        assert!(candidates(&plan(all, JudgedOn::Stream)).len() <= TIGHTER.len());
    }
}
