//! Whose models a service takes.

use feamoe_engine::signature::{PublicKey, Signature, Signers, TrustError, Versions};

/// The keys, the line and the versions of the models that a service takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The keys that are trusted: more than one while a key is replaced by its successor.
    pub keys: Vec<PublicKey>,
    /// The line of models.
    pub line: String,
    /// The lowest version to begin with. From then on none is taken that is below the version of
    /// the model in use; `None` takes any.
    pub least: Option<u32>,
}

impl Trust {
    /// Returns the version that a key has signed; `in_use`: that of the model to be replaced.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub(super) fn verify(&self, blob: &[u8], in_use: Option<u32>) -> Result<u32, TrustError> {
        let from = |own: u32| Versions::From(own.max(in_use.unwrap_or_default()));
        let versions = self.least.map_or(Versions::Any, from);
        let signers = Signers { keys: &self.keys, line: &self.line, schema_sha256: None, versions };
        signers.verify(blob).map(|Signature { model_version, .. }| model_version)
    }
}
