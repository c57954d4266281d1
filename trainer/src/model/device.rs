//! Copies a model for a device. The copy scores the same with fewer bytes: the card and the
//! background stay on the host, and so do the names if codes are enough.

use feamoe_engine::LoadError;
use feamoe_engine::format::{
    Blob, Description, FLAG_BACKGROUND, FLAG_CARD, FLAG_NAMES, FLAG_SIGNATURE, FLAGS_AT, HEADER_BYTES,
};
use feamoe_engine::schema::Kind;

use super::blob::{EncodeError, assemble};
use super::card::{Card, CardError};
use crate::model::{AlignedBytes, check};

/// Why a copy cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The engine refuses the model or (which should not happen) its copy.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The model has fewer background records than requested.
    #[error("the model has {found} background records, but {asked} were asked for; ask for fewer, or train with more")]
    TooFewBackgroundRows {
        /// Number of records that the model has.
        found: usize,
        /// Number of records requested.
        asked: u16,
    },
    /// Its card cannot be read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The copy could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Returns a copy of a blob without its card, with the first `background` of its background
/// records, and with or without its names. Weights, ranges and sections that this version does not
/// know are copied byte by byte. The copy has been read back through the engine.
///
/// # Errors
/// See [`DeviceError`].
pub fn device_copy(blob: &AlignedBytes, with_names: bool, background: u16) -> Result<AlignedBytes, DeviceError> {
    check(blob)?;
    let found = Blob::new(blob.as_slice())?.background_rows();
    if found < usize::from(background) {
        return Err(DeviceError::TooFewBackgroundRows { found, asked: background });
    }
    let copy = rewritten(blob.as_slice(), with_names, background)?;
    check(&copy)?;
    Ok(copy)
}

/// Returns a copy of a blob with another decision threshold, inside (0, 1). Its card loses the
/// measurements made with the old threshold; everything else is copied byte by byte. The copy has
/// been read back through the engine.
///
/// # Errors
/// See [`DeviceError`].
pub fn with_threshold(blob: &AlignedBytes, threshold: f32) -> Result<AlignedBytes, DeviceError> {
    check(blob)?;
    let parts = Sections::of(blob.as_slice()).map_err(EncodeError::from)?;
    let head = parts.head_with(&Description { threshold, ..parts.description }).map_err(EncodeError::from)?;
    let sections: Vec<_> = parts.sections.iter().map(|(flag, section)| (*flag, section.to_vec())).collect();
    let copy = assemble(head, &sections, parts.values)?;
    check(&copy)?;
    match Card::of(&copy)? {
        Some(card) => Ok(Card { measured: None, ..card }.put_into(&copy)?),
        None => Ok(copy),
    }
}

/// Rewrites a blob, which the engine has checked, section by section.
fn rewritten(blob: &[u8], with_names: bool, background: u16) -> Result<AlignedBytes, EncodeError> {
    let Sections { head, sections: found, values, .. } = Sections::of(blob)?;
    let mut sections = Vec::new();
    for (flag, section) in found {
        match flag {
            FLAG_CARD => {}
            FLAG_NAMES if !with_names => {}
            FLAG_BACKGROUND if background == 0 => {}
            FLAG_BACKGROUND => {
                let (rows, records) = postcard::take_from_bytes::<u16>(section)?;
                let kept = &records[..records.len() / usize::from(rows) * usize::from(background)];
                sections.push((flag, [&postcard::to_allocvec(&background)?, kept].concat()));
            }
            _ => sections.push((flag, section.to_vec())),
        }
    }
    assemble(head.to_vec(), &sections, values)
}

/// The parts of a blob that the engine has checked. Its signature is left out: it is valid only for
/// exactly these bytes, so no copy may carry it.
pub(super) struct Sections<'a> {
    pub description: Description,
    pub kinds: Vec<Kind>,
    /// The bytes of description and kinds.
    pub head: &'a [u8],
    /// The sections with their flags, lowest first.
    pub sections: Vec<(u16, &'a [u8])>,
    pub values: &'a [u8],
}

impl<'a> Sections<'a> {
    pub fn of(blob: &'a [u8]) -> postcard::Result<Self> {
        let (header, payload) = blob.split_at_checked(HEADER_BYTES).unwrap_or_default();
        let flags =
            header.get(FLAGS_AT..).and_then(|rest| rest.first_chunk()).map_or(0, |flags| u16::from_le_bytes(*flags));
        let (description, mut rest) = postcard::take_from_bytes::<Description>(payload)?;
        let mut kinds = Vec::new();
        for _ in 0..description.features {
            let (kind, left) = postcard::take_from_bytes(rest)?;
            kinds.push(kind);
            rest = left;
        }
        let head = &payload[..payload.len() - rest.len()];
        let mut take = || -> postcard::Result<&[u8]> {
            let (bytes, left) = postcard::take_from_bytes(rest)?;
            rest = left;
            Ok(bytes)
        };
        let flags = (0..16).map(|bit| 1 << bit).filter(|flag| flags & flag != 0);
        let sections = flags.map(|flag| Ok((flag, take()?))).collect::<postcard::Result<Vec<_>>>()?;
        let sections = sections.into_iter().filter(|(flag, _)| *flag != FLAG_SIGNATURE).collect();
        let _padding = take()?;
        Ok(Self { description, kinds, head, sections, values: take()? })
    }

    /// Returns the bytes of another description with the same kinds.
    pub fn head_with(&self, description: &Description) -> postcard::Result<Vec<u8>> {
        let kinds = self.head.get(postcard::to_allocvec(&self.description)?.len()..).unwrap_or_default();
        Ok([postcard::to_allocvec(description)?.as_slice(), kinds].concat())
    }
}
