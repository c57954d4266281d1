//! Limits the memory of all bodies and answers together. Each is counted from its first growth
//! until it is sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusal::Refusal;

/// Bytes of each body and each answer that are not counted. The number of connections bounds them,
/// and small requests are answered even if large ones have used up the budget.
const FREE_BYTES: usize = 16 << 10;

/// Initial capacity of a buffer.
const LEAST_BYTES: usize = 1 << 10;

/// The bytes that all bodies and answers may take together. One client may take half of them. The
/// loopback may take all, because a proxy may be behind it.
pub struct Budget(Arc<Shared>);

struct Shared {
    most: usize,
    /// Counted bytes by client.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl Budget {
    /// Creates a budget of `most` bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, taken: Mutex::default() }))
    }

    /// Creates the buffer of a body or answer of `client`.
    pub fn buffer(&self, client: IpAddr) -> Buffer {
        Buffer { bytes: Vec::new(), shared: Arc::clone(&self.0), client, taken: 0 }
    }
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that count in a [`Budget`] until they are dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    shared: Arc<Shared>,
    client: IpAddr,
    taken: usize,
}

impl Buffer {
    /// Appends bytes. The capacity doubles, so that many small parts take no more memory than one.
    ///
    /// # Errors
    /// Busy if other requests have taken the rest of the budget. Unprocessable if the request alone
    /// exceeds the share of the client.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            self.grow(bytes.len())?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for `more` bytes.
    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), Refusal> {
        let (length, room) = (self.bytes.len(), self.bytes.capacity());
        let needed = length.saturating_add(more);
        let counted = |room: usize| room.saturating_sub(FREE_BYTES);
        // If the budget has no room for doubling, tries a smaller step, and finally the exact need.
        let rooms =
            [room.saturating_mul(2).max(LEAST_BYTES), length.saturating_add(FREE_BYTES)].map(|room| room.max(needed));
        let room = match rooms.into_iter().find(|room| self.take(counted(*room)).is_ok()) {
            Some(room) => room,
            None => self.take(counted(needed)).map(|()| needed)?,
        };
        self.bytes.reserve_exact(room - length);
        Ok(())
    }

    /// Takes bytes from the budget until this buffer has `count` of them.
    fn take(&mut self, count: usize) -> Result<(), Refusal> {
        let all = self.shared.most;
        let most = if self.client.is_loopback() { all } else { all / 2 };
        if count > most {
            let message = format!("found a request that takes more than {most} bytes, expected at most {most}");
            return Err(Refusal::unprocessable(message));
        }
        let more = count.saturating_sub(self.taken);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.shared.taken();
        let own = taken.get(&self.client).copied().unwrap_or_default();
        if more > all - taken.values().sum::<usize>() {
            return Err(Refusal::busy(format_args!(
                "found requests that together take {all} bytes, which is as many as they may; send it again"
            )));
        }
        if more > most - own {
            return Err(Refusal::busy(format_args!(
                "found requests of this address that together take {most} bytes, which is as many as they may; send it again"
            )));
        }
        taken.insert(self.client, own + more);
        self.taken = count;
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.taken == 0 {
            return;
        }
        let mut taken = self.shared.taken();
        if let Some(own) = taken.get_mut(&self.client) {
            *own -= self.taken;
            if *own == 0 {
                taken.remove(&self.client);
            }
        }
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
        let proxy = IpAddr::from([127, 0, 0, 1]);
        let budget = Budget::new(3 * FREE_BYTES);
        let part = [0; FREE_BYTES / 2];
        let mut large = budget.buffer(proxy);
        (0..6).for_each(|_| large.extend(&part).unwrap());
        assert_eq!(budget.0.taken()[&proxy], 3 * FREE_BYTES, "the room of 64 KiB, of which 16 are free");
        let mut other = budget.buffer(proxy);
        (0..2).for_each(|_| other.extend(&part).unwrap());
        assert!(other.extend(&[0]).is_err());
        drop(large);
        other.extend(&[0]).unwrap();
        drop(other);
        assert!(budget.0.taken().is_empty());
        // A request that can never fit is refused at once.
        let tight = Budget::new(100);
        let mut endless = tight.buffer(proxy);
        let error = (0..9).find_map(|_| endless.extend(&part).err()).unwrap();
        assert!(format!("{error:?}").contains("422"), "{error:?}");
        // A buffer that cannot double grows by the exact need.
        let mut exact = tight.buffer(proxy);
        exact.extend(&[0; FREE_BYTES]).unwrap();
        exact.extend(&[0; 100]).unwrap();
    }

    /// Unfinished bodies of one address must not take the whole budget.
    #[test]
    fn one_address_leaves_half_to_others() {
        let [busy, quiet] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let budget = Budget::new(8 * FREE_BYTES);
        let body = [0; 3 * FREE_BYTES];
        let started = |client| {
            let mut buffer = budget.buffer(client);
            buffer.extend(&body).map(|()| buffer)
        };
        let _two = [started(busy).unwrap(), started(busy).unwrap()];
        let refused = started(busy).map(drop).unwrap_err();
        assert!(refused.message.starts_with("found requests of this address that together take 65536"), "{refused:?}");
        let _others = [started(quiet).unwrap(), started(quiet).unwrap()];
        let refused = started(IpAddr::from([10, 0, 0, 3])).map(drop).unwrap_err();
        assert!(refused.message.starts_with("found requests that together take 131072"), "{refused:?}");
    }
}
