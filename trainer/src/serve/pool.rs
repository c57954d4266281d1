//! Threads for what takes longer than a score, with a bounded queue: explanations never keep the
//! threads busy that read requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Semaphore, oneshot};

use super::ServeError;
use super::refusal::Refusal;

/// How much less of a core the threads get than others that want it too: -20 to 19.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Threads and the requests that wait for them.
pub struct Pool {
    threads: ThreadPool,
    /// One for each request that runs or waits.
    places: Arc<Semaphore>,
    most: usize,
    work_time: Duration,
}

/// Whether work on a request is still wanted.
pub struct Wish<'a> {
    is_left: &'a dyn Fn() -> bool,
    end: Instant,
    work_time: Duration,
}

impl Wish<'_> {
    /// Returns whether the client waits, and there is time left.
    pub fn lasts(&self) -> bool {
        !(self.is_left)() && Instant::now() < self.end
    }

    /// As [`Wish::lasts`]; says otherwise why the work ends.
    pub fn check(&self) -> Result<(), String> {
        if self.lasts() {
            return Ok(());
        }
        let seconds = self.work_time.as_secs_f64();
        Err(format!("found more than {seconds} s of work, expected at most {seconds} s a request; send fewer records"))
    }
}

/// Runs work where it is called, for a client that nobody watches.
pub fn run_here<T>(work_time: Duration, work: impl FnOnce(&Wish<'_>) -> T) -> T {
    work(&Wish { is_left: &|| false, end: Instant::now() + work_time, work_time })
}

impl Pool {
    /// Starts threads; those of the background leave the cores to others.
    pub fn new(
        name: &'static str,
        threads: usize,
        queue: usize,
        is_background: bool,
        work_time: Duration,
    ) -> Result<Self, ServeError> {
        let started = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |index| format!("{name} {index}"))
            .start_handler(move |_| {
                if is_background {
                    step_back();
                }
            })
            // The request whose work panicked is refused; the threads stay.
            .panic_handler(|_| ());
        let most = threads.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        Ok(Self { threads: started.build()?, places: Arc::new(Semaphore::new(most)), most, work_time })
    }

    /// Runs work on one of the threads. It ends early when the client leaves, which drops the
    /// future.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Wish<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Refusal::busy(format_args!(
                "found {} requests before this one, which is as many as run or wait; send it again",
                self.most
            )));
        };
        let (sender, receiver) = oneshot::channel();
        let work_time = self.work_time;
        self.threads.spawn(move || {
            // Kept to the end of the work: what clients that left have waiting counts too.
            let _place = place;
            if sender.is_closed() {
                return;
            }
            let result = work(&Wish { is_left: &|| sender.is_closed(), end: Instant::now() + work_time, work_time });
            _ = sender.send(result);
        });
        receiver.await.unwrap_or_else(|_| Err(Refusal::internal("the work on this request failed")))
    }
}

/// Lowers the priority of this thread, where the system has one for each thread.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        // What cannot be lowered runs as it is.
        _ = rustix::process::setpriority_process(None, NICENESS);
    }
}
