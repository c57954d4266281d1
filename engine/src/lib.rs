//! The engine.
#![no_std]
#![forbid(unsafe_code)]

pub mod fairness;
pub mod limits;
pub mod math;
pub mod mixture;
pub mod schema;
