//! CSV text: bytes (`source`: files, standard input, gzip) and records ([`Records`]: fields,
//! header, missing cells).

mod records;
pub(crate) mod source;
pub(crate) mod splitter;

pub use records::Records;
pub use source::Input;
