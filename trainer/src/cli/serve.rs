//! `feamoe serve`: scores and explains by HTTP.
//!
//! Anyone who reaches the port can swap the model: listen on the loopback, or behind a proxy that
//! asks who it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use clap::Args;
use feamoe::model::AlignedBytes;
use feamoe::serve::{Published, Service, router};
use tokio::net::TcpListener;

use super::{Outcome, signals};

/// The options of `feamoe serve`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The model
    model: PathBuf,
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

impl Options {
    fn blob(&self) -> anyhow::Result<AlignedBytes> {
        Ok(AlignedBytes::read(&self.model)?)
    }
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    signals::heed_to_the_end();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(options.clone()))?;
    Ok(Outcome::Done)
}

async fn serve(options: Options) -> anyhow::Result<()> {
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
