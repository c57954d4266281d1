//! Export of a learned model as a blob.

mod blob;

pub use blob::{Content, EncodeError, FeatureContent};
