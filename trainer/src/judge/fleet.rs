//! Which of the statuses of a fleet count: those that their devices wrote, of each device once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use feamoe_engine::monitor::{DeviceId, Key};
use serde::Serialize;

use super::received::{Received, refused};
use crate::error::Error;

/// Most bytes of a list of counters: a million devices.
const MOST_BYTES: u64 = 64 << 20;

/// Digits of a key.
const KEY_DIGITS: usize = 64;

/// Reads the key of a fleet from a file: 64 hexadecimal digits.
///
/// # Errors
/// [`Error::Read`]; [`Error::Status`] where it is something else, which is not repeated.
pub fn open_key(path: &Path) -> Result<Key, Error> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(KEY_DIGITS as u64 + 8).read_to_end(&mut text));
    read.map_err(|source| Error::Read { file: path.display().to_string(), source })?;
    let digits = text.trim_ascii();
    let mut key = [0; KEY_DIGITS / 2];
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let is_key = digits.len() == KEY_DIGITS
        && key.iter_mut().zip(digits.chunks_exact(2)).all(|(to, pair)| match pair {
            [high, low] => digit(*high).zip(digit(*low)).map(|(high, low)| *to = high << 4 | low).is_some(),
            _ => false,
        });
    if is_key {
        return Ok(Key::new(key));
    }
    let message =
        format!("found no key, expected {KEY_DIGITS} hexadecimal digits, such as `openssl rand -hex 32` prints");
    Err(refused(path, message))
}

/// Why a status does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its bytes are no status; only where a key is given, else that is an error.
    Damaged,
    /// It carries no MAC, so that anybody can have written it.
    NotAuthenticated,
    /// Its MAC is wrong: not written, or changed since, without the key of the device it names.
    Forged,
    /// Its counter is not above one that was seen before, or the same status is there twice.
    Replayed,
    /// Two statuses of this device with one counter say different things: the device was copied, or
    /// lost its counter. Neither counts.
    Conflicting,
    /// There is a newer one of the same device.
    Superseded,
}

impl Why {
    /// All of them, the gravest first.
    pub const ALL: [Self; 6] =
        [Self::Forged, Self::NotAuthenticated, Self::Damaged, Self::Conflicting, Self::Replayed, Self::Superseded];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damaged => "no status, or damaged",
            Self::NotAuthenticated => "without a MAC",
            Self::Forged => "forged: a wrong MAC",
            Self::Replayed => "replayed: seen before",
            Self::Conflicting => "one of several with the same counter that differ",
            Self::Superseded => "superseded by a newer one of the device",
        }
    }
}

/// A status that does not count.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Refused {
    /// The file.
    pub file: String,
    /// The device that it names.
    pub device: Option<String>,
    /// Its counter.
    pub counter: Option<u64>,
    /// Why it does not count.
    pub why: Why,
}

/// The newest counter of each device that was seen in earlier runs, as a JSON object: the device's
/// 32 hexadecimal digits, its counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads the file; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Status`] where it is no such list.
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
            Some(list) => Ok(Some(Self(list))),
            None => Err(refused(
                path,
                "found no list of counters, expected the file that an earlier run wrote; restore it, or remove it to accept every counter once more".into(),
            )),
        }
    }

    /// Returns the list as it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(device, counter)| format!("  \"{device}\": {counter}")).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// Takes over the counters of statuses that count.
    pub fn note(&mut self, fleet: &Fleet) {
        for sender in fleet.counted.iter().filter_map(|one| one.sender) {
            let newest = self.0.entry(digits(&sender.device)).or_default();
            *newest = sender.counter.max(*newest);
        }
    }

    fn has_seen(&self, device: &DeviceId, counter: u64) -> bool {
        self.0.get(&digits(device)).is_some_and(|newest| counter <= *newest)
    }
}

fn digits(device: &DeviceId) -> String {
    device.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
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
    counted: Vec<Received>,
    refused: Vec<Refused>,
}

impl Fleet {
    /// Returns whether every status that counts was shown to be of the device that it names.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Returns the statuses that count, in the order read.
    #[must_use]
    pub fn counted(&self) -> &[Received] {
        &self.counted
    }

    /// Returns those that do not, by why, then by file.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}

impl Refused {
    /// Returns how many there are by why, in words; nothing where there are none.
    #[must_use]
    pub fn counts(all: &[Self]) -> String {
        let count = |why: Why| all.iter().filter(|refused| refused.why == why).count();
        let counts = Why::ALL.into_iter().map(|why| (count(why), why.name())).filter(|(count, _)| *count > 0);
        counts.map(|(count, why)| format!("{count} {why}")).collect::<Vec<_>>().join(", ")
    }

    fn new(received: &Received, why: Why) -> Self {
        Self {
            file: received.file.display().to_string(),
            device: received.device(),
            counter: received.sender.map(|sender| sender.counter),
            why,
        }
    }
}

impl Inbox {
    /// Returns an empty one; with the key of the fleet, only what its devices wrote counts.
    #[must_use]
    pub fn new(key: Option<Key>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Reads a status from a file. With a key, one that is damaged, forged or without a MAC is
    /// refused; without, everything that is a status is taken as it is.
    ///
    /// # Errors
    /// [`Error::Read`]; without a key also [`Error::Status`].
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
            Ok((received, Some(why))) => self.refused.push(Refused::new(&received, why)),
            Err(Error::Status { file, .. }) if self.key.is_some() => {
                self.refused.push(Refused { file, device: None, counter: None, why: Why::Damaged });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decides which statuses count: of each device the newest, unless its counter was seen before;
    /// of devices without a name all.
    #[must_use]
    pub fn settle(self, seen: &Counters) -> Fleet {
        let Self { key, received, mut refused } = self;
        let newest = newest(&received);
        let why_not = |place: usize, one: &Received| {
            let sender = one.sender?;
            let newest = newest.get(&sender.device)?;
            if seen.has_seen(&sender.device, sender.counter) {
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
                Some(why) => refused.push(Refused::new(&one, why)),
                None => counted.push(one),
            }
        }
        let rank = |why: Why| Why::ALL.iter().position(|known| *known == why);
        refused.sort_by(|a, b| rank(a.why).cmp(&rank(b.why)).then_with(|| a.file.cmp(&b.file)));
        Fleet { is_authenticated: key.is_some(), counted, refused }
    }
}

/// The newest status of a device.
struct Newest {
    counter: u64,
    /// Where the first of this counter stands.
    place: usize,
    /// Whether another of this counter says something else.
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
