//! The memory that bodies and answers take: each is counted from its first growth until the last
//! of it is sent, and all together have a limit.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// Bytes of each body and each answer that are not counted: the number of connections bounds them,
/// and small requests are answered however much large ones take.
const FREE_BYTES: usize = 16 << 10;

/// The bytes that bodies and answers may take together.
pub struct Budget {
    left: Arc<Semaphore>,
    most: usize,
}

impl Budget {
    /// Makes a budget of `most` bytes.
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(most)), most }
    }

    /// Starts a body or an answer.
    pub fn buffer(&self) -> Buffer {
        Buffer { bytes: Vec::new(), left: Arc::clone(&self.left), most: self.most, taken: None }
    }
}

/// Bytes that count in a [`Budget`] until they are dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    left: Arc<Semaphore>,
    most: usize,
    taken: Option<OwnedSemaphorePermit>,
}

impl Buffer {
    /// Appends bytes. Memory grows by doubling, so that many small parts take no more than one.
    ///
    /// # Errors
    /// Busy, where others have taken the rest of the budget; unprocessable, where the budget as a
    /// whole is too small.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let (length, room) = (self.bytes.len(), self.bytes.capacity());
        let needed = length.saturating_add(bytes.len());
        if needed > room {
            let room = needed.max(room.saturating_mul(2));
            self.take(room.saturating_sub(FREE_BYTES))?;
            self.bytes.reserve_exact(room - length);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes bytes from the budget until it has `count` of them.
    fn take(&mut self, count: usize) -> Result<(), Refusal> {
        let most = self.most;
        if count > most {
            let message = format!("found a request that takes more than {most} bytes, expected at most {most}");
            return Err(Refusal::unprocessable(message));
        }
        let more = count.saturating_sub(self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if more == 0 {
            return Ok(());
        }
        let taken = u32::try_from(more).ok().and_then(|more| Arc::clone(&self.left).try_acquire_many_owned(more).ok());
        let Some(taken) = taken else {
            return Err(Refusal::busy(format_args!(
                "found requests that together take {most} bytes, which is as many as they may; send it again"
            )));
        };
        match &mut self.taken {
            Some(before) => before.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_are_free_and_large_ones_share() {
        let budget = Budget::new(3 * FREE_BYTES);
        let part = [0; FREE_BYTES / 2];
        let mut large = budget.buffer();
        (0..6).for_each(|_| large.extend(&part).unwrap());
        assert_eq!(budget.left.available_permits(), 0, "the room of 64 KiB, of which 16 are free");
        let mut other = budget.buffer();
        (0..2).for_each(|_| other.extend(&part).unwrap());
        assert!(other.extend(&[0]).is_err());
        drop(large);
        other.extend(&[0]).unwrap();
        // No request waits for what it could never have.
        let mut endless = Budget::new(100).buffer();
        let error = (0..9).find_map(|_| endless.extend(&part).err()).unwrap();
        assert!(format!("{error:?}").contains("422"), "{error:?}");
    }
}
