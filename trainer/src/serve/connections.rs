//! Connections: their number, their time-outs and their end.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::interval;

use super::activity::{Activity, Busy, Connections, Entered};
use super::patient::Patient;
use super::routes::{Service, answer, router};
use super::{Limits, ServeError};

/// Size of the read buffer. A longer header is refused with a status alone, without a body.
const BUFFER_BYTES: usize = 64 << 10;
/// Pause before the next attempt to accept a connection after a failure, and between two checks
/// whether a client has left.
const PAUSE: Duration = Duration::from_millis(50);
/// Shortest and longest pause between two checks for connections that send no request.
const SWEEP_LEAST: Duration = Duration::from_millis(10);
const SWEEP_MOST: Duration = Duration::from_secs(1);
/// Open files that the process needs beside its connections.
#[cfg(unix)]
const OTHER_FILES: u64 = 64;

/// A service that listens.
pub struct Server {
    listener: TcpListener,
    service: Arc<Service>,
}

impl Server {
    /// Listens at an address, and only then remembers the version of the model: a failed start
    /// changes nothing.
    ///
    /// # Errors
    /// [`ServeError::Listen`] if the address is not available. [`ServeError::Files`] if the process
    /// may open fewer files than the connections need. Errors of [`Trust`](super::Trust) if the
    /// version cannot be remembered.
    pub async fn bind(address: SocketAddr, service: Arc<Service>) -> Result<Self, ServeError> {
        allow_files(service.limits.connections)?;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|cause| ServeError::Listen { address, cause })?;
        service.begin()?;
        Ok(Self { listener, service })
    }

    /// Returns the local address.
    ///
    /// # Errors
    /// An error of the system if it does not know the address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `end` completes. Requests that are running then have the grace period
    /// of the limits.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let Self { listener, service } = self;
        let Limits { connections, grace, header_time, .. } = service.limits;
        let (ending, is_ending) = watch::channel(false);
        let all = Arc::new(Connections::new(connections));
        let router = router(Arc::clone(&service));
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((stream, client)) => {
                        let client = client_of(client.ip());
                        let Some(entered) = all.enter(client, &service.metrics).await else { return };
                        tokio::spawn(connection(
                            stream,
                            router.clone(),
                            Arc::clone(&service),
                            entered,
                            is_ending.clone(),
                        ));
                    }
                    Err(error) => {
                        service.metrics.failed_accepts.inc();
                        // The client has given up the connection; the service is not at fault.
                        if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                            service.note("accept failed", None, Some(&error.to_string()));
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
        };
        // One timer for all connections: hyper would set one for each request.
        let close_silent = async {
            let mut sweep = interval((header_time / 8).clamp(SWEEP_LEAST, SWEEP_MOST));
            loop {
                sweep.tick().await;
                all.close_silent(header_time);
            }
        };
        let mut close_silent = pin!(close_silent);
        tokio::select! {
            () = accept => {}
            () = close_silent.as_mut() => {}
            () = end => {}
        }
        drop(listener);
        service.note("ending", None, None);
        _ = ending.send(true);
        tokio::select! {
            () = all.ended(connections) => {}
            () = close_silent => {}
            () = tokio::time::sleep(grace) => {}
        }
        let cut = all.len();
        let message = (cut > 0).then(|| format!("{cut} connections were cut after the grace"));
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
    // Answers are small: they are sent without waiting for the next one.
    _ = stream.set_nodelay(true);
    // A stream without a local address belongs to a client that has left.
    let Ok(local) = stream.local_addr() else { return };
    let (stream, activity) = (Arc::new(stream), &entered.activity);
    let peer = Arc::new(Peer { local: local.ip(), activity: Arc::clone(activity), stream: Arc::clone(&stream) });
    let router = TowerToHyperService::new(router);
    let _counted = Counted::new(&service.metrics.connections);
    let answer = service_fn(|request: Request<Incoming>| {
        let mut busy = activity.begin();
        let answer = answer(&service, &router, Arc::clone(&peer), request);
        async move {
            let answer = answer.await;
            busy.answered();
            Ok::<_, Infallible>(answer.map(|body| Sending { body, busy: Some(busy) }))
        }
    });
    let mut builder = http1::Builder::new();
    let builder = builder.max_buf_size(BUFFER_BYTES);
    let io = TokioIo::new(Patient::new(stream, service.limits.write_time));
    let mut connection = pin!(builder.serve_connection(io, answer));
    let mut ends = pin!(is_ending.wait_for(|is_ending| *is_ending));
    let mut is_closing = false;
    loop {
        tokio::select! {
            // An error here is the client's: it left, or it was too slow.
            _ = connection.as_mut() => break,
            () = activity.close.notified() => break,
            _ = ends.as_mut(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Counts a connection while it is open, even if its work panics.
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

/// The connection by which a request came.
pub struct Peer {
    /// The address of this machine that the client reached.
    pub local: IpAddr,
    activity: Arc<Activity>,
    stream: Arc<TcpStream>,
}

impl Peer {
    /// Returns the client's address in the form of [`client_of`].
    pub fn client(&self) -> IpAddr {
        self.activity.client
    }

    /// Notes that the request is complete, so that its connection is not closed as idle.
    pub fn complete(&self) {
        self.activity.complete();
    }

    /// Ends the connection when the client leaves, and with it this future and all futures polled
    /// beside it. hyper also looks for this, but not beyond bytes that the client has sent ahead.
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

/// Returns the address by which a client is counted. For IPv6 this is the 64-bit network prefix,
/// because a client may choose any address within its network.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

/// The body of an answer. Its connection is busy until all of it is sent.
struct Sending {
    body: Body,
    busy: Option<Busy>,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // An answer has one frame. hyper drops the body once it has taken the frame, and the bytes
        // once they are sent; so the bytes hold `busy`.
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

/// Raises the limit of open files to what the connections need.
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
