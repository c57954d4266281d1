//! The history of the mixture, kept in bounded memory.

use feamoe_engine::drift::Change;
use serde::{Deserialize, Serialize};

use super::{LossSign, Rate};
use crate::rows::GroupMap;

/// Why an expert was added, or why two were merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The number of records set by [`super::Growth::every`] had passed.
    Every,
    /// The loss rose.
    LossDrift(LossSign),
    /// A group's relation to the reference group changed.
    FairnessDrift {
        /// Index of the protected attribute.
        attribute: usize,
        /// Index of the group, from 1.
        group: usize,
        /// What changed.
        rate: Rate,
    },
    /// The number of unfair records set by [`super::Growth::unfair`] was reached.
    Unfair,
    /// Several learners were merged.
    Merge,
}

/// A change of the mixture, or a detected drift.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number of records learned from before.
    pub record: u64,
    /// Why it happened.
    pub cause: Cause,
    /// What happened.
    pub kind: EventKind,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A drift was detected: of the loss, or of a group's rate minus that of the reference.
    DriftDetected(Change),
    /// An expert was added.
    ExpertAdded {
        /// Index of the new expert.
        expert: usize,
        /// The expert it was copied from; `None` if it is the mean of all.
        parent: Option<usize>,
    },
    /// Two experts were merged, to make room.
    ExpertsMerged {
        /// Index of the merged expert.
        into: usize,
        /// Index of the place that became free.
        expert: usize,
    },
    /// Learners of several shards were merged.
    ShardsMerged {
        /// Number of shards.
        shards: usize,
    },
}

impl EventKind {
    /// The name used in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DriftDetected(_) => "drift detected",
            Self::ExpertAdded { .. } => "expert added",
            Self::ExpertsMerged { .. } => "experts merged",
            Self::ShardsMerged { .. } => "shards merged",
        }
    }
}

/// The newest events, and the number of older ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// Oldest first; at most [`Events::MOST`].
    newest: Vec<Event>,
    dropped: u64,
}

impl Events {
    /// Maximum number of events kept: the oldest are dropped first.
    pub const MOST: usize = 1000;

    pub(in super::super) fn push(&mut self, event: Event) {
        self.newest.push(event);
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        let surplus = self.newest.len().saturating_sub(Self::MOST);
        self.newest.drain(..surplus);
        self.dropped = self.dropped.saturating_add(surplus as u64);
    }

    /// Appends the events of another run, as if they had come after these: `records` records
    /// precede that run, its indices of experts are moved by `experts`, and its groups are mapped
    /// into the union. Events of a group without a place in the union are dropped.
    pub(in super::super) fn append(&mut self, other: &Self, records: u64, experts: usize, groups: &GroupMap) {
        let moved = |event: &Event| {
            let cause = match event.cause {
                Cause::FairnessDrift { attribute, group, rate } => {
                    Cause::FairnessDrift { attribute, group: groups.of(attribute, group)?, rate }
                }
                cause => cause,
            };
            let kind = match event.kind {
                EventKind::ExpertAdded { expert, parent } => EventKind::ExpertAdded {
                    expert: expert.saturating_add(experts),
                    parent: parent.map(|parent| parent.saturating_add(experts)),
                },
                EventKind::ExpertsMerged { into, expert } => EventKind::ExpertsMerged {
                    into: into.saturating_add(experts),
                    expert: expert.saturating_add(experts),
                },
                kind @ (EventKind::DriftDetected(_) | EventKind::ShardsMerged { .. }) => kind,
            };
            Some(Event { record: event.record.saturating_add(records), cause, kind })
        };
        let known = self.newest.len();
        self.newest.extend(other.newest.iter().filter_map(moved));
        let unknown = other.newest.len() - (self.newest.len() - known);
        self.dropped = self.dropped.saturating_add(other.dropped).saturating_add(unknown as u64);
        self.drop_oldest();
    }

    /// Returns the kept events, oldest first.
    #[must_use]
    pub fn newest(&self) -> &[Event] {
        &self.newest
    }

    /// Returns the number of events that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let mut events = Events::default();
        for record in 0..2_500 {
            let kind = if record % 5 == 0 {
                EventKind::DriftDetected(Change::default())
            } else {
                EventKind::ExpertAdded { expert: 1, parent: Some(0) }
            };
            events.push(Event { record, cause: Cause::Unfair, kind });
        }
        assert_eq!((events.newest().len(), events.dropped()), (Events::MOST, 1_500));
        assert_eq!(events.newest().first().map(|event| event.record), Some(1_500));
        assert_eq!(events.newest().last().map(|event| event.record), Some(2_499));
    }
}
