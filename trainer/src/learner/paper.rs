//! The fairness method of the FEAMOE paper: penalties on single decisions whose weight grows with
//! every expert (section 3.1, Algorithm 1).
//!
//! For each record, with `yhat` the decision of the weights being trained, `u` any unprivileged
//! group and `r` the reference group of its attribute:
//!
//! ```text
//! E_spd    = [u, yhat=0] sum_k g_k (1 - o_k)^2 + [r, yhat=1] sum_k g_k o_k^2
//! E_aod    = the same, times the weight N / (C N_ay) of the record's cell: group a, label y
//! E_burden = [u, yhat=0] (threshold - p)
//! E        = E_acc + l1 E_spd + l2 E_aod + l3 E_burden          l = increment (experts - 1)
//! ```
//!
//! The first expert learns for accuracy alone. Each added expert raises the weight of each penalty
//! by its increment. With C cells and N records of the attribute so far, the cells' weights give
//! every cell the same influence on the error rates. For two groups the weight is the paper's
//! `N / (4 N_ay)`.
//!
//! - *Several groups*: every unprivileged group is a `u` with a pair of cells of its own.
//! - *Several attributes* (beyond the paper): the penalties of a record are the mean over the
//!   attributes in which it has a group. A group's penalty applies only while its running rates are
//!   below those of its reference group. The penalty of the reference group is scaled by the share
//!   of the other records whose group is behind it. A sum outweighs the accuracy loss after a few
//!   experts. The mean alone reversed small gaps: women of Diabetes-130 were selected 2.5 times as
//!   often as men (without penalties 1.1 times). Penalising the reference group in full while any
//!   group is behind lets the noise in the smallest groups decide.
//!
//! *Limits:* penalties push in one direction, even past parity, and no gap can be set: the
//! increment for a wanted gap has to be found by trying. Targets (`control`) do not have this
//! limit. *Cost:* a few operations per record and attribute, 16 bytes per group.

use crate::tuned::{Tuned, tuned};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::encoder::NO_GROUP;
use crate::rows::GroupMap;

/// Largest weight of a cell: a rarer cell counts as 1 % of two groups. Otherwise the first record
/// of a group in a million would undo what was learned.
static LARGEST_CELL_WEIGHT: Tuned<f32> = tuned!(25.0);

/// Step of the running rates, which cover about the last 500 records of a cell.
static FADING: Tuned<f32> = tuned!(0.002);

/// The penalties that are added to the accuracy loss, none by default. Each has an increment, by
/// which every added expert raises the penalty's weight: above 0 and at most
/// [`Penalties::LARGEST_INCREMENT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Penalties {
    /// Statistical parity (FEAMOE1).
    pub spd: Option<f32>,
    /// Average odds (FEAMOE2).
    pub aod: Option<f32>,
    /// Burden (FEAMOE3).
    pub burden: Option<f32>,
}

impl Penalties {
    /// The default increment: the one the paper uses on Adult.
    pub const INCREMENT: f32 = 0.02;
    /// The largest increment. Above it the paper found models of poor accuracy (A.3).
    pub const LARGEST_INCREMENT: f32 = 0.1;
    /// All penalties at the default increment: the regime FEAMOE.
    pub const ALL: Self =
        Self { spd: Some(Self::INCREMENT), aod: Some(Self::INCREMENT), burden: Some(Self::INCREMENT) };
    /// No penalties: the regime MOE.
    pub const NONE: Self = Self { spd: None, aod: None, burden: None };

    /// Returns the names with their increments, in a fixed order.
    fn named(&self) -> [(&'static str, Option<f32>); 3] {
        [("spd", self.spd), ("aod", self.aod), ("burden", self.burden)]
    }

    /// Returns the increments, in the order of the fields.
    pub(super) fn increments(&self) -> impl Iterator<Item = f32> {
        self.named().into_iter().filter_map(|(_, increment)| increment)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Option<f32>> {
        match name {
            "spd" => Some(&mut self.spd),
            "aod" => Some(&mut self.aod),
            "burden" => Some(&mut self.burden),
            _ => None,
        }
    }

    /// Returns the increments of the penalties, in the form that [`Increment`] reads.
    #[must_use]
    pub fn increment(&self) -> Increment {
        match self.increments().next() {
            Some(first) if self.increments().any(|other| other != first) => Increment::Each(*self),
            first => Increment::Same(first.unwrap_or(Self::INCREMENT)),
        }
    }

    /// Returns the same penalties with these increments.
    ///
    /// # Errors
    /// [`PenaltiesError::OtherNames`] if the increments name other penalties.
    pub fn with(self, increment: Increment) -> Result<Self, PenaltiesError> {
        match increment {
            Increment::Same(same) => {
                let [spd, aod, burden] = self.named().map(|(_, penalty)| penalty.map(|_| same));
                Ok(Self { spd, aod, burden })
            }
            Increment::Each(each) if each.to_string() == self.to_string() => Ok(each),
            Increment::Each(each) => {
                Err(PenaltiesError::OtherNames { found: each.to_string(), expected: self.to_string() })
            }
        }
    }
}

impl fmt::Display for Penalties {
    /// Writes the names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            self.named().into_iter().filter_map(|(name, increment)| increment.map(|_| name)).collect();
        f.write_str(if names.is_empty() { "none".to_owned() } else { names.join(",") }.as_str())
    }
}

/// By how much every added expert raises the weight of the penalties: one number for all, or one
/// for each, such as `spd=0.02,aod=0.01`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Increment {
    /// The same for every penalty.
    Same(f32),
    /// One for each enabled penalty.
    Each(Penalties),
}

impl fmt::Display for Increment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(same) => same.fmt(f),
            Self::Each(each) => {
                let each = each.named().into_iter().filter_map(|(name, one)| Some(format!("{name}={}", one?)));
                f.write_str(&each.collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl FromStr for Increment {
    type Err = PenaltiesError;

    fn from_str(text: &str) -> Result<Self, PenaltiesError> {
        let number = |text: &str| {
            let number = text.trim().parse::<f32>();
            number.map_err(|_| PenaltiesError::NoIncrement(text.trim().to_owned()))
        };
        if !text.contains('=') {
            return number(text).map(Self::Same);
        }
        let mut each = Penalties::NONE;
        for entry in text.split(',') {
            let (name, one) =
                entry.split_once('=').ok_or_else(|| PenaltiesError::NoIncrement(entry.trim().to_owned()))?;
            each.set(name.trim(), number(one)?)?;
        }
        Ok(Self::Each(each))
    }
}

/// Why a list of penalties, or of their increments, could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PenaltiesError {
    /// The penalty does not exist.
    #[error("found penalty `{0}`, expected any of spd,aod,burden, or none")]
    Unknown(String),
    /// A penalty is named twice.
    #[error("{0} is named twice")]
    Twice(String),
    /// The text is not an increment.
    #[error("found `{0}`, expected a number such as 0.02, or one for each penalty: spd=0.02,aod=0.01")]
    NoIncrement(String),
    /// The increments name other penalties than the enabled ones.
    #[error("increment: found one for {found}, expected one for each of the penalties {expected}")]
    OtherNames {
        /// The penalties that the increments name.
        found: String,
        /// The enabled penalties.
        expected: String,
    },
}

impl FromStr for Penalties {
    type Err = PenaltiesError;

    /// Reads a list such as `spd,burden`, or `none`. Each penalty has the default increment.
    fn from_str(text: &str) -> Result<Self, PenaltiesError> {
        let mut penalties = Self::NONE;
        if text.trim() == "none" {
            return Ok(penalties);
        }
        for name in text.split(',').map(str::trim) {
            penalties.set(name, Self::INCREMENT)?;
        }
        Ok(penalties)
    }
}

impl Penalties {
    /// Sets a penalty that is not set yet.
    fn set(&mut self, name: &str, increment: f32) -> Result<(), PenaltiesError> {
        let penalty = self.get_mut(name).ok_or_else(|| PenaltiesError::Unknown(name.to_owned()))?;
        match penalty.replace(increment) {
            None => Ok(()),
            Some(_) => Err(PenaltiesError::Twice(name.to_owned())),
        }
    }
}

/// The effect of the penalties on one record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pull {
    /// Weight of the competitive loss towards the decision that the record did not get.
    pub squares: f32,
    /// What to add to `dE/dp`.
    pub force: f32,
}

/// The records of a group with one label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cell {
    records: u64,
    /// Share of favourable decisions, faded.
    rate: f32,
}

impl Cell {
    fn observe(&mut self, decision: bool) {
        self.records += 1;
        let step = FADING.get().max(1.0 / self.records as f32);
        self.rate += step * (f32::from(u8::from(decision)) - self.rate);
    }

    fn merge(&mut self, other: &Self) {
        let records = self.records.saturating_add(other.records);
        let share = other.records as f32 / records.max(1) as f32;
        self.rate += share * (other.rate - self.rate);
        self.records = records;
    }
}

/// Returns the share of favourable decisions in a group, and the sum of the shares at each label:
/// the true plus the false positive rate.
fn rates(cells: &[Cell; 2]) -> [f32; 2] {
    let [unfavourable, favourable] = *cells;
    let records = unfavourable.records as f32 + favourable.records as f32;
    let favoured = unfavourable.records as f32 * unfavourable.rate + favourable.records as f32 * favourable.rate;
    [favoured / records, unfavourable.rate + favourable.rate]
}

/// Returns, for statistical parity and for average odds, the share of the records outside the
/// reference group whose group has a lower rate than it. For a group other than the reference group
/// that is 1 or 0: whether the group itself is behind.
fn behind(cells: &[[Cell; 2]], group: usize) -> [f32; 2] {
    let reference = cells.first().map_or([f32::NAN; 2], rates);
    let (mut behind, mut all) = ([0.0; 2], 0.0);
    for (_, cells) in cells.iter().enumerate().skip(1).filter(|(index, _)| group == 0 || *index == group) {
        let records = cells.iter().map(|cell| cell.records).sum::<u64>() as f32;
        all += records;
        for (behind, (own, reference)) in behind.iter_mut().zip(rates(cells).into_iter().zip(reference)) {
            *behind += if own < reference { records } else { 0.0 };
        }
    }
    behind.map(|behind| if all > 0.0 { behind / all } else { 0.0 })
}

/// The penalties of a learner, with the counts they need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paper {
    penalties: Penalties,
    /// Records by attribute, group and label.
    cells: Vec<Vec<[Cell; 2]>>,
}

impl Paper {
    /// Returns penalties without counts, for this number of protected attributes.
    #[must_use]
    pub fn new(penalties: Penalties, attributes: usize) -> Self {
        Self { penalties, cells: vec![Vec::new(); attributes] }
    }

    /// Returns whether a deserialised state is valid for these penalties and attributes.
    pub(super) fn is_sound(&self, penalties: Penalties, attributes: usize) -> bool {
        self.penalties == penalties && self.cells.len() == attributes
    }

    /// Returns the number of protected attributes.
    pub(super) fn attributes(&self) -> usize {
        self.cells.len()
    }

    /// Returns the counts of all parts together. They have the same penalties; their groups are
    /// united.
    pub(super) fn merge(parts: &[(&Self, &GroupMap)]) -> Option<Self> {
        let (first, _) = parts.first()?;
        let mut merged = Self::new(first.penalties, first.cells.len());
        for (part, groups) in parts {
            for (attribute, (cells, more)) in merged.cells.iter_mut().zip(&part.cells).enumerate() {
                let more = groups.spread(attribute, more);
                if cells.len() < more.len() {
                    cells.resize(more.len(), Default::default());
                }
                cells.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(cell, more)| cell.merge(more));
            }
        }
        Some(merged)
    }

    /// Counts a record and returns the effect of the penalties on it, with this number of experts.
    #[allow(clippy::cast_precision_loss)] // experts and shares need no more than 24 bits
    pub fn observe(&mut self, groups: &[u8], label: bool, decision: bool, experts: usize) -> Pull {
        let mut pull = Pull::default();
        if self.penalties == Penalties::NONE {
            return pull;
        }
        let raised = experts.saturating_sub(1) as f32;
        let weigh = |increment: Option<f32>| increment.unwrap_or_default() * raised;
        let Penalties { spd, aod, burden } = self.penalties;
        let has_several = self.cells.len() > 1;
        let mut attributes = 0;
        for (cells, group) in self.cells.iter_mut().zip(groups).filter(|(_, group)| **group != NO_GROUP) {
            attributes += 1;
            let weight = count(cells, usize::from(*group), label, decision);
            let is_reference = *group == 0;
            // A gap consists of the reference being accepted and any other group being declined.
            // Other decisions have no penalty.
            if decision != is_reference {
                continue;
            }
            let [parity, odds] = if has_several { behind(cells, usize::from(*group)) } else { [1.0; 2] };
            pull.squares += parity * weigh(spd) + odds * weigh(aod) * weight;
            if !is_reference {
                pull.force -= parity * weigh(burden);
            }
        }
        if attributes > 1 {
            pull.squares /= attributes as f32;
            pull.force /= attributes as f32;
        }
        pull
    }
}

/// Counts a record in its cell and returns the cell's weight.
#[allow(clippy::cast_precision_loss)]
fn count(cells: &mut Vec<[Cell; 2]>, group: usize, label: bool, decision: bool) -> f32 {
    if cells.len() <= group {
        cells.resize(group + 1, Default::default());
    }
    let mut own = 0;
    if let Some(cell) = cells.get_mut(group).and_then(|cells| cells.get_mut(usize::from(label))) {
        cell.observe(decision);
        own = cell.records;
    }
    let all: u64 = cells.iter().flatten().map(|cell| cell.records).sum();
    (all as f32 / (2 * cells.len()) as f32 / own as f32).min(LARGEST_CELL_WEIGHT.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: f32 = 0.02;

    fn only(name: &str) -> Paper {
        Paper::new(name.parse().unwrap_or_default(), 1)
    }

    #[test]
    fn lists_are_read_as_they_are_printed() {
        for text in ["none", "spd", "spd,burden", "spd,aod,burden"] {
            assert_eq!(text.parse::<Penalties>().map(|p| p.to_string()).as_deref(), Ok(text));
        }
        let message = |text: &str| text.parse::<Penalties>().map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(message("eodds"), "found penalty `eodds`, expected any of spd,aod,burden, or none");
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
        // Of 1,000 records, 50 are of group 1 with the favourable label: 1000 / (4 * 50) = 5; 600
        // are of group 0 with the other label.
        let rare = paper.clone().observe(&[1], true, false, 2).squares;
        assert!((rare - ONE * 5.0).abs() < 0.03 * rare, "{rare}");
        let common = paper.observe(&[0], false, true, 2).squares;
        assert!((common - ONE * 1000.0 / 2400.0).abs() < 0.03 * common, "{common}");
        // A cell of one in a thousand has the largest weight.
        let first = paper.observe(&[2], true, false, 2).squares;
        assert!((first - ONE * LARGEST_CELL_WEIGHT.get()).abs() < 1e-6, "{first}");
    }

    #[test]
    fn penalties_of_several_attributes_are_averaged_while_a_group_is_worse_off() {
        let penalties = Penalties { spd: Some(ONE), ..Penalties::NONE };
        let mut paper = Paper::new(penalties, 3);
        // References are accepted, others declined. The result of the first record does not matter:
        // there is no other group to compare with yet.
        let _ = paper.observe(&[0, 0, 0], true, true, 2);
        assert_eq!(paper.observe(&[1, 2, NO_GROUP], true, false, 2).squares, ONE);
        assert_eq!(paper.observe(&[1, 2, 0], true, false, 2).squares, 2.0 * ONE / 3.0);
        assert_eq!(paper.observe(&[0, 0, NO_GROUP], true, true, 2).squares, ONE);
        // The third attribute has no other group.
        assert_eq!(paper.observe(&[0, 0, 0], true, true, 2).squares, 2.0 * ONE / 3.0);
        // From here on the group of the first attribute is accepted, until it is better off.
        for _ in 0..1_000 {
            let _ = paper.observe(&[1, NO_GROUP, NO_GROUP], true, true, 2);
            let _ = paper.observe(&[0, NO_GROUP, NO_GROUP], true, false, 2);
        }
        assert_eq!(paper.observe(&[1, NO_GROUP, NO_GROUP], true, false, 2).squares, 0.0);
        assert_eq!(paper.observe(&[0, NO_GROUP, NO_GROUP], true, true, 2).squares, 0.0);
        // With one attribute alone the penalty holds for whoever is worse off, as in the paper.
        let mut alone = Paper::new(penalties, 1);
        let _ = alone.observe(&[1], true, true, 2);
        assert_eq!(alone.observe(&[0], true, true, 2).squares, ONE);
    }

    /// Of three groups beside the reference, the one that is behind has a quarter of the records.
    #[test]
    fn a_reference_is_penalised_by_the_share_of_the_records_behind_it() {
        let mut paper = Paper::new(Penalties { spd: Some(ONE), ..Penalties::NONE }, 2);
        for i in 0..4_000_u32 {
            let group = [1, 2, 2, 3][i as usize % 4];
            let _ = paper.observe(&[0, NO_GROUP], true, i % 2 == 0, 2);
            let _ = paper.observe(&[group, NO_GROUP], true, group != 3 || i % 8 == 3, 2);
        }
        let reference = paper.observe(&[0, NO_GROUP], true, true, 2).squares;
        assert!((reference - 0.25 * ONE).abs() < 1e-6 * ONE, "{reference}");
        assert_eq!(paper.observe(&[3, NO_GROUP], true, false, 2).squares, ONE);
        assert_eq!(paper.observe(&[2, NO_GROUP], true, false, 2).squares, 0.0);
    }

    #[test]
    fn every_penalty_has_its_own_increment() {
        let penalties = Penalties { spd: Some(0.02), aod: None, burden: Some(0.005) };
        let pull = Paper::new(penalties, 1).observe(&[1], true, false, 3);
        assert_eq!(pull, Pull { squares: 0.04, force: -0.01 });
    }

    #[test]
    fn increments_are_read_as_they_are_printed() {
        for text in ["0.02", "spd=0.02,aod=0.01", "spd=0.02,aod=0.01,burden=0.02"] {
            assert_eq!(text.parse::<Increment>().map(|i| i.to_string()).as_deref(), Ok(text));
        }
        let message = |text: &str| text.parse::<Increment>().map_or_else(|error| error.to_string(), |_| String::new());
        let expected = "expected a number such as 0.02, or one for each penalty: spd=0.02,aod=0.01";
        assert_eq!(message("much"), format!("found `much`, {expected}"));
        assert_eq!(message("spd=0.02,0.01"), format!("found `0.01`, {expected}"));
        assert_eq!(message("spd=x"), format!("found `x`, {expected}"));
        assert_eq!(message("spd=0.02,spd=0.01"), "spd is named twice");
        assert_eq!(message("eodds=0.02"), "found penalty `eodds`, expected any of spd,aod,burden, or none");
    }

    #[test]
    fn increments_name_the_penalties_that_there_are() {
        let with = |penalties: &str, increment: &str| {
            let (penalties, increment) = (penalties.parse::<Penalties>(), increment.parse::<Increment>());
            let with = penalties.and_then(|penalties| penalties.with(increment?));
            with.map_or_else(|error| error.to_string(), |penalties| penalties.increment().to_string())
        };
        assert_eq!(with("spd,aod", "0.01"), "0.01");
        assert_eq!(with("aod,spd", "aod=0.01,spd=0.02"), "spd=0.02,aod=0.01");
        assert_eq!(with("aod,spd", "aod=0.02,spd=0.02"), "0.02");
        let message = "increment: found one for spd, expected one for each of the penalties spd,aod";
        assert_eq!(with("spd,aod", "spd=0.02"), message);
    }
}
