//! A scoring service: one model, any number of threads, swapped while it runs.
//!
//! ```text
//! cargo run --release -p feamoe --example service -- MODEL.feamoe --listen 127.0.0.1:8080
//! curl -d '{"income": 24000, "region": "north"}' '127.0.0.1:8080/score?gate=true'
//! curl -d '[{"income": 24000}, {"income": 90000}]' '127.0.0.1:8080/explain?method=exact'    frozen, path, exact
//! curl 127.0.0.1:8080/model                                                                 features, provenance
//! curl --data-binary @NEW.feamoe 127.0.0.1:8080/model                                       swaps the model, in memory only
//! kill -HUP PID                                                                             reads MODEL.feamoe again
//! curl 127.0.0.1:8080/metrics                                                               latencies, for Prometheus
//! ```
//!
//! A new model is checked as a whole before any request sees it; one that is refused leaves the old
//! one in its place, and the answer (or stderr) says why. Every answer names its model by checksum.
//! The first line on stdout is the address. SIGINT and SIGTERM let running requests end.
//!
//! Anyone who reaches the port can swap the model: listen on the loopback, or behind a proxy that
//! asks who it is.

mod answer;
mod metrics;
mod published;
mod record;
mod routes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use clap::Parser;
use tokio::net::TcpListener;

use published::{Blob, Published};
use routes::{Service, router};

/// Scores records by HTTP
#[derive(Parser)]
struct Options {
    /// The model
    model: PathBuf,
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Maps the file instead of reading it: its memory is shared between processes, but it must
    /// only ever be replaced by a rename
    #[arg(long)]
    map: bool,
}

impl Options {
    fn blob(&self) -> anyhow::Result<Blob> {
        if self.map { Blob::map(&self.model) } else { Blob::read(&self.model) }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let published = options.blob().and_then(Published::load);
    let published = published.with_context(|| format!("{}: not a usable model", options.model.display()))?;
    let service = Arc::new(Service::new(published)?);
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("{}: cannot listen there", options.listen))?;
    let end = end()?;
    #[cfg(unix)]
    reload_on_hangup(service.clone(), options)?;
    // Last: who reads it may send requests and signals.
    println!("http://{}", listener.local_addr()?);
    // Answers are small: none waits to be sent with the next.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, router(service)).with_graceful_shutdown(end).await?;
    Ok(())
}

#[cfg(unix)]
fn reload_on_hangup(service: Arc<Service>, options: Options) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let options = Arc::new(options);
        while hangup.recv().await.is_some() {
            let (service, read) = (service.clone(), options.clone());
            let swapped = tokio::task::spawn_blocking(move || service.publish(read.blob())).await;
            let model = options.model.display();
            match swapped.map_err(anyhow::Error::from).flatten() {
                Ok(crc) => eprintln!("{model}: {crc} is the model now"),
                Err(error) => eprintln!("{model}: {error:#}; the model there was stays"),
            }
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
