//! `feamoe serve`: scores, explanations and recourse by HTTP.

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
POST /model (puts another model in place, in memory only), GET /health, GET /ready, GET /metrics for Prometheus, GET /openapi.json.

A body is one record, an object by the features' names, or an array of records. The first line on standard output is the address. Standard error has a JSON \
object for each request, without its values, its query or its client's address; a model that is refused is logged with the reason, which may quote names in it. \
With --quiet those that were answered are left out.

The model is replaced by SIGHUP, which reads its file again, or by POST /model with the token. A model that is refused leaves the old one in its place. SIGTERM \
and Ctrl-C let running requests end; a second one ends the process at once.";

/// Seconds that an option takes at most: a day.
const MOST_SECONDS: u64 = 86_400;

/// The options of `feamoe serve`.
#[derive(Args, Debug)]
#[command(after_long_help = ENDPOINTS)]
pub struct Options {
    /// The model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Address and port; port 0 takes a free one. Beyond the loopback it needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// File with the token that POST /model needs as `Authorization: Bearer TOKEN`, beyond the
    /// loopback every request but /health and /ready: 16 to 1024 visible ASCII characters, in a
    /// file that only its owner may read
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Take only models that are signed by this public key (PEM); more than one: by any of them
    #[arg(long, value_name = "KEY", requires = "line")]
    trust: Vec<PathBuf>,
    /// The line of models that they are signed for
    #[arg(long, value_name = "NAME", requires = "trust", value_parser = super::sign::line)]
    line: Option<String>,
    /// The lowest version of the line to begin with; later ones may not be below the model in use
    #[arg(long, value_name = "N", requires = "trust", default_value_t = 0)]
    least_version: u32,
    /// File that keeps the version of the model in use: after a restart, too, no older model is
    /// taken. Models of one line share it [default: LINE.version in the folder of the model]
    #[arg(long, value_name = "FILE", requires = "trust")]
    version_file: Option<PathBuf>,
    /// Also take models older than the one in use or than the version in the version file, which
    /// then keeps theirs
    #[arg(long, requires = "trust", conflicts_with = "least_version")]
    allow_older: bool,
    /// Names by which clients call the service, beside localhost and its address: a request with
    /// another Host is refused, as web pages of others would send it
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    host: Vec<String>,
    /// Features or protected columns of the model's schema by whose values /metrics counts the
    /// decisions, the first 32 values of each by name; records may have them beside the features
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    group: Vec<String>,
    /// As --group, of columns that the model's schema does not have
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    other_group: Vec<String>,
    /// Most records of a request
    #[arg(long, value_name = "N", default_value_t = Limits::default().records, value_parser = whole::<usize>(1..=10_000_000))]
    max_records: usize,
    /// Most coalitions of the exact explanations of a request; 2^28 take about half a second
    #[arg(long, value_name = "N", default_value_t = Limits::default().coalitions, value_parser = whole::<u64>(1..=1 << 40))]
    max_coalitions: u64,
    /// Most bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes, value_parser = whole::<usize>(1..=1 << 30))]
    max_body: usize,
    /// Most bytes of an answer
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().answer_bytes, value_parser = whole::<usize>(1024..=1 << 30))]
    max_answer: usize,
    /// Most bytes of all bodies and answers together; beyond, the answer is 503 with Retry-After.
    /// An address, but for the loopback, has at most half. The first 16 KiB of each are not
    /// counted, nor are models of POST /model and the answers of GET /model, /metrics and
    /// /openapi.json
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().memory_bytes, value_parser = whole::<usize>(1 << 20..=1 << 40))]
    memory: usize,
    /// Most connections at a time; beyond, a new one replaces the idlest of the address that has
    /// most idle ones, or else the slowest of the address that has most connections
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = whole::<usize>(1..=100_000))]
    connections: usize,
    /// Threads for explanations and recourse, 1 to 1024 [default: one a core, but for one]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1024))]
    threads: Option<usize>,
    /// Requests that wait for these threads; beyond, the answer is 503 with Retry-After. They are
    /// taken from one client's address after the other; each address, but for the loopback, has at
    /// most half of threads and queue
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue, value_parser = whole::<usize>(0..=100_000))]
    queue: usize,
    /// Seconds that a connection may be idle, or take to send the header of a request
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().header_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    header_timeout: u64,
    /// Seconds that the body of a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().body_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    body_timeout: u64,
    /// Seconds of work on a request, without the time in the queue
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().work_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    work_timeout: u64,
    /// Seconds in which a client must take its answer
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().write_time.as_secs(), value_parser = whole::<u64>(1..=MOST_SECONDS))]
    write_timeout: u64,
    /// Seconds that running requests have after SIGTERM or Ctrl-C
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
        // One for the line: another file of the same line is no way back. The names of lines have
        // only characters that names of files may have.
        let memory = || self.model.with_file_name(format!("{line}.version"));
        let memory = self.version_file.clone().unwrap_or_else(memory);
        Ok(Some(Trust { keys, line, least: (!self.allow_older).then_some(self.least_version), memory }))
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    // The first signal lets requests end, the second ends the process.
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
    let service = service.with_context(|| format!("{}: not a usable model", options.model.display()))?;
    let service = Arc::new(service);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(options, Arc::clone(&service)));
    // What still runs has had its time.
    runtime.shutdown_background();
    service.flush_log();
    served.map(|()| Outcome::Done)
}

async fn serve(options: &Options, service: Arc<Service>) -> anyhow::Result<()> {
    let server = Server::bind(options.listen, Arc::clone(&service)).await?;
    let end = end()?;
    #[cfg(unix)]
    reload_on_hangup(service, options.model.clone())?;
    // Last: who reads it may send requests and signals.
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
            // The log says what became of it.
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
