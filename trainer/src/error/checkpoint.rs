//! Why bytes are no checkpoint.

/// Why bytes are no checkpoint that can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Too short for a header.
    #[error(
        "found {found} bytes, expected a checkpoint of at least {expected}; name the checkpoint of a run, or copy it again"
    )]
    TooShort {
        /// Bytes found.
        found: usize,
        /// Bytes of a header.
        expected: usize,
    },
    /// A model.
    #[error("found a model, expected a checkpoint: a model alone cannot be resumed; name the checkpoint of the run")]
    Model,
    /// Other first bytes.
    #[error(
        "found the first bytes {found:02x?}, expected {expected:02x?}: not a checkpoint; name the checkpoint of a run"
    )]
    Magic {
        /// Bytes found.
        found: [u8; 4],
        /// Those of a checkpoint.
        expected: [u8; 4],
    },
    /// Another version of the format.
    #[error(
        "found checkpoint version {found}, expected {expected}; resume with the feamoe that wrote it, or train again"
    )]
    Version {
        /// Version found.
        found: u16,
        /// The one version that this build reads.
        expected: u16,
    },
    /// More bytes than any checkpoint has.
    #[error(
        "found a header that says {found} bytes of content, expected at most {limit}; copy the file again, or use an earlier checkpoint"
    )]
    TooLong {
        /// Bytes the header says.
        found: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More or fewer bytes than the header says.
    #[error("found {found} bytes of content, expected {expected}; copy the file again, or use an earlier checkpoint")]
    Length {
        /// Bytes there are; of a longer file, one more than expected.
        found: u64,
        /// Bytes the header says.
        expected: u64,
    },
    /// Bytes that are not those written.
    #[error(
        "the content is damaged: its SHA-256 is not the one in the header; copy the file again, or use an earlier checkpoint"
    )]
    Damaged,
    /// Content that is no checkpoint, though its hash is right.
    #[error(
        "the content cannot be decoded as a checkpoint of version {version}; resume with the feamoe that wrote it, or train again"
    )]
    Undecodable {
        /// The version it says it is of.
        version: u16,
    },
    /// A number that no run produces.
    #[error(
        "found a number under `{field}` that no run produces: a float that is not finite, or a count of 2^48 or more; the state was not \
         written by feamoe, train again"
    )]
    Number {
        /// The field that holds it.
        field: &'static str,
    },
    /// Parts that do not fit each other.
    #[error("the {part} does not fit the rest; the file was not written by feamoe, train again")]
    Contradictory {
        /// The part.
        part: &'static str,
    },
}
