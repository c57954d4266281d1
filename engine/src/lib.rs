//! Scores and explains records with a fair mixture of logistic experts, from a compact model file
//! (blob). Results are bit-identical on a Cortex-M and in a service.
//!
//! ```
//! use feamoe_engine::schema::Note;
//! use feamoe_engine::{Model, include_model};
//!
//! static MODEL: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.feamoe"));
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // At most 16 features and 12 experts. Checks everything, copies no weights.
//! let model: Model<16, 12> = Model::load(MODEL)?;
//! let mut record = model.record(); // every value missing
//! let notes = [record.set_number("age", 39.0)?, record.set_category("occupation", "Sales")?];
//! assert_eq!(notes, [Note::Usual; 2]); // neither clamped nor unknown
//! let score = model.score(&record)?; // probability, decision, gate
//! let why = model.explain(&record)?; // base value and one value for each feature
//! assert!(score.missing && !score.unseen && !score.decision); // two values were not set
//! assert!(score.probability == why.output && why.residual.abs() < 1e-3);
//! # Ok(())
//! # }
//! ```
//!
//! # Contract
//! - `no_std`, no allocator, no unsafe code. Depends on bytemuck, crc, heapless, libm, postcard,
//!   rand_pcg, serde.
//! - Never panics, for any blob and any record. This is proved by linking a program without a panic
//!   handler, at the opt-levels 1, 2, 3 and s with link-time optimisation. (At z, and at s without
//!   it, the compiler keeps checks that never fail, so the proof is not possible there; the code is
//!   the same.)
//! - Arithmetic is f32 in a fixed order of operations, without fused multiply-add, which gives the
//!   same bits on every target. Sums over the coalitions of Shapley values are f64.
//! - On a core with single-precision floats, `score` takes the same number of instructions for
//!   every record of a model, and so does `explain` by `frozen`. This is not so for setting values
//!   (logarithms, names), for `path`, which evaluates more if the gate switches, for Shapley
//!   values, and for the search for recourse.
//! - The caller provides all memory; sizes follow from `FEATURES` and `EXPERTS`. [`Score::new`],
//!   [`Attribution::new`], [`attribution::Workspace::new`], [`Recourse::new`],
//!   [`fairness::Counts::new`], [`drift::Adwin::new`] and [`monitor::Monitor::new`] are `const`; a
//!   [`Model`] and a [`Record`] fit a `static` cell.
//! - A blob is used in place on little-endian targets. [`Model::load_into`] copies its values, on
//!   any target and from any address.
//! - Every [`Blob`] is valid, and so is every [`Model`]. Later code asserts the invariants that it
//!   relies on: debug, test and fuzz builds panic if one is broken.
//!
//! # Modules
//! Each module uses only those before it: [`frame`] (one header for everything stored),
//! [`mod@format`] (the model file, [`Blob`]), [`schema`], record, [`mixture`] (the kernel), model;
//! on these are built [`calibration`], [`attribution`], [`recourse`], [`monitor`] (made of
//! [`fairness`] and [`drift`]), [`signature`], [`slots`], [`delta`], and, next to the float model,
//! [`integer`] for cores without a floating-point unit. [`Scorer`] is the common interface of both
//! models.
//!
//! # Features
//! All are off by default. `armv7em`: assembly for the loop over the terms, from a separate crate,
//! with the same bits. `defmt`: `Format` for errors, notes and scores. `mac`: statuses of a monitor
//! with a message authentication code. `signed`: verifies signed models, with curve25519-dalek and
//! sha2. `tables`: checksums in a third of the time, for hosts. Scores and attributions always
//! implement serde's `Serialize`, which is not linked if unused.
//!
//! # Out of scope
//! Training, files and text formats; see the `feamoe` crate. Limits are in [`limits`].
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

#[cfg(test)]
extern crate std;

/// Loads the first golden model, for the unit tests. Its values are copied, so that big-endian
/// targets run the tests too.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
fn golden<const FEATURES: usize, const EXPERTS: usize>() -> Model<'static, FEATURES, EXPERTS> {
    static BLOB: &[u8] = include_model!("../golden/v1.feamoe");
    Model::load_into(BLOB, std::vec![0.0; BLOB.len() / 4].leak()).unwrap()
}

pub mod attribution;
pub mod calibration;
#[doc = include_str!("../costs.md")]
pub mod costs {}
pub mod delta;
pub mod drift;
pub mod error;
pub mod fairness;
pub mod format;
pub mod frame;
pub mod integer;
mod invariant;
pub mod limits;
pub mod math;
pub mod mixture;
mod model;
pub mod monitor;
mod record;
pub mod recourse;
pub mod schema;
mod scorer;
pub mod signature;
pub mod slots;

pub use attribution::{Attribution, BackgroundId, Method, Space};
pub use error::{ExplainError, LoadError, PredictError, RecordError};
pub use format::Blob;
pub use model::{Model, Score};
pub use record::{Record, Value, Values};
pub use recourse::Recourse;
pub use schema::{FeatureIndex, FeatureKey, Schema};
pub use scorer::{Scored, Scorer};

/// Bytes at an address that is a multiple of 4, as [`Model::load`] needs. See [`include_model!`].
#[repr(C, align(4))]
#[derive(Debug)]
pub struct Aligned<T: ?Sized>(pub T);

/// Embeds a model file like `include_bytes!`, at an address that is a multiple of 4, and gives a
/// `&'static [u8]`. A file without the header of a model does not compile; loading checks the rest.
///
/// A model in the firmware itself is the last resort of a device that keeps its models in
/// [`slots`]; see `engine/examples/field`.
#[macro_export]
macro_rules! include_model {
    ($path:expr) => {{
        const BLOB: &'static $crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        const { assert!($crate::format::is_whole(&BLOB.0), "not a model file, or one that is cut short") };
        &BLOB.0
    }};
}
