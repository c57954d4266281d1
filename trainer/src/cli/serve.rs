//! `feamoe serve`: scores, explanations and recourse over HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use feamoe::keys;
use feamoe::model::AlignedBytes;
use feamoe::serve::{Access, Limits, Log, Server, Service, Settings, Token, Trust};

use super::{Outcome, print, signals, whole};

/// The endpoints, for `--help`.
const ENDPOINTS: &str = "Endpoints: POST /score (JSON or an Arrow stream), POST /explain?method=frozen|path|exact, POST /recourse?answers=N&changes=N, GET /model, \
POST /model (replaces the model, in memory only), GET /health, GET /ready, GET /metrics for Prometheus, GET /openapi.json.

A body is one record (an object keyed by feature names) or an array of records. The first line on standard output is the address. Standard error gets a JSON \
object for each request, without its values, its query or the address of its client; a refused model is logged with the reason, which may quote names in it. \
With --quiet, requests that were answered are left out.

SIGHUP reads the model file again, and POST /model with the token replaces the model. If the new model is refused, the old one stays in use. SIGTERM \
and Ctrl-C let running requests finish; a second signal ends the process at once.";

/// The largest number of seconds that an option accepts: one day.
const MOST_SECONDS: u64 = 86_400;

/// The options of `feamoe serve`.
#[derive(Args, Debug)]
#[command(after_long_help = ENDPOINTS)]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Address and port to listen on; port 0 chooses a free port. An address other than loopback
    /// needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// File with the token that requests send as `Authorization: Bearer TOKEN`: 16 to 1024 visible
    /// ASCII characters, in a file readable only by its owner. POST /model needs it; on an address
    /// other than loopback, every request except /health and /ready needs it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Accept only models signed with this public key (PEM); may be given several times, and one of
    /// the keys must have signed the model
    #[arg(long, value_name = "KEY", requires = "line")]
    trust: Vec<PathBuf>,
    /// Line of models that they must be signed for
    #[arg(long, value_name = "NAME", requires = "trust", value_parser = super::sign::line)]
    line: Option<String>,
    /// Lowest model version accepted at the start; later models must not be older than the model in
    /// use
    #[arg(long, value_name = "N", requires = "trust", default_value_t = 0)]
    least_version: u32,
    /// File that stores the version of the model in use, so that no older model is accepted after a
    /// restart. Models of one line share it [default: LINE.version in the folder of the model]
    #[arg(long, value_name = "FILE", requires = "trust")]
    version_file: Option<PathBuf>,
    /// Also accept models older than the one in use or than the stored version, which is then
    /// lowered
    #[arg(long, requires = "trust", conflicts_with = "least_version")]
    allow_older: bool,
    /// Host names of the service, besides localhost and its address. A request with another Host is
    /// refused, which protects against requests from foreign web pages
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    host: Vec<String>,
    /// Features or protected columns of the model's schema by whose values /metrics counts
    /// decisions, the first 32 values of each by name; records may have these columns besides the
    /// features
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    group: Vec<String>,
    /// Like --group, for columns that the model's schema does not have
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    other_group: Vec<String>,
    /// Largest number of records per request
    #[arg(long, value_name = "N", default_value_t = Limits::default().records, value_parser = whole::<usize>(1..=10_000_000))]
    max_records: usize,
    /// Largest number of coalitions for the exact explanations of a request; 2^28 take about half a
    /// second
    #[arg(long, value_name = "N", default_value_t = Limits::default().coalitions, value_parser = whole::<u64>(1..=1 << 40))]
    max_coalitions: u64,
    /// Largest request body in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes, value_parser = whole::<usize>(1..=1 << 30))]
    max_body: usize,
    /// Largest response in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().answer_bytes, value_parser = whole::<usize>(1024..=1 << 30))]
    max_answer: usize,
    /// Largest total of all request bodies and responses in bytes; beyond it, the response is 503
    /// with Retry-After. Each client address except loopback gets at most half. The first 16 KiB of
    /// each body and response are not counted, nor are models of POST /model and the responses of
    /// GET /model, /metrics and /openapi.json
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().memory_bytes, value_parser = whole::<usize>(1 << 20..=1 << 40))]
    memory: usize,
    /// Largest number of simultaneous connections; beyond it, a new one replaces the one that has
    /// been idle longest, of the address with most idle ones; if none is idle, the one that has
    /// been sending its response longest, of the address with most connections
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = whole::<usize>(1..=100_000))]
    connections: usize,
    /// Threads for explanations and recourse, 1 to 1024 [default: one per core, minus one]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1024))]
    threads: Option<usize>,
    /// Largest number of requests that wait for these threads; beyond it, the response is 503 with
    /// Retry-After. Client addresses take turns; each address except loopback gets at most half of
    /// the threads and of the queue
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue, value_parser = whole::<usize>(0..=100_000))]
    queue: usize,
    /// Largest time in seconds that a connection may be idle, or take to send the header of a
    /// request
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().header_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    header_timeout: u64,
    /// Largest time in seconds to receive the body of a request
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().body_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    body_timeout: u64,
    /// Largest time in seconds for the work on a request, not counting the time in the queue
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().work_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    work_timeout: u64,
    /// Largest time in seconds for a client to receive its response
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().write_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    write_timeout: u64,
    /// Time in seconds that running requests have to finish after SIGTERM or Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().grace.as_secs(), value_parser = whole::<u64>(0..=MOST_SECONDS))]
    grace: u64,
}

impl Options {
    fn limits(&self) -> Limits {
        Limits {
            records: self.max_records,
            coalitions: self.max_coalitions,
            body_bytes: self.max_body,
            answer_bytes: self.max_answer,
            memory_bytes: self.memory,
            connections: self.connections,
            threads: self.threads.unwrap_or(Limits::default().threads),
            queue: self.queue,
            header_time: Duration::from_secs(self.header_timeout),
            body_time: Duration::from_secs(self.body_timeout),
            work_time: Duration::from_secs(self.work_timeout),
            write_time: Duration::from_secs(self.write_timeout),
            grace: Duration::from_secs(self.grace),
        }
    }
}

impl Options {
    fn trust(&self) -> anyhow::Result<Option<Trust>> {
        let Some(line) = self.line.clone() else { return Ok(None) };
        let keys = self.trust.iter().map(|path| keys::read_public(path)).collect::<Result<Vec<_>, _>>()?;
        // One file per line, so that another model file of the same line does not bypass the
        // version check. Names of lines contain only characters that are valid in file names.
        let memory = || self.model.with_file_name(format!("{line}.version"));
        let memory = self.version_file.clone().unwrap_or_else(memory);
        Ok(Some(Trust { keys, line, least: (!self.allow_older).then_some(self.least_version), memory }))
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    // The first signal lets requests finish; the second ends the process.
    signals::heed_to_the_end();
    let token = options.token_file.as_deref().map(Token::read).transpose()?;
    let access = Access::new(options.listen, options.host.clone(), token)?;
    let settings = Settings {
        limits: options.limits(),
        access,
        groups: options.group.clone(),
        other_groups: options.other_group.clone(),
        trust: options.trust()?,
    };
    let service =
        Service::new(AlignedBytes::read(&options.model)?, settings, Log::new(io::stderr(), print::is_quiet()));
    let service = service.with_context(|| format!("{}: cannot use this model", options.model.display()))?;
    let service = Arc::new(service);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(options, Arc::clone(&service)));
    // Requests that still run have used up their time.
    runtime.shutdown_background();
    service.flush_log();
    served.map(|()| Outcome::Done)
}

async fn serve(options: &Options, service: Arc<Service>) -> anyhow::Result<()> {
    let server = Server::bind(options.listen, Arc::clone(&service)).await?;
    let end = end()?;
    #[cfg(unix)]
    reload_on_hangup(service, options.model.clone())?;
    // Printed last: a client that reads it may send requests and signals at once.
    print::text(&format!("http://{}\n", server.address()?))?;
    server.run(end).await;
    Ok(())
}

#[cfg(unix)]
fn reload_on_hangup(service: Arc<Service>, model: PathBuf) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (service, model) = (Arc::clone(&service), model.clone());
            // The log reports the result.
            _ = tokio::task::spawn_blocking(move || service.publish_file(&model)).await;
        }
    });
    Ok(())
}

#[cfg(unix)]
fn end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn end() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
