//! The endpoints, and the only place where models are replaced.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use feamoe_engine::format::HEADER_BYTES;
use feamoe_engine::limits::MAX_BLOB_BYTES;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;

use super::access::{Access, Needs, media_type};
use super::answer::{Answer, JSON};
use super::budget::{Budget, Buffer};
use super::connections::Peer;
use super::log::{self, Log};
use super::metrics::Metrics;
use super::pool::{Pool, Wish, run_here};
use super::published::Published;
use super::refusal::{Refusal, Refusals};
use super::table::ARROW;
use super::trust::Trust;
use super::work::Work;
use super::{Limits, ServeError, Settings, describe, explain, openapi, recourse, score, table};
use crate::model::AlignedBytes;

/// Maximum length of a body that is scored on the thread that reads it. Scoring takes a few
/// milliseconds at most, for empty records.
const SMALL_BYTES: usize = 4 << 10;
/// The media type of a model.
const MODEL: &str = "application/octet-stream";
/// Maximum number of bytes, and maximum time, for reading the body of a refused request.
const PASSED_BYTES: usize = 64 << 10;
const PASSED_TIME: Duration = Duration::from_secs(1);
/// Number of models that may wait beside the one that is being checked.
const WAITING_MODELS: usize = 7;
/// Maximum length of a model, and the number of models of that length that one client may send at a
/// time.
const MODEL_BYTES: usize = HEADER_BYTES + MAX_BLOB_BYTES;
const MODELS: usize = 2;
/// The answer of a service that is well.
const OK: &str = "ok\n";
/// Name of an unknown route, endpoint or method.
const OTHER: &str = "other";
/// The status in log and metrics if the client left before its answer.
const LEFT: u16 = 499;

/// The endpoints: method, path, name in metrics, and requirements.
const ENDPOINTS: [(Method, &str, &str, Needs); 9] = [
    (Method::POST, "/score", "POST /score", Needs { media_types: &[JSON, ARROW], ..NOTHING }),
    (Method::POST, "/explain", "POST /explain", Needs { media_types: &[JSON], ..NOTHING }),
    (Method::POST, "/recourse", "POST /recourse", Needs { media_types: &[JSON], ..NOTHING }),
    (Method::GET, "/model", "GET /model", NOTHING),
    (Method::POST, "/model", "POST /model", Needs { media_types: &[MODEL], token: true, ..NOTHING }),
    (Method::GET, "/health", "GET /health", Needs { is_free: true, ..NOTHING }),
    (Method::GET, "/ready", "GET /ready", Needs { is_free: true, ..NOTHING }),
    (Method::GET, "/metrics", "GET /metrics", NOTHING),
    (Method::GET, "/openapi.json", "GET /openapi.json", NOTHING),
];

const NOTHING: Needs = Needs { media_types: &[], token: false, is_free: false };

/// The state that all requests share. Each request takes the current model when its work begins and
/// keeps it to its end. No request waits for a lock on the model.
pub struct Service {
    published: ArcSwap<Published>,
    trust: Option<Trust>,
    /// Held from the check of a model until it is in place. Otherwise an older model could follow a
    /// newer one.
    swapping: Mutex<()>,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
    pub(super) limits: Limits,
    access: Access,
    budget: Budget,
    /// For models that are sent by HTTP, which needs the token.
    model_budget: Budget,
    /// The columns among `columns` that a model must know.
    groups: Vec<String>,
    /// The columns by whose values decisions are counted.
    columns: Vec<String>,
    /// For explanations and recourse.
    slow: Pool,
    /// For scores of large bodies.
    batches: Pool,
    /// For checks of models.
    swaps: Pool,
    /// The id of the first request. The ids of the others follow.
    first_id: u64,
    requests: AtomicU64,
}

impl Service {
    /// Creates a service with a model. The model's version is remembered once a
    /// [`Server`](super::Server) listens.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn new(blob: AlignedBytes, settings: Settings, log: Log) -> Result<Self, ServeError> {
        let Settings { limits, access, groups, other_groups, trust } = settings;
        let published = Published::load(blob, trust.as_ref(), None, &groups)?;
        let columns = [&groups[..], &other_groups].concat();
        let metrics = Metrics::new(&columns, &ENDPOINTS.map(|(_, _, name, _)| name))?;
        metrics.model(&published.ready().name);
        let Limits { threads, queue, work_time, .. } = limits;
        Ok(Self {
            published: ArcSwap::from_pointee(published),
            trust,
            budget: Budget::new(limits.memory_bytes),
            model_budget: Budget::new(2 * MODELS * MODEL_BYTES),
            columns,
            swapping: Mutex::new(()),
            metrics,
            log,
            access,
            groups,
            slow: Pool::new("explain", threads, queue, true, work_time)?,
            batches: Pool::new("batch", threads, queue, false, work_time)?,
            swaps: Pool::new("model", 1, WAITING_MODELS, false, work_time)?,
            limits,
            first_id: RandomState::new().hash_one(0),
            requests: AtomicU64::new(0),
        })
    }

    /// Checks a blob completely, and only then replaces the current model. The old model is dropped
    /// with the last request that uses it.
    ///
    /// # Errors
    /// See [`ServeError`]. On an error the current model stays, and the log reports it.
    pub fn publish(&self, blob: AlignedBytes) -> Result<Arc<Published>, ServeError> {
        self.put(Ok(blob))
    }

    /// Reads a file and does the same as [`Service::publish`].
    ///
    /// # Errors
    /// Those of [`Service::publish`], and [`ServeError::Model`] if the file cannot be read.
    pub fn publish_file(&self, path: &Path) -> Result<Arc<Published>, ServeError> {
        self.put(AlignedBytes::read(path).map_err(ServeError::from))
    }

    fn put(&self, blob: Result<AlignedBytes, ServeError>) -> Result<Arc<Published>, ServeError> {
        let _alone = self.swapping.lock();
        let (trust, in_use) = (self.trust.as_ref(), self.published.load().version());
        let published = blob.and_then(|blob| {
            let published = Published::load(blob, trust, in_use, &self.groups)?;
            // Before the model is in use: otherwise a restart could accept an older one.
            self.remember(&published)?;
            Ok(Arc::new(published))
        });
        self.metrics.swap(published.is_ok());
        match published {
            Ok(published) => {
                let name = &published.ready().name;
                self.published.store(Arc::clone(&published));
                self.metrics.model(name);
                self.note("model", Some(name), None);
                Ok(published)
            }
            Err(error) => {
                self.note("model refused", None, Some(&error.to_string()));
                Err(error)
            }
        }
    }

    /// Remembers the version of the model in use, before the first request arrives.
    pub(super) fn begin(&self) -> Result<(), ServeError> {
        self.remember(&self.published.load())
    }

    fn remember(&self, published: &Published) -> Result<(), ServeError> {
        self.trust.as_ref().zip(published.version()).map_or(Ok(()), |(trust, version)| trust.remember(version))
    }

    /// Returns the context of the work on a request.
    fn work<'w>(&'w self, published: &'w Published, client: IpAddr, wish: &'w Wish<'w>) -> Work<'w> {
        let Self { columns, limits, budget, .. } = self;
        Work { ready: published.ready(), columns, limits, budget, client, wish }
    }

    /// Logs an event.
    pub(super) fn note(&self, event: &'static str, model: Option<&str>, message: Option<&str>) {
        if !self.log.event(event, model, message) {
            self.metrics.lost_lines.inc();
        }
    }

    /// Waits until the log is written.
    pub fn flush_log(&self) {
        self.log.flush();
    }
}

/// Creates the routes of a service.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/score", post(score))
        .route("/explain", post(explain))
        .route("/recourse", post(recourse))
        .route("/model", get(model).post(publish))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(description))
        .fallback(async |request: Request| other(StatusCode::NOT_FOUND, &request))
        .method_not_allowed_fallback(async |request: Request| other(StatusCode::METHOD_NOT_ALLOWED, &request))
        .with_state(service)
}

fn other(status: StatusCode, request: &Request) -> Refusal {
    let names = ENDPOINTS.map(|(_, _, name, _)| name).join(", ");
    Refusal::new(status, format!("found {} {}, expected one of {names}", request.method(), request.uri().path()))
}

type Shared = State<Arc<Service>>;
type From = Extension<Arc<Peer>>;
type Options<T> = Result<Query<T>, QueryRejection>;

/// A request until its answer is made or its client has left. Dropping it counts and logs it.
struct Observed<'s> {
    service: &'s Service,
    start: Instant,
    method: &'static str,
    route: &'static str,
    endpoint: &'static str,
    id: u64,
    status: u16,
    bytes: u64,
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        let Self { service, start, method, route, endpoint, id, status, bytes } = *self;
        let took = start.elapsed();
        service.metrics.request(endpoint, status, took);
        if !service.log.request(log::Request { method, route, status, took, bytes, id }) {
            service.metrics.lost_lines.inc();
        }
    }
}

/// Answers a request by its route: checks access, counts and logs.
pub(super) async fn answer(
    service: &Service,
    router: &TowerToHyperService<Router>,
    peer: Arc<Peer>,
    request: hyper::Request<Incoming>,
) -> Response {
    let path = request.uri().path();
    let of_path = || ENDPOINTS.iter().filter(|(_, found, ..)| *found == path);
    // HEAD is treated like GET.
    let asked = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let endpoint = of_path().find(|(method, ..)| method == asked);
    let route = of_path().next().map_or(OTHER, |(_, path, ..)| path);
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => OTHER,
    };
    let count = service.requests.fetch_add(1, Relaxed);
    let mut observed = Observed {
        start: Instant::now(),
        method,
        route,
        endpoint: endpoint.map_or(OTHER, |(_, _, name, _)| name),
        id: service.first_id.wrapping_add(count),
        status: LEFT,
        bytes: 0,
        service,
    };
    let needs = endpoint.map_or(NOTHING, |(.., needs)| *needs);
    let mut response = match service.access.check(needs, &request, peer.local) {
        Ok(()) => {
            let mut request = request;
            request.extensions_mut().insert(peer);
            let Ok(response) = router.call(request).await;
            response
        }
        Err(refusal) => {
            pass_over(request.into_body()).await;
            refusal.into_response()
        }
    };
    observed.status = response.status().as_u16();
    observed.bytes = response.body().size_hint().exact().unwrap_or(0);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::try_from(log::shown_id(observed.id)) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// Reads the first part of the body of a refused request and discards it: many clients read an
/// answer only after they have sent everything.
async fn pass_over(mut body: Incoming) {
    let read = async {
        let mut length = 0;
        while length < PASSED_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            length += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // The answer is the same if the body does not arrive in time.
    _ = timeout(PASSED_TIME, read).await;
}

/// Reads a body of at most `most` bytes within the time limit.
async fn body(
    service: &Service,
    peer: &Peer,
    request: Request,
    most: usize,
    budget: &Budget,
) -> Result<Buffer, Refusal> {
    let too_long = || {
        let message = format!("found a body of more than {most} bytes, expected at most {most}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if request.body().size_hint().lower() > most as u64 {
        return Err(too_long());
    }
    let mut body = request.into_body();
    let read = async {
        let (mut bytes, mut length) = (budget.buffer(peer.client()), 0);
        while let Some(frame) = body.frame().await {
            let cut_off = |_| Refusal::new(StatusCode::BAD_REQUEST, "found a body that ends before its end");
            let data = frame.map_err(cut_off)?.into_data().unwrap_or_default();
            length += data.len();
            if length > most {
                return Err(too_long());
            }
            bytes.extend(&data)?;
        }
        peer.complete();
        Ok(bytes)
    };
    let time = service.limits.body_time;
    timeout(time, read).await.unwrap_or_else(|_| {
        let seconds = time.as_secs_f64();
        let message = format!("found a body that took more than {seconds} s, expected it within {seconds} s");
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, message))
    })
}

/// Runs work on the threads of a pool, until the client leaves.
async fn run<T: Send + 'static>(
    pool: &Pool,
    peer: &Peer,
    work: impl FnOnce(&Wish<'_>) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::select! {
        done = pool.run(peer.client(), work) => done,
        never = peer.watch() => match never {},
    }
}

/// Scores records, given as JSON or as an Arrow stream. The answer has the same format.
#[utoipa::path(
    post,
    path = "/score",
    params(score::Options),
    request_body(content((openapi::Records = "application/json"), (openapi::Binary = "application/vnd.apache.arrow.stream"))),
    responses((status = 200, content((score::Scores<'_> = "application/json"), (openapi::Binary = "application/vnd.apache.arrow.stream"))), Refusals)
)]
async fn score(
    State(service): Shared,
    Extension(peer): From,
    options: Options<score::Options>,
    request: Request,
) -> Result<Answer, Refusal> {
    let Query(options) = options?;
    let is_table = media_type(request.headers()).eq_ignore_ascii_case(ARROW);
    let body = body(&service, &peer, request, service.limits.body_bytes, &service.budget).await?;
    let is_small = body.as_ref().len() <= SMALL_BYTES && !is_table;
    let client = peer.client();
    let scored = {
        let service = Arc::clone(&service);
        move |wish: &Wish<'_>| {
            let published = service.published.load();
            let work = service.work(&published, client, wish);
            if is_table {
                table::score(&work, Bytes::from_owner(body))
            } else {
                score::score(&work, body.as_ref(), options)
            }
        }
    };
    let (answer, tally) = if is_small {
        run_here(service.limits.work_time, scored)?
    } else {
        run(&service.batches, &peer, scored).await?
    };
    service.metrics.decisions(&tally);
    Ok(answer)
}

/// Explains the scores of records.
#[utoipa::path(
    post,
    path = "/explain",
    params(explain::Options),
    request_body(content = openapi::Records, content_type = "application/json"),
    responses((status = 200, body = explain::Explanations<'_>), Refusals)
)]
async fn explain(
    service: Shared,
    peer: From,
    options: Options<explain::Options>,
    request: Request,
) -> Result<Answer, Refusal> {
    slow(service, peer, options, request, explain::explain).await
}

/// Searches for changes that would make the decision on declined records favourable.
#[utoipa::path(
    post,
    path = "/recourse",
    params(recourse::Options),
    request_body(content = openapi::Records, content_type = "application/json"),
    responses((status = 200, body = recourse::Recourses<'_>), Refusals)
)]
async fn recourse(
    service: Shared,
    peer: From,
    options: Options<recourse::Options>,
    request: Request,
) -> Result<Answer, Refusal> {
    slow(service, peer, options, request, recourse::recourse).await
}

/// Runs what takes long on the threads for it.
async fn slow<T: Send + 'static>(
    State(service): Shared,
    Extension(peer): From,
    options: Options<T>,
    request: Request,
    answer: fn(&Work<'_>, &[u8], T) -> Result<Answer, Refusal>,
) -> Result<Answer, Refusal> {
    let Query(options) = options?;
    let body = body(&service, &peer, request, service.limits.body_bytes, &service.budget).await?;
    let (shared, client) = (Arc::clone(&service), peer.client());
    let work =
        move |wish: &Wish<'_>| answer(&shared.work(&shared.published.load(), client, wish), body.as_ref(), options);
    run(&service.slow, &peer, work).await
}

/// Describes the current model.
#[utoipa::path(get, path = "/model", responses((status = 200, body = describe::Model<'_>), Refusals))]
async fn model(State(service): Shared) -> Response {
    json(service.published.load().ready().description.clone())
}

/// Replaces the current model, in memory only. Requires the token.
#[utoipa::path(
    post,
    path = "/model",
    request_body(content = openapi::Binary, content_type = "application/octet-stream"),
    security(("token" = [])),
    responses((status = 200, body = describe::Model<'_>), Refusals)
)]
async fn publish(State(service): Shared, Extension(peer): From, request: Request) -> Result<Response, Refusal> {
    let blob = body(&service, &peer, request, MODEL_BYTES, &service.model_budget).await?;
    let shared = Arc::clone(&service);
    let work = move |_: &Wish<'_>| {
        let published = shared.publish(AlignedBytes::new(blob.as_ref()));
        published.map_err(|error| {
            let status = match error {
                ServeError::Memory { .. } | ServeError::Write(_) | ServeError::Lock(_) => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Refusal::new(status, format_args!("{error}; the model there was stays"))
        })
    };
    let published = run(&service.swaps, &peer, work).await?;
    Ok(json(published.ready().description.clone()))
}

fn json(text: impl Into<axum::body::Body>) -> Response {
    ([(CONTENT_TYPE, JSON)], text.into()).into_response()
}

/// Reports that the process runs.
#[utoipa::path(get, path = "/health", responses((status = 200, content_type = "text/plain", body = String), Refusals))]
async fn health() -> &'static str {
    OK
}

/// Reports that the service has a model and accepts requests. A service that ends closes its port.
#[utoipa::path(get, path = "/ready", responses((status = 200, content_type = "text/plain", body = String), Refusals))]
async fn ready() -> &'static str {
    OK
}

/// Returns counters and latencies in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "text/plain", body = String), Refusals))]
async fn metrics(State(service): Shared) -> Result<Response, Refusal> {
    let text = service.metrics.text().map_err(Refusal::internal)?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Returns the OpenAPI description of the service with the current model.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = Object), Refusals))]
async fn description(State(service): Shared) -> Result<Response, Refusal> {
    let Service { published, columns, limits, access, .. } = &*service;
    let published = published.load();
    let ready = published.ready();
    if let Some(made) = ready.openapi.get() {
        return Ok(json(made.clone()));
    }
    let made = openapi::description(ready, columns, limits, access.is_open())?;
    Ok(json(ready.openapi.get_or_init(|| made.into()).clone()))
}

pub(super) mod paths {
    pub use super::{
        __path_description, __path_explain, __path_health, __path_metrics, __path_model, __path_publish, __path_ready,
        __path_recourse, __path_score,
    };
}
