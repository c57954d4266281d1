//! Integer models, for cores without a floating-point unit: Cortex-M0 and M3, RV32IMAC.
//!
//! `feamoe export MODEL --quantize i16` (or `i8`) writes one, and reports the loss. Its blob
//! differs from that of a float model in flag bit 0, whose section states the encoding of the
//! weights, and in the values:
//!
//! ```text
//! section = bits of a weight (8 or 16), fraction F (1..=22), shift S (0..=31): a byte each
//! values  = bias row, i32 | bin edges, i32 in the feature's unit
//!         | scale of each lane, u16 (1..=4095) | the weight rows, i8 or i16
//! ```
//!
//! All are little endian and read in place. A row is gate lanes, zeros up to half a row, expert
//! lanes, zeros; half a row is the number of experts rounded up to an even number. Weights are
//! rounded, with one scale per lane. If half a row equals the `EXPERTS` of the build, everything is
//! twice as fast.
//!
//! ```text
//! sum  = bias + sum over terms of scale * row[lane]        i32
//! z    = ((sum >> 12) * lane scale) >> S                   logit in log2 units, 2^-16
//! g_k  = 2^(z_k - max z) / sum_i 2^(z_i - max z)           2^-16
//! o_k  = sigmoid(z[half+k])                                2^-16
//! p    = sum_k g_k o_k                                     2^-32
//! ```
//!
//! `load` checks that the sum of any record is at most 2^31 - 1. The powers of 2 and the sigmoid
//! come from tables. The gate takes one u32 division; its largest weight is 1 minus the others.
//!
//! A looked-up row has scale `2^F`; a number's is `(t(x) - centre)`, shifted so that the training
//! range fills `F` bits. All operations have 32 bits, except for the last product of an
//! attribution, and none uses floats, so every target computes the same integers.
//!
//! # Numbers
//! Each numeric feature has its own fixed-point unit, `2^-q` of [`Number::fraction_bits`], in which
//! the larger end of its training range takes 29 bits. A value is set as `raw / 2^b` with
//! [`Record::set_fixed`], such as a converter's reading (`b` is the number of bits after the
//! point), or as f32 with [`Record::set_number`]; both use only integer operations. Numbers and bin
//! edges are rounded to the unit.
//!
//! # Limitations
//! Recourse, background records and explanations other than `frozen` need the float model.

mod attribution;
mod kernel;
mod model;
mod number;
mod record;
mod table;

pub use crate::format::{IntegerFormat as Format, MAX_FRACTION, MAX_SCALE};
pub use attribution::Attribution;
pub use model::{Model, Score};
pub use number::{Number, fixed};
pub use record::Record;
