//! When an expert is added: growth policies and what they need to know.
//!
//! - `every=N`: every N records (FEAMOE, Algorithm 1), until the capacity is reached: beyond it,
//!   experts would only replace each other. If the learner chooses the number of experts, none is
//!   added while the closest two answer nearly alike (`Closeness::has_alike`).
//! - `drift`: when the loss or the relation between the groups has changed (see `growth/watch.rs`);
//!   at capacity, two experts are merged to make room.
//! - `unfair=M`: when M records have been treated unfairly as individuals since the last expert
//!   (FEAMOE, A.10); at capacity, two experts are merged to make room.

mod closeness;
mod events;
mod watch;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(super) use closeness::Closeness;
pub use events::{Cause, Event, EventKind, Events};
pub use watch::{LossSign, Rate};
pub(super) use watch::{Watch, Watched};

/// When an expert is added; policies combine. Default `every=500,drift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// Records between two experts, 0 for none.
    pub every: u64,
    /// Whether a drift adds an expert.
    pub drift: bool,
    /// Records unfair to individuals between two experts, 0 for none.
    pub unfair: u64,
}

impl Growth {
    /// No growth: a single expert forever.
    pub const NONE: Self = Self { every: 0, drift: false, unfair: 0 };
}

impl Default for Growth {
    fn default() -> Self {
        Self { every: 500, drift: true, ..Self::NONE }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = (self.every > 0 || *self == Self::NONE).then(|| format!("every={}", self.every));
        let drift = self.drift.then(|| "drift".to_owned());
        let unfair = (self.unfair > 0).then(|| format!("unfair={}", self.unfair));
        f.write_str(&[every, drift, unfair].into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Growth {
    type Err = GrowthError;

    /// Reads policies separated by commas: `every=N`, `drift`, `unfair=M`.
    fn from_str(text: &str) -> Result<Self, GrowthError> {
        let mut growth = Self::NONE;
        let mut names = Vec::new();
        for policy in text.split(',').map(str::trim) {
            let (name, number) = policy.split_once('=').map_or((policy, None), |(name, number)| (name, Some(number)));
            let unknown = || GrowthError::Unknown(policy.to_owned());
            let rows = || number.and_then(|number| number.parse().ok()).ok_or_else(unknown);
            match name {
                "every" => growth.every = rows()?,
                "unfair" => growth.unfair = rows()?,
                "drift" if number.is_none() => growth.drift = true,
                _ => return Err(unknown()),
            }
            if names.contains(&name) {
                return Err(GrowthError::Twice(name.to_owned()));
            }
            names.push(name);
        }
        Ok(growth)
    }
}

/// Why a growth policy could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrowthError {
    /// The policy does not exist, or its number is missing or invalid.
    #[error(
        "found `{0}`, expected every=N (rows), drift, unfair=M (rows), or several separated by commas, for example every=4000,drift; \
         every=0 for a single expert"
    )]
    Unknown(String),
    /// A policy is named twice.
    #[error("{0} is named twice")]
    Twice(String),
}

/// The pending reasons for growth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Grower {
    /// The first cause that asked for an expert since the last one was added.
    asked: Option<Cause>,
    /// Number of records unfair to individuals since the last expert.
    unfair: u64,
}

impl Grower {
    /// Returns the pending reasons of several parts: the first cause, and all unfair records.
    pub(super) fn merge<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        Self {
            asked: parts.clone().find_map(|part| part.asked),
            unfair: parts.map(|part| part.unfair).fold(0, u64::saturating_add),
        }
    }

    /// Counts a record whose decision would change with the protected attribute alone.
    pub(super) fn note_unfair(&mut self) {
        self.unfair += 1;
    }

    /// Registers a drift.
    pub(super) fn note_drift(&mut self, cause: Cause) {
        self.asked = self.asked.or(Some(cause));
    }

    /// Returns why an expert is due before the next record, if one is. `pays` returns whether one
    /// more expert is useful in itself.
    pub(super) fn due(&mut self, growth: Growth, records: u64, pays: impl FnOnce() -> bool) -> Option<Cause> {
        let Growth { every, drift, unfair } = growth;
        let by_drift = self.asked.take().filter(|_| drift);
        let by_unfair = (unfair > 0 && self.unfair >= unfair).then_some(Cause::Unfair);
        let is_turn = || every > 0 && records > 0 && records.is_multiple_of(every);
        let cause = by_drift.or(by_unfair).or_else(|| (is_turn() && pays()).then_some(Cause::Every));
        if cause.is_some() {
            self.unfair = 0;
        }
        cause
    }
}

#[cfg(test)]
mod tests;
