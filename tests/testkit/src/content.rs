//! The complete content of a blob, written to bytes and read back. The writer is independent of the
//! trainer's, so that each checks the other; the reader uses none of the engine's code.

use std::collections::BTreeMap;

use feamoe_engine::format::{
    Description, FLAG_BACKGROUND, FLAG_CALIBRATION, FLAG_DEVIATIONS, FLAG_NAMES, HEADER_BYTES, Provenance, header,
};
use feamoe_engine::mixture::stride;
use feamoe_engine::schema::Kind;
use serde::{Deserialize, Serialize};

/// The complete content of a blob with float weights. It need not be consistent: the engine has to
/// detect that.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Decision threshold, inside (0, 1).
    pub threshold: f32,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// Number of experts, K.
    pub experts: usize,
    /// The features, in the order of their rows.
    pub features: Vec<FeatureContent>,
    /// Name of the favourable outcome.
    pub positive_name: String,
    /// The bias row; its length is the stride of K.
    pub bias: Vec<f32>,
    /// The weight rows of every feature, in the order of [`feamoe_engine::schema`].
    pub rows: Vec<f32>,
    /// The bin edges of every feature, ascending within each.
    pub edges: Vec<f32>,
    /// The standard deviation of every feature, 0 for a category; empty for a blob without them.
    pub deviations: Vec<f32>,
    /// Slope, bias and rows of the calibration; empty for a blob without one.
    pub calibration: Vec<f32>,
    /// The background records as [`feamoe_engine::format::background`] draws them; empty for a blob
    /// without them.
    pub background: Vec<u8>,
}

/// A feature of a blob.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureContent {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The names of its levels, as many as the kind declares; empty for a number.
    pub levels: Vec<String>,
}

impl Content {
    /// Writes the blob, with or without the names section.
    ///
    /// # Panics
    /// If the content exceeds the limits of the format; no generated model does.
    #[must_use]
    pub fn to_bytes(&self, with_names: bool) -> Bytes {
        let mut sections: Vec<(u16, Vec<u8>)> = Vec::new();
        if with_names {
            let names = self.features.iter().flat_map(|feature| [&feature.name].into_iter().chain(&feature.levels));
            sections.push((FLAG_NAMES, [&self.positive_name].into_iter().chain(names).flat_map(encoded).collect()));
        }
        let record: usize = self.features.iter().map(|feature| feature.kind.value_bytes()).sum();
        if !self.background.is_empty() {
            let rows = self.background.len().checked_div(record).and_then(|rows| u16::try_from(rows).ok());
            let rows = rows.unwrap_or_else(|| panic!("{} bytes of background records", self.background.len()));
            sections.push((FLAG_BACKGROUND, [encoded(&rows), self.background.clone()].concat()));
        }
        if !self.deviations.is_empty() {
            sections.push((FLAG_DEVIATIONS, bytes_of(&self.deviations)));
        }
        if !self.calibration.is_empty() {
            sections.push((FLAG_CALIBRATION, bytes_of(&self.calibration)));
        }
        let values = [&self.bias[..], &self.rows, &self.edges].map(bytes_of).concat();

        let mut payload = encoded(&Description {
            experts: self.experts.try_into().unwrap_or_else(|_| panic!("{} experts", self.experts)),
            threshold: self.threshold,
            provenance: self.provenance,
            features: self.features.len().try_into().unwrap_or_else(|_| panic!("{} features", self.features.len())),
        });
        payload.extend(self.features.iter().flat_map(|feature| encoded(&feature.kind)));
        payload.extend(sections.iter().flat_map(|(_, section)| encoded(section)));
        // The values start at a multiple of 4; the length of the padding takes a byte.
        let length = encoded(&values.len());
        let padding = (HEADER_BYTES + payload.len() + 1 + length.len()).wrapping_neg() % 4;
        payload.extend([encoded(&vec![0_u8; padding]), length, values].concat());

        let flags = sections.iter().map(|(flag, _)| flag).sum();
        let header = header(flags, &payload).unwrap_or_else(|| panic!("{} bytes", payload.len()));
        Bytes::new(&[&header[..], &payload].concat())
    }

    /// Sets the linear rows of binned numbers to zero for the features whose indices `is_stepped`
    /// accepts.
    pub fn step(&mut self, is_stepped: impl Fn(usize) -> bool) {
        let (stride, mut first_row) = (stride(self.experts), 0);
        for (index, feature) in self.features.iter().enumerate() {
            if matches!(feature.kind, Kind::Number { bins: 1.., .. }) && is_stepped(index) {
                self.rows[first_row * stride..][..stride].fill(0.0);
            }
            first_row += feature.kind.rows() as usize;
        }
    }

    /// Reads the content of a blob with float weights that the engine accepts.
    ///
    /// # Panics
    /// If the bytes are not such a blob.
    #[must_use]
    pub fn read(blob: &[u8]) -> Self {
        let flags = u16::from_le_bytes([blob[6], blob[7]]);
        let mut rest = &blob[HEADER_BYTES..];
        let description: Description = take(&mut rest);
        let kinds: Vec<Kind> = (0..description.features).map(|_| take(&mut rest)).collect();
        let mut sections: BTreeMap<u16, &[u8]> = BTreeMap::new();
        for flag in (0..16).map(|bit| 1 << bit).filter(|flag| flags & flag != 0) {
            sections.insert(flag, take(&mut rest));
        }
        let _padding: &[u8] = take(&mut rest);
        let mut weights = floats(take(&mut rest));

        let mut names = sections.get(&FLAG_NAMES).copied().unwrap_or_default();
        let mut name = || if names.is_empty() { String::new() } else { take(&mut names) };
        let positive_name = name();
        let feature = |kind| {
            let levels = match kind {
                Kind::Category { levels } => levels,
                Kind::Number { .. } => 0,
            };
            FeatureContent { name: name(), kind, levels: (0..levels).map(|_| name()).collect() }
        };
        let features: Vec<FeatureContent> = kinds.iter().copied().map(feature).collect();
        let experts = usize::from(description.experts);
        let rows: usize = kinds.iter().map(|kind| kind.rows() as usize).sum();
        let mut rest_of_weights = weights.split_off(stride(experts));
        let edges = rest_of_weights.split_off(rows * stride(experts));
        Self {
            threshold: description.threshold,
            provenance: description.provenance,
            experts,
            features,
            positive_name,
            bias: weights,
            rows: rest_of_weights,
            edges,
            deviations: sections.get(&FLAG_DEVIATIONS).map_or_else(Vec::new, |bytes| floats(bytes)),
            calibration: sections.get(&FLAG_CALIBRATION).map_or_else(Vec::new, |bytes| floats(bytes)),
            background: sections.get(&FLAG_BACKGROUND).copied().map_or_else(Vec::new, |mut section| {
                let _rows: u16 = take(&mut section);
                section.to_vec()
            }),
        }
    }
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_else(|error| panic!("{error}"))
}

fn take<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> T {
    let (value, left) = postcard::take_from_bytes(rest).unwrap_or_else(|error| panic!("{error}"));
    *rest = left;
    value
}

fn bytes_of(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Bytes at an address that is a multiple of 4, where a model can be loaded in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    words: Vec<u32>,
    length: usize,
}

impl Bytes {
    /// Copies bytes to an aligned place.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0_u32; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, length: bytes.len() }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}
