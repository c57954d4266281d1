//! Errors of invalid checkpoints.

/// Why bytes are not a checkpoint that can be resumed.
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
        /// Size of a header in bytes.
        expected: usize,
    },
    /// A model.
    #[error("found a model, expected a checkpoint, since a model cannot be resumed; name the checkpoint of the run")]
    Model,
    /// Other first bytes.
    #[error(
        "found the first bytes {found:02x?}, expected {expected:02x?}: not a checkpoint; name the checkpoint of a run"
    )]
    Magic {
        /// Bytes found.
        found: [u8; 4],
        /// The first bytes of a checkpoint.
        expected: [u8; 4],
    },
    /// Another version of the format.
    #[error(
        "found checkpoint version {found}, expected {expected}; resume with the feamoe that wrote it, or train again"
    )]
    Version {
        /// Version found.
        found: u16,
        /// The only version that this build reads.
        expected: u16,
    },
    /// The header states more bytes than any checkpoint has.
    #[error(
        "found a header that states {found} bytes of content, expected at most {limit}; copy the file again, or use an earlier checkpoint"
    )]
    TooLong {
        /// Bytes according to the header.
        found: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More or fewer bytes than the header states.
    #[error("found {found} bytes of content, expected {expected}; copy the file again, or use an earlier checkpoint")]
    Length {
        /// Bytes found; for a file that is too long, one more than expected.
        found: u64,
        /// Bytes according to the header.
        expected: u64,
    },
    /// The content does not match its hash.
    #[error(
        "the content is damaged: its SHA-256 is not the one in the header; copy the file again, or use an earlier checkpoint"
    )]
    Damaged,
    /// The content cannot be decoded although its hash is correct.
    #[error(
        "the content cannot be decoded as a checkpoint of version {version}; resume with the feamoe that wrote it, or train again"
    )]
    Undecodable {
        /// The version according to the header.
        version: u16,
    },
    /// A number that no run can produce.
    #[error(
        "found a number under `{field}` that no run produces: a float that is not finite, or a count of 2^48 or more; the state was not \
         written by feamoe, train again"
    )]
    Number {
        /// The field that holds it.
        field: &'static str,
    },
    /// Parts that contradict each other.
    #[error("the {part} contradicts the rest, so the file was not written by feamoe; train again")]
    Contradictory {
        /// The part.
        part: &'static str,
    },
}
