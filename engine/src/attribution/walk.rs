//! Evaluates coalitions one by one in f64 from their logits, if f32 products could overflow, and
//! for values at single points.
//!
//! The largest gate logit is subtracted and probabilities are never formed from logarithms out of
//! range, so logits up to [`crate::limits::MAX_REACH`] are evaluated. About twenty times slower
//! than a [tile](super::tile).

use super::Space;
use super::factors::{is_within, player};
use crate::mixture::Term;
use crate::model::Model;
use crate::schema::Feature;

const LN_2: f64 = core::f64::consts::LN_2;
/// A gate logit this far below the largest, in log2 units, contributes less than f64 resolves.
const NEGLIGIBLE: f64 = -60.0;

/// Up to this sum of contributions, in log2 units, the contributions of a player are added and
/// subtracted again; f64 then keeps 2^-22 of a unit. Beyond it, logits are summed again.
const CHANGEABLE: f32 = 1_073_741_824.0;

/// A coalition as its logits: those of the background record, with the players that have joined
/// replaced.
pub(super) struct Walk<'w, const FEATURES: usize, const EXPERTS: usize> {
    model: &'w Model<'w, FEATURES, EXPERTS>,
    record: &'w [Term],
    background: &'w [Term],
    player_of: Option<&'w [u16]>,
    is_changeable: bool,
    /// Whether each feature has the record's value.
    joined: [bool; FEATURES],
    logits: [[f64; EXPERTS]; 2],
}

impl<'w, const FEATURES: usize, const EXPERTS: usize> Walk<'w, FEATURES, EXPERTS> {
    /// Starts with the empty coalition.
    pub fn new(
        model: &'w Model<'w, FEATURES, EXPERTS>,
        record: &'w [Term],
        background: &'w [Term],
        player_of: Option<&'w [u16]>,
    ) -> Self {
        let is_changeable = model.bounded() || is_within(model, record, background, CHANGEABLE);
        let (joined, logits) = ([false; FEATURES], [[0.0; EXPERTS]; 2]);
        let mut walk = Self { model, record, background, player_of, is_changeable, joined, logits };
        walk.restart();
        walk
    }

    /// Restarts with the empty coalition.
    pub fn restart(&mut self) {
        self.joined.fill(false);
        self.sum_up();
    }

    /// Lets a player join, or leave.
    pub fn change(&mut self, index: u16, joins: bool) {
        let scale = if joins { 1.0 } else { -1.0 };
        let features = self.model.layout().features();
        for (number, feature) in (0_u16..).zip(features) {
            if player(self.player_of, number) != index {
                continue;
            }
            self.joined.get_mut(usize::from(number)).into_iter().for_each(|joined| *joined = joins);
            let (record, background) = (terms_of(feature, self.record), terms_of(feature, self.background));
            if self.is_changeable && record != background {
                self.add(record, scale);
                self.add(background, -scale);
            }
        }
        if !self.is_changeable {
            self.sum_up();
        }
    }

    /// Sums the logits up, feature by feature.
    fn sum_up(&mut self) {
        for (logit, bias) in self.logits.as_flattened_mut().iter_mut().zip(self.model.bias) {
            *logit = f64::from(*bias);
        }
        let joined = self.joined;
        for (feature, joined) in self.model.layout().features().iter().zip(joined) {
            self.add(terms_of(feature, if joined { self.record } else { self.background }), 1.0);
        }
    }

    fn add(&mut self, terms: &[Term], scale: f64) {
        for term in terms {
            for (logit, weight) in self.logits.as_flattened_mut().iter_mut().zip(self.model.row(term.row)) {
                *logit += scale * f64::from(term.scale) * f64::from(*weight);
            }
        }
    }

    /// Evaluates the coalition.
    pub fn value(&self, space: Space) -> f64 {
        let lanes = self.logits.as_flattened().iter();
        let mixture = || lanes.clone().zip(lanes.clone().skip(self.model.experts())).take(self.model.experts());
        match space {
            Space::Probability => {
                let largest = mixture().fold(f64::MIN, |largest, (u, _)| larger(largest, *u));
                let (mut sum, mut favourable) = (0.0, 0.0);
                for (u, z) in mixture().filter(|(u, _)| **u - largest > NEGLIGIBLE) {
                    let t = libm::exp2(u - largest);
                    sum += t;
                    favourable += t / (1.0 + libm::exp2(-z));
                }
                favourable / sum
            }
            Space::LogOdds => {
                // log2 of the sums of t f and of t (1 - f), from the logarithms of the shares with
                // the largest subtracted.
                let log_sum = |sign: f64| {
                    let shares = || mixture().map(|(u, z)| u - softplus(-sign * z));
                    let largest = shares().fold(f64::MIN, larger);
                    largest + libm::log2(shares().map(|share| libm::exp2(share - largest)).sum())
                };
                LN_2 * (log_sum(1.0) - log_sum(-1.0))
            }
        }
    }
}

fn terms_of<'t>(feature: &Feature, terms: &'t [Term]) -> &'t [Term] {
    terms.get(feature.term_range()).unwrap_or_default()
}

fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Returns `log2(1 + 2^x)` for any x.
fn softplus(x: f64) -> f64 {
    let (above, below) = if x > 0.0 { (x, -x) } else { (0.0, x) };
    above + libm::log1p(libm::exp2(below)) / LN_2
}
