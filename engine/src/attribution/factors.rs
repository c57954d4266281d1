//! Exponentials of contributions. The logits of a coalition are sums over features, so their
//! exponentials are products.

use super::{Space, Workspace};
use crate::limits::MAX_LOGIT;
use crate::math::exp2;
use crate::mixture::Term;
use crate::model::Model;
use crate::schema::Feature;

/// The factors of a feature or a player for each expert's pair of exponentials, `[2^u_k, 2^-z_k]`.
/// Only the first K are used.
pub(super) type Factors<const EXPERTS: usize> = [[f32; 2]; EXPERTS];

/// One player of a game: a feature, or a group of features, whose values differ between the record
/// and the background record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Player<const EXPERTS: usize> {
    /// The index of its value in the attribution.
    pub index: u16,
    /// The factors with the values of the background record.
    pub absent: Factors<EXPERTS>,
    /// The factors with the values of the record.
    pub present: Factors<EXPERTS>,
}

impl<const EXPERTS: usize> Player<EXPERTS> {
    pub const NONE: Self = Self { index: 0, absent: [[1.0; 2]; EXPERTS], present: [[1.0; 2]; EXPERTS] };
}

/// Writes the contribution of a feature's terms to each logit.
pub(super) fn contributions<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    feature: &Feature,
    terms: &[Term],
    lanes: &mut [f32],
) {
    lanes.fill(0.0);
    for term in terms.get(feature.term_range()).unwrap_or_default() {
        for (lane, weight) in lanes.iter_mut().zip(model.row(term.row)) {
            *lane += term.scale * weight;
        }
    }
}

/// Writes the factors of logits: gate lanes, then expert lanes.
pub(super) fn factors(lanes: &[f32], experts: usize, to: &mut [[f32; 2]]) {
    let (gate, outputs) = lanes.split_at_checked(experts).unwrap_or_default();
    for ((to, u), z) in to.iter_mut().zip(gate).zip(outputs) {
        *to = [exp2(*u), exp2(-*z)];
    }
}

/// Multiplies factors by others.
#[inline(always)]
pub(super) fn multiply(factors: &mut [[f32; 2]], by: &[[f32; 2]]) {
    for (factor, by) in factors.as_flattened_mut().iter_mut().zip(by.as_flattened()) {
        *factor *= by;
    }
}

impl<const FEATURES: usize, const EXPERTS: usize> Workspace<FEATURES, EXPERTS> {
    /// Computes the factors of a record, feature by feature, and those of the bias.
    pub(super) fn take_record(&mut self, model: &Model<'_, FEATURES, EXPERTS>, terms: &[Term]) {
        factors(model.bias, model.experts(), &mut self.bias);
        take(model, terms, &mut self.record);
    }

    /// Sets up the game of the record against a background record: the players that differ, and the
    /// product of the factors of all others. `stored` has the factors of the background record, or
    /// is empty.
    ///
    /// A feature with the same value in both has the Shapley value 0 exactly and is not a player.
    /// Neither is a feature whose values have the same factors, if factors are accurate (see
    /// [`is_held`]).
    pub(super) fn set_up(
        &mut self,
        model: &Model<'_, FEATURES, EXPERTS>,
        terms: &[Term],
        background: &[Term],
        stored: &[[f32; 2]],
        player_of: Option<&[u16]>,
        is_held: bool,
    ) -> usize {
        let experts = model.experts();
        if stored.is_empty() {
            take(model, background, &mut self.other);
        }
        self.common = self.bias;
        let mut stored = stored.chunks_exact(experts.max(1));
        let (mut count, features) = (0_usize, model.layout().features().iter());
        for ((index, feature), (present, other)) in (0_u16..).zip(features).zip(self.record.iter().zip(&self.other)) {
            let absent = stored.next().unwrap_or_else(|| other.get(..experts).unwrap_or(other));
            let present = present.get(..experts).unwrap_or(present);
            let is_same = terms.get(feature.term_range()) == background.get(feature.term_range());
            if is_same || (is_held && present == absent) {
                multiply(&mut self.common, present);
                continue;
            }
            let index = player(player_of, index);
            let known = match player_of {
                Some(_) => self.players.iter_mut().take(count).find(|player| player.index == index),
                None => None,
            };
            if let Some(player) = known {
                multiply(&mut player.present, present);
                multiply(&mut player.absent, absent);
            } else if let Some(player) = self.players.get_mut(count) {
                player.index = index;
                copy(&mut player.present, present);
                copy(&mut player.absent, absent);
                count = count.wrapping_add(1);
            }
        }
        count
    }
}

fn take<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    terms: &[Term],
    to: &mut [Factors<EXPERTS>; FEATURES],
) {
    let mut lanes = [[0.0; EXPERTS]; 2];
    for (feature, to) in model.layout().features().iter().zip(to) {
        contributions(model, feature, terms, model.row_of(lanes.as_flattened_mut()));
        factors(lanes.as_flattened(), model.experts(), to);
    }
}

fn copy(to: &mut [[f32; 2]], from: &[[f32; 2]]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Returns the player that a feature belongs to.
pub(super) fn player(player_of: Option<&[u16]>, feature: u16) -> u16 {
    player_of.and_then(|players| players.get(usize::from(feature)).copied()).unwrap_or(feature)
}

/// Returns whether the value of every coalition can be computed from f32 factors. For log-odds,
/// which need both p and `1 - p`, the range is half as large.
pub(super) fn is_held<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    terms: &[Term],
    background: &[Term],
    space: Space,
) -> bool {
    match space {
        Space::Probability => model.bounded() || is_within(model, terms, background, MAX_LOGIT),
        Space::LogOdds => is_within(model, terms, background, MAX_LOGIT / 2.0),
    }
}

/// Returns whether no logit, for any mixture of the features of both records, exceeds `limit` in
/// magnitude, nor any partial sum.
pub(super) fn is_within<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    terms: &[Term],
    background: &[Term],
    limit: f32,
) -> bool {
    let (mut reach, mut lanes) = ([[0.0_f32; EXPERTS]; 2], [[[0.0; EXPERTS]; 2]; 2]);
    for (reach, bias) in reach.as_flattened_mut().iter_mut().zip(model.bias) {
        *reach = bias.abs();
    }
    let [record, other] = &mut lanes;
    for feature in model.layout().features() {
        contributions(model, feature, terms, model.row_of(record.as_flattened_mut()));
        contributions(model, feature, background, model.row_of(other.as_flattened_mut()));
        let lanes = record.as_flattened().iter().zip(other.as_flattened());
        for (reach, (a, b)) in reach.as_flattened_mut().iter_mut().zip(lanes) {
            *reach += if a.abs() > b.abs() { a.abs() } else { b.abs() };
        }
    }
    reach.as_flattened().iter().all(|reach| *reach <= limit)
}
