//! Writes a blob into a slot, piece by piece.

use super::header::{HEADER_BYTES, Mark, blob_at, seal, unit};
use super::{SlotError, Step, Target, Trust, load_trusted};
use crate::invariant::certain;
use crate::scorer::Scorer;

/// An update of a slot: erases it, writes the blob in whole words as it arrives, checks it in
/// place, and only then writes the header. `WORD` is the write unit of the flash in bytes, a power
/// of two up to 512. Memory: two words.
///
/// Everything before the header can be interrupted: the slot is then empty, and the other slot has
/// its model. The same holds if [`Update::check`] refuses the blob; see *A refused update* in
/// [`super`].
#[derive(Debug)]
pub struct Update<const WORD: usize> {
    target: Target,
    slot_bytes: u32,
    erased: u8,
    /// Length of the blob in bytes.
    length: u32,
    /// The number of bytes taken so far.
    taken: u32,
    /// The incomplete word, and the number of its bytes.
    word: [u8; WORD],
    filled: usize,
}

impl<const WORD: usize> Update<WORD> {
    const UNIT: usize = {
        assert!(WORD <= super::MAX_WORD && WORD.is_power_of_two(), "WORD must be a power of two, 512 at most");
        unit(WORD)
    };

    /// Starts an update with a blob of `blob_bytes`. `slot_bytes` is the size of the slot, a
    /// multiple of the driver's erase unit; `erased` is the value of erased flash.
    ///
    /// # Errors
    /// [`SlotError::TooLong`].
    pub fn new(target: Target, slot_bytes: u32, erased: u8, blob_bytes: u32) -> Result<Self, SlotError> {
        let needed = (blob_bytes as usize).checked_next_multiple_of(WORD);
        let needed = needed.and_then(|bytes| bytes.checked_add(blob_at(Self::UNIT))).unwrap_or(usize::MAX);
        if needed > slot_bytes as usize {
            return Err(SlotError::TooLong { found: needed, capacity: slot_bytes as usize });
        }
        Ok(Self { target, slot_bytes, erased, length: blob_bytes, taken: 0, word: [erased; WORD], filled: 0 })
    }

    /// Returns the first steps: to mark the slot as failed, if needed, and to erase it.
    pub fn erase(&self) -> impl Iterator<Item = Step<'static>> + use<WORD> {
        let mark = self.target.failed_at.map(|at| Step::Write { at, bytes: Mark::Failed.bytes::<WORD>() });
        [mark, Some(Step::Erase { from: 0, to: self.slot_bytes })].into_iter().flatten()
    }

    /// Takes bytes from the front of `chunk`, and returns the step that writes them once they form
    /// whole words. Call it until it returns `None`; the chunk is then empty, and the next one can
    /// follow. Bytes beyond the blob's length stay in the chunk.
    #[must_use]
    pub fn next<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8]) -> Option<Step<'s>> {
        let left = self.length.wrapping_sub(self.taken) as usize;
        let (bytes, past) = chunk.split_at_checked(left).unwrap_or((chunk, &[]));
        if bytes.is_empty() {
            return None;
        }
        let at = self.at();
        // A word is a power of two, so the low bits count the bytes after the last whole word.
        let whole = bytes.len() & !WORD.wrapping_sub(1);
        if self.filled == 0 && whole > 0 {
            let words = certain!(bytes.get(..whole), bytes);
            *chunk = certain!(chunk.get(whole..), past);
            self.take(whole);
            return Some(Step::Write { at, bytes: words });
        }
        let free = self.word.get_mut(self.filled..).unwrap_or_default();
        let count = if free.len() < bytes.len() { free.len() } else { bytes.len() };
        free.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        *chunk = certain!(chunk.get(count..), past);
        self.take(count);
        self.filled = self.filled.wrapping_add(count);
        if self.filled < WORD {
            return None;
        }
        self.filled = 0;
        Some(Step::Write { at, bytes: &self.word })
    }

    /// Returns the step that writes the end of the blob, padded to a word, if it is not written
    /// yet.
    ///
    /// # Errors
    /// [`SlotError::Incomplete`].
    pub fn end(&mut self) -> Result<Option<Step<'_>>, SlotError> {
        if self.taken != self.length {
            return Err(SlotError::Incomplete { found: self.taken, expected: self.length });
        }
        if self.filled == 0 {
            return Ok(None);
        }
        let at = self.at();
        self.word.iter_mut().skip(self.filled).for_each(|byte| *byte = self.erased);
        self.filled = 0;
        Ok(Some(Step::Write { at, bytes: &self.word }))
    }

    /// Loads the blob from the slot, given with all its bytes in flash, verifies it, and returns
    /// its header for the last steps. A blob that this build cannot use, that `trust` refuses, or
    /// whose version is below [`Target::least_version`], never gets a header. Reads everything once
    /// more if a checksum or a signature is wrong.
    ///
    /// # Errors
    /// [`SlotError::Incomplete`], [`SlotError::Refused`], [`SlotError::Untrusted`];
    /// [`SlotError::TooLong`] if `slot` is shorter than declared.
    pub fn check<'a, M: Scorer<'a>>(&self, slot: &'a [u8], trust: &impl Trust) -> Result<Seal, SlotError> {
        if self.taken != self.length || self.filled != 0 {
            let written = self.taken.wrapping_sub(u32::try_from(self.filled).unwrap_or(0));
            return Err(SlotError::Incomplete { found: written, expected: self.length });
        }
        let blob = slot.get(blob_at(Self::UNIT)..).and_then(|rest| rest.get(..self.length as usize));
        let found = blob_at(Self::UNIT).saturating_add(self.length as usize);
        let blob = blob.ok_or(SlotError::TooLong { found, capacity: slot.len() })?;
        let _: (M, u32) = load_trusted(blob, None, trust, self.target.least_version)?;
        let header = seal(self.target.sequence, blob, Self::UNIT, self.erased);
        let header = header.ok_or(SlotError::Malformed)?;
        // At least one word, the rest of which stays erased.
        let mut bytes = [self.erased; super::MAX_WORD];
        bytes.iter_mut().zip(header).for_each(|(to, from)| *to = from);
        #[allow(clippy::cast_possible_truncation)] // 512 at most
        let mark = Step::Write { at: Self::UNIT as u32, bytes: Mark::Sealed.bytes::<WORD>() };
        Ok(Seal { bytes, length: if WORD > HEADER_BYTES { WORD } else { HEADER_BYTES }, mark })
    }

    /// Returns the offset of the next word.
    fn at(&self) -> u32 {
        // The slot holds the blob, whose length is a u32. Less than one word of it is taken and not
        // yet written.
        #[allow(clippy::cast_possible_truncation)]
        let start = blob_at(Self::UNIT).wrapping_sub(self.filled) as u32;
        start.wrapping_add(self.taken)
    }

    fn take(&mut self, bytes: usize) {
        // At most the rest of a length that is a u32.
        #[allow(clippy::cast_possible_truncation)]
        let bytes = bytes as u32;
        self.taken = self.taken.wrapping_add(bytes);
    }
}

/// The header of a slot whose blob was checked.
#[derive(Clone, Debug)]
pub struct Seal {
    bytes: [u8; super::MAX_WORD],
    length: usize,
    mark: Step<'static>,
}

impl Seal {
    /// Returns the last steps of an update: to write the header, and then the mark that seals it.
    /// From then on the slot has a model on trial; before, it is empty.
    #[must_use]
    pub fn steps(&self) -> [Step<'_>; 2] {
        [Step::Write { at: 0, bytes: self.bytes.get(..self.length).unwrap_or(&self.bytes) }, self.mark]
    }
}
