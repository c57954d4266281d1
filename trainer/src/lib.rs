//! The trainer.

pub mod blob_file;
pub mod export;
