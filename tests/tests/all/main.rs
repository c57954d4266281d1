//! The promises of feamoe, one module each, in one binary: `cargo test -p feamoe-tests -- module::`
//! runs one of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod adwin;
mod any_table;
mod attribution;
mod audit;
mod background;
mod c_example;
mod calibration;
mod card;
mod checkpoint;
mod cli;
mod cli_background;
mod cli_bad_data;
mod cli_bad_model;
mod cli_bad_output;
mod cli_constants;
mod cli_explain;
mod cli_monitor;
mod cli_quantize;
mod cli_real_data;
mod cli_recourse;
mod delta;
mod determinism;
mod device_costs;
mod drift;
mod evaluation;
mod exact;
mod fair_by;
mod firmware_costs;
mod firmware_example;
mod firmware_parity;
mod fuzz_seeds;
mod golden_blob;
mod golden_checkpoint;
mod hostile_blob;
mod hostile_checkpoint;
mod individual;
mod integer;
mod intersections;
mod intervals;
mod load_cost;
mod monitor;
mod packages;
mod paper;
mod parity;
mod reading;
mod recourse;
mod recourse_burden;
mod recourse_rules;
mod rooms;
mod rows;
mod sampled;
mod schema_reference;
mod service;
mod shap_values;
mod shapes;
mod slots;
mod snapshots;
mod stream;
#[cfg(feature = "tables")]
mod tables;
mod threshold;
