//! The steps of a row through a trainer, once the encoder is fitted.

use super::delay::Delay;
use super::state::State;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::learner::Prediction;
use crate::rows::{Admission, Reservoir, Row};

/// The parts of a trainer that learn from a row.
pub(super) struct Learning<'a> {
    /// Columns of features.
    pub features: &'a [usize],
    pub encoder: &'a mut Encoder,
    pub admission: &'a Admission,
    pub state: &'a mut State,
}

impl Learning<'_> {
    /// Learns from a row for the first time. `earlier` is the prediction from when the row arrived,
    /// if its label came late.
    #[inline]
    pub(super) fn learn(&mut self, row: &Row<'_>, earlier: Option<Prediction>) -> Result<Prediction, Error> {
        let Self { features, encoder, admission, state } = self;
        encoder.learn_one(row, &mut state.example)?;
        state.measured.order.observe_features(row, features);
        let prediction = state.learn(encoder, admission.attributes(), earlier);
        state.follow(encoder);
        Ok(prediction)
    }
}

/// The parts of a trainer that a row passes through.
pub(super) struct Steps<'a> {
    pub learning: Learning<'a>,
    pub reservoir: &'a mut Reservoir,
    pub delay: &'a mut Delay,
}

impl Steps<'_> {
    /// Scores a row and learns from it. With a label delay, learns from the rows that are due
    /// instead.
    #[inline]
    pub(super) fn take(&mut self, row: &Row<'_>) -> Result<Prediction, Error> {
        if self.delay.is_none() {
            let prediction = self.learning.learn(row, None)?;
            offer(row, self.reservoir, self.learning.state);
            return Ok(prediction);
        }
        let Learning { encoder, admission, state, .. } = &mut self.learning;
        encoder.encode(row, &mut state.example)?;
        let arrival = state.score(encoder, admission.attributes());
        self.delay.push(row, arrival);
        while self.delay.is_due() {
            self.learn_oldest()?;
        }
        Ok(arrival)
    }

    /// Learns from the oldest of the waiting rows.
    pub(super) fn learn_oldest(&mut self) -> Result<(), Error> {
        let Self { learning, reservoir, delay } = self;
        let Some((oldest, earlier)) = delay.oldest() else { return Ok(()) };
        learning.learn(&oldest, Some(earlier))?;
        offer(&oldest, reservoir, learning.state);
        delay.pop();
        Ok(())
    }
}

/// Offers a row that was learned from to the sample. Rows of the start were offered when they
/// arrived.
#[inline]
fn offer(row: &Row<'_>, reservoir: &mut Reservoir, state: &State) {
    if !state.is_measured {
        reservoir.offer(row);
    }
}
