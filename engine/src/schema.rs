//! The schema of a model: its features, their kinds, ranges, bins and levels, and the positions of
//! their weight rows.
//!
//! Weight rows of a feature, in this order:
//!
//! | kind | weight rows | terms of a record |
//! | --- | --- | --- |
//! | number without bins | linear, missing | 1: linear times `t(x) - centre`, or missing |
//! | number with `B` bins | linear, missing, bin 0 .. bin B-1 | 2: linear, and a bin or missing |
//! | the same, stepped | the same | 1: a bin or missing |
//! | category of `L` levels | level 0 .. level L-1, unseen, missing | 1 |
//!
//! The number of terms never depends on the record, and every weight row is centred on its mean
//! over the training rows. The terms of a feature are therefore both its contribution to the logits
//! and its Shapley value in each lane (FEAMOE, section 4).
//!
//! A binned number whose linear row is all zero is *stepped*: only its bins contribute. `load`
//! detects this, and then neither the linear row nor the transform takes time. If a calibration
//! gives the linear row a weight, the term is kept.

use crate::error::{LoadError, LoadErrorKind, RecordError};
use crate::format::{Blob, HEADER_BYTES, Names};
pub use crate::format::{Kind, Transform};
use crate::invariant::certain;

/// Width of a uniform distribution in standard deviations.
const SQRT_12: f32 = 3.464_101_6;

/// The place of a feature that is not a stepped number.
const NOT_KEPT: u16 = u16::MAX;

/// The longest rung of the bin search: the edges of 128 bins, the trainer's default.
const LONGEST_RUNG: usize = 127;

/// Returns the bin of `x`: the number of `edges` that are `<= x`. `edges` must ascend. Takes
/// `log2(edges.len()) + 1` steps for any `x`.
#[inline]
#[must_use]
pub fn bin(x: f32, edges: &[f32]) -> usize {
    bin_by(edges, |edge| *edge <= x)
}

/// Returns the number of `edges` for which `reached` is true; these must come first.
///
/// The search starts at the longest rung that the edges fill. Each rung takes one comparison. The
/// compiler knows the length of a rung and removes bounds checks.
#[inline(always)]
pub(crate) fn bin_by<T>(edges: &[T], reached: impl Fn(&T) -> bool) -> usize {
    let (mut left, mut rest) = (0_usize, edges);
    while rest.len() > 2 * LONGEST_RUNG + 1 {
        let half = rest.len() / 2;
        let Some((_, upper)) = rest.split_at_checked(half) else { break };
        // For an odd number the lower part also keeps the middle, so that both parts are equally
        // long.
        let lower = rest.get(..upper.len()).unwrap_or_default();
        let is_upper = upper.first().is_some_and(&reached);
        (left, rest) = if is_upper { (left.wrapping_add(half), upper) } else { (left, lower) };
    }
    let rung = narrow::<LONGEST_RUNG, T>(rest, left, &reached);
    let rung = rung.map_or_else(|| narrow::<63, T>(rest, left, &reached), |(rest, left)| narrow(rest, left, &reached));
    let rung = rung.map_or_else(|| narrow::<31, T>(rest, left, &reached), |(rest, left)| narrow(rest, left, &reached));
    let rung = rung.map_or_else(|| narrow::<15, T>(rest, left, &reached), |(rest, left)| narrow(rest, left, &reached));
    let rung = rung.map_or_else(|| narrow::<7, T>(rest, left, &reached), |(rest, left)| narrow(rest, left, &reached));
    let rung = rung.map_or_else(|| narrow::<3, T>(rest, left, &reached), |(rest, left)| narrow(rest, left, &reached));
    let rung = rung.map_or_else(|| narrow::<1, T>(rest, left, &reached), |(rest, left)| narrow(rest, left, &reached));
    rung.map_or(left, |([last], left)| left.wrapping_add(usize::from(reached(last))))
}

/// Narrows a search among `N` to `2 * N + 1` edges, after `left` others, to the first or the last
/// `N`; `None` for fewer edges.
#[inline(always)]
fn narrow<'e, const N: usize, T>(
    edges: &'e [T],
    left: usize,
    reached: &impl Fn(&T) -> bool,
) -> Option<(&'e [T; N], usize)> {
    let (lower, upper) = (edges.first_chunk()?, edges.last_chunk()?);
    let skipped = edges.len().wrapping_sub(N);
    let is_upper = edges.get(skipped.wrapping_sub(1)).is_some_and(reached);
    Some(if is_upper { (upper, left.wrapping_add(skipped)) } else { (lower, left) })
}

/// Clamps a number to `low..=high`; NaN becomes `low`.
#[inline]
#[must_use]
pub fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// A note about a value of a record. Each note is one bit, so that the notes of a record can be
/// or-ed.
///
/// Do not ignore it: a level that the model does not know, such as "1" if the data had "1.0", is
/// not an error but [`Note::Unseen`]. If it should be an error, use
/// [`crate::Record::set_known_category`].
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a value may be clamped or an unknown level; check the note, or use set_known_category"]
#[repr(u8)]
pub enum Note {
    /// A value like those of the training rows.
    #[default]
    Usual = 0,
    /// No value: the *missing* row is used.
    Missing = 1,
    /// A number outside the training range (or infinite): clamped to it.
    Clamped = 2,
    /// A level that was not seen in training, or was too rare for its own weight row: the *unseen*
    /// row is used.
    Unseen = 4,
}

impl Note {
    /// Returns whether this note is in `bits`.
    pub(crate) const fn is_in(self, bits: u8) -> bool {
        bits & self as u8 != 0
    }
}

/// A feature of a loaded model: its kind and the positions of its parts. `load` checked every
/// index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feature {
    pub(crate) kind: Kind,
    pub(crate) first_row: u32,
    pub(crate) first_edge: u32,
    pub(crate) first_term: u16,
    /// Where a record keeps the value of a stepped number, counted from the end of its terms;
    /// [`NOT_KEPT`] for other features.
    pub(crate) kept: u16,
    /// Byte offset of its name in the names section; 0 if the blob has none.
    pub(crate) name_at: u32,
}

impl Feature {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its bin edges, given the edges of all features.
    #[inline]
    pub(crate) fn edges_of<'e, T>(&self, edges: &'e [T]) -> &'e [T] {
        certain!(self.first_edges(edges, self.kind.edges() as usize), &[])
    }

    /// Returns the first `count` of its bin edges; `None` if it has fewer.
    #[inline]
    pub(crate) fn first_edges<'e, T>(&self, edges: &'e [T], count: usize) -> Option<&'e [T]> {
        edges.get(self.first_edge as usize..)?.get(..count)
    }

    /// Returns whether the feature is a binned number whose linear row contributes nothing.
    #[inline]
    #[must_use]
    pub fn is_stepped(&self) -> bool {
        self.kept != NOT_KEPT
    }

    /// Returns the number of its terms in every record.
    #[inline]
    #[must_use]
    pub fn terms(&self) -> usize {
        match self.kind {
            Kind::Number { bins: 1.., .. } if !self.is_stepped() => 2,
            _ => 1,
        }
    }

    /// Returns the range of its terms in a record's list of terms.
    pub(crate) fn term_range(&self) -> core::ops::Range<usize> {
        let start = usize::from(self.first_term);
        start..start.wrapping_add(self.terms())
    }
}

/// The positions of all parts of the features of a loaded model: the part of a schema that has a
/// capacity.
#[derive(Debug)]
pub(crate) struct Layout<'a, const FEATURES: usize> {
    pub features: heapless::Vec<Feature, FEATURES>,
    /// The bin edges of all features, if they are floats.
    pub edges: &'a [f32],
    deviations: &'a [[u8; 4]],
    names: Option<Names<'a>>,
    /// The number of terms of a record.
    pub terms: usize,
}

impl<'a, const FEATURES: usize> Layout<'a, FEATURES> {
    /// Lays out the features of a blob, whose bin edges are `edges` if they are floats.
    /// `adds_nothing` returns whether a weight row contributes nothing.
    pub fn new(blob: &Blob<'a>, edges: &'a [f32], adds_nothing: impl Fn(u32) -> bool) -> Result<Self, LoadError> {
        let mut features = heapless::Vec::new();
        let (mut first_row, mut first_edge, mut first_term, mut stepped) = (0_u32, 0_u32, 0_u16, 0_u16);
        for kind in blob.kinds() {
            let is_stepped = matches!(kind, Kind::Number { bins: 1.., .. }) && adds_nothing(first_row);
            let kept = if is_stepped { stepped } else { NOT_KEPT };
            let feature = Feature { kind, first_row, first_edge, first_term, kept, name_at: 0 };
            // At most 4096 features with at most 65,535 weight rows and 2 terms each, so none of
            // these can wrap.
            first_row = first_row.wrapping_add(kind.rows());
            first_edge = first_edge.wrapping_add(kind.edges());
            first_term = first_term.wrapping_add(if feature.terms() == 2 { 2 } else { 1 });
            stepped = stepped.wrapping_add(u16::from(is_stepped));
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

    /// Returns the schema without the capacity.
    #[inline]
    pub fn view(&self) -> Schema<'_> {
        Schema { features: &self.features, names: self.names, deviations: self.deviations }
    }
}

/// The features of a loaded model: kinds and names.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'m> {
    features: &'m [Feature],
    names: Option<Names<'m>>,
    /// An f32 for each feature; empty if the blob has none.
    deviations: &'m [[u8; 4]],
}

impl<'m> Schema<'m> {
    /// Returns the features, in the order of their indices.
    #[must_use]
    pub fn features(&self) -> &'m [Feature] {
        self.features
    }

    /// Returns the index of a feature by its name. Takes time proportional to the number of
    /// features.
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

    /// Returns a feature's name; `None` if names were stripped or the index is past the end.
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

    /// Returns the code of a category's level by its name; `None` for an unknown name. Takes time
    /// proportional to the number of levels.
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

    /// Returns the standard deviation of a number, after its transform, over the training rows. If
    /// the blob does not state it, returns that of a uniform distribution over the training range,
    /// or 1 if the range is a single number. The result is finite and above 0, or 0 for a category.
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
            // The width of the range overflows, but its parts do not.
            f32::INFINITY => high / SQRT_12 - low / SQRT_12,
            spread if spread > 0.0 => spread,
            _ => 1.0,
        }
    }

    /// Returns the name of the favourable outcome, if the blob has names.
    #[must_use]
    pub fn positive_name(&self) -> Option<&'m str> {
        self.names?.strings(0).next()
    }
}

/// Index of a feature, below the model's number of features.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeatureIndex(pub usize);

/// A key of a feature: its [`FeatureIndex`], or its name as a `&str` (looked up at each call).
///
/// Sealed, since other types could return an unchecked index.
pub trait FeatureKey: sealed::Sealed {
    /// Returns the index.
    ///
    /// # Errors
    /// See [`Schema::feature_index`].
    fn index(&self, schema: Schema<'_>) -> Result<usize, RecordError>;
}

mod sealed {
    /// Implemented only by the keys of this module.
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
    use std::vec::Vec;

    use super::*;

    #[test]
    fn bin_counts_the_edges_not_above_x() {
        let edges: Vec<f32> = (0..300_u16).map(|edge| f32::from(edge) / 2.0 - 40.0).collect();
        for n in 0..=edges.len() {
            let edges = edges.get(..n).unwrap_or_default();
            let places = edges.iter().flat_map(|edge| [edge.next_down(), *edge, edge.next_up()]);
            for x in places.chain([f32::NEG_INFINITY, f32::INFINITY]) {
                assert_eq!(bin(x, edges), edges.iter().filter(|e| **e <= x).count(), "{x} of {n}");
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
