//! Fair online learning of a mixture of logistic experts from CSV streams: train, evaluate, explain, export.
//!
//! The `feamoe` command is a thin layer over this library. The main path, from text to a checked model file:
//!
//! ```
//! use feamoe::blob_file::HostModel;
//! use feamoe::demo::{LendingStream, SCHEMA, write_csv};
//! use feamoe::learner::LearnerOptions;
//! use feamoe::schema::Schema;
//! use feamoe::stream::Input;
//! use feamoe::training::{self, Options};
//! use feamoe_engine::fairness::Measure;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("lending.csv");
//! write_csv(&mut std::fs::File::create(&path)?, LendingStream::new(1).take(2_000))?;
//!
//! let schema = Schema::from_toml("lending.toml", SCHEMA)?;
//! let learner = LearnerOptions::default().target(Measure::Spd, 0.1).check()?;
//! let options = Options::new(learner);
//! let run = training::run(&[Input::from(path.as_path())], &schema, &options, &mut |_| ())?;
//! let exported = run.export(&schema)?; // laid out, read back by the engine, compared row by row
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
//! [`schema`] and [`stream`] read tables; [`encoder`] turns rows into terms; [`learner`] learns from them; [`training`] runs over the data and measures it
//! ([`prequential`]), judges the targets ([`targets`]), and goes on where an earlier run stopped ([`checkpoint`]); [`export`] writes the blob ([`blob_file`]
//! reads it); [`mod@device`] tells what that costs on a microcontroller, [`monitor`] reads what devices send home; [`scoring`], [`evaluation`], [`individual`],
//! [`explanation`] and [`mod@recourse`] go through the engine; [`plot`] draws; [`demo`] makes data; [`study`] repeats the published figures.
//!
//! # Contract
//! - The same data, options and seed give the same bytes on any machine.
//! - Explanations and recourse of many records take all threads of rayon's pool; their number changes no bit.
//! - Rows stream: memory does not grow with the data, but for `shuffle`, which says how much it keeps.
//! - A file that is written ([`output`]) is whole or not there.
//! - Errors name file, line and column; nothing here panics on input. The forward pass and the fairness measures are the engine's.

pub mod blob_file;
pub mod checkpoint;
pub mod demo;
pub mod device;
mod distance;
pub mod encoder;
pub mod error;
pub mod evaluation;
pub mod explanation;
pub mod export;
pub mod individual;
pub mod learner;
pub mod memory;
pub mod monitor;
pub mod options;
pub mod output;
pub mod plot;
pub mod prequential;
pub mod progress;
mod random;
pub mod recourse;
pub mod schema;
pub mod scoring;
pub mod stream;
pub mod study;
pub mod targets;
mod threads;
pub mod training;
