//! The status of a monitor, which a device sends. See [`Status`] for a drawing.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::sender::{FLAG_MAC, Mac, SENDER_BYTES, Sender};
use super::{EVENTS, Event, InputCounts, MAX_GROUPS, Monitor, MonitorError, Tally};
use crate::frame::{self, FLAGS_AT, Frame, FrameError, HEADER_BYTES};
use crate::limits::MAX_FEATURES;

/// First bytes of every status.
pub(super) const MAGIC: [u8; 4] = *b"FEMS";
/// The first format version, for a device without an id.
const VERSION: u16 = 1;
/// The second format version: the sender follows the events, and then a MAC if the flag is set.
pub(super) const STATUS_OF_A_SENDER: u16 = 2;

// Longest encodings: 5 bytes for a u32, 10 for a u64, 3 for a u16, 4 for an f32.
const COUNTS_BYTES: usize = 4 * 5 + 10;
const TALLY_BYTES: usize = 2 * COUNTS_BYTES + (10 + 2 * 5) + 10;
const INPUT_BYTES: usize = 3 * 5;
const EVENT_BYTES: usize = 1 + 1 + 10 + 2 * 4 + 2 * 5;
const HEAD_BYTES: usize = 5 + 4 + 1 + 3 + 1 + 5 + 10 + 10 + INPUT_BYTES + TALLY_BYTES;
/// The size of the longest status of any monitor, in bytes.
pub const MAX_STATUS_BYTES: usize = bytes(MAX_GROUPS, MAX_FEATURES) + SENDER_BYTES;

/// Returns the size in bytes of the longest status of this many groups and features, both within
/// their limits.
#[allow(clippy::arithmetic_side_effects)] // some ten thousand, computed at compile time
pub(super) const fn bytes(groups: usize, features: usize) -> usize {
    HEADER_BYTES + HEAD_BYTES + groups * TALLY_BYTES + features * INPUT_BYTES + EVENTS * EVENT_BYTES
}

/// The start of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    model: u32,
    #[serde(with = "crate::drift::f32_le")]
    threshold: f32,
    groups: u8,
    features: u16,
    events: u8,
    events_dropped: u32,
    since: u64,
    observed: u64,
    inputs: InputCounts,
    ungrouped: Tally,
}

impl Head {
    fn is_sound(&self) -> bool {
        self.threshold > 0.0
            && self.threshold < 1.0
            && (1..=MAX_GROUPS).contains(&usize::from(self.groups))
            && (1..=MAX_FEATURES).contains(&usize::from(self.features))
            && usize::from(self.events) <= EVENTS
            && (self.events_dropped == 0 || usize::from(self.events) == EVENTS)
            && self.inputs.is_at_most(self.observed)
            && self.ungrouped.is_sound()
    }

    fn is_sound_event(&self, event: &Event) -> bool {
        let change = &event.change;
        // A gap is at most 1, except for the rounding of a mean.
        let in_range = |mean: f32| mean.abs() <= 1.001;
        event.group < self.groups
            && event.at <= self.observed
            && in_range(change.before)
            && in_range(change.after)
            && change.records_before > 0
            && change.records_after > 0
    }
}

impl<const GROUPS: usize, const FEATURES: usize> Monitor<GROUPS, FEATURES> {
    /// Writes the status to the caller's memory ([`Monitor::STATUS_BYTES`] suffice), and returns
    /// the part that was written: some hundred bytes.
    ///
    /// # Errors
    /// [`MonitorError::BufferTooSmall`], [`MonitorError::NotStarted`].
    pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], MonitorError> {
        if self.threshold == 0.0 {
            return Err(MonitorError::NotStarted);
        }
        let found = buffer.len();
        self.write_to(buffer).ok_or(MonitorError::BufferTooSmall { found, enough: Self::STATUS_BYTES })
    }

    /// Writes the status; `None` if the buffer is too small.
    fn write_to<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        self.framed(MAGIC, VERSION, 0, buffer, |_| Some(()))
    }

    /// Writes a frame around the content of a status and what `more` adds; `None` if the buffer is
    /// too small.
    #[allow(clippy::cast_possible_truncation)] // within MAX_GROUPS, MAX_FEATURES and EVENTS
    pub(super) fn framed<'b>(
        &self,
        magic: [u8; 4],
        version: u16,
        flags: u16,
        buffer: &'b mut [u8],
        more: impl FnOnce(&mut Payload<'_>) -> Option<()>,
    ) -> Option<&'b [u8]> {
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER_BYTES>()?;
        let mut payload = Payload { bytes: &mut *rest, used: 0 };
        payload.put(&Head {
            model: self.model,
            threshold: self.threshold,
            groups: GROUPS as u8,
            features: self.features as u16,
            events: self.events.ring.len() as u8,
            events_dropped: self.events.dropped,
            since: self.since,
            observed: self.observed,
            inputs: self.inputs,
            ungrouped: self.ungrouped,
        })?;
        self.groups.iter().try_for_each(|tally| payload.put(tally))?;
        self.features().iter().try_for_each(|counts| payload.put(counts))?;
        self.events().try_for_each(|event| payload.put(event))?;
        more(&mut payload)?;
        let used = payload.used;
        *header = frame::seal(magic, version, flags, rest.get(..used)?)?;
        buffer.get(..HEADER_BYTES.checked_add(used)?)
    }
}

/// A payload that is being written.
pub(super) struct Payload<'b> {
    bytes: &'b mut [u8],
    used: usize,
}

impl Payload<'_> {
    pub(super) fn put<T: Serialize>(&mut self, value: &T) -> Option<()> {
        let written = postcard::to_slice(value, self.bytes.get_mut(self.used..)?).ok()?.len();
        self.used = self.used.checked_add(written)?;
        Some(())
    }
}

/// The status of a monitor, read in place. Every `Status` is valid: [`Status::read`] checked all of
/// it.
///
/// ```text
/// byte 0        4         6        8              12         16
///      +--------+---------+--------+--------------+----------+---------+
///      | "FEMS" | version | flags  | payload      | CRC-32   | payload |
///      |        | u16     | u16    | length, u32  | u32      |         |
///      +--------+---------+--------+--------------+----------+---------+
///
/// payload = postcard: head, the tally of each group, the input counts of each feature, the events
/// head    = CRC of the model, its threshold (f32), groups (u8), features (u16), events (u8),
///           events dropped (u32), since (u64), observations (u64), input counts of all records,
///           tally of the records without a group
///
/// version 2: after the events, the id of the device (16 bytes), its counter (u64, 8 bytes) and, if
///           bit 0 of the flags is set, a MAC (16 bytes): the first half of the HMAC-SHA-256 of
///           bytes 0 to 11 and of the payload up to the MAC
/// ```
///
/// As in a model ([`crate::format`]): integers are little endian; the CRC (ISO-HDLC) covers all
/// bytes before it and after it; every length is exact and every varint the shortest; nothing is
/// decoded before the CRC is checked.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    head: Head,
    groups: &'a [u8],
    features: &'a [u8],
    events: &'a [u8],
    sender: Option<Sender>,
    has_mac: bool,
    bytes: &'a [u8],
}

impl<'a> Status<'a> {
    /// Reads a status from arbitrary bytes and checks all of it, including the values: impossible
    /// counts are refused. Cost: two passes over the bytes.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, StatusError> {
        let flags = frame::open(bytes, MAGIC, STATUS_OF_A_SENDER).map_err(StatusError::Frame)?.flags;
        let version = frame::version(bytes, HEADER_BYTES, MAGIC, STATUS_OF_A_SENDER).map_err(StatusError::Frame)?;
        let known = if version == VERSION { 0 } else { FLAG_MAC };
        if flags & !known != 0 {
            return Err(StatusError::Malformed { at: FLAGS_AT });
        }
        let (mut status, mut reader) = Self::parse(bytes)?;
        if version == STATUS_OF_A_SENDER {
            status.sender = Some(reader.take()?);
        }
        if flags & FLAG_MAC != 0 {
            let _: Mac = reader.take()?;
            status.has_mac = true;
        }
        if reader.at != bytes.len() {
            return Err(StatusError::TrailingBytes { found: bytes.len(), expected: reader.at });
        }
        Ok(status)
    }

    /// Reads the content after a checked header. Also returns the reader of what follows it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, Content<'a>), StatusError> {
        let mut reader = Content { bytes, at: HEADER_BYTES };
        let head: Head = reader.take()?;
        if !head.is_sound() {
            return Err(StatusError::ImpossibleHead);
        }
        // The tallies cannot add up to more records than were observed.
        let (mut rows, all) = (head.ungrouped.rows(), head.observed);
        let groups_at = reader.at;
        for group in 0..head.groups {
            let tally: Tally = reader.take()?;
            rows = rows.saturating_add(tally.rows());
            if !tally.is_sound() {
                return Err(StatusError::ImpossibleGroup { group });
            }
        }
        if rows > all {
            return Err(StatusError::ImpossibleHead);
        }
        let features_at = reader.at;
        for feature in 0..head.features {
            let counts: InputCounts = reader.take()?;
            if !counts.is_within(&head.inputs) {
                return Err(StatusError::ImpossibleFeature { feature });
            }
        }
        let events_at = reader.at;
        for event in 0..head.events {
            if !head.is_sound_event(&reader.take()?) {
                return Err(StatusError::ImpossibleEvent { event });
            }
        }
        let part = |from, to| bytes.get(from..to).unwrap_or_default();
        let status = Self {
            head,
            groups: part(groups_at, features_at),
            features: part(features_at, events_at),
            events: part(events_at, reader.at),
            sender: None,
            has_mac: false,
            bytes,
        };
        Ok((status, reader))
    }

    pub(super) fn head(&self) -> (usize, usize) {
        (self.head.groups.into(), self.head.features.into())
    }

    /// Returns the sender; `None` if the device has no id.
    #[must_use]
    pub fn sender(&self) -> Option<Sender> {
        self.sender
    }

    /// Returns whether the status has a MAC, whether valid or not.
    #[must_use]
    pub fn has_mac(&self) -> bool {
        self.has_mac
    }

    /// Returns the bytes of the status.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the checksum of the model that was monitored: [`crate::Model::crc32`].
    #[must_use]
    pub fn model_crc32(&self) -> u32 {
        self.head.model
    }

    /// Returns the threshold of the model.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.head.threshold
    }

    /// Returns the start of the period by the device's clock; 0 if it has none.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.head.since
    }

    /// Returns the number of observations in the period.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.head.observed
    }

    /// Returns the number of records with missing, clamped or unseen values.
    #[must_use]
    pub fn inputs(&self) -> &InputCounts {
        &self.head.inputs
    }

    /// Returns the tally of the records without a group.
    #[must_use]
    pub fn ungrouped(&self) -> &Tally {
        &self.head.ungrouped
    }

    /// Returns the tally of each group, the reference first.
    pub fn groups(&self) -> impl Iterator<Item = Tally> + use<'a> {
        items(self.groups)
    }

    /// Returns the input counts of each feature of the model.
    pub fn features(&self) -> impl Iterator<Item = InputCounts> + use<'a> {
        items(self.features)
    }

    /// Returns the newest drifts of the period, oldest first.
    pub fn events(&self) -> impl Iterator<Item = Event> + use<'a> {
        items(self.events)
    }

    /// Returns the number of older drifts, which were dropped.
    #[must_use]
    pub fn events_dropped(&self) -> u32 {
        self.head.events_dropped
    }
}

/// Walks the content, value by value.
#[derive(Clone)]
pub(super) struct Content<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

/// The size in bytes of the longest encoding of one value, a detector.
const LONGEST: usize = 720;
const _: () = assert!(LONGEST >= super::state::DETECTOR_BYTES && LONGEST >= HEAD_BYTES);

impl<'a> Content<'a> {
    /// Takes one value, which must be in its shortest encoding.
    pub(super) fn take<T: Deserialize<'a> + Serialize>(&mut self) -> Result<T, StatusError> {
        let malformed = StatusError::Malformed { at: self.at };
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (value, left) = postcard::take_from_bytes::<T>(rest).map_err(|_| malformed)?;
        let used = rest.len().wrapping_sub(left.len());
        if postcard::to_slice(&value, &mut [0; LONGEST]).map(|bytes| bytes.len()) != Ok(used) {
            return Err(malformed);
        }
        self.at = self.at.wrapping_add(used);
        Ok(value)
    }
}

/// Returns consecutive values that were already checked.
fn items<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> impl Iterator<Item = T> + use<'a, T> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (value, left) = postcard::take_from_bytes(rest).ok()?;
        rest = left;
        Some(value)
    })
}

/// Checks the header against the length and the content.
pub(super) fn check_header(bytes: &[u8], magic: [u8; 4], version: u16) -> Result<(), StatusError> {
    match frame::open(bytes, magic, version) {
        Ok(Frame { flags: 0, .. }) => Ok(()),
        Ok(_) => Err(StatusError::Malformed { at: FLAGS_AT }),
        Err(error) => Err(StatusError::Frame(error)),
    }
}

/// Why a status was refused.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusError {
    /// The header does not fit the bytes.
    Frame(FrameError),
    /// The status is longer than its content.
    TrailingBytes {
        /// The number of bytes.
        found: usize,
        /// The number of bytes of the content.
        expected: usize,
    },
    /// The bytes are not the shortest postcard encoding of the expected value.
    Malformed {
        /// Offset from the start, in bytes.
        at: usize,
    },
    /// The head, or the sum of all groups, is impossible.
    ImpossibleHead,
    /// The counts of a group are impossible.
    ImpossibleGroup {
        /// The group.
        group: u8,
    },
    /// The counts of a feature are larger than those of all.
    ImpossibleFeature {
        /// The feature.
        feature: u16,
    },
    /// An event is of an unknown group, in the future, or out of range.
    ImpossibleEvent {
        /// The event.
        event: u8,
    },
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(FrameError::WrongMagic { .. }) => {
                f.write_str("not the status of a feamoe monitor: does not start with FEMS")
            }
            Self::Frame(error @ FrameError::UnsupportedVersion { .. }) => write!(f, "status {error}; update it"),
            Self::Frame(error @ FrameError::WrongChecksum { .. }) => {
                write!(f, "{error}; the status is damaged, send it again")
            }
            Self::Frame(error) => write!(f, "status {error}"),
            Self::TrailingBytes { found, expected } => {
                write!(f, "status has {found} bytes, but its content has {expected}")
            }
            Self::Malformed { at } => write!(f, "not the postcard encoding of a status (at byte {at})"),
            Self::ImpossibleHead => f.write_str("the head contradicts itself or the groups"),
            Self::ImpossibleGroup { group } => write!(f, "group {group}: its counts contradict each other"),
            Self::ImpossibleFeature { feature } => write!(f, "feature {feature}: its counts exceed the total"),
            Self::ImpossibleEvent { event } => {
                write!(f, "event {event}: its group is unknown, it is in the future, or it is out of range")
            }
        }
    }
}

impl core::error::Error for StatusError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::drift::Change;
    use crate::monitor::Watched;

    /// With every number at its longest, the length is that of the bound, except for the label
    /// cells of decisions, which are 0 and take a byte each.
    #[test]
    fn the_longest_status_is_as_long_as_said() {
        let mut monitor = Monitor::<3, 5>::new();
        let most = InputCounts { missing: u32::MAX, clamped: u32::MAX, unseen: u32::MAX };
        let full: Tally = postcard::from_bytes(&longest_tally()).unwrap();
        (monitor.model, monitor.threshold, monitor.features) = (u32::MAX, 0.5, 5);
        (monitor.since, monitor.observed, monitor.inputs) = (u64::MAX, u64::MAX, most);
        (monitor.by_feature, monitor.ungrouped, monitor.groups) = ([most; 5], full, [full; 3]);
        monitor.events.dropped = u32::MAX;
        let change = Change { before: -1.0, after: 1.0, records_before: u32::MAX, records_after: u32::MAX };
        (0..EVENTS).for_each(|_| {
            monitor.events.push(Event { watched: Watched::Error, group: 2, at: u64::MAX, change });
        });
        let mut buffer = [0xa5; Monitor::<3, 5>::STATUS_BYTES];
        // The number of features takes one byte for 5, and two for 300 and for 4096; the bound has
        // three.
        let length = monitor.write(&mut buffer).unwrap().len();
        assert_eq!(length, Monitor::<3, 5>::STATUS_BYTES.wrapping_sub(2));
        for shorter in [0, 15, 16, 17, length.wrapping_sub(1)] {
            let found = monitor.write(buffer.get_mut(..shorter).unwrap()).map(<[u8]>::len);
            let enough = Monitor::<3, 5>::STATUS_BYTES;
            assert_eq!(found, Err(MonitorError::BufferTooSmall { found: shorter, enough }));
        }
    }

    /// Twice the four cells and the burden; then the sum of distances and the numbers of records
    /// with and without recourse; then the sum of scores.
    fn longest_tally() -> [u8; TALLY_BYTES] {
        let (cell, sum) =
            ([0xff, 0xff, 0xff, 0xff, 0x0f], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        let counts = || [&cell[..], &cell, &cell, &cell, &sum].into_iter().flatten();
        let mut bytes = [0; TALLY_BYTES];
        let all = counts().chain(counts()).chain([&sum[..], &cell, &cell, &sum].into_iter().flatten());
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Once a counter of a tally reaches its maximum, the whole tally stops counting.
    #[test]
    fn counters_stop_together_and_never_wrap() {
        let mut full: Tally = postcard::from_bytes(&longest_tally()).unwrap();
        let before = full;
        full.observe(0.25, 0.5);
        full.label(true, 0.25, 0.5);
        full.distance(Some(1.0));
        assert!(full == before && full.is_full());
        full.merge(&before);
        assert_eq!(full, before);
        // Only the cell of favourable decisions is full: counting a declined record would distort
        // the rate.
        let mut bytes = [0; TALLY_BYTES];
        bytes.iter_mut().skip(1).zip([0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(|(to, from)| *to = from);
        let mut one: Tally = postcard::from_bytes(&bytes).unwrap();
        let before = one;
        one.observe(0.25, 0.5);
        assert_eq!((one, one.favourable()), (before, u64::from(u32::MAX)));
        let mut monitor = Monitor::<1, 1>::new();
        (monitor.threshold, monitor.features, monitor.observed) = (0.5, 1, u64::MAX);
        monitor.inputs.missing = u32::MAX;
        monitor.observe(0.5, &[crate::schema::Note::Missing], None).unwrap();
        assert_eq!((monitor.observed(), monitor.inputs().missing), (u64::MAX, u32::MAX));
    }

    /// 64-bit hosts lay the ring of events out a little larger than a device.
    #[test]
    fn memory_is_as_said() {
        assert_eq!((size_of::<Tally>(), size_of::<InputCounts>(), size_of::<crate::monitor::Token>()), (72, 12, 12));
        let size = |groups: usize, features: usize| 2_304 * groups + 12 * features;
        assert!(
            (size(3, 14)..size(3, 14) + 800).contains(&size_of::<Monitor<3, 14>>()),
            "{}",
            size_of::<Monitor<3, 14>>()
        );
        assert_eq!(size_of::<Monitor<4, 14>>() - size_of::<Monitor<3, 14>>(), size_of::<[u8; 2_304]>());
    }
}
