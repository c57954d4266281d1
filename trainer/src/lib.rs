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
//! Each uses those before it, and none after it.
//!
//! - [`schema`] says what the columns of a table mean; [`rows`] are the rows, from files
//!   or memory; [`infer`] guesses a schema.
//! - [`model`] is a model file, and what is made of one: fewer experts, a device's copy, integers,
//!   a delta, constants, its costs.
//! - [`encoder`] turns rows into terms; [`learner`] learns from them.
//! - [`judge`] puts a model before rows: evaluation, comparison with another, recourse, individual
//!   fairness, a watch on the rows at work, what devices report.
//! - [`training`] runs a learner over the data, measures it, judges its targets, resumes where an
//!   earlier run stopped, exports a model.
//! - [`explanation`] says why; [`plot`] draws it.
//! - `report` (feature `report`) puts all of it on one page.
//! - `serve` (feature `serve`) answers by HTTP.
//! - [`output`], [`error`], [`text`] and [`demo`] serve all.
//!
//! # Contract
//! - The same data, options and seed give the same bytes on any machine.
//! - Explanations and recourse of many records take all threads of rayon's pool; their number
//!   changes no bit.
//! - Rows stream: memory does not grow with the data, but for `shuffle`, which says how much it
//!   keeps.
//! - A file that is written ([`output`]) is whole or not there.
//! - Errors name file, line and column; nothing here panics on input. The forward pass and the
//!   fairness measures are the engine's.

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
