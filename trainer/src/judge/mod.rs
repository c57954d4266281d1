//! A model applied to rows: scores, accuracy and fairness, recourse, drift of the rows from those
//! in training, and the statuses of devices.

pub mod attribute;
pub mod binding;
pub mod comparison;
pub mod counts;
pub mod evaluation;
pub mod fleet;
pub mod gaps;
pub mod individual;
pub mod inputs;
pub mod loss;
pub mod merging;
pub mod monitor;
pub mod outliers;
pub mod proxies;
pub mod ranking;
pub mod received;
pub mod recourse;
pub mod reliability;
pub mod tally;
pub mod verdict;
pub mod watch;

use ndarray::Array1;

use crate::error::Error;
use crate::learner::{Objective, Scores};
use crate::model::{AnyModel, AnyRecord, HostScore};
use crate::rows::{Source, Stream};
use binding::Binding;

/// Scores every record of a source. Returns the probabilities of the favourable outcome in the
/// order of the records.
///
/// # Errors
/// The errors of the source and of [`Binding`].
pub fn scores(model: AnyModel<'_>, source: &mut impl Source) -> Result<Array1<f32>, Error> {
    let mut scores = Vec::new();
    score_each(model, source, |_, score| scores.push(score.probability))?;
    Ok(scores.into())
}

/// Scores every record of a source in order, and passes each with its score to `take`.
///
/// # Errors
/// The errors of the source and of [`Binding`].
pub fn score_each<'m>(
    model: AnyModel<'m>,
    source: &mut impl Source,
    take: impl FnMut(&AnyRecord<'m>, &HostScore),
) -> Result<(), Error> {
    let binding = Binding::of(model.schema(), |name| source.column(name, "the model"))?;
    score_bound(model, &binding.with_bad_cells(source.bad_cells()), source, take)
}

/// Like [`score_each`], for a source whose columns are bound already, such as a part of a table.
///
/// # Errors
/// Those of the source and of [`Binding::fill`].
pub fn score_bound<'m>(
    model: AnyModel<'m>,
    binding: &Binding,
    source: &mut impl Source,
    mut take: impl FnMut(&AnyRecord<'m>, &HostScore),
) -> Result<(), Error> {
    source.want(&binding.columns());
    let mut record = model.record();
    while source.advance()? {
        binding.fill(&source.record(), &mut record)?;
        // The record was created by this model, so scoring cannot fail.
        if let Ok(score) = model.score(&record) {
            take(&record, &score);
        }
    }
    Ok(())
}

/// Returns the threshold that an objective chooses for a model on the labelled rows of a stream;
/// `None` if an outcome that it needs does not occur.
///
/// # Errors
/// Those of the stream and of [`Binding`]; [`Error::OtherOutcome`]; [`Error::NoUsableRows`].
pub fn threshold(model: AnyModel<'_>, stream: &mut Stream, objective: Objective) -> Result<Option<f32>, Error> {
    stream.target().check_model(model.schema())?;
    let binding = Binding::of(model.schema(), |name| stream.column(name, "the model"))?;
    let binding = binding.with_bad_cells(stream.bad_cells());
    stream.want(&binding.columns());
    let mut record = model.record();
    let mut scores = Scores::default();
    while let Some(row) = stream.next_row()? {
        binding.fill(&row, &mut record)?;
        if let (Some(label), Ok(score)) = (row.label, model.score(&record)) {
            scores.observe(label, score.probability);
        }
    }
    stream.check_rows()?;
    Ok(scores.threshold(objective))
}
