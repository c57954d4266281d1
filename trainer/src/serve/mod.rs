//! A model as a service by HTTP: one model, any number of threads, swapped while it runs.
//!
//! A new model is checked as a whole before any request sees it; one that is refused leaves the old
//! one in its place. Every answer names its model by checksum.

mod answer;
mod metrics;
mod published;
mod record;
mod routes;

pub use published::Published;
pub use routes::{Service, router};
