//! Integer models, for cores without floats: Cortex-M0 and M3, RV32IMAC.
//!
//! `feamoe export MODEL --quantize i16` (or `i8`) writes one, and says what it loses. Its blob
//! differs from a float model's in flag bit 0, whose section says how the weights are written, and
//! in the values:
//!
//! ```text
//! section = bits of a weight (8 or 16), fraction F (1..=22), shift S (0..=31): a byte each
//! values  = bias row, i32 | bin edges, i32 in the feature's unit | scale of each lane, u16 (1..=4095) | the rows, i8 or i16
//! ```
//!
//! all little endian, and read in place. A half row is the number of experts rounded up to an even
//! one: gate lanes, zeros up to half a row, expert lanes, zeros. Weights were rounded, with one
//! scale a lane. Where half a row is the build's `EXPERTS`, all is twice as fast.
//!
//! ```text
//! sum  = bias + sum over terms of scale * row[lane]        i32, at most 2^31 - 1 for any record: checked by `load`
//! z    = ((sum >> 12) * lane scale) >> S                   logit in log2 units, 2^-16
//! g_k  = 2^(z_k - max z) / sum_i 2^(z_i - max z)           2^-16; a table, one u32 division, the largest is what the others leave
//! o_k  = sigmoid(z[half+k])                                  2^-16; a table
//! p    = sum_k g_k o_k                                     2^-32
//! ```
//!
//! A looked-up row has scale `2^F`; a number's is `(t(x) - centre)`, shifted so that the training
//! range fills `F` bits. All operations are of 32 bits but for the last product of an attribution,
//! none is of floats: every target computes the same integers.
//!
//! # Numbers
//! Each numeric feature has its own fixed-point unit, `2^-q` of [`Number::fraction_bits`], in which
//! the larger end of its training range takes 29 bits. A value comes as `raw / 2^b` by
//! [`Record::set_fixed`], such as a converter's reading (`b = 0`, or the bits after the point), or
//! as f32 by [`Record::set_number`]; both are integer operations. Numbers are distinguished to a
//! unit: by bin edges too.
//!
//! # What it does not do
//! Explanations other than `frozen`, recourse and background records need the float model.

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
