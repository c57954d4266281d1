//! The tables of a mixture: one number for each lane of the bias and of every weight row.

use std::ops::Range;

use feamoe_engine::mixture::stride;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::encoder::{Carried, Carry};

/// Largest weight, in log2 units, that a feature carries into a new encoding. A larger lane is
/// shrunk as a whole: its shape stays, and a logit of 64 is certain anyway.
///
/// A new encoding resets gains to 1. On a stream that one feature decides, gains come near their
/// limit of 8 after every fit. Without this bound, weights grow eightfold each time: to a million
/// after forty fits, where 32-bit sums of them are wrong in the fourth decimal of the score.
const LARGEST_CARRIED: f32 = 64.0;

/// A bias and weight rows of lanes, in the layout of the engine's weights: one gate lane per
/// expert, one lane of its own per expert, then padding up to the stride. The kernels run over
/// slices of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(super) struct Table {
    /// One number per lane, as many as the stride.
    pub bias: Array1<f32>,
    /// Weight rows times stride, in row-major order.
    rows: Array2<f32>,
}

/// The stored form of a [`Table`].
#[derive(Deserialize, Serialize)]
struct Stored {
    bias: Vec<f32>,
    rows: Vec<f32>,
}

impl TryFrom<Stored> for Table {
    type Error = ndarray::ShapeError;

    fn try_from(Stored { bias, rows }: Stored) -> Result<Self, Self::Error> {
        let stride = bias.len().max(1);
        let rows = Array2::from_shape_vec((rows.len() / stride, stride), rows)?;
        Ok(Self { bias: bias.into(), rows })
    }
}

impl From<Table> for Stored {
    fn from(Table { bias, rows }: Table) -> Self {
        Self { bias: bias.into_iter().collect(), rows: rows.into_iter().collect() }
    }
}

/// The lanes of a weight row that learn while older experts are frozen: those of the gate, and that
/// of the newest expert.
pub(super) type Lanes = [Range<usize>; 2];

impl Table {
    /// Returns a table with this value in every lane of the bias, and without weight rows.
    pub(super) fn new(stride: usize, value: f32) -> Self {
        Self { bias: Array1::from_elem(stride, value), rows: Array2::zeros((0, stride)) }
    }

    /// Returns the weight rows, in the shape weight rows times stride.
    pub(super) fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    /// Returns the numbers of the bias, and those of the weight rows in row-major order.
    #[inline]
    pub(super) fn slices(&self) -> [&[f32]; 2] {
        [self.bias.as_slice(), self.rows.as_slice()].map(Option::unwrap_or_default)
    }

    /// Like [`Table::slices`], but mutable.
    #[inline]
    pub(super) fn slices_mut(&mut self) -> [&mut [f32]; 2] {
        [self.bias.as_slice_mut(), self.rows.as_slice_mut()].map(Option::unwrap_or_default)
    }

    /// Grows the table to `count` weight rows; new ones are filled with `value`.
    pub(super) fn grow(&mut self, count: usize, value: f32) {
        let [rows, stride] = [self.rows.nrows(), self.rows.ncols()];
        let mut flat = std::mem::take(&mut self.rows).into_raw_vec_and_offset().0;
        flat.resize(rows.max(count) * stride, value);
        if let Ok(rows) = Array2::from_shape_vec((rows.max(count), stride), flat) {
            self.rows = rows;
        }
    }

    /// Moves every number by `step` of the way to `other`'s number times the gain of its weight
    /// row; if `lanes` is given, only in these lanes.
    pub(super) fn move_towards(&mut self, other: &Self, step: f32, gain: impl Fn(usize) -> f32, lanes: Option<&Lanes>) {
        let stride = self.bias.len().max(1);
        let whole = [0..stride, 0..0];
        let lanes = lanes.unwrap_or(&whole);
        let approach = |own: &mut [f32], other: &[f32], gain: f32| {
            for lanes in lanes.iter().cloned() {
                let (Some(own), Some(other)) = (own.get_mut(lanes.clone()), other.get(lanes)) else { continue };
                own.iter_mut().zip(other).for_each(|(own, other)| *own += step * (gain * other - *own));
            }
        };
        let ([bias, rows], [other_bias, other_rows]) = (self.slices_mut(), other.slices());
        approach(bias, other_bias, 1.0);
        for (row, (own, other)) in rows.chunks_exact_mut(stride).zip(other_rows.chunks_exact(stride)).enumerate() {
            approach(own, other, gain(row));
        }
    }

    /// Writes the weight rows and the bias after a change of the encoding, from old weight rows
    /// times their gains. New weight rows are shrunk where they exceed [`LARGEST_CARRIED`].
    pub(super) fn carry(&mut self, carry: &Carry, gain: impl Fn(u32) -> f32) {
        let stride = self.bias.len().max(1);
        let [_, old] = self.slices();
        let sum = |from: &[(u32, f32)]| {
            let mut sum = vec![0.0_f32; stride];
            for (row, factor) in from {
                let weights = old.chunks_exact(stride).nth(*row as usize).unwrap_or_default();
                let factor = factor * gain(*row);
                sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += factor * weight);
            }
            sum
        };
        let mut rows: Vec<(u32, Vec<f32>)> =
            carry.rows.iter().map(|carried| (carried.row, sum(&carried.from))).collect();
        for lane in 0..stride {
            let largest = rows.iter().fold(0.0_f32, |largest, (_, weights)| largest.max(weights[lane].abs()));
            if largest > LARGEST_CARRIED {
                rows.iter_mut().for_each(|(_, weights)| weights[lane] *= LARGEST_CARRIED / largest);
            }
        }
        let bias = sum(&carry.bias);
        self.bias.iter_mut().zip(bias).for_each(|(own, more)| *own += more);
        self.write(rows);
    }

    /// Writes the step sizes of weight rows after a change of the encoding; `first` for new ones.
    pub(super) fn carry_steps(&mut self, carry: &Carry, first: f32) {
        let stride = self.bias.len().max(1);
        let [_, old] = self.slices();
        let of =
            |row: u32| old.chunks_exact(stride).nth(row as usize).map_or_else(|| vec![first; stride], <[f32]>::to_vec);
        let steps = |carried: &Carried| (carried.row, carried.steps_of.map_or_else(|| vec![first; stride], of));
        let rows: Vec<(u32, Vec<f32>)> = carry.rows.iter().map(steps).collect();
        self.write(rows);
    }

    fn write(&mut self, rows: Vec<(u32, Vec<f32>)>) {
        let stride = self.bias.len().max(1);
        let [_, own] = self.slices_mut();
        for (row, content) in rows {
            if let Some(own) = own.chunks_exact_mut(stride).nth(row as usize) {
                own.copy_from_slice(&content);
            }
        }
    }

    /// Calls `change` with the id, the gate lanes and the expert lanes of every weight row. The
    /// bias has no id.
    pub(super) fn for_each_row(
        &mut self,
        experts: usize,
        mut change: impl FnMut(Option<usize>, &mut [f32], &mut [f32]),
    ) {
        let [bias, rows] = self.slices_mut();
        let stride = stride(experts);
        let ids = std::iter::once(None).chain((0..).map(Some));
        for (id, row) in ids.zip(bias.chunks_exact_mut(stride).chain(rows.chunks_exact_mut(stride))) {
            let (gate, rest) = row.split_at_mut(experts);
            change(id, gate, rest);
        }
    }

    /// Returns the lanes of all experts of several tables side by side. Each table comes with its
    /// number of experts. `value` fills weight rows that a table lacks, and the padding.
    pub(super) fn side_by_side(parts: &[(&Self, usize)], value: f32) -> Self {
        let experts = parts.iter().map(|(_, experts)| experts).sum();
        let rows = parts.iter().map(|(table, _)| table.rows.nrows()).max().unwrap_or(0);
        let mut joined = Self::new(stride(experts), value);
        joined.grow(rows, value);
        let mut first = 0;
        for (table, own) in parts {
            let ([bias, rows], own_stride) = (table.slices(), stride(*own));
            let mut of_part = bias.chunks_exact(own_stride).chain(rows.chunks_exact(own_stride));
            joined.for_each_row(experts, |_, gate, outputs| {
                let Some(lanes) = of_part.next() else { return };
                gate[first..first + own].copy_from_slice(&lanes[..*own]);
                outputs[first..first + own].copy_from_slice(&lanes[*own..2 * own]);
            });
            first += own;
        }
        joined
    }

    /// Returns the mean of several tables with the same lanes. Each comes with its weight in the
    /// bias and its weights in the weight rows; the weights of all tables sum to 1.
    pub(super) fn mean(parts: &[(&Self, f64, &[f64])]) -> Self {
        let Some((first, ..)) = parts.first() else { return Self::new(0, 0.0) };
        let (width, count) = (first.bias.len(), first.rows.nrows());
        let mut mean = Self::new(width, 0.0);
        mean.grow(count, 0.0);
        #[allow(clippy::cast_possible_truncation)] // a mean of weights
        let of = |place: &dyn Fn(&Self) -> f32, weight: &dyn Fn(f64, &[f64]) -> f64| {
            let sum = |sum: f64, (table, of_bias, of_rows): &(&Self, f64, &[f64])| {
                sum + weight(*of_bias, of_rows) * f64::from(place(table))
            };
            parts.iter().fold(0.0, sum) as f32
        };
        let [bias, rows] = mean.slices_mut();
        for (lane, to) in bias.iter_mut().enumerate() {
            *to = of(&|table| table.slices()[0].get(lane).copied().unwrap_or(0.0), &|of_bias, _| of_bias);
        }
        for (place, to) in rows.iter_mut().enumerate() {
            let row = place / width.max(1);
            *to = of(&|table| table.slices()[1].get(place).copied().unwrap_or(0.0), &|_, of_rows| {
                of_rows.get(row).copied().unwrap_or(0.0)
            });
        }
        mean
    }

    /// Adds the numbers of another table of the same shape, minus `first`.
    pub(super) fn add_past(&mut self, other: &Self, first: f32) {
        for (own, other) in self.slices_mut().into_iter().zip(other.slices()) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other - first);
        }
    }

    /// Returns the sum of every gate lane at a record that contains the weight rows with these
    /// scales.
    pub(super) fn gates_at(&self, experts: usize, scales: impl Iterator<Item = f64>) -> Vec<f64> {
        let [bias, rows] = self.slices();
        let mut gates: Vec<f64> = bias.iter().take(experts).map(|weight| f64::from(*weight)).collect();
        for (row, scale) in rows.chunks_exact(self.bias.len().max(1)).zip(scales) {
            gates.iter_mut().zip(row).for_each(|(gate, weight)| *gate += scale * f64::from(*weight));
        }
        gates
    }

    /// Copies a weight row to another.
    pub(super) fn copy_row(&mut self, from: usize, to: usize) {
        let stride = self.bias.len();
        let [_, rows] = self.slices_mut();
        if (from.max(to) + 1) * stride <= rows.len() {
            rows.copy_within(from * stride..(from + 1) * stride, to * stride);
        }
    }

    /// Removes the lanes of an expert. `value` fills the padding.
    pub(super) fn remove_expert(&mut self, experts: usize, expert: usize, value: f32) {
        let left = experts - 1;
        let mut fewer = Self::new(stride(left), value);
        fewer.grow(self.rows.nrows(), value);
        let [bias, rows] = self.slices();
        let mut all = bias.chunks_exact(stride(experts)).chain(rows.chunks_exact(stride(experts)));
        fewer.for_each_row(left, |_, gate, outputs| {
            let Some(lanes) = all.next() else { return };
            let (own_gate, own_outputs) = (&lanes[..experts], &lanes[experts..2 * experts]);
            for (to, from) in [(gate, own_gate), (outputs, own_outputs)] {
                to[..expert].copy_from_slice(&from[..expert]);
                to[expert..left].copy_from_slice(&from[expert + 1..]);
            }
        });
        *self = fewer;
    }

    /// Inserts the lanes of one more expert in every weight row. `value` fills them and the
    /// padding.
    pub(super) fn add_expert(&mut self, experts: usize, value: f32) {
        let wider = |old: ArrayView2<'_, f32>| {
            let mut wider = Array2::from_elem((old.nrows(), stride(experts + 1)), value);
            let [gate, outputs] = [0..experts, experts..2 * experts];
            for (from, to) in [(gate, 0), (outputs, experts + 1)] {
                let from = old.slice_axis(Axis(1), Slice::from(from));
                wider.slice_axis_mut(Axis(1), Slice::from(to..to + experts)).assign(&from);
            }
            wider
        };
        self.bias = wider(self.bias.view().insert_axis(Axis(0))).into_flat();
        self.rows = wider(self.rows.view());
    }
}
