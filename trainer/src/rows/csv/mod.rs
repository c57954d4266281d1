//! CSV: its text (`text`: plain or gzip) and its records ([`Records`]: fields, header, missing
//! cells).

mod records;
pub(crate) mod splitter;
pub(crate) mod text;

pub use records::Records;
