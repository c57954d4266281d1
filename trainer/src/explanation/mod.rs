//! Explanations on the host.

mod kernel;

pub use kernel::Fastest;
