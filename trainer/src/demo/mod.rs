//! The built-in example: a stream of loan applications with known biases and drifts, so that a run
//! can be judged against what was put in.

mod lending;

pub use lending::{ACCURACY_DRIFT_AT, Application, FAIRNESS_DRIFT_AT, LendingStream, SCHEMA, TRAINING_ROWS, write_csv};
