//! Decides which statuses of a fleet count: those that their devices wrote, one per device, and all
//! for the same monitor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use feamoe_engine::fairness::Counts;
use feamoe_engine::monitor::{DeviceId, Key, Tally};
use serde::Serialize;
use zeroize::Zeroizing;

use super::received::{Names, Received, refused};
use crate::error::Error;
use crate::output::WriteError;
use crate::secret::{self, SecretError};

/// Maximum size in bytes of a list of counters, enough for a million devices.
const MOST_BYTES: u64 = 64 << 20;

/// Number of hexadecimal digits of a key.
const KEY_DIGITS: usize = 64;

/// Reads the key of a fleet from a file: 64 hexadecimal digits.
///
/// # Errors
/// [`Error::Read`], or [`Error::Status`] if the file belongs to another user, if others may read
/// it, or if it is not a key; its contents are not quoted.
pub fn open_key(path: &Path) -> Result<Key, Error> {
    let text = secret::read(path, KEY_DIGITS as u64 + 8).map_err(|error| match error {
        SecretError::Read(source) => Error::Read { file: path.display().to_string(), source },
        error => refused(path, error.to_string()),
    })?;
    match bytes_of(text.trim_ascii()) {
        Some(key) => Ok(Key::new(*key)),
        None => Err(refused(
            path,
            format!("found no key, expected {KEY_DIGITS} hexadecimal digits, as `openssl rand -hex 32` prints"),
        )),
    }
}

/// Writes the secret key of a device, derived from the key of its fleet, as 64 hexadecimal digits
/// to a new file that only its owner can read.
///
/// # Errors
/// [`WriteError`], also if the file exists.
pub fn write_device_key(path: &Path, fleet: &Key, device: &DeviceId) -> Result<(), WriteError> {
    let mut text = Zeroizing::new(String::with_capacity(KEY_DIGITS + 1));
    push_hex(&mut text, fleet.of_device(device).as_bytes());
    text.push('\n');
    secret::write_new(path, text.as_bytes(), true)
}

/// Returns the device with this name, as statuses show it: 1 to 16 visible ASCII characters, or 32
/// hexadecimal digits. Returns `None` for anything else.
#[must_use]
pub fn device_named(name: &str) -> Option<DeviceId> {
    match name.len() {
        1..=16 if name.bytes().all(|byte| byte.is_ascii_graphic()) => DeviceId::new(name.as_bytes()),
        32 => bytes_of::<16>(name.as_bytes()).and_then(|bytes| DeviceId::new(&*bytes)),
        _ => None,
    }
}

/// Returns the bytes of exactly `2 N` hexadecimal digits.
fn bytes_of<const N: usize>(digits: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Zeroizing::new([0; N]);
    let are_all = digits.len() == 2 * N
        && bytes.iter_mut().zip(digits.chunks_exact(2)).all(|(to, pair)| match pair {
            [high, low] => digit(*high).zip(digit(*low)).map(|(high, low)| *to = high << 4 | low).is_some(),
            _ => false,
        });
    are_all.then_some(bytes)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 15)]));
}

/// Why a status does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The file is not a status. This reason occurs only if a key was given; otherwise it is an
    /// error.
    Damaged,
    /// The status has no MAC, so anyone could have written it.
    NotAuthenticated,
    /// The MAC is wrong: the status was written or changed without the key of the device that it
    /// names.
    Forged,
    /// The counter is not above one that was seen before, or the same status was given twice.
    Replayed,
    /// Two statuses of this device have the same counter but differ: the device was copied, or lost
    /// its counter. Neither counts.
    Conflicting,
    /// There is a newer status of the same device.
    Superseded,
    /// The model of the status is not the given one, or differs from that of most statuses.
    OtherModel,
    /// The groups or features of the status differ from the given ones, or from those of most
    /// statuses.
    OtherGroups,
    /// The sum of all statuses would overflow a counter. Those with the largest counts are left
    /// out.
    PastCounters,
}

impl Why {
    /// All reasons, the most severe first.
    pub const ALL: [Self; 9] = [
        Self::Forged,
        Self::NotAuthenticated,
        Self::Damaged,
        Self::Conflicting,
        Self::OtherModel,
        Self::OtherGroups,
        Self::PastCounters,
        Self::Replayed,
        Self::Superseded,
    ];

    /// Returns whether an authentic status was lost: with a key, its device wrote it, and no newer
    /// status of the device counts instead. This needs attention.
    #[must_use]
    pub const fn is_authentic_loss(self) -> bool {
        matches!(self, Self::Conflicting | Self::OtherModel | Self::OtherGroups | Self::PastCounters)
    }

    /// Returns the reason as text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damaged => "not a status, or damaged",
            Self::NotAuthenticated => "without a MAC",
            Self::Forged => "forged: a wrong MAC",
            Self::Replayed => "replayed: seen before",
            Self::Conflicting => "one of several different statuses with the same counter",
            Self::Superseded => "superseded by a newer status of the device",
            Self::OtherModel => "of another model",
            Self::OtherGroups => "of other groups or features",
            Self::PastCounters => "would overflow a counter",
        }
    }
}

/// A status that does not count.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Refused {
    /// The file.
    pub file: String,
    /// The device that the status names; null if it names none or cannot be read.
    pub device: Option<String>,
    /// The counter of the status; null if it has none or cannot be read.
    pub counter: Option<u64>,
    /// Why the status does not count.
    pub why: Why,
    /// What was found and what was expected; null if the reason alone shows it.
    pub found: Option<String>,
}

/// A device that is known from earlier runs but has no status that counts now: it sent none, or its
/// status was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Silent {
    /// The device.
    pub device: String,
    /// The highest counter of earlier runs. Statuses up to this counter do not count.
    pub counter: u64,
}

/// The counter of each device from earlier runs, up to which statuses no longer count. Stored as a
/// JSON object from the device's 32 hexadecimal digits to the counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Status`] if the file is not such a list.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text)) {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) if source.kind() != ErrorKind::InvalidData => {
                return Err(Error::Read { file: path.display().to_string(), source });
            }
            _ => {}
        }
        let list: Option<BTreeMap<String, u64>> = serde_json::from_str(&text).ok();
        let is_device = |name: &String| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        match list.filter(|list| text.len() as u64 <= MOST_BYTES && list.keys().all(is_device)) {
            Some(list) => {
                let mut counters = Self::default();
                list.iter().for_each(|(device, counter)| counters.raise(device.to_ascii_lowercase(), *counter));
                Ok(Some(counters))
            }
            None => Err(refused(
                path,
                "the file is not a list of counters, as an earlier run writes it; restore it, or remove it to accept every counter once more".into(),
            )),
        }
    }

    /// Returns the list as it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(device, counter)| format!("  \"{device}\": {counter}")).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// Adds the newest counter of each device: that of a status that counts, or of conflicting
    /// ones. A status that was refused because of its model, its groups or its size may still count
    /// in another run.
    pub fn note(&mut self, fleet: &Fleet) {
        fleet.spent.iter().for_each(|(device, counter)| self.raise(digits(device), *counter));
    }

    fn raise(&mut self, device: String, counter: u64) {
        let newest = self.0.entry(device).or_default();
        *newest = counter.max(*newest);
    }

    /// Returns the devices that are not among these.
    fn others(&self, heard: &BTreeSet<DeviceId>) -> Vec<Silent> {
        let devices = self.0.iter().filter_map(|(digits, counter)| Some((device_named(digits)?, *counter)));
        let silent = devices.filter(|(device, _)| !heard.contains(device));
        silent.map(|(device, counter)| Silent { device: device.to_string(), counter }).collect()
    }

    fn has_seen(&self, device: &DeviceId, counter: u64) -> bool {
        self.0.get(&digits(device)).is_some_and(|newest| counter <= *newest)
    }
}

fn digits(device: &DeviceId) -> String {
    let mut text = String::new();
    push_hex(&mut text, device.as_bytes());
    text
}

/// Statuses that were read, with or without the key of the fleet.
#[derive(Debug, Default)]
pub struct Inbox {
    key: Option<Key>,
    received: Vec<Received>,
    refused: Vec<Refused>,
}

/// The statuses of a fleet that count, and those that do not.
#[derive(Debug)]
pub struct Fleet {
    is_authenticated: bool,
    excludes_replays: bool,
    counted: Vec<Received>,
    refused: Vec<Refused>,
    silent: Vec<Silent>,
    /// The counter of each device up to which statuses no longer count.
    spent: Vec<(DeviceId, u64)>,
}

impl Fleet {
    /// Returns whether every status that counts was authenticated.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Returns whether statuses that were seen in earlier runs were recognised.
    #[must_use]
    pub fn excludes_replays(&self) -> bool {
        self.excludes_replays
    }

    /// Returns the statuses that count, in the order read. They belong to the same monitor, and
    /// their counts add up.
    #[must_use]
    pub fn counted(&self) -> &[Received] {
        &self.counted
    }

    /// Returns the statuses that do not count, by reason, then by file.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Returns the devices of earlier runs without a status that counts, by id.
    #[must_use]
    pub fn silent(&self) -> &[Silent] {
        &self.silent
    }
}

impl Refused {
    /// Returns the numbers by reason as text; empty if there are none.
    #[must_use]
    pub fn counts(all: &[Self]) -> String {
        let count = |why: Why| all.iter().filter(|refused| refused.why == why).count();
        let counts = Why::ALL.into_iter().map(|why| (count(why), why.name())).filter(|(count, _)| *count > 0);
        counts.map(|(count, why)| format!("{count} {why}")).collect::<Vec<_>>().join(", ")
    }

    fn new(received: &Received, why: Why, found: Option<String>) -> Self {
        Self {
            file: received.file.display().to_string(),
            device: received.device(),
            counter: received.sender.map(|sender| sender.counter),
            why,
            found,
        }
    }
}

impl Inbox {
    /// Returns an empty inbox. With the key of the fleet, only statuses written by its devices
    /// count.
    #[must_use]
    pub fn new(key: Option<Key>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Reads a status from a file. With a key, a status that is damaged, forged or without a MAC is
    /// refused; without a key, every status is accepted.
    ///
    /// # Errors
    /// [`Error::Read`], and without a key also [`Error::Status`].
    pub fn read(&mut self, path: &Path) -> Result<(), Error> {
        let read = Received::read_by(path, |status, device| {
            let key = self.key.as_ref()?;
            match device.filter(|_| status.has_mac()) {
                None => Some(Why::NotAuthenticated),
                Some(device) => (!status.is_authentic(&key.of_device(&device))).then_some(Why::Forged),
            }
        });
        match read {
            Ok((received, None)) => self.received.push(received),
            Ok((received, Some(why))) => self.refused.push(Refused::new(&received, why, None)),
            Err(Error::Status { file, .. }) if self.key.is_some() => {
                self.refused.push(Refused { file, device: None, counter: None, why: Why::Damaged, found: None });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decides which statuses count: the newest of each device, unless its counter was `seen`
    /// before (`None` if nothing is known of earlier runs), and all statuses without a device. Of
    /// these, only statuses of the given model and groups count; without them, those of the monitor
    /// that most statuses belong to. Statuses whose counts would overflow the sum are left out.
    #[must_use]
    pub fn settle(self, seen: Option<&Counters>, names: &Names) -> Fleet {
        let Self { key, received, mut refused } = self;
        let newest = newest(&received);
        let why_not = |place: usize, one: &Received| {
            let sender = one.sender?;
            let newest = newest.get(&sender.device)?;
            if seen.is_some_and(|seen| seen.has_seen(&sender.device, sender.counter)) {
                Some(Why::Replayed)
            } else if sender.counter < newest.counter {
                Some(Why::Superseded)
            } else if newest.differs {
                Some(Why::Conflicting)
            } else {
                (newest.place != place).then_some(Why::Replayed)
            }
        };
        let whys: Vec<Option<Why>> = received.iter().enumerate().map(|(place, one)| why_not(place, one)).collect();
        let mut counted = Vec::new();
        for (one, why) in received.into_iter().zip(whys) {
            match why {
                Some(why) => refused.push(Refused::new(&one, why, None)),
                None => counted.push(one),
            }
        }
        let counted = of_one_monitor(counted, names, &mut refused);
        let counted = that_add_up(counted, &mut refused);
        let heard = counted.iter().filter_map(|one| Some(one.sender?.device)).collect();
        let silent = seen.map_or_else(Vec::new, |seen| seen.others(&heard));
        let spent = newest.into_iter().filter_map(|(device, Newest { counter, differs, .. })| {
            let is_spent = differs || heard.contains(&device);
            Some((device, if is_spent { counter } else { counter.checked_sub(1)? }))
        });
        let spent = spent.collect();
        let rank = |why: Why| Why::ALL.iter().position(|known| *known == why);
        refused.sort_by(|a, b| rank(a.why).cmp(&rank(b.why)).then_with(|| a.file.cmp(&b.file)));
        Fleet { is_authenticated: key.is_some(), excludes_replays: seen.is_some(), counted, refused, silent, spent }
    }
}

/// Returns the statuses of the given monitor or, without one, of the monitor that most statuses
/// belong to. Among equals, the monitor of the earliest status wins.
fn of_one_monitor(received: Vec<Received>, names: &Names, refused: &mut Vec<Refused>) -> Vec<Received> {
    let mut fitting = Vec::new();
    for one in received {
        match names.misfit(&one) {
            Some((why, found)) => refused.push(Refused::new(&one, why, Some(found))),
            None => fitting.push(one),
        }
    }
    let shape = |one: &Received| (one.model, one.groups.len(), one.features.len());
    let mut shapes: Vec<((u32, usize, usize), usize)> = Vec::new();
    for one in &fitting {
        match shapes.iter_mut().find(|(known, _)| *known == shape(one)) {
            Some((_, count)) => *count += 1,
            None => shapes.push((shape(one), 1)),
        }
    }
    let most = shapes.iter().rev().max_by_key(|(_, count)| *count).map(|(shape, _)| *shape);
    let Some(most) = most else { return fitting };
    let (model, groups, features) = most;
    let (own, others) = fitting.into_iter().partition(|one| shape(one) == most);
    for one in &others {
        let (found_model, found_groups, found_features) = shape(one);
        let why = if found_model == model { Why::OtherGroups } else { Why::OtherModel };
        let found = format!(
            "found model {found_model:08x}, {found_groups} groups and {found_features} features, expected model {model:08x}, {groups} groups and {features} features, as in most statuses"
        );
        refused.push(Refused::new(one, why, Some(found)));
    }
    own
}

/// Returns the statuses whose sum does not overflow. Those with the largest counts are left out
/// first, so that a single device with full counters does not prevent the report.
fn that_add_up(received: Vec<Received>, refused: &mut Vec<Refused>) -> Vec<Received> {
    let mut order: Vec<usize> = (0..received.len()).collect();
    order.sort_by_key(|place| received.get(*place).map(largest));
    let mut sum: Option<Vec<Tally>> = None;
    let mut past = BTreeSet::new();
    for place in order {
        let Some(one) = received.get(place) else { continue };
        let own = || one.groups.iter().chain([&one.ungrouped]);
        let mut with: Vec<Tally> = sum.clone().unwrap_or_else(|| vec![Tally::new(); one.groups.len() + 1]);
        with.iter_mut().zip(own()).for_each(|(sum, tally)| sum.merge(tally));
        // A single status is shown as the device counted it.
        if sum.is_some() && with.iter().any(Tally::is_full) {
            let found = format!("found a count of {}, with which a sum exceeds 4294967294", largest(one));
            refused.push(Refused::new(one, Why::PastCounters, Some(found)));
            _ = past.insert(place);
        } else {
            sum = Some(with);
        }
    }
    let all = received.into_iter().enumerate();
    all.filter(|(place, _)| !past.contains(place)).map(|(_, one)| one).collect()
}

/// Returns the largest count of a status. Each count is taken as the device reports it: labels and
/// distances can outnumber the decisions.
fn largest(one: &Received) -> u64 {
    let of_tally = |tally: &Tally| {
        let cells = |counts: &Counts| {
            [(true, true), (true, false), (false, true), (false, false)]
                .map(|(label, decided)| counts.cell(label, decided))
        };
        let distances = [tally.distances().found(), tally.distances().without()];
        let all = cells(tally.decisions()).into_iter().chain(cells(tally.labelled())).chain(distances);
        all.max().unwrap_or(0)
    };
    one.groups.iter().chain([&one.ungrouped]).map(of_tally).max().unwrap_or(0)
}

/// The newest status of a device.
struct Newest {
    counter: u64,
    /// Index of the first status with this counter.
    place: usize,
    /// Whether another status with this counter has different content.
    differs: bool,
}

fn newest(received: &[Received]) -> BTreeMap<DeviceId, Newest> {
    let mut all: BTreeMap<DeviceId, Newest> = BTreeMap::new();
    for (place, one) in received.iter().enumerate() {
        let Some(sender) = one.sender else { continue };
        let first = Newest { counter: sender.counter, place, differs: false };
        match all.get_mut(&sender.device) {
            Some(newest) if newest.counter > sender.counter => {}
            Some(newest) if newest.counter == sender.counter => {
                newest.differs |= received.get(newest.place).is_some_and(|first| !first.says_the_same(one));
            }
            _ => drop(all.insert(sender.device, first)),
        }
    }
    all
}
