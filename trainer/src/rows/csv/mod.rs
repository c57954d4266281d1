//! CSV text: bytes (`source`: files, standard input, gzip), records ([`Records`]: fields, header, missing cells), and the
//! digest of all that was read.

pub(crate) mod digest;
pub(in crate::rows) mod passed;
pub(in crate::rows) mod records;
pub(crate) mod source;
pub(crate) mod splitter;

pub use records::{Position, Record, Records};
pub use source::Input;
