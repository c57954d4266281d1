//! What a model expects of a record: its features, their kinds, ranges, bins and levels, and where
//! their weight rows lie.
//!
//! Weight rows of a feature, in this order:
//!
//! | kind | weight rows | terms of a record |
//! | --- | --- | --- |
//! | number without bins | linear, missing | 1: the linear row times `t(x) - centre`, or the missing row |
//! | number with `B` bins | linear, missing, bin 0 .. bin B-1 | 2: the linear row, and a bin's or the missing row |
//! | category of `L` levels | level 0 .. level L-1, unseen, missing | 1 |
//!
//! The number of terms never depends on the record, and every row is centred on its mean over the
//! training rows. So a feature's terms are at once its summand of the logits and its Shapley value
//! in each lane (FEAMOE, section 4).

use crate::error::{LoadError, LoadErrorKind, RecordError};
use crate::format::{Blob, HEADER_BYTES, Names};
pub use crate::format::{Kind, Transform};
use crate::invariant::certain;

/// Width of an even distribution in standard deviations.
const SQRT_12: f32 = 3.464_101_6;

/// Returns the bin of `x`: the number of `edges` that are `<= x`. `edges` ascend; takes
/// `log2(edges.len()) + 1` steps, whatever `x`.
#[inline]
#[must_use]
pub fn bin(x: f32, edges: &[f32]) -> usize {
    bin_by(edges, |edge| *edge <= x)
}

/// Returns the number of `edges` that `reached` says are not above the number; those come first.
#[inline(always)]
pub(crate) fn bin_by<T>(edges: &[T], reached: impl Fn(&T) -> bool) -> usize {
    let (mut left, mut rest) = (0_usize, edges);
    // A branch-free lower bound: halves the range until one candidate is left, a number of steps
    // that depends on the length only.
    while rest.len() > 1 {
        let half = rest.len() / 2;
        let Some((_, upper)) = rest.split_at_checked(half) else { break };
        let below = upper.first().is_some_and(&reached);
        // Of an odd number the lower part keeps the middle too, so that both are as long.
        let lower = rest.get(..upper.len()).unwrap_or_default();
        (left, rest) = if below { (left.wrapping_add(half), upper) } else { (left, lower) };
    }
    left.wrapping_add(usize::from(rest.first().is_some_and(&reached)))
}

/// Clamps a number to `low..=high`; NaN becomes `low`.
#[inline]
#[must_use]
pub fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// Something to know about one value of a record. One bit each, so that those of a record are found
/// by or-ing.
///
/// Do not drop it unseen: a level that the model does not know, such as "1" where the data had
/// "1.0", is no error but [`Note::Unseen`]. Where it should be one, set the value by
/// [`crate::Record::set_known_category`].
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a value may be clamped or an unknown level: look at the note, or use set_known_category"]
#[repr(u8)]
pub enum Note {
    /// A value like those of the training rows.
    #[default]
    Usual = 0,
    /// No value: the *missing* row is used.
    Missing = 1,
    /// A number outside the training range (or infinite): clamped to it.
    Clamped = 2,
    /// A level that training had not seen, or that was too rare for a row of its own: the *unseen*
    /// row is used.
    Unseen = 4,
}

impl Note {
    /// Returns whether this note is among those or-ed to `bits`.
    pub(crate) const fn is_in(self, bits: u8) -> bool {
        bits & self as u8 != 0
    }
}

/// A feature of a loaded model: its kind and where its parts lie. Every index was checked by
/// `load`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feature {
    pub(crate) kind: Kind,
    pub(crate) first_row: u32,
    pub(crate) first_edge: u32,
    pub(crate) first_term: u16,
    /// Byte offset of its name in the names section; 0 where the blob has none.
    pub(crate) name_at: u32,
}

impl Feature {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its bin edges out of those of all features.
    #[inline]
    pub(crate) fn edges_of<'e, T>(&self, edges: &'e [T]) -> &'e [T] {
        let start = self.first_edge as usize;
        certain!(edges.get(start..start.wrapping_add(self.kind.edges() as usize)), &[])
    }

    /// Returns the range of its terms in a record's list of terms.
    pub(crate) fn term_range(&self) -> core::ops::Range<usize> {
        let start = usize::from(self.first_term);
        start..start.wrapping_add(self.kind.terms())
    }
}

/// Where everything about the features of a loaded model lies: the part of a schema that has a
/// capacity.
#[derive(Debug)]
pub(crate) struct Layout<'a, const FEATURES: usize> {
    pub features: heapless::Vec<Feature, FEATURES>,
    /// The bin edges of all features, where they are floats.
    pub edges: &'a [f32],
    deviations: &'a [[u8; 4]],
    names: Option<Names<'a>>,
    /// The number of terms of a record.
    pub terms: usize,
}

impl<'a, const FEATURES: usize> Layout<'a, FEATURES> {
    /// Lays out the features of a blob, whose bin edges are `edges` where they are floats.
    pub fn new(blob: &Blob<'a>, edges: &'a [f32]) -> Result<Self, LoadError> {
        let mut features = heapless::Vec::new();
        let (mut first_row, mut first_edge, mut first_term) = (0_u32, 0_u32, 0_u16);
        for kind in blob.kinds() {
            let feature = Feature { kind, first_row, first_edge, first_term, name_at: 0 };
            // At most 4096 features of at most 65,535 rows and 2 terms: none of these can wrap.
            first_row = first_row.wrapping_add(kind.rows());
            first_edge = first_edge.wrapping_add(kind.edges());
            first_term = first_term.wrapping_add(if kind.terms() == 2 { 2 } else { 1 });
            if features.push(feature).is_err() {
                let found = usize::from(blob.description().features);
                let kind = LoadErrorKind::TooManyFeatures { found, capacity: FEATURES };
                return Err(LoadError { kind, at: HEADER_BYTES });
            }
        }
        if let Some(names) = blob.names {
            for (feature, at) in features.iter_mut().zip(names.feature_offsets(blob.kinds())) {
                feature.name_at = at;
            }
        }
        let terms = usize::from(first_term);
        Ok(Self { features, edges, deviations: blob.deviations, names: blob.names, terms })
    }

    /// Returns the features, in the order of their indices.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Returns what callers see of it.
    #[inline]
    pub fn view(&self) -> Schema<'_> {
        Schema { features: &self.features, names: self.names, deviations: self.deviations }
    }
}

/// The features of a loaded model: what they are, and what they are called.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'m> {
    features: &'m [Feature],
    names: Option<Names<'m>>,
    /// An f32 for each feature; empty where the blob has none.
    deviations: &'m [[u8; 4]],
}

impl<'m> Schema<'m> {
    /// Returns the features, in the order of their indices.
    #[must_use]
    pub fn features(&self) -> &'m [Feature] {
        self.features
    }

    /// Returns the index of a feature by its name; takes time in the number of features.
    ///
    /// # Errors
    /// [`RecordError::UnknownFeature`], [`RecordError::NamesStripped`].
    pub fn feature_index(&self, name: &str) -> Result<FeatureIndex, RecordError> {
        if self.names.is_none() {
            return Err(RecordError::NamesStripped);
        }
        let found = (0..self.features.len()).find(|index| self.feature_name(*index) == Some(name));
        found.map(FeatureIndex).ok_or(RecordError::UnknownFeature)
    }

    /// Returns a feature's name; `None` where names were stripped or the index is past the end.
    #[must_use]
    pub fn feature_name(&self, index: usize) -> Option<&'m str> {
        self.names?.strings(self.features.get(index)?.name_at as usize).next()
    }

    /// Returns the names of a category's levels in the order of their codes; empty for a number or
    /// without names.
    pub fn level_names(&self, index: usize) -> impl Iterator<Item = &'m str> + use<'m> {
        let levels = match self.features.get(index) {
            Some(Feature { kind: Kind::Category { levels }, name_at, .. }) => Some((*levels, *name_at as usize)),
            _ => None,
        };
        let names = self.names;
        levels
            .zip(names)
            .map(|((levels, at), names)| names.strings(at).skip(1).take(usize::from(levels)))
            .into_iter()
            .flatten()
    }

    /// Returns the code of a category's level by its name, `None` for a name the model does not
    /// know; takes time in the number of levels.
    ///
    /// # Errors
    /// [`RecordError::NamesStripped`].
    pub fn level_code(&self, index: usize, level: &str) -> Result<Option<u16>, RecordError> {
        if self.names.is_none() {
            return Err(RecordError::NamesStripped);
        }
        #[allow(clippy::cast_possible_truncation)] // at most MAX_LEVELS
        let code = self.level_names(index).position(|name| name == level).map(|code| code as u16);
        Ok(code)
    }

    /// Returns the standard deviation of a number, transformed, over the training rows. Where the
    /// blob does not state it, that of numbers spread evenly over the training range, and 1 where
    /// the range is a single number. Finite and above 0; 0 for a category.
    #[must_use]
    pub fn deviation(&self, index: usize) -> f32 {
        let Some(Kind::Number { transform, low, high, .. }) = self.features.get(index).map(Feature::kind) else {
            return 0.0;
        };
        if let Some(bytes) = self.deviations.get(index) {
            return f32::from_le_bytes(*bytes);
        }
        let (low, high) = (transform.apply(low), transform.apply(high));
        match (high - low) / SQRT_12 {
            // The range is wider than the largest number: its parts are not.
            f32::INFINITY => high / SQRT_12 - low / SQRT_12,
            spread if spread > 0.0 => spread,
            _ => 1.0,
        }
    }

    /// Returns the name of the favourable outcome, where the blob has names.
    #[must_use]
    pub fn positive_name(&self) -> Option<&'m str> {
        self.names?.strings(0).next()
    }
}

/// Index of a feature, below the model's number of features.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeatureIndex(pub usize);

/// What names a feature: its [`FeatureIndex`], or its name as a `&str` (looked up at each call).
///
/// Sealed: other types could return an index that no check has seen.
pub trait FeatureKey: sealed::Sealed {
    /// Returns the index.
    ///
    /// # Errors
    /// See [`Schema::feature_index`].
    fn index(&self, schema: Schema<'_>) -> Result<usize, RecordError>;
}

mod sealed {
    /// Implemented by the keys of this module only.
    pub trait Sealed {}
    impl Sealed for super::FeatureIndex {}
    impl Sealed for &str {}
}

impl FeatureKey for FeatureIndex {
    #[inline]
    fn index(&self, _: Schema<'_>) -> Result<usize, RecordError> {
        Ok(self.0)
    }
}

impl FeatureKey for &str {
    fn index(&self, schema: Schema<'_>) -> Result<usize, RecordError> {
        schema.feature_index(self).map(|index| index.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bin_counts_the_edges_not_above_x() {
        let edges = [-1.0, 0.0, 0.5, 2.0, 2.5, 7.0, 9.0_f32];
        for n in 0..=edges.len() {
            let edges = edges.get(..n).unwrap_or_default();
            for x in [-5.0, -1.0, -0.5, 0.0, 0.4, 0.5, 2.0, 2.4, 2.5, 6.9, 7.0, 9.0, 1e9, f32::INFINITY] {
                assert_eq!(bin(x, edges), edges.iter().filter(|e| **e <= x).count(), "{x} {edges:?}");
            }
        }
    }

    #[test]
    fn clamp_maps_nan_and_infinities_into_the_range() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
            assert!((-1.0..=2.0).contains(&clamp(x, -1.0, 2.0)));
        }
        assert_eq!(clamp(1.5, -1.0, 2.0), 1.5);
    }
}
