//! The built-in example: a stream of loan applications with known biases and drifts. The results of
//! a run can be compared with these.

mod lending;

pub use lending::{ACCURACY_DRIFT_AT, Application, FAIRNESS_DRIFT_AT, LendingStream, SCHEMA, TRAINING_ROWS, write_csv};
