//! Writes a blob with the engine's own types and checksum, in the order that
//! `feamoe_engine::format` draws.

use feamoe_engine::format::{
    Description, FLAG_BACKGROUND, FLAG_CALIBRATION, FLAG_DEVIATIONS, FLAG_NAMES, HEADER_BYTES, Provenance, header,
};
use feamoe_engine::limits::{MAX_BACKGROUND_ROWS, MAX_BLOB_BYTES, MAX_EXPERTS, MAX_FEATURES};
use feamoe_engine::schema::Kind;

use crate::model::AlignedBytes;

/// The whole content of a blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Decision threshold, inside (0, 1).
    pub threshold: f32,
    /// The origin of the model.
    pub provenance: Provenance,
    /// Number of experts, K.
    pub experts: usize,
    /// The features, in the order of their rows.
    pub features: Vec<FeatureContent>,
    /// Name of the favourable outcome.
    pub positive_name: String,
    /// One weight row, padded to the stride of K.
    pub bias: Vec<f32>,
    /// The rows of every feature, in the order of [`feamoe_engine::schema`].
    pub rows: Vec<f32>,
    /// The bin edges of every feature, ascending within each.
    pub edges: Vec<f32>,
    /// The standard deviation of every feature, 0 for a category; empty for a blob without them.
    pub deviations: Vec<f32>,
    /// Slope, bias and rows of the calibration; empty for a blob without one.
    pub calibration: Vec<f32>,
    /// The background records, one after the other, in the format of
    /// [`feamoe_engine::format::background`]; empty for a blob without them.
    pub background: Vec<u8>,
}

/// A feature of a blob.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureContent {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The names of its levels, as many as `kind` says; empty for a number.
    pub levels: Vec<String>,
}

/// Why a model does not fit the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More features than the format allows.
    #[error("the model has {found} features, but the format allows {MAX_FEATURES}; list fewer under features.only")]
    TooManyFeatures {
        /// Number of features.
        found: usize,
    },
    /// More experts than the format allows.
    #[error("the model has {found} experts, but the format allows {MAX_EXPERTS}; train with fewer")]
    TooManyExperts {
        /// Number of experts.
        found: usize,
    },
    /// More background records than the format allows.
    #[error("the model has {found} background records, but the format allows {MAX_BACKGROUND_ROWS}; keep fewer")]
    TooManyBackgroundRows {
        /// Number of records.
        found: usize,
    },
    /// More bytes than the format allows.
    #[error(
        "the model has {found} bytes, but the format allows {MAX_BLOB_BYTES}; use fewer bins, background records or levels (features.max_levels)"
    )]
    TooLarge {
        /// Size of the payload in bytes.
        found: usize,
    },
    /// postcard refused a value.
    #[error("the model could not be encoded: {0}")]
    Postcard(#[from] postcard::Error),
}

impl Content {
    /// Encodes the blob, with or without the names section.
    ///
    /// # Errors
    /// If the model exceeds the format's limits. This does not check that the content is
    /// consistent: the engine's reader does, so read the blob back.
    pub fn to_bytes(&self, with_names: bool) -> Result<AlignedBytes, EncodeError> {
        let experts = u8::try_from(self.experts).ok().filter(|_| self.experts <= MAX_EXPERTS);
        let experts = experts.ok_or(EncodeError::TooManyExperts { found: self.experts })?;
        let features = u16::try_from(self.features.len()).ok().filter(|_| self.features.len() <= MAX_FEATURES);
        let features = features.ok_or(EncodeError::TooManyFeatures { found: self.features.len() })?;
        let description = Description { experts, threshold: self.threshold, provenance: self.provenance, features };

        let mut head = postcard::to_allocvec(&description)?;
        for feature in &self.features {
            head.extend(postcard::to_allocvec(&feature.kind)?);
        }
        let mut sections = Vec::new();
        if with_names {
            sections.push((FLAG_NAMES, self.names()?));
        }
        // Each feature takes bytes in a record. Without features the division below gives nothing.
        let record_bytes: usize = self.features.iter().map(|feature| feature.kind.value_bytes()).sum();
        if let Some(found) = self.background.len().checked_div(record_bytes).filter(|rows| *rows > 0) {
            let rows = u16::try_from(found).map_err(|_| EncodeError::TooManyBackgroundRows { found })?;
            sections.push((FLAG_BACKGROUND, [postcard::to_allocvec(&rows)?, self.background.clone()].concat()));
        }
        if !self.deviations.is_empty() {
            let deviations = self.deviations.iter().flat_map(|deviation| deviation.to_le_bytes()).collect();
            sections.push((FLAG_DEVIATIONS, deviations));
        }
        if !self.calibration.is_empty() {
            let calibration = self.calibration.iter().flat_map(|number| number.to_le_bytes()).collect();
            sections.push((FLAG_CALIBRATION, calibration));
        }
        let values: Vec<u8> =
            self.bias.iter().chain(&self.rows).chain(&self.edges).flat_map(|value| value.to_le_bytes()).collect();
        assemble(head, &sections, &values)
    }

    fn names(&self) -> Result<Vec<u8>, EncodeError> {
        let mut names = postcard::to_allocvec(self.positive_name.as_str())?;
        for feature in &self.features {
            names.extend(postcard::to_allocvec(feature.name.as_str())?);
            for level in &feature.levels {
                names.extend(postcard::to_allocvec(level.as_str())?);
            }
        }
        Ok(names)
    }
}

/// Assembles a blob: description and kinds, the sections in the order of their flags, padding,
/// values.
pub(super) fn assemble(head: Vec<u8>, sections: &[(u16, Vec<u8>)], values: &[u8]) -> Result<AlignedBytes, EncodeError> {
    let mut payload = head;
    for (_, section) in sections {
        payload.extend(postcard::to_allocvec(section)?);
    }
    let length = postcard::to_allocvec(&values.len())?;
    // The padding's own length byte is included.
    let unpadded = HEADER_BYTES + payload.len() + 1 + length.len();
    let padding = vec![0_u8; unpadded.next_multiple_of(4) - unpadded];
    payload.extend(postcard::to_allocvec(&padding)?);
    payload.extend(length);
    payload.extend(values);
    let flags = sections.iter().fold(0, |flags, (flag, _)| flags | flag);
    let mut bytes = header(flags, &payload).ok_or(EncodeError::TooLarge { found: payload.len() })?.to_vec();
    bytes.extend(payload);
    Ok(AlignedBytes::new(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model whose features are all alike.
    fn content(features: usize, experts: usize, rows: usize) -> Content {
        let kind = Kind::Category { levels: 0 };
        Content {
            threshold: 0.5,
            provenance: Provenance::default(),
            experts,
            features: vec![FeatureContent { name: "x".to_owned(), kind, levels: Vec::new() }; features],
            positive_name: String::new(),
            bias: Vec::new(),
            rows: Vec::new(),
            edges: Vec::new(),
            deviations: Vec::new(),
            calibration: Vec::new(),
            background: vec![0; rows * features * kind.value_bytes()],
        }
    }

    #[test]
    fn what_the_format_has_no_room_for_is_refused_with_what_there_is() {
        let refusal = |content: Content| content.to_bytes(false).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(refusal(content(MAX_FEATURES, MAX_EXPERTS, 1)), Ok(()));
        assert_eq!(refusal(content(1, 1, MAX_BACKGROUND_ROWS)), Ok(()));
        for (content, found) in [
            (content(MAX_FEATURES + 1, 1, 0), EncodeError::TooManyFeatures { found: MAX_FEATURES + 1 }),
            (content(1, MAX_EXPERTS + 1, 0), EncodeError::TooManyExperts { found: MAX_EXPERTS + 1 }),
            (
                content(1, 1, MAX_BACKGROUND_ROWS + 1),
                EncodeError::TooManyBackgroundRows { found: MAX_BACKGROUND_ROWS + 1 },
            ),
        ] {
            assert_eq!(refusal(content), Err(found.to_string()));
        }
    }
}
