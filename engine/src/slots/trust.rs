//! Which models a device trusts.

#[cfg(feature = "signed")]
use crate::signature::Signers;
use crate::signature::TrustError;

/// Decides which models a device trusts: [`Anyone`] trusts all, [`crate::signature::Signers`]
/// (feature `signed`) those with a trusted signature. Firmware with hardware for signatures can
/// implement it.
pub trait Trust {
    /// Checks whether a valid blob is trusted and its version is not below `least`, and returns its
    /// version within its line.
    ///
    /// # Errors
    /// See [`TrustError`].
    fn verify(&self, blob: &[u8], least: u32) -> Result<u32, TrustError>;
}

/// Trusts any model that loads, of any version, for a device whose flash nobody else can write.
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
