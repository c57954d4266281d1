//! Helpers for tests of the engine that depend only on the engine: arbitrary valid models and
//! records from a seed ([`generate`]), the content of their blobs ([`content`]), and the slow twin
//! of the engine in f64 ([`mod@reference`]) with the tolerances for comparing the two
//! ([`tolerance`]).
//!
//! ```
//! use feamoe_engine::Model;
//! use feamoe_testkit::generate::{Recipe, fill, records};
//!
//! let content = Recipe::any(7).content(7); // the same on every machine
//! let bytes = content.to_bytes(true);
//! let model: Model<16, 16> = Model::load(bytes.as_slice()).unwrap();
//! let mut record = model.record();
//! for cells in records(&content, 7, 100) {
//!     fill(&mut record, &cells).unwrap();
//!     assert!((0.0..=1.0).contains(&model.score(&record).unwrap().probability));
//! }
//! ```

#![allow(clippy::panic)] // a test reports by panicking

pub mod content;
pub mod generate;
pub mod reference;
pub mod tolerance;

use content::Content;
use feamoe_engine::attribution::Background;
use feamoe_engine::mixture::Term;
use feamoe_engine::{Attribution, Method, Model, PredictError, Record};
use generate::{Cell, EXPERTS, FEATURES, fill};

/// Loads a blob: in place or, if floats in memory differ from those in the blob, as a copy that is
/// never freed.
///
/// # Panics
/// If it is not such a model.
#[allow(clippy::unwrap_used)]
#[must_use]
pub fn load<const FEATURES: usize, const EXPERTS: usize>(blob: &[u8]) -> Model<'_, FEATURES, EXPERTS> {
    if cfg!(target_endian = "big") {
        return Model::load_into(blob, vec![0.0; blob.len() / 4].leak()).unwrap();
    }
    Model::load(blob).unwrap()
}

/// Passes a generated model and a background of it to `run`. With `stored`, the background has the
/// factors of its records.
///
/// # Panics
/// If the content is not a model, or the cells are not those of the model.
#[allow(clippy::unwrap_used)]
pub fn against<R>(
    content: &Content,
    background: &[Vec<Cell>],
    stored: bool,
    run: impl FnOnce(&Model<'_, FEATURES, EXPERTS>, &Background<'_, FEATURES>) -> R,
) -> R {
    let bytes = content.to_bytes(false);
    let model = load(bytes.as_slice());
    let mut terms = vec![Term::default(); Background::terms_needed(&model) * background.len()];
    let factors = if stored { Background::factors_needed(&model) * background.len() } else { 0 };
    let mut factors = vec![0.0; factors];
    let mut set = Background::new(&model, &mut terms, &mut factors);
    let mut record = model.record();
    for cells in background {
        fill(&mut record, cells).unwrap();
        set.push(&model, &record).unwrap();
    }
    run(&model, &set)
}

/// Explains a record by one of the two methods that need no background.
///
/// # Errors
/// The errors of the methods.
pub fn explain_into<const FEATURES: usize, const EXPERTS: usize>(
    model: &Model<'_, FEATURES, EXPERTS>,
    record: &Record<'_, FEATURES>,
    method: Method,
    attribution: &mut Attribution<FEATURES, EXPERTS>,
) -> Result<(), PredictError> {
    match method {
        Method::Frozen => model.frozen_into(record, attribution),
        Method::Path => model.path_into(record, attribution),
        Method::Exact | Method::Sampled => panic!("{method:?} needs a background"),
    }
}
