//! Puts load on `feamoe serve`, swapping its model meanwhile: requests a second,
//! latencies as the client sees them, and failures.
//!
//! ```text
//! cargo run --release -p feamoe --example load -- 127.0.0.1:8080 --connections 16 --seconds 10 --swap A.feamoe --swap B.feamoe
//! ```
//!
//! Every connection sends one record after another, each when the last one was answered: a closed
//! loop. An answer that is not 200, or that does not come, is a failure; then the exit code is 1.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use histogram::{Histogram, Quantile};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpStream;

/// Relative error of a latency below 1 in 2^7, up to 2^36 ns, 68 s.
const GROUPING_POWER: u8 = 7;
const MAX_VALUE_POWER: u8 = 36;
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
    /// A model to publish, in turn with the others
    #[arg(long)]
    swap: Vec<PathBuf>,
    /// Time between two swaps
    #[arg(long, default_value_t = 100)]
    swap_milliseconds: u64,
    /// The body; without it, a record of the model's features
    #[arg(long)]
    body: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Options { address, path, connections, seconds, swap, swap_milliseconds, body } = Options::parse();
    let body = match body {
        Some(body) => body,
        None => Client::connect(address).await?.record().await?,
    };
    let blobs = swap.iter().map(|path| fs::read(path).with_context(|| path.display().to_string()));
    let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
    let end = Instant::now() + Duration::from_secs(seconds);

    let asking: Vec<_> =
        (0..connections).map(|_| tokio::spawn(ask(address, path.clone(), body.clone(), end))).collect();
    let swaps = swap_models(address, blobs, Duration::from_millis(swap_milliseconds), end).await?;
    let (mut all, mut failed) = (Histogram::new(GROUPING_POWER, MAX_VALUE_POWER)?, 0);
    for asked in asking {
        let (latencies, failures) = asked.await??;
        all = all.checked_add(&latencies)?;
        failed += failures;
    }

    let found = all.quantiles(&QUANTILES)?.context("no request was answered")?;
    let count = found.total_count();
    println!("{:>10} requests/s, {connections} connections, {seconds} s", count / u128::from(seconds.max(1)));
    for quantile in QUANTILES {
        let ns = found.get(&Quantile::new(quantile)?).map_or(0, |bucket| bucket.end());
        println!("{:>10} us p{}", ns / 1_000, quantile * 100.0);
    }
    println!("{:>10} us max", found.max().end() / 1_000);
    println!("{swaps:>10} swaps");
    println!("{failed:>10} of {count} requests failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks until the end; returns the latencies, and how many requests failed.
async fn ask(address: SocketAddr, path: String, body: String, end: Instant) -> anyhow::Result<(Histogram, u64)> {
    let mut client = Client::connect(address).await?;
    let (mut latencies, mut failed) = (Histogram::new(GROUPING_POWER, MAX_VALUE_POWER)?, 0);
    let body = Bytes::from(body);
    while Instant::now() < end {
        let start = Instant::now();
        if client.answer(Method::POST, &path, body.clone()).await.is_err() {
            failed += 1;
            client = Client::connect(address).await?;
        }
        latencies.increment(u64::try_from(start.elapsed().as_nanos())?)?;
    }
    Ok((latencies, failed))
}

/// Publishes each model in turn until the end; returns how often.
async fn swap_models(address: SocketAddr, blobs: Vec<Vec<u8>>, every: Duration, end: Instant) -> anyhow::Result<u64> {
    let mut client = Client::connect(address).await?;
    let mut swaps = 0;
    for blob in blobs.into_iter().map(Bytes::from).collect::<Vec<_>>().iter().cycle() {
        if Instant::now() + every >= end {
            break;
        }
        tokio::time::sleep(every).await;
        client.answer(Method::POST, "/model", blob.clone()).await?;
        swaps += 1;
    }
    Ok(swaps)
}

/// One connection, kept alive.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("{address}: no service there"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    async fn answer(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let request = Request::builder().method(method).uri(path).header(HOST, &self.host).body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    /// Returns a record of the model: numbers in the middle of their ranges, the first level of
    /// each category.
    async fn record(&mut self) -> anyhow::Result<String> {
        let model: Value = serde_json::from_slice(&self.answer(Method::GET, "/model", Bytes::new()).await?)?;
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
