//! Remedies for errors of the library, whose messages do not name flags.

use feamoe::error::{CheckpointError, Error};
use feamoe::model::SignError;
#[cfg(feature = "serve")]
use feamoe::serve::ServeError;
use feamoe::training::merge::MergeError;

/// Returns the remedy for the error, if there is a flag or a command that helps.
pub fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<MergeError>()) {
        return match error {
            MergeError::AbsentGroup { .. } => Some("use --polish DATA with rows of all shards"),
            MergeError::Encoding { .. } => Some("train every shard with `feamoe train --encoding CHECKPOINT`"),
            MergeError::Experts { .. } => Some("use --how join"),
            MergeError::TooManyExperts { .. } => Some("--experts K"),
            _ => None,
        };
    }
    if let Some(SignError::NoNames) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return Some("name the model it was exported from with --names-of");
    }
    #[cfg(feature = "serve")]
    if let Some(error) = error.downcast_ref::<ServeError>() {
        return match error {
            ServeError::Open(_) => Some("--token-file FILE"),
            ServeError::Files { .. } => Some("lower --connections, or raise the limit with ulimit -n"),
            ServeError::Listen { .. } => Some("--listen ADDRESS:PORT"),
            ServeError::Group { .. } => Some("use --other-group for a column that the schema does not have"),
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
        Error::MissingColumn { .. } if error.to_string().contains("a schema") => Some("name a schema with --schema"),
        Error::NotANumber { .. } | Error::NegativeForLog { .. } => Some("use --bad-cells missing"),
        Error::Background { .. } if error.to_string().ends_with("from a file that has it") => {
            Some("use --background FILE")
        }
        Error::Input(message) if message.contains("the protected column of the monitor") => {
            Some("use --attribute COLUMN")
        }
        Error::Status { message, .. } if message.ends_with("choose another attribute") => {
            Some("use --attribute COLUMN")
        }
        _ => None,
    }
}
