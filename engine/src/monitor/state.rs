//! The complete state of a monitor, to be stored over a reset or deep sleep. A restored monitor
//! counts and raises alarms as if it had never stopped.
//!
//! ```text
//! frame of magic "FEMT", version 1 (see crate::frame)
//! payload = the content of a status (see super::Status), then the detectors of all records, then
//!           those of each group except the reference, one for each monitored quantity
//! ```

use core::fmt;

use super::status::{self, Content};
use super::{Detector, Event, InputCounts, Monitor, MonitorError, Status, StatusError, Tally, Watched};
use crate::scorer::Scorer;

/// First bytes of every state.
const MAGIC: [u8; 4] = *b"FEMT";
/// The format version this crate reads and writes. Version 1: the first.
const VERSION: u16 = 1;

/// Longest encoding of a detector: its kind, two sums and counts, three settings, 16 rows of 5
/// buckets and their number, two u32.
pub(super) const DETECTOR_BYTES: usize = 1 + 16 + 12 + 16 * (5 * 8 + 1) + 2 * 5;

/// Returns the size in bytes of the longest state of this many groups and features, both within
/// their limits.
#[allow(clippy::arithmetic_side_effects)] // computed at compile time
pub(super) const fn bytes(groups: usize, features: usize) -> usize {
    status::bytes(groups, features) + groups * Watched::COUNT * DETECTOR_BYTES
}

/// Why a state was not restored. The monitor is unchanged.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are damaged, or not the state of a monitor.
    State(StatusError),
    /// The state belongs to a monitor of another model.
    OtherModel {
        /// Checksum of the state's model.
        found: u32,
        /// Checksum of the model given.
        expected: u32,
    },
    /// The state belongs to a monitor with another number of groups.
    WrongGroupCount {
        /// Groups of the state.
        found: usize,
        /// The monitor's `GROUPS`.
        expected: usize,
    },
    /// The model has more features than the monitor supports, or another number than the state.
    WrongFeatureCount {
        /// Features of the state.
        found: usize,
        /// Features of the model.
        expected: usize,
    },
    /// The state of a detector is impossible.
    ImpossibleDetector {
        /// The group, 0 for all records.
        group: u8,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(_) => f.write_str("the stored state is refused"),
            Self::OtherModel { found, expected } => {
                write!(f, "the stored state belongs to model {found:08x}, but the model is {expected:08x}")
            }
            Self::WrongGroupCount { found, expected } => {
                write!(f, "the stored state has {found} groups, but the monitor has {expected}")
            }
            Self::WrongFeatureCount { found, expected } => {
                write!(f, "the stored state has {found} features, but the model has {expected}")
            }
            Self::ImpossibleDetector { group } => {
                write!(f, "the stored state of the detectors of group {group} is impossible")
            }
        }
    }
}

impl core::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::State(error) => Some(error),
            _ => None,
        }
    }
}

impl<const GROUPS: usize, const FEATURES: usize> Monitor<GROUPS, FEATURES> {
    /// Writes the whole state to the caller's memory ([`Monitor::STATE_BYTES`] suffice), and
    /// returns the part that was written: about 700 bytes per group and monitored quantity.
    ///
    /// # Errors
    /// [`MonitorError::BufferTooSmall`], [`MonitorError::NotStarted`].
    pub fn store<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], MonitorError> {
        if self.threshold == 0.0 {
            return Err(MonitorError::NotStarted);
        }
        let found = buffer.len();
        let mut detectors = self.detectors.as_flattened().iter();
        let stored = self.framed(MAGIC, VERSION, 0, buffer, |payload| detectors.try_for_each(|one| payload.put(one)));
        stored.ok_or(MonitorError::BufferTooSmall { found, enough: Self::STATE_BYTES })
    }

    /// Restores a state: from here on, the monitor counts and raises alarms like the one that
    /// stored it. `model` is the model that was monitored. All bytes and values are checked before
    /// anything is changed. Cost: three passes over the bytes.
    ///
    /// # Errors
    /// See [`RestoreError`]; the monitor is then unchanged.
    pub fn restore<'a>(&mut self, model: &impl Scorer<'a>, bytes: &[u8]) -> Result<(), RestoreError> {
        status::check_header(bytes, MAGIC, VERSION).map_err(RestoreError::State)?;
        let (status, detectors) = Status::parse(bytes).map_err(RestoreError::State)?;
        let (found, expected) = (status.model_crc32(), model.crc32());
        if found != expected || status.threshold().to_bits() != model.threshold().to_bits() {
            return Err(RestoreError::OtherModel { found, expected });
        }
        let (groups, features) = status.head();
        if groups != GROUPS {
            return Err(RestoreError::WrongGroupCount { found: groups, expected: GROUPS });
        }
        let expected = model.schema().features().len();
        if features != expected || features > FEATURES {
            return Err(RestoreError::WrongFeatureCount { found: features, expected });
        }
        let mut checked: Content<'_> = detectors.clone();
        for group in 0..GROUPS {
            for _ in 0..Watched::COUNT {
                check_detector(&mut checked, group)?;
            }
        }
        if checked.at != bytes.len() {
            let trailing = StatusError::TrailingBytes { found: bytes.len(), expected: checked.at };
            return Err(RestoreError::State(trailing));
        }
        (self.model, self.threshold, self.features) = (status.model_crc32(), status.threshold(), features);
        (self.since, self.observed, self.inputs) = (status.since(), status.observed(), *status.inputs());
        self.ungrouped = *status.ungrouped();
        fill(&mut self.groups, status.groups(), Tally::new());
        fill(&mut self.by_feature, status.features(), InputCounts::new());
        self.events.ring.clear();
        status.events().for_each(|event: Event| self.events.push(event));
        self.events.dropped = status.events_dropped();
        let mut detectors = detectors;
        self.detectors.as_flattened_mut().iter_mut().for_each(|to| take_detector(&mut detectors, to));
        Ok(())
    }
}

/// Checks the next detector. Like [`take_detector`], it is not inlined, so that a detector takes
/// its 700 bytes of stack only once.
#[inline(never)]
fn check_detector(content: &mut Content<'_>, group: usize) -> Result<(), RestoreError> {
    let detector: Detector = content.take().map_err(RestoreError::State)?;
    if detector.is_sound(group) {
        return Ok(());
    }
    // At most MAX_GROUPS.
    #[allow(clippy::cast_possible_truncation)]
    Err(RestoreError::ImpossibleDetector { group: group as u8 })
}

/// Takes the next detector, which was checked.
#[inline(never)]
fn take_detector(content: &mut Content<'_>, to: &mut Detector) {
    if let Ok(detector) = content.take() {
        *to = detector;
    }
}

/// Writes the items to the front, and fills the remainder with `rest`.
fn fill<T: Copy>(to: &mut [T], items: impl Iterator<Item = T>, rest: T) {
    to.iter_mut().zip(items.chain(core::iter::repeat(rest))).for_each(|(to, item)| *to = item);
}
