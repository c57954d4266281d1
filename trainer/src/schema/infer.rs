//! Schema inference.
