//! Signs a model file: adds the section of [`feamoe_engine::signature`].

use ed25519_dalek::{Signer as _, SigningKey};
use feamoe_engine::format::FLAG_SIGNATURE;
use feamoe_engine::schema::{Kind, Schema};
use feamoe_engine::signature::{MAX_LINE, PublicKey, Signature, TrustError, is_line};
use feamoe_engine::{Blob, LoadError};
use sha2::{Digest as _, Sha256};

use super::blob::{EncodeError, assemble};
use super::device::Sections;
use super::{AlignedBytes, check};

/// Why a model cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The engine refuses the model or (which should not happen) its signed copy.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The name of the line is not valid.
    #[error("found the line name {0:?}, expected 1 to {MAX_LINE} characters of a-z, 0-9, - . _")]
    Line(String),
    /// The model has no names, and no other model with names was given.
    #[error("the model has no feature names, which a signature needs")]
    NoNames,
    /// The model that provides the names has other features.
    #[error("the model with the names differs from the model to sign at feature {0} (counted from 0)")]
    OtherFeatures(usize),
    /// The signed copy could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The signed copy does not verify.
    #[error("the signed model does not verify: {0}; nothing was written. This is a bug in feamoe, please report it")]
    Wrong(#[from] TrustError),
}

/// Returns a copy of a blob, with any type of weights, signed by `key` as version `model_version`
/// of a line of models. An existing signature is replaced. `named` provides the names of features
/// and levels: it is the model's own schema or, if the model has no names, that of the model it is
/// a copy of. The copy has been verified.
///
/// # Errors
/// See [`SignError`].
pub fn sign(
    blob: &AlignedBytes,
    named: Schema<'_>,
    key: &SigningKey,
    line: &str,
    model_version: u32,
) -> Result<AlignedBytes, SignError> {
    if !is_line(line.as_bytes()) {
        return Err(SignError::Line(line.to_owned()));
    }
    let own: Vec<_> = Blob::new(blob.as_slice())?.kinds().map(levels).collect();
    let named_ones: Vec<_> = named.features().iter().map(|feature| levels(feature.kind())).collect();
    if own != named_ones {
        let differs = own.iter().zip(&named_ones).position(|(own, other)| own != other);
        return Err(SignError::OtherFeatures(differs.unwrap_or(own.len().min(named_ones.len()))));
    }
    let schema = schema_sha256(named).ok_or(SignError::NoNames)?;
    let mut section = Signature::unsigned(line, model_version, PublicKey(key.verifying_key().to_bytes()), schema);
    let Sections { head, sections: others, values, .. } = Sections::of(blob.as_slice()).map_err(EncodeError::from)?;
    let with = |section: &Signature<'_>| {
        let own = (FLAG_SIGNATURE, [&section.to_bytes()[..], line.as_bytes()].concat());
        let mut sections: Vec<_> = others.iter().map(|(flag, bytes)| (*flag, bytes.to_vec())).collect();
        let at = sections.partition_point(|(flag, _)| *flag < FLAG_SIGNATURE);
        sections.insert(at, own);
        assemble(head.to_vec(), &sections, values)
    };
    // The signature does not cover its own bytes.
    let draft = with(&section)?;
    let message = Signature::claimed(draft.as_slice())?.message(draft.as_slice()).ok_or(TrustError::Malformed)?;
    section.signature = key.sign(&message).to_bytes();
    let signed = with(&section)?;
    check(&signed)?;
    let holds = Signature::claimed(signed.as_slice())?.holds_for(signed.as_slice());
    if holds { Ok(signed) } else { Err(TrustError::WrongSignature.into()) }
}

/// Returns the SHA-256 of the favourable outcome and of the names, kinds and levels of a model's
/// features, in the format of [`feamoe_engine::signature`]; `None` if it has no names.
#[must_use]
pub fn schema_sha256(schema: Schema<'_>) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        hash.update(text);
    };
    hash.update(u16::try_from(schema.features().len()).unwrap_or(u16::MAX).to_le_bytes());
    for (index, feature) in schema.features().iter().enumerate() {
        let levels = levels(feature.kind());
        hash.update([u8::from(levels.is_some())]);
        hash.update(levels.unwrap_or(0).to_le_bytes());
        text(&mut hash, schema.feature_name(index)?);
        schema.level_names(index).for_each(|name| text(&mut hash, name));
    }
    text(&mut hash, schema.positive_name().unwrap_or_default());
    Some(hash.finalize().into())
}

/// Returns the number of a category's levels, `None` for a number.
fn levels(kind: Kind) -> Option<u16> {
    match kind {
        Kind::Number { .. } => None,
        Kind::Category { levels } => Some(levels),
    }
}
