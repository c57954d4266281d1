//! Connections: how many there are, how long they may take, and how they end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::patient::Patient;
use super::routes::{Service, router};
use super::{Limits, ServeError};

/// Bytes that are read at a time; a longer header is refused by its status alone.
const BUFFER_BYTES: usize = 64 << 10;
/// Pause before another look: for a connection that the system could not hand over, for one that
/// is idle, for a client that leaves.
const PAUSE: Duration = Duration::from_millis(50);
/// Open files of the process beside its connections.
#[cfg(unix)]
const OTHER_FILES: u64 = 64;

/// A service that listens.
pub struct Server {
    listener: TcpListener,
    service: Arc<Service>,
}

impl Server {
    /// Listens at an address, and only then remembers the version of the model: a start that fails
    /// changes nothing.
    ///
    /// # Errors
    /// [`ServeError::Listen`]; [`ServeError::Files`] where the process may open fewer files
    /// than the connections need; where the version cannot be remembered, see
    /// [`Trust`](super::Trust).
    pub async fn bind(address: SocketAddr, service: Arc<Service>) -> Result<Self, ServeError> {
        allow_files(service.limits.connections)?;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|cause| ServeError::Listen { address, cause })?;
        service.begin()?;
        Ok(Self { listener, service })
    }

    /// Returns the address.
    ///
    /// # Errors
    /// Where the system does not know it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `end`; those that run then have the grace of the limits.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let Self { listener, service } = self;
        let Limits { connections, grace, .. } = service.limits;
        let (ending, is_ending) = watch::channel(false);
        let all = Arc::new(All::new(connections));
        let router = router(Arc::clone(&service));
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let place = all.place(&service).await;
                        let connection =
                            connection(stream, router.clone(), Arc::clone(&service), all.enter(), is_ending.clone());
                        tokio::spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        service.metrics.failed_accepts.inc();
                        // Of the connection, which its client has given up.
                        if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                            service.note("accept failed", None, Some(&error.to_string()));
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = end => {}
        }
        drop(listener);
        service.note("ending", None, None);
        _ = ending.send(true);
        let count = u32::try_from(connections).unwrap_or(u32::MAX);
        let have_ended = timeout(grace, all.places.acquire_many(count)).await;
        let cut = connections.saturating_sub(all.places.available_permits());
        let message = have_ended.is_err().then(|| format!("{cut} connections were cut after the grace"));
        service.note("ended", None, message.as_deref());
    }
}

/// Answers the requests of a connection.
async fn connection(
    stream: TcpStream,
    router: Router,
    service: Arc<Service>,
    entered: Entered,
    mut is_ending: watch::Receiver<bool>,
) {
    let limits = service.limits;
    // Answers are small: none waits to be sent with the next.
    _ = stream.set_nodelay(true);
    let [local, client] = [stream.local_addr(), stream.peer_addr()].map(|address| address.map(|address| address.ip()));
    // Where there is no address any more, the client has left.
    let (Ok(local), Ok(client)) = (local, client) else { return };
    let (stream, activity) = (Arc::new(stream), &entered.activity);
    let peer = Peer { local, client: client_of(client), activity: Arc::clone(activity), stream: Arc::clone(&stream) };
    let _counted = Counted::new(&service.metrics.connections);
    let router = TowerToHyperService::new(router);
    let answer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answer = router.call(request);
        async move {
            let sending = |body| Sending { body, busy: Some(activity.begin()) };
            answer.await.map(|answer| answer.map(sending))
        }
    });
    let mut builder = http1::Builder::new();
    let builder = builder.timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(BUFFER_BYTES);
    let io = TokioIo::new(Patient::new(stream, limits.write_time));
    let mut connection = pin!(builder.serve_connection(io, answer));
    let mut ends = pin!(is_ending.wait_for(|is_ending| *is_ending));
    let mut is_closing = false;
    loop {
        tokio::select! {
            // An error is the client's: it left, or was too slow.
            _ = connection.as_mut() => break,
            () = activity.close.notified() => break,
            _ = ends.as_mut(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Counts a connection while it is open, also where its work panics.
struct Counted<'m>(&'m IntGauge);

impl<'m> Counted<'m> {
    fn new(open: &'m IntGauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The other side of the connection that a request came by.
#[derive(Clone)]
pub struct Peer {
    /// The address of this machine that it reached.
    pub local: IpAddr,
    /// Its own, see [`client_of`].
    pub client: IpAddr,
    activity: Arc<Activity>,
    stream: Arc<TcpStream>,
}

impl Peer {
    /// Says that a request is complete: its connection is not closed for others.
    pub fn begin(&self) -> Busy {
        self.activity.begin()
    }

    /// Ends the connection, and with it this future and all that waits beside it, when the client
    /// leaves. hyper looks for that too, but not behind bytes that the client has sent ahead.
    pub async fn watch(&self) -> Infallible {
        while let Ok(ready) = self.stream.ready(Interest::READABLE).await
            && !ready.is_read_closed()
        {
            tokio::time::sleep(PAUSE).await;
        }
        self.activity.close.notify_one();
        pending().await
    }
}

/// Returns the address by which a client is counted: of IPv6 the network of 64 bits, in which it
/// may choose any address.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

/// The body of an answer: its connection is busy until all of it is sent.
struct Sending {
    body: Body,
    busy: Option<Busy>,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Answers are of one frame. Dropped when it is sent, while the body is when it is taken.
        let keep = |bytes| match self.busy.take() {
            Some(busy) => Bytes::from_owner(Sent { bytes, _busy: busy }),
            None => bytes,
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(keep))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Sent {
    bytes: Bytes,
    _busy: Busy,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// All connections.
struct All {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    count: AtomicU64,
}

/// What a connection does.
struct Activity {
    state: Mutex<State>,
    close: Notify,
}

/// A connection may have several answers that are not sent yet, of requests that it sent ahead.
struct State {
    /// Complete requests whose answer is not sent.
    requests: usize,
    /// When it last had none.
    idle_since: Instant,
    /// Whether it makes room for another.
    is_closing: bool,
}

/// A connection among the others.
struct Entered {
    all: Arc<All>,
    key: u64,
    activity: Arc<Activity>,
}

/// A complete request, until its work or its answer is done.
pub struct Busy(Arc<Activity>);

impl All {
    fn new(connections: usize) -> Self {
        let places = Arc::new(Semaphore::new(connections));
        Self { places, open: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// Returns the place of a new connection; where there is none, the one ends that has been idle
    /// longest.
    async fn place(&self, service: &Service) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        loop {
            if self.close_idlest() {
                service.metrics.closed_idle.inc();
            }
            // Where all were busy, one may be idle by then.
            if let Ok(place) = timeout(PAUSE, Arc::clone(&self.places).acquire_owned()).await {
                return place.ok();
            }
        }
    }

    /// Closes the connection that has been idle longest; false where there is none.
    fn close_idlest(&self) -> bool {
        loop {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = open.values().filter_map(|activity| Some((activity.idle_since()?, activity)));
            let Some(idlest) = idle.min_by_key(|(since, _)| *since).map(|(_, idlest)| Arc::clone(idlest)) else {
                return false;
            };
            drop(open);
            // Not where a request came meanwhile.
            if idlest.close_idle() {
                return true;
            }
        }
    }

    fn enter(self: &Arc<Self>) -> Entered {
        let key = self.count.fetch_add(1, Relaxed);
        let state = State { requests: 0, idle_since: Instant::now(), is_closing: false };
        let activity = Arc::new(Activity { state: Mutex::new(state), close: Notify::new() });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&activity));
        Entered { all: Arc::clone(self), key, activity }
    }
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Busy {
        self.state().requests += 1;
        Busy(Arc::clone(self))
    }

    /// Returns since when it could be closed for another.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.requests == 0 && !state.is_closing).then_some(state.idle_since)
    }

    /// Closes it if it is idle.
    fn close_idle(&self) -> bool {
        let mut state = self.state();
        let is_idle = state.requests == 0 && !state.is_closing;
        if is_idle {
            state.is_closing = true;
            self.close.notify_one();
        }
        is_idle
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.idle_since = Instant::now();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Lets the process have as many open files as its connections need.
#[cfg(unix)]
fn allow_files(connections: usize) -> Result<(), ServeError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = (connections as u64).saturating_add(OTHER_FILES);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = maximum.unwrap_or(u64::MAX);
    let raised = needed <= most && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok();
    if raised { Ok(()) } else { Err(ServeError::Files { connections, needed, most }) }
}

#[cfg(not(unix))]
fn allow_files(_connections: usize) -> Result<(), ServeError> {
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_by_their_network() {
        let of = |address: &str| client_of(address.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!([of("::1"), of("::ffff:10.0.0.1"), of("10.0.0.1")], ["::1", "10.0.0.1", "10.0.0.1"]);
    }
}
