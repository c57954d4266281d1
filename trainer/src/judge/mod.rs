//! A model on rows: what it says of them, how accurate and how fair it is, what would change its decisions, what devices
//! report of it.

pub mod binding;
pub mod evaluation;
pub mod individual;
pub mod loss;
pub mod monitor;
pub mod recourse;
