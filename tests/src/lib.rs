//! Shared helpers of the tests.

#![allow(clippy::panic)] // a test reports by panicking

pub mod firmware;
pub mod random_model;
