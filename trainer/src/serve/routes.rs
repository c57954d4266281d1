//! The endpoints, and the one place where models are swapped.

use std::sync::Arc;
use std::time::Instant;

use crate::model::AlignedBytes;
use anyhow::anyhow;
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use feamoe_engine::format::HEADER_BYTES;
use feamoe_engine::limits::MAX_BLOB_BYTES;
use serde::Deserialize;

use super::answer::{self, Json, Procedure, Refusal};
use super::metrics::{Endpoint, Metrics};
use super::published::Published;

/// What all requests share. Each takes the model that is current when its body is there, and keeps
/// it to its end; nothing waits for a lock.
pub struct Service {
    published: ArcSwap<Published>,
    metrics: Metrics,
}

impl Service {
    /// Starts with a model.
    pub fn new(published: Published) -> anyhow::Result<Self> {
        Ok(Self { published: ArcSwap::from_pointee(published), metrics: Metrics::new()? })
    }

    /// Checks a blob as a whole, and only then puts it in the place of the model there is, which is
    /// dropped with its last request. Returns its checksum.
    pub fn publish(&self, blob: anyhow::Result<AlignedBytes>) -> anyhow::Result<String> {
        let published = Published::load(blob?)?;
        let crc = published.ready().crc();
        self.published.store(Arc::new(published));
        Ok(crc)
    }
}

/// Makes the routes of a service.
pub fn router(service: Arc<Service>) -> Router {
    let timed = |endpoint: Endpoint, route: MethodRouter<Arc<Service>>| {
        route.layer(from_fn_with_state((service.clone(), endpoint), time))
    };
    let publish = post(publish).layer(DefaultBodyLimit::max(HEADER_BYTES + MAX_BLOB_BYTES));
    Router::new()
        .route("/score", timed(Endpoint::Score, post(score)))
        .route("/explain", timed(Endpoint::Explain, post(explain)))
        .route("/model", timed(Endpoint::Model, get(model)).merge(timed(Endpoint::Publish, publish)))
        .route("/metrics", get(metrics))
        .fallback(async |request: Request| other(StatusCode::NOT_FOUND, &request))
        .method_not_allowed_fallback(async |request: Request| other(StatusCode::METHOD_NOT_ALLOWED, &request))
        .with_state(service)
}

type Shared = State<Arc<Service>>;

async fn time(State((service, endpoint)): State<(Arc<Service>, Endpoint)>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let response = next.run(request).await;
    service.metrics.record(endpoint, start.elapsed(), response.status().is_success());
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreOptions {
    #[serde(default)]
    gate: bool,
}

async fn score(
    State(service): Shared,
    options: Result<Query<ScoreOptions>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json, Refusal> {
    let Query(ScoreOptions { gate }) = options?;
    answer::score(service.published.load().ready(), &body?, gate)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainOptions {
    #[serde(default)]
    method: Procedure,
}

async fn explain(
    State(service): Shared,
    options: Result<Query<ExplainOptions>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json, Refusal> {
    let Query(ExplainOptions { method }) = options?;
    let body = body?;
    if method != Procedure::Exact {
        return answer::explain(service.published.load().ready(), &body, method);
    }
    // Milliseconds or more: on a thread where no other request waits behind it.
    blocking(move || answer::explain(service.published.load().ready(), &body, method)).await
}

async fn model(State(service): Shared) -> Result<Json, Refusal> {
    answer::model(service.published.load().ready())
}

async fn publish(State(service): Shared, body: Result<Bytes, BytesRejection>) -> Result<Json, Refusal> {
    let body = body?;
    blocking(move || {
        let published = service.publish(Ok(AlignedBytes::new(&body)));
        published.map_err(|error| Refusal::unprocessable(format_args!("{error:#}; the model there was stays")))?;
        answer::model(service.published.load().ready())
    })
    .await
}

async fn metrics(State(service): Shared) -> Result<String, Refusal> {
    service.metrics.text().map_err(|error| internal(&error.into()))
}

fn other(status: StatusCode, request: &Request) -> Refusal {
    const EXPECTED: &str = "POST /score, POST /explain, GET /model, POST /model or GET /metrics";
    let message = format!("found {} {}, expected {EXPECTED}", request.method(), request.uri().path());
    Refusal { status, message }
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(run).await;
    done.unwrap_or_else(|error| Err(internal(&anyhow!(error))))
}

fn internal(error: &anyhow::Error) -> Refusal {
    Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, message: error.to_string() }
}

impl From<QueryRejection> for Refusal {
    fn from(error: QueryRejection) -> Self {
        Self { status: error.status(), message: error.body_text() }
    }
}

impl From<BytesRejection> for Refusal {
    fn from(error: BytesRejection) -> Self {
        Self { status: error.status(), message: error.body_text() }
    }
}
