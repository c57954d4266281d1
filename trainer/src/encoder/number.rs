//! A numeric feature: its scale, its bins, and the terms of a value.

use crate::tuned::{Tuned, tuned};
use feamoe_engine::Value;
use feamoe_engine::mixture::Term;
use feamoe_engine::schema::{Transform, bin, clamp};
use serde::{Deserialize, Serialize};

use super::follow::Recent;
use super::{Block, Example};

/// Up to this number of bins, a number has only its line in addition. A sloped number has hats if
/// it has more bins than knots.
static FEW: Tuned<usize> = tuned!(16);
/// From this number of bins on, none is wide enough for a slope inside it to matter.
pub(super) static MANY: Tuned<usize> = tuned!(64);
/// Maximum number of knots of a number: as few as possible without a loss on Adult.
pub(super) static KNOTS: Tuned<usize> = tuned!(10);

/// A numeric feature.
///
/// With bins, only the bin of a value matters. The value picks the line, at the mean of the values
/// in the bin, and the bin's own row. If there are more than 16 bins, it also picks two *hats*:
/// they form a function that is linear between 10 knots, each with a row; the knots on both sides
/// are weighted by nearness. Line, hats and bins are blocks, each with its own gain. Line and hats
/// learn quickly, and so represent a value until its bin has learned enough. All three fold into
/// one row per bin when a model is exported.
///
/// Hats are smooth. A coarse level of bins has steps of its own instead, in other places for every
/// half of the data: the steps between neighbouring ages of two such models correlate by 0.29 with
/// 16 coarse bins, and by 0.59 with 10 knots (`feamoe study --only shapes`).
///
/// # Slopes
/// If fewer than 64 bins are requested, a bin of several values is wide, and a score would change
/// only in large steps. Recourse then just crosses the nearest edges of many numbers at once: on
/// generated applications for credit, the median distance to approval is 0.08 with 16 bins and 0.02
/// with 8, against 0.19 with 128. Such a number is therefore *sloped*: its line is at the value
/// itself, not at the mean of its bin, so that a step is only the deviation from a line. With 11
/// bins or more it has hats too, because bins alone follow more noise. With slopes both distances
/// are 0.15, and models of another sample accept about as many of the recourses (28 % with 16 bins,
/// against 27 % without slopes).
///
/// The line is the linear row that a blob has for every number, so a model is no larger; a device
/// looks up one more term for each sloped number. Log-loss on splits of Adult, COMPAS, HMDA and
/// Diabetes-130, with 8, 12, 16, 24, 32 and 48 bins, changes by -0.002 to +0.0005. A monotone
/// number is not sloped: next to a slope, its ordered bins have up to 0.003 more loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Number {
    pub(super) transform: Transform,
    pub(super) mean: f32,
    pub(super) sd: f32,
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) edges: Vec<f32>,
    /// Empty without bins.
    pub(super) bins: Vec<Bin>,
    /// Whether values in the same bin differ by the line.
    pub(super) is_sloped: bool,
    /// 0 without hats.
    pub(super) knots: u16,
    /// First of its rows: linear, missing, then the knots and the bins.
    pub(super) first_row: u32,
    /// First of its blocks: line, hats, bins.
    pub(super) first_block: Block,
    /// Number of rows reserved from the first on.
    pub(super) capacity: u32,
    pub(super) recent: Recent,
}

/// Data of a bin in addition to its own row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bin {
    /// Mean of the standardised values in it.
    pub place: f32,
    /// A raw value in the bin.
    pub value: f32,
    /// The class that its values are counted in; there are at most [`CLASSES`].
    pub class: u16,
    /// The last knot at or before `place`, but never the last knot of all.
    pub knot: u16,
    /// Position between this knot and the next, in [0, 1].
    pub share: f32,
}

/// The resolution at which a number is learned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolution {
    pub most_bins: usize,
    /// Whether the number is sloped if a bin holds several values.
    pub has_slopes: bool,
    /// Whether it may have hats, which cannot be ordered.
    pub has_hats: bool,
}

impl Resolution {
    pub fn new(most_bins: usize, has_slopes: bool, is_monotone: bool) -> Self {
        let most_bins = if is_monotone { most_bins.min(FEW.get()) } else { most_bins };
        Self { most_bins, has_slopes: has_slopes && !is_monotone, has_hats: !is_monotone }
    }

    /// Returns the number of knots in addition to these bins.
    pub fn knots(self, bins: &[Bin], is_sloped: bool) -> u16 {
        let few = if is_sloped { KNOTS.get() } else { FEW.get() };
        bins.last().filter(|_| self.has_hats && bins.len() > few).map_or(0, |last| last.knot + 2)
    }
}

/// Number of classes in which the values of a number with bins are counted, see [`super::follow`].
pub(super) const CLASSES: usize = 16;

/// Number of blocks of a number: line, hats, bins.
pub(super) const BLOCKS: u32 = 3;

impl Number {
    /// Returns the transform applied after clamping.
    #[must_use]
    pub fn transform(&self) -> Transform {
        self.transform
    }

    /// Returns the mean of the transformed values that it was fitted on.
    #[must_use]
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// Returns the standard deviation of the transformed values that it was fitted on; 1 if they
    /// were all the same.
    #[must_use]
    pub fn sd(&self) -> f32 {
        self.sd
    }

    /// Returns the lowest and highest raw value of the range that values are clamped to.
    #[must_use]
    pub fn range(&self) -> [f32; 2] {
        [self.low, self.high]
    }

    /// Returns the ascending edges of the bins, as raw values; empty without bins.
    #[must_use]
    pub fn edges(&self) -> &[f32] {
        &self.edges
    }

    /// Returns the linear row.
    #[must_use]
    pub fn linear_row(&self) -> u32 {
        self.first_row
    }

    /// Returns the row of a missing value.
    #[must_use]
    pub fn missing_row(&self) -> u32 {
        self.first_row + 1
    }

    /// Returns the number of weight rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        2 + self.knots() + self.bins.len()
    }

    /// Returns the number of terms of a value.
    pub(super) fn n_terms(&self) -> usize {
        match self.bins.len() {
            0 => 1,
            _ => 2 + 2 * usize::from(self.knots > 0),
        }
    }

    /// Returns the number of knots.
    pub(super) fn knots(&self) -> usize {
        self.knots.into()
    }

    /// Returns the rows of the bins, one more than edges; empty without bins.
    #[must_use]
    pub fn bin_rows(&self) -> std::ops::Range<u32> {
        let first = self.first_row + 2 + self.knots() as u32;
        first..first + self.bins.len() as u32
    }

    /// Returns the number of bins, one more than edges; 0 without bins.
    #[must_use]
    pub fn n_bins(&self) -> usize {
        self.bins.len()
    }

    /// Returns whether values in the same bin differ by the line.
    #[must_use]
    pub fn is_sloped(&self) -> bool {
        self.is_sloped
    }

    /// Returns a value standardised to the unit of the line.
    pub(super) fn standardised(&self, x: f32) -> f32 {
        (self.transform.apply(clamp(x, self.low, self.high)) - self.mean) / self.sd
    }

    /// Returns the bin of a number that is not NaN; `None` without bins.
    #[inline]
    #[must_use]
    pub fn bin_of(&self, x: f32) -> Option<usize> {
        (!self.bins.is_empty()).then(|| bin(clamp(x, self.low, self.high), &self.edges))
    }

    /// Returns the terms that all values in a bin share, each with its block: the line unless the
    /// number is sloped, the two hats if any, and last the bin's own row, whose count is that of
    /// the bin.
    pub(crate) fn terms_of_bin(&self, index: usize) -> impl Iterator<Item = (Term, Block)> + use<> {
        let bin = self.bins.get(index).copied();
        let (has_line, has_hats, is_fine) = (!self.is_sloped, self.knots > 0, self.bins.len() > FEW.get());
        let (first, own, block) = (self.first_row, self.bin_rows().start, self.first_block);
        bin.into_iter().flat_map(move |Bin { place, knot, share, .. }| {
            let line = has_line.then_some((Term { row: first, scale: place }, block));
            let hat = |row, scale| has_hats.then_some((Term { row, scale }, block.after(1)));
            let left = first + 2 + u32::from(knot);
            let own_block = if is_fine { block.after(2).fine() } else { block.after(2) };
            let own = (Term { row: own + index as u32, scale: 1.0 }, own_block);
            [line, hat(left, 1.0 - share), hat(left + 1, share), Some(own)].into_iter().flatten()
        })
    }

    /// Returns the terms of a number that is not NaN, each with its block.
    pub(super) fn terms(&self, x: f32) -> impl Iterator<Item = (Term, Block)> + use<> {
        let bin = self.bin_of(x);
        let has_line = bin.is_none() || self.is_sloped;
        let line = has_line.then(|| (Term { row: self.first_row, scale: self.standardised(x) }, self.first_block));
        line.into_iter().chain(self.terms_of_bin(bin.unwrap_or(usize::MAX)))
    }

    /// Returns a raw value in a bin.
    pub(super) fn value_of_bin(&self, index: usize) -> f32 {
        self.bins.get(index).map_or(self.mean, |bin| bin.value)
    }

    /// Returns the knot nearest to a bin, if there are knots.
    pub(super) fn nearest_knot(&self, index: usize) -> Option<usize> {
        let bin = self.bins.get(index).filter(|_| self.knots > 0)?;
        Some(usize::from(bin.knot) + usize::from(bin.share >= 0.5))
    }

    /// Returns the row of a knot.
    pub(super) fn knot_row(&self, knot: usize) -> u32 {
        self.first_row + 2 + knot as u32
    }

    /// Returns its blocks.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let first = self.first_block;
        (0..BLOCKS).map(move |index| first.after(index))
    }

    /// Adds the terms of a value. Anything but a number gets those of a missing value.
    #[inline]
    pub(super) fn push_terms(&self, value: Value, example: &mut Example) {
        match value {
            Value::Number(x) if !x.is_nan() => self.terms(x).for_each(|(term, block)| example.push(term, block)),
            _ => example.push(Term { row: self.missing_row(), scale: 1.0 }, Block::NONE),
        }
    }

    /// Returns whether a stored number is valid for this number of weight rows.
    pub(super) fn is_sound(&self, n_rows: usize) -> bool {
        let bins = if self.edges.is_empty() { 0 } else { self.edges.len() + 1 };
        self.low <= self.high
            && self.sd > 0.0
            && self.bins.len() == bins
            && (self.knots == 0 || self.bins.last().is_some_and(|last| last.knot.checked_add(2) == Some(self.knots)))
            && self.bins.is_sorted_by_key(|bin| bin.class)
            && self.bins.is_sorted_by_key(|bin| bin.knot)
            && self.bins.iter().all(|bin| (0.0..=1.0).contains(&bin.share))
            && self.first_row as usize + self.capacity as usize <= n_rows
            && self.n_rows() <= self.capacity as usize
    }
}
