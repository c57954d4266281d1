//! Tracks the state of every connection and selects one to close if there is no room for another.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::metrics::Metrics;

/// Pause between two attempts to find room.
const PAUSE: Duration = Duration::from_millis(50);
/// An answer that takes longer to send may be cut off to make room.
const SLOW: Duration = Duration::from_secs(1);

/// All connections of a server.
pub struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    count: AtomicU64,
    start: Instant,
}

/// A connection that occupies one place until it is dropped.
pub struct Entered {
    all: Arc<Connections>,
    key: u64,
    _place: OwnedSemaphorePermit,
    /// The state of the connection.
    pub activity: Arc<Activity>,
}

/// The kind of connection that was closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    Idle,
    Sending,
}

impl Connections {
    /// Creates room for `most` connections.
    pub fn new(most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most));
        Self { places, open: Mutex::default(), count: AtomicU64::new(0), start: Instant::now() }
    }

    /// Waits for a place for a connection of `client`. If there is none, closes one of these:
    ///
    /// - a connection without a complete request: of the client that has most of them, the one that
    ///   has been idle longest;
    /// - otherwise a connection that has been sending its answer for over a second: of the client
    ///   with most connections, the one that has been sending longest. This requires that the
    ///   client has at least two connections more than `client`. The loopback is exempt, because a
    ///   proxy there speaks for many clients.
    ///
    /// Returns `None` only if the semaphore is closed, which never happens.
    pub async fn enter(self: &Arc<Self>, client: IpAddr, metrics: &Metrics) -> Option<Entered> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => loop {
                match self.make_room(client, SLOW) {
                    Some(Closed::Idle) => metrics.closed_idle.inc(),
                    Some(Closed::Sending) => metrics.closed_sending.inc(),
                    None => {}
                }
                // If all were busy, one may be idle after the pause.
                if let Ok(place) = timeout(PAUSE, Arc::clone(&self.places).acquire_owned()).await {
                    break place.ok()?;
                }
            },
        };
        let key = self.count.fetch_add(1, Relaxed);
        let activity = Arc::new(Activity::new(client, self.start));
        self.open().insert(key, Arc::clone(&activity));
        Some(Entered { all: Arc::clone(self), key, _place: place, activity })
    }

    /// Returns the number of open connections.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Waits until all connections have ended. `most` is the value given to [`Connections::new`].
    pub async fn ended(&self, most: usize) {
        _ = self.places.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await;
    }

    /// Closes the connections that have had no request for longer than `most`.
    pub fn close_silent(&self, most: Duration) {
        for activity in self.open().values().filter(|activity| activity.age() > most) {
            activity.close_if(|state| state == 0);
        }
    }

    fn make_room(&self, newcomer: IpAddr, slow: Duration) -> Option<Closed> {
        let open = self.open();
        let (mut idle, mut connections) = (HashMap::<_, usize>::new(), HashMap::<_, usize>::new());
        for activity in open.values().filter(|activity| !activity.is_closing()) {
            *connections.entry(activity.client).or_default() += 1;
            *idle.entry(activity.client).or_default() += usize::from(activity.is_idle());
        }
        let idlest = open
            .values()
            .filter(|activity| activity.is_idle())
            .max_by_key(|activity| (idle.get(&activity.client).copied(), Reverse(activity.since())));
        // Fails if a request has arrived in the meantime.
        if idlest.is_some_and(|idlest| idlest.close_if(is_idle)) {
            return Some(Closed::Idle);
        }
        let own = connections.get(&newcomer).copied().unwrap_or_default();
        let (client, most) = connections
            .into_iter()
            .filter(|(client, _)| !client.is_loopback())
            .max_by_key(|(client, count)| (*count, *client))?;
        if most < own + 2 {
            return None;
        }
        let of_client = open.values().filter(|activity| activity.client == client && activity.age() >= slow);
        let slowest = of_client.filter(|activity| activity.is_sending()).min_by_key(|activity| activity.since())?;
        slowest.close_if(is_sending).then_some(Closed::Sending)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.open().remove(&self.key);
    }
}

/// The state of a connection.
pub struct Activity {
    /// The address by which its client is counted.
    pub client: IpAddr,
    /// Asks the connection to end.
    pub close: Notify,
    /// The number of requests whose header was read and whose answer is not yet sent (several if
    /// the client pipelines), combined with the flags below.
    state: AtomicU32,
    /// The start of the server.
    start: Instant,
    /// Nanoseconds from `start` to the last event: an answer was made or sent, or the connection
    /// began.
    since: AtomicI64,
}

/// The body of the last request is not complete.
const READING: u32 = 1 << 29;
/// The last request has no answer yet.
const WORKING: u32 = 1 << 30;
/// The connection is about to end.
const CLOSING: u32 = 1 << 31;

/// Returns whether there is no complete request.
fn is_idle(state: u32) -> bool {
    state == 0 || state == READING | WORKING | 1
}

/// Returns whether an answer waits to be sent and no other complete request is being worked on.
fn is_sending(state: u32) -> bool {
    let is_working = state & (READING | WORKING) == WORKING;
    state > 0 && state & CLOSING == 0 && !is_working && !is_idle(state)
}

impl Activity {
    fn new(client: IpAddr, start: Instant) -> Self {
        let new = Self { client, close: Notify::new(), state: AtomicU32::new(0), start, since: AtomicI64::new(0) };
        new.touch();
        new
    }

    /// Counts a request whose header was read. A connection works on one request at a time.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.state.fetch_add(READING | WORKING | 1, AcqRel);
        Busy { activity: Arc::clone(self), is_answered: false }
    }

    /// Notes that the request is complete, so that its connection is not closed as idle.
    pub fn complete(&self) {
        self.state.fetch_and(!READING, AcqRel);
    }

    fn is_idle(&self) -> bool {
        is_idle(self.state.load(Acquire))
    }

    fn is_sending(&self) -> bool {
        is_sending(self.state.load(Acquire))
    }

    fn is_closing(&self) -> bool {
        self.state.load(Acquire) & CLOSING != 0
    }

    /// Returns the time since the last event.
    fn age(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.now() - self.since()).unwrap_or_default())
    }

    fn since(&self) -> i64 {
        self.since.load(Relaxed)
    }

    fn touch(&self) {
        self.since.store(self.now(), Relaxed);
    }

    /// Returns the nanoseconds since `start`.
    fn now(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    /// Closes the connection if its state allows it. Returns whether it did.
    fn close_if(&self, may_close: impl Fn(u32) -> bool) -> bool {
        let close = |state| may_close(state).then_some(state | CLOSING);
        let is_closed = self.state.fetch_update(AcqRel, Acquire, close).is_ok();
        if is_closed {
            self.close.notify_one();
        }
        is_closed
    }
}

/// A request from its header until its answer is sent.
pub struct Busy {
    activity: Arc<Activity>,
    is_answered: bool,
}

impl Busy {
    /// Notes that the answer is made.
    pub fn answered(&mut self) {
        self.is_answered = true;
        // Before the state changes, so that a reader who sees a waiting answer also sees since
        // when.
        self.activity.touch();
        self.activity.state.fetch_and(!(READING | WORKING), AcqRel);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answered();
        } else {
            self.activity.touch();
        }
        self.activity.state.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MOST: usize = 6;

    fn entered(all: &Arc<Connections>, last: u8) -> Entered {
        entered_from(all, client(last))
    }

    fn entered_from(all: &Arc<Connections>, client: IpAddr) -> Entered {
        let metrics = Metrics::new(&[], &[]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(all.enter(client, &metrics)).unwrap()
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn closing(entered: &[Entered]) -> Vec<usize> {
        (0..entered.len()).filter(|index| entered[*index].activity.is_closing()).collect()
    }

    /// Sets the time since the last event on a connection.
    fn set_age(entered: &Entered, milliseconds: i64) {
        entered.activity.since.store(entered.activity.now() - 1_000_000 * milliseconds, Relaxed);
    }

    fn answered(entered: &Entered) -> Busy {
        let mut busy = entered.activity.begin();
        entered.activity.complete();
        busy.answered();
        busy
    }

    #[test]
    fn states_follow_a_request() {
        let all = Arc::new(Connections::new(MOST));
        let entered = entered(&all, 1);
        let activity = &entered.activity;
        let states = || (activity.is_idle(), activity.is_sending());
        assert_eq!(states(), (true, false), "at first");
        let mut first = activity.begin();
        assert_eq!(states(), (true, false), "a body that is not complete");
        activity.complete();
        assert_eq!(states(), (false, false), "work");
        first.answered();
        assert_eq!(states(), (false, true), "an answer to be sent");
        // The client pipelines a second request before it has taken the first answer.
        let second = activity.begin();
        assert_eq!(states(), (false, true), "a body that is not complete keeps no answer from being late");
        activity.complete();
        assert_eq!(states(), (false, false), "work on the second");
        drop(first);
        assert_eq!(states(), (false, false), "the first is sent");
        drop(second);
        assert_eq!(states(), (true, false), "its client left before the answer");
        assert!(activity.close_if(is_idle) && !activity.close_if(is_idle));
        drop(entered);
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn room_is_made_by_whoever_has_most_idle_connections() {
        let all = Arc::new(Connections::new(MOST));
        let entered = [2, 1, 1, 1, 2, 3].map(|last| entered(&all, last));
        set_age(&entered[0], 100);
        set_age(&entered[2], 50);
        assert_eq!(all.make_room(client(4), SLOW), Some(Closed::Idle));
        assert_eq!(closing(&entered), [2], "of the first client the idlest, though the second has an older one");
        // Now the second client has most.
        let _working = entered[3].activity.begin();
        entered[3].activity.complete();
        assert_eq!(all.make_room(client(4), SLOW), Some(Closed::Idle));
        assert_eq!(closing(&entered), [0, 2]);
    }

    /// Connections whose client took no answer were never closed to make room for others.
    #[test]
    fn whoever_has_most_connections_gives_way_with_slow_answers() {
        let all = Arc::new(Connections::new(MOST));
        let entered = [1, 1, 1, 1, 2, 4].map(|last| entered(&all, last));
        let mut sending: Vec<Busy> = entered.iter().skip(1).map(answered).collect();
        let working = entered[0].activity.begin();
        entered[0].activity.complete();
        entered.iter().for_each(|entered| set_age(entered, 10));
        set_age(&entered[4], 2_000);
        assert_eq!(all.make_room(client(3), SLOW), None, "no answer of the first client takes long");
        set_age(&entered[2], 1_500);
        set_age(&entered[3], 1_600);
        assert_eq!(all.make_room(client(3), SLOW), Some(Closed::Sending));
        assert_eq!(all.make_room(client(3), SLOW), Some(Closed::Sending));
        assert_eq!(closing(&entered), [2, 3], "those of the first client, though the second has an older one");
        set_age(&entered[1], 3_000);
        assert_eq!(all.make_room(client(2), SLOW), None, "nobody has two more than the second client");
        assert_eq!(all.make_room(client(1), SLOW), None, "nor more than the first");
        sending.clear();
        drop(working);
    }

    #[test]
    fn a_proxy_beside_the_service_keeps_its_connections() {
        let all = Arc::new(Connections::new(MOST));
        let entered = [(); MOST].map(|()| entered_from(&all, IpAddr::from([127, 0, 0, 1])));
        let _sending: Vec<Busy> = entered.iter().map(answered).collect();
        entered.iter().for_each(|entered| set_age(entered, 5_000));
        assert_eq!(all.make_room(client(1), SLOW), None);
    }

    #[test]
    fn a_connection_without_a_request_is_closed_in_time() {
        let all = Arc::new(Connections::new(MOST));
        let entered = [1, 1, 1].map(|last| entered(&all, last));
        entered.iter().for_each(|entered| set_age(entered, 2_000));
        let _reading = entered[1].activity.begin();
        set_age(&entered[2], 900);
        all.close_silent(SLOW);
        assert_eq!(closing(&entered), [0], "not one whose body is awaited, nor one that was answered lately");
    }
}
