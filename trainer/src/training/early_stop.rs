//! Detects when further passes no longer help, by the log-loss of each pass's model on rows that
//! only the first pass learned from.
//!
//! During each pass, the model from the end of the previous pass is judged on the reserved rows. So
//! the data are read once more than they are learned from, whether they are in memory or not. The
//! first pass that does not lower the loss ends the run, and the model before it is the result. The
//! judged probability is the calibrated one if there is one: fairness moves scores.

use super::Trainer;
use crate::error::Error;
use crate::judge::reliability::log_loss;
use crate::learner::Learner;
use crate::rows::Row;

/// A model, and its loss on reserved rows so far.
struct Candidate {
    learner: Learner,
    /// Number of rows it has learned from, counting every pass.
    learned: u64,
    loss: f64,
    rows: u64,
}

/// Finds the last pass that lowers the loss.
#[derive(Default)]
pub(super) struct EarlyStop {
    judged: Option<Candidate>,
    best: Option<Candidate>,
}

impl Candidate {
    #[allow(clippy::cast_precision_loss)] // counts of rows
    fn mean(&self) -> f64 {
        self.loss / self.rows.max(1) as f64
    }
}

impl EarlyStop {
    /// Begins to judge the current model, if `stops_early`.
    pub(super) fn begin(&mut self, trainer: &Trainer, stops_early: bool) {
        let candidate =
            || Candidate { learner: trainer.learner().clone(), learned: trainer.rows(), loss: 0.0, rows: 0 };
        self.judged = stops_early.then(candidate);
    }

    /// Judges that model on a reserved row.
    pub(super) fn judge(&mut self, trainer: &Trainer, row: &Row<'_>) -> Result<(), Error> {
        if let Some(Candidate { learner, loss, rows, .. }) = &mut self.judged {
            let (label, probability) = trainer.probability_by(learner, row)?;
            *loss += log_loss(label, probability);
            *rows += 1;
        }
        Ok(())
    }

    /// Ends a pass, counted from 1. Returns whether the run ends; the trainer then has the best
    /// model again.
    pub(super) fn ends(&mut self, trainer: &mut Trainer, epoch: u32) -> bool {
        let Some(judged) = self.judged.take() else { return false };
        match &self.best {
            Some(best) if judged.rows == 0 || judged.mean() >= best.mean() => {
                trainer.restore(&best.learner, best.learned, epoch - 2);
                true
            }
            _ => {
                self.best = Some(judged);
                false
            }
        }
    }
}
