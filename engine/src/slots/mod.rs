//! Two places in flash for model blobs: a new one is written beside the one in use, and whatever cuts the writing short leaves one that loads.
//!
//! ```no_run
//! use feamoe_engine::slots::{Step, choose};
//!
//! # type Error = Box<dyn std::error::Error>;
//! # struct Flash;
//! # impl Flash {
//! #     fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> { Ok(()) }
//! #     fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Error> { Ok(()) }
//! # }
//! # fn update(slots: [&[u8]; 2], received: &[u8], flash: &mut Flash) -> Result<(), Error> {
//! const STARTS: [u32; 2] = [0x4_0000, 0x6_0000]; // of the slots, for the flash driver
//! const SLOT_BYTES: u32 = 0x2_0000;
//!
//! let target = match choose::<16, 12>(slots) {
//!     Ok(chosen) => chosen.target, // chosen.model scores
//!     Err(none) => none.target,    // a new device
//! };
//! let start = STARTS[target.slot];
//! for step in target.update::<16, 12>(received, SLOT_BYTES)?.steps() {
//!     match step {
//!         Step::Erase { from, to } => flash.erase(start + from, start + to)?,
//!         Step::Write { at, bytes } => flash.write(start + at, bytes)?,
//!     }
//! }
//! // From here on, choose gives the new model.
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! byte 0        4          8        12         16                32
//!      +--------+----------+--------+----------+-----------------+------+-----------------------------+
//!      | "FEAS" | sequence | length | CRC-32   | 0xff            | blob | 0xff, to a multiple of 32   |
//!      |        | u32      | u32    | u32      |                 |      |                             |
//!      +--------+----------+--------+----------+-----------------+------+-----------------------------+
//! ```
//!
//! - Integers are little endian. The CRC covers bytes 0..12 and the blob's own header, which covers the rest of the blob by its CRC: no byte is summed twice.
//! - A slot is erased whole, the blob is written, and the header last, once: until its CRC stands, the slot holds nothing. No word is written twice, bits go
//!   from erased to written only, and no step reads: so a flash with error correction takes it, and one that erases to zeros.
//! - Steps start and end on multiples of [`UNIT`], that is of every write size that divides it (1, 2, 4, 8, 16, 32). They are a list and not a trait to
//!   implement, so that a blocking driver (`embedded_storage::nor_flash::NorFlash` has both calls), an `async` one or a vendor's can take them. A slot is a
//!   whole number of the driver's erase units, read in place, on a multiple of 4.
//! - The newer of two sequence numbers is the one that lies ahead by less than half their range: they may wrap around.
//! - A blob is in use only after [`Model::load`]: the other slot serves where the newest blob is damaged or larger than this build holds.
//!
//! A cut can leave a word that reads right now and wrong later. Where the supply may do that, write the model again in the next quiet moment; where a torn word
//! raises a bus fault (cores that correct errors), the handler of that fault belongs to the firmware.

use core::fmt;

use crate::Model;
use crate::format::{self, CHECKSUM};
use crate::error::LoadError;

/// First bytes of a slot that holds a blob.
pub const MAGIC: [u8; 4] = *b"FEAS";
/// Every step starts and ends on a multiple of this many bytes.
pub const UNIT: usize = 32;
/// Offset of the blob in a slot, in bytes: the header takes one unit.
pub const BLOB_AT: usize = UNIT;
const _: () = assert!(MAGIC.len() + 4 + 4 + 4 <= BLOB_AT && BLOB_AT.is_multiple_of(4));
/// What pads a unit: the byte that most flash is erased to.
const ERASED: u8 = 0xff;

/// The model to use, and where the next one goes.
#[derive(Debug)]
pub struct Chosen<'a, const FEATURES: usize, const EXPERTS: usize> {
    /// The newest model that loads.
    pub model: Model<'a, FEATURES, EXPERTS>,
    /// Its blob, in place: what [`crate::delta::apply`] changes.
    pub blob: &'a [u8],
    /// The slot it lies in, 0 or 1.
    pub slot: usize,
    /// Where the next blob goes: the other slot.
    pub target: Target,
    /// Why the other slot was passed over, where it does not hold an older blob.
    pub passed_over: Option<SlotError>,
}

/// Neither slot holds a model that this build can use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoModel {
    /// Why, for each slot.
    pub errors: [SlotError; 2],
    /// Where the first blob goes.
    pub target: Target,
}

/// Why a slot's blob cannot be used.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SlotError {
    /// No blob: the slot is erased, or writing one was cut short.
    Empty,
    /// The header is damaged, or writing it was cut short.
    WrongChecksum {
        /// CRC-32 of the bytes there are.
        found: u32,
        /// CRC-32 the header declares.
        expected: u32,
    },
    /// The blob does not fit into the slot.
    TooLong {
        /// Bytes of the blob, with header and padding.
        found: usize,
        /// Bytes of the slot.
        capacity: usize,
    },
    /// The blob is damaged, or this build cannot hold it.
    Refused(LoadError),
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no model: erased, or writing was cut short"),
            Self::WrongChecksum { found, expected } => {
                write!(f, "checksum {found:08x}, header says {expected:08x}: the slot is damaged")
            }
            Self::TooLong { found, capacity } => write!(f, "the model needs {found} bytes, the slot has {capacity}"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SlotError {}

impl fmt::Display for NoModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.errors;
        write!(f, "no usable model; slot 0: {first}; slot 1: {second}")
    }
}

impl core::error::Error for NoModel {}

/// Loads the newest valid model of two slots, each given with all its bytes, as they lie in flash.
///
/// Cost: that of [`Model::load`], twice where the newer blob is refused.
///
/// # Errors
/// [`NoModel`], which tells why for each slot, and where to write one.
pub fn choose<const FEATURES: usize, const EXPERTS: usize>(
    slots: [&[u8]; 2],
) -> Result<Chosen<'_, FEATURES, EXPERTS>, NoModel> {
    let [first, second] = slots;
    let (first, second) = (Slot::read(0, first), Slot::read(1, second));
    let second_is_newer = match (first.header, second.header) {
        (Ok(first), Ok(second)) => is_newer(second.sequence, first.sequence),
        (first, second) => first.is_err() && second.is_ok(),
    };
    let (newer, older) = if second_is_newer { (second, first) } else { (first, second) };
    // Past every sequence number there is, that of a blob that is refused too.
    let sequence = newer.header.map_or(0, |header| header.sequence.wrapping_add(1));
    let refused = match newer.load() {
        Ok((model, blob)) => {
            let target = Target { slot: older.index, sequence };
            return Ok(Chosen { model, blob, slot: newer.index, target, passed_over: older.header.err() });
        }
        Err(error) => error,
    };
    let target = Target { slot: newer.index, sequence };
    match older.load() {
        Ok((model, blob)) => Ok(Chosen { model, blob, slot: older.index, target, passed_over: Some(refused) }),
        Err(error) => {
            Err(NoModel { errors: if second_is_newer { [error, refused] } else { [refused, error] }, target })
        }
    }
}

/// Returns whether sequence number `a` is newer than `b`: serial number arithmetic (RFC 1982, section 3.2).
fn is_newer(a: u32, b: u32) -> bool {
    (1..1 << 31).contains(&a.wrapping_sub(b))
}

/// A slot and what its header says.
struct Slot<'a> {
    index: usize,
    bytes: &'a [u8],
    header: Result<Header, SlotError>,
}

#[derive(Clone, Copy)]
struct Header {
    sequence: u32,
    length: u32,
}

impl<'a> Slot<'a> {
    fn read(index: usize, bytes: &'a [u8]) -> Self {
        let header = match bytes.split_first_chunk() {
            Some(([m0, m1, m2, m3, s0, s1, s2, s3, l0, l1, l2, l3, c0, c1, c2, c3], _))
                if [*m0, *m1, *m2, *m3] == MAGIC =>
            {
                let header = Header {
                    sequence: u32::from_le_bytes([*s0, *s1, *s2, *s3]),
                    length: u32::from_le_bytes([*l0, *l1, *l2, *l3]),
                };
                let found = header.checksum(bytes.get(BLOB_AT..).unwrap_or_default());
                let expected = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
                if found == expected { Ok(header) } else { Err(SlotError::WrongChecksum { found, expected }) }
            }
            _ => Err(SlotError::Empty),
        };
        Self { index, bytes, header }
    }

    fn load<const FEATURES: usize, const EXPERTS: usize>(
        &self,
    ) -> Result<(Model<'a, FEATURES, EXPERTS>, &'a [u8]), SlotError> {
        let length = self.header?.length as usize;
        let blob = self.bytes.get(BLOB_AT..).and_then(|rest| rest.get(..length));
        let too_long = SlotError::TooLong { found: length.saturating_add(BLOB_AT), capacity: self.bytes.len() };
        let blob = blob.ok_or(too_long)?;
        Ok((Model::load(blob).map_err(SlotError::Refused)?, blob))
    }
}

impl Header {
    /// Returns the checksum of a slot's header, and of its blob's.
    fn checksum(&self, blob: &[u8]) -> u32 {
        let mut digest = CHECKSUM.digest();
        digest.update([MAGIC, self.sequence.to_le_bytes(), self.length.to_le_bytes()].as_flattened());
        digest.update(blob.get(..blob::HEADER_BYTES).unwrap_or(blob));
        digest.finalize()
    }
}

/// Where a blob goes, and with which sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The slot, 0 or 1.
    pub slot: usize,
    /// What makes it the newest.
    pub sequence: u32,
}

impl Target {
    /// Returns what puts a blob into the slot of `slot_bytes` bytes. `blob` must load in this build, from a multiple of 4 as ever: nothing that could not be
    /// used replaces anything.
    ///
    /// # Errors
    /// [`SlotError::TooLong`], [`SlotError::Refused`].
    pub fn update<'a, const FEATURES: usize, const EXPERTS: usize>(
        self,
        blob: &'a [u8],
        slot_bytes: u32,
    ) -> Result<Update<'a>, SlotError> {
        Model::<FEATURES, EXPERTS>::load(blob).map_err(SlotError::Refused)?;
        let (units, rest) = blob.as_chunks::<UNIT>();
        let (mut tail, mut header) = ([ERASED; UNIT], [ERASED; UNIT]);
        tail.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let needed = blob.len().checked_next_multiple_of(UNIT).and_then(|bytes| bytes.checked_add(BLOB_AT));
        let fits = needed.is_some_and(|needed| needed <= slot_bytes as usize);
        let (Ok(length), true) = (u32::try_from(blob.len()), fits) else {
            return Err(SlotError::TooLong { found: needed.unwrap_or(usize::MAX), capacity: slot_bytes as usize });
        };
        let sealed = Header { sequence: self.sequence, length };
        let words = [MAGIC, self.sequence.to_le_bytes(), length.to_le_bytes(), sealed.checksum(blob).to_le_bytes()];
        header.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
        let tail = (!rest.is_empty()).then_some(tail);
        Ok(Update { slot_bytes, whole: units.as_flattened(), tail, header })
    }
}

/// What puts a blob into a slot.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    slot_bytes: u32,
    /// The whole units of the blob, and the rest of it.
    whole: &'a [u8],
    tail: Option<[u8; UNIT]>,
    header: [u8; UNIT],
}

/// What a driver has to do next. Offsets are in bytes from the start of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Erase from one offset to before another.
    Erase {
        /// The first byte.
        from: u32,
        /// One past the last byte.
        to: u32,
    },
    /// Write bytes to where was erased.
    Write {
        /// Where the first one goes.
        at: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
}

impl Update<'_> {
    /// Returns the steps, each to be done before the next is begun: erase the slot, write the blob, write the header.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        // A blob fits its slot, whose length is a u32.
        #[allow(clippy::cast_possible_truncation)]
        let (blob_at, tail_at) = (BLOB_AT as u32, BLOB_AT.wrapping_add(self.whole.len()) as u32);
        let first = [Step::Erase { from: 0, to: self.slot_bytes }, Step::Write { at: blob_at, bytes: self.whole }];
        let tail = self.tail.iter().map(move |tail| Step::Write { at: tail_at, bytes: tail });
        first.into_iter().chain(tail).chain([Step::Write { at: 0, bytes: &self.header }])
    }
}
