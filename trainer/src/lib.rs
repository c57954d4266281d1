//! Fair online learning of a mixture of logistic experts from streams of rows: train, evaluate,
//! explain, export.
//!
//! The `feamoe` command is a thin layer over this library. The main path, from text to a checked
//! model file:
//!
//! ```
//! use feamoe::demo::{LendingStream, SCHEMA, write_csv};
//! use feamoe::learner::LearnerOptions;
//! use feamoe::model::HostModel;
//! use feamoe::rows::{Records, Source};
//! use feamoe::schema::Schema;
//! use feamoe::training::{Options, Trainer};
//! use feamoe_engine::fairness::Measure;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut text = Vec::new();
//! write_csv(&mut text, LendingStream::new(1).take(2_000))?;
//!
//! let schema = Schema::from_toml("lending.toml", SCHEMA)?;
//! let mut rows = Records::from_reader("lending", std::io::Cursor::new(text), &schema.table)?;
//! let learner = LearnerOptions::default().target(Measure::Spd, 0.1).check()?;
//! let mut trainer = Trainer::new(rows.columns(), schema, &Options::new(learner))?;
//! trainer.learn_all(&mut rows)?;
//! let exported = trainer.model()?; // laid out, read back by the engine, compared row by row
//!
//! let model = HostModel::load(exported.bytes.as_slice())?;
//! let mut record = model.record();
//! record.set_number("income", 24_000.0)?;
//! assert!(model.score(&record)?.probability < 0.9);
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//! Each module uses only those listed before it.
//!
//! - [`schema`] describes the columns of a table; [`rows`] reads rows from files or memory;
//!   [`infer`] guesses a schema.
//! - [`model`] handles model files, and derives from them: fewer experts, copies for devices,
//!   integer weights, deltas, constants, costs.
//! - [`encoder`] turns rows into terms; [`learner`] learns from them.
//! - [`judge`] applies a model to rows: evaluation, comparison of two models, recourse, individual
//!   fairness, monitoring of rows, statuses of devices.
//! - [`training`] runs a learner over the data, measures it, judges its targets, resumes earlier
//!   runs, and exports the model.
//! - [`explanation`] explains scores; [`plot`] draws explanations.
//! - `report` (feature `report`) combines all of it on one page.
//! - `serve` (feature `serve`) is the HTTP service.
//! - [`output`], [`error`], [`text`] and [`demo`] are used by all.
//!
//! # Contract
//! - The same data, options and seed give the same bytes on any machine.
//! - Explanations and recourse of many records use all threads of rayon's pool. The number of
//!   threads does not change any result.
//! - Rows are streamed: memory does not grow with the data, except for `shuffle`, which reports how
//!   much it keeps.
//! - A file that is written ([`output`]) is complete or absent.
//! - Errors name file, line and column, and no input causes a panic. The forward pass and the
//!   fairness measures are those of the engine.

pub mod demo;
pub mod encoder;
pub mod error;
pub mod escaped;
pub mod explanation;
pub mod infer;
pub mod judge;
#[cfg(feature = "sign")]
pub mod keys;
pub mod learner;
mod links;
pub mod lock;
pub mod model;
pub mod output;
pub mod plot;
pub mod random;
#[cfg(feature = "report")]
pub mod report;
pub mod rows;
pub mod schema;
pub mod secret;
#[cfg(feature = "serve")]
pub mod serve;
pub mod text;
mod threads;
pub mod training;
mod tuned;
pub mod tuning;
