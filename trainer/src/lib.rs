//! Fair online learning of a mixture of logistic experts from CSV streams: train, evaluate, explain, export.

pub mod blob_file;
pub mod demo;
pub mod encoder;
pub mod error;
pub mod evaluation;
pub mod export;
pub mod learner;
pub mod memory;
pub mod options;
pub mod output;
pub mod prequential;
pub mod progress;
pub mod schema;
pub mod scoring;
pub mod stream;
pub mod study;
pub mod training;
