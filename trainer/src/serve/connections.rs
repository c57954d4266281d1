//! Connections: how many there are, how long they may take, and how they end.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::patient::Patient;
use super::routes::{Local, Service, router};
use super::{Limits, ServeError};

/// Bytes of a request's header, and of what is read of a body at a time.
const BUFFER_BYTES: usize = 32 << 10;
/// Pause after the system could not hand over a connection: it has none of something.
const PAUSE: Duration = Duration::from_millis(50);
/// Open files of the process beside its connections.
#[cfg(unix)]
const OTHER_FILES: u64 = 64;
/// Of a connection that is busy, in place of when it became idle.
const BUSY: u64 = u64::MAX;

/// A service that listens.
pub struct Server {
    listener: TcpListener,
    service: Arc<Service>,
}

impl Server {
    /// Listens at an address.
    ///
    /// # Errors
    /// [`ServeError::Listen`]; [`ServeError::Files`] where the process may open fewer files
    /// than the connections need.
    pub async fn bind(address: SocketAddr, service: Arc<Service>) -> Result<Self, ServeError> {
        allow_files(service.limits.connections)?;
        let listener = TcpListener::bind(address).await;
        Ok(Self { listener: listener.map_err(|source| ServeError::Listen { address, source })?, service })
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
        service.is_ending.store(true, Relaxed);
        service.note("ending", None, None);
        _ = ending.send(true);
        let count = u32::try_from(connections).unwrap_or(u32::MAX);
        let have_ended = tokio::time::timeout(grace, all.places.acquire_many(count)).await;
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
    let local = stream.local_addr().map(|address| Local(address.ip()));
    // Answers are small: none waits to be sent with the next.
    _ = stream.set_nodelay(true);
    service.metrics.connections.inc();
    let router = TowerToHyperService::new(router);
    let activity = &entered.activity;
    let answer = service_fn(|mut request: Request<Incoming>| {
        if let Ok(local) = &local {
            request.extensions_mut().insert(*local);
        }
        let busy = activity.begin();
        let answer = router.call(request);
        async move {
            let answer = answer.await;
            drop(busy);
            answer
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
    service.metrics.connections.dec();
}

/// All connections.
struct All {
    places: Arc<Semaphore>,
    start: Instant,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    count: AtomicU64,
}

/// What a connection does.
struct Activity {
    /// When it became idle, in microseconds since the start; [`BUSY`] while a request is worked on.
    idle_since: AtomicU64,
    start: Instant,
    close: Notify,
}

/// A connection among the others.
struct Entered {
    all: Arc<All>,
    key: u64,
    activity: Arc<Activity>,
}

/// A request that is worked on.
struct Busy(Arc<Activity>);

impl All {
    fn new(connections: usize) -> Self {
        let places = Arc::new(Semaphore::new(connections));
        Self { places, start: Instant::now(), open: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// Returns the place of a new connection, for which the one ends that has been idle longest
    /// where there is none.
    async fn place(&self, service: &Service) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let idlest = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = open.values().map(|activity| (activity.idle_since.load(Relaxed), activity));
            idle.filter(|(since, _)| *since != BUSY)
                .min_by_key(|(since, _)| *since)
                .map(|(_, idlest)| Arc::clone(idlest))
        };
        if let Some(idlest) = idlest {
            // No other is chosen for the next one.
            idlest.idle_since.store(BUSY, Relaxed);
            idlest.close.notify_one();
            service.metrics.closed_idle.inc();
        }
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn enter(self: &Arc<Self>) -> Entered {
        let key = self.count.fetch_add(1, Relaxed);
        let activity = Arc::new(Activity { idle_since: AtomicU64::new(0), start: self.start, close: Notify::new() });
        activity.rest();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&activity));
        Entered { all: Arc::clone(self), key, activity }
    }
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Busy {
        self.idle_since.store(BUSY, Relaxed);
        Busy(Arc::clone(self))
    }

    fn rest(&self) {
        self.idle_since.store(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(BUSY - 1), Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
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
