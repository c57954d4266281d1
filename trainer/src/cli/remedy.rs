//! What to type against an error of the library, which knows no flags.

use feamoe::error::{CheckpointError, Error};
use feamoe::model::SignError;
#[cfg(feature = "serve")]
use feamoe::serve::ServeError;
use feamoe::training::merge::MergeError;

/// Returns what helps against the error, where a flag does.
pub fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<MergeError>()) {
        return match error {
            MergeError::AbsentGroup { .. } => Some("--polish DATA, rows of all shards"),
            MergeError::Encoding { .. } => Some("`feamoe train --encoding CHECKPOINT` for every shard"),
            MergeError::Experts { .. } => Some("--how join"),
            MergeError::TooManyExperts { .. } => Some("--experts K"),
            _ => None,
        };
    }
    if let Some(SignError::NoNames) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return Some("--names-of MODEL, the one that it was exported from");
    }
    #[cfg(feature = "serve")]
    if let Some(error) = error.downcast_ref::<ServeError>() {
        return match error {
            ServeError::Open(_) => Some("--token-file FILE"),
            ServeError::Files { .. } => Some("lower --connections, or raise the limit by ulimit -n"),
            ServeError::Listen { .. } => Some("--listen ADDRESS:PORT"),
            ServeError::Group { .. } => Some("--other-group COLUMN takes one that the schema does not have"),
            ServeError::OlderThanBefore { .. } => Some("--allow-older"),
            ServeError::Write(_) | ServeError::Lock(_) | ServeError::Memory { .. } => Some("--version-file FILE"),
            _ => None,
        };
    }
    let error = error.chain().find_map(|cause| cause.downcast_ref::<Error>())?;
    match error {
        Error::Stopped { .. } => Some("`feamoe update CHECKPOINT DATA -o MODEL` resumes"),
        Error::OtherData { .. } => Some("--rest"),
        Error::SameData { .. } => Some("--again"),
        Error::Checkpoint {
            error: CheckpointError::TooShort { .. } | CheckpointError::Model | CheckpointError::Magic { .. },
            ..
        } => Some("`feamoe train --checkpoint FILE` writes one"),
        Error::MissingColumn { .. } if error.to_string().contains("a schema") => Some("--schema gives it"),
        Error::NotANumber { .. } | Error::NegativeForLog { .. } => Some("--bad-cells missing"),
        Error::Background { .. } if error.to_string().ends_with("from a file that has it") => Some("--background FILE"),
        Error::Input(message) if message.contains("the protected column that the monitor watched") => {
            Some("--attribute COLUMN")
        }
        Error::Status { message, .. } if message.ends_with("choose another attribute") => Some("--attribute COLUMN"),
        _ => None,
    }
}
