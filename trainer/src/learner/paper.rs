//! The fairness of the FEAMOE paper: penalties on single decisions that weigh more with every
//! expert (section 3.1, Algorithm 1).
//!
//! Per record, with `yhat` the decision of the weights being trained, `u` any unprivileged group
//! and `r` the reference of its attribute:
//!
//! ```text
//! E_spd    = [u, yhat=0] sum_k g_k (1 - o_k)^2 + [r, yhat=1] sum_k g_k o_k^2
//! E_aod    = the same, times the weight N / (C N_ay) of the record's cell: group a, label y
//! E_burden = [u, yhat=0] (threshold - p)
//! E        = E_acc + lambda (E_spd + E_aod + E_burden)          lambda = increment (experts - 1)
//! ```
//!
//! The first expert learns for accuracy alone, each one added raises lambda by the increment. The
//! cells' weights, with C cells and N records of the attribute so far, give every cell the same say
//! in the error rates; for two groups it is the paper's `N / (4 N_ay)`.
//!
//! - *Several groups*: every unprivileged group is `u`, each a pair of cells of its own.
//! - *Several attributes*: their penalties add up; a record without a group in one gets none from
//!   it.
//!
//! *Limits:* penalties push one way, also past parity, and no gap is named: which increment gives
//! which gap is found by trying. Targets (`control`) do not have this limit. *Cost:* a few
//! operations a record and attribute, 16 bytes a group.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::encoder::NO_GROUP;
use crate::rows::GroupMap;

/// Largest weight of a cell. A rarer one counts as 1 % of two groups: the first record of a group
/// in a million would otherwise undo what was learned.
const LARGEST_CELL_WEIGHT: f32 = 25.0;

/// The penalties that are added to the accuracy loss; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Penalties {
    /// Statistical parity (FEAMOE1).
    pub spd: bool,
    /// Average odds (FEAMOE2).
    pub aod: bool,
    /// Burden (FEAMOE3).
    pub burden: bool,
}

impl Penalties {
    /// All of them: the regime FEAMOE.
    pub const ALL: Self = Self { spd: true, aod: true, burden: true };
    /// None of them: the regime MOE.
    pub const NONE: Self = Self { spd: false, aod: false, burden: false };

    fn get_mut(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "spd" => Some(&mut self.spd),
            "aod" => Some(&mut self.aod),
            "burden" => Some(&mut self.burden),
            _ => None,
        }
    }
}

impl fmt::Display for Penalties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("spd", self.spd), ("aod", self.aod), ("burden", self.burden)];
        let names: Vec<&str> = named.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        f.write_str(if names.is_empty() { "none".to_owned() } else { names.join(",") }.as_str())
    }
}

/// Why a list of penalties was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PenaltiesError {
    /// No such penalty.
    #[error("found penalty `{0}`, expected some of spd,aod,burden, or none")]
    Unknown(String),
    /// A penalty named again.
    #[error("{0} is named twice")]
    Twice(String),
}

impl FromStr for Penalties {
    type Err = PenaltiesError;

    /// Reads a list such as `spd,burden`, or `none`.
    fn from_str(text: &str) -> Result<Self, PenaltiesError> {
        let mut penalties = Self::NONE;
        if text.trim() == "none" {
            return Ok(penalties);
        }
        for name in text.split(',').map(str::trim) {
            let penalty = penalties.get_mut(name).ok_or_else(|| PenaltiesError::Unknown(name.to_owned()))?;
            if std::mem::replace(penalty, true) {
                return Err(PenaltiesError::Twice(name.to_owned()));
            }
        }
        Ok(penalties)
    }
}

/// What the penalties ask of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pull {
    /// Weight of the competitive loss towards the decision that the record did not get.
    pub squares: f32,
    /// What to add to `dE/dp`.
    pub force: f32,
}

/// The penalties of a learner with what they count.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Paper {
    penalties: Penalties,
    increment: f32,
    /// Records by attribute, group and label.
    cells: Vec<Vec<[u64; 2]>>,
}

impl Paper {
    pub(super) fn new(penalties: Penalties, increment: f32, attributes: usize) -> Self {
        Self { penalties, increment, cells: vec![Vec::new(); attributes] }
    }

    /// Returns whether a stored state can be one that was made of these.
    pub(super) fn is_sound(&self, penalties: Penalties, increment: f32, attributes: usize) -> bool {
        self.penalties == penalties && self.increment == increment && self.cells.len() == attributes
    }

    /// Returns the number of protected attributes.
    pub(super) fn attributes(&self) -> usize {
        self.cells.len()
    }

    /// Returns that of all records of several of the same penalties, whose groups are united.
    pub(super) fn merge(parts: &[(&Self, &GroupMap)]) -> Option<Self> {
        let (first, _) = parts.first()?;
        let mut merged = Self::new(first.penalties, first.increment, first.cells.len());
        for (part, groups) in parts {
            for (attribute, (cells, more)) in merged.cells.iter_mut().zip(&part.cells).enumerate() {
                let more = groups.spread(attribute, more);
                if cells.len() < more.len() {
                    cells.resize(more.len(), [0; 2]);
                }
                cells
                    .iter_mut()
                    .flatten()
                    .zip(more.iter().flatten())
                    .for_each(|(cell, more)| *cell = cell.saturating_add(*more));
            }
        }
        Some(merged)
    }

    /// Takes note of a record and returns what its penalties ask, with this number of experts.
    #[allow(clippy::cast_precision_loss)] // experts and shares need no more than 24 bits
    pub(super) fn observe(&mut self, groups: &[u8], label: bool, decision: bool, experts: usize) -> Pull {
        let mut pull = Pull::default();
        if self.penalties == Penalties::NONE {
            return pull;
        }
        let lambda = self.increment * (experts.saturating_sub(1)) as f32;
        for (cells, group) in self.cells.iter_mut().zip(groups).filter(|(_, group)| **group != NO_GROUP) {
            let weight = count(cells, usize::from(*group), label);
            let is_reference = *group == 0;
            // The reference accepted, any other group declined: the decisions that a gap is made
            // of.
            if decision != is_reference {
                continue;
            }
            if self.penalties.spd {
                pull.squares += lambda;
            }
            if self.penalties.aod {
                pull.squares += lambda * weight;
            }
            if self.penalties.burden && !is_reference {
                pull.force -= lambda;
            }
        }
        pull
    }
}

/// Counts a record in its cell and returns the cell's weight.
#[allow(clippy::cast_precision_loss)]
fn count(cells: &mut Vec<[u64; 2]>, group: usize, label: bool) -> f32 {
    if cells.len() <= group {
        cells.resize(group + 1, [0; 2]);
    }
    let mut own = 0;
    if let Some(cell) = cells.get_mut(group).and_then(|cells| cells.get_mut(usize::from(label))) {
        *cell += 1;
        own = *cell;
    }
    let all: u64 = cells.iter().flatten().sum();
    (all as f32 / (2 * cells.len()) as f32 / own as f32).min(LARGEST_CELL_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: f32 = 0.02;

    fn only(name: &str) -> Paper {
        Paper::new(name.parse().unwrap_or_default(), ONE, 1)
    }

    #[test]
    fn lists_are_read_as_they_are_printed() {
        for text in ["none", "spd", "spd,burden", "spd,aod,burden"] {
            assert_eq!(text.parse::<Penalties>().map(|p| p.to_string()).as_deref(), Ok(text));
        }
        let message = |text: &str| text.parse::<Penalties>().map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(message("eodds"), "found penalty `eodds`, expected some of spd,aod,burden, or none");
        assert_eq!(message("spd,spd"), "spd is named twice");
    }

    #[test]
    fn only_decisions_that_widen_the_gap_are_penalised() {
        let pull = |squares, force| Pull { squares, force };
        for (group, decision, spd, burden) in [
            (0, false, 0.0, 0.0),
            (0, true, ONE, 0.0), // the reference accepted
            (1, false, ONE, -ONE),
            (2, false, ONE, -ONE), // every other group is unprivileged
            (1, true, 0.0, 0.0),
            (NO_GROUP, true, 0.0, 0.0),
        ] {
            assert_eq!(only("spd").observe(&[group], true, decision, 2), pull(spd, 0.0), "{group} {decision}");
            assert_eq!(only("burden").observe(&[group], true, decision, 2), pull(0.0, burden), "{group} {decision}");
        }
    }

    #[test]
    fn the_first_expert_has_no_penalty_and_each_added_one_raises_it() {
        for (experts, expected) in [(1, 0.0), (2, ONE), (5, 4.0 * ONE)] {
            assert_eq!(only("spd").observe(&[1], false, false, experts).squares, expected);
        }
    }

    /// Over a stream, the weighted records of each cell have the same sum.
    #[test]
    fn every_cell_of_average_odds_has_the_same_say() {
        let mut paper = only("aod");
        let records = |paper: &mut Paper| {
            for i in 0..1000 {
                let group = u8::from(i % 5 == 0);
                let _ = paper.observe(&[group], i % 4 == 0, true, 2);
            }
        };
        records(&mut paper);
        // 50 of the 1,000 are of group 1 and positive: 1000 / (4 * 50) = 5; 600 of group 0 and
        // negative.
        let rare = paper.clone().observe(&[1], true, false, 2).squares;
        assert!((rare - ONE * 5.0).abs() < 0.03 * rare, "{rare}");
        let common = paper.observe(&[0], false, true, 2).squares;
        assert!((common - ONE * 1000.0 / 2400.0).abs() < 0.03 * common, "{common}");
        // A cell of one in a thousand has the largest weight, no more.
        let first = paper.observe(&[2], true, false, 2).squares;
        assert!((first - ONE * LARGEST_CELL_WEIGHT).abs() < 1e-6, "{first}");
    }

    #[test]
    fn penalties_of_several_attributes_add_up() {
        let mut paper = Paper::new(Penalties { spd: true, ..Penalties::NONE }, ONE, 3);
        assert_eq!(paper.observe(&[1, 2, 0], true, false, 2).squares, 2.0 * ONE);
        assert_eq!(paper.observe(&[1, NO_GROUP, 0], true, true, 2).squares, ONE);
    }
}
