//! Monitoring on a device, in fixed memory: its decisions by group, its inputs, and changes in
//! them.
//!
//! A [`Monitor`] observes every score. Without labels it counts decisions, which gives the
//! statistical parity difference, its interval and the probability burden. When an outcome becomes
//! known later, in any order, return the [`Token`] of the score with it, and the measures that need
//! labels are updated. The counters and measures are those of [`crate::fairness`], the detectors
//! those of [`crate::drift`].
//!
//! ```
//! use feamoe_engine::fairness::Measure;
//! use feamoe_engine::monitor::{Monitor, Status};
//! use feamoe_engine::{Model, include_model};
//!
//! static MODEL: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.feamoe"));
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model: Model<8, 4> = Model::load(MODEL)?;
//! let mut monitor: Monitor<3, 8> = Monitor::new(); // 3 groups, the reference first; `const`, for a static
//! monitor.start(&model, 1_700_000_000)?; // the device's clock, where it has one
//!
//! let mut record = model.record();
//! for (age, group) in [(25.0, 0), (61.0, 1), (44.0, 2), (38.0, 0)] {
//!     record.set_number("age", age)?;
//!     let score = model.score(&record)?;
//!     let token = monitor.observe(score.probability, record.notes(), Some(group))?;
//!     monitor.label(token, age > 40.0)?; // whenever it is known
//! }
//! let spd = monitor.groups()[1].gap(Measure::Spd, &monitor.groups()[0]);
//! assert!(spd.abs() <= 1.0 && monitor.inputs().missing == 4); // no other value was set
//!
//! let mut buffer = [0; Monitor::<3, 8>::STATUS_BYTES];
//! let status = monitor.write(&mut buffer)?; // send it; `feamoe monitor` reads it
//! assert_eq!(Status::read(status)?.groups().collect::<Vec<_>>(), monitor.groups());
//! # Ok(())
//! # }
//! ```
//!
//! - **Several attributes** need one monitor each; give every score to all of them. An intersection
//!   is an attribute whose groups are the combinations.
//! - **Periods.** [`Monitor::reset`] resets the counts; detectors keep their windows, so that a
//!   drift across periods is detected. Statuses of periods or of devices add up exactly
//!   ([`Tally::merge`]).
//! - **Sender.** [`Monitor::write_from`] adds the device's id and a counter; with the feature
//!   `mac`, `write_authenticated` adds a message authentication code, so that nobody without the
//!   device's key can write or change a status.
//! - **Nothing wraps.** If a counter of a tally reaches its maximum, after 4 billion records, the
//!   whole tally stops counting, so that its rates stay correct.
//!
//! *Memory:* 2,304 bytes per group, 12 per feature and about 700 more: 7.8 kB for 3 groups and 14
//! features. *Cost* on a device: [`crate::costs`]. Uses only f32 and integers; measures are
//! computed on request.

mod sender;
mod state;
mod status;
mod tally;

use heapless::Deque;
use serde::{Deserialize, Serialize};

use crate::drift::{Adwin, Change, Gap};
use crate::limits::MAX_FEATURES;
use crate::schema::Note;
use crate::scorer::Scorer;

#[cfg(feature = "mac")]
pub use sender::Key;
pub use sender::{DeviceId, Sender};
pub use state::RestoreError;
pub use status::{MAX_STATUS_BYTES, Status, StatusError};
pub use tally::{InputCounts, Tally};

/// The number of events that are kept. If there are more, the newest are kept and the others are
/// counted.
pub const EVENTS: usize = 16;
/// The largest number of groups: a group is a byte, and one value is reserved for none.
pub const MAX_GROUPS: usize = 255;
/// The bound on the probability of a false alarm per search of a detector; the measured rate is a
/// thousandth of it (see the tests of [`crate::drift`]).
const DELTA: f32 = 0.002;

/// The quantities that are monitored for drift, over all records and as a gap of each group to the
/// reference.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watched {
    /// The share of favourable decisions.
    Favourable,
    /// The mean score.
    Score,
    /// The share of wrong decisions among the labelled ones.
    Error,
}

impl Watched {
    /// The number of quantities.
    const COUNT: usize = 3;

    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Favourable => "favourable rate",
            Self::Score => "mean score",
            Self::Error => "error rate",
        }
    }
}

/// A detected drift.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The quantity that changed.
    pub watched: Watched,
    /// 0 for all records; otherwise the group whose gap to the reference changed.
    pub group: u8,
    /// Number of observations in the period when it was detected.
    pub at: u64,
    /// The change; for a gap, its records are pairs.
    pub change: Change,
}

/// Identifies an observed score for its label. Return it once, when the outcome is known; it may be
/// stored meanwhile. Takes 12 bytes.
///
/// It is not `Copy`, so that no record is labelled twice.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    model: u32,
    #[serde(with = "crate::drift::f32_le")]
    probability: f32,
    group: Option<u8>,
}

/// Why a monitor refused an input. The monitor is unchanged.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MonitorError {
    /// [`Monitor::start`] was not called.
    NotStarted,
    /// The group is out of range.
    GroupOutOfRange {
        /// The group.
        found: u8,
        /// The `GROUPS` of the monitor; groups are below it.
        groups: usize,
    },
    /// The score is not in [0, 1].
    NotAProbability {
        /// The number given.
        found: f32,
    },
    /// The number of notes differs from the number of features, so the record belongs to another
    /// model.
    WrongFeatureCount {
        /// The number of notes given.
        found: usize,
        /// The number of features of the model.
        expected: usize,
    },
    /// The token belongs to a score of another model.
    OtherModel {
        /// Checksum of the token's model.
        found: u32,
        /// Checksum of the model that is monitored.
        expected: u32,
    },
    /// A distance was given for a record with a favourable decision.
    NotDeclined,
    /// The distance is not between 0 and [`Tally::LARGEST_DISTANCE`].
    NotADistance {
        /// The number given.
        found: f32,
    },
    /// The status is longer than the buffer.
    BufferTooSmall {
        /// Bytes of the buffer.
        found: usize,
        /// [`Monitor::STATUS_BYTES`], which always suffice.
        enough: usize,
    },
}

impl core::fmt::Display for MonitorError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotStarted => f.write_str("the monitor has no model yet; call start"),
            Self::GroupOutOfRange { found, groups } => {
                write!(f, "found group {found}, but the monitor has {groups} groups (raise GROUPS, or give None)")
            }
            Self::NotAProbability { found } => write!(f, "score {found} is not in [0, 1]"),
            Self::WrongFeatureCount { found, expected } => {
                write!(f, "found {found} notes, but the model has {expected} features")
            }
            Self::OtherModel { found, expected } => {
                write!(f, "the token belongs to model {found:08x}, but the monitor is for {expected:08x}")
            }
            Self::NotDeclined => f.write_str("only a declined record has a distance to a favourable decision"),
            Self::NotADistance { found } => {
                write!(f, "distance {found} is not between 0 and {}", Tally::LARGEST_DISTANCE)
            }
            Self::BufferTooSmall { found, enough } => {
                write!(f, "the buffer has {found} bytes, but needs up to {enough}")
            }
        }
    }
}

impl core::error::Error for MonitorError {}

/// The newest events.
#[derive(Clone, Debug)]
struct Events {
    ring: Deque<Event, EVENTS>,
    dropped: u32,
}

impl Events {
    const fn new() -> Self {
        Self { ring: Deque::new(), dropped: 0 }
    }

    fn push(&mut self, event: Event) {
        if self.ring.is_full() {
            let _ = self.ring.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        let _ = self.ring.push_back(event);
    }
}

/// A detector: over all records, or of the gap of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // the variants have similar sizes
enum Detector {
    Overall(Adwin),
    Gap(Gap),
}

impl Detector {
    /// Every value is in [0, 1].
    const OVERALL: Self = Self::Overall(Adwin::new(DELTA, 0.0, 1.0));
    const GAP: Self = Self::Gap(Gap::new(DELTA));

    fn reset(&mut self) {
        match self {
            Self::Overall(all) => all.reset(),
            Self::Gap(gap) => gap.reset(),
        }
    }

    /// Returns whether it can be the detector of a group (counted from 0).
    fn is_sound(&self, group: usize) -> bool {
        match self {
            Self::Overall(all) => group == 0 && all.is_sound(DELTA, 0.0, 1.0),
            Self::Gap(gap) => group > 0 && gap.is_sound(DELTA),
        }
    }
}

/// Monitors a model's decisions on `GROUPS` groups of one protected attribute, the reference group
/// first, and the values of at most `FEATURES` features.
///
/// A monitor without groups, or with more than [`MAX_GROUPS`], does not compile:
///
/// ```
/// let _ = feamoe_engine::monitor::Monitor::<2, 16>::new();
/// ```
/// ```compile_fail,E0080
/// let _ = feamoe_engine::monitor::Monitor::<256, 16>::new();
/// ```
/// ```compile_fail,E0080
/// let _ = feamoe_engine::monitor::Monitor::<0, 16>::new();
/// ```
#[derive(Clone, Debug)]
pub struct Monitor<const GROUPS: usize, const FEATURES: usize> {
    /// Checksum of the model.
    model: u32,
    /// Inside (0, 1); 0 before the start.
    threshold: f32,
    /// Features of the model; at most `FEATURES`.
    features: usize,
    since: u64,
    observed: u64,
    /// The number of records with missing, clamped or unseen values.
    inputs: InputCounts,
    by_feature: [InputCounts; FEATURES],
    /// Records without a group.
    ungrouped: Tally,
    groups: [Tally; GROUPS],
    /// By group, in the order of [`Watched`]. Index 0, the reference, has the detectors over all
    /// records.
    detectors: [[Detector; Watched::COUNT]; GROUPS],
    events: Events,
}

impl<const GROUPS: usize, const FEATURES: usize> Monitor<GROUPS, FEATURES> {
    /// The size of the longest status of this monitor, in bytes.
    pub const STATUS_BYTES: usize = status::bytes(GROUPS, FEATURES);
    /// The size of the longest stored state of this monitor, in bytes; see [`Monitor::store`].
    pub const STATE_BYTES: usize = state::bytes(GROUPS, FEATURES);

    /// Returns a monitor without a model. This is `const`, so that a monitor can be in a `static`.
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(GROUPS > 0, "GROUPS must not be 0: the reference group is the first");
            assert!(GROUPS <= MAX_GROUPS, "at most 255 groups: a group is a byte, and one value is left for none");
            assert!(FEATURES <= MAX_FEATURES, "no model has more than 4096 features");
        }
        Self {
            model: 0,
            threshold: 0.0,
            features: 0,
            since: 0,
            observed: 0,
            inputs: InputCounts::new(),
            by_feature: [InputCounts::new(); FEATURES],
            ungrouped: Tally::new(),
            groups: [Tally::new(); GROUPS],
            detectors: const {
                let mut detectors = [const { [const { Detector::GAP }; Watched::COUNT] }; GROUPS];
                let all: &mut [[Detector; Watched::COUNT]] = &mut detectors;
                if let [overall, ..] = all {
                    *overall = [const { Detector::OVERALL }; Watched::COUNT];
                }
                detectors
            },
            events: Events::new(),
        }
    }

    /// Starts monitoring a model with float or integer weights, and forgets everything about an
    /// earlier one. `since` is the current time of the caller's clock, in seconds since 1970, or 0
    /// if unknown.
    ///
    /// # Errors
    /// [`MonitorError::WrongFeatureCount`] for a model with more than `FEATURES` features.
    pub fn start<'a>(&mut self, model: &impl Scorer<'a>, since: u64) -> Result<(), MonitorError> {
        let features = model.schema().features().len();
        if features > FEATURES {
            return Err(MonitorError::WrongFeatureCount { found: FEATURES, expected: features });
        }
        self.model = model.crc32();
        self.threshold = model.threshold();
        self.features = features;
        self.detectors.as_flattened_mut().iter_mut().for_each(Detector::reset);
        self.reset(since);
        Ok(())
    }

    /// Starts a new period: counts and events restart, and the detectors continue. The label of a
    /// score from an earlier period counts in the period in which it arrives.
    pub fn reset(&mut self, since: u64) {
        self.since = since;
        self.observed = 0;
        self.inputs = InputCounts::new();
        self.by_feature.fill(InputCounts::new());
        self.ungrouped = Tally::new();
        self.groups.fill(Tally::new());
        self.events.ring.clear();
        self.events.dropped = 0;
    }

    /// Counts a score: its probability ([`crate::Scored::probability`], which also for integers
    /// reaches the threshold if and only if the decision is favourable), the notes of the record's
    /// values, and its group (`None` if unknown). Returns the token for its label.
    ///
    /// # Errors
    /// [`MonitorError::NotStarted`], [`MonitorError::NotAProbability`],
    /// [`MonitorError::WrongFeatureCount`], [`MonitorError::GroupOutOfRange`].
    pub fn observe(&mut self, probability: f32, notes: &[Note], group: Option<u8>) -> Result<Token, MonitorError> {
        let (threshold, found, expected) = (self.threshold, notes.len(), self.features);
        let tally = self.tally(probability, group)?;
        if found != expected {
            return Err(MonitorError::WrongFeatureCount { found, expected });
        }
        tally.observe(probability, threshold);
        self.observed = self.observed.saturating_add(1);
        let mut all = 0;
        for (counts, note) in self.by_feature.iter_mut().zip(notes) {
            // Most values are usual and take one comparison.
            if *note != Note::Usual {
                counts.observe(*note as u8);
                all |= *note as u8;
            }
        }
        self.inputs.observe(all);
        self.watch(Watched::Favourable, f32::from(u8::from(probability >= threshold)), group);
        self.watch(Watched::Score, probability, group);
        Ok(Token { model: self.model, probability, group })
    }

    /// Counts the outcome of a score that was observed, in any order.
    ///
    /// # Errors
    /// [`MonitorError::OtherModel`], and for a stored token that was damaged, the errors of
    /// [`Monitor::observe`].
    pub fn label(&mut self, token: Token, favourable: bool) -> Result<(), MonitorError> {
        let Token { model, probability, group } = token;
        self.check_model(model)?;
        let threshold = self.threshold;
        self.tally(probability, group)?.label(favourable, probability, threshold);
        let wrong = (probability >= threshold) != favourable;
        self.watch(Watched::Error, f32::from(u8::from(wrong)), group);
        Ok(())
    }

    /// Counts the distance of a declined record from a favourable decision, in standard deviations;
    /// `None` if [`crate::recourse`] found no recourse.
    ///
    /// # Errors
    /// [`MonitorError::NotDeclined`], [`MonitorError::NotADistance`], and the errors of
    /// [`Monitor::label`].
    pub fn distance(&mut self, token: &Token, distance: Option<f32>) -> Result<(), MonitorError> {
        self.check_model(token.model)?;
        let threshold = self.threshold;
        let tally = self.tally(token.probability, token.group)?;
        if token.probability >= threshold {
            return Err(MonitorError::NotDeclined);
        }
        match distance {
            Some(found) if !(0.0..=f32::from(Tally::LARGEST_DISTANCE)).contains(&found) => {
                Err(MonitorError::NotADistance { found })
            }
            _ => {
                tally.distance(distance);
                Ok(())
            }
        }
    }

    /// Returns the number of observations in this period.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// Returns the number of records with missing, clamped or unseen values.
    #[must_use]
    pub fn inputs(&self) -> &InputCounts {
        &self.inputs
    }

    /// Returns the number of missing, clamped and unseen values of each feature.
    #[must_use]
    pub fn features(&self) -> &[InputCounts] {
        self.by_feature.get(..self.features).unwrap_or(&self.by_feature)
    }

    /// Returns the tally of each group, the reference first.
    #[must_use]
    pub fn groups(&self) -> &[Tally; GROUPS] {
        &self.groups
    }

    /// Returns the tally of the records without a group.
    #[must_use]
    pub fn ungrouped(&self) -> &Tally {
        &self.ungrouped
    }

    /// Returns the newest drifts of this period, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.ring.iter()
    }

    /// Returns the number of older drifts, which were dropped.
    #[must_use]
    pub fn events_dropped(&self) -> u32 {
        self.events.dropped
    }

    /// Returns the tally of a group, or of the records without one, if the score can be counted.
    fn tally(&mut self, probability: f32, group: Option<u8>) -> Result<&mut Tally, MonitorError> {
        if self.threshold == 0.0 {
            return Err(MonitorError::NotStarted);
        }
        if !(0.0..=1.0).contains(&probability) {
            return Err(MonitorError::NotAProbability { found: probability });
        }
        let Some(found) = group else { return Ok(&mut self.ungrouped) };
        let tally = self.groups.get_mut(usize::from(found));
        tally.ok_or(MonitorError::GroupOutOfRange { found, groups: GROUPS })
    }

    fn check_model(&self, found: u32) -> Result<(), MonitorError> {
        if found == self.model { Ok(()) } else { Err(MonitorError::OtherModel { found, expected: self.model }) }
    }

    /// Passes a value of a record to its detectors.
    fn watch(&mut self, watched: Watched, value: f32, group: Option<u8>) {
        for (index, detectors) in (0..=u8::MAX).zip(&mut self.detectors) {
            let Some(detector) = detectors.get_mut(watched as usize) else { continue };
            let change = match (detector, group) {
                (Detector::Overall(all), _) => all.update(value),
                (Detector::Gap(gap), Some(0)) => gap.observe(true, value),
                (Detector::Gap(gap), Some(group)) if index == group => gap.observe(false, value),
                _ => None,
            };
            if let Some(change) = change {
                self.events.push(Event { watched, group: index, at: self.observed, change });
            }
        }
    }
}

impl<const GROUPS: usize, const FEATURES: usize> Default for Monitor<GROUPS, FEATURES> {
    fn default() -> Self {
        Self::new()
    }
}
