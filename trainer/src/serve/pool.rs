//! Threads with a bounded queue for work that takes longer than a score. Explanations thus never
//! occupy the threads that read requests.
//!
//! The threads serve one client address after the other. Only the loopback, behind which a proxy
//! may be, can have more than half of the places. A client that asks for much waits longer; the
//! others do not.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use super::ServeError;
use super::refusal::Refusal;

/// Niceness of background threads, from -20 to 19: a higher value leaves more of a core to others.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Threads, and the requests that wait for them.
pub struct Pool {
    threads: ThreadPool,
    line: Arc<Line>,
    work_time: Duration,
}

type Job = Box<dyn FnOnce() + Send>;

/// The requests that run or wait.
struct Line {
    state: Mutex<State>,
    /// Maximum number of requests in total.
    most: usize,
    /// Maximum number of requests of one client.
    share: usize,
}

#[derive(Default)]
struct State {
    /// Number of requests that run or wait, by client.
    places: HashMap<IpAddr, usize>,
    /// Waiting jobs by client. The first client has the next turn.
    turns: VecDeque<(IpAddr, VecDeque<Job>)>,
}

/// A place in the line, held until it is dropped.
struct Place {
    line: Arc<Line>,
    client: IpAddr,
}

/// Whether the work on a request is still wanted.
pub struct Wish<'a> {
    is_left: &'a dyn Fn() -> bool,
    end: Instant,
    work_time: Duration,
}

impl Wish<'_> {
    /// Returns whether the client still waits and there is time left.
    pub fn lasts(&self) -> bool {
        !(self.is_left)() && Instant::now() < self.end
    }

    /// Checks [`Wish::lasts`]. The refusal states that the time is over.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.lasts() {
            return Ok(());
        }
        let seconds = self.work_time.as_secs_f64();
        // Not "busy": the time in the queue does not count, so a second attempt would take as long.
        Err(Refusal::unprocessable(format_args!(
            "found more than {seconds} s of work, expected at most {seconds} s a request; send fewer records"
        )))
    }
}

/// Runs work on the calling thread, without watching whether the client leaves.
pub fn run_here<T>(work_time: Duration, work: impl FnOnce(&Wish<'_>) -> T) -> T {
    work(&Wish { is_left: &|| false, end: Instant::now() + work_time, work_time })
}

impl Pool {
    /// Starts threads. Background threads leave the cores to others.
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
            // The request whose work panicked is refused. The threads continue.
            .panic_handler(|_| ());
        let most = threads.saturating_add(queue);
        let line = Line { state: Mutex::default(), most, share: most.div_ceil(2).max(threads) };
        Ok(Self { threads: started.build()?, line: Arc::new(line), work_time })
    }

    /// Runs work on one of the threads. The work ends early when the client leaves, because that
    /// drops the future.
    pub async fn run<T: Send + 'static>(
        &self,
        client: IpAddr,
        work: impl FnOnce(&Wish<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Line::enter(&self.line, client)?;
        let (sender, receiver) = oneshot::channel();
        let work_time = self.work_time;
        self.line.wait(
            client,
            Box::new(move || {
                // Held to the end of the work: jobs of clients that have left count too.
                let _place = place;
                if sender.is_closed() {
                    return;
                }
                let wish = Wish { is_left: &|| sender.is_closed(), end: Instant::now() + work_time, work_time };
                let result = work(&wish);
                _ = sender.send(result);
            }),
        );
        let line = Arc::clone(&self.line);
        // One turn per request: each turn takes the job that is next when a thread is free.
        self.threads.spawn(move || line.next().into_iter().for_each(|job| job()));
        receiver.await.unwrap_or_else(|_| Err(Refusal::internal("the work on this request failed")))
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(line: &Arc<Self>, client: IpAddr) -> Result<Place, Refusal> {
        let places = &mut line.state().places;
        let (all, own) = (places.values().sum::<usize>(), places.get(&client).copied().unwrap_or_default());
        if all >= line.most {
            let message = format!("found {all} requests before this one, which is as many as run or wait");
            return Err(Refusal::busy(format_args!("{message}; send it again")));
        }
        if own >= line.share && !client.is_loopback() {
            let message =
                format!("found {own} requests of this address before this one, which is as many as it may have");
            return Err(Refusal::busy(format_args!("{message}; send it again")));
        }
        places.insert(client, own + 1);
        Ok(Place { line: Arc::clone(line), client })
    }

    fn wait(&self, client: IpAddr, job: Job) {
        let turns = &mut self.state().turns;
        match turns.iter_mut().find(|(found, _)| *found == client) {
            Some((_, jobs)) => jobs.push_back(job),
            None => turns.push_back((client, VecDeque::from([job]))),
        }
    }

    /// Returns the next job. Its client then moves to the end of the turns.
    fn next(&self) -> Option<Job> {
        let turns = &mut self.state().turns;
        let (client, mut jobs) = turns.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            turns.push_back((client, jobs));
        }
        job
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &mut self.line.state().places;
        if let Some(own) = places.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                places.remove(&self.client);
            }
        }
    }
}

/// Lowers the priority of this thread, if the system has a priority per thread.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        // A thread whose priority cannot be lowered runs at the usual one.
        _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn clients_take_turns_and_none_has_all_places() {
        let line = Arc::new(Line { state: Mutex::default(), most: 6, share: 3 });
        let (sender, served) = channel();
        let [busy, quiet] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let enter = |client: IpAddr, name: &'static str| {
            let (place, sender) = (Line::enter(&line, client)?, sender.clone());
            line.wait(client, Box::new(move || sender.send((name, place)).unwrap()));
            Ok::<_, Refusal>(())
        };
        ["a", "b", "c"].into_iter().for_each(|name| enter(busy, name).unwrap());
        assert!(enter(busy, "d").unwrap_err().message.starts_with("found 3 requests of this address"));
        ["x", "y", "z"].into_iter().for_each(|name| enter(quiet, name).unwrap());
        let other = enter(IpAddr::from([10, 0, 0, 3]), "p").unwrap_err();
        assert!(other.message.starts_with("found 6 requests before this one"), "{other:?}");
        while let Some(job) = line.next() {
            job();
        }
        let order: Vec<_> = served.try_iter().map(|(name, _place)| name).collect();
        assert_eq!(order, ["a", "x", "b", "y", "c", "z"]);
        enter(busy, "e").unwrap();
        // A client on the loopback may have all places.
        let proxy = IpAddr::from([127, 0, 0, 1]);
        (0..5).for_each(|_| enter(proxy, "f").unwrap());
        assert!(enter(proxy, "f").unwrap_err().message.starts_with("found 6 requests before this one"));
    }
}
