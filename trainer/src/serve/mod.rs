//! Serves one model by HTTP from any number of threads. The model can be replaced while the service
//! runs, and no request of a single client takes the service down.
//!
//! - A new model is checked completely before any request sees it ([`Service::publish`]). A refused
//!   model leaves the old one in place. Every answer names its model by SHA-256. With a [`Trust`]
//!   only signed models are accepted, and none that is older than the one in use, or than the one
//!   that was in use before a restart.
//! - Every request has [`Limits`]: bytes of body and answer, records, coalitions, time. A request
//!   beyond a limit is refused before its answer is sent. All bodies and answers together also have
//!   a limit of bytes. It counts an answer until it is sent completely.
//! - Small bodies are scored on the thread that reads them. Explanations, recourse and large bodies
//!   run on separate threads of low priority. Their queue is bounded and serves one client address
//!   after the other. If it is full, a request is refused at once and can be sent again. When the
//!   client leaves, its work ends.
//! - A connection has time-outs in both directions. When all connections are in use, a new one
//!   replaces an idle one of the client that has most idle connections, or else a slow one of the
//!   client with most connections.
//! - Requests from other web pages are refused by their `Origin` and `Host` ([`Access`]). Beyond
//!   the loopback, all endpoints but `/health` and `/ready` need the [`Token`].
//! - The [`Log`] has one JSON object per line, without values, names or addresses of requests. A
//!   refused model is logged with the reason, which may quote names in the model.

mod access;
mod activity;
mod answer;
mod budget;
mod connections;
mod describe;
mod explain;
mod log;
mod metrics;
mod openapi;
mod patient;
mod pool;
mod published;
mod record;
mod recourse;
mod refusal;
mod routes;
mod score;
mod table;
mod trust;
mod work;

use std::net::SocketAddr;
use std::time::Duration;

pub use access::{Access, Token};
pub use connections::Server;
pub use log::Log;
pub use published::Published;
pub use routes::Service;
pub use trust::Trust;

use crate::error::Error;
use crate::model::card::CardError;

/// Upper limits of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of records per request.
    pub records: usize,
    /// Maximum number of coalitions for all exact values of a request.
    pub coalitions: u64,
    /// Maximum length of a request's body in bytes, except for a model.
    pub body_bytes: usize,
    /// Maximum length of an answer in bytes.
    pub answer_bytes: usize,
    /// Maximum size of all bodies and answers together, in bytes. The first 16 KiB of each, and the
    /// answers of `/model`, `/metrics` and `/openapi.json`, are not counted. A client may have at
    /// most half; the loopback may have all.
    pub memory_bytes: usize,
    /// Maximum number of open connections, busy or idle. When all are in use, a new one replaces
    /// the one that has been longest without a complete request, of the client that has most such
    /// connections. If there is none, it replaces the one that has been sending its answer longest,
    /// and for over a second, of the client with most connections. This requires that the client
    /// has at least two connections more than the new one's client. The loopback is exempt.
    pub connections: usize,
    /// Number of threads for explanations and recourse.
    pub threads: usize,
    /// Maximum number of requests that wait for such a thread. A client may have half of the
    /// threads and waiting places together, or as many places as there are threads if that is more;
    /// the loopback may have all. Clients are counted by their address, for IPv6 by its first 64
    /// bits.
    pub queue: usize,
    /// Maximum time from the start of a connection, or from the previous answer, to the end of a
    /// request's header.
    pub header_time: Duration,
    /// Maximum time to receive the body of a request.
    pub body_time: Duration,
    /// Maximum time of the work on a request, without the time in the queue.
    pub work_time: Duration,
    /// Maximum time in which a client must take its answer.
    pub write_time: Duration,
    /// Time that running requests have to finish when the service ends.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            records: 10_000,
            coalitions: 1 << 28,
            body_bytes: 2 << 20,
            answer_bytes: 16 << 20,
            memory_bytes: 256 << 20,
            connections: 512,
            // One core is left for scores.
            threads: cores.saturating_sub(1).max(1),
            queue: 16,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            work_time: Duration::from_secs(10),
            write_time: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// Settings with which a service starts.
pub struct Settings {
    /// Upper limits.
    pub limits: Limits,
    /// Access control.
    pub access: Access,
    /// Columns by whose values decisions are counted: features of the model or protected columns of
    /// its schema. A record may contain them beside its features.
    pub groups: Vec<String>,
    /// Further such columns that the model's schema does not contain.
    pub other_groups: Vec<String>,
    /// The trusted signers of models; `None` accepts every model.
    pub trust: Option<Trust>,
}

/// The reason why a model is not served or a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The engine refuses the model.
    #[error(transparent)]
    Refused(#[from] feamoe_engine::LoadError),
    /// The model's card is damaged.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The model has no names, or the rules of its card contradict each other.
    #[error(transparent)]
    Model(#[from] Error),
    /// The model's signature does not meet the trust of the service.
    #[error(transparent)]
    Untrusted(#[from] feamoe_engine::signature::TrustError),
    /// The model is older than the one that was in use last.
    #[error("{versions}, that of {file}")]
    OlderThanBefore {
        /// The two versions.
        versions: feamoe_engine::signature::TrustError,
        /// The file with the version that was in use last.
        file: String,
    },
    /// The file with the version that was in use last cannot be read.
    #[error("{file}: {problem}")]
    Memory {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file with the version that was in use last cannot be written.
    #[error(transparent)]
    Write(#[from] crate::output::WriteError),
    /// That file cannot be locked; the lock lets one process at a time write it.
    #[error(transparent)]
    Lock(Box<Error>),
    /// The model has no such column to count decisions by.
    #[error("found the column {found:?} of groups, expected features or protected columns of the model: {}", known.join(", "))]
    Group {
        /// The column that was asked for.
        found: String,
        /// The columns that the model has.
        known: Vec<String>,
    },
    /// The model could not be described.
    #[error("cannot describe the model: {0}")]
    Describe(#[from] serde_json::Error),
    /// Two features of the model have the same name.
    #[error("found two features of the name {0:?}, expected names that differ: records come by name")]
    TwoFeatures(String),
    /// The token cannot be used.
    #[error("{file}: {problem}")]
    Token {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Other machines could send requests, and there is no token.
    #[error("{0} can be reached by other machines, and whoever reaches it could send requests; expected a token")]
    Open(SocketAddr),
    /// The address is not available.
    #[error("{address}: cannot listen there: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// The process may open fewer files than the connections need.
    #[error("{connections} connections need {needed} open files, and this process may have {most}")]
    Files {
        /// Number of connections that were asked for.
        connections: usize,
        /// Number of open files that they need.
        needed: u64,
        /// The hard limit of the process.
        most: u64,
    },
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The metrics could not be created.
    #[error("cannot count: {0}")]
    Metrics(#[from] prometheus::Error),
}
