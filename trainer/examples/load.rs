//! Puts load on `feamoe serve`, swapping its model meanwhile: requests a second,
//! latencies as the client sees them, and failures.
//!
//! ```text
//! cargo run --release -p feamoe --example load -- 127.0.0.1:8080 --connections 16 --seconds 10 --token-file token --swap A.feamoe --swap B.feamoe
//! ```
//!
//! Beside it others may do what they can: `--explain N` clients ask for exact values of many
//! records and nothing else, `--idle N` sockets send nothing (`ulimit -n` bounds them here too),
//! `--corrupt` posts a broken model again and again.
//!
//! Every connection sends one record after another, each when the last one was answered: a closed
//! loop. An answer that is not 200, or that does not come, is a failure; then the exit code is 1.
//!
//! Requests a second depend on whatever else runs; `--process PID` also says how long the service
//! computed for each. To compare two versions, start both and ask them in turn:
//!
//! ```text
//! for run in 1 2 3 4 5 6 7 8; do for service in $A $B $B $A; do
//!     load 127.0.0.1:${service%/*} --seconds 2 --process ${service#*/}     # service = PORT/PID
//! done; done
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use histogram::{Histogram, Quantile};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Relative error of a latency below 1 in 2^7, up to 2^36 ns, 68 s.
const GROUPING_POWER: u8 = 7;
const MAX_VALUE_POWER: u8 = 36;
const JSON: &str = "application/json";
const MODEL: &str = "application/octet-stream";
/// After a refusal, before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);
/// After the end of an idle connection, before the next is opened.
const REOPENED: Duration = Duration::from_secs(1);
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Puts load on a service
#[derive(Parser)]
struct Options {
    /// The service
    address: SocketAddr,
    /// What is asked for
    #[arg(long, default_value = "/score")]
    path: String,
    /// Connections, each of which waits for its answer before it asks again
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// File with the token of the service, which models need
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Clients that ask for exact values without a pause
    #[arg(long, default_value_t = 0)]
    explain: usize,
    /// Records that each of these asks for at a time
    #[arg(long, default_value_t = 40)]
    explain_records: usize,
    /// Sockets that are opened and send nothing; opened again where they are closed
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Posts a broken model without a pause
    #[arg(long)]
    corrupt: bool,
    /// A model to publish, in turn with the others
    #[arg(long)]
    swap: Vec<PathBuf>,
    /// Time between two swaps
    #[arg(long, default_value_t = 100)]
    swap_milliseconds: u64,
    /// The body; without it, a record of the model's features
    #[arg(long)]
    body: Option<String>,
    /// The process of the service, on this machine: how long it computed for each request
    #[arg(long)]
    process: Option<u32>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let Options { address, path, connections, seconds, swap, swap_milliseconds, body, .. } = options;
    let token = options.token_file.map(fs::read_to_string).transpose()?.map(|token| token.trim().to_owned());
    let record = Client::connect(address).await?.record().await?;
    let body = body.unwrap_or_else(|| record.clone());
    let blobs = swap.iter().map(|path| fs::read(path).with_context(|| path.display().to_string()));
    let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
    let computed_before = options.process.map(computed).transpose()?;
    let end = Instant::now() + Duration::from_secs(seconds);

    let closed = Arc::new(AtomicU64::new(0));
    for _ in 0..options.idle {
        tokio::spawn(idle(address, Arc::clone(&closed)));
    }
    let many = format!("[{}]", vec![record; options.explain_records].join(","));
    let explaining: Vec<_> =
        (0..options.explain).map(|_| tokio::spawn(explain(address, many.clone().into(), end))).collect();
    let corrupting = options.corrupt.then(|| tokio::spawn(corrupt(address, token.clone(), end)));
    let asking: Vec<_> =
        (0..connections).map(|_| tokio::spawn(ask(address, path.clone(), body.clone(), end))).collect();
    let swaps = swap_models(address, blobs, token, Duration::from_millis(swap_milliseconds), end).await?;
    let (mut all, mut failed) = (Histogram::new(GROUPING_POWER, MAX_VALUE_POWER)?, 0);
    for asked in asking {
        let (latencies, failures) = asked.await??;
        all = all.checked_add(&latencies)?;
        failed += failures;
    }

    let computed = options.process.map(computed).transpose()?;
    let found = all.quantiles(&QUANTILES)?.context("no request was answered")?;
    let count = found.total_count();
    println!("{:>10} requests/s, {connections} connections, {seconds} s", count / u128::from(seconds.max(1)));
    for quantile in QUANTILES {
        let ns = found.get(&Quantile::new(quantile)?).map_or(0, |bucket| bucket.end());
        println!("{:>10} us p{}", ns / 1_000, quantile * 100.0);
    }
    println!("{:>10} us max", found.max().end() / 1_000);
    println!("{swaps:>10} swaps");
    if let Some((before, after)) = computed_before.zip(computed) {
        println!("{:>10.2} us of processor time a request", (after - before).as_secs_f64() * 1e6 / count as f64);
    }
    let (mut explained, mut refused) = (0, 0);
    for explaining in explaining {
        let (answered, busy) = explaining.await??;
        explained += answered;
        refused += busy;
    }
    if options.explain > 0 {
        let clients = options.explain;
        println!("{explained:>10} requests for exact values by {clients} clients, {refused} found the queue full");
    }
    if let Some(corrupting) = corrupting {
        println!("{:>10} broken models refused", corrupting.await??);
    }
    if options.idle > 0 {
        println!("{:>10} idle sockets, {} times closed", options.idle, closed.load(Ordering::Relaxed));
    }
    println!("{failed:>10} of {count} requests failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the time that a process has computed, to 10 ms.
fn computed(process: u32) -> anyhow::Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&file).with_context(|| file.clone())?;
    // Behind the name, which may hold anything: user and system time, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>().context(file)?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Asks until the end; returns the latencies, and how many requests failed.
async fn ask(address: SocketAddr, path: String, body: String, end: Instant) -> anyhow::Result<(Histogram, u64)> {
    let mut client = Client::connect(address).await?;
    let (mut latencies, mut failed) = (Histogram::new(GROUPING_POWER, MAX_VALUE_POWER)?, 0);
    let body = Bytes::from(body);
    while Instant::now() < end {
        let start = Instant::now();
        if client.answer(Method::POST, &path, JSON, body.clone()).await.is_err() {
            failed += 1;
            client = Client::connect(address).await?;
        }
        latencies.increment(u64::try_from(start.elapsed().as_nanos())?)?;
    }
    Ok((latencies, failed))
}

/// Asks for exact values until the end; returns how many requests were answered, and how many found
/// the queue full.
async fn explain(address: SocketAddr, body: Bytes, end: Instant) -> anyhow::Result<(u64, u64)> {
    let mut client = Client::connect(address).await?;
    let (mut answered, mut refused) = (0, 0);
    while Instant::now() < end {
        match client.ask(Method::POST, "/explain?method=exact", JSON, body.clone()).await {
            Ok((StatusCode::OK, _)) => answered += 1,
            Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {
                refused += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok((status, body)) => bail!("/explain: {status}: {}", String::from_utf8_lossy(&body)),
            Err(_) => client = Client::connect(address).await?,
        }
    }
    Ok((answered, refused))
}

/// Holds a connection without a word, and opens another where it is closed.
async fn idle(address: SocketAddr, closed: Arc<AtomicU64>) {
    while let Ok(mut stream) = TcpStream::connect(address).await {
        _ = stream.read(&mut [0]).await;
        closed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(REOPENED).await;
    }
}

/// Posts a broken model until the end; returns how often it was refused.
async fn corrupt(address: SocketAddr, token: Option<String>, end: Instant) -> anyhow::Result<u64> {
    let mut client = Client::connect(address).await?.with_token(token);
    let body = Bytes::from(vec![b'F'; 200_000]);
    let mut refused = 0;
    while Instant::now() < end {
        let (status, _) = client.ask(Method::POST, "/model", MODEL, body.clone()).await?;
        ensure!(status.is_client_error(), "a broken model: {status}");
        refused += 1;
    }
    Ok(refused)
}

/// Publishes each model in turn until the end; returns how often.
async fn swap_models(
    address: SocketAddr,
    blobs: Vec<Vec<u8>>,
    token: Option<String>,
    every: Duration,
    end: Instant,
) -> anyhow::Result<u64> {
    let mut client = Client::connect(address).await?.with_token(token);
    let mut swaps = 0;
    for blob in blobs.into_iter().map(Bytes::from).collect::<Vec<_>>().iter().cycle() {
        if Instant::now() + every >= end {
            break;
        }
        tokio::time::sleep(every).await;
        client.answer(Method::POST, "/model", MODEL, blob.clone()).await?;
        swaps += 1;
    }
    Ok(swaps)
}

/// One connection, kept alive.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    /// The value of the header that has the token.
    authorization: Option<String>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("{address}: no service there"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string(), authorization: None })
    }

    fn with_token(self, token: Option<String>) -> Self {
        Self { authorization: token.map(|token| format!("Bearer {token}")), ..self }
    }

    async fn answer(&mut self, method: Method, path: &str, content: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let (status, body) = self.ask(method, path, content, body).await?;
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        content: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, &self.host).header(CONTENT_TYPE, content);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// Returns a record of the model: numbers in the middle of their ranges, the first level of
    /// each category.
    async fn record(&mut self) -> anyhow::Result<String> {
        let model: Value = serde_json::from_slice(&self.answer(Method::GET, "/model", JSON, Bytes::new()).await?)?;
        let mut record = Map::new();
        for feature in model["features"].as_array().into_iter().flatten() {
            let name = feature["name"].as_str().context("a feature without a name")?;
            let value = match (feature["low"].as_f64(), feature["high"].as_f64()) {
                (Some(low), Some(high)) => Value::from(low.midpoint(high)),
                _ => feature["levels"][0].clone(),
            };
            record.insert(name.to_owned(), value);
        }
        Ok(Value::from(record).to_string())
    }
}
