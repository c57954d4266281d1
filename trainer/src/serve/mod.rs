//! A model as a service by HTTP: one model, any number of threads, swapped while it runs, and
//! nothing that a single client can ask for takes it down.
//!
//! - A new model is checked as a whole before any request sees it ([`Service::publish`]); one that
//!   is refused leaves the old one in its place. Every answer names its model by SHA-256. With a
//!   [`Trust`] only signed models are taken, and none that is older than the one in use, or than
//!   the one that was in use before a restart.
//! - Every request has [`Limits`]: bytes of body and answer, records, coalitions, time. What is
//!   beyond one is refused before the answer is made. All bodies and answers together have a limit
//!   of bytes too, until the last of an answer is sent.
//! - Scores of small bodies are computed where they arrive. Explanations, recourse and large bodies
//!   run on threads of their own, of a low priority, with a bounded queue that is served one
//!   client's address after the other; beyond it a request is refused at once, to be sent again.
//!   When the client leaves, its work ends.
//! - A connection has time-outs in both directions. When all connections are in use, a new one
//!   replaces an idle one, of the client that has most of those, or else a slow one of the client
//!   with most connections.
//! - Requests of other web pages are refused by their `Origin` and `Host` ([`Access`]); beyond the
//!   loopback all but `/health` and `/ready` need the [`Token`].
//! - Logs ([`Log`]) are a JSON object a line, without values, names or addresses of requests. A
//!   model that is refused is logged with the reason, which may quote names in it.

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

/// What a service takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records of a request.
    pub records: usize,
    /// Coalitions of all exact values of a request.
    pub coalitions: u64,
    /// Bytes of a request's body, except for a model.
    pub body_bytes: usize,
    /// Bytes of an answer.
    pub answer_bytes: usize,
    /// Bytes of all bodies and answers together. Not counted are the first 16 KiB of each, and what
    /// the service says of itself by `/model`, `/metrics` and `/openapi.json`. A client has at
    /// most half of them; not so the loopback.
    pub memory_bytes: usize,
    /// Connections at a time, busy or idle. When all are in use, a new one replaces the one that
    /// has been longest without a complete request, of the client that has most such
    /// connections. If there is none, it replaces the one that has been sending its answer
    /// longest, and for over a second, of the client with most connections, if that has two more
    /// than the new one's client; not so the loopback.
    pub connections: usize,
    /// Threads that explain and look for recourse.
    pub threads: usize,
    /// Requests that wait for such a thread. A client has at most half of the threads and this
    /// together, or as many as there are threads; not so the loopback. Clients are counted by their
    /// address, of IPv6 by its first 64 bits.
    pub queue: usize,
    /// Time that a connection has from its start, or from the answer before, to the end of a
    /// request's header.
    pub header_time: Duration,
    /// Time for the body of a request.
    pub body_time: Duration,
    /// Time for the work on a request, once it has begun.
    pub work_time: Duration,
    /// Time in which a client must take its answer.
    pub write_time: Duration,
    /// Time that running requests have when the service ends.
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
            // One is left for scores.
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

/// What a service is started with.
pub struct Settings {
    /// What it takes at most.
    pub limits: Limits,
    /// Who may ask.
    pub access: Access,
    /// Columns by whose values decisions are counted: features of the model or protected columns
    /// of its schema. A record may have them beside its features.
    pub groups: Vec<String>,
    /// Further such columns, which the model's schema does not have.
    pub other_groups: Vec<String>,
    /// Whose models it takes; without one, everyone's.
    pub trust: Option<Trust>,
}

/// Why a model is not served, or a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The engine refuses the model.
    #[error(transparent)]
    Refused(#[from] feamoe_engine::LoadError),
    /// Its card is damaged.
    #[error(transparent)]
    Card(#[from] CardError),
    /// It has no names, or the rules of its card contradict each other.
    #[error(transparent)]
    Model(#[from] Error),
    /// It is not signed as the service asks for.
    #[error(transparent)]
    Untrusted(#[from] feamoe_engine::signature::TrustError),
    /// It is older than the one that was in use last.
    #[error("{versions}, that of {file}")]
    OlderThanBefore {
        /// The versions.
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
    /// That file cannot be written.
    #[error(transparent)]
    Write(#[from] crate::output::WriteError),
    /// Nor can it be locked, so that one process at a time writes it.
    #[error(transparent)]
    Lock(Box<Error>),
    /// It has no such column to count decisions by.
    #[error("found the column {found:?} of groups, expected features or protected columns of the model: {}", known.join(", "))]
    Group {
        /// The column.
        found: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// It could not be described.
    #[error("cannot describe the model: {0}")]
    Describe(#[from] serde_json::Error),
    /// Two of its features have one name.
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
    /// Other machines could send requests, and nothing keeps them out.
    #[error("{0} can be reached by other machines, and whoever reaches it could send requests; expected a token")]
    Open(SocketAddr),
    /// The address is not to be had.
    #[error("{address}: cannot listen there: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The process may open fewer files than the connections need.
    #[error("{connections} connections need {needed} open files, and this process may have {most}")]
    Files {
        /// Connections asked for.
        connections: usize,
        /// Open files that they need.
        needed: u64,
        /// The hard limit of the process.
        most: u64,
    },
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// Metrics could not be made.
    #[error("cannot count: {0}")]
    Metrics(#[from] prometheus::Error),
}
