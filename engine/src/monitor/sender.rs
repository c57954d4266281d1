//! The sender of a status: its device, a counter and, with the feature `mac`, proof that the sender
//! has the key of that device.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::status::{MAGIC, STATUS_OF_A_SENDER};
use super::{Monitor, MonitorError};

/// Bytes of a device id.
const DEVICE_BYTES: usize = 16;
/// Bytes of a MAC.
const MAC_BYTES: usize = 16;
/// The largest number of bytes by which a sender makes a status longer.
pub(super) const SENDER_BYTES: usize = DEVICE_BYTES + size_of::<u64>() + MAC_BYTES;
/// A flag of the frame: the payload ends with a MAC.
pub(super) const FLAG_MAC: u16 = 1;

/// A message authentication code: the first half of an HMAC-SHA-256.
pub(super) type Mac = [u8; MAC_BYTES];

/// The id of a device: 16 bytes of any meaning, such as a serial number or a UUID.
///
/// It is displayed as text, without trailing zeros, if its bytes are printable ASCII without
/// spaces; otherwise as 32 hexadecimal digits.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId([u8; DEVICE_BYTES]);

impl DeviceId {
    /// Creates an id from at most 16 bytes, padded with zeros; `None` if there are more.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = [0; DEVICE_BYTES];
        id.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self(id))
    }

    /// Returns its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; DEVICE_BYTES] {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.wrapping_add(1));
        let text = self.0.get(..end).filter(|bytes| end > 0 && bytes.iter().all(u8::is_ascii_graphic));
        match text.and_then(|bytes| core::str::from_utf8(bytes).ok()) {
            Some(text) => f.pad(text),
            None => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// The sender of a status.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The device.
    pub device: DeviceId,
    /// A counter that increases with each status, also over restarts. The newer of two statuses of
    /// a device has the larger counter, and a status that was seen before is refused.
    #[serde(with = "fixed")]
    pub counter: u64,
}

/// Encodes a counter in exactly 8 bytes.
mod fixed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        value.to_le_bytes().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        <[u8; 8]>::deserialize(from).map(u64::from_le_bytes)
    }
}

impl<const GROUPS: usize, const FEATURES: usize> Monitor<GROUPS, FEATURES> {
    /// A buffer size in bytes that suffices for the status of a sender.
    pub const SENT_STATUS_BYTES: usize = Self::STATUS_BYTES + SENDER_BYTES;

    /// Writes the status with its sender to the caller's memory ([`Monitor::SENT_STATUS_BYTES`]
    /// suffice), and returns the part that was written. The sender is not authenticated; see
    /// [`Monitor::write_authenticated`].
    ///
    /// # Errors
    /// [`MonitorError::BufferTooSmall`], [`MonitorError::NotStarted`].
    pub fn write_from<'b>(&self, sender: &Sender, buffer: &'b mut [u8]) -> Result<&'b [u8], MonitorError> {
        self.sent(buffer, |monitor, buffer| {
            monitor.framed(MAGIC, STATUS_OF_A_SENDER, 0, buffer, |payload| payload.put(sender))
        })
    }

    fn sent<'b>(
        &self,
        buffer: &'b mut [u8],
        write: impl FnOnce(&Self, &'b mut [u8]) -> Option<&'b [u8]>,
    ) -> Result<&'b [u8], MonitorError> {
        if self.threshold == 0.0 {
            return Err(MonitorError::NotStarted);
        }
        let found = buffer.len();
        write(self, buffer).ok_or(MonitorError::BufferTooSmall { found, enough: Self::SENT_STATUS_BYTES })
    }
}

#[cfg(feature = "mac")]
mod mac {
    use core::fmt;

    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::Sha256;

    use super::{DeviceId, FLAG_MAC, MAC_BYTES, Mac, Sender};
    use crate::frame::{self, CRC_AT, HEADER_BYTES};
    use crate::monitor::status::{MAGIC, STATUS_OF_A_SENDER};
    use crate::monitor::{Monitor, MonitorError, Status};

    /// A secret key of 32 bytes, for statuses that cannot be forged.
    ///
    /// The owner of a fleet has one key, and each device only its [`Key::of_device`], which `feamoe
    /// sign --device-key` writes. Whoever reads the key of a device can impersonate only that
    /// device.
    #[derive(Clone)]
    pub struct Key([u8; 32]);

    impl Key {
        /// Returns the key with these bytes, which must come from a cryptographic random number
        /// generator.
        #[must_use]
        pub const fn new(bytes: [u8; 32]) -> Self {
            Self(bytes)
        }

        /// Returns the key of a device if this is the key of its fleet: the HMAC-SHA-256 of the 16
        /// bytes of its id.
        #[must_use]
        pub fn of_device(&self, device: &DeviceId) -> Self {
            let mut hmac = self.hmac();
            hmac.update(device.as_bytes());
            Self(hmac.finalize().into_bytes().into())
        }

        /// Returns the bytes of the key, to be stored in a device.
        #[must_use]
        pub const fn as_bytes(&self) -> &[u8; 32] {
            &self.0
        }

        fn hmac(&self) -> Hmac<Sha256> {
            // HMAC pads the key with zeros to a block.
            let mut block = [0; 64];
            block.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
            Hmac::new(&block.into())
        }

        /// Returns the HMAC of a frame: over its header up to the CRC, including the flag for the
        /// MAC, and over its payload up to the MAC.
        fn of_frame(&self, frame: &[u8]) -> Hmac<Sha256> {
            let mut hmac = self.hmac();
            hmac.update(frame.get(..CRC_AT).unwrap_or_default());
            hmac.update(frame.get(HEADER_BYTES..).unwrap_or_default());
            hmac
        }
    }

    impl fmt::Debug for Key {
        /// Never shows the secret.
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Key")
        }
    }

    impl<const GROUPS: usize, const FEATURES: usize> Monitor<GROUPS, FEATURES> {
        /// Like [`Monitor::write_from`], with a MAC by the device's key, so that nobody without the
        /// key can write or change the status.
        ///
        /// # Errors
        /// [`MonitorError::BufferTooSmall`], [`MonitorError::NotStarted`].
        pub fn write_authenticated<'b>(
            &self,
            sender: &Sender,
            key: &Key,
            buffer: &'b mut [u8],
        ) -> Result<&'b [u8], MonitorError> {
            self.sent(buffer, |monitor, buffer| {
                let with_room = monitor.framed(MAGIC, STATUS_OF_A_SENDER, FLAG_MAC, buffer, |payload| {
                    payload.put(sender)?;
                    payload.put::<Mac>(&[0; MAC_BYTES])
                });
                let length = with_room?.len();
                let frame = buffer.get_mut(..length)?;
                let (covered, room) = frame.split_last_chunk_mut::<MAC_BYTES>()?;
                *room = *key.of_frame(covered).finalize().into_bytes().first_chunk()?;
                let (header, payload) = frame.split_first_chunk_mut::<HEADER_BYTES>()?;
                *header = frame::seal(MAGIC, STATUS_OF_A_SENDER, FLAG_MAC, payload)?;
                Some(frame)
            })
        }
    }

    impl Status<'_> {
        /// Returns whether the status has a MAC that was made with this key. The comparison takes
        /// constant time.
        #[must_use]
        pub fn is_authentic(&self, key: &Key) -> bool {
            let parts = self.as_bytes().split_last_chunk::<MAC_BYTES>().filter(|_| self.has_mac());
            parts.is_some_and(|(covered, mac)| key.of_frame(covered).verify_truncated_left(mac).is_ok())
        }
    }
}

#[cfg(feature = "mac")]
pub use mac::Key;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use std::string::ToString as _;
    use std::vec::Vec;

    use super::*;
    use crate::frame::{self, HEADER_BYTES};
    use crate::monitor::{Status, StatusError};

    type Device = Monitor<2, 3>;

    fn sender(counter: u64) -> Sender {
        Sender { device: DeviceId::new(b"pump-7").unwrap(), counter }
    }

    fn monitor() -> Device {
        let mut monitor = Device::new();
        (monitor.model, monitor.threshold, monitor.features) = (7, 0.5, 3);
        for record in 0..300_u16 {
            let notes = [crate::schema::Note::Usual; 3];
            let _ = monitor.observe(f32::from(record % 10) / 10.0, &notes, Some((record % 2) as u8)).unwrap();
        }
        monitor
    }

    /// Returns a frame with a valid header for this payload.
    fn sealed(version: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        [&frame::seal(MAGIC, version, flags, payload).unwrap()[..], payload].concat()
    }

    #[test]
    fn ids_are_shown_as_text_or_digits() {
        let shown = |bytes: &[u8]| DeviceId::new(bytes).unwrap().to_string();
        assert_eq!(shown(b"pump-7"), "pump-7");
        assert_eq!(shown(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(shown(b""), "00000000000000000000000000000000");
        // An id with control characters or spaces is shown in hexadecimal.
        assert_eq!(shown(b"\x1b[2J"), "1b5b324a000000000000000000000000");
        assert_eq!(shown(b"a b"), "61206200000000000000000000000000");
        assert_eq!(shown(b"a\0b"), "61006200000000000000000000000000");
        assert_eq!(DeviceId::new(&[1; 17]), None);
    }

    #[test]
    fn a_sender_comes_back_in_buffers_that_just_suffice() {
        let (monitor, mut buffer) = (monitor(), [0; Device::SENT_STATUS_BYTES]);
        for counter in [0, 1, u64::MAX] {
            let bytes = monitor.write_from(&sender(counter), &mut buffer).unwrap();
            let status = Status::read(bytes).unwrap();
            assert_eq!((status.sender(), status.has_mac()), (Some(sender(counter)), false));
            assert!(status.groups().eq(monitor.groups().iter().copied()));
        }
        let plain = monitor.write(&mut buffer).unwrap();
        assert_eq!((Status::read(plain).unwrap().sender(), plain.len()), (None, plain.len()));
        let length = monitor.write_from(&sender(1), &mut buffer).unwrap().len();
        for shorter in 0..length {
            let enough = Device::SENT_STATUS_BYTES;
            let found = monitor.write_from(&sender(1), &mut buffer[..shorter]).map(<[u8]>::len);
            assert_eq!(found, Err(MonitorError::BufferTooSmall { found: shorter, enough }));
        }
        assert_eq!(monitor.write_from(&sender(1), &mut buffer[..length]).map(<[u8]>::len), Ok(length));
        assert_eq!(Device::new().write_from(&sender(1), &mut buffer), Err(MonitorError::NotStarted));
    }

    #[test]
    fn versions_and_flags_have_exactly_their_parts() {
        let (monitor, mut buffer) = (monitor(), [0; Device::SENT_STATUS_BYTES]);
        let plain = monitor.write(&mut buffer).unwrap()[HEADER_BYTES..].to_vec();
        let sent = monitor.write_from(&sender(5), &mut buffer).unwrap()[HEADER_BYTES..].to_vec();
        assert_eq!(sent[..plain.len()], plain);
        let read = |version, flags, payload: &[u8]| Status::read(&sealed(version, flags, payload)).err();
        let with_mac = [&sent[..], &[0; MAC_BYTES]].concat();
        for (version, flags, payload) in [(1, 0, &plain), (2, 0, &sent), (2, FLAG_MAC, &with_mac)] {
            assert_eq!(read(version, flags, payload), None);
        }
        for (version, flags, payload) in [
            (1, 0, &sent),
            (1, 0, &with_mac),
            (2, 0, &plain),
            (2, 0, &with_mac),
            (2, FLAG_MAC, &plain),
            (2, FLAG_MAC, &sent),
        ] {
            let error = read(version, flags, payload);
            assert!(
                matches!(error, Some(StatusError::TrailingBytes { .. } | StatusError::Malformed { .. })),
                "{version} {flags}: {error:?}"
            );
        }
        for (version, flags) in [(1, FLAG_MAC), (1, 2), (2, 2), (2, 3), (2, 0x8000)] {
            assert_eq!(read(version, flags, &with_mac), Some(StatusError::Malformed { at: frame::FLAGS_AT }));
        }
        assert!(matches!(read(3, 0, &sent), Some(StatusError::Frame(_))));
    }

    #[cfg(feature = "mac")]
    mod mac {
        use sha2::{Digest as _, Sha256};

        use super::*;
        use crate::monitor::Key;

        fn fleet() -> Key {
            Key::new(*b"thirty-two bytes of the fleet...")
        }

        /// RFC 2104, word by word.
        fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
            let block = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ pad).collect() };
            let inner = Sha256::digest([&block(0x36)[..], &parts.concat()].concat());
            Sha256::digest([&block(0x5c)[..], &inner[..]].concat()).into()
        }

        fn authenticated(key: &Key, counter: u64) -> Vec<u8> {
            let mut buffer = [0; Device::SENT_STATUS_BYTES];
            monitor().write_authenticated(&sender(counter), key, &mut buffer).unwrap().to_vec()
        }

        #[test]
        fn a_mac_is_the_hmac_of_all_before_it() {
            let key = fleet().of_device(&sender(1).device);
            assert_eq!(*key.as_bytes(), hmac(fleet().as_bytes(), &[b"pump-7\0\0\0\0\0\0\0\0\0\0"]));
            let bytes = authenticated(&key, 1);
            let (covered, mac) = bytes.split_at(bytes.len() - MAC_BYTES);
            assert_eq!(*mac, hmac(key.as_bytes(), &[&covered[..12], &covered[16..]])[..MAC_BYTES]);
            assert!(!std::format!("{key:?}").contains(|letter: char| letter.is_ascii_digit()));
        }

        #[test]
        fn only_the_key_of_the_device_makes_it_authentic() {
            let key = fleet().of_device(&sender(1).device);
            let bytes = authenticated(&key, 9);
            let status = Status::read(&bytes).unwrap();
            assert!(status.is_authentic(&key) && status.has_mac());
            assert_eq!(status.sender(), Some(sender(9)));
            let other = fleet().of_device(&DeviceId::new(b"pump-8").unwrap());
            for wrong in [fleet(), other, Key::new([0; 32])] {
                assert!(!status.is_authentic(&wrong));
            }
            let mut buffer = [0; Device::SENT_STATUS_BYTES];
            assert!(!Status::read(monitor().write_from(&sender(9), &mut buffer).unwrap()).unwrap().is_authentic(&key));
            assert!(!Status::read(monitor().write(&mut buffer).unwrap()).unwrap().is_authentic(&key));
        }

        /// A forger without the key corrects the checksum after flipping any bit, leaving out any
        /// byte, or changing the version or a flag.
        #[test]
        fn whatever_is_changed_is_not_authentic() {
            let key = fleet().of_device(&sender(1).device);
            let bytes = authenticated(&key, 9);
            let is_authentic = |bytes: &[u8]| Status::read(bytes).is_ok_and(|status| status.is_authentic(&key));
            assert!(is_authentic(&bytes));
            let (payload, mut read) = (&bytes[HEADER_BYTES..], 0);
            for bit in 0..8 * payload.len() {
                let mut payload = payload.to_vec();
                payload[bit / 8] ^= 1 << (bit % 8);
                let forged = sealed(STATUS_OF_A_SENDER, FLAG_MAC, &payload);
                read += usize::from(Status::read(&forged).is_ok());
                assert!(!is_authentic(&forged), "bit {bit}");
            }
            // Sender, MAC and many counts can be changed, and the status can still be read.
            assert!(read > 8 * (SENDER_BYTES + 10), "{read} were read");
            for end in 0..payload.len() {
                for (version, flags) in [(1, 0), (2, 0), (2, FLAG_MAC)] {
                    assert!(!is_authentic(&sealed(version, flags, &payload[..end])), "{end} bytes");
                }
                let without = [&payload[..end], &payload[end + 1..]].concat();
                assert!(!is_authentic(&sealed(STATUS_OF_A_SENDER, FLAG_MAC, &without)), "without byte {end}");
            }
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                assert!(!is_authentic(&damaged), "byte {at}");
            }
        }
    }
}
