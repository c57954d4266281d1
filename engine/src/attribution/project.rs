//! Contributions to the logits, feature by feature, projected on a direction; shared by `frozen`
//! and `path`.

use core::ops::Range;

use crate::limits::IS_DEVICE;
use crate::mixture::{LANE_MULTIPLE, Term, stride};
use crate::model::Model;
use crate::record::Record;

impl<const FEATURES: usize, const EXPERTS: usize> Model<'_, FEATURES, EXPERTS> {
    /// Writes, for each feature, the dot product of its terms' contributions to the logits with
    /// `weights`, one per lane of a row.
    ///
    /// Reads only `lanes`, rounded up to a multiple of four; weights outside of `lanes` must be 0.
    pub(super) fn project(
        &self,
        record: &Record<'_, FEATURES>,
        weights: &[f32],
        lanes: Range<usize>,
        values: &mut [f32; FEATURES],
    ) {
        let width = lanes.len().next_multiple_of(LANE_MULTIPLE);
        let from = lanes.start.min(weights.len().saturating_sub(width));
        let weights = weights.get(from..).and_then(|weights| weights.get(..width)).unwrap_or_default();
        // For the usual numbers of experts, with the weights in registers. On a device each copy
        // takes a kilobyte, so there is only one.
        if let Ok(weights) = weights.try_into() {
            self.project_block::<12>(record, weights, from, values);
        } else if let (false, Ok(weights)) = (IS_DEVICE, weights.try_into()) {
            self.project_block::<8>(record, weights, from, values);
        } else if let (false, Ok(weights)) = (IS_DEVICE, weights.try_into()) {
            self.project_block::<16>(record, weights, from, values);
        } else {
            self.project_by(record, values, |term| Some(products(weights, self.row(term.row).get(from..)?)));
        }
    }

    /// Like [`Model::project`], to the same bits, for `W` lanes from one on.
    #[inline(always)]
    fn project_block<const W: usize>(
        &self,
        record: &Record<'_, FEATURES>,
        weights: [f32; W],
        from: usize,
        values: &mut [f32; FEATURES],
    ) {
        let stride = stride(self.experts());
        self.project_by(record, values, |term| {
            let start = (term.row as usize).wrapping_mul(stride).wrapping_add(from);
            Some(products(&weights, self.rows.get(start..)?.first_chunk::<W>()?))
        });
    }

    /// Writes, for each feature, the sum of the scaled results of `products` for its terms. Ends if
    /// `products` gives none, which does not happen for a loaded model.
    #[inline(always)]
    fn project_by(
        &self,
        record: &Record<'_, FEATURES>,
        values: &mut [f32; FEATURES],
        products: impl Fn(&Term) -> Option<[f32; LANE_MULTIPLE]>,
    ) {
        let product = |term: &Term| products(term).map(|sums| sums.map(|sum| term.scale * sum));
        // Four features are added up together, so that the compiler keeps vectors. On a core
        // without vectors, this would only repeat the loop four times in flash.
        const AT_ONCE: usize = if cfg!(target_arch = "arm") { 1 } else { 4 };
        let mut terms = record.terms().iter();
        for (values, features) in values.chunks_mut(AT_ONCE).zip(self.layout().features().chunks(AT_ONCE)) {
            let mut sums = [[0.0_f32; LANE_MULTIPLE]; AT_ONCE];
            for (sums, feature) in sums.iter_mut().zip(features) {
                let Some(first) = terms.next().and_then(product) else { return };
                *sums = first;
                if feature.terms() == 2 {
                    let Some(second) = terms.next().and_then(product) else { return };
                    sums.iter_mut().zip(second).for_each(|(sum, product)| *sum += product);
                }
            }
            for (value, sum) in values.iter_mut().zip(sums.map(add_up)) {
                *value = sum;
            }
        }
    }
}

/// Returns the dot product of two rows.
#[inline(never)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    add_up(products(a, b))
}

/// Returns the sum of values.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let (fours, rest) = values.as_chunks::<LANE_MULTIPLE>();
    let mut sums = [0.0_f32; LANE_MULTIPLE];
    for values in fours.iter().map(<[f32; 4]>::as_slice).chain([rest]) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    add_up(sums)
}

/// Returns the products of two rows, or blocks of rows, summed by their position modulo four; these
/// sums are independent of each other.
#[inline(always)]
fn products(a: &[f32], b: &[f32]) -> [f32; LANE_MULTIPLE] {
    let mut sums = [0.0_f32; LANE_MULTIPLE];
    for (a, b) in a.as_chunks::<LANE_MULTIPLE>().0.iter().zip(b.as_chunks::<LANE_MULTIPLE>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums
}

/// Returns the sum of the four lanes.
#[inline(always)]
pub(super) fn add_up([a, b, c, d]: [f32; LANE_MULTIPLE]) -> f32 {
    (a + c) + (b + d)
}
