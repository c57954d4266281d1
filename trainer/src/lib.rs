//! The trainer.

pub mod blob_file;
pub mod encoder;
pub mod error;
pub mod export;
pub mod schema;
pub mod stream;
