//! Whose models a device takes.

#[cfg(feature = "signed")]
use crate::signature::Signers;
use crate::signature::TrustError;

/// Whose models a device takes: [`Anyone`]'s, or those of [`crate::signature::Signers`] (feature
/// `signed`). A firmware that has a core for signatures implements it by that.
pub trait Trust {
    /// Finds out whether a blob that loads is trusted, and is not a version below `least`; returns
    /// which version of its line it is.
    ///
    /// # Errors
    /// See [`TrustError`].
    fn verify(&self, blob: &[u8], least: u32) -> Result<u32, TrustError>;
}

/// Takes any model that loads, of any version: for a device whose flash nobody else writes to.
#[derive(Clone, Copy, Debug)]
pub struct Anyone;

impl Trust for Anyone {
    fn verify(&self, _: &[u8], _: u32) -> Result<u32, TrustError> {
        Ok(0)
    }
}

#[cfg(feature = "signed")]
impl Trust for Signers<'_> {
    fn verify(&self, blob: &[u8], least: u32) -> Result<u32, TrustError> {
        let signers = Signers { versions: self.versions.not_before(least), ..*self };
        Ok(Signers::verify(&signers, blob)?.model_version)
    }
}
