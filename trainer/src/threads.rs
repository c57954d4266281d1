//! Work on many records at once, on the threads of rayon's pool: each has memory of its own, and
//! results stay in the order of the records, so that the number of threads changes no bit of them.

use std::sync::{Mutex, PoisonError};

/// Memory for each thread of the pool: some engine calls need a megabyte, too much to make for each
/// record.
#[derive(Debug)]
pub(crate) struct PerThread<T>(Vec<Mutex<T>>);

impl<T> PerThread<T> {
    /// Makes the memory of every thread.
    pub fn new(make: impl Fn() -> T) -> Self {
        Self((0..rayon::current_num_threads().max(1)).map(|_| Mutex::new(make())).collect())
    }

    /// Calls `work` with the memory of this thread; outside of the pool, with that of its first.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let index = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        // Nobody else has this one: the lock is free. What a panic leaves is overwritten, memory is
        // nobody's state.
        work(&mut self.0[index].lock().unwrap_or_else(PoisonError::into_inner))
    }
}
